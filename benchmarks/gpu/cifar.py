"""Seconds of an epoch of each method of adversarial training on a GPU, beside the count of passes.

    .venv/bin/python benchmarks/gpu/cifar.py --json benchmarks/results/gpu/cifar.json

ResNet-18 under the settings of the ``fastat`` preset (batches of 128, label smoothing, weight
averaging), in bfloat16: all methods take a training step in turn, so that whatever else happens
falls on all alike, and an epoch is 390 of the median step. ``passes`` is the project's own count of
forward passes of the classifier in a step; if it says what a step costs, the two columns of ratios
to PGD-10 are equal. Generated images of CIFAR's size: a step's cost does not hang on what it sees.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from support import Results

from adv_training import build_game, build_method, build_trainer, train_step
from adv_training.cost import attacker_flops, forward_flops
from adv_training.cuda_graphs import with_cuda_graphs
from adv_training.methods import forward_equivalents
from adv_training.presets import preset
from adv_training.step import classifier_for
from adv_training.synthetic import synthetic_dataset
from l2l_gail.averaging import WeightAverage
from l2l_gail.cli import parse, run_main
from l2l_gail.text_table import format_table

METHODS: dict[str, dict[str, Any]] = {
    "standard": {"method": "standard"},
    "FGSM": {"method": "fgsm"},
    "FGSM-RS": {"method": "fgsm_rs"},
    "N-FGSM": {"method": "n_fgsm"},
    "Free": {"method": "free"},
    "PGD-2": {"method": "pgd", "pgd_steps": 2},
    "PGD-10": {"method": "pgd", "pgd_steps": 10},
    "TRADES-10": {"method": "trades", "pgd_steps": 10},
    "L2L": {"method": "grad_l2l", "attacker": "class_start"},
    "L2L, memory": {"method": "grad_l2l", "attacker": "memory", "attacker_noise": 0.0},
    "L2L, fused": {"method": "grad_l2l", "attacker": "class_start", "order": "fused"},
    "L2L, residual": {"method": "grad_l2l", "attacker": "residual"},
    "L2L, two steps": {"method": "grad_l2l", "attacker": "class_start", "l2l_steps": 2},
    "L2L, start and sign": {"method": "start_l2l", "attacker": "class_start"},
}
"""By name, what differs from the preset."""

STEPS_OF_AN_EPOCH = 50_000 // 128


@dataclass(frozen=True)
class Config:
    """Flags of cifar.py."""

    device: str = "cuda"
    """Where to train."""
    model: str = "resnet18"
    """The classifier."""
    rounds: int = 12
    """Rounds; the first four are not counted."""
    compile: bool = False
    """Run the classifier through torch.compile."""
    cuda_graphs: bool = False
    """Replay the classifier's passes as CUDA graphs."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Which of them."""
    json: Path | None = None
    """File of the results."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    config = parse(Config, argv, prog="cifar.py", description="Seconds of an epoch on a GPU.")
    results = Results(config.json, 1e9)
    setup = {
        "model": config.model,
        "compile": config.compile,
        "cuda_graphs": config.cuda_graphs,
    }
    if results.wants(**setup, method=config.methods[-1]):
        for cell in measure(config):
            results.add(**setup, **cell)
    cells = [c for c in results.cells if all(c[k] == v for k, v in setup.items())]
    by_name = {c["method"]: c for c in cells}
    if "PGD-10" in by_name:
        one = by_name["PGD-10"]
        rows = [
            [
                name,
                *(f"{c['epoch_s']:.1f}", f"{c['step_ms']:.2f}", f"{c['passes']:.1f}"),
                *(f"{c[key] / one[key]:.3f}" for key in ("step_ms", "passes")),
            ]
            for name, c in by_name.items()
        ]
        head = ("method", "s an epoch", "ms a step", "passes", "time of PGD-10", "passes of PGD-10")
        print("\n" + format_table(head, rows))


def measure(config: Config) -> list[dict[str, Any]]:
    """Return the median step of each method."""
    device = torch.device(config.device)
    data = synthetic_dataset(train_size=2560, eval_size=10, held_out=10)
    images = data.train.to(device)
    players = {}
    graphs = ExitStack()
    for name in config.methods:
        given = dict(METHODS[name])
        settings = preset(
            "fastat",
            given.pop("method"),
            data.name,
            model=config.model,
            bf16=True,
            compile=config.compile,
            **given,
        )
        method = build_method(settings)
        method.rule.to(device)
        classifier = classifier_for(settings, data).to(device)
        classifier = classifier.to(memory_format=torch.channels_last)
        noise = torch.Generator(device).manual_seed(0)
        game = build_game(classifier, method, settings, noise, images)
        average = WeightAverage(classifier, settings.ema)
        if config.compile:
            classifier.compile()
        if config.cuda_graphs:
            graphs.enter_context(with_cuda_graphs(classifier, {settings.batch_size}))
        attacker = attacker_flops(method, 3, 32, 32) or 0
        share = attacker / forward_flops(classifier, 1, 3, 32, 32)
        passes = forward_equivalents(settings, share)
        trainer = build_trainer(game, method, settings)
        players[name] = (trainer, method, average, classifier, passes)
    batch = next(images.shuffled(128, torch.Generator(device).manual_seed(0), augmented=True))
    spent: dict[str, list[float]] = {name: [] for name in players}
    for _ in range(config.rounds):
        for name, (trainer, method, average, classifier, _) in players.items():
            _wait(device)
            begun = time.perf_counter()
            for _ in range(4):
                stats = train_step(trainer, method, batch)
                average.follow(classifier)
            _wait(device)
            spent[name].append((time.perf_counter() - begun) / 4)
            assert bool(torch.isfinite(stats["leader_loss"])), name
    graphs.close()
    found = []
    for name, (*_, passes) in players.items():
        each = spent[name][4:] or spent[name]
        step = statistics.median(each)
        found.append(
            {
                "method": name,
                "step_ms": round(1000 * step, 3),
                "epoch_s": round(step * STEPS_OF_AN_EPOCH, 2),
                "passes": round(passes, 2),
                "each_ms": [round(1000 * s, 3) for s in each],
            }
        )
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    run_main(main)
