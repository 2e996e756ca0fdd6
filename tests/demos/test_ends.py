"""Ends of episodes that were recorded without their kind, and those that are not seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from l2l_gail.demos import Demonstrations, Endings
from l2l_gail.demos.info_command import describe
from l2l_gail.errors import InputError
from tests.demos.test_demos import refusal, write
from tests.demos.test_episodes import episode, same


def of_unknown_kind(*lengths: int) -> Demonstrations:
    return Demonstrations.from_episodes(
        [episode(n, number) | {"terminal": True} for number, n in enumerate(lengths)]
    )


def test_the_time_limit_of_the_environment_tells_it_from_a_terminal_state() -> None:
    demos = of_unknown_kind(8, 3, 1000, 8)
    assert demos.endings == Endings(terminal=3, time_limit=1, cut_off=0)
    assert describe(demos).count("terminal or time limit") == 4
    settled = demos.with_time_limit(8)  # of which the one of 1,000 steps cannot be
    np.testing.assert_array_equal(np.flatnonzero(settled.terminals), [10])
    np.testing.assert_array_equal(np.flatnonzero(settled.truncated), [7, 1010, 1018])
    assert settled.ended_after is None
    assert settled.with_time_limit(3) is settled
    assert demos.with_time_limit(2000).endings.terminal == 4
    with pytest.raises(InputError, match="a time limit of 0 steps: give a whole number from 1 on"):
        demos.with_time_limit(0)


def test_what_is_stated_stays() -> None:
    for end in ({"terminals": True}, {"truncated": True}, {}):
        demos = Demonstrations.from_episodes([episode(8) | end])
        assert demos.with_time_limit(8) is demos
    own = Demonstrations.from_episodes(
        [episode(50) | {"terminal": True}], env_id="Reacher-v5"
    )  # whose limit is 50
    assert own.with_time_limit(8) is own
    cut_off = Demonstrations.from_episodes([episode(8) | {"terminal": False}])
    assert cut_off.with_time_limit(8).endings.cut_off == 1


def test_the_kind_can_be_told_after_choosing_joining_thinning_and_saving(tmp_path: Path) -> None:
    demos = of_unknown_kind(8, 3)
    parts = [demos, Demonstrations.from_episodes([episode(8) | {"terminals": True}])]
    for number, changed in enumerate(
        (demos, demos[[1, 0]], demos.subsample(5), Demonstrations.concatenate(parts))
    ):
        changed.save(tmp_path / f"{number}.npz")
        loaded = Demonstrations.load(tmp_path / f"{number}.npz")
        assert same(loaded, changed)
        settled = loaded.with_time_limit(8).endings
        assert settled == Endings(terminal=1 + (number == 3), time_limit=1, cut_off=0)
    known = Demonstrations.from_episodes([episode(9)], env_id="Reacher-v5")
    joined = Demonstrations.concatenate([of_unknown_kind(50), known])
    assert joined.endings == Endings(terminal=0, time_limit=1, cut_off=1)


def test_an_older_recorder_s_file_keeps_the_kind_unknown(tmp_path: Path) -> None:
    arrays = {name: getattr(of_unknown_kind(8, 3), name) for name in ("obs", "terminals")}
    table = {"episode_starts": np.array([0, 8]), "episode_lengths": np.array([8, 3])}
    demos = Demonstrations.load(write(tmp_path / "d.npz", arrays | table))
    assert demos.with_time_limit(8).endings == Endings(terminal=1, time_limit=1, cut_off=0)


def test_a_terminal_state_that_thinning_leaves_unseen_is_remembered(tmp_path: Path) -> None:
    whole = Demonstrations.from_episodes(
        [episode(6) | {"terminals": True}, episode(6, 1) | {"truncated": True}, episode(6, 2)]
    )
    thin = dataclasses.replace(whole, next_obs=None).subsample(4)
    assert not thin.terminals.any()  # no step that is left leads to it
    thin.save(tmp_path / "d.npz")
    for demos in (thin, thin.subsample(2), thin[:], Demonstrations.load(tmp_path / "d.npz")):
        assert demos.endings == whole.endings == Endings(terminal=1, time_limit=1, cut_off=1)
    assert thin[2].ended_unseen is None
    unknown = dataclasses.replace(of_unknown_kind(8, 3, 1000), next_obs=None).subsample(2)
    for limit in (None, 8, 2000):
        settled = unknown if limit is None else unknown.with_time_limit(limit)
        assert not settled.terminals.any()
        counts = {None: (2, 1), 8: (1, 2), 2000: (3, 0)}[limit]
        assert (settled.endings.terminal, settled.endings.time_limit) == counts


def test_what_thinning_keeps_stands_for_what_it_leaves_out(tmp_path: Path) -> None:
    whole = Demonstrations.from_episodes(
        [episode(23) | {"terminals": True}, episode(10, 1) | {"truncated": True}, episode(3, 2)]
    )
    assert (whole.spans == 1).all()
    assert whole.full_lengths is None
    thin = whole.subsample(5)
    assert thin.spans.tolist() == [4, 5, 4, 5, 4, 1, 5, 5, 3]  # the terminal step is kept besides
    thin.save(tmp_path / "d.npz")
    loaded = Demonstrations.load(tmp_path / "d.npz")
    both = Demonstrations.concatenate([whole[0], thin])
    assert both.spans.tolist() == [1] * 23 + thin.spans.tolist()
    assert Demonstrations.concatenate([whole, whole[1]]).full_lengths is None
    for demos in (thin[:], loaded, thin.subsample(1)):
        assert demos.spans.tolist() == thin.spans.tolist()
    assert thin[[2, 0]].spans.tolist() == [3, 4, 5, 4, 5, 4, 1]
    twice = thin.subsample(2, seed=1)
    lengths = np.add.reduceat(twice.spans, twice.episode_starts)
    assert lengths.tolist() == [23, 10, 3]


@pytest.mark.parametrize("ends", [[1, 2], [-1], [0.5], [[3]], 3])
def test_ends_that_are_no_number_for_each_episode_are_refused(tmp_path: Path, ends: object) -> None:
    demos = Demonstrations.from_episodes([episode(3) | {"terminals": True}])
    demos.save(tmp_path / "own.npz")
    with np.load(tmp_path / "own.npz") as file:
        arrays = {**file, "ended_after": np.array(ends)}
    assert "'ended_after' has shape" in refusal(write(tmp_path / "d.npz", arrays))
