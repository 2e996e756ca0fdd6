"""Small games whose outcome is known: for tests, for pre-training a rule, for documentation."""

from l2l_gail.games.analytic import AnalyticGame, Bilinear, Course, DiracGAN, Quadratic, play
from l2l_gail.games.ring import RingBatch, RingGame, RingOfGaussians, RingQuality

__all__ = [
    "AnalyticGame",
    "Bilinear",
    "Course",
    "DiracGAN",
    "Quadratic",
    "RingBatch",
    "RingGame",
    "RingOfGaussians",
    "RingQuality",
    "play",
]
