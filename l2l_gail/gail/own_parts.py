"""Parts of GAIL that a user brings, tried on a few made-up transitions before any work."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from l2l_gail.errors import InputError, one_line
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.config import DiscriminatorConfig
from l2l_gail.gail.discriminator import (
    Discriminator,
    ExtractorDiscriminator,
    ModuleDiscriminator,
    OwnDiscriminator,
)
from l2l_gail.gail.losses import LOSSES
from l2l_gail.gail.penalties import PENALTIES
from l2l_gail.gail.rewards import REWARDS
from l2l_gail.ppo.observations import TensorObservations

__all__ = ["check_own_functions", "check_own_network"]

_ROWS = 3
_LOOKED_AT = 64
"""Transitions on which calls have to agree: so many that little chance shows in some."""

_ROUNDING = 1e-4
_OF_ITS_OWN = 0.02
"""By how much of the largest logit a transition's may differ in a second look, and alone.

One alone may be computed in another order, which counts where a network rounds its numbers: TF32
to .0005 of them, bfloat16 to .004.
"""

_OUR_LOSSES = frozenset(LOSSES)
_OUR_PENALTIES = frozenset(PENALTIES)
_OUR_REWARDS = frozenset(REWARDS)
_ON_SLOPES = _OUR_PENALTIES - {"none"}


def check_own_network(config: DiscriminatorConfig, discriminator: Discriminator) -> None:
    """Refuse a network of one's own that gives no logits, or other ones at each call.

    A features extractor of the policy's own class, through which the discriminator looks, too.

    Raises:
        InputError: It has batch statistics, dropout or a weight in two places, cannot be called as
            it will be, returns something else than a logit for each transition, or one that is
            random, depends on other transitions, or has no gradient.
    """
    if isinstance(discriminator, ExtractorDiscriminator):
        _check_extractor(discriminator)
    if not isinstance(discriminator, ModuleDiscriminator):
        return
    what, network = "discriminator_network", discriminator.network
    way_out = "leave it out, or take LayerNorm"
    _check_repeatable(what, network, way_out)
    once = dict(network.named_parameters())
    twice = [n for n, _ in network.named_parameters(remove_duplicate=False) if n not in once]
    if twice:
        raise InputError(
            f"{what} has one weight in two places, {twice[0]} being the second: call one module "
            "twice in its place"
        )
    rows = _transitions(discriminator)
    is_whole = isinstance(discriminator, OwnDiscriminator)
    with _named(what), _buffers_kept(network), torch.no_grad():
        if is_whole:
            logits = discriminator.logits_expert_is_high(rows)
        else:
            logits = network(*discriminator.features.split(rows))
    _check(what, logits, (_ROWS,), *([] if is_whole else [(_ROWS, 1)]))
    _check_agreement(what, discriminator, "leave out what does that")
    _check_gradients(what, config, discriminator)
    if isinstance(discriminator, OwnDiscriminator):
        _check_input_gradient(what, discriminator)


def _check_extractor(discriminator: ExtractorDiscriminator) -> None:
    extractor = discriminator.extractor
    if type(extractor) in (NatureCNN, CombinedExtractor):
        return
    what = "features_extractor_class"
    way_out = "take GroupNorm, or give a discriminator_network, which does not look through it"
    _check_repeatable(what, extractor, way_out)
    _check_agreement(what, discriminator, way_out)


def _check_agreement(what: str, discriminator: Discriminator, way_out: str) -> None:
    """Refuse a part in which chance or other transitions have a say in a transition's logit."""
    rows = _transitions(discriminator, _LOOKED_AT)
    # As many as before, so that each is computed in the same order, and all others one transition.
    beside_others = torch.cat([rows[:_ROWS], rows[:1].expand(_LOOKED_AT - _ROWS, -1)])
    looks = []
    for given in (rows, rows, beside_others, *rows[:_ROWS].split(1)):
        # What calls alone move, such as the vectors of a spectral norm, is no chance.
        with _named(what), _buffers_kept(discriminator), torch.no_grad():
            looks.append(discriminator.logits_expert_is_high(given))
    first, again, beside, *alone = looks
    largest = float(first.abs().nan_to_num().max())
    if not _are_close(first, again, _ROUNDING * largest):
        raise InputError(f"{what}: two looks at one transition differ: {way_out}")
    if not (
        _are_close(first[:_ROWS], beside[:_ROWS], _ROUNDING * largest)
        and _are_close(first[:_ROWS], torch.cat(alone), _OF_ITS_OWN * largest)
    ):
        raise InputError(f"{what}: a transition's logit depends on those beside it: {way_out}")


