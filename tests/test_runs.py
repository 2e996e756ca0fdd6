from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from l2l_gail.comparison import find
from l2l_gail.errors import InputError
from l2l_gail.files import atomic_write
from l2l_gail.finding_runs import COMPARISON, OVERVIEW, find_runs, walk_runs
from l2l_gail.runs import RunFolder, versions
from tests.comparison.support import close


def finish(out: Path, group: str, method: str, seed: int, **fields) -> RunFolder:
    folder = RunFolder.create(out, group, method, seed)
    folder.write_summary(method=method, seed=seed, **fields)
    return folder


def test_a_second_run_of_a_seed_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    paths = [RunFolder.create(tmp_path, "Hopper-v5", "gail", 3).path for _ in range(3)]
    parent = tmp_path / "Hopper-v5" / "gail"
    assert paths == [parent / "seed3", parent / "seed3-2", parent / "seed3-3"]
    assert all(path.is_dir() for path in paths)


def test_resume_returns_the_newest_folder_by_number_not_by_name(tmp_path: Path) -> None:
    for _ in range(11):
        newest = RunFolder.create(tmp_path, "g", "m", 0)
    RunFolder.create(tmp_path, "g", "m", 10)
    assert newest.path.name == "seed0-11"
    assert RunFolder.create(tmp_path, "g", "m", 0, resume=True) == newest


def test_a_folder_in_which_nothing_was_begun_hides_no_run(tmp_path: Path) -> None:
    folders = [RunFolder.create(tmp_path, "g", "m", 0) for _ in range(3)]
    assert RunFolder.newest(tmp_path, "g", "m", 0) == folders[2]
    (folders[2].path / ".lock").touch()
    folders[0].write_summary(steps=1)
    assert RunFolder.newest(tmp_path, "g", "m", 0) == folders[0]
    (folders[1].path / "checkpoint-previous.pt").touch()
    assert RunFolder.create(tmp_path, "g", "m", 0, resume=True) == folders[1]
    folders[2].write_config({})
    assert RunFolder.newest(tmp_path, "g", "m", 0) == folders[2]


def test_a_new_run_is_not_begun_where_another_process_has_begun_one(tmp_path: Path) -> None:
    for seed, name in enumerate(("config.json", "checkpoint.pt", "summary.json")):
        folder = RunFolder.create(tmp_path, "g", "m", seed)
        with folder.owned(new=True):
            pass
        (folder.path / name).touch()
        with pytest.raises(InputError, match="another process has begun one in it"):
            with folder.owned(new=True):
                pass
        with folder.owned():
            pass


def test_resume_makes_a_folder_where_there_is_none(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "g", "m", 1, resume=True)
    assert folder.path == tmp_path / "g" / "m" / "seed1"
    assert folder.path.is_dir()


def test_a_gap_left_by_a_deleted_run_is_not_filled(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "g", "m", 0)
    RunFolder.create(tmp_path, "g", "m", 0)
    first.path.rmdir()
    assert RunFolder.create(tmp_path, "g", "m", 0).path.name == "seed0-3"


def test_names_with_separators_stay_one_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "my_module:space/Env-v0", "gail", 0)
    assert folder.path == tmp_path / "my_module-space-Env-v0" / "gail" / "seed0"


@pytest.mark.parametrize(
    ("group", "seed", "message"),
    [("..", 0, "gives no folder name"), ("", 0, "gives no folder name"), ("g", -1, "seed is -1")],
)
def test_names_that_are_no_folder_are_refused(tmp_path, group, seed, message) -> None:
    with pytest.raises(InputError, match=message):
        RunFolder.create(tmp_path, group, "m", seed)


@pytest.mark.parametrize(
    ("name", "way_out"), [(b"\xff", "no text in UTF-8: give"), ("ü".encode(), "set LC_ALL=C.UTF-8")]
)
def test_a_name_that_is_no_text_is_refused(name: bytes, way_out: str, tmp_path: Path) -> None:
    out = tmp_path / name.decode("ascii", "surrogateescape")  # as Python has it where LC_ALL is C
    with pytest.raises(InputError, match=way_out):
        RunFolder.create(out, "g", "m", 0)


def test_a_file_in_the_place_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(InputError, match="give another --out"):
        RunFolder.create(tmp_path / "runs", "g", "m", 0)


