"""The fit loop: histories, callbacks, how a fit ends, and what it must not change.
Interrupts are tested with a real signal as well, in a process of its own.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import issparse
from sklearn.datasets import load_digits

from fastmlp.errors import InputError, InputTypeError
from fastmlp.inputs.tables import WORTH_COMPRESSING, table_of
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.step import step
from fastmlp.network import Network
from fastmlp.nn import Dense, Dropout, Layer, ReLU, Tanh
from fastmlp.nn.losses import LOSSES, Loss, MeanSquaredError
from fastmlp.optim.optimizers import SGD, Adam
from fastmlp.optim.schedules import Linear
from fastmlp.training import loop
from fastmlp.training import run as training
from fastmlp.training.history import History

ROOT = Path(__file__).resolve().parents[2]
N, N_FEATURES = 23, 4
Y = np.arange(N) % 3


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def small(loss: Any = "softmax_cross_entropy", **options: Any) -> Network:
    options = {"dtype": "float64", **options}
    return Network([Dense(N_FEATURES, 5), Tanh(), Dense(3)], loss, **options)


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(N, N_FEATURES))


# ------------------------------------------------------------------------------------------ history


@pytest.mark.nojit
def test_a_history_has_an_entry_for_every_epoch(X: np.ndarray) -> None:
    started = time.perf_counter()
    optimizer = SGD(Linear(0.3, 0.0))
    history = small().fit(X, Y, optimizer=optimizer, epochs=3, batch_size=8)
    assert history.epochs == len(history.loss) == len(history.seconds) == 3
    assert history.learning_rate == pytest.approx([0.3 * 7 / 9, 0.3 * 4 / 9, 0.3 * 1 / 9])
    assert (history.validation_loss, history.validation_score) == ([], [])
    assert history.stopped == "finished"
    assert all(seconds > 0 for seconds in history.seconds)
    assert sum(history.seconds) <= time.perf_counter() - started
    assert {type(value) for value in history.loss + history.learning_rate} == {float}


@pytest.mark.nojit
def test_a_history_turns_into_plain_data(X: np.ndarray) -> None:
    history = small().fit(X, Y, epochs=2, validation_data=(X, Y))
    plain = json.loads(json.dumps(history.to_dict()))
    assert History(**plain) == history
    assert set(plain) == {
        "loss", "validation_loss", "validation_score", "learning_rate", "seconds", "stopped",
    }  # fmt: skip
    failed = History(stopped="failed", error="why")
    assert History(**failed.to_dict()) == failed
    history.loss.append(0.0)
    assert len(plain["loss"]) == 2


@pytest.mark.nojit
@pytest.mark.parametrize("batch_size", [1, 8, N, 100])
def test_the_loss_of_an_epoch_is_the_mean_over_its_samples(batch_size: int, X: np.ndarray) -> None:
    network = small(l1=0.01, l2=0.1)
    expected = network.loss_and_gradient(X, Y)[0]
    history = network.fit(X, Y, optimizer=SGD(0.0), epochs=2, batch_size=batch_size)
    assert history.loss == pytest.approx([expected, expected], rel=1e-12)


@pytest.mark.nojit
def test_the_loss_of_an_epoch_is_that_before_each_step(X: np.ndarray) -> None:
    network = small()
    before = network.loss_and_gradient(X, Y)[0]
    history = network.fit(X, Y, optimizer=SGD(0.5), epochs=1, batch_size=N)
    assert history.loss == [pytest.approx(before, rel=1e-12)]
    assert network.loss_and_gradient(X, Y)[0] < before


# --------------------------------------------------------------------------------------- validation


@pytest.mark.nojit
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_is_what_evaluate_says_after_each_epoch(
    weighted: bool, X: np.ndarray, rng: np.random.Generator
) -> None:
    X_val, y_val = rng.normal(size=(9, N_FEATURES)), np.arange(9) % 3
    weight = (rng.uniform(0, 2, 9),) if weighted else ()
    seen = []
    history = small(l2=0.1).fit(
        X,
        Y,
        epochs=3,
        validation_data=[X_val, y_val, *weight],
        callbacks=[lambda net, _: seen.append(net.evaluate(X_val, y_val, *weight))],
    )
    assert list(zip(history.validation_loss, history.validation_score, strict=True)) == seen
    assert len(set(history.validation_loss)) == 3


@pytest.mark.nojit
def test_validation_does_not_touch_the_training(X: np.ndarray) -> None:
    plain, validated = small(), small()
    plain.fit(X, Y, epochs=3)
    validated.fit(X, Y, epochs=3, validation_data=(X[:5], Y[:5]))
    assert plain.params.tobytes() == validated.params.tobytes()


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_are_not_changed_and_may_be_read_only(dtype: str, X: np.ndarray) -> None:
    def compiled() -> int:
        kernels = step.train_steps, MeanSquaredError.kernel.called
        return sum(len(getattr(kernel, "signatures", ())) for kernel in kernels)

    def fit(*data: np.ndarray) -> bytes:
        network = small("mean_squared_error", dtype=dtype)
        network.fit(*data[:2], sample_weight=data[2], validation_data=data, epochs=1)
        network.loss_and_gradient(*data)
        network.score(*data)
        return network.params.tobytes()

    data = [array.astype(dtype) for array in (X, X[:, :3], np.linspace(0.5, 2, N))]
    before, expected, n_compiled = [array.tobytes() for array in data], fit(*data), compiled()
    for array in data:
        array.flags.writeable = False
    assert fit(*data) == expected
    assert [array.tobytes() for array in data] == before
    assert compiled() == n_compiled  # another type of array would have cost seconds


# ------------------------------------------------------------------------------------------ weights


def target_for(loss: Loss) -> np.ndarray:
    rng = np.random.default_rng(0)
    if loss.task == "classes":
        return Y
    if loss.task == "binary":
        return rng.integers(0, 2, (N, 3))
    return rng.poisson(2.0, (N, 3)).astype(float)


ALL_LOSSES = pytest.mark.parametrize("loss", [cls() for cls in LOSSES], ids=LOSSES.names)


@pytest.mark.nojit
@ALL_LOSSES
def test_a_weight_of_two_is_a_row_seen_twice(loss: Loss, X: np.ndarray) -> None:
    y, weight = target_for(loss), np.ones(N)
    weight[[3, 11]] = 2
    twice = np.r_[np.arange(N), 3, 11]
    weighted, repeated = small(loss), small(loss)
    one = weighted.fit(X, y, sample_weight=weight, epochs=3, batch_size=N)
    other = repeated.fit(X[twice], y[twice], epochs=3, batch_size=N + 2)
    np.testing.assert_allclose(weighted.params, repeated.params, rtol=0, atol=1e-13)
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-13)
    plain = small(loss)
    plain.fit(X, y, epochs=3, batch_size=N)
    assert np.abs(plain.params - weighted.params).max() > 1e-8


@pytest.mark.nojit
@ALL_LOSSES
def test_a_weight_of_nought_is_a_row_left_out(loss: Loss, X: np.ndarray) -> None:
    y, weight = target_for(loss), np.ones(N)
    weight[[3, 11]] = 0
    kept = weight > 0
    weighted, fewer = small(loss), small(loss)
    one = weighted.fit(X, y, sample_weight=weight, epochs=3, batch_size=N)
    other = fewer.fit(X[kept], y[kept], epochs=3, batch_size=N - 2)
    np.testing.assert_allclose(weighted.params, fewer.params, rtol=0, atol=1e-13)
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-13)


@pytest.mark.nojit
def test_only_the_ratio_of_weights_counts(X: np.ndarray, rng: np.random.Generator) -> None:
    weight = rng.uniform(0, 2, N)
    networks = [small(), small()]
    for network, factor in zip(networks, (1, 8), strict=True):
        network.fit(X, Y, sample_weight=factor * weight, epochs=2, batch_size=8)
    np.testing.assert_allclose(networks[0].params, networks[1].params, rtol=0, atol=1e-13)


# ---------------------------------------------------------------------------------------- callbacks


@pytest.mark.nojit
def test_callbacks_are_called_after_each_epoch_in_their_order(X: np.ndarray) -> None:
    network, calls = small(), []

    def record(name: str) -> Callable[[Network, History], None]:
        def callback(net: Network, history: History) -> None:
            assert net is network
            assert history.epochs == len(history.seconds) == len(history.validation_loss)
            calls.append((name, history.epochs))

        return callback

    network.fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=[record("a"), record("b")])
    assert calls == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


@pytest.mark.nojit
def test_a_true_result_ends_the_fit_after_all_callbacks(X: np.ndarray) -> None:
    calls: list[int] = []
    stop = lambda net, history: history.epochs == 2  # noqa: E731
    count = lambda net, history: calls.append(history.epochs)  # noqa: E731
    network, other = small(), small()
    history = network.fit(X, Y, epochs=9, callbacks=[stop, count])
    assert (history.stopped, history.epochs, calls) == ("callback", 2, [1, 2])
    # The weights are those of two epochs out of nine.
    assert np.isfinite(network.params).all()
    other.fit(X, Y, epochs=9, callbacks=[stop])
    assert network.params.tobytes() == other.params.tobytes()


@pytest.mark.nojit
@pytest.mark.parametrize("result", [None, False, 0, "", np.False_])
def test_any_false_result_lets_the_fit_go_on(result: Any, X: np.ndarray) -> None:
    history = small().fit(X, Y, epochs=2, callbacks=(lambda net, history: result,))
    assert (history.stopped, history.epochs) == ("finished", 2)


@pytest.mark.nojit
def test_what_a_callback_raises_comes_through(X: np.ndarray) -> None:
    def fail(network: Network, history: History) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match=r"^mine$"):
        small().fit(X, Y, callbacks=[fail])


# ------------------------------------------------------------------------------------- progress bar


@pytest.mark.nojit
def test_progress_goes_to_standard_error(X: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    history = small().fit(X, Y, epochs=3, progress=True, validation_data=(X, Y))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "3/3" in shown.err
    assert "epoch" in shown.err
    assert f"loss={history.loss[-1]:.4f}" in shown.err
    assert f"validation={history.validation_score[-1]:.4f}" in shown.err


@pytest.mark.nojit
def test_progress_without_validation_shows_the_loss(
    X: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    history = small().fit(X, Y, epochs=1, progress=True)
    shown = capsys.readouterr().err
    assert f"loss={history.loss[-1]:.4f}" in shown
    assert "validation" not in shown


@pytest.mark.nojit
@pytest.mark.parametrize("failure", [None, KeyboardInterrupt, RuntimeError])
def test_the_bar_is_closed_however_a_fit_ends(
    failure: type[BaseException] | None, X: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Bar:
        def set_postfix(self, shown: dict[str, str], refresh: bool = True) -> None:
            done.append("show")

        def update(self) -> None:
            done.append("update")

        def close(self) -> None:
            done.append("close")

    def fail(network: Network, history: History) -> None:
        if failure is not None:
            raise failure

    monkeypatch.setattr(training, "bar_of", lambda *arguments: Bar())
    with contextlib.suppress(RuntimeError):
        small().fit(X, Y, epochs=1, progress=True, callbacks=[fail])
    assert done == ["show", "update", "close"]


@pytest.mark.nojit
def test_a_fit_is_silent_by_default(X: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    small().fit(X, Y, epochs=2)
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------------------------------- interrupt


@pytest.mark.nojit
@pytest.mark.parametrize("progress", [False, True])
def test_ctrl_c_ends_the_fit_with_what_was_reached(
    progress: bool, X: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(network: Network, history: History) -> None:
        if history.epochs == 2:
            raise KeyboardInterrupt

    network, other = small(), small()
    history = network.fit(X, Y, optimizer=SGD(0.1), epochs=9, callbacks=[press], progress=progress)
    assert (history.stopped, history.epochs) == ("interrupted", 2)
    assert len(history.learning_rate) == len(history.seconds) == 2
    other.fit(X, Y, optimizer=SGD(0.1), epochs=2)
    assert network.params.tobytes() == other.params.tobytes()
    assert ("2/9" in capsys.readouterr().err) is progress
    assert network.fit(X, Y, epochs=1).stopped == "finished"


INTERRUPTED = """
import logging, signal, sys, threading
import numpy as np
from fastmlp import Dense, Network, ReLU

