from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from envs import make_vec
from l2l_gail import rendering
from l2l_gail.comparison import boards_of, collect, compare, find
from l2l_gail.comparison.media import videos
from l2l_gail.demos import Demonstrations
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.errors import InputError
from l2l_gail.films import snapshot, video_file
from l2l_gail.gail import GAIL
from l2l_gail.play import main, record
from l2l_gail.rendering import SIZE, film_policy
from l2l_gail.runs import RunFolder
from l2l_gail.snapshots import MOMENTS, SnapshotCallback, has_policy, load_policy
from tests.comparison.support import events, gail_run
from tests.marks import slow

ENV = "Hopper-v5"
_OF_DISPLAYS = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")


def still(observations: np.ndarray) -> np.ndarray:
    return np.zeros((len(observations), 3), np.float32)


def model_of_hopper(tmp_path: Path) -> tuple[GAIL, RunFolder]:
    env = make_vec(ENV, 2, 0, {}, device="cpu")
    model = GAIL("MlpPolicy", env, Demonstrations.load(ENV), n_steps=64, batch_size=64, seed=0)
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    folder.write_config({"env": ENV, "env_kwargs": ["healthy_reward=2.0"], "seed": 0})
    return model, folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[GAIL, Path]:
    """A run of four rollouts with its snapshots."""
    model, folder = model_of_hopper(tmp_path_factory.mktemp("run"))
    model.learn(512, callback=SnapshotCallback(folder.path, 512))
    model.save(folder.path / "model.zip")
    (folder.path / "policies" / "last.npz").rename(folder.path / "last.npz")
    return model, folder.path


def test_the_policy_of_a_model_file_acts_as_the_model(trained: tuple[GAIL, Path]) -> None:
    model, run = trained
    obs = np.random.default_rng(0).normal(size=(50, 11)).astype(np.float32)
    expected, _ = model.predict(obs, deterministic=True)
    space = model.action_space
    for policy in (load_policy(run, "last"), MlpPolicy.load(run / "last.npz")):
        acted = np.clip(policy(obs), space.low, space.high)
        np.testing.assert_allclose(acted, expected, atol=2e-6)


def test_the_first_and_the_middle_policy_are_kept(trained: tuple[GAIL, Path]) -> None:
    _, run = trained
    assert all(has_policy(run, moment) for moment in MOMENTS)
    obs = np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32)
    first, middle, last = (load_policy(run, moment)(obs) for moment in MOMENTS)
    assert not np.allclose(first, middle, atol=1e-6)
    assert not np.allclose(middle, last, atol=1e-6)


def test_the_first_policy_is_that_before_training(tmp_path: Path, trained) -> None:
    fresh, _ = model_of_hopper(tmp_path)
    obs = np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32)
    expected, _ = fresh.predict(obs, deterministic=True)
    np.testing.assert_allclose(load_policy(trained[1], "first")(obs), expected, atol=2e-6)


def test_keeping_policies_changes_nothing(tmp_path: Path, trained: tuple[GAIL, Path]) -> None:
    other, _ = model_of_hopper(tmp_path)
    other.learn(512)
    for name, value in trained[0].policy.state_dict().items():
        assert np.array_equal(value.numpy(), other.policy.state_dict()[name].numpy()), name


def test_the_middle_of_a_shorter_training_stays_until_that_of_the_longer_one(
    tmp_path: Path,
) -> None:
    model, folder = model_of_hopper(tmp_path)
    rollout = model.n_steps * model.n_envs
    middle = snapshot(folder.path, "middle")

    def begins(steps: int, begun: int) -> bytes | None:
        """What is in the file as a training of so many rollouts begins, or goes on, there."""
        callback = SnapshotCallback(folder.path, steps * rollout)
        callback.model = model
        callback.num_timesteps = begun * rollout
        callback._on_training_start()
        callback._on_rollout_start()
        with torch.no_grad():
            model.policy.action_net.bias += 1.0
        return middle.read_bytes() if middle.exists() else None

    assert begins(8, 3) is None
    shorter = begins(8, 4)
    assert shorter is not None
    assert begins(8, 5) == begins(8, 7) == shorter
    assert begins(32, 8) == begins(32, 15) == shorter
    longer = begins(32, 16)
    assert longer not in (None, shorter)
    assert begins(32, 17) == longer
    middle.unlink()
    assert begins(32, 20) not in (None, longer)


def test_a_policy_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = model_of_hopper(tmp_path)
    callback = SnapshotCallback(folder.path, 512)
    callback.model = model
    callback._on_training_end()
    before = snapshot(folder.path, "last").read_bytes()

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        callback._on_training_end()
    assert snapshot(folder.path, "last").read_bytes() == before


