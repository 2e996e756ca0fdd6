"""The arguments of an environment as demonstrations keep them, and in what two differ."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.wrappers import RescaleAction

__all__ = [
    "arguments_in",
    "arguments_of",
    "bare_id",
    "differing_arguments",
    "left_out",
    "plain_kwargs",
    "warn_of_left_out",
    "with_defaults",
]

_NOT_COMPARED = ("render_mode",)
_ABSENT = object()
_RESCALED = RescaleAction.class_name()


def bare_id(env_id: str) -> str:
    """An id without the module that registers it."""
    return env_id.rpartition(":")[2]


def plain_kwargs(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """An environment's keyword arguments as JSON gives them back, infinities included.

    Numbers and arrays of NumPy are numbers and lists. What JSON does not have is left out.
    """
    plain: dict[str, Any] = {}
    for name, value in sorted(kwargs.items()):
        if name in _NOT_COMPARED:
            continue
        try:
            text = json.dumps({name: value}, sort_keys=True, default=_of_numpy)
            plain |= json.loads(text, parse_constant=_infinite)
        except (TypeError, ValueError, RecursionError):
            continue
    return plain


def left_out(kwargs: Mapping[str, Any], env_id: str | None = None) -> list[str]:
    """Names of the arguments that are no plain values, but for those of the registration."""
    registered = gymnasium.registry.get(bare_id(env_id)) if env_id else None
    own = registered.kwargs if registered else {}
    known = plain_kwargs(kwargs).keys() | own.keys() - plain_kwargs(own).keys()
    return sorted(str(name) for name in kwargs if name not in known and name not in _NOT_COMPARED)


def warn_of_left_out(names: Sequence[str], outcome: str, stacklevel: int = 3) -> None:
    """Say what becomes of arguments that are no plain values; nothing if there are none."""
    if names:
        warnings.warn(
            f"arguments of the environment that are no plain values are {outcome}: "
            f"{', '.join(names)}; give numbers, text, or lists of them",
            stacklevel=stacklevel,
        )


def _of_numpy(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError


def _infinite(text: str) -> float:
    """What a number's name in JSON stands for; NaN, which does not even equal itself, is none."""
    if text == "NaN":
        raise ValueError
    return float(text)


def arguments_of(spec: EnvSpec) -> dict[str, Any]:
    """What an environment was made with, plain; see :func:`plain_kwargs`.

    Its time limit, too, if it is not the usual one, and a ``RescaleAction`` around it, within which
    the same numbers are other actions.
    """
    arguments = arguments_in(
        {
            "id": spec.id,
            "kwargs": spec.kwargs,
            "max_episode_steps": spec.max_episode_steps,
            "additional_wrappers": [
                {"name": each.name, "kwargs": each.kwargs} for each in spec.additional_wrappers
            ],
        }
    )
    assert arguments is not None
    if _RESCALED in arguments and not _rescales(spec, arguments[_RESCALED]):
        del arguments[_RESCALED]
    return arguments


def arguments_in(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """What :func:`arguments_of` returns, of a specification as Gymnasium writes it to a file.

    Nothing is made or imported, so a ``RescaleAction`` to the bounds that actions have anyway is
    among the arguments too.

    Args:
        spec: The content of the file, which need not be sound, with an ``id``.

    Returns:
        None if it does not have arguments.
    """
    kwargs, wrappers = spec.get("kwargs"), spec.get("additional_wrappers")
    if not isinstance(kwargs, dict):
        return None
    arguments = plain_kwargs(kwargs)
    registered = gymnasium.registry.get(spec["id"])
    if registered is None:
        return arguments
    limit = spec.get("max_episode_steps", registered.max_episode_steps)
    if limit != registered.max_episode_steps and isinstance(limit, int | None):
        arguments["max_episode_steps"] = limit
    around = wrappers if isinstance(wrappers, list) else []
    for wrapper in around[len(registered.additional_wrappers) :]:
        if isinstance(wrapper, dict) and wrapper.get("name") == _RESCALED:
            bounds = wrapper.get("kwargs")
            arguments[_RESCALED] = plain_kwargs(bounds if isinstance(bounds, dict) else {})
    return arguments


def differing_arguments(
    theirs: Mapping[str, Any],
    ours: Mapping[str, Any],
    space: gymnasium.Space[Any],
    env_id: str | None = None,
) -> list[str]:
    """Names of arguments, plain ones, in which demonstrations differ from an environment.

    One that is not given is the environment's default, where that can be told; None is a value.

    Args:
        theirs: Arguments of the demonstrations.
        ours: Arguments of the environment.
        space: Its actions.
        env_id: Its id, if known.
    """
    theirs, ours = (with_defaults(given, env_id) for given in (theirs, ours))
    names = sorted(
        key for key in {*theirs, *ours} if theirs.get(key, _ABSENT) != ours.get(key, _ABSENT)
    )
    if _RESCALED in names and _RESCALED not in ours and isinstance(space, Box):
        bounds = theirs[_RESCALED]
        pairs = (("min_action", space.low), ("max_action", space.high))
        if isinstance(bounds, Mapping) and all(_same(bounds.get(n), own) for n, own in pairs):
            names.remove(_RESCALED)  # it changed nothing
    return names


def with_defaults(given: Mapping[str, Any], env_id: str | None) -> dict[str, Any]:
    """Arguments and, where a registered environment tells them, the defaults of the others.

    Nothing is imported for it: what has been made is there.
    """
    spec = gymnasium.registry.get(bare_id(env_id)) if env_id else None
    if spec is None:
        return dict(given)
    entry_point: Any = spec.entry_point
    if isinstance(entry_point, str):
        module, _, name = entry_point.partition(":")
        entry_point = getattr(sys.modules.get(module), name, None)
    parameters: Iterable[inspect.Parameter] = ()
    with contextlib.suppress(TypeError, ValueError):  # none that can be called, or written in C
        parameters = inspect.signature(entry_point).parameters.values()
    own = {each.name: each.default for each in parameters if each.default is not each.empty}
    limit = {"max_episode_steps": spec.max_episode_steps}
    return plain_kwargs(limit | own | spec.kwargs) | dict(given)


def _same(bound: Any, own: np.ndarray) -> bool:
    """Whether a bound of actions, one number or one for each entry, is an environment's own."""
    try:
        return bool((np.broadcast_to(np.asarray(bound, dtype=own.dtype), own.shape) == own).all())
    except (TypeError, ValueError):
        return False


def _rescales(spec: EnvSpec, bounds: Mapping[str, Any]) -> bool:
    """Whether bounds that a wrapper gives actions are others than the environment's own."""
    env = gymnasium.make(dataclasses.replace(spec, additional_wrappers=()))
    space = env.action_space
    env.close()
    assert isinstance(space, Box)
    given = (bounds.get("min_action", space.low), bounds.get("max_action", space.high))
    return any(
        (mine != own).any() for mine, own in zip(given, (space.low, space.high), strict=True)
    )
