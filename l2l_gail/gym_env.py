"""Environments made by Gymnasium, with one line for whatever is wrong with them."""

from __future__ import annotations

import ast
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space

from l2l_gail.checks import is_whole, nearest
from l2l_gail.errors import MISFITS, InputError, one_line
from l2l_gail.mujoco_warnings import counted_mujoco_warnings, handle_mujoco_warnings
from l2l_gail.own_modules import import_own

__all__ = [
    "check_env_id",
    "check_spaces",
    "check_time_limit",
    "make_env",
    "parse_env_kwargs",
    "try_arguments",
    "usable",
]

_LONGEST = 1_000  # characters of one argument on the command line
_MOST_SHOWN = 60
_MOST_STEPS = 1_000_000  # of an episode: minutes of a simulator, for each of many
_MOST_SKIPPED = 10_000  # steps of the simulator in one of the environment
_WORDS = {"true": True, "false": False, "none": None, "null": None, "inf": math.inf}
"""Words that are values in other languages, or in no literal of Python."""

_COUNTS = ("max_episode_steps", "frame_skip")  # among the arguments of environments


def check_env_id(env_id: str) -> str:
    """Refuse an environment id that Gymnasium does not know, and name the nearest one it does.

    Args:
        env_id: As given to ``gymnasium.make``; ``"module:Name-v0"`` imports the module first. Only
            a name that the user gave may be passed here, never one that a file brought along.

    Returns:
        The id as it is registered, without the module.

    Raises:
        InputError: The id is no text or not registered, or its module cannot be imported.
    """
    if not isinstance(env_id, str):
        raise InputError(
            f"an environment is given by its id, such as 'Hopper-v5', and this is a "
            f"{type(env_id).__name__}: fresh ones are made, so register it (gymnasium.register)"
        )
    module, _, name = env_id.rpartition(":")
    if module:
        import_own(module, f"environment {env_id!r}")
    if name in gymnasium.registry:
        return name
    known = {registered.lower(): registered for registered in gymnasium.registry}
    near = nearest(name.lower(), known, cutoff=0.5)
    hint = f"; perhaps you meant {known[near]!r}" if near else ""
    hint = hint or "; gymnasium.pprint_registry() lists the known ones"
    raise InputError(f"unknown environment {env_id!r}{hint}")


def make_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> gymnasium.Env:
    """``gymnasium.make`` whose failures are one line.

    From the first call on, what MuJoCo warns of while environments step is a ``RuntimeWarning``
    with a count, and no longer a line in ``MUJOCO_LOG.TXT`` each time.

    Args:
        env_id: A registered environment.
        env_kwargs: Keyword arguments of ``gymnasium.make``, the environment's own among them.

    Returns:
        The environment, not yet reset.

    Raises:
        InputError: Unknown id, arguments the environment does not take, a package it needs is
            missing, or spaces that :func:`check_spaces` refuses.
    """
    check_env_id(env_id)
    for name in _COUNTS:
        _check_count(name, (env_kwargs or {}).get(name))
    handle_mujoco_warnings()
    try:
        with counted_mujoco_warnings(env_id):
            env = gymnasium.make(env_id, **dict(env_kwargs or {}))
    except (gymnasium.error.Error, ImportError, OSError, *MISFITS) as error:
        raise InputError(f"environment {env_id!r} cannot be made: {one_line(error)}") from error
    try:
        check_spaces(env.observation_space, env.action_space, f"environment {env_id!r}")
    except InputError:
        env.close()
        raise
    frame_skip = getattr(env.unwrapped, "frame_skip", 1)
    whole = isinstance(frame_skip, int | float) and frame_skip % 1 == 0
    if isinstance(frame_skip, int | float) and not (whole and 1 <= frame_skip <= _MOST_SKIPPED):
        env.close()  # MuJoCo would end the process, or take days for a step
        raise InputError(
            f"environment {env_id!r}: frame_skip is {frame_skip}: give a whole number from 1 to "
            f"{_MOST_SKIPPED:,}"
        )
    return env


def try_arguments(env_id: str, env_kwargs: Mapping[str, Any]) -> None:
    """Reset an environment with these arguments, and step it once: few are looked at before that.

    Args:
        env_id: An environment that :func:`make_env` makes with them.
        env_kwargs: The arguments; without any nothing is tried.

    Raises:
        InputError: They are of a kind that it cannot use.
    """
    if not env_kwargs:
        return
    env = gymnasium.make(env_id, **dict(env_kwargs))
    try:
        with counted_mujoco_warnings(env_id), usable(env_id, env_kwargs):
            env.reset(seed=0)
            env.action_space.seed(0)
            env.step(env.action_space.sample())
    finally:
        env.close()


