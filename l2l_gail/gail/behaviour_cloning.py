"""Behaviour cloning: the supervised control, and a possible start for GAIL."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor
from torch.nn import functional as F

from l2l_gail.core import all_finite
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.observations import map_parts
from l2l_gail.ppo.observations import as_tensors, network_input

__all__ = ["Cloning", "behaviour_cloning", "check_clonable", "cloning_optimizer"]

_CLASSES = (CategoricalDistribution, MultiCategoricalDistribution, BernoulliDistribution)
_CRITIC = ("value_net.", "mlp_extractor.value_net.")
"""Modules of SB3's policies whose output is a value."""
_AT_ONCE = 1024
"""Observations that are measured in one batch, since they may be images."""


def behaviour_cloning(
    policy: ActorCriticPolicy,
    demonstrations: Demonstrations,
    *,
    steps: int = 5000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> float:
    """Fit a policy to the demonstrated actions (Pomerleau 1989).

    The mean of a Gaussian policy is fitted by least squares, probabilities of classes by maximum
    likelihood. Only what the action depends on is moved, by a new Adam: the value network, the
    action noise and the policy's own optimizer stay as they are.

    Args:
        policy: A Gaussian policy, or one over classes; moved in place.
        demonstrations: Expert pairs, of the policy's spaces.
        steps: Gradient steps.
        batch_size: Pairs a step, drawn with replacement.
        learning_rate: Adam's rate at the start; it falls linearly to 0.
        seed: Seed of the batches.

    Returns:
        The error over all demonstrations, after the fit: the mean squared error of an action's
        entry, or the mean negative log-likelihood of an action in nats.

    Raises:
        InputError: If the policy is neither, or the demonstrations have no actions; or the policy
            is no longer finite, as with a learning rate that is too high.
    """
    fit = Cloning(
        policy, demonstrations, batch_size=batch_size, learning_rate=learning_rate, seed=seed
    )
    policy.set_training_mode(True)
    fit.steps(range(steps), steps)
    policy.set_training_mode(False)
    return fit.error()


class Cloning:
    """The fit of a policy to demonstrated actions, a gradient step at a time.

    Args:
        policy: A Gaussian policy, or one over classes; moved in place.
        demonstrations: Expert pairs, of the policy's spaces.
        batch_size: Pairs a step, drawn with replacement.
        learning_rate: Adam's rate at the start, which falls linearly to 0; or a schedule, which
            gives the rate for what remains of the fit, from 1 to 0.
        seed: Seed of the batches.
        optimizer: That of :func:`cloning_optimizer`, of an earlier sitting; a new one by default.

    Raises:
        InputError: If the policy is neither, or the demonstrations have no actions.
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        demonstrations: Demonstrations,
        *,
        batch_size: int,
        learning_rate: float | Schedule,
        seed: int,
        optimizer: torch.optim.Adam | None = None,
    ) -> None:
        check_clonable(policy)
        acts = demonstrations.needed("acts", "behaviour cloning")
        self.policy = policy
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self._obs = network_input(as_tensors(demonstrations.obs, policy.device))
        self._acts = torch.as_tensor(acts, device=policy.device).reshape(
            len(acts), *(policy.action_space.shape or ())
        )
        self.optimizer = optimizer or cloning_optimizer(policy, self._rate(0.0))
        self._rng = np.random.default_rng(seed)

    def steps(self, steps: range, total: int) -> Tensor:
        """Take gradient steps.

        Args:
            steps: Their numbers, the first of the fit being 0.
            total: Steps of the whole fit.

        Returns:
            The batches' errors before each step, ``(len(steps),)``, detached; each as that of
            :func:`behaviour_cloning`.

        Raises:
            InputError: The policy is not finite after them.
        """
        try:
            errors = [self._step(step / total) for step in steps]
        except ValueError:  # torch's distributions refuse what is not finite
            self._check_finite(steps)
            raise
        self._check_finite(steps)
        return torch.stack(errors) if errors else torch.zeros(0)

    def _step(self, progress: float) -> Tensor:
        self.optimizer.param_groups[0]["lr"] = self._rate(progress)
        rows = torch.as_tensor(self._draw(), device=self.policy.device)
        loss = self._error(rows)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _rate(self, progress: float) -> float:
        """Return Adam's rate where a share of the steps, from 0 to 1, is done."""
        if callable(self.learning_rate):
            return float(self.learning_rate(1 - progress))
        return self.learning_rate * (1 - progress)

    def _check_finite(self, steps: range) -> None:
        if not all_finite(dict(self.policy.named_parameters())):
            a_number = not callable(self.learning_rate)
            rate = f", {self.learning_rate:g}" if a_number else " that the schedule gives"
            raise InputError(
                f"behaviour cloning: the policy is no longer finite by gradient step {steps.stop}: "
                f"lower the learning rate{rate}"
            )

    def skip(self, steps: int) -> None:
        """Leave out the batches of steps that an earlier sitting has taken."""
        for _ in range(steps):
            self._draw()

    def error(self) -> float:
        """Return the error over all demonstrations, as of :func:`behaviour_cloning`."""
        n = len(self._acts)
        with torch.no_grad():
            errors = [
                self._error(rows) * (len(rows) / n)
                for rows in torch.arange(n, device=self.policy.device).split(_AT_ONCE)
            ]
        return float(torch.stack(errors).sum())

    def _error(self, rows: Tensor) -> Tensor:
        obs = map_parts(lambda x: x[rows], self._obs)
        return _error(self.policy.get_distribution(obs), self._acts[rows])

    def _draw(self) -> np.ndarray:
        return self._rng.integers(len(self._acts), size=self.batch_size)


def cloning_optimizer(policy: ActorCriticPolicy, learning_rate: float) -> torch.optim.Adam:
    """Return an Adam on the parameters that a policy's action depends on.

    By where they lie, whatever they are called: a features extractor may have a ``value`` of its
    own. What is part of the value network and of something else, too, is among them.
    """
    named = policy.named_parameters(remove_duplicate=False)
    parameters = dict.fromkeys(
        p for name, p in named if not name.startswith(_CRITIC) and name != "log_std"
    )
    return torch.optim.Adam(parameters, lr=learning_rate)


def _error(distribution: Distribution, actions: Tensor) -> Tensor:
    if isinstance(distribution, _CLASSES):
        return -distribution.log_prob(actions.float()).mean()
    return F.mse_loss(distribution.mode(), actions.flatten(1).float())


def check_clonable(policy: ActorCriticPolicy) -> None:
    """Refuse a policy whose action cannot be fitted.

    Raises:
        InputError: If the policy is neither a plain Gaussian one nor one over classes.
    """
    # Exactly these classes: the Gaussian's squashed heir's mean is not the action that is applied.
    if type(policy.action_dist) not in (DiagGaussianDistribution, *_CLASSES):
        raise InputError("behaviour cloning needs a Gaussian policy without squashing or gSDE")
