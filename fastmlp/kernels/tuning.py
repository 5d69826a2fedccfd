"""All constants of tuning: tile and block sizes, thresholds for threads, lengths of calls.

Those marked (bits) decide in which order numbers are summed, so changing one changes the last
digits of results; the others affect speed only. docs/performance-log.md has figures.
"""

from __future__ import annotations

from .compiler.jit import VECTOR_BYTES

# ---------------------------------------------------------------- register tiles

# Rows of the tallest tile. Its accumulators fill most registers (of 32 with 64-byte vectors, of 16
# otherwise) and leave room for two vectors of B and one broadcast number of A. In a loop of its
# own the tile runs at the processor's peak (`benchmarks/peak.py`).
TILE_ROWS = {64: 8, 32: 6, 16: 4}[VECTOR_BYTES]
TILE_HEIGHTS = (TILE_ROWS, 4, 2, 1) if TILE_ROWS > 4 else (4, 2, 1)
VECTORS = 2  # vectors side by side in a tile
# For layers with at most this many outputs, vectors run along the inputs instead. `narrow` is
# written for up to four.
FEW_COLUMNS = 4
# Networks that are trained side by side: bytes of one number of all of them, and how many outputs
# are computed at a time. The first is a multiple of every vector.
LANE_BYTES, LANES_HEIGHTS = 64, (4, 2, 1)
# And bytes of the values of the rows that go through all layers at a time, and most of these rows.
LANES_AT_ONCE_BYTES, MOST_LANES_ROWS = 65536, 32
# Parameters times rows of a batch up to which networks are trained in lanes. With AVX2, seven
# shapes and batches of 1 to 256 rows took 0.1 to 0.97 times as long below it, up to 3 times above;
# not measured with AVX-512.
LANES_WORK = 20_000
SPARSE_VECTORS = 8  # one sparse row needs more vectors to hide the latency of its additions

# ---------------------------------------------------------------- sums and blocks

# Minimum number of inputs in a part of a sum, and the unit that it is a multiple of. Parts are the
# unit of work for threads, and a part of W stays in the first-level cache. (bits)
LEAST_PART, PART_UNIT = 96, 8
# With few outputs, shorter parts cost little and let two threads share a small layer. (bits)
FEW_OUTPUTS, LEAST_PART_FOR_FEW = 16, 16
# Size of the blocks in which a gradient is computed and applied: 16 KiB of float32, half of a
# first-level cache of 32 KiB.
HOT_NUMBERS = 4096
BLOCK_TILES = 4  # tiles side by side in such a block
# A W that takes at least this part of the second-level cache is packed (copied to panels in
# adjacent memory) for the forward product, so many panels at a time, if PACK_ROWS rows share the
# cost. With 512 KiB, 784-128, 2000-200 and 1024-1024 took 0.5 to 0.9 of the time for 32 rows and
# more; 300-300 and smaller ones were level or slower.
WEIGHTS_PART, PACKED_PANELS, PACK_ROWS = 0.75, 8, 16
# Rows with a stride of at least so many bytes fall on too few cache sets to be read in place by a
# gradient. And the rows of a batch, and inputs, from which on packing pays for shorter rows, too.
WIDE_BYTES, PACK_DEPTH, PACK_INPUTS = 1024, 64, 128
# Parts of the second-level cache for a gradient: the packed slopes, and the block that is computed
# and applied. And the packed inputs, as a part of the first-level cache. All of these were measured
# on one machine only, with 32 and 512 KiB per core.
SLOPES_PART, GRADIENT_PART, INPUTS_PART = 1.0, 0.375, 0.75
# Rows that a thread takes through all layers at a time, as a part of the second-level cache, and
# the least number of them. Measured on the same machine: steps of 300 to 2,000 rows of networks
# drawn at random took 0.78 to 1.05 times as long as with all rows at once.
ROWS_PART, LEAST_ROWS_AT_ONCE = 1.0, 96
# Activations also write slopes, which predictions never read. So predictions write this many at a
# time, each time to the same place: 4 KiB of float32.
SLOPES_PIECE = 1024
# Gradients of outputs are packed for that of W if a row has at least so many bytes and if at least
# so many tiles share the cost.
PACK_SLOPES_BYTES, PACK_SLOPES_TILES = 512, 6
# Rows of the batch that a gradient adds at a time. With 16 columns of float32 they take half of a
# first-level cache of 32 KiB.
DEPTH = 256
# Non-zeros per column of a batch from which it is worth sorting them by columns.
WORTH_SORTING = 8

