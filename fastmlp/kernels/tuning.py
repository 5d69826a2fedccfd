"""All constants that were chosen by measuring: sizes of tiles and blocks, and when a thread pays.

Those marked *bits* decide in which order numbers are added up, so a change of one changes results
in their last digits; the others change only how long it takes. docs/performance.md has figures.
"""

from __future__ import annotations

from .compiler.jit import VECTOR_BYTES

# ---------------------------------------------------------------- register tiles

# Rows of the tallest tile: it fills most registers with accumulators (of 32 with 64-byte vectors,
# of 16 otherwise) and leaves room for two vectors of B and one broadcast number of A. Alone in a
# loop it runs at the processor's peak (`benchmarks/peak.py`).
TILE_ROWS = {64: 8, 32: 6, 16: 4}[VECTOR_BYTES]
TILE_HEIGHTS = (TILE_ROWS, 4, 2, 1) if TILE_ROWS > 4 else (4, 2, 1)
VECTORS = 2  # vectors side by side in a tile
# Layers with at most this many outputs have vectors along their inputs instead. (bits)
FEW_COLUMNS = 4
SPARSE_VECTORS = 8  # a single sparse row needs more columns to hide the latency of its additions

# ---------------------------------------------------------------- sums and blocks

# Inputs in a part of a sum: at least this many, in multiples of the unit. Threads share parts out,
# and a part of W stays in the first-level cache. (bits)
LEAST_PART, PART_UNIT = 96, 8
# Where outputs are few, shorter parts cost little and let two threads share a small layer. (bits)
FEW_OUTPUTS, LEAST_PART_FOR_FEW = 16, 16
# Numbers of a gradient that are computed and used as one block: 16 KiB of float32, half of the
# smallest first-level cache in use.
HOT_NUMBERS = 4096
BLOCK_TILES = 4  # tiles side by side in such a block.
# Rows further apart than this many bytes start on too few cache sets and pages to be read in place.
# They are copied to where they are adjacent, if at least PACK_ROWS rows share the cost.
WIDE_BYTES, PACK_ROWS = 1024, 16
ROWS_AT_ONCE = 4  # of a bias gradient, whose sum then takes one turn to memory
# Non-zeros per column of a batch from which sorting them by columns pays.
WORTH_SORTING = 8

# ---------------------------------------------------------------- threads

# Looks at a barrier before a thread yields its core: some 10 us, longer than a neighbour is late
# when it has a core of its own.
SPINS = 4000
# Bytes between the memory of one thread and the next. Processors read ahead of a thread that walks
# through its memory, beyond its end, and what they read of another's must be fetched back.
SPACING = 32768
# Multiplications of a step from which a further thread pays for its two meetings.
WORK_A_THREAD = 1_000_000
# The same where only sums change cores, if a call has enough steps to pay for starting the thread.
WORK_TO_SHARE_UNITS, WORK_TO_START = 400_000, 50_000_000

# ---------------------------------------------------------------- length of calls

# Seconds that a call of compiled code should last: Python hears Ctrl-C in between.
PIECE_SECONDS = 0.05
# Multiplications of a first call, whose speed is not known yet, and what any step costs beside its
# own.
FIRST_WORK, WORK_OF_ANY_STEP = 500_000_000, 100_000
# Limits of a call of several epochs: rows, since their shuffled order takes memory, and
# multiplications.
ROWS_PER_CALL, WORK_PER_CALL = 131_072, 2_000_000_000
PREDICT_BLOCK = 128  # rows that a thread answers at a time
# Held-out rows are judged within the call up to this many multiplications, in blocks of this many
# rows.
JUDGED_WORK, JUDGED_ROWS = 500_000_000, 128
# Work spaces that wait for the next call: how many kinds, and of how many bytes each at most. A
# call that needs a larger one takes longer than setting it up.
SPARE_KINDS, SPARE_BYTES = 8, 8 * 2**20
