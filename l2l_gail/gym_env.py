"""Environments made by Gymnasium, with one line for whatever goes wrong."""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium.spaces import Box

from l2l_gail.errors import InputError

__all__ = ["check_env_id", "make_env", "parse_env_kwargs"]


def check_env_id(env_id: str) -> None:
    """Refuse an environment id that Gymnasium does not know, and name the nearest one it does.

    Args:
        env_id: As given to ``gymnasium.make``; ``"module:Name-v0"`` imports the module first.

    Raises:
        InputError: The id is not registered, or its module cannot be imported.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(
                f"environment {env_id!r}: module {module!r} cannot be imported ({error})"
            ) from error
    if name in gymnasium.registry:
        return
    known = {registered.lower(): registered for registered in gymnasium.registry}
    nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"; perhaps you meant {known[nearest[0]]!r}" if nearest else ""
    hint = hint or "; gymnasium.pprint_registry() lists the known ones"
    raise InputError(f"unknown environment {env_id!r}{hint}")


def make_env(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> gymnasium.Env:
    """``gymnasium.make`` whose failures are one line.

    Args:
        env_id: A registered environment with flat ``Box`` observations and actions.
        env_kwargs: Keyword arguments of ``gymnasium.make``, the environment's own among them.

    Returns:
        The environment, not yet reset.

    Raises:
        InputError: Unknown id, arguments the environment does not take, a package it needs is
            missing, or spaces that are not one-dimensional boxes.
    """
    check_env_id(env_id)
    try:
        env = gymnasium.make(env_id, **dict(env_kwargs or {}))
    except (
        gymnasium.error.Error,
        ImportError,
        OSError,
        TypeError,
        ValueError,
        ArithmeticError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"environment {env_id!r} cannot be made: {reason}") from error
    for name, space in (("observation", env.observation_space), ("action", env.action_space)):
        if not isinstance(space, Box) or len(space.shape) != 1:
            env.close()
            raise InputError(
                f"environment {env_id!r} has the {name} space {space}; "
                "a one-dimensional Box is needed"
            )
    return env


def parse_env_kwargs(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs of a command line as keyword arguments of an environment.

    Args:
        pairs: Each a name, ``=``, and a Python literal (``0.5``, ``False``, ``(1, 2)``); a value
            that is no literal is text (``hopper.xml``).

    Raises:
        InputError: A pair without ``=`` or with a name that is no identifier.
    """
    kwargs: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"environment argument {pair!r}: write name=value")
        try:
            kwargs[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            kwargs[name] = value
    return kwargs