# A process that was started in the background may ignore Ctrl-C, and its children too.
signal.signal(signal.SIGINT, signal.default_int_handler)
logging.getLogger("fastmlp").setLevel("ERROR")  # no word of a first compilation

rng = np.random.default_rng(0)
X, y = rng.normal(size=(2000, 20)), rng.integers(0, 3, 2000)
network = Network([Dense(64), ReLU(), Dense(3)])
tell = lambda net, history: print("started", flush=True) if history.epochs == 1 else None
history = network.fit(X, y, epochs=10**6, n_threads=int(sys.argv[1]), callbacks=[tell])
network.predict(X)
print(history.stopped, np.isfinite(network.params).all(), threading.active_count())
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_signal_ends_a_long_fit_and_its_threads(n_threads: int) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(n_threads)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (out, err, process.returncode) == ("interrupted True 1\n", "", 0)


@pytest.mark.nojit
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_gradient_of_the_last_batch_stays_to_be_seen(n_threads: int, X: np.ndarray) -> None:
    """That of other steps is not written there; with a rate of 0, the parameters stay as well."""
    network = small()
    network.fit(X, Y, optimizer=SGD(0.0), batch_size=10, shuffle=False, n_threads=n_threads)
    found = network.grads.copy()
    _, wanted = network.loss_and_gradient(X[20:], Y[20:])
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


