"""What a classifier and the images that it is judged on must be, looked at before any attack."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.errors import InputError, one_line

from .data import Images
from .game import in_mode

__all__ = [
    "check_filled",
    "check_finite",
    "check_gradient",
    "check_judged",
    "check_labels",
    "check_logits",
    "check_neighbours",
    "check_pixels",
    "first_look",
]

_ROUNDING = 1e-5
"""How far from [0, 1] pixels may lie that were normalised and brought back."""

_BESIDE_ANOTHER = 0.002
"""By how much of the largest logit an image's may differ beside another one.

Two batches of one shape are computed in the same order, so that rounding has no part in it.
"""

_ALONE = 0.03
"""By how much it may differ from that of the image alone.

Logits of bfloat16 are off by up to .02 from those of float32; one batch normalisation with the
batch's own statistics, wherever it is in a network, moved them by .04 to .9.
"""

_LOGITS = "logits, a tensor of shape (B, classes)"


def check_filled(images: object, use: str) -> None:
    """Refuse images that are none.

    Args:
        images: Should be :class:`~adv_training.data.Images`, one or more.
        use: What they are for, after "images".

    Raises:
        InputError: They are something else, or none.
    """
    if not isinstance(images, Images):
        kind = type(images).__name__
        raise InputError(f"the images {use} must be adv_training.Images, not {kind}")
    if not len(images):
        raise InputError(f"there are no images {use}; give at least one")


def check_pixels(x: object) -> None:
    """Refuse images that an attack would move by more than its radius, into [0, 1].

    Args:
        x: Should be floats in [0, 1], ``(B, C, H, W)``.

    Raises:
        InputError: In one line.
    """
    if not isinstance(x, Tensor):
        raise InputError(f"the images must be a tensor, not {type(x).__name__}")
    if x.dim() != 4 or not x.is_floating_point():
        kind = str(x.dtype).removeprefix("torch.")
        raise InputError(
            "the images must be floats in [0, 1] of shape (B, C, H, W), not "
            f"{kind} of shape {tuple(x.shape)}"
        )
    if not x.numel():
        return
    least, most = (float(value) for value in x.aminmax())
    if not -_ROUNDING <= least <= most <= 1 + _ROUNDING:
        raise InputError(
            f"the images must be in [0, 1], and these run from {least:.3g} to {most:.3g}; divide "
            "bytes by 255, and leave normalising to the classifier"
        )


def check_judged(classifier: nn.Module, images: Images, use: str = "to judge on") -> None:
    """Let a classifier look at two images, and refuse what no attack could be made on.

    Args:
        classifier: Images ``(B, C, H, W)``, float32 in [0, 1], to logits ``(B, classes)``.
        images: The first two are looked at, the labels of all.
        use: What the images are for, after "images".

    Raises:
        InputError: There are no images, the classifier is no module or does not take these, what
            it returns are no finite logits with a gradient that is a number, an image's logits
            depend on its neighbours, or it has no output for a label.
    """
    check_filled(images, use)
    if not isinstance(classifier, nn.Module):
        raise InputError(
            f"the classifier must be a torch.nn.Module, not {type(classifier).__name__}: make what "
            "it does the forward of one"
        )
    x = images.batch(slice(0, 2)).x.requires_grad_()
    with in_mode(classifier, training=False), torch.enable_grad():
        name = f"the classifier {type(classifier).__name__}"
        logits = first_look(classifier, x, name)
        check_logits(logits, len(x), name)
        check_finite(classifier, logits)
        gradient: Tensor | None = None
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad(logits.sum(), x, allow_unused=True)
    if gradient is None:
        raise InputError(
            f"{name} cuts its logits off from the images, which have no gradient then (no_grad, "
            "detach); leave that out, the attacks need one"
        )
    check_gradient(classifier, logits, gradient)
    check_neighbours(classifier, x[:1].detach(), name)
    check_labels(images.labels, logits.shape[1])


def first_look(classifier: nn.Module, x: Tensor, name: str) -> Any:
    """Return what a classifier makes of images, or say in one line why it makes nothing of them.

    Args:
        classifier: In the mode that it is to be looked at in.
        x: Images, ``(B, C, H, W)``; it is given a copy.
        name: Of the classifier, where a message begins.

    Raises:
        InputError: It does not take them, or changes them.
    """
    given = x.clone()
    before = given._version
    try:
        logits = classifier(given)
    except InputError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(_why_not(classifier, x, error, name)) from error
    if given._version != before:
        raise InputError(f"{name} changes the images it is given; let it work on a copy")
    return logits


def check_neighbours(classifier: nn.Module, x: Tensor, name: str) -> None:
    """Refuse a classifier that tells an image by those beside it: by which, an attack changes.

    One that is random is let pass; the signs of masking tell of it.

    Args:
        classifier: Images to logits; looked at in evaluation mode.
        x: One image, ``(1, C, H, W)``.
        name: Of the classifier, where a message begins.

    Raises:
        InputError: The image's logits are others beside another image, or there are none of it
            alone.
    """
    other = torch.full_like(x, float(x.mean() < 0.5))  # as unlike it as one colour can be
    twice = torch.cat([x, x])
    looks = []
    devices = [x.device] if x.is_cuda else []
    with (
        in_mode(classifier, training=False),
        torch.random.fork_rng(devices=devices),
        torch.no_grad(),
    ):
        for given, title in (
            (x, f"{name}, given one image alone,"),
            (twice, name),
            (twice, name),
            (torch.cat([x, other]), name),
        ):
            logits = first_look(classifier, given, title)
            check_logits(logits, len(given), title)
            looks.append(logits[:1].float())
    alone, first, again, beside = looks
    largest = float(beside.abs().nan_to_num().max())
    if all(
        torch.allclose(look, beside, rtol=0, atol=room * largest, equal_nan=True)
        for look, room in ((first, _BESIDE_ANOTHER), (alone, _ALONE))
    ):
        return
    if torch.allclose(first, again, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise InputError(
            f"{name} returns other logits for an image alone than beside another one, as batch "
            "normalisation does with track_running_stats=False, or where eval() does not reach it; "
            "let each image's depend on it alone"
        )


def check_logits(logits: Any, count: int, name: str) -> None:
    """Refuse what a classifier returns if it is no logits of so many images.

    Args:
        logits: What it returned.
        count: Number of images.
        name: Of the classifier, where a message begins.

    Raises:
        InputError: In one line that says what must be returned.
    """
    if not isinstance(logits, Tensor):
        raise InputError(f"{name} returns a {type(logits).__name__}; let it return {_LOGITS}")
    shape = tuple(logits.shape)
    if shape in ((count,), (count, 1)):
        raise InputError(
            f"{name} returns one output for each image, and two logits are needed where there are "
            "two classes; make them of one output z of shape (B, 1): "
            "torch.cat([torch.zeros_like(z), z], 1)"
        )
    if len(shape) != 2 or shape[0] != count or not logits.is_floating_point():
        kind = str(logits.dtype).removeprefix("torch.")
        raise InputError(
            f"{name} returns {kind} of shape {shape} for {count} images; let it return {_LOGITS}"
        )


def check_finite(classifier: nn.Module, logits: Tensor) -> None:
    """Refuse logits of which no robustness can be told: of a NaN every class is the largest.

    Raises:
        InputError: In one line that names the classifier.
    """
    if not logits.isfinite().all():
        raise InputError(
            f"the classifier {type(classifier).__name__} returns logits that are NaN or infinite; "
            "look at its weights and at its normalisation"
        )


def check_gradient(classifier: nn.Module, logits: Tensor, gradient: Tensor) -> None:
    """Refuse a gradient that no attack can follow: the sign of a NaN is 0, and nothing moves.

    Raises:
        InputError: In one line that names the classifier.
    """
    if gradient.isnan().any():
        check_finite(classifier, logits)
        raise InputError(
            f"the classifier {type(classifier).__name__} has a gradient that is NaN, which no "
            "attack can follow; look for a square root of 0 or a division by 0 in it (torch.where "
            "hides one from the values alone)"
        )


def check_labels(labels: Tensor, outputs: int) -> None:
    """Refuse labels of which the classifier knows nothing; a GPU would stop at an assertion.

    Args:
        labels: Whole numbers, one or more.
        outputs: Number of classes that the classifier tells apart.

    Raises:
        InputError: One is none of its classes.
    """
    least, most = int(labels.min()), int(labels.max())
    if not 0 <= least <= most < outputs:
        raise InputError(
            f"the labels run from {least} to {most} and the classifier has {outputs} outputs; give "
            f"labels from 0 to {outputs - 1}"
        )


def _why_not(classifier: nn.Module, x: Tensor, error: Exception, name: str) -> str:
    """Return in one line why a classifier does not take images."""
    for parameter in classifier.parameters():
        if parameter.device != x.device:
            return f"{name} is on {parameter.device} and the images on {x.device}; move one of them"
        if parameter.is_floating_point() and parameter.dtype != x.dtype:
            kind = str(parameter.dtype).removeprefix("torch.")
            return f"{name} has weights of {kind}, and images are float32; give classifier.float()"
    shape, said = tuple(x.shape[1:]), one_line(error)
    return f"{name} takes no images of shape {shape} ({said:.300}); give those it was made for"
