"""Learned and hand-designed followers on random bilinear games that none of them has seen.

``f = (x - x*)' A (y - y*)`` with 4 x 4 matrices of couplings in [0.5, 1.5], random equilibria and
starts. The leader descends with rate 0.1 and answers the moved follower; rules that move both
players at once are marked. The figure is the distance to the equilibrium over the first one, the
geometric mean of 256 games, after 100 and after 500 steps: 1 is a cycle, 0 is convergence.

The learned follower is a ``GatedMomentum`` trained for 300 meta-updates, unrolls of 20 steps in
plays of 100, on 64 fresh games at a time. It asks for one gradient a step and leaves the leader as
it is; extragradient asks for two and moves both. Trained on exactly the couplings of the test it
drives its gains to the edge of stability, and with some seeds a few of the strongest games are
lost; trained on couplings in [0.4, 1.8] it keeps a margin.

    python benchmarks/bilinear.py --json benchmarks/results/bilinear.json
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import torch
from torch import Tensor

from l2l_gail.core import (
    SGD,
    Extragradient,
    GatedMomentum,
    L2LTrainer,
    Optimistic,
    UpdateRule,
)
from l2l_gail.games import Bilinear, play

LR = 0.1
DIM = 4
HORIZON = 100
UNROLL = 20
AFTER = (100, 500)
TESTED = (0.5, 1.5)  # couplings
WIDER = (0.4, 1.8)

Rules = UpdateRule | tuple[UpdateRule, UpdateRule]


def meta_train(
    seed: int, meta_steps: int, coupling: tuple[float, float], *, second_order: bool = False
) -> GatedMomentum:
    """Return a follower trained on random games by the norm of the joint field."""
    rule = GatedMomentum(LR, seed=seed).double()
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(1e-2))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(meta_steps * UNROLL // HORIZON):
        game, x, y = random_games(64, generator, coupling)
        trainer = L2LTrainer(
            game,
            rule,
            meta_optimizer=optimizer,
            persistent=True,
            meta_on="mean",
            second_order=second_order,
        )
        trainer.begin({"y": y})
        for _ in range(HORIZON // UNROLL):
            trainer.step([x] + [None] * (UNROLL - 1))
            x = trainer.last_batch
    return rule


def random_games(
    n: int, generator: torch.Generator, coupling: tuple[float, float] = TESTED
) -> tuple[Bilinear, Tensor, Tensor]:
    """Return games and a random start ``(x, y)`` of each, shape ``(n, 4)``, float64."""
    game = Bilinear.random(n, DIM, generator, coupling=coupling, leader_lr=LR)
    away = torch.randn(2, n, DIM, generator=generator, dtype=torch.float64)
    return game, game.x_star + away[0], game.y_star + away[1]


def ratios(rules: Rules, seed: int) -> list[float | None]:
    """Return the ratios after 100 and 500 steps on 256 new games, None if any was lost by then.

    A ratio below the rounding error of float64 counts as that.
    """
    game, x, y = random_games(256, torch.Generator().manual_seed(10_000 + seed))
    course = play(game, rules, x, y, max(AFTER))
    gaps = [d / course.distances[0] for d in course.distances]
    rounding = torch.finfo(x.dtype).eps
    played = len(gaps) - (course.diverged_at is not None)
    return [
        float(gaps[t].clamp_min(rounding).log().mean().exp()) if t < played else None for t in AFTER
    ]


def main() -> None:
    """Train, play, print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (0 1 2)")
    parser.add_argument("--meta-steps", type=int, default=300, help="meta-updates (300)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    torch.set_num_threads(1)
    critical = 2 / LR - 1
    hand_designed: dict[str, Rules] = {
        "simultaneous descent (both)": SGD(LR),
        "alternating descent": (SGD(LR), SGD(LR)),
        "extragradient (both)": Extragradient(LR),
        "optimistic follower, gain 1": (SGD(LR), Optimistic(LR)),
        f"optimistic follower, gain {critical:g}": (SGD(LR), Optimistic(LR, critical)),
    }
    rows: dict[str, list[list[float | None]]] = {
        name: [ratios(rules, seed) for seed in options.seeds]
        for name, rules in hand_designed.items()
    }
    seconds = []
    for name, coupling, second_order in (
        ("learned, same couplings", TESTED, False),
        ("learned, wider couplings", WIDER, False),
        ("learned, wider, second order", WIDER, True),
    ):
        rows[name] = []
        for seed in options.seeds:
            start = time.process_time()
            rule = meta_train(seed, options.meta_steps, coupling, second_order=second_order)
            seconds.append(time.process_time() - start)
            rows[name].append(ratios((SGD(LR), rule), seed))

    print(f"{'follower':34}{'seed':>5}" + "".join(f"{f'after {t}':>12}" for t in AFTER))
    for name, by_seed in rows.items():
        for seed, figures in zip(options.seeds, by_seed, strict=True):
            cells = ["diverged" if f is None else f"{f:.2e}" for f in figures]
            print(f"{name:34}{seed:>5}" + "".join(f"{cell:>12}" for cell in cells))
    print(f"meta-training took {max(seconds):.1f} CPU seconds at most")
    if options.json:
        report = {
            "benchmark": "bilinear",
            "lr": LR,
            "meta_steps": options.meta_steps,
            "seeds": options.seeds,
            "after_steps": AFTER,
            "distance_ratios": rows,
            "meta_training_cpu_s_at_most": round(max(seconds), 1),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
