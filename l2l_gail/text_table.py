"""A table as plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from l2l_gail.errors import printable

__all__ = ["format_table"]

_NUMERIC = re.compile(r"[-+]?[0-9]")


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table as plain text.

    Args:
        header: Column titles.
        rows: Cells, as many in each row as there are titles.

    Returns:
        Lines without trailing blanks: titles, a rule, the rows.  The first column is aligned to
        the left, and so is a column without numbers; columns of numbers are aligned to the right.
        Cells, whose text may come out of files, are made printable.

    Raises:
        ValueError: A row has another number of cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} cells, the header has {len(header)}")
    shown = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(header, *shown, strict=True))
    widths = [max(map(len, column)) for column in columns]
    to_right = [
        index > 0 and any(_NUMERIC.match(cell) for cell in column[1:])
        for index, column in enumerate(columns)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, to_right, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(header), rule, *(line(row) for row in shown)])
