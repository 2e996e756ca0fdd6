"""The kill loop: a few kills in every test run, a hundred with ``-m slow``."""

from __future__ import annotations

import dataclasses
import importlib

import pytest

from tests.faults.kills import GAMES, differences, kill_loop


def skip_unless_it_saves_often(game: str) -> None:
    module, *arguments = GAMES[game].split()
    names = {field.name for field in dataclasses.fields(importlib.import_module(module).Config)}
    if "--save-every" in arguments and "save_every" not in names:
        pytest.skip(f"{module} has no --save-every: nearly every kill would begin it anew")


@pytest.mark.parametrize("game", GAMES)
def test_a_run_that_was_killed_and_resumed_equals_an_undisturbed_one(game: str) -> None:
    skip_unless_it_saves_often(game)
    _, wrong = kill_loop(1, [game], seed=1)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_a_hundred_kills_leave_no_trace() -> None:
    skip_unless_it_saves_often("gail")
    _, wrong = kill_loop(100, list(GAMES), seed=0)
    assert not wrong, "\n".join(wrong)


def test_the_kill_loop_sees_what_it_looks_for() -> None:
    sound = {"state": {"a": 1}, "summary": {"b": 2.0}, "points": {"c": [(1, 2.0)]}}
    assert differences(sound, sound | {"left behind": []}) == []
    for part, damage in (
        ("state", {"a": 2}),
        ("state", {}),
        ("summary", {"b": 2.0, "more": 0}),
        ("points", {"c": [(1, 2.0), (1, 2.0)]}),
        ("points", {"c": []}),
    ):
        (line,) = differences(sound, sound | {"left behind": [], part: damage})
        assert line.startswith(part)
    assert differences(sound, sound | {"left behind": [".checkpoint.pt.x.tmp"]})
