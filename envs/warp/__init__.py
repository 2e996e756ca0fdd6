"""Batches on a GPU: mujoco_warp and torch on one device, in float32."""

from .env import WarpEnv, obstacle

__all__ = ["WarpEnv", "obstacle"]
