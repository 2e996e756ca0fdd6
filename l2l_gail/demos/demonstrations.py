"""Demonstrations: a frozen record of expert episodes, and its file format.

The file is an ``.npz`` archive without pickle:

=================== ==================== ================================================
array               shape, dtype         meaning
=================== ==================== ================================================
``obs``             (T, obs_dim) float   observation before the action, raw units
``acts``            (T, act_dim) float32 the action, in units of the action space
``rews``            (T,) float           the environment's own reward
``next_obs``        (T, obs_dim) float   observation after the action, of the same episode
``terminals``       (T,) bool            the episode ended in a terminal state
``truncated``       (T,) bool, optional  the episode ended at its time limit
``episode_starts``  (E,) int             index of each episode's first step
``episode_lengths`` (E,) int             steps of each episode
``env_id``          () str, optional     Gymnasium id of the environment
``env_kwargs``      () str, optional     its keyword arguments, a JSON object
``random_return``   () float, optional   mean return of uniformly random actions
``expert_return``   () float, optional   mean return of the policy that was recorded
=================== ==================== ================================================

A time limit is not a terminal state: with ``truncated`` in the file, ``terminals`` is true for true
termination only, and no step is both. A file without ``truncated`` comes from a recorder that did
not tell the two apart; there a terminal at the environment's time limit (1,000 steps, if the
environment is unknown) is read as a truncation. The object in memory always tells them apart.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from l2l_gail.demos.checks import LARGEST, check_episodes, check_steps
from l2l_gail.demos.embedded import embedded, embedded_path
from l2l_gail.demos.endings import Endings
from l2l_gail.demos.fit import bare_id, check_fit, plain_kwargs, unfamiliar
from l2l_gail.demos.npz import read_arrays, write_arrays
from l2l_gail.errors import InputError

__all__ = ["Demonstrations"]

_STEP_ARRAYS = ("obs", "acts", "rews", "next_obs", "terminals", "truncated")
_EPISODE_ARRAYS = ("episode_starts", "episode_lengths")
_SCALARS = ("env_id", "env_kwargs", "random_return", "expert_return")
_DEFAULT_TIME_LIMIT = 1000
_LONGEST_ID = 200


@dataclass(frozen=True, eq=False, repr=False)
class Demonstrations:
    """Expert episodes, one after another; checked when made, so that an object is always sound.

    Attributes:
        obs: Observations, ``(T, obs_dim)`` float32 or float64, raw units.
        acts: Actions, ``(T, act_dim)`` float32.
        rews: The environment's rewards, ``(T,)`` float.
        next_obs: Observations after the actions, ``(T, obs_dim)``.
        terminals: Episode ended in a true terminal state, ``(T,)`` bool.
        truncated: Episode ended at its time limit, ``(T,)`` bool.
        episode_starts: Index of each first step, ``(E,)`` int64.
        episode_lengths: Steps of each episode, ``(E,)`` int64.
        env_id: Gymnasium id of the environment they were recorded in, if known.
        env_kwargs: Keyword arguments of that environment, plain values, if known.
        random_return: Mean return of uniformly random actions (50 episodes), if known.
        expert_return: Mean return of the recorded policy (50 fresh episodes), if known.

    Raises:
        InputError: Arrays of unequal length, of wrong shape, empty, with NaN, infinite or enormous
            values (above 1e15), or with an inconsistent table of episodes.
    """

    obs: np.ndarray
    acts: np.ndarray
    rews: np.ndarray
    next_obs: np.ndarray
    terminals: np.ndarray
    truncated: np.ndarray
    episode_starts: np.ndarray
    episode_lengths: np.ndarray
    env_id: str | None = None
    env_kwargs: dict[str, Any] | None = None
    random_return: float | None = None
    expert_return: float | None = None

    def __post_init__(self) -> None:
        """Check every array and bring it to the dtype that the class documents."""
        steps = {name: np.asarray(getattr(self, name)) for name in _STEP_ARRAYS}
        check_steps(steps)
        table = {name: np.asarray(getattr(self, name)) for name in _EPISODE_ARRAYS}
        for name in ("terminals", "truncated"):
            steps[name] = steps[name].astype(bool)
        steps["acts"] = steps["acts"].astype(np.float32, copy=False)
        for name in ("obs", "rews", "next_obs"):
            if steps[name].dtype not in (np.float32, np.float64):
                steps[name] = steps[name].astype(np.float64)
        check_episodes(
            table["episode_starts"],
            table["episode_lengths"],
            steps["terminals"],
            steps["truncated"],
        )
        for name in _EPISODE_ARRAYS:
            table[name] = table[name].astype(np.int64, copy=False)
        for name, array in (steps | table).items():
            object.__setattr__(self, name, array)
        if self.env_kwargs is not None and plain_kwargs(self.env_kwargs) != self.env_kwargs:
            raise InputError("demonstrations: 'env_kwargs' holds more than plain values")
        for name in ("random_return", "expert_return"):
            value = getattr(self, name)
            if value is not None and not abs(value) <= LARGEST:  # NaN is not either
                raise InputError(f"demonstrations: {name!r} is {value}; measure it again")

    @classmethod
    def load(cls, source: str | Path) -> Demonstrations:
        """Read demonstrations.

        Args:
            source: Path of an ``.npz`` file, or the name of an embedded set (``"Hopper-v5"``).

        Raises:
            InputError: In one line: a missing, damaged or wrong file, or unsound arrays.
        """
        if isinstance(source, str) and source in embedded():
            path = embedded_path(source)
        else:
            path = Path(source)
            if not path.suffix and not os.path.exists(path):  # false, too, where one may not look
                raise InputError(
                    f"no demonstrations at {str(source)!r}: give an .npz file, or an embedded "
                    f"set ({', '.join(embedded()) or 'none'})"
                )
        required = (*(name for name in _STEP_ARRAYS if name != "truncated"), *_EPISODE_ARRAYS)
        arrays = read_arrays(path, required=required, optional=("truncated", *_SCALARS))
        try:
            env_id = _id(arrays.pop("env_id", None))
            env_kwargs = _kwargs(arrays.pop("env_kwargs", None))
            random_return = _number("random_return", arrays.pop("random_return", None))
            expert_return = _number("expert_return", arrays.pop("expert_return", None))
            if "truncated" not in arrays:
                arrays |= _split_ends(arrays, _time_limit(env_id))
            return cls(
                **arrays,
                env_id=env_id,
                env_kwargs=env_kwargs,
                random_return=random_return,
                expert_return=expert_return,
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def save(self, path: str | Path) -> None:
        """Write the file that :meth:`load` reads, in one step.

        Args:
            path: File to write; an existing file is not overwritten.

        Raises:
            InputError: The file exists.
        """
        arrays = {name: getattr(self, name) for name in (*_STEP_ARRAYS, *_EPISODE_ARRAYS)}
        for name in _SCALARS:
            value = getattr(self, name)
            if value is not None:
                text = json.dumps(value, sort_keys=True) if name == "env_kwargs" else value
                arrays[name] = np.asarray(text)
        write_arrays(path, arrays)

    def check_env(
        self,
        env_id: str | None,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Refuse an environment that these demonstrations are not of.

        Widths alone do not tell: HalfCheetah and Walker2d have the same ones. So the id is
        compared too, and its absence from the file is warned about. Other arguments of the
        environment, or an action space that most of the actions are outside of, are warned about.

        Args:
            env_id: Id of the environment, None if it has none (then only widths are compared).
            observation_space: Its observations, shape ``(obs_dim,)``.
            action_space: Its actions, shape ``(act_dim,)``.
            env_kwargs: Its keyword arguments, such as ``env.spec.kwargs``; None if not known.

        Raises:
            InputError: Another environment, or another width of observations or actions.
        """
        check_fit(self, env_id, observation_space, action_space, env_kwargs)

    def unfamiliar(self, observations: np.ndarray) -> list[int]:
        """Where observations are far from all that were demonstrated.

        A wrapper that scales or normalises observations leaves the widths as they are, but not
        the numbers. Entries that never vary in the demonstrations are left out: a goal, for
        instance, may be another one in the next episode.

        Args:
            observations: Some of the environment's, ``(n, obs_dim)``, such as those after a reset.

        Returns:
            The entries whose median is outside the demonstrated range by more than twice its
            width, or not finite.
        """
        return unfamiliar(self, observations)

    def head(self, n_episodes: int) -> Demonstrations:
        """The first episodes.

        Args:
            n_episodes: How many, from 1 to ``self.n_episodes``.

        Raises:
            InputError: There are not that many.
        """
        if not 1 <= n_episodes <= self.n_episodes:
            raise InputError(
                f"{n_episodes} episodes asked for; the demonstrations have {self.n_episodes}"
            )
        end = int(self.episode_lengths[:n_episodes].sum())
        return Demonstrations(
            **{name: getattr(self, name)[:end] for name in _STEP_ARRAYS},
            **{name: getattr(self, name)[:n_episodes] for name in _EPISODE_ARRAYS},
            **{name: getattr(self, name) for name in _SCALARS},
        )

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode, ``(E,)`` float64."""
        return np.add.reduceat(self.rews.astype(np.float64), self.episode_starts)

    @property
    def endings(self) -> Endings:
        """How the episodes end."""
        last = self.episode_starts + self.episode_lengths - 1
        terminal, time_limit = self.terminals[last].sum(), self.truncated[last].sum()
        cut_off = self.n_episodes - terminal - time_limit
        return Endings(int(terminal), int(time_limit), int(cut_off))

    @property
    def digest(self) -> str:
        """SHA-256 of the arrays that a method learns from, hexadecimal.

        The same for the same content, whatever file it came from and how that was packed.
        """
        digest = hashlib.sha256()
        for name in (*_STEP_ARRAYS, *_EPISODE_ARRAYS):
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    @property
    def n_episodes(self) -> int:
        """Number of episodes, E."""
        return len(self.episode_starts)

    @property
    def obs_mean(self) -> np.ndarray:
        """Mean observation, ``(obs_dim,)`` float64."""
        return self.obs.mean(axis=0, dtype=np.float64)

    @property
    def obs_std(self) -> np.ndarray:
        """Population standard deviation of the observations, ``(obs_dim,)`` float64."""
        return self.obs.std(axis=0, dtype=np.float64)

    def __len__(self) -> int:
        """Number of steps, T."""
        return len(self.obs)

    def __repr__(self) -> str:
        """Shapes and returns in one line."""
        returns = self.returns
        return (
            f"Demonstrations(env_id={self.env_id!r}, episodes={self.n_episodes}, "
            f"obs={self.obs.shape} {self.obs.dtype}, acts={self.acts.shape}, "
            f"return={returns.mean():.1f} ({returns.min():.1f} to {returns.max():.1f}))"
        )


def _time_limit(env_id: str | None) -> int:
    """The registered limit of an environment in steps; 1,000 where none is known."""
    spec = gymnasium.registry.get(bare_id(env_id)) if env_id else None
    return (spec.max_episode_steps if spec else None) or _DEFAULT_TIME_LIMIT


def _split_ends(arrays: dict[str, np.ndarray], time_limit: int) -> dict[str, np.ndarray]:
    """Tell time limits from terminal states in a file that marks both as terminals.

    Returns:
        ``terminals`` and ``truncated``. Arrays that do not fit are returned as they are: the
        checks that follow say what is wrong with them.
    """
    terminals, lengths = arrays["terminals"], arrays["episode_lengths"]
    truncated = np.zeros(terminals.shape, dtype=bool)
    if lengths.ndim == 1 and lengths.dtype.kind in "iu" and terminals.dtype.kind in "fiub":
        last = np.cumsum(lengths)[lengths == time_limit] - 1
        last = last[(last >= 0) & (last < len(terminals))] if terminals.ndim == 1 else last[:0]
        truncated[last] = terminals[last].astype(bool)
        terminals = np.where(truncated, np.zeros_like(terminals), terminals)
    return {"terminals": terminals, "truncated": truncated}


def _text(name: str, array: np.ndarray) -> str:
    """The string in a scalar array."""
    if array.shape != () or array.dtype.kind != "U":
        raise InputError(f"demonstrations: {name!r} is no text; save it as a single string")
    try:
        return str(array[()])
    except (ValueError, SystemError):  # numbers that are no characters
        raise InputError(f"demonstrations: {name!r} is no text; leave it out") from None


def _id(array: np.ndarray | None) -> str | None:
    if array is None:
        return None
    text = _text("env_id", array)
    if not 0 < len(text) <= _LONGEST_ID or not text.isprintable():
        raise InputError("demonstrations: 'env_id' is no id of an environment; leave it out")
    return text


def _kwargs(array: np.ndarray | None) -> dict[str, Any] | None:
    if array is None:
        return None
    try:
        kwargs = plain_kwargs(json.loads(_text("env_kwargs", array)))
    except (ValueError, RecursionError, AttributeError):
        kwargs = None
    if kwargs is None:
        raise InputError("demonstrations: 'env_kwargs' is no JSON object; leave it out")
    return kwargs


def _number(name: str, array: np.ndarray | None) -> float | None:
    """The number in a scalar array."""
    if array is None:
        return None
    if array.shape != () or array.dtype.kind not in "fiu":
        raise InputError(f"demonstrations: {name!r} is no single number")
    return float(array[()])