# ---------------------------------------------------------------- threads

# How often a thread looks at a barrier before it yields its core, for longer than another thread is
# late if that has a core to itself; how often it yields before it sleeps; and for how long, to
# which Linux adds about 50 microseconds.
SPINS, YIELDS, NAP_MICROSECONDS = 4000, 2000, 1
# Seconds of calls after which it is judged whether each thread has a core, and how much of one core
# may be missing. On a shared machine with two cores and AVX2, 0.02 to 0.5 were missing if nothing
# else ran, rarely 0.9, and 1.0 to 1.2 beside a busy process.
JUDGED_SECONDS, MISSING_CORE = 0.02, 0.85
SHORT_CALL = 0.002  # seconds; in shorter calls, much is missing before the threads have started
# Seconds for which calls then do with one thread fewer: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
# For how long a thread waits for the next call before it ends; and from when on one that has been
# called counts as late. On one machine with two cores and AVX2, a thread with a core of its own
# ran after 0.03 to 0.5 ms.
IDLE_SECONDS, LATE_SECONDS = 10.0, 0.002
# Bytes between the memory of one thread and the next. Hardware prefetchers read beyond the end of a
# thread's memory; cache lines that they take from another thread must be fetched back.
SPACING = 32768
# Multiplications per step that make another thread worth the cost of its two barriers.
WORK_A_THREAD = 1_000_000
# The same if threads exchange only sums, and how many per call make it worth starting the thread.
WORK_TO_SHARE_UNITS, WORK_TO_START = 400_000, 50_000_000

# ---------------------------------------------------------------- length of calls

# Seconds that a call of compiled code should take: Python handles Ctrl-C between calls.
PIECE_SECONDS = 0.05
# Multiplications in a first call, whose speed is not known yet, and the fixed cost of a step in
# multiplications.
FIRST_WORK, WORK_OF_ANY_STEP = 500_000_000, 100_000
# Limits of a call of several epochs: rows (their shuffled order takes memory) and multiplications.
ROWS_PER_CALL, WORK_PER_CALL = 131_072, 2_000_000_000
# Rows that a thread predicts at a time: at most; at least; at least if the weights of wide layers
# are packed for each block.
PREDICT_BLOCK, LEAST_PREDICT_BLOCK, LEAST_BLOCK_TO_PACK = 128 // TILE_ROWS * TILE_ROWS, 2, 32
# If threads have just been started, each could get so many blocks, so that one that comes late
# does less, and a block has at least so many rows.
BLOCKS_A_THREAD, LEAST_LATE_BLOCK = 4, 12
# Multiplications of a call (a prediction, a step by `BatchTrainer`) up to which it runs on one
# thread: another one starts 0.05 to 0.4 ms after it is wanted, and two read rows from a shared
# cache. The same for a call so many seconds after the last one, when the other core is still awake.
# And what a row costs besides, in multiplications. All measured on the machine named above.
WORK_OF_ONE_THREAD, WORK_OF_ANY_ROW = 12_000_000, 3_000
# Multiplications of a prediction that make it worthwhile to share it with a helper who is there
# already, or who is expected to be there for the next calls because they come so many seconds after
# each other. And for how many checks a helper stays, of which the last ones yield its core: about
# 0.2 ms in all. Measured on the same machine only, against ONNX Runtime.
WORK_A_HELPER, SOON, STAYS = 150_000, 0.0003, SPINS + 300
# Held-out rows are judged within the call up to this many multiplications, in blocks of this many
# rows.
JUDGED_WORK, JUDGED_ROWS = 500_000_000, 128
# Fits of `fit_many` that wait in the queue, so that no thread waits for Python: how many, and from
# how many bytes of all fits in memory on there are none but those that run. Chosen, not timed.
FITS_READY, READY_BYTES = 8, 32 * 2**20
# Limits of the engines that are kept for the next call: how many kinds, and bytes of the workspace
# of each. These two were chosen to bound memory, not by timing.
SPARE_KINDS, SPARE_BYTES = 8, 8 * 2**20
# The same bytes where networks share engines, of which there are as many as fits in flight.
SHARED_SPARE_BYTES = 2**19
