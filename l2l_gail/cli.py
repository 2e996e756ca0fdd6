"""The command line of every script: flags from a dataclass, mistakes in one line.

A script declares one dataclass; what documents a field is that flag's help.  :func:`parse` turns
the command line into it, :func:`run_main` gives wrong input the exit status 2 and one line on
stderr instead of a traceback.

A field may be a dataclass in its turn, the library's own for instance.  Under
``tyro.conf.OmitArgPrefixes`` its fields are flags beside the script's own, and one whose name says
too little alone is renamed where it is declared, by ``tyro.conf.arg(name=...)``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import multiprocessing
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from l2l_gail.checks import nearest
from l2l_gail.errors import InputError, one_line
from l2l_gail.own_modules import IMPORT, import_all
from l2l_gail.stopping import Interrupted, Killed, raise_on_sigterm
from l2l_gail.streams import keep_streams_open

__all__ = ["Flag", "as_typed", "flags_of", "parse", "run_main", "values_by_flag"]

HELP_COLUMNS = 80
UNWRAPPED_COLUMNS = 10_000

T = TypeVar("T")

_ANSI_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile("[-+─╰╯]+")  # drawn in ASCII where the terminal's encoding asks for it
_NUMBERS = re.compile(r"[(\[]?[-+.0-9e]+(, ?[-+.0-9e]*)+[)\]]?")


@dataclass(frozen=True)
class Flag:
    """One flag of a configuration.

    Attributes:
        name: As it is written, ``--discriminator-batch-size``.
        path: Attributes that lead from the configuration to its value.
        switch: Whether it takes no value; its opposite is ``--no-...``.
        takes_list: Whether it takes any number of values.
    """

    name: str
    path: tuple[str, ...]
    switch: bool = False
    takes_list: bool = False

    @property
    def key(self) -> str:
        """The name as an identifier, ``discriminator_batch_size``."""
        return self.name.lstrip("-").replace("-", "_")

    @property
    def spellings(self) -> list[str]:
        """The name, and that of the opposite."""
        opposite = re.sub(r"^--(.*\.)?", r"--\1no-", self.name)
        return [self.name, *([opposite] if self.switch else [])]

    def value(self, config: Any) -> Any:
        """Return what the flag stands at in a configuration."""
        for attribute in self.path:
            config = getattr(config, attribute)
        return config


def flags_of(
    config_class: type[Any], *, prefix: str = "", path: tuple[str, ...] = ()
) -> list[Flag]:
    """Return every flag of a configuration, those of nested dataclasses included.

    Args:
        config_class: Dataclass as :func:`parse` takes it.
        prefix: What precedes the names of all.
        path: Attributes that lead to this configuration from one around it.
    """
    found: list[Flag] = []
    hints = get_type_hints(config_class, include_extras=True)
    for field in dataclasses.fields(config_class):
        marks = getattr(hints[field.name], "__metadata__", ())
        if tyro.conf.Positional in marks or tyro.conf.Suppress in marks:
            continue
        kind = get_args(hints[field.name])[0] if marks else hints[field.name]
        named = [mark.name for mark in marks if getattr(mark, "name", None)]
        name = named[0] if named else field.name.replace("_", "-")
        here = (*path, field.name)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            inner = prefix if tyro.conf.OmitArgPrefixes in marks else f"{prefix}{name}."
            found += flags_of(kind, prefix=inner, path=here)
        else:
            takes_list = get_origin(kind) in (tuple, list)
            found.append(Flag(f"--{prefix}{name}", here, kind is bool, takes_list))
    return found


def values_by_flag(config: Any) -> dict[str, Any]:
    """Return the value of every flag of a configuration, by the flag's name as an identifier."""
    return {flag.key: flag.value(config) for flag in flags_of(type(config))}


