"""Fits on stored tables: the bits of fits in memory, exact resuming, and bounded memory."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastmlp import (
    EMA,
    SGD,
    Adam,
    BatchNorm,
    Checkpoint,
    Dense,
    Dropout,
    EarlyStopping,
    Embedding,
    History,
    MLPRegressor,
    Network,
    ReLU,
)
from fastmlp.datasets import StoredTable, open_arrays, open_chunks, open_table
from fastmlp.datasets.blocks import Block, Part
from fastmlp.engine import threads
from fastmlp.errors import FileError, InputError
from fastmlp.inputs.windows import Windows
from fastmlp.optim import schedules

from ..support import Own

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(211, 5))
PRICE = X[:, 0] * X[:, 1]
LABEL = np.where(PRICE > 0, "high", "low").astype(object)
WEIGHT = RNG.uniform(0, 2, 211)
NAMES = [f"x{j}" for j in range(5)]
MULTIPLE = pytest.mark.parametrize("rows", [1000, 64], ids=["one window", "windows"])


def network(*more: Any, n_out: int = 1, loss: str = "mse", **options: Any) -> Network:
    layers = [Dense(8), ReLU(), Dropout(0.3), *more, Dense(n_out)]
    return Network(layers, loss, random_state=3, **options)


def table(rows: int = 64, y: Any = PRICE, weights: Any = None) -> StoredTable:
    return open_arrays(X, y, sample_weight=weights, window_rows=rows)


def fit(net: Network, *data: Any, **options: Any) -> History:
    settings = {"optimizer": Adam(schedules.Cosine(0.01)), "epochs": 3, "batch_size": 16}
    return net.fit(*data, **settings | options)


def same(net: Network, other: Network) -> bool:
    return net.learned.tobytes() == other.learned.tobytes()


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"gradient_accumulation_steps": 2},
    "drop_last": {"drop_last": True},
    "batches that do not divide windows": {"batch_size": 24},
    "batches larger than windows": {"batch_size": 100},
    "validation": {"validation_data": (X[:50], PRICE[:50])},
    "stored validation": {"validation_data": open_arrays(X[:50], PRICE[:50], window_rows=16)},
    "one thread": {"n_threads": 1},
}


@MULTIPLE
@pytest.mark.parametrize("name", CASES)
def test_the_bits_are_those_of_a_fit_in_memory(name: str, rows: int) -> None:
    in_memory, stored = network(), network()
    options = CASES[name] | {"shuffle": False}
    found = fit(stored, table(rows), **options)
    if "stored" in name:
        options["validation_data"] = (X[:50], PRICE[:50])
    expected = fit(in_memory, X, PRICE, **options)
    assert same(stored, in_memory)
    assert found.loss == expected.loss
    assert found.learning_rate == expected.learning_rate
    assert found.validation_loss == pytest.approx(expected.validation_loss, rel=1e-6)


@MULTIPLE
@pytest.mark.nojit
def test_labels_and_weights_are_read_as_in_memory(rows: int) -> None:
    in_memory, stored = (network(n_out=2, loss="softmax_cross_entropy") for _ in range(2))
    fit(in_memory, X, LABEL, sample_weight=WEIGHT, shuffle=False)
    fit(stored, table(rows, LABEL, WEIGHT), shuffle=False)
    assert same(stored, in_memory)
    assert stored.coder is not None
    assert stored.predict(table(rows, None)).tolist() == in_memory.predict(X).tolist()


@MULTIPLE
@pytest.mark.parametrize("more", [Own, BatchNorm])
def test_all_kinds_of_layers_are_trained(rows: int, more: Any) -> None:
    in_memory, stored = network(more()), network(more())
    averages = EMA(0.9), EMA(0.9)
    fit(in_memory, X, PRICE, shuffle=False, callbacks=[averages[0]])
    fit(stored, table(rows), shuffle=False, callbacks=[averages[1]])
    assert same(stored, in_memory)


def test_a_table_that_fits_one_window_is_shuffled_as_in_memory() -> None:
    in_memory, stored = network(), network()
    fit(in_memory, X, PRICE, drop_last=True)
    fit(stored, table(1000), drop_last=True)
    assert same(stored, in_memory)


def test_early_stopping_restores_the_best_epoch() -> None:
    options = {"validation_data": (X[:50], PRICE[:50]), "epochs": 30, "optimizer": SGD(0.3)}
    in_memory, stored = network(), network()
    stopping = EarlyStopping(patience=2), EarlyStopping(patience=2)
    fit(in_memory, X, PRICE, shuffle=False, callbacks=[stopping[0]], **options)
    history = fit(stored, table(), shuffle=False, callbacks=[stopping[1]], **options)
    assert history.stopped == "early_stopping"
    assert same(stored, in_memory)
    assert stopping[1].best_epoch == stopping[0].best_epoch


def rows_of(windows: Windows, epoch: int, seed: int | None) -> list[list[float]]:
    """The first column of each window."""
    found = windows.read(1, seed, epoch)
    return [window.samples.X[: window.n_rows, 0].tolist() for window in found]


@pytest.mark.nojit
def test_each_epoch_visits_all_rows_in_an_order_of_its_own() -> None:
    windows = Windows(table(64), network(), 1, None)
    first, again, second = (rows_of(windows, epoch, 7) for epoch in (0, 0, 1))
    assert first == again
    assert first != second
    assert [len(window) for window in first] == [64, 64, 64, 19]
    stored = X[:, 0].astype(np.float32).tolist()
    for epoch in (first, second):
        visited = sum(epoch, list[float]())
        assert sorted(visited) == sorted(stored)
        assert visited != stored
    assert sum(rows_of(windows, 0, None), list[float]()) == stored


def test_a_seed_gives_one_order_and_another_seed_another() -> None:
    nets = [network().build(5) for _ in range(3)]
    nets[2].seed = 4
    for net in nets:
        fit(net, table())
    assert same(*nets[:2])
    assert not same(*nets[1:])


class Crash(Exception):
    """Ends a fit the hard way."""


class CrashAt:
    """Crashes at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch(self, network: Network, step: int, loss: float) -> None:
        if step == self.step:
            raise Crash


