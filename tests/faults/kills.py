"""Training that is killed and resumed, again and again: ``python -m tests.faults.kills --n 100``.

A trial is one run that is killed (SIGKILL) some times and resumed after each, then left to end.
Half of the kills come at a random time, half in the middle of writing a file, which a random time
seldom meets. What the run leaves must equal, bit for bit, what an undisturbed run leaves: the state
in the checkpoint, the summary, and every point in TensorBoard, none twice and none missing. Only
times of the clock may differ. Nothing half written may be left.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from l2l_gail.gail import references

GAMES = {
    "gail": (
        "train_gail --method l2l_gail --total-timesteps 1536 --n-envs 8 --n-steps 32 "
        "--batch-size 64 --updates 2 --eval-every 512 --save-every 512 --threads 1 "
        "--learned both --meta-every 1"
    ),
    "cifar": (
        "train_cifar --method grad_l2l --data synthetic --model tiny_cnn --train-size 128 "
        "--eval-size 20 --epochs 3 --batch-size 32 --pgd-steps 2 --threads 1"
    ),
}
"""Small trainings of both scripts, as module and arguments."""

CLOCK = ("wall_s", "cpu_s", "spent", "time/", "per_s", "fps", "cost/", "seal", "archive")
"""Parts of the names of what may differ: a seal and the file of a model hold such times, too."""


def play(game: str, out: str, resume: bool, kill_at: int | None) -> None:
    """Train in this process, which kills itself while it writes its ``kill_at``-th file."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    log = open(Path(out) / "log.txt", "a")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    if kill_at is not None:
        _kill_while_writing(kill_at)
    # To clone the expert takes longer than all else, and is no part of what is killed.
    references.behaviour_cloning = functools.partial(references.behaviour_cloning, steps=10)
    module, *arguments = GAMES[game].split()
    try:
        __import__(module).main([*arguments, "--out", out, *(["--resume"] if resume else [])])
    except BaseException:
        traceback.print_exc()
        log.flush()
        os._exit(1)
    log.flush()
    os._exit(0)


def _kill_while_writing(kill_at: int) -> None:
    """Every file is flushed before it takes its name: there, before or after, comes the kill."""
    real, count = os.fsync, 0

    def fsync(handle: int) -> None:
        nonlocal count
        count += 1
        if count == kill_at and kill_at % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync


