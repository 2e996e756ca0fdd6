"""The interface of every optimizer in this library, hand-designed or learned."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Self

from torch import Tensor, nn

from l2l_gail.checks import is_real
from l2l_gail.core.oracle import Oracle
from l2l_gail.core.types import State, Vars
from l2l_gail.errors import InputError

__all__ = ["UpdateRule", "plain_numbers"]


class UpdateRule(nn.Module):
    """A pure function ``(variables, oracle, state) -> (variables, state)`` that moves a follower.

    Hand-designed rules (sign descent, Adam, extragradient) have no parameters; learned ones have
    some, the ``phi`` of the paper, and are trained by :class:`~l2l_gail.core.trainer.L2LTrainer`.
    A rule never writes into its inputs and keeps no memory of its own: all memory is in ``state``.
    A trainer refuses one that does; what the oracle answers is the rule's own to write into.

    Args:
        **config: All arguments of the subclass's constructor, as plain values (numbers, strings,
            bools, ``None``, and lists and dicts of them): a checkpoint carries them beside the
            weights, and builds the rule from them again. Where none is handed on, these are the
            plain ones among the arguments that the rule is made with.

    Attributes:
        config: These arguments, numbers of any kind (NumPy's, a fraction) as Python's own, and
            tuples as lists.

    Raises:
        InputError: If ``lr`` is among them and is no finite number of at least 0, or ``betas``
            and they are not numbers between -1 and 1.
    """

    config: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Return a rule to be made, which knows what it is made with."""
        rule = super().__new__(cls)
        if args or kwargs:  # a copy, whose attributes are those of another rule, is made without
            vars(rule)["config"] = _plain_arguments(cls, args, kwargs)
        return rule

    def __init__(self, **config: Any) -> None:
        made_with = vars(self).pop("config", None)
        super().__init__()
        if not config:
            config = _plain_arguments(type(self), (), {}) if made_with is None else made_with
        lr = config.get("lr", 0.0)
        if not is_real(lr) or not 0.0 <= lr < math.inf:
            raise InputError(f"lr must be a finite number of at least 0, not {lr!r}")
        betas = config.get("betas", ())
        if isinstance(betas, list | tuple) and not all(
            is_real(b) and -1.0 < b < 1.0 for b in betas
        ):
            raise InputError(f"betas must be numbers between -1 and 1, not {betas!r}")
        self.config = plain_numbers(config)

    def init(self, variables: Vars) -> State:
        """Return the state before the first step on variables of these names and shapes.

        It has every part that a later one has.
        """
        return {}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Take one step.

        Args:
            variables: Where the follower stands.
            oracle: Gives the gradient of the follower's loss at any point.
            state: The state after the last step, or ``init(variables)``.

        Returns:
            Where the follower stands after the step, and the new state.
        """
        raise NotImplementedError

    def learned_parameters(self) -> dict[str, nn.Parameter]:
        """Return, by name, the parameters that training moves: those that require a gradient.

        There are none in a hand-designed rule, nor in a learned one after
        ``rule.requires_grad_(False)``, which is then applied as it is.
        """
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def meta_parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return parameter groups for a ``torch.optim`` meta-optimizer; empty if none is learned.

        Args:
            lr: Meta learning rate; a rule may scale it for some of its parameters.
        """
        parameters = list(self.learned_parameters().values())
        return [{"params": parameters, "lr": lr}] if parameters else []

    def base(self) -> UpdateRule | None:
        """Return the hand-designed rule that this one starts as, to be compared with it.

        It can step from this rule's state. ``None``, the default, if there is no such rule.
        """
        return None

    def diagnostics(self, state: State) -> Mapping[str, Tensor | float]:
        """Return named numbers worth a line in a log; read from the state after a step.

        As 0-d tensors where they are on a device, which is waited for once for all.
        """
        return {}


def _plain_arguments(
    cls: type[UpdateRule], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return those of a constructor's arguments, defaults included, that a checkpoint can carry."""
    signature = inspect.signature(cls.__init__)
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:
        return {}  # the constructor says what is wrong with them
    bound.apply_defaults()
    _, *named = bound.arguments.items()  # the first is the rule itself
    given: dict[str, Any] = {}
    for name, value in named:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            given |= value
        elif kind is not inspect.Parameter.VAR_POSITIONAL or value:
            given[name] = value
    return {name: value for name, value in given.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool | str) or is_real(value)


def plain_numbers(value: Any) -> Any:
    """Return a value with its numbers as ``int`` and ``float``, and its tuples as lists.

    Those in lists and dicts included. A checkpoint can carry these alone, and NumPy's ``float32``
    would round what is computed of it.
    """
    if isinstance(value, list | tuple):
        return [plain_numbers(part) for part in value]
    if isinstance(value, dict):
        return {key: plain_numbers(part) for key, part in value.items()}
    if is_real(value) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    return value