@pytest.mark.parametrize(("step", "file"), [(6, 64), (11, 128), (15, None), (25, 128), (27, 192)])
def test_a_fit_is_resumed_within_an_epoch(step: int, file: int | None, tmp_path: Path) -> None:
    options: dict[str, Any] = {"validation_data": (X[:50], PRICE[:50])}
    whole = network(BatchNorm())
    expected = fit(whole, table(), callbacks=[EMA(0.9), EarlyStopping(9)], **options)
    with contextlib.suppress(Crash):
        callbacks = [Checkpoint(tmp_path, every_rows=1), EMA(0.9), EarlyStopping(9), CrashAt(step)]
        fit(network(BatchNorm()), table(), callbacks=callbacks, **options)
    newest = max(tmp_path.glob("epoch*"), key=lambda path: (path.name[:12], len(path.name), path))
    assert newest.name.endswith(f"-row-{file:012d}.safetensors" if file else "1.safetensors")
    resumed = network(BatchNorm())
    checkpoint = Checkpoint(tmp_path, resume=True, every_rows=1)
    found = fit(resumed, table(), callbacks=[checkpoint, EMA(0.9), EarlyStopping(9)], **options)
    assert same(resumed, whole)
    assert found.loss == expected.loss
    assert found.validation_score == expected.validation_score
    assert len(checkpoint.saved) == 4  # and the best


