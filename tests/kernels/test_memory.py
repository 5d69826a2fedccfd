"""The memory check for kernels: what it accepts, what it refuses, and that nothing bypasses it."""

from __future__ import annotations

import ast
import contextlib
import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import (
    Adam,
    Dense,
    Dropout,
    Huber,
    Network,
    Quantile,
    ReLU,
    Rescaling,
    SoftmaxCrossEntropy,
)
from fastmlp.errors import InputError
from fastmlp.inputs.tables import table_of
from fastmlp.kernels.compiler import memory
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.rules import losses
from fastmlp.nn.losses import LOSSES
from fastmlp.optim.optimizers import Group

from ..support import Own, address_of

PACKAGE = Path(__file__).resolve().parents[2] / "fastmlp"
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
pytestmark = [pytest.mark.nojit, pytest.mark.thinned(4)]


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def misaligned(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype)


# ---------------------------------------------------------------- what passes


def test_addresses_are_those_of_the_first_number() -> None:
    X = np.zeros((4, 3))
    for view, offset in ((X, 0), (X[1], 24), (X[2:], 48), (X[:0], 0)):
        found = memory.address_of(view, "X", DOUBLE, view.size)
        assert (found, type(found)) == (X.ctypes.data + offset, int)
    assert memory.address_or_0(np.empty((0, 3)), "X", DOUBLE, 12) == 0
    assert memory.address_of(read_only(X.copy()), "X", DOUBLE, 12) > 0
    for view in (X.T, X[::-1, ::-1], X[:, 1:], np.broadcast_to(X[0], (9, 3))):
        found = memory.matrix_address(view, "X", DOUBLE, view.shape, view.strides)
        assert found == view.ctypes.data
    assert memory.matrix_address(X[:1], "X", DOUBLE, (1, 3), (7, 8)) == X.ctypes.data


@pytest.mark.parametrize(
    ("array", "size", "written"),
    [
        ([1.0] * 6, 6, False),
        (np.zeros(6), 5, False),
        (np.zeros(6), 7, False),
        (np.zeros(6, np.float32), 6, False),
        (np.zeros(6, ">f8"), 6, False),
        (np.zeros(6, np.int64), 6, False),
        (np.zeros(6, object), 6, False),
        (np.zeros(12)[::2], 6, False),
        (np.zeros((2, 3)).T, 6, False),
        (misaligned(np.zeros(6)), 6, False),
        (read_only(np.zeros(6)), 6, True),
        (None, 6, False),
    ],
)
def test_what_is_not_as_it_should_be_is_refused(array: Any, size: int, written: bool) -> None:
    with pytest.raises(InputError, match=r"^weights: expected . adjacent numbers of type float64"):
        memory.address_of(array, "weights", DOUBLE, size, written=written)


@pytest.mark.parametrize("values", [[0, 1, 5], [-1, 0, 1], [-(2**31), 0, 1], [0, 0, 2**31 - 1]])
def test_places_in_other_memory_must_be_inside_it(values: list[int]) -> None:
    index = np.array(values, np.int32)
    with pytest.raises(InputError, match=r"numbers from 0 to 4, got some outside"):
        memory.index_address(index, "labels", 3, 5)
    assert memory.index_address(index[1:2], "labels", 1, 5) > 0
    assert memory.index_address(index[:0], "labels", 0, 5) > 0


@pytest.mark.parametrize("starts", [[0, 2, 1, 3], [-1, 0, 1, 3], [0, 1, 2, 4], [0, 1, 3]])
def test_starts_of_rows_must_ascend_inside_their_matrix(starts: list[int]) -> None:
    with pytest.raises(InputError, match=r"^X\.indptr: expected"):
        memory.starts_address(np.array(starts, np.int64), "X.indptr", 3, 3)


@pytest.mark.parametrize(
    "changed", [np.zeros((4, 2)), np.zeros((4, 3), np.float32), np.zeros((3, 4)).T, np.zeros(12)]
)
def test_a_matrix_must_be_the_one_that_was_described(changed: np.ndarray) -> None:
    X = np.zeros((4, 3))
    with pytest.raises(InputError, match=r"^X: expected a matrix of shape"):
        memory.matrix_address(changed, "X", DOUBLE, X.shape, X.strides)


