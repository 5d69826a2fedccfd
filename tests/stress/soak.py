"""A long fit: memory stays flat, and float32 does not drift away from float64."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import Adam, Dense, Network, ReLU

from .outcome import Outcome

_EPOCHS = 20  # of each fit
_WARM = 5  # fits before memory is looked at
_LEAK = 2 << 20


def _resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(count: int, seed: int) -> Outcome:
    """So many thousand steps, in fits that follow each other."""
    outcome, rng = Outcome(), np.random.default_rng(seed)
    X = rng.normal(size=(3200, 20)).astype(np.float32)
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    networks: dict[str, Any] = {
        dtype: Network([Dense(32), ReLU(), Dense(1)], "mean_squared_error", dtype, random_state=0)
        for dtype in ("float32", "float64")
    }
    fits, before = max(_WARM + 1, count * 1000 // (_EPOCHS * 100)), 0
    for number in range(fits):
        for network in networks.values():
            network.fit(X, y, optimizer=Adam(1e-3), epochs=_EPOCHS)
        if number + 1 == _WARM:
            before = _resident()
    outcome.counts["steps of each type"] = fits * _EPOCHS * 100
    grown = _resident() - before
    outcome.counts["KiB grown"] = grown >> 10
    if grown > _LEAK:
        outcome.failures.append(f"memory grew by {grown >> 10} KiB")
    losses = {name: net.evaluate(X, y)[0] for name, net in networks.items()}
    if not 0.8 < losses["float32"] / losses["float64"] < 1.25:
        outcome.failures.append(f"losses drifted apart: {losses}")
    return outcome
