"""What the site is made of: every page in its navigation, pictures that a script makes again.

`make docs` builds it; here is what can be known without its tools.
"""

from __future__ import annotations

import importlib
import re
import runpy
import tomllib
import typing

import pytest

from tests.docs.pages import PAGES, ROOT

DOCS = ROOT / "docs"
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"^ .*?([\w/-]+\.md)$", CONFIG, re.MULTILINE))
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES if page.is_relative_to(DOCS)}
    elsewhere = {"benchmarks.md", "changelog.md", "contributing.md"}
    assert named == pages | elsewhere


@pytest.mark.parametrize("page", sorted((DOCS / "api").glob("*.md")), ids=lambda page: page.stem)
def test_every_name_of_the_api_is_there(page) -> None:
    names = re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert names
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except AttributeError:
            found = importlib.import_module(name)
        # A Literal cannot have one of its own.
        assert found.__doc__ or typing.get_origin(found) is typing.Literal


@pytest.mark.parametrize(
    "package",
    [
        *("l2l_gail.core", "l2l_gail.gail", "l2l_gail.games", "l2l_gail.ppo", "l2l_gail.demos"),
        *("l2l_gail.comparison", "l2l_gail.sweep", "envs", "adv_training"),
    ],
)
def test_everything_that_a_package_exports_is_in_the_api(package: str) -> None:
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md")]
    shown = set(re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.MULTILINE))
    exported = importlib.import_module(package).__all__
    assert [name for name in exported if f"{package}.{name}" not in shown] == []


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert re.search(r"^  font: false", CONFIG, re.MULTILINE)
    assert "://" not in CONFIG


def test_the_picture_of_the_two_games_is_what_its_script_draws() -> None:
    script = runpy.run_path(str(DOCS / "images" / "two_games.py"))
    assert script["FILE"].read_text(encoding="utf-8") == script["picture"]()


def test_every_picture_is_shown_and_has_words_for_who_cannot_see_it() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (DOCS / "images").iterdir():
        if picture.suffix in (".png", ".svg"):
            assert f"images/{picture.name})" in text, picture.name
    assert not re.findall(r"!\[\]\(", text)


def test_the_citation_is_of_this_version() -> None:
    from l2l_gail import __version__

    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"version: {__version__}\n" in citation
    assert f"license: {project['license']}\n" in citation
    assert project["authors"][0]["name"] in citation
