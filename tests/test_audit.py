"""``make audit`` with stand-ins for pip-audit: what cannot be known is said, and is no success."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "numpy", "mujoco")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def audit(folder: Path, says: str, status: int) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "constraints.txt"):
        (folder / name).touch()
    site = folder / "site"
    for package in PACKAGES:
        (site / f"{package}-1.0.dist-info").mkdir(parents=True)
    programs = {
        ".venv/bin/python": f"echo {site}",
        ".venv/.tools/bin/pip-audit": f"cat {folder}/says; exit {status}",
    }
    (folder / "says").write_text(says)
    for name, line in programs.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    for name in (".venv/.ready", ".venv/.tools/.ready"):
        (folder / name).touch()
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "audit"], cwd=folder, env=settings, capture_output=True, text=True, timeout=60
    )


def test_where_nothing_can_be_reached_it_is_one_line(tmp_path: Path) -> None:
    says = "Traceback (most recent call last):\n  File x\nConnectionError: no route\n"
    done = audit(tmp_path, says, 1)
    first, *others = done.stderr.splitlines()
    assert first == (
        "error: the list of vulnerabilities cannot be reached (ConnectionError: no route...): run "
        "make audit where the public package index is"
    )
    assert all(line.startswith("make: ") for line in others)
    assert (done.returncode, done.stdout) == (2, "")


def test_an_index_that_knows_nothing_is_no_clean_bill(tmp_path: Path) -> None:
    says = "".join(f"{name}  not found and could not be audited: {name}\n" for name in PACKAGES)
    done = audit(tmp_path, f"No known vulnerabilities found\n{says}", 0)
    assert done.stderr.startswith("error: 3 of 3 packages are unknown to the index that answers")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("status", [0, 1])
def test_what_was_found_is_shown_with_its_status(status: int, tmp_path: Path) -> None:
    says = f"Found {status} known vulnerabilities\ntorch could not be audited\n"
    done = audit(tmp_path, says, status)
    assert done.stdout == says
    assert (done.returncode != 0) == bool(status)
