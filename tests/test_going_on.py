from __future__ import annotations

from pathlib import Path

import pytest

from l2l_gail.errors import InputError
from l2l_gail.going_on import check_nothing_lost
from l2l_gail.progress import Message
from l2l_gail.runs import RunFolder
from tests.comparison.support import log


def begun(out: Path) -> RunFolder:
    """A run that has measured up to step 40,000 and has no checkpoint."""
    folder = RunFolder.create(out, "Hopper-v5", "gail", 0)
    folder.write_config({"seed": 0})
    log(folder, {"eval/return_mean": [1.0, 2.0, 3.0, 4.0]})
    return folder


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again_and_says_so(
    tmp_path: Path,
) -> None:
    told: list[Message] = []
    check_nothing_lost(begun(tmp_path), 40_000, told.append)
    assert [message.text for message in told] == [
        "has no checkpoint to go on from: begins at step 0"
    ]


def test_a_run_whose_checkpoint_is_gone_is_not_begun_again(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    with pytest.raises(InputError, match="points up to step 40,000 and its checkpoint is gone: br"):
        check_nothing_lost(folder, 39_999)
    for name in ("model.pt", "model.zip"):
        (folder.path / name).touch()
        with pytest.raises(InputError, match=f"holds {name} and its checkpoint is gone: bring"):
            check_nothing_lost(folder, 40_000)
