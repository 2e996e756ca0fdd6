"""The commands of an installation: ``l2l-gail``, ``l2l-cifar``, ``l2l-compare``, ``l2l-demos``.

The two training scripts lie at the top of the clone; a wheel holds the same files in
``l2l_gail.scripts``.  They are imported on use: the comparison needs no simulator.
"""

from __future__ import annotations

import l2l_gail.startup  # noqa: F401  before anything else is loaded

# isort: split
import importlib

from l2l_gail.cli import run_main
from l2l_gail.finding_scripts import script_module

__all__ = ["cifar", "compare", "demos", "gail"]


def gail() -> None:
    """``l2l-gail`` is ``python train_gail.py``."""
    _run(script_module("train_gail"))


def cifar() -> None:
    """``l2l-cifar`` is ``python train_cifar.py``."""
    _run(script_module("train_cifar"))


def compare() -> None:
    """``l2l-compare`` is ``python -m l2l_gail.compare``."""
    _run("l2l_gail.compare")


def demos() -> None:
    """``l2l-demos`` is ``python -m l2l_gail.demos``."""
    _run("l2l_gail.demos.__main__")


def _run(module: str) -> None:
    run_main(importlib.import_module(module).main)
