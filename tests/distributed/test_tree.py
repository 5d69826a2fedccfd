"""Sums over blocks: the same bits however the blocks are shared out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastmlp.distributed.rows import OwnRows, rows_and_labels
from fastmlp.distributed.tree import bounds, fold, halves, nodes_within

pytestmark = pytest.mark.nojit


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_bounds_cut_all_there_is_and_the_first_part_is_the_largest(parts: int) -> None:
    for n in range(40):
        starts = bounds(n, parts)
        sizes = np.diff(starts)
        assert (starts[0], starts[-1], len(sizes)) == (0, n, parts)
        assert sizes.max() == sizes[0]
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("blocks", [1, 2, 5, 8, 13])
def test_whoever_adds_the_sum_is_the_same(blocks: int) -> None:
    rng = np.random.default_rng(blocks)
    values = rng.normal(size=(blocks, 50)).astype(np.float32) * 10.0 ** rng.integers(-3, 4, blocks)[
        :, None
    ].astype(np.float32)

    def leaf(node: tuple[int, int]) -> np.ndarray | None:
        return values[node[0]] if node[1] - node[0] == 1 else None

    expected = fold((0, blocks), leaf, np.add)
    for ranks in range(1, blocks + 1):
        starts = bounds(blocks, ranks)
        known = {
            node: fold(node, leaf, np.add)
            for mine in itertools.pairwise(starts)
            for node in nodes_within(mine, (0, blocks))
        }
        assert sum(stop - first for first, stop in known) == blocks
        assert fold((0, blocks), known.get, np.add).tobytes() == expected.tobytes()


def test_a_node_that_a_process_has_is_as_large_as_can_be() -> None:
    assert halves((0, 8)) == ((0, 4), (4, 8))
    assert nodes_within((0, 4), (0, 8)) == [(0, 4)]
    assert nodes_within((0, 3), (0, 8)) == [(0, 2), (2, 3)]
    assert nodes_within((5, 8), (0, 8)) == [(5, 6), (6, 8)]


@pytest.mark.parametrize("n", [48, 49, 63, 64])
@pytest.mark.parametrize("seed", [None, 7])
def test_each_block_of_a_batch_has_rows_of_its_own_part(n: int, seed: int | None) -> None:
    own = OwnRows(n, 0, bounds(n, 4), None)
    order = own.order(16, seed, epoch=3)
    assert sorted(order) == list(range(n))
    for first in range(0, n, 16):
        batch = order[first : first + 16]
        for block, (start, stop) in enumerate(itertools.pairwise(bounds(len(batch), 4))):
            rows = batch[start:stop]
            assert ((own.starts[block] <= rows) & (rows < own.starts[block + 1])).all()
    if seed is not None:
        assert not np.array_equal(order, own.order(16, seed, epoch=4))


def test_labels_are_told_once_and_numbers_not_at_all() -> None:
    n, labels = rows_and_labels(["b", "a", "b"], "classes")
    assert n == 3
    assert labels is not None
    assert labels.tolist() == ["a", "b"]
    assert rows_and_labels(np.zeros((5, 2)), "regression") == (5, None)
    assert rows_and_labels(np.zeros((5, 2)), "classes") == (5, None)
