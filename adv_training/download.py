"""CIFAR-10 and CIFAR-100 as their author gives them away: checked, shown, and whole or absent."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import threading
import urllib.request
from pathlib import Path

from tqdm import tqdm

from l2l_gail.errors import InputError
from l2l_gail.files import home_expanded, open_regular

from .cifar_files import BATCH_MD5, CIFAR100_MD5, FOLDER, FOLDER_100

__all__ = ["URL", "URL_100", "archive_of", "download_cifar10", "download_cifar100", "reachable"]

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
URL_100 = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
_ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
_ARCHIVE_100_MD5 = "eb9058c3a382ffc7106e4002c42a8d85"
_CHUNK = 1 << 20


def reachable(url: str = URL, *, seconds: float = 4.0) -> bool:
    """Return whether the server answers within ``seconds``.

    The probe runs in a thread of its own: a name look-up without a network can hang for minutes,
    and no timeout of the standard library covers it.
    """
    answered = threading.Event()

    def probe() -> None:
        try:
            with urllib.request.urlopen(_request(url, "HEAD"), timeout=seconds):
                answered.set()
        except (OSError, ValueError, http.client.HTTPException):
            return

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def archive_of(url: str) -> str:
    """Return what the archive at a URL is called."""
    return url.rpartition("/")[2]


def download_cifar10(data_dir: str | Path, *, url: str = URL, md5: str = _ARCHIVE_MD5) -> Path:
    """Fetch the archive (170 MB), check its md5 sum, and unpack the six batches.

    An archive of that name that lies in the folder is taken in place of a download.

    Args:
        data_dir: Folder that will hold ``cifar-10-batches-py``.
        url: Where the archive lies.
        md5: What its sum must be.

    Returns:
        The folder with the batches.  It appears only once everything in it is right.

    Raises:
        InputError: If the transfer breaks off, the sum is another, also of an archive that is
            there, or a file is missing.
    """
    return _download(home_expanded(data_dir), FOLDER, tuple(BATCH_MD5), url, md5)


def download_cifar100(
    data_dir: str | Path, *, url: str = URL_100, md5: str = _ARCHIVE_100_MD5
) -> Path:
    """Fetch CIFAR-100's archive (169 MB) into ``cifar-100-python``, as :func:`download_cifar10`.

    Args:
        data_dir: Folder that will hold ``cifar-100-python``.
        url: Where the archive lies.
        md5: What its sum must be.

    Raises:
        InputError: Likewise.
    """
    return _download(home_expanded(data_dir), FOLDER_100, tuple(CIFAR100_MD5), url, md5)


def _download(data_dir: Path, name: str, files: tuple[str, ...], url: str, md5: str) -> Path:
    target = data_dir / name
    if os.path.exists(target):  # an incomplete folder of an earlier, foreign attempt
        raise InputError(f"{target} is in the way and incomplete; move it and start again")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"no folder can be made at {data_dir} ({error.strerror})") from error
    try:
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=".download-") as scratch:
            archive = data_dir / archive_of(url)
            if os.path.lexists(archive):
                _check_whole(archive, md5)
            elif (digest := _fetch(url, archive := Path(scratch) / "archive.tar.gz")) != md5:
                raise InputError(
                    f"{url} came with md5 {digest} instead of {md5}; try again, or give --data-dir "
                    f"a folder that holds {name}"
                )
            unpacked = Path(scratch) / name
            unpacked.mkdir()
            with tarfile.open(archive) as tar:
                for file in files:
                    _extract(tar, f"{name}/{file}", unpacked / file)
            unpacked.replace(target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{name} cannot be unpacked in {data_dir} ({reason}): give another --data-dir"
        ) from error
    except tarfile.TarError as error:
        raise InputError(f"the archive of {url} cannot be read ({error}); try again") from error
    return target


def _check_whole(archive: Path, md5: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with open_regular(archive) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != md5:
        raise InputError(
            f"{archive} is not the whole archive, its md5 is {digest.hexdigest()} instead of "
            f"{md5}; move it away, or copy it again"
        )


def _fetch(url: str, path: Path) -> str:
    """Write the body of ``url`` to ``path`` with a progress bar and return its md5 sum."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(_request(url, "GET"), timeout=30) as answer:
            length = answer.headers.get("Content-Length")
            bar = tqdm(
                desc=archive_of(url),
                total=int(length) if length else None,
                unit="B",
                unit_scale=True,
                disable=None,  # silent unless stderr is a terminal
            )
            with bar, path.open("wb") as file:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise InputError(f"the download of {url} broke off ({error}); try again") from error
    return digest.hexdigest()


def _extract(tar: tarfile.TarFile, member: str, path: Path) -> None:
    """Copy one regular file out of the archive; no path in the archive decides where to."""
    try:
        source = tar.extractfile(member)
    except KeyError:
        source = None
    if source is None:
        raise InputError(f"the archive holds no {member}; it is not CIFAR's")
    with source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _request(url: str, method: str) -> urllib.request.Request:
    return urllib.request.Request(url, method=method, headers={"User-Agent": "l2l_gail"})
