"""Threads: the same bits for any number of them, and no way for them to wait for ever.

What could hang runs in a process of its own with a time limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp.engine import engine, outputs
from fastmlp.engine import threads as threads_of_a_call
from fastmlp.kernels.compiler.denormals import _IS_X86 as IS_X86
from fastmlp.kernels.compiler.denormals import flush_denormals, restore_denormals
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.products import blocking
from fastmlp.kernels.step import threads
from fastmlp.kernels.step.threads import ABORTED, sync_size
from fastmlp.network import Network
from fastmlp.nn import GELU, Dense, Dropout, Layer, ReLU, Tanh
from fastmlp.nn.losses import MeanSquaredError
from fastmlp.optim.optimizers import OPTIMIZERS, SGD, Adam
from fastmlp.training.history import History

from ..support import address_of

ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT = 120.0
needs_threads = pytest.mark.skipif(not JIT_ENABLED, reason="interpreted kernels use one thread")

Fitted = tuple[np.ndarray, list[float]]


# ---------------------------------------------------------------- symbols that a system lacks

CALL_A_MISSING_NAME = """
import ctypes, sys
import numba
from numba.core import types
from fastmlp.kernels.step import atomics

@ctypes.CFUNCTYPE(ctypes.c_int32)
def substitute():
    return 7

if sys.argv[1] == "defined":
    atomics.define("fastmlp_no_such_function", substitute)
missing = types.ExternalFunction("fastmlp_no_such_function", types.int32())

@numba.njit
def call():
    return missing()

print(call())
"""
# As on Windows, as far as the module that yields can tell.
YIELD_ON_WINDOWS = """
import ctypes, sys, types
import numba
import fastmlp.kernels.products.tiles

assert "fastmlp.kernels.step.atomics" not in sys.modules
calls = []

@ctypes.CFUNCTYPE(ctypes.c_int32)
def switch_to_thread():
    calls.append(None)
    return 0

kernel32 = types.SimpleNamespace(SwitchToThread=switch_to_thread)
ctypes.windll = types.SimpleNamespace(kernel32=kernel32)
system, sys.platform = sys.platform, "win32"
from fastmlp.kernels.step import atomics
sys.platform = system

sched_yield = atomics._sched_yield

@numba.njit
def call():
    return sched_yield()

print(call(), len(calls))
"""


def process(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT,
    )  # fmt: skip


@pytest.mark.slow
@needs_threads
def test_a_name_that_the_system_lacks_can_be_defined() -> None:
    assert process(CALL_A_MISSING_NAME, "missing").returncode != 0  # dies of a segmentation fault
    done = process(CALL_A_MISSING_NAME, "defined")
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


@pytest.mark.slow
@needs_threads
@pytest.mark.skipif(sys.platform == "win32", reason="every other test shows it there")
def test_waiting_threads_yield_on_windows() -> None:
    done = process(YIELD_ON_WINDOWS)
    assert (done.returncode, done.stdout) == (0, "0 1\n"), done.stderr


def fitted(
    n_threads: int,
    make: Callable[[], Network],
    X: np.ndarray,
    y: np.ndarray,
    **options: Any,
) -> Fitted:
    network = make()
    history = network.fit(X, y, n_threads=n_threads, **{"epochs": 2, "batch_size": 50} | options)
    return network.params, history.loss


def check_threads(
    make: Callable[[], Network], X: np.ndarray, y: np.ndarray, **options: Any
) -> Fitted:
    """The same bits on 1, 2, 3 and 5 threads; returns what they agree on."""
    params, losses = fitted(1, make, X, y, **options)
    assert np.ptp(params) > 0
    assert len(set(losses)) > 1
    for n_threads in (2, 3, 5):
        others, other_losses = fitted(n_threads, make, X, y, **options)
        np.testing.assert_array_equal(others, params)
        assert other_losses == losses
    return params, losses


def deep(**options: Any) -> Callable[[], Network]:
    """Widths around tile edges, with dropout."""
    return lambda: Network(
        [Dense(37), Tanh(), Dropout(0.3), Dense(19), GELU(), Dense(3)], **options
    )


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """130 rows, so that the last batch of 50 has 30, in three classes."""
    return rng.normal(size=(130, 20)).astype(np.float32), np.arange(130) % 3


Data = tuple[np.ndarray, np.ndarray]


@needs_threads
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_with_dropout_and_a_ragged_last_batch(dtype: str, data: Data) -> None:
    check_threads(deep(dtype=dtype), *data, epochs=20)


@needs_threads
@pytest.mark.parametrize(
    ("hidden", "n_calls"),
    [(9, 60), *(pytest.param(hidden, 600, marks=pytest.mark.slow) for hidden in (9, 64))],
)
def test_bits_of_many_short_calls(hidden: int, n_calls: int, data: Data) -> None:
    """Gradients of a call's last step stay where both threads can write, as in no other step."""
    X, y = data[0], data[1].astype(float)
    networks = [Network([Dense(hidden), ReLU(), Dense(1)], MeanSquaredError()) for _ in range(2)]
    for call in range(n_calls):
        for network, n_threads in zip(networks, (1, 2), strict=True):
            network.fit(X, y, n_threads=n_threads, epochs=1, batch_size=100)
        np.testing.assert_array_equal(networks[1].params, networks[0].params, f"call {call}")


