"""Run folders: where a run lies, and how its files are written.

One run is one folder, ``<out>/<group>/<method>/seed<k>/``: the group is an environment
(``Hopper-v5``) or a data set (``cifar10``).  It holds ``config.json`` from the start, a
``checkpoint.pt`` and the one before it, ``checkpoint-previous.pt``, while it trains, and
``summary.json`` once it is done: a run is *finished* when it has a summary.  Every file is replaced
in one step, so a process that is killed at any moment leaves either the old file or the new one,
never half of one.  :mod:`l2l_gail.finding_runs` finds the runs below a folder.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from l2l_gail.checkpoints import checkpoint_exists
from l2l_gail.errors import InputError, TakenError
from l2l_gail.files import atomic_write, home_expanded, read_json
from l2l_gail.files.json_text import to_json
from l2l_gail.files.locks import locked
from l2l_gail.version import __version__

__all__ = [
    "SEED_FOLDER",
    "RunFolder",
    "check_seed",
    "empty_ones_removed",
    "run_folders",
    "versions",
]

SEED_FOLDER = re.compile(r"seed(?P<seed>\d+)(?:-(?P<attempt>\d+))?")
_PACKAGES = ("numpy", "gymnasium", "stable_baselines3", "mujoco")


def check_seed(seed: int) -> None:
    """Refuse a seed that some random generator in use would not take.

    Raises:
        InputError: Unless ``0 <= seed < 2**31``.
    """
    if not 0 <= seed < 2**31:
        raise InputError(f"the --seed is {seed}: give a whole number from 0 to 2147483647")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result, those that are installed."""
    # torch by its own word: the wheel's metadata drops the build ("+cpu", "+cu130").
    found = {
        "python": platform.python_version(),
        "l2l_gail": __version__,
        "torch": torch.__version__,
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, ``<out>/<group>/<method>/seed<k>[-2, -3 ...]/``.

    Attributes:
        path: The folder.
        group: Environment id or data set; characters that no folder name should have are ``-``.
        method: Training method, for instance ``l2l_gail``.
        seed: Training seed.
    """

    path: Path
    group: str
    method: str
    seed: int

    @classmethod
    def create(
        cls, out: str | Path, group: str, method: str, seed: int, *, resume: bool = False
    ) -> RunFolder:
        """Make the folder of a new run, or find the one to continue.

        An existing run is never touched: a second run of a seed gets the suffix ``-2``, a third
        ``-3``.

        Args:
            out: Root of all runs.
            group: Environment id or data set.
            method: Training method.
            seed: Training seed, at least 0.
            resume: Return the newest folder of this seed instead; a fresh one if there is none.

        Returns:
            The folder, which exists.

        Raises:
            InputError: An empty group or method, a negative seed, or a root that is not a folder
                or cannot be written.
        """
        check_seed(seed)
        parent = cls.group_path(out, group, method)
        _check_encoding(out, parent)
        group, method = parent.parent.name, parent.name
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(
                f"{out} is not a folder for runs (a file is in the way of {parent}): "
                "give another --out"
            ) from None
        except OSError as error:
            raise _unwritable(parent, error) from None
        attempts = _attempts(parent, seed)
        newest = cls.newest(out, group, method, seed) if resume else None
        if newest:
            with newest.owned():  # by another process, or in a place where nothing can be written
                return newest
        attempt = max(attempts, default=0) + 1
        while True:
            path = parent / (f"seed{seed}" if attempt == 1 else f"seed{seed}-{attempt}")
            try:
                path.mkdir(parents=True)  # a run that failed may have taken its empty parent along
            except FileExistsError:  # another process took this name in the meantime
                attempt += 1
            except OSError as error:
                raise _unwritable(parent, error) from None
            else:
                return cls(path, group, method, seed)

    @classmethod
    def newest(cls, out: str | Path, group: str, method: str, seed: int) -> RunFolder | None:
        """Return the newest folder of a seed; ``None`` if there is none.

        One in which nothing was begun, of a process that was killed as it began or that has not
        come so far, is passed over where there is another.

        Raises:
            InputError: An empty group or method.
        """
        parent = cls.group_path(out, group, method)
        folders = [
            cls(path, parent.parent.name, parent.name, seed)
            for _, path in sorted(_attempts(parent, seed).items(), reverse=True)
        ]
        return next((folder for folder in folders if folder.begun), next(iter(folders), None))

    @staticmethod
    def group_path(out: str | Path, group: str, method: str) -> Path:
        """Return the folder of all runs of a method; it need not exist.

        Raises:
            InputError: An empty group or method.
        """
        root = home_expanded(out)
        return root / _folder_name(group, "group") / _folder_name(method, "method")

    @classmethod
    def of(cls, path: Path) -> RunFolder:
        """Return the run that lies in a folder.

        Raises:
            InputError: The folder's name is not that of a run.
        """
        match = SEED_FOLDER.fullmatch(path.name)
        if match is None:
            raise InputError(f"{path} is no run: its name should be seed<k>")
        return cls(path, path.parent.parent.name, path.parent.name, int(match["seed"]))

    @contextlib.contextmanager
    def owned(self, *, new: bool = False) -> Iterator[None]:
        """Have the folder to oneself inside: no other process trains in it.

        The lock is the system's and ends with the process, however that ends. A folder that an
        error leaves as empty as it was made is taken away, with those around it that are empty.

        Args:
            new: A run is to begin in it: nothing may have been begun there since it was made.

        Raises:
            TakenError: Another process has it.
            InputError: Another process has begun what is not to be trained over, or the folder
                cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.lock))
            except BlockingIOError:
                raise TakenError(
                    f"{self.path} is being trained by another process: wait for it, or leave "
                    "--resume out for a run of its own"
                ) from None
            except OSError as error:
                raise _unwritable(self.path, error) from None
            if new and self.begun:
                raise InputError(
                    f"{self.path} was made for this run, and another process has begun one in it "
                    "since: give the same command again for a run of its own, or with --resume to "
                    "go on with that one"
                )
            try:
                yield
            except BaseException:
                self.remove_if_empty()
                raise

    def remove_if_empty(self) -> None:
        """Take the folder away if nothing was begun in it, with those around it that are empty."""
        with contextlib.suppress(OSError):  # one that is not empty stays, and so do those around it
            if os.listdir(self.path) == [self.lock.name]:
                os.unlink(self.lock)
            for folder in (self.path, *self.path.parents[:2]):
                os.rmdir(folder)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's path; the file exists once a checkpoint has been saved."""
        return self.path / "checkpoint.pt"

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to go on from, be it the one before the last."""
        return checkpoint_exists(self.checkpoint)

    @property
    def begun(self) -> bool:
        """Whether a run has written anything of itself: settings, a checkpoint, a summary."""
        files = (self.path / "config.json", self.summary)
        return any(os.path.lexists(file) for file in files) or self.has_checkpoint

    @property
    def lock(self) -> Path:
        """The path of what the process that trains in it holds, see :meth:`owned`."""
        return self.path / ".lock"

    @property
    def summary(self) -> Path:
        """The summary's path; the file exists once the run is finished."""
        return self.path / "summary.json"

    @property
    def finished(self) -> bool:
        """Whether the run has written its summary."""
        return os.path.isfile(self.summary)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write ``config.json``, atomically.

        Args:
            config: Numbers, strings, paths and nested containers of them.

        Raises:
            InputError: A value is NaN or infinite.
        """
        atomic_write(self.path / "config.json", to_json(config, "config.json"))

    def read_config(self) -> dict[str, Any]:
        """Read ``config.json``.

        Raises:
            InputError: The file is missing or damaged.
        """
        return _read_json(self.path / "config.json")

    def write_summary(self, **fields: Any) -> None:
        """Write ``summary.json``, atomically; this is what makes the run a finished one.

        Args:
            **fields: What the run reports; ``versions`` is added if it is not among them.

        Raises:
            InputError: A value is NaN or infinite.
        """
        fields.setdefault("versions", versions())
        atomic_write(self.summary, to_json(fields, "summary.json"))

    def read_summary(self) -> dict[str, Any]:
        """Read ``summary.json``.

        Raises:
            InputError: The file is missing or damaged.
        """
        return _read_json(self.summary)

    def only_result_left(self, key: str, wanted: int) -> bool:
        """Return whether the run is finished and its checkpoint gone: there is nothing to do.

        Args:
            key: Where its summary says how far it has come.
            wanted: How far it is to come.

        Raises:
            InputError: It is to come further, and cannot go on.
        """
        if not self.finished or self.has_checkpoint:
            return False
        done = self.read_summary().get(key)
        if not isinstance(done, int) or done < wanted:
            raise InputError(
                f"{self.path} is finished after {done} {key.replace('_', ' ')} and its checkpoint "
                "is gone, so that it cannot go on; leave --resume out for a run of its own"
            )
        return True


def run_folders(parent: Path) -> list[Path]:
    """Return the folders of all runs of a method, finished or not; none if there is no folder."""
    if not os.path.isdir(parent):
        return []
    return sorted(path for path in _inside(parent) if SEED_FOLDER.fullmatch(path.name))


@contextlib.contextmanager
def empty_ones_removed(folders: Sequence[RunFolder]) -> Iterator[None]:
    """Take away afterwards, however that ends, the folders in which nothing was begun."""
    try:
        yield
    finally:
        for folder in folders:
            folder.remove_if_empty()


def _check_encoding(out: str | Path, folder: Path) -> None:
    """Refuse a place whose name is no text: TensorBoard writes its names as UTF-8."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        way_out = f"--out {str(out)!r} is no text in UTF-8: give another one"
        with contextlib.suppress(UnicodeDecodeError):
            os.fsencode(folder).decode("utf-8")  # as in a locale that knows no more than ASCII
            way_out = (
                f"--out {str(out)!r} is no text in this locale, though it is UTF-8: set "
                "LC_ALL=C.UTF-8, or give another one"
            )
        raise InputError(way_out) from None


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{folder} cannot be read ({reason}): give another --out") from None


def _unwritable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or type(error).__name__
    return InputError(f"cannot write in {path} ({reason}): give another --out")


def _attempts(parent: Path, seed: int) -> dict[int, Path]:
    """The existing folders of a seed, by their number (``seed0`` is 1, ``seed0-2`` is 2)."""
    found = {}
    for path in _inside(parent) if os.path.isdir(parent) else ():
        match = SEED_FOLDER.fullmatch(path.name)
        if match is not None and int(match["seed"]) == seed:
            found[int(match["attempt"] or 1)] = path
    return found


def _folder_name(name: str, what: str) -> str:
    """A name that is one folder: ``module:Env-v0`` and ``space/Env-v0`` become one with dashes."""
    safe = re.sub(r"[^\w.+=-]+", "-", name).strip("-")
    if not safe.strip("."):
        raise InputError(f"the {what} {name!r} gives no folder name: use letters and digits")
    return safe


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a run."""
    return read_json(
        path,
        way_out="move its folder away, or run that seed again without --resume",
        missing=f"{path} is missing: is this the folder of a run?",
    )
