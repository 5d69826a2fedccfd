"""All errors that users can cause, in one form: `where: expected this, got that; do so`.

Checks of users' input raise them; the command line prints them as one line and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module
from typing import Any


class InputError(ValueError):
    """Something passed to fastmlp cannot be used.

    Parameters
    ----------
    where : str
        The function, parameter or file at fault.
    expected, got : str
        What was needed and what was passed: shapes, types and counts, never an array's contents.
    advice : str
        What the user can do about it.

    Examples
    --------
    >>> from fastmlp import InputError
    >>> print(InputError("Network.fit", "X with 64 columns", "32 columns", "select other columns"))
    Network.fit: expected X with 64 columns, got 32 columns; select other columns
    """

    def __init__(self, where: str, expected: str, got: str, advice: str) -> None:
        super().__init__(where, expected, got, advice)
        self.where, self.expected, self.got, self.advice = where, expected, got, advice

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.got}; {self.advice}"


class InputTypeError(InputError, TypeError):
    """An argument is of a type that cannot be used."""


class FileError(InputError, OSError):
    """A file is missing, unreadable, truncated or not of the kind that its name says."""


def counted(number: int, thing: str) -> str:
    """A count with its noun in singular or plural: "1 column", "2 columns"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def did_you_mean(name: str, known: Iterable[str], otherwise: str, quoted: bool = True) -> str:
    """Advice for an unknown name: the closest known one, or else `otherwise`."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    if not close:
        return otherwise
    return f"did you mean {close[0]!r}?" if quoted else f"did you mean {close[0]}?"


def require(module: str, where: str) -> Any:
    """Import a module of an optional package, or raise an error that says how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InputError(
            where, f"the package {package}", "none", f"run: pip install {package}"
        ) from error
