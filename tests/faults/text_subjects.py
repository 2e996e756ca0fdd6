"""What is attacked of text that people share, rules and sweeps; and what runs leave to look at."""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from l2l_gail.comparison import compare
from l2l_gail.core import UpdateRule, parse_rule, rule_names
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.errors import InputError
from l2l_gail.recording.partial import partial_policy
from l2l_gail.snapshots import load_policy
from l2l_gail.sweep import Spec, read_spec
from tests.demos.support import small_policy
from tests.faults import mutate
from tests.faults.mutate import Random
from tests.faults.run_subjects import Subject, hostile_comparison
from tests.faults.subjects import (
    hostile_npz,
    hostile_tensors,
    pickled_fields_changed,
    policy_arrays,
    sb3_model,
    tensors_changed,
)

# Rules: a name and its arguments.

_VALUES = (
    "1e-3", "0.5", "2", "16", "(0.5, 0.9)", "True", "None", "0", "-1", "1e999", "10**9",
    "1e-400", "(1,)", "()", "[]",
    "{}", "'a'", "b'a'", "1j", "...", "__import__('os')", "nan", "9" * 400, "9" * 5000, "*a",
    "1)+(2", "1000000", "1000000000", "0x10", "{'a': {1}}", "lambda: 0", "\x00", "\udcff",
)  # fmt: skip


