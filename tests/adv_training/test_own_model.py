"""A classifier of one's own: registered, trained, saved, loaded, and refused where it is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from adv_training import evaluate_robustness, load_model, models, register_model
from adv_training.data import Dataset
from adv_training.layer_noise import layer_noise
from adv_training.layers import Normalise, Statistics
from adv_training.models import build_classifier
from adv_training.training import Training
from l2l_gail.errors import InputError
from tests.adv_training.support import start, tiny_settings


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))


class Own(nn.Module):
    def __init__(self, classes: int, statistics: Statistics) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Normalise(statistics), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_it_trains_and_is_saved_and_loaded(tmp_path: Path, data: Dataset) -> None:
    register_model("own", Own)
    run = start(tmp_path, tiny_settings("grad_l2l", model="own", epochs=1), data)
    run.run()
    loaded = load_model(run.folder.path, which="last")
    assert isinstance(loaded.classifier, Own)
    x = data.test.batch(slice(0, 5)).x
    with torch.no_grad():
        assert torch.equal(loaded.classifier(x), run.evaluated.eval()(x))
    del models.MODELS["own"]
    with pytest.raises(InputError, match=r"unknown model 'own'; .* adv_training\.register_model"):
        load_model(run.folder.path)


def test_equal_seeds_give_equal_weights_and_leave_torch_s_own() -> None:
    register_model("own", Own)
    state = torch.random.get_rng_state()
    first, again = (build_classifier("own", 10, 3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "build", "said"),
    [
        ("small_cnn", Own, "a model 'small_cnn' is registered already"),
        ("", Own, "the name of a model is a text, not ''"),
        (Own, Own, "the name of a model is a text"),
        ("own", None, r"needs a class or function that makes it, .* not NoneType"),
        ("own", lambda: Own(10, ((), ())), r"made by build\(classes, statistics\).*too many"),
        ("own", lambda classes, *, width: None, "cannot be called so: "),
    ],
)
def test_what_cannot_be_registered(name: str, build: Callable, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        register_model(name, build)
    assert "\n" not in str(caught.value)
    assert "own" not in models.MODELS


class InPlace(Own):
    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        return super().forward(x)


class Picky(Own):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] == 224, "too small"
        return super().forward(x)


@pytest.mark.parametrize(("model", "said"), [(InPlace, "changes the images"), (Picky, "too small")])
def test_a_judged_classifier_that_refuses_or_changes_images_is_told_so(
    data: Dataset, model: type[Own], said: str
) -> None:
    with pytest.raises(InputError, match=f"the classifier {model.__name__} .*{said}"):
        evaluate_robustness(model(10, data.statistics), data.test, 8 / 255)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda classes, statistics: None, "the model 'own' must return a torch.nn.Module, not"),
        (lambda classes, statistics: Own(7, statistics), "own returns 7 logits .* has 10 classes"),
        (lambda classes, statistics: Own(1, statistics), "own returns one output for each image"),
        (
            lambda classes, statistics: InPlace(10, statistics),
            "own changes the images it is given;",
        ),
        (lambda classes, statistics: Picky(10, statistics), r"own takes no images of .*too small"),
        (lambda classes, statistics: Own(10, statistics).bfloat16(), "own has weights of bfloat16"),
        (lambda classes, statistics: Normalise(statistics), r"of shape \(1, 3, 32, 32\) for 1 im"),
    ],
)
def test_what_no_classifier_comes_of_is_said_before_the_training(
    tmp_path: Path, data: Dataset, build: Callable, said: str
) -> None:
    register_model("own", build)
    with pytest.raises(InputError, match=said) as caught:
        start(tmp_path, tiny_settings("pgd", model="own"), data)
    assert "\n" not in str(caught.value)


class Forgetful(Own):
    """With dropout, which draws from torch's global random state."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(nn.functional.dropout(x, 0.5, self.training))


def test_random_layers_draw_what_the_seed_says_and_a_run_goes_on_bit_for_bit(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_model("own", Forgetful)
    settings = tiny_settings("fgsm", model="own", epochs=2)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    whole = start(tmp_path / "whole", settings, data)
    whole.run()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(1)

    def broken_off(run: Training) -> None:
        if run.trainer.steps == 8:  # of five an epoch
            raise KeyboardInterrupt

    broken = start(tmp_path / "broken", settings, data, save_every=2)
    monkeypatch.setattr(broken.guard, "after_step", lambda: broken_off(broken))
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resumed = start(tmp_path / "broken", settings, data, resume=True)
    assert resumed.trainer.steps == 7
    resumed.run()
    expected, found = (run.game.classifier.state_dict() for run in (whole, resumed))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_each_step_and_each_process_has_noise_of_its_own() -> None:
    def drawn(*place: int) -> list[float]:
        with layer_noise(torch.device("cpu"), *place):
            return torch.rand(3).tolist()

    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({tuple(drawn(*place)) for place in places}) == 4
    assert drawn(0, 1, 0) == drawn(0, 1, 0)


class Particular(Own):
    """With weights that are frozen, others that are not used, and a state that is no tensor."""

    def __init__(self, classes: int, statistics: Statistics) -> None:
        super().__init__(classes, statistics)
        self.layers.append(nn.Linear(classes, classes).requires_grad_(False))
        self.unused = nn.Linear(2, 2)

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state == {"version": 3}


@pytest.mark.parametrize("recipe", [{"awp": 0.01}, {"ema": 0.9}])
def test_frozen_and_unused_weights_and_extra_states_do_no_harm(
    tmp_path: Path, data: Dataset, recipe: dict
) -> None:
    register_model("own", Particular)
    run = start(tmp_path, tiny_settings("fgsm", model="own", epochs=1, **recipe), data)
    run.run()
    loaded = load_model(run.folder.path, which="last").classifier.state_dict()
    for name, value in run.evaluated.state_dict().items():
        same = torch.equal if isinstance(value, Tensor) else dict.__eq__
        assert same(loaded[name], value)
