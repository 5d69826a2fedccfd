"""Models to and from other libraries: PyTorch state dicts and fitted scikit-learn models.

PyTorch's parameters are those of a `torch.nn.Sequential` of the same layers; `onnx_export` writes
ONNX files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, InputTypeError, require
from .layers import Dense
from .network import Network

if TYPE_CHECKING:
    from .estimators import MLPClassifier, MLPRegressor


def held_network(model: Any) -> Network | None:
    """The network that a model is, or has, if there is one of ours."""
    network = model if isinstance(model, Network) else getattr(model, "network_", None)
    return network if isinstance(network, Network) else None


def network_of(where: str, model: Any) -> Network:
    """The network that a model is, or has."""
    network = held_network(model)
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
        "0.weight" (n_out, n_in) and "0.bias" (n_out,) of layer 0, and so on; copies.

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
    torch = require("torch", "to_torch")
    network, found = network_of("to_torch", model), dict[str, Any]()
    for number, layer in enumerate(network.layers):
        if isinstance(layer, Dense):
            found[f"{number}.weight"] = torch.from_numpy(np.array(layer.W.T, order="C"))
            found[f"{number}.bias"] = torch.from_numpy(layer.b.copy())
    return found


def from_torch(state: Mapping[str, Any], network: Network) -> Network:
    """Take over the linear layers of a PyTorch model's state dict, in their order.

    Parameters
    ----------
    state : mapping of str to torch.Tensor or ndarray
        As ``module.state_dict()`` returns it: weights and biases in turn.
    network : Network
        Built, with Dense layers of the same sizes; its parameters are overwritten.

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
    arrays = [_as_array(value) for value in state.values()]
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    wanted = [shape for layer in dense for shape in (layer.W.T.shape, layer.b.shape)]
    if [array.shape for array in arrays] != wanted:
        raise InputError(
            "from_torch", f"parameters of shapes {wanted}",
            f"{[array.shape for array in arrays]}", "match the layers of both models",
        )  # fmt: skip
    for layer, W, b in zip(dense, arrays[::2], arrays[1::2], strict=True):
        layer.W, layer.b = W.T, b
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
        Fitted; it predicts the same and can train on.

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
    from . import estimators

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
