"""Groups of flags that ``train_gail.py`` nests: the task, and the discriminator's update rule."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes

from l2l_gail.checks import check_below_one, check_nonnegative
from l2l_gail.core import UpdateRule, parse_rule
from l2l_gail.core.forward_mode import ForwardMode
from l2l_gail.core.registry import takes
from l2l_gail.demos import Demonstrations, embedded
from l2l_gail.errors import InputError
from l2l_gail.gail.config import DiscriminatorConfig, RuleTraining
from l2l_gail.gail.credit import LearnedCredit
from l2l_gail.gym_env import (
    check_env_id,
    check_time_limit,
    make_env,
    parse_env_kwargs,
    try_arguments,
)

__all__ = ["MethodFlags", "TaskFlags"]


@dataclass(frozen=True)
class TaskFlags:
    """Which environment to learn in, and from which demonstrations."""

    env: str = "Hopper-v5"
    """Gymnasium id of the environment."""
    env_kwargs: tuple[str, ...] = ()
    """Its keyword arguments, as k=v."""
    demos: str | None = None
    """A file or folder, an embedded set or a Minari id; the environment's own by default."""
    demo_episodes: int | None = None
    """Use only the first so many episodes of them."""
    demo_every: int = 1
    """Use only every so many-th step of each episode."""

    @property
    def kwargs(self) -> dict[str, Any]:
        """The environment's keyword arguments.

        Raises:
            InputError: One that is not k=v.
        """
        return parse_env_kwargs(self.env_kwargs)

    def load(self) -> Demonstrations:
        """Return the demonstrations, which fit the environment.

        Raises:
            InputError: There is no such environment, there are none for it, or they do not fit.
        """
        kwargs = self.kwargs
        check_env_id(self.env)
        if self.demos == "":
            raise InputError("--demos is empty: give a file, or leave it out for the embedded set")
        demos = Demonstrations.load(self._embedded() if self.demos is None else self.demos)
        if self.demo_episodes is not None:
            demos = demos.head(self.demo_episodes)
        env = make_env(self.env, kwargs)
        check_time_limit(env.spec)
        assert env.spec is not None
        assert env.spec.max_episode_steps is not None
        demos = demos.with_time_limit(env.spec.max_episode_steps)
        if self.demo_every != 1:
            longest = int(demos.episode_lengths.max())
            if self.demo_every >= longest:
                raise InputError(
                    f"--demo-every {self.demo_every} leaves one transition an episode: the longest "
                    f"has {longest}"
                )
            demos = demos.subsample(self.demo_every)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each model says it; a job shows it once
            demos.check_env(self.env, env.observation_space, env.action_space)
        env.close()
        try_arguments(self.env, kwargs)
        return demos

    def settings(self, demos: Demonstrations) -> dict[str, Any]:
        """Return what decides a run's result: demonstrations by name and content, not by place."""
        own = self.demos is None or self.demos == self.env
        return {
            "env": self.env,
            "env_kwargs": self.env_kwargs,
            "demos": None if own else Path(str(self.demos)).stem,
            "demo_episodes": self.demo_episodes,
            "demo_every": self.demo_every,
            "demos.sha256": demos.digest,
        }

    def _embedded(self) -> str:
        if self.env in embedded():
            return self.env
        raise InputError(
            f"no demonstrations of {self.env} are embedded (there are: {', '.join(embedded())}); "
            "give --demos FILE, or record some: "
            f"python -m l2l_gail.demos record --env {self.env} --out FILE"
        )


