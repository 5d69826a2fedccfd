"""Invalid input to estimators, and fitted state that users can write to.

Input is refused before the model changes. Nothing may reach a kernel unchecked.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import hashlib
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.multiclass import OneVsRestClassifier

from fastmlp import SGD, Dense, MLPClassifier, MLPRegressor, Network, ReLU
from fastmlp.errors import InputError, InputTypeError

from ..support import assert_rows_alike

pytestmark = [
    pytest.mark.thinned(2),
    pytest.mark.nojit,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8))
Y = np.arange(60) % 3
YR = X[:, 0] + 0.1
YM = (X[:, :3] > 0).astype(int)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 2, "random_state": 0}


def bits(model: Any) -> bytes:
    return b"".join(array.tobytes() for array in model.coefs_ + model.intercepts_)


def state(model: Any) -> bytes:
    """All of an estimator that a refusal must leave as it was."""
    return pickle.dumps({k: v for k, v in model.__getstate__().items() if k != "_random_state"})


def with_index(value: int, kind: str = "csr") -> Any:
    """A sparse matrix like X with one index that is not right."""
    made = getattr(sparse, f"{kind}_array")(X)
    if kind == "coo":
        made.coords[1][3] = value
    else:
        made.indices[3] = value
    return made


# ---------------------------------------------------------------- held-out data

HELD_OUT: dict[str, tuple[Any, dict[str, Any], str]] = {
    "few targets": (Y, {"y_val": Y[:10]}, "X_val, y_val: Found input variables with inconsistent"),
    "nan": (Y, {"X_val": np.where(X > 2, np.nan, X)}, "Input X_val contains NaN"),
    "infinity": (Y, {"X_val": np.where(X > 2, np.inf, X)}, "Input X_val contains infinity"),
    "text rows": (Y, {"X_val": np.full((60, 8), "a")}, "expected X_val to hold numbers"),
    "other columns": (Y, {"X_val": X[:, :4]}, "X_val has 4 features, but MLPClassifier"),
    "one row": (Y, {"X_val": X[0], "y_val": 1}, "Expected 2D array, got 1D array"),
    "unseen": (Y, {"y_val": Y + 1}, "expected only labels seen in fit, got 1 unseen label"),
    "rows of labels": (Y, {"y_val": YM}, "expected y_val with one label per row, got shape"),
    "one label": (YM, {"y_val": Y}, r"expected y_val of shape \(n, 3\), yes or no"),
    "fewer labels": (YM, {"y_val": YM[:, :2]}, r"y_val of shape \(n, 3\).*got shape \(60, 2\)"),
    "nan targets": (YR, {"y_val": np.where(YR > 1, np.nan, YR)}, "Input y_val contains NaN"),
    "two targets": (YR, {"y_val": X[:, :2]}, "y_val has 2 outputs, but this MLPRegressor"),
    "text targets": (YR, {"y_val": YR.astype(str)}, "expected y_val to hold numbers, got dtype"),
    "negative weights": (
        Y, {"sample_weight_val": -np.ones(60)}, "sample_weight_val of at least 0, got a negative",
    ),
    "nan weights": (Y, {"sample_weight_val": np.full(60, np.nan)}, "sample_weight_val contains"),
    "no weight": (Y, {"sample_weight_val": np.zeros(60)}, "sample_weight_val: .*non-zero"),
    "a column of weights": (
        Y, {"sample_weight_val": np.ones((60, 1))}, "sample_weight_val: Sample weights must be 1D",
    ),
    "few weights": (Y, {"sample_weight_val": np.ones(3)}, r"sample_weight_val.shape == \(3,\)"),
    "dates as weights": (
        Y, {"sample_weight_val": np.arange(60).astype("M8[D]")}, "sample_weight_val to hold number",
    ),
    "weights alone": (
        Y, {"X_val": None, "y_val": None, "sample_weight_val": np.ones(60)},
        "expected X_val and y_val with sample_weight_val, got neither",
    ),
    "targets alone": (Y, {"X_val": None}, "X_val and y_val must be given together"),
    **{
        f"{kind} index {value}": (
            Y, {"X_val": with_index(value, kind)}, "expected X_val as a valid sparse matrix",
        )
        for kind in ("csr", "csc", "coo") for value in (1_000_000, 60, -1)
    },
}  # fmt: skip


@pytest.mark.parametrize("case", HELD_OUT)
@pytest.mark.parametrize("fitted", [False, True], ids=["new", "fitted"])
def test_held_out_data_are_checked_like_training_data(case: str, fitted: bool) -> None:
    y, changed, message = HELD_OUT[case]
    kind = MLPRegressor if y is YR else MLPClassifier
    model = kind(**SMALL)
    if fitted:  # on other columns and targets, which must stay what is known
        model.fit(X[:, :5], YR if y is YR else Y % 2)
    before = state(model)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, y, **{"X_val": X, "y_val": y} | changed)
    assert state(model) == before
    if fitted:
        assert model.predict(X[:, :5]).shape == (60,)


def test_counts_held_out_are_checked() -> None:
    with pytest.raises(ValueError, match="needs targets of at least 0, got negative ones in y_val"):
        MLPRegressor("poisson", **SMALL).fit(X, abs(YR), X_val=X, y_val=YR)


def test_frames_held_out_must_have_the_columns_of_training() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdefgh"))
    model = MLPClassifier(**SMALL)
    with pytest.raises(ValueError, match="X_val, y_val: The feature names should match"):
        model.fit(frame, Y, X_val=frame[frame.columns[::-1]], y_val=Y)
    model.fit(frame, Y, X_val=frame, y_val=Y)
    plain = MLPClassifier(**SMALL).fit(X, Y, X_val=X, y_val=Y)
    assert model.history_["validation_loss"] == plain.history_["validation_loss"]


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
def test_sparse_rows_held_out_are_judged_like_dense_ones(kind: str) -> None:
    rows = sparse.csr_array(X).asformat(kind)
    one = MLPClassifier(**SMALL).fit(X, Y, X_val=rows, y_val=Y[:, None].ravel())
    other = MLPClassifier(**SMALL).fit(X, Y, X_val=X, y_val=Y)
    np.testing.assert_allclose(
        one.history_["validation_loss"], other.history_["validation_loss"], rtol=1e-12
    )


def test_a_split_without_weight_on_one_side_is_refused() -> None:
    model = MLPClassifier(**SMALL, early_stopping=True)
    weights = np.zeros(60)
    weights[7] = 1
    with pytest.raises(InputError, match="some sample_weight above 0 on both sides of the split"):
        model.fit(X, Y, weights)
    assert not hasattr(model, "coefs_")


# ---------------------------------------------------------------- labels of another kind

OTHER_KINDS: dict[str, tuple[Any, Any, Any]] = {
    "fewer labels than at first": (YM, [0, 1, 2], YM[:, :2]),
    "more labels than at first": (YM, [0, 1, 2], np.c_[YM, YM]),
    "labels where rows were": (YM, [0, 1, 2], Y),
    "rows where labels were": (Y, [0, 1, 2], YM),
}


@pytest.mark.parametrize("case", OTHER_KINDS)
def test_partial_fit_refuses_targets_of_another_kind(case: str) -> None:
    y, classes, other = OTHER_KINDS[case]
    model = MLPClassifier(**SMALL).partial_fit(X, y, classes=classes)
    before = state(model)
    with pytest.raises(InputError, match="pass targets of the same kind as before"):
        model.partial_fit(X, other)
    assert state(model) == before


def test_partial_fit_that_is_refused_at_first_learns_no_classes() -> None:
    model = MLPClassifier(**SMALL)
    with pytest.raises(InputError, match=r"expected y of shape \(n, 5\)"):
        model.partial_fit(X, YM, classes=range(5))
    assert not hasattr(model, "classes_")
    assert model.partial_fit(X, Y, classes=range(3)).n_outputs_ == 3


# ---------------------------------------------------------------- memory of others


def through_pickle(model: Any, folder: Path) -> Any:
    return pickle.loads(pickle.dumps(model))


def out_of_band(model: Any, folder: Path) -> Any:
    """Read-only memory."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(model, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])


