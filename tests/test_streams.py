"""What a script prints may be read to its end or not: the script ends as it would have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from l2l_gail import startup
from tests.marks import slow

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


IMPORTS_MUJOCO = [  # what a user may start, each with a line that it writes somewhere
    ("train_gail.py", "--seed", "-1"),
    ("-m", "l2l_gail.demos", "info", "Hopper-v5"),
    ("-m", "l2l_gail.play", "nowhere"),
    ("-c", "from l2l_gail.commands import gail; gail()", "--seed", "-1"),
]


@pytest.mark.parametrize(
    "arguments",
    [IMPORTS_MUJOCO[0], *map(slow, IMPORTS_MUJOCO[1:])],
    ids=lambda arguments: arguments[1],
)
def test_streams_closed_before_the_start_change_no_command(arguments: tuple[str, ...]) -> None:
    def status(redirection: str) -> int:
        command = f'"$0" "$@" {redirection}'
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(
            ["bash", "-c", command, sys.executable, *arguments],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
        ).returncode

    expected = 0 if "info" in arguments else 2  # whereas a traceback would end with 1
    ways = ["<&- >&- 2>&-"] + ["2>&-"] * (arguments[0] == "train_gail.py")
    assert {status(way) for way in ways} == {expected}


def test_a_closed_descriptor_is_open_for_children_too() -> None:
    script = """if True:
        import os, subprocess, sys
        os.close(1)
        import l2l_gail.startup
        child = "import os, sys; os.write(1, b'lost'); os.write(2, b'a child wrote to both')"
        subprocess.run([sys.executable, "-c", child], check=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "a child wrote to both")


@pytest.mark.parametrize(
    "arguments",
    [
        (str(ROOT / "train_gail.py"), "--help"),
        (str(ROOT / "train_cifar.py"), "--help"),
        ("-m", "l2l_gail.compare", "--help"),
        ("-c", "from l2l_gail.commands import demos; demos()", "--help"),
    ],
    ids=lambda arguments: arguments[1] if arguments[0].startswith("-") else arguments[0][-14:],
)
def test_a_deleted_working_directory_is_one_line(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    done = subprocess.run(
        ["bash", "-c", 'rmdir ../here; "$0" "$@"', sys.executable, *arguments],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the working directory cannot be used")


@pytest.mark.slow
def test_a_program_that_uses_the_library_is_left_as_it_is() -> None:
    script = "import os; os.close(0); import l2l_gail.core, os; os.fstat(0)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert "Bad file descriptor" in done.stderr


def test_what_an_encoding_lacks_is_written_as_an_escape(tmp_path: Path) -> None:
    status, seen = play("", tmp_path, PYTHONIOENCODING="ascii")
    assert status == 0
    assert r"on stdout, \u0394 19999" in seen
    assert r"on stderr, \u0394 19000" in seen


def test_a_renderer_whose_library_is_missing_is_said_and_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(startup, "find_library", lambda name: None)
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    startup.drop_missing_renderer()
    assert "MUJOCO_GL" not in os.environ
    assert capsys.readouterr().err == "note: MUJOCO_GL=osmesa needs libOSMesa, which is not here\n"


def test_other_renderers_are_left_to_mujoco(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "find_library", lambda name: f"lib{name}.so")
    for value in ("egl", "glfw", ""):
        monkeypatch.setenv("MUJOCO_GL", value)
        startup.drop_missing_renderer()
        assert os.environ["MUJOCO_GL"] == value


@pytest.mark.parametrize(
    ("raised", "said", "status"),
    [("KeyboardInterrupt", "interrupted\n", -signal.SIGINT), ("ValueError('x')", "Traceback", 1)],
)
def test_ctrl_c_while_libraries_load_is_one_word_and_an_error_is_as_ever(
    tmp_path: Path, raised: str, said: str, status: int
) -> None:
    (tmp_path / "torch.py").write_text(f"raise {raised}\n", encoding="utf-8")  # a slow library
    done = subprocess.run(
        [sys.executable, str(ROOT / "train_gail.py")],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert done.stderr == said if said.endswith("\n") else done.stderr.startswith(said)
