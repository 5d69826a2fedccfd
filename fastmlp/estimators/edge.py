"""Checks in addition to scikit-learn's validation, and argument names in its messages.

Sample weights must be numbers of at least 0. Errors about validation data name X_val, y_val and
sample_weight_val, although the same checks are used for training data.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from ..errors import InputError
from ..inputs import checks

_HELD_OUT = re.compile(r"\b(X|y|sample_weight)\b")


def weights_of_samples(where: str, value: Any, X: Any) -> Any:
    """Weights (n,) in float32 or float64, none negative, not all 0; None stays None."""
    if value is None:
        return None
    checks.real_numbers(where, "sample_weight", value)
    weights = _check_sample_weight(value, X)
    if (weights < 0).any():
        raise InputError(
            where, "sample_weight of at least 0",
            f"a negative one in row {int(np.argmax(weights < 0))}",
            "weights count how often a row is seen",
        )  # fmt: skip
    return weights


@contextlib.contextmanager
def held_out_names() -> Iterator[None]:
    """Make errors name X_val, y_val and sample_weight_val instead of X, y and sample_weight."""
    try:
        yield
    except InputError as error:
        error.__init__(*(_HELD_OUT.sub(r"\1_val", part) for part in error.args))  # type: ignore[misc]
        raise
    except (ValueError, TypeError) as error:
        text = _HELD_OUT.sub(r"\1_val", str(error))
        if "_val" not in text:
            about = "sample_weight_val" if "weight" in text else "X_val, y_val"
            text = f"{about}: {text}"
        error.args = (text,)
        raise
