"""One training run of a model in a run folder: measured, logged, checkpointed, resumable."""

from __future__ import annotations

import dataclasses
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from l2l_gail.callbacks import CheckpointCallback, ProgressCallback, TrueReturnCallback
from l2l_gail.checkpoints import OTHER_VERSION, load_checkpoint, save_checkpoint
from l2l_gail.errors import InputError
from l2l_gail.event_files import continued_writer
from l2l_gail.files import fitting
from l2l_gail.gail.bc import BC, PIECE
from l2l_gail.gail.gail import GAIL
from l2l_gail.gail.health import HealthCallback
from l2l_gail.gail.nearest import Nearest
from l2l_gail.observations import map_parts
from l2l_gail.ppo import tensor_env_of
from l2l_gail.ppo.env import env_state, load_env_state
from l2l_gail.progress import Tell, silent
from l2l_gail.runs import RunFolder
from l2l_gail.snapshots import SnapshotCallback
from l2l_gail.stopping import Interrupted, signals_deferred

__all__ = ["TrainingRun"]

_WAY_OUT = "the last checkpoint is from before it, and --resume goes on from there"


@dataclass
class TrainingRun:
    """A model, the folder it trains in, and what has been measured so far.

    Attributes:
        model: The model.
        folder: Receives events, checkpoints, ``model.zip``, and ``nearest.zip``: the model as it
            was when its states were nearest to the expert's.
        evaluation: Measures the true return while the model trains.
        wall_s: Seconds of training so far, evaluations and earlier sittings included.
        cpu_s: CPU seconds likewise.
        probes: Further callbacks that watch the training.
        logged: What an earlier sitting has logged and not yet written: tag, value, and the outputs
            that leave it out.
        nearest: The policy whose states were nearest to the expert's.
    """

    model: GAIL | BC
    folder: RunFolder
    evaluation: TrueReturnCallback
    wall_s: float = 0.0
    cpu_s: float = 0.0
    probes: Sequence[BaseCallback] = ()
    logged: list[tuple[str, float, list[str]]] = field(default_factory=list)
    nearest: Nearest | None = None

    def __post_init__(self) -> None:
        """Keep what acts best, as far as that can be told without a return."""
        model, theirs = self.model, self.evaluation.on_nearest
        if isinstance(model, GAIL) and model.discriminator_config.reward != "constant":

            def kept() -> None:
                self.nearest = Nearest.of(model, self.evaluation.nearest_distance)
                self.nearest.write(self.folder.path)
                if theirs is not None:
                    theirs()

            self.evaluation.on_nearest = kept

    @property
    def rollout(self) -> int:
        """Steps between two moments at which a checkpoint may be written."""
        return self.model.n_steps * self.model.n_envs if isinstance(self.model, GAIL) else PIECE

    def resume(self) -> bool:
        """Go on from the folder's checkpoint: weights, optimizers, random streams, measurements.

        The model must have been made with the settings of the run.

        Returns:
            Whether the environments go on as well, each within its episode, so that the run
            continues exactly; that needs a tensor environment with ``state_dict()``. Any other
            starts new episodes, with seeds of its own.

        Raises:
            InputError: If the checkpoint is damaged, or of another version or other settings.
        """
        state = load_checkpoint(self.folder.checkpoint)
        with fitting(self.folder.checkpoint, OTHER_VERSION):
            return self._restore(state)

    def _restore(self, state: dict[str, Any]) -> bool:
        self.model.set_parameters(state["parameters"], device=self.model.device)
        self.model.num_timesteps = state["steps"]
        self.model._n_updates = state["policy_epochs"]
        if isinstance(self.model, GAIL):
            self.model.is_cloned = state.get("is_cloned", False)
        self.evaluation.curve = state["curve"]
        self.wall_s, self.cpu_s = state["wall_s"], state["cpu_s"]
        self.logged = state.get("not_yet_written", [])
        if (nearest := state.get("nearest")) is not None:
            self.nearest = Nearest(**nearest)
            # What was written after the checkpoint may be of a future that will not come.
            self.nearest.write(self.folder.path)
            self.evaluation.nearest_distance = self.nearest.distance
        _set_random_states(state["random"])
        assert self.model.env is not None
        env, saved = tensor_env_of(self.model.env), state.get("environments")
        if env is None or saved is None or not load_env_state(env, saved["state"]):
            self.model.env.seed((self.model.seed or 0) + self.model.num_timesteps)
            return False
        self.model._last_obs = map_parts(lambda x: x.numpy(), saved["obs"])
        self.model._last_episode_starts = saved["episode_starts"].numpy()
        window = self.model._stats_window_size
        self.model.ep_info_buffer = deque(saved["episodes"], maxlen=window)
        self.model.ep_success_buffer = deque(maxlen=window)
        return True

    def train(self, total_timesteps: int, *, save_every: int = 50_000, tell: Tell = silent) -> None:
        """Train until ``total_timesteps`` environment steps have been taken in all.

        Args:
            total_timesteps: Steps of the whole run, those before a resumption included.
            save_every: Steps between two checkpoints.
            tell: Takes the news of how far it is.

        Raises:
            InputError: The run is further on by whole rollouts.
            Interrupted: After Ctrl-C or SIGTERM, with a checkpoint of where the training was.
        """
        begun = self.model.num_timesteps
        rollout = getattr(self.model, "n_steps", 1) * self.model.n_envs
        if begun - total_timesteps >= rollout:
            raise InputError(
                f"{self.folder.path} is at step {begun:,} already, {total_timesteps:,} are asked "
                f"for: give --total-timesteps {begun} or more"
            )
        events = _EventFile(self.folder.path, last_step=begun)
        self.model.set_logger(Logger(str(self.folder.path), [events]))
        for tag, value, excluded in self.logged:
            self.model.logger.record(tag, value, exclude=tuple(excluded))
        self.logged = []
        wall, cpu = time.perf_counter() - self.wall_s, time.process_time() - self.cpu_s

        def save() -> None:
            self.wall_s, self.cpu_s = time.perf_counter() - wall, time.process_time() - cpu
            self._save_checkpoint()

        try:
            with signals_deferred() as stop:
                self.model.learn(
                    # A run that was killed after its last rollout may be beyond it by some steps.
                    max(0, total_timesteps - begun),
                    callback=[
                        HealthCallback(_WAY_OUT),  # first: what comes after never sees a NaN
                        self.evaluation,
                        *self.probes,
                        SnapshotCallback(self.folder.path, total_timesteps),
                        ProgressCallback(tell, self.evaluation),
                        CheckpointCallback(save, save_every, stop),
                    ],
                    reset_num_timesteps=begun == 0,
                )
                save()
                if stop():  # heard in the last rollout or its evaluation
                    raise Interrupted(stop())
        finally:
            self.model.logger.close()
        self.model.save(self.folder.path / "model.zip")

    def summary(self, seeds: Sequence[int], references: Mapping[str, float]) -> dict[str, Any]:
        """Measure the policy as it is now, one episode per seed, and return what the run reports.

        Behaviour cloning takes no environment steps: it reports the last of its measurements at
        step 0, and gradient steps under keys of their own.

        Args:
            seeds: Reset seeds, others than those of the learning curve.
            references: Returns of other policies to report beside.
        """
        model = self.model
        final, distance = self.evaluation.evaluate_states(
            lambda obs: model.predict(obs, deterministic=True)[0], seeds
        )
        steps, curve = model.num_timesteps, self.evaluation.curve
        cloning: dict[str, Any] = {}
        if isinstance(model, BC):
            cloning = {"gradient_steps": steps, "curve_by_gradient_steps": curve}
            steps, curve = 0, {name: values[-1:] for name, values in curve.items()}
            curve["steps"] = [0]
        return {
            "steps": steps,
            "eval_returns": final.returns,
            "eval_lengths": final.lengths,
            "eval_seeds": list(seeds),
            **({} if distance is None else {"state_w1": distance}),
            **self._summary_of_nearest(seeds),
            **references,
            **(model.discriminator_updates.counts if isinstance(model, GAIL) else {}),
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "curve": curve,
            **cloning,
        }

    def _summary_of_nearest(self, seeds: Sequence[int]) -> dict[str, Any]:
        """Measure the policy whose states were nearest to the expert's, if one was kept."""
        if self.nearest is None or not isinstance(self.model, GAIL):
            return {}
        policy = self.nearest.policy(self.model)
        played = self.evaluation.evaluate(
            lambda obs: policy.predict(obs, deterministic=True)[0], seeds
        )
        return {
            "nearest_steps": self.nearest.steps,
            "nearest_returns": played.returns,
            "nearest_lengths": played.lengths,
        }

    def _save_checkpoint(self) -> None:
        state = {
            "parameters": self.model.get_parameters(),
            "steps": self.model.num_timesteps,
            "policy_epochs": self.model._n_updates,
            "is_cloned": getattr(self.model, "is_cloned", False),
            "curve": self.evaluation.curve,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "random": _random_states(),
            "environments": self._environments(),
            "not_yet_written": self._not_yet_written(),
            "nearest": None if self.nearest is None else dataclasses.asdict(self.nearest),
        }
        save_checkpoint(self.folder.checkpoint, state)

    def _not_yet_written(self) -> list[tuple[str, float, list[str]]]:
        """Return what the last update has logged: SB3 writes it only with the next rollout's."""
        logger = self.model.logger
        return [
            (tag, float(value), list(logger.name_to_excluded[tag]))
            for tag, value in logger.name_to_value.items()
        ]

    def _environments(self) -> dict[str, Any] | None:
        """Return the environments' state and where the model stands in them, if they have one."""
        env = tensor_env_of(self.model.env)
        state = None if env is None else env_state(env)
        if state is None:
            return None
        return {
            "state": state,
            "obs": map_parts(lambda x: torch.from_numpy(np.array(x)), self.model._last_obs),
            "episode_starts": torch.from_numpy(np.array(self.model._last_episode_starts)),
            "episodes": list(self.model.ep_info_buffer or ()),
        }


class _EventFile(TensorBoardOutputFormat):
    """SB3's TensorBoard output; what a killed run wrote after its checkpoint is forgotten."""

    def __init__(self, folder: Path, last_step: int) -> None:
        self.writer = continued_writer(folder, lambda tag, step: step <= last_step)
        self._is_closed = False


def _random_states() -> dict[str, Any]:
    """Return the global random states of torch, numpy and Python, as plain values and tensors."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(kind), torch.as_tensor(np.asarray(keys, dtype=np.int64)), *rest],
        "python": _as_list(random.getstate()),
    }


def _set_random_states(saved: dict[str, Any]) -> None:
    torch.set_rng_state(saved["torch"])
    if saved["cuda"] and len(saved["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(saved["cuda"])
    kind, keys, *rest = saved["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(_as_tuple(saved["python"]))


def _as_list(value: Any) -> Any:
    return [_as_list(entry) for entry in value] if isinstance(value, tuple) else value


def _as_tuple(value: Sequence[Any] | Any) -> Any:
    return tuple(_as_tuple(entry) for entry in value) if isinstance(value, list) else value
