"""SIGKILL at random moments of a training with checkpoints, which is then resumed to its end.

Every resumed run must end with the bits of the one that was left alone.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

from fastmlp import Adam, Checkpoint, Dense, Dropout, Network, ReLU
from fastmlp.optim import schedules

from .outcome import Outcome

EPOCHS = 25
_KILLED = "killed while training"


def train(folder: Path) -> Network:
    """The training: dropout, a schedule, validation and a ragged last batch."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2030, 32)).astype(np.float32), rng.integers(0, 5, 2030)
    network = Network([Dense(48), ReLU(), Dropout(0.2), Dense(5)], random_state=1)
    network.fit(
        X[:1830], y[:1830], optimizer=Adam(schedules.Cosine(0.01)), epochs=EPOCHS,
        validation_data=(X[1830:], y[1830:]), callbacks=[Checkpoint(folder, resume=True, keep=2)],
    )  # fmt: skip
    return network


def run(count: int, seed: int) -> Outcome:
    """So many kills, each of a training of its own."""
    outcome, rng = Outcome(), np.random.default_rng(seed)
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        wanted = train(Path(folder) / "first").params  # loads the compiled code, too
        started = time.perf_counter()
        train(Path(folder) / "second")
        duration = time.perf_counter() - started
        for number in range(5 * count):
            if outcome.counts[_KILLED] == count:
                break
            place, delay = Path(folder) / f"run{number}", float(rng.uniform(0, duration))
            child = context.Process(target=train, args=(place,))
            child.start()
            time.sleep(delay)
            alive = child.is_alive()
            child.kill()
            child.join()
            if not alive:
                continue
            outcome.counts[_KILLED] += 1
            done = len(list(place.glob("epoch-*"))) if place.exists() else 0
            outcome.counts["with a checkpoint to go on from"] += bool(done)
            if train(place).params.tobytes() != wanted.tobytes():
                outcome.failures.append(f"seed {seed}, kill {number} after {delay:.3f} s")
            else:
                outcome.counts["resumed to the same bits"] += 1
    return outcome
