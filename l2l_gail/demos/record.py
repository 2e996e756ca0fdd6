"""Recording: consecutive episodes of a policy, from stated seeds, none left out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l2l_gail.demos.arguments import arguments_of, left_out, warn_of_left_out
from l2l_gail.demos.demonstrations import Demonstrations
from l2l_gail.evaluation import applied_actions
from l2l_gail.gym_env import check_time_limit, make_env
from l2l_gail.mujoco_warnings import counted_mujoco_warnings
from l2l_gail.observations import map_parts
from l2l_gail.policies import Model, Predict, as_predict, as_seeds

__all__ = ["record_episodes"]


def record_episodes(
    predict: Predict | Model,
    env_id: str,
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    *,
    random_return: float | None = None,
    expert_return: float | None = None,
) -> Demonstrations:
    """Play one episode per seed, to its end, and keep every step.

    The action that is stored is the one that was applied: clipped to the action space, float32, or
    a class. Observations are stored as float32, or as whole numbers where they are such, rewards as
    float64. An episode that terminates in the very
    step of its time limit counts as terminated: its last state is terminal.

    Args:
        predict: Raw observations ``(1, *shape)``, or a dict of such, to actions ``(1, *shape)``. Or
            a live model, see :func:`l2l_gail.policies.as_predict`.
        env_id: Environment to play in.
        seeds: One reset seed per episode, or the number of episodes, of seeds 0, 1, ...
        env_kwargs: Keyword arguments of the environment.
        random_return: Stored with the episodes, see ``Demonstrations``.
        expert_return: Likewise.

    Returns:
        The episodes in the order of ``seeds``.

    Raises:
        InputError: No seeds, the environment cannot be made or has no time limit, or the policy's
            actions do not fit.
    """
    predict, seeds = as_predict(predict), as_seeds(seeds, "a recording")
    warn_of_left_out(left_out(env_kwargs or {}), "not recorded")
    env = make_env(env_id, env_kwargs)
    space = env.action_space
    columns: dict[str, list[Any]] = {
        name: [] for name in ("obs", "acts", "rews", "next_obs", "terminals", "truncated")
    }
    lengths = []
    try:
        check_time_limit(env.spec)
        with counted_mujoco_warnings(env_id):
            for seed in seeds:
                obs = map_parts(np.array, env.reset(seed=int(seed))[0])
                length, ended = 0, False
                while not ended:
                    # Copies: a policy and an environment may write into what they are given, and an
                    # environment into what it has returned.
                    observed = map_parts(lambda x: np.array(x)[None], obs)
                    action = applied_actions(predict(observed), observed, space)[0]
                    found, reward, terminated, truncated, _ = env.step(copy.copy(action))
                    next_obs = map_parts(np.array, found)
                    step = (
                        obs,
                        action,
                        float(np.asarray(reward).item()),  # it may be an array of one
                        next_obs,
                        terminated,
                        truncated and not terminated,
                    )
                    for column, value in zip(columns.values(), step, strict=True):
                        column.append(value)
                    obs, length, ended = next_obs, length + 1, terminated or truncated
                lengths.append(length)
    finally:
        env.close()
    return Demonstrations(
        obs=map_parts(_column, *columns["obs"]),
        acts=_column(*columns["acts"]),
        rews=np.asarray(columns["rews"], dtype=np.float64),
        next_obs=map_parts(_column, *columns["next_obs"]),
        terminals=np.asarray(columns["terminals"], dtype=bool),
        truncated=np.asarray(columns["truncated"], dtype=bool),
        episode_starts=np.cumsum([0, *lengths[:-1]]),
        episode_lengths=np.asarray(lengths),
        env_id=env_id,
        env_kwargs=None if env.spec is None else arguments_of(env.spec),
        random_return=random_return,
        expert_return=expert_return,
    )


def _column(*rows: Any) -> np.ndarray:
    """Return the values of all steps ``(T, *shape)``, floating ones as float32."""
    column = np.asarray(rows)
    return column.astype(np.float32) if column.dtype.kind == "f" else column
