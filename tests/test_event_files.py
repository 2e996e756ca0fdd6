from __future__ import annotations

import random
import resource
import shutil
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from torch.utils.tensorboard import SummaryWriter

from l2l_gail.comparison.scalars import read_scalars
from l2l_gail.errors import InputError
from l2l_gail.event_files import continued_writer, is_whole, which_are_whole


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


def test_a_damaged_record_is_left_out_and_said_and_its_file_kept(tmp_path: Path) -> None:
    write(tmp_path)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    place = content.index(b"loss", content.index(b"loss") + 4)  # of the second point
    content[place] ^= 1
    file.write_bytes(content)
    assert read_scalars(tmp_path, ["loss"])["loss"][0].tolist() == [10, 30]
    with pytest.warns(UserWarning, match=r"is damaged, and some of its points are lost: kept as"):
        continued_writer(tmp_path, lambda tag, step: True).close()
    assert points(tmp_path) == {
        "loss": [(10, 1.0), (30, 3.0)],
        "accuracy": [(1, 0.25), (2, 0.5), (3, 0.75)],
    }
    (kept,) = tmp_path.glob("*damaged*")
    assert kept.read_bytes() == bytes(content)


def test_no_flipped_bit_puts_a_wrong_point_into_a_continued_file(tmp_path: Path) -> None:
    write(tmp_path / "sound")
    sound = points(tmp_path / "sound")
    (file,) = (tmp_path / "sound").iterdir()
    content = file.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(content)), 60):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        folder = tmp_path / str(bit)
        folder.mkdir()
        (folder / file.name).write_bytes(flipped)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            continued_writer(folder, lambda tag, step: True).close()
        found = points(folder)
        assert all(set(found[tag]) <= set(sound[tag]) for tag in found)


def test_images_and_a_clock_that_went_back_make_no_point_twice(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    for sitting, (clock, last) in enumerate(((2e9, 2), (1e9, 4))):  # the second is "earlier"
        with continued_writer(tmp_path, lambda tag, epoch: epoch <= 1) as writer:
            for epoch in range(1 if sitting == 0 else 2, last + 1):
                writer.add_image("grid", picture, epoch, walltime=clock + epoch, dataformats="HWC")
                writer.add_scalar("loss", epoch / 2, epoch, walltime=clock + epoch)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0})
    events.Reload()
    assert [image.step for image in events.Images("grid")] == [1, 2, 3, 4]
    assert points(tmp_path)["loss"] == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0)]


def test_many_records_are_checked_as_one_by_one() -> None:
    draw = random.Random(0)
    records = [draw.randbytes(length) for length in [0, 1, 31, 64, 200] * 30 + [1000, 1001]]
    checksums = [struct.pack("<I", masked_crc32c(record)) for record in records]
    assert all(which_are_whole(records, checksums))
    damaged = [draw.random() < 0.5 and len(record) > 0 for record in records]
    for place in np.flatnonzero(damaged):
        record = bytearray(records[place])
        record[draw.randrange(len(record))] ^= 1 << draw.randrange(8)
        records[place] = bytes(record)
    expected = [is_whole(*pair) for pair in zip(records, checksums, strict=True)]
    assert which_are_whole(records, checksums) == expected
    assert expected == [not hit for hit in damaged]


def test_no_records_are_no_trouble() -> None:
    assert which_are_whole([], []) == []


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """As on a disk that is nearly full: no file of this process may become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: pytest.fail("in a thread"))
    with continued_writer(tmp_path, lambda tag, step: True) as writer:

        def write_on() -> None:
            for step in range(1000):
                writer.add_scalar("a", step, step)

        with files_up_to(10_000), pytest.raises(InputError, match=r"events.*cannot be written \("):
            write_on()
        writer.add_scalar("b", 1, 1)  # once there is space again
    read = points(tmp_path)
    assert 50 < len(read["a"]) < 1000
    assert len(read["b"]) == 1


def test_a_disk_that_is_too_full_to_go_on_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: pytest.fail("in a thread"))
    with continued_writer(tmp_path, lambda tag, step: True) as writer:
        for step in range(1000):
            writer.add_scalar("a", step, step)
    (before,) = tmp_path.iterdir()
    for size in (10_000, 10):  # within the copying, and at the first word
        with files_up_to(size), pytest.raises(InputError, match=r"events.*cannot be written \("):
            continued_writer(tmp_path, lambda tag, step: True)
        assert list(tmp_path.iterdir()) == [before]
    continued_writer(tmp_path, lambda tag, step: True).close()
    assert len(points(tmp_path)["a"]) == 1000
