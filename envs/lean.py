"""A model that steps to the same bits as another one, with less work."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import mujoco
import numpy as np

from .definition import quiet_compiler

__all__ = ["lean"]

_TESTED = "4.0."  # the rules below are those of this MuJoCo's mj_collision
_PLAIN = (  # shapes whose distance is a formula
    int(mujoco.mjtGeom.mjGEOM_PLANE),
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
)
_CHANGED = ("name", "nname", "pair", "npair", "nbuffer", "signature")


def lean(model: mujoco.MjModel, xml: str) -> mujoco.MjModel:
    """Return a model that steps to the same bits in less time.

    What the model does not have, MuJoCo need not look for: other islands than its one kinematic
    tree, friction in joints, springs. That is up to a tenth of a step. And in a robot of a few
    bodies its sweep and prune, which decides what geoms are near enough to touch, costs more than
    it saves: here all pairs that may touch are listed instead, in the order in which MuJoCo takes
    contacts. That is up to a sixth.

    Args:
        model: The model; it stays as it is.
        xml: Path of its file.
    """
    own = _with_listed_pairs(model, xml) or copy.copy(model)
    lacks = {
        mujoco.mjtDisableBit.mjDSBL_ISLAND: own.ntree == 1,
        mujoco.mjtDisableBit.mjDSBL_FRICTIONLOSS: not (
            own.dof_frictionloss.any() or own.tendon_frictionloss.any()
        ),
        mujoco.mjtDisableBit.mjDSBL_SPRING: not (
            own.jnt_stiffness.any() or own.tendon_stiffness.any() or own.nflex
        ),
    }
    for feature, is_lacking in lacks.items():
        if is_lacking:
            own.opt.disableflags |= feature
    return own


def _with_listed_pairs(model: mujoco.MjModel, xml: str) -> mujoco.MjModel | None:
    """Return the model with its pairs of geoms listed, ``None`` where that might change a bit."""
    if not mujoco.__version__.startswith(_TESTED) or not _is_plain(model):
        return None
    pairs = sorted(_pairs(model), key=lambda pair: _order(model, *pair))
    spec = mujoco.MjSpec.from_file(xml)
    geoms = list(spec.geoms)
    if len(geoms) != model.ngeom:
        return None
    for i, geom in enumerate(geoms):
        geom.name = f"geom {i}"
    for i, j in pairs:
        pair = spec.add_pair(geomname1=f"geom {i}", geomname2=f"geom {j}")
        sliding, torsion, rolling = np.maximum(model.geom_friction[i], model.geom_friction[j])
        pair.friction = [sliding, sliding, torsion, rolling, rolling]
        pair.condim = max(model.geom_condim[i], model.geom_condim[j])
        pair.margin = model.geom_margin[i] + model.geom_margin[j]
        pair.gap = 0.0
        pair.solref, pair.solimp = model.geom_solref[i], model.geom_solimp[i]
    with quiet_compiler():
        own = spec.compile()
    if not _equal_otherwise(model, own):
        return None
    for filters in (own.geom_contype, own.geom_conaffinity, own.body_contype, own.body_conaffinity):
        filters[:] = 0
    return own


def _is_plain(model: mujoco.MjModel) -> bool:
    """Return whether contacts follow from pairs of plain geoms and one set of parameters."""
    touching = (model.geom_contype | model.geom_conaffinity) != 0
    alike = (model.geom_solref, model.geom_solimp, model.geom_solmix, model.geom_priority)
    return bool(
        touching.any()
        and model.npair == model.nexclude == model.nflex == model.nplugin == 0
        and not model.opt.disableflags
        and not model.opt.enableflags
        and not model.geom_gap.any()
        and np.isin(model.geom_type[touching], _PLAIN).all()
        and all((values[touching] == values[touching][0]).all() for values in alike)
    )


def _pairs(model: mujoco.MjModel) -> Iterator[tuple[int, int]]:
    """Yield the pairs of geoms that MuJoCo lets touch: not of one body, nor of a joint's two."""
    weld = model.body_weldid
    above = weld[model.body_parentid[weld]]
    for i, j in itertools.combinations(range(model.ngeom), 2):
        a, b = model.geom_bodyid[i], model.geom_bodyid[j]
        joined = weld[a] and weld[b] and (weld[a] == above[b] or weld[b] == above[a])
        wanted = (model.geom_contype[i] & model.geom_conaffinity[j]) | (
            model.geom_contype[j] & model.geom_conaffinity[i]
        )
        if wanted and weld[a] != weld[b] and not joined:
            yield i, j


def _order(model: mujoco.MjModel, i: int, j: int) -> tuple[int, ...]:
    """Return what MuJoCo sorts contacts by: the bodies, then the geoms, the simpler shape first."""
    if model.geom_type[i] > model.geom_type[j]:
        i, j = j, i
    return *sorted((model.geom_bodyid[i], model.geom_bodyid[j])), i, j


def _equal_otherwise(model: mujoco.MjModel, own: mujoco.MjModel) -> bool:
    """Return whether two models differ in names and listed pairs alone.

    They would where Gymnasium has changed the model after compiling it.
    """
    for whole, other, but in ((model, own, _CHANGED), (model.opt, own.opt, ())):
        for name in dir(whole):
            value = getattr(whole, name)
            if name.startswith(("_", *but)) or not isinstance(value, int | float | np.ndarray):
                continue
            if not np.array_equal(value, getattr(other, name)):
                return False
    return True