def test_ranges_join_and_know_what_is_inside() -> None:
    found, truth, rng = memory.Ranges(), np.zeros(60, bool), np.random.default_rng(0)
    for _ in range(40):
        start, size = int(rng.integers(50)), int(rng.integers(1, 5))
        found.add(start, start + size)
        truth[start : start + size] = True
        for low in range(0, 59, 3):
            for high in (low + 1, low + 4):
                assert found.holds(low, high) == truth[low:high].all(), (low, high)


# ---------------------------------------------------------------- nothing goes around it

# How Python learns an address, beside the gate; each place that may, and why.
WAYS = {
    "ctypes", "__array_interface__", "__array_struct__", "addressof", "from_address", "data_as",
    "byte_bounds", "buffer_info", "_data", "c_void_p", "__basicsize__",
}  # fmt: skip
MAY = {
    ("kernels/compiler/memory.py", "from_address"): "the gate itself",
    ("kernels/compiler/memory.py", "c_void_p"): "the gate itself",
    ("kernels/compiler/memory.py", "__basicsize__"): "the gate itself",
    ("kernels/compiler/memory.py", "byte_bounds"): "the gate itself",
    ("kernels/compiler/jit.py", "from_address"): "how interpreted kernels see memory",
    ("kernels/step/atomics.py", "c_void_p"): "of a function of the system, not of memory",
    ("kernels/step/outputs.py", "ctypes"): "in a kernel, of arrays whose types numba has checked",
}


