"""The command that makes demonstrations: train an expert or take a policy, measure, record.

Four sets of seeds keep the figures honest, and all are stated in the provenance file: training,
choosing the checkpoint, measuring the policy, and recording.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gymnasium.spaces import Box, Space

from l2l_gail.cli import parse
from l2l_gail.demos.arguments import bare_id
from l2l_gail.demos.demonstrations import Demonstrations
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.evaluation import Evaluation, evaluate_policy_return, random_policy
from l2l_gail.files import atomic_write, home_expanded
from l2l_gail.gail.saving import named_model
from l2l_gail.gym_env import check_time_limit, make_env, parse_env_kwargs, try_arguments
from l2l_gail.policies import Predict
from l2l_gail.recording.expert import Expert, recipe_for, train_expert
from l2l_gail.recording.model_file import policy_of_model
from l2l_gail.recording.record_files import RecordFiles
from l2l_gail.recording.scripted import scripted_policy
from l2l_gail.recording.trusted import Algorithm
from l2l_gail.runs import check_seed, versions
from l2l_gail.stopping import Interrupted
from l2l_gail.text_table import format_table

__all__ = ["RecordConfig", "main", "record"]

SELECTION_SEEDS = range(20_000, 20_020)
MEASUREMENT_SEEDS = range(30_000, 30_050)


@dataclass(frozen=True)
class RecordConfig:
    """What to record, and of which policy.

    Raises:
        InputError: Numbers that mean nothing, or options that do not go together.
    """

    env: str = "Hopper-v5"
    """id of a Gymnasium environment; an expert is trained where observations are a flat Box and
    actions a flat Box or Discrete"""
    out: Path | None = None
    """file to write (default: <env>.npz); <name>.json and, where the policy is a plain network,
    <name>.policy.npz go beside it; nothing is overwritten"""
    episodes: int = 4
    """consecutive episodes to record, none left out"""
    seed: int = 0
    """seed of the expert's training"""
    episode_seed: int = 10_000
    """reset seed of the first recorded episode; the next has the next one"""
    total_timesteps: int = 1_000_000
    """environment steps of the expert's training"""
    resume: bool = False
    """go on with the training that Ctrl-C or SIGTERM ended; it lies in <name>.partial.pt"""
    policy: str | None = None
    """record this function instead of training one: module:function, from one observation to one
    action"""
    model: Path | None = None
    """record this policy instead of training one: a .zip of this library or of Stable-Baselines3, a
    .policy.npz, or a .partial.pt, whose best policy so far is taken"""
    algo: Algorithm = "auto"
    """class that loads the model, with --trust-pickle only"""
    trust_pickle: bool = False
    """let pickle load the model (and --vecnormalize): runs code stored in these files, so only for
    files you trust; without it a model is rebuilt from its plain fields"""
    vecnormalize: Path | None = None
    """statistics that VecNormalize.save() wrote for the model; needs --trust-pickle"""
    env_kwargs: tuple[str, ...] = ()
    """arguments of the environment, each name=value"""
    format: Literal["npz"] = "npz"
    """format of the file"""
    compact: bool = False
    """leave out the observations after each action, which the next step holds again: half the size,
    but version 0.1.0 cannot read it"""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing, and options that do not go together."""
        if self.episodes < 1:
            raise InputError(f"--episodes is {self.episodes}: record at least one")
        if self.total_timesteps < 1:
            raise InputError(f"--total-timesteps is {self.total_timesteps}: give at least one")
        check_seed(self.seed)
        if self.episode_seed < 0:
            raise InputError(
                f"--episode-seed is {self.episode_seed}: give 0 or a positive whole number"
            )
        if self.vecnormalize is not None and not self.trust_pickle:
            raise InputError(
                f"{self.vecnormalize} is a pickle; --trust-pickle lets it be loaded, which runs "
                "code stored in the file: only for files you trust"
            )
        if self.policy is not None and self.model is not None:
            raise InputError("--policy and --model are two policies: give one of them")
        if self.resume and (self.policy is not None or self.model is not None):
            raise InputError("--resume goes on with a training: leave out --model and --policy")
        if self.model is None and (self.trust_pickle or self.vecnormalize or self.algo != "auto"):
            raise InputError("--algo, --trust-pickle and --vecnormalize go with --model")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, record, and print what was recorded.

    Args:
        argv: Arguments without the program's name; the process's own if None.

    Raises:
        InputError: Wrong input, found before any training starts.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    config = parse(
        RecordConfig,
        args,
        prog="python -m l2l_gail.demos record",
        description="Train an expert, or take a policy, and record its episodes.",
    )
    command = shlex.join(["python", "-m", "l2l_gail.demos", "record", *args])
    record(config, command=command)


def record(config: RecordConfig, *, command: str) -> Demonstrations:
    """Train or load the policy, measure it, record it, and write the files.

    Args:
        config: What to record.
        command: The command line, for the provenance file.

    Returns:
        The demonstrations that were written.

    Raises:
        InputError: Wrong input, found before any training starts.
    """
    if config.model is not None:
        config = dataclasses.replace(config, model=named_model(config.model))
    out = home_expanded(config.out or f"{bare_id(config.env).replace('/', '-')}.npz")
    env_kwargs = parse_env_kwargs(config.env_kwargs)
    env = make_env(config.env, env_kwargs)
    check_time_limit(env.spec)
    env.close()
    try_arguments(config.env, env_kwargs)
    files = RecordFiles(out)
    trains = config.model is None and config.policy is None
    with files.alone(trains=trains, resume=config.resume):
        return _record(config, files, env_kwargs, env.observation_space, env.action_space, command)


def _record(
    config: RecordConfig,
    files: RecordFiles,
    env_kwargs: dict[str, Any],
    observation_space: Space,
    action_space: Space,
    command: str,
) -> Demonstrations:
    started = time.perf_counter()
    predict, expert = _policy(config, env_kwargs, observation_space, action_space, files.partial)
    trained = expert is not None
    with _kept_training(files.partial) if trained else contextlib.nullcontext():
        measured, chance = _measure(predict, config.env, action_space, env_kwargs)
        seeds = range(config.episode_seed, config.episode_seed + config.episodes)
        demos = record_episodes(
            predict,
            config.env,
            seeds,
            env_kwargs,
            random_return=chance.mean_return,
            expert_return=measured.mean_return,
        )
        with files.all_or_none() if trained else contextlib.nullcontext():
            demos.save(files.demos, compact=config.compact)
            if isinstance(predict, MlpPolicy):
                predict.save(files.policy)
            provenance = {
                "command": command,
                "env": config.env,
                "env_kwargs": env_kwargs,
                "policy": _describe_policy(config, expert),
                "expert": _describe_evaluation(measured),
                "random": _describe_evaluation(chance),
                "measurement_seeds": _describe_seeds(MEASUREMENT_SEEDS),
                "episodes": _describe_episodes(demos, seeds, action_space),
                "sha256": hashlib.sha256(files.demos.read_bytes()).hexdigest(),
                "wall_s": round(time.perf_counter() - started, 1),
                "versions": versions(),
            }
            atomic_write(files.provenance, json.dumps(provenance, indent=2, default=str) + "\n")
    if trained:
        files.partial.unlink(missing_ok=True)
    _print_summary(files, demos, measured, chance)
    return demos


def _measure(
    predict: Predict, env_id: str, action_space: Space, env_kwargs: dict[str, Any]
) -> tuple[Evaluation, Evaluation]:
    """Evaluate the policy and random actions, and warn where the one is no better."""
    measured = evaluate_policy_return(predict, env_id, MEASUREMENT_SEEDS, env_kwargs)
    random = random_policy(action_space, seed=0)
    chance = evaluate_policy_return(random, env_id, MEASUREMENT_SEEDS, env_kwargs)
    if measured.mean_return <= chance.mean_return:
        warnings.warn(
            f"the policy's mean return, {measured.mean_return:.1f}, is no better than that of "
            f"random actions, {chance.mean_return:.1f}: is it of this environment, and does it "
            "need --vecnormalize?",
            stacklevel=3,
        )
    return measured, chance


def _describe_episodes(demos: Demonstrations, seeds: range, action_space: Space) -> dict[str, Any]:
    clipped = ", clipped to the action space" if isinstance(action_space, Box) else ""
    return {
        "reset_seeds": list(seeds),
        "returns": [round(float(value), 3) for value in demos.returns],
        "lengths": demos.episode_lengths.tolist(),
        "actions": f"deterministic{clipped}",
        "left_out": 0,
    }


def _print_summary(
    files: RecordFiles, demos: Demonstrations, measured: Evaluation, chance: Evaluation
) -> None:
    recorded = Evaluation(demos.returns, demos.episode_lengths)
    rows = [
        _row(f"expert, {len(MEASUREMENT_SEEDS)} fresh episodes", measured),
        _row(f"random, {len(MEASUREMENT_SEEDS)} episodes", chance),
        _row(f"recorded, {demos.n_episodes} episodes", recorded),
    ]
    print(format_table(("policy", "return", "std", "min", "steps"), rows))
    size = files.demos.stat().st_size / 1e6
    print(f"\nwrote {files.demos} ({size:.2f} MB) and {files.provenance}")


def _policy(
    config: RecordConfig,
    env_kwargs: dict[str, Any],
    observation_space: Space,
    action_space: Space,
    partial: Path,
) -> tuple[Predict, Expert | None]:
    """The policy to record; with how it was trained, if it was trained here."""
    if config.policy is not None:
        return scripted_policy(config.policy, action_space), None
    if config.model is None:
        return _train(config, env_kwargs, partial)
    predict = policy_of_model(
        config.model,
        config.env,
        observation_space,
        action_space,
        algo=config.algo,
        trust_pickle=config.trust_pickle,
        vecnormalize=config.vecnormalize,
    )
    return predict, None


def _train(
    config: RecordConfig, env_kwargs: dict[str, Any], partial: Path
) -> tuple[MlpPolicy, Expert]:
    with _kept_training(partial):
        expert = train_expert(
            config.env,
            total_timesteps=config.total_timesteps,
            seed=config.seed,
            selection_seeds=SELECTION_SEEDS,
            env_kwargs=env_kwargs,
            partial=partial,
            resume=config.resume,
        )
    return expert.policy, expert


@contextlib.contextmanager
def _kept_training(partial: Path) -> Iterator[None]:
    """Say, where what is inside is interrupted, where an expert's training is kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not os.path.exists(partial):  # ended at once, before the first checkpoint
            raise
        print(
            f"the training is kept in {partial}; to record its best policy so far, give it as "
            "--model, with another --out",
            file=sys.stderr,
        )
        raise Interrupted(Interrupted.of(error).number, resumable=True) from None


