"""Checkpoints: a resumed fit equals an uninterrupted one; no other run is resumed by mistake."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import Adam, Checkpoint, Dense, Dropout, History, Network, ReLU, Tanh
from fastmlp.errors import FileError, InputError
from fastmlp.optim import schedules
from fastmlp.optim.optimizers import OPTIMIZERS, Optimizer
from fastmlp.training.checkpoint import BEST

from ..support import Own

ROOT = Path(__file__).resolve().parents[2]
X = np.random.default_rng(0).normal(size=(70, 6))
Y = np.random.default_rng(1).integers(0, 3, 70)


class Crash(Exception):
    """Ends a fit the hard way."""


def crash_at(epoch: int) -> Callable[[Network, History], None]:
    def callback(network: Network, history: History) -> None:
        if history.epochs == epoch:
            raise Crash

    return callback


def network(*more: Any, dtype: str = "float32", seed: int = 3) -> Network:
    layers = [Dense(8), ReLU(), Dropout(0.3), *more, Dense(3)]
    return Network(layers, dtype=dtype, random_state=seed)


def fit(net: Network, *callbacks: Any, X: Any = X, **options: Any) -> History:
    settings = {"optimizer": Adam(schedules.Cosine(0.01)), "epochs": 6, "batch_size": 16}
    return net.fit(X, Y, callbacks=callbacks, **settings | options)


def crashed(folder: Path, epoch: int, net: Network, **options: Any) -> None:
    every = options.pop("every", 1)
    with contextlib.suppress(Crash):
        fit(net, Checkpoint(folder, every), crash_at(epoch), **options)


@pytest.mark.thinned
@pytest.mark.nojit
@pytest.mark.parametrize("kind", list(OPTIMIZERS), ids=OPTIMIZERS.names)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_resumed_fit_is_the_uninterrupted_one(
    kind: type[Optimizer], dtype: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "optimizer": kind(schedules.OneCycle(0.01)), "validation_data": (X[:20], Y[:20])
    }  # fmt: skip
    whole = network(dtype=dtype)
    history = fit(whole, **options)
    crashed(tmp_path, 4, network(dtype=dtype), **options)
    resumed = network(dtype=dtype, seed=99)  # the checkpoint's seed goes on
    found = fit(resumed, Checkpoint(tmp_path, resume=True), **options)
    assert resumed.params.tobytes() == whole.params.tobytes()
    for name in ("loss", "validation_loss", "validation_score", "learning_rate"):
        assert getattr(found, name) == getattr(history, name)
    assert (found.stopped, found.epochs) == ("finished", 6)
    assert resumed.predict(X).tolist() == whole.predict(X).tolist()


@pytest.mark.slow
@pytest.mark.nojit
def test_layers_of_ones_own_are_resumed_too(tmp_path: Path) -> None:
    whole = network(Own())
    fit(whole)
    crashed(tmp_path, 3, network(Own()))
    resumed = network(Own())
    fit(resumed, Checkpoint(tmp_path, resume=True))
    assert resumed.params.tobytes() == whole.params.tobytes()


def test_epochs_between_checkpoints_are_done_again(tmp_path: Path) -> None:
    whole = network()
    fit(whole)
    crashed(tmp_path, 6, network(), every=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch-000002.safetensors", "epoch-000004.safetensors",
    ]  # fmt: skip
    seen: list[int] = []
    resumed = network()
    checkpoint = Checkpoint(tmp_path, resume=True)
    fit(resumed, checkpoint, lambda net, history: seen.append(history.epochs))
    assert seen == [5, 6]
    assert resumed.params.tobytes() == whole.params.tobytes()
    assert [path.name for path in checkpoint.saved] == [
        "epoch-000005.safetensors", "epoch-000006.safetensors",
    ]  # fmt: skip


@pytest.mark.nojit
def test_a_finished_fit_has_nothing_left_to_do(tmp_path: Path) -> None:
    whole, resumed = network(), network()
    history = fit(whole, Checkpoint(tmp_path, keep=1))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000006.safetensors"]
    assert fit(resumed, Checkpoint(tmp_path, resume=True)).loss == history.loss
    assert resumed.params.tobytes() == whole.params.tobytes()


def test_checkpoints_are_models_and_the_best_is_kept(tmp_path: Path) -> None:
    net, seen = network(), list[bytes]()
    history = fit(
        net, Checkpoint(tmp_path), lambda net, history: seen.append(net.params.tobytes()),
        validation_data=(X[:20], Y[:20]), optimizer=Adam(0.05), epochs=12,
    )  # fmt: skip
    best = int(np.argmax(history.validation_score))
    assert Network.load(tmp_path / BEST).params.tobytes() == seen[best]
    last = Network.load(tmp_path / "epoch-000012.safetensors")
    assert last.params.tobytes() == net.params.tobytes()
    assert last.predict(X).tolist() == net.predict(X).tolist()


@pytest.mark.nojit
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    whole = network()
    fit(whole)
    crashed(tmp_path, 5, network())
    newest = tmp_path / "epoch-000004.safetensors"
    data = bytearray(newest.read_bytes())
    data[-9] ^= 4
    newest.write_bytes(data)
    (tmp_path / ".12345678.safetensors").write_bytes(b"cut short")
    resumed = network()
    fit(resumed, Checkpoint(tmp_path, resume=True))
    assert resumed.params.tobytes() == whole.params.tobytes()
    assert not (tmp_path / ".12345678.safetensors").exists()
    for path in tmp_path.iterdir():
        path.write_bytes(b"{" * 9)
    with pytest.raises(FileError, match=r"epoch-000004.safetensors: expected"):
        fit(network(), Checkpoint(tmp_path, resume=True))


CHANGES: dict[str, tuple[dict[str, Any], Any]] = {
    "data": ({"X": X + 1e-9}, None),
    "batch_size": ({"batch_size": 10}, None),
    "epochs": ({"epochs": 7}, None),
    "optimizer": ({"optimizer": Adam(0.02)}, None),
    "shuffle": ({"shuffle": False}, None),
    "architecture": ({}, [Dense(8), Tanh(), Dense(3)]),
}


@pytest.mark.nojit
@pytest.mark.parametrize("change", CHANGES)
def test_another_run_is_refused_unless_that_is_allowed(change: str, tmp_path: Path) -> None:
    options, layers = CHANGES[change]
    crashed(tmp_path, 4, network())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other = network() if layers is None else Network(layers)
    with pytest.raises(InputError, match=f"a run like the one before, got another {change}; choo"):
        fit(other, Checkpoint(tmp_path, resume=True), **options)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
    checkpoint = Checkpoint(tmp_path, resume=True, allow_changes=True)
    if change == "architecture":
        with pytest.raises(InputError, match=r"another architecture; choose another folder$"):
            fit(other, checkpoint, **options)
    else:
        assert fit(other, checkpoint, **options).epochs == options.get("epochs", 6)


@pytest.mark.nojit
def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed(tmp_path, 4, network())
    monkeypatch.setattr("fastmlp.training.checkpoint.__version__", "99.0")
    with pytest.raises(InputError, match="another version of fastmlp; choose another folder, or"):
        fit(network(), Checkpoint(tmp_path, resume=True))


@pytest.mark.nojit
def test_checkpoints_of_another_fit_are_not_overwritten(tmp_path: Path) -> None:
    crashed(tmp_path, 3, network())
    with pytest.raises(InputError, match=r"without checkpoints, got epoch-000002.safetensors in"):
        fit(network(), Checkpoint(tmp_path))


@pytest.mark.nojit
def test_bad_checkpoints_are_refused(tmp_path: Path) -> None:
    class Mine:
        def step(self, params: np.ndarray, grads: np.ndarray) -> None:
            params -= 0.1 * grads

    with pytest.raises(InputError, match="whose state can be saved, got Mine"):
        fit(network(), Checkpoint(tmp_path), optimizer=Mine())
    with pytest.raises(InputError, match="every to be a whole number of at least 1, got 0"):
        Checkpoint(tmp_path, every=0)
    with pytest.raises(InputError, match="expected one Checkpoint, got 2"):
        fit(network(), Checkpoint(tmp_path / "a"), Checkpoint(tmp_path / "b"))
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="a folder that can be written to"):
        fit(network(), Checkpoint(tmp_path / "file"))
    network().build(6).save(tmp_path / "epoch-000001.safetensors")
    with pytest.raises(FileError, match="expected a checkpoint, got a file without one"):
        fit(network(), Checkpoint(tmp_path, resume=True))


PATIENT = """
import signal, sys
import numpy as np
from fastmlp import Checkpoint, Dense, Network, ReLU
signal.signal(signal.SIGINT, signal.default_int_handler)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(20_000, 200)).astype("f4"), rng.integers(0, 3, 20_000)
net = Network([Dense(300), ReLU(), Dense(3)], random_state=0)
checkpoint = Checkpoint(sys.argv[1])
tell = lambda net, history: print("epoch", history.epochs, flush=True)
history = net.fit(X, y, epochs=10**6, callbacks=[tell, checkpoint], n_threads=1)
print(history.stopped, history.epochs, checkpoint.saved[-1].name)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole groups")
def test_ctrl_c_waits_for_the_end_of_the_epoch_and_its_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PATIENT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "epoch 1\n"
            time.sleep(0.5)  # in the middle of a later one
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    *_, last = out.splitlines()
    stopped, epochs, saved = last.split()
    assert (stopped, saved) == ("interrupted", f"epoch-{int(epochs):06d}.safetensors")
    assert int(epochs) >= 2


def test_writes_reach_the_disk_before_they_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File, then name, then folder: what a power failure leaves is whole."""
    done: list[str] = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def noted(*args: Any, name: str = name, original: Any = original, **kw: Any) -> Any:
            done.append(name)
            return original(*args, **kw)

        monkeypatch.setattr(os, name, noted)
    fit(network(), Checkpoint(tmp_path), epochs=1)
    assert done == ["fsync", "replace", "fsync"]
