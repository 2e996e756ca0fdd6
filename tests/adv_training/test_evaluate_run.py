"""``train_cifar.py evaluate``: a finished run, judged from its folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adv_training import robustness
from adv_training.data import Dataset, ImageBatch
from adv_training.evaluate_run import EvaluateConfig, evaluate_main, evaluate_run
from adv_training.game import ImageGame
from adv_training.load import load_dataset
from adv_training.registry import Method
from adv_training.robustness import evaluate_robustness, fine_tune
from adv_training.synthetic import synthetic_dataset
from adv_training.trained_model import load_model
from adv_training.training import Training
from l2l_gail.errors import InputError
from l2l_gail.runs import RunFolder
from tests.adv_training.support import tiny_settings, write_cifar10


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = synthetic_dataset(train_size=200, eval_size=60, held_out=40)
    settings = tiny_settings("grad_l2l", ema=0.9)
    folder = RunFolder.create(tmp_path_factory.mktemp("runs"), "synthetic", "grad_l2l", 0)
    Training(settings, data, folder).run()
    return folder.path


def test_a_run_is_evaluated_from_its_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(robustness, "fine_tune", partial(fine_tune, steps=20))
    path = tmp_path / "report.json"
    attacks = ["pgd20", "standing", "learned", "fine_tuned"]
    argv = [str(run), "--which", "last", "--eval-size", "60", "--json", str(path)]
    evaluate_main([*argv, "--attacks", *attacks])
    text = capsys.readouterr().out
    told = json.loads(path.read_text())
    assert list(told["accuracy"]) == attacks
    summary = json.loads((run / "summary.json").read_text())
    assert told["clean"] == summary["clean"]  # on the same 60 images, of the averaged weights
    assert told["accuracy"]["standing"] == summary["robust"]
    assert told["robust"] <= min(told["accuracy"].values())
    assert "all attacks" in text
    with pytest.raises(InputError, match="exists; give a new file"):
        evaluate_main([*argv, "--attacks", "pgd20"])


def test_a_run_on_data_of_one_s_own_cannot_be_read_back(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "mine" / "grad_l2l" / "seed0")
    summary = json.loads((copy / "summary.json").read_text())
    summary["settings"]["data"] = "mine"
    (copy / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match="trained on mine, which cannot be read") as caught:
        evaluate_run(EvaluateConfig(copy))
    assert "\n" not in str(caught.value)


def test_another_epsilon_holds_for_the_learned_attacker_too(
    run: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    real = robustness.attack

    def watched(game: ImageGame, method: Method, batch: ImageBatch, **options: bool) -> Tensor:
        x = real(game, method, batch, **options)
        seen.append(float((x - batch.x).abs().max()))
        return x

    monkeypatch.setattr(robustness, "attack", watched)
    evaluate_run(EvaluateConfig(run, attacks=("learned",), eval_size=60, eps=32.0))
    assert 16 / 255 < max(seen) <= 32 / 255 + 1e-6
    # The library, too, and without touching the method that it is given.
    model = load_model(run)
    batch = data.test.batch(slice(0, 60))
    own = model.attack(batch.x, batch.y)
    for eps in (32 / 255, 2 / 255):
        seen.clear()
        evaluate_robustness(
            model.classifier, data.test[:60], eps, attacks=["learned"], method=model.method
        )
        assert 0.5 * eps < max(seen) <= eps + 1e-6
    assert torch.equal(model.attack(batch.x, batch.y), own)


def test_a_run_without_its_checkpoint_is_evaluated_by_its_model(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "seed0", ignore=shutil.ignore_patterns("checkpoint*"))
    for which in ("best", "last"):
        config = EvaluateConfig(
            run, attacks=("standing", "learned"), which=which, eval_size=60, device="cpu"
        )
        assert evaluate_run(dataclasses.replace(config, run=copy)) == evaluate_run(config)


def test_what_is_no_finished_run_or_no_attack_is_said_in_one_line(
    run: Path, tmp_path: Path
) -> None:
    for argv, said in (
        ([str(tmp_path)], "no finished run"),
        ([str(run), "--attacks", "pdg"], "attack 'pdg' is unknown"),
        ([str(run), "--eval-size", "3"], "--eval-size 3"),
        ([str(run), "--eps", "0"], "--eps 0"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            evaluate_main(argv)
        assert "\n" not in str(caught.value)


def test_an_interrupted_run_is_said_to_be_one(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "seed0", ignore=shutil.ignore_patterns("summary*"))
    for given in (copy, copy / "model.pt"):
        with pytest.raises(InputError, match=r"seed0 was interrupted; .* by --resume"):
            evaluate_run(EvaluateConfig(given))


def test_a_run_is_named_by_whatever_load_model_takes(run: Path) -> None:
    expected = evaluate_run(EvaluateConfig(run, attacks=("pgd20",), eval_size=20))
    for given in (str(run), run / "model.pt"):
        config = EvaluateConfig(given, attacks=("pgd20",), eval_size=20)  # type: ignore[arg-type]
        assert evaluate_run(config) == expected


def test_the_place_of_the_report_is_looked_at_before_any_attack(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["adv_training.evaluate_run"]
    monkeypatch.setattr(module, "evaluate_run", lambda *_, **__: pytest.fail("attacked"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "report.json").write_text("precious")
    (tmp_path / "link.json").symlink_to(tmp_path / "nothing")
    for given in ("~/report.json", "~/link.json"):
        with pytest.raises(InputError, match=f"--json {given} exists; give a new file"):
            evaluate_main([str(run), "--json", given])
    for given in ("~/report.json/x.json", "/proc/x.json", f"~/{'x' * 300}"):
        with pytest.raises(InputError, match="cannot be written"):
            evaluate_main([str(run), "--json", given])
    assert (tmp_path / "report.json").read_text() == "precious"


def test_a_missing_library_is_said_before_any_attack(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyautoattack", None)
    with pytest.raises(InputError, match=r"pip install \"l2l_gail\[eval\]\"") as caught:
        evaluate_run(EvaluateConfig(run, attacks=("pgd20", "apgd_t"), eval_size=60))
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_changes_nothing_where_the_model_is_whole(
    run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "synthetic" / "grad_l2l" / "seed0")
    config = EvaluateConfig(copy, which="last", attacks=("pgd20",), eval_size=60)
    whole = evaluate_run(config)
    for name in ("checkpoint.pt", "checkpoint-previous.pt"):
        (copy / name).write_bytes(b"damaged")
    assert evaluate_run(config) == whole
    (copy / "model.pt").unlink()  # as of version 0.1.0
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged"):
        evaluate_run(config)


def test_the_first_images_are_those_of_the_training_too(run: Path) -> None:
    config = EvaluateConfig(run, which="last", attacks=("pgd20",), eval_size=30)
    model = load_model(run, which="last")
    data = load_dataset(None, train_size=240, eval_size=60)
    batch = data.test[:30].batch(slice(None))
    right = (model.classifier(batch.x).argmax(1) == batch.y).float().mean()
    assert evaluate_run(config).clean == pytest.approx(float(right))


@pytest.mark.parametrize(
    "changes",
    [
        {"train_images": None},
        {"train_images": "many"},
        {"settings": {"method": "pgd"}},
        {"settings": {"method": "pgd", "data": "synthetic", "lr": "high"}},
    ],
)
def test_a_summary_that_does_not_fit_is_one_line(
    run: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    copy = shutil.copytree(run, tmp_path / "synthetic" / "grad_l2l" / "seed0")
    summary = json.loads((copy / "summary.json").read_text()) | changes
    (copy / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=r"summary\.json") as caught:
        evaluate_run(EvaluateConfig(copy))
    assert "\n" not in str(caught.value)


def test_other_images_than_the_runs_are_said(tmp_path: Path) -> None:
    folders = [write_cifar10(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    own, other = (load_dataset(each, eval_size=15, check_md5=False) for each in folders)
    settings = tiny_settings("pgd", data="cifar10", epochs=1)
    run = RunFolder.create(tmp_path / "runs", "cifar10", "pgd", 0)
    Training(settings, own, run).run()
    assert own.digest != other.digest

    def judge(folder: Path) -> None:
        config = EvaluateConfig(run.path, attacks=("pgd20",), eval_size=20, data_dir=folder)
        evaluate_run(config)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge(folders[0])
    with pytest.warns(UserWarning, match="b holds other images than .* give its own folder"):
        judge(folders[1])
    with pytest.raises(InputError, match="--eval-size 21 must be 10 to 20"):
        evaluate_run(EvaluateConfig(run.path, eval_size=21, data_dir=folders[0]))
