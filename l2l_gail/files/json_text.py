"""JSON as it is written: readable, and without what JSON has no word for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2l_gail.errors import InputError

__all__ = ["to_json"]


def to_json(fields: Mapping[str, Any], what: str) -> str:
    """Indented JSON, keys in the order given; NaN and infinite values are refused by name."""
    for key, value in fields.items():
        try:
            json.dumps(value, allow_nan=False, default=_plain)
        except ValueError:
            raise InputError(
                f"{what}: {key!r} holds a NaN or infinite value: the run diverged, "
                "lower its learning rate"
            ) from None
    return json.dumps(dict(fields), indent=2, allow_nan=False, default=_plain) + "\n"


def _plain(value: object) -> object:
    """What :mod:`json` cannot write itself: paths, and numpy or torch numbers and arrays."""
    if isinstance(value, Path):
        return str(value)
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return tolist()
