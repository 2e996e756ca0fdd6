"""The command that prints what a file of demonstrations holds."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from tyro.conf import Positional

from l2l_gail.cli import parse
from l2l_gail.demos.arguments import bare_id
from l2l_gail.demos.columns import named_arrays
from l2l_gail.demos.demonstrations import Demonstrations
from l2l_gail.demos.ends import ends_of
from l2l_gail.errors import InputError
from l2l_gail.gym_env import make_env
from l2l_gail.text_table import format_table

__all__ = ["InfoConfig", "main"]


@dataclass(frozen=True)
class InfoConfig:
    """What to look at."""

    file: Positional[str]
    """a file or folder of demonstrations, the name of an embedded set (Hopper-v5), or the id of a
    Minari dataset"""


def main(argv: Sequence[str] | None = None) -> None:
    """Print shapes, episodes and the share of actions at the bounds.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Raises:
        InputError: The file is missing, damaged or unsound.
    """
    config = parse(
        InfoConfig,
        argv,
        prog="python -m l2l_gail.demos info",
        description="Print what a file of demonstrations holds.",
    )
    demos = Demonstrations.load(config.file)
    print(describe(demos))


def describe(demos: Demonstrations) -> str:
    """A few lines of plain text about demonstrations."""
    rows = [
        ("environment", demos.env_id or "not stated"),
        ("its arguments", _arguments(demos)),
        ("episodes, steps", f"{demos.n_episodes}, {len(demos)}"),
        *(
            (_told(name), f"{_size(array)}, {array.dtype}")
            for name, array in named_arrays("obs", demos.obs).items()
        ),
        *_actions(demos),
        ("expert return", _optional(demos.expert_return)),
        ("random return", _optional(demos.random_return)),
    ]
    episodes = []
    known = demos.rews is not None
    returns = [f"{value:.1f}" for value in demos.returns] if known else ["-"] * demos.n_episodes
    ends: list[str] = [*ends_of(vars(demos))]
    for index, length in enumerate(demos.episode_lengths):
        unknown = demos.ended_after is not None and demos.ended_after[index]
        end = "terminal or time limit" if unknown else ends[index]
        episodes.append((str(index), returns[index], str(length), end))
    return "\n\n".join(
        [
            format_table(("demonstrations", ""), rows),
            format_table(("episode", "return", "steps", "end"), episodes),
        ]
    )


def _told(name: str) -> str:
    """The name of an array of observations in words."""
    return "observations" + name.removeprefix("obs").replace(".", " of ", 1)


def _size(array: np.ndarray) -> str:
    if array.ndim == 1:
        return "one class"
    return " x ".join(map(str, array.shape[1:])) + (" wide" if array.ndim == 2 else "")


def _actions(demos: Demonstrations) -> list[tuple[str, str]]:
    if demos.acts is None:
        return [("actions", "none: states alone")]
    if demos.acts.dtype.kind == "i":
        return _classes(demos.acts)
    return _numbers(demos.acts, demos.env_id)


def _numbers(acts: np.ndarray, env_id: str | None) -> list[tuple[str, str]]:
    """How many of the actions are at the bounds of their space."""
    low, high, source = _bounds(env_id, acts.shape[1:])
    beyond = (acts < low) | (acts > high)
    clipped = (acts <= low) | (acts >= high)
    steps = clipped.reshape(len(acts), -1).any(axis=1)
    return [
        ("actions", _size(acts)),
        ("action entries at a bound", f"{clipped.mean():.1%} ({source})"),
        ("action entries beyond a bound", f"{beyond.mean():.1%}"),
        ("steps with one at a bound", f"{steps.mean():.1%}"),
    ]


def _classes(acts: np.ndarray) -> list[tuple[str, str]]:
    """How often each class was chosen."""
    columns = acts.reshape(len(acts), -1).T
    return [
        (
            "actions" if len(columns) == 1 else f"action {place}",
            ", ".join(
                f"{value}: {count / len(acts):.1%}"
                for value, count in zip(*np.unique(column, return_counts=True), strict=True)
            ),
        )
        for place, column in enumerate(columns)
    ]


def _bounds(env_id: str | None, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, str]:
    """The bounds of the action space; those of most tasks where the environment is unknown."""
    # A name out of a file is looked up among those that are registered; it never imports a module.
    name = bare_id(env_id) if env_id else None
    if name in gymnasium.registry:
        with contextlib.suppress(InputError):  # what it needs is not installed here
            env = make_env(name)
            space = env.action_space
            env.close()
            if isinstance(space, Box) and space.shape == shape:
                return space.low, space.high, "bounds of the environment"
    one = np.ones(shape, dtype=np.float32)
    return -one, one, "bounds taken as -1 and 1"


def _arguments(demos: Demonstrations) -> str:
    if demos.env_kwargs is None:
        return "not stated"
    return ", ".join(f"{name}={value}" for name, value in demos.env_kwargs.items()) or "none"


def _optional(value: float | None) -> str:
    return "not stated" if value is None else f"{value:.1f}"