# --------------------------------------------------------------------------------------- divergence


@pytest.mark.nojit
def test_divergence_is_refused_with_its_epoch_step_and_rate() -> None:
    network = Network([Dense(1, 1)], "mean_squared_error", "float64")
    network.params[...] = 1
    X, y = np.ones((6, 1)), np.zeros(6)
    # The first loss is 4; then W and b are near 1e200, whose square is beyond all numbers.
    options = {"optimizer": SGD(1e200), "batch_size": 2}
    assert message(lambda: network.fit(X, y, **options)) == (
        "Network.fit: expected a finite loss, got inf in epoch 1, step 2, "
        "at learning rate 1e+200; "
        "lower the learning rate, clip gradients (clip_norm=1.0) or scale the inputs"
    )
    network.params[...] = 1
    assert "got inf in epoch 2, step 1," in message(
        lambda: network.fit(X, y, optimizer=SGD(1e200), batch_size=6)
    )


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_huge_learning_rate_is_refused(dtype: str, X: np.ndarray) -> None:
    network = Network([Dense(8), ReLU(), Dense(2)], "mean_squared_error", dtype)
    with pytest.raises(InputError, match=r"expected a finite loss, got (nan|inf) in epoch \d+,"):
        network.fit(X, X[:, :2], optimizer=SGD(1e6), epochs=50)