@needs_threads
def test_as_many_threads_as_asked_for_take_part(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else equal bits would say nothing."""
    seen: set[tuple[int, int]] = set()
    run = engine.Engine._run

    def seen_running(self: engine.Engine, thread: int) -> None:
        seen.add((thread, threading.get_ident()))
        run(self, thread)

    monkeypatch.setattr(engine.Engine, "_run", seen_running)
    fitted(5, deep(), *data, epochs=1)
    assert sorted(thread for thread, _ in seen) == [0, 1, 2, 3, 4]
    assert (0, threading.get_ident()) in seen


@needs_threads
@pytest.mark.parametrize("batch_size", [1, 2, 9, 40, 1000])
def test_bits_for_batches_smaller_and_larger_than_the_work(batch_size: int, data: Data) -> None:
    check_threads(deep(), data[0][:40], data[1][:40], batch_size=batch_size)


@needs_threads
@pytest.mark.parametrize("name", OPTIMIZERS.names)
@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_bits_for_every_optimizer(name: str, clip_norm: float | None, data: Data) -> None:
    """With clipping, threads meet twice more: for the norm over all gradients, and after it."""
    options: dict[str, Any] = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {}
    optimizer = OPTIMIZERS[name](0.01, weight_decay=0.1, clip_norm=clip_norm, **options)
    check_threads(deep(), *data, optimizer=optimizer)


@needs_threads
def test_clipping_changes_the_fit(data: Data) -> None:
    free, _ = fitted(3, deep(), *data, optimizer=SGD(0.1))
    clipped, _ = fitted(3, deep(), *data, optimizer=SGD(0.1, clip_norm=0.05))
    assert (free != clipped).any()


@needs_threads
def test_bits_with_max_norm_penalties_and_weights(data: Data, rng: np.random.Generator) -> None:
    X, y = data

    def make() -> Network:
        hidden = Dense(37, max_norm=0.7), ReLU(), Dense(21, max_norm=0.5), Tanh()
        return Network([*hidden, Dense(3)], l1=1e-3, l2=1e-2)

    weight = rng.choice([0.0, 1.0, 2.5], 130)
    params, _ = check_threads(make, X, y, sample_weight=weight, optimizer=Adam(0.02, clip_norm=0.5))
    norms = np.linalg.norm(params[: 20 * 37].reshape(20, 37), axis=0)
    assert norms.max() < 0.7 * (1 + 1e-5)
    assert (norms > 0.7 * (1 - 1e-5)).any(), "the limit was never reached"


@needs_threads
def test_bits_for_wide_layers(rng: np.random.Generator) -> None:
    """Rows to a thread decide whether panels are packed, and many pieces of W are updated hot."""
    X, y = rng.normal(size=(90, 210)).astype(np.float32), np.arange(90) % 300
    check_threads(
        lambda: Network([Dense(110), ReLU(), Dense(300), ReLU(), Dense(300)]), X, y, batch_size=40
    )


def all_in_one(first: list[Layer]) -> Network:
    """Dense layers with all that may stand between them."""
    hidden = Dense(37, max_norm=0.7), Tanh(), Dropout(0.2), Dense(70), ReLU(), Dense(2), GELU()
    return Network([*first, *hidden, Dense(3)], l1=1e-3, l2=1e-2)


FIRST: dict[str, Callable[[], list[Layer]]] = {
    "Dense": list, "Dropout": lambda: [Dropout(0.2)], "activation": lambda: [Tanh(), ReLU()],
}  # fmt: skip
HOW: dict[str, Callable[[np.ndarray], Any]] = {
    "in place": lambda X: X,
    "converted": lambda X: X.astype(np.float64, order="F"),
    "sparse": lambda X: sparse.csr_array(X * (X > 0.5)),
}


@pytest.mark.thinned
@needs_threads
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("how", HOW)
def test_bits_where_narrow_layers_are_packed(
    how: str, first: str, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, optimizer = HOW[how](data[0]), data[1], Adam(0.02, clip_norm=0.5)
    in_place, losses = fitted(3, lambda: all_in_one(FIRST[first]()), X, y, optimizer=optimizer)
    for packs in ("packs_weights", "packs_inputs"):
        monkeypatch.setattr(blocking, packs, lambda *_: True)
    packed = check_threads(lambda: all_in_one(FIRST[first]()), X, y, optimizer=optimizer)
    np.testing.assert_array_equal(packed[0], in_place)
    assert packed[1] == losses


@needs_threads
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_bits_for_data_that_is_converted(kind: Any, rng: np.random.Generator) -> None:
    X, y = rng.integers(0, 9, (70, 12)).astype(kind, order="F"), rng.normal(size=(70, 2))

    def make() -> Network:
        """Dropout before the first product, and an op without any."""
        return Network([Dropout(0.2), Dense(9), Tanh(), ReLU(), Dense(2)], MeanSquaredError())

    check_threads(make, X, y, batch_size=32)


# ---------------------------------------------------------------- several callers at once


@needs_threads
def test_eight_threads_predict_from_one_network(data: Data) -> None:
    X, y = data
    network = deep()()
    network.fit(X, y, epochs=1)
    parts = [np.tile(X, (9, 1))[i : i + 900 + i] for i in range(8)]
    wanted = [network.predict_proba(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for got, right in zip(pool.map(network.predict_proba, parts), wanted, strict=True):
                np.testing.assert_array_equal(got, right)
    assert len({right.tobytes() for right in wanted}) == 8


@needs_threads
@pytest.mark.parametrize("n_threads", [1, 3])
def test_two_fits_at_once_equal_two_in_turn(n_threads: int, data: Data) -> None:
    makes = [deep(random_state=seed) for seed in range(2)]

    def run(make: Callable[[], Network]) -> Fitted:
        return fitted(n_threads, make, *data, epochs=8)

    in_turn = [run(make) for make in makes]
    with ThreadPoolExecutor(2) as pool:
        at_once = list(pool.map(run, makes))
    for (params, losses), (wanted, wanted_losses) in zip(at_once, in_turn, strict=True):
        np.testing.assert_array_equal(params, wanted)
        assert losses == wanted_losses
    assert (in_turn[0][0] != in_turn[1][0]).any()


# ---------------------------------------------------------------- what could hang


def run_alone(code: str) -> Any:
    """What a process of its own prints as JSON; one that hangs fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PRELUDE = """
import json, os, threading
from fastmlp.engine.helper import Helper
import numpy as np
from fastmlp import Dense, Network, ReLU
X, y = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32), np.arange(64) % 2
def fit(n_threads=3):
    network = Network([Dense(40), ReLU(), Dense(2)])
    network.fit(X, y, epochs=3, batch_size=40, n_threads=n_threads)
    return network
"""


@pytest.mark.slow
@needs_threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_fits_after_its_parent() -> None:
    """No threads are left over that a child would wait for, and the parent can go on too."""
    code = """
wanted = fit().params
answers = []
for n_threads in (1, 3):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, fit(n_threads).params.tobytes())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        got = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    answers.append([status, got == wanted.tobytes(), wanted.size])
answers.append([0, bool((fit().params == wanted).all()), wanted.size])
print(json.dumps(answers))
"""
    assert run_alone(PRELUDE + code) == [[0, True, 362]] * 3


@pytest.mark.slow
@needs_threads
def test_a_failure_on_one_thread_ends_the_others() -> None:
    """Those that wait for it at the barrier return, its exception is raised, and a new fit works.

    The failing thread fails at once, so the others have nobody to meet.
    """
    code = """
from fastmlp.engine import engine
from fastmlp.kernels.step.step import train_steps
run, wanted, answers = engine.Engine._run, fit().params, []
class Broken(Exception):
    pass
for failing in (0, 1, 2):
    returned = []
    def run_or_fail(self, thread):
        if thread == failing:
            raise Broken(f"thread {failing}")
        returned.append(train_steps(self.job_address, thread, self.one))
    engine.Engine._run = run_or_fail
    try:
        fit()
    except Broken as failure:
        answers.append([str(failure), returned, threading.active_count()])
engine.Engine._run = run
answers.append(bool((fit().params == wanted).all()))
print(json.dumps(answers))
"""
    wanted = [[f"thread {failing}", [False, False], 1] for failing in (0, 1, 2)]
    assert run_alone(PRELUDE + code) == [*wanted, True]


@pytest.mark.slow
@needs_threads
def test_threads_that_have_started_end_if_another_cannot() -> None:
    """They hold addresses of memory that the caller frees, so none may be left when it hears."""
    code = """
start, wanted, answers = Helper.start, fit().params, []
for failing in (1, 2):
    started = []
    def refuse(thread, *where):
        started.append(thread)
        if len(started) == failing:
            raise RuntimeError("can't start new thread")
        start(thread, *where)
    Helper.start = refuse
    try:
        fit()
    except RuntimeError as failure:
        alive = [thread.is_alive() for thread in started]
        answers.append([str(failure), alive, threading.active_count()])
    Helper.start = start
answers.append(bool((fit().params == wanted).all()))
print(json.dumps(answers))
"""
    wanted = [["can't start new thread", [False] * failing, 1] for failing in (1, 2)]
    assert run_alone(PRELUDE + code) == [*wanted, True]


@needs_threads
@pytest.mark.parametrize("interrupted", [0, 1])
def test_a_fit_after_an_interrupted_one_has_the_same_bits(
    interrupted: int, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its engine is the one that was interrupted, where one thread had arrived more often."""

    def net() -> Network:
        return Network([Dense(64), ReLU(), Dense(3)]).build(20)

    def fit(network: Network, n_threads: int) -> History:
        return network.fit(*data, epochs=2, batch_size=16, n_threads=n_threads)

    run, wanted, found = engine.Engine._run, net(), net()

    def run_or_press(self: engine.Engine, thread: int) -> None:
        if thread == interrupted:
            raise KeyboardInterrupt
        run(self, thread)

    with monkeypatch.context() as patch:
        patch.setattr(engine.Engine, "_run", run_or_press)
        assert fit(found, 2).stopped == "interrupted"
    found.params = wanted.params
    fit(wanted, 1)
    fit(found, 2)
    assert [len(spare) for spare in found.spare_engines.values()] == [1]
    np.testing.assert_array_equal(found.params, wanted.params)


@needs_threads
def test_a_prediction_that_fails_ends_all_threads(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is raised when the others have ended, and the network goes on as before.

    For rows that are not read in place; test_batch_outputs.py is about those that are.
    """
    network, X = deep()().build(20), np.asfortranarray(np.tile(data[0], (9, 1)))
    wanted, seen = network.predict_proba(X), set()
    monkeypatch.setattr(outputs, "threads_for", lambda *_: 3)

    def failing(run: Callable[[int], Any], *args: Any, **options: Any) -> Any:
        def run_or_fail(thread: int, **keywords: Any) -> None:
            seen.add(thread)
            if thread == 0:
                raise MemoryError("no room")
            run(thread, **keywords)

        return threads_of_a_call.on_threads(run_or_fail, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "on_threads", failing)
        with pytest.raises(MemoryError, match="no room"):
            network.predict_proba(X)
    assert seen == {0, 1, 2}
    np.testing.assert_array_equal(network.predict_proba(X), wanted)


# ---------------------------------------------------------------- a thread's own setting


def keeps_denormals() -> bool:
    """Whether this thread's processor takes them as numbers now; it may also compare them as 0."""
    product = np.array([5e-324]) * np.ones(1)
    return bool(product.view(np.int64)[0] == 1)


@needs_threads
@pytest.mark.skipif(not IS_X86, reason="only x86 processors are told to flush")
def test_denormals_are_flushed_until_restored() -> None:
    assert keeps_denormals()
    control = flush_denormals()
    try:
        flushed = not keeps_denormals()
        restore_denormals(flush_denormals())
        still = not keeps_denormals()
    finally:
        restore_denormals(control)
    assert flushed
    assert still, "an inner pair leaves the setting of the outer one"
    assert keeps_denormals()


@pytest.mark.nojit
def test_every_call_leaves_the_callers_setting(data: Data) -> None:
    """What a user computes between two calls must not depend on fastmlp."""
    X, y = data[0][:12], data[1][:12]
    network = Network([Dense(3), ReLU(), Dense(3)], dtype="float64")
    for call in (
        lambda: network.fit(X, y, epochs=1, n_threads=2),
        lambda: network.predict(X),
        lambda: network.loss_and_gradient(X, y),
        lambda: network.compile_predictor()(X),
        lambda: network.compile_predictor()(X[0]),
    ):
        call()
        assert keeps_denormals()


# ---------------------------------------------------------------- barrier and parts


def test_nobody_passes_a_barrier_before_all_have_come() -> None:
    if not JIT_ENABLED:
        pytest.skip("the interpreted barrier knows one thread")
    n_threads, n_rounds = 5, 100
    sync, reached = np.zeros(sync_size(n_threads), np.int64), np.zeros(n_threads, np.int64)
    early: list[int] = []

    def run(thread: int) -> None:
        for number in range(1, n_rounds + 1):
            reached[thread] = number
            assert threads.barrier(address_of(sync), n_threads, thread)
            if reached.min() < number:
                early.append(thread)
            assert threads.barrier(address_of(sync), n_threads, thread)

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(run, range(n_threads)))
    assert early == []
    assert (reached == n_rounds).all()
    assert [times_arrived(sync, thread) for thread in range(n_threads)] == [2 * n_rounds] * 5


def times_arrived(sync: np.ndarray, thread: int) -> int:
    return int(sync[(threads.arrivals(address_of(sync), thread) - address_of(sync)) // 8])


@needs_threads
def test_barrier_seen_from_one_thread() -> None:
    """Alone it waits for nobody; the last to come passes; if another failed, nobody waits."""
    sync = np.zeros(sync_size(3), np.int64)
    assert threads.barrier(address_of(sync), 1, 0)
    assert not sync.any()
    for other in (0, 2):
        sync[(threads.arrivals(address_of(sync), other) - address_of(sync)) // 8] = 1
    assert threads.barrier(address_of(sync), 3, 1)
    assert [times_arrived(sync, thread) for thread in range(3)] == [1, 1, 1]
    sync[ABORTED] = 1
    assert not threads.barrier(address_of(sync), 3, 1)


@pytest.mark.nojit
def test_one_thread_meets_nobody() -> None:
    sync = np.zeros(sync_size(1), np.int64)
    assert threads.barrier(address_of(sync), 1, 0)
    assert not sync.any()
