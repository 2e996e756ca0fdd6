"""Episodes in memory: stacked into one record, chosen from, joined.

A record here is the constructor arguments of
:class:`~l2l_gail.demos.demonstrations.Demonstrations`, by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from l2l_gail.demos.arguments import bare_id, with_defaults
from l2l_gail.demos.checks import check_together
from l2l_gail.demos.columns import flat
from l2l_gail.demos.ends import END_ARRAYS
from l2l_gail.errors import InputError
from l2l_gail.observations import Observations, arrays_of, map_parts

__all__ = [
    "EPISODE_ARRAYS", "MAY_BE_MISSING", "SCALARS", "STEP_ARRAYS",
    "join", "one_environment", "pairs", "select", "split", "stack", "table_of", "taken_rows",
]  # fmt: skip

STEP_ARRAYS = ("obs", "acts", "rews", "next_obs", "terminals", "truncated")
EPISODE_ARRAYS = ("episode_starts", "episode_lengths")
SCALARS = ("env_id", "env_kwargs", "random_return", "expert_return")
MAY_BE_MISSING = ("acts", "rews", "next_obs")

# The same things in the words of Gymnasium, Minari, D4RL and imitation.
_WORDS = {
    "obs": ("obs", "observations"),
    "acts": ("acts", "actions"),
    "rews": ("rews", "rewards"),
    "next_obs": ("next_obs", "next_observations"),
    "terminals": ("terminals", "terminations", "terminated"),
    "truncated": ("truncated", "truncations", "timeouts"),
    "terminal": ("terminal",),
}
_FLAGS = ("terminals", "truncated", "terminal")
_MAY_BE_DICTS = ("obs", "next_obs")
_ENDS = ("dones", "done")
_OF_TRANSITIONS = (*_ENDS, "act", "rew", "obs_next")
"""What objects with transitions of many episodes have, of `imitation` and Tianshou."""

_PASSED_OVER = ("infos", "id", "seed", "options")


def stack(episodes: Iterable[Any]) -> dict[str, Any]:
    """Put episodes one after another; see :meth:`Demonstrations.from_episodes`.

    Args:
        episodes: Mappings or objects with the arrays of one episode each.

    Raises:
        InputError: In one line, with the episode's number.
    """
    columns: dict[str, list[Any]] = {name: [] for name in STEP_ARRAYS}
    if isinstance(episodes, Mapping):
        episodes = [episodes]
    first: dict[str, Any] = {}
    of_unknown_kind = []
    for number, episode in enumerate(episodes):
        try:
            arrays, unknown = _arrays_of(episode)
            check_together(flat(arrays), flat(first or arrays))
        except InputError as error:
            raise InputError(f"episode {number}: {error}") from None
        first = first or arrays
        of_unknown_kind.append(unknown)
        for name, array in arrays.items():
            columns[name].append(array)
    if not first:
        raise InputError("demonstrations: no episodes; give at least one")
    lengths = np.array([_steps(observations) for observations in columns["obs"]], dtype=np.int64)
    stacked = {name: _joined(parts) if parts else None for name, parts in columns.items()}
    return stacked | table_of(lengths) | {"ended_after": np.where(of_unknown_kind, lengths, 0)}


def split(
    arrays: Mapping[str, Any], lengths: Any, *, may_be_empty: bool = False
) -> list[dict[str, Any]]:
    """Cut arrays of all steps, ``(T, ...)``, into episodes of the given lengths.

    Args:
        arrays: Arrays by name; those that are None are left out.
        lengths: Rows of each episode, ``(E,)``, in all ``T``.
        may_be_empty: Let a length be 0, for who checks the episodes themselves.

    Raises:
        InputError: The lengths are not such whole numbers.
    """
    lengths = np.atleast_1d(np.asarray(lengths))
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1 - may_be_empty).any():
        raise InputError("episode_lengths must be whole numbers, one per episode, from 1 on")
    lengths = lengths.astype(np.int64)
    given = {n: map_parts(_detached, array) for n, array in arrays.items() if array is not None}
    for name, array in flat(given).items():
        if array.ndim == 0 or len(array) != lengths.sum():
            raise InputError(
                f"{name!r} has shape {array.shape}, and episode_lengths sum to {lengths.sum()}: "
                "one row per step is needed"
            )
    ends = np.cumsum(lengths)
    return [
        {name: _taken(array, slice(end - length, end)) for name, array in given.items()}
        for end, length in zip(ends, lengths, strict=True)
    ]


def pairs(record: Mapping[str, Any]) -> tuple[Observations, Observations]:
    """Each state and the one after it; see :meth:`Demonstrations.state_pairs`.

    Raises:
        InputError: There are none: every episode is a single step.
    """
    obs, ends = record["obs"], record["episode_starts"] + record["episode_lengths"] - 1
    if record["next_obs"] is not None:
        return obs, record["next_obs"]
    followed = np.ones(_steps(obs), dtype=bool)
    followed[ends] = False
    if not followed.any():
        raise InputError("the demonstrations have no two states one after the other")
    rows = np.flatnonzero(followed)
    return _taken(obs, rows), _taken(obs, rows + 1)


def select(record: Mapping[str, Any], chosen: Sequence[int] | np.ndarray) -> dict[str, Any]:
    """The episodes with these numbers, in this order."""
    starts, lengths = record["episode_starts"][chosen], record["episode_lengths"][chosen]
    rows = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
    ends = {n: None if record[n] is None else record[n][chosen] for n in END_ARRAYS}
    return {**record, **taken_rows(record, rows), **table_of(lengths), **ends}


def join(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Records one after another; a scalar that is not the same in all of them is left out.

    So are, with a warning, rewards and next observations that not all of them have.

    Raises:
        InputError: None at all, of different environments, widths or contents, or with next
            observations that the others lack and that are not their own next rows.
    """
    if not records:
        raise InputError("no demonstrations to concatenate; give at least one")
    environment = one_environment(records)
    given = [{name for name in STEP_ARRAYS if record[name] is not None} for record in records]
    everywhere = [name for name in STEP_ARRAYS if all(name in names for names in given)]
    lacking = set[str]().union(*given).difference(everywhere) & {"rews", "next_obs"}
    if "next_obs" in lacking:
        for number, record in enumerate(records):
            if record["next_obs"] is not None and not _follow_one_another(record):
                raise InputError(
                    f"part {number} has a 'next_obs' that others lack, and that is not the next "
                    "row of 'obs', as its steps are thinned out: join the parts first, then "
                    "subsample them, or give 'next_obs' for all"
                )
    if lacking:
        warnings.warn(
            f"not all parts of the demonstrations have {' and '.join(map(repr, sorted(lacking)))}: "
            "left out of the whole",
            stacklevel=3,
        )
    steps = [
        {name: record[name] for name in sorted(names - lacking, key=STEP_ARRAYS.index)}
        for record, names in zip(records, given, strict=True)
    ]
    for number, arrays in enumerate(steps):
        try:
            check_together(flat(arrays), flat(steps[0]))
        except InputError as error:
            raise InputError(f"part {number}: {error}") from None
    joined = {
        name: _joined([arrays[name] for arrays in steps]) if name in steps[0] else None
        for name in STEP_ARRAYS
    }
    scalars = {name: _common([record[name] for record in records]) for name in SCALARS}
    lengths = np.concatenate([record["episode_lengths"] for record in records])
    ends = {
        name: np.concatenate(
            [
                np.zeros(len(r["episode_lengths"]), int) if r[name] is None else r[name]
                for r in records
            ]
        )
        for name in END_ARRAYS
    }
    return joined | table_of(lengths) | ends | scalars | environment


