"""`fit_many`: the bits of `fit` for every network, failures by number, Ctrl-C, and checkpoints."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import FitFailedWarning

from fastmlp import (
    SGD,
    Adam,
    BatchNorm,
    Dense,
    Dropout,
    EarlyStopping,
    History,
    Layer,
    Network,
    ReLU,
    Residual,
    Sigmoid,
    Tanh,
    fit_many,
    schedules,
)
from fastmlp.engine import engine, fits
from fastmlp.errors import FileError
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.tuning import FITS_READY
from fastmlp.training import alike, finished, interrupts, one_fit, side_by_side

N, N_NETWORKS = 120, 12 if JIT_ENABLED else 8
LONG = one_fit.MOST_STEPS // 15  # epochs of batches of 8
THREADS = [1, 2, 3] if JIT_ENABLED else [1]
needs_threads = pytest.mark.skipif(not JIT_ENABLED, reason="interpreted kernels use one thread")


@pytest.fixture
def X(rng: np.random.Generator) -> np.ndarray:
    found: np.ndarray = rng.normal(size=(N, 4)).astype(np.float32)
    return found


@pytest.fixture
def y(X: np.ndarray) -> np.ndarray:
    labels: np.ndarray = np.array(["no", "yes"])[(X.sum(axis=1) > 0).astype(int)]
    return labels


def network(number: int) -> Network:
    """Networks of different widths, activations, layers and types."""
    inner: list[Layer] = [Dense(3 + number), (ReLU, Tanh, Sigmoid)[number % 3]()]
    inner += [[], [Dropout(0.2)], [BatchNorm()], [Dense(5), Tanh()]][number % 4]
    dtype = "float64" if number % 5 == 0 else "float32"
    return Network([*inner, Dense(2)], random_state=number, dtype=dtype, l2=1e-4 * (number % 2))


class Call:
    """A call of `fit_many` with different options for each network, and the same by `fit`."""

    def __init__(self, X: Any, y: np.ndarray, rng: np.random.Generator) -> None:
        self.X, self.y, n = X, y, N_NETWORKS
        self.weights = rng.uniform(0.5, 1.5, N)
        self.optimizer = [
            ["adam", SGD(0.1, momentum=0.9), Adam(schedules.Linear())][i % 3] for i in range(n)
        ]
        self.epochs = [2 + i % 6 for i in range(n)]
        self.batch_size = [7 + 9 * i for i in range(n)]
        kinds = None, rng.integers(0, N, 60), rng.random(N) > 0.3  # all, some twice, a mask
        self.rows = [kinds[i % 3] for i in range(n)]
        self.validation_rows = [rng.permutation(N)[:40] if i % 2 else None for i in range(n)]
        self.patience = [2 if i % 4 == 1 else None for i in range(n)]

    def many(self, networks: list[Network], **options: Any) -> list[History]:
        return fit_many(
            networks, self.X, self.y, optimizer=self.optimizer, epochs=self.epochs,
            batch_size=self.batch_size, rows=self.rows, validation_rows=self.validation_rows,
            sample_weight=self.weights, patience=self.patience, **options,
        )  # fmt: skip

    def alone(self, one: Network, i: int) -> History:
        def of(rows: Any) -> tuple[Any, np.ndarray, np.ndarray]:
            chosen = np.arange(N) if rows is None else rows
            return self.X[chosen], self.y[chosen], self.weights[chosen]

        (X, y, weights), judged = of(self.rows[i]), self.validation_rows[i]
        patience = self.patience[i]
        return one.fit(
            X, y, sample_weight=weights, optimizer=self.optimizer[i], epochs=self.epochs[i],
            batch_size=self.batch_size[i], validation_data=None if judged is None else of(judged),
            callbacks=[] if patience is None else [EarlyStopping(patience)], n_threads=1,
        )  # fmt: skip


def without_seconds(history: History) -> dict[str, Any]:
    return {key: value for key, value in history.to_dict().items() if key != "seconds"}


@pytest.fixture
def call(X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Call:
    return Call(X, y, rng)


@pytest.mark.parametrize(
    "kind", [pytest.param("dense", marks=pytest.mark.nojit), "half", "fortran", "sparse"]
)
@pytest.mark.parametrize("n_threads", THREADS)
def test_each_network_ends_with_the_bits_that_fit_gives_it(
    n_threads: int, kind: str, call: Call
) -> None:
    if kind == "sparse":
        call.X = sparse.csr_array(call.X * (call.X > 0))
    elif kind != "dense":
        call.X = call.X.astype(np.float16) if kind == "half" else np.asfortranarray(call.X)
    networks = [network(i) for i in range(N_NETWORKS)]
    histories = call.many(networks, n_threads=n_threads)
    for i, (one, history) in enumerate(zip(networks, histories, strict=True)):
        other = network(i)
        expected = call.alone(other, i)
        assert one.learned.tobytes() == other.learned.tobytes(), i
        assert without_seconds(history) == without_seconds(expected), i
        assert len(history.seconds) == history.epochs
        assert all(seconds > 0 for seconds in history.seconds)
        assert list(one.predict(call.X[:5])) == list(other.predict(call.X[:5]))


@pytest.mark.nojit
def test_networks_may_have_tables_of_their_own(rng: np.random.Generator) -> None:
    tables = [rng.normal(size=(20 + i, 2 + i % 2)).astype(np.float32) for i in range(4)]
    targets = [table.sum(axis=1) for table in tables]
    weights = [np.ones(len(table)) for table in tables]
    networks = [Network([Dense(3), Tanh(), Dense(1)], "mse", random_state=i) for i in range(4)]
    histories = fit_many(networks, tables, targets, sample_weight=weights, epochs=3)
    assert all(seconds > 0 for history in histories for seconds in history.seconds)
    for i, one in enumerate(networks):
        other = Network([Dense(3), Tanh(), Dense(1)], "mse", random_state=i)
        other.fit(tables[i], targets[i], sample_weight=weights[i], epochs=3)
        assert one.learned.tobytes() == other.learned.tobytes()


def test_columns_are_found_by_name(X: np.ndarray, y: np.ndarray) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    networks = [network(1), network(1).build(4)]
    networks[1].feature_names = tuple("dcba")
    fit_many(networks, frame, y, epochs=2)
    assert networks[0].feature_names == tuple("abcd")
    other = network(1).build(4)
    other.fit(X[:, ::-1], y, epochs=2)
    assert networks[1].learned.tobytes() == other.learned.tobytes()


class Half(Layer):
    """A layer without a kernel."""

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        return X / 2

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        return gradient / 2


def test_networks_that_need_python_are_trained_as_well(X: np.ndarray, y: np.ndarray) -> None:
    def make() -> Network:
        return Network([Dense(5), Half(), Tanh(), Dense(2)], random_state=3)

    networks = [make(), network(2)]
    rows, judged = 2 * [np.arange(60)], 2 * [np.arange(60, N)]
    options: dict[str, Any] = {"epochs": 4, "batch_size": 16}
    histories = fit_many(networks, X, y, rows=rows, validation_rows=judged, patience=2, **options)
    other = make()
    expected = other.fit(
        X[:60], y[:60], validation_data=(X[60:], y[60:]), callbacks=[EarlyStopping(2)], **options
    )
    assert networks[0].learned.tobytes() == other.learned.tobytes()
    assert without_seconds(histories[0]) == without_seconds(expected)


def test_failures_have_numbers_and_the_others_are_trained(X: np.ndarray, y: np.ndarray) -> None:
    X[100] = np.nan
    networks = [network(i) for i in range(6)]
    networks[5] = network(5).build(7)
    rows: list[Any] = [range(99), range(N), np.flatnonzero(y == "no")[:9], range(99), [N], range(9)]
    optimizers: list[Any] = [SGD(1e30), "adam", "adam", "adam", "adam", "adam"]
    with pytest.warns(FitFailedWarning, match="5 networks of 6 failed: 0, 1, 2, 4, 5. The first:"):
        histories = fit_many(networks, X, y, rows=rows, optimizer=optimizers, epochs=3)
    assert [one.stopped for one in histories] == [*3 * ["failed"], "finished", *2 * ["failed"]]
    for number, text in {
        0: "fit_many, networks[0]: expected a finite loss",
        1: "fit_many, networks[1]: expected X to be finite, got nan in row 100, column 0",
        2: "fit_many, networks[2]: expected at least 2 classes in y, got 1",
        4: "fit_many, networks[4]: expected rows from 0 to 119, got some outside",
        5: "fit_many, networks[5]: expected X of shape (n, 7), got an array of shape (120, 4)",
    }.items():
        assert histories[number].error.startswith(text), histories[number].error
    other = network(3)
    other.fit(X[:99], y[:99], epochs=3)
    assert networks[3].learned.tobytes() == other.learned.tobytes()
    assert not networks[2].is_built  # nothing was changed


def test_fits_of_very_many_steps_are_left_to_fit(
    X: np.ndarray, y: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_fit, "MOST_STEPS", 20)
    networks, put = [network(1), network(2)], list[int]()
    keep = fits.FitThreads.put
    monkeypatch.setattr(
        fits.FitThreads, "put", lambda self, fit: (put.append(fit.losses.size), keep(self, fit))
    )
    histories = fit_many(networks, X, y, epochs=[20, 21], batch_size=N)
    assert put == [20]
    assert [one.epochs for one in histories] == [20, 21]


def test_the_longest_begin_first_and_few_are_ready(
    X: np.ndarray, y: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, most, put = list[int](), [0], fits.FitThreads.put

    def noted(self: Any, fit: fits.WholeFit) -> None:
        begun.append(fit.losses.size)
        put(self, fit)

    collect = side_by_side.SideBySide._collect

    def counted(self: Any) -> None:
        most[0] = max(most[0], len(self._running))
        collect(self)

    monkeypatch.setattr(fits.FitThreads, "put", noted)
    monkeypatch.setattr(side_by_side.SideBySide, "_collect", counted)
    epochs = list(np.random.default_rng(0).permutation(40) + 1)
    networks = [Network([Dense(3), Tanh(), Dense(2)], random_state=i) for i in range(40)]
    fit_many(networks, X, y, epochs=epochs, batch_size=N, n_threads=2)
    assert begun == sorted(epochs, reverse=True)
    assert most[0] <= (2 + FITS_READY if JIT_ENABLED else 1)


def test_a_bar_counts_networks(X: np.ndarray, y: np.ndarray, capsys: Any) -> None:
    fit_many([network(i) for i in range(3)], X, y, epochs=2, progress=True)
    assert "3 of 3 networks" in capsys.readouterr().err


# ---------------------------------------------------------------- Ctrl-C


@needs_threads
@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("n_epochs", [2_000, LONG])
def test_ctrl_c_keeps_what_has_ended(
    n_epochs: int, n_threads: int, X: np.ndarray, y: np.ndarray, default_ctrl_c: None
) -> None:
    networks, put = [network(i) for i in range(60)], fits.FitThreads.put
    fit_many([network(0)], X, y, epochs=1)  # compiled before
    # Counted from the first fit that is ready: many epochs take a while to be shuffled.
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))

    def noted(self: Any, fit: fits.WholeFit) -> None:
        if timer.ident is None:
            timer.start()
        put(self, fit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interrupts, "GRACE", 0.3)
        patch.setattr(alike, "LANES_WORK", 0)  # in lanes several have begun at a time
        patch.setattr(fits.FitThreads, "put", noted)
        started = time.perf_counter()
        histories = fit_many(networks, X, y, epochs=n_epochs, batch_size=8, n_threads=n_threads)
        assert time.perf_counter() - started < 6
        timer.join()
    stopped = [one.stopped for one in histories]
    assert set(stopped) <= {"finished", "interrupted"}
    assert stopped.count("interrupted") > 30
    begun = [one for one in histories if one.epochs]
    assert len(begun) <= 60 - 30
    if n_epochs == LONG:  # none has ended, and those that had begun keep what they learned
        assert stopped.count("finished") == 0
        assert 1 <= len(begun) <= n_threads
        assert all(np.isfinite(one.loss).all() for one in begun)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---------------------------------------------------------------- checkpoints


class Crash(Exception):
    pass


@pytest.mark.nojit
def test_a_call_goes_on_from_networks_that_are_done(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [network(i) for i in range(N_NETWORKS)]
    wanted = call.many(expected)
    monkeypatch.setattr(finished, "SAVE_SECONDS", 0.0)
    note = side_by_side.SideBySide._note

    def crash(self: Any, one: one_fit.OneFit) -> None:
        note(self, one)
        if len(list(tmp_path.iterdir())) >= 5:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(side_by_side.SideBySide, "_note", crash)
        with pytest.raises(Crash):
            call.many([network(i) for i in range(N_NETWORKS)], checkpoint=tmp_path)
    begun = list[int]()
    put = fits.FitThreads.put
    monkeypatch.setattr(fits.FitThreads, "put", lambda self, fit: (begun.append(1), put(self, fit)))
    n_done = len(list(tmp_path.iterdir()))  # a file for each
    assert 5 <= n_done < N_NETWORKS
    for n_left in (N_NETWORKS - n_done, 0):
        begun.clear()
        networks = [network(i) for i in range(N_NETWORKS)]
        histories = call.many(networks, checkpoint=tmp_path)
        assert len(begun) == n_left
        for one, other in zip(networks, expected, strict=True):
            assert one.learned.tobytes() == other.learned.tobytes()
        assert list(map(without_seconds, histories)) == list(map(without_seconds, wanted))
    call.many(networks, checkpoint=tmp_path)  # the same objects, as they are now
    call.epochs = [epochs + 1 for epochs in call.epochs]
    with pytest.raises(FileError, match="others for networks"):
        call.many([network(i) for i in range(N_NETWORKS)], checkpoint=tmp_path)
    file = min(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(FileError, match=file.name):
        call.many([network(i) for i in range(N_NETWORKS)], checkpoint=tmp_path)


KILLED = """
import sys
import numpy as np
from fastmlp import Dense, Network, Tanh, fit_many
from fastmlp.training import finished

