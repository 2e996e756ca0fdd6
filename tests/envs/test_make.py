from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from envs import batch_of_episodes, make_vec
from l2l_gail.errors import InputError


def test_copies_follow_gymnasium_with_consecutive_seeds() -> None:
    vec = make_vec("Hopper-v5", n_envs=2, seed=7)
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 2, 3)).astype(np.float32)
    observed = [vec.reset()]
    rewards = []
    for action in actions:
        obs, reward, _, _ = vec.step(action)
        observed.append(obs)
        rewards.append(reward)
    vec.close()
    for i in range(2):
        env = gymnasium.make("Hopper-v5")
        obs, _ = env.reset(seed=7 + i)
        np.testing.assert_allclose(observed[0][i], obs, rtol=1e-6)
        for step, action in enumerate(actions):
            obs, reward, *_ = env.step(action[i])
            np.testing.assert_allclose(observed[step + 1][i], obs, rtol=1e-6)
            assert rewards[step][i] == pytest.approx(reward, rel=1e-6)
        env.close()


def test_env_kwargs_reach_the_environment() -> None:
    vec = make_vec("Ant-v5", 1, 0, {"include_cfrc_ext_in_observation": False})
    assert vec.observation_space.shape == (27,)
    vec.close()


def test_an_environment_with_another_xml_works(tmp_path) -> None:
    assets = f"{gymnasium.__path__[0]}/envs/mujoco/assets"
    with open(f"{assets}/hopper.xml") as file:
        rough = file.read().replace('friction="0.9"', 'friction="1.7"')
    xml = tmp_path / "rough.xml"
    xml.write_text(rough)
    vec = make_vec("Hopper-v5", 1, 0, {"xml_file": str(xml)})
    assert 1.7 in vec.tensor_env.model.geom_friction[:, 0]
    vec.close()


def test_known_tasks_are_batched_and_others_stepped_one_by_one() -> None:
    batched, single = make_vec("HalfCheetah-v5", 2, 0), make_vec("MountainCarContinuous-v0", 2, 0)
    assert batched.tensor_env.num_envs == 2
    assert isinstance(single, DummyVecEnv)
    for vec in (batched, single):
        assert vec.reset().shape == (2, *vec.observation_space.shape)
        vec.close()
    assert batch_of_episodes("MountainCarContinuous-v0", {}) is None


def test_monitor_files_lie_in_the_given_folder(tmp_path) -> None:
    vec = make_vec("Hopper-v5", 2, 0, monitor_dir=tmp_path / "monitor")
    vec.close()
    written = sorted(path.name for path in (tmp_path / "monitor").iterdir())
    assert written == ["0.monitor.csv", "1.monitor.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Hoper-v5", 1, 0), r"unknown environment 'Hoper-v5'; perhaps you meant 'Hopper-v5'"),
        (("Hopper-v5", 1, 0, {"gravty": 1}), r"unexpected keyword argument 'gravty'"),
        (("Hopper-v5", 1, 0, {"xml_file": "no.xml"}), r"no\.xml does not exist"),
        (("Blackjack-v1", 1, 0), r"observation space is Tuple"),
        (("Hopper-v5", 0, 0), r"at least 1"),
    ],
)
def test_wrong_input_is_one_line(arguments, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_vec(*arguments)
    assert "\n" not in str(caught.value)
