"""What a learned attacker can add to FGSM: every variant against the same frozen classifiers.

For each epsilon one classifier is trained adversarially on CIFAR-10 (PGD-2, the ramp, averaged
weights) and frozen. Each variant of the learned attacker is then trained on its own against that
classifier, on training images, and judged on test images by its gain: mean cross-entropy at its
images minus that at the clean ones, in nats. Hand-designed attacks with as many gradient queries
stand beside it. Seconds a variant, where a judgement by whole trainings takes hours.

    .venv/bin/python benchmarks/attackers.py --data-dir DIR --json benchmarks/results/attackers.json

``DIR`` holds ``cifar-10-batches-py``; without it the generated images are used, which say little.
Twenty minutes on one thread, the classifiers included (kept with ``--cache FOLDER``). What the JSON
file already has is not measured again. ``benchmarks/cifar/report.py`` makes the table of the docs.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attacker_variants import IN_TRAINING, VARIANTS, Attack, ByRule, Classifier, Variant

from adv_training import Dataset, Images, Settings, Training, build_game, build_trainer, train_step
from adv_training.cifar_files import FOLDER, find_cifar10
from adv_training.game import in_mode, project
from adv_training.image_losses import cross_entropy
from adv_training.load import load_dataset
from adv_training.methods import build_method
from adv_training.step import classifier_for
from l2l_gail.checkpoints import load_checkpoint, save_checkpoint
from l2l_gail.cli import run_main
from l2l_gail.errors import InputError
from l2l_gail.runs import RunFolder
from l2l_gail.text_table import format_table

BATCH = 64
LR = 4e-3


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
            for group in optimizer.param_groups:
                group["lr"] = LR * (1 - done / steps)
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
    attacker: str, order: str, model: nn.Module, images: Images, settings: Settings, steps: int
) -> nn.Module:
    """Return an attacker trained while a copy of the classifier moves.

    ``alternating`` trains it on the classifier that has just moved, ``fused`` on the one before.
    """
    changes = {"method": "grad_l2l", "attacker": attacker, "order": order, "lr": 0.05}
    changes |= {"attacker_every": 1}
    settings = Settings(**{**settings.to_dict(), **changes})
    method = build_method(settings)
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
    path = cache / f"{settings.model}-{name}.pt"
    model = classifier_for(settings, data)
    if not path.exists():
        with tempfile.TemporaryDirectory() as out:
            folder = RunFolder.create(out, data.name, settings.label, settings.seed)
            training = Training(settings, data, folder)
            training.run()
        cache.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, {"classifier": training.evaluated.state_dict()})
    model.load_state_dict(load_checkpoint(path)["classifier"])
    return model


def accuracy_of(model: nn.Module, images: Images) -> float:
    """Return the accuracy on clean images."""
    with in_mode(model, training=False), torch.no_grad():
        right = [(model(b.x).argmax(1) == b.y).sum() for b in images.batches(250)]
    return float(torch.stack(right).sum() / len(images))


def main(argv: list[str] | None = None) -> None:
    """Train and judge every variant at every epsilon, print the table.

    Raises:
        InputError: There is no such variant, or the folder holds no CIFAR-10.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--eps", type=float, nargs="+", default=[8.0, 12.0, 16.0], help="in 1/255")
    parser.add_argument("--steps", type=int, default=400, help="batches an attacker learns from")
    parser.add_argument("--epochs", type=int, default=4, help="of the classifiers' training")
    parser.add_argument("--train-size", type=int, default=20_000)
    parser.add_argument("--eval-size", type=int, default=2_000)
    parser.add_argument("--only", nargs="+", help="variants; all by default")
    parser.add_argument("--cache", type=Path, help="folder that keeps the classifiers")
    parser.add_argument("--json", type=Path, help="file to write the figures to, and to go on from")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    names = [*VARIANTS, *IN_TRAINING]
    for name in args.only or ():
        if name not in names:
            raise InputError(f"--only {name!r}: no such variant; there are: {', '.join(names)}")
    data = images_of(args.data_dir, args.train_size, args.eval_size)
    told = {"data": data.name, "train_images": len(data.train), "eval_images": len(data.test)}
    told |= {"epochs": args.epochs, "steps": args.steps, "batch": BATCH, "lr": LR}
    told |= {"torch": torch.__version__, "machine": platform.machine()}
    results = known(args.json, told) if args.json else {}
    with tempfile.TemporaryDirectory() as scratch:
        for eps in args.eps:
            settings = Settings("pgd", data.name, eps=eps, epochs=args.epochs, ramp=0.5, ema=0.99)
            model = frozen_classifier(settings, data, args.cache or Path(scratch))
            for _ in judge_all(results, model, data, settings, args.steps, args.only):
                if args.json:
                    told_all = {"setup": told, "variants": in_order(results)}
                    args.json.write_text(json.dumps(told_all, indent=1) + "\n")
    print(f"\n{data.name}: gain in nats; behind it the difference to FGSM and its standard error")
    print(table(in_order(results), args.eps))


