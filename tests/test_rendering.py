"""Films of environments: MuJoCo's through OpenGL or as a sketch, others as they draw themselves."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image

from l2l_gail import rendering
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.errors import InputError
from l2l_gail.play import show
from l2l_gail.rendering import SIZE, action_of, as_gif, film_policy
from tests.marks import slow

ENV = "Hopper-v5"
_OF_DISPLAYS = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")


def still(observations: np.ndarray) -> np.ndarray:
    return np.zeros((len(observations), 3), np.float32)


def test_a_film_tells_its_return(monkeypatch) -> None:
    monkeypatch.setattr(rendering, "usable_backend", lambda: None)
    film = film_policy(still, ENV, seed=3, steps=20, every=5)
    env = gymnasium.make(ENV)
    env.reset(seed=3)
    total = sum(float(env.step(still(np.zeros((1, 11)))[0])[1]) for _ in range(20))
    assert film.episode_return == pytest.approx(total)
    assert (film.steps, film.cut, film.drawn_with) == (20, True, "sketch")
    assert len(film.frames) == 5
    assert film.seconds == pytest.approx(5 * 0.008)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Ant-v5", "HalfCheetah-v5"])
def test_a_sketch_shows_what_moves(env_id: str, monkeypatch) -> None:
    monkeypatch.setattr(rendering, "usable_backend", lambda: None)
    width = gymnasium.make(env_id).action_space.shape[0]
    generator = np.random.default_rng(0)

    def restless(observations: np.ndarray) -> np.ndarray:
        return generator.uniform(-1, 1, (len(observations), width))

    film = film_policy(restless, env_id, steps=20, every=10)
    for frame in film.frames:
        assert frame.shape == (SIZE[1], SIZE[0], 3)
        assert len(np.unique(frame.reshape(-1, 3), axis=0)) >= 4  # sky, ground, marks, body
    assert not np.array_equal(film.frames[0], film.frames[-1])


@pytest.mark.slow
@pytest.mark.parametrize("asked", [None, slow(""), slow("glfw")])
def test_opengl_draws_where_it_works(asked: str | None) -> None:
    env = {name: value for name, value in os.environ.items() if name not in _OF_DISPLAYS}
    env |= {} if asked is None else {"MUJOCO_GL": asked}
    script = (
        "from l2l_gail.rendering import film_policy, usable_backend; import numpy as np\n"
        "film = film_policy(lambda o: np.zeros((1, 3)), 'Hopper-v5', steps=4, every=2)\n"
        "print(usable_backend(), film.drawn_with, film.frames[0].shape, film.frames[0].std() > 5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    backend, drawn_with, *shape, varied = done.stdout.split()
    assert drawn_with == ("sketch" if backend == "None" else backend)
    assert (" ".join(shape), varied) == ("(180, 240, 3)", "True")


def test_an_animation_keeps_its_pace_and_its_caption() -> None:
    frames = [np.full((60, 200, 3), 40 * k, np.uint8) for k in range(4)]
    with Image.open(io.BytesIO(as_gif(frames, 0.04, "return 12"))) as gif:
        assert gif.n_frames == 4
        assert gif.info["duration"] == 40
        corner = np.asarray(gif.convert("RGB"))[:15, :40]
    assert corner.max() == 255  # the caption's background
    assert corner.min() < 20  # its letters


BLACK = np.zeros((50, 80, 3), np.uint8)
NOT_INSTALLED = gymnasium.error.DependencyNotInstalled("pygame is not installed,\nrun `pip ...`")


class Dot(gymnasium.Env):
    """Draws itself, or raises what it has in place of a picture."""

    metadata = {"render_modes": ["rgb_array", "human"]}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, render_mode: str | None = None, picture: Any = BLACK) -> None:
        self.render_mode = render_mode
        self.picture = picture

    def reset(self, *, seed=None, options=None):
        if self.render_mode == "human":
            self.render()
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, False, {}

    def render(self):
        if isinstance(self.picture, Exception):
            raise self.picture
        return self.picture


@pytest.fixture
def dot() -> Iterator[str]:
    gymnasium.register("tests/Dot-v0", Dot, max_episode_steps=3, disable_env_checker=True)
    yield "tests/Dot-v0"
    del gymnasium.registry["tests/Dot-v0"]


def test_an_environment_that_is_no_box_of_mujoco_draws_itself(dot: str) -> None:
    film = film_policy(lambda obs: np.zeros((1, 1)), dot, every=1)
    assert (film.drawn_with, film.episode_return, len(film.frames)) == ("the environment", 3.0, 4)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (NOT_INSTALLED, "pygame is not installed, run"),
        (ArithmeticError(), "ArithmeticError"),
        (None, "int"),
    ],
)
def test_what_keeps_an_environment_from_drawing_is_one_line(
    dot: str, picture: Any, said: str
) -> None:
    with pytest.raises(
        InputError, match=rf"^environment '{dot}' cannot be drawn: .*{said}"
    ) as caught:
        film_policy(lambda obs: np.zeros((1, 1)), dot, {"picture": picture})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "pixels"),
    [
        (np.array([0, 7, 255], np.uint8), [0, 7, 255]),
        (np.array([0, 0.5, 1], np.float32), [0, 128, 255]),
        (np.array([-3, 7.0, 300]), [0, 7, 255]),
        (np.array([0.1, np.nan, 2]), [0, 0, 2]),
        (np.array([-3, 7, 300]), [0, 7, 255]),
    ],
)
def test_pictures_are_of_bytes_whatever_numbers_an_environment_draws_with(
    dot: str, row: np.ndarray, pixels: list[int]
) -> None:
    drawn = {"picture": np.tile(row[:, None], (4, 1, 3))}
    film = film_policy(lambda obs: np.zeros((1, 1)), dot, drawn)
    assert film.frames[0][0, :, 0].tolist() == pixels
    with pytest.raises(InputError, match="'tests/Dot-v0' cannot be drawn"):
        film_policy(lambda obs: np.zeros((1, 1)), dot, {"picture": None})


def test_a_window_that_something_is_missing_for_is_not_opened(
    dot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2l_gail.play._check_display", lambda: None)
    monkeypatch.setattr("l2l_gail.play.load_policy", lambda *_: still)
    monkeypatch.setattr("l2l_gail.play._environment", lambda _: (dot, {"picture": NOT_INSTALLED}))
    with pytest.raises(InputError, match="cannot be drawn: pygame is not installed"):
        show(tmp_path)


def test_the_camera_follows_where_the_model_has_one_that_does(monkeypatch) -> None:
    if rendering.usable_backend() is None:
        pytest.skip("nothing draws with OpenGL here")
    opened = {}
    make = gymnasium.make

    def noted(env_id: str, **kwargs):
        opened.update(kwargs)
        return make(env_id, **kwargs)

    monkeypatch.setattr(rendering.gymnasium, "make", noted)
    env, _, _ = rendering._open("Hopper-v5", {})
    env.close()
    assert opened["camera_name"] == "track"


def test_observations_and_actions_that_are_matrices_are_played() -> None:
    policy = MlpPolicy(np.zeros(6), np.ones(6), (np.eye(6)[:, :4],), (np.zeros(4),))
    obs = np.arange(6.0).reshape(2, 3) / 10
    space = gymnasium.spaces.Box(-0.2, 0.2, (2, 2))
    action = action_of(policy, obs, space)
    np.testing.assert_allclose(action, [[0.0, 0.1], [0.2, 0.2]], rtol=1e-5)
    with pytest.raises(InputError, match=r"shape \(1, 2, 4\) are given, \(1, 6\) is needed"):
        action_of(policy, np.zeros((2, 4)), space)
