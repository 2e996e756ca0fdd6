from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import train_cifar
import train_gail
from l2l_gail import stats
from l2l_gail.comparison import (
    Curve,
    boards_of,
    collect,
    draw_figure,
    find,
    section_notes,
    section_tables,
)
from l2l_gail.comparison.distributions import learning_rate_groups
from l2l_gail.comparison.grouping import sound
from l2l_gail.comparison.scores import CURVES, SCORES
from l2l_gail.comparison.unnoted import BEFORE
from l2l_gail.errors import InputError
from l2l_gail.finding_runs import find_runs
from tests.comparison.support import (
    age,
    cifar_run,
    gail_run,
    log,
    methods_of,
    sections_of,
    table_cells,
    unfinished_run,
)

ROOT = Path(__file__).parents[2]


def test_runs_that_differ_in_one_setting_are_methods_of_their_own(tmp_path: Path) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000)
        gail_run(tmp_path, "gail", seed, 2000, config={"meta_every": 4})
    assert methods_of(tmp_path) == {"gail (meta_every=1)": 2, "gail (meta_every=4)": 2}
    cells = table_cells(tmp_path, "Hopper-v5")
    assert cells["gail (meta_every=4)"]["final return IQM [95% CI]"].startswith("2000")


def test_a_setting_inside_a_setting_counts_too(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    gail_run(tmp_path, "gail", 1, 2000, config={"rule": {"hidden": 8}})
    assert set(methods_of(tmp_path)) == {"gail (rule.hidden=16)", "gail (rule.hidden=8)"}


def test_a_flag_that_an_older_version_did_not_have_sets_no_runs_of_a_folder_apart(
    tmp_path: Path,
) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000)
    unfinished_run(tmp_path, "gail", 4, [10.0])
    later = {"adam_eps": 1e-5, "policy_pace": 0.0}
    for seed in (2, 3):
        gail_run(tmp_path, "gail", seed, 1000, config=later)
    found = find(tmp_path)
    (method,) = collect(found.finished, found.unfinished)[0].methods
    assert (method.method, method.seeds) == ("gail", [0, 1, 2, 3])
    assert method.settings["adam_eps"] == 1e-5
    assert len(method.unfinished) == 1
    (note,) = found.notes
    assert "gail: adam_eps, policy_pace not noted by seed0, seed1, seed4, of a version" in note


@pytest.mark.parametrize(
    "later",
    [
        [{"adam_eps": 1e-5}, {"adam_eps": 1e-8}],  # which of them is not known
        [{"adam_eps": 1e-5, "updates": 5}],
        [{"policy_pace": 0.5}],  # it was 0 before there was a flag
    ],
)
def test_what_was_not_noted_is_assumed_where_nothing_else_can_be_meant(
    tmp_path: Path, later: list[dict[str, float]]
) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    for seed, config in enumerate(later, 1):
        gail_run(tmp_path, "gail", seed, 1000, config=config)
    assert list(methods_of(tmp_path).values()) == [1] * (1 + len(later))
    assert not find(tmp_path).notes


def test_what_stood_at_another_value_before_it_was_a_flag_is_as_the_scripts_have_it() -> None:
    found: dict[str, object] = {}
    for script, flags in ((train_gail, []), (train_cifar, ["--data", "synthetic"])):
        found |= script.prepare(script.read_flags(flags)).plans[0].before
    assert found == BEFORE


def test_arguments_in_another_order_are_no_other_setting(tmp_path: Path) -> None:
    pairs = ["frame_skip=4", "gravity=2"]
    gail_run(tmp_path, "gail", 0, 1000, config={"env_kwargs": pairs})
    gail_run(tmp_path, "gail", 1, 2000, config={"env_kwargs": pairs[::-1]})
    assert methods_of(tmp_path) == {"gail": 2}


def test_a_second_learning_rate_does_not_hide_the_first(tmp_path: Path) -> None:
    first = gail_run(tmp_path, "gail", 0, 1000)
    second = gail_run(tmp_path, "gail", 0, 2000, config={"learning_rate": 1e-3})
    assert (first.path.name, second.path.name) == ("seed0", "seed0-2")
    names = ["gail (learning_rate=0.0003)", "gail (learning_rate=0.001)"]
    assert sorted(methods_of(tmp_path)) == names


