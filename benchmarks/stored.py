"""Training from a Parquet table, compared with the same rows in memory: speed, memory and loss.

Run it with `python -m benchmarks.stored --gigabytes 4`. The sides take turns, each in a process of
its own, and the table is read once before, so that it comes from the system's page cache.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from fastmlp import Adam, Dense, Network, ReLU
from fastmlp.datasets import StoredTable, open_table

N_FEATURES, ROWS_PER_FILE, ROWS_PER_GROUP = 63, 1 << 20, 1 << 17
SIDES = ("memory", "table")


def make(folder: Path, gigabytes: float) -> int:
    """Write a table of so many gigabytes in float32; returns its number of rows."""
    import pyarrow as pa
    from pyarrow import parquet

    n_rows = int(gigabytes * 1e9 / (4 * (N_FEATURES + 1)))
    factors = np.random.default_rng(0).normal(size=N_FEATURES).astype(np.float32)
    for number, first in enumerate(range(0, n_rows, ROWS_PER_FILE)):
        n = min(ROWS_PER_FILE, n_rows - first)
        rng = np.random.default_rng(number + 1)
        X = rng.normal(size=(n, N_FEATURES)).astype(np.float32)
        noise = rng.normal(size=n).astype(np.float32)
        y = X @ factors / 8 + np.sin(3 * X[:, 0]) + noise / 10
        columns = {f"x{j}": X[:, j] for j in range(N_FEATURES)}
        path = folder / f"{number:04d}.parquet"
        parquet.write_table(pa.table({**columns, "y": y}), path, row_group_size=ROWS_PER_GROUP)
    return n_rows


def in_memory(table: StoredTable) -> tuple[np.ndarray, np.ndarray]:
    """All rows of a table as arrays."""
    X, y = np.empty((table.n_rows, table.n_features), np.float32), np.empty(table.n_rows)
    row = 0
    for number in range(len(table.parts)):
        for block in table.blocks(number):
            rows = slice(row, row + block.n_rows)
            block.write(0, X[rows])
            y[rows] = block.y
            row = rows.stop
    return X, y


def train(side: str, folder: Path, units: int, epochs: int) -> dict[str, Any]:
    """What a fit of one side took."""
    table = open_table(folder / "*.parquet", "y")
    layers = [Dense(units), ReLU(), Dense(units), ReLU(), Dense(1)]
    network = Network(layers, "mse").build(table.n_features)
    network.fit(np.zeros((256, table.n_features)), np.zeros(256), epochs=1)  # compiles
    options: dict[str, Any] = {"optimizer": Adam(0.001), "epochs": epochs, "batch_size": 256}
    data: tuple[Any, ...] = in_memory(table) if side == "memory" else (table,)
    history = network.fit(*data, **options)
    return {"seconds": history.seconds, "loss": history.loss[-1], "megabytes": peak()}


def peak() -> float:
    """The most megabytes that this process has had in memory.

    On Linux; `getrusage` would begin with what the process that started this one had.
    """
    told = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", told)[0]) * 1024 / 1e6


def measure(folder: Path, rounds: int, units: int, epochs: int) -> dict[str, list[dict[str, Any]]]:
    """Results of each side, which take turns."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, "-m", "benchmarks.stored", "--side", side]
            command += ["--folder", str(folder), "--units", str(units), "--epochs", str(epochs)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def summary(found: dict[str, list[dict[str, Any]]], n_rows: int) -> str:
    """The comparison in a few lines."""
    lines = [f"{n_rows:,} rows of {N_FEATURES} features, {4e-9 * n_rows * (N_FEATURES + 1):.2f} GB"]
    speeds = {}
    for side, results in found.items():
        speeds[side] = median(n_rows / s for result in results for s in result["seconds"])
        losses = [result["loss"] for result in results]
        most = max(result["megabytes"] for result in results)
        lines.append(
            f"{side:8}{speeds[side]:12,.0f} rows/s   loss {min(losses):.5f} to {max(losses):.5f}   "
            f"at most {most:,.0f} MB"
        )
    return "\n".join([*lines, f"speed from the table: {speeds['table'] / speeds['memory']:.2f}"])


def main(arguments: list[str] | None = None) -> None:
    """Measure, or train one side for `measure`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.side:
        print(json.dumps(train(chosen.side, chosen.folder, chosen.units, chosen.epochs)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_rows = make(folder, chosen.gigabytes)
        print(summary(measure(folder, chosen.rounds, chosen.units, chosen.epochs), n_rows))


if __name__ == "__main__":
    main()
