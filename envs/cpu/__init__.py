"""Batches on the CPU: MuJoCo's own engine on all cores, equal to Gymnasium bit for bit."""

from .env import CpuEnv

__all__ = ["CpuEnv"]
