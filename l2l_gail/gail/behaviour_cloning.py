"""Behaviour cloning: the supervised control, and a possible start for GAIL."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor
from torch.nn import functional as F

from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError

__all__ = ["Cloning", "behaviour_cloning", "check_clonable", "cloning_optimizer"]


def behaviour_cloning(
    policy: ActorCriticPolicy,
    demonstrations: Demonstrations,
    *,
    steps: int = 5000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> float:
    """Fit a policy's mean action to the demonstrations by least squares (Pomerleau 1989).

    Only what the mean action depends on is moved, by a new Adam: the value network, the action
    noise and the policy's own optimizer stay as they are.

    Args:
        policy: A Gaussian policy, moved in place.
        demonstrations: Expert pairs; observations ``(T, obs_dim)``, actions ``(T, act_dim)``.
        steps: Gradient steps.
        batch_size: Pairs a step, drawn with replacement.
        learning_rate: Adam's rate at the start; it falls linearly to 0.
        seed: Seed of the batches.

    Returns:
        The mean squared error of an action's entry over all demonstrations, after the fit.

    Raises:
        InputError: If the policy is not Gaussian, or the demonstrations have no actions.
    """
    fit = Cloning(
        policy, demonstrations, batch_size=batch_size, learning_rate=learning_rate, seed=seed
    )
    policy.set_training_mode(True)
    for step in range(steps):
        fit.step(step / steps)
    policy.set_training_mode(False)
    return fit.error()


class Cloning:
    """The fit of a policy's mean action, a gradient step at a time.

    Args:
        policy: A Gaussian policy, moved in place.
        demonstrations: Expert pairs.
        batch_size: Pairs a step, drawn with replacement.
        learning_rate: Adam's rate at the start; it falls linearly to 0.
        seed: Seed of the batches.
        optimizer: That of :func:`cloning_optimizer`, of an earlier sitting; a new one by default.

    Raises:
        InputError: If the policy is not Gaussian.
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        demonstrations: Demonstrations,
        *,
        batch_size: int,
        learning_rate: float,
        seed: int,
        optimizer: torch.optim.Adam | None = None,
    ) -> None:
        check_clonable(policy)
        self.policy = policy
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self._obs, self._acts = (
            torch.as_tensor(array, dtype=torch.float32, device=policy.device)
            for array in (demonstrations.obs, demonstrations.needed("acts", "behaviour cloning"))
        )
        self.optimizer = optimizer or cloning_optimizer(policy, learning_rate)
        self._rng = np.random.default_rng(seed)

    def step(self, progress: float) -> Tensor:
        """Take one gradient step.

        Args:
            progress: Share of the fit that is done, from 0 to 1.

        Returns:
            The batch's mean squared error before the step, a detached scalar.
        """
        self.optimizer.param_groups[0]["lr"] = self.learning_rate * (1 - progress)
        rows = torch.as_tensor(self._draw(), device=self.policy.device)
        loss = F.mse_loss(self.policy.get_distribution(self._obs[rows]).mode(), self._acts[rows])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def skip(self, steps: int) -> None:
        """Leave out the batches of steps that an earlier sitting has taken."""
        for _ in range(steps):
            self._draw()

    def error(self) -> float:
        """Return the mean squared error of an action's entry over all demonstrations."""
        with torch.no_grad():
            mean = self.policy.get_distribution(self._obs).mode()
            return float(F.mse_loss(mean, self._acts))

    def _draw(self) -> np.ndarray:
        return self._rng.integers(len(self._obs), size=self.batch_size)


def cloning_optimizer(policy: ActorCriticPolicy, learning_rate: float) -> torch.optim.Adam:
    """Return an Adam on the parameters that a policy's mean action depends on."""
    named = policy.named_parameters()
    parameters = [p for name, p in named if "value" not in name and name != "log_std"]
    return torch.optim.Adam(parameters, lr=learning_rate)


def check_clonable(policy: ActorCriticPolicy) -> None:
    """Refuse a policy whose mean action cannot be fitted.

    Raises:
        InputError: If the policy is not a plain Gaussian one.
    """
    # Exactly this class: its squashed heir's mean is not the action that is applied.
    if type(policy.action_dist) is not DiagGaussianDistribution:
        raise InputError("behaviour cloning needs a Gaussian policy without squashing or gSDE")
