"""The recording of a step on a GPU, where there is none: what is called, and in which order.

The calls of torch and warp that need a device are replaced by ones that write down that they were
made. What a GPU makes of them, ``test_envs_gpu.py`` tests where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

pytest.importorskip("warp", reason="needs the gpu extra")
import warp as wp

from envs.warp.graph import StepRunner
from envs.warp.step import Segment


class FakeStream:
    def __init__(self, device: object = None) -> None: ...
    def wait_stream(self, other: object) -> None: ...
    def synchronize(self) -> None: ...


class FakeGraph:
    def __init__(self, log: list[str]) -> None:
        self._log = log

    def register_generator_state(self, generator: object) -> None:
        self._log.append("generator")

    def replay(self) -> None:
        self._log.append("replay torch")


class Capture:
    """``warp.ScopedCapture``."""

    log: list[str]
    fails = False

    def __init__(self, stream: object, force_module_load: bool) -> None:
        assert stream is not None

    def __enter__(self) -> Capture:
        self.log.append("warp begins")
        return self

    def __exit__(self, *error: object) -> None:
        self.log.append("warp ends")
        if self.fails and error[0] is None:
            raise RuntimeError("operation not permitted\nmore of it")
        self.graph = "graph"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is called, by name."""
    log: list[str] = []
    Capture.log = log

    @contextmanager
    def scope(name: str) -> Iterator[None]:
        log.append(f"{name} begins")
        try:
            yield
        finally:
            log.append(f"{name} ends")

    def record(graph: FakeGraph, stream: object, capture_error_mode: str) -> Any:
        assert isinstance(graph, FakeGraph)
        assert isinstance(stream, FakeStream)
        assert capture_error_mode == "thread_local"
        return scope("torch")

    for name, value in {
        "Stream": FakeStream,
        "current_stream": lambda device: FakeStream(),
        "device": lambda device: nullcontext(),
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": lambda: FakeGraph(log),
        "graph": record,
        "MemPool": lambda: "pool",
        "use_mem_pool": lambda pool, device: scope(pool),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name, value in {
        "stream_from_torch": lambda stream: "stream",
        "ScopedStream": lambda stream, sync_enter: nullcontext(),
        "ScopedCapture": Capture,
        "capture_launch": lambda graph, stream: log.append(f"replay warp's {graph}"),
    }.items():
        monkeypatch.setattr(wp, name, value)
    return log


def runner(log: list[str], graph: bool = True) -> StepRunner:
    parts = [("noise", "draw"), ("torch", "prepare"), ("warp", "simulate"), ("torch", "conclude")]
    segments = [Segment(of, lambda name=name: log.append(name)) for of, name in parts]  # type: ignore[misc,arg-type]
    return StepRunner(segments, torch.device("cuda", 0), torch.Generator(), graph)


def test_a_step_is_one_graph_and_one_of_its_noise(log: list[str]) -> None:
    step = runner(log)
    step()
    assert log == ["draw", "prepare", "simulate", "conclude"], "the first runs eagerly"
    log.clear()
    step()
    assert log == [
        *("generator", "torch begins", "draw", "torch ends"),
        *("pool begins", "warp begins", "prepare", "simulate", "conclude", "warp ends"),
        "pool ends",
        *("replay torch", "replay warp's graph"),
    ]
    assert step._pool == "pool"
    log.clear()
    step()
    assert log == ["replay torch", "replay warp's graph"]


def fail(*args: object) -> None:
    raise RuntimeError("operation not permitted\nmore of it")


@pytest.mark.parametrize("where", ["recording", "pool", "noise", "first launch"])
def test_what_cannot_be_recorded_runs_eagerly_and_says_so(
    where: str, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "recording":
        monkeypatch.setattr(Capture, "fails", True)
    else:
        of, name = {
            "pool": (torch.cuda, "MemPool"),
            "noise": (torch.cuda, "CUDAGraph"),
            "first launch": (wp, "capture_launch"),
        }[where]
        monkeypatch.setattr(of, name, fail if where != "first launch" else lambda g, stream: fail())
    step = runner(log)
    step()
    with pytest.warns(RuntimeWarning, match=r"cannot be recorded .*: operation not permitted$"):
        step()
    assert log[-4:] == ["draw", "prepare", "simulate", "conclude"]
    assert log.count("pool begins") == log.count("pool ends")
    assert step._pool is None
    log.clear()
    step()
    assert log == ["draw", "prepare", "simulate", "conclude"], "it is not tried again"


def test_without_a_graph_nothing_is_recorded(log: list[str]) -> None:
    step = runner(log, graph=False)
    for _ in range(3):
        step()
    assert log == ["draw", "prepare", "simulate", "conclude"] * 3
