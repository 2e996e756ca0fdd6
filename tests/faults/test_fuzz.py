"""The short form of the fuzzer in every test run, the long one with ``-m slow``."""

from __future__ import annotations

import pytest

from tests.faults import fuzz
from tests.faults.all_subjects import FOREIGN_SUBJECTS, SUBJECTS
from tests.faults.text_subjects import SLOW_SUBJECTS


def assert_nothing_failed(results: list[tuple[str, int, str, str]], n: int) -> None:
    assert len(results) == n
    failed = [result for result in results if result[2] in fuzz.FAILURES]
    assert not failed, "\n".join(f"{kind} of {name} {i}: {text}" for name, i, kind, text in failed)


@pytest.mark.slow
def test_a_few_hostile_inputs_of_each_reader_are_refused_or_sound() -> None:
    # A worker process at first: an end of the interpreter must not end the tests.
    results = fuzz.fuzz(fuzz.jobs_for(200, list(SUBJECTS)), workers=1)
    assert_nothing_failed(results, 200)
    kinds = {kind for _, _, kind, _ in results}
    assert kinds == {"refused", "accepted"}


@pytest.mark.slow
def test_a_few_hostile_files_of_other_libraries_are_refused_or_sound() -> None:
    assert_nothing_failed(fuzz.fuzz(fuzz.jobs_for(9, list(FOREIGN_SUBJECTS)), workers=1), 9)


@pytest.mark.slow
def test_hostile_sweeps_and_boards_of_hostile_runs_are_refused_or_sound() -> None:
    assert_nothing_failed(fuzz.fuzz(fuzz.jobs_for(100, list(SLOW_SUBJECTS)), workers=2), 100)


@pytest.mark.slow
def test_two_thousand_hostile_files_of_other_libraries_are_refused_or_sound() -> None:
    jobs = fuzz.jobs_for(2_000, list(FOREIGN_SUBJECTS))
    assert_nothing_failed(fuzz.fuzz(jobs, workers=2), 2_000)


@pytest.mark.slow
def test_twenty_thousand_hostile_inputs_are_refused_or_sound() -> None:
    assert_nothing_failed(fuzz.fuzz(fuzz.jobs_for(20_000, list(SUBJECTS)), workers=2), 20_000)


FAULTS = {
    "import os; os.abort()": "process end",
    "1 / 0": "other exception",
    "import time; time.sleep(60)": "too slow",
    "keep = b'x' * (700 << 20)": "too much memory",
    "from l2l_gail.errors import InputError; raise InputError('wrong')": "refused",
    "from l2l_gail.errors import InputError; InputError.__str__ = lambda self: '\\x1b'\n"
    "raise InputError": "no line",
    "pass": "accepted",
}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=[pytest.mark.slow] if kind == "too slow" else [])
        for fault, kind in FAULTS.items()
    ],
)
def test_the_fuzzer_sees_what_it_looks_for(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fuzz.PLANTED, fault)
    monkeypatch.setattr(fuzz, "PATIENCE", 10.0)
    results = fuzz.fuzz([("anything", 0), ("anything", 1)], workers=1)
    assert [kind for _, _, kind, _ in results] == [FAULTS[fault]] * 2
