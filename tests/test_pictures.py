"""The pictures of README and docs/results.md against the records that they are drawn from."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pictures
from tests.docs.pages import ROOT

SVG = "{http://www.w3.org/2000/svg}"


@cache
def found(name: str) -> dict[str, Any]:
    return pictures.PICTURES[name][0]()


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_of_the_records_as_they_are(name: str, tmp_path: Path) -> None:
    shown, draw = found(name), pictures.PICTURES[name][1]
    note = pictures.digest(shown)
    assert note in (ROOT / "docs" / "images" / f"{name}.svg").read_text(), "run: make tables"
    files = [tmp_path / f"{i}.svg" for i in range(2)]
    for file in files:
        pictures.save(draw(shown), file, note)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert ElementTree.parse(files[0]).getroot().tag == f"{SVG}svg"
    words = {text for element in ElementTree.parse(files[0]).iter() if (text := element.text)}
    for panel in shown:
        assert words >= set(panel.split("\n"))


def test_a_curve_is_the_mean_of_its_seeds_inside_its_interval() -> None:
    shown = found("gail")
    last = shown["HalfCheetah-v5"]["methods"]["l2l"]
    assert last["seeds"] == 10
    # The last evaluation of the table of docs/results.md.
    assert [round(last[name][-1]) for name in ("mean", "low", "high")] == [5004, 4925, 5067]


def test_a_point_is_the_difference_of_the_table() -> None:
    shown = found("adversarial")
    point = shown["epsilon 16, small ResNet,\n60 epochs of 9,000 images"]["l2l_noise"]
    assert [round(value, 1) for value in (point["gain"], *point["interval"])] == [0.7, 0.1, 1.4]
    assert all(methods["pgd_2"]["gain"] == 0 for methods in shown.values())


def test_a_method_outside_a_panel_is_named_at_its_edge() -> None:
    point: dict[str, Any] = {"runs": 1, "passes": 5.0, "gain": -18.2, "interval": [-19.3, -17.1]}
    panel = {"pgd_2": {"runs": 1, "passes": 7.0, "gain": 0.0, "interval": [0.0, 0.0]}}
    figure = pictures.draw_points({"a\nb": {"fgsm": point, **panel}})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["-18", "1", "1"]
