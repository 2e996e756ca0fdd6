"""CIFAR-10's batches: what is read, and what is refused in one line."""

from __future__ import annotations

import gzip
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adv_training import cifar_files
from adv_training.cifar_files import BATCH_MD5, read_cifar10, read_cifar100
from adv_training.load import load_dataset
from l2l_gail.errors import InputError
from tests.adv_training.support import md5_of, read_quietly, write_cifar10


@pytest.mark.parametrize("keys", [str, bytes])
@pytest.mark.parametrize("inside", [True, False])
def test_reads_all_batches_in_order(tmp_path: Path, keys: type, inside: bool) -> None:
    folder = write_cifar10(tmp_path / cifar_files.FOLDER, keys=keys)
    images, labels = read_quietly(tmp_path if inside else folder)
    assert images.shape == (100, 3, 32, 32)
    assert images.dtype == np.uint8
    assert labels.shape == (100,)
    third = pickle.loads((folder / "data_batch_3").read_bytes())
    third = {k.decode() if isinstance(k, bytes) else k: v for k, v in third.items()}
    assert labels[40:60].tolist() == third["labels"]
    # Row-major planes: red comes first, and the second pixel of a row is the second byte.
    assert images[40, 0, 0, 1] == third["data"][0, 1]
    assert images[40, 2, 1, 0] == third["data"][0, 2 * 1024 + 32]
    assert read_quietly(folder, train=False)[0].shape == (20, 3, 32, 32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": np.zeros((20, 3071), np.uint8)}, "shape"),
        ({"data": np.zeros((20, 3072), np.float32)}, "uint8"),
        ({"data": [1, 2]}, "uint8"),
        ({"data": np.zeros((19, 3072), np.uint8)}, "19 images but 20 labels"),
        ({"labels": [0] * 19 + [10]}, "label 10 is outside 0..9"),
        ({"labels": [0] * 19 + [-1]}, "label -1 is outside"),
        ({"labels": [0.5] * 20}, "whole numbers"),
    ],
)
def test_refuses_wrong_content(tmp_path: Path, changes: dict, said: str) -> None:
    folder = write_cifar10(tmp_path, changes=changes)
    with pytest.raises(InputError, match=said) as caught:
        read_quietly(folder)
    assert "\n" not in str(caught.value)
    assert "data_batch_2" in str(caught.value)


def test_refuses_missing_truncated_and_empty_files(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    path = folder / "data_batch_4"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no pickle at all"):
        path.write_bytes(damaged)
        said = r"data_batch_4 is not a CIFAR batch \(no pickle, or a damaged one\); copy or"
        with pytest.raises(InputError, match=said):
            read_quietly(folder)
    path.write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(InputError, match="a list, not a dict"):
        read_quietly(folder)
    path.unlink()
    with pytest.raises(InputError, match=r" lacks data_batch_4 \(of .*, test_batch\)"):
        read_quietly(folder)
    (folder / "test_batch").unlink()
    for train in (True, False):
        with pytest.raises(InputError, match=r" lacks data_batch_4, test_batch \(of") as caught:
            read_quietly(folder, train=train)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no CIFAR-10 in"):
        read_quietly(tmp_path / "elsewhere")


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    target = tmp_path / "created by the pickle"
    folder = write_cifar10(tmp_path / "data", changes={"extra": Malicious(target)})
    with pytest.raises(InputError, match="it wants to run"):
        read_quietly(folder)
    assert not target.exists()


LABEL_FORMS: dict[str, Callable[[list[int]], object]] = {
    "list": list,
    "int64": np.array,
    "uint8": lambda labels: np.array(labels, np.uint8),
    "big-endian": lambda labels: np.array(labels, ">i4"),
    "list of numpy numbers": lambda labels: list(np.array(labels)),
}


@pytest.mark.parametrize("form", LABEL_FORMS)
@pytest.mark.parametrize("protocol", range(6))
def test_files_pickled_again_are_read(tmp_path: Path, protocol: int, form: str) -> None:
    folder = write_cifar10(tmp_path)
    images, labels = read_quietly(folder, train=False)
    content = pickle.loads((folder / "test_batch").read_bytes())
    content["labels"] = LABEL_FORMS[form](content["labels"])
    content["data"] = np.asfortranarray(content["data"])
    content["filenames"] = np.array(["a.png"] * len(labels))
    (folder / "test_batch").write_bytes(pickle.dumps(content, protocol))
    again = read_quietly(folder, train=False)
    assert np.array_equal(again[0], images)
    assert np.array_equal(again[1], labels)
    assert again[1].dtype == np.int64


def test_a_file_of_python_2_in_its_default_protocol_is_read(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path, per_file=2)
    pixels = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    quoted = "".join(f"\\x{value:02x}" for value in pixels.tobytes())
    (folder / "test_batch").write_text(
        "(dp1\nS'data'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\nndarray\np4\n"
        "(I0\ntS'b'\ntRp5\n(I1\n(I2\nI3072\ntcnumpy\ndtype\np6\n(S'u1'\nI0\nI1\ntRp7\n"
        "(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n"
        f"S'{quoted}'\ntbsS'labels'\np8\n(lp9\nI3\naI7\nas."
    )
    images, labels = read_quietly(folder, train=False)
    assert np.array_equal(images.reshape(2, 3072), pixels)
    assert labels.tolist() == [3, 7]


@pytest.mark.parametrize(("labels", "classes"), [("fine", 100), ("coarse", 20)])
def test_cifar100_is_read_with_either_labels(tmp_path: Path, labels: str, classes: int) -> None:
    rng = np.random.default_rng(0)
    content = {
        b"data": rng.integers(0, 256, (300, 3072), dtype=np.uint8),
        b"fine_labels": rng.integers(0, 100, 300).tolist(),
        b"coarse_labels": rng.integers(0, 20, 300).tolist(),
    }
    (tmp_path / "cifar-100-python").mkdir()
    path = tmp_path / "cifar-100-python" / "train"
    path.write_bytes(pickle.dumps(content, 2))
    images, found = read_cifar100(tmp_path, train=True, labels=labels, check_md5=False)  # type: ignore[arg-type]
    assert np.array_equal(images.reshape(300, 3072), content[b"data"])
    assert found.tolist() == content[f"{labels}_labels".encode()]
    path.write_bytes(pickle.dumps(content | {f"{labels}_labels".encode(): [classes] * 300}))
    with pytest.raises(InputError, match=f"label {classes} is outside 0..{classes - 1}"):
        read_cifar100(path.parent, train=True, labels=labels, check_md5=False)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r" lacks test \(of train, test\)"):
        read_cifar100(tmp_path, train=False)