@pytest.mark.nojit
def test_clipping_keeps_a_fit_from_diverging(X: np.ndarray) -> None:
    network = small("mean_squared_error")
    history = network.fit(X, X[:, :3], optimizer=SGD(0.5, clip_norm=0.1), epochs=20)
    assert np.isfinite(history.loss).all()


# ------------------------------------------------------------------------------------- refused fits


def spoiled(X: np.ndarray, value: Any) -> np.ndarray:
    """X with one other value, as a matrix of objects if that value is no number."""
    bad = X.astype(float if isinstance(value, float) else object)
    bad[2, 1] = value
    return bad


BAD: dict[str, tuple[Callable[[np.ndarray], dict[str, Any]], str]] = {
    "X of one dimension": (
        lambda X: {"X": X[:, 0]},
        "Network.fit: expected X of shape (n, {n}), got an array of shape (23,); "
        "use X.reshape(1, -1) for one row, X.reshape(-1, 1) for one column",
    ),
    "X without rows": (
        lambda X: {"X": X[:0]},
        "Network.fit: expected X with at least one row and column, got an array of shape (0, 4); "
        "check how the data was selected",
    ),
    "nan in X": (
        lambda X: {"X": spoiled(X, np.nan)},
        "Network.fit: expected X to be finite, got nan in row 2, column 1; "
        "remove, replace or impute it",
    ),
    "infinity in X": (
        lambda X: {"X": spoiled(X, np.inf)},
        "Network.fit: expected X to be finite, got an infinity in row 2, column 1; "
        "remove, replace or impute it",
    ),
    "text in X": (
        lambda X: {"X": X.astype(str)},
        "Network.fit: expected X to hold numbers, got dtype <U32; "
        "encode text and categories as numbers first, or drop those columns",
    ),
    "mixed X": (
        lambda X: {"X": spoiled(X, None)},
        "Network.fit: expected X to be finite, got a missing value in row 2, column 1; "
        "remove, replace or impute it",
    ),
    "text among objects in X": (
        lambda X: {"X": spoiled(X, "high")},
        "Network.fit: expected X to hold numbers, got dtype object; "
        "encode text and categories as numbers first, or drop those columns",
    ),
    "ragged X": (
        lambda X: {"X": [[1.0, 2.0], [3.0]]},
        "Network.fit: expected X as a rectangular array, got rows of different lengths; "
        "pad or cut them",
    ),
    "complex X": (
        lambda X: {"X": X * 1j},
        "Network.fit: expected X to hold real numbers, got dtype complex128; "
        "take the real part or the absolute value",
    ),
    "too few targets": (
        lambda X: {"y": Y[:-1]},
        "Network.fit: expected y with 23 rows, as X has, got 22; pass one entry for each row of X",
    ),
    "a single target": (
        lambda X: {"y": 1},
        "Network.fit: expected y with 23 rows, as X has, got a single value; "
        "pass one entry for each row of X",
    ),
    "no targets": (
        lambda X: {"y": None},
        "Network.fit: expected y with 23 rows, as X has, got a single value; "
        "pass one entry for each row of X",
    ),
    "too many classes": (
        lambda X: {"y": np.arange(N) % 4},
        "Network.fit: expected y with 3 classes, one for each output, got 4; "
        "give the last Dense layer as many units as there are classes",
    ),
    "sparse y": (
        lambda X: {"y": Sparse()},
        "Network.fit: expected y as a dense array, got Sparse; call its .toarray() first",
    ),
    "weights of two dimensions": (
        lambda X: {"sample_weight": np.ones((N, 1))},
        "Network.fit: expected sample_weight of shape (23,), got an array of shape (23, 1); "
        "pass one weight for each row of X",
    ),
    "too many weights": (
        lambda X: {"sample_weight": np.ones(N + 1)},
        "Network.fit: expected sample_weight with 23 rows, as X has, got 24; "
        "pass one entry for each row of X",
    ),
    "a negative weight": (
        lambda X: {"sample_weight": np.where(np.arange(N) == 4, -1, 1)},
        "Network.fit: expected sample_weight of at least 0, got a negative one in row 4; "
        "weights count how often a row is seen",
    ),
    "a weight of nan": (
        lambda X: {"sample_weight": np.where(np.arange(N) == 4, np.nan, 1)},
        "Network.fit: expected sample_weight to be finite, got nan in row 4; "
        "remove, replace or impute it",
    ),
    "no weight at all": (
        lambda X: {"sample_weight": np.zeros(N)},
        "Network.fit: expected some sample_weight above 0, got only zeros; give rows a weight",
    ),
    "validation data without a target": (
        lambda X: {"validation_data": X},
        "Network.fit: expected validation_data as (X, y) or (X, y, sample_weight), got ndarray; "
        "pass a tuple",
    ),
    "validation data of four parts": (
        lambda X: {"validation_data": (X, Y, None, None)},
        "Network.fit: expected validation_data as (X, y) or (X, y, sample_weight), got 4 items; "
        "pass 2 or 3",
    ),
    "validation data of other columns": (
        lambda X: {"validation_data": (X[:, :2], Y)},
        "Network.fit, validation_data: expected X of shape (n, 4), got an array of shape (23, 2); "
        "pass the columns the network was built for",
    ),
    "validation data of another length": (
        lambda X: {"validation_data": (X, Y[:3])},
        "Network.fit, validation_data: expected y with 23 rows, as X has, got 3; "
        "pass one entry for each row of X",
    ),
    "validation data with one target": (
        lambda X: {"validation_data": (X, 2)},
        "Network.fit, validation_data: expected y with 23 rows, as X has, got a single value; "
        "pass one entry for each row of X",
    ),
    "validation data with an unseen label": (
        lambda X: {"validation_data": (X, Y + 1)},
        "Network.fit, validation_data: expected only labels seen in fit, got 1 unseen label; "
        "fit on data that holds every class",
    ),
    "validation data with bad weights": (
        lambda X: {"validation_data": (X, Y, -np.ones(N))},
        "Network.fit, validation_data: expected sample_weight of at least 0, "
        "got a negative one in row 0; weights count how often a row is seen",
    ),
    "no epochs": (
        lambda X: {"epochs": 0},
        "Network.fit: expected epochs to be a whole number of at least 1, got 0; "
        "choose a larger one",
    ),
    "half a batch": (
        lambda X: {"batch_size": 0.5},
        "Network.fit: expected batch_size to be a whole number of at least 1, got float; "
        "pass an int",
    ),
    "no threads": (
        lambda X: {"n_threads": 0},
        "Network.fit: expected n_threads to be a whole number of at least 1, got 0; "
        "choose a larger one",
    ),
    "an unknown optimizer": (
        lambda X: {"optimizer": "sdg"},
        "optimizer: expected one of adagrad, adam, adamw, rmsprop, sgd, got 'sdg'; "
        "check the spelling",
    ),
}


