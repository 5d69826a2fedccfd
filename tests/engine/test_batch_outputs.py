"""Outputs of rows in place: how threads share them, and weights that are copied into panels."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import threading
import time
import warnings
import weakref
from typing import Any

import numpy as np
import pytest

from fastmlp.engine import batch_outputs
from fastmlp.engine.batch_outputs import BatchOutputs
from fastmlp.engine.helper import Helper
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.products import blocking
from fastmlp.kernels.tuning import BLOCKS_A_THREAD, LEAST_LATE_BLOCK, PREDICT_BLOCK
from fastmlp.network import Network
from fastmlp.nn import Dense, ReLU, Rescaling, Tanh

needs_threads = pytest.mark.skipif(not JIT_ENABLED, reason="interpreted kernels run on one thread")


def network(*widths: int, dtype: str = "float32") -> Network:
    hidden = [part for width in widths[1:-1] for part in (Dense(width), ReLU())]
    return Network([*hidden, Dense(widths[-1])], dtype=dtype).build(widths[0])


def rows_of(rng: np.random.Generator, n: int, made: Network) -> np.ndarray:
    return rng.normal(size=(n, made.n_features)).astype(made.dtype)


def outputs_of(made: Network, X: np.ndarray, compute: BatchOutputs) -> np.ndarray:
    out = np.full((len(X), made.n_outputs), np.nan, made.dtype)
    assert compute(made, X, out)
    return out


def called(rng: np.random.Generator) -> tuple[Network, BatchOutputs, np.ndarray]:
    """A network, and what has just computed its outputs for some rows."""
    made = network(20, 300, 7)
    compute, X = BatchOutputs(made, True), rows_of(rng, 1000, made)
    outputs_of(made, X, compute)
    return made, compute, X


@pytest.fixture
def on_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call wants three threads, whatever its work and the machine's company."""
    monkeypatch.setattr(batch_outputs.company, "n_threads", lambda _: 3)
    monkeypatch.setattr(batch_outputs, "n_cores", lambda: 3)
    monkeypatch.setattr(batch_outputs, "WORK_A_HELPER", 1)
    monkeypatch.setattr(batch_outputs, "threads_for", lambda _: 3)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Helper]:
    """The helpers that are started during the test."""
    found, start = list[Helper](), Helper.start

    def note(helper: Helper) -> None:
        found.append(helper)
        start(helper)

    monkeypatch.setattr(Helper, "start", note)
    return found


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "widths", [(3, 2), (5, 1), (7, 4, 1, 3), (4, 5, 17, 16, 33), (9, 130, 2), (20, 300, 40, 1)]
)
def test_panels_change_no_bit(
    widths: tuple[int, ...], dtype: str, rng: np.random.Generator
) -> None:
    made = network(*widths, dtype=dtype)
    plain, frozen = (BatchOutputs(made, True, is_frozen) for is_frozen in (False, True))
    for n in (1, 2, 7, 150) if JIT_ENABLED else (1, 3):
        X = rows_of(rng, n, made)
        np.testing.assert_array_equal(outputs_of(made, X, frozen), outputs_of(made, X, plain))


@pytest.mark.nojit
def test_panels_are_those_of_the_op_that_reads_them(rng: np.random.Generator) -> None:
    """Inputs are scaled while they are read, so the layers' numbers are not those of ops."""
    made = Network([Rescaling(0.5), Tanh(), Dense(6), ReLU(), Dense(3)]).build(4)
    X = rows_of(rng, 5, made)
    frozen = BatchOutputs(made, True, is_frozen=True)
    np.testing.assert_array_equal(outputs_of(made, X, frozen), made.predict_proba(X))


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_out", [2, 16, 17, 40])
def test_a_matrix_in_panels(n_out: int, dtype: str, rng: np.random.Generator) -> None:
    W = rng.normal(size=(3, n_out)).astype(dtype)
    panels = blocking.in_panels(W)
    width = blocking.in_python(blocking.tile_width_of)(W.itemsize)
    found = panels.reshape(-1, 3, width).swapaxes(0, 1).reshape(3, -1)
    np.testing.assert_array_equal(found[:, :n_out], W)
    assert not found[:, n_out:].any()
    assert found.shape[1] - n_out < width


@needs_threads
@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.usefixtures("on_three")
def test_threads_change_no_bit(is_frozen: bool, rng: np.random.Generator) -> None:
    made = network(20, 300, 7)
    compute, X = BatchOutputs(made, True, is_frozen), rows_of(rng, 1000, made)
    wanted = made.predict_proba(X)
    for _ in range(20):
        np.testing.assert_array_equal(outputs_of(made, X, compute), wanted)


