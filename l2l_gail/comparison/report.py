"""The comparison as one web page that needs nothing beside it: pictures and tables are inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape

from l2l_gail.comparison.board_events import Picture
from l2l_gail.comparison.boards import Board
from l2l_gail.comparison.results import Section
from l2l_gail.comparison.tables import Table, section_notes, section_tables

__all__ = ["report"]

_WIDTH = 600  # of a picture on the page, in pixels
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #202124; margin: 0 auto; max-width: 1250px;
       padding: 0 1.5rem 4rem; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.5rem; border-bottom: 2px solid #e0e0e0; }
.table { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { padding: .25rem .55rem; border-bottom: 1px solid #e0e0e0; text-align: right;
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { background: #f5f5f5; font-weight: 600; }
img { max-width: 100%; } figure { margin: 1rem 0; display: inline-block; vertical-align: top; }
figcaption { color: #5f6368; font-size: .85rem; }
.note { background: #fff8e1; border-left: 4px solid #f9ab00; padding: .3rem .8rem;
        margin: .4rem 0; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin: 0 .3em; }
nav a { margin-right: 1.2rem; }
"""


def report(
    sections: Sequence[Section],
    boards: Mapping[str, Sequence[Board]],
    pictures: Mapping[str, Sequence[Picture]],
    explanation: str,
    notes: Sequence[str],
) -> str:
    """Write the page.

    Args:
        sections: What is compared.
        boards: Boards of each section, by its group.
        pictures: Pictures of each board, by its name.
        explanation: How the tables are to be read.
        notes: What holds for the whole comparison.

    Returns:
        HTML.
    """
    parts = ["<h1>Comparison</h1>", _navigation(sections, boards), _notes(notes)]
    for section in sections:
        parts.append(f'<h2 id="{escape(section.group)}">{escape(section.title)}</h2>')
        parts.append(_notes(section_notes(section)))
        tables = section_tables(section)
        parts.append(_table(tables[0]))
        shown: set[bytes] = set()
        for board in boards[section.group]:
            if board.of > 1:
                parts.append(f"<h3>{escape(board.title)}</h3>")
            parts.append(_colours(board))
            for picture in pictures[board.name]:
                if picture.data in shown:
                    continue
                shown.add(picture.data)
                parts.append(_figure(picture))
        parts += [_table(table) for table in tables[1:]]
    parts.append(f"<h2>How to read it</h2><p>{escape(explanation)}</p>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<link rel="icon" href="data:,">'
        f"<title>Comparison</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _navigation(sections: Sequence[Section], boards: Mapping[str, Sequence[Board]]) -> str:
    """Links to the sections, and to the boards where they are served beside the page."""
    links = [f'<a href="#{escape(s.group)}">{escape(s.title)}</a>' for s in sections]
    return f"<nav>{''.join(links)}</nav><!-- boards -->"


def _colours(board: Board) -> str:
    found = [
        f'<span class="swatch" style="background:{colour}"></span>{escape(name)}'
        for name, colour in board.colours.items()
    ]
    return f"<p>{' '.join(found)}</p>"


def _notes(notes: Sequence[str]) -> str:
    return "".join(f'<p class="note">{_bold(note)}</p>' for note in notes)


def _bold(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = [
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    ]
    return (
        f'<h3>{escape(table.title)}</h3><div class="table"><table><tr>{head}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode()
    name = escape(re.sub(r"^\d [^/]+/(\w )?|( \(picture\))$", "", picture.tag))
    width = min(picture.size[0], _WIDTH)
    return (
        f'<figure><img src="data:{picture.mime};base64,{data}" alt="{name}" '
        f'width="{width}"><figcaption>{name}</figcaption></figure>'
    )
