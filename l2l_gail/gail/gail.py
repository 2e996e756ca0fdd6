"""GAIL on stable-baselines3's PPO: the reward comes from a discriminator, the rest is PPO."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from l2l_gail.core import SGD, Adam, L2LTrainer, OptimisticAdam
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail.behaviour_cloning import behaviour_cloning, check_clonable
from l2l_gail.gail.config import DiscriminatorConfig
from l2l_gail.gail.discriminator import Discriminator
from l2l_gail.gail.game import DiscriminatorGame
from l2l_gail.gail.rewards import reward_of_logits
from l2l_gail.gail.updates import DiscriminatorUpdates
from l2l_gail.ppo.buffer import TensorRolloutBuffer
from l2l_gail.ppo.env import TensorEnv, tensor_env_of
from l2l_gail.ppo.forward import forward_of
from l2l_gail.ppo.policy import GAILPolicy, ObservationStatistics
from l2l_gail.ppo.rollout import bounded_actions, collect
from l2l_gail.ppo.update import update_policy

__all__ = ["GAIL"]

_ATTRIBUTES = {"discriminator": "discriminator_config", "rule": "rule_config"}
"""Constructor arguments whose attributes have another name."""
_RULES = {"adam": Adam, "optimistic_adam": OptimisticAdam, "sgd": SGD}


class GAIL(PPO):
    """Generative adversarial imitation learning on PPO.

    Paper: Ho & Ermon 2016, https://arxiv.org/abs/1606.03476, algorithm 1, with PPO for TRPO and a
    gradient penalty on the discriminator. Each round: collect a rollout, update the discriminator
    on it (eq. 17), score the rollout's transitions with the moved discriminator in one batch,
    and take PPO's step on that reward. ``rollout/ep_rew_mean`` stays the environment's own return.

    The demonstrations' observation statistics normalise the inputs of policy and discriminator
    alike and are saved with them, so ``predict`` takes raw observations. At a time limit the
    return is bootstrapped with the value of the learned reward, never of the environment's.

    The reward is swapped after the rollout: a callback's ``on_rollout_end`` still finds the
    environment's in the rollout buffer.

    Where the environment's steps are tensors, rollout, advantages and update stay tensors on the
    model's device (:mod:`l2l_gail.ppo.rollout`); a wrapper around it, or a rollout buffer
    of your own, leads through SB3's loop instead. Both train alike.

    Args:
        policy: ``"MlpPolicy"``, which normalises observations, or a policy class of your own.
        env: An environment, a vector of them, a :class:`~l2l_gail.ppo.env.TensorEnv` or
            its view, or a registered id; flat ``Box`` spaces. One whose ``VecNormalize``
            normalises observations is refused.
        demonstrations: What to imitate, or the path or embedded name of it; may be ``None`` only
            to load a model for ``predict``.
        discriminator: Its settings, see :class:`~l2l_gail.gail.config.DiscriminatorConfig`.
        warm_start_steps: Gradient steps of behaviour cloning before the first rollout; 0 for none.
        **ppo_kwargs: Everything else PPO takes (``n_steps``, ``batch_size``, ``seed``, ...).

    Raises:
        InputError: If environment and demonstrations do not fit, in one line.
    """

    policy_aliases: ClassVar[dict[str, Any]] = {"MlpPolicy": GAILPolicy}

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | TensorEnv | str,
        demonstrations: Demonstrations | str | Path | None = None,
        *,
        discriminator: DiscriminatorConfig | None = None,
        warm_start_steps: int = 0,
        _init_setup_model: bool = True,
        **ppo_kwargs: Any,
    ) -> None:
        super().__init__(policy, env, _init_setup_model=False, **ppo_kwargs)  # type: ignore[arg-type]
        self.demonstrations = _read(demonstrations)
        self.discriminator_config = discriminator or DiscriminatorConfig()
        self.warm_start_steps = warm_start_steps
        self._time_limits: list[tuple[int, int, np.ndarray]] = []
        self._expert_inputs: Tensor | None = None
        if _init_setup_model:
            if demonstrations is None:
                raise InputError(f"{type(self).__name__} needs demonstrations to imitate")
            self._setup_model()

    def _setup_model(self) -> None:
        self._check_fit()
        super()._setup_model()
        if self.warm_start_steps:
            check_clonable(self.policy)
        assert isinstance(self.observation_space, spaces.Box)
        assert isinstance(self.action_space, spaces.Box)
        self.discriminator = Discriminator(
            self.observation_space, self.action_space, self.discriminator_config.hidden_sizes
        ).to(self.device)
        if self.demonstrations is not None:
            self._fit_statistics(self.demonstrations)
        game = DiscriminatorGame(self.discriminator, self.discriminator_config)
        self.discriminator_updates = DiscriminatorUpdates(
            self.discriminator,
            self._make_trainer(game),
            self.discriminator_config,
            seed=self.seed if self.seed is not None else int(np.random.randint(2**31)),
        )

    @staticmethod
    def _wrap_env(
        env: GymEnv | TensorEnv, verbose: int = 0, monitor_wrapper: bool = True
    ) -> VecEnv:
        """Return the environment as a ``VecEnv``, wherever one is given: SB3 calls this."""
        if isinstance(env, TensorEnv):
            env = env.sb3()
        return PPO._wrap_env(env, verbose, monitor_wrapper)

    def _make_trainer(self, game: DiscriminatorGame) -> L2LTrainer:
        """Return the trainer that moves the discriminator; here with a hand-designed rule."""
        rule = _RULES[self.discriminator_config.update_rule]
        return L2LTrainer(game, rule(self.discriminator_config.learning_rate), persistent=True)

    def _fit_statistics(self, demonstrations: Demonstrations) -> None:
        for network in (self.policy, self.discriminator):
            for module in network.modules():
                if isinstance(module, ObservationStatistics):
                    module.set(demonstrations.obs_mean, demonstrations.obs_std)

    def _check_fit(self) -> None:
        """Refuse an environment that the model or the demonstrations do not fit."""
        for name, space in (("observation", self.observation_space), ("action", self.action_space)):
            if not isinstance(space, spaces.Box):
                raise InputError(f"the {name} space must be a Box, not {space}")
        if self._vec_normalize_env is not None and self._vec_normalize_env.norm_obs:
            raise InputError(
                "the environment's VecNormalize normalises observations, which the model does "
                "itself; pass norm_obs=False"
            )
        if self.demonstrations is not None:
            self.demonstrations.check_env(
                registered_id(self.env), self.observation_space, self.action_space
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        self._check_fit()
        if self.demonstrations is None:
            raise InputError(
                "this model was loaded without demonstrations; to train it on, load it with "
                f"{type(self).__name__}.load(path, env=env, demonstrations=demonstrations)"
            )
        obs, acts = (
            torch.as_tensor(array, dtype=torch.float32, device=self.device)
            for array in (self.demonstrations.obs, self.demonstrations.acts)
        )
        with torch.no_grad():
            self._expert_inputs = self.discriminator.inputs(obs, acts)
        if self.warm_start_steps and self.num_timesteps == 0:
            behaviour_cloning(
                self.policy, self.demonstrations, steps=self.warm_start_steps, seed=self.seed or 0
            )
        self._choose_buffer()
        return super()._setup_learn(*args, **kwargs)

    @property
    def _tensor_buffer(self) -> TensorRolloutBuffer | None:
        """The rollout buffer where it is one of tensors."""
        buffer: object = self.rollout_buffer
        return buffer if isinstance(buffer, TensorRolloutBuffer) else None

    def _choose_buffer(self) -> None:
        """Give the rollout buffer the form that the environment's steps have."""
        own = self.rollout_buffer_class is not RolloutBuffer or bool(self.rollout_buffer_kwargs)
        if tensor_env_of(self.env) is not None and not own:
            buffer = TensorRolloutBuffer(self.gamma, self.gae_lambda)
            self.rollout_buffer = buffer  # type: ignore[assignment]
        elif self._tensor_buffer is not None:
            assert self.rollout_buffer_class is not None
            self.rollout_buffer = self.rollout_buffer_class(
                self.n_steps,
                self.observation_space,
                self.action_space,
                device=self.device,
                gamma=self.gamma,
                gae_lambda=self.gae_lambda,
                n_envs=self.n_envs,
                **self.rollout_buffer_kwargs,
            )

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer | TensorRolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect a rollout, play the discriminator's turn on it, and swap the reward."""
        self._time_limits.clear()
        if isinstance(rollout_buffer, TensorRolloutBuffer):
            tensor_env = tensor_env_of(env)
            assert tensor_env is not None
            forward = forward_of(self.policy)
            if not collect(self, tensor_env, callback, rollout_buffer, n_rollout_steps, forward):
                return False
        elif not super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps):
            return False
        assert self._expert_inputs is not None
        inputs = self._rollout_inputs(rollout_buffer)
        logits, log = self.discriminator_updates.play(self._expert_inputs, inputs)
        rewards = reward_of_logits(logits, self.discriminator_config.reward)
        mean, std = torch.stack([rewards.mean(), rewards.std(correction=0)]).tolist()
        self._swap_reward(rewards.view(env.num_envs, -1).T, rollout_buffer)
        log |= {"gail/reward_mean": mean, "gail/reward_std": std}
        for tag, value in log.items():
            self.logger.record(tag, value)
        return True

    def train(self) -> None:
        """Take PPO's epochs on the rollout."""
        if self._tensor_buffer is None:
            super().train()
        else:
            update_policy(self, self._tensor_buffer, forward_of(self.policy))

    def _update_info_buffer(
        self, infos: list[dict[str, Any]], dones: np.ndarray | None = None
    ) -> None:
        """Note, besides what SB3 notes, where episodes were cut by a time limit, and at what state.

        SB3 calls this once a step, before it adds ``gamma V(terminal)`` to the *environment's*
        reward; that reward is thrown away, so the state is kept to do the same to the learned one.
        """
        super()._update_info_buffer(infos, dones)
        for i, info in enumerate(infos):
            terminal = info.get("terminal_observation")
            if terminal is not None and info.get("TimeLimit.truncated", False):
                self._time_limits.append((self.rollout_buffer.pos, i, np.array(terminal)))

    def _rollout_inputs(self, buffer: RolloutBuffer | TensorRolloutBuffer) -> Tensor:
        """Return the rollout as discriminator inputs ``(n_envs * n_steps, in_dim)``, env by env."""
        if isinstance(buffer, TensorRolloutBuffer):
            obs, acts = buffer.by_env(buffer.observations), buffer.by_env(buffer.actions)
        else:
            assert isinstance(buffer.observations, np.ndarray)
            obs, acts = (
                torch.as_tensor(buffer.swap_and_flatten(array), device=self.device)
                for array in (buffer.observations, buffer.actions)
            )
        obs, acts = obs.flatten(1).float(), acts.flatten(1).float()
        if self.policy.squash_output:  # actions lie in [-1, 1] there, in the env's unit here
            acts = bounded_actions(self.policy)(acts)
        with torch.no_grad():
            return self.discriminator.inputs(obs, acts)

    def _swap_reward(self, rewards: Tensor, buffer: RolloutBuffer | TensorRolloutBuffer) -> None:
        """Put learned rewards ``(n_steps, n_envs)`` into the buffer; redo returns and advantages.

        A time limit is no end: there the reward is ``r + gamma V(s_terminal)``, with the value of
        the learned reward.
        """
        if isinstance(buffer, TensorRolloutBuffer):
            self._swap_tensor_reward(rewards, buffer)
            return
        buffer.rewards[:] = rewards.cpu().numpy()
        with torch.no_grad():
            if self._time_limits:
                steps, envs, observations = zip(*self._time_limits, strict=True)
                terminal = obs_as_tensor(np.stack(observations), self.device)
                values = self.policy.predict_values(terminal).flatten().cpu().numpy()
                buffer.rewards[list(steps), list(envs)] += self.gamma * values
            assert isinstance(self._last_obs, np.ndarray)
            assert self._last_episode_starts is not None
            last_values = self.policy.predict_values(obs_as_tensor(self._last_obs, self.device))
        buffer.compute_returns_and_advantage(last_values, self._last_episode_starts)

    def _swap_tensor_reward(self, rewards: Tensor, buffer: TensorRolloutBuffer) -> None:
        """Do the same where the rollout is tensors."""
        buffer.rewards = rewards.clone()
        cut = buffer.time_limits.nonzero(as_tuple=True)
        if len(cut[0]):
            with torch.no_grad():
                values = forward_of(self.policy).values(buffer.final_obs[cut].float())
            buffer.rewards[cut] += self.gamma * values
        buffer.compute_returns_and_advantages()

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "GAIL",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for a number of environment steps, as ``PPO.learn``."""
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )

    @classmethod
    def load(
        cls, path: Any, env: GymEnv | TensorEnv | None = None, *args: Any, **kwargs: Any
    ) -> Self:
        """Load a saved model, as ``PPO.load``.

        Args:
            path: File written by ``save``.
            env: Environment to train on in; none is needed to act.
            *args: As in ``PPO.load``.
            **kwargs: As in ``PPO.load``; what the constructor takes replaces what was saved.
        """
        kwargs = {_ATTRIBUTES.get(name, name): value for name, value in kwargs.items()}
        if "demonstrations" in kwargs:
            kwargs["demonstrations"] = _read(kwargs["demonstrations"])
        return super().load(path, env, *args, **kwargs)  # type: ignore[arg-type]

    def _excluded_save_params(self) -> list[str]:
        """Demonstrations are not saved: a model does not need them to act."""
        own = ["demonstrations", "discriminator", "discriminator_updates"]
        return [*super()._excluded_save_params(), *own, "_expert_inputs", "_time_limits"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, "discriminator", "discriminator_updates"], variables


def _read(demonstrations: Demonstrations | str | Path | None) -> Demonstrations | None:
    if isinstance(demonstrations, (str, Path)):
        return Demonstrations.load(demonstrations)
    return demonstrations


def registered_id(env: VecEnv | None) -> str | None:
    """Return the registered id behind a vector environment, ``None`` if it has none."""
    if env is None:
        return None
    try:
        spec = env.get_attr("spec", indices=[0])[0]
    except (AttributeError, NotImplementedError):
        return None
    return spec.id if spec is not None else None
