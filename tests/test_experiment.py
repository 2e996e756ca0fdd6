from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import train_cifar
import train_gail
from l2l_gail.cli import flags_of, parse, values_by_flag
from l2l_gail.errors import InputError
from l2l_gail.experiment import Plan, check_record, open_folders, titles
from l2l_gail.run_flags import RunFlags
from l2l_gail.runs import RunFolder

DEFAULTS = {"rate": 0.1, "sizes": (8, 8), "order": "fused", "data.sha": "a"}


def plan(method: str = "gail", seed: int = 0, name: str | None = None, **changed: Any) -> Plan:
    return Plan(method, seed, DEFAULTS | changed, DEFAULTS, name)


def begin(flags: RunFlags, *plans: Plan) -> list[RunFolder]:
    folders = open_folders(flags, "Hopper-v5", plans)
    for folder, each in zip(folders, plans, strict=True):
        folder.write_config(each.record)
    return folders


def test_a_label_is_the_method_and_all_that_differs() -> None:
    assert plan().label == "gail"
    assert plan(rate=1e-3, sizes=(64, 32)).label == "gail+rate=0.001+sizes=64-32"
    assert plan(rate=-1.0, sizes=(-1, 2)).label == "gail+rate=-1.0+sizes=-1-2"
    assert plan(rate=1e-3, name="slow").label == "gail+slow"
    long = [plan(order="x" * 200 + end).label for end in "ab"]
    assert long[0] != long[1]
    assert max(map(len, long)) <= 150
    assert Plan("gail", 0, {"a": 1, "seed": 9}, {"a": 1, "seed": 0}, unused=()).label == "gail"
    assert Plan("gail", 0, {"a": 2}, {"a": 1}, unused=("a",)).label == "gail"


def test_titles_tell_the_runs_of_one_command_apart() -> None:
    assert titles([plan("gail"), plan("l2l")]) == ["gail", "l2l"]
    assert titles([plan(seed=0), plan(seed=1)]) == ["gail seed 0", "gail seed 1"]


def test_runs_that_differ_are_groups_of_their_own(tmp_path: Path) -> None:
    flags = RunFlags(out=tmp_path)
    paths = [folder.path for folder in begin(flags, plan(), plan(seed=1), plan(rate=0.2))]
    group = tmp_path / "Hopper-v5"
    assert paths == [group / "gail/seed0", group / "gail/seed1", group / "gail+rate=0.2/seed0"]


def test_a_run_is_not_put_beside_one_with_other_settings(tmp_path: Path) -> None:
    named = RunFlags(out=tmp_path, name="mine")
    begin(named, plan(name="mine"))
    with pytest.raises(InputError, match="begun with other --rate, and runs that differ are no"):
        begin(named, plan(name="mine", seed=1, rate=0.2))
    content = Plan("gail", 1, DEFAULTS | {"data.sha": "b"}, DEFAULTS | {"data.sha": "b"}, "mine")
    with pytest.raises(InputError, match="begun with other --data, and runs that"):
        begin(named, content)
    assert [path.name for path in (tmp_path / "Hopper-v5/gail+mine").iterdir()] == ["seed0"]


def test_a_resumed_run_needs_the_settings_that_it_began_with(tmp_path: Path) -> None:
    (first,) = begin(RunFlags(out=tmp_path), plan(rate=0.2))
    resuming = RunFlags(out=tmp_path, resume=True)
    assert begin(resuming, plan(rate=0.2)) == [first]
    with pytest.raises(InputError, match=r"nothing to resume in .* begun with other --rate: "):
        begin(resuming, plan(rate=0.3))
    with pytest.raises(InputError, match="begun with other --rate: "):
        check_record(first.path, plan(rate=0.3), resume=True)
    assert [path.name for path in (tmp_path / "Hopper-v5").iterdir()] == ["gail+rate=0.2"]


def test_a_setting_that_did_decide_a_run_is_not_left_out_in_going_on_with_it(
    tmp_path: Path,
) -> None:
    matched = DEFAULTS | {"matched": True}
    usual = DEFAULTS | {"matched": False}
    (first,) = begin(RunFlags(out=tmp_path), Plan("gail", 0, matched, usual))
    resuming = RunFlags(out=tmp_path, resume=True)
    # Without another flag, given or not, it changes nothing and is dropped.
    for given in (matched, usual):
        without_use = Plan("gail", 0, given, usual, unused=("matched",))
        with pytest.raises(InputError, match=r"begun with other --matched: .*\(--matched\)"):
            begin(resuming, without_use)
    assert begin(resuming, Plan("gail", 0, matched, usual)) == [first]


