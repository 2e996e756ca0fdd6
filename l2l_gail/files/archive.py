"""Zip archives from anybody: what they would take is known before any of it is taken."""

from __future__ import annotations

import os
import zipfile
from typing import BinaryIO

from l2l_gail.errors import InputError

__all__ = ["most_unpacked", "open_archive", "read_member"]

_MOST_MEMBERS = 20_000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Zeros deflate a thousandfold, recorded numbers hardly tenfold.
_FREE = 32 << 20
_LARGEST_RATIO = 50
_ENCRYPTED = 0x1


def most_unpacked(size: int) -> int:
    """Return how many bytes a file of ``size`` may hold: 32 MiB, and 50 times the file."""
    return _FREE + _LARGEST_RATIO * size


def open_archive(file: BinaryIO, name: str, way_out: str) -> zipfile.ZipFile:
    """Open a zip archive whose content is in proportion to its size.

    Args:
        file: The open file.
        name: What to call it.
        way_out: What to do if it is damaged.

    Returns:
        The archive: distinct members, stored or deflated, in all at most 32 MiB plus 50 times the
        size of the file.

    Raises:
        InputError: It is none, or not such a one.
    """
    try:
        archive = zipfile.ZipFile(file)
    # A damaged directory raises whatever its garbage happens to spell.
    except Exception as error:
        raise InputError(
            f"{name} is damaged, cut off or of another format ({type(error).__name__}): {way_out}"
        ) from None
    members = archive.infolist()
    size = file.seek(0, os.SEEK_END)
    total = sum(member.file_size for member in members)
    if total > most_unpacked(size):
        raise InputError(
            f"{name} would take {total:,} bytes unpacked, out of {size:,}: it is damaged or made "
            f"to fill the memory; {way_out}"
        )
    odd = next(
        (m for m in members if m.compress_type not in _METHODS or m.flag_bits & _ENCRYPTED), None
    )
    if odd is not None:
        raise InputError(f"{name}: {odd.filename!r} is encrypted or packed in an unusual way")
    names = {member.filename for member in members}
    if len(names) != len(members) or len(members) > _MOST_MEMBERS:
        raise InputError(f"{name} has too many members, or two of one name: {way_out}")
    return archive


def read_member(archive: zipfile.ZipFile, member: str) -> bytes:
    """The content of a member, exactly as long as the archive's directory says.

    Raises:
        ValueError: It is longer or shorter, or its checksum is wrong; a damaged member raises
            other exceptions too.
        KeyError: There is no such member.
    """
    info = archive.getinfo(member)
    with archive.open(info) as file:
        content = file.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise ValueError(f"{member} is not {info.file_size} bytes long")
    return content
