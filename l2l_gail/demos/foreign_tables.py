"""Other libraries' tables, in Arrow and Parquet: what they mean, in the words of this one.

A column of lists is its numbers one after another, with the number of numbers in each list, as
:mod:`l2l_gail.demos.foreign_arrays` gives them.
"""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l2l_gail.demos.apart import read_apart
from l2l_gail.demos.episodes import split, stack
from l2l_gail.demos.foreign import COPY_AGAIN, READ, environment
from l2l_gail.errors import InputError
from l2l_gail.files import check_folder, read_json

__all__ = [
    *("minari_episodes", "parquet_files", "read_huggingface", "read_lerobot"),
    *("read_minari_tables", "read_trajectories"),
]

_MOST_NAMES, _MOST_SHOWN = 6, 60
_TABLES = ("arrow", "parquet")
_PARQUET = re.compile(
    r"(?P<split>.*?)[-_.]?((?P<number>\d+)(-of-(?P<all>\d+)(-\w+)?)?)?\.parquet",
    re.ASCII | re.DOTALL,
)
"""``train-00000-of-00002.parquet``, or other names with or without a number."""


def minari_episodes(folder: Path) -> list[Path]:
    """The folders of the episodes in the data of a Minari dataset, in their order; none if HDF5.

    Raises:
        InputError: The folder may not be looked into.
    """
    check_folder(folder)
    names = [name for name in os.listdir(folder) if name.isascii() and name.isdecimal()]
    return [folder / name for name in sorted(names, key=int)]


