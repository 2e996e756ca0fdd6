"""The loops that ``rollouts.py`` times, each in a process of its own.

    python benchmarks/rollout_contenders.py CONTENDER ENV N [--threads T]

makes the environments and then serves one command a line: ``run SECONDS`` steps them for about that
long and answers with one line of JSON, a list of rows ``{name, steps, wall_s, cpu_s}``. CPU seconds
are those of all threads and of the children that live as long as the process does.

Nothing but the standard library and numpy is imported before a contender is made, so that another
interpreter can run those that it has.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEED = 0
BATCHES_OF_ACTIONS = 64
WARM_UP = 50  # steps of every environment, until episodes end at different times
Row = dict[str, Any]
Run = Callable[[float], list[Row]]


def random_actions(env_id: str, n: int, low: Any, high: Any, dtype: Any = np.float32) -> np.ndarray:
    """Return the actions that every contender takes in turn, ``(64, N, act_dim)``."""
    rng = np.random.default_rng(SEED)
    return rng.uniform(low, high, (BATCHES_OF_ACTIONS, n, *np.shape(low))).astype(dtype)


class Clock:
    """Wall and CPU seconds between ``start`` and ``stop``, summed; children included."""

    def __init__(self, *, children: bool = False) -> None:
        self.children = children
        self.wall = self.cpu = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._wall, self._cpu = time.perf_counter(), self._cpu_now()

    def stop(self) -> None:
        """Add what has passed."""
        cpu = self._cpu_now()
        self.wall += time.perf_counter() - self._wall
        self.cpu += cpu - self._cpu

    def _cpu_now(self) -> float:
        return time.process_time() + (_cpu_of_children(os.getpid()) if self.children else 0.0)


def _cpu_of_children(parent: int) -> float:
    """Return the CPU seconds of all living descendants (Linux), to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            for thread in Path(f"/proc/{child}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
            total += int(_cpu_of_children(int(child)) * 1e9)
    return total / 1e9


def stepping(
    name: str,
    n: int,
    step: Callable[[int], Any],
    *,
    children: bool = False,
    wait: Callable[[], Any] = lambda: None,
) -> Run:
    """Return a run that calls ``step(t)`` for t = 0, 1, ... and goes on where it stopped.

    ``wait`` returns when all that ``step`` has set going is done; the clock counts none of what was
    set going before it starts, and all of what was while it ran.
    """
    for at in range(WARM_UP):
        step(at)
    at = WARM_UP

    def run(seconds: float) -> list[Row]:
        nonlocal at
        clock = Clock(children=children)
        wait()
        first, end = at, time.perf_counter() + seconds
        clock.start()
        while time.perf_counter() < end or at == first:
            step(at)
            at += 1
        wait()
        clock.stop()
        return [_row(name, (at - first) * n, clock)]

    return run


def _row(name: str, steps: int, clock: Clock) -> Row:
    return {"name": name, "steps": steps, "wall_s": clock.wall, "cpu_s": clock.cpu}


# Our environment and its views.


def ours(env_id: str, n: int, threads: int | None, device: str = "cpu") -> Run:
    """Step the tensor interface."""
    import torch

    import envs

    torch.set_num_threads(1)
    env = envs.make(env_id, n, device, SEED, num_threads=threads)
    space = env.single_action_space
    actions = torch.as_tensor(random_actions(env_id, n, space.low, space.high), device=env.device)
    env.reset()
    if device == "cpu":
        return stepping("ours", n, lambda t: env.step(actions[t % BATCHES_OF_ACTIONS]))

    def step(t: int) -> None:
        env.step(actions[t % BATCHES_OF_ACTIONS])
        if t % 16 == 0:  # the loop, which looks at the time, must not run far ahead of the device
            torch.cuda.synchronize()

    return stepping(f"ours, {device}", n, step, wait=torch.cuda.synchronize)


def ours_sb3(env_id: str, n: int, threads: int | None) -> Run:
    """Step our view for Stable-Baselines3."""
    import envs

    return _sb3("ours, SB3 view", envs.make(env_id, n, "cpu", SEED, num_threads=threads).sb3())


def ours_gymnasium(env_id: str, n: int, threads: int | None) -> Run:
    """Step our view for Gymnasium."""
    import envs

    env = envs.make(env_id, n, "cpu", SEED, num_threads=threads)
    return _gymnasium("ours, Gymnasium view", env.gymnasium())


def _sb3(name: str, env: Any, *, children: bool = False) -> Run:
    space = env.action_space
    actions = random_actions("", env.num_envs, space.low, space.high)
    env.seed(SEED)
    env.reset()
    return stepping(
        name, env.num_envs, lambda t: env.step(actions[t % BATCHES_OF_ACTIONS]), children=children
    )


def _gymnasium(name: str, env: Any, *, children: bool = False) -> Run:
    space = env.single_action_space
    actions = random_actions("", env.num_envs, space.low, space.high)
    env.reset(seed=SEED)
    return stepping(
        name, env.num_envs, lambda t: env.step(actions[t % BATCHES_OF_ACTIONS]), children=children
    )


# Others.


def sync(env_id: str, n: int, threads: int | None) -> Run:
    """Step Gymnasium's ``SyncVectorEnv`` with same-step autoreset."""
    return _gymnasium("gymnasium Sync", _make_vec(env_id, n, "sync"))


def asynchronous(env_id: str, n: int, threads: int | None) -> Run:
    """Step Gymnasium's ``AsyncVectorEnv``: one process for each environment."""
    return _gymnasium("gymnasium Async", _make_vec(env_id, n, "async"), children=True)


def _make_vec(env_id: str, n: int, mode: str) -> Any:
    import gymnasium
    from gymnasium.vector import AutoresetMode

    return gymnasium.make_vec(
        env_id,
        n,
        vectorization_mode=mode,
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )


def dummy(env_id: str, n: int, threads: int | None) -> Run:
    """Step SB3's ``DummyVecEnv`` of monitored environments."""
    from stable_baselines3.common.env_util import make_vec_env

    return _sb3("SB3 Dummy", make_vec_env(env_id, n))


def subproc(env_id: str, n: int, threads: int | None) -> Run:
    """Step SB3's ``SubprocVecEnv``: one process for each environment."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv

    # A fork makes 64 processes in a second; no thread runs yet that it could leave behind.
    env = make_vec_env(
        env_id, n, vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": "fork"}
    )
    return _sb3("SB3 Subproc", env, children=True)


def envpool(env_id: str, n: int, threads: int | None) -> Run:
    """Step envpool; it has a MuJoCo of its own, and spends a step on each reset."""
    import envpool  # type: ignore[import-not-found]

    env = envpool.make_gymnasium(
        env_id, num_envs=n, seed=SEED, num_threads=threads or len(os.sched_getaffinity(0))
    )
    space = env.action_space
    actions = random_actions("", n, space.low, space.high, np.float64)
    env.reset()
    return stepping("envpool", n, lambda t: env.step(actions[t % BATCHES_OF_ACTIONS]))


# The engine alone.


def physics(env_id: str, n: int, threads: int | None) -> Run:
    """Replay one recorded piece of play: our whole step, and the engine without it.

    Our environment plays a piece and notes actions, resets and states. Then take turns: the
    environment itself, set back to where the piece began; ``mujoco.batch`` stepped with the same
    actions and the same resets from the same states, by a loop without any Python per environment
    (that it ends in the same states is checked); and ``mujoco.rollout``, from states of the piece,
    8 steps each without resets. No thread count differs. Contact forces, which Ant and Humanoid
    observe, are left out of the two.
    """
    import mujoco
    import torch
    from mujoco import batch as mujoco_batch
    from mujoco.rollout import Rollout

    import envs
    from envs.cpu.env import CpuEnv

    torch.set_num_threads(1)
    env = envs.make(env_id, n, "cpu", SEED, num_threads=threads)
    assert isinstance(env, CpuEnv)
    space = env.single_action_space
    draws = random_actions(env_id, n, space.low, space.high)
    env.reset()
    for t in range(WARM_UP):
        env.step(draws[t % BATCHES_OF_ACTIONS])
    length = max(8, min(512, 8192 // n)) // 8 * 8
    actions = [torch.from_numpy(draws[t % BATCHES_OF_ACTIONS]) for t in range(length)]
    begin = env.state_dict()
    model = _compiled_model(env_id)
    engine = mujoco_batch.Batch(model, n, env.num_threads)
    ctrl, qpos, qvel = engine.bind("ctrl"), engine.bind("qpos"), engine.bind("qvel")
    resets: list[tuple[np.ndarray, np.ndarray, np.ndarray] | None] = []
    starts = []
    for t in range(length):
        if t % 8 == 0:
            starts.append((t, env.state_dict()["physics"].numpy()))
        done = env.step(actions[t])[4]["_final_obs"].numpy()
        resets.append(None)
        if done.any():
            ids = np.flatnonzero(done).astype(np.int32)
            engine.state[:] = env.state_dict()["physics"].numpy()
            resets[-1] = (ids, qpos[ids], qvel[ids])
    end = env.state_dict()["physics"].numpy()
    controls = [action.numpy().astype(np.float64) for action in actions]
    frame_skip = _frame_skip(env_id)

    def play_ours() -> None:
        for action in actions:
            env.step(action)

    def play_engine() -> None:
        for control, reset in zip(controls, resets, strict=True):
            ctrl[:] = control
            engine.step(None, frame_skip)
            if reset is not None:
                ids, new_qpos, new_qvel = reset
                engine.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
                qpos[ids], qvel[ids] = new_qpos, new_qvel

    engine.state[:] = begin["physics"].numpy()
    play_engine()
    if not np.array_equal(engine.state, end):
        raise RuntimeError("the engine's loop did not end in the states of the recorded play")

    # Rows of mujoco.rollout: (piece's states every 8 steps) x environments.
    rows = np.concatenate([state for _, state in starts])
    controls_of_rows = np.concatenate(
        [np.stack(controls[t : t + 8], axis=1).repeat(frame_skip, axis=1) for t, _ in starts]
    )
    data = mujoco.MjData(model)
    full, whole = mujoco.mjtState.mjSTATE_FULLPHYSICS, mujoco.mjtState.mjSTATE_INTEGRATION
    initial = np.empty((len(rows), mujoco.mj_stateSize(model, full)))
    warm = np.empty((len(rows), model.nv))
    for row, state in enumerate(rows):
        mujoco.mj_setState(model, data, state, whole)
        mujoco.mj_getState(model, data, initial[row], full)
        warm[row] = data.qacc_warmstart
    substeps = 8 * frame_skip
    states_out = np.empty((len(rows), substeps, initial.shape[1]))
    rollout = Rollout(nthread=env.num_threads if env.num_threads > 1 else 0)
    datas = [mujoco.MjData(model) for _ in range(env.num_threads)]

    def play_rollout() -> None:
        rollout.rollout(
            model,
            datas,
            initial,
            controls_of_rows,
            nstep=substeps,
            initial_warmstart=warm,
            state=states_out,
        )

    def run(seconds: float) -> list[Row]:
        names = ("ours, replayed", "mujoco.batch loop", "mujoco.rollout")
        clocks = [Clock() for _ in names]
        passes = 0
        begun = time.perf_counter()
        while time.perf_counter() - begun < 3 * seconds or not passes:
            env.load_state_dict(begin)
            engine.state[:] = begin["physics"].numpy()
            for clock, play in zip(clocks, (play_ours, play_engine, play_rollout), strict=True):
                clock.start()
                play()
                clock.stop()
            passes += 1
        counts = (length * n, length * n, len(rows) * 8)
        return [
            _row(name, passes * count, clock)
            for name, count, clock in zip(names, counts, clocks, strict=True)
        ]

    return run


def _compiled_model(env_id: str) -> Any:
    import gymnasium

    env = gymnasium.make(env_id)
    model = env.unwrapped.model  # type: ignore[attr-defined]
    env.close()
    return model


def _frame_skip(env_id: str) -> int:
    import gymnasium

    env = gymnasium.make(env_id)
    frame_skip = env.unwrapped.frame_skip  # type: ignore[attr-defined]
    env.close()
    return frame_skip


CONTENDERS: dict[str, Callable[[str, int, int | None], Run]] = {
    "ours": ours,
    "ours_sb3": ours_sb3,
    "ours_gymnasium": ours_gymnasium,
    "ours_cuda": lambda env_id, n, threads: ours(env_id, n, threads, "cuda"),
    "sync": sync,
    "dummy": dummy,
    "async": asynchronous,
    "subproc": subproc,
    "envpool": envpool,
    "physics": physics,
}


def main() -> None:
    """Make the environments, say so, and serve commands until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("env")
    parser.add_argument("n", type=int)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    # Answers go to the real standard output; what libraries print goes where errors go.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    run = CONTENDERS[options.contender](options.env, options.n, options.threads)
    run(0.0)
    print("ready", file=answers)
    for line in sys.stdin:
        print(json.dumps(run(float(line.split()[1]))), file=answers)


if __name__ == "__main__":
    main()
