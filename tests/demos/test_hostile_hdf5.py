"""HDF5 that reaches out of its file or claims more than it holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.demos.support import write_d4rl
from tests.demos.test_demos import refusal


def hostile(change: Callable[[Any, Any, Path], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        h5py = pytest.importorskip("h5py")
        path = write_d4rl(folder / "d.hdf5")
        with h5py.File(path, "a") as file:
            del file["rewards"]
            change(h5py, file, folder)
        return path

    return make


def _external_link(h5py: Any, file: Any, folder: Path) -> None:
    write_d4rl(folder / "other.hdf5")
    file["rewards"] = h5py.ExternalLink("other.hdf5", "/rewards")


def _soft_link(h5py: Any, file: Any, folder: Path) -> None:
    file["rewards"] = h5py.SoftLink("/actions")


def _external_storage(h5py: Any, file: Any, folder: Path) -> None:
    (folder / "raw").write_bytes(bytes(80))
    file.create_dataset("rewards", (10,), "f8", external=[(str(folder / "raw"), 0, 80)])


def _virtual(h5py: Any, file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource(str(write_d4rl(folder / "other.hdf5")), "rewards", (10,))
    file.create_virtual_dataset("rewards", layout)


def _huge(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("rewards", (1 << 40,), "f8", chunks=(1024,), fillvalue=1.0)


def _huge_chunk(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("rewards", (10,), "f8", chunks=(1 << 28,), maxshape=(None,))


def _filter(h5py: Any, file: Any, folder: Path) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((10,))
    plan.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL)
    space = h5py.h5s.create_simple((10,))
    h5py.h5d.create(file.id, b"rewards", h5py.h5t.IEEE_F64LE, space, plan)


def _group(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("rewards/\x1b[2J", data=np.zeros(3))


def _text_without_end(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("rewards", data=["a"] * 10, dtype=h5py.string_dtype())


def _references(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("rewards", data=[file.ref] * 10, dtype=h5py.ref_dtype)


def _records(h5py: Any, file: Any, folder: Path) -> None:
    file.create_dataset("rewards", data=np.zeros(10, [("a", "f8")]))


HOSTILE = {
    _external_link: "'rewards' is a link to somewhere else",
    _soft_link: "'rewards' is a link to somewhere else",
    _external_storage: "'rewards' lies in other files",
    _virtual: "'rewards' lies in other files",
    _huge: "'rewards' would take the arrays beyond",
    _huge_chunk: "'rewards' would take the arrays beyond",
    _filter: "'rewards' is packed by filter 32015",
    _group: "'rewards' is a dict",
    _text_without_end: "'rewards' holds no numbers",
    _references: "'rewards' holds no numbers",
    _records: "'rewards' holds no numbers",
}


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_hdf5_that_reaches_out_or_claims_too_much_is_refused(tmp_path: Path, change: Any) -> None:
    path = hostile(change)(tmp_path)
    message = refusal(path)
    assert HOSTILE[change] in message
    assert message.isprintable()
