"""Products of a layer with few outputs, with vectors along its inputs.

In the tiles of `matmul`, whose vectors run along the outputs, most lanes would be empty. Two-class
classifiers and most regressors end in such a layer.
"""

from __future__ import annotations

import numpy as np

from .. import interfaces
from ..compiler.bits import fma
from ..compiler.jit import integers, itemsize, jit, numbers
from ..tuning import FEW_COLUMNS
from ..views import Matrix, Panel
from . import matmul
from .tiles import sparse_width, tile_of_dots, tile_of_few_columns, tile_of_sparse_row, tile_width


@jit
def _tile_of_one(a, i, rows, b, depth, base, c, one):
    """`tile_of_rows` for a W with one column, whose numbers are adjacent."""
    tile_of_dots(a, i, rows, b.at, depth, base, c, one)


# For a layer with one output: vectors run along the sum.
product_of_one = matmul.product_with(_tile_of_one, "product_of_one")


@jit
def input_gradient(tools, slopes, block, weights, out, one):
    """`matmul.input_gradient` for up to FEW_COLUMNS outputs."""
    for r in range(block.first, block.last):
        at = out.at + (r * out.stride + block.left) * itemsize(one)
        row = numbers(at, block.right - block.left, one)
        for i in range(row.size):
            row[i] = 1
    times_input_gradient(tools, slopes, block, weights, out, one)


@jit
def times_input_gradient(tools, slopes, block, weights, out, one):
    """S[r, i] <- S[r, i] (dZ[order[r]] W[i]^T) for first <= r < last and left <= i < right.

    For up to FEW_COLUMNS outputs: the sums are too short to be worth a tile, or to be stored.
    Arguments as in `matmul.input_gradient`; out: S (batch, n_in) updated.
    """
    size, width, zero, n_out = itemsize(one), block.right - block.left, type(one)(0), weights.n_out
    panel, n_padded = tools.panel, FEW_COLUMNS * width
    w, column = numbers(panel, n_padded, one), numbers(weights.at, weights.n_in * n_out, one)
    for j in range(n_out):
        for i in range(width):
            w[j * width + i] = column[(block.left + i) * n_out + j]
    for k in range(n_out * width, w.size):
        w[k] = 0
    w0, w1 = numbers(panel, width, one), numbers(panel + width * size, width, one)
    w2 = numbers(panel + 2 * width * size, width, one)
    w3 = numbers(panel + 3 * width * size, width, one)
    samples = integers(slopes.order, block.last)
    for r in range(block.first, block.last):
        row = numbers(out.at + (r * out.stride + block.left) * size, width, one)
        z = numbers(slopes.at + np.int64(samples[r]) * n_out * size, n_out, one)
        z0 = z[0]
        z1 = z[1] if n_out > 1 else zero
        z2 = z[2] if n_out > 2 else zero
        z3 = z[3] if n_out > 3 else zero
        if n_out == 1:
            for i in range(width):
                row[i] *= z0 * w0[i]
        elif n_out == 2:
            for i in range(width):
                row[i] *= fma(z1, w1[i], z0 * w0[i])
        else:
            for i in range(width):
                row[i] *= fma(z3, w3[i], fma(z2, w2[i], fma(z1, w1[i], z0 * w0[i])))


@interfaces.WEIGHT_GRADIENT.kernel
def weight_gradient_of_one(inputs, batch, slopes, n_in, n_out, out, one):
    """`weight_gradient` for one output, with enough vectors to hide the latency of additions."""
    size, width = itemsize(one), sparse_width(one)
    for i in range(0, n_in, width):
        columns, place = min(width, n_in - i), out.at + i * size
        total = numbers(place, columns, one)
        for k in range(columns):
            total[k] = 0
        rows_of_a = Panel(inputs.at + i * size, inputs.stride, columns)
        tile_of_sparse_row(slopes.at, inputs.order, batch, rows_of_a, place, place, one)


@interfaces.WEIGHT_GRADIENT.kernel
def weight_gradient(inputs, batch, slopes, n_in, n_out, out, one):
    """`matmul.weight_gradient` for up to FEW_COLUMNS outputs, which fit one panel."""
    size, width = itemsize(one), tile_width(one)
    for i in range(0, n_in, width):
        panel, c = Panel(slopes.at, slopes.stride, n_out), out.at + i * out.stride * size
        n_rows = min(width, n_in - i)
        tile_of_few_columns(inputs, i, n_rows, panel, batch, Matrix(c, out.stride), one)
