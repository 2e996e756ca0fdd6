"""Arrays in pickles, read without NumPy's own reconstructors."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

from l2l_gail.files.numpy_pickles import NUMPY_TABLE, PickledArray
from l2l_gail.files.pickles import Refused, read_plain


def read(content: bytes) -> Any:
    found, _ = read_plain(content, NUMPY_TABLE)
    return found.value if isinstance(found, PickledArray) else found


LAYOUTS = (
    lambda x: x,
    lambda x: np.asfortranarray(x),
    lambda x: x.transpose(0, 3, 1, 2),  # channels first, as stable-baselines3 has images
    lambda x: x.transpose(2, 0, 1, 3)[::-1],
    lambda x: x[:, 1:, ::2],
    lambda x: x[0, 0, 0, :1].reshape(()),
    lambda x: x[:0],
)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">f4", "?"])
def test_an_array_of_any_layout_comes_back(dtype: str, protocol: int) -> None:
    numbers = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3).astype(dtype)
    for layout in LAYOUTS:
        array = np.asarray(layout(numbers))
        found = read(pickle.dumps(array, protocol))
        assert found.dtype == array.dtype.newbyteorder("=")
        assert found.shape == array.shape
        np.testing.assert_array_equal(found, array)


class Exchanged:
    """Pickles as an array whose axes are in a forged order."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return np._core.numeric._frombuffer, self.arguments


@pytest.mark.parametrize(
    ("order", "axes"),
    [("K", (0, 0)), ("K", (0,)), ("K", (1, 2)), ("K", [1, 0]), ("K", (True, False)), ("K", None),
     ("A", (1, 0)), ("K", "10"), ("C", (-1, 0))],
)  # fmt: skip
def test_axes_in_no_order_are_refused(order: str, axes: Any) -> None:
    content = io.BytesIO()
    pickle.dump(Exchanged(b"\0" * 6, np.dtype("u1"), (2, 3), order, axes), content, 5)
    with pytest.raises(Refused):
        read(content.getvalue())
