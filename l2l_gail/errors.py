"""The exception that means "the input is wrong", as opposed to "the program is"."""

from __future__ import annotations

__all__ = ["MISFITS", "InputError", "TakenError", "one_line", "printable"]

MISFITS = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
    *(RuntimeError, AssertionError, MemoryError),
)
"""What is raised by whatever is built from values of another kind, length or size."""


_LONGEST_MESSAGE = 2000


class InputError(ValueError):
    """A wrong input, described in one line that says what is wrong and what to do.

    Raised before any work starts: unreadable demonstrations, an unknown environment, a data
    folder that is not one.  The scripts print the message alone and exit with status 2; in a
    library call it is an ordinary ``ValueError``.

    Messages quote names and values out of files, so the message is made :func:`printable`: no file
    can move the cursor, colour the terminal or fill the screen.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message, limit=_LONGEST_MESSAGE))


class TakenError(InputError):
    """What is asked for is in the hands of another process: nothing is wrong with the input."""


def printable(text: str, *, limit: int | None = None) -> str:
    r"""Text that shows on a terminal as what it is, in one line.

    Control characters (escape sequences begin with one), characters that reverse the direction of
    writing, and bytes that are no text are written as ``\x1b``, ``\u202e`` and the like; line
    breaks and tabs become blanks.

    Args:
        text: Anything, for instance a name out of a file.
        limit: Longest result in characters, more being cut out of its middle; None for no limit.
    """
    shown = "".join(
        " " if char in "\n\r\t" else char if char.isprintable() else _escaped(char) for char in text
    )
    if limit is not None and len(shown) > limit:
        shown = f"{shown[: limit // 2]} ... {shown[-(limit // 4) :]}"
    return shown


def one_line(error: BaseException) -> str:
    """Return what an exception says in one line; its class's name if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def _escaped(char: str) -> str:
    # Blanks of other widths are not printable to Python but harmless; the rest is spelled out.
    return " " if char.isspace() and ord(char) > 0x9F else ascii(char)[1:-1]
