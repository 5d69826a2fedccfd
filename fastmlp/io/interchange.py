"""Exchange with other libraries: PyTorch state dicts and fitted scikit-learn models.

PyTorch's parameters are those of a `torch.nn.Sequential` of the same layers; `onnx_export` writes
ONNX files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, InputTypeError, counted, require
from ..inputs import checks
from ..network import Network
from ..nn import Dense, GroupedDense, Layer, SharedDense

if TYPE_CHECKING:
    from ..estimators import MLPClassifier, MLPRegressor

_BATCHES = "num_batches_tracked"
_TORCH_NAMES = {
    "W": "weight",
    "b": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
_KINDS = set(_TORCH_NAMES.values())  # names in PyTorch's own layers


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
        `Residual` or `Columns` have their places as prefixes, such as "1.0.weight".

    Raises
    ------
    InputError
        If torch is not installed, for a network that is not built, or another kind of model.

    Notes
    -----
    A `GroupedDense` has the numbers of ``torch.nn.Conv1d(n_in, n_out, 1, groups=n_groups)``, whose
    rows are of shape (n_in, 1), and a `SharedDense` those of ``torch.nn.Linear`` for the columns of
    one member. `Scale` and `ParametricActivation`, which PyTorch lacks, have "weight" (n_in,),
    `Members` has "weight" (n_out,). `PiecewiseLinear`, `Cosine` and `Rescaling`, which it lacks,
    too, have nothing that is learned; edges and factors are not in the dict.

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
    network, found = _built("to_torch", network_of("to_torch", model)), dict[str, Any]()
    torch = require("torch", "to_torch")
    for name, part in _all_in_torch(network):
        found[name] = torch.from_numpy(np.array(part.values, order="C").reshape(part.shape))
        place, _, key = name.rpartition(".")
        if key == _TORCH_NAMES["variance"]:
            found[f"{place}.{_BATCHES}"] = torch.tensor(0)
    return found


def _built(where: str, network: Any) -> Network:
    """The network, if it has parameters."""
    if not isinstance(network, Network):
        raise InputTypeError(where, "a Network", type(network).__name__, "pass one that is built")
    if not network.is_built:
        raise InputError(
            where, "a network that is built", "one not built yet", "call build or fit first"
        )
    return network


class _Part(NamedTuple):
    """A view of a parameter or buffer in the order of PyTorch's numbers, and their shape."""

    values: np.ndarray
    shape: tuple[int, ...]


def _all_in_torch(network: Network) -> Iterator[tuple[str, _Part]]:
    """What `to_torch` makes of all layers, in order."""
    for place, layer in network.leaves():
        yield from ((f"{place}.{key}", part) for key, part in _as_in_torch(layer))


def _as_in_torch(layer: Layer) -> Iterator[tuple[str, _Part]]:
    """A layer's parameters and buffers, with PyTorch's names."""
    for key, values in {**getattr(layer, "parameters", {}), **layer.buffers}.items():
        view, shape = values, values.shape
        if key == "W" and isinstance(layer, Dense | SharedDense):
            view, shape = values.T, values.T.shape
        elif key == "W" and isinstance(layer, GroupedDense):
            view = values.reshape(-1, layer.group_size, layer.units).transpose(0, 2, 1)
            shape = (view.shape[0] * layer.units, layer.group_size, 1)
        yield _TORCH_NAMES.get(key, key), _Part(view, shape)


def from_torch(state: Mapping[str, Any], network: Network) -> Network:
    """Copy the numbers of a PyTorch model's state dict into a network, in the order of its layers.

    Parameters
    ----------
    state : mapping of str to torch.Tensor or ndarray
        As ``module.state_dict()`` returns it: linear layers, normalisation with its running
        statistics, PReLU, embeddings, and what `to_torch` makes of other layers.
    network : Network
        Built, with layers of the same kinds and sizes; its parameters are overwritten.

    Returns
    -------
    Network
        The same one.

    Raises
    ------
    InputError
        If names or shapes of the layers' parameters differ, a number is not finite, or the network
        is not built; nothing is changed then.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, Network, from_torch
    >>> state = {"0.weight": np.array([[1.0, 2.0]]), "0.bias": np.array([3.0])}
    >>> from_torch(state, Network([Dense(2, 1)])).outputs([[1, 1]])
    array([[6.]], dtype=float32)
    """
    where, targets = "from_torch", list(_all_in_torch(_built("from_torch", network)))
    arrays = _arrays_of(where, state)
    _check_fit(where, arrays, targets)
    copies = list[np.ndarray]()  # so that nothing is changed if a later array is refused
    for (_, part), array in zip(targets, arrays.values(), strict=True):
        copies.append(np.empty_like(part.values))
        checks.assign(where, copies[-1], array.reshape(part.values.shape))
    for (_, part), numbers in zip(targets, copies, strict=True):
        part.values[...] = numbers
    return network


def _arrays_of(where: str, state: Any) -> dict[str, np.ndarray]:
    """The arrays of a state dict, without counts of batches, which our layers do not have."""
    if not isinstance(state, Mapping):
        got = type(state).__name__
        raise InputTypeError(where, "a state dict", got, "pass module.state_dict()")
    count = f".{_BATCHES}"
    return {key: _as_array(one) for key, one in state.items() if not f".{key}".endswith(count)}


def _check_fit(
    where: str, arrays: Mapping[str, np.ndarray], targets: list[tuple[str, _Part]]
) -> None:
    """Refuse arrays of other shapes than the network's, and in another order."""
    advice = "match the layers of both models"
    found, wanted = [array.shape for array in arrays.values()], [part.shape for _, part in targets]
    if found != wanted:
        raise InputError(where, f"parameters of shapes {wanted}", f"{found}", advice)
    for key, (name, _) in zip(arrays, targets, strict=True):
        theirs, ours = (one.rpartition(".")[2] for one in (key, name))
        if theirs in _KINDS and theirs != ours:  # a bias may have the shape of a weight
            raise InputError(where, f"{name!r} in this place", f"{key!r}", advice)


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
