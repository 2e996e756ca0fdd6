"""What ``docs/integrations.md`` promises of other tools, as these tools will call it."""

from __future__ import annotations

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from l2l_gail import GAIL, L2LGAIL
from tests.docs import stand_ins
from tests.docs.pages import ROOT, programs_of

PROGRAMS = {program.section: program for program in programs_of(ROOT / "docs" / "integrations.md")}


@pytest.mark.parametrize(("name", "kind"), [("gail", GAIL), ("l2l_gail", L2LGAIL)])
def test_the_zoo_builds_the_methods_from_its_file(
    name: str, kind: type[PPO], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins.install(monkeypatch)
    source = PROGRAMS["rl_zoo3"].blocks[0].source
    content: dict = {"__name__": "zoo"}
    exec(compile(source, "docs/integrations.md", "exec"), content)
    algorithms = content["rl_zoo3"].ALGOS
    # As rl_zoo3.exp_manager.ExperimentManager.setup_experiment does.
    settings = dict(content["hyperparams"]["Hopper-v5"])
    env = make_vec_env("Hopper-v5", n_envs=settings.pop("n_envs"))
    assert settings.pop("n_timesteps") == 600_000
    model = algorithms[name](
        env=env, tensorboard_log="", seed=0, verbose=0, device="auto", **settings
    )
    assert type(model) is kind
    assert model.n_steps == 256
