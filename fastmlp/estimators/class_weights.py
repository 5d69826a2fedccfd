"""Converts class weights (a dict, a list of dicts or "balanced") to sample weights.

A class without an entry has weight 1. Entries for classes that do not occur are refused, because
they are usually labels of the wrong type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from ..errors import InputError, InputTypeError, counted
from ..inputs import checks
from ..inputs.targets import label_numbers


def of_samples(
    where: str, class_weight: Any, y: Any, classes: np.ndarray, is_multilabel: bool
) -> np.ndarray:
    """The class weight (n,) of each sample; for several labels the product over them."""
    if isinstance(class_weight, str):
        found: np.ndarray = compute_sample_weight(class_weight, y)
        return found
    if not is_multilabel:
        if not isinstance(class_weight, dict):
            raise InputTypeError(
                where, "class_weight as a dict or 'balanced' for one label per row",
                type(class_weight).__name__, "write {label: weight, ...}",
            )  # fmt: skip
        by_class = _by_class(where, "class_weight", class_weight, classes.tolist())
        return by_class[label_numbers(where, np.asarray(y), classes)]
    return _of_rows(where, class_weight, y, len(classes))


def balanced(classes: np.ndarray, counts: np.ndarray) -> dict[Any, float]:
    """The weight of each class that "balanced" means, from how many rows of it there are."""
    weights = counts.sum() / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


def _of_rows(where: str, class_weight: Any, y: Any, n_labels: int) -> np.ndarray:
    """Products of the weights over the labels of each row."""
    if not isinstance(class_weight, list):
        raise InputTypeError(
            where, f"class_weight as 'balanced' or a list of {counted(n_labels, 'dict')}, one for "
            "each label", type(class_weight).__name__, "write [{0: 1.0, 1: 5.0}, ...]",
        )  # fmt: skip
    if len(class_weight) != n_labels:
        raise InputError(
            where, f"class_weight with {counted(n_labels, 'dict')}, one for each label",
            f"{len(class_weight)}", "write [{0: 1.0, 1: 5.0}, ...]",
        )  # fmt: skip
    rows = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
    product = np.ones(len(rows))
    for k, weights in enumerate(class_weight):
        if not isinstance(weights, dict):
            raise InputTypeError(
                where, f"class_weight[{k}] as a dict", type(weights).__name__,
                "write [{0: 1.0, 1: 5.0}, ...]",
            )  # fmt: skip
        by_class = _by_class(where, f"class_weight[{k}]", weights, [0, 1])
        product *= by_class[(rows[:, k] != 0).astype(np.intp)]
    return product


def _by_class(where: str, name: str, weights: dict[Any, Any], classes: list[Any]) -> np.ndarray:
    """The weight of each class; they are checked to be finite, not negative and not all 0."""
    places = {label: place for place, label in enumerate(classes)}
    unknown = [label for label in weights if label not in places]
    if unknown:
        kinds = sorted({type(label).__name__ for label in unknown})
        raise InputError(
            where, f"classes of y as the keys of {name}",
            f"{counted(len(unknown), 'other key')} ({', '.join(kinds)})",
            "use the labels of y, in their own type",
        )  # fmt: skip
    found = np.ones(len(classes))
    for label, weight in weights.items():
        found[places[label]] = checks.number(where, f"{name}[{label!r}]", weight, 0)
    if not found.any():
        raise InputError(where, f"some {name} above 0", "only zeros", "give a class a weight")
    return found
