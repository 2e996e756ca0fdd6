"""``docs/adversarial.md`` against the code; its blocks are run by ``tests/docs``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

import train_cifar
from adv_training.attackers import ATTACKERS
from adv_training.evaluate_run import EvaluateConfig
from adv_training.methods import forward_equivalents
from adv_training.models import MODELS
from adv_training.presets import PRESETS
from adv_training.registry import find_method, method_names
from adv_training.robustness import ATTACKS
from adv_training.settings import Settings
from l2l_gail.cli import Flag, flags_of
from tests.adv_training.support import tiny_settings

TEXT = (Path(__file__).parents[2] / "docs" / "adversarial.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", [n for n in method_names() if find_method(n).build.__module__ == "adv_training.methods"]
)
def test_the_table_names_every_method_with_its_cost(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \|.*$", TEXT, flags=re.MULTILINE)
    cost = re.split(r"(?<!\\)\|", row)[4].strip()
    settings = tiny_settings(name, pgd_steps=3, l2l_steps=3)
    formula = re.sub(r"(\d|k)(?=[ka])", r"\1*", cost)
    claimed = eval(formula, {"k": 3, "a": 0.25})
    assert claimed == pytest.approx(forward_equivalents(settings, 0.25))


def test_everything_that_can_be_chosen_is_named() -> None:
    known = {n for n in MODELS if n != "tiny_cnn"} | set(ATTACKERS) | set(ATTACKS) | set(PRESETS)
    missing = [name for name in sorted(known) if not re.search(rf"[` ]{name}[` ,]", TEXT)]
    assert not missing


def test_every_flag_is_named() -> None:
    flags = flags_of(train_cifar.Config)
    of_settings = {field.name for field in dataclasses.fields(Settings)} - {"method", "data"}
    assert of_settings <= {flag.key for flag in flags}  # none is left out unseen
    before, of_evaluate = TEXT.split("## Evaluating a run")
    also_of_evaluate = before.rpartition("`train_cifar.py evaluate` has")[2]
    of_evaluate = also_of_evaluate + of_evaluate
    assert not_named(flags, before.replace(also_of_evaluate, "")) == []
    assert not_named(flags_of(EvaluateConfig), of_evaluate) == []


def not_named(flags: Iterable[Flag], text: str) -> list[str]:
    return [flag.name for flag in flags if not re.search(rf"{flag.name}(?![\w-])", text)]


def test_the_table_of_other_options_gives_their_defaults() -> None:
    section = TEXT.split("## Every other option")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(--[\w-]+)` \| (.*?) ?\|", section, flags=re.MULTILINE))
    flags = {flag.name: flag for flag in flags_of(train_cifar.Config)}
    assert len(rows) > 15
    assert rows == {name: in_words(flags[name]) for name in rows}


def in_words(flag: Flag) -> str:
    value = flag.value(train_cifar.Config())
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if value is None:
        return "none"
    return "no" if value is False else str(value)
