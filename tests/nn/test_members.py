"""Members that share weights: their layers, their loss, and networks of them on every path."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import (
    BatchTrainer,
    Dense,
    EarlyStopping,
    GroupedDense,
    InputError,
    Loss,
    MeanOfMembers,
    Members,
    Network,
    Quantile,
    ReLU,
    SharedDense,
    Tanh,
    fit_many,
    to_onnx,
)
from fastmlp.nn import LOSSES

from ..engine.test_paths import assert_paths_agree, loss_with_options, targets

K, N_IN, N_OUT = 4, 6, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, N_IN))


def layers(n_out: int = N_OUT, units: int = 5, k: int = K) -> list[Any]:
    return [
        Members(k, "normal"), SharedDense(units, k), ReLU(), SharedDense(7, k), Tanh(),
        GroupedDense(n_out, 7),
    ]  # fmt: skip


def made(loss: Any = "softmax_cross_entropy", n_out: int = N_OUT, **options: Any) -> Network:
    return Network(layers(n_out), MeanOfMembers(loss, K), **options)


# ---------------------------------------------------------------------------------- layers


@pytest.mark.nojit
def test_each_member_has_factors_of_its_own() -> None:
    layer = Members(3, sizes=[2, 1, 3])
    factors = layer.forward(np.ones((1, N_IN))).reshape(3, N_IN)
    assert set(factors.ravel()) == {-1.0, 1.0}
    for start, stop in ((0, 2), (3, 6)):  # columns of one feature begin alike
        assert (factors[:, start:stop] == factors[:, start : start + 1]).all()
    assert len(np.unique(Members(9, "normal").forward(np.ones((1, N_IN))))) == 9 * N_IN
    layer.parameters["weight"][...] = np.arange(3 * N_IN)
    expected = X[:, None, :] * np.arange(3 * N_IN).reshape(3, N_IN)
    assert np.array_equal(layer.forward(X), expected.reshape(len(X), -1))


@pytest.mark.nojit
@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("units", [1, 3, 40])
def test_all_members_have_the_same_weights(k: int, units: int) -> None:
    layer = SharedDense(units, k, "normal", "normal")
    Y, dY = layer.forward(X), RNG.normal(size=(len(X), k * units))
    W, b = layer.parameters["W"], layer.parameters["b"]
    dX = layer.backward(dY)
    rows, slopes = X.reshape(-1, N_IN // k), dY.reshape(-1, units)
    assert np.allclose(Y, (rows @ W + b).reshape(Y.shape))
    assert np.allclose(dX, (slopes @ W.T).reshape(X.shape))
    assert np.allclose(layer.gradients["W"], rows.T @ slopes)
    assert np.allclose(layer.gradients["b"], slopes.sum(axis=0))


@pytest.mark.nojit
def test_shared_weights_suit_the_rows_of_all_members() -> None:
    own = {"initializer": "unit_variance", "bias_initializer": "he_plus"}
    network = Network([SharedDense(8, 2, **own)], "mse").initialize(5 * X + 3)
    assert np.allclose(network.outputs(5 * X + 3).reshape(-1, 8).std(axis=0), 1, atol=1e-3)


# ------------------------------------------------------------------------------------ loss


@pytest.mark.nojit
@pytest.mark.parametrize("kind", list(LOSSES), ids=LOSSES.names)
def test_the_loss_is_the_mean_of_the_members_own(kind: type[Loss]) -> None:
    rng, one = np.random.default_rng(1), loss_with_options(kind)
    z, weights = rng.normal(size=(20, K * N_OUT)), rng.uniform(size=20)
    loss, t = MeanOfMembers(one, K), targets(one, rng, 20)
    t = np.eye(N_OUT)[t] if one.task == "classes" else np.resize(t, (20, N_OUT)).astype(float)
    of_members = np.split(z, K, axis=1)
    found = [one.value_and_gradient(part, t, weights) for part in of_members]
    value, gradient = loss.value_and_gradient(z, t, weights)
    assert np.isclose(value, np.mean([each for each, _ in found]), rtol=1e-12)
    expected = np.concatenate([each / K for _, each in found], axis=1)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)
    linked = np.mean([one.link(part) for part in of_members], axis=0)
    np.testing.assert_allclose(loss.link(z), linked, rtol=1e-12)
    assert loss == MeanOfMembers(one, K) != MeanOfMembers(one, K + 1)


def test_gradients_are_those_of_the_differences() -> None:
    network, y = made(dtype="float64", l2=0.1), np.arange(len(X)) % N_OUT
    weights, step = np.linspace(0, 2, len(X)), 1e-6
    _, gradient = network.loss_and_gradient(X, y, weights)
    for place in range(0, network.params.size, 7):
        ends = []
        for sign in (1, -1):
            network.params[place] += sign * step
            ends.append(network.loss_and_gradient(X, y, weights)[0])
            network.params[place] -= sign * step
        assert np.isclose(gradient[place], (ends[0] - ends[1]) / (2 * step), atol=1e-8)


# -------------------------------------------------------------------------------- networks


@pytest.mark.nojit
def test_members_are_networks_that_share_weights() -> None:
    """Dense networks with those weights say the same, and their mean is the prediction."""
    network, y = made(dtype="float64").build(N_IN), np.arange(len(X)) % N_OUT
    of_first, of_last = (network.layers[i].parameters for i in (0, -1))
    found, losses = [], []
    for m in range(K):
        one = Network([Dense(5), ReLU(), Dense(7), Tanh(), Dense(N_OUT)], dtype="float64")
        one.build(N_IN)
        dense = [layer for layer in one.layers if isinstance(layer, Dense)]
        shared = [layer for layer in network.layers if isinstance(layer, SharedDense)]
        for mine, theirs in zip(dense, shared, strict=False):
            mine.W, mine.b = theirs.parameters["W"], theirs.parameters["b"]
        dense[0].W = dense[0].W * of_first["weight"].reshape(K, N_IN, 1)[m]
        dense[2].W = of_last["W"].reshape(K, 7, N_OUT)[m]
        dense[2].b = of_last["b"].reshape(K, N_OUT)[m]
        found.append(one.predict_proba(X))
        losses.append(one.loss_and_gradient(X, y)[0])
    np.testing.assert_allclose(network.predict_proba(X), np.mean(found, axis=0), rtol=1e-12)
    assert np.isclose(network.loss_and_gradient(X, y)[0], np.mean(losses), rtol=1e-12)
    assert network.outputs(X).shape == (len(X), K * N_OUT)


FITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weighted": {"sample_weight": np.linspace(0, 2, len(X))},
    "accumulated": {"batch_size": 8, "gradient_accumulation_steps": 2},
    "two threads": {"n_threads": 2, "optimizer": "adam"},
}


@pytest.mark.bounds
@pytest.mark.thinned
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("kind", list(LOSSES), ids=LOSSES.names)
def test_both_paths_train_to_the_same_bits(kind: type[Loss], fit: str) -> None:
    one = loss_with_options(kind)
    y = targets(one, np.random.default_rng(2), len(X))
    assert_paths_agree(lambda: made(one, l2=1e-3), X, y, **FITS[fit])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wide_members_train_to_the_same_bits(dtype: str) -> None:
    def wide() -> Network:
        inner = [Members(3), SharedDense(270, 3), ReLU(), SharedDense(33, 3), GroupedDense(2, 33)]
        return Network(inner, MeanOfMembers("mse", 3), dtype=dtype)

    for n_threads in (1, 2):
        assert_paths_agree(wide, X, X[:, :2], n_threads=n_threads, batch_size=32)


def test_sparse_and_strided_rows_are_the_same_numbers() -> None:
    some = np.where(np.abs(X) > 0.5, X, 0)
    for begin in ([Members(K)], []):
        network = Network([*begin, SharedDense(4, 2), Dense(N_OUT)]).build(N_IN)
        expected = network.outputs(some)
        assert np.array_equal(network.outputs(sparse.csr_matrix(some)), expected)
        assert np.array_equal(network.outputs(np.asfortranarray(some)), expected)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("loss", "n_out", "y"),
    [
        ("softmax_cross_entropy", 3, np.array(["a", "b", "c"])[np.arange(len(X)) % 3]),
        ("binary_cross_entropy", 1, X[:, 0] > 0),
        (Quantile((0.1, 0.9)), 2, X[:, 0]),
        ("poisson_deviance", 1, np.abs(X[:, 0])),
    ],
)
def test_copies_files_and_predictors_answer_alike(
    loss: Any, n_out: int, y: np.ndarray, tmp_path: Path
) -> None:
    network = made(loss, n_out)
    network.fit(X, y, epochs=3)
    assert network.n_outputs == n_out
    expected, rows = network.predict(X), X.astype(np.float32)
    network.save(tmp_path / "model.safetensors")
    for other in (
        Network.load(tmp_path / "model.safetensors"),
        pickle.loads(pickle.dumps(network)),
    ):
        assert other.loss == network.loss
        assert np.array_equal(other.predict(X), expected)
    predictor = network.compile_predictor()
    assert np.array_equal(predictor.predict(rows), network.predict(rows))
    np.testing.assert_allclose(predictor(rows[3]), predictor(rows)[3], rtol=1e-5)


def test_onnx_answers_alike(tmp_path: Path) -> None:
    network = made()
    network.fit(X, np.arange(len(X)) % N_OUT, epochs=3)
    to_onnx(network, tmp_path / "model.onnx", X)  # which compares predictions
    assert (tmp_path / "model.onnx").is_file()


@pytest.mark.nojit
def test_held_out_rows_are_judged_by_the_mean_of_the_members() -> None:
    y = np.arange(len(X)) % N_OUT
    network, stopping = made(), EarlyStopping(None)
    history = network.fit(X, y, epochs=5, validation_data=(X[:20], y[:20]), callbacks=[stopping])
    right = np.argmax(network.predict_proba(X[:20]), axis=1) == y[:20]
    assert right.mean() == max(history.validation_score) == stopping.best_value


def test_fits_of_many_networks_are_those_of_each_alone() -> None:
    y = np.arange(len(X)) % N_OUT
    several = [made(random_state=seed) for seed in range(3)]
    fit_many(several, X, y, epochs=3, optimizer="sgd")
    for seed, one in enumerate(several):
        alone = made(random_state=seed)
        alone.fit(X, y, epochs=3, optimizer="sgd")
        assert np.array_equal(one.params, alone.params)


def test_networks_of_other_losses_share_no_engine() -> None:
    y = X[:, :2]
    kinds = [(one, k) for one in ("mse", "mae") for k in (1, 2)]
    several = [Network([Dense(2 * k)], MeanOfMembers(one, k), random_state=0) for one, k in kinds]
    fit_many(several, X, y, epochs=3, optimizer="sgd", n_threads=1)
    for (one, k), network in zip(kinds, several, strict=True):
        alone = Network([Dense(2 * k)], MeanOfMembers(one, k), random_state=0)
        alone.fit(X, y, epochs=3, optimizer="sgd", n_threads=1)
        assert np.array_equal(network.params, alone.params)


def test_a_loop_of_ones_own_gets_the_outputs_of_all_members() -> None:
    network = made(dtype="float64").build(N_IN)
    trainer, t = BatchTrainer(network, batch_size=len(X)), np.eye(N_OUT)[np.arange(len(X)) % N_OUT]
    outputs = trainer.forward(X)
    _, slopes = network.loss.value_and_gradient(outputs, t, np.ones(len(X)))
    trainer.backward(slopes)
    found = network.grads.copy()
    network.loss_and_gradient(X, np.argmax(t, axis=1))
    np.testing.assert_allclose(network.grads, found, atol=1e-12)


@pytest.mark.nojit
def test_members_of_another_number_are_refused() -> None:
    with pytest.raises(InputError, match="expected outputs for each of 4 members, got 6 outputs"):
        Network([Members(4), Dense(6)], MeanOfMembers("mse", 4)).build(3)
    network = made().build(N_IN)
    network.loss = MeanOfMembers("mse", K)
    with pytest.raises(InputError, match="expected a loss of 4 members, got 1"):
        network.loss = "mse"
    assert network.loss == MeanOfMembers("mse", K)