def test_a_run_that_was_begun_under_another_default_goes_on_where_it_lies(tmp_path: Path) -> None:
    (first,) = begin(RunFlags(out=tmp_path), plan())
    now = DEFAULTS | {"rate": 0.5}  # today's default
    resuming = RunFlags(out=tmp_path, resume=True)
    with pytest.raises(InputError, match=r"other --rate: give the same \(--rate 0\.1\) to resume"):
        begin(resuming, Plan("gail", 0, now, now))
    as_begun = Plan("gail", 0, DEFAULTS, now)
    assert as_begun.label == "gail+rate=0.1"
    assert begin(resuming, as_begun) == [first]
    (second,) = begin(resuming, dataclasses.replace(as_begun, seed=1))
    assert second.path == first.path.with_name("seed1")
    assert begin(RunFlags(out=tmp_path), as_begun)[0].path.parent.name == "gail+rate=0.1"


def test_a_run_of_a_negative_number_goes_on_where_it_was_named_without_its_sign(
    tmp_path: Path,
) -> None:
    (now,) = begin(RunFlags(out=tmp_path), plan(rate=-1.0))
    before = now.path.parent.rename(tmp_path / "Hopper-v5" / "gail+rate=1.0") / "seed0"
    resuming = RunFlags(out=tmp_path, resume=True)
    assert [folder.path for folder in begin(resuming, plan(rate=-1.0))] == [before]
    with pytest.raises(InputError, match=r"give the same \(--rate -1\.0\)"):
        begin(resuming, plan(rate=1.0))


def test_arguments_in_another_order_are_the_same_run(tmp_path: Path) -> None:
    usual: dict[str, Any] = {"kwargs": (), "sizes": ("b", "a")}
    one, other = (
        Plan("gail", 0, usual | {"kwargs": pairs}, usual)
        for pairs in [("b=1", "a=2"), ("a=2", "b=1")]
    )
    assert one.label == other.label == "gail+kwargs=a=2-b=1"
    (first,) = begin(RunFlags(out=tmp_path), one)
    before = first.path.parent.rename(tmp_path / "Hopper-v5" / "gail+kwargs=b=1-a=2") / "seed0"
    assert begin(RunFlags(out=tmp_path, resume=True), other)[0].path == before
    assert other.differences(Plan("gail", 0, usual | {"sizes": ("a", "b")}, usual).record)


def test_a_group_that_was_given_a_name_is_resumed_by_it_alone(tmp_path: Path) -> None:
    begin(RunFlags(out=tmp_path, name="mine"), plan(name="mine"))
    with pytest.raises(InputError, match="begun with other --name: give the same, or leave"):
        begin(RunFlags(out=tmp_path, resume=True), plan())


@pytest.mark.parametrize("content", ["", '{"rate"'])
def test_a_run_whose_settings_cannot_be_read_keeps_only_itself_from_going_on(
    content: str, tmp_path: Path
) -> None:
    (damaged,) = begin(RunFlags(out=tmp_path), plan())
    (damaged.path / "config.json").write_text(content)
    resuming = RunFlags(out=tmp_path, resume=True)
    with pytest.warns(UserWarning, match=r"Passed over: .*seed0/config\.json is damaged: move"):
        (other,) = begin(resuming, plan(seed=1))
    with pytest.raises(
        InputError, match="is damaged: move its folder away, or run that seed again"
    ):
        begin(resuming, plan(), plan(seed=1))
    with pytest.warns(UserWarning, match="Passed over"):  # the two ways out
        again = begin(RunFlags(out=tmp_path), plan(), plan(seed=1))
    assert [folder.path.name for folder in again] == ["seed0-2", "seed1-2"]
    with pytest.warns(UserWarning, match="Passed over"):
        assert begin(resuming, plan()) == [again[0]]
    damaged.path.rename(tmp_path / "seed0")
    assert begin(resuming, plan(), plan(seed=1)) == again
    assert other.path.name == "seed1"


def test_a_copied_folder_does_not_go_on_as_another_seed(tmp_path: Path) -> None:
    (first,) = begin(RunFlags(out=tmp_path), plan())
    copy = first.path.with_name("seed1")
    shutil.copytree(first.path, copy)
    resuming = RunFlags(out=tmp_path, resume=True)
    with pytest.raises(InputError, match="folder of seed 1, and its run was begun with seed 0"):
        begin(resuming, plan(), plan(seed=1))
    with pytest.raises(InputError, match="folder of seed 1"):
        check_record(copy, plan(seed=1), resume=True)
    with pytest.warns(UserWarning, match=r"Passed over: .*seed1 is the folder of seed 1"):
        assert begin(resuming, plan()) == [first]


