"""The policy of a training whose states were nearest to the expert's."""

from __future__ import annotations

import copy
import io
from dataclasses import dataclass
from pathlib import Path

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from l2l_gail.files import atomic_write
from l2l_gail.gail.gail import GAIL
from l2l_gail.snapshots import NEAREST

__all__ = ["Nearest"]


@dataclass(frozen=True)
class Nearest:
    """A model as it was at one of its evaluations, in plain values and tensors.

    Attributes:
        distance: Wasserstein-1 distance of its states to the expert's.
        steps: Environment steps of training until then.
        acting: Parameters and buffers of the policy that acted, on the CPU.
        archive: The model's file as ``save`` writes it, uint8 ``(n,)``.
    """

    distance: float
    steps: int
    acting: dict[str, Tensor]
    archive: Tensor

    @classmethod
    def of(cls, model: GAIL, distance: float) -> Nearest:
        """Keep a model as it is now.

        Args:
            model: The model.
            distance: That of its states.
        """
        state = model.acting_policy.state_dict()
        acting = {name: value.detach().cpu().clone() for name, value in state.items()}
        file = io.BytesIO()
        model.save(file)
        archive = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        return cls(distance, model.num_timesteps, acting, archive)

    def write(self, folder: Path) -> None:
        """Write the model's file, ``nearest.zip``, into a run's folder."""
        atomic_write(folder / f"{NEAREST}.zip", self.archive.numpy().tobytes())

    def policy(self, model: GAIL) -> ActorCriticPolicy:
        """Return the policy that acted then.

        Args:
            model: The same model, at any later time.
        """
        policy = copy.deepcopy(model.acting_policy)
        policy.load_state_dict(self.acting)
        return policy
