"""Threads beside other processes: fewer of them where a core is missing, and the same bits."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastmlp.engine import engine, threads
from fastmlp.engine.threads import Company, Spent
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.tuning import FIRST_PAUSE, JUDGED_SECONDS, LONGEST_PAUSE
from fastmlp.network import Network
from fastmlp.nn import Dense, Dropout, ReLU, Tanh
from fastmlp.optim.optimizers import Adam

needs_threads = pytest.mark.skipif(not JIT_ENABLED, reason="interpreted kernels use one thread")

# ---------------------------------------------------------------- how many threads


class Clock:
    """A clock that tests set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(threads.time, "monotonic", clock.monotonic)
    return clock


def with_cores(cores: float, seconds: float = JUDGED_SECONDS) -> Spent:
    """A call whose threads got that many cores."""
    return Spent(seconds, cores * seconds)


@pytest.mark.nojit
def test_a_missing_core_costs_a_thread_for_a_pause(clock: Clock) -> None:
    company = Company()
    company.note(4, with_cores(3.0))
    assert [company.n_threads(wanted) for wanted in (4, 2, 1)] == [3, 1, 1]
    clock.now = FIRST_PAUSE * 1.01
    assert company.n_threads(4) == 4


@pytest.mark.nojit
@pytest.mark.usefixtures("clock")
def test_threads_that_wait_for_a_moment_have_their_cores() -> None:
    company = Company()
    company.note(2, with_cores(1.5))
    company.note(1, with_cores(0.1))  # a single thread waits for nobody, so it says nothing
    for _ in range(100):
        company.note(2, with_cores(1.0, 0.001))  # most of it is the start of a thread
    assert company.n_threads(2) == 2


@pytest.mark.nojit
@pytest.mark.usefixtures("clock")
def test_short_calls_are_judged_together() -> None:
    company = Company()
    for _ in range(3):
        company.note(2, with_cores(1.0, JUDGED_SECONDS / 3.5))
        assert company.n_threads(2) == 2
    company.note(2, with_cores(1.0, JUDGED_SECONDS / 3.5))
    assert company.n_threads(2) == 1


@pytest.mark.nojit
def test_busy_threads_of_this_process_have_their_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "n_cores", lambda: 4)
    company = Company()
    with company.busy():
        assert [company.n_threads(wanted) for wanted in (4, 3, 2, 1)] == [3, 3, 2, 1]
        with ThreadPoolExecutor(1) as other:
            assert other.submit(inside, company).result() == 2
        assert company.n_threads(4) == 3
    assert company.n_threads(4) == 4


def inside(company: Company) -> int:
    with company.busy():
        return company.n_threads(4)


@pytest.mark.nojit
def test_pauses_get_longer_while_the_core_stays_away(clock: Clock) -> None:
    company, pauses = Company(), []
    for _ in range(9):
        company.note(2, with_cores(1.0))
        started = clock.now
        while company.n_threads(2) == 1:
            clock.now += FIRST_PAUSE / 10
        pauses.append(clock.now - started)
    np.testing.assert_allclose(pauses[:3], FIRST_PAUSE * np.array([1, 2, 4]), rtol=0.11)
    np.testing.assert_allclose(pauses[-2:], LONGEST_PAUSE, rtol=0.11)


@pytest.mark.nojit
def test_pauses_get_shorter_once_the_core_is_back(clock: Clock) -> None:
    company = Company()
    for _ in range(9):
        company.note(2, with_cores(1.0))
        clock.now += 2 * LONGEST_PAUSE
        assert company.n_threads(2) == 2
    for _ in range(9):
        company.note(2, with_cores(2.0))
    company.note(2, with_cores(1.0))
    clock.now += FIRST_PAUSE * 1.01
    assert company.n_threads(2) == 2


# ---------------------------------------------------------------- a container's quota


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("texts", "cores"),
    [
        (["max 100000\n"], np.inf),
        (["150000 100000\n"], 1.5),
        (["-1\n", "100000\n"], np.inf),
        (["300000\n", "100000\n"], 3.0),
        (["nonsense"], np.inf),
        ([], np.inf),
    ],
)
def test_a_containers_quota_limits_the_threads(
    texts: list[str], cores: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(tmp_path / f"quota{i}") for i in range(len(texts) or 1)]
    for name, text in zip(names, texts, strict=False):
        Path(name).write_text(text)
    monkeypatch.setattr(threads, "_QUOTA_FILES", [names])
    monkeypatch.setattr(threads, "quota", threads.quota.__wrapped__)
    monkeypatch.delattr(threads.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 8)
    for name in threads._THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert threads.quota() == cores
    assert threads.n_cores() == min(8, np.ceil(cores))


# ---------------------------------------------------------------- bits


def of_rows() -> Network:
    """Threads share out rows of the batch."""
    return Network([Dense(37), Tanh(), Dropout(0.3), Dense(19), ReLU(), Dense(3)])


def of_inputs() -> Network:
    """Threads share out the inputs of the first layer."""
    return Network([Dense(9), Tanh(), Dense(3)])


def of_columns() -> Network:
    """Threads share out the columns of wide layers."""
    return Network([Dense(300), ReLU(), Dense(300), ReLU(), Dense(3)])


def one_step_each(total: int, first: int) -> Iterator[tuple[int, int]]:
    return ((step, step + 1) for step in range(total))


@needs_threads
@pytest.mark.parametrize("make", [of_rows, of_inputs, of_columns])
def test_bits_where_threads_come_and_go(
    make: Callable[[], Network], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = rng.normal(size=(130, 784)).astype(np.float32), np.arange(130) % 3
    alone = make()
    alone.fit(X, y, epochs=3, batch_size=50, n_threads=1)
    numbers, used = itertools.cycle([3, 1, 2, 4, 1]), []

    class ComeAndGo(Company):
        def n_threads(self, wanted: int) -> int:
            used.append(next(numbers))
            assert wanted == 4
            return used[-1]

    monkeypatch.setattr(engine, "in_pieces", one_step_each)
    monkeypatch.setattr(engine, "company", ComeAndGo())
    monkeypatch.setattr(engine.Engine, "_choose_threads", lambda *_: 4)
    network = make()
    network.fit(X, y, epochs=3, batch_size=50)
    assert used == [3, 1, 2, 4, 1, 3, 1, 2, 4]
    np.testing.assert_array_equal(network.params, alone.params)


@pytest.mark.nojit
def test_a_requested_number_of_threads_is_kept(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crowded(Company):
        def n_threads(self, wanted: int) -> int:
            raise AssertionError("nobody should ask")

        def note(self, n_threads: int, spent: Spent) -> None:
            raise AssertionError("nobody should tell")

    monkeypatch.setattr(engine, "company", Crowded())
    X, y = rng.normal(size=(20, 5)), np.arange(20) % 3
    of_rows().fit(X, y, epochs=1, n_threads=2)
    with pytest.raises(AssertionError, match="ask"):
        of_rows().fit(X, y, epochs=1)


@pytest.mark.slow
@needs_threads
@pytest.mark.parametrize("make", [of_rows, of_inputs, of_columns])
def test_bits_beside_a_busy_process(make: Callable[[], Network], rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(1300, 784)).astype(np.float32), np.arange(1300) % 3
    fitted = []
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            for n_threads in (1, 2, 3, 8, None):
                network = make()
                network.fit(
                    X, y, epochs=10, batch_size=130, n_threads=n_threads, optimizer=Adam(1e-3)
                )
                fitted.append(network.params)
        finally:
            busy.kill()
    for params in fitted[1:]:
        np.testing.assert_array_equal(params, fitted[0])
