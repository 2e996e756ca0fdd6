"""An expert in training as a file, so that a training that was interrupted can be gone on with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecNormalize

from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.errors import InputError
from l2l_gail.files import fitting, read_tensors, save_tensors
from l2l_gail.ppo import TensorPPO

__all__ = ["SUFFIX", "PartialExpert", "partial_policy"]

SUFFIX = ".partial.pt"
"""What the file's name ends in."""

_FORMAT = "l2l_gail.partial_expert"
_WAY_OUT = "remove it, and train from the beginning"


@dataclass(frozen=True)
class PartialExpert:
    """Where the state of a training is kept, and of which training it is.

    Attributes:
        path: The file.
        settings: What the training depends on, plain values; another one cannot go on from here.
    """

    path: Path
    settings: dict[str, Any]

    def save(
        self,
        model: TensorPPO,
        venv: VecNormalize,
        best: MlpPolicy,
        checkpoints: list[tuple[int, float]],
    ) -> None:
        """Write the state, in one step.

        Args:
            model: The model, between two rollouts.
            venv: Its environments, whose running statistics belong to the policy.
            best: The best policy so far.
            checkpoints: Steps and mean return of those that were scored.

        Raises:
            InputError: The file cannot be written.
        """
        state = {
            "format": _FORMAT,
            "settings": self.settings,
            "steps": model.num_timesteps,
            "policy_epochs": model._n_updates,
            "parameters": model.get_parameters(),
            "statistics": [_numbers(rms) for rms in (venv.obs_rms, venv.ret_rms)],
            "checkpoints": checkpoints,
            "best": {
                "layers": [[torch.as_tensor(w), torch.as_tensor(b)]
                           for w, b in zip(best.weights, best.biases, strict=True)],
                "obs_mean": torch.as_tensor(best.obs_mean),
                "obs_std": torch.as_tensor(best.obs_std),
                "obs_clip": best.obs_clip,
                "classes": best.classes,
            },
        }  # fmt: skip
        save_tensors(self.path, state)

    def restore(
        self, model: TensorPPO, venv: VecNormalize
    ) -> tuple[MlpPolicy, list[tuple[int, float]]]:
        """Bring a fresh model to where the training was; its environments begin new episodes.

        Args:
            model: A model that was made with the same settings.
            venv: Its environments.

        Returns:
            The best policy so far, and the checkpoints that were scored.

        Raises:
            InputError: There is no such file, it is damaged, or of a training with other settings.
        """
        state = _read(self.path)
        if state.get("settings") != self.settings:
            saved = state.get("settings")
            saved = saved if isinstance(saved, dict) else {}
            other = sorted(k for k, v in self.settings.items() if saved.get(k) != v)
            raise InputError(
                f"{self.path} is of a training with another {', '.join(other) or 'setting'}: give "
                "the flags of that one"
            )
        with fitting(self.path, _WAY_OUT):
            model.set_parameters(state["parameters"], device=model.device)
            model.num_timesteps = int(state["steps"])
            model._n_updates = int(state["policy_epochs"])
            running: list[Any] = [venv.obs_rms, venv.ret_rms]
            for rms, saved in zip(running, state["statistics"], strict=True):
                mean, var = saved["mean"].numpy(), saved["var"].numpy()
                if mean.shape != rms.mean.shape or var.shape != rms.var.shape:
                    raise ValueError("statistics of other widths")
                rms.mean, rms.var, rms.count = mean, var, float(saved["count"])
            checkpoints = [(int(steps), float(value)) for steps, value in state["checkpoints"]]
            # Neither environments nor sampling go on within the episode: let them not repeat it.
            model.set_random_seed((model.seed or 0) + model.num_timesteps)
            return _best(state), checkpoints


def partial_policy(path: Path) -> MlpPolicy:
    """The best policy of a training that was interrupted.

    Raises:
        InputError: The file is missing, damaged, or no such training.
    """
    state = _read(path)
    with fitting(path, _WAY_OUT):
        return _best(state)


def _read(path: Path) -> dict[str, Any]:
    missing = f"{path} does not exist: no training was interrupted there, leave out --resume"
    state = read_tensors(path, missing=missing, way_out=_WAY_OUT)
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise InputError(f"{path} is no expert in training: give the file that demos record kept")
    return state


def _best(state: dict[str, Any]) -> MlpPolicy:
    best = state["best"]
    classes = best.get("classes", False)  # of an earlier version's numbers alone
    if not isinstance(classes, bool):
        raise ValueError("its classes are neither there nor not")
    weights, biases = zip(*best["layers"], strict=True)
    return MlpPolicy(
        obs_mean=best["obs_mean"].numpy(),
        obs_std=best["obs_std"].numpy(),
        weights=tuple(weight.numpy() for weight in weights),
        biases=tuple(bias.numpy() for bias in biases),
        obs_clip=float(best["obs_clip"]),
        classes=classes,
    )


def _numbers(rms: Any) -> dict[str, Any]:
    mean, var = (torch.as_tensor(np.array(x, dtype=np.float64)) for x in (rms.mean, rms.var))
    return {"mean": mean, "var": var, "count": float(rms.count)}
