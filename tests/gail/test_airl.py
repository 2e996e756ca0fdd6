"""AIRL: its logit against formulas and a peer, and its training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from torch import Tensor

from l2l_gail.core import build_rule
from l2l_gail.errors import InputError
from l2l_gail.gail import (
    AIRL,
    GAIL,
    AIRLDiscriminator,
    DiscriminatorConfig,
    LearnedCredit,
)
from tests.gail.models import ROLLOUT, SMALL, make, weights_of
from tests.gail.support import walk_demos, walk_envs
from tests.gail.worlds import recorded

OBS = spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACT = spaces.Box(-1.0, 1.0, (2,), np.float32)


def transitions(n: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "obs": torch.randn(n, 3, generator=generator),
        "acts": 2 * torch.rand(n, 2, generator=generator) - 1,
        "next_obs": torch.randn(n, 3, generator=generator),
        "terminated": torch.arange(n) % 3 == 0,
        "log_probs": torch.randn(n, generator=generator),
    }


def network(**kwargs: Any) -> AIRLDiscriminator:
    torch.manual_seed(0)
    return AIRLDiscriminator(OBS, ACT, (8, 5), **kwargs)


def by_hand(layers: torch.nn.ModuleList, x: Tensor) -> np.ndarray:
    out = x.double().numpy()
    for i, layer in enumerate(layers):
        out = out @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        if i < len(layers) - 1:
            out = np.tanh(out)
    return out[:, 0]


@pytest.mark.parametrize("state_only", [False, True])
def test_the_logit_is_the_shaped_reward_minus_the_policys_density(state_only: bool) -> None:
    own, t = network(gamma=0.9, state_only_reward=state_only), transitions()
    g = by_hand(own.g, t["obs"] if state_only else torch.cat([t["obs"], t["acts"]], 1))
    shaping = 0.9 * np.where(t["terminated"], 0.0, by_hand(own.h, t["next_obs"]))
    expected = g + shaping - by_hand(own.h, t["obs"]) - t["log_probs"].double().numpy()
    logits = own.logits_expert_is_high(own.transition_inputs(**t))
    np.testing.assert_allclose(logits.detach(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(own.reward(t["obs"], t["acts"]).detach(), g, rtol=1e-5, atol=1e-6)


def test_its_shaped_reward_is_that_of_imitation() -> None:
    reward_nets = pytest.importorskip("imitation.rewards.reward_nets")
    own, t = network(gamma=0.9), transitions()
    peer = reward_nets.BasicShapedRewardNet(
        OBS,
        ACT,
        reward_hid_sizes=(8, 5),
        potential_hid_sizes=(8, 5),
        discount_factor=0.9,
        activation=torch.nn.Tanh,
    )
    for mine, theirs in ((own.g, peer.base), (own.h, peer.potential)):
        linear = [m for m in theirs.modules() if isinstance(m, torch.nn.Linear)]
        for layer, other in zip(mine, linear, strict=True):
            other.load_state_dict(layer.state_dict())
    expected = peer(t["obs"], t["acts"], t["next_obs"], t["terminated"])
    found = own.shaped_reward(own.transition_inputs(**t))
    torch.testing.assert_close(found, expected)


def test_a_terminal_states_potential_is_zero_and_a_time_limits_is_not() -> None:
    own, t = network(), transitions()
    other = own.transition_inputs(**{**t, "next_obs": t["next_obs"] + 1.0})
    changed = own.shaped_reward(other) != own.shaped_reward(own.transition_inputs(**t))
    assert changed.tolist() == (~t["terminated"]).tolist()


def test_the_input_gradient_is_that_of_the_shaped_reward() -> None:
    own, t = network().double(), {k: v.double() for k, v in transitions().items()}
    inputs = own.transition_inputs(**t).double()
    gradient = own.input_gradient(inputs)
    assert gradient.shape == (6, 8)
    for column in range(8):
        step = torch.zeros_like(inputs)
        step[:, column] = 1e-6
        slope = (own.shaped_reward(inputs + step) - own.shaped_reward(inputs - step)) / 2e-6
        torch.testing.assert_close(gradient[:, column], slope, rtol=1e-6, atol=1e-8)


def test_what_is_logged_is_of_transitions_alone_on_both_sides() -> None:
    generator = torch.Generator().manual_seed(2)
    model = make(AIRL, discriminator=dataclasses.replace(SMALL, reward="logit"))
    own, updates = model.discriminator, model.discriminator_updates
    own.absorbing.data.fill_(50.0)  # a mean over stays in the absorbing state would show it
    updates.trainer.begin(own.weights())
    expert, policy = torch.rand(2, 20, own.in_dim, generator=generator)
    for rows in (expert, policy):
        rows[:, -2] = 0.0
        rows[4:, -2] = 1.0
    _, log = updates.update(expert, policy)
    for side, rows in (("expert", expert), ("policy", policy)):
        logits = own.logits_expert_is_high(rows[:4])
        assert logits.min().item() - 1e-4 <= log[f"disc/logit_{side}"] <= logits.max().item() + 1e-4
    assert log["disc/logit_expert"] < 10
    assert log["disc/entropy"] > 1e-3
    only_stays = expert.clone()
    only_stays[1:, -2] = 1.0  # a batch of 16 may miss the one transition
    for _ in range(20):
        _, log = updates.update(only_stays, policy)
        assert abs(log["disc/logit_expert"]) < 10


def make_airl(**kwargs: Any) -> AIRL:
    kwargs.setdefault("discriminator", SMALL)
    kwargs.setdefault("demonstrations", walk_demos())
    return AIRL(
        "MlpPolicy",
        walk_envs(),
        n_steps=16,
        batch_size=16,
        n_epochs=2,
        seed=0,
        device="cpu",
        **kwargs,
    )


def test_the_policy_is_paid_the_logit_of_its_own_transition() -> None:
    model = make_airl()
    _, callback = model._setup_learn(1)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    buffer, own = model.rollout_buffer, model.discriminator
    cut = buffer.time_limits
    assert cut.any()
    std = model.policy.log_std.exp()
    for t in range(16):
        for i in range(2):
            if cut[t, i]:  # its reward holds the value of the next state too
                continue
            obs, after = buffer.observations[t, i][None], buffer.final_obs[t, i][None]
            act = buffer.actions[t, i][None].clamp(-0.5, 1.0)
            with torch.no_grad():
                mean = model.policy.get_distribution(obs).mode()
                normal = torch.distributions.Normal(mean, std)
                f = (
                    by_hand(own.g, own.inputs(obs, act))
                    + model.gamma * by_hand(own.h, own.statistics(after))
                    - by_hand(own.h, own.statistics(obs))
                )
                expected = f - normal.log_prob(act).sum(1).numpy()
            assert buffer.rewards[t, i].item() == pytest.approx(expected.item(), abs=1e-4)


def test_a_termination_reaches_the_discriminator_and_a_time_limit_does_not() -> None:
    model = make_airl()
    _, callback = model._setup_learn(1)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    rows = model._rollout_rows(model.rollout_buffer)
    assert len(rows) == ROLLOUT
    assert not rows[:, -3:-1].any()  # the walk ends at its time limit only
    model.rollout_buffer.time_limits[:] = False
    rows = model._rollout_rows(model.rollout_buffer)
    alive = rows[:, -2] == 0
    expected = model.rollout_buffer.by_env(model.rollout_buffer.dones).float()
    assert torch.equal(rows[alive, -3], expected)
    assert len(rows) == ROLLOUT + 100 * expected.sum()


def test_the_demonstrations_rows_are_those_of_its_own_discriminator() -> None:
    model = make(AIRL, rule=build_rule("adam", lr=1e-3)).learn(ROLLOUT)
    rows = model.expert_rows()
    assert rows.shape[1] == model.discriminator.in_dim
    taken = model.discriminator.which_are_transitions(rows)
    demos = model.demonstrations
    assert demos is not None
    assert taken.sum() == len(demos)
    obs, acts = torch.as_tensor(demos.obs), torch.as_tensor(demos.acts)
    log_probs = model.policy.get_distribution(obs).log_prob(acts.clamp(-1, 1))
    assert torch.equal(rows[taken, -1], log_probs)


def test_a_termination_is_followed_by_as_many_stays_as_the_horizon_has_steps() -> None:
    t = transitions()
    for gamma, stays in ((0.9, 10), (0.0, 1), (0.99, 100), (0.999, 100), (1.0, 100)):
        own = network(gamma=gamma)
        inputs = own.transition_inputs(**t)
        padded = own.with_absorbing(inputs)
        assert len(padded) == 6 + 2 * stays
        assert torch.equal(padded[padded[:, -2] == 0], inputs)
        follow = (padded[:, -3] > 0).nonzero().flatten()
        assert follow.tolist() == [0, 3 + stays]
        for start in follow.tolist():
            after = padded[start + 1 : start + 1 + stays]
            assert (after[:, -2] == 1).all()
            assert not after[:, [*range(8), 8, 10]].any()


def test_thinned_demonstrations_stay_after_their_end_as_long_for_each_step_as_whole_ones() -> None:
    """With more of it on the expert's side an imitator would be paid to end its episodes."""
    whole = walk_demos()
    last = whole.episode_starts + whole.episode_lengths - 1
    terminals = np.zeros(len(whole), dtype=bool)
    terminals[last] = True
    whole = dataclasses.replace(whole, terminals=terminals, truncated=terminals & False)
    shares = []
    for demos in (whole, whole.subsample(3, seed=0)):
        model = make_airl(demonstrations=demos)
        model._setup_learn(1)
        rows = model._transition_rows(*model._expert)
        shares.append([(rows[:, column] > 0).double().mean().item() for column in (-2, -3)])
    assert shares[0] == shares[1]
    assert 0 < shares[0][1] < shares[0][0]


