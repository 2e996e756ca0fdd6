"""One training run of a GAIL model in a run folder: measured, logged, checkpointed, resumable."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from l2l_gail.callbacks import CheckpointCallback, TrueReturnCallback
from l2l_gail.demos import Demonstrations
from l2l_gail.gail.gail import GAIL
from l2l_gail.runs import RunFolder, load_checkpoint, save_checkpoint

__all__ = ["TrainingRun"]


@dataclass
class TrainingRun:
    """A model, the folder it trains in, and what has been measured so far.

    Attributes:
        model: The model.
        folder: Receives events, checkpoints and ``model.zip``.
        evaluation: Measures the true return while the model trains.
        wall_s: Seconds of training so far, evaluations and earlier sittings included.
        cpu_s: CPU seconds likewise.
    """

    model: GAIL
    folder: RunFolder
    evaluation: TrueReturnCallback
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def resume(self, env: VecEnv, demonstrations: Demonstrations) -> None:
        """Go on from the folder's checkpoint: weights, optimizers, random streams, measurements.

        The environments start new episodes, since a simulator's state is not saved.

        Raises:
            InputError: If the checkpoint is damaged or of another version.
        """
        state = load_checkpoint(self.folder.checkpoint)
        archive = io.BytesIO(state["model"].numpy().tobytes())
        self.model = type(self.model).load(
            archive, env=env, demonstrations=demonstrations, device=self.model.device
        )
        self.evaluation.curve = state["curve"]
        self.wall_s, self.cpu_s = state["wall_s"], state["cpu_s"]
        torch.set_rng_state(state["torch_rng"])
        _set_numpy_state(state["numpy_rng"])
        random.setstate(_as_tuple(state["python_rng"]))

    def train(
        self, total_timesteps: int, *, save_every: int = 50_000, progress_bar: bool = False
    ) -> None:
        """Train until ``total_timesteps`` environment steps have been taken in all.

        Args:
            total_timesteps: Steps of the whole run, those before a resumption included.
            save_every: Steps between two checkpoints.
            progress_bar: Whether to show a bar with the time left.
        """
        self.model.set_logger(configure(str(self.folder.path), ["tensorboard"]))
        wall, cpu = time.perf_counter() - self.wall_s, time.process_time() - self.cpu_s

        def clock() -> None:
            self.wall_s, self.cpu_s = time.perf_counter() - wall, time.process_time() - cpu

        def save() -> None:
            clock()
            self._save_checkpoint()

        begun = self.model.num_timesteps
        self.model.learn(
            total_timesteps - begun,
            callback=[self.evaluation, CheckpointCallback(save, save_every)],
            reset_num_timesteps=begun == 0,
            progress_bar=progress_bar,
        )
        save()
        self.model.logger.close()
        self.model.save(self.folder.path / "model.zip")

    def _save_checkpoint(self) -> None:
        archive = io.BytesIO()
        self.model.save(archive)
        kind, keys, *rest = np.random.get_state(legacy=True)
        state: dict[str, Any] = {
            "model": torch.frombuffer(bytearray(archive.getvalue()), dtype=torch.uint8),
            "curve": self.evaluation.curve,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": [str(kind), torch.as_tensor(np.asarray(keys, dtype=np.int64)), *rest],
            "python_rng": _as_list(random.getstate()),
        }
        save_checkpoint(self.folder.checkpoint, state)


def _set_numpy_state(saved: Sequence[Any]) -> None:
    kind, keys, position, has_gauss, gauss = saved
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))


def _as_list(value: Any) -> Any:
    return [_as_list(entry) for entry in value] if isinstance(value, tuple) else value


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(entry) for entry in value) if isinstance(value, list) else value
