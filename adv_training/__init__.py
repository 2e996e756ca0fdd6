"""Adversarial training of image classifiers, with attackers that are hand-designed or learned."""

from .data import Dataset, ImageBatch, Images
from .evaluate import accuracy, attack_gain
from .game import ImageGame
from .jobs import available_cores, run_jobs
from .load import check_sizes, load_dataset, locate
from .methods import build_method, build_trainer, forward_equivalents
from .models import build_classifier
from .progress import Tell
from .report import results_table
from .settings import METHODS, Settings
from .training import Training, check_batch_size, check_resumed

__all__ = [
    "METHODS",
    "Dataset",
    "ImageBatch",
    "ImageGame",
    "Images",
    "Settings",
    "Tell",
    "Training",
    "accuracy",
    "attack_gain",
    "available_cores",
    "build_classifier",
    "build_method",
    "build_trainer",
    "check_batch_size",
    "check_resumed",
    "check_sizes",
    "forward_equivalents",
    "load_dataset",
    "locate",
    "results_table",
    "run_jobs",
]
