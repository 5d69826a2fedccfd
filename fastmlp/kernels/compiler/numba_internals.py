"""All uses of the internals of numba and llvmlite, which may change from one version to the next.

Other files use only what these document for extensions. `NEEDED` lists the internals that a new
version must still have; a test checks it and names what is missing.
"""

from __future__ import annotations

import contextlib
import inspect
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numba
from llvmlite import ir
from numba.core import caching, compiler, sigutils, types, typing
from numba.core import cgutils as cgutils
from numba.core import typed_passes as typed
from numba.core import untyped_passes as untyped
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.compiler_lock import global_compiler_lock as global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.dispatcher import Dispatcher as Dispatcher
from numba.core.registry import cpu_target
from numba.core.typing.templates import AttributeTemplate as AttributeTemplate
from numba.np.arrayobj import make_array, populate_array

from .folder import STAMP, folder_for

try:
    import fcntl
except ImportError:  # Windows, where each process compiles
    fcntl = None  # type: ignore[assignment]

# ---------------------------------------------------------------- passes

# Kernels have no closures, lists, `with` blocks or array expressions, so a third of numba's passes
# would do nothing.
_PASSES = (
    (untyped.TranslateByteCode, "read the bytecode"),
    (untyped.FixupArgs, "name the arguments"),
    (untyped.IRProcessing, "make the intermediate representation"),
    (untyped.RewriteSemanticConstants, "find constants"),
    (untyped.DeadBranchPrune, "remove branches that constants rule out"),
    (untyped.GenericRewrites, "find constant indices and fields"),
    (untyped.ReconstructSSA, "assign each variable once"),
    (untyped.DeadBranchPrune, "remove branches that are ruled out now"),
    (typed.NopythonTypeInference, "infer types"),
    (typed.PreLowerStripPhis, "remove phi nodes"),
    (typed.IRLegalization, "check that all can be translated"),
    (typed.NativeLowering, "translate to LLVM's language"),
    (typed.NoPythonBackend, "compile"),
)


class KernelCompiler(CompilerBase):
    """numba's compiler with only the passes that kernels need."""

    def define_pipelines(self) -> list[PassManager]:
        """The passes in order; numba calls this."""
        manager = PassManager("kernel")
        for kind, what in _PASSES:
            manager.add_pass(kind, what)
        manager.finalize()
        return [manager]


# ---------------------------------------------------------------- code, optimised once


class WholeLibrary(JITCodeLibrary):
    """Code that LLVM optimises once, when it is complete.

    numba runs all passes on each function, then on all functions together, and then once more to
    remove reference counts, which kernels do not have.
    """

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class PartLibrary(WholeLibrary):
    """The code of a kernel that others call; LLVM optimises it only as a part of its callers."""

    def finalize(self) -> None:
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """This kernel and all kernels below it, each once, for the kernel that Python calls.

        Callers come first, because LLVM links only what earlier code refers to.
        """
        own_module = JITCodeLibrary._get_module_for_linking
        whole, waiting = own_module(self).clone(), list(self._linking_libraries)
        seen = {self}
        for library in waiting:
            if library in seen:
                continue
            seen.add(library)
            whole.link_in(own_module(library), preserve=True)
            if isinstance(library, PartLibrary):  # others include everything below them
                waiting += library._linking_libraries
        return whole


def compile_alone(dispatcher: Any, args: tuple[Any, ...], library: Any = None) -> Any:
    """The code of a kernel for argument types, without a wrapper for Python.

    library: the library that the code is added to; without one, the code is ready to run.
    """
    flags = compiler.Flags()
    cpu_target.options.parse_as_flags(flags, dispatcher.targetoptions)
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.no_compile = library is not None
    if library is None:
        name = dispatcher.py_func.__qualname__
        library = WholeLibrary(cpu_target.target_context.codegen(), name)
        library.enable_object_caching()
    return compiler.compile_extra(
        cpu_target.typing_context, cpu_target.target_context, dispatcher.py_func, args, None,
        flags, {}, library=library, pipeline_class=KernelCompiler,
    )  # fmt: skip


