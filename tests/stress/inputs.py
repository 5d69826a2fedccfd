"""Inputs that people really pass by mistake, in all combinations: a clear error or a right answer.

A case draws rows, targets, weights and options, most of them with one thing wrong, and trains or
predicts with them through the library and the estimators.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import fastmlp
from fastmlp import Dense, MLPClassifier, MLPRegressor, Network, ReLU
from fastmlp.nn.losses import LOSSES
from fastmlp.optim.optimizers import OPTIMIZERS

from .outcome import Outcome

Rng = np.random.Generator
N, WIDTH = 12, 5
REFUSALS = (ValueError, TypeError)  # InputError is one of the first, as scikit-learn's own are


def _mostly(rng: Rng, good: tuple[Any, ...], bad: tuple[Any, ...], share: float = 0.7) -> Any:
    """One of the good choices, in that share of all cases, or one of the bad or unusual ones."""
    return _one_of(rng, *(good if rng.random() < share else bad))


def _rows(rng: Rng) -> Any:
    X = rng.normal(size=(N, WIDTH))
    spoilt = X.copy()
    spoilt[rng.integers(N), rng.integers(WIDTH)] = rng.choice([np.nan, np.inf, -np.inf, 1e300])
    ragged = [[1.0] * int(rng.integers(1, 7)) for _ in range(N)]
    csr = sparse.csr_matrix(X * (rng.random(X.shape) < 0.5))
    broken = csr.copy()
    broken.indices[rng.integers(broken.indices.size)] = rng.choice([-1, WIDTH, 10**6])
    good = (X, X.astype(np.float32), X.astype(np.float16), csr, X.tolist(), np.asfortranarray(X))
    bad = (
        spoilt, spoilt, spoilt, broken, ragged, X[0], X[None], X[:0], X[:, :0], X[:1],
        X.astype(object), X.astype(str), X.astype("datetime64[s]"), X > 0, (X * 9).astype(np.int8),
        X + 1j, X[::-1, ::-1], X[:, [0] * 30], None, "X", 3.5, {"a": X}, [], [X, X], X * 1e30,
        np.ma.masked_array(X, X > 1), sparse.coo_matrix(X), sparse.dok_matrix(X), X.astype(">f8"),
        [[None] * WIDTH] * N, memoryview(X),
    )  # fmt: skip
    return _mostly(rng, good, bad)


def _targets(rng: Rng) -> Any:
    labels, numbers = rng.integers(0, 3, N), rng.random(N)
    spoilt = numbers.copy()
    spoilt[rng.integers(N)] = rng.choice([np.nan, np.inf, 1e308])
    good = (labels, labels > 0, numbers, labels.astype(str), np.eye(3)[labels])
    bad = (
        spoilt, spoilt, labels.astype(object), labels[:-1], labels[:, None], -numbers, labels * 0,
        np.c_[numbers, numbers], np.eye(3)[labels] / 2, labels.tolist(), [None] * N, [["a"]] * N,
        None, "y", 7, labels - 1, labels + 0.5, np.arange(N), np.array(["a", 1] * (N // 2), object),
        labels.astype("m8[s]"), numbers.astype(np.float16), numbers[None],
        sparse.csr_matrix(np.eye(3)[labels]),
    )  # fmt: skip
    return _mostly(rng, good, bad)


def _weights(rng: Rng) -> Any:
    weights = rng.random(N)
    spoilt = weights.copy()
    spoilt[rng.integers(N)] = rng.choice([np.nan, np.inf, -1.0])
    bad = (
        spoilt, spoilt, weights[:-1], weights * 0, "balanced", weights[:, None], weights.tolist(),
        1.0, weights * 1e300, weights.astype(str),
    )  # fmt: skip
    return _mostly(rng, (None, weights), bad, 0.8)


def _option(rng: Rng, *good: Any) -> Any:
    """A good value of an option, or one that few options may be."""
    bad = (-1, 0, 1.5, np.nan, np.inf, None, "x", [], {}, (), 10**30, True, object)
    return _mostly(rng, good, bad, 0.95)


def _epochs(rng: Rng) -> Any:
    """As `_option`, but 10**30 of these would be waited for."""
    return _mostly(rng, (1, 2), (-1, 0, 1.5, np.nan, None, "x", [], True), 0.95)


def _one_of(rng: Rng, *choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _network(rng: Rng) -> list[np.ndarray]:
    network = Network(
        [Dense(_option(rng, 4)), ReLU(), Dense(int(rng.integers(1, 4)))],
        loss=_one_of(rng, *LOSSES.names), dtype=_one_of(rng, "float32", "float64"),
        random_state=_option(rng, 0, 1), l2=_option(rng, 0.0, 0.1),
    )  # fmt: skip
    X = _rows(rng)
    network.fit(
        X, _targets(rng), optimizer=_one_of(rng, *OPTIMIZERS.names), epochs=_epochs(rng),
        batch_size=_option(rng, 4, 50), sample_weight=_weights(rng), n_threads=_option(rng, 1, 2),
    )  # fmt: skip
    other = _one_of(rng, X, X, _rows(rng))
    return [network.params, network.outputs(other), network.predict_proba(other)]


def _predictor(rng: Rng) -> list[np.ndarray]:
    network = Network([Dense(WIDTH, 4), ReLU(), Dense(4, 2)], random_state=0)
    out = _one_of(rng, None, None, np.empty(2, np.float32), np.empty((N, 2), np.float32), "out")
    X = _rows(rng)
    found = network.compile_predictor()(X, out)
    return [] if np.isnan(found).all(axis=-1).any() else [found]  # nan comes out as nan


def _estimator(rng: Rng) -> list[np.ndarray]:
    kind = _one_of(rng, MLPClassifier, MLPRegressor)
    model = kind(
        hidden_layer_sizes=_option(rng, 3, (3, 2)), max_iter=_epochs(rng),
        solver=_one_of(rng, "adam", "sgd", "lbfgs", "rmsprop"), alpha=_option(rng, 1e-4),
        batch_size=_option(rng, "auto", 5), learning_rate_init=_option(rng, 0.01),
        early_stopping=_one_of(rng, False, False, True), dropout=_option(rng, 0.0, 0.2),
        n_threads=_option(rng, None, 1), random_state=0,
    )  # fmt: skip
    X = _rows(rng)
    model.fit(X, _targets(rng), sample_weight=_weights(rng))
    other = _one_of(rng, X, X, _rows(rng))
    model.predict(other)
    return [*model.coefs_, model.transform(other)]


KINDS: tuple[Callable[[Rng], list[np.ndarray]], ...] = (_network, _network, _estimator, _predictor)


def run(count: int, seed: int) -> Outcome:
    """So many cases, each repeatable from its number and the seed."""
    outcome = Outcome()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            kind = KINDS[number % len(KINDS)]
            try:
                with np.errstate(all="ignore"):
                    found = kind(rng)
            except REFUSALS as refusal:
                ours = isinstance(refusal, fastmlp.InputError)
                outcome.counts["refused by us" if ours else "refused in scikit-learn's words"] += 1
                if not ours and _raised_in_our_kernels(refusal):
                    outcome.failures.append(f"case {number}, {kind.__name__}: {refusal!r}")
            except BaseException as error:
                outcome.failures.append(f"case {number}, {kind.__name__}: {error!r}")
            else:
                outcome.counts["answered"] += 1
                # A number that grows beyond the type is infinite rightly; nan is never right.
                if any(np.isnan(array).any() for array in found):
                    outcome.failures.append(f"case {number}, {kind.__name__}: silent nan")
    return outcome


def _raised_in_our_kernels(error: BaseException) -> bool:
    """Whether an error that is not ours comes from deeper than where inputs are checked."""
    places = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    inner = {
        "engine.py",
        "layerwise.py",
        "lowering.py",
        "threads.py",
        "training.py",
        "tables.py",
        "objective.py",
        "predictor.py",
    }
    return any(
        p.parent.name == "kernels" or p.name in inner for p in places if "fastmlp" in p.parts
    )
