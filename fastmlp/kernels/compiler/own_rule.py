"""User-defined rules: compiled like built-in ones, or refused with a one-line error.

A rule is identified by a stamp, a hash of its code and of everything it uses. So a changed rule is
compiled again, and rules of the same name do not collide. Plain functions that a rule calls are
compiled with it.
"""

from __future__ import annotations

import builtins
import contextlib
import dis
import hashlib
import linecache
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from ...errors import InputError, InputTypeError
from .jit import JIT_ENABLED, rule
from .numba_internals import Dispatcher

_LIBRARIES = sys.stdlib_module_names | {"numpy", "numba", "scipy", "fastmlp"}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)
_ADVICE = "compute with numbers, math, and plain functions of numbers only"
_MOST_LETTERS = 120  # of numba's message that are quoted in an error
_SAMPLES = (-1.5, -0.25, 0.5, 2.0)  # arguments for trying out interpreted rules


class Call(NamedTuple):
    """How a rule is called, and what it must return.

    Attributes
    ----------
    where : str
        The function that made the kernel, such as "compiled_activation".
    n_numbers : int
        How many numbers the rule takes.
    names : type or None
        The NamedTuple class of a further, last argument, if there is one.
    returns : tuple of str
        Names of the numbers that it returns, for errors.
    """

    where: str
    n_numbers: int
    names: type[Any] | None
    returns: tuple[str, ...]


def _raises(function: FunctionType, seen: set[int]) -> bool:
    """Whether a function, or a plain function that it calls, has a `raise` or an `assert`.

    Kernels are called by address, so the exception would be lost.
    """
    seen.add(id(function))
    code, cells = function.__code__, filter(_is_full, function.__closure__ or ())
    if any(one.opname == "RAISE_VARARGS" for one in dis.get_instructions(code)):
        return True
    known = [function.__globals__.get(name) for name in _names(code)]
    parts = [getattr(part, "py_func", part) for part in known + [c.cell_contents for c in cells]]
    own = [part for part in parts if isinstance(part, FunctionType) and id(part) not in seen]
    return any(_raises(part, seen) for part in own if not _is_library(part.__module__))


class _Unknown(Exception):
    """A rule uses something whose content cannot be hashed."""


def _names(code: CodeType) -> Iterator[str]:
    """All names of globals and attributes in some code."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_full(cell: CellType) -> bool:
    """Whether the variable of a closure cell has a value yet."""
    with contextlib.suppress(ValueError):
        _ = cell.cell_contents
        return True
    return False


def _is_library(name: str | None) -> bool:
    return str(name).partition(".")[0] in _LIBRARIES


class _Reader:
    """Lists all parts of a function as words that are the same in every process."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._seen: dict[int, int] = {}

    def read(self, value: Any, names: frozenset[str] = frozenset()) -> None:
        """Add a value that a function uses; names: those it may look up in a module."""
        self.words.append(type(value).__qualname__)
        if isinstance(value, Dispatcher):
            value = value.py_func
        if isinstance(value, _PLAIN):
            self.words.append(repr(value))
        elif isinstance(value, tuple):
            for entry in value:
                self.read(entry)
        elif isinstance(value, frozenset):
            self.words.append(repr(sorted(map(repr, value))))
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            self.words += [str(value.dtype), str(value.shape), value.tobytes().hex()]
        elif isinstance(value, CodeType):
            self._code(value)
        elif isinstance(value, ModuleType):
            self._module(value, names)
        elif isinstance(value, type | np.ufunc | BuiltinFunctionType) or _is_library(
            getattr(value, "__module__", None)
        ):
            self._library(value)
        elif isinstance(value, FunctionType):
            self._function(value)
        else:
            raise _Unknown

    def _library(self, value: Any) -> None:
        module = getattr(value, "__module__", None) or "numpy"
        if not _is_library(module):
            raise _Unknown  # the content of a user-defined class is not known
        self.words += [module, getattr(value, "__qualname__", repr(value))]

    def _module(self, module: ModuleType, names: frozenset[str]) -> None:
        self.words.append(module.__name__)
        if _is_library(module.__name__):
            self.words.append(str(getattr(module, "__version__", "")))
            return
        for name in sorted(names & vars(module).keys()):
            self.read(vars(module)[name], names)

    def _code(self, code: CodeType) -> None:
        self.words += [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames)]
        self.words += [repr(code.co_freevars), repr(code.co_cellvars), str(code.co_flags)]
        for constant in code.co_consts:
            self.read(constant)

    def _function(self, function: FunctionType) -> None:
        if id(function) in self._seen:
            self.words.append(f"again {self._seen[id(function)]}")
            return
        self._seen[id(function)] = len(self._seen)
        self._code(function.__code__)
        self.read(function.__defaults__)
        self.read(tuple(sorted((function.__kwdefaults__ or {}).items())))
        names = frozenset(_names(function.__code__))
        for cell in function.__closure__ or ():
            self.read(cell.cell_contents, names)
        for name in sorted(names & function.__globals__.keys()):
            self.words.append(name)
            self.read(function.__globals__[name], names)


