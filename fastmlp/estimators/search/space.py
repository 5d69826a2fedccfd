"""Parameter ranges for scikit-learn's searches.

The ranges suit most tables of up to about a hundred thousand rows.
"""

from __future__ import annotations

from typing import Any

from scipy import stats


def search_space(prefix: str = "") -> dict[str, Any]:
    """Distributions for `RandomizedSearchCV` and similar searches, by parameter name.

    Parameters
    ----------
    prefix : str, default ""
        Prefix of each name: ``"mlp__"`` for a step of a pipeline called "mlp".

    Returns
    -------
    dict of str to distribution or list
        The distribution or values of each parameter.

    Examples
    --------
    >>> from fastmlp import search_space
    >>> sorted(search_space("mlp__"))[0]
    'mlp__activation'
    """
    space: dict[str, Any] = {
        "width": stats.randint(16, 513),
        "depth": [1, 2, 3],
        "activation": ["relu", "gelu", "silu", "selu", "tanh"],
        "solver": ["adam", "adamw"],
        "learning_rate_init": stats.loguniform(3e-4, 1e-2),
        "learning_rate": ["constant", "linear", "cosine"],
        "alpha": stats.loguniform(1e-7, 1e-1),
        "dropout": [0.0, 0.1, 0.2, 0.4],
        "batch_size": [32, 64, 128],
    }
    return {prefix + name: value for name, value in space.items()}
