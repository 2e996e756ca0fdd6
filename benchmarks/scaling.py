"""What grows with what: worlds in a batch, runs at a time, processes that share a batch.

    .venv/bin/python benchmarks/scaling.py --json benchmarks/results/scaling.json

Every figure is measured in processes of its own. CPU seconds count all threads and processes; wall
seconds are noted too, but on a machine with other work on it they say little. Two minutes of one
core.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

PARTS: dict[str, list[tuple[Any, ...]]] = {
    "Hopper-v5": [("worlds", "Hopper-v5", n) for n in (1, 16, 64, 256, 1024, 4096)],
    "Humanoid-v5": [("worlds", "Humanoid-v5", n) for n in (1, 64, 1024)],
    "gail": [("gail", n) for n in (16, 64, 256)],
    "runs": [("runs", n) for n in (1, 2)],
    "processes": [("processes", n) for n in (1, 2, 4)],
    "agreement": [],
}
"""Sections of the file, and the measurements of each: a function below and its arguments."""
WORLD_STEPS = 10_000
"""Environment steps that a number of worlds is measured on, about."""
BATCH = 128
AGREEING = ("standard", "fgsm_rs", "pgd", "trades", "free", "grad_l2l")


def worlds(env_id: str, count: int) -> dict[str, float]:
    """Random actions in a batch of environments: CPU time of a step, memory of a world."""
    import torch

    import envs

    torch.set_num_threads(1)
    before = _resident()
    env = envs.make(env_id, num_envs=count, device="cpu")
    env.reset(seed=0)
    actions = torch.rand(8, count, env.single_action_space.shape[0]) * 2 - 1
    for k in range(8):  # arenas and caches are filled
        env.step(actions[k])
    steps = max(10, WORLD_STEPS // count)
    wall, cpu = time.perf_counter(), time.process_time()
    for k in range(steps):
        env.step(actions[k % 8])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "cpu_us": 1e6 * cpu / (steps * count),
        "wall_us": 1e6 * wall / (steps * count),
        "mb": (_resident() - before) / 2**20,
    }


def gail(count: int) -> dict[str, float]:
    """Rollouts of 32 steps and updates of L2L-GAIL: CPU time of a step, memory of the process."""
    import torch

    import envs
    from l2l_gail import L2LGAIL

    torch.set_num_threads(1)
    env = envs.make("Hopper-v5", num_envs=count, device="cpu", num_threads=1)
    model = L2LGAIL("MlpPolicy", env, "Hopper-v5", n_steps=32, batch_size=4 * count, seed=0)
    model.learn(32 * count)
    cpu = time.process_time()
    model.learn(2 * 32 * count)
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"cpu_us": 1e6 * cpu / (2 * 32 * count), "peak_mb": peak}


def runs(count: int) -> dict[str, float]:
    """So many small GAIL runs at a time, by the local launcher: CPU seconds of each."""
    from l2l_gail.sweep import read_spec
    from l2l_gail.sweep.local import run_local

    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "sweep.toml"
        spec.write_text(
            f'out = "{folder}/runs"\n[train_gail]\nseeds = "0-{count - 1}"\nmethods = ["gail"]\n'
            "flags = { total_timesteps = 32768, eval_every = 32768, save_every = 32768 }\n"
        )
        wall = time.perf_counter()
        outcome = run_local(read_spec(spec).rows, workers=count, retries=1)
        wall = time.perf_counter() - wall
        assert not outcome.failures
        summaries = [json.loads(p.read_text()) for p in Path(folder).rglob("summary.json")]
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    training = sum(summary["cpu_s"] for summary in summaries) / count
    return {
        "cpu_s": training,
        "cpu_s_around": (children.ru_utime + children.ru_stime) / count - training,
        "wall_s": wall,
        "peak_mb_each": children.ru_maxrss / 2**10,
    }


def processes(count: int) -> dict[str, float]:
    """A step of PGD-2 on a batch that so many processes share: CPU seconds in all, messages."""
    return _together("steps", count)


def agreement() -> dict[str, float]:
    """Relative difference of the classifier's weights, two processes and one, float32, 10 steps."""
    found = {count: _together("weights", count) for count in (1, 2)}
    return {
        method: _distance(found[2][method], found[1][method]) for method in AGREEING
    }  # fmt: skip


