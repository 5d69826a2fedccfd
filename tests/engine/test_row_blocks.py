"""Large batches go through all ops in blocks of rows, with the same bits."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from fastmlp.engine import job
from fastmlp.engine.engine import Engine
from fastmlp.inputs.tables import table_of
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.products import blocking
from fastmlp.kernels.products.caches import Caches
from fastmlp.kernels.tuning import LEAST_ROWS_AT_ONCE, TILE_ROWS
from fastmlp.network import Network
from fastmlp.nn import (
    BatchNorm,
    Columns,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    PReLU,
    ReLU,
    Residual,
    Scale,
    Tanh,
)
from fastmlp.optim.optimizers import SGD, Adam

pytestmark = pytest.mark.thinned

N = 90
NETWORKS: dict[str, tuple[list[Layer], dict[str, Any]]] = {
    "dense": ([Dense(40), ReLU(), Dense(5), Tanh()], {}),
    "wide": ([Dense(270), ReLU()], {"optimizer": SGD(0.1, momentum=0.9)}),
    "dropout": ([Dropout(0.2), Dense(40), Tanh(), Dropout(0.3)], {}),
    "branches": (
        [Columns((range(4), [Dense(6), Tanh()]), (range(4, 9), [])), Residual([Dense(11)])],
        {},
    ),
    "norms": ([Dense(9), LayerNorm(), PReLU(), Dense(8), BatchNorm(), Scale()], {}),
    "accumulated": ([Dense(9), Tanh()], {"gradient_accumulation_steps": 2, "batch_size": 40}),
    "clipped": ([Dense(9), Tanh()], {"optimizer": Adam(0.01, clip_norm=0.1)}),
}


def trained(case: str, X: Any, **options: Any) -> tuple[bytes, list[float]]:
    """Parameters and losses after some epochs."""
    inner, fit = NETWORKS[case]
    network = Network([*copy.deepcopy(inner), Dense(3)], l1=1e-5, l2=1e-4)
    history = network.fit(X, np.arange(N) % 3, **{"batch_size": N, "epochs": 3, **fit, **options})
    return network.learned.tobytes(), history.loss


@pytest.mark.parametrize("n_features", [pytest.param(9, marks=pytest.mark.nojit), 390])
@pytest.mark.parametrize("kind", ["float32", "float16", "sparse"])
@pytest.mark.parametrize("case", NETWORKS)
def test_blocks_of_rows_change_no_bit(
    case: str, kind: str, n_features: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "branches" and (kind == "sparse" or n_features > 9):
        pytest.skip("branches for nine dense columns")
    X: Any = rng.normal(size=(N, n_features)).astype("float16")
    X = sparse.csr_array(X.astype("float32") * (X > 0.5)) if kind == "sparse" else X.astype(kind)
    found = set()
    blocks, threads = ((0, 6, 25), (1, 2, 3)) if JIT_ENABLED else ((0, 25), (1,))
    for rows, n_threads in itertools.product(blocks, threads):
        monkeypatch.setattr(job.blocking, "rows_at_once", lambda *_, rows=rows: rows)
        params, losses = trained(case, X, n_threads=n_threads)
        found.add((params, *losses))
    assert len(found) == 1


def test_how_many_rows_go_through_all_ops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(widths: list[int], n_threads: int = 1, batch: int = 2048, *first: Layer) -> int:
        layers = [layer for width in widths for layer in (Dense(width), Tanh())]
        network = Network([*first, *layers, Dense(1)], "mse").build(20)
        table = table_of(np.zeros((1, 20), np.float32), network.dtype)
        call = Engine(network, table, batch, n_threads, SGD()).call
        return int(call["block_rows"])

    def whole_tiles(n: int) -> int:
        return n // TILE_ROWS * TILE_ROWS

    second = 512 * 2**10
    monkeypatch.setattr(blocking, "caches", lambda: Caches(32 * 2**10, second))
    assert rows([40]) == whole_tiles(second // 4 // (20 + 2 * 41))
    assert rows([2000, 10]) == whole_tiles(LEAST_ROWS_AT_ONCE)
    # It must be worth reading many weights again for each block.
    assert rows([1000, 1000]) == whole_tiles(1_023_001 // (2 * 2001))
    assert rows([40], 1, 2048, BatchNorm()) == 0  # which needs the whole batch
    if JIT_ENABLED:
        assert rows([40], 2) == 0  # threads share out units
        assert rows([300, 300], 2) == rows([300, 300], 1)