def test_of_equal_settings_the_newest_run_of_a_seed_counts(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    gail_run(tmp_path, "gail", 0, 2000)
    cells = table_cells(tmp_path, "Hopper-v5")["gail"]
    assert cells["final return IQM [95% CI]"] == "2000 (1 seed, no interval)"


def test_a_later_run_of_another_length_does_not_hide_the_first(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 3000)
    gail_run(tmp_path, "gail", 0, 100, steps=8000)
    assert set(methods_of(tmp_path)) == {"gail (40,000 steps)", "gail (8,000 steps)"}


def test_lengths_are_said_and_never_compared(tmp_path: Path) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000, steps=8000)
        gail_run(tmp_path, "l2l_gail", seed, 2000)
    section = sections_of(tmp_path)["Hopper-v5"]
    notes = " ".join(section_notes(section))
    assert "**Not the same length**: 40,000 steps: l2l_gail; 8,000 steps: gail." in notes
    titles = [table.title for table in section_tables(section)]
    assert not any("probability" in title for title in titles)
    stability = [table for table in section_tables(section) if "stability" in table.title]
    assert [[row[0] for row in table.rows] for table in stability] == [["l2l_gail"], ["gail"]]
    assert [table.title.split(", ")[-1] for table in stability] == [
        "runs of 40,000 steps",
        "runs of 8,000 steps",
    ]


def test_seeds_of_another_length_are_another_method(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000, steps=8000)
    gail_run(tmp_path, "gail", 1, 1000, steps=61_000)
    assert methods_of(tmp_path) == {"gail (61,000 steps)": 1, "gail (8,000 steps)": 1}


def test_many_differences_are_named_shortly_and_stay_apart(tmp_path: Path) -> None:
    for value in range(3):
        settings = {f"setting_{letter}": value for letter in "abcdef"}
        gail_run(tmp_path, "gail", 0, 1000, config=settings)
    names = methods_of(tmp_path)
    assert len(names) == 3
    assert max(map(len, names)) < 80
    settings = {f"setting_{letter}": 0 for letter in "abcde"} | {"setting_f": 9}
    gail_run(tmp_path, "gail", 0, 1000, config=settings)
    assert len(methods_of(tmp_path)) == 4


