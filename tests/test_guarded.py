"""Guard pages: every access out of bounds, on either side, crashes, and nothing else does."""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import pickle
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from .stress import guarded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thinned(1),
    pytest.mark.skipif(not guarded.IS_SUPPORTED, reason=guarded.WHY_NOT),
    pytest.mark.filterwarnings("ignore:.*fork"),  # of a process with threads; children do little
]

SIZES = (1, 3, 512, 1023, 10_000)
TYPES = (np.uint8, np.int32, np.float32, np.float64)


def _number(array: np.ndarray, place: int) -> Any:
    """What stands at a place of an array, or beside it, as a kernel sees it: by its address."""
    kind = np.ctypeslib.as_ctypes_type(array.dtype)
    return kind.from_address(array.ctypes.data + place * array.itemsize)


def _ending_of(work: Callable[..., None], *arguments: Any) -> int:
    """Exit code of a process that does this; minus the number of a signal that killed it."""

    def alone() -> None:
        faulthandler.disable()
        work(*arguments)

    child = multiprocessing.get_context("fork").Process(target=alone)
    guarded.hook()  # compiled once, for all children
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _touch(mode: guarded.Mode, size: int, dtype: Any, place: int, writes: bool) -> None:
    with guarded.arrays(mode):
        array = np.zeros(size, dtype)
        number = _number(array, place if place < 0 else size - 1 + place)
        if writes:
            number.value = 1
        assert number.value in (0, 1)


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("mode", "place"), [("end", 1), ("start", -1)])
def test_one_number_too_far_dies_every_time(
    mode: guarded.Mode, place: int, dtype: Any, writes: bool
) -> None:
    for size in SIZES:
        assert _ending_of(_touch, mode, size, dtype, 0, writes) == 0
        assert _ending_of(_touch, mode, size, dtype, place, writes) == -signal.SIGSEGV, size


@pytest.mark.parametrize(("mode", "place"), [("end", -1), ("start", 1)])
def test_a_write_on_the_other_side_is_seen_when_the_array_is_freed(
    mode: guarded.Mode, place: int
) -> None:
    assert _ending_of(_touch, mode, 3, np.float64, place, True) == -signal.SIGABRT


def _write_to(made: Callable[[], np.ndarray]) -> None:
    with guarded.arrays("end"):
        array = guarded.read_only(made())
        assert not array.flags.writeable
        assert array.sum() == made().sum()
        _number(array, 0).value = 1


@pytest.mark.parametrize(
    "made",
    [
        lambda: np.ones(5),
        lambda: np.asfortranarray(np.ones((300, 7), np.float32)),
        lambda: np.arange(12)[::-2],
    ],
)
def test_a_write_to_a_read_only_array_dies(made: Callable[[], np.ndarray]) -> None:
    assert _ending_of(_write_to, made) == -signal.SIGSEGV


def _use_after_free(mode: guarded.Mode) -> None:
    with guarded.arrays(mode):
        array = np.zeros(5)
        number = _number(array, 0)
        del array
        for _ in range(1000):  # addresses are not given out again
            np.zeros(5)
        number.value  # noqa: B018


@pytest.mark.parametrize("mode", guarded.MODES)
def test_memory_that_was_freed_is_unreadable(mode: guarded.Mode) -> None:
    assert _ending_of(_use_after_free, mode) == -signal.SIGSEGV


@pytest.mark.parametrize("mode", guarded.MODES)
def test_arrays_behave_as_ever(mode: guarded.Mode) -> None:
    with guarded.arrays(mode):
        assert np.isnan(np.empty(7)).all(), "what nobody wrote must be seen"
        array = np.arange(10.0)
        made = [
            array, array.copy(), array.astype(np.float32), np.sqrt(array), array[::-1].copy(),
            np.concatenate([array, array]), np.append(array, 1), np.fromiter(range(500), float),
            sparse.csr_matrix(np.eye(3)).data, np.zeros(0), np.array(3.0), np.array(["a", "bc"]),
            pickle.loads(pickle.dumps(array, protocol=4)), np.linalg.inv(np.eye(4) + 1),
        ]  # fmt: skip
        assert all(map(guarded.is_guarded, made))
        grown = np.zeros(3)
        grown.resize(100_000, refcheck=False)
        assert guarded.is_guarded(grown)
        with guarded.no_arrays():
            assert not guarded.is_guarded(np.zeros(3))
    assert not guarded.is_guarded(np.zeros(3))
    np.testing.assert_array_equal(made[5], np.tile(np.arange(10.0), 2))
    assert ctypes.c_double.from_address(made[0].ctypes.data + 24).value == 3.0
