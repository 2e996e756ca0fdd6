"""Writing a file in one step, so that a reader finds the old one or the new one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import socket
import tempfile
from functools import cache
from pathlib import Path

from l2l_gail.errors import InputError
from l2l_gail.files.regular import home_expanded

__all__ = ["atomic_write", "check_can_be_written", "keep_a_copy", "not_written", "sync_folder"]


def atomic_write(path: str | Path, data: bytes | str, *, make_folder: bool = True) -> None:
    """Replace a file's content in one step.

    The data goes to a temporary file in the same folder (so that the rename stays inside one file
    system), is flushed to the disk, and takes the place of ``path``; then the folder is flushed,
    which makes the new name last. Permissions are those of any new file under the process's umask.
    Temporary files that processes of this machine left behind when they were killed are removed,
    until it is started anew.

    Args:
        path: File to write; ``~`` is the home folder. A symbolic link is replaced, not followed.
        data: Content; text is written as UTF-8.
        make_folder: Make the folder if it is missing; otherwise that is an error.

    Raises:
        InputError: The file cannot be written; what was there before is as it was.
    """
    path = home_expanded(path)
    content = data.encode("utf-8") if isinstance(data, str) else data
    temporary = _temporary(path)
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(path.parent)
        # Not to be opened if it is there, be it a link: the name is ours alone.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:  # gone already unless something failed
            with contextlib.suppress(OSError):
                temporary.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise not_written(path, error) from error


def check_can_be_written(path: str | Path) -> None:
    """Find out before all the work whether a new file can be written; nothing is left behind.

    An empty file is made and removed, under the names of the file and of what is written first:
    permissions alone do not tell where a name is too long, or a file system takes no files.

    Args:
        path: File that is to be written; ``~`` is the home folder. Its folder need not be there.

    Raises:
        InputError: There is such a file, or it cannot be made.
    """
    path = home_expanded(path)
    missing = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for name in (_temporary(path), path):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o666))
                name.unlink()
        finally:
            for folder in missing:
                with contextlib.suppress(OSError):  # not made, or used by somebody already
                    folder.rmdir()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{path} cannot be written ({reason}): give another name, in a folder that can be "
            "written"
        ) from None


def keep_a_copy(path: Path, copy: Path) -> None:
    """Give a file a second name, in one step; what had that name is replaced.

    Where the file system knows no second names, the file is renamed: until it is written anew,
    only the copy is there.

    Raises:
        InputError: The folder cannot be written.
    """
    temporary = _temporary(copy)
    try:
        try:
            os.link(path, temporary)
        except OSError:
            path.replace(copy)
        else:
            temporary.replace(copy)
            # Two names of one file are both left as they are by a rename: so it is where a process
            # was killed between this copy and the file's replacement.
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(copy, error) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, where the file system can."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that tells who writes there: this machine, this process."""
    return path.with_name(
        f".{path.name[:120]}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"
    )


@cache
def _machine() -> str:
    """A name of where process numbers count as they do here: this boot, this container.

    Machines that share a disk may share a host name, or nearly: a number that is nobody's here can
    be that of a process there, whose file is not to be taken away.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _remove_left_behind(folder: Path) -> None:
    """Remove what processes of this machine were writing here when they were killed."""
    pattern = re.compile(rf"\..+\.{_machine()}-(\d{{1,9}})-[0-9a-f]{{8}}\.tmp")
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".tmp")]
    for name in names:
        match = pattern.fullmatch(name)
        if match is not None and not _alive(int(match[1])):
            with contextlib.suppress(OSError):
                (folder / name).unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _takes_files(folder: Path) -> bool:
    """Whether files can be made in a folder that is there; in /proc, for one, they cannot."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def not_written(path: Path, error: OSError) -> InputError:
    """The one line that says why a file could not be written."""
    reason = error.strerror or type(error).__name__
    if isinstance(error, FileNotFoundError) and path.parent.is_dir() and _takes_files(path.parent):
        return InputError(
            f"{path} cannot be written: what was written of it is gone, did something else clear "
            "its folder?"
        )
    if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
        return InputError(f"{path} cannot be written: its folder is gone, was it deleted?")
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return InputError(f"{path} cannot be written ({reason}): something else has its name")
    return InputError(
        f"{path} cannot be written ({reason}): free some space, or give a folder that can be "
        "written"
    )
