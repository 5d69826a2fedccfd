"""A network's flat vectors, its copies, and what it predicts and scores in the form fit was given.
Whatever holds a view of the parameters must hold it of its own network's, after any copying.
"""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import accuracy_score, r2_score

from fastmlp.errors import InputError
from fastmlp.network import Network
from fastmlp.nn import Dense, Dropout, Layer, LeakyReLU, ReLU, Tanh
from fastmlp.nn.losses import (
    LOSSES,
    BinaryCrossEntropy,
    Loss,
    MeanSquaredError,
    PoissonDeviance,
    Quantile,
    SoftmaxCrossEntropy,
)
from fastmlp.optim.optimizers import Adam

from .support import layer_by_layer

N, N_FEATURES = 30, 4
LABELS = np.arange(N) % 3


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def fitted(y: np.ndarray, n_outputs: int = 3, loss: Any = "softmax_cross_entropy") -> Network:
    """A small network after one epoch on y, in float64."""
    X = np.random.default_rng(0).normal(size=(len(y), N_FEATURES))
    network = Network([Dense(5), Tanh(), Dense(n_outputs)], loss, "float64")
    network.fit(X, y, epochs=1, optimizer=Adam(0.05))
    return network


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(N, N_FEATURES))


# --------------------------------------------------------------------------------- flat parameters


@pytest.mark.nojit
def test_weights_stand_before_biases_in_the_order_of_the_layers() -> None:
    network = Network([Dense(4, 3), ReLU(), Dropout(), Dense(2), Tanh(), Dense(5)])
    assert [(g.name, g.start, g.size, g.is_weight, g.scale) for g in network.groups] == [
        ("0.W", 0, 12, True, 1.0),
        ("3.W", 12, 6, True, 1.0),
        ("5.W", 18, 10, True, 1.0),
        ("0.b", 28, 3, False, 1.0),
        ("3.b", 31, 2, False, 1.0),
        ("5.b", 33, 5, False, 1.0),
    ]
    assert network.params.shape == network.grads.shape == (38,)


@pytest.mark.nojit
def test_views_tile_the_vectors_exactly_once() -> None:
    network = Network([Dense(4, 3), ReLU(), Dense(2), Dense(5)])
    network.params[...] = np.arange(network.params.size)
    network.grads[...] = np.arange(network.grads.size)
    for kind in ("parameters", "gradients"):
        views = [view for layer in network.layers for view in getattr(layer, kind).values()]
        numbers = np.concatenate([view.ravel() for view in views])
        assert sorted(numbers) == list(range(network.params.size))
        assert all(view.flags.c_contiguous for view in views)
    assert list(network.named_parameters()) == ["0.W", "0.b", "2.W", "2.b", "3.W", "3.b"]


@pytest.mark.nojit
def test_a_network_is_built_at_once_if_its_first_layer_knows_its_inputs(X: np.ndarray) -> None:
    known, open_ = Network([Dense(4, 3)]), Network([Dense(3)])
    assert (known.is_built, open_.is_built) == (True, False)
    assert open_.params.size == 0
    open_.fit(X, LABELS, epochs=1)
    assert open_.is_built
    assert (open_.n_features, open_.n_outputs) == (4, 3)
    assert Network([Dense(3)]).build(4).params.tobytes() == known.params.tobytes()


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("given", "dtype"),
    [("float32", "float32"), ("float64", "float64"), (np.float64, "float64"), ("f4", "float32")],
)
def test_everything_is_of_the_networks_type(given: Any, dtype: str, X: np.ndarray) -> None:
    network = Network([Dense(4), Tanh(), Dense(3)], dtype=given)
    network.fit(X, LABELS, epochs=1)
    gradient = network.loss_and_gradient(X, LABELS)[1]
    arrays = [network.params, network.grads, network.outputs(X), network.predict_proba(X), gradient]
    assert {array.dtype.name for array in [*arrays, network.layers[0].W]} == {dtype}


@pytest.mark.nojit
def test_the_vectors_of_a_network_stay_where_they_are(X: np.ndarray) -> None:
    network = Network([Dense(4, 3)])
    params, grads, W = network.params, network.grads, network.layers[0].W
    network.fit(X, LABELS, epochs=2)
    network.loss_and_gradient(X, LABELS)
    assert network.params is params
    assert network.grads is grads
    assert network.layers[0].W is W