def test_the_logit_of_staying_is_one_learned_number_and_so_is_what_an_end_is_worth() -> None:
    own, t = network(gamma=0.9), transitions()
    with torch.no_grad():
        own.absorbing.fill_(-2.0)
    padded = own.with_absorbing(own.transition_inputs(**t))
    logits = own.logits_expert_is_high(padded)
    assert (logits[padded[:, -2] == 1] == -2.0).all()
    # sum over t >= 1 of 0.9^t times -2
    assert own.end_value.item() == pytest.approx(-2.0 * sum(0.9**k for k in range(1, 500)))
    slopes = own.input_gradient(padded)
    others = padded.clone()
    others[:, -2] = 0.0
    assert torch.equal(slopes, own.input_gradient(others))  # one state has no slope of its own


def test_a_termination_is_paid_what_it_is_worth() -> None:
    model = make_airl(gamma=0.9)
    _, callback = model._setup_learn(1)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    model.rollout_buffer.time_limits[:] = False  # as if the walk's ends were terminations
    own, logits = model.discriminator, model.discriminator.logits_of_rows
    model.discriminator_updates.update = lambda _, rows: (logits(rows).detach(), {})
    without, _ = model._learned_rewards(model.rollout_buffer)
    with torch.no_grad():
        own.absorbing.fill_(-3.0)
    paid, log = model._learned_rewards(model.rollout_buffer)
    assert log["disc/logit_absorbing"] == -3.0
    ended = model.rollout_buffer.by_env(model.rollout_buffer.dones)
    assert ended.any()
    torch.testing.assert_close(paid - without, ended * 0.9 / 0.1 * -3.0)


