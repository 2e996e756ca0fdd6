"""JSON as it is written: readable, without what JSON has no word for, and with a checksum.

The first member of an object that this library writes is its seal, a line of its own:
``"seal": "sha256:<digits> of <length> bytes"``, over the length and all text after that line.  It
finds damage and lets people edit: a flipped bit spoils the digest or the length and never both,
while an edit, or a program that writes the object anew, spoils both.  So a file in which one fits
and the other does not is damaged; one in which neither fits was edited, and is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2l_gail.errors import InputError

__all__ = ["is_damaged", "to_json"]

_SEAL = "seal"
_LABEL = "sha256:"
_FORM = re.compile(_LABEL + r"([0-9a-f]{64}) of (\d{1,9}) bytes")


def to_json(fields: Mapping[str, Any], what: str) -> str:
    """Indented JSON, sealed, keys in the order given; NaN and infinite values are refused by name.

    A seal among the fields is replaced.

    Raises:
        InputError: A value is NaN or infinite.
    """
    fields = {key: value for key, value in fields.items() if key != _SEAL}
    for key, value in fields.items():
        try:
            json.dumps(value, allow_nan=False, default=_plain)
        except ValueError:
            raise InputError(
                f"{what}: {key!r} holds a NaN or infinite value: the run diverged, "
                "lower its learning rate"
            ) from None
    text = json.dumps({_SEAL: "", **fields}, indent=2, allow_nan=False, default=_plain) + "\n"
    head, _, body = text.partition('"",\n') if fields else text.partition('""\n')
    separator = ",\n" if fields else "\n"
    size = len(body.encode())
    return f'{head}"{_LABEL}{_digest(body, size)} of {size} bytes"{separator}{body}'


def is_damaged(text: str, content: dict[str, Any]) -> bool:
    """Hold an object against its seal, and take that out of it.

    Args:
        text: The file's whole text.
        content: What it holds; its seal, if it has one, is removed.

    Returns:
        Whether it was damaged since it was written; not whether it was edited.
    """
    first, value = next(iter(content.items()), ("", ""))
    if first != _SEAL:
        return isinstance(value, str) and value.startswith(_LABEL)
    del content[_SEAL]
    form = _FORM.fullmatch(value) if isinstance(value, str) else None
    if form is None:
        return True
    body = text.split("\n", 2)[-1]
    size = len(body.encode())
    return (_digest(body, size) == form[1]) != (size == int(form[2]))


def _digest(body: str, size: int) -> str:
    return hashlib.sha256(f"{size}\n{body}".encode()).hexdigest()


def _plain(value: object) -> object:
    """What :mod:`json` cannot write itself: paths, and numpy or torch numbers and arrays."""
    if isinstance(value, Path):
        return str(value)
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return tolist()
