"""Cases of a test that only ``-m slow`` runs, beside quicker ones that say the same."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["slow"]


def slow(*values: object, **options: Any) -> Any:
    """Return a case for `pytest.mark.parametrize`, given as `pytest.param`."""
    return pytest.param(*values, marks=pytest.mark.slow, **options)
