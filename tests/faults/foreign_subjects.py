"""Hostile files of Minari, D4RL, LeRobot and imitation, most of them read in a process apart."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from l2l_gail.demos import Demonstrations
from tests.demos.test_foreign import DATA
from tests.faults import mutate
from tests.faults.mutate import Random
from tests.faults.run_subjects import Subject
from tests.faults.subjects import hostile_npz, judge_demos


def hostile_hdf5(rng: Random, folder: Path) -> Path:
    """A file that the format's own library wrote, of odd arrays, damaged more often than not."""
    path = folder / "main_data.hdf5"
    if rng.random() < 0.3:
        content = gzip.decompress((DATA / "minari" / "main_data.hdf5.gz").read_bytes())
        (folder / "metadata.json").write_bytes(
            mutate.change_json((DATA / "minari" / "metadata.json").read_bytes(), rng)
        )
    else:
        content = _hdf5(rng)
    if rng.random() < 0.8:
        # Most of a file is zeros between the headers: damage what is not.
        places = [i for i, byte in enumerate(content) if byte]
        begin = rng.choice(places)
        end = min(begin + rng.choice((8, 64, 512, len(content))), len(content))
        content = content[:begin] + mutate.change_bytes(content[begin:end], rng) + content[end:]
    path.write_bytes(content)
    return path


def _hdf5(rng: Random) -> bytes:
    import h5py

    states = np.arange(22.0).reshape(11, 2)
    minari = {
        "observations": states, "actions": states[:-1, :1], "rewards": states[:-1, 0],
        "terminations": np.arange(10) == 9, "truncations": np.zeros(10, bool),
    }  # fmt: skip
    d4rl = {
        "observations": states, "actions": states[:, :1], "rewards": states[:, 0],
        "terminals": np.arange(11) == 4, "timeouts": np.arange(11) == 9,
        "next_observations": states + 1,
    }  # fmt: skip
    episodes = rng.random() < 0.5
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=rng.choice(("earliest", "latest"))) as file:
        for number in range(3 if episodes else 1):
            group = file.create_group(f"episode_{number}") if episodes else file
            for name, array in (minari if episodes else d4rl).items():
                if rng.random() < 0.1:
                    array = mutate.change_array(array, rng)
                packed = {"compression": rng.choice((None, "gzip", "lzf"))} if array.ndim else {}
                packed |= {"chunks": True, "shuffle": True} if packed.get("compression") else {}
                try:
                    group.create_dataset(name, data=array, **packed)
                except (TypeError, ValueError):  # a dtype or shape that HDF5 has not
                    group.create_dataset(name, data=np.zeros(3))
    return buffer.getvalue()


def hostile_folder(rng: Random, folder: Path) -> Path:
    target = folder / "saved"
    shutil.copytree(DATA / "imitation", target)
    arrow, state = next(target.glob("*.arrow")), target / "state.json"
    if rng.random() < 0.9:
        arrow.write_bytes(mutate.change_bytes(arrow.read_bytes(), rng))
    if rng.random() < 0.2:
        state.write_bytes(mutate.change_json(state.read_bytes(), rng))
    if rng.random() < 0.05:
        state.write_text(json.dumps({"_data_files": [{"filename": arrow.name}] * 3}))
    return target


def hostile_tables(rng: Random, folder: Path) -> Path:
    """Tables of Minari or LeRobot, as they were written, damaged more often than not."""
    name = rng.choice(("minari_arrow", "minari_parquet", "lerobot"))
    target = folder / name
    shutil.copytree(DATA / name, target)
    tables = [path for path in sorted(target.rglob("*")) if path.suffix in (".arrow", ".parquet")]
    table = rng.choice(tables)
    if rng.random() < 0.8:
        table.write_bytes(mutate.change_bytes(table.read_bytes(), rng))
    stated = target / ("meta/info.json" if name == "lerobot" else "metadata.json")
    if rng.random() < 0.4:
        stated.write_bytes(mutate.change_json(stated.read_bytes(), rng))
    if rng.random() < 0.05:
        table.unlink()
    return target


@cache
def imitation_arrays() -> dict[str, np.ndarray]:
    return {
        "obs": np.arange(45.0).reshape(15, 3), "acts": np.arange(24.0).reshape(12, 2),
        "rews": np.arange(12.0), "infos": np.array([{}] * 12, dtype=object),
        "terminal": np.array([True, False, True]), "indices": np.array([4, 7]),
    }  # fmt: skip


def load(path: Any) -> Demonstrations:
    return Demonstrations.load(path)


FOREIGN_SUBJECTS: dict[str, Subject] = {
    "imitation archive": Subject(hostile_npz(imitation_arrays()), load, judge_demos)
}
if importlib.util.find_spec("h5py"):
    FOREIGN_SUBJECTS["hdf5"] = Subject(hostile_hdf5, load, judge_demos)
if importlib.util.find_spec("pyarrow"):
    FOREIGN_SUBJECTS["imitation folder"] = Subject(hostile_folder, load, judge_demos)
    FOREIGN_SUBJECTS["tables"] = Subject(hostile_tables, load, judge_demos)
