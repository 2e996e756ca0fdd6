"""Finding the training scripts: beside the library in a clone, ``l2l_gail.scripts`` in a wheel."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from l2l_gail.errors import InputError

__all__ = ["script_module"]

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
