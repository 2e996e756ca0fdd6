"""The learned-optimizer core: optimizers of a game's inner player, hand-designed and learned.

Imports torch, numpy and the package's checks, errors and files, and knows nothing of
reinforcement learning.
"""

from l2l_gail.core.checkpoint import (
    load_rule,
    load_rule_meta,
    rule_from_dict,
    rule_to_dict,
    save_rule,
)
from l2l_gail.core.conv_perturber import ConvPerturber, normalise_gradient
from l2l_gail.core.coordinate_mlp import CoordinateMLP
from l2l_gail.core.evolution import EvolutionStrategy
from l2l_gail.core.game import Game
from l2l_gail.core.gated_momentum import GatedMomentum
from l2l_gail.core.matrix_rule import MatrixRule, Muon
from l2l_gail.core.mixture import GradientMixture
from l2l_gail.core.oracle import FieldOracle, Oracle
from l2l_gail.core.paced_matrix_rule import PacedMatrixRule
from l2l_gail.core.pretrained import load_pretrained
from l2l_gail.core.prodigy import Prodigy
from l2l_gail.core.registry import (
    build_rule,
    builder_names,
    parse_rule,
    register_builder,
    register_rule,
    rule_name,
    rule_names,
)
from l2l_gail.core.rule import UpdateRule
from l2l_gail.core.rules import SGD, Adam, Extragradient, Optimistic, OptimisticAdam, SignDescent
from l2l_gail.core.trainer import L2LTrainer
from l2l_gail.core.trainer_options import MetaMode, Order
from l2l_gail.core.types import Layout, State, Vars, all_finite, detach, named_tensors
from l2l_gail.core.unroll import Trajectory, unroll

__all__ = [
    "SGD",
    "Adam",
    "ConvPerturber",
    "CoordinateMLP",
    "EvolutionStrategy",
    "Extragradient",
    "FieldOracle",
    "Game",
    "GatedMomentum",
    "GradientMixture",
    "L2LTrainer",
    "Layout",
    "MatrixRule",
    "MetaMode",
    "Muon",
    "Optimistic",
    "OptimisticAdam",
    "Oracle",
    "Order",
    "PacedMatrixRule",
    "Prodigy",
    "SignDescent",
    "State",
    "Trajectory",
    "UpdateRule",
    "Vars",
    "all_finite",
    "build_rule",
    "builder_names",
    "detach",
    "load_pretrained",
    "load_rule",
    "load_rule_meta",
    "named_tensors",
    "normalise_gradient",
    "parse_rule",
    "register_builder",
    "register_rule",
    "rule_from_dict",
    "rule_name",
    "rule_names",
    "rule_to_dict",
    "save_rule",
    "unroll",
]
