"""Stopping a training at the first number that is not finite, by name, before it is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.gail.bc import BC
from l2l_gail.gail.gail import GAIL

__all__ = ["HealthCallback"]

_ADVICE = {
    "environment": "the fault is in the environment; look at its state and action there",
    "discriminator": "lower the discriminator's learning rate, or raise its penalty",
    "rule": "lower the rule's meta-learning rate, or train with a hand-designed rule",
    "policy": "lower the policy's learning rate, or its gradient norm",
}


class HealthCallback(BaseCallback):
    """Ends a training whose numbers have left the finite ones, and says which did so first.

    Put it before callbacks that save: a checkpoint is then always of a finite model, and a resumed
    run starts before the failure. What is looked at, in the order in which one spoils the next:
    the environment's rewards and observations at each step; discriminator, rule, the rule's state
    and its optimizer's, and the learned rewards after each turn of the discriminator; the policy
    and its optimizer after each update.

    Raises:
        InputError: From inside ``learn``, in one line: what, at which step, what to do.
    """

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
        observations = getattr(buffer, "observations", None)
        if isinstance(observations, Tensor) and not bool(observations.isfinite().all()):
            raise self._failure("observation of the environment", "environment")
        self._check_discriminator()
        rewards = getattr(buffer, "rewards", None)
        if rewards is not None and not bool(torch.as_tensor(rewards).isfinite().all()):
            raise self._failure("learned reward", "discriminator")

    def _on_training_end(self) -> None:
        self._check_policy()
        self._check_discriminator()

    def _check_policy(self) -> None:
        policy: Any = self.model.policy
        optimizer = self.model.optimizer if isinstance(self.model, BC) else policy.optimizer
        self._check("policy", policy.named_parameters())
        self._check("policy", _named("optimizer", optimizer.state))

    def _check_discriminator(self) -> None:
        model = self.model
        if not isinstance(model, GAIL):
            return
        trainer = model.discriminator_updates.trainer
        self._check("discriminator", model.discriminator.named_parameters())
        self._check("discriminator", iter((trainer.follower or {}).items()))
        if trainer.meta_optimizer is not None:  # first: a bad one spoils the rule, not the reverse
            self._check("rule", _named("optimizer", trainer.meta_optimizer.state))
        self._check("rule", trainer.rule.named_parameters())
        self._check("rule", _named("state", trainer.state))

    def _check(self, part: str, tensors: Iterator[tuple[str, Tensor]]) -> None:
        by_device: dict[torch.device, list[tuple[str, Tensor]]] = {}
        for name, tensor in tensors:  # an optimizer counts its steps on the CPU
            if tensor.is_floating_point():
                by_device.setdefault(tensor.device, []).append((name, tensor.detach()))
        for named in by_device.values():
            # One number for all, NaN if an entry is not finite; which one, only then.
            flat = torch.cat([tensor.reshape(-1).float() for _, tensor in named])
            if bool((0.0 * flat).sum().isfinite()):
                continue
            for name, tensor in named:
                if not bool(tensor.isfinite().all()):
                    raise self._failure(f"{part}'s {name!r}", part)

    def _failure(self, what: str, part: str) -> InputError:
        return InputError(
            f"step {self.num_timesteps}: the {what} is not finite, and the training stops; "
            f"{_ADVICE[part]}. The last checkpoint is from before it: --resume goes on from there"
        )


def _named(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested containers, by where they stand."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for place, (key, part) in enumerate(value.items()):
            # An optimizer's state has parameters as keys.
            yield from _named(f"{name}.{place if isinstance(key, Tensor) else key}", part)
    elif isinstance(value, (list, tuple)):
        for place, part in enumerate(value):
            yield from _named(f"{name}.{place}", part)
