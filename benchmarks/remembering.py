"""What a memory of each image is worth: the attacker that has one, against a frozen classifier.

``benchmarks/attackers.py`` judges attackers on test images, of which an attacker with a memory has
none. Here it attacks the same training images pass after pass, shifted and mirrored anew each time
as in a training, and is trained along; after each pass its gain (mean cross-entropy at its images
minus that at the clean ones, in nats) is measured on these images as they are, with what it
remembers of them. FGSM, PGD-2 and PGD-10 on the same images and classifier stand beside it. The
classifiers are those of ``attackers.py``, one for each epsilon.

    .venv/bin/python benchmarks/remembering.py --data-dir DIR --json FILE

Seven minutes on one thread, the classifiers included (kept with ``--cache FOLDER``).
"""

from __future__ import annotations

import copy
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from attackers import BATCH, LR, frozen_classifier, images_of  # noqa: E402

from adv_training import Dataset, ImageGame, Images, Settings, build_game  # noqa: E402
from adv_training.attacks import fgsm, losses, pgd  # noqa: E402
from adv_training.evaluate import attack  # noqa: E402
from adv_training.game import in_mode  # noqa: E402
from adv_training.image_losses import cross_entropy  # noqa: E402
from adv_training.methods import build_method  # noqa: E402
from adv_training.registry import Method  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.files import atomic_write  # noqa: E402
from l2l_gail.text_table import format_table  # noqa: E402

QUERIES = {"PGD-2": 2, "PGD-10": 10}
"""Gradients that an attack asks for; all others ask for one."""


@dataclass(frozen=True)
class Config:
    """Flags of remembering.py."""

    data_dir: Path | None = None
    """Folder that holds cifar-10-batches-py; without it generated images are used."""
    eps: tuple[float, ...] = (8.0, 12.0, 16.0)
    """Radii, in 1/255."""
    passes: int = 6
    """Times that every image is attacked."""
    images: int = 4_000
    """Training images that are attacked."""
    train_size: int = 20_000
    """Images that the classifiers are trained on, the held-out ones included."""
    epochs: int = 4
    """Of the classifiers' training."""
    cache: Path | None = None
    """Folder that keeps the classifiers."""
    json: Path | None = None
    """File to write the figures to."""


def remember(game: ImageGame, method: Method, images: Images, passes: int) -> Iterator[Tensor]:
    """Attack the images pass after pass, training the attacker along; yield its gains after each.

    Args:
        game: The frozen classifier, and the memory.
        method: The attacker, trained in place.
        images: What is attacked.
        passes: How often.
    """
    parameters = list(method.rule.parameters())
    optimizer = torch.optim.Adam(parameters, lr=LR)
    order = torch.Generator().manual_seed(1)
    steps, done = passes * (len(images) // BATCH), 0
    assert game.memory is not None
    for _ in range(passes):
        for batch in images.shuffled(BATCH, order, augmented=True):
            for group in optimizer.param_groups:
                group["lr"] = LR * (1 - done / steps)
            x = attack(game, method, batch, differentiable=True)
            with in_mode(game.classifier, training=False):
                loss = -cross_entropy(game.classifier(x), batch.y).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            game.memory.keep(batch, x)
            done += 1
        yield gains(game, images, lambda batch: attack(game, method, batch))


def gains(game: ImageGame, images: Images, attacked: Any) -> Tensor:
    """Return by how much an attack raises the cross-entropy of each image, shape ``(N,)``."""
    found = []
    for batch in images.batches(250):
        x = attacked(batch)
        clean = losses(game.classifier, batch.x, batch.y)
        found.append(losses(game.classifier, x, batch.y) - clean)
    return torch.cat(found)


def judge(model: nn.Module, data: Dataset, settings: Settings, config: Config) -> dict[str, Any]:
    """Return the gains of all attacks on one classifier."""
    images = data.train[: config.images]
    ours = Settings("grad_l2l", data.name, eps=settings.eps, attacker="memory", attacker_noise=0.0)
    method = build_method(ours)
    classifier = copy.deepcopy(model).eval().requires_grad_(False)
    game = build_game(classifier, method, ours, images=images)
    eps = settings.radius
    known = {
        "FGSM": lambda batch: fgsm(classifier, batch, eps),
        "PGD-2": lambda batch: pgd(classifier, batch, eps, steps=2, step_size=0.75 * eps),
        "PGD-10": lambda batch: pgd(classifier, batch, eps, steps=10, step_size=0.25 * eps),
    }
    found = {name: gains(game, images, attacked) for name, attacked in known.items()}
    for i, of_pass in enumerate(remember(game, method, images, config.passes), start=1):
        found[f"memory, pass {i}"] = of_pass
    return {
        name: {"gain": round(float(of_each.mean()), 5)}
        | lead(of_each, found["FGSM"], "over_fgsm", "standard_error")
        | lead(of_each, found["PGD-2"], "over_pgd_2", "standard_error_pgd_2")
        for name, of_each in found.items()
    }


def lead(of_each: Tensor, other: Tensor, name: str, error: str) -> dict[str, float]:
    """Return by how much an attack gains more than another, and the standard error of that."""
    more = of_each - other
    mean, spread = more.mean(), more.std() / len(more) ** 0.5
    return {name: round(float(mean), 5), error: round(float(spread), 5)}


def main(argv: list[str] | None = None) -> None:
    """Measure at every epsilon, print the table."""
    config = parse(Config, argv, prog="remembering.py", description="What a memory is worth.")
    torch.set_num_threads(1)
    data = images_of(config.data_dir, config.train_size, eval_size=2_000)
    told = {"data": data.name, "train_images": len(data.train), "images": config.images}
    told |= {"epochs": config.epochs, "passes": config.passes, "batch": BATCH, "lr": LR}
    told |= {"torch": torch.__version__, "machine": platform.machine()}
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for eps in config.eps:
            settings = Settings("pgd", data.name, eps=eps, epochs=config.epochs, ramp=0.5, ema=0.99)
            model = frozen_classifier(settings, data, config.cache or Path(scratch))
            for name, figures in judge(model, data, settings, config).items():
                row = rows.setdefault(name, {"queries": QUERIES.get(name, 1)})
                row[f"eps{eps:g}"] = figures
    if config.json:
        text = json.dumps({"setup": told, "variants": rows}, indent=1) + "\n"
        atomic_write(config.json, text.encode())
    header = ("attack", *(f"eps {eps:g}" for eps in config.eps))
    cells = [
        [name, *(f"{row[r]['gain']:.4f} {row[r]['over_fgsm']:+.4f}" for r in row if r != "queries")]
        for name, row in rows.items()
    ]
    print(format_table(header, cells))


if __name__ == "__main__":
    run_main(main)
