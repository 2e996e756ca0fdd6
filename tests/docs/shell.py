"""Run the shell commands of a page in this process: the real mains, on less than a real budget.

Every command is one of the project's own or one of a few tools; anything else is an error, so that
a page cannot name a command that nobody ever tried.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import PPO

import train_cifar
import train_gail
from adv_training.autoattack import AUTOATTACKS
from l2l_gail import compare, play
from l2l_gail.demos.__main__ import main as demos
from l2l_gail.demos.record import record_episodes
from l2l_gail.gail import references
from l2l_gail.recording import record_command
from tests.docs.pages import ROOT

MAINS: dict[str, Callable[[list[str]], None]] = {
    "train_gail.py": train_gail.main,
    "train_cifar.py": train_cifar.main,
    "-m l2l_gail.compare": compare.main,
    "-m l2l_gail.demos": demos,
    "-m l2l_gail.play": play.main,
}
COMMANDS = {
    "l2l-gail": "train_gail.py",
    "l2l-cifar": "train_cifar.py",
    "l2l-compare": "-m l2l_gail.compare",
    "l2l-demos": "-m l2l_gail.demos",
}
# Of a flag that is given twice the last one counts.
SHORT_GAIL = (
    "--total-timesteps 512 --eval-every 512 --n-envs 4 --n-steps 64 --batch-size 64 --workers 1 "
    "--bc-steps 50"
)
SHORT_CIFAR = (
    "--data synthetic --train-size 120 --eval-size 20 --epochs 1 --batch-size 60 --model tiny_cnn "
    "--workers 1 --threads 1"
)
TOOLS = ("-m pytest", "ruff", "mypy", "mkdocs", "pre-commit")
HARMLESS = ("source", "cd", "tensorboard", "echo", "!")


class Shell:
    """What a page's commands act on: a folder, and the variables that they export.

    Args:
        folder: Where they run.
        monkeypatch: Takes back what they export.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.module = ""
        """What `--env module:Id` imports, where it is not there: a page's Python up to the block
        that registers the task."""
        monkeypatch.setenv("PWD", str(folder))
        cloning = functools.partial(references.behaviour_cloning, steps=10)
        monkeypatch.setattr(references, "behaviour_cloning", cloning)
        for name in ("SELECTION_SEEDS", "MEASUREMENT_SEEDS"):
            monkeypatch.setattr(record_command, name, getattr(record_command, name)[:3])

    def run(self, source: str) -> None:
        """Run a block, line by line."""
        for line in source.replace("\\\n", " ").splitlines():
            words = shlex.split(os.path.expandvars(line), comments=True)
            if words:
                self.run_command(words)

    def check(self, source: str) -> None:
        """Hold a block that is not run against the scripts that it names."""
        for line in source.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["pip"]:
                check_install(words[1:])
            elif len(words) > 1 and words[1].startswith("benchmarks/"):
                check_flags(words[1], words[2:])

    def run_command(self, words: list[str]) -> None:
        """Run one command."""
        while "=" in words[0] and words[0].partition("=")[0].isupper():  # a variable in front
            words = words[1:]
        first, *rest = words
        first = first.removeprefix(".venv/bin/")
        if first == "export":
            self._export(rest[0])
        elif first == "make":
            self._make(rest)
        elif first in ("pip", "apt"):
            check_install(rest)
        elif first in COMMANDS:
            self._main(COMMANDS[first], rest)
        elif first == "python":
            self._python(rest)
        elif not first.startswith(HARMLESS) and first not in TOOLS:
            raise AssertionError(f"nobody knows how to try {shlex.join(words)!r}")

    def _export(self, assignment: str) -> None:
        name, _, value = assignment.partition("=")
        self.monkeypatch.setenv(name, value)
        if name == "PYTHONPATH":
            self.monkeypatch.syspath_prepend(str(self.folder / value))

    def _make(self, words: list[str]) -> None:
        """Run what the Makefile would, its environment left aside."""
        command = ["make", "--no-print-directory", "-n", "-o", ".venv/.ready", *words]
        command += ["-o", ".venv/.docs"]
        # Not what the make that runs these tests was told: its ARGS are the tests'.
        told_above = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS")
        env = {name: value for name, value in os.environ.items() if name not in told_above}
        told = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        given = [word.partition("=")[2] for word in words if word.startswith("RUNS=")]
        self.monkeypatch.setenv("RUNS", (given or ["runs"])[0])  # which the Makefile exports
        self.run(told.stdout)

    def _python(self, words: list[str]) -> None:
        name = " ".join(words[:2]) if words[0] == "-m" else words[0]
        rest = words[2:] if words[0] == "-m" else words[1:]
        if name not in TOOLS:
            assert name in MAINS, f"{name} is not run: say why in the block's first line"
            self._main(name, rest)

    def _main(self, name: str, args: list[str]) -> None:
        args = ["0-1" if re.fullmatch(r"0-\d+", word) else word for word in args]  # of --seeds
        if "--env" in args:
            module, colon, _ = args[args.index("--env") + 1].partition(":")
            if colon and not Path(f"{module}.py").exists():
                Path(f"{module}.py").write_text(self.module)
        if name == "train_gail.py":
            if "--demos" in args:
                self._need_demos(args)
            args = [*args, *SHORT_GAIL.split()]
        elif name == "train_cifar.py" and args[:1] == ["evaluate"]:
            if not set(AUTOATTACKS).isdisjoint(args):
                pytest.importorskip("pyautoattack", reason="the extra [eval] is not installed")
            self.need_run(Path(args[1]))
            args = [*args, "--eval-size", "20", "--square-queries", "20"]
        elif name == "train_cifar.py":
            args = [*args, *SHORT_CIFAR.split()]
        elif name == "-m l2l_gail.demos" and args[0] == "record":
            self._need_model(args)
            args = [*args, *([] if "--model" in args else ["--total-timesteps", "2048"])]
        elif name == "-m l2l_gail.demos" and args[0] == "info":
            self._need_demos(["--env", "Hopper-v5", "--demos", args[1]])
        elif name == "-m l2l_gail.compare":
            self.need_run(Path("runs/Hopper-v5/gail/seed0"))
            args = [word for word in args if word not in ("--board", "--watch")]
            args.append("--no-videos")
        elif name == "-m l2l_gail.play":
            self.need_run(Path(args[0]))
            args = [*(word for word in args if word != "--show"), "--steps", "5"]
        MAINS[name](args)

    def need_run(self, run: Path) -> None:
        """Train what a command takes for granted, if it is not there."""
        if run.exists():
            return
        place = Path("runs-of-before")
        if run.parent.parent.name in ("cifar10", "cifar100", "mine"):
            method = run.parent.name.split("+")[0]
            short = [*SHORT_CIFAR.split(), "--out", str(place)]
            train_cifar.main(["--method", method, *short])
        else:
            method = run.parent.name.split("+")[0]
            train_gail.main(["--method", method, *SHORT_GAIL.split(), "--out", str(place)])
        (made,) = place.glob("*/*/*")
        run.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, run)
        shutil.rmtree(place)

    def _need_demos(self, args: list[str]) -> None:
        file = Path(args[args.index("--demos") + 1])
        if file.suffix == ".npz" and not file.exists():
            env = args[args.index("--env") + 1]
            size = gymnasium.spec(env).make().action_space.shape[0]
            record_episodes(
                lambda obs: np.full((len(obs), size), 0.1, np.float32), env, seeds=range(2)
            ).save(file)

    def _need_model(self, args: list[str]) -> None:
        if "--model" not in args:
            return
        file = Path(args[args.index("--model") + 1])
        if not file.exists():
            PPO("MlpPolicy", args[args.index("--env") + 1]).save(file)


def check_install(words: list[str]) -> None:
    """Hold what is to be installed against the project's own file: its name and its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        found = re.fullmatch(r"(?:\.|l2l_gail)\[(.*)\]", word)
        for extra in found[1].split(",") if found else ():
            assert extra in project["optional-dependencies"], extra


def check_flags(script: str, args: list[str]) -> None:
    """Hold a command that takes too long against its script: file, flags and inputs are there."""
    source = (ROOT / script).read_text(encoding="utf-8")
    for word in args:
        if word.startswith("--"):
            name = word.partition("=")[0]
            assert name in source or name[2:].replace("-", "_") in source, f"{script} {name}"
        elif word.startswith("benchmarks/") and "/results/" not in word:
            assert (ROOT / word).exists(), word
