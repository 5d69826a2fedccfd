"""Blocks of matrix products: they cover what kernels read and write, and fit the caches."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from fastmlp import Dense, Network, ReLU
from fastmlp.kernels.compiler.jit import in_python
from fastmlp.kernels.products import blocking, caches, sums
from fastmlp.kernels.products.caches import Caches
from fastmlp.kernels.products.tiles import tile_width_of
from fastmlp.kernels.tuning import (
    BLOCK_TILES,
    GRADIENT_PART,
    PACK_DEPTH,
    PACK_INPUTS,
    PACKED_PANELS,
    SLOPES_PART,
    TILE_ROWS,
    WEIGHTS_PART,
    WIDE_BYTES,
)

SIZES = [1, 2, 5, 96, 191, 255, 256, 257, 383, 384, 784, 1000, 1024, 4096, 50_001]

MACHINES = [Caches(), Caches(48 * 2**10, 2 * 2**20), Caches(16 * 2**10, 128 * 2**10)]


@pytest.fixture(params=MACHINES, ids=lambda found: f"{found.second // 1024}K")
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Caches:
    """Caches that the blocks are made for."""
    found: Caches = request.param
    monkeypatch.setattr(blocking, "caches", lambda: found)
    return found


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("n_out", [1, 20, 300])
@pytest.mark.parametrize("depth", SIZES)
def test_there_is_room_for_panels_of_each_part(depth: int, n_out: int, itemsize: int) -> None:
    n_parts = in_python(sums.n_parts)(depth, n_out)
    starts = [in_python(sums.input_part_start)(depth, n_parts, p) for p in range(n_parts + 1)]
    longest = max(stop - start for start, stop in itertools.pairwise(starts))
    width = in_python(tile_width_of)(itemsize)
    room = blocking.room(depth, n_out, itemsize)
    assert room >= PACKED_PANELS * width * longest
    assert room >= n_out * width  # a panel of the transpose


@pytest.mark.parametrize("itemsize", [4, 8])
def test_weights_are_packed_where_the_second_cache_is_too_small(
    itemsize: int, machine: Caches
) -> None:
    n_out = 256
    n_in = int(WEIGHTS_PART * machine.second) // (n_out * itemsize)
    assert blocking.packs_weights(n_in, n_out, itemsize)
    assert not blocking.packs_weights(n_in - 1, n_out, itemsize)
    assert not blocking.packs_weights(10**6, 16, itemsize)


@pytest.mark.parametrize("itemsize", [4, 8])
def test_inputs_are_packed_for_large_batches_and_wide_layers(itemsize: int) -> None:
    wide = WIDE_BYTES // itemsize
    assert blocking.packs_inputs(1, 1, wide, itemsize)
    assert not blocking.packs_inputs(1, 10**4, wide - 1, itemsize)
    assert blocking.packs_inputs(PACK_DEPTH, PACK_INPUTS, wide - 1, itemsize)
    assert not blocking.packs_inputs(PACK_DEPTH - 1, PACK_INPUTS, wide - 1, itemsize)
    assert not blocking.packs_inputs(PACK_DEPTH, PACK_INPUTS - 1, wide - 1, itemsize)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("batch", [1, 2, 17, 128, 1024, 50_001])
@pytest.mark.parametrize("n_out", SIZES)
@pytest.mark.parametrize("packs", [True, False])
def test_gradients_come_in_blocks_of_whole_tiles(
    packs: bool, n_out: int, batch: int, itemsize: int, machine: Caches
) -> None:
    """As large as the caches take, or as small as blocks may be."""
    unit = BLOCK_TILES * in_python(tile_width_of)(itemsize)
    rows, columns = blocking.gradient_block(batch, n_out, itemsize, packs)
    assert rows > 0
    assert rows % TILE_ROWS == columns % unit == 0
    if packs:
        assert columns < n_out + unit
        assert columns == unit or columns * batch * itemsize <= SLOPES_PART * machine.second
        assert rows == TILE_ROWS or rows * columns * itemsize <= GRADIENT_PART * machine.second


# ---------------------------------------------------------------- what the system says


def found_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *files: tuple[str, ...]) -> Caches:
    for number, texts in enumerate(files):
        place = folder / f"index{number}"
        place.mkdir(parents=True)
        for name, text in zip(("level", "type", "size", "shared_cpu_list"), texts, strict=False):
            (place / name).write_text(text + "\n")
    monkeypatch.setattr(caches, "_FOLDER", folder)
    return caches.caches.__wrapped__()


def test_caches_are_read_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = found_in(
        tmp_path, monkeypatch, ("1", "Data", "48K", "0"), ("1", "Instruction", "64K", "0"),
        ("2", "Unified", "2048K", "0"), ("3", "Unified", "32M", "0-7"),
    )  # fmt: skip
    assert found == (48 * 2**10, 2 * 2**20)


def test_threads_of_a_core_share_its_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = found_in(
        tmp_path, monkeypatch, ("1", "Data", "64K", "0,32"), ("2", "Unified", "1M", "0-1,32-33")
    )
    assert found == (32 * 2**10, 256 * 2**10)


def test_what_is_missing_or_odd_is_assumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_in(tmp_path / "none", monkeypatch) == Caches()
    odd = ("1", "Data", "", "0"), ("2", "Unified", "999M", "0"), ("2", "Unified"), ("x", "y", "z")
    assert found_in(tmp_path / "odd", monkeypatch, *odd) == Caches()._replace(second=2 * 2**20)
    assert found_in(tmp_path / "tiny", monkeypatch, ("1", "Data", "1K", "0")).first == 16 * 2**10


def test_blocks_never_change_a_bit(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = rng.normal(size=(150, 300)).astype(np.float32), np.arange(150) % 10
    params = []
    for one in MACHINES:
        monkeypatch.setattr(blocking, "caches", lambda one=one: one)
        network = Network([Dense(270), ReLU(), Dense(300), ReLU(), Dense(10)])
        network.fit(X, y, epochs=2, batch_size=64)
        params.append(network.params)
    for other in params[1:]:
        np.testing.assert_array_equal(other, params[0])
