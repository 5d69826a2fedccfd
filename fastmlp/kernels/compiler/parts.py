"""Kernels within kernels: optimised and translated once, as a part of the one that Python calls.

numba would do that for each kernel by itself, with all that it calls, and once more for each of its
callers: the innermost loops went through LLVM a dozen times, and half of the wait for the compiler
was for machine code that nobody runs.
"""

from __future__ import annotations

from typing import Any

from .numba_internals import arguments_of, compile_part, folded, template_of


class Parts:
    """What a kernel is to others that call it, in place of what numba would tell them.

    Parameters
    ----------
    dispatcher : numba's dispatcher
        The kernel as Python calls it.
    """

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self.compiled: dict[tuple[Any, ...], Any] = {}
        dispatcher.parts = self
        dispatcher.get_call_template = self._call_template
        dispatcher.get_overload = self._overload

    def returns(self, args: tuple[Any, ...]) -> Any:
        """The type of what the kernel returns for arguments of such types."""
        if args not in self.compiled:
            self.compiled[args] = compile_part(self._dispatcher, args)
        return self.compiled[args].signature.return_type

    def _call_template(self, args: Any, keywords: Any) -> tuple[Any, Any, tuple[Any, ...], Any]:
        """For a call with arguments of such types: what it returns, and how they are passed.

        numba asks this before it translates a call.
        """
        python_signature, types_in_order = folded(self._dispatcher, args, keywords)
        self.returns(types_in_order)
        signatures = [result.signature for result in self.compiled.values()]
        template = template_of(self._dispatcher.py_func.__name__, signatures)
        return template, python_signature, types_in_order, {}

    def _overload(self, signature: Any) -> Any:
        """What the compiler knows the code for such types by."""
        return self.compiled[arguments_of(signature)].library
