"""Models of sb3_contrib: TQC is rebuilt, of the others it is said what to do."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from stable_baselines3 import PPO, SAC

from l2l_gail.demos.__main__ import main
from l2l_gail.demos.sb3_file import read_sb3_policy
from l2l_gail.errors import InputError
from tests.demos.support import members_of, save_model, write_members

ACTIONS = Box(-2.0, 2.0, (1,))  # of Pendulum


def save_contrib(tmp_path: Path, like: Any, name: str, **settings: Any) -> tuple[Any, Path]:
    """A model whose archive says that its policy is of a package which is not installed."""
    model, path = save_model(tmp_path, like, **settings)
    members = members_of(path)
    data = json.loads(members["data"])
    module = f"sb3_contrib.{name}.policies"
    pickled = base64.b64encode(f"c{module}\nPolicy\n.".encode()).decode()
    data["policy_class"] |= {"__module__": module, ":serialized:": pickled}
    data["policy_kwargs"]["n_quantiles"] = 25
    write_members(path, members | {"data": json.dumps(data).encode()})
    return model, path


def test_a_model_of_tqc_is_rebuilt(tmp_path: Path) -> None:
    model, path = save_contrib(tmp_path, SAC, "tqc")
    seen = np.random.default_rng(5).normal(size=(20, 3)).astype(np.float32)
    expected, _ = model.predict(seen, deterministic=True)
    assert expected.std() > 0.1
    np.testing.assert_allclose(read_sb3_policy(path, ACTIONS)(seen), expected, atol=2e-5)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("like", "name", "settings"),
    [(SAC, "tqc", {"use_sde": True}), (SAC, "crossq", {}), (PPO, "common.recurrent", {})],
)
def test_other_models_of_sb3_contrib_are_not_said_to_need_trust(
    tmp_path: Path, like: Any, name: str, settings: dict[str, Any], trusted: bool
) -> None:
    _, path = save_contrib(tmp_path, like, name, **settings)
    argv = ["record", "--env", "Pendulum-v1", "--model", str(path)]
    argv += ["--out", str(tmp_path / "a.npz")]
    with pytest.raises(
        InputError,
        match=r"which sb3_contrib has: load it with that in Python and give its predict",
    ) as caught:
        main([*argv, *(["--trust-pickle"] if trusted else [])])
    assert "--trust-pickle" not in str(caught.value)
    assert "--algo" not in str(caught.value)