def test_a_method_s_name_says_only_what_differs_within_its_folder(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    gail_run(tmp_path, "l2l_gail", 0, 1000, config={"learning_rate": 1e-3})
    assert set(methods_of(tmp_path)) == {"gail", "l2l_gail"}
    notes = section_notes(sections_of(tmp_path)["Hopper-v5"])
    assert "**Not the same setting in all runs**: learning_rate is 0.0003 or 0.001." in notes


def test_what_makes_a_method_is_no_unequal_setting(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000, config={"update_rule": "adam"})
    gail_run(tmp_path, "l2l_gail", 0, 2000, config={"update_rule": "sgd"})
    assert "update_rule" not in " ".join(section_notes(sections_of(tmp_path)["Hopper-v5"]))


def test_images_are_grouped_by_their_settings_too(tmp_path: Path) -> None:
    cifar_run(tmp_path, "cifar10", "pgd", 0, 0.3)
    cifar_run(tmp_path, "cifar10", "pgd", 1, 0.4, lr=0.1)
    assert set(methods_of(tmp_path, "cifar10")) == {"pgd (lr=0.2)", "pgd (lr=0.1)"}


def test_runs_on_other_images_are_methods_of_their_own(tmp_path: Path) -> None:
    cifar_run(tmp_path, "mine", "pgd", 0, 0.3, **{"data.sha256": "a0990a01ff"})
    cifar_run(tmp_path, "mine", "pgd", 1, 0.4, **{"data.sha256": "a0990a01ff"})
    cifar_run(tmp_path, "mine", "pgd", 2, 0.4)  # of a version that did not record it
    assert set(methods_of(tmp_path, "mine")) == {"pgd"}
    cifar_run(tmp_path, "mine", "pgd", 3, 0.4, **{"data.sha256": "47a9c0f4ff"})
    assert methods_of(tmp_path, "mine") == {
        "pgd (images=a0990a01)": 2,
        "pgd (images=not recorded)": 1,
        "pgd (images=47a9c0f4)": 1,
    }


def test_other_images_are_told_apart_in_whatever_folder_they_are(tmp_path: Path) -> None:
    cifar_run(tmp_path / "a", "mine", "pgd", 0, 0.1, **{"data.sha256": "a" * 64})
    cifar_run(tmp_path / "b", "mine", "pgd", 1, 0.9, **{"data.sha256": "b" * 64})
    assert methods_of(tmp_path, "mine") == {"pgd (images=aaaaaaaa)": 1, "pgd (images=bbbbbbbb)": 1}


def test_other_images_of_other_methods_are_said(tmp_path: Path) -> None:
    cifar_run(tmp_path, "mine", "fgsm", 0, 0.1, **{"data.sha256": "a" * 64})
    cifar_run(tmp_path, "other", "pgd", 0, 0.1, **{"data.sha256": "b" * 64})
    assert "images" not in " ".join(section_notes(sections_of(tmp_path)["mine"]))
    cifar_run(tmp_path, "mine", "pgd", 0, 0.9, **{"data.sha256": "b" * 64})
    assert set(methods_of(tmp_path, "mine")) == {"fgsm", "pgd"}
    notes = section_notes(sections_of(tmp_path)["mine"])
    assert [note for note in notes if "images" in note] == [
        "**Not the same images**: aaaaaaaa: fgsm; bbbbbbbb: pgd. Scores on different images do not "
        "tell which method is the better one."
    ]


def test_a_seed_that_was_run_on_other_images_hides_none(tmp_path: Path) -> None:
    for digest in ("a" * 64, "b" * 64):
        cifar_run(tmp_path, "mine", "pgd", 0, 0.1, **{"data.sha256": digest})
    assert len(methods_of(tmp_path, "mine")) == 2
    cifar_run(tmp_path, "mine", "pgd", 0, 0.7, **{"data.sha256": "a" * 64})
    cells = table_cells(tmp_path, "mine")
    assert cells["pgd (images=aaaaaaaa)"]["PGD-20 % [95% CI]"] == "70.0 (1 seed, no interval)"
    assert cells["pgd (images=bbbbbbbb)"]["PGD-20 % [95% CI]"] == "10.0 (1 seed, no interval)"


def test_a_run_again_of_a_version_without_digests_hides_the_first(tmp_path: Path) -> None:
    cifar_run(tmp_path, "mine", "pgd", 0, 0.1)
    cifar_run(tmp_path, "mine", "pgd", 0, 0.7, **{"data.sha256": "a" * 64})
    assert methods_of(tmp_path, "mine") == {"pgd": 1}


def test_other_demonstrations_are_told_apart_and_said(tmp_path: Path) -> None:
    for digest in ("a" * 64, "b" * 64):
        gail_run(tmp_path / digest[0], "gail", 0, 1000, config={"demos.sha256": digest})
        gail_run(tmp_path, "gail", 0, 1000, config={"demos.sha256": digest, "updates": 2})
    assert len(methods_of(tmp_path)) == 4
    gail_run(tmp_path / "c", "airl", 0, 1000, config={"demos.sha256": "a" * 64})
    notes = " ".join(section_notes(sections_of(tmp_path)["Hopper-v5"]))
    assert f"demos.sha256 is {'a' * 64} or {'b' * 64}" in notes


@pytest.mark.parametrize("changes", [{"train_images": "x"}, {"train_images": []}, {"epochs": 0}])
def test_a_run_of_images_that_is_not_sound_leaves_the_others_compared(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    cifar_run(tmp_path, "cifar10", "pgd", 0, 0.3)
    bad = cifar_run(tmp_path, "cifar10", "pgd", 1, 0.4)
    bad.write_summary(**(bad.read_summary() | changes))
    notes: list[str] = []
    assert len(sound(find_runs(tmp_path), notes)) == 1
    assert len(notes) == 1


def test_lacking_seeds_are_named(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        gail_run(tmp_path, "gail", seed, 1000)
    gail_run(tmp_path, "l2l_gail", 1, 1000)
    notes = section_notes(sections_of(tmp_path)["Hopper-v5"])
    assert "**Not the same seeds**: l2l_gail lacks 0, 2." in notes


def test_a_run_in_the_folder_of_another_seed_is_left_out(tmp_path: Path) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000)
    (run,) = [run for run in find_runs(tmp_path) if run.folder.seed == 1]
    run.folder.write_summary(**run.summary | {"seed": 0})
    notes: list[str] = []
    assert [run.folder.seed for run in sound(find_runs(tmp_path), notes)] == [0]
    assert "is the folder of seed 1, and its run had seed 0" in notes[0]
    # As a copied folder is that was gone on with: its new summary has the folder's seed.
    run.folder.write_summary(**run.summary | {"seed": 1})
    run.folder.write_config(run.folder.read_config() | {"seed": 0})
    assert [run.folder.seed for run in sound(find_runs(tmp_path), notes)] == [0]
    assert notes[1] == notes[0]


def test_a_run_that_was_cut_within_an_evaluation_is_shown_up_to_it(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    cut = unfinished_run(tmp_path, "gail", 1, [])
    log(cut, {"eval/return_mean": [10.0, 20.0, 30.0], "eval/length_mean": [100.0, 100.0]})
    (one,) = sections_of(tmp_path)["Hopper-v5"].methods[0].unfinished
    assert one.run.summary["curve"]["return_mean"] == [10.0, 20.0]
    assert len(one.run.summary["curve"]["steps"]) == 2


def test_a_run_that_goes_on_is_shown_and_counts_in_no_number(tmp_path: Path) -> None:
    for seed in (0, 1):
        gail_run(tmp_path, "gail", seed, 1000)
    unfinished_run(tmp_path, "gail", 2, [10, 20])
    unfinished_run(tmp_path, "l2l_gail", 0, [30, 40, 50])
    section = sections_of(tmp_path)["Hopper-v5"]
    assert [method.method for method in section.methods] == ["gail", "l2l_gail (unfinished)"]
    gail, learned = section.methods
    assert gail.seeds == [0, 1]
    assert [one.run.folder.seed for one in gail.unfinished] == [2]
    assert not learned.finished
    np.testing.assert_allclose(learned.curves["return"].values, [[30, 40, 50]])
    cells = table_cells(tmp_path, "Hopper-v5")
    assert cells["gail"]["seeds"] == "2"
    assert cells["l2l_gail (unfinished)"]["steps"] == "30000 so far"
    assert cells["l2l_gail (unfinished)"]["final return IQM [95% CI]"] == "-"
    notes = " ".join(section_notes(section))
    assert "**Unfinished** (still going): gail, seed 2 at 20,000 steps." in notes
    assert len(section_tables(section)) == 2  # nothing to set against gail


def test_a_broken_off_run_is_said(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    age(unfinished_run(tmp_path, "gail", 1, [10]), 3600)
    notes = " ".join(section_notes(sections_of(tmp_path)["Hopper-v5"]))
    assert "**Unfinished** (broken off, no summary): gail, seed 1 at 10,000 steps." in notes


def test_a_run_whose_lock_is_held_goes_on_whatever_its_files_times_are(tmp_path: Path) -> None:
    folder = unfinished_run(tmp_path, "gail", 1, [10])
    for seconds, unheld in ((3600, False), (-3600, None), (-60, True)):
        age(folder, seconds)
        (one,) = find(tmp_path).unfinished
        assert one.going is unheld
        with folder.owned():
            age(folder, seconds)
            (one,) = find(tmp_path).unfinished
            assert one.going is True
    age(folder, -3600)
    notes = " ".join(section_notes(sections_of(tmp_path)["Hopper-v5"]))
    assert "**Unfinished** (no summary; its files' times are ahead of this machine" in notes


def test_a_video_of_a_broken_off_run_does_not_make_it_go_on(tmp_path: Path) -> None:
    folder = unfinished_run(tmp_path, "gail", 1, [10])
    age(folder, 3600)
    (folder.path / "videos").mkdir()
    (one,) = find(tmp_path).unfinished
    assert not one.going


def test_one_seed_does_not_count_twice(tmp_path: Path) -> None:
    gail_run(tmp_path / "a", "gail", 0, 1000.0)
    gail_run(tmp_path / "b", "gail", 0, 2000.0)
    with pytest.raises(InputError, match="one seed of one method"):
        collect(find(tmp_path).finished)


def test_the_runs_of_older_versions_are_read() -> None:
    sections = sections_of(ROOT / "benchmarks" / "results" / "runs")
    assert {name: [m.method for m in section.methods] for name, section in sections.items()} == {
        "Hopper-v5": ["gail", "l2l_gail", "no_demos"],
        "cifar10": ["fgsm_rs", "grad_l2l", "pgd", "standard"],
    }
    gail = sections["Hopper-v5"].methods[0]
    assert gail.seeds == list(range(10))
    # 300 rollouts of 64 x 32 steps, ten updates after each
    assert gail.effort_per_x * 600_064 == pytest.approx(293 * 10)


def test_a_run_without_a_configuration_is_grouped_by_its_summary(tmp_path: Path) -> None:
    for seed, rate in ((0, 0.1), (1, 0.2)):
        folder = gail_run(tmp_path, "gail", seed, 1000.0)
        (folder.path / "config.json").unlink()
        folder.write_summary(
            **(find_runs(tmp_path)[-1].summary | {"config": {"learning_rate": rate, "seed": seed}})
        )
    assert set(methods_of(tmp_path)) == {"gail (learning_rate=0.1)", "gail (learning_rate=0.2)"}


def test_learning_rates_are_lines_of_runs_that_differ_in_nothing_else(tmp_path: Path) -> None:
    for rate in (1e-4, 3e-4, 1e-3):
        for seed in (0, 1):
            gail_run(
                tmp_path,
                f"gail+learning_rate={rate}",
                seed,
                1e6 * rate,
                config={"learning_rate": rate},
            )
    gail_run(tmp_path, "gail+n_envs=8", 0, 1.0, config={"learning_rate": 0.1, "n_envs": 8})
    groups = learning_rate_groups(sections_of(tmp_path)["Hopper-v5"])
    assert {name: list(rates) for name, rates in groups.items()} == {"gail": [1e-4, 3e-4, 1e-3]}
    assert groups["gail"][3e-4].numbers("eval_returns").tolist() == pytest.approx([300, 300])


def test_seeds_on_different_grids_meet_where_both_were_measured() -> None:
    curve = Curve.align(
        [
            (np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0])),
            (np.array([5.0, 15.0, 40.0]), np.array([1.0, 3.0, 8.0])),
        ]
    )
    np.testing.assert_allclose(curve.x, [5, 10, 15, 20])
    np.testing.assert_allclose(curve.values, [[5, 10, 15, 20], [1, 2, 3, 4]])
    apart = [(np.array([0.0]), np.array([1.0])), (np.array([9.0]), np.array([1.0]))]
    assert Curve.align(apart) is None


def test_a_thinned_curve_keeps_its_ends() -> None:
    x = np.arange(1000.0)
    curve = Curve.align([(x, 2 * x)], points=50)
    assert len(curve.x) == 50
    assert (curve.x[0], curve.x[-1]) == (0, 999)
    np.testing.assert_allclose(curve.values[0], 2 * curve.x)


def test_a_band_is_the_interval_of_each_column() -> None:
    curves = np.random.default_rng(0).normal(size=(7, 5))
    band = stats.bootstrap_band(curves, resamples=500)
    for place in range(5):
        column = stats.bootstrap_interval([curves[:, place]], resamples=500)
        np.testing.assert_allclose(band[:, place], column)
    assert stats.bootstrap_band(curves[:1]) is None
    with pytest.raises(InputError, match="between 0 and 1"):
        stats.bootstrap_band(curves, confidence=95)


def test_references_measured_with_other_demonstrations_are_not_averaged(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000, config={"demo_episodes": 1}, bc_return=100.0)
    gail_run(tmp_path, "l2l_gail", 0, 1000, config={"demo_episodes": 4}, bc_return=900.0)
    section = sections_of(tmp_path)["Hopper-v5"]
    (one,) = boards_of(section)
    assert one.references == {
        "expert": 3020.0,
        "behaviour cloning (demo_episodes=1)": 100.0,
        "behaviour cloning (demo_episodes=4)": 900.0,
    }
    cells = table_cells(tmp_path, "Hopper-v5")
    assert cells["behaviour cloning (demo_episodes=1)"]["final return IQM [95% CI]"] == "100"
    assert len(one.colours) == 5
    draw_figure([one])


def test_stability_is_of_each_run_s_own_evaluations(tmp_path: Path) -> None:
    spreads = []
    for seed, number in enumerate((20, 20, 40)):
        steps = np.linspace(0, 40_000, number + 1)[1:].tolist()
        returns = [2020.0 + 600 * (-1) ** place for place in range(number)]
        curve = {"steps": steps, "return_mean": returns, "length_mean": [100.0] * number}
        gail_run(tmp_path, "gail", seed, 1000, curve=curve)
        spreads.append(stats.tail_std((np.array(returns) - 20) / 3000))
    assert spreads == pytest.approx([0.2] * 3)
    section = sections_of(tmp_path)["Hopper-v5"]
    assert table_cells(tmp_path, "Hopper-v5")["gail"]["tail std"] == "0.200"
    (row,) = next(t for t in section_tables(section) if "stability" in t.title).rows
    assert "0.200 [0.200, 0.200]" in row
    (method,) = section.methods
    score = next(one for one in SCORES["gail"] if one.name.startswith("tail std"))
    assert score.values(method) == pytest.approx([0.2] * 3)
    charts = {curve.tag: curve.series(method) for curve in CURVES["gail"]}
    drawn = charts["2 stability/c spread of the last 10 evaluations"]
    assert drawn.y[-1] == pytest.approx(0.2)
    assert len(drawn.x) == len(charts["1 true return/d normalised"].x)  # of all seeds
