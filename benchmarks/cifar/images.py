"""What each test image withstands, as text: eight images a byte, the first the highest bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["packed", "unpacked"]


def packed(bits: NDArray[np.bool_]) -> str:
    """Return bits as hexadecimal digits."""
    return np.packbits(bits).tobytes().hex()


def unpacked(text: str, count: int) -> NDArray[np.bool_]:
    """Return the first ``count`` bits of what :func:`packed` has returned."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool)
