"""One step of a two-player game: follower by a rule, rule by its meta-loss, leader by its loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from l2l_gail.core.batches import check_batches, check_meta_batches
from l2l_gail.core.descent import check_optimizers, descend, parameters_of
from l2l_gail.core.forward_mode import ForwardMode
from l2l_gail.core.game import Culprit, Game
from l2l_gail.core.guards import RuleBackup, Statistics, leader_culprit, spoiled
from l2l_gail.core.next_step import NextStep
from l2l_gail.core.oracle import Oracle, check_loss
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.trainer_options import (
    MetaMode,
    Order,
    check_numbers,
    check_order,
    check_players,
    check_trained,
)
from l2l_gail.core.trainer_state import TrainerState
from l2l_gail.core.types import State, Vars, all_finite, detach, named_tensors
from l2l_gail.core.unroll import Trajectory, check_kept, gradients_of_both, unroll
from l2l_gail.errors import InputError

__all__ = ["L2LTrainer", "MetaMode", "Order"]


def _as_they_are(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    return gradients


class L2LTrainer(TrainerState):
    """Moves the follower with a rule and trains the rule, and the leader if it is given one.

    Algorithm 1 of Jiang et al. (AISTATS 2021, arXiv 1811.01213) and its variants. Two uses:

    * **Images**: a fresh follower (the clean batch) each step, the classifier as leader.
    * **Network weights** (``persistent=True``): one follower for the whole training, the policy as
      a leader that is trained elsewhere. After each step the follower and the rule's state are
      committed: cut from the graph, so that memory stays flat.

    A hand-designed rule passes through the same code; it just has nothing to learn.

    Args:
        game: Losses and feasible set.
        rule: The update rule.
        meta_optimizer: Of some or all of the rule's parameters; ``None`` leaves the rule as it is.
        leader_optimizer: Optimizer of the leader's parameters; ``None`` if trained elsewhere.
        order: ``"fused"`` gets the leader's and the rule's gradients from one backward pass, the
            rule receiving the negated one: it needs a zero-sum game and costs 5 leader forwards
            and 3 rule forwards with one inner query. ``"alternating"`` is the paper's order:
            first the leader against the rule as it is, then the rule against the moved leader
            (9 and 4). By default fused wherever it is allowed: in a zero-sum game without a
            meta-loss of its own. Without a leader or a meta-optimizer there is nothing to order.
        persistent: Whether the follower lives on from step to step.
        meta_every: Train the rule at every n-th step only.
        meta_on: Meta-loss at the ``"last"`` follower of the unroll, or the ``"mean"`` over all;
            the fused order knows the last only.
        max_meta_norm: The meta-gradient is clipped to this norm, above 0; infinite for no clipping.
        second_order: Whether the meta-gradient sees how inner gradients depend on the rule. The
            leader's is that at the response held fixed in any case.
        meta_mode: ``"reverse"`` differentiates this step's unroll; ``"forward"`` carries the
            derivatives of a persistent follower through all steps since it began, curvature
            included, for rules of a few scalars: see :mod:`~l2l_gail.core.forward_mode`;
            ``"next"`` judges a persistent follower's step by the gradient that the next step asks
            for anyway, which is cheapest: see :mod:`~l2l_gail.core.next_step`.
        meta_decay: With ``"forward"``: factor on what has been carried, before each step.
        combine: What is made of the gradients of leader and rule before anything else is done with
            them: their mean over several processes, each of which has a part of the batch.

    Attributes:
        follower: The committed follower, ``None`` before a persistent game has begun.
        state: The rule's committed state.
        steps: Steps taken.
        skipped: Meta-updates skipped because the meta-gradient was not finite.
        rejected: Persistent steps not committed because follower or state were not finite.
        refused: Leader's steps not taken because its gradient was not finite.
        culprit: Whose numbers were not finite where the last leader's step was not taken; ``None``
            if it was.
        resets: Times the rule had died, with NaN in its weights, and was set back to how it began.
        last_batch: The last batch of a persistent step, as the leader's response left it: where
            the next step of an analytic game goes on.

    Raises:
        InputError: If an argument is of another kind or value than these; ``meta_optimizer`` holds
            a parameter that is none of the rule's, or one that ``leader_optimizer`` holds too; the
            fused order would train the rule on something else than the meta-loss; forward or next
            mode with a leader, a fresh follower each step or a mean over followers; the forward
            mode with a rule of many parameters; the next one in a game with a meta-loss or a
            feasible set of its own; or the rule's weights are not finite.
    """

    def __init__(
        self,
        game: Game,
        rule: UpdateRule,
        *,
        meta_optimizer: torch.optim.Optimizer | None = None,
        leader_optimizer: torch.optim.Optimizer | None = None,
        order: Order | None = None,
        persistent: bool = False,
        meta_every: int = 1,
        meta_on: Literal["last", "mean"] = "last",
        max_meta_norm: float = 1.0,
        second_order: bool = False,
        meta_mode: MetaMode = "reverse",
        meta_decay: float = 1.0,
        combine: Callable[[Sequence[Tensor]], Sequence[Tensor]] = _as_they_are,
    ) -> None:
        check_players(game, rule)
        check_numbers(meta_every=meta_every, max_meta_norm=max_meta_norm, meta_decay=meta_decay)
        check_optimizers(rule, meta_optimizer, leader_optimizer)
        both = meta_optimizer is not None and leader_optimizer is not None
        order = check_order(game, order, meta_on, both=both)
        alone = persistent and leader_optimizer is None
        check_trained(meta_mode, meta_on, alone=alone or meta_optimizer is None)
        self._forward: ForwardMode | None = None
        self._next: NextStep | None = None
        if meta_optimizer and meta_mode == "forward":
            self._forward = ForwardMode(rule, meta_decay)
        if meta_optimizer and meta_mode == "next":
            self._next = NextStep(game, rule)
        self.game = game
        self.rule = rule
        self.meta_optimizer = meta_optimizer
        self.leader_optimizer = leader_optimizer
        self.order = order
        self.persistent = persistent
        self.meta_every = meta_every
        self.meta_on = meta_on
        self.max_meta_norm = max_meta_norm
        self.second_order = second_order
        self.combine = combine
        self.follower: Vars | None = None
        self.state: State = {}
        self.steps = 0
        self.skipped = 0
        self.rejected = 0
        self.refused = 0
        self.culprit: Culprit | None = None
        self.resets = 0
        self._backup = RuleBackup(rule)
        self.last_batch: Any = None

    def begin(self, follower: Vars) -> None:
        """Start, or start again, a persistent game at ``follower`` with a fresh rule state."""
        self.follower = detach(_checked(follower))
        self.state = self.rule.init(self.follower)
        self._forget()

    def _forget(self) -> None:
        """Drop how the follower depends on the rule: one of the two is another one now."""
        for carried in (self._forward, self._next):
            if carried:
                carried.forget()

    def reset_rule(self) -> None:
        """Give up what the rule has learned: its weights are set back to those it was given with.

        A residual that was given as it is made is its base rule again, and goes on with the same
        follower and state; only a state that is not finite is begun anew.
        """
        self._backup.restore(self.rule, self.meta_optimizer)
        if self.follower is not None and spoiled(self.rule.init(self.follower), self.state):
            self.begin(self.follower)
        self._forget()
        self.resets += 1

    @property
    def learns_next(self) -> bool:
        """Whether the next step trains the rule."""
        is_due = self.meta_optimizer is not None and (self.steps + 1) % self.meta_every == 0
        return is_due and bool(parameters_of(self.meta_optimizer))  # or it was frozen meanwhile

    @property
    def needs_meta_batches(self) -> bool:
        """Whether the next step trains the rule on data of its own, if there are any."""
        return self.learns_next and self._next is None

    def step(
        self, batches: Sequence[Any], meta_batches: Sequence[Any] | None = None
    ) -> dict[str, Tensor]:
        """Move the follower, and train whom this step trains.

        Args:
            batches: One batch for each inner step; see :func:`~l2l_gail.core.unroll.unroll`.
            meta_batches: What the meta-loss is computed on, one batch for each inner step. ``None``
                computes it on the inner batches, which is right for images (the paper) and for
                analytic games; for network weights it should be held-out data.

        Returns:
            0-d tensors: ``meta_loss`` and ``meta_gradient_norm`` where the rule was trained,
            ``leader_loss`` where the leader was; not yet moved to the CPU.

        Raises:
            InputError: For a batch in place of a list of them, or an empty list; for meta-batches
                where one loss serves both, in the fused order and the next mode, and for several
                batches in the latter; for more or fewer meta-batches than batches where the
                meta-loss is a mean; for a loss that is no tensor of one number with a gradient.
        """
        check_batches(batches)
        check_meta_batches(batches, meta_batches, self.meta_on)
        if self._next:
            return self._step_and_judge(self._next, batches, meta_batches)
        leads = self.leader_optimizer is not None
        fused = leads and self.meta_optimizer is not None and self.order == "fused"
        if fused and meta_batches is not None:
            raise InputError("the fused order has no use for meta_batches; use order='alternating'")
        learn = self.learns_next
        failures = self.skipped + self.rejected + self.refused
        self.steps += 1
        stats: dict[str, Tensor] = {}
        start = self._start(batches[0])
        if leads and learn and self.order == "alternating":
            stats |= self._train_leader(self._unroll(start, batches, learn=False))
            leads = False  # it has: what follows is against the moved leader
        trajectory = self._unroll(start, batches, learn=learn)
        if leads:
            stats |= self._train_leader(trajectory, rule_too=learn)
        elif learn:
            stats |= self._train_rule(trajectory, meta_batches)
        if self.persistent:
            self._commit(trajectory)
        if self.skipped + self.rejected + self.refused > failures:
            self._reset_dead_rule()
        return stats

    def _step_and_judge(
        self, mode: NextStep, batches: Sequence[Any], meta_batches: Sequence[Any] | None
    ) -> dict[str, Tensor]:
        """Train the rule on what its last step has led to, then let it take this one."""
        if meta_batches is not None or len(batches) != 1:
            raise InputError("meta_mode='next' takes one batch a step and no meta_batches")
        learn = self.learns_next
        failures = self.skipped + self.rejected
        self.steps += 1
        stats: dict[str, Tensor] = {}
        start = self._start(batches[0])
        oracle = mode.ask(start[0], batches[0])
        phi = parameters_of(self.meta_optimizer)
        if learn and (gradients := mode.meta_gradient(oracle, phi)) is not None:
            norm = self._descend_clipped(phi, self.combine(gradients))
            stats = {"meta_loss": oracle.loss, "meta_gradient_norm": norm}
        judged_next = self.learns_next  # by the step after this one, which is counted already
        trajectory = self._unroll(start, batches, learn=judged_next, oracle=oracle)
        if judged_next:
            mode.keep(trajectory.followers[-1], (*start, oracle.answers))
        self._commit(trajectory)
        if self.skipped + self.rejected > failures:
            self._reset_dead_rule()
        return stats

    def _start(self, batch: Any) -> tuple[Vars, State]:
        if not self.persistent:
            follower = _checked(self.game.init_follower(batch))
            return follower, self.rule.init(follower)
        if self.follower is None:
            self.begin(self.game.init_follower(batch))
        assert self.follower is not None
        return self.follower, self.state

    def _unroll(
        self,
        start: tuple[Vars, State],
        batches: Sequence[Any],
        *,
        learn: bool,
        oracle: Oracle | None = None,
    ) -> Trajectory:
        if self._forward:
            return self._forward.unroll(self.game, *start, batches)
        options: dict[str, Any] = {"second_order": self.second_order, "oracle": oracle}
        with torch.set_grad_enabled(learn):
            return unroll(self.rule, self.game, *start, batches, **options)

    @torch.enable_grad()
    def _train_leader(self, trajectory: Trajectory, *, rule_too: bool = False) -> dict[str, Tensor]:
        """Step the leader on its loss and, in a zero-sum game, the rule on minus it.

        Of one backward pass for both.
        """
        leader = parameters_of(self.leader_optimizer)
        phi = parameters_of(self.meta_optimizer) if rule_too else []
        statistics = Statistics(self.game.leader_statistics())
        loss, found = gradients_of_both(self.game, trajectory, leader, phi)
        of_both = self.combine(found)
        if torch.nn.utils.get_total_norm(of_both[: len(leader)]).isfinite():
            descend(self.leader_optimizer, leader, of_both[: len(leader)])
            self.culprit = None
        else:
            statistics.restore()
            self._refuse(leader, trajectory.followers[-1])
        stats = {"leader_loss": loss.detach()}
        if rule_too:
            # Of a loss that is not finite no part is trusted.
            sign = -1.0 if self.culprit is None else float("nan")
            norm = self._descend_clipped(phi, [sign * g for g in of_both[len(leader) :]])
            stats |= {"meta_loss": -loss.detach(), "meta_gradient_norm": norm}
        return stats

    @torch.enable_grad()
    def _train_rule(
        self, trajectory: Trajectory, meta_batches: Sequence[Any] | None
    ) -> dict[str, Tensor]:
        """Step the rule on its meta-loss alone, on the inner batches if there are no others."""
        phi = parameters_of(self.meta_optimizer)
        judged_on = trajectory.batches if meta_batches is None else meta_batches
        loss, gradients = self._meta_gradient(phi, trajectory, judged_on)
        norm = self._descend_clipped(phi, gradients)
        return {"meta_loss": loss.detach(), "meta_gradient_norm": norm}

    def _meta_gradient(
        self, phi: list[Tensor], trajectory: Trajectory, meta_batches: Sequence[Any]
    ) -> tuple[Tensor, Sequence[Tensor]]:
        if self._forward is None:
            loss = check_loss(self._meta_loss(trajectory, meta_batches), "the meta-loss")
            return loss, self.combine(torch.autograd.grad(loss, phi, materialize_grads=True))
        last = meta_batches[-1]
        return self._forward.meta_gradient(
            lambda follower: self.game.meta_loss(follower, last), trajectory.followers[-1], phi
        )

    def _meta_loss(self, trajectory: Trajectory, meta_batches: Sequence[Any]) -> Tensor:
        if self.meta_on == "last":
            return self.game.meta_loss(trajectory.followers[-1], meta_batches[-1])
        pairs = zip(trajectory.followers, meta_batches, strict=True)
        return torch.stack([self.game.meta_loss(v, batch) for v, batch in pairs]).mean()

    def _descend_clipped(self, phi: list[Tensor], gradients: Sequence[Tensor]) -> Tensor:
        """Step the meta-optimizer along the clipped gradient; skip and count a non-finite one."""
        norm = torch.nn.utils.get_total_norm(gradients)
        if norm.isfinite():
            scale = (self.max_meta_norm / (norm + 1e-12)).clamp(max=1.0)
            descend(self.meta_optimizer, phi, [g * scale for g in gradients])
        else:
            self.skipped += 1
        return norm

    def _commit(self, trajectory: Trajectory) -> None:
        follower, state = detach(trajectory.followers[-1]), detach(trajectory.state)
        assert self.follower is not None  # since _start
        check_kept(self.rule, (self.follower, self.state), (follower, state))
        everything = {**follower, **dict(named_tensors(state, "state"))}
        if all_finite(everything) or (all_finite(follower) and not spoiled(self.state, state)):
            self.follower, self.state = follower, state
            self.last_batch = detach(trajectory.batches[-1])
            if self._forward:
                self._forward.guard()
            return
        self._forget()
        self.rejected += 1
        if self.rejected == 1:
            self._warn("left the finite numbers and was not taken; lower the learning rate")

    def _refuse(self, leader: list[Tensor], follower: Vars) -> None:
        """Count a leader's step that is not taken, and find out whose fault it is."""
        self.refused += 1
        self.culprit = leader_culprit(self.rule, leader, self.game.leader_statistics(), follower)
        if self.refused == 1:
            part = self.game.parts[self.culprit]
            self._warn(f"was not taken: {part} left the finite numbers")

    def _reset_dead_rule(self) -> None:
        """Bring a rule back to life whose weights are not finite: it would never learn again."""
        if self.meta_optimizer is None or all_finite(dict(self.rule.named_parameters())):
            return
        self.reset_rule()
        if self.resets == 1:
            self._warn(
                f"found {self.game.parts['rule']} not finite and set them back to how they began; "
                "lower the meta learning rate"
            )

    def _warn(self, what: str) -> None:
        warnings.warn(
            f"step {self.steps} of {type(self.rule).__name__} {what} (further such steps are only "
            "counted)",
            RuntimeWarning,
            stacklevel=4,
        )


def _checked(follower: Vars) -> Vars:
    """Return a follower that there is something to move in."""
    if not follower:
        raise InputError("the game's follower has no variables: give what is to be moved, by name")
    return follower
