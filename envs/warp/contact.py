"""MuJoCo's contact frame between a plane and a steep capsule, which mujoco_warp takes otherwise.

The tangents of such a contact follow the capsule's axis, projected onto the plane. MuJoCo's C
engine always projects; mujoco_warp takes an axis of the world instead when the capsule stands
steeper than 60 degrees. With pyramidal friction cones other tangents are another friction: without
the function below, one step of Gymnasium's Ant is off by more than 1 rad/s.
"""

# The body of a warp function is warp's language, which mypy takes for Python.
# mypy: disable-error-code="no-untyped-def,call-overload,arg-type,union-attr"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType

import warp as wp
from mujoco_warp import GeomType
from mujoco_warp._src import collision_primitive as primitive

__all__ = ["c_contact_frames"]

_PAIR = (GeomType.PLANE, GeomType.CAPSULE)
_their_plane_capsule = primitive.plane_capsule


@wp.func
def plane_capsule(
    normal: wp.vec3,
    plane_pos: wp.vec3,
    capsule_pos: wp.vec3,
    capsule_axis: wp.vec3,
    radius: float,
    half_length: float,
):
    """Return distances, positions and the frame of the contacts of a capsule's two ends."""
    dist, pos, _ = _their_plane_capsule(
        normal, plane_pos, capsule_pos, capsule_axis, radius, half_length
    )
    tangent = capsule_axis - normal * wp.dot(normal, capsule_axis)
    if wp.length_sq(tangent) == 0.0:
        tangent = wp.vec3(1.0, 0.0, 0.0)
    tangent = wp.normalize(tangent)
    return dist, pos, wp.matrix_from_rows(normal, tangent, wp.cross(normal, tangent))


def _with_our_frame(collider: wp.Function) -> wp.Function:
    """Return mujoco_warp's collider of plane and capsule as it is but for ``plane_capsule``."""
    theirs = collider.func
    names = {**theirs.__globals__, "plane_capsule": plane_capsule}
    ours = FunctionType(theirs.__code__, names, theirs.__name__)
    ours.__annotations__ = theirs.__annotations__
    ours.__qualname__ = theirs.__qualname__
    return wp.func(ours, module=wp.get_module(__name__))


_collider = _with_our_frame(primitive._PRIMITIVE_COLLISIONS[_PAIR])


@contextmanager
def c_contact_frames() -> Iterator[None]:
    """Have mujoco_warp take the C engine's contact frames while it steps inside this block.

    Only inside: other users of mujoco_warp in the process keep what they know. The kernels are
    chosen by the function that is found here, so both kinds can live side by side.
    """
    theirs = primitive._PRIMITIVE_COLLISIONS[_PAIR]
    primitive._PRIMITIVE_COLLISIONS[_PAIR] = _collider
    try:
        yield
    finally:
        primitive._PRIMITIVE_COLLISIONS[_PAIR] = theirs
