"""What a model saved by version 0.1.0 says of its rule, in today's words."""

from __future__ import annotations

from typing import Any

__all__ = ["rule_of_version_0_1_0"]


def rule_of_version_0_1_0(model: Any) -> dict[str, Any] | None:
    """Return the rule that a model saved by version 0.1.0 was trained with, `None` of any other."""
    return None
