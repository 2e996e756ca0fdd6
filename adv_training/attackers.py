"""Rules that write the perturbation: the learned attacker, and the one that does nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from l2l_gail.core import ConvPerturber, Oracle, State, UpdateRule, Vars

__all__ = ["SlimAttacker", "Stay", "build_attacker"]

_GROUPS = 4


class Stay(UpdateRule):
    """The rule that leaves the follower where it is: standard training, no query, no cost."""

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        """Return ``variables`` and ``state`` as they came."""
        return variables, state


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
        uses_gradient: Whether the input is image and gradient (2C channels) or the image alone.
    """

    def __init__(self, channels: int = 12, *, colours: int = 3, uses_gradient: bool = True) -> None:
        super().__init__()
        inputs = colours * (2 if uses_gradient else 1)
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


def build_attacker(eps: float, *, channels: int, seed: int) -> ConvPerturber:
    """Return a fresh Grad L2L attacker; torch's global random state is left as it was.

    Args:
        eps: Radius of the ball, which one step may use up.
        channels: Width of the network.
        seed: Seed of its initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SlimAttacker(channels)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ConvPerturber(net, eps)
