"""``python -m l2l_gail.demos record ...`` and ``python -m l2l_gail.demos info FILE``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from l2l_gail.checks import nearest
from l2l_gail.cli import as_typed, run_main
from l2l_gail.errors import InputError

__all__ = ["main"]

USAGE = """usage: {prog} COMMAND ...

  record    train an expert, or take a policy, and record its episodes
  info      print what a file of demonstrations holds

{prog} COMMAND --help explains the options.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Raises:
        InputError: No such command, or wrong input to it.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(USAGE.format(prog=as_typed("python -m l2l_gail.demos")), end="")
        return
    name, rest = args[0], args[1:]
    commands: dict[str, Callable[[list[str]], None]] = {"record": _record, "info": _info}
    if name not in commands:
        near = nearest(name, commands)
        hint = f"perhaps you meant {near}" if near else f"there are {', '.join(commands)}"
        raise InputError(f"unknown command {name!r}; {hint}")
    commands[name](rest)


# Imported on use: recording stands above demos and gail, and reading a file needs neither
# Stable-Baselines3 nor its start-up time.
def _record(argv: list[str]) -> None:
    from l2l_gail.recording.record_command import main as record

    record(argv)


def _info(argv: list[str]) -> None:
    from l2l_gail.demos.info_command import main as info

    info(argv)


if __name__ == "__main__":
    run_main(main)
