"""The workspace of a job: one block of memory, with each part on separate cache lines.

The sizes of the parts follow from the program's sizes and the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..kernels import plan
from ..kernels.compiler.jit import in_python
from ..kernels.compiler.memory import CACHE_LINE, address_of, aligned_zeros
from ..kernels.ops.kind import Sizes
from ..kernels.products import blocking
from ..kernels.products.sums import n_parts
from ..kernels.products.tiles import tile_width_of
from ..kernels.step import shares
from ..kernels.step.rows import SPARSE
from ..kernels.step.threads import sync_size
from ..kernels.tuning import SLOPES_PIECE, SPACING
from ..nn.compiled_layer import repeats_of, room
from .job import Job


def _whole_lines(n_bytes: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-n_bytes // CACHE_LINE) * CACHE_LINE


class Workspace:
    """Memory that a job's records point at.

    Parameters
    ----------
    job : Job
        The addresses are written to its records.
    training : bool
        Whether there will be a backward pass, for which every op keeps its slopes.
    """

    def __init__(self, job: Job, training: bool) -> None:
        self.dtype, model = job.dtype, job.model
        dtype = self.dtype
        places = places_of(job, training)
        self.memory = aligned_zeros(sum(_whole_lines(size) for _, _, size in places), np.uint8)
        at = address_of(self.memory, "workspace", np.uint8, self.memory.size, written=True)
        for record, field, size in places:
            record[field] = at
            at += _whole_lines(size)
        self.zeros = np.zeros(max(_tile_width(job), job.widest_out), dtype)
        members = int(job.loss["members"])
        self.row_losses = np.empty(job.rows_per_step * members)
        self.member_order = np.empty(job.batch_size * members * (members > 1), np.int32)
        model["n_weight_rows"] = sum(int(op["weight_rows"] * op["penalty_parts"]) for op in job.ops)
        has_penalties = model["l1"] or model["l2"]
        self.penalties = np.empty(int(model["n_weight_rows"]) if has_penalties else 0)
        repeats = max(repeats_of(stage.main) for stage in job.program.stages)
        self.positions = np.arange(job.batch_size * repeats, dtype=np.int32)
        self.sync = aligned_zeros(sync_size(job.n_threads), np.int64)
        for record, field in (
            *((job.space, name) for name in ("zeros", "row_losses", "penalties", "positions")),
            (job.space, "member_order"),
            (job.crew, "sync"),
        ):
            own = getattr(self, field)
            record[field] = address_of(own, field, own.dtype, own.size, written=True)
        model["ops"] = address_of(job.ops, "ops", plan.OP, job.ops.size, written=True)
        model["n_ops"] = job.ops.size
        if job.averaged is not None:
            job.update["n_averaged"] = n = int(job.memory[0].size + job.memory[2].size)
            job.update["averaged"] = address_of(
                job.averaged, "averaged weights", dtype, n, written=True
            )

    def values(self, address: int, shape: tuple[int, int]) -> np.ndarray:
        """A view of numbers that kernels have written."""
        start = address - address_of(self.memory, "workspace", np.uint8, self.memory.size)
        n_bytes = math.prod(shape) * self.dtype.itemsize
        return self.memory[start : start + n_bytes].view(self.dtype).reshape(shape)


def _tile_width(job: Job) -> int:
    width: int = in_python(tile_width_of)(job.dtype.itemsize)
    return width


def places_of(job: Job, training: bool) -> list[tuple[Any, str, int]]:
    """The parts of the workspace: the record and field for the address, and the size in bytes."""
    crew, space, ops, itemsize = job.crew, job.space, job.ops, job.dtype.itemsize
    row = job.batch_size * itemsize
    spacing = SPACING * (job.n_threads > 1)
    space["panel_bytes"] = _whole_lines(_panel(job, training) * itemsize) + spacing
    apart = job.n_threads * spacing

    def of_ops(field: str) -> list[tuple[Any, str, int]]:
        return [
            (op, field, row * int(op["n_out"]) + apart * int(s < crew["shared"]))
            for s, op in enumerate(ops)
        ]

    places = [(crew, "turns", job.n_threads * plan.TURN_BYTES), *of_ops("values")]
    places.append((space, "panels", job.n_threads * int(space["panel_bytes"])))
    if job.gathers:
        places.append((space, "inputs", row * job.table.n_columns))
    places += _shared_places(job, row, spacing)
    places += _kept_places(job)
    if not training:
        # Predictions also write slopes, which are never read: all ops write to the same memory.
        space["piece"] = SLOPES_PIECE
        return [*places, (ops, "slopes", row * job.widest_out + SLOPES_PIECE * itemsize)]
    if job.table.kind == SPARSE and not job.gathers:
        places += _places_by_column(job)
    # The network's inputs get no gradient, so their number of columns does not count.
    first = min(int(job.model["first_trained"]), ops.size - 1)
    flowing = max(stage.n_out for stage in job.program.stages[first:])
    space["gradient_width"] = flowing
    block = max(job.widest_out, *map(_largest_block, job.gradient_blocks, ops))  # or all biases
    space["scratch_bytes"] = _whole_lines(block * itemsize) + spacing
    places += of_ops("slopes")
    places.append((space, "gradient", row * flowing + apart * int(crew["shared"] > 0)))
    places.append((space, "scratch", job.n_threads * int(space["scratch_bytes"])))
    if job.accumulates:
        places.append((job.update, "summed", int(job.model["n_params"]) * itemsize))
    return places


def _kept_places(job: Job) -> list[tuple[Any, str, int]]:
    """Memory for values that ops keep for the backward pass."""
    places = list[tuple[Any, str, int]]()
    for op, stage in zip(job.ops, job.program.stages, strict=True):
        if stage.kind is not None:
            sizes = Sizes(job.batch_size, int(op["n_in"]), int(op["n_out"]), job.dtype.itemsize)
            places.append((op, "kept", stage.kind.kept_bytes(sizes)))
    return places


def _panel(job: Job, training: bool) -> int:
    """Size of a thread's panel, in numbers."""
    itemsize = job.dtype.itemsize
    ops = [(stage.main, op) for op, stage in zip(job.ops, job.program.stages, strict=True)]
    most = max(room(layer, op, itemsize) for layer, op in ops)
    if training:
        packed = max(repeats_of(layer) * _packed_columns(op) for layer, op in ops)
        most = max(most, job.batch_size * packed)
    return most


