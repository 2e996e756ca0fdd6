"""A rule on disk: small, readable without executing anything, equal when it comes back."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from l2l_gail.core import (
    Adam,
    ConvPerturber,
    CoordinateMLP,
    GatedMomentum,
    MatrixRule,
    Muon,
    Prodigy,
    UpdateRule,
    load_rule,
    register_rule,
    registry,
    rule_from_dict,
    rule_to_dict,
    save_rule,
)
from l2l_gail.errors import InputError
from tests.core.support import awaken, every_rule, name_of, problem, run


@pytest.mark.parametrize("rule", every_rule(), ids=name_of)
def test_rule_comes_back_as_it_was(rule: UpdateRule, tmp_path: Path) -> None:
    path = tmp_path / "rule.pt"
    save_rule(path, rule, {"seed": 3, "licence": "MIT"})
    loaded = load_rule(path)
    assert type(loaded) is type(rule)
    assert loaded.config == rule.config
    variables, loss = problem(torch.float32)
    for a, b in zip(run(rule, variables, loss, 5), run(loaded, variables, loss, 5), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in variables)
    assert os.listdir(tmp_path) == ["rule.pt"]


def test_rule_in_float64_comes_back_in_float64(tmp_path: Path) -> None:
    rule = awaken(GatedMomentum(0.1)).double()
    save_rule(tmp_path / "rule.pt", rule)
    for a, b in zip(rule.parameters(), load_rule(tmp_path / "rule.pt").parameters(), strict=True):
        assert torch.equal(a, b)
        assert b.dtype == torch.float64


@pytest.mark.parametrize("rule", [CoordinateMLP(3e-4), GatedMomentum(0.1)], ids=name_of)
def test_file_is_small_and_names_no_code(rule: UpdateRule, tmp_path: Path) -> None:
    path = tmp_path / "rule.pt"
    save_rule(path, rule, {"seed": 0, "games": "bilinear", "licence": "MIT"})
    assert path.stat().st_size < 20_000
    assert b"l2l_gail" not in path.read_bytes()
    saved = torch.load(path, weights_only=True)
    assert saved["meta"] == {"seed": 0, "games": "bilinear", "licence": "MIT"}


def test_rule_with_whole_numbers_or_a_value_read_at_its_making_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(UpdateRule):
        def __init__(self, lr: float) -> None:
            super().__init__(lr=lr)
            self.register_buffer("mask", torch.arange(3))
            self.log_lr = torch.tensor(lr).log().item()

    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    register_rule("counting")(Counting)
    save_rule(tmp_path / "rule.pt", Counting(np.float64(0.1)))
    again = load_rule(tmp_path / "rule.pt")
    assert torch.equal(again.mask, torch.arange(3))
    assert again.log_lr == Counting(0.1).log_lr
    assert type(again.config["lr"]) is float


class Read(UpdateRule):
    """Reads a tensor's value where it is made."""

    def __init__(self, lr: float, horizon: int, device: str | None = None) -> None:
        super().__init__(lr=lr, horizon=horizon, device=device)
        self.register_buffer("table", torch.linspace(0, 1, horizon, device=device).double())
        self.weight = nn.Parameter(torch.zeros(3))
        self.count = nn.Buffer(torch.tensor(5))
        self.top = float(self.table.max())


def test_rule_of_several_dtypes_that_reads_a_value_at_its_making_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    register_rule("read")(Read)
    path = tmp_path / "rule.pt"
    for rule in (Read(0.1, 200), Read(0.1, 300), Read(0.1, 10_000, "cpu")):
        save_rule(path, rule)
        loaded = load_rule(path)
        assert {n: t.dtype for n, t in loaded.state_dict().items()} == {
            n: t.dtype for n, t in rule.state_dict().items()
        }
        assert loaded.weight.requires_grad
        assert loaded.top == rule.top
    with pytest.raises(InputError, match=r"reads the value of a tensor.*with device='cpu'") as said:
        save_rule(path, Read(0.1, 10_000))
    one_line(said.value)


