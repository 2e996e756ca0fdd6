"""``python -m l2l_gail.sweep SPEC.toml``: run what is not finished yet of a sweep."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import tyro

from l2l_gail.cli import parse, run_main
from l2l_gail.errors import InputError
from l2l_gail.finding_scripts import module_command
from l2l_gail.jobs import Outcome
from l2l_gail.progress import Display
from l2l_gail.run_flags import check_least, parse_seeds
from l2l_gail.stopping import Interrupted
from l2l_gail.sweep.local import run_local
from l2l_gail.sweep.on_ray import run_on_ray
from l2l_gail.sweep.rows import Row, State, run_row, state_of
from l2l_gail.sweep.spec import Spec, read_spec
from l2l_gail.text_table import format_table

__all__ = ["Config", "main"]

DESCRIPTION = "Run seeds x methods x environments x settings of the scripts, from one file."


@dataclass(frozen=True)
class Config:
    """Flags of a sweep."""

    spec: tyro.conf.Positional[Path]
    """A TOML file; docs/scale.md says what it holds."""
    launcher: Literal["local", "ray"] = "local"
    """Processes on this machine, or a Ray cluster: the one at $RAY_ADDRESS, else one made here."""
    workers: int = 0
    """Runs at a time; 0: as many as the cores hold."""
    retries: int = 3
    """How often a run whose process was killed goes on from its checkpoint."""
    index: tuple[str, ...] = ()
    """These rows alone, as 7, 0-4 or 0,3,7; one row is run in this process."""
    dry_run: bool = False
    """List the rows and how far each has come, and run none."""

    def __post_init__(self) -> None:
        """Refuse numbers of which there are none.

        Raises:
            InputError: In one line.
        """
        check_least(0, workers=self.workers, retries=self.retries)


def main(argv: Sequence[str] | None = None) -> None:
    """Read and check the file, run its rows, say what has become of them.

    Raises:
        InputError: The file or a row is wrong; before any work starts.
        SystemExit: After all others are done, with status 1 if a row failed, else with 75, the
            usual word for "later", if other processes are still training some.
    """
    config = parse(Config, argv, prog="python -m l2l_gail.sweep", description=DESCRIPTION)
    spec = read_spec(config.spec)
    rows = _chosen(spec, config.index)
    if config.dry_run:
        print(_listing(spec, rows))
        return
    left = [row for row in rows if state_of(row, spec.out) != "finished"]
    print(f"{len(rows)} rows, {len(rows) - len(left)} finished already", flush=True)
    try:
        failures, elsewhere = _run_all(config, spec.out, left)
    except Interrupted as error:
        print("the same command goes on with this sweep", file=sys.stderr)
        raise Interrupted(error.number) from None
    finished = len(rows) - len(failures) - len(elsewhere)
    print(f"{finished} of {len(rows)} rows are finished")
    for row in elsewhere:
        print(f"being trained by another process: {row.title}")
    if elsewhere:
        print("the same command, called later, says whether they have been finished")
    print(f"To compare: {shlex.join([*module_command('compare'), str(spec.out)])}")
    for title, last_line in failures.items():
        print(f"failed: {title}: {last_line}", file=sys.stderr)
    if failures or elsewhere:
        raise SystemExit(1 if failures else os.EX_TEMPFAIL)


def _run_all(config: Config, out: Path, rows: Sequence[Row]) -> tuple[dict[str, str], list[Row]]:
    """Run rows; return what went wrong, by the row's title, and which others still train.

    Of those that others had when their turn came, some are free at the end, unfinished: whoever
    trained them has ended.
    """
    failures, taken = _run(config, rows)
    free = [row for row in taken if state_of(row, out) not in ("finished", "running")]
    failures |= _run(config, free)[0]
    left = [row for row in taken if row.title not in failures]
    return failures, [row for row in left if state_of(row, out) != "finished"]


def _run(config: Config, rows: Sequence[Row]) -> tuple[dict[str, str], list[Row]]:
    """Run rows; return what went wrong, by the row's title, and which others were training."""
    if not rows:
        return {}, []
    if config.index and len(rows) == 1 and config.launcher == "local":
        return {}, [] if _run_here(rows[0]) else list(rows)
    launch = run_on_ray if config.launcher == "ray" else run_local
    outcome: Outcome = launch(rows, workers=config.workers, retries=config.retries)
    failures = {title: failure.last_line for title, failure in outcome.failures.items()}
    return failures, [row for row in rows if outcome.results.get(row.title) is False]


def _run_here(row: Row) -> bool:
    """Run one row in this process, which a scheduler watches and begins again."""
    display = Display([row.title])
    try:
        return run_row(row, display.tell(row.title))
    finally:
        display.close()


def _chosen(spec: Spec, index: tuple[str, ...]) -> list[Row]:
    if not index:
        return list(spec.rows)
    try:
        numbers = parse_seeds(index)
    except InputError as error:
        raise InputError(str(error).replace("--seeds", "--index")) from None
    if max(numbers) >= len(spec.rows):
        raise InputError(
            f"--index {max(numbers)}: {spec.path} has {len(spec.rows)} rows, from 0 on"
        )
    return [spec.rows[number] for number in numbers]


def _listing(spec: Spec, rows: Sequence[Row]) -> str:
    states = {row.index: state_of(row, spec.out) for row in rows}
    header = ("row", "script", "environment or data", "setting", "method", "seed", "state")
    table = [
        [str(r.index), r.script, r.group, r.setting, r.method, str(r.seed), states[r.index]]
        for r in rows
    ]
    numbers = {state: list(states.values()).count(state) for state in get_args(State)}
    usual = ("new", "begun", "finished")
    counts = ", ".join(f"{n} {state}" for state, n in numbers.items() if n or state in usual)
    notes = []
    if spec.dropped:
        notes.append(f"{spec.dropped} more are the same runs: settings that change nothing there")
    notes.append(f"{len(rows)} rows: {counts}")
    return "\n".join([format_table(header, table), "", *notes])


if __name__ == "__main__":
    run_main(main)