def mapped(mode: str) -> Callable[[Any, Path], Any]:
    def load(model: Any, folder: Path) -> Any:
        joblib.dump(model, folder / "model.joblib")
        return joblib.load(folder / "model.joblib", mmap_mode=mode)

    return load


TRIPS: dict[str, Callable[[Any, Path], Any]] = {
    "pickle": through_pickle,
    "buffers out of band": out_of_band,
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "copy": lambda model, folder: copy.copy(model),
    "mapped r": mapped("r"),
    "mapped r+": mapped("r+"),
    "mapped c": mapped("c"),
}


def all_memory(model: Any) -> tuple[Any, ...]:
    lists = model.loss_curve_, model.validation_scores_, model.history_["loss"]
    state = model._progress.memory
    return bits(model), state.tobytes(), copy.deepcopy(lists)


@pytest.mark.parametrize("trip", TRIPS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "extra", [{}, {"dropout": 0.2}, {"solver": "sgd"}, {"early_stopping": True}], ids=str
)
def test_copies_train_on_in_memory_of_their_own(
    trip: str, method: str, extra: dict[str, Any], tmp_path: Path
) -> None:
    """To the same bits as without the copy, while the model, and the file, stay as they are."""
    if method == "partial_fit" and "early_stopping" in extra:
        pytest.skip("partial_fit does not hold out samples")
    model = MLPClassifier(**SMALL, **extra, warm_start=method == "fit").fit(X, Y)
    twin, before = TRIPS[trip](model, tmp_path), all_memory(model)
    files = {path: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.iterdir()}
    for _ in range(2):
        getattr(twin, method)(X, Y)
    assert all_memory(model) == before
    for path, digest in files.items():
        assert hashlib.sha256(path.read_bytes()).digest() == digest
    for _ in range(2):
        getattr(model, method)(X, Y)
    assert bits(twin) == bits(model)
    assert twin.loss_curve_ == model.loss_curve_