def _largest_block(block: blocking.GradientBlock, op: Any) -> int:
    """Numbers of the largest block of an op's W that a gradient is computed in."""
    return min(block.rows, int(op["weight_rows"])) * min(block.columns, int(op["weight_width"]))


def _packed_columns(op: Any) -> int:
    """Numbers that the gradient of an op's W packs per row of the batch: slopes, perhaps inputs."""
    columns = int(op["block_columns"]) if op["packs_slopes"] or op["packs_inputs"] else 0
    return columns + (int(op["block_rows"]) if op["packs_inputs"] else 0)


def _shared_places(job: Job, row: int, spacing: int) -> list[tuple[Any, str, int]]:
    """Memory for an op whose inputs threads share out."""
    crew, ops, places = job.crew, job.ops, list[tuple[Any, str, int]]()
    if crew["shared"] > 0:
        n_vectors = int(job.model["n_vectors"])
        own = (int(ops[0]["n_in"]) + 1) * int(ops[0]["n_out"]) * n_vectors
        crew["own_bytes"] = _whole_lines(own * job.dtype.itemsize) + spacing
        places.append((crew, "own", job.n_threads * int(crew["own_bytes"])))
    if crew["shared"] >= 0:
        shared = ops[crew["shared"]]
        parts = in_python(n_parts)(int(shared["n_in"]), int(shared["n_out"]))
        stored = in_python(shares.stored_part)(parts, job.n_threads, parts)
        places.append((crew, "parts", stored * row * int(shared["n_out"])))
    return places


def _places_by_column(job: Job) -> list[tuple[Any, str, int]]:
    """Memory for a batch's non-zeros sorted by columns; each thread sorts those for its rows."""
    space, counts = job.space, np.diff(job.table.indptr)
    rest = max(0, counts.size - job.batch_size)
    most = int(np.partition(counts, rest)[rest:].sum())
    return [
        (space, "column_starts", job.n_threads * (job.table.n_columns + 2) * 4),
        (space, "column_places", most * 4),
        (space, "column_factors", most * job.dtype.itemsize),
    ]
