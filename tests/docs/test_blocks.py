"""Every block of Python and shell in README and docs runs, under a heading as one program.

What is shortened: trainings (``shell.py`` and :data:`SHORTER`). What is not run says why in its
first line, where readers see it too, and is held against the script that it names.
"""

from __future__ import annotations

import re
import sys
import tomllib
import types
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gymnasium
import pytest

from adv_training import registry as methods
from adv_training.models import MODELS
from envs.tasks import TASKS
from l2l_gail.core import registry as rules
from l2l_gail.gail import LOSSES, PENALTIES, REWARDS
from tests.docs import stand_ins
from tests.docs.pages import LANGUAGES, PAGES, ROOT, Program, blocks_of, programs_of, without_blocks
from tests.docs.shell import Shell
from tests.marks import slow

PROGRAMS = [program for page in PAGES for program in programs_of(page)]
SLOW = {
    "README: Use it",
    "docs/adversarial: Evaluating a run",
    "docs/board: Images: what does it do?",
    "docs/board: board",
    "docs/demonstrations: Making your own",
    "docs/extending: A game",
    "docs/extending: An attack or training method",
    "docs/extending: An environment",
    "docs/extending: An update rule",
    "docs/gail: The nearest policy",
    "docs/index: Start",
    "docs/integrations: Weights & Biases",
    "docs/own-task: A class of your own",
    "docs/own-task: Another model, other arguments",
    "docs/rewards: AIRL",
}
"""Programs of more than about three seconds."""
MOST_NOT_RUN = 19
SHORTER = re.compile(r"(?<=learn\()\d[\d_]{4,}")
"""A training's length in Python; 2,048 steps in its place."""


@contextmanager
def restored(table: MutableMapping) -> Iterator[None]:
    """Take back what a program enters into a table."""
    before = dict(table)
    try:
        yield
    finally:
        table.clear()
        table.update(before)


@pytest.fixture
def tables() -> Iterator[None]:
    with ExitStack() as stack:
        for table in (
            *(rules._RULES, rules._BUILDERS, methods._TABLE),
            *(TASKS, MODELS, LOSSES, PENALTIES, REWARDS),
        ):
            stack.enter_context(restored(table))
        stack.enter_context(restored(gymnasium.registry))
        yield


def marked(program: Program) -> object:
    case = slow if program.name in SLOW else pytest.param
    return case(program, id=program.name)


@pytest.mark.usefixtures("tables", "hardly_cloned")
@pytest.mark.parametrize("program", [marked(program) for program in PROGRAMS])
def test_a_program_runs(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stand_ins.install(monkeypatch)
    module = types.ModuleType("program_of_a_page")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, module.__name__, module)
    shell = Shell(tmp_path, monkeypatch)
    for block in program.blocks:
        if block.language == "bash" and block.reason:
            shell.check(block.source)
        elif block.language == "bash":
            shell.run(block.source)
        elif block.language == "python" and not block.reason:
            # As many empty lines in front as the page has: a traceback names the page's own line.
            source = "\n" * block.line + SHORTER.sub("2_048", block.source)
            exec(compile(source, block.page, "exec", dont_inherit=True), vars(module))
            if "register" not in shell.module:
                shell.module += block.source


def test_what_is_not_run_is_little() -> None:
    left_out = [block for page in PAGES for block in blocks_of(page) if block.reason]
    assert len(left_out) <= MOST_NOT_RUN, [(b.page.name, b.line) for b in left_out]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_is_fenced_and_named(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in {*LANGUAGES, "toml", ""}
        if block.language == "toml":
            assert tomllib.loads(block.source)
            continue
        if not block.language:  # formulas and drawings
            assert not re.search(r"^(?:import|from|python|make|pip) ", block.source, re.MULTILINE)
    commands = r"^ {4}(?:\.venv/bin/)?(?:python|make|pip|tensorboard|l2l-\w+) .*"
    assert not re.findall(commands, without_blocks(page), re.MULTILINE)


def test_every_section_of_extending_checks_something() -> None:
    sections = programs_of(ROOT / "docs" / "extending.md")
    assert len(sections) >= 6
    for program in sections:
        assert any("assert " in block.source for block in program.blocks), program.name
