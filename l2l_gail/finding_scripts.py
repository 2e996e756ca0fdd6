"""Finding the training scripts: beside the library in a clone, ``l2l_gail.scripts`` in a wheel.

And how the package's other commands are called by whoever has called this one.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from l2l_gail.errors import InputError

__all__ = ["has_make", "module_command", "script_module"]

_CLONE = Path(__file__).resolve().parent.parent


def script_module(name: str) -> str:
    """Return the name under which a script can be imported.

    Args:
        name: ``train_gail`` or ``train_cifar``.

    Raises:
        InputError: It is not there.
    """
    if (_CLONE / f"{name}.py").is_file():
        if str(_CLONE) not in sys.path:
            sys.path.insert(0, str(_CLONE))  # as for `python train_gail.py`: `envs` has one name
        return name
    installed = f"l2l_gail.scripts.{name}"
    try:
        found = importlib.util.find_spec(installed)
    except ModuleNotFoundError:  # of the package around it
        found = None
    if found is None:
        raise InputError(f"{name}.py is neither in {_CLONE} nor part of the installed package")
    return installed


def module_command(name: str) -> list[str]:
    """Return the words that run ``python -m l2l_gail.<name>`` where this process was called.

    They are ``l2l-<name>`` if a command of a wheel was called, with its path if the shell would not
    find it; else they begin with the Python that was named.
    """
    folder, called = os.path.split(sys.argv[0])
    if called.startswith("l2l-"):
        command = os.path.join(folder, f"l2l-{name}")
        return [f"l2l-{name}" if shutil.which(f"l2l-{name}") == command else command]
    return [*(sys.orig_argv[:1] or ["python"]), "-m", f"l2l_gail.{name}"]


def has_make() -> bool:
    """Whether the clone's ``make`` can be called from here, and runs this process's Python."""
    pairs = ((_CLONE, os.curdir), (_CLONE / ".venv", sys.prefix))
    same = all(os.path.exists(ours) and os.path.samefile(ours, here) for ours, here in pairs)
    return same and shutil.which("make") is not None
