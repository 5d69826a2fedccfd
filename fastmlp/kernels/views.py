"""Memory as kernels see it: small named tuples of addresses, strides and ranges, passed by value.

Unless a field says otherwise, addresses are those of numbers of the network's type, and strides
count numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Inputs(NamedTuple):
    """Rows of a table: its address, the row stride in bytes, the address of their order (int32)."""

    at: Any
    stride: Any
    order: Any


class Csr(NamedTuple):
    """Sparse rows: addresses of non-zeros, of their columns (int32), of row starts (int64)."""

    values: Any
    indices: Any
    indptr: Any


class ByColumns(NamedTuple):
    """A batch's non-zeros column by column: addresses of column starts, rows and values."""

    starts: Any
    places: Any
    factors: Any


class Strided(NamedTuple):
    """A table of any type: its address, row stride and column stride in bytes."""

    at: Any
    row_stride: Any
    column_stride: Any


class Penalty(NamedTuple):
    """Factors of the sum of absolute values, and of half the sum of squares."""

    l1: Any
    l2: Any


class Matrix(NamedTuple):
    """Address of the first number, and the row stride in numbers."""

    at: Any
    stride: Any


class Block(NamedTuple):
    """A part of a matrix: rows first..last and columns left..right, both ends excluded."""

    first: Any
    last: Any
    left: Any
    right: Any


class Line(NamedTuple):
    """Vectors `step` bytes apart, see `products.lanes`."""

    at: Any
    step: Any


class Lines(NamedTuple):
    """Vectors (k, j): `step` bytes from one k to the next, `next` from one j to the next."""

    at: Any
    step: Any
    next: Any


class Weights(NamedTuple):
    """W (n_in, n_out) and b (n_out,): address of W[0, 0], row stride of W, address of b[0]."""

    at: Any
    stride: Any
    biases: Any
    n_in: Any
    n_out: Any


class Span(NamedTuple):
    """Rows first..last; rows up to `ahead` are prefetched while earlier ones are used."""

    first: Any
    last: Any
    ahead: Any


class Panel(NamedTuple):
    """Some columns of a matrix, at most one tile wide."""

    at: Any
    stride: Any
    columns: Any


class Panels(NamedTuple):
    """Columns in panels one tile wide, which are `panel_bytes` apart."""

    at: Any
    stride: Any
    panel_bytes: Any


class Sums(NamedTuple):
    """Parts begin..end, of `parts` in all, of sums over `depth` numbers."""

    depth: Any
    parts: Any
    begin: Any
    end: Any


class Tools(NamedTuple):
    """Resources of a product: a kernel for panels, and addresses of memory that it uses.

    zeros: as many as a tile is wide; positions: 0, 1, 2, ... (int32) for each row of the batch;
    panel: `blocking.room` numbers.
    """

    product: Any
    zeros: Any
    positions: Any
    panel: Any


class Rows(NamedTuple):
    """Rows first..last of a batch: row r is sample `order[r]`; order: address of int32."""

    order: Any
    first: Any
    last: Any


class Targets(NamedTuple):
    """Addresses of labels (n_samples,) int32 or 0, targets (n_samples, n_outputs), weights or 0.

    `weigh`: the kernel that multiplies by weights, where there are some; `total`: what the weights
    of the batch add up to.
    """

    labels: Any
    targets: Any
    weights: Any
    weigh: Any
    total: Any


class Setting(NamedTuple):
    """A loss's option, and its quantile levels: their address and how many there are."""

    option: Any
    levels: Any
    n_levels: Any


class Run(NamedTuple):
    """Parameters: n_rows runs of n_columns numbers, `stride` apart, beginning at `start`."""

    start: Any
    n_rows: Any
    n_columns: Any
    stride: Any


class Memory(NamedTuple):
    """Addresses of parameters and of their states, of `count` numbers each."""

    params: Any
    states: Any
    count: Any


class Factors(NamedTuple):
    """Factors of a parameter group for the learning rate and the weight decay."""

    rate: Any
    decay: Any


class Home(NamedTuple):
    """Where a thread keeps the parameters of an op during a call.

    Addresses of parameters and of their states, the number of parameters, the indices at which
    W[0, 0] and b[0] would be, and the row stride of W in numbers.
    """

    params: Any
    states: Any
    count: Any
    weights: Any
    biases: Any
    stride: Any
