"""The table at the end: what is one row, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from adv_training import results_table
from l2l_gail.errors import InputError
from tests.adv_training.support import tiny_settings


def summary(robust: float, seed: int = 0, **changes: Any) -> dict[str, Any]:
    settings = tiny_settings("grad_l2l", seed=seed, **changes)
    cost = ("forward_equivalents", "wall_s", "cpu_s", "attack_gain_l2l", "attack_gain_fgsm")
    images = {"train_images": 100, "held_out_images": 10, "eval_images": 40}
    return {
        "method": settings.label,
        "data": "synthetic",
        "seed": seed,
        "epochs": settings.epochs,
        **dict.fromkeys(("clean", "pgd20", "robust", "clean_best", "robust_best"), robust),
        **dict.fromkeys((*cost, "attacker_moved"), 1.0),
        **images,
        "settings": settings.to_dict(),
    }


def rows(*summaries: dict[str, Any]) -> list[list[str]]:
    title, _, *lines = results_table(summaries).splitlines()
    return [title.split(), *(line.split() for line in lines if line.startswith("grad_l2l"))]


def test_seeds_of_one_setting_are_one_row() -> None:
    _, (name, clean, sign, deviation, *_) = rows(summary(0.2), summary(0.4, seed=1))
    assert (name, clean, sign, deviation) == ("grad_l2l", "30.0", "±", "14.1")


def test_runs_of_other_settings_are_rows_of_their_own_named_by_what_differs() -> None:
    title, *lines = rows(
        summary(0.4, eps=2.0, epochs=1),
        summary(0.2, eps=16.0),
        summary(0.6, eps=2.0, epochs=1, seed=1),
    )
    assert title == ["synthetic,", "mean", "of", "seeds", "0,", "1,", "1,", "2", "epochs"]
    assert [line[:4] for line in lines] == [
        ["grad_l2l", "epochs=1", "eps=2.0", "50.0"],
        ["grad_l2l", "epochs=2", "eps=16.0", "20.0"],
    ]


def test_trainings_on_more_images_are_no_seeds_of_those_on_fewer() -> None:
    _, *lines = rows(summary(0.4), summary(0.2, seed=1) | {"train_images": 900})
    assert [line[:3] for line in lines] == [
        ["grad_l2l", "train_images=100", "40.0"],
        ["grad_l2l", "train_images=900", "20.0"],
    ]


def test_a_record_of_before_a_setting_was_one_is_a_seed_of_those_that_have_it() -> None:
    old = summary(0.2)
    del old["settings"]["attacker_every"]
    assert len(rows(old, summary(0.4, seed=1))) == 2
    del old["settings"]
    assert len(rows(old, summary(0.4, seed=1))) == 2


def test_a_run_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match="seed 3 of grad_l2l is there twice; give each run once"):
        results_table([summary(0.2, seed=3), summary(0.2, seed=3)])
