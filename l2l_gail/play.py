"""Watch the policies of a run: ``python -m l2l_gail.play runs/Hopper-v5/l2l_gail/seed0``.

Writes ``videos/first.gif``, ``middle.gif`` and ``last.gif`` into the run's folder, or opens a
window with ``--show``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import tyro

from l2l_gail.cli import parse, run_main
from l2l_gail.errors import InputError
from l2l_gail.experiment import check_least
from l2l_gail.gym_env import check_env_id, parse_env_kwargs
from l2l_gail.mujoco_warnings import handle_mujoco_warnings
from l2l_gail.rendering import as_gif, film_policy
from l2l_gail.runs import RunFolder, atomic_write, check_seed
from l2l_gail.snapshots import MOMENTS, has_policy, load_policy

__all__ = ["main", "record", "show", "video_file"]


@dataclass(frozen=True)
class Config:
    """Command line."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    policy: Literal["first", "middle", "last", "all"] = "all"
    """Which of its policies; with --show, all means the last."""
    show: bool = False
    """Play in a window instead of writing a GIF."""
    seed: int = 0
    """Reset seed of the episode."""
    steps: int = 300
    """Steps after which the episode is cut."""

    def __post_init__(self) -> None:
        """Refuse numbers of which there are none.

        Raises:
            InputError: In one line.
        """
        check_seed(self.seed)
        check_least(1, steps=self.steps)


def video_file(run: Path, moment: str) -> Path:
    """Where the video of a run's policy lies, once it is recorded."""
    return run / "videos" / f"{moment}.gif"


def record(run: Path, moment: str, *, seed: int = 0, steps: int = 300) -> Path:
    """Record a policy of a GAIL run in its environment.

    Args:
        run: Folder of the run.
        moment: ``first``, ``middle`` or ``last``.
        seed: Reset seed of the episode.
        steps: Steps after which the episode is cut.

    Returns:
        The animated GIF, in the run's folder ``videos``; one that was there is replaced.

    Raises:
        InputError: No such policy, or its environment cannot be drawn.
    """
    env_id, env_kwargs = _environment(run)
    film = film_policy(load_policy(run, moment), env_id, env_kwargs, seed=seed, steps=steps)
    length = f"{film.steps}{'+' if film.cut else ''} steps"
    caption = f"{moment} policy: return {film.episode_return:.0f}, {length}"
    path = video_file(run, moment)
    atomic_write(path, as_gif(film.frames, film.seconds, caption))
    return path


def show(run: Path, moment: str = "last", *, seed: int = 0, steps: int = 1000) -> None:
    """Play a policy of a GAIL run in a window.

    Raises:
        InputError: No such policy, or there is no display to open a window on.
    """
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise InputError("there is no display for a window: leave --show out to record a GIF")
    env_id, env_kwargs = _environment(run)
    policy = load_policy(run, moment)
    check_env_id(env_id)
    handle_mujoco_warnings()
    env = gymnasium.make(env_id, render_mode="human", **env_kwargs)
    obs, _ = env.reset(seed=seed)
    for _ in range(steps):
        obs, _, terminated, truncated, _ = env.step(policy(np.asarray(obs)[None])[0])
        if terminated or truncated:
            obs, _ = env.reset()
    env.close()


def _environment(run: Path) -> tuple[str, dict[str, Any]]:
    """Environment id and arguments of a run."""
    config = RunFolder(run, run.parent.parent.name, run.parent.name, 0).read_config()
    if "env" not in config:
        raise InputError(f"{run} is no GAIL run: only those have a policy to watch")
    return str(config["env"]), parse_env_kwargs(config.get("env_kwargs") or [])


def main(argv: Sequence[str] | None = None) -> None:
    """Command line.

    Raises:
        InputError: Wrong arguments, or nothing to play.
    """
    config = parse(
        Config,
        argv,
        prog="python -m l2l_gail.play",
        description="Watch the policies of a run: as animated GIFs in its folder, or in a window.",
    )
    run = config.run.expanduser()
    if not os.path.isdir(run):
        raise InputError(f"{run} is not a folder: give that of a run, .../seed0")
    if config.show:
        show(run, "last" if config.policy == "all" else config.policy, seed=config.seed)
        return
    moments = [config.policy] if config.policy != "all" else MOMENTS
    found = [moment for moment in moments if has_policy(run, moment)]
    if not found:
        raise InputError(f"{run} holds no policy yet: the last one is written when training ends")
    for moment in found:
        print(record(run, moment, seed=config.seed, steps=config.steps))


if __name__ == "__main__":
    run_main(main)
