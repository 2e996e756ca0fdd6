"""The discriminator's turn after each rollout: batches, updates, and what to log of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from l2l_gail.core import L2LTrainer, State, UpdateRule, Vars
from l2l_gail.errors import MISFITS, InputError
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.config import DiscriminatorConfig, RuleTraining
from l2l_gail.gail.discriminator import Discriminator
from l2l_gail.gail.game import DiscriminatorGame, bernoulli_entropy
from l2l_gail.gail.rule_traces import TracedStep, rule_traces, step_size

__all__ = ["DiscriminatorUpdates", "make_trainer"]

_TRACED_EVERY = 8
"""Rollouts between two comparisons of a learned rule with its base, which cost 4 % of a rollout."""
_COUNTED = {
    "rejected_updates": "disc/rejected_updates",
    "skipped_meta_updates": "rule/skipped_meta_updates",
    "rule_resets": "rule/resets",
}
"""The tags of what was not taken."""


def make_trainer(
    discriminator: Discriminator,
    config: DiscriminatorConfig,
    rule: UpdateRule,
    rule_training: RuleTraining | None,
) -> tuple[L2LTrainer, float]:
    """Return what applies a rule, and trains it if it has parameters; and the held-out share.

    Raises:
        InputError: The rule has parameters, and no data to be trained on.
    """
    game = DiscriminatorGame(discriminator, config)
    training = rule_training or RuleTraining()
    share = 0.0 if training.meta_mode == "next" else training.holdout_fraction
    groups = rule.meta_parameter_groups(training.meta_learning_rate)
    if not groups:
        # A hand-designed rule has no use for held-out data, unless it is asked for.
        return L2LTrainer(game, rule, persistent=True), share if rule_training else 0.0
    if training.meta_mode != "next" and share == 0:
        raise InputError(
            "a learned rule needs a holdout_fraction above 0 to be trained on, or meta_mode='next'"
        )
    meta_optimizer = torch.optim.Adam(groups, fused=True)  # a third off its time
    trainer = L2LTrainer(
        game,
        rule,
        meta_optimizer=meta_optimizer,
        persistent=True,
        meta_every=training.meta_every,
        meta_mode=training.meta_mode,
        meta_decay=training.meta_decay,
    )
    return trainer, share


class DiscriminatorUpdates:
    """The discriminator's updates on a rollout, whatever the update rule.

    Two random streams are kept apart: one draws the batches of the updates, the other those on
    which a rule is trained. So a learned rule that does not learn leaves exactly the training of
    the rule it started from.

    Args:
        discriminator: Receives the moved weights after each rollout.
        trainer: The core's trainer, with a persistent follower.
        config: Number and size of the updates.
        holdout_fraction: Share of each rollout that the updates never see.
        seed: Seed of both streams.

    Raises:
        InputError: The discriminator has no weight that requires a gradient.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        trainer: L2LTrainer,
        config: DiscriminatorConfig,
        holdout_fraction: float,
        seed: int,
    ) -> None:
        self.discriminator = discriminator
        self.trainer = trainer
        self.config = config
        self.holdout_fraction = holdout_fraction
        self._stream = torch.Generator().manual_seed(seed)
        self._meta_stream = torch.Generator().manual_seed(seed + 1_000_003)
        if not (weights := discriminator.weights()):
            raise InputError("the discriminator has no weight that requires a gradient")
        trainer.begin(weights)

    def update(self, expert_rows: Tensor, policy_rows: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Update the discriminator on one rollout.

        Args:
            expert_rows: The demonstrations' transitions as the discriminator's ``rows``, shape
                ``(T, in_dim)``.
            policy_rows: Those of the rollout, shape ``(n, in_dim)``, the steps of one environment
                next to each other.

        Returns:
            The moved discriminator's logits of the rollout, shape ``(n,)``, and what there is to
            log, by TensorBoard tag.
        """
        stats, batch = self._move(expert_rows, policy_rows)
        self.discriminator.adopt(self._follower)
        are_transitions = self.discriminator.which_are_transitions
        with torch.no_grad():
            on_policy = self.discriminator.logits_of_rows(policy_rows)
            expert = batch.expert[are_transitions(batch.expert)]
            if not len(expert):  # a batch of stays in AIRL's absorbing state alone
                expert = expert_rows[are_transitions(expert_rows)]
            taken = on_policy[are_transitions(policy_rows)]
            return on_policy, self._log(stats, taken, expert, batch)

    def _move(
        self, expert_rows: Tensor, policy_rows: Tensor
    ) -> tuple[dict[str, Tensor], TransitionBatch]:
        """Take the updates on one rollout; return what they tell and the last of their batches."""
        seen, held_out = self._split(policy_rows)
        trainer = self.trainer
        traces = trainer.steps // self.config.updates_per_rollout % _TRACED_EVERY == 0
        stats: dict[str, Tensor] = {}
        traced: TracedStep | None = None
        last: tuple[Vars, State, TransitionBatch] | None = None
        for _ in range(self.config.updates_per_rollout):
            batch = self._batch(expert_rows, seen, self._stream)
            meta = None
            if trainer.needs_meta_batches:
                meta = [self._batch(expert_rows, held_out, self._meta_stream)]
            before, state = self._follower, trainer.state
            found = trainer.step([batch], meta)
            stats |= found
            if meta:
                traced = TracedStep(before, state, self._follower, batch, meta[0])
            elif "meta_loss" in found and last:  # on this batch the update before was judged
                traced = TracedStep(*last[:2], before, last[2], batch)
            last = before, state, batch
        stats["step_size"] = step_size(before, self._follower)
        if traced and traces:
            stats |= rule_traces(trainer, traced, stats["meta_loss"])
        return stats, batch

    @property
    def _follower(self) -> Vars:
        assert self.trainer.follower is not None  # begun with the discriminator's weights
        return self.trainer.follower

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the part to train on and the part to train a rule on.

        The second is one stretch of the rollout at a random place: whole episodes rather than
        single steps, whose neighbours would give them away.
        """
        if self.holdout_fraction == 0:
            return rows, rows
        n = len(rows)
        n_held = min(max(round(self.holdout_fraction * n), 1), n - 1)
        start = int(torch.randint(n, (1,), generator=self._stream))
        turned = rows.roll(-start, dims=0)
        return turned[n_held:], turned[:n_held]

    def _batch(
        self, expert_rows: Tensor, policy_rows: Tensor, stream: torch.Generator
    ) -> TransitionBatch:
        """Draw ``batch_size`` transitions of either side, with replacement."""
        size = self.config.batch_size
        inputs_of_rows = self.discriminator.inputs_of_rows
        expert = inputs_of_rows(expert_rows[_draw(len(expert_rows), size, stream)])
        policy = inputs_of_rows(policy_rows[_draw(len(policy_rows), size, stream)])
        share = torch.rand(size, 1, generator=stream).to(policy.device)
        return TransitionBatch.mixed(expert, policy, share)

    def _log(
        self, stats: dict[str, Tensor], on_policy: Tensor, expert: Tensor, batch: TransitionBatch
    ) -> dict[str, float]:
        """Return the traces of the game after this rollout's updates.

        ``on_policy`` are logits and ``expert`` network inputs, of transitions alone.
        """
        on_expert = self.discriminator.logits_expert_is_high(expert)
        log = {
            "disc/loss": self.trainer.game.follower_loss(self._follower, batch),
            "disc/accuracy_expert": (on_expert > 0).float().mean(),
            "disc/accuracy_policy": (on_policy <= 0).float().mean(),
            "disc/entropy": bernoulli_entropy(torch.cat([on_expert, on_policy])).mean(),
            "disc/logit_expert": on_expert.mean(),
            "disc/logit_policy": on_policy.mean(),
            **{f"rule/{name}": value for name, value in stats.items()},
        }
        log |= self._diagnostics(log["disc/loss"].device)
        # One read for all: each waits for the device.
        read = torch.stack([value.double() for value in log.values()]).tolist()
        counts = {_COUNTED[name]: float(count) for name, count in self.counts.items()}
        return dict(zip(log, read, strict=True)) | counts

    def _diagnostics(self, device: torch.device) -> dict[str, Tensor]:
        """Return what the rule says of itself by tag, 0-d each.

        Raises:
            InputError: It says something that is no number.
        """
        rule = self.trainer.rule
        told: Any = rule.diagnostics(self.trainer.state)
        if not isinstance(told, Mapping):
            kind = type(told).__name__
            raise InputError(
                f"{type(rule).__name__}.diagnostics returns a {kind}: return a dict of numbers"
            )
        return {f"rule/{key}": _number(rule, key, value, device) for key, value in told.items()}

    @property
    def counts(self) -> dict[str, int]:
        """What was not taken so far, as a summary reports it."""
        counts = {"rejected_updates": self.trainer.rejected}
        if self.trainer.meta_optimizer is not None:
            counts["skipped_meta_updates"] = self.trainer.skipped
            counts["rule_resets"] = self.trainer.resets
        return counts

    def state_dict(self) -> dict[str, Any]:
        """Return the trainer's state and both random streams'."""
        return {
            "trainer": self.trainer.state_dict(),
            "stream": self._stream.get_state(),
            "meta_stream": self._meta_stream.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Take over a state of :meth:`state_dict`."""
        self.trainer.load_state_dict(state["trainer"], strict=strict)
        self._stream.set_state(state["stream"].cpu())
        self._meta_stream.set_state(state["meta_stream"].cpu())


def _number(rule: UpdateRule, key: str, value: Any, device: torch.device) -> Tensor:
    """Return one number of any kind as a 0-d tensor, those that are tensors without a look."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach().reshape(()).to(device)
    try:
        return torch.tensor(float(value), device=device)
    except MISFITS:
        what = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise InputError(
            f"{type(rule).__name__}.diagnostics gives {key!r} {what}: give one number, such as a "
            "mean"
        ) from None


def _draw(n: int, size: int, stream: torch.Generator) -> Tensor:
    return torch.randint(n, (size,), generator=stream)
