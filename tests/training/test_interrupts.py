"""Ctrl-C: how soon a fit ends after one press and after two, with whole parameters either way.

A long fit is one compiled call per epoch to its caller, but Python is back between pieces of it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp import SGD, Adam, Dense, Dropout, MLPClassifier, Network, ReLU
from fastmlp.engine import engine, threads
from fastmlp.estimators import lbfgs
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.training.interrupts import CtrlC

from ..support import Own, assert_rows_alike

X = np.random.default_rng(0).normal(size=(203, 6))
Y = np.arange(203) % 3
compiled_only = pytest.mark.skipif(not JIT_ENABLED, reason="times compiled code")


def net(*more: Any) -> Network:
    return Network([Dense(9), ReLU(), *more, Dense(3)], random_state=1)


def in_small_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    def pieces(total: int, first: int) -> Iterator[tuple[int, int]]:
        for start in range(0, total, size):
            yield start, min(total, start + size)

    monkeypatch.setattr(engine, "in_pieces", pieces)


# ---------------------------------------------------------------- pieces


@pytest.mark.thinned
@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_pieces_leave_the_bits_as_they_are(
    size: int, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted() -> tuple[bytes, list[float], bytes]:
        network = net(Dropout(0.3))
        history = network.fit(
            X, Y, optimizer=Adam(0.01, clip_norm=0.5), epochs=3, batch_size=20, n_threads=n_threads
        )
        return network.params.tobytes(), history.loss, network.predict_proba(X).tobytes()

    whole = fitted()
    in_small_pieces(monkeypatch, size)
    assert fitted() == whole


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("kind", ["dense", "other type", "sparse"])
def test_pieces_leave_predictions_as_they_are(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece takes up the rows where the last one ended."""
    rows = np.random.default_rng(1).normal(size=(900, 6)).astype(np.float32)
    given: Any = {"dense": rows, "other type": rows.astype(np.float64)}.get(kind)
    network = net().build(6)
    whole = network.predict_proba(sparse.csr_array(rows) if given is None else given)
    in_small_pieces(monkeypatch, 2)
    found = network.predict_proba(sparse.csr_array(rows) if given is None else given)
    np.testing.assert_array_equal(found, whole)
    assert_rows_alike(found[:5], network.predict_proba(rows[:5]))


@pytest.mark.nojit
def test_pieces_leave_the_patience_of_estimators_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted() -> tuple[int, list[float], list[bytes]]:
        model = MLPClassifier((9,), batch_size=50, tol=0.01, n_iter_no_change=2, random_state=0)
        model.fit(X, Y)
        return model.n_iter_, model.loss_curve_, [W.tobytes() for W in model.coefs_]

    whole = fitted()
    assert whole[0] < 200
    in_small_pieces(monkeypatch, 3)
    assert fitted() == whole


def test_pieces_cover_all_and_last_as_long_as_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(threads.time, "perf_counter", lambda: clock[0])
    found = []
    for start, stop in threads.in_pieces(10_000, 10):
        found.append((start, stop))
        clock[0] += (stop - start) * 1e-3
    assert found[0] == (0, 10)
    assert [stop for _, stop in found[:-1]] == [start for start, _ in found[1:]]
    assert found[-1][1] == 10_000
    assert {stop - start for start, stop in found[1:-1]} == {50}
    assert list(threads.in_pieces(0, 10)) == []


# ---------------------------------------------------------------- where a fit ends


