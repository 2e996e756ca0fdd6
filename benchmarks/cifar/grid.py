"""Run a grid of adversarial trainings from a configuration file; go on where an earlier call ended.

    .venv/bin/python benchmarks/cifar/grid.py benchmarks/cifar/configs/eps8.toml --data-dir DIR

A configuration names methods, settings (what is changed for all methods alike) and seeds; a cell is
one of each. Each cell is one JSON file under ``benchmarks/results/cifar/<name>/``, written when its
classifier is trained and judged; a cell that has its file is skipped. Cells are taken seed by seed,
so that an unfinished grid has all methods with fewer seeds. A training that was interrupted goes on
from its last checkpoint, kept under ``--work``; a result does not depend on interruptions.

Keys of a configuration:

=================== ===============================================================================
``name``            folder of the results
``like``            as wished, the configuration beside it that all else is taken from
``data``            ``cifar10`` or ``cifar100``
``train_size``      as wished: training images, the held-out ones included; else all
``seeds``           list
``common``          fields of ``adv_training.Settings``, for all runs
``methods.NAME``    the same, ``method`` among them
``settings.NAME``   as wished, the same
``judge``           ``eval_size``: test images that PGD-20 and the standing measure are taken on;
                    ``apgd_t``: of these, the first so many are also judged by APGD-T (0: none)
``only``            as wished, a list of ``{setting, method}``, lists each: the cells to run
=================== ===============================================================================

APGD-T needs the extra ``[eval]``.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import judged  # noqa: E402

from adv_training import Dataset, Settings, load_dataset, locate  # noqa: E402
from adv_training.autoattack import require_pyautoattack  # noqa: E402
from benchmarks.records import as_lines, check_same, read_configuration  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.devices import choose_device  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402
from l2l_gail.files import atomic_write  # noqa: E402
from l2l_gail.runs import versions  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results" / "cifar"
NEEDED = ("name", "data", "seeds", "common", "methods", "judge")


@dataclass(frozen=True)
class Config:
    """Flags of grid.py."""

    configurations: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files to run, one after the other."""
    data_dir: Path | None = None
    """Folder with the python batches; else $L2L_GAIL_DATA, else data/."""
    methods: tuple[str, ...] = ()
    """Only these methods of the configuration; all by default."""
    seeds: tuple[int, ...] = ()
    """Only these seeds of the configuration; all by default."""
    out: Path = RESULTS
    """Root of the results."""
    work: Path = Path("runs/cifar-grid")
    """Where the checkpoints of unfinished cells lie."""
    device: str = "cpu"
    """Where to train and judge; several calls can share a GPU, each with cells of its own."""


def main(argv: list[str] | None = None) -> None:
    """Run what is not there yet."""
    config = parse(Config, argv, prog="grid.py", description="Run a grid of trainings on images.")
    torch.set_num_threads(1)
    device = choose_device(config.device)
    grids = [read_configuration(path, NEEDED) for path in config.configurations]
    every = [cell for grid in grids for _, cell in cells(grid)]
    for name in ("method", "seed"):
        check_known(name, getattr(config, f"{name}s"), [cell[name] for cell in every])
    for cell in every:
        settings_of(cell)  # or say now what is wrong with one
    for grid in grids:
        todo = [
            (name, cell)
            for name, cell in cells(grid)
            if cell["method"] in (config.methods or grid["methods"])
            and cell["seed"] in (config.seeds or grid["seeds"])
        ]
        if grid["judge"].get("apgd_t"):
            require_pyautoattack()
        data = dataset_of(grid, config.data_dir, device)
        for i, (name, cell) in enumerate(todo):
            file = config.out / grid["name"] / f"{name}.json"
            if file.exists():
                check_same(file, cell)
                continue
            begun = time.perf_counter()
            found = run(cell, data, config.work / grid["name"], name)
            atomic_write(file, as_lines(found).encode())
            print(
                f"{i + 1}/{len(todo)} {name}: clean {found['clean']:.2%}, PGD-20 "
                f"{found['pgd20']:.2%}, robust {found['robust']:.2%}, APGD-T "
                f"{found['apgd_t'] or 0:.1%}, {found['cpu_s']:.0f} CPU s, "
                f"{time.perf_counter() - begun:.0f} s",
                flush=True,
            )


def check_known(what: str, asked: Iterable[Any], known: Iterable[Any]) -> None:
    """Refuse to run nothing, where a flag names what no configuration has.

    Raises:
        InputError: In one line, with what there is.
    """
    there = list(dict.fromkeys(known))
    for value in asked:
        if value not in there:
            raise InputError(
                f"--{what}s {value}: no configuration has it; there are: "
                f"{', '.join(map(str, there))}"
            )


def dataset_of(grid: dict[str, Any], folder: Path | None, device: torch.device | str) -> Dataset:
    """Return the images of a configuration.

    Raises:
        InputError: The folder holds others.
    """
    data = load_dataset(
        locate(grid["data"], folder), train_size=grid.get("train_size"), check_md5=False
    )
    if data.name != grid["data"]:
        raise InputError(f"--data-dir {folder} holds {data.name}, not {grid['data']}")
    return data.to(device)


def run(cell: dict[str, Any], data: Dataset, work: Path, name: str) -> dict[str, Any]:
    """Return the record of a cell: what it was, what was found, where."""
    found = judged.run(settings_of(cell), data, work, name, **cell["judge"])
    pixels = data.train.pixels
    where = torch.cuda.get_device_name(pixels.device) if pixels.is_cuda else "cpu"
    return cell | found | {"device": where, "versions": versions()}


def cells(grid: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of each cell, seed by seed."""
    settings = grid.get("settings", {"default": {}})
    for seed, setting, method in itertools.product(grid["seeds"], settings, grid["methods"]):
        if "only" in grid and not any(
            setting in o.get("setting", [setting]) and method in o.get("method", [method])
            for o in grid["only"]
        ):
            continue
        yield (
            f"{setting}_{method}_{seed}",
            {
                "setting": setting,
                "method": method,
                "seed": seed,
                "data": grid["data"],
                "train_size": grid.get("train_size"),
                "settings": grid["common"] | settings[setting] | grid["methods"][method],
                "judge": grid["judge"],
            },
        )


def settings_of(cell: dict[str, Any]) -> Settings:
    """Return the settings of a cell's run.

    Raises:
        InputError: One of them is none.
    """
    given = dict(cell["settings"])
    try:
        return Settings(given.pop("method"), cell["data"], seed=cell["seed"], **given)
    except TypeError as error:
        raise InputError(f"the cell {cell['setting']}, {cell['method']}: {error}") from None


if __name__ == "__main__":
    run_main(main)
