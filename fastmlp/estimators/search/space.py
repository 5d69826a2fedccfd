"""Parameter ranges for scikit-learn's searches.

The ranges suit most tables of up to about a hundred thousand rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scipy import stats

from ...errors import InputError, did_you_mean
from ...tabular.networks import NUMBER_EMBEDDINGS


def search_space(prefix: str = "", kind: str = "mlp") -> dict[str, Any]:
    """Distributions for `RandomizedSearchCV` and similar searches, by parameter name.

    Parameters
    ----------
    prefix : str, default ""
        Prefix of each name: ``"mlp__"`` for a step of a pipeline called "mlp".
    kind : {"mlp", "tabular"}, default "mlp"
        For `MLPClassifier` and `MLPRegressor`, or for `TabularClassifier` and `TabularRegressor`.

    Returns
    -------
    dict of str to distribution or list
        The distribution or values of each parameter.

    Raises
    ------
    InputError
        For another kind.

    Examples
    --------
    >>> from fastmlp import search_space
    >>> sorted(search_space("mlp__"))[0]
    'mlp__activation'
    >>> search_space(kind="tabular")["number_embedding"]
    ['periodic', 'piecewise', None]
    """
    if kind not in _SPACES:
        advice = did_you_mean(str(kind), _SPACES, "choose one")
        raise InputError(
            "search_space", f"kind to be one of {', '.join(_SPACES)}", repr(kind), advice
        )
    return {prefix + name: value for name, value in _SPACES[kind]().items()}


def _of_plain() -> dict[str, Any]:
    return {
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


def _of_tabular() -> dict[str, Any]:
    """What matters most for the recipes, in ranges like those of TabArena's searches."""
    return {
        "hidden_layer_sizes": [(n,) * depth for n in (256, 384, 512) for depth in (2, 3, 4)],
        "learning_rate_init": stats.loguniform(0.02, 0.3),
        "dropout": stats.uniform(0.0, 0.5),
        "weight_decay": stats.loguniform(1e-3, 5e-2),
        "number_embedding": [*NUMBER_EMBEDDINGS, None],
    }


_SPACES: dict[str, Callable[[], dict[str, Any]]] = {"mlp": _of_plain, "tabular": _of_tabular}
