"""Training an expert: which checkpoint it is, and going on where it was interrupted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize

from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.errors import InputError
from l2l_gail.evaluation import Evaluation, evaluate_policy_return
from l2l_gail.files import save_tensors
from l2l_gail.recording import expert as expert_module
from l2l_gail.recording.expert import (
    Checkpoint,
    ExpertRecipe,
    make_expert_model,
    plain_policy,
    recipe_for,
    train_expert,
)
from l2l_gail.recording.partial import PartialExpert, partial_policy

TINY = ExpertRecipe(n_envs=4, n_steps=64, batch_size=64, n_epochs=2)


@pytest.mark.slow
def test_expert_is_the_best_checkpoint() -> None:
    def train() -> Any:
        return train_expert(
            "InvertedPendulum-v5",
            total_timesteps=1500,
            seed=0,
            selection_seeds=range(100, 104),
            recipe=TINY,
            n_checkpoints=4,
        )

    expert = train()
    steps = [checkpoint.steps for checkpoint in expert.checkpoints]
    assert steps == sorted(set(steps))
    assert steps[-1] == 1536  # whole rollouts of 256
    assert expert.best.mean_return == max(point.mean_return for point in expert.checkpoints)
    again = evaluate_policy_return(expert.policy, "InvertedPendulum-v5", range(100, 104))
    assert again.mean_return == expert.best.mean_return
    same = train()
    assert same.checkpoints == expert.checkpoints
    np.testing.assert_array_equal(same.policy.weights[0], expert.policy.weights[0])


def test_expert_is_not_the_last_policy_if_an_earlier_one_was_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, scores = [], iter([5.0, 9.0, 7.0, 1.0, 0.0])

    def scripted(policy: MlpPolicy, *_: object) -> Evaluation:
        seen.append(policy)
        return Evaluation(np.array([next(scores)]), np.array([1]))

    monkeypatch.setattr(expert_module, "evaluate_policy_return", scripted)
    expert = train_expert(
        "InvertedPendulum-v5",
        total_timesteps=1280,
        seed=0,
        selection_seeds=[1],
        recipe=TINY,
        n_checkpoints=5,
    )
    assert expert.best == Checkpoint(steps=512, mean_return=9.0)
    assert expert.policy is seen[1]
    assert [point.mean_return for point in expert.checkpoints] == [5.0, 9.0, 7.0, 1.0, 0.0]
    # Policies are copies: training on does not change the one that was kept.
    assert not np.array_equal(seen[1].weights[0], seen[2].weights[0])
    assert not np.array_equal(seen[1].obs_mean, seen[2].obs_mean)


def test_expert_model_has_the_recipe() -> None:
    model, venv = make_expert_model("Hopper-v5", ExpertRecipe(), seed=0)
    assert (venv.num_envs, model.n_steps, model.batch_size, model.n_epochs) == (16, 128, 128, 10)
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == [3e-4, 1.5e-4, 0.0]
    assert (model.gamma, model.gae_lambda, model.clip_range(1.0)) == (0.99, 0.95, 0.2)
    assert (venv.norm_obs, venv.norm_reward, venv.gamma) == (True, True, 0.99)
    shapes = [tuple(p.shape) for p in model.policy.mlp_extractor.policy_net.parameters()]
    assert shapes == [(64, 11), (64,), (64, 64), (64,)]
    assert isinstance(model.policy.mlp_extractor.policy_net[1], torch.nn.Tanh)


def test_plain_policy_acts_as_the_model_in_its_environment() -> None:
    model, venv = make_expert_model("Hopper-v5", TINY, seed=0)
    venv.obs_rms.mean, venv.obs_rms.var = np.linspace(-1, 1, 11), np.linspace(0.01, 9, 11)
    with torch.no_grad():
        model.policy.action_net.weight.mul_(100)
    obs = np.random.default_rng(0).normal(size=(20, 11)) * 5
    expected, _ = model.predict(venv.normalize_obs(obs), deterministic=True)
    assert expected.std() > 0.1
    np.testing.assert_allclose(np.clip(plain_policy(model, venv)(obs), -1, 1), expected, atol=1e-5)


def test_expert_leaves_torch_threads_as_they_were() -> None:
    torch.set_num_threads(2)
    train_expert("InvertedPendulum-v5", total_timesteps=1, seed=0, selection_seeds=[1], recipe=TINY)
    assert torch.get_num_threads() == 2


def test_tasks_have_recipes_of_their_own() -> None:
    assert recipe_for("Ant-v5") == ExpertRecipe(
        n_envs=32, batch_size=256, learning_rate=2e-4, log_std_init=-1.5
    )
    fast = ExpertRecipe(
        n_envs=64, n_steps=32, batch_size=256, learning_rate=1e-3, log_std_init=-0.5
    )
    assert recipe_for("Walker2d-v5") == fast
    assert recipe_for("HalfCheetah-v4") == dataclasses.replace(fast, gamma=0.98)
    assert recipe_for("Hopper-v5") == recipe_for("my_tasks:Slider-v0") == ExpertRecipe()


def test_what_goes_on_is_the_model_that_was_kept(tmp_path: Path) -> None:
    def make(seed: int = 0) -> tuple[Any, VecNormalize]:
        return make_expert_model("InvertedPendulum-v5", TINY, seed)

    kept = PartialExpert(tmp_path / "a.partial.pt", {"seed": 0})
    model, venv = make()
    model.learn(512)
    best = plain_policy(model, venv)
    kept.save(model, venv, best, [(256, 1.5), (512, 2.5)])
    fresh, fresh_venv = make()
    policy, checkpoints = kept.restore(fresh, fresh_venv)
    assert checkpoints == [(256, 1.5), (512, 2.5)]
    assert fresh.num_timesteps == 512
    obs = np.random.default_rng(0).normal(size=(9, 4))
    np.testing.assert_array_equal(policy(obs), best(obs))
    np.testing.assert_array_equal(plain_policy(fresh, fresh_venv)(obs), best(obs))
    assert fresh_venv.ret_rms.var == venv.ret_rms.var
    moments = zip(model.policy.optimizer.state.values(), fresh.policy.optimizer.state.values(),
                  strict=True)  # fmt: skip
    assert all(torch.equal(a["exp_avg"], b["exp_avg"]) for a, b in moments)
    fresh.learn(256, reset_num_timesteps=False)
    assert fresh.num_timesteps == 768
    other, other_venv = make_expert_model("Hopper-v5", TINY, 0)
    with pytest.raises(InputError, match="does not fit"):
        kept.restore(other, other_venv)


def test_a_kept_expert_that_is_damaged_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.partial.pt"
    for content in ({"format": "l2l_gail.partial_expert", "settings": {}}, {"format": "x"}, [1]):
        path.unlink(missing_ok=True)
        save_tensors(path, content)
        with pytest.raises(InputError, match=r"does not fit|is no expert in training"):
            partial_policy(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged"):
        partial_policy(path)