def read_minari_tables(folder: Path) -> dict[str, Any]:
    """The record in a Minari dataset that was written as ``arrow`` or ``parquet``.

    A folder for each episode holds one table of a row for each observation; what belongs to steps
    has a row of zeros at the end, which counts for nothing (``minari.dataset._storages``, 0.5.4).

    Args:
        folder: With ``metadata.json`` and the folders ``0``, ``1``, ...

    Raises:
        InputError: An episode is missing, or see :func:`~l2l_gail.demos.apart.read_apart`.
    """
    metadata = read_json(folder / "metadata.json", way_out=COPY_AGAIN)
    episodes = minari_episodes(folder)
    stated = metadata.get("total_episodes")
    if isinstance(stated, int) and stated != len(episodes):
        raise InputError(f"{folder} has {len(episodes)} of its {stated} episodes: copy it again")
    files = [file for each in episodes for kind in _TABLES for file in each.glob(f"*.{kind}")]
    if len(files) != len(episodes):
        raise InputError(
            f"{folder} has {len(files)} tables in {len(episodes)} episodes, not one each"
        )
    arrays = read_apart("minari", folder, files)
    rows = arrays["file_rows"]
    try:
        columns = {
            "observations": _of_space(arrays, "observations", metadata.get("observation_space")),
            "actions": _of_space(arrays, "actions", metadata.get("action_space")),
            **{name: _column(arrays, name) for name in ("rewards", "terminations", "truncations")},
        }
        played = [
            {name: part if name == "observations" else part[:-1] for name, part in each.items()}
            for each in split(columns, rows, may_be_empty=True)
        ]
        return stack(played) | environment(str(metadata.get("env_spec") or ""))
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def _of_space(arrays: dict[str, np.ndarray], name: str, space: Any) -> np.ndarray:
    """A column in the shape of its space, which the table holds flat."""
    column = _column(arrays, name)
    try:
        shape = tuple(json.loads(space)["shape"]) if isinstance(space, str) else ()
        fits = (
            column.ndim == 2 and math.prod(shape) == column.shape[1] and min(shape, default=0) > 0
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return column
    return column.reshape(-1, *shape) if fits else column


def read_lerobot(folder: Path) -> dict[str, Any]:
    """The record in a LeRobot dataset of version 2 or 3: ``observation.state`` and ``action``.

    Its tables have one row for each frame, and tell neither the state after the last action of an
    episode nor why it ended; so episodes are cut off. ``next.success`` says of a frame that its
    task is done, whether or not that ends an episode. Images and videos are left out; numbers that
    are left out are warned about.

    Args:
        folder: With ``meta/info.json`` and ``data/``.

    Raises:
        InputError: It has no such numbers, frames are missing, or see
            :func:`~l2l_gail.demos.apart.read_apart`.
    """
    info = read_json(folder / "meta" / "info.json", way_out=COPY_AGAIN)
    files = sorted((folder / "data").glob("chunk-*/*.parquet"))
    if not files:
        raise InputError(
            f"{folder} has no data/chunk-*/*.parquet, as LeRobot has from version 2 on: convert it"
        )
    arrays = read_apart("lerobot", folder, files)
    try:
        index = _numbers(arrays, "index")
        order = np.argsort(index)
        if (np.diff(index[order]) == 0).any():
            raise InputError("'index' has frames twice")
        number = _numbers(arrays, "episode_index")[order]
        stated = info.get("total_frames")
        if isinstance(stated, int) and stated != len(order):
            raise InputError(f"it has {len(order):,} of its {stated:,} frames: copy it again")
        columns = {
            "obs": _wide(_column(arrays, "observation.state"))[order],
            "acts": _wide(_column(arrays, "action"))[order],
        }
        if "next.reward" in arrays:
            columns["rews"] = _column(arrays, "next.reward")[order]
        begins = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
        lengths = np.diff(begins, append=len(order))
        record = stack(split(columns, lengths))
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    _warn_of_features(folder, info.get("features"))
    return record


def _warn_of_features(folder: Path, features: Any) -> None:
    """Name the numbers of a LeRobot dataset that a method might have learned from."""
    kinds = {
        name: feature.get("dtype")
        for name, feature in (features if isinstance(features, dict) else {}).items()
        if isinstance(feature, dict) and name.isprintable()
    }
    left_out = sorted(
        name
        for name, kind in kinds.items()
        if name == "next.success"
        or (name.startswith("observation.") and kind not in ("image", "video", "string"))
    )
    left_out = [name[:_MOST_SHOWN] for name in left_out if name != "observation.state"]
    if left_out:
        more = ", ..." if len(left_out) > _MOST_NAMES else ""
        warnings.warn(
            f"{folder}: observations are 'observation.state' alone, and episodes count as cut off; "
            f"left out are {', '.join(left_out[:_MOST_NAMES])}{more}: to learn from them, give "
            "Demonstrations.from_arrays(...) the columns of its tables",
            stacklevel=6,
        )


def _numbers(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    column = _column(arrays, name)
    if column.ndim != 1 or column.dtype.kind not in "iu":
        raise InputError(f"{name!r} holds no whole numbers, one for each frame")
    return column.astype(np.int64)


def _wide(column: np.ndarray) -> np.ndarray:
    """Rows of numbers; LeRobot writes rows of one as that number. Whole numbers are classes."""
    return column[:, None] if column.ndim == 1 and column.dtype.kind == "f" else column


def _column(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A column of numbers ``(rows,)``, or of lists of as many numbers ``(rows, width)``."""
    if name not in arrays:
        raise InputError(f"there is no column {name!r}")
    if f"{name}_lengths_1" in arrays:
        raise InputError(f"{name!r} has lists in lists; only flat {name!r} are read")
    column, rows = arrays[name], int(arrays["file_rows"].sum())
    if f"{name}_lengths_0" in arrays:
        column = _rows(name, column, arrays[f"{name}_lengths_0"])
    if len(column) != rows:
        raise InputError(f"{name!r} has {len(column)} rows of {rows}")
    return column


def _rows(name: str, numbers: np.ndarray, widths: np.ndarray) -> np.ndarray:
    if len(widths) == 0 or (widths != widths[0]).any() or widths[0] < 1:
        raise InputError(f"{name!r} has rows of different widths, or none")
    return numbers.reshape(len(widths), int(widths[0]))


def read_huggingface(folder: Path) -> dict[str, Any]:
    """The record in a folder to which `imitation` has saved trajectories, with `datasets`.

    Raises:
        InputError: It holds something else; see :func:`~l2l_gail.demos.apart.read_apart`, too.
    """
    state = read_json(folder / "state.json", way_out=COPY_AGAIN)
    files = state.get("_data_files")
    files = files if isinstance(files, list) else []
    names = [file.get("filename") for file in files if isinstance(file, dict)]
    inside = [name for name in names if isinstance(name, str) and Path(name).name == name]
    if not inside or len(inside) != len(files):
        raise InputError(f"{folder}: its state.json names no files of it; {COPY_AGAIN}")
    if state.get("_indices_files"):
        raise InputError(
            f"{folder} is a selection of its rows: save it again after dataset.flatten_indices()"
        )
    return read_trajectories(folder, [folder / name for name in inside])


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of one split, as the Hugging Face Hub has them, in their order.

    Args:
        folder: That has them itself or in ``data``; it may have none.

    Raises:
        InputError: They are of several splits, or some are missing.
    """
    for inside in (folder, folder / "data"):
        names = [_PARQUET.fullmatch(file.name) for file in inside.glob("*.parquet")]
        found = [name for name in names if name is not None]
        if not found:
            continue
        splits = sorted({name["split"] for name in found})
        if len(splits) > 1:
            raise InputError(
                f"{inside} has Parquet files of several splits, {', '.join(splits)[:_MOST_SHOWN]}: "
                "give a file, or a folder with those of one split"
            )
        stated = max(int(name["all"] or 0) for name in found)
        if stated > len(found):
            raise InputError(f"{inside} has {len(found)} of its {stated} files: copy it again")
        found.sort(key=lambda name: (int(name["number"] or 0), name.string))
        return [inside / name.string for name in found]
    return []


def read_trajectories(name: Path, files: Sequence[Path]) -> dict[str, Any]:
    """The record in tables of `imitation`, which have a row for each trajectory.

    Args:
        name: What to call them in a refusal.
        files: In Arrow or Parquet, in their order.

    Raises:
        InputError: They hold something else; see :func:`~l2l_gail.demos.apart.read_apart`, too.
    """
    arrays = read_apart("imitation", name, files)
    try:
        return stack(_trajectories(arrays))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _trajectories(arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Trajectories from columns of nested lists, whose numbers lie one after another."""
    missing = [name for name in ("obs", "acts", "terminal") if name not in arrays]
    if missing:
        raise InputError(
            f"it has no column {missing[0]!r}, so it is no set of imitation's trajectories; {READ}"
        )
    parts: dict[str, list[dict[str, np.ndarray]]] = {}
    for name, deepest in (("obs", 2), ("acts", 2), ("rews", 1)):
        if name not in arrays:
            continue
        if f"{name}_lengths_0" not in arrays or f"{name}_lengths_{deepest}" in arrays:
            nor = ", nor of lists of numbers" if deepest == 2 else ""
            raise InputError(f"{name!r} is no list of numbers{nor}; only flat {name!r} are read")
        depth = 1 + (f"{name}_lengths_1" in arrays)  # of a Discrete space a step is a number
        column = arrays[name]
        if depth == 2:
            column = _rows(name, column, arrays[f"{name}_lengths_1"])
        parts[name] = split({name: column}, arrays[f"{name}_lengths_0"], may_be_empty=True)
    terminal = arrays["terminal"]
    counts = {name: len(each) for name, each in parts.items()}
    if set(counts.values()) != {len(terminal)}:
        raise InputError("its columns have different numbers of rows")
    return [
        {"terminal": terminal[row]} | {name: each[row][name] for name, each in parts.items()}
        for row in range(len(terminal))
    ]
