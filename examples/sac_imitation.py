"""SAC imitates an expert: GAIL's game with an off-policy algorithm in the place of PPO.

A discriminator is updated on what SAC does, now and then, and SAC's replay buffer asks it for the
reward of every transition *when it is sampled*, so that no stored reward is older than the
discriminator. The true reward is measured before and after, and seen by nobody.

    python examples/sac_imitation.py                                  # Pendulum-v1
    python examples/sac_imitation.py --env Hopper-v5 --steps 300000   # embedded demonstrations

For Pendulum-v1 the expert is a controller of eight lines, which swings the pole up and holds it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from l2l_gail import Demonstrations
from l2l_gail.core import build_rule
from l2l_gail.demos.record import record_episodes
from l2l_gail.evaluation import evaluate_policy_return
from l2l_gail.gail import LearnedReward, RelabellingReplayBuffer, VecLearnedReward


def swing_up(observations: np.ndarray) -> np.ndarray:
    """Return torques ``(n, 1)`` that bring Pendulum-v1's pole up and hold it, for ``(n, 3)``."""
    cosine, sine, speed = observations.T
    angle = np.arctan2(sine, cosine)  # from upright
    energy = 0.5 * speed**2 + 15.0 * (cosine - 1.0)  # 0 in the upright rest
    pump = -energy * np.where(speed < 0, -1.0, 1.0)
    hold = -10.0 * angle - 2.5 * speed
    torque = np.where((np.abs(angle) < 0.5) & (np.abs(speed) < 3.0), hold, pump)
    return torque.clip(-2.0, 2.0)[:, None].astype(np.float32)


def demonstrations(env_id: str, file: str | None) -> Demonstrations:
    """Return those of a file, the embedded ones, or of Pendulum-v1 ten episodes of ``swing_up``."""
    if env_id == "Pendulum-v1" and file is None:
        return record_episodes(swing_up, env_id, range(10))
    return Demonstrations.load(file or env_id)


class LogReward(BaseCallback):
    """Writes what the discriminator's last update has logged to SAC's logger."""

    def __init__(self, reward: LearnedReward) -> None:
        super().__init__()
        self.reward = reward

    def _on_step(self) -> bool:
        for tag, value in self.reward.log.items():
            self.logger.record(tag, value)
        return True


def main(argv: Sequence[str] | None = None) -> tuple[float, float]:
    """Train, and print and return the true return before and after, mean over ten episodes."""
    parser = argparse.ArgumentParser(description="SAC imitates an expert.")
    parser.add_argument("--env", default="Pendulum-v1", help="Gymnasium id")
    parser.add_argument("--demos", help=".npz file; the environment's own by default")
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps")
    parser.add_argument("--update-every", type=int, default=200, help="steps between two updates")
    parser.add_argument("--window", type=int, default=2_000, help="steps that an update draws from")
    parser.add_argument("--rule", default="adam", help="what updates the discriminator")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of that rule")
    parser.add_argument("--learning-starts", type=int, default=1_000, help="steps taken at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="where to write the reward, for LearnedReward.load")
    parser.add_argument("--tensorboard", help="folder of the event files; none by default")
    args = parser.parse_args(argv)

    torch.set_num_threads(1)
    demos = demonstrations(args.env, args.demos)
    env = make_vec_env(args.env, n_envs=1, seed=args.seed)  # its Monitor measures true returns
    reward = LearnedReward.for_env(
        env,
        demos,
        rule=build_rule(args.rule, lr=args.learning_rate),
        seed=args.seed,
        device="cpu",
    )
    model = SAC(
        "MlpPolicy",
        VecLearnedReward(env, reward, update_every=args.update_every, window=args.window),
        learning_starts=args.learning_starts,
        replay_buffer_class=RelabellingReplayBuffer,
        replay_buffer_kwargs={"reward": reward},
        tensorboard_log=args.tensorboard,
        seed=args.seed,
        device="cpu",
    )
    play = partial(
        evaluate_policy_return,
        lambda obs: model.predict(obs, deterministic=True)[0],
        args.env,
        range(50_000, 50_010),
    )
    before = play().mean_return
    model.learn(args.steps, callback=LogReward(reward))
    after = play()
    if args.save:
        reward.save(args.save)
    print(f"{args.env}: {args.steps:,} steps, seed {args.seed}; true return of ten episodes")
    print(f"before   {before:8.1f}")
    print(f"after    {after.mean_return:8.1f} (standard deviation {after.std_return:.1f})")
    print(f"expert   {demos.returns.mean():8.1f}, mean of {demos.n_episodes} demonstrations")
    return before, after.mean_return


if __name__ == "__main__":
    main()