def test_checkpoints_within_epochs_come_after_so_many_rows(tmp_path: Path) -> None:
    fit(network(), table(), epochs=1, callbacks=[Checkpoint(tmp_path, every_rows=100, keep=9)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch-000000-row-000000000128.safetensors", "epoch-000001.safetensors",
    ]  # fmt: skip


def test_with_other_windows_an_epoch_begins_anew(tmp_path: Path) -> None:
    with contextlib.suppress(Crash):
        callbacks = [Checkpoint(tmp_path, every_rows=1), CrashAt(20)]
        fit(network(), table(), callbacks=callbacks)
    checkpoint, steps = Checkpoint(tmp_path, resume=True, allow_changes=True), list[int]()

    class Note:
        def on_batch(self, network: Network, step: int, loss: float) -> None:
            steps.append(step)

    history = fit(network(), table(96), callbacks=[checkpoint, Note()])
    assert history.epochs == 3
    assert steps == list(range(14, 42))


def test_a_fit_that_diverges_keeps_the_last_window_that_ended_well() -> None:
    net = network()
    with pytest.raises(InputError, match=r"expected a finite loss, got .* in epoch 1, step "):
        fit(net, table(), optimizer=SGD(1e3), epochs=30, keep_finite=True)
    assert np.isfinite(net.params).all()


def test_ctrl_c_ends_the_epoch() -> None:
    class Pressing(Failing):
        def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
            if part == 2:
                signal.raise_signal(signal.SIGINT)
            return super().blocks(part, features, targets)

    history = fit(network(), Pressing(9), shuffle=False)
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert readers() == []


def test_other_windows_and_other_data_are_another_run(tmp_path: Path) -> None:
    fit(network(), table(), callbacks=[Checkpoint(tmp_path)])
    for other in (table(32), table(64, PRICE + 1)):
        with pytest.raises(InputError, match="another data"):
            fit(network(), other, callbacks=[Checkpoint(tmp_path, resume=True)])


@pytest.mark.parametrize("rows", [64, 1000])
def test_outputs_and_scores_are_those_of_rows_in_memory(rows: int) -> None:
    net = network(n_out=2, loss="softmax_cross_entropy")
    fit(net, X, LABEL)
    stored = table(rows, LABEL, WEIGHT)
    for method in ("predict", "predict_proba", "outputs"):
        assert (getattr(net, method)(stored) == getattr(net, method)(X)).all()
    assert net.evaluate(stored) == net.evaluate(X, LABEL, WEIGHT)
    assert net.score(stored) == net.score(X, LABEL, WEIGHT)


def test_columns_are_put_in_the_order_of_training(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet")
    net = network()
    fit(net, open_table(path, "price", columns=NAMES, window_rows=64))
    assert net.feature_names == tuple(NAMES)
    assert (net.predict(open_table(path, columns=NAMES[::-1])) == net.predict(X)).all()
    with pytest.raises(InputError, match="a table with the 5 columns of training, got none named"):
        net.predict(open_table(path, columns=NAMES[1:]))


def written(path: Path, row_group_size: int = 50) -> Path:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(NAMES, X.T, strict=True))
    whole = pa.table({**columns, "price": PRICE, "label": LABEL.tolist(), "weight": WEIGHT})
    parquet.write_table(whole, path, row_group_size=row_group_size)
    return path


def test_parquet_is_trained_on_as_it_would_be_in_memory(tmp_path: Path) -> None:
    path, in_memory, stored = written(tmp_path / "a.parquet"), network(), network()
    fit(in_memory, X, PRICE, sample_weight=WEIGHT, shuffle=False)
    fit(
        stored, open_table(path, "price", columns=NAMES, sample_weight="weight", window_rows=64),
        shuffle=False,
    )  # fmt: skip
    assert same(stored, in_memory)


def test_progress_is_counted_in_rows(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    fit(network(), table(), progress=True)
    shown = capsys.readouterr().err
    assert "633/633" in shown
    assert "row/s" in shown


class Failing(StoredTable):
    """A table of which a part cannot be read, or not in full."""

    def __init__(self, bad: int, error: Exception | None = None) -> None:
        super().__init__([Part(f"part {number}", 40) for number in range(5)], 5, 64)
        self._bad, self._error = bad, error

    def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
        n_rows = 39 if part == self._bad and self._error is None else 40
        rows = slice(part * 40, part * 40 + n_rows)
        yield Block(f"part {part}", 0, n_rows, X[rows], PRICE[rows])
        if part == self._bad and self._error is not None:
            raise self._error

    def identity(self) -> str:
        return ""


def readers() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("fastmlp-reader")]


def test_an_error_of_the_reader_ends_the_fit_and_the_thread() -> None:
    net = network()
    with pytest.raises(FileError, match="no more"):
        fit(net, Failing(4, FileError("part 4", "a", "no more", "b")), shuffle=False)
    assert readers() == []
    assert net.is_built  # some windows had been trained on
    new = network()
    with pytest.raises(FileError, match=r"part 0: expected 40 rows, .* got fewer; open it again"):
        fit(new, Failing(0), shuffle=False)
    assert not new.is_built


def test_a_fit_that_ends_early_ends_the_reader() -> None:
    class Enough:
        def on_batch(self, network: Network, step: int, loss: float) -> bool:
            return step == 5

    history = fit(network(), table(), callbacks=[Enough()])
    assert (history.stopped, history.epochs) == ("callback", 0)
    assert readers() == []


@pytest.mark.nojit
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_numbers_that_are_not_finite_are_refused_by_place(value: float) -> None:
    bad = X.copy()
    bad[200, 3] = value
    net, kind = network(), "nan or a gap" if np.isnan(value) else "an infinity or a larger number"
    message = f"X from row 200: expected finite numbers within float32 in column 3, got {kind} in"
    with pytest.raises(InputError, match=message):
        fit(net, open_arrays(bad, PRICE, window_rows=64))
    with pytest.raises(InputError, match=r"rows from 0: expected y to be finite, got nan in row"):
        fit(network(), open_arrays(X, np.where(X[:, 0] > 2, np.nan, PRICE), window_rows=64))


def test_categories_out_of_range_are_refused() -> None:
    net = Network([Embedding(4, 2), Dense(1)], "mse")
    with pytest.raises(InputError, match="numbers of categories from 0 to 3 in column 0"):
        fit(net, open_arrays(np.full((40, 1), 4.0), np.zeros(40), window_rows=16))


def test_rows_in_memory_may_be_judged_by_a_stored_table() -> None:
    nets = [network(n_out=2, loss="softmax_cross_entropy") for _ in range(2)]
    held_out = open_arrays(X[:50], LABEL[:50], sample_weight=WEIGHT[:50], window_rows=16)
    found = fit(nets[0], X, LABEL, validation_data=held_out)
    expected = fit(nets[1], X, LABEL, validation_data=(X[:50], LABEL[:50], WEIGHT[:50]))
    assert same(*nets)
    assert found.validation_score == pytest.approx(expected.validation_score)


def test_a_part_may_be_held_out() -> None:
    rest, held_out = table().split(0.2)
    history = fit(network(), rest, validation_data=held_out)
    assert len(history.validation_score) == 3


def test_features_may_be_computed_when_they_are_read() -> None:
    scaled, in_memory, stored = (X - 3) / 2, network(), network()
    fit(in_memory, scaled, PRICE, shuffle=False)
    mapped = table().map(lambda rows: (rows - 3) / 2)
    fit(stored, mapped, shuffle=False)
    assert same(stored, in_memory)
    assert np.concatenate([rows for rows, _ in mapped.chunks()]).tolist() == scaled.tolist()


def test_chunks_are_trained_on_in_their_order() -> None:
    def chunks() -> Iterator[tuple[np.ndarray, ...]]:
        for start in range(0, 211, 50):
            yield X[start : start + 50], LABEL[start : start + 50], WEIGHT[start : start + 50]

    in_memory, stored = (network(n_out=2, loss="softmax_cross_entropy") for _ in range(2))
    fit(in_memory, X, LABEL, sample_weight=WEIGHT, shuffle=False)
    fit(stored, open_chunks(chunks, window_rows=64), shuffle=False)
    assert same(stored, in_memory)


LARGE = """
import re, sys
from pathlib import Path
import numpy as np
from fastmlp import Dense, Network, ReLU
from fastmlp.datasets import open_arrays

def peak():
    # getrusage would begin with what the tests' process had.
    told = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\\s+(\\d+) kB", told)[0]) / 1000

X = np.lib.format.open_memmap(sys.argv[1], "w+", np.float32, (2_000_000, 64))  # 512 MB
X = np.load(sys.argv[1], mmap_mode="r")
y = np.zeros(len(X), np.float32)
net = Network([Dense(8), ReLU(), Dense(1)], "mse")
net.fit(np.zeros((32, 64)), np.zeros(32), epochs=1)
before = peak()
net.fit(open_arrays(X, y, window_rows=65_536), batch_size=4096, epochs=1)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted differently")
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LARGE, str(tmp_path / "X.npy")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2 * 16.8 + 20  # two windows in MB, and parts that are mapped


@pytest.mark.nojit
def test_who_reads_ahead_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model, net = MLPRegressor(max_iter=1, batch_size=16), network()
    uses = {
        "Network.fit": lambda: fit(net, table(), epochs=1),
        "Network.predict": lambda: net.predict(table()),
        "MLPRegressor.fit": lambda: model.fit(table()),
    }
    entered = list[str]()

    @contextlib.contextmanager
    def busy() -> Iterator[None]:
        entered.append(threading.current_thread().name)
        yield

    monkeypatch.setattr(threads.company, "busy", busy)
    for name, use in uses.items():
        entered.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            use()
        assert len(entered) == 4, name  # windows
        assert all(one.startswith("fastmlp-reader") for one in entered), name
