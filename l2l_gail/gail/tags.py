"""Every TensorBoard tag of a GAIL run beyond stable-baselines3's own, with its formula."""

from __future__ import annotations

from l2l_gail.gail.credit import LearnedCredit

__all__ = ["BC_TAGS", "TAGS"]

TAGS = {
    "disc/loss": "the discriminator's loss, penalties included, on the last batch after its update",
    "disc/accuracy_expert": "share of a batch of expert transitions with logit > 0",
    "disc/accuracy_policy": "share of the rollout's transitions with logit <= 0",
    "disc/entropy": "mean entropy of sigmoid(logit) over both, in nats; log 2 = 0.693 if undecided",
    "disc/logit_expert": "mean logit of a batch of expert transitions",
    "disc/logit_policy": "mean logit of the rollout",
    "disc/logit_absorbing": "of AIRL: learned logit of staying in the absorbing state",
    "disc/rejected_updates": "updates not taken because they left the finite numbers, so far",
    "gail/reward_mean": "mean learned reward of the rollout, before the bootstrap at time limits",
    "gail/reward_std": "its standard deviation",
    "gail/policy_correction": "steering: the factor on a learning rate that was badly chosen",
    "gail/policy_pace": "what the policy's learning rate is multiplied by as it nears the expert",
    "rule/step_size": "root mean square of the last update's step over all weights, of any rule",
    "rule/meta_loss": "the loss on what the last update that trained the rule was judged by",
    "rule/meta_loss_after": "the same had that update been taken by the rule as trained on it",
    "rule/meta_loss_base": "the same had its base, a hand-designed rule, taken that update",
    "rule/gain": "meta_loss_base - meta_loss: above 0 where the learned step is the better one",
    "rule/meta_gradient_norm": "2-norm of its gradient in the rule's weights, before clipping",
    "rule/skipped_meta_updates": "meta-updates skipped, that gradient not being finite, so far",
    "rule/resets": "times the rule was set back to how it began, not being finite, so far",
    "rule/global_step": "exp(s), the learned factor on all steps; 1 is the base's",
    "rule/step_ratio": "||learned step|| / ||base's step||, last update",
    "rule/cosine": "cosine of the learned step with steepest descent, last update",
    "rule/cosine_base": "cosine of the learned step with its base's, at the update of meta_loss",
    "rule/fallbacks": "steps replaced by the base's because they were not finite, so far",
    "rule/momentum": "of a matrix rule that learns it: the decay rate of its momentum",
    "rule/learning_rate": "of prodigy: the learning rate that it has found, lr d",
    "rule/tracking_loss": "the loss on the whole rollout before its updates",
    "rule/tracking_loss_after": "the loss on the whole rollout after its updates",
    "rule/tracking_limit": "the same of a copy that is solved on this rollout",
    "rule/tracking_distance": "root mean square difference between its logits and those after",
    "time/tracking_s": "CPU seconds that rule/tracking_* have cost in this sitting",
    "credit/alignment": "cosine of the mixture's policy gradient with PPO's own on held-out data",
    "credit/action": "learned weight of the action's surprise; the weights have a sum of 1",
    **{
        f"credit/lambda_{decay:g}": f"learned weight of the advantage of lambda = {decay:g}"
        for decay in LearnedCredit().decays
    },
    "eval/return_mean": "true return of the deterministic policy, mean over 10 fixed seeds",
    "eval/return_std": "its standard deviation over the seeds",
    "eval/length_mean": "mean episode length over the same seeds, in steps",
    "eval/state_w1": "Wasserstein-1 of its states to the expert's, mean over normalised entries",
}
"""x is environment steps everywhere. ``meta_loss_after``, ``meta_loss_base``, ``gain`` and
``cosine_base`` come with every eighth rollout, ``rule/tracking_*`` as ``--probe-every`` says. The
``disc/`` tags are taken after the rollout's updates."""

BC_TAGS = {
    "bc/loss": "mean squared error of an action's entry, or of classes the mean -log likelihood in "
    "nats, over the 50 gradient steps before",
}
"""What behaviour cloning logs besides ``eval/``; x is gradient steps there."""