def stamp_of(*parts: Any) -> str | None:
    """A hash of functions and plain values; None if something in them cannot be hashed.

    Parameters
    ----------
    *parts : function, number, text or tuple of these
        What the code is made from.

    Returns
    -------
    str or None
        Hexadecimal, the same in every process.
    """
    reader = _Reader()
    try:
        for part in parts:
            reader.read(part)
    except (_Unknown, ValueError):  # an empty cell
        return None
    return hashlib.sha256("\n".join(reader.words).encode()).hexdigest()[:20]


class _Compiler:
    """Compiles copies of functions, with the plain functions that they call."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._made: dict[int, Any] = {}

    def compiled(self, function: FunctionType) -> Any:
        if id(function) in self._made:
            return self._made[id(function)]
        self._made[id(function)] = function  # the compiler refuses a function that calls itself
        names, known = set(_names(function.__code__)), function.__globals__
        used = {name: self._part(known[name]) for name in names & known.keys()}
        used |= {"__name__": known.get("__name__"), "__builtins__": builtins}
        cells = tuple(
            CellType(self._part(cell.cell_contents)) if _is_full(cell) else cell
            for cell in function.__closure__ or ()
        )
        name = re.sub(r"\W", "", function.__name__)
        copy = FunctionType(function.__code__, used, name, function.__defaults__, cells)
        copy.__qualname__, copy.__kwdefaults__ = f"{name}_{self._mark}", function.__kwdefaults__
        copy.__dict__["stamp"] = None  # its code is a part of kernels, and kept with them
        self._made[id(function)] = rule(copy)
        return self._made[id(function)]

    def _part(self, value: Any) -> Any:
        function = value.py_func if isinstance(value, Dispatcher) else value
        if isinstance(function, FunctionType) and not _is_library(function.__module__):
            return self.compiled(function)
        return value


class OwnRule:
    """A user-defined rule.

    Parameters
    ----------
    function : function
        Plain, or decorated by `numba.njit`, whose options are ignored.
    call : Call
        How kernels call it.
    *more : plain values
        What else its kernels are made from.

    Attributes
    ----------
    compiled : function
        The function that kernels call.
    stamp : str or None
        A hash of all its code; None if it cannot be hashed, and compiled code is not cached.
    mark : str
        Distinguishes it from all other rules in this process.
    """

    n_unknown = 0

    def __init__(self, function: Any, call: Call, *more: Any) -> None:
        self.function = getattr(function, "py_func", function)
        self.call, self.stamp = call, stamp_of(self.function, *more)
        self.name = re.sub(r"\W", "", self.function.__name__)
        if self.stamp is None:
            OwnRule.n_unknown += 1
        self.mark = self.stamp or f"unknown{OwnRule.n_unknown}"
        self.compiled = rule(self.function)
        if JIT_ENABLED:
            self.compiled = _Compiler(self.mark).compiled(self.function)
        self._checked: set[np.dtype] = set()

    @property
    def where(self) -> str:
        """Its name in errors."""
        return f"{self.call.where}({self.function.__name__})"

    def check(self, dtype: np.dtype) -> None:
        """Refuse a rule that cannot be compiled, or whose results its kernels cannot use.

        Parameters
        ----------
        dtype : numpy dtype
            The type of its numbers.

        Raises
        ------
        InputError
            Names the rule and, if known, the line at fault.
        """
        if dtype in self._checked:
            return
        found: list[tuple[bool, str]] | str = "a rule that raises errors, for which there is no way"
        if not _raises(self.function, set()):
            found = self._inferred(dtype) if JIT_ENABLED else self._tried(dtype)
        if isinstance(found, str):
            raise InputError(self.where, "a rule that can be compiled", found, _ADVICE)
        self._check_results(found)
        self._checked.add(dtype)

    def _check_results(self, found: Sequence[tuple[bool, str]]) -> None:
        """found: for each result, whether it is a floating-point number, and its type."""
        wanted = self.call.returns
        if len(found) != len(wanted):
            expected = f"{' and '.join(wanted)} as what it returns"
            got = "nothing" if found == [(False, "none")] else f"{len(found)} of {len(wanted)}"
            raise InputTypeError(self.where, expected, got, f"return {', '.join(wanted)}")
        for name, (is_real, kind) in zip(wanted, found, strict=True):
            if not is_real:
                advice = "return type(z)(1) or 1.0 rather than 1, say"
                raise InputTypeError(self.where, f"a float as the {name}", kind, advice)

    def _inferred(self, dtype: np.dtype) -> list[tuple[bool, str]] | str:
        """Result types of the compiled rule, or why it cannot be compiled."""
        one, names = numba.from_dtype(dtype), self.call.names
        args = [one] * self.call.n_numbers
        if names is not None:
            args.append(types.BaseTuple.from_types([one] * len(names._fields), names))
        try:
            returned = self.compiled.parts.returns(tuple(args))
        except Exception as error:  # numba raises errors of many types
            return _shortened(error)
        found = list(returned) if isinstance(returned, types.BaseTuple) else [returned]
        kinds = [types.unliteral(kind) for kind in found]
        return [(isinstance(kind, types.Float), str(kind)) for kind in kinds]

    def _tried(self, dtype: np.dtype) -> list[tuple[bool, str]] | str:
        """As `_inferred`, for an interpreted rule, which may fail for some numbers only."""
        found, failure, names = list[tuple[bool, str]](), "", self.call.names
        for value in _SAMPLES:
            args: list[Any] = [dtype.type(value)] * self.call.n_numbers
            if names is not None:
                args.append(names(*[dtype.type(abs(value) / 2)] * len(names._fields)))
            try:
                returned = self.compiled(*args)
            except Exception as error:
                failure = failure or f"{type(error).__name__}: {error}"
                continue
            results = returned if isinstance(returned, tuple) else (returned,)
            kinds = [
                (isinstance(result, float | np.floating), type(result).__name__)
                for result in results
            ]
            found = found if any(not is_real for is_real, _ in found) else kinds
        kinds = [(is_real, "none" if kind == "NoneType" else kind) for is_real, kind in found]
        return kinds or failure


def _shortened(error: Exception) -> str:
    """The line of numba's message that says what is wrong, and the line of the rule at fault."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    calls = [line.removeprefix(">>>").strip() for line in lines if line.startswith(">>>")]
    reasons = [line for line in lines if not line.startswith(("Failed in", "Overload", "- "))]
    what = f"no way to compute {calls[-1]}" if calls else "".join(reasons[:1])
    if "make_function" in what:
        what = "a function, a lambda or a comprehension inside it"
    what = what.partition(" Raised from")[0].rstrip(".:")[:_MOST_LETTERS]
    places = re.findall(r'File "([^"]*)", line (\d+)', text)
    if not places:
        return what or type(error).__name__
    file, number = places[-1]
    line = linecache.getline(file, int(number)).strip()
    return f"{what} in line {number}{f', {line!r}' if line else ''}"


def own_rule(function: Callable[..., Any], call: Call, *more: Any) -> OwnRule:
    """Make a rule from a function; anything else is refused.

    Parameters
    ----------
    function : function
        Plain, or decorated by `numba.njit`.
    call : Call
        How kernels call it.
    *more : plain values
        What else its kernels are made from.

    Returns
    -------
    OwnRule
        Not compiled yet.

    Raises
    ------
    InputTypeError
        If it is not a function.
    """
    if not isinstance(getattr(function, "py_func", function), FunctionType):
        raise InputTypeError(
            call.where, "a function as the rule", type(function).__name__,
            "pass a function of numbers, plain or decorated by numba.njit",
        )  # fmt: skip
    return OwnRule(function, call, *more)
