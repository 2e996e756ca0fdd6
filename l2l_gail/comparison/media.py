"""What the runs themselves have to show: adversarial images, and videos of their policies.

Of each method one run is shown, that whose final score is the median of its seeds.
"""

from __future__ import annotations

import io
import os
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from l2l_gail.comparison.board_events import Picture
from l2l_gail.comparison.boards import Board
from l2l_gail.comparison.figures import new_figure
from l2l_gail.comparison.labels import as_drawn
from l2l_gail.comparison.results import MethodResult
from l2l_gail.demos.npz import read_arrays
from l2l_gail.errors import InputError, printable
from l2l_gail.files import open_regular
from l2l_gail.films import is_outdated, policy_file, video_file
from l2l_gail.finding_runs import Run

__all__ = ["ADVERSARIAL_FILE", "adversarial_pictures", "median_run", "videos"]

ADVERSARIAL_FILE = "adversarial.npz"
"""A run's adversarial images: ``clean`` and ``perturbed`` (n, H, W, C) uint8; ``labels``,
``before`` and ``after`` (n,), the true class and the classifier's; ``classes``, their names."""

_IMAGES = 4  # side by side, with letters that can be read in a card
_RECORDING_S = 3.0  # for all videos of a comparison together
_OF_FEW_S = 12.0  # the same, where there are
_FEW = 12  # methods or less: nobody should have to compare twice to see them
_LARGEST = 64 << 20  # bytes of a picture or video: all of them go into one page


def median_run(method: MethodResult) -> Run:
    """The run whose final score is the median over seeds, the lower one of two."""
    if not method.finished:
        return method.runs[0]
    scores = method.numbers("eval_returns" if method.kind == "gail" else "pgd20")
    return method.runs[int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])]


def adversarial_pictures(board: Board) -> tuple[list[Picture], list[str]]:
    """Adversarial images of each method: with classes where its run noted them.

    Returns:
        Pictures, and a sentence on each file that could not be shown.
    """
    found: list[Picture] = []
    notes: list[str] = []
    for method in board.methods:
        folder = median_run(method).folder.path
        tag = f"7 adversarial images/{method.method}"
        arrays, picture = folder / ADVERSARIAL_FILE, folder / "adversarial.png"
        for path in (arrays, picture):  # the second stands in for the first
            if not os.path.lexists(path):
                continue
            try:
                drawn = _draw_adversarial(path, method.method) if path == arrays else _read(path)
            except InputError as error:
                notes.append(f"Left out: {error}.")
            else:
                found.append(_picture(tag, drawn))
                break
    return found, notes


def videos(boards: Sequence[Board], *, record: bool) -> tuple[dict[str, list[Picture]], list[str]]:
    """Videos of the first, the middle and the last policy of each method.

    Args:
        boards: GAIL's boards; others have none.
        record: Record those that are missing, or show a policy of before the run was gone on with,
            into the folders of their runs, for some seconds.

    Returns:
        Pictures by the board's name, and a sentence on each video that could not be made.
    """
    found: dict[str, list[Picture]] = {}
    notes: list[str] = []
    left: list[Path] = []
    games = [board for board in boards if board.section.kind == "gail"]
    methods = sum(len(board.methods) for board in games)
    seconds = _OF_FEW_S if methods <= _FEW else _RECORDING_S
    end = time.monotonic() + seconds if record else None
    for board in games:
        for method in board.methods:
            for picture in _videos_of(method, end, notes, left):
                found.setdefault(board.name, []).append(picture)
    if left:
        notes.append(
            f"Not all policies are filmed yet: {len(left)} of the runs are left for later "
            f"comparisons, or now: python -m l2l_gail.play {left[0]}"
        )
    return found, notes


def _videos_of(
    method: MethodResult, end: float | None, notes: list[str], left: list[Path]
) -> Iterator[Picture]:
    """The videos of a method.

    Args:
        method: Of GAIL.
        end: The monotonic time up to which videos are recorded; ``None`` if they are not.
        notes: Takes a sentence on each that could not be made.
        left: Takes the run for whose videos there is no time left.
    """
    run = median_run(method).folder.path
    if ":" in str(method.settings.get("env", "")):
        end = None  # "module:Id" imports a module, which a comparison of anybody's runs must not
    for number, moment in enumerate(("first", "middle", "last"), start=1):
        path = video_file(run, moment)
        try:
            wanted = _is_to_be_filmed(run, moment)
            if wanted and end is not None:
                if time.monotonic() > end:
                    left.append(run)
                    return
                _record(run, moment)
        except InputError as error:
            notes.append(f"No video of {run}: {error}")
            return
        if not os.path.lexists(path):
            continue
        if wanted and end is None:
            notes.append(
                f"Left out: {path} shows the policy of before the run was gone on with; record it "
                f"anew: python -m l2l_gail.play {run}"
            )
            continue
        try:
            video = _picture(f"8 policies/{method.method}, {number} {moment}", _read(path))
        except InputError as error:
            notes.append(f"Left out: {error}.")
        else:
            yield video


