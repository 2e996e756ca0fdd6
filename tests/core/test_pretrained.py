"""The pre-trained rule of the package: its file, its provenance, and that it goes on learning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from l2l_gail.core import (
    Adam,
    L2LTrainer,
    PacedMatrixRule,
    build_rule,
    load_pretrained,
    load_rule,
    load_rule_meta,
    parse_rule,
    register_builder,
    rule_from_dict,
    rule_name,
    rule_to_dict,
    save_rule,
)
from l2l_gail.core.pretrained import PRETRAINED
from l2l_gail.core.registry import builder_names, rule_names
from l2l_gail.errors import InputError
from tests.core.test_matrix_rule import Problem


def test_the_file_is_small_sealed_and_plain_data() -> None:
    content = PRETRAINED.read_bytes()
    assert len(content) < 20_000
    assert content[-71:-64] == b"sha256:"
    saved = torch.load(PRETRAINED, weights_only=True)
    assert saved["rule"] == "paced_matrix_rule"


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    content = bytearray(PRETRAINED.read_bytes())
    path = tmp_path / "rule.pt"
    for bit in range(0, 8 * len(content), 997):
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            load_pretrained(path)
        content[bit // 8] ^= 1 << bit % 8


def test_it_says_what_it_was_trained_on_how_and_at_what_cost() -> None:
    meta = load_rule_meta(PRETRAINED)
    assert {name.split()[0] for name in meta["trained_on"]} == {
        "HalfCheetah-v5",
        "Hopper-v5",
        "Walker2d-v5",
    }
    assert meta["left_out"] is None
    assert meta["command"].startswith("python benchmarks/pretrain.py ")
    assert meta["cpu_s"] > 0
    assert {"torch", "l2l_gail", "python"} <= set(meta["versions"])


def test_by_its_name_it_is_the_same_rule() -> None:
    loaded, built = load_pretrained(), build_rule("pretrained", seed=3)
    assert isinstance(built, PacedMatrixRule)
    assert built.config == {**loaded.config, "seed": 3}
    assert torch.equal(built.pace, load_rule(PRETRAINED).get_parameter("pace"))
    assert bool(built.pace.any())
    assert rule_name(built) == "paced_matrix_rule"
    assert parse_rule("pretrained:step_lr_ratio=7.0").config["step_lr_ratio"] == 7.0


def test_what_the_rule_does_not_take_is_refused() -> None:
    with pytest.raises(InputError, match=r"takes no hiden; it takes betas, eps, .*seed"):
        build_rule("pretrained", hiden=3)
    with pytest.raises(InputError, match="does not fit"):
        build_rule("pretrained", learn_momentum=True)  # the file has no weight for it
    with pytest.raises(InputError, match=r"no rule at .*none\.pt"):
        build_rule("pretrained", path="none.pt")


def test_it_goes_on_learning() -> None:
    rule = load_pretrained()
    start = rule.get_parameter("log_step").detach().clone()
    optimizer = torch.optim.Adam(rule.meta_parameter_groups(3e-3))
    trainer = L2LTrainer(Problem(), rule, meta_optimizer=optimizer, persistent=True)
    for _ in range(5):
        trainer.step([None])
    assert not torch.equal(rule.get_parameter("log_step"), start)
    trainer.reset_rule()
    for name, weight in load_pretrained().state_dict().items():
        assert torch.equal(rule.state_dict()[name], weight)


def test_a_rule_is_saved_under_its_class_and_no_file_leads_to_another(tmp_path: Path) -> None:
    assert "pretrained" in builder_names()
    assert "pretrained" not in rule_names()
    saved = rule_to_dict(load_pretrained())
    with pytest.raises(InputError, match="'pretrained' that is not registered"):
        rule_from_dict({**saved, "rule": "pretrained", "config": {"path": "elsewhere"}})


def test_a_builder_of_ones_own_has_a_name_that_nobody_else_has() -> None:
    from l2l_gail.core import registry

    @register_builder("calm_adam")
    def calm_adam(lr: float = 1e-5) -> Adam:
        return Adam(lr)

    try:
        assert build_rule("calm_adam").config["lr"] == 1e-5
        for taken in ("adam", "pretrained"):
            with pytest.raises(InputError, match=f"is registered as '{taken}'"):
                register_builder(taken)(lambda: Adam(1e-3))
        with pytest.raises(InputError, match="lower-case words"):
            register_builder("Calm")(lambda: Adam(1e-3))
    finally:
        del registry._BUILDERS["calm_adam"]


def test_another_file_of_a_rule_can_be_the_start(tmp_path: Path) -> None:
    rule = PacedMatrixRule(0.02)
    with torch.no_grad():
        rule.pace.fill_(0.25)
    save_rule(tmp_path / "mine.pt", rule, {"trained_on": "a point"})
    mine = parse_rule(f"pretrained:path={str(tmp_path / 'mine.pt')!r}")
    assert torch.equal(mine.get_parameter("pace"), rule.pace)
    assert load_rule_meta(tmp_path / "mine.pt") == {"trained_on": "a point"}
