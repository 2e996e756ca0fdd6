"""Opening and writing: pipes, devices, permissions, leftovers, links in the way."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adv_training.cifar_files import find_cifar10
from l2l_gail.compare import main as compare
from l2l_gail.core import Adam, load_rule, save_rule
from l2l_gail.demos import Demonstrations
from l2l_gail.demos.policy_file import MlpPolicy
from l2l_gail.errors import InputError, printable
from l2l_gail.files import atomic_write, open_regular, read_text, writing
from l2l_gail.files.writing import keep_a_copy
from l2l_gail.recording.record_command import main as record
from l2l_gail.runs import RunFolder
from tests.demos.support import small_policy
from tests.demos.test_demos import make_arrays
from train_cifar import main as train_cifar


def test_a_pipe_a_device_and_a_folder_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "pipe", "a pipe, socket or device"),
        (Path("/dev/zero"), "a pipe, socket or device"),
        (tmp_path, "a folder"),
        (tmp_path / "none", "does not exist"),
        (tmp_path / "pipe" / "none", "does not exist"),
        (Path("a\0b"), "holds a NUL"),
    ):
        with pytest.raises(InputError, match=said), open_regular(path):
            pass


def test_a_link_is_followed_and_a_loop_of_links_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert read_text(tmp_path / "link", limit=100) == "content"
    with pytest.raises(InputError, match="cannot be read"), open_regular(tmp_path / "loop"):
        pass


@pytest.mark.parametrize("name", ["d.npz", "d.hdf5", "policy.npz", "rule.pt"])
def test_what_stands_in_for_a_file_of_git_lfs_is_said(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    readers = {"policy.npz": MlpPolicy.load, "rule.pt": load_rule}
    with pytest.raises(InputError, match=f"{name} only says where Git LFS keeps .*'git lfs pull'"):
        readers.get(name, Demonstrations.load)(path)


@pytest.mark.slow
def test_what_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    path.write_text("{}")
    path.chmod(0)
    tmp_path.chmod(0o755)
    probe = (
        "import os, sys\n"
        "from l2l_gail.files import open_regular\n"
        "os.setuid(65534)\n"
        "open_regular(sys.argv[1]).__enter__()"
    )
    if os.getuid() == 0:
        for folder in tmp_path.parents[:2]:
            folder.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", probe, str(path)], capture_output=True, text=True, check=False
        )
        said = done.stderr
    else:
        with pytest.raises(InputError) as caught, open_regular(path):
            pass
        said = str(caught.value)
    assert "cannot be read (Permission denied): check its permissions" in said


def test_what_cannot_be_read_after_all_is_one_line() -> None:
    path = "/proc/self/mem"  # a regular file to the system, but its start cannot be read
    with pytest.raises(InputError, match="cannot be read"):
        read_text(path, limit=100)
    with pytest.raises(InputError, match="cannot be read"), open_regular(path) as file:
        file.seek(0, os.SEEK_END)


def test_text_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("x" * 101)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        read_text(tmp_path / "long", limit=100)
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_text(tmp_path / "latin", limit=100)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        atomic_write(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


def test_a_file_of_a_machine_of_nearly_the_same_name_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes of a cluster differ in their last letters, and have process numbers of their own."""
    written: list[Path] = []

    def meanwhile(handle: int) -> None:
        written.extend(tmp_path.iterdir())
        monkeypatch.undo()
        with monkeypatch.context() as there:
            there.setattr(socket, "gethostname", lambda: f"{'gke-research-gpu-pool' * 3}-node2")
            there.setattr(writing, "_alive", lambda process: False)
            writing._machine.cache_clear()
            atomic_write(tmp_path / "other", b"of node 2")
        writing._machine.cache_clear()

    monkeypatch.setattr(socket, "gethostname", lambda: f"{'gke-research-gpu-pool' * 3}-node1")
    monkeypatch.setattr(os, "fsync", meanwhile)
    writing._machine.cache_clear()
    atomic_write(tmp_path / "file", b"of node 1")
    assert len(written) == 1
    assert (tmp_path / "file").read_bytes() == b"of node 1"


def test_a_file_that_is_cleared_meanwhile_is_not_said_to_lack_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cleared(handle: int) -> None:
        for path in tmp_path.iterdir():
            path.unlink()

    monkeypatch.setattr(os, "fsync", cleared)
    with pytest.raises(InputError, match="what was written of it is gone"):
        atomic_write(tmp_path / "file", b"content")


@pytest.mark.slow
def test_what_a_killed_process_left_behind_is_removed(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from l2l_gail.files import atomic_write\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        "atomic_write(sys.argv[1], b'content')"
    )
    path = tmp_path / "checkpoint.pt"
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".checkpoint.pt.")
    alive = tmp_path / left.name.replace(left.name.split("-")[-2], str(os.getppid()))
    alive.write_bytes(b"")
    other = tmp_path / left.name.replace("checkpoint.pt", "model.zip")  # killed over another file
    other.write_bytes(b"")
    (tmp_path / ".checkpoint.pt.elsewhere-1-00000000.tmp").write_bytes(b"")
    (tmp_path / ".other.pt.tmp").write_bytes(b"")
    atomic_write(path, b"new")
    assert not left.exists()
    assert not other.exists()
    assert alive.exists(), "of a process that runs"
    assert len(list(tmp_path.iterdir())) == 4
    assert path.read_bytes() == b"new"


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "file").symlink_to(tmp_path / "precious")
    atomic_write(tmp_path / "file", "new")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "new"