class Trainer:
    """Starts trainings in processes that have everything imported already."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["torch", "stable_baselines3", "train_gail"])

    def start(self, game: str, out: Path, *, resume: bool, kill_at: int | None) -> BaseProcess:
        """Start a training."""
        process = self.context.Process(target=play, args=(game, str(out), resume, kill_at))
        process.start()
        return process

    def end(self, game: str, out: Path, *, resume: bool) -> float:
        """Train to the end, and return the seconds it took."""
        begun = time.monotonic()
        process = self.start(game, out, resume=resume, kill_at=None)
        process.join()
        if process.exitcode != 0:
            raise AssertionError(f"a training ended with {process.exitcode}:\n{_log(out)}")
        return time.monotonic() - begun


@dataclass
class Trial:
    """One run and the kills it was given."""

    kills: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def trial(
    trainer: Trainer, game: str, reference: dict[str, Any], seconds: float, rng: random.Random
) -> Trial:
    """Kill a run up to three times, let it end, and hold it against the undisturbed one."""
    found = Trial()
    with tempfile.TemporaryDirectory(prefix="kills") as folder:
        out = Path(folder)
        for attempt in range(rng.choice((1, 2, 3))):
            resume = attempt > 0
            writing = rng.random() < 0.5
            kill_at = rng.randrange(1, 16) if writing else None
            process = trainer.start(game, out, resume=resume, kill_at=kill_at)
            if writing:
                process.join()
            else:
                process.join(rng.uniform(0.0, seconds))
                if process.is_alive() and process.pid is not None:
                    os.kill(process.pid, signal.SIGKILL)
                process.join()
            if process.exitcode == -signal.SIGKILL:
                found.kills.append("while writing" if writing else "at a random time")
            elif process.exitcode == 0:
                break
            else:
                found.differences.append(f"ended with {process.exitcode}:\n{_log(out)}")
                return found
        trainer.end(game, out, resume=True)
        found.differences += differences(reference, what_it_left(out))
    return found


def what_it_left(out: Path) -> dict[str, Any]:
    """State, summary and points of the only run below a folder, without times of the clock."""
    (summary,) = out.rglob("summary.json")
    run = summary.parent
    payload = torch.load(run / "checkpoint.pt", weights_only=True)["state"]
    left = sorted(str(path.name) for path in run.rglob("*") if path.name.endswith(".tmp"))
    return {
        "state": dict(_leaves(payload)),
        "summary": dict(_leaves(json.loads(summary.read_text()))),
        "points": _points(run),
        "left behind": left,
    }


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number, text and tensor, by where it stands."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key != "t" and not _is_of_the_clock(str(key)):  # t: of an episode, as SB3 notes it
                yield from _leaves(part, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        # A point that is not yet in TensorBoard is a list that begins with its tag.
        if not (value and isinstance(value[0], str) and _is_of_the_clock(value[0])):
            for place, part in enumerate(value):
                yield from _leaves(part, f"{name}.{place}")
    elif isinstance(value, torch.Tensor):
        yield name, value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    else:
        yield name, value


def _is_of_the_clock(name: str) -> bool:
    return any(word in name for word in CLOCK)


def _points(run: Path) -> dict[str, list[tuple[int, Any]]]:
    """All that TensorBoard shows of a run, but its times."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    shown: dict[str, list[tuple[int, Any]]] = {}
    for tag in tags["scalars"]:
        if not _is_of_the_clock(tag):
            shown[tag] = [(point.step, point.value) for point in events.Scalars(tag)]
    for tag in tags["images"]:
        shown[tag] = [(image.step, image.encoded_image_string) for image in events.Images(tag)]
    for tag in tags["tensors"]:
        shown[tag] = [(point.step, b"") for point in events.Tensors(tag)]
    return shown


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is not as it should be, a line each."""
    told = [f"left behind: {name}" for name in found["left behind"]]
    for part in ("state", "summary", "points"):
        for name in expected[part] | found[part]:
            if expected[part].get(name) != found[part].get(name):
                told.append(f"{part} {name}: {_short(expected[part].get(name))} became "
                            f"{_short(found[part].get(name))}")  # fmt: skip
    return told


def _short(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} points at {[step for step, *_ in value][:40]}"
    return repr(value)[:60]


def _log(out: Path) -> str:
    with contextlib.suppress(OSError):
        return (out / "log.txt").read_text()[-2000:]
    return "(no log)"


def kill_loop(n: int, games: list[str], seed: int) -> tuple[int, list[str]]:
    """Kill ``n`` times; the number of trials, and what went wrong."""
    trainer, rng = Trainer(), random.Random(seed)
    references: dict[str, tuple[dict[str, Any], float]] = {}
    for game in games:
        with tempfile.TemporaryDirectory(prefix="kills") as folder:
            seconds = trainer.end(game, Path(folder), resume=False)
            references[game] = what_it_left(Path(folder)), seconds
    kills, trials, wrong = 0, 0, []
    while kills < n:
        game = games[trials % len(games)]
        found = trial(trainer, game, *references[game], rng)
        kills += len(found.kills)
        trials += 1
        wrong += [f"{game}, trial {trials} ({', '.join(found.kills)}): {line}"
                  for line in found.differences[:5]]  # fmt: skip
        if sys.stderr.isatty():
            print(f"\r{kills} of {n} kills, {trials} trials, {len(wrong)} differences",
                  end="", file=sys.stderr)  # fmt: skip
    return trials, wrong


def main(argv: list[str] | None = None) -> int:
    """Run the kill loop; the exit status is 1 if anything differed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills", description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="kills in all")
    parser.add_argument("--game", choices=GAMES, help="this one alone")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    begun = time.monotonic()
    trials, wrong = kill_loop(args.n, [args.game] if args.game else list(GAMES), args.seed)
    print("\n".join(wrong))
    print(f"{args.n} kills or more in {trials} trials, {time.monotonic() - begun:.0f} s, "
          f"{len(wrong)} differences")  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
