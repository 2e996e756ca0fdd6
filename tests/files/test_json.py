"""The checksum in JSON files: damage is refused, edits and files of other programs are read."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from l2l_gail.errors import InputError
from l2l_gail.files import read_json
from l2l_gail.files.json_text import to_json

CONTENT = {"env": "Hopper-v5", "rate": 3e-4, "sizes": [64, 64], "name": "Ä \n", "none": None}


def read(text: str | bytes, folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_json(path, way_out="start anew")


@pytest.mark.parametrize("content", [CONTENT, {}, {"seal": "an old one", **CONTENT}])
def test_what_is_written_comes_back_without_its_seal(content: dict, tmp_path: Path) -> None:
    text = to_json(content, "it")
    assert read(text, tmp_path) == {k: v for k, v in content.items() if k != "seal"}
    assert next(iter(json.loads(text))) == "seal"
    assert len(text.splitlines()[1]) < 110  # one line, to be taken out


@pytest.mark.parametrize(("content", "most"), [({}, None), (CONTENT, 200)])
def test_every_flipped_bit_is_refused(content: dict, most: int | None, tmp_path: Path) -> None:
    text = bytearray(to_json(content, "it").encode())
    bits = range(8 * len(text))  # with nothing in it, all of them: the seal's own
    for bit in random.Random(0).sample(bits, most or len(bits)):
        text[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InputError) as caught:
            read(bytes(text), tmp_path)
        assert "\n" not in str(caught.value)
        text[bit // 8] ^= 1 << bit % 8


def test_every_cut_is_refused(tmp_path: Path) -> None:
    text = to_json(CONTENT, "it").encode()
    for cut in range(0, len(text) - 1, 3):  # the last byte is a line's end
        with pytest.raises(InputError):
            read(text[:cut], tmp_path)


def test_edits_are_read(tmp_path: Path) -> None:
    text = to_json(CONTENT, "it")
    longer = text.replace('"Hopper-v5"', '"Walker2d-v5"')
    assert read(longer, tmp_path) == CONTENT | {"env": "Walker2d-v5"}
    by_a_program = json.dumps(json.loads(text) | {"rate": 1e-3})
    assert read(by_a_program, tmp_path) == CONTENT | {"rate": 1e-3}
    assert read(json.dumps(json.loads(text), indent=1), tmp_path) == CONTENT
    lines = text.splitlines(keepends=True)
    assert read("".join([lines[0], *lines[2:]]), tmp_path) == CONTENT  # the seal taken out


def test_an_edit_of_the_same_length_is_told_how_to_be_meant(tmp_path: Path) -> None:
    text = to_json(CONTENT, "it").replace("64,", "32,")
    with pytest.raises(InputError, match=r'start anew; or take its line "seal" out'):
        read(text, tmp_path)
    lines = text.splitlines(keepends=True)
    assert read("".join([lines[0], *lines[2:]]), tmp_path)["sizes"] == [32, 64]


def test_files_without_a_seal_are_read(tmp_path: Path) -> None:
    assert read(json.dumps(CONTENT), tmp_path) == CONTENT
    assert read("{}", tmp_path) == {}
