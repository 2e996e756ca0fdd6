"""Ordinary mistakes in a call: one line that says what is wrong and what to do, before any work."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adv_training import masking, robustness
from adv_training.attacks import fgsm, pgd, pgd_survivors, standing_survivors
from adv_training.autoattack import autoattack_survivors
from adv_training.data import Dataset, ImageBatch, Images
from adv_training.evaluate import accuracy, attack, attack_gain, single_step_trap
from adv_training.game import ImageGame
from adv_training.masking import masking_flags
from adv_training.methods import build_method
from adv_training.other_games import TradesGame
from adv_training.robustness import evaluate_robustness, fine_tune
from adv_training.settings import Settings
from adv_training.synthetic import synthetic_images
from l2l_gail.errors import InputError
from tests.adv_training.support import EPS, generator, tiny_batch, tiny_game, tiny_settings

NET = tiny_game().classifier
BATCH = tiny_batch(4)
IMAGES = synthetic_images(4, seed=0)


def learned_with(eps: float) -> Tensor:
    game = tiny_game()
    game.eps = eps
    return attack(game, build_method(tiny_settings("grad_l2l")), BATCH)


TAKES_EPS: dict[str, Callable[[float], object]] = {
    "fgsm": lambda eps: fgsm(NET, BATCH, eps),
    "pgd": lambda eps: pgd(NET, BATCH, eps),
    "pgd_survivors": lambda eps: pgd_survivors(NET, BATCH, eps, generator=generator()),
    "standing_survivors": lambda eps: standing_survivors(NET, BATCH, eps, generator=generator()),
    "autoattack_survivors": lambda eps: autoattack_survivors("square", NET, BATCH, eps, seed=0),
    "accuracy": lambda eps: accuracy(NET, IMAGES, eps, seed=0),
    "single_step_trap": lambda eps: single_step_trap(NET, BATCH, eps, generator()),
    "evaluate_robustness": lambda eps: evaluate_robustness(NET, IMAGES, eps),
    "ImageGame": lambda eps: ImageGame(NET, eps),
    "TradesGame": lambda eps: TradesGame(NET, eps),
    "attack": learned_with,
}


@pytest.mark.parametrize("eps", [8, 255.0, 1.001, -0.1, float("nan"), float("inf"), "8/255", None])
@pytest.mark.parametrize("name", TAKES_EPS)
def test_what_is_no_epsilon_is_refused(name: str, eps: float) -> None:
    with pytest.raises(
        InputError, match=r"eps is in units of \[0, 1\]: 8/255, not 8; give"
    ) as said:
        TAKES_EPS[name](eps)
    assert "\n" not in str(said.value)
    assert repr(eps) in str(said.value)


@pytest.mark.parametrize("eps", [0, 0.0, EPS, torch.tensor(EPS), 1])
def test_every_radius_of_a_ball_in_the_unit_cube_is_taken(eps: float) -> None:
    x = pgd(NET, BATCH, eps, steps=1, generator=generator())
    assert (x - BATCH.x).abs().max() <= eps + 1e-6
    assert 0 <= accuracy(NET, IMAGES, eps, seed=0, steps=1).robust <= 1


class Net(nn.Module):
    """Does to the logits of a healthy classifier whatever it is made from."""

    def __init__(self, change: Callable[[Tensor], object] = lambda logits: logits) -> None:
        super().__init__()
        self.net = NET
        self.change = change

    def forward(self, x: Tensor) -> object:
        return self.change(self.net(x))


class Rooted(nn.Module):
    """Adds nothing to the logits, and a root whose gradient is infinite or, at 0 / 0, NaN."""

    def __init__(self, *, at: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = NET
        self.at = at

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + 0 * self.at(x).flatten(1).square().sum(1, keepdim=True).sqrt()


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flat, self.last = nn.Flatten(), nn.Linear(3 * 32 * 32, 10).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.flat(x))


class Grey(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


NO_CLASSIFIERS: dict[str, tuple[object, str]] = {
    "a function": (lambda x: NET(x), r"must be a torch\.nn\.Module, not function"),
    "a tuple": (Net(lambda z: (z, z)), r"Net returns a tuple; let it return logits, a tensor"),
    "a dict": (Net(lambda z: {"logits": z}), r"Net returns a dict; let it return logits"),
    "(B,)": (Net(lambda z: z[:, 0]), r"one output for each image, and two logits are needed"),
    "(B, 1)": (Net(lambda z: z[:, :1]), r"two logits are needed .* torch\.cat\("),
    "(1, classes)": (Net(lambda z: z[:1]), r"returns float32 of shape \(1, 10\) for 2 images"),
    "(B, classes, 1)": (Net(lambda z: z[..., None]), r"of shape \(2, 10, 1\) for 2 images"),
    "labels": (Net(lambda z: z.round().long()), r"returns int64 of shape \(2, 10\)"),
    "no gradient": (Net(lambda z: z.detach()), r"Net cuts its logits off from the images"),
    "float64": (Doubled(), r"Doubled has weights of float64.*give classifier\.float\(\)"),
    "channels": (
        Grey(),
        r"Grey takes no images of shape \(3, 32, 32\) \(.*1, 3, 3.*\); give those",
    ),
    "NaN": (Net(lambda z: z * float("nan")), r"classifier Net returns logits that are NaN or inf"),
    "infinite": (Net(lambda z: z / 0), r"classifier Net returns logits that are NaN or inf"),
    "NaN gradient": (
        Rooted(at=lambda x: x - x.detach()),
        r"classifier Rooted has a gradient that is NaN, .*; look for a square root of 0",
    ),
}


@pytest.fixture
def no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **options: object) -> Tensor:
        raise AssertionError("an attack has begun")

    for name in ("pgd_survivors", "standing_survivors", "fine_tune"):
        monkeypatch.setattr(robustness, name, never)
    for name in ("standing_survivors", "input_gradient"):
        monkeypatch.setattr(masking, name, never)


@pytest.mark.usefixtures("no_attack")
@pytest.mark.parametrize("kind", NO_CLASSIFIERS)
def test_what_is_no_classifier_is_refused_in_one_line(kind: str) -> None:
    classifier, said = NO_CLASSIFIERS[kind]
    for judge in (
        lambda: evaluate_robustness(classifier, IMAGES, EPS),  # type: ignore[arg-type]
        lambda: masking_flags(classifier, IMAGES, {}),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=said) as caught:
            judge()
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_attack")
def test_one_image_of_many_without_finite_logits_is_found_before_any_attack() -> None:
    black = IMAGES.pixels.clone()
    black[3] = 0
    images = Images(black, IMAGES.labels)

    class Ratio(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return NET(x) / x.amax(dim=(1, 2, 3))[:, None]

    with pytest.raises(InputError, match="the classifier Ratio returns logits that are NaN or inf"):
        evaluate_robustness(Ratio(), images, EPS)


BLACK_PIXELS = IMAGES.pixels * (torch.arange(4) < 3).byte().view(-1, 1, 1, 1)
BLACK = Images(BLACK_PIXELS, NET.eval()(BLACK_PIXELS / 255).argmax(1))  # all of them right
NOT_AT_BLACK = Rooted(at=lambda x: x)


def test_an_image_at_which_the_gradient_is_nan_withstands_no_attack() -> None:
    said = "the classifier Rooted has a gradient that is NaN, which no attack can follow"
    for judge in (
        lambda: fgsm(NOT_AT_BLACK, BLACK.batch(slice(None)), EPS),
        lambda: pgd(NOT_AT_BLACK, BLACK.batch(slice(None)), EPS),
        lambda: masking_flags(NOT_AT_BLACK, BLACK, {}),
        lambda: accuracy(NOT_AT_BLACK, BLACK, 0.0, seed=0),
        lambda: evaluate_robustness(NOT_AT_BLACK, BLACK, EPS, attacks=["fine_tuned"], train=BLACK),
    ):
        with pytest.raises(InputError, match=said) as caught:
            judge()
        assert "\n" not in str(caught.value)


def test_the_accuracy_of_a_classifier_of_nan_is_no_share_of_the_first_class() -> None:
    said = "the classifier Net returns logits that are NaN or infinite"
    nothing = Net(lambda z: z * float("nan"))
    with pytest.raises(InputError, match=said):
        accuracy(nothing, IMAGES, EPS, seed=0)
    with pytest.raises(InputError, match=said):
        fgsm(nothing, BATCH, EPS)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"restarts": 0}, "restarts must be a whole number"), ({"steps": -3}, "steps must be a")],
)
def test_an_attack_of_no_step_or_no_start_is_refused(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        accuracy(NET, IMAGES, EPS, seed=0, **options)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (BATCH.x * 255, r"in \[0, 1\], and these run from 36 to 223; divide bytes by 255"),
        ((BATCH.x - 0.5) / 0.25, r"run from -1\.44 to .*leave normalising to the classifier"),
        (BATCH.x * float("nan"), r"run from nan to nan"),
        ((BATCH.x * 255).byte(), r"floats in \[0, 1\] .*, not uint8 of shape \(4, 3, 32, 32\)"),
        (BATCH.x[0], r"of shape \(B, C, H, W\), not float32 of shape \(3, 32, 32\)"),
        (BATCH.x.numpy(), "the images must be a tensor, not ndarray"),
    ],
)
def test_images_that_an_attack_would_clamp_are_refused(x: Tensor, said: str) -> None:
    batch, method = ImageBatch(x, BATCH.y), build_method(tiny_settings("grad_l2l"))
    for perturb in (
        lambda: fgsm(NET, batch, EPS),
        lambda: pgd(NET, batch, EPS),
        lambda: pgd_survivors(NET, batch, EPS, generator=generator()),
        lambda: attack(ImageGame(NET, EPS), method, batch),
    ):
        with pytest.raises(InputError, match=said) as caught:
            perturb()
        assert "\n" not in str(caught.value)


def test_pixels_that_were_normalised_and_brought_back_are_taken() -> None:
    x = BATCH.x + 1e-6
    assert (fgsm(NET, BATCH._replace(x=x), EPS) - x).abs().max() <= EPS + 1e-5


def test_modes_and_weights_are_left_as_they_were_by_what_is_refused() -> None:
    classifier = Net(lambda z: z[:, 0]).train()
    with pytest.raises(InputError):
        evaluate_robustness(classifier, IMAGES, EPS)
    assert classifier.training
    assert all(p.grad is None for p in classifier.parameters())


@pytest.mark.usefixtures("no_attack")
@pytest.mark.parametrize(
    ("images", "options", "said"),
    [
        (IMAGES[:0], {}, "there are no images to judge on; give at least one"),
        (IMAGES.pixels, {}, r"to judge on must be adv_training\.Images, not Tensor"),
        (IMAGES, {"attacks": "pgd20"}, r"attacks is a list of names, \['pgd20'\], not 'pgd20'"),
        (IMAGES, {"attacks": ()}, "attacks is empty; give one of pgd20, standing"),
        (IMAGES, {"attacks": ["fine_tuned"], "train": IMAGES[:0]}, "no images for fine_tuned to"),
        (
            IMAGES,
            {"attacks": ["fine_tuned"], "train": Images(IMAGES.pixels[:, :1], IMAGES.labels)},
            r"takes no images of shape \(1, 32, 32\)",
        ),
    ],
)
def test_images_and_attacks_that_are_none(images: Images, options: dict, said: str) -> None:
    class Strict(Net):
        def forward(self, x: Tensor) -> object:
            if x.shape[1] != 3:
                raise RuntimeError("expected 3 channels")
            return super().forward(x)

    with pytest.raises(InputError, match=said):
        evaluate_robustness(Strict(), images, EPS, **options)


def test_no_images_are_refused_by_every_judge() -> None:
    game, method = ImageGame(NET, EPS), build_method(tiny_settings("grad_l2l"))
    for judge in (
        lambda: accuracy(NET, IMAGES[:0], EPS, seed=0),
        lambda: attack_gain(game, method, IMAGES[:0]),
        lambda: fine_tune(game, method, IMAGES[:0]),
        lambda: masking_flags(NET, IMAGES[:0], {}),
    ):
        with pytest.raises(InputError, match="there are no images"):
            judge()


def test_one_image_is_enough(data: Dataset) -> None:
    report = evaluate_robustness(NET, data.test[:1], EPS)
    assert report.images == 1


@pytest.mark.parametrize("count", [32, 7])
def test_what_is_learned_of_one_batch_is_no_attack_on_another(count: int) -> None:
    method = build_method(tiny_settings("free", batch_size=32))
    said = "a run of FreePerturbation ends with no attack on other images; attack its classifier"
    with pytest.raises(InputError, match=said):
        attack(ImageGame(NET, EPS), method, tiny_batch(count))


@pytest.mark.parametrize(
    "wrong",
    [{"eps": "8"}, {"lr": True}, {"milestones": 0.5}, {"milestones": ("a",)}, {"bf16": "no"}],
)
def test_settings_of_another_type_are_refused_by_their_flag(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"--{next(iter(wrong))} .* must be"):
        Settings("pgd", "synthetic", **wrong)


def test_numbers_of_numpy_become_python_s_own() -> None:
    settings = Settings("pgd", "synthetic", eps=np.float32(8))  # type: ignore[arg-type]
    assert type(settings.eps) is float
    assert settings == Settings("pgd", "synthetic", eps=8.0)
