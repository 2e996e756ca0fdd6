"""Parts of GAIL that a user brings, tried on three made-up transitions before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from l2l_gail.errors import InputError
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.config import DiscriminatorConfig
from l2l_gail.gail.discriminator import Discriminator, ExtractorDiscriminator, ModuleDiscriminator
from l2l_gail.gail.losses import LOSSES
from l2l_gail.gail.penalties import PENALTIES
from l2l_gail.gail.rewards import REWARDS

__all__ = ["check_own_functions", "check_own_network"]

_ROWS = 3
_OUR_LOSSES, _OUR_PENALTIES = frozenset(LOSSES), frozenset(PENALTIES)
_OUR_REWARDS = frozenset(REWARDS)


def check_own_network(discriminator: Discriminator) -> None:
    """Refuse a network of one's own that gives no logits, or other ones at each call.

    A features extractor of the policy's own class, through which the discriminator looks, too.

    Raises:
        InputError: It has batch statistics, dropout or a weight in two places, cannot be called as
            it will be, or returns something else than a logit for each transition.
    """
    if isinstance(discriminator, ExtractorDiscriminator):
        _check_extractor(discriminator)
    if not isinstance(discriminator, ModuleDiscriminator):
        return
    network = discriminator.network
    _check_repeatable("discriminator_network", network, "leave it out, or take LayerNorm")
    once = dict(network.named_parameters())
    twice = [n for n, _ in network.named_parameters(remove_duplicate=False) if n not in once]
    if twice:
        raise InputError(
            f"discriminator_network has one weight in two places, {twice[0]} being the second: "
            "call one module twice in its place"
        )
    parts = discriminator.features.split(_transitions(discriminator))
    with _named("discriminator_network"), torch.no_grad():
        looks = [network(*parts) for _ in range(2)]
    for logits in looks:
        _check("discriminator_network", logits, (_ROWS,), (_ROWS, 1))
    if not torch.equal(*looks):
        raise InputError("discriminator_network: two looks at one transition differ")


def _check_extractor(discriminator: ExtractorDiscriminator) -> None:
    extractor = discriminator.extractor
    if type(extractor) in (NatureCNN, CombinedExtractor):
        return
    what = "features_extractor_class"
    way_out = "take GroupNorm, or give a discriminator_network, which does not look through it"
    _check_repeatable(what, extractor, way_out)
    rows = _transitions(discriminator)
    with _named(what), torch.no_grad():
        looks = [discriminator.logits_expert_is_high(rows) for _ in range(2)]
    if not torch.equal(*looks):
        raise InputError(f"{what}: two looks at one transition differ: {way_out}")


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
    with torch.no_grad():
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


def _transitions(discriminator: Discriminator) -> Tensor:
    device = next(discriminator.parameters()).device
    return torch.zeros(_ROWS, discriminator.in_dim, device=device)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Say in one line whose the mistake was."""
    try:
        yield
    except InputError:
        raise
    # What a user's code may raise is anything.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{what} cannot be called: {type(error).__name__}: {reason}") from error


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
