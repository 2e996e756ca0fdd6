"""Compare all runs: ``python -m l2l_gail.compare runs/``.

Reads every run below the folder, of both games, and writes ``<folder>/comparison/``: ``summary.md``
(tables), ``comparison.png`` (learning curves with 95 % intervals), ``index.html`` (everything in
one page), and a TensorBoard board for each environment and data set.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l2l_gail.cli import parse, run_main
from l2l_gail.comparison.reading import run_files
from l2l_gail.comparison.serve import BoardServer, address_of, board_names
from l2l_gail.comparison.tables import section_notes, section_tables
from l2l_gail.comparison.write import compare
from l2l_gail.errors import InputError
from l2l_gail.files import home_expanded
from l2l_gail.finding_runs import COMPARISON
from l2l_gail.finding_scripts import module_command

__all__ = ["compare", "main"]

_LONGEST_S = 86_400  # a day; sleep() itself knows no much larger number


@dataclass(frozen=True)
class Config:
    """Command line of the comparison."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[PATH]")] = (
        Path("runs"),
    )
    """Folder of the runs. The comparison is written to its folder "comparison"."""
    board: bool = False
    """Serve the comparison: the report, and every board in TensorBoard."""
    port: int = 6006
    """Where to serve it on this machine."""
    watch: bool = False
    """Go on comparing while runs go on, until Ctrl-C."""
    every: float = 30.0
    """Seconds between two looks with --watch."""
    videos: bool = True
    """Record the policies of one run of each method, where it has none yet."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            InputError: In one line.
        """
        if len(self.runs) > 1:
            given = shlex.join(map(str, self.runs))
            raise InputError(
                f"{len(self.runs)} folders are given ({given}): give one that holds them all, such "
                "as a new one with links to them"
            )
        if not 0 < self.port < 65536:
            raise InputError(f"--port {self.port}: give one from 1 to 65535")
        if not 1 <= self.every <= _LONGEST_S:
            raise InputError(f"--every {self.every:g}: give 1 to {_LONGEST_S:,} seconds")


def main(argv: Sequence[str] | None = None) -> None:
    """Command line.

    Args:
        argv: Arguments; the process's own if None.

    Raises:
        InputError: Wrong arguments, or nothing to compare.
    """
    config = parse(
        Config,
        argv,
        prog="python -m l2l_gail.compare",
        description=(
            "Compare all runs below a folder, those that still go on included: tables "
            "(summary.md), learning curves (comparison.png), a page (index.html) and TensorBoard "
            "boards. Runs are seeds of one method if they are equal in every setting."
        ),
    )
    (runs,) = config.runs
    root = home_expanded(runs)
    notes: set[str] = set()

    def tell(note: str) -> None:
        if note not in notes:  # what is left out once is left out the next time
            notes.add(note)
            print(note, flush=True)

    folder = root / COMPARISON
    # Before all the work: its port may be taken.
    server = BoardServer(folder, config.port) if config.board else None
    with contextlib.closing(server) if server is not None else contextlib.nullcontext():
        seen = _compare_once(root, config, tell)
        if not config.board:
            print(f"Written: {folder / 'summary.md'}, {folder / 'comparison.png'}")
            print(f"Everything in one page: {folder / 'index.html'}")
            command = shlex.join([*module_command("compare"), str(root), "--board"])
            print(f"In TensorBoard: {command}, or one of them:")
            for name in board_names(folder):
                print(f"tensorboard --logdir {shlex.quote(str(folder / name))}")
        if server is not None:
            print(f"\nThe comparison is at {server.address} (Ctrl-C ends it)")
            for name in board_names(folder):
                print(f"  TensorBoard of {name}: {server.address}{address_of(name)}")
            sys.stdout.flush()  # into a file or a pipe, too: what follows has no end of its own
            threading.Thread(target=server.serve, daemon=True).start()
        while config.watch or server is not None:
            time.sleep(config.every)
            now = _state(root)
            if config.watch and now != seen:
                told = "compared again"
                try:
                    compare(root, record_videos=config.videos, tell=tell)
                except InputError as error:  # a run that was being moved or deleted, perhaps
                    told = f"not compared again: {error}"
                seen = now  # what was written while comparing is seen the next time
                print(f"{time.strftime('%H:%M:%S')} {told}", flush=True)


def _compare_once(
    root: Path, config: Config, tell: Callable[[str], None]
) -> dict[Path, tuple[int, int]]:
    """Compare and print the tables; with --watch wait for the first run to measure something.

    Returns:
        What the runs had written before that.
    """
    while True:
        seen = _state(root)
        try:
            sections = compare(root, record_videos=config.videos, tell=tell)
            break
        except InputError as error:
            if not config.watch or "no finished run" not in str(error):
                raise
            print(f"Nothing to compare yet below {root}", flush=True)
            time.sleep(config.every)
    for section in sections:
        for table in section_tables(section):
            print(table.as_text(), end="\n\n")
        for note in section_notes(section):
            print(note.replace("*", ""), end="\n\n")
    return seen


def _state(root: Path) -> dict[Path, tuple[int, int]]:
    """What the runs have written so far, as far as it can be seen; a comparison says why not."""
    found = {}
    with contextlib.suppress(InputError):  # the folder is gone, or holds too many others
        for path in run_files(root):
            with contextlib.suppress(OSError):  # gone since it was listed
                status = path.stat()
                found[path] = (status.st_size, status.st_mtime_ns)
    return found


if __name__ == "__main__":
    run_main(main)
