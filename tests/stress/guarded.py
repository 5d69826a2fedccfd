"""NumPy arrays between unreadable pages, so that every access out of bounds crashes.

NumPy's hook for custom allocators (NEP 49) gets four small compiled functions. Each array gets
whole pages of a large reserved range, with an unreadable page on both sides. In mode "end" its last
byte is the last one of its pages, in mode "start" its first byte is the first one. The rest of a
page is filled with a pattern that is checked when the array is freed, memory that NumPy does not
ask to be zero is filled with nan, and addresses are never reused, so use after free is detected as
well.

Works on Linux only. The hook belongs to the current thread (to its context), so threads enter
`arrays` themselves. Only memory of NumPy arrays is guarded, not that of bytes or memory maps.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import sys
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

Mode = Literal["end", "start"]
MODES: tuple[Mode, Mode] = ("end", "start")
IS_SUPPORTED = sys.platform.startswith("linux")
WHY_NOT = "guard pages are set up through Linux's mmap"

PAGE = mmap.PAGESIZE
_REGION = 1 << 37  # bytes of addresses, some ten million small arrays; memory is used for few
_CANARY, _NAN = 0xA5, 0xFF
_NONE, _READ, _WRITE = 0, 1, 2
_PRIVATE, _FIXED, _ANONYMOUS, _NO_RESERVE = 0x02, 0x10, 0x20, 0x4000
# What the compiled functions share: where the next block goes, the end of the range, its start,
# whether blocks start behind the guard, the address of a page of the pattern; then the size of the
# block at each page of the range.
_NEXT, _END, _BASE, _AT_START, _PATTERN, _SIZES = range(6)
# Places in NumPy's table of C functions, numpy/_core/code_generators/numpy_api.py.
_SET_HANDLER = 304


class _Allocator(ctypes.Structure):
    """PyDataMemAllocator of NEP 49."""

    _fields_ = (
        ("ctx", ctypes.c_void_p), ("malloc", ctypes.c_void_p), ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p), ("free", ctypes.c_void_p),
    )  # fmt: skip


class _Handler(ctypes.Structure):
    """PyDataMem_Handler of NEP 49."""

    _fields_ = (
        ("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator),
    )  # fmt: skip


def _map(n_bytes: int, protection: int) -> int:
    """Address of new pages."""
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    ]  # fmt: skip
    flags = _PRIVATE | _ANONYMOUS | _NO_RESERVE
    address: int = function(None, n_bytes, protection, flags, -1, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    return address


def _protect(address: int, n_bytes: int, protection: int) -> None:
    function = ctypes.CDLL(None, use_errno=True).mprotect
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if function(address, n_bytes, protection) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


@functools.cache
def _functions() -> tuple[Any, ...]:
    """malloc, calloc, realloc and free, compiled: without the GIL, errors or calls of Python.

    Interpreted ones would disturb an exception that is on its way while an array is freed.
    """
    import numba
    from numba import types

    word, place, small = types.intp, types.intp, types.int32
    context = types.CPointer(types.int64)
    c_mmap = types.ExternalFunction("mmap", place(place, word, small, small, small, word))
    c_mprotect = types.ExternalFunction("mprotect", small(place, word, small))
    c_memset = types.ExternalFunction("memset", place(place, small, word))
    c_memcpy = types.ExternalFunction("memcpy", place(place, place, word))
    c_memcmp = types.ExternalFunction("memcmp", small(place, place, word))
    c_abort = types.ExternalFunction("abort", types.void())
    count = _SIZES + _REGION // PAGE

    @numba.njit
    def take(ctx: Any, size: Any, byte: Any) -> Any:
        state = numba.carray(ctx, count)
        size = max(size, 1)
        whole = (size + PAGE - 1) // PAGE * PAGE
        at = state[_NEXT]
        if size > _REGION or at + whole + PAGE > state[_END]:
            return 0  # NumPy raises MemoryError
        if c_mprotect(at, whole, _READ | _WRITE) != 0:
            return 0
        state[_NEXT] = at + whole + PAGE
        state[_SIZES + (at - state[_BASE]) // PAGE] = size
        if state[_AT_START]:
            c_memset(at + size, _CANARY, whole - size)
        else:
            c_memset(at, _CANARY, whole - size)
            at += whole - size
        if byte != 0:  # new pages are zero
            c_memset(at, byte, size)
        return at

    @numba.njit
    def size_of(ctx: Any, address: Any) -> Any:
        state = numba.carray(ctx, count)
        at = address // PAGE * PAGE
        if address < state[_BASE] or address >= state[_END]:
            c_abort()
        size = state[_SIZES + (at - state[_BASE]) // PAGE]
        if size == 0:  # freed twice
            c_abort()
        return size

    @numba.njit
    def give_back(ctx: Any, address: Any) -> Any:
        if address == 0:
            return
        state = numba.carray(ctx, count)
        size = size_of(ctx, address)
        at = address // PAGE * PAGE
        whole = (size + PAGE - 1) // PAGE * PAGE
        slack = at + size if address == at else at
        if c_memcmp(slack, state[_PATTERN], whole - size) != 0:  # somebody wrote beside the array
            c_abort()
        state[_SIZES + (at - state[_BASE]) // PAGE] = 0
        flags = _PRIVATE | _FIXED | _ANONYMOUS | _NO_RESERVE
        if c_mmap(at, whole, _NONE, flags, -1, 0) == -1:
            c_abort()

    @numba.cfunc(place(context, word), nopython=True)
    def malloc(ctx: Any, size: Any) -> Any:
        return take(ctx, size, _NAN)

    @numba.cfunc(place(context, word, word), nopython=True)
    def calloc(ctx: Any, n: Any, size: Any) -> Any:
        return take(ctx, n * size, 0)

    @numba.cfunc(place(context, place, word), nopython=True)
    def realloc(ctx: Any, address: Any, size: Any) -> Any:
        found = take(ctx, size, _NAN)
        if found != 0 and address != 0:
            c_memcpy(found, address, min(size, size_of(ctx, address)))
            give_back(ctx, address)
        return found

    @numba.cfunc(types.void(context, place, word), nopython=True)
    def free(ctx: Any, address: Any, size: Any) -> None:
        give_back(ctx, address)

    return malloc, calloc, realloc, free


class _Hook:
    """The handler of a process, and how it is put in place."""

    def __init__(self) -> None:
        base, n_pages = _map(_REGION, _NONE), _REGION // PAGE
        pattern = _map(PAGE, _READ | _WRITE)
        ctypes.memset(pattern, _CANARY, PAGE)
        self._context = _map(8 * (_SIZES + n_pages), _READ | _WRITE)
        self._state = (ctypes.c_int64 * _SIZES).from_address(self._context)
        self._state[_NEXT], self._state[_END] = base + PAGE, base + _REGION
        self._state[_BASE], self._state[_PATTERN] = base, pattern
        functions = [function.address for function in _functions()]
        self._handler = _Handler(b"guarded", 1, _Allocator(self._context, *functions))
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
        self._name = ctypes.create_string_buffer(b"mem_handler")  # the capsule keeps its address
        self.capsule = new(ctypes.byref(self._handler), ctypes.byref(self._name), None)
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        from numpy._core import _multiarray_umath as core

        table = ctypes.cast(pointer(core._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
        self._set = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])
        self.default = self.put(self.capsule)
        self.put(self.default)

    def put(self, capsule: Any) -> Any:
        """Make this the handler of the current context; returns the former one."""
        return self._set(capsule)

    def use(self, mode: Mode) -> None:
        """Where the next blocks go."""
        self._state[_AT_START] = mode == "start"

    @property
    def used(self) -> float:
        """The part of the range that has been given out."""
        return float(self._state[_NEXT] - self._state[_BASE]) / _REGION

    def holds(self, address: int) -> bool:
        return bool(self._state[_BASE] <= address < self._state[_END])

    def size_at(self, address: int) -> int:
        """Bytes of the block whose first page holds this address; 0 for a freed one."""
        page = (address - self._state[_BASE]) // PAGE
        return ctypes.c_int64.from_address(self._context + 8 * (_SIZES + page)).value


@functools.cache
def hook() -> _Hook:
    """The one of this process; a child made by fork uses a copy of its parent's."""
    if not IS_SUPPORTED:
        raise OSError(WHY_NOT)
    return _Hook()


