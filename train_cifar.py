"""Adversarial training of a small CNN on CIFAR-10, attacked by a learned optimizer.

Four methods play the same game through the same trainer and differ in one object, the rule that
moves the perturbation: none (``standard``), one step along the gradient's sign (``fgsm_rs``),
several (``pgd``), or a convolutional network trained along with the classifier (``grad_l2l``,
arXiv 1811.01213).  Ends with a table: accuracy on clean test images and under PGD-20 at 8/255.

Reached by version 0.1.0, whose attacker is ``--attacker slim`` now, seed 0, clean / PGD-20 in %:
standard 73.8 / 0.0, FGSM-RS 53.5 / 28.1, Grad L2L 52.6 / 28.3, PGD-2 51.0 / 29.3; 5 epochs, all
10,000 test images.  One seed: each figure has a standard error of up to 0.5 points.  7 minutes on
two idle cores of an AMD EPYC server (``benchmarks/results/runs/cifar10``).
"""

from __future__ import annotations

import l2l_gail.startup  # noqa: F401  before anything else is loaded

# isort: split
import dataclasses
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from tyro.conf import OmitArgPrefixes

from l2l_gail.cli import parse, run_main
from l2l_gail.devices import choose_device
from l2l_gail.experiment import Plan, Prepared, open_folders, titles
from l2l_gail.jobs import run_jobs, share_cores
from l2l_gail.progress import Display, Tell
from l2l_gail.run_flags import RunFlags, check_least
from l2l_gail.runs import RunFolder, empty_ones_removed
from l2l_gail.stopping import Interrupted

if TYPE_CHECKING or not __package__:
    import adv_training
else:  # in a wheel, where this file is l2l_gail.scripts.train_cifar
    from l2l_gail import adv_training

DESCRIPTION = "Adversarial training of a CNN on CIFAR-10: learned attacker, PGD, FGSM, none."


@dataclass(frozen=True)
class Config:
    """Flags of train_cifar.py."""

    method: str = "all"
    """What attacks in training: standard (nothing), fgsm, fgsm_rs, n_fgsm, free, pgd, trades,
    naive_l2l, grad_l2l, start_l2l; or all: standard, fgsm_rs, pgd and grad_l2l in turn."""
    preset: str | None = None
    """paper or fastat: settings of a published protocol, where no flag says otherwise."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ..., or the GPU if there is one."""
    workers: int = 0
    """Runs trained at a time, each in a process; 0: one a core, or 1 on a GPU."""
    threads: int = 0
    """CPU threads of each; 0: the cores shared out."""
    save_every: int = 0
    """Training steps between two checkpoints; 0: one after each epoch."""
    cuda_graphs: bool = False
    """On a GPU, launch each pass of the classifier at once: the same training, faster."""
    images: Annotated[adv_training.ImageFlags, OmitArgPrefixes] = field(
        default_factory=adv_training.ImageFlags
    )
    settings: Annotated[adv_training.Settings, OmitArgPrefixes] = field(
        default_factory=lambda: adv_training.Settings("standard", "synthetic")
    )
    """The game: method, data and seed are filled in for each run."""
    runs: Annotated[RunFlags, OmitArgPrefixes] = field(default_factory=RunFlags)

    def __post_init__(self) -> None:
        """Refuse numbers of which there are none, and methods that there are not."""
        check_least(0, workers=self.workers, threads=self.threads, save_every=self.save_every)
        for method in self.methods:
            dataclasses.replace(self.settings, method=method)
        if self.cuda_graphs:
            adv_training.check_cuda_graphs(self.settings)

    @property
    def methods(self) -> Sequence[str]:
        """The methods to train."""
        return adv_training.COMPARED_METHODS if self.method == "all" else [self.method]


@dataclass(frozen=True)
class Job:
    """One run, as its process gets it; ``data`` of ``None`` means synthetic images."""

    config: Config
    settings: adv_training.Settings
    plan: Plan
    folder: RunFolder
    data: Path | None
    device: str
    threads: int


