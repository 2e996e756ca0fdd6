"""MuJoCo's own batch of simulations, through its C interface (``mujoco/mjbatch.h``).

``mujoco.batch.Batch`` is the same engine for Python, but does not offer ``mjb_apply``, and two of
Gymnasium's tasks need it: their contact forces come from ``mj_rnePostConstraint``, which Gymnasium
calls after ``mj_step``. So the few functions in use here are called directly; ``ctypes`` lets go of
the interpreter's lock for the time of each call.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import mujoco
import numpy as np

from l2l_gail.errors import InputError

__all__ = ["MjBatch"]

_INT_P = ctypes.POINTER(ctypes.c_int)
_STATE = {
    "qpos": mujoco.mjtState.mjSTATE_QPOS,
    "qvel": mujoco.mjtState.mjSTATE_QVEL,
    "act": mujoco.mjtState.mjSTATE_ACT,
    "qacc_warmstart": mujoco.mjtState.mjSTATE_WARMSTART,
    "ctrl": mujoco.mjtState.mjSTATE_CTRL,
}
_DIVERGED = [
    int(mujoco.mjtWarning.mjWARN_BADQPOS),
    int(mujoco.mjtWarning.mjWARN_BADQVEL),
    int(mujoco.mjtWarning.mjWARN_BADQACC),
]
_OTHER_WARNINGS = {
    int(mujoco.mjtWarning.mjWARN_INERTIA): "inertia matrices close to singular",
    int(mujoco.mjtWarning.mjWARN_CONTACTFULL): "contacts without room in <size memory>",
    int(mujoco.mjtWarning.mjWARN_CNSTRFULL): "constraints without room in <size memory>",
    int(mujoco.mjtWarning.mjWARN_BADCTRL): "huge controls, which it set to zero",
}
_NO_STAGE = int(mujoco.mjtStage.mjSTAGE_NONE)
_ALL_STAGES = int(mujoco.mjtStage.mjSTAGE_ACC)


class _Config(ctypes.Structure):
    """``mjBatchConfig``."""

    _fields_ = (("nthread", ctypes.c_int), ("persistent", ctypes.c_bool))


class _WarningStat(ctypes.Structure):
    """``mjWarningStat``."""

    _fields_ = (("lastinfo", ctypes.c_int), ("number", ctypes.c_int))


class MjBatch:
    """``nsim`` simulations of one model, stepped on ``nthread`` threads.

    Each simulation is one row of integration state (warm start included). Results do not depend on
    the number of threads. The arrays live in the batch's memory and change under the reader at
    every call: copy what is to last, and touch none after :meth:`close`.

    Args:
        model: The compiled model; the batch makes a copy of its own.
        nsim: Number of simulations.
        nthread: Threads, the caller's included.
        persistent: Keep one ``MjData`` per simulation, which :meth:`post_constraint` needs; else
            one per thread.

    Attributes:
        state: Integration state of all simulations, ``(nsim, nstate)`` float64, live.
        diverged: In how many steps MuJoCo has reset a simulation by itself, because its state was
            not finite or huge.
        warned: In how many steps of a simulation MuJoCo warned of something else, by what it was.

    Raises:
        InputError: This MuJoCo has no batch (before 3.17), or it cannot be made.
    """

    def __init__(
        self, model: mujoco.MjModel, nsim: int, nthread: int = 1, *, persistent: bool = False
    ) -> None:
        self._lib = _library()
        self._model = model
        self.nsim = nsim
        config = _Config(nthread, persistent)
        error = ctypes.create_string_buffer(1000)
        self._batch = self._lib.mjb_makeBatch(
            model._address, nsim, ctypes.byref(config), error, len(error)
        )
        if not self._batch:
            raise InputError(f"MuJoCo cannot make {nsim} simulations: {error.value.decode()}")
        # The threads belong to the process that made them: after a fork the child has none, and
        # waiting for them would never end.
        self._close = weakref.finalize(self, _delete, self._lib, self._batch, os.getpid())
        self._data = mujoco.MjData(model)  # shapes and types of the fields
        nstate = self._lib.mjb_nstate(self._batch)
        self.state = _doubles(self._lib.mjb_state(self._batch), (nsim, nstate))
        self._qpos, self._qvel = self.field("qpos"), self.field("qvel")
        self.diverged = 0
        self.warned: dict[str, int] = {}
        # mjb_warning: (nsim, mjNWARNING) of two ints each, of which the second is the count.
        stats = ctypes.cast(self._lib.mjb_warning(self._batch), _INT_P)
        counts = np.ctypeslib.as_array(stats, (nsim, int(mujoco.mjtWarning.mjNWARNING), 2))
        self._warnings = counts[:, :, 1]

    def field(self, name: str) -> np.ndarray:
        """Return a live array ``(nsim, ...)`` of an ``MjData`` field.

        ``qpos``, ``qvel``, ``act``, ``qacc_warmstart`` and ``ctrl`` are the state itself: a write
        is what the next call starts from. Others are outputs: refreshed by every call, and as after
        ``mj_step`` one substep behind the state.

        Raises:
            InputError: MuJoCo does not give out this field.
        """
        shape = (self.nsim, *getattr(self._data, name).shape)
        if name in _STATE:
            size = ctypes.c_int()
            address = self._lib.mjb_stateComponent(
                self._batch, int(_STATE[name]), ctypes.byref(size)
            )
            start = (address - self.state.ctypes.data) // self.state.itemsize
            return self.state[:, start : start + size.value].reshape(shape)
        size, itemsize = ctypes.c_int(), ctypes.c_int()
        address = self._lib.mjb_output(
            self._batch, name.encode(), ctypes.byref(size), ctypes.byref(itemsize)
        )
        if not address or itemsize.value != 8:
            raise InputError(f"MuJoCo's batch has no output {name!r} of floating-point numbers")
        return _doubles(address, shape)

    def step(self, nstep: int) -> None:
        """Advance every simulation by ``nstep`` substeps (``mj_step``)."""
        self._call("mjb_step", None, self.nsim, nstep, _NO_STAGE)
        if self._warnings.any():
            # A reset, MuJoCo's own too, begins the counters anew, so what they said is kept here.
            self.diverged += int(self._warnings[:, _DIVERGED].any(-1).sum())
            for kind, what in _OTHER_WARNINGS.items():
                if number := int(np.count_nonzero(self._warnings[:, kind])):
                    self.warned[what] = self.warned.get(what, 0) + number
            self._warnings[:] = 0

    def post_constraint(self) -> None:
        """Compute ``cacc``, ``cfrc_int`` and ``cfrc_ext`` from the last substep's contacts."""
        self._call("mjb_apply", None, self.nsim, self._lib.post_constraint, None, 0)
        # mjb_apply leaves the outputs as they are; a forward pass of no stage copies them.
        self._call("mjb_forward", None, self.nsim, _NO_STAGE)

    def reset(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Put simulations into new states, everything else at the model's defaults.

        Args:
            ids: Sorted unique indices, ``(k,)`` int32.
            qpos: Positions, ``(k, nq)``.
            qvel: Velocities, ``(k, nv)``.
        """
        which = ids.ctypes.data_as(_INT_P)
        self._call("mjb_reset", which, len(ids), None, _NO_STAGE)
        self._qpos[ids] = qpos
        self._qvel[ids] = qvel
        self._call("mjb_forward", which, len(ids), _ALL_STAGES)

    def close(self) -> None:
        """Free the simulations and end their threads; safe to call twice."""
        self._close()

    def _call(self, name: str, *arguments: object) -> None:
        with _without_clock_and_log():
            failed = getattr(self._lib, name)(self._batch, *arguments)
        if failed:
            status = np.ctypeslib.as_array(self._lib.mjb_status(self._batch), (self.nsim,))
            first = int(np.flatnonzero(status)[0])
            message = self._lib.mjb_error(self._batch, first).decode()
            raise RuntimeError(f"MuJoCo failed in {failed} simulations, first {first}: {message}")


def _delete(lib: ctypes.CDLL, batch: int, owner: int) -> None:
    if os.getpid() == owner:
        lib.mjb_deleteBatch(batch)


@contextmanager
def _without_clock_and_log() -> Iterator[None]:
    """Take MuJoCo's clock and its log away for the time of a call.

    The clock only fills ``mjData.timer``, for up to a sixth of a step's time. The log would be a
    line on the terminal and in ``MUJOCO_LOG.TXT`` for every warning of every simulation, which the
    batch counts anyway.

    Both are global to the process: ``mjcb_time``, which Python's ``mujoco`` sets, and
    ``mju_user_warning``. A batch that finds them already taken away, by a batch in another thread,
    leaves it to that one to restore them. Timers of whatever another thread simulates meanwhile
    are meaningless, and its warnings are lost.
    """
    clock, warn, nowhere = _hooks()
    own_clock, own_warn = clock.value, warn.value
    clock.value, warn.value = None, nowhere
    try:
        yield
    finally:
        if own_clock is not None:
            clock.value = own_clock
        if own_warn != nowhere:
            warn.value = own_warn


def _doubles(address: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return MuJoCo's memory as an array, without a copy."""
    if 0 in shape:
        return np.zeros(shape)
    pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_double))
    return np.ctypeslib.as_array(pointer, shape)


