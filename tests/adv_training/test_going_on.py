"""Runs that are ended, and gone on with to the bit; and those that are not begun over."""

from __future__ import annotations

import dataclasses
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from adv_training import training
from adv_training.data import Dataset, Images
from adv_training.logbook import Logbook
from adv_training.review import Review
from adv_training.training import Training
from l2l_gail.errors import InputError
from l2l_gail.progress import Message
from l2l_gail.runs import RunFolder
from l2l_gail.stopping import Interrupted
from tests.adv_training.support import start, tensorboard_points, tiny_settings, weights
from tests.marks import slow


class Killed(Exception):
    """What a kill does to a run, without killing the tests."""


RECIPE = {"ramp": 0.5, "ema": 0.9, "label_smoothing": 0.1, "attacker": "residual"}


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        slow("pgd", {}),
        ("grad_l2l", {"attacker": "memory", "ramp": 0.5}),
        slow("grad_l2l", {}),
        slow("grad_l2l", {"attacker": "class_start", "ramp": 0.5}),
        slow("start_l2l", RECIPE),
        slow("free", RECIPE),
        slow("trades", {"awp": 0.01}),
    ],
)
def test_a_killed_run_goes_on_bit_for_bit(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch, name: str, recipe: dict
) -> None:
    settings = tiny_settings(name, epochs=3, **recipe)
    whole = start(tmp_path / "whole", settings, data)
    expected = whole.run()

    broken = start(tmp_path / "broken", settings, data)
    judge = Review.epoch

    def dies_in_the_second_epoch(run: Review, epoch: int, *where: Any) -> None:
        if epoch == 2:  # trained, and not yet saved
            raise Killed
        judge(run, epoch, *where)

    def dies_after_the_second_review(run: Review, epoch: int, *where: Any) -> None:
        judge(run, epoch, *where)
        if epoch == 2:  # reviewed and logged, and not yet saved
            raise Killed

    dies = dies_after_the_second_review if name == "grad_l2l" else dies_in_the_second_epoch
    with monkeypatch.context() as patch:
        patch.setattr(Review, "epoch", dies)
        with pytest.raises(Killed):
            broken.run()
    torch.manual_seed(99)  # nothing may hang on the global state
    resumed = start(tmp_path / "broken", settings, data, resume=True)
    assert resumed.epoch == 1
    assert resumed.folder.path == broken.folder.path
    found = resumed.run()

    one, other = weights(whole), weights(resumed)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    spent = {"wall_s", "cpu_s"}
    assert {k: v for k, v in found.items() if k not in spent} == {
        k: v for k, v in expected.items() if k not in spent
    }
    assert found["cpu_s"] > 0
    points = [tensorboard_points(run.folder.path) for run in (whole, resumed)]
    assert points[0] == points[1]  # none twice, none missing