# ------------------------------------------------------------------------------------------ copies


class Shift(Layer):
    """A layer of one's own with settings that begin with an underscore."""

    name = "shift"

    def __init__(self, by: float = 0.5) -> None:
        self._by = by

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"s": (self.n_in or 0,)}

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return X + self.parameters["s"] + self._by

    def backward(self, dY: np.ndarray) -> np.ndarray:
        self.gradients["s"][...] = dY.sum(axis=0)
        return dY


def by_joblib(network: Network, folder: Path) -> Network:
    joblib = pytest.importorskip("joblib")
    joblib.dump(network, folder / "n.joblib")
    return joblib.load(folder / "n.joblib")


def by_file(network: Network, folder: Path) -> Network:
    network.save(folder / "n.safetensors")
    return Network.load(folder / "n.safetensors", custom=[Shift])


COPIES: dict[str, Callable[[Network, Path], Network]] = {
    "pickle": lambda network, _: pickle.loads(pickle.dumps(network)),
    "old pickle": lambda network, _: pickle.loads(pickle.dumps(network, 2)),
    "deepcopy": lambda network, _: copy.deepcopy(network),
    "copy of a copy": lambda network, _: copy.deepcopy(copy.deepcopy(network)),
    "joblib": by_joblib,
    "file": by_file,
}
ALL_COPIES = pytest.mark.parametrize("method", COPIES.values(), ids=COPIES)


@pytest.mark.nojit
@ALL_COPIES
@pytest.mark.parametrize("own", [False, True], ids=["built-in", "own"])
def test_a_copy_is_whole_and_stands_alone(
    method: Callable[[Network, Path], Network], own: bool, X: np.ndarray, tmp_path: Path
) -> None:
    extra = [Shift()] if own else []
    network = Network([Dropout(0.1), Dense(5), Tanh(), *extra, Dense(3)], l2=0.01, random_state=4)
    network.fit(X, np.array(["a", "b", "c"])[LABELS], epochs=2)
    twin = method(network, tmp_path)
    assert repr(twin).split(" object at ")[0] == repr(network).split(" object at ")[0]
    assert twin.params.tobytes() == network.params.tobytes()
    assert twin.predict(X).tolist() == network.predict(X).tolist()
    assert twin.classes_.tolist() == ["a", "b", "c"]
    assert (twin.seed, twin.l2, twin.dtype, twin.groups) == (4, 0.01, np.float32, network.groups)
    # Its layers hold views of its own vectors.
    twin.params[...] = np.arange(twin.params.size)
    twin.grads[...] = 1
    assert twin.layers[1].W.ravel().tolist() == list(range(20))
    assert (twin.layers[1].db == 1).all()
    twin.layers[1].W[0, 0] = -7
    assert twin.params[0] == -7
    # And none of it reaches the one it was copied from.
    assert not np.shares_memory(twin.params, network.params)
    assert (network.params != np.arange(network.params.size)).all()
    assert network.layers[1].W is not twin.layers[1].W
    # Both go on alike from the same parameters.
    twin.params[...] = network.params
    for net in (network, twin):
        net.fit(X, np.array(["a", "b", "c"])[LABELS], epochs=1)
    assert twin.params.tobytes() == network.params.tobytes()


@pytest.mark.nojit
@pytest.mark.parametrize("method", ["pickle", "deepcopy"])
def test_a_copy_of_an_unbuilt_network_is_unbuilt(
    method: str, X: np.ndarray, tmp_path: Path
) -> None:
    network = Network([Dense(5), Tanh(), Dense(3)])
    twin = COPIES[method](network, tmp_path)
    assert not twin.is_built
    for net in (network, twin):
        net.fit(X, LABELS, epochs=1)
    assert twin.params.tobytes() == network.params.tobytes()
    assert not np.shares_memory(twin.params, network.params)


