"""A tensor environment as Stable-Baselines3's ``VecEnv``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor

from l2l_gail.errors import InputError
from l2l_gail.observations import map_parts
from l2l_gail.ppo.env import BOOKKEEPING, TensorEnv, report_broken
from l2l_gail.ppo.infos import episode_end
from l2l_gail.ppo.observations import TensorObservations, to_numpy

__all__ = ["SB3VecEnv"]

_ATTRIBUTES = {
    "spec": "spec",
    "observation_space": "single_observation_space",
    "action_space": "single_action_space",
    "max_episode_steps": "max_episode_steps",
}
"""What ``get_attr`` finds where the environment has it, and the environment's name for it."""


class _SharedInfo(dict[str, Any]):
    """The info of every environment whose episode goes on; refuses to be written to.

    Copies of it, ``pickle``'s included, are ordinary dicts.
    """

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "this info is shared by all environments whose episode goes on: write into a copy of "
            "it, or make the view with info_keys, which gives every environment a dict of its own"
        )

    __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = _refuse
    __ior__ = _refuse

    def __reduce__(self) -> tuple[type[dict], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


_GOES_ON = _SharedInfo({"TimeLimit.truncated": False})


class SB3VecEnv(VecEnv):
    """A tensor environment, stepped as those of SB3's ``make_vec_env(env_id, n)`` are.

    Rewards are float32, observations numpy arrays of the space's dtype. An ended episode's info
    has ``terminal_observation``, ``TimeLimit.truncated`` (truncated and not terminated) and
    ``episode`` with the return ``r`` (rounded to 6 digits), length ``l`` and the seconds ``t``
    since this view was made. :attr:`reset_infos` are those of each environment's last reset.

    A step does nothing per environment in Python, except for ended episodes. So the environments
    whose episode goes on share **one** info, ``{"TimeLimit.truncated": False}``, which cannot be
    written to; with ``info_keys`` each gets a dict of its own, which costs a fraction of a
    microsecond per environment and key.

    Options given to ``set_options`` are dropped at the next reset, as the tasks have none.
    Closing the view closes the environment.

    An environment that can tell of simulations that broke (``check()``) is asked at resets and in
    steps that end an episode.

    Args:
        env: The environments.
        info_keys: Named terms to put into every info, for instance ``("x_velocity",)``; or
            ``"all"``.

    Attributes:
        tensor_env: The environment itself, for training on its tensors.

    Raises:
        InputError: At the first step, if a named term does not exist; it names those that do.
    """

    def __init__(self, env: TensorEnv, info_keys: Sequence[str] | str = ()) -> None:
        self.tensor_env = env
        self._info_keys = (info_keys,) if isinstance(info_keys, str) else tuple(info_keys)
        self._overrides: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]
        self._actions = np.zeros((0,))
        self._begun = time.time()
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Reset every environment, with the seeds of ``seed()`` if it was called since the last.

        Returns:
            Observations ``(N, ...)``.
        """
        obs, _ = self.tensor_env.reset(seed=self._seeds[0])
        report_broken(self.tensor_env)
        self._reset_seeds()
        self._reset_options()
        return self._as_observations(obs)

    def step_async(self, actions: np.ndarray) -> None:
        """Take note of the actions ``(N, ...)``; :meth:`step_wait` carries them out."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and reset what ended.

        Returns:
            Observations ``(N, ...)`` after the resets, rewards ``(N,)`` float32, dones
            ``(N,)``, and one info per environment.
        """
        actions = torch.as_tensor(self._actions, device=self.tensor_env.device)
        obs, reward, terminated, _, info = self.tensor_env.step(actions)
        done = to_numpy(info["_final_obs"])
        infos = self._infos(info)
        ended = np.flatnonzero(done)
        if ended.size:
            report_broken(self.tensor_env)
            self._add_endings(infos, ended, to_numpy(terminated), info)
        return self._as_observations(obs), to_numpy(reward).astype(np.float32), done, infos

    def _infos(self, info: dict[str, Tensor]) -> list[dict[str, Any]]:
        """Return one info per environment, of a step that ended no episode."""
        if not self._info_keys:
            return [_GOES_ON] * self.num_envs
        names = [name for name in info if name not in BOOKKEEPING]
        if self._info_keys != ("all",):
            unknown = [name for name in self._info_keys if name not in names]
            if unknown:
                raise InputError(
                    f"info_keys: {_name(self.tensor_env)} has no term {', '.join(unknown)}; it "
                    f"has {', '.join(names)}"
                )
            names = list(self._info_keys)
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        for name in names:
            for own, value in zip(infos, to_numpy(info[name]), strict=True):
                own[name] = value
        return infos

    def _add_endings(
        self,
        infos: list[dict[str, Any]],
        ended: np.ndarray,
        terminated: np.ndarray,
        info: dict[str, Tensor],
    ) -> None:
        """Put what SB3 wants to know about ended episodes into new infos of theirs."""
        columns = {name: map_parts(to_numpy, info[name]) for name in BOOKKEEPING}
        columns["final_obs"] = self._as_observations(info["final_obs"])
        seconds = round(time.time() - self._begun, 6)
        for i in ended.tolist():
            end = episode_end(columns, i, terminated=bool(terminated[i]))
            end["episode"]["t"] = seconds
            infos[i] = {**infos[i], **end}

    def _as_observations(self, obs: TensorObservations) -> Any:
        """Return arrays of the space's dtypes."""
        if isinstance(self.observation_space, spaces.Dict):
            assert isinstance(obs, dict)
            kinds = {key: space.dtype for key, space in self.observation_space.spaces.items()}
            return map_parts(lambda x, kind: to_numpy(x).astype(kind, copy=False), obs, kinds)
        assert isinstance(obs, Tensor)
        return to_numpy(obs).astype(self.observation_space.dtype, copy=False)

    @property
    def reset_infos(self) -> list[dict[str, Any]]:
        """Gymnasium's info of each environment's last reset; empty dicts before the first."""
        terms = getattr(self.tensor_env, "reset_info", {})
        columns = {name: to_numpy(term) for name, term in terms.items()}
        return [{name: term[i] for name, term in columns.items()} for i in range(self.num_envs)]

    @reset_infos.setter
    def reset_infos(self, value: list[dict[str, Any]]) -> None:
        """Ignore what SB3's base class starts with: the infos are made when they are read."""

    def close(self) -> None:
        """Close the environment, if it can be closed; twice is safe."""
        close = getattr(self.tensor_env, "close", None)
        if close is not None:
            close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return no image for each environment: tensors are not rendered."""
        return [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """Return what ``set_attr`` has set, else what a Gymnasium environment tells about itself.

        Raises:
            AttributeError: For anything else: the environments are rows of tensors, not objects of
                their own.
        """
        rows = [self._overrides[i] for i in self._get_indices(indices)]
        if all(attr_name in row for row in rows):
            return [row[attr_name] for row in rows]
        if hasattr(self.tensor_env, _ATTRIBUTES.get(attr_name, "")):
            value = getattr(self.tensor_env, _ATTRIBUTES[attr_name])
        elif attr_name == "render_mode":
            value = None
        elif attr_name == "metadata":
            value = {"render_modes": []}
        else:
            raise AttributeError(
                f"the environments have no {attr_name!r} of their own: they are rows of tensors, "
                "see the attribute tensor_env of the view"
            )
        return [row.get(attr_name, value) for row in rows]

    def set_attr(
        self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None
    ) -> None:
        """Remember a value for ``get_attr``; the simulation does not see it."""
        for i in self._get_indices(indices):
            self._overrides[i][attr_name] = value

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: int | Iterable[int] | None = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call what ``get_attr`` finds.

        Raises:
            AttributeError: If it finds nothing.
        """
        methods = self.get_attr(method_name, indices)
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: int | Iterable[int] | None = None
    ) -> list[bool]:
        """Return True for the wrappers whose work is done here: ``Monitor`` and ``TimeLimit``."""
        is_wrapped = issubclass(wrapper_class, (Monitor, TimeLimit))
        return [is_wrapped for _ in self._get_indices(indices)]


def _name(env: TensorEnv) -> str:
    """Return what to call the environment in a message."""
    spec = getattr(env, "spec", None)
    return type(env).__name__ if spec is None else str(spec.id)
