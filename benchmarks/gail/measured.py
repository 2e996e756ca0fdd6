"""One GAIL run that measures itself: true returns, tracking, what the discriminator costs."""

from __future__ import annotations

import copy
import dataclasses
import time
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import LinearSchedule
from torch import Tensor

from envs import make
from envs.batched import BatchedEnv
from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.core import Vars, build_rule
from l2l_gail.demos import Demonstrations
from l2l_gail.gail import GAIL, DiscriminatorConfig, LearnedCredit, RuleTraining
from l2l_gail.gail.batch import TransitionBatch
from l2l_gail.gail.game import DiscriminatorGame
from l2l_gail.ppo import TensorRolloutBuffer
from l2l_gail.state_distance import StateDistance

__all__ = ["MeasuredGAIL", "run"]

CURVE_SEEDS = range(40_000, 40_010)
GAME_SEEDS = range(50_000, 50_020)
"""Of the games after the training, which neither the curve nor the choice of a policy has seen."""
PROBE_SIZE = 512
"""Transitions of either side on which the loss on a fresh rollout is measured."""
FULL_LENGTH = 1000
"""Steps of an episode that its time limit ends, in all tasks of the grids."""
POLICY_TAGS = ("train/approx_kl", "train/learning_rate")
"""What is kept of PPO's own log, of the update before."""
BLOCK = 5
"""Rollouts whose traces are averaged to one figure of the record."""

_POLICY_KWARGS = {"log_std_init": -0.5, "optimizer_kwargs": {"fused": True, "eps": 1e-5}}
_PPO_DEFAULTS = {"n_steps": 32, "batch_size": 256}
_DISCRIMINATOR_DEFAULTS = {"batch_size": 256}
# What the library had when most of the records were made; a configuration says what differs.
_TRAINING_DEFAULTS = {"meta_every": 1}
_CREDIT_DEFAULTS = {"action_samples": 8}
_N_ENVS = 64


