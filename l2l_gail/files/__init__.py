"""Files of this library: written whole, sealed with a checksum, and read as if written by a foe."""

from l2l_gail.files.archive import most_unpacked, open_archive, read_member
from l2l_gail.files.digest import digest_of
from l2l_gail.files.fitting import fitting
from l2l_gail.files.regular import check_folder, home_expanded, open_regular, read_json, read_text
from l2l_gail.files.seal import check_seal, seal
from l2l_gail.files.tensors import load_tensors, read_tensors, save_tensors
from l2l_gail.files.writing import atomic_write, check_can_be_written

__all__ = [
    "atomic_write",
    "check_can_be_written",
    "check_folder",
    "check_seal",
    "digest_of",
    "fitting",
    "home_expanded",
    "load_tensors",
    "most_unpacked",
    "open_archive",
    "open_regular",
    "read_json",
    "read_member",
    "read_tensors",
    "read_text",
    "save_tensors",
    "seal",
]
