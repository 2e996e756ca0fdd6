"""Places that may not be read: whatever Python's own version makes of them, one line or a note."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adv_training import load_model
from l2l_gail.comparison import boards_of, collect, find
from l2l_gail.comparison.media import adversarial_pictures, videos
from l2l_gail.demos import Demonstrations
from l2l_gail.errors import InputError
from l2l_gail.play import main as play
from l2l_gail.runs import RunFolder
from tests.comparison.support import cifar_run, gail_run


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Takes the right to look at all paths that hold a text; the tests may run as root."""
    words: list[str] = []

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def function(path: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, (str, os.PathLike)) and any(w in os.fspath(path) for w in words):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return real(path, *args, **kwargs)

        return function

    for name in ("stat", "lstat", "open", "scandir", "listdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    yield words.append
    words.clear()


def test_a_run_that_may_not_be_looked_at_is_one_line_for_each_reader(
    tmp_path: Path, forbid: Callable[[str], None]
) -> None:
    run = tmp_path / "closed" / "seed0"
    run.mkdir(parents=True)
    forbid("closed")
    for read in (
        lambda: play([str(run)]),
        lambda: load_model(run),
        lambda: Demonstrations.load(run),
        lambda: Demonstrations.load(run / "demos.npz"),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert RunFolder.newest(tmp_path, "closed", "gail", 0) is None


@pytest.mark.parametrize("closed", ["seed0", "policies"])
def test_a_folder_that_may_be_seen_and_not_entered_is_not_called_empty(
    closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "seed0"
    (run / "policies").mkdir(parents=True)
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=rf"{closed} cannot be read \(Permission denied\)"):
        play([str(run)])
    folder = run if closed == "seed0" else run / closed
    with pytest.raises(InputError, match=rf"{closed} cannot be read \(Permission denied\)"):
        Demonstrations.load(folder)


def test_pictures_and_videos_that_may_not_be_read_are_said_and_left_out(
    tmp_path: Path, forbid: Callable[[str], None]
) -> None:
    run = gail_run(tmp_path, "gail", 0, 1000).path
    (run / "videos").mkdir()
    (run / "videos" / "last.gif").write_bytes(b"GIF89a")
    attacked = cifar_run(tmp_path, "cifar10", "pgd", 0, 0.4).path
    (attacked / "adversarial.png").write_bytes(b"no picture")
    boards = [board for section in collect(find(tmp_path).finished) for board in boards_of(section)]
    (pictures, notes) = adversarial_pictures(boards[1])
    assert pictures == []
    assert [note for note in notes if "adversarial.png is no PNG or GIF, or damaged" in note]
    found, notes = videos(boards, record=False)
    assert found == {}
    assert [note for note in notes if "last.gif is no PNG or GIF, or damaged" in note]
    (attacked / "adversarial.npz").write_bytes(b"PK damaged")
    (attacked / "adversarial.png").unlink()
    (attacked / "adversarial.npz").write_bytes(b"PK damaged")
    ((), (note,)) = adversarial_pictures(boards[1])
    assert "adversarial.npz is damaged" in note
    (attacked / "adversarial.npz").unlink()
    os.mkfifo(attacked / "adversarial.npz")
    ((), (note,)) = adversarial_pictures(boards[1])
    assert "is a pipe, socket or device" in note
    forbid("adversarial")
    assert adversarial_pictures(boards[1]) == ([], [])  # nobody may know that it is there
