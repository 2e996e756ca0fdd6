"""Discriminators: what they are to GAIL, a tanh network, and a module of your own."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from l2l_gail.core import Vars
from l2l_gail.ppo.policy import ObservationStatistics
from l2l_gail.ppo.tanh_network import tanh_layer

__all__ = ["JUDGED", "Discriminator", "ModuleDiscriminator", "TanhDiscriminator"]

JUDGED = ("state_action", "state_transition")
"""What a discriminator may judge: ``(s, a)``, or ``(s, s')``, which needs no expert's actions."""


class Discriminator(nn.Module, ABC):
    """``logit(s, a)`` or ``logit(s, s')``, high where a transition looks like the expert's.

    =============== =================================================== ==============
    name            meaning                                             shape
    =============== =================================================== ==============
    obs             raw observations                                    (B, obs_dim)
    acts            raw actions, clipped here on both sides             (B, act_dim)
    next_obs        raw observations after the actions                  (B, obs_dim)
    inputs          normalised observation beside what else is judged   (B, in_dim)
    logits          expert is high                                      (B,)
    =============== =================================================== ==============

    Actions are clipped to the action space for expert and policy alike: an expert recorded before
    the environment's own clipping would otherwise be known by its actions' size alone.

    Every method takes the weights as an argument, because the update rule moves them as data; the
    module's own are a copy, for saving and for use after training.

    Args:
        observation_space: A flat ``Box``.
        action_space: A flat ``Box``; infinite bounds are not clipped.
        judges: What it sees beside the observation, a name of ``JUDGED``: the clipped action, or
            the next observation, normalised likewise (Torabi et al. 2018, arXiv 1807.06158).
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        judges: str = "state_action",
    ) -> None:
        super().__init__()
        self.judges = judges
        self.obs_dim = math.prod(observation_space.shape)
        self.act_dim = math.prod(action_space.shape)
        self.in_dim = self.obs_dim + (self.act_dim if judges == "state_action" else self.obs_dim)
        self.statistics = ObservationStatistics(self.obs_dim)
        for name, bound in (("low", action_space.low), ("high", action_space.high)):
            self.register_buffer(name, torch.as_tensor(bound, dtype=torch.float32).flatten())

    @abstractmethod
    def logits_expert_is_high(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return logits ``(B,)`` of inputs ``(B, in_dim)``, under given weights or its own."""

    def input_gradient(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return ``grad_x logit(x)``, shape ``(B, in_dim)``, differentiable in the weights.

        By autograd; a class that knows its derivative writes it out instead.
        """
        with torch.enable_grad():
            points = inputs.detach().requires_grad_()
            logits = self.logits_expert_is_high(points, weights)
            (gradient,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
        return gradient

    def weights(self) -> Vars:
        """Return a detached copy of the module's own weights, by name."""
        return {name: p.detach().clone() for name, p in self.named_parameters()}

    @torch.no_grad()
    def adopt(self, weights: Vars) -> None:
        """Copy weights that a rule has moved into the module."""
        for name, parameter in self.named_parameters():
            parameter.copy_(weights[name])

    def inputs(
        self, obs: Tensor, acts: Tensor | None = None, next_obs: Tensor | None = None
    ) -> Tensor:
        """Return network inputs ``(B, in_dim)`` from raw ones; what is not judged may be None."""
        if self.judges == "state_transition":
            assert next_obs is not None
            return torch.cat([self.statistics(obs), self.statistics(next_obs)], dim=1)
        assert acts is not None
        return torch.cat([self.statistics(obs), acts.clamp(self.low, self.high)], dim=1)

    def forward(
        self, obs: Tensor, acts: Tensor | None = None, next_obs: Tensor | None = None
    ) -> Tensor:
        """Return the logits ``(B,)`` of raw transitions, under its own weights."""
        return self.logits_expert_is_high(self.inputs(obs, acts, next_obs))


class TanhDiscriminator(Discriminator):
    """A tanh network with its input gradient in closed form.

    Args:
        observation_space: A flat ``Box``.
        action_space: A flat ``Box``; infinite bounds are not clipped.
        hidden_sizes: Widths of the tanh layers.
        judges: As for any discriminator.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        hidden_sizes: Sequence[int] = (100, 100),
        judges: str = "state_action",
    ) -> None:
        super().__init__(observation_space, action_space, judges)
        widths = [self.in_dim, *hidden_sizes, 1]
        self.layers = nn.ModuleList(
            nn.Linear(n_in, n_out) for n_in, n_out in itertools.pairwise(widths)
        )

    def logits_expert_is_high(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return logits ``(B,)`` of inputs ``(B, in_dim)``, under given weights or its own."""
        *hidden, (w_out, b_out) = self._pairs(weights)
        h = inputs
        for w, b in hidden:
            h = tanh_layer(h, w, b)
        return F.linear(h, w_out, b_out).squeeze(-1)

    def input_gradient(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return ``grad_x logit(x)``, shape ``(B, in_dim)``, differentiable in the weights.

        Written out by the chain rule, ``W1' (t1' * W2' (t2' * w_out))`` with ``t' = 1 - tanh^2``:
        a gradient penalty then costs one backward pass instead of a double one.
        """
        *hidden, (w_out, _) = self._pairs(weights)
        slopes = []
        h = inputs
        for w, b in hidden:
            h = tanh_layer(h, w, b)
            slopes.append(1.0 - h * h)
        gradient = w_out.expand(len(inputs), -1)  # (B, last width)
        for (w, _), slope in zip(reversed(hidden), reversed(slopes), strict=True):
            gradient = (gradient * slope) @ w
        return gradient

    def _pairs(self, weights: Vars | None) -> list[tuple[Tensor, Tensor]]:
        """Return (weight, bias) of each layer, first to last."""
        if weights is None:
            weights = dict(self.named_parameters())
        names = [f"layers.{i}." for i in range(len(self.layers))]
        return [(weights[name + "weight"], weights[name + "bias"]) for name in names]


class ModuleDiscriminator(Discriminator):
    """A module of your own as a discriminator; its input gradient is autograd's.

    Args:
        observation_space: A flat ``Box``.
        action_space: A flat ``Box``; infinite bounds are not clipped.
        network: Maps normalised observations ``(B, obs_dim)`` and clipped actions ``(B, act_dim)``
            (or next observations, normalised) to logits ``(B,)`` or ``(B, 1)``, high where the
            expert is. Without batch statistics or dropout: an update calls it several times, and
            the calls have to agree.
        judges: As for any discriminator.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        network: nn.Module,
        judges: str = "state_action",
    ) -> None:
        super().__init__(observation_space, action_space, judges)
        self.network = network

    def logits_expert_is_high(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return logits ``(B,)`` of inputs ``(B, in_dim)``, under given weights or its own."""
        obs, beside = inputs.split([self.obs_dim, self.in_dim - self.obs_dim], dim=1)
        if weights is None:
            logits = self.network(obs, beside)
        else:
            own = {name.removeprefix("network."): value for name, value in weights.items()}
            logits = functional_call(self.network, own, (obs, beside))
        return logits.reshape(len(inputs))
