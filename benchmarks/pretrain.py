"""Train a rule offline, on recorded rollouts of several environments: the one in the package.

What a ``paced_matrix_rule`` learns beyond its global step (how the step of a tensor depends on what
its gradients look like, and the momentum) is learned by persistent evolution strategies
(``l2l_gail.core.EvolutionStrategy``) on rollouts recorded by ``benchmarks/tracking.py``. Each
antithetic pair plays game after game, each drawn anew: a recorded training, a seed of the
discriminator, a setting (penalty, updates, batch). It plays in pieces of five rollouts. The loss of
a piece is the mean logarithm of the discriminator's loss on each fresh rollout before its updates:
what tells one candidate of a pair from the other is by how many per cent it is lower.

    python benchmarks/pretrain.py --record --out l2l_gail/core/data/pretrained.pt
    python benchmarks/pretrain.py --leave-out Hopper-v5 --out runs/pretrain/no_hopper.pt

The first command records what is not there yet (with ``--record``) and makes the file that the
package has; the second makes one that has never seen an environment, to be judged there. Either
goes on where an earlier call stopped. The file says what it was trained on, how, and at what cost.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import tracking  # noqa: E402
from benchmarks.records import state_of  # noqa: E402
from l2l_gail.core import (  # noqa: E402
    EvolutionStrategy,
    L2LTrainer,
    Muon,
    PacedMatrixRule,
    UpdateRule,
    save_rule,
)
from l2l_gail.demos import Demonstrations  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402
from l2l_gail.files import save_tensors  # noqa: E402
from l2l_gail.gail import DiscriminatorConfig  # noqa: E402
from l2l_gail.gail.batch import TransitionBatch  # noqa: E402
from l2l_gail.gail.discriminator import TanhDiscriminator  # noqa: E402
from l2l_gail.gail.game import DiscriminatorGame  # noqa: E402
from l2l_gail.gail.updates import DiscriminatorUpdates  # noqa: E402
from l2l_gail.runs import versions  # noqa: E402

FOLDER = Path("runs/tracking/policy_speeds")
ENVS = ("HalfCheetah-v5", "Walker2d-v5", "Hopper-v5")
POLICY_LRS = ("3e-4", "1e-3", "3e-3")
SETTINGS: tuple[dict[str, Any], ...] = (
    *({}, {}, {}),
    {"penalty_weight": 0.1},
    {"penalty_weight": 10.0},
    {"updates_per_rollout": 3},
    {"batch_size": 64},
)
"""What is changed of 10 updates on 256 + 256 transitions and penalty 1; mostly nothing."""
PIECE = 5
MEASURED = 512
SIGMA = 0.1
META_LR = (0.06, 0.02)
LR, AGE = 3e-2, -1.4
"""Where the search starts: about the course of the step that ``matrix_rule`` learns online."""
ONLINE_LR_RATIO = 3.0


class Player:
    """A discriminator that follows the policy of a recorded training.

    Args:
        sequence: The recorded rollouts.
        setting: Changes of the discriminator's settings.
        seed: Of its first weights and of its batches.
    """

    def __init__(self, sequence: tracking.Sequence, setting: dict[str, Any], seed: int) -> None:
        torch.manual_seed(seed)
        boxes = [spaces.Box(-np.inf, np.inf, (dim,)) for dim in sequence.dims]
        discriminator = TanhDiscriminator(boxes[0], boxes[1])
        config = DiscriminatorConfig(**{"batch_size": 256} | setting)
        self.game = DiscriminatorGame(discriminator, config)
        self.trainer = L2LTrainer(self.game, PacedMatrixRule(), persistent=True)
        self.updates = DiscriminatorUpdates(discriminator, self.trainer, config, 0.0, seed)
        self.sequence = sequence
        self.place = 0

    @property
    def done(self) -> bool:
        """Whether the recorded training is over."""
        return self.place == len(self.sequence.policy)

    def play(self, rule: UpdateRule, rollouts: int) -> list[float]:
        """Return the loss on each of the next rollouts, before the updates on it by the rule."""
        self.trainer.rule = rule
        if self.place == 0:
            assert self.trainer.follower is not None
            self.trainer.begin(self.trainer.follower)
        losses = []
        for policy in self.sequence.policy[self.place : self.place + rollouts]:
            losses.append(self._loss(policy))
            self.updates.update(self.sequence.expert, policy)
            self.place += 1
        return losses

    @torch.no_grad()
    def _loss(self, policy: torch.Tensor) -> float:
        stream = torch.Generator().manual_seed(self.place)
        part = policy[torch.randperm(len(policy), generator=stream)[:MEASURED]]
        index = torch.randint(len(self.sequence.expert), (len(part),), generator=stream)
        share = torch.rand(len(part), 1, generator=stream)
        expert = self.sequence.expert[index]
        batch = TransitionBatch.mixed(expert, part, share)
        assert self.trainer.follower is not None
        return float(self.game.follower_loss(self.trainer.follower, batch))

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands."""
        return {"updates": self.updates.state_dict(), "place": self.place}

    def load_state_dict(self, state: dict[str, Any], rule: UpdateRule) -> None:
        """Go on from there."""
        self.trainer.rule = copy.deepcopy(rule)
        assert self.trainer.follower is not None
        self.trainer.begin(self.trainer.follower)
        self.updates.load_state_dict(state["updates"], strict=False)  # its rule comes with play
        self.place = state["place"]


