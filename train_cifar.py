"""Adversarial training of a small CNN on CIFAR-10, attacked by a learned optimizer.

Four methods play the same game through the same trainer and differ in one object, the rule that
moves the perturbation: none (``standard``), one step along the gradient's sign (``fgsm_rs``),
several (``pgd``), or a convolutional network trained along with the classifier (``grad_l2l``,
arXiv 1811.01213).  Ends with a table: accuracy on clean test images and under PGD-20 at 8/255.

Reached by the default run, seed 0, clean / PGD-20 in %: standard 73.8 / 0.0, FGSM-RS 53.5 / 28.1,
Grad L2L 52.6 / 28.3, PGD-2 51.0 / 29.3; 50,000 training images (1,000 of them held out to choose
an epoch), 5 epochs, all 10,000 test images.  One seed: each figure has a standard error of up to
0.5 points from the test images alone.  It takes 7 minutes on two idle cores of an AMD EPYC server.
The figures lie in ``benchmarks/results/runs/cifar10``.
"""

from __future__ import annotations

import dataclasses
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from adv_training import (
    METHODS,
    Dataset,
    Settings,
    Training,
    check_batch_size,
    check_resumed,
    check_sizes,
    forward_equivalents,
    load_dataset,
    locate,
    results_table,
)
from l2l_gail.cli import parse, run_main
from l2l_gail.devices import choose_device
from l2l_gail.errors import InputError
from l2l_gail.jobs import available_cores, run_jobs
from l2l_gail.progress import Tell
from l2l_gail.runs import RunFolder

DESCRIPTION = "Adversarial training of a CNN on CIFAR-10: learned attacker, PGD, FGSM, none."
NO_DATA = (
    "neither CIFAR-10 nor a network: give --data-dir a folder with cifar-10-batches-py, or connect "
    "to a network; for now, a 2-minute demonstration on synthetic data"
)


@dataclass(frozen=True)
class Config:
    """Flags; those of the same name are fields of `adv_training.Settings`."""

    data: Literal["auto", "cifar10", "synthetic"] = "auto"
    """CIFAR-10; a small generated set; or whichever can be had, in this order."""
    data_dir: Path | None = None
    """Folder with the python batches; else $L2L_GAIL_DATA, else data/."""
    method: Literal["standard", "fgsm_rs", "pgd", "grad_l2l", "all"] = "all"
    """What attacks the classifier in training."""
    pgd_steps: int = 2
    """Steps of pgd; 2 cost about what grad_l2l costs."""
    l2l_steps: int = 1
    """Steps of grad_l2l, each with a gradient of its own."""
    order: Literal["fused", "alternating"] = "fused"
    """Classifier and attacker share a backward pass, or take turns (dearer)."""
    eps: float = 8.0
    """Largest change of a pixel, in 1/255."""
    model: Literal["small_cnn", "tiny_cnn", "resnet18"] = "small_cnn"
    """The classifier."""
    epochs: int = 5
    """Passes over the training images."""
    batch_size: int = 128
    """Images in a training step."""
    lr: float = 0.2
    """Peak learning rate of the classifier."""
    train_size: int | None = None
    """Use only so many training images."""
    eval_size: int | None = None
    """Use only so many test images."""
    seed: int = 0
    """Seed of weights, order, augmentation and random starts."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or the GPU if there is one."""
    bf16: bool = False
    """Train under bfloat16 autocast (evaluation stays in float32)."""
    workers: int = 0
    """Methods trained at a time; 0: one a core, or 1 on a GPU."""
    threads: int = 0
    """CPU threads of each; 0: the cores shared out."""
    out: Path = Path("runs")
    """Root of the runs: <out>/<data>/<method>/seed<k>/."""
    resume: bool = False
    """Go on with the newest run of this seed instead of starting another."""


@dataclass(frozen=True)
class Job:
    """One run, as its process gets it; a ``folder`` of ``None`` means synthetic data."""

    settings: Settings
    config: Config
    folder: Path | None
    device: str
    threads: int
    run: RunFolder


def main(argv: list[str] | None = None) -> None:
    """Find the data, train and evaluate each method, print the table."""
    config = parse(Config, argv, prog="train_cifar.py", description=DESCRIPTION)
    device = choose_device(config.device)
    check_flags(config)
    folder = locate(config.data, config.data_dir)
    if folder is None and config.data == "auto":
        print(NO_DATA, flush=True)
    data = "cifar10" if folder else "synthetic"
    runs = all_settings(config, data)
    dataset = check_data(config, folder)
    folders = {
        run.label: RunFolder.create(
            config.out, data, run.folder_name, run.seed, resume=config.resume
        )
        for run in runs
    }
    if config.resume:
        for run in runs:
            check_resumed(run, dataset, folders[run.label])

    cores = available_cores()
    workers = min(len(runs), config.workers or (cores if device == "cpu" else 1))
    threads = config.threads or max(1, cores // workers)
    # The dearest first (taking an attacker for half a classifier): then no worker is left alone
    # with a long run at the end.
    runs.sort(key=lambda settings: forward_equivalents(settings, 0.5), reverse=True)
    jobs = {
        f"{data} {s.label}": Job(s, config, folder, device, threads, folders[s.label]) for s in runs
    }
    results = run_jobs(train, jobs, workers=workers, threads=threads)

    print(results_table(sorted(results.values(), key=lambda run: run["forward_equivalents"])))
    print(f"\nIn TensorBoard: make board RUNS={config.out}, or without make")
    print(f"python -m l2l_gail.compare {config.out} --board")


def train(job: Job, tell: Tell) -> dict[str, Any]:
    """Train and evaluate one method; return what its summary.json holds."""
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.allow_tf32 = False  # "float32" is meant; --bf16 is the way to speed
    config, settings = job.config, job.settings
    dataset = load_dataset(
        job.folder,
        train_size=config.train_size,
        eval_size=config.eval_size,
        check_md5=False,
    )
    training = Training(settings, dataset.to(job.device), job.run, tell=tell, resume=config.resume)
    return training.run()


def all_settings(config: Config, data: str) -> list[Settings]:
    """Return the settings of every method that is asked for."""
    runs = [settings_of(config, data, method) for method in METHODS]
    return [settings for settings in runs if config.method in (settings.method, "all")]


def settings_of(config: Config, data: str, method: str) -> Settings:
    """Return the settings of one method: the flags that are fields of Settings."""
    flags = dataclasses.asdict(config) | {"data": data, "method": method}
    names = (field.name for field in dataclasses.fields(Settings))
    return Settings(**{name: flags[name] for name in names if name in flags})


def check_flags(config: Config) -> None:
    """Refuse wrong flags, before anything is downloaded.

    Raises:
        InputError: In one line.
    """
    if min(config.workers, config.threads) < 0:
        raise InputError("--workers and --threads must be 0 or more")
    check_sizes(config.train_size, config.eval_size)
    all_settings(config, "not yet known")


def check_data(config: Config, folder: Path | None) -> Dataset:
    """Read all data once, so that whatever is wrong with it is said before any process starts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        dataset = load_dataset(folder, train_size=config.train_size, eval_size=config.eval_size)
    for warning in caught:
        print(f"note: {warning.message}", file=sys.stderr)
    check_batch_size(config.batch_size, dataset)
    return dataset


if __name__ == "__main__":
    run_main(main)
