"""Products for batches of one row, which uses each weight once, so that nothing is packed.

They take as long as the weights take to arrive, and give the bits of the tiles in `matmul`.
"""

from __future__ import annotations

from .. import interfaces
from ..compiler.bits import fma
from ..compiler.jit import itemsize, jit, numbers
from ..step import rows
from ..views import Block, Panel, Sums
from .sums import input_part_start, n_parts
from .tiles import sparse_width, tile_of_row


@jit
def forward(tools, inputs, block, weights, out, one):
    """As `matmul.dense_forward`, for a block of one row or none."""
    if block.last > block.first:
        parts = n_parts(weights.n_in, weights.n_out)
        sums = Sums(weights.n_in, parts, 0, parts)
        _multiply(inputs, block, weights, sums, out, 0, one)


@jit
def forward_parts(tools, inputs, span, sums, weights, out, part_bytes, one):
    """As `matmul.forward_parts`, for a span of one row."""
    block = Block(span.first, span.last, 0, weights.n_out)
    _multiply(inputs, block, weights, sums, out, part_bytes, one)


@jit
def _multiply(inputs, block, weights, sums, out, part_bytes, one):
    """The parts of a row of the product, in tiles wide enough to hide the latency of additions."""
    size, width, r = itemsize(one), sparse_width(one), block.first
    x, z = rows.row_address(inputs, r), out.at + r * out.stride * size
    for j in range(block.left, block.right, width):
        columns = min(width, block.right - j)
        for part in range(sums.begin, sums.end):
            k = input_part_start(sums.depth, sums.parts, part)
            depth = input_part_start(sums.depth, sums.parts, part + 1) - k
            panel = Panel(weights.at + (k * weights.stride + j) * size, weights.stride, columns)
            place = z + part * part_bytes + j * size
            continues = part > 0 and part_bytes == 0
            base = place if continues else weights.biases + j * size
            tile_of_row(x + k * size, panel, depth, base, place, one)


@interfaces.WEIGHT_GRADIENT.kernel
def weight_gradient(inputs, batch, slopes, n_in, n_out, out, one):
    """As `matmul.weight_gradient`, row by row of W; slopes are in place."""
    size, zero = itemsize(one), type(one)(0)
    x, d = numbers(rows.row_address(inputs, 0), n_in, one), numbers(slopes.at, n_out, one)
    for i in range(n_in):
        row, factor = numbers(out.at + i * out.stride * size, n_out, one), x[i]
        for j in range(n_out):
            row[j] = fma(factor, d[j], zero)
