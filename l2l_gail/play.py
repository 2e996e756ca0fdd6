"""Watch the policies of a run: ``python -m l2l_gail.play runs/Hopper-v5/l2l_gail/seed0``.

Writes ``videos/first.gif``, ``middle.gif`` and ``last.gif`` into the run's folder, or opens a
window with ``--show``.
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium
import tyro

from l2l_gail.cli import parse, run_main
from l2l_gail.demos.arguments import bare_id
from l2l_gail.errors import InputError
from l2l_gail.files import atomic_write, check_folder, home_expanded
from l2l_gail.films import comment_on, policy_file, video_file
from l2l_gail.finding_runs import walk_runs
from l2l_gail.gym_env import check_env_id, parse_env_kwargs
from l2l_gail.mujoco_warnings import handle_mujoco_warnings
from l2l_gail.rendering import action_of, as_gif, cannot_be_drawn, film_policy
from l2l_gail.run_flags import check_least
from l2l_gail.runs import RunFolder, check_seed
from l2l_gail.snapshots import MOMENTS, NEAREST, has_policy, load_policy

__all__ = ["main", "record", "show", "video_file"]


_RECORDED = 300  # steps


@dataclass(frozen=True)
class Config:
    """Command line."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    policy: Literal["first", "middle", "last", "nearest", "all"] = "all"
    """Which of its policies; all are the first three, with --show the last."""
    show: bool = False
    """Play in a window instead of writing a GIF."""
    seed: int = 0
    """Reset seed of the episode."""
    steps: int | None = None
    """Steps after which the episode is cut; 300 by default, none in a window."""
    env: str | None = None
    """The run's environment as module:Id, where a module of yours registers it."""

    def __post_init__(self) -> None:
        """Refuse numbers of which there are none.

        Raises:
            InputError: In one line.
        """
        check_seed(self.seed)
        if self.steps is not None:
            check_least(1, steps=self.steps)


def record(run: Path, moment: str, *, seed: int = 0, steps: int = _RECORDED) -> Path:
    """Record a policy of a GAIL run in its environment.

    Args:
        run: Folder of the run.
        moment: ``first``, ``middle``, ``last`` or ``nearest``.
        seed: Reset seed of the episode.
        steps: Steps after which the episode is cut.

    Returns:
        The animated GIF, in the run's folder ``videos``; one that was there is replaced.

    Raises:
        InputError: No such policy, or its environment cannot be drawn.
    """
    env_id, env_kwargs = _environment(run)
    policy, source = load_policy(run, moment), policy_file(run, moment)
    comment = b"" if source is None else comment_on(source)
    film = film_policy(policy, env_id, env_kwargs, seed=seed, steps=steps)
    length = f"{film.steps}{'+' if film.cut else ''} steps"
    caption = f"{moment} policy: return {film.episode_return:.0f}, {length}"
    path = video_file(run, moment)
    atomic_write(path, as_gif(film.frames, film.seconds, caption, comment))
    return path


def show(run: Path, moment: str = "last", *, seed: int = 0, steps: int | None = None) -> None:
    """Play one episode of a policy of a GAIL run in a window of Gymnasium's.

    Args:
        run: Folder of the run.
        moment: ``first``, ``middle``, ``last`` or ``nearest``.
        seed: Reset seed of the episode.
        steps: Steps after which the episode is cut; by default it is played to its end. Closing the
            window ends it too.

    Raises:
        InputError: No such policy, there is no display to open a window on, or what its environment
            draws with is not installed.
    """
    env_id, env_kwargs = _environment(run)
    policy = load_policy(run, moment)
    check_env_id(env_id)
    _check_display()
    handle_mujoco_warnings()
    env = gymnasium.make(env_id, render_mode="human", **env_kwargs)
    try:
        try:
            obs, _ = env.reset(seed=seed)
        except gymnasium.error.DependencyNotInstalled as error:
            raise cannot_be_drawn(env_id, error) from error
        for _ in itertools.count() if steps is None else range(steps):
            obs, _, terminated, truncated, _ = env.step(action_of(policy, obs, env.action_space))
            if terminated or truncated or _is_closed(env):
                break
    finally:
        env.close()


def _check_display() -> None:
    """Refuse to open a window where there is no display: MuJoCo's viewer would end the process."""
    import glfw  # of MuJoCo; a run that is only recorded does without

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in words of its own
        usable = glfw.init() and glfw.get_primary_monitor()
    if not usable:
        raise InputError("there is no display for a window: leave --show out to record a GIF")


def _is_closed(env: gymnasium.Env) -> bool:
    """Whether the window was closed, after which MuJoCo's viewer must not draw."""
    import glfw

    viewer = getattr(getattr(env.unwrapped, "mujoco_renderer", None), "viewer", None)
    window = getattr(viewer, "window", None)
    return window is not None and bool(glfw.window_should_close(window))


def _environment(run: Path) -> tuple[str, dict[str, Any]]:
    """Environment id and arguments of a run.

    Raises:
        InputError: It is no run of GAIL, or of an environment that a module registers which is not
            imported: a name out of a file imports nothing.
    """
    config = RunFolder(run, run.parent.parent.name, run.parent.name, 0).read_config()
    if "env" not in config:
        raise InputError(f"{run} is no GAIL run: only those have a policy to watch")
    env_id = str(config["env"])
    name = bare_id(env_id)
    if name != env_id and name not in gymnasium.registry:
        raise InputError(
            f"{run} is of {env_id}, whose module is not imported because a file says so: if you "
            f"trust it, give --env {env_id}"
        )
    given = config.get("env_kwargs") or []
    if not isinstance(given, list):
        raise InputError(f"{run}/config.json: its env_kwargs are no list: run that seed again")
    return name, parse_env_kwargs([str(one) for one in given])


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
    run = home_expanded(config.run)
    if not os.path.isdir(run):
        raise InputError(f"{run} is not a folder: give that of a run, .../seed0")
    for folder in (run, run / "policies"):
        if os.path.isdir(folder):
            check_folder(folder)
    if config.env is not None:
        check_env_id(config.env)  # imports the module that the user has named
        env_id, _ = _environment(run)
        if bare_id(config.env) != env_id:
            raise InputError(f"{run} is of {env_id}, --env is {config.env}: leave --env out")
    if config.show:
        shown = "last" if config.policy == "all" else config.policy
        return show(run, shown, seed=config.seed, steps=config.steps)
    moments = [config.policy] if config.policy != "all" else MOMENTS
    found = [moment for moment in moments if has_policy(run, moment)]
    if not found:
        for one, _ in walk_runs(run, lambda text: None):
            below = one.path.relative_to(os.path.realpath(run))
            if below.parts:
                raise InputError(f"{run} is no run, but holds some: give one, as {run / below}")
        others = [moment for moment in (*MOMENTS, NEAREST) if has_policy(run, moment)]
        if others:
            raise InputError(f"{run} holds no {config.policy} policy, but: {', '.join(others)}")
        raise InputError(f"{run} holds no policy yet: the last one is written when training ends")
    for moment in found:
        print(record(run, moment, seed=config.seed, steps=config.steps or _RECORDED))


if __name__ == "__main__":
    run_main(main)
