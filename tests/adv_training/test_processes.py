"""Several processes train one classifier: the same curve, a lost process, who writes what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import train_cifar
from adv_training.processes import ALONE, Processes, joined
from adv_training.step import deal_out
from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.errors import InputError
from tests.adv_training import together
from tests.adv_training.support import tensorboard_points, tiny_settings

ROOT = Path(__file__).resolve().parents[2]


def torchrun(*args: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*launcher, "--nproc-per-node=2", f"--max-restarts={restarts}", *args],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes have found, each of them."""
    out = tmp_path_factory.mktemp("two")
    done = torchrun("-m", "tests.adv_training.together", str(out))
    assert done.returncode == 0, done.stderr
    return [torch.load(out / f"found{rank}.pt", weights_only=False) for rank in (0, 1)]


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], *, rtol: float) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=rtol, atol=rtol, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("case", together.CASES)
def test_two_processes_find_what_one_does(
    found: list[dict[str, Any]], tmp_path: Path, case: str
) -> None:
    torch.set_num_threads(1)
    with together.in_float64():
        expected = together.play(case, tmp_path, ALONE)
    first, second = (each[case] for each in found)
    assert first["summary"]["curve"] == expected["summary"]["curve"]
    gains = ("attack_gain_fgsm", "attack_gain_l2l", "attacker_moved")
    for name, value in expected["summary"].items():
        if name in gains and value is not None:
            assert first["summary"][name] == pytest.approx(value, rel=1e-6, abs=1e-9)
        else:
            assert first["summary"][name] == value
    assert_close(first["weights"], expected["weights"], rtol=1e-9)
    assert_close(second["weights"], first["weights"], rtol=0.0)
    assert second["summary"] == {}


@pytest.mark.slow
def test_a_synced_batch_normalisation_is_that_of_the_whole_batch(
    found: list[dict[str, Any]],
) -> None:
    expected = together.normalise(*together.batch_to_normalise(), ALONE)
    of_x = torch.cat([each["normalised"].pop("gradient of x") for each in found])
    torch.testing.assert_close(of_x, expected.pop("gradient of x"), rtol=1e-12, atol=1e-12)
    for each in found:
        assert_close(each["normalised"], expected, rtol=1e-12)


STRUCK = """
import os, signal, sys
sys.path.insert(0, {root!r})
import train_cifar
from adv_training import training

step = training.train_step

def struck(trainer, *args):
    if trainer.steps == 11 and os.environ["RANK"] == "1":
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.{signal})
    return step(trainer, *args)

training.train_step = struck
train_cifar.main(sys.argv[1:])
"""
"""The script, whose second process gets a signal in its twelfth step."""
SMALL = (
    "--data synthetic --method grad_l2l --model tiny_cnn --train-size 200 --eval-size 40 "
    "--epochs 3 --batch-size 32 --name x"
).split()


def struck_by(signal: str, folder: Path) -> str:
    script = folder / "struck.py"
    script.write_text(STRUCK.format(root=str(ROOT), signal=signal))
    return str(script)


@pytest.mark.slow
def test_a_lost_process_is_replaced_and_the_run_goes_on_from_its_checkpoint(
    tmp_path: Path,
) -> None:
    # Where noise and perturbation cancel, a rounding turns the sign that is remembered.
    args = [*SMALL, "--save-every", "2", "--attacker-noise", "0"]
    script = struck_by("SIGKILL", tmp_path)
    done = torchrun(script, *args, "--out", str(tmp_path / "two"), restarts=1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "synthetic, seed 0, 3 epochs"
    assert done.stdout.count("clean, PGD-20:") == 1
    assert done.stderr.count("goes on after step 10 of 15") == 1

    train_cifar.main([*args, "--threads", "1", "--out", str(tmp_path / "one")])
    group = Path("synthetic/grad_l2l+x")
    assert [path.name for path in (tmp_path / "two" / group).iterdir()] == ["seed0"]
    two, one = (tmp_path / name / group / "seed0" for name in ("two", "one"))
    summaries = [json.loads((run / "summary.json").read_text()) for run in (two, one)]
    assert [summary["processes"] for summary in summaries] == [2, 1]
    assert summaries[0]["curve"] == summaries[1]["curve"]
    states = [load_checkpoint(run / "checkpoint.pt") for run in (two, one)]
    assert_close(states[0]["classifier"], states[1]["classifier"], rtol=1e-4)
    points = [tensorboard_points(run) for run in (two, one)]
    assert points[0].keys() == points[1].keys()
    for tag in points[0]:
        assert [step for step, _ in points[0][tag]] == [step for step, _ in points[1][tag]]

    # What two began one can go on with.
    (two / "summary.json").unlink()
    train_cifar.main([*args, "--threads", "1", "--out", str(tmp_path / "two"), "--resume"])
    assert json.loads((two / "summary.json").read_text())["curve"] == summaries[1]["curve"]


@pytest.mark.slow
def test_a_signal_to_one_process_ends_all_with_a_checkpoint(tmp_path: Path) -> None:
    done = torchrun(struck_by("SIGTERM", tmp_path), *SMALL, "--out", str(tmp_path / "runs"))
    assert done.returncode != 0
    assert "ending after this step" in done.stderr
    assert done.stderr.count("the same torchrun command with --resume goes on") == 1
    (checkpoint,) = tmp_path.rglob("checkpoint.pt")
    assert load_checkpoint(checkpoint)["trainer"]["counts"][0] == 12
    assert not list(tmp_path.rglob("summary.json"))


@pytest.mark.slow
def test_a_batch_that_cannot_be_dealt_out_is_said_once(tmp_path: Path) -> None:
    small = "--data synthetic --model tiny_cnn --batch-size 33 --method pgd".split()
    done = torchrun("train_cifar.py", *small, "--out", str(tmp_path / "runs"))
    assert done.returncode != 0
    said = "error: --batch-size 33 cannot be dealt out evenly to 2 processes; give a multiple of 2"
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [said]
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_what_the_first_process_finds_to_be_wrong_is_all_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = torchrun("train_cifar.py", *SMALL, "--out", str(tmp_path / "file" / "runs"))
    assert done.returncode != 0
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert str(tmp_path / "file") in said
    assert "RuntimeError" not in done.stderr


def test_parts_make_up_the_batch_and_one_process_has_all_of_it() -> None:
    parts = [Processes(rank, 4).part(12) for rank in range(4)]
    assert [k for part in parts for k in range(12)[part]] == list(range(12))
    assert ALONE.part(5) == slice(0, 5)
    with pytest.raises(InputError, match="--batch-size 13 cannot be dealt out evenly to 4 proc"):
        Processes(0, 4).part(13)
    tensors = [torch.ones(2)]
    assert ALONE.mean(tensors) is tensors
    assert (ALONE.largest(3), ALONE.total(0.5), ALONE.from_first(lambda: "it")) == (3, 0.5, "it")


def test_compiled_classifiers_are_for_one_process() -> None:
    settings = tiny_settings(compile=True)
    with pytest.raises(InputError, match="--compile is for one process"):
        deal_out(torch.nn.Identity(), None, settings, Processes(0, 2))  # type: ignore[arg-type]


def test_half_of_what_torchrun_sets_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for device, said in (("cpu", "MASTER_PORT not"), ("cuda", "MASTER_PORT, LOCAL_RANK not")):
        with pytest.raises(InputError, match=f"MASTER_ADDR, {said}: .*torchrun"):
            joined(device).__enter__()
