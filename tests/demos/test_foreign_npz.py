"""Archives of arrays that are no demonstrations: what is in them is said, and none of it read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError

OBS = np.zeros((6, 3), np.float32)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"obs": OBS, "acs": OBS[:, :1], "rews": OBS[:, 0], "ep_rets": np.zeros(2)},
            "no array 'terminals'; there are acs, ep_rets, obs, rews. A file has obs, terminals",
        ),
        ({"states": OBS, "acts": OBS}, "no array 'obs'; there are acts, states. A file has obs,"),
        ({f"a{i:02}": OBS for i in range(13)}, "there are a00, a01, .*, a09 and 3 more. A file"),
        ({"acts": OBS, "terminal": OBS, "indices": OBS}, "no array 'obs'; there are acts, indices"),
        ({"obs.at": OBS, "acts": OBS, "terminal": OBS, "indices": OBS}, "no array 'terminals'"),
        ({}, "no array 'obs'; there are none at all"),
    ],
    ids=["other names", "no observations", "many", "half of imitation", "dicts", "nothing"],
)
def test_all_arrays_of_a_file_of_another_kind_are_named(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError, match=said) as caught:
        Demonstrations.load(tmp_path / "d.npz")
    assert "Demonstrations.from_arrays(..., episode_lengths=...)" in str(caught.value)


def test_arrays_of_other_names_are_not_read(tmp_path: Path) -> None:
    objects = np.array([{}] * 6, dtype=object)
    np.savez(tmp_path / "d.npz", obs=OBS, infos=objects)
    with pytest.raises(InputError, match=r"there are infos, obs\. A file has"):
        Demonstrations.load(tmp_path / "d.npz")
