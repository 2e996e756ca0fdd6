"""``model.pt``: what a finished run leaves behind is what it had trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adv_training import Images, TrainedModel, load_model
from adv_training.data import Dataset
from adv_training.evaluate import attack
from adv_training.trained_model import MODEL_FILE
from adv_training.training import Training
from l2l_gail.errors import InputError
from l2l_gail.files import read_tensors, save_tensors
from tests.adv_training.support import generator, start, tiny_settings


def finished(root: Path, images: Dataset, method: str, **changes: object) -> Training:
    run = start(root, tiny_settings(method, **changes), images)
    run.run()
    return run


@pytest.fixture(scope="module")
def learned(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Training:
    return finished(tmp_path_factory.mktemp("runs"), data, "grad_l2l", eps=16.0)


def test_the_last_classifier_and_the_attacker_are_those_of_the_training(
    learned: Training, data: Dataset
) -> None:
    model = load_model(learned.folder.path, which="last")
    batch = data.test.batch(slice(None))
    x, y = batch.x, batch.y
    with torch.no_grad():
        expected = learned.game.classifier.eval()(x)
        assert torch.equal(model.classifier(x), expected)
    perturbed = model.attack(x, y)
    assert torch.equal(perturbed, attack(learned.review.game, learned.method, batch))
    moved = (perturbed - x).abs().max()
    assert 0 < moved <= 16 / 255 + 1e-6
    assert not model.classifier.training


def test_a_classifier_refuses_bytes_and_other_channels(learned: Training, data: Dataset) -> None:
    classifier = load_model(learned.folder.path).classifier
    x = data.test.batch(slice(None)).x
    for images in (x.mul(255).byte(), x[:, :1]):
        with pytest.raises(InputError, match=r"floats in \[0, 1\] of shape \(B, 3, H, W\), not"):
            classifier(images)


def test_the_best_classifier_is_that_of_the_best_epoch(learned: Training, data: Dataset) -> None:
    model = load_model(learned.folder.path / MODEL_FILE)
    best = learned.review.best["classifier"]
    assert all(torch.equal(best[name], t) for name, t in model.classifier.state_dict().items())
    assert (model.settings, model.classes) == (learned.settings, data.classes)


@pytest.mark.parametrize(
    ("method", "changes"),
    [("pgd", {}), ("standard", {"ema": 0.9}), ("start_l2l", {"attacker": "slim"})],
)
def test_every_kind_of_method_is_saved_and_loaded(
    tmp_path: Path, data: Dataset, method: str, changes: dict[str, object]
) -> None:
    run = finished(tmp_path, data, method, epochs=1, **changes)
    model = load_model(run.folder.path, which="last")
    batch = data.test.batch(slice(0, 4))
    x, y = batch.x, batch.y
    with torch.no_grad():
        assert torch.equal(model.classifier(x), run.evaluated.eval()(x))
    assert model.attack(x, y).shape == x.shape


def test_an_attacker_trained_from_noise_attacks_from_the_image_and_within_the_ball(
    tmp_path: Path, data: Dataset
) -> None:
    run = finished(tmp_path, data, "grad_l2l", epochs=1, attacker_noise=1.0)
    batch = data.train.batch(slice(0, 20))
    trained_on = attack(run.game, run.method, batch)
    assert (trained_on - batch.x).abs().max() > 1.5 * run.settings.radius
    found = load_model(run.folder.path).attack(batch.x, batch.y)
    assert 0 < (found - batch.x).abs().max() <= run.settings.radius + 1e-6


def test_own_images_keep_their_classes_channels_and_statistics(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (120, 1, 28, 28), generator=generator()).byte()
    images = Images(pixels, torch.arange(120) % 3)
    mine = Dataset.split("mine", images, images, held_out=20, classes=3)
    run = finished(tmp_path, mine, "fgsm", data="mine", shape=mine.shape, epochs=1)
    model = load_model(run.folder.path)
    x = mine.test.batch(slice(0, 5)).x
    assert model.classifier(x).shape == (5, 3)
    assert torch.equal(model.classifier[0].mean, run.game.classifier[0].mean)


def test_a_run_of_an_earlier_version_gets_its_model_when_it_is_resumed(
    tmp_path: Path, data: Dataset
) -> None:
    run = finished(tmp_path, data, "grad_l2l", epochs=1)
    file = run.folder.path / MODEL_FILE
    before = file.read_bytes()
    file.unlink()
    Training(run.settings, data, run.folder, resume=True).run()
    assert read_tensors(file, missing="", way_out="")["classifier"].keys() == {"best", "last"}
    assert len(file.read_bytes()) == len(before)


def test_what_is_no_model_is_one_line(tmp_path: Path, learned: Training) -> None:
    with pytest.raises(InputError, match=r"model\.pt is missing: give the folder of a finished"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="give best or last"):
        load_model(learned.folder.path, which="first")  # type: ignore[arg-type]
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes((learned.folder.path / MODEL_FILE).read_bytes()[:-100])
    with pytest.raises(InputError):
        load_model(damaged)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {}}, "it lacks 'shape'"),
        ({"classes": 10**15}, r"is of shape"),
        ({"attacker": {}}, r"is of shape None"),
        ({"statistics": [[0.5], [0.5]]}, r"its statistics are not those of 3 channels"),
        ({"classifier": {"best": {}}}, r"is of shape None"),
        ({"statistics": [[0.5], []]}, r"its statistics are not those of \d channels"),
        ({"statistics": [[0.5] * 3, [0.0] * 3]}, r"its statistics are not those of \d channels"),
    ],
)
def test_a_file_that_does_not_fit_itself_is_refused_before_memory_is_taken(
    tmp_path: Path, learned: Training, change: dict[str, object], said: str
) -> None:
    content = read_tensors(learned.folder.path / MODEL_FILE, missing="", way_out="")
    save_tensors(tmp_path / MODEL_FILE, content | change)
    with pytest.raises(InputError, match=said) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, learned: Training) -> None:
    content = read_tensors(learned.folder.path / MODEL_FILE, missing="", way_out="")
    next(iter(content["classifier"]["best"].values())).fill_(float("nan"))
    save_tensors(tmp_path / MODEL_FILE, content)
    with pytest.raises(InputError, match="not finite"):
        load_model(tmp_path)
    assert isinstance(load_model(tmp_path, which="last"), TrainedModel)


def test_a_run_that_ends_with_no_attack_on_other_images_says_so(
    tmp_path: Path, data: Dataset
) -> None:
    model = load_model(finished(tmp_path, data, "free", epochs=1).folder.path)
    batch = data.test.batch(slice(0, 32))
    with pytest.raises(InputError, match="a run of free ends with no attack"):
        model.attack(batch.x, batch.y)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (255 * x, y), r"must be in \[0, 1\], and these run from"),
        (lambda x, y: (x.double(), y), "must be float32 of 3 channels, not float64 of 3"),
        (lambda x, y: (x[:, :1], y), "must be float32 of 3 channels, not float32 of 1"),
        (lambda x, y: (x, y + 100), r"the labels run from 10\d to 10\d"),
        (lambda x, y: (x, y[:1]), r"the labels must be an int64 tensor of shape \(8,\)"),
        (lambda x, y: (x, y.numpy()), r"the labels must be an int64 tensor of shape \(8,\)"),
    ],
)
def test_what_is_none_of_its_images_or_labels_is_refused(
    learned: Training, data: Dataset, change: Callable, said: str
) -> None:
    batch = data.test.batch(slice(0, 8))
    with pytest.raises(InputError, match=said) as caught:
        load_model(learned.folder.path).attack(*change(batch.x, batch.y))
    assert "\n" not in str(caught.value)


def test_the_attack_of_trades_knows_no_labels(tmp_path: Path, data: Dataset) -> None:
    model = load_model(finished(tmp_path, data, "trades", epochs=1).folder.path)
    batch = data.test.batch(slice(0, 8))
    perturbed = []
    for labels in (batch.y, (batch.y + 1) % 10):
        torch.manual_seed(0)
        perturbed.append(model.attack(batch.x, labels))
    assert torch.equal(*perturbed)
    assert not torch.equal(perturbed[0], batch.x)