def main(argv: list[str] | None = None) -> None:
    """Find the data, train and evaluate each method with each seed, print the table.

    ``train_cifar.py evaluate RUN`` attacks a finished run instead.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["evaluate"]:
        return adv_training.evaluate_main(argv[1:])
    config = read_flags(argv)
    if adv_training.is_launched():
        return train_together(config)
    prepared = prepare(config)
    plans = prepared.plans
    folders = open_folders(config.runs, prepared.group, plans)
    on_cpu = choose_device(config.device) == "cpu"
    workers, cores = share_cores(len(plans), config.workers or (0 if on_cpu else 1))
    jobs = {
        title: prepared.job(plan, folder, cores)
        for title, plan, folder in zip(titles(plans), plans, folders, strict=True)
    }
    print(
        f"{prepared.group}: {', '.join(config.methods)}, {config.runs.seeds_in_words}", flush=True
    )
    with empty_ones_removed(folders):
        results = run_jobs(train, jobs, workers=workers, threads=config.threads or cores)
    show(list(results.values()), config)


def train_together(config: Config) -> None:
    """Train as one of the processes of ``torchrun``, run after run, each on a part of each batch.

    What has failed goes on from its checkpoint when ``torchrun`` starts the processes again.
    """
    with adv_training.joined(choose_device(config.device)) as processes:
        if config.cuda_graphs:
            adv_training.check_cuda_graphs(config.settings, processes)
        processes.part(config.settings.batch_size)
        resume = config.runs.resume or adv_training.is_restarted()
        runs = dataclasses.replace(config.runs, resume=resume)
        config = dataclasses.replace(config, device=processes.device, runs=runs)
        processes.from_first(config.images.locate)  # of all the first alone downloads them
        prepared = prepare(config)
        plans = prepared.plans
        folders = processes.from_first(lambda: open_folders(runs, prepared.group, plans))
        _, cores = share_cores(int(os.environ.get("LOCAL_WORLD_SIZE", processes.count)), 0)
        display = Display(titles(plans))
        try:
            results = [
                train(prepared.job(plan, folder, cores), display.tell(title), processes)
                for title, plan, folder in zip(titles(plans), plans, folders, strict=True)
            ]
        except Interrupted:
            if processes.is_first:
                print("the same torchrun command with --resume goes on", file=sys.stderr)
            raise
        display.close()
        if processes.is_first:
            show(results, config)


def show(results: list[dict[str, Any]], config: Config) -> None:
    """Print the table, and where to look further."""
    print(adv_training.results_table(results))
    print(config.runs.where_to_look)


def read_flags(argv: Sequence[str]) -> Config:
    """Return the configuration of a command line; a preset gives way to the flags beside it."""
    default = None
    name = adv_training.preset_in(argv)
    if name is not None:
        default = Config(preset=name, settings=adv_training.preset(name, "standard", "synthetic"))
    return parse(Config, argv, prog="train_cifar.py", description=DESCRIPTION, default=default)


def prepare(config: Config) -> Prepared:
    """Find the data and check what the runs of a configuration need; make nothing yet."""
    device = choose_device(config.device)
    location, dataset = checked_images(config.images)
    adv_training.check_batch_size(config.settings.batch_size, dataset)
    runs = [
        dataclasses.replace(config.settings, method=method, data=dataset.name, seed=seed)
        for seed in config.runs.all_seeds
        for method in config.methods
    ]
    for settings in runs:
        adv_training.check_images(settings, dataset)
    # The dearest first (taking an attacker for half a classifier): then no worker is left alone
    # with a long run at the end.
    runs.sort(key=lambda settings: adv_training.forward_equivalents(settings, 0.5), reverse=True)
    sizes = {"train_size": config.images.train_size, "eval_size": config.images.eval_size}
    labels = {"name": config.runs.name, "started_from": config.preset}
    plans = [adv_training.plan_of(settings, dataset, sizes=sizes, **labels) for settings in runs]

    def job(plan: Plan, folder: RunFolder, cores: int) -> Job:
        settings = runs[plans.index(plan)]
        return Job(config, settings, plan, folder, location, device, config.threads or cores)

    return Prepared(dataset.name, plans, job)


@lru_cache(maxsize=1)
def checked_images(images: adv_training.ImageFlags) -> tuple[Path | None, adv_training.Dataset]:
    """Find the data and read all of it, so that what is wrong is said before any process starts."""
    location = images.locate()
    return location, images.load(location, check=True)


def train(
    job: Job, tell: Tell, processes: adv_training.Processes = adv_training.ALONE
) -> dict[str, Any]:
    """Train and evaluate one method with one seed; return what its summary.json holds."""
    torch.set_num_threads(job.threads)
    torch.backends.cudnn.allow_tf32 = False  # "float32" is meant; --bf16 is the way to speed
    dataset = job.config.images.load(job.data).to(job.device)
    resume = job.config.runs.resume
    with job.folder.owned(new=not resume) if processes.is_first else nullcontext():
        kwargs: dict[str, Any] = {
            "resume": resume,
            "save_every": job.config.save_every,
            "cuda_graphs": job.config.cuda_graphs,
            "plan": job.plan,
            "tell": tell,
            "processes": processes,
        }
        return adv_training.Training(job.settings, dataset, job.folder, **kwargs).run()


if __name__ == "__main__":
    run_main(main)
