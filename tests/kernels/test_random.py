"""Random numbers by position: the published sequence, fair shuffles, and dropout that any part of
a vector can compute alone. Seeds are fixed, so bounds that chance could break hold on every run."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fastmlp.kernels.compiler.jit import JIT_ENABLED
from fastmlp.kernels.rules import random

KEY = np.uint64(0x0123456789ABCDEF)

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])

# First outputs of the reference implementation, https://prng.di.unimi.it/splitmix64.c.
PUBLISHED = {
    1234567: [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ],
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC],
}


def splitmix64(seed: int, n: int) -> list[int]:
    """The generator as published, with a state that moves on, in Python's own integers."""
    mask, state, found = 2**64 - 1, seed, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        found.append(z ^ (z >> 31))
    return found


def chi_square_is_likely(counts: np.ndarray, freedom: int) -> bool:
    """Neither too uneven nor too even to be chance, at one in ten thousand each."""
    expected = counts.mean()
    assert expected >= 5, "too few for the statistic"
    value = ((counts - expected) ** 2 / expected).sum()
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], freedom)
    return bool(low < value < high)


@pytest.mark.nojit
@pytest.mark.parametrize("seed", PUBLISHED)
def test_the_published_sequence(seed: int) -> None:
    wanted = PUBLISHED[seed]
    assert splitmix64(seed, len(wanted)) == wanted
    assert [int(random.random_bits(np.uint64(seed), i)) for i in range(len(wanted))] == wanted


@pytest.mark.nojit
def test_any_position_alone() -> None:
    """Numbers depend on their position only, for keys that overflow too."""
    for key in (0, 1, 2**63 - 1, 2**63, 2**64 - 1):
        wanted = splitmix64(key, 40)
        for i in (39, 0, 17, 3, 39):
            assert int(random.random_bits(np.uint64(key), i)) == wanted[i]


@pytest.mark.nojit
def test_keys_differ_by_seed_stream_and_number() -> None:
    places = list(itertools.product((0, 1, 2, 2**62), range(5), range(30)))
    keys = {int(random.stream_key(*place)) for place in places}
    assert len(keys) == len(places)
    seed, stream, number = 5, 3, 7
    inner = splitmix64(seed, stream + 1)[stream]
    assert int(random.stream_key(seed, stream, number)) == splitmix64(inner, number + 1)[number]


# ---------------------------------------------------------------- shuffle


def shuffled(n: int, seed: int = 0, epoch: int = 0) -> np.ndarray:
    order = np.arange(n, dtype=np.int32)
    random.shuffle(order, seed, epoch)
    return order


@pytest.mark.nojit
@pytest.mark.bounds
def test_shuffle_is_a_permutation() -> None:
    for n in (0, 1, 2, 3, 10, 257):
        order = shuffled(n)
        assert order.dtype == np.int32
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
    assert (shuffled(257) != np.arange(257)).mean() > 0.9


@pytest.mark.nojit
def test_shuffle_moves_what_it_is_given(rng: np.random.Generator) -> None:
    """It permutes places, so any content is moved alike."""
    values = rng.integers(0, 1000, 30).astype(np.int32)
    moved = values.copy()
    random.shuffle(moved, 4, 2)
    np.testing.assert_array_equal(moved, values[shuffled(30, 4, 2)])


@pytest.mark.nojit
def test_shuffle_depends_on_seed_and_epoch_alone() -> None:
    orders = [shuffled(50, seed, epoch) for seed in range(4) for epoch in range(4)]
    assert len({order.tobytes() for order in orders}) == len(orders)
    np.testing.assert_array_equal(shuffled(50, 3, 2), orders[3 * 4 + 2])


@pytest.mark.nojit
def test_shuffle_is_uniform_over_positions() -> None:
    """Every number stands equally often at every place."""
    n, n_epochs = (12, 6000) if JIT_ENABLED else (6, 300)
    counts = np.zeros((n, n))
    for epoch in range(n_epochs):
        counts[np.arange(n), shuffled(n, 1, epoch)] += 1
    assert chi_square_is_likely(counts, (n - 1) ** 2)


