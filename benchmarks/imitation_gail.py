"""Train GAIL of the library ``imitation`` on recorded episodes, and write what came of it as JSON.

A process of ``peer.py`` and ``end_to_end.py``, to be run where ``imitation`` is installed: it needs
nothing of this library. ``imitation`` 1.0.1 asks for an older gymnasium and stable-baselines3 than
the tasks here have, and works with theirs, so that it goes in without its dependencies:

    python3 -m venv peer
    peer/bin/pip install torch gymnasium stable-baselines3 mujoco imageio tensorboard
    peer/bin/pip install --no-deps imitation==1.0.1 seals
    peer/bin/pip install datasets sacred scikit-learn huggingface_sb3 optuna tqdm rich matplotlib
    peer/bin/python benchmarks/imitation_gail.py --env Hopper-v5 --demos hopper.npz --steps 16384 \
--out hopper.json

``hopper.npz`` holds ``obs, acts, rews, next_obs``, a row a step, ``episode_starts`` and
``episode_lengths``.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

EVALUATION_SEED = 10_000
FIELDS = ("obs", "acts", "rews", "next_obs", "episode_starts", "episode_lengths")
"""Arrays of a file of demonstrations."""
OF_PPO = (
    "batch_size", "n_epochs", "clip_range", "ent_coef",
    "gamma", "gae_lambda", "vf_coef", "max_grad_norm",
)  # fmt: skip
"""Settings that PPO has by the same name."""
PACKAGES = ("imitation", "stable-baselines3", "gymnasium", "mujoco", "numpy", "torch")


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of a preset. A round is a rollout and the updates after it."""

    rollout: int
    """Transitions of a rollout, of all environments together."""
    batch_size: int
    n_epochs: int
    lr: float
    clip_range: float
    ent_coef: float
    gae_lambda: float
    gamma: float
    vf_coef: float
    max_grad_norm: float
    arch: str
    """Hidden layers of the policy and its critic: tanh64, relu64 (two of 64) or ff32."""
    demo_batch_size: int
    """Transitions of either side in an update of the discriminator."""
    replay: int
    """Transitions of the policy's that are kept for those updates."""
    n_disc: int
    """Updates of the discriminator in a round."""


# Those that imitation has published for its benchmark, in
# src/imitation/scripts/config/tuned_hps/gail_seals_<environment>_best_hp_eval.json.
TUNED = {
    "Hopper": Settings(
        rollout=4096, batch_size=512, n_epochs=20, lr=4.3984856156897565e-05,
        clip_range=0.1, ent_coef=0.001255299425412744, gae_lambda=0.98, gamma=0.995,
        vf_coef=0.20315938606555833, max_grad_norm=0.9, arch="relu64",
        demo_batch_size=128, replay=4096, n_disc=8,
    ),
    "HalfCheetah": Settings(
        rollout=4096, batch_size=64, n_epochs=5, lr=0.00026250519057717037,
        clip_range=0.1, ent_coef=3.992371122209408e-06, gae_lambda=0.95, gamma=0.95,
        vf_coef=0.11483689492120866, max_grad_norm=0.8, arch="ff32",
        demo_batch_size=8192, replay=512, n_disc=8,
    ),
    "Walker2d": Settings(
        rollout=16384, batch_size=128, n_epochs=20, lr=1.943992487657563e-05,
        clip_range=0.4, ent_coef=0.0007566389899529574, gae_lambda=0.92, gamma=0.98,
        vf_coef=0.6167177795726859, max_grad_norm=0.6, arch="relu64",
        demo_batch_size=512, replay=16384, n_disc=16,
    ),
}  # fmt: skip
# Of its tutorial, docs/tutorials/3_train_gail.ipynb.
TUTORIAL = Settings(
    rollout=16384, batch_size=64, n_epochs=5, lr=4e-4,
    clip_range=0.2, ent_coef=0.0, gae_lambda=0.95, gamma=0.95,
    vf_coef=0.5, max_grad_norm=0.5, arch="tanh64",
    demo_batch_size=1024, replay=512, n_disc=8,
)  # fmt: skip
# A plain setting for every environment.
COMMON = Settings(
    rollout=4096, batch_size=128, n_epochs=10, lr=3e-4,
    clip_range=0.2, ent_coef=0.0, gae_lambda=0.95, gamma=0.99,
    vf_coef=0.5, max_grad_norm=0.5, arch="tanh64",
    demo_batch_size=1024, replay=4096, n_disc=8,
)  # fmt: skip
PRESETS = {"tutorial": TUTORIAL, "common": COMMON}
"""Those for every environment, by name; ``tuned`` has one for each."""


def hyperparameters(name: str, env_id: str) -> Settings:
    """Return the hyper-parameters of a preset; end the program if it has none."""
    if name != "tuned":
        return PRESETS[name]
    task = env_id.partition("-")[0]
    if task not in TUNED:
        raise SystemExit(f"--preset tuned is of {', '.join(TUNED)}, not of {task}; use common")
    return TUNED[task]


def trajectories(path: Path, count: int | None, low: np.ndarray, high: np.ndarray) -> list[Any]:
    """Read the first episodes as imitation has them, actions clipped to the action space."""
    from imitation.data.types import TrajectoryWithRew

    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in FIELDS}
    spans = zip(arrays["episode_starts"], arrays["episode_lengths"], strict=True)
    found = []
    for start, length in list(spans)[:count]:
        steps = slice(int(start), int(start + length))
        seen = np.concatenate([arrays["obs"][steps], arrays["next_obs"][steps][-1:]])
        found.append(
            TrajectoryWithRew(
                obs=seen.astype(np.float32),
                acts=np.clip(arrays["acts"][steps].astype(np.float32), low, high),
                infos=None,
                terminal=True,
                rews=arrays["rews"][steps].astype(np.float32),
            )
        )
    return found


