"""GAIL against L2L-GAIL on Hopper-v5: imitate an expert, see what learning to learn changes.

Both methods train PPO on the reward of a discriminator, from the same demonstrations, seeds and
budget. In one the policy is judged by PPO's own advantages, in the other by a mixture of estimates
whose weights are learned while the game is played; ``--learned both`` has it learn the
discriminator's optimizer, too. Ends with a table of true returns. The figures of many runs are in
``docs/results.md``.
"""

from __future__ import annotations

import l2l_gail.startup  # noqa: F401  before anything else is loaded

# isort: split
import dataclasses
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv
from tyro.conf import OmitArgPrefixes

from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.cli import parse, run_main, values_by_flag
from l2l_gail.comparison import collect, section_tables
from l2l_gail.demos import Demonstrations
from l2l_gail.experiment import Plan, Prepared, open_folders, titles
from l2l_gail.finding_runs import find_runs
from l2l_gail.gail import (
    AIRL,
    BC,
    GAIL,
    DiscriminatorConfig,
    MethodFlags,
    TaskFlags,
    TrackingCallback,
    TrainingRun,
    airl_config,
    check_demonstrated,
    measure_references,
    policy_for,
)
from l2l_gail.gail.fit import is_altered
from l2l_gail.going_on import check_nothing_lost
from l2l_gail.jobs import run_jobs, share_cores
from l2l_gail.ppo import PPOConfig
from l2l_gail.progress import Message, Tell
from l2l_gail.run_flags import RunFlags, check_least
from l2l_gail.runs import RunFolder, empty_ones_removed
from l2l_gail.state_distance import StateDistance

if TYPE_CHECKING or not __package__:
    import envs
else:  # in a wheel, where this file is l2l_gail.scripts.train_gail
    from l2l_gail import envs

DESCRIPTION = "Imitate an expert with GAIL and with L2L-GAIL, and compare the two."
EVALUATION_SEEDS = range(50_000, 50_010)  # of the table
CURVE_SEEDS = range(40_000, 40_010)  # of the learning curve
NOT_SETTINGS = ("method", "total_timesteps", "save_every", "probe_every", "workers", "threads")
OF_BC = (
    *("env", "env_kwargs", "demos", "demo_episodes", "demo_every"),
    *("bc_steps", "device", "policy_hidden_sizes"),
)


@dataclass(frozen=True)
class Config:
    """Flags of train_gail.py."""

    method: Literal["gail", "l2l_gail", "both", "airl", "bc", "no_demos"] = "both"
    """What learns; bc is behaviour cloning, no_demos the control with a constant reward."""
    total_timesteps: int = 600_000
    """Environment steps of each run."""
    bc_steps: int = 5000
    """Gradient steps of bc, which takes no environment steps."""
    n_envs: int = 64
    """Environments stepped together."""
    warm_start_steps: int = 0
    """Gradient steps of behaviour cloning before the training."""
    eval_every: int = 30_000
    """Environment steps between two measurements of the true return; of bc a tenth of its steps."""
    save_every: int = 50_000
    """Environment steps between two checkpoints."""
    probe_every: int = 0
    """Rollouts between two measurements of how far the discriminator is from its optimum; 0: none,
    100: about a fiftieth of the time."""
    device: str = "auto"
    """Of simulation and learning: cpu, cuda, cuda:1, ..., or auto: a GPU if there is one and at
    least 64 environments for each core of the CPU, which is faster with fewer."""
    workers: int = 0
    """Runs trained at a time, each in a process; 0: one a core with --seeds on a CPU, else 1."""
    threads: int = 1
    """CPU threads of torch; more than 1 slows small networks down."""
    task: Annotated[TaskFlags, OmitArgPrefixes] = field(default_factory=TaskFlags)
    ppo: Annotated[PPOConfig, OmitArgPrefixes] = field(default_factory=PPOConfig)
    discriminator: Annotated[DiscriminatorConfig, OmitArgPrefixes] = field(
        default_factory=DiscriminatorConfig
    )
    rule: Annotated[MethodFlags, OmitArgPrefixes] = field(default_factory=MethodFlags)
    runs: Annotated[RunFlags, OmitArgPrefixes] = field(default_factory=RunFlags)

    def __post_init__(self) -> None:
        """Refuse numbers of which there are none."""
        names = ("total_timesteps", "bc_steps", "n_envs", "eval_every", "save_every", "threads")
        check_least(1, **{name: getattr(self, name) for name in names})
        may_be_none = ("workers", "warm_start_steps", "probe_every")
        check_least(0, **{name: getattr(self, name) for name in may_be_none})
        self.ppo.sb3_kwargs(self.n_envs)
        if self.method == "airl":
            airl_config(self.discriminator)


