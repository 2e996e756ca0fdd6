"""The attacks of AutoAttack (Croce & Hein 2020, arXiv 2003.01690), through ``pyautoattack``.

An extra, ``pip install "l2l_gail[eval]"``, imported on first use. Whatever it returns is judged
here again: an image has fallen only if it lies in the ball and the box and is classified wrongly.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.devices import own_defaults
from l2l_gail.errors import InputError

from .attacks import is_right
from .data import ImageBatch
from .game import check_radius, in_mode, project

__all__ = ["AUTOATTACKS", "autoattack_survivors", "require_pyautoattack"]

AUTOATTACKS = ("apgd_ce", "apgd_t", "square", "autoattack")
"""APGD on cross-entropy, APGD on the targeted DLR loss, Square, and the standard ensemble."""

_STEPS = 100
_TARGETS = 9


def require_pyautoattack() -> ModuleType:
    """Return the library.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import pyautoattack
    except ImportError as error:
        raise InputError(
            'APGD, Square and AutoAttack need pyautoattack: pip install "l2l_gail[eval]", or leave '
            f"{', '.join(AUTOATTACKS)} out of --attacks"
        ) from error
    return pyautoattack


@own_defaults
def autoattack_survivors(
    name: str,
    classifier: nn.Module,
    batch: ImageBatch,
    eps: float,
    *,
    seed: int,
    square_queries: int = 5_000,
) -> Tensor:
    """Return which images withstand one of :data:`AUTOATTACKS`, bool of shape ``(B,)``.

    Args:
        name: Which attack.
        classifier: Images in [0, 1] to logits, run in evaluation mode; left as it was.
        batch: Clean images and labels.
        eps: Radius of the ball.
        seed: Seed of the attack. Torch's global random state is left as it was.
        square_queries: Forward passes that Square may spend on each image.

    Raises:
        InputError: If ``pyautoattack`` is not installed, or ``eps`` is outside [0, 1].
    """
    check_radius(eps)
    require_pyautoattack()
    needs_grad = [p.requires_grad for p in classifier.parameters()]
    with in_mode(classifier, training=False), torch.random.fork_rng(devices=_cuda(batch.x)):
        survives = is_right(classifier, batch.x, batch.y)
        alive = survives.nonzero().squeeze(1)
        if not len(alive):
            return survives
        clean, y = batch.x[alive], batch.y[alive]
        classifier.requires_grad_(False)  # no gradient of a weight is worth its time
        try:
            plain = _Plain(classifier).train(classifier.training)
            found = _run(name, plain, clean.contiguous(), y, eps, seed, square_queries)
        finally:
            for parameter, grad in zip(classifier.parameters(), needs_grad, strict=True):
                parameter.requires_grad_(grad)
        found = project(found.detach(), clean, eps)
        survives[alive] = is_right(classifier, found, y)
    return survives


def _run(
    name: str,
    classifier: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    seed: int,
    square_queries: int,
) -> Tensor:
    from pyautoattack import AutoAttack
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    from pyautoattack.square import SquareAttack

    common: dict[str, Any] = {"eps": eps, "norm": "Linf", "seed": seed, "device": x.device}
    with torch.no_grad():
        classes = classifier(x[:1]).shape[1]
    if name == "square":
        attack = SquareAttack(classifier, n_queries=square_queries, resc_schedule=False, **common)
        return attack.perturb(x, y)
    if name == "apgd_t" and classes > 3:  # the targeted DLR loss needs four; else cross-entropy
        targets = min(_TARGETS, classes - 1)
        targeted = APGDAttack_targeted(
            classifier, n_iter=_STEPS, n_target_classes=targets, **common
        )
        return targeted.perturb(x, y)
    if name == "autoattack":
        if classes < 4:  # as above, and the ensemble knows no other
            raise InputError(
                f"the attack autoattack needs 4 classes or more, not {classes}; apgd_ce, apgd_t "
                "and square do with fewer"
            )
        ensemble = AutoAttack(classifier, version="standard", **common)
        for targeted in (ensemble.apgd_targeted, ensemble.fab):
            targeted.n_target_classes = min(_TARGETS, classes - 1)  # nine of any number otherwise
        return ensemble.run_standard_evaluation(x, y, batch_size=len(x))[0]
    return APGDAttack(classifier, n_iter=_STEPS, loss="ce", **common).perturb(x, y)


class _Plain(nn.Module):
    """A classifier whose image gradients lie in memory as the library's ``view`` expects them."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            x = x.view_as(x)
            x.register_hook(lambda gradient: gradient.contiguous())
        return self.classifier(x)


def _cuda(x: Tensor) -> list[torch.device]:
    return [x.device] if x.is_cuda else []