@dataclass(frozen=True)
class MethodFlags:
    """What updates the discriminator, and what l2l_gail learns."""

    learning_rate: float = 1e-2
    """Learning rate of the rule of gail, and of l2l_gail unless it learns one (--learned); for that
    one --learned-args lr=..."""
    update_rule: str = "muon"
    """That rule: muon, adam, optimistic_adam, extragradient, sgd, prodigy (--learning-rate 1)."""
    rule_args: tuple[str, ...] = ()
    """Further arguments of that rule, as k=v."""
    matched_effort: bool = False
    """Give gail as many updates more as the training of l2l_gail's rule costs, if it learns one."""
    learned: Literal["credit", "rule", "both"] = "credit"
    """What l2l_gail learns: the policy's credit, the rule of the discriminator, or both."""
    learned_rule: str = "matrix_rule"
    """The rule, where one is learned: matrix_rule, pretrained, or coordinate_mlp (of lr=3e-4)."""
    learned_args: tuple[str, ...] = ()
    """Further arguments of that rule, as k=v: lr, learn_network, step_lr_ratio, ..."""
    policy_pace: float = 0.5
    """The policy's learning rate falls as this power of how well the discriminator tells it from
    the expert; 0: not at all."""
    policy_divergence: float = 0.005
    """Steer the policy's learning rate where an update moves the policy by another divergence
    than this, in nats for each entry of a continuous action, give or take a factor of 1.6; it
    rises only while the discriminator's margin is above half of its largest; 0: never."""
    policy_average: float = 0.9
    """Decay, by the rollout, of the average of the policy's weights that is measured, played and
    saved to act by; 0: the policy as it is."""
    state_only_reward: bool = False
    """Let airl learn a reward of the state alone, not of the action."""
    training: Annotated[RuleTraining, OmitArgPrefixes] = field(default_factory=RuleTraining)
    credit: Annotated[LearnedCredit, OmitArgPrefixes] = field(default_factory=LearnedCredit)

    def __post_init__(self) -> None:
        """Refuse what no rule can be built with.

        Raises:
            InputError: In one line.
        """
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"learning_rate must be positive and finite, not {self.learning_rate}")
        if any(argument.partition("=")[0].strip() == "lr" for argument in self.rule_args):
            raise InputError("rule_args holds lr, which has a flag of its own: learning_rate")
        check_nonnegative("policy_pace", self.policy_pace)
        check_nonnegative("policy_divergence", self.policy_divergence)
        check_below_one("policy_average", self.policy_average)
        self.rule("gail")
        self._learned(0)  # what is wrong with it is said even where it is not used

    def rule(self, method: str, seed: int = 0) -> UpdateRule:
        """Return the rule of a method, what it learns drawn from the seed."""
        if not self._learns_rule(method):
            arguments = (f"lr={self.learning_rate!r}", *self.rule_args)
            return parse_rule(f"{self.update_rule}:{','.join(arguments)}")
        return self._learned(seed)

    def check(self, method: str) -> None:
        """Refuse a way of training that the rule of this method does not allow.

        Raises:
            InputError: Derivatives are to be carried forward, and the rule learns too many numbers.
        """
        rule = self.rule(method)
        if self.training.meta_mode == "forward" and rule.learned_parameters():
            ForwardMode(rule, self.training.meta_decay)

    def gail_kwargs(
        self, method: str, seed: int, discriminator: DiscriminatorConfig
    ) -> dict[str, Any]:
        """Return the arguments of ``GAIL`` and its heirs in which the methods differ.

        Args:
            method: ``gail``, ``l2l_gail``, ``airl`` or ``no_demos``.
            seed: Seed of what a rule learns.
            discriminator: The discriminator's settings, alike for all methods.
        """
        rule, training = self.rule(method, seed), None
        if rule.learned_parameters():
            training = self.training
        if method == "gail" and self.matched_effort and self._learns_rule("l2l_gail"):
            updates = discriminator.updates_per_rollout
            if self.training.meta_mode != "next":  # which costs no gradient
                updates += updates // self.training.meta_every
            discriminator = dataclasses.replace(discriminator, updates_per_rollout=updates)
        if method == "no_demos":
            discriminator = dataclasses.replace(discriminator, reward="constant")
        kwargs: dict[str, Any] = {"rule": rule, "rule_training": training}
        kwargs["policy_pace"] = 0.0 if method == "no_demos" else self.policy_pace
        kwargs["policy_divergence"] = 0.0 if method == "no_demos" else self.policy_divergence
        kwargs["policy_average"] = self.policy_average
        kwargs["discriminator"] = discriminator
        if method == "l2l_gail" and self.learned != "rule":
            kwargs["credit"] = self.credit
        return kwargs | ({"state_only_reward": self.state_only_reward} if method == "airl" else {})

    def unused(self, method: str) -> set[str]:
        """Return the settings that a method has no use for, those of the rule's training too."""
        names = {"learned_rule", "learned_args"}
        if self._learns_rule(method):
            names = {"learning_rate", "update_rule", "rule_args"}
        if method != "l2l_gail":
            names |= {"learned"}
        if method != "l2l_gail" or self.learned == "rule":
            names |= {each.name for each in dataclasses.fields(LearnedCredit)}
        if method != "airl":
            names |= {"state_only_reward"}
        if method != "gail" or not self._learns_rule("l2l_gail"):
            names |= {"matched_effort"}
        if method not in ("gail", "l2l_gail"):
            names |= {"reward"}
        if method == "no_demos":
            names |= {"policy_pace", "policy_divergence"}
        if not self.rule(method).learned_parameters():
            names |= {each.name for each in dataclasses.fields(RuleTraining)}
        if self.matched_effort and "matched_effort" not in names:
            names -= {"meta_every", "meta_mode"}
        return names

    def _learned(self, seed: int) -> UpdateRule:
        args = self.learned_args
        if takes(self.learned_rule, "seed"):
            args = (f"seed={seed}", *args)
        return parse_rule(f"{self.learned_rule}:{','.join(args)}")

    def _learns_rule(self, method: str) -> bool:
        return method == "l2l_gail" and self.learned != "credit"
