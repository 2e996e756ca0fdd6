"""What the optimum of AIRL's discriminator is: on a chain whose expert is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from l2l_gail.core import Vars
from l2l_gail.gail import (
    AIRLDiscriminator,
    DiscriminatorConfig,
    DiscriminatorGame,
    TransitionBatch,
)


class Chain:
    """Four states in a row, three moves (left, stay, right), and a soft-optimal expert.

    Its soft value iteration is written out here: ``Q = r + gamma V(s')``, ``V = log sum_a exp Q``,
    ``pi = exp(Q - V)``, so that ``log pi`` is the soft advantage (Fu et al. 2018, section 4).
    """

    gamma = 0.8
    reward = np.array([0.5, -1.0, 0.0, 1.5])
    n_states, n_moves = 4, 3

    def __init__(self) -> None:
        states, moves = np.meshgrid(np.arange(4), np.arange(3), indexing="ij")
        self.states, self.moves = states.ravel(), moves.ravel()
        self.next_states = np.clip(self.states + self.moves - 1, 0, 3)
        self.value = np.zeros(4)
        for _ in range(500):
            q = (self.reward[self.states] + self.gamma * self.value[self.next_states]).reshape(4, 3)
            self.value = np.log(np.exp(q).sum(1))
        self.advantage = q - self.value[:, None]  # (4, 3)

    def rows(self, policy: np.ndarray, total: int) -> np.ndarray:
        """Indices of pairs, so many of each as is due to it under uniform states."""
        counts = np.round(total / self.n_states * policy.ravel()).astype(int)
        return np.repeat(np.arange(12), counts)

    def discriminator(self, **kwargs: Any) -> AIRLDiscriminator:
        """Linear networks on one-hot inputs: a table."""
        one_hot = (spaces.Box(0.0, 1.0, (n,), np.float32) for n in (self.n_states, self.n_moves))
        return AIRLDiscriminator(*one_hot, (), gamma=self.gamma, **kwargs).double()

    def inputs(self, own: AIRLDiscriminator, rows: np.ndarray, log_policy: np.ndarray) -> Tensor:
        eye, moves = torch.eye(4, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
        return torch.cat(
            [
                eye[self.states[rows]],
                moves[self.moves[rows]],
                eye[self.next_states[rows]],
                torch.zeros(len(rows), 2, dtype=torch.float64),
                torch.as_tensor(log_policy.ravel()[rows])[:, None],
            ],
            dim=1,
        )

    def optimum(self, own: AIRLDiscriminator, policy: np.ndarray) -> Vars:
        """Minimise the game's own loss to the end: logistic regression, hence convex."""
        config = DiscriminatorConfig(penalty="none", reward="logit")
        game = DiscriminatorGame(own, config)
        expert = self.inputs(own, self.rows(np.exp(self.advantage), 40_000), np.log(policy))
        drawn = self.inputs(own, self.rows(policy, 40_000), np.log(policy))
        batch = TransitionBatch(expert, drawn, drawn)
        weights = {name: torch.zeros_like(p) for name, p in own.named_parameters()}
        for weight in weights.values():
            weight.requires_grad_()
        optimizer = torch.optim.LBFGS(
            list(weights.values()),
            max_iter=300,
            tolerance_grad=1e-10,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = game.follower_loss(weights, batch)
            value.backward()
            return value

        optimizer.step(loss)
        return {name: weight.detach() for name, weight in weights.items()}


@pytest.mark.parametrize("policy", ["uniform", "skewed", "expert"])
def test_the_optimal_discriminator_holds_the_experts_advantage(policy: str) -> None:
    """Whatever the policy is: ``f* = log pi_E(a|s) = A(s, a)``, since its density is taken out."""
    chain = Chain()
    policies = {
        "uniform": np.full((4, 3), 1 / 3),
        "skewed": np.tile([0.2, 0.3, 0.5], (4, 1)),
        "expert": np.exp(chain.advantage),
    }
    for state_only in (False, True):
        own = chain.discriminator(state_only_reward=state_only)
        best = chain.optimum(own, policies[policy])
        every = chain.inputs(own, np.arange(12), np.log(policies[policy]))
        f = own.shaped_reward(every, best).reshape(4, 3).numpy()
        np.testing.assert_allclose(f, chain.advantage, atol=5e-3)


def test_a_state_only_reward_is_recovered_up_to_a_constant_and_its_potential_is_the_value() -> None:
    chain = Chain()
    own = chain.discriminator(state_only_reward=True)
    best = chain.optimum(own, np.full((4, 3), 1 / 3))
    reward = (best["g.0.weight"][0] + best["g.0.bias"]).numpy()
    value = (best["h.0.weight"][0] + best["h.0.bias"]).numpy()
    np.testing.assert_allclose(reward - reward[0], chain.reward - chain.reward[0], atol=2e-2)
    np.testing.assert_allclose(value - value[0], chain.value - chain.value[0], atol=2e-2)
    # The two constants belong together: c_g = (1 - gamma) c_h.
    constant = (reward - chain.reward).mean()
    assert constant == pytest.approx((1 - chain.gamma) * (value - chain.value).mean(), abs=5e-3)
