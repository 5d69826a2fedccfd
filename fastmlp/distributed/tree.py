"""The order in which the gradients of a batch's blocks are added, as a binary tree over the blocks.

Every process adds in this order, so a sum has the same bits however the blocks are divided among
processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Node = tuple[int, int]  # the blocks from the first number up to the second
T = TypeVar("T")


def bounds(n: int, parts: int) -> list[int]:
    """Where each of some parts of n things begins, and the end; the first is as large as any."""
    return [-(-n * part // parts) for part in range(parts + 1)]


def halves(node: Node) -> tuple[Node, Node]:
    """The two nodes whose sum a node of several blocks is."""
    first, stop = node
    middle = (first + stop + 1) // 2
    return (first, middle), (middle, stop)


def nodes_within(blocks: Node, node: Node) -> list[Node]:
    """The largest nodes, at or below `node`, that consist only of some neighbouring blocks."""
    if blocks[0] <= node[0] and node[1] <= blocks[1]:
        return [node]
    if blocks[1] <= node[0] or node[1] <= blocks[0]:
        return []
    return [found for half in halves(node) for found in nodes_within(blocks, half)]


def fold(node: Node, found: Callable[[Node], T | None], add: Callable[[T, T], T]) -> T:
    """The sum of a node, from the sums of those nodes that are found.

    Parameters
    ----------
    node : Node
    found : callable
        Returns the sum of a node, or None if it has to be added up from its halves.
    add : callable
        Adds the sum of a right half to that of its left half.
    """
    known = found(node)
    if known is not None:
        return known
    left, right = halves(node)
    return add(fold(left, found, add), fold(right, found, add))
