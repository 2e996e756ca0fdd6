"""N worlds of one model in mujoco_warp, with torch tensors that look into its memory."""

from __future__ import annotations

import copy
import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import mujoco
import mujoco_warp as mjw
import torch
import warp as wp
from torch import Tensor

from .contact import c_contact_frames

__all__ = ["WarpPhysics"]

_CAPACITY = (
    mjw.OverflowType.NEFC
    | mjw.OverflowType.NJMAX_NNZ
    | mjw.OverflowType.BROADPHASE
    | mjw.OverflowType.NARROWPHASE
    | mjw.OverflowType.CCD
    | mjw.OverflowType.HFIELD
    | mjw.OverflowType.EPA_HORIZON
)
"""Bits that say that contacts or constraints were dropped. Others say that a solver used up its
iterations, which MuJoCo's own may do as well."""
_HUGE = 1e10  # MuJoCo's mjMAXVAL: beyond it a state counts as diverged


class WarpPhysics:
    """The physics of ``num_worlds`` worlds, in float32.

    Args:
        model: The model; PGS as its solver is replaced by Newton, as no GPU engine has PGS.
        num_worlds: Number of worlds ``N``.
        device: ``cuda``, ``cuda:1``, ...; ``cpu`` is for tests.
        derived: ``MjData`` fields wanted besides ``qpos``, ``qvel`` and ``ctrl``.
        nconmax: Contacts to have room for, per world on average; mujoco_warp's guess if ``None``.
        njmax: Constraint rows to have room for in each world; likewise.
        deterministic: Whether a GPU orders contacts, constraint rows and sums.
        exact_frames: Whether contacts of steep capsules take MuJoCo's frame; see
            :mod:`~envs.warp.contact`.

    Attributes:
        fields: ``qpos (N, nq)``, ``qvel (N, nv)``, ``ctrl (N, nu)`` and the derived fields
            ``(N, ...)``, float32: mujoco_warp's own memory, no copies.
        warmstart: Accelerations ``(N, nv)`` that the constraint solver starts from.
        nconmax: Room for contacts, per world on average.
        njmax: Room for constraint rows in each world.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        device: torch.device,
        derived: tuple[str, ...] = (),
        *,
        nconmax: int | None = None,
        njmax: int | None = None,
        deterministic: bool = False,
        exact_frames: bool = True,
    ) -> None:
        wp.init()
        self.num_worlds = num_worlds
        self.device = device
        place = wp.device_from_torch(device)
        self._frames = c_contact_frames if exact_frames else nullcontext
        with wp.ScopedDevice(place):
            model = with_newton(model)
            self._model = mjw.put_model(model)
            self._model.opt.warn_overflow = False  # counted, not printed from kernels
            self._model.opt.deterministic = (
                mjw.DeterminismType.ALL if deterministic else mjw.DeterminismType.NONE
            )
            if device.type == "cuda":
                self._model.opt.graph_conditional = wp.is_conditional_graph_supported()
            self._data = mjw.make_data(model, nworld=num_worlds, nconmax=nconmax, njmax=njmax)
        self.nconmax = self._data.naconmax // num_worlds
        self.njmax = self._data.njmax
        wp.synchronize_device(place)  # torch's streams do not wait for warp's own
        names = ("qpos", "qvel", "ctrl", *derived)
        self.fields = SimpleNamespace(**{n: wp.to_torch(getattr(self._data, n)) for n in names})
        self.warmstart: Tensor = wp.to_torch(self._data.qacc_warmstart)
        self._overflow: Tensor = wp.to_torch(self._data.overflow)

    def step(self, substeps: int) -> None:
        """Advance all worlds; derived fields are then those of the last substep's beginning."""
        with self._frames():
            for _ in range(substeps):
                mjw.step(self._model, self._data)

    def post_constraint(self) -> None:
        """Compute ``cfrc_ext``, as ``mj_rnePostConstraint``."""
        mjw.rne_postconstraint(self._model, self._data)

    def forward(self) -> None:
        """Compute the derived fields of the present state, in all worlds."""
        with self._frames():
            mjw.forward(self._model, self._data)

    def restart(self, mask: Tensor, qpos: Tensor, qvel: Tensor) -> None:
        """Put some worlds into new states.

        Args:
            mask: Which, ``(N,)`` bool.
            qpos: Positions ``(N, nq)``; only the masked rows are read.
            qvel: Velocities ``(N, nv)``.
        """
        rows = mask[:, None]
        f = self.fields
        f.qpos.copy_(torch.where(rows, qpos, f.qpos))
        f.qvel.copy_(torch.where(rows, qvel, f.qvel))
        f.ctrl.masked_fill_(rows, 0.0)
        self.warmstart.masked_fill_(rows, 0.0)

    def take_overflow(self) -> Tensor:
        """Return the worlds that lacked room for contacts since the last call, ``(N,)`` bool.

        The room for contacts is shared: when it runs out, no one knows whose were dropped, and all
        worlds are returned. The room for constraint rows is each world's own.
        """
        dropped = (self._overflow & int(_CAPACITY)) != 0
        self._overflow.zero_()
        return dropped

    def diverged(self) -> Tensor:
        """Return the worlds whose state is not finite, or huge, ``(N,)`` bool."""
        f = self.fields
        sane = (f.qpos.abs() < _HUGE).all(-1) & (f.qvel.abs() < _HUGE).all(-1)
        return ~sane  # a comparison with a NaN is false


def with_newton(model: mujoco.MjModel) -> mujoco.MjModel:
    """Return a model whose solver mujoco_warp has: itself, or a copy with Newton for PGS."""
    if model.opt.solver != mujoco.mjtSolver.mjSOL_PGS:
        return model
    warnings.warn(
        "this model's PGS solver exists on no GPU: it is stepped with Newton, which is close to "
        "but not exactly Gymnasium's v5",
        RuntimeWarning,
        stacklevel=4,
    )
    model = copy.copy(model)
    model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    return model