@dataclass(frozen=True)
class Job:
    """One run, as its process gets it."""

    config: Config
    plan: Plan
    folder: RunFolder
    demos: Demonstrations
    cores: int | None  # to simulate on; None: as many as are of use


def main(argv: list[str] | None = None) -> None:
    """Read the demonstrations, train and measure each method with each seed, print the table."""
    config = read_flags(argv)
    prepared = prepare(config)
    plans = prepared.plans
    folders = open_folders(config.runs, prepared.group, plans)
    one = len(config.runs.all_seeds) == 1 or plans[0].settings["device"] != "cpu"
    workers, cores = share_cores(len(plans), config.workers or int(one))
    jobs = {
        title: prepared.job(plan, folder, cores if workers > 1 else 0)
        for title, plan, folder in zip(titles(plans), plans, folders, strict=True)
    }
    demos: Demonstrations = next(iter(jobs.values())).demos
    expert = f"{demos.n_episodes} demonstrations"
    if demos.rews is not None:
        expert += f" with a mean return of {demos.returns.mean():.0f}"
    length = length_of(config, plans[0].method)
    seeds = config.runs.seeds_in_words
    print(f"{config.task.env}: {expert}, {length:,} steps a run, {seeds}", flush=True)
    if idle := without_use(config, plans):
        methods = " and ".join(dict.fromkeys(plan.method for plan in plans))
        print(f"without use in {methods}: {', '.join(idle)}", file=sys.stderr, flush=True)
    with empty_ones_removed(folders):
        run_jobs(train, jobs, workers=workers, threads=config.threads)
    for section in collect([run for folder in folders for run in find_runs(folder.path)]):
        print("\n" + section_tables(section)[0].as_text())
    print(config.runs.where_to_look)


def read_flags(argv: Sequence[str] | None) -> Config:
    """Return the configuration of a command line; the process's own if ``None``."""
    return parse(Config, argv, prog="train_gail.py", description=DESCRIPTION)


def prepare(config: Config) -> Prepared:
    """Read and check what the runs of a configuration need; make nothing yet."""
    methods = ["gail", "l2l_gail"] if config.method == "both" else [config.method]
    demos = config.task.load()
    if config.method == "bc":
        demos.needed("acts", "behaviour cloning")
    else:
        check_demonstrated(demos, config.discriminator.judges, config.warm_start_steps)
    if config.method == "airl":
        demos.needed("next_obs", "AIRL")
    plans = [plan_of(config, m, seed, demos) for seed in config.runs.all_seeds for m in methods]

    def job(plan: Plan, folder: RunFolder, cores: int) -> Job:
        return Job(config, plan, folder, demos, cores or None)

    return Prepared(config.task.env, plans, job)


def without_use(config: Config, plans: Sequence[Plan]) -> list[str]:
    """Return the flags that were given and change nothing in any of the runs."""
    usual, given = values_by_flag(Config()), values_by_flag(config)
    of_use = {*NOT_SETTINGS, *values_by_flag(RunFlags())}
    if config.method == "bc":
        of_use.remove("total_timesteps")
    idle = set.intersection(*(set(plan.unused) for plan in plans)) - of_use
    if config.rule.matched_effort and "matched_effort" not in idle:
        idle -= {"learned"}  # it says that there is a rule whose effort is to be matched
    changed = [key for key in given if given[key] != usual[key]]
    return [f"--{key.replace('_', '-')}" for key in changed if key in idle]


