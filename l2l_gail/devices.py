"""Which device to run on, and torch's global settings, left to the user."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from l2l_gail.errors import InputError

__all__ = ["choose_device", "own_defaults"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def choose_device(name: str) -> str:
    """Return the name of a device that is there; ``auto`` means the GPU if there is one.

    Raises:
        InputError: If it is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"device {name} is unknown; use cpu, cuda, cuda:1, ..., or auto")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch's ways to say "not in this build"
        raise InputError(f"device {name} is not available here; use cpu or auto") from error
    return name


def own_defaults(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Have a function compute in float32, where it is told to, with gradients, as it was tested.

    ``torch.set_default_dtype``, ``set_default_device``, ``no_grad`` and ``inference_mode`` of the
    caller do not reach inside and are as before afterwards. Arguments that are tensors made in
    inference mode, or tuples of them, are copied: no gradient could be computed at them.
    """

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with _plain_torch():
            plain = [_ordinary(argument) for argument in args]
            named = {name: _ordinary(argument) for name, argument in kwargs.items()}
            return function(*plain, **named)

    return call


@contextlib.contextmanager
def _plain_torch() -> Iterator[None]:
    dtype = torch.get_default_dtype()
    with contextlib.ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def _ordinary(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return argument.clone() if argument.is_inference() else argument
    if isinstance(argument, tuple) and any(isinstance(part, Tensor) for part in argument):
        return getattr(argument, "_make", tuple)([_ordinary(part) for part in argument])
    return argument
