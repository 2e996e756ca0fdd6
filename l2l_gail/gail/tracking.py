"""How far the discriminator is from its moving optimum, measured beside the training."""

from __future__ import annotations

import copy
import dataclasses
import math
import time

import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from l2l_gail.core import L2LTrainer, Muon, Vars
from l2l_gail.errors import InputError
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.discriminator import Discriminator
from l2l_gail.gail.gail import GAIL
from l2l_gail.gail.game import DiscriminatorGame
from l2l_gail.gail.updates import DiscriminatorUpdates

__all__ = ["TrackingCallback"]

_UPDATES = 200
_LR, _HALF_LIFE = 1e-2, 40.0
"""Of the solver, the second in updates: it ends where the rate has fallen to a thirtieth, and the
noise with it."""
_LARGEST = 2**25
"""Entries of network inputs for which losses are measured."""


class TrackingCallback(BaseCallback):
    """Every so many rollouts, solves a copy of the discriminator on the rollout and compares.

    The policy is paid by what a few updates have reached, not by the optimum ``w*(pi)`` that they
    pursue. The copy starts at the discriminator's weights and takes 200 updates by Muon at a
    falling rate (ten times as many at a rate that falls ten times slower reach a loss lower by a
    tenth); on the whole rollout and as many expert transitions are then measured

    * ``rule/tracking_loss``: the loss before this rollout's updates,
    * ``rule/tracking_loss_after``: after them,
    * ``rule/tracking_limit``: of the solved copy,
    * ``rule/tracking_distance``: root mean square difference of the logits on the rollout, between
      the discriminator after its updates and the solved copy,
    * ``time/tracking_s``: CPU seconds that these measurements have cost in this sitting.

    The training is not changed by a bit: the copy has random streams of its own.

    Args:
        every: Rollouts between two measurements; the first rollout is measured.

    Raises:
        InputError: ``every`` is below 1.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        if every < 1:
            raise InputError(f"every must be at least 1 rollout, not {every}")
        self.every = every
        self.cpu_s = 0.0
        self._before: Vars | None = None

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        model = self._gail()
        rollout = self.num_timesteps // (model.n_envs * model.n_steps)
        self._before = model.discriminator.weights() if rollout % self.every == 0 else None

    def _on_rollout_end(self) -> None:
        if self._before is None:
            return
        started = time.process_time()
        model = self._gail()
        policy = model._rollout_rows(model.rollout_buffer)
        assert model._expert_rows is not None
        traces = self._measure(model, model._expert_rows, policy, self._before)
        self.cpu_s += time.process_time() - started
        for name, value in traces.items():
            self.logger.record(f"rule/tracking_{name}", value)
        self.logger.record("time/tracking_s", self.cpu_s)

    @torch.no_grad()
    def _measure(
        self, model: GAIL, expert: Tensor, policy: Tensor, before: Vars
    ) -> dict[str, float]:
        """Return the traces from the discriminator's rows ``(T, in_dim)`` and ``(n, in_dim)``."""
        seed = (model.seed or 0) + self.num_timesteps  # the same again in a resumed run
        after, discriminator = model.discriminator.weights(), copy.deepcopy(model.discriminator)
        config = dataclasses.replace(model.discriminator_config, updates_per_rollout=_UPDATES)
        game = DiscriminatorGame(discriminator, config)
        solver = L2LTrainer(game, Muon(_LR, half_life=_HALF_LIFE), persistent=True)
        logits, _ = DiscriminatorUpdates(discriminator, solver, config, 0.0, seed).update(
            expert, policy
        )
        whole = _whole(discriminator, expert, policy, seed)
        losses = {"loss": before, "loss_after": after, "limit": discriminator.weights()}
        traces = {name: game.follower_loss(weights, whole) for name, weights in losses.items()}
        reached = discriminator.logits_of_rows(policy, after)
        traces["distance"] = (reached - logits).square().mean().sqrt()
        return dict(zip(traces, torch.stack(list(traces.values())).tolist(), strict=True))

    def _gail(self) -> GAIL:
        assert isinstance(self.model, GAIL)
        return self.model


def _whole(
    discriminator: Discriminator, expert: Tensor, policy: Tensor, seed: int
) -> TransitionBatch:
    """Return the whole rollout beside as many expert transitions, drawn with replacement.

    Of a rollout of images every so many-th transition, as many as fit the memory.
    """
    policy = policy[:: max(1, math.ceil(policy.numel() / _LARGEST))]
    stream = torch.Generator().manual_seed(seed)
    rows = expert[torch.randint(len(expert), (len(policy),), generator=stream)]
    rows, policy = discriminator.inputs_of_rows(rows), discriminator.inputs_of_rows(policy)
    share = torch.rand(len(policy), 1, generator=stream).to(policy.device)
    return TransitionBatch.mixed(rows, policy, share)
