"""A run of the script train_gail.py that is over soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gail.support import short_run, walk_demos


@pytest.fixture
def short(tmp_path: Path, hardly_cloned: None) -> list[str]:
    """Flags of a run of two rollouts on the tiny environment."""
    return short_run(tmp_path, walk_demos())
