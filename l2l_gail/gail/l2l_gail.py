"""L2L-GAIL: a learned optimizer moves the discriminator, and learns while the game is played."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Self

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from l2l_gail.core import CoordinateMLP, L2LTrainer
from l2l_gail.demos import Demonstrations
from l2l_gail.gail.config import DiscriminatorConfig, LearnedRuleConfig
from l2l_gail.gail.gail import GAIL
from l2l_gail.gail.game import DiscriminatorGame
from l2l_gail.ppo.env import TensorEnv

__all__ = ["L2LGAIL"]


class L2LGAIL(GAIL):
    """GAIL whose discriminator is moved by a learned update rule.

    The idea is that of "Learning to Defend by Learning to Attack" (Jiang et al., AISTATS 2021,
    https://arxiv.org/abs/1811.01213, section 5): the inner player's hand-designed algorithm is
    replaced by a learned optimizer that is trained together with the outer player. The paper
    publishes no code for imitation learning; the design here is this library's. After each (or
    each n-th) discriminator step the rule takes one gradient step on the discriminator's loss,
    penalty included, at the weights it just produced, on expert samples and on a part of the
    rollout that the discriminator has not been trained on; inner gradients enter as data.

    The rule (:class:`~l2l_gail.core.coordinate_mlp.CoordinateMLP`) starts as exactly Adam at
    ``DiscriminatorConfig.learning_rate``; with ``LearnedRuleConfig(meta_learning_rate=0)`` the
    training equals ``GAIL``'s with the same ``holdout_fraction``, bit for bit.

    Args:
        policy: As in :class:`~l2l_gail.gail.gail.GAIL`.
        env: As in GAIL.
        demonstrations: As in GAIL.
        rule: The learned rule's settings, see :class:`~l2l_gail.gail.config.LearnedRuleConfig`.
        discriminator: As in GAIL; its ``update_rule`` is not used, and its ``holdout_fraction`` is
            replaced by the rule's.
        **gail_kwargs: Everything else GAIL takes.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | TensorEnv | str,
        demonstrations: Demonstrations | str | Path | None = None,
        *,
        rule: LearnedRuleConfig | None = None,
        discriminator: DiscriminatorConfig | None = None,
        **gail_kwargs: Any,
    ) -> None:
        self.rule_config = rule or LearnedRuleConfig()
        super().__init__(policy, env, demonstrations, discriminator=discriminator, **gail_kwargs)

    def _setup_model(self) -> None:
        self.discriminator_config = dataclasses.replace(
            self.discriminator_config, holdout_fraction=self.rule_config.holdout_fraction
        )
        super()._setup_model()

    def _make_trainer(self, game: DiscriminatorGame) -> L2LTrainer:
        """Return a trainer with a learned rule and the optimizer that trains it."""
        config = self.rule_config
        rule = CoordinateMLP(
            self.discriminator_config.learning_rate,
            hidden=config.hidden,
            learn_network=config.learn_network,
            learn_step=config.learn_step,
            step_lr_ratio=config.global_step_lr_ratio,
            seed=self.seed or 0,
        ).to(self.device)
        groups = rule.meta_parameter_groups(config.meta_learning_rate)
        meta_optimizer = torch.optim.Adam(groups, fused=True)  # a third off its time
        return L2LTrainer(
            game, rule, meta_optimizer=meta_optimizer, persistent=True, meta_every=config.meta_every
        )

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
