"""The game and its methods: modes, signs, costs, and that all of them go through the core."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from adv_training.attackers import ResidualNet, SlimAttacker
from adv_training.cost import attacker_flops, forward_flops
from adv_training.data import ImageBatch
from adv_training.evaluate import attack
from adv_training.game import CLEAN, UNIFORM, ImageGame, Start, in_mode
from adv_training.methods import build_method, forward_equivalents
from adv_training.models import MODELS, build_classifier
from adv_training.registry import method_names
from adv_training.rules import ClassStart, MemoryStart, ResidualPerturber
from adv_training.settings import Settings
from adv_training.step import build_game, build_trainer, train_step
from l2l_gail.core import ConvPerturber, L2LTrainer, SignDescent
from l2l_gail.core import trainer as core_trainer
from l2l_gail.errors import InputError
from tests.adv_training.support import EPS, generator, tiny_batch, tiny_game, tiny_settings


class Flops(TorchDispatchMode):
    """Counts multiply-adds, twice each, in every operator that runs, backward ones included."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def set_up(settings: Settings, *, model: str | None = None) -> tuple[L2LTrainer, Any, ImageGame]:
    method = build_method(settings)
    classifier = build_classifier(model or settings.model, 10, settings.seed)
    game = build_game(classifier, method, settings, generator(9))
    return build_trainer(game, method, settings), method, game


def statistics(game: ImageGame) -> list[torch.Tensor]:
    return [b.clone() for name, b in game.classifier.named_buffers() if "running" in name]


def test_queries_leave_the_statistics_alone_and_the_leader_moves_them_once() -> None:
    game = tiny_game()
    batch = tiny_batch()
    before = statistics(game)
    for training in (True, False):
        game.classifier.train(training)
        game.follower_loss({"x": batch.x}, batch)
        assert game.classifier.training is training
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(game), strict=True))
    game.classifier.eval()
    game.leader_loss({"x": batch.x}, batch)
    assert not game.classifier.training
    assert not any(torch.equal(a, b) for a, b in zip(before, statistics(game), strict=True))


