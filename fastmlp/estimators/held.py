"""An estimator's network, and `coefs_` and `intercepts_`, which are views of its parameters.

Fitted state is arrays and plain values; the network is made from them when it is needed, so models
can be pickled, copied and compared like scikit-learn's own.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from ..engine.lowering import can_compile
from ..errors import InputTypeError
from ..inputs.targets import TargetCoder
from ..network import Network
from ..nn import Dense, Dropout, Layer
from ..nn.losses import Loss
from . import parameters
from .fitted import checked_weights
from .members import EnsembleMixin
from .stochastic import Progress

# Made from coefs_ and intercepts_ when needed, so they are not copied or pickled.
_MADE_AGAIN = (
    "_held", "_rows", "_owns_memory", "_made_with", "_last_run", "_seeded", "_pause",
)  # fmt: skip
_SHAPE_NETWORK = ("activation", "dropout", "max_norm", "alpha", "l1_ratio", "dtype")


class HoldsNetwork(EnsembleMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An estimator with a network, or with members that have one each."""

    _progress: Progress | None = None
    n_outputs_: int

    # ------------------------------------------------------------------ what a subclass says

    def _loss(self) -> Loss:
        """The loss to minimise."""
        raise NotImplementedError

    def _coder(self) -> TargetCoder:
        """How a predictor turns outputs into the results of `predict`."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the network

    @property
    def _fitted_dtype(self) -> np.dtype:
        """float32 or float64, as the model was fitted, whatever arrays were set since."""
        name = self.__dict__.get("_dtype_name")
        if name is None:  # made by hand, or taken over from scikit-learn
            name = "float32" if np.asarray(self.coefs_[0]).dtype == np.float32 else "float64"
        return np.dtype(name)

    @property
    def network_(self) -> Network:
        """The network whose parameters are `coefs_` and `intercepts_`, even if assigned."""
        self._refuse_network()
        held: tuple[Network, tuple[np.ndarray, ...]] | None = self.__dict__.get("_held")
        if held is not None:
            network, views = held
            if _are_same(self.coefs_, self.intercepts_, views):
                return network
        arrays = checked_weights(self, self._fitted_dtype)
        if held is not None and _sizes(dense_layers(held[0])) == _sizes(arrays[0]):
            network = held[0]
            _fill(network, *arrays)  # in place, because a running fit may use that memory
        else:
            network = self._network_of(*arrays)
        return self._hold(network)

    def _network_of(self, coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> Network:
        """A network for the estimator's current parameters, with these weights."""
        sizes = [coefs[0].shape[0], *(W.shape[1] for W in coefs)]
        network = self._make_network(sizes, coefs[0].dtype)
        _fill(network, coefs, intercepts)
        return network

    def _hold(self, network: Network) -> Network:
        """Let fitted attributes view the network's parameters."""
        named = network.named_parameters()
        self.coefs_ = [view for name, view in named.items() if name.endswith(".W")]
        self.intercepts_ = [view for name, view in named.items() if name.endswith(".b")]
        self._held = network, (*self.coefs_, *self.intercepts_)
        self._dtype_name = network.dtype.name
        return network

    def _kept_network(self) -> Network | None:
        """The existing network, if weights and parameters have not been set since it was made."""
        network, views = self.__dict__.get("_held") or (None, ())
        made_with = self.__dict__.get("_made_with")
        if network is None or not made_with or made_with != self._network_parameters():
            return None
        if (network.n_features, network.n_outputs) != (self.n_features_in_, self.n_outputs_):
            return None  # to be refused
        is_same = _are_same(self.coefs_, self.intercepts_, views)
        is_good = network.loss == self._loss() and np.isfinite(network.params).all()
        return network if is_same and is_good else None

    def _network_parameters(self) -> tuple[Any, ...] | None:
        """The parameters (not sizes and loss) that determine a network, if comparable."""
        found = [getattr(self, name) for name in _SHAPE_NETWORK]
        found = [tuple(value) if isinstance(value, list) else value for value in found]
        names = found[0] if isinstance(found[0], tuple) else found[:1]
        # An object might have changed within.
        return tuple(found) if all(isinstance(name, str) for name in names) else None

    def _make_network(self, sizes: list[int], dtype: np.dtype) -> Network:
        n_hidden, where = len(sizes) - 2, type(self).__name__
        activations = parameters.per_layer(where, "activation", self.activation, n_hidden)
        rates = parameters.per_layer(where, "dropout", self.dropout, n_hidden)
        layers: list[Layer] = []
        for n_in, n_out, activation, rate in zip(
            sizes, sizes[1:-1], activations, rates, strict=False
        ):
            layers += [
                Dense(n_in, n_out, initializer="zeros", max_norm=self.max_norm),
                parameters.activation_of(activation),
            ]
            if rate > 0:
                layers.append(Dropout(float(rate)))
        layers.append(Dense(sizes[-2], sizes[-1], initializer="zeros"))
        alpha, ratio, loss = float(self.alpha), float(self.l1_ratio), self._loss()
        for layer in layers:
            if not can_compile([layer], loss):
                raise InputTypeError(
                    where, "activations that have a kernel", type(layer).__name__,
                    "use a Network, or write kernel = compiled_activation(rule)",
                )  # fmt: skip
        self._made_with = self._network_parameters()
        return Network(layers, loss, dtype, 0, l1=alpha * ratio, l2=alpha * (1 - ratio))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        self._owns_memory = False  # a shallow copy shares it
        for name in _MADE_AGAIN:
            state.pop(name, None)
        if self._progress is not None:
            state["_progress"] = dict(vars(self._progress))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_progress" in state:
            state = {**state, "_progress": Progress(**state["_progress"])}
        super().__setstate__(state)


def _are_same(coefs: Any, intercepts: Any, views: tuple[np.ndarray, ...]) -> bool:
    """Whether the lists hold exactly these arrays, in order."""
    try:
        found = [*coefs, *intercepts]
    except TypeError:  # something else than a list was assigned
        return False
    return len(found) == len(views) and all(map(operator.is_, found, views))


def dense_layers(network: Network) -> list[Dense]:
    return [layer for layer in network.layers if isinstance(layer, Dense)]


def _sizes(layers: list[Any]) -> list[tuple[int, ...]]:
    """Shapes of the weights of layers, or of arrays."""
    return [getattr(layer, "W", layer).shape for layer in layers]


def _fill(network: Network, coefs: list[np.ndarray], intercepts: list[np.ndarray]) -> None:
    for layer, W, b in zip(dense_layers(network), coefs, intercepts, strict=True):
        layer.W, layer.b = W, b
