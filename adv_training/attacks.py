"""Attacks for evaluation: FGSM, and PGD with restarts that keeps the worst.

They take any classifier of images in [0, 1], run it in evaluation mode and float32, and leave its
modes as they were.  Gradients are those of the images alone; no parameter is touched.  What they
raise is a loss of ``image_losses``, cross-entropy by default.  Logits that are not finite and
gradients that are NaN are an :class:`~l2l_gail.errors.InputError`: no robustness can be told then.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from l2l_gail.checks import check_counts
from l2l_gail.devices import own_defaults

from .checks import check_finite, check_gradient, check_labels, check_pixels
from .data import ImageBatch
from .game import check_radius, in_mode, project
from .image_losses import ImageLoss, cross_entropy, margin, sharp_cross_entropy

__all__ = [
    "JUDGED_AT_ONCE",
    "fgsm",
    "input_gradient",
    "is_right",
    "losses",
    "pgd",
    "pgd_survivors",
    "standing_survivors",
    "usual_step",
]

JUDGED_AT_ONCE = 250
"""Images in a pass wherever a classifier is judged, which CUDA graphs have to know."""


@own_defaults
def is_right(classifier: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return which images are classified as ``y``, bool ``(B,)``, in evaluation mode."""
    with in_mode(classifier, training=False), torch.no_grad():
        logits = classifier(x)
    check_finite(classifier, logits)
    return logits.argmax(1) == y