@pytest.mark.nojit
@pytest.mark.parametrize("own", [False, True], ids=["compiled", "layer by layer"])
def test_an_epoch_that_is_cut_short_ends_with_a_whole_batch(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many steps as were done, and no entry of an epoch that was not."""
    in_small_pieces(monkeypatch, 1)
    network, other = (net(*([Own()] if own else [])) for _ in range(2))
    asked: list[bool] = []

    def third_time(self: CtrlC) -> bool:
        asked.append(True)
        if len(asked) == 3:
            self._presses.append(-np.inf)
        return self.pressed

    monkeypatch.setattr(CtrlC, "ends_epoch", third_time)
    options: Any = {"optimizer": SGD(0.1, momentum=0.9), "batch_size": 20, "shuffle": False}
    history = network.fit(X, Y, epochs=5, **options)
    assert (history.stopped, history.epochs, history.loss) == ("interrupted", 0, [])
    monkeypatch.undo()
    other.fit(X[:60], Y[:60], epochs=1, **options)
    assert network.params.tobytes() == other.params.tobytes()


@pytest.mark.nojit
def test_no_checkpoint_is_written_in_the_middle_of_an_epoch(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a fit that is resumed ends with the bits of one that was never interrupted."""
    from fastmlp import Checkpoint

    in_small_pieces(monkeypatch, 1)
    plain = net()
    plain.fit(X, Y, epochs=4)
    steps_per_epoch, asked = 7, []

    def later(self: CtrlC) -> bool:
        asked.append(True)
        if len(asked) == 2 * (steps_per_epoch - 1) + 3:
            self._presses.append(-np.inf)
        return self.pressed

    monkeypatch.setattr(CtrlC, "ends_epoch", later)
    network = net()
    history = network.fit(X, Y, epochs=4, callbacks=[Checkpoint(tmp_path)])
    assert (history.stopped, history.epochs) == ("interrupted", 2)
    assert sorted(path.name for path in tmp_path.iterdir())[-1] == "epoch-000002.safetensors"
    monkeypatch.undo()
    again = net()
    again.fit(X, Y, epochs=4, callbacks=[Checkpoint(tmp_path, resume=True)])
    assert again.params.tobytes() == plain.params.tobytes()


# ---------------------------------------------------------------- presses


@pytest.mark.nojit
def test_what_presses_ask_for(default_ctrl_c: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with CtrlC() as ctrl_c:
        assert (ctrl_c.pressed, ctrl_c.ends_epoch()) == (False, False)
        signal.raise_signal(signal.SIGINT)
        assert (ctrl_c.pressed, ctrl_c.ends_epoch()) == (True, False)
        clock[0] += 1.99
        assert not ctrl_c.ends_epoch()
        clock[0] += 0.02
        assert ctrl_c.ends_epoch()
        ctrl_c.is_computing = True
        signal.raise_signal(signal.SIGINT)
        ctrl_c.is_computing = False
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with CtrlC() as ctrl_c:
        signal.raise_signal(signal.SIGINT)
        ctrl_c.is_computing = True
        signal.raise_signal(signal.SIGINT)
        assert ctrl_c.ends_epoch()


@pytest.mark.nojit
def test_another_meaning_of_ctrl_c_is_left_alone(default_ctrl_c: None) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    with CtrlC() as ctrl_c:
        signal.raise_signal(signal.SIGINT)
        assert (heard, ctrl_c.pressed) == ([signal.SIGINT], False)


def pressed_after(*delays: float) -> list[float]:
    """When the presses came, filled by a thread that presses Ctrl-C after such delays."""
    times: list[float] = []

    def press() -> None:
        for delay in delays:
            time.sleep(delay)
            times.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    return times


def long_data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(400_000, 40)).astype(np.float32), rng.integers(0, 3, 400_000)


def wide() -> Network:
    """An epoch of this on those data takes the fastest machines some ten seconds."""
    return Network([Dense(40, 600), ReLU(), Dense(600), ReLU(), Dense(3)])


@compiled_only
@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_press_ends_a_long_epoch_after_two_seconds_and_two_at_once(
    n_threads: int, default_ctrl_c: None
) -> None:
    network, (rows, labels) = wide(), long_data()
    network.fit(rows[:64], labels[:64], epochs=1, n_threads=n_threads)
    before = network.params.copy()
    late = 4.0 * (n_threads - 1)  # beside other processes, threads wait long for each other
    for delays, least, most in (((0.3,), 1.9, 4.0 + late), ((0.3, 0.2), 0.0, 1.5 + late)):
        n_before, times = threading.active_count(), pressed_after(*delays)
        history = network.fit(rows, labels, epochs=1, n_threads=n_threads)
        waited = time.perf_counter() - times[-1]
        assert (history.stopped, history.epochs) == ("interrupted", 0)
        assert least <= waited <= most, waited
        assert np.isfinite(network.params).all()
        assert (network.params != before).any()
        assert threading.active_count() <= n_before + 1  # the one that pressed may be there


@compiled_only
@pytest.mark.slow
def test_predictions_and_estimators_hear_ctrl_c_at_once(default_ctrl_c: None) -> None:
    network, (rows, labels) = wide(), long_data()
    network.outputs(rows[:9])
    many = np.broadcast_to(rows[:1], (3_000_000, 40))
    times = pressed_after(0.3)
    with pytest.raises(KeyboardInterrupt):
        network.outputs(many)
    assert time.perf_counter() - times[-1] < 1.0
    model = MLPClassifier((600, 600), batch_size=32).fit(rows[:64], labels[:64])
    times = pressed_after(0.5)
    with pytest.warns(UserWarning, match="interrupted"):
        model.set_params(max_iter=1).fit(rows, labels)
    assert time.perf_counter() - times[-1] < 1.0
    assert np.isfinite(model.coefs_[0]).all()


@pytest.mark.nojit
def test_lbfgs_keeps_its_last_whole_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters of a line search, which come between, are not where the search is."""
    reached: list[np.ndarray] = []

    def press(model: MLPClassifier, history: Any) -> None:
        reached.append(np.concatenate([W.ravel() for W in model.coefs_]))

    calls, objective = [0], lbfgs.Objective.__call__

    def interrupted(self: Any, params: Any = None) -> Any:
        calls[0] += 1
        found = objective(self, params)
        if calls[0] == 12:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(lbfgs.Objective, "__call__", interrupted)
    model = MLPClassifier((9,), solver="lbfgs", random_state=0, callbacks=press)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, Y)
    weights = np.concatenate([W.ravel() for W in model.coefs_])
    assert model.n_iter_ == len(model.loss_curve_) == len(reached) > 0
    np.testing.assert_array_equal(weights, reached[-1])
    calls[0] = 11
    with pytest.raises(KeyboardInterrupt):
        MLPClassifier((9,), solver="lbfgs").fit(X, Y)
