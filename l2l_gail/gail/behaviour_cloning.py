"""Behaviour cloning: the supervised control, and a possible start for GAIL."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.nn import functional as F

from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError

__all__ = ["behaviour_cloning", "check_clonable"]


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
    check_clonable(policy)
    demonstrated = demonstrations.needed("acts", "behaviour cloning")
    obs = torch.as_tensor(demonstrations.obs, dtype=torch.float32, device=policy.device)
    acts = torch.as_tensor(demonstrated, dtype=torch.float32, device=policy.device)
    parameters = [
        p for name, p in policy.named_parameters() if "value" not in name and name != "log_std"
    ]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    rng = np.random.default_rng(seed)
    policy.set_training_mode(True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        rows = torch.as_tensor(rng.integers(len(obs), size=batch_size), device=policy.device)
        mean = policy.get_distribution(obs[rows]).mode()
        loss = F.mse_loss(mean, acts[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    policy.set_training_mode(False)
    with torch.no_grad():
        return float(F.mse_loss(policy.get_distribution(obs).mode(), acts))


def check_clonable(policy: ActorCriticPolicy) -> None:
    """Refuse a policy whose mean action cannot be fitted.

    Raises:
        InputError: If the policy is not a plain Gaussian one.
    """
    # Exactly this class: its squashed heir's mean is not the action that is applied.
    if type(policy.action_dist) is not DiagGaussianDistribution:
        raise InputError("behaviour cloning needs a Gaussian policy without squashing or gSDE")