@own_defaults
def losses(classifier: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each image, shape ``(B,)``, in evaluation mode."""
    with in_mode(classifier, training=False), torch.no_grad():
        return cross_entropy(classifier(x), y)


def usual_step(eps: float) -> float:
    """Return the step of PGD-20 in a ball: 2/255, as papers have it; eps / 8 above 16/255.

    Twenty of them add up to 2.5 eps or more: shorter ones would not reach the edge of a large ball.
    """
    return max(2 / 255, eps / 8)


@own_defaults
def fgsm(
    classifier: nn.Module, batch: ImageBatch, eps: float, *, loss: ImageLoss = cross_entropy
) -> Tensor:
    """Return the images one full step along the gradient's sign.

    Goodfellow et al. 2015, arXiv 1412.6572.

    Args:
        classifier: Images to logits.
        batch: Clean images and labels.
        eps: Radius of the ball.
        loss: What the attack raises.

    Raises:
        InputError: If ``eps`` or the images are outside [0, 1], or a label is none of the classes.
    """
    check_radius(eps)
    check_pixels(batch.x)
    with in_mode(classifier, training=False):
        _, ascent = _look(classifier, batch.x, batch.y, loss, new_labels=True)
    return project(batch.x + eps * ascent.sign(), batch.x, eps)


@own_defaults
def pgd(
    classifier: nn.Module,
    batch: ImageBatch,
    eps: float,
    *,
    steps: int = 20,
    step_size: float | None = None,
    loss: ImageLoss = cross_entropy,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the images after ``steps`` projected steps along the gradient's sign.

    Madry et al. 2018, arXiv 1706.06083.

    Args:
        classifier: Images to logits.
        batch: Clean images and labels.
        eps: Radius of the ball.
        steps: Number of steps.
        step_size: Change of a pixel in one step; :func:`usual_step` by default.
        loss: What the attack raises.
        generator: Source of a random start inside the ball; without one it starts at the image.

    Raises:
        InputError: If ``eps`` or the images are outside [0, 1], a label is none of the classes, or
            ``steps`` is below 1.
    """
    check_radius(eps)
    check_pixels(batch.x)
    check_counts(steps=steps)
    step_size = usual_step(eps) if step_size is None else step_size
    x = batch.x if generator is None else _random_start(batch.x, eps, generator)
    with in_mode(classifier, training=False):
        for step in range(steps):
            _, ascent = _look(classifier, x, batch.y, loss, new_labels=step == 0)
            x = project(x + step_size * ascent.sign(), batch.x, eps)
    return x


@own_defaults
def pgd_survivors(
    classifier: nn.Module,
    batch: ImageBatch,
    eps: float,
    *,
    steps: int = 20,
    step_size: float | None = None,
    restarts: int = 1,
    loss: ImageLoss = cross_entropy,
    generator: torch.Generator,
) -> Tensor:
    """Return which images withstand PGD from ``restarts`` random starts, bool of shape ``(B,)``.

    An image withstands if it is classified correctly where it is clean, at every random start, and
    after each single step: the worst of all points visited counts.  That is at least as strong as
    judging the last point alone, and cheaper, because an image that has fallen is left alone.

    Args:
        classifier: Images to logits.
        batch: Clean images and labels.
        eps: Radius of the ball.
        steps: Number of steps.
        step_size: Change of a pixel in one step; :func:`usual_step` by default.
        restarts: Number of random starts.
        loss: What the attack raises.
        generator: Source of the random starts; each restart draws for the whole batch, so that the
            first starts of many are those of few.

    Raises:
        InputError: If ``eps`` or the images are outside [0, 1], or ``steps`` or ``restarts`` is
            below 1.
    """
    check_radius(eps)
    check_pixels(batch.x)
    check_counts(steps=steps, restarts=restarts)
    step_size = usual_step(eps) if step_size is None else step_size
    with in_mode(classifier, training=False):
        survives = is_right(classifier, batch.x, batch.y)
        for _ in range(restarts):
            start = _random_start(batch.x, eps, generator)
            alive = survives.nonzero().squeeze(1)
            x, clean, y = start[alive], batch.x[alive], batch.y[alive]
            for _ in range(steps):
                if not len(alive):
                    break
                correct, ascent = _look(classifier, x, y, loss)
                survives[alive[~correct]] = False
                x = project(x + step_size * ascent.sign(), clean, eps)
                alive, x, clean, y = alive[correct], x[correct], clean[correct], y[correct]
            if len(alive):
                survives[alive] = is_right(classifier, x, y)
    return survives


@own_defaults
def input_gradient(classifier: nn.Module, batch: ImageBatch, loss: ImageLoss) -> Tensor:
    """Return the gradient of each image's loss, ``(B, C, H, W)``, classifier in evaluation mode."""
    with in_mode(classifier, training=False):
        return _look(classifier, batch.x, batch.y, loss)[1]


@own_defaults
def standing_survivors(
    classifier: nn.Module, batch: ImageBatch, eps: float, *, generator: torch.Generator
) -> Tensor:
    """Return which images withstand the standing measure of robustness, bool of shape ``(B,)``.

    PGD-10 on the margin of the logits, then PGD-10 on the cross-entropy of three times the logits,
    each from a random start with steps of eps / 4; an image withstands if both fail. PGD on
    cross-entropy alone flatters by some four points; this comes within one or two of APGD-T.

    Args:
        classifier: Images to logits.
        batch: Clean images and labels.
        eps: Radius of the ball.
        generator: Source of the random starts.

    Raises:
        InputError: If ``eps`` is outside [0, 1].
    """
    check_radius(eps)
    survives = torch.ones_like(batch.y, dtype=torch.bool)
    for loss in (margin, sharp_cross_entropy):
        alive = survives.nonzero().squeeze(1)
        if len(alive):
            rest = ImageBatch(batch.x[alive], batch.y[alive])
            survives[alive] = pgd_survivors(
                classifier,
                rest,
                eps,
                steps=10,
                step_size=eps / 4,
                loss=loss,
                generator=generator,
            )
    return survives


def _random_start(clean: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    noise = torch.empty_like(clean).uniform_(-eps, eps, generator=generator)
    return project(clean + noise, clean, eps)


def _look(
    classifier: nn.Module, x: Tensor, y: Tensor, loss: ImageLoss, *, new_labels: bool = False
) -> tuple[Tensor, Tensor]:
    """Return which images are classified correctly, and the loss's gradient at them.

    New labels are looked at first, for which a GPU has to be waited for.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        logits = classifier(point)
        if new_labels and len(y):
            check_labels(y, logits.shape[1])
        # A sum, so that no image's gradient is scaled by the number of its neighbours.
        (gradient,) = torch.autograd.grad(loss(logits, y).sum(), point)
    check_gradient(classifier, logits, gradient)
    return logits.detach().argmax(1) == y, gradient
