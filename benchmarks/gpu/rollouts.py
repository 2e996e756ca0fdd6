"""Environment steps a second on a GPU: physics alone, with the task, with a policy in the loop.

    .venv/bin/python benchmarks/gpu/rollouts.py --json benchmarks/results/gpu/rollouts.json

Three loops for each task and number of worlds ``N``, all of them on the device:

``physics``
    The recorded ``frame_skip`` substeps of mujoco_warp (with contact forces where the task reads
    them) and nothing else, with new random controls at each step, from states of random play; after
    8 steps the worlds are put back to where they were, since nothing resets what fell.
``tasks``
    ``env.step`` with random actions: observation, reward, ends, resets.
``policy``
    The same with actions drawn from a Gaussian policy, 64 x 64 tanh, in PPO's own forward pass.

And ``cpu``: ``env.step`` of the CPU backend on all cores, for the number of worlds at which a GPU
begins to pay. Each is timed between two synchronisations, for about ``--seconds``, in ``--rounds``
rounds that take turns; the median is kept. Before that the states are checked to be finite; worlds
that diverged or lacked room are counted. Cells that the file has are not measured again.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from support import Results

import envs
from envs.batched import BatchedEnv
from envs.warp.env import WarpEnv
from envs.warp.step import Segment
from l2l_gail.cli import parse, run_main
from l2l_gail.text_table import format_table

WARM_UP = 64  # steps, until episodes end at different times
SETTLING = 8  # steps of a loop before it is timed
LEAST = 32  # steps that are timed
PIECE = 8  # steps of physics between two restarts
DRAWS = 16  # sets of random actions


@dataclass(frozen=True)
class Config:
    """Flags of rollouts.py."""

    tasks: tuple[str, ...] = ("HalfCheetah-v5", "Hopper-v5", "Ant-v5", "Humanoid-v5")
    """Tasks."""
    sizes: tuple[int, ...] = (1024, 4096, 8192, 16384, 65536)
    """Numbers of worlds on the GPU."""
    cpu_sizes: tuple[int, ...] = ()
    """Numbers of worlds on the CPU backend."""
    rounds: int = 3
    """Rounds."""
    seconds: float = 0.4
    """Seconds of a loop in a round."""
    budget: float = 1e9
    """Seconds after which no new cell is begun."""
    json: Path | None = None
    """File of the results."""


def main(argv: list[str] | None = None) -> None:
    """Measure what is missing, print the table."""
    config = parse(Config, argv, prog="rollouts.py", description="Steps a second on a GPU.")
    warnings.filterwarnings("ignore", "this model's PGS solver")
    results = Results(config.json, config.budget)
    for env_id in config.tasks:
        for n in config.cpu_sizes:
            if results.wants(env=env_id, n=n, place="cpu"):
                results.add(env=env_id, n=n, place="cpu", **measure_cpu(env_id, n, config))
    for n in config.sizes:
        for env_id in config.tasks:
            if results.wants(env=env_id, n=n, place="cuda"):
                results.add(env=env_id, n=n, place="cuda", **measure(env_id, n, config))
    show(results)


def measure(env_id: str, n: int, config: Config) -> dict[str, Any]:
    """Return steps a second of the three loops, and what was checked before."""
    begun = time.perf_counter()
    env = envs.make(env_id, n, "cuda")
    assert isinstance(env, WarpEnv)
    actions = random_actions(env)
    env.reset()
    for t in range(3):
        env.step(actions[t % DRAWS])
    ready = time.perf_counter() - begun
    finite = torch.ones((), dtype=torch.bool, device="cuda")
    for t in range(WARM_UP):
        obs, reward, *_ = env.step(actions[t % DRAWS])
        finite &= torch.isfinite(obs).all() & torch.isfinite(reward).all()
    assert bool(finite), f"{env_id}: not finite"
    loops: dict[str, Callable[[int], object]] = {
        "physics": physics_of(env, actions),
        "tasks": lambda t: env.step(actions[t % DRAWS]),
        "policy": policy_in(env),
    }
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(config.rounds):
        for name, loop in loops.items():
            seconds[name].append(timed(loop, config.seconds))
    found: dict[str, Any] = {"ready_s": round(ready, 2)}
    for name, each in seconds.items():
        found[f"{name}_steps_per_s"] = round(n / statistics.median(each))
        found[f"{name}_s"] = [round(s, 7) for s in each]
    physics, tasks = (statistics.median(seconds[name]) for name in ("physics", "tasks"))
    found["glue"] = round(1 - physics / tasks, 3)
    found["diverged"], found["overflowed"] = env.diverged, env.overflowed
    found["peak_gib"] = round(
        (torch.cuda.mem_get_info()[1] - torch.cuda.mem_get_info()[0]) / 2**30, 2
    )
    loops.clear()
    env.close()
    gc.collect()
    torch.cuda.empty_cache()
    return found


def random_actions(env: BatchedEnv) -> torch.Tensor:
    """Return actions to take in turn, ``(DRAWS, N, act_dim)``, where the environment is."""
    space, generator = env.single_action_space, torch.Generator(env.device).manual_seed(0)
    low, high = (torch.as_tensor(x, device=env.device) for x in (space.low, space.high))
    shape = (DRAWS, env.num_envs, *space.shape)
    return low + (high - low) * torch.rand(shape, device=env.device, generator=generator)


def physics_of(env: WarpEnv, actions: torch.Tensor) -> Callable[[int], None]:
    """Return a loop over the recorded physics of an environment, which is left as it was found."""
    core, runner, fields = env._core, env._runner, env._physics.fields
    held = {name: value.clone() for name, value in vars(fields).items()}
    warmstart = env._physics.warmstart.clone()
    with runner._scope():
        launch = runner._record_warp([Segment("warp", core._simulate)], runner._warp_stream)

    def restore() -> None:
        for name, value in held.items():
            getattr(fields, name).copy_(value)
        env._physics.warmstart.copy_(warmstart)

    def loop(t: int) -> None:
        if t % PIECE == 0:
            restore()
        fields.ctrl.copy_(actions[t % DRAWS])
        with runner._scope():
            launch()

    return loop


def policy_in(env: WarpEnv) -> Callable[[int], None]:
    """Return a loop in which a fresh policy acts, by the forward pass that PPO uses."""
    from l2l_gail.ppo import NormalizedPolicy
    from l2l_gail.ppo.forward import forward_of
    from l2l_gail.ppo.observations import network_input

    policy = NormalizedPolicy(
        env.single_observation_space,
        env.single_action_space,
        lambda _: 1e-3,
        net_arch=[64, 64],
    ).to(env.device)
    forward = forward_of(policy)
    space = env.single_action_space
    low, high = (torch.as_tensor(x, device=env.device) for x in (space.low, space.high))
    obs = env._core.obs.clone()

    @torch.no_grad()
    def loop(t: int) -> None:
        nonlocal obs
        action, *_ = forward.act(network_input(obs))
        obs = env.step(action.clamp(low, high))[0]

    return loop


def timed(loop: Callable[[int], object], seconds: float) -> float:
    """Return the seconds of one step."""
    for t in range(SETTLING):
        loop(t)
    torch.cuda.synchronize()
    begun, t = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds or t < LEAST:
        loop(t)
        t += 1
        if t % 16 == 0:  # the loop must not run far ahead of the device
            torch.cuda.synchronize()
    torch.cuda.synchronize()
    return (time.perf_counter() - begun) / t


def measure_cpu(env_id: str, n: int, config: Config) -> dict[str, Any]:
    """Return steps a second of the CPU backend on all cores."""
    env = envs.make(env_id, n, "cpu")
    actions = random_actions(env)
    env.reset()
    for t in range(8):
        env.step(actions[t])
    each = []
    for _ in range(config.rounds):
        begun, t = time.perf_counter(), 0
        while time.perf_counter() - begun < config.seconds:
            env.step(actions[t % DRAWS])
            t += 1
        each.append((time.perf_counter() - begun) / t)
    env.close()
    return {"tasks_steps_per_s": round(n / statistics.median(each)), "tasks_s": each}


def show(results: Results) -> None:
    """Print the table."""
    head = ("task", "worlds", "physics", "with the task", "with a policy", "glue")
    rows = [
        [c["env"], str(c["n"])]
        + [f"{c[f'{k}_steps_per_s']:,}" for k in ("physics", "tasks", "policy")]
        + [f"{c['glue']:.1%}"]
        for c in sorted(results.cells, key=lambda c: (c["env"], c["n"]))
        if c["place"] == "cuda"
    ]
    print("\n" + format_table(head, rows))


if __name__ == "__main__":
    run_main(main)
