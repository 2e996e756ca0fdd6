"""What a training step of each method costs in CPU time, side by side in one process.

    .venv/bin/python benchmarks/cifar/step_cost.py --json benchmarks/results/step_cost.json

The methods take turns of two steps on the same batch, so that whatever else the machine does falls
on all alike; the figures are medians over the turns of the CPU seconds of one thread, and of their
ratios to PGD-2's in the same turn with a 95 % bootstrap interval. Generated images of CIFAR's size:
a step's cost does not hang on what it sees.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from adv_training import Dataset, Settings, build_game, build_method, build_trainer, train_step
from adv_training.data import ImageBatch
from adv_training.step import classifier_for
from adv_training.synthetic import synthetic_dataset
from benchmarks.turns import Cost, take_turns
from l2l_gail.cli import parse, run_main
from l2l_gail.text_table import format_table

METHODS: dict[str, dict[str, Any]] = {
    "FGSM": {"method": "fgsm"},
    "N-FGSM": {"method": "n_fgsm"},
    "PGD-2": {"method": "pgd", "pgd_steps": 2},
    "L2L": {"method": "grad_l2l"},
    "L2L, class start": {"method": "grad_l2l", "attacker": "class_start"},
    "L2L, residual": {"method": "grad_l2l", "attacker": "residual"},
    "L2L, trained at every step": {"method": "grad_l2l", "attacker_every": 1},
    "L2L, start and sign": {"method": "start_l2l"},
}
"""By name, what makes the method; ``L2L`` is what ``--method grad_l2l`` does by default."""

REFERENCE = "PGD-2"


NETWORKS: dict[str, dict[str, Any]] = {
    "small CNN": {"model": "small_cnn"},
    "narrow PreActResNet-18": {"model": "preact_resnet18", "width": 0.125},
}
"""By name, the classifiers that are trained on a CPU here."""

STEPS = 2
"""In a turn: a learned attacker is trained in one of two."""


@dataclass(frozen=True)
class Config:
    """Flags of step_cost.py."""

    batch_size: int = 128
    """Images in a step."""
    turns: int = 40
    """Turns on each network, two steps of each method; the first three are not counted."""
    json: Path | None = None
    """File to write the figures to."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    config = parse(Config, argv, prog="step_cost.py", description="CPU time of a training step.")
    torch.set_num_threads(1)
    found = {name: measure(how, config) for name, how in NETWORKS.items()}
    rows = [[method, *(of[method].told() for of in found.values())] for method in METHODS]
    header = ("method", *(f"{name}: CPU ms a step, of {REFERENCE}'s" for name in found))
    print(format_table(header, rows))
    if config.json:
        setup = {"batch_size": config.batch_size, "turns": config.turns}
        setup |= {"machine": platform.machine(), "torch": torch.__version__}
        costs = {
            name: {method: asdict(cost) for method, cost in of.items()}
            for name, of in found.items()
        }
        config.json.write_text(json.dumps({"setup": setup, "costs": costs}, indent=1) + "\n")


def measure(network: dict[str, Any], config: Config) -> dict[str, Cost]:
    """Return what a step of each method costs with a classifier."""
    data = synthetic_dataset(train_size=20 * config.batch_size, eval_size=10, held_out=10)
    batch = next(
        data.train.shuffled(config.batch_size, torch.Generator().manual_seed(0), augmented=True)
    )
    work = {name: _steps(how | network, data, batch) for name, how in METHODS.items()}
    costs = take_turns(work, config.turns, reference=REFERENCE, uncounted=3)
    return {name: replace(cost, seconds=cost.seconds / STEPS) for name, cost in costs.items()}


def _steps(how: dict[str, Any], data: Dataset, batch: ImageBatch) -> Callable[[], None]:
    settings = Settings(how["method"], data.name, **{k: v for k, v in how.items() if k != "method"})
    method = build_method(settings)
    noise = torch.Generator().manual_seed(0)
    game = build_game(classifier_for(settings, data), method, settings, noise, data.train)
    trainer = build_trainer(game, method, settings)
    assert STEPS % settings.attacker_every == 0

    def steps() -> None:
        for _ in range(STEPS):
            train_step(trainer, method, batch)

    return steps


if __name__ == "__main__":
    run_main(main)
