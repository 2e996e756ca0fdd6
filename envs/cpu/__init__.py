"""The CPU backend: MuJoCo's own engine on all cores, equal to Gymnasium bit for bit."""

from .env import CpuEnv

__all__ = ["CpuEnv"]
