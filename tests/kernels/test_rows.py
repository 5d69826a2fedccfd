"""The user's memory by address: views see the numbers that are there, and none beyond their size.
Whatever its order, strides or number type, a matrix's table reads as the matrix, copying nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from fastmlp.inputs.tables import Table, table_of
from fastmlp.kernels.compiler import jit
from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.plan import (
    JOB,
    OP,
    TURN,
    TURN_BYTES,
    jobs_at,
    ops_at,
    turn_address,
    turn_of,
    turns_at,
)
from fastmlp.kernels.step import rows
from fastmlp.kernels.views import Block, Strided
from fastmlp.network import Network
from fastmlp.nn import Dense, ReLU
from fastmlp.nn.losses import MeanSquaredError

from ..support import address_of

pytestmark = pytest.mark.thinned(1)

SENTINEL = -99
CHECKED = not JIT_ENABLED or bool(numba.config.BOUNDSCHECK)
KINDS = [np.uint8, np.float16, np.float32, np.float64]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=["uint8", "float16", "float32", "float64"])
both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def numbers(kind: Any, *shape: int) -> np.ndarray:
    """All different, also as uint8 for up to 256 of them, and no float64 a float32."""
    count = np.arange(np.prod(shape)).reshape(shape)
    return (count if kind == np.uint8 else count / 3 - 5).astype(kind)


def read_only(X: np.ndarray) -> np.ndarray:
    X.flags.writeable = False
    return X


# ---------------------------------------------------------------- views of memory


@numba.njit
def negate(address: int, size: int, one: Any) -> int:
    """A kernel as they all are: reads and writes the numbers at an address."""
    view = jit.numbers(address, size, one)
    for i in range(view.size):
        view[i] = -view[i]
    return view.size


@numba.njit
def number_at(view_of: Any, address: int, size: int, place: int) -> Any:
    return view_of(address, size)[place]


@numba.njit
def set_fields(address: int, size: int, place: int) -> tuple[int, float]:
    """Write a whole number and a real one into one of some records, and read two others."""
    ops = ops_at(address, size)
    ops[place]["n_out"] = 70
    ops[place]["dropout"] = 0.25
    return ops[place]["n_in"], ops[place]["max_norm"]


@numba.njit
def job_field(address: int) -> float:
    return jobs_at(address, 1)[0]["loss"]["total_weight"]


@numba.njit
def note_batch(address: int) -> int:
    """Write to a record that is a part of a job's, and to a thread's."""
    job = jobs_at(address, 1)[0]
    turn = turns_at(job["crew"]["turns"], 2)[1]
    job["call"]["best_loss"] = turn["total"]
    turn["batch"] = job["call"]["batch_size"]
    return turn["step"]


@numba.njit
def read_turn(address: int) -> tuple[Any, ...]:
    turn = turn_of(address)
    last = turn.ops[turn.ops.size - 1]["n_out"]
    return (
        turn.order, turn.batch, turn.step, turn.thread, turn.total, turn.penalty_scale,
        turn.ops.size, last,
    )  # fmt: skip


@numba.njit
def read_job(address: int) -> tuple[Any, ...]:
    """Some of each record, two of which are written to."""
    turn = turn_of(address)
    turn.call["n_stale"] = 9
    turn.ops[1]["n_in"] = 8
    return (
        turn.samples["scale"], turn.space["zeros"], turn.update["clip_norm"], turn.loss["option"],
        turn.call["seed"], turn.crew["n_threads"],
    )  # fmt: skip


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.int64])
def test_numbers_at_an_address(kind: Any) -> None:
    """In place, from the first to the last and no further, also of unaligned memory."""
    for offset in (0, 1):
        memory = np.zeros(20 * np.dtype(kind).itemsize + 1, np.uint8)
        whole = memory[offset : offset + 20 * np.dtype(kind).itemsize].view(kind)
        whole[:] = np.arange(20)
        for start, size in ((3, 11), (0, 20), (19, 1), (7, 0)):
            before = whole.copy()
            assert negate(address_of(whole[start:]), size, np.dtype(kind).type(1)) == size
            inside = np.r_[start : start + size]
            np.testing.assert_array_equal(whole[inside], -before[inside])
            np.testing.assert_array_equal(np.delete(whole, inside), np.delete(before, inside))


@pytest.mark.nojit
@pytest.mark.bounds
@both_types
def test_no_numbers_need_no_memory(dtype: Any) -> None:
    for address in (0, 1, 2**40):
        assert negate(address, 0, dtype(1)) == 0


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.parametrize(
    ("view_of", "kind"),
    [(jit.doubles, np.float64), (jit.longs, np.int64), (jit.integers, np.int32)],
    ids=["doubles", "longs", "integers"],
)
def test_views_of_fixed_types(view_of: Any, kind: Any) -> None:
    memory = np.array([1, -2, np.iinfo(np.int32).max, -4]).astype(kind)
    for place in range(4):
        assert number_at(view_of, address_of(memory), 4, place) == memory[place]
        assert number_at(view_of, address_of(memory[place:]), 1, 0) == memory[place]


@pytest.mark.nojit
@pytest.mark.bounds
@pytest.mark.skipif(not CHECKED, reason="needs NUMBA_BOUNDSCHECK=1")
def test_views_end_where_they_say() -> None:
    """So a wrong index in a kernel raises in the stage that checks bounds."""
    memory = np.arange(4)
    for size in (0, 3):
        with pytest.raises(IndexError):
            number_at(jit.longs, address_of(memory), size, size)


@pytest.mark.nojit
@pytest.mark.bounds
def test_records_at_an_address() -> None:
    """NumPy and compiled code agree on where each field is."""
    ops = np.zeros(5, OP)
    ops["n_in"], ops["max_norm"] = range(10, 15), np.arange(5) / 8
    before = ops.copy()
    assert set_fields(address_of(ops[1:]), 3, 2) == (13, 0.375)
    assert (ops[3]["n_out"], ops[3]["dropout"]) == (70, 0.25)
    before[3]["n_out"], before[3]["dropout"] = 70, 0.25
    np.testing.assert_array_equal(ops, before)
    job = np.zeros(1, JOB)
    job["loss"]["total_weight"] = 2.5
    assert job_field(address_of(job)) == 2.5
    for record in (OP, TURN, *(JOB[name] for name in JOB.names)):
        assert all(record[name].itemsize == 8 for name in record.names)


@pytest.mark.nojit
@pytest.mark.bounds
def test_parts_of_a_record_are_written_in_place() -> None:
    """Of a job's own and of what it has the address of, and nothing beside them."""
    job, turns = np.zeros(1, JOB), np.zeros(2, TURN)
    job["call"]["batch_size"], turns["step"], turns["total"] = 7, (3, 4), (0.5, 1.5)
    job["crew"]["turns"] = address_of(turns)
    wanted, noted = job.copy(), turns.copy()
    assert note_batch(address_of(job)) == 4
    wanted["call"]["best_loss"], noted[1]["batch"] = 1.5, 7
    assert job.tobytes() == wanted.tobytes()
    assert turns.tobytes() == noted.tobytes()


