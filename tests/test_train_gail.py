"""The script train_gail.py: whole runs on a small budget, resumption, and wrong input."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import envs
import l2l_gail.core.trainer as core_trainer
import train_gail
from benchmarks.same_bits import digest_of
from l2l_gail.callbacks import TrueReturnCallback
from l2l_gail.checkpoints import load_checkpoint
from l2l_gail.cli import flags_of, run_main
from l2l_gail.core import L2LTrainer, MatrixRule, MetaMode
from l2l_gail.demos import Demonstrations
from l2l_gail.demos.record import record_episodes
from l2l_gail.errors import InputError
from l2l_gail.evaluation import random_policy
from l2l_gail.gail import (
    AIRL,
    BC,
    GAIL,
    L2LGAIL,
    DiscriminatorConfig,
    MethodFlags,
    RuleTraining,
)
from l2l_gail.gail.tags import BC_TAGS, TAGS
from l2l_gail.runs import find_runs
from l2l_gail.stopping import Interrupted
from tests.gail.support import ENV_ID, walk_demos

KEYS = (
    "method env seed steps eval_returns eval_lengths expert_return bc_return random_return "
    "wall_s cpu_s versions curve"
).split()


@pytest.fixture
def short(tmp_path: Path) -> list[str]:
    """Flags of a run of two rollouts on the tiny environment."""
    walk_demos().save(tmp_path / "walk.npz")
    return (
        f"--env {ENV_ID} --demos {tmp_path / 'walk.npz'} --n-envs 2 --n-steps 16 "
        f"--total-timesteps 64 --eval-every 32 --name short --out {tmp_path / 'runs'}"
    ).split()


def tags_of(folder: Path) -> set[str]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["scalars"])


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
        own = {tag for tag in tags_of(run.folder.path) if tag.split("/")[0] not in SB3_GROUPS}
        probed = {tag for tag in TAGS if tag.startswith("rule/tracking_")}
        learned = {tag for tag in TAGS if tag.startswith("rule/")} - {"rule/step_size"}
        credit = {tag for tag in TAGS if tag.startswith("credit/")}
        lacking = probed | {"disc/logit_absorbing"}
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


def test_probes_are_logged_and_change_nothing_else(short: list[str], tmp_path: Path) -> None:
    train_gail.main([*short, "--method", "gail"])
    train_gail.main([*short, "--method", "gail", "--probe-every", "1"])
    plain, probed = sorted((tmp_path / "runs" / "tests-Walk-v0" / "gail+short").iterdir())
    assert {tag.split("_")[0] for tag in tags_of(probed) - tags_of(plain)} == {
        "rule/tracking",
        "time/tracking",
    }
    states = [torch.load(each / "checkpoint.pt", weights_only=True) for each in (plain, probed)]
    left, right = (state["state"]["parameters"]["discriminator"] for state in states)
    assert all(torch.equal(value, right[name]) for name, value in left.items())


def test_the_documentation_lists_every_tag() -> None:
    text = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
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


def test_an_interrupted_run_goes_on_where_it_was(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "tests-Walk-v0" / "l2l_gail+short" / "seed0"
    flags = [*short, "--method", "l2l_gail", "--learned", "both"]
    train_gail.main([*flags, "--total-timesteps", "32"])
    (folder / "summary.json").unlink()  # as if killed before the end
    seen = []
    play = train_gail.TrainingRun.train

    def spy(self: train_gail.TrainingRun, *args: Any, **kwargs: Any) -> None:
        seen.append((self.model.num_timesteps, self.model.discriminator_updates.trainer.steps))
        play(self, *args, **kwargs)

    monkeypatch.setattr(train_gail.TrainingRun, "train", spy)
    train_gail.main([*flags, "--resume"])
    assert seen == [(32, 10)]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 64
    assert summary["curve"]["steps"] == [32, 64]
    train_gail.main([*flags, "--resume"])  # finished: nothing to do
    assert len(seen) == 1


def test_a_run_goes_on_only_under_its_own_settings(short: list[str], tmp_path: Path) -> None:
    train_gail.main([*short, "--method", "gail"])
    with pytest.raises(InputError, match="begun with other --updates, --learning-rate: "):
        train_gail.main(
            [*short, "--method", "gail", "--resume", "--learning-rate", "0.5", "--updates", "9"]
        )
    train_gail.main([*short, "--method", "gail", "--resume", "--total-timesteps", "96"])
    (run,) = find_runs(tmp_path / "runs")
    assert run.summary["steps"] == 96  # longer is the same run
    events = EventAccumulator(str(run.folder.path))
    events.Reload()
    assert [event.step for event in events.Scalars("disc/loss")] == [32, 64, 96]


def test_what_differs_is_a_group_of_its_own(short: list[str], tmp_path: Path) -> None:
    unnamed = short[: short.index("--name")] + short[short.index("--out") :]
    flags = "--update-rule optimistic_adam --matched-effort --learned rule --meta-every 2".split()
    train_gail.main([*unnamed, *flags])
    names = [run.summary["method"] for run in find_runs(tmp_path / "runs")]
    usual = "n_envs=2+eval_every=32+demos=walk+n_steps=16"
    matched = "update_rule=optimistic_adam+matched_effort=True+meta_every=2"
    assert names[0] == f"gail+{usual}+{matched}"
    assert names[1] == f"l2l_gail+{usual}+learned=rule+meta_every=2"


@pytest.mark.parametrize(("place", "label"), [("cpu", "gail"), ("cuda:1", "gail+device=cuda")])
def test_a_run_of_the_usual_settings_on_a_cpu_is_named_by_its_method_alone(
    monkeypatch: pytest.MonkeyPatch, place: str, label: str
) -> None:
    monkeypatch.setattr(envs, "learning_device", lambda *args: place)
    demos = Demonstrations.load("Hopper-v5")
    assert train_gail.plan_of(train_gail.read_flags([]), "gail", 0, demos).label == label


@pytest.mark.parametrize(
    ("method", "algorithm", "learned", "rule"),
    [
        ("gail", GAIL, "credit", None),
        ("l2l_gail", L2LGAIL, "credit", None),
        ("l2l_gail", L2LGAIL, "both", MatrixRule(seed=0)),
        ("airl", AIRL, "credit", None),
    ],
)
def test_the_library_s_defaults_are_the_script_s(
    method: str, algorithm: type[GAIL], learned: str, rule: MatrixRule | None
) -> None:
    flags = [] if learned == "credit" else ["--learned", learned]
    config, demos = train_gail.read_flags(flags), Demonstrations.load("Hopper-v5")
    with closing(envs.make_vec("Hopper-v5", config.n_envs, 0, {}, device="cpu")) as env:
        by_script = train_gail.make_model(config, method, 0, env, demos)
        by_script.learn(2048)
        env.seed(0)
        by_library = algorithm("MlpPolicy", env, "Hopper-v5", rule=rule, seed=0, device="cpu")
        by_library.learn(2048)
    for name in ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef"):
        assert getattr(by_library, name) == getattr(by_script, name), name
    assert by_library.policy_kwargs == by_script.policy_kwargs
    assert by_library.discriminator_config == by_script.discriminator_config
    assert (by_library.rule_training or RuleTraining()) == RuleTraining()
    ours, theirs = (model.get_parameters() for model in (by_library, by_script))
    assert digest_of(ours) == digest_of(theirs)


def test_cloning_s_defaults_are_the_script_s() -> None:
    config, demos = train_gail.read_flags(["--method", "bc"]), Demonstrations.load("Hopper-v5")
    with closing(envs.make_vec("Hopper-v5", 2, 0, {}, device="cpu")) as env:
        by_script = train_gail.make_bc(config, 0, env, demos).learn(60)
        by_library = BC("MlpPolicy", env, "Hopper-v5", seed=0, device="cpu").learn(60)
    assert by_library.policy_kwargs == by_script.policy_kwargs
    assert digest_of(by_library.get_parameters()) == digest_of(by_script.get_parameters())


def test_a_flag_that_is_given_twice_stands_at_its_last_value() -> None:
    config = train_gail.read_flags("--seed 1 --gamma 0.9 --gamma 0.95 --seed 2".split())
    assert (config.runs.seed, config.ppo.gamma) == (2, 0.95)


@pytest.mark.parametrize(
    ("learned", "mode", "expected"),
    [
        ("both", "reverse", 15),
        ("rule", "reverse", 15),
        ("both", "next", 10),
        ("credit", "reverse", 10),
    ],
)
def test_matched_effort_gives_gail_the_updates_that_training_the_rule_costs(
    learned: Any, mode: MetaMode, expected: int
) -> None:
    usual = DiscriminatorConfig(updates_per_rollout=10)
    training = RuleTraining(meta_every=2, meta_mode=mode)
    flags = MethodFlags(matched_effort=True, learned=learned, training=training)
    updates = [
        flags.gail_kwargs(method, 0, usual)["discriminator"].updates_per_rollout
        for method in ("gail", "l2l_gail", "no_demos", "airl")
    ]
    assert updates == [expected, 10, 10, 10]
    assert ("matched_effort" in flags.unused("gail")) == (learned == "credit")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--env", "Hoper-v5"], "Hopper-v5"),
        (["--env", "Swimmer-v5"], "no demonstrations of Swimmer-v5 are embedded"),
        (["--env", "HalfCheetah-v5", "--demos", "Hopper-v5"], "Hopper-v5"),
        (["--demos", "missing.npz"], "missing.npz"),
        (["--sed", "1"], "perhaps you meant --seed"),
        (["--method", "gale"], "gale"),
        (["--device", "cuda:99"], "device cuda:99"),
        (["--n-envs", "0"], "--n-envs"),
        (["--demo-episodes", "9"], "9 episodes"),
        (["--env-kwargs", "nonsense"], "nonsense"),
        (["--meta-every", "0"], "--meta-every must"),
        (["--learning-rate", "-1"], "--learning-rate must"),
        (["--discriminator-batch-size", "0"], "--discriminator-batch-size must"),
        (["--policy-learning-rate", "0"], "--policy-learning-rate must be above 0"),
        (["--n-envs", "1", "--n-steps", "1"], "at least 2 steps"),
        (["--batch-size", "1"], "--batch-size must be at least 2"),
        (["--gamma", "1.5"], "--gamma must be from 0 to 1"),
        (["--update-rule", "adan"], "did you mean 'adam'"),
        (["--rule-args", "beta=1"], "beta"),
        (["--learned", "rule", "--learned-args", "hidden=1", "hidden=2"], "is not a rule"),
        (["--learned-rule", "no_such"], "no_such"),
        (["--learned-args", "nonsense=1"], "nonsense"),
        (["--penalty", "r3"], "r3"),
        (["--seeds", "4-2"], "--seeds 4-2 falls"),
        (["--seeds", "1,2", "2"], "--seeds holds 2 twice"),
        (["--seeds", "0-x"], "--seeds '0-x'"),
        (["--seeds", "0-3", "--seed", "1"], "give one of them"),
        (["--name", "a/b"], "--name 'a/b'"),
        (["--workers", "-1"], "--workers must be 0 or more"),
        (["--save-every", "0"], "--save-every must be at least 1"),
        (["--method", "airl", "--reward", "dail"], "AIRL pays the logit, not 'dail'"),
        (["--method", "bc", "--bc-steps", "0"], "--bc-steps must be at least 1"),
        (["--env-kwargs", "a=1", "--env-kwargs", "b=2"], "--env-kwargs is given twice"),
        (["--seed", "-1"], "--seed"),
        (["--env-kwargs", "no_such_argument=1"], "no_such_argument"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_main(lambda: train_gail.main([*flags, "--out", str(tmp_path / "runs")]))
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "idle"),
    [
        ("--method both --learned both --learning-rate 3e-4 --learned-args lr=0.1", set()),
        ("--method l2l_gail --learned both --learning-rate 3e-4", {"--learning-rate"}),
        ("--method l2l_gail --learning-rate 3e-4 --learned-args lr=0.1", {"--learned-args"}),
        ("--method gail --state-only-reward --bc-steps 9", {"--state-only-reward", "--bc-steps"}),
        ("--method bc --n-epochs 3", {"--total-timesteps", "--n-envs", "--n-steps", "--n-epochs"}),
    ],
)
def test_flags_that_change_nothing_are_known(flags: str, idle: set[str], short: list[str]) -> None:
    config = train_gail.read_flags([*short, *flags.split()])
    found = train_gail.without_use(config, train_gail.prepare(config).plans)
    assert set(found) - {"--eval-every"} == idle


def test_help_fits_80_columns_and_states_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        train_gail.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    flags = flags_of(train_gail.Config)
    assert text.count("(default:") == len(flags)
    for flag in flags:
        assert f" {flag.name}" in text


def test_environment_arguments_reach_every_environment(tmp_path: Path) -> None:
    """Ant's 27-wide observations, with another model file at the same time."""
    kwargs = {"include_cfrc_ext_in_observation": False, "xml_file": "ant.xml"}
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


