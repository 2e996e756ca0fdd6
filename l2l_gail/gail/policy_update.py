"""PPO's update from a rollout of tensors: SB3's, without numpy and without waiting for a device."""

from __future__ import annotations

import torch
from stable_baselines3.ppo import PPO
from torch import Tensor
from torch.nn import functional as F

from l2l_gail.gail.policy_forward import PolicyForward
from l2l_gail.gail.tensor_buffer import TensorRolloutBuffer, minibatch_order

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
    clip = model.clip_range(model._current_progress_remaining)  # type: ignore[operator]
    clip_vf: float | None = None
    if model.clip_range_vf is not None:
        clip_vf = model.clip_range_vf(model._current_progress_remaining)  # type: ignore[operator]
    parameters = list(policy.parameters())
    with torch.no_grad():
        data = (
            forward.prepare(buffer.by_env(buffer.observations)),
            *(buffer.by_env(x) for x in (buffer.actions, buffer.values, buffer.log_probs)),
            *(buffer.by_env(x) for x in (buffer.advantages, buffer.returns)),
        )
    means: list[Tensor] = []  # per minibatch: policy loss, value loss, entropy loss
    clipped: list[Tensor] = []
    divergences: list[Tensor] = []  # of the last epoch alone, as SB3 logs it
    loss = torch.zeros(())
    stopped = False
    orders = minibatch_order(len(buffer), data[0].device)
    for epoch in range(model.n_epochs):
        order = next(orders)
        log_ratios: list[Tensor] = []
        for batch in zip(*(x[order].split(model.batch_size) for x in data), strict=True):
            prepared, actions, old_values, old_log_probs, advantages, returns = batch
            values, log_probs, entropy = forward.evaluate(prepared, actions)
            if model.normalize_advantage and len(advantages) > 1:
                advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
            log_ratio = log_probs - old_log_probs
            ratio = log_ratio.exp()
            surrogate = torch.min(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip))
            policy_loss = -surrogate.mean()
            if clip_vf is not None:
                values = old_values + (values - old_values).clamp(-clip_vf, clip_vf)
            value_loss = F.mse_loss(returns, values)
            entropy_loss = log_probs.mean() if entropy is None else -entropy.mean()
            loss = policy_loss + model.ent_coef * entropy_loss + model.vf_coef * value_loss
            means += [policy_loss.detach(), value_loss.detach(), entropy_loss.detach()]
            log_ratios.append(log_ratio.detach())
            if model.target_kl is not None:
                stopped = bool(_divergence(log_ratios[-1]).mean() > 1.5 * model.target_kl)
                if stopped:
                    break
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, model.max_grad_norm)
            policy.optimizer.step()
        model._n_updates += 1
        whole = torch.cat(log_ratios)
        sizes = [len(part) for part in log_ratios]
        divergences = [part.mean() for part in _divergence(whole).split(sizes)]
        outside = ((whole.exp() - 1).abs() > clip).float()
        clipped += [part.mean() for part in outside.split(sizes)]
        if stopped:
            if model.verbose >= 1:
                print(f"early stop in epoch {epoch}: the divergence exceeds 1.5 target_kl")
            break
    policy_losses, value_losses, entropy_losses = torch.stack(means).double().view(-1, 3).unbind(1)
    values_log = {
        "train/entropy_loss": entropy_losses.mean(),
        "train/policy_gradient_loss": policy_losses.mean(),
        "train/value_loss": value_losses.mean(),
        "train/approx_kl": torch.stack(divergences).mean(),
        "train/clip_fraction": torch.stack(clipped).double().mean(),
        "train/loss": loss.detach(),
        "train/explained_variance": _explained_variance(data[2], data[5]),
    }
    if hasattr(policy, "log_std"):
        values_log["train/std"] = policy.log_std.detach().exp().mean()
    read = torch.stack([value.double() for value in values_log.values()]).tolist()
    for tag, value in zip(values_log, read, strict=True):
        model.logger.record(tag, value)
    model.logger.record("train/n_updates", model._n_updates, exclude="tensorboard")
    model.logger.record("train/clip_range", clip)
    if clip_vf is not None:
        model.logger.record("train/clip_range_vf", clip_vf)


def _divergence(log_ratio: Tensor) -> Tensor:
    """Return per-sample estimates of KL(old || new), (http://joschu.net/blog/kl-approx.html)."""
    return (log_ratio.exp() - 1) - log_ratio


def _explained_variance(predicted: Tensor, actual: Tensor) -> Tensor:
    """Return ``1 - Var(actual - predicted) / Var(actual)``, NaN where nothing varies."""
    spread = actual.var(correction=0)
    explained = 1 - (actual - predicted).var(correction=0) / spread
    return torch.where(spread == 0, torch.full_like(spread, torch.nan), explained)
