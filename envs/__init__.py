"""Batched MuJoCo environments."""

from .vec import make_vec

__all__ = ["make_vec"]
