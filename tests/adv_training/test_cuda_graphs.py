"""``--cuda-graphs``: the same training, whether passes are replayed or not.

Where there is no GPU, graphs are played by a double with their habits: outputs and gradients lie in
the same memory at each replay, and a backward pass is that of the last forward pass.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import train_cifar
from adv_training import Dataset, Settings, Training, cuda_graphs
from adv_training.cuda_graphs import check_cuda_graphs, with_cuda_graphs
from adv_training.models import build_classifier
from adv_training.processes import ALONE
from adv_training.review import Review
from adv_training.synthetic import synthetic_dataset
from l2l_gail.errors import InputError
from l2l_gail.runs import RunFolder
from tests.adv_training.support import tiny_batch, tiny_settings
from tests.marks import slow

METHODS: dict[str, dict[str, Any]] = {
    "standard": {"method": "standard"},
    "n_fgsm": {"method": "n_fgsm"},
    "pgd": {"method": "pgd", "pgd_steps": 3, "ramp": 0.5},
    "trades": {"method": "trades", "pgd_steps": 2},
    "awp": {"method": "pgd", "awp": 0.01},
    "free": {"method": "free"},
    "fused": {"method": "grad_l2l"},
    "memory": {"method": "grad_l2l", "attacker": "memory", "attacker_every": 1},
    "in turns": {"method": "grad_l2l", "order": "alternating", "attacker": "class_start"},
    "two steps": {"method": "grad_l2l", "l2l_steps": 2, "attacker_every": 1},
    "start": {"method": "start_l2l"},
    "bf16": {"method": "grad_l2l", "bf16": True},
}
QUICK = ("pgd",)
BY_NAME = [n if n in QUICK else slow(n) for n in METHODS]


class Doubles:
    """Stands in for ``torch.cuda.make_graphed_callables``.

    Attributes:
        replays: By training mode, how often a forward pass was replayed.
    """

    def __init__(self) -> None:
        self.replays: Counter[bool] = Counter()

    def make(self, whole: Any, samples: tuple[Tensor]) -> Callable[[Tensor], Tensor]:
        (static,) = samples
        weights = tuple(whole.parameters()) if isinstance(whole, nn.Module) else ()
        inputs = [tensor for tensor in (static, *weights) if tensor.requires_grad]
        memory: dict[str, Any] = {}
        replays, trained = self.replays, isinstance(whole, nn.Module)
        for _ in range(3):
            whole(static)

        class Graphed(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
                replays[trained] += 1
                static.data.copy_(x)
                with torch.enable_grad():
                    memory["pass"] = whole(static)
                return _into(memory, "output", memory["pass"].detach())

            @staticmethod
            def backward(ctx: Any, *gradients: Any) -> Any:
                found = torch.autograd.grad(memory["pass"], inputs, gradients[0])
                kept = iter([_into(memory, f"gradient {i}", g) for i, g in enumerate(found)])
                return tuple(
                    next(kept) if tensor.requires_grad else None for tensor in (static, *weights)
                )

        return lambda x: Graphed.apply(x, *weights)  # type: ignore[no-any-return, no-untyped-call]


def _into(memory: dict[str, Any], name: str, value: Tensor) -> Tensor:
    memory.setdefault(name, torch.empty_like(value)).copy_(value)
    kept: Tensor = memory[name].detach()
    return kept


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> Doubles:
    found = Doubles()
    monkeypatch.setattr(cuda_graphs, "_DEVICES", ("cpu",))
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", found.make)
    return found


@pytest.fixture
def data() -> Dataset:
    return synthetic_dataset(train_size=384, eval_size=64, held_out=32)


def train(folder: Path, settings: Settings, data: Dataset, graphs: bool) -> dict[str, Tensor]:
    name = "replayed" if graphs else "as ever"
    place = RunFolder.create(folder, data.name, name, 0, resume=False)
    return finished(Training(settings, data, place, cuda_graphs=graphs))


def finished(run: Training) -> dict[str, Tensor]:
    run.run()
    rule = {f"rule.{n}": t for n, t in run.method.rule.state_dict().items()}
    return (
        run.game.classifier.state_dict()
        | rule
        | {"curve": torch.tensor(run.review.curve["robust"])}
    )


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_replayed_passes_train_the_same(
    tmp_path: Path, data: Dataset, doubles: Doubles, name: str
) -> None:
    settings = tiny_settings(epochs=2, ema=0.9, **METHODS[name])
    found = [train(tmp_path, settings, data, graphs) for graphs in (False, True)]
    assert_equal(*found)
    if name != "awp":  # whose weights are others at each step
        assert doubles.replays[True] > 10
    assert doubles.replays[False] > 10


@pytest.mark.slow
def test_a_replayed_run_goes_on_bit_for_bit(
    tmp_path: Path, data: Dataset, doubles: Doubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings("grad_l2l", epochs=3, ema=0.9)
    whole = train(tmp_path / "whole", settings, data, graphs=True)
    place = RunFolder.create(tmp_path, data.name, "broken", 0)

    judge = Review.epoch

    def dies_in_the_second(review: Review, epoch: int, *where: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        judge(review, epoch, *where)

    broken = Training(settings, data, place, cuda_graphs=True)
    with monkeypatch.context() as patch:
        patch.setattr(Review, "epoch", dies_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            broken.run()
    assert "forward" not in vars(broken.game.classifier)
    resumed = Training(settings, data, place, resume=True, cuda_graphs=True)
    assert resumed.epoch == 1
    assert_equal(whole, finished(resumed))


@pytest.fixture
def classifier() -> Iterator[nn.Module]:
    model = build_classifier("tiny_cnn", 10, 0).eval()
    with with_cuda_graphs(model, {16}):
        yield model


def test_what_was_kept_of_a_pass_is_not_overwritten_by_the_next(
    doubles: Doubles, classifier: nn.Module
) -> None:
    plain = build_classifier("tiny_cnn", 10, 0).eval()
    batches = [tiny_batch(seed=k).x.requires_grad_() for k in range(8)]
    kept = []
    for x in batches:
        logits = classifier(x)
        kept.append((logits, torch.autograd.grad(logits.square().sum(), x)[0]))
    assert doubles.replays[False] == 5
    for x, (logits, gradient) in zip(batches, kept, strict=True):
        right = plain(x)
        assert torch.equal(right, logits)
        assert torch.equal(torch.autograd.grad(right.square().sum(), x)[0], gradient)


def test_a_pass_whose_gradient_is_to_come_is_left_alone(
    doubles: Doubles, classifier: nn.Module
) -> None:
    plain = build_classifier("tiny_cnn", 10, 0).eval()
    xs = [tiny_batch(seed=k).x.requires_grad_() for k in range(6)]
    loss = sum(classifier(x).square().sum() for x in xs)  # six passes, then their gradients
    right = sum(plain(x).square().sum() for x in xs)
    for one, other in zip(
        torch.autograd.grad(loss, xs), torch.autograd.grad(right, xs), strict=True
    ):
        assert torch.equal(one, other)
    assert doubles.replays[False] == 1
    del loss
    classifier(xs[0])  # nobody asks for the gradient of that one
    with torch.no_grad():
        classifier(xs[1])
    assert doubles.replays[False] == 3


def test_copies_and_other_weights_are_not_replayed(doubles: Doubles, classifier: nn.Module) -> None:
    x = tiny_batch().x
    with torch.no_grad():
        for _ in range(5):
            classifier(x)
    before = doubles.replays[False]
    assert before == 2
    with torch.no_grad():
        copied = copy.deepcopy(classifier)
        for parameter in copied.parameters():
            parameter.zero_()
        assert not copied(x).any()
        zeros = {name: torch.zeros_like(p) for name, p in classifier.named_parameters()}
        assert not functional_call(classifier, zeros, (x,)).any()
        assert classifier(x).any()
        assert classifier(x[:8]).any()  # a batch of a size that nobody named
    same = {name: p.detach().requires_grad_() for name, p in classifier.named_parameters()}
    functional_call(classifier, same, (x,)).sum().backward()  # others in the same memory
    assert all(weight.grad is not None for weight in same.values())
    assert doubles.replays[False] == before + 1


def test_weights_have_gradients_in_either_mode(doubles: Doubles, classifier: nn.Module) -> None:
    x = tiny_batch().x
    for training in (False, True):
        classifier.train(training)
        for _ in range(6):
            found = torch.autograd.grad(classifier(x).square().sum(), classifier.parameters())
            assert all(gradient.abs().sum() > 0 for gradient in found)
    assert doubles.replays == {True: 3}


def test_a_pass_is_differentiated_once(doubles: Doubles, classifier: nn.Module) -> None:
    x = tiny_batch().x.requires_grad_()
    for _ in range(4):
        loss = classifier(x).square().sum()
    torch.autograd.grad(loss, x, retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once; leave --cuda-graphs out"):
        torch.autograd.grad(loss, x)


def test_afterwards_a_module_is_as_it_was(doubles: Doubles) -> None:
    model = build_classifier("tiny_cnn", 10, 0).eval()
    before = vars(model).copy()
    with with_cuda_graphs(model, {16}):
        for _ in range(5):
            model(tiny_batch().x.requires_grad_())
    assert vars(model) == before
    assert pickle.loads(pickle.dumps(model))(tiny_batch().x).shape == (16, 10)


def test_without_a_gpu_nothing_is_replayed(classifier: nn.Module) -> None:
    plain = build_classifier("tiny_cnn", 10, 0).eval()
    x = tiny_batch().x
    for _ in range(6):
        assert torch.equal(classifier(x), plain(x))


def test_what_cannot_be_replayed_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match="--compile and --cuda-graphs do not go together"):
        train_cifar.main(["--compile", "--cuda-graphs", "--data", "synthetic"])
    two = dataclasses.replace(ALONE, count=2)
    with pytest.raises(InputError, match="for one process; leave it out under torchrun"):
        check_cuda_graphs(tiny_settings(), two)


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", METHODS)
def test_a_gpu_trains_the_same(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    settings = tiny_settings(epochs=2, ema=0.9, **METHODS[name])
    found = [train(tmp_path, settings, data.to("cuda"), graphs) for graphs in (False, True)]
    assert_equal(*found)