def test_a_run_is_finished_once_it_has_a_summary(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "g", "m", 0)
    assert not folder.finished
    folder.write_summary(kind="gail", eval_returns=np.array([1.5, 2.5]), steps=np.int64(7))
    assert folder.finished
    content = json.loads(folder.summary.read_text())
    assert content["eval_returns"] == [1.5, 2.5]
    assert content["steps"] == 7
    assert content["versions"]["torch"] == torch.__version__


def test_given_versions_are_kept(tmp_path: Path) -> None:
    folder = finish(tmp_path, "g", "m", 0, versions={"torch": "2.11.0"})
    assert json.loads(folder.summary.read_text())["versions"] == {"torch": "2.11.0"}


@pytest.mark.parametrize("value", [math.nan, [1.0, math.inf], {"deep": [np.float32("nan")]}])
def test_values_that_are_not_finite_are_refused_by_name(tmp_path: Path, value) -> None:
    folder = RunFolder.create(tmp_path, "g", "m", 0)
    with pytest.raises(InputError, match="'eval_returns' holds a NaN or infinite value"):
        folder.write_summary(method="m", eval_returns=value)
    assert not folder.finished


def test_config_comes_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "g", "m", 0)
    folder.write_config({"out": tmp_path, "sizes": (64, 64), "demos": None, "rate": 3e-4})
    assert folder.read_config() == {
        "out": str(tmp_path),
        "sizes": [64, 64],
        "demos": None,
        "rate": 3e-4,
    }


@pytest.mark.parametrize(
    ("content", "message"), [(None, "missing"), ("{'a", "damaged"), ("3", "no JSON")]
)
def test_an_unreadable_config_is_one_line(tmp_path: Path, content, message) -> None:
    folder = RunFolder.create(tmp_path, "g", "m", 0)
    if content is not None:
        (folder.path / "config.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        folder.read_config()
    assert "\n" not in str(caught.value)


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch) -> None:
    path = tmp_path / "state.json"
    atomic_write(path, "old")

    def power_cut(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(InputError, match=r"state\.json cannot be written \(No space left"):
        atomic_write(path, "new, much longer")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_newest_finished_run_of_each_seed_is_found(tmp_path: Path) -> None:
    finish(tmp_path, "Hopper-v5", "gail", 0, steps=1)
    finish(tmp_path, "Hopper-v5", "gail", 0, steps=2)
    finish(tmp_path, "Hopper-v5", "gail", 1, steps=3)
    finish(tmp_path, "cifar10", "pgd", 0, epochs=5)
    RunFolder.create(tmp_path, "Hopper-v5", "gail", 0)  # still training
    RunFolder.create(tmp_path, "Hopper-v5", "l2l_gail", 0)  # still training, the first of its kind
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "summary.json").write_text("{}")
    found = [
        (run.folder.group, run.folder.method, run.folder.seed, run.folder.path.name)
        for run in find_runs(tmp_path)
    ]
    assert found == [
        ("Hopper-v5", "gail", 0, "seed0-2"),
        ("Hopper-v5", "gail", 1, "seed1"),
        ("cifar10", "pgd", 0, "seed0"),
    ]
    assert find_runs(tmp_path)[0].summary["steps"] == 2


def test_runs_are_found_from_any_folder_above_them(tmp_path: Path, monkeypatch) -> None:
    finish(tmp_path, "Hopper-v5", "gail", 0)
    everything = find_runs(tmp_path)
    assert len(everything) == 1
    assert find_runs(tmp_path / "Hopper-v5") == everything
    monkeypatch.chdir(tmp_path / "Hopper-v5" / "gail")
    assert find_runs(".") == everything


def test_runs_behind_links_are_found_once(tmp_path: Path) -> None:
    real = finish(tmp_path / "real", "Hopper-v5", "gail", 0)
    finish(tmp_path / "all", "Hopper-v5", "gail", 1)
    method = tmp_path / "all" / "Hopper-v5" / "gail"
    (method / "seed0").symlink_to(real.path)
    (tmp_path / "all" / "again").symlink_to(method)
    (tmp_path / "all" / "up").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "nowhere").symlink_to(tmp_path / "missing")
    told: list[str] = []
    found = [folder.seed for folder, _ in walk_runs(tmp_path / "all", told.append)]
    assert found == [0, 1]
    root = os.path.realpath(tmp_path / "all")
    assert told == [
        f"Left out: {root}/nowhere is a link to what is not there.",
        f"Left out: {root}/again is another name of {root}/Hopper-v5/gail.",
        f"Left out: {root}/up is another name of {root}.",
    ]
    with pytest.warns(UserWarning, match="Left out"):
        assert [run.folder.seed for run in find_runs(tmp_path / "all")] == [0, 1]


