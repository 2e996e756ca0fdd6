"""Arrays out of HDF5, Arrow and Parquet files, read in a process of its own.

The libraries that read these formats are written in C and C++, and a file that is made for it can
crash them or make them ask for memory without end. So :mod:`l2l_gail.demos.apart` runs this file as
a script: whatever happens here, the process that asked goes on. It stands alone, without this
package, to start quickly, and says what it finds as an ``.npz`` archive on its standard output, or
in one line on its standard error with status 3.

What is not needed for numbers is refused before it is looked at: links, external and virtual
storage, filters that are loaded at run time, types other than numbers.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import re
import resource
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

REFUSED = 3
MISSING_PACKAGE = 4

_MOST_EPISODES = 200_000
_FILTERS = (1, 2, 3, 32_000)  # deflate, shuffle, fletcher32, lzf
_MOST_TEXT = 65_536
_HEADROOM = 1 << 30
_D4RL = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")
_MINARI = ("observations", "actions", "rewards", "terminations", "truncations")
COLUMNS = {
    "imitation": ("obs", "acts", "rews", "terminal"),
    "minari": _MINARI,
    "lerobot": ("observation.state", "action", "next.reward", "episode_index", "index"),
}
"""What is read of each library's tables."""

Arrays = dict[str, np.ndarray]


class Refused(Exception):
    """The file is not read, for the reason given."""


class Budget:
    """Bytes that the arrays of a file may take in all."""

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit

    def take(self, what: str, shape: Iterable[int], itemsize: int) -> None:
        """Count an array, before room is made for it."""
        size = math.prod(int(n) for n in shape) * itemsize
        self.left -= size
        if self.left < 0:
            raise Refused(
                f"{what!a} would take the arrays beyond {self.limit:,} bytes, out of proportion to "
                "the file"
            )


def read_hdf5(path: str, budget: Budget) -> Arrays:
    """The arrays of a file of Minari or D4RL; ``layout`` says which."""
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        if len(file) > _MOST_EPISODES:
            raise Refused(f"it has {len(file):,} entries; at most {_MOST_EPISODES:,} are read")
        names = list(file)
        episodes = sorted(
            int(match[1]) for name in names if (match := re.fullmatch(r"episode_(\d{1,9})", name))
        )
        if episodes:
            return _minari(file, episodes, budget)
        if {"observations", "actions"} <= set(names):
            arrays = {name: _dataset(file, name, budget)[()] for name in _D4RL if name in names}
            return {"layout": np.array("d4rl"), **arrays}
    found = ", ".join(ascii(name) for name in sorted(names)[:6]) or "nothing"
    raise Refused(
        "it is HDF5, but neither of Minari (episode_0, ...) nor of D4RL (observations, actions); "
        f"it has {found}"
    )


def _minari(file: Any, episodes: list[int], budget: Budget) -> Arrays:
    columns: dict[str, list[np.ndarray]] = {}
    for number in episodes:
        group = _member(file, f"episode_{number}")
        for name in _MINARI:
            if name in group:
                array = _dataset(group, name, budget, f"episode_{number}/{name}")[()]
                columns.setdefault(name, []).append(array)
    arrays = {"layout": np.array("minari")}
    for name, parts in columns.items():
        if len(parts) != len(episodes):
            raise Refused(f"{name!a} is in {len(parts)} of {len(episodes)} episodes")
        if len({(part.shape[1:], part.dtype) for part in parts}) > 1:
            raise Refused(f"{name!a} has episodes of different widths or dtypes")
        arrays[name] = np.concatenate(parts)
        arrays[f"{name}_lengths"] = np.array([len(part) for part in parts])
    spec = file.attrs.get("env_spec")  # where Minari before 0.5 had it
    if isinstance(spec, str) and len(spec) <= _MOST_TEXT:
        arrays["env_spec"] = np.array(spec)
    return arrays


