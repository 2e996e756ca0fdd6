"""The true return of a policy, measured in plain Gymnasium environments.

A learned reward says nothing about the task, so every figure that this project reports comes from
here: one episode per seed, in an environment without wrappers of the training, the environment's
own reward summed without discount.  Batched environments that equal Gymnasium's may play the
episodes instead, for speed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.gym_env import make_env

__all__ = [
    "BatchOfEpisodes",
    "Evaluation",
    "MakeBatch",
    "Predict",
    "evaluate_policy_return",
    "random_policy",
]

Predict = Callable[[np.ndarray], np.ndarray]
"""A policy: raw observations ``(n, obs_dim)`` to actions ``(n, act_dim)``."""


class BatchOfEpisodes(Protocol):
    """Environments that step together; those of ``envs.make`` are such a batch."""

    single_action_space: Box

    def reset(self, seed: Sequence[int | None]) -> tuple[Tensor, dict[str, Tensor]]:
        """Begin an episode of each seed; observations ``(n, obs_dim)``."""
        ...

    def step(self, actions: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Step all, and restart those that end; infos hold totals of the ended episodes."""
        ...

    def close(self) -> None:
        """Give memory and threads back."""
        ...


MakeBatch = Callable[[str, int, Mapping[str, Any]], BatchOfEpisodes]
"""Makes a number of environments of one id, with keyword arguments of ``gymnasium.make``."""


@dataclass(frozen=True)
class Evaluation:
    """Episodes played by one policy, in the order of their seeds.

    Attributes:
        returns: Undiscounted sums of the environment's reward, ``(n,)`` float64.
        lengths: Steps of each episode, ``(n,)`` int64.
    """

    returns: np.ndarray
    lengths: np.ndarray

    @property
    def mean_return(self) -> float:
        """Mean of the returns."""
        return float(self.returns.mean())

    @property
    def std_return(self) -> float:
        """Population standard deviation of the returns (over episodes, not over training seeds)."""
        return float(self.returns.std())

    @property
    def mean_length(self) -> float:
        """Mean episode length in environment steps."""
        return float(self.lengths.mean())


def evaluate_policy_return(
    predict: Predict,
    env_id: str,
    seeds: Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    make_batch: MakeBatch | None = None,
) -> Evaluation:
    """Play one episode per seed and return their true returns and lengths.

    The episodes run in lockstep, with one batched ``predict`` per step on those still running,
    which costs a small network about as much as a single observation. The result equals playing
    the seeds one at a time, if ``predict`` treats its rows independently.

    Args:
        predict: Raw observations ``(n, obs_dim)`` to actions ``(n, act_dim)``, any float dtype.
            Actions are clipped to the action space before they are applied.
        env_id: Environment to play in.
        seeds: One reset seed per episode.
        env_kwargs: Keyword arguments of the environment.
        make_batch: Makes the environments as one batch; by default they are Gymnasium's, one each.

    Returns:
        Returns and lengths in the order of ``seeds``.

    Raises:
        InputError: No seeds, or the environment cannot be made.
    """
    if len(seeds) == 0:
        raise InputError("an evaluation needs at least one seed")
    if make_batch is not None:
        batch = make_batch(env_id, len(seeds), dict(env_kwargs or {}))
        try:
            return _play_in_batch(predict, batch, seeds)
        finally:
            batch.close()
    envs = [make_env(env_id, env_kwargs) for _ in seeds]
    try:
        return _play_in_lockstep(predict, envs, seeds)
    finally:
        for env in envs:
            env.close()


def _play_in_lockstep(
    predict: Predict, envs: list[gymnasium.Env], seeds: Sequence[int]
) -> Evaluation:
    space = envs[0].action_space
    assert isinstance(space, Box)  # make_env has checked; this tells the type checker
    returns = np.zeros(len(envs))
    lengths = np.zeros(len(envs), dtype=np.int64)
    obs = [env.reset(seed=int(seed))[0] for env, seed in zip(envs, seeds, strict=True)]
    running = list(range(len(envs)))
    while running:
        actions = np.clip(predict(np.stack([obs[i] for i in running])), space.low, space.high)
        still_running = []
        for i, action in zip(running, actions.astype(space.dtype), strict=True):
            obs[i], reward, terminated, truncated, _ = envs[i].step(action)
            returns[i] += float(reward)
            lengths[i] += 1
            if not (terminated or truncated):
                still_running.append(i)
        running = still_running
    return Evaluation(returns=returns, lengths=lengths)


def _play_in_batch(predict: Predict, batch: BatchOfEpisodes, seeds: Sequence[int]) -> Evaluation:
    """Step the whole batch until each environment's first episode is over."""
    space = batch.single_action_space
    returns = np.zeros(len(seeds))
    lengths = np.zeros(len(seeds), dtype=np.int64)
    running = np.ones(len(seeds), dtype=bool)
    actions = np.zeros((len(seeds), *space.shape), dtype=space.dtype)
    obs = batch.reset(seed=[int(seed) for seed in seeds])[0].numpy(force=True)
    while running.any():
        actions[running] = np.clip(predict(obs[running]), space.low, space.high)
        after, _, _, _, info = batch.step(actions)
        obs = after.numpy(force=True)
        ended = running & info["_final_obs"].numpy(force=True)
        returns[ended] = info["episode_return"].numpy(force=True)[ended]
        lengths[ended] = info["episode_length"].numpy(force=True)[ended]
        running &= ~ended
    return Evaluation(returns=returns, lengths=lengths)


def random_policy(action_space: Box, seed: int) -> Predict:
    """A policy that draws actions uniformly from the action space, whatever it observes.

    Args:
        action_space: Space to draw from, ``(act_dim,)``; unbounded sides follow ``Box.sample``.
        seed: Seed of the policy's own generator: two policies of one seed draw alike.

    Returns:
        The policy; each call draws a new ``(n, act_dim)`` array of the space's dtype.
    """
    space = Box(action_space.low, action_space.high, dtype=np.dtype(action_space.dtype).type)
    space.seed(seed)

    def predict(observations: np.ndarray) -> np.ndarray:
        return np.stack([space.sample() for _ in observations])

    return predict
