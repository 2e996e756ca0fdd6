"""Imitating states alone: a discriminator of ``(s, s')``, and what cannot do without actions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import train_gail
from l2l_gail import GAIL
from l2l_gail.comparison import collect
from l2l_gail.core import Adam
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.finding_runs import find_runs
from l2l_gail.gail import DiscriminatorConfig, ModuleDiscriminator, TanhDiscriminator
from l2l_gail.gail.behaviour_cloning import behaviour_cloning
from tests.gail.support import TIME_LIMIT, Walk, short_run, walk_demos, walk_envs

TRANSITIONS = DiscriminatorConfig(judges="state_transition", batch_size=32)


def states_alone(n_episodes: int = 3) -> Demonstrations:
    return dataclasses.replace(walk_demos(n_episodes), acts=None, rews=None, expert_return=None)


def make_gail(demos: Demonstrations | None = None, **kwargs: Any) -> GAIL:
    kwargs = {"discriminator": TRANSITIONS, "n_steps": 16, "batch_size": 16, "seed": 0} | kwargs
    return GAIL("MlpPolicy", walk_envs(), demos or states_alone(), device="cpu", **kwargs)


def test_inputs_are_both_states_normalised_alike() -> None:
    discriminator = TanhDiscriminator(
        Walk.observation_space, Walk.action_space, (4,), judges="state_transition"
    )
    discriminator.statistics.set(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    obs, after = torch.tensor([[3.0, 2.0]]), torch.tensor([[1.0, 6.0]])
    inputs = discriminator.inputs(obs, None, after)
    torch.testing.assert_close(inputs, torch.tensor([[1.0, 0.0, 0.0, 1.0]]), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(
        discriminator(obs, next_obs=after), discriminator.logits_expert_is_high(inputs)
    )
    (slope,) = torch.autograd.grad(
        discriminator.logits_expert_is_high(inputs.requires_grad_()).sum(), inputs
    )
    torch.testing.assert_close(discriminator.input_gradient(inputs), slope)


class Difference(nn.Module):
    """The logit is how far the first entry has moved."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        return self.scale * (next_obs - obs)[:, 0]


def test_a_module_of_ones_own_gets_both_states() -> None:
    discriminator = ModuleDiscriminator(
        Walk.observation_space, Walk.action_space, Difference(), judges="state_transition"
    )
    obs, after = torch.zeros(3, 2), torch.tensor([[1.0, 9.0], [2.0, 9.0], [3.0, 9.0]])
    moved = discriminator(obs, None, after)
    torch.testing.assert_close(moved / moved[0], torch.tensor([1.0, 2.0, 3.0]))


def test_the_policys_next_states_are_those_that_its_actions_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_gail()
    seen = []
    own = model.discriminator.rows

    def spy(obs: Tensor, acts: Tensor | None = None, next_obs: Tensor | None = None) -> Tensor:
        seen.append((obs, acts, next_obs))
        return own(obs, acts, next_obs)

    monkeypatch.setattr(model.discriminator, "rows", spy)
    model.learn(32)
    (expert_obs, no_acts, expert_after), (obs, acts, after) = seen
    assert no_acts is None
    torch.testing.assert_close(expert_after[:, 0] - expert_obs[:, 0], torch.full((24,), 0.5))
    low, high = float(Walk.action_space.low[0]), float(Walk.action_space.high[0])
    assert len(obs) == 32 > TIME_LIMIT  # resets in between are no transitions
    torch.testing.assert_close(
        after[:, 0] - obs[:, 0], acts[:, 0].clamp(low, high), rtol=1e-4, atol=1e-4
    )


def test_where_next_states_are_not_known_they_are_those_that_followed() -> None:
    model = make_gail(dataclasses.replace(states_alone(), next_obs=None))
    model.learn(32)
    assert model._expert_rows.shape == (3 * (TIME_LIMIT - 1), 4)


@pytest.mark.slow
def test_the_discriminator_tells_the_experts_steps_from_others() -> None:
    model = make_gail(states_alone(20), learning_rate=0.0, rule=Adam(1e-2))
    model.learn(640)
    states = torch.as_tensor(walk_demos(20).obs)
    moves = torch.tensor([1.0, 10.0])
    with torch.no_grad():
        logits = [
            model.discriminator(states, next_obs=states + d * moves) for d in (0.5, 0.0, -0.5)
        ]
    assert (logits[0] > logits[1]).all()
    assert (logits[1] > logits[2]).all()


@pytest.mark.slow
def test_the_policy_learns_the_experts_steps_from_states() -> None:
    model = make_gail(
        states_alone(20), n_steps=64, batch_size=64, learning_rate=3e-3, rule=Adam(3e-3),
        discriminator=dataclasses.replace(TRANSITIONS, reward="airl"),
    )  # fmt: skip
    states = walk_demos(20).obs
    before = np.abs(model.predict(states, deterministic=True)[0] - 0.5).mean()
    model.learn(8_000)
    after = np.abs(model.predict(states, deterministic=True)[0] - 0.5).mean()
    assert after < 0.3 * before


def test_a_saved_model_judges_what_it_judged(tmp_path: Path) -> None:
    model = make_gail()
    model.save(tmp_path / "model.zip")
    loaded = GAIL.load(tmp_path / "model.zip", walk_envs(), demonstrations=states_alone())
    assert loaded.discriminator.judges == "state_transition"
    loaded.learn(32)


def test_what_needs_actions_refuses_states_alone() -> None:
    with pytest.raises(InputError, match="--judges state_transition"):
        make_gail(discriminator=DiscriminatorConfig())
    with pytest.raises(InputError, match="a warm start by behaviour cloning needs actions"):
        make_gail(warm_start_steps=5)
    with pytest.raises(InputError, match="behaviour cloning needs actions"):
        behaviour_cloning(make_gail().policy, states_alone(), steps=1)
    with pytest.raises(InputError, match="judges 'states' is unknown"):
        DiscriminatorConfig(judges="states")


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    return [*short_run(tmp_path, states_alone()), "--method", "gail"]


def test_the_script_trains_on_states_alone_and_leaves_out_what_is_not_known(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="--judges state_transition"):
        train_gail.main(flags)
    with pytest.raises(InputError, match="a warm start by behaviour cloning needs actions"):
        train_gail.main([*flags, "--judges", "state_transition", "--warm-start-steps", "5"])
    assert not (tmp_path / "runs").exists()
    train_gail.main([*flags, "--judges", "state_transition"])
    (run,) = find_runs(tmp_path / "runs")
    assert not {"expert_return", "bc_return"} & run.summary.keys()
    assert run.summary["random_return"] == 0.0
    printed = capsys.readouterr().out
    assert "3 demonstrations, 64 steps a run" in printed
    assert "behaviour cloning" not in printed
    (section,) = collect([run])
    assert section.finished[0].normalised_finals is None


def test_the_script_takes_every_so_many_th_step(flags: list[str], tmp_path: Path) -> None:
    train_gail.main([*flags, "--judges", "state_transition", "--demo-every", "3"])
    (run,) = find_runs(tmp_path / "runs")
    assert run.summary["config"]["demos.sha256"] == states_alone().subsample(3).digest
