"""Kernels that a program calls by address: only those that it uses are compiled, independently.

An interface defines the arguments of all kernels of one kind. A program's records hold the
addresses of its kernels as numbers, which compiled code calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numba
import numpy as np
from numba import TypingError, types
from numba.extending import intrinsic

from ...errors import InputTypeError
from .cache import cache_of, compiling, is_compiled
from .jit import JIT_ENABLED, jit
from .numba_internals import address_of_code, cgutils, compile_alone, load_code
from .own_rule import OwnRule


class NumberType:
    """Placeholder in an interface for a number of the network's type."""


ONE = NumberType()
_interpreted: dict[int, Callable[..., Any]] = {}  # interpreted kernels by their "addresses"


def _cast(context: Any, builder: Any, value: Any, before: Any, after: Any) -> Any:
    """Cast an argument to the kernel's type; numba does not cast named tuples."""
    if not isinstance(after, types.BaseNamedTuple):
        return context.cast(builder, value, before, after)
    if getattr(before, "instance_class", None) is not after.instance_class:
        wrong = TypingError(f"a kernel takes {after}, not {before}")
        raise wrong
    fields = zip(cgutils.unpack_tuple(builder, value), before, after, strict=True)
    return context.make_tuple(builder, after, [context.cast(builder, *field) for field in fields])


class Interface:
    """The arguments of one kind of kernel, given by examples of them.

    Parameters
    ----------
    examples : int, float, bool, NamedTuple of these, numba type, or ONE
        `ONE` is a number of the network's type, which tells kernels that type.
    """

    def __init__(self, *examples: Any) -> None:
        self._examples = examples
        self.call = self._caller()

    def signature(self, one: Any) -> tuple[Any, ...]:
        """Types of the arguments if numbers of the network have the type `one`."""
        return tuple(
            one if given is ONE else given if isinstance(given, types.Type) else numba.typeof(given)
            for given in self._examples
        )

    def _caller(self) -> Any:
        """The intrinsic that calls a kernel: `call(address, (argument, ...))`."""
        if not JIT_ENABLED:
            return lambda address, args: _interpreted[address](*args) and None

        @intrinsic
        def call(typingctx, address, args):
            kinds = self.signature(args.types[-1])

            def codegen(context, builder, signature, given):
                function_type = context.call_conv.get_function_type(types.none, kinds)
                function = builder.inttoptr(given[0], function_type.as_pointer())
                values = [
                    _cast(context, builder, value, before, after)
                    for value, before, after in zip(
                        cgutils.unpack_tuple(builder, given[1]), args.types, kinds, strict=True
                    )
                ]
                # Kernels return nothing, and raise only if bounds are checked.
                status, _ = context.call_conv.call_function(
                    builder, function, types.none, kinds, values
                )
                if numba.config.BOUNDSCHECK:
                    with cgutils.if_unlikely(builder, status.is_error):
                        context.call_conv.return_status_propagate(builder, status)
                return context.get_dummy_value()

            return types.none(address, args), codegen

        return call

    def kernel(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        own: OwnRule | None = None,
    ) -> Kernel:
        """A kernel of this kind; `name` distinguishes kernels that are made by the same code."""
        return Kernel(function, self, name, own)


class Kernel:
    """A function that is compiled, or loaded from the cache, when its address is needed.

    It can also be called from Python; for that it is compiled separately.

    Attributes
    ----------
    every : list of Kernel
        All built-in kernels that were made in this process.
    own : OwnRule or None
        The user-defined rule that it is made from.
    made_by : tuple
        For pickles: a function and its arguments, which recreate a user-defined kernel.
    loaded : dict
        For each number type that it has an address for: whether the code came from the cache.
    """

    every: ClassVar[list[Kernel]] = []

    def __init__(
        self,
        function: Callable[..., Any],
        interface: Interface,
        name: str | None = None,
        own: OwnRule | None = None,
    ) -> None:
        if own is None:
            Kernel.every.append(self)
        else:
            name = f"{name}_{own.mark}"
            function.__dict__["stamp"] = own.stamp
        if name is not None:
            function.__name__ = function.__qualname__ = name
        self.own, self.made_by, self._looked_at = own, tuple[Any, ...](), set[np.dtype]()
        self.interface, self.called = interface, jit(function)
        self.loaded: dict[np.dtype, bool] = {}
        self._addresses: dict[np.dtype, int] = {}
        self._results: list[Any] = []  # they own the code, so they must stay alive
        self._cache = cache_of(function, ".address") if JIT_ENABLED else None

    def __call__(self, *args: Any) -> None:
        if self.own is not None:
            self._check_own(np.dtype(type(args[-1])))
        self.called(*args)

    def __reduce__(self) -> Any:
        """A user-defined kernel is recreated; one of the package is found by its name."""
        return self.made_by or super().__reduce__()

    def _check_own(self, dtype: np.dtype) -> None:
        """Check a user-defined rule, unless a kernel with it has been compiled before."""
        if self.own is not None and dtype not in self._looked_at:
            if not (JIT_ENABLED and is_compiled(self.called, dtype)):
                self.own.check(dtype)
            self._looked_at.add(dtype)

    def address(self, dtype: np.dtype) -> int:
        """Address of its code for a number type; it is valid as long as the process runs."""
        if dtype not in self._addresses:
            self._addresses[dtype] = self._load(dtype) if JIT_ENABLED else self._enlist(dtype)
        return self._addresses[dtype]

    def is_compiled(self, dtype: np.dtype) -> bool:
        """Whether its code for a number type exists already."""
        if not JIT_ENABLED or dtype in self._addresses:
            return True
        return self._cache is not None and self._signature(dtype) in self._cache.kept()

    def _signature(self, dtype: np.dtype) -> tuple[Any, ...]:
        return self.interface.signature(numba.from_dtype(dtype))

    def _enlist(self, dtype: np.dtype) -> int:
        if self.own is not None:
            self.own.check(dtype)
        _interpreted[len(_interpreted) + 1] = self.called
        return len(_interpreted)

    def _load(self, dtype: np.dtype) -> int:
        signature, cache = self._signature(dtype), self._cache
        with compiling(cache, signature):
            result = cache and load_code(cache, signature)
            self.loaded[dtype] = result is not None
            if result is None:
                if self.own is not None:
                    self.own.check(dtype)
                result = compile_alone(self.called, signature)
                if cache is not None:
                    cache.save_overload(signature, result)
        self._results.append(result)
        return address_of_code(result)


def check_declared(cls: type, interface: Interface, maker: str) -> None:
    """Refuse a class whose body names a kernel of another kind.

    Parameters
    ----------
    cls : type
        The class of a user-defined or built-in part.
    interface : Interface
        The interface of the kernels of such parts.
    maker : str
        The function that makes such kernels, for the advice.

    Raises
    ------
    InputTypeError
        If `kernel` is a kernel of another kind, or a plain function.
    """
    kernel = vars(cls).get("kernel")
    if kernel is None or isinstance(kernel, property):
        return
    if not isinstance(kernel, Kernel) or kernel.interface is not interface:
        got = "one of another kind" if isinstance(kernel, Kernel) else type(kernel).__name__
        raise InputTypeError(
            f"{cls.__name__}.kernel", "a compiled rule", got, f"write kernel = {maker}(rule)"
        )
