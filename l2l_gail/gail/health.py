"""Stopping a training at the first number that is not finite, by name, before it is saved."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, ConvertCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from torch import Tensor

from l2l_gail.core import named_tensors
from l2l_gail.core.guards import spoiled
from l2l_gail.errors import InputError
from l2l_gail.observations import map_parts
from l2l_gail.ppo import TensorRolloutBuffer

__all__ = ["HealthCallback", "with_health"]

_MOST_IN_A_ROW = 10
_ADVICE = {
    "environment": "the fault is in the environment; look at its state and action there",
    "discriminator": "lower the discriminator's learning rate, or raise its penalty",
    "policy": "lower the policy's learning rate, or its gradient norm",
}


class HealthCallback(BaseCallback):
    """Ends a training whose numbers have left the finite ones, and says which did so first.

    ``GAIL.learn`` puts one before all callbacks unless it is given one: what they save is then
    always a finite model. What is looked at, in the order in which one spoils the next:
    the environment's rewards and observations at each step; discriminator, rule, the rule's state
    and its optimizer's, and the learned rewards after each turn of the discriminator; the policy
    and its optimizer after each update.

    A rule that is not finite ends nothing: it is set back to how it began, with a warning, and the
    trainer counts it (:attr:`~l2l_gail.core.trainer.L2LTrainer.resets`).

    Args:
        way_out: What the message ends with: where to go on from.

    Raises:
        InputError: From inside ``learn``, in one line: what, at which step, what to do.
    """

    def __init__(self, way_out: str = "go on from a model that was saved before") -> None:
        super().__init__()
        self.way_out = way_out
        self._rejected = self._idle = 0

    def _on_training_start(self) -> None:
        updates = self._updates()
        self._rejected = updates.trainer.rejected if updates else 0

    def _on_step(self) -> bool:
        for what, name in (("rewards", "reward"), ("new_obs", "observation")):
            value = self.locals.get(what)
            for part in value.values() if isinstance(value, dict) else (value,):
                # A device's values are looked at after the rollout: here each would be waited for.
                if isinstance(part, np.ndarray) and not np.isfinite(part).all():
                    raise self._failure(f"{name} of the environment", "environment")
        return True

    def _on_rollout_start(self) -> None:
        self._check_policy()
        self._check_discriminator()

    def _on_rollout_end(self) -> None:
        buffer = getattr(self.model, "rollout_buffer", None)
        if isinstance(buffer, TensorRolloutBuffer):
            reached = self._reached(buffer)
            for part in (*_tensors(buffer.observations), *_tensors(reached)):
                if not bool(part.isfinite().all()):
                    raise self._failure("observation of the environment", "environment")
        self._check_discriminator()
        self._check_updates()
        rewards = getattr(buffer, "rewards", None)
        if rewards is not None and not bool(torch.as_tensor(rewards).isfinite().all()):
            raise self._failure("learned reward", "discriminator")

    def _reached(self, buffer: TensorRolloutBuffer) -> Any:
        """The states at ends of episodes that anything is computed from, ``(n, ...)``."""
        used = buffer.dones
        if not getattr(self.model, "judges_next_states", False):
            used = used & buffer.time_limits  # whose value counts; a terminal state's does not
        return map_parts(lambda states: states[used], buffer.final_obs)

    def _on_training_end(self) -> None:
        self._check_policy()
        self._check_discriminator()

    def _check_policy(self) -> None:
        policy: Any = self.model.policy
        optimizer = getattr(self.model, "optimizer", policy.optimizer)  # cloning has its own
        self._check("policy", policy.named_parameters())
        self._check("policy", named_tensors(optimizer.state, "optimizer"))

    def _check_discriminator(self) -> None:
        updates = self._updates()
        if updates is None:
            return
        trainer = updates.trainer
        self._check("discriminator", updates.discriminator.named_parameters())
        self._check("discriminator", iter((trainer.follower or {}).items()))
        if trainer.meta_optimizer is not None:  # first: a bad one spoils the rule, not the reverse
            self._revive(_not_finite(named_tensors(trainer.meta_optimizer.state, "optimizer")))
        self._revive(_not_finite(trainer.rule.named_parameters()))
        bad = _not_finite(named_tensors(trainer.state, "state"))
        if bad and spoiled(trainer.rule.init(trainer.follower or {}), trainer.state):
            self._revive(bad)

    def _revive(self, name: str | None) -> None:
        if name is None:
            return
        self._updates().trainer.reset_rule()
        warnings.warn(
            f"step {self.num_timesteps}: the rule's {name!r} is not finite, and the rule is set "
            "back to how it began; lower its meta learning rate, or train with a hand-designed one",
            RuntimeWarning,
            stacklevel=2,
        )

    def _check_updates(self) -> None:
        """Stop where update after update could not be taken: nothing is learned any more."""
        updates = self._updates()
        if updates is None:
            return
        rejected = updates.trainer.rejected - self._rejected
        self._rejected = updates.trainer.rejected
        self._idle = self._idle + rejected if rejected == updates.config.updates_per_rollout else 0
        if self._idle >= _MOST_IN_A_ROW:
            raise self._failure("discriminator's loss in all updates", "discriminator")

    def _check(self, part: str, tensors: Iterator[tuple[str, Tensor]]) -> None:
        name = _not_finite(tensors)
        if name is not None:
            raise self._failure(f"{part}'s {name!r}", part)

    def _failure(self, what: str, part: str) -> InputError:
        return InputError(
            f"step {self.num_timesteps}: the {what} is not finite, and the training stops; "
            f"{_ADVICE[part]}; {self.way_out}"
        )

    def _updates(self) -> Any:
        """The discriminator's turn of a GAIL, whose module imports this one; None without one."""
        return getattr(self.model, "discriminator_updates", None)


def with_health(callback: MaybeCallback) -> list[BaseCallback]:
    """Return callbacks with a :class:`HealthCallback` among them: the first, if there is none."""
    if callback is None:
        return [HealthCallback()]
    given = callback if isinstance(callback, list) else [callback]
    found = [c if isinstance(c, BaseCallback) else ConvertCallback(c) for c in given]
    return (
        found if any(isinstance(c, HealthCallback) for c in found) else [HealthCallback(), *found]
    )


def _tensors(observations: Any) -> list[Tensor]:
    return list(observations.values()) if isinstance(observations, dict) else [observations]


def _not_finite(tensors: Iterator[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor with an entry that is not finite."""
    by_device: dict[torch.device, list[tuple[str, Tensor]]] = {}
    for name, tensor in tensors:  # an optimizer counts its steps on the CPU
        by_device.setdefault(tensor.device, []).append((name, tensor.detach()))
    for named in by_device.values():
        # One number for all, NaN if an entry is not finite; which one, only then.
        flat = torch.cat([tensor.reshape(-1).float() for _, tensor in named])
        if bool((0.0 * flat).sum().isfinite()):
            continue
        return next(name for name, tensor in named if not bool(tensor.isfinite().all()))
    return None
