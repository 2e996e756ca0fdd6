"""Torch's global settings are the user's: no result depends on them, and they are left alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adv_training.attacks import fgsm, input_gradient, losses, pgd, pgd_survivors
from adv_training.attacks import standing_survivors as standing
from adv_training.evaluate import accuracy, attack, attack_gain
from adv_training.image_losses import cross_entropy
from adv_training.methods import build_method
from adv_training.synthetic import synthetic_dataset
from adv_training.training import Training
from l2l_gail.core import MatrixRule
from l2l_gail.gail import GAIL, L2LGAIL, DiscriminatorConfig, RuleTraining
from l2l_gail.runs import RunFolder
from tests.adv_training.support import EPS, generator, tiny_batch, tiny_game, tiny_settings
from tests.gail.support import walk_demos, walk_envs


@contextlib.contextmanager
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """A device where nothing can be computed: whatever is made on it by mistake is an error."""
    torch.set_default_device("meta")
    try:
        yield
        assert torch.zeros(1).device.type == "meta"
    finally:
        torch.set_default_device(None)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": double,
    "another device": elsewhere,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


RULE = MatrixRule()  # what a caller makes is of the caller's settings


def imitate(cls: type[GAIL], folder: Path) -> list[Any]:
    learned = {"rule": RULE, "rule_training": RuleTraining(meta_every=1)}
    model = cls(
        "MlpPolicy", walk_envs(2), walk_demos(), n_steps=16, batch_size=16, n_epochs=1, seed=0,
        device="cpu", discriminator=DiscriminatorConfig((8,), 2, 16),
        **(learned if cls is L2LGAIL else {}),
    ).learn(64)  # fmt: skip
    model.save(folder / "model")
    loaded = cls.load(folder / "model", device="cpu")
    observations = np.linspace(-1, 1, 4, dtype=np.float32).reshape(2, 2)
    return [
        *model.policy.state_dict().values(),
        *model.discriminator.state_dict().values(),
        torch.from_numpy(model.predict(observations, deterministic=True)[0]),
        torch.from_numpy(loaded.predict(observations, deterministic=True)[0]),
    ]


def defend(method: str, folder: Path) -> list[Any]:
    data = synthetic_dataset(train_size=60, eval_size=20, held_out=20)
    settings = tiny_settings(method, epochs=1, batch_size=20)
    run = Training(settings, data, RunFolder.create(folder, "synthetic", method, 0))
    summary = run.run()
    measured = np.array([summary["clean"], summary["robust"]], np.float32)
    return [*run.game.classifier.state_dict().values(), torch.from_numpy(measured)]


GAMES: dict[str, Callable[[Path], list[Any]]] = {
    "gail": lambda folder: imitate(GAIL, folder),
    "l2l_gail": lambda folder: imitate(L2LGAIL, folder),
    "pgd": lambda folder: defend("pgd", folder),
    "grad_l2l": lambda folder: defend("grad_l2l", folder),
}


@pytest.mark.parametrize("game", GAMES)
def test_training_gives_the_same_whatever_torch_is_set_to(game: str, tmp_path: Path) -> None:
    expected = GAMES[game](tmp_path / "plain")
    for name, setting in SETTINGS.items():
        with setting():
            found = GAMES[game](tmp_path / name.replace(" ", "_"))
        for one, other in zip(expected, found, strict=True):
            assert one.dtype == other.dtype, name
            assert torch.equal(one, other), name


@pytest.mark.parametrize("name", SETTINGS)
def test_attacks_give_the_same_whatever_torch_is_set_to(name: str) -> None:
    game, batch = tiny_game(), tiny_batch(8)
    model, method = game.classifier, build_method(tiny_settings("grad_l2l"))
    data = synthetic_dataset(train_size=60, eval_size=20, held_out=20)
    attacks: dict[str, Callable[[], Any]] = {
        "losses": lambda: losses(model, batch.x, batch.y),
        "fgsm": lambda: fgsm(model, batch, EPS),
        "pgd": lambda: pgd(model, batch, EPS, steps=3, generator=generator()),
        "pgd_survivors": lambda: pgd_survivors(model, batch, EPS, steps=2, generator=generator()),
        "standing": lambda: standing(model, batch, EPS, generator=generator()),
        "input_gradient": lambda: input_gradient(model, batch, cross_entropy),
        "attack": lambda: attack(game, method, batch),
        "attack_gain": lambda: attack_gain(game, method, data.test),
        "accuracy": lambda: accuracy(model, data.test, EPS, seed=0),
    }
    expected = {key: act() for key, act in attacks.items()}
    with SETTINGS[name]():
        found = {key: act() for key, act in attacks.items()}
    for key, value in expected.items():
        same = torch.equal(value, found[key]) if torch.is_tensor(value) else value == found[key]
        assert same, key


def test_images_made_in_inference_mode_can_be_attacked() -> None:
    game, batch = tiny_game(), tiny_batch(8)
    with torch.inference_mode():
        copy = type(batch)(batch.x.clone(), batch.y.clone())
    assert copy.x.is_inference()
    assert torch.equal(pgd(game.classifier, copy, EPS), pgd(game.classifier, batch, EPS))
