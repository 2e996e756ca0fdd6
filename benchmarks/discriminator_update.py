"""What one discriminator update costs under the rules of the core, beside ``torch.optim.Adam``.

The discriminator is a 23-100-100-1 tanh network (12.6k weights), an update sees 256 expert and 256
policy samples and no penalty, on one thread. The yardstick is the ordinary way to train it:
``nn.Module`` forward, binary cross-entropy, backward, default ``torch.optim.Adam``. All rows are
measured in turn within the same run, block by block, and compared by their lower quartiles, so that
a busy machine slows them alike.

    python benchmarks/discriminator_update.py --json benchmarks/results/discriminator_update.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from l2l_gail.core import (
    Adam,
    CoordinateMLP,
    Game,
    L2LTrainer,
    MatrixRule,
    MetaMode,
    Muon,
    UpdateRule,
    Vars,
)

WIDTHS = (23, 100, 100, 1)
SAMPLES = 256  # of each class
LR = 3e-4
META_LR = 3e-3
MATRIX_LR = 3e-2


class Samples(NamedTuple):
    """Network inputs of both classes, shape ``(256, 23)`` each."""

    expert: Tensor
    policy: Tensor


class DiscriminatorGame(Game):
    """The cross-entropy of a functional tanh network; the follower is its weights."""

    def __init__(self, model: nn.Sequential) -> None:
        self.model = model

    def init_follower(self, batch: Samples) -> Vars:
        """Return a copy of the model's weights."""
        return {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def follower_loss(self, follower: Vars, batch: Samples) -> Tensor:
        """Return the binary cross-entropy, expert high."""
        h = torch.cat([batch.expert, batch.policy])  # (512, 23)
        *hidden, (w_out, b_out) = zip(*[iter(follower.values())] * 2, strict=True)
        for w, b in hidden:
            h = F.linear(h, w, b).tanh()
        return cross_entropy(F.linear(h, w_out, b_out))


def cross_entropy(logits: Tensor) -> Tensor:
    """Return the loss of ``(512, 1)`` logits whose first half is the expert's."""
    labels = torch.zeros_like(logits)
    labels[:SAMPLES] = 1.0
    return F.binary_cross_entropy_with_logits(logits, labels)


def discriminator() -> nn.Sequential:
    """Return the network with the same initial weights each time."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(WIDTHS):
        layers += [nn.Linear(n_in, n_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def ordinary_update(batches: list[Samples]) -> Callable[[], Any]:
    """Return the yardstick: one update by ``torch.optim.Adam`` with its defaults."""
    model = discriminator()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    turn = iter(range(10**9))

    def update() -> None:
        batch = batches[next(turn) % len(batches)]
        loss = cross_entropy(model(torch.cat([batch.expert, batch.policy])))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def core_update(
    batches: list[Samples],
    rule: UpdateRule,
    meta_every: int | None,
    meta_mode: MetaMode = "reverse",
) -> Callable[[], Any]:
    """Return one update through the core; the rule trains at every n-th step, or never."""
    optimizer = None
    if meta_every is not None:
        optimizer = torch.optim.Adam(rule.meta_parameter_groups(META_LR), fused=True)
    trainer = L2LTrainer(
        DiscriminatorGame(discriminator()),
        rule,
        meta_optimizer=optimizer,
        persistent=True,
        meta_every=meta_every or 1,
        meta_mode=meta_mode,
    )
    turn = iter(range(10**9))

    def update() -> None:
        at = next(turn)
        # The meta-loss is that of samples that the inner step has not seen.
        held_out = [batches[(at + 1) % len(batches)]] if trainer.needs_meta_batches else None
        trainer.step([batches[at % len(batches)]], held_out)

    return update


def measure(
    updates: dict[str, Callable[[], Any]], rounds: int, per_round: int
) -> dict[str, list[float]]:
    """Return milliseconds per update of each row, one figure a round, rows taking turns."""
    for update in updates.values():  # warm-up: first allocations, lazy optimizer states
        for _ in range(20):
            update()
    times: dict[str, list[float]] = {name: [] for name in updates}
    for _ in range(rounds):
        for name, update in updates.items():
            start = time.process_time()
            for _ in range(per_round):
                update()
            times[name].append((time.process_time() - start) / per_round * 1e3)
    return times


def main() -> None:
    """Measure, print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="rounds, rows taking turns (60)")
    parser.add_argument("--per-round", type=int, default=8, help="updates in a round (8)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    batches = [
        Samples(
            torch.randn(SAMPLES, WIDTHS[0], generator=generator) + 0.3,
            torch.randn(SAMPLES, WIDTHS[0], generator=generator) - 0.3,
        )
        for _ in range(16)
    ]
    updates = {
        "torch.optim.Adam": ordinary_update(batches),
        "core Adam": core_update(batches, Adam(LR), None),
        "learned, frozen": core_update(batches, CoordinateMLP(LR), None),
        "learned, trained every 4th step": core_update(batches, CoordinateMLP(LR), 4),
        "learned, trained every step": core_update(batches, CoordinateMLP(LR), 1),
        "core Muon": core_update(batches, Muon(MATRIX_LR), None),
        "matrix rule, step": core_update(batches, MatrixRule(MATRIX_LR), 1),
        "matrix rule, step, next": core_update(batches, MatrixRule(MATRIX_LR), 1, "next"),
        "matrix rule, step, forward": core_update(batches, MatrixRule(MATRIX_LR), 1, "forward"),
        "matrix rule, step of each tensor": core_update(
            batches, MatrixRule(MATRIX_LR, layers=6), 1
        ),
        "matrix rule, step and momentum": core_update(
            batches, MatrixRule(MATRIX_LR, learn_momentum=True), 1
        ),
        "matrix rule, step and network": core_update(
            batches, MatrixRule(MATRIX_LR, learn_network=True), 1
        ),
    }
    bars = {
        "learned, frozen": 2.0,
        "learned, trained every 4th step": 3.0,
        "learned, trained every step": 6.0,
    }
    times = measure(updates, options.rounds, options.per_round)
    yardstick = times["torch.optim.Adam"]
    rows = []
    print(f"{'update':34}{'ms (lower quartile)':>20}{'ms (median)':>13}{'ratio':>8}{'bar':>6}")
    for name, row in times.items():
        quartile, middle = statistics.quantiles(row, n=4)[0], statistics.median(row)
        ratio = quartile / statistics.quantiles(yardstick, n=4)[0]
        bar = bars.get(name)
        print(f"{name:34}{quartile:>20.3f}{middle:>13.3f}{ratio:>8.2f}{bar or '':>6}")
        rows.append(
            {
                "update": name,
                "ms_lower_quartile": round(quartile, 4),
                "ms_median": round(middle, 4),
                "ratio_of_lower_quartiles": round(ratio, 3),
                "ratio_of_medians": round(middle / statistics.median(yardstick), 3),
                "bar": bar,
            }
        )
    if options.json:
        report = {
            "benchmark": "discriminator_update",
            "widths": WIDTHS,
            "samples_per_class": SAMPLES,
            "threads": 1,
            "rounds": options.rounds,
            "updates_per_round": options.per_round,
            "rows": rows,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
