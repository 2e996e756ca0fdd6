"""The view for Gymnasium against ``SyncVectorEnv`` itself."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import (
    ClipAction,
    DictInfoToList,
    NormalizeReward,
    RecordEpisodeStatistics,
)

from envs.gym_vector import GymVectorEnv
from l2l_gail.errors import InputError
from tests.envs.view_support import (
    BROKEN,
    PLAYS,
    SEED,
    N,
    actions,
    assert_same,
    batch,
    break_one,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")


def sync(env_id: str, kwargs: dict[str, Any], n: int = N) -> SyncVectorEnv:
    return gymnasium.make_vec(
        env_id,
        n,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **kwargs,
    )


@pytest.mark.parametrize(("env_id", "kwargs", "steps", "ends"), PLAYS)
def test_gymnasium_view_is_sync_vector_env_to_the_last_bit(env_id, kwargs, steps, ends) -> None:
    ours, theirs = batch(env_id, kwargs).gymnasium(), sync(env_id, kwargs)
    assert_same(ours.reset(), theirs.reset(seed=SEED), "reset")
    ended = 0
    for t, action in enumerate(actions(theirs, steps)):
        expected = theirs.step(action)
        assert_same(ours.step(action), expected, f"step {t}")
        ended += (expected[2] | expected[3]).sum()
    assert ended >= ends
    assert_same(ours.reset(seed=11), theirs.reset(seed=11), "seeded reset")
    assert_same(ours.reset(options={"a": 1}), theirs.reset(options={"a": 1}), "second reset")
    ours.close()
    theirs.close()


def test_one_environment_has_only_the_resets_infos_when_its_episode_ends() -> None:
    kwargs = {"max_episode_steps": 5}
    ours, theirs = batch("HalfCheetah-v5", kwargs, 1).gymnasium(), sync("HalfCheetah-v5", kwargs, 1)
    ours.reset()
    theirs.reset(seed=SEED)
    for action in actions(theirs, 12):
        assert_same(ours.step(action), theirs.step(action))
    ours.close()
    theirs.close()


def test_a_list_of_seeds_seeds_each_and_none_goes_on() -> None:
    ours, theirs = batch("Hopper-v5").gymnasium(), sync("Hopper-v5", {})
    seeds = [5, 5, 9, 0, 1, 2, 3, 4]
    assert_same(ours.reset(seed=seeds), theirs.reset(seed=seeds))
    seeds = [None, 7, None, None, None, None, None, None]
    assert_same(ours.reset(seed=seeds), theirs.reset(seed=seeds))
    with pytest.raises(InputError, match="8 environments"):
        ours.reset(seed=[1, 2])
    ours.close()
    theirs.close()


def test_gymnasium_view_warns_of_a_broken_simulation_when_episodes_end_and_at_resets() -> None:
    env = batch("Hopper-v5", {"max_episode_steps": 3})
    view = env.gymnasium()
    view.reset()
    still = np.zeros((N, 3), np.float32)
    break_one(env)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert not np.logical_or(*view.step(still)[2:4]).any()
    with pytest.warns(RuntimeWarning, match=BROKEN):
        assert view.step(still)[3].all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            view.step(still)
    break_one(env)
    view.step(still)
    with pytest.warns(RuntimeWarning, match=BROKEN):
        view.reset()
    view.close()


def test_a_reset_of_some_environments_alone_is_refused_and_resets_none() -> None:
    ours, untouched = batch("Hopper-v5").gymnasium(), batch("Hopper-v5").gymnasium()
    some = np.arange(N) < 2
    still = np.zeros((N, 3), np.float32)
    for view in (ours, untouched):
        view.reset()
        view.step(still)
    with pytest.raises(InputError, match=r"^reset_mask: .* call reset\(\) without it$"):
        ours.reset(seed=5, options={"reset_mask": some})
    assert_same(ours.step(still), untouched.step(still))
    ours.close()
    untouched.close()


@pytest.mark.parametrize(
    "wrap", [RecordEpisodeStatistics, NormalizeReward, DictInfoToList, ClipAction]
)
def test_wrappers_of_gymnasium_do_with_it_what_they_do_with_sync_vector_env(wrap) -> None:
    ours, theirs = wrap(batch("Hopper-v5").gymnasium()), wrap(sync("Hopper-v5", {}))
    assert_same(ours.reset(), theirs.reset(seed=SEED))
    for action in actions(theirs, 60):
        assert_same(ours.step(action), theirs.step(action))
    ours.close()
    theirs.close()


def test_gymnasium_view_says_about_itself_what_sync_vector_env_says() -> None:
    env = batch("HalfCheetah-v5")
    view, theirs = env.gymnasium(), sync("HalfCheetah-v5", {})
    assert isinstance(view, GymVectorEnv)
    assert isinstance(view, VectorEnv)
    assert view.unwrapped.tensor_env is env
    assert view.num_envs == N
    for name in ("observation_space", "action_space"):
        assert getattr(view, name) == getattr(theirs, name)
        assert getattr(view, f"single_{name}") == getattr(theirs, f"single_{name}")
    assert view.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert repr(view) == f"GymVectorEnv(HalfCheetah-v5, num_envs={N})"
    view.close()
    theirs.close()
