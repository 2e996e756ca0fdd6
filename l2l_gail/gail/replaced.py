"""What becomes of a saved part whose setting ``load`` replaces: it goes on, or begins afresh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2l_gail.core import UpdateRule, rule_name
from l2l_gail.errors import InputError
from l2l_gail.gail.credit import LearnedCredit
from l2l_gail.gail.saving import read_fields

__all__ = ["parts_to_begin", "settings_before"]

_ATTRIBUTES = {"rule": "rule_spec", "credit": "credit"}
"""Settings that say what a part's state means, and where a model's archive has them."""
_OF_THE_POLICY = ("policy_kwargs", "use_sde")
"""What decides which weights a policy has."""


def settings_before(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what those of these settings stood at that the caller replaces by another object.

    Args:
        path: The model's archive.
        given: Settings that the caller replaces.

    Raises:
        InputError: One of them asks for a policy that the saved weights are not of.
    """
    replaced = [name for name in _ATTRIBUTES if given.get(name) is not None]
    kept = [name for name in _OF_THE_POLICY if name in given]
    fields = read_fields(path) if replaced or kept else {}
    for name in kept:
        if name in fields and given[name] != fields[name]:
            raise InputError(
                f"{path}: its policy was made with {name}={fields[name]!r}, not the "
                f"{given[name]!r} that is given: leave the setting as it was saved, or begin a new "
                "model"
            )
    return {name: fields.get(_ATTRIBUTES[name]) for name in replaced}


def parts_to_begin(model: Any, before: Mapping[str, Any]) -> list[str]:
    """Return the parts of a model that is being loaded whose saved state is of another setting.

    Args:
        model: It has been set up as it is to be.
        before: As :func:`settings_before` returns it.
    """
    parts = []
    # A model of version 0.1.0 has been given its rule's specification meanwhile.
    if "rule" in before and _is_other(model.rule, before["rule"] or model.rule_spec):
        parts.append("discriminator_updates")
    credit = before.get("credit")
    if isinstance(credit, LearnedCredit) and credit.decays != model.credit.decays:
        parts.append("credit_assignment")
    return parts


def _is_other(rule: UpdateRule, spec: Mapping[str, Any] | None) -> bool:
    """Whether the state of a saved rule, and what it has learned, are not of this one."""
    if spec is None:
        return False
    try:
        name = rule_name(rule)
    except InputError:  # one that is not registered was not saved
        return True
    learned = [*rule.learned_parameters()]
    saved = spec.get("config") or {}
    # The rate of a hand-designed rule may change; what was learned would hide a new setting.
    differs = any(saved.get(k, v) != v for k, v in rule.config.items() if k != "seed")
    learns_other = spec.get("learned", learned) != learned  # not before version 0.2.0
    return name != spec.get("rule") or learns_other or (bool(learned) and differs)
