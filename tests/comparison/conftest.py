from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from l2l_gail.compare import compare
from l2l_gail.comparison import write
from l2l_gail.comparison.media import Picture
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


@pytest.fixture
def drawn() -> None:
    """All pictures of a comparison are drawn, and not `comparison.png` alone."""


@pytest.fixture(autouse=True)
def hardly_drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are a white dot, as drawing them takes most of a comparison's time."""
    if "drawn" in request.fixturenames:
        return
    file = io.BytesIO()
    Image.new("L", (1, 1), 255).save(file, format="png")
    draw = write._encode

    def encode(tag: str, figure: Any, dpi: int = 160) -> Picture:
        if tag == "comparison":
            return draw(tag, figure, dpi)
        return Picture(tag, file.getvalue(), (1, 1))

    monkeypatch.setattr(write, "_encode", encode)
