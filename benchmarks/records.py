"""Records of experiments: one JSON file for each cell of a grid, never of two configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from l2l_gail.errors import InputError

__all__ = ["as_lines", "check_same"]


def check_same(file: Path, cell: dict[str, Any]) -> None:
    """Refuse to mix a grid with results of another configuration.

    Raises:
        InputError: The file was made with other settings.
    """
    record = json.loads(file.read_text())
    changed = [key for key, value in cell.items() if record.get(key) != value]
    if changed:
        raise InputError(f"{file} was made with other {', '.join(changed)}: move it away")


def as_lines(record: dict[str, Any]) -> str:
    """Return JSON with one key a line: small, and readable in a diff."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
