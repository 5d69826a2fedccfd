"""nan and infinities are detected while a new network trains, without a pass over the data first.

The loss or the parameters show them, so every activation and loss must propagate them.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import SGD, Adam, Dense, Network, ReLU
from fastmlp.engine.engine import Engine
from fastmlp.errors import InputError
from fastmlp.inputs import checks
from fastmlp.nn import ACTIVATIONS
from fastmlp.nn.losses import LOSSES

from ..support import Own

N, N_FEATURES = 40, 6
BAD = {"nan": np.nan, "infinity": np.inf, "minus infinity": -np.inf}


def data(kind: str = "dense") -> tuple[Any, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(N, N_FEATURES)).astype(np.float32)
    X[np.random.default_rng(1).random(X.shape) < 0.3] = 0
    X[23, 4] = 1
    return (sparse.csr_array(X) if kind == "sparse" else X), (X[:, 0] > 0).astype(float)


def spoiled(X: Any, value: float) -> Any:
    bad = X.copy()
    bad[23, 4] = value
    return bad


def state(network: Network) -> tuple[Any, ...]:
    sizes = [(layer.n_in, layer.n_out) for layer in network.layers]
    return network.is_built, network.coder, network.seed, network.params.tobytes(), sizes


def refused(network: Network, X: Any, y: np.ndarray, **options: Any) -> str:
    before = state(network)
    with pytest.raises(InputError) as caught:
        network.fit(X, y, **options)
    assert state(network) == before
    return str(caught.value)


@pytest.mark.thinned
@pytest.mark.nojit
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda layer: layer.name)
def test_no_activation_hides_a_bad_number(activation: Any, kind: str, value: str) -> None:
    X, y = data(kind)
    layers = [Dense(5), activation(), Dense(4), activation(), Dense(2)]
    fitted, new = Network(layers), Network(copy.deepcopy(layers))
    fitted.fit(X, y, epochs=1)
    for net in (fitted, new):
        text = refused(net, spoiled(X, BAD[value]), y, epochs=3, batch_size=7)
        what = "nan" if value == "nan" else "an infinity"
        assert f"expected X to be finite, got {what} in row 23, column 4;" in text


@pytest.mark.nojit
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("loss", list(LOSSES), ids=lambda loss: loss.name)
@pytest.mark.parametrize("optimizer", [SGD(1e-3), SGD(1e-3, clip_norm=0.1), Adam()], ids=str)
def test_no_loss_or_optimizer_hides_a_bad_number(loss: Any, optimizer: Any, value: str) -> None:
    X, y = data()
    n_outputs = 2 if loss.name == "softmax_cross_entropy" else 1
    network = Network([Dense(5), ReLU(), Dense(n_outputs)], loss(), "float64")
    text = refused(network, spoiled(X, BAD[value]), y, optimizer=optimizer, batch_size=7)
    assert "row 23, column 4;" in text


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_end_together(n_threads: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 300)).astype(np.float32), np.arange(600) % 3
    X[5, 7] = np.nan
    for width in (16, 700):  # threads that own rows, and columns
        network = Network([Dense(width), ReLU(), Dense(3)])
        text = refused(network, X, y, n_threads=n_threads, shuffle=False)
        assert "row 5, column 7;" in text


@pytest.mark.nojit
def test_good_data_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searched, look = [], checks.not_finite

    def not_finite(where: str, name: str, values: Any) -> Any:
        searched.append(name)
        return look(where, name, values)

    monkeypatch.setattr(checks, "not_finite", not_finite)
    X, y = data()
    Network([Dense(3), ReLU(), Dense(2)]).fit(X, y, epochs=1)
    assert "X" not in searched
    Network([Dense(3), Own(), Dense(2)]).fit(X, y, epochs=1)  # may do anything with a nan
    assert "X" in searched
    searched.clear()
    Network([Dense(6, 3), Dense(2)]).fit(X, y, epochs=1)  # has parameters to lose
    assert "X" in searched


@pytest.mark.nojit
@pytest.mark.parametrize("keep_finite", [True, False])
def test_a_fit_that_diverges_keeps_the_last_finite_parameters_if_asked(keep_finite: bool) -> None:
    network = Network([Dense(1, 1)], "mean_squared_error", "float64")
    network.params[...] = 1
    options: dict[str, Any] = {"optimizer": SGD(1e60), "batch_size": 6, "epochs": 9}
    X, y = np.ones((6, 1)), np.zeros(6)
    seen = []

    def remember(net: Network, history: Any) -> None:
        seen.append(net.params.copy())

    with pytest.raises(InputError, match="expected a finite loss"):
        network.fit(X, y, callbacks=[remember], keep_finite=keep_finite, **options)
    assert len(seen) > 1
    assert np.array_equal(network.params, seen[-1]) == keep_finite


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_epoch_ends_at_a_loss_that_is_not_finite(
    n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One target is beyond all squares; no step is made, so all other batches would do well."""
    X, y = np.ones((50, 1)), np.zeros(50)
    y[9] = 1e200
    found, train = [], Engine.train

    def kept(self: Engine, *args: Any, **more: Any) -> np.ndarray:
        found.append(train(self, *args, **more))
        return found[-1]

    monkeypatch.setattr(Engine, "train", kept)
    network = Network([Dense(1, 1)], "mean_squared_error", "float64")
    with pytest.raises(InputError, match="got inf in epoch 1, step 5,"):
        network.fit(
            X, y, optimizer=SGD(0.0), epochs=1, batch_size=2, shuffle=False, n_threads=n_threads
        )
    assert np.isfinite(found[0]).tolist() == [True] * 4 + [False] * 21
