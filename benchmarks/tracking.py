"""How well an update rule lets a discriminator track its moving optimum, without training a policy.

What decides a GAIL run is the discriminator's loss on transitions that it has not been updated on:
those of the next rollout. So the rollouts of a run are recorded once, and any rule is replayed on
them in seconds: open loop, no simulator, no PPO, the same rollouts for all.

    python benchmarks/tracking.py record --env Hopper-v5 --seeds 100 101 102
    python benchmarks/tracking.py replay "adam:lr=1e-2" "muon:lr=1e-2" "matrix_rule:lr=3e-2"
    python benchmarks/tracking.py replay "adam:lr=3e-3 @ updates=50" --json tracking.json

A rule is a word as ``l2l_gail.core.parse_rule`` reads it; behind an ``@`` follow settings of its
row: those of ``Settings`` below. The table has, over all recorded rollouts but the first:

========= ======================================================================================
fresh     penalised loss on a rollout before the updates on it, and its ratio to the limit's
after     the same after them
distance  root mean square difference of the logits on the rollout from the limit's, after them
gradients of the discriminator's loss for each rollout, those of the rule's training included
cpu s     of all updates of a sequence on one thread, without the measurements
========= ======================================================================================

The *limit* is a discriminator that is solved almost to convergence on each rollout: Adam(3e-3) with
200 updates, from where the last rollout left it. It is computed once for each sequence and kept
beside it. Where several sequences are of one environment the figures are their means.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from envs import make_vec  # noqa: E402
from l2l_gail.core import L2LTrainer, MetaMode, UpdateRule, parse_rule  # noqa: E402
from l2l_gail.demos import Demonstrations  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402
from l2l_gail.gail import GAIL, DiscriminatorConfig, RuleTraining  # noqa: E402
from l2l_gail.gail.batch import TransitionBatch  # noqa: E402
from l2l_gail.gail.discriminator import TanhDiscriminator  # noqa: E402
from l2l_gail.gail.game import DiscriminatorGame  # noqa: E402
from l2l_gail.gail.updates import DiscriminatorUpdates  # noqa: E402
from l2l_gail.ppo import TensorRolloutBuffer  # noqa: E402

FOLDER = Path("runs/tracking")
N_ENVS, N_STEPS = 64, 32
LIMIT = "adam:lr=3e-3 @ updates=200"


@dataclass(frozen=True)
class Settings:
    """Settings of a row, by default those of ``train_gail.py``."""

    updates: int = 10
    batch_size: int = 256
    penalty_weight: float = 1.0
    meta_lr: float = 3e-3
    meta_every: int = 1
    meta_mode: MetaMode = "reverse"
    meta_decay: float = 1.0
    holdout: float = 0.25
    """Share of each rollout that only a learned rule's training sees; none where meta_mode=next."""


@dataclass(frozen=True)
class Sequence:
    """The recorded rollouts of one training.

    Attributes:
        path: Where it was read from.
        env: Id of the environment.
        seed: Of the training, and of the replayed discriminators.
        dims: Widths of observations and actions.
        expert: Discriminator rows of the demonstrations, ``(T, in_dim)``.
        policy: Of each rollout, ``(rollouts, n, in_dim)``.
    """

    path: Path
    env: str
    seed: int
    dims: tuple[int, int]
    expert: Tensor
    policy: Tensor

    @classmethod
    def load(cls, path: Path) -> Sequence:
        """Read a file of the ``record`` command."""
        with np.load(path) as file:
            arrays = {name: torch.from_numpy(file[name]).float() for name in ("expert", "policy")}
            obs_dim, act_dim = file["dims"].tolist()
            return cls(path, str(file["env"]), int(file["seed"]), (obs_dim, act_dim), **arrays)


class Course(NamedTuple):
    """What a replay measured, one entry for each rollout."""

    fresh: list[float]
    after: list[float]
    logits: Tensor  # (rollouts, n), after the updates
    gradients: float
    cpu_s: float


class RecordingGAIL(GAIL):
    """GAIL that keeps each rollout's discriminator rows."""

    def rollout_rewards(self, buffer: TensorRolloutBuffer) -> Tensor:
        """Note the rollout, and go on as ever."""
        rollouts = self.__dict__.setdefault("recorded_rollouts", [])
        rollouts.append(self._rollout_rows(buffer).half().numpy())
        return super().rollout_rewards(buffer)


