"""L2L-GAIL: how the players learn is learned while the game is played."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gail.credit import LearnedCredit
from l2l_gail.gail.gail import GAIL
from l2l_gail.ppo import TensorEnv

__all__ = ["L2LGAIL"]

_CREDIT = LearnedCredit()


class L2LGAIL(GAIL):
    """GAIL that learns how its players learn: the policy's credit and, if asked, a rule.

    The idea is that of "Learning to Defend by Learning to Attack" (Jiang et al., AISTATS 2021,
    https://arxiv.org/abs/1811.01213, section 5): what is designed by hand in a game of two levels
    is learned along with the game. The paper publishes no code for imitation learning; the design
    here is this library's.

    By default the policy's advantages are mixed with learned weights, see
    :class:`~l2l_gail.gail.credit.CreditAssignment`, and the discriminator's rule is ``GAIL``'s. A
    learned rule, ``rule=MatrixRule()`` or ``build_rule("pretrained")``, is trained while the game
    is played, see :class:`~l2l_gail.gail.config.RuleTraining`; what that is worth is in
    ``docs/results.md``.

    Args:
        policy: As for ``GAIL``.
        env: As for ``GAIL``.
        demonstrations: As for ``GAIL``.
        credit: Settings of the learned credit; ``None`` for PPO's advantages as they are.
        **kwargs: Everything else ``GAIL`` takes.

    Raises:
        InputError: As ``GAIL``, or there is a ``rule_training`` and no ``rule``.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | TensorEnv | str,
        demonstrations: Demonstrations | str | Path | None = None,
        *,
        credit: LearnedCredit | None = _CREDIT,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("rule_training") is not None and kwargs.get("rule") is None:
            raise InputError(
                "rule_training is for a learned rule, and by default L2LGAIL learns credit alone: "
                "give rule=MatrixRule() or another one of l2l_gail.core"
            )
        super().__init__(policy, env, demonstrations, credit=credit, **kwargs)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "L2LGAIL",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for a number of environment steps, as ``PPO.learn``."""
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )
