"""One cell of the grid: train a classifier, then say of every test image what it withstands.

The last epoch's classifier is what is judged: nothing is chosen. Beside it stands the epoch that
was best on the held-out images. What each single image withstands is kept, so that two methods can
be compared image by image.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adv_training import Dataset, Images, Settings, Training, attack_gain
from adv_training.attacks import losses, pgd, pgd_survivors, standing_survivors
from adv_training.autoattack import autoattack_survivors
from adv_training.game import in_mode
from benchmarks.cifar.images import packed
from l2l_gail.runs import RunFolder

BATCH = 250
FEW = 500
GAIN_IMAGES = 1_000


def run(
    settings: Settings, data: Dataset, work: Path, name: str, *, eval_size: int, apgd_t: int = 0
) -> dict[str, Any]:
    """Train and judge one classifier.

    Args:
        settings: The run.
        data: All its images, on the device to train on.
        work: Where the run's folder lies, an unfinished one perhaps.
        name: Of that folder.
        eval_size: Test images to judge on.
        apgd_t: How many of them APGD-T is taken on.

    Returns:
        Accuracies of the last epoch and of the best, what each image withstands, signs of masked
        gradients, costs, curve.
    """
    # The run's own summary looks at few images: those that count are judged below, one by one.
    small = dataclasses.replace(data, test=data.test[:FEW])
    folder = RunFolder.create(work, settings.data, name, settings.seed, resume=True)
    save_every = 1000 if data.train.pixels.is_cuda else 100  # a few seconds of steps
    with folder.owned():
        training = Training(settings, small, folder, resume=True, save_every=save_every)
        summary = training.run()
        test = data.test[:eval_size]
        classifier = training.evaluated
        best = copy.deepcopy(classifier)
        best.load_state_dict(training.review.best["classifier"])
        last = survivors(classifier, test, settings)
        at_best = survivors(best, test, settings, names=("clean", "robust"))
        hard = survivors(classifier, test[:apgd_t], settings, names=("apgd_t",)) if apgd_t else {}
        gain = attack_gain(training.review.game, training.method, test[:GAIN_IMAGES])
        strong = gain_of_pgd(classifier, test[:GAIN_IMAGES], settings.radius)
        trained_on = gains_in_training(training) if training.method.learns else {}
    found = last | hard
    return {
        **{key: float(bits.double().mean()) for key, bits in found.items()},
        **({} if apgd_t else {"apgd_t": None}),
        **{f"{key}_best": float(bits.double().mean()) for key, bits in at_best.items()},
        "best_epoch": training.review.best["epoch"],
        "catastrophic_overfitting_epochs": training.review.overfitted,
        "masking_flags": summary["masking_flags"],
        "forward_equivalents": summary["forward_equivalents"],
        "cpu_s": summary["cpu_s"],
        "wall_s": summary["wall_s"],
        "gain_fgsm": gain.fgsm,
        "gain_learned": gain.rule,
        "gain_pgd10": strong,
        **trained_on,
        "params": summary["params"],
        "flops": summary["flops"],
        "attacker_params": summary["attacker_params"],
        "attacker_flops": summary["attacker_flops"],
        "train_images": summary["train_images"],
        "curve": {k: [round(v, 4) for v in values] for k, values in training.review.curve.items()},
        "images": {key: packed(bits.numpy()) for key, bits in found.items()},
    }


def survivors(
    classifier: torch.nn.Module,
    images: Images,
    settings: Settings,
    names: tuple[str, ...] = ("clean", "pgd20", "robust"),
) -> dict[str, Tensor]:
    """Return which images are classified correctly, clean and under attack, bool ``(N,)`` each."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    eps = settings.radius
    device = images.pixels.device
    generators = {n: torch.Generator(device).manual_seed(settings.seed) for n in names}
    for batch in images.batches(BATCH):
        for name in names:
            generator = generators[name]
            if name == "clean":
                with in_mode(classifier, training=False), torch.no_grad():
                    bits = classifier(batch.x).argmax(1) == batch.y
            elif name == "pgd20":
                bits = pgd_survivors(classifier, batch, eps, step_size=eps / 4, generator=generator)
            elif name == "robust":
                bits = standing_survivors(classifier, batch, eps, generator=generator)
            else:
                bits = autoattack_survivors(name, classifier, batch, eps, seed=settings.seed)
            found[name].append(bits.cpu())
    return {name: torch.cat(bits) for name, bits in found.items()}


def gains_in_training(training: Training) -> dict[str, dict[str, float]]:
    """Return what attacks gain on training images, the learned one as it is at the end.

    There an attacker that remembers images has what it remembers.
    """
    images = training.dataset.train[:GAIN_IMAGES]
    gain = training.review.attack_gain(images)  # on the first training images, in any case
    assert gain.rule is not None
    radius = training.settings.radius
    strong = gain_of_pgd(training.evaluated, images, radius)
    two = gain_of_pgd(training.evaluated, images, radius, steps=2, share=0.75)
    return {
        "gains_in_training": {"fgsm": gain.fgsm, "own": gain.rule, "pgd2": two, "pgd10": strong}
    }


def gain_of_pgd(
    classifier: torch.nn.Module, images: Images, eps: float, steps: int = 10, share: float = 0.25
) -> float:
    """Return by how much PGD from the clean images raises the mean cross-entropy, in nats."""
    total = 0.0
    for batch in images.batches(BATCH):
        x = pgd(classifier, batch, eps, steps=steps, step_size=share * eps)
        clean = losses(classifier, batch.x, batch.y)
        total += float((losses(classifier, x, batch.y) - clean).sum())
    return total / len(images)
