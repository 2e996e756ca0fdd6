"""Learn a rule, and its game, by what whole games come to: how near they get to the expert.

    .venv/bin/python benchmarks/gail/whole_games.py --leave-out Walker2d-v5 --out runs/whole_games

A rule that is trained by the discriminator's own loss can do no more for the return than any good
optimizer of that loss (``docs/gail.md``). Here the outer objective is the game's: the mean, over
the evaluations of a game, of the logarithm of the Wasserstein-1 distance between the states that
the policy visits and the expert's. No return is seen. An evolution strategy
(``l2l_gail.core.EvolutionStrategy``) moves

- the rule: the eight weights of ``PacedMatrixRule``'s pace, which start as Muon at 1e-2, and its
  momentum;
- the game: the weight of the discriminator's penalty, and the credit's caution.

All are on a scale of factors of two. The policy's learning rate and its pace stay as they are: in
games as short as these a fast policy would win that falls later. Each antithetic pair plays one
game in every environment, both candidates with the same seed.

``--leave-out`` names an environment that the search does not see, to judge what was learned there
(``configs/learned.toml``). The state of the search lies in ``--out``; a second call goes on where
the first one stopped. What was found is printed, and written to ``<out>/found.json``.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import grid  # noqa: E402
import measured  # noqa: E402

from benchmarks.records import as_lines, state_of  # noqa: E402
from l2l_gail.cli import parse, run_main  # noqa: E402
from l2l_gail.core import EvolutionStrategy, UpdateRule  # noqa: E402
from l2l_gail.errors import InputError  # noqa: E402
from l2l_gail.files import atomic_write, save_tensors  # noqa: E402
from l2l_gail.runs import versions  # noqa: E402

ENVS = ("HalfCheetah-v5", "Walker2d-v5", "Hopper-v5")
GAME = {
    "friction": 0.1,
    "penalty_weight": 1.0,
    "caution": 2.0,
}
"""Numbers that the search moves by factors of two, and where they start. ``friction`` is 1 less the
momentum."""
WEIGHTS = 8
"""Of the rule's pace, which start at 0: Muon at a fixed rate."""
EVALUATIONS = 5
SIGMA = 0.5
META_LR = 0.75
"""Of plain gradient descent: what the games do not tell apart stays where it is."""


@dataclass(frozen=True)
class Config:
    """Flags of whole_games.py."""

    out: Path = Path("runs/whole_games")
    """Folder of the state and of what was found."""
    leave_out: str = "Walker2d-v5"
    """An environment not to learn from; "" for none."""
    steps: int = 12
    """Steps of the strategy."""
    pairs: int = 4
    """Antithetic pairs in each."""
    game_steps: int = 102_400
    """Environment steps of a game."""
    seed: int = 100
    """Of the candidates, and of the first games; every pair of a step has a seed of its own."""
    demos_dir: Path = Path("demos")
    """Where <env>.npz with recorded expert episodes lies; else the embedded set is taken."""


class Numbers(UpdateRule):
    """What is searched, in octaves from where it starts: not a rule, but moved like one."""

    def __init__(self) -> None:
        super().__init__()
        self.octaves = nn.Parameter(torch.zeros(len(GAME) + WEIGHTS))

    def values(self) -> dict[str, Any]:
        """Return the game's numbers by name, and the ``pace``'s weights as a list."""
        game, weights = self.octaves.tolist()[: len(GAME)], self.octaves.tolist()[len(GAME) :]
        moved = zip(GAME.items(), game, strict=True)
        return {name: rounded(start * 2.0**octave) for (name, start), octave in moved} | {
            "pace": [rounded(weight * math.log(2.0)) for weight in weights]
        }


def cell_of(values: dict[str, Any], env: str, seed: int, steps: int) -> dict[str, Any]:
    """Return a game of the GAIL grid with these numbers."""
    momentum = 1.0 - min(values["friction"], 0.5)
    return {
        "env": env,
        "setting": "default",
        "method": "learned",
        "seed": seed,
        "steps": steps,
        "eval_every": steps // EVALUATIONS,
        "rule": "searched_rule",
        "arguments": {"lr": 1e-2, "momentum": momentum, "pace": values["pace"]},
        "credit": {"caution": values["caution"], "action_samples": 4},
        "discriminator": {"penalty_weight": values["penalty_weight"]},
        "ppo": {"learning_rate": 1e-3},
        "policy_pace": 0.5,
        "policy_average": 0.9,
    }


