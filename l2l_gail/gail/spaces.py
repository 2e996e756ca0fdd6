"""Which policy suits a space, what can be learned in, and demonstrations as a space has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.preprocessing import (
    is_image_space,
    is_image_space_channels_first,
)
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from torch import Tensor

from l2l_gail.checks import check_kind
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.gym_env import check_spaces
from l2l_gail.ppo import (
    NormalizedMultiInputPolicy,
    NormalizedPolicy,
    ObservationParts,
    policy_defaults,
)

__all__ = [
    "POLICIES",
    "channels_first",
    "check_judged",
    "check_policy",
    "check_trainable",
    "continuous_entries",
    "laid_out",
    "named_policy",
    "policy_for",
]

POLICIES: dict[str, type[ActorCriticPolicy]] = {
    "MlpPolicy": NormalizedPolicy,
    "CnnPolicy": ActorCriticCnnPolicy,
    "MultiInputPolicy": NormalizedMultiInputPolicy,
}
"""The policies that have names; all but that of images normalise continuous observations."""

_LEAST_IMAGE = 36  # pixels that NatureCNN's three convolutions need
_MLP = (ActorCriticPolicy, NormalizedPolicy)
_DICT = (MultiInputActorCriticPolicy, NormalizedMultiInputPolicy)


def policy_for(observation_space: spaces.Space) -> str:
    """Return the name of the policy that suits an observation space."""
    if isinstance(observation_space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if is_image_space(observation_space) else "MlpPolicy"


def named_policy(
    policy: str | type[ActorCriticPolicy], given: Mapping[str, Any] | None
) -> tuple[Any, dict[str, Any] | None]:
    """Return a policy's class and arguments: of one with a name with the script's defaults.

    Args:
        policy: A name of :data:`POLICIES`, or a class of your own, which is left as it is.
        given: Its ``policy_kwargs`` as far as they are given.

    Raises:
        InputError: These are no mapping.
    """
    check_kind("policy_kwargs", given, Mapping, "such as dict(net_arch=[64, 64])")
    if not isinstance(policy, str):
        return policy, None if given is None else dict(given)
    # By its class: of a name SB3 says in words of its own that it does not fit.
    return POLICIES.get(policy, policy), policy_defaults(given)


def check_trainable(env: Any) -> None:
    """Refuse an environment, or a vector of them, in whose spaces nothing can be learned.

    Raises:
        InputError: See :func:`~l2l_gail.gym_env.check_spaces`; or an action space without bounds;
            or images of which some have their channels first and some last; or what is given is no
            environment, or a vector of Gymnasium's.
    """
    if isinstance(env, VectorEnv):
        raise InputError(
            f"the environment is Gymnasium's {type(env).__name__}: give a VecEnv of "
            "stable-baselines3's (make_vec_env(id, n_envs)), or one of envs.make(id, n)"
        )
    if not hasattr(env, "observation_space") and not hasattr(env, "single_observation_space"):
        raise InputError(
            f"the environment, of type {type(env).__name__}, has no observation_space: give a "
            "Gymnasium environment, a VecEnv, or a registered id"
        )
    observation_space, action_space = (
        getattr(env, f"single_{name}", None) or getattr(env, name)
        for name in ("observation_space", "action_space")
    )
    check_spaces(observation_space, action_space, "the environment")
    _check_channels(observation_space)
    if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
        raise InputError(
            f"the environment: the action space {action_space} is not bounded: give it bounds "
            "(gymnasium.wrappers.TransformAction)"
        )


def _check_channels(observation_space: spaces.Space) -> None:
    """Refuse images of both layouts in one observation: SB3 turns all of them round or none."""
    parts = ObservationParts(observation_space)
    first = [key for key in parts.images if is_image_space_channels_first(parts.spaces[key])]  # type: ignore[arg-type]
    last = [key for key in parts.images if key not in first]
    if first and last:
        raise InputError(
            f"the environment: images have their channels first in {first[0]!r} and last in "
            f"{last[0]!r}: give all of them one layout (gymnasium.wrappers.TransformObservation)"
        )


def check_policy(
    policy: type, observation_space: spaces.Space, policy_kwargs: Mapping[str, Any]
) -> None:
    """Refuse a policy of the library's or of SB3's that observations do not fit.

    Raises:
        InputError: It says which one fits; or images are too small for ``NatureCNN``.
    """
    right = policy_for(observation_space)
    is_dict = right == "MultiInputPolicy"
    wrong = (policy in _DICT) != is_dict if policy in (*_MLP, *_DICT) else False
    if wrong or (policy is ActorCriticCnnPolicy and right != "CnnPolicy"):
        raise InputError(
            f"the policy {policy.__name__} does not fit the observation space "
            f"{observation_space}: give {right!r} (images are a Box of uint8 from 0 to 255 in "
            "three dimensions)"
        )
    kind = policy_kwargs.get("features_extractor_class")
    looks = kind in (NatureCNN, CombinedExtractor) or (
        kind is None and policy in (ActorCriticCnnPolicy, *_DICT)
    )
    for space in ObservationParts(observation_space).spaces.values():
        small = is_image_space(space) and sorted(space.shape or ())[1] < _LEAST_IMAGE
        if looks and small:
            raise InputError(
                f"images of {space.shape} are too small for stable-baselines3's NatureCNN, which "
                f"needs {_LEAST_IMAGE} x {_LEAST_IMAGE} pixels: give policy_kwargs="
                "{'features_extractor_class': ...}, of which the discriminator makes one too"
            )


def check_judged(judges: str, observation_space: spaces.Space) -> None:
    """Refuse to judge images with the images after them.

    Raises:
        InputError: That is asked for.
    """
    if judges == "state_transition" and ObservationParts(observation_space).images:
        raise InputError(
            "judges='state_transition' (--judges state_transition) is for observations without "
            "images: leave it out"
        )


def laid_out(demonstrations: Demonstrations, space: spaces.Space) -> Demonstrations:
    """Return demonstrations whose images have their channels where the space has them.

    stable-baselines3 puts channels first, where the environment they were recorded in may have
    them last.
    """
    parts, after = ObservationParts(space), demonstrations.next_obs
    obs = channels_first(demonstrations.obs, parts)
    if obs is demonstrations.obs:
        return demonstrations
    return dataclasses.replace(
        demonstrations, obs=obs, next_obs=None if after is None else channels_first(after, parts)
    )


def channels_first(observations: Any, parts: ObservationParts) -> Any:
    """Return observations, arrays or tensors, with their images' channels where a space has them.

    Args:
        observations: ``(B, *shape)``, or a dict of such; returned itself if nothing is to be moved.
        parts: Of the space.
    """
    keys = [key for key in parts.images if _channels_last(observations, key, parts)]
    if not keys:
        return observations
    if not isinstance(observations, dict):
        return _moved(observations)
    return {**observations, **{key: _moved(observations[key]) for key in keys}}


def _moved(images: Any) -> Any:
    return images.movedim(-1, 1) if isinstance(images, Tensor) else np.moveaxis(images, -1, 1)


def _channels_last(observations: Any, key: str, parts: ObservationParts) -> bool:
    if isinstance(observations, dict) != bool(key) or (key and key not in observations):
        return False  # another space altogether, which is refused elsewhere
    shape, own = tuple(parts.of(observations, key).shape[1:]), parts.spaces[key].shape or ()
    return len(shape) == len(own) and shape != own and (shape[-1], *shape[:-1]) == own


def continuous_entries(observations: Any, parts: ObservationParts) -> np.ndarray:
    """Return the continuous parts of observations, arrays or dicts of them, as ``(T, n)``."""
    arrays = [parts.of(observations, key) for key in parts.continuous]
    flat = [array.reshape(len(array), -1) for array in arrays]
    if not flat:
        return np.zeros((1, 0), np.float32)
    return flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
