"""What does not fit is said in one line, and what is no matter of content is left alone."""

from __future__ import annotations

import pytest
import torch

from l2l_gail.errors import InputError
from l2l_gail.files import fitting


def test_torchs_own_words_become_one_line() -> None:
    with (
        pytest.raises(
            InputError, match=r"^a\.pt does not fit this version: .*size mismatch"
        ) as caught,
        fitting("a.pt", "start again"),
    ):
        torch.nn.Linear(2, 2).load_state_dict(torch.nn.Linear(3, 2).state_dict())
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; start again")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match=r"it lacks 'steps'$"), fitting("a.pt"):
        {}["steps"]


@pytest.mark.parametrize(
    "error", [InputError("said already"), KeyboardInterrupt(), OSError(28, "x")]
)
def test_other_exceptions_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, fitting("a.pt"):
        raise error
    assert caught.value is error