def loss_of(record: dict[str, Any]) -> float:
    """Return the mean logarithm of the distance to the expert's states over the evaluations."""
    distances = record["evaluations"]["state_w1"]
    return sum(math.log(distance) for distance in distances) / len(distances)


class Search:
    """The strategy, the games that it plays, and what came of them.

    Args:
        config: How long, where, from which seed.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.envs = [env for env in ENVS if env != config.leave_out]
        self.numbers = Numbers()
        optimizer = torch.optim.SGD(self.numbers.parameters(), lr=META_LR)
        self.strategy = EvolutionStrategy(
            self.numbers, optimizer, pairs=config.pairs, sigma=SIGMA, seed=config.seed
        )
        self.history: list[dict[str, Any]] = []
        self.cpu_s = 0.0

    def step(self) -> None:
        """Play the games of one step of the strategy, and move the numbers."""
        begun = time.process_time()
        losses = []
        for i, candidate in enumerate(self.strategy.ask()):
            assert isinstance(candidate, Numbers)
            seed = self.config.seed + len(self.history) * self.config.pairs + i // 2
            losses.append([self._play(candidate.values(), env, seed) for env in self.envs])
        self.strategy.tell([sum(of_envs) / len(of_envs) for of_envs in losses])
        self.cpu_s += time.process_time() - begun
        by_env = zip(self.envs, zip(*losses, strict=True), strict=True)
        self.history.append(
            {
                "loss": {env: round(sum(some) / len(some), 4) for env, some in by_env},
                "numbers": self.numbers.values(),
            }
        )

    def _play(self, values: dict[str, Any], env: str, seed: int) -> float:
        cell = cell_of(values, env, seed, self.config.game_steps)
        return loss_of(measured.run(cell, grid.demonstrations(cell, self.config.demos_dir)))

    def save(self, path: Path) -> None:
        """Write everything to go on from."""
        content = {
            "plan": self._plan(),
            "numbers": self.numbers.state_dict(),
            "strategy": self.strategy.state_dict(),
            "history": self.history,
            "cpu_s": self.cpu_s,
        }
        save_tensors(path, content)

    def load(self, path: Path) -> None:
        """Go on from there.

        Raises:
            InputError: The file is of a search with other settings.
        """
        saved = state_of(path, self._plan(), "search")
        self.numbers.load_state_dict(saved["numbers"])
        self.strategy.load_state_dict(saved["strategy"])
        self.history, self.cpu_s = saved["history"], saved["cpu_s"]

    def _plan(self) -> dict[str, Any]:
        flags = asdict(self.config)
        return {name: flags[name] for name in flags if name not in ("out", "demos_dir", "steps")}

    def found(self) -> dict[str, Any]:
        """Return the record of the search."""
        return {
            "searched_on": self.envs,
            "flags": self._plan() | {"steps": len(self.history)},
            "start": Numbers().values(),
            "found": self.numbers.values(),
            "curve": self.history,
            "cpu_s": round(self.cpu_s),
            "versions": versions(),
        }


def rounded(value: float) -> float:
    """Return a number with three significant digits."""
    return float(f"{value:.3g}")


def main(argv: list[str] | None = None) -> None:
    """Search, and write what was found."""
    config = parse(Config, argv, prog="whole_games.py", description="Learn by whole games.")
    if config.leave_out and config.leave_out not in ENVS:
        raise InputError(f"--leave-out {config.leave_out} is none of {', '.join(ENVS)}")
    torch.set_num_threads(1)
    config.out.mkdir(parents=True, exist_ok=True)
    state = config.out / "search.pt"
    search = Search(config)
    if state.exists():
        search.load(state)
    while len(search.history) < config.steps:
        search.step()
        search.save(state)
        print(f"{len(search.history)}/{config.steps} {json.dumps(search.history[-1])}", flush=True)
    atomic_write(config.out / "found.json", as_lines(search.found()).encode())
    print(f"{config.out / 'found.json'}: {search.found()['found']}, {search.cpu_s:.0f} CPU s")


if __name__ == "__main__":
    run_main(main)