@contextlib.contextmanager
def arrays(mode: Mode | None = None) -> Iterator[None]:
    """Guard all arrays that this thread makes inside, for as long as each of them lives.

    Without a mode, in the one that was said last: for a thread beside others.
    """
    found = hook()
    if mode is not None:
        found.use(mode)
    former = found.put(found.capsule)
    try:
        yield
    finally:
        found.put(former)


@contextlib.contextmanager
def no_arrays() -> Iterator[None]:
    """Leave arrays alone that are made inside, such as those of somebody else's library."""
    found = hook()
    former = found.put(found.default)
    try:
        yield
    finally:
        found.put(former)


def is_guarded(array: np.ndarray) -> bool:
    """Whether an array's memory is a guarded block, or a part of one."""
    return hook().holds(array.ctypes.data)


def read_only(array: np.ndarray) -> np.ndarray:
    """A copy in pages without leave to write; the copy's flags say so, too.

    Made inside `arrays`; a kernel that writes to it dies.
    """
    copy = np.array(array, order="K", copy=True)
    lowest = np.lib.array_utils.byte_bounds(copy)[0] if copy.size else copy.ctypes.data
    start, size = lowest // PAGE * PAGE, hook().size_at(lowest)
    assert size, "made outside of `arrays`"
    _protect(start, -(-(lowest + size - start) // PAGE) * PAGE, _READ)
    copy.flags.writeable = False
    return copy
