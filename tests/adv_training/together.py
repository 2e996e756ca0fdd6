"""What processes of ``torchrun`` do in the tests: ``torchrun ... -m tests.adv_training.together``.

In float64: what several processes and one find then differs by rounding alone, and rounding is far
below everything else.  In float32 it is not everywhere: next to a clean image the divergence of
TRADES is the difference of two numbers that are nearly equal, and the sign of its gradient noise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from adv_training import step, training
from adv_training.data import Dataset, ImageBatch, Images
from adv_training.game import ImageGame
from adv_training.plan import plan_of
from adv_training.processes import Processes, joined
from adv_training.registry import method_names
from adv_training.synced_batch_norm import sync_batch_norm
from adv_training.synthetic import synthetic_dataset
from adv_training.training import Training
from l2l_gail.runs import RunFolder
from tests.adv_training.support import tiny_settings

RECIPE = {"ramp": 0.5, "ema": 0.9, "label_smoothing": 0.1, "attacker": "slim"}
CASES: dict[str, dict[str, Any]] = {
    **{name: {} for name in method_names()},
    "pgd and all": {"awp": 0.01, **RECIPE},
    "trades and awp": {"awp": 0.005},
    "grad_l2l with a memory": {"attacker": "memory"},
    "grad_l2l in turns": {"order": "alternating", "l2l_steps": 2, **RECIPE},
}


def data() -> Dataset:
    return synthetic_dataset(train_size=148, eval_size=20, held_out=20)


@contextmanager
def in_float64() -> Iterator[None]:
    """Train in double precision, which the library itself never does."""
    as_batch, classifier_for, build_method = (
        Images._as_batch,
        step.classifier_for,
        training.build_method,
    )

    def double_batch(self: Images, *given: Any) -> ImageBatch:
        batch = as_batch(self, *given)
        return batch._replace(x=batch.x.double())

    def double_classifier(*args: Any) -> nn.Module:
        return classifier_for(*args).double()

    def double_method(*args: Any) -> Any:
        method = build_method(*args)
        method.rule.double()
        return method

    def plain_logits(self: ImageGame, classify: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return classify(x)

    with (
        mock.patch.object(Images, "_as_batch", double_batch),
        mock.patch.object(ImageGame, "logits", plain_logits),
        mock.patch.object(training, "classifier_for", double_classifier),
        mock.patch.object(training, "build_method", double_method),
    ):
        yield


def play(case: str, out: Path, processes: Processes) -> dict[str, Any]:
    """Train one case and return all that came of it; in other processes than the first, nothing."""
    settings = tiny_settings(case.split()[0], epochs=2, **CASES[case])
    dataset = data()
    label = plan_of(settings, dataset, name=case.replace(" ", "_")).label
    folder = processes.from_first(lambda: RunFolder.create(out, "synthetic", label, 0))
    run = Training(settings, dataset, folder, processes=processes)
    found = run.run()
    players = {"classifier": run.evaluated, "rule": run.method.rule}
    weights = {f"{p}.{k}": v for p, model in players.items() for k, v in model.state_dict().items()}
    kept = {k: v for k, v in found.items() if k not in ("wall_s", "cpu_s", "processes")}
    return {"weights": weights, "summary": kept}


def normalise(x: Tensor, weight: Tensor, processes: Processes) -> dict[str, Tensor]:
    """One step of two batch normalisations and its gradients, on this process's part of ``x``."""
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3, momentum=None))
    layers.double()
    sync_batch_norm(layers, processes)
    part = processes.part(len(x))
    own = x[part].requires_grad_()
    loss = (layers(own) * weight[part]).square().mean()
    gradients = torch.autograd.grad(loss, [*layers.parameters(), own])
    means = processes.mean(gradients[:-1])
    names = [name for name, _ in layers.named_parameters()]
    layers.eval()
    return {
        **{f"gradient of {name}": value for name, value in zip(names, means, strict=True)},
        "gradient of x": gradients[-1] / processes.count,
        **layers.state_dict(),
        "evaluated": layers(x).detach(),
    }


def batch_to_normalise() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x, weight = torch.randn(2, 8, 3, 4, 4, generator=generator, dtype=torch.float64)
    return 3.0 + 2.0 * x, weight


def main(out: Path) -> None:
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        found = {"normalised": normalise(*batch_to_normalise(), processes)}
        with in_float64():
            found |= {case: play(case, out, processes) for case in CASES}
        torch.save(found, out / f"found{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
