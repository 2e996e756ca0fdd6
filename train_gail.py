"""GAIL against L2L-GAIL on Hopper-v5: imitate an expert, see what a learned optimizer changes.

Both methods train PPO on the reward of a discriminator, from the same demonstrations, seeds and
budget. In one the discriminator is moved by Adam, in the other by a learned optimizer that starts
as exactly that Adam and learns while the game is played. Ends with a table of true returns.

Reached on Hopper-v5 by the last policy after 0.6 million steps (no checkpoint picked; the expert
has 3533), seeds 0, 1, 2: GAIL 3554, 3516, 3537; L2L-GAIL 3569, 3569, 3534; behaviour cloning 3097,
2956, 3541. One seed of both takes 2.1 minutes on two cores of an AMD EPYC server. The figures lie
in ``benchmarks/results/runs``.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from envs import batch_of_episodes, can_be_batched, make_vec, simulation_device
from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.cli import parse, run_main
from l2l_gail.comparison import collect, section_tables
from l2l_gail.core import SGD, Adam, CoordinateMLP, OptimisticAdam
from l2l_gail.demos import Demonstrations, embedded
from l2l_gail.devices import choose_device
from l2l_gail.errors import InputError
from l2l_gail.evaluation import Predict, evaluate_policy_return, random_policy
from l2l_gail.gail import (
    GAIL,
    L2LGAIL,
    DiscriminatorConfig,
    RuleTraining,
    TrainingRun,
    behaviour_cloning,
)
from l2l_gail.gym_env import check_env_id, check_time_limit, make_env, parse_env_kwargs
from l2l_gail.runs import RunFolder, check_seed, find_runs

DESCRIPTION = "Imitate an expert with GAIL and with L2L-GAIL, and compare the two."
EVALUATION_SEEDS = range(50_000, 50_010)  # of the table
RULES = {"adam": Adam, "optimistic_adam": OptimisticAdam, "sgd": SGD}
CURVE_SEEDS = range(40_000, 40_010)  # of the learning curve
COUNTS = (
    "total_timesteps",
    "n_envs",
    "n_steps",
    "batch_size",
    "discriminator_batch_size",
    "updates",
    "eval_every",
    "threads",
)
NOT_SETTINGS = ("method", "total_timesteps", "eval_every", "device", "threads", "out", "resume")


@dataclass(frozen=True)
class Config:
    """Flags of train_gail.py."""

    env: str = "Hopper-v5"
    """Gymnasium id of the environment."""
    env_kwargs: tuple[str, ...] = ()
    """Its keyword arguments, as k=v."""
    demos: str | None = None
    """An .npz file, or the name of an embedded set; the environment's own by default."""
    demo_episodes: int | None = None
    """Use only the first so many episodes of them."""
    method: Literal["gail", "l2l_gail", "both", "no_demos"] = "both"
    """What moves the discriminator; no_demos is the control with a constant reward."""
    total_timesteps: int = 600_000
    """Environment steps of each run."""
    n_envs: int = 64
    """Environments stepped together."""
    n_steps: int = 32
    """Steps of each environment in a rollout."""
    batch_size: int = 256
    """Transitions in a minibatch of PPO."""
    discriminator_batch_size: int = 256
    """Transitions of either side, expert and policy, in a discriminator update."""
    learning_rate: float = 3e-4
    """Adam's learning rate for the discriminator, and where the learned rule starts."""
    penalty_weight: float = 1.0
    """Weight of the gradient penalty."""
    updates: int = 10
    """Discriminator updates after each rollout."""
    update_rule: Literal["adam", "optimistic_adam", "sgd"] = "adam"
    """Hand-designed rule of gail."""
    matched_effort: bool = False
    """Give gail as many updates more as l2l_gail spends on training its rule."""
    learned: Literal["all", "step", "network"] = "all"
    """What l2l_gail learns: the global step, the network on each weight, or both."""
    meta_every: int = 1
    """Train the rule after every n-th discriminator update."""
    reward: Literal["gail", "airl", "fairl", "dail"] = "gail"
    """The policy's reward as a function of the discriminator's logit."""
    warm_start_steps: int = 0
    """Gradient steps of behaviour cloning before the training."""
    eval_every: int = 30_000
    """Environment steps between two measurements of the true return."""
    seed: int = 0
    """Seed of everything."""
    device: str = "cpu"
    """Of simulation and learning: cpu, cuda (not yet tried on one), or auto."""
    threads: int = 1
    """CPU threads of torch; more than 1 slows small networks down. The simulation takes all."""
    out: Path = Path("runs")
    """Root of the runs: <out>/<env>/<method>/seed<k>/."""
    resume: bool = False
    """Go on with the newest run of this seed instead of starting another."""