def test_rule_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    broken = MatrixRule()
    with torch.no_grad():
        broken.log_step.fill_(math.nan)
    endless = Muon(0.1, half_life=math.inf)
    for rule, said in ((broken, "matrix_rule: a weight is not finite"), (endless, "half_life")):
        with pytest.raises(InputError, match=said):
            save_rule(tmp_path / "rule.pt", rule)
    assert not list(tmp_path.iterdir())


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rule.pt"
    save_rule(path, CoordinateMLP(1e-3))
    save_rule(path, Adam(2e-3))
    assert load_rule(path).config["lr"] == 2e-3


def test_rule_around_a_network_of_ones_own_is_not_saved_here(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ConvPerturber is not a registered rule"):
        save_rule(tmp_path / "rule.pt", ConvPerturber(nn.Conv2d(2, 1, 1), 0.1))
    assert os.listdir(tmp_path) == []


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rule.pt"
    save_rule(path, CoordinateMLP(1e-3))
    content = bytearray(path.read_bytes())
    for bit in range(0, 8 * len(content), 997):
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            load_rule(path)
        content[bit // 8] ^= 1 << bit % 8


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "rule.pt.tmp").symlink_to(tmp_path / "precious")
    save_rule(tmp_path / "rule.pt", Adam(1e-3))
    assert (tmp_path / "precious").read_text() == "mine"


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no rule at .*rule\.pt"):
        load_rule(tmp_path / "rule.pt")


class Bomb:
    """Writes a file if it is ever unpickled."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.crater),)


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "pickle", "bomb"])
def test_file_that_is_no_checkpoint_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path, crater = tmp_path / "rule.pt", tmp_path / "crater"
    save_rule(path, CoordinateMLP(1e-3))
    whole = path.read_bytes()
    if kind == "bomb":
        torch.save({"format": 1, "rule": Bomb(crater)}, path)
    else:
        path.write_bytes(
            {
                "empty": b"",
                "text": b"learning rate 1e-3\n",
                "truncated": whole[: len(whole) // 2],
                "pickle": pickle.dumps({"format": 1, "rule": Path("x")}, protocol=2),
            }[kind]
        )
    with pytest.raises(InputError, match=r"rule\.pt is damaged.*: save the rule again") as caught:
        load_rule(path)
    one_line(caught.value)
    assert not crater.exists()


OLD = [rule for rule in every_rule() if not isinstance(rule, Prodigy | Muon | MatrixRule)]


@pytest.mark.parametrize("rule", OLD, ids=name_of)
def test_file_of_version_0_1_0_comes_back(rule: UpdateRule) -> None:
    """It carried the class's name in place of the registered one."""
    loaded = rule_from_dict({**rule_to_dict(rule), "rule": type(rule).__name__})
    assert type(loaded) is type(rule)
    assert loaded.config == rule.config


def with_changes(**changes: Any) -> dict[str, Any]:
    return {**rule_to_dict(CoordinateMLP(1e-3)), **changes}


def without(key: str) -> dict[str, Any]:
    saved = with_changes()
    del saved[key]
    return saved


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (with_changes(format=2), "format 1 .found 2"),
        ({"state_dict": {}}, "format 1 .found None"),
        ([1, 2], "found list"),
        (with_changes(rule="lion"), "'lion' that is not registered here.*registered: adam, "),
        (without("rule"), "incomplete: no rule"),
        (without("config"), "incomplete: no config"),
        (with_changes(config={"lr": 1e-3, "depth": 9}), "does not fit this version.*depth"),
        (with_changes(config={"lr": 1e-3, "hidden": 4}), "does not fit this version.*w1"),
        (with_changes(state_dict={}), "does not fit this version.*Missing"),
        (with_changes(state_dict={"w1": 3}), "no finite weights"),
        (with_changes(state_dict={"w1": torch.tensor(math.nan)}), "no finite weights"),
        (with_changes(rule=["adam"]), "holds no name"),
        (with_changes(config=[("lr", 1e-3)]), "no configuration"),
        (with_changes(config={"lr": 1e-3, "betas": {}}), "does not fit this version"),
        (with_changes(config={"lr": 1e-3, "hidden": 10**9}), "does not fit this version.*w1"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused_in_one_line(saved: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        rule_from_dict(saved)
    one_line(caught.value)


def test_file_of_another_format_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ValueError, match="not a rule checkpoint") as caught:
        load_rule(path)
    one_line(caught.value)