def _are_close(one: Tensor, other: Tensor, room: float) -> bool:
    return torch.allclose(one, other, rtol=0, atol=room, equal_nan=True)


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Have all buffers be what they were afterwards, but for those that lazy layers make."""
    kept = [
        (part, name, buffer, buffer._version, buffer.clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
        if not is_lazy(buffer)
    ]
    try:
        yield
    finally:
        for part, name, buffer, version, value in kept:
            setattr(part, name, buffer)
            if buffer._version != version:
                buffer.copy_(value)


def _check_gradients(
    what: str, config: DiscriminatorConfig, discriminator: ModuleDiscriminator
) -> None:
    """Refuse a network cut off from its weights, or from transitions on which a penalty is."""
    weights = [w for w in discriminator.parameters() if w.requires_grad]
    if not weights:
        return  # which is refused where they are trained
    rows = _transitions(discriminator).requires_grad_()
    with _named(what), _buffers_kept(discriminator):
        logits = discriminator.logits_expert_is_high(rows)
        found: tuple[Tensor | None, ...] = (None,) * (1 + len(weights))
        if logits.requires_grad:
            found = torch.autograd.grad(logits.sum(), [rows, *weights], allow_unused=True)
    of_rows, *of_weights = found
    if all(gradient is None for gradient in of_weights):
        raise InputError(
            f"{what} cuts its logits off from its weights, which have no gradient then (no_grad, "
            "detach): leave that out"
        )
    penalties = [n for n in config.penalty if n in _ON_SLOPES and config.penalty_weight > 0]
    if of_rows is None and penalties:
        raise InputError(
            f"{what} cuts its logits off from the transitions, which have no gradient then, and "
            f"the penalty {penalties[0]!r} needs one: leave out what does that (detach, argmax), "
            "or give DiscriminatorConfig(penalty='none')"
        )


def _check_input_gradient(what: str, discriminator: OwnDiscriminator) -> None:
    """Refuse an input gradient that is written out and is not that of the logits."""
    rows = _transitions(discriminator)
    with _named(f"{what}.input_gradient"), _buffers_kept(discriminator):
        found = discriminator.input_gradient(rows).detach()
        right = Discriminator.input_gradient(discriminator, rows).detach()
    room = _OF_ITS_OWN * float(right.abs().nan_to_num().max())
    if found.shape != right.shape or not _are_close(found, right, room):
        raise InputError(
            f"{what}.input_gradient is not the derivative of its logits by the inputs: mend it, or "
            "leave it out for that of autograd"
        )


def _check_repeatable(what: str, network: nn.Module, way_out: str) -> None:
    for name, part in network.named_modules():
        if isinstance(part, (_BatchNorm, _DropoutNd)):
            raise InputError(
                f"{what}: {name or 'it'} is a {type(part).__name__}, with which two looks at one "
                f"transition differ: {way_out}"
            )


def check_own_functions(config: DiscriminatorConfig, discriminator: Discriminator) -> None:
    """Refuse a reward, loss or penalty of one's own that returns something else than it should.

    Raises:
        InputError: Naming the function, and what it has to return.
    """
    rows = _transitions(discriminator)
    with _buffers_kept(discriminator), torch.no_grad():
        logits = discriminator.logits_expert_is_high(rows)
    if config.reward not in _OUR_REWARDS:
        _check_function(f"the reward {config.reward!r}", (_ROWS,), REWARDS[config.reward], logits)
    if config.loss not in _OUR_LOSSES:
        _check_function(f"the loss {config.loss!r}", (), LOSSES[config.loss], logits, logits)
    for name in config.penalty:
        if name not in _OUR_PENALTIES:
            weights = {n: w.requires_grad_() for n, w in discriminator.weights().items()}
            given = discriminator, weights, TransitionBatch(rows, rows, rows)
            _check_function(f"the penalty {name!r}", (), PENALTIES[name], *given)


def _check_function(
    what: str, shape: tuple[int, ...], function: Callable[..., Any], *arguments: Any
) -> None:
    with _named(what):
        found = function(*arguments)
    _check(what, found, shape)


def _transitions(discriminator: Discriminator, count: int = _ROWS) -> Tensor:
    """Return made-up network inputs ``(count, in_dim)`` of its spaces, the same at each call.

    Zeros for a class that has other inputs than those of its features.
    """
    features, device = discriminator.features, discriminator.low.device
    if discriminator.in_dim != features.obs_dim + features.beside_dim:
        return torch.zeros(count, discriminator.in_dim, device=device)
    stream = torch.Generator().manual_seed(0)

    def made_up(space: Space[Any]) -> Tensor:
        if isinstance(space, spaces.Box) and not is_image_space(space):
            return torch.randn(count, *space.shape, generator=stream).to(device)
        space = copy.deepcopy(space)  # whose own stream goes on
        space.seed(int(torch.randint(2**31, (), generator=stream)))
        return torch.as_tensor(np.stack([space.sample() for _ in range(count)]), device=device)

    def observations() -> TensorObservations:
        made = {key: made_up(space) for key, space in features.parts.spaces.items()}
        return made if isinstance(features.observation_space, spaces.Dict) else made[""]

    obs = observations()
    if features.of_states:
        return discriminator.inputs(obs, None, observations())
    return discriminator.inputs(obs, made_up(features.action_space))


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say in one line whose the mistake was."""
    try:
        yield
    except InputError:
        raise
    # What a user's code may raise is anything.
    except Exception as error:
        kind = type(error).__name__
        raise InputError(f"{what} cannot be called: {kind}: {one_line(error)}") from error


def _check(what: str, found: Any, *shapes: tuple[int, ...]) -> None:
    one = "a scalar" if shapes == ((),) else f"one number for each of {_ROWS} transitions"
    given = type(found).__name__
    if isinstance(found, Tensor):
        if found.dtype == torch.float32 and found.shape in shapes:
            return
        given = f"{found.dtype} of shape {tuple(found.shape)}"
    raise InputError(
        f"{what} has to return {one} as a float32 tensor of shape "
        f"{' or '.join(map(str, shapes))}, not {given}"
    )
