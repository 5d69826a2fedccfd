"""Layers for single columns: their formulas, edges from data, and initial values that suit data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import (
    Adam,
    BatchNorm,
    Columns,
    Cosine,
    Dense,
    Embedding,
    GroupedDense,
    InputError,
    Network,
    ParametricActivation,
    PiecewiseLinear,
    ReLU,
    Residual,
    Scale,
    initializers,
)
from fastmlp.engine.engine import Engine
from fastmlp.inputs.tables import table_of
from fastmlp.nn.grouped import quantile_edges

X = np.random.default_rng(0).normal(2.0, 3.0, (200, 6))


@pytest.mark.nojit
@pytest.mark.parametrize("group_size", [1, 2, 6])
def test_a_group_sees_only_its_own_columns(group_size: int) -> None:
    layer = GroupedDense(4, group_size, "normal", "normal")
    Y = layer.forward(X)
    W, b = layer.parameters["W"], layer.parameters["b"]
    for group in range(6 // group_size):
        inputs = slice(group * group_size, (group + 1) * group_size)
        outputs = slice(group * 4, (group + 1) * 4)
        assert np.allclose(Y[:, outputs], X[:, inputs] @ W[inputs] + b[outputs])


@pytest.mark.nojit
def test_groups_must_divide_the_columns() -> None:
    layer = GroupedDense(2, 4)
    with pytest.raises(InputError, match=r"expected inputs in groups of 4 columns, got 6 columns"):
        layer.forward(X)
    assert layer.n_in is None


@pytest.mark.nojit
def test_groups_in_another_parametrisation_move_less() -> None:
    network = Network([GroupedDense(2, 3, "ntk"), Dense(1)], "mse").build(6)
    assert {g.name: round(g.scale, 6) for g in network.groups}["0.W"] == round(3**-0.5, 6)


@pytest.mark.nojit
def test_the_share_of_each_bin() -> None:
    edges = [[0.0, 1.0, 3.0, 3.0], [-5.0, -4.0, 0.0, 8.0]]
    layer, points = PiecewiseLinear(edges), np.linspace(-6, 9, 31)
    Y = layer.forward(np.column_stack([points, points]))
    for column, (a, b, c, d) in enumerate(edges):
        first, second, last = Y[:, 3 * column : 3 * column + 3].T
        assert np.allclose(first, np.minimum((points - a) / (b - a), 1))
        width = d - c
        assert np.allclose(second, np.clip((points - b) / (c - b), 0, 1 if width else np.inf))
        assert np.allclose(last, np.maximum((points - c) / width, 0) if width else 0)
    slopes = layer.backward(np.ones_like(Y))
    assert slopes[points < -6.5].size == 0
    assert slopes[np.isclose(points, 0.5), 0] == 1
    assert slopes[np.isclose(points, 2), 0] == 0.5


@pytest.mark.nojit
def test_bins_of_no_width_do_not_end_the_line() -> None:
    points = np.array([[-3.0], [0.5], [9.0]])
    plain = PiecewiseLinear([[0.0, 1.0, 2.0]]).forward(points)
    for edges in ([0.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 2.0, 2.0]):
        layer = PiecewiseLinear([edges])
        assert np.allclose(layer.forward(points).sum(axis=1), plain.sum(axis=1))
        layer.backward(np.ones((3, 3)))
    assert PiecewiseLinear([[1.0, 1.0, 1.0]]).forward([[0.0], [1.0], [2.0]]).any() == 0


def test_bins_do_not_hide_nan() -> None:
    points = np.array([[0.5], [np.nan], [1.5]])
    network = Network([PiecewiseLinear([[0.0, 1.0, 2.0]]), Dense(1)], "mse")
    with pytest.raises(InputError, match="expected X to be finite, got nan in row 1"):
        network.fit(points, np.zeros(3), epochs=1)


@pytest.mark.nojit
def test_other_edges_before_a_layer_is_built() -> None:
    layer = PiecewiseLinear([[0.0, 1.0]])
    layer.edges = [[0.0, 2.0], [0.0, 4.0]]
    assert layer.forward([[1.0, 1.0]]).tolist() == [[0.5, 0.25]]
    with pytest.raises(InputError, match="finite edges in ascending order"):
        PiecewiseLinear([[0.0, 1.0]]).edges = [[1.0, 0.0]]


@pytest.mark.nojit
def test_edges_have_as_many_rows_between_them() -> None:
    edges = quantile_edges(X, 8)
    for column, own in enumerate(edges):
        counts, _ = np.histogram(X[:, column], own)
        assert counts.min() >= 24
        assert counts.max() <= 26
    few = np.repeat([[0.0], [1.0], [4.0]], 10, axis=0)
    assert quantile_edges(few, 4) == [[0.0, 1.0, 4.0, 4.0, 4.0]]


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("edges", "text"),
    [
        (3, "edges for each column, got int"),
        ([[0.0, 1.0], [0.0]], "edges as numbers, as many for each column"),
        ([["a", "b"]], "edges as numbers"),
        ([[0.0]], "at least two edges for each column, got fewer"),
        ([], "at least two edges for each column, got fewer"),
        ([[1.0, 0.0]], "finite edges in ascending order"),
        ([[0.0, np.inf]], "finite edges in ascending order"),
    ],
)
def test_edges_that_cannot_be_are_refused(edges: Any, text: str) -> None:
    with pytest.raises((InputError, TypeError), match=f"^PiecewiseLinear: expected {text}"):
        PiecewiseLinear(edges)


@pytest.mark.nojit
def test_a_parametric_activation_mixes_with_its_input() -> None:
    layer = ParametricActivation("tanh", 0.25)
    assert np.allclose(layer.forward(X), 0.75 * X + 0.25 * np.tanh(X))
    none = ParametricActivation("selu", 0.0)
    assert np.array_equal(none.forward(X), X)


def test_initial_weights_follow_the_activation_inside() -> None:
    network = Network([Dense(6, 300), ParametricActivation("relu"), Dense(1)], "mse")
    assert isinstance(network.layers[0].used_initializer, initializers.HeUniform)  # type: ignore[attr-defined]


def deep() -> list[Any]:
    first = Columns(([0, 1, 2], [GroupedDense(4), Cosine()]), ([2, 3], [Dense(5), ReLU()]))
    own = {"initializer": "unit_variance", "bias_initializer": "he_plus"}
    return [Scale(), first, Residual([Dense(19, **own)]), Dense(9, **own), ReLU(), Dense(3, **own)]


@pytest.mark.nojit
def test_initial_values_suit_the_data_layer_after_layer() -> None:
    network = Network(deep(), random_state=1, dtype="float64").initialize(X)
    values = X
    for layer in network.layers:
        if isinstance(layer, Dense):
            linear = values @ layer.W
            assert np.allclose(linear.std(axis=0), 1)
            assert (linear.min(axis=0) < -layer.b).all()
            assert (-layer.b < linear.max(axis=0)).all()
        values = layer.forward(values)
    again = Network(deep(), random_state=1, dtype="float64").initialize(X)
    other = Network(deep(), random_state=1, dtype="float64").initialize(X, random_state=2)
    assert np.array_equal(network.params, again.params)
    assert not np.array_equal(network.params, other.params)


@pytest.mark.nojit
def test_many_rows_are_drawn_from() -> None:
    many = np.concatenate([X] * 60)  # 12,000
    network = Network([Dense(30, initializer="unit_variance"), Dense(2)]).initialize(many)
    assert np.allclose((many @ network.layers[0].W).std(axis=0), 1, rtol=0.05)  # type: ignore[attr-defined]


@pytest.mark.nojit
def test_initialize_refuses_other_columns_and_changes_nothing() -> None:
    network = Network([Dense(6, 2)])
    before = network.params.copy()
    for wrong in (X[:, :3], np.full((2, 6), np.nan)):
        with pytest.raises(InputError, match=r"^Network\.initialize: expected"):
            network.initialize(wrong)
    assert np.array_equal(network.params, before)


@pytest.mark.nojit
def test_a_unit_that_never_changes_keeps_finite_weights() -> None:
    W = initializers.UnitVariance().draw_for(np.random.default_rng(0), np.zeros((5, 3)), 4)
    assert np.isfinite(W).all()
    assert W.any()


@pytest.mark.nojit
@pytest.mark.parametrize("width", [1, 8, 300])
def test_the_gradient_of_each_block_fits_the_scratch_memory(width: int) -> None:
    """Blocks are as the records say, for which memory is allocated; large tables have several."""
    layers = [
        Columns(([0, 1, 2], [Embedding(3000, width)]), ([3, 4], [GroupedDense(width)])), Dense(2),
    ]  # fmt: skip
    network = Network(layers).build(5)
    table = table_of(np.zeros((40, 5), np.float32), network.dtype)
    engine = Engine(network, table, 32, optimizer=Adam())
    size = int(engine.job["space"]["scratch_bytes"][0]) // 4
    for op in engine.ops:
        block = min(int(op["block_rows"]), int(op["weight_rows"]))
        assert size >= block * min(int(op["block_columns"]), int(op["weight_width"]))
        if op["weight_rows"] == 3000 and width > 1:
            assert block < 3000
            assert op["block_columns"] == width


@pytest.mark.nojit
def test_units_that_vary_only_by_rounding_keep_their_weights() -> None:
    same = np.full((777, 2), 0.1)
    network = Network([Dense(4, initializer="unit_variance")]).initialize(same)
    assert np.abs(network.params).max() < 10


@pytest.mark.nojit
def test_bins_that_are_too_narrow_for_their_reciprocal_count_as_none() -> None:
    tiny = 10.0 ** -np.linspace(0, 80, 200).reshape(-1, 1)
    layer = PiecewiseLinear(quantile_edges(tiny, 8))
    assert np.isfinite(layer.forward(tiny.astype(np.float32))).all()
    narrow = PiecewiseLinear([[0.0, 1e-310, 1.0]]).forward([[0.0], [0.5]])
    assert np.allclose(narrow, [[0, 0], [0, 0.5]])


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("place", "name", "value"),
    [(0, "group_size", 1), (0, "units", 3), (1, "edges", 4 * [[0.0, 1.0]])],
)
def test_sizes_are_only_read_once_there_are_parameters(place: int, name: str, value: Any) -> None:
    network = Network([GroupedDense(2, 3), PiecewiseLinear(4 * [[0.0, 1.0, 2.0]]), Dense(1)], "mse")
    network.build(6)
    with pytest.raises(InputError, match=f"{name}: expected a size that is only read"):
        setattr(network.layers[place], name, value)


@pytest.mark.nojit
def test_batch_norm_starts_by_the_statistics_of_the_data() -> None:
    layers = [BatchNorm(), Dense(8, initializer="unit_variance"), Dense(2)]
    network = Network(layers, "mse", dtype="float64").initialize(X)
    first, normal = network.layers[:2]
    values = normal.forward(first.forward(X, training=True))
    assert np.allclose(values.std(axis=0), 1)
    before = network.initialize(X).params.copy()
    network.fit(X, X[:, :2], epochs=2)
    assert np.array_equal(network.initialize(X).params, before)


@pytest.mark.nojit
def test_groups_are_initialised_by_their_own_columns() -> None:
    layer = GroupedDense(5, 2, "unit_variance", "he_plus")
    network = Network([layer, Dense(2)], "mse", dtype="float64").initialize(X)
    values = network.layers[0].forward(X)
    assert np.allclose(values.std(axis=0), 1)
    assert (values.min(axis=0) < 0).all()
    assert (values.max(axis=0) > 0).all()


@pytest.mark.nojit
def test_sparse_rows_give_initial_values() -> None:
    table = sparse.random(50, 4, 0.5, "coo", random_state=0)
    one, other = (
        Network([Dense(3, initializer="unit_variance")], "mse").initialize(rows)
        for rows in (table, table.toarray())
    )
    assert np.array_equal(one.params, other.params)


@pytest.mark.nojit
def test_an_activation_that_overrides_its_rule_is_not_taken() -> None:
    class Twice(ReLU):
        def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
            return 2 * super().forward(X)

    with pytest.raises(TypeError, match="an activation with a compiled rule"):
        ParametricActivation(Twice())
