"""Every TensorBoard tag of a GAIL run beyond stable-baselines3's own, with its formula."""

from __future__ import annotations

__all__ = ["TAGS"]

TAGS = {
    "disc/loss": "the discriminator's loss, penalties included, on the last batch after its update",
    "disc/accuracy_expert": "share of a batch of expert transitions with logit > 0",
    "disc/accuracy_policy": "share of the rollout's transitions with logit <= 0",
    "disc/entropy": "mean entropy of sigmoid(logit) over both, in nats; log 2 = 0.693 if undecided",
    "disc/logit_expert": "mean logit of a batch of expert transitions",
    "disc/logit_policy": "mean logit of the rollout",
    "disc/rejected_updates": "updates not taken because they left the finite numbers, so far",
    "gail/reward_mean": "mean learned reward of the rollout, before the bootstrap at time limits",
    "gail/reward_std": "its standard deviation",
    "rule/meta_loss": "the loss on held-out data, at the last update that trained the rule",
    "rule/meta_gradient_norm": "2-norm of its gradient in the rule's weights, before clipping",
    "rule/skipped_meta_updates": "meta-updates skipped, that gradient not being finite, so far",
    "rule/global_step": "exp(s), the learned factor on all steps; 1 is Adam's",
    "rule/step_ratio": "||learned step|| / ||Adam's step||, last update",
    "rule/cosine": "cosine of the learned step with steepest descent, last update",
    "rule/fallbacks": "steps replaced by Adam's because they were not finite, so far",
    "eval/return_mean": "true return of the deterministic policy, mean over 10 fixed seeds",
    "eval/return_std": "its standard deviation over the seeds",
    "eval/length_mean": "mean episode length over the same seeds, in steps",
}
"""x is environment steps everywhere. The ``disc/`` tags are taken after the rollout's updates."""
