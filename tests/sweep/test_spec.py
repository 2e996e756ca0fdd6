"""The file of a sweep: what it expands to, and every mistake in one line before any work."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import train_cifar
import train_gail
from l2l_gail import finding_scripts
from l2l_gail.cli import parse
from l2l_gail.errors import InputError
from l2l_gail.experiment import Prepared
from l2l_gail.finding_scripts import script_module
from l2l_gail.sweep import read_spec
from l2l_gail.sweep.rows import load_script, prepare
from tests.sweep.support import SPEC, write_spec

ROOT = Path(__file__).resolve().parents[2]

BOTH = """
out = "{out}"
threads = 2

[train_gail]
seeds = [3, "0-1"]
methods = ["gail", "l2l_gail"]
environments = ["Hopper-v5"]
flags = {{ total-timesteps = 1024, learning_rate = 1e-3, learned = "both" }}

[train_gail.settings.default]

[train_gail.settings.narrow]
policy_hidden_sizes = [32, 16]
matched_effort = true

[train_gail.settings.fast]
learning_rate = 3e-3

[train_cifar]
methods = ["standard"]
data = ["synthetic"]
"""


def test_a_file_expands_to_every_combination_seed_by_seed(tmp_path: Path) -> None:
    spec = read_spec(write_spec(tmp_path, BOTH))
    rows = spec.rows
    assert [row.index for row in rows] == list(range(3 * 5 + 1))
    assert [row.seed for row in rows] == [3] * 5 + [0] * 5 + [1] * 5 + [0]
    assert [(row.setting, row.method) for row in rows[:5]] == [
        ("default", "gail"),
        ("default", "l2l_gail"),
        ("narrow", "gail"),
        ("narrow", "l2l_gail"),
        ("fast", "gail"),  # a rate of gail's rule: without effect on the one that is learned
    ]
    assert rows[-1].title == "15 synthetic standard seed 0"
    assert (spec.threads, rows[-1].threads) == (2, 2)
    assert not (tmp_path / "runs").exists()

    narrow = parse(train_gail.Config, rows[2].arguments, prog="", description="")
    assert narrow.ppo.policy_hidden_sizes == (32, 16)
    assert narrow.rule.matched_effort
    assert (narrow.rule.learning_rate, narrow.total_timesteps) == (1e-3, 1024)
    assert (narrow.workers, narrow.threads, narrow.runs.seed) == (1, 2, 3)
    assert narrow.runs.out == tmp_path / "runs"
    fast = parse(train_gail.Config, rows[4].arguments, prog="", description="")
    assert fast.rule.learning_rate == 3e-3  # a setting's word counts for more than that for all


def test_what_all_seeds_have_in_common_is_checked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def noted(script: str, arguments: tuple[str, ...]) -> tuple[Any, Prepared]:
        config, prepared = prepare(script, arguments)
        made.extend(prepared.plans)
        return config, prepared

    monkeypatch.setattr("l2l_gail.sweep.spec.prepare", noted)
    spec = read_spec(write_spec(tmp_path, SPEC.replace("0-1", "5-2004")))
    assert len(spec.rows) == 4000
    assert [plan.seed for plan in made] == [5, 5]
    assert prepare("train_cifar", spec.rows[-1].arguments)[1].plans[0].seed == 2004


def test_a_setting_without_effect_makes_no_second_run(tmp_path: Path) -> None:
    text = SPEC.replace('"pgd", "grad_l2l"', '"pgd", "fgsm_rs"') + (
        "[train_cifar.settings.two]\n[train_cifar.settings.three]\npgd_steps = 3\n"
    )
    with pytest.raises(InputError, match=r"pgd differs in --pgd-steps .* give each its own"):
        read_spec(write_spec(tmp_path, text))
    spec = read_spec(write_spec(tmp_path, text.replace('name = "tiny"', "")))
    assert [(row.method, row.setting) for row in spec.rows[:3]] == [
        ("pgd", "two"),
        ("fgsm_rs", "two"),
        ("pgd", "three"),
    ]
    assert (len(spec.rows), spec.dropped) == (6, 2)


def test_a_whole_number_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    text = BOTH.replace("total-timesteps = 1024", "total-timesteps = 2e5, n_envs = 4.0")
    row = read_spec(write_spec(tmp_path, text)).rows[0]
    config = parse(train_gail.Config, row.arguments, prog="", description="")
    assert (row.steps, config.total_timesteps, config.n_envs) == (200_000, 200_000, 4)


def test_arguments_of_an_environment_in_another_order_make_no_second_run(tmp_path: Path) -> None:
    text = BOTH.replace("[train_gail.settings.default]", "").replace(
        "learning_rate = 3e-3", 'env_kwargs = ["reset_noise_scale=0.1", "frame_skip=4"]'
    )
    pairs = "policy_hidden_sizes = [32, 16]\nmatched_effort = true"
    text = text.replace(pairs, 'env_kwargs = ["frame_skip=4", "reset_noise_scale=0.1"]')
    assert read_spec(write_spec(tmp_path, text)).dropped == 2 * 3


def test_two_lengths_of_one_run_are_refused(tmp_path: Path) -> None:
    text = BOTH.replace("learning_rate = 3e-3", "total_timesteps = 2048").replace(
        "total-timesteps = 1024, ", ""
    )
    with pytest.raises(InputError, match=r"gail differs in --total-timesteps \(a longer run is"):
        read_spec(write_spec(tmp_path, text))


def test_flags_may_go_with_a_method_or_an_environment(tmp_path: Path) -> None:
    text = SPEC.replace('methods = ["pgd", "grad_l2l"]', "")
    text += "[train_cifar.methods.pgd]\npgd_steps = 4\n[train_cifar.methods.grad_l2l]\n"
    rows = read_spec(write_spec(tmp_path, text)).rows
    steps = [parse(train_cifar.Config, r.arguments, prog="", description="") for r in rows[:2]]
    assert [config.settings.pgd_steps for config in steps] == [4, 2]


def test_an_empty_list_of_a_setting_clears_what_is_given_for_all(tmp_path: Path) -> None:
    text = BOTH.replace('learned = "both"', 'env_kwargs = ["frame_skip=2"]').replace(
        "learning_rate = 3e-3", "env_kwargs = []"
    )
    rows = read_spec(write_spec(tmp_path, text)).rows
    given = {row.setting: row.arguments for row in rows[:6]}
    for setting, expected in (("default", ("frame_skip=2",)), ("fast", ())):
        config = parse(train_gail.Config, given[setting], prog="", description="")
        assert config.task.env_kwargs == expected
    with pytest.raises(InputError, match=r"policy_hidden_sizes = \[\] would be \[64, 64\], its"):
        read_spec(write_spec(tmp_path, text.replace("[32, 16]", "[]")))


def test_a_preset_is_a_flag_like_others(tmp_path: Path) -> None:
    row = read_spec(write_spec(tmp_path, SPEC.replace("epochs = 3", 'preset = "fastat"'))).rows[0]
    config = train_cifar.read_flags(row.arguments)
    assert (config.settings.epochs, config.settings.model) == (100, "tiny_cnn")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds", "sedes", "unknown key 'train_cifar.sedes'; perhaps you meant 'seeds'"),
        ("[train_cifar", "[train_mnist", "unknown key 'train_mnist'; perhaps you meant"),
        ("out =", "thread = 1\nout =", "unknown key 'thread'; perhaps you meant 'threads'"),
        ("out =", "threads = 0\nout =", "threads = 0: give at least 1"),
        ("out =", "threads = true\nout =", "threads = True must be a whole number"),
        ('methods = ["pgd", "grad_l2l"]', "", "train_cifar.methods is missing"),
        ('["pgd", "grad_l2l"]', "[]", "train_cifar.methods must be a list of names"),
        ('["pgd", "grad_l2l"]', "7", "train_cifar.methods must be a list of names"),
        ('"grad_l2l"', '"pgd"', "train_cifar.methods has 'pgd' twice"),
        ('"grad_l2l"', '"pdg"', "method 'pdg' is unknown"),
        ('"grad_l2l"', '"all"', "synthetic all: stands for several methods"),
        ('["synthetic"]', '["imagenet"]', "train_cifar imagenet pgd: .*imagenet"),
        ('"0-1"', "[0, 0]", "train_cifar.seeds holds 0 twice"),
        ('"0-1"', '"1-0"', "train_cifar.seeds 1-0 falls"),
        ('"0-1"', "[0.5]", "train_cifar.seeds must be numbers or ranges"),
        ('"0-1"', "[true]", "train_cifar.seeds must be numbers or ranges"),
        ("epochs = 3", "epoch = 3", "train_cifar.flags: unknown flag 'epoch'; .*'epochs'"),
        ("epochs = 3", 'epochs = "3"', 'epochs = "3" must be a number, without quotes'),
        ("epochs = 3", "epochs = 3.5", "epochs"),
        ("epochs = 3", "epochs = 0", "--epochs 0 must be at least 1"),
        ("epochs = 3", "epochs = [3]", "epochs = .* must be one number or string"),
        ("epochs = 3", "epochs = true", "epochs = True must be one number or string"),
        ("epochs = 3", "epochs = 2026-01-01", "epochs = .* must be one number or string"),
        ("epochs = 3", "bf16 = 1", "bf16 = 1 must be true or false"),
        ("epochs = 3", "milestones = 0.5", "milestones = 0.5 must be a list"),
        ("epochs = 3", 'milestones = ["0.5"]', 'milestones = "0.5" must be a number'),
        ("epochs = 3", "lr = nan", "--lr nan must be above 0"),
        ('name = "tiny"', "name = 5", "name = 5 must be a string, in quotes"),
        ("epochs = 3", "epochs = 3\nseed = 1", "flags.seed is no flag to give here: list 'seeds'"),
        ("epochs = 3", 'data = "auto"', "flags.data is no flag to give here: list 'data'"),
        ("epochs = 3", "resume = true", "flags.resume is no flag to give here"),
        ("eval_size = 20", "eval_size = 0", "--eval-size"),
        ("epochs = 3", "epochs = 3\nepochs = 4", "is no TOML"),
        ("[train_cifar.flags]", "[train_cifar.flags", "is no TOML"),
        ("train_size = 128", "batch-size = 9", "train_cifar.flags has batch_size twice"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in SPEC
    path = write_spec(tmp_path, SPEC.replace(old, new))
    with pytest.raises(InputError, match=said) as caught:
        read_spec(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_one_flag_in_two_tables_is_refused(tmp_path: Path) -> None:
    text = SPEC.replace('methods = ["pgd", "grad_l2l"]', "")
    text += "[train_cifar.methods.pgd]\npgd_steps = 4\n[train_cifar.settings.a]\npgd_steps = 5\n"
    with pytest.raises(InputError, match=r"pgd_steps is given by settings\.a and by methods\.pgd"):
        read_spec(write_spec(tmp_path, text))


def test_runs_that_lie_there_under_other_settings_are_found_before_any_work(
    tmp_path: Path,
) -> None:
    where = ["--data", "synthetic", "--method", "pgd", "--name", "tiny", "--epochs", "1"]
    small = ["--model", "tiny_cnn", "--train-size", "128", "--eval-size", "20"]
    small += ["--batch-size", "32", "--threads", "1"]
    train_cifar.main([*where, *small, "--out", str(tmp_path / "runs")])
    with pytest.raises(InputError, match="seed0 was begun with other --epochs"):
        read_spec(write_spec(tmp_path))


def test_too_many_runs_are_refused_at_once(tmp_path: Path) -> None:
    settings = "".join(f"[train_cifar.settings.s{k}]\nlr = 0.{k + 1}\n" for k in range(6))
    path = write_spec(tmp_path, SPEC.replace('"0-1"', '"0-9999"') + settings)
    with pytest.raises(InputError, match="asks for 120,000 runs"):
        read_spec(path)


def test_a_script_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match=r"train_nothing\.py is neither in .* nor part of the"):
        load_script("train_nothing")


def test_without_a_clone_the_script_of_the_installed_package_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = types.ModuleType("l2l_gail.scripts")
    package.__path__ = [str(ROOT)]  # as the wheel has it
    monkeypatch.setattr(finding_scripts, "_CLONE", tmp_path)
    monkeypatch.setitem(sys.modules, "l2l_gail.scripts", package)
    assert script_module("train_cifar") == "l2l_gail.scripts.train_cifar"


def test_a_missing_file_ends_the_process_with_status_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "l2l_gail.sweep", "none.toml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: none.toml does not exist: give the path of a file\n"