@cache
def _library() -> ctypes.CDLL:
    """Return the library that ``import mujoco`` has loaded, its batch functions typed.

    Raises:
        InputError: It has no batch.
    """
    folder = Path(mujoco.__file__).parent
    found = [p for p in folder.iterdir() if p.name.removeprefix("lib").startswith("mujoco.")]
    libraries = [p for p in found if any(s in p.name for s in (".so", ".dylib", ".dll"))]
    if not libraries:
        raise InputError(f"no MuJoCo library lies in {folder}; install mujoco 3.17 or newer")
    lib = ctypes.CDLL(str(libraries[0]))
    if not hasattr(lib, "mjb_apply"):
        raise InputError(
            f"MuJoCo {mujoco.__version__} cannot step batches; install mujoco 3.17 or newer"
        )
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("mjb_makeBatch", pointer, (pointer, integer, pointer, ctypes.c_char_p, integer)),
        ("mjb_deleteBatch", None, (pointer,)),
        ("mjb_nstate", integer, (pointer,)),
        ("mjb_state", pointer, (pointer,)),
        ("mjb_stateComponent", pointer, (pointer, integer, pointer)),
        ("mjb_output", pointer, (pointer, ctypes.c_char_p, pointer, pointer)),
        ("mjb_warning", pointer, (pointer,)),
        ("mjb_status", _INT_P, (pointer,)),
        ("mjb_error", ctypes.c_char_p, (pointer, integer)),
        ("mjb_step", integer, (pointer, pointer, integer, integer, integer)),
        ("mjb_forward", integer, (pointer, pointer, integer, integer)),
        ("mjb_reset", integer, (pointer, pointer, integer, pointer, integer)),
        ("mjb_apply", integer, (pointer, pointer, integer, pointer, pointer, integer)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    # mjb_apply calls f(model, data, sim, arg); a function of the first two ignores the rest.
    lib.post_constraint = ctypes.cast(lib.mj_rnePostConstraint, pointer)  # type: ignore[attr-defined]
    return lib


@cache
def _hooks() -> tuple[ctypes.c_void_p, ctypes.c_void_p, int | None]:
    """Return MuJoCo's pointers to its clock and to its log, and a log that does nothing.

    That is ``mju_str2Type``, which looks a text up in a short list of names.
    """
    lib = _library()
    return (
        ctypes.c_void_p.in_dll(lib, "mjcb_time"),
        ctypes.c_void_p.in_dll(lib, "mju_user_warning"),
        ctypes.cast(lib.mju_str2Type, ctypes.c_void_p).value,
    )
