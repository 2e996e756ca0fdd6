"""Settings of PPO: those of stable-baselines3, checked, as one frozen record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from l2l_gail.errors import InputError

__all__ = ["PPOConfig", "policy_defaults", "rollout_defaults"]

_ENVS = 64


@dataclass(frozen=True)
class PPOConfig:
    """How PPO learns; the defaults suit batches of 64 environments and small networks on a CPU.

    Attributes:
        n_steps: Steps of each environment in a rollout.
        batch_size: Transitions in a minibatch of PPO; at most the whole rollout.
        n_epochs: Passes of PPO over each rollout.
        policy_learning_rate: Adam's learning rate for policy and value function.
        gamma: Discount of rewards, for each step.
        gae_lambda: Decay of generalised advantage estimation; 1 sums rewards to the end.
        clip_range: How far the ratio of new to old action probability may move from 1.
        clip_range_vf: The same for the value function, in units of the reward; none by default.
        ent_coef: Weight of the policy's entropy as a bonus.
        vf_coef: Weight of the value function's loss.
        max_grad_norm: Largest norm of a gradient; longer ones are scaled down.
        target_kl: End a rollout's epochs early beyond 1.5 times this divergence; never by default.
        normalize_advantage: Shift and scale the advantages of each minibatch.
        log_std_init: Logarithm of the action noise's standard deviation at the start.
        policy_hidden_sizes: Widths of the tanh layers, of policy and of value function alike.
        adam_eps: What Adam adds to its denominator.

    Raises:
        InputError: A value that no training could use.
    """

    n_steps: int = 32
    batch_size: int = 256
    n_epochs: int = 10
    policy_learning_rate: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    clip_range_vf: float | None = None
    ent_coef: float = 0.0
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    normalize_advantage: bool = True
    log_std_init: float = -0.5
    policy_hidden_sizes: tuple[int, ...] = (64, 64)
    adam_eps: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse values that no training could use."""
        for name in ("n_steps", "n_epochs"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        least = 2 if self.normalize_advantage else 1  # one advantage has no scale
        self._check("batch_size", self.batch_size >= least, f"at least {least}")
        for size in self.policy_hidden_sizes:
            self._check("policy_hidden_sizes", size >= 1, "at least 1 each")
        for name in ("policy_learning_rate", "clip_range", "max_grad_norm", "adam_eps"):
            self._check(name, 0 < getattr(self, name) < math.inf, "above 0 and finite")
        for name in ("clip_range_vf", "target_kl"):
            value = getattr(self, name)
            self._check(name, value is None or 0 < value < math.inf, "above 0 and finite, or None")
        for name in ("ent_coef", "vf_coef"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "0 or more and finite")
        for name in ("gamma", "gae_lambda"):
            self._check(name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        self._check("log_std_init", abs(self.log_std_init) <= 20, "from -20 to 20")

    def _check(self, name: str, holds: bool, what: str) -> None:
        if not holds:
            raise InputError(f"{name} must be {what}, not {getattr(self, name)}")

    def sb3_kwargs(self, n_envs: int) -> dict[str, Any]:
        """Return these settings as keyword arguments of stable-baselines3's ``PPO``.

        Args:
            n_envs: Number of environments, for the rollout's size.

        Raises:
            InputError: The rollout would be of a single step.
        """
        rollout = n_envs * self.n_steps
        if rollout < 2:
            raise InputError("a rollout needs at least 2 steps: raise n_steps or the environments")
        return {
            "n_steps": self.n_steps,
            "batch_size": min(self.batch_size, rollout),
            "n_epochs": self.n_epochs,
            "learning_rate": self.policy_learning_rate,
            "gamma": self.gamma,
            "gae_lambda": self.gae_lambda,
            "clip_range": self.clip_range,
            "clip_range_vf": self.clip_range_vf,
            "ent_coef": self.ent_coef,
            "vf_coef": self.vf_coef,
            "max_grad_norm": self.max_grad_norm,
            "target_kl": self.target_kl,
            "normalize_advantage": self.normalize_advantage,
            "policy_kwargs": self.policy_kwargs,
        }

    @property
    def policy_kwargs(self) -> dict[str, Any]:
        """Those of the settings that are arguments of the policy."""
        return {
            "log_std_init": self.log_std_init,
            "net_arch": list(self.policy_hidden_sizes),
            "optimizer_kwargs": {"fused": True, "eps": self.adam_eps},
        }


def policy_defaults(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return arguments of a policy, those that are not given as :class:`PPOConfig` has them.

    Args:
        given: ``policy_kwargs`` as stable-baselines3's ``PPO`` takes them.
    """
    given = given or {}
    usual = PPOConfig().policy_kwargs
    if "optimizer_class" in given:  # it may know no such arguments
        del usual["optimizer_kwargs"]
    return {**usual, **given}


def rollout_defaults(n_envs: int, n_steps: int | None = None) -> dict[str, int]:
    """Return the size of rollouts and minibatches where nothing else is asked for.

    A rollout is of about as many transitions as the defaults of :class:`PPOConfig` make it with 64
    environments, 2,048 in eight minibatches, however many environments there are;
    stable-baselines3's 2,048 steps of *each* environment would be 131,072 transitions there.

    Args:
        n_envs: Number of environments.
        n_steps: Steps of each in a rollout, if they are given.

    Returns:
        ``n_steps`` and ``batch_size``, arguments of stable-baselines3's ``PPO``.
    """
    usual = PPOConfig()
    if n_steps is not None:
        return {"n_steps": n_steps, "batch_size": min(usual.batch_size, n_envs * n_steps)}
    transitions = _ENVS * usual.n_steps
    minibatches = transitions // usual.batch_size
    n_steps = transitions // n_envs // minibatches * minibatches  # equal minibatches
    if n_steps:
        return {"n_steps": n_steps, "batch_size": n_envs * n_steps // minibatches}
    return {"n_steps": max(1, transitions // n_envs), "batch_size": n_envs}
