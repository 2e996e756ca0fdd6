"""What all methods are trained by: epsilon's ramp, average, smoothing, schedules, presets."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adv_training import training
from adv_training.data import Dataset
from adv_training.presets import PRESETS, preset
from adv_training.schedule import learning_rate, one_cycle
from adv_training.settings import Settings
from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.errors import InputError
from tests.adv_training.support import start, tiny_batch, tiny_game, tiny_settings


def test_epsilon_grows_over_the_ramp_and_judges_see_the_whole_ball(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []
    real = training.train_step

    def watched(trainer: Any, method: Any, batch: Any) -> Any:
        seen.append((trainer.game.eps, method.rule.lr))
        return real(trainer, method, batch)

    monkeypatch.setattr(training, "train_step", watched)
    settings = tiny_settings("fgsm_rs", epochs=2, ramp=0.5)
    run = start(tmp_path, settings, data)
    run.run()
    radii = np.array([radius for radius, _ in seen]) / settings.radius
    expected = np.minimum(1.0, (np.arange(10) + 0.5) / 10 / 0.5)
    np.testing.assert_allclose(radii, expected)
    np.testing.assert_allclose([step for _, step in seen], 1.25 * radii * settings.radius)
    assert run.review.game.eps == settings.radius


def test_the_average_is_what_is_judged_and_kept(tmp_path: Path, data: Dataset) -> None:
    run = start(tmp_path, tiny_settings("pgd", ema=0.9), data)
    run.run()
    assert run.average is not None
    assert run.average.steps == run.trainer.steps
    last, kept = run.average.model.state_dict(), load_checkpoint(run.folder.checkpoint)
    assert any(not torch.equal(v, kept["classifier"][k]) for k, v in last.items())
    assert all(torch.equal(v, kept["average"]["model"][k]) for k, v in last.items())
    if kept["best"]["epoch"] == 2:
        assert all(torch.equal(v, kept["best"]["classifier"][k]) for k, v in last.items())


def test_smoothed_labels_are_the_leader_s_alone() -> None:
    game, batch = tiny_game(label_smoothing=0.2), tiny_batch()
    with torch.no_grad():
        train = copy.deepcopy(game.classifier).train()(batch.x)
        found, hard = game.leader_loss({"x": batch.x}, batch), F.cross_entropy(train, batch.y)
        even = -train.log_softmax(1).mean()
        torch.testing.assert_close(found, 0.8 * hard + 0.2 * even)
        loss = F.cross_entropy(game.classifier.eval()(batch.x), batch.y)
        torch.testing.assert_close(game.follower_loss({"x": batch.x}, batch), -loss)


def test_one_cycle_rises_and_falls() -> None:
    assert one_cycle(0.0, 0.2) == 0.0
    assert one_cycle(0.3, 0.2) == pytest.approx(0.2)
    assert one_cycle(0.15, 0.2) == pytest.approx(0.1)
    assert one_cycle(0.65, 0.2) == pytest.approx(0.1)
    assert one_cycle(1.0, 0.2) == 0.0


def test_steps_divide_the_rate_at_the_milestones() -> None:
    settings = tiny_settings("pgd", schedule="steps", lr=0.1, milestones=(0.25, 0.5))
    found = [learning_rate(done, settings) for done in (0.0, 0.2, 0.25, 0.49, 0.5, 0.99)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert learning_rate(0.15, tiny_settings("pgd")) == one_cycle(0.15, 0.2)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("method", ["pgd", "grad_l2l"])
def test_presets_train(tmp_path: Path, data: Dataset, name: str, method: str) -> None:
    small = {"model": "tiny_cnn", "epochs": 1, "batch_size": 40, "attacker_channels": 4}
    settings = preset(name, method, "synthetic", **small)
    summary = start(tmp_path, settings, data).run()
    assert summary["settings"]["lr"] == 0.1
    assert 0 <= summary["robust"] <= summary["clean"] <= 1


def test_presets_are_the_published_ones() -> None:
    paper, fastat = (preset(name, "grad_l2l", "cifar10") for name in ("paper", "fastat"))
    assert paper.radius == pytest.approx(0.031)
    rates = [learning_rate((epoch + 0.5) / 76, paper) for epoch in (0, 29, 30, 59, 60, 75)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3])
    assert (fastat.model, fastat.epochs, fastat.ema) == ("resnet18", 100, 0.9995)
    with pytest.raises(InputError, match="preset 'slow' is unknown; there are: paper, fastat"):
        preset("slow", "pgd", "cifar10")


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 1.5},
        {"epochs": float("nan")},
        {"batch_size": 60.0},
        {"pgd_steps": "2"},
        {"attacker_every": 1.5},
        {"seed": 0.5},
        {"classes": 9.5},
        {"shape": (3, 32.5, 32)},
    ],
)
def test_numbers_that_are_no_whole_ones_are_refused(changes: dict[str, Any]) -> None:
    ((name, _),) = changes.items()
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} .* must be a whole number"):
        Settings("pgd", "synthetic", **changes)


def test_whole_numbers_of_numpy_are_such() -> None:
    settings = Settings("pgd", "synthetic", epochs=np.int64(3), seed=np.int32(1))  # type: ignore[arg-type]
    assert settings == Settings("pgd", "synthetic", epochs=3, seed=1)
    assert type(settings.epochs) is int
