"""The open table of methods: names, labels, costs, and one that comes from outside."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from adv_training import models, registry
from adv_training.data import Dataset, Images
from adv_training.layers import Statistics
from adv_training.methods import build_method, forward_equivalents
from adv_training.models import register_model
from adv_training.plan import check_images
from adv_training.registry import Method, find_method, method_names, register_method
from adv_training.rules import Stay
from adv_training.settings import COMPARED_METHODS, OPTIONS, Settings
from adv_training.step import build_game, build_trainer
from l2l_gail.errors import InputError
from tests.adv_training.support import tiny_settings


class Learned(Stay):
    """A rule with a parameter, of no use."""

    def __init__(self) -> None:
        super().__init__()
        self.size = nn.Parameter(torch.zeros(()))


@pytest.fixture
def own_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))

    @register_method(
        "twice",
        cost=lambda settings, share: settings.pgd_steps + share,
        source="this test",
        label=lambda settings: f"twice-{settings.eps:g}",
    )
    def twice(settings: Settings) -> Method:
        """Stay, twice.

        More about it.
        """
        return Method(Stay(), 2)


@pytest.mark.usefixtures("own_method")
def test_a_method_from_outside_is_one_like_any_other() -> None:
    settings = tiny_settings("twice", pgd_steps=4)
    assert "twice" in method_names()
    assert build_method(settings).steps == 2
    assert forward_equivalents(settings, 0.5) == 4.5
    assert settings.label == "twice-8"
    assert find_method("twice").summary == "Stay, twice."
    with pytest.raises(InputError, match="'twice' is registered already"):
        register_method("twice", cost=1, source="elsewhere")(lambda settings: Method(Stay()))


def test_a_cell_that_is_run_twice_replaces_what_it_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_TABLE", dict(registry._TABLE))
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    for steps in (2, 3):

        @register_method("of_a_cell", cost=1, source="this test")
        def of_a_cell(settings: Settings, steps: int = steps) -> Method:
            return Method(Stay(), steps)

        class OfACell(nn.Linear):
            number = steps

            def __init__(self, classes: int, statistics: Statistics) -> None:
                super().__init__(1, classes)

        register_model("of_a_cell", OfACell)
    assert build_method(tiny_settings("of_a_cell")).steps == 3
    assert models.MODELS["of_a_cell"].number == 3


def test_every_method_of_the_table_has_a_source_a_summary_and_a_label_of_its_own() -> None:
    assert set(COMPARED_METHODS) <= set(method_names())
    labels = [tiny_settings(name).label for name in method_names()]
    assert len(set(labels)) == len(labels)
    for name in method_names():
        entry = find_method(name)
        assert entry.source
        assert entry.summary.endswith(".")
        assert entry.cost(tiny_settings(name), 0.0) >= 3.0


CHANGED = {
    "pgd_steps": 3,
    "trades_beta": 1.0,
    "free_replays": 2,
    "l2l_steps": 3,
    "order": "alternating",
    "attacker_lr": 1e-3,
    "attacker": "slim",
    "attacker_channels": 8,
    "attacker_every": 5,
    "attacker_noise": 0.5,
    "classes": 7,
}


def what_it_is(settings: Settings) -> object:
    # All of a method that a setting could change, in values that can be compared.
    method = build_method(settings)
    played = build_trainer(build_game(nn.Linear(1, 1), method, settings), method, settings)
    meta = [
        {key: value for key, value in group.items() if key != "params"}
        for group in (played.meta_optimizer.param_groups if played.meta_optimizer else ())
    ]
    weights = {name: tuple(p.shape) for name, p in method.rule.named_parameters()}
    game = dict(vars(build_game(nn.Identity(), method, settings)), classifier=None)
    game["last_accuracy"] = None
    share = forward_equivalents(settings, 0.5)
    order = played.order if method.learns else None
    lr = getattr(method.rule, "lr", None)
    played_as = settings.label, method.steps, method.replays, order, played.meta_every
    return played_as, share, meta, weights, game, lr


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", method_names())
def test_a_method_declares_exactly_the_options_that_change_it(name: str, option: str) -> None:
    uses = find_method(name).uses
    assert uses is not None
    # The one attacker that all of these have something to say to.
    before = tiny_settings(name, attacker="class_start")
    after = dataclasses.replace(before, **{option: CHANGED[option]})
    assert (what_it_is(before) != what_it_is(after)) == (option in uses)
    assert (before.own() != after.own()) == (option in uses)


def test_an_unknown_name_is_answered_with_the_nearest_or_all_known_ones() -> None:
    with pytest.raises(InputError, match=r"^method 'pdg' is unknown; perhaps you meant 'pgd'$"):
        find_method("pdg")
    with pytest.raises(InputError, match=r"^method 'cw' is unknown; there are: standard, .*pgd"):
        find_method("cw")


@pytest.mark.usefixtures("own_method")
def test_what_is_no_method_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match=r"the rule of a Method is <class .*Stay'>: give an"):
        Method(Stay)  # type: ignore[arg-type]
    register_method("bare", cost=1, source="this test")(lambda settings: Stay())  # type: ignore
    with pytest.raises(InputError, match=r"what builds 'bare' returns is Stay\(\): give a Method"):
        build_method(tiny_settings("bare"))


@pytest.mark.usefixtures("own_method")
def test_images_of_odd_sides_are_no_matter_to_a_method_without_a_built_attacker() -> None:
    settings = tiny_settings("grad_l2l", shape=(1, 9, 8), classes=4, attacker="residual")
    pixels = torch.zeros(40, 1, 9, 8, dtype=torch.uint8)
    images = Images(pixels, torch.arange(40) % 4)
    data = Dataset.split("mine", images, images[:20], held_out=20, classes=4)

    for name, uses in (("own_attacker", ()), ("attacker_given", None)):
        register_method(name, cost=5, source="this test", uses=uses)(lambda _: Method(Learned()))
    check_images(dataclasses.replace(settings, method="own_attacker"), data)
    with pytest.raises(InputError, match="halves the images"):
        check_images(dataclasses.replace(settings, method="attacker_given"), data)