@contextlib.contextmanager
def usable(env_id: str, env_kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Say in one line that what fails inside, a first step, fails with these arguments.

    Raises:
        InputError: In place of whatever was raised; one that was raised inside stays.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the environment's own code runs here
        given = ", ".join(f"{name}={value!r}" for name, value in env_kwargs.items())
        raise InputError(
            f"environment {env_id!r} fails at its first step with {given:.500}: {one_line(error)}"
        ) from error


def _check_count(name: str, value: Any) -> None:
    """Refuse what is no whole number; True, which Python takes for 1, is likely not meant."""
    if value is not None and not is_whole(value):
        raise InputError(f"environment argument {name}={value!r}: give a whole number from 1 on")


def check_spaces(observation_space: Space, action_space: Space, name: str) -> None:
    """Refuse spaces that nothing here can learn from or act in.

    Observations may be of a ``Box``, ``Discrete``, ``MultiDiscrete`` or ``MultiBinary`` space, or a
    ``Dict`` of such; actions of any of them but a ``Dict``.

    Args:
        observation_space: Observations of one environment.
        action_space: Its actions.
        name: What to call the environment in a message.

    Raises:
        InputError: A space of another kind, or of a form that stable-baselines3's policies lack:
            a ``Dict`` in a ``Dict``, classes that do not count from 0, more than one dimension of
            classes.
    """
    parts = (
        dict(observation_space.spaces)
        if isinstance(observation_space, Dict)
        else {"": observation_space}
    )
    if not parts:
        raise InputError(f"{name} has the observation space {observation_space}: it is empty")
    for key, part in parts.items():
        _check_space(part, f"{name}: the observation space" + (f" of {key!r}" if key else ""))
        if "." in key:
            raise InputError(
                f"{name}: observations have the key {key!r}: rename it, torch takes no dots there"
            )
    _check_space(action_space, f"{name}: the action space")
    if isinstance(action_space, Box) and not np.issubdtype(action_space.dtype, np.floating):
        raise InputError(
            f"{name}: the action space {action_space} is of whole numbers, and policies give real "
            "ones: wrap it as MultiDiscrete"
        )


def _check_space(space: Space, name: str) -> None:
    if not isinstance(space, (Box, Discrete, MultiDiscrete, MultiBinary)):
        raise InputError(
            f"{name} is {space}, which is not supported: Box, Discrete, MultiDiscrete and "
            "MultiBinary are, and for observations a Dict of them, without a Dict inside"
        )
    if isinstance(space, Box) and not (space.shape and all(space.shape)):
        raise InputError(f"{name} {space} holds no numbers: a Box needs at least one dimension")
    if isinstance(space, (Discrete, MultiDiscrete)) and np.any(space.start != 0):
        raise InputError(f"{name} {space} does not count from 0: wrap it so that it does")
    if isinstance(space, (MultiDiscrete, MultiBinary)) and len(space.shape) != 1:
        raise InputError(f"{name} {space} has {len(space.shape)} dimensions: wrap it flat")


def check_time_limit(spec: EnvSpec | None) -> None:
    """Refuse an environment without a time limit worth the name: an episode might never end.

    Args:
        spec: The specification of an environment that was made, its wrappers included.

    Raises:
        InputError: No ``TimeLimit`` is around it, or one of more than a million steps.
    """
    if spec is None or spec.max_episode_steps is None:
        name = "the environment" if spec is None else spec.id
        raise InputError(
            f"{name} has no time limit, and an episode might never end: give it one, with "
            "--env-kwargs max_episode_steps=1000 or where it is registered, "
            "gymnasium.register(..., max_episode_steps=1000)"
        )
    if spec.max_episode_steps > _MOST_STEPS:
        raise InputError(
            f"{spec.id} has a time limit of {spec.max_episode_steps:,} steps, as good as none, and "
            f"an episode might go on for days: give {_MOST_STEPS:,} or fewer, with --env-kwargs "
            "max_episode_steps=1000 or where it is registered"
        )


def parse_env_kwargs(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs of a command line as keyword arguments of an environment.

    Args:
        pairs: Each a name, ``=``, and a Python literal (``0.5``, ``False``, ``(1, 2)``), in which
            ``true``, ``false``, ``none``, ``null`` and ``inf`` are what they are elsewhere; a value
            that is no literal is text (``hopper.xml``, ``4x4``), unless it begins with a bracket.

    Raises:
        InputError: A pair without ``=``, with a name that is no identifier or was there before, or
            of more than 1,000 characters; a value that begins with a bracket and is no literal; or
            a window is asked for, which would end a process that has no display.
    """
    kwargs: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if len(pair) > _LONGEST:
            raise InputError(
                f"environment argument {pair[:40]!r}... has {len(pair):,} characters: give at most "
                f"{_LONGEST:,}"
            )
        if not equals or not name.isidentifier():
            raise InputError(f"environment argument {pair!r}: write name=value")
        if name in kwargs:
            raise InputError(f"environment argument {name!r} is given twice: give it once")
        kwargs[name] = _value(name, value)
    if kwargs.get("render_mode") == "human":
        raise InputError(
            "environment argument render_mode=human: nothing is shown while it trains or records; "
            "python -m l2l_gail.play RUN --show plays a finished run in a window"
        )
    return kwargs


class _Words(ast.NodeTransformer):
    """Puts values in the place of words."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        word = node.id.lower()
        return ast.Constant(_WORDS[word]) if word in _WORDS else node


def _value(name: str, text: str) -> Any:
    """The literal that an argument's text is, or the text."""
    try:
        return ast.literal_eval(_Words().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        if not text.strip().startswith(("(", "[", "{")):
            return text
    shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    raise InputError(
        f"environment argument {name}={shown}: it begins like a list and is none; "
        f"text is given in quotes of its own, {name}=\"'...'\""
    )
