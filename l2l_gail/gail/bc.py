"""Behaviour cloning as an algorithm of its own, with the surface of stable-baselines3."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from tqdm import tqdm

from l2l_gail.demos import Demonstrations
from l2l_gail.gail.behaviour_cloning import Cloning, check_clonable, cloning_optimizer
from l2l_gail.gail.fit import (
    check_env,
    check_given,
    check_wrappers,
    demonstrations_to_train_on,
    fit_statistics,
    observation_statistics,
    read_demonstrations,
    with_limit_of,
)
from l2l_gail.gail.model_settings import check_settings, check_steps
from l2l_gail.gail.saving import plain_attributes
from l2l_gail.gail.sealed import SealedModel
from l2l_gail.gail.spaces import (
    POLICIES,
    check_policy,
    laid_out,
    named_policy,
)
from l2l_gail.gail.units import about_far_actions
from l2l_gail.mujoco_warnings import handle_mujoco_warnings
from l2l_gail.ppo import TensorEnv
from l2l_gail.ppo.arguments import building_policy, known_device
from l2l_gail.ppo.policy import check_policy_name

__all__ = ["BC", "PIECE"]

PIECE = 50
"""Gradient steps between two calls of the callbacks."""


class BC(SealedModel, BaseAlgorithm):
    """Behaviour cloning (Pomerleau 1989): a policy fitted to an expert's actions.

    The fit of :func:`~l2l_gail.gail.behaviour_cloning.behaviour_cloning`, which GAIL's warm start
    takes too, with SB3's ``learn``, ``predict``, ``save``, ``load``, callbacks and logger. There is
    no interaction with the environment, which gives its spaces only: here ``num_timesteps``, and
    with it every x of the logger, counts *gradient steps*. Callbacks have ``on_rollout_start``
    before every 50 of them and ``on_step`` after.

    Args:
        policy: ``"MlpPolicy"``, ``"MultiInputPolicy"`` for ``Dict`` observations or ``"CnnPolicy"``
            for images, as for ``GAIL``; or a policy class of your own, Gaussian or over classes.
        env: As for ``GAIL``; ``None`` only to load a model for ``predict``.
        demonstrations: What to imitate, or the path or embedded name of it; may be ``None`` only to
            load a model.
        learning_rate: Adam's rate at the start, which falls linearly to 0 over the steps asked for;
            or a schedule as in ``PPO``, which gives the rate itself.
        batch_size: Pairs a step, drawn with replacement.
        seed: Seed of the policy's weights and of the batches.
        policy_kwargs: As in ``PPO``; the defaults are those of ``GAIL``.
        tensorboard_log: As in ``PPO``.
        verbose: As in ``PPO``.
        device: Where the model computes.

    Raises:
        InputError: If environment, policy and demonstrations do not fit, or the policy is neither.
    """

    policy: ActorCriticPolicy
    _kind: ClassVar[str] = "BC"
    policy_aliases: ClassVar[dict[str, Any]] = {**POLICIES}

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | TensorEnv | str | None,
        demonstrations: Demonstrations | str | Path | None = None,
        *,
        learning_rate: float | Schedule = 1e-3,
        batch_size: int = 256,
        seed: int | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        handle_mujoco_warnings()
        policy, policy_kwargs = named_policy(policy, policy_kwargs)
        if isinstance(policy, str):
            check_policy_name(policy, self.policy_aliases)
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]
            learning_rate,
            policy_kwargs=policy_kwargs,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=known_device(device),
            support_multi_env=True,
            seed=seed,
        )
        self.demonstrations = read_demonstrations(demonstrations)
        self.batch_size = batch_size
        if _init_setup_model:
            check_given(self)
            self._setup_model()

    def _setup_model(self) -> None:
        check_settings(self)
        check_policy(self.policy_class, self.observation_space, self.policy_kwargs)
        if self.demonstrations is not None:
            self.demonstrations = laid_out(self.demonstrations, self.observation_space)
        self._check_fit()
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        with building_policy(self.policy_class, self.policy_kwargs):
            self.policy = self.policy_class(  # type: ignore[assignment]
                self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
            ).to(self.device)
        check_clonable(self.policy)
        if self.demonstrations is not None:
            mean, std = observation_statistics(self.demonstrations, self.observation_space)
            fit_statistics(mean, std, self.policy)
            for text in about_far_actions(self.action_space):
                warnings.warn(text, stacklevel=3)
        self.optimizer = cloning_optimizer(self.policy, float(self.lr_schedule(1.0)))

    def _check_fit(self) -> None:
        """Refuse an environment that the demonstrations do not fit."""
        check_wrappers(self.env)
        if self.demonstrations is not None and self.env is not None:
            check_env(self.demonstrations, self.env, self.observation_space, self.action_space)
            self.demonstrations = with_limit_of(self.demonstrations, self.env)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str = "BC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Fit the policy.

        Args:
            total_timesteps: Gradient steps.
            callback: As in ``PPO.learn``.
            log_interval: Pieces of 50 gradient steps between two points in the log; ``None`` for no
                points.
            tb_log_name: As in ``PPO.learn``.
            reset_num_timesteps: As in ``PPO.learn``; false goes on where the last call has ended,
                batches and optimizer included, the rate following the share of all steps.
            progress_bar: Show one.

        Raises:
            InputError: The model was loaded without demonstrations or environment; or the policy
                has become infinite, as with a learning rate that is too high.
        """
        check_steps(total_timesteps)
        self._check_fit()
        demonstrations = demonstrations_to_train_on(self, "to fit it")
        total, calls = self._setup_learn(
            math.ceil(total_timesteps), callback, reset_num_timesteps, tb_log_name, False
        )
        scheduled = callable(self.learning_rate)  # lr_schedule is one of a number, too
        fit = Cloning(
            self.policy,
            demonstrations,
            batch_size=self.batch_size,
            learning_rate=self.lr_schedule if scheduled else float(self.lr_schedule(1.0)),
            seed=self.seed or 0,
            optimizer=self.optimizer,
        )
        fit.skip(self.num_timesteps)
        calls.on_training_start(locals(), globals())
        with tqdm(total=total, initial=self.num_timesteps, disable=not progress_bar) as bar:
            while self.num_timesteps < total:
                calls.on_rollout_start()
                before = self.num_timesteps
                if not self._fit_piece(fit, total, calls):
                    break
                calls.on_rollout_end()
                bar.update(self.num_timesteps - before)
                if log_interval is not None and self._n_updates % log_interval == 0:
                    self.logger.dump(self.num_timesteps)
        calls.on_training_end()
        return self

    def _fit_piece(self, fit: Cloning, total: int, callback: BaseCallback) -> bool:
        """Take the gradient steps between two calls of the callbacks; False if one says stop."""
        steps = range(self.num_timesteps, min(self.num_timesteps + PIECE, total))
        self.policy.set_training_mode(True)
        errors = fit.steps(steps, total)
        self.policy.set_training_mode(False)
        self.num_timesteps += len(steps)
        self._n_updates += 1
        self._update_current_progress_remaining(self.num_timesteps, total)
        self.logger.record("bc/loss", errors.mean().item())
        callback.update_locals(locals())
        return callback.on_step()

    @classmethod
    def _plain(cls, file: Path, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return plain_attributes(file, given, cls, {"policy", "policy.optimizer", "optimizer"}), {}

    def _excluded_save_params(self) -> list[str]:
        """Leave out what is saved as tensors, and demonstrations: none are needed to act."""
        return [*super()._excluded_save_params(), "optimizer", "demonstrations"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        # The policy's own optimizer is unused here, but PPO.load asks for it.
        return ["policy", "policy.optimizer", "optimizer"], []
