"""The true return of a policy, measured in plain Gymnasium environments.

A learned reward says nothing about the task, so every figure that this project reports comes from
here: one episode per seed, in an environment without wrappers of the training, the environment's
own reward summed without discount.  Batched environments that equal Gymnasium's may run the
episodes instead, for speed alone.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Space
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.gym_env import check_time_limit, make_env
from l2l_gail.mujoco_warnings import counted_mujoco_warnings
from l2l_gail.observations import arrays_of, map_parts
from l2l_gail.policies import Model, Predict, actions_in, as_predict, as_seeds

__all__ = [
    "BatchOfEpisodes",
    "Evaluation",
    "MakeBatch",
    "applied_actions",
    "evaluate_policy_return",
    "random_policy",
]


class BatchOfEpisodes(Protocol):
    """Environments that step together; those of ``envs.make`` are such a batch."""

    single_action_space: Box
    spec: EnvSpec

    def reset(self, seed: Sequence[int | None]) -> tuple[Tensor, dict[str, Tensor]]:
        """Begin an episode of each seed; observations ``(n, obs_dim)``."""
        ...

    def step(self, actions: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Step all, and restart those that end; infos hold totals of the ended episodes."""
        ...

    def check(self) -> None:
        """Warn of what went wrong in the simulations since the last call."""
        ...

    def close(self) -> None:
        """Give memory and threads back."""
        ...


MakeBatch = Callable[[str, int, Mapping[str, Any]], BatchOfEpisodes]
"""Makes a number of environments of one id, with keyword arguments of ``gymnasium.make``."""


@dataclass(frozen=True)
class Evaluation:
    """Episodes of one policy, in the order of their seeds.

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
    predict: Predict | Model,
    env_id: str,
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    make_batch: MakeBatch | None = None,
) -> Evaluation:
    """Run one episode per seed and return their true returns and lengths.

    The episodes run in lockstep, with one batched ``predict`` per step on those still running,
    which costs a small network about as much as a single observation. The result equals running
    the seeds one at a time, if ``predict`` treats its rows independently.

    Args:
        predict: Raw observations ``(n, *shape)``, or a dict of such, to actions ``(n, *shape)``.
            Those of a ``Box`` are clipped to it before they are applied, and of any float dtype.
            Or a live model, see :func:`l2l_gail.policies.as_predict`.
        env_id: Environment to evaluate in.
        seeds: One reset seed per episode, or the number of episodes, of seeds 0, 1, ...
        env_kwargs: Keyword arguments of the environment.
        make_batch: Makes the environments as one batch; by default they are Gymnasium's, one each.

    Returns:
        Returns and lengths in the order of ``seeds``.

    Raises:
        InputError: No seeds, the environment cannot be made or has no time limit, or the policy
            gives actions that are not finite, of another shape, or not in the action space.
    """
    predict, seeds = as_predict(predict), as_seeds(seeds, "an evaluation")
    if make_batch is not None:
        batch = make_batch(env_id, len(seeds), dict(env_kwargs or {}))
        try:
            check_time_limit(batch.spec)
            return _in_batch(predict, batch, seeds)
        finally:
            batch.close()
    envs = [make_env(env_id, env_kwargs) for _ in seeds]
    try:
        check_time_limit(envs[0].spec)
        with counted_mujoco_warnings(env_id):
            evaluation = _in_lockstep(predict, envs, seeds)
    finally:
        for env in envs:
            env.close()
    bad = np.flatnonzero(~np.isfinite(evaluation.returns))
    if len(bad):
        warnings.warn(
            f"{env_id}: rewards of the environment were not finite, in {len(bad)} of {len(seeds)} "
            f"episodes, the first of seed {seeds[bad[0]]}",
            RuntimeWarning,
            stacklevel=2,
        )
    return evaluation


def _in_lockstep(predict: Predict, envs: list[gymnasium.Env], seeds: Sequence[int]) -> Evaluation:
    space = envs[0].action_space
    returns = np.zeros(len(envs))
    lengths = np.zeros(len(envs), dtype=np.int64)
    obs = [env.reset(seed=int(seed))[0] for env, seed in zip(envs, seeds, strict=True)]
    running = list(range(len(envs)))
    while running:
        observed = map_parts(lambda *rows: np.stack(rows), *(obs[i] for i in running))
        actions = applied_actions(predict(observed), observed, space)
        still_running = []
        for i, action in zip(running, actions, strict=True):
            obs[i], reward, terminated, truncated, _ = envs[i].step(action)
            returns[i] += np.asarray(reward).item()  # it may be an array of one
            lengths[i] += 1
            if not (terminated or truncated):
                still_running.append(i)
        running = still_running
    return Evaluation(returns=returns, lengths=lengths)


def _in_batch(predict: Predict, batch: BatchOfEpisodes, seeds: Sequence[int]) -> Evaluation:
    """Step the whole batch until each environment's first episode is over."""
    space = batch.single_action_space
    returns = np.zeros(len(seeds))
    lengths = np.zeros(len(seeds), dtype=np.int64)
    running = np.ones(len(seeds), dtype=bool)
    actions = np.zeros((len(seeds), *space.shape), dtype=space.dtype)
    obs = batch.reset(seed=[int(seed) for seed in seeds])[0].numpy(force=True)
    while running.any():
        observed = obs[running]
        actions[running] = applied_actions(predict(observed), observed, space)
        after, _, _, _, info = batch.step(actions)
        obs = after.numpy(force=True)
        ended = running & info["_final_obs"].numpy(force=True)
        returns[ended] = info["episode_return"].numpy(force=True)[ended]
        lengths[ended] = info["episode_length"].numpy(force=True)[ended]
        running &= ~ended
    batch.check()
    return Evaluation(returns=returns, lengths=lengths)


