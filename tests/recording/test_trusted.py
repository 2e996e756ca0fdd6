"""Models that Stable-Baselines3 loads itself: those of gym and of other releases, and refusals."""

from __future__ import annotations

import base64
import io
import json
import pickle
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.her import HerReplayBuffer

from l2l_gail.demos.__main__ import main
from l2l_gail.demos.sb3_file import read_sb3_policy
from l2l_gail.errors import InputError
from l2l_gail.recording.trusted import load_sb3_model
from l2l_gail.saved_models import OldTensorsError, read_model
from tests.demos.support import members_of, save_model, write_members

OBSERVATIONS = Box(-8.0, 8.0, (3,))  # of Pendulum
ACTIONS = Box(-2.0, 2.0, (1,))
SEEN = np.random.default_rng(5).normal(size=(20, 3)).astype(np.float32)
LOST = b"cstable_baselines3.common.utils\na_function_of_old\n."
"""The pickle of a function that this release does not have."""


def pickled(content: bytes) -> dict[str, Any]:
    return {":type:": "<class 'function'>", ":serialized:": base64.b64encode(content).decode()}


def change(path: Path, **settings: Any) -> Path:
    """Give a saved model other settings."""
    members = members_of(path)
    data = json.loads(members["data"])
    for name, value in settings.items():
        plain = isinstance(value, dict) and ":serialized:" not in value
        data[name] = {**data[name], **value} if plain else value
    write_members(path, members | {"data": json.dumps(data).encode()})
    return path


def of_gym(monkeypatch: pytest.MonkeyPatch, space: Box | Discrete) -> dict[str, Any]:
    """A space as a model of gym 0.17 has it: its shape without underscore, no text of bounds."""
    name = type(space).__name__
    module = f"gym.spaces.{name.lower()}"
    old: Any = type(name, (), {"__module__": module})()
    kept = ("n",) if isinstance(space, Discrete) else ("low", "high", "bounded_below")
    for attribute in ("dtype", "shape", *kept):
        setattr(old, attribute, getattr(space, attribute))
    old.np_random = np.random.RandomState(0)
    with monkeypatch.context() as patched:
        for part in ("gym", "gym.spaces", module):
            patched.setitem(sys.modules, part, SimpleNamespace(**{name: type(old)}))
        return pickled(pickle.dumps(old))


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [(PPO, {}), (A2C, {}), (SAC, {"use_sde": True}), (TD3, {})],
)
def test_a_model_that_was_saved_under_gym_acts_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: Any, settings: dict[str, Any]
) -> None:
    model, path = save_model(tmp_path, algorithm, **settings)
    spaces = {"observation_space": OBSERVATIONS, "action_space": ACTIONS}
    change(path, **{name: of_gym(monkeypatch, space) for name, space in spaces.items()})
    change(path, learning_rate=pickled(LOST), lr_schedule=pickled(LOST))
    if algorithm is PPO:
        change(path, clip_range=pickled(LOST))
    assert "gym" not in sys.modules
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        acting = load_sb3_model(path, OBSERVATIONS, ACTIONS)(SEEN)
    assert "gym" not in sys.modules
    np.testing.assert_array_equal(acting, model.predict(SEEN, deterministic=True)[0])

    wide = Box(-8.0, 8.0, (4,))
    with pytest.raises(InputError, match=r"with the space Box\(.*, the environment has Box\(-8"):
        load_sb3_model(path, wide, ACTIONS)
    with pytest.raises(InputError, match=r"the environment has Discrete\(3\): give a model of"):
        load_sb3_model(path, OBSERVATIONS, Discrete(3))


def test_a_model_of_classes_that_was_saved_under_gym_acts_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DQN("MlpPolicy", "CartPole-v1", buffer_size=10, seed=0, device="cpu")
    model.save(tmp_path / "model.zip")
    observations, seen = model.observation_space, np.eye(4, dtype=np.float32)
    path = change(
        tmp_path / "model.zip",
        observation_space=of_gym(monkeypatch, observations),
        action_space=of_gym(monkeypatch, Discrete(2)),
        exploration_schedule=pickled(LOST),
    )
    acting = load_sb3_model(path, observations, Discrete(2))(seen)
    np.testing.assert_array_equal(acting, model.predict(seen, deterministic=True)[0])
    with pytest.raises(InputError, match=r"with the space Discrete\(2\), the env.* Discrete\(3\)"):
        load_sb3_model(path, observations, Discrete(3))


