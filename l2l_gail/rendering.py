"""Pictures of an environment with whatever this machine can draw with, and animated GIFs of them.

MuJoCo draws through OpenGL: EGL where it works without a display, else OSMesa.  Where neither does,
an environment of MuJoCo is sketched: its bodies as lines of their thickness, seen from the side.
"""

from __future__ import annotations

import functools
import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from PIL import Image, ImageDraw

from l2l_gail.errors import InputError, one_line
from l2l_gail.gym_env import check_env_id
from l2l_gail.mujoco_warnings import counted_mujoco_warnings
from l2l_gail.policies import Predict

__all__ = ["Film", "action_of", "as_gif", "cannot_be_drawn", "film_policy", "usable_backend"]

SIZE = (240, 180)
"""Width and height of a picture in pixels."""

_PROBE = """
import mujoco
window = mujoco.GLContext(64, 64)  # without a display glfw makes one that nothing can be drawn with
window.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 150).free()
window.free()
"""
_PLANE = 0  # mjtGeom.mjGEOM_PLANE
_SPHERE = 2  # mjtGeom.mjGEOM_SPHERE
_METRES = 2.6  # width of what a sketch shows

Frame = np.ndarray
"""One picture, ``(height, width, 3)`` uint8."""


@dataclass(frozen=True)
class Film:
    """A policy's episode in pictures.

    Attributes:
        frames: ``(height, width, 3)`` uint8 each.
        seconds: Time between two of them.
        episode_return: Sum of the environment's reward over the steps that were played.
        steps: Their number; smaller than the episode's if ``cut``.
        cut: Whether the episode went on after the last picture.
        drawn_with: ``egl``, ``osmesa``, ``sketch``, or ``the environment``.
    """

    frames: Sequence[Frame]
    seconds: float
    episode_return: float
    steps: int
    cut: bool
    drawn_with: str


@functools.cache
def usable_backend() -> str | None:
    """What MuJoCo can draw with here, without a display; None if nothing.

    ``MUJOCO_GL`` decides if it is set.  Each candidate is tried in a process of its own, since a
    broken OpenGL ends the process that tries it.
    """
    chosen = os.environ.get("MUJOCO_GL")
    for backend in [chosen] if chosen else ["egl", "osmesa"]:
        tried = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=os.environ | {"MUJOCO_GL": backend},
            capture_output=True,
            timeout=120,
            check=False,
        )
        if tried.returncode == 0:
            return backend
    return None


def film_policy(
    predict: Predict,
    env_id: str,
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    steps: int = 300,
    every: int = 8,
) -> Film:
    """Play one episode and draw it.

    Args:
        predict: Raw observations ``(1, obs_dim)`` to actions ``(1, act_dim)``.
        env_id: Environment to play in.
        env_kwargs: Keyword arguments of the environment.
        seed: Reset seed of the episode.
        steps: Steps after which it is cut.
        every: Steps from one picture to the next.

    Returns:
        The film, of at least one picture.

    Raises:
        InputError: The environment is unknown, cannot be made, or cannot be drawn.
    """
    check_env_id(env_id)
    try:
        with counted_mujoco_warnings(env_id):
            env, draw, how = _open(env_id, dict(env_kwargs or {}))
    except (gymnasium.error.Error, ImportError, OSError, TypeError, ValueError) as error:
        raise cannot_be_drawn(env_id, error) from error

    def drawn(env: gymnasium.Env) -> Frame:
        try:
            return draw(env)
        # Gymnasium's own miss a package of theirs only now, and what others raise is anything.
        except Exception as error:
            raise cannot_be_drawn(env_id, error) from error

    try:
        with counted_mujoco_warnings(env_id):
            return _one_episode(predict, env, drawn, how, seed=seed, steps=steps, every=every)
    finally:
        env.close()


def cannot_be_drawn(env_id: str, error: Exception) -> InputError:
    """Return in one line that an environment cannot be drawn, and why."""
    return InputError(f"environment {env_id!r} cannot be drawn: {one_line(error)}")


def action_of(predict: Predict, obs: Any, space: gymnasium.Space) -> Any:
    """Return what a policy does on one raw observation, clipped to a ``Box`` of actions."""
    action = predict(np.asarray(obs)[None])[0]
    if not isinstance(space, Box):
        return action
    return np.clip(np.reshape(action, space.shape), space.low, space.high)


def as_gif(
    frames: Sequence[Frame], seconds: float, caption: str = "", comment: bytes = b""
) -> bytes:
    """Encode an animation.

    Args:
        frames: Pictures of one size.
        seconds: Time from one to the next; at least 0.02, which is the least that browsers obey.
        caption: Line drawn onto each.
        comment: Kept in the file, and not drawn.
    """
    pictures = []
    for frame in frames:
        picture = Image.fromarray(frame)
        if caption:
            pen = ImageDraw.Draw(picture)
            width = pen.textlength(caption)
            pen.rectangle((0, 0, width + 8, 15), fill=(255, 255, 255))
            pen.text((4, 2), caption, fill=(0, 0, 0))
        pictures.append(picture.quantize(64))
    file = io.BytesIO()
    between = max(20, round(1000 * seconds))
    durations = [between] * (len(pictures) - 1) + [1000]  # rest on the end
    pictures[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        optimize=False,
        **({"comment": comment} if comment else {}),
    )
    return file.getvalue()


