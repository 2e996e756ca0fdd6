"""Settings of methods as TensorBoard's HParams tab wants them: the same keys for all."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from l2l_gail.comparison.results import MethodResult

__all__ = ["hyperparameters"]

_TELLING = ("learned", "learned_rule", "update_rule", "attacker", "pgd_steps")
# What tells methods apart comes first: the tab shows five settings, by the alphabet.


def hyperparameters(methods: Sequence[MethodResult]) -> dict[str, dict[str, str | float]]:
    """Settings of each method, by its name; the same keys for all.

    A key that some method lacks (there it is ``-``), or that is a number in one and a word in
    another, is a word in all.
    """
    keys = sorted({key for method in methods for key in method.settings} - {"method"})
    found: dict[str, dict[str, str | float]] = {
        method.method: {"1 method": method.method, "1 seeds": float(len(method.runs))}
        for method in methods
    }
    for key in keys:
        numeric = all(_is_number(method.settings, key) for method in methods)
        values = [method.settings.get(key, "-") for method in methods]
        name = f"2 {key}" if key in _TELLING else key
        if len(set(map(str, values))) == 1:
            name = f"~ {key}, same for all"
        for method, value in zip(methods, values, strict=True):
            found[method.method][name] = float(np.float64(value)) if numeric else str(value)
    return found


def _is_number(settings: Mapping[str, object], key: str) -> bool:
    value = settings.get(key)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # a whole number out of a file may be any
