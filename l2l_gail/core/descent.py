"""Steps along a given gradient, and whose parameters an optimizer may hold for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from l2l_gail.checks import check_kind
from l2l_gail.errors import InputError

__all__ = ["check_moves_rule", "check_optimizers", "descend", "parameters_of"]


def check_moves_rule(
    rule: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    name: str = "meta_optimizer",
    *,
    optional: bool = True,
) -> None:
    """Refuse an optimizer that holds a parameter of something else than the rule.

    The rule's gradient in such a parameter is zero: it would never move, and nobody would know.

    Args:
        rule: What is trained.
        optimizer: Holds some or all of its parameters.
        name: What the message calls it.
        optional: Whether it may be ``None``.

    Raises:
        InputError: It is no optimizer of given gradients, or one of other parameters.
    """
    _check_optimizer(name, optimizer, optional=optional)
    own = {id(parameter) for parameter in rule.parameters()}
    foreign = sum(id(parameter) not in own for parameter in _all_of(optimizer))
    if foreign:
        parameters = "a parameter that is" if foreign == 1 else f"{foreign} parameters that are"
        which = type(rule).__name__
        raise InputError(
            f"{name} holds {parameters} none of this {which}'s: make it of rule.parameters(), of "
            "the same rule"
        )


def check_optimizers(
    rule: nn.Module,
    meta_optimizer: torch.optim.Optimizer | None,
    leader_optimizer: torch.optim.Optimizer | None,
) -> None:
    """Refuse optimizers that do not move rule and leader, each its own parameters.

    Raises:
        InputError: One is no optimizer of given gradients; that of the rule holds a parameter of
            something else, or one that the leader's, which descends on the opposite, holds as well.
    """
    check_moves_rule(rule, meta_optimizer)
    _check_optimizer("leader_optimizer", leader_optimizer)
    of_rule = {id(parameter) for parameter in _all_of(meta_optimizer)}
    if any(id(parameter) in of_rule for parameter in _all_of(leader_optimizer)):
        raise InputError(
            "leader_optimizer and meta_optimizer share a parameter: make the first of the "
            "leader's parameters alone, the second of the rule's"
        )


def parameters_of(optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    """Return the parameters that an optimizer, which must be there, moves."""
    assert optimizer is not None
    return [p for p in _all_of(optimizer) if p.requires_grad]


def descend(
    optimizer: torch.optim.Optimizer | None,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
) -> None:
    """Take the optimizer's step along ``gradients``, of the shapes of ``parameters``."""
    assert optimizer is not None
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _check_optimizer(
    name: str, optimizer: torch.optim.Optimizer | None, *, optional: bool = True
) -> None:
    kind = torch.optim.Optimizer
    check_kind(name, optimizer, kind, "such as torch.optim.Adam", optional=optional)
    if isinstance(optimizer, torch.optim.LBFGS):
        raise InputError(
            f"{name} is LBFGS, which asks for the loss again within a step, and is given a "
            "gradient: take another, such as torch.optim.Adam"
        )


def _all_of(optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    groups = [] if optimizer is None else optimizer.param_groups
    return [parameter for group in groups for parameter in group["params"]]
