"""Writes the small files beside it with the libraries whose formats they are.

Run in an environment with `minari[create]` (here 0.5.4), `imitation` (1.0.1) and `datasets`::

    python tests/demos/data/make.py

``minari/`` holds one episode of InvertedPendulum-v5, reset with seed 3, small actions, cut at four
steps; its HDF5 file is compressed, as most of it is zeros. ``imitation/`` is a folder that
``imitation.data.serialize.save`` wrote, of three trajectories whose numbers count up.
"""

from __future__ import annotations

import gzip
import os
import shutil
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
    make_minari()
    make_imitation()
