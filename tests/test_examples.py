"""The example in which SAC imitates an expert, at small size."""

from __future__ import annotations

import importlib.util
import types
from pathlib import Path

import numpy as np
import pytest

from l2l_gail.demos.record import record_episodes
from l2l_gail.gail import LearnedReward
from l2l_gail.gail import reward_wrappers as wrappers

ROOT = Path(__file__).parent.parent


def example() -> types.ModuleType:
    path = ROOT / "examples" / "sac_imitation.py"
    spec = importlib.util.spec_from_file_location("sac_imitation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_scripted_expert_swings_the_pole_up_and_holds_it() -> None:
    demos = record_episodes(example().swing_up, "Pendulum-v1", range(20, 25))
    late = demos.obs.reshape(5, 200, 3)[:, 150:]
    assert late[..., 0].min() > 0.99  # cosine of the angle from upright
    assert np.abs(late[..., 2]).max() < 0.5


@pytest.mark.slow
def test_the_example_trains_sac_and_the_reward_at_small_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sampled = []
    draw = wrappers.RelabellingReplayBuffer._get_samples

    def spy(self, batch_inds, env=None):
        samples = draw(self, batch_inds, env)
        sampled.append((samples.rewards.numpy().copy(), self.rewards.copy()))
        return samples

    monkeypatch.setattr(wrappers.RelabellingReplayBuffer, "_get_samples", spy)
    flags = "--steps 60 --learning-starts 20 --update-every 20 --window 40 --save".split()
    before, after = example().main([*flags, str(tmp_path / "reward")])
    assert -2000 < min(before, after) <= max(before, after) < 0
    assert "after" in capsys.readouterr().out
    assert len(sampled) == 40
    rewards, stored = sampled[-1]  # after updates of the reward, nothing is what it was
    assert not set(rewards.ravel().tolist()) & set(stored[:40].ravel().tolist())
    reward = LearnedReward.load(tmp_path / "reward", device="cpu")
    assert reward.model.discriminator_updates.trainer.steps == 3 * 10