def test_behaviour_cloning_is_a_method_with_a_folder_of_its_own(
    short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloning = [*short, "--method", "bc", "--policy-hidden-sizes", "16"]
    cloning = [flag for flag in cloning if flag not in ("--eval-every", "32")]
    train_gail.main([*cloning, "--bc-steps", "5000"])
    assert "5,000 steps a run" in capsys.readouterr().out
    (run,) = find_runs(tmp_path / "runs")
    assert [key for key in KEYS if key not in run.summary] == []
    assert (run.summary["method"], run.summary["steps"]) == ("bc+short", 0)
    assert run.summary["gradient_steps"] == 5000
    assert run.summary["curve_by_gradient_steps"]["steps"] == list(range(500, 5001, 500))
    # The reference of the other methods' tables is this run, policy and episodes alike.
    assert np.mean(run.summary["eval_returns"]) == run.summary["bc_return"]
    assert "updates" not in run.folder.read_config()
    for name in ("model.zip", "checkpoint.pt", "policies/first.npz", "policies/last.npz"):
        assert (run.folder.path / name).is_file()
    own = {tag for tag in tags_of(run.folder.path) if not tag.startswith("time/")}
    assert own == {*BC_TAGS, *(tag for tag in TAGS if tag.startswith("eval/"))}
    train_gail.main([*cloning, "--bc-steps", "5000", "--resume"])
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


@pytest.mark.slow
def test_interrupted_cloning_goes_on_bit_for_bit(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*short[:-1], "--method", "bc", "--bc-steps", "400"]
    flags.remove("--out")
    train_gail.main([*flags, "--out", str(tmp_path / "whole")])
    measure = TrueReturnCallback.measure

    def interrupted(self: TrueReturnCallback) -> None:
        measure(self)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TrueReturnCallback, "measure", interrupted)
        with pytest.raises(Interrupted):
            train_gail.main([*flags, "--out", str(tmp_path / "cut")])
    whole, cut = (
        tmp_path / name / "tests-Walk-v0" / "bc+short" / "seed0" for name in ("whole", "cut")
    )
    assert load_checkpoint(cut / "checkpoint.pt")["steps"] == 50
    train_gail.main([*flags, "--out", str(tmp_path / "cut"), "--resume"])
    assert_same(outcome(cut), outcome(whole))


