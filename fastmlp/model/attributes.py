"""Attributes that users may set: to a checked value, by copying numbers, or not at all.

Compiled code holds addresses of an object's arrays, so an assignment never replaces that memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import numpy as np

from ..errors import InputError
from ..inputs import checks

T = TypeVar("T")


class Attribute(Generic[T]):
    """Base of the descriptors below: the value is stored under `key`, "_" and the name."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.key = name, "_" + name

    def place(self, owner: Any) -> str:
        """The attribute's name in errors."""
        return f"{type(owner).__name__}.{self.name}"

    @overload
    def __get__(self, owner: None, cls: type) -> Attribute[T]: ...

    @overload
    def __get__(self, owner: object, cls: type) -> T: ...

    def __get__(self, owner: Any, cls: type) -> Any:
        if owner is None:
            return self
        try:
            return owner.__dict__[self.key]
        except KeyError:
            raise AttributeError(self.place(owner)) from None


class Fixed(Attribute[T]):
    """An attribute that only its owner can change."""

    def __init__(self, doc: str, advice: str) -> None:
        super().__init__(doc)
        self.advice = advice

    def __set__(self, owner: Any, value: Any) -> None:
        expected = "an attribute that is only read"
        raise FixedError(self.place(owner), expected, "a new value", self.advice)


class FixedError(InputError, AttributeError):
    """An attribute cannot be set."""


class Checked(Attribute[T]):
    """An attribute that keeps what `check(owner, where, value)` returns for a new value."""

    def __init__(self, doc: str, check: Callable[[Any, str, Any], T]) -> None:
        super().__init__(doc)
        self.check = check

    def __set__(self, owner: Any, value: Any) -> None:
        vars(owner)[self.key] = self.check(owner, self.place(owner), value)


class Numbers(Attribute[np.ndarray]):
    """An array that keeps its memory: assigned numbers (same shape, or one) are copied in."""

    def __set__(self, owner: Any, value: Any) -> None:
        checks.assign(self.place(owner), vars(owner)[self.key], value)


class Views(dict[str, np.ndarray]):
    """Arrays by name that cannot be replaced: an assignment writes numbers into the array.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.model.attributes import Views
    >>> views = Views(b=np.zeros(2))
    >>> views["b"][...] = 1
    >>> views["b"]
    array([1., 1.])
    """

    def __setitem__(self, name: str, value: Any) -> None:
        raise FixedError(
            f"parameter {name!r}", "an array that stays in place", "another one",
            f"copy numbers into it: parameters[{name!r}][...] = values",
        )  # fmt: skip

    def _refuse(self, *args: Any, **keywords: Any) -> Any:
        raise FixedError(
            "parameters", "names and arrays that stay", "a change of the dictionary",
            "copy numbers into the arrays",
        )  # fmt: skip

    __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return Views, (dict(self),)