@pytest.mark.slow
def test_episodes_that_a_fall_ends_become_longer() -> None:
    """Without the absorbing state a quick fall pays best, and they become as short as can be."""
    model = AIRL(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 8, seed=0),
        recorded("CartPole-v1"),
        learning_rate=1e-3,
        seed=0,
        device="cpu",
    )
    model.learn(8192)
    lengths = [info["l"] for info in model.ep_info_buffer][-30:]
    assert np.mean(lengths) > 50  # 22 at random, 9 at the least


@pytest.mark.parametrize(
    ("rule", "kwargs"),
    [
        ("adam", {"lr": 3e-3}),
        ("muon", {"lr": 1e-2}),
        ("coordinate_mlp", {"lr": 3e-3}),
        ("matrix_rule", {"lr": 1e-2}),
    ],
)
def test_every_kind_of_rule_trains_it(rule: str, kwargs: dict[str, float]) -> None:
    model = make_airl(rule=build_rule(rule, **kwargs))
    before = {name: value.clone() for name, value in weights_of(model).items()}
    learned = {name: value.clone() for name, value in model.rule.named_parameters()}
    model.learn(4 * ROLLOUT)
    after = weights_of(model)
    own = [name for name in after if name.startswith(("disc.g.", "disc.h."))]
    assert len(own) == 12
    assert all(not torch.equal(before[name], after[name]) for name in own)
    assert all(bool(value.isfinite().all()) for value in after.values())
    trained = dict(model.discriminator_updates.trainer.rule.named_parameters())
    assert all(not torch.equal(learned[name], trained[name]) for name in learned)


def test_save_and_load_give_the_same_reward(tmp_path: Path) -> None:
    model = make_airl(state_only_reward=True, gamma=0.9).learn(2 * ROLLOUT)
    model.save(tmp_path / "airl")
    again = AIRL.load(tmp_path / "airl", device="cpu")
    assert again.discriminator.state_only_reward
    assert again.discriminator.gamma == 0.9
    obs, acts = torch.randn(5, 2), torch.rand(5, 1)
    assert torch.equal(again.discriminator.reward(obs, acts), model.discriminator.reward(obs, acts))
    again = AIRL.load(tmp_path / "airl", walk_envs(), demonstrations=walk_demos(), device="cpu")
    again.learn(ROLLOUT, reset_num_timesteps=False)
    assert again.num_timesteps == 3 * ROLLOUT


def test_a_model_of_gail_is_no_model_of_airl(tmp_path: Path) -> None:
    make(GAIL).save(tmp_path / "gail")
    with pytest.raises(InputError, match="gail"):
        AIRL.load(tmp_path / "gail", device="cpu")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"credit": LearnedCredit()}, "learned credit compares actions"),
        ({"discriminator": DiscriminatorConfig((8, 8), reward="fairl")}, "AIRL pays the logit"),
    ],
)
def test_what_would_not_be_airl_is_not_loaded(
    tmp_path: Path, kwargs: dict[str, Any], message: str
) -> None:
    make_airl().save(tmp_path / "airl")
    with pytest.raises(InputError, match=message):
        AIRL.load(tmp_path / "airl", device="cpu", **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"discriminator": DiscriminatorConfig(reward="dail")}, "AIRL pays the logit, not 'dail'"),
        (
            {"discriminator": DiscriminatorConfig(judges="state_transition")},
            "leave judges='state_transition' out",
        ),
        ({"credit": LearnedCredit()}, "learned credit compares actions"),
        ({"discriminator_network": torch.nn.Linear(1, 1)}, "brings its own discriminator"),
    ],
)
def test_what_would_not_be_airl_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_airl(**kwargs)