def test_no_demos_is_the_control_with_a_constant_reward(short: list[str], tmp_path: Path) -> None:
    train_gail.main([*short, "--method", "no_demos"])
    (run,) = find_runs(tmp_path / "runs")
    assert run.summary["method"] == "no_demos+short"
    events = EventAccumulator(str(run.folder.path))
    events.Reload()
    rewards = [event.value for event in events.Scalars("gail/reward_mean")]
    assert rewards == [1.0] * len(rewards)
    assert torch.get_num_threads() == 1


HOPPER = (
    "--method l2l_gail --learned both --n-envs 4 --n-steps 32 --total-timesteps 640 "
    "--eval-every 256 --name short"
).split()


def outcome(folder: Path) -> tuple[Any, ...]:
    """What a run has come to: returns, curve, weights and optimizers, points in TensorBoard."""
    summary = json.loads((folder / "summary.json").read_text())
    events = EventAccumulator(str(folder))
    events.Reload()
    points = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not tag.startswith("time/")
    }
    keys = ("eval_returns", "curve", "bc_return", "steps")
    weights = load_checkpoint(folder / "checkpoint.pt")["parameters"]
    return {key: summary[key] for key in keys}, points, weights


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_a_signal_saves_and_the_run_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_gail.main([*HOPPER, "--out", str(tmp_path / "whole")])
    measure = TrueReturnCallback.measure

    def interrupted(self: TrueReturnCallback) -> None:
        measure(self)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TrueReturnCallback, "measure", interrupted)
        with pytest.raises(Interrupted) as caught:
            train_gail.main([*HOPPER, "--out", str(tmp_path / "cut")])
    assert (caught.value.number, caught.value.resumable) == (signal.SIGTERM, True)
    whole, cut = (
        tmp_path / name / "Hopper-v5" / "l2l_gail+short" / "seed0" for name in ("whole", "cut")
    )
    assert load_checkpoint(cut / "checkpoint.pt")["steps"] == 256
    assert not (cut / "summary.json").exists()
    train_gail.main([*HOPPER, "--out", str(tmp_path / "cut"), "--resume"])
    assert_same(outcome(cut), outcome(whole))
    assert len(list(cut.glob("events.out.tfevents.*"))) == 1


def test_several_seeds_in_processes_are_what_they_are_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [*HOPPER, "--out", str(tmp_path / "together")]
    train_gail.main([*flags, "--seeds", "3-4", "--workers", "2"])
    shown = capfd.readouterr()
    assert "l2l_gail seed 4" in shown.err
    assert re.search(r"^l2l_gail\+short +2 +640 ", shown.out, re.MULTILINE)
    train_gail.main([*HOPPER, "--seed", "4", "--out", str(tmp_path / "alone")])
    together, alone = (
        tmp_path / name / "Hopper-v5" / "l2l_gail+short" / "seed4" for name in ("together", "alone")
    )
    assert_same(outcome(together), outcome(alone))
