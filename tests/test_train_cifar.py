"""The script: its help, its mistakes, its data, and a short run of all methods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import train_cifar
from adv_training.download import reachable
from adv_training.presets import preset
from l2l_gail.cli import flags_of
from l2l_gail.core import L2LTrainer
from l2l_gail.core import trainer as core_trainer
from l2l_gail.errors import InputError
from tests.adv_training.support import write_cifar10

ROOT = Path(__file__).resolve().parent.parent
TINY = (
    "--model tiny_cnn --epochs 1 --batch-size 50 --train-size 300 --threads 1 --name tiny".split()
)
SHORT = ["--data", "synthetic", *TINY, "--eval-size", "60"]


def script(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train_cifar.py"), *args],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, no variable that names data, no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("L2L_GAIL_DATA", raising=False)
    monkeypatch.setattr("adv_training.download.urllib.request.urlopen", _refuse)
    assert not reachable()


def _refuse(*args: Any, **options: Any) -> Any:
    raise OSError("no network")


def test_help_fits_80_columns_and_explains_every_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        train_cifar.main(["--help"])
    assert not caught.value.code
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    for flag in (
        *("--data", "--data-dir", "--method", "--pgd-steps", "--model", "--epochs"),
        *("--batch-size", "--seed", "--device", "--out", "--resume"),
    ):
        assert f"{flag} " in text or f"{flag}," in text
    flowing = " ".join(text.replace("│", " ").split())
    assert flowing.count("(default: ") == len(flags_of(train_cifar.Config))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--sed", "1"], "perhaps you meant --seed"),
        (["--preset", "slow"], "preset 'slow' is unknown; there are: paper, fastat"),
        (["--preset"], "missing value for argument '--preset'"),
        (["--preset", "paper", "--lr", "x"], "lr"),
        (["--method", "pdg"], "pdg"),
        (["--epochs", "many"], "epochs"),
        (["--epochs", "0"], "--epochs 0 must be at least 1"),
        ([*SHORT, "--batch-size", "1000"], "--batch-size 1000"),
        (["--data", "synthetic", "--device", "cuda:99"], "device cuda:99"),
        (["--data", "synthetic", "--device", "potato"], "device potato"),
        (["--data", "synthetic", "--train-size", "3"], "--train-size 3"),
    ],
)
def test_mistakes_are_one_line_before_any_run(tmp_path: Path, args: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        train_cifar.main([*args, "--out", str(tmp_path / "runs")])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_mistake_ends_the_process_with_status_2(tmp_path: Path) -> None:
    done = script("--sed", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["error: unknown flag --sed; perhaps you meant --seed"]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("args", [["--data", "cifar10"], ["--data-dir", "empty"]])
def test_cifar10_that_cannot_be_had_is_said(args: list[str]) -> None:
    Path("empty").mkdir()
    with pytest.raises(InputError, match=r"no CIFAR-10 in .* no network") as caught:
        train_cifar.main(args)
    assert "--data-dir" in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_without_data_and_network_the_first_line_names_both_ways_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    train_cifar.main([*TINY, "--eval-size", "60", "--method", "standard"])
    lines = capsys.readouterr().out.splitlines()
    for word in ("--data-dir", "network", "synthetic"):
        assert word in lines[0]
    assert lines[1].startswith("synthetic: standard, seed 0")
    assert (tmp_path / "runs/synthetic/standard+tiny/seed0/summary.json").is_file()


def test_a_folder_with_altered_files_is_used_and_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_cifar10(tmp_path / "data", per_file=40)
    args = ["--data-dir", str(folder), "--out", str(tmp_path / "runs"), "--method", "standard"]
    args += ["--name", "tiny", "--threads", "1"]
    train_cifar.main([*args, "--model", "tiny_cnn", "--epochs", "1", "--batch-size", "50"])
    captured = capsys.readouterr()
    assert captured.err.count("md5 differs") == 2  # training files, test file
    assert "cifar10, seed 0" in captured.out
    assert (tmp_path / "runs/cifar10/standard+tiny/seed0/summary.json").is_file()


def test_the_script_goes_through_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"step": 0, "unroll": 0}
    step, unroll = L2LTrainer.step, core_trainer.unroll

    def watched_step(self: L2LTrainer, *args: Any, **options: Any) -> Any:
        seen["step"] += 1
        return step(self, *args, **options)

    def watched_unroll(*args: Any, **options: Any) -> Any:
        seen["unroll"] += 1
        return unroll(*args, **options)

    monkeypatch.setattr(L2LTrainer, "step", watched_step)
    monkeypatch.setattr(core_trainer, "unroll", watched_unroll)
    train_cifar.main([*SHORT, "--workers", "1", "--out", str(tmp_path)])
    steps = 4 * (270 // 50)
    assert seen == {"step": steps, "unroll": steps}
    assert sorted(p.parent.parent.name for p in tmp_path.rglob("summary.json")) == [
        "fgsm_rs+tiny",
        "grad_l2l+tiny",
        "pgd+tiny",
        "standard+tiny",
    ]


@pytest.mark.slow
def test_two_methods_side_by_side_and_resumed(tmp_path: Path) -> None:
    args = [*SHORT, "--out", str(tmp_path / "runs"), "--workers", "2", "--threads", "1"]
    done = script(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    methods = [line.split()[0] for line in lines[4:8]]
    assert methods == ["standard", "fgsm_rs", "pgd-2", "grad_l2l"]
    command = f"{sys.executable} -m l2l_gail.compare {tmp_path / 'runs'} --board"
    assert lines[-1] == f"In TensorBoard: {command}"  # no make here
    assert "pgd      " in done.stderr
    summaries = {p.parent.parent.name.split("+")[0]: p for p in tmp_path.rglob("summary.json")}
    assert len(summaries) == 4
    pgd = json.loads(summaries["pgd"].read_text())
    assert pgd["method"] == "pgd-2"
    before = {p: p.read_bytes() for p in summaries.values()}

    # The same in this process gives the same numbers: nothing hangs on being a process apart.
    alone = ["--method", "pgd", "--threads", "1", "--out", str(tmp_path / "again")]
    train_cifar.main([*SHORT, *alone])
    again = json.loads((tmp_path / "again/synthetic/pgd+tiny/seed0/summary.json").read_text())
    assert {k: again[k] for k in ("clean", "pgd20", "curve")} == {
        k: pgd[k] for k in ("clean", "pgd20", "curve")
    }
    train_cifar.main([*args[:-4], "--resume", "--workers", "1", "--threads", "1"])
    assert {p: p.read_bytes() for p in tmp_path.glob("runs/**/summary.json")} == before


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("--workers -1", "--workers"),
        ("--threads -2", "--threads"),
        ("--seed 99999999999999999999", "--seed"),
        ("--device meta", "device meta"),
        ("--eval-size 0", "--eval-size"),
        ("--out /proc/nowhere", "--out"),
    ],
)
def test_wrong_flags_are_said_before_anything_starts(flags: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        train_cifar.main([*TINY, *flags.split()])


def test_other_settings_are_refused_before_any_method_is_trained(tmp_path: Path) -> None:
    train_cifar.main([*SHORT, "--method", "standard", "--out", str(tmp_path)])
    with pytest.raises(InputError, match="begun with other --lr: "):
        train_cifar.main([*SHORT, "--out", str(tmp_path), "--resume", "--lr", "0.07"])
    assert [p.parent.parent.name for p in tmp_path.rglob("summary.json")] == ["standard+tiny"]


def test_several_seeds_make_one_table_of_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*SHORT, "--method", "standard", "--out", str(tmp_path), "--threads", "1"]
    train_cifar.main([*args, "--seeds", "0,2", "--workers", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "synthetic: standard, 2 seeds: 0,2"
    assert lines[1] == "synthetic, mean of seeds 0, 2, 1 epochs"
    assert [line.split()[0] for line in lines[4:5]] == ["standard"]
    assert "±" in lines[4]
    found = sorted(path.parent.name for path in tmp_path.rglob("summary.json"))
    assert found == ["seed0", "seed2"]


def test_what_differs_is_a_group_of_its_own(tmp_path: Path) -> None:
    args = [*SHORT[: SHORT.index("--name")], *SHORT[SHORT.index("--name") + 2 :]]
    train_cifar.main([*args, "--method", "pgd", "--pgd-steps", "1", "--out", str(tmp_path)])
    (summary,) = tmp_path.rglob("summary.json")
    assert summary.parent.parent.name == (
        "pgd+epochs=1+batch_size=50+model=tiny_cnn+pgd_steps=1+train_size=300+eval_size=60"
    )


def test_a_preset_gives_way_to_the_flags_beside_it(tmp_path: Path) -> None:
    config = train_cifar.read_flags(["--preset=paper", "--epochs", "2", "--method", "grad_l2l"])
    assert config.settings == preset("paper", "standard", "synthetic", epochs=2)
    assert config.settings.model == "wrn34_10"
    assert train_cifar.read_flags(["--epochs", "2"]).settings.model == "small_cnn"
    small = SHORT[: SHORT.index("--name")] + SHORT[SHORT.index("--name") + 2 :]
    args = [*small, "--preset", "fastat", "--method", "pgd", "--lr", "0.1", "--threads", "1"]
    train_cifar.main([*args, "--out", str(tmp_path)])
    (summary,) = tmp_path.rglob("summary.json")
    changed = "epochs=1+batch_size=50+model=tiny_cnn+train_size=300+eval_size=60"
    assert summary.parent.parent.name == f"pgd+preset=fastat+{changed}"
    settings = json.loads(summary.read_text())["settings"]
    assert (settings["ema"], settings["pgd_steps"], settings["lr"]) == (0.9995, 10, 0.1)
    before = summary.read_bytes()
    train_cifar.main([*args, "--out", str(tmp_path), "--resume"])
    assert summary.read_bytes() == before


@pytest.mark.slow
def test_a_finished_run_is_evaluated_by_the_same_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_cifar.main([*SHORT, "--method", "grad_l2l", "--out", str(tmp_path)])
    (summary,) = tmp_path.rglob("summary.json")
    flags = ("--eval-size", "60", "--attacks", "standing", "learned")
    train_cifar.main(["evaluate", str(summary.parent), *flags])
    text = capsys.readouterr().out
    assert "all attacks" in text
    assert "learned" in text
