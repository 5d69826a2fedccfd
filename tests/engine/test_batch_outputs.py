"""Outputs of rows in place: how threads share them, and weights that are copied into panels."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from fastmlp.engine import batch_outputs
from fastmlp.engine.batch_outputs import BatchOutputs
from fastmlp.engine.helper import Helper
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.products import blocking
from fastmlp.kernels.tuning import WORK_OF_ONE_SOON, WORK_OF_ONE_THREAD
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


@pytest.fixture
def on_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call wants three threads, whatever its work and the machine's company."""
    monkeypatch.setattr(batch_outputs, "threads_for", lambda *_: 3)
    monkeypatch.setattr(batch_outputs.company, "n_threads", lambda wanted: wanted)


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
def test_after_an_interrupt_nobody_takes_more_rows(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    made, helpers = network(8, 30, 3), list[Helper]()
    compute, X = BatchOutputs(made, True), rows_of(rng, 100, made)
    start, kernel = Helper.start, compute._kernel

    def press(*args: Any) -> bool:
        if args[-1]:  # the caller, who waits for all rows
            raise KeyboardInterrupt
        return bool(kernel(*args))

    out = np.zeros((100, 3), np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(Helper, "start", lambda helper: helpers.append(helper))
        patch.setattr(compute, "_kernel", press)
        with pytest.raises(KeyboardInterrupt):
            compute(made, X, out)
        for helper in helpers:
            start(helper)
            helper.join()
    assert len(helpers) == 2
    assert not out.any()
    np.testing.assert_array_equal(outputs_of(made, X, compute), made.predict_proba(X))


@pytest.mark.nojit
def test_threads_pay_sooner_right_after_a_call(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    asked = list[bool]()

    def threads_for(_: int, is_soon: bool) -> int:
        asked.append(is_soon)
        return 1

    monkeypatch.setattr(batch_outputs, "threads_for", threads_for)
    made = network(3, 2)
    compute, X = BatchOutputs(made, True), rows_of(rng, 2, made)
    outputs_of(made, X, compute)
    monkeypatch.setattr(batch_outputs, "SOON", 1e6)
    outputs_of(made, X, compute)
    monkeypatch.setattr(batch_outputs, "SOON", 0.001)
    time.sleep(0.002)
    outputs_of(made, X, compute)
    assert asked == [False, True, False]
    assert WORK_OF_ONE_SOON < WORK_OF_ONE_THREAD
