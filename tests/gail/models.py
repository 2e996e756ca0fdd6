"""Small models on the walk, and what compares two of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from l2l_gail.core import (
    Adam,
    CoordinateMLP,
    UpdateRule,
)
from l2l_gail.gail import (
    GAIL,
    L2LGAIL,
    DiscriminatorConfig,
)
from tests.gail.support import walk_demos, walk_envs

SMALL = DiscriminatorConfig(hidden_sizes=(8, 8), updates_per_rollout=3, batch_size=16)
ROLLOUT = 2 * 16


def more(**changes: Any) -> DiscriminatorConfig:
    return dataclasses.replace(SMALL, **changes)


def make(cls: type[GAIL] = GAIL, n_steps: int = 16, **kwargs: Any) -> GAIL:
    """A small model; it seeds torch's global generator, so train it before making another."""
    kwargs.setdefault("discriminator", SMALL)
    kwargs.setdefault("rule", default_rule(cls))
    return cls(
        "MlpPolicy",
        walk_envs(),
        walk_demos(),
        n_steps=n_steps,
        batch_size=16,
        n_epochs=2,
        seed=0,
        device="cpu",
        **kwargs,
    )


def default_rule(cls: type[GAIL], lr: float = 1e-3) -> UpdateRule:
    return CoordinateMLP(lr, seed=0) if cls is L2LGAIL else Adam(lr)


def weights_of(model: GAIL) -> dict[str, torch.Tensor]:
    return {
        **{f"policy.{k}": v for k, v in model.policy.state_dict().items()},
        **{f"disc.{k}": v for k, v in model.discriminator.state_dict().items()},
    }


def assert_same_weights(a: GAIL, b: GAIL) -> None:
    left, right = weights_of(a), weights_of(b)
    assert left.keys() == right.keys()
    differing = [name for name in left if not torch.equal(left[name], right[name])]
    assert differing == []
