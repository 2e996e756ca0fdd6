from __future__ import annotations

import shutil
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from l2l_gail.event_files import continued_writer


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def write(folder: Path) -> None:
    with SummaryWriter(str(folder)) as writer:
        for step in (10, 20, 30):
            writer.add_scalar("loss", step / 10, step, walltime=100.0 + step)
        for epoch in (1, 2, 3):
            writer.add_scalar("accuracy", epoch / 4, epoch)


def test_what_was_written_after_the_checkpoint_is_forgotten_tag_by_tag(tmp_path: Path) -> None:
    write(tmp_path)
    limits = {"loss": 20, "accuracy": 2}
    with continued_writer(tmp_path, lambda tag, step: step <= limits[tag]) as writer:
        writer.add_scalar("loss", 9.0, 30)
        writer.add_scalar("accuracy", 1.0, 3)
    assert points(tmp_path) == {
        "loss": [(10, 1.0), (20, 2.0), (30, 9.0)],
        "accuracy": [(1, 0.25), (2, 0.5), (3, 1.0)],
    }
    assert len(list(tmp_path.iterdir())) == 1


def test_a_copying_that_was_cut_off_leaves_no_point_twice(tmp_path: Path) -> None:
    write(tmp_path)
    (file,) = tmp_path.iterdir()
    shutil.copy(file, tmp_path / f"{file.name}.1")  # copied, and the old one not yet removed
    once = points(file)
    continued_writer(tmp_path, lambda tag, step: True).close()
    assert points(tmp_path) == once


def test_times_are_kept_and_half_a_record_is_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-10])  # killed while it wrote
    continued_writer(tmp_path, lambda tag, step: True).close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.wall_time for event in events.Scalars("loss")] == [110.0, 120.0, 130.0]
    assert [event.step for event in events.Scalars("accuracy")] == [1, 2]
