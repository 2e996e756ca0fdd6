"""The flags that both training scripts have: which runs to make, and where they lie."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2l_gail.errors import InputError
from l2l_gail.finding_scripts import has_make, module_command
from l2l_gail.own_modules import IMPORT, OwnModules, import_own
from l2l_gail.runs import check_seed

__all__ = ["LONGEST_LABEL", "RunFlags", "check_least", "parse_seeds"]

LONGEST_LABEL = 150
"""Letters of a group's name, which is that of a folder."""

_MOST = 10**15  # more than can be counted to
_MOST_SEEDS = 10_000


@dataclass(frozen=True)
class RunFlags:
    """Which runs to make, and where they lie: the same flags in every script."""

    seed: int = 0
    """Seed of everything."""
    seeds: tuple[str, ...] = ()
    """Several seeds instead of one: 0-4 for five, or 0,3,7; a lone 5 is seed 5."""
    name: str | None = None
    """Name of this group of runs, in place of what its settings give."""
    out: Path = Path("runs")
    """Root of the runs: <out>/<env or data>/<method>/seed<k>/."""
    resume: bool = False
    """Go on with the newest run of each seed instead of starting another."""
    imports: OwnModules = ()
    """Modules of your own to import first, for what they register: rules, penalties, rewards,
    methods, models. Python looks in this folder and those of PYTHONPATH."""

    def __post_init__(self) -> None:
        """Refuse seeds and names that there cannot be.

        Raises:
            InputError: In one line.
        """
        check_seed(self.seed)
        if self.seeds and self.seed != type(self).seed:
            raise InputError("--seed and --seeds are both given: give one of them")
        parse_seeds(self.seeds)
        if self.name is not None and not re.fullmatch(r"[\w.=+-]*\w[\w.=+-]*", self.name):
            raise InputError(
                f"--name {self.name!r} is part of a folder's name: use letters, digits and .-_=+"
            )
        if self.name is not None and len(self.name.encode()) > LONGEST_LABEL:
            raise InputError(
                f"--name has {len(self.name)} letters and is part of a folder's name: give one of "
                f"at most {LONGEST_LABEL}"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be in another process what it was, with what the modules register there, too."""
        self.__dict__.update(state)
        for module in self.imports:
            import_own(module, IMPORT)

    @property
    def where_to_look(self) -> str:
        """What a script says at its end: how to see the runs in TensorBoard, to be pasted."""
        command = shlex.join([*module_command("compare"), str(self.out), "--board"])
        if not has_make():
            return f"\nIn TensorBoard: {command}"
        out = shlex.quote(str(self.out).replace("$", "$$"))
        return f"\nIn TensorBoard: make board RUNS={out}, or without make\n{command}"

    @property
    def all_seeds(self) -> list[int]:
        """The seeds to train."""
        return parse_seeds(self.seeds) or [self.seed]

    @property
    def seeds_in_words(self) -> str:
        """The seeds as a script announces them; a lone ``--seeds 5`` may be meant as five."""
        seeds = self.all_seeds
        if len(seeds) > 1:
            return f"{len(seeds)} seeds: {','.join(self.seeds)}"
        (seed,) = seeds
        may_be_a_count = bool(self.seeds) and seed > 1
        return f"seed {seed}" + f" alone (--seeds 0-{seed - 1} for {seed})" * may_be_a_count


def parse_seeds(texts: Sequence[str]) -> list[int]:
    """Read seeds: numbers and ranges, ``0-4`` with both ends, separated by commas or blanks.

    Raises:
        InputError: Something else, a seed twice, a range that falls, or more than 10,000 seeds.
    """
    seeds: list[int] = []
    for part in (part for text in texts for part in text.replace(",", " ").split()):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part, re.ASCII)
        if match is None:
            raise InputError(f"--seeds {part!r}: give numbers and ranges, as 0-4 or 0,3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InputError(f"--seeds {part} falls: write {last}-{first}")
        if len(seeds) + last - first >= _MOST_SEEDS:
            raise InputError(f"--seeds {part}: at most {_MOST_SEEDS:,} seeds at once")
        seeds += range(first, last + 1)
        check_seed(last)
    twice = (
        {seed for seed in seeds if seeds.count(seed) > 1} if len(set(seeds)) < len(seeds) else ()
    )
    if texts and not seeds:
        raise InputError("--seeds is empty: give numbers and ranges, as 0-4 or 0,3,7")
    if twice:
        raise InputError(f"--seeds holds {min(twice)} twice")
    return seeds


def check_least(least: int, **counts: int) -> None:
    """Refuse numbers that are too small, or beyond all use, named as the flags that they are.

    Raises:
        InputError: In one line.
    """
    for name, count in counts.items():
        if count < least:
            more = "0 or more" if least == 0 else f"at least {least}"
            raise InputError(f"--{name.replace('_', '-')} must be {more}, not {count}")
        if count > _MOST:
            raise InputError(f"--{name.replace('_', '-')} is {count:.3g}: give {_MOST:,} or fewer")
