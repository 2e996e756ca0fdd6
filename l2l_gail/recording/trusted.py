"""Loading what only pickle can load: for files that the user says are trusted.

Nothing else in the package unpickles a file. Unpickling runs code stored in the file, so both
functions belong behind a flag that says so.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Dict, Space
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from l2l_gail.demos.sb3_file import CONTRIB_ADVICE, is_of_contrib, policy_module
from l2l_gail.errors import InputError
from l2l_gail.files import home_expanded
from l2l_gail.observations import map_parts
from l2l_gail.policies import Predict
from l2l_gail.ppo.parts import is_like

__all__ = ["Algorithm", "Normalization", "load_sb3_model", "load_vecnormalize", "playing"]

Algorithm = Literal["auto", "ppo", "a2c", "sac", "td3", "ddpg", "dqn"]

_CLASSES: dict[str, type[BaseAlgorithm]] = {
    "ppo": PPO,
    "a2c": A2C,
    "sac": SAC,
    "td3": TD3,
    "ddpg": DDPG,
    "dqn": DQN,
}
_ALGORITHMS = {
    "stable_baselines3.common.policies": ("ppo", "a2c"),
    "stable_baselines3.sac.policies": ("sac",),
    "stable_baselines3.td3.policies": ("td3", "ddpg"),
    "stable_baselines3.dqn.policies": ("dqn",),
}
"""The classes whose policies are of a module; a policy of the user's own may be of any."""

_ACTS_BY = ("policy_class", "policy_kwargs", "observation_space", "action_space")
_WAY_OUT = "give the .zip that SB3's save() wrote"


def load_sb3_model(
    path: str | Path,
    observation_space: Space,
    action_space: Space,
    algorithm: Algorithm = "auto",
) -> Predict:
    """Load a model with Stable-Baselines3's own ``load``, which unpickles.

    Its spaces may be of Gymnasium or of gym; what it was trained with, its schedules for one, is
    not loaded.

    Args:
        path: The ``.zip`` of a model.
        observation_space: Of the environment it is to play in.
        action_space: Likewise.
        algorithm: Class to load it with; ``auto`` tells it from the settings in the file.

    Returns:
        The model's deterministic policy.

    Raises:
        InputError: The file is missing, damaged, not of that class, of a class that SB3 does not
            have, of other spaces, or names a module that is not installed.
    """
    path = home_expanded(path)
    if not os.path.isfile(path):
        raise InputError(f"no model at {path}: {_WAY_OUT}")
    settings = _settings(path)
    name = _guess(settings) if algorithm == "auto" else algorithm
    _check_class(path, policy_module(settings), name)
    try:
        with warnings.catch_warnings():
            # SB3 knows what it changed since, and advises to save the model again.
            warnings.filterwarnings("ignore", "You are probably loading")
            model = _CLASSES[name].load(path, device="cpu", custom_objects=_replaced(settings))
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} needs the module {error.name or str(error)!r}, which is not installed: "
            "install the package that has it, or add its folder to PYTHONPATH"
        ) from error
    # Code from the file runs here and can raise anything.
    except Exception as error:
        raise InputError(
            f"{path} cannot be loaded by Stable-Baselines3 as a model of {name} "
            f"({type(error).__name__}: {error}); {_advice(settings)}"
        ) from error

    return playing(model, path, observation_space, action_space)


def playing(
    model: BaseAlgorithm, path: Path, observation_space: Space, action_space: Space
) -> Predict:
    """Return a loaded model's deterministic policy.

    Args:
        model: The model.
        path: Where it was.
        observation_space: Of the environment it is to play in.
        action_space: Likewise.

    Raises:
        InputError: It is of other spaces.
    """
    for saved, space in (
        (model.observation_space, observation_space),
        (model.action_space, action_space),
    ):
        if not is_like(saved, space):
            raise InputError(
                f"{path} was trained with the space {saved}, the environment has {space}: "
                "give a model of this environment"
            )

    def predict(observations: Any) -> np.ndarray:
        return model.predict(observations, deterministic=True)[0]

    return predict


