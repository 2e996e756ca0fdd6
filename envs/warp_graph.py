"""Run a step's segments: eagerly the first time, then as recorded graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import warp as wp

from .warp_step import Segment

__all__ = ["StepRunner"]


class StepRunner:
    """Runs the segments of a step one after the other, without waiting for the device.

    The first step runs eagerly, which loads the kernels, as they cannot be loaded while recording.
    Before the second each segment is recorded, and from then on replayed. On a GPU a segment is
    one CUDA graph, and a step launches them back to back on a stream of its own. They are several
    because torch and warp must each record their own: the solver of mujoco_warp loops on the
    device, in a conditional node, and recording such a node ends the capture and begins another
    one under a new id, in which torch's allocator no longer sees the capture that it belongs to.
    On the CPU warp records its segments likewise, and replays them without Python; torch does not.

    Args:
        segments: The parts of the step; they write where the next ones read.
        device: Where they run.
        generator: The generator that torch's segments draw from.
        graph: Whether to record; if not, every step runs eagerly.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        device: torch.device,
        generator: torch.Generator,
        graph: bool = True,
    ) -> None:
        self._segments = segments
        self._device = device
        self._generator = generator
        self._graph = graph
        self._warm = False
        self._launches: list[Callable[[], None]] = []
        if device.type == "cuda":
            # The default stream cannot be recorded.
            self._stream = torch.cuda.Stream(device)
            self._warp_stream = wp.stream_from_torch(self._stream)

    def __call__(self) -> None:
        """Run the step."""
        if not (self._graph and self._warm):
            self.run(*(segment.run for segment in self._segments))
            self._warm = True
            return
        with self._scope():
            if not self._launches:
                self._launches = [self._record(segment) for segment in self._segments]
            for launch in self._launches:
                launch()

    def run(self, *work: Callable[[], None]) -> None:
        """Run torch's and warp's work eagerly, and wait for it."""
        with self._scope():
            for function in work:
                function()
        # What warp allocates and drops meanwhile is free for others at once: it would have to know
        # of work on a stream that is not its own.
        self.wait()

    @contextmanager
    def _scope(self) -> Iterator[None]:
        """Put torch's and warp's work on the stream of the step, in order with the caller's.

        On the CPU this only makes warp's CPU device current.
        """
        if self._device.type != "cuda":
            with wp.ScopedDevice(wp.device_from_torch(self._device)):
                yield
            return
        caller = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(caller)
        with (
            torch.cuda.device(self._device),
            torch.cuda.stream(self._stream),
            wp.ScopedStream(self._warp_stream, sync_enter=False),
        ):
            yield
        caller.wait_stream(self._stream)

    def wait(self) -> None:
        """Wait until the device has nothing of this step left to do."""
        if self._device.type == "cuda":
            self._stream.synchronize()

    def _record(self, segment: Segment) -> Callable[[], None]:
        """Return a replay of a segment, which is recorded without being run."""
        on_gpu = self._device.type == "cuda"
        if segment.of == "warp":
            stream = self._warp_stream if on_gpu else None
            with wp.ScopedCapture(stream=stream, force_module_load=False) as capture:
                segment.run()
            # The capture also keeps the recorded kernels loaded.
            return lambda: wp.capture_launch(capture.graph, stream=stream)
        if not on_gpu:
            return segment.run
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            segment.run()
        return graph.replay