@pytest.mark.slow
def test_one_versus_rest_goes_on_in_other_processes() -> None:
    """joblib hands models of more than a megabyte to its workers as read-only maps."""
    rows, y = np.random.default_rng(1).normal(size=(40, 400)), np.arange(40) % 3
    parts = []
    for n_jobs in (1, 2):
        model = OneVsRestClassifier(MLPClassifier((300,), random_state=0), n_jobs=n_jobs)
        for _ in range(3):
            model.partial_fit(rows, y, classes=[0, 1, 2])
        parts.append(b"".join(bits(one) for one in model.estimators_))
    assert parts[0] == parts[1]


# ---------------------------------------------------------------- weights that are set


@pytest.mark.parametrize("revived", [False, True], ids=["as fitted", "after a pickle"])
@pytest.mark.parametrize("whole", [False, True], ids=["items", "lists"])
def test_federated_averages_train_on_as_a_network_does(whole: bool, revived: bool) -> None:
    rows = X.astype(np.float32)
    options: dict[str, Any] = SMALL | {"solver": "sgd", "momentum": 0.0, "alpha": 0.0}
    options |= {"shuffle": False, "batch_size": 20, "learning_rate_init": 0.1}
    clients = [
        MLPClassifier(**options | {"random_state": seed}).fit(rows[part], Y[part])
        for seed, part in enumerate((slice(0, 30), slice(30, 60)))
    ]
    averages = [
        [np.mean([a.astype(np.float64), b], axis=0) for a, b in zip(*arrays, strict=True)]
        for arrays in ([m.coefs_ for m in clients], [m.intercepts_ for m in clients])
    ]
    model = clients[0]
    if revived:
        model = pickle.loads(pickle.dumps(model))
    if whole:
        model.coefs_, model.intercepts_ = averages
    else:
        for i in range(2):
            model.coefs_[i], model.intercepts_[i] = averages[0][i], averages[1][i]
    network = Network([Dense(8, 5), ReLU(), Dense(5, 3)], dtype="float32")
    for number, W, b in zip((0, 2), *averages, strict=True):
        network.layers[number].W, network.layers[number].b = W, b
    np.testing.assert_array_equal(model.predict_proba(rows), network.predict_proba(rows))
    model.partial_fit(rows, Y)
    network.fit(rows, Y, optimizer=SGD(0.1), epochs=1, batch_size=20, shuffle=False)
    assert {a.dtype for a in model.coefs_ + model.intercepts_} == {np.dtype("float32")}
    np.testing.assert_array_equal(model.predict_proba(rows), network.predict_proba(rows))


def test_weights_that_were_set_are_copies() -> None:
    model, other = (MLPClassifier(**SMALL | {"random_state": s}).fit(X, Y) for s in (0, 1))
    model.coefs_, model.intercepts_ = other.coefs_, other.intercepts_
    kept = bits(other)
    model.partial_fit(X, Y)
    assert bits(other) == kept != bits(model)
    swapped = MLPClassifier((8, 8), max_iter=2, random_state=0).fit(X, Y)
    first, second = (W.copy() for W in swapped.coefs_[:2])
    swapped.coefs_[:2] = swapped.coefs_[1::-1]
    swapped.predict(X)
    np.testing.assert_array_equal(swapped.coefs_[0], second)
    np.testing.assert_array_equal(swapped.coefs_[1], first)


def test_weights_that_are_changed_in_place_count_at_once() -> None:
    model = MLPClassifier(**SMALL).fit(X, Y)
    before, row = model.predict_proba(X), model.predict_proba(X[:1])
    model.intercepts_[-1][0] += 1
    assert (model.predict_proba(X)[:, 0] > before[:, 0]).all()
    assert model.predict_proba(X[:1])[0, 0] > row[0, 0]
    model.coefs_[0] = model.coefs_[0] * 2
    np.testing.assert_array_equal(model.predict_proba(X[:1]), model.predict_proba(X)[:1])


