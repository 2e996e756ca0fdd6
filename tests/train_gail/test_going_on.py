"""The script train_gail.py: interrupted runs go on, to the bit."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import train_gail
from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.errors import InputError
from l2l_gail.finding_runs import find_runs
from l2l_gail.progress import silent
from l2l_gail.stopping import Interrupted
from tests.comparison.support import events


@pytest.mark.slow
def test_an_interrupted_run_goes_on_where_it_was(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "tests-Walk-v0" / "l2l_gail+short" / "seed0"
    flags = [*short, "--method", "l2l_gail", "--learned", "both"]
    train_gail.main([*flags, "--total-timesteps", "32"])
    (folder / "summary.json").unlink()  # as if killed before the end
    seen = []
    play = train_gail.TrainingRun.train

    def spy(self: train_gail.TrainingRun, *args: Any, **kwargs: Any) -> None:
        seen.append((self.model.num_timesteps, self.model.discriminator_updates.trainer.steps))
        play(self, *args, **kwargs)

    monkeypatch.setattr(train_gail.TrainingRun, "train", spy)
    train_gail.main([*flags, "--resume"])
    assert seen == [(32, 10)]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 64
    assert summary["curve"]["steps"] == [32, 64]
    train_gail.main([*flags, "--resume"])  # finished: nothing to do
    assert len(seen) == 1


def test_what_ends_before_it_begins_leaves_no_folders(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(work: Any, jobs: dict[str, Any], **kwargs: Any) -> None:
        (next(iter(jobs.values())).folder.path / "checkpoint.pt").touch()
        raise Interrupted

    monkeypatch.setattr(train_gail, "run_jobs", end)
    with pytest.raises(Interrupted):
        train_gail.main([*short, "--method", "gail", "--seeds", "0-2"])
    made = [path.name for path in tmp_path.rglob("seed*")]
    assert made == ["seed0"]


def test_a_run_goes_on_only_under_its_own_settings(short: list[str], tmp_path: Path) -> None:
    train_gail.main([*short, "--method", "gail"])
    with pytest.raises(InputError, match="begun with other --updates, --learning-rate: "):
        train_gail.main(
            [*short, "--method", "gail", "--resume", "--learning-rate", "0.5", "--updates", "9"]
        )
    train_gail.main([*short, "--method", "gail", "--resume", "--total-timesteps", "96"])
    (run,) = find_runs(tmp_path / "runs")
    assert run.summary["steps"] == 96  # longer is the same run
    read = events(run.folder.path)
    assert [event.step for event in read.Scalars("disc/loss")] == [32, 64, 96]


def test_a_finished_run_is_not_trained_over_where_its_checkpoint_is_gone(
    short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*short, "--method", "gail"]
    train_gail.main(flags)
    (run,) = find_runs(tmp_path / "runs")
    for file in run.folder.path.glob("checkpoint*"):
        file.unlink()
    files = {path: path.read_bytes() for path in run.folder.path.iterdir() if path.is_file()}
    train_gail.main([*flags, "--resume"])
    assert "is finished already" in capsys.readouterr().err
    with pytest.raises(InputError, match="finished after 64 steps and its checkpoint is gone"):
        train_gail.main([*flags, "--resume", "--total-timesteps", "96"])
    run.folder.summary.unlink()
    del files[run.folder.summary]
    with pytest.raises(InputError, match=r"holds model\.zip and its checkpoint is gone"):
        train_gail.main([*flags, "--resume"])
    (run.folder.path / "model.zip").unlink()
    del files[run.folder.path / "model.zip"]
    with pytest.raises(InputError, match="holds points up to step 64 and its checkpoint is gone"):
        train_gail.main([*flags, "--resume", "--save-every", "16"])
    assert {path: path.read_bytes() for path in files} == files


def test_a_run_that_another_process_has_begun_meanwhile_is_not_trained_over(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*short, "--method", "gail"]

    def work(train: Any, jobs: dict[str, Any], **kwargs: Any) -> None:
        _, second = jobs.values()
        second.folder.write_summary(steps=1_000_000)
        train(second, silent)

    monkeypatch.setattr(train_gail, "run_jobs", work)
    with pytest.raises(InputError, match="seed1 was made for this run, and another process"):
        train_gail.main([*flags, "--seeds", "0-1"])
    (run,) = find_runs(tmp_path / "runs")
    assert run.summary["steps"] == 1_000_000


def interrupted_after_an_evaluation(
    monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> Interrupted:
    """Train, with a SIGTERM after the first evaluation; return what that ends with."""
    measure = TrueReturnCallback.measure

    def interrupted(self: TrueReturnCallback) -> None:
        measure(self)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TrueReturnCallback, "measure", interrupted)
        with pytest.raises(Interrupted) as caught:
            train_gail.main(flags)
    return caught.value


def test_a_signal_in_the_last_evaluation_ends_the_job_with_all_of_it_kept(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*short, "--method", "gail", "--total-timesteps", "32"]  # one rollout, one evaluation
    in_turn = [*flags, "--seeds", "0-1", "--workers", "1"]
    stopped = interrupted_after_an_evaluation(monkeypatch, in_turn)
    assert stopped.number == signal.SIGTERM
    assert not find_runs(tmp_path / "runs")  # neither finished, the second not begun
    train_gail.main([*flags, "--seed", "0", "--resume"])
    (run,) = find_runs(tmp_path / "runs")
    assert run.summary["steps"] == 32
    assert run.summary["curve"]["steps"] == [32]


@pytest.mark.slow
def test_interrupted_cloning_goes_on_bit_for_bit(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*short[:-1], "--method", "bc", "--bc-steps", "400"]
    flags.remove("--out")
    train_gail.main([*flags, "--out", str(tmp_path / "whole")])
    interrupted_after_an_evaluation(monkeypatch, [*flags, "--out", str(tmp_path / "cut")])
    whole, cut = (
        tmp_path / name / "tests-Walk-v0" / "bc+short" / "seed0" for name in ("whole", "cut")
    )
    assert load_checkpoint(cut / "checkpoint.pt")["steps"] == 50
    train_gail.main([*flags, "--out", str(tmp_path / "cut"), "--resume"])
    assert_same(outcome(cut), outcome(whole))


HOPPER = (
    "--method l2l_gail --learned both --n-envs 4 --n-steps 32 --total-timesteps 640 "
    "--eval-every 256 --name short"
).split()


def outcome(folder: Path) -> tuple[Any, ...]:
    """What a run has come to: returns, curve, weights and optimizers, points in TensorBoard."""
    summary = json.loads((folder / "summary.json").read_text())
    read = events(folder)
    points = {
        tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for tag in read.Tags()["scalars"]
        if not tag.startswith("time/")
    }
    keys = ("eval_returns", "curve", "bc_return", "steps")
    weights = load_checkpoint(folder / "checkpoint.pt")["parameters"]
    return {key: summary[key] for key in keys}, points, weights


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.mark.usefixtures("hardly_cloned")
def test_a_signal_saves_and_the_run_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_gail.main([*HOPPER, "--out", str(tmp_path / "whole")])
    caught = interrupted_after_an_evaluation(monkeypatch, [*HOPPER, "--out", str(tmp_path / "cut")])
    assert (caught.number, caught.resumable) == (signal.SIGTERM, True)
    whole, cut = (
        tmp_path / name / "Hopper-v5" / "l2l_gail+short" / "seed0" for name in ("whole", "cut")
    )
    assert load_checkpoint(cut / "checkpoint.pt")["steps"] == 256
    assert not (cut / "summary.json").exists()
    train_gail.main([*HOPPER, "--out", str(tmp_path / "cut"), "--resume"])
    assert_same(outcome(cut), outcome(whole))
    assert len(list(cut.glob("events.out.tfevents.*"))) == 1


@pytest.mark.slow
def test_several_seeds_in_processes_are_what_they_are_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [*HOPPER, "--out", str(tmp_path / "together")]
    train_gail.main([*flags, "--seeds", "3-4", "--workers", "2"])
    shown = capfd.readouterr()
    assert "l2l_gail seed 4" in shown.err
    assert re.search(r"^l2l_gail\+short +2 +640 ", shown.out, re.MULTILINE)
    train_gail.main([*HOPPER, "--seed", "4", "--out", str(tmp_path / "alone")])
    together, alone = (
        tmp_path / name / "Hopper-v5" / "l2l_gail+short" / "seed4" for name in ("together", "alone")
    )
    assert_same(outcome(together), outcome(alone))
