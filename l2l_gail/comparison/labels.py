"""Names out of files as matplotlib is to draw them."""

from __future__ import annotations

__all__ = ["as_drawn"]


def as_drawn(text: str) -> str:
    """A text that is drawn letter by letter: no formula, and in legends whatever it begins with."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
