"""What a learned attacker can add to FGSM: every variant against the same frozen classifiers.

For each epsilon one classifier is trained adversarially on CIFAR-10 and frozen. Each variant of the
learned attacker is then trained on its own against that classifier, on training images, and judged
on test images by its gain: mean cross-entropy at its images minus that at the clean ones, in nats.
Hand-designed attacks with as many gradient queries stand beside it. Seconds a variant, where a
judgement by whole trainings takes hours.

    .venv/bin/python benchmarks/attackers.py --data-dir DIR --json benchmarks/results/attackers.json

``DIR`` holds ``cifar-10-batches-py``; without it the generated images are used, which say little.
A quarter of an hour on one thread, the classifiers included (kept with ``--cache FOLDER``).
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adv_training import Dataset, Images, Settings, Training, build_game, build_trainer, train_step
from adv_training.attackers import ResidualNet, build_attacker
from adv_training.game import in_mode, project
from adv_training.image_losses import ImageLoss, cross_entropy, margin
from adv_training.load import load_dataset
from adv_training.models import build_classifier
from adv_training.registry import Method
from adv_training.rules import LearnedStart, SignSteps, images_and_gradient
from l2l_gail.cli import format_table
from l2l_gail.core import UpdateRule
from l2l_gail.runs import RunFolder, load_checkpoint, save_checkpoint

BATCH = 64
LR = 4e-3


class Look(NamedTuple):
    """What one query of the classifier shows: the loss's gradient, and what came up on the way."""

    gradient: Tensor
    logits: Tensor
    features: Tensor


class Classifier:
    """A frozen classifier that counts nothing and hides nothing.

    Args:
        model: Images to logits; ``features`` is the output of its layer ``layer``.
        layer: Place in the model.
    """

    def __init__(self, model: nn.Module, layer: int = 3) -> None:
        self.model = model.eval().requires_grad_(False)
        self.seen: Tensor | None = None
        model[layer].register_forward_hook(self._note)  # type: ignore[index]

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.seen = output

    def look(self, x: Tensor, y: Tensor) -> Look:
        """Return the gradient of the cross-entropy (uphill), logits and features at ``x``."""
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            logits = self.model(point)
            (gradient,) = torch.autograd.grad(cross_entropy(logits, y).sum(), point)
        assert self.seen is not None
        return Look(gradient, logits.detach(), self.seen.detach())


Attack = Callable[[Classifier, Tensor, Tensor, float], Tensor]
"""From classifier, images, labels and epsilon to perturbed images, not yet projected."""


class ByRule(nn.Module):
    """A rule of the library as an attack of ``steps`` steps."""

    def __init__(self, rule: UpdateRule, steps: int = 1) -> None:
        super().__init__()
        self.rule = rule
        self.steps = steps

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""

        def oracle(variables: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"x": -classifier.look(variables["x"], y).gradient}

        now = x
        for _ in range(self.steps):
            moved, _ = self.rule({"x": now}, oracle, {})  # type: ignore[arg-type]
            now = project(moved["x"], x, eps)
        return now


class Conditioned(nn.Module):
    """The residual attacker that also sees logits and label, or features, of its own query."""

    def __init__(self, extra: str, width: int = 8) -> None:
        super().__init__()
        self.extra = extra
        self.net = ResidualNet(inputs=6 + width)
        self.sign_weight = nn.Parameter(torch.tensor(1.0))
        self.embed: nn.Module = (
            nn.Linear(20, width) if extra == "logits" else nn.Conv2d(64, width, 1)
        )

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""
        seen = classifier.look(x, y)
        if self.extra == "logits":
            one_hot = nn.functional.one_hot(y, 10).float()
            plane = self.embed(torch.cat([seen.logits.softmax(1), one_hot], 1))[:, :, None, None]
            plane = plane.expand(-1, -1, *x.shape[2:])
        else:
            plane = nn.functional.interpolate(self.embed(seen.features), x.shape[2:])
        inputs = torch.cat([images_and_gradient(x, seen.gradient), plane], 1)
        z = self.net(inputs) + self.sign_weight * seen.gradient.sign()
        return x + eps * z.tanh()


class ChosenQuery(nn.Module):
    """One network says where to ask a second time, another answers to both gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.ask, self.answer = ResidualNet(), ResidualNet(inputs=12)
        self.weights = nn.Parameter(torch.tensor([1.0, 0.5, 0.5]))

    def forward(self, classifier: Classifier, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Return the perturbed images, ``(B, 3, H, W)``."""
        first = classifier.look(x, y).gradient
        seen = images_and_gradient(x, first)
        shift = (self.ask(seen) + self.weights[0] * first.sign()).tanh()
        second = classifier.look((x + eps * shift).clamp(0, 1), y).gradient
        there = images_and_gradient(x + eps * shift, second)
        z = self.answer(torch.cat([seen, there], 1)) + self.weights[1] * shift
        return x + eps * (z + self.weights[2] * 2 * second.sign()).tanh()


