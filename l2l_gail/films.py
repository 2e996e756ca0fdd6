"""Which policies lie in a run's folder, and whether a film in its folder ``videos`` shows them.

A run that is gone on with writes other policies under the names of those that were filmed. So a
film carries the digest of the file of its policy, as a comment in the GIF; of one without, of an
earlier version, the files' times decide.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from PIL import Image

from l2l_gail.files import open_regular

__all__ = [
    "MODELS",
    "NEAREST",
    "comment_on",
    "is_outdated",
    "policy_file",
    "snapshot",
    "video_file",
]

NEAREST = "nearest"
"""The policy of the evaluation whose states were nearest to the expert's."""

MODELS = {"last": "model.zip", NEAREST: "nearest.zip"}
"""Models of a run that hold the policy of a moment."""

_SAYS = b"policy sha256:"


def snapshot(run: Path, moment: str) -> Path:
    """Where a run keeps the policy of a moment as plain arrays."""
    return run / "policies" / f"{moment}.npz"


def policy_file(run: Path, moment: str) -> Path | None:
    """The file that the policy of a moment is read from; None where the run has none."""
    others = [run / MODELS[moment]] if moment in MODELS else []
    return next((path for path in (snapshot(run, moment), *others) if os.path.isfile(path)), None)


def video_file(run: Path, moment: str) -> Path:
    """Where the video of a run's policy lies, once it is recorded."""
    return run / "videos" / f"{moment}.gif"


def comment_on(policy: Path) -> bytes:
    """What a film of the policy in this file says of it: the file's digest.

    Raises:
        InputError: The file cannot be read.
    """
    with open_regular(policy) as file:
        return _SAYS + hashlib.sha256(file.read()).hexdigest().encode()


def is_outdated(run: Path, moment: str) -> bool:
    """Whether a run's film shows another policy than its folder holds now.

    A film that cannot be read is not: whoever shows it says what is wrong with it.

    Raises:
        InputError: The file of the policy cannot be read.
    """
    film, policy = video_file(run, moment), policy_file(run, moment)
    if policy is None or not os.path.isfile(film):
        return False
    try:
        with open_regular(film) as file, Image.open(file, formats=("GIF",)) as picture:
            comment = picture.info.get("comment", b"")
    except Exception:  # a damaged picture raises nearly anything
        return False
    if isinstance(comment, bytes) and comment.startswith(_SAYS):
        return comment != comment_on(policy)
    return os.stat(policy).st_mtime_ns > os.stat(film).st_mtime_ns