finished.SAVE_SECONDS = 0.01
X = np.random.default_rng(0).normal(size=(300, 5)).astype("float32")
y = X.sum(axis=1)
networks = [
    Network([Dense(3 + i % 9), Tanh(), Dense(1)], "mse", random_state=i) for i in range(150)
]
print("begins", flush=True)
fit_many(networks, X, y, epochs=30, batch_size=16, checkpoint=sys.argv[1], n_threads=2)
np.save(sys.argv[2], np.concatenate([one.learned for one in networks]))
"""


@needs_threads
@pytest.mark.slow
def test_a_killed_call_ends_with_the_same_bits(tmp_path: Path, rng: np.random.Generator) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", KILLED, tmp_path / name, tmp_path / f"{name}.npy"]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)

    with start("whole") as process:
        assert process.wait() == 0
    for _ in range(int(os.environ.get("FASTMLP_KILLS", "4"))):
        with start("killed") as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.5))
            process.kill()
    with start("killed") as process:
        assert process.wait() == 0
    assert (tmp_path / "whole.npy").read_bytes() == (tmp_path / "killed.npy").read_bytes()


# ---------------------------------------------------------------- engines that are shared


@pytest.mark.nojit
def test_networks_of_one_structure_share_an_engine(
    X: np.ndarray, y: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, init = list[Any](), engine.Engine.__init__

    def noted(self: Any, *arguments: Any, **options: Any) -> None:
        made.append(self)
        init(self, *arguments, **options)

    monkeypatch.setattr(engine.Engine, "__init__", noted)
    monkeypatch.setattr(alike, "LANES_WORK", 0)

    def networks() -> list[Network]:
        kinds = [Dense(4), Tanh()], [Residual([Dense(4), Tanh()])], [Dense(4), Tanh(), Dropout(0.1)]
        return [
            Network([*copy.deepcopy(kinds[i % 3]), Dense(2)], random_state=i) for i in range(12)
        ]

    found, options = networks(), {"epochs": 3, "batch_size": 16}
    fit_many(found, X, y, n_threads=1, **options)
    assert len(made) == 3
    for one, other in zip(found, networks(), strict=True):
        other.fit(X, y, **options)
        assert one.learned.tobytes() == other.learned.tobytes()
    assert not any(one.spare_engines for one in found)


@needs_threads
def test_many_short_fits_are_complete_when_they_are_read(X: np.ndarray, y: np.ndarray) -> None:
    networks = [Network([Dense(2), Tanh(), Dense(2)], random_state=i) for i in range(400)]
    histories = fit_many(networks, X, y, epochs=1, batch_size=N, n_threads=2)
    assert all(len(one.loss) == 1 and 0 < one.seconds[0] < 5 for one in histories)


def test_more_samples_of_rows_than_a_table_keeps(
    X: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> None:
    def make(i: int) -> Network:
        return Network([Dense(2), Tanh(), Dense(2)], random_state=i)

    networks = list(map(make, range(150)))
    rows = [rng.integers(0, N, 30 + i % 7) for i in range(150)]
    fit_many(networks, X, y, rows=rows, epochs=2)
    for i in (0, 70, 149):
        other = make(i)
        other.fit(X[rows[i]], y[rows[i]], epochs=2)
        assert networks[i].learned.tobytes() == other.learned.tobytes()


def test_judged_and_unjudged_fits_of_one_structure(X: np.ndarray, y: np.ndarray) -> None:
    """A judged fit may take over the engine of one that was not judged."""
    held_out = [None, np.arange(40)]
    networks = [network(0), network(0)]
    histories = fit_many(
        networks, X, y, epochs=3, validation_rows=held_out, drop_last=True, n_threads=1
    )
    other = network(0)
    expected = other.fit(
        X, y, epochs=3, validation_data=(X[:40], y[:40]), drop_last=True, n_threads=1
    )
    assert without_seconds(histories[1]) == without_seconds(expected)
    assert networks[1].learned.tobytes() == other.learned.tobytes()