def test_runs_are_held_against_those_beside_them_that_can_be_read(tmp_path: Path) -> None:
    named = RunFlags(out=tmp_path, name="mine")
    damaged, _ = begin(named, plan(name="mine"), plan(name="mine", seed=1))
    (damaged.path / "config.json").write_text("")
    with (
        pytest.warns(UserWarning, match="Passed over"),
        pytest.raises(InputError, match="begun with other --rate"),
    ):
        begin(named, plan(name="mine", seed=2, rate=0.2))


def test_a_run_under_another_default_goes_on_beside_one_that_cannot_be_read(tmp_path: Path) -> None:
    damaged, sound = begin(RunFlags(out=tmp_path), plan(), plan(seed=1))
    (damaged.path / "config.json").write_text("")
    usual = DEFAULTS | {"rate": 0.5}  # today's default
    resuming = RunFlags(out=tmp_path, resume=True)
    with pytest.warns(UserWarning, match="Passed over"):
        assert begin(resuming, Plan("gail", 1, DEFAULTS, usual)) == [sound]
    with pytest.raises(InputError, match="is damaged"):
        begin(resuming, Plan("gail", 0, DEFAULTS, usual))


def test_flags_are_said_as_they_were_given(tmp_path: Path) -> None:
    record = {"sizes": [8, 9], "fades": False, "order": "fused", "data.sha": "b", "deep": True}
    now = {"sizes": [1], "fades": True, "order": "fused", "data.sha": "a", "deep": False}
    told = Plan("gail", 0, now, now).as_begun(record)
    assert told == "--sizes 8 9 --no-fades --deep"


def test_what_cannot_be_given_as_a_flag_is_said_in_words(tmp_path: Path) -> None:
    usual = {"demos": None, "episodes": None, "rate": 0.1, "demos.sha256": "a"}
    (own, walked) = (
        Plan("gail", 0, usual | {"demos": name, "episodes": count}, usual)
        for name, count in ((None, 3), ("walk", None))
    )
    assert own.as_begun(walked.record | {"rate": 0.2}) == (
        "--rate 0.2, --demos with a file called walk, without --episodes"
    )
    assert walked.as_begun(own.record) == "--episodes 3, without --demos"
    begin(RunFlags(out=tmp_path), walked)
    renamed = dataclasses.replace(walked, settings={**walked.settings, "demos": "run"})
    with pytest.raises(InputError, match=r"give the same \(--demos with a file called walk\), or"):
        begin(RunFlags(out=tmp_path, resume=True), renamed)


def test_a_method_whose_name_begins_with_another_s_is_no_kin_of_it(tmp_path: Path) -> None:
    begin(RunFlags(out=tmp_path), Plan("fgsm_rs", 0, DEFAULTS, DEFAULTS, "mine"))
    resuming = RunFlags(out=tmp_path, resume=True)
    (folder,) = begin(resuming, Plan("fgsm", 0, DEFAULTS, DEFAULTS, "mine"))
    assert folder.method == "fgsm+mine"


def test_resuming_begins_seeds_that_were_never_begun(tmp_path: Path) -> None:
    begin(RunFlags(out=tmp_path), plan(seed=0))
    (folder,) = begin(RunFlags(out=tmp_path, resume=True), plan(seed=1))
    assert folder.path.name == "seed1"
    (other,) = begin(RunFlags(out=tmp_path, resume=True), plan("l2l_gail"))
    assert other.path.name == "seed0"


def test_a_setting_that_an_older_version_did_not_have_stood_at_its_default(tmp_path: Path) -> None:
    (folder,) = begin(RunFlags(out=tmp_path), plan())
    record = folder.read_config()
    del record["order"]
    folder.write_config(record | {"gone": 1})
    assert begin(RunFlags(out=tmp_path, resume=True), plan()) == [folder]
    with pytest.raises(InputError, match="--order"):
        check_record(folder.path, plan(order="alternating"), resume=True)


