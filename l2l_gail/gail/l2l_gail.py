"""L2L-GAIL: what the players of the game are updated by is learned while it is played."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from l2l_gail.demos import Demonstrations
from l2l_gail.gail.credit import LearnedCredit
from l2l_gail.gail.gail import GAIL
from l2l_gail.ppo import TensorEnv

__all__ = ["L2LGAIL"]


class L2LGAIL(GAIL):
    """GAIL with learned credit, and with a learned update rule where one is given.

    The idea is that of "Learning to Defend by Learning to Attack" (Jiang et al., AISTATS 2021,
    https://arxiv.org/abs/1811.01213, section 5): what a player of the game is updated by is not
    designed by hand but learned together with the other player. The paper publishes no code for
    imitation learning; the design here is this library's.

    Learned by default is the leader's side, how far ahead the policy's actions are judged:
    :class:`~l2l_gail.gail.credit.LearnedCredit`. The discriminator moves by
    :class:`~l2l_gail.core.matrix_rule.Muon`, as in ``GAIL``: no learned rule that was measured is
    ahead of it. To learn that side too give one, ``rule=MatrixRule()`` or
    ``rule=CoordinateMLP(3e-4)``, see :class:`~l2l_gail.gail.config.RuleTraining`.

    Arguments are those of ``GAIL``, which with ``credit=None`` this class is.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | TensorEnv | str,
        demonstrations: Demonstrations | str | Path | None = None,
        *,
        credit: LearnedCredit | None = LearnedCredit(),  # noqa: B008 - it cannot be changed
        **kwargs: Any,
    ) -> None:
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