def ways_around(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            if name in WAYS and (place, name) not in MAY:
                yield f"{place}:{node.lineno}: {name}"  # type: ignore[attr-defined]


@pytest.mark.slow  # a rule for those who write modules
def test_the_package_learns_addresses_at_the_gate_only() -> None:
    assert list(ways_around(PACKAGE)) == []


def test_a_way_around_the_gate_is_seen(tmp_path: Path) -> None:
    (tmp_path / "kernels" / "step").mkdir(parents=True)
    text = "def f(X):\n    return X.ctypes.data, X.__array_interface__['data'][0]\n"
    (tmp_path / "network.py").write_text(text, encoding="utf-8")
    (tmp_path / "kernels" / "step" / "outputs.py").write_text(text, encoding="utf-8")
    assert list(ways_around(tmp_path)) == [
        "kernels/step/outputs.py:2: __array_interface__",
        "network.py:2: ctypes",
        "network.py:2: __array_interface__",
    ]


@pytest.mark.skipif(JIT_ENABLED, reason="interpreted kernels look every address up")
def test_interpreted_kernels_see_what_did_not_pass_the_gate() -> None:
    """As in all tests that run without the compiler, which prove it for whatever they call."""
    values, foreign = np.zeros(6), np.zeros(5_000_000)
    assert losses.sum_rows(address_of(values), 6) == 0
    with pytest.raises(AssertionError, match="did not pass the gate"):
        losses.sum_rows(foreign.ctypes.data, 6)
    with pytest.raises(AssertionError, match="did not pass the gate"):
        losses.sum_rows(address_of(foreign[:6]), 5_000_000)


# ---------------------------------------------------------------- what others can do to a network


def net(**options: Any) -> Network:
    layers = [Dense(4, 5), ReLU(), Dropout(0.2), Dense(5, 3)]
    return Network(layers, random_state=0, **options)


X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.arange(30) % 3


def test_parameters_that_are_set_are_the_ones_in_use(tmp_path: Path) -> None:
    """`net.params = best` is the usual way to bring back the best weights."""
    network, other = net(), net()
    network.fit(X, Y, epochs=2)
    best, memory_of = network.params.copy(), network.params
    network.fit(X, Y, epochs=2)
    network.params = best.tolist()
    other.fit(X, Y, epochs=2)
    assert network.params is memory_of
    np.testing.assert_array_equal(network.params, other.params)
    np.testing.assert_array_equal(network.predict_proba(X), other.predict_proba(X))
    network.save(tmp_path / "best.safetensors")
    np.testing.assert_array_equal(Network.load(tmp_path / "best.safetensors").params, best)
    network.grads = 0
    assert not network.grads.any()


@pytest.mark.parametrize("name", ["params", "grads", "W", "b"])
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(3), np.zeros((1, 1, 1)), None, "params", np.nan, 1e300, 1j,
        lambda shape: np.full(shape, np.nan), lambda shape: np.full(shape, 1e39),
        lambda shape: np.zeros((*shape[::-1], 1)), lambda shape: np.full(shape, "a"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_fit_change_nothing(name: str, wrong: Any) -> None:
    network = net()
    owner: Any = network if name in ("params", "grads") else network.layers[0]
    before, kept = network.params.copy(), getattr(owner, name)
    with pytest.raises(InputError, match=rf"{name}: expected"):
        setattr(owner, name, wrong(kept.shape) if callable(wrong) else wrong)
    assert getattr(owner, name) is kept or name in "Wb"
    np.testing.assert_array_equal(network.params, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dtype", "float64"), ("n_features", 9), ("n_outputs", 9), ("layers", []), ("groups", [])],
)
def test_what_a_network_is_made_of_cannot_be_set(name: str, value: Any) -> None:
    network = net()
    kept = getattr(network, name)
    with pytest.raises(InputError, match=rf"^Network\.{name}: expected an attribute that is only"):
        setattr(network, name, value)
    with pytest.raises(AttributeError):  # as Python's own properties refuse
        setattr(network, name, value)
    assert getattr(network, name) is kept


def test_the_layers_of_a_network_stay_the_same() -> None:
    network = net()
    with pytest.raises(TypeError):
        network.layers[1] = Dense(5, 5)  # type: ignore[index]
    with pytest.raises(AttributeError):
        network.layers.append(Dense(3, 3))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["n_in", "n_out"])
def test_the_sizes_of_a_layer_cannot_be_set(name: str) -> None:
    network = net()
    for layer in network.layers:
        with pytest.raises(InputError, match=rf"{name}: expected a size that is only read"):
            setattr(layer, name, 1000)
    network.fit(X, Y, epochs=1)


def test_arrays_of_a_layer_are_written_into_and_not_replaced() -> None:
    layer: Any = net().layers[0]
    views = layer.parameters
    changes: list[Callable[[], Any]] = [
        lambda: views.__setitem__("W", np.zeros((4, 5))), lambda: views.pop("W"), views.clear,
        lambda: views.update(W=1), lambda: views.setdefault("V", 1), views.popitem,
        lambda: layer.gradients.__setitem__("b", 0), lambda: views.__delitem__("b"),
        lambda: views.__ior__({"b": 1}),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(InputError, match=r"^parameter"):
            change()
    assert list(views) == ["W", "b"]
    alone = Dense(3)
    alone.forward(np.ones((2, 4)))
    for twin in (copy.deepcopy(alone), pickle.loads(pickle.dumps(alone))):
        np.testing.assert_array_equal(twin.W, alone.W)


@pytest.mark.parametrize(
    ("name", "good", "kept", "bad"),
    [
        ("seed", 7, 7, "x"), ("seed", np.random.default_rng(0), None, -1), ("l1", 1, 1.0, -1),
        ("l2", 0.5, 0.5, np.nan), ("feature_names", ["a", "b", "c", "d"], ("a", "b", "c", "d"),
        ["a"]), ("feature_names", None, None, "abcd"), ("feature_names", None, None, list("aabc")),
        ("feature_names", None, None, [1, 2, 3, 4]), ("feature_names", None, None, 4),
        ("loss", "softmax_cross_entropy", None, "huber"),
    ],
)  # fmt: skip
def test_settings_are_checked_when_they_are_set(name: str, good: Any, kept: Any, bad: Any) -> None:
    network = net()
    network.fit(X, Y, epochs=1)
    setattr(network, name, good)
    found = getattr(network, name)
    assert kept is None or found == kept
    with pytest.raises(InputError):
        setattr(network, name, bad)
    assert getattr(network, name) is found


def test_another_loss_must_read_targets_in_the_same_way() -> None:
    network = Network([Dense(4, 2)], loss="mean_squared_error")
    network.loss = Quantile((0.1, 0.9))  # nothing is known of the targets yet
    network.fit(X, X[:, 0], epochs=1)
    for wrong in (Huber(), Quantile((0.1, 0.5, 0.9)), SoftmaxCrossEntropy(), "poisson_deviance"):
        with pytest.raises(InputError, match=r"^Network\.loss: expected a loss for targets like"):
            network.loss = wrong
    network.loss = Quantile((0.2, 0.8))
    network.fit(X, X[:, 0], epochs=1)


def test_layers_whose_sizes_were_changed_behind_its_back_are_refused() -> None:
    for change in (
        lambda n: vars(n.layers[0]).update(n_in=1000),
        lambda n: vars(n.layers[3]).update(n_in=1000),
        lambda n: vars(n.layers[2]).update(n_out=1000),
        lambda n: vars(n).update(_n_features=1000),
        lambda n: vars(n).update(_n_outputs=1000),
        lambda n: vars(n).update(_params=np.zeros(7, np.float32)),
        lambda n: vars(n).update(_params=np.zeros(n.params.size)),
        lambda n: vars(n).update(_grads=read_only(np.zeros_like(n.params))),
        lambda n: vars(n).update(_groups=(n.groups[0]._replace(start=1000), *n.groups[1:])),
        lambda n: vars(n).update(_groups=(n.groups[0]._replace(start=1), *n.groups[1:])),
    ):
        network = net()
        change(network)
        with pytest.raises(InputError):
            network.predict_proba(np.zeros((2, network.n_features)))


def test_a_table_keeps_what_it_was_made_of() -> None:
    """Whoever gives the user's own array another type or shape does not change the table's."""
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    table = table_of(rows, SINGLE)
    rows.shape = (4, 3)
    assert table.addresses()[0] == rows.ctypes.data
    csr = sparse.csr_array(np.eye(3))
    found = table_of(csr, DOUBLE)
    csr.indices.shape = (3, 1)
    assert all(found.addresses())
    found.indices[0] = 3
    with pytest.raises(InputError, match=r"^X\.indices: expected numbers from 0 to 2"):
        found.addresses()
    whole = misaligned(np.zeros(12)).reshape(3, 4)
    assert table_of(whole, DOUBLE).addresses()[0] % 8 == 0


@pytest.mark.parametrize("kind", ["plain", "part", "read-only", "memory map", "subclass", "empty"])
def test_addresses_are_those_that_numpy_tells(kind: str, tmp_path: Path) -> None:
    np.arange(20.0).tofile(tmp_path / "numbers")
    plain = np.arange(20.0)
    array: Any = {
        "plain": plain,
        "part": plain[5:],
        "read-only": np.frombuffer(bytes(160)),
        "memory map": np.memmap(tmp_path / "numbers", float, "r"),
        "subclass": plain.view(np.recarray),
        "empty": np.empty(0),
    }[kind]
    wanted = array.__array_interface__["data"][0]
    assert memory.address_of(array, "numbers", float, array.size) == wanted


@pytest.mark.parametrize("own", [False, True], ids=["compiled", "layers"])
@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize("part", ["indices", "indptr"])
@pytest.mark.parametrize("held_out", [False, True])
def test_sparse_rows_that_a_callback_changes_are_refused(
    own: bool, rescaled: bool, part: str, held_out: bool
) -> None:
    """Their numbers may change while a fit goes on; their columns are places in the weights."""
    rows = sparse.csr_array(X * (np.random.default_rng(0).random(X.shape) < 0.5))
    layers = [Rescaling(0.5)] * rescaled + [Dense(4), *([Own()] * own), Dense(3)]

    def change(network: Network, history: Any) -> None:
        getattr(rows, part)[1:-1] = 10**6

    held = {"validation_data": (rows, Y)} if held_out else {}
    # Compiled code may have copied int32 starts of rows, which then stay as they were.
    maybe = part == "indptr" and not own
    with (
        contextlib.suppress(InputError)
        if maybe
        else pytest.raises(InputError, match=r"^X\.indices: expected|as a valid sparse matrix")
    ):
        Network(layers).fit(X if held_out else rows, Y, epochs=3, callbacks=[change], **held)


def test_the_matrix_of_a_user_stays_as_it_is() -> None:
    """SciPy's own check replaces arrays of another type."""
    rows = sparse.csr_matrix(np.eye(4))
    rows.indices, rows.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    kept = rows.data, rows.indices, rows.indptr
    net().predict_proba(rows)
    assert all(a is b for a, b in zip(kept, (rows.data, rows.indices, rows.indptr), strict=True))


def test_a_network_that_is_not_built_names_no_parameters() -> None:
    assert Network([Dense(5), ReLU(), Dense(3)]).named_parameters() == {}


def test_an_optimizer_refuses_vectors_that_do_not_fit() -> None:
    optimizer, n = Adam(0.1), 6
    numbers = optimizer.step_numbers(0, np.full(1, 0.1))[0]
    groups = [Group("0.W", 0, 4, True, 1.0), Group("0.b", 4, 2, False, 1.0)]
    good = [numbers, groups, np.ones(n), np.ones(n), np.zeros(2 * n)]
    optimizer.update(*good)  # type: ignore[arg-type]
    for place, wrong in (
        (0, numbers[:-1]), (0, numbers.astype(SINGLE)), (1, [Group("0.W", 0, 7, True, 1.0)]),
        (1, [Group("0.W", -1, 2, True, 1.0)]), (2, np.ones(12)[::2]), (3, np.ones(n - 1)),
        (2, read_only(np.ones(n))), (3, np.ones(n, SINGLE)), (4, np.zeros(2 * n - 1)),
        (4, read_only(np.zeros(2 * n))), (4, np.zeros(2 * n, SINGLE)),
    ):  # fmt: skip
        changed: list[Any] = [*good]
        changed[place] = wrong
        with pytest.raises(InputError):
            optimizer.update(*changed)


def test_a_loss_refuses_targets_and_weights_that_do_not_fit() -> None:
    loss, outputs, none = SoftmaxCrossEntropy(), np.zeros((5, 3)), np.empty(0)
    labels = np.array([0, 1, 2, 1, 0], np.int32)
    assert loss.rows(outputs, labels, none, none)[0] > 0
    for wrong in (labels[:-1], labels.astype(np.int64), labels + 1, labels - 1):
        with pytest.raises(InputError, match=r"^labels: expected"):
            loss.rows(outputs, wrong, none, none)
    for other in LOSSES:
        if other is not SoftmaxCrossEntropy:  # their kernels read targets, of which there are none
            with pytest.raises(InputError, match=r"^targets: expected"):
                other().rows(outputs, labels, none, none)
    for wrong in (sparse.csr_array(outputs), "W", [["a"]], [[1.0], [1.0, 2.0]], None):
        with pytest.raises(InputError, match="value_and_gradient: expected"):
            loss.value_and_gradient(wrong, np.zeros((5, 3)), np.ones(5))
        with pytest.raises(InputError, match="value_and_gradient: expected"):
            loss.value_and_gradient(outputs, wrong, np.ones(5))
    for targets in (np.zeros(14), np.zeros(15, SINGLE), none):
        with pytest.raises(InputError, match=r"^targets: expected"):
            loss.rows(outputs, none.astype(np.int32), targets, none)
    for weights in (np.ones(4), np.ones(5, SINGLE), np.ones((5, 2))):
        with pytest.raises(InputError, match=r"^sample weights: expected"):
            loss.rows(outputs, labels, none, weights)
    for other in (outputs.astype(complex), outputs.astype(np.float16), outputs.astype(int)):
        with pytest.raises(InputError, match="expected dtype float32 or float64"):
            loss.rows(other, labels, none, none)
        with pytest.raises(InputError, match="expected dtype float32 or float64"):
            loss.link(other)
    with pytest.raises(InputError, match=r"^sample weights: expected"):
        loss.value_and_gradient(outputs, np.zeros((5, 3)), np.ones(2))
    value, gradient = loss.rows(np.asfortranarray(outputs), labels, none, none)
    assert (value, gradient.flags.c_contiguous) == (loss.rows(outputs, labels, none, none)[0], True)
