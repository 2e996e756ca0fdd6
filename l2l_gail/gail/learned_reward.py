"""The learned reward as a function of transitions, for any algorithm to train on."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import GymEnv
from torch import Tensor, nn

from l2l_gail.checks import is_whole
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail.airl import AIRL, AIRLDiscriminator
from l2l_gail.gail.gail import GAIL
from l2l_gail.gail.rewards import reward_of_logits
from l2l_gail.gail.saving import kind_of_model, saved_file, schedules_left_out
from l2l_gail.gail.spaces import channels_first, policy_for
from l2l_gail.gym_env import make_env
from l2l_gail.observations import map_parts
from l2l_gail.ppo import ObservationParts, TensorEnv
from l2l_gail.ppo.observations import as_tensors, leading, network_input
from l2l_gail.saved_models import is_policy, read_model_parts

__all__ = ["LearnedReward", "RewardTraining"]


class LearnedReward:
    """What a discriminator pays for a transition; it can go on learning from a policy's own.

    A model's discriminator, its update rule and its reward, without its policy: the game of GAIL
    with any algorithm in the policy's place. The model is shared, not copied, so that the reward of
    one that is training changes with it.

    ========= ========================================================================
    model     reward
    ========= ========================================================================
    GAIL      ``DiscriminatorConfig.reward`` of the logit at ``(s, a)``, or at ``(s, s')`` where
              that is what the discriminator ``judges``
    AIRL      ``g``, the recovered reward; with ``shaped`` the whole ``f(s, a, s')``
    ========= ========================================================================

    Args:
        model: A model of ``GAIL``, ``L2LGAIL`` or ``AIRL``.
        shaped: AIRL's ``f`` instead of ``g``. Both have the same optimal policies (Ng et al. 1999);
            the shaping makes learning quicker where the dynamics are those it was learned under.

    Attributes:
        log: What there was to log at the last update, by TensorBoard tag.

    Raises:
        InputError: ``shaped`` with a model that is not of AIRL.
    """

    def __init__(self, model: GAIL, *, shaped: bool = False) -> None:
        if shaped and not isinstance(model, AIRL):
            raise InputError("only the reward of AIRL is shaped: leave shaped out")
        self.model = model
        self.shaped = shaped
        self.log: dict[str, float] = {}
        self._expert_rows: Tensor | None = None

    @classmethod
    def for_env(
        cls,
        env: GymEnv | TensorEnv | str,
        demonstrations: Demonstrations | str | Path,
        **gail_kwargs: Any,
    ) -> Self:
        """Return a new reward, untrained.

        Args:
            env: Where a policy is to be trained, by whatever algorithm; it gives the spaces.
            demonstrations: What to imitate, or the path or embedded name of it.
            **gail_kwargs: Of ``GAIL``: ``rule``, ``rule_training``, ``discriminator``, ``seed``,
                ``device``, ...

        Raises:
            InputError: If environment and demonstrations do not fit.
        """
        made: Any = make_env(env) if isinstance(env, str) else env
        spaces_of = getattr(made, "single_observation_space", None) or made.observation_space
        with warnings.catch_warnings():
            # Its policy is to act nowhere, so that its noise suits any actions.
            warnings.filterwarnings("ignore", "actions reach")
            model = GAIL(policy_for(spaces_of), made, demonstrations, **gail_kwargs)
        model.env = None
        return cls(model)

    @classmethod
    def load(
        cls,
        path: Any,
        demonstrations: Demonstrations | str | Path | None = None,
        *,
        device: torch.device | str = "auto",
        shaped: bool = False,
        discriminator_network: nn.Module | None = None,
        trust_pickle: bool = False,
    ) -> Self:
        """Return the reward in a saved model of ``GAIL``, ``L2LGAIL`` or ``AIRL``.

        Args:
            path: File that the model's ``save`` wrote.
            demonstrations: What to go on learning from; without them the reward stays as it is.
            device: Where it computes.
            shaped: As in the constructor.
            discriminator_network: The module of your own that it was made with.
            trust_pickle: As in ``GAIL.load``. The policy's schedules do not need it: those of your
                own are left out, as no reward depends on them.

        Raises:
            InputError: The file is missing, damaged or no such model, or needs unpickling.
        """
        with saved_file(path) as file:
            kind = kind_of_model(read_model_parts(file, is_policy)[0])
            algorithm = AIRL if kind == "AIRL" else GAIL
            given: dict[str, Any] = {"demonstrations": demonstrations}
            if discriminator_network is not None:
                given["discriminator_network"] = discriminator_network
            if not trust_pickle:
                given |= schedules_left_out(file)
            model = algorithm.load(file, device=device, trust_pickle=trust_pickle, **given)
        return cls(model, shaped=shaped)

    def save(self, path: Any) -> None:
        """Save it, for :meth:`load`: the file is that of a model of ``GAIL``."""
        self.model.save(path)

    @property
    def is_trainable(self) -> bool:
        """Whether :meth:`update` can be called: it needs demonstrations, and is not for AIRL."""
        return self.model.demonstrations is not None and not isinstance(self.model, AIRL)

    @torch.no_grad()
    def __call__(
        self,
        obs: Any,
        acts: Any,
        next_obs: Any = None,
        terminated: Any = None,
    ) -> NDArray[np.float32]:
        """Return the rewards of transitions, ``(B,)``.

        Args:
            obs: Raw observations, ``(B, *obs_shape)``, arrays or tensors, or a dict of such.
            acts: Actions in the environment's own unit, ``(B, *act_shape)``; clipped here.
            next_obs: Observations after the actions, before any reset; needed by a shaped reward
                and by a discriminator that judges them. Images may have their channels last.
            terminated: Whether the episode terminated there, and not by a time limit, ``(B,)``;
                AIRL's reward then holds what the end is worth, and nothing for it without this.

        Raises:
            InputError: ``next_obs`` or ``terminated`` is needed and missing, or something has
                another shape.
        """
        states, actions, reached = self._transitions(obs, acts, next_obs)
        discriminator = self.model.discriminator
        if not isinstance(discriminator, AIRLDiscriminator):
            logits = discriminator.logits_of_rows(discriminator.rows(states, actions, reached))
            return reward_of_logits(logits, self.model.discriminator_config.reward).cpu().numpy()
        ends = None
        if terminated is not None:
            ends = torch.as_tensor(terminated, dtype=torch.float32, device=self.model.device)
            ends = ends.reshape(len(ends))
        if not self.shaped:
            rewards = discriminator.reward(states, actions)
        else:
            if ends is None:
                raise InputError("a shaped reward needs to know what has terminated")
            assert reached is not None
            inputs = discriminator.transition_inputs(
                states, actions, reached, ends, torch.zeros_like(ends)
            )
            rewards = discriminator.shaped_reward(inputs)
        if ends is not None:
            rewards = rewards + ends * discriminator.end_value
        return rewards.cpu().numpy()

    @property
    def _looks_ahead(self) -> bool:
        return self.shaped or self.model.discriminator.judges == "state_transition"

    def update(self, obs: Any, acts: Any, next_obs: Any = None) -> dict[str, float]:
        """Update the discriminator on transitions of the policy, as GAIL does after a rollout.

        Args:
            obs: Raw observations, ``(B, *obs_shape)``, the steps of one episode in their order.
            acts: Actions in the environment's own unit, ``(B, *act_shape)``.
            next_obs: Observations after the actions, where the discriminator judges them.

        Returns:
            What there is to log, by TensorBoard tag; also in ``log``.

        Raises:
            InputError: There are no transitions, or some are not finite; there are no
                demonstrations, ``next_obs`` is needed and missing, or the model is of AIRL, whose
                discriminator needs the density of the policy: train that with ``AIRL`` itself.
        """
        if isinstance(self.model, AIRL):
            raise InputError(
                "AIRL's discriminator needs the policy's density, which other algorithms do not "
                "give: train the reward with AIRL, and use it as it is"
            )
        if self.model.demonstrations is None:
            raise InputError("this reward was loaded without demonstrations, and cannot learn")
        if self._expert_rows is None:
            self._expert_rows = self.model.expert_rows()
        with torch.no_grad():
            rows = self.model.discriminator.rows(*self._transitions(obs, acts, next_obs))
        if not len(rows):
            raise InputError("no transitions are given: an update needs some, of a few episodes")
        if rows.is_floating_point() and not torch.isfinite(rows).all():
            raise InputError("the transitions hold NaN or infinite numbers: leave those steps out")
        _, self.log = self.model.discriminator_updates.update(self._expert_rows, rows)
        return self.log

    def _transitions(self, obs: Any, acts: Any, next_obs: Any) -> tuple[Any, Any, Any]:
        """Return transitions as networks take them: float32 or whole numbers, channels first."""
        if next_obs is None and self._looks_ahead:
            raise InputError("this reward is of whole transitions: give it next_obs")
        states = self._observations("obs", obs)
        actions = as_tensors(acts, self.model.device)
        assert isinstance(actions, Tensor)
        n, shape = len(leading(states)), self.model.action_space.shape or ()
        # SB3's buffers keep actions flat.
        if actions.ndim == 0 or len(actions) != n or actions.numel() != n * math.prod(shape):
            raise _wrong_shape("acts", actions, shape, n)
        reached = None if next_obs is None else self._observations("next_obs", next_obs)
        if reached is not None and len(leading(reached)) != n:
            raise InputError(f"obs has {n} rows, next_obs {len(leading(reached))}: give as many")
        return states, network_input(actions), reached

    def _observations(self, name: str, given: Any) -> Any:
        parts = ObservationParts(self.model.observation_space)
        keys = sorted(given) if isinstance(given, Mapping) else [""]
        if keys != sorted(parts.spaces):
            raise InputError(f"{name} must have the parts of {self.model.observation_space}")
        given = dict(given) if isinstance(given, Mapping) else given
        tensors = channels_first(as_tensors(given, self.model.device), parts)
        for key, space in parts.spaces.items():
            part, shape = parts.of(tensors, key), space.shape or ()
            one_number = not shape and tuple(part.shape[1:]) == (1,)
            if part.ndim == 0 or not (tuple(part.shape[1:]) == shape or one_number):
                raise _wrong_shape(f"{name}[{key!r}]" if key else name, part, shape)
        return network_input(tensors)


def _wrong_shape(
    name: str, given: Tensor, shape: tuple[int, ...], rows: int | None = None
) -> InputError:
    wanted = ", ".join(map(str, ("B" if rows is None else rows, *shape))) + "," * (not shape)
    return InputError(
        f"{name} has shape {tuple(given.shape)}, ({wanted}) is needed: one row for each transition"
    )


class RewardTraining:
    """Keeps the last transitions of a policy and updates the reward on them now and then.

    Args:
        reward: The reward.
        update_every: Transitions between two updates; 0 leaves the reward as it is.
        window: How many of the last transitions an update draws from; those since the last update
            by default.

    Raises:
        InputError: No such numbers, or a reward that cannot learn and is to.
    """

    def __init__(self, reward: LearnedReward, update_every: int, window: int | None) -> None:
        for name, value, least in (
            ("update_every", update_every, 0),
            ("window", 1 if window is None else window, 1),
        ):
            if not is_whole(value) or value < least:
                raise InputError(
                    "update_every must be 0 or more, and window at least 1, whole numbers: "
                    f"{name} is {value!r}"
                )
        if update_every and not reward.is_trainable:
            raise InputError(
                "this reward cannot learn, being of AIRL or without demonstrations: give "
                "update_every=0 to train on it as it is"
            )
        self.reward = reward
        self.update_every = update_every
        self.window = window or update_every
        self._steps: deque[tuple[Any, np.ndarray, Any]] = deque()
        self._new = 0

    def add(self, obs: Any, acts: np.ndarray, next_obs: Any) -> None:
        """Take one step of ``N`` environments, ``(N, *shape)`` each, and update if it is time."""
        if not self.update_every:
            return
        copies = (map_parts(np.array, obs), np.array(acts), map_parts(np.array, next_obs))
        self._steps.append(copies)
        while len(self._steps) > max(1, -(-self.window // len(acts))):
            self._steps.popleft()
        self._new += len(acts)
        if self._new >= self.update_every:
            self._new = 0
            obs, actions, after = zip(*self._steps, strict=True)
            self.reward.update(
                map_parts(_by_env, *obs), _by_env(*actions), map_parts(_by_env, *after)
            )


def _by_env(*steps: np.ndarray) -> np.ndarray:
    """Stack ``T`` steps ``(N, ...)`` to ``(N * T, ...)``, one environment after the other."""
    stacked = np.stack(steps, axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])
