"""The command line of every script: flags from a dataclass, mistakes in one line, plain tables.

A script declares one dataclass; the docstring below each field is that flag's help.  :func:`parse`
turns the command line into it, :func:`run_main` gives wrong input the exit status 2 and one line on
stderr instead of a traceback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, get_type_hints

import tyro

from l2l_gail.errors import InputError, printable

__all__ = ["format_table", "parse", "run_main"]

HELP_COLUMNS = 80
UNWRAPPED_COLUMNS = 10_000

T = TypeVar("T")

_ANSI_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile("[-+─╰╯]+")  # drawn in ASCII where the terminal's encoding asks for it
_NUMERIC = re.compile(r"[-+]?[0-9]")


def parse(
    config_class: type[T], argv: Sequence[str] | None = None, *, prog: str, description: str
) -> T:
    """Read the command line into a dataclass.

    Args:
        config_class: Dataclass with defaults; a field's docstring is its help.
        argv: Arguments without the program's name; the process's own if None.
        prog: Name of the program in the help.
        description: First paragraph of the help.

    Returns:
        The configuration.  ``--help`` prints the help, at most 80 columns wide, and exits.

    Raises:
        InputError: An unknown flag, a value of a wrong type, a bad choice, or a configuration that
            refuses itself in ``__post_init__``; always one line.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    asks_for_help = not {"-h", "--help"}.isdisjoint(args)
    # Messages are taken out of their box, so they must not be wrapped to fit one.
    columns = HELP_COLUMNS if asks_for_help else UNWRAPPED_COLUMNS
    complaint = io.StringIO()
    # In the encoding of the terminal: the frames are drawn with what it can show.
    shown = io.TextIOWrapper(io.BytesIO(), encoding=sys.stdout.encoding or "utf-8")
    try:
        with (
            _terminal_columns(columns),
            contextlib.redirect_stdout(shown),
            contextlib.redirect_stderr(complaint),
        ):
            config, unknown = tyro.cli(
                config_class,
                prog=prog,
                description=description,
                args=args,
                return_unknown_args=True,
            )
    except SystemExit as error:
        if not error.code:
            shown.seek(0)
            print(_wrapped(shown.read()), end="")
            raise
        raise InputError(
            _first_sentence(complaint.getvalue(), config_class.__name__, prog)
        ) from None
    if unknown:
        raise InputError(_describe_unknown(unknown, _flags(config_class), prog))
    return config


def run_main(main: Callable[[], None]) -> None:
    """Run a script's main function and turn its outcome into an exit status.

    Args:
        main: The script.  It returns on success, and raises ``InputError`` on wrong input.

    Raises:
        SystemExit: With status 2 after ``InputError`` (``error: ...`` on stderr, one line), with
            130 after Ctrl-C.  Any other exception keeps its traceback: it is a defect.
    """
    try:
        main()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table as plain text.

    Args:
        header: Column titles.
        rows: Cells, as many in each row as there are titles.

    Returns:
        Lines without trailing blanks: titles, a rule, the rows.  The first column is aligned to
        the left, and so is a column without numbers; columns of numbers are aligned to the right.
        Cells, whose text may come out of files, are made printable.

    Raises:
        ValueError: A row has another number of cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} cells, the header has {len(header)}")
    shown = [[printable(cell) for cell in row] for row in rows]
    columns = list(zip(header, *shown, strict=True))
    widths = [max(map(len, column)) for column in columns]
    to_right = [
        index > 0 and any(_NUMERIC.match(cell) for cell in column[1:])
        for index, column in enumerate(columns)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, to_right, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(header), rule, *(line(row) for row in shown)])


@contextlib.contextmanager
def _terminal_columns(columns: int) -> Iterator[None]:
    """Pretend a terminal width: the environment variable that every help formatter reads."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _wrapped(text: str) -> str:
    """The help with its long lines (usage, description), which tyro leaves as they are, broken."""
    lines = []
    for line in text.splitlines():
        if len(line) <= HELP_COLUMNS:
            lines.append(line)
        else:
            lines += textwrap.wrap(line, HELP_COLUMNS, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _flags(config_class: type[Any], prefix: str = "--") -> list[str]:
    """Every flag of a configuration, those of nested dataclasses (``--game.rate``) included."""
    flags = []
    hints = get_type_hints(config_class, include_extras=True)
    for field in dataclasses.fields(config_class):
        if tyro.conf.Positional in getattr(hints[field.name], "__metadata__", ()):
            continue
        name = prefix + field.name.replace("_", "-")
        factory = field.default_factory
        nested = type(field.default) if factory is dataclasses.MISSING else factory
        if isinstance(nested, type) and dataclasses.is_dataclass(nested):
            flags += _flags(nested, f"{name}.")
        else:
            flags.append(name)
            if isinstance(field.default, bool):
                flags.append(f"{prefix}no-{name.removeprefix(prefix)}")
    return flags


def _describe_unknown(unknown: Sequence[str], flags: Sequence[str], prog: str) -> str:
    """One line about the first argument that nothing takes."""
    wrong = next((arg for arg in unknown if arg.startswith("-")), None)
    if wrong is None:
        return f"unexpected argument {unknown[0]!r}, see {prog} --help"
    name = wrong.split("=", 1)[0]
    # `-seed` is meant as `--seed`; an underscore is as good as a dash.
    spelled = "--" + name.lstrip("-").replace("_", "-")
    near = difflib.get_close_matches(spelled, flags, n=1, cutoff=0.6)
    hint = f"perhaps you meant {near[0]}" if near else f"see {prog} --help"
    return f"unknown flag {name}; {hint}"


def _first_sentence(boxed: str, config_name: str, prog: str) -> str:
    """The message of an error box: its lines up to the first rule, without the frame."""
    lines: list[str] = []
    for raw in _ANSI_STYLE.sub("", boxed).splitlines()[1:]:  # the upper edge holds a title
        text = raw.strip("│| ")
        if not _RULE.fullmatch(text):
            lines.append(text)
        elif lines:  # below the message; an ASCII frame has one above it too
            break
    message = " ".join(" ".join(lines).split()).rstrip(".")
    if not message:
        return f"wrong arguments, see {prog} --help"
    where, colon, reason = message.removeprefix("Error parsing ").partition(": ")
    if colon and where == config_name:
        return reason  # a configuration that refuses itself says all there is to say
    if colon and where.startswith("-"):
        return f"{where}: {reason}"
    return message[0].lower() + message[1:]