@pytest.mark.parametrize("name", [n for n in method_names() if n != "trades"])
def test_the_statistics_after_a_step_are_those_of_the_perturbed_batch(name: str) -> None:
    trainer, method, game = set_up(tiny_settings(name, pgd_steps=3, batch_size=16))
    batch = tiny_batch()
    game.generator = generator(4)
    expected = copy.deepcopy(game.classifier)
    # What free learns begins at zero, and is no attack on other images.
    perturbed = batch.x if method.of_batch else attack(game, method, batch)
    game.generator = generator(4)
    expected.train()(perturbed)
    train_step(trainer, method, batch)
    for mine, other in zip(game.classifier.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_game_is_zero_sum_in_one_mode() -> None:
    game = tiny_game()
    batch = tiny_batch()
    with in_mode(game.classifier, training=False), torch.no_grad():
        expected = F.cross_entropy(game.classifier(batch.x), batch.y)
    torch.testing.assert_close(game.follower_loss({"x": batch.x}, batch), -expected)


def test_random_starts_fill_the_ball_and_repeat() -> None:
    batch = tiny_batch(64)
    first, second = (
        tiny_game(start=UNIFORM, generator=generator(1)).init_follower(batch)["x"] for _ in range(2)
    )
    assert torch.equal(first, second)
    shift = (first - batch.x) / EPS
    assert shift.abs().max() <= 1 + 1e-4
    assert shift.mean().abs() < 0.02
    assert shift.std() == pytest.approx(3**-0.5, abs=0.02)  # of a uniform on [-1, 1]
    assert torch.equal(tiny_game().init_follower(batch)["x"], batch.x)


def test_the_table_of_methods() -> None:
    def rule(name: str, **changes: object) -> Any:
        return build_method(tiny_settings(name, **changes))

    assert rule("standard").rule.__class__.__name__ == "Stay"
    assert (rule("fgsm").rule.lr, rule("fgsm").start) == (EPS, CLEAN)
    assert (rule("n_fgsm").rule.lr, rule("n_fgsm").start) == (EPS, Start(2.0, confined=False))
    assert rule("naive_l2l").rule.uses_gradient is False
    assert rule("fgsm_rs").rule.lr == pytest.approx(1.25 * EPS)
    assert (rule("fgsm_rs").start, rule("fgsm_rs").steps) == (UNIFORM, 1)
    assert rule("pgd", pgd_steps=10).rule.lr == pytest.approx(EPS / 4)
    assert rule("pgd", pgd_steps=10).steps == 10
    assert isinstance(rule("pgd").rule, SignDescent)
    learned = rule("grad_l2l", l2l_steps=3)
    assert (type(learned.rule), learned.remembers, learned.labelled) == (MemoryStart, True, False)
    assert rule("grad_l2l").start == Start(1.0, confined=False)  # one step, with a memory
    assert rule("grad_l2l", attacker_noise=0.0).start == learned.start == CLEAN
    assert rule("grad_l2l", attacker="class_start").start == CLEAN
    assert rule("grad_l2l", attacker_noise=1.5).start == Start(1.5, confined=False)
    by_class = rule("grad_l2l", attacker="class_start")
    assert (type(by_class.rule), by_class.labelled) == (ClassStart, True)
    plain = rule("grad_l2l", attacker="residual")
    assert (type(plain.rule), plain.labelled) == (ResidualPerturber, False)
    assert isinstance(rule("grad_l2l", attacker="slim").rule, ConvPerturber)
    assert (learned.start, learned.steps, learned.learns) == (CLEAN, 3, True)
    assert learned.rule.radius == pytest.approx(EPS)
    assert not rule("pgd").learns


@pytest.mark.parametrize("name", method_names())
def test_every_method_goes_through_the_core(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    step, unroll = L2LTrainer.step, core_trainer.unroll

    def watched_step(self: L2LTrainer, *args: Any, **options: Any) -> Any:
        seen.append("step")
        return step(self, *args, **options)

    def watched_unroll(rule: Any, game: Any, follower: Any, state: Any, batches: Any, **o: Any):
        seen.append(f"unroll {len(batches)}")
        return unroll(rule, game, follower, state, batches, **o)

    monkeypatch.setattr(L2LTrainer, "step", watched_step)
    monkeypatch.setattr(core_trainer, "unroll", watched_unroll)
    trainer, method, _ = set_up(tiny_settings(name, pgd_steps=3, batch_size=16))
    train_step(trainer, method, tiny_batch())
    steps = 3 if name in ("pgd", "trades") else 1
    assert seen == ["step", f"unroll {steps}"]


def test_a_fused_step_equals_two_gradients_with_the_sign_turned() -> None:
    """Classifier and attacker as plain torch code computes them, then the same optimizers."""
    settings = tiny_settings("grad_l2l", attacker="slim", attacker_every=1, weight_decay=0.0)
    trainer, method, game = set_up(settings)
    reference = copy.deepcopy(game.classifier)
    net = copy.deepcopy(method.rule.net)
    batch = tiny_batch()
    x = batch.x.clone().requires_grad_()
    (ascent,) = torch.autograd.grad(F.cross_entropy(reference.eval()(x), batch.y), x)
    ascent = ascent / ascent.abs().amax(dim=(1, 2, 3), keepdim=True)

    def loss() -> torch.Tensor:
        images = batch.x + EPS * net(torch.cat([batch.x, ascent], 1)).tanh()
        return F.cross_entropy(reference.train()(images.clamp(0, 1)), batch.y)

    statistics_before = copy.deepcopy(reference.state_dict())
    expected_leader = torch.autograd.grad(loss(), list(reference.parameters()))
    reference.load_state_dict(statistics_before)
    expected_phi = torch.autograd.grad(-loss(), list(net.parameters()))
    norm = torch.stack([g.norm() for g in expected_phi]).norm()

    stats = train_step(trainer, method, batch)
    torch.testing.assert_close(stats["meta_gradient_norm"], norm, rtol=1e-3, atol=1e-6)
    leader = torch.optim.SGD(reference.parameters(), lr=settings.lr, momentum=0.9, nesterov=True)
    meta = torch.optim.Adam(net.parameters(), lr=settings.attacker_lr)
    for parameter, gradient in zip(reference.parameters(), expected_leader, strict=True):
        parameter.grad = gradient
    for parameter, gradient in zip(net.parameters(), expected_phi, strict=True):
        parameter.grad = gradient * min(1.0, 1.0 / float(norm))
    leader.step()
    meta.step()
    for mine, other in zip(game.classifier.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
    # Adam's first step is lr * sign(g) wherever |g| is far above its 1e-8.
    for mine, other, gradient in zip(
        method.rule.net.parameters(), net.parameters(), expected_phi, strict=True
    ):
        clear = gradient.abs() > 1e-4
        torch.testing.assert_close(mine[clear], other[clear], rtol=1e-4, atol=1e-5)


def test_the_learned_attacker_learns_to_raise_the_loss() -> None:
    settings = tiny_settings("grad_l2l", attacker="class_start", lr=1e-9, attacker_lr=5e-3)
    trainer, method, game = set_up(settings)  # at this lr the classifier stands still
    with torch.no_grad():
        for seed in range(10):
            game.classifier.train()(tiny_batch(64, seed=50 + seed).x)
    losses = [float(train_step(trainer, method, tiny_batch(32))["leader_loss"]) for _ in range(40)]
    assert losses[-1] > losses[0] + 0.05


@pytest.mark.parametrize(
    ("name", "changes", "nominal"),
    [
        ("standard", {}, 3.0),
        ("fgsm", {}, 5.0),
        ("fgsm_rs", {}, 5.0),
        ("n_fgsm", {}, 5.0),
        ("pgd", {"pgd_steps": 2}, 7.0),
        ("pgd", {"pgd_steps": 10}, 23.0),
        ("grad_l2l", {}, None),
        ("grad_l2l", {"l2l_steps": 2}, None),
        ("grad_l2l", {"order": "alternating"}, None),
        ("grad_l2l", {"attacker_every": 1}, None),
        ("grad_l2l", {"attacker_every": 3, "order": "alternating"}, None),
        ("grad_l2l", {"attacker": "class_start"}, None),
        ("grad_l2l", {"attacker": "memory"}, None),
        ("grad_l2l", {"attacker": "slim", "l2l_steps": 2}, None),
        ("pgd", {"awp": 0.01}, 10.0),
        ("trades", {"pgd_steps": 3}, 13.0),
        ("trades", {"pgd_steps": 2, "awp": 0.005}, 17.0),
        ("free", {}, 3.0),
        ("naive_l2l", {}, None),
        ("naive_l2l", {"order": "alternating"}, None),
        ("start_l2l", {}, None),
        ("start_l2l", {"order": "alternating"}, None),
    ],
)
def test_the_cost_of_a_step_is_the_table_s(name: str, changes: dict, nominal: float | None) -> None:
    settings = tiny_settings(name, batch_size=2, **changes)
    trainer, method, game = set_up(settings, model="small_cnn")
    batch = tiny_batch(2)
    one = forward_flops(game.classifier, 1, 3, 32, 32)
    share = (attacker_flops(method, 3, 32, 32) or 0) / one
    steps = settings.attacker_every
    with Flops() as flops:
        for _ in range(steps):
            train_step(trainer, method, batch)
    counted = flops.total / (2 * one * steps)
    claimed = forward_equivalents(settings, share)
    if nominal is not None:
        assert claimed == nominal
    elif settings.method == "grad_l2l" and settings.order == "fused":
        k = settings.l2l_steps
        assert claimed == pytest.approx(2 * k + 3 + (1 + 2 / steps) * k * share)
    # The input's own gradient is not needed everywhere: the table may be too high, by little.
    assert 0.94 * claimed <= counted <= 1.001 * claimed


def test_the_default_shapes_cost_what_is_said_of_them() -> None:
    classifier = build_classifier("small_cnn", 10, 0)
    flops = forward_flops(classifier, 1, 3, 32, 32)
    assert flops == pytest.approx(10.2e6, rel=0.01)
    for attacker in (SlimAttacker(), ResidualNet()):
        assert 0.3 < forward_flops(attacker, 1, 6, 32, 32) / flops < 0.7
    assert forward_flops(build_classifier("resnet18", 10, 0), 1, 3, 32, 32) == pytest.approx(
        1.111e9, rel=0.005
    )


SMALL = ["small_cnn", "tiny_cnn", "preact_resnet18", "resnet18"]


@pytest.mark.parametrize("name", SMALL)
def test_classifiers_take_images_and_give_logits(name: str) -> None:
    model = build_classifier(name, 7, 3).eval()
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    again = build_classifier(name, 7, 3)
    pairs = zip(model.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    grey = build_classifier(name, 5, 3, statistics=((0.3,), (0.2,))).eval()
    assert grey(torch.rand(2, 1, 20, 12)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "gflop", "millions"),
    [("preact_resnet18", 1.111, 11.17), ("wrn28_10", 10.49, 36.48), ("wrn34_10", 13.32, 46.16)],
)
def test_large_classifiers_have_the_size_of_the_literature(
    name: str, gflop: float, millions: float
) -> None:
    with torch.device("meta"):
        model = MODELS[name](10)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            model.eval()(torch.empty(1, 3, 32, 32))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflop, rel=2e-3)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=1e-3)


def test_a_narrow_preact_resnet_is_what_two_cores_can_train() -> None:
    model = build_classifier("preact_resnet18", 10, 0, width=1 / 8)
    assert 15e6 < forward_flops(model, 1, 3, 32, 32) < 20e6
    with pytest.raises(InputError, match=r"--width 0\.5 is for --model preact_resnet18"):
        tiny_settings("pgd", width=0.5)


def test_classifiers_normalise_by_the_statistics_of_their_data() -> None:
    model = build_classifier("tiny_cnn", 10, 0, statistics=((0.1, 0.2, 0.3), (0.5, 0.5, 0.25)))
    x = torch.rand(2, 3, 4, 4, generator=generator())
    shift, scale = (torch.tensor(v).view(3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.5, 0.5, 0.25)))
    torch.testing.assert_close(model[0](x), (x - shift) / scale)


