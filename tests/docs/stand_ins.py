"""Stand-ins of packages that the pages speak of and the project does not need.

Each has the calls that the examples make, and checks what the real package asks of them. Where the
package is installed it is used itself.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from stable_baselines3 import PPO


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in in the place of each package that is not installed."""
    monkeypatch.setenv("WANDB_MODE", "offline")  # where it is the package itself
    for build in (wandb, optuna, rl_zoo3):
        if importlib.util.find_spec(build.__name__) is None:
            for name, module in build().items():
                monkeypatch.setitem(sys.modules, name, module)


class WandbRun:
    """A run that is told of TensorBoard's files, as ``sync_tensorboard`` finds them."""

    id = "4f2b8c"

    def finish(self) -> None:
        written = [name for _, _, names in os.walk(".") for name in names]
        assert any("tfevents" in name for name in written), "nothing went to TensorBoard"


def wandb() -> dict[str, types.ModuleType]:
    def init(*, project: str, sync_tensorboard: bool) -> WandbRun:
        assert project
        assert sync_tensorboard is True
        return WandbRun()

    return {"wandb": module("wandb", init=init)}


class Trial:
    """Suggests the middle of each range."""

    def __init__(self) -> None:
        self.params: dict[str, float] = {}

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert 0 < low < high
        self.params[name] = (low * high) ** 0.5 if log else (low + high) / 2
        return self.params[name]


class Study:
    """Plays one trial, whatever it is asked for."""

    best_params: dict[str, float]

    def optimize(self, objective: Callable[[Trial], float], n_trials: int) -> None:
        assert n_trials >= 1
        trial = Trial()
        assert isinstance(objective(trial), float)
        self.best_params = trial.params


def optuna() -> dict[str, types.ModuleType]:
    def create_study(*, direction: str) -> Study:
        assert direction == "maximize"
        return Study()

    return {"optuna": module("optuna", Trial=Trial, create_study=create_study)}


def rl_zoo3() -> dict[str, types.ModuleType]:
    algorithms = {"ppo": PPO}
    parts = {
        "train": module("rl_zoo3.train", ALGOS=algorithms),
        "exp_manager": module("rl_zoo3.exp_manager", ALGOS=algorithms),
    }
    found = {f"rl_zoo3.{name}": part for name, part in parts.items()}
    return {"rl_zoo3": module("rl_zoo3", ALGOS=algorithms, **parts), **found}


def module(name: str, **content: Any) -> types.ModuleType:
    """Return a module of that name and content."""
    made = types.ModuleType(name)
    vars(made).update(content)
    made.__path__ = []  # modules inside are found in the table of modules
    return made
