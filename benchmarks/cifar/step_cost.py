"""What a training step of each method costs in CPU time, side by side in one process.

    .venv/bin/python benchmarks/cifar/step_cost.py --json benchmarks/results/step_cost.json

Every method takes a step in turn, on the same batch, so that whatever else the machine does falls
on all alike; the figure is the median over the rounds of the CPU seconds of one thread. A learned
attacker is trained in one step of ``attacker_every``: a round is so many steps. Generated images
of CIFAR's size: a step's cost does not hang on what it sees.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from adv_training import Settings, build_game, build_method, build_trainer, train_step
from adv_training.step import classifier_for
from adv_training.synthetic import synthetic_dataset
from l2l_gail.cli import format_table, parse, run_main

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


@dataclass(frozen=True)
class Config:
    """Flags of step_cost.py."""

    model: str = "small_cnn"
    """The classifier."""
    width: float = 1.0
    """Its width, for preact_resnet18."""
    batch_size: int = 128
    """Images in a step."""
    rounds: int = 30
    """Rounds; the first three are not counted."""
    json: Path | None = None
    """File to write the figures to."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    config = parse(Config, argv, prog="step_cost.py", description="CPU time of a training step.")
    torch.set_num_threads(1)
    seconds = measure(config)
    reference = seconds[REFERENCE]
    rows = [[n, f"{1000 * s:.1f}", f"{s / reference:.3f}"] for n, s in seconds.items()]
    print(format_table(("method", "CPU ms a step", f"of {REFERENCE}"), rows))
    if config.json:
        setup = {"model": config.model, "width": config.width, "batch_size": config.batch_size}
        setup |= {"rounds": config.rounds, "machine": platform.machine()}
        setup |= {"torch": torch.__version__}
        found = {"setup": setup, "seconds": {n: round(s, 5) for n, s in seconds.items()}}
        config.json.write_text(json.dumps(found, indent=1) + "\n")


def measure(config: Config) -> dict[str, float]:
    """Return the median CPU seconds of a step of each method."""
    data = synthetic_dataset(train_size=20 * config.batch_size, eval_size=10, held_out=10)
    players = {}
    for name, how in METHODS.items():
        given = dict(how)
        settings = Settings(
            given.pop("method"), data.name, model=config.model, width=config.width, **given
        )
        method = build_method(settings)
        noise = torch.Generator().manual_seed(0)
        game = build_game(classifier_for(settings, data), method, settings, noise, data.train)
        players[name] = (build_trainer(game, method, settings), method, settings.attacker_every)
    batch = next(
        data.train.shuffled(config.batch_size, torch.Generator().manual_seed(0), augmented=True)
    )
    spent: dict[str, list[float]] = {name: [] for name in players}
    for _ in range(config.rounds):
        for name, (trainer, method, steps) in players.items():
            begun = time.process_time()
            for _ in range(steps):
                train_step(trainer, method, batch)
            spent[name].append((time.process_time() - begun) / steps)
    return {name: statistics.median(values[3:]) for name, values in spent.items()}


if __name__ == "__main__":
    run_main(main)
