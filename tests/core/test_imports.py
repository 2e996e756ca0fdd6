"""The core imports torch, the standard library, itself, and what checks values and reads files."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import l2l_gail.core

FOLDER = Path(l2l_gail.core.__file__).parent
FILES = sorted(FOLDER.glob("**/*.py"))


def imported(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_imports_torch_the_standard_library_the_core_and_what_reads_files(path: Path) -> None:
    for name in imported(path):
        top = name.split(".")[0]
        inside = name.startswith(("l2l_gail.core", "l2l_gail.files")) or name in (
            "l2l_gail.checks",
            "l2l_gail.errors",
        )
        assert inside or top == "torch" or top in sys.stdlib_module_names, name


def test_importing_the_core_loads_neither_rl_nor_physics_nor_plots() -> None:
    heavy = "('gymnasium', 'stable_baselines3', 'mujoco', 'matplotlib', 'tensorboard')"
    code = (
        "import sys, l2l_gail.core; "
        f"print([name for name in {heavy} if name in sys.modules], "
        "{n.split('.')[1] for n in sys.modules if n.startswith('l2l_gail.')} - "
        "{'checks', 'core', 'errors', 'files', 'version'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=FOLDER.parent.parent,
    )
    assert done.stdout.strip() == "[] set()"


def test_every_public_name_is_there() -> None:
    for name in l2l_gail.core.__all__:
        assert getattr(l2l_gail.core, name) is not None
