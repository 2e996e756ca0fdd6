"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from l2l_gail.gail import references
from l2l_gail.gail.behaviour_cloning import behaviour_cloning

# The tests' matrices are tiny: where the cores are busy, several threads take ten times as long.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A training sets the number of threads of its process: it is not that of later tests."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    # A shell that starts the tests in the background may have SIGINT ignored, which processes
    # inherit: tests that send it would wait for ever.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def hardly_cloned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy cloned for comparison takes 100 steps: 5,000 take most of a short run."""
    monkeypatch.setattr(references, "behaviour_cloning", partial(behaviour_cloning, steps=100))
