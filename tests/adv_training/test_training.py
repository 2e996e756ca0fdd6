"""A whole run: what is written, what is noticed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adv_training import review
from adv_training.data import Dataset, Images
from adv_training.logbook import TAGS, Logbook, image_grid
from adv_training.methods import forward_equivalents
from adv_training.plan import check_images
from adv_training.registry import method_names
from adv_training.step import classifier_for
from adv_training.synthetic import synthetic_dataset
from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.errors import InputError
from l2l_gail.finding_runs import find_runs
from l2l_gail.progress import Message
from tests.adv_training.support import start, tiny_settings, weights


@pytest.mark.slow
def test_equal_seeds_give_equal_runs_and_others_do_not(tmp_path: Path, data: Dataset) -> None:
    runs = [
        start(tmp_path, tiny_settings("grad_l2l", epochs=1, seed=seed), data) for seed in (0, 0, 1)
    ]
    for run in runs:
        run.run()
    first, second, third = (weights(run) for run in runs)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert any(not torch.equal(first[k], third[k]) for k in first)
    assert runs[0].folder.path.name == "seed0"
    assert runs[1].folder.path.name == "seed0-2"


@pytest.mark.parametrize("name", method_names())
def test_what_a_run_leaves_behind(tmp_path: Path, data: Dataset, name: str) -> None:
    settings = tiny_settings(name)
    run = start(tmp_path, settings, data)
    told: list[Message] = []
    run.tell = told.append
    summary = run.run()
    written = run.folder.read_summary()
    assert {k: v for k, v in written.items() if k != "versions"} == summary
    assert written["versions"]["torch"]
    for key in (
        *("kind", "method", "data", "seed", "epochs", "clean", "pgd20", "forward_equivalents"),
        *(
            "wall_s",
            "cpu_s",
            "curve",
            "clean_best",
            "masking_flags",
            "pgd20_best",
            "robust_best",
            "eval_images",
            "params",
            "robust",
        ),
    ):
        assert key in summary
    assert summary["kind"] == "cifar"
    assert summary["data"] == "synthetic"
    assert summary["method"] == settings.label
    assert summary["curve"]["epochs"] == [1, 2]
    for key in ("clean", "pgd20", "robust"):
        assert 0 <= summary[key] <= 1
        assert all(0 <= value <= 1 for value in summary["curve"][key])
    assert summary["pgd20"] <= summary["clean"]
    learns = name.endswith("_l2l")
    assert (summary["attack_gain_l2l"] is not None) is learns
    assert (summary["attacker_moved"] is not None) is learns
    if learns:
        assert summary["attacker_moved"] > 0
        share = summary["attacker_flops"] / summary["flops"]
        assert summary["forward_equivalents"] == forward_equivalents(settings, share)
    assert [r.folder.path for r in find_runs(tmp_path)] == [run.folder.path]

    total = next(m.total for m in told if m.kind == "total")
    assert total == 2 * (160 // 32)
    assert sum(m.amount for m in told if m.kind == "advance") == total

    events = EventAccumulator(str(run.folder.path))
    events.Reload()
    tags = set(events.Tags()["scalars"]) | set(events.Tags()["images"])
    expected = {tag for tag in TAGS if learns or not tag.startswith("attacker/")}
    assert tags == expected
    assert [e.step for e in events.Scalars("held_out/pgd20")] == [1, 2]
    with Image.open(run.folder.path / "adversarial.png") as image:
        assert image.size == (8 * 34 * 3, 3 * 34 * 3)


def test_the_best_epoch_is_chosen_on_the_held_out_images(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[tuple[int, float]] = []
    real = review.accuracy

    def watched(classifier: Any, images: Any, *args: Any, **options: Any) -> Any:
        found = real(classifier, images, *args, **options)
        # The last two epochs draw, whatever they are.
        found = dataclasses.replace(found, robust=[0.1, 0.2, 0.2][min(len(judged), 2)])
        judged.append((id(images), found.pgd20))
        return found

    monkeypatch.setattr(review, "accuracy", watched)
    run = start(tmp_path, tiny_settings("pgd", epochs=3), data)
    summary = run.run()
    on_held_out = [score for images, score in judged[:3] if images == id(data.held_out)]
    assert len(on_held_out) == 3
    assert all(images == id(data.test) for images, _ in judged[3:])
    assert summary["best_epoch"] == 3  # by the standing measure; a draw goes to the later one
    assert summary["curve"]["pgd20"] == on_held_out
    saved = load_checkpoint(run.folder.checkpoint)["best"]
    assert saved["epoch"] == summary["best_epoch"]
    assert saved["score"] == 0.2
    # The last classifier is back in its place after the best one was judged.
    last = load_checkpoint(run.folder.checkpoint)["classifier"]
    assert all(torch.equal(v, last[k]) for k, v in run.game.classifier.state_dict().items())


def test_catastrophic_overfitting_is_said(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "single_step_trap", lambda *args: (0.6, 0.01))
    told: list[Message] = []
    run = start(tmp_path, tiny_settings("fgsm_rs", epochs=1), data, tell=told.append)
    summary = run.run()
    lines = [m.text for m in told if m.kind == "line" and "catastrophic overfitting" in m.text]
    assert len(lines) == 1
    assert "60% under FGSM but 1% under PGD-7" in lines[0]
    assert summary["catastrophic_overfitting_epochs"] == [1]


def test_a_diverging_run_ends_with_one_line(tmp_path: Path, data: Dataset) -> None:
    with pytest.raises(InputError, match="lower --lr"):
        start(tmp_path, tiny_settings("standard", lr=1e30), data).run()


def test_images_of_another_shape_train(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (120, 1, 9, 8), generator=torch.Generator().manual_seed(0))
    images = Images(pixels.byte(), torch.arange(120) % 4)
    data = Dataset.split("mine", images, images[:20], held_out=20, classes=4)
    settings = tiny_settings("grad_l2l", shape=(1, 9, 8), data="mine", classes=4)
    for attacker in ("class_start", "residual"):
        with pytest.raises(InputError, match=f"{attacker} halves the images, and 9 x 8 is odd"):
            start(tmp_path, dataclasses.replace(settings, attacker=attacker), data)
    with pytest.raises(InputError, match=r"are \(1, 9, 8\) and the settings say \(3, 32, 32\)"):
        start(tmp_path, tiny_settings("pgd", data="mine"), data)
    settings = dataclasses.replace(settings, attacker="paper_two_layer", attacker_channels=4)
    summary = start(tmp_path, settings, data).run()
    assert summary["attacker_flops"] > 0
    assert 0 <= summary["robust"] <= summary["clean"] <= 1


def test_classes_of_the_data_and_of_the_attacker_must_be_the_same(data: Dataset) -> None:
    few = dataclasses.replace(data, name="mine", classes=12)
    known = tiny_settings("grad_l2l", data="mine", attacker="class_start", classes=12)
    check_images(known, few)
    said = r"mine has 12 classes .* 10; give --classes 12, in the library Settings\(classes=12"
    with pytest.raises(InputError, match=said):
        check_images(dataclasses.replace(known, classes=None), few)
    assert dataclasses.replace(known, data="cifar100", classes=None).number_of_classes == 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grad_l2l", "pgd"])
def test_a_compiled_classifier_trains_to_the_same_weights(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real, calls = torch.nn.Module.compile, []

    def without_a_compiler(self: torch.nn.Module) -> None:
        calls.append(self)
        real(self, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", without_a_compiler)
    runs = [
        start(tmp_path, tiny_settings(name, epochs=1, ema=0.9, compile=compiled), data)
        for compiled in (False, True)
    ]
    for run in runs:
        run.run()
    assert len(calls) == 2
    eager, compiled = (weights(run) for run in runs)
    assert eager.keys() == compiled.keys()
    for key, value in eager.items():
        torch.testing.assert_close(value, compiled[key], rtol=1e-2, atol=2e-3, msg=key)


def test_the_grid_shows_clean_perturbation_and_perturbed() -> None:
    clean = torch.full((2, 3, 4, 4), 0.5)
    perturbed = clean.clone()
    perturbed[1] += 0.02
    grid = image_grid(clean, perturbed)
    assert grid.shape == (3 * 6, 2 * 6, 3)
    assert grid[2, 2, 0] == 128  # clean
    assert grid[8, 2, 0] == 128  # no perturbation: grey
    assert grid[8, 8, 0] == round(255 * 0.7)  # ten times 0.02 above grey
    assert grid[14, 8, 0] == round(255 * 0.52)
    assert grid[0, 0, 0] == 255  # the line between images


def test_an_undocumented_tag_is_refused(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path)
    with pytest.raises(KeyError, match="not documented"):
        logbook.scalars({"train/mystery": 1.0}, 1)
    logbook.close()


@pytest.mark.slow
def test_robust_training_is_a_real_problem_on_the_generated_set(tmp_path: Path) -> None:
    data = synthetic_dataset(train_size=2200, eval_size=200, held_out=200)
    found = {}
    for name in ("standard", "pgd"):
        settings = tiny_settings(name, epochs=5, lr=0.1)
        found[name] = start(tmp_path, settings, data).run()
    assert found["standard"]["clean"] > 0.9
    assert found["standard"]["pgd20"] < 0.05
    assert found["pgd"]["pgd20"] > 0.25


def test_images_too_small_for_the_classifier_are_one_line() -> None:
    def images(count: int) -> Images:
        return Images(torch.zeros(count, 1, 1, 1, dtype=torch.uint8), torch.arange(count) % 2)

    dataset = Dataset("mine", images(8), images(4), images(4), 2, True)
    with pytest.raises(
        InputError, match=r"the model tiny_cnn takes no images of shape \(1, 1, 1\)"
    ):
        classifier_for(tiny_settings("pgd", shape=(1, 1, 1)), dataset)


def test_batches_of_one_image_are_refused_where_they_leave_one_number_to_normalise(
    data: Dataset,
) -> None:
    settings = tiny_settings(batch_size=1, model="small_cnn", shape=(3, 4, 4))
    with pytest.raises(
        InputError, match=r"--batch-size 1 is too small .*; give at least 2"
    ) as said:
        classifier_for(settings, data)
    assert "\n" not in str(said.value)
    assert isinstance(classifier_for(tiny_settings(batch_size=1), data), torch.nn.Module)
