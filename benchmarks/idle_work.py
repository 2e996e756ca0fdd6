"""What of a MuJoCo step is idle for one small robot, and what leaving it out saves.

CPU microseconds of one environment step of 64 environments on one thread, the engine alone, with
one thing after the other left out (``envs/cpu/idle_work.py``, ``envs/cpu/mjbatch.py``). All
variants step the same states with the same actions in turn, that they reach the same bits is
checked at every step, and figures are medians over the steps.

    .venv/bin/python benchmarks/idle_work.py --json benchmarks/results/idle_work.json

Half a minute.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from envs.cpu.idle_work import without_idle_work
from envs.cpu.mjbatch import MjBatch
from envs.definition import Definition, define

ENVS = ("Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5")
N = 64
EPISODE = 40  # steps between resets


def variants(definition: Definition) -> dict[str, tuple[mujoco.MjModel, bool]]:
    """Return models, each with less idle work than the one before, and whether the clock runs."""
    model, least = definition.model, without_idle_work(definition.model, definition.xml)
    one_island = copy.copy(model)
    island = int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
    one_island.opt.disableflags |= least.opt.disableflags & island
    lacking = copy.copy(model)
    lacking.opt.disableflags = least.opt.disableflags
    return {
        "as it is": (model, True),
        "without its clock": (model, False),
        "nor a search for islands": (one_island, False),
        "nor friction and springs it lacks": (lacking, False),
        "nor sweep and prune": (least, False),
    }


def measure(env_id: str, steps: int) -> dict[str, float]:
    """Return CPU microseconds of an environment step of each variant.

    Raises:
        RuntimeError: Two of them reach different states.
    """
    definition = define(env_id, {})
    chosen = variants(definition)
    batches = {name: MjBatch(model, N) for name, (model, _) in chosen.items()}
    first, frame_skip = definition.model, definition.task.frame_skip
    rng = np.random.default_rng(0)
    everywhere = np.arange(N, dtype=np.int32)
    low, high = first.actuator_ctrlrange.T
    spent: dict[str, list[float]] = {name: [] for name in chosen}
    for step in range(steps):
        if step % EPISODE == 0:
            qpos = first.qpos0 + rng.uniform(-0.01, 0.01, (N, first.nq))
            qvel = rng.uniform(-0.01, 0.01, (N, first.nv))
            for batch in batches.values():
                batch.reset(everywhere, qpos, qvel)
        control = rng.uniform(low, high, (N, first.nu))
        for name, batch in batches.items():
            batch.field("ctrl")[:] = control
            begun = time.process_time()
            if chosen[name][1]:
                _step_with_clock(batch, frame_skip)
            else:
                batch.step(frame_skip)
            spent[name].append(time.process_time() - begun)
        states = [batch.state for batch in batches.values()]
        if not all(np.array_equal(states[0], state) for state in states[1:]):
            raise RuntimeError(f"{env_id}: the variants part at step {step}")
    return {name: statistics.median(times) / N * 1e6 for name, times in spent.items()}


def _step_with_clock(batch: MjBatch, frame_skip: int) -> None:
    """Step as ``MjBatch.step`` does, with MuJoCo's clock running."""
    batch._lib.mjb_step(batch._batch, None, N, frame_skip, int(mujoco.mjtStage.mjSTAGE_NONE))


def main() -> None:
    """Measure, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", nargs="+", default=list(ENVS), help="tasks (five)")
    parser.add_argument("--steps", type=int, default=400, help="steps (400)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for env_id in options.envs:
        found[env_id] = {
            name: round(micros, 2) for name, micros in measure(env_id, options.steps).items()
        }
        print(f"\n{env_id:36}  us   saved")
        before = None
        for name, micros in found[env_id].items():
            saved = "" if before is None else f"{1 - micros / before:8.1%}"
            print(f"{name:34}{micros:6.1f}{saved}")
            before = micros
        print(f"{'in all':40}{1 - micros / found[env_id]['as it is']:8.1%}")
    if options.json:
        versions = {name: version(name) for name in ("mujoco", "gymnasium", "numpy")}
        result = {
            "benchmark": "idle_work",
            "unit": "CPU microseconds per environment step, engine alone, one thread",
            "n": N,
            "steps": options.steps,
            "python": platform.python_version(),
            "versions": versions,
            "envs": found,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