@dataclass(frozen=True)
class Variant:
    """How to make an attack and how to train it.

    Attributes:
        queries: Gradients it asks for, of each image.
        make: From epsilon to the attack; has no parameters if hand-designed.
        updates: Updates of the attacker on each batch.
        decay: Of the average of its weights that is judged; 0 judges the weights.
        loss: What its training raises; judged it is by cross-entropy in any case.
    """

    queries: int
    make: Callable[[float], nn.Module]
    updates: int = 1
    decay: float = 0.0
    loss: ImageLoss = cross_entropy


def learned(name: str, seed: int = 0) -> Callable[[float], UpdateRule]:
    """Return a maker of fresh attackers of the library."""
    return lambda eps: build_attacker(name, eps, channels=None, seed=seed)


def by_signs(share: float, steps: int) -> Callable[[float], nn.Module]:
    """Return a maker of sign steps from the clean image."""
    return lambda eps: ByRule(SignSteps(share, eps), steps)


def residual(steps: int = 1, sign_weight: float = 1.0) -> Callable[[float], nn.Module]:
    """Return a maker of residual attackers of ``steps`` steps, the sign's weight from a value."""

    def make(eps: float) -> nn.Module:
        rule = learned("residual")(eps)
        nn.init.constant_(rule.sign_weight, sign_weight)  # type: ignore[arg-type]
        return ByRule(rule, steps)

    return make


VARIANTS = {
    "FGSM": Variant(1, by_signs(1.0, 1)),
    "PGD-2": Variant(2, by_signs(0.75, 2)),
    "PGD-10": Variant(10, by_signs(0.25, 10)),
    "slim": Variant(1, lambda eps: ByRule(learned("slim")(eps))),
    "residual": Variant(1, residual()),
    "residual, sign's weight from 2": Variant(1, residual(sign_weight=2.0)),
    "residual, sees logits and label": Variant(1, lambda eps: Conditioned("logits")),
    "residual, sees features": Variant(1, lambda eps: Conditioned("features")),
    "residual, 3 updates a batch": Variant(1, residual(), updates=3),
    "residual, average of weights": Variant(1, residual(), decay=0.98),
    "residual, raises the margin": Variant(1, residual(), loss=margin),
    "residual, 2 steps": Variant(2, residual(2)),
    "learned start + sign": Variant(
        2, lambda eps: ByRule(LearnedStart(learned("residual")(eps), eps))
    ),
    "second query chosen": Variant(2, lambda eps: ChosenQuery()),
}


def train(
    variant: Variant, classifier: Classifier, images: Images, eps: float, steps: int
) -> nn.Module:
    """Return the variant's attack after ``steps`` batches against the frozen classifier."""
    torch.manual_seed(0)
    attack = variant.make(eps)
    parameters = list(attack.parameters())
    if not parameters:
        return attack
    average = copy.deepcopy(attack)
    optimizer = torch.optim.Adam(parameters, lr=LR)
    generator = torch.Generator().manual_seed(1)
    done = 0
    while done < steps:
        for batch in images.shuffled(BATCH, generator, augmented=True):
            for _ in range(variant.updates):
                x = project(attack(classifier, batch.x, batch.y, eps), batch.x, eps)
                loss = -variant.loss(classifier.model(x), batch.y).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                for mine, now in zip(average.parameters(), parameters, strict=True):
                    mine.lerp_(now, 1 - variant.decay)
            done += 1
            if done == steps:
                break
    return average


@torch.no_grad()
def gains(attack: Attack, classifier: Classifier, images: Images, eps: float) -> Tensor:
    """Return by how much an attack raises the cross-entropy of each image, shape ``(N,)``."""
    found = []
    for batch in images.batches(250):
        x = project(attack(classifier, batch.x, batch.y, eps), batch.x, eps)
        at = [cross_entropy(classifier.model(point), batch.y) for point in (x, batch.x)]
        found.append(at[0] - at[1])
    return torch.cat(found)


def train_in_a_game(
    order: str, model: nn.Module, images: Images, settings: Settings, steps: int
) -> nn.Module:
    """Return a residual attacker trained while a copy of the classifier moves.

    ``alternating`` trains it on the classifier that has just moved, ``fused`` on the one before.
    """
    settings = Settings(**{**settings.to_dict(), "method": "grad_l2l", "order": order, "lr": 0.05})
    method = Method(learned("residual")(settings.radius))
    classifier = copy.deepcopy(model).requires_grad_(True)
    trainer = build_trainer(build_game(classifier, method, settings), method, settings)
    generator = torch.Generator().manual_seed(1)
    while trainer.steps < steps:
        for batch in images.shuffled(BATCH, generator, augmented=True):
            train_step(trainer, method, batch)
            if trainer.steps == steps:
                break
    return ByRule(method.rule)


