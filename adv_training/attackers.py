"""The networks of the learned attacker: from image and gradient to a perturbation before tanh."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l2l_gail.checks import check_choice
from l2l_gail.core import UpdateRule

from .paper_attackers import PaperSlimAttacker, TwoLayerAttacker, WideAttacker
from .rules import ClassStart, MemoryStart, Perturber, ResidualPerturber

__all__ = [
    "ATTACKERS",
    "HALVING",
    "STARTED",
    "PatchNet",
    "ResidualNet",
    "SlimAttacker",
    "build_attacker",
    "check_attacker",
]

_GROUPS = 4


class SlimAttacker(nn.Module):
    """The slim attacker of Jiang et al. 2021 (arXiv 1811.01213), scaled to a small classifier.

    Stem of stride 2, one residual block at half resolution, a transposed convolution back, and a
    last convolution that also sees the input itself::

        (B, 2C, H, W) -conv s2-> (B, c, H/2, W/2) -block-> (B, c, H/2, W/2)
                      -deconv s2-> (B, c/2, H, W) -cat input, conv-> (B, C, H, W) * scale

    Differences from the paper's network: ``channels`` (12 here, 128 there, which would cost 68
    forwards of the small classifier); GroupNorm in place of BatchNorm, so that the attack on an
    image does not depend on its neighbours nor on a train/eval mode; and the initial ``scale``.

    Args:
        channels: Width of the network, a multiple of 4.
        colours: Channels ``C`` of the image.
        inputs: Channels that the network sees: 2C, or C where it does without the gradient.
    """

    def __init__(self, channels: int = 12, *, colours: int = 3, inputs: int = 6) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, 2, 1, bias=False),
            nn.GroupNorm(_GROUPS, channels),
            nn.ReLU(),
        )
        self.block = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, 2 * channels),
            nn.ReLU(),
            nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, channels),
        )
        self.up = nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1)
        self.last = nn.Conv2d(channels // 2 + inputs, colours, 3, padding=1, bias=False)
        # The factor before tanh. From the paper's 5 many outputs are saturated and learn slowly,
        # and a fast attacker (Adam at 1e-2) saturates for good; 2 starts well inside the ball.
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the perturbation before tanh, ``(B, C, H, W)``, from ``(B, 2C or C, H, W)``."""
        half = self.stem(inputs)
        half = torch.relu(half + self.block(half))
        full = torch.relu(self.up(half))  # (B, c/2, H, W)
        return self.scale * self.last(torch.cat([full, inputs], dim=1))


class _UnshuffledConv(nn.Conv2d):
    """A convolution of what ``PixelUnshuffle(2)`` makes of its input, its weights as of that.

    It is one of twice the kernel and stride 2, which has the same products; moving the pixels first
    takes longer than these do.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``(B, out, H/2, W/2)`` from ``(B, in/4, H, W)``, contiguous for GroupNorm."""
        channels, _, kernel, _ = self.weight.shape
        patches = self.weight.view(channels, -1, 2, 2, kernel, kernel)
        weight = patches.permute(0, 1, 4, 2, 5, 3).reshape(channels, -1, 2 * kernel, 2 * kernel)
        padding = 2 * (kernel // 2)
        return F.conv2d(inputs, weight, stride=2, padding=padding).contiguous()


class ResidualNet(nn.Module):
    """What the residual attacker adds to the sign: three convolutions at half resolution.

    ::

        (B, inputs, H, W) -unshuffle-> (B, 4 inputs, H/2, W/2) -conv 3x3-> (B, c, H/2, W/2)
                          -conv 3x3-> (B, c, H/2, W/2) -conv 3x3-> (B, 4C, H/2, W/2)
                          -shuffle-> (B, C, H, W)

    GroupNorm and ReLU after the first two; the last one starts at zero, so that the attacker starts
    as the sign alone. Nothing is lost in going to half resolution (four pixels become channels),
    and the convolutions cost a quarter. The image's sides must be even. The first convolution and
    its unshuffling are computed as one.

    Args:
        channels: Width ``c``, a multiple of 4.
        colours: Channels ``C`` of the image.
        inputs: Channels that the network sees.
    """

    outer_kernel = 3
    """Of the first and the last convolution."""

    def __init__(self, channels: int = 16, *, colours: int = 3, inputs: int = 6) -> None:
        super().__init__()
        outer, padding = self.outer_kernel, self.outer_kernel // 2
        last = nn.Conv2d(channels, 4 * colours, outer, padding=padding)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(
            nn.Identity(),  # where files have had the unshuffling, a module of its own
            _UnshuffledConv(4 * inputs, channels, outer, padding=padding, bias=False),
            nn.GroupNorm(_GROUPS, channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, channels),
            nn.ReLU(inplace=True),
            last,
            nn.PixelShuffle(2),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``(B, C, H, W)``, channels last in memory, from ``(B, inputs, H, W)``."""
        return self.layers(inputs).contiguous(memory_format=torch.channels_last)


class PatchNet(ResidualNet):
    """The same with a first and a last convolution of 1x1, each on patches of 2x2 pixels.

    Half the operations, and in a few hundred steps it learns more.
    """

    outer_kernel = 1


ATTACKERS: dict[str, type[nn.Module]] = {
    "slim": SlimAttacker,
    "residual": ResidualNet,
    "class_start": PatchNet,
    "memory": PatchNet,
    "paper_slim": PaperSlimAttacker,
    "paper_wide": WideAttacker,
    "paper_two_layer": TwoLayerAttacker,
}
"""Shapes of the attacker, by the name that the settings give them."""

HALVING = frozenset({"slim", "residual", "class_start", "memory", "paper_slim"})
"""Those that work at half resolution, and so on images with even sides."""


STARTED = frozenset({"class_start", "memory"})
"""Those that ask on the way to a start, which their network sees too."""


def check_attacker(name: str) -> None:
    """Refuse a name that is none of :data:`ATTACKERS`.

    Raises:
        InputError: In one line.
    """
    check_choice("attacker", name, ATTACKERS)


def build_attacker(
    name: str,
    radius: float,
    *,
    channels: int | None,
    seed: int,
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    uses_gradient: bool = True,
) -> UpdateRule:
    """Return a fresh learned attacker; torch's global random state is left as it was.

    Args:
        name: A shape of :data:`ATTACKERS`.
        radius: Epsilon in pixels' units of [0, 1], which one step may use up.
        channels: Width of the network; ``None`` takes the shape's own.
        seed: Seed of its initial weights.
        shape: Of an image, ``(C, H, W)``.
        classes: Number of classes, for the shape that knows them apart.
        uses_gradient: Grad L2L if true; Naive L2L, which asks nothing of the classifier, if false.

    Raises:
        InputError: There is no such shape.
    """
    check_attacker(name)
    colours = shape[0]
    inputs = colours
    if uses_gradient:
        inputs *= 3 if name in STARTED else 2
    width = () if channels is None else (channels,)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ATTACKERS[name](*width, colours=colours, inputs=inputs)
    if not isinstance(net, ResidualNet):  # whose GroupNorm is the slower for it
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if name == "class_start" and uses_gradient:
        return ClassStart(net, radius, classes, shape)
    if name == "memory" and uses_gradient:
        return MemoryStart(net, radius)
    if name == "residual" and uses_gradient:
        return ResidualPerturber(net, radius)
    return Perturber(net, radius, uses_gradient=uses_gradient)