class Sparse:
    """What a sparse matrix is recognised by."""

    def toarray(self) -> np.ndarray:
        raise AssertionError("never called behind the user's back")


@pytest.mark.nojit
@pytest.mark.parametrize("state", ["open", "built", "fitted"])
@pytest.mark.parametrize(("change", "text"), BAD.values(), ids=BAD)
def test_a_refused_fit_leaves_the_network_as_it_was(
    change: Callable[[np.ndarray], dict[str, Any]], text: str, state: str, X: np.ndarray
) -> None:
    network = Network([Dense(5), Tanh(), Dense(3)])
    if state == "built":
        network.build(N_FEATURES)
    elif state == "fitted":
        network.fit(X, Y, epochs=1)
        if text.startswith("Network.fit: expected y with 3 classes"):
            text = (
                "Network.fit: expected only labels seen in fit, got 1 unseen label; "
                "fit on data that holds every class"
            )
    before = copy.deepcopy(network)
    given: dict[str, Any] = {"X": X, "y": Y, "epochs": 1, **change(X)}
    assert message(lambda: network.fit(**given)) == text.replace(
        "{n}", "n_features" if state == "open" else "4"
    )
    assert network.is_built is before.is_built is (state != "open")
    assert network.params.tobytes() == before.params.tobytes()
    assert (network.coder is None) == (state != "fitted")
    if state == "fitted":
        assert network.classes_.tolist() == before.classes_.tolist()
    assert [layer.n_in for layer in network.layers] == [layer.n_in for layer in before.layers]
    # And it can be fitted as if nothing had happened.
    for net in (network, before):
        net.fit(X, Y, epochs=1)
    assert network.params.tobytes() == before.params.tobytes()


