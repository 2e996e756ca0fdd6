"""Hostile inputs for every reader: ``python -m tests.faults.fuzz --n 20000``.

Input ``i`` is the same at every call. Each worker is a process of its own, with a limit on memory,
so that an end of the interpreter is seen and ascribed to the input that caused it. What may happen
is a refusal (``InputError``, one printable line) or a sound result; all else is a failure: the end
of the process, another exception, unsound data accepted, more time or memory than allowed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SECONDS = 10.0
"""Most processor time for reading one input; a busy machine does not count."""
PATIENCE = 300.0
"""Most time of the clock for one input, in seconds: after it the reader is taken to hang."""
GROWTH = 600 << 20
"""Most memory by which the peak of a process may rise over one input."""
ADDRESS_SPACE = 8 << 30

FAILURES = (
    "process end", "other exception", "unsound accepted", "no line", "too slow", "too much memory",
)  # fmt: skip


PLANTED = "L2L_GAIL_PLANTED_FAULT"
"""Environment variable with Python code that a test plants in the place of all readers."""


def outcome_of(name: str, index: int) -> tuple[str, str]:
    """What a reader makes of one input: the kind of outcome, and a word about it."""
    from l2l_gail.errors import InputError

    subject = _subject(name)
    rng = random.Random(f"{name} {index}")
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = subject.make(rng, Path(folder))
        before, begun = _forget_peak(), time.process_time()
        outcome, text, result = "accepted", "", None
        try:
            result = subject.read(given)
        except InputError as error:
            outcome, text = "refused", str(error)
            if not text.isprintable() or len(text) > 2000:
                outcome = "no line"
        except BaseException:
            return "other exception", traceback.format_exc(limit=-4)
        grown = _memory("VmHWM") - before
        took = time.process_time() - begun
        if grown > GROWTH:
            return "too much memory", f"{grown >> 20} MiB: {outcome} {text}"
        if took > SECONDS:
            return "too slow", f"{took:.0f} s: {outcome} {text}"
        if outcome == "accepted":
            try:
                subject.judge(result)
            except Exception:
                return "unsound accepted", traceback.format_exc(limit=-3)
    return outcome, text


def _subject(name: str) -> Any:
    if PLANTED in os.environ:
        code = os.environ[PLANTED]
        return SimpleNamespace(make=lambda *_: code, read=exec, judge=lambda _: None)
    from tests.faults.all_subjects import SLOW, SUBJECTS

    return (SUBJECTS | SLOW)[name]


def _memory(what: str) -> int:
    """Resident memory of this process in bytes: now (``VmRSS``) or at its peak (``VmHWM``)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) << 10


def _forget_peak() -> int:
    """Let the peak begin anew, and return where it begins."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def work() -> None:
    """Do what is asked for on stdin, one line of JSON each, until it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    # The stream of answers, kept from what readers may print.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if PLANTED not in os.environ:
        import tests.faults.all_subjects  # noqa: F401  so that no input is charged with it
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, index = json.loads(line)
        print(json.dumps(outcome_of(name, index)), file=answers, flush=True)


class Worker:
    """A process that does one input after the other, and is replaced when it ends."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults.fuzz", "--worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.ready = False

    def ask(self, name: str, index: int) -> None:
        """Give it an input."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if not self.ready and self.process.stdout.readline() != "ready\n":
            raise RuntimeError("a worker does not start: python -m tests.faults.fuzz --worker")
        self.ready = True
        self.job = name, index
        self.deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(BrokenPipeError):  # seen when its answer does not come
            print(json.dumps(self.job), file=self.process.stdin, flush=True)

    def answer(self, patience: float) -> tuple[str, str] | None:
        """The outcome; None while there is none yet."""
        assert self.process.stdout is not None
        if select.select([self.process.stdout], [], [], patience)[0]:
            line = self.process.stdout.readline()
            if line:
                kind, text = json.loads(line)
                return kind, text
            status = self.process.wait()
            self.start()
            return "process end", f"status {status}"
        if time.monotonic() > self.deadline:
            self.stop()
            self.start()
            return "too slow", f"more than {PATIENCE:g} s by the clock"
        return None

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def fuzz(jobs: list[tuple[str, int]], workers: int) -> list[tuple[str, int, str, str]]:
    """Do all jobs; name, index, kind of outcome and a word about it, of each."""
    results = []
    waiting = jobs[::-1]
    pool = [Worker() for _ in range(min(workers, len(jobs)))]
    busy: list[Worker] = []
    begun = time.monotonic()
    try:
        for worker in pool:
            worker.ask(*waiting.pop())
            busy.append(worker)
        while busy:
            for worker in list(busy):
                outcome = worker.answer(0.05 if len(busy) == 1 else 0.01)
                if outcome is None:
                    continue
                results.append((*worker.job, *outcome))
                if sys.stderr.isatty() and len(results) % 100 == 0:
                    rate = len(results) / (time.monotonic() - begun)
                    print(f"\r{len(results)} of {len(jobs)}, {rate:.0f}/s", end="", file=sys.stderr)
                if waiting:
                    worker.ask(*waiting.pop())
                else:
                    busy.remove(worker)
    finally:
        for worker in pool:
            worker.stop()
    return results


def jobs_for(n: int, names: list[str], first: int = 0) -> list[tuple[str, int]]:
    """``n`` inputs, spread over the readers."""
    return [(names[i % len(names)], first + i // len(names)) for i in range(n)]


def report(results: list[tuple[str, int, str, str]]) -> str:
    """Counts of outcomes by reader, then the failures."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for name, _, kind, _ in results:
        counts[name][kind] += 1
    columns = ("refused", "accepted", *FAILURES)
    lines = [f"{'reader':16}" + "".join(f"{column:>18}" for column in columns)]
    for name in sorted(counts):
        lines.append(f"{name:16}" + "".join(f"{counts[name][column]:>18}" for column in columns))
    total: collections.Counter[str] = sum(counts.values(), collections.Counter())
    lines.append(f"{'in all':16}" + "".join(f"{total[column]:>18}" for column in columns))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the fuzzer; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=20_000, help="inputs in all")
    parser.add_argument("--first", type=int, default=0, help="index of each reader's first input")
    parser.add_argument("--only", help="attack this reader alone")
    parser.add_argument("--foreign", action="store_true", help="attack readers of other libraries")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--replay", action="store_true", help="do one input here (--only, --first)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args: Any = parser.parse_args(argv)
    if args.worker:
        work()
        return 0
    if args.replay:
        print(*outcome_of(args.only, args.first), sep="\n")
        return 0
    from tests.faults.all_subjects import FOREIGN_SUBJECTS, SUBJECTS

    # Those of other libraries take long: each file starts a process.
    names = [*(FOREIGN_SUBJECTS if args.foreign else SUBJECTS)]
    names = [args.only] if args.only else names
    begun = time.monotonic()
    results = fuzz(jobs_for(args.n, names, args.first), args.workers)
    failed = [result for result in results if result[2] in FAILURES]
    for name, index, kind, text in failed[:50]:
        print(f"{kind}: --only {name!r} --first {index} --replay\n{text}")
    print(report(results))
    print(f"{len(results)} inputs in {time.monotonic() - begun:.0f} s, {len(failed)} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
