"""The one exception that means "the input is wrong", as opposed to "the program is"."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """A wrong input, described in one line that says what is wrong and what to do.

    Raised before any work starts: unreadable demonstrations, an unknown environment, a data
    folder that is not one.  The scripts print the message alone and exit with status 2; in a
    library call it is an ordinary ``ValueError``.
    """