def test_the_command_records_a_model_that_was_saved_under_gym(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = save_model(tmp_path, SAC, use_sde=True)
    change(path, observation_space=of_gym(monkeypatch, OBSERVATIONS))
    argv = ["record", "--env", "Pendulum-v1", "--model", str(path), "--episodes", "1",
            "--out", str(tmp_path / "a.npz"), "--env-kwargs", "max_episode_steps=5"]  # fmt: skip
    main([*argv, "--trust-pickle"])
    assert (tmp_path / "a.npz").exists()


def test_a_model_whose_buffer_needs_an_environment_is_loaded_without_one(tmp_path: Path) -> None:
    model, path = save_model(tmp_path, SAC)
    change(path, replay_buffer_class=pickled(pickle.dumps(HerReplayBuffer)))
    acting = load_sb3_model(path, OBSERVATIONS, ACTIONS)(SEEN)
    np.testing.assert_array_equal(acting, model.predict(SEEN, deterministic=True)[0])


def test_a_module_that_is_missing_is_named(tmp_path: Path) -> None:
    _, path = save_model(tmp_path, PPO)
    change(path, policy_kwargs=pickled(b"cno_such_package.nets\nNet\n."))
    with pytest.raises(InputError, match="needs the module 'no_such_package', which is") as caught:
        load_sb3_model(path, OBSERVATIONS, ACTIONS)
    assert "install the package that has it" in str(caught.value)
    assert "--algo" not in str(caught.value)


def test_what_the_policy_is_made_with_is_not_left_out(tmp_path: Path) -> None:
    """Without its ``policy_kwargs``, the model would be of the same layers and act otherwise."""
    kwargs = {"net_arch": [64, 64], "activation_fn": torch.nn.Mish}
    _, path = save_model(tmp_path, PPO, policy_kwargs=kwargs)
    change(path, policy_kwargs=pickled(LOST))
    with pytest.raises(InputError, match=r"a_function_of_old.*; load it in Python with the relea"):
        load_sb3_model(path, OBSERVATIONS, ACTIONS)


def test_advice_to_give_the_class_is_for_another_class_alone(tmp_path: Path) -> None:
    _, path = save_model(tmp_path, TD3)
    with pytest.raises(InputError, match=r"td3\.policies, which sac has not: give --algo td3 or"):
        load_sb3_model(path, OBSERVATIONS, ACTIONS, "sac")
    load_sb3_model(path, OBSERVATIONS, ACTIONS, "ddpg")
    # A policy of the user's own says nothing of the algorithm.
    change(path, policy_class={"__module__": "my_policies"}, target_policy_noise=None)
    with pytest.raises(InputError, match=r"as a model of sac .*give its class with --algo"):
        load_sb3_model(path, OBSERVATIONS, ACTIONS, "sac")
    load_sb3_model(path, OBSERVATIONS, ACTIONS)


@pytest.mark.parametrize(
    "content", [b"no archive", b"PK\x05\x06" + bytes(18)], ids=["garbage", "empty archive"]
)
def test_a_file_that_is_no_model_is_told_as_such(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged or no model .*give the \.zip that") as caught:
        load_sb3_model(path, OBSERVATIONS, ACTIONS)
    assert "--algo" not in str(caught.value)
    write_members(path, {"data": b"[]"})
    with pytest.raises(InputError, match=r"is no model of Stable-Baselines3: give the"):
        load_sb3_model(path, OBSERVATIONS, ACTIONS)


def test_tensors_of_a_torch_before_1_6_are_told_as_such(tmp_path: Path) -> None:
    model, path = save_model(tmp_path, PPO)
    content = io.BytesIO()
    torch.save(model.policy.state_dict(), content, _use_new_zipfile_serialization=False)
    write_members(path, members_of(path) | {"policy.pth": content.getvalue()})
    with pytest.raises(
        OldTensorsError, match=r"a torch before 1\.6; load it with Stable"
    ) as caught:
        read_model(path)
    assert "give the .zip" not in str(caught.value)
    with pytest.raises(InputError, match=r"before 1\.6; --trust-pickle lets Stable-Baselines3"):
        read_sb3_policy(path, ACTIONS)
    acting = load_sb3_model(path, OBSERVATIONS, ACTIONS)(SEEN)
    np.testing.assert_array_equal(acting, model.predict(SEEN, deterministic=True)[0])