@pytest.mark.nojit
def test_wrong_types_are_type_errors_too(X: np.ndarray) -> None:
    with pytest.raises(InputTypeError):
        small().fit(X, Y, validation_data=3)
    with pytest.raises(InputTypeError):
        small().fit(X, Y, optimizer=None)


@pytest.mark.nojit
def test_a_network_without_any_size_is_refused(X: np.ndarray) -> None:
    assert message(lambda: Network([ReLU()]).fit(X, Y)) == (
        "Network.fit: expected a layer with a number of units, got none; end with Dense(n_outputs)"
    )
    built = Network([Tanh()], dtype="float64").build(N_FEATURES)
    history = built.fit(X, np.arange(N) % 4, epochs=2)  # legal, if there is nothing to learn
    assert history.loss[0] == pytest.approx(history.loss[1], rel=1e-14)


# ---------------------------------------------------------------------------------- going on, again


def test_digits_are_learned() -> None:
    X, y = load_digits(return_X_y=True)
    X = X / 16
    network = Network([Dense(64), ReLU(), Dense(10)], random_state=0)
    history = network.fit(
        X[:1400],
        y[:1400],
        optimizer=Adam(Linear(3e-3, 0)),
        epochs=30,
        batch_size=32,
        validation_data=(X[1400:], y[1400:]),
    )
    assert network.score(X[:1400], y[:1400]) > 0.99
    assert network.score(X[1400:], y[1400:]) > 0.9  # other writers, further on in the file
    assert history.validation_score[-1] == network.score(X[1400:], y[1400:])
    rng = np.random.default_rng(0)
    order = rng.permutation(len(X))
    train, test = order[:1400], order[1400:]
    mixed = Network([Dense(64), ReLU(), Dense(10)])
    mixed.fit(X[train], y[train], optimizer=Adam(Linear(3e-3, 0)), epochs=30)
    assert mixed.score(X[test], y[test]) > 0.95


@pytest.mark.nojit
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mean_squared_error"])
def test_fitting_again_goes_on_from_the_current_weights(loss: str, X: np.ndarray) -> None:
    y = Y if loss == "softmax_cross_entropy" else X[:, :3]
    once, twice = small(loss), small(loss)
    options = {"optimizer": SGD(0.1), "shuffle": False, "batch_size": 8}
    one = once.fit(X, y, epochs=4, **options)
    parts = [twice.fit(X, y, epochs=2, **options) for _ in range(2)]
    assert once.params.tobytes() == twice.params.tobytes()
    assert one.loss == parts[0].loss + parts[1].loss


