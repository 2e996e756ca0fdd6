"""A training of images whose numbers are not finite: what is refused, recovered, named, saved."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adv_training import training
from adv_training.data import Dataset
from adv_training.training import Training
from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.errors import InputError
from tests.adv_training.support import start, tiny_settings


def begin(folder: Path, data: Dataset, method: str, *, resume: bool = False) -> Training:
    settings = tiny_settings(method, epochs=2, batch_size=10)  # 16 steps an epoch
    return start(folder, settings, data, resume=resume, save_every=4)


def spoil_at(
    monkeypatch: pytest.MonkeyPatch, step: int, spoil: Callable[[Training], None], run: Training
) -> None:
    """Do something to the run before one of its steps."""
    real = training.train_step

    def train_step(trainer: Any, *rest: Any) -> dict[str, torch.Tensor]:
        if trainer.steps == step:
            spoil(run)
        return real(trainer, *rest)

    monkeypatch.setattr(training, "train_step", train_step)


def fill(tensor: torch.Tensor, value: float) -> None:
    with torch.no_grad():
        tensor.fill_(value)


@pytest.mark.slow
def test_attacker_that_died_is_set_back_and_counted(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(tmp_path, data, "grad_l2l")
    spoil_at(monkeypatch, 6, lambda run: fill(next(run.method.rule.parameters()), math.nan), run)
    with pytest.warns(RuntimeWarning, match="the attacker's weights left the finite numbers"):
        summary = run.run()
    written = json.loads(run.folder.summary.read_text())
    for found in (summary, written):
        assert found["refused_steps"] == 1
        assert found["skipped_meta_updates"] <= 1  # one, if that step was to train the attacker
        assert found["rule_resets"] == 1
    state = load_checkpoint(run.folder.checkpoint)
    assert all(bool(tensor.isfinite().all()) for tensor in state["classifier"].values())
    assert all(bool(tensor.isfinite().all()) for tensor in state["trainer"]["rule"].values())
    assert summary["attacker_moved"] > 0


def test_one_batch_that_overflows_costs_one_step(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(tmp_path, data, "pgd")
    real = run.game.training_loss
    calls = 0

    def training_loss(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(*args) * (math.inf if calls == 7 else 1.0)

    monkeypatch.setattr(run.game, "training_loss", training_loss)
    with pytest.warns(RuntimeWarning, match="the training loss left the finite numbers"):
        summary = run.run()
    assert summary["refused_steps"] == 1
    assert "rule_resets" not in summary  # pgd learns no rule
    assert summary["epochs"] == 2


PARTS: dict[str, tuple[Callable[[Training], None], str]] = {
    "classifier": (
        lambda run: fill(next(run.game.classifier.parameters()), math.inf),
        r"step 7 of grad_l2l: the classifier's weights left.*lower --lr 0\.",
    ),
    "statistics": (
        lambda run: fill(dict(run.game.classifier.named_buffers())["1.1.running_var"], math.nan),
        r"step 7 of grad_l2l: the classifier's weights left.*lower --lr 0\.",
    ),
    "logits": (
        lambda run: [fill(p, 1e30) for p in run.game.classifier.parameters()] and None,
        r"step 16 of grad_l2l: the attacked images left.*--attacker-lr 0\.\d+ or --lr 0\.",
    ),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.filterwarnings("ignore:step .* was not taken")
def test_what_cannot_recover_is_named_and_not_saved_and_the_run_goes_on_from_before(
    part: str, tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, said = PARTS[part]
    run = begin(tmp_path, data, "grad_l2l")
    with monkeypatch.context() as patch:
        spoil_at(patch, 6, spoil, run)
        with pytest.raises(InputError, match=said) as caught:
            run.run()
    assert "\n" not in str(caught.value)
    state = load_checkpoint(run.folder.checkpoint)
    assert all(bool(tensor.isfinite().all()) for tensor in state["classifier"].values())
    if part == "logits":  # its weights are finite: nobody can tell yet
        return
    assert state["trainer"]["counts"][0] == 4
    resumed = begin(tmp_path, data, "grad_l2l", resume=True)
    assert resumed.trainer.steps == 4
    assert resumed.run()["refused_steps"] == 0


def test_state_that_is_not_finite_does_not_replace_a_checkpoint(
    tmp_path: Path, data: Dataset
) -> None:
    run = begin(tmp_path, data, "grad_l2l")
    run._save()
    before = run.folder.checkpoint.read_bytes()
    places = {
        "classifier's": next(run.game.classifier.parameters()),
        "attacker's": next(run.method.rule.parameters()),
    }
    for name, tensor in places.items():
        kept = tensor.detach().clone()
        fill(tensor, math.nan)
        with pytest.raises(InputError, match=f"the {name} '.*' is not finite"):
            run._save()
        with torch.no_grad():
            tensor.copy_(kept)
    assert run.folder.checkpoint.read_bytes() == before
    run._save()
