"""What is attacked: each reader with sound files to begin from and a judge of what it accepts."""

from __future__ import annotations

import io
import json
import math
import pickle
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box

from adv_training import load_model as load_trained
from adv_training.cifar_files import FOLDER_100, read_cifar10, read_cifar100
from l2l_gail.checkpoints import load_checkpoint, save_checkpoint
from l2l_gail.core import Adam, CoordinateMLP, GatedMomentum, MatrixRule, load_rule, save_rule
from l2l_gail.demos import Demonstrations
from l2l_gail.demos.info_command import describe
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.demos.sb3_file import read_sb3_policy
from l2l_gail.gail import DiscriminatorConfig
from l2l_gail.saved_models import read_model
from tests.demos.support import save_model, small_policy
from tests.demos.test_demos import make_arrays
from tests.faults import mutate
from tests.faults.mutate import Random
from tests.faults.run_subjects import RUN_SUBJECTS, Subject
from tests.faults.trained_subject import judge_trained, trained_content

ACTIONS = Box(-2.0, 2.0, (1,))


# Demonstrations and policies: archives of arrays.


def small_demos() -> dict[str, np.ndarray]:
    kwargs = np.array(json.dumps({"reset_noise_scale": 0.0, "names": ["a", 1]}))
    extra = {
        "env_id": np.array("Hopper-v5"), "env_kwargs": kwargs, "expert_return": np.array(3.0)
    }  # fmt: skip
    return make_arrays(3, 5) | extra


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.savez(buffer, allow_pickle=True, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def hostile_npz(arrays: dict[str, np.ndarray]) -> Callable[[Random, Path], Path]:
    def make(rng: Random, folder: Path) -> Path:
        changed = dict(arrays)
        if rng.random() < 0.6:
            for _ in range(rng.choice((1, 1, 2, 4))):
                name = rng.choice(list(changed))
                changed[name] = mutate.change_array(changed[name], rng)
        content = npz(changed)
        if rng.random() < 0.5:
            content = mutate.change_archive(content, rng, {".npy": mutate.change_header})
        path = folder / "input.npz"
        path.write_bytes(content)
        return path

    return make


def judge_demos(demos: Demonstrations) -> None:
    names = ["obs", "obs_mean", "obs_std"]
    names += [name for name in ("next_obs", "acts", "rews") if getattr(demos, name) is not None]
    for name in [*names, *(["returns"] if demos.rews is not None else [])]:
        with np.errstate(all="ignore"):
            array = np.asarray(getattr(demos, name)).astype(np.float32)
            assert np.isfinite(array).all(), name
            assert np.isfinite(np.square(array).sum(dtype=np.float32)), name
    for name in names[3:]:
        array = getattr(demos, name)
        assert array.ndim == (1 if name == "rews" else 2)
        assert len(array) == len(demos)
        assert name != "next_obs" or array.shape == demos.obs.shape
    assert demos.obs.ndim == 2
    assert len(demos.obs) == demos.episode_lengths.sum() > 0
    assert not (demos.terminals & demos.truncated).any()
    assert demos.episode_starts.dtype == demos.episode_lengths.dtype == np.int64
    assert describe(demos).replace("\n", "").isprintable()
    assert repr(demos.head(1)).isprintable()


def policy_arrays() -> dict[str, np.ndarray]:
    policy = small_policy(3, 1)
    return {
        "obs_mean": policy.obs_mean, "obs_std": policy.obs_std,
        "W0": policy.weights[0], "b0": policy.biases[0],
        "Wout": policy.weights[1], "bout": policy.biases[1],
        "activation": np.array("relu"), "obs_clip": np.array(5.0),
        "action_low": np.full(1, -2.0), "action_high": np.full(1, 2.0),
    }  # fmt: skip


def judge_policy(policy: MlpPolicy) -> None:
    with np.errstate(all="ignore"):
        actions = policy(policy.obs_mean + np.zeros((2, policy.obs_dim)))
    assert actions.shape == (2, policy.act_dim)
    assert actions.dtype == np.float32
    assert np.isfinite(actions).all()


# Models of Stable-Baselines3, checkpoints, rules: archives of tensors.


@cache
def sb3_model() -> bytes:
    import tempfile

    from stable_baselines3 import PPO

    with tempfile.TemporaryDirectory() as folder:
        settings = {"policy_kwargs": {"activation_fn": torch.nn.ELU, "net_arch": [4]}}
        _, path = save_model(Path(folder), PPO, **settings)
        return path.read_bytes()


def tensors_changed(content: bytes, rng: Random) -> bytes:
    kinds = {"data.pkl": mutate.change_pickle}
    return mutate.change_archive(content, rng, kinds)


def pickled_fields_changed(content: bytes, rng: Random) -> bytes:
    """The JSON of a model, with its pickles changed more often than not."""
    import base64

    if rng.random() < 0.4:
        return mutate.change_json(content, rng)
    data = json.loads(content)
    names = [name for name, value in data.items() if isinstance(value, dict)]
    field = data[rng.choice(names)]
    raw = base64.b64decode(field.get(":serialized:", ""))
    field[":serialized:"] = base64.b64encode(mutate.change_pickle(raw, rng)).decode()
    return json.dumps(data).encode()


def hostile_model(saved: Callable[[], bytes], rng: Random, folder: Path) -> Path:
    kinds = {".pth": tensors_changed, "data": pickled_fields_changed}
    path = folder / "input.zip"
    path.write_bytes(mutate.change_archive(saved(), rng, kinds))
    return path


@cache
def gail_model() -> bytes:
    """A model of GAIL, on observations of four numbers and actions of two."""
    from stable_baselines3.common.env_util import make_vec_env

    from l2l_gail import L2LGAIL

    demos = Demonstrations(**make_arrays(3, 5))
    spaces = Box(-np.inf, np.inf, (4,)), Box(-1.0, 1.0, (2,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = make_vec_env(lambda: Still(*spaces), 2)
        model = L2LGAIL(
            "MlpPolicy", env, demos, n_steps=8, batch_size=8, seed=0, device="cpu",
            rule=MatrixRule(), policy_kwargs={"net_arch": [4], "activation_fn": torch.nn.ReLU},
            discriminator=DiscriminatorConfig(hidden_sizes=(4,), batch_size=8),
        )  # fmt: skip
        buffer = io.BytesIO()
        model.save(buffer)
    return buffer.getvalue()


class Still(gymnasium.Env):
    """Nothing moves."""

    def __init__(self, observation_space: Box, action_space: Box) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, **_: Any) -> tuple[np.ndarray, dict]:
        return np.zeros(4, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(4, np.float32), 0.0, False, True, {}


def load_gail_model(path: Path) -> Any:
    from l2l_gail import L2LGAIL

    return L2LGAIL.load(path, device="cpu")


def judge_gail_model(model: Any) -> None:
    actions, _ = model.predict(np.zeros((2, *model.observation_space.shape)), deterministic=True)
    assert actions.shape == (2, *model.action_space.shape)
    assert np.isfinite(actions).all()


def judge_model(model: Any) -> None:
    for name, reason in model.pickled.items():
        assert isinstance(name, str)
        assert isinstance(reason, str)
    for name in ("observation_space", "action_space"):
        space = model.fields.get(name)
        if isinstance(space, Box):
            assert space.low.shape == space.high.shape == space.shape
    judge_plain(model.parameters)


def state() -> dict[str, Any]:
    return {
        "parameters": {"policy": torch.nn.Linear(3, 2).state_dict()},
        "optimizer": torch.optim.Adam([torch.zeros(2)]).state_dict(),
        "steps": 7,
        "curve": [[1, 2.0], [3, 4.0]],
        "random": {"torch": torch.get_rng_state()[:64], "python": [3, [1, 2, 3], None]},
    }


def changed_state(value: Any, rng: Random) -> Any:
    changed = mutate.change_value(value, rng)
    return changed if rng.random() < 0.7 else mutate.change_value(changed, rng)


def hostile_tensors(content: Callable[[], dict[str, Any]], name: str) -> Callable[..., Path]:
    def make(rng: Random, folder: Path) -> Path:
        value: Any = content()
        if rng.random() < 0.5:
            value = changed_state(value, rng)
        buffer = io.BytesIO()
        try:
            torch.save(value, buffer)
        except Exception:  # nested too deep, or text that is no text
            torch.save(content(), buffer)
        raw = buffer.getvalue()
        if rng.random() < 0.7:
            raw = tensors_changed(raw, rng)
        (folder / name).write_bytes(raw)
        return folder / name

    return make


def payload() -> dict[str, Any]:
    return {"format": "l2l_gail.checkpoint", "version": 1, "state": state()}


@cache
def _rule_dicts() -> list[dict[str, Any]]:
    from l2l_gail.core import rule_to_dict

    return [rule_to_dict(rule) for rule in (Adam(1e-3), CoordinateMLP(1e-3), GatedMomentum(0.1))]


def hostile_rule(rng: Random, folder: Path) -> Path:
    saved = rng.choice(_rule_dicts())
    return hostile_tensors(lambda: saved, "rule.pt")(rng, folder)


def judge_rule(rule: Any) -> None:
    for tensor in rule.state_dict().values():
        assert tensor.isfinite().all()
    for value in rule.config.values():
        assert not isinstance(value, float) or math.isfinite(value)


def judge_plain(value: Any) -> None:
    """Only plain data and tensors that are no larger than what they came from."""
    waiting, seen = [value], 0
    while waiting:
        part = waiting.pop()
        seen += 1
        assert seen < 1_000_000
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple)):
            waiting += part
        elif isinstance(part, torch.Tensor):
            assert part.device.type == "cpu"
            assert part.numel() * part.element_size() <= part.untyped_storage().nbytes()
        else:
            plain = (int, float, str, bytes, bool, type(None))
            assert isinstance(part, plain), type(part)


# CIFAR's batches: pickles.


@cache
def cifar_batches() -> list[bytes]:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
    labels = rng.integers(0, 10, 4)
    forms = [labels.tolist(), labels, list(labels)]
    extra = {"filenames": ["a.png"] * 4, "batch_label": "testing batch 1 of 1"}
    return [
        pickle.dumps(extra | {"data": data, key: form, "coarse_labels": [1] * 4}, protocol)
        for protocol in (0, 2, 3, 4, 5)
        for form in forms
        for key in ("labels", "fine_labels")
    ]


def hostile_batch(rng: Random, folder: Path) -> tuple[str, Path]:
    content = rng.choice(cifar_batches())
    for _ in range(rng.choice((1, 1, 2))):
        content = mutate.change_pickle(content, rng)
    name = rng.choice(("test_batch", "test"))
    inner = folder / (FOLDER_100 if name == "test" else ".")
    inner.mkdir(exist_ok=True)
    (inner / name).write_bytes(content)
    return name, folder


def read_batch(given: tuple[str, Path]) -> Any:
    name, folder = given
    if name == "test_batch":
        return read_cifar10(folder, train=False, check_md5=False), 10
    return read_cifar100(folder, train=False, check_md5=False), 100


def judge_batch(read: Any) -> None:
    (images, labels), classes = read
    assert images.dtype == np.uint8
    assert images.shape == (len(labels), 3, 32, 32)
    assert labels.dtype == np.int64
    assert ((labels >= 0) & (labels < classes)).all()
    assert images.nbytes <= 1 << 20


# One flipped bit in a file that the library wrote: never accepted.


@cache
def written_files() -> dict[str, bytes]:
    import tempfile

    from l2l_gail.files import seal

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small_policy(3, 1).save(folder / "policy.npz")
        Demonstrations(**make_arrays(3, 5), env_id="Hopper-v5").save(folder / "demos.npz")
        save_rule(folder / "rule.pt", CoordinateMLP(1e-3))
        save_checkpoint(folder / "checkpoint.pt", state())
        (folder / "model.zip").write_bytes(seal(sb3_model()))
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


FILE_READERS: dict[str, Callable[[Path], Any]] = {
    "policy.npz": MlpPolicy.load,
    "demos.npz": Demonstrations.load,
    "rule.pt": load_rule,
    "checkpoint.pt": load_checkpoint,
    "model.zip": read_model,
}


def flipped_file(rng: Random, folder: Path) -> Path:
    name = rng.choice(list(FILE_READERS))
    content = bytearray(written_files()[name])
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    (folder / name).write_bytes(content)
    return folder / name


def judge_flipped(read: Any) -> None:
    raise AssertionError("a file with a flipped bit was accepted")


SUBJECTS: dict[str, Subject] = {
    **RUN_SUBJECTS,
    "demonstrations": Subject(hostile_npz(small_demos()), Demonstrations.load, judge_demos),
    "policy": Subject(hostile_npz(policy_arrays()), MlpPolicy.load, judge_policy),
    "sb3 policy": Subject(
        partial(hostile_model, sb3_model), lambda p: read_sb3_policy(p, ACTIONS), judge_policy
    ),
    "model": Subject(partial(hostile_model, sb3_model), read_model, judge_model),
    "gail model": Subject(partial(hostile_model, gail_model), load_gail_model, judge_gail_model),
    "checkpoint": Subject(hostile_tensors(payload, "checkpoint.pt"), load_checkpoint, judge_plain),
    "rule": Subject(hostile_rule, load_rule, judge_rule),
    "trained model": Subject(
        hostile_tensors(trained_content, "model.pt"), load_trained, judge_trained
    ),
    "cifar": Subject(hostile_batch, read_batch, judge_batch),
    "flipped bit": Subject(flipped_file, lambda p: FILE_READERS[p.name](p), judge_flipped),
}
