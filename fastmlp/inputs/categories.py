"""Columns of category numbers: input columns that an Embedding reads are checked here.

A kernel turns an invalid category number into nan, which would be hard to understand later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..nn import Columns, Embedding, Layer, Residual
from .tables import is_sparse


def category_columns(layers: Sequence[Layer], columns: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Input columns that an Embedding reads directly, each with its number of categories.

    columns: the columns that the first layer reads.
    """
    first = layers[0] if layers else None
    if isinstance(first, Embedding):
        yield from ((column, first.n_categories) for column in columns)
    elif isinstance(first, Residual):
        yield from category_columns(first.layers, columns)
    elif isinstance(first, Columns):
        for branch in first.branches:
            chosen = [columns[number] for number in branch.columns if number < len(columns)]
            yield from category_columns(branch.layers, chosen)


def check_categories(where: str, layers: Sequence[Layer], X: Any) -> None:
    """Refuse rows with numbers that are not categories in columns that an Embedding reads."""
    for column, n_categories in category_columns(layers, range(X.shape[1])):
        values = X[:, [column]].toarray()[:, 0] if is_sparse(X) else X[:, column]
        good = (values >= 0) & (values < n_categories) & (values == np.floor(values))
        if not good.all():
            row = int(np.argmin(good))
            raise InputError(
                where, f"numbers of categories from 0 to {n_categories - 1} in column {column}",
                f"another one in row {row}", "number the categories from 0",
            )  # fmt: skip