def train(job: Job, tell: Tell) -> None:
    """Train one method with one seed in its folder, measure its policy, write the summary."""
    config, plan, folder, task = job.config, job.plan, job.folder, job.config.task
    torch.set_num_threads(config.threads)
    make = partial(envs.make_vec, task.env, config.n_envs, plan.seed, task.kwargs)
    with (
        folder.owned(new=not config.runs.resume),
        closing(make(device=config.device, num_threads=job.cores)) as env,
    ):
        length = length_of(config, plan.method)
        evaluation = true_return(config, job.demos)
        probes = [TrackingCallback(config.probe_every)] if config.probe_every else []
        model: GAIL | BC
        if plan.method == "bc":
            model, probes = make_bc(config, plan.seed, env, job.demos), []
            evaluation.every = max(1, length // 10)
        else:
            model = make_model(config, plan.method, plan.seed, env, job.demos)
        run = TrainingRun(model, folder, evaluation, probes=probes)
        place = getattr(getattr(env, "tensor_env", None), "place", "the CPU, one by one")
        tell(Message("line", f"in {folder.path}, simulated on {place}"))
        came = "gradient_steps" if plan.method == "bc" else "steps"
        if config.runs.resume and folder.only_result_left(came, length):
            return tell(Message("line", "is finished already"))
        if config.runs.resume and folder.has_checkpoint:
            episodes = "within the episodes" if run.resume() else "in new episodes"
            tell(Message("line", f"goes on at step {model.num_timesteps:,} {episodes}"))
        else:
            if config.runs.resume:
                check_nothing_lost(folder, config.save_every + run.rollout, tell)
            folder.write_config(plan.record)
        if folder.finished and model.num_timesteps >= length:
            return tell(Message("line", "is finished already"))
        run.train(length, save_every=config.save_every, tell=tell)
        folder.write_summary(
            kind="gail",
            method=plan.label,
            env=task.env,
            seed=plan.seed,
            **run.summary(EVALUATION_SEEDS, references(config, plan.seed, job.demos)),
            config=plan.record,
        )


def make_model(config: Config, method: str, seed: int, env: VecEnv, demos: Demonstrations) -> GAIL:
    """Return the model of one method; the methods differ in nothing else."""
    algorithm = AIRL if method == "airl" else GAIL
    return algorithm(
        policy_for(env.observation_space),
        env,
        demos,
        **config.rule.gail_kwargs(method, seed, config.discriminator),
        **config.ppo.sb3_kwargs(config.n_envs),
        warm_start_steps=config.warm_start_steps,
        seed=seed,
        device=envs.learning_device(config.task.env, config.device, config.n_envs),
    )


def make_bc(config: Config, seed: int, env: VecEnv, demos: Demonstrations) -> BC:
    """Return behaviour cloning of the policy that the other methods train."""
    policy_kwargs = config.ppo.sb3_kwargs(config.n_envs)["policy_kwargs"]
    device = envs.learning_device(config.task.env, config.device, config.n_envs)
    policy = policy_for(env.observation_space)
    return BC(policy, env, demos, policy_kwargs=policy_kwargs, seed=seed, device=device)


def length_of(config: Config, method: str) -> int:
    """Return how long a run is: environment steps, of behaviour cloning gradient steps."""
    return config.bc_steps if method == "bc" else config.total_timesteps


@cache  # for the methods of one seed in one process
def references(config: Config, seed: int, demos: Demonstrations) -> dict[str, float]:
    """Return the true returns of the expert, of behaviour cloning and of random actions."""
    config = dataclasses.replace(config, device="cpu")
    kwargs = config.task.kwargs
    with closing(envs.make_vec(config.task.env, config.n_envs, seed, kwargs, device="cpu")) as env:
        model = make_model(config, "gail", seed, env, demos)
        altered = is_altered(demos, env, kwargs)
    play = partial(true_return(config, demos).evaluate, seeds=EVALUATION_SEEDS)
    return measure_references(model, demos, play, altered=altered)


def true_return(config: Config, demos: Demonstrations) -> TrueReturnCallback:
    """Return what plays episodes for their true return, and makes the learning curve of them."""
    env, kwargs = config.task.env, config.task.kwargs
    make_batch = envs.batch_of_episodes(env, kwargs)
    distance = None  # of pictures, classes and dicts there is none
    if isinstance(demos.obs, np.ndarray) and demos.obs.ndim == 2 and demos.obs.dtype.kind == "f":
        distance = StateDistance(demos.obs)
    return TrueReturnCallback(env, CURVE_SEEDS, config.eval_every, kwargs, make_batch, distance)


def plan_of(config: Config, method: str, seed: int, demos: Demonstrations) -> Plan:
    """Return what decides a run's result; not where it lies or how long it goes on."""
    config.rule.check(method)
    usual = Config(task=TaskFlags(env=config.task.env))
    place = envs.learning_device(config.task.env, config.device, config.n_envs).partition(":")[0]
    settings = values_by_flag(config) | config.task.settings(demos) | {"device": place}
    unused = {*NOT_SETTINGS, *config.rule.unused(method), "bc_steps"}
    if method == "bc":
        unused = {name for name in settings if name.partition(".")[0] not in OF_BC}
    return Plan(
        method,
        seed,
        settings,
        values_by_flag(usual) | usual.task.settings(demos) | {"device": "cpu"},  # as it was found
        name=config.runs.name,
        unused=unused,
        before={"policy_pace": 0.0, "policy_divergence": 0.0, "policy_average": 0.0},
    )


if __name__ == "__main__":
    run_main(main)