def _follow_one_another(record: Mapping[str, Any]) -> bool:
    """Whether a step's next observation is, within an episode, the next step's observation."""
    inside = np.delete(
        np.arange(_steps(record["obs"])), record["episode_starts"] + record["episode_lengths"] - 1
    )
    pairs = ((_taken(record["next_obs"], inside)), _taken(record["obs"], inside + 1))
    return all(
        np.array_equal(after, now) for after, now in zip(*map(arrays_of, pairs), strict=True)
    )


def one_environment(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Id and arguments of the environment that records are of, of which not all need say them.

    Raises:
        InputError: They say different ones.
    """
    found: dict[str, Any] = {}
    for name in ("env_id", "env_kwargs"):
        known = [record[name] for record in records if record[name] is not None]
        same = bare_id if name == "env_id" else partial(with_defaults, env_id=found["env_id"])
        others = [value for value in known if same(value) != same(known[0])]
        if others:
            first, other = (bare_id(x) if name == "env_id" else x for x in (known[0], others[0]))
            raise InputError(
                f"demonstrations of different environments ({name} {first!r} and {other!r}) are "
                "not one set"
            )
        # An id that names its module can be made anywhere.
        found[name] = max(known, key=len, default=None)
    return found


def _arrays_of(episode: Any) -> tuple[dict[str, Any], bool]:
    """The arrays of one episode under this library's names, one row per step.

    And whether it has an end of which the kind is not known, which is marked as a terminal state.
    """
    given = _given(episode)
    if "obs" not in given:
        raise InputError("there are no observations; give 'obs', one row per step")
    obs = given["obs"]
    counted = next((name for name in MAY_BE_MISSING if name in given), None)
    steps = _steps(obs) - 1 if counted is None else _steps(given[counted])
    if steps < 1:
        raise InputError("there are no steps; one is at least two states, or a state and an action")
    arrays = {name: given[name] for name in ("obs", *MAY_BE_MISSING) if name in given}
    if "next_obs" not in arrays and _steps(obs) == steps + 1:
        arrays |= {"obs": _taken(obs, slice(-1)), "next_obs": _taken(obs, slice(1, None))}
    for name, array in flat(arrays).items():
        if len(array) != steps:
            raise InputError(
                f"{name!r} has {len(array)} rows and {counted!r} {steps}; one per step is needed, "
                "in 'obs' one more where the state after the last step is known"
            )
    for name in _FLAGS[:2]:
        arrays[name] = _flags(name, given.get(name), steps)
    if "terminal" in given:
        arrays["terminals"] = _flags("terminal", given["terminal"], steps)
    # A terminal state that is reached in the last step of the time limit is one all the same.
    both = (arrays["terminals"] == 1) & (arrays["truncated"] == 1)
    arrays["truncated"] = np.where(both, arrays["truncated"].dtype.type(0), arrays["truncated"])
    return arrays, "terminal" in given and bool(arrays["terminals"][-1])


def _given(episode: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not isinstance(episode, Mapping):
        strange = [each for each in _OF_TRANSITIONS if getattr(episode, each, None) is not None]
        if strange:
            raise InputError(
                f"an object with {strange[0]!r} is no episode; give trajectories, or transitions "
                "by Demonstrations.from_arrays(..., episode_lengths=...)"
            )
    else:
        known = {word for words in _WORDS.values() for word in words}
        unknown = [key for key in episode if key not in known and key not in _PASSED_OVER]
        if unknown:
            an_end = ", an end of either kind being 'terminal'" * (unknown[0] in _ENDS)
            raise InputError(
                f"unknown name {str(unknown[0])!r}; an episode has {', '.join(_WORDS)}{an_end}"
            )
    for name, words in _WORDS.items():
        for word in words:
            value = episode.get(word) if isinstance(episode, Mapping) else None
            if not isinstance(episode, Mapping):
                value = getattr(episode, word, None)
            if value is None:
                continue
            if name in _MAY_BE_DICTS and callable(getattr(value, "unwrap", None)):
                value = value.unwrap()  # imitation's DictObs, which is no mapping
            if isinstance(value, Mapping) and value and name in _MAY_BE_DICTS:
                found[name] = {str(key): _array(f"{word}.{key}", x) for key, x in value.items()}
            else:
                found[name] = _array(word, value)
    for name in {"rews", *_FLAGS} & found.keys():
        if found[name].ndim == 2 and found[name].shape[1] == 1:  # a column of them
            found[name] = found[name][:, 0]
    return found


def _detached(value: Any) -> np.ndarray:
    """An array, also of a tensor that has a gradient, lies on a GPU, or is of bfloat16."""
    if not hasattr(value, "detach"):
        return np.asarray(value)
    if str(value.dtype) == "torch.bfloat16":  # which numpy lacks
        value = value.float()
    return np.asarray(value.numpy(force=True))


def _array(word: str, value: Any) -> np.ndarray:
    try:
        array = _detached(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{word!r} is no array of numbers ({error})") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{word!r} has dtype {array.dtype}; give numbers, one row per step")
    if array.ndim == 0 and not any(word in _WORDS[name] for name in _FLAGS):
        raise InputError(f"{word!r} is a single number; give one row per step")
    return array


def _flags(name: str, given: np.ndarray | None, steps: int) -> np.ndarray:
    """Flags ``(steps,)`` from such, or from one for the whole episode, which its last step gets."""
    if given is not None and given.ndim:
        if given.shape != (steps,):
            raise InputError(f"{name!r} has shape {given.shape}; ({steps},) or one flag is needed")
        return given
    flags = np.zeros(steps, dtype=bool)
    flags[-1] = given is not None and bool(given)
    return flags


def table_of(lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Return where episodes of these lengths begin, one after another, and the lengths."""
    return {"episode_starts": np.cumsum(lengths) - lengths, "episode_lengths": lengths}


def taken_rows(record: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """Return these rows of all arrays that have one for each step."""
    return {n: None if record[n] is None else _taken(record[n], rows) for n in STEP_ARRAYS}


def _taken(columns: Any, rows: Any) -> Any:
    """Return some rows of an array, or of each of a dict of them."""
    return map_parts(lambda array: array[rows], columns)


def _joined(parts: Sequence[Any]) -> Any:
    """Return arrays, or dicts of them, one after another."""
    return map_parts(lambda *arrays: np.concatenate(arrays), *parts)


def _steps(columns: Any) -> int:
    """Return how many rows an array has, or the first one of a dict of them."""
    return len(arrays_of(columns)[0])


def _common(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else None
