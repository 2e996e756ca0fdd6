"""Other libraries' arrays, of HDF5 files and archives: what they mean, in the words of this one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from l2l_gail.demos.apart import read_apart
from l2l_gail.demos.arguments import arguments_in
from l2l_gail.demos.episodes import split, stack
from l2l_gail.demos.own_file import check_id
from l2l_gail.errors import InputError
from l2l_gail.files import read_json

__all__ = [
    "COPY_AGAIN",
    "IMITATION_ARRAYS",
    "READ",
    "environment",
    "imitation_record",
    "read_hdf5",
]

IMITATION_ARRAYS = ("obs", "acts", "rews", "terminal", "indices")
"""Arrays of an ``.npz`` file of `imitation`; a sixth, ``infos``, holds pickled objects."""

COPY_AGAIN = "copy it again, or save it again"

READ = (
    "what is read: .npz of this library and of imitation, folders of imitation, Minari and "
    "LeRobot, Parquet of imitation, HDF5 of Minari and D4RL; anything else by "
    "Demonstrations.from_episodes"
)
"""What a refusal ends with where the kind of a file is not known."""


def read_hdf5(path: Path) -> dict[str, Any]:
    """The record in an HDF5 file of Minari or D4RL.

    Minari (https://minari.farama.org): a group for each episode, with one observation more than
    steps. Environment and arguments come from the ``metadata.json`` beside it.
    D4RL (Fu et al. 2020, arXiv 2004.07219): arrays of all steps, cut at ``terminals`` and
    ``timeouts``; ``next_observations`` are not in every file.

    Raises:
        InputError: See :func:`~l2l_gail.demos.apart.read_apart`; or the arrays do not fit.
    """
    arrays = read_apart("hdf5", path, [path])
    try:
        if str(arrays.pop("layout", "")) == "minari":
            return _minari_record(arrays, path.with_name("metadata.json"))
        return _d4rl_record(arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _minari_record(arrays: dict[str, np.ndarray], metadata: Path) -> dict[str, Any]:
    spec = str(arrays.pop("env_spec", ""))
    if os.path.isfile(metadata):
        spec = str(read_json(metadata, way_out=COPY_AGAIN).get("env_spec") or "")
    names = [name for name in arrays if f"{name}_lengths" in arrays]
    by_name = {
        name: split({name: arrays[name]}, arrays[f"{name}_lengths"], may_be_empty=True)
        for name in names
    }
    episodes = [
        {name: parts[number][name] for name, parts in by_name.items()}
        for number in range(max((len(parts) for parts in by_name.values()), default=0))
    ]
    return stack(episodes) | environment(spec)


def environment(spec: str) -> dict[str, Any]:
    """Id and arguments of a serialised specification of Gymnasium; nothing if it is none."""
    try:
        content = json.loads(spec) if spec else {}
    except (ValueError, RecursionError):
        content = {}
    if not isinstance(content, dict) or not isinstance(content.get("id"), str):
        return {}
    return {"env_id": check_id(content["id"]), "env_kwargs": arguments_in(content)}


def _d4rl_record(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    for name in ("terminals", "timeouts"):
        flags = arrays.get(name)
        if flags is None:
            raise InputError(
                f"it has no {name!r}, so where its episodes end is not known; cut it with "
                "Demonstrations.from_arrays(..., episode_lengths=...)"
            )
        if flags.ndim == 2 and flags.shape[1] == 1:
            flags = flags[:, 0]
        if flags.ndim != 1 or len(flags) != len(arrays["observations"]) or len(flags) == 0:
            raise InputError(f"{name!r} has shape {flags.shape}; one flag per step is needed")
        if not np.isin(flags, (0, 1)).all():  # NaN is not either
            raise InputError(f"{name!r} holds other values than 0 and 1, so ends are not known")
        arrays[name] = flags.astype(bool)
    # Where both are set, the state that was reached is terminal.
    arrays["timeouts"] &= ~arrays["terminals"]
    ends = np.flatnonzero(arrays["terminals"] | arrays["timeouts"]) + 1
    if len(ends) == 0 or ends[-1] != len(arrays["terminals"]):
        ends = np.append(ends, len(arrays["terminals"]))
    return stack(split(arrays, np.diff(ends, prepend=0)))


def imitation_record(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The record in the arrays of an ``.npz`` file of `imitation`.

    All trajectories follow one another, with one observation more than steps in each; ``indices``
    are the steps that all but the first begin at. ``terminal`` is an end of either kind.

    Raises:
        InputError: The arrays do not fit.
    """
    terminal, steps = arrays["terminal"], arrays["acts"].shape[:1]
    lengths = _lengths_between(arrays["indices"], *(steps or (0,)))
    if terminal.shape != lengths.shape:
        raise InputError(f"'terminal' has shape {terminal.shape}; {lengths.shape} is needed")
    parts = split({name: arrays[name] for name in ("acts", "rews") if name in arrays}, lengths)
    states = split({"obs": arrays["obs"]}, lengths + 1)
    return stack(
        part | state | {"terminal": end}
        for part, state, end in zip(parts, states, terminal, strict=True)
    )


def _lengths_between(begins: np.ndarray, steps: int) -> np.ndarray:
    if begins.shape == (0,):  # one trajectory, of which numpy makes sums in floats
        begins = begins.astype(np.int64)
    if begins.ndim != 1 or begins.dtype.kind not in "iu" or (begins > steps).any():
        raise InputError("'indices' are no steps at which trajectories begin")
    lengths = np.diff(begins.astype(np.int64), prepend=0, append=steps)
    if (lengths < 1).any():
        raise InputError("'indices' do not rise: each trajectory has a step at least")
    return lengths
