"""The policies of a run at its beginning, its middle and its end, as plain arrays.

``first.npz``, ``middle.npz`` and ``last.npz`` lie in the run's folder ``policies``, written while
it trains.  They are read without running anything that is in them, and so are the policy of
``model.zip``, which stands in where ``last.npz`` is missing, and that of ``nearest.zip``, whose
states were nearest to the expert's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from l2l_gail.demos.policy_file import STD_FLOOR, MlpPolicy
from l2l_gail.demos.sb3_file import linear_layers
from l2l_gail.errors import InputError
from l2l_gail.files import atomic_write
from l2l_gail.films import NEAREST, policy_file, snapshot
from l2l_gail.ppo.policy import OBS_CLIP
from l2l_gail.saved_models import acting_state, is_policy, read_model_parts
from l2l_gail.saved_spaces import class_name

__all__ = ["MOMENTS", "NEAREST", "SnapshotCallback", "has_policy", "load_policy"]

MOMENTS = ("first", "middle", "last")
"""When a policy was."""

_STATISTICS = "features_extractor.statistics"


class SnapshotCallback(BaseCallback):
    """Keeps the policy before the first step, at half of the steps, and at the end.

    A policy that is no plain perceptron is not kept. Nothing is drawn from any random stream.

    Args:
        folder: Folder of the run.
        total_timesteps: Environment steps of the whole run.
    """

    def __init__(self, folder: Path, total_timesteps: int) -> None:
        super().__init__()
        self.folder = folder
        self.middle = total_timesteps // 2
        self.is_past = False

    def _on_step(self) -> bool:
        return True

    def _on_training_start(self) -> None:
        if self.num_timesteps == 0:
            self._keep("first")
        # A file that is there may be the middle of a training that was to be shorter: it stays
        # until this one's takes its place, which is in the first rollout from there on.
        rollout = getattr(self.model, "n_steps", 1) * self.model.n_envs
        behind = self.num_timesteps - self.middle
        self.is_past = behind >= rollout and has_policy(self.folder, "middle")

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.middle and not self.is_past:
            self._keep("middle")
            self.is_past = True

    def _on_training_end(self) -> None:
        self._keep("last")

    def _keep(self, moment: str) -> None:
        policy_of_model: Any = getattr(self.model, "acting_policy", self.model.policy)
        if not _is_plain(self.model.observation_space, self.model.action_space):
            return
        activation = policy_of_model.activation_fn.__name__.lower()
        try:
            classes = isinstance(self.model.action_space, Discrete)
            policy = _from_state(policy_of_model.state_dict(), activation, classes)
        except (KeyError, InputError):
            return
        atomic_write(snapshot(self.folder, moment), policy.to_bytes())


def has_policy(run: Path, moment: str) -> bool:
    """Whether a run's folder holds the policy of a moment."""
    return policy_file(run, moment) is not None


def load_policy(run: Path, moment: str = "last") -> MlpPolicy:
    """Read a policy of a run.

    Args:
        run: Folder of the run.
        moment: ``first``, ``middle``, ``last`` or ``nearest``.

    Returns:
        The deterministic policy, on raw observations.

    Raises:
        InputError: It is not there, damaged, or no plain perceptron.
    """
    path, model = snapshot(run, moment), policy_file(run, moment)
    if model is None:
        raise InputError(f"{run} holds no {moment} policy: {path.name} is missing")
    if model == path:
        return MlpPolicy.load(path)
    data, tensors = read_model_parts(model, is_policy)
    settings, state = data.get("policy_kwargs", {}), acting_state(tensors) or {}
    kinds = [class_name(data.get(name) or {}) for name in ("observation_space", "action_space")]
    try:
        if "activation_fn" in settings:
            raise KeyError("activation_fn")
        if kinds not in (["Box", "Box"], ["Box", "Discrete"]):
            raise KeyError(" and ".join(kinds))
        return _from_state(state, "tanh", kinds[1] == "Discrete")
    except KeyError as error:
        raise InputError(
            f"{model}: its policy is no plain perceptron with tanh ({error.args[0]}); play it by "
            "GAIL.load(...), or load(...) of its own class (AIRL, BC), and predict"
        ) from None


def _is_plain(observation_space: Space, action_space: Space) -> bool:
    """Whether a perceptron acts here: from one vector to another, or to a class."""
    of_vectors = isinstance(observation_space, Box) and len(observation_space.shape) == 1
    to_vectors = isinstance(action_space, Box) and len(action_space.shape) == 1
    return of_vectors and (to_vectors or isinstance(action_space, Discrete))


def _from_state(state: Mapping[str, Tensor], activation: str, classes: bool) -> MlpPolicy:
    """The perceptron in a policy's parameters, its normalisation included.

    Raises:
        KeyError: It holds what a perceptron has not.
        InputError: An activation that is not known.
    """
    weights, biases = linear_layers(state, hidden="mlp_extractor.policy_net", out="action_net")
    statistics = {f"{_STATISTICS}.mean", f"{_STATISTICS}.scale"}
    features = {key for key in state if key.startswith("features_extractor.")}
    if features - statistics:
        raise KeyError(", ".join(sorted(features - statistics)))
    width = weights[0].shape[0]
    mean, std, clip = np.zeros(width), np.full(width, 1.0 - STD_FLOOR), np.inf
    if features:
        mean = state[f"{_STATISTICS}.mean"].cpu().numpy().astype(np.float64)
        std = 1.0 / state[f"{_STATISTICS}.scale"].cpu().numpy().astype(np.float64) - STD_FLOOR
        clip = OBS_CLIP
    return MlpPolicy(
        mean, std, weights, biases, activation=activation, obs_clip=clip, classes=classes
    )
