"""Models of Stable-Baselines3 read as data: what comes back, what needs trust, what is refused."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer

from l2l_gail.errors import InputError
from l2l_gail.files import seal
from l2l_gail.saved_models import read_model
from tests.demos.support import members_of, save_model, write_members


@dataclass(frozen=True)
class Settings:
    rate: float = 1.0
    sizes: tuple[int, ...] = (3,)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate")


KNOWN = {
    (Settings.__module__, "Settings"): Settings,
    ("stable_baselines3.common.buffers", "RolloutBuffer"): RolloutBuffer,
}


def with_field(path: Path, value: Any) -> Path:
    """The model's archive with one more attribute, pickled as SB3 does."""
    members = members_of(path)
    data = json.loads(members["data"])
    text = base64.b64encode(cloudpickle.dumps(value)).decode()
    data["extra"] = {":type:": "whatever", ":serialized:": text, "word": 3}
    write_members(path, members | {"data": json.dumps(data).encode()})
    return path


def test_a_model_comes_back_without_unpickling(tmp_path: Path, monkeypatch) -> None:
    kwargs = {"activation_fn": torch.nn.ELU, "net_arch": [4]}
    model, path = save_model(tmp_path, PPO, policy_kwargs=kwargs, learning_rate=1e-4)
    assert model.action_space._np_random is not None, "its generator is in the file"
    monkeypatch.setattr(cloudpickle, "loads", lambda *a, **k: pytest.fail("unpickled"))
    found = read_model(path, KNOWN)
    assert found.fields["observation_space"] == model.observation_space
    assert found.fields["action_space"] == model.action_space
    assert found.fields["policy_kwargs"] == kwargs
    assert found.fields["rollout_buffer_class"] is RolloutBuffer
    assert (found.fields["learning_rate"], found.fields["clip_range"]) == (1e-4, 0.2)
    assert found.fields["ep_info_buffer"] in (None, [])
    assert found.pickled == {
        "policy_class": "it wants to run stable_baselines3.common.policies.ActorCriticPolicy"
    }
    assert found.described["policy_class"]["__module__"] == "stable_baselines3.common.policies"
    assert found.parameters.keys() == {"policy", "policy.optimizer"}
    fresh = PPO("MlpPolicy", "Pendulum-v1", policy_kwargs=kwargs, device="cpu")
    fresh.set_parameters(found.parameters)
    for name, value in model.policy.state_dict().items():
        assert torch.equal(fresh.policy.state_dict()[name], value)


def test_a_known_dataclass_is_made_by_its_constructor(tmp_path: Path) -> None:
    _, path = save_model(tmp_path, PPO)
    found = read_model(with_field(path, Settings(0.5, (1, 2))), KNOWN)
    assert found.fields["extra"] == Settings(0.5, (1, 2))
    assert found.described["extra"] == {"word": 3}
    found = read_model(path)
    assert "extra" not in found.fields
    assert "wants to run" in found.pickled["extra"]


class Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


def forged(space: gymnasium.Space, **state: Any) -> gymnasium.Space:
    space.__dict__.update(state)
    return space


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Box(0, 255, (3, 4, 2), np.uint8),
        gymnasium.spaces.Discrete(3, start=2),
        gymnasium.spaces.MultiDiscrete([2, 5]),
        gymnasium.spaces.MultiBinary(4),
        gymnasium.spaces.MultiBinary([2, 3]),
        gymnasium.spaces.Dict(
            {"b": gymnasium.spaces.Discrete(2), "a": gymnasium.spaces.Box(-1, 1, (2,))}
        ),
    ],
    ids=str,
)
def test_spaces_are_rebuilt(space: gymnasium.Space, tmp_path: Path) -> None:
    _, path = save_model(tmp_path, PPO)
    space.seed(0)  # a space that was sampled from carries its generator
    found = read_model(with_field(path, space)).fields["extra"]
    assert found == space
    if isinstance(space, gymnasium.spaces.Dict):
        assert list(found.spaces) == list(space.spaces)


def test_what_is_no_data_is_named_and_not_run(tmp_path: Path) -> None:
    _, path = save_model(tmp_path, PPO)
    bad = object.__new__(Settings)
    object.__setattr__(bad, "rate", -1.0)
    for value, said in (
        (Bomb(tmp_path / "crater"), "posix.mkdir"),
        (lambda progress: progress, "wants to run cloudpickle"),
        (bad, "damaged .ValueError"),
        (np.array([object()]), "only unpickling|more than plain|wants to run"),
        (gymnasium.spaces.Text(3), "wants to run gymnasium.spaces.text"),
        (forged(gymnasium.spaces.Discrete(3), n=2**40), "without a number of classes"),
        (forged(gymnasium.spaces.MultiDiscrete([2]), nvec=[2]), "without numbers of classes"),
        (forged(gymnasium.spaces.MultiBinary(2), n=-1), "without a number of classes"),
        (forged(gymnasium.spaces.Dict(), spaces={"a": 1}), "something else than spaces"),
    ):
        found = read_model(with_field(path, value), KNOWN)
        assert "extra" not in found.fields
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(found.pickled["extra"])
    assert not (tmp_path / "crater").exists()


def test_a_sealed_model_is_refused_once_a_bit_has_flipped(tmp_path: Path) -> None:
    model, path = save_model(tmp_path, PPO)
    content = bytearray(seal(path.read_bytes()))
    path.write_bytes(content)
    assert read_model(path).fields["gamma"] == model.gamma
    assert PPO.load(path).gamma == model.gamma, "Stable-Baselines3 reads it as before"
    for bit in np.random.default_rng(0).integers(8 * len(content), size=50).tolist():
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(InputError, match="is damaged"):
            read_model(path)
        content[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"3", b'{"a": ' + b"9" * 5000 + b"}"])
def test_json_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    _, path = save_model(tmp_path, PPO)
    write_members(path, members_of(path) | {"data": data})
    with pytest.raises(InputError, match="no model of Stable-Baselines3"):
        read_model(path)
