"""A rule on disk: its configuration beside its weights, readable without executing anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from l2l_gail.core.coordinate_mlp import CoordinateMLP
from l2l_gail.core.gated_momentum import GatedMomentum
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.rules import SGD, Adam, Extragradient, Optimistic, OptimisticAdam, SignDescent

__all__ = ["load_rule", "rule_from_dict", "rule_to_dict", "save_rule"]

_FORMAT = 1
_RULES: dict[str, type[UpdateRule]] = {
    cls.__name__: cls
    for cls in (
        Adam,
        CoordinateMLP,
        Extragradient,
        GatedMomentum,
        Optimistic,
        OptimisticAdam,
        SGD,
        SignDescent,
    )
}


def rule_to_dict(rule: UpdateRule, meta: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a rule as a dict of plain values and tensors.

    Args:
        rule: A rule of this package that is built from plain values (a ``ConvPerturber`` is not:
            whoever made its network saves it).
        meta: Provenance, such as seed, games, licence; plain values.

    Raises:
        ValueError: For a rule that :func:`rule_from_dict` could not build.
    """
    name = type(rule).__name__
    if _RULES.get(name) is not type(rule):
        raise ValueError(f"{name} cannot be built from plain values; known: {', '.join(_RULES)}")
    return {
        "format": _FORMAT,
        "rule": name,
        "config": rule.config,
        "state_dict": rule.state_dict(),
        "meta": meta or {},
    }


def rule_from_dict(saved: dict[str, Any]) -> UpdateRule:
    """Return the rule of :func:`rule_to_dict`.

    Raises:
        ValueError: If the dict is of another format, names an unknown rule, or its parts do not
            fit together.
    """
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        found = saved.get("format") if isinstance(saved, dict) else type(saved).__name__
        raise ValueError(f"not a rule checkpoint of format {_FORMAT} (found {found})")
    missing = [key for key in ("rule", "config", "state_dict") if key not in saved]
    if missing:
        raise ValueError(f"the rule checkpoint is incomplete: no {', '.join(missing)}")
    if saved["rule"] not in _RULES:
        raise ValueError(f"unknown rule {saved['rule']!r}; known: {', '.join(_RULES)}")
    try:
        rule = _RULES[saved["rule"]](**saved["config"])
        for weights in saved["state_dict"].values():
            rule.to(weights.dtype)  # a rule that worked in float64 still does
        rule.load_state_dict(saved["state_dict"])
    except (TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the {saved['rule']} checkpoint does not fit this version: {reason}"
        ) from error
    return rule


def save_rule(path: str | Path, rule: UpdateRule, meta: dict[str, Any] | None = None) -> None:
    """Write a rule to ``path`` (a few kB); the file is whole or absent, never half written."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    torch.save(rule_to_dict(rule, meta), temporary)
    os.replace(temporary, path)


def load_rule(path: str | Path) -> UpdateRule:
    """Read a rule written by :func:`save_rule`.

    Raises:
        ValueError: If the file is not a rule checkpoint.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a rule checkpoint: {type(error).__name__}") from error
    return rule_from_dict(saved)
