"""Where demonstrations come from: what a name stands for, and which reader its content needs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from l2l_gail.demos.embedded import embedded, embedded_path
from l2l_gail.demos.ends import END_ARRAYS
from l2l_gail.demos.episodes import EPISODE_ARRAYS, SCALARS, STEP_ARRAYS
from l2l_gail.demos.foreign import IMITATION_ARRAYS, READ, imitation_record, read_hdf5
from l2l_gail.demos.foreign_tables import (
    minari_episodes,
    parquet_files,
    read_huggingface,
    read_lerobot,
    read_minari_tables,
    read_trajectories,
)
from l2l_gail.demos.npz import array_names, read_arrays
from l2l_gail.demos.own_file import OBSERVATIONS, record_of
from l2l_gail.errors import InputError
from l2l_gail.files import check_folder, home_expanded, open_regular

__all__ = ["read_source"]

_MINARI_ID = re.compile(r"(?:[\w-]+/){0,8}[\w-]+-v\d{1,6}")
_MINARI_FILE = "main_data.hdf5"
_OTHERS = {
    b"ARROW1": "a single Arrow file; give the folder of its data set",
    b"\x80": "a pickle, which runs code when it is read",
}
"""Formats that are known and not read, by their first bytes."""


def read_source(source: str | Path) -> tuple[str, dict[str, Any]]:
    """Read demonstrations.

    Args:
        source: See :meth:`Demonstrations.load`.

    Returns:
        What to call them, and the constructor arguments of ``Demonstrations``.

    Raises:
        InputError: In one line.
    """
    path = _path_of(source)
    if os.path.isdir(path):
        return str(path), _read_folder(path)
    missing = f"{path} does not exist: give the path of a file or folder of demonstrations"
    with open_regular(path, missing=missing) as file:
        start = file.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
        return str(path), read_hdf5(path)
    if start.startswith(b"PAR1"):
        return str(path), read_trajectories(path, [path])
    for mark, what in _OTHERS.items():
        if start.startswith(mark):
            raise InputError(f"{path} is {what}; {READ}")
    if path.suffix != ".npz" and not start.startswith(b"PK"):
        raise InputError(f"{path} is of a format that is not known; {READ}")
    return str(path), _read_npz(path)


def _path_of(source: str | Path) -> Path:
    if isinstance(source, str) and source in embedded():
        return embedded_path(source)
    path = home_expanded(source)
    if os.path.exists(path):  # false, too, where one may not look
        return path
    if _MINARI_ID.fullmatch(str(source)):
        root = os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets"
        folder = home_expanded(root) / source
        if os.path.isdir(folder):
            return folder
        raise InputError(
            f"no demonstrations at {str(source)!r}: there is no such file, no embedded set of that "
            f"name ({', '.join(embedded()) or 'none'}), and no Minari dataset of it in "
            f"{folder.parent}; to get one: minari download {source}"
        )
    if not path.suffix:
        raise InputError(
            f"no demonstrations at {str(source)!r}: give a file or a folder, an embedded set "
            f"({', '.join(embedded()) or 'none'}), or the id of a Minari dataset"
        )
    return path


def _read_folder(folder: Path) -> dict[str, Any]:
    check_folder(folder)
    for inside in (folder / _MINARI_FILE, folder / "data" / _MINARI_FILE):
        if os.path.isfile(inside):
            return read_hdf5(inside)
    if os.path.isfile(folder / "state.json"):
        return read_huggingface(folder)
    if os.path.isfile(folder / "meta" / "info.json"):
        return read_lerobot(folder)
    minaris = [p for p in (folder, folder / "data") if os.path.isfile(p / "metadata.json")]
    for inside in minaris:
        if minari_episodes(inside):
            return read_minari_tables(inside)
    if files := parquet_files(folder):
        return read_trajectories(folder, files)
    what = "a folder of another kind"
    if minaris:
        what = "a folder of Minari without episodes"
    elif os.path.isfile(folder / "dataset_dict.json"):
        what = "a folder of several datasets; give one of the folders in it"
    raise InputError(f"{folder} is {what}; {READ}")


def _read_npz(path: Path) -> dict[str, Any]:
    own = (*STEP_ARRAYS, *EPISODE_ARRAYS, *END_ARRAYS, *SCALARS, *OBSERVATIONS)
    arrays = read_arrays(path, optional={*own, *IMITATION_ARRAYS}, groups=OBSERVATIONS)
    imitations = {"obs", "acts", "terminal", "indices"} <= arrays.keys()
    if imitations and not {"terminals", *EPISODE_ARRAYS} & arrays.keys():
        try:
            return imitation_record(arrays)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    try:
        return record_of(arrays, array_names(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
