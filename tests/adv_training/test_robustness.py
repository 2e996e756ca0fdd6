"""The battery of attacks: what an attack must find, what a flag must and must not say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adv_training import robustness
from adv_training.autoattack import autoattack_survivors
from adv_training.data import Dataset, ImageBatch, Images
from adv_training.evaluate import attack_gain
from adv_training.game import ImageGame
from adv_training.layers import Normalise
from adv_training.masking import masking_flags
from adv_training.methods import build_method
from adv_training.registry import Method
from adv_training.robustness import evaluate_robustness, fine_tune
from adv_training.synthetic import synthetic_dataset
from l2l_gail.errors import InputError
from tests.adv_training.support import EPS, Linear, generator, tiny_game, tiny_settings
from tests.marks import slow


@pytest.fixture(scope="module")
def data() -> Dataset:
    return synthetic_dataset(train_size=1600, eval_size=200, held_out=100)


def train(model: nn.Module, data: Dataset, *, robustly: bool, epochs: int = 3) -> nn.Module:
    """Adam against FGSM, or on clean images: seconds, and good enough to have something to lose."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        for batch in data.train.shuffled(50, generator(epoch), augmented=False):
            x = batch.x
            if robustly:
                point = x.clone().requires_grad_()
                loss = F.cross_entropy(model.train()(point), batch.y)
                (ascent,) = torch.autograd.grad(loss, point)
                x = (x + EPS * ascent.sign()).clamp(0, 1)
            optimizer.zero_grad()
            F.cross_entropy(model.train()(x), batch.y).backward()
            optimizer.step()
    optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def robust(data: Dataset) -> nn.Module:
    return train(tiny_game().classifier, data, robustly=True)


@pytest.fixture(scope="module")
def plain(data: Dataset) -> nn.Module:
    return train(tiny_game().classifier, data, robustly=False)


class Quantised(nn.Module):
    """Rounds the image to 8 levels first: an honest classifier behind a gradient of zero."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model((x * 7).round() / 7)


class WinnersTakeAll(nn.Module):
    """Keeps the largest tenth of all activations (Xiao et al. 2019, arXiv 1905.10510)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        least = flat.topk(max(1, flat.shape[1] // 10), dim=1).values[:, -1:]
        return (flat * (flat >= least)).view_as(x)


class Noisy(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) + 0.1 * torch.randn(len(x), 10)


def k_wta_network() -> nn.Module:
    torch.manual_seed(0)
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b), WinnersTakeAll())
        for a, b, s in ((3, 16, 2), (16, 32, 1), (32, 32, 2), (32, 32, 1))
    ]
    return nn.Sequential(
        Normalise(), *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)
    )


@pytest.fixture(scope="module")
def k_wta(data: Dataset) -> nn.Module:
    return train(k_wta_network(), data, robustly=True, epochs=2)