def _member(group: Any, name: str) -> Any:
    """What a hard link, which cannot leave the file, leads to."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise Refused(f"{name!a} is a link to somewhere else, which is not followed")
    return group[name]


def _dataset(group: Any, name: str, budget: Budget, shown: str = "") -> Any:
    """A dataset that holds plain numbers inside this file, within the budget."""
    import h5py

    shown = shown or name
    dataset = _member(group, name)
    if isinstance(dataset, h5py.Group):
        inside = ", ".join(ascii(key) for key in list(dataset)[:4])
        raise Refused(
            f"{shown!a} is a dict ({inside}); only flat arrays are read, give those of an "
            "environment behind gymnasium's FlattenObservation"
        )
    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"{shown!a} is no array")
    kind = dataset.id.get_type()
    numeric = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
    if not numeric or kind.get_size() > 8 or dataset.dtype.kind not in "fiub":
        raise Refused(f"{shown!a} holds no numbers of at most 64 bits")
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or (
        plan.get_layout() == h5py.h5d.CONTIGUOUS and plan.get_external_count()
    ):
        raise Refused(f"{shown!a} lies in other files, which are not followed")
    filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
    strange = [code for code in filters if code not in _FILTERS]
    if strange:
        raise Refused(f"{shown!a} is packed by filter {strange[0]}; gzip and lzf are read")
    shape = dataset.shape
    if shape is None or not 1 <= len(shape) <= 8:
        raise Refused(f"{shown!a} has no rows")
    if plan.get_layout() == h5py.h5d.CHUNKED:
        # A chunk is unpacked whole, however little of it is asked for; and it is given back.
        Budget(budget.limit).take(shown, plan.get_chunk(), kind.get_size())
    budget.take(shown, shape, kind.get_size())
    return dataset


def read_tables(paths: list[str], wanted: tuple[str, ...], budget: Budget) -> Arrays:
    """Columns of Arrow or Parquet files, one after another.

    Returns:
        What :func:`_flattened` makes of each, and ``file_rows``, the number of rows in each file.
    """
    columns: dict[str, list[np.ndarray]] = {}
    file_rows = []
    for path in paths:
        rows = 0
        for batch in _batches(path, wanted, budget):
            rows += batch.num_rows
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name not in wanted:
                    continue
                column.validate(full=True)
                for key, array in _flattened(name, column, budget):
                    columns.setdefault(key, []).append(array)
        file_rows.append(rows)
    arrays = {"file_rows": np.array(file_rows, dtype=np.int64)}
    for name, parts in columns.items():
        if len({part.dtype for part in parts}) > 1:
            raise Refused(f"{name!a} has several dtypes")
        arrays[name] = np.concatenate(parts)
    return arrays


def _batches(path: str, wanted: tuple[str, ...], budget: Budget) -> Iterator[Any]:
    """Batches of rows with the wanted columns; others may be among them."""
    import pyarrow as pa

    with open(path, "rb") as file:
        mark = file.read(6)
    if mark.startswith(b"PAR1"):
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as table:
            _check_names(table.schema_arrow.names, wanted)
            # At least a byte a row, before room is made for any of them.
            Budget(budget.limit).take("rows", (table.metadata.num_rows,), 1)
            yield from table.iter_batches(columns=list(wanted), use_threads=False)
        return
    with pa.OSFile(path) as source:
        whole = mark == b"ARROW1"
        names = (pa.ipc.open_file if whole else pa.ipc.open_stream)(source).schema.names
        _check_names(names, wanted)
        source.seek(0)
        chosen = [index for index, name in enumerate(names) if name in wanted]
        options = pa.ipc.IpcReadOptions(included_fields=chosen, use_threads=False)
        if whole:
            file = pa.ipc.open_file(source, options=options)
            yield from (file.get_batch(index) for index in range(file.num_record_batches))
        else:
            yield from pa.ipc.open_stream(source, options=options)


def _check_names(names: list[str], wanted: tuple[str, ...]) -> None:
    if any(names.count(name) > 1 for name in wanted):
        raise Refused("two columns have one name")


def _flattened(name: str, column: Any, budget: Budget) -> Iterator[tuple[str, np.ndarray]]:
    """A column's numbers one after another, and how many each list of them has, outside first."""
    import pyarrow as pa

    depth = 0
    while not isinstance(column, pa.ExtensionArray):
        if column.null_count:
            raise Refused(f"{name!a} has missing values")
        if not isinstance(column, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)):
            break
        budget.take(name, (len(column),), 8)
        if isinstance(column, pa.FixedSizeListArray):
            lengths = np.full(len(column), column.type.list_size)
        else:
            lengths = column.value_lengths().to_numpy().astype(np.int64)
        yield f"{name}_lengths_{depth}", lengths
        column, depth = column.flatten(), depth + 1
    number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if not number and not pa.types.is_boolean(column.type):
        raise Refused(f"{name!a} holds {str(column.type)[:80]!a}, no numbers in lists")
    budget.take(name, (len(column),), 8)
    yield name, column.to_numpy(zero_copy_only=False)


def main(kind: str, limit: str) -> None:
    """Read the files named on the standard input, and answer on the standard output."""
    paths = [os.fsdecode(path) for path in sys.stdin.buffer.read().split(b"\0")]
    size = sum(Path(path).stat().st_size for path in paths)
    try:
        # Before the limits: what the libraries take for themselves is not counted.
        importlib.import_module("h5py" if kind == "hdf5" else "pyarrow.parquet")
        _limit_resources(4 * int(limit) + size)
        budget = Budget(int(limit))
        if kind == "hdf5":
            arrays = read_hdf5(paths[0], budget)
        else:
            arrays = read_tables(paths, COLUMNS[kind], budget)
    except Refused as error:
        _end(REFUSED, str(error))
    except ImportError as error:
        _end(MISSING_PACKAGE, str(error))
    except Exception as error:  # damaged content raises whatever it happens to spell
        _end(REFUSED, f"damaged, or of another kind than it seems ({type(error).__name__})")
    np.savez(sys.stdout.buffer, allow_pickle=False, **arrays)  # a file, see apart.py


def _limit_resources(extra: int) -> None:
    """Bound memory and processor time from here on."""
    with contextlib.suppress(OSError, ValueError):  # no /proc, or a lower limit already
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + _HEADROOM + extra
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    seconds = 60 + extra // 10_000_000
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end(status: int, message: str) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
