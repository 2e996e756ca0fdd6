"""Rid a model of work that changes no result, so that it steps to the same bits in less time."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence

import mujoco
import numpy as np

from l2l_gail.mujoco_warnings import without_mujoco_warnings

__all__ = ["without_idle_work"]

_TESTED = "4.0."  # idle work and the order of contacts were read from this version's sources
_MANY = 200  # pairs from which on MuJoCo's sweep and prune costs less than a list
_PLAIN = (  # shapes whose distance is a formula
    int(mujoco.mjtGeom.mjGEOM_PLANE),
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
)
_CHANGED = ("name", "nname", "pair", "npair", "nbuffer", "signature")
Pairs = Sequence[tuple[int, int]]


def without_idle_work(model: mujoco.MjModel, xml: str) -> mujoco.MjModel:
    """Return a model that steps to the same bits in less time.

    MuJoCo need not look for what the model does not have: islands beyond its one kinematic tree,
    joint friction, springs. That saves up to a tenth of a step. In a robot of a few bodies, sweep
    and prune, which decides what geoms are near enough to touch, costs more than it saves: all
    pairs that may touch are listed instead, in the order in which MuJoCo processes contacts. That
    saves up to a seventh.

    Where it is not certain that no bit changes, the model is returned unchanged: on any other
    MuJoCo than the version whose sources this was read from, and with options that switch parts of
    it on or off.

    Args:
        model: The model; not modified.
        xml: Path of its file.
    """
    if not mujoco.__version__.startswith(_TESTED) or _has_switches(model):
        return model
    own = _with_listed_pairs(model, xml) or copy.copy(model)
    has = {
        mujoco.mjtDisableBit.mjDSBL_ISLAND: own.ntree != 1,
        mujoco.mjtDisableBit.mjDSBL_FRICTIONLOSS: _any(
            own, "dof_frictionloss", "tendon_frictionloss"
        ),
        mujoco.mjtDisableBit.mjDSBL_SPRING: own.nflex
        or _any(
            own, "jnt_stiffness", "jnt_stiffnesspoly", "tendon_stiffness", "tendon_stiffnesspoly"
        ),
    }
    for feature, is_there in has.items():
        if not is_there:
            own.opt.disableflags |= feature
    return own


def _has_switches(model: mujoco.MjModel) -> bool:
    """Return whether parts of MuJoCo are switched on or off, or contacts are filtered."""
    filtered = mujoco.get_mjcb_contactfilter() is not None
    return bool(model.opt.disableflags or model.opt.enableflags or filtered)


def _any(model: mujoco.MjModel, *names: str) -> bool:
    return any(getattr(model, name).any() for name in names)


def _with_listed_pairs(model: mujoco.MjModel, xml: str) -> mujoco.MjModel | None:
    """Return the model with its pairs of geoms listed, ``None`` where that might change a bit."""
    if not _is_plain(model):
        return None
    pairs = list(itertools.islice(_pairs(model), _MANY + 1))
    if len(pairs) > _MANY:
        return None
    pairs.sort(key=lambda pair: _order(model, *pair))
    try:
        with without_mujoco_warnings():  # they were told when it was compiled first
            own = _compiled_with(pairs, model, xml)
    except (ValueError, IndexError):  # the file and the model do not agree on what geoms there are
        return None
    listed = zip(own.pair_geom1, own.pair_geom2, strict=True)
    if [tuple(sorted(pair)) for pair in listed] != pairs or not _equal_otherwise(model, own):
        return None
    for filters in (own.geom_contype, own.geom_conaffinity, own.body_contype, own.body_conaffinity):
        filters[:] = 0
    return own


def _compiled_with(pairs: Pairs, model: mujoco.MjModel, xml: str) -> mujoco.MjModel:
    """Return the model compiled from its file with pairs ``(i, j)`` of geoms listed in it.

    Raises:
        ValueError: It cannot be compiled so.
        IndexError: The file has fewer geoms than the model.
    """
    spec = mujoco.MjSpec.from_file(xml)
    geoms = list(spec.geoms)
    taken = {geom.name for geom in geoms}
    unused = (name for name in (f"geom {i}" for i in itertools.count()) if name not in taken)
    for geom in geoms:
        geom.name = geom.name or next(unused)
    for i, j in pairs:
        pair = spec.add_pair(geomname1=geoms[i].name, geomname2=geoms[j].name)
        sliding, torsion, rolling = np.maximum(model.geom_friction[i], model.geom_friction[j])
        pair.friction = [sliding, sliding, torsion, rolling, rolling]
        pair.condim = max(model.geom_condim[i], model.geom_condim[j])
        pair.margin = model.geom_margin[i] + model.geom_margin[j]
        pair.gap = 0.0
        pair.solref, pair.solimp = model.geom_solref[i], model.geom_solimp[i]
        pair.solreffriction = [0.0, 0.0]  # as solref
    return spec.compile()


def _is_plain(model: mujoco.MjModel) -> bool:
    """Return whether contacts follow from pairs of plain geoms and one set of parameters."""
    touching = (model.geom_contype | model.geom_conaffinity) != 0
    alike = (model.geom_solref, model.geom_solimp, model.geom_solmix, model.geom_priority)
    return bool(
        touching.any()
        and model.npair == model.nexclude == model.nflex == model.nplugin == 0
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
    """Return MuJoCo's sort key of contacts: bodies, then geoms, the simpler shape first."""
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
