"""L2L-GAIL: how both players learn is learned while the game is played."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from l2l_gail.core import MatrixRule, UpdateRule
from l2l_gail.demos import Demonstrations
from l2l_gail.gail.credit import LearnedCredit
from l2l_gail.gail.gail import GAIL
from l2l_gail.ppo import TensorEnv

__all__ = ["L2LGAIL"]

_CREDIT = LearnedCredit()


class L2LGAIL(GAIL):
    """GAIL with a learned rule for the discriminator and learned credit for the policy.

    The idea is that of "Learning to Defend by Learning to Attack" (Jiang et al., AISTATS 2021,
    https://arxiv.org/abs/1811.01213, section 5): the inner player's hand-designed algorithm is
    replaced by a learned optimizer that is trained together with the outer player. The paper
    publishes no code for imitation learning; the design here is this library's, see
    :class:`~l2l_gail.gail.config.RuleTraining`.

    The rule is :class:`~l2l_gail.core.matrix_rule.MatrixRule`, which starts as Muon, unless another
    one is given. The policy's advantages are mixed as
    :class:`~l2l_gail.gail.credit.CreditAssignment` says.

    Args:
        policy: As for ``GAIL``.
        env: As for ``GAIL``.
        demonstrations: As for ``GAIL``.
        credit: Settings of the learned credit; ``None`` for PPO's advantages as they are.
        **kwargs: Everything else ``GAIL`` takes.
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
        super().__init__(policy, env, demonstrations, credit=credit, **kwargs)

    def default_rule(self) -> UpdateRule:
        """Return orthogonalised momentum under a learned step."""
        return MatrixRule(seed=self.seed or 0)

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
