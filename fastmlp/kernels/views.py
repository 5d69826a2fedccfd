"""Memory as kernels see it: small named tuples of addresses, strides and ranges, passed by value.

Unless a field says otherwise, addresses are those of numbers of the network's type, and strides
count numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Inputs(NamedTuple):
    """Rows of a table: its address, bytes from row to row, and their order, address of int32."""

    at: Any
    stride: Any
    order: Any


class Csr(NamedTuple):
    """Sparse rows: addresses of non-zeros, their columns (int32) and where rows start (int64)."""

    values: Any
    indices: Any
    indptr: Any


class ByColumns(NamedTuple):
    """A batch's non-zeros column by column: addresses of where columns start, rows, values."""

    starts: Any
    places: Any
    factors: Any


class Strided(NamedTuple):
    """A table of any type: its address, bytes from row to row and from column to column."""

    at: Any
    row_stride: Any
    column_stride: Any


class Penalty(NamedTuple):
    """Factors of the sum of absolute values, and of half the sum of squares."""

    l1: Any
    l2: Any


class Matrix(NamedTuple):
    """Address of the first number, and the numbers from row to row."""

    at: Any
    stride: Any


class Block(NamedTuple):
    """A part of a matrix: rows first..last, columns left..right, without the ends."""

    first: Any
    last: Any
    left: Any
    right: Any


class Weights(NamedTuple):
    """W (n_in, n_out) and b (n_out,): addresses of W[0, 0] and b[0], numbers from row to row."""

    at: Any
    stride: Any
    biases: Any
    n_in: Any
    n_out: Any


class Span(NamedTuple):
    """Rows first..last; those up to `ahead` are asked for while the ones before are used."""

    first: Any
    last: Any
    ahead: Any


class Panel(NamedTuple):
    """Some columns of a matrix, at most one tile wide."""

    at: Any
    stride: Any
    columns: Any


class Panels(NamedTuple):
    """Columns in panels one tile wide, `panel_bytes` from panel to panel."""

    at: Any
    stride: Any
    panel_bytes: Any


class Sums(NamedTuple):
    """Parts begin..end of sums over `depth` numbers, which have `parts` in all."""

    depth: Any
    parts: Any
    begin: Any
    end: Any


class Tools(NamedTuple):
    """What a product works with: a kernel for panels, a tile's width of zeros, room for a panel."""

    product: Any
    zeros: Any
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
    """Parameters: n_rows runs of n_columns, `stride` apart, from number `start` on."""

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
    """What a group multiplies the learning rate and the weight decay by."""

    rate: Any
    decay: Any


class Home(NamedTuple):
    """Where a thread has the parameters of an op while steps go on.

    Addresses of some parameters and of their states, how many they are, which of them would be
    W[0, 0] and b[0], and the numbers from row to row of W.
    """

    params: Any
    states: Any
    count: Any
    weights: Any
    biases: Any
    stride: Any
