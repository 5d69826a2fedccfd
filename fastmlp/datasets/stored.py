"""Tables that stay where they are stored and are read a block at a time.

Training, prediction and evaluation know only `StoredTable`; Parquet files, memory maps and streams
of chunks each fill it in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError

WINDOW_BYTES = 1 << 25  # of features in float32, where the user states no number of rows
BLOCK_ROWS = 1 << 14
_COPIED_ROWS = 1 << 11  # so few rows of a matrix stay in the cache while their columns are written


class Part(NamedTuple):
    """Rows that are read one after the other: a row group, a file, a slice of an array."""

    place: str  # for errors
    n_rows: int


@dataclass(frozen=True)
class Block:
    """Some rows of a part; what was not asked for is None.

    Parameters
    ----------
    place : str
        Where the part is, for errors.
    first_row : int
        The number of the first of these rows in it.
    n_rows : int
        How many.
    X : ndarray of shape (n_rows, n_features), or a list of columns of shape (n_rows,), optional
        Numbers.
    y : ndarray of shape (n_rows,) or (n_rows, n_targets), optional
        Targets.
    weights : ndarray of shape (n_rows,), optional
        Weights of the rows.
    names : tuple of str, optional
        Of the columns of X.
    """

    place: str
    first_row: int
    n_rows: int
    X: np.ndarray | list[np.ndarray] | None = None
    y: np.ndarray | None = None
    weights: np.ndarray | None = None
    names: tuple[str, ...] | None = None

    def matrix(self) -> np.ndarray:
        """Features (n_rows, n_features), in float32 if no column needs float64."""
        assert self.X is not None
        columns = [self.X] if isinstance(self.X, np.ndarray) else self.X
        dtype = np.result_type(np.float32, *(column.dtype for column in columns))
        n_features = self.X.shape[1] if isinstance(self.X, np.ndarray) else len(self.X)
        out = np.empty((self.n_rows, n_features), dtype)
        self.write(0, out)
        return out

    @property
    def where(self) -> str:
        """The place of these rows, for errors that count rows from the first of them."""
        return f"{self.place}, rows from {self.first_row}"

    def write(self, first: int, out: np.ndarray) -> None:
        """Write features from row `first` on to an array, and refuse what it cannot hold.

        Parameters
        ----------
        first : int
        out : ndarray of shape (n, n_features), float32 or float64
        """
        assert self.X is not None
        with np.errstate(over="ignore", under="ignore"):
            if isinstance(self.X, np.ndarray):
                out[...] = self.X[first : first + len(out)]
            else:
                for start in range(0, len(out), _COPIED_ROWS):
                    rows = out[start : start + _COPIED_ROWS]
                    for j, column in enumerate(self.X):
                        rows[:, j] = column[first + start : first + start + len(rows)]
            total = out.sum()  # nan or infinite if any term is
        if not np.isfinite(total):
            self._refuse_bad_numbers(first, out)

    def _refuse_bad_numbers(self, first: int, out: np.ndarray) -> None:
        bad = ~np.isfinite(out)
        if not bad.any():  # only their sum was too large
            return
        row, column = (int(i) for i in np.argwhere(bad)[0])
        number, named = out[row, column], f"column {column}"
        if self.names is not None:
            named = f"column {self.names[column]!r}"
        got = "nan or a gap" if np.isnan(number) else "an infinity or a larger number"
        raise InputError(
            self.place,
            f"finite numbers within {out.dtype.name} in {named}",
            f"{got} in row {self.first_row + first + row}",
            "fill it in, or leave the row out",
        )


class StoredTable(ABC):
    """A table of any size that `Network.fit`, `predict` and `evaluate` read a window at a time.

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

    Examples
    --------
    Rows that are computed when they are needed:

    >>> import numpy as np
    >>> from fastmlp import Dense, Network
    >>> from fastmlp.datasets import StoredTable
    >>> from fastmlp.datasets.stored import Block, Part
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

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> StoredTable:
        """This table with features that a function computes whenever rows are read.

        Parameters
        ----------
        function : callable
            From features (n, n_features) of some rows to new ones (n, any number), each row by
            itself, for example ``scaler.transform``. It is called in the thread that reads.

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
        return MappedTable(self, function)

    def __array__(self, *arguments: object, **options: object) -> np.ndarray:
        """What needs all rows at once cannot be done with a table of any size."""
        raise InputTypeError(
            type(self).__name__, "to be read a window at a time", "a use that needs all rows",
            "train with Network.fit, or load the rows with load_table",
        )  # fmt: skip


class MappedTable(StoredTable):
    """A stored table whose features are computed; `StoredTable.map` makes it.

    Parameters
    ----------
    table : StoredTable
    function : callable
    """

    def __init__(self, table: StoredTable, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self._table, self._function = table, function
        n_features = self._mapped(next(table.blocks(0, targets=False))).shape[1]
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
            yield replace(block, X=self._mapped(block), names=None) if features else block

    def identity(self) -> str:
        """As `StoredTable` says: that of the rows before."""
        return self._table.identity()


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
