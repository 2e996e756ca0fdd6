"""What the runs themselves have to show: adversarial images, and videos of their policies.

Of each method one run is shown, that whose final score is the median of its seeds.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from l2l_gail.comparison.boards import Board
from l2l_gail.comparison.digest import Picture
from l2l_gail.comparison.figures import new_figure
from l2l_gail.comparison.results import MethodResult
from l2l_gail.errors import InputError
from l2l_gail.runs import Run

__all__ = ["ADVERSARIAL_FILE", "adversarial_pictures", "median_run", "videos"]

ADVERSARIAL_FILE = "adversarial.npz"
"""A run's adversarial images: ``clean`` and ``perturbed`` (n, H, W, C) uint8; ``labels``,
``before`` and ``after`` (n,), the true class and the classifier's; ``classes``, their names."""

_IMAGES = 4  # side by side, with letters that can be read in a card
_RECORDING_S = 10.0  # for all videos of a comparison together


def median_run(method: MethodResult) -> Run:
    """The run whose final score is the median over seeds, the lower one of two."""
    if not method.finished:
        return method.runs[0]
    scores = method.numbers("eval_returns" if method.kind == "gail" else "pgd20")
    return method.runs[int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])]


def adversarial_pictures(board: Board) -> list[Picture]:
    """Adversarial images of each method: with classes where its run noted them."""
    found = []
    for method in board.methods:
        folder = median_run(method).folder.path
        tag = f"7 adversarial images/{method.method}"
        figure = _draw_adversarial(folder / ADVERSARIAL_FILE, method.method)
        if figure is not None:
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=160)
            found.append(_picture(tag, file.getvalue()))
        elif (folder / "adversarial.png").is_file():
            found.append(_picture(tag, (folder / "adversarial.png").read_bytes()))
    return found


def videos(boards: Sequence[Board], *, record: bool) -> tuple[dict[str, list[Picture]], list[str]]:
    """Videos of the first, the middle and the last policy of each method.

    Args:
        boards: GAIL's boards; others have none.
        record: Record those that are missing, into the folders of their runs, for some seconds.

    Returns:
        Pictures by the board's name, and a sentence on each video that could not be made.
    """
    found: dict[str, list[Picture]] = {}
    notes: list[str] = []
    end = time.monotonic() + _RECORDING_S
    for board in boards:
        for method in board.methods if board.section.kind == "gail" else ():
            run = median_run(method).folder.path
            # "module:Id" imports a module, which a comparison of anybody's runs must not.
            safe = ":" not in str(method.settings.get("env", ""))
            for place, moment in enumerate(("first", "middle", "last")):
                path = run / "videos" / f"{moment}.gif"
                if record and safe and not path.is_file() and _has_policy(run, moment):
                    if time.monotonic() > end:
                        notes.append(f"Not recorded yet: python -m l2l_gail.play {run}")
                        break
                    try:
                        _record(run, moment)
                    except InputError as error:
                        notes.append(f"No video of {run}: {error}")
                        break
                if path.is_file():
                    tag = f"8 policies/{method.method}, {place + 1} {moment}"
                    found.setdefault(board.name, []).append(_picture(tag, path.read_bytes()))
    return found, notes


def _has_policy(run: Path, moment: str) -> bool:
    from l2l_gail.snapshots import has_policy  # reads runs of GAIL alone, through SB3

    return has_policy(run, moment)


def _record(run: Path, moment: str) -> None:
    from l2l_gail.play import record

    record(run, moment)


def _picture(tag: str, data: bytes) -> Picture:
    with Image.open(io.BytesIO(data)) as image:
        return Picture(tag, data, image.size)


def _draw_adversarial(path: Path, name: str) -> Figure | None:
    """Clean images, perturbations and perturbed images, with classes; None without the file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key][:_IMAGES] for key in file if key != "classes"}
            classes = [str(one) for one in file["classes"]]
        clean, perturbed = arrays["clean"].astype(float), arrays["perturbed"].astype(float)
        labels, before, after = (arrays[key] for key in ("labels", "before", "after"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):  # not there, or of something else
        return None
    rows = (clean, np.clip(128 + 10 * (perturbed - clean), 0, 255), perturbed)
    figure, grid = new_figure(3, len(clean), (1.2 * len(clean) + 0.4, 4.8))
    for place in range(len(clean)):
        for row, images in enumerate(rows):
            axes = grid[row][place]
            image = images[place].astype(np.uint8)
            axes.imshow(image.squeeze(), cmap="gray", interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
        truth = classes[labels[place]]
        grid[0][place].set_title(f"is: {truth}", fontsize="medium")
        for row, seen in ((0, before[place]), (2, after[place])):
            colour = "#2e7d32" if seen == labels[place] else "#c62828"
            grid[row][place].set_xlabel(f"seen: {classes[seen]}", color=colour, fontsize="medium")
    for row, label in enumerate(("clean", "perturbation x10", "perturbed")):
        grid[row][0].set_ylabel(label)
    figure.suptitle(f"{name}: test images, clean and attacked")
    return figure
