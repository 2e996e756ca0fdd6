"""Faults put into a training: each is found, named, and kept out of the checkpoint."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from l2l_gail.callbacks import CheckpointCallback
from l2l_gail.checkpoints import load_checkpoint, previous_checkpoint, save_checkpoint
from l2l_gail.core import CoordinateMLP
from l2l_gail.errors import InputError
from l2l_gail.gail import AIRL, GAIL, L2LGAIL, DiscriminatorConfig, HealthCallback, RuleTraining
from tests.gail.support import Walk, walk_demos, walk_envs

STEPS = 64  # of a rollout
VALUES = (float("nan"), float("inf"), -float("inf"))


def make_model() -> L2LGAIL:
    return L2LGAIL(
        "MlpPolicy", walk_envs(2), walk_demos(), n_steps=STEPS // 2, batch_size=32, n_epochs=1,
        rule=CoordinateMLP(3e-4), seed=0, device="cpu",
        discriminator=DiscriminatorConfig((8,), 2, 16), rule_training=RuleTraining(meta_every=1),
    )  # fmt: skip


class Fault(BaseCallback):
    """Spoils something once, before a rollout; runs before all other callbacks."""

    def __init__(self, spoil: Callable[[L2LGAIL], None], step: int) -> None:
        super().__init__()
        self.spoil, self.step, self.done = spoil, step, False

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.step and not self.done:
            self.done = True
            assert isinstance(self.model, L2LGAIL)
            self.spoil(self.model)


def set_one(tensors: Any, value: float, rng: np.random.Generator) -> None:
    """Overwrite one entry of one tensor."""
    floats = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    with torch.no_grad():
        floats[int(rng.integers(len(floats)))].view(-1)[0] = value


def tensors_in(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


FATAL: dict[str, Callable[[L2LGAIL], Any]] = {
    "policy": lambda model: model.policy.parameters(),
    "policy's 'optimizer": lambda model: tensors_in(dict(model.policy.optimizer.state)),
    "discriminator": lambda model: [*model.discriminator_updates.trainer.follower.values()],
}
OF_THE_RULE: dict[str, Callable[[L2LGAIL], Any]] = {
    "rule": lambda model: model.discriminator_updates.trainer.rule.parameters(),
    "rule's 'state": lambda model: tensors_in(model.discriminator_updates.trainer.state),
    "rule's 'optimizer": lambda model: tensors_in(
        dict(model.discriminator_updates.trainer.meta_optimizer.state)
    ),
}
PLACES = FATAL | OF_THE_RULE


def train_with(spoil: Callable[[L2LGAIL], None], step: int, path: Path) -> tuple[str, int]:
    """Train with a fault; what was said, and the step of the checkpoint that is left."""
    model = make_model()

    def save() -> None:
        save_checkpoint(path, {"parameters": model.get_parameters(), "steps": model.num_timesteps})

    callbacks = [Fault(spoil, step), HealthCallback(), CheckpointCallback(save, STEPS)]
    with pytest.raises(InputError) as caught:
        model.learn(8 * STEPS, callback=callbacks)
    state = load_checkpoint(path)
    for tensor in tensors_in(state["parameters"]["policy"]):
        assert tensor.isfinite().all()
    return str(caught.value), state["steps"]


def inject(place: str, value: float, seed: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    step = STEPS * int(rng.integers(2, 5))

    def spoil(model: L2LGAIL) -> None:
        set_one(list(PLACES[place](model)), value, rng)

    if place in OF_THE_RULE:
        check_that_it_recovers(place, spoil, step)
        return
    said, saved = train_with(spoil, step, folder / "checkpoint.pt")
    assert f"the {place}" in said
    assert "is not finite" in said
    assert "\n" not in said
    assert saved <= step


def check_that_it_recovers(place: str, spoil: Callable[[L2LGAIL], None], step: int) -> None:
    """What spoils the rule alone is named and undone, and the training goes on to its end."""
    model = make_model()
    with pytest.warns(RuntimeWarning, match=f"step {step}: the {place}.* is not finite.*set back"):
        model.learn(8 * STEPS, callback=[Fault(spoil, step), HealthCallback()])
    updates = model.discriminator_updates
    assert updates.counts["rule_resets"] == 1
    assert updates.counts["rejected_updates"] == 0
    for tensor in tensors_in(model.get_parameters()):
        assert bool(tensor.isnan().any()) is False
    moved = [p for p in updates.trainer.rule.parameters() if bool((p != 0).any())]
    assert moved  # it has learned again
    assert updates.trainer.state["t"] > 0


@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_is_not_finite_is_named_and_not_saved_or_undone(
    place: str, tmp_path: Path
) -> None:
    inject(place, float("nan"), 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_hundred_faults_are_named_and_not_saved_or_undone(place: str, tmp_path: Path) -> None:
    for seed in range(17):
        inject(place, VALUES[seed % 3], seed, tmp_path)


def test_a_discriminator_none_of_whose_updates_can_be_taken_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: L2LGAIL) -> None:
        game = model.discriminator_updates.trainer.game
        real = game.follower_loss
        monkeypatch.setattr(game, "follower_loss", lambda *args: real(*args) * torch.inf)

    with pytest.warns(RuntimeWarning, match="left the finite numbers and was not taken"):
        said, saved = train_with(spoil, 2 * STEPS, tmp_path / "c.pt")
    assert "discriminator's loss in all updates is not finite" in said
    assert saved <= 7 * STEPS  # after ten updates, at two a rollout


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("what", ["reward", "observation"])
def test_a_fault_of_the_environment_is_named_as_that(
    what: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Walk.step

    def step(self: Walk, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, reward, terminated, truncated, info = real(self, action)
        if what == "reward":
            return obs, value, terminated, truncated, info
        return np.full_like(obs, value), reward, terminated, truncated, info

    said, _ = train_with(
        lambda model: monkeypatch.setattr(Walk, "step", step), 2 * STEPS, tmp_path / "c.pt"
    )
    assert f"the {what} of the environment is not finite" in said


@pytest.mark.parametrize(
    ("cls", "judges", "terminal", "said"),
    [
        (GAIL, "state_action", False, True),  # the value of a state at a time limit counts
        (AIRL, "state_action", False, True),
        (GAIL, "state_action", True, False),  # nothing looks at a terminal state
        (AIRL, "state_action", True, True),
        (GAIL, "state_transition", True, True),
    ],
)
def test_a_last_state_that_is_not_finite_is_named_where_it_counts(
    cls: type[GAIL], judges: str, terminal: bool, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Walk.step

    def step(self: Walk, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, reward, _, _, info = real(self, action)
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken % 5:
            return obs, reward, False, False, info
        return np.full_like(obs, np.nan), reward, terminal, not terminal, info

    monkeypatch.setattr(Walk, "step", step)
    model = cls(
        "MlpPolicy",
        walk_envs(),
        walk_demos(),
        discriminator=DiscriminatorConfig(judges=judges),
        n_steps=16,
        batch_size=16,
        device="cpu",
    )
    expected = pytest.raises(InputError, match="the observation of the environment is not finite")
    with expected if said else nullcontext():
        model.learn(64)


@pytest.mark.parametrize("callback", [None, lambda *args: True])
def test_the_environment_is_named_without_any_callback_too(
    callback: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Walk.step
    monkeypatch.setattr(Walk, "step", lambda self, action: (np.nan, *real(self, action)[1:]))
    with pytest.raises(InputError, match="the observation of the environment is not finite"):
        make_model().learn(STEPS, callback=callback)


def test_a_full_disk_ends_in_one_line_and_leaves_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    said, saved = train_with(
        lambda model: monkeypatch.setattr(os, "fsync", full), 3 * STEPS, tmp_path / "c.pt"
    )
    assert "cannot be written (No space left on device)" in said
    assert saved <= 3 * STEPS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c-previous.pt", "c.pt"]


def test_a_folder_that_is_deleted_while_training_ends_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    model = make_model()

    def save() -> None:
        save_checkpoint(folder / "checkpoint.pt", {"steps": model.num_timesteps})

    callbacks = [
        Fault(lambda _: shutil.rmtree(folder), 3 * STEPS),
        CheckpointCallback(save, STEPS),
    ]
    with pytest.raises(InputError, match="its folder is gone, was it deleted"):
        model.learn(8 * STEPS, callback=callbacks)
    assert not folder.exists()


@pytest.mark.parametrize("damage", ["a flipped bit", "cut off", "gone"])
def test_a_bad_newest_checkpoint_falls_back_to_the_one_before(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2):
        save_checkpoint(path, {"step": step, "weights": torch.arange(100.0)})
    content = bytearray(path.read_bytes())
    if damage == "a flipped bit":
        content[len(content) // 2] ^= 4
    path.write_bytes(content[: len(content) // 2] if damage == "cut off" else content)
    if damage == "gone":
        path.unlink()
    with pytest.warns(UserWarning, match="going on from the one before it"):
        assert load_checkpoint(path)["step"] == 1
    # The bad one does not push the good one out.
    save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 2
    path.unlink()
    with pytest.warns(UserWarning, match="no checkpoint at"):
        assert load_checkpoint(path)["step"] == 1


def test_two_bad_checkpoints_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for file in (path, previous_checkpoint(path)):
        file.write_bytes(b"damage")
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged.*without --resume"):
        load_checkpoint(path)
