"""The project's pages, and the programs that stand in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("python", "bash")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_REASON = re.compile(r"# not run by the tests: (.+)\n")


@dataclass(frozen=True)
class Block:
    """A block of code of a page.

    Attributes:
        page: The file.
        line: The page's line in front of the code.
        language: What stands behind the fence.
        source: The code.
        reason: Why the tests do not run it, as its first line tells every reader.
    """

    page: Path
    line: int
    language: str
    source: str

    @property
    def reason(self) -> str | None:
        found = _REASON.match(self.source)
        return found[1] if found else None


@dataclass(frozen=True)
class Program:
    """The blocks under one heading of the second level: they share names and a folder."""

    page: Path
    section: str
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        place = self.page.relative_to(ROOT).with_suffix("").as_posix()
        return f"{place}: {self.section}"


def blocks_of(page: Path) -> list[Block]:
    """Return all fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start(2)), found[1], found[2])
        for found in _FENCE.finditer(text)
    ]


def programs_of(page: Path) -> list[Program]:
    """Return the programs of a page; what stands above the first heading is one too."""
    code = [block for block in blocks_of(page) if block.language in LANGUAGES]
    text = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), page.read_text(encoding="utf-8"))
    headings = [(0, page.stem)]
    headings += [
        (text.count("\n", 0, found.start()), found[1])
        for found in re.finditer(r"^## (.*)$", text, re.MULTILINE)
    ]
    ends = [line for line, _ in headings[1:]] + [text.count("\n") + 1]
    programs = []
    for (begin, title), end in zip(headings, ends, strict=True):
        inside = tuple(block for block in code if begin <= block.line < end)
        if inside:
            programs.append(Program(page, title, inside))
    return programs


def without_blocks(page: Path) -> str:
    """Return a page's text without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
