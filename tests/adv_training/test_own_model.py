"""A classifier of one's own: registered, trained, saved, loaded, and refused where it is none."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from adv_training import (
    evaluate_robustness,
    forward_equivalents,
    load_model,
    models,
    register_model,
)
from adv_training.checks import check_neighbours
from adv_training.data import Dataset, Images
from adv_training.layer_noise import layer_noise
from adv_training.layers import Normalise, Statistics
from adv_training.models import build_classifier
from adv_training.training import Training
from l2l_gail.errors import InputError
from tests.adv_training.support import start, tiny_settings

ROOT = Path(__file__).parents[2]


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


class OfValues(Own):
    """Whose constructor looks at a tensor's value, which there is none of on the meta device."""

    def __init__(self, classes: int, statistics: Statistics) -> None:
        super().__init__(classes, statistics)
        self.scale = float(torch.linspace(0, 1, 5).sum())


def test_one_that_reads_values_where_it_is_made_is_loaded(tmp_path: Path, data: Dataset) -> None:
    register_model("of_values", OfValues)
    run = start(tmp_path, tiny_settings("fgsm", model="of_values", epochs=1), data)
    run.run()
    assert load_model(run.folder.path).classifier.scale == 2.5


class Prototypes(nn.Module):
    def __init__(self, classes: int, statistics: Statistics) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.rand(classes, 3 * 32 * 32))

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(x.flatten(1), self.images)


def test_one_whose_operations_cannot_be_counted_trains_to_its_end(
    tmp_path: Path, data: Dataset
) -> None:
    register_model("prototypes", Prototypes)
    run = start(tmp_path, tiny_settings("grad_l2l", model="prototypes", epochs=1), data)
    summary = run.run()
    assert summary["flops"] == 0
    assert summary["forward_equivalents"] == forward_equivalents(run.settings)


