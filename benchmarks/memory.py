"""Peak memory of a fit above the caller's data, against what a step needs: run in a new process.

Run as a program, it makes the data, fits once on a few rows so that code and threads are loaded,
resets the kernel's record of the peak, fits again and prints by how many bytes the peak exceeds the
start.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp

from . import rows
from .cases import Memory, Net
from .machine import ROOT
from .rows import Row
from .settings import Settings

ADAM_VECTORS = 4  # parameters, gradient and two moments
SLACK = 1.1
_PEAK, _NOW = "VmHWM", "VmRSS"
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_WARM_ROWS = 256
REFUSED = 3  # exit code of a fit that does not accept such an input


def allowed_bytes(net: Net, batch: int, kind: str) -> int:
    """Parameters, gradient, optimizer state and the workspace of a batch in float32, plus a tenth.

    Workspace: the batch's inputs if they have to be converted; values and slopes of each layer; the
    gradient that is passed back.
    """
    inputs = 0 if kind in ("float32", "mapped") else net.sizes[0]
    numbers_a_row = inputs + 2 * sum(net.sizes[1:]) + max(net.sizes)
    return int(SLACK * 4 * (ADAM_VECTORS * net.n_params + batch * numbers_a_row))


def run(case: Memory, settings: Settings) -> Iterator[Row]:
    """One row: the allowed bytes against the peak."""
    if settings.quick:
        return
    if not (_STATUS.exists() and _RESET.exists()):
        note = "needs Linux, whose kernel keeps the peak of a process"
        yield rows.plain(case, rows.LIMIT, rows.UNAVAILABLE, note)
        return
    done = measure_in_new_process(case)
    if done.returncode == REFUSED:
        note = done.stderr.strip().splitlines()[-1]
        yield rows.plain(case, rows.LIMIT, rows.UNAVAILABLE, note)
        return
    if done.returncode:
        raise RuntimeError(f"the measured process failed: {done.stderr.strip()[-500:]}")
    peak, data = json.loads(done.stdout)
    allowed = allowed_bytes(case.net, case.batch, case.kind) / 2**20
    peak = max(peak / 2**20, 1e-3)
    note = f"caller's data {data / 2**20:.0f} MiB"
    yield rows.against_limit(case, "MiB", [peak], allowed, note)


def measure_in_new_process(case: Memory) -> subprocess.CompletedProcess[str]:
    """Run this file as a program on a case."""
    settings = [case.kind, str(case.n_rows), str(case.batch), *map(str, case.net.sizes)]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    # A fixed threshold returns large blocks to the system as soon as they are freed.
    environment = {"PYTHONPATH": paths, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *settings],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def inputs(kind: str, n_rows: int, n_features: int, folder: str) -> Any:
    """Random inputs of a kind: a number type, "mapped" from a file, or "csr"."""
    rng = np.random.default_rng(0)
    if kind == "csr":
        from scipy import sparse

        return sparse.random_array(
            (n_rows, n_features), density=0.01, format="csr", dtype=np.float32, rng=rng
        )
    X = rng.integers(0, 2, (n_rows, n_features), np.uint8)
    if kind == "uint8":
        return X
    X = X.astype("float16" if kind == "float16" else "float32")
    if kind != "mapped":
        return X
    path = Path(folder) / "X.npy"
    np.save(path, X)
    mapped = np.load(path, mmap_mode="r")
    mapped.sum()  # loads all its pages, which count as the caller's memory
    return mapped


def kilobytes(name: str) -> int:
    """A field of the kernel's record of this process."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def fit(net: Net, batch: int, X: Any, y: np.ndarray) -> None:
    """One epoch on a new network."""
    layers: list[fastmlp.Layer] = []
    for n_out in net.sizes[1:]:
        layers += [fastmlp.Dense(n_out), fastmlp.ReLU()]
    fastmlp.Network(layers[:-1]).fit(X, y, epochs=1, batch_size=batch)


def main(arguments: list[str]) -> int:
    """Print [bytes of the peak above the start, bytes of the data]."""
    kind, n_rows, batch, *sizes = arguments
    net = Net(tuple(map(int, sizes)))
    with tempfile.TemporaryDirectory() as folder:
        X = inputs(kind, int(n_rows), net.sizes[0], folder)
        y = np.random.default_rng(1).integers(0, net.sizes[-1], int(n_rows))
        try:
            fit(net, int(batch), X[:_WARM_ROWS], y[:_WARM_ROWS])
        except fastmlp.InputError as error:
            print(error, file=sys.stderr)
            return REFUSED
        gc.collect()
        _RESET.write_text("5")
        before = kilobytes(_NOW)
        fit(net, int(batch), X, y)
        peak = kilobytes(_PEAK)
    print(json.dumps([(peak - before) * 1024, X.data.nbytes if kind == "csr" else X.nbytes]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
