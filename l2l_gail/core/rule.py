"""The interface of every optimizer in this library, hand-designed or learned."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

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

    Args:
        **config: All arguments of the subclass's constructor, as plain values (numbers, strings,
            bools, ``None``, and lists and dicts of them): a checkpoint carries them beside the
            weights, and builds the rule from them again.

    Attributes:
        config: These arguments, numbers of any kind (NumPy's, a fraction) as Python's own.

    Raises:
        InputError: If ``lr`` is among them and is no finite number of at least 0, or ``betas``
            and they are not numbers between -1 and 1.
    """

    config: dict[str, Any]

    def __init__(self, **config: Any) -> None:
        super().__init__()
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
        """Return the state before the first step on variables of these names and shapes."""
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

    def meta_parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return parameter groups for a ``torch.optim`` meta-optimizer; empty if hand-designed.

        Args:
            lr: Meta learning rate; a rule may scale it for some of its parameters.
        """
        parameters = list(self.parameters())
        return [{"params": parameters, "lr": lr}] if parameters else []

    def base(self) -> UpdateRule | None:
        """Return the hand-designed rule that this one starts as, to be compared with it.

        It can step from this rule's state. ``None``, the default, if there is no such rule.
        """
        return None

    def diagnostics(self, state: State) -> dict[str, Tensor]:
        """Return named 0-d tensors worth a line in a log; read from the state after a step."""
        return {}


def plain_numbers(value: Any) -> Any:
    """Return a value with its numbers as ``int`` and ``float``, those in lists and dicts included.

    A checkpoint can carry these alone, and NumPy's ``float32`` would round what is computed of it.
    """
    if isinstance(value, list):
        return [plain_numbers(part) for part in value]
    if isinstance(value, dict):
        return {key: plain_numbers(part) for key, part in value.items()}
    if is_real(value) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    return value
