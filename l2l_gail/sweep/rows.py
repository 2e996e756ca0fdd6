"""One row of a sweep: a single run of one of the scripts, wherever it is carried out."""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from l2l_gail.errors import InputError, TakenError
from l2l_gail.experiment import Prepared, open_folders
from l2l_gail.files import read_json
from l2l_gail.finding_runs import in_training
from l2l_gail.finding_scripts import script_module
from l2l_gail.progress import Message, Tell
from l2l_gail.runs import RunFolder

__all__ = ["SCRIPTS", "Row", "State", "load_script", "prepare", "run_row", "state_of"]

SCRIPTS = ("train_gail", "train_cifar")
"""What a sweep can run."""

State = Literal["new", "begun", "running", "finished", "damaged"]


@dataclass(frozen=True)
class Row:
    """One run of a sweep; small and picklable, it travels to whatever carries it out.

    Attributes:
        index: Its number in the sweep, from 0.
        script: ``train_gail`` or ``train_cifar``.
        group: Environment id or name of the data.
        method: Training method.
        setting: Name of the setting; ``-`` in a sweep without settings.
        seed: Training seed.
        folder: Name of the folder of its group of runs, ``<method>+<what differs>``.
        arguments: The script's command line, which makes this run and no other.
        threads: CPU threads of it.
        steps: Environment steps after which it is finished: a longer run is the same run, gone on
            with. 0 for images, whose epochs are a setting.
    """

    index: int
    script: str
    group: str
    method: str
    setting: str
    seed: int
    folder: str
    arguments: tuple[str, ...]
    threads: int = 1
    steps: int = 0

    @property
    def title(self) -> str:
        """What the row is called while it runs."""
        setting = "" if self.setting == "-" else f" {self.setting}"
        return f"{self.index} {self.group} {self.method}{setting} seed {self.seed}"


def load_script(name: str) -> Any:
    """Import a script.

    Raises:
        InputError: It is not there.
    """
    return importlib.import_module(script_module(name))


def prepare(script: str, arguments: tuple[str, ...]) -> tuple[Any, Prepared]:
    """Check a command line of a script as the script does; nothing is made.

    Returns:
        The script's configuration, and its runs.

    Raises:
        InputError: In the script's words.
    """
    module = load_script(script)
    config = module.read_flags(arguments)
    return config, module.prepare(config)


def state_of(row: Row, out: Path) -> State:
    """Return how far a row has come below ``out``.

    It is finished with a summary of full length, damaged with one that cannot be read, and running
    where a process is known to train in its folder.
    """
    found = RunFolder.newest(out, row.group, row.folder, row.seed)
    if found is None:
        return "new"
    try:
        if _is_whole(row, found):
            return "finished"
    except InputError:
        return "damaged"
    return "running" if in_training(found) else "begun"


def _is_whole(row: Row, folder: RunFolder) -> bool:
    """Whether a row's run is finished in its full length."""
    if not folder.finished:
        return False
    way_out = "move the folder of that run away"
    steps = read_json(folder.summary, way_out=way_out).get("steps", 0)
    # Behaviour cloning takes no steps, however many were asked of the other methods.
    return isinstance(steps, int) and (steps >= row.steps or steps == 0)


def run_row(row: Row, tell: Tell) -> bool:
    """Carry out a row in this process: begin its run, or go on with it where it was left.

    What has been finished is left as it is, so that a row may be run any number of times.

    Returns:
        Whether it is finished now; false where another process trains it, to which it is left.

    Raises:
        InputError: The script refuses the row, or its summary is damaged.
        Interrupted: After Ctrl-C or SIGTERM, with a checkpoint.
    """
    config, prepared = prepare(row.script, row.arguments)
    (plan,) = prepared.plans
    begun = RunFolder.newest(config.runs.out, prepared.group, plan.label, plan.seed)
    if begun is not None:
        _is_whole(row, begun)  # or its summary is damaged
    flags = dataclasses.replace(config.runs, resume=begun is not None)
    try:
        (folder,) = open_folders(flags, prepared.group, [plan])
        job = prepared.job(plan, folder, row.threads)
        job = dataclasses.replace(job, config=dataclasses.replace(config, runs=flags))
        load_script(row.script).train(job, tell)
    except TakenError:
        tell(Message("line", "is being trained by another process, to which it is left"))
        return False
    return True
