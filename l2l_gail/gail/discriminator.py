"""Discriminators: what they are to GAIL, a tanh network, and a module of your own.

Where observations hold images the tanh network stands on a features extractor of
stable-baselines3. The extractor is the discriminator's own, not shared with the policy: its weights
are among those that the update rule moves, that the penalties bound and that the losses are a
function of. A shared one would be moved by PPO between two updates, and what the rule remembers
(momentum, a learned state) would be about another function than the one it updates.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.func import functional_call

from l2l_gail.core import Vars
from l2l_gail.errors import InputError
from l2l_gail.gail.features import TransitionFeatures
from l2l_gail.ppo.observations import TensorObservations
from l2l_gail.ppo.policy import ObservationStatistics
from l2l_gail.ppo.tanh_network import layer_pairs, linear_stack, tanh_forward, tanh_layer

__all__ = [
    "JUDGED",
    "Discriminator",
    "ExtractorDiscriminator",
    "ModuleDiscriminator",
    "OwnDiscriminator",
    "TanhDiscriminator",
    "make_discriminator",
]

JUDGED = ("state_action", "state_transition")
"""What a discriminator may judge: ``(s, a)``, or ``(s, s')``, which needs no expert's actions."""

_SCORED_AT_ONCE = 2**25
"""Entries of network inputs for which logits are computed in one batch: 128 MiB."""


class Discriminator(nn.Module, ABC):
    """``logit(s, a)`` or ``logit(s, s')``, high where a transition looks like the expert's.

    =============== =================================================== ==============
    name            meaning                                             shape
    =============== =================================================== ==============
    obs             raw observations                                    (B, *shape)
    acts            raw actions, clipped here on both sides             (B, *shape)
    next_obs        raw observations after the actions                  (B, *shape)
    rows            transitions as they are kept, see ``features``      (B, in_dim)
    inputs          normalised observation beside what else is judged   (B, in_dim)
    logits          expert is high                                      (B,)
    =============== =================================================== ==============

    Actions are clipped to the action space for expert and policy alike: an expert recorded before
    the environment's own clipping would otherwise be known by its actions' size alone. What is no
    continuous ``Box`` becomes numbers as :mod:`l2l_gail.gail.features` says.

    Every method takes the weights as an argument, because the update rule moves them as data; the
    module's own are a copy, for saving and for use after training.

    Args:
        observation_space: ``Box``, ``Discrete``, ``MultiDiscrete``, ``MultiBinary``, or a ``Dict``
            of such; observations that are a dict are passed as one.
        action_space: Any of them but a ``Dict``; infinite bounds of a ``Box`` are not clipped.
        judges: What it sees beside the observation, a name of ``JUDGED``: the clipped action, or
            the next observation, normalised likewise (Torabi et al. 2018, arXiv 1807.06158), which
            is for observations without images.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        judges: str = "state_action",
    ) -> None:
        super().__init__()
        self.judges = judges
        self.features = TransitionFeatures(
            observation_space, action_space, of_states=judges == "state_transition"
        )
        self.obs_dim, self.act_dim = self.features.obs_dim, self.features.act_dim
        self.in_dim = self.obs_dim + self.features.beside_dim
        self.statistics = ObservationStatistics(self.features.parts.continuous_width)
        for name in ("low", "high"):
            bound = getattr(action_space, name, ())  # classes have none
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
        """Return a detached copy of the weights that are to be trained, by name.

        Others, which require no gradient, stay where they are.
        """
        return {n: p.detach().clone() for n, p in self.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def adopt(self, weights: Vars) -> None:
        """Copy weights that a rule has moved into the module."""
        for name, weight in weights.items():
            self.get_parameter(name).copy_(weight)

    def rows(
        self,
        obs: TensorObservations,
        acts: Tensor | None = None,
        next_obs: TensorObservations | None = None,
    ) -> Tensor:
        """Return transitions ``(B, in_dim)`` as they are kept; what is not judged may be None.

        Of the least type that holds them; :meth:`inputs_of_rows` makes network inputs of them.
        """
        now = self.features.observation_rows(obs, self.statistics)
        if self.judges == "state_transition":
            assert next_obs is not None
            beside = self.features.observation_rows(next_obs, self.statistics)
        else:
            assert acts is not None
            beside = self.features.action_rows(acts, self.low, self.high)
        return torch.cat([now, beside], dim=1)

    def inputs_of_rows(self, rows: Tensor) -> Tensor:
        """Return network inputs ``(B, in_dim)`` of transitions that :meth:`rows` made."""
        return self.features.inputs_of_rows(rows)

    def which_are_transitions(self, rows: Tensor) -> Tensor | slice:
        """Return which of the rows are transitions: all, unless a class adds others to them."""
        return slice(None)

    def logits_of_rows(self, rows: Tensor, weights: Vars | None = None) -> Tensor:
        """Return the logits ``(n,)`` of rows ``(n, in_dim)``; many of images in several batches."""
        batches = rows.split(max(1, _SCORED_AT_ONCE // rows.shape[1]))
        return torch.cat(
            [self.logits_expert_is_high(self.inputs_of_rows(some), weights) for some in batches]
        )

    def inputs(
        self,
        obs: TensorObservations,
        acts: Tensor | None = None,
        next_obs: TensorObservations | None = None,
    ) -> Tensor:
        """Return network inputs ``(B, in_dim)`` from raw ones; what is not judged may be None."""
        return self.inputs_of_rows(self.rows(obs, acts, next_obs))

    def forward(
        self,
        obs: TensorObservations,
        acts: Tensor | None = None,
        next_obs: TensorObservations | None = None,
    ) -> Tensor:
        """Return the logits ``(B,)`` of raw transitions, under its own weights."""
        return self.logits_expert_is_high(self.inputs(obs, acts, next_obs))


class TanhDiscriminator(Discriminator):
    """A tanh network with its input gradient in closed form.

    Args:
        observation_space: As in ``Discriminator``.
        action_space: As in ``Discriminator``.
        hidden_sizes: Widths of the tanh layers.
        judges: As in ``Discriminator``.
        features_dim: Features of an observation that the first layer takes beside the action;
            those of the flat input by default.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        hidden_sizes: Sequence[int] = (100, 100),
        judges: str = "state_action",
        features_dim: int | None = None,
    ) -> None:
        super().__init__(observation_space, action_space, judges)
        n_features = self.obs_dim if features_dim is None else features_dim
        self.layers = linear_stack(n_features + self.features.beside_dim, hidden_sizes)

    def logits_expert_is_high(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return logits ``(B,)`` of inputs ``(B, in_dim)``, under given weights or its own."""
        return tanh_forward(inputs, self._pairs(weights))

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
        return layer_pairs("layers", weights)


class ExtractorDiscriminator(TanhDiscriminator):
    """A tanh network on the features of an extractor beside the action; for images.

    Args:
        observation_space: As in ``Discriminator``.
        action_space: As in ``Discriminator``.
        extractor: Takes observations as SB3's policies give them to one: in their own shapes,
            pixels from 0 to 1, classes one-hot; continuous entries are normalised. Trained with the
            rest. Without batch statistics or dropout.
        hidden_sizes: Widths of the tanh layers.
        normalize_images: As in SB3's policies: false for an extractor that takes pixels from 0 to
            255. Inputs, and what a penalty bounds, are pixels from 0 to 1 all the same.
    """

    input_gradient = Discriminator.input_gradient  # by autograd, through the extractor

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        extractor: BaseFeaturesExtractor,
        hidden_sizes: Sequence[int] = (100, 100),
        *,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space, action_space, hidden_sizes, features_dim=extractor.features_dim
        )
        self.extractor = extractor
        self.normalize_images = normalize_images

    def logits_expert_is_high(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return logits ``(B,)`` of inputs ``(B, in_dim)``, under given weights or its own."""
        obs, acts = self.features.split(inputs)
        if not self.normalize_images:
            obs = self.features.whole_pixels(obs)
        features = _call(self.extractor, "extractor.", weights, obs)
        return super().logits_expert_is_high(torch.cat([features, acts], dim=1), weights)


class ModuleDiscriminator(Discriminator):
    """A module of your own as a discriminator; its input gradient is autograd's.

    Args:
        observation_space: As in ``Discriminator``.
        action_space: As in ``Discriminator``.
        network: Maps normalised observations ``(B, *shape)``, a dict of them for a ``Dict`` space,
            and clipped actions ``(B, act_dim)``, or the next observations in the same form, to
            logits ``(B,)`` or ``(B, 1)``, high where the expert is. Pixels are from 0 to 1, classes
            one-hot. Without batch statistics or dropout: an update calls it several times, and the
            calls have to agree.
        judges: As in ``Discriminator``.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        network: nn.Module,
        judges: str = "state_action",
    ) -> None:
        super().__init__(observation_space, action_space, judges)
        self.network = network

    def logits_expert_is_high(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return logits ``(B,)`` of inputs ``(B, in_dim)``, under given weights or its own."""
        obs, beside = self.features.split(inputs)
        return _call(self.network, "network.", weights, obs, beside).reshape(len(inputs))


class OwnDiscriminator(ModuleDiscriminator):
    """A :class:`Discriminator` of your own, with its own input gradient.

    Its inputs are made here, normalised by the demonstrations' statistics; its own statistics are
    not used.

    Args:
        observation_space: As in ``Discriminator``.
        action_space: As in ``Discriminator``.
        network: Yours, made for the same spaces.
        judges: As in ``Discriminator``.

    Raises:
        InputError: It takes inputs of another width.
    """

    network: Discriminator

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        network: Discriminator,
        judges: str = "state_action",
    ) -> None:
        super().__init__(observation_space, action_space, network, judges)
        if network.in_dim != self.in_dim:
            raise InputError(
                f"discriminator_network takes {network.in_dim} inputs, not {self.in_dim}: make it "
                f"for the environment's spaces, with judges={judges!r}"
            )

    def logits_expert_is_high(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return logits ``(B,)`` of inputs ``(B, in_dim)``, under given weights or its own."""
        return self.network.logits_expert_is_high(inputs, _within("network.", weights))

    def input_gradient(self, inputs: Tensor, weights: Vars | None = None) -> Tensor:
        """Return ``grad_x logit(x)``, shape ``(B, in_dim)``, as the network has it."""
        return self.network.input_gradient(inputs, _within("network.", weights))


def make_discriminator(
    policy: ActorCriticPolicy,
    hidden_sizes: Sequence[int],
    network: nn.Module | None = None,
    judges: str = "state_action",
) -> Discriminator:
    """Return the discriminator for a policy's spaces.

    Where observations hold images, and the policy looks at them through an extractor with weights
    (``NatureCNN`` in ``"CnnPolicy"`` and ``"MultiInputPolicy"``, one of your own by
    ``policy_kwargs``), the discriminator gets a new one of the same class.

    Args:
        policy: The policy, not changed.
        hidden_sizes: Widths of the tanh layers.
        network: A module of your own instead, or a discriminator, of which a copy is used.
        judges: A name of ``JUDGED``.
    """
    spaces_of = policy.observation_space, policy.action_space
    if isinstance(network, Discriminator):
        return OwnDiscriminator(*spaces_of, copy.deepcopy(network), judges)
    if network is not None:
        return ModuleDiscriminator(*spaces_of, copy.deepcopy(network), judges)
    has_weights = any(True for _ in policy.features_extractor.parameters())
    if not has_weights or not TransitionFeatures(*spaces_of).parts.images:
        return TanhDiscriminator(*spaces_of, hidden_sizes, judges)
    kind = policy.features_extractor_class
    kind = getattr(kind, "after_normalisation", kind)
    extractor = kind(policy.observation_space, **policy.features_extractor_kwargs)
    return ExtractorDiscriminator(
        *spaces_of, extractor, hidden_sizes, normalize_images=policy.normalize_images
    )


def _call(module: nn.Module, prefix: str, weights: Vars | None, *args: Any) -> Tensor:
    """Call a part of a discriminator, under its own weights or the ``weights`` of its names."""
    own = _within(prefix, weights)
    if own is None:
        result: Tensor = module(*args)
        return result
    return functional_call(module, own, args)


def _within(prefix: str, weights: Vars | None) -> Vars | None:
    """Return the weights of a part by its own names; ``None``, for those it has, stays that."""
    if weights is None:
        return None
    return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
