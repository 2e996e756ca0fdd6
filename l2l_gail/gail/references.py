"""What a training is measured against: the expert, behaviour cloning, and random actions."""

from __future__ import annotations

from collections.abc import Callable

from l2l_gail.demos import Demonstrations
from l2l_gail.evaluation import Evaluation, random_policy
from l2l_gail.gail.behaviour_cloning import behaviour_cloning
from l2l_gail.gail.gail import GAIL
from l2l_gail.policies import Predict

__all__ = ["measure_references"]


def measure_references(
    model: GAIL, demos: Demonstrations, evaluate: Callable[[Predict], Evaluation], *, altered: bool
) -> dict[str, float]:
    """Return the true returns of the expert, of behaviour cloning and of random actions.

    Args:
        model: A fresh model, whose policy is cloned from the demonstrations and spoilt by it.
        demos: The demonstrations.
        evaluate: Plays a policy's evaluation episodes.
        altered: Whether the environment is, or may be, another than that of the demonstrations, so
            that what was measured with them does not hold for it.

    Returns:
        ``random_return``; ``expert_return``, where it or the demonstrations' rewards are known; and
        ``bc_return``, where their actions are.
    """
    seed = model.seed or 0
    expert, random = (None, None) if altered else (demos.expert_return, demos.random_return)
    if random is None:
        random = evaluate(random_policy(model.action_space, seed)).mean_return
    if expert is None and demos.rews is not None and not (altered and demos.env_kwargs is not None):
        expert = float(demos.returns.mean())
    found = {} if expert is None else {"expert_return": expert}
    if demos.acts is not None:
        behaviour_cloning(model.policy, demos, seed=seed)
        cloned = evaluate(lambda obs: model.predict(obs, deterministic=True)[0])
        found["bc_return"] = cloned.mean_return
    return found | {"random_return": random}