def main(argv: list[str] | None = None) -> None:
    """Read the demonstrations, train and measure each method, print the table."""
    config = parse(Config, argv, prog="train_gail.py", description=DESCRIPTION)
    torch.set_num_threads(config.threads)
    env_kwargs = parse_env_kwargs(config.env_kwargs)
    check_env_id(config.env)
    demos = Demonstrations.load(config.demos or default_demos(config.env))
    if config.demo_episodes is not None:
        demos = demos.head(config.demo_episodes)
    check(config, demos, env_kwargs)

    folders = {
        method: RunFolder.create(
            config.out, config.env, label(config, method), config.seed, resume=config.resume
        )
        for method in methods(config)
    }
    for folder in folders.values():
        check_resumed(config, folder)

    print(
        f"{config.env}: {demos.n_episodes} demonstrations with a mean return of "
        f"{demos.returns.mean():.0f}, {config.total_timesteps:,} steps a method",
        flush=True,
    )
    references = measure_references(config, demos, env_kwargs)
    runs = []
    for method, folder in folders.items():
        train(config, method, demos, env_kwargs, folder, references)
        runs += find_runs(folder.path)
    for section in collect(runs):
        print("\n" + section_tables(section)[0].as_text())
    print(f"\nIn TensorBoard: make board RUNS={config.out}, or without make")
    print(f"python -m l2l_gail.compare {config.out} --board")


def train(
    config: Config,
    method: str,
    demos: Demonstrations,
    env_kwargs: dict[str, Any],
    folder: RunFolder,
    references: dict[str, float],
) -> None:
    """Train one method in its folder, measure its last policy, write the summary."""
    make_batch = batch_of_episodes(config.env, env_kwargs)
    evaluation = TrueReturnCallback(
        config.env, CURVE_SEEDS, config.eval_every, env_kwargs, make_batch
    )
    env = make_vec(config.env, config.n_envs, config.seed, env_kwargs, device=config.device)
    place = getattr(getattr(env, "tensor_env", None), "place", "the CPU, one by one")
    print(f"{label(config, method)} in {folder.path}, simulated on {place}", flush=True)
    run = TrainingRun(make_model(config, method, env, demos), folder, evaluation)
    if config.resume and folder.checkpoint.exists():
        exact = run.resume()
        episodes = "within the episodes" if exact else "in new episodes"
        print(f"going on at step {run.model.num_timesteps:,} {episodes}")
    else:
        folder.write_config(settings(config))
    if run.model.num_timesteps < config.total_timesteps or not folder.finished:
        run.train(config.total_timesteps, progress_bar=sys.stderr.isatty())
    env.close()
    final = evaluate_policy_return(
        lambda obs: run.model.predict(obs, deterministic=True)[0],
        config.env,
        EVALUATION_SEEDS,
        env_kwargs,
        make_batch,
    )
    folder.write_summary(
        kind="gail",
        method=label(config, method),
        env=config.env,
        seed=config.seed,
        steps=run.model.num_timesteps,
        eval_returns=final.returns,
        eval_lengths=final.lengths,
        eval_seeds=list(EVALUATION_SEEDS),
        **references,
        wall_s=run.wall_s,
        cpu_s=run.cpu_s,
        curve=run.evaluation.curve,
        config=settings(config),
    )


def make_model(config: Config, method: str, env: VecEnv, demos: Demonstrations) -> GAIL:
    """Return the model of one method; the methods differ in nothing else."""
    kwargs: dict[str, Any] = {
        "discriminator": discriminator_config(config, method),
        "warm_start_steps": config.warm_start_steps,
        "n_steps": config.n_steps,
        "batch_size": min(config.batch_size, env.num_envs * config.n_steps),
        "policy_kwargs": {
            "log_std_init": -0.5,
            "optimizer_kwargs": {"fused": True, "eps": 1e-5},  # eps is SB3's own
        },
        "seed": config.seed,
        "device": device(config),
    }
    if method == "l2l_gail":
        kwargs["rule_training"] = RuleTraining(meta_every=config.meta_every)
        return L2LGAIL("MlpPolicy", env, demos, rule=learned_rule(config), **kwargs)
    rule = RULES[config.update_rule](config.learning_rate)
    return GAIL("MlpPolicy", env, demos, rule=rule, **kwargs)


def discriminator_config(config: Config, method: str) -> DiscriminatorConfig:
    """Return the discriminator's settings for one method."""
    more = config.updates // config.meta_every if config.matched_effort and method == "gail" else 0
    return DiscriminatorConfig(
        updates_per_rollout=config.updates + more,
        batch_size=config.discriminator_batch_size,
        penalty_weight=config.penalty_weight,
        reward="constant" if method == "no_demos" else config.reward,
    )


