"""A small sweep, what its runs must be, and a hand that kills workers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import train_cifar
from l2l_gail.sweep import Row, Spec, read_spec
from tests.faults.kills import differences, what_it_left

FLAGS = {
    "model": "tiny_cnn",
    "train_size": 128,
    "eval_size": 20,
    "epochs": 3,
    "batch_size": 32,
    "name": "tiny",
}
SPEC = """
out = "{out}"

[train_cifar]
seeds = "0-1"
methods = ["pgd", "grad_l2l"]
data = ["synthetic"]

[train_cifar.flags]
model = "tiny_cnn"
train_size = 128
eval_size = 20
epochs = 3
batch_size = 32
name = "tiny"
"""


def write_spec(folder: Path, text: str = SPEC) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text.format(out=folder / "runs"))
    return path


def small_sweep(folder: Path) -> Spec:
    return read_spec(write_spec(folder))


def expected_of(out: Path, method: str, seed: int) -> dict[str, Any]:
    """What the script itself leaves, called by hand."""
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in FLAGS.items()]
    place = out / f"{method}-{seed}"
    where = ["--data", "synthetic", "--method", method, "--seed", str(seed), "--out", str(place)]
    train_cifar.main([*flags, *where, "--workers", "1", "--threads", "1"])
    return what_it_left(place)


def assert_same_runs(rows: Iterable[Row], out: Path, by_hand: Path) -> None:
    for row in rows:
        expected = expected_of(by_hand, row.method, row.seed)
        found = what_it_left(out / row.group / row.folder / f"seed{row.seed}")
        assert differences(expected, found) == []


class Killer(threading.Thread):
    """Kills a process, once, when the run in ``folder`` has a checkpoint and is not finished."""

    def __init__(self, folder: Path, find_process: Callable[[], int | None]) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.find_process = find_process
        self.killed: int | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            if (self.folder / "summary.json").exists():
                return
            if (self.folder / "checkpoint.pt").exists():
                process = self.find_process()
                if process is not None:
                    os.kill(process, signal.SIGKILL)
                    self.killed = process
                    return
            time.sleep(0.005)

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self.join()
