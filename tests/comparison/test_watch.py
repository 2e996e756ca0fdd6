"""The comparison beside runs that come, go and are written while it looks."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from l2l_gail.comparison import Section, collect, find
from l2l_gail.comparison.__main__ import _state, main
from l2l_gail.errors import InputError
from tests.comparison.support import gail_run, unfinished_run


def tables_alone(root: Path, **_: Any) -> list[Section]:
    found = find(root)
    sections = collect(found.finished, found.unfinished)
    if not sections:
        raise InputError("no finished run")
    return sections


def test_watching_goes_on_while_runs_are_deleted_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    gail_run(runs, "gail", 0, 1000)
    turns = [
        lambda: gail_run(runs, "gail", 1, 1000),
        lambda: None,  # nothing new: no comparison
        lambda: (runs / "Hopper-v5" / "gail" / "seed1" / "summary.json").write_text("{"),
        lambda: shutil.rmtree(runs),
        lambda: gail_run(runs, "gail", 2, 1000),
        lambda: [(runs / "others" / str(number)).mkdir(parents=True) for number in range(20)],
        lambda: gail_run(runs, "gail", 3, 1000),
    ]
    monkeypatch.setattr("l2l_gail.finding_runs._MOST_FOLDERS", 15)

    def sleep(seconds: float) -> None:
        if not turns:
            raise KeyboardInterrupt
        turns.pop(0)()

    monkeypatch.setattr("l2l_gail.comparison.__main__.time.sleep", sleep)
    monkeypatch.setattr("l2l_gail.comparison.__main__.compare", tables_alone)
    with pytest.raises(KeyboardInterrupt):
        main([str(runs), "--watch"])
    told = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines() if ":" in line]
    told = [line for line in told if "compared again" in line]
    assert [line.partition(":")[0] for line in told] == [
        "compared again",
        "compared again",
        "not compared again",
        "compared again",
        "not compared again",
    ]
    assert "is not a folder" in told[2]
    assert "more than 15 folders" in told[4]


def test_what_is_written_while_it_compares_is_seen_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    left = [2, 1, 0]

    def compare(root: Path, **_: Any) -> list[Section]:
        sections = tables_alone(root)
        if len(left) == 3:  # a run ends after it was looked at
            gail_run(tmp_path, "gail", 1, 1000)
        return sections

    def sleep(seconds: float) -> None:
        if not left.pop(0):
            raise KeyboardInterrupt

    monkeypatch.setattr("l2l_gail.comparison.__main__.time.sleep", sleep)
    monkeypatch.setattr("l2l_gail.comparison.__main__.compare", compare)
    with pytest.raises(KeyboardInterrupt):
        main([str(tmp_path), "--watch"])
    assert capsys.readouterr().out.count("compared again") == 1


def test_runs_that_come_and_go_meanwhile_are_no_traceback(tmp_path: Path) -> None:
    gail_run(tmp_path, "gail", 0, 1000)
    ended = threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for folder in (
                gail_run(tmp_path, "gail", 1, 1000),
                unfinished_run(tmp_path, "gail", 2, [1.0, 2.0]),
            ):
                shutil.rmtree(folder.path)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    compared, refused = [], []
    try:
        for _ in range(150):
            _state(tmp_path)
            try:
                compared.append(tables_alone(tmp_path))
            except InputError as error:
                refused.append(str(error))
    finally:
        ended.set()
        thread.join()
    assert compared
    assert all("\n" not in text for text in refused)
