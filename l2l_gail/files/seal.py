"""A checksum over the whole content of an archive, in the archive.

Every binary file of this library is a zip archive (NumPy's ``.npz``, torch's ``.pt``,
Stable-Baselines3's ``.zip``).  Such a file ends in a comment, which readers pass over; the seal is
that comment: ``sha256:`` and the hexadecimal SHA-256 of all bytes before those digits.  It finds
damage: a flipped bit, a lost block, two files mixed.  It is no signature: whoever writes a file can
seal it.

Files of version 0.1.0, and of other programs, carry no such comment.  They are read without this
check.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import BinaryIO

from l2l_gail.errors import InputError

__all__ = ["check_seal", "seal"]

_LABEL = b"sha256:"
_DIGITS = 64
_COMMENT = len(_LABEL) + _DIGITS
# The record at the end of a zip archive: a mark, sixteen bytes, the length of the comment.
_END = struct.Struct("<4s16sH")
_END_MARK = b"PK\x05\x06"
_LONGEST_COMMENT = 0xFFFF
_CHUNK = 1 << 20


def seal(content: bytes) -> bytes:
    """Return a zip archive with the seal as its comment.

    Args:
        content: A zip archive without a comment.

    Raises:
        ValueError: It is no zip archive, or has a comment.
    """
    if _comment_of(content[-_END.size :]) != b"":
        raise ValueError("only a zip archive without a comment can be sealed")
    labelled = content[:-2] + _COMMENT.to_bytes(2, "little") + _LABEL
    return labelled + hashlib.sha256(labelled).hexdigest().encode()


def check_seal(file: BinaryIO, name: str, way_out: str) -> bool:
    """Compare a file's content with its seal, and go back to its start.

    Args:
        file: An open zip archive.
        name: What to call it.
        way_out: What to do if it is damaged.

    Returns:
        Whether it has a seal.

    Raises:
        InputError: The content is not what was sealed, or the end of the archive is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _LONGEST_COMMENT))
    comment = _comment_of(file.read())
    if comment is None:
        raise InputError(f"{name} is damaged, cut off or of another format: {way_out}")
    if len(comment) != _COMMENT:
        file.seek(0)
        return False
    file.seek(0)
    digest = hashlib.sha256()
    left = size - _DIGITS
    while left and (chunk := file.read(min(left, _CHUNK))):
        digest.update(chunk)
        left -= len(chunk)
    if file.read() != digest.hexdigest().encode():
        raise InputError(f"{name} is damaged, its content does not fit its checksum: {way_out}")
    file.seek(0)
    return True


def _comment_of(tail: bytes) -> bytes | None:
    """The comment of an archive that ends in ``tail``; None if there is no end of an archive."""
    place = tail.rfind(_END_MARK)
    while place >= 0:
        begin = place + _END.size
        if begin <= len(tail) and _END.unpack(tail[place:begin])[2] == len(tail) - begin:
            return tail[begin:]
        place = tail.rfind(_END_MARK, 0, place)
    return None
