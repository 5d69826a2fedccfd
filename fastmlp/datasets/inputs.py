"""Checks shared by all loaders: seeds and dtypes.

They are in one place, so that all loaders raise the same errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError, InputTypeError


def check_seed(where: str, random_state: int | None) -> None:
    """Refuse anything but None and seeds that every generator accepts."""
    whole = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool)
    if random_state is None or (whole and 0 <= random_state < 2**32):
        return
    kind = InputError if whole else InputTypeError
    raise kind(
        where,
        "random_state as None or a whole number from 0 to 4294967295",
        str(random_state) if whole else type(random_state).__name__,
        "pass for example random_state=0",
    )


def check_dtype(where: str, dtype: str, allowed: Sequence[str]) -> None:
    """Refuse a dtype that the caller does not support."""
    if dtype not in allowed:
        got = repr(dtype) if isinstance(dtype, str) else type(dtype).__name__
        raise InputError(
            where, f"dtype {' or '.join(map(repr, allowed))}", got, "pass one of these as text"
        )
