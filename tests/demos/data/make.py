"""Writes the small files beside it with the libraries whose formats they are.

Run in environments with `minari[create]` (here 0.5.4), `imitation` (1.0.1) and `datasets`, or
`lerobot` (0.4.4)::

    python tests/demos/data/make.py minari|imitation|lerobot

``minari/`` holds one episode of InvertedPendulum-v5, reset with seed 3, small actions, cut at four
steps; its HDF5 file is compressed, as most of it is zeros. ``minari_arrow/`` and
``minari_parquet/`` are the same episode, and one of seed 4, in the other formats of Minari.
``imitation/`` is a folder that ``imitation.data.serialize.save`` wrote, of three trajectories whose
numbers count up, and ``lerobot/`` the same of LeRobot (of ``meta/`` its ``info.json`` alone).
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import tempfile
from pathlib import Path

import gymnasium
import numpy as np

HERE = Path(__file__).parent


def make_minari() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        import minari

        env = minari.DataCollector(gymnasium.make("InvertedPendulum-v5", max_episode_steps=4))
        env.action_space.seed(3)
        env.reset(seed=3)
        ended = False
        while not ended:
            *_, terminated, truncated, _ = env.step(env.action_space.sample() / 10)
            ended = terminated or truncated
        dataset = env.create_dataset(
            "cart/small-v0", algorithm_name="random", author="l2l_gail", author_email="-",
            code_permalink="-", description="one short episode", requirements=[],
        )  # fmt: skip
        written = Path(dataset.storage.data_path)
        target = HERE / "minari"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        content = (written / "main_data.hdf5").read_bytes()
        (target / "main_data.hdf5.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        shutil.copy(written / "metadata.json", target)


def make_minari_tables() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        import minari
        from minari.data_collector.episode_buffer import EpisodeBuffer

        for kind in ("arrow", "parquet"):
            env = gymnasium.make("InvertedPendulum-v5", max_episode_steps=4)
            env.action_space.seed(3)
            episodes = []
            for number in range(2):
                states, steps = [env.reset(seed=3 + number)[0]], []
                while not (steps and any(steps[-1][2:])):
                    action = env.action_space.sample() / 10
                    state, *rest, _ = env.step(action)
                    states.append(state)
                    steps.append((action, *rest))
                names = ("actions", "rewards", "terminations", "truncations")
                columns = {
                    name: np.array(column)
                    for name, column in zip(names, zip(*steps, strict=True), strict=True)
                }
                episodes.append(
                    EpisodeBuffer(id=number, observations=np.array(states), infos={}, **columns)
                )
            dataset = minari.create_dataset_from_buffers(
                f"cart/{kind}-v0", episodes, env=env, data_format=kind, algorithm_name="random",
                author="l2l_gail", author_email="-", code_permalink="-", requirements=[],
                description="two short episodes",
            )  # fmt: skip
            target = HERE / f"minari_{kind}"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(dataset.storage.data_path, target)


def make_lerobot() -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    def feature(kind: str, width: int) -> dict:
        return {"dtype": kind, "shape": (width,), "names": None}

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "small"
        dataset = LeRobotDataset.create(
            "l2l_gail/small", fps=10, root=root, use_videos=False,
            features={
                "observation.state": feature("float32", 3),
                "action": feature("float32", 2),
                "next.reward": feature("float32", 1),
                "next.done": feature("bool", 1),
            },
        )  # fmt: skip
        for number, steps in enumerate((4, 3, 5)):
            for step in range(steps):
                state = 100 * number + 3 * step + np.arange(3)
                dataset.add_frame(
                    {
                        "observation.state": state.astype(np.float32),
                        "action": ((2 * step + np.arange(2)) / 100 + number).astype(np.float32),
                        "next.reward": np.array([step + 0.5], np.float32),
                        "next.done": np.array([step == steps - 1]),
                        "task": "count",
                    }
                )
            dataset.save_episode()
        dataset.finalize()
        target = HERE / "lerobot"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(root / "data", target / "data")
        (target / "meta").mkdir()
        shutil.copy(root / "meta" / "info.json", target / "meta")


def make_imitation() -> None:
    from imitation.data import serialize, types

    trajectories = [
        types.TrajectoryWithRew(
            obs=(100 * number + np.arange(3 * (steps + 1))).reshape(-1, 3).astype(np.float32),
            acts=(np.arange(2 * steps).reshape(-1, 2) / 100 + number).astype(np.float32),
            infos=None,
            terminal=terminal,
            rews=(np.arange(steps) + 0.5).astype(np.float32),
        )
        for number, (steps, terminal) in enumerate(((4, True), (3, False), (5, True)))
    ]
    shutil.rmtree(HERE / "imitation", ignore_errors=True)
    serialize.save(HERE / "imitation", trajectories)


if __name__ == "__main__":
    makers = {
        "minari": (make_minari, make_minari_tables),
        "imitation": (make_imitation,),
        "lerobot": (make_lerobot,),
    }
    for make in makers[sys.argv[1]]:
        make()
