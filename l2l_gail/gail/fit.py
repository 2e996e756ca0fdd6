"""What demonstrations are to a model: statistics, and what speaks against training on them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Space
from gymnasium.wrappers import NormalizeObservation
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize
from torch import Tensor, nn

from l2l_gail.checks import check_kind
from l2l_gail.core import UpdateRule, rule_name
from l2l_gail.core.checkpoint import check_rebuilt
from l2l_gail.demos import Demonstrations
from l2l_gail.demos.arguments import arguments_of, differing_arguments
from l2l_gail.demos.ends import DEFAULT_TIME_LIMIT
from l2l_gail.demos.fit import unfamiliar
from l2l_gail.errors import InputError
from l2l_gail.gail.discriminator import Discriminator
from l2l_gail.gail.rewards import SIGNS
from l2l_gail.gail.spaces import continuous_entries
from l2l_gail.ppo import ObservationParts, ObservationStatistics
from l2l_gail.ppo.observations import TensorObservations, as_tensors, network_input

__all__ = [
    "check_demonstrated",
    "check_env",
    "check_given",
    "check_rule",
    "check_wrappers",
    "demonstrated_rows",
    "demonstrated_tensors",
    "demonstrations_to_train_on",
    "env_spec",
    "fit_statistics",
    "is_altered",
    "observation_statistics",
    "read_demonstrations",
    "warn_of_observations",
    "warn_of_reward",
    "with_limit_of",
]

_STACK = 5  # the line that makes or trains the model


def env_spec(env: VecEnv | None) -> EnvSpec | None:
    """Return the Gymnasium specification behind a vector environment, ``None`` without one."""
    if env is None:
        return None
    try:
        spec = env.get_attr("spec", indices=[0])[0]
    except (AttributeError, NotImplementedError):
        return None
    return spec if isinstance(spec, EnvSpec) else None


def is_altered(demonstrations: Demonstrations, env: VecEnv, given: Mapping[str, Any]) -> bool:
    """Whether an environment has other arguments than that of the demonstrations.

    Args:
        demonstrations: If they do not say theirs, any that are given count as others.
        env: The environment.
        given: Its arguments, as they were given.
    """
    spec = env_spec(env)
    ours = None if spec is None else arguments_of(spec)
    theirs = demonstrations.env_kwargs
    if spec is None or ours is None or theirs is None:
        return bool(given)
    return bool(differing_arguments(theirs, ours, env.action_space, spec.id))


def check_env(
    demonstrations: Demonstrations,
    env: VecEnv | None,
    observation_space: Space[Any],
    action_space: Space[Any],
) -> None:
    """Refuse an environment that the demonstrations are not of.

    Raises:
        InputError: See :meth:`~l2l_gail.demos.Demonstrations.check_env`.
    """
    spec = env_spec(env)
    demonstrations.check_env(
        None if spec is None else spec.id,
        observation_space,
        action_space,
        None if spec is None else {**spec.kwargs, **arguments_of(spec)},
    )


def with_limit_of(demonstrations: Demonstrations, env: VecEnv | None) -> Demonstrations:
    """Return demonstrations whose ends of unknown kind an environment's time limit has settled.

    Where it tells no limit, their kind is a guess, which is warned about.
    """
    if demonstrations.ended_after is None or env is None:
        return demonstrations
    spec = env_spec(env)
    limit = None if spec is None else spec.max_episode_steps
    if limit is not None and limit > 0:
        return demonstrations.with_time_limit(limit)
    warnings.warn(
        "the demonstrations do not tell a time limit from a terminal state, and the environment "
        f"tells no time limit: {DEFAULT_TIME_LIMIT:,} steps are taken to be it; to say it, give "
        "demonstrations.with_time_limit(steps)",
        stacklevel=_STACK,
    )
    return demonstrations


def check_demonstrated(demonstrations: Demonstrations, judges: str, warm_start_steps: int) -> None:
    """Refuse demonstrations without what the discriminator is to judge, or a warm start to clone.

    Raises:
        InputError: There are no actions where they are needed, or no state that follows another.
    """
    if warm_start_steps:
        demonstrations.needed("acts", "a warm start by behaviour cloning")
    if judges == "state_transition":
        demonstrations.state_pairs()
    elif demonstrations.acts is None:
        raise InputError(
            "the demonstrations are of states alone, and the discriminator judges states with "
            "actions: give DiscriminatorConfig(judges='state_transition') "
            "(--judges state_transition), or demonstrations with actions"
        )


def read_demonstrations(source: Any) -> Demonstrations | None:
    """Return demonstrations that are given as they are, by their path or name, or by episodes.

    Raises:
        InputError: They are none of these, or cannot be read.
    """
    if isinstance(source, (str, Path)):
        return Demonstrations.load(source)
    if isinstance(source, (list, tuple)):  # as imitation has them
        return Demonstrations.from_episodes(source)
    check_kind("demonstrations", source, Demonstrations, "or a path, a name, a list of episodes")
    given: Demonstrations | None = source
    return given


def observation_statistics(
    demonstrations: Demonstrations, space: Space[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and population standard deviation ``(n,)`` of all continuous entries, float64."""
    entries = continuous_entries(demonstrations.obs, ObservationParts(space))
    return entries.mean(axis=0, dtype=np.float64), entries.std(axis=0, dtype=np.float64)