def test_a_naive_attacker_sees_the_image_alone() -> None:
    rule = ConvPerturber(SlimAttacker(8, inputs=3), EPS, uses_gradient=False)
    batch = tiny_batch(4)
    played, _ = rule({"x": batch.x}, None, {})  # type: ignore[arg-type]
    assert played["x"].shape == batch.x.shape
    assert (played["x"] - batch.x).abs().max() <= EPS + 1e-6


def test_bf16_keeps_losses_in_float32() -> None:
    batch = tiny_batch()
    exact, rough = tiny_game(), tiny_game(bf16=True)
    loss = rough.leader_loss({"x": batch.x}, ImageBatch(batch.x, batch.y))
    assert loss.dtype == torch.float32
    expected = exact.leader_loss({"x": batch.x}, batch)
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)
    assert loss != expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "pdg"}, "method 'pdg' is unknown"),
        ({"model": "big"}, "unknown model"),
        ({"epochs": 0}, "--epochs 0"),
        ({"pgd_steps": 0}, "--pgd-steps 0"),
        ({"eps": 0.0}, "--eps 0.0"),
        ({"eps": 256.0}, "1/255"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"attacker_channels": 6}, "multiple of 4"),
        ({"attacker_channels": 0}, "multiple of 4"),
        ({"attacker_channels": 8, "attacker": "paper_slim"}, "multiple of 32"),
        ({"attacker": "fat"}, "attacker 'fat' is unknown; there are: slim"),
        ({"ramp": 1.5}, "--ramp 1.5"),
        ({"milestones": (0.5, 0.2)}, "--milestones .* rising"),
        ({"milestones": (0.5, 30.0)}, "--milestones .* fractions"),
        ({"schedule": "cosine"}, "--schedule 'cosine' must be one of"),
        ({"order": "both"}, "--order 'both' must be one of"),
        ({"shape": (3, 32)}, "--shape .* channels, height and width"),
        ({"ema": -0.1}, "--ema -0.1"),
        ({"label_smoothing": 1.0}, "--label-smoothing 1.0"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_wrong_settings_are_said_in_one_line(changes: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Settings(**({"method": "pgd", "data": "synthetic"} | changes))
    assert "\n" not in str(caught.value)


def test_labels_tell_games_apart() -> None:
    assert tiny_settings("pgd").label == "pgd-2"
    assert "pgd_steps" not in tiny_settings("fgsm_rs").own()
    assert tiny_settings("grad_l2l", order="alternating").label == "grad_l2l-alternating"
    assert tiny_settings("grad_l2l", l2l_steps=2).label == "grad_l2l-2step"
    assert tiny_settings("grad_l2l", attacker="slim").label == "grad_l2l-slim"
    assert tiny_settings("start_l2l", attacker="slim").label == "start_l2l-slim"