def policy_of(settings: Settings) -> tuple[Any, dict[str, Any]]:
    """Return the policy's class and arguments, observations normalised as the peer does."""
    import torch
    from imitation.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
    from imitation.util.networks import RunningNorm

    kwargs: dict[str, Any] = {
        "features_extractor_class": NormalizeFeaturesExtractor,
        "features_extractor_kwargs": {"normalize_class": RunningNorm},
    }
    if settings.arch == "ff32":
        return FeedForward32Policy, kwargs
    kwargs["net_arch"] = {"pi": [64, 64], "vf": [64, 64]}
    if settings.arch == "relu64":
        kwargs["activation_fn"] = torch.nn.ReLU
    return "MlpPolicy", kwargs


def returns(env_id: str, act: Callable[[np.ndarray], np.ndarray], episodes: int) -> list[float]:
    """Return the true returns of some games, whose starts are the same in every call."""
    import gymnasium

    env = gymnasium.make(env_id)
    found = []
    for number in range(episodes):
        seen, _ = env.reset(seed=EVALUATION_SEED + number)
        total, over = 0.0, False
        while not over:
            seen, reward, terminated, truncated, _ = env.step(act(seen))
            total += float(reward)
            over = terminated or truncated
        found.append(total)
    env.close()
    return found


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train, evaluate on the way and at the end, and return the record."""
    import stable_baselines3
    import torch
    from imitation.algorithms.adversarial.gail import GAIL
    from imitation.rewards.reward_nets import BasicRewardNet
    from imitation.util import logger
    from imitation.util.networks import RunningNorm
    from imitation.util.util import make_vec_env

    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    rng = np.random.default_rng(options.seed)
    settings, notes = hyperparameters(options.preset, options.env), []
    venv = make_vec_env(options.env, rng=rng, n_envs=options.n_envs)
    low, high = venv.action_space.low, venv.action_space.high
    demonstrated = trajectories(options.demos, options.n_demos, low, high)
    transitions = sum(len(one) for one in demonstrated)
    if settings.demo_batch_size > transitions:  # refused otherwise
        fewer = 2 ** int(np.log2(transitions))
        notes.append(f"demo_batch_size {settings.demo_batch_size} -> {fewer}")
        settings = replace(settings, demo_batch_size=fewer)
    n_steps = max(1, settings.rollout // options.n_envs)
    policy_class, policy_kwargs = policy_of(settings)
    learner = stable_baselines3.PPO(
        policy_class,
        venv,
        seed=options.seed,
        device="cpu",
        n_steps=n_steps,
        learning_rate=settings.lr,
        policy_kwargs=policy_kwargs,
        **{name: getattr(settings, name) for name in OF_PPO},
    )
    reward = BasicRewardNet(
        venv.observation_space, venv.action_space, normalize_input_layer=RunningNorm
    )
    trainer = GAIL(
        demonstrations=demonstrated,
        demo_batch_size=settings.demo_batch_size,
        gen_replay_buffer_capacity=settings.replay,
        n_disc_updates_per_round=settings.n_disc,
        venv=venv,
        gen_algo=learner,
        reward_net=reward,
        disc_opt_kwargs={"lr": 1e-3},
        custom_logger=logger.configure(tempfile.mkdtemp(), []),
        allow_variable_horizon=True,
    )
    curve: list[dict[str, Any]] = []
    spent = {"wall_s": 0.0, "cpu_s": 0.0}  # on the evaluations

    def act(seen: np.ndarray) -> np.ndarray:
        return np.asarray(learner.predict(seen, deterministic=True)[0])

    def evaluate(round_number: int) -> None:
        if options.eval_every == 0 or (round_number + 1) % options.eval_every:
            return
        wall, cpu = time.perf_counter(), time.process_time()
        mean = float(np.mean(returns(options.env, act, options.eval_episodes)))
        curve.append({"steps": int(learner.num_timesteps), "return_mean": mean})
        spent["wall_s"] += time.perf_counter() - wall
        spent["cpu_s"] += time.process_time() - cpu

    wall, cpu = time.perf_counter(), time.process_time()
    trainer.train(max(options.steps, trainer.gen_train_timesteps), callback=evaluate)
    taken = {
        "wall_s": time.perf_counter() - wall - spent["wall_s"],
        "cpu_s": time.process_time() - cpu - spent["cpu_s"],
    }
    record = {
        "env": options.env,
        "seed": options.seed,
        "preset": options.preset,
        "n_envs": options.n_envs,
        "hyperparameters": asdict(settings) | {"n_steps": n_steps},
        "notes": notes,
        "transitions": transitions,
        "steps": int(learner.num_timesteps),
        **taken,
        "curve": curve,
        "games": returns(options.env, act, options.eval_episodes),
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }
    venv.close()
    return record


def main() -> None:
    """Train as the flags say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", default="Hopper-v5", help="task (Hopper-v5)")
    parser.add_argument("--demos", required=True, type=Path, help="recorded episodes, .npz")
    parser.add_argument("--n-demos", type=int, help="the first ones alone (all)")
    parser.add_argument("--steps", type=int, default=16_384, help="of the training (16,384)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (0)")
    parser.add_argument("--n-envs", type=int, default=8, help="environments side by side (8)")
    presets = ["tuned", *PRESETS]
    parser.add_argument("--preset", default="tuned", choices=presets, help="settings (tuned)")
    parser.add_argument("--eval-every", type=int, default=0, help="rounds, 0 for never (0)")
    parser.add_argument("--eval-episodes", type=int, default=10, help="games of each (10)")
    parser.add_argument("--out", required=True, type=Path, help="file to write, JSON")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    options.out.write_text(json.dumps(train(options), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
