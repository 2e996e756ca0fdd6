"""The table of GAIL in ``imitation`` beside our methods: same steps, demonstrations and seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gail.figures import area, estimate, last, number
from benchmarks.records import markdown

ROWS = {
    "tuned": "`imitation`, its own settings for the environment",
    "tutorial": "`imitation`, those of its tutorial",
    "common": "`imitation`, a plain setting",
    "gail": "GAIL",
    "l2l": "L2L-GAIL",
}
"""Rows by preset of the peer, or method of ``methods``, in the table's words."""


def records_of(results: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the records of each environment and row; ours are those of seeds that the peer has.

    Args:
        results: Folder that holds ``peer`` and ``gail/methods``.
    """
    peers = [json.loads(file.read_text()) for file in sorted((results / "peer").glob("*.json"))]
    seeds = {(record["env"], record["seed"]) for record in peers}
    own = [
        json.loads(file.read_text()) for file in sorted((results / "gail/methods").glob("*.json"))
    ]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in peers:
        found.setdefault((record["env"], record["preset"]), []).append(record)
    for record in own:
        if record["method"] in ROWS and (record["env"], record["seed"]) in seeds:
            found.setdefault((record["env"], record["method"]), []).append(record)
    return found


def peer_table(results: Path) -> str:
    """GAIL of ``imitation`` beside our methods, seeds, steps and demonstrations being the same."""
    found = records_of(results)
    rows = []
    for env in dict.fromkeys(env for env, _ in found):
        for name, words in ROWS.items():
            if not (records := found.get((env, name), [])):
                continue
            figures = [[m(record) for record in records] for m in (area, last, number("cpu_s"))]
            cells = [estimate(np.array(values)) for values in figures[:2]]
            rows.append([env, words, str(len(records)), *cells, f"{np.mean(figures[2]):.0f}"])
    return markdown(["environment", "method", "seeds", "E", "last", "CPU s"], rows)
