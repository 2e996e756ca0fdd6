"""Environments and a replay buffer that pay the learned reward instead of the environment's own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

from l2l_gail.errors import InputError
from l2l_gail.gail.learned_reward import LearnedReward, RewardTraining
from l2l_gail.observations import map_parts, set_row
from l2l_gail.ppo.parts import is_like
from l2l_gail.ppo.rollout import unscaled

__all__ = ["LearnedRewardWrapper", "RelabellingReplayBuffer", "VecLearnedReward"]

ENV_REWARD = "env_reward"
"""Where an info keeps the environment's own reward."""


class LearnedRewardWrapper(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A Gymnasium environment that pays the learned reward.

    The environment's own reward is in ``info["env_reward"]``. For environments in processes of
    their own take :class:`VecLearnedReward`, which has the reward in one place.

    Args:
        env: Of the reward's spaces.
        reward: What it pays.
        update_every: Steps between two updates of the reward on the steps taken here; 0, the
            default, leaves it as it is.
        window: How many of the last steps an update draws from; ``update_every`` by default.

    Raises:
        InputError: Other spaces than the reward's, numbers below 0, or a reward that cannot learn
            and is to.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        reward: LearnedReward,
        *,
        update_every: int = 0,
        window: int | None = None,
    ) -> None:
        super().__init__(env)
        _check_spaces(reward, env.observation_space, env.action_space)
        self.reward = reward
        self._training = RewardTraining(reward, update_every, window)
        self._obs: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._obs = map_parts(np.array, obs)
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take an action, and be paid by the learned reward."""
        obs, own, terminated, truncated, info = self.env.step(action)
        before, reached = (map_parts(_as_batch, each) for each in (self._obs, obs))
        acts = np.asarray(action)[None]
        (reward,) = self.reward(before, acts, reached, np.array([terminated]))
        self._training.add(before, acts, reached)
        # The environment may write its next one into the same array.
        self._obs = map_parts(np.array, obs)
        return obs, float(reward), terminated, truncated, {**info, ENV_REWARD: float(own)}


class VecLearnedReward(VecEnvWrapper):
    """A ``VecEnv`` that pays the learned reward, and by default goes on training it.

    Any algorithm trains in it. One without a replay buffer (PPO, TRPO, A2C) takes each step's
    reward as it is when the step is taken, so let the reward change once a rollout:
    ``update_every`` equal to the rollout's length times the number of environments. One with a
    replay buffer (SAC, TD3, TQC) has :class:`RelabellingReplayBuffer` for that. The environment's
    own reward is in each info's ``"env_reward"``; a ``VecMonitor`` or ``Monitor`` *inside* goes on
    measuring the true return.

    Args:
        venv: Environments of the reward's spaces; not one that normalises observations. Images may
            have their channels first or last.
        reward: What it pays.
        update_every: Transitions between two updates of the reward on those taken here; 0 leaves it
            as it is.
        window: How many of the last transitions an update draws from; ``update_every`` by default.

    Raises:
        InputError: No ``VecEnv``, other spaces than the reward's, numbers below 0, a reward that
            cannot learn and is to, or a ``VecNormalize`` inside that normalises observations.
    """

    def __init__(
        self,
        venv: VecEnv,
        reward: LearnedReward,
        *,
        update_every: int = 2048,
        window: int | None = None,
    ) -> None:
        given: Any = venv
        if not isinstance(given, VecEnv):
            view = "its view, .sb3()" if hasattr(given, "sb3") else "make_vec_env(id, n_envs)"
            raise InputError(
                f"the environments are a {type(given).__name__}, no VecEnv of stable-baselines3: "
                f"give {view}"
            )
        super().__init__(venv)
        _check_spaces(reward, venv.observation_space, venv.action_space)
        inside: VecEnv | None = venv
        while isinstance(inside, VecEnvWrapper):
            if isinstance(inside, VecNormalize) and inside.norm_obs:
                raise InputError(
                    "the learned reward looks at raw observations: put VecNormalize around "
                    "VecLearnedReward, not inside"
                )
            inside = inside.venv
        self.reward = reward
        self._training = RewardTraining(reward, update_every, window)
        self._obs: Any = None
        self._actions: Any = None

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the environments.

        Raises:
            InputError: It is ``compute_reward``, by which hindsight relabelling (HER) would pay
                most of its transitions the environment's own reward.
        """
        if method_name == "compute_reward":
            raise InputError(
                "HerReplayBuffer asks the environment for the reward of other goals, which is not "
                "the learned one: give RelabellingReplayBuffer, or another algorithm"
            )
        return self.venv.env_method(method_name, *method_args, indices=indices, **kwargs)

    def reset(self) -> VecEnvObs:
        """Begin episodes everywhere."""
        self._obs = map_parts(np.array, self.venv.reset())
        copied: VecEnvObs = map_parts(np.copy, self._obs)
        return copied

    def step_async(self, actions: np.ndarray) -> None:
        """Send actions ``(N, *act_shape)``."""
        self._actions = np.array(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Return the step, paid by the learned reward, ``(N,)`` float32."""
        obs, own, dones, infos = self.venv.step_wait()
        reached, terminated = map_parts(np.array, obs), np.array(dones, dtype=bool)
        for i in np.flatnonzero(dones):
            if "terminal_observation" in infos[i]:
                set_row(reached, int(i), infos[i]["terminal_observation"])
            terminated[i] = not infos[i].get("TimeLimit.truncated", False)
        rewards = self.reward(self._obs, self._actions, reached, terminated)
        infos = [{**info, ENV_REWARD: float(r)} for info, r in zip(infos, own, strict=True)]
        self._training.add(self._obs, self._actions, reached)
        self._obs = map_parts(np.array, obs)
        return obs, rewards, dones, infos


class RelabellingReplayBuffer(ReplayBuffer):
    """A replay buffer whose rewards are those of the learned reward *as it is when they are drawn*.

    A reward that goes on learning makes what an algorithm stored along with a transition stale;
    so it is computed anew for every sample (as in DAC, Kostrikov et al. 2019, arXiv 1809.02925).
    For SAC, TD3 and others of stable-baselines3's off-policy algorithms: give them
    ``replay_buffer_class=RelabellingReplayBuffer`` and ``replay_buffer_kwargs={"reward": reward}``.

    Saving the buffer leaves the reward out, which has a ``save`` of its own: set
    ``model.replay_buffer.reward`` after loading one. SB3's ``save`` of the algorithm pickles it
    along, unless it is told ``exclude=["replay_buffer_kwargs"]``; what is loaded then acts at once,
    and trains on once ``model.replay_buffer.reward`` is set.

    Args:
        buffer_size: As in ``ReplayBuffer``.
        observation_space: Anything but a ``Dict``.
        action_space: Any.
        *args: As in ``ReplayBuffer``.
        reward: Pays for the samples; None until it is set, which drawing samples needs.
        **kwargs: As in ``ReplayBuffer``.

    Raises:
        InputError: Observations are dicts; or samples are drawn before the reward is set.
    """

    reward: LearnedReward | None

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *args: Any,
        reward: LearnedReward | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(observation_space, spaces.Dict):
            raise InputError(
                "the replay buffer of the learned reward takes no dicts of observations: flatten "
                "them (gymnasium.wrappers.FlattenObservation)"
            )
        super().__init__(buffer_size, observation_space, action_space, *args, **kwargs)
        self.reward = reward

    def _get_samples(
        self, batch_inds: np.ndarray, env: VecNormalize | None = None
    ) -> ReplayBufferSamples:
        if self.reward is None:
            raise InputError(
                "the replay buffer has no reward, which is not saved with it: set "
                "model.replay_buffer.reward first"
            )
        raw = super()._get_samples(batch_inds, None)  # the reward looks at raw observations
        rewards = self.reward(
            raw.observations, self._applied(raw.actions), raw.next_observations, raw.dones
        )
        raw = raw._replace(rewards=self.to_torch(rewards[:, None]))
        if env is None:
            return raw
        seen, after = (
            self.to_torch(np.asarray(self._normalize_obs(part.cpu().numpy(), env)))
            for part in (raw.observations, raw.next_observations)
        )
        paid = self.to_torch(self._normalize_reward(raw.rewards.cpu().numpy(), env))
        return raw._replace(observations=seen, next_observations=after, rewards=paid)

    def _applied(self, actions: Any) -> Any:
        """Return actions in the environment's unit: SB3's algorithms store them in [-1, 1]."""
        if not isinstance(self.action_space, spaces.Box):
            return actions
        low, high = self.to_torch(self.action_space.low), self.to_torch(self.action_space.high)
        return unscaled(actions.reshape(-1, *low.shape), low, high)  # they are stored flat

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "reward": None}


def _check_spaces(reward: LearnedReward, *found: spaces.Space[Any]) -> None:
    """Refuse an environment of other spaces than those that the reward was made for."""
    own = (reward.model.observation_space, reward.model.action_space)
    for name, mine, other in zip(("observation", "action"), own, found, strict=True):
        if type(mine) is not type(other):
            raise InputError(
                f"the {name} space must be a {type(mine).__name__} to be wrapped, not {other}: "
                "give a reward for this environment"
            )
        of_box = isinstance(mine, spaces.Box)
        if not is_like(mine, other):
            mine_is, other_is = (each.shape if of_box else each for each in (mine, other))
            raise InputError(
                f"the reward is of {name}s of {'shape ' if of_box else ''}{mine_is}, the "
                f"environment has {other_is}: give a reward for this environment"
            )


def _as_batch(one: Any) -> np.ndarray:
    return np.asarray(one)[None]