@pytest.mark.nojit
def test_weights_set_by_hand_are_where_a_fit_begins(X: np.ndarray) -> None:
    network = small()
    network.params[...] = 0
    history = network.fit(X, Y, optimizer=SGD(0.0), epochs=1)
    assert history.loss == [pytest.approx(np.log(3), rel=1e-12)]
    assert (network.params == 0).all()


@pytest.mark.nojit
def test_shuffling_changes_the_order_and_nothing_else(X: np.ndarray) -> None:
    networks = [small(), small()]
    for network, shuffle in zip(networks, (True, False), strict=True):
        network.fit(X, Y, epochs=1, batch_size=N, optimizer=SGD(0.1), shuffle=shuffle)
    np.testing.assert_allclose(networks[0].params, networks[1].params, rtol=0, atol=1e-14)
    networks = [small(), small()]
    for network, shuffle in zip(networks, (True, False), strict=True):
        network.fit(X, Y, epochs=1, batch_size=4, optimizer=SGD(0.1), shuffle=shuffle)
    assert np.abs(networks[0].params - networks[1].params).max() > 1e-6


# ---------------------------------------------------------------------------- threads and processes

WORK = """
import hashlib, sys
import numpy as np
from fastmlp import Adam, Dense, Dropout, Network, ReLU

def trained(n_threads, dtype):
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(200, 50)), rng.integers(0, 4, 200)
    layers = [Dropout(0.1), Dense(90), ReLU(), Dropout(0.3), Dense(40, max_norm=2.0), ReLU()]
    network = Network([*layers, Dense(4)], dtype=dtype, l2=1e-3, random_state=11)
    optimizer = Adam(0.01, clip_norm=0.5, weight_decay=0.1)
    history = network.fit(
        X, y, optimizer=optimizer, epochs=3, batch_size=48, n_threads=n_threads
    )
    bits = network.params.tobytes() + network.outputs(X).tobytes() + repr(history.loss).encode()
    return hashlib.sha256(bits).hexdigest()
"""


def trained(n_threads: int | None, dtype: str) -> str:
    """The same program as in another process."""
    space: dict[str, Any] = {}
    exec(WORK, space)
    return space["trained"](n_threads, dtype)


@pytest.mark.skipif(not JIT_ENABLED, reason="interpreted kernels run on one thread")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits(dtype: str) -> None:
    before = threading.active_count()
    results = {trained(n_threads, dtype) for n_threads in (None, 1, 2, 3, 5)}
    assert len(results) == 1
    assert threading.active_count() == before


@pytest.mark.slow
def test_another_process_gives_the_same_bits() -> None:
    code = WORK + "print(trained(2, 'float32'), trained(1, 'float64'))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [trained(1, "float32"), trained(2, "float64")]


@pytest.mark.nojit
def test_the_same_fit_twice_gives_the_same_bits(X: np.ndarray) -> None:
    digests = set()
    for _ in range(2):
        network = Network([Dropout(0.2), Dense(5), ReLU(), Dense(3)], random_state=3)
        history = network.fit(X, Y, epochs=2, batch_size=8)
        digests.add(hashlib.sha256(network.params.tobytes() + repr(history.loss).encode()).digest())
    assert len(digests) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_tables_that_are_mostly_zero_are_read_without_zeros(
    kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """With the same bits; but not for few epochs, nor behind a layer that needs all numbers."""
    X = np.where(rng.random((90, 150)) < 0.1, rng.normal(size=(90, 150)), 0).astype(kind)
    y, read = X[:, :4].argmax(axis=1), list[bool]()

    def watch(X: Any, dtype: Any) -> Any:
        read.append(issparse(X))
        return table_of(X, dtype)

    def fitted(epochs: int, *first: Layer) -> Network:
        network = Network([*first, Dense(80), ReLU(), Dense(4)], dtype=dtype)
        network.fit(X, y, epochs=epochs, batch_size=16)
        return network

    monkeypatch.setattr(loop, "table_of", watch)
    found = fitted(WORTH_COMPRESSING)
    fitted(WORTH_COMPRESSING - 1)
    fitted(WORTH_COMPRESSING, Dropout(0.1))
    monkeypatch.setattr("fastmlp.training.fit.without_zeros", lambda X, *_: X)
    np.testing.assert_array_equal(fitted(WORTH_COMPRESSING).params, found.params)
    assert read == [True, False, False, False]
