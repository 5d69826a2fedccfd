"""Blocks of rows read from a stored table, and the parts of the table that they belong to.

A block writes its rows to the memory of a window, in the type that a network computes in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..errors import InputError

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
    rows : ndarray of shape (n_rows,), optional
        Numbers of the rows in the part, if not all from `first_row` on are there.
    """

    place: str
    first_row: int
    n_rows: int
    X: np.ndarray | list[np.ndarray] | None = None
    y: np.ndarray | None = None
    weights: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    rows: np.ndarray | None = None

    @property
    def dtype(self) -> np.dtype:
        """The type that holds all features: float32 if no column needs float64."""
        assert self.X is not None
        columns = [self.X] if isinstance(self.X, np.ndarray) else self.X
        return np.result_type(np.float32, *(column.dtype for column in columns))

    def matrix(self) -> np.ndarray:
        """Features (n_rows, n_features) in `dtype`."""
        assert self.X is not None
        n_features = self.X.shape[1] if isinstance(self.X, np.ndarray) else len(self.X)
        out = np.empty((self.n_rows, n_features), self.dtype)
        self.write(0, out)
        return out

    @property
    def where(self) -> str:
        """The place of these rows, for errors that count rows from the first of them."""
        some = "" if self.rows is None else "some "
        return f"{self.place}, {some}rows from {self.first_row}"

    def chosen(self, which: np.ndarray) -> Block:
        """Some of these rows.

        Parameters
        ----------
        which : ndarray of shape (n_rows,), bool

        Returns
        -------
        Block
        """
        X = self.X
        if X is not None:
            X = [column[which] for column in X] if isinstance(X, list) else X[which]
        return replace(
            self,
            n_rows=int(which.sum()),
            X=X,
            y=None if self.y is None else self.y[which],
            weights=None if self.weights is None else self.weights[which],
            rows=self.first_row + np.flatnonzero(which) if self.rows is None else self.rows[which],
        )

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
        place = self.first_row + first + row if self.rows is None else int(self.rows[first + row])
        got = "nan or a gap" if np.isnan(number) else "an infinity or a larger number"
        raise InputError(
            self.place,
            f"finite numbers within {out.dtype.name} in {named}",
            f"{got} in row {place}",
            "fill it in, or leave the row out",
        )
