"""Calls by address: a kernel gets exactly the argument types of its interface, for any caller."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from fastmlp import Dense, InputError, Network, ReLU
from fastmlp.kernels.compiler import calls
from fastmlp.kernels.compiler.calls import ONE, Interface, Kernel
from fastmlp.kernels.compiler.jit import JIT_ENABLED, doubles, itemsize, longs, numbers

from ..support import address_of, kernels_by_address

pytestmark = [pytest.mark.nojit, pytest.mark.bounds]

CHECKED = not JIT_ENABLED or bool(numba.config.BOUNDSCHECK)
TYPES = [np.float32, np.float64]
both_types = pytest.mark.parametrize("dtype", TYPES, ids=["float32", "float64"])


class Pair(NamedTuple):
    """Whole numbers only, which numba has a type of its own for."""

    first: Any
    second: Any


class Other(NamedTuple):
    """Fields like those of a pair."""

    first: Any
    second: Any


class Mixed(NamedTuple):
    """A whole number and a real one."""

    whole: Any
    real: Any


# ---------------------------------------------------------------- what a kernel gets

NOTE = Interface(0, Pair(0, 0), False, Mixed(0, 0.0), 0.0, ONE)
call_note = NOTE.call


@NOTE.kernel
def note(out, pair, flag, mixed, real, one):  # type: ignore[no-untyped-def]
    """Write all arguments to memory, whole numbers first."""
    whole, reals = longs(out, 5), doubles(out + 5 * 8, 3)
    whole[0], whole[1], whole[2] = pair.first, pair.second, mixed.whole
    whole[3], whole[4] = flag, itemsize(one)
    reals[0], reals[1], reals[2] = mixed.real, real, one


@numba.njit
def run_note(address, out, pair, flag, mixed, real, one):  # type: ignore[no-untyped-def]
    call_note(address, (out, pair, flag, mixed, real, one))


def noted(*args: Any) -> tuple[list[int], list[float]]:
    """What the kernel wrote when compiled code had called it by its address."""
    out, one = np.full(9, -1), args[-1]
    run_note(note.address(one.dtype), address_of(out), *args)
    assert out[8] == -1, "wrote behind its numbers"
    return out[:5].tolist(), out[5:8].view(np.float64).tolist()


@both_types
def test_a_kernel_gets_its_arguments(dtype: Any) -> None:
    """Up to the last bit, each in its place; the number of the network's type in that type."""
    one = dtype(0.1)
    for big in (2**62 + 1, -(2**62) - 3, 0):
        for flag in (True, False):
            whole, reals = noted(Pair(big, big + 5), flag, Mixed(big - 7, 0.1), -1e300, one)
            assert whole == [big, big + 5, big - 7, flag, one.itemsize]
            assert reals == [0.1, -1e300, float(one)]


@both_types
def test_arguments_of_other_types_are_cast(dtype: Any) -> None:
    """Narrower numbers, and whole numbers where real ones are due, also inside of tuples."""
    one = dtype(3)
    for kind in (np.int8, np.int16, np.int32, np.int64):
        wanted = [-3, 100, -5, True, one.itemsize]
        small = Pair(kind(-3), kind(100)), True, Mixed(kind(-5), 2.5), 0.5, one
        assert noted(*small) == (wanted, [2.5, 0.5, 3.0])
    for kind in (np.uint8, np.uint16, np.uint32):
        top = np.iinfo(kind).max  # whose highest bit is no sign
        found, _ = noted(Pair(kind(top), kind(0)), True, Mixed(kind(top), 2.5), 0.5, one)
        assert found == [top, 0, top, True, one.itemsize]
    single = np.float32(0.1)
    _, reals = noted(Pair(0, 1), False, Mixed(0, single), single, one)
    assert reals == [float(single), float(single), 3.0]
    _, reals = noted(Pair(0, 1), False, Mixed(4, 9), 7, one)
    assert reals == [9.0, 7.0, 3.0]
    found, _ = noted(Pair(np.int32(1), np.int64(2)), False, Mixed(0, 0.0), 0.0, one)
    assert found[:2] == [1, 2]


@numba.njit
def run_with_constants(address, out, one):  # type: ignore[no-untyped-def]
    call_note(address, (out, Pair(3, 4), True, Mixed(5, 6), 7, one))


@both_types
def test_constants_of_the_caller_are_numbers_like_others(dtype: Any) -> None:
    """numba has types of their own for them."""
    out = np.zeros(8, np.int64)
    run_with_constants(note.address(np.dtype(dtype)), address_of(out), dtype(2))
    assert out[:5].tolist() == [3, 4, 5, 1, np.dtype(dtype).itemsize]
    assert out[5:].view(np.float64).tolist() == [6.0, 7.0, 2.0]


@both_types
def test_a_kernel_can_be_called_from_python(dtype: Any) -> None:
    by_address, called = np.zeros(8, np.int64), np.zeros(8, np.int64)
    args = Pair(2**40, -1), True, Mixed(9, 0.3), 1e-300, dtype(0.7)
    run_note(note.address(np.dtype(dtype)), address_of(by_address), *args)
    assert note(address_of(called), *args) is None
    assert called.tobytes() == by_address.tobytes() != bytes(64)


# ---------------------------------------------------------------- which kernel is called

SCALE = Interface(0, 0, ONE)
call_scale = SCALE.call


def scaling(factor: float) -> Kernel:
    """A kernel made by code that makes several."""

    def scale(at, size, one):  # type: ignore[no-untyped-def]
        values = numbers(at, size, one)
        for i in range(values.size):
            values[i] *= type(one)(factor)

    return SCALE.kernel(scale, f"scale_{factor}")


