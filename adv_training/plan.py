"""What a run of adversarial training is, before it is made: its name, its record, its batch."""

from __future__ import annotations

from collections.abc import Mapping

from l2l_gail.errors import InputError
from l2l_gail.experiment import Plan

from .attackers import HALVING
from .data import Dataset
from .methods import build_method
from .presets import preset
from .registry import find_method
from .settings import Settings

__all__ = ["check_batch_size", "check_images", "plan_of"]


def check_batch_size(batch_size: int, dataset: Dataset) -> None:
    """Refuse a batch that the training images cannot fill.

    Raises:
        InputError: In one line.
    """
    if batch_size > len(dataset.train):
        raise InputError(
            f"--batch-size {batch_size} is above the {len(dataset.train)} training images; lower "
            "it or raise --train-size"
        )


def check_images(settings: Settings, dataset: Dataset) -> None:
    """Refuse images that the settings are not made for.

    Raises:
        InputError: In one line.
    """
    if dataset.shape != settings.shape:
        raise InputError(
            f"the images of {dataset.name} are {dataset.shape} and the settings say "
            f"{settings.shape}; give Settings(shape={dataset.shape})"
        )
    method = build_method(settings)
    if method.labelled and dataset.classes != settings.number_of_classes:
        raise InputError(
            f"{dataset.name} has {dataset.classes} classes and the settings say "
            f"{settings.number_of_classes}; give --classes {dataset.classes}, in the library "
            f"Settings(classes={dataset.classes})"
        )
    _, height, width = settings.shape
    odd = height % 2 or width % 2
    uses = find_method(settings.method).uses
    halves = settings.attacker in HALVING and (uses is None or "attacker" in uses)
    if odd and halves and method.learns:
        raise InputError(
            f"the attacker {settings.attacker} halves the images, and {height} x {width} is odd; "
            "pad them, or take --attacker paper_two_layer"
        )


def plan_of(
    settings: Settings,
    dataset: Dataset,
    *,
    sizes: Mapping[str, int | None] | None = None,
    name: str | None = None,
    started_from: str | None = None,
) -> Plan:
    """Return what a run of these settings is, in names and records.

    Args:
        settings: The settings.
        dataset: The images, of which numbers and content are noted.
        sizes: What was asked for of them, by flag; ``None`` for all there are.
        name: Name of the run's group, in place of what its settings give.
        started_from: The preset that the settings were made from, which then names the run in place
            of what it sets.
    """
    counted = {
        "data.images": [len(dataset.train), len(dataset.held_out), len(dataset.test)],
        "data.sha256": dataset.digest,
    }
    asked = dict(sizes or {})
    usual = Settings(settings.method, settings.data)
    tag: dict[str, str] = {}
    if started_from is not None:
        usual = preset(started_from, settings.method, settings.data)
        tag = {"preset": started_from}
    own, defaults = settings.own(), usual.own()
    if own.get("attacker_noise", 0.0) is None:  # what it is by default depends on the attacker
        own["attacker_noise"] = defaults["attacker_noise"] = settings.start_noise
    return Plan(
        settings.method,
        settings.seed,
        settings=tag | own | asked | counted,
        defaults=dict.fromkeys([*tag, *asked]) | defaults | counted,
        name=name,
        # In 0.1.0, which had no other.
        before={"attacker": "slim", "attacker_every": 1, "attacker_noise": 0.0},
    )
