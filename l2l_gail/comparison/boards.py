"""Which methods share a picture, and the colour of each.

TensorBoard colours runs in the order of their first event, from a palette of seven, and starts over
after the seventh.  A board therefore holds at most seven runs: the reference policies, as many
methods as are left, and one run for what belongs to none of them.  A section with more methods has
several boards.  Pictures are drawn with the same colours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from l2l_gail.comparison.results import REFERENCES, MethodResult, Section

__all__ = [
    "DRAWN_REFERENCES",
    "PALETTE",
    "Board",
    "boards_of",
    "folder_name",
    "folder_names",
]

PALETTE = ("#425066", "#12b5cb", "#e52592", "#f9ab00", "#9334e6", "#7cb342", "#e8710a")
"""TensorBoard's colours of runs, in their order."""

DRAWN_REFERENCES = tuple(name for name in REFERENCES if name != "random")
"""Reference policies that are drawn as level lines."""

_MOST_REFERENCES = 4  # or there would be no room for methods


@dataclass(frozen=True)
class Board:
    """Methods that are shown together.

    Attributes:
        section: What they were run on.
        methods: At most as many as the palette has colours for, ordered as they are coloured.
        number: Which of the section's boards this is, from 1.
        of: How many the section has.
    """

    section: Section
    methods: tuple[MethodResult, ...]
    number: int = 1
    of: int = 1

    @property
    def name(self) -> str:
        """Name of its folder and of its address."""
        name = folder_name(self.section.group)
        return name if self.of == 1 else f"{name}-{self.number}of{self.of}"

    @property
    def title(self) -> str:
        """Heading."""
        part = "" if self.of == 1 else f" ({self.number} of {self.of})"
        return f"{self.section.title}{part}"

    @cached_property
    def references(self) -> dict[str, float]:
        """Returns of the reference policies, by name."""
        return _references(self.section)

    @cached_property
    def colours(self) -> dict[str, str]:
        """Colour of each reference policy and method, by name: TensorBoard's own."""
        names = [*self.references, *(method.method for method in self.methods)]
        return dict(zip(names, PALETTE, strict=False))


def boards_of(section: Section) -> list[Board]:
    """Share a section's methods out to boards.

    Variants of a method are dealt in turn, so that a board shows different methods side by side.
    """
    size = len(PALETTE) - len(_references(section)) - 1
    dealt = _in_turn(section.methods)
    parts = [dealt[start : start + size] for start in range(0, len(dealt), size)]
    return [
        Board(section, tuple(part), number, len(parts))
        for number, part in enumerate(parts, start=1)
    ]


def folder_name(name: str) -> str:
    """A name as one folder that every file system and address takes, still to be read by people."""
    return re.sub(r"[^\w.+=,() -]+", "-", name).strip("-. ")[:120] or "unnamed"


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """Folders of several names, no two alike."""
    found: dict[str, str] = {}
    for name in names:
        folder, number = folder_name(name), 1
        while folder in found.values():
            number += 1
            folder = f"{folder_name(name)} #{number}"
        found[name] = folder
    return found


def _references(section: Section) -> dict[str, float]:
    """The reference policies that a board has room for, the expert first."""
    found = section.reference_returns(DRAWN_REFERENCES)
    return dict(list(found.items())[:_MOST_REFERENCES])


def _in_turn(methods: Sequence[MethodResult]) -> list[MethodResult]:
    """The first variant of each name, then the second of each, and so on; finished ones first."""
    places: dict[str, int] = {}
    order = []
    for place, method in enumerate(methods):
        turn = places[method.family] = places.get(method.family, -1) + 1
        order.append((not method.finished, turn, place))
    return [methods[place] for _, _, place in sorted(order)]
