"""stable-baselines3's PPO on tensors, with one hook: what the rewards of a finished rollout are."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.observations import map_parts
from l2l_gail.ppo.arguments import building_policy, known_device
from l2l_gail.ppo.buffer import TensorRolloutBuffer
from l2l_gail.ppo.env import TensorEnv
from l2l_gail.ppo.forward import PolicyForward, forward_of
from l2l_gail.ppo.from_vec_env import FromVecEnv, as_tensor_env
from l2l_gail.ppo.observations import network_input
from l2l_gail.ppo.policy import check_policy_name
from l2l_gail.ppo.rollout import collect
from l2l_gail.ppo.sb3_view import SB3VecEnv
from l2l_gail.ppo.update import update_policy

__all__ = ["TensorPPO"]

_SB3_BUFFERS = (None, RolloutBuffer, DictRolloutBuffer, TensorRolloutBuffer)


class TensorPPO(PPO):
    """PPO (Schulman et al. 2017, arXiv 1707.06347) whose rollouts and updates are tensors.

    SB3's PPO in all it offers (``learn``, ``save``, ``load``, ``predict``, callbacks, logger tags,
    schedules, policies, spaces), by one road for every environment: a
    :class:`~l2l_gail.ppo.env.TensorEnv` or its view is stepped without leaving its device, any
    other ``VecEnv`` through an adapter, on which it trains as SB3's PPO to the last bit.

    A subclass says in :meth:`rollout_rewards` what the rewards of a finished rollout are, and in
    :meth:`rollout_advantages` what its advantages; here they are the environment's, and the
    generalised estimates. Callbacks find them in the rollout buffer at ``on_rollout_end``, the
    value of the state at each time limit included.

    Args:
        policy: As in ``PPO``.
        env: An environment, a vector of them, a ``TensorEnv`` or its view, or a registered id.
        **ppo_kwargs: Everything else ``PPO`` takes but a ``rollout_buffer_class`` of your own.

    Raises:
        InputError: A ``rollout_buffer_class`` or ``rollout_buffer_kwargs`` of your own, a device
            that is not there, or ``policy_kwargs`` that the policy does not take.
    """

    rollout_buffer: TensorRolloutBuffer  # type: ignore[assignment]
    values_one_by_one: ClassVar[bool] = True
    """Whether states at time limits are evaluated one by one on a ``VecEnv``, as SB3 does: a batch
    of them may round otherwise."""

    def __init__(
        self,
        policy: Any,
        env: GymEnv | TensorEnv | str | None,
        *,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        **ppo_kwargs: Any,
    ) -> None:
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            device=known_device(device),
            _init_setup_model=False,
            **ppo_kwargs,
        )
        self._tensor_env: TensorEnv | None = None
        if _init_setup_model:
            self._setup_model()

    def rollout_rewards(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Return the rewards of a finished rollout, ``(T, N)`` float32.

        Called once for each rollout, between its last step and the policy's update; may log. The
        value of the next state is added where a time limit cut an episode.

        Args:
            buffer: The rollout; its ``rewards`` are the environment's.
        """
        return buffer.rewards

    def rollout_advantages(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Return the advantages of a finished rollout, ``(T, N)`` float32.

        Called once for each rollout, after :meth:`rollout_rewards`; may log. What the values are
        fitted to does not change with them.

        Args:
            buffer: The rollout; its ``advantages`` are the generalised estimates.
        """
        return buffer.advantages

    def _setup_model(self) -> None:
        if self.rollout_buffer_class not in _SB3_BUFFERS or self.rollout_buffer_kwargs:
            raise InputError(
                f"{type(self).__name__} keeps its rollouts as tensors: leave rollout_buffer_class "
                "and rollout_buffer_kwargs out"
            )
        self.rollout_buffer_class = TensorRolloutBuffer  # type: ignore[assignment]
        with building_policy(self.policy_class, self.policy_kwargs):
            super()._setup_model()

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        check_policy_name(policy_name, self.policy_aliases)
        return super()._get_policy_from_name(policy_name)

    @staticmethod
    def _wrap_env(
        env: GymEnv | TensorEnv, verbose: int = 0, monitor_wrapper: bool = True
    ) -> VecEnv:
        """Return the environment as a ``VecEnv``, wherever one is given: SB3 calls this."""
        if not isinstance(env, VecEnv) and isinstance(env, TensorEnv):
            env = SB3VecEnv(env)
        return PPO._wrap_env(env, verbose, monitor_wrapper)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        assert self.env is not None
        self._tensor_env = as_tensor_env(self.env)
        return super()._setup_learn(*args, **kwargs)

    @property
    def _forward(self) -> PolicyForward:
        """How to evaluate the policy: as SB3 does, to the bit, unless the steps are tensors."""
        if isinstance(self._tensor_env, FromVecEnv):
            return PolicyForward(self.policy)
        return forward_of(self.policy)

    def collect_rollouts(  # type: ignore[override]
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: TensorRolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect a rollout, ask for its rewards, and compute returns and advantages."""
        assert self._tensor_env is not None
        forward = self._forward
        if not collect(self, self._tensor_env, callback, rollout_buffer, n_rollout_steps, forward):
            return False
        shape = rollout_buffer.rewards.shape
        rewards = self.rollout_rewards(rollout_buffer)
        rollout_buffer.step_rewards = _of_each_step("rollout_rewards", rewards, shape)
        rollout_buffer.rewards = rollout_buffer.step_rewards.clone()
        self._add_values_at_time_limits(rollout_buffer, forward)
        rollout_buffer.compute_returns_and_advantages()
        advantages = self.rollout_advantages(rollout_buffer)
        rollout_buffer.advantages = _of_each_step("rollout_advantages", advantages, shape)
        callback.on_rollout_end()
        return True

    def _add_values_at_time_limits(
        self, buffer: TensorRolloutBuffer, forward: PolicyForward
    ) -> None:
        """A time limit is no end: there the reward is ``r + gamma V(s_terminal)``."""
        cut = buffer.time_limits.nonzero(as_tuple=True)
        if not len(cut[0]):
            return
        terminal = network_input(map_parts(lambda x: x[cut], buffer.final_obs))
        one_by_one = self.values_one_by_one and isinstance(self._tensor_env, FromVecEnv)
        size = 1 if one_by_one else len(cut[0])
        rows = torch.arange(len(cut[0]), device=buffer.rewards.device).split(size)
        with torch.no_grad():
            values = [forward.values(map_parts(lambda x, i=i: x[i], terminal)) for i in rows]
        buffer.rewards[cut] += self.gamma * torch.cat(values)

    def train(self) -> None:
        """Take PPO's epochs on the rollout."""
        update_policy(self, self.rollout_buffer, self._forward)

    def _excluded_save_params(self) -> list[str]:
        # Without the class of its rollouts PPO.load reads the file, and trains on in its own way.
        return [*super()._excluded_save_params(), "_tensor_env", "rollout_buffer_class"]


def _of_each_step(hook: str, found: Any, shape: torch.Size) -> Tensor:
    """Return what a hook has found, a number for each step ``(T, N)``; refuse anything else."""
    if not isinstance(found, Tensor) or found.shape != shape:
        given = tuple(getattr(found, "shape", ()))
        raise InputError(
            f"{hook} has to return a tensor of shape {tuple(shape)}, a number for each step of "
            f"each environment, not {type(found).__name__} of shape {given}"
        )
    return found
