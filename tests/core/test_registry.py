"""The table of rules: built by name, open to rules from outside, closed to confusion."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from l2l_gail.core import (
    SGD,
    Adam,
    ConvPerturber,
    CoordinateMLP,
    Oracle,
    State,
    UpdateRule,
    Vars,
    build_rule,
    builder_names,
    load_rule,
    parse_rule,
    register_rule,
    registry,
    rule_name,
    rule_names,
    save_rule,
)
from l2l_gail.errors import InputError
from tests.core.support import every_rule, name_of, problem, run


@pytest.fixture(autouse=True)
def _table_of_before() -> Iterator[None]:
    before = dict(registry._RULES)
    yield
    registry._RULES.clear()
    registry._RULES.update(before)


class Lion(UpdateRule):
    """Chen et al. 2023, arXiv 2302.06675: what a user might bring along."""

    def __init__(self, lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(lr=lr, betas=list(betas))
        self.lr = lr
        self.betas = (betas[0], betas[1])

    def init(self, variables: Vars) -> State:
        return {"m": {name: torch.zeros_like(t) for name, t in variables.items()}}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        gradient, m = oracle(variables), state["m"]
        moved = {
            name: tensor - self.lr * torch.lerp(gradient[name], m[name], self.betas[0]).sign()
            for name, tensor in variables.items()
        }
        return moved, {"m": {n: torch.lerp(gradient[n], m[n], self.betas[1]) for n in variables}}


# Rules by name.


@pytest.mark.parametrize("rule", every_rule(), ids=name_of)
def test_every_rule_is_built_again_from_its_name_and_configuration(rule: UpdateRule) -> None:
    name = rule_name(rule)
    assert name in rule_names()
    again = build_rule(name, **rule.config)
    assert type(again) is type(rule)
    assert again.config == rule.config


def test_names_are_those_of_the_field() -> None:
    assert {
        "adam",
        "coordinate_mlp",
        "extragradient",
        "gated_momentum",
        "optimistic",
        "optimistic_adam",
        "prodigy",
        "sgd",
        "sign_descent",
    } <= set(rule_names())
    assert rule_names() == sorted(rule_names())


def test_every_name_that_builds_a_rule_is_listed() -> None:
    assert "pretrained" in builder_names()
    assert not set(builder_names()) & set(rule_names())
    with pytest.raises(InputError) as caught:
        build_rule("no such rule")
    known = str(caught.value).partition("Known: ")[2].split(", ")
    assert known == sorted([*rule_names(), *builder_names()])


@pytest.mark.parametrize(
    "kind", [np.float16, np.float32, np.float64, lambda x: Fraction(x).limit_denominator(1000)]
)
@pytest.mark.parametrize("like", every_rule(), ids=name_of)
def test_numbers_of_any_kind_are_those_of_python(
    like: UpdateRule, kind: Any, tmp_path: Path
) -> None:
    """The same rule to the bit, and one that can be saved."""
    name = rule_name(like)
    given = {
        key: [*map(kind, value)] if isinstance(value, list) else kind(value)
        for key, value in like.config.items()
        if isinstance(value, float | list) and key != "eps"
    }
    rule = build_rule(name, **given)
    plain = {k: [*map(float, v)] if isinstance(v, list) else float(v) for k, v in given.items()}
    same = build_rule(name, **plain)
    assert rule.config == same.config
    assert {type(part) for part in rule.config.values()} <= {int, float, bool, list, type(None)}
    variables, loss = problem(torch.float32)
    for a, b in zip(run(rule, variables, loss, 3), run(same, variables, loss, 3), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
    save_rule(tmp_path / "rule.pt", rule)
    assert load_rule(tmp_path / "rule.pt").config == rule.config


@pytest.mark.parametrize("lr", [np.float32("nan"), np.float32("inf"), np.float32(-1), "1e-3", 1j])
def test_what_is_no_learning_rate_stays_refused(lr: Any) -> None:
    with pytest.raises(InputError, match="lr must be a finite number of at least 0"):
        Adam(lr)


@pytest.mark.parametrize("name", ["adam", "sgd", "optimistic_adam", "extragradient", "prodigy"])
def test_rule_needs_nothing_but_a_learning_rate(name: str) -> None:
    assert build_rule(name, lr=0.25).config["lr"] == 0.25


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("adma", {}, r"unknown rule 'adma'; did you mean 'adam'\? Known: adam, "),
        ("Adam", {"lr": 1e-3}, r"unknown rule 'Adam'; did you mean 'adam'\?"),
        ("quasi_newton", {}, r"unknown rule 'quasi_newton'; Known: adam, "),
        ("adam", {}, "adam: missing a required argument: 'lr'; it takes lr, betas, eps"),
        ("adam", {"lr": 1e-3, "beta": 0.9}, "adam: .*'beta'; it takes lr, betas, eps"),
        ("adam", {"lr": "fast"}, "lr must be a finite number of at least 0, not 'fast'"),
        ("adam", {"lr": -1.0}, "not -1.0"),
        ("sgd", {"lr": float("nan")}, "not nan"),
        ("adam", {"lr": 1e-3, "betas": 0.9}, "adam cannot be built with lr=0.001, betas=0.9: "),
        ("adam", {"lr": 1e-3, "betas": (0.9,)}, "adam cannot be built with .*index out of range"),
        ("muon", {"lr": 1e-3, "betas": {"a": 1}}, r"betas must be numbers between -1 and 1"),
        ("adam", {"lr": 1e-3, "betas": (0.9, 1.5)}, r"betas must be numbers .*not \[0.9, 1.5\]"),
        ("prodigy", {"beta3": float("inf")}, "prodigy: beta3 must be finite, not inf"),
        ("optimistic_adam", {"lr": 1.0, "gain": float("nan")}, "gain must be finite, not nan"),
        ("gated_momentum", {"lr": 1.0, "seed": None}, "gated_momentum cannot be built with"),
        ("coordinate_mlp", {"lr": 1.0, "learn_step": False, "learn_network": False}, "nothing to"),
    ],
)
def test_wrong_name_or_argument_is_refused_in_one_line(
    name: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build_rule(name, **config)
    assert "\n" not in str(caught.value)


# Rules on a command line.


def test_a_word_without_end_is_refused_before_it_is_read() -> None:
    with pytest.raises(InputError, match="has 1,000,008 characters: a rule has at most 1,000"):
        parse_rule("adam:lr=" + "-" * 10**6)


@pytest.mark.parametrize(
    ("text", "name", "config"),
    [
        ("prodigy", "prodigy", {}),
        ("adam:lr=3e-4", "adam", {"lr": 3e-4}),
        ("adam: lr=1e-2, betas=(0.5, 0.9)", "adam", {"lr": 1e-2, "betas": [0.5, 0.9]}),
        ("coordinate_mlp:lr=1e-3,learn_network=False", "coordinate_mlp", {"learn_network": False}),
    ],
)
def test_rule_is_read_from_a_word(text: str, name: str, config: dict[str, Any]) -> None:
    rule = parse_rule(text)
    assert rule_name(rule) == name
    assert config.items() <= rule.config.items()


@pytest.mark.parametrize(
    "text",
    [
        *("adam:3e-4", "adam:lr", "adam:lr=", "adam:lr=__import__('os')", "adam:**{'lr': 1}"),
        *("adam:)(", "adam:lr=1,lr=2", f"adam:lr={'(' * 900}", f"adam:lr={'-' * 900}1"),
    ],
)
def test_word_that_is_no_rule_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="is not a rule; write a name and its arguments") as caught:
        parse_rule(text)
    assert "\n" not in str(caught.value)


# Rules from outside.


def test_rule_from_outside_is_named_built_saved_and_loaded(tmp_path: Path) -> None:
    register_rule("lion", Lion)
    assert "lion" in rule_names()
    rule = parse_rule("lion:lr=0.01")
    assert isinstance(rule, Lion)
    assert rule_name(rule) == rule_name(Lion) == "lion"
    save_rule(tmp_path / "lion.pt", rule)
    loaded = load_rule(tmp_path / "lion.pt")
    variables, loss = problem(torch.float32)
    for a, b in zip(run(rule, variables, loss, 4), run(loaded, variables, loss, 4), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in variables)


def test_decorator_leaves_the_class_as_it_is() -> None:
    decorated = register_rule("lion")(Lion)
    assert decorated is Lion
    assert type(build_rule("lion", lr=0.1)) is Lion


def test_file_of_a_rule_that_nobody_registered_says_what_to_do(tmp_path: Path) -> None:
    register_rule("lion", Lion)
    save_rule(tmp_path / "lion.pt", Lion(0.01))
    del registry._RULES["lion"]
    with pytest.raises(InputError, match="'lion' that is not registered here; import the module"):
        load_rule(tmp_path / "lion.pt")


def test_name_belongs_to_one_class_and_a_class_has_one_name() -> None:
    with pytest.raises(InputError, match=r"core\.rules\.Adam is registered as 'adam'"):
        register_rule("adam", Lion)
    with pytest.raises(InputError, match=r"rules\.SGD is registered as 'sgd'"):
        register_rule("gradient_descent", SGD)
    assert register_rule("sgd", SGD) is SGD
    assert type(build_rule("adam", lr=0.1)) is Adam
    assert "gradient_descent" not in rule_names()


def test_class_that_is_defined_again_takes_the_place_of_its_former_self() -> None:
    register_rule("lion", Lion)
    again = type("Lion", (Lion,), {"__module__": Lion.__module__})
    register_rule("lion", again)
    assert type(build_rule("lion", lr=0.1)) is again


@pytest.mark.parametrize("name", ["Lion", "my rule", "", "_lion", "lion-2", "lion__b"])
def test_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="lower-case words"):
        register_rule(name, Lion)


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(InputError, match="not a subclass of UpdateRule"):
        register_rule("module", torch.nn.Module)  # type: ignore[type-var]


def test_subclass_of_a_registered_rule_has_no_name_of_its_own() -> None:
    class Faster(Adam): ...

    with pytest.raises(InputError, match="Faster is not a registered rule"):
        rule_name(Faster(0.1))
    with pytest.raises(InputError, match="ConvPerturber is not a registered rule"):
        rule_name(ConvPerturber)


class Forgetful(Lion):
    """Hands on one of its arguments."""

    def __init__(self, lr: float, schedule: Any = None) -> None:
        UpdateRule.__init__(self, **({"schedule": schedule} if schedule else {"lr": lr}))


class Silent(UpdateRule):
    """Hands on none of its arguments."""

    def __init__(
        self, lr: float, betas: tuple[float, float] = (0.9, 0.99), network: Any = None, **more: Any
    ) -> None:
        super().__init__()
        self.lr_at_once = self.config["lr"]
        self.k = more.get("k")


def test_rule_whose_configuration_does_not_build_it_is_not_saved(tmp_path: Path) -> None:
    register_rule("forgetful", Forgetful)
    register_rule("silent", Silent)
    for rule, message in [
        (Forgetful(0.1, [1]), "its config does not build it .missing a required argument: 'lr'"),
        (Forgetful(0.1, abs), "'schedule' is not a plain value but <built-in"),
        (Forgetful(0.1), "its constructor's argument 'schedule' is not in its config"),
        (Silent(0.1, network=abs), "its constructor's argument 'network' is not in its config"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            save_rule(tmp_path / "rule.pt", rule)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_arguments_of_a_constructor_that_hands_on_none_are_the_config(tmp_path: Path) -> None:
    register_rule("silent", Silent)
    rule = Silent(np.float32(0.5), (0.8, 0.9), k=7)
    config = {"lr": 0.5, "betas": [0.8, 0.9], "network": None, "k": 7}
    assert rule.config == config
    assert rule.lr_at_once == 0.5
    assert Silent(lr=0.5).config == {"lr": 0.5, "betas": [0.9, 0.99], "network": None}
    for copied in (copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert copied.config == config
    save_rule(tmp_path / "rule.pt", rule)
    loaded = load_rule(tmp_path / "rule.pt")
    assert loaded.config == config
    assert loaded.k == 7
    with pytest.raises(InputError, match="lr must be a finite number of at least 0, not -1"):
        Silent(-1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'lr'"):
        Silent()


def test_a_tuple_that_is_handed_on_is_a_list_of_the_config() -> None:
    class WithTuple(UpdateRule):
        def __init__(self, betas: tuple[float, float]) -> None:
            super().__init__(betas=betas)

    register_rule("with_tuple", WithTuple)
    assert registry.plain_config(WithTuple((0.5, 0.9))) == {"betas": [0.5, 0.9]}


def test_learned_rule_from_a_word_learns() -> None:
    assert isinstance(parse_rule("coordinate_mlp:lr=1e-3"), CoordinateMLP)
    assert parse_rule("coordinate_mlp:lr=1e-3").meta_parameter_groups(1e-3)
    assert not parse_rule("adam:lr=1e-3").meta_parameter_groups(1e-3)


def test_rule_made_before_its_class_was_defined_again_is_saved(tmp_path: Path) -> None:
    def defined() -> type[UpdateRule]:  # as by a notebook's cell
        @register_rule("of_a_cell")
        class OfACell(SGD):
            __qualname__ = "OfACell"

        return OfACell

    former = defined()(0.1)
    assert defined() is not type(former)
    save_rule(tmp_path / "rule.pt", former)
    assert load_rule(tmp_path / "rule.pt").config == former.config


def test_classes_that_a_function_makes_are_not_taken_for_each_other() -> None:
    def made(sign: float) -> type[UpdateRule]:
        class Signed(SGD):
            direction = sign

        return Signed

    register_rule("down")(made(1.0))
    with pytest.raises(InputError, match="Signed is not a registered rule"):
        rule_name(made(-1.0))
