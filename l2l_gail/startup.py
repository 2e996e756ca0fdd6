"""What a program sees to before it loads anything else; ``import l2l_gail.startup`` does it.

The training scripts import it first, and :mod:`l2l_gail` does for ``python -m l2l_gail...`` and the
installed commands. A program that uses the library is left as it is.
"""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library
from types import TracebackType

__all__ = [
    "drop_missing_renderer",
    "fill_standard_descriptors",
    "interrupt_in_one_line",
    "prepare_process",
]

_RENDERERS = {"egl": "EGL", "osmesa": "OSMesa"}  # of MUJOCO_GL, and the library that each needs


def prepare_process() -> None:
    """Give the process what libraries take for granted while they load.

    Raises:
        SystemExit: With status 2 and one line on standard error: the working directory is gone,
            without which torch cannot be loaded.
    """
    fill_standard_descriptors()
    interrupt_in_one_line()
    drop_missing_renderer()
    try:
        os.getcwd()
    except OSError as error:
        if sys.stderr is not None:
            reason = error.strerror or type(error).__name__
            print(
                f"error: the working directory cannot be used ({reason}): was it deleted? Change "
                "to another one",
                file=sys.stderr,
            )
        raise SystemExit(2) from None


def fill_standard_descriptors() -> None:
    """Open the null device on those of the descriptors 0 to 2 that are closed.

    Otherwise the next files that are opened would take the place of a closed standard output, and
    libraries that write on it (glfw, which gymnasium's MuJoCo environments load) would fail.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            if nowhere == descriptor:
                os.set_inheritable(descriptor, True)  # for the processes of workers, too
            else:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def interrupt_in_one_line() -> None:
    """Let Ctrl-C say one word where nothing else answers it: while libraries are loaded, mostly.

    They take seconds, and what they would show is a page of their own lines.
    """
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            usual(kind, error, trace)
        elif sys.stderr is not None:
            print("interrupted", file=sys.stderr)

    sys.excepthook = hook


def drop_missing_renderer() -> None:
    """Say of a ``MUJOCO_GL`` whose library is not there that it is not used, and take it away.

    With it MuJoCo could not even be loaded, by those who draw nothing.
    """
    library = _RENDERERS.get(os.environ.get("MUJOCO_GL", "").strip().lower())
    if library is None or find_library(library):
        return
    name = os.environ.pop("MUJOCO_GL")
    if sys.stderr is not None:
        print(f"note: MUJOCO_GL={name} needs lib{library}, which is not here", file=sys.stderr)


prepare_process()
