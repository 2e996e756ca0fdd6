"""The classifier's learning rate, a function of progress alone: a resumed run needs no more."""

from __future__ import annotations

from .settings import Settings

__all__ = ["learning_rate", "one_cycle"]

_WARM_UP = 0.3


def one_cycle(done: float, peak: float) -> float:
    """Return the learning rate after the fraction ``done`` of training.

    Linear from 0 to ``peak`` over the first 30 %, then linear to 0: the cyclic schedule of Wong et
    al. 2020 (arXiv 2001.03994).  A function of progress alone, so a resumed run needs no schedule
    state.

    Args:
        done: Fraction of the training, in [0, 1].
        peak: Largest learning rate.
    """
    return peak * min(done / _WARM_UP, (1.0 - done) / (1.0 - _WARM_UP))


def learning_rate(done: float, settings: Settings) -> float:
    """Return the classifier's learning rate after the fraction ``done`` of training."""
    if settings.schedule == "one_cycle":
        return one_cycle(done, settings.lr)
    return settings.lr * 0.1 ** sum(done >= share for share in settings.milestones)