def frozen_classifier(settings: Settings, data: Dataset, cache: Path) -> nn.Module:
    """Return a classifier of the settings, trained now or found in the cache."""
    name = f"{data.name}-{len(data.train)}-{settings.label}-eps{settings.eps:g}-{settings.epochs}"
    path = cache / f"{name}.pt"
    model = build_classifier(settings.model, data.classes, settings.seed)
    if not path.exists():
        with tempfile.TemporaryDirectory() as out:
            folder = RunFolder.create(out, data.name, settings.folder_name, settings.seed)
            training = Training(settings, data, folder)
            training.run()
        save_checkpoint(path, {"classifier": training.game.classifier.state_dict()})
    model.load_state_dict(load_checkpoint(path)["classifier"])
    return model


def accuracy_of(model: nn.Module, images: Images) -> float:
    """Return the accuracy on clean images."""
    with in_mode(model, training=False), torch.no_grad():
        right = [(model(b.x).argmax(1) == b.y).sum() for b in images.batches(250)]
    return float(torch.stack(right).sum() / len(images))


def main() -> None:
    """Train and judge every variant at every epsilon, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--eps", type=float, nargs="+", default=[8.0, 12.0, 16.0], help="in 1/255")
    parser.add_argument("--steps", type=int, default=300, help="batches an attacker learns from")
    parser.add_argument("--epochs", type=int, default=5, help="of the classifiers' training")
    parser.add_argument("--train-size", type=int, default=12_000)
    parser.add_argument("--eval-size", type=int, default=2_000)
    parser.add_argument("--only", nargs="+", help="variants; all by default")
    parser.add_argument("--cache", type=Path, help="folder that keeps the classifiers")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset(
        args.data_dir and args.data_dir / "cifar-10-batches-py",
        train_size=args.train_size,
        eval_size=args.eval_size,
        check_md5=False,
    )
    told = {"data": data.name, "train_images": len(data.train), "eval_images": len(data.test)}
    told |= {"epochs": args.epochs, "steps": args.steps, "batch": BATCH, "lr": LR}
    told |= {"torch": torch.__version__, "machine": platform.machine()}
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for eps in args.eps:
            settings = Settings("pgd", data.name, eps=eps, epochs=args.epochs)
            model = frozen_classifier(settings, data, args.cache or Path(scratch))
            judge_all(results, model, data, settings, args.steps, args.only)
            if args.json:
                args.json.write_text(
                    json.dumps({"setup": told, "variants": results}, indent=1) + "\n"
                )
    print(f"\n{data.name}: gain in nats; behind it the difference to FGSM and its standard error")
    print(table(results, args.eps))


def judge_all(
    results: dict[str, dict[str, Any]],
    model: nn.Module,
    data: Dataset,
    settings: Settings,
    steps: int,
    only: list[str] | None,
) -> None:
    """Train and judge every variant at one epsilon."""
    eps = settings.radius
    games = {f"residual, in training, {order}": order for order in ("fused", "alternating")}
    classifier = Classifier(copy.deepcopy(model))
    print(f"eps {settings.eps:g}: clean accuracy {accuracy_of(model, data.test):.3f}", flush=True)
    fgsm = gains(VARIANTS["FGSM"].make(eps), classifier, data.test, eps)
    for name in [*VARIANTS, *games]:
        if only is not None and name not in only:
            continue
        begun = time.process_time()
        if name in games:
            attack = train_in_a_game(games[name], model, data.train, settings, steps)
        else:
            attack = train(VARIANTS[name], classifier, data.train, eps, steps)
        seconds = time.process_time() - begun
        found = gains(attack, classifier, data.test, eps)
        lead = found - fgsm
        row = results.setdefault(
            name, {"queries": VARIANTS[name].queries if name in VARIANTS else 1}
        )
        row[f"eps{settings.eps:g}"] = {
            "gain": float(found.mean()),
            "over_fgsm": float(lead.mean()),
            "standard_error": float(lead.std() / len(lead) ** 0.5),
            "seconds": seconds,
        }
        print(f"  {name:34} {found.mean():.4f} {lead.mean():+.4f} {seconds:6.1f} s", flush=True)


def table(results: dict[str, dict[str, Any]], radii: list[float]) -> str:
    """Return the variants side by side."""
    rows = []
    for name, row in results.items():
        cells = [row[f"eps{eps:g}"] for eps in radii]
        text = [f"{c['gain']:.3f} {c['over_fgsm']:+.3f}({c['standard_error']:.3f})" for c in cells]
        seconds = sum(c["seconds"] for c in cells) / len(cells)
        rows.append([name, str(row["queries"]), *text, f"{seconds:.0f}"])
    return format_table(("attack", "queries", *(f"eps {eps:g}" for eps in radii), "train s"), rows)


if __name__ == "__main__":
    main()
