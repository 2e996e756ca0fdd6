"""Reading other libraries' files in a process apart, which may crash without harm."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from l2l_gail.demos import foreign_arrays
from l2l_gail.demos.npz import read_archive
from l2l_gail.errors import InputError
from l2l_gail.files import most_unpacked, open_regular

__all__ = ["read_apart"]

_SECONDS = 600
_HDF5, _TABLES = ("h5py", "minari"), ("pyarrow", "imitation")


def read_apart(
    kind: Literal["hdf5", "imitation", "minari", "lerobot"], name: str | Path, paths: Sequence[Path]
) -> dict[str, np.ndarray]:
    """Read the arrays of files that are read by a library in C.

    Args:
        kind: HDF5 of Minari or D4RL, or whose tables they are, in Arrow or Parquet.
        name: What to call it in a refusal.
        paths: The files, one if HDF5.

    Returns:
        What :mod:`l2l_gail.demos.foreign_arrays` makes of them: numbers, truth values or text, in
        all at most 32 MiB and 50 times the size of the files.

    Raises:
        InputError: A file is missing or unreadable, damaged or of another layout, would take more,
            or the package that reads it is not installed.
    """
    size = 0
    for path in paths:
        with open_regular(path) as file:
            size += os.fstat(file.fileno()).st_size
    limit = most_unpacked(size)
    script = [sys.executable, "-P", str(foreign_arrays.__file__), kind, str(limit)]
    with tempfile.TemporaryFile() as answer:
        try:
            done = subprocess.run(
                script,
                input=b"\0".join(os.fsencode(path.absolute()) for path in paths),
                stdout=answer,
                stderr=subprocess.PIPE,
                timeout=_SECONDS,
                env=os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"},
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise InputError(f"{name} cannot be read ({type(error).__name__})") from None
        if done.returncode == foreign_arrays.MISSING_PACKAGE:
            package, extra = _HDF5 if kind == "hdf5" else _TABLES
            raise InputError(
                f"{name} is read by {package}, which is not installed: pip install {package}, or "
                f"this package with the extra [{extra}]"
            )
        if done.returncode == foreign_arrays.REFUSED:
            lines = done.stderr.decode("ascii", "replace").splitlines()
            raise InputError(f"{name}: {lines[-1] if lines else 'not read'}")
        if done.returncode != 0:
            raise InputError(
                f"{name} is damaged, or made to do harm: what reads it ended with status "
                f"{done.returncode}; copy it again"
            )
        return read_archive(answer, str(name))
