from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from l2l_gail.cli import parse, run_main
from l2l_gail.errors import InputError
from l2l_gail.stopping import Interrupted, Killed
from l2l_gail.text_table import format_table


@dataclass(frozen=True)
class Game:
    rate: float = 3e-4
    """Learning rate of the inner player."""

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise InputError("rate must be positive")


@dataclass(frozen=True)
class Config:
    env: str = "Hopper-v5"
    """Environment id; a long explanation that has to be wrapped, since no line of the help may be
    wider than a terminal of eighty columns, whatever it has to say about its flag."""
    seed: int = 0
    """Training seed."""
    method: Literal["gail", "l2l_gail", "both"] = "both"
    """What to train."""
    env_kwargs: tuple[str, ...] = ()
    """Arguments of the environment, each `key=value`."""
    resume: bool = False
    """Continue the newest run of this seed."""
    game: Game = field(default_factory=Game)
    widths: tuple[int, ...] = (64, 64)
    """Widths of its layers."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError("the seed is negative: give 0 or more. Or none")


def parse_config(*argv: str) -> Config:
    return parse(Config, list(argv), prog="train.py", description="Trains something. " * 9)


def test_no_argument_gives_the_defaults() -> None:
    assert parse_config() == Config()


UNGUARDED = """
from dataclasses import dataclass
from l2l_gail.cli import parse
from l2l_gail.jobs import run_jobs

@dataclass
class Config:
    seed: int = 0

def length(job, tell):
    return len(job)

parse(Config, [], prog="train.py", description="Trains something.")
run_jobs(length, {"a": b"x" * 1_000_000, "b": b"y"}, workers=2, threads=1)
"""


def test_a_script_that_starts_processes_where_it_is_imported_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, "script.py"]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode
    assert "call it there under `if __name__ ==" in ended.stderr
    assert "a: the process ended with status 1" in ended.stderr


def test_flags_fill_the_dataclass() -> None:
    argv = "--env Ant-v5 --env-kwargs a=1 b=2 --resume --method gail --game.rate 0.5".split()
    expected = Config(
        env="Ant-v5", env_kwargs=("a=1", "b=2"), resume=True, method="gail", game=Game(0.5)
    )
    assert parse_config(*argv) == expected


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sed", "3"], "unknown flag --sed; perhaps you meant --seed"),
        (["--seeed=3"], "unknown flag --seeed; perhaps you meant --seed"),
        (["-seed", "3"], "unknown flag -seed; perhaps you meant --seed"),
        (["--no-resum"], "unknown flag --no-resum; perhaps you meant --no-resume"),
        (["--game.rat", "1"], "unknown flag --game.rat; perhaps you meant --game.rate"),
        (["--frobnicate"], "unknown flag --frobnicate; see train.py --help"),
        (["Ant-v5"], "unexpected argument 'Ant-v5', see train.py --help"),
        (["--seed", "three"], "--seed: invalid literal for int() with base 10: 'three'"),
        (["--method", "pgd"], "invalid choice 'pgd'"),
        (["--", "--seed", "1"], "--seed is behind a --, where no flag is read: leave the -- out"),
        (["--widths", "64,32"], "--widths 64,32: give numbers with blanks between, --widths 64 32"),
        (["--widths=(8, 8)"], "--widths (8, 8): give numbers with blanks between, --widths 8 8"),
        (["--seed", "6,4"], "--seed: invalid literal for int() with base 10: '6,4'"),
        (["--seed"], "missing value for argument '--seed'"),
        (["--seed", "-1"], "the seed is negative: give 0 or more. Or none"),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], message: str, capsys) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(*argv)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""


def test_help_fits_eighty_columns_and_shows_every_default(monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        parse_config("--help")
    assert not caught.value.code
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for piece in ("Trains something.", "--env-kwargs", "(default: Hopper-v5)", "default: 0.0003"):
        assert piece in text
    assert os.environ["COLUMNS"] == "200"


SCRIPT = """
import os
import signal
from l2l_gail.cli import run_main
from l2l_gail.errors import InputError

def main():
    {body}

run_main(main)
"""


@pytest.mark.parametrize(
    ("body", "status", "stderr"),
    [
        ("pass", 0, ""),
        ("raise InputError('no\\nsuch file')", 2, "error: no such file\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", 143, "interrupted\n"),
    ],
)
def test_exit_status(body: str, status: int, stderr: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (status, stderr)


def test_an_import_that_fails_of_an_interrupt_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        try:
            raise Interrupted(15)
        except KeyboardInterrupt as interrupt:
            raise ImportError("initialization failed") from interrupt

    with pytest.raises(SystemExit) as ended:
        run_main(main)
    assert (ended.value.code, capsys.readouterr().err) == (143, "interrupted\n")

    def missing() -> None:
        raise ImportError("no module named x")

    with pytest.raises(ImportError, match="no module named x"):
        run_main(missing)


def test_a_training_that_was_killed_says_so_in_one_line_and_the_command_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise Killed("gail seed 0: the process ended with status -9")

    monkeypatch.setattr(sys, "orig_argv", ["python", "train_gail.py", "--seeds", "0-1"])
    with pytest.raises(SystemExit) as ended:
        run_main(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "error: gail seed 0: the process ended with status -9; "
        "to go on: python train_gail.py --seeds 0-1 --resume\n"
    )


def test_an_interrupted_training_says_the_command_that_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "a script.py"
    body = "from l2l_gail.stopping import Interrupted; raise Interrupted(15, resumable=True)"
    script.write_text(SCRIPT.format(body=body))
    command = [sys.executable, str(script), "--seed", "3"]
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 143
    assert done.stderr == f"interrupted; to go on: {shlex.join([*command, '--resume'])}\n"


def test_a_list_that_is_given_twice_is_refused() -> None:
    for second in ("--env-kwargs", "--env_kwargs", "--env-kwargs=b=2"):
        with pytest.raises(InputError, match="--env-kwargs is given twice: give all"):
            parse_config("--env-kwargs", "a=1", second, "b=2")
    assert parse_config("--seed", "1", "--seed", "2").seed == 2


def test_a_list_without_a_value_is_refused() -> None:
    for rest in ([], ["--seed", "1"]):
        with pytest.raises(InputError, match="--env-kwargs has no value: give one or more"):
            parse_config("--env-kwargs", *rest)


def test_a_tilde_behind_an_equals_sign_is_home() -> None:
    assert parse_config("--env=~/x").env == f"{Path.home()}/x"
    assert parse_config("--env=a~/x").env == "a~/x"
    assert parse_config("--env=~user").env == "~user"


def test_a_nested_configuration_that_refuses_itself_names_the_flag() -> None:
    with pytest.raises(InputError, match=r"^--game\.rate must be positive$"):
        parse_config("--game.rate", "-1")


def test_a_defect_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_main(main)


def test_table_aligns_names_to_the_left_and_numbers_to_the_right() -> None:
    table = format_table(
        ["method", "return", "note"], [["gail", "10.5", ""], ["l2l_gail", "-3210.0", "last"]]
    )
    assert table.splitlines() == [
        "method     return  note",
        "--------  -------  ----",
        "gail         10.5",
        "l2l_gail  -3210.0  last",
    ]


def test_a_table_without_rows_is_its_header() -> None:
    assert format_table(["a", "bc"], []) == "a  bc\n-  --"


def test_a_ragged_table_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells, the header has 1"):
        format_table(["a"], [["1", "2"]])
