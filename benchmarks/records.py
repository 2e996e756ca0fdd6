"""Records of experiments, one JSON file for each cell of a grid, and the tables made from them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from l2l_gail.errors import InputError
from l2l_gail.files import read_tensors, read_text

__all__ = ["as_lines", "check_same", "markdown", "read_configuration", "state_of", "tabulate"]

_LARGEST = 1 << 20  # bytes of a configuration


def read_configuration(file: Path, needed: Iterable[str] = ()) -> dict[str, Any]:
    """Return a grid's configuration, with what it takes from another: ``like`` names that one.

    Args:
        file: The configuration.
        needed: Keys that it must have.

    Raises:
        InputError: It is missing, no TOML, or lacks a key.
    """
    text = read_text(file, limit=_LARGEST)
    try:
        grid = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file} is no TOML: {error}") from None
    like = grid.pop("like", None)
    grid = read_configuration(file.with_name(f"{like}.toml")) | grid if like else grid
    if lacking := [key for key in needed if key not in grid]:
        raise InputError(f"{file} lacks {', '.join(lacking)}: see the head of grid.py")
    return grid


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def check_same(file: Path, cell: dict[str, Any]) -> None:
    """Refuse to mix a grid with results of another configuration.

    Raises:
        InputError: The file was made with other settings.
    """
    record = json.loads(file.read_text())
    changed = [key for key, value in cell.items() if record.get(key) != value]
    if changed:
        raise InputError(f"{file} was made with other {', '.join(changed)}: move it away")


def state_of(path: Path, plan: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the saved state of a search, to go on from.

    Args:
        path: A file of tensors whose ``plan`` is what the search was begun with.
        plan: What it is now.
        what: The kind of search, in a word.

    Raises:
        InputError: The file is missing or damaged, or of other settings.
    """
    saved = read_tensors(path, missing=f"no file {path}", way_out="delete it to begin anew")
    if saved["plan"] != plan:
        raise InputError(f"{path} is of a {what} with other settings: give another --out")
    return dict(saved)


def as_lines(record: dict[str, Any]) -> str:
    """Return JSON with one key a line: small, and readable in a diff."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def tabulate(
    documents: Iterable[Path], block: re.Pattern[str], table: Callable[[str], str], *, write: bool
) -> None:
    """Print every table of some documents.

    Args:
        documents: Texts with tables between two marks.
        block: What matches such a place: its first mark, the table's name, its last mark.
        table: From its name to a table.
        write: Also replace the tables in the documents.
    """
    for document in documents:
        text = document.read_text()
        for match in block.finditer(text):
            print(f"\n{match[2]}\n\n{table(match[2])}")
        if write:
            document.write_text(block.sub(lambda m: f"{m[1]}{table(m[2])}{m[3]}", text))