class Pair:
    """Two players of one game, for the two candidates of an antithetic pair.

    Args:
        sequences: The recorded trainings by name.
        stream: Draws game after game.
        share: How much of a recorded training the first game takes.
    """

    def __init__(
        self, sequences: dict[str, tracking.Sequence], stream: torch.Generator, share: float
    ) -> None:
        self.sequences = sequences
        self.stream = stream
        self.begin(share)

    def begin(self, share: float = 1.0) -> None:
        """Draw a game and begin it, or a first part of one."""
        names = sorted(self.sequences)
        name = names[int(torch.randint(len(names), (), generator=self.stream))]
        setting = int(torch.randint(len(SETTINGS), (), generator=self.stream))
        seed = 1000 + int(torch.randint(10, (), generator=self.stream))
        self._start([name, setting, seed, round(share * len(self.sequences[name].policy))])

    def _start(self, drawn: list[Any]) -> None:
        self.drawn = drawn
        name, setting, seed, rollouts = drawn
        whole = self.sequences[name]
        sequence = dataclasses.replace(whole, policy=whole.policy[:rollouts])
        self.players = [Player(sequence, SETTINGS[setting], seed) for _ in range(2)]

    @property
    def done(self) -> bool:
        """Whether the game is over."""
        return self.players[0].done

    def play(self, rules: list[UpdateRule]) -> list[float]:
        """Return the losses of both candidates in the next piece."""
        return [
            statistics.fmean(
                math.log(max(loss, 1e-9)) if math.isfinite(loss) else math.nan
                for loss in player.play(rule, PIECE)
            )
            for player, rule in zip(self.players, rules, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """Return the game and where the players stand in it."""
        return {"drawn": self.drawn, "players": [player.state_dict() for player in self.players]}

    def load_state_dict(self, state: dict[str, Any], rule: UpdateRule) -> None:
        """Go on from there."""
        self._start(state["drawn"])
        for player, saved in zip(self.players, state["players"], strict=True):
            player.load_state_dict(saved, rule)


def search_start() -> PacedMatrixRule:
    """Return the rule that the search starts from, what is learned offline being learned."""
    rule = PacedMatrixRule(LR, learn_pace=True, learn_momentum=True, learn_step=False)
    with torch.no_grad():
        rule.pace[:, -1] = AGE
    return rule


class Training:
    """The search for a rule's pace and momentum, with all that it needs to go on later.

    Args:
        sequences: The recorded trainings by name.
        steps: Steps of the strategy.
        pairs: Antithetic pairs.
        seed: Of candidates and games.
    """

    def __init__(
        self, sequences: dict[str, tracking.Sequence], steps: int, pairs: int, seed: int
    ) -> None:
        self.plan = {"sequences": sorted(sequences), "steps": steps, "pairs": pairs, "seed": seed}
        self.steps = steps
        self.rule = search_start()
        learned = [p for p in self.rule.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=META_LR[0])
        self.strategy = EvolutionStrategy(
            self.rule, self.optimizer, pairs=pairs, sigma=SIGMA, persistent=True, seed=seed
        )
        self.stream = torch.Generator().manual_seed(seed)
        # First games of different lengths, so that later steps see pairs of all ages.
        self.games = [Pair(sequences, self.stream, (i + 1) / pairs) for i in range(pairs)]
        self.curve: list[float] = []
        self.cpu_s = 0.0

    def step(self) -> None:
        """Play a piece of each pair's game, and move the rule."""
        begun = time.process_time()
        share = len(self.curve) / max(self.steps - 1, 1)
        for group in self.optimizer.param_groups:
            group["lr"] = META_LR[0] * (META_LR[1] / META_LR[0]) ** share
        candidates = self.strategy.ask()
        losses = [game.play(candidates[2 * i : 2 * i + 2]) for i, game in enumerate(self.games)]
        self.strategy.tell([loss for of_pair in losses for loss in of_pair])
        for i, (game, of_pair) in enumerate(zip(self.games, losses, strict=True)):
            if game.done or not all(map(math.isfinite, of_pair)):
                game.begin()
                self.strategy.begin(i)
        self.curve.append(statistics.fmean(loss for of_pair in losses for loss in of_pair))
        self.cpu_s += time.process_time() - begun

    def result(self) -> PacedMatrixRule:
        """Return the rule as it is used: its pace fixed, its global step learned while it plays."""
        assert self.rule.logit_shift is not None
        logit = math.log(self.rule.betas[0] / (1 - self.rule.betas[0]))
        momentum = float((self.rule.logit_shift.detach() + logit).sigmoid())
        rule = PacedMatrixRule(
            self.rule.lr,
            betas=(round(momentum, 4), self.rule.betas[1]),
            step_lr_ratio=ONLINE_LR_RATIO,
        )
        with torch.no_grad():
            rule.pace.copy_(self.rule.pace)
        return rule

    def save(self, path: Path) -> None:
        """Write everything to go on from."""
        content = {
            "plan": self.plan,
            "rule": self.rule.state_dict(),
            "strategy": self.strategy.state_dict(),
            "stream": self.stream.get_state(),
            "games": [game.state_dict() for game in self.games],
            "curve": self.curve,
            "cpu_s": self.cpu_s,
        }
        save_tensors(path, content)

    def load(self, path: Path) -> None:
        """Go on from there.

        Raises:
            InputError: The file is of a training with other settings.
        """
        saved = state_of(path, self.plan, "training")
        self.rule.load_state_dict(saved["rule"])
        self.strategy.load_state_dict(saved["strategy"])
        self.stream.set_state(saved["stream"])
        for game, state in zip(self.games, saved["games"], strict=True):
            game.load_state_dict(state, self.rule)
        self.curve, self.cpu_s = saved["curve"], saved["cpu_s"]


def recorded(options: argparse.Namespace) -> dict[str, tracking.Sequence]:
    """Return the recorded trainings to learn from; record what is missing, if asked.

    Raises:
        InputError: One is missing and is not to be recorded.
    """
    sequences = {}
    for env, lr, seed in itertools.product(ENVS, POLICY_LRS, options.sequence_seeds):
        path = options.folder / lr / f"{env}-seed{seed}.npz"
        if env == options.leave_out:
            continue
        if not path.exists():
            if not options.record:
                raise InputError(f"no sequence {path}: --record makes what is missing")
            demos = demonstrations(env, options.demos_dir)
            steps = options.rollouts * tracking.N_ENVS * tracking.N_STEPS
            tracking.record(env, demos, seed, steps, Muon(1e-2), path.parent, float(lr))
        sequences[f"{env} policy_lr={lr} seed={seed}"] = tracking.Sequence.load(path)
    return sequences


def demonstrations(env: str, folder: Path) -> Demonstrations:
    """Return one expert episode, from a file in the folder or else the package's."""
    file = folder / f"{env}.npz"
    return Demonstrations.load(file if file.exists() else env).head(1)


def main() -> None:
    """Train, and write the rule with where it comes from."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of the rule")
    parser.add_argument("--leave-out", choices=ENVS, help="an environment not to learn from")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"sequences ({FOLDER})")
    parser.add_argument("--record", action="store_true", help="record sequences that are missing")
    parser.add_argument("--demos-dir", type=Path, default=Path("demos"), help="<env>.npz (demos)")
    parser.add_argument("--sequence-seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--rollouts", type=int, default=100, help="of each recorded training (100)")
    parser.add_argument("--steps", type=int, default=24, help="steps of the strategy (24)")
    parser.add_argument("--pairs", type=int, default=4, help="antithetic pairs (4)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)

    training = Training(recorded(options), options.steps, options.pairs, options.seed)
    state_file = options.out.with_suffix(".state.pt")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if state_file.exists():
        training.load(state_file)
    while len(training.curve) < options.steps:
        training.step()
        rule = training.result()
        pace = [[round(x, 2) for x in row] for row in rule.pace.tolist()]
        print(
            f"{len(training.curve)}/{options.steps} {training.curve[-1]:+.4f} {pace} "
            f"{rule.betas[0]:.3f} {training.cpu_s:.0f} CPU s",
            flush=True,
        )
        if len(training.curve) % 5 == 0 or len(training.curve) == options.steps:
            training.save(state_file)
    command = ["python benchmarks/pretrain.py --record"]
    command += [f"--leave-out {options.leave_out}"] if options.leave_out else []
    command += [f"--{name} {getattr(options, name)}" for name in ("steps", "pairs", "seed")]
    command += [f"--rollouts {options.rollouts}", "--sequence-seeds"]
    command += [*map(str, options.sequence_seeds), "--out PATH"]
    meta = {
        "trained_on": training.plan["sequences"],
        "demonstrations.sha256": {
            env: demonstrations(env, options.demos_dir).digest
            for env in ENVS
            if env != options.leave_out
        },
        "left_out": options.leave_out,
        "settings": [dict(setting) for setting in SETTINGS],
        "objective": "mean log of the discriminator's loss on fresh rollouts, before their updates",
        "method": f"persistent evolution, {options.steps} steps of {options.pairs} pairs",
        "command": " ".join(command),
        "cpu_s": round(training.cpu_s),
        "versions": {name: str(version) for name, version in versions().items()},
    }
    save_rule(options.out, training.result(), meta)
    print(f"{options.out}: {options.out.stat().st_size} bytes, {training.cpu_s:.0f} CPU s")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
