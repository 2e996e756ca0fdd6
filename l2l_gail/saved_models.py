"""The archives in which Stable-Baselines3 keeps models, read without running what is in them.

A model is a zip archive of ``data``, a JSON object with one entry for each attribute, and of
tensors. What JSON cannot hold is in ``data`` twice: as a pickle, which ``PPO.load`` runs, and in
plain words. Here tensors are read as by :mod:`l2l_gail.files.tensors`, and a pickle as data:
spaces, arrays, constant and linear schedules, and classes of which the caller says that they are
known. Any other attribute is named, with the reason, and left to a reader that the user trusts the
file to.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.utils import LinearSchedule
from torch.nn.modules import activation

from l2l_gail.errors import InputError
from l2l_gail.files import check_seal, load_tensors, open_archive, open_regular, read_member
from l2l_gail.files.numpy_pickles import NUMPY_TABLE, PickledArray, PickledDType
from l2l_gail.files.pickles import Named, Refused, Shell, Table, read_plain
from l2l_gail.saved_spaces import SPACES

__all__ = [
    "OldTensorsError",
    "SavedModel",
    "acting_state",
    "is_policy",
    "read_model",
    "read_model_parts",
    "with_own_tensors",
]

_WAY_OUT = "give the .zip that the model's save() wrote"
_TENSORS = ".pth"
_OWN_TENSORS = ".pt"  # SB3's load passes over them, and so loads a model of GAIL as one of PPO
_PICKLE = ":serialized:"
_BEFORE_1_6 = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)

# A space that was sampled from carries its generator, which nothing here needs.
_GENERATORS = (
    ("numpy.random._pickle", "__generator_ctor"),
    ("numpy.random._pickle", "__bit_generator_ctor"),
    ("numpy.random._pcg64", "PCG64"),
    ("numpy.random.bit_generator", "SeedSequence"),
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    ("gymnasium.utils.seeding", "RandomNumberGenerator"),
)

_HARMLESS: dict[tuple[str, str], type] = {
    (kind.__module__, kind.__name__): kind
    for kind in (
        *(getattr(activation, name) for name in activation.__all__),
        *(kind for kind in vars(torch.optim).values() if isinstance(kind, type)),
    )
    if issubclass(kind, (torch.nn.Module, torch.optim.Optimizer))
}
"""torch's own activations and optimizers, which a model names as classes."""


class OldTensorsError(InputError):
    """A model whose tensors are in the format of a torch before 1.6: sound, and not read.

    Attributes:
        reason: What is wrong with it, without its name and what to do.
    """

    reason = "its tensors are in the format of a torch before 1.6"

    def __init__(self, path: str | Path) -> None:
        super().__init__(
            f"{path} is not read: {self.reason}; load it with Stable-Baselines3 where it was "
            "saved, and save it again with a newer torch"
        )


@dataclass(frozen=True)
class SavedModel:
    """A model's archive as plain data.

    Attributes:
        fields: The attributes that are plain data or could be made from it, by name. A deque is a
            list here, a constant schedule a number, a linear one ``LinearSchedule``.
        pickled: The other attributes, with the reason; only unpickling, which runs code in the
            file, would rebuild them.
        refused: The attributes whose values their own class refuses today, with its words: they
            name what was registered when the model was saved and is not now.
        described: What the archive says in plain words of every attribute that it pickles.
        parameters: What ``set_parameters`` takes: a ``state_dict`` for each network and optimizer.
        variables: Tensors that are attributes of the model themselves, by name.
    """

    fields: dict[str, Any]
    pickled: dict[str, str]
    refused: dict[str, str]
    described: dict[str, dict[str, Any]]
    parameters: dict[str, Any]
    variables: dict[str, Any]