class Trapped(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * (x - x.detach()).square().sum().sqrt()


def test_one_whose_gradient_is_nan_ends_its_training_as_no_attack_moves_its_images(
    tmp_path: Path, data: Dataset
) -> None:
    register_model("trapped", Trapped)
    said = "step 5 of pgd-2: the classifier Trapped has a gradient that is NaN, .*; lower --lr"
    with pytest.raises(InputError, match=said) as caught:
        start(tmp_path, tiny_settings("pgd", model="trapped", epochs=1), data).run()
    assert "\n" not in str(caught.value)


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


class Together(Own):
    """Normalises in evaluation, too, by the statistics of whatever batch an image is in."""

    def __init__(self, classes: int, statistics: Statistics, layer: type = nn.BatchNorm2d) -> None:
        super().__init__(classes, statistics)
        if layer is nn.BatchNorm2d:
            self.layers.insert(1, layer(3, track_running_stats=False))
        else:
            self.layers.append(layer(classes, track_running_stats=False))


class Shared(Own):
    """Has so many logits to deal out among the images, whichever they are."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / len(x)


class Random(Own):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.5 * torch.randn_like(x))


def test_a_classifier_whose_images_depend_on_their_neighbours_is_not_judged(data: Dataset) -> None:
    alike = Images(data.test.pixels[:1].expand(2, -1, -1, -1), data.test.labels[:2])
    for images in (data.test, data.test[:1], alike):
        with pytest.raises(InputError, match=r"Together returns other .* beside another"):
            evaluate_robustness(Together(10, data.statistics), images, 8 / 255)
    with pytest.raises(InputError, match=r"Shared returns other .* alone than beside another"):
        evaluate_robustness(Shared(10, data.statistics), data.test, 8 / 255)
    for layer, count in ((nn.BatchNorm1d, 2), (nn.BatchNorm1d, 1)):
        with pytest.raises(InputError, match=r"Together.* takes no images .*more than 1 value per"):
            evaluate_robustness(Together(10, data.statistics, layer), data.test[:count], 8 / 255)


@pytest.mark.parametrize("model", ["tiny_cnn", "small_cnn"])
def test_rounding_is_no_dependence_on_neighbours(data: Dataset, model: str) -> None:
    classifier = build_classifier(model, 10, 0)
    classifier.train()(data.test.batch(slice(0, 20)).x)
    for k in range(4):
        with torch.autocast("cpu", torch.bfloat16, enabled=k % 2 == 1):
            check_neighbours(classifier, data.test.batch(slice(k, k + 1)).x, "it")
    assert classifier.training


def test_a_random_classifier_is_let_pass_and_torch_s_generator_is_as_it_was(data: Dataset) -> None:
    classifier, state = Random(10, data.statistics), torch.random.get_rng_state()
    check_neighbours(classifier, data.test.batch(slice(0, 1)).x, "it")
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (Together, "the model own returns other logits for an image alone than beside another"),
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


class Still(Own):
    """With normalised classes alone to train, and not even these if it is ``frozen``."""

    def __init__(self, classes: int, statistics: Statistics, frozen: bool) -> None:
        super().__init__(classes, statistics)
        self.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(classes), requires_grad=not frozen)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) * self.scale


@pytest.mark.parametrize(
    ("frozen", "awp", "said"),
    [
        (True, 0.0, "own has no weights to train"),
        (True, 0.01, "own has no weights to train"),
        (False, 0.01, "own has no weights for --awp"),
    ],
)
def test_a_classifier_without_weights_to_train_or_shift_is_refused(
    tmp_path: Path, data: Dataset, frozen: bool, awp: float, said: str
) -> None:
    register_model("own", lambda classes, statistics: Still(classes, statistics, frozen))
    with pytest.raises(InputError, match=said):
        start(tmp_path, tiny_settings("pgd", model="own", awp=awp), data)


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


class Grouped(nn.Module):
    """Group normalisations of the images and behind a frozen stem, all of them trained."""

    def __init__(self, classes: int, statistics: Statistics) -> None:
        super().__init__()
        colours = len(statistics[0])
        self.layers = nn.Sequential(
            Normalise(statistics),
            nn.GroupNorm(1, colours),
            nn.Conv2d(colours, 8, 3, 4).requires_grad_(False),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


_TRAINED = """
import sys
from pathlib import Path
import torch
from adv_training import load_model, register_model
from adv_training.synthetic import synthetic_dataset
from tests.adv_training.support import start, tiny_settings
from tests.adv_training.test_own_model import Grouped
torch.set_num_threads(1)
register_model("grouped", Grouped)
data = synthetic_dataset(train_size=80, eval_size=10, held_out=10)
for method, recipe in (("standard", {}), ("fgsm", {"awp": 0.01})):
    settings = tiny_settings(method, model="grouped", epochs=1, **recipe)
    run = start(Path(sys.argv[1]) / method, settings, data)
    run.run()
loaded = load_model(run.folder.path).classifier
torch.autograd.grad(loaded(data.test.batch(slice(0, 8)).x).sum(), loaded.layers[1].weight)
print("whole")
"""


@pytest.mark.slow
def test_trained_group_normalisations_end_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TRAINED, str(tmp_path)]  # torch 2.13 had a segmentation fault
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr[-500:]


@pytest.mark.parametrize("colours", [1, 3])
def test_only_group_normalisations_see_images_on_a_cpu_channel_by_channel(colours: int) -> None:
    register_model("grouped", Grouped)
    model = build_classifier("grouped", 10, 0, statistics=((0.5,) * colours, (0.5,) * colours))
    seen: list[tuple[int, ...]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.append(inputs[0].stride())

    for layer in (model.layers[1], model.layers[3], model.layers[5]):
        layer.register_forward_pre_hook(note)
    x = torch.rand(2, 32, 32, colours).permute(0, 3, 1, 2)
    plain = nn.Sequential(*copy.deepcopy(model.layers)).to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(model(x), plain(x.flatten(1).view(x.shape)))
    assert seen[:3] == [(colours * 1024, 1024, 32, 1), (512, 64, 8, 1), (512, 64, 8, 1)]
    weights = model.layers[2].weight
    assert weights.is_contiguous(memory_format=torch.channels_last)


class Lazy(nn.Module):
    """Made without a word about the size of its images."""

    def __init__(self, classes: int, statistics: Statistics) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Normalise(statistics),
            nn.LazyConv2d(4, 3, 4),
            nn.LazyBatchNorm2d(),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def test_lazy_layers_are_made_by_the_seed_trained_and_loaded(tmp_path: Path, data: Dataset) -> None:
    register_model("lazy", Lazy)
    first, again = (build_classifier("lazy", 10, 3, size=(12, 16)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["layers.5.weight"].shape == (10, 4 * 3 * 4)
    assert first["layers.2.num_batches_tracked"] == 0
    run = start(tmp_path, tiny_settings("fgsm", model="lazy", epochs=1, ema=0.9), data)
    run.run()
    loaded = load_model(run.folder.path, which="last").classifier.state_dict()
    assert all(torch.equal(loaded[n], value) for n, value in run.evaluated.state_dict().items())


class Idle(Own):
    def __init__(self, classes: int, statistics: Statistics) -> None:
        super().__init__(classes, statistics)
        self.idle = nn.LazyLinear(2)


def test_lazy_layers_that_no_image_reaches_are_said_in_one_line(
    tmp_path: Path, data: Dataset
) -> None:
    register_model("idle", Idle)
    with pytest.raises(InputError, match=r"idle has lazy layers .* idle\.weight") as caught:
        start(tmp_path, tiny_settings("pgd", model="idle"), data)
    assert "\n" not in str(caught.value)