@pytest.mark.parametrize("part", ["network", "activation", "features"])
def test_a_policy_that_is_no_plain_perceptron_is_not_kept(tmp_path: Path, part: str) -> None:
    model, folder = model_of_hopper(tmp_path)
    match part:
        case "network":
            model.policy.mlp_extractor.policy_net = nn.Identity()
        case "activation":
            model.policy.activation_fn = nn.Softplus
        case "features":
            model.policy.features_extractor.extra = nn.Linear(11, 11)
    callback = SnapshotCallback(folder.path, 512)
    callback.model = model
    callback.num_timesteps = 0
    callback._on_training_start()
    assert not has_policy(folder.path, "first")


def test_videos_lie_in_the_run_s_folder(trained: tuple[GAIL, Path], monkeypatch, capsys) -> None:
    monkeypatch.setattr(rendering, "usable_backend", lambda: None)
    _, run = trained
    main([str(run), "--steps", "40"])
    assert capsys.readouterr().out.split() == [str(video_file(run, m)) for m in MOMENTS]
    for moment in MOMENTS:
        with Image.open(video_file(run, moment)) as gif:
            assert gif.format == "GIF"
            assert gif.n_frames >= 3
            assert gif.size == SIZE


def test_the_environment_of_the_run_is_played(trained: tuple[GAIL, Path], monkeypatch) -> None:
    monkeypatch.setattr(rendering, "usable_backend", lambda: None)
    seen = {}

    def noted(predict, env_id, env_kwargs, **rest):
        seen.update(env_id=env_id, env_kwargs=env_kwargs)
        return film_policy(predict, env_id, env_kwargs, seed=0, steps=2, every=1)

    monkeypatch.setattr("l2l_gail.play.film_policy", noted)
    record(trained[1], "last")
    assert seen == {"env_id": ENV, "env_kwargs": {"healthy_reward": 2.0}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no policy yet"),
        ({"model.zip": b"PK garbage"}, "is damaged, cut off or of another format"),
    ],
)
def test_what_cannot_be_played_is_one_line(tmp_path: Path, content, message: str) -> None:
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    folder.write_config({"env": ENV})
    for name, data in content.items():
        (folder.path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        main([str(folder.path)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("below", "args", "message"),
    [
        ("", (), "is no run, but holds some: give one, as .*gail/seed0"),
        (f"{ENV}/gail/seed0", ("--env", "Walker2d-v5"), "is of Hopper-v5, --env is Walker2d-v5"),
    ],
)
def test_what_is_no_run_or_of_another_environment_is_not_played(
    tmp_path: Path, below: str, args: tuple[str, ...], message: str
) -> None:
    RunFolder.create(tmp_path, ENV, "gail", 0).write_config({"env": ENV})
    with pytest.raises(InputError, match=message):
        main([str(tmp_path / below), *args])


def test_a_model_with_another_activation_is_not_played_as_if_it_had_tanh(tmp_path: Path) -> None:
    env = make_vec(ENV, 2, 0, {}, device="cpu")
    kwargs = {"policy_kwargs": {"activation_fn": nn.ReLU}, "n_steps": 64, "batch_size": 64}
    model = GAIL("MlpPolicy", env, Demonstrations.load(ENV), **kwargs)
    folder = RunFolder.create(tmp_path, ENV, "gail", 0)
    model.save(folder.path / "model.zip")
    with pytest.raises(InputError, match="no plain perceptron"):
        load_policy(folder.path, "last")
    model.learn(128, callback=SnapshotCallback(folder.path, 128))
    obs = np.random.default_rng(0).normal(size=(5, 11)).astype(np.float32)
    expected, _ = model.predict(obs, deterministic=True)
    acted = load_policy(folder.path, "last")(obs).clip(-1, 1)
    np.testing.assert_allclose(acted, expected, atol=2e-6)


def test_an_image_run_has_nothing_to_play(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "cifar10", "pgd", 0)
    folder.write_config({"data": "cifar10"})
    (folder.path / "model.zip").write_bytes(b"")
    with pytest.raises(InputError, match="is no GAIL run"):
        main([str(folder.path)])
    with pytest.raises(InputError, match="is not a folder"):
        main([str(tmp_path / "none")])


@pytest.mark.slow
@pytest.mark.parametrize("display", [slow(None), ":stale"])
def test_without_a_display_no_window_is_tried(trained: tuple[GAIL, Path], display) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "l2l_gail.play", str(trained[1]), "--show"],
        env=env | ({} if display is None else {"DISPLAY": display}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: there is no display for a window: leave --show out to record a GIF\n"
    )


class Windowed(gymnasium.Wrapper):
    """Stands in for an environment with a window, which the user closes after some steps."""

    def __init__(self, env: gymnasium.Env, closed_after: int) -> None:
        super().__init__(env)
        self.seeds: list[int | None] = []
        self.acted: list[np.ndarray] = []
        self.is_open, self.closed_after = True, closed_after

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        return super().reset(seed=seed, options=options)

    def step(self, action):
        assert self.is_open
        self.acted.append(action)
        return super().step(action)

    def close(self) -> None:
        self.is_open = False
        super().close()


@pytest.mark.parametrize(
    ("closed_after", "steps", "played"), [(100, 5, 5), (3, 5, 3)], ids=["cut", "closed"]
)
def test_a_window_plays_an_episode_of_the_run_s_own_environment(
    trained: tuple[GAIL, Path], monkeypatch, closed_after: int, steps: int, played: int
) -> None:
    opened: list[tuple[str, dict, Windowed]] = []
    make = gymnasium.make

    def noted(env_id: str, render_mode: str | None = None, **kwargs):
        assert render_mode == "human"
        opened.append((env_id, kwargs, Windowed(make(env_id, **kwargs), closed_after)))
        return opened[-1][-1]

    monkeypatch.setattr("l2l_gail.play._check_display", lambda: None)
    monkeypatch.setattr("l2l_gail.play._is_closed", lambda env: len(env.acted) >= env.closed_after)
    monkeypatch.setattr("l2l_gail.play.gymnasium.make", noted)
    main([str(trained[1]), "--show", "--seed", "7", "--steps", str(steps), "--policy", "first"])
    ((env_id, kwargs, env),) = opened
    assert (env_id, kwargs) == (ENV, {"healthy_reward": 2.0})
    assert (env.seeds, len(env.acted), env.is_open) == ([7], played, False)
    obs, _ = make(ENV).reset(seed=7)
    expected = load_policy(trained[1], "first")(obs[None])[0]
    np.testing.assert_array_equal(env.acted[0], np.clip(expected, -1, 1))


@pytest.mark.slow
def test_the_comparison_records_the_median_run_of_each_method(trained, monkeypatch) -> None:
    monkeypatch.setattr(rendering, "usable_backend", lambda: None)
    root = trained[1].parents[2]
    for seed, final in ((0, 200.0), (1, 100.0), (2, 300.0)):
        gail_run(root, "l2l_gail", seed, final, config={"env": ENV})
    run = root / ENV / "l2l_gail" / "seed0"
    shutil.copytree(trained[1] / "policies", run / "policies")
    shutil.copy(trained[1] / "model.zip", run)
    compare(root, record_videos=True)
    assert all(video_file(run, moment).is_file() for moment in MOMENTS)
    tags = events(root / "comparison" / ENV / "overview").Tags()["images"]
    wanted = [f"8 policies/l2l_gail, {k} {moment}" for k, moment in enumerate(MOMENTS, 1)]
    assert [tag for tag in tags if tag.startswith("8 policies")] == wanted
    assert not (root / ENV / "l2l_gail" / "seed1" / "videos").exists()


def test_the_comparison_imports_no_module_that_a_run_names(trained, monkeypatch) -> None:
    root = trained[1].parents[2]
    gail_run(root, "own", 0, 200.0, config={"env": f"antigravity:{ENV}"})
    run = root / ENV / "own" / "seed0"
    shutil.copy(trained[1] / "model.zip", run)
    monkeypatch.setattr("l2l_gail.play.record", lambda *_: pytest.fail("recorded"))
    found = find(root).finished
    boards = boards_of(collect([one for one in found if one.folder.method == "own"])[0])
    assert videos(boards, record=True) == ({}, [])


def test_a_module_that_a_run_names_is_imported_only_if_the_user_names_it_too(
    trained: tuple[GAIL, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create(tmp_path, "planted", "gail", 0)
    folder.write_config({"env": "planted:Planted-v0", "seed": 0})
    shutil.copy(trained[1] / "model.zip", folder.path)
    with pytest.raises(InputError, match=r"whose module is not imported.*--env planted:Planted-v0"):
        main([str(folder.path)])
    assert not (tmp_path / "ran").exists()
    with pytest.raises(InputError, match="unknown environment 'planted:Planted-v0'"):
        main([str(folder.path), "--env", "planted:Planted-v0"])
    assert (tmp_path / "ran").exists()
