"""Learned layers other than Dense: the same bits on every path, and correct gradients."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import (
    SGD,
    Adam,
    BatchNorm,
    Checkpoint,
    Columns,
    Dense,
    EarlyStopping,
    Embedding,
    InputError,
    LayerNorm,
    Network,
    PReLU,
    ReLU,
    Residual,
    Scale,
    Tanh,
    check_part,
    from_torch,
    to_onnx,
    to_torch,
)
from fastmlp.engine import layerwise
from fastmlp.engine.lowering import can_compile
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.nn import LAYERS, Activation, CompiledLayer, leaves
from fastmlp.tools.gradient_check import example_of

from ..support import N_CATEGORIES, N_FEATURES, NETWORKS, layer_by_layer, loss_of, samples

# Each kind of layer is in one of these; the quick run needs no more.
QUICK = ("deep", "columns")
every_network = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in NETWORKS]
)


def made(name: str, dtype: str = "float64", **options: Any) -> Network:
    return Network(NETWORKS[name](), loss_of(name), dtype=dtype, random_state=3, **options)


def trained(name: str, dtype: str = "float64", **fit: Any) -> Network:
    options = {key: fit.pop(key) for key in ("l1", "l2") if key in fit}
    network, (X, y) = made(name, dtype, **options), samples()
    network.fit(X, y, **{"epochs": 2, "batch_size": 16} | fit)
    return network


def same(one: Network, other: Network) -> bool:
    pairs = (one.params, other.params), (one.buffers, other.buffers)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_every_such_layer_is_in_some_network() -> None:
    found = {type(layer) for make in NETWORKS.values() for _, layer in leaves(make())}
    assert {kind for kind in LAYERS if issubclass(kind, CompiledLayer)} <= found


FITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "penalties": {"l1": 1e-3, "l2": 1e-2},
    "clipped": {"optimizer": Adam(clip_norm=0.1, weight_decay=0.1), "l2": 1e-2},
    "weighted": {
        "sample_weight": np.linspace(0, 2, 50),
        "optimizer": SGD(0.05, momentum=0.9, factors={"*.b": 0.1}),
    },
}


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("fit", FITS)
@every_network
def test_threads_and_paths_train_to_the_same_bits(
    name: str, fit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtype = "float32" if fit == "clipped" and name not in QUICK else "float64"
    assert can_compile(NETWORKS[name](), made(name).loss)
    threads = (1, 2, 3) if JIT_ENABLED else (1, 2)  # which is one, too
    found = [trained(name, dtype, n_threads=n, **FITS[fit]) for n in threads]
    layer_by_layer(monkeypatch)
    found.append(trained(name, dtype, **FITS[fit]))
    assert np.isfinite(found[0].params).all()
    assert not np.array_equal(found[0].params, made(name, dtype).build(N_FEATURES).params)
    assert all(same(found[0], other) for other in found[1:])


def _inputs(X: np.ndarray) -> dict[str, Any]:
    wide = np.zeros((2 * len(X), X.shape[1]))
    wide[::2] = X
    return {
        "float32": X.astype(np.float32), "float16": X.astype(np.float16), "strided": wide[::2],
        "Fortran": np.asfortranarray(X), "sparse": sparse.csr_matrix(X), "int64": X.astype(int),
    }  # fmt: skip


@every_network
def test_inputs_of_any_kind_are_the_same_numbers(name: str) -> None:
    X, y = samples()
    plain = trained(name)
    for kind, rows in _inputs(X).items():
        network = made(name)
        network.fit(rows, y, epochs=2, batch_size=16)
        assert same(network, plain), kind
        assert np.array_equal(network.outputs(rows), plain.outputs(X)), kind


@every_network
def test_answers_are_those_of_the_layers_and_of_the_predictor(name: str) -> None:
    network, (X, _) = trained(name), samples(300, seed=1)
    outputs, predictor = network.outputs(X), network.compile_predictor()
    assert np.array_equal(outputs, layerwise.forward(network, X))
    assert np.array_equal(np.array([predictor(row) for row in X]), network.predict_proba(X))


@every_network
def test_copies_and_files_keep_parameters_and_buffers(name: str, tmp_path: Path) -> None:
    network, (X, y) = trained(name, "float32"), samples()
    network.save(tmp_path / "network.safetensors")
    copies = [
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
        Network.load(tmp_path / "network.safetensors"),
    ]
    for found in copies:
        assert same(found, network)
        assert np.array_equal(found.outputs(X), network.outputs(X))
        assert repr(found) == repr(network)
    network.fit(X, y, epochs=1)
    for found in copies:  # and none shares memory with another
        assert not np.array_equal(found.params, network.params)
        found.fit(X, y, epochs=1)
        assert same(found, network)


@every_network
def test_a_resumed_fit_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    X, y = samples()
    whole, first, second = (made(name) for _ in range(3))
    whole.fit(X, y, epochs=4, batch_size=16)
    stops = [lambda network, history: history.epochs == 2, Checkpoint(tmp_path)]
    first.fit(X, y, epochs=4, batch_size=16, callbacks=stops)
    second.fit(X, y, epochs=4, batch_size=16, callbacks=[Checkpoint(tmp_path, resume=True)])
    assert same(second, whole)


# Gradients ------------------------------------------------------------------------------------


def _differences(network: Network, loss: Any) -> np.ndarray:
    found, params = np.empty_like(network.params), network.params
    for i, value in enumerate(params.copy()):
        losses = []
        for moved in (value + 1e-6, value - 1e-6):
            params[i] = moved
            losses.append(loss())
        params[i] = value
        found[i] = (losses[0] - losses[1]) / 2e-6
    return found


@every_network
def test_gradients_are_those_of_the_differences(name: str) -> None:
    """As constants, running statistics are part of the function; PReLU's kink is far away."""
    if name == "wide":
        pytest.skip("too many parameters to move one by one")
    network, (X, y) = trained(name, l2=1e-2), samples(12)
    weights = np.linspace(0.5, 2, 12)
    network.params += np.random.default_rng(0).normal(0, 0.1, network.params.size)
    _, gradient = network.loss_and_gradient(X, y, weights)
    expected = _differences(network, lambda: network.loss_and_gradient(X, y, weights)[0])
    assert np.abs(gradient - expected).max() <= 1e-6 * np.abs(expected).max()


