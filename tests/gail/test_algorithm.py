"""GAIL and L2LGAIL as algorithms: the reward's way to the policy, equalities, save and load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize

import l2l_gail.core.trainer as core_trainer
from l2l_gail.core import (
    CoordinateMLP,
    L2LTrainer,
    MatrixRule,
    MetaMode,
    Muon,
    OptimisticAdam,
    PacedMatrixRule,
)
from l2l_gail.errors import InputError
from l2l_gail.gail import (
    GAIL,
    L2LGAIL,
    DiscriminatorConfig,
    RuleTraining,
    TanhDiscriminator,
    behaviour_cloning,
)
from l2l_gail.gail.config import DECAY_WITHOUT_PENALTY
from l2l_gail.gail.game import DiscriminatorGame
from tests.gail.models import (
    ROLLOUT,
    SMALL,
    assert_same_weights,
    default_rule,
    make,
    more,
    weights_of,
)
from tests.gail.support import ENV_ID, TIME_LIMIT, UNDECIDED, walk_demos, walk_envs


def test_time_limit_bootstraps_the_learned_reward_not_the_environments() -> None:
    """Three steps by hand; the environment pays 100 a step and its limit falls on the second."""
    model = make(n_steps=TIME_LIMIT + 1, gamma=0.9, gae_lambda=0.8)
    value, log2 = 2.0, np.log(2.0)
    with torch.no_grad():  # V is 2 everywhere, the discriminator is undecided everywhere
        model.policy.value_net.weight.zero_()
        model.policy.value_net.bias.fill_(value)
    updates = model.discriminator_updates
    updates.trainer.begin({k: torch.zeros_like(v) for k, v in updates.trainer.follower.items()})
    updates.update = lambda expert, policy: (torch.zeros(len(policy)), UNDECIDED)
    _, callback = model._setup_learn(1)
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, TIME_LIMIT + 1)

    buffer = model.rollout_buffer
    cut = TIME_LIMIT - 1  # the step that ended at the time limit
    rewards = np.full(TIME_LIMIT + 1, log2)
    rewards[cut] += 0.9 * value
    np.testing.assert_allclose(buffer.rewards, np.stack([rewards] * 2, axis=1), rtol=1e-6)
    # The last three steps: one inside the episode, the cut one, one of the next episode.
    after = log2 + 0.9 * value - value
    at_cut = log2 + 0.9 * value - value  # nothing after it counts: the next state is a new episode
    before = log2 + 0.9 * value - value + 0.9 * 0.8 * at_cut
    expected = [before, at_cut, after]
    for env in range(2):
        np.testing.assert_allclose(buffer.advantages[cut - 1 :, env], expected, rtol=1e-5)
        np.testing.assert_allclose(
            buffer.returns[cut - 1 :, env], np.array(expected) + value, rtol=1e-5
        )


def test_rewards_belong_to_their_own_transitions() -> None:
    model = make()
    _, callback = model._setup_learn(1)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    buffer = model.rollout_buffer
    ends = {(t, i) for t, i in buffer.time_limits.nonzero().tolist()}
    for t in range(16):
        for i in range(2):
            if (t, i) in ends:
                continue
            obs, act = buffer.observations[t, i][None], buffer.actions[t, i][None]
            with torch.no_grad():
                expected = torch.nn.functional.softplus(model.discriminator(obs, act)).item()
            assert buffer.rewards[t, i].item() == pytest.approx(expected, rel=1e-5)
    assert len(ends) == 2 * (16 // TIME_LIMIT)


def test_a_rule_that_does_not_learn_is_adam_bit_for_bit() -> None:
    training = RuleTraining(meta_learning_rate=0.0, holdout_fraction=0.25)
    adam = make(GAIL, rule_training=training).learn(3 * ROLLOUT)
    frozen = make(L2LGAIL, rule_training=training, credit=None).learn(3 * ROLLOUT)
    assert adam.num_timesteps == frozen.num_timesteps == 3 * ROLLOUT
    assert_same_weights(adam, frozen)


def test_the_rule_learns_and_changes_the_training() -> None:
    frozen = make(L2LGAIL, rule_training=RuleTraining(meta_learning_rate=0.0))
    frozen.learn(3 * ROLLOUT)
    learned = make(L2LGAIL, rule_training=RuleTraining(meta_every=1))
    before = {
        k: v.clone() for k, v in learned.discriminator_updates.trainer.rule.named_parameters()
    }
    learned.learn(3 * ROLLOUT)
    after = dict(learned.discriminator_updates.trainer.rule.named_parameters())
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert not torch.equal(
        weights_of(frozen)["disc.layers.0.weight"], weights_of(learned)["disc.layers.0.weight"]
    )


@pytest.mark.parametrize("learned", [{"learn_network": False}, {"learn_step": False}])
def test_parts_of_the_rule_can_be_left_out(learned: dict[str, bool]) -> None:
    model = make(L2LGAIL, rule=CoordinateMLP(1e-3, **learned))
    model.learn(2 * ROLLOUT)
    rule = model.discriminator_updates.trainer.rule
    assert (rule.log_step.item() != 0) == ("learn_step" not in learned)
    assert bool(rule.w3.any()) == ("learn_network" not in learned)


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_every_update_goes_through_the_core(
    cls: type[GAIL], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"unroll": 0, "step": 0}
    unroll, step = core_trainer.unroll, L2LTrainer.step

    def counted_unroll(*args: Any, **kwargs: Any) -> Any:
        calls["unroll"] += 1
        return unroll(*args, **kwargs)

    def counted_step(self: L2LTrainer, *args: Any, **kwargs: Any) -> Any:
        calls["step"] += 1
        return step(self, *args, **kwargs)

    monkeypatch.setattr(core_trainer, "unroll", counted_unroll)
    monkeypatch.setattr(L2LTrainer, "step", counted_step)
    make(cls).learn(2 * ROLLOUT)
    assert calls == {"unroll": 6, "step": 6}


@pytest.mark.parametrize(("mode", "more_than_gail"), [("next", 0), ("reverse", 3)])
def test_what_training_the_rule_costs_in_gradients(
    monkeypatch: pytest.MonkeyPatch, mode: MetaMode, more_than_gail: int
) -> None:
    spent = []
    loss = DiscriminatorGame.follower_loss

    def counted(self: DiscriminatorGame, *args: Any) -> Any:
        spent.append(torch.is_grad_enabled())
        return loss(self, *args)

    monkeypatch.setattr(DiscriminatorGame, "follower_loss", counted)
    make(GAIL).learn(ROLLOUT)
    by_gail = sum(spent)
    spent.clear()
    training = RuleTraining(meta_every=1, meta_mode=mode)
    make(L2LGAIL, rule_training=training).learn(ROLLOUT)
    # One more shows, at every eighth rollout, what the rule does.
    assert sum(spent) == by_gail + more_than_gail + 1
    assert by_gail == 3


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_updates_improve_the_discriminator(cls: type[GAIL]) -> None:
    model = make(cls, discriminator=more(updates_per_rollout=60), rule=default_rule(cls, 1e-2))
    updates = model.discriminator_updates
    generator = torch.Generator().manual_seed(0)
    expert = torch.randn(64, 3, generator=generator) + torch.tensor([1.0, 0.0, 0.0])
    policy = torch.randn(64, 3, generator=generator)
    batch = updates._batch(expert, policy, generator)
    before = updates.trainer.game.follower_loss(updates.trainer.follower, batch)
    logits, log = updates.update(expert, policy)
    torch.testing.assert_close(logits, model.discriminator.logits_expert_is_high(policy))
    after = updates.trainer.game.follower_loss(updates.trainer.follower, batch)
    assert after < before
    assert log["disc/logit_expert"] > log["disc/logit_policy"]


def test_no_demos_pays_one_a_step() -> None:
    model = make(discriminator=more(reward="constant"))
    _, callback = model._setup_learn(1)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    buffer = model.rollout_buffer
    assert buffer.time_limits.any()
    assert (buffer.rewards[~buffer.time_limits] == 1.0).all()


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_equal_seeds_give_equal_models(cls: type[GAIL]) -> None:
    assert_same_weights(make(cls).learn(2 * ROLLOUT), make(cls).learn(2 * ROLLOUT))


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_a_loaded_model_acts_alike_and_trains_on(cls: type[GAIL], tmp_path: Path) -> None:
    model = make(cls)
    model.learn(2 * ROLLOUT)
    model.save(tmp_path / "model")
    raw = np.array([[0.3, 6.0], [-2.0, -17.0]], np.float32)

    alone = cls.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(
        alone.predict(raw, deterministic=True)[0], model.predict(raw, deterministic=True)[0]
    )
    assert_same_weights(alone, model)
    alone.set_env(walk_envs())
    with pytest.raises(InputError, match="demonstrations"):
        alone.learn(ROLLOUT)

    again = cls.load(tmp_path / "model", env=walk_envs(), demonstrations=walk_demos(), device="cpu")
    trainer, saved = again.discriminator_updates.trainer, model.discriminator_updates.trainer
    assert trainer.steps == saved.steps == 6
    assert trainer.state["t"] == 6
    for name, value in saved.rule.state_dict().items():
        assert torch.equal(trainer.rule.state_dict()[name], value)
    again.learn(ROLLOUT, reset_num_timesteps=False)
    assert again.num_timesteps == 3 * ROLLOUT
    assert trainer.steps == 9


def test_observation_statistics_are_the_demonstrations() -> None:
    model, demos = make(), walk_demos()
    statistics = model.policy.features_extractor.statistics
    np.testing.assert_allclose(statistics.mean.numpy(), demos.obs.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics.scale.numpy(), 1 / (demos.obs.std(0) + 1e-3), rtol=1e-5)
    for name, value in model.discriminator.statistics.state_dict().items():
        assert torch.equal(value, statistics.state_dict()[name])


def test_a_warm_start_happens_once(tmp_path: Path) -> None:
    model = make(warm_start_steps=20).learn(0)
    before = weights_of(model)
    model.save(tmp_path / "model")
    loaded = GAIL.load(tmp_path / "model", env=walk_envs(), demonstrations=walk_demos())
    for each in (model, loaded):
        after = weights_of(each.learn(0))
        assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_policy_that_leaves_the_finite_numbers_within_an_update_is_said_in_one_line() -> None:
    model = make(learning_rate=1e6, policy_pace=0.0)
    with pytest.raises(InputError, match=r"the policy's .* is not finite") as caught:
        model.learn(40 * ROLLOUT)
    assert "\n" not in str(caught.value)


def test_behaviour_cloning_finds_the_experts_action_and_can_warm_start() -> None:
    model = make()
    untouched = {k: v.clone() for k, v in model.policy.state_dict().items() if "value" in k}
    error = behaviour_cloning(model.policy, walk_demos(), steps=300, batch_size=32)
    assert error < 1e-3
    actions = model.predict(walk_demos().obs, deterministic=True)[0]
    np.testing.assert_allclose(actions, 0.5, atol=0.1)
    for name, value in untouched.items():
        assert torch.equal(model.policy.state_dict()[name], value)

    warm = make(warm_start_steps=300)
    warm.policy.optimizer.param_groups[0]["lr"] = 0.0
    warm.lr_schedule = lambda _: 0.0
    warm.learn(ROLLOUT)
    np.testing.assert_allclose(warm.predict(walk_demos().obs, deterministic=True)[0], 0.5, atol=0.1)


@pytest.mark.parametrize(
    ("settings", "rule", "decay"),
    [
        ({}, None, None),
        ({}, MatrixRule(), None),
        ({"penalty": "r1", "penalty_weight": 0.1}, None, None),
        ({"penalty_weight": 0.0}, None, DECAY_WITHOUT_PENALTY),
        ({"penalty": "none"}, None, DECAY_WITHOUT_PENALTY),
        ({"penalty": "none"}, Muon(1e-3, decay=0.0), 0.0),
        ({"penalty": "none"}, MatrixRule(decay=1.0), 1.0),
        ({"penalty": "none"}, MatrixRule(1e-2), DECAY_WITHOUT_PENALTY),
        ({"penalty": "none"}, PacedMatrixRule(), None),
    ],
)
@pytest.mark.parametrize("cls", [GAIL, L2LGAIL])
def test_without_a_penalty_the_rule_bounds_the_discriminator(
    cls: type[GAIL], settings: dict[str, Any], rule: Any, decay: float | None, tmp_path: Path
) -> None:
    config = DiscriminatorConfig(**settings)
    given = rule and rule.decay
    model = cls("MlpPolicy", walk_envs(), walk_demos(), rule=rule, discriminator=config)
    assert model.rule.decay == model.rule.config.get("decay") == decay
    model.save(tmp_path / "model")
    assert cls.load(tmp_path / "model").rule.decay == decay
    assert rule is None or rule.decay == given  # what was given is as it was


def test_what_does_not_fit_is_refused_before_training() -> None:
    with pytest.raises(InputError, match="needs demonstrations"):
        GAIL("MlpPolicy", walk_envs())
    with pytest.raises(InputError, match="GAIL needs an environment"):
        GAIL("MlpPolicy", None, walk_demos())
    with pytest.raises(InputError, match="Gymnasium's CartPoleVectorEnv: give a VecEnv"):
        GAIL("MlpPolicy", gymnasium.make_vec("CartPole-v1", 2), walk_demos())
    with pytest.raises(InputError, match="of type int, has no observation_space"):
        GAIL("MlpPolicy", 3, walk_demos())
    with pytest.raises(InputError, match="action"):
        GAIL("MlpPolicy", walk_envs(), walk_demos(act_dim=2))
    with pytest.raises(InputError, match="Hopper-v5"):
        GAIL("MlpPolicy", walk_envs(), walk_demos(env_id="Hopper-v5"))
    with pytest.raises(InputError, match="norm_obs=False"):
        GAIL("MlpPolicy", VecNormalize(walk_envs()), walk_demos())
    with pytest.raises(InputError, match=r"observations of width 2, CartPole-v1 of shape \(4,\)"):
        GAIL("MlpPolicy", "CartPole-v1", walk_demos(env_id=None))
    with pytest.warns(UserWarning, match="environment"):
        GAIL("MlpPolicy", walk_envs(), walk_demos(env_id=None), n_steps=16, batch_size=16)


def test_a_vec_normalize_of_rewards_alone_is_welcome() -> None:
    env = VecNormalize(walk_envs(), norm_obs=False)
    model = GAIL("MlpPolicy", env, walk_demos(), n_steps=16, batch_size=16, discriminator=SMALL)
    model.learn(ROLLOUT)
    assert model.num_timesteps == ROLLOUT


def test_an_id_a_file_and_a_callback_work_as_in_sb3(tmp_path: Path) -> None:
    seen = []
    walk_demos().save(tmp_path / "walk.npz")
    model = L2LGAIL(
        "MlpPolicy",
        ENV_ID,
        tmp_path / "walk.npz",
        rule=MatrixRule(),
        n_steps=16,
        batch_size=16,
        discriminator=SMALL,
    )
    model.learn(32, callback=lambda locals_, globals_: seen.append(1) or True)
    assert len(seen) == 32
    assert model.ep_info_buffer[0]["r"] == pytest.approx(100.0 * TIME_LIMIT)  # the true return


def test_load_takes_what_the_constructor_takes(tmp_path: Path) -> None:
    make(L2LGAIL).save(tmp_path / "model")
    walk_demos().save(tmp_path / "walk.npz")
    model = L2LGAIL.load(
        tmp_path / "model",
        env=walk_envs(),
        demonstrations=tmp_path / "walk.npz",
        discriminator=more(updates_per_rollout=5),
        rule_training=RuleTraining(meta_every=2),
        device="cpu",
    )
    model.learn(ROLLOUT)
    assert model.discriminator_updates.trainer.steps == 5
    assert model.discriminator_updates.trainer.meta_every == 2


def test_a_later_environment_is_checked_too() -> None:
    model = make()
    model.set_env(VecNormalize(walk_envs()))
    with pytest.raises(InputError, match="norm_obs=False"):
        model.learn(ROLLOUT)


def test_float64_actions_and_own_policies_work() -> None:
    class Own(ActorCriticPolicy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, features_extractor_class=FlattenExtractor, **kwargs)

    discriminator = TanhDiscriminator(
        gymnasium.spaces.Box(-1, 1, (2,), np.float64), gymnasium.spaces.Box(-1, 1, (1,), np.float64)
    )
    assert discriminator(torch.zeros(3, 2), torch.zeros(3, 1)).dtype == torch.float32
    model = GAIL(Own, walk_envs(), walk_demos(), n_steps=16, batch_size=16, discriminator=SMALL)
    model.learn(ROLLOUT)
    assert isinstance(model.policy.features_extractor, FlattenExtractor)


@pytest.mark.parametrize("share", [0.001, 0.25, 0.999])
def test_the_rule_is_trained_on_what_the_discriminator_never_saw(share: float) -> None:
    training = RuleTraining(holdout_fraction=share, meta_mode="reverse")
    model = make(L2LGAIL, rule_training=training)
    rows = torch.arange(ROLLOUT).float()[:, None]
    seen, held_out = model.discriminator_updates._split(rows)
    assert len(held_out) == {0.001: 1, 0.25: 8, 0.999: ROLLOUT - 1}[share]
    assert sorted(torch.cat([seen, held_out]).flatten().tolist()) == list(range(ROLLOUT))
    steps = held_out.flatten().diff().remainder(ROLLOUT)
    assert (steps == 1).all()  # one stretch, not single steps


def test_meta_batches_are_drawn_only_when_the_rule_learns() -> None:
    training = RuleTraining(meta_every=4, meta_mode="reverse")
    model = make(L2LGAIL, rule_training=training)
    stream = model.discriminator_updates._meta_stream
    before = stream.get_state()
    model.learn(ROLLOUT)  # 3 updates
    assert torch.equal(stream.get_state(), before)
    model.learn(ROLLOUT, reset_num_timesteps=False)
    assert not torch.equal(stream.get_state(), before)


def test_foreign_parameters_are_refused() -> None:
    adam = make()
    optimistic = make(rule=OptimisticAdam(1e-3))
    with pytest.raises(ValueError, match="OptimisticAdam"):
        optimistic.set_parameters(adam.get_parameters())
    wider = make(discriminator=more(hidden_sizes=(9, 8)))
    saved = adam.discriminator_updates.state_dict()
    with pytest.raises(ValueError, match="shapes"):
        wider.discriminator_updates.load_state_dict(saved)
    adam.set_parameters(adam.get_parameters())
    assert adam.discriminator_updates.trainer.follower is not saved["trainer"]["follower"]


def test_unfit_spaces_and_policies_are_refused_at_once() -> None:
    with pytest.raises(InputError, match="squashing or gSDE"):
        make(use_sde=True, warm_start_steps=5)
    with pytest.raises(InputError, match="observation space is Tuple"):
        GAIL("MlpPolicy", "Blackjack-v1", walk_demos())
