"""Checkpoints of runs: what comes back, what is refused; nothing in them is executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from l2l_gail.checkpoints import load_checkpoint, save_checkpoint
from l2l_gail.errors import InputError


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    state = {
        "weights": {"layer": torch.randn(3, 2, generator=generator)},
        "generator": generator.get_state(),
        "step": 12,
        "curve": [1.0, 2.0],
        "note": None,
    }
    save_checkpoint(tmp_path / "checkpoint.pt", state)
    loaded = load_checkpoint(tmp_path / "checkpoint.pt")
    expected = torch.rand(4, generator=generator)
    generator.set_state(loaded["generator"])
    assert torch.equal(torch.rand(4, generator=generator), expected)
    assert torch.equal(loaded["weights"]["layer"], state["weights"]["layer"])
    assert (loaded["step"], loaded["curve"], loaded["note"]) == (12, [1.0, 2.0], None)


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(TypeError, match="not plain data"):
        save_checkpoint(path, {"step": 2, "path": tmp_path})
    assert load_checkpoint(path) == {"step": 1}


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.arange(1000.0)})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if 0 < kept < 1 else int(kept)])
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(InputError, match="no checkpoint at"):
        load_checkpoint(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(InputError, match="not a checkpoint of l2l_gail"):
        load_checkpoint(path)
    torch.save({"format": "l2l_gail.checkpoint", "version": 99, "state": {}}, path)
    with pytest.raises(InputError, match="version 99"):
        load_checkpoint(path)


def test_a_pickled_object_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "checkpoint.pt"
    torch.save({"format": "l2l_gail.checkpoint", "version": 1, "state": Payload()}, path)
    with pytest.raises(InputError, match=r"wants to run posix\.mkdir"):
        load_checkpoint(path)
    assert not (tmp_path / "executed").exists()