def test_batch_norm_in_training_has_the_gradient_of_the_differences() -> None:
    """There the batch's own mean and variance move with the parameters."""
    network = Network([Dense(4), BatchNorm(), Dense(1)], "mse", dtype="float64")
    X, y = samples(12)
    network.fit(X, y, epochs=1, n_threads=1)
    encoded = network.coder.encode("", y, network.dtype)  # type: ignore[union-attr]

    def loss() -> float:
        return layerwise.gradient(network, X, encoded, np.empty(0), training=True)

    loss()
    gradient = network.grads.copy()
    expected = _differences(network, loss)
    assert np.abs(gradient - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.nojit
@pytest.mark.parametrize("layer", [Scale, PReLU, LayerNorm, BatchNorm])
def test_the_gradient_of_the_inputs_is_that_of_the_differences(layer: Any) -> None:
    rng, made = np.random.default_rng(0), layer()
    X, dY = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    made.forward(X, training=True)
    dX = made.backward(dY)
    made.parameters["weight"][...] = rng.normal(size=4)
    made.forward(X, training=True)
    dX = made.backward(dY)
    expected = np.empty_like(X)
    for place in np.ndindex(X.shape):
        losses = []
        for step in (1e-6, -1e-6):
            moved = X.copy()
            moved[place] += step
            losses.append((made.forward(moved, training=True) * dY).sum())
        expected[place] = (losses[0] - losses[1]) / 2e-6
    assert np.abs(dX - expected).max() <= 1e-6


@pytest.mark.parametrize("kind", [*LAYERS], ids=LAYERS.names)
def test_every_layer_that_has_slopes_passes_the_check_of_parts(kind: Any) -> None:
    if kind is Embedding or kind is Columns or issubclass(kind, Activation):
        pytest.skip("numbers of categories have no slope; activations stand in test_gradients")
    assert all(result.passed for result in check_part(example_of(kind.name)))


# BatchNorm ------------------------------------------------------------------------------------


@pytest.mark.nojit
def test_running_statistics_follow_the_batches() -> None:
    layer, X = BatchNorm(momentum=0.25), np.array([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    layer.forward(X, training=True)
    assert np.allclose(layer.buffers["mean"], 0.25 * X.mean(axis=0))
    assert np.allclose(layer.buffers["variance"], 0.75 + 0.25 * X.var(axis=0, ddof=1))
    before = layer.buffers["mean"].copy()
    found = layer.forward(X)
    assert np.array_equal(layer.buffers["mean"], before)
    scaled = (X - before) / np.sqrt(layer.buffers["variance"] + 1e-5)
    assert np.allclose(found, scaled)


@pytest.mark.nojit
def test_a_batch_of_one_row_is_its_own_mean() -> None:
    network, (X, y) = made("batch norm"), samples(17)
    network.fit(X, y, epochs=1, batch_size=16)  # the last batch has one row
    assert np.isfinite(network.params).all()
    assert (network.buffers > 0).any()
    assert np.array_equal(BatchNorm().forward(np.array([[4.0]]), training=True), [[0.0]])


def test_the_best_epoch_has_its_own_running_statistics() -> None:
    """Judged within the compiled call, where nobody watches, or in Python."""
    X, y = samples(60)
    stopping, seen = EarlyStopping(100, monitor="validation_loss"), list[np.ndarray]()

    def watch(network: Network, history: Any) -> None:
        seen.append(network.buffers.copy())

    found = []
    for callbacks in ([stopping], [stopping, watch]):
        network = made("batch norm")
        network.fit(
            X[:40], y[:40], epochs=30, optimizer=Adam(0.05), validation_data=(X[40:], y[40:]),
            callbacks=callbacks,
        )  # fmt: skip
        found.append(network)
    assert same(*found)
    assert stopping.best_epoch < 30
    assert np.array_equal(found[0].buffers, seen[stopping.best_epoch - 1])


# Embedding and Columns ------------------------------------------------------------------------


@pytest.mark.nojit
def test_an_embedding_gathers_gradients_of_one_category() -> None:
    layer = Embedding(3, 2)
    layer.forward(np.array([[1.0, 1.0], [0.0, 1.0]]))
    layer.backward(np.arange(8.0).reshape(2, 4))
    assert layer.gradients["W"].tolist() == [[4, 5], [0 + 2 + 6, 1 + 3 + 7], [0, 0]]


@pytest.mark.parametrize("wrong", [-1.0, N_CATEGORIES, 1.5])
@pytest.mark.parametrize("as_sparse", [False, True])
def test_other_numbers_than_categories_are_refused(wrong: float, as_sparse: bool) -> None:
    network, (X, y) = made("columns"), samples()
    bad = X.copy()
    bad[3, 0] = wrong
    rows = sparse.csr_matrix(bad) if as_sparse else bad
    message = "numbers of categories from 0 to 6 in column 0, got another one in row 3"
    with pytest.raises(InputError, match=message):
        network.fit(rows, y)
    assert not network.is_built
    network.fit(X, y, epochs=1)
    for use in (network.predict, network.outputs, lambda rows: network.score(rows, y)):
        with pytest.raises(InputError, match=message):
            use(rows)
    with pytest.raises(InputError, match=message):
        network.fit(X, y, validation_data=(rows, y))
    assert np.isnan(network.compile_predictor()(bad[3])).all()


def test_a_category_that_was_never_seen_keeps_its_vector() -> None:
    network = Network([Embedding(4, 2), Dense(2)])
    before = network.build(1).named_parameters()["0.W"].copy()
    network.fit(np.array([[0], [1], [2]]), [0, 1, 0], epochs=3)
    after = network.named_parameters()["0.W"]
    assert np.array_equal(before[3], after[3])
    assert not np.array_equal(before[:3], after[:3])


@pytest.mark.nojit
def test_columns_that_no_branch_takes_are_passed_on() -> None:
    layer = Columns(([2, 0], []), (1, [Scale(3.0)]))
    X = np.arange(10.0).reshape(2, 5)
    assert (
        layer.forward(X).tolist()
        == np.stack([X[:, 2], X[:, 0], 3 * X[:, 1], X[:, 3], X[:, 4]], axis=1).tolist()
    )


@pytest.mark.nojit
def test_inner_layers_belong_to_one_network() -> None:
    inner = Dense(3, 3)
    Network([Residual([inner]), Dense(3, 2)])
    with pytest.raises(InputError, match="layers of its own"):
        Network([Columns((0, [inner])), Dense(2)])
    twice = ReLU()
    with pytest.raises(InputError, match="each layer once"):
        Network([Residual([Dense(3), twice]), twice])


@pytest.mark.nojit
def test_layers_that_do_not_fit_change_nothing() -> None:
    network = Network([Residual([Dense(4)]), Dense(2)])
    with pytest.raises(InputError, match="Residual: expected layers that give 5 columns"):
        network.build(5)
    assert not network.is_built
    assert network.build(4).is_built


@pytest.mark.nojit
def test_summaries_show_inner_layers() -> None:
    lines = str(made("residual").build(N_FEATURES).summary()).splitlines()
    assert any(line.split()[:2] == ["1.0", "Dense(8,"] for line in lines)


# Other libraries ------------------------------------------------------------------------------


@every_network
def test_onnx_answers_alike(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    network, (X, _) = trained(name, "float32"), samples()
    rows = X.astype(np.float32)
    to_onnx(network, tmp_path / "network.onnx", rows)
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    found = session.run(None, {"X": rows})[-1]
    assert np.allclose(found, network.predict_proba(rows), atol=1e-5)


def _in_torch(torch: Any, name: str) -> Any:
    nn = torch.nn
    return {
        "layer norm": [nn.LayerNorm(5), nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(),
                       nn.Linear(8, 3)],
        # Not right after a Dense layer, whose bias would have no gradient but rounding.
        "batch norm": [nn.BatchNorm1d(5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 8), nn.Tanh(),
                       nn.Linear(8, 3)],
        "prelu": [nn.Linear(5, 8), nn.PReLU(8), nn.Linear(8, 3)],
        "embedding": [nn.Embedding(7, 4), nn.Flatten(), nn.Linear(4, 3)],
    }[name]  # fmt: skip


_OURS: dict[str, Any] = {
    "layer norm": NETWORKS["layer norm"],
    "batch norm": lambda: [BatchNorm(), Tanh(), BatchNorm(), Dense(8), Tanh(), Dense(3)],
    "prelu": lambda: [Dense(8), PReLU(), Dense(3)],
    "embedding": lambda: [Embedding(7, 4), Dense(3)],
}


@pytest.mark.peers
@pytest.mark.parametrize("name", _OURS)
def test_pytorch_computes_the_same(name: str) -> None:
    """Forward, backward and ten steps of Adam, with running statistics after them."""
    torch = pytest.importorskip("torch")
    X, y = samples(32)
    X = X[:, :1] if name == "embedding" else X + np.random.default_rng(1).normal(size=X.shape)
    network = Network(_OURS[name](), dtype="float64", random_state=0).build(X.shape[1])
    module = torch.nn.Sequential(*_in_torch(torch, name)).double()
    renamed = zip(module.state_dict(), to_torch(network).values(), strict=True)
    module.load_state_dict(dict(renamed))
    rows = torch.from_numpy(X[:, 0].astype(np.int64) if name == "embedding" else X)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    module.eval()
    assert np.abs(module(rows).detach().numpy() - network.outputs(X)).max() <= 1e-10
    module.train()
    network.fit(X, y, epochs=10, batch_size=32, shuffle=False, optimizer=Adam(0.01))
    for _ in range(10):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(rows), torch.from_numpy(y)).backward()
        optimizer.step()
    for ours, theirs in zip(to_torch(network).values(), module.state_dict().values(), strict=True):
        if theirs.ndim:  # not the count of batches
            assert np.abs(ours.numpy() - theirs.numpy()).max() <= 1e-10
    again = from_torch(
        module.state_dict(), Network(_OURS[name](), dtype="float64").build(X.shape[1])
    )
    module.eval()
    assert np.abs(module(rows).detach().numpy() - again.outputs(X)).max() <= 1e-10