def images_of(data_dir: Path | None, train_size: int, eval_size: int) -> Dataset:
    """Return CIFAR-10 out of a folder; generated images without one.

    Raises:
        InputError: The folder holds none.
    """
    folder = data_dir and find_cifar10(data_dir)
    if data_dir and folder is None:
        raise InputError(
            f"--data-dir {data_dir} holds no {FOLDER}; give a folder that does, or leave it "
            "out for generated images"
        )
    return load_dataset(folder, train_size=train_size, eval_size=eval_size, check_md5=False)


def known(file: Path, told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what an earlier call has measured.

    Raises:
        InputError: It measured something else.
    """
    if not file.exists():
        return {}
    found = json.loads(file.read_text())
    if found["setup"] != told:
        raise InputError(f"{file} was made with {found['setup']}, not {told}; give another file")
    return found["variants"]


def in_order(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the variants in the order of their declaration."""
    return {name: results[name] for name in [*VARIANTS, *IN_TRAINING] if name in results}


def judge_all(
    results: dict[str, dict[str, Any]],
    model: nn.Module,
    data: Dataset,
    settings: Settings,
    steps: int,
    only: list[str] | None,
) -> Iterator[str]:
    """Train and judge every variant at one epsilon that has no figures yet; yield their names."""
    eps, column = settings.radius, f"eps{settings.eps:g}"
    classifier = Classifier(copy.deepcopy(model))
    print(f"eps {settings.eps:g}: clean accuracy {accuracy_of(model, data.test):.3f}", flush=True)
    fgsm = gains(VARIANTS["FGSM"].make(eps), classifier, data.test, eps)
    for name in [*VARIANTS, *IN_TRAINING]:
        if (only is not None and name not in only) or column in results.get(name, {}):
            continue
        begun = time.process_time()
        if name in IN_TRAINING:
            attack = train_in_a_game(*IN_TRAINING[name], model, data.train, settings, steps)
        else:
            attack = train(VARIANTS[name], classifier, data.train, eps, steps)
        seconds = time.process_time() - begun
        found = gains(attack, classifier, data.test, eps)
        lead = found - fgsm
        queries = VARIANTS[name].queries if name in VARIANTS else 1
        results.setdefault(name, {"queries": queries})[column] = {
            "gain": round(float(found.mean()), 5),
            "over_fgsm": round(float(lead.mean()), 5),
            "standard_error": round(float(lead.std() / len(lead) ** 0.5), 5),
            "seconds": round(seconds, 1),
        }
        print(f"  {name:36} {found.mean():.4f} {lead.mean():+.4f} {seconds:6.1f} s", flush=True)
        yield name


def table(results: dict[str, dict[str, Any]], radii: list[float]) -> str:
    """Return the variants side by side."""
    columns = [f"eps{eps:g}" for eps in radii]
    rows = []
    for name, row in results.items():
        cells = [row[column] for column in columns if column in row]
        text = [f"{c['gain']:.3f} {c['over_fgsm']:+.4f}({c['standard_error']:.4f})" for c in cells]
        seconds = sum(c["seconds"] for c in cells) / len(cells)
        rows.append([name, str(row["queries"]), *text, f"{seconds:.0f}"])
    return format_table(("attack", "queries", *(f"eps {eps:g}" for eps in radii), "train s"), rows)


if __name__ == "__main__":
    run_main(main)
