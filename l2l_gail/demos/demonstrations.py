"""Demonstrations: a frozen record of expert episodes.

A time limit is not a terminal state, and the object in memory always tells the two apart: where a
file does not, an end at the time limit of the environment is read as the time limit's, see
:mod:`l2l_gail.demos.ends`. The file's layout is in :mod:`l2l_gail.demos.own_file`, those of other
libraries are in :mod:`l2l_gail.demos.foreign`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from pathlib import Path
from typing import Any, Literal, Self, SupportsIndex

import gymnasium
import numpy as np
from numpy.typing import ArrayLike

from l2l_gail.demos.arguments import left_out, plain_kwargs, warn_of_left_out
from l2l_gail.demos.columns import flat, named_arrays
from l2l_gail.demos.endings import Endings
from l2l_gail.demos.ends import ends_of, known_time_limit, settled
from l2l_gail.demos.episodes import (
    EPISODE_ARRAYS,
    STEP_ARRAYS,
    join,
    one_environment,
    pairs,
    select,
    split,
    stack,
)  # fmt: skip
from l2l_gail.demos.fit import check_fit, unfamiliar
from l2l_gail.demos.own_file import write_record
from l2l_gail.demos.sound import sound
from l2l_gail.demos.sources import read_source
from l2l_gail.demos.thinning import spans_of, thin
from l2l_gail.errors import InputError
from l2l_gail.files import digest_of
from l2l_gail.observations import Observations, entries_of, map_parts

__all__ = ["Demonstrations"]

_WORDS = {"acts": "actions", "rews": "rewards", "next_obs": "observations after the actions"}


@dataclass(frozen=True, eq=False, repr=False)
class Demonstrations:
    """Expert episodes, one after another; checked when made, so that an object is always sound.

    Attributes:
        obs: Observations, ``(T, *shape)``, raw units; float32, float64 or whole numbers. A dict of
            such arrays where the observation space is a ``Dict``.
        acts: Actions, ``(T, *shape)`` float32, int64 where they are classes; None where only
            states were recorded.
        rews: The environment's rewards, ``(T,)`` float; None if not known.
        next_obs: Observations after the actions, as ``obs``; None if not known.
        terminals: Episode ended in a true terminal state, ``(T,)`` bool.
        truncated: Episode ended at its time limit, ``(T,)`` bool.
        episode_starts: Index of each first step, ``(E,)`` int64.
        episode_lengths: Steps of each episode, ``(E,)`` int64.
        env_id: Gymnasium id of the environment they were recorded in, if known.
        env_kwargs: Keyword arguments of that environment, plain values, if known.
        random_return: Mean return of uniformly random actions, if known; over 50 episodes where
            ``demos record`` measured it.
        expert_return: Mean return of the recorded policy, likewise.
        ended_after: Steps after which each episode ended, ``(E,)`` int64, where it is not known
            whether in a terminal state or at the time limit, else 0; None if that is known of all.
            The marks are then those of a time limit of 1,000 steps: see :meth:`with_time_limit`.
        ended_unseen: The step that the episode ended with is not among these, ``(E,)`` bool; None
            if all are here.
        full_lengths: Steps of each episode before :meth:`subsample` left some out, ``(E,)`` int64,
            0 where none are; None if none are of any.

    Raises:
        InputError: Arrays of unequal length, of wrong shape, empty, with NaN, infinite or enormous
            values (above 1e15), or with an inconsistent table of episodes.
    """

    obs: Observations
    acts: np.ndarray | None
    rews: np.ndarray | None
    next_obs: Observations | None
    terminals: np.ndarray
    truncated: np.ndarray
    episode_starts: np.ndarray
    episode_lengths: np.ndarray
    env_id: str | None = None
    env_kwargs: dict[str, Any] | None = None
    random_return: float | None = None
    expert_return: float | None = None
    ended_after: np.ndarray | None = None
    ended_unseen: np.ndarray | None = None
    full_lengths: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check every array and bring it to the dtype that the class documents."""
        for name, value in sound(vars(self)).items():
            object.__setattr__(self, name, value)
        ends = settled(vars(self), known_time_limit(self.env_id, self.env_kwargs))
        for name, array in ends.items():
            object.__setattr__(self, name, array)

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read demonstrations.

        Args:
            source: An embedded set (``"Hopper-v5"``); or the path of an ``.npz`` file of this
                library or of `imitation`, of a folder that `imitation` saved, of its Parquet files,
                of an HDF5 file of Minari or D4RL; or the id of a Minari dataset on this machine
                (``"mujoco/hopper/expert-v0"``). What kind it is, its content tells.

        Raises:
            InputError: In one line: a missing, damaged or wrong file, unsound arrays, or a package
                that reads them is not installed.
        """
        name, record = read_source(source)
        try:
            return cls(**record)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None

    @classmethod
    def from_episodes(
        cls,
        episodes: Iterable[Any],
        *,
        env_id: str | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        random_return: float | None = None,
        expert_return: float | None = None,
    ) -> Self:
        """Make demonstrations of episodes in memory.

        Args:
            episodes: Each a mapping of arrays, or an object that has them as attributes, such as
                the trajectories of `imitation` and the episodes of Minari, whose names are
                understood: ``obs`` alone is needed. It has one row per step, or one more, the state
                after the last; ``acts``, ``rews`` and ``next_obs`` have one row per step.
                Observations of a ``Dict`` space are a mapping of such arrays.
                Without all of these, ``obs`` are the states that followed one another.
                ``terminals`` and ``truncated`` are flags per step or one for the episode, which is
                cut off where neither is given. ``terminal`` is an end of either kind, as
                `imitation` has it: the time limit's after as many steps, see
                :meth:`with_time_limit`.
                Or each a set of demonstrations, which stay what they are, see :meth:`concatenate`.
            env_id: See the class, as for what follows.
            env_kwargs: Likewise.
            random_return: Likewise.
            expert_return: Likewise.

        Raises:
            InputError: What is given does not fit, with the number of the episode.
        """
        warn_of_left_out(left_out(env_kwargs or {}), "left out of the demonstrations")
        said: dict[str, Any] = {
            "env_id": env_id,
            "env_kwargs": None if env_kwargs is None else plain_kwargs(env_kwargs),
            "random_return": random_return,
            "expert_return": expert_return,
        }
        given = [episodes] if isinstance(episodes, Mapping) else list(episodes)
        sets = [vars(each) for each in given if isinstance(each, Demonstrations)]
        if not sets:
            return cls(**stack(given), **said)
        if len(sets) < len(given):
            raise InputError(
                "some of these are Demonstrations and some are episodes: make the episodes "
                "Demonstrations too (Demonstrations.from_episodes), and give them all"
            )
        known = {name: value for name, value in said.items() if value is not None}
        return cls(**join(sets) | known | one_environment([*sets, said]))

    @classmethod
    def from_arrays(
        cls,
        obs: ArrayLike | Mapping[str, ArrayLike],
        acts: ArrayLike | None = None,
        *,
        episode_lengths: ArrayLike,
        rews: ArrayLike | None = None,
        next_obs: ArrayLike | Mapping[str, ArrayLike] | None = None,
        terminals: ArrayLike | None = None,
        truncated: ArrayLike | None = None,
        **of_all: Any,
    ) -> Self:
        """Make demonstrations of the arrays of all steps, episode after episode.

        Args:
            obs: Observations, ``(T, *shape)``, or a mapping of such.
            acts: Actions, ``(T, *shape)``; whole numbers are classes.
            episode_lengths: Steps of each episode, ``(E,)``, in all ``T``.
            rews: Rewards, ``(T,)``.
            next_obs: Observations after the actions, as ``obs``.
            terminals: Flags of true termination, ``(T,)``.
            truncated: Flags of the time limit, ``(T,)``.
            **of_all: What :meth:`from_episodes` takes besides the episodes.

        Raises:
            InputError: What is given does not fit.
        """
        arrays = {
            "obs": obs, "acts": acts, "rews": rews, "next_obs": next_obs,
            "terminals": terminals, "truncated": truncated,
        }  # fmt: skip
        return cls.from_episodes(split(arrays, episode_lengths), **of_all)

    @classmethod
    def concatenate(cls, parts: Iterable[Demonstrations]) -> Self:
        """Put several sets of one environment after one another.

        What is not the same in all parts, such as ``expert_return``, is left out, and so are, with
        a warning, ``rews`` and ``next_obs`` that a part lacks. A part that does not say its
        environment or arguments is taken to have those of the others.

        Raises:
            InputError: None at all, of different environments, or with different arrays; or a part
                lacks ``next_obs`` and the rows of another, thinned out, do not tell theirs.
        """
        return cls(**join([vars(part) for part in parts]))

    def save(self, path: str | Path, *, compact: bool = False) -> None:
        """Write the file that :meth:`load` reads, in one step.

        Args:
            path: File to write; an existing file is not overwritten.
            compact: Leave out ``next_obs`` where the rows of ``obs`` give them, which takes about
                half of the file; version 0.1.0 cannot read it then.

        Raises:
            InputError: The file exists.
        """
        write_record(path, vars(self), compact=compact)

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
            observation_space: Its observations.
            action_space: Its actions.
            env_kwargs: Its keyword arguments, such as ``env.spec.kwargs``; None if not known.

        Raises:
            InputError: Another environment, another shape of observations or actions, or classes
                that its spaces do not have.
        """
        check_fit(self, env_id, observation_space, action_space, env_kwargs)

    def with_time_limit(self, steps: int) -> Self:
        """Tell time limits from terminal states where that is not known.

        `imitation`, and older recorders, mark both alike. An episode that ended after as many steps
        as the limit ended there, one after fewer in a terminal state; a longer one was recorded
        under another limit and keeps its mark. What is stated stays as it is. ``GAIL``, ``AIRL``
        and ``BC`` do this with the limit of their environment; where the demonstrations say theirs,
        it is done already.

        Args:
            steps: The limit of the environment, from 1 on.

        Raises:
            InputError: It is no such number.
        """
        if not isinstance(steps, SupportsIndex) or index(steps) < 1:
            raise InputError(f"a time limit of {steps} steps: give a whole number from 1 on")
        return (
            self if self.ended_after is None else replace(self, **settled(vars(self), index(steps)))
        )

    def unfamiliar(self, observations: Observations) -> list[int]:
        """Where observations are far from all that were demonstrated.

        A wrapper that scales or normalises observations leaves the widths as they are, but not
        the numbers. Entries that never vary in the demonstrations are left out: a goal, for
        instance, may be another one in the next episode.

        Args:
            observations: Some of the environment's, ``(n, *shape)`` or a dict of such, for instance
                those after a reset.

        Returns:
            The entries, of all keys one after another, whose median is outside the demonstrated
            range by more than twice its width, or not finite.
        """
        return unfamiliar(entries_of(self.obs), entries_of(observations))

    def needed(self, name: Literal["acts", "rews", "next_obs"], what_for: str) -> np.ndarray:
        """An array that not all demonstrations have.

        Args:
            name: The array.
            what_for: What cannot do without it, for the line that says so.

        Raises:
            InputError: It is missing.
        """
        array: np.ndarray | None = getattr(self, name)
        if array is None:
            raise InputError(
                f"{what_for} needs {_WORDS[name]}, and the demonstrations have none: give "
                f"demonstrations with {name!r}"
            )
        return array

    def state_pairs(self) -> tuple[Observations, Observations]:
        """Each state and the one after it, ``n`` rows each, as ``obs``.

        Where ``next_obs`` is not known it is the next row of the episode, and ``n`` is short of
        the steps by the last one of each episode.

        Raises:
            InputError: There are none: every episode is a single step.
        """
        return pairs(vars(self))

    def head(self, n_episodes: int) -> Self:
        """The first episodes.

        Args:
            n_episodes: How many, from 1 to ``self.n_episodes``.

        Raises:
            InputError: There are not that many.
        """
        whole = isinstance(n_episodes, SupportsIndex)
        if not (whole and 1 <= index(n_episodes) <= self.n_episodes):
            raise InputError(
                f"{n_episodes} episodes asked for; the demonstrations have {self.n_episodes}"
            )
        return self[:n_episodes]

    def __getitem__(self, episodes: int | slice | Sequence[int] | np.ndarray) -> Self:
        """Some of the episodes: ``demos[3]``, ``demos[2:5]``, ``demos[[0, 4]]``.

        Raises:
            IndexError: There is no such episode.
            InputError: The choice is empty, or of more than one dimension.
        """
        numbers = np.arange(self.n_episodes)[episodes]
        chosen = np.atleast_1d(numbers)
        if chosen.ndim > 1:
            raise InputError("episodes are chosen by a number, a slice or a list of numbers")
        if len(chosen) == 0:
            raise InputError(f"none of the {self.n_episodes} episodes is chosen; choose one")
        return type(self)(**select(vars(self), chosen))

    def __iter__(self) -> Iterator[Self]:
        """The episodes, each by itself."""
        return (self[number] for number in range(self.n_episodes))

    def subsample(self, every: int, *, seed: int | None = None) -> Self:
        """Every so many-th step of each episode, as Ho & Ermon 2016 do with 20 (arXiv 1606.03476).

        Neighbours in time are nearly copies: fewer steps of more episodes show more.
        ``rews`` of a step kept is the sum until the next one, so returns stay as they are. The
        step into a terminal state is kept as well, as no other shows it; where that state is not
        known, it is only remembered that the episode ended so. The last step kept carries the
        mark of an end at the time limit.

        Args:
            every: Distance between two kept steps, from 1 on.
            seed: Of where in the first ``every`` steps each episode begins; at its first step if
                None.

        Raises:
            InputError: ``every`` or the seed is none, or an episode's one step leads nowhere known.
        """
        return type(self)(**thin(vars(self), every, seed))

    @property
    def returns(self) -> np.ndarray:
        """Undiscounted return of each episode, ``(E,)`` float64.

        Raises:
            InputError: The rewards are not known.
        """
        rews = self.needed("rews", "a return")
        return np.add.reduceat(rews.astype(np.float64), self.episode_starts)

    @property
    def spans(self) -> np.ndarray:
        """How many steps of the episode each one stands for, ``(T,)`` int64: 1 if all are here.

        After :meth:`subsample` those that are left out are shared among the others, but for a step
        into a terminal state, which stands for itself.
        """
        return spans_of(vars(self))

    @property
    def endings(self) -> Endings:
        """How the episodes end."""
        ends = ends_of(vars(self))
        return Endings(*(ends.count(kind) for kind in ("terminal", "time limit", "cut off")))

    @property
    def digest(self) -> str:
        """SHA-256 of the arrays that a method learns from, hexadecimal.

        The same for the same content, whatever file it came from and how that was packed.
        """
        columns = {name: getattr(self, name) for name in (*STEP_ARRAYS, *EPISODE_ARRAYS)}
        return digest_of(flat(columns))

    @property
    def n_episodes(self) -> int:
        """Number of episodes, E."""
        return len(self.episode_starts)

    @property
    def obs_mean(self) -> Observations:
        """Mean observation, ``(*shape,)`` float64, or one such array for each key."""
        return map_parts(lambda x: x.mean(axis=0, dtype=np.float64), self.obs)

    @property
    def obs_std(self) -> Observations:
        """Population standard deviation of the observations, as ``obs_mean``."""
        return map_parts(lambda x: x.std(axis=0, dtype=np.float64), self.obs)

    def __len__(self) -> int:
        """Number of steps, T."""
        return len(self.terminals)

    def __repr__(self) -> str:
        """Shapes and returns in one line."""
        observed = ", ".join(
            f"{name}={array.shape} {array.dtype}"
            for name, array in named_arrays("obs", self.obs).items()
        )
        acts = "none" if self.acts is None else self.acts.shape
        returns = "not known"
        if self.rews is not None:
            values = self.returns
            returns = f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"
        return (
            f"Demonstrations(env_id={self.env_id!r}, episodes={self.n_episodes}, "
            f"{observed}, acts={acts}, return={returns})"
        )