double, negate, tenth = map(scaling, (2.0, -1.0, 0.1))


@numba.njit
def run_in_turn(addresses, at, size, one):  # type: ignore[no-untyped-def]
    """Each of some kernels, which are numbers to this code."""
    for i in range(addresses.size):
        call_scale(addresses[i], (at, size, one))


@both_types
def test_the_address_says_which_kernel(dtype: Any) -> None:
    kind = np.dtype(dtype)
    values = np.arange(1, 6).astype(dtype)
    for kernels, factors in (
        ([double], [2.0]), ([tenth], [0.1]), ([negate, double, tenth, double], [-1, 2, 0.1, 2]),
    ):  # fmt: skip
        found, wanted = values.copy(), values.copy()
        addresses = np.array([kernel.address(kind) for kernel in kernels])
        run_in_turn(addresses, address_of(found[1:]), 3, dtype(1))
        for factor in factors:
            wanted[1:4] *= dtype(factor)
        np.testing.assert_array_equal(found, wanted)


def test_each_kernel_has_an_address_for_each_type() -> None:
    """It stays the same, and nobody else has it."""
    kernels = note, double, negate, tenth
    kinds = [np.dtype(kind) for kind in TYPES]
    found = [kernel.address(kind) for kernel in kernels for kind in kinds]
    assert found == [kernel.address(kind) for kernel in kernels for kind in kinds]
    assert min(found) > 0  # 0 stands for no kernel
    assert len(set(found)) == len(found)
    assert all(kernel.is_compiled(kind) for kernel in kernels for kind in kinds)


def test_kernels_that_the_same_code_makes_have_names_of_their_own() -> None:
    """By which their code is kept."""
    kernels = kernels_by_address()
    names = {
        (kernel.called.__module__, kernel.called.__qualname__) for kernel in (*kernels, double)
    }
    assert len(names) == len(kernels) + 1 > 50
    assert double.called.__name__ == "scale_2.0"


# ---------------------------------------------------------------- what is refused


@pytest.mark.skipif(JIT_ENABLED, reason="compiled code jumps wherever it is told")
def test_what_is_no_address_is_no_kernel() -> None:
    values = np.ones(3)
    double.address(values.dtype)
    for address in (0, -1, 10**6):
        with pytest.raises(LookupError):
            call_scale(address, (address_of(values), 3, np.float64(1)))
    assert (values == 1).all()


@pytest.mark.parametrize("n_args", [2, 4])
def test_another_number_of_arguments_is_refused(n_args: int) -> None:
    """When the caller is compiled."""
    address, args = double.address(np.dtype(np.float64)), (0, 0, np.float64(1), 0)[:n_args]

    @numba.njit
    def run(address, args):  # type: ignore[no-untyped-def]
        call_scale(address, args)

    with pytest.raises((TypeError, ValueError, numba.core.errors.NumbaError)):
        run(address, args)


@pytest.mark.skipif(not JIT_ENABLED, reason="Python passes on what it is given")
@pytest.mark.parametrize("given", [Other(1, 2), (1, 2), 1], ids=str)
def test_tuples_of_other_names_are_refused(given: Any) -> None:
    """Though their fields may be alike."""
    out = np.full(8, -1)
    with pytest.raises(
        numba.core.errors.NumbaError, match=r"a kernel takes Pair\(int64 x 2\), not"
    ):
        run_note(
            note.address(np.dtype(float)), address_of(out), given, True, Mixed(0, 0.0), 0.0,
            np.float64(1),
        )  # fmt: skip
    assert (out == -1).all()


@pytest.mark.skipif(not CHECKED, reason="needs NUMBA_BOUNDSCHECK=1")
def test_a_wrong_index_in_a_kernel_is_raised_where_it_is_called() -> None:
    """So no test of a whole step can pass over it in the stage that checks bounds."""

    def beyond(at, size, one):  # type: ignore[no-untyped-def]
        values = numbers(at, size, one)
        values[size] = 0

    kernel, values = SCALE.kernel(beyond), np.ones(4)
    addresses = np.array([double.address(values.dtype), kernel.address(values.dtype)])
    with pytest.raises(IndexError):
        run_in_turn(addresses, address_of(values), 3, np.float64(1))
    assert values.tolist() == [2, 2, 2, 1]


# ---------------------------------------------------------------- interfaces


@both_types
def test_types_of_arguments(dtype: Any) -> None:
    """Numbers of the network's type are in it; others have the types of their examples."""
    one = numba.from_dtype(np.dtype(dtype))
    found = NOTE.signature(one)
    examples = (0, Pair(0, 0), False, Mixed(0, 0.0), 0.0)
    assert found == (*map(numba.typeof, examples), one)


@both_types
def test_interfaces_of_all_kernels_end_with_a_number_of_the_networks_type(dtype: Any) -> None:
    one = numba.from_dtype(np.dtype(dtype))
    for kernel in kernels_by_address():
        *others, last = kernel.interface.signature(one)
        assert last == one
        assert one not in others or one == numba.float64  # options are float64


def test_the_stand_in_is_no_number() -> None:
    assert isinstance(ONE, calls.NumberType)


def test_a_kernel_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would read arguments that nobody passes."""
    X, y = np.ones((4, 2), np.float32), np.arange(4) % 2
    network = Network([Dense(3), ReLU(), Dense(2)])
    network.fit(X, y, epochs=1)
    before = network.params.copy()
    monkeypatch.setattr(ReLU, "kernel", network.loss.kernel)
    with pytest.raises(InputError, match="a kernel that can be called for 'activate'"):
        network.fit(X, y, epochs=1)
    np.testing.assert_array_equal(network.params, before)
