"""Run a grid of GAIL games from a configuration file; go on where an earlier call stopped.

    .venv/bin/python benchmarks/gail/grid.py benchmarks/gail/configs/settings.toml

A configuration names methods (a rule and its arguments), settings (what is changed for all methods
alike), environments and seeds; a cell is one of each. Each cell is one JSON file under
``benchmarks/results/gail/<name>/``, written when its run is done; a cell that has its file is
skipped. Cells are taken seed by seed, so that an unfinished grid has all methods with fewer seeds.

Keys of a configuration:

=================== ===============================================================================
``name``            folder of the results
``like``            as wished, the configuration beside it that all else is taken from
``steps``           environment steps of a run: a number, or one for each environment
``eval_every``      steps between two evaluations of ten deterministic episodes
``envs``, ``seeds`` lists
``methods.NAME``    ``rule`` (registered name), ``arguments``, and as wished ``training`` (of
                    ``RuleTraining``), ``discriminator`` (of ``DiscriminatorConfig``), ``credit``
                    (of ``LearnedCredit``; none is PPO's own), ``ppo`` (arguments of PPO),
                    ``policy_pace``, ``policy_divergence`` and ``policy_average`` (of ``GAIL``; 0
                    by default here)
``settings.NAME``   the same changes, ``every`` (keep each n-th demonstrated transition),
                    ``episodes`` (demonstrated ones to imitate; 1 by default here) and
                    ``env_kwargs`` (arguments of the environment)
``only``            as wished, a list of ``{env, setting, method}``, lists each: the cells to run
=================== ===============================================================================

Everything else is as in ``train_gail.py``: 64 environments x 32 steps, PPO minibatches of 256, 10
discriminator updates on 256 + 256 transitions, penalty 1; but a learned rule is trained at every
update and learned credit draws 8 actions, unless it is said. The demonstrated episodes are the
first of ``--demos-dir/<env>.npz`` or else of the embedded set.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import measured  # noqa: E402
import trials  # noqa: E402, F401 - registers its rules

from benchmarks.records import as_lines, check_same, read_configuration  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.demos import Demonstrations  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402
from l2l_gail.files import atomic_write  # noqa: E402
from l2l_gail.runs import versions  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results" / "gail"
NEEDED = ("name", "steps", "eval_every", "envs", "seeds", "methods")
CHANGES = ("training", "discriminator", "credit", "ppo")
OWN = ("env_kwargs", "episodes", "every", "policy_pace", "policy_divergence", "policy_average")


@dataclass(frozen=True)
class Config:
    """Flags of grid.py."""

    configurations: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files to run, one after the other."""
    demos_dir: Path = Path("demos")
    """Where <env>.npz with recorded expert episodes lies; else the embedded set is taken."""
    out: Path = RESULTS
    """Root of the results."""


def main(argv: list[str] | None = None) -> None:
    """Run what is not there yet."""
    config = parse(Config, argv, prog="grid.py", description="Run a grid of GAIL games.")
    torch.set_num_threads(1)
    for path in config.configurations:
        grid = read_configuration(path, NEEDED)
        todo = list(cells(grid))
        for i, (name, cell) in enumerate(todo):
            file = config.out / grid["name"] / f"{name}.json"
            if file.exists():
                check_same(file, cell)
                continue
            begun = time.perf_counter()
            record = measured.run(cell, demonstrations(cell, config.demos_dir))
            record |= {"versions": versions()}
            atomic_write(file, as_lines(record).encode())
            print(
                f"{i + 1}/{len(todo)} {name}: {record['return_in_training']:.0f}, last "
                f"{record['evaluations']['return_mean'][-1]:.0f}, tracking "
                f"{record['tracking_loss']:.3f}, {record['cpu_s']:.0f} CPU s, "
                f"{time.perf_counter() - begun:.0f} s",
                flush=True,
            )


def cells(grid: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of each cell, seed by seed.

    Raises:
        InputError: A method names no rule, as where a dot in its name makes it a table of tables.
    """
    settings = grid.get("settings", {"default": {}})
    names = itertools.product(grid["seeds"], settings, grid["envs"], grid["methods"])
    for seed, setting, env, method in names:
        if "only" in grid and not any(
            setting in o.get("setting", [setting])
            and env in o.get("env", [env])
            and method in o.get("method", [method])
            for o in grid["only"]
        ):
            continue
        how, change = grid["methods"][method], settings[setting]
        if "rule" not in how:
            raise InputError(f"{grid['name']}: the method {method!r} names no rule")
        cell = {
            "env": env,
            "setting": setting,
            "method": method,
            "seed": seed,
            "steps": steps[env] if isinstance(steps := grid["steps"], dict) else steps,
            "eval_every": grid["eval_every"],
            "rule": how["rule"],
            "arguments": how.get("arguments", {}),
        }
        for key in CHANGES:
            merged = {**how.get(key, {}), **change.get(key, {})}
            if merged or key in how:
                cell[key] = merged
        both = how | change
        cell |= {key: both[key] for key in OWN if key in both}
        yield f"{env.removesuffix('-v5')}_{setting}_{method}_{seed}", cell


def demonstrations(cell: dict[str, Any], folder: Path) -> Demonstrations:
    """Return the expert episodes that a cell imitates."""
    file = folder / f"{cell['env']}.npz"
    found = Demonstrations.load(file if file.exists() else cell["env"])
    return found.head(cell.get("episodes", 1))


if __name__ == "__main__":
    run_main(main)
