"""What a change of the code must not change: fingerprints of whole trainings, to the last bit.

Trains both games for a short while and prints a digest of each result: returns, learning curve,
TensorBoard scalars, weights, optimizer states, random states. Run it before a change and after it,
on one machine (other processors may round otherwise), and compare:

    .venv/bin/python benchmarks/same_bits.py --json before.json
    .venv/bin/python benchmarks/same_bits.py --json after.json --against before.json

A change that adds tags names them with ``--added rule/gain eval/state_w1``. The exit status is 1 if
anything differs. Four minutes on one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
NOT_COMPARED = ["time/", "cost/", "wall_s", "cpu_s"]
"""Tags of clocks; and, by their beginnings, those that a change has added."""


def main() -> int:
    """Train, print the digests, and compare them if they are to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the digests to")
    parser.add_argument("--against", type=Path, help="file of an earlier run to compare with")
    parser.add_argument("--steps", type=int, default=100_000, help="of train_gail.py")
    parser.add_argument("--only", nargs="*", help="parts to run; all by default")
    parser.add_argument("--added", nargs="*", default=[], help="tags that the change has added")
    args = parser.parse_args()
    NOT_COMPARED.extend(args.added)
    torch.set_num_threads(1)
    parts: dict[str, Callable[[], dict[str, str]]] = {
        "train_gail": lambda: train_gail(args.steps),
        "train_cifar": train_cifar,
        "gymnasium": gymnasium_environments,
        "expert": expert,
    }
    digests: dict[str, str] = {}
    for name, part in parts.items():
        if args.only is None or name in args.only:
            digests |= {f"{name} {what}": digest for what, digest in part().items()}
    before = json.loads(args.against.read_text()) if args.against else {}
    different = 0
    for what, digest in digests.items():
        verdict = ""
        if before:
            equal = before.get(what) == digest
            different += not equal
            verdict = "equal" if equal else f"DIFFERENT, was {before.get(what)}"
        print(f"{what:58} {digest}  {verdict}".rstrip(), flush=True)
    if args.json:
        args.json.write_text(json.dumps(digests, indent=1) + "\n")
    return int(different > 0)


def train_gail(steps: int) -> dict[str, str]:
    """Run ``train_gail.py --seed 0`` with both methods, and with everything learned."""
    digests = {}
    flags = ("--seed", "0", "--total-timesteps", str(steps))
    for more in ((), ("--method", "l2l_gail", "--learned", "both")):
        for out in script("train_gail.py", *flags, *more):
            for run in sorted((out / "Hopper-v5").glob("*/seed0")):
                digests |= run_digests(run.parent.name, run)
    return digests


def train_cifar() -> dict[str, str]:
    """Run ``train_cifar.py --data synthetic`` with all methods."""
    digests = {}
    flags = ("--data", "synthetic", "--threads", "1", "--seed", "0")
    for out in script("train_cifar.py", *flags):
        for summary in sorted(out.rglob("summary.json")):
            digests |= run_digests(summary.parent.parent.name, summary.parent)
    return digests


def script(*command: str) -> Iterator[Path]:
    """Run a script on one thread and yield the folder of its runs."""
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as out:
        call = [sys.executable, *command, "--out", out]
        subprocess.run(call, cwd=ROOT, env=environ, check=True, stdout=subprocess.DEVNULL)
        yield Path(out)


def run_digests(name: str, folder: Path) -> dict[str, str]:
    """Return the digests of one run folder."""
    summary = json.loads((folder / "summary.json").read_text())
    numbers = {
        key: value
        for key, value in summary.items()
        if key == "curve" or key.endswith(("_returns", "_return", "_lengths", "clean", "pgd20"))
    }
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["state"]
    weights = state.get("parameters") or (state["classifier"], state["trainer"])
    return {
        f"{name}: returns and curve": digest_of(without_clocks(numbers)),
        f"{name}: TensorBoard": digest_of(scalars(folder)),
        f"{name}: weights and optimizers": digest_of(weights),
    }


def without_clocks(tree: Any) -> Any:
    """Leave out what a clock has measured."""
    if isinstance(tree, dict):
        kept = {k: v for k, v in tree.items() if not any(c in str(k) for c in NOT_COMPARED)}
        return {key: without_clocks(value) for key, value in kept.items()}
    return [without_clocks(entry) for entry in tree] if isinstance(tree, list) else tree


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the curves that a run has written for TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in sorted(events.Tags()["scalars"])
        if not tag.startswith(tuple(NOT_COMPARED))
    }


def gymnasium_environments() -> dict[str, str]:
    """Train GAIL and L2L-GAIL in Gymnasium's own environments, through SB3's ``DummyVecEnv``."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.policies import ActorCriticPolicy

    from l2l_gail import GAIL, L2LGAIL
    from l2l_gail.core import MatrixRule

    digests = {}
    for method in (GAIL, L2LGAIL):
        for policy in ("MlpPolicy", ActorCriticPolicy):
            env = make_vec_env("Hopper-v5", 4, seed=0, env_kwargs={"max_episode_steps": 60})
            kwargs = {"n_steps": 128, "batch_size": 64, "seed": 0, "device": "cpu"}
            kwargs["rule"] = MatrixRule(seed=0) if method is L2LGAIL else None
            model = method(policy, env, "Hopper-v5", **kwargs).learn(4_096)
            name = policy if isinstance(policy, str) else policy.__name__
            episodes = [[e["r"], e["l"]] for e in model.ep_info_buffer]
            digests[f"{method.__name__} {name}: weights and episodes"] = digest_of(
                [model.get_parameters(), episodes]
            )
            env.close()
    return digests


def expert() -> dict[str, str]:
    """Train the recorder's expert for a few rollouts."""
    from l2l_gail.recording.expert import ExpertRecipe, make_expert_model

    recipe = ExpertRecipe(n_envs=4, n_steps=256)
    model, venv = make_expert_model("Hopper-v5", recipe, 0, {"max_episode_steps": 60})
    model.learn(8_192)
    statistics = [venv.obs_rms.mean, venv.obs_rms.var, venv.ret_rms.var]
    digest = digest_of([model.get_parameters(), statistics])
    venv.close()
    return {"Hopper-v5: weights and statistics": digest}


def digest_of(tree: Any) -> str:
    """Return a digest of all numbers in a tree, in the order of its keys, whatever their names."""
    digest = hashlib.sha256()
    for leaf in leaves(tree):
        digest.update(leaf)
    return digest.hexdigest()[:16]


def leaves(tree: Any) -> Iterator[bytes]:
    """Yield the leaves of nested containers as bytes."""
    if isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from leaves(value)
    elif isinstance(tree, torch.Tensor):
        yield tree.detach().cpu().contiguous().numpy().tobytes()
    elif isinstance(tree, np.ndarray):
        yield tree.tobytes()
    else:
        yield repr(tree).encode()


if __name__ == "__main__":
    raise SystemExit(main())