def compile_part(dispatcher: Any, args: tuple[Any, ...]) -> Any:
    """The code of a kernel for argument types, to be optimised as a part of its callers."""
    name = dispatcher.py_func.__qualname__
    library = PartLibrary(cpu_target.target_context.codegen(), name)
    result = compile_alone(dispatcher, args, library)
    cpu_target.target_context.insert_user_function(library, result.fndesc, [library])
    return result


def folded(dispatcher: Any, args: Any, keywords: Any) -> tuple[Any, tuple[Any, ...]]:
    """The signature as Python sees it, and the types of all arguments in order.

    Literal types are replaced by the types of their values; otherwise each constant would need its
    own code.
    """
    general = tuple(types.unliteral(kind) for kind in args)
    python_signature, types_in_order = dispatcher._compiler.fold_argument_types(general, keywords)
    return python_signature, tuple(types_in_order)


def template_of(name: str, signatures: list[Any]) -> Any:
    """The template from which numba infers the type of a call."""
    return typing.make_concrete_template(name, key=name, signatures=signatures)


def arguments_of(signature: Any) -> tuple[Any, ...]:
    """Types of the arguments of a signature."""
    args, _ = sigutils.normalize_signature(signature)
    return tuple(args)


def refuse_other_types(kernel: Any, refuse: Callable[..., None]) -> None:
    """Raise for arguments of other types without numba's search for conversions (30 us)."""
    kernel._search_new_conversions = kernel._explain_matching_error = refuse


# ---------------------------------------------------------------- memory


def array_at(context, builder, array_type, address, size):
    """A one-dimensional array over memory that it does not own.

    It has no owner, so it is not reference-counted. Threads that slice a shared array would contend
    for its reference count.
    """
    kind = array_type.dtype
    n_bytes = kind.size if isinstance(kind, types.Record) else kind.bitwidth // 8
    itemsize = context.get_constant(types.intp, n_bytes)
    array = make_array(array_type)(context, builder)
    element = context.get_data_type(array_type.dtype).as_pointer()
    populate_array(
        array,
        data=builder.inttoptr(address, element),
        shape=(size,),
        strides=(itemsize,),
        itemsize=itemsize,
        meminfo=None,
    )
    return array._getvalue()


# ---------------------------------------------------------------- instructions


def freeze(builder, value):
    """LLVM's `freeze` of a number, for which llvmlite's builder has no method."""
    frozen = ir.instructions.Instruction(builder.block, value.type, "freeze", [value])
    builder._insert(frozen)
    return frozen


# ---------------------------------------------------------------- code on disk


class _Locator(caching._CacheLocator):
    """Tells numba which folder to use."""

    def __init__(self, folder: pathlib.Path, line: int) -> None:
        self._place, self._line = folder, line

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        own = getattr(py_func, "stamp", "")
        folder = None if own is None else folder_for(own)
        return None if folder is None else cls(folder, py_func.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        return str(self._place)

    def get_source_stamp(self) -> str:
        return STAMP

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class _Files(caching.IndexDataCacheFile):
    """The cache's files; damaged ones, which can raise anything, are treated as missing."""

    def _load_index(self) -> dict[Any, str]:
        try:
            return super()._load_index()
        except Exception:
            return {}

    def load(self, key: Any) -> Any:
        try:
            return super().load(key)
        except Exception:
            return None


class KernelCache(caching.FunctionCache):
    """numba's on-disk cache of a function, with separate files for bounds checks.

    Parameters
    ----------
    py_func : function
    suffix : str, optional
        Distinguishes code of the same function that is compiled in another way.

    Raises
    ------
    RuntimeError, OSError
        If no folder is writable.
    """

    _impl_class = _Implementation

    def __init__(self, py_func: Callable[..., Any], suffix: str = "") -> None:
        super().__init__(py_func)
        suffix += ".bounds" if numba.config.BOUNDSCHECK else ""
        self._file_name = self._impl.filename_base + suffix
        self._cache_file = _Files(self._cache_path, self._file_name, STAMP)

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, Any]:
        """The key of some code; the folder identifies the sources, and the file the function.

        numba would also pickle the function's closure, and functions in it pickle differently in
        each process.
        """
        return sig, codegen.magic_tuple()

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # on a full disk, only the cache is lost
            super().save_overload(sig, data)

    def kept(self) -> list[tuple[Any, ...]]:
        """The argument types for which there is code."""
        return [key[0] for key in self._cache_file._load_index()]

    @contextlib.contextmanager
    def turn(self, signature: Any) -> Iterator[None]:
        """Wait while another process compiles the function, unless there is code already.

        The operating system releases the lock of a process that ends or crashes. If files cannot be
        locked, no process waits.
        """
        with contextlib.ExitStack() as held:
            if fcntl is not None and signature not in self.kept():
                with contextlib.suppress(OSError):
                    self._impl.locator.ensure_cache_path()
                    place = pathlib.Path(self._cache_path, self._file_name + ".lock")
                    fcntl.lockf(held.enter_context(place.open("ab")), fcntl.LOCK_EX)
            yield