class ForgedDtype:
    """A dtype whose state says that there are fields: NumPy follows the pointer."""

    def __reduce__(self) -> tuple:
        state = (3, "|", None, ("a", "b"), {"a": 3}, 8, 1, 1 << 40)
        return np.dtype, ("V8", False, True), state


class ForgedArray:
    def __init__(self, dtype: object, shape: tuple, content: bytes) -> None:
        self.state = (1, shape, dtype, False, content)

    def __reduce__(self) -> tuple:
        reconstruct = np.zeros(1).__reduce__()[0]
        return reconstruct, (np.ndarray, (0,), b"b"), self.state


def doubled(times: int) -> tuple:
    value: tuple = ()
    for _ in range(times):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    "data",
    [
        ForgedArray(ForgedDtype(), (20, 3072), b"x" * 61440),
        ForgedArray(np.dtype("u1"), (1 << 40, 3072), b"x" * 61440),
        ForgedArray(np.dtype("u1"), (-20, -3072), b"x" * 61440),
        ForgedArray(np.dtype("O"), (20, 3072), [1] * 61440),  # type: ignore[arg-type]
        doubled(60),
    ],
    ids=["dtype", "huge", "negative", "objects", "doubled"],
)
def test_forged_data_is_refused_and_touches_nothing(tmp_path: Path, data: object) -> None:
    folder = write_cifar10(tmp_path, changes={"data": data})
    with pytest.raises(InputError, match="data_batch_2"):
        read_quietly(folder)


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (gzip.compress, "test_batch is packed by gzip: unpack it in its place"),
        (
            lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "test_batch only says where Git LFS keeps the file: run 'git lfs pull'",
        ),
    ],
    ids=["gzip", "lfs"],
)
def test_a_batch_that_only_has_to_be_unpacked_or_brought_is_told_so(
    tmp_path: Path, pack: Callable[[bytes], bytes], said: str
) -> None:
    path = write_cifar10(tmp_path) / "test_batch"
    path.write_bytes(pack(path.read_bytes()))
    with pytest.raises(InputError, match=said):
        read_quietly(tmp_path, train=False)


def test_a_key_that_takes_for_ever_to_hash_is_refused(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "test_batch").write_bytes(b"\x80\x02)" + b"2\x86" * 60 + b"}" + b"2" + b"s.")
    with pytest.raises(InputError, match="test_batch is not a CIFAR batch"):
        read_quietly(folder, train=False)
    (folder / "test_batch").write_bytes(b"\x80\x02})" + b"2\x86" * 60 + b"Ns.")
    with pytest.raises(InputError, match="keys are no text or numbers"):
        read_quietly(folder, train=False)


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    objects = np.empty((20, 3072), dtype=object)
    folder = write_cifar10(tmp_path, changes={"data": objects})
    with pytest.raises(InputError, match="data_batch_2"):
        read_quietly(folder)


def test_another_md5_is_a_warning_and_no_error(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    with pytest.warns(UserWarning, match="data_batch_1, .* md5 differs"):
        images, _ = read_cifar10(folder, train=True)
    assert len(images) == 100


def test_the_right_md5_gives_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_cifar10(tmp_path)
    sums = {name: md5_of(folder / name) for name in BATCH_MD5}
    monkeypatch.setattr(cifar_files, "BATCH_MD5", sums)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, _ = read_cifar10(folder, train=True)
    assert len(images) == 100


def test_parts_are_disjoint_and_sized(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    data = load_dataset(folder, train_size=60, eval_size=15, check_md5=False)
    assert [len(data.train), len(data.held_out), len(data.test)] == [54, 6, 15]
    images, labels = read_quietly(folder)
    assert np.array_equal(data.train.pixels.numpy(), images[:54])
    assert np.array_equal(data.held_out.labels.numpy(), labels[54:60])
    for sizes in ({"train_size": 101}, {"eval_size": 21}, {"train_size": 5}, {"eval_size": -1}):
        with pytest.raises(InputError, match=r"--(train|eval)-size"):
            load_dataset(folder, check_md5=False, **sizes)
