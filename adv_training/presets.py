"""Settings of published protocols, to start from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from l2l_gail.checks import check_choice

from .settings import Settings

__all__ = ["PRESETS", "preset", "preset_in"]

PRESETS: dict[str, dict[str, Any]] = {
    # The code of Jiang et al. 2021 (arXiv 1811.01213): train_l2l_1_cifar10.py and its attacker.
    "paper": {
        "model": "wrn34_10",
        "eps": 0.031 * 255,
        "epochs": 76,
        "batch_size": 128,
        "lr": 0.1,
        "weight_decay": 2e-4,
        "schedule": "steps",
        "milestones": (30 / 76, 60 / 76),
        "attacker": "paper_wide",
        "attacker_lr": 1e-3,
        "attacker_every": 1,
        "order": "alternating",
        "pgd_steps": 10,
    },
    # The FastAT benchmark (arXiv 2604.22853). Its smoothing is strong, so a learned attacker does
    # not share the classifier's loss.
    "fastat": {
        "model": "resnet18",
        "eps": 8.0,
        "epochs": 100,
        "batch_size": 128,
        "lr": 0.1,
        "weight_decay": 5e-4,
        "schedule": "one_cycle",
        "ema": 0.9995,
        "label_smoothing": 0.4,
        "order": "alternating",
        "pgd_steps": 10,
    },
}
"""By name, what a preset sets; all else is as ``Settings`` has it."""


def preset_in(argv: Sequence[str]) -> str | None:
    """Return what a command line gives for ``--preset``; ``None`` if it gives nothing.

    Raises:
        InputError: For an unknown name.
    """
    reader = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    reader.add_argument("--preset")
    try:
        name: str | None = reader.parse_known_args(list(argv))[0].preset
    except argparse.ArgumentError:  # without a value; whoever reads the other flags says so
        return None
    if name is not None:
        check_choice("preset", name, PRESETS)
    return name


def preset(name: str, method: str, data: str, **changes: Any) -> Settings:
    """Return the settings of a preset.

    Args:
        name: One of :data:`PRESETS`.
        method: What moves the perturbation.
        data: Name of the dataset.
        changes: Fields of ``Settings`` that are to be others than the preset's.

    Raises:
        InputError: For an unknown name, or a value that ``Settings`` refuses.
    """
    check_choice("preset", name, PRESETS)
    return Settings(method, data, **(PRESETS[name] | changes))
