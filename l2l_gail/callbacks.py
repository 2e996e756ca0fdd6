"""SB3 callbacks that every run of this project trains with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from l2l_gail.checks import check_counts
from l2l_gail.evaluation import Evaluation, MakeBatch, evaluate_policy_return
from l2l_gail.gym_env import check_env_id
from l2l_gail.policies import Model, Predict, as_predict, as_seeds
from l2l_gail.progress import Message, Tell
from l2l_gail.state_distance import StateDistance
from l2l_gail.stopping import Interrupted, Stop

__all__ = ["CheckpointCallback", "ProgressCallback", "TrueReturnCallback"]


class TrueReturnCallback(BaseCallback):
    """Measures the true return of the deterministic policy while it trains on another reward.

    Logs ``eval/return_mean``, ``eval/return_std`` and ``eval/length_mean`` at environment steps,
    and ``eval/state_w1`` where it is given a distance.

    Args:
        env_id: Environment to play in, by ``gymnasium.make``.
        seeds: Reset seeds, one episode each, the same every time; or the number of episodes.
        every: Environment steps between two measurements; they come at the end of a rollout.
        env_kwargs: Keyword arguments of the environment.
        make_batch: Makes the environments as one batch, for speed.
        state_distance: Distance of the visited states to the expert's.

    Attributes:
        curve: What was measured: ``steps``, ``return_mean``, ``length_mean``, and ``state_w1``
            where there is a distance; lists of one length.
        nearest_distance: The smallest distance so far.
        on_nearest: Called where that is the distance just measured; of two alike the later one
            counts. No return needs to be known for it.

    Raises:
        InputError: ``every`` is no whole number from 1 on, the environment is unknown, or there
            are no seeds.
    """

    def __init__(
        self,
        env_id: str,
        seeds: int | Sequence[int],
        every: int,
        env_kwargs: dict[str, Any] | None = None,
        make_batch: MakeBatch | None = None,
        state_distance: StateDistance | None = None,
    ) -> None:
        super().__init__()
        check_counts(every=every)
        check_env_id(env_id)
        self.env_id = env_id
        self.seeds = as_seeds(seeds, "a measurement")
        self.every = every
        self.env_kwargs = env_kwargs
        self.make_batch = make_batch
        self.state_distance = state_distance
        self.on_nearest: Callable[[], None] | None = None
        self.nearest_distance = math.inf
        self.curve: dict[str, list[float]] = {"steps": [], "return_mean": [], "length_mean": []}
        if state_distance is not None:
            self.curve["state_w1"] = []

    def _on_training_start(self) -> None:
        if self.curve["steps"] and self.curve["steps"][-1] > self.num_timesteps:
            self.curve = {name: [] for name in self.curve}  # a new training, from step 0
            self.nearest_distance = math.inf

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        # The policy is as the last update left it, which it is not at the end of a rollout.
        last = self.curve["steps"][-1] if self.curve["steps"] else 0
        if self.num_timesteps // self.every > last // self.every:
            self.measure()

    def _on_training_end(self) -> None:
        if not self.curve["steps"] or self.curve["steps"][-1] < self.num_timesteps:
            self.measure()

    def evaluate(self, predict: Predict | Model, seeds: int | Sequence[int]) -> Evaluation:
        """Play one episode per seed with any policy, in the environment of the measurements."""
        return evaluate_policy_return(predict, self.env_id, seeds, self.env_kwargs, self.make_batch)

    def evaluate_states(
        self, predict: Predict | Model, seeds: int | Sequence[int]
    ) -> tuple[Evaluation, float | None]:
        """Do the same, and return also the distance of the visited states to the expert's."""
        if self.state_distance is None:
            return self.evaluate(predict, seeds), None
        visited, act = [], as_predict(predict)

        def watched(obs: np.ndarray) -> np.ndarray:
            visited.append(obs)
            return act(obs)

        result = self.evaluate(watched, seeds)
        return result, self.state_distance(np.concatenate(visited))

    def measure(self) -> None:
        """Play one episode per seed, and note and log the outcome."""
        result, distance = self.evaluate_states(
            lambda obs: self.model.predict(obs, deterministic=True)[0], self.seeds
        )
        self.curve["steps"].append(self.num_timesteps)
        self.curve["return_mean"].append(result.mean_return)
        self.curve["length_mean"].append(result.mean_length)
        if distance is not None:
            if "state_w1" in self.curve:  # which that of an older checkpoint has not
                self.curve["state_w1"].append(distance)
            if distance <= self.nearest_distance:
                self.nearest_distance = distance
                if self.on_nearest is not None:
                    self.on_nearest()
        values = {
            "eval/return_mean": result.mean_return,
            "eval/return_std": result.std_return,
            "eval/length_mean": result.mean_length,
            **({} if distance is None else {"eval/state_w1": distance}),
        }
        # Not by the logger's own dump: it would write the last update's tags here and now, at a
        # step that already has the points of the update before.
        for output in self.logger.output_formats:
            output.write(values, dict.fromkeys(values, ()), self.num_timesteps)


class CheckpointCallback(BaseCallback):
    """Saves every so many environment steps, and once more before a training that is to end.

    Both happen between two rollouts, where a training can be gone on with to the last bit.

    Args:
        save: Writes the checkpoint.
        every: Environment steps between two calls.
        stop: Says which signal has asked the training to end, if one has.
    """

    def __init__(self, save: Callable[[], None], every: int, stop: Stop = lambda: 0) -> None:
        super().__init__()
        self.save = save
        self.every = every
        self.stop = stop
        self._last: int | None = None

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._last is None:
            self._last = self.num_timesteps
        if self.stop() or self.num_timesteps - self._last >= self.every:
            self._last = self.num_timesteps
            self.save()
        if self.stop():
            raise Interrupted(self.stop())


class ProgressCallback(BaseCallback):
    """Tells how far a training is, with the last true return, after every rollout.

    Args:
        tell: Takes the news.
        evaluation: Measures the true return.
    """

    def __init__(self, tell: Tell, evaluation: TrueReturnCallback) -> None:
        super().__init__()
        self.tell = tell
        self.evaluation = evaluation
        self._told = 0

    def _on_training_start(self) -> None:
        self._told = self.num_timesteps
        total = self.model._total_timesteps
        self.tell(Message("total", amount=self._told, total=total))

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._advance()

    def _on_training_end(self) -> None:
        self._advance()

    def _advance(self) -> None:
        returns = self.evaluation.curve["return_mean"]
        text = f"true return {returns[-1]:.0f}" if returns else ""
        if self.num_timesteps > self._told:
            self.tell(Message("advance", text, self.num_timesteps - self._told))
        self._told = self.num_timesteps