def _open(
    env_id: str, kwargs: dict[str, Any]
) -> tuple[gymnasium.Env, Callable[[gymnasium.Env], Frame], str]:
    """An environment, what draws it, and the name of that."""
    plain = gymnasium.make(env_id, **kwargs)
    if not _is_mujoco(plain):
        plain.close()
        return gymnasium.make(env_id, render_mode="rgb_array", **kwargs), _render, "the environment"
    backend = usable_backend()
    if backend is None:
        return plain, _sketch, "sketch"
    os.environ["MUJOCO_GL"] = backend  # Gymnasium asks it when it draws first; it may be ""
    cameras = _cameras(plain)
    plain.close()
    view: dict[str, Any] = dict(zip(("width", "height"), SIZE, strict=True))
    if "track" in cameras:  # follows the body, which soon leaves any other view
        view["camera_name"] = "track"
    env = gymnasium.make(env_id, render_mode="rgb_array", **(view | kwargs))
    quality = env.unwrapped.model.vis.quality  # type: ignore[attr-defined]
    quality.shadowsize = quality.offsamples = 0  # ten times faster in software
    return env, _render, backend


def _is_mujoco(env: gymnasium.Env) -> bool:
    return hasattr(env.unwrapped, "model") and hasattr(env.unwrapped, "data")


def _cameras(env: gymnasium.Env) -> list[str]:
    model = env.unwrapped.model  # type: ignore[attr-defined]
    return [model.camera(place).name for place in range(model.ncam)]


def _one_episode(
    predict: Predict,
    env: gymnasium.Env,
    draw: Callable[[gymnasium.Env], Frame],
    how: str,
    *,
    seed: int,
    steps: int,
    every: int,
) -> Film:
    space = env.action_space
    obs, _ = env.reset(seed=seed)
    frames = [draw(env)]
    total, step, ended = 0.0, 0, False
    while step < steps and not ended:
        obs, reward, terminated, truncated, _ = env.step(action_of(predict, obs, space))
        total, step, ended = total + float(reward), step + 1, terminated or truncated
        if step % every == 0 or ended:
            frames.append(draw(env))
    between = every * float(getattr(env.unwrapped, "dt", 0.02))
    return Film(frames, between, total, step, cut=not ended, drawn_with=how)


def _render(env: gymnasium.Env) -> Frame:
    picture = Image.fromarray(_pixels(env.render()))
    picture.thumbnail((2 * SIZE[0], 2 * SIZE[1]))
    return np.asarray(picture)


def _pixels(picture: Any) -> Frame:
    """What an environment drew, from 0 to 255; floats of at most 1 are shares of that."""
    frame = np.asarray(picture)
    if frame.dtype.kind == "f":
        frame = np.nan_to_num(frame)
        frame = np.rint(255 * frame if frame.max(initial=0) <= 1 else frame)
    return (np.clip(frame, 0, 255) if frame.dtype.kind in "fiu" else frame).astype(np.uint8)


def _sketch(env: gymnasium.Env) -> Frame:
    """Bodies of a MuJoCo environment from the side, without OpenGL."""
    model, data = env.unwrapped.model, env.unwrapped.data  # type: ignore[attr-defined]
    width, height = SIZE
    scale = width / _METRES
    moving = [geom for geom in range(model.ngeom) if model.geom_type[geom] != _PLANE]
    middle = float(np.mean([data.geom_xpos[geom][0] for geom in moving])) if moving else 0.0

    def place(point: np.ndarray) -> tuple[float, float]:
        # x to the right, z up, y a little of both: what is nearer lies lower.
        x = point[0] - middle + 0.35 * point[1]
        return width / 2 + scale * x, height - 12 - scale * (point[2] + 0.25 * point[1])

    picture = Image.new("RGB", SIZE, (236, 240, 245))
    pen = ImageDraw.Draw(picture)
    ground = place(np.array([middle, 0.0, 0.0]))[1]
    pen.rectangle((0, ground, width, height), fill=(205, 212, 220))
    tick = 0.5
    for mark in np.arange(np.floor((middle - _METRES) / tick), (middle + _METRES) / tick + 1):
        x = width / 2 + scale * (tick * mark - middle)
        pen.line((x, ground, x, ground + 5), fill=(130, 140, 150), width=2)
    for geom in sorted(moving, key=lambda geom: -data.geom_xpos[geom][1]):
        radius = max(float(model.geom_size[geom][0]), 0.01)
        half = 0.0 if model.geom_type[geom] == _SPHERE else float(model.geom_size[geom][1])
        axis = data.geom_xmat[geom].reshape(3, 3)[:, 2]
        ends = [place(data.geom_xpos[geom] + sign * half * axis) for sign in (-1, 1)]
        r = scale * radius
        pen.line((*ends[0], *ends[1]), fill=(178, 102, 51), width=max(1, round(2 * r)))
        for x, y in ends:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=(178, 102, 51))
    return np.asarray(picture)
