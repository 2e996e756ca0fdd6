"""The files of a recording: their names, whether they can be written, and who is at it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from l2l_gail.demos.embedded import POLICY_SUFFIX
from l2l_gail.errors import InputError
from l2l_gail.files import check_can_be_written
from l2l_gail.files.locks import holder_of, locked
from l2l_gail.recording.partial import SUFFIX as PARTIAL_SUFFIX

__all__ = ["RecordFiles"]


@dataclass(frozen=True)
class RecordFiles:
    """The files that one recording writes.

    Attributes:
        demos: The demonstrations, ``<name>.npz``.
    """

    demos: Path

    @property
    def provenance(self) -> Path:
        """How they were made."""
        return self.demos.with_suffix(".json")

    @property
    def policy(self) -> Path:
        """The policy that was recorded, where it is a plain network."""
        return self.demos.with_name(self.demos.stem + POLICY_SUFFIX)

    @property
    def partial(self) -> Path:
        """An expert's training that was interrupted."""
        return self.demos.with_name(self.demos.stem + PARTIAL_SUFFIX)

    @contextlib.contextmanager
    def alone(self, *, trains: bool, resume: bool) -> Iterator[None]:
        """Have these names to oneself inside, once all of them can be written.

        Args:
            trains: An expert is trained first.
            resume: A training that was interrupted is gone on with.

        Raises:
            InputError: A file is there or cannot be written, or another process is recording it.
        """
        out = self.demos
        if out.suffix != ".npz":
            raise InputError(f"--out {out} does not end in .npz: give a name that does")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {out}: its folder cannot be made ({error.strerror})") from None
        lock = out.with_name(f".{out.stem}.lock")
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(lock, named=True, remove=True))
            except BlockingIOError:
                raise InputError(
                    f"{out} is being recorded by another process ({holder_of(lock)}): wait for it, "
                    "or give another --out"
                ) from None
            except OSError as error:
                raise InputError(
                    f"--out {out} cannot be written ({error.strerror}): give another one"
                ) from None
            self._check(trains, resume)
            yield

    @contextlib.contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Take away what was written inside where the rest cannot be.

        For an expert whose training is kept: it can be recorded again, and half of its files would
        be in the way of that.
        """
        try:
            yield
        except BaseException:
            for path in self._written:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise

    @property
    def _written(self) -> tuple[Path, Path, Path]:
        return self.demos, self.provenance, self.policy

    def _check(self, trains: bool, resume: bool) -> None:
        for path in self._written:
            if os.path.lexists(path):
                kept = trains and os.path.lexists(self.partial)
                raise InputError(
                    f"{path} exists and is not overwritten: give another --out"
                    + f", with --model {self.partial}, which keeps a trained policy" * kept
                )
            check_can_be_written(path)
        if not trains:
            return
        if not os.path.lexists(self.partial):
            check_can_be_written(self.partial)
        elif not resume:
            raise InputError(
                f"{self.partial} is of a training that was interrupted: add --resume to go on with "
                "it, or remove it"
            )
