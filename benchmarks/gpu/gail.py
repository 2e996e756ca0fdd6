"""L2L-GAIL on Hopper, everything on a GPU: wall time until the policy is as good as the expert.

    .venv/bin/python benchmarks/gpu/gail.py train --learned both
    .venv/bin/python benchmarks/gpu/gail.py judge --json benchmarks/results/gpu/gail.json

``train`` plays the game with ``train_gail.py``'s own settings, but for sizes that suit a GPU, and
keeps the policy of every ``--keep`` rollouts with the wall time at which it was there: making the
environments, loading kernels and recording the step included, imports not. Nothing is evaluated
meanwhile.

``judge`` plays ten deterministic episodes of each kept policy, in order, until one has a normalised
return of at least 0.95, (return - random) / (expert - random). The episodes are played in batches
that equal Gymnasium's environments bit for bit, and the policy found is then played once more in
``gymnasium.make``'s own. It needs no GPU.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parent))

from support import Results, machine

import envs
import train_gail
from l2l_gail.cli import parse, run_main
from l2l_gail.evaluation import evaluate_policy_return
from l2l_gail.gail import MethodFlags
from l2l_gail.ppo import PPOConfig

EPISODES = range(50_000, 50_010)
ENOUGH = 0.95


@dataclass(frozen=True)
class Config:
    """Flags of gail.py."""

    task: Annotated[Literal["train", "judge"], tyro.conf.Positional]
    """What to do."""
    out: Path = Path("runs/gpu_gail")
    """Folder of the kept policies."""
    method: Literal["l2l_gail", "gail"] = "l2l_gail"
    """What learns."""
    learned: Literal["credit", "rule", "both"] = "credit"
    """What l2l_gail learns; the table in docs/performance.md has both."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """One run each."""
    device: str = "cuda"
    """Of simulation and learning."""
    n_envs: int = 512
    """Worlds."""
    n_steps: int = 16
    """Steps of each in a rollout."""
    batch_size: int = 1024
    """Transitions in a minibatch of PPO."""
    n_epochs: int = 10
    """Passes of PPO over a rollout."""
    rollouts: int = 130
    """Rollouts of a run."""
    keep: int = 2
    """Rollouts between two kept policies."""
    budget: float = 1e9
    """Seconds after which no new run is begun."""
    json: Path | None = None
    """Where judge writes."""


def main(argv: list[str] | None = None) -> None:
    """Train, or judge."""
    config = parse(
        Config, argv, prog="gail.py", description="L2L-GAIL on a GPU: time to the expert."
    )
    config.out.mkdir(parents=True, exist_ok=True)
    if config.task == "judge":
        return judge(config)
    torch.set_num_threads(1)
    end = time.monotonic() + config.budget
    for seed in config.seeds:
        file = config.out / f"{name_of(config)}_{seed}.pt"
        if not file.exists() and time.monotonic() < end:
            torch.save(train(config, seed), file)


def name_of(config: Config) -> str:
    """Return the method, and what it learns."""
    return config.method if config.method == "gail" else f"{config.method}_{config.learned}"


def game_of(config: Config, seed: int, device: str) -> tuple[Any, Any]:
    """Return the environments and the model."""
    ppo = PPOConfig(n_steps=config.n_steps, batch_size=config.batch_size, n_epochs=config.n_epochs)
    rule = MethodFlags(learned=config.learned)
    usual = train_gail.Config(n_envs=config.n_envs, device=device, ppo=ppo, rule=rule)
    demos = usual.task.load()
    env = envs.make_vec(usual.task.env, config.n_envs, seed, {}, device=device)
    return env, train_gail.make_model(usual, config.method, seed, env, demos)


def train(config: Config, seed: int) -> dict[str, Any]:
    """Return the kept policies of a run, with seconds and environment steps."""
    begun = time.perf_counter()
    env, model = game_of(config, seed, config.device)
    made = time.perf_counter() - begun
    kept: list[dict[str, Any]] = []
    count = 0

    def after_step(local: dict[str, Any], _: dict[str, Any]) -> bool:
        nonlocal count
        if local["n_steps"] == 0:  # the updates of the rollout before are done
            if count and count % config.keep == 0:
                if config.device != "cpu":
                    torch.cuda.synchronize()
                weights = {k: v.detach().clone() for k, v in model.policy.state_dict().items()}
                seconds = time.perf_counter() - begun
                kept.append(
                    {
                        "seconds": seconds,
                        "steps": model.num_timesteps - config.n_envs,
                        "policy": weights,
                    }
                )
            count += 1
        return True

    model.learn(config.rollouts * config.n_envs * config.n_steps, callback=after_step)
    total = time.perf_counter() - begun
    env.close()
    for entry in kept:
        entry["policy"] = {k: v.cpu() for k, v in entry["policy"].items()}
    print(
        f"{name_of(config)} seed {seed}: made in {made:.1f} s, {config.rollouts} rollouts in "
        f"{total:.1f} s, {model.num_timesteps / total:,.0f} steps/s",
        flush=True,
    )
    names = ("learned", "n_envs", "n_steps", "batch_size", "n_epochs")
    settings = {k: getattr(config, k) for k in names}
    return {
        "method": name_of(config),
        "seed": seed,
        "settings": settings,
        "machine": machine(),
        "made_s": made,
        "total_s": total,
        "kept": kept,
    }


def judge(config: Config) -> None:
    """Play the kept policies, write when each run was there."""
    results = Results(config.json, config.budget)
    usual = train_gail.Config()
    demos = usual.task.load()
    references = train_gail.references(usual, 0, demos)
    floor, top = references["random_return"], references["expert_return"]
    batch = envs.batch_of_episodes(usual.task.env, {})
    env, model = game_of(Config("train", n_envs=16, n_steps=128), 0, "cpu")
    env.close()

    def predict(obs: Any) -> Any:
        return model.predict(obs, deterministic=True)[0]

    for file in sorted(config.out.glob("*.pt")):
        run = torch.load(file, weights_only=True)
        key = {"method": run["method"], "seed": run["seed"]}
        if not results.wants(**key):
            continue
        results.machine = run["machine"]
        curve, there = [], None
        for entry in run["kept"]:
            model.policy.load_state_dict(entry["policy"])
            reached = evaluate_policy_return(predict, usual.task.env, EPISODES, {}, batch)
            score = (reached.mean_return - floor) / (top - floor)
            curve.append([round(entry["seconds"], 2), entry["steps"], round(score, 3)])
            if there is None and score >= ENOUGH:
                again = evaluate_policy_return(predict, usual.task.env, EPISODES)
                there = {
                    "seconds": round(entry["seconds"], 2),
                    "steps": entry["steps"],
                    "in_gymnasium": round((again.mean_return - floor) / (top - floor), 4),
                }
                break
        results.add(
            **key,
            **(there or {"seconds": None}),
            settings=run["settings"],
            made_s=round(run["made_s"], 2),
            curve=curve,
        )
    for method in sorted({cell["method"] for cell in results.cells}):
        seconds = [c["seconds"] for c in results.cells if c["method"] == method]
        there_s = [s for s in seconds if s is not None]
        if there_s:
            print(
                f"{method}: {len(there_s)} of {len(seconds)} reach {ENOUGH}, median "
                f"{statistics.median(there_s):.1f} s"
            )


if __name__ == "__main__":
    run_main(main)
