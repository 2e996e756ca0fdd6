"""Where the batches of CIFAR are looked for, and how they are fetched."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adv_training import cifar_files
from adv_training.cifar_files import BATCH_MD5
from adv_training.download import download_cifar10, download_cifar100, reachable
from adv_training.layers import CIFAR100_STATISTICS
from adv_training.load import load_dataset, locate
from l2l_gail.errors import InputError
from tests.adv_training.support import md5_of, read_quietly, write_cifar10


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive in the layout of the original one."""
    folder = write_cifar10(tmp_path / "source" / cifar_files.FOLDER)
    path = tmp_path / "cifar.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=cifar_files.FOLDER)
    return path


def test_download_unpacks_a_whole_archive(tmp_path: Path, archive: Path) -> None:
    folder = download_cifar10(tmp_path / "data", url=archive.as_uri(), md5=md5_of(archive))
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
    folder = download_cifar10(tmp_path, url=url, md5=md5_of(archive))
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
    folder = download_cifar100(tmp_path / "data", url=path.as_uri(), md5=md5_of(path))
    assert sorted(p.name for p in folder.iterdir()) == ["test", "train"]


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
