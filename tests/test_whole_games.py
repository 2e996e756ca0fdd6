"""The search by whole games: its games stood in for by a formula."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from l2l_gail.core import build_rule
from l2l_gail.errors import InputError
from tests.test_gail_results import load


@pytest.fixture(scope="module")
def search() -> ModuleType:
    return load("whole_games")


def distance(cell: dict[str, Any], demonstrations: object) -> dict[str, Any]:
    """Nearest with four times the penalty, whatever else there is."""
    octaves = math.log2(cell["discriminator"]["penalty_weight"]) - 2.0
    return {"evaluations": {"state_w1": [math.exp(octaves**2)] * 5}}


@pytest.fixture
def games(search: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(search.measured, "run", distance)
    return search


@pytest.mark.slow
def test_the_search_moves_towards_nearer_states(games: ModuleType) -> None:
    search = games.Search(games.Config(pairs=8))
    for _ in range(12):
        search.step()
    found = search.numbers.values()
    assert 2.5 < found["penalty_weight"] < 6.0
    assert search.history[-1]["loss"]["Hopper-v5"] < search.history[0]["loss"]["Hopper-v5"] - 1.0
    assert search.found()["searched_on"] == ["HalfCheetah-v5", "Hopper-v5"]


def test_a_search_goes_on_where_it_stopped(games: ModuleType, tmp_path: Path) -> None:
    config = games.Config(steps=4, pairs=2)
    whole, begun, resumed = (games.Search(config) for _ in range(3))
    for _ in range(4):
        whole.step()
    for _ in range(2):
        begun.step()
    begun.save(tmp_path / "search.pt")
    resumed.load(tmp_path / "search.pt")
    for _ in range(2):
        resumed.step()
    assert resumed.numbers.values() == whole.numbers.values()
    assert resumed.history == whole.history
    other = games.Search(dataclasses.replace(config, pairs=3))
    with pytest.raises(InputError, match="of a search with other settings"):
        other.load(tmp_path / "search.pt")


def test_the_start_is_the_method_as_it_is_shipped(games: ModuleType) -> None:
    cell = games.cell_of(games.Numbers().values(), "Hopper-v5", 100, 102_400)
    shipped = games.grid.read_configuration(
        Path(games.__file__).parent / "configs" / "methods.toml"
    )["methods"]["l2l"]
    for key in ("credit", "ppo", "policy_pace"):
        assert cell[key] == shipped[key], key
    assert cell["discriminator"] == {"penalty_weight": 1.0}
    assert shipped["rule"] == "muon"
    rules = (
        build_rule("muon", **shipped["arguments"]),
        build_rule("searched_rule", **cell["arguments"]),
    )
    ends = []
    for rule in rules:
        weights = {"w": torch.linspace(-1, 1, 12).view(3, 4), "b": torch.ones(3)}
        state = rule.init(weights)
        for _ in range(5):
            weights, state = rule(weights, lambda w: {k: v.sin() for k, v in w.items()}, state)
        ends.append(weights)
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value)


def test_an_unknown_environment_is_one_line(search: ModuleType) -> None:
    with pytest.raises(InputError, match=r"--leave-out Hoper-v5 is none of"):
        search.main(["--leave-out", "Hoper-v5"])