@pytest.mark.nojit
def test_shuffle_is_uniform_over_permutations() -> None:
    n, each = (5, 100) if JIT_ENABLED else (4, 20)
    permutations = list(itertools.permutations(range(n)))
    number = {order: i for i, order in enumerate(permutations)}
    counts = np.zeros(len(permutations))
    for seed in range(each * len(permutations)):
        counts[number[tuple(shuffled(n, seed, 9).tolist())]] += 1
    assert chi_square_is_likely(counts, len(permutations) - 1)


# ---------------------------------------------------------------- dropout


def mixed(x: int) -> int:
    """lowbias32, in Python's own integers."""
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def short_words(key: int, n: int) -> list[int]:
    """Numbers 0 to n of the short stream of a key."""
    low, high = key % 2**32, key >> 32
    return [mixed(mixed((i + low) % 2**32) ^ high) for i in range(n)]


def dropped(values: np.ndarray, rate: float, key: np.uint64 = KEY, first: int = 0) -> np.ndarray:
    out = values.copy()
    random.drop(out, rate, key, first)
    return out


@pytest.mark.nojit
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.9, 0.999])
@both_types
def test_dropout_keeps_its_share_and_scales_it(
    rate: float, dtype: Any, rng: np.random.Generator
) -> None:
    """What is kept is scaled by 1 / (1 - rate); how many are dropped is within 4 sigma."""
    n = 400_000 if JIT_ENABLED else 2000
    values = rng.uniform(1, 2, n).astype(dtype)
    out = dropped(values, rate)
    kept = out != 0
    np.testing.assert_allclose(out[kept], values[kept] / (1 - rate), rtol=2 * np.finfo(dtype).eps)
    assert abs((~kept).sum() - n * rate) < 4 * np.sqrt(n * rate * (1 - rate))
    assert 0 < kept.sum() < n or not JIT_ENABLED


@pytest.mark.nojit
@both_types
def test_dropout_at_rate_0_keeps_all(dtype: Any, rng: np.random.Generator) -> None:
    values = rng.normal(size=100).astype(dtype)
    np.testing.assert_array_equal(dropped(values, 0.0), values)


@pytest.mark.nojit
@pytest.mark.bounds
@both_types
def test_dropout_of_a_part_alone(dtype: Any, rng: np.random.Generator) -> None:
    """Position, not the call, decides; so threads may share a vector out."""
    values = rng.normal(size=200).astype(dtype)
    whole = dropped(values, 0.4)
    assert 40 < (whole == 0).sum() < 120
    for first, last in ((0, 1), (0, 37), (37, 200), (199, 200), (50, 50)):
        part = dropped(values[first:last], 0.4, first=first)
        np.testing.assert_array_equal(part, whole[first:last])
    kept = [word >= int(0.4 * 2**32) for word in short_words(int(KEY), 200)]
    np.testing.assert_array_equal(whole != 0, kept)


@pytest.mark.nojit
def test_dropout_of_different_steps_is_independent() -> None:
    """Masks of neighbouring steps, and of a mask and its neighbour positions, agree half the time.

    A correlation of streams would show as agreement far from that.
    """
    n = 100_000 if JIT_ENABLED else 1500
    keys = [np.uint64(random.stream_key(0, 1, step)) for step in range(3)]
    masks = [dropped(np.ones(n), 0.5, key) != 0 for key in keys]
    pairs = [*itertools.combinations(masks, 2), (masks[0][1:], masks[0][:-1])]
    for a, b in pairs:
        assert abs((a == b).mean() - 0.5) < 4 * 0.5 / np.sqrt(n - 1)


@pytest.mark.nojit
def test_dropout_zeroes_nan_and_infinity() -> None:
    """Zero means zero: the product with a mask of 0 would be nan."""
    out = dropped(np.tile([np.nan, np.inf], 20), 0.5)
    assert 5 < (out == 0).sum() < 35
    assert not np.isfinite(out[out != 0]).any()