class MeasuredGAIL(GAIL):
    """GAIL that keeps, for each rollout, what the experiments report.

    Attributes:
        traces: By name a figure for each rollout: ``return``, the stochastic policy's true return;
            ``tracking``, the discriminator's loss on the fresh rollout before its updates; and what
            the rule says of itself. The return is the mean of the last 100 finished episodes; where
            none of them ended early, 1,000 times the mean reward of the rollout's steps, which does
            not wait for episodes to end.
        gradients: Gradients of the discriminator's loss that were taken, meta-gradients included.
        probe_s: CPU seconds of measuring.
    """

    def rollout_advantages(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Keep what the learned credit says of itself, and how far the last update has gone."""
        advantages = super().rollout_advantages(buffer)
        for tag, value in self.logger.name_to_value.items():
            if tag.startswith("credit/") or tag in POLICY_TAGS:
                self.traces.setdefault(tag, []).append(float(value))
        return advantages

    def _setup_model(self) -> None:
        super()._setup_model()
        self.traces: dict[str, list[float]] = {"return": [], "tracking": []}
        self.gradients = 0
        self.probe_s = 0.0
        self._probe_stream = torch.Generator().manual_seed(self.seed or 0)
        self._count_gradients(self.discriminator_updates.trainer.game)

    def _count_gradients(self, game: Any) -> None:
        assert isinstance(game, DiscriminatorGame)
        loss = game.follower_loss

        def counted(follower: Vars, batch: TransitionBatch) -> Tensor:
            self.gradients += torch.is_grad_enabled()
            return loss(follower, batch)

        game.follower_loss = counted  # type: ignore[method-assign]

    def rollout_rewards(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Measure the discriminator as it is, then update it and score the rollout."""
        begun = time.process_time()
        episodes = list(self.ep_info_buffer or ())
        full = all(info["l"] == FULL_LENGTH for info in episodes)
        self.traces["return"].append(
            float(buffer.rewards.mean()) * FULL_LENGTH
            if full
            else float(np.mean([info["r"] for info in episodes]))
        )
        self.traces["tracking"].append(self._loss_before_updates(buffer))
        self.probe_s += time.process_time() - begun
        rewards = super().rollout_rewards(buffer)
        for tag, value in self.logger.name_to_value.items():
            if tag.startswith("rule/") or tag == "disc/rejected_updates":
                self.traces.setdefault(tag, []).append(float(value))
        return rewards

    @torch.no_grad()
    def _loss_before_updates(self, buffer: TensorRolloutBuffer) -> float:
        assert self._expert_rows is not None
        trainer, stream = self.discriminator_updates.trainer, self._probe_stream
        assert trainer.follower is not None
        sides = [
            rows[torch.randint(len(rows), (PROBE_SIZE,), generator=stream)]
            for rows in (self._expert_rows, self._rollout_rows(buffer))
        ]
        expert, policy = sides
        share = torch.rand(PROBE_SIZE, 1, generator=stream)
        batch = TransitionBatch.mixed(expert, policy, share)
        return float(trainer.game.follower_loss(trainer.follower, batch))


def run(cell: dict[str, Any], demonstrations: Demonstrations) -> dict[str, Any]:
    """Train one cell of a grid and return its record, plain values.

    Args:
        cell: ``env``, ``seed``, ``steps``, ``eval_every``, ``rule``, ``arguments``, and the changes
            ``training``, ``discriminator``, ``credit``, ``ppo``, ``env_kwargs`` and
            ``every`` (of the demonstrated transitions). PPO's ``learning_rate`` is a number, or
            ``start`` and ``end`` of a line.
        demonstrations: Episodes of the environment's expert.
    """
    every = cell.get("every", 1)
    demonstrations = thin(demonstrations, every) if every > 1 else demonstrations
    ppo = dict(_PPO_DEFAULTS | cell.get("ppo", {}))
    n_envs = ppo.pop("n_envs", _N_ENVS)
    if isinstance(rate := ppo.get("learning_rate"), dict):
        ppo["learning_rate"] = LinearSchedule(rate["start"], rate["end"], 1.0)
    rule = build_rule(cell["rule"], **cell["arguments"])
    training = cell.get("training", {}) if rule.meta_parameter_groups(1.0) else None
    env_kwargs = cell.get("env_kwargs", {})
    env = make(cell["env"], n_envs, "cpu", cell["seed"], num_threads=1, **env_kwargs)
    model = MeasuredGAIL(
        "MlpPolicy",
        env.sb3(),
        demonstrations,
        rule=rule,
        rule_training=None if training is None else RuleTraining(**_TRAINING_DEFAULTS | training),
        discriminator=DiscriminatorConfig(
            **_DISCRIMINATOR_DEFAULTS | cell.get("discriminator", {})
        ),
        credit=LearnedCredit(**_CREDIT_DEFAULTS | cell["credit"]) if "credit" in cell else None,
        policy_pace=cell.get("policy_pace", 0.0),
        policy_divergence=cell.get("policy_divergence", 0.0),
        policy_average=cell.get("policy_average", 0.0),
        policy_kwargs=_POLICY_KWARGS,
        seed=cell["seed"],
        device="cpu",
        **ppo,
    )
    evaluation = TimedEvaluation(
        cell["env"],
        CURVE_SEEDS,
        cell["eval_every"],
        env_kwargs,
        one_thread,
        StateDistance(np.asarray(demonstrations.obs)),
    )
    begun = time.process_time()
    model.learn(cell["steps"], callback=evaluation)
    cpu_s = time.process_time() - begun - evaluation.seconds - model.probe_s
    env.close()
    returns = np.asarray(model.traces["return"])
    return {
        **cell,
        "expert_return": demonstrations.expert_return,
        "random_return": demonstrations.random_return,
        "return_in_training": round(float(returns.mean()), 2),
        "evaluations": {name: rounded(values) for name, values in evaluation.curve.items()},
        "games": evaluation.games(),
        "traces": {name: rounded(blocks(values)) for name, values in model.traces.items()},
        "tracking_loss": round(float(np.mean(model.traces["tracking"])), 5),
        "gradients": model.gradients,
        "rollouts": len(returns),
        "cpu_s": round(cpu_s, 2),
        "evaluation_cpu_s": round(evaluation.seconds, 2),
    }


class TimedEvaluation(TrueReturnCallback):
    """The library's own evaluation, its CPU seconds counted, and the policy nearest to the expert.

    Attributes:
        seconds: CPU seconds so far.
        nearest: Steps after which the states of an evaluation were nearest to the expert's, and
            the policy that acted then.
    """

    seconds = 0.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.nearest: tuple[int, ActorCriticPolicy] | None = None
        self.on_nearest = self._keep

    def _keep(self) -> None:
        self.nearest = self.num_timesteps, copy.deepcopy(self._acting)

    def measure(self) -> None:
        """Play one episode per seed."""
        begun = time.process_time()
        super().measure()
        self.seconds += time.process_time() - begun

    def games(self) -> dict[str, Any]:
        """Returns of the last policy, and of that whose states were nearest to the expert's."""
        assert self.nearest is not None  # every training ends with an evaluation
        steps, nearest = self.nearest
        return {
            "steps_of_nearest": steps,
            "last": self._returns_of(self._acting),
            "nearest": self._returns_of(nearest),
        }

    @property
    def _acting(self) -> ActorCriticPolicy:
        assert isinstance(self.model, GAIL)
        return self.model.acting_policy

    def _returns_of(self, policy: ActorCriticPolicy) -> list[float]:
        def predict(obs: np.ndarray) -> np.ndarray:
            return policy.predict(obs, deterministic=True)[0]

        return rounded(list(self.evaluate(predict, GAME_SEEDS).returns))


def one_thread(env_id: str, n: int, env_kwargs: Any) -> BatchedEnv:
    """Make evaluation environments that leave the other cores alone."""
    return make(env_id, n, "cpu", num_threads=1, **env_kwargs)


def thin(demonstrations: Demonstrations, every: int) -> Demonstrations:
    """Return every n-th transition as one episode."""
    kept = slice(None, None, every)
    names = ("obs", "acts", "rews", "next_obs", "terminals", "truncated")
    arrays = {name: getattr(demonstrations, name)[kept] for name in names}
    length = len(arrays["obs"])
    return dataclasses.replace(
        demonstrations,
        **arrays,
        episode_starts=np.array([0]),
        episode_lengths=np.array([length]),
    )


def blocks(values: list[float]) -> list[float]:
    """Return means over blocks of rollouts, the last one perhaps shorter."""
    return [float(np.mean(values[i : i + BLOCK])) for i in range(0, len(values), BLOCK)]


def rounded(values: list[float]) -> list[float]:
    """Return numbers of at most five digits after the point or before: the record is small."""
    return [round(v, 4) if abs(v) < 10 else round(v, 1) for v in values]