def test_momenta_stay_with_weights_that_were_set() -> None:
    model, twin = (MLPClassifier(**SMALL).fit(X, Y) for _ in range(2))
    twin.coefs_ = [W.astype(np.float64).copy() for W in twin.coefs_]
    assert bits(model.partial_fit(X, Y)) == bits(twin.partial_fit(X, Y))


def test_pruned_layers_predict_and_start_without_momenta() -> None:
    model = MLPClassifier(**SMALL).fit(X, Y)
    keep = [0, 2, 3]
    hidden = model.transform(X)[:, keep]
    wanted = hidden @ model.coefs_[1][keep] + model.intercepts_[1]
    model.coefs_ = [model.coefs_[0][:, keep], model.coefs_[1][keep]]
    model.intercepts_[0] = model.intercepts_[0][keep]
    np.testing.assert_array_equal(model.predict(X), wanted.argmax(axis=1))
    with pytest.raises(InputError, match=r"hidden layers of \[3\] units as they are, got \[5\]"):
        model.partial_fit(X, Y)
    model.set_params(hidden_layer_sizes=(3,)).partial_fit(X, Y)
    assert model._progress.memory.size == 2 * model.network_.params.size


def test_dtype_counts_in_the_next_fit_like_other_parameters() -> None:
    model = MLPClassifier(**SMALL, warm_start=True).fit(X.astype("f4"), Y)
    model.set_params(dtype="float64")
    assert model.predict_proba(X).dtype == np.float32
    assert model.fit(X, Y).coefs_[0].dtype == np.float64
    assert model._progress.memory.dtype == np.float64


