"""What the settings of a model may be, when it is made as when it is read from a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from l2l_gail.checks import is_whole
from l2l_gail.errors import InputError

__all__ = ["SETTINGS", "check_settings", "check_steps"]

_LARGEST = 2**31


def _whole(least: int, below: int = _LARGEST) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        return is_whole(value) and bool(least <= value < below)

    return holds


def _is_level(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and bool(0 <= value < _LARGEST)


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating))


def _is_number(value: Any) -> bool:
    return _is_real(value) and bool(abs(value) < _LARGEST) and math.isfinite(value)


def _is_rate(value: Any) -> bool:
    return _is_real(value) and math.isfinite(value) and bool(value >= 0)


def _is_fraction(value: Any) -> bool:
    return _is_real(value) and bool(0 <= value <= 1)


def _is_decay(value: Any) -> bool:
    return _is_real(value) and bool(0 <= value < 1)


def _is_bound(value: Any) -> bool:
    """Infinity is how a bound is switched off."""
    return _is_real(value) and bool(value > 0)


def _is_switch(value: Any) -> bool:
    return isinstance(value, (bool, int, np.bool_)) and bool(value in (0, 1))


def _or_none(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or kind(value)


def _or_schedule(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: kind(value) or (callable(value) and not isinstance(value, type))


_ANY_COUNT = (_whole(0), "a whole number from 0 on")
_COUNT = (_whole(1), "a whole number from 1 on")
_DONE = (_whole(0, 2**63), "a whole number from 0 on")
_NUMBER = (_is_number, "a finite number")
_RATE = (_is_rate, "0 or more and finite")
_FRACTION = (_is_fraction, "from 0 to 1")
_SWITCH = (_is_switch, "True or False")
_DICT = (lambda value: isinstance(value, dict), "a dict")

SETTINGS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("n_steps", "n_envs", "batch_size", "n_epochs"), _COUNT),
    **dict.fromkeys(("num_timesteps", "_n_updates", "_episode_num"), _DONE),
    **dict.fromkeys(("_stats_window_size", "warm_start_steps"), _ANY_COUNT),
    **dict.fromkeys(("gamma", "gae_lambda"), _FRACTION),
    **dict.fromkeys(("ent_coef", "vf_coef"), _NUMBER),  # a negative one is of use to some
    **dict.fromkeys(("policy_pace", "policy_divergence"), _RATE),
    **dict.fromkeys(("use_sde", "normalize_advantage", "is_cloned"), _SWITCH),
    "policy_average": (_is_decay, "from 0 to below 1"),
    "verbose": (_is_level, "0, 1 or 2"),
    "seed": (_or_none(_whole(0, 2**32)), "a whole number from 0 to below 2**32, or None"),
    "learning_rate": (_or_schedule(_is_rate), "0 or more and finite, or a schedule"),
    "max_grad_norm": (_is_bound, "above 0"),
    "clip_range": (_or_schedule(_is_bound), "above 0, or a schedule"),
    "clip_range_vf": (_or_none(_or_schedule(_is_bound)), "above 0, a schedule, or None"),
    "target_kl": (_or_none(_is_bound), "above 0, or None"),
    "policy_kwargs": _DICT,
    "rollout_buffer_kwargs": _DICT,
    "policy_class": (lambda value: isinstance(value, type), "a class"),
    "rule_spec": (_or_none(lambda value: isinstance(value, dict)), "a dict, or None"),
}
"""For each plain attribute of a model: whether a value can be its, and what can, in words."""


def check_settings(model: object) -> None:
    """Refuse settings that no training could use, and that ``load`` would refuse.

    Args:
        model: An algorithm whose attributes are those of its constructor. Numbers of numpy become
            Python's own, as the seeds, schedules and batches of others need them.

    Raises:
        InputError: Naming the first setting that cannot be.
    """
    for name, (holds, what) in SETTINGS.items():
        value = getattr(model, name, None)
        if name in vars(model) and not holds(value):
            raise InputError(f"{name} must be {what}, not {value!s:.40}")
        if isinstance(value, np.generic):
            setattr(model, name, value.item())


def check_steps(total_timesteps: float) -> None:
    """Refuse a number of steps to learn for that is none.

    Args:
        total_timesteps: As ``learn`` takes it; ``1e6`` is a number of steps, too.

    Raises:
        InputError: It is negative, infinite, or no number.
    """
    if not _is_real(total_timesteps) or not 0 <= total_timesteps < math.inf:
        raise InputError(f"total_timesteps must be a number of steps, not {total_timesteps!r:.40}")
