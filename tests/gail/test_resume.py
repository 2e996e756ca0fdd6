"""A run on tensors that is cut off goes on as if it had not been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import envs
from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.checkpoints import load_checkpoint, save_checkpoint
from l2l_gail.core import parse_rule
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, L2LGAIL, TrainingRun
from l2l_gail.runs import RunFolder
from tests.gail.support import walk_envs
from tests.gail.tensor_support import ROLLOUT, OwnPolicy, TensorWalk, assert_trained_alike, make
from tests.marks import slow

N_ENVS, N_STEPS, ROLLOUTS = 4, 32, 10


class Killed(Exception):
    pass


class KillAt(TrueReturnCallback):
    """No evaluation; ends the process, as it were, in the middle of a rollout."""

    def __init__(self, at: int | None) -> None:
        super().__init__("Hopper-v5", range(1), every=10**9)
        self.at = at

    def measure(self) -> None:
        self.curve["steps"].append(self.num_timesteps)

    def _on_step(self) -> bool:
        if self.num_timesteps == self.at:
            raise Killed
        return True


def hopper_run(
    cls: type[GAIL],
    policy: Any,
    folder: RunFolder,
    kill_at: int | None,
    rule: str | None = None,
) -> TrainingRun:
    env = envs.make("Hopper-v5", N_ENVS, device="cpu", max_episode_steps=25)
    demos = Demonstrations.load("Hopper-v5")
    kwargs: dict[str, Any] = {"use_sde": True} if policy is OwnPolicy else {}
    kwargs |= {"rule": parse_rule(rule)} if rule else {}
    model = make(cls, env, policy, demos, n_steps=N_STEPS, batch_size=32, **kwargs)
    return TrainingRun(model, folder, KillAt(kill_at))


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not tag.startswith("time/")
    }


@pytest.mark.parametrize(
    ("cls", "policy", "rule"),
    [
        (GAIL, "MlpPolicy", None),
        (L2LGAIL, "MlpPolicy", None),
        slow(L2LGAIL, "MlpPolicy", "muon:lr=1e-2"),
        (L2LGAIL, "MlpPolicy", "matrix_rule"),
        slow(L2LGAIL, "MlpPolicy", "pretrained"),
        slow(GAIL, OwnPolicy, None),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(
    cls: type[GAIL], policy: Any, rule: str | None, tmp_path: Path
) -> None:
    rollout = N_ENVS * N_STEPS
    whole = hopper_run(cls, policy, RunFolder.create(tmp_path, "env", "whole", 0), None, rule)
    whole.train(ROLLOUTS * rollout, save_every=2 * rollout)

    folder = RunFolder.create(tmp_path, "env", "cut", 0)
    with pytest.raises(Killed):  # two and a half rollouts after the start, one after the checkpoint
        hopper_run(cls, policy, folder, 3 * rollout + 10 * N_ENVS, rule).train(
            ROLLOUTS * rollout, save_every=2 * rollout
        )
    rest = hopper_run(cls, policy, folder, None, rule)
    torch.manual_seed(99)  # whatever the new process did before
    np.random.seed(99)
    assert rest.resume()
    assert rest.model.num_timesteps == 2 * rollout
    rest.train(ROLLOUTS * rollout, save_every=2 * rollout)

    assert_trained_alike(whole.model, rest.model, atol=0)
    assert curves(whole.folder.path) == curves(folder.path)
    assert torch.equal(*(run.model.env.tensor_env.state_dict()["physics"] for run in (whole, rest)))
    np.testing.assert_array_equal(whole.model._last_obs, rest.model._last_obs)


@pytest.mark.parametrize("kept_model", [False, True])
def test_a_run_killed_after_its_last_rollout_is_finished(kept_model: bool, tmp_path: Path) -> None:
    rollout = N_ENVS * N_STEPS
    asked = 2 * rollout - 28  # no whole number of rollouts
    folder = RunFolder.create(tmp_path, "env", "gail", 0)
    whole = hopper_run(GAIL, "MlpPolicy", folder, None)
    whole.train(asked)
    if not kept_model:
        (folder.path / "model.zip").unlink()
    rest = hopper_run(GAIL, "MlpPolicy", folder, None)
    rest.resume()
    rest.train(asked)
    assert rest.model.num_timesteps == 2 * rollout
    assert_trained_alike(whole.model, rest.model, atol=0)
    assert (folder.path / "model.zip").exists()
    less = hopper_run(GAIL, "MlpPolicy", folder, None)
    less.resume()
    with pytest.raises(InputError, match="is at step 256 already, 100 are asked for: give"):
        less.train(100)


def walk_run(env: Any, folder: RunFolder) -> TrainingRun:
    return TrainingRun(make(GAIL, env), folder, KillAt(None))


def test_environments_without_a_state_start_new_episodes(tmp_path: Path) -> None:
    for name, new_env in (("tensors", TensorWalk), ("sb3", lambda: walk_envs(3))):
        folder = RunFolder.create(tmp_path, "walk", name, 0)
        walk_run(new_env(), folder).train(ROLLOUT)
        again = walk_run(new_env(), folder)
        assert not again.resume()
        again.train(2 * ROLLOUT)
        assert again.model.num_timesteps == 2 * ROLLOUT


def test_a_state_of_other_environments_is_not_forced_on_these(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "env", "gail", 0)
    run = hopper_run(GAIL, "MlpPolicy", folder, None)
    run.train(N_ENVS * N_STEPS)
    env = envs.make("Hopper-v5", N_ENVS + 1, device="cpu")
    model = make(GAIL, env, "MlpPolicy", Demonstrations.load("Hopper-v5"), n_steps=N_STEPS)
    other = TrainingRun(model, folder, KillAt(None))
    assert not other.resume()
    other.train(2 * N_ENVS * N_STEPS)
    assert other.model.num_timesteps >= 2 * N_ENVS * N_STEPS


@pytest.mark.parametrize("lost", ["parameters", "policy_epochs", "curve", "random"])
def test_a_checkpoint_that_lacks_something_is_refused_in_one_line(
    lost: str, tmp_path: Path
) -> None:
    folder = RunFolder.create(tmp_path, "env", "old", 0)
    run = hopper_run(GAIL, "MlpPolicy", folder, None)
    run.train(N_ENVS * N_STEPS)
    state = load_checkpoint(folder.checkpoint)
    del state[lost]
    save_checkpoint(folder.checkpoint, state)
    again = hopper_run(GAIL, "MlpPolicy", folder, None)
    with pytest.raises(InputError, match=f"it lacks '{lost}'; .* without --resume") as caught:
        again.resume()
    assert "\n" not in str(caught.value)
