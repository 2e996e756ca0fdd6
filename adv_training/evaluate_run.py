"""``train_cifar.py evaluate RUN``: the robustness of a finished run, by a battery of attacks."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import nn

from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.checks import check_choice
from l2l_gail.cli import parse
from l2l_gail.devices import choose_device, own_defaults
from l2l_gail.errors import InputError
from l2l_gail.files import atomic_write, check_can_be_written, fitting, home_expanded, read_json
from l2l_gail.own_modules import OwnModules
from l2l_gail.runs import check_seed
from l2l_gail.text_table import format_table

from .autoattack import AUTOATTACKS
from .data import Dataset
from .load import load_dataset, locate
from .methods import build_method
from .registry import Method
from .robustness import ATTACKS, RobustnessReport, evaluate_robustness
from .settings import Settings, check_eps
from .step import classifier_for
from .trained_model import MODEL_FILE, Which, load_model

__all__ = ["EvaluateConfig", "evaluate_main", "evaluate_run"]

_READABLE = ("cifar10", "cifar100", "synthetic")


@dataclass(frozen=True)
class EvaluateConfig:
    """Flags of ``train_cifar.py evaluate``."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run: <out>/<data>/<method>/seed<k>, or its model.pt."""
    which: Which = "best"
    """The epoch that was best on held-out images, or the last one."""
    attacks: tuple[str, ...] = ("pgd20", "standing", "fine_tuned")
    """Any of pgd20, standing, learned, fine_tuned and, with the extra [eval], apgd_ce, apgd_t,
    square, autoattack."""
    eval_size: int = 1000
    """Test images, the first ones."""
    eps: float | None = None
    """Radius in 1/255; the run's own by default."""
    square_queries: int = 5000
    """Forward passes that Square may spend on each image."""
    data_dir: Path | None = None
    """Folder with the data; else $L2L_GAIL_DATA, else data/."""
    seed: int = 0
    """Seed of the attacks."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or the GPU if there is one."""
    json: Path | None = None
    """New file for the report."""
    imports: OwnModules = ()
    """Modules of your own to import first, which register the run's model or method."""

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read.

        Raises:
            InputError: One line that names the flag.
        """
        for name in self.attacks:
            check_choice("attack", name, ATTACKS)
        if not self.attacks:
            raise InputError(f"--attacks needs at least one of {', '.join(ATTACKS)}")
        check_seed(self.seed)
        if self.eval_size < 10:
            raise InputError(f"--eval-size {self.eval_size} must be at least 10")
        if self.square_queries < 1:
            raise InputError(f"--square-queries {self.square_queries} must be at least 1")
        if self.eps is not None:
            check_eps(self.eps)
        if self.json is not None and os.path.lexists(home_expanded(self.json)):
            raise InputError(f"--json {self.json} exists; give a new file")


@own_defaults
def evaluate_run(
    config: EvaluateConfig, *, tell: Callable[[str], None] = lambda text: None
) -> RobustnessReport:
    """Read a run's classifier and attack it.

    Args:
        config: Which run, which attacks, how many images.
        tell: Takes a line after each attack.

    Raises:
        InputError: If the folder holds no finished run of image training, or its data cannot be
            had, or an attack needs what is not there.
    """
    run = _folder_of(config.run)
    settings, sizes = _settings_of(run)
    if settings.data not in _READABLE:
        raise InputError(
            f"{run} was trained on {settings.data}, which cannot be read from here; known: "
            f"{', '.join(_READABLE)} (from Python: adv_training.evaluate_robustness)"
        )
    device = choose_device(config.device)
    folder = locate(settings.data, config.data_dir)  # type: ignore[arg-type]
    data = load_dataset(
        folder,
        name=settings.data,
        train_size=sizes[0] + sizes[1],
        # The generated images are others in a set of another size.
        eval_size=sizes[2] if folder is None else None,
        check_md5=False,
    ).to(device)
    if data.name != settings.data:
        raise InputError(f"{folder} holds {data.name}, and the run was trained on {settings.data}")
    if config.eval_size > len(data.test):
        raise InputError(f"--eval-size {config.eval_size} must be 10 to {len(data.test)}")
    if folder is not None and not _are_the_runs(data, run, sizes[2]):
        warnings.warn(
            f"{folder} holds other images than {run} was trained and judged "
            "on, in part or all: give its own folder as --data-dir, unless that is meant",
            stacklevel=3,
        )
    classifier, method = _players(run, config.which, settings, data)
    if "learned" in config.attacks and not method.learns:
        raise InputError(
            f"{run} trained no attacker; leave learned out of --attacks (fine_tuned makes "
            "one of its own)"
        )
    return evaluate_robustness(
        classifier,
        data.test[: config.eval_size],
        settings.radius if config.eps is None else config.eps / 255,
        attacks=config.attacks,
        method=method if method.learns else None,
        train=data.train,
        seed=config.seed,
        square_queries=config.square_queries,
        tell=tell,
    )


def evaluate_main(argv: list[str]) -> None:
    """Run ``train_cifar.py evaluate``.

    Args:
        argv: What follows that word.

    Raises:
        InputError: Wrong arguments, a report that cannot be written, or as :func:`evaluate_run`.
    """
    config = parse(
        EvaluateConfig,
        argv,
        prog="train_cifar.py evaluate",
        description="Robustness of a finished run: an image counts if every attack fails on it.",
    )
    if config.json is not None:
        check_can_be_written(config.json)  # before all attacks
    report = evaluate_run(config, tell=lambda text: print(text, flush=True))
    rows = [("clean", f"{100 * report.clean:.1f}")]
    rows += [(name, f"{100 * value:.1f}") for name, value in report.accuracy.items()]
    rows += [("all attacks", f"{100 * report.robust:.1f}")]
    print(f"\n{config.run}, {config.which} epoch, {report.images} images, eps {255 * report.eps:g}")
    print(format_table(("attack", "accuracy %"), [list(row) for row in rows]))
    for flag in report.flags:
        print(f"sign of masked gradients: {flag}")
    if set(AUTOATTACKS).isdisjoint(config.attacks):
        print('an upper bound; --attacks apgd_ce apgd_t square, with the extra "[eval]", is closer')
    if config.json is not None:
        told = {"run": str(config.run), "which": config.which, "seed": config.seed}
        atomic_write(config.json, json.dumps(told | report.to_dict(), indent=1) + "\n")


def _folder_of(run: str | Path) -> Path:
    """Return the folder of a run that is given as that, or by its model as ``load_model`` takes it.

    Raises:
        InputError: It is the folder of an interrupted run.
    """
    run = home_expanded(run)
    if run.name == MODEL_FILE and not os.path.isdir(run):
        run = run.parent
    begun, finished = (os.path.lexists(run / name) for name in ("checkpoint.pt", "summary.json"))
    if begun and not finished:
        raise InputError(f"{run} was interrupted; train it to its end first, by --resume")
    return run


def _settings_of(run: Path) -> tuple[Settings, list[int]]:
    """Return what a run was trained with, and how many images it had."""
    summary = read_json(
        run / "summary.json",
        way_out="train again",
        missing=f"{run} holds no finished run (no summary.json); give the folder of one seed",
    )
    known = summary.get("settings")
    if summary.get("kind") != "cifar" or not isinstance(known, dict):
        raise InputError(f"{run} is no run of train_cifar.py")
    names = {field.name for field in dataclasses.fields(Settings)}
    known.setdefault("attacker", "slim")  # what there was before there was a choice
    path, way_out = run / "summary.json", "train again"
    with fitting(path, way_out):
        sizes = [index(summary[f"{part}_images"]) for part in ("train", "held_out", "eval")]
        try:
            settings = Settings(**{name: known[name] for name in known if name in names})
        except InputError as error:  # which speaks of flags, and it is the file that gave them
            raise InputError(f"{path} does not fit this version: {error}; {way_out}") from None
    return settings, sizes


def _are_the_runs(data: Dataset, run: Path, judged: int) -> bool:
    """Whether these images are those of a run, as far as it noted them: 0.1.0 did not."""
    if not os.path.lexists(path := run / "config.json"):
        return True
    noted = read_json(path, way_out="train again").get("data.sha256")
    return noted in (None, dataclasses.replace(data, test=data.test[:judged]).digest)


def _players(
    run: Path, which: Which, settings: Settings, data: Dataset
) -> tuple[nn.Module, Method]:
    """The classifier and what perturbs its images, from the run's model.

    Version 0.1.0 left none; then from the checkpoint, and from no earlier one in its place.
    """
    device = data.train.pixels.device
    path = run / "checkpoint.pt"
    if os.path.lexists(run / MODEL_FILE) or not os.path.lexists(path):
        model = load_model(run, which=which, device=device)
        return model.classifier, model.method
    checkpoint = load_checkpoint(path, or_previous=False)
    with fitting(path, "train again"):
        classifier = classifier_for(settings, data).to(device)
        classifier.load_state_dict(_weights(checkpoint, which))
        method = build_method(settings)
        if method.learns:
            method.rule.load_state_dict(checkpoint["trainer"]["rule"])
            method.rule.to(device)
    return classifier, method


def _weights(checkpoint: dict[str, Any], which: Which) -> dict[str, torch.Tensor]:
    if which == "best":
        return checkpoint["best"]["classifier"]
    average = checkpoint.get("average")
    return average["model"] if average else checkpoint["classifier"]
