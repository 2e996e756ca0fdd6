"""Adversarial inverse reinforcement learning: a discriminator that holds a reward function."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from torch import Tensor, nn

from l2l_gail.core import Vars
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail.config import DiscriminatorConfig
from l2l_gail.gail.discriminator import Discriminator
from l2l_gail.gail.fit import demonstrated_tensors
from l2l_gail.gail.gail import GAIL
from l2l_gail.observations import map_parts
from l2l_gail.ppo import ObservationParts, TensorEnv, TensorRolloutBuffer
from l2l_gail.ppo.observations import TensorObservations, network_input
from l2l_gail.ppo.tanh_network import layer_pairs, linear_stack, tanh_forward

__all__ = ["AIRL", "AIRLDiscriminator", "airl_config"]

_TERMINATED, _ABSORBING = -3, -2  # columns of the discriminator's inputs
_MOST_STAYS = 100


class AIRLDiscriminator(Discriminator):
    """The logit of AIRL, ``f(s, a, s') - log pi(a|s)`` (Fu et al. 2018, arXiv 1710.11248, eq. 4).

    ``f(s, a, s') = g + gamma (1 - d) h(s') - h(s)`` is a reward ``g`` with the potential-based
    shaping of ``h``, a tanh network each; ``d`` is 1 where the episode terminated in ``s'``, whose
    potential is then 0 (a time limit is no termination).

    After a termination follows the absorbing state, as in DAC (Kostrikov et al. 2019, arXiv
    1809.02925, section 4.1): without it the end of an episode would pay nothing, which is the best
    pay there is as long as the policy is told apart. Its potential is 0 and its ``g``, hence its
    ``f``, one number that is learned, ``absorbing``. The inputs of a transition are

    ======================== ==============
    part                     width
    ======================== ==============
    normalised observation   obs_dim
    clipped action           act_dim
    normalised next one      obs_dim
    ``d``, 0 or 1            1
    absorbing state, 0 or 1  1
    ``log pi(a|s)``          1
    ======================== ==============

    Args:
        observation_space: As in ``Discriminator``, without images.
        action_space: As in ``Discriminator``.
        hidden_sizes: Widths of the tanh layers, of ``g`` and of ``h`` alike.
        gamma: Discount factor of the policy's return.
        state_only_reward: ``g(s)`` instead of ``g(s, a)``: what makes the reward independent of the
            dynamics it was learned under (section 5).
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        hidden_sizes: Sequence[int] = (100, 100),
        *,
        gamma: float = 0.99,
        state_only_reward: bool = False,
    ) -> None:
        super().__init__(observation_space, action_space)
        self.in_dim = 2 * self.obs_dim + self.act_dim + 3
        self.gamma = gamma
        self.state_only_reward = state_only_reward
        seen_by_g = self.obs_dim + (0 if state_only_reward else self.act_dim)
        self.g = linear_stack(seen_by_g, hidden_sizes)
        self.h = linear_stack(self.obs_dim, hidden_sizes)
        self.absorbing = nn.Parameter(torch.zeros(1))

    @property
    def horizon(self) -> float:
        """Steps that are spent in the absorbing state, discounted: ``1 / (1 - gamma)``."""
        return 1 / max(1 - self.gamma, 1e-3)

    @property
    def end_value(self) -> Tensor:
        """What a termination is worth, ``gamma g / (1 - gamma)`` of the absorbing state, ``(1,)``.

        To be added to the reward of the transition that terminated.
        """
        return self.gamma * self.horizon * self.absorbing.detach()

    def transition_inputs(
        self,
        obs: TensorObservations,
        acts: Tensor,
        next_obs: TensorObservations,
        terminated: Tensor,
        log_probs: Tensor,
    ) -> Tensor:
        """Return network inputs ``(B, 2 obs_dim + act_dim + 3)`` of raw transitions.

        They are the rows, too: what :meth:`inputs_of_rows` leaves as it is.

        Args:
            obs: Observations, ``(B, *shape)`` or a dict of such.
            acts: Actions, ``(B, *shape)``; clipped here.
            next_obs: Observations after the actions, before any reset, as ``obs``.
            terminated: Whether the episode terminated there, ``(B,)``.
            log_probs: The policy's log-density of the clipped actions, ``(B,)``.
        """
        ends = torch.stack([terminated.float(), torch.zeros_like(log_probs), log_probs], dim=1)
        after = self.features.observation_rows(next_obs, self.statistics)
        return torch.cat([self.inputs(obs, acts), after, ends], dim=1)

    def with_absorbing(self, inputs: Tensor) -> Tensor:
        """Return transition inputs, each terminated one followed by stays in the absorbing state.

        By as many as the horizon has steps, 100 at most.
        """
        stays = min(round(self.horizon), _MOST_STAYS)
        lengths = 1 + stays * (inputs[:, _TERMINATED] > 0)
        places = lengths.cumsum(0) - lengths
        padded = inputs.new_zeros(int(lengths.sum()), self.in_dim)
        padded[:, _ABSORBING] = 1.0
        padded[places] = inputs
        return padded

    def which_are_transitions(self, rows: Tensor) -> Tensor:
        """Return which of the rows are no stays in the absorbing state, bool ``(n,)``."""
        return rows[:, _ABSORBING] == 0

    def logits_expert_is_high(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return logits ``(B,)`` of transition inputs, under given weights or its own."""
        return self.shaped_reward(inputs, weights) - inputs[:, -1]

    def shaped_reward(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return ``f`` of transition inputs, ``(B,)``, under given weights or its own."""
        if weights is None:
            weights = dict(self.named_parameters())
        now, acts, after, terminated, absorbing, _ = inputs.split(
            [self.obs_dim, self.act_dim, self.obs_dim, 1, 1, 1], dim=1
        )
        potentials = self._value("h", torch.cat([now, after]), weights)
        before, reached = potentials.chunk(2)
        seen_by_g = now if self.state_only_reward else torch.cat([now, acts], dim=1)
        shaping = self.gamma * (1.0 - terminated.squeeze(1)) * reached - before
        f = self._value("g", seen_by_g, weights) + shaping
        return torch.lerp(f, weights["absorbing"].expand_as(f), absorbing.squeeze(1))

    def reward(self, obs: TensorObservations, acts: Tensor) -> Tensor:
        """Return ``g``, the recovered reward, of raw observations and actions, ``(B,)``."""
        inputs = self.inputs(obs, acts)
        seen_by_g = inputs[:, : self.obs_dim] if self.state_only_reward else inputs
        return self._value("g", seen_by_g, dict(self.named_parameters()))

    def input_gradient(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return ``grad f`` in state, action and next state, ``(B, 2 obs_dim + act_dim)``.

        What a penalty is to bound: neither the flags nor the policy's density are a matter of the
        weights, and the absorbing state has no neighbours.
        """
        inputs = inputs.clone()
        inputs[:, _ABSORBING] = 0.0
        return super().input_gradient(inputs, weights)[:, :_TERMINATED]

    def forward(
        self,
        obs: TensorObservations,
        acts: Tensor | None = None,
        next_obs: TensorObservations | None = None,
    ) -> Tensor:
        """Return ``g``: the logit takes the whole transition and the policy's density."""
        assert acts is not None
        return self.reward(obs, acts)

    @staticmethod
    def _value(name: str, inputs: Tensor, weights: Vars) -> Tensor:
        """Return one network's output ``(B,)``."""
        return tanh_forward(inputs, layer_pairs(name, weights))


class AIRL(GAIL):
    """Adversarial inverse reinforcement learning on PPO (Fu et al. 2018, arXiv 1710.11248).

    GAIL's game with the discriminator of :class:`AIRLDiscriminator`. The policy is paid
    ``log D - log(1 - D) = f(s, a, s') - log pi(a|s)`` (algorithm 1), so that it maximises the
    entropy along with ``f``; no other form of the reward makes it AIRL. A termination is paid what
    the absorbing state is worth. Any update rule moves the discriminator. ``discriminator.reward``
    is what has been learned.

    ``log pi`` is that of the policy that collected the rollout, for demonstrations and policy
    alike, at the action as the environment applies it, which is after clipping.

    Args:
        policy: As for ``GAIL``.
        env: As for ``GAIL``.
        demonstrations: As for ``GAIL``.
        discriminator: Its settings; ``reward`` is left out.
        state_only_reward: Learn ``g(s)`` instead of ``g(s, a)``.
        **kwargs: Everything else ``GAIL`` takes but a ``discriminator_network`` and ``credit``.

    Raises:
        InputError: As for ``GAIL``; a reward or a network of your own, learned credit, observations
            with images, or demonstrations without actions or next observations.
    """

    discriminator: AIRLDiscriminator

    _kind: ClassVar[str] = "AIRL"

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | TensorEnv | str,
        demonstrations: Demonstrations | str | Path | None = None,
        *,
        discriminator: DiscriminatorConfig | None = None,
        state_only_reward: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("discriminator_network") is not None:
            raise InputError("AIRL brings its own discriminator: leave discriminator_network out")
        self.state_only_reward = state_only_reward
        super().__init__(policy, env, demonstrations, discriminator=discriminator, **kwargs)

    def _make_discriminator(self) -> AIRLDiscriminator:
        return AIRLDiscriminator(
            self.observation_space,
            self.action_space,
            self.discriminator_config.hidden_sizes,
            gamma=self.gamma,
            state_only_reward=self.state_only_reward,
        )

    def expert_rows(self) -> Tensor:
        """Return the demonstrations as rows ``(n, in_dim)``, by the policy's density as it is now.

        With the absorbing states that follow a termination.
        """
        self._expert = self._demonstrated()  # kept for the rollouts of a training, which ask first
        return self._transition_rows(*self._expert)

    def _demonstrated(self) -> tuple[TensorObservations, Tensor, TensorObservations, Tensor]:
        """Return observations, actions, next observations and terminations as tensors."""
        demos, device = self.demonstrations, self.device
        assert demos is not None
        rows = np.arange(len(demos))
        if demos.terminals.any():
            # The stays after an end are of the whole episode: beside them each step that was kept
            # of it has to count as those that it stands for.
            rows = np.repeat(rows, demos.spans)
        obs, next_obs = (
            demonstrated_tensors(map_parts(lambda x: x[rows], x), device)
            for x in (demos.obs, demos.needed("next_obs", "AIRL"))
        )
        acts, terminals = (
            torch.as_tensor(x[rows], device=device)
            for x in (demos.needed("acts", "AIRL"), demos.terminals)
        )
        return obs, acts, next_obs, terminals

    def _learned_rewards(self, buffer: TensorRolloutBuffer) -> tuple[Tensor, dict[str, float]]:
        self._expert_rows = self._transition_rows(*self._expert)  # the policy has moved
        rows = self._rollout_rows(buffer)
        logits, log = self.discriminator_updates.update(self._expert_rows, rows)
        taken = self.discriminator.which_are_transitions(rows)  # the rollout's own
        logits, terminated = logits[taken], rows[taken, _TERMINATED]
        log["disc/logit_absorbing"] = self.discriminator.absorbing.item()
        return logits + terminated * self.discriminator.end_value, log

    @property
    def judges_next_states(self) -> bool:
        """True: the discriminator's logit holds ``h(s')``."""
        return True

    def _rollout_rows(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Return the rollout as rows of the discriminator ``(m, in_dim)``, env by env."""
        obs, next_obs = (
            network_input(map_parts(buffer.by_env, part))
            for part in (buffer.observations, buffer.final_obs)
        )
        terminated = buffer.by_env(buffer.dones & ~buffer.time_limits)
        return self._transition_rows(obs, buffer.by_env(buffer.actions), next_obs, terminated)

    @torch.no_grad()
    def _transition_rows(
        self,
        obs: TensorObservations,
        acts: Tensor,
        next_obs: TensorObservations,
        terminated: Tensor,
    ) -> Tensor:
        applied = acts.reshape(len(acts), *(self.action_space.shape or ()))
        if isinstance(self.action_space, spaces.MultiBinary):
            applied = applied.float()  # recorded bits are whole numbers, which no density takes
        if isinstance(self.action_space, spaces.Box):
            applied = applied.flatten(1).clamp(self.discriminator.low, self.discriminator.high)
        distribution = self.policy.get_distribution(obs)
        log_probs = distribution.log_prob(applied)
        own = self.discriminator
        inputs = own.transition_inputs(obs, applied, next_obs, terminated, log_probs)
        return own.with_absorbing(inputs)

    def _setup_model(self) -> None:
        # Here, as `load` may bring others than the constructor was given.
        if self.credit is not None:
            raise InputError("learned credit compares actions by (s, a) alone, which AIRL does not")
        self.discriminator_config = airl_config(self.discriminator_config)
        if ObservationParts(self.observation_space).images:
            raise InputError("AIRL is for observations without images: use GAIL")
        if self.demonstrations is not None:
            self.demonstrations.needed("next_obs", "AIRL")
        super()._setup_model()
        if self.policy.squash_output:
            raise InputError("AIRL needs the density of the action: a policy without squashing")

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_expert"]

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "AIRL",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for a number of environment steps, as ``PPO.learn``."""
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )


def airl_config(config: DiscriminatorConfig) -> DiscriminatorConfig:
    """Return a discriminator's settings with AIRL's reward, which is the only one it has.

    Raises:
        InputError: The settings ask for another reward than that or the default, or for a
            discriminator that sees no actions.
    """
    if config.judges != "state_action":
        raise InputError(
            f"AIRL's logit holds the density of an action: leave judges={config.judges!r} out; "
            "state_only_reward=True makes the reward one of states"
        )
    if config.reward not in (DiscriminatorConfig().reward, "logit", "airl"):
        raise InputError(
            f"AIRL pays the logit, not {config.reward!r}: leave the reward out, or use GAIL"
        )
    return dataclasses.replace(config, reward="logit")
