from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import train_cifar
import train_gail
from adv_training.models import MODELS
from l2l_gail import finding_scripts
from l2l_gail.errors import InputError
from l2l_gail.experiment import Plan
from l2l_gail.gail import PENALTIES
from l2l_gail.run_flags import RunFlags, parse_seeds


@pytest.mark.parametrize(
    ("texts", "seeds"),
    [
        (["0-4"], [0, 1, 2, 3, 4]),
        (["0,3,7"], [0, 3, 7]),
        (["5", "1-2"], [5, 1, 2]),
        (["7-7,9"], [7, 9]),
        ([], []),
    ],
)
def test_seeds_are_numbers_and_ranges(texts: list[str], seeds: list[int]) -> None:
    assert parse_seeds(texts) == seeds


@pytest.mark.parametrize(
    "text", ["4-2", "a", "-1", "1-", "0-20000", "1,1", "99999999999", "0-4000000000", "1.5", "1--2"]
)
def test_what_are_no_seeds_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match="seed") as caught:
        parse_seeds([text])
    assert "\n" not in str(caught.value)


def test_one_seed_or_several() -> None:
    assert RunFlags(seed=3).all_seeds == [3]
    assert RunFlags(seeds=("0-2",)).all_seeds == [0, 1, 2]
    with pytest.raises(InputError, match="give one of them"):
        RunFlags(seed=3, seeds=("0-2",))
    for name in ("", "a/b", "..", "a b", "a" * 260, "ü" * 100):
        with pytest.raises(InputError, match="--name"):
            RunFlags(name=name)


class TestWhereToLook:
    runs = RunFlags(out=Path("my $runs"))

    @pytest.fixture(autouse=True)
    def clone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A clone with its ``.venv``, in which the process was called, and all that is called."""
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        for name in ("make", "l2l-compare"):
            (tmp_path / ".venv" / "bin" / name).touch(mode=0o755)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(finding_scripts, "_CLONE", tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path / ".venv" / "bin"))
        monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
        monkeypatch.setattr(sys, "orig_argv", [".venv/bin/python", "train_gail.py"])
        monkeypatch.setattr(sys, "argv", ["train_gail.py"])
        return tmp_path

    def test_in_the_clone_and_its_environment_it_is_make(self) -> None:
        assert self.runs.where_to_look == (
            "\nIn TensorBoard: make board RUNS='my $$runs', or without make\n"
            ".venv/bin/python -m l2l_gail.compare 'my $runs' --board"
        )

    @pytest.mark.parametrize("lacking", ["the clone", "its environment", "make"])
    def test_elsewhere_it_is_the_python_that_was_called(
        self, lacking: str, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if lacking == "the clone":
            monkeypatch.chdir(clone / ".venv")
        elif lacking == "its environment":
            monkeypatch.setattr(sys, "prefix", "/usr")
        else:
            monkeypatch.setenv("PATH", "")
        command = ".venv/bin/python -m l2l_gail.compare 'my $runs' --board"
        assert self.runs.where_to_look == f"\nIn TensorBoard: {command}"

    def test_of_a_wheel_it_is_its_command_as_it_can_be_called(
        self, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir("/")
        folder = clone / ".venv" / "bin"
        monkeypatch.setattr(sys, "argv", [f"{folder}/l2l-gail"])
        command = "l2l-compare 'my $runs' --board"
        assert self.runs.where_to_look == f"\nIn TensorBoard: {command}"
        monkeypatch.setenv("PATH", "")
        assert self.runs.where_to_look == f"\nIn TensorBoard: {folder}/{command}"


class TestOwnModules:
    @pytest.fixture(autouse=True)
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """A module that registers a penalty and a classifier, not imported yet."""
        (tmp_path / "parts_of_mine.py").write_text(
            "from adv_training.models import SmallCNN\n"
            "from adv_training.models import register_model\n"
            "from l2l_gail.gail import PENALTIES\n"
            "PENALTIES['mine'] = lambda discriminator, weights, batch: 0 * batch.policy.sum()\n"
            "register_model('of_mine', SmallCNN)\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        yield
        self.forget()

    def forget(self) -> None:
        sys.modules.pop("parts_of_mine", None)
        PENALTIES.pop("mine", None)
        MODELS.pop("of_mine", None)

    @pytest.mark.parametrize("given", [["--import", "parts_of_mine"], ["--import=parts_of_mine"]])
    def test_what_they_register_is_a_choice_of_the_other_flags(self, given: list[str]) -> None:
        with pytest.raises(InputError, match="mine"):
            train_gail.read_flags(["--penalty", "mine"])
        flags = train_gail.read_flags(["--penalty", "mine", *given])
        assert flags.discriminator.penalty == ("mine",)
        self.forget()
        assert train_cifar.read_flags([*given, "--model", "of_mine"]).settings.model == "of_mine"

    def test_they_are_imported_in_the_process_of_each_run(self) -> None:
        sent = pickle.dumps(train_gail.read_flags(["--import", "parts_of_mine"]))
        self.forget()
        assert pickle.loads(sent).runs.imports == ("parts_of_mine",)
        assert "mine" in PENALTIES

    def test_where_they_lie_decides_no_result(self) -> None:
        assert "import" not in Plan("gail", 0, {"rate": 1, "import": ["a"]}, {"rate": 1}).settings

    @pytest.mark.parametrize("name", ["no_such_module_of_mine", ""])
    def test_one_that_there_is_not_is_one_line(self, name: str) -> None:
        with pytest.raises(InputError, match=r"--import: module .* cannot be imported") as caught:
            train_gail.read_flags(["--import", name])
        assert "\n" not in str(caught.value)
