"""Every Python block of docs/extending.md runs; blocks under one heading are one program."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from l2l_gail.core import registry
from l2l_gail.gail import PENALTIES

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(section: str) -> Iterator[tuple[str, int]]:
    """Yield the source of each block under a heading, and the page's line it starts on."""
    start = TEXT.index(f"\n## {section}\n") + 1
    end = TEXT.find("\n## ", start)
    end = len(TEXT) if end < 0 else end
    for found in re.finditer(r"^```python\n(.*?)^```$", TEXT[start:end], re.DOTALL | re.MULTILINE):
        yield found[1], TEXT.count("\n", 0, start + found.start(1))


SECTIONS = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("section", SECTIONS)
def test_section_runs_as_it_stands(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    for name in ("small_logits",):  # what the page enters into tables is taken out again
        monkeypatch.setitem(PENALTIES, name, PENALTIES["none"])
    torch.set_num_threads(1)
    module = types.ModuleType("extending")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, module.__name__, module)
    ran = 0
    for source, line in blocks(section):
        # As many empty lines in front as the page has: a traceback names the page's own line.
        exec(compile("\n" * line + source, PAGE, "exec", dont_inherit=True), vars(module))
        ran += 1
    assert ran


def test_every_section_checks_something() -> None:
    assert len(SECTIONS) >= 2
    for section in SECTIONS:
        assert any("assert " in source for source, _ in blocks(section)), section