def hostile_rule_text(rng: Random, folder: Path) -> str:
    name = rng.choice((*rule_names(), *rule_names(), *mutate.TEXTS))
    known = ["lr"]
    with contextlib.suppress(InputError):
        known = [*inspect.signature(type(parse_rule(f"{name}:lr=0.1"))).parameters]
    names = (*known, *known, *known, "seed", *mutate.TEXTS[:3])
    values = (*_VALUES, *_VALUES[:10], *mutate.TEXTS[:6])
    drawn = [rng.choice(names) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
    arguments = ["lr=1e-3", *(f"{one}={rng.choice(values)}" for one in drawn if one != "lr")]
    if rng.random() < 0.2:
        arguments[0] = f"lr={rng.choice(values)}"
    text = f"{name}{rng.choice((':', ':', ':', '', '(', '::'))}{','.join(arguments)}"
    if rng.random() < 0.2:
        place = rng.randrange(len(text) + 1)
        text = (
            text[:place] + rng.choice("()[]{}-'\"=:,*") * rng.choice((1, 90, 10**6)) + text[place:]
        )
    return text


def judge_built(rule: UpdateRule) -> None:
    assert sum(p.numel() for p in rule.parameters()) < 1 << 24
    assert all(p.isfinite().all() for p in rule.parameters())
    waiting = list(rule.config.values())
    while waiting:
        value = waiting.pop()
        waiting += value if isinstance(value, (list, tuple)) else []
        assert not isinstance(value, float) or math.isfinite(value)


# Sweeps.

_SPEC = """
out = "runs"
threads = 1
[train_gail]
seeds = "0-1"
methods = ["gail", "l2l_gail"]
environments = ["Hopper-v5"]
flags = { total_timesteps = 2048, n_envs = 8, updates = 2 }
[train_gail.settings.a]
learning_rate = 0.01
rule_args = ["half_life=50"]
learned = "both"
[train_cifar]
seeds = [0]
data = ["synthetic"]
[train_cifar.methods.pgd]
pgd_steps = 2
epochs = 1
milestones = [0.5]
"""


def hostile_sweep(rng: Random, folder: Path) -> Path:
    text = _SPEC
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.randrange(5)
        lines = text.splitlines()
        place = rng.randrange(len(lines))
        if kind == 0 and "=" in lines[place]:
            name = lines[place].partition("=")[0]
            lines[place] = f"{name}= {rng.choice((*_TOML, *map(str, mutate.NUMBERS)))}"
        elif kind == 1:
            lines.insert(place, rng.choice(lines))
        elif kind == 2:
            lines[place] = f"{rng.choice(('name', 'env_kwargs', 'demos', 'data-dir'))} = " + (
                rng.choice(_TOML)
            )
        elif kind == 3:
            del lines[place]
        text = "\n".join(lines)
        if kind == 4:
            content = mutate.change_bytes(text.encode("utf-8", "replace"), rng)
            text = content.decode("utf-8", "surrogateescape")
    path = folder / "sweep.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


_TOML = (
    '""', '"\\u001b[2J"', '"0-9999"', '["a", "a"]', "[]", "{}", "nan", "inf", "1e300", "-1",
    "true", "1979-05-27T07:32:00Z", '"../../x"', '"~/x"', '["a=1", "a=2"]', '"nothing.npz"',
    "[" * 3000, '"' + "a" * 5000 + '"', "{ a = { b = 1 } }", '["x\\u0000"]', '"/dev/zero"',
)  # fmt: skip


def judge_spec(spec: Spec) -> None:
    assert 0 < len(spec.rows) <= 100_000
    for row in spec.rows:
        assert row.title.isprintable()
        assert row.threads >= 1
        assert row.seed >= 0


# The policies of a run, and an expert in training.


def hostile_policies(rng: Random, folder: Path) -> Path:
    (folder / "policies").mkdir()
    if rng.random() < 0.5:
        made = hostile_npz(policy_arrays())(rng, folder)
        made.rename(folder / "policies" / "last.npz")
    else:
        kinds = {".pth": tensors_changed, "data": pickled_fields_changed}
        (folder / "model.zip").write_bytes(mutate.change_archive(sb3_model(), rng, kinds))
    return folder


@cache
def partial_content() -> dict[str, Any]:
    policy = small_policy(3, 1)
    layers = [
        [torch.as_tensor(w), torch.as_tensor(b)]
        for w, b in zip(policy.weights, policy.biases, strict=True)
    ]
    best = {"layers": layers, "obs_clip": 5.0, "classes": False}
    best |= {name: torch.as_tensor(getattr(policy, name)) for name in ("obs_mean", "obs_std")}
    return {"format": "l2l_gail.partial_expert", "settings": {"seed": 0}, "best": best}


# The board: all that is drawn, printed and put into a page.


def hostile_board(rng: Random, folder: Path) -> Path:
    hostile_comparison(rng, folder)
    for run in [path.parent for path in folder.rglob("summary.json")]:
        kind = rng.randrange(6)
        if kind == 0:
            images = rng.choice(((6, 8, 8, 3), (1, 28, 28, 1), (0, 8, 8, 3), (2, 8, 8, 2)))
            pixels = np.zeros(images, np.uint8)
            of_classes = np.arange(images[0]) % 3
            arrays = {
                "clean": pixels, "perturbed": pixels, "labels": of_classes, "before": of_classes,
                "after": of_classes, "classes": np.array(["$a_{$", "\x1b[2J", "<b>"]),
            }  # fmt: skip
            hostile_npz(arrays)(rng, run).rename(run / "adversarial.npz")
        elif kind == 1:
            os.mkfifo(run / rng.choice(("adversarial.npz", "adversarial.png")))
        elif kind in (2, 3):
            picture = io.BytesIO()
            form = "PNG" if kind == 2 else "GIF"
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture, format=form)
            content = mutate.change_bytes(picture.getvalue(), rng)
            (run / "videos").mkdir()
            name = "adversarial.png" if kind == 2 else "videos/last.gif"
            (run / name).write_bytes(content)
        elif kind == 4:
            with contextlib.suppress(OSError):  # another has that name
                run.rename(run.parent / f"seed{rng.choice((0, 7))}")
    return folder


def read_board(root: Path) -> str:
    compare(root)
    folder = root / "comparison"
    return "".join((folder / name).read_text() for name in ("index.html", "summary.md"))


def judge_board(text: str) -> None:
    assert not any(char in text for char in "\x1b\u202e\x00")


def judge_run_policy(policy: MlpPolicy) -> None:
    with np.errstate(all="ignore"):
        actions = policy(np.zeros((2, policy.obs_dim)))
    assert len(actions) == 2
    assert np.isfinite(actions).all()


TEXT_SUBJECTS: dict[str, Subject] = {
    "rule text": Subject(hostile_rule_text, parse_rule, judge_built),
    "run's policy": Subject(hostile_policies, load_policy, judge_run_policy),
    "partial": Subject(
        hostile_tensors(partial_content, "expert.partial.pt"), partial_policy, judge_run_policy
    ),
}
SLOW_SUBJECTS: dict[str, Subject] = {
    "sweep": Subject(hostile_sweep, read_spec, judge_spec),
    "board": Subject(hostile_board, read_board, judge_board),
}
"""Each input is asked of the scripts, or drawn."""
