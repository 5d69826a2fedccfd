"""The gate to the kernels: every address that compiled code gets is checked here.

A kernel trusts addresses, lengths and types. So the caller states what the memory must be, and any
other array is refused before a kernel can read or write out of bounds.
"""

from __future__ import annotations

import bisect
import ctypes
import threading
from typing import Any

import numba
import numpy as np

from ...errors import InputError

CACHE_LINE = 64  # bytes
_HEADER_BYTES, _pointer_at = object.__basicsize__, ctypes.c_void_p.from_address
_ADVICE = "use arrays as fastmlp hands them out, and set attributes rather than what they hold"


def address_of(array: Any, what: str, dtype: Any, size: int, *, written: bool = False) -> int:
    """Address of the first of `size` adjacent numbers that a kernel reads or also writes.

    The caller must keep the array alive until the kernel has returned.

    Parameters
    ----------
    array : ndarray
        The memory.
    what : str
        Its name in the error.
    dtype : numpy dtype
        Type of the numbers.
    size : int
        How many numbers the kernel may access.
    written : bool
        Whether the kernel writes to them.

    Raises
    ------
    InputError
        If the array is of another type or length, strided, misaligned or read-only.
    """
    is_array = isinstance(array, np.ndarray)
    if is_array and array.dtype == dtype and array.size == size:
        flags = array.flags
        if flags.c_contiguous and flags.aligned and (flags.writeable or not written):
            return _address(array) if PASSED is None else _passed(array, array.nbytes)
    leave = " that may be written to" if written else ""
    raise InputError(
        what, f"{size} adjacent numbers of type {np.dtype(dtype).name}{leave}", _look(array),
        _ADVICE,
    )  # fmt: skip


def address_or_0(array: Any, what: str, dtype: Any, size: int) -> int:
    """As `address_of`, but 0 for an empty array, which means that there is none."""
    if isinstance(array, np.ndarray) and array.size == 0:
        return 0
    return address_of(array, what, dtype, size)


def index_address(array: Any, what: str, size: int, below: int) -> int:
    """As `address_of`, for int32 indices into other memory, which must be from 0 to `below` - 1."""
    address = address_of(array, what, np.int32, size)
    if size:
        # Seen as unsigned, negative numbers are the largest, so one comparison per number is
        # enough. Of a few numbers, `argmax` takes half the time of `max`, of many the same.
        unsigned = array.view(np.uint32)
        if unsigned.item(unsigned.argmax()) >= below:
            raise InputError(what, f"numbers from 0 to {below - 1}", "some outside", _ADVICE)
    return address


def starts_address(array: Any, what: str, n_rows: int, n_values: int) -> int:
    """As `address_of`, for the int64 indices at which the rows of a CSR matrix start and end."""
    address = address_of(array, what, np.int64, n_rows + 1)
    if array[0] < 0 or array[-1] > n_values or (np.diff(array) < 0).any():
        raise InputError(what, f"ascending numbers up to {n_values}", "others", _ADVICE)
    return address


def matrix_address(
    values: Any, what: str, dtype: Any, shape: tuple[int, int], strides: tuple[int, int]
) -> int:
    """Address of the first number of a matrix that kernels read by strides (in bytes).

    A stride along an axis of length 1 is never used, so it may have any value.
    """
    if (
        isinstance(values, np.ndarray)
        and (values.dtype, values.shape) == (dtype, shape)
        and values.flags.aligned
    ):
        found = zip(values.strides, strides, shape, strict=True)
        is_usual = values.strides == strides
        if is_usual or all(is_so == wanted or n == 1 for is_so, wanted, n in found):
            return _address(values) if PASSED is None else _passed(values, 0)
    raise InputError(
        what, f"a matrix of shape {shape} and type {np.dtype(dtype).name}, strided as it was",
        _look(values), _ADVICE,
    )  # fmt: skip


def _look(array: Any) -> str:
    """Description of an array without its contents."""
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    spoilt = [
        word
        for word, is_so in (
            ("strided", not array.flags.c_contiguous),
            ("misaligned", not array.flags.aligned),
            ("read-only", not array.flags.writeable),
        )
        if is_so
    ]
    return ", ".join([f"shape {array.shape} and type {array.dtype}", *spoilt])


def laid_out(values: Any, dtype: Any) -> np.ndarray:
    """Numbers as kernels need them: of a type, adjacent, aligned; copied only if they are not."""
    if type(values) is np.ndarray and values.dtype == dtype:
        flags = values.flags
        if flags.c_contiguous and flags.aligned:  # as most are, and asking takes less time
            return values
    return np.require(values, dtype, ["C", "A", "E"])


def _address(array: np.ndarray) -> int:
    """Address of the first number, which in NumPy's C interface is the first field of an array.

    `__array_interface__` has it as well, but builds a dict, which takes ten times as long.
    """
    return _pointer_at(id(array) + _HEADER_BYTES).value or 0


def aligned_zeros(size: int, dtype: Any) -> np.ndarray:
    """Zeros that start at a cache line: loads across two cache lines take twice as long."""
    n_bytes = size * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + CACHE_LINE, np.uint8)
    start = -_address(memory) % CACHE_LINE
    return memory[start : start + n_bytes].view(dtype)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A copy (n,) that starts at a cache line; NumPy's copies and pickles do not."""
    copy = aligned_zeros(array.size, array.dtype)
    copy[...] = array
    return copy


class Ranges:
    """A set of addresses, as disjoint ranges in ascending order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._lock = threading.Lock()

    def add(self, start: int, end: int) -> None:
        """Add the addresses from `start` up to `end`, joining ranges that touch."""
        with self._lock:
            first = bisect.bisect_left(self._ends, start)
            last = bisect.bisect_right(self._starts, end)
            if first < last:
                start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
            self._starts[first:last], self._ends[first:last] = [start], [end]

    def holds(self, start: int, end: int) -> bool:
        """Whether all addresses from `start` up to `end` are in the set."""
        with self._lock:
            place = bisect.bisect_right(self._starts, start) - 1
            return place >= 0 and end <= self._ends[place]


# With the compiler off, interpreted kernels look up each address that they use. An address that was
# not checked here, or is outside the checked array, fails the test immediately.
PASSED: Ranges | None = Ranges() if numba.config.DISABLE_JIT else None


def _passed(array: np.ndarray, n_bytes: int) -> int:
    """The array's address, recorded for interpreted kernels; n_bytes: 0 for a strided array."""
    assert PASSED is not None
    address = _address(array)
    low, high = (address, address + n_bytes) if n_bytes else np.lib.array_utils.byte_bounds(array)
    PASSED.add(low, high)
    return address