def _check_guarded() -> None:
    """Refuse to begin in a process that another started and that reads its script anew.

    Raises:
        InputError: The script does its work where it is imported.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            "several runs at once are processes that import the script that starts them: call it "
            'there under `if __name__ == "__main__":`, or give --workers 1'
        )


def parse(
    config_class: type[T],
    argv: Sequence[str] | None = None,
    *,
    prog: str,
    description: str,
    default: T | None = None,
) -> T:
    """Read the command line into a dataclass.

    A flag that is given twice stands at its last value, as argparse has it; of a list, which would
    silently lose its first part, that is refused.

    Args:
        config_class: Dataclass with defaults; a field's docstring is its help.
        argv: Arguments without the program's name; the process's own if None.
        prog: Name of the program in the help.
        description: First paragraph of the help.
        default: What the flags stand at if they are not given; the dataclass's own by default.

    Returns:
        The configuration.  ``--help`` prints the help, at most 80 columns wide, and exits.

    Raises:
        InputError: An unknown flag, a value of a wrong type, a bad choice, or a configuration that
            refuses itself in ``__post_init__``; always one line.
    """
    _check_guarded()
    flags = flags_of(config_class)
    prog = as_typed(prog)
    args = [_home_expanded(arg) for arg in (sys.argv[1:] if argv is None else argv)]
    _check_lists(args, flags)
    if IMPORT in [flag.name for flag in flags]:
        import_all(args)
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
                default=tyro.MISSING_NONPROP if default is None else default,
                return_unknown_args=True,
            )
    except SystemExit as error:
        if not error.code:
            shown.seek(0)
            print(_wrapped(shown.read()), end="")
            raise
        # The parser may have taken a mistyped flag for a value, and complain of that.
        mistyped = [arg for arg in args if arg.startswith("--") and not _is_known(arg, flags)]
        if mistyped:
            raise InputError(_describe_unknown(mistyped, flags, prog)) from None
        _check_numbers_apart(args, flags, complaint.getvalue())
        raise InputError(
            _first_sentence(complaint.getvalue(), config_class.__name__, flags, prog)
        ) from None
    if unknown:
        raise InputError(_describe_unknown(unknown, flags, prog))
    return config


def run_main(main: Callable[[], None]) -> None:
    """Run a script's main function and turn its outcome into an exit status.

    Args:
        main: The script.  It returns on success, and raises ``InputError`` on wrong input.

    Raises:
        SystemExit: With status 2 after ``InputError`` (``error: ...`` on stderr, one line), 1 where
            the process of a run was killed, 130 after Ctrl-C, 143 after SIGTERM and 129 where a
            closed terminal ended a training; where one was interrupted or killed, with the command
            that goes on with it.  Any other exception keeps its traceback: it is a defect.
    """
    keep_streams_open()
    try:
        with raise_on_sigterm():
            main()
    except InputError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except Killed as error:
        print(f"error: {one_line(error)}; to go on: {_resuming_command()}", file=sys.stderr)
        raise SystemExit(1) from None
    except (KeyboardInterrupt, ImportError) as error:
        stopped = _interrupt_in(error)
        hint = f"; to go on: {_resuming_command()}" if stopped.resumable else ""
        print(f"interrupted{hint}", file=sys.stderr)
        raise SystemExit(128 + stopped.number) from None


def _interrupt_in(error: BaseException) -> Interrupted:
    """Return the interrupt that an exception is or comes from; raise any other again.

    One in the middle of the import of a C extension arrives as an ``ImportError`` caused by it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            return Interrupted.of(cause)
        cause = cause.__cause__ or cause.__context__
    raise error


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


def _resuming_command() -> str:
    """This process's own command line, with ``--resume``."""
    command = [arg for arg in sys.orig_argv if arg not in ("--resume", "--no-resume")]
    return shlex.join([*command, "--resume"])


def as_typed(prog: str) -> str:
    """Return ``l2l-gail`` for ``train_gail.py``, if that command of a wheel was called."""
    command = Path(sys.argv[0]).stem
    if not command.startswith("l2l-"):
        return prog
    return re.sub(r"^(train_\w+\.py|python -m [\w.]+)", command, prog)


