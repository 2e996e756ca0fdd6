"""The script train_gail.py: whole runs on a small budget."""

from __future__ import annotations

import dataclasses
import json
import re
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import l2l_gail.core.trainer as core_trainer
import train_gail
from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.core import L2LTrainer
from l2l_gail.demos.record import record_episodes
from l2l_gail.evaluation import random_policy
from l2l_gail.finding_runs import find_runs
from l2l_gail.gail.tags import BC_TAGS, TAGS
from tests.comparison.support import events, scalar_tags
from tests.gail.support import walk_demos

KEYS = (
    "method env seed steps eval_returns eval_lengths expert_return bc_return random_return "
    "wall_s cpu_s versions curve"
).split()


@pytest.mark.parametrize("what", ["credit", "both"])
def test_both_methods_are_trained_compared_and_written_down(
    what: str, short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_gail.main([*short, *(["--learned", what] if what == "both" else [])])
    printed = capsys.readouterr().out
    for row in ("gail", "l2l_gail", "expert", "behaviour cloning", "random", "make board"):
        assert row in printed
    runs = find_runs(tmp_path / "runs")
    assert [run.folder.method for run in runs] == ["gail+short", "l2l_gail+short"]
    for run in runs:
        assert [key for key in KEYS if key not in run.summary] == []
        assert run.summary["steps"] == 64
        assert len(run.summary["eval_returns"]) == 10
        assert run.summary["curve"]["steps"] == [32, 64]
        assert run.summary["bc_return"] == 800.0
        assert (run.folder.path / "model.zip").is_file()
        own = {tag for tag in scalar_tags(run.folder.path) if tag.split("/")[0] not in SB3_GROUPS}
        probed = {tag for tag in TAGS if tag.startswith("rule/tracking_")}
        learned = {tag for tag in TAGS if tag.startswith("rule/")} - {"rule/step_size"}
        credit = {tag for tag in TAGS if tag.startswith("credit/")}
        of_other_rules = {"rule/momentum", "rule/learning_rate"}
        lacking = probed | of_other_rules | {"disc/logit_absorbing", "time/tracking_s"}
        if run.folder.method == "gail+short":
            lacking |= learned | credit
        elif what == "credit":  # the default
            lacking |= learned
        assert own == set(TAGS) - lacking
        assert run.summary["state_w1"] > 0


def test_what_is_said_of_the_demonstrations_is_said_once(short: list[str], tmp_path: Path) -> None:
    dataclasses.replace(walk_demos(), env_id=None).save(tmp_path / "nameless.npz")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train_gail.main([*short, "--demos", str(tmp_path / "nameless.npz")])
    said = [str(one.message) for one in caught if "do not say of which" in str(one.message)]
    assert len(said) == 1


SB3_GROUPS = {"rollout", "time", "train"}


@pytest.mark.slow
def test_probes_are_logged_and_change_nothing_else(short: list[str], tmp_path: Path) -> None:
    train_gail.main([*short, "--method", "gail"])
    train_gail.main([*short, "--method", "gail", "--probe-every", "1"])
    plain, probed = sorted((tmp_path / "runs" / "tests-Walk-v0" / "gail+short").iterdir())
    assert {tag.split("_")[0] for tag in scalar_tags(probed) - scalar_tags(plain)} == {
        "rule/tracking",
        "time/tracking",
    }
    states = [torch.load(each / "checkpoint.pt", weights_only=True) for each in (plain, probed)]
    left, right = (state["state"]["parameters"]["discriminator"] for state in states)
    assert all(torch.equal(value, right[name]) for name, value in left.items())


def test_the_documentation_lists_every_tag() -> None:
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    from adv_training.logbook import TAGS as IMAGE_TAGS

    for tag, formula in (TAGS | BC_TAGS | IMAGE_TAGS).items():
        row = re.search(rf"^\| `{re.escape(tag)}` \| (.*) \|$", text, re.MULTILINE)
        assert row is not None, tag
        assert row[1] == formula.replace("|", r"\|")


def test_the_script_goes_through_the_core(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, int] = {"unroll": 0, "step": 0, "meta-update": 0}

    def counting(name: str, function: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            found = function(*args, **kwargs)
            calls["meta-update"] += name == "step" and "meta_loss" in found
            return found

        return counted

    monkeypatch.setattr(core_trainer, "unroll", counting("unroll", core_trainer.unroll))
    monkeypatch.setattr(L2LTrainer, "step", counting("step", L2LTrainer.step))
    train_gail.main([*short, "--updates", "3", "--learned", "both", "--meta-every", "2"])
    # 2 methods, 2 rollouts, 3 updates
    assert calls == {"unroll": 12, "step": 12, "meta-update": 3}


@pytest.mark.slow
def test_a_second_run_gets_a_folder_of_its_own(short: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        train_gail.main([*short, "--method", "gail"])
    folder = tmp_path / "runs" / "tests-Walk-v0" / "gail+short"
    assert sorted(path.name for path in folder.iterdir()) == ["seed0", "seed0-2"]
    first, second = (
        json.loads((folder / name / "summary.json").read_text()) for name in ("seed0", "seed0-2")
    )
    for key in ("eval_returns", "curve", "bc_return"):  # one seed, one result
        assert first[key] == second[key]


def test_what_differs_is_a_group_of_its_own(short: list[str], tmp_path: Path) -> None:
    unnamed = short[: short.index("--name")] + short[short.index("--out") :]
    flags = "--update-rule optimistic_adam --matched-effort --learned rule --meta-every 2".split()
    train_gail.main([*unnamed, *flags])
    names = [run.summary["method"] for run in find_runs(tmp_path / "runs")]
    usual = "n_envs=2+eval_every=32+demos=walk+n_steps=16"
    matched = "update_rule=optimistic_adam+matched_effort=True+meta_every=2"
    assert names[0] == f"gail+{usual}+{matched}"
    assert names[1] == f"l2l_gail+{usual}+learned=rule+meta_every=2"


@pytest.mark.usefixtures("hardly_cloned")
def test_environment_arguments_reach_every_environment(tmp_path: Path) -> None:
    """Ant's 27-wide observations, another model file, and heights that end episodes early."""
    kwargs = {
        "include_cfrc_ext_in_observation": False,
        "xml_file": "ant.xml",
        "healthy_z_range": [0.7, 1.0],
    }
    env = gymnasium.make("Ant-v5", **kwargs)
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    demos = record_episodes(random_policy(env.action_space, 0), "Ant-v5", [0, 1], kwargs)
    assert demos.obs.shape[1] == 27
    demos.save(tmp_path / "ant.npz")
    flags = "--env Ant-v5 --n-envs 2 --n-steps 16 --total-timesteps 32 --method gail".split()
    train_gail.main(
        [
            *flags,
            *("--demos", str(tmp_path / "ant.npz"), "--out", str(tmp_path / "runs")),
            *("--env-kwargs", *(f"{key}={value}" for key, value in kwargs.items())),
        ]
    )
    (run,) = find_runs(tmp_path / "runs")
    assert np.isfinite(run.summary["eval_returns"]).all()
    assert max(run.summary["eval_lengths"]) < 1_000


@pytest.mark.slow
def test_behaviour_cloning_is_a_method_with_a_folder_of_its_own(
    short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloning = [*short, "--method", "bc", "--policy-hidden-sizes", "16"]
    cloning = [flag for flag in cloning if flag not in ("--eval-every", "32")]
    train_gail.main([*cloning, "--bc-steps", "1000"])
    assert "1,000 steps a run" in capsys.readouterr().out
    (run,) = find_runs(tmp_path / "runs")
    assert [key for key in KEYS if key not in run.summary] == []
    assert (run.summary["method"], run.summary["steps"]) == ("bc+short", 0)
    assert run.summary["gradient_steps"] == 1_000
    assert run.summary["curve_by_gradient_steps"]["steps"] == list(range(100, 1_001, 100))
    # The reference of the other methods' tables is this run, policy and episodes alike.
    assert np.mean(run.summary["eval_returns"]) == run.summary["bc_return"]
    assert "updates" not in run.folder.read_config()
    for name in ("model.zip", "checkpoint.pt", "policies/first.npz", "policies/last.npz"):
        assert (run.folder.path / name).is_file()
    own = {tag for tag in scalar_tags(run.folder.path) if not tag.startswith("time/")}
    assert own == {*BC_TAGS, *(tag for tag in TAGS if tag.startswith("eval/"))}
    train_gail.main([*cloning, "--bc-steps", "1000", "--resume"])
    assert "is finished already" in capsys.readouterr().err


@pytest.mark.parametrize("rule", ["adam", "muon", "coordinate_mlp"])
def test_airl_is_a_method_that_trains_with_any_rule(
    rule: str, short: list[str], tmp_path: Path
) -> None:
    train_gail.main([*short, "--method", "airl", "--update-rule", rule, "--state-only-reward"])
    (run,) = find_runs(tmp_path / "runs")
    assert run.summary["method"] == "airl+short"
    assert run.folder.read_config()["state_only_reward"] is True
    weights = load_checkpoint(run.folder.path / "checkpoint.pt")["parameters"]["discriminator"]
    assert {name.split(".")[0] for name in weights} >= {"g", "h"}
    assert weights["g.0.weight"].shape == (100, 2)
    assert ("meta_learning_rate" in run.folder.read_config()) is (rule == "coordinate_mlp")


def test_no_demos_is_the_control_with_a_constant_reward(short: list[str], tmp_path: Path) -> None:
    train_gail.main([*short, "--method", "no_demos"])
    (run,) = find_runs(tmp_path / "runs")
    assert run.summary["method"] == "no_demos+short"
    read = events(run.folder.path)
    rewards = [event.value for event in read.Scalars("gail/reward_mean")]
    assert rewards == [1.0] * len(rewards)
    assert torch.get_num_threads() == 1
