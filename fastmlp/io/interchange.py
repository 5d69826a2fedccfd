"""Exchange with other libraries: PyTorch state dicts and fitted scikit-learn models.

PyTorch's parameters are those of a `torch.nn.Sequential` of the same layers; `onnx_export` writes
ONNX files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, InputTypeError, counted, require
from ..inputs import checks
from ..network import Network
from ..nn import BatchNorm, Dense, Layer

if TYPE_CHECKING:
    from ..estimators import MLPClassifier, MLPRegressor

_BATCHES = "num_batches_tracked"
_TORCH_NAMES = {
    "W": "weight",
    "b": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}


def held_network(model: Any) -> Network | None:
    """The fastmlp network that a model is or contains, or None."""
    network = model if isinstance(model, Network) else getattr(model, "network_", None)
    return network if isinstance(network, Network) else None


def is_ours(model: Any) -> bool:
    """Whether a model is a network, or a fitted estimator with one or several."""
    return held_network(model) is not None or hasattr(model, "members_") or is_table_model(model)


def is_table_model(model: Any) -> bool:
    """Whether a model is a fitted estimator for tables, which has networks for prepared rows."""
    return hasattr(model, "preparation_")


def networks_of(where: str, model: Any) -> list[Network]:
    """The networks of an estimator with several members, or the only one."""
    members = getattr(model, "members_", None)
    return [network_of(where, one) for one in (members or [model])]


def network_of(where: str, model: Any) -> Network:
    """The fastmlp network that a model is or contains; anything else is refused."""
    network = held_network(model)
    if network is None and hasattr(model, "members_"):
        raise InputError(
            where, "a single network", counted(len(model.members_), "member"),
            "pass each of members_",
        )  # fmt: skip
    if network is None:
        raise InputTypeError(
            where, "a Network, MLPClassifier or MLPRegressor", type(model).__name__,
            "fit one of those",
        )  # fmt: skip
    return network


def to_torch(model: Any) -> dict[str, Any]:
    """State dict for a `torch.nn.Sequential` of the same layers in the same order.

    Parameters
    ----------
    model : Network, MLPClassifier or MLPRegressor
        Built, or fitted.

    Returns
    -------
    dict of str to torch.Tensor
        "0.weight" (n_out, n_in) and "0.bias" (n_out,) of layer 0, and so on; copies. Layers in a
        `Residual` or `Columns` have their places as prefixes, such as "1.0.weight"; `Scale`, which
        PyTorch lacks, has "weight" (n_in,).

    Raises
    ------
    InputError
        If torch is not installed, or for another kind of model.

    Examples
    --------
    >>> from fastmlp import Dense, Network, ReLU, to_torch
    >>> network = Network([Dense(4, 8), ReLU(), Dense(8, 2)])
    >>> module = torch.nn.Sequential(
    ...     torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
    ... )  # doctest: +SKIP
    >>> module.load_state_dict(to_torch(network))  # doctest: +SKIP
    <All keys matched successfully>
    """
    network, found = network_of("to_torch", model), dict[str, Any]()
    torch = require("torch", "to_torch")
    for place, layer in network.leaves():
        for key, values in _as_in_torch(layer).items():
            found[f"{place}.{key}"] = torch.from_numpy(np.array(values, order="C"))
        if isinstance(layer, BatchNorm):
            found[f"{place}.{_BATCHES}"] = torch.tensor(0)
    return found


def _as_in_torch(layer: Layer) -> dict[str, np.ndarray]:
    """Views of a layer's parameters and buffers, with PyTorch's shapes and names."""
    arrays = {**getattr(layer, "parameters", {}), **layer.buffers}
    if isinstance(layer, Dense):
        arrays["W"] = arrays["W"].T
    return {_TORCH_NAMES.get(key, key): values for key, values in arrays.items()}


def from_torch(state: Mapping[str, Any], network: Network) -> Network:
    """Copy the numbers of a PyTorch model's state dict into a network, in the order of its layers.

    Parameters
    ----------
    state : mapping of str to torch.Tensor or ndarray
        As ``module.state_dict()`` returns it: linear layers, normalisation with its running
        statistics, PReLU and embeddings.
    network : Network
        Built, with layers of the same kinds and sizes; its parameters are overwritten.

    Returns
    -------
    Network
        The same one.

    Raises
    ------
    InputError
        If numbers or shapes of the layers differ, before anything is changed.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, Network, from_torch
    >>> state = {"0.weight": np.array([[1.0, 2.0]]), "0.bias": np.array([3.0])}
    >>> from_torch(state, Network([Dense(2, 1)])).outputs([[1, 1]])
    array([[6.]], dtype=float32)
    """
    counts = f".{_BATCHES}"  # counts of batches, which our layers do not have
    named = [value for key, value in state.items() if not f".{key}".endswith(counts)]
    arrays = [_as_array(value) for value in named]
    targets = [values for _, layer in network.leaves() for values in _as_in_torch(layer).values()]
    wanted = [values.shape for values in targets]
    if [array.shape for array in arrays] != wanted:
        raise InputError(
            "from_torch", f"parameters of shapes {wanted}",
            f"{[array.shape for array in arrays]}", "match the layers of both models",
        )  # fmt: skip
    for target, array in zip(targets, arrays, strict=True):
        checks.assign("from_torch", target, array)
    return network


def _as_array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def from_sklearn(model: Any) -> MLPClassifier | MLPRegressor:
    """Our estimator with the parameters and weights of a fitted one of scikit-learn.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fitted; it gives the same predictions and can be trained further.

    Raises
    ------
    InputError
        For anything else, and for a model that is not fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> from fastmlp import from_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0).fit(X, y)
    >>> bool((from_sklearn(model).predict(X) == model.predict(X)).all())
    True
    """
    from .. import estimators

    kind = getattr(estimators, type(model).__name__, None)
    if kind is None or not hasattr(model, "hidden_layer_sizes"):
        raise InputTypeError(
            "from_sklearn", "scikit-learn's MLPClassifier or MLPRegressor", type(model).__name__,
            "pass one of those",
        )  # fmt: skip
    if not hasattr(model, "coefs_"):
        raise InputError("from_sklearn", "a fitted model", "one not fitted yet", "call fit first")
    made: MLPClassifier | MLPRegressor = kind(**model.get_params())
    return made.take_over(model)
