"""The policy in a file that ``demos record --model`` names, whoever wrote it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gymnasium.spaces import Discrete, Space
from stable_baselines3.common.base_class import BaseAlgorithm

from l2l_gail.demos.policy_file import STD_FLOOR, MlpPolicy
from l2l_gail.demos.sb3_file import read_sb3_policy
from l2l_gail.errors import InputError
from l2l_gail.gail import AIRL, BC, GAIL
from l2l_gail.gail.saving import kind_of_model
from l2l_gail.policies import Predict
from l2l_gail.recording.partial import partial_policy
from l2l_gail.recording.trusted import Algorithm, load_sb3_model, load_vecnormalize, playing
from l2l_gail.saved_models import is_policy, read_model_parts

__all__ = ["policy_of_model"]


def policy_of_model(
    path: Path,
    env_id: str,
    observation_space: Space,
    action_space: Space,
    *,
    algo: Algorithm = "auto",
    trust_pickle: bool = False,
    vecnormalize: Path | None = None,
) -> Predict:
    """Read a policy and see that it is of the environment.

    Args:
        path: A ``.policy.npz``, a ``.partial.pt``, or a ``.zip`` of this library or of SB3.
        env_id: The environment, for the errors.
        observation_space: Its observations.
        action_space: Its actions.
        algo: SB3's class of the model, where pickle loads it.
        trust_pickle: Let pickle load what is no plain network.
        vecnormalize: What ``VecNormalize.save()`` wrote for a model of SB3.

    Raises:
        InputError: No such policy, not of this environment, or one that only pickle can load.
    """
    policy = _read(path, env_id, observation_space, action_space, algo, trust_pickle, vecnormalize)
    if isinstance(policy, MlpPolicy):
        _check_widths(policy, path, env_id, observation_space, action_space)
    return policy


def _read(
    path: Path,
    env_id: str,
    observation_space: Space,
    action_space: Space,
    algo: Algorithm,
    trust_pickle: bool,
    vecnormalize: Path | None,
) -> Predict:
    if path.suffix == ".npz":
        return MlpPolicy.load(path)
    if path.suffix == ".pt":
        return partial_policy(path)
    own = _own_model(path, trust_pickle)
    if own is not None:
        if vecnormalize is not None:
            raise InputError(f"{path} normalises observations itself: leave --vecnormalize out")
        return playing(own, path, observation_space, action_space)
    statistics = None if vecnormalize is None else load_vecnormalize(vecnormalize)
    if statistics is not None:
        statistics.check_fits(observation_space, str(vecnormalize), env_id)
    try:
        policy = read_sb3_policy(path, action_space)
    except InputError:
        if not trust_pickle:
            raise
        predict = load_sb3_model(path, observation_space, action_space, algo)
        return predict if statistics is None else statistics.before(predict)
    # Of a dict, what is plain is a model of another environment, which is said by its widths.
    if statistics is not None and not isinstance(statistics.mean, dict):
        policy = dataclasses.replace(
            policy,
            obs_mean=statistics.mean,
            obs_std=statistics.scale - STD_FLOOR,
            obs_clip=statistics.clip,
        )
    return policy


def _own_model(path: Path, trusted: bool) -> BaseAlgorithm | None:
    """Return a model that this library saved, of whatever class; None if it is none.

    Raises:
        InputError: It needs more than the file to act as it did, which SB3's own ``load`` would
            not notice: the policy that acts is the average of the one that it would read.
    """
    try:
        kind = kind_of_model(read_model_parts(path, is_policy)[0])
    except InputError:  # said by who reads it next
        return None
    classes: dict[str, type[GAIL | BC]] = {"GAIL": GAIL, "AIRL": AIRL, "BC": BC}
    if kind is None:
        return None
    try:
        return classes[kind].load(path, device="cpu", trust_pickle=trusted)
    except InputError as error:
        said = str(error).replace("load it with trust_pickle=True", "give --trust-pickle")
        if "--trust-pickle" not in said:
            said += "; to record it, load it in Python and give its predict to record_episodes"
        raise InputError(said) from None


def _check_widths(
    policy: MlpPolicy, path: Path, env_id: str, observation_space: Space, action_space: Space
) -> None:
    """Refuse a plain network that is not of the environment."""
    classes = isinstance(action_space, Discrete)
    acts = (int(action_space.n),) if isinstance(action_space, Discrete) else action_space.shape
    ours = (observation_space.shape or ("no plain",), acts or ("no plain",))
    if policy.classes != classes or ours != ((policy.obs_dim,), (policy.act_dim,)):
        raise InputError(
            f"{path} maps {policy.obs_dim} observations to {policy.act_dim} "
            f"{'classes' if policy.classes else 'actions'}, {env_id} has "
            f"{' x '.join(map(str, ours[0]))} and {' x '.join(map(str, ours[1]))}: give a policy "
            "of this environment"
        )