def load_code(cache: KernelCache, signature: Any) -> Any:
    """The cached code for a signature, or None."""
    return cache.load_overload(signature, cpu_target.target_context)


def address_of_code(result: Any) -> int:
    """The address of compiled code."""
    at: int = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return at


def use_cache(dispatcher: Any, cache: KernelCache) -> None:
    """Let a dispatcher keep its code in this cache."""
    dispatcher._cache = cache


def cache_in_use(dispatcher: Any) -> KernelCache | None:
    """The cache set by `use_cache`, if any."""
    found = getattr(dispatcher, "_cache", None)
    return found if isinstance(found, KernelCache) else None


# ---------------------------------------------------------------- what a new version must have

# The parameters of methods and functions, by owner and name.
NEEDED: dict[Any, dict[str, str]] = {
    JITCodeLibrary: {
        "_optimize_functions": "self, ll_module",
        "_optimize_final_module": "self",
        "_get_module_for_linking": "self",
        "finalize": "self",
        "enable_object_caching": "self",
        "get_pointer_to_function": "self, name",
    },
    caching.FunctionCache: {
        "__init__": "self, py_func",
        "_index_key": "self, sig, codegen",
        "save_overload": "self, sig, data",
        "load_overload": "self, sig, target_context",
    },
    caching.IndexDataCacheFile: {
        "__init__": "self, cache_path, filename_base, source_stamp",
        "_load_index": "self",
        "load": "self, key",
    },
    caching._CacheLocator: {
        "ensure_cache_path": "self",
        "get_cache_path": "self",
        "get_source_stamp": "self",
        "get_disambiguator": "self",
    },
    Dispatcher: {
        "_search_new_conversions": "self, *args, **kws",
        "_explain_matching_error": "self, *args, **kws",
        "get_call_template": "self, args, kws",
        "get_overload": "self, sig",
        "compile": "self, sig",
    },
    compiler: {
        "compile_extra": "typingctx, targetctx, func, args, return_type, flags, locals, "
        "library=None, pipeline_class=<class 'numba.core.compiler.Compiler'>",
    },
    ir.IRBuilder: {"_insert": "self, instr"},
    ir.instructions.Instruction: {
        "__init__": "self, parent, typ, opname, operands, name='', flags=()",
    },
    populate_array: {
        "__call__": "array, data, shape, strides, itemsize, meminfo, parent=None",
    },
}


def changed() -> list[str]:
    """The entries of `NEEDED` that this version of numba lacks or has with other parameters."""
    found = []
    for owner, wanted in NEEDED.items():
        for name, parameters in wanted.items():
            function = owner if name == "__call__" else getattr(owner, name, None)
            place = f"{getattr(owner, '__name__', owner)}.{name}"
            if function is None:
                found.append(f"{place} is gone")
                continue
            given = ", ".join(
                str(parameter).partition(":")[0] if "=" not in str(parameter) else str(parameter)
                for parameter in inspect.signature(function).parameters.values()
            )
            if given != parameters:
                found.append(f"{place} takes ({given}), not ({parameters})")
    return found
