"""Tables that stay where they are stored and are read a block at a time.

Training, prediction and evaluation know only `StoredTable`; Parquet files, memory maps and streams
of chunks each fill it in.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError
from .blocks import BLOCK_ROWS, Block, Part
from .inputs import check_seed

WINDOW_BYTES = 1 << 25  # of features in float32, where the user states no number of rows


class StoredTable(ABC):
    """A table of any size that networks and estimators read a window at a time.

    It goes to `fit`, `predict` and `score` of `Network`, `MLPClassifier` and `MLPRegressor`.
    `open_table`, `open_arrays` and `open_chunks` make one.

    Parameters
    ----------
    parts : sequence of Part
        What is read in a new order each epoch.
    n_features : int
        Columns of X.
    window_rows : int, optional
        Rows that training holds and shuffles at a time; by default as many as 32 MiB hold in
        float32.
    feature_names : tuple of str, optional
        Names of the columns of X.

    Attributes
    ----------
    n_rows : int
        Rows in all.
    has_targets, has_weights : bool
        Whether there are targets, and weights of rows.
    n_targets : int or None
        Columns of y if it has two dimensions.
    n_splits : int
        How often the table was split, for other random numbers each time.

    Examples
    --------
    Rows that are computed when they are needed:

    >>> import numpy as np
    >>> from fastmlp import Dense, Network
    >>> from fastmlp.datasets import StoredTable
    >>> from fastmlp.datasets.blocks import Block, Part
    >>> class Powers(StoredTable):
    ...     def blocks(self, part, features=True, targets=True):
    ...         X = np.linspace(part, part + 1, 100).reshape(-1, 1) ** [1, 2]
    ...         yield Block(f"part {part}", 0, 100, X, X.sum(axis=1))
    ...     def identity(self):
    ...         return "powers"
    >>> table = Powers([Part(f"part {number}", 100) for number in range(5)], n_features=2)
    >>> Network([Dense(1)], "mse").fit(table, epochs=2).epochs
    2
    """

    has_targets, has_weights = True, False
    n_splits = 0
    n_targets: int | None = None

    def __init__(
        self,
        parts: Sequence[Part],
        n_features: int,
        window_rows: int | None = None,
        feature_names: tuple[str, ...] | None = None,
    ) -> None:
        self.parts, self.n_features = tuple(parts), n_features
        self.feature_names = feature_names
        self.n_rows = sum(part.n_rows for part in self.parts)
        self.window_rows = window_rows_for(n_features) if window_rows is None else window_rows

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_rows} rows, {self.n_features} features)"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return self.n_rows, self.n_features

    def first_block(self) -> Block:
        """The features of the first rows.

        Returns
        -------
        Block
            Without targets.
        """
        parts = range(len(self.parts))
        return next(block for part in parts for block in self.blocks(part, targets=False))

    @abstractmethod
    def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
        """The rows of a part, in their order.

        Parameters
        ----------
        part : int
            Its place in `parts`.
        features, targets : bool, default True
            What is read; weights come with targets.

        Yields
        ------
        Block
            Of at most some ten thousand rows.
        """

    @abstractmethod
    def identity(self) -> str:
        """A hash by which a checkpoint recognises the data without reading all of them.

        Returns
        -------
        str
            Of 32 characters.
        """

    def in_order(self, names: tuple[str, ...]) -> StoredTable:
        """This table with its features in the order of training.

        Parameters
        ----------
        names : tuple of str
            The table's own `feature_names`, in any order.

        Returns
        -------
        StoredTable
            Of the same rows.
        """
        return self

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """All rows in their stored order, for example to fit a scaler to them.

        Yields
        ------
        X : ndarray of shape (n, n_features)
            Features in float32, or in float64 if one of them needs it.
        y : ndarray of shape (n,) or (n, n_targets), or None
            Targets, if there are any.
        """
        for part in range(len(self.parts)):
            for block in self.blocks(part):
                yield block.matrix(), block.y

    def map(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        targets: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> StoredTable:
        """This table with features that a function computes whenever rows are read.

        Parameters
        ----------
        function : callable
            From features (n, n_features) of some rows to new ones (n, any number), each row by
            itself, for example ``scaler.transform``. It is called in the thread that reads.
        targets : callable, optional
            Likewise, from targets to new ones of the same shape.

        Returns
        -------
        StoredTable
            Without names of features. A checkpoint does not recognise another function.

        Raises
        ------
        InputError
            If the function returns something else.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.preprocessing import StandardScaler
        >>> from fastmlp.datasets import open_arrays
        >>> table = open_arrays(np.random.default_rng(0).normal(5, 2, (1000, 3)), np.zeros(1000))
        >>> scaler = StandardScaler()
        >>> for X, y in table.chunks():
        ...     scaler = scaler.partial_fit(X)
        >>> scaled = table.map(scaler.transform)
        >>> X, y = next(scaled.chunks())
        """
        return MappedTable(self, function, targets)

    def split(self, share: float, random_state: int = 0) -> tuple[StoredTable, StoredTable]:
        """Two tables of the same files: one to train on, and one of rows that are held out.

        Parameters
        ----------
        share : float
            Of the rows that are held out, above 0 and below 1; each is drawn by itself.
        random_state : int, default 0
            Seed; the same one always holds out the same rows.

        Returns
        -------
        rest : StoredTable
            It reads the whole files, and uses its own rows.
        held_out : StoredTable
            Likewise.

        Raises
        ------
        InputError
            For a share out of range, and if one of the two would have no rows.

        Examples
        --------
        >>> import numpy as np
        >>> from fastmlp.datasets import open_arrays
        >>> rest, held_out = open_arrays(np.zeros((1000, 3)), np.zeros(1000)).split(0.1)
        >>> rest.n_rows + held_out.n_rows
        1000
        """
        check_seed("StoredTable.split", random_state)
        is_number = isinstance(share, float | int | np.floating) and not isinstance(share, bool)
        if not is_number or not 0 < share < 1:
            got = str(share) if is_number else type(share).__name__
            raise InputError("StoredTable.split", "share above 0 and below 1", got, "pass 0.1, say")
        dealt = Dealt(float(share), int(random_state), self.n_splits)
        tables = SplitTable(self, dealt, False), SplitTable(self, dealt, True)
        if not all(table.n_rows for table in tables):
            got = " and ".join(str(table.n_rows) for table in tables)
            raise InputError("StoredTable.split", "rows in both parts", got, "change the share")
        return tables

    def __array__(self, *arguments: object, **options: object) -> np.ndarray:
        """What needs all rows at once cannot be done with a table of any size."""
        raise InputTypeError(
            type(self).__name__, "to be read a window at a time", "a use that needs all rows",
            "train a Network, MLPClassifier or MLPRegressor, or load the rows with load_table",
        )  # fmt: skip


class MappedTable(StoredTable):
    """A stored table whose features are computed; `StoredTable.map` makes it.

    Parameters
    ----------
    table : StoredTable
    function : callable
    targets : callable or None
    """

    def __init__(
        self,
        table: StoredTable,
        function: Callable[[np.ndarray], np.ndarray],
        targets: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._table, self._function, self._targets = table, function, targets
        n_features = self._mapped(table.first_block()).shape[1]
        super().__init__(table.parts, n_features, table.window_rows)
        self.has_targets, self.has_weights = table.has_targets, table.has_weights
        self.n_targets = table.n_targets

    def _mapped(self, block: Block) -> np.ndarray:
        found = np.asarray(self._function(block.matrix()))
        if found.ndim != 2 or len(found) != block.n_rows or found.dtype.kind not in "biuf":
            raise InputError(
                "StoredTable.map",
                f"a function from {block.n_rows} rows to as many rows of numbers",
                f"shape {found.shape} and type {found.dtype}", "return one row for each row",
            )  # fmt: skip
        return found

    def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
        """As `StoredTable` says."""
        for block in self._table.blocks(part, features, targets):
            if features:
                block = replace(block, X=self._mapped(block), names=None)
            if block.y is not None and self._targets is not None:
                block = replace(block, y=self._targets(block.y))
            yield block

    def identity(self) -> str:
        """As `StoredTable` says: that of the rows before."""
        return self._table.identity()


class Dealt(NamedTuple):
    """Which rows are held out."""

    share: float
    seed: int
    depth: int  # how often the table has been split before

    def held_out(self, part: int, first: int, n_rows: int) -> np.ndarray:
        """Whether each of some rows of a part is held out (n_rows,).

        Parameters
        ----------
        part, first, n_rows : int
        """
        numbers = range(first // BLOCK_ROWS, -(-(first + n_rows) // BLOCK_ROWS))
        drawn = [
            np.random.default_rng([self.seed, self.depth, part, number]).random(
                BLOCK_ROWS, np.float32
            )
            for number in numbers
        ]
        start = first - numbers.start * BLOCK_ROWS
        return np.concatenate(drawn)[start : start + n_rows] < self.share


class SplitTable(StoredTable):
    """Some rows of a stored table; `StoredTable.split` makes it.

    Parameters
    ----------
    table : StoredTable
    dealt : Dealt
    is_held_out : bool
        Whether to use the rows that are held out.
    """

    def __init__(self, table: StoredTable, dealt: Dealt, is_held_out: bool) -> None:
        self._table, self._dealt, self._is_held_out = table, dealt, is_held_out
        parts = [
            part._replace(n_rows=self._count(number, part.n_rows))
            for number, part in enumerate(table.parts)
        ]
        super().__init__(parts, table.n_features, table.window_rows, table.feature_names)
        self.n_splits = table.n_splits + 1
        self.has_targets, self.has_weights = table.has_targets, table.has_weights
        self.n_targets = table.n_targets

    def _count(self, part: int, n_rows: int) -> int:
        starts = range(0, n_rows, BLOCK_ROWS)
        return sum(
            int(self._wanted(part, start, min(BLOCK_ROWS, n_rows - start)).sum())
            for start in starts
        )

    def _wanted(self, part: int, first: int, n_rows: int) -> np.ndarray:
        return self._dealt.held_out(part, first, n_rows) == self._is_held_out

    def blocks(self, part: int, features: bool = True, targets: bool = True) -> Iterator[Block]:
        """As `StoredTable` says."""
        row = 0  # among those of the table, which may itself be one of two
        for block in self._table.blocks(part, features, targets):
            wanted = self._wanted(part, row, block.n_rows)
            row += block.n_rows
            if wanted.any():
                yield block.chosen(wanted)

    def in_order(self, names: tuple[str, ...]) -> StoredTable:
        """As `StoredTable` says."""
        return SplitTable(self._table.in_order(names), self._dealt, self._is_held_out)

    def identity(self) -> str:
        """As `StoredTable` says."""
        told = repr((self._table.identity(), self._dealt, self._is_held_out))
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def window_rows_for(n_features: int) -> int:
    """How many rows of so many features are a window by default."""
    return max(1, WINDOW_BYTES // (4 * n_features))


def check_window_rows(where: str, window_rows: object) -> int | None:
    """A positive whole number, or None."""
    if window_rows is None:
        return None
    is_whole = isinstance(window_rows, int | np.integer) and not isinstance(window_rows, bool)
    if not is_whole or int(window_rows) < 1:  # type: ignore[call-overload]
        got = str(window_rows) if is_whole else type(window_rows).__name__
        raise InputError(where, "window_rows as a whole number of at least 1", got, "choose one")
    return int(window_rows)  # type: ignore[call-overload]
