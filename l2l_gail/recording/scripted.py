"""A policy written by hand, named on the command line as ``module:function``."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from gymnasium.spaces import Space

from l2l_gail.errors import InputError
from l2l_gail.observations import Observations, arrays_of, map_parts
from l2l_gail.own_modules import import_own
from l2l_gail.policies import Predict

__all__ = ["scripted_policy"]


def scripted_policy(name: str, action_space: Space) -> Predict:
    """Import a function of one observation, and call it for each row.

    The function must depend on the observation alone: episodes are played side by side, so what it
    remembered would be of another one. Only a name that the user typed may be passed here, since
    importing a module runs it.

    Args:
        name: ``module:function``; the function takes one observation, an array ``(*shape)`` or a
            dict of such, and gives one action.
        action_space: Of the environment it is to play in.

    Returns:
        The policy; actions of another shape are an ``InputError`` at the first call.

    Raises:
        InputError: There is no such module or function, or it imports a module that there is not.
            What else the module raises keeps its traceback.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute or module.startswith("."):  # "./file.py:function"
        raise InputError(f"--policy {name!r}: write module:function")
    import_own(module, f"--policy {name!r}")
    found = sys.modules[module]
    function: Callable[[Observations], np.ndarray] | None = getattr(found, attribute, None)
    if not callable(function):
        raise InputError(f"--policy {name!r}: module {module!r} has no function {attribute!r}")

    def predict(observations: Observations) -> np.ndarray:
        rows = range(len(arrays_of(observations)[0]))
        each = (map_parts(lambda array, i=i: array[i], observations) for i in rows)
        actions = [np.asarray(function(obs), dtype=np.float64) for obs in each]
        for action in actions:
            if action.shape != action_space.shape:
                raise InputError(
                    f"--policy {name!r} gives an action of shape {action.shape} for one "
                    f"observation, {action_space.shape} is needed"
                )
        return np.stack(actions)

    return predict
