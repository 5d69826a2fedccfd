"""Many threads on one model, and fits in processes of every kind: the same bits everywhere."""

from __future__ import annotations

import concurrent.futures
import hashlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from fastmlp import Adam, Dense, Network, ReLU

from .outcome import Outcome

THREADS = 8


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 50)).astype(np.float32), rng.integers(0, 4, 400)


def trained(n_threads: int | None = None) -> bytes:
    """The parameters after a short fit, which must be the same wherever it runs."""
    X, y = _data()
    network = Network([Dense(300), ReLU(), Dense(4)], random_state=0)
    network.fit(X, y, optimizer=Adam(0.01), epochs=3, batch_size=128, n_threads=n_threads)
    return network.params.tobytes() + network.predict_proba(X).tobytes()


def run_threads(count: int, seed: int) -> Outcome:
    """So many calls from eight threads that share one network, one predictor, and fits beside."""
    outcome, (X, y) = Outcome(), _data()
    network = Network([Dense(300), ReLU(), Dense(4)], random_state=0)
    network.fit(X, y, epochs=1)
    predictor = network.compile_predictor()
    wanted, rows, fit = network.predict_proba(X), [predictor(row) for row in X], trained(2)

    def work(number: int) -> str | None:
        kind, row = number % 4, number % len(X)
        if kind == 0 and not np.array_equal(network.predict_proba(X), wanted):
            return f"call {number}: another prediction"
        if kind in (1, 2) and not np.array_equal(predictor(X[row]), rows[row]):
            return f"call {number}: another row"
        if kind == 3 and number % 40 == 3 and trained(1 + number % 3) != fit:
            return f"call {number}: another fit"
        return None

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        order = np.random.default_rng(seed).permutation(count).tolist()
        for failure in pool.map(work, order):
            outcome.counts["calls from eight threads"] += 1
            if failure:
                outcome.failures.append(failure)
    return outcome


def run_processes(count: int, seed: int) -> Outcome:
    """So many fits in children of each start method, two levels deep, and in joblib's workers."""
    outcome, wanted = Outcome(), trained()
    methods = multiprocessing.get_all_start_methods()
    for method in methods:
        context: Any = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            for got in pool.map(trained, [1 + i % 2 for i in range(count)], timeout=300):
                outcome.counts[f"fits after {method}"] += 1
                if got != wanted:
                    outcome.failures.append(f"{method}: other bits")
    _run_joblib(count, wanted, outcome)
    return outcome


def run_cold(count: int, seed: int) -> Outcome:
    """So many processes that start at once on one empty cache, twice: cold, then warm."""
    outcome, wanted = Outcome(), hashlib.sha256(trained()).hexdigest()
    code = (
        "import hashlib; from tests.stress.concurrency import trained; "
        "print(hashlib.sha256(trained()).hexdigest())"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        for state in ("a cold", "a warm"):
            children = [
                subprocess.Popen(
                    [sys.executable, "-c", code], env=environment, text=True,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                )
                for _ in range(count)
            ]  # fmt: skip
            for child in children:
                out, _ = child.communicate(timeout=600)
                outcome.counts[f"processes at once on {state} cache"] += 1
                if out.strip() != wanted:
                    outcome.failures.append(f"{state} cache: exit {child.returncode}, {out!r}")
    return outcome


def _run_joblib(count: int, wanted: bytes, outcome: Outcome) -> None:
    from joblib import Parallel, delayed

    for backend in ("loky", "threading", "multiprocessing"):
        found = Parallel(n_jobs=2, backend=backend)(delayed(trained)() for _ in range(count))
        outcome.counts[f"fits in joblib's {backend}"] += count
        outcome.failures += [f"joblib, {backend}: other bits" for got in found if got != wanted]
