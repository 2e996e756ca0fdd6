"""Small pictures, small players: what the tests of adversarial training share."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from adv_training.cifar_files import read_cifar10
from adv_training.data import Dataset, ImageBatch
from adv_training.game import ImageGame
from adv_training.models import build_classifier
from adv_training.plan import plan_of
from adv_training.settings import Settings
from adv_training.synthetic import synthetic_images
from adv_training.training import Training
from l2l_gail.runs import RunFolder

EPS = 8 / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny_batch(count: int = 16, seed: int = 0) -> ImageBatch:
    return synthetic_images(count, seed=seed).batch(slice(None))


def tiny_settings(method: str = "pgd", **changes: object) -> Settings:
    values = {"data": "synthetic", "model": "tiny_cnn", "epochs": 2, "batch_size": 32, **changes}
    return Settings(method=method, **values)  # type: ignore[arg-type]


def tiny_game(seed: int = 0, **options: object) -> ImageGame:
    """A game whose classifier has seen a few batches: its statistics are not the initial ones."""
    classifier = build_classifier("tiny_cnn", 10, seed)
    classifier.train()
    with torch.no_grad():
        for k in range(5):
            classifier(tiny_batch(64, seed=100 + k).x)
    return ImageGame(classifier, EPS, **options)  # type: ignore[arg-type]


class Linear(nn.Module):
    """Two classes, logits (0, w.x): the loss's gradient has the sign of +-w everywhere."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, 4, generator=generator(seed)))

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weight).sum(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], dim=1)


def write_cifar10(
    folder: Path,
    *,
    per_file: int = 20,
    keys: type = str,
    changes: dict | None = None,
    seed: int = 0,
) -> Path:
    """Write six small batches in the standard format; ``changes`` replaces entries of batch 2."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name in names:
        content = {
            "data": rng.integers(0, 256, (per_file, 3072), dtype=np.uint8),
            "labels": [int(i) for i in rng.integers(0, 10, per_file)],
        }
        if name == "data_batch_2":
            content |= changes or {}
        if keys is bytes:
            content = {key.encode(): value for key, value in content.items()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return folder


def start(tmp_path: Path, settings: Settings, data: Dataset, **options: Any) -> Training:
    resume = options.get("resume", False)
    label = plan_of(settings, data, name="test").label
    folder = RunFolder.create(tmp_path, "synthetic", label, settings.seed, resume=resume)
    return Training(settings, data, folder, **options)


def weights(run: Training) -> dict[str, torch.Tensor]:
    """Return those of classifier and rule, by name."""
    rule = {f"rule.{k}": v for k, v in run.method.rule.state_dict().items()}
    return {k: v.clone() for k, v in (run.game.classifier.state_dict() | rule).items()}


def tensorboard_points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    images = {
        tag: [(e.step, len(e.encoded_image_string)) for e in events.Images(tag)]
        for tag in events.Tags()["images"]
    }
    return images | {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def read_quietly(folder: Path, *, train: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a folder that is not the original."""
    return read_cifar10(folder, train=train, check_md5=False)


def md5_of(path: Path) -> str:
    """The digest that a download is held against."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