@pytest.mark.nojit
@pytest.mark.bounds
def test_a_turn_is_all_that_its_records_say() -> None:
    """The job's records by reference, so that what one kernel notes the next one reads."""
    job, ops = np.zeros(1, JOB), np.zeros(3, OP)
    turns = np.zeros(2 * TURN_BYTES // 8, np.int64)
    job["crew"]["turns"], job["crew"]["n_threads"] = address_of(turns), 2
    job["model"]["ops"], job["model"]["n_ops"] = address_of(ops), ops.size
    job["samples"]["scale"], job["space"]["zeros"], job["update"]["clip_norm"] = 0.25, 77, 2.0
    job["loss"]["option"], job["call"]["seed"] = 0.125, 5
    ops["n_out"] = (3, 4, 5)
    at = int(turn_address(address_of(job), 1))
    assert at == address_of(turns) + TURN_BYTES
    record = turns[TURN_BYTES // 8 :].view(np.uint8)[: TURN.itemsize].view(TURN)[0]
    assert (record["job"], record["thread"]) == (address_of(job), 1)
    record["order"], record["batch"], record["step"] = 11, 12, 13
    record["total"], record["penalty_scale"] = 1.5, 2.5
    assert read_turn(at) == (11, 12, 13, 1, 1.5, 2.5, 3, 5)
    assert read_job(at) == (0.25, 77, 2.0, 0.125, 5, 2)
    assert (job["call"]["n_stale"][0], ops["n_in"].tolist()) == (9, [0, 8, 0])
    assert not turns[: TURN_BYTES // 8].any()


@pytest.mark.nojit
def test_the_bytes_of_a_number() -> None:
    for kind in (np.uint8, np.float32, np.float64):
        assert jit.itemsize(kind(1)) == np.dtype(kind).itemsize


# ---------------------------------------------------------------- tables

# Matrices by how they lie in memory.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": lambda X: X,
    "Fortran": np.asfortranarray,
    "transposed": lambda X: X.T,
    "rows sliced": lambda X: X[1::2],
    "columns sliced": lambda X: X[:, 1::3],
    "both sliced": lambda X: X[2:9:3, 3:-1:2],
    "columns of a Fortran matrix": lambda X: np.asfortranarray(X)[:, 2:7],
    "a block": lambda X: X[3:8, 2:6],
    "repeated row": lambda X: np.broadcast_to(X[4], (6, X.shape[1])),
    "repeated column": lambda X: np.broadcast_to(X[:, 3:4], (X.shape[0], 5)),
    "one row": lambda X: X[4:5],
    "one sliced row": lambda X: X[4:5, ::2],
    "one column": lambda X: X[:, 4:5],
    "one column of a Fortran matrix": lambda X: np.asfortranarray(X)[:, 4:5],
    "one number": lambda X: X[3:4, 5:6],
    "odd stride of one column": lambda X: as_strided(X, (3, 1), (X.strides[0], 77 * X.itemsize)),
    "odd stride of one row": lambda X: as_strided(X, (1, 3), (1000 * X.itemsize, X.itemsize)),
    "windows that overlap": lambda X: as_strided(X, (6, 5), (X.itemsize, X.itemsize)),
    "read-only": lambda X: read_only(X.copy()),
}
BACKWARDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rows upwards": lambda X: X[::-1],
    "columns backwards": lambda X: X[:, ::-1],
    "both backwards": lambda X: X[::-2, ::-3],
}
layouts = pytest.mark.parametrize("layout", [*LAYOUTS, *BACKWARDS])


def laid_out(layout: str, kind: Any) -> np.ndarray:
    return (LAYOUTS | BACKWARDS)[layout](numbers(kind, 11, 9))


def dense_table(X: np.ndarray) -> Table:
    return table_of(X, np.dtype(np.float32))


def gathered(
    table: Table, order: np.ndarray, dtype: Any, ends: tuple[int, int] | None = None
) -> np.ndarray:
    """Rows `order` of a table by the kernel; rows that it must not write are sentinels."""
    out = np.full(order.size * table.n_columns, SENTINEL, dtype)
    first, last = (0, order.size) if ends is None else ends
    rows.GATHERS[table.kind](
        Strided(address_of(table.values), table.row_stride, table.column_stride),
        address_of(order), Block(first, last, 0, table.n_columns), table.n_columns, 1.0,
        address_of(out), np.dtype(dtype).type(1),
    )  # fmt: skip
    return out.reshape(order.size, table.n_columns)


@pytest.mark.thinned(30)
@pytest.mark.nojit
@pytest.mark.bounds
@layouts
@every_kind
@both_types
def test_a_table_reads_as_its_matrix(
    layout: str, kind: Any, dtype: Any, rng: np.random.Generator
) -> None:
    """In any order, repeats included, converted as NumPy converts."""
    X = laid_out(layout, kind)
    table = dense_table(X)
    assert (table.n_rows, table.n_columns) == X.shape
    order = rng.integers(0, X.shape[0], 14).astype(np.int32)
    order[: min(14, X.shape[0])] = rng.permutation(X.shape[0])[:14]
    out = gathered(table, order, dtype)
    np.testing.assert_array_equal(out, X[order].astype(dtype))
    if layout not in ("one number", "repeated row", "repeated column"):
        assert np.ptp(out) > 0
    part = gathered(table, order, dtype, (3, 8))
    np.testing.assert_array_equal(part[3:8], out[3:8])
    assert (np.delete(part, np.r_[3:8], axis=0) == SENTINEL).all()


@pytest.mark.nojit
@layouts
@every_kind
def test_a_table_is_the_users_memory(layout: str, kind: Any) -> None:
    """Not a copy of it, whatever the strides, negative ones included."""
    X = laid_out(layout, kind)
    table = dense_table(X)
    assert address_of(table.values) == address_of(X)
    assert np.shares_memory(table.values, X)


@pytest.mark.nojit
@every_kind
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_an_empty_matrix_is_a_table(kind: Any, shape: tuple[int, int]) -> None:
    table = dense_table(np.empty(shape, kind))
    assert table.values.size == 0
    assert (table.n_rows, table.n_columns) == shape
    out = gathered(table, np.zeros(shape[0] and 2, np.int32), np.float64)
    assert out.size == 0


@pytest.mark.nojit
@every_kind
def test_a_memory_mapped_file_is_read_in_place(kind: Any, tmp_path: Path) -> None:
    saved = numbers(kind, 12, 7)
    for order in "C", "F":
        np.save(tmp_path / f"{order}.npy", np.asarray(saved, order=order))
        X = np.load(tmp_path / f"{order}.npy", mmap_mode="r")
        assert isinstance(X, np.memmap)
        table = dense_table(X[2:, 1:5])
        assert np.shares_memory(table.values, X)
        chosen = np.array([9, 0, 4], np.int32)
        out = gathered(table, chosen, np.float32)
        np.testing.assert_array_equal(out, saved[2:, 1:5][chosen].astype(np.float32))


@pytest.mark.nojit
def test_fields_of_records_are_read_right() -> None:
    """Also numbers that do not start at multiples of their size."""
    packed = np.zeros((5, 4), [("flag", np.uint8), ("x", np.float32)])
    aligned = np.zeros((5, 4), [("flag", np.int64), ("x", np.float64)])
    for records in (packed, aligned):
        records["x"] = numbers(np.float32, 5, 4)
        records["flag"] = 255
        out = gathered(dense_table(records["x"]), np.arange(5, dtype=np.int32), np.float64)
        np.testing.assert_array_equal(out, records["x"])


@pytest.mark.nojit
@every_kind
def test_in_place_only_with_the_same_type_and_adjacent_columns(kind: Any) -> None:
    X = numbers(kind, 11, 9)
    for dtype in (np.float32, np.float64):
        same = kind == dtype
        for usable in (X, X[::2], X[:, 2:5], X[:, 3:4], np.asfortranarray(X)[:, 3:4], X[::-1]):
            assert dense_table(usable).usable_as(np.dtype(dtype)) == same
        for other in (X[:, ::2], np.asfortranarray(X), X.T):
            assert not dense_table(other).usable_as(np.dtype(dtype))


@pytest.mark.nojit
@pytest.mark.bounds
@every_kind
def test_rows_behind_an_offset(kind: Any) -> None:
    """The kernel alone: any address, and strides that leave gaps or go back."""
    memory, order, out = numbers(kind, 5, 6), np.array([2, 0, 3], np.int32), np.empty((3, 2))
    size = memory.itemsize
    for start, row_stride, column_stride, wanted in (
        (6, 6, 1, memory[1:, :2]),
        (7, 6, 3, memory[1:, 1::3]),
        (29, -6, -1, memory[::-1, ::-1]),
        (4, 6, 0, memory[:, [4, 4]]),
    ):
        rows.GATHERS[rows.KINDS[memory.dtype]](
            Strided(address_of(memory) + start * size, row_stride * size, column_stride * size),
            address_of(order), Block(0, 3, 0, 2), 2, 1.0, address_of(out), np.float64(1),
        )  # fmt: skip
        np.testing.assert_array_equal(out, wanted[order, :2])


@pytest.mark.nojit
@pytest.mark.bounds
@every_kind
@both_types
def test_some_columns_times_a_factor(kind: Any, dtype: Any) -> None:
    """Of some rows; all other places of the result are left alone."""
    memory, order = numbers(kind, 5, 6), np.array([2, 0, 3], np.int32)
    for X in (memory, np.asfortranarray(memory)):
        table, out = dense_table(X), np.full((3, 6), SENTINEL, dtype)
        rows.GATHERS[table.kind](
            Strided(address_of(table.values), table.row_stride, table.column_stride),
            address_of(order), Block(1, 3, 2, 5), 6, 0.3, address_of(out), dtype(1),
        )  # fmt: skip
        wanted = np.full((3, 6), SENTINEL, dtype)
        wanted[1:, 2:5] = dtype(0.3) * memory[order[1:], 2:5].astype(dtype)
        np.testing.assert_array_equal(out, wanted)


slices = st.builds(slice, st.integers(-9, 9), st.none(), st.sampled_from([-3, -2, -1, 1, 2, 3]))


@given(rows_=slices, columns=slices, transposed=st.booleans(), kind=st.sampled_from(KINDS))
@settings(max_examples=100 if JIT_ENABLED else 30)
@pytest.mark.nojit
def test_any_slice_reads_as_itself(
    rows_: slice, columns: slice, transposed: bool, kind: Any
) -> None:
    X = numbers(kind, 11, 9)[rows_, columns]
    X = X.T if transposed else X
    order = np.arange(X.shape[0], dtype=np.int32)[::-1].copy()
    out = gathered(dense_table(X), order, np.float64)
    np.testing.assert_array_equal(out, X[order].astype(np.float64))


@pytest.mark.nojit
@layouts
@every_kind
def test_networks_read_every_layout_alike_and_write_none(layout: str, kind: Any) -> None:
    """Predictions and fits from a view are bit for bit those from a C-ordered copy."""
    X = laid_out(layout, kind)
    before, plain = X.copy(), np.ascontiguousarray(X)
    y = np.linspace(0, 1, X.shape[0])
    results = []
    for data in (X, plain):
        network = Network([Dense(3), ReLU(), Dense(1)], MeanSquaredError())
        network.fit(data, y, epochs=1, batch_size=4, optimizer="sgd")
        results.append((network.params, network.outputs(data)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(X, before)
    assert results[0][0].any()


@pytest.mark.nojit
def test_every_float16_becomes_the_same_float32() -> None:
    bits = np.arange(0, 2**16, 1 if JIT_ENABLED else 37, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        wanted = bits.view(np.float16).astype(np.float32)
    found = np.array([rows.half_to_single(number) for number in bits])
    np.testing.assert_array_equal(found, wanted)
    ordinary = ~np.isnan(wanted)
    assert (np.signbit(found) == np.signbit(wanted))[ordinary].all()
