"""Modules of the user's own, imported for what they register: environments, rules, penalties."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, TypeAlias

import tyro

from l2l_gail.errors import InputError

__all__ = ["IMPORT", "OwnModules", "import_all", "import_own"]

IMPORT = "--import"
"""The flag that names them."""
OwnModules: TypeAlias = Annotated[tuple[str, ...], tyro.conf.arg(name=IMPORT.removeprefix("--"))]
"""The type of a configuration's field that is this flag."""


def import_all(args: Sequence[str]) -> None:
    """Import what a command line names, before its other flags are read, which may need it.

    Args:
        args: The command line, with the flag once at most.

    Raises:
        InputError: As :func:`import_own`.
    """
    for i, arg in enumerate(args):
        name, _, value = arg.partition("=")
        if name == IMPORT:
            after = takewhile(lambda word: not word.startswith("-"), args[i + 1 :])
            for module in [value] if "=" in arg else after:
                import_own(module, IMPORT)


def import_own(module: str, asked_by: str) -> None:
    """Import a module that the user has named, never one that a file brought along.

    It is looked for in the working folder, too, and there last, so that no file in it takes the
    place of a library's: a script that ``pip`` has installed would not look there at all.

    Args:
        module: Its name, as Python imports it.
        asked_by: What named it, for the line that says what is wrong.

    Raises:
        InputError: There is no such module, or it imports one that there is not. What else it
            raises keeps its traceback, which leads into the user's own lines.
    """
    with contextlib.suppress(FileNotFoundError):  # the working folder was removed
        if not {"", here := os.getcwd()} & set(sys.path):
            sys.path.append(here)
    try:
        importlib.import_module(module)
    except (ImportError, ValueError) as error:  # ValueError: an empty name
        raise InputError(
            f"{asked_by}: module {module!r} cannot be imported ({error}); Python looks in this "
            "folder and those of PYTHONPATH"
        ) from error
