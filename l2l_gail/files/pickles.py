"""Pickles as data: lists, dicts, text and numbers, and the few objects that a reader knows.

Unpickling runs what a file names.  Here a file's names are looked up in a table that the reader
gives; nothing is imported, no object gets a state that its reader did not check, and what would
take time or memory out of proportion is refused.  The machine is the standard library's own, the
one in Python, with most of its instructions taken out.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

__all__ = ["Builder", "Named", "Refused", "Shell", "Table", "encode", "read_plain"]

_MOST_STEPS = 2_000_000
_DEEPEST = 100
_KEYS = (str, bytes, int, float, type(None))


class Refused(ValueError):
    """A pickle that is more than data, or too much of it."""


class Shell:
    """Stands for an object in a pickle; built by a table's function, and given its state here."""

    def set_state(self, state: Any) -> None:
        """Take what the pickle would write into the object.

        Raises:
            Refused: Unless overridden.
        """
        raise Refused(f"a {type(self).__name__.lstrip('_').lower()} with a state")


class Named(Shell):
    """Stands for a class that a pickle names."""

    def new(self) -> Shell:
        """An object of the class, still without a state.

        Raises:
            Refused: Unless overridden.
        """
        raise Refused("an object of a class that is only named")


Builder: TypeAlias = Callable[..., Any]
Table: TypeAlias = Mapping[tuple[str, str], Builder | Shell]
"""What stands for a module's name: a function to call, or a thing that is only passed on."""


def read_plain(
    data: bytes, table: Table, persistent: Callable[[Any], Any] | None = None
) -> tuple[Any, int]:
    """Read a pickle, protocols 0 to 5, Python 2's included (text as Latin-1).

    Args:
        data: The pickle.
        table: What its names stand for. A builder is called with the arguments in the file and
            must expect anything.
        persistent: Builds what the file refers to by a persistent id; None refuses such.

    Returns:
        What it holds, and how many bytes it took.

    Raises:
        Refused: It is more than plain data. A damaged pickle raises other exceptions too.
    """
    file = io.BytesIO(data)
    content, steps = _Machine(file, table, persistent).run()
    _check_shape(content, 10 * steps + 1000)
    return content, file.tell()


def encode(text: Any, encoding: Any) -> bytes:
    """``_codecs.encode``: how Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("bytes in an unusual encoding")
    return text.encode("latin-1")


def _check_shape(content: Any, most: int) -> None:
    """Refuse what a walk would not come to the end of: shared parts count as often as they show."""
    level: list[Any] = [content]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, (list, tuple)):
                inner += part
            elif isinstance(part, dict):
                inner += part.keys()
                inner += part.values()
            if len(inner) > most:
                raise Refused("parts that repeat without end")
        if not inner:
            return
        most -= len(inner)
        level = inner
    raise Refused("parts nested too deep")


# In Python, as opposed to `pickle.Unpickler`; its attributes are not in the type stubs.
_Unpickler: Any = pickle._Unpickler


class _Machine(_Unpickler):
    """The unpickler in Python, which cannot crash the interpreter as the one in C can."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {}

    def __init__(
        self, file: io.BytesIO, table: Table, persistent: Callable[[Any], Any] | None
    ) -> None:
        super().__init__(file, encoding="latin1")
        self.steps = 0
        self.table = table
        self.persistent = persistent

    def run(self) -> tuple[Any, int]:
        return self.load(), self.steps

    def find_class(self, module: str, name: str) -> Builder | Shell:
        try:
            return self.table[module, name]
        except KeyError:
            raise Refused(f"it wants to run {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        if self.persistent is None:
            raise Refused("a reference to something outside")
        return self.persistent(pid)

    def reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not callable(function) or not isinstance(arguments, tuple):
            raise Refused("a call of something that is no function")
        self.stack[-1] = function(*arguments)

    def new_object(self) -> None:
        arguments = self.stack.pop()
        if arguments != () or not isinstance(self.stack[-1], Named):
            raise Refused("an object of an unknown class")
        self.stack[-1] = self.stack[-1].new()

    def build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Shell):
            raise Refused(f"a {type(self.stack[-1]).__name__} with a state")
        self.stack[-1].set_state(state)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def set_items(self) -> None:
        self._fill(self.pop_mark())

    def dict_of_items(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._fill(items)

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        # To hash a tuple of tuples of tuples can take for ever.
        if not isinstance(target, dict) or any(type(key) not in _SIMPLE for key in items[::2]):
            raise Refused("a dict whose keys are no text or numbers")
        target.update(zip(items[::2], items[1::2], strict=True))

    def add(self) -> None:
        value = self.stack.pop()
        self._list().append(value)

    def add_many(self) -> None:
        values = self.pop_mark()
        self._list().extend(values)

    def _list(self) -> list[Any]:
        if type(self.stack[-1]) is not list:
            raise Refused(f"a {type(self.stack[-1]).__name__} where a list belongs")
        return self.stack[-1]

    def bytes_array(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        content = self.read(min(size, 1 << 40))  # reads what is there; room is not made before
        if len(content) != size:
            raise Refused("it ends too early")
        self.stack.append(content)


_SIMPLE = frozenset(_KEYS) | {bool}

_TAKEN_OVER = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 "
    "LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 "
    "TUPLE2 TUPLE3 EMPTY_LIST LIST EMPTY_DICT GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT "
    "MEMOIZE GLOBAL STACK_GLOBAL PERSID BINPERSID"
).split()
_OWN = {
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "DICT": _Machine.dict_of_items,
    "APPEND": _Machine.add,
    "APPENDS": _Machine.add_many,
    "BYTEARRAY8": _Machine.bytes_array,
}


def _counted(instruction: Callable[[Any], None]) -> Callable[[Any], None]:
    def step(machine: Any) -> None:
        machine.steps += 1
        if machine.steps > _MOST_STEPS:
            raise Refused("it is too long")
        instruction(machine)

    return step


def _refused(machine: Any) -> None:
    raise Refused("it holds more than plain data")


def _instructions() -> dict[int, Callable[[Any], None]]:
    theirs: dict[int, Callable[[Any], None]] = _Unpickler.dispatch
    everything = dict.fromkeys(theirs, _refused)
    inherited = {code: theirs[code] for name in _TAKEN_OVER for code in getattr(pickle, name)}
    own = {code: act for name, act in _OWN.items() for code in getattr(pickle, name)}
    return {code: _counted(act) for code, act in {**everything, **inherited, **own}.items()}


_Machine.dispatch = _instructions()
