"""Whether demonstrated actions do what actions do, where the answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from l2l_gail.gail.action_effects import Recording, amiss

EFFECTS = np.array([[1.0, -0.5, 0.0], [0.0, 0.7, 1.2]])


def steps(policy: Callable[[np.ndarray], np.ndarray], noise: float, n: int = 1000) -> Recording:
    """A linear system that actions push along ``EFFECTS``, with a small disturbance."""
    rng = np.random.default_rng(0)
    obs = [np.zeros(3)]
    acts = []
    for _ in range(n):
        acts.append(policy(obs[-1]) + noise * rng.normal(size=2))
        obs.append(0.9 * obs[-1] + acts[-1] @ EFFECTS + 0.1 * rng.normal(size=3))
    states = np.array(obs)
    return Recording(states[:-1], np.array(acts), states[1:])


def curved(obs: np.ndarray) -> np.ndarray:
    return -np.sin(2 * obs[:2])


def straight(obs: np.ndarray) -> np.ndarray:
    return -0.3 * obs[:2]


HERE = steps(lambda obs: np.zeros(2), 0.6)


def changed(fault: str, found: Recording) -> Recording:
    obs, acts, after = found.obs, found.acts, found.next_obs
    if fault == "opposite":
        return Recording(obs, -acts, after)
    if fault == "second opposite":
        return Recording(obs, acts * [1, -1], after)
    if fault == "actions late":
        return Recording(obs[1:], acts[:-1], after[1:])
    assert fault == "observations late"
    return Recording(obs[:-1], acts[1:], after[:-1])


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_each_fault_is_named_and_a_sound_recording_is_not(noise: float) -> None:
    found = steps(curved, noise)
    assert amiss(found, HERE) == []
    for fault, text in (
        ("opposite", "to have the opposite sign"),
        ("second opposite", "to have the opposite sign"),
        ("actions late", "to be one step late beside the observations"),
        ("observations late", "to be one step early beside the observations"),
    ):
        assert any(text in said for said in amiss(changed(fault, found), HERE)), fault


def test_of_actions_that_follow_from_the_observation_nothing_is_said() -> None:
    assert amiss(changed("opposite", steps(straight, 0.0)), HERE) == []


def test_of_few_steps_and_of_actions_without_effect_nothing_is_said() -> None:
    found = changed("opposite", steps(curved, 0.2))
    assert amiss(Recording(found.obs[:150], found.acts[:150], found.next_obs[:150]), HERE) == []
    still = Recording(HERE.obs, HERE.acts, HERE.obs)
    assert amiss(found, still) == []
    assert amiss(Recording(found.obs, found.acts, found.obs), HERE) == []
    assert amiss(Recording(found.obs, np.zeros_like(found.acts), found.next_obs), HERE) == []
    broken = Recording(HERE.obs, HERE.acts, np.where(HERE.next_obs > 2, np.nan, HERE.next_obs))
    assert np.isnan(broken.next_obs).any()
    assert amiss(found, broken) == []
