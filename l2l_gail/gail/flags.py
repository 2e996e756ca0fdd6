"""Groups of flags that ``train_gail.py`` nests: the task, and the discriminator's update rule."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes

from l2l_gail.core import UpdateRule, parse_rule
from l2l_gail.core.forward_mode import ForwardMode
from l2l_gail.demos import Demonstrations, embedded
from l2l_gail.errors import InputError
from l2l_gail.gail.config import DiscriminatorConfig, RuleTraining
from l2l_gail.gym_env import check_env_id, check_time_limit, make_env, parse_env_kwargs

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
        demos = Demonstrations.load(self.demos or self._embedded())
        if self.demo_episodes is not None:
            demos = demos.head(self.demo_episodes)
        if self.demo_every != 1:
            demos = demos.subsample(self.demo_every)
        env = make_env(self.env, kwargs)
        check_time_limit(env.spec)
        demos.check_env(self.env, env.observation_space, env.action_space)
        env.close()
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
    """What moves the discriminator: the rule that is named, or in l2l_gail a learned one."""

    learning_rate: float = 3e-4
    """Learning rate for the discriminator; of the learned rule, where it starts."""
    update_rule: str = "adam"
    """Rule of gail and airl: adam, optimistic_adam, muon, sgd, prodigy (--learning-rate 1), ..."""
    rule_args: tuple[str, ...] = ()
    """Further arguments of that rule, as k=v."""
    matched_effort: bool = False
    """Give gail as many updates more as l2l_gail spends on training its rule."""
    learned: Literal["all", "step", "network"] = "all"
    """What l2l_gail learns: the global step, the network on each weight, or both."""
    learned_args: tuple[str, ...] = ()
    """Further arguments of the learned rule, as k=v: hidden, step_lr_ratio, ..."""
    state_only_reward: bool = False
    """Let airl learn a reward of the state alone, not of the action."""
    training: Annotated[RuleTraining, OmitArgPrefixes] = field(default_factory=RuleTraining)

    def __post_init__(self) -> None:
        """Refuse what no rule can be built with.

        Raises:
            InputError: In one line.
        """
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"learning_rate must be positive and finite, not {self.learning_rate}")
        for method in ("gail", "l2l_gail"):
            self.rule(method)

    def rule(self, method: str, seed: int = 0) -> UpdateRule:
        """Return the rule of a method, what it learns drawn from the seed."""
        if method != "l2l_gail":
            return self._build(self.update_rule, self.rule_args)
        network, step = self.learned != "step", self.learned != "network"
        parts = (f"learn_network={network}", f"learn_step={step}", f"seed={seed}")
        return self._build("coordinate_mlp", (*parts, *self.learned_args))

    def check(self, method: str) -> None:
        """Refuse a way of training that the rule of this method does not allow.

        Raises:
            InputError: Derivatives are to be carried forward, and the rule learns too many numbers.
        """
        rule = self.rule(method)
        if self.training.meta_mode == "forward" and any(True for _ in rule.parameters()):
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
        if any(True for _ in rule.parameters()):
            training = self.training
        if method == "gail" and self.matched_effort:
            updates = discriminator.updates_per_rollout
            updates += updates // self.training.meta_every
            discriminator = dataclasses.replace(discriminator, updates_per_rollout=updates)
        if method == "no_demos":
            discriminator = dataclasses.replace(discriminator, reward="constant")
        kwargs = {"rule": rule, "rule_training": training, "discriminator": discriminator}
        return kwargs | ({"state_only_reward": self.state_only_reward} if method == "airl" else {})

    def unused(self, method: str) -> set[str]:
        """Return the settings that a method has no use for, those of the rule's training too."""
        if method == "l2l_gail":
            return {"update_rule", "rule_args", "matched_effort", "state_only_reward"}
        names = {"learned", "learned_args"}
        if method != "airl":
            names |= {"state_only_reward"}
        if method != "gail":
            names |= {"reward", "matched_effort"}
        if not any(True for _ in self.rule(method).parameters()):
            names |= {each.name for each in dataclasses.fields(RuleTraining)}
        return names - {"meta_every"} if self.matched_effort and method == "gail" else names

    def _build(self, name: str, arguments: tuple[str, ...]) -> UpdateRule:
        return parse_rule(f"{name}:{','.join((f'lr={self.learning_rate!r}', *arguments))}")
