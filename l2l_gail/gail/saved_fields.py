"""Whether what a model's archive says of itself can be true, before anything is built from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from gymnasium.spaces import Dict, Discrete, MultiBinary, MultiDiscrete, flatdim
from torch import Tensor

from l2l_gail.errors import InputError, one_line
from l2l_gail.gail.model_settings import SETTINGS
from l2l_gail.gail.rule_spec import rule_size
from l2l_gail.saved_models import SavedModel

__all__ = ["check_saved", "check_weights"]

_WAY_OUT = "give a model that GAIL.save wrote"


def check_saved(
    path: Path, saved: SavedModel, model_class: type, given: Collection[str] = ()
) -> None:
    """Refuse an archive whose attributes and tensors do not belong together.

    Args:
        path: Where it lies.
        saved: What it holds.
        model_class: The class of the model; attributes may not hide what it defines.
        given: Attributes that the caller replaces; what the archive says of them does not matter.

    Raises:
        InputError: An attribute is of another kind than it should be or hides a method, a layer is
            asked for that no tensor is as large as, or a weight is not finite.
    """
    for name, value in saved.fields.items():
        hidden = getattr(model_class, name, None)
        if not name.isidentifier() or callable(hidden) or isinstance(hidden, property):
            raise InputError(f"{path}: {name!r} is no attribute of a model; {_WAY_OUT}")
        if name in SETTINGS and name not in given and not SETTINGS[name][0](value):
            raise InputError(
                f"{path}: its {name!r} is {value!s:.40}, which it cannot be; {_WAY_OUT}"
            )
    tensors = list(_tensors(saved.parameters))
    _check_widths(path, saved, tensors, given)
    check_weights(saved.parameters, str(path))


def check_weights(parameters: Mapping[str, Any], what: str) -> None:
    """Refuse a policy or a discriminator that is not finite.

    Args:
        parameters: As ``get_parameters`` of a model returns them.
        what: What the message begins with.

    Raises:
        InputError: Naming the first weight that is not finite.
    """
    for network in ("policy", "average", "discriminator"):
        state = parameters.get(network)
        if network == "average" and isinstance(state, Mapping):
            state = state.get("model")
        for name, tensor in _named(state):
            # The bounds of an action space may be infinite; no weight may.
            bad = tensor.isnan() if network == "discriminator" else ~tensor.isfinite()
            if tensor.is_floating_point() and bool(bad.any()):
                raise InputError(
                    f"{what}: {network} {name!r} is not finite: the training that wrote it had "
                    "failed, take an earlier model"
                )


def _check_widths(
    path: Path, saved: SavedModel, tensors: list[Tensor], given: Collection[str]
) -> None:
    """Refuse settings that ask for more than the tensors, before memory for it is asked for."""
    largest = max((size for tensor in tensors for size in tensor.shape), default=0)
    kwargs = saved.fields.get("policy_kwargs") or {}
    config = saved.fields.get("discriminator_config")
    asked_for = {
        "policy_kwargs": kwargs.get("net_arch"),
        # A network of the user's own takes the place of one with these.
        "discriminator_network": getattr(config, "hidden_sizes", ()),
    }
    for name, asked in asked_for.items():
        if name in given:
            continue
        widths = list(_numbers(asked))
        if max(widths, default=0) > largest or len(widths) > len(tensors):
            raise InputError(f"{path}: its settings ask for layers that are not in it; {_WAY_OUT}")
    for name in ("observation_space", "action_space"):
        if name not in given and _classes(saved.fields.get(name)) > largest:
            raise InputError(f"{path}: its {name} has classes that are not in it; {_WAY_OUT}")
    spec = saved.fields.get("rule_spec")
    if spec is None or "rule" in given:
        return
    try:
        size = rule_size(spec)
    except (TypeError, KeyError, ValueError, ArithmeticError, RuntimeError) as error:
        why = one_line(error)
        raise InputError(f"{path}: its rule cannot be built ({why}); {_WAY_OUT}") from None
    if size > sum(tensor.numel() for tensor in tensors):
        raise InputError(f"{path}: its rule is larger than all that is in it; {_WAY_OUT}")


def _classes(space: Any) -> int:
    """How many classes a space has, each an entry of some layer."""
    if isinstance(space, Dict):
        return sum(map(_classes, space.spaces.values()))
    if isinstance(space, (Discrete, MultiDiscrete, MultiBinary)):
        return int(flatdim(space))
    return 0


def _numbers(value: Any, depth: int = 4) -> Iterator[int]:
    """All whole numbers in nested lists and dicts."""
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        yield value
    elif isinstance(value, (list, tuple, Mapping)) and depth:
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(part, depth - 1)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def _named(state: Any) -> list[tuple[str, Tensor]]:
    items = state.items() if isinstance(state, Mapping) else ()
    return [(name, value) for name, value in items if isinstance(value, Tensor)]
