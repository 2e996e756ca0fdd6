"""What may be played: a function of observations, or a live model that has ``predict``."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol, SupportsIndex

import numpy as np
from torch.nn import Module

from l2l_gail.errors import InputError, one_line
from l2l_gail.observations import arrays_of

__all__ = ["Model", "Predict", "actions_in", "as_predict", "as_seeds"]

Predict = Callable[[Any], np.ndarray]
"""A policy: raw observations ``(n, *shape)``, a dict of such where the observation space is a
``Dict``, to actions ``(n, *shape)``."""


class Model(Protocol):
    """A model as those of stable-baselines3 and of this library are, and their policies."""

    def predict(self, observation: Any, *, deterministic: bool) -> tuple[np.ndarray, Any]:
        """Actions ``(n, *shape)`` for observations, and the state of a policy that has one."""
        ...


def as_predict(policy: Predict | Model) -> Predict:
    """A policy as a function of raw observations.

    Args:
        policy: Such a function as it is; or a model, whose deterministic actions are taken, behind
            the statistics of its ``VecNormalize`` if it was trained with one.

    Raises:
        InputError: It is neither; or, at the first call, it remembers what it has seen.
    """
    predict = getattr(policy, "predict", None)
    # A policy of stable-baselines3 is a torch module, and what that is called with are tensors.
    if callable(policy) and not (isinstance(policy, Module) and callable(predict)):
        return policy
    if not callable(predict):
        raise InputError(
            f"the policy is {_kind(policy)}: give a function from observations to actions, or a "
            "model with predict"
        )
    around = getattr(policy, "get_vec_normalize_env", lambda: None)()

    def act(observations: Any) -> np.ndarray:
        seen = observations if around is None else around.normalize_obs(observations)
        try:
            found = predict(seen, deterministic=True)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            reason = one_line(error)
            raise InputError(
                f"the predict of {_kind(policy)} does not play here ({reason}): give a model of "
                "this environment, as stable-baselines3 has them"
            ) from error
        actions, state = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        if state is not None:
            raise InputError(
                f"{_kind(policy)} remembers what it has seen, and episodes are played side by "
                "side: give a policy of the observation alone"
            )
        return actions

    return act


def as_seeds(seeds: SupportsIndex | Sequence[int], what: str) -> Sequence[int]:
    """Reset seeds of episodes.

    Args:
        seeds: A seed for each episode, or the number of episodes, whose seeds are then 0, 1, ...
        what: What needs them, for the line that says so.

    Raises:
        InputError: There are none, or they are no such numbers.
    """
    if isinstance(seeds, SupportsIndex) and not isinstance(seeds, np.ndarray):
        found: Sequence[int] = range(operator.index(seeds))
    else:
        try:
            found = [operator.index(seed) for seed in seeds]
        except TypeError:
            raise InputError(
                f"seeds are whole numbers or a number of episodes, not {_kind(seeds)}"
            ) from None
    if not len(found) or min(found) < 0:
        raise InputError(f"{what} needs at least one seed, and none below 0")
    return found


def actions_in(actions: Any, observations: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A policy's actions as an array, one for each observation.

    Args:
        actions: What the policy gave.
        observations: What it was given, ``n`` rows.
        shape: Of one action.

    Returns:
        Numbers, ``(n, *shape)``.

    Raises:
        InputError: They are anything else; nothing is broadcast.
    """
    try:
        array = np.asarray(actions)
    except (TypeError, ValueError, RuntimeError):  # ragged, or a tensor that is no array
        array = np.empty((), dtype=object)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"the policy gives {_kind(actions)} where an array of actions is needed: of a model "
            "whose predict gives a pair, give the model itself"
        )
    wanted = (len(arrays_of(observations)[0]), *shape)
    if array.shape != wanted:
        raise InputError(
            f"the policy gives actions of shape {array.shape} where {wanted} is needed, a row for "
            "each observation: give a policy of this environment"
        )
    return array


def _kind(thing: Any) -> str:
    name = type(thing).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