def read_model(path: str | Path, known: Mapping[tuple[str, str], type] | None = None) -> SavedModel:
    """Read a saved model as data.

    Args:
        path: The ``.zip``; one that this library wrote is held against its checksum.
        known: Classes that a pickle may name, by module and name. Objects of those that are
            dataclasses are made by their constructor from the values in the file, which checks
            them; of the others, only the class itself may occur. Spaces, arrays, torch's common
            activations and optimizers are known anyway.

    Returns:
        Everything in the archive; nothing in it was run.

    Raises:
        OldTensorsError: Its tensors are in a format of long ago.
        InputError: The file is missing, unreadable, damaged, or no model.
    """
    data, tensors = read_model_parts(path)
    table = _table({**_HARMLESS, **(known or {})})
    fields: dict[str, Any] = {}
    pickled: dict[str, str] = {}
    refused: dict[str, str] = {}
    described: dict[str, dict[str, Any]] = {}
    for name, value in data.items():
        if not isinstance(value, dict) or _PICKLE not in value:
            fields[name] = value
            continue
        described[name] = {key: text for key, text in value.items() if not key.startswith(":")}
        try:
            fields[name] = _unpickled(value[_PICKLE], table)
        except Refused as error:
            pickled[name] = str(error)
        except InputError as error:
            refused[name] = str(error)
        # Damaged content raises whatever its garbage happens to spell.
        except Exception as error:
            pickled[name] = f"it is damaged ({type(error).__name__})"
    variables = tensors.pop("pytorch_variables", None) or {}
    return SavedModel(fields, pickled, refused, described, tensors, variables)