def _is_to_be_filmed(run: Path, moment: str) -> bool:
    """Whether a run has a policy of this moment, and no film of it.

    Raises:
        InputError: The file of the policy cannot be read.
    """
    if os.path.lexists(video_file(run, moment)):
        return is_outdated(run, moment)
    return policy_file(run, moment) is not None


def _record(run: Path, moment: str) -> None:
    from l2l_gail.play import record  # through SB3, which only runs of GAIL need

    record(run, moment)


def _read(path: Path) -> bytes:
    """A picture's file.

    Raises:
        InputError: It cannot be read, is too large for a page, or no picture.
    """
    with open_regular(path) as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise InputError(f"{path} is larger than {_LARGEST >> 20} MiB, too large for a page")
    try:
        # Measured, not decoded: that is left to whoever looks at the page.
        with Image.open(io.BytesIO(data), formats=("PNG", "GIF")):
            return data
    except Exception as error:  # a damaged picture raises nearly anything
        raise InputError(f"{path} is no PNG or GIF, or damaged ({type(error).__name__})") from None


def _picture(tag: str, data: bytes) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        return Picture(tag, data, image.size)


def _draw_adversarial(path: Path, name: str) -> bytes:
    """Clean images, perturbations and perturbed images, with classes, as a PNG.

    Raises:
        InputError: The file is damaged, or of something else.
    """
    images = ("clean", "perturbed")
    classes_of = ("labels", "before", "after")
    arrays = read_arrays(path, required=(*images, *classes_of, "classes"))
    classes = [printable(str(one), limit=20) for one in arrays.pop("classes").flat]
    shown = {key: array[:_IMAGES] for key, array in arrays.items() if array.ndim}
    if not (
        all(_are_pixels(shown.get(key)) for key in images)
        and shown["clean"].shape == shown["perturbed"].shape
        and all(_are_classes(shown.get(key), len(shown["clean"]), classes) for key in classes_of)
    ):
        raise InputError(f"{path} holds no images with their classes, or damaged ones")
    clean, perturbed = shown["clean"].astype(float), shown["perturbed"].astype(float)
    labels, before, after = (shown[key].tolist() for key in classes_of)
    rows = (clean, np.clip(128 + 10 * (perturbed - clean), 0, 255), perturbed)
    figure, grid = new_figure(3, len(clean), (1.2 * len(clean) + 0.4, 4.8))
    for place in range(len(clean)):
        for row, row_of_images in enumerate(rows):
            axes = grid[row][place]
            image = row_of_images[place].astype(np.uint8)
            axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray",
                        interpolation="nearest")  # fmt: skip
            axes.set_xticks([])
            axes.set_yticks([])
        truth = classes[labels[place]]
        grid[0][place].set_title(as_drawn(f"is: {truth}"), fontsize="medium")
        for row, seen in ((0, before[place]), (2, after[place])):
            colour = "#2e7d32" if seen == labels[place] else "#c62828"
            grid[row][place].set_xlabel(
                as_drawn(f"seen: {classes[seen]}"), color=colour, fontsize="medium"
            )
    for row, label in enumerate(("clean", "perturbation x10", "perturbed")):
        grid[row][0].set_ylabel(label)
    title = textwrap.fill(f"{name}: test images, clean and attacked", 12 * len(clean) + 4)
    figure.suptitle(as_drawn(title), fontsize="medium")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160)
    return file.getvalue()


def _are_pixels(array: np.ndarray | None) -> bool:
    """Whether these are images ``(n, H, W, C)`` that can be drawn."""
    return (
        array is not None
        and array.dtype == np.uint8
        and array.ndim == 4
        and 0 < array.size <= 1 << 24
        and array.shape[3] in (1, 3)
    )


def _are_classes(array: np.ndarray | None, number: int, classes: list[str]) -> bool:
    """Whether these are so many indices of classes, ``(n,)``."""
    return (
        array is not None
        and array.dtype.kind in "iu"
        and array.shape == (number,)
        and bool(((array >= 0) & (array < len(classes))).all())
    )
