"""The pre-trained rule in L2L-GAIL: by flag, in a saved model, and not by what a file says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from l2l_gail.core import PacedMatrixRule, load_pretrained
from l2l_gail.errors import InputError
from l2l_gail.gail import L2LGAIL, DiscriminatorConfig
from l2l_gail.gail.flags import MethodFlags
from tests.gail.tensor_support import ROLLOUT, TensorWalk, make


def test_the_flag_gives_the_rule_of_the_package_and_trains_it() -> None:
    flags = MethodFlags(
        learned="both", learned_rule="pretrained", learned_args=("step_lr_ratio=2.0",)
    )
    kwargs = flags.gail_kwargs("l2l_gail", 5, DiscriminatorConfig())
    assert isinstance(kwargs["rule"], PacedMatrixRule)
    assert torch.equal(kwargs["rule"].pace, load_pretrained().get_parameter("pace"))
    assert kwargs["rule"].config["step_lr_ratio"] == 2.0
    assert kwargs["rule_training"] is flags.training


def test_the_step_can_be_held_fixed_and_then_nothing_is_trained() -> None:
    flags = MethodFlags(
        learned="both", learned_rule="pretrained", learned_args=("learn_step=False",)
    )
    kwargs = flags.gail_kwargs("l2l_gail", 5, DiscriminatorConfig())
    assert kwargs["rule_training"] is None
    assert "meta_every" in flags.unused("l2l_gail")
    model = make(L2LGAIL, TensorWalk(), rule=kwargs["rule"])
    model.learn(2 * ROLLOUT)
    assert model.discriminator_updates.trainer.meta_optimizer is None
    assert not bool(model.rule.log_step)


def test_a_saved_model_carries_the_rule_and_what_it_has_learned(tmp_path: Path) -> None:
    model = make(L2LGAIL, TensorWalk(), rule=load_pretrained())
    model.learn(2 * ROLLOUT)
    assert model.rule is not None
    learned = {name: weight.clone() for name, weight in model.rule.state_dict().items()}
    assert not torch.equal(learned["log_step"], load_pretrained().state_dict()["log_step"])
    model.save(tmp_path / "model.zip")
    loaded = L2LGAIL.load(tmp_path / "model.zip")
    assert loaded.rule_spec["rule"] == "paced_matrix_rule"
    for name, weight in loaded.rule.state_dict().items():
        assert torch.equal(weight, learned[name]), name
    loaded.discriminator_updates.trainer.reset_rule()
    for name, weight in loaded.rule.state_dict().items():
        assert torch.equal(weight, load_pretrained().state_dict()[name]), name


def test_a_model_that_names_a_builder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(L2LGAIL, TensorWalk(), rule=load_pretrained())
    monkeypatch.setattr("l2l_gail.gail.rule_spec.rule_name", lambda rule: "pretrained")
    model.save(tmp_path / "model.zip")
    with pytest.raises(InputError, match="'pretrained' is no class of rules"):
        L2LGAIL.load(tmp_path / "model.zip")
