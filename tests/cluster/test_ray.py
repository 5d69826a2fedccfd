"""A Ray cluster of this machine: same bits as here, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import pytest

from fastmlp import Dense, MLPClassifier, Network, ReLU, SearchCV, fit_many

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:::ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
X = np.random.default_rng(0).normal(size=(600, 5)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(int)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def kill_a_worker() -> None:
    for process in psutil.process_iter():
        if process.name().startswith("ray::_call"):
            os.kill(process.pid, signal.SIGKILL)
            return


def test_200_networks_have_the_bits_of_a_fit_here() -> None:
    def made() -> list[Network]:
        return [Network([Dense(3 + i % 7), ReLU(), Dense(2)], random_state=i) for i in range(200)]

    here = made()
    fit_many(here, X, Y, epochs=60)
    for kills in (False, True):
        there, timer = made(), threading.Timer(0.4, kill_a_worker)
        if kills:
            timer.start()
        with joblib.parallel_config(backend="ray"):
            fit_many(there, X, Y, epochs=60)
        timer.cancel()
        for one, twin in zip(here, there, strict=True):
            assert one.learned.tobytes() == twin.learned.tobytes()


def test_searches_and_ensembles_find_the_same() -> None:
    model = MLPClassifier(max_iter=9, learning_rate="cosine", random_state=0)

    def fitted() -> list[Any]:
        search = SearchCV(model, {"width": [8, 16]}, cv=2, halving=2).fit(X, Y)
        members = MLPClassifier(max_iter=9, learning_rate="cosine", random_state=0, n_members=3)
        return [search.cv_results_["mean_test_score"], members.fit(X, Y).predict_proba(X)]

    here = fitted()
    with joblib.parallel_config(backend="ray"):
        there = fitted()
    for mine, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(mine, theirs)
