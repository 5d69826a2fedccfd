"""Memory: an epoch and a served row allocate nothing, and no input is converted as a whole."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target
from numba.core.runtime import _nrt_python, rtsys
from scipy import sparse

from fastmlp import GELU, Adam, Dense, Dropout, Network, Rescaling
from fastmlp.engine.engine import Engine
from fastmlp.inputs.tables import table_of
from fastmlp.inputs.targets import Encoded
from fastmlp.kernels.compiler.calls import Kernel
from fastmlp.kernels.compiler.folder import cache_folder
from fastmlp.kernels.compiler.jit import JIT_ENABLED, jit
from fastmlp.kernels.step import step

from ..support import kernels_by_address, name_of

pytestmark = pytest.mark.skipif(not JIT_ENABLED, reason="counts what compiled code allocates")
needs_cache = pytest.mark.skipif(cache_folder() is None, reason="no code is kept")
codegen = cpu_target.target_context.codegen
N, N_FEATURES = 20_000, 300
INPUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "float32": lambda X: X,
    "uint8": lambda X: X.astype(np.uint8),
    "float16": lambda X: X.astype(np.float16),
    "float64": lambda X: X.astype(np.float64),
    "Fortran": np.asfortranarray,
    "CSR": sparse.csr_array,
}


def network_for(kind: str, dtype: str = "float32") -> Network:
    first = [] if kind == "CSR" else [Rescaling()]
    layers = [*first, Dense(N_FEATURES, 9), GELU(), Dropout(0.2), Dense(3)]
    return Network(layers, dtype=dtype, l2=1e-4)


def numbers(rng: np.random.Generator) -> np.ndarray:
    return np.float32(rng.integers(0, 256, (N, N_FEATURES)) * (rng.random((N, N_FEATURES)) < 0.1))


@jit
def _allocates(address, thread, one):
    return np.ones(3, np.float64)[0] > address


def allocators(function: Any, *kinds: Any) -> list[bytes]:
    """Names of what allocates in the code that is kept for arguments of such types."""
    file, key = function._cache._cache_file, function._cache._index_key(kinds, codegen())
    code = Path(file._data_path(file._load_index()[key])).read_bytes()
    return re.findall(rb"\w*(?:[Aa]lloc|MemInfo_new)\w*", code)


@needs_cache
@pytest.mark.slow
def test_an_epoch_has_nothing_to_allocate_with() -> None:
    kinds = numba.intp, numba.intp, numba.float32
    for function in (_allocates, step.train_steps):
        function.compile(kinds)
    assert b"NRT_MemInfo_alloc_aligned" in allocators(_allocates, *kinds)
    assert allocators(step.train_steps, *kinds) == []


@needs_cache
@pytest.mark.slow
@pytest.mark.parametrize("kernel", kernels_by_address(), ids=name_of)
def test_what_is_called_by_address_has_nothing_to_allocate_with(kernel: Kernel) -> None:
    kernel.address(np.dtype(np.float32))
    assert allocators(kernel, *kernel.interface.signature(numba.float32)) == []


@pytest.mark.thinned
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", INPUTS)
def test_an_epoch_allocates_nothing(
    kind: str, dtype: str, n_threads: int, rng: np.random.Generator, monkeypatch: Any
) -> None:
    X = INPUTS[kind](numbers(rng))
    network, optimizer = network_for(kind, dtype), Adam(0.01, clip_norm=1.0)
    engine = Engine(network, table_of(X, network.dtype), 32, n_threads, optimizer)
    state = optimizer.initial_state(network.params.size, network.dtype)
    order, weights = np.arange(N, dtype=np.int32), np.empty(0, network.dtype)
    labels = Encoded(np.zeros(N, np.int32), np.empty(0, network.dtype))
    steps = optimizer.step_numbers(0, np.full(-(-N // 32), 0.01))
    counts = []
    run = Engine._run

    def counted(self: Engine, thread: int) -> None:
        before = rtsys.get_allocation_stats()
        run(self, thread)
        counts.append((before, rtsys.get_allocation_stats()))

    engine.compile()
    monkeypatch.setattr(Engine, "_run", counted)
    _nrt_python.memsys_enable_stats()
    try:
        engine.train(order, labels, weights, state, steps, 0)
        before = rtsys.get_allocation_stats()
        assert _allocates(0, 0, np.float32(1))
        assert rtsys.get_allocation_stats().alloc > before.alloc  # it does count
    finally:
        _nrt_python.memsys_disable_stats()
    assert len(counts) == n_threads
    assert all(first == last for first, last in counts)


def peak_of(run: Callable[[], Any]) -> int:
    """Most bytes that a call allocates beyond what was there, seen by Python and NumPy."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_are_converted_a_batch_at_a_time(kind: str, rng: np.random.Generator) -> None:
    X, y, network = INPUTS[kind](numbers(rng)), np.arange(N) % 3, network_for(kind)
    network.fit(X[:40], y[:40], epochs=1, validation_data=(X[:40], y[:40]))  # loads the code
    network.predict(X[:40])
    whole = N * N_FEATURES  # bytes of the smallest copy, one of uint8
    peak = peak_of(lambda: network.fit(X, y, epochs=1, validation_data=(X, y)))
    assert peak < whole / 2  # targets and outputs are a part of it
    assert peak_of(lambda: network.predict(X)) < whole / 4


def test_a_mapped_file_is_not_read_whole(tmp_path: Path, rng: np.random.Generator) -> None:
    np.save(tmp_path / "X.npy", numbers(rng))
    X, y = np.load(tmp_path / "X.npy", mmap_mode="r"), np.arange(N) % 3
    network = network_for("float32")
    network.fit(X[:40], y[:40], epochs=1)
    assert peak_of(lambda: network.fit(X, y, epochs=1)) < N * N_FEATURES / 2


def test_serving_a_row_allocates_nothing(rng: np.random.Generator) -> None:
    predictor = network_for("float32").compile_predictor()
    row, out = numbers(rng)[0], np.empty(3, np.float32)
    predictor(row, out)
    loop = [None] * 50

    def serve() -> None:
        for _ in loop:
            predictor(row, out)

    serve()
    assert peak_of(serve) < 1000  # a few objects that Python makes for a call, gone after it
