"""Attackers of one's own among the judges: their games, frozen parts and unused parameters."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from adv_training.data import Dataset, ImageBatch
from adv_training.game import CLEAN, ImageGame, Start
from adv_training.image_losses import margin
from adv_training.registry import Method
from adv_training.review import Review
from adv_training.robustness import evaluate_robustness, fine_tune
from l2l_gail.core import Oracle, State, UpdateRule, Vars
from l2l_gail.errors import InputError
from tests.adv_training.support import EPS, tiny_game, tiny_settings


class Scaled(UpdateRule):
    """A step along the sign of a learned size, beside a frozen parameter and one of no use."""

    def __init__(self, size: float = 0.3) -> None:
        super().__init__(size=size)
        self.size = nn.Parameter(torch.tensor(size))
        self.frozen = nn.Parameter(torch.tensor(1.0), requires_grad=False)
        self.unused = nn.Parameter(torch.tensor(1.0))

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        uphill = -oracle(variables)["x"].sign()
        return {"x": variables["x"] + EPS * self.frozen * self.size * uphill}, state


class Watched(nn.Module):
    """Keeps the last images that it was shown without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.net = tiny_game().classifier
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            self.seen.append(x)
        return self.net(x)


class Unbound(ImageGame):
    """Keeps images in the box alone."""

    def project(self, follower: Vars, batch: ImageBatch) -> Vars:
        return {"x": follower["x"].clamp(0.0, 1.0)}


def test_fine_tuning_moves_what_a_training_would_move(data: Dataset) -> None:
    method = Method(Scaled())
    tuned = fine_tune(tiny_game(), method, data.train, steps=3).rule
    assert tuned.size != method.rule.size
    assert tuned.frozen == method.rule.frozen
    assert tuned.unused == method.rule.unused


@pytest.mark.parametrize("named", [(), ("unused",)])
def test_fine_tuning_leaves_an_attacker_alone_that_cannot_learn(
    data: Dataset, named: tuple[str, ...]
) -> None:
    method = Method(Scaled())
    for name, parameter in method.rule.named_parameters():
        parameter.requires_grad_(name in named)
    game = tiny_game()
    game.classifier.requires_grad_(False)
    before = copy.deepcopy(method.rule.state_dict())
    tuned = fine_tune(game, method, data.train, steps=3).rule.state_dict()
    assert all(torch.equal(tuned[name], before[name]) for name in before)


def test_a_learned_attacker_is_judged_in_its_own_game(data: Dataset) -> None:
    asked: list[tuple[type[ImageGame], Start]] = []

    class Own(ImageGame):
        def follower_loss(self, follower: Vars, batch: ImageBatch) -> Tensor:
            assert self.attack_loss is margin
            asked.append((type(self), self.start))
            return super().follower_loss(follower, batch)

    noisy = Start(noise=1.0, confined=False)
    method = Method(Scaled(1.0), start=noisy, attack_loss=margin, game=Own)
    classifier = tiny_game().classifier
    report = evaluate_robustness(classifier, data.test, EPS, attacks=["learned"], method=method)
    assert set(asked) == {(Own, CLEAN)}  # noise is for training
    batch = data.test.batch(slice(None))
    point = batch.x.clone().requires_grad_()
    (uphill,) = torch.autograd.grad(margin(classifier.eval()(point), batch.y).sum(), point)
    x = (batch.x + EPS * uphill.sign()).clamp(0, 1)
    with torch.no_grad():
        right = [classifier(images).argmax(1) == batch.y for images in (batch.x, x)]
    assert report.accuracy["learned"] == pytest.approx(float((right[0] & right[1]).double().mean()))
    settings = tiny_settings()
    review = Review(settings, data, method, tiny_game(), classifier)
    assert isinstance(review.game, Own)
    assert review.game.start == CLEAN
    hand_made = Review(settings, data, Method(Scaled(), of_batch=True), tiny_game(), classifier)
    assert type(hand_made.game) is ImageGame


def test_fine_tuning_goes_on_in_the_attackers_own_game(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    games: list[ImageGame] = []

    def tune(game: ImageGame, method: Method, *rest: object, **options: object) -> Method:
        games.append(game)
        return method

    monkeypatch.setattr("adv_training.robustness.fine_tune", tune)
    options = {"attacks": ["fine_tuned"], "train": data.train}
    own = Method(Scaled(), attack_loss=margin, game=partial(Unbound))
    evaluate_robustness(tiny_game().classifier, data.test, EPS, method=own, **options)
    assert isinstance(games[0], Unbound)
    assert games[0].attack_loss is margin


def test_an_attacker_that_has_died_is_not_taken_for_the_classifier(data: Dataset) -> None:
    method = Method(Scaled(float("nan")))
    with pytest.raises(InputError, match="the attack 'learned' returns images that are NaN"):
        evaluate_robustness(
            tiny_game().classifier, data.test, EPS, attacks=["learned"], method=method
        )


def test_a_game_that_leaves_the_ball_is_held_to_it_where_robustness_is_told(data: Dataset) -> None:
    classifier = Watched()
    method = Method(Scaled(10.0), game=Unbound)
    images = data.test[:20]
    shown: list[int] = []
    evaluate_robustness(
        classifier,
        images,
        EPS,
        attacks=["learned"],
        method=method,
        tell=lambda text: shown.append(len(classifier.seen)),
    )
    moved = (classifier.seen[shown[0] - 1] - images.batch(slice(None)).x).abs()
    assert EPS / 2 < moved.max() <= EPS + 1e-6