def read_model_parts(
    path: str | Path, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON of a model's archive, and its tensors.

    Args:
        path: The file.
        wanted: Which tensors to read, by their name in the archive (``policy``,
            ``policy.optimizer``).

    Returns:
        The JSON object as it is, and what each file of tensors holds, by name.

    Raises:
        OldTensorsError: Its tensors are in a format of long ago.
        InputError: The file is missing, unreadable, damaged, or no model.
    """
    missing = f"no model at {path}: {_WAY_OUT}"
    with open_regular(path, missing=missing) as file:
        check_seal(file, str(path), _WAY_OUT)
        with open_archive(file, str(path), _WAY_OUT) as archive:
            try:
                data, tensors = _contents(archive, wanted, path)
            except OldTensorsError:
                raise
            # Damaged content raises whatever its garbage happens to spell.
            except Exception as error:
                reason = str(error) if isinstance(error, Refused) else type(error).__name__
                raise InputError(
                    f"{path} is damaged or no model of Stable-Baselines3 ({reason}): {_WAY_OUT}"
                ) from None
    if not isinstance(data, dict) or not tensors:
        raise InputError(f"{path} is no model of Stable-Baselines3: its contents are of no model")
    return data, tensors


def _contents(
    archive: zipfile.ZipFile, wanted: Callable[[str], bool], path: str | Path
) -> tuple[Any, dict[str, Any]]:
    data = json.loads(read_member(archive, "data"))
    members = {
        member.rpartition(".")[0]: member
        for member in archive.namelist()
        if member.endswith((_TENSORS, _OWN_TENSORS))
    }
    tensors = {}
    for name, member in members.items():
        if not wanted(name):
            continue
        content = read_member(archive, member)
        if content.startswith(_BEFORE_1_6):
            raise OldTensorsError(path)
        tensors[name] = load_tensors(content)
    return data, tensors


def is_policy(name: str) -> bool:
    """Whether tensors of this name in a model's archive are of a policy."""
    return name in ("policy", "average")


def acting_state(tensors: Mapping[str, Any]) -> Any:
    """Return the parameters of the policy that a saved model acts by, ``None`` if it has none.

    Args:
        tensors: As :func:`read_model_parts` returns them.
    """
    average = tensors.get("average")  # of GAIL's policy, once it has been trained
    if isinstance(average, dict) and average.get("steps"):
        return average.get("model")
    return tensors.get("policy")


def with_own_tensors(archive: bytes, own: Collection[str], *, hidden: bool) -> bytes:
    """Return a model's archive with some of its tensors under names that SB3 passes over, or back.

    Args:
        archive: What SB3's ``save`` has made, or what this function has.
        own: The tensors, by their name in the archive (``discriminator``).
        hidden: Whether SB3's ``load`` is to pass over them.
    """
    of, to = (_TENSORS, _OWN_TENSORS) if hidden else (_OWN_TENSORS, _TENSORS)
    renamed = {name + of: name + to for name in own}
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(target, "w") as after:
        for member in before.namelist():
            after.writestr(renamed.get(member, member), read_member(before, member))
    return target.getvalue()


class _Class(Named):
    """A known class; an object of it is made once its state has been read."""

    def __init__(self, make: Callable[[dict[str, Any]], Any] | None, value: Any = None) -> None:
        self.make = make
        self.value = value

    def new(self) -> Shell:
        if self.make is None:
            raise Refused("an object that only unpickling makes")
        return _Object(self.make)


class _LeftOut(Shell):
    """What is read over, whatever its state."""

    def set_state(self, state: Any) -> None:
        """Pass over it."""


def _left_out(*arguments: Any) -> _LeftOut:
    return _LeftOut()


class _Object(Shell):
    def __init__(self, make: Callable[[dict[str, Any]], Any]) -> None:
        self.make = make
        self.state: Any = None

    def set_state(self, state: Any) -> None:
        self.state = state


def _table(known: Mapping[tuple[str, str], type]) -> Table:
    classes = {
        name: _Class(_constructor(kind) if dataclasses.is_dataclass(kind) else None, kind)
        for name, kind in known.items()
    }
    spaces = {name: _Class(make) for name, make in SPACES.items()}
    schedules = {
        ("stable_baselines3.common.utils", "FloatSchedule"): _Class(_inner_schedule),
        ("stable_baselines3.common.utils", "ConstantSchedule"): _Class(_constant),
        ("stable_baselines3.common.utils", "LinearSchedule"): _Class(_linear),
    }
    others: Table = {("collections", "deque"): _deque, **dict.fromkeys(_GENERATORS, _left_out)}
    return {**NUMPY_TABLE, **others, **spaces, **schedules, **classes}


def _constructor(kind: type) -> Callable[[dict[str, Any]], Any]:
    def make(state: dict[str, Any]) -> Any:
        return kind(**state)

    return make


def _constant(state: dict[str, Any]) -> float:
    return float(state["val"])


def _linear(state: dict[str, Any]) -> LinearSchedule:
    parts = [state[name] for name in ("start", "end", "end_fraction")]
    if not all(isinstance(part, (int, float)) for part in parts):
        raise Refused("a schedule that is not of numbers")
    return LinearSchedule(*parts)


def _inner_schedule(state: dict[str, Any]) -> float | LinearSchedule:
    value = state["value_schedule"]
    if not isinstance(value, (float, LinearSchedule)):
        raise Refused("a schedule of another kind than constant or linear")
    return value


def _deque(items: Any, length: Any = None) -> list[Any]:
    if items != ():
        raise Refused("a deque of an unusual form")
    return []


def _unpickled(text: str, table: Table) -> Any:
    content, _ = read_plain(base64.b64decode(text, validate=True), table)
    return _resolved(content, {})


def _resolved(value: Any, made: dict[int, Any]) -> Any:
    """The value with objects in place of what stands for them; each is made once."""
    if isinstance(value, list):
        return [_resolved(part, made) for part in value]
    if isinstance(value, tuple):
        return tuple(_resolved(part, made) for part in value)
    if isinstance(value, dict):
        return {key: _resolved(part, made) for key, part in value.items()}
    if isinstance(value, Shell):
        if id(value) not in made:
            made[id(value)] = _UNFINISHED
            made[id(value)] = _object(value, made)
        if made[id(value)] is _UNFINISHED:
            raise Refused("an object that holds itself")
        return made[id(value)]
    if callable(value):
        raise Refused("a function")
    return value


_UNFINISHED = object()


def _object(shell: Shell, made: dict[int, Any]) -> Any:
    if isinstance(shell, _Object):
        state = _resolved(shell.state, made)
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise Refused("an object without a state")
        return shell.make(state)
    if isinstance(shell, _LeftOut):
        return None
    if isinstance(shell, (PickledArray, PickledDType, _Class)) and shell.value is not None:
        return shell.value
    raise Refused("something that only unpickling makes")
