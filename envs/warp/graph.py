"""Run a step's segments: eagerly the first time, then as recorded graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import warp as wp

from .step import Segment

__all__ = ["StepRunner"]


class StepRunner:
    """Runs the segments of a step one after the other, without waiting for the device.

    The first step runs eagerly, which loads the kernels, as they cannot be loaded while recording.
    The second is recorded before it runs, and from then on replayed. On a GPU it is two CUDA
    graphs, launched one after the other on a stream of their own: a small one in which torch draws
    noise, because torch's generators can be recorded by torch alone, and one of all the rest,
    torch's work and warp's. Warp records that one: the solver of mujoco_warp loops on the device,
    in a conditional node, and to record such a node warp interrupts the recording and goes on
    under a new id, by which torch's own recording would not know it again. On the CPU warp records
    its segments, and replays them without Python; torch does not.

    Args:
        segments: The parts of the step; they write where the next ones read.
        device: Where they run.
        generator: The generator that the noise is drawn from.
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
        self._pool: torch.cuda.MemPool | None = None
        if device.type == "cuda":
            # The default stream cannot be recorded.
            self._stream = torch.cuda.Stream(device)
            self._warp_stream = wp.stream_from_torch(self._stream)

    def __call__(self) -> None:
        """Run the step."""
        if self._launches:
            self._replay()
        elif not (self._graph and self._warm and self._record_and_replay()):
            self.run(*(segment.run for segment in self._segments))
            self._warm = True

    def _replay(self) -> None:
        with self._scope():
            for launch in self._launches:
                launch()

    def _record_and_replay(self) -> bool:
        """Record the step and run it; if that fails, warn and return false.

        Then nothing has run but the draw of noise: a GPU may find only at the first launch that it
        has no room for a graph.
        """
        try:
            with self._scope():
                self._launches = self._record()
            self._replay()
        except RuntimeError as error:
            if self._device.type == "cpu":
                raise
            warnings.warn(
                "the step cannot be recorded as a CUDA graph and runs kernel by kernel, several "
                f"times slower: {str(error).splitlines()[0]}",
                RuntimeWarning,
                stacklevel=4,
            )
            self._graph, self._launches, self._pool = False, [], None
            return False
        return True

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

    def _record(self) -> list[Callable[[], None]]:
        """Return replays of the segments, which are recorded without being run.

        Torch's tensors of the large graph lie in a pool of their own, which lives as long as the
        graph that writes to them: no other tensor ever gets their memory. The small graph comes
        first, because torch then waits for the device and puts its allocator in order: while warp
        records, the allocator must not look whether the device is done with something.
        """
        if self._device.type == "cpu":
            return [
                self._record_warp([segment]) if segment.of == "warp" else segment.run
                for segment in self._segments
            ]
        draw = self._record_torch([segment for segment in self._segments if segment.of == "noise"])
        others = [segment for segment in self._segments if segment.of != "noise"]
        self._pool = torch.cuda.MemPool()
        with torch.cuda.use_mem_pool(self._pool, self._device):
            return [draw, self._record_warp(others, self._warp_stream)]

    def _record_torch(self, segments: Sequence[Segment]) -> Callable[[], None]:
        """Record work of torch's alone, which may draw from the generator."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            for segment in segments:
                segment.run()
        return graph.replay

    def _record_warp(
        self, segments: Sequence[Segment], stream: wp.Stream | None = None
    ) -> Callable[[], None]:
        """Have warp record; on the CPU it sees only its own work, on a GPU all of the stream's."""
        with wp.ScopedCapture(stream=stream, force_module_load=False) as capture:
            for segment in segments:
                segment.run()
        # The capture also keeps the recorded kernels loaded.
        return lambda: wp.capture_launch(capture.graph, stream=stream)
