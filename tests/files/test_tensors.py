"""Files of tensors: what comes back, and what is refused before torch sees it."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from l2l_gail.errors import InputError
from l2l_gail.files import load_tensors, read_tensors, save_tensors
from l2l_gail.files.pickles import Refused


def read(path: Path) -> Any:
    return read_tensors(path, missing="there is none", way_out="save it again")


def test_plain_data_and_tensors_of_all_forms_come_back(tmp_path: Path) -> None:
    base = torch.arange(24.0)
    content = {
        "module": torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict(),
        "view": base[3:9],
        "transposed": base.view(4, 6).T,
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(3, 0),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "generator": torch.Generator().manual_seed(3).get_state(),
        "shape": torch.Size([2, 3]),
        "python": list(random.Random(1).getstate()[1]),
        "mixed": [1, -(2**70), 1e-3, float("inf"), None, True, "text é", b"bytes", (1, (2, 3))],
        7: {},
    }
    save_tensors(tmp_path / "a.pt", content)
    found = read(tmp_path / "a.pt")
    assert found.keys() == content.keys()
    for name, value in content["module"].items():
        assert torch.equal(found["module"][name], value)
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value)
            assert found[name].dtype == value.dtype
    assert found["mixed"] == content["mixed"]
    assert found["python"] == content["python"]
    assert torch.equal(found["view"], base[3:9])


@pytest.mark.parametrize(
    "content", [{"path": Path()}, {"f": print}, {"wide": torch.ones(1).expand(9)}]
)
def test_what_would_not_come_back_is_not_saved(tmp_path: Path, content: dict) -> None:
    with pytest.raises(TypeError, match="cannot be saved"):
        save_tensors(tmp_path / "a.pt", content)
    assert list(tmp_path.iterdir()) == []


def test_files_without_a_seal_are_read(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt")["a"].tolist() == [0, 1, 2]


def forged(tensor_pickle: Callable[[pickle._Pickler], None], size: int = 12) -> bytes:
    """An archive of torch whose pickle is written by hand; its storage has ``size`` bytes."""
    text = io.BytesIO()
    pickler = pickle._Pickler(text, protocol=2)
    pickler.write(pickle.PROTO + bytes([2]))
    tensor_pickle(pickler)
    pickler.write(pickle.STOP)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", text.getvalue())
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", bytes(size))
        archive.writestr("archive/version", b"3\n")
    return content.getvalue()


def tensor(size: tuple, stride: tuple, offset: int = 0, count: int = 3, key: str = "0") -> Any:
    def write(pickler: pickle._Pickler) -> None:
        pickler.write(b"ctorch._utils\n_rebuild_tensor_v2\n(")
        pickler.write(b"(")
        pickler.save("storage")
        pickler.write(b"ctorch\nFloatStorage\n")
        for part in (key, "cpu", count):
            pickler.save(part)
        pickler.write(b"tQ")
        for part in (offset, size, stride, False):
            pickler.save(part)
        pickler.write(b"ccollections\nOrderedDict\n)R" + b"tR")

    return write


def test_a_sound_forged_tensor_is_read() -> None:
    assert load_tensors(forged(tensor((3,), (1,)))).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (tensor((10**12,), (0,)), "larger than its storage"),
        (tensor((3,), (10**9,)), "larger than its storage"),
        (tensor((2,), (1,), offset=2), "larger than its storage"),
        (tensor((0,), (1,), offset=9), "outside its storage"),
        (tensor((3,), (1,), count=10**12), "another size than its file"),
        (tensor((-3,), (1,)), "strange shape"),
        (tensor((3,), (-1,), offset=2), "strange shape"),
        (tensor((3, 1), (1,)), "without a storage or a shape"),
        (tensor((1,) * 40, (1,) * 40), "without a storage or a shape"),
        (lambda pickler: pickler.write(b"cposix\nsystem\n)R"), "posix.system"),
        (lambda pickler: pickler.write(b"]" * 200 + b"a" * 199), "nested too deep"),
        (lambda pickler: pickler.write(b"]" + b"2\x86" * 60), "repeat without end"),
        (lambda pickler: pickler.write(b"}]" + b"2\x86" * 60 + b"Ns"), "keys are no text"),
        (lambda pickler: pickler.write(b"]q\x00h\x00a"), "repeat without end|too deep"),
        (lambda pickler: pickler.write(b"N0" * 1_100_000), "too long"),
    ],
)  # fmt: skip
def test_what_would_take_more_than_it_holds_is_refused(write: Any, said: str) -> None:
    with pytest.raises(Refused, match=said):
        load_tensors(forged(write))


def test_a_storage_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(forged(tensor((3,), (1,), key="9")))
    with pytest.raises(InputError, match=r"damaged or no file of tensors \(KeyError\): save it"):
        read(tmp_path / "a.pt")


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100 << 20))
    with pytest.raises(InputError, match="to fill the memory"):
        read(path)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    content = forged(tensor((3,), (1,)))
    (tmp_path / "a.pt").write_bytes(content)
    with (
        zipfile.ZipFile(tmp_path / "a.pt", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr("archive/data/0", bytes(12))
    with pytest.raises(InputError, match="two of one name"):
        read(tmp_path / "a.pt")


def test_tensors_of_a_torch_before_1_6_are_named_as_that() -> None:
    old = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(Refused, match=r"in the format of a torch before 1\.6"):
        load_tensors(old.getvalue())
