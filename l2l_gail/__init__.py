"""A learned optimizer plays the inner player of a training game.

The names below are imported when they are first used: ``l2l_gail.core`` alone needs torch and
numpy, so adversarial training loads neither Stable-Baselines3 nor MuJoCo.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if sys.argv[:1] == ["-m"]:  # python -m l2l_gail..., whose packages come next
    import l2l_gail.startup  # noqa: F401

from l2l_gail.version import __version__

if TYPE_CHECKING:
    from l2l_gail.demos import Demonstrations
    from l2l_gail.gail import AIRL, BC, GAIL, L2LGAIL

__all__ = ["AIRL", "BC", "GAIL", "L2LGAIL", "Demonstrations", "__version__"]

_MODULE_OF = {
    "AIRL": "l2l_gail.gail",
    "BC": "l2l_gail.gail",
    "GAIL": "l2l_gail.gail",
    "L2LGAIL": "l2l_gail.gail",
    "Demonstrations": "l2l_gail.demos",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    """The public names, those not imported yet included."""
    return sorted({*globals(), *__all__})
