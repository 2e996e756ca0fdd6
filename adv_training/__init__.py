"""Adversarial training of image classifiers, with attackers that are hand-designed or learned."""

from .cost import forward_flops
from .cuda_graphs import check_cuda_graphs
from .data import Dataset, ImageBatch, Images
from .evaluate import accuracy, attack, attack_gain
from .evaluate_run import EvaluateConfig, evaluate_main, evaluate_run
from .game import CLEAN, UNIFORM, ImageGame, Start
from .image_flags import ImageFlags
from .image_losses import cross_entropy, margin
from .load import load_dataset, locate
from .masking import masking_flags
from .methods import build_method, forward_equivalents
from .models import build_classifier, register_model
from .plan import check_batch_size, check_images, plan_of
from .presets import PRESETS, preset, preset_in
from .processes import ALONE, Processes, is_launched, is_restarted, joined
from .registry import Method, method_names, register_method
from .report import results_table
from .robustness import RobustnessReport, evaluate_robustness
from .settings import COMPARED_METHODS, Settings
from .step import build_game, build_trainer, train_step
from .trained_model import TrainedModel, load_model
from .training import Training

__all__ = [
    "ALONE",
    "CLEAN",
    "COMPARED_METHODS",
    "PRESETS",
    "UNIFORM",
    "Dataset",
    "EvaluateConfig",
    "ImageBatch",
    "ImageFlags",
    "ImageGame",
    "Images",
    "Method",
    "Processes",
    "RobustnessReport",
    "Settings",
    "Start",
    "TrainedModel",
    "Training",
    "accuracy",
    "attack",
    "attack_gain",
    "build_classifier",
    "build_game",
    "build_method",
    "build_trainer",
    "check_batch_size",
    "check_cuda_graphs",
    "check_images",
    "cross_entropy",
    "evaluate_main",
    "evaluate_robustness",
    "evaluate_run",
    "forward_equivalents",
    "forward_flops",
    "is_launched",
    "is_restarted",
    "joined",
    "load_dataset",
    "load_model",
    "locate",
    "margin",
    "masking_flags",
    "method_names",
    "plan_of",
    "preset",
    "preset_in",
    "register_method",
    "register_model",
    "results_table",
    "train_step",
]