def record(
    env_id: str,
    demos: Demonstrations,
    seed: int,
    steps: int,
    rule: UpdateRule,
    folder: Path,
    policy_lr: float = 3e-4,
) -> Path:
    """Train GAIL and write its rollouts; return the file."""
    env = make_vec(env_id, N_ENVS, seed, device="cpu")
    model = RecordingGAIL(
        "MlpPolicy",
        env,
        demos,
        rule=rule,
        discriminator=DiscriminatorConfig(batch_size=256),
        n_steps=N_STEPS,
        policy_pace=0.0,
        policy_divergence=0.0,
        batch_size=256,
        learning_rate=policy_lr,
        policy_kwargs={"log_std_init": -0.5, "optimizer_kwargs": {"fused": True, "eps": 1e-5}},
        seed=seed,
        device="cpu",
    )
    model.learn(steps)
    env.close()
    assert model._expert_rows is not None
    returns = [episode["r"] for episode in model.ep_info_buffer or []]
    path = folder / f"{env_id}-seed{seed}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        env=env_id,
        seed=seed,
        dims=np.array([model.discriminator.obs_dim, model.discriminator.act_dim]),
        expert=model._expert_rows.half().numpy(),
        policy=np.stack(model.__dict__["recorded_rollouts"]),
    )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, last returns {np.mean(returns):.0f}")
    return path


def parse_row(text: str) -> tuple[UpdateRule, Settings]:
    """Return a row's rule and settings."""
    word, _, options = text.partition("@")
    known = {field.name for field in dataclasses.fields(Settings)}
    changes: dict[str, Any] = {}
    for option in filter(None, (part.strip() for part in options.split(","))):
        name, _, value = option.partition("=")
        if name.strip() not in known:
            raise InputError(f"{name!r} is no setting; there are: {', '.join(sorted(known))}")
        try:
            changes[name.strip()] = ast.literal_eval(value.strip())
        except (SyntaxError, ValueError):
            changes[name.strip()] = value.strip()
    return parse_rule(word.strip()), Settings(**changes)


def replay(text: str, sequence: Sequence) -> Course:
    """Update a discriminator on each recorded rollout in turn, and measure it in between."""
    rule, settings = parse_row(text)
    torch.manual_seed(sequence.seed)
    box = [spaces.Box(-np.inf, np.inf, (dim,)) for dim in sequence.dims]
    discriminator = TanhDiscriminator(box[0], box[1])
    config = DiscriminatorConfig(
        updates_per_rollout=settings.updates,
        batch_size=settings.batch_size,
        penalty_weight=settings.penalty_weight,
    )
    game = DiscriminatorGame(discriminator, config)
    trainer, holdout = make_trainer(game, rule, settings)
    updates = DiscriminatorUpdates(discriminator, trainer, config, holdout, sequence.seed)

    queries = 0

    def counted(*args: Any) -> Tensor:
        nonlocal queries
        queries += torch.is_grad_enabled()
        return DiscriminatorGame.follower_loss(game, *args)

    fresh, after, logits, cpu_s = [], [], [], 0.0
    for batch, policy in zip(measured_on(sequence), sequence.policy, strict=True):
        fresh.append(loss(game, batch))
        game.follower_loss = counted  # type: ignore[method-assign]
        start = time.process_time()
        updates.update(sequence.expert, policy)
        cpu_s += time.process_time() - start
        del game.follower_loss
        after.append(loss(game, batch))
        with torch.no_grad():
            logits.append(discriminator.logits_expert_is_high(policy))
    return Course(fresh, after, torch.stack(logits), queries / len(fresh), cpu_s)


def make_trainer(
    game: DiscriminatorGame, rule: UpdateRule, settings: Settings
) -> tuple[L2LTrainer, float]:
    """Return what applies the rule and trains it if it can be, and the share of data for that."""
    groups = rule.meta_parameter_groups(settings.meta_lr)
    if not groups:
        return L2LTrainer(game, rule, persistent=True), 0.0
    trainer = L2LTrainer(
        game,
        rule,
        meta_optimizer=torch.optim.Adam(groups, fused=True),
        persistent=True,
        meta_every=settings.meta_every,
        meta_mode=settings.meta_mode,
        meta_decay=settings.meta_decay,
    )
    holdout = RuleTraining(holdout_fraction=settings.holdout).holdout_fraction
    return trainer, 0.0 if settings.meta_mode == "next" else holdout


def measured_on(sequence: Sequence) -> Iterator[TransitionBatch]:
    """Yield for each rollout all of it beside as many expert samples, the same for every rule."""
    generator = torch.Generator().manual_seed(sequence.seed)
    for policy in sequence.policy:
        index = torch.randint(len(sequence.expert), (len(policy),), generator=generator)
        share = torch.rand(len(policy), 1, generator=generator)
        expert = sequence.expert[index]
        yield TransitionBatch.mixed(expert, policy, share)


@torch.no_grad()
def loss(game: DiscriminatorGame, batch: TransitionBatch) -> float:
    """Return the penalised loss of the discriminator as it stands."""
    return float(game.follower_loss(dict(game.discriminator.named_parameters()), batch))


