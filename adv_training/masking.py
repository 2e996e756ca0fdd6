"""Signs that a classifier hides its gradients, so that attacks which follow them say too little.

Athalye et al. 2018, arXiv 1802.00420.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from l2l_gail.devices import own_defaults

from .attacks import input_gradient, standing_survivors
from .checks import check_finite, check_judged
from .data import ImageBatch, Images
from .game import in_mode
from .image_losses import margin

__all__ = ["masking_flags"]

_LARGE_EPS = 0.5
_FLAG_IMAGES = 200
_SHARE = 0.01
_GAP = 0.05
_SMALL_STEP = 0.1 / 255
_HALF = 0.5
_TITLES = {
    "apgd_t": "APGD-T",
    "apgd_ce": "APGD-CE",
    "square": "Square",
    "autoattack": "AutoAttack",
}


@own_defaults
def masking_flags(
    classifier: nn.Module, images: Images, accuracy: Mapping[str, float], *, seed: int = 0
) -> list[str]:
    """Return the signs that a classifier hides its gradients, one line each.

    Six checks; the first two on the accuracies of attacks, the others on at most 200 images:

    * An attack of AutoAttack's leaves more than 5 % of the images less than the standing measure
      does: the classifier bends its loss near the images, and the standing measure flatters it. On
      the same images healthy classifiers differ from APGD-T by 0 to 3 %.
    * Square, which sees no gradient, beats APGD-T by more than 1 % of the images. (That it beats
      PGD-20 on cross-entropy says nothing: healthy classifiers do that.)
    * More than 1 % of the images withstand a ball of half the range, in which any image can be
      turned into another.
    * Two looks at one image give different outputs.
    * The margin's gradient is exactly zero for more than 1 % of the images.
    * Over a step of 0.1/255 along the gradient's sign the margin changes by something else than
      the gradient says: the relative error's median is above 1/2. Networks of smooth or piecewise
      linear parts stay below 1/20; one that is discontinuous everywhere, such as
      k-winners-take-all, is off by factors.

    Args:
        classifier: Images in [0, 1] to logits.
        images: What to check on.
        accuracy: Accuracy under attacks, by name, all on the same images.
        seed: Seed of the starts.

    Raises:
        InputError: If there are no images, the classifier is no module, does not take them, returns
            no finite logits of two classes or more, has a gradient that is NaN, or no output for
            a label.
    """
    check_judged(classifier, images)
    batch = images.batch(slice(0, _FLAG_IMAGES))
    flags = [
        _flag_flattered(accuracy),
        _flag_square(accuracy),
        _flag_large_ball(classifier, batch, seed),
        _flag_random(classifier, batch),
    ]
    gradient = input_gradient(classifier, batch, margin)
    flags += [_flag_no_gradient(gradient), _flag_other_slope(classifier, batch, gradient)]
    return [flag for flag in flags if flag is not None]


def _flag_flattered(accuracy: Mapping[str, float]) -> str | None:
    """Whether an attack of AutoAttack's finds much more than the standing measure."""
    stronger = [name for name in _TITLES if name in accuracy]
    if "standing" not in accuracy or not stronger:
        return None
    name = min(stronger, key=accuracy.__getitem__)
    gap = accuracy["standing"] - accuracy[name]
    if gap > _GAP:
        return (
            f"{_TITLES[name]} is {gap:.1%} of the images below the standing measure, which "
            "flatters here"
        )
    return None


def _flag_square(accuracy: Mapping[str, float]) -> str | None:
    """Whether an attack without gradients finds more than one with them."""
    if not {"square", "apgd_t"} <= accuracy.keys():
        return None
    lead = accuracy["apgd_t"] - accuracy["square"]
    return f"Square beats APGD-T by {lead:.1%} of the images" if lead > _SHARE else None


def _flag_large_ball(classifier: nn.Module, batch: ImageBatch, seed: int) -> str | None:
    """Whether images withstand a ball in which they can be turned into any other."""
    generator = torch.Generator(batch.x.device).manual_seed(seed)
    survives = standing_survivors(classifier, batch, _LARGE_EPS, generator=generator)
    share = float(survives.float().mean())
    return f"{share:.1%} of the images withstand eps = {_LARGE_EPS}" if share > _SHARE else None


def _flag_random(classifier: nn.Module, batch: ImageBatch) -> str | None:
    """Whether the outputs are random; they are to be finite."""
    with in_mode(classifier, training=False), torch.no_grad():
        first, second = classifier(batch.x), classifier(batch.x)
    check_finite(classifier, first)
    if torch.allclose(first, second, rtol=1e-4, atol=1e-5):
        return None
    return "the classifier is random: two looks at one image differ"


def _flag_no_gradient(gradient: Tensor) -> str | None:
    """Whether the margin's gradient, ``(B, C, H, W)``, is zero for some images."""
    share = float((_slope(gradient) == 0).float().mean())
    return f"the gradient is exactly zero for {share:.1%} of the images" if share > _SHARE else None


def _flag_other_slope(classifier: nn.Module, batch: ImageBatch, gradient: Tensor) -> str | None:
    """Whether the margin rises by something else than its gradient, ``(B, C, H, W)``, says."""
    with in_mode(classifier, training=False), torch.no_grad():
        near = classifier(batch.x + _SMALL_STEP * gradient.sign())
        rise = margin(near, batch.y) - margin(classifier(batch.x), batch.y)
    slope = _slope(gradient)
    error = (rise / (_SMALL_STEP * slope) - 1).abs()[slope > 0]
    if len(error) and float(error.median()) > _HALF:
        return (
            "over 0.1/255 the margin does not follow its gradient: it is off by a factor of "
            f"{float(error.median()):.1f}"
        )
    return None


def _slope(gradient: Tensor) -> Tensor:
    """How fast a loss changes along the sign of its gradient, ``(B,)``."""
    return gradient.abs().sum(dim=(1, 2, 3))