WRONG_WEIGHTS: dict[str, tuple[Callable[[Any], Any], type, str]] = {
    "one layer less": (lambda m: m.coefs_.pop(), InputError, "coefs_ with 2 arrays, .* got 1"),
    "a number": (lambda m: setattr(m, "coefs_", 3), InputTypeError, "list of arrays, got int"),
    "another width": (
        lambda m: m.coefs_.__setitem__(0, np.ones((7, 5))), InputError,
        r"coefs_\[0\] of shape \(8, n_units\), got shape \(7, 5\)",
    ),
    "layers that do not meet": (
        lambda m: m.coefs_.__setitem__(1, np.ones((4, 3))), InputError,
        r"coefs_\[1\] of shape \(5, 3\), got shape \(4, 3\)",
    ),
    "other outputs": (
        lambda m: m.coefs_.__setitem__(1, np.ones((5, 2))), InputError, r"got shape \(5, 2\)",
    ),
    "a flat matrix": (
        lambda m: m.coefs_.__setitem__(0, np.ones(40)), InputError, r"got shape \(40,\)",
    ),
    "few intercepts": (
        lambda m: m.intercepts_.__setitem__(0, np.ones(4)), InputError,
        r"intercepts_\[0\] of shape \(5,\), got shape \(4,\)",
    ),
    "nan": (
        lambda m: m.coefs_.__setitem__(0, np.full((8, 5), np.nan)), InputError,
        r"coefs_\[0\] finite in float64, got nan or infinite numbers",
    ),
    "nan in place": (
        lambda m: m.coefs_[0].__setitem__((0, 0), np.nan), InputError, "got nan or infinite",
    ),
    "complex": (
        lambda m: m.coefs_.__setitem__(0, np.ones((8, 5), complex)), InputTypeError, "dtype c",
    ),
    "text": (
        lambda m: m.coefs_.__setitem__(0, np.full((8, 5), "1")), InputTypeError, "dtype <U1",
    ),
    "too large for float32": (
        lambda m: m.coefs_.__setitem__(0, np.full((8, 5), 1e300)), InputError, "finite in float32",
    ),
    "a sparse matrix": (
        lambda m: m.coefs_.__setitem__(0, sparse.csr_array(np.ones((8, 5)))), InputTypeError,
        r"coefs_\[0\] as a dense array",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_WEIGHTS)
@pytest.mark.parametrize(
    "use", ["predict", "transform", "partial_fit", "compile_predictor", "input_gradients"]
)
def test_weights_that_do_not_fit_are_refused(case: str, use: str) -> None:
    change, error, message = WRONG_WEIGHTS[case]
    rows = X.astype(np.float32) if "float32" in case else X
    model = MLPClassifier(**SMALL).fit(rows, Y)
    change(model)
    before = model.n_iter_, list(model.loss_curve_)
    arguments = {"partial_fit": (rows, Y), "compile_predictor": ()}.get(use, (rows,))
    with pytest.raises(error, match=message):
        getattr(model, use)(*arguments)
    assert (model.n_iter_, model.loss_curve_) == before


def test_attributes_that_were_set_do_not_widen_what_kernels_read() -> None:
    model = MLPClassifier(**SMALL).fit(X, Y)
    model.n_features_in_ = 4
    for use in (model.predict, model.predict_proba, model.transform, model.input_gradients):
        with pytest.raises(InputError, match="expected X with 8 columns, as coefs_ have, got 4"):
            use(X[:, :4])
    model = MLPClassifier(**SMALL).fit(X, Y)
    model.classes_ = np.arange(20)
    with pytest.raises(InputError, match=r"coefs_\[1\] of shape \(5, 20\), got shape \(5, 3\)"):
        model.partial_fit(X, Y + 15)


# ---------------------------------------------------------------- sparse rows


def bad_sparse() -> dict[str, Any]:
    """Matrices whose parts do not fit, each in a way of its own."""
    made = {
        f"{kind} index {value}": with_index(value, kind)
        for kind in ("csr", "csc", "coo")
        for value in (1_000_000, 60 if kind == "csc" else 8, -1)
    }
    lil = sparse.lil_array(X)
    lil.rows[0] = [1_000_000, *lil.rows[0][1:]]
    made["lil index"] = lil
    lil = sparse.lil_array(X)
    lil.data[0] = lil.data[0][:2]
    made["lil without a number"] = lil
    bsr = sparse.bsr_array(X, blocksize=(2, 2))
    bsr.indices[3] = 1_000_000
    made["bsr index"] = bsr
    dia = sparse.dia_array(X)
    dia.offsets = dia.offsets[:-1]
    made["dia without an offset"] = dia
    for name, indptr in (("falls", [*range(0, 480, 8), 100]), ("starts late", [8, *[480] * 60])):
        csr = sparse.csr_array(X)
        csr.indptr = np.array(indptr)
        made[f"indptr {name}"] = csr
    csr = sparse.csr_array((60, 8))
    csr.indptr = np.array([0, 1000, *[0] * 59])
    made["indptr of no numbers"] = csr
    csr = sparse.csr_array(X)
    csr.indptr = csr.indptr[:-3]
    made["few rows in indptr"] = csr
    csr = sparse.csr_array(X)
    csr.data = csr.data[:-9]
    made["few numbers"] = csr
    coo = sparse.coo_array(X)
    coo.data = coo.data[:-9]
    made["few numbers in coo"] = coo
    return made


BAD_SPARSE = bad_sparse()
USES: dict[str, Callable[[Any, Any], Any]] = {
    "fit": lambda model, rows: model.fit(rows, Y),
    "partial_fit": lambda model, rows: model.partial_fit(rows, Y),
    "predict": lambda model, rows: model.predict(rows),
    "predict_proba": lambda model, rows: model.predict_proba(rows),
    "score": lambda model, rows: model.score(rows, Y),
    "transform": lambda model, rows: model.transform(rows),
    "X_val": lambda model, rows: model.fit(X, Y, X_val=rows, y_val=Y),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("case", BAD_SPARSE)
def test_sparse_rows_out_of_range_are_refused(case: str, use: str) -> None:
    model = MLPClassifier(**SMALL).fit(X, Y)
    before = state(model)
    name = "X_val" if use == "X_val" else "X"
    with pytest.raises(InputError, match=f"expected {name} as a valid sparse matrix"):
        USES[use](model, BAD_SPARSE[case])
    assert state(model) == before


def test_input_gradients_take_no_sparse_rows() -> None:
    model = MLPRegressor(**SMALL).fit(X, YR)
    with pytest.raises(InputError, match="valid sparse matrix"):
        model.input_gradients(BAD_SPARSE["csr index 8"])
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        model.input_gradients(sparse.csr_array(X))


@pytest.mark.parametrize("value", [1_000_000, 3, -1])
def test_sparse_labels_out_of_range_are_refused(value: int) -> None:
    labels = sparse.csr_matrix(YM)
    labels.indices[2] = value
    model = MLPClassifier(**SMALL)
    for use in (
        lambda: model.fit(X, labels),
        lambda: model.fit(X, YM, X_val=X, y_val=labels),
        lambda: model.partial_fit(X, labels, classes=[0, 1, 2]),
    ):
        with pytest.raises(InputError, match=r"y(_val)? as a valid sparse matrix"):
            use()
    assert not hasattr(model, "coefs_")


# ---------------------------------------------------------------- targets that are no numbers

DAYS = np.datetime64("2020-01-01") + np.arange(60)
NO_NUMBERS: dict[str, Any] = {
    "dates": DAYS,
    "NaT": np.full(60, np.datetime64("NaT")),
    "durations": np.arange(60).astype("m8[s]"),
    "dates as objects": np.array(list(DAYS), object),
    "durations as objects": np.array([np.timedelta64(i, "s") for i in range(60)], object),
    "Python's dates": np.array([datetime.date(2020, 1, 1)] * 60, object),
    "Python's durations": np.array([datetime.timedelta(1)] * 60, object),
    "digits as text": YR.astype(str),
    "digits as bytes": YR.astype("S"),
    "digits as objects": YR.astype(str).astype(object),
    "a list of text": [str(y) for y in YR],
    "complex": YR + 0j,
    "complex objects": np.array(list(YR + 0j), object),
    "records": np.zeros(60, [("a", "f8")]),
    "None": np.array([None, *YR[1:]], object),
}


@pytest.mark.parametrize("name", NO_NUMBERS)
@pytest.mark.parametrize("use", ["fit", "partial_fit", "X_val", "score"])
@pytest.mark.parametrize("loss", ["absolute_error", "squared_error"])
def test_targets_that_are_no_numbers_are_refused(name: str, use: str, loss: str) -> None:
    y = NO_NUMBERS[name]
    model = MLPRegressor(loss, **SMALL).fit(X, YR)
    before = state(model)
    uses: dict[str, Callable[[], Any]] = {
        "fit": lambda: model.fit(X, y),
        "partial_fit": lambda: model.partial_fit(X, y),
        "X_val": lambda: model.fit(X, YR, X_val=X, y_val=y),
        "score": lambda: model.score(X, y),
    }
    with pytest.raises((TypeError, ValueError)):
        uses[use]()
    assert state(model) == before


NO_ROWS_OF_NUMBERS: dict[str, Any] = {
    "dates": X.astype("M8[s]"),
    "durations": X.astype("m8[s]"),
    "digits as text": X.astype(str),
    "digits as bytes": X.astype("S20"),
    "lists of text": X.astype(str).tolist(),
}


@pytest.mark.parametrize("name", NO_ROWS_OF_NUMBERS)
@pytest.mark.parametrize("use", ["fit", "partial_fit", "X_val", "predict", "score"])
def test_rows_that_are_no_numbers_are_refused(name: str, use: str) -> None:
    rows = NO_ROWS_OF_NUMBERS[name]
    model = MLPClassifier(**SMALL).fit(X, Y)
    before = state(model)
    uses: dict[str, Callable[[], Any]] = {
        "fit": lambda: model.fit(rows, Y),
        "partial_fit": lambda: model.partial_fit(rows, Y),
        "X_val": lambda: model.fit(X, Y, X_val=rows, y_val=Y),
        "predict": lambda: model.predict(rows),
        "score": lambda: model.score(rows, Y),
    }
    with pytest.raises(InputTypeError, match=r"X(_val)? to hold numbers, got dtype"):
        uses[use]()
    assert state(model) == before


def test_frames_of_dates_alone_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(InputTypeError, match="X to hold numbers"):
        MLPClassifier(**SMALL).fit(pandas.DataFrame({"day": DAYS}), Y)


def test_objects_and_buffers_that_hold_numbers_are_rows() -> None:
    wanted = MLPClassifier(**SMALL).fit(X, Y).predict(X)
    for rows in (X.astype(object), X.tolist(), memoryview(X)):
        assert np.array_equal(MLPClassifier(**SMALL).fit(rows, Y).predict(rows), wanted)


def test_a_score_of_negative_counts_is_refused() -> None:
    model = MLPRegressor("poisson", **SMALL).fit(X, abs(YR))
    with pytest.raises(ValueError, match="targets of at least 0"):
        model.score(X, YR)


@pytest.mark.parametrize("y", [Y, YM], ids=["classes", "labels"])
def test_early_stopping_takes_labels_in_another_byte_order(y: Any) -> None:
    options = SMALL | {"early_stopping": True}
    other = MLPClassifier(**options).fit(X, y.astype(y.dtype.newbyteorder()))
    assert bits(other) == bits(MLPClassifier(**options).fit(X, y))


@pytest.mark.parametrize("sizes", [True, (True,), (1.5,), ("3",)])
def test_hidden_layers_have_whole_numbers_of_units(sizes: Any) -> None:
    with pytest.raises(InputTypeError, match="each of hidden_layer_sizes to be a whole number"):
        MLPClassifier(sizes).fit(X, Y)


def test_columns_of_pandas_that_are_no_numbers_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    columns = {
        "Timestamp": pandas.Series(pandas.date_range("2020", periods=60)),
        "Timestamp with zone": pandas.Series(pandas.date_range("2020", periods=60, tz="UTC")),
        "Timedelta": pandas.Series(pandas.to_timedelta(np.arange(60), "s")),
        "Period": pandas.Series(pandas.period_range("2020", periods=60)),
        "text": pandas.Series(YR.astype(str), dtype="string"),
        "categories of text": pandas.Series(YR.astype(str)).astype("category"),
        "NA": pandas.Series([pandas.NA, *range(59)], dtype="Int64"),
    }
    for column in columns.values():
        with pytest.raises((TypeError, ValueError)):
            MLPRegressor(**SMALL).fit(X, column)


def test_targets_that_are_numbers_in_other_clothes_are_trained_on() -> None:
    """As in scikit-learn: categories of numbers, Decimal, booleans and other float types."""
    pandas = pytest.importorskip("pandas")
    y = np.round(4 * YR)
    wanted = bits(MLPRegressor(**SMALL).fit(X, y))
    for other in (
        pandas.Series(y).astype("category"),
        [decimal.Decimal(int(number)) for number in y],
        pandas.Series(y).astype("Int64"),
        y.astype(">f8"),
        y.astype(np.longdouble),
    ):
        assert bits(MLPRegressor(**SMALL).fit(X, other)) == wanted


# ---------------------------------------------------------------- weights of classes and samples

BAD_CLASS_WEIGHTS: dict[str, tuple[Any, Any, str]] = {
    "nan": (Y, {0: np.nan, 1: 1}, r"class_weight\[0\] to be a number at least 0, got nan"),
    "infinite": (Y, {0: np.inf}, r"class_weight\[0\] to be a number at least 0, got inf"),
    "negative": (Y, {1: -1.0}, r"class_weight\[1\] to be a number at least 0, got -1"),
    "text": (Y, {1: "2"}, r"class_weight\[1\] to be a number at least 0, got str"),
    "all zero": (Y, {0: 0, 1: 0, 2: 0}, "expected some class_weight above 0, got only zeros"),
    "unknown": (Y, {0: 1, 1: 1, 2: 1, 7: 9}, r"keys of class_weight, got 1 other key \(int\)"),
    "digits": (Y, {"0": 1, "1": 5}, r"keys of class_weight, got 2 other keys \(str\)"),
    "numbers for text": (Y.astype(str), {0: 1}, r"got 1 other key \(int\)"),
    "a list": (Y, [{0: 1, 1: 1}], "class_weight as a dict or 'balanced' for one label per row"),
    "a dict for labels": (YM, {0: 1, 1: 5}, "or a list of 3 dicts, one for each label, got dict"),
    "a short list": (YM, [{0: 1}] * 2, "class_weight with 3 dicts, one for each label, got 2"),
    "a list of lists": (YM, [[1, 2]] * 3, r"class_weight\[0\] as a dict, got list"),
    "zeros for a label": (YM, [{0: 0, 1: 0}] * 3, r"some class_weight\[0\] above 0"),
    "another label": (YM, [{2: 1}] * 3, r"keys of class_weight\[0\], got 1 other key"),
}


@pytest.mark.parametrize("case", BAD_CLASS_WEIGHTS)
@pytest.mark.parametrize("use", ["fit", "partial_fit"])
def test_class_weights_that_cannot_be_meant_are_refused(case: str, use: str) -> None:
    y, weights, message = BAD_CLASS_WEIGHTS[case]
    model = MLPClassifier(**SMALL, class_weight=weights)
    options = {} if use == "fit" else {"classes": np.unique(y) if y.ndim == 1 else [0, 1, 2]}
    with pytest.raises(InputError, match=message):
        getattr(model, use)(X, y, **options)
    assert not hasattr(model, "coefs_")
    assert not hasattr(model, "classes_")


def test_labels_that_look_like_numbers_have_weights() -> None:
    text = Y.astype(str)
    wanted = MLPClassifier(**SMALL).fit(X, text, np.array([1.0, 5.0, 2.0])[Y])
    for labels in (text, text.astype(object)):
        model = MLPClassifier(**SMALL, class_weight={"1": 5, "2": 2.0}).fit(X, labels)
        assert bits(model) == bits(wanted)
    truth = MLPClassifier(**SMALL, class_weight={True: 3, False: 2}).fit(X, Y > 1)
    assert bits(truth) == bits(MLPClassifier(**SMALL).fit(X, Y > 1, np.where(Y > 1, 3.0, 2.0)))


def test_several_labels_have_weights_by_label() -> None:
    weights = [{0: 1.0, 1: 2.0}, {1: 3.0}, {0: 0.5}]
    factors = np.array([[1, 2], [1, 3], [0.5, 1]])
    product = factors[np.arange(3), YM].prod(axis=1)
    wanted = MLPClassifier(**SMALL).fit(X, YM, product)
    for labels in (YM, sparse.csr_matrix(YM)):
        assert bits(MLPClassifier(**SMALL, class_weight=weights).fit(X, labels)) == bits(wanted)


def test_a_batch_may_lack_classes_that_have_weights() -> None:
    model = MLPClassifier(**SMALL, class_weight={0: 2.0, 2: 5.0})
    part = Y < 2
    model.partial_fit(X[part], Y[part], classes=[0, 1, 2])
    wanted = MLPClassifier(**SMALL)
    wanted.partial_fit(X[part], Y[part], np.where(Y[part] == 0, 2.0, 1.0), classes=[0, 1, 2])
    assert bits(model) == bits(wanted)
    only_zero = clone(model).set_params(class_weight={0: 0.0})
    with pytest.raises(InputError, match="some weight above 0 with class_weight counted in"):
        only_zero.partial_fit(X[Y == 0], Y[Y == 0], classes=[0, 1, 2])


@pytest.mark.parametrize("use", ["fit", "partial_fit"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_sample_weights_below_zero_are_refused(kind: Any, use: str) -> None:
    weights = np.ones(60)
    weights[4] = -1e-3
    model = kind(**SMALL).fit(X, Y)
    before = state(model)
    with pytest.raises(
        InputError, match="sample_weight of at least 0, got a negative one in row 4"
    ):
        getattr(model, use)(X, Y, weights)
    assert state(model) == before


def test_nothing_is_refused_that_was_fine() -> None:
    """Weights as a number or a list, labels in a column, and a table of float16."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = MLPClassifier(**SMALL).fit(X, Y[:, None], sample_weight=2)
    assert bits(one) == bits(MLPClassifier(**SMALL).fit(X, Y, [2.0] * 60))
    halves = X.astype(np.float16)
    model = MLPClassifier(**SMALL).fit(halves, Y, X_val=halves, y_val=Y)
    assert len(model.history_["validation_loss"]) == 2


# ---------------------------------------------------------------- the short way of one row


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("targets", ["one", "two", "several"])
def test_single_rows_have_the_bits_of_many(kind: Any, dtype: str, targets: str) -> None:
    y = {"one": Y, "two": Y > 0, "several": YM}[targets]
    model = kind(**SMALL, dtype=dtype).fit(X, y)
    names = ["predict", "predict_proba"] if kind is MLPClassifier else ["predict"]
    views = {
        "as they are": X,
        "float32": X.astype("f4"),
        "columns first": np.asfortranarray(X),
        "with gaps": np.repeat(X, 2, axis=1)[:, ::2],
        "read-only": np.frombuffer(X.tobytes()).reshape(X.shape),
        "of the other byte order": X.astype(">f8"),
    }
    for rows in views.values():
        for name in names:
            method = getattr(model, name)
            many = method(rows)
            each = np.concatenate([method(rows[i : i + 1]) for i in range(9)])
            assert_rows_alike(each, many[:9])


def test_single_rows_are_checked_as_many_are() -> None:
    model = MLPClassifier(**SMALL).fit(X, Y)
    row = X[:1].copy()
    for wrong, message in (
        (np.full((1, 8), np.nan), "Input X contains NaN"),
        (np.full((1, 8), np.inf), "Input X contains infinity"),
        (np.array([[np.inf, -np.inf, *[0.0] * 6]]), "Input X contains infinity"),
        (row[:, :7], "X has 7 features, but MLPClassifier is expecting 8 features as input"),
        (row[0], "Expected 2D array, got 1D array"),
        (row[:0], "Found array with 0 sample"),
        (row.astype("U"), "X to hold numbers"),
        (row + 0j, "Complex data not supported"),
    ):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
            model.predict(wrong)
    assert model.predict(np.full((1, 8), 1e300)).shape == (1,)  # finite, though their sum is not


def test_single_rows_without_the_names_of_fit_are_warned_of() -> None:
    pandas = pytest.importorskip("pandas")
    model = MLPClassifier(**SMALL).fit(pandas.DataFrame(X, columns=list("abcdefgh")), Y)
    with pytest.warns(UserWarning, match="X does not have valid feature names, but MLPClassifier"):
        model.predict(X[:1])


def test_threads_may_ask_one_model_for_single_rows() -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = pickle.loads(pickle.dumps(MLPClassifier(**SMALL).fit(X, Y)))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: model.predict_proba(X[i : i + 1])[0], [*range(60)] * 5))
    assert_rows_alike(found, np.tile(model.predict_proba(X), (5, 1)))


def test_a_single_row_needs_neither_validation_nor_a_new_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which would take most of its time."""
    model, row = MLPClassifier(**SMALL).fit(X, Y), X[:1].copy()
    wanted = model.predict_proba(row)

    def fail(*arguments: Any, **options: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr("fastmlp.estimators.answers.validate_data", fail)
    monkeypatch.setattr("fastmlp.engine.engine.Engine.__init__", fail)
    np.testing.assert_array_equal(model.predict_proba(row), wanted)
    assert model.predict(row) == model.classes_[np.argmax(wanted)]
    with pytest.raises(AssertionError):  # as whatever is not plain does
        model.predict(row.tolist())