@pytest.mark.slow
@pytest.mark.parametrize("name", [slow("pgd"), "grad_l2l"])
def test_a_signal_in_the_middle_of_an_epoch_saves_and_the_run_goes_on_bit_for_bit(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = tiny_settings(name, epochs=2)
    whole = start(tmp_path / "whole", settings, data)
    expected = whole.run()
    step = training.train_step

    def interrupted(trainer: Any, *args: Any) -> Any:
        if trainer.steps == 7:  # the eighth of ten steps, the third of the second epoch
            signal.raise_signal(signal.SIGINT)
        return step(trainer, *args)

    cut = start(tmp_path / "cut", settings, data, save_every=3)
    with monkeypatch.context() as patch:
        patch.setattr(training, "train_step", interrupted)
        with pytest.raises(Interrupted):
            cut.run()
    resumed = start(tmp_path / "cut", settings, data, resume=True)
    assert (resumed.epoch, resumed.trainer.steps) == (1, 8)
    found = resumed.run()
    one, other = weights(whole), weights(resumed)
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert found["curve"] == expected["curve"]
    points = [tensorboard_points(run.folder.path) for run in (whole, resumed)]
    assert points[0] == points[1]


def test_a_signal_in_the_last_review_ends_the_run_before_it_is_judged(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings("pgd", epochs=1)
    expected = start(tmp_path / "whole", settings, data).run()
    judge = Review.epoch

    def interrupted(review: Review, *args: Any) -> None:
        judge(review, *args)
        signal.raise_signal(signal.SIGTERM)

    cut = start(tmp_path / "cut", settings, data)
    with monkeypatch.context() as patch:
        patch.setattr(Review, "epoch", interrupted)
        with pytest.raises(Interrupted):
            cut.run()
    assert not cut.folder.finished
    resumed = start(tmp_path / "cut", settings, data, resume=True)
    assert resumed.epoch == 1
    assert resumed.run()["curve"] == expected["curve"]


def test_a_finished_run_is_not_run_again(tmp_path: Path, data: Dataset) -> None:
    settings = tiny_settings("standard", epochs=1)
    first = start(tmp_path, settings, data).run()
    again = start(tmp_path, settings, data, resume=True).run()
    assert {k: v for k, v in again.items() if k != "versions"} == first


def test_a_finished_run_is_not_trained_over_where_its_checkpoint_is_gone(
    tmp_path: Path, data: Dataset
) -> None:
    settings = tiny_settings("standard", epochs=1)
    run = start(tmp_path, settings, data)
    first = run.run()
    for file in run.folder.path.glob("checkpoint*"):
        file.unlink()
    files = {path: path.read_bytes() for path in run.folder.path.iterdir() if path.is_file()}
    again = start(tmp_path, settings, data, resume=True).run()
    assert {k: v for k, v in again.items() if k != "versions"} == first
    assert {path: path.read_bytes() for path in files} == files


def test_a_run_goes_on_with_its_own_images_only(tmp_path: Path, data: Dataset) -> None:
    settings = tiny_settings("standard", epochs=1)
    start(tmp_path, settings, data).run()
    train = Images(255 - data.train.pixels, data.train.labels)
    other = dataclasses.replace(data, train=train)
    assert other.digest != data.digest == dataclasses.replace(data).digest
    with pytest.raises(InputError, match="begun with other --data: "):
        start(tmp_path, settings, other, resume=True)


def test_a_run_that_is_there_is_not_begun_over(tmp_path: Path, data: Dataset) -> None:
    run = start(tmp_path, tiny_settings("standard", epochs=1), data)
    run.run()
    before = {path: path.read_bytes() for path in run.folder.path.iterdir()}
    with pytest.raises(InputError, match=r"seed0 holds a run already: give resume=True"):
        Training(tiny_settings("standard", epochs=1, lr=0.01), data, run.folder)
    assert {path: path.read_bytes() for path in run.folder.path.iterdir()} == before


def test_a_run_whose_checkpoint_is_gone_is_not_begun_over(tmp_path: Path, data: Dataset) -> None:
    settings = tiny_settings("standard")
    folder = start(tmp_path, settings, data).folder  # has noted its settings, and no more
    told: list[Message] = []
    run = start(tmp_path, settings, data, resume=True, tell=told.append)
    assert [message.text for message in told] == [
        "has no checkpoint to go on from: begins at step 0"
    ]
    with closing(Logbook(folder.path)) as logbook:
        logbook.scalars({"train/loss": 1.0}, run.steps_per_epoch)
    start(tmp_path, settings, data, resume=True)  # killed before the end of its first epoch
    with closing(Logbook(folder.path, step=run.steps_per_epoch)) as logbook:
        logbook.scalars({"train/loss": 1.0}, run.steps_per_epoch + 1)
    with pytest.raises(InputError, match="holds points up to step 6 and its checkpoint is gone"):
        start(tmp_path, settings, data, resume=True)


def test_a_folder_of_another_seed_is_refused(tmp_path: Path, data: Dataset) -> None:
    folder = RunFolder.create(tmp_path, "synthetic", "pgd", 1)
    with pytest.raises(InputError, match="the folder of seed 1, and the settings say seed 0"):
        Training(tiny_settings("pgd"), data, folder)


def test_resuming_under_other_settings_is_refused(tmp_path: Path, data: Dataset) -> None:
    start(tmp_path, tiny_settings("standard", epochs=1), data).run()
    with pytest.raises(InputError, match="begun with other --lr: "):
        start(tmp_path, tiny_settings("standard", epochs=1, lr=0.1), data, resume=True)
    with pytest.raises(InputError, match="batch-size 500"):
        start(tmp_path, tiny_settings("standard", batch_size=500), data)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, data: Dataset) -> None:
    settings = tiny_settings("standard", epochs=1)
    run = start(tmp_path, settings, data)
    run.run()
    whole = run.folder.checkpoint.read_bytes()
    run.folder.checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as caught:
        start(tmp_path, settings, data, resume=True)
    assert "\n" not in str(caught.value)
