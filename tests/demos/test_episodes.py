"""Demonstrations from memory: made of episodes, chosen from, joined, thinned out."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2l_gail.demos import Demonstrations
from l2l_gail.demos.info_command import describe
from l2l_gail.errors import InputError
from tests.demos.test_demos import make_arrays


def episode(steps: int, number: int = 0) -> dict[str, np.ndarray]:
    """An episode whose states count up from a hundred times its number, the last one included."""
    states = 100.0 * number + np.arange(2 * (steps + 1)).reshape(-1, 2)
    return {"obs": states, "acts": np.full((steps, 1), number / 10), "rews": np.arange(steps) + 1.0}


def same(one: Demonstrations, other: Demonstrations) -> bool:
    pairs = [
        (getattr(one, field.name), getattr(other, field.name))
        for field in dataclasses.fields(Demonstrations)
    ]
    return all(
        np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        for a, b in pairs
    )  # fmt: skip


class TestFromEpisodes:
    def test_observations_and_actions_are_enough(self) -> None:
        demos = Demonstrations.from_episodes(
            [{"obs": np.zeros((3, 4)), "acts": np.ones((3, 2))},
             {"obs": [[1, 1, 1, 1]], "acts": [[0, 1]]}]
        )  # fmt: skip
        assert demos.episode_lengths.tolist() == [3, 1]
        assert demos.episode_starts.tolist() == [0, 3]
        assert (demos.obs.shape, demos.acts.shape) == ((4, 4), (4, 2))
        assert demos.rews is None
        assert demos.next_obs is None
        assert demos.endings.cut_off == 2

    def test_one_observation_more_is_the_state_after_the_last_step(self) -> None:
        demos = Demonstrations.from_episodes([episode(3), episode(2, 1)])
        np.testing.assert_array_equal(demos.obs[:, 0], [0, 2, 4, 100, 102])
        np.testing.assert_array_equal(demos.next_obs[:, 0], [2, 4, 6, 102, 104])
        np.testing.assert_array_equal(demos.returns, [6, 3])

    def test_states_alone_make_one_step_less_than_there_are_states(self) -> None:
        demos = Demonstrations.from_episodes([{"obs": [[0.0], [1.0], [2.0]]}])
        assert demos.acts is None
        np.testing.assert_array_equal(demos.obs, [[0], [1]])
        np.testing.assert_array_equal(demos.next_obs, [[1], [2]])

    def test_one_mapping_is_one_episode(self) -> None:
        assert same(
            Demonstrations.from_episodes(episode(3)), Demonstrations.from_episodes([episode(3)])
        )

    def test_ends_are_flags_of_steps_or_one_of_the_episode(self) -> None:
        flags = np.array([False, False, True])
        demos = Demonstrations.from_episodes(
            [episode(3) | {"terminals": True}, episode(3) | {"truncated": flags}, episode(3)]
        )
        np.testing.assert_array_equal(np.flatnonzero(demos.terminals), [2])
        np.testing.assert_array_equal(np.flatnonzero(demos.truncated), [5])
        assert demos.endings.cut_off == 1

    @pytest.mark.parametrize(("steps", "limit"), [(50, True), (49, False)])
    def test_an_end_of_unknown_kind_is_the_time_limit_after_as_many_steps(
        self, steps: int, limit: bool
    ) -> None:
        demos = Demonstrations.from_episodes(
            [episode(steps) | {"terminal": True}], env_id="Reacher-v5"
        )
        assert demos.truncated[-1] == limit
        assert demos.terminals[-1] != limit

    @pytest.mark.parametrize("own", [20, 100])
    def test_the_environment_s_own_limit_comes_before_the_registered_one(self, own: int) -> None:
        demos = Demonstrations.from_episodes(
            [episode(steps) | {"terminal": True} for steps in (20, 50, 100)],
            env_id="Reacher-v5",
            env_kwargs={"max_episode_steps": own},
        )
        assert demos.episode_lengths[demos.truncated[np.cumsum(demos.episode_lengths) - 1]] == [own]

    def test_the_words_of_other_libraries_are_understood(self) -> None:
        own = Demonstrations.from_episodes([episode(3) | {"terminals": True}])
        minari = SimpleNamespace(
            observations=episode(3)["obs"], actions=episode(3)["acts"], rewards=episode(3)["rews"],
            terminations=np.array([0, 0, 1], bool), truncations=np.zeros(3, bool), infos={}, id=3,
        )  # fmt: skip
        assert same(Demonstrations.from_episodes([minari]), own)
        mapping = {"observations": minari.observations, "actions": minari.actions,
                   "rewards": minari.rewards, "terminated": True}  # fmt: skip
        assert same(Demonstrations.from_episodes([mapping]), own)

    def test_arrays_of_all_steps_are_cut_at_the_lengths(self) -> None:
        arrays = make_arrays(3, 5)
        names = ("obs", "acts", "rews", "next_obs", "terminals", "truncated")
        made = Demonstrations.from_arrays(
            **{name: arrays[name] for name in names}, episode_lengths=[3, 5], env_id="Hopper-v5"
        )
        assert same(made, Demonstrations(**arrays, env_id="Hopper-v5"))

    @pytest.mark.parametrize(
        ("episodes", "pattern"),
        [
            ([], "no episodes"),
            ([{"acts": [[1.0]]}], "episode 0: there are no observations"),
            ([{"obs": [[1.0]], "action": [[1.0]]}], "unknown name 'action'; an episode has obs"),
            ([{"obs": [[1.0]], "dones": [True]}], "'dones'; .* an end of either kind being 'term"),
            ([{"obs": [[1.0]]}], "there are no steps"),
            ([{"obs": [[1.0], [2.0, 3.0]]}], "'obs' is no array of numbers"),
            ([{"obs": [["a"]]}], "'obs' has dtype"),
            ([{"obs": 1.0}], "'obs' is a single number"),
            ([episode(3) | {"obs": np.zeros((5, 2))}], "'obs' has 5 rows and 'acts' 3"),
            ([episode(3), episode(2) | {"rews": [1.0]}], "episode 1: 'rews' has 1 rows"),
            ([episode(3) | {"terminals": [True, False]}], r"'terminals' has shape \(2,\)"),
            ([episode(3), {"obs": np.zeros((4, 2))}], "episode 1: 'acts' was before, and is not"),
            ([episode(3), episode(3) | {"obs": np.zeros((4, 3))}], r"'next_obs'|'obs' has shape"),
            ([episode(3) | {"obs": np.full((4, 2), np.nan)}], "NaN or infinite"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_one_line(self, episodes: list[Any], pattern: str) -> None:
        with pytest.raises(InputError, match=pattern) as caught:
            Demonstrations.from_episodes(episodes)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("lengths", [[3, 4], [[3], [5]], [8.0], [8, 0], [9], [-1, 9]])
    def test_lengths_that_are_none_are_refused(self, lengths: Any) -> None:
        arrays = make_arrays(3, 5)
        with pytest.raises(InputError, match="episode_lengths"):
            Demonstrations.from_arrays(arrays["obs"], arrays["acts"], episode_lengths=lengths)


@pytest.mark.parametrize("lacking", [(), ("rews",), ("acts",), ("acts", "rews", "next_obs")])
def test_what_is_missing_in_memory_is_missing_in_the_file(
    tmp_path: Path, lacking: tuple[str, ...]
) -> None:
    made = Demonstrations(**make_arrays(3, 5) | dict.fromkeys(lacking), expert_return=9.0)
    made.save(tmp_path / "d.npz")
    loaded = Demonstrations.load(tmp_path / "d.npz")
    assert same(made, loaded)
    assert made.digest == loaded.digest
    with np.load(tmp_path / "d.npz") as file:
        assert not set(lacking) & set(file.files)


def test_what_is_missing_is_named_where_it_is_needed() -> None:
    demos = Demonstrations.from_episodes([{"obs": [[0.0], [1.0]]}])
    with pytest.raises(
        InputError, match="a return needs rewards, and the demonstrations have none"
    ):
        demos.returns  # noqa: B018
    with pytest.raises(InputError, match=r"cloning needs actions.*demonstrations with 'acts'"):
        demos.needed("acts", "cloning")
    assert "acts=none, return=not known" in repr(demos)
    described = " ".join(describe(demos).split())
    assert "actions none: states alone" in described
    assert "0 - 1 cut off" in described


def test_pairs_of_states_are_those_that_followed_one_another() -> None:
    with_next = Demonstrations.from_episodes([episode(3), episode(2, 1)])
    before, after = with_next.state_pairs()
    np.testing.assert_array_equal(before, with_next.obs)
    np.testing.assert_array_equal(after, with_next.next_obs)
    without = dataclasses.replace(with_next, next_obs=None)
    before, after = without.state_pairs()
    np.testing.assert_array_equal(before[:, 0], [0, 2, 100])
    np.testing.assert_array_equal(after[:, 0], [2, 4, 102])
    single = Demonstrations.from_episodes([{"obs": [[0.0]], "acts": [[0.0]]}])
    with pytest.raises(InputError, match="no two states"):
        single.state_pairs()


class TestChoosing:
    demos = Demonstrations.from_episodes(
        [episode(n, number) for number, n in enumerate((3, 1, 4, 2))], env_id="Hopper-v5"
    )

    def test_slices_are_of_episodes(self) -> None:
        part = self.demos[1:3]
        assert part.episode_lengths.tolist() == [1, 4]
        np.testing.assert_array_equal(part.obs, self.demos.obs[3:8])
        assert part.env_id == "Hopper-v5"
        assert same(self.demos[:], self.demos)
        assert same(self.demos[:2], self.demos.head(2))

    def test_one_episode_and_any_order(self) -> None:
        assert self.demos[-1].obs[0, 0] == 300
        assert self.demos[[2, 0]].episode_lengths.tolist() == [4, 3]
        assert self.demos[::-1].obs[0, 0] == 300
        assert [len(one) for one in self.demos] == [3, 1, 4, 2]

    def test_what_is_not_there_is_refused(self) -> None:
        with pytest.raises(IndexError):
            self.demos[4]
        with pytest.raises(InputError, match="none of the 4 episodes"):
            self.demos[4:]

    @given(cut=st.integers(1, 3))
    def test_parts_joined_are_the_whole(self, cut: int) -> None:
        assert same(Demonstrations.concatenate([self.demos[:cut], self.demos[cut:]]), self.demos)

    def test_what_parts_do_not_share_is_left_out(self) -> None:
        one = dataclasses.replace(self.demos, expert_return=1.0, random_return=0.0)
        two = dataclasses.replace(self.demos, expert_return=2.0, random_return=0.0)
        both = Demonstrations.concatenate([one, two])
        assert both.expert_return is None
        assert both.random_return == 0.0
        assert both.n_episodes == 8

    def test_rewards_and_next_observations_that_a_part_lacks_are_left_out(self) -> None:
        bare = Demonstrations.from_arrays(
            self.demos.obs, self.demos.acts, episode_lengths=self.demos.episode_lengths
        )  # as DAgger's states with an expert's actions
        for parts in ([self.demos, bare], [bare, self.demos]):
            with pytest.warns(UserWarning, match="have 'next_obs' and 'rews': left out of"):
                both = Demonstrations.concatenate(parts)
            assert (both.n_episodes, both.rews, both.next_obs) == (8, None, None)
            assert both.endings.cut_off == 4 + self.demos.endings.cut_off
            now, after = both.state_pairs()
            assert len(now) == len(after) == 2 * (len(self.demos) - 4)
        with pytest.raises(InputError, match=r"part 1 has a 'next_obs' that others lack.*join the"):
            Demonstrations.concatenate([bare, self.demos.subsample(2)])

    @pytest.mark.parametrize(
        ("other", "pattern"),
        [
            ({"env_id": "Ant-v5"}, "different environments.*'Hopper-v5' and 'Ant-v5'"),
            ({"acts": None}, "part 1: 'acts' was before"),
            ({"acts": np.zeros((10, 2))}, r"part 1: 'acts' has shape \(10, 2\) here"),
        ],
    )
    def test_parts_that_are_not_one_set_are_refused(
        self, other: dict[str, Any], pattern: str
    ) -> None:
        with pytest.raises(InputError, match=pattern):
            Demonstrations.concatenate([self.demos, dataclasses.replace(self.demos, **other)])
        with pytest.raises(InputError, match="give at least one"):
            Demonstrations.concatenate([])


class TestSubsampling:
    def test_every_third_step_of_each_episode_is_kept(self) -> None:
        whole = Demonstrations.from_episodes(
            [episode(7) | {"terminals": True}, episode(3, 1) | {"truncated": True}]
        )
        kept = whole.subsample(3)
        np.testing.assert_array_equal(kept.obs[:, 0], [0, 6, 12, 100])
        np.testing.assert_array_equal(kept.next_obs[:, 0], [2, 8, 14, 102])
        assert kept.episode_lengths.tolist() == [3, 1]
        assert kept.terminals.tolist() == [False, False, True, False]
        assert kept.truncated.tolist() == [False, False, False, True]
        np.testing.assert_array_equal(kept.rews, [1 + 2 + 3, 4 + 5 + 6, 7, 1 + 2 + 3])

    def test_the_step_into_a_terminal_state_is_kept_and_no_other_is_marked_as_that(self) -> None:
        whole = Demonstrations.from_episodes(
            [episode(6) | {"terminals": True}, episode(6, 1) | {"truncated": True}]
        )
        kept = whole.subsample(4)
        np.testing.assert_array_equal(kept.obs[:, 0], [0, 8, 10, 100, 108])
        assert kept.terminals.tolist() == [False, False, True, False, False]
        np.testing.assert_array_equal(kept.next_obs[kept.terminals], whole.next_obs[[5]])
        np.testing.assert_array_equal(kept.rews[:3], [1 + 2 + 3 + 4, 5, 6])
        # Where the state after the last step is not known, no step that is left leads to it.
        unknown = dataclasses.replace(whole, next_obs=None).subsample(4)
        np.testing.assert_array_equal(unknown.obs[:, 0], [0, 8, 100, 108])
        assert not unknown.terminals.any()
        assert unknown.endings == whole.endings
        assert unknown.truncated.tolist() == [False, False, False, True]

    @given(every=st.integers(1, 9), seed=st.none() | st.integers(0, 99), n=st.integers(1, 20))
    def test_returns_and_endings_stay(self, every: int, seed: int | None, n: int) -> None:
        whole = Demonstrations.from_episodes([episode(n) | {"terminals": True}, episode(5, 1)])
        kept = whole.subsample(every, seed=seed)
        np.testing.assert_allclose(kept.returns, whole.returns)
        assert kept.endings == whole.endings
        rows = [int(np.flatnonzero((whole.obs == row).all(axis=1))[0]) for row in kept.obs]
        np.testing.assert_array_equal(kept.next_obs, whole.next_obs[rows])
        distances = {
            b - a for a, b in itertools.pairwise(rows) if (a < n) == (b < n) and b != n - 1
        }
        assert distances <= {every}
        if seed is None:
            assert rows[0] == 0

    def test_a_seed_moves_the_beginning_within_the_first_steps(self) -> None:
        whole = Demonstrations.from_episodes([episode(100, number) for number in range(50)])
        kept = whole.subsample(20, seed=1)
        offsets = kept.obs[kept.episode_starts, 0] % 100 // 2
        assert offsets.min() >= 0
        assert offsets.max() < 20
        assert len(set(offsets)) > 10
        assert same(kept, whole.subsample(20, seed=1))

    def test_next_observations_are_told_before_the_steps_after_are_gone(self) -> None:
        whole = Demonstrations.from_episodes([episode(7), episode(4, 1)])
        kept = dataclasses.replace(whole, next_obs=None).subsample(3)
        # The last of seven steps has no next state, so it cannot be kept.
        np.testing.assert_array_equal(kept.obs[:, 0], [0, 6, 100])
        np.testing.assert_array_equal(kept.next_obs[:, 0], [2, 8, 102])
        np.testing.assert_array_equal(kept.returns, whole.returns)

    @pytest.mark.parametrize("every", [0, 2.0])
    def test_no_distance_is_refused(self, every: Any) -> None:
        with pytest.raises(InputError, match="give a whole number from 1 on"):
            Demonstrations.from_episodes([episode(7)]).subsample(every)

    def test_a_seed_or_a_number_of_episodes_that_is_none_is_refused(self) -> None:
        whole: Any = Demonstrations.from_episodes([episode(7)])
        with pytest.raises(InputError, match="the seed is -1: give a whole number from 0 on"):
            whole.subsample(2, seed=-1)
        with pytest.raises(InputError, match=r"1\.0 episodes asked for"):
            whole.head(1.0)


def test_tensors_that_have_a_gradient_are_read() -> None:
    plain = episode(3)
    tensors = plain | {"obs": torch.tensor(plain["obs"], requires_grad=True)}
    found = Demonstrations.from_episodes([tensors])
    np.testing.assert_array_equal(found.obs, Demonstrations.from_episodes([plain]).obs)
    halves = plain | {"obs": torch.tensor(plain["obs"]).to(torch.bfloat16)}
    found = Demonstrations.from_episodes([halves])
    np.testing.assert_array_equal(found.obs, halves["obs"].float().numpy()[:-1])


def test_an_id_that_names_its_module_is_the_same_environment() -> None:
    one, other = (
        Demonstrations(**make_arrays(3), env_id=each) for each in ("Box-v0", "mine:Box-v0")
    )
    assert Demonstrations.concatenate([one, other]).env_id == "mine:Box-v0"


def test_a_list_of_sets_is_one_set_with_all_that_they_say() -> None:
    lengths = {"episode_lengths": [3, 2]}
    demos = Demonstrations.from_arrays(np.zeros((5, 2)), rews=np.ones(5), **lengths)
    demos = dataclasses.replace(
        demos, env_id="Hopper-v5", env_kwargs={"frame_skip": 2}, expert_return=3.0
    )
    for sets in (list(demos), [demos[1:], demos[:1]], [demos], demos):
        again = Demonstrations.from_episodes(sets)
        assert sorted(again.episode_lengths) == [2, 3]
        assert again.env_id == "Hopper-v5"
        assert (again.env_kwargs, again.expert_return) == ({"frame_skip": 2}, 3.0)
    assert Demonstrations.from_episodes([demos, demos], env_id="mine:Hopper-v5").n_episodes == 4
    hopper = dataclasses.replace(demos, env_id="Hopper-v5", env_kwargs={"frame_skip": 4})
    bare = dataclasses.replace(hopper, env_kwargs={})
    gymnasium.make("Hopper-v5").close()  # its default is known where its module is
    assert Demonstrations.concatenate([bare, hopper]).env_kwargs == {"frame_skip": 4}
    unnamed = dataclasses.replace(demos, env_id=None, env_kwargs=None)
    joined = Demonstrations.concatenate([unnamed, demos])
    assert (joined.env_id, joined.env_kwargs) == ("Hopper-v5", {"frame_skip": 2})
    with pytest.raises(InputError, match="env_id 'Hopper-v5' and 'Ant-v5'"):
        Demonstrations.from_episodes([demos], env_id="Ant-v5")
    with pytest.raises(InputError, match="some of these are Demonstrations and some are episodes"):
        Demonstrations.from_episodes([demos, episode(3)])


@pytest.mark.parametrize("name", ["dones", "done", "act"])
def test_an_object_with_transitions_is_no_episode(name: str) -> None:
    given = SimpleNamespace(**episode(3), **{name: np.zeros(3)})
    with pytest.raises(InputError, match=f"^episode 0: an object with '{name}' is no episode"):
        Demonstrations.from_episodes([given])


def test_dicts_of_observations_that_have_to_be_unwrapped_are_read() -> None:
    observations = {"a": np.zeros((4, 2)), "b": np.ones((4, 3))}
    wrapped = SimpleNamespace(unwrap=lambda: observations)
    demos = Demonstrations.from_episodes([SimpleNamespace(obs=wrapped, acts=np.zeros((3, 1)))])
    assert {key: array.shape for key, array in demos.obs.items()} == {"a": (3, 2), "b": (3, 3)}


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_columns_of_flags_and_rewards_are_read_and_a_terminal_state_counts(dtype: type) -> None:
    ended = np.array([[0], [0], [1]], dtype=dtype)
    given = {"rews": np.ones((3, 1)), "terminals": ended, "truncated": ended}
    demos = Demonstrations.from_episodes([episode(3) | given])
    assert demos.returns.tolist() == [3.0]
    assert demos.terminals.tolist() == [False, False, True]
    assert not demos.truncated.any()


def test_a_dict_of_observations_beside_one_array_is_named_as_that() -> None:
    array, parts = {"obs": np.ones((4, 3))}, {"obs": {"a": np.ones((4, 3))}}
    with pytest.raises(InputError, match="episode 1: 'obs' is a dict here, one array before: all"):
        Demonstrations.from_episodes([array, parts])
    with pytest.raises(InputError, match="'obs' is one array here, a dict before"):
        Demonstrations.concatenate(
            [Demonstrations.from_episodes([each]) for each in (parts, array)]
        )


def test_episodes_are_not_chosen_in_two_dimensions() -> None:
    demos = Demonstrations.from_episodes([{"obs": np.ones((4, 3))}] * 2)
    for choice in (None, np.array([[0, 1]])):
        with pytest.raises(InputError, match="by a number, a slice or a list of numbers"):
            demos[choice]