def _home_expanded(arg: str) -> str:
    """``--out=~/runs`` as the shell would have had it in ``--out ~/runs``."""
    name, equals, value = arg.partition("=")
    if name.startswith("--") and value.partition("/")[0] == "~":
        return f"{name}{equals}{os.path.expanduser(value)}"
    return arg


def _check_lists(args: Sequence[str], flags: Sequence[Flag]) -> None:
    """Refuse a list without a value, or in two parts, of which the parser would keep the last."""
    lists = {flag.name for flag in flags if flag.takes_list}
    seen = set()
    for i, arg in enumerate(args):
        name = arg.partition("=")[0].replace("_", "-")
        if name in lists and name in seen:
            raise InputError(f"{name} is given twice: give all its values after one {name}")
        if name in lists and "=" not in arg and _is_flag_or_end(args[i + 1 :]):
            raise InputError(f"{name} has no value: give one or more, or leave {name} out")
        seen.add(name)


def _check_numbers_apart(args: Sequence[str], flags: Sequence[Flag], complaint: str) -> None:
    """Say how a list of numbers is written, where a value with commas is complained of."""
    lists = {flag.name for flag in flags if flag.takes_list}
    name = ""
    for arg in args:
        given = arg
        if arg.startswith("--"):
            name, _, given = arg.partition("=")
        if name.replace("_", "-") in lists and _NUMBERS.fullmatch(given) and given in complaint:
            apart = " ".join(given.strip("()[]").replace(",", " ").split())
            raise InputError(f"{name} {given}: give numbers with blanks between, {name} {apart}")


def _is_flag_or_end(args: Sequence[str]) -> bool:
    return not args or args[0].startswith("--")


def _is_known(arg: str, flags: Sequence[Flag]) -> bool:
    """Whether an argument with two dashes is a flag, or no flag at all (``--`` alone)."""
    name = arg.partition("=")[0].replace("_", "-")
    spellings = {spelling for flag in flags for spelling in flag.spellings}
    return name in {"--", "--help"} | spellings


# What other libraries call our flags.
_WORDS_OF_OTHERS = {
    "--lr": ("--learning-rate",),
    "--learning-rate": ("--lr",),
    "--epsilon": ("--eps",),
    "--algo": ("--method",),
    "--env-id": ("--env",),
    "--num-envs": ("--n-envs",),
    "--timesteps": ("--total-timesteps",),
    "--num-steps": ("--n-steps", "--steps"),
    "--demonstrations": ("--demos",),
    "--expert": ("--demos",),
}


def _describe_unknown(unknown: Sequence[str], flags: Sequence[Flag], prog: str) -> str:
    """One line about the first argument that nothing takes."""
    spellings = [spelling for flag in flags for spelling in flag.spellings]
    wrong = next((arg for arg in unknown if arg.startswith("-")), None)
    if wrong is None:
        return f"unexpected argument {unknown[0]!r}, see {prog} --help"
    name = wrong.split("=", 1)[0]
    if _is_known(name, flags):
        return f"{name} is behind a --, where no flag is read: leave the -- out"
    # `-seed` is meant as `--seed`; an underscore is as good as a dash.
    spelled = "--" + name.lstrip("-").replace("_", "-")
    synonyms = (word for word in _WORDS_OF_OTHERS.get(spelled, ()) if word in spellings)
    near = next(synonyms, None) or nearest(spelled, spellings)
    hint = f"perhaps you meant {near}" if near else f"see {prog} --help"
    return f"unknown flag {name}; {hint}"


def _first_sentence(boxed: str, config_name: str, flags: Sequence[Flag], prog: str) -> str:
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
    # A nested one knows its fields, not what they are called on the command line.
    field, blank, rest = reason.partition(" ")
    for flag in flags:
        if colon and where == ".".join(flag.path[:-1]) and flag.path[-1] == field:
            return f"{flag.name}{blank}{rest}"
    if colon and any(where == ".".join(flag.path[: where.count(".") + 1]) for flag in flags):
        return reason
    if colon and where.startswith("-"):
        return f"{where}: {reason}"
    return message[0].lower() + message[1:]
