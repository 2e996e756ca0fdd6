"""GAIL: PPO whose rewards come from a discriminator."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from torch import Tensor, nn

from l2l_gail.checks import check_kind
from l2l_gail.core import MatrixRule, Muon, UpdateRule, all_finite
from l2l_gail.demos import Demonstrations
from l2l_gail.devices import own_defaults
from l2l_gail.gail.acting import ActsByAverage
from l2l_gail.gail.behaviour_cloning import behaviour_cloning, check_clonable
from l2l_gail.gail.config import DECAY_WITHOUT_PENALTY, DiscriminatorConfig, RuleTraining
from l2l_gail.gail.credit import CreditAssignment, LearnedCredit
from l2l_gail.gail.crediting import AssignsCredit
from l2l_gail.gail.discriminator import Discriminator, make_discriminator
from l2l_gail.gail.first_rollouts import FirstRollouts
from l2l_gail.gail.fit import (
    check_demonstrated,
    check_env,
    check_given,
    check_rule,
    check_wrappers,
    demonstrated_rows,
    demonstrations_to_train_on,
    fit_statistics,
    observation_statistics,
    read_demonstrations,
    warn_of_observations,
    warn_of_reward,
    with_limit_of,
)
from l2l_gail.gail.health import with_health
from l2l_gail.gail.model_settings import check_settings, check_steps
from l2l_gail.gail.own_parts import check_own_functions, check_own_network
from l2l_gail.gail.policy_rate import PolicyRate
from l2l_gail.gail.rewards import reward_of_logits
from l2l_gail.gail.rule_spec import rule_of_spec, spec_of_rule
from l2l_gail.gail.saving import plain_fields
from l2l_gail.gail.sealed import SealedModel
from l2l_gail.gail.spaces import (
    POLICIES,
    check_judged,
    check_policy,
    laid_out,
    named_policy,
)
from l2l_gail.gail.units import about_units
from l2l_gail.gail.updates import DiscriminatorUpdates, make_trainer
from l2l_gail.mujoco_warnings import handle_mujoco_warnings
from l2l_gail.observations import map_parts
from l2l_gail.ppo import (
    ObservationParts,
    PPOConfig,
    TensorEnv,
    TensorPPO,
    TensorRolloutBuffer,
    rollout_defaults,
)
from l2l_gail.ppo.observations import TensorObservations, network_input
from l2l_gail.ppo.rollout import environment_actions

__all__ = ["GAIL"]


class GAIL(SealedModel, ActsByAverage, PolicyRate, AssignsCredit, TensorPPO):
    """Generative adversarial imitation learning on PPO.

    Paper: Ho & Ermon 2016, https://arxiv.org/abs/1606.03476, algorithm 1, with PPO for TRPO and a
    gradient penalty on the discriminator. Each round: collect a rollout, update the discriminator
    on it (eq. 17), score the rollout's transitions with the updated discriminator in one batch,
    and take PPO's step on that reward. ``rollout/ep_rew_mean`` stays the environment's own return.

    What updates the discriminator is one object, ``rule``: a hand-designed optimizer of
    :mod:`l2l_gail.core`, a learned one, or one of your own. A rule that has parameters is trained
    while the game runs, see :class:`~l2l_gail.gail.config.RuleTraining`.

    The demonstrations' observation statistics normalise the inputs of policy and discriminator
    alike and are saved with them, so ``predict`` takes raw observations. At a time limit the
    return is bootstrapped with the value of the learned reward, never of the environment's.
    Callbacks find the learned reward in the rollout buffer at ``on_rollout_end``.

    Spaces may be any that :func:`~l2l_gail.gym_env.check_spaces` lets pass; what the discriminator
    is given of them says :mod:`l2l_gail.gail.features`.

    Args:
        policy: ``"MlpPolicy"`` or, for ``Dict`` observations, ``"MultiInputPolicy"``, both of which
            normalise continuous observations; ``"CnnPolicy"`` for images; or a policy class of your
            own. Where there are images, the discriminator looks at them through a features
            extractor of the policy's class, with weights of its own.
        env: An environment, a vector of them, a :class:`~l2l_gail.ppo.env.TensorEnv` or its view,
            or a registered id. A ``VecNormalize`` that normalises observations is refused: the
            discriminator compares them with the demonstrations', which are raw. One that normalises
            rewards is welcome, and changes nothing, as the environment's rewards are replaced.
        demonstrations: What to imitate, or the path or embedded name of it; may be ``None`` only
            to load a model for ``predict``.
        rule: Updates the discriminator; a copy of it is used. ``Muon(1e-2)`` by default.
        rule_training: How a rule that has parameters is trained.
        discriminator: Its settings, see :class:`~l2l_gail.gail.config.DiscriminatorConfig`.
        discriminator_network: A module of your own instead of the tanh network, see
            :class:`~l2l_gail.gail.discriminator.ModuleDiscriminator`, or a whole ``Discriminator``,
            whose input gradient is then its own; to be given to ``load`` too.
        credit: How advantages are mixed from estimates that look less and further ahead, with
            learned weights; ``None`` for PPO's generalised advantage estimates as they are.
        policy_pace: The policy's learning rate falls with this power of how well the discriminator
            tells it from the expert, see :class:`~l2l_gail.gail.pace.PolicyPace`; 0 for PPO's rate
            as it is.
        policy_divergence: The KL divergence from the old policy to the new one, in nats for each
            entry of a continuous action, from which an update may be off by a factor of 1.6 before
            the policy's learning rate is steered, see
            :class:`~l2l_gail.gail.steering.PolicySteering`; it is raised only while the margin is
            above half of its largest. 0 for no steering, and there is none of a schedule, beside
            ``target_kl``, or of a policy over classes.
        policy_average: Decay, from one rollout to the next, of the average of the policy's weights
            that :attr:`acting_policy` has, by which ``predict`` acts; 0 for the policy as it is.
            The training itself does not change by it.
        warm_start_steps: Gradient steps of behaviour cloning before the first rollout; 0 for none.
        **ppo_kwargs: Everything else PPO takes (``n_steps``, ``batch_size``, ``seed``, ...). The
            defaults are those of ``train_gail.py``: a rollout of about 2,048 transitions, however
            many environments there are, a minibatch of 256, and for a policy that is given by its
            name what :class:`~l2l_gail.ppo.config.PPOConfig` says of it.

    Raises:
        InputError: If environment, policy and demonstrations do not fit, in one line.
    """

    policy_aliases: ClassVar[dict[str, Any]] = {**POLICIES}
    _kind: ClassVar[str] = "GAIL"
    _attributes: ClassVar[dict[str, str]] = {"discriminator": "discriminator_config"}
    _optional_parts: ClassVar[tuple[str, ...]] = (
        "credit_assignment",
        "pace",
        "steering",
        "average",
    )
    values_one_by_one: ClassVar[bool] = False  # no training of SB3's has these rewards

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | TensorEnv | str,
        demonstrations: Demonstrations | str | Path | None = None,
        *,
        rule: UpdateRule | None = None,
        rule_training: RuleTraining | None = None,
        discriminator: DiscriminatorConfig | None = None,
        discriminator_network: nn.Module | None = None,
        credit: LearnedCredit | None = None,
        policy_pace: float = 0.5,
        policy_divergence: float = 0.005,
        policy_average: float = 0.9,
        warm_start_steps: int = 0,
        _init_setup_model: bool = True,
        **ppo_kwargs: Any,
    ) -> None:
        handle_mujoco_warnings()  # of environments that nobody else watches
        n_envs = getattr(env, "num_envs", 1)
        usual: dict[str, Any] = {**rollout_defaults(n_envs, ppo_kwargs.get("n_steps"))}
        usual["learning_rate"] = PPOConfig.policy_learning_rate
        policy, ppo_kwargs["policy_kwargs"] = named_policy(policy, ppo_kwargs.get("policy_kwargs"))
        check_kind("rule", rule, UpdateRule, "such as l2l_gail.core.Adam(1e-2)")
        check_kind("rule_training", rule_training, RuleTraining)
        check_kind("discriminator", discriminator, DiscriminatorConfig)
        check_kind("discriminator_network", discriminator_network, nn.Module, "not its class")
        check_kind("credit", credit, LearnedCredit)
        super().__init__(policy, env, _init_setup_model=False, **usual | ppo_kwargs)
        self.demonstrations = read_demonstrations(demonstrations)
        self.rule: UpdateRule | None = rule
        self.rule_spec: dict[str, Any] | None = None
        self.rule_training = rule_training
        self.discriminator_config = discriminator or DiscriminatorConfig()
        self.discriminator_network = discriminator_network
        self.credit = credit
        self.credit_assignment: CreditAssignment | None = None
        self.policy_pace = policy_pace
        self.policy_divergence = policy_divergence
        self.policy_average = policy_average
        self.warm_start_steps = warm_start_steps
        self._expert_rows: Tensor | None = None
        self._first_rollouts: FirstRollouts | None = None
        self.is_cloned = False
        if _init_setup_model:
            check_given(self)
            self._setup_model()

    @own_defaults
    def _setup_model(self) -> None:
        check_settings(self)
        check_policy(self.policy_class, self.observation_space, self.policy_kwargs)
        check_judged(self.discriminator_config.judges, self.observation_space)
        if self.demonstrations is not None:
            self.demonstrations = laid_out(self.demonstrations, self.observation_space)
        self._check_fit()
        super()._setup_model()
        if self.warm_start_steps:
            check_clonable(self.policy)
        self.discriminator = self._make_discriminator().to(self.device)
        check_own_network(self.discriminator_config, self.discriminator)
        check_own_functions(self.discriminator_config, self.discriminator)
        if self.demonstrations is not None:
            warn_of_reward(self.demonstrations, self.discriminator_config.reward)
            mean, std = observation_statistics(self.demonstrations, self.observation_space)
            for text in about_units(mean, std, self.policy):
                warnings.warn(text, stacklevel=4)
            fit_statistics(mean, std, self.policy, self.discriminator)
        is_given = self.rule is not None
        self.rule = self._make_rule().to(self.device)
        check_rule(self.rule, is_given=is_given)
        trainer, holdout_fraction = make_trainer(
            self.discriminator, self.discriminator_config, self.rule, self.rule_training
        )
        self.discriminator_updates = DiscriminatorUpdates(
            self.discriminator,
            trainer,
            self.discriminator_config,
            holdout_fraction,
            seed=self.seed if self.seed is not None else int(np.random.randint(2**31)),
        )
        self._begin_rate()
        self._begin_average()
        if self.credit is not None:
            self.credit_assignment = CreditAssignment(self.credit).to(self.device)

    def _make_discriminator(self) -> Discriminator:
        config = self.discriminator_config
        return make_discriminator(
            self.policy, config.hidden_sizes, self.discriminator_network, config.judges
        )

    def _make_rule(self) -> UpdateRule:
        """Return the rule that was given, that a saved model names, or the default one."""
        if self.rule is not None:
            rule = copy.deepcopy(self.rule)
        elif self.rule_spec is not None:
            rule = rule_of_spec(self.rule_spec)
        else:
            rule = Muon(1e-2)
        if isinstance(rule, Muon | MatrixRule) and not self.discriminator_config.is_penalised:
            if rule.decay is None and "decay" in rule.config:
                # Nothing else would bound the discriminator.
                rule.decay = rule.config["decay"] = DECAY_WITHOUT_PENALTY
        return rule

    def _check_fit(self) -> None:
        """Refuse an environment that the model or the demonstrations do not fit."""
        check_wrappers(self.env)
        if self.demonstrations is not None:
            check_demonstrated(
                self.demonstrations, self.discriminator_config.judges, self.warm_start_steps
            )
            check_env(self.demonstrations, self.env, self.observation_space, self.action_space)
            self.demonstrations = with_limit_of(self.demonstrations, self.env)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[int, BaseCallback]:
        check_steps(total_timesteps)
        self._check_fit()
        demonstrations = demonstrations_to_train_on(self, "to train it on")
        self._expert_rows = self.expert_rows()
        if self.warm_start_steps and not (self.is_cloned or self.num_timesteps):
            behaviour_cloning(
                self.policy, demonstrations, steps=self.warm_start_steps, seed=self.seed or 0
            )
            self._begin_average()  # at what was cloned
            self.is_cloned = True
        resets = reset_num_timesteps or self._last_obs is None
        prepared = super()._setup_learn(
            total_timesteps, with_health(callback), reset_num_timesteps, *args, **kwargs
        )
        if resets or self._first_rollouts is None:
            done = self.num_timesteps // (self.n_steps * self.n_envs)
            spaces = (self.observation_space, self.action_space)
            self._first_rollouts = FirstRollouts(demonstrations, *spaces, done)
        if resets:
            warn_of_observations(
                demonstrations, self._last_obs, ObservationParts(self.observation_space)
            )
        return prepared

    @property
    def judges_next_states(self) -> bool:
        """Whether rewards depend on the states that steps reach, terminal ones among them."""
        return self.discriminator_config.judges == "state_transition"

    def expert_rows(self) -> Tensor:
        """Return the demonstrations as the discriminator's ``rows``, ``(n, in_dim)``."""
        assert self.demonstrations is not None
        return demonstrated_rows(self.demonstrations, self.discriminator, self.device)

    def rollout_rewards(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Update the discriminator on a rollout, and return its rewards ``(T, N)``."""
        if self._first_rollouts is not None:
            self._first_rollouts.compare(buffer, self.policy)
        rewards, log = self._learned_rewards(buffer)
        mean, std = torch.stack([rewards.mean(), rewards.std(correction=0)]).tolist()
        log |= {"gail/reward_mean": mean, "gail/reward_std": std}
        self.pace.observe(log["disc/logit_expert"] - log["disc/logit_policy"])
        log["gail/policy_pace"] = self.pace.factor
        if self.steering is not None:
            log["gail/policy_correction"] = float(self.steering.factor)
        for tag, value in log.items():
            self.logger.record(tag, value)
        return rewards.view(buffer.rewards.shape[::-1]).T

    def _learned_rewards(self, buffer: TensorRolloutBuffer) -> tuple[Tensor, dict[str, float]]:
        """Update the discriminator; return rewards ``(N * T,)``, env by env, and what to log."""
        assert self._expert_rows is not None
        rows = self._rollout_rows(buffer)
        logits, log = self.discriminator_updates.update(self._expert_rows, rows)
        return reward_of_logits(logits, self.discriminator_config.reward), log

    def train(self) -> None:
        """Take PPO's epochs on the rollout, and steer the next ones' learning rate."""
        try:
            super().train()
        except ValueError:  # torch's distributions refuse what is not finite
            if all_finite(dict(self.policy.named_parameters())):
                raise
            return  # the health callback, which looks next, says it in one line
        if self.average is not None:
            self.average.follow(self.policy)
        self._observe_update()

    def _rollout_rows(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Return the rollout as rows of the discriminator ``(N * T, in_dim)``, env by env."""
        obs, next_obs = (
            network_input(map_parts(buffer.by_env, steps))
            for steps in (buffer.observations, buffer.final_obs)
        )
        return self._rows(obs, buffer.by_env(buffer.actions), next_obs)

    @torch.no_grad()
    def _rows(
        self, obs: TensorObservations, acts: Tensor, next_obs: TensorObservations | None = None
    ) -> Tensor:
        """Return the discriminator's rows ``(n, in_dim)`` of actions as the policy drew them."""
        if self.policy.squash_output:  # actions lie in [-1, 1] there, in the env's unit here
            acts = environment_actions(self.policy)(acts).float()
        return self.discriminator.rows(obs, acts, next_obs)

    @own_defaults
    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "GAIL",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for a number of environment steps, as ``PPO.learn``."""
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )

    @classmethod
    def _plain(cls, file: Path, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return plain_fields(file, given, cls)

    def save(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Save the model, as ``PPO.save``, with a checksum.

        Raises:
            InputError: Its rule is one of your own that is not registered, see
                :func:`~l2l_gail.core.registry.register_rule`, or that its ``config`` does not
                build again; or a weight is not finite, which ``load`` would refuse: what lies at
                ``path`` stays.
        """
        assert self.rule is not None
        self.rule_spec = spec_of_rule(self.rule)
        super().save(path, *args, **kwargs)

    def _excluded_save_params(self) -> list[str]:
        """Leave out what is saved as tensors, and demonstrations: none are needed to act."""
        tensors = ["discriminator", "discriminator_updates", "rule", "discriminator_network"]
        tensors += self._optional_parts
        of_a_training = ["demonstrations", "_expert_rows", "_first_rollouts"]
        return [*super()._excluded_save_params(), *tensors, *of_a_training]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        names = [*names, "discriminator", "discriminator_updates"]
        used = {name: getattr(self, name) is not None for name in self._optional_parts}
        used["pace"] = bool(self.policy_pace) or used["credit_assignment"] or used["steering"]
        return [*names, *(name for name, is_used in used.items() if is_used)], variables

    def _begin_afresh(self, parts: list[str]) -> None:
        if "discriminator_updates" in parts:  # at the discriminator that was loaded
            self.discriminator_updates.trainer.begin(self.discriminator.weights())
        if "average" in parts:
            self._begin_average()  # at the policy that was loaded