def learned_rule(config: Config) -> CoordinateMLP:
    """Return the learned rule."""
    return CoordinateMLP(
        config.learning_rate,
        learn_network=config.learned != "step",
        learn_step=config.learned != "network",
        seed=config.seed,
    )


def device(config: Config) -> str:
    """Return where to learn: beside the simulation, which only a batch has on a GPU.

    Raises:
        InputError: The device is not there.
    """
    if can_be_batched(config.env):
        return simulation_device(config.device)
    return choose_device("cpu" if config.device == "auto" else config.device)


def methods(config: Config) -> list[str]:
    """Return the methods to train."""
    return ["gail", "l2l_gail"] if config.method == "both" else [config.method]


def label(config: Config, method: str) -> str:
    """Return a method's name in folders and tables: variants are methods of their own."""
    parts = [method]
    if method == "gail":
        parts += ["matched"] * config.matched_effort
        parts += [config.update_rule] * (config.update_rule != "adam")
    if method == "l2l_gail":
        parts += [config.learned] * (config.learned != "all")
    if method != "no_demos":
        parts += [config.reward] * (config.reward != "gail")
    return "_".join(parts)


def settings(config: Config) -> dict[str, Any]:
    """Return what decides a run's result; not where it lies or how long it goes on."""
    return {k: v for k, v in dataclasses.asdict(config).items() if k not in NOT_SETTINGS}


def measure_references(
    config: Config, demos: Demonstrations, env_kwargs: dict[str, Any]
) -> dict[str, float]:
    """Return the true returns of the expert, of behaviour cloning and of random actions."""
    env = make_vec(config.env, 1, config.seed, env_kwargs, device="cpu")
    on_cpu = dataclasses.replace(config, n_steps=2, device="cpu")
    cloned = make_model(on_cpu, "gail", env, demos)
    behaviour_cloning(cloned.policy, demos, seed=config.seed)
    policies: dict[str, Predict] = {
        "bc_return": lambda obs: cloned.predict(obs, deterministic=True)[0]
    }
    references = {"expert_return": float(demos.returns.mean())}
    # What was measured with the demonstrations holds for the environment as it is registered.
    if not env_kwargs and demos.expert_return is not None:
        references["expert_return"] = demos.expert_return
    if not env_kwargs and demos.random_return is not None:
        references["random_return"] = demos.random_return
    else:
        assert isinstance(env.action_space, spaces.Box)
        policies["random_return"] = random_policy(env.action_space, config.seed)
    make_batch = batch_of_episodes(config.env, env_kwargs)
    for name, predict in policies.items():
        played = evaluate_policy_return(
            predict, config.env, EVALUATION_SEEDS, env_kwargs, make_batch
        )
        references[name] = played.mean_return
    env.close()
    return references


def default_demos(env_id: str) -> str:
    """Return the name of the environment's embedded demonstrations.

    Raises:
        InputError: If there are none.
    """
    if env_id in embedded():
        return env_id
    raise InputError(
        f"no demonstrations of {env_id} are embedded (there are: {', '.join(embedded())}); give "
        f"--demos FILE, or record some: python -m l2l_gail.demos record --env {env_id} --out FILE"
    )


def check(config: Config, demos: Demonstrations, env_kwargs: dict[str, Any]) -> None:
    """Refuse what cannot be trained before anything starts.

    Raises:
        InputError: In one line.
    """
    for name in COUNTS:
        if getattr(config, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1")
    check_seed(config.seed)
    if config.warm_start_steps < 0:
        raise InputError("--warm-start-steps must be 0 or more")
    if config.n_envs * config.n_steps < 2:
        raise InputError("a rollout needs at least 2 steps: raise --n-steps or --n-envs")
    device(config)
    if not 0 < config.learning_rate < float("inf"):
        raise InputError(f"learning_rate must be positive and finite, not {config.learning_rate}")
    RuleTraining(meta_every=config.meta_every)
    for method in methods(config):
        discriminator_config(config, method)
    env = make_env(config.env, env_kwargs)
    check_time_limit(env.spec)
    demos.check_env(config.env, env.observation_space, env.action_space)
    env.close()


def check_resumed(config: Config, folder: RunFolder) -> None:
    """Refuse to go on with a run under other settings than it began with.

    Raises:
        InputError: Naming the flags that differ.
    """
    changed = [f"--{name.replace('_', '-')}" for name in folder.changed(settings(config))]
    if changed:
        raise InputError(
            f"{folder.path} was begun with other {', '.join(changed)}: give the same to resume "
            "it, or leave --resume out for a run of its own"
        )


if __name__ == "__main__":
    run_main(main)
