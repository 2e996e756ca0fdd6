"""A run of the script train_gail.py that is over soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gail.support import ENV_ID, walk_demos


@pytest.fixture
def short(tmp_path: Path) -> list[str]:
    """Flags of a run of two rollouts on the tiny environment."""
    walk_demos().save(tmp_path / "walk.npz")
    return (
        f"--env {ENV_ID} --demos {tmp_path / 'walk.npz'} --n-envs 2 --n-steps 16 "
        f"--total-timesteps 64 --eval-every 32 --name short --out {tmp_path / 'runs'}"
    ).split()
