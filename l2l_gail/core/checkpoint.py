"""A rule on disk: its configuration beside its weights, readable without executing anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l2l_gail.core.registry import build_rule, plain_config, rule_name, rule_names
from l2l_gail.core.rule import UpdateRule
from l2l_gail.errors import MISFITS, InputError, one_line
from l2l_gail.files import read_tensors, save_tensors

__all__ = [
    "build_without_memory",
    "check_rebuilt",
    "load_rule",
    "load_rule_meta",
    "rule_from_dict",
    "rule_to_dict",
    "save_rule",
]

_FORMAT = 1
_SMALL = 256
"""Up to this size of all numbers of its configuration a rule is built at once."""
_BUILT_AT_ONCE = 4096**2
"""Up to this sum of their squares one is built at once that cannot be built without memory."""
_CLASS_NAMES = {
    "Adam": "adam",
    "CoordinateMLP": "coordinate_mlp",
    "Extragradient": "extragradient",
    "GatedMomentum": "gated_momentum",
    "Optimistic": "optimistic",
    "OptimisticAdam": "optimistic_adam",
    "SGD": "sgd",
    "SignDescent": "sign_descent",
}
"""What version 0.1.0 wrote in place of a registered name."""


def rule_to_dict(rule: UpdateRule, meta: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a rule as a dict of plain values and tensors.

    Args:
        rule: A registered rule (a ``ConvPerturber``, built around a network, is none: whoever made
            the network saves it).
        meta: Provenance, such as seed, games, licence; plain values.

    Raises:
        InputError: For a rule that :func:`rule_from_dict` could not build: its class is not
            registered, its ``config`` is not plain or not what the constructor takes, or a weight
            is not finite.
    """
    name = rule_name(rule)
    if not _are_weights(rule.state_dict()):
        raise InputError(f"{name}: a weight is not finite, so that the rule is not saved")
    saved = {
        "format": _FORMAT,
        "rule": name,
        "config": plain_config(rule),
        "state_dict": rule.state_dict(),
        "meta": meta or {},
    }
    rule_from_dict(saved)  # says now what could not be read later
    return saved


def rule_from_dict(saved: dict[str, Any]) -> UpdateRule:
    """Return the rule of :func:`rule_to_dict`.

    Raises:
        InputError: If the dict is of another format, names a rule that nobody has registered in
            this program, holds a weight that is not finite, or its parts do not fit together.
    """
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        found = saved.get("format") if isinstance(saved, dict) else type(saved).__name__
        raise InputError(f"not a rule checkpoint of format {_FORMAT} (found {found})")
    missing = [key for key in ("rule", "config", "state_dict") if key not in saved]
    if missing:
        raise InputError(f"the rule checkpoint is incomplete: no {', '.join(missing)}")
    name, config, weights = (saved[key] for key in ("rule", "config", "state_dict"))
    if not isinstance(name, str) or not _is_config(config) or not _are_weights(weights):
        raise InputError("the rule checkpoint holds no name, no configuration or no finite weights")
    name = _CLASS_NAMES.get(name, name)
    if name not in rule_names():
        raise InputError(
            f"the checkpoint is of a rule {name!r} that is not registered here; import the module "
            f"that defines it (registered: {', '.join(rule_names())})"
        )
    try:
        # First without memory: a configuration can ask for any width, and must fit the weights.
        if any(number > _SMALL for number in _numbers(config)):
            build_without_memory(name, config).load_state_dict(weights, assign=True)
        rule = build_rule(name, **config)
        for key, own in rule.state_dict(keep_vars=True).items():
            if key in weights and own.is_floating_point() and weights[key].is_floating_point():
                own.data = own.data.to(weights[key].dtype)  # what worked in float64 still does
        rule.load_state_dict(weights)
    except MISFITS as error:
        reason = one_line(error)
        raise InputError(f"the {name} checkpoint does not fit this version: {reason}") from error
    return rule


def build_without_memory(name: str, config: dict[str, Any]) -> UpdateRule:
    """Return a rule to look at the sizes of, before memory for them is asked for.

    Its tensors are on torch's ``meta`` device, where they have no values. One whose constructor
    reads a value is made as it is, if the numbers of its configuration are small.

    Args:
        name: A registered name.
        config: What a file says of the rule, any numbers among it.

    Raises:
        InputError: It cannot be built, or not without values, and the numbers are large.
    """
    try:
        with torch.device("meta"):
            return build_rule(name, **config)
    except MISFITS as error:
        if sum(number * number for number in _numbers(config)) <= _BUILT_AT_ONCE:
            return build_rule(name, **config)
        if "meta" not in str(error):
            raise
        raise InputError(
            f"{name} reads the value of a tensor where it is made, and {one_line(error)}, where "
            "its sizes are looked at: make that tensor with device='cpu'"
        ) from error


def check_rebuilt(rule: UpdateRule) -> None:
    """Refuse a registered rule that could not be built again from what is saved of it.

    Raises:
        InputError: As :func:`rule_to_dict`, but for its weights.
    """
    config = plain_config(rule)
    with torch.random.fork_rng(devices=[]):  # what a constructor draws is drawn once
        build_without_memory(rule_name(rule), config)


def _numbers(value: Any) -> Iterator[float]:
    """All numbers in nested lists and dicts, and the lengths of these."""
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        yield len(value)
        for part in value.values() if isinstance(value, dict) else value:
            yield from _numbers(part)


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _are_weights(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) and bool(tensor.isfinite().all())
        for name, tensor in value.items()
    )


def save_rule(path: str | Path, rule: UpdateRule, meta: dict[str, Any] | None = None) -> None:
    """Write a rule to ``path`` (a few kB), with a checksum; whole or absent, never half written.

    Raises:
        InputError: As :func:`rule_to_dict`, or the file cannot be written.
        TypeError: ``meta`` holds more than plain values.
    """
    save_tensors(path, rule_to_dict(rule, meta))


def load_rule(path: str | Path) -> UpdateRule:
    """Read a rule written by :func:`save_rule`.

    Raises:
        InputError: There is no such file, it is damaged, or no rule checkpoint.
    """
    return _load(path)[0]


def load_rule_meta(path: str | Path) -> dict[str, Any]:
    """Return the provenance that :func:`save_rule` was given.

    Raises:
        InputError: As :func:`load_rule`.
    """
    meta = _load(path)[1].get("meta")
    return meta if isinstance(meta, dict) else {}


def _load(path: str | Path) -> tuple[UpdateRule, dict[str, Any]]:
    saved = read_tensors(
        path,
        missing=f"no rule at {path}: give the file that save_rule wrote",
        way_out="save the rule again",
    )
    try:
        return rule_from_dict(saved), saved
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
