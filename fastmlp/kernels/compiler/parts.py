"""Kernels within kernels: optimised and translated once, as a part of the one that Python calls.

numba would do that for each kernel by itself, with all that it calls, and once more for each of its
callers: the innermost loops went through LLVM a dozen times, and half of the wait for the compiler
was for machine code that nobody runs.
"""

from __future__ import annotations

from typing import Any

from numba.core import compiler, sigutils, types, typing
from numba.core.codegen import JITCodeLibrary
from numba.core.registry import cpu_target

from .pipeline import KernelCompiler


class _WholeLibrary(JITCodeLibrary):
    """Code that LLVM optimises once, when it is all there.

    numba runs all passes on each function, then on all of them, and then once more, for the sake of
    reference counts, which kernels do not have.
    """

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _PartLibrary(_WholeLibrary):
    """A kernel's own code, which LLVM sees with that of all it calls."""

    def finalize(self) -> None:
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """For the kernel that Python calls: this kernel and all below it, each of them once.

        Callers come first, since LLVM links only what somebody before has asked for.
        """
        own_module = JITCodeLibrary._get_module_for_linking
        whole, waiting = own_module(self).clone(), list(self._linking_libraries)
        seen = {self}
        for library in waiting:
            if library in seen:
                continue
            seen.add(library)
            whole.link_in(own_module(library), preserve=True)
            if isinstance(library, _PartLibrary):  # others come with all that is below them
                waiting += library._linking_libraries
        return whole


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
            self.compiled[args] = self._compile(args)
        return self.compiled[args].signature.return_type

    def _call_template(self, args: Any, keywords: Any) -> tuple[Any, Any, tuple[Any, ...], Any]:
        """For a call with arguments of such types: what it returns, and how they are passed.

        numba asks this before it translates a call. Types of constants are those of numbers like
        them; else there would be code for each constant.
        """
        general = tuple(types.unliteral(kind) for kind in args)
        python_signature, folded = self._dispatcher._compiler.fold_argument_types(general, keywords)
        folded = tuple(folded)
        self.returns(folded)
        signatures = [result.signature for result in self.compiled.values()]
        name = self._dispatcher.py_func.__name__
        template = typing.make_concrete_template(name, key=name, signatures=signatures)
        return template, python_signature, folded, {}

    def _overload(self, signature: Any) -> Any:
        """What the compiler knows the code for such types by."""
        args, _ = sigutils.normalize_signature(signature)
        return self.compiled[tuple(args)].library

    def _compile(self, args: tuple[Any, ...]) -> Any:
        library = _PartLibrary(
            cpu_target.target_context.codegen(), self._dispatcher.py_func.__qualname__
        )
        result = compile_alone(self._dispatcher, args, library)
        cpu_target.target_context.insert_user_function(library, result.fndesc, [library])
        return result


def compile_alone(dispatcher: Any, args: tuple[Any, ...], library: Any = None) -> Any:
    """The code of a kernel for arguments of such types, which Python cannot call.

    library: what the code becomes a part of; without one it is ready to run.
    """
    flags = compiler.Flags()
    cpu_target.options.parse_as_flags(flags, dispatcher.targetoptions)
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.no_compile = library is not None
    if library is None:
        name = dispatcher.py_func.__qualname__
        library = _WholeLibrary(cpu_target.target_context.codegen(), name)
        library.enable_object_caching()
    return compiler.compile_extra(
        cpu_target.typing_context, cpu_target.target_context, dispatcher.py_func, args, None,
        flags, {}, library=library, pipeline_class=KernelCompiler,
    )  # fmt: skip
