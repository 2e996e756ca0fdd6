"""Run a step's segments: eagerly, or recorded once as CUDA graphs and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import warp as wp

from .warp_step import Segment

__all__ = ["StepRunner"]


class StepRunner:
    """Runs the segments of a step one after the other, without waiting for the device.

    On a GPU each segment becomes one CUDA graph, and a step launches them back to back on a stream
    of its own. They are several because torch and warp must each record their own: the solver of
    mujoco_warp loops on the device, in a conditional node, and recording such a node ends the
    capture and begins another one under a new id, in which torch's allocator and generators no
    longer see the capture that they belong to.

    Args:
        segments: The parts of the step; they write where the next ones read.
        device: Where they run.
        generator: The generator that torch's segments draw from.
        graph: Whether to record graphs; on the CPU there are none.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        device: torch.device,
        generator: torch.Generator,
        graph: bool = True,
    ) -> None:
        self._device = device
        self._generator = generator
        self._launches: list[Callable[[], None]] = [segment.run for segment in segments]
        if device.type != "cuda":
            return
        # The default stream can be neither captured nor waited for by one that is.
        self._stream = torch.cuda.Stream(device)
        self._warp_stream = wp.stream_from_torch(self._stream)
        if graph:
            for _ in range(2):  # loads kernels, which cannot be done while recording
                self()
            torch.cuda.synchronize(device)
            self._launches = [self._record(segment) for segment in segments]

    def __call__(self) -> None:
        """Run the step."""
        with self.scope():
            for launch in self._launches:
                launch()

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Do torch's and warp's work inside on the stream of the step, in order with the caller's.

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
        if segment.of == "torch":
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self._generator)
            with (
                torch.cuda.device(self._device),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                segment.run()
            return graph.replay
        stream = self._warp_stream
        with (
            wp.ScopedStream(stream, sync_enter=False),
            wp.ScopedCapture(stream=stream, force_module_load=False) as capture,
        ):
            segment.run()
        # The capture keeps the recorded kernels' modules loaded.
        return lambda: wp.capture_launch(capture.graph, stream=stream)
