"""A folder of many methods: more boards than anybody leafs through in pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from l2l_gail.compare import compare
from l2l_gail.comparison import boards_of, media
from l2l_gail.comparison.write import _BOARDS_DRAWN as DRAWN
from l2l_gail.finding_runs import OVERVIEW
from tests.comparison.support import events, gail_run, sections_of

METHODS = 34

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(METHODS):
        gail_run(folder, f"m{number}", 0, 1000.0 + number)
    compare(folder)
    return folder


def images(root: Path) -> list[list[str]]:
    """Tags of the pictures of each board, in the order of the boards."""
    boards = boards_of(sections_of(root)["Hopper-v5"])
    assert len(boards) == 9
    return [
        events(root / "comparison" / board.name / OVERVIEW).Tags()["images"] for board in boards
    ]


def test_every_method_has_its_curve_on_a_board(root: Path) -> None:
    runs = {path.name for path in (root / "comparison").glob("Hopper-v5-*of9/*")}
    assert {f"m{number}" for number in range(METHODS)} <= runs


def test_curves_are_drawn_for_the_first_boards_and_scores_of_all_on_the_first(root: Path) -> None:
    found = images(root)
    curves = [any(tag.startswith("1 true return") for tag in tags) for tags in found]
    assert curves == [True] * DRAWN + [False] * (len(found) - DRAWN)
    scores = [any(tag.startswith("5 scores") for tag in tags) for tags in found]
    assert scores == [True] + [False] * (len(found) - 1)


def test_it_is_said_where_the_others_are(root: Path) -> None:
    said = f"9 boards of methods. Pictures are drawn for the first {DRAWN}"
    assert said in (root / "comparison" / "summary.md").read_text(encoding="utf-8")
    assert said in (root / "comparison" / "index.html").read_text(encoding="utf-8")
    with Image.open(root / "comparison" / "comparison.png") as picture:
        assert picture.height < 480 * (DRAWN + 1)


def test_a_row_of_every_method_stands_in_the_tables(root: Path) -> None:
    page = (root / "comparison" / "summary.md").read_text(encoding="utf-8")
    results = page.split("### ")[1]
    assert all(f"| m{number} |" in results for number in range(METHODS))


def test_videos_that_there_was_no_time_for_are_one_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "_RECORDING_S", -1.0)
    monkeypatch.setattr(media, "_is_to_be_filmed", lambda run, moment: True)
    found, notes = media.videos(boards_of(sections_of(root)["Hopper-v5"]), record=True)
    assert not found
    (note,) = notes
    assert f"{METHODS} of the runs are left for later comparisons" in note
    assert "python -m l2l_gail.play" in note


def test_the_document_says_what_was_measured() -> None:
    root = Path(__file__).parents[2]
    record = json.loads((root / "benchmarks/results/comparison.json").read_text(encoding="utf-8"))
    document = (root / "docs/performance.md").read_text(encoding="utf-8")
    for row in record["rows"]:
        assert row["methods"] * row["seeds"] == 200
        times = f"{row['first_s']} | {row['again_s']} | {row['tensorboard_s']}"
        assert f"| {row['methods']} x {row['seeds']} | {times} |" in document
        assert max(row["first_s"], row["again_s"]) < 20