def test_a_folder_that_is_gone_is_said_and_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its folder is gone, was it deleted"):
        atomic_write(tmp_path / "runs" / "checkpoint.pt", b"", make_folder=False)
    assert list(tmp_path.iterdir()) == []
    atomic_write(tmp_path / "runs" / "checkpoint.pt", b"")
    assert (tmp_path / "runs" / "checkpoint.pt").exists()


@pytest.mark.parametrize("place", ["file/below", "folder"])
def test_something_in_the_way_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(InputError, match="something else has its name"):
        atomic_write(tmp_path / place, b"content")
    assert (tmp_path / "folder" / "full").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"old")
    real = os.open

    def full(name, flags, *rest):
        created = flags & os.O_CREAT
        return real("/dev/full", os.O_WRONLY) if created else real(name, flags, *rest)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(InputError, match=r"No space left on device.*free some space"):
        atomic_write(path, b"new" * 100_000)
    assert path.read_bytes() == b"old"


def test_a_copy_is_kept_where_links_are_known_and_where_not(tmp_path, monkeypatch) -> None:
    path, copy = tmp_path / "a", tmp_path / "a-previous"
    copy.write_text("older")
    path.write_text("old")
    keep_a_copy(path, copy)
    assert (path.read_text(), copy.read_text()) == ("old", "old")
    keep_a_copy(path, copy)  # now two names of one file, which a rename would leave as they are
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a-previous"]

    def no_links(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    copy.unlink()
    keep_a_copy(path, copy)
    assert copy.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-previous"]


def test_text_out_of_files_is_printed_as_what_it_is() -> None:
    hostile = "\x1b[2J\x1b]0;title\x07 name\u202e\u2066 \ud800 \x85 é 漢 \u3000x"
    shown = printable(hostile)
    assert shown.startswith(r"\x1b[2J\x1b]0;title\x07 name\u202e\u2066 \ud800 \x85 é 漢")
    assert shown.isprintable()
    assert printable("two\nlines\tand\rmore") == "two lines and more"
    assert len(printable("x" * 10_000, limit=100)) <= 100
    assert str(InputError("a\nb\x1b")) == r"a b\x1b"
    assert len(str(InputError("x" * 100_000))) <= 2000


def test_a_tilde_is_the_home_folder_for_readers_and_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    atomic_write("~/text", "content")
    assert read_text("~/text", limit=100) == "content"
    save_rule("~/rules/adam.pt", Adam(0.1))
    assert load_rule(Path("~/rules/adam.pt")).config["lr"] == 0.1
    small_policy(3, 1).save("~/policy.npz")
    with pytest.raises(InputError, match="exists and is not overwritten"):
        small_policy(3, 1).save("~/policy.npz")
    assert MlpPolicy.load("~/policy.npz").obs_dim == 3
    Demonstrations(**make_arrays(3, 5)).save("~/demos.npz")
    assert len(Demonstrations.load("~/demos.npz")) == 8
    folder = RunFolder.create("~/runs", "g", "m", 0)
    assert folder.path.is_relative_to(tmp_path / "home")
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("nobody", "said"),
    [
        ("~nobody-of-this-name/x", "there is no home folder ~nobody-of-this-name"),
        ("a\0b", r"'a\\x00b(\.npz)?' holds a NUL, which no path may"),
    ],
    ids=["home", "nul"],
)
def test_the_home_of_nobody_and_a_nul_are_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for refused in (
        lambda: read_text(nobody, limit=1),
        lambda: atomic_write(nobody, "content"),
        lambda: RunFolder.create(nobody, "g", "m", 0),
        lambda: Demonstrations.load(nobody),
        lambda: find_cifar10(nobody),
        lambda: train_cifar(["--data", "synthetic", "--out", nobody]),
        lambda: compare([nobody]),
        lambda: record(["--env", "Hopper-v5", "--out", f"{nobody}.npz"]),
    ):
        with pytest.raises(InputError, match=said):
            refused()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", ["$F_PLACE", "${F_PLACE}"])
def test_a_variable_in_quotes_is_what_the_shell_makes_of_it(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for value in (None, ""):
        monkeypatch.delenv("F_PLACE", raising=False)
        if value is not None:
            monkeypatch.setenv("F_PLACE", value)
        with pytest.raises(InputError, match=r"there is no variable .*: give the folder"):
            RunFolder.create(f"{start}/runs", "g", "m", 0)
    assert list(Path().iterdir()) == []
    monkeypatch.setenv("F_PLACE", str(tmp_path / "there"))
    folder = RunFolder.create(f"{start}/runs", "g", "m", 0)
    assert folder.path == tmp_path / "there" / "runs" / "g" / "m" / "seed0"
    (tmp_path / "here" / start).mkdir()
    atomic_write(f"{start}/text", "content")  # a name that is there is itself
    assert (tmp_path / "here" / start / "text").exists()


def test_a_name_with_a_tilde_that_is_there_is_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~draft").write_text("content")
    assert read_text("~draft", limit=100) == "content"
    atomic_write(tmp_path / "~new", "content")
    assert (tmp_path / "~new").exists()