def _describe_policy(config: RecordConfig, expert: Expert | None) -> dict[str, Any]:
    if config.policy is not None:
        return {"function": config.policy}
    if expert is None:
        return {"model": config.model.name if config.model else None}
    return {
        "algorithm": "PPO (Stable-Baselines3), observations and rewards normalised",
        "recipe": dataclasses.asdict(recipe_for(config.env)),
        "total_timesteps": config.total_timesteps,
        "seed": config.seed,
        "selection_seeds": _describe_seeds(SELECTION_SEEDS),
        "checkpoint": dataclasses.asdict(expert.best),
        "checkpoints": [[point.steps, round(point.mean_return, 1)] for point in expert.checkpoints],
    }


def _describe_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "episodes": len(evaluation.returns),
        "mean_return": evaluation.mean_return,
        "std_return": evaluation.std_return,
        "min_return": float(evaluation.returns.min()),
        "mean_length": evaluation.mean_length,
    }


def _describe_seeds(seeds: range) -> str:
    return f"{seeds.start} to {seeds.stop - 1}"


def _row(name: str, evaluation: Evaluation) -> tuple[str, ...]:
    return (
        name,
        f"{evaluation.mean_return:.1f}",
        f"{evaluation.std_return:.1f}",
        f"{evaluation.returns.min():.1f}",
        f"{evaluation.mean_length:.0f}",
    )
