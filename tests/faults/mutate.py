"""Damage: bytes, pickles, archives, arrays and JSON, changed at random but the same for a seed."""

from __future__ import annotations

import io
import json
import math
import pickletools
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from l2l_gail.files import seal

Random = random.Random

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**48, 2**63 - 1)
FLOATS = (math.nan, math.inf, -math.inf, 1e300, -1e300, 1e39, 1e-320, -0.0, 0.5, 1.0)
TEXTS = (
    "", "\x1b[2J", "\ud800", "a" * 5000, "9" * 5000, "../../etc/passwd", "os:system", "__class__",
    "-" * 3000, "(" * 3000, "[" * 3000, "\u202e", "nan", "None", "0", "-1", "1e999", "\x00", "é漢",
)  # fmt: skip
DTYPES = "b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 >i4 >f8 c8 U3 S3 M8[s] m8[D] V4 O".split()


def change_bytes(content: bytes, rng: Random) -> bytes:
    """A few local changes: flips, numbers of various widths, cuts, repeats, insertions."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            return bytes(rng.randbytes(rng.randrange(50)))
        place = rng.randrange(len(data))
        span = rng.choice((1, 2, 4, 8, 16, 100))
        kind = rng.randrange(7)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place : place + span] = rng.randbytes(span)
        elif kind == 2:
            form = rng.choice(("<B", "<H", "<I", "<Q", ">I", ">Q"))
            number = rng.choice(NUMBERS) % 256 ** struct.calcsize(form)
            packed = struct.pack(form, number)
            data[place : place + len(packed)] = packed
        elif kind == 3:
            del data[place : place + span]
        elif kind == 4:
            data[place:place] = data[place : place + span] * rng.choice((1, 2, 50))
        elif kind == 5:
            other = rng.randrange(len(data))
            data[place : place + span] = data[other : other + span]
        else:
            del data[place:]
    return bytes(data)


def change_pickle(content: bytes, rng: Random) -> bytes:
    """Instructions left out, doubled, exchanged, inserted; or bytes changed."""
    if rng.random() < 0.3:
        return change_bytes(content, rng)
    try:
        places = [place for _, _, place in pickletools.genops(content)]
    except Exception:
        return change_bytes(content, rng)
    parts = [content[a:b] for a, b in zip(places, [*places[1:], len(content)], strict=True)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(parts))
        kind = rng.randrange(6)
        if kind == 0:
            del parts[place]
        elif kind == 1:
            parts[place:place] = [parts[place]] * rng.choice((1, 2, 60, 1000))
        elif kind == 2:
            other = rng.randrange(len(parts))
            parts[place], parts[other] = parts[other], parts[place]
        elif kind == 3:
            parts.insert(place, rng.choice(parts))
        elif kind == 4:
            parts.insert(place, rng.choice(_INSTRUCTIONS))
        else:
            parts[place] = change_bytes(parts[place], rng)
        if not parts:
            break
    return b"".join(parts)


_INSTRUCTIONS = (
    b"2\x86" * 60,  # a tuple of itself twice, sixty times
    b"2" * 100,
    b")\x81",
    b"}",
    b"]",
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"cnumpy\ndtype\n",
    b"cnumpy._core.multiarray\n_reconstruct\n",
    b"cnumpy._core.multiarray\nscalar\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"R",
    b"b",
    b"Q",
    b"s",
    b"e",
    b"\x85",
    b"\x8e" + struct.pack("<Q", 2**62),
    b"\x96" + struct.pack("<Q", 2**40),
    b"\x95" + struct.pack("<Q", 2**62),
    b"\x8b" + struct.pack("<I", 2**31 - 1),
    b"r" + struct.pack("<I", 2**32 - 1),
    b"I" + b"9" * 5000 + b"\n",
    b"F1e999\n",
    b"\x97\x98",
    b"\x82\x01",
)


def change_value(value: Any, rng: Random) -> Any:
    """Another value in the place of one, or inside it."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        changed = dict(value)
        key = rng.choice(list(changed))
        kind = rng.randrange(5)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[rng.choice((*TEXTS[:6], key))] = changed[key]
        else:
            changed[key] = change_value(changed[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        changed = [*value[:place], change_value(value[place], rng), *value[place + 1 :]]
        return changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.2 else changed
    nested: Any = []
    for _ in range(rng.choice((3, 3, 50, 900))):
        nested = [nested]
    negative = -value if isinstance(value, (int, float)) else 3
    return rng.choice(
        (None, True, [], {}, nested, [value], {"a": value}, [value] * 50, 10**400, negative,
         rng.choice(NUMBERS), rng.choice(FLOATS), rng.choice(TEXTS))
    )  # fmt: skip


def change_json(content: bytes, rng: Random) -> bytes:
    """JSON with another value somewhere, or its bytes changed."""
    if rng.random() < 0.3:
        return change_bytes(content, rng)
    value = change_value(json.loads(content), rng)
    return json.dumps(value, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


def change_array(array: np.ndarray, rng: Random) -> np.ndarray:
    """Another dtype, shape or value; now and then an array of objects."""
    kind = rng.randrange(6)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            if kind == 0:
                return array.astype(rng.choice(DTYPES))
            if kind == 1:
                dims = rng.choice((0, 1, 2, 3))
                return np.resize(array, tuple(rng.choice((0, 1, 2, 7)) for _ in range(dims)))
            if kind == 2 and array.size:
                flat = array.ravel().copy()
                numbers = NUMBERS if array.dtype.kind in "iub" else FLOATS
                flat[rng.randrange(flat.size)] = rng.choice(numbers)
                return flat.reshape(array.shape)
            if kind == 3:
                return array[: rng.randrange(len(array) + 1)]
            if kind == 4:
                return np.asfortranarray(array.T)
            return np.array(rng.choice((*TEXTS, *FLOATS, *NUMBERS)))
        except (ValueError, TypeError, OverflowError, IndexError):
            return np.zeros(0)


def change_header(content: bytes, rng: Random) -> bytes:
    """A ``.npy`` file whose header says something else."""
    old, new = rng.choice(
        (
            (b"<f", b"|O"), (b"'descr'", b"'descs'"), (b"(", b"(9999999999, "), (b")", b"-1,)"),
            (b"False", b"True"), (b"<f8", b"<f4"), (b"<f4", b"<U9"), (b"<i8", b"<M8"),
            (b"(", b"(" * 200), (b"{", b"{" * 200), (b", }", b", 'x': " + b"-" * 500 + b"1}"),
            (b"'<", b"[('a', '<"), (b"shape", b"\xff\xfe"), (b"\x01\x00", b"\x02\x00"),
        )
    )  # fmt: skip
    return content.replace(old, new, 1)


def members_of(content: bytes) -> dict[str, bytes]:
    """The members of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes], rng: Random, *, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of members, sealed or not: what lies behind the checksum must hold alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return seal(buffer.getvalue()) if rng.random() < 0.5 else buffer.getvalue()


def change_archive(
    content: bytes, rng: Random, changes: dict[str, Callable[[bytes, Random], bytes]]
) -> bytes:
    """An archive with one member changed after its kind, renamed, gone, huge, or damaged whole."""
    if rng.random() < 0.15:
        return change_bytes(content, rng)
    members = members_of(content)
    name = rng.choice(list(members))
    kind = rng.randrange(10)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[rng.choice(("x" * 300, "../x", name.upper(), "\x1b[2J", name + "/"))] = b"x"
    elif kind == 2:
        members[name] = rng.choice((b"", bytes(64 << 20), rng.randbytes(100)))
        return packed(members, rng, method=zipfile.ZIP_DEFLATED)
    else:
        change = next((c for end, c in changes.items() if name.endswith(end)), change_bytes)
        members[name] = change(members[name], rng)
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    if rng.random() < 0.03:
        method = rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    return packed(members, rng, method=method)