def _together(what: str, count: int) -> dict[str, Any]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, f"--nproc-per-node={count}", __file__, "--part", what]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def steps() -> dict[str, float]:
    """As one of several processes: steps of PGD-2 on the small CNN."""
    import torch
    import torch.distributed as dist

    from adv_training import Settings, build_game, build_method, build_trainer, joined, train_step
    from adv_training.step import classifier_for, deal_out
    from adv_training.synthetic import synthetic_dataset

    torch.set_num_threads(1)
    settings = Settings("pgd", "synthetic", batch_size=BATCH)
    data = synthetic_dataset(train_size=2 * BATCH, eval_size=10, held_out=10)
    sent = {"messages": 0, "bytes": 0}
    all_reduce = dist.all_reduce

    def counted(tensor: torch.Tensor, *args: Any) -> Any:
        sent["messages"] += 1
        sent["bytes"] += tensor.numel() * tensor.element_size()
        return all_reduce(tensor, *args)

    with joined("cpu") as group:
        classifier, method = classifier_for(settings, data), build_method(settings)
        deal_out(classifier, method, settings, group)
        trainer = build_trainer(build_game(classifier, method, settings), method, settings, group)
        batch = data.train.batch(slice(0, BATCH)).part(group.part(BATCH))
        for _ in range(3):
            train_step(trainer, method, batch)
        dist.all_reduce = counted
        cpu = time.process_time()
        for _ in range(20):
            train_step(trainer, method, batch)
        cpu = time.process_time() - cpu
        dist.all_reduce = all_reduce
        return {"cpu_ms": 1e3 * group.total(cpu) / 20, **{k: v / 20 for k, v in sent.items()}}


def weights() -> dict[str, list[float]]:
    """As one of several processes: the classifier's weights after 10 steps of each method."""
    import torch

    from adv_training import Settings, Training, joined
    from adv_training.synthetic import synthetic_dataset
    from l2l_gail.runs import RunFolder

    torch.set_num_threads(1)
    data = synthetic_dataset(train_size=360, eval_size=10, held_out=40)
    found = {}
    with joined("cpu") as group, tempfile.TemporaryDirectory() as out:
        for name in AGREEING:
            settings = Settings(name, "synthetic", model="tiny_cnn", epochs=1, batch_size=32)
            folder = group.from_first(lambda name=name: RunFolder.create(out, "synthetic", name, 0))
            run = Training(settings, data, folder, processes=group)
            run.run()
            flat = [p.detach().flatten() for p in run.game.classifier.parameters()]
            found[name] = torch.cat(flat).tolist()
    return found


def _distance(one: list[float], other: list[float]) -> float:
    apart = sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
    return apart / sum(b**2 for b in other) ** 0.5


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Measure all parts, each figure in a process of its own; print and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, help="these alone; the file keeps what it has besides"
    )
    parser.add_argument(
        "--part", nargs="+", help="one measurement, in this process: name arguments"
    )
    args = parser.parse_args()
    if args.part:
        name, *values = args.part
        part: Callable[..., Any] = globals()[name]
        figures = part(*(int(value) if value.isdigit() else value for value in values))
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(figures))
        return
    from l2l_gail.files import atomic_write
    from l2l_gail.runs import versions

    found: dict[str, Any] = {}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text())
    for name in args.only or PARTS:
        arguments = PARTS[name]
        found[name] = (
            {str(count): _apart(*how, count) for *how, count in arguments}
            if arguments
            else _apart(name)
        )
        found |= {"versions": versions(), "cores": os.cpu_count()}
        if args.json:
            atomic_write(args.json, json.dumps(found, indent=1).encode() + b"\n")


def _apart(*part: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--part", *map(str, part)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    print(f"{' '.join(map(str, part)):24} {shown}", flush=True)
    return figures


if __name__ == "__main__":
    main()
