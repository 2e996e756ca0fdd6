"""CIFAR-10's batches: what is read, and what is refused in one line."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import pickle
import shutil
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adv_training import cifar_files
from adv_training.cifar_files import BATCH_MD5, read_cifar10, read_cifar100
from adv_training.download import download_cifar10, download_cifar100, reachable
from adv_training.layers import CIFAR100_STATISTICS
from adv_training.load import load_dataset, locate
from l2l_gail.errors import InputError
from tests.adv_training.support import write_cifar10


def read_quietly(folder: Path, *, train: bool = True) -> tuple[np.ndarray, np.ndarray]:
    return read_cifar10(folder, train=train, check_md5=False)


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
    sums = {name: _md5(folder / name) for name in BATCH_MD5}
    monkeypatch.setattr(cifar_files, "BATCH_MD5", sums)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, _ = read_cifar10(folder, train=True)
    assert len(images) == 100


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive in the layout of the original one."""
    folder = write_cifar10(tmp_path / "source" / cifar_files.FOLDER)
    path = tmp_path / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=cifar_files.FOLDER)
    return path


def test_download_unpacks_a_whole_archive(tmp_path: Path, archive: Path) -> None:
    folder = download_cifar10(tmp_path / "data", url=archive.as_uri(), md5=_md5(archive))
    assert sorted(p.name for p in folder.iterdir()) == sorted(BATCH_MD5)
    assert len(read_quietly(folder)[0]) == 100


def test_download_with_another_md5_leaves_nothing_behind(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(InputError, match="md5"):
        download_cifar10(tmp_path / "data", url=archive.as_uri(), md5="0" * 32)
    assert list((tmp_path / "data").iterdir()) == []


def test_an_archive_that_is_there_is_taken_in_place_of_a_download(
    tmp_path: Path, archive: Path
) -> None:
    url = f"http://127.0.0.1:9/{archive.name}"
    folder = download_cifar10(tmp_path, url=url, md5=_md5(archive))
    assert len(read_quietly(folder)[0]) == 100
    assert archive.is_file()
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=r"is not the whole archive, its md5 is .* move it away"):
        download_cifar10(tmp_path, url=url, md5="0" * 32)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    fetched: list[Path] = []

    def fetch(root: Path) -> Path:
        fetched.append(root)
        return root

    locate("cifar10", tmp_path, has_network=lambda: False, fetch=fetch)
    assert fetched == [tmp_path]
    with pytest.raises(InputError, match=r"no network .* that holds cifar-100-python or cifar-100"):
        locate("cifar100", tmp_path, has_network=lambda: False, fetch=fetch)


def test_download_that_breaks_off_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="broke off"):
        download_cifar10(tmp_path / "data", url=(tmp_path / "nowhere").as_uri())


def test_a_server_that_refuses_is_not_reachable() -> None:
    assert not reachable("http://127.0.0.1:9/cifar.tar.gz", seconds=2.0)


