"""What is given beside a model: arguments, devices, folders and environments that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from l2l_gail.errors import InputError
from l2l_gail.gail import BC, GAIL, L2LGAIL
from l2l_gail.gail.spaces import check_trainable
from tests.gail.models import make
from tests.gail.support import walk_demos, walk_envs
from tests.ppo.test_algorithm import anything


def bc(**kwargs: Any) -> BC:
    return BC("MlpPolicy", walk_envs(), walk_demos(), seed=0, **{"device": "cpu", **kwargs})


@pytest.mark.parametrize("cls", [GAIL, L2LGAIL, BC])
def test_a_log_in_the_home_folder_is_there(
    cls: type[GAIL | BC], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    model = bc(tensorboard_log="~/log") if cls is BC else make(cls, tensorboard_log="~/log")
    model.learn(64)
    assert list((tmp_path / "home" / "log").rglob("events.*"))
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("cls", [GAIL, BC])
def test_a_device_that_is_not_there_is_one_line(cls: type[GAIL | BC]) -> None:
    with pytest.raises(InputError, match="device gpu is unknown or not available here; use cpu"):
        cls("MlpPolicy", walk_envs(), walk_demos(), device="gpu")


@pytest.mark.parametrize("given", [{"netarch": [3]}, {"net_arch": "64"}])
@pytest.mark.parametrize("cls", [GAIL, BC])
def test_arguments_that_the_policy_does_not_take_are_one_line(
    cls: type[GAIL | BC], given: dict[str, Any]
) -> None:
    with pytest.raises(
        InputError, match=r"policy_kwargs=\{.*do not fit NormalizedPolicy: "
    ) as said:
        bc(policy_kwargs=given) if cls is BC else make(cls, policy_kwargs=given)
    assert "\n" not in str(said.value)
    assert next(iter(given)) in str(said.value)


def test_a_model_in_an_environment_of_other_spaces_is_told_so(tmp_path: Path) -> None:
    make().save(tmp_path / "model")
    with pytest.raises(InputError, match="was trained in another environment: Observation") as said:
        GAIL.load(tmp_path / "model", env=anything("discrete"), device="cpu")
    assert "version" not in str(said.value)


def test_images_of_both_layouts_in_one_observation_are_refused() -> None:
    image = {"left": spaces.Box(0, 255, (40, 40, 3), np.uint8)}
    image["right"] = spaces.Box(0, 255, (3, 48, 48), np.uint8)

    class Both:
        observation_space = spaces.Dict(image)
        action_space = spaces.Discrete(2)

    with pytest.raises(InputError, match="channels first in 'right' and last in 'left'"):
        check_trainable(Both())