def test_an_image_is_robust_only_if_every_attack_fails(
    data: Dataset, robust: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = len(data.test)
    kept = {"pgd20": torch.arange(n) % 2 == 0, "standing": torch.arange(n) % 3 == 0}
    for name, function in (("pgd20", "pgd_survivors"), ("standing", "standing_survivors")):
        mask = kept[name]
        monkeypatch.setattr(
            robustness, function, lambda c, batch, eps, mask=mask, **options: mask[batch.indices]
        )
    report = evaluate_robustness(robust, data.test, EPS)
    with torch.no_grad():
        batch = data.test.batch(slice(None))
        right = robust(batch.x).argmax(1) == batch.y
    for name, mask in kept.items():
        assert report.accuracy[name] == pytest.approx(float((mask & right).float().mean()))
    both = kept["pgd20"] & kept["standing"] & right
    assert report.robust == pytest.approx(float(both.float().mean()))
    assert report.clean == pytest.approx(float(right.float().mean()))


@pytest.mark.parametrize("kind", ["robust", "plain"])
def test_no_flag_on_healthy_classifiers(
    kind: str, data: Dataset, request: pytest.FixtureRequest
) -> None:
    report = evaluate_robustness(request.getfixturevalue(kind), data.test, EPS)
    assert report.flags == []
    assert report.clean > 0.5
    assert report.robust <= min(report.accuracy.values()) <= report.clean


def test_a_quantised_classifier_is_flagged(data: Dataset, plain: nn.Module) -> None:
    report = evaluate_robustness(Quantised(plain), data.test, EPS)
    assert any("exactly zero for 100.0%" in flag for flag in report.flags)
    assert any("withstand eps = 0.5" in flag for flag in report.flags)


@pytest.mark.slow
def test_a_winners_take_all_classifier_is_flagged(data: Dataset, k_wta: nn.Module) -> None:
    report = evaluate_robustness(k_wta, data.test, EPS)
    assert report.clean > 0.5
    assert any("does not follow its gradient" in flag for flag in report.flags)


def test_a_random_classifier_is_flagged(data: Dataset, plain: nn.Module) -> None:
    assert any("random" in flag for flag in masking_flags(Noisy(plain), data.test, {}))


@pytest.mark.parametrize(("square", "fires"), [(0.30, True), (0.395, False), (0.5, False)])
def test_square_is_a_flag_only_where_it_beats_apgd_t(
    data: Dataset, plain: nn.Module, square: float, fires: bool
) -> None:
    flags = masking_flags(plain, data.test, {"apgd_t": 0.4, "square": square, "pgd20": 0.9})
    assert any("Square beats APGD-T" in flag for flag in flags) is fires


@pytest.mark.parametrize(("apgd_t", "fires"), [(0.30, True), (0.36, False), (0.45, False)])
def test_apgd_t_far_below_the_standing_measure_is_a_flag(
    data: Dataset, plain: nn.Module, apgd_t: float, fires: bool
) -> None:
    accuracy = {"standing": 0.4, "apgd_t": apgd_t, "pgd20": 0.9}
    flags = masking_flags(plain, data.test[:20], accuracy)
    assert any("10.0% of the images below the standing measure" in flag for flag in flags) is fires


@pytest.mark.slow
def test_fine_tuning_raises_the_gain_and_leaves_the_attacker_alone(
    data: Dataset, robust: nn.Module
) -> None:
    game = ImageGame(robust, EPS)
    method = build_method(tiny_settings("grad_l2l", attacker="slim"))
    before = {k: v.clone() for k, v in method.rule.state_dict().items()}
    weights = {k: v.clone() for k, v in robust.state_dict().items()}
    tuned = fine_tune(game, method, data.train, steps=40)
    gain, less = attack_gain(game, tuned, data.test), attack_gain(game, method, data.test)
    assert gain.rule is not None
    assert less.rule is not None
    assert gain.rule > less.rule + 0.02
    assert all(torch.equal(v, before[k]) for k, v in method.rule.state_dict().items())
    assert all(torch.equal(v, weights[k]) for k, v in robust.state_dict().items())
    assert all(p.grad is None for p in robust.parameters())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attacks": ["pdg"]}, "attack 'pdg' is unknown; perhaps you meant 'pgd20'"),
        ({"attacks": ["learned"]}, "needs a method"),
        ({"attacks": ["fine_tuned"]}, "needs images"),
    ],
)
def test_attacks_that_cannot_run_are_refused(
    data: Dataset, plain: nn.Module, options: dict, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        evaluate_robustness(plain, data.test, EPS, **options)


def test_a_fresh_attacker_is_fine_tuned_on_images_with_odd_sides(
    data: Dataset, plain: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Images(data.test.pixels[:70, :, :31, :31], data.test.labels[:70])
    made: list[Method] = []
    real = fine_tune

    def short(game: ImageGame, method: Method | None, images: Images, *, seed: int) -> Method:
        made.append(real(game, method, images, steps=5, seed=seed))
        return made[-1]

    monkeypatch.setattr(robustness, "fine_tune", short)
    report = evaluate_robustness(plain, odd, EPS, attacks=["fine_tuned"], train=odd)
    assert report.accuracy["fine_tuned"] < report.clean
    batch = odd.batch(slice(0, 5))
    x = robustness.attack(ImageGame(plain, EPS), made[0], batch)
    assert x.shape == (5, 3, 31, 31)
    assert 0 < float((x - batch.x).abs().max()) <= EPS + 1e-6


@pytest.mark.parametrize("label", [10, -1])
def test_labels_that_the_classifier_has_no_output_for_are_one_line(
    data: Dataset, plain: nn.Module, label: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **options: object) -> Tensor:
        raise AssertionError("an attack has begun")

    for name in ("pgd_survivors", "standing_survivors", "fine_tune"):
        monkeypatch.setattr(robustness, name, never)
    good = data.test[:4]
    bad = Images(good.pixels, torch.tensor([0, 1, 2, label]))
    options = {"attacks": ["fine_tuned", "pgd20"]}
    for images, train in ((bad, good), (good, bad)):
        with pytest.raises(InputError, match="the classifier has 10 outputs") as caught:
            evaluate_robustness(plain, images, EPS, train=train, **options)
        assert "\n" not in str(caught.value)


def test_the_ensemble_is_refused_where_it_has_too_few_classes() -> None:
    pytest.importorskip("pyautoattack")
    images = Images(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="autoattack needs 4 classes or more, not 2"):
        evaluate_robustness(Linear(), images, EPS, attacks=["autoattack"])


@pytest.mark.parametrize("name", ["apgd_ce", "apgd_t", slow("square")])
def test_autoattack_s_attacks_are_at_least_as_strong_as_the_margin_allows(name: str) -> None:
    pytest.importorskip("pyautoattack")
    model = Linear()
    weight = model.weight.detach()
    y = torch.tensor([0, 1, 0, 1, 1, 0])
    share = torch.linspace(0.2, 2.0, len(y))
    wanted = torch.where(y == 1, 1.0, -1.0) * share * EPS * weight.abs().sum()
    x = (wanted / weight.square().sum()).view(-1, 1, 1, 1) * weight + 0.5

    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x - 0.5)

    batch = ImageBatch(x, y)
    state = torch.random.get_rng_state()
    found = autoattack_survivors(name, Centred(), batch, EPS, seed=0)
    expected = share > 1
    if name == "square":  # comes near the corner of the ball, not into it
        assert not bool((expected & ~found).any())
        assert not found[0]
    else:
        assert torch.equal(found, expected)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.slow
def test_the_standing_measure_is_near_apgd_t(data: Dataset, robust: nn.Module) -> None:
    pytest.importorskip("pyautoattack")
    report = evaluate_robustness(
        robust, data.test[:40], EPS, attacks=["standing", "apgd_ce", "apgd_t"]
    )
    assert abs(report.accuracy["standing"] - report.accuracy["apgd_t"]) <= 0.05
    assert all(p.requires_grad for p in robust.parameters())


@pytest.mark.slow
def test_square_gives_a_winners_take_all_classifier_away(data: Dataset, k_wta: nn.Module) -> None:
    pytest.importorskip("pyautoattack")
    report = evaluate_robustness(
        k_wta, data.test[:60], EPS, attacks=["apgd_t", "square"], square_queries=500
    )
    assert any("Square beats APGD-T" in flag for flag in report.flags)


def test_the_standard_ensemble_runs_and_finds_what_is_easy(data: Dataset, plain: nn.Module) -> None:
    pytest.importorskip("pyautoattack")
    batch = data.test.batch(slice(0, 8))
    found = autoattack_survivors("autoattack", plain, batch, 0.1, seed=0)
    assert found.shape == (8,)
    assert not bool(found.any())


@pytest.mark.parametrize(("classes", "targets"), [(4, 3), (9, 8), (12, 9)])
def test_the_ensemble_aims_at_no_more_classes_than_there_are(
    monkeypatch: pytest.MonkeyPatch, classes: int, targets: int
) -> None:
    pyautoattack = pytest.importorskip("pyautoattack")
    aims = []

    def looked_at(ensemble: Any, x: Tensor, y: Tensor, **options: Any) -> tuple[Tensor]:
        aims.extend([ensemble.apgd_targeted.n_target_classes, ensemble.fab.n_target_classes])
        return (x,)

    monkeypatch.setattr(pyautoattack.AutoAttack, "run_standard_evaluation", looked_at)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(48, classes))
    x = torch.rand(2, 3, 4, 4, generator=generator())
    autoattack_survivors("autoattack", plain, ImageBatch(x, plain(x).argmax(1)), EPS, seed=0)
    assert aims == [targets, targets]


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        ({"apgd_ce": 0.5, "standing": 0.9}, "APGD-CE is 40.0% of the images below the standing"),
        ({"apgd_ce": 0.5, "apgd_t": 0.4, "standing": 0.9}, "APGD-T is 50.0%"),
        ({"square": 0.3, "apgd_t": 0.4, "standing": 0.9}, "Square is 60.0%"),
        ({"autoattack": 0.8, "standing": 0.9}, "AutoAttack is 10.0%"),
    ],
)
def test_whichever_attack_is_lowest_says_that_the_standing_measure_flatters(
    data: Dataset, plain: nn.Module, accuracy: dict[str, float], said: str
) -> None:
    assert said in masking_flags(plain, data.test[:20], accuracy)[0]
