"""What a rollout of each method costs in CPU time, all of it: simulation, discriminator and PPO.

    .venv/bin/python benchmarks/gail/step_cost.py --json benchmarks/results/gail_step_cost.json

The methods take turns, a rollout each, in one process on one thread of torch, so that whatever
else the machine does falls on all alike; the figure is the median over the rollouts of the CPU
seconds of all threads, those of the simulation included. Ratios to GAIL with Adam are taken turn by
turn: their median, and its 95 % bootstrap interval over the turns. Everything is as in
``train_gail.py``: 64 environments x 32 steps. Evaluation and checkpoints are not counted.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import envs
from benchmarks.turns import Cost, take_turns
from l2l_gail import GAIL, L2LGAIL, Demonstrations
from l2l_gail.cli import parse, run_main
from l2l_gail.core import Adam, MatrixRule
from l2l_gail.gail import LearnedCredit, RuleTraining
from l2l_gail.text_table import format_table

Make = Callable[..., GAIL]
NEXT = RuleTraining(meta_mode="next", meta_every=1)
EVERY = RuleTraining(meta_every=1)
EIGHT = LearnedCredit(action_samples=8)
METHODS: dict[str, Make] = {
    "GAIL with Adam": lambda *given: GAIL(*given, rule=Adam(1e-2)),
    "GAIL": GAIL,
    "L2L-GAIL": L2LGAIL,
    "rule learned, not credit": lambda *given: L2LGAIL(*given, rule=MatrixRule(), credit=None),
    "rule and credit learned": lambda *given: L2LGAIL(*given, rule=MatrixRule()),
    "both, judged by the next update": lambda *given: L2LGAIL(
        *given, rule=MatrixRule(), rule_training=NEXT
    ),
    "both, trained at every update, 8 actions": lambda *given: L2LGAIL(
        *given, rule=MatrixRule(), rule_training=EVERY, credit=EIGHT
    ),
}
"""By name, how the model is made from policy, environments and demonstrations."""

REFERENCE = "GAIL with Adam"


@dataclass(frozen=True)
class Config:
    """Flags of step_cost.py."""

    envs: tuple[str, ...] = ("Hopper-v5", "HalfCheetah-v5", "Walker2d-v5")
    """Environments with an embedded set of demonstrations."""
    rollouts: int = 100
    """Rollouts of each method; the first five are not counted."""
    json: Path | None = None
    """File to write the figures to."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    config = parse(Config, argv, prog="step_cost.py", description="CPU time of a rollout.")
    torch.set_num_threads(1)
    found = {env_id: measure(env_id, config.rollouts) for env_id in config.envs}
    rows = [[name, *(of[name].told() for of in found.values())] for name in METHODS]
    print(format_table(("method", *(f"{env_id}: CPU ms, of Adam's" for env_id in found)), rows))
    if config.json:
        setup = {"rollouts": config.rollouts, "machine": platform.machine()}
        setup |= {"torch": torch.__version__}
        seconds, ratios = (
            {
                env_id: {name: getattr(of[name], key) for name in METHODS}
                for env_id, of in found.items()
            }
            for key in ("seconds", "ratio")
        )
        result = {"setup": setup, "seconds": seconds, "ratios": ratios}
        config.json.write_text(json.dumps(result, indent=1) + "\n")


def measure(env_id: str, rollouts: int) -> dict[str, Cost]:
    """Return what a rollout of each method costs, the first five not counted."""
    demos = Demonstrations.load(env_id)[:1]
    models: dict[str, Any] = {
        name: make("MlpPolicy", envs.make(env_id, 64, seed=0), demos)
        for name, make in METHODS.items()
    }
    work = {
        name: partial(model.learn, model.n_steps * model.n_envs, reset_num_timesteps=False)
        for name, model in models.items()
    }
    return take_turns(work, rollouts, reference=REFERENCE, uncounted=5)


if __name__ == "__main__":
    run_main(main)
