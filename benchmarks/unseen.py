"""Pre-trained rules on environments that they have not seen, against rules without a past.

For each environment the rule of ``benchmarks/pretrain.py --leave-out`` is replayed on the recorded
trainings of that environment, open loop as in ``benchmarks/tracking.py``, and so are its opponents.
The figure is the mean loss of the discriminator on fresh rollouts, before the updates on them.

    python benchmarks/unseen.py --rules runs/pretrain --rollouts 60 --json OUT.json

``--rules`` has a file ``<env>.pt`` for each environment, made without it. What the JSON file has
already is not measured again. ``--start`` adds the rule that the search started from, held fixed,
and ``--limit`` the discriminator that is solved in each rollout, which takes as long as all else.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import pretrain, tracking  # noqa: E402
from l2l_gail.core import save_rule  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402
from l2l_gail.runs import versions  # noqa: E402

OPPONENTS = (
    "matrix_rule:lr=3e-2",
    "muon:lr=1e-2",
    "muon:lr=5e-3",
    "adam:lr=1e-2",
    "adam:lr=3e-3",
    "adam:lr=3e-2",
    "adam:lr=1e-3",
    "adam:lr=3e-4",
)
RATIOS = (0.0, 3.0, 30.0)
"""Meta learning rate of the global step over that of a network: 0 leaves the step as it was."""
REFERENCE = "muon:lr=5e-3"
SETTINGS = {
    "default": "",
    "penalty_0.1": "penalty_weight=0.1",
    "penalty_10": "penalty_weight=10",
    "updates_3": "updates=3",
    "batch_64": "batch_size=64",
}


def words(env: str, rules: Path, ratios: list[float], opponents: list[str]) -> dict[str, str]:
    """Return the rules to be judged on an environment, by the name of their row."""
    file = str(rules / f"{env}.pt")
    return {
        **{
            f"pretrained, ratio {ratio:g}": f"pretrained:path={file!r},step_lr_ratio={ratio}"
            for ratio in ratios
        },
        **{word: word for word in opponents},
    }


def measured(
    word: str, setting: str, sequence: tracking.Sequence, rollouts: int
) -> dict[str, float]:
    """Return the mean loss on the first fresh rollouts, and what the updates cost."""
    part = dataclasses.replace(sequence, policy=sequence.policy[:rollouts])
    separator = "" if "@" in word else " @ "
    course = tracking.replay(f"{word}{separator}{SETTINGS[setting]}", part)
    return {"fresh": statistics.fmean(course.fresh[1:]), "cpu_s": round(course.cpu_s, 2)}


def interval(logs: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of ratios and its 95 % bootstrap interval over trainings."""
    draws = np.random.default_rng(0).choice(logs, (10_000, len(logs))).mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return tuple(np.exp([np.mean(logs), low, high]).tolist())  # type: ignore[return-value]


def report(rows: list[dict[str, Any]]) -> None:
    """Print for each setting the loss over the reference's, by environment and over all."""
    fresh = {(r["setting"], r["training"], r["rule"]): r["fresh"] for r in rows}
    by_rule: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (setting, training, rule), value in fresh.items():
        if (setting, training, REFERENCE) in fresh:
            log = float(np.log(value / fresh[setting, training, REFERENCE]))
            by_rule[setting, rule][training.split()[0]].append(log)
    for (setting, rule), of in sorted(by_rule.items(), key=lambda item: item[0]):
        cells = "  ".join(f"{env} {np.exp(np.mean(logs)):.3f}" for env, logs in of.items())
        mean, low, high = interval([log for logs in of.values() for log in logs])
        print(f"{setting:12} {rule:24} {mean:.3f} [{low:.3f}, {high:.3f}]  {cells}")


def main() -> None:
    """Measure what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", type=Path, required=True, help="folder of <env>.pt")
    parser.add_argument("--json", type=Path, required=True, help="file of the results")
    parser.add_argument("--folder", type=Path, default=pretrain.FOLDER)
    parser.add_argument("--envs", nargs="+", default=list(pretrain.ENVS))
    parser.add_argument("--policy-lrs", nargs="+", default=list(pretrain.POLICY_LRS))
    parser.add_argument("--sequence-seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["default"])
    parser.add_argument("--ratios", type=float, nargs="*", default=list(RATIOS))
    parser.add_argument("--opponents", nargs="*", default=list(OPPONENTS))
    parser.add_argument("--rollouts", type=int, default=100, help="of each sequence (100)")
    parser.add_argument("--start", action="store_true", help="the start of the search, too")
    parser.add_argument("--limit", action="store_true", help="the solved discriminator, too")
    options = parser.parse_args()
    torch.set_num_threads(1)

    content: dict[str, Any] = {
        "benchmark": "unseen",
        "rollouts": options.rollouts,
        "sequence": "recorded with Muon at 1e-2, one demonstrated episode",
        "rows": [],
    }
    if options.json.exists():
        content = json.loads(options.json.read_text())
        if content["rollouts"] != options.rollouts:
            raise InputError(f"{options.json} is of {content['rollouts']} rollouts a sequence")
    content["versions"] = versions()
    done = {(row["setting"], row["training"], row["rule"]) for row in content["rows"]}
    for setting, lr, seed, env in itertools.product(
        options.settings, options.policy_lrs, options.sequence_seeds, options.envs
    ):
        path = options.folder / lr / f"{env}-seed{seed}.npz"
        if not path.exists():
            raise InputError(f"no sequence {path}: benchmarks/pretrain.py --record makes it")
        sequence, training = tracking.Sequence.load(path), f"{env} policy_lr={lr} seed={seed}"
        wanted = words(env, options.rules, options.ratios, options.opponents)
        if options.start:
            file = options.rules / "start.pt"
            save_rule(file, pretrain.search_start())
            wanted["start of the search, fixed"] = f"pretrained:path={str(file)!r},learn_step=False"
        if options.limit and setting == "default":
            wanted["limit"] = tracking.LIMIT
        for name, word in wanted.items():
            if (setting, training, name) in done:
                continue
            figures = measured(word, setting, sequence, options.rollouts)
            row = {"setting": setting, "training": training, "rule": name, **figures}
            content["rows"].append(row)
            lines = ",\n".join(json.dumps(each) for each in content["rows"])
            head = json.dumps({k: v for k, v in content.items() if k != "rows"})
            options.json.write_text(f'{head[:-1]}, "rows": [\n{lines}\n]}}\n')
    report(content["rows"])


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