def _settings(path: Path) -> dict[str, Any]:
    """The JSON object of a model's archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(archive.read("data"))
    # A damaged file raises whatever its garbage happens to spell.
    except Exception as error:
        raise InputError(
            f"{path} is damaged or no model of Stable-Baselines3 ({type(error).__name__}): "
            f"{_WAY_OUT}"
        ) from None
    if not isinstance(settings, dict):
        raise InputError(f"{path} is no model of Stable-Baselines3: {_WAY_OUT}")
    return settings


def _guess(settings: Mapping[str, Any]) -> str:
    """The algorithm, told by a setting that it alone has; TD3 loads DDPG too."""
    for setting, name in (
        ("clip_range", "ppo"),
        ("target_policy_noise", "td3"),
        ("target_entropy", "sac"),
        ("exploration_rate", "dqn"),
    ):
        if setting in settings:
            return name
    return "a2c"


def _check_class(path: Path, module: str, name: str) -> None:
    """Refuse a class that does not go with the policy in the file."""
    if is_of_contrib(module):
        raise InputError(f"{path} has a policy of {module}; {CONTRIB_ADVICE}")
    algorithms = _ALGORITHMS.get(module, (name,))
    if name not in algorithms:
        raise InputError(
            f"{path} has a policy of {module}, which {name} has not: give --algo "
            f"{' or '.join(algorithms)}"
        )


def _advice(settings: Mapping[str, Any]) -> str:
    """What to do where SB3 cannot load a file."""
    advice = (
        "load it in Python with the releases that it was saved with and give its predict to "
        "record_episodes"
    )
    if policy_module(settings) not in _ALGORITHMS:
        advice = f"give its class with --algo if it is another; else {advice}"
    return advice


def _replaced(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What SB3's ``load`` takes instead of what is pickled in the file.

    Schedules are functions, which only the Python that saved them unpickles, and HER's buffer needs
    an environment. None of it has a part in an action.
    """
    replaced: dict[str, Any] = {
        **{"learning_rate": 0.0, "lr_schedule": None, "exploration_schedule": None},
        **{"clip_range": 0.2, "clip_range_vf": None, "action_noise": None},
        **{"replay_buffer_class": None, "replay_buffer_kwargs": {}, "buffer_size": 1},
        **{"ep_info_buffer": None, "ep_success_buffer": None},
        **{"_last_obs": None, "_last_original_obs": None},
    }
    for name in _ACTS_BY:
        saved = settings.get(name)
        if isinstance(saved, dict) and ":serialized:" in saved:
            content = base64.b64decode(saved[":serialized:"])
            replaced[name] = _WithoutGym(io.BytesIO(content)).load()
    return replaced


@dataclass(frozen=True)
class Normalization:
    """Observation statistics: ``clip((obs - mean) / scale, -clip, clip)``.

    Attributes:
        mean: Of the shape of one observation; where that is a dict, a dict of the parts that are
            normalised, which need not be all.
        scale: Likewise.
        clip: Largest size of what comes out.
    """

    mean: Any
    scale: Any
    clip: float

    def before(self, predict: Predict) -> Predict:
        """The policy that normalises first, so that it takes raw observations."""

        def one(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
            return np.clip((x - mean) / scale, -self.clip, self.clip).astype(np.float32)

        def normalised(observations: Any) -> np.ndarray:
            if not isinstance(self.mean, dict):
                return predict(map_parts(one, observations, self.mean, self.scale))
            chosen = {key: observations[key] for key in self.mean}
            return predict({**observations, **map_parts(one, chosen, self.mean, self.scale)})

        return normalised

    def check_fits(self, space: Space, name: str | Path, env_id: str) -> None:
        """Refuse statistics of other observations than an environment gives.

        Args:
            space: Of its observations.
            name: Where the statistics were.
            env_id: Of the environment.

        Raises:
            InputError: They are of other shapes, or of keys that there are not.
        """
        ours = map_parts(np.shape, self.mean)
        theirs: Any = space.shape
        if isinstance(space, Dict):
            theirs = {key: part.shape for key, part in space.spaces.items()}
        both_dicts = isinstance(ours, dict) and isinstance(theirs, dict)
        if not (ours.items() <= theirs.items() if both_dicts else ours == theirs):
            raise InputError(
                f"{name} has statistics of shape {ours}, {env_id} gives observations of {theirs}: "
                "give those of this environment"
            )


class _WithoutGym(pickle.Unpickler):
    """Takes Gymnasium's classes where a file of SB3 1.x names those of gym."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        package, dot, rest = module_name.partition(".")
        if package == "gym":
            module_name = f"gymnasium{dot}{rest}"
        return super().find_class(module_name, global_name)


def load_vecnormalize(path: str | Path) -> Normalization | None:
    """Unpickle the statistics that ``VecNormalize.save`` wrote.

    Args:
        path: The file.

    Returns:
        The statistics; None if it did not normalise observations.

    Raises:
        InputError: The file is missing, damaged, or no ``VecNormalize``.
    """
    path = home_expanded(path)
    if not os.path.isfile(path):
        raise InputError(f"no statistics at {path}: give the file that VecNormalize.save() wrote")
    try:
        with path.open("rb") as file:
            wrapper = _WithoutGym(file).load()
        if not wrapper.norm_obs:
            return None
        statistics = wrapper.obs_rms
        if isinstance(statistics, dict):
            statistics = {key: statistics[key] for key in wrapper.norm_obs_keys}
        return Normalization(
            mean=map_parts(lambda one: np.array(one.mean), statistics),
            scale=map_parts(lambda one: np.sqrt(np.array(one.var) + wrapper.epsilon), statistics),
            clip=float(wrapper.clip_obs),
        )
    # Code from the file runs here and can raise anything.
    except Exception as error:
        raise InputError(
            f"{path} is no VecNormalize ({type(error).__name__}): give the file that "
            "VecNormalize.save() wrote"
        ) from error
