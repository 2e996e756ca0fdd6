"""What a script prints may be read to its end or not: the script ends as it would have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = """
import sys
from l2l_gail.cli import run_main
def main():
    for line in range(20_000):
        print("on stdout, Δ", line)
        if line % 1000 == 0:
            print("on stderr, Δ", line, file=sys.stderr, flush=True)
    open(sys.argv[1], "w").write("done")
run_main(main)
"""


def play(redirection: str, folder: Path, **environ: str) -> tuple[int, str]:
    """Run the script in a shell with its streams redirected; its status, and what was seen."""
    (folder / "script.py").write_text(SCRIPT)
    command = f'{{ "{sys.executable}" script.py done; echo $? > status; }} {redirection}'
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (folder / "done").read_text() == "done"
    return int((folder / "status").read_text()), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">&-", 0),
        ("2>&-", 0),
        (">&- 2>&-", 0),
        ("| head -1", 1),
        ("2>&1 | head -1", 0),
        ("> /dev/full", 1),
        ("2> /dev/full", 0),
    ],
)
def test_a_stream_that_is_gone_ends_nothing(redirection: str, said: int, tmp_path: Path) -> None:
    status, seen = play(redirection, tmp_path)
    assert status == 0
    assert seen.count("standard output is gone") == said
    assert "Traceback" not in seen
    assert "Exception ignored" not in seen


def test_what_an_encoding_lacks_is_written_as_an_escape(tmp_path: Path) -> None:
    status, seen = play("", tmp_path, PYTHONIOENCODING="ascii")
    assert status == 0
    assert r"on stdout, \u0394 19999" in seen
    assert r"on stderr, \u0394 19000" in seen
