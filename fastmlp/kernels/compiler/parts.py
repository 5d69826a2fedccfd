"""Kernels that other kernels call: optimised and translated once, as a part of their callers.

numba would optimise each kernel separately, together with everything it calls, and again for each
of its callers. The innermost loops would go through LLVM a dozen times, and half of the compile
time would be spent on machine code that is never run.
"""

from __future__ import annotations

from typing import Any

from .numba_internals import arguments_of, compile_part, folded, template_of


class Parts:
    """How a kernel appears to kernels that call it; replaces numba's own description.

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
        """The kernel's return type for argument types."""
        if args not in self.compiled:
            self.compiled[args] = compile_part(self._dispatcher, args)
        return self.compiled[args].signature.return_type

    def _call_template(self, args: Any, keywords: Any) -> tuple[Any, Any, tuple[Any, ...], Any]:
        """The result type of a call with argument types, and how arguments are passed.

        numba calls this before it translates a call.
        """
        python_signature, types_in_order = folded(self._dispatcher, args, keywords)
        self.returns(types_in_order)
        signatures = [result.signature for result in self.compiled.values()]
        template = template_of(self._dispatcher.py_func.__name__, signatures)
        return template, python_signature, types_in_order, {}

    def _overload(self, signature: Any) -> Any:
        """The compiler's handle of the code for a signature."""
        return self.compiled[arguments_of(signature)].library
