from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from l2l_gail.comparison import find
from l2l_gail.comparison.board_events import EventFile, next_name
from l2l_gail.comparison.scalars import read_scalars
from l2l_gail.errors import InputError
from l2l_gail.runs import RunFolder
from tests.comparison.support import events, gail_run, log, methods_of, unfinished_run


def test_scalars_are_read_as_tensorboard_reads_them(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(20):
            writer.add_scalar("disc/entropy", 0.1 * step, step)
            writer.add_scalar("not/asked/for", 1.0, step)
            writer.add_scalar("new/style", -step, step, new_style=True)
    found = read_scalars(tmp_path, ("disc/entropy", "new/style"))
    assert set(found) == {"disc/entropy", "new/style"}
    theirs = events(tmp_path).Scalars("disc/entropy")
    np.testing.assert_allclose(found["disc/entropy"][0], [event.step for event in theirs])
    np.testing.assert_allclose(found["disc/entropy"][1], [event.value for event in theirs])
    np.testing.assert_allclose(found["new/style"][1], -np.arange(20))


def test_what_a_resumed_run_forgets_is_forgotten(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in (1, 2, 3, 4):
            writer.add_scalar("a", step, step)
    with SummaryWriter(str(tmp_path), purge_step=3, filename_suffix=".later") as writer:
        writer.add_scalar("a", 30, 3)
    (later,) = tmp_path.glob("*.later")
    later.rename(tmp_path / "events.out.tfevents.9999999999.later")  # not in the same second
    steps, values = read_scalars(tmp_path, ("a",))["a"]
    assert steps.tolist() == [1, 2, 3]
    assert values.tolist() == [1, 2, 30]


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_damaged_end_costs_only_itself(tmp_path: Path, damage: str) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(5):
            writer.add_scalar("a", 1.0, step)
    path = next(tmp_path.iterdir())
    data = path.read_bytes()
    path.write_bytes(data[:-7] if damage == "cut" else data + b"\x05" + 30 * b"\xff")
    steps, _ = read_scalars(tmp_path, ("a",))["a"]
    assert steps.tolist() == ([0, 1, 2, 3] if damage == "cut" else [0, 1, 2, 3, 4])


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("a", float("nan"), 0)
        writer.add_scalar("a", 2.0, 1)
        writer.add_scalar("b", float("inf"), 0)
    found = read_scalars(tmp_path, ("a", "b"))
    assert set(found) == {"a"}
    assert found["a"][0].tolist() == [1]


def test_an_event_file_is_one_tensorboard_reads(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "run", 1000.0, "1")
    file.scalar("a", 3, 0.5)
    file.close()
    read = events(tmp_path / "run")
    assert read.FirstEventTimestamp() == 1000.0
    assert [(one.step, one.value) for one in read.Scalars("a")] == [(3, 0.5)]


def test_a_later_event_file_replaces_an_earlier_one_in_an_open_tensorboard(tmp_path: Path) -> None:
    for name, value in (("1", 0.25), ("2", 0.75)):
        file = EventFile(tmp_path, 1000.0, name)
        file.scalar("a", 3, value)
        file.close()
    assert [(one.step, one.value) for one in events(tmp_path).Scalars("a")] == [(3, 0.75)]


def test_a_comparison_by_a_clock_that_is_behind_replaces_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for clock, value in ((2 * 10**18, 0.25), (10**18, 0.75)):
        monkeypatch.setattr("l2l_gail.comparison.board_events.time.time_ns", clock.__int__)
        file = EventFile(tmp_path / "run", 1000.0, next_name(tmp_path))
        file.scalar("a", 3, value)
        file.close()
    assert [(one.step, one.value) for one in events(tmp_path / "run").Scalars("a")] == [(3, 0.75)]


def test_runs_behind_links_are_found(tmp_path: Path) -> None:
    for seed in (0, 1):
        gail_run(tmp_path / "r", "gail", seed, 1000)
    some = tmp_path / "some" / "Hopper-v5" / "gail"
    some.mkdir(parents=True)
    (some / "seed1").symlink_to(tmp_path / "r" / "Hopper-v5" / "gail" / "seed1")
    gail_run(tmp_path / "some", "gail", 0, 1000)
    assert methods_of(tmp_path / "some") == {"gail": 2}
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "Hopper-v5").symlink_to(tmp_path / "r" / "Hopper-v5")
    assert methods_of(tmp_path / "all") == {"gail": 2}


def test_a_link_back_up_ends(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    (tmp_path / "Hopper-v5" / "again").symlink_to(tmp_path)
    assert methods_of(tmp_path) == {"gail": 1}


def test_a_run_that_measured_nothing_is_left_out_and_said(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    empty = RunFolder.create(tmp_path, "Hopper-v5", "gail", 1)
    empty.write_config({"seed": 1})
    found = find(tmp_path)
    assert not found.unfinished
    assert found.notes == [f"Left out: {empty.path} has settings but no measurement yet."]


def test_an_unfinished_second_attempt_leaves_the_finished_one(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    second = unfinished_run(tmp_path, "gail", 0, [1.0])
    found = find(tmp_path)
    assert [run.folder.path.name for run in found.finished] == ["seed0"]
    assert found.notes == [
        f"Left out: {second.path} is unfinished, seed0 with equal settings counts."
    ]


def test_an_unfinished_first_attempt_is_no_longer_told(tmp_path: Path) -> None:
    unfinished_run(tmp_path, "gail", 0, [1.0])
    gail_run(tmp_path, "gail", 0, 1000)
    found = find(tmp_path)
    assert [run.folder.path.name for run in found.finished] == ["seed0-2"]
    assert (found.unfinished, found.notes) == ([], [])


def test_an_unfinished_image_run_is_read_by_epochs(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "cifar10", "pgd", 0)
    folder.write_config({"epochs": 5, "seed": 0})
    log(folder, {"held_out/clean": [0.3, 0.4], "held_out/pgd20": [0.1, 0.2]})
    (one,) = find(tmp_path).unfinished
    assert one.going
    assert one.run.summary["curve"]["pgd20"] == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_damaged_summary_is_one_line(tmp_path: Path, content: str) -> None:
    folder = gail_run(tmp_path, "gail", 0, 1000)
    folder.summary.write_text(content)
    with pytest.raises(InputError, match=r"seed0/summary\.json") as caught:
        find(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["summary.json", "config.json"])
@pytest.mark.parametrize("what", ["pipe", "device", "folder", "dead link"])
def test_what_is_no_file_in_a_files_place_is_left_out_and_said(
    file: str, what: str, tmp_path: Path
) -> None:
    gail_run(tmp_path, "gail", 0, 1000.0)
    odd = unfinished_run(tmp_path, "gail", 1, [100.0, 200.0])
    odd.write_summary(kind="gail")
    place = odd.path / file
    place.unlink()
    if what == "pipe":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero" if what == "device" else "nowhere")
    found = find(tmp_path)
    assert [run.folder.seed for run in found.finished] == [0]
    assert found.unfinished == []
    (note,) = found.notes
    assert note.startswith(f"Left out: {place} is ")


def test_a_run_that_is_deleted_while_it_is_read_has_logged_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(folder: Path, pattern: str) -> Any:
        raise FileNotFoundError(folder)

    monkeypatch.setattr(Path, "glob", gone)
    assert read_scalars(tmp_path, ("a",)) == {}


def test_a_pipe_among_the_event_files_is_not_waited_for(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("a", 1.0, 0)
    os.mkfifo(tmp_path / "events.out.tfevents.9999999999.pipe")
    assert set(read_scalars(tmp_path, ("a",))) == {"a"}
