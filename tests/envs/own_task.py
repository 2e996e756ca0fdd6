"""A task as a user writes one: a hinged pole on a puck, with a sensor and contacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envs.tasks import NoisyStart

MODEL = """
<mujoco model="puck">
  <option timestep="0.005"/>
  <worldbody>
    <geom type="plane" size="9 9 1"/>
    <body name="puck" pos="0 0 0.09">
      <joint name="slide" type="slide" axis="1 0 0" damping="0.5"/>
      <geom type="sphere" size="0.1" mass="1"/>
      <body name="pole">
        <joint name="hinge" axis="0 1 0" damping="0.05"/>
        <geom type="capsule" fromto="0 0 0 0 0 0.5" size="0.03" mass="0.2"/>
        <site name="tip" pos="0 0 0.5"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="slide" ctrlrange="-1 1" gear="8"/></actuator>
  <sensor><framepos objtype="site" objname="tip"/></sensor>
</mujoco>
"""


@dataclass(frozen=True)
class Puck(NoisyStart):
    """Keep the tip of the pole high and the puck at the origin.

    Reads a sensor, a position and the contact forces of one substep before the end of the step.
    """

    nconmax = 8
    njmax = 24
    frame_skip: int = 4
    reset_noise_scale: float = 0.3
    distance_weight: float = 1.0

    @property
    def derived(self) -> tuple[str, ...]:
        return "sensordata", "xpos", "cfrc_ext"

    def before(self, xp: Any, f: Any) -> Any:
        return f.xpos[:, self.body_ids["puck"], 0]

    def observation(self, xp: Any, f: Any) -> Any:
        forces = f.cfrc_ext[:, self.body_ids["puck"], 3:]
        return xp.concatenate((f.qpos, f.qvel, f.sensordata, forces), -1)

    def transition(self, xp: Any, before: Any, f: Any, action: Any) -> Any:
        height = f.sensordata[:, 2]
        distance = self.distance_weight * xp.abs(f.qpos[:, 0])
        moved = f.xpos[:, self.body_ids["puck"], 0] - before
        reward = height - distance
        terms = {"height": height, "speed": moved / self.dt, "reward_all": reward}
        return reward, height < 0.2, terms

    def reset_info(self, xp: Any, f: Any) -> dict[str, Any]:
        return {"height": f.sensordata[:, 2]}
