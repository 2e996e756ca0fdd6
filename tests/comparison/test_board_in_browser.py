"""The boards as a person sees them; run with ``-m browser``.

``L2L_GAIL_SCREENSHOTS=docs/images`` keeps the pictures. Those of GAIL in the documentation are of
the default job, ``python train_gail.py --seeds 0-4`` and ``--method no_demos --seed 0``:
``L2L_GAIL_RUNS=runs`` shows what is there in the place of the committed runs.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l2l_gail.compare import compare
from l2l_gail.comparison.boards import PALETTE
from l2l_gail.comparison.serve import BoardServer, address_of
from tests.comparison.browser import CHROMIUM, Page, browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

RUNS = Path(__file__).parents[2] / "benchmarks" / "results" / "runs"
SHOWN = Path(os.environ.get("L2L_GAIL_RUNS", RUNS)).absolute()
PLOTTED = """
[...document.querySelectorAll('card-view')].filter(card => {
  const box = card.getBoundingClientRect();
  return box.top < innerHeight - 100 && card.querySelector('line-chart canvas');
}).map(card => card.innerText.replaceAll('\\n', ''))
"""
COLOURS = """
Object.fromEntries([...document.querySelectorAll('runs-data-table tb-data-table-content-row')]
  .map(row => [row.innerText.trim(),
    getComputedStyle(row.querySelector('.run-color-swatch')).backgroundColor])
  .filter(([name]) => name))
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The committed runs, or those that are asked for in their place, compared and served."""
    root = tmp_path_factory.mktemp("shown")
    for parent in (SHOWN, RUNS):
        for folder in parent.iterdir():
            if folder.name != "comparison" and not (root / folder.name).exists():
                (root / folder.name).symlink_to(folder)
    compare(root)
    boards = BoardServer(root / "comparison", port=0)
    thread = threading.Thread(target=boards.serve, daemon=True)
    thread.start()
    yield boards.address
    boards.close()
    thread.join(10)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(autouse=True)
def _no_complaint(page: Page) -> Iterator[None]:
    page.complaints.clear()
    yield
    assert page.complaints == []


def keep(page: Page, name: str) -> Image.Image:
    """A screenshot, small enough for the documentation if it is to be kept there."""
    page.evaluate(_WITHOUT_PATH)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if folder := os.environ.get("L2L_GAIL_SCREENSHOTS"):
        path = Path(folder) / f"{name}.png"
        image.quantize(255).save(path, optimize=True)
        assert path.stat().st_size < 200_000
    return image


def share_of(image: Image.Image, colour: str) -> int:
    """Pixels of about a colour."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((np.abs(np.asarray(image, int) - wanted).max(axis=2) < 12).sum())


@pytest.mark.parametrize(
    ("name", "first"),
    [("Hopper-v5", "1 true return/a IQM over seeds"), ("cifar10", "1 accuracy/a PGD-20, IQM")],
)
def test_the_first_screen_is_the_answer(page: Page, address: str, name: str, first: str) -> None:
    page.open(f"{address}{name}/?smoothing=0#timeseries")
    page.wait_for(f"({PLOTTED}).length")
    page.wait_for("!!document.querySelector('image-card img')")
    page.rest(3)
    cards = page.evaluate(PLOTTED)
    assert cards[0].startswith(first)
    shown = keep(page, f"board-{name}")
    colours = page.evaluate(COLOURS)
    curves = [run for run in colours if run != "overview"]
    for colour in PALETTE[: len(curves)]:
        assert share_of(shown, colour) > 300, colour


@pytest.mark.parametrize("name", ["Hopper-v5", "cifar10"])
def test_no_two_runs_share_a_colour(page: Page, address: str, name: str) -> None:
    page.open(f"{address}{name}/?smoothing=0#timeseries")
    colours = page.wait_for(f"(x => Object.keys(x).length && x)({COLOURS})")
    assert "overview" in colours
    assert len(set(colours.values())) == len(colours)


def test_charts_with_bands_lack_no_tag(page: Page, address: str) -> None:
    page.open(f"{address}Hopper-v5/?smoothing=0#custom_scalars")
    page.wait_for(_IN_SHADOW.format("tf-custom-scalar-margin-chart-card svg, vz-line-chart2"))
    page.rest(3)
    keep(page, "board-intervals")
    text = page.evaluate(_TEXT)
    assert "true return by environment steps: IQM, 95 % CI" in text
    assert "Missing Tags" not in text
    assert "mismatch" not in text


def test_the_images_tab_shows_pictures(page: Page, address: str) -> None:
    page.open(f"{address}Hopper-v5/#images")
    page.wait_for(_IN_SHADOW.format("img[src*=individualImage]"))
    page.rest(3)
    shown = keep(page, "board-images")
    assert share_of(shown, PALETTE[2]) > 300


def test_hparams_have_a_row_a_method(page: Page, address: str) -> None:
    page.open(f"{address}Hopper-v5/#hparams")
    page.wait_for(f"document.body && ({_TEXT}).includes('no_demos')")
    page.rest(3)
    text = page.evaluate(_TEXT)
    for name in ("1 method", "gail", "l2l_gail", "no_demos"):
        assert name in text
    keep(page, "board-hparams")


def test_single_runs_have_a_row_each(page: Page, address: str) -> None:
    page.open(address + address_of("Hopper-v5-runs"))
    page.wait_for(f"document.body && ({_TEXT}).includes('no_demos/seed0')")
    page.rest(3)
    text = page.evaluate(_TEXT)
    for name in ("gail", "l2l_gail"):
        seeds = [folder.name for folder in (SHOWN / "Hopper-v5" / name).iterdir()]
        assert all(f"{name}/{seed}" in text for seed in seeds)
    keep(page, "board-runs")


def test_single_runs_have_the_colour_of_their_method(page: Page, address: str) -> None:
    page.open(address + address_of("Hopper-v5-runs").replace("#hparams", "#timeseries"))
    colours = page.wait_for(f"(x => Object.keys(x).length > 10 && x)({COLOURS})")
    by_method: dict[str, set[str]] = {}
    for run, colour in colours.items():
        by_method.setdefault(run.partition("/")[0], set()).add(colour)
    assert {"gail", "l2l_gail"} <= set(by_method)
    assert all(len(found) == 1 for found in by_method.values())
    assert len(set.union(*by_method.values())) == len(by_method)


def test_the_page_is_whole(page: Page, address: str) -> None:
    page.open(address)
    page.wait_for("document.images.length > 10")
    broken = "[...document.images].filter(image => !image.naturalWidth).length"
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep(page, "comparison-page")


# TensorBoard's older tabs live in shadow trees, which selectors do not enter.
_IN_SHADOW = """
(function find(root, wanted) {{
  if (root.querySelector(wanted)) return true;
  return [...root.querySelectorAll('*')].some(e => e.shadowRoot && find(e.shadowRoot, wanted));
}})(document, '{}')
"""
# Below the list of runs stands where they lie on this machine.
_WITHOUT_PATH = """
(function hide(root) {
  root.querySelectorAll('#data-location').forEach(e => e.style.visibility = 'hidden');
  root.querySelectorAll('*').forEach(e => e.shadowRoot && hide(e.shadowRoot));
})(document)
"""
_TEXT = """
(function text(root) {
  return [...root.querySelectorAll('*')].map(e =>
    (e.shadowRoot ? text(e.shadowRoot) : '') +
    [...e.childNodes].filter(n => n.nodeType == 3 && !['STYLE', 'SCRIPT'].includes(e.tagName))
      .map(n => n.textContent.trim()).join(' ')
  ).filter(t => t).join('\\n');
})(document.body)
"""
