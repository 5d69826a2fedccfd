"""Tables of named parts: losses, optimizers, schedules, initializers and layers.

Strings in the API, choices on the command line, headers of model files and test cases all use these
tables, so a new entry is available everywhere. Names from other libraries are understood, and
errors for misspelt names and arguments suggest the correct one.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from .errors import InputError, InputTypeError, counted, did_you_mean

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# Groups of arguments with the same meaning; the first one that a function has is suggested.
_SYNONYMS = (
    ("learning_rate_init", "learning_rate", "start", "peak", "lr", "rate", "eta", "step_size"),
    ("epochs", "max_iter", "n_epochs", "num_epochs", "nb_epoch", "n_iter"),
    ("random_state", "seed"),
    ("epsilon", "eps"),
    ("weight_decay", "decay", "wd"),
    ("beta1", "beta_1", "betas"),
    ("beta2", "beta_2"),
    ("rho", "decay_rate"),
    ("clip_norm", "gradient_clip", "clipnorm", "max_grad_norm", "grad_clip"),
    ("n_in", "in_features", "input_dim", "input_shape", "in_dim"),
    ("n_out", "units", "out_features", "out_dim", "n_units"),
    ("initializer", "kernel_initializer", "weight_init", "init"),
    ("rate", "p", "dropout", "drop_rate", "prob"),
    ("negative_slope", "alpha", "slope"),
    ("validation_data", "validation", "eval_set", "X_val"),
    ("callbacks", "callback"),
    (
        "gradient_accumulation_steps",
        "accumulate_grad_batches",
        "accumulate",
        "accumulation_steps",
        "grad_accum_steps",
    ),
    ("progress", "verbose"),
    ("n_threads", "n_jobs", "num_threads"),
    ("hidden_layer_sizes", "hidden", "hidden_sizes", "hidden_units"),
    ("solver", "optimizer"),
    ("alpha", "l2"),
    ("scale", "std", "stddev", "sigma"),
)


def checked_keywords(target: F) -> F:
    """Decorator: errors for unknown keyword arguments suggest the one that may be meant.

    For a class, it checks the constructor. Signatures, annotations and docstrings do not change.
    """
    if isinstance(target, type):
        if "__init__" in vars(target):
            target.__init__ = _checked(target.__init__, "")  # type: ignore[misc]
        return target
    return _checked(target, target.__qualname__)  # type: ignore[return-value]


def _checked(function: Callable[..., Any], where: str) -> Callable[..., Any]:
    known = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        for word in kwargs:
            if word not in known:
                raise _unknown_argument(where or type(self).__name__, word, known[1:])
        return function(self, *args, **kwargs)

    return checked


def _unknown_argument(where: str, word: str, known: tuple[str, ...]) -> InputTypeError:
    groups = [group for group in _SYNONYMS if word in group]
    meant = [name for group in groups for name in group if name in known]
    fallback = f"it has {', '.join(known)}" if known else "it has none"
    advice = did_you_mean(meant[0] if meant else word, known, fallback, quoted=False)
    return InputTypeError(where, "only arguments that it has", word, advice)


def specification(value: Any) -> Any:
    """A named part as plain data, `{"name": ..., field: ...}`; other values unchanged."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        return {
            "name": getattr(value, "name", ""),
            **{key: specification(v) for key, v in fields.items()},
        }
    if isinstance(value, tuple):
        return [specification(v) for v in value]
    if isinstance(value, Mapping):
        return {key: specification(v) for key, v in value.items()}
    return value


@functools.cache
def _options(cls: Any) -> tuple[str, ...]:
    """Names of the fields that the constructor of a part sets."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return tuple(f.name for f in fields if f.init)


def only_number(part: Any) -> float:
    """The option that a part passes to its rule: its only field, or 0 if there is none."""
    values = [getattr(part, name) for name in _options(part.__class__)]
    if not values:
        return 0.0
    if len(values) > 1 or not isinstance(values[0], int | float | np.number):
        name = type(part).__name__
        got = counted(len(values), "field") if len(values) > 1 else type(values[0]).__name__
        raise InputTypeError(
            f"{name}.option", "one number as the only field", got,
            "define a property option, which returns the number for the rule",
        )  # fmt: skip
    return float(values[0])


class Registry(Generic[T]):
    """A table from names to classes.

    Parameters
    ----------
    kind : str
        What the parts are, for errors: "loss", "optimizer".
    other_names : mapping of str to str, optional
        Other names in common use, with the registered name of each.
    check : callable, optional
        Called with an object of a user-defined class; raises if it cannot work.
    """

    def __init__(
        self,
        kind: str,
        other_names: Mapping[str, str] | None = None,
        check: Callable[[Any], None] | None = None,
    ) -> None:
        self.kind, self.other_names, self._check = kind, dict(other_names or {}), check
        self._classes: dict[str, type[T]] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator: register the class under its `name`, and check its keywords."""
        self.add(cls)
        return checked_keywords(cls)

    def add(self, cls: type[T]) -> None:
        """Register a class unchanged under its `name`."""
        self._classes[cls.name] = cls  # type: ignore[attr-defined]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._classes)

    def __contains__(self, cls: object) -> bool:
        return self._classes.get(getattr(cls, "name", "")) is cls  # fast: a fit calls it often

    def __iter__(self) -> Iterator[type[T]]:
        return iter(self._classes.values())

    def resolve(self, name: str) -> str:
        """The registered name for a name, or the name itself if it is unknown.

        Case, hyphens, underscores and the kind at the end do not matter: "ReLU" is "relu",
        "HuberLoss" is "huber".
        """
        if name in self._classes:
            return name
        meant = {self._key(word): word for word in self._words()}.get(self._key(name), name)
        return self.other_names.get(meant, meant)

    def _words(self) -> Iterable[str]:
        """All names that are understood; if two are equivalent, the registered one is last."""
        return [*self.other_names, *self._classes]

    def _key(self, name: str) -> str:
        return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix(self.kind)

    def __getitem__(self, name: str) -> type[T]:
        found = self.resolve(name) if isinstance(name, str) else name
        if found not in self._classes:
            choices = ", ".join(sorted(self._classes))
            advice = did_you_mean(str(name), self._words(), "check the spelling")
            raise InputError(self.kind, f"one of {choices}", repr(name), advice)
        return self._classes[found]

    def make(self, value: Any, base: type) -> Any:
        """The object for a name, a specification or an instance of `base`."""
        if isinstance(value, str):
            return self[value]()
        if isinstance(value, dict) and "name" in value:
            fields = {key: v for key, v in value.items() if key != "name"}
            return self[value["name"]](**fields)
        if isinstance(value, base):
            if self._check is not None and type(value) not in self:
                self._check(value)
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
