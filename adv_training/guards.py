"""Numbers that are not finite in a training: which part has them, and when to stop for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from l2l_gail.core import L2LTrainer, all_finite, named_tensors
from l2l_gail.core.game import Culprit
from l2l_gail.errors import InputError

from .settings import Settings

__all__ = ["Guard"]

_MOST_IN_A_ROW = 10
_FLAGS: dict[Culprit, tuple[str, ...]] = {
    "rule": ("attacker_lr",),
    "leader": ("lr",),
    "follower": ("attacker_lr", "lr"),
    "loss": ("lr",),
}
"""Which rate to lower, by whose numbers are not finite."""


class Guard:
    """Stops a training that no longer gets anywhere, and one whose state must not be saved.

    A step of the classifier that is not finite is not taken, see
    :class:`~l2l_gail.core.trainer.L2LTrainer`; one such step costs nothing. A classifier that is
    not finite itself never comes back, and ten steps in a row say that the next will be no better.

    Args:
        settings: Of the run, for its name and rates.
        trainer: What takes the steps.
        models: What a checkpoint holds besides the trainer, by its name in a message.
    """

    def __init__(
        self, settings: Settings, trainer: L2LTrainer, models: Mapping[str, nn.Module]
    ) -> None:
        self.settings = settings
        self.trainer = trainer
        self.models = models
        self._in_a_row = 0

    def after_step(self) -> None:
        """Look at the step that was just taken, or not.

        Raises:
            InputError: In one line: which part failed, at which step, what to do.
        """
        culprit = self.trainer.culprit
        self._in_a_row = 0 if culprit is None else self._in_a_row + 1
        if culprit is None or (culprit != "leader" and self._in_a_row < _MOST_IN_A_ROW):
            return
        part = self.trainer.game.parts[culprit]
        rates = " or ".join(
            f"--{name.replace('_', '-')} {getattr(self.settings, name)}"
            for name in _FLAGS[culprit]
            if name == "lr" or self.trainer.meta_optimizer is not None
        )
        raise self._failure(f"{part} left the finite numbers", f"lower {rates}")

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Stop the training where a judge finds that the classifier cannot be judged.

        Raises:
            InputError: What the judge says, and what to do.
        """
        try:
            yield
        except InputError as error:
            raise self._failure(str(error), f"lower --lr {self.settings.lr}") from error

    def check_measures(self, **measures: float | None) -> None:
        """Look at what was measured of the trained classifier.

        Raises:
            InputError: Naming the first measure that is not finite.
        """
        for name, value in measures.items():
            if value is not None and not math.isfinite(value):
                raise self._failure(f"{name} is not finite", f"lower --lr {self.settings.lr}")

    def check_state(self) -> None:
        """Look at everything that a checkpoint would hold.

        Raises:
            InputError: Naming the first tensor that is not finite.
        """
        for part, tensors in self._tensors():
            if all_finite(tensors):
                continue
            name = next(name for name, tensor in tensors.items() if not tensor.isfinite().all())
            raise self._failure(
                f"the {part}'s {name!r} is not finite", f"lower --lr {self.settings.lr}"
            )

    @property
    def counts(self) -> dict[str, int]:
        """What was not taken so far, as a summary reports it."""
        trainer = self.trainer
        counts = {"refused_steps": trainer.refused}
        if trainer.meta_optimizer is not None:
            counts |= {"skipped_meta_updates": trainer.skipped, "rule_resets": trainer.resets}
        return counts

    def _tensors(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for part, model in self.models.items():
            yield part, dict(named_tensors(model.state_dict()))
        trainer = self.trainer
        yield "attacker", dict(named_tensors(trainer.rule.state_dict()))
        for part, optimizer in (
            ("classifier's optimizer", trainer.leader_optimizer),
            ("attacker's optimizer", trainer.meta_optimizer),
        ):
            if optimizer is not None:
                yield part, dict(named_tensors(optimizer.state))

    def _failure(self, what: str, advice: str) -> InputError:
        return InputError(
            f"step {self.trainer.steps} of {self.settings.label}: {what}, and the training stops; "
            f"{advice}. The last checkpoint is from before it: --resume goes on from there"
        )
