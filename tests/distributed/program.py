"""A program for `mpiexec`: what its processes print is compared with that of other numbers of them.

Usage: program.py NAME [FOLDER]
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

from fastmlp import (
    EMA,
    SGD,
    Adam,
    AdamW,
    Checkpoint,
    Dense,
    Dropout,
    LayerNorm,
    Network,
    ReLU,
    Residual,
    Tanh,
)
from fastmlp.distributed.ranks import Ranks

N = 301
COMM = MPI.COMM_WORLD
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 12)).astype(np.float32)
LABELS = np.array(["a", "b", "c"])[np.argmax(X[:, :3], axis=1)]
NUMBERS = X[:, 0] - 2 * X[:, 1]
WEIGHTS = RNG.random(N)


def networks() -> Iterator[tuple[Network, np.ndarray, dict[str, Any]]]:
    """Networks, their targets and the options of their fits."""
    yield Network([Dense(20), ReLU(), Dense(3)], random_state=0), LABELS, {"optimizer": Adam(0.01)}
    layers = [Dense(20), Tanh(), Dropout(0.2), Dense(3)]
    calm = SGD(0.1, momentum=0.9, clip_norm=0.3)
    yield Network(layers, random_state=0, l2=1e-3, l1=1e-4), LABELS, {"optimizer": calm}
    weighted = {"optimizer": AdamW(0.01), "sample_weight": WEIGHTS, "drop_last": True}
    yield (
        Network([Dense(7), LayerNorm(), ReLU(), Dense(1)], "mse", random_state=1),
        NUMBERS,
        weighted,
    )
    deep = [Dense(16, max_norm=1.0), Residual([Dense(16), ReLU()]), Dense(3)]
    averaged = {"callbacks": [EMA(0.9)], "validation_data": (X[:50], LABELS[:50])}
    yield Network(deep, dtype="float64", random_state=2), LABELS, averaged
    yield Network([Dense(3)], random_state=2), LABELS, {"gradient_accumulation_steps": 2}


def report(network: Network, losses: list[float]) -> None:
    """Print a hash of what was learnt, which has to be the same in all processes."""
    found = hashlib.blake2b(network.learned.tobytes() + repr(losses).encode()).hexdigest()[:16]
    assert set(COMM.allgather(found)) == {found}
    if COMM.rank == 0:
        print(found, flush=True)


def bits(own_rows: bool) -> None:
    """Fit all networks."""
    ranks = Ranks(COMM, own_rows)
    mine = ranks.part_of(N) if own_rows else slice(None)
    for network, y, options in networks():
        if own_rows and "sample_weight" in options:
            options["sample_weight"] = WEIGHTS[mine]
        history = network.fit(X[mine], y[mine], epochs=3, batch_size=64, comm=ranks, **options)
        report(network, history.loss)


def resumed(folder: str) -> None:
    """Fit with checkpoints, and be killed in the sixth epoch if a file says so."""
    last = COMM.size - 1

    def kill(_: Any, history: Any) -> None:
        if COMM.rank == last and history.epochs == 5 and os.path.exists(f"{folder}/kill"):
            os.kill(os.getpid(), signal.SIGKILL)

    network, y, options = next(networks())
    ranks = Ranks(COMM, own_rows=True)
    mine = ranks.part_of(N)
    history = network.fit(
        X[mine], y[mine], epochs=8, batch_size=64, comm=ranks,
        callbacks=[Checkpoint(f"{folder}/saved", resume=True), kill], **options,
    )  # fmt: skip
    report(network, history.loss)


def errors() -> None:
    """Mistakes that only one process makes."""
    network = Network([Dense(4), ReLU(), Dense(3)], random_state=0)

    def fails(rows: Any, **options: Any) -> None:
        try:
            network.fit(rows, LABELS, epochs=3, comm=COMM, **options)
        except Exception as error:
            for rank, text in enumerate(COMM.gather(f"{type(error).__name__}: {error}") or ()):
                print(rank, text, flush=True)

    def one(_: Any, history: Any) -> None:
        if COMM.rank == 1 and history.epochs == 2:
            raise RuntimeError("in the second process")

    is_second = COMM.rank == 1
    fails(X[:, :5] if is_second else X)
    fails(X.astype(str) if is_second else X)
    assert not network.is_built
    fails(X, batch_size=16 if is_second else 32)
    fails(X, callbacks=[one])
    stops = network.fit(X, LABELS, epochs=3, comm=COMM, callbacks=[lambda _, history: is_second])
    assert (stops.epochs, stops.stopped) == (1, "callback")


if __name__ == "__main__":
    {"all": lambda: bits(False), "own": lambda: bits(True), "errors": errors}.get(
        sys.argv[1], lambda: resumed(sys.argv[2])
    )()