@needs_threads
@pytest.mark.usefixtures("on_three")
def test_nobody_waits_for_a_late_thread(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Its rows are taken by the others, and it takes none when it comes."""
    made, late = network(8, 30, 3), list[Helper]()
    compute, X = BatchOutputs(made, True), rows_of(rng, 100, made)
    start, wanted = Helper.start, made.predict_proba(X)
    with monkeypatch.context() as patch:
        patch.setattr(Helper, "start", lambda helper: late.append(helper))
        found = outputs_of(made, X, compute)
    np.testing.assert_array_equal(found, wanted)
    found[...] = 0
    for helper in late:
        start(helper)
        helper.join()
    assert len(late) == 2
    assert not found.any()


@needs_threads
@pytest.mark.usefixtures("on_three")
def test_helpers_stay_for_the_next_call(
    started: list[Helper], monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """They take part without being started again, and go when none follows."""
    monkeypatch.setattr(batch_outputs, "STAYS", 15_000)
    made = network(20, 300, 7)
    compute = BatchOutputs(made, True)
    for n in (1000, 30, 2, 500) * 20:
        X = rows_of(rng, n, made)
        np.testing.assert_array_equal(outputs_of(made, X, compute), made.predict_proba(X))
    assert len(started) < 20  # they may have lost their cores for a while
    assert any(helper.is_alive() for helper in started)
    monkeypatch.setattr(batch_outputs, "STAYS", 1)
    for helper in started:
        helper.join()


@needs_threads
@pytest.mark.usefixtures("on_three")
def test_a_child_has_none_of_its_parents_helpers(
    started: list[Helper], monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(batch_outputs, "STAYS", 15_000)
    made, compute, X = called(rng)
    monkeypatch.setattr(batch_outputs.os, "getpid", lambda: -1)
    np.testing.assert_array_equal(outputs_of(made, X, compute), made.predict_proba(X))
    assert len(started) >= 4
    for helper in started:
        helper.join()


@needs_threads
@pytest.mark.usefixtures("on_three")
def test_it_is_freed_without_the_collector(
    started: list[Helper], monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(batch_outputs, "STAYS", 1)
    _, compute, _ = called(rng)
    for helper in started:
        helper.join()
    assert started
    left = weakref.ref(compute)
    gc.collect()
    gc.disable()
    try:
        del compute
        assert left() is None
    finally:
        gc.enable()


@needs_threads
@pytest.mark.usefixtures("on_three")
@pytest.mark.skipif(sys.platform == "win32", reason="cannot fork")
def test_a_forked_child_predicts(rng: np.random.Generator) -> None:
    """Right after its parent has, whose helpers are about to begin."""
    made, compute, X = called(rng)
    wanted = made.predict_proba(X)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def predict() -> None:
        answers.put(np.array_equal(outputs_of(made, X, compute), wanted))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = context.Process(target=predict)
        child.start()
    assert answers.get(timeout=60)
    child.join()


@needs_threads
@pytest.mark.usefixtures("on_three")
def test_callers_at_once_have_helpers_of_their_own(rng: np.random.Generator) -> None:
    made = network(20, 300, 7)
    compute, wrong = BatchOutputs(made, True, is_frozen=True), list[int]()
    tables = [rows_of(rng, n, made) for n in (7, 100, 400, 1000)]
    answers = [made.predict_proba(X) for X in tables]

    def call(caller: int) -> None:
        for number in range(60):
            at = (caller + number) % len(tables)
            if not np.array_equal(outputs_of(made, tables[at], compute), answers[at]):
                wrong.append(number)

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_threads
@pytest.mark.usefixtures("on_three")
def test_it_goes_on_alone_if_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    def refuse(_: Helper) -> None:
        raise RuntimeError("can't start new thread")

    made = network(8, 30, 3)
    compute, X = BatchOutputs(made, True), rows_of(rng, 100, made)
    monkeypatch.setattr(Helper, "start", refuse)
    np.testing.assert_array_equal(outputs_of(made, X, compute), made.predict_proba(X))


@needs_threads
@pytest.mark.usefixtures("on_three")
def test_after_an_interrupt_helpers_find_nothing(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    made = network(8, 30, 3)
    compute, X = BatchOutputs(made, True), rows_of(rng, 100, made)

    def press(*_: Any) -> bool:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return False  # Ctrl-C does not reach the helpers

    out = np.zeros((100, 3), np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "_kernel", press)
        with pytest.raises(KeyboardInterrupt):
            compute(made, X, out)
    assert not out.any()
    for _ in range(3):
        np.testing.assert_array_equal(outputs_of(made, X, compute), made.predict_proba(X))


@needs_threads
def test_helpers_are_called_if_calls_follow_each_other(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    asked = list[int]()

    def n_threads(wanted: int) -> int:
        asked.append(wanted)
        return 1

    monkeypatch.setattr(batch_outputs.company, "n_threads", n_threads)
    made = network(20, 100, 100, 2)
    compute, few, some = BatchOutputs(made, True), rows_of(rng, 2, made), rows_of(rng, 100, made)
    outputs_of(made, some, compute)
    monkeypatch.setattr(batch_outputs, "SOON", 1e6)
    outputs_of(made, some, compute)
    outputs_of(made, few, compute)  # too little work to ask
    monkeypatch.setattr(batch_outputs, "SOON", 0.001)
    time.sleep(0.002)
    outputs_of(made, some, compute)
    assert asked == [1, asked[1], 1]
    assert asked[1] > 1


@pytest.mark.nojit
@pytest.mark.parametrize("n_rows", [1, 5, 6, 13, 100, 252, 253, 5000])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 16])
@pytest.mark.parametrize("is_late", [False, True])
def test_rows_per_block(n_rows: int, n_threads: int, is_late: bool) -> None:
    """Whoever is there gets equal parts, but for whole tiles; who is late can leave some."""
    made = network(3, 2)
    rows = BatchOutputs(made, True)._rows_per_block(n_rows, n_threads, is_late)
    n_blocks = -(-n_rows // rows)
    assert 1 <= rows <= PREDICT_BLOCK
    if n_rows <= n_threads * PREDICT_BLOCK and not is_late:
        assert n_blocks <= n_threads
    if is_late and n_rows >= 2 * n_threads * BLOCKS_A_THREAD * LEAST_LATE_BLOCK:
        assert n_blocks >= n_threads * BLOCKS_A_THREAD / 2