def test_a_link_to_a_whole_disk_ends_in_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("l2l_gail.finding_runs._MOST_FOLDERS", 50)
    for place in range(60):
        (tmp_path / "disk" / f"folder{place}").mkdir(parents=True)
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "link").symlink_to(tmp_path / "disk")
    with pytest.raises(InputError, match=r"more than 50 folders below .*/all that are no runs"):
        list(walk_runs(tmp_path / "all"))


def test_folders_around_runs_and_boards_of_comparisons_are_none_too_many(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("l2l_gail.finding_runs._MOST_FOLDERS", 10)
    for number in range(12):
        finish(tmp_path, "Hopper-v5", f"m{number}", 0)
        finish(tmp_path / COMPARISON, "Hopper-v5", f"m{number}", 1)  # an --out of this name
        (tmp_path / COMPARISON / "Hopper-v5-runs" / f"m{number}" / "seed0").mkdir(parents=True)
    (tmp_path / COMPARISON / "Hopper-v5-runs" / OVERVIEW).mkdir()
    assert len(find_runs(tmp_path)) == 24


def test_a_folder_that_may_not_be_entered_is_said(tmp_path: Path, monkeypatch) -> None:
    finish(tmp_path, "Hopper-v5", "gail", 0)
    finish(tmp_path, "Walker2d-v5", "gail", 0)
    close(tmp_path / "Walker2d-v5", monkeypatch)
    with pytest.warns(UserWarning, match=r"Left out: .*Walker2d-v5 cannot be read \(Permission"):
        (run,) = find_runs(tmp_path)
    assert run.folder.group == "Hopper-v5"
    assert find(tmp_path).notes == [
        f"Left out: {tmp_path}/Walker2d-v5 cannot be read (Permission denied)."
    ]


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    finish(tmp_path, "g", "m", 0).summary.write_text('{"method": "m"')
    with pytest.raises(InputError, match=r"seed0/summary\.json is damaged"):
        find_runs(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        find_runs(tmp_path / "missing")


def test_versions_name_what_decides_a_result() -> None:
    found = versions()
    assert {"python", "l2l_gail", "torch", "numpy", "gymnasium", "mujoco"} <= set(found)
    assert found["numpy"] == np.__version__


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "g", "m", 0)
    (tmp_path / "precious").write_text("mine")
    (folder.path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="cannot write in"), folder.owned():
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_run_that_fails_before_it_has_written_anything_leaves_no_folder(tmp_path: Path) -> None:
    beside = RunFolder.create(tmp_path, "Hopper-v5", "gail", 0)
    (beside.path / "config.json").write_text("{}")
    for folder in (
        RunFolder.create(tmp_path, "Hopper-v5", "gail", 1),
        RunFolder.create(tmp_path, "Ant-v5", "gail", 0),
    ):
        with pytest.raises(ZeroDivisionError), folder.owned():
            raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), beside.owned():
        raise ZeroDivisionError
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    kept = ["config.json", ".lock"]
    run = "Hopper-v5/gail/seed0"
    assert left == sorted(["Hopper-v5", "Hopper-v5/gail", run, *(f"{run}/{k}" for k in kept)])


@pytest.mark.slow
def test_a_run_that_another_process_trains_is_refused_until_that_ends(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "g", "m", 0)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from pathlib import Path\n"
            "from l2l_gail.runs import RunFolder\n"
            "with RunFolder(Path(sys.argv[1]), 'g', 'm', 0).owned():\n"
            "    print('owned', flush=True)\n"
            "    time.sleep(60)\n",
            str(folder.path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "owned\n"
        with pytest.raises(InputError, match="is being trained by another process"):
            RunFolder.create(tmp_path, "g", "m", 0, resume=True)
    finally:
        holder.kill()
        holder.communicate()
    assert RunFolder.create(tmp_path, "g", "m", 0, resume=True) == folder
