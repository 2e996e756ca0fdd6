"""Files made to run, fill or crash something: each is refused, or read as the data it is."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.__main__ import main
from l2l_gail.demos.npz import read_arrays, write_arrays
from l2l_gail.errors import InputError
from tests.demos.test_demos import make_arrays, refusal, write


def npy(descr: str, shape: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    width = 2 if version[0] == 1 else 4
    return b"\x93NUMPY" + version + len(header).to_bytes(width, "little") + header + content


def write_member(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        npy("'<f8'", "(1000000000000,)"),
        npy("'<f8'", "(0, 1000000000000)"),
        npy("'<f8'", "(" + "1, " * 40 + ")", bytes(8)),
        npy("'<f8'", "(-1,)", bytes(8)),
        npy("'<f8'", "(" + "9" * 5000 + ",)"),
        npy("'<f8'", "-" * 9000 + "1"),
        npy("'<f8'", "(" * 9000),
        npy("[('a', '<f8')]", "(1,)", bytes(8)),
        npy("'<M8[s]'", "(1,)", bytes(8)),
        npy("'<U99999'", "(9,)"),
        npy("'<f3'", "(1,)", bytes(3)),
        npy("'<f8'", "(1,)", bytes(7)),
        npy("'<f8'", "(1,)", bytes(9)),
        npy("__import__('os').mkdir('x')", "(1,)", bytes(8)),
        npy("'<f8'", "(1,)", bytes(8), version=b"\x07\x00"),
        b"\x93NUMPY",
        b"",
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="array 'a' is damaged"):
        read_arrays(write_member(tmp_path / "d.npz", content))


def test_a_small_file_does_not_become_a_large_array(tmp_path: Path) -> None:
    content = npy("'<f8'", f"({1 << 24},)", bytes(1 << 27))
    path = write_member(tmp_path / "d.npz", content)
    assert path.stat().st_size < 2 << 20
    with pytest.raises(InputError, match="made to fill the memory"):
        read_arrays(path)


def test_every_form_that_numpy_writes_is_read(tmp_path: Path) -> None:
    arrays = {
        "big": np.arange(6, dtype=">i4").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.array(3.5),
        "text": np.array("Hopper-v5"),
        "bytes": np.array([b"ab", b"c"]),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 4)),
        "half": np.ones(3, np.float16),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "d.npz", **arrays)
        found = read_arrays(tmp_path / "d.npz")
        for name, array in arrays.items():
            assert np.array_equal(found[name], array)
            assert found[name].dtype == array.dtype.newbyteorder("=")
            assert found[name].flags.writeable


def test_what_is_written_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_arrays(tmp_path / name, make_arrays(3, 5))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("starts", [np.uint64, np.int8, np.int64])
@pytest.mark.parametrize("lengths", [np.uint64, np.uint8, np.int32])
def test_tables_of_any_whole_numbers_are_read(tmp_path: Path, starts: type, lengths: type) -> None:
    arrays = make_arrays(3, 5)
    arrays["episode_starts"] = arrays["episode_starts"].astype(starts)
    arrays["episode_lengths"] = arrays["episode_lengths"].astype(lengths)
    demos = Demonstrations.load(write(tmp_path / "d.npz", arrays))
    assert demos.episode_starts.tolist() == [0, 3]
    assert demos.episode_lengths.dtype == np.int64


def test_a_name_in_a_file_imports_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "planted.py").write_text(f"import os; os.mkdir({str(tmp_path / 'crater')!r})")
    monkeypatch.syspath_prepend(tmp_path)
    path = write(tmp_path / "d.npz", make_arrays(3) | {"env_id": np.array("planted:Hopper-v5")})
    main(["info", str(path)])
    assert "planted:Hopper-v5" in capsys.readouterr().out
    assert "planted" not in sys.modules
    assert not (tmp_path / "crater").exists()


def test_pipes_and_files_in_the_way_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    assert "a pipe, socket or device" in refusal(tmp_path / "pipe.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "nowhere.npz")
    demos = Demonstrations(**make_arrays(3))
    with pytest.raises(InputError, match="is not overwritten"):
        demos.save(tmp_path / "link.npz")
    with pytest.raises(InputError, match="something else has its name"):
        demos.save(tmp_path / "pipe.npz" / "d.npz")
    with pytest.raises(InputError, match="holds a NUL"):
        Demonstrations.load("name\0with a zero")


def test_names_in_an_archive_are_printed_as_text(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **{"\x1b[2Jobs": np.zeros(3)})
    assert "\x1b" not in refusal(tmp_path / "d.npz")
