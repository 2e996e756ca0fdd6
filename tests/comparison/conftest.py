from __future__ import annotations

from pathlib import Path

import pytest

from l2l_gail.compare import compare
from tests.comparison.support import cifar_run, gail_run


def make_runs(root: Path) -> None:
    """Both games: three seeds on Hopper, two on CIFAR-10, one on generated images."""
    for seed, (plain, learned) in enumerate([(1000, 2000), (1500, 3020), (1200, 2500)]):
        gail_run(root, "gail", seed, plain)
        gail_run(root, "l2l_gail", seed, learned)
    for seed in (0, 1):
        cifar_run(root, "cifar10", "pgd", seed, 0.28 + 0.02 * seed)
        cifar_run(root, "cifar10", "grad_l2l", seed, 0.30 + 0.02 * seed)
    cifar_run(root, "synthetic", "grad_l2l", 0, 0.33)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_runs(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs, compared once; to be read only."""
    root = tmp_path_factory.mktemp("compared") / "runs"
    make_runs(root)
    compare(root)
    return root
