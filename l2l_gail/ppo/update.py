"""PPO's update from a rollout of tensors: SB3's, without numpy and without waiting for a device."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from stable_baselines3.ppo import PPO
from torch import Tensor

from l2l_gail.observations import map_parts
from l2l_gail.ppo.buffer import TensorRolloutBuffer, minibatch_order
from l2l_gail.ppo.forward import PolicyForward
from l2l_gail.ppo.loss import LossTerms, Minibatch, PPOLoss

__all__ = ["update_policy"]


def update_policy(model: PPO, buffer: TensorRolloutBuffer, forward: PolicyForward) -> None:
    """Take PPO's epochs on a rollout and log what SB3 logs of them.

    Schulman et al. 2017, arXiv 1707.06347, eq. 7 and 9, as SB3's ``PPO.train``, every option of it
    included. Statistics stay tensors and are read once at the end; only ``target_kl``, which
    decides after each minibatch whether to go on, has to wait for each.

    Args:
        model: Holds the policy, its optimizer, the schedules and the logger.
        buffer: The rollout with its advantages.
        forward: How to evaluate the policy.
    """
    policy = model.policy
    policy.set_training_mode(True)
    model._update_learning_rate(policy.optimizer)
    loss = _loss(model)
    with torch.no_grad():
        data = Minibatch(
            forward.prepare(map_parts(buffer.by_env, buffer.observations)),
            *(buffer.by_env(x) for x in (buffer.actions, buffer.values, buffer.log_probs)),
            *(buffer.by_env(x) for x in (buffer.advantages, buffer.returns)),
        )
    try:
        epochs = _take_epochs(model, loss, data, forward)
    finally:
        forward.finish()
    _log(model, loss, epochs, _explained_variance(data.old_values, data.returns))


def _take_epochs(
    model: PPO, loss: PPOLoss, data: Minibatch, forward: PolicyForward
) -> list[list[LossTerms]]:
    """Take a step on each minibatch of each epoch; return the losses, epoch by epoch."""
    epochs: list[list[LossTerms]] = []
    stopped = False
    for order in islice(minibatch_order(len(data.returns), data.returns.device), model.n_epochs):
        taken: list[LossTerms] = []
        for batch in _minibatches(data, order, model.batch_size):
            taken.append(forward.gradient(loss, batch))
            if model.target_kl is not None:
                divergence = _divergence(taken[-1].log_ratio).mean()
                stopped = bool(divergence > 1.5 * model.target_kl)
                if stopped:
                    break
            forward.clip_gradient(model.max_grad_norm)
            forward.step()
        epochs.append(taken)
        model._n_updates += 1
        if stopped:
            if model.verbose >= 1:
                print(f"Stopped in epoch {len(epochs)}: the divergence exceeds 1.5 target_kl")
            break
    return epochs


def _loss(model: PPO) -> PPOLoss:
    """Return the model's loss at this point of its schedules."""
    progress = model._current_progress_remaining
    return PPOLoss(
        clip=model.clip_range(progress),  # type: ignore[operator]
        clip_vf=None if model.clip_range_vf is None else model.clip_range_vf(progress),  # type: ignore[operator]
        ent_coef=model.ent_coef,
        vf_coef=model.vf_coef,
        normalize_advantage=model.normalize_advantage,
    )


def _minibatches(data: Minibatch, order: Tensor, size: int) -> Iterator[Minibatch]:
    """Yield the transitions in an order, ``size`` at a time."""
    columns = [map_parts(lambda x: x.index_select(0, order).split(size), x) for x in data]
    for k in range(-(-len(order) // size)):
        yield Minibatch(*(map_parts(lambda pieces, k=k: pieces[k], x) for x in columns))


def _log(
    model: PPO, loss: PPOLoss, epochs: list[list[LossTerms]], explained_variance: Tensor
) -> None:
    """Log what SB3 logs of an update, under its tags."""
    every = [terms for taken in epochs for terms in taken]
    policy, value, entropy, total = (
        torch.stack(column).double() for column in list(zip(*every, strict=True))[:4]
    )
    clipped = [
        ((ratio.exp() - 1).abs() > loss.clip).double().mean(1) for ratio in _log_ratios(every)
    ]
    # SB3 logs the divergence over the last epoch alone.
    divergences = [_divergence(ratio).mean(1) for ratio in _log_ratios(epochs[-1])]
    log = {
        "train/entropy_loss": entropy.mean(),
        "train/policy_gradient_loss": policy.mean(),
        "train/value_loss": value.mean(),
        "train/approx_kl": torch.cat(divergences).mean(),
        "train/clip_fraction": torch.cat(clipped).mean(),
        "train/loss": total[-1],
        "train/explained_variance": explained_variance,
    }
    if hasattr(model.policy, "log_std"):
        log["train/std"] = model.policy.log_std.detach().exp().mean()
    read = torch.stack([value.double() for value in log.values()]).tolist()
    for tag, number in zip(log, read, strict=True):
        model.logger.record(tag, number)
    model.logger.record("train/n_updates", model._n_updates, exclude="tensorboard")
    model.logger.record("train/clip_range", loss.clip)
    if loss.clip_vf is not None:
        model.logger.record("train/clip_range_vf", loss.clip_vf)


def _log_ratios(taken: list[LossTerms]) -> list[Tensor]:
    """Return the log-ratios of minibatches ``(k, B)``, those of one size together."""
    by_size: dict[int, list[Tensor]] = {}
    for terms in taken:
        by_size.setdefault(len(terms.log_ratio), []).append(terms.log_ratio)
    return [torch.stack(group) for group in by_size.values()]


def _divergence(log_ratio: Tensor) -> Tensor:
    """Return per-sample estimates of KL(old || new), (http://joschu.net/blog/kl-approx.html)."""
    return (log_ratio.exp() - 1) - log_ratio


def _explained_variance(predicted: Tensor, actual: Tensor) -> Tensor:
    """Return ``1 - Var(actual - predicted) / Var(actual)``, NaN where nothing varies."""
    spread = actual.var(correction=0)
    explained = 1 - (actual - predicted).var(correction=0) / spread
    return torch.where(spread == 0, torch.full_like(spread, torch.nan), explained)
