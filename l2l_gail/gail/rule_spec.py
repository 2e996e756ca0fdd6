"""What a model's archive says of its rule (its name, its settings, what it learns), and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l2l_gail.core import UpdateRule, build_rule, rule_name
from l2l_gail.core.checkpoint import build_without_memory
from l2l_gail.core.registry import builder_names, plain_config

__all__ = ["rule_of_spec", "rule_size", "spec_of_rule"]


def spec_of_rule(rule: UpdateRule) -> dict[str, Any]:
    """Return a rule without its weights, in plain values.

    Returns:
        Under ``rule`` its registered name, under ``config`` the arguments of its constructor, and
        under ``learned`` the names of the parameters that are not frozen.

    Raises:
        InputError: The rule is not registered, or its ``config`` does not build it again.
    """
    return {
        "rule": rule_name(rule),
        "config": plain_config(rule),
        "learned": [*rule.learned_parameters()],
    }


def rule_of_spec(spec: Mapping[str, Any]) -> UpdateRule:
    """Return the rule of :func:`spec_of_rule`, with the weights that its constructor gives it."""
    rule = build_rule(spec["rule"], **spec["config"])
    if "learned" in spec:  # not before version 0.2.0
        for name, parameter in rule.named_parameters():
            parameter.requires_grad_(name in spec["learned"])
    return rule


def rule_size(spec: Mapping[str, Any]) -> int:
    """Return how many numbers a rule's parameters are, before memory for them is asked for.

    Raises:
        TypeError, KeyError, ValueError, ArithmeticError, RuntimeError: No rule can be built of it.
    """
    if spec["rule"] in builder_names():  # which may read other files
        raise ValueError(f"{spec['rule']!r} is no class of rules")
    rule = build_without_memory(spec["rule"], spec["config"])
    sizes = {name: parameter.numel() for name, parameter in rule.named_parameters()}
    for name in spec.get("learned", ()):
        if name not in sizes:
            raise ValueError(f"it has no parameter {name!r}")
    return sum(sizes.values())
