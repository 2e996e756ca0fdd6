"""The checksum in every file: what is found damaged, and what is read without one."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from l2l_gail.errors import InputError
from l2l_gail.files import check_seal, seal


def archive(comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a", b"some content" * 20)
        file.comment = comment
    return buffer.getvalue()


def is_sealed(content: bytes) -> bool:
    file = io.BytesIO(content)
    found = check_seal(file, "it", "copy it again")
    assert file.tell() == 0
    return found


def test_what_is_sealed_is_found_whole() -> None:
    assert is_sealed(seal(archive()))


@pytest.mark.parametrize("comment", [b"", b"made by another program", b"x" * 0xFFFF])
def test_archives_of_other_programs_are_read_without_a_checksum(comment: bytes) -> None:
    assert not is_sealed(archive(comment))


def test_every_flipped_bit_is_found() -> None:
    content = bytearray(seal(archive()))
    for bit in range(8 * len(content)):
        content[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InputError, match=r"it is damaged.*: copy it again"):
            check_seal(io.BytesIO(content), "it", "copy it again")
        content[bit // 8] ^= 1 << bit % 8


def test_every_loss_is_found() -> None:
    content = seal(archive())
    for cut in range(1, len(content)):
        with pytest.raises(InputError, match="it is damaged"):
            check_seal(io.BytesIO(content[:-cut]), "it", "copy it again")
    random_cuts = random.Random(0).sample(range(len(content) - 40), 50)
    for place in random_cuts:
        with pytest.raises(InputError, match="it is damaged"):
            check_seal(io.BytesIO(content[:place] + content[place + 40 :]), "it", "copy it again")


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"x" * 100_000])
def test_what_is_no_archive_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(InputError, match="of another format"):
        is_sealed(content)


@pytest.mark.parametrize("content", [b"text", archive(b"comment"), seal(archive())])
def test_only_an_archive_without_a_comment_is_sealed(content: bytes) -> None:
    with pytest.raises(ValueError, match="without a comment"):
        seal(content)


def test_other_readers_pass_over_the_seal(tmp_path: Path) -> None:
    tensors, arrays = io.BytesIO(), io.BytesIO()
    torch.save({"a": torch.arange(3)}, tensors)
    np.savez(arrays, a=np.arange(3))
    (tmp_path / "a.pt").write_bytes(seal(tensors.getvalue()))
    (tmp_path / "a.npz").write_bytes(seal(arrays.getvalue()))
    assert torch.load(tmp_path / "a.pt", weights_only=True)["a"].tolist() == [0, 1, 2]
    with np.load(tmp_path / "a.npz") as file:
        assert file["a"].tolist() == [0, 1, 2]