def test_a_folder_that_another_process_trains_in_is_not_resumed(tmp_path: Path) -> None:
    (folder,) = begin(RunFlags(out=tmp_path), plan())
    with (
        folder.owned(),
        pytest.raises(InputError, match="being trained by another process"),
    ):
        begin(RunFlags(out=tmp_path, resume=True), plan())
    begin(RunFlags(out=tmp_path, resume=True), plan())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (RunFlags(seed=3), "seed 3"),
        (RunFlags(seeds=("0-2", "7")), "4 seeds: 0-2,7"),
        (RunFlags(seeds=("0",)), "seed 0"),
        (RunFlags(seeds=("5",)), "seed 5 alone (--seeds 0-4 for 5)"),
    ],
)
def test_a_lone_number_of_seeds_is_announced_as_the_seed_that_it_is(
    flags: RunFlags, words: str
) -> None:
    assert flags.seeds_in_words == words


# What was a flag before its settings were nested, and where its value is to be found since.
OLD_GAIL = """
env=Ant-v5:task.env env-kwargs=a=1:task.env_kwargs demos=x.npz:task.demos demo-episodes=2:task.demo_episodes
method=gail:method total-timesteps=7:total_timesteps n-envs=3:n_envs n-steps=5:ppo.n_steps
batch-size=9:ppo.batch_size discriminator-batch-size=11:discriminator.batch_size
learning-rate=0.5:rule.learning_rate penalty-weight=2.0:discriminator.penalty_weight
updates=4:discriminator.updates_per_rollout update-rule=sgd:rule.update_rule
matched-effort=True:rule.matched_effort learned=rule:rule.learned meta-every=3:rule.training.meta_every
reward=airl:discriminator.reward warm-start-steps=6:warm_start_steps eval-every=8:eval_every
seed=2:runs.seed device=cpu:device threads=2:threads out=o:runs.out resume=True:runs.resume
"""  # noqa: E501
OLD_CIFAR = """
data=synthetic:images.data data-dir=d:images.data_dir method=pgd:method pgd-steps=3:settings.pgd_steps
l2l-steps=2:settings.l2l_steps order=alternating:settings.order eps=4.0:settings.eps
model=tiny_cnn:settings.model epochs=2:settings.epochs batch-size=9:settings.batch_size lr=0.5:settings.lr
train-size=20:images.train_size eval-size=30:images.eval_size seed=2:runs.seed device=cpu:device
bf16=True:settings.bf16 workers=2:workers threads=1:threads out=o:runs.out resume=True:runs.resume
"""  # noqa: E501


@pytest.mark.parametrize(
    ("config_class", "flags"), [(train_gail.Config, OLD_GAIL), (train_cifar.Config, OLD_CIFAR)]
)
def test_every_flag_of_version_0_1_0_means_what_it_meant(config_class: type, flags: str) -> None:
    for word in flags.split():
        flag, _, path = word.rpartition(":")
        name, _, value = flag.partition("=")
        args = [f"--{name}"] if value == "True" else [f"--{name}", value]
        config = parse(config_class, args, prog="p", description="d")
        usual: Any = config_class()
        found: Any = config
        for attribute in path.split("."):
            found, usual = getattr(found, attribute), getattr(usual, attribute)
        assert found != usual, flag
        assert str(found[0] if isinstance(found, tuple) else found) == value, flag


def defaults_of(config: Any) -> dict[str, Any]:
    """Every field of a configuration and of those nested in it, by its path."""
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        nested = defaults_of(value) if dataclasses.is_dataclass(value) else {"": value}
        found |= {f"{field.name}.{path}".rstrip("."): leaf for path, leaf in nested.items()}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config_class", "filled_in"),
    [
        (train_gail.Config, set()),
        (train_cifar.Config, {"settings.method", "settings.data", "settings.seed"}),
    ],
)
def test_every_field_of_the_library_is_a_flag(config_class: type, filled_in: set[str]) -> None:
    flags = flags_of(config_class)
    assert {".".join(flag.path) for flag in flags} == set(defaults_of(config_class())) - filled_in
    assert len({flag.name for flag in flags}) == len(flags)
    assert not [flag.name for flag in flags if "." in flag.name]
    for flag in flags:
        value = flag.value(config_class())
        args = [flag.name, *map(str, value)] if flag.takes_list else [flag.name, str(value)]
        if flag.takes_list and not value:
            args = []  # an empty list is what is not given
        if flag.switch:
            args = [flag.spellings[int(not value)]]
        config = parse(config_class, args, prog="p", description="d")
        assert config == config_class(), flag.name


def test_a_config_json_has_the_names_of_the_flags() -> None:
    values = json.loads(json.dumps(values_by_flag(train_gail.Config()), default=str))
    assert values["discriminator_batch_size"] == 256
    assert values["updates"] == 10
    assert values["policy_hidden_sizes"] == [64, 64]