def limit_of(sequence: Sequence) -> Course:
    """Return the limit's course, from the file beside the sequence if there is one."""
    path = sequence.path.with_suffix(".limit.npz")
    if not path.exists():
        course = replay(LIMIT, sequence)
        np.savez_compressed(path, **course._asdict() | {"logits": course.logits.numpy()})
    with np.load(path) as file:
        return Course(
            file["fresh"].tolist(),
            file["after"].tolist(),
            torch.from_numpy(file["logits"]),
            float(file["gradients"]),
            float(file["cpu_s"]),
        )


def measure(text: str, sequence: Sequence, limit: Course) -> dict[str, Any]:
    """Return the figures of one rule on one sequence."""
    course = limit if text == LIMIT else replay(text, sequence)
    fresh, least = statistics.fmean(course.fresh[1:]), statistics.fmean(limit.fresh[1:])
    return {
        "env": sequence.env,
        "seed": sequence.seed,
        "fresh": fresh,
        "ratio": fresh / least,
        "after": statistics.fmean(course.after[1:]),
        "distance": float((course.logits - limit.logits)[1:].square().mean(1).sqrt().mean()),
        "gradients": course.gradients,
        "cpu_s": course.cpu_s,
    }


def in_column(figure: float) -> str:
    """Return a figure in eleven places, that of a rule that has diverged too."""
    return f"{figure:>11.3f}" if abs(figure) < 1e6 else f"{figure:>11.2e}"


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print a line for each rule, best mean ratio first; means over the seeds of an environment."""
    columns = ("fresh", "ratio", "after", "distance", "gradients", "cpu_s")
    by_rule: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_rule[row["rule"]][row["env"]].append(row)
    ratio = {
        rule: statistics.fmean(row["ratio"] for part in of.values() for row in part)
        for rule, of in by_rule.items()
    }
    print(f"{'rule':52}{'env':>16}" + "".join(f"{column:>11}" for column in columns))
    for rule in sorted(by_rule, key=lambda rule: ratio[rule]):
        for env, part in by_rule[rule].items():
            cells = [statistics.fmean(row[column] for row in part) for column in columns]
            print(f"{rule:52}{env:>16}" + "".join(map(in_column, cells)))
        print(f"{rule:52}{'all':>16}{'':11}{in_column(ratio[rule])}", flush=True)


def main() -> None:
    """Record sequences, or replay rules on them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"sequences ({FOLDER})")
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record", help="train GAIL and write its rollouts")
    recorder.add_argument("--env", default="Hopper-v5", help="Gymnasium id (Hopper-v5)")
    recorder.add_argument("--demos", help="file or embedded name (the environment's own)")
    recorder.add_argument("--episodes", type=int, default=1, help="demonstrations to use (1)")
    recorder.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    recorder.add_argument("--steps", type=int, default=300_000, help="environment steps (300,000)")
    recorder.add_argument("--rule", default="muon:lr=1e-2", help="the run's own (muon:lr=1e-2)")
    recorder.add_argument("--policy-lr", type=float, default=3e-4, help="PPO's rate (3e-4)")
    player = commands.add_parser("replay", help="replay rules on the recorded rollouts")
    player.add_argument("rules", nargs="+", metavar="RULE", help='"name:arguments @ settings"')
    player.add_argument("--envs", nargs="+", help="only these environments")
    player.add_argument("--seeds", type=int, nargs="+", help="only these seeds")
    player.add_argument(
        "--json", type=Path, help="add the figures to this file; what it has is not measured again"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)

    if options.command == "record":
        demos = Demonstrations.load(options.demos or options.env).head(options.episodes)
        for seed in options.seeds:
            rule = parse_rule(options.rule)
            record(options.env, demos, seed, options.steps, rule, options.folder, options.policy_lr)
        return

    for text in options.rules:
        parse_row(text)  # before any work: a wrong word
    paths = sorted(p for p in options.folder.glob("*.npz") if not p.name.endswith(".limit.npz"))
    sequences = [
        sequence
        for sequence in map(Sequence.load, paths)
        if (not options.envs or sequence.env in options.envs)
        and (not options.seeds or sequence.seed in options.seeds)
    ]
    if not sequences:
        raise InputError(f"no sequences in {options.folder}; make some with the record command")
    report: dict[str, Any] = {
        "benchmark": "tracking",
        "limit": LIMIT,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "rows": [],
    }
    if options.json and options.json.exists():
        report["rows"] = json.loads(options.json.read_text())["rows"]
    measured = {(row["rule"], row["env"], row["seed"]): row for row in report["rows"]}
    wanted = [(text, sequence) for text in options.rules for sequence in sequences]
    for text, sequence in wanted:
        key = (text, sequence.env, sequence.seed)
        if key not in measured:
            measured[key] = {"rule": text} | measure(text, sequence, limit_of(sequence))
            if options.json:
                report["rows"] = list(measured.values())
                options.json.write_text(json.dumps(report, indent=1) + "\n")
    print_rows([measured[text, sequence.env, sequence.seed] for text, sequence in wanted])


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
