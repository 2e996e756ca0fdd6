"""Small games whose outcome is known: for tests, for pre-training a rule, for documentation."""

from l2l_gail.games.analytic import AnalyticGame, Bilinear, DiracGAN, Play, Quadratic, play
from l2l_gail.games.ring import RingBatch, RingGame, RingOfGaussians, RingQuality

__all__ = [
    "AnalyticGame",
    "Bilinear",
    "DiracGAN",
    "Play",
    "Quadratic",
    "RingBatch",
    "RingGame",
    "RingOfGaussians",
    "RingQuality",
    "play",
]
