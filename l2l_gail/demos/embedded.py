"""The demonstrations that come with the package.

A set is three files in ``data/``: ``<name>.npz`` (the episodes), ``<name>.json`` (where they come
from, with the command that makes them again) and ``<name>.policy.npz`` (the policy that played
them).
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["POLICY_SUFFIX", "embedded", "embedded_path"]

POLICY_SUFFIX = ".policy.npz"

_DATA = Path(__file__).parent / "data"


def embedded() -> list[str]:
    """Names of the embedded sets, each the id of the environment it was recorded in."""
    return sorted(
        path.stem for path in _DATA.glob("*.npz") if not path.name.endswith(POLICY_SUFFIX)
    )


def embedded_path(name: str) -> Path:
    """Where the episodes of an embedded set lie; ``name`` is one of :func:`embedded`."""
    return _DATA / f"{name}.npz"
