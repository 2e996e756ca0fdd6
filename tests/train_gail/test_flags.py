"""The script train_gail.py: its flags, their defaults, and wrong input."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

import envs
import train_gail
from benchmarks.same_bits import digest_of
from l2l_gail.cli import flags_of, run_main
from l2l_gail.core import MatrixRule, MetaMode, UpdateRule, register_rule, registry
from l2l_gail.demos import Demonstrations
from l2l_gail.gail import (
    AIRL,
    BC,
    GAIL,
    L2LGAIL,
    DiscriminatorConfig,
    MethodFlags,
    RuleTraining,
)


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


def test_a_learned_rule_without_a_seed_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))

    @register_rule("one_step")
    class OneStep(UpdateRule):
        """A learned step, from 0: nothing is drawn."""

        def __init__(self, lr: float = 0.1) -> None:
            super().__init__()
            self.step = torch.nn.Parameter(torch.tensor(lr))

    rule = train_gail.read_flags(["--learned", "rule", "--learned-rule", "one_step"]).rule
    assert rule.rule("l2l_gail", 5).config == {"lr": 0.1}
    pretrained = train_gail.read_flags(["--learned", "rule", "--learned-rule", "pretrained"]).rule
    assert pretrained.rule("l2l_gail", 5).config["seed"] == 5
