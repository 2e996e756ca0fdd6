"""L2L-GAIL: a learned optimizer updates the discriminator, and learns while the game is played."""

from __future__ import annotations

from typing import Self

from stable_baselines3.common.type_aliases import MaybeCallback

from l2l_gail.core import MatrixRule, UpdateRule
from l2l_gail.gail.gail import GAIL

__all__ = ["L2LGAIL"]


class L2LGAIL(GAIL):
    """GAIL whose discriminator is updated by a learned rule, unless another one is given.

    The idea is that of "Learning to Defend by Learning to Attack" (Jiang et al., AISTATS 2021,
    https://arxiv.org/abs/1811.01213, section 5): the inner player's hand-designed algorithm is
    replaced by a learned optimizer that is trained together with the outer player. The paper
    publishes no code for imitation learning; the design here is this library's, see
    :class:`~l2l_gail.gail.config.RuleTraining`.

    The rule is :class:`~l2l_gail.core.matrix_rule.MatrixRule`, which starts as Muon. The policy's
    side can be learned besides, ``credit=LearnedCredit()``
    (:class:`~l2l_gail.gail.credit.LearnedCredit`). Arguments are those of ``GAIL``.
    """

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