@pytest.mark.nojit
@ALL_COPIES
def test_layers_belong_to_one_network(
    method: Callable[[Network, Path], Network], X: np.ndarray, tmp_path: Path
) -> None:
    network = Network([Dense(4, 5), Tanh(), Shift(), Dense(3)])
    twin = method(network, tmp_path)
    for net in (network, twin):
        for layer in net.layers:
            with pytest.raises(InputError, match="expected layers of its own, got "):
                Network([layer])
    # A copy of a layer is a layer of its own, and so is one that worked alone before.
    alone = Dense(3)
    alone.forward(np.ones((2, 5)))
    other = Network([copy.deepcopy(network.layers[0]), copy.copy(network.layers[1]), alone])
    before = network.params.copy()
    other.fit(X, LABELS, epochs=1)
    assert network.params.tobytes() == before.tobytes()
    assert not any(
        np.shares_memory(a.W, b.W) for a in network.layers[::3] for b in other.layers[::2]
    )


@pytest.mark.nojit
def test_layers_of_a_refused_network_stay_free_and_as_they_were(X: np.ndarray) -> None:
    layers = [Dense(4), ReLU(), Dense(5, 2)]
    with pytest.raises(InputError, match="expected an input of 5 columns, got 4"):
        Network(layers).fit(X, LABELS % 2)
    assert [(layer.n_in, layer.n_out) for layer in layers] == [(None, 4), (None, None), (5, 2)]
    layers = [Dense(4, 4), ReLU(), Dense(5, 2)]
    with pytest.raises(InputError, match="expected an input of 5 columns, got 4"):
        Network(layers)
    assert [(layer.n_in, layer.n_out) for layer in layers] == [(4, 4), (None, None), (5, 2)]
    assert Network(layers[:2]).n_outputs == 4


@pytest.mark.nojit
@pytest.mark.parametrize("use", ["fit", "loss_and_gradient"])
def test_a_layer_of_ones_own_may_settle_the_number_of_outputs(use: str, X: np.ndarray) -> None:
    class Twice(Layer):
        def build(self, n_in: int) -> int:
            super().build(n_in)
            self.n_out = 2 * n_in
            return self.n_out

        def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
            return np.repeat(X, 2, axis=1)

        def backward(self, dY: np.ndarray) -> np.ndarray:
            return dY.reshape(len(dY), -1, 2).sum(axis=2)

    y = np.eye(4)[LABELS]
    network = Network([Dense(2), Twice()])
    getattr(network, use)(X, y)
    assert network.n_outputs == 4
    assert network.predict_proba(X).shape == (N, 4)
    assert network.evaluate(X, y)[0] > 0


@pytest.mark.nojit
def test_copies_do_not_carry_the_last_batch(X: np.ndarray) -> None:
    network = Network([Dense(4, 5), Tanh(), Dropout(), Dense(3)])
    small = len(pickle.dumps(network))
    for layer in network.layers:
        X = layer.forward(X)
    assert len(pickle.dumps(network)) <= small + 200
    with pytest.raises(InputError, match="a forward pass before it"):
        copy.deepcopy(network).layers[1].backward(np.ones((N, 5)))
    network.layers[3].backward(np.ones((N, 3)))  # while the network itself still knows it


@pytest.mark.nojit
def test_pickling_leaves_the_network_as_it_is(X: np.ndarray) -> None:
    network = Network([Dense(4, 3), Tanh()])
    W = network.layers[0].W
    pickle.dumps(network)
    copy.deepcopy(network)
    assert network.layers[0].W is W
    assert np.shares_memory(network.params, W)


# -------------------------------------------------------------------------------------------- seed


@pytest.mark.nojit
def test_random_state_decides_weights_order_and_dropout(X: np.ndarray) -> None:
    def trained(random_state: Any) -> bytes:
        network = Network([Dropout(0.2), Dense(5), ReLU(), Dense(3)], random_state=random_state)
        network.fit(X, LABELS, epochs=2, batch_size=8)
        return network.params.tobytes()

    assert trained(3) == trained(3)
    assert trained(None) != trained(None)
    assert trained(3) != trained(4)
    assert trained(np.random.default_rng(3)) == trained(np.random.default_rng(3))
    assert trained(2**63 + 5) == trained(5)  # seeds are taken modulo 2^63


