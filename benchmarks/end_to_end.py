"""Environment steps a second of whole trainings: PPO, GAIL and L2L-GAIL, beside ``imitation``.

Every training runs in a process of its own, on one thread of torch; the rows take turns over some
rounds, and figures are medians. Timed is ``learn`` and nothing else: no evaluation, no checkpoint.
No row uses child processes. Simulation and learning are on the CPU.

``shipped`` are the defaults of ``train_gail.py``, read from it. ``common`` are the hyper-parameters
that the peer is run with (``imitation_gail.COMMON``; PPO's others are SB3's defaults in both): that
its demonstrations suffice for them is checked with every run of it. What differs is
what the libraries do by themselves: the peer normalises by running statistics and its discriminator
has ReLU units, ours normalises by the demonstrations' and has tanh units; ours steps batched
environments and has a fused Adam; the learned rule is trained on top. CPU seconds are those of all
threads; of ours, physics takes more than one from 16 environments on unless ``--threads 1`` is
given, so wall time compares only then.

    .venv/bin/python benchmarks/end_to_end.py --json benchmarks/results/end_to_end.json

To have the row of ``imitation`` too, give ``--imitation-python``, an interpreter that has it:
``imitation_gail.py``, which it runs, says how to come by one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.imitation_gail import COMMON  # noqa: E402

ENVS = ("Hopper-v5", "HalfCheetah-v5")
PEER = "imitation GAIL, common"
PEER_SCRIPT = ROOT / "benchmarks" / "imitation_gail.py"
# What is trained: (method, hyper-parameters, environment).
ROWS: dict[str, tuple[str, str, str]] = {
    "PPO, 8 x 256, batch 64": ("ppo", "small", "ours"),
    "PPO, 8 x 256, batch 64, Dummy": ("ppo", "small", "dummy"),
    "PPO, 64 x 64, batch 1024": ("ppo", "large", "ours"),
    "PPO, 64 x 64, batch 1024, Dummy": ("ppo", "large", "dummy"),
    "GAIL, shipped": ("gail", "shipped", "ours"),
    "GAIL, shipped, Dummy": ("gail", "shipped", "dummy"),
    "L2L-GAIL, shipped": ("l2l_gail", "shipped", "ours"),
    "L2L-GAIL, shipped, Dummy": ("l2l_gail", "shipped", "dummy"),
    "GAIL, common": ("gail", "common", "ours"),
    "L2L-GAIL, common": ("l2l_gail", "common", "ours"),
}
BARS = {  # steps per CPU second over the peer's, at least
    ("Hopper-v5", "GAIL, shipped"): 3.0,
    ("HalfCheetah-v5", "GAIL, shipped"): 4.0,
    ("Hopper-v5", "L2L-GAIL, shipped"): 2.5,
    ("HalfCheetah-v5", "L2L-GAIL, shipped"): 3.0,
    ("Hopper-v5", "GAIL, common"): 1.5,
    ("HalfCheetah-v5", "GAIL, common"): 1.5,
}
COMMON_ENVS = 8


def train(
    row: str, env_id: str, steps: int, seed: int, demos: str | None, threads: int | None
) -> dict[str, Any]:
    """Train one row in this process, and return what it took and where the time went."""
    import torch

    torch.set_num_threads(1)
    method, settings, simulator = ROWS[row]

    def environment(n: int) -> Any:
        from stable_baselines3.common.env_util import make_vec_env

        import envs

        if simulator == "ours":
            return envs.make(env_id, n, "cpu", seed, num_threads=threads).sb3()
        return make_vec_env(env_id, n, seed)

    if method == "ppo":
        model = _ppo(environment, settings, seed)
    else:
        model = _gail(environment, env_id, method, settings, seed, demos)
    sizes = {"n_envs": model.n_envs, "n_steps": model.n_steps, "batch_size": model.batch_size}
    sizes["n_epochs"] = model.n_epochs
    if method != "ppo":
        sizes["discriminator_updates"] = model.discriminator_config.updates_per_rollout
        sizes["discriminator_batch_size"] = model.discriminator_config.batch_size
    parts = Parts()
    parts.watch(getattr(model.env, "tensor_env", model.env), "step", "environment")
    parts.watch(model, "train", "PPO update")
    if method != "ppo":
        parts.watch(model.discriminator_updates, "update", "discriminator")
    parts.watch(model, "collect_rollouts", "policy and the rest of the rollout")
    wall, cpu = time.perf_counter(), time.process_time()
    model.learn(steps)
    result = {
        "steps": model.num_timesteps,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "parts_cpu_s": parts.seconds,
        "sizes": sizes,
        "physics_threads": getattr(getattr(model.env, "tensor_env", None), "num_threads", None),
    }
    model.env.close()
    return result


class Parts:
    """CPU seconds inside of some methods, each without those of the watched ones it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Count the time in ``owner.method`` from now on."""
        call: Callable[..., Any] = getattr(owner, method)
        self.seconds[name] = 0.0

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            begun = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                whole = time.process_time() - begun
                self.seconds[name] += whole - self._inner.pop()
                self._inner[-1] += whole

        setattr(owner, method, counted)


def _ppo(environment: Callable[[int], Any], settings: str, seed: int) -> Any:
    from stable_baselines3 import PPO

    small = settings == "small"
    optimizer = {} if small else {"optimizer_kwargs": {"fused": True, "eps": 1e-5}}
    return PPO(
        "MlpPolicy",
        environment(8 if small else 64),
        n_steps=256 if small else 64,
        batch_size=64 if small else 1024,
        n_epochs=10 if small else 5,
        policy_kwargs=optimizer,
        seed=seed,
        device="cpu",
    )


def _gail(
    environment: Callable[[int], Any],
    env_id: str,
    method: str,
    settings: str,
    seed: int,
    demos: str | None,
) -> Any:
    import train_gail
    from l2l_gail.core import Adam, CoordinateMLP
    from l2l_gail.demos import Demonstrations
    from l2l_gail.gail import GAIL, DiscriminatorConfig, TaskFlags

    demonstrations = Demonstrations.load(demos or env_id)
    if settings == "shipped":
        config = train_gail.Config(task=TaskFlags(env=env_id, demos=demos))
        env = environment(config.n_envs)
        return train_gail.make_model(config, method, seed, env, demonstrations)
    return GAIL(
        "MlpPolicy",
        environment(COMMON_ENVS),
        demonstrations,
        discriminator=DiscriminatorConfig(
            hidden_sizes=(32, 32),
            updates_per_rollout=COMMON.n_disc,
            batch_size=COMMON.demo_batch_size,
            penalty=(),
        ),
        rule=CoordinateMLP(1e-3, seed=seed) if method == "l2l_gail" else Adam(1e-3),
        n_steps=COMMON.rollout // COMMON_ENVS,
        batch_size=COMMON.batch_size,
        n_epochs=COMMON.n_epochs,
        learning_rate=COMMON.lr,
        policy_pace=0.0,
        policy_divergence=0.0,
        policy_kwargs={"optimizer_kwargs": {"fused": True, "eps": 1e-5}},
        seed=seed,
        device="cpu",
    )


# The driver: a process for each training, rows taking turns.


def run_row(row: str, env_id: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train a row in a process of its own."""
    demos = options.demos.get(env_id)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        if row == PEER:
            command = [str(options.imitation_python.absolute()), str(PEER_SCRIPT)]
            command += ["--env", env_id, "--demos", _peer_demos(env_id, demos, Path(folder))]
            command += ["--steps", str(options.steps), "--seed", str(seed)]
            command += ["--n-envs", str(COMMON_ENVS)]
            command += ["--preset", "common", "--eval-episodes", "1", "--out", str(out)]
        else:
            task = [row, env_id, options.steps, seed, demos, options.threads]
            command = [sys.executable, str(Path(__file__).resolve()), "--worker", json.dumps(task)]
            command += ["--json", str(out)]
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
        if row != PEER:
            surroundings["PYTHONPATH"] = str(ROOT)
        done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{row} on {env_id} failed:\n{done.stderr.strip()[-2000:]}")
        result = json.loads(out.read_text())
        if row == PEER:
            _check_peer(env_id, result)
        return result