def fit_statistics(mean: np.ndarray, std: np.ndarray, *networks: nn.Module) -> None:
    """Give networks that normalise observations the demonstrations' statistics."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, ObservationStatistics):
                module.set(mean, std)


def check_given(model: BaseAlgorithm) -> None:
    """Refuse to make a model out of less than it learns from.

    Raises:
        InputError: It has no demonstrations, or no environment.
    """
    name = type(model).__name__
    if model.demonstrations is None:  # type: ignore[attr-defined]
        raise InputError(f"{name} needs demonstrations to imitate")
    if model.env is None:
        raise InputError(f"{name} needs an environment to imitate them in: give one, or its id")


def demonstrations_to_train_on(model: BaseAlgorithm, purpose: str) -> Demonstrations:
    """Return a model's demonstrations.

    Args:
        model: It may have been loaded to act only.
        purpose: What they are wanted for, as in "to fit it".

    Raises:
        InputError: It has none, or no environment.
    """
    demonstrations: Demonstrations | None = model.demonstrations  # type: ignore[attr-defined]
    if demonstrations is None or model.env is None:
        lacks = "demonstrations" if demonstrations is None else "an environment"
        raise InputError(
            f"this model was loaded without {lacks}; {purpose}, load it with "
            f"{type(model).__name__}.load(path, env=env, demonstrations=demonstrations)"
        )
    return demonstrations


def demonstrated_rows(
    demonstrations: Demonstrations, discriminator: Discriminator, device: torch.device
) -> Tensor:
    """Return the demonstrations as the ``rows`` of a discriminator, ``(n, in_dim)``."""
    with torch.no_grad():
        if discriminator.judges == "state_transition":
            now, after = demonstrations.state_pairs()
            return discriminator.rows(
                demonstrated_tensors(now, device), next_obs=demonstrated_tensors(after, device)
            )
        acts = torch.as_tensor(demonstrations.acts, device=device)
        return discriminator.rows(demonstrated_tensors(demonstrations.obs, device), acts)


def demonstrated_tensors(observations: Any, device: torch.device) -> TensorObservations:
    """Return demonstrated observations, an array or a dict of them, as a network takes them."""
    return network_input(as_tensors(observations, device))


def check_wrappers(env: VecEnv | None) -> None:
    """Refuse environments whose wrapper normalises observations by statistics of its own.

    Raises:
        InputError: In one line.
    """
    normalize = None if env is None else unwrap_vec_normalize(env)
    if normalize is not None and normalize.norm_obs:
        raise InputError(
            "the environment's VecNormalize normalises observations, but they are compared "
            "with the demonstrations' raw ones, and the model normalises both alike itself: "
            "pass norm_obs=False"
        )
    try:
        wrapped = env is not None and any(env.env_is_wrapped(NormalizeObservation))
    except (AttributeError, NotImplementedError):  # no Gymnasium environments inside
        return
    if wrapped:
        raise InputError(
            "the environment's NormalizeObservation normalises observations, but they are compared "
            "with the demonstrations' raw ones, and the model normalises both alike itself: leave "
            "the wrapper out"
        )


def warn_of_reward(demonstrations: Demonstrations, reward: str) -> None:
    """Warn where a reward's sign alone speaks against what the demonstrations show."""
    conflict = demonstrations.endings.conflict(SIGNS.get(reward, "either"))
    if conflict is not None and reward != "constant":
        warnings.warn(
            f"{conflict}: so does the reward {reward!r}; try DiscriminatorConfig(reward='logit') "
            "(--reward logit), which may be of either sign",
            stacklevel=_STACK,
        )


def check_rule(rule: UpdateRule, *, is_given: bool) -> None:
    """Refuse a registered rule with which no model could be saved; warn of one that is not.

    Args:
        rule: What is to update the discriminator.
        is_given: Whether it was given. One that was read from a file is warned about as well.

    Raises:
        InputError: Its ``config`` does not build it again, so that a trained model would be lost.
    """
    refuses = False
    try:
        rule_name(rule)
        refuses = is_given
        check_rebuilt(rule)
    except InputError as error:
        said = f"a model with this rule cannot be saved: {error}"
        if refuses:
            raise InputError(said) from None
        warnings.warn(said, stacklevel=_STACK)


def warn_of_observations(
    demonstrations: Demonstrations, observations: Any, parts: ObservationParts
) -> None:
    """Warn where first observations, ``(N, *shape)`` or a dict, are unlike any demonstrated."""
    strange = unfamiliar(
        continuous_entries(demonstrations.obs, parts), continuous_entries(observations, parts)
    )
    if strange:
        entries = "entry" if len(strange) == 1 else "entries"
        warnings.warn(
            "the environment's first observations are far from all demonstrated ones in "
            f"{entries} {', '.join(map(str, strange))}: is a wrapper around it that scales or "
            "normalises them?",
            stacklevel=_STACK,
        )