def applied_actions(actions: Any, observations: Any, space: Space) -> np.ndarray:
    """Return a policy's actions as they are applied: clipped to a ``Box``, of the space's dtype.

    Args:
        actions: ``(n, *shape)``.
        observations: What they were given for.
        space: The action space.

    Raises:
        InputError: They are of another shape, not finite, or none of the classes of the space.
    """
    actions = _finite(actions_in(actions, observations, space.shape or ()), observations)
    if isinstance(space, Box):
        return np.clip(actions, space.low, space.high).astype(space.dtype)
    whole = actions.astype(space.dtype)
    strange = [row for row in whole if not space.contains(row)]
    if strange or not np.array_equal(whole, actions):
        raise InputError(
            f"the policy gives an action {(strange or list(actions))[0]}, which is none of "
            f"{space}: give a policy of this environment"
        )
    return whole


def _finite(actions: np.ndarray, observations: Any) -> np.ndarray:
    """Return a policy's actions, unless one is not finite; that of an observation comes first.

    Raises:
        InputError: It says whose fault it is.
    """
    if np.isfinite(actions).all():
        return actions
    if not all(np.isfinite(array).all() for array in arrays_of(observations)):
        raise InputError(
            "an observation of the environment is not finite, hence the policy's action is not"
        )
    raise InputError(
        "the policy gives actions that are not finite: its weights, or what it normalises with, "
        "are not"
    )


def random_policy(action_space: Space, seed: int) -> Predict:
    """A policy that draws actions uniformly from the action space, whatever it observes.

    Args:
        action_space: Space to draw from; unbounded sides of a ``Box`` follow ``Box.sample``.
        seed: Seed of the policy's own generator: two policies of one seed draw alike.

    Returns:
        The policy; each call draws a new ``(n, *shape)`` array of the space's dtype.
    """
    space = copy.deepcopy(action_space)
    space.seed(seed)

    def predict(observations: Any) -> np.ndarray:
        return np.stack([space.sample() for _ in arrays_of(observations)[0]])

    return predict