def _check_peer(env_id: str, result: dict[str, Any]) -> None:
    """End the benchmark if the peer has trained with other hyper-parameters than ``COMMON``."""
    used = {"n_envs": result["n_envs"], **result["hyperparameters"]}
    wanted = {"n_envs": COMMON_ENVS, **asdict(COMMON)}
    other = {name: used.get(name) for name in wanted if used.get(name) != wanted[name]}
    if other:
        raise SystemExit(f"{PEER} on {env_id} trained with {other}, not with {wanted}")


def _peer_demos(env_id: str, demos: str | None, folder: Path) -> str:
    """Write the demonstrations for the peer, and return the path."""
    path = folder / "demos.npz"
    code = (
        "import sys, numpy as np; from benchmarks.imitation_gail import FIELDS; "
        "from l2l_gail.demos import Demonstrations; d = Demonstrations.load(sys.argv[1]); "
        "np.savez(sys.argv[2], **{name: getattr(d, name) for name in FIELDS})"
    )
    subprocess.run(
        [sys.executable, "-c", code, demos or env_id, str(path)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return str(path)


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians of a row's rounds."""
    summary: dict[str, Any] = {
        f"steps_per_{unit}_s": round(
            statistics.median(result["steps"] / result[f"{unit}_s"] for result in results)
        )
        for unit in ("cpu", "wall")
    }
    if "parts_cpu_s" in results[0]:
        total = sum(result["cpu_s"] for result in results)
        parts = {
            name: sum(result["parts_cpu_s"][name] for result in results) / total
            for name in results[0]["parts_cpu_s"]
        }
        summary["share_of_cpu"] = {name: round(share, 3) for name, share in parts.items()}
    for name in ("sizes", "hyperparameters", "physics_threads", "versions", "python"):
        if name in results[0]:
            summary[name] = results[0][name]
    summary["rounds"] = [
        {key: round(result[key], 3) for key in ("steps", "cpu_s", "wall_s")} for result in results
    ]
    return summary


def over_peer(rows: dict[str, list[dict[str, Any]]], name: str) -> float | None:
    """Return the median over the rounds of a row's steps per CPU second over the peer's."""
    if PEER not in rows:
        return None
    rates = [[r["steps"] / r["cpu_s"] for r in rows[key]] for key in (name, PEER)]
    return round(statistics.median(a / b for a, b in zip(*rates, strict=True)), 3)


def print_table(env: str, rows: dict[str, Any]) -> None:
    """Print one task's rows."""
    heads = f"{'steps/CPU s':>12}{'steps/s':>9}{'/ peer':>8}{'bar':>10}"
    print(f"\n{env:34}{heads}  where the CPU time is")
    for name, row in rows.items():
        bar = BARS.get((env, name)) if row["over_peer"] else None
        verdict = f"{bar} {'pass' if row['over_peer'] >= bar else 'MISS'}" if bar else ""
        parts = ", ".join(f"{k} {v:.0%}" for k, v in row.get("share_of_cpu", {}).items())
        print(
            f"{name:34}{row['steps_per_cpu_s']:>12,}{row['steps_per_wall_s']:>9,}"
            f"{row['over_peer'] or '':>8}{verdict:>10}  {parts}"
        )
    for settings in ("shipped", "common"):
        if sizes := rows.get(f"GAIL, {settings}", {}).get("sizes"):
            print(f"{settings}: " + ", ".join(f"{k} {v:,}" for k, v in sizes.items()))


def main() -> None:
    """Train all rows in turn, print the tables, write them as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", nargs="+", default=list(ENVS), help="tasks (both)")
    parser.add_argument("--rows", nargs="+", help="only rows whose name has one of these in it")
    parser.add_argument("--steps", type=int, default=40_960, help="steps of a training (40,960)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, rows taking turns (3)")
    parser.add_argument("--threads", type=int, help="threads of our physics (its default)")
    parser.add_argument(
        "--demos", nargs="*", default=[], help="ENV=FILE.npz, where none are embedded"
    )
    parser.add_argument("--imitation-python", type=Path, help="an interpreter that has imitation")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        options.json.write_text(json.dumps(train(*json.loads(options.worker))))
        return

    given = (pair.partition("=") for pair in options.demos)
    options.demos = {env: str(Path(path).resolve()) for env, _, path in given}
    names = [PEER] if options.imitation_python else []
    names += ROWS
    if options.rows:
        names = [name for name in names if any(part in name for part in options.rows)]
    tables = {}
    for env in options.envs:
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for seed in range(options.rounds):
            for name in names:
                print(f"{env}, round {seed + 1}: {name}", file=sys.stderr, flush=True)
                results[name].append(run_row(name, env, options, seed))
        tables[env] = {
            name: {**summarise(row), "over_peer": over_peer(results, name)}
            for name, row in results.items()
        }
        print_table(env, tables[env])
        if options.json:
            report = {
                "benchmark": "end_to_end",
                "steps": options.steps,
                "rounds": options.rounds,
                "threads": options.threads,
                "python": platform.python_version(),
                "versions": {k: version(k) for k in ("mujoco", "stable-baselines3", "torch")},
                "bars": {env: {n: b for (e, n), b in BARS.items() if e == env} for env in tables},
                "envs": tables,
            }
            options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
