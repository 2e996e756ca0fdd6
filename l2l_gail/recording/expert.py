"""Training an expert: PPO with a recipe that fits the MuJoCo tasks.

A recipe is PPO (Schulman et al. 2017, arXiv 1707.06347) on normalised observations and rewards,
with short rollouts of many environments, small minibatches and a learning rate that falls to zero.
The last policy can be half as good as an earlier one, so checkpoints are scored along the way on
seeds of their own, and the best one is kept; what it is worth is then measured on other seeds, by
the caller.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecNormalize
from tqdm import tqdm

from l2l_gail.demos.arguments import bare_id
from l2l_gail.demos.policy_file import STD_FLOOR, MlpPolicy
from l2l_gail.demos.sb3_file import linear_layers
from l2l_gail.errors import InputError
from l2l_gail.evaluation import evaluate_policy_return
from l2l_gail.gail.units import about_noise, about_offsets
from l2l_gail.gym_env import check_time_limit, make_env
from l2l_gail.ppo import TensorPPO
from l2l_gail.recording.normalization import NormalizedVecEnv, variance_floor
from l2l_gail.recording.partial import PartialExpert
from l2l_gail.stopping import Interrupted, Stop, signals_deferred

__all__ = [
    "Checkpoint",
    "Expert",
    "ExpertRecipe",
    "make_expert_model",
    "plain_policy",
    "recipe_for",
    "train_expert",
]

_STEPS_LOOKED_AT = 200  # random ones, before a training


@dataclass(frozen=True)
class ExpertRecipe:
    """PPO's settings; the defaults suit Hopper.

    Attributes:
        n_envs: Environments stepped together.
        n_steps: Steps of each environment per rollout.
        batch_size: Minibatch, in steps.
        n_epochs: Passes over a rollout.
        learning_rate: Adam's, at the start; it falls linearly to 0.
        gamma: Discount factor per step, of the reward normalisation too.
        gae_lambda: Trace of the advantage estimate.
        clip_range: Trust region on the probability ratio.
        log_std_init: Logarithm of the initial action noise.
        hidden: Widths of the tanh layers, of policy and value each.
    """

    n_envs: int = 16
    n_steps: int = 128
    batch_size: int = 128
    n_epochs: int = 10
    learning_rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    log_std_init: float = 0.0
    hidden: tuple[int, ...] = (64, 64)


_FAST = ExpertRecipe(n_envs=64, n_steps=32, batch_size=256, learning_rate=1e-3, log_std_init=-0.5)

_RECIPES = {
    "Ant": ExpertRecipe(n_envs=32, batch_size=256, learning_rate=2e-4, log_std_init=-1.5),
    "HalfCheetah": dataclasses.replace(_FAST, gamma=0.98),
    "Walker2d": _FAST,
}


def recipe_for(env_id: str) -> ExpertRecipe:
    """The recipe of a task, whatever its version; the default one where none has been chosen."""
    name = bare_id(env_id).partition("-v")[0]
    return _RECIPES.get(name, ExpertRecipe())


@dataclass(frozen=True)
class Checkpoint:
    """A policy on the way: environment steps so far, and mean return on the selection seeds."""

    steps: int
    mean_return: float


@dataclass(frozen=True)
class Expert:
    """A trained expert.

    Attributes:
        policy: The best checkpoint's policy, deterministic, raw observations in.
        best: That checkpoint.
        checkpoints: All of them, in order; the last is the policy at the end.
    """

    policy: MlpPolicy
    best: Checkpoint
    checkpoints: tuple[Checkpoint, ...] = field(repr=False)


def train_expert(
    env_id: str,
    *,
    total_timesteps: int,
    seed: int,
    selection_seeds: Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    recipe: ExpertRecipe | None = None,
    n_checkpoints: int = 20,
    partial: Path | None = None,
    resume: bool = False,
) -> Expert:
    """Train PPO and keep the checkpoint with the highest mean return on the selection seeds.

    Torch runs on one thread meanwhile: more of them slow networks of this size down. A progress bar
    with the time left is shown where stderr is a terminal.

    Args:
        env_id: Environment to train in.
        total_timesteps: Budget in environment steps, rounded up to whole rollouts.
        seed: Seed of networks, environments and sampling.
        selection_seeds: Reset seeds of the episodes that choose the checkpoint.
        env_kwargs: Keyword arguments of the environment.
        recipe: PPO's settings; those of :func:`recipe_for` if None.
        n_checkpoints: Checkpoints over the whole training, at most one per rollout.
        partial: File that keeps the training at each checkpoint and on Ctrl-C or SIGTERM, which
            then end it after the rollout; by default nothing is kept. It stays: who has the
            expert removes it.
        resume: Go on with the training in that file, in new episodes.

    Returns:
        The best policy and the scores of all checkpoints.

    Raises:
        InputError: The environment cannot be made, has no time limit, or other spaces than a plain
            network is for; there is nothing to go on with, or it is of another training.
        Interrupted: After Ctrl-C or SIGTERM.
    """
    env = make_env(env_id, env_kwargs)  # its one-line errors, before any work
    check_time_limit(env.spec)
    env.close()
    _check_spaces(env_id, env.observation_space, env.action_space)
    recipe = recipe or recipe_for(env_id)
    kept = None
    if partial is not None:
        settings = {"env": env_id, "env_kwargs": dict(env_kwargs or {}), "seed": seed,
                    "total_timesteps": total_timesteps, "recipe": asdict(recipe)}  # fmt: skip
        kept = PartialExpert(partial, json.loads(json.dumps(settings, default=str)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model, venv = make_expert_model(env_id, recipe, seed, env_kwargs)
        _warn_of_units(env_id, env_kwargs, model.policy)
        selection = _Selection(venv, env_id, selection_seeds, env_kwargs, n_checkpoints, kept)
        if kept is not None and resume:
            selection.resume(model)
        done = model.num_timesteps
        with signals_deferred() if kept is not None else nullcontext(lambda: 0) as stop:
            selection.stop = stop
            if done < total_timesteps:
                model.learn(total_timesteps - done, selection, reset_num_timesteps=done == 0)
            selection.end_if_asked()
            selection.finish()
            selection.end_if_asked()
        venv.close()
    finally:
        torch.set_num_threads(threads)
    return Expert(selection.policy, selection.best, tuple(selection.checkpoints))


def _check_spaces(env_id: str, observation_space: Space, action_space: Space) -> None:
    flat = isinstance(observation_space, Box) and len(observation_space.shape) == 1
    plain = isinstance(action_space, Box) and len(action_space.shape) == 1
    if not flat or not (plain or isinstance(action_space, Discrete)):
        raise InputError(
            f"the expert that is trained here needs a one-dimensional Box of observations and a "
            f"one-dimensional Box or Discrete of actions, {env_id} has {observation_space} and "
            f"{action_space}: train one with stable-baselines3 and give it with --model"
        )


def _warn_of_units(env_id: str, env_kwargs: Mapping[str, Any] | None, policy: BasePolicy) -> None:
    """Warn of observations, in random steps, and actions that no training here can do with."""
    env = make_env(env_id, env_kwargs)
    env.action_space.seed(0)
    steps = [np.ravel(env.reset(seed=0)[0])]
    for _ in range(_STEPS_LOOKED_AT):
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        steps.append(np.ravel(env.reset()[0] if terminated or truncated else obs))
    env.close()
    seen = np.array(steps, dtype=np.float64)
    for text in (*about_offsets(seen.mean(0), seen.std(0)), *about_noise(policy)):
        warnings.warn(text, stacklevel=3)


def make_expert_model(
    env_id: str,
    recipe: ExpertRecipe,
    seed: int,
    env_kwargs: Mapping[str, Any] | None = None,
) -> tuple[TensorPPO, VecNormalize]:
    """An untrained PPO with the recipe's settings, on the CPU, and its environments.

    Args:
        env_id: Environment to train in.
        recipe: PPO's settings.
        seed: Seed of networks, environments and sampling.
        env_kwargs: Keyword arguments of the environment.
    """
    kwargs = dict(env_kwargs) if env_kwargs else None
    venv = NormalizedVecEnv(
        make_vec_env(env_id, recipe.n_envs, seed=seed, env_kwargs=kwargs), gamma=recipe.gamma
    )
    model = TensorPPO(
        "MlpPolicy",
        venv,
        learning_rate=lambda remaining: recipe.learning_rate * remaining,
        n_steps=recipe.n_steps,
        batch_size=recipe.batch_size,
        n_epochs=recipe.n_epochs,
        gamma=recipe.gamma,
        gae_lambda=recipe.gae_lambda,
        clip_range=recipe.clip_range,
        policy_kwargs={"net_arch": list(recipe.hidden), "log_std_init": recipe.log_std_init},
        seed=seed,
        device="cpu",
    )
    return model, venv


def plain_policy(model: TensorPPO, venv: VecNormalize) -> MlpPolicy:
    """The model's mean action with the environment's observation normalisation, as arrays."""
    state = model.policy.state_dict()
    weights, biases = linear_layers(state, hidden="mlp_extractor.policy_net", out="action_net")
    statistics: Any = venv.obs_rms  # one RunningMeanStd, since observations are flat
    return MlpPolicy(
        obs_mean=statistics.mean.copy(),
        obs_std=np.sqrt(statistics.var + variance_floor(statistics.var)) - STD_FLOOR,
        weights=weights,
        biases=biases,
        obs_clip=venv.clip_obs,
        classes=isinstance(model.action_space, Discrete),
    )


class _Selection(BaseCallback):
    """Scores the policy between rollouts, and keeps the best one; drives the progress bar."""

    policy: MlpPolicy
    best: Checkpoint
    _bar: tqdm | None = None

    def __init__(
        self,
        venv: VecNormalize,
        env_id: str,
        seeds: Sequence[int],
        env_kwargs: Mapping[str, Any] | None,
        n_checkpoints: int,
        kept: PartialExpert | None,
    ) -> None:
        super().__init__()
        self.venv = venv
        self.env_id = env_id
        self.seeds = seeds
        self.env_kwargs = env_kwargs
        self.n_checkpoints = n_checkpoints
        self.kept = kept
        self.stop: Stop = lambda: 0
        self.checkpoints: list[Checkpoint] = []
        self._scored_at = 0

    def resume(self, model: TensorPPO) -> None:
        """Bring a fresh model, and what was measured, to where the kept training was."""
        assert self.kept is not None
        self.policy, scored = self.kept.restore(model, self.venv)
        self.checkpoints = [Checkpoint(*point) for point in scored]
        self.best = max(self.checkpoints, key=lambda point: point.mean_return)
        self._scored_at = self.checkpoints[-1].steps
        self.model = model

    def _on_training_start(self) -> None:
        self._total = int(self.locals["total_timesteps"])
        # disable=None: silent where stderr is no terminal
        self._bar = tqdm(
            total=self._total,
            initial=self.num_timesteps,
            unit="step",
            desc=f"{self.env_id} expert",
            disable=None,
        )

    def _on_rollout_start(self) -> None:
        if self.num_timesteps - self._scored_at >= self._total / self.n_checkpoints:
            self.score()
            self._keep()
        self.end_if_asked()

    def finish(self) -> None:
        """Score the policy at the end and keep all: to measure and record it takes time, too."""
        assert isinstance(self.model, TensorPPO)
        if self._scored_at < self.model.num_timesteps:  # else it was kept from here on
            self.score()
        self._keep()

    def end_if_asked(self) -> None:
        """End the training on a signal, with all of it kept."""
        if self.stop():
            if not self.checkpoints:
                self.score()
            self._keep()
            self._on_training_end()
            raise Interrupted(self.stop(), resumable=True)

    def _keep(self) -> None:
        if self.kept is not None:
            assert isinstance(self.model, TensorPPO)
            scored = [(point.steps, point.mean_return) for point in self.checkpoints]
            self.kept.save(self.model, self.venv, self.policy, scored)

    def _on_step(self) -> bool:
        assert self._bar is not None
        self._bar.update(self.training_env.num_envs)
        return True

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def score(self) -> None:
        """Measure the current policy, and keep it if it is the best so far."""
        assert isinstance(self.model, TensorPPO)
        policy = plain_policy(self.model, self.venv)
        result = evaluate_policy_return(policy, self.env_id, self.seeds, self.env_kwargs)
        checkpoint = Checkpoint(self.model.num_timesteps, result.mean_return)
        if not self.checkpoints or checkpoint.mean_return > self.best.mean_return:
            self.policy, self.best = policy, checkpoint
        self.checkpoints.append(checkpoint)
        self._scored_at = checkpoint.steps
        if self._bar is not None:
            self._bar.set_postfix_str(f"return {checkpoint.mean_return:.0f}")
