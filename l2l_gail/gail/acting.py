"""The policy that acts: the average of those that the training has passed through."""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from l2l_gail.averaging import WeightAverage

__all__ = ["averaged"]


def averaged(policy: ActorCriticPolicy, decay: float) -> WeightAverage:
    """Return an average that begins at a policy and draws from no random stream.

    GAIL's policy is the generator of an adversarial game, and like one it circles about the
    equilibrium: a policy as good as the expert may fall in the next rollout and stand again in the
    one after. The average of its weights does not follow it there.
    """
    if policy.use_sde:  # its noise hangs on the weights, and then could not be copied
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            policy.reset_noise()  # every rollout begins by drawing it anew
    return WeightAverage(policy, decay)
