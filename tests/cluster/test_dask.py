"""A Dask cluster of two processes: same bits as here, also when a worker is killed.

All tests share one cluster, whose nannies start killed workers again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fastmlp import (
    Dense,
    EarlyStopping,
    InputError,
    MLPClassifier,
    Network,
    ReLU,
    SearchCV,
    Tanh,
    fit_many,
)
from fastmlp.datasets import load_mnist

pytest.importorskip("distributed")

import itertools

import dask
import dask.array as da
import dask.dataframe as dd
import pandas as pd
from distributed import Client, LocalCluster
from scipy import sparse

from fastmlp.dask import DaskMLPClassifier, DaskMLPRegressor

pytestmark = [
    pytest.mark.slow,
    # Dask's own, when a worker is killed and at the end.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

N = 600
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5)).astype(np.float32)
Y = np.array(["a", "b", "c"])[(X[:, 0] > 0.4).astype(int) + (X[:, 1] > 0)]
CUTS = [0, 90, 90, 200, 260, 350, 430, 500, N]  # of eight partitions, of which one is empty


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def kill_a_worker(client: Client, after: float) -> threading.Timer:
    """Let one be killed while others work."""
    process = min(client.run(os.getpid).values())
    timer = threading.Timer(after, os.kill, (process, signal.SIGKILL))
    timer.start()
    return timer


def parts(values: Any) -> list[Any]:
    return [dask.delayed(values[a:b]) for a, b in itertools.pairwise(CUTS)]


def networks(n: int) -> list[Network]:
    return [
        Network([Dense(3 + i % 7), (ReLU, Tanh)[i % 2](), Dense(3)], random_state=i)
        for i in range(n)
    ]


def test_200_networks_have_the_bits_of_a_fit_here(client: Client) -> None:
    rows = [None if i % 3 else RNG.integers(0, N, N) for i in range(200)]
    judged = [None if i % 4 else RNG.integers(0, N, 50) for i in range(200)]
    options: dict[str, Any] = {"rows": rows, "validation_rows": judged, "epochs": 30}
    here = networks(200)
    fit_many(here, X, Y, **options)
    for kills in (False, True):
        there = networks(200)
        timer = kill_a_worker(client, 0.2) if kills else None
        with joblib.parallel_config(backend="dask"):
            histories = fit_many(there, X, Y, **options)
        if timer is not None:
            timer.join()
        assert {history.stopped for history in histories} == {"finished"}
        for one, twin in zip(here, there, strict=True):
            assert one.learned.tobytes() == twin.learned.tobytes()


def test_searches_and_ensembles_find_the_same(client: Client) -> None:
    model = MLPClassifier(max_iter=9, learning_rate="cosine", random_state=0)
    space = {"width": [8, 16], "learning_rate_init": [0.001, 0.01]}

    def fitted() -> list[Any]:
        search = SearchCV(model, space, cv=2, halving=2, random_state=0).fit(X, Y)
        folds = clone(model).set_params(n_members=3, member_rows="folds").fit(X, Y)
        return [search.cv_results_["mean_test_score"], folds.predict_proba(X)]

    here = fitted()
    with joblib.parallel_config(backend="dask"):
        there = fitted()
    for mine, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_what_cannot_be_pickled_is_told(client: Client) -> None:
    stubborn = EarlyStopping(2)
    vars(stubborn)["lock"] = threading.Lock()
    with (
        joblib.parallel_config(backend="dask"),
        pytest.raises(InputError, match=r"^fit_many: expected what can be pickled.*'_thread.lock'"),
    ):
        fit_many([Network([Dense(3)])], X, Y, validation_rows=[[0, 1]], patience=stubborn)


def plain_options() -> dict[str, Any]:
    return {"hidden_layer_sizes": (16,), "max_iter": 12, "random_state": 0, "batch_size": 32}


def test_neither_workers_nor_company_nor_a_loss_change_the_bits(client: Client) -> None:
    """Two fits at once, of which one worker is killed, and one fit with a single worker."""
    found = list[Any]()

    def fit(**options: Any) -> None:
        model = DaskMLPClassifier(**plain_options(), **options)
        found.append(model.fit(parts(X), parts(Y)))

    threads = [threading.Thread(target=fit, kwargs={"client": client}) for _ in range(2)]
    for thread in threads:
        thread.start()
    timer = kill_a_worker(client, 0.2)
    for thread in [*threads, timer]:
        thread.join(60)
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as alone,
        Client(alone, set_as_default=False) as other,
    ):
        fit(client=other)
    assert len(found) == 3
    first = found[0].to_local()
    assert found[0].n_lanes_ == 7
    assert type(first) is MLPClassifier
    assert first.n_iter_ == len(first.loss_curve_) == 12
    assert (first.max_iter, first.batch_size, first.learning_rate_init) == (12, 32, 0.001)
    for other_model in found[1:]:
        assert np.array_equal(first.predict_proba(X), other_model.predict_proba(X))


def test_all_lanes_together_learn_as_the_plain_estimator(client: Client) -> None:
    options = plain_options() | {"max_iter": 20}
    plain = MLPClassifier(**options, learning_rate="cosine").fit(X, Y)
    model = DaskMLPClassifier(**options, learning_rate="cosine").fit(parts(X), parts(Y))
    assert list(model.classes_) == ["a", "b", "c"]
    assert model.score(X, Y) > plain.score(X, Y) - 0.03


def test_kinds_of_collections(client: Client) -> None:
    options = plain_options() | {"max_iter": 3}
    weights = da.ones(N, chunks=250)
    model = DaskMLPClassifier(**options, class_weight="balanced", n_lanes=2)
    A, B = da.from_array(X, chunks=(300, 3)), da.from_array(Y, chunks=250)
    model.fit(A, B, weights)
    assert model.n_lanes_ == 2
    labels, chances = model.predict(A), model.predict_proba(A)
    assert labels.chunks == ((300, 300),)
    assert chances.chunks == ((300, 300), (3,))
    assert np.array_equal(labels.compute(), model.predict(X))
    assert np.array_equal(chances.compute(), model.predict_proba(X))
    assert model.score(A, B, weights) == model.score(X, Y)
    rows = sparse.csr_array(X)
    model.fit(parts(rows), parts(Y))
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abcde")), npartitions=3)
    y = dd.from_pandas(pd.Series(X.sum(axis=1)), npartitions=3)
    numbers = DaskMLPRegressor(**options).fit(frame, y)
    assert list(numbers.to_local().feature_names_in_) == list("abcde")
    found = numbers.predict(frame[frame["a"] > 1]).compute()  # some partitions may be empty
    assert found.index.tolist() == np.flatnonzero(X[:, 0] > 1).tolist()
    assert len(numbers.predict(frame[frame["a"] > 99]).compute()) == 0
    assert numbers.score(frame, y) <= 1


def test_parameters_are_those_of_the_plain_estimator() -> None:
    model = DaskMLPClassifier(max_iter=7, n_lanes=3)
    twin = clone(model).set_params(epochs_per_round=2, alpha=0.5)
    assert twin.get_params() == model.get_params() | {"epochs_per_round": 2, "alpha": 0.5}
    assert "max_iter=7" in repr(model)
    with pytest.raises(NotFittedError, match="MLPClassifier"):
        model.predict(X)


def test_a_loss_that_no_longer_improves_ends_the_fit(client: Client) -> None:
    options = plain_options() | {"max_iter": 30, "tol": 10.0, "n_iter_no_change": 2}
    model = DaskMLPClassifier(**options, epochs_per_round=2).fit(parts(X), parts(Y))
    assert model.n_iter_ == 6  # the first round, then more than two stale epochs


@pytest.mark.mnist
def test_mnist_in_eight_partitions_of_which_one_is_empty(client: Client, mnist_home: Path) -> None:
    data = load_mnist(mnist_home)
    digits, labels = data.X[:60_000], data.y[:60_000]
    cuts = [0, 9_000, 9_000, 17_000, 26_000, 34_000, 43_000, 51_000, 60_000]

    def cut(values: Any) -> list[Any]:
        return client.scatter([values[a:b] for a, b in itertools.pairwise(cuts)])

    options: dict[str, Any] = {
        "hidden_layer_sizes": (32,), "max_iter": 8, "batch_size": 100, "random_state": 0,
        "learning_rate": "cosine",
    }  # fmt: skip
    plain = MLPClassifier(**options).fit(digits, labels)
    started = time.monotonic()
    model = DaskMLPClassifier(**options).fit(cut(digits), cut(labels)).to_local()
    assert time.monotonic() - started < 120
    held_out = data.X[60_000:], data.y[60_000:]
    assert model.score(*held_out) > plain.score(*held_out) - 0.005
