"""Meta-gradients that are carried forward: as a setting, saved, loaded and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import train_gail
from l2l_gail.core import MatrixRule
from l2l_gail.errors import InputError
from l2l_gail.gail import GAIL, L2LGAIL, MethodFlags, RuleTraining
from tests.gail.models import make
from tests.gail.support import ENV_ID, walk_demos
from tests.gail.tensor_support import ROLLOUT, TensorWalk, assert_trained_alike
from tests.gail.tensor_support import make as make_on_tensors

FORWARD = RuleTraining(meta_mode="forward", meta_decay=0.9)


def tangents(model: GAIL) -> list[Any]:
    return model.discriminator_updates.state_dict()["trainer"]["tangents"]


def test_the_trainer_carries_derivatives_forward() -> None:
    by_mode = {}
    for training in (FORWARD, RuleTraining(meta_mode="forward"), RuleTraining()):
        model = make(L2LGAIL, rule=MatrixRule(1e-2), rule_training=training).learn(100)
        step = model.discriminator_updates.trainer.rule.log_step.item()
        by_mode[training.meta_mode, training.meta_decay] = step
    assert len(set(by_mode.values())) == 3


def test_a_saved_model_keeps_its_settings_and_goes_on_as_if_never_saved(tmp_path: Path) -> None:
    def begun() -> GAIL:
        rule = MatrixRule(1e-2)
        model = make_on_tensors(L2LGAIL, TensorWalk(), rule=rule, rule_training=FORWARD)
        return model.learn(2 * ROLLOUT)

    begun().save(tmp_path / "model")
    env = TensorWalk()
    again = L2LGAIL.load(tmp_path / "model", env=env, demonstrations=walk_demos(), device="cpu")
    assert again.rule_training == FORWARD
    model = begun()
    expert = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    policy = torch.randn(60, 3, generator=torch.Generator().manual_seed(2))
    for each in (model, again):
        each.discriminator_updates.update(expert, policy)
    assert_trained_alike(model, again, atol=0)
    (mine, _), (its, _) = tangents(model)[0], tangents(again)[0]
    for name, value in mine.items():
        assert torch.equal(value, its[name])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"meta_mode": "forwards"}, "meta_mode 'forwards' is unknown; perhaps you meant 'forward'"),
        ({"meta_decay": 1.5}, r"meta_decay must be in \[0, 1\], not 1.5"),
        ({"meta_decay": float("nan")}, r"meta_decay must be in \[0, 1\], not nan"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RuleTraining(**wrong)


def test_a_rule_of_too_many_numbers_is_refused_before_any_folder_is_made(tmp_path: Path) -> None:
    walk_demos().save(tmp_path / "walk.npz")
    places = ["--demos", str(tmp_path / "walk.npz"), "--out", str(tmp_path / "runs")]
    argv = ["--env", ENV_ID, "--method", "l2l_gail", "--meta-mode", "forward", *places]
    argv += ["--learned", "rule", "--learned-rule", "coordinate_mlp"]
    with pytest.raises(InputError, match=r"1 to 64 scalars, and CoordinateMLP learns \d+"):
        train_gail.main(argv)
    assert not (tmp_path / "runs").exists()
    flags = MethodFlags(learned="both", training=FORWARD)
    flags.check("l2l_gail")
    MethodFlags(training=FORWARD).check("gail")
