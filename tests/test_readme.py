"""The README's examples run as they stand, but for the length of the training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", (Path(__file__).parent.parent / "README.md").read_text(), re.M | re.S
)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(example.replace("600_000", "2_048"), "README.md", "exec"), names)
    if "model.save" in example:
        assert (tmp_path / "hopper.zip").is_file()
        assert names["actions"].shape == (64, 3)  # type: ignore[attr-defined]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
