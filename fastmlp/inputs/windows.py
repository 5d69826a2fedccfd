"""The rows of a stored table, a window at a time, while a thread reads the next one.

There is memory for two windows, whatever the size of the table: one that is used and one that is
being filled.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np

from ..datasets.blocks import Block
from ..datasets.stored import StoredTable
from ..errors import FileError, counted
from ..kernels.compiler.memory import aligned_zeros
from ..kernels.rules import random
from ..model.body import Body
from . import checks
from .categories import check_categories
from .targets import Encoded, Samples, TargetCoder


class Window(NamedTuple):
    """A window, which is valid until the next one is asked for."""

    samples: Samples  # of which the first rows are filled
    n_rows: int


class _Piece(NamedTuple):
    """Rows of a block that go into one window."""

    block: Block
    first: int  # in the block
    n_rows: int
    place: int  # in the window
    is_last: bool  # whether the window is full then


class Windows:
    """Reads a stored table into windows.

    Parameters
    ----------
    table : StoredTable
    body : Body
        Its dtype and layers say how features are read.
    n_outputs : int
        Of the network, which need not be built.
    coder : TargetCoder or None
        How targets are read; None leaves them and weights out.
    multiple : int, default 1
        Windows are rounded down to a multiple of so many rows.
    busy : callable, optional
        Makes a context in which the thread reads.
    """

    def __init__(
        self, table: StoredTable, body: Body, n_outputs: int, coder: TargetCoder | None,
        multiple: int = 1, busy: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:  # fmt: skip
        self.table, self.n_rows, self._coder = table, table.n_rows, coder
        self.window_rows = max(table.window_rows // multiple, 1) * multiple
        self.n_windows = -(-self.n_rows // self.window_rows)
        self._dtype, self._layers, self._n_outputs = body.dtype, body.layers, n_outputs
        self._memory = [self._new() for _ in range(min(2, self.n_windows))]
        self._busy, self._is_over = busy, False

    def _new(self) -> Samples:
        n, dtype, coder = min(self.window_rows, self.n_rows), self._dtype, self._coder
        n_features, nothing = self.table.n_features, np.empty(0, self._dtype)
        X = aligned_zeros(n * n_features, dtype).reshape(n, n_features)
        encoded, weights = Encoded(np.empty(0, np.int32), nothing), nothing
        if coder is not None:
            if coder.gives_labels:
                encoded = encoded._replace(labels=np.zeros(n, np.int32))
            else:
                encoded = encoded._replace(targets=aligned_zeros(n * self._n_outputs, dtype))
            if self.table.has_weights:
                weights = np.ones(n, dtype)
        return Samples(X, encoded, weights)

    @property
    def first(self) -> Samples:
        """Memory of a window, to describe it to kernels before anything is read."""
        return self._memory[0]

    def read(
        self, n_epochs: int = 1, seed: int | None = None, first_epoch: int = 0, first_row: int = 0
    ) -> Generator[Window, None, None]:
        """The windows of some epochs, one after the other; closing the iterator ends the thread.

        Parameters
        ----------
        n_epochs : int, default 1
        seed : int, optional
            Puts the table's parts in an order of their own in each epoch.
        first_epoch : int, default 0
        first_row : int, default 0
            How many rows of the first epoch are left out: a multiple of `window_rows`.

        Yields
        ------
        Window
        """
        pieces = self._pieces(range(first_epoch, first_epoch + n_epochs), seed, first_row)
        self._is_over = False
        if self.n_windows == 1:
            yield from itertools.repeat(self._filled(0, pieces), n_epochs)
            return
        n_windows = n_epochs * self.n_windows - first_row // self.window_rows
        with ThreadPoolExecutor(1, "fastmlp-reader") as reader:
            try:
                ahead = reader.submit(self._filled_ahead, 0, pieces)
                for number in range(1, n_windows + 1):
                    window = ahead.result()
                    if number < n_windows:
                        ahead = reader.submit(self._filled_ahead, number % 2, pieces)
                    yield window
            finally:
                self._is_over = True

    def _filled_ahead(self, which: int, pieces: Iterator[_Piece]) -> Window:
        with self._busy():
            return self._filled(which, pieces)

    def _filled(self, which: int, pieces: Iterator[_Piece]) -> Window:
        """Fill one of the two memories with the next rows."""
        samples, n_rows = self._memory[which], 0
        for piece in pieces:
            self._write(samples, piece)
            n_rows = piece.place + piece.n_rows
            if piece.is_last or self._is_over:
                break
        return Window(samples, n_rows)

    def _write(self, samples: Samples, piece: _Piece) -> None:
        block, first, n_rows, place, _ = piece
        inside, rows = slice(first, first + n_rows), slice(place, place + n_rows)
        block.write(first, samples.X[rows])
        check_categories(block.where, self._layers, samples.X[rows])
        if self._coder is None or block.y is None:
            return
        labels, targets = self._coder.encode(block.where, block.y[inside], self._dtype)
        if labels.size:
            samples.encoded.labels[rows] = labels
        else:
            samples.encoded.targets.reshape(-1, self._n_outputs)[rows] = targets.reshape(n_rows, -1)
        if block.weights is not None:
            samples.weights[rows] = checks.weights_of(
                block.where, block.weights[inside], n_rows, self._dtype
            )

    def _pieces(self, epochs: range, seed: int | None, skipped: int) -> Iterator[_Piece]:
        for epoch in epochs:
            row = skipped
            for block, first in self._blocks(self._order(epoch, seed), skipped):
                while first < block.n_rows:
                    place = row % self.window_rows
                    n_rows = min(block.n_rows - first, self.window_rows - place)
                    row += n_rows
                    is_last = row % self.window_rows == 0 or row == self.n_rows
                    yield _Piece(block, first, n_rows, place, is_last)
                    first += n_rows
            skipped = 0

    def _order(self, epoch: int, seed: int | None) -> np.ndarray:
        """The parts of the table in the order of an epoch; if they fit a window, that suffices."""
        order = np.arange(len(self.table.parts), dtype=np.int32)
        if seed is not None and self.n_windows > 1:
            random.shuffle(order, random.seed_of(seed, random.PART_STREAM, 0), epoch)
        return order

    def _blocks(self, order: np.ndarray, skipped: int) -> Iterator[tuple[Block, int]]:
        """The blocks of parts, each with the first of its rows that is used."""
        for number in order.tolist():
            (place, expected), n_rows = self.table.parts[number], 0
            if skipped >= expected:
                skipped -= expected
                continue
            for block in self.table.blocks(number, targets=self._coder is not None):
                n_rows += block.n_rows
                if n_rows > expected:
                    break
                first = min(skipped, block.n_rows)
                skipped -= first
                yield block, first
            if n_rows != expected:
                raise FileError(
                    place, f"{counted(expected, 'row')}, as when it was opened",
                    "fewer" if n_rows < expected else "more", "open it again",
                )  # fmt: skip
