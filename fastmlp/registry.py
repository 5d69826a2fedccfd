"""Things with a name: losses, optimizers, schedules, initializers and layers, each in one table.

Strings in the API, choices on the command line, headers of model files and the cases of the tests
all come from these tables, so a new entry is known everywhere at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from .errors import InputError, InputTypeError

T = TypeVar("T")


def specification(value: Any) -> Any:
    """A named thing as plain data, `{"name": ..., field: ...}`; other values as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return {
            "name": getattr(value, "name", ""),
            **{key: specification(v) for key, v in fields.items()},
        }
    if isinstance(value, tuple):
        return [specification(v) for v in value]
    return value


class Registry(Generic[T]):
    """A table from names to classes.

    Parameters
    ----------
    kind : str
        What the things are, as errors call them: "loss", "optimizer".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator: enter the class under its attribute `name`."""
        self._classes[cls.name] = cls  # type: ignore[attr-defined]
        return cls

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._classes)

    def __iter__(self) -> Iterator[type[T]]:
        return iter(self._classes.values())

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes:
            choices = ", ".join(sorted(self._classes))
            raise InputError(self.kind, f"one of {choices}", repr(name), "check the spelling")
        return self._classes[name]

    def make(self, value: Any, base: type) -> Any:
        """The thing itself from a name, a specification or an instance of `base`."""
        if isinstance(value, str):
            return self[value]()
        if isinstance(value, dict) and "name" in value:
            fields = {key: v for key, v in value.items() if key != "name"}
            return self[value["name"]](**fields)
        if isinstance(value, base):
            return value
        expected = f"a name or an object of fastmlp's {base.__name__}"
        if isinstance(value, type):
            name = value.__name__
            raise InputTypeError(self.kind, expected, f"the class {name}", f"pass {name}()")
        raise InputTypeError(
            self.kind,
            expected,
            type(value).__name__,
            f"use one of {', '.join(sorted(self._classes))}, or derive a class of your own",
        )