@pytest.mark.nojit
def test_weights_are_drawn_anew_by_build() -> None:
    network = Network([Dense(4, 3)], random_state=3)
    before = network.params.copy()
    network.params[...] = 0
    assert network.build(4) is network
    assert network.params.tobytes() == before.tobytes()


# -------------------------------------------------------------------------------- loss and gradient


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_of_rows_give_the_gradient_of_one(
    weighted: bool, dtype: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 2 * 4096 + 100
    X, y = rng.normal(size=(n, 3)).astype(dtype), rng.integers(0, 3, n)
    weight = rng.uniform(0, 2, n) if weighted else None
    if weight is not None:
        weight[:4096] = 0  # a whole block without any
    network = Network([Dense(3, 4), Tanh(), Dense(3)], dtype=dtype, l1=0.01, l2=0.1)
    loss, gradient = network.loss_and_gradient(X, y, weight)
    assert network.grads.tobytes() == gradient.tobytes()
    monkeypatch.setattr("fastmlp.training.objective._BLOCK", n)
    whole_loss, whole_gradient = network.loss_and_gradient(X, y, weight)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert loss == pytest.approx(whole_loss, rel=tolerance)
    np.testing.assert_allclose(gradient, whole_gradient, rtol=0, atol=tolerance)
    layer_by_layer(monkeypatch)
    layer_loss, layer_gradient = network.loss_and_gradient(X, y, weight)
    assert loss == pytest.approx(layer_loss, rel=tolerance)
    np.testing.assert_allclose(gradient, layer_gradient, rtol=0, atol=tolerance)


@pytest.mark.nojit
@pytest.mark.parametrize("path", ["fused", "layers"])
def test_penalties_are_added_once_and_to_weights_only(
    path: str, X: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastmlp.training.objective._BLOCK", 7)
    if path == "layers":
        layer_by_layer(monkeypatch)
    plain = Network([Dense(4, 5), Tanh(), Dense(3)], dtype="float64")
    plain.layers[0].b = 0.7
    loss, gradient = plain.loss_and_gradient(X, LABELS)
    weights = plain.params[: 4 * 5 + 5 * 3]
    for l1, l2 in ((0.3, 0.0), (0.0, 0.2), (0.3, 0.2)):
        network = Network([Dense(4, 5), Tanh(), Dense(3)], dtype="float64", l1=l1, l2=l2)
        network.params[...] = plain.params
        found_loss, found = network.loss_and_gradient(X, LABELS)
        penalty = l1 * np.abs(weights).sum() + l2 / 2 * (weights**2).sum()
        assert found_loss == pytest.approx(loss + penalty, rel=1e-13)
        expected = gradient.copy()
        expected[: weights.size] += l1 * np.sign(weights) + l2 * weights
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.nojit
def test_the_returned_gradient_is_a_copy(X: np.ndarray) -> None:
    network = Network([Dense(4, 3)])
    gradient = network.loss_and_gradient(X, LABELS)[1]
    kept = gradient.copy()
    network.loss_and_gradient(X[:5], LABELS[:5])
    assert gradient.tobytes() == kept.tobytes()
    assert network.grads.tobytes() != kept.tobytes()


@pytest.mark.nojit
def test_loss_and_gradient_builds_an_open_network_and_learns_its_labels(X: np.ndarray) -> None:
    network = Network([Dense(3)])
    network.loss_and_gradient(X, np.array(["a", "b", "c"])[LABELS])
    assert network.is_built
    assert network.classes_.tolist() == ["a", "b", "c"]


@pytest.mark.nojit
def test_targets_that_are_refused_are_not_remembered(X: np.ndarray) -> None:
    network = Network([Dense(4, 2)], "mean_squared_error")
    with pytest.raises(InputError, match="nan in row 0"):
        network.loss_and_gradient(X, np.full((N, 2), np.nan))
    assert network.coder is None
    with pytest.raises(InputError, match="negative one in row 0"):
        network.loss_and_gradient(X, np.zeros((N, 2)), -np.ones(N))
    assert network.coder is None


# ------------------------------------------------------------------------------------- predictions

TARGETS: dict[str, tuple[np.ndarray, int, Any]] = {
    "integers": (LABELS, 3, SoftmaxCrossEntropy()),
    "integers from 5": (LABELS + 5, 3, SoftmaxCrossEntropy()),
    "negative integers": (LABELS - 1, 3, SoftmaxCrossEntropy()),
    "bytes": (LABELS.astype(np.uint8), 3, SoftmaxCrossEntropy()),
    "whole floats": (LABELS.astype(float), 3, SoftmaxCrossEntropy()),
    "strings": (np.array(["red", "green", "blue"])[LABELS], 3, SoftmaxCrossEntropy()),
    "objects": (np.array(["red", "green", "blue"], object)[LABELS], 3, SoftmaxCrossEntropy()),
    "booleans": (LABELS > 0, 2, SoftmaxCrossEntropy()),
    "binary strings": (np.array(["yes", "no"])[LABELS % 2], 1, BinaryCrossEntropy()),
    "binary integers": (LABELS % 2 * 2 - 1, 1, BinaryCrossEntropy()),
    "binary booleans": (LABELS % 2 == 0, 1, BinaryCrossEntropy()),
}


@pytest.mark.parametrize(("y", "n_outputs", "loss"), TARGETS.values(), ids=TARGETS)
def test_labels_are_predicted_as_they_were_given(y: np.ndarray, n_outputs: int, loss: Loss) -> None:
    X = np.random.default_rng(0).normal(size=(N, N_FEATURES))
    network = Network([Dense(30), Tanh(), Dense(n_outputs)], loss, "float64")
    network.fit(X, y, epochs=80, optimizer=Adam(0.05))
    predicted = network.predict(X)
    assert predicted.dtype == y.dtype
    assert predicted.shape == y.shape
    assert network.score(X, y) == np.mean(predicted == y)
    assert network.score(X, y) > 0.9
    assert network.classes_.tolist() == np.unique(y).tolist()
    # Probabilities stand in the order of classes_.
    P = network.predict_proba(X)
    assert P.shape == (N, n_outputs)
    if n_outputs > 1:
        np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-12)
        assert (network.classes_[P.argmax(axis=1)] == predicted).all()
    else:
        assert (network.classes_[(P[:, 0] > 0.5).astype(int)] == predicted).all()


@pytest.mark.parametrize("kind", ["one-hot", "probabilities"])
def test_rows_of_probabilities_are_predicted_as_column_numbers(kind: str, X: np.ndarray) -> None:
    y = np.eye(3)[LABELS] if kind == "one-hot" else 0.8 * np.eye(3)[LABELS] + 0.2 / 3
    network = Network([Dense(30), Tanh(), Dense(3)])
    network.fit(X, y, epochs=80, optimizer=Adam(0.05))
    assert network.classes_ is None
    predicted = network.predict(X)
    assert predicted.dtype.kind == "i"
    assert np.mean(predicted == LABELS) == network.score(X, y)
    assert network.score(X, y) > 0.9


def test_many_labels_are_predicted_as_zeros_and_ones(X: np.ndarray) -> None:
    y = (X[:, :3] > 0).astype(int)
    network = Network([Dense(20), Tanh(), Dense(3)], "binary_cross_entropy")
    network.fit(X, y, epochs=150, optimizer=Adam(0.05))
    predicted = network.predict(X)
    assert (predicted.dtype, predicted.shape) == (np.dtype(np.int64), (N, 3))
    assert network.classes_ is None
    assert network.score(X, y) == accuracy_score(y, predicted)  # every label of a row right
    assert network.score(X, y) > 0.9
    wrong = predicted.copy()
    wrong[0, 0] = 1 - wrong[0, 0]
    assert network.score(X, wrong) == pytest.approx(1 - 1 / N)


def test_integers_from_nought_keep_their_place_if_a_class_is_absent(X: np.ndarray) -> None:
    y = np.array([0, 2])[LABELS % 2]
    network = Network([Dense(20), Tanh(), Dense(4)])
    network.fit(X, y, epochs=80, optimizer=Adam(0.05))
    assert network.classes_.tolist() == [0, 1, 2, 3]
    assert set(network.predict(X)) == {0, 2}
    assert network.score(X, y) > 0.9
    assert network.predict_proba(X)[:, [1, 3]].max() < 0.2
    assert network.score(X, np.full(N, 3)) == 0.0  # the absent ones are known all the same


@pytest.mark.nojit
@pytest.mark.parametrize("loss", [cls for cls in LOSSES if cls.task == "regression"])
@pytest.mark.parametrize(("shape", "n_outputs"), [((N,), 1), ((N, 1), 1), ((N, 3), 3)])
def test_numbers_are_predicted_in_the_shape_they_were_given(
    loss: type[Loss], shape: tuple[int, ...], n_outputs: int, X: np.ndarray
) -> None:
    y = np.random.default_rng(0).poisson(2.0, shape).astype(float)
    network = fitted(y, n_outputs, loss())
    assert network.predict(X).shape == shape
    assert network.predict_proba(X).shape == (N, n_outputs)
    assert network.predict(X).ravel().tolist() == network.predict_proba(X).ravel().tolist()
    assert network.classes_ is None
    if loss is PoissonDeviance:
        expected = np.exp(network.outputs(X)).reshape(shape)
        np.testing.assert_allclose(network.predict(X), expected, rtol=1e-14)


def test_several_levels_have_a_column_each(rng: np.random.Generator) -> None:
    X, y = np.zeros((400, 1)), rng.normal(size=400)
    network = Network([Dense(1, 3)], Quantile((0.1, 0.5, 0.9)), "float64")
    network.fit(X, y, epochs=300, batch_size=400, optimizer=Adam(0.02))
    predicted = network.predict(X)
    assert predicted.shape == (400, 3)
    np.testing.assert_allclose(predicted[0], np.quantile(y, [0.1, 0.5, 0.9]), atol=0.05)
    assert network.score(X, y) == -network.evaluate(X, y)[0] < 0  # no single number to score


def test_levels_of_several_targets_stand_side_by_side(rng: np.random.Generator) -> None:
    X, Y = np.zeros((300, 1)), rng.normal([0.0, 50.0], 1.0, (300, 2))
    network = Network([Dense(1, 4)], Quantile((0.2, 0.8)), "float64")
    network.layers[0].b = [0, 0, 50, 50]
    network.fit(X, Y, epochs=300, batch_size=300, optimizer=Adam(0.02))
    expected = np.quantile(Y, [0.2, 0.8], axis=0).T.ravel()
    np.testing.assert_allclose(network.predict(X)[0], expected, atol=0.06)


def test_one_row_and_many_rows_are_predicted_alike(X: np.ndarray) -> None:
    network = fitted(LABELS)
    together = network.outputs(np.repeat(X, 20, axis=0))  # more rows than one block
    for i in range(0, N, 7):
        assert network.outputs(X[i : i + 1]).tobytes() == together[20 * i].tobytes()


@pytest.mark.nojit
def test_finite_numbers_may_have_a_sum_beyond_all_numbers() -> None:
    network = Network([Dense(1, 2)], dtype="float64")
    network.layers[0].W = 1e-307  # a smaller one would be denormal, and is taken as zero
    found = network.outputs(np.full((3, 1), 1.7e308))
    np.testing.assert_allclose(found, np.full((3, 2), 17.0), rtol=1e-12)


# ------------------------------------------------------------------------------- score and evaluate


@pytest.mark.nojit
@pytest.mark.parametrize("weighted", [False, True])
def test_accuracy_is_that_of_scikit_learn(
    weighted: bool, X: np.ndarray, rng: np.random.Generator
) -> None:
    weight = rng.uniform(0, 3, N) if weighted else None
    for y, n_outputs, loss in TARGETS.values():
        network = fitted(y, n_outputs, loss)
        expected = accuracy_score(y, network.predict(X), sample_weight=weight)
        assert network.score(X, y, weight) == pytest.approx(expected, rel=1e-12)


@pytest.mark.nojit
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_r_squared_is_that_of_scikit_learn(
    n_outputs: int, weighted: bool, X: np.ndarray, rng: np.random.Generator
) -> None:
    weight = rng.uniform(0, 3, N) if weighted else None
    y = rng.poisson(2.0, (N, n_outputs)) + 1.0
    for loss in LOSSES:
        if loss.task == "regression":
            network = fitted(y, n_outputs, loss())
            expected = r2_score(y, network.predict(X), sample_weight=weight)
            assert network.score(X, y, weight) == pytest.approx(expected, rel=1e-10)


@pytest.mark.nojit
def test_a_constant_target_scores_one_or_nothing(X: np.ndarray) -> None:
    network = fitted(np.zeros(N), 1, MeanSquaredError())
    for layer in (network.layers[0], network.layers[2]):
        layer.W, layer.b = 0, 0
    assert network.score(X, np.zeros(N)) == r2_score(np.zeros(N), np.zeros(N)) == 1.0
    assert network.score(X, np.ones(N)) == r2_score(np.ones(N), np.zeros(N)) == 0.0


@pytest.mark.nojit
@pytest.mark.parametrize("path", ["fused", "layers"])
def test_evaluate_gives_loss_without_penalties_and_score(
    path: str, X: np.ndarray, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "layers":
        layer_by_layer(monkeypatch)
    weight = rng.uniform(0, 2, N)
    network = Network([Dense(5), Tanh(), Dense(3)], dtype="float64", l1=0.3, l2=0.5)
    network.fit(X, LABELS, epochs=1)
    loss, score = network.evaluate(X, LABELS, weight)
    right = np.log(network.predict_proba(X)[np.arange(N), LABELS])
    assert loss == pytest.approx(-np.average(right, weights=weight), rel=1e-12)
    assert score == network.score(X, LABELS, weight)
    assert network.loss_and_gradient(X, LABELS, weight)[0] > loss + 0.1


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: Network([]),
            "Network: expected at least one layer, got none; start with Dense(n_units)",
        ),
        (
            lambda: Network([Dense(3), ReLU]),
            "Network, layer 1: expected a Layer object, got the class ReLU; "
            "pass objects such as Dense(32) or ReLU()",
        ),
        (
            lambda: Network([Dense(3), "relu"]),
            "Network, layer 1: expected a Layer object, got str; "
            "pass objects such as Dense(32) or ReLU()",
        ),
        (
            lambda: Network([Dense(3), *[ReLU()] * 2]),
            "Network: expected each layer once, got one object in two places; "
            "make a new layer for each place",
        ),
        (
            lambda: Network([Dense(3)], dtype="float16"),
            "Network: expected dtype float32 or float64, got 'float16'; use one of the two",
        ),
        (
            lambda: Network([Dense(3)], dtype=int),
            "Network: expected dtype float32 or float64, got int; use one of the two",
        ),
        (
            lambda: Network([Dense(3)], dtype="single thing"),
            "Network: expected dtype float32 or float64, got 'single thing'; use one of the two",
        ),
        (
            lambda: Network([Dense(3)], random_state=-1),
            "Network: expected random_state to be a whole number of at least 0, got -1; "
            "choose a larger one",
        ),
        (
            lambda: Network([Dense(3)], random_state="0"),
            "Network: expected random_state to be a whole number of at least 0, got str; "
            "pass an int",
        ),
        (
            lambda: Network([Dense(3)], l1=-1),
            "Network: expected l1 to be a number at least 0, got -1; choose a value in that range",
        ),
        (
            lambda: Network([Dense(3)], l2=np.inf),
            "Network: expected l2 to be a number at least 0, got inf; "
            "choose a value in that range",
        ),
        (
            lambda: Network([Dense(3)]).build(0),
            "Network.build: expected n_features to be a whole number of at least 1, got 0; "
            "choose a larger one",
        ),
        (
            lambda: Network([Dense(3)]).build(2.0),
            "Network.build: expected n_features to be a whole number of at least 1, got float; "
            "pass an int",
        ),
        (
            lambda: Network([Dense(4, 3)]).build(5),
            "Dense(4, 3): expected an input of 4 columns, got 5; "
            "make sizes of neighbouring layers match",
        ),
        (
            lambda: Network([Dense(3)]).outputs([[1.0]]),
            "Network.outputs: expected a network with known input columns, got one not built yet; "
            "call fit or build(n_features) first",
        ),
        (
            lambda: Network([Dense(3)]).predict_proba([[1.0]]),
            "Network.predict_proba: expected a network with known input columns, "
            "got one not built yet; call fit or build(n_features) first",
        ),
        (
            lambda: Network([Dense(1, 3)]).predict([[1.0]]),
            "Network.predict: expected a fitted network, got one that has seen no targets; "
            "call fit first",
        ),
        (
            lambda: Network([Dense(1, 3)]).score([[1.0]], [0]),
            "Network.evaluate: expected a fitted network, got one that has seen no targets; "
            "call fit first",
        ),
        (
            lambda: fitted(LABELS).predict(np.ones((2, 5))),
            "Network.predict: expected X of shape (n, 4), got an array of shape (2, 5); "
            "pass the columns the network was built for",
        ),
        (
            lambda: fitted(LABELS).predict(np.ones(4)),
            "Network.predict: expected X of shape (n, 4), got an array of shape (4,); "
            "use X.reshape(1, -1) for one row, X.reshape(-1, 1) for one column",
        ),
        (
            lambda: fitted(LABELS).predict(np.empty((0, 4))),
            "Network.predict: expected X with at least one row and column, "
            "got an array of shape (0, 4); check how the data was selected",
        ),
        (
            lambda: fitted(LABELS).score(np.ones((2, 4)), [0, 1, 2]),
            "Network.evaluate: expected y with 2 rows, as X has, got 3; "
            "pass one entry for each row of X",
        ),
        (
            lambda: fitted(LABELS).score(np.ones((2, 4)), [0, 1], [1.0]),
            "Network.evaluate: expected sample_weight with 2 rows, as X has, got 1; "
            "pass one entry for each row of X",
        ),
        (
            lambda: fitted(LABELS).loss_and_gradient(np.ones((2, 4)), [0]),
            "Network.loss_and_gradient: expected y with 2 rows, as X has, got 1; "
            "pass one entry for each row of X",
        ),
        (
            lambda: Network([Dense(4, 3)]).save("here.safetensors")
            or Network([Dense(3)]).save("there.safetensors"),
            "Network.save: expected a network with parameters, got one not built yet; "
            "call fit first",
        ),
    ],
)  # fmt: skip
def test_errors_in_full(
    call: Callable[[], Any], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message(call) == text


# ---------------------------------------------------------------- spare workspaces


@pytest.mark.nojit
def test_a_second_prediction_sees_what_has_changed(rng: np.random.Generator) -> None:
    """The workspace of the first prediction is kept for the next, which may differ."""
    X = rng.normal(size=(40, 4))

    def trained(*layers: Any) -> Network:
        return Network([Dense(4, 6), *layers, Dense(3)], dtype="float64", random_state=5)

    network = trained(LeakyReLU(0.1), Dropout(0.5))
    network.predict_proba(X)
    for rows in (X[:1], X[5:9], X[::-1], np.asfortranarray(X), sparse.csr_array(X), X):
        fresh = trained(LeakyReLU(0.1), Dropout(0.5)).predict_proba(rows)
        np.testing.assert_array_equal(network.predict_proba(rows), fresh)
    network.layers[1].negative_slope = 0.4  # type: ignore[attr-defined]
    fresh = trained(LeakyReLU(0.4)).predict_proba(X)
    np.testing.assert_array_equal(network.predict_proba(X), fresh)
    network.params, other = 0.5 * network.params, trained(LeakyReLU(0.4))
    other.params[...] = network.params
    np.testing.assert_array_equal(network.predict_proba(X), other.predict_proba(X))
    np.testing.assert_array_equal(network.outputs(X), other.outputs(X))
    network.fit(X, np.arange(40) % 3, epochs=1)
    twin = copy.deepcopy(network)
    twin.params[...] = 0
    assert np.ptp(network.predict_proba(X)) > 0 == np.ptp(twin.predict_proba(X))


def test_work_spaces_do_not_pile_up_nor_keep_a_network_alive(rng: np.random.Generator) -> None:
    network = Network([Dense(4, 6), LeakyReLU(), Dense(3)])
    for n in range(1, 300):
        network.predict_proba(rng.normal(size=(n, 4)))
        network.layers[1].negative_slope = n / 1000  # type: ignore[attr-defined]
    assert sum(map(len, network.spare_engines.values())) <= 20
    gone = weakref.ref(network)
    del network
    assert gone() is None