def test_where_the_data_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("L2L_GAIL_DATA", raising=False)

    def offline() -> bool:
        return False

    assert locate("synthetic", None, has_network=offline) is None
    assert locate("auto", None, has_network=offline) is None
    (tmp_path / "given").mkdir()
    for data, folder in (("cifar10", None), ("auto", tmp_path / "given")):
        with pytest.raises(InputError, match="--data-dir") as caught:
            locate(data, folder, has_network=offline)  # type: ignore[arg-type]
        assert "network" in str(caught.value)
    fetched = tmp_path / "fetched"
    assert locate("auto", None, has_network=lambda: True, fetch=lambda root: fetched) == fetched

    with pytest.raises(InputError, match=r"--data-dir .*mistyped is no folder"):
        locate("auto", tmp_path / "mistyped", has_network=lambda: True, fetch=lambda root: fetched)

    there = write_cifar10(tmp_path / "there")
    assert locate("cifar10", there, has_network=offline) == there
    monkeypatch.setenv("L2L_GAIL_DATA", str(there))
    assert locate("auto", None, has_network=offline) == there
    monkeypatch.setenv("L2L_GAIL_DATA", str(tmp_path / "mistyped"))
    for data in ("auto", "cifar100"):
        with pytest.raises(InputError, match=r"\$L2L_GAIL_DATA names .*mistyped, which is no fold"):
            locate(data, None, has_network=lambda: True, fetch=lambda root: fetched)  # type: ignore[arg-type]
    assert locate("auto", there, has_network=offline) == there
    assert locate("synthetic", None, has_network=offline) is None


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    """A root that holds CIFAR-100 beside CIFAR-10."""
    write_cifar10(tmp_path / cifar_files.FOLDER)
    folder = tmp_path / cifar_files.FOLDER_100
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, count in (("train", 300), ("test", 100)):
        content = {
            "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
            "fine_labels": [int(i) % 100 for i in range(count)],
            "coarse_labels": [int(i) % 20 for i in range(count)],
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return tmp_path


def test_cifar100_is_found_beside_cifar10_and_has_a_hundred_classes(
    cifar100: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = locate("cifar100", cifar100, has_network=lambda: False)
    assert found == cifar100 / cifar_files.FOLDER_100
    monkeypatch.setenv("HOME", str(cifar100.parent))
    at_home = f"~/{cifar100.name}"
    assert locate("cifar100", at_home, has_network=lambda: False) == found
    monkeypatch.setenv("L2L_GAIL_DATA", at_home)
    assert locate("cifar100", None, has_network=lambda: False) == found
    assert load_dataset(f"{at_home}/{found.name}", check_md5=False).name == "cifar100"
    assert locate("cifar10", cifar100, has_network=lambda: False) == (cifar100 / cifar_files.FOLDER)
    data = load_dataset(found, check_md5=False)
    assert (data.name, data.classes, data.shape) == ("cifar100", 100, (3, 32, 32))
    assert data.train.labels.unique().tolist() == list(range(100))
    assert data.statistics == CIFAR100_STATISTICS
    assert load_dataset(cifar100 / cifar_files.FOLDER, check_md5=False).name == "cifar10"
    # CIFAR-100's files and a folder of CIFAR-10 in one place: what is asked for counts.
    (cifar100 / cifar_files.FOLDER).rename(found / cifar_files.FOLDER)
    for name in ("cifar10", "cifar100"):
        place = locate(name, found, has_network=lambda: False)
        assert load_dataset(place, name=name, check_md5=False).name == name


def test_cifar100_that_cannot_be_had_is_said_and_one_that_can_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no CIFAR-100 in .* cifar-100-python") as caught:
        locate("cifar100", tmp_path, has_network=lambda: False)
    assert "\n" not in str(caught.value)
    fetched = tmp_path / "fetched"
    options = {"has_network": lambda: True, "fetch": lambda root: fetched}
    assert locate("cifar100", tmp_path, **options) == fetched


@pytest.mark.parametrize(("asked", "there"), [("cifar10", "cifar100"), ("cifar100", "cifar10")])
def test_the_folder_of_the_other_cifar_is_said_by_its_flag(
    cifar100: Path, asked: Any, there: str
) -> None:
    folders = {"cifar10": cifar_files.FOLDER, "cifar100": cifar_files.FOLDER_100}
    shutil.rmtree(cifar100 / folders[asked])
    said = rf"holds CIFAR-\d+ and no CIFAR-\d+; .* --data {there}, else --data-dir"
    for root in (cifar100, cifar100 / folders[there]):
        with pytest.raises(InputError, match=said) as caught:
            locate(asked, root, has_network=lambda: False)
        assert "\n" not in str(caught.value)
    # With a network it is fetched beside the other, but not into the other's folder.
    fetched = cifar100 / "fetched"
    options = {"has_network": lambda: True, "fetch": lambda root: fetched}
    assert locate(asked, cifar100, **options) == fetched
    with pytest.raises(InputError, match=said):
        locate(asked, cifar100 / folders[there], **options)


def test_download_unpacks_cifar100(tmp_path: Path, cifar100: Path) -> None:
    path = tmp_path / "cifar100.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(cifar100 / cifar_files.FOLDER_100, arcname=cifar_files.FOLDER_100)
    folder = download_cifar100(tmp_path / "data", url=path.as_uri(), md5=_md5(path))
    assert sorted(p.name for p in folder.iterdir()) == ["test", "train"]


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


def test_places_that_may_not_be_entered_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if str(path).startswith(f"{tmp_path}/"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setenv("L2L_GAIL_DATA", str(tmp_path / "closed"))
    for data in ("cifar10", "cifar100"):
        with pytest.raises(InputError, match=r"\$L2L_GAIL_DATA names .*, which is no folder"):
            locate(data, None, has_network=lambda: False)
        with pytest.raises(InputError, match="is no folder"):
            locate(data, tmp_path / "closed", has_network=lambda: False)


def test_a_download_into_an_unwritable_place_is_one_line() -> None:
    with pytest.raises(InputError, match=r"cannot be unpacked in /proc/self .*--data-dir") as said:
        download_cifar10("/proc/self", url="file:///dev/null")
    assert "\n" not in str(said.value)
