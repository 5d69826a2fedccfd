"""Random numbers by position: number i of a stream is a hash of the stream's key and i.

The generator is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), whose state is a counter, so each
number can be computed independently: shuffles and dropout are the same for any number of threads,
and need no state other than the seed, the epoch and the step.
"""

from __future__ import annotations

import numpy as np

from ..compiler.jit import jit

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_HALF = np.uint64(32)
_short = np.uint32
_SHORT_FACTORS = _short(0x7FEB352D), _short(0x846CA68B)
_SHORT_SHIFTS = _short(16), _short(15)

SHUFFLE_STREAM = 0  # dropout uses the number of its layer, counted from 1
# Seeds of more shuffles, for the parts of a stored table and for its windows: beyond any layer.
PART_STREAM, WINDOW_STREAM = 1 << 32, (1 << 32) + 1


@jit
def random_bits(key, position):
    """64 random bits: number `position` of the stream `key`."""
    z = key + (np.uint64(position) + np.uint64(1)) * _GAMMA
    z = (z ^ (z >> _SHIFTS[0])) * _FACTOR_1
    z = (z ^ (z >> _SHIFTS[1])) * _FACTOR_2
    return z ^ (z >> _SHIFTS[2])


@jit
def stream_key(seed, stream, number):
    """Key of the stream for one purpose (`stream`) at one time (`number`: an epoch or a step)."""
    return random_bits(random_bits(np.uint64(seed), stream), number)


def seed_of(seed: int, stream: int, number: int) -> int:
    """Another seed, for one purpose (`stream`) and one of several things to shuffle."""
    return int(stream_key(seed, stream, number)) >> 1  # of 63 bits, as all seeds


@jit
def shuffle(order, seed, epoch):
    """Fisher-Yates: put `order` (int32) into the random order of this epoch, in place."""
    key = stream_key(seed, SHUFFLE_STREAM, epoch)
    for i in range(order.size - 1, 0, -1):
        # The upper half of the bits, scaled by (i + 1), is uniform over 0..i.
        high = random_bits(key, i) >> _HALF
        j = np.int64((high * np.uint64(i + 1)) >> _HALF)
        order[i], order[j] = order[j], order[i]


@jit
def _mixed(x):
    """A bijection of 32 bits in which each input bit changes about half of the output's.

    Two multiplications, with the constants of "lowbias32" (Wellons, "Prospecting for hash
    functions", 2018). Without the casts, products would be of 64 bits.
    """
    x = _short(_short(x ^ _short(x >> _SHORT_SHIFTS[0])) * _SHORT_FACTORS[0])
    x = _short(_short(x ^ _short(x >> _SHORT_SHIFTS[1])) * _SHORT_FACTORS[1])
    return _short(x ^ _short(x >> _SHORT_SHIFTS[0]))


@jit
def short_bits(low, high, position):
    """32 random bits: number `position` of the stream whose key has these halves.

    Before AVX-512 no instruction multiplies vectors of 64 bits, so this takes a quarter of the time
    of `random_bits`. Between the two rounds the other half of the key comes in, so streams are not
    parts of one another.
    """
    return _mixed(_short(_mixed(_short(position + low)) ^ high))


@jit
def drop(values, rate, key, first):
    """Zero each of `values` with probability `rate` and scale the rest by 1 / (1 - rate).

    Number i is decided by short random number `first + i` of the stream. Inverted dropout:
    Srivastava et al., JMLR 15 (2014).
    """
    if values.size == 0:
        return
    kind = type(values[0])
    scale, zero = kind(1.0 / (1.0 - rate)), kind(0)
    limit, high = _short(rate * 4294967296.0), _short(key >> _HALF)
    start = _short(_short(first) + _short(key))
    for i in range(values.size):
        kept = short_bits(start, high, _short(i)) >= limit
        values[i] = values[i] * scale if kept else zero
