"""Layers: Dense, the activations and Dropout, each with `forward` and `backward` on mini-batches.

A layer describes itself (sizes, options) and, once bound, holds views into its network's flat
parameters; what it computes is done by the same kernels as in the fused step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import checks, initializers
from .errors import InputError, counted
from .initializers import INITIALIZERS, Initializer
from .kernels import activations, matmul, random, sparse
from .kernels.jit import address_of
from .kernels.tiles import tile_width
from .registry import Registry, specification
from .tables import is_sparse, table_of

LAYERS: Registry[Layer] = Registry("layer")


class Layer:
    """Base of all layers.

    A layer of your own derives from this, defines `forward` and `backward` in plain NumPy and, if
    it has parameters, `parameter_shapes` and `initialize`. It then works in any network at once.

    Attributes
    ----------
    n_in, n_out : int or None
        Columns of the input and the output, known once the layer is built.
    parameters, gradients : dict of str to ndarray
        Views by name; writing to them changes the network.

    Examples
    --------
    >>> class Double(Layer):
    ...     name = "double"
    ...     def forward(self, X, training=False):
    ...         return 2 * X
    ...     def backward(self, dY):
    ...         return 2 * dY
    >>> Double().forward(np.ones((1, 2)))
    array([[2., 2.]])
    """

    name: ClassVar[str] = "layer"
    n_in: int | None = None
    n_out: int | None = None
    is_taken = False  # by a network, whose parameters it then views

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __getstate__(self) -> dict[str, Any]:
        """A copy of a layer is free for a network of its own."""
        return {key: value for key, value in self.__dict__.items() if key != "is_taken"}

    def build(self, n_in: int) -> int:
        """Learn the number of input columns; returns the number of output columns."""
        if self.n_in is not None and self.n_in != n_in:
            raise InputError(
                repr(self),
                f"an input of {counted(self.n_in, 'column')}",
                f"{n_in}",
                "make sizes of neighbouring layers match",
            )
        self.n_in = n_in
        if self.n_out is None:
            self.n_out = n_in
        return self.n_out

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter by name; the layer is built by then."""
        return {}

    def initialize(self, rng: np.random.Generator) -> None:
        """Write initial values into `self.parameters`."""

    def bind(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray]) -> None:
        """Take views into the network's flat vectors as this layer's parameters and gradients."""
        self.parameters, self.gradients = parameters, gradients

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        """Outputs (n, n_out) for inputs (n, n_in), keeping what `backward` will need."""
        raise NotImplementedError

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """Gradient with respect to the last inputs, given that of the outputs.

        Gradients of parameters are written into `self.gradients`.
        """
        raise NotImplementedError

    def specification(self) -> dict[str, Any]:
        """The layer without its parameters as plain data, for model files."""
        spec: dict[str, Any] = specification(self)
        return spec if isinstance(spec, dict) else {"name": self.name}

    def _input(self, X: Any) -> np.ndarray:
        """X as a contiguous float matrix of the width the layer expects."""
        values = checks.matrix(f"{self!r}.forward", "X", X, self.n_in)
        return np.ascontiguousarray(values, checks.compute_type(values.dtype))

    def _incoming(self, dY: Any, wanted: np.ndarray) -> np.ndarray:
        """dY as a contiguous matrix of the shape and type of the last outputs."""
        values = np.ascontiguousarray(dY, wanted.dtype)
        if values.shape != wanted.shape:
            raise InputError(
                f"{self!r}.backward",
                f"dY of shape {wanted.shape}, as the last outputs",
                f"{values.shape}",
                "call forward on the same batch first",
            )
        return values

    def _before_forward(self) -> InputError:
        return InputError(
            f"{self!r}.backward", "a forward pass before it", "none", "call forward(X) first"
        )


@LAYERS.register
class Dense(Layer):
    """A fully connected layer, Z = X W + b.

    Parameters
    ----------
    n_in : int
        Input columns. `Dense(n_out)` leaves them open until the first data.
    n_out : int
        Units.
    initializer : str or Initializer, default by the activation that follows
        Initial weights: He for rectifiers, LeCun for SELU, Glorot else.
    bias_initializer : str or Initializer, default "zeros"
        Initial biases.
    max_norm : float, optional
        Largest Euclidean norm of the incoming weights of a unit, enforced after each step.

    Attributes
    ----------
    W, dW : ndarray of shape (n_in, n_out)
        Weights and their gradient, views into the network's flat vectors. Setting copies.
    b, db : ndarray of shape (n_out,)
        Biases and their gradient.

    Examples
    --------
    >>> layer = Dense(3, 2, initializer="zeros")
    >>> layer.forward(np.ones((4, 3))).shape
    (4, 2)
    >>> layer.backward(np.ones((4, 2))).shape, layer.dW[0]
    ((4, 3), array([4., 4.]))
    """

    name = "dense"

    def __init__(
        self,
        n_in: int,
        n_out: int | None = None,
        *,
        initializer: str | Initializer | None = None,
        bias_initializer: str | Initializer = "zeros",
        max_norm: float | None = None,
    ) -> None:
        sizes = (n_in,) if n_out is None else (n_in, n_out)
        for size in sizes:
            checks.whole_number("Dense", "its sizes", size, 1, 2**31 - 1)
        self.n_in, self.n_out = (None, n_in) if n_out is None else (n_in, n_out)
        self.initializer = (
            None if initializer is None else INITIALIZERS.make(initializer, Initializer)
        )
        self.bias_initializer = INITIALIZERS.make(bias_initializer, Initializer)
        if max_norm is not None:
            checks.number("Dense", "max_norm", max_norm, 0, low_open=True)
        self.max_norm = max_norm
        self.default_initializer: Initializer = initializers.GlorotUniform()
        self.parameters: dict[str, np.ndarray] = {}
        self._X: np.ndarray | None = None

    def __repr__(self) -> str:
        sizes = [str(size) for size in (self.n_in, self.n_out) if size is not None]
        return f"Dense({', '.join(sizes)})"

    def specification(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "n_in": self.n_in,
            "n_out": self.n_out,
            "initializer": specification(self.initializer),
            "bias_initializer": specification(self.bias_initializer),
            "max_norm": self.max_norm,
        }

    @property
    def used_initializer(self) -> Initializer:
        """The chosen initializer, or the default for the activation that follows."""
        return self.initializer if self.initializer is not None else self.default_initializer

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        assert self.n_out is not None
        return {"W": (self.n_in, self.n_out), "b": (self.n_out,)}

    def initialize(self, rng: np.random.Generator) -> None:
        n_in, n_out = self.parameters["W"].shape
        self.W = self.used_initializer.draw(rng, n_in, n_out)
        self.b = self.bias_initializer.draw(rng, 1, n_out)[0]

    def initialize_alone(self, n_in: int, dtype: Any = np.float64, random_state: Any = 0) -> None:
        """Give a layer outside any network parameters of its own."""
        self.build(n_in)
        shapes = self.parameter_shapes()
        size = n_in * shapes["b"][0]
        memory = {key: np.zeros(size + shapes["b"][0], dtype) for key in ("params", "grads")}
        views = [
            {"W": flat[:size].reshape(shapes["W"]), "b": flat[size:]} for flat in memory.values()
        ]
        self.bind(*views)
        self.initialize(np.random.default_rng(checks.seed("Dense", random_state)))

    @property
    def W(self) -> np.ndarray:
        return self._parameter("W")

    @W.setter
    def W(self, values: Any) -> None:
        self._parameter("W")[...] = values

    @property
    def b(self) -> np.ndarray:
        return self._parameter("b")

    @b.setter
    def b(self, values: Any) -> None:
        self._parameter("b")[...] = values

    @property
    def dW(self) -> np.ndarray:
        self._parameter("W")
        return self.gradients["W"]

    @property
    def db(self) -> np.ndarray:
        self._parameter("b")
        return self.gradients["b"]

    def _parameter(self, key: str) -> np.ndarray:
        if not self.parameters:
            raise InputError(
                repr(self),
                "a layer that knows its input columns",
                "one that does not yet",
                "call forward, fit or Network.build first",
            )
        return self.parameters[key]

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        """Z = X W + b for X (n, n_in)."""
        X = (
            checks.matrix(f"{self!r}.forward", "X", X, self.n_in)
            if is_sparse(X)
            else self._input(X)
        )
        if not self.parameters:
            self.initialize_alone(X.shape[1], checks.compute_type(X.dtype))
        dtype = self.W.dtype
        (n, n_in), n_out = X.shape, self.b.size
        Z, order = np.empty((n, n_out), dtype), _positions(n)
        if is_sparse(X):
            self._X = X
            table = table_of(X, dtype)
            sparse.sparse_forward(
                address_of(table.values), address_of(table.indices), address_of(table.indptr),
                address_of(order), 0, n, 0, n_out, address_of(self.W), address_of(self.b), n_in,
                n_out, address_of(Z), dtype.type(1),
            )  # fmt: skip
            return Z
        X, panel = np.ascontiguousarray(X, dtype), _panel(n_in, Z)
        matmul.dense_forward(
            address_of(X), n_in * X.itemsize, address_of(order), 0, n, 0, n_out,
            address_of(self.W), address_of(self.b), n_in, n_out, address_of(Z), address_of(panel),
            X.dtype.type(1),
        )  # fmt: skip
        self._X = X
        return Z

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """dX = dY W^T for dY (n, n_out); writes dW = X^T dY and db, the sum of dY's rows."""
        if self._X is None:
            raise self._before_forward()
        X, W, n = self._X, self.W, self._X.shape[0]
        (n_in, n_out), one = W.shape, W.dtype.type(1)
        dY = self._incoming(dY, np.broadcast_to(W[:1], (n, n_out)))
        order, panel = _positions(n), _panel(n_out, W)
        rows, index = address_of(dY), address_of(order)
        if is_sparse(X):
            table = table_of(X, W.dtype)
            sparse.sparse_weight_gradient(
                address_of(table.values), address_of(table.indices), address_of(table.indptr),
                index, n, rows, 0, n_in, 0, n_out, n_out, address_of(self.dW), one,
            )  # fmt: skip
        else:
            matmul.weight_gradient(
                address_of(X), n_in * X.itemsize, index, n, rows, n_out,
                tile_width(one) * one.itemsize, n_in, n_out, address_of(self.dW), n_out, one,
            )  # fmt: skip
        matmul.bias_gradient(rows, n, 0, n_out, n_out, address_of(self.db), one)
        dX, zeros = np.empty((n, n_in), W.dtype), np.zeros(tile_width(one), W.dtype)
        matmul.input_gradient(
            rows, index, 0, n, 0, n_in, address_of(self.W), n_in, n_out, address_of(zeros),
            address_of(dX), address_of(panel), one,
        )  # fmt: skip
        return dX


def _positions(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int32)


def _panel(depth: int, like: np.ndarray) -> np.ndarray:
    """Scratch memory for a packed panel."""
    return np.empty(depth * tile_width(like.dtype.type(1)), like.dtype)


class Activation(Layer):
    """Base of the built-in activations: an element-wise function and its slope.

    `code` is the kernel's rule, `option` its one number where it has one.
    """

    code: ClassVar[int]
    _slope: np.ndarray | None = None

    @property
    def option(self) -> float:
        return 0.0

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        """f(X), keeping the slope f'(X)."""
        values = self._input(X).copy()
        self._slope = np.empty_like(values)
        activations.activate(self.code, self.option, values.reshape(-1), self._slope.reshape(-1))
        return values

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """dX = dY f'(X)."""
        if self._slope is None:
            raise self._before_forward()
        return self._slope * self._incoming(dY, self._slope)


@LAYERS.register
@dataclass
class Identity(Activation):
    """f(z) = z."""

    name: ClassVar[str] = "identity"
    code: ClassVar[int] = activations.IDENTITY


@LAYERS.register
@dataclass
class ReLU(Activation):
    """f(z) = max(z, 0) (Nair and Hinton, 2010); its slope at 0 is 0."""

    name: ClassVar[str] = "relu"
    code: ClassVar[int] = activations.RELU


@LAYERS.register
@dataclass
class LeakyReLU(Activation):
    """f(z) = z, or `negative_slope` z below zero (Maas et al., 2013)."""

    name: ClassVar[str] = "leaky_relu"
    code: ClassVar[int] = activations.LEAKY_RELU
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        checks.number("LeakyReLU", "negative_slope", self.negative_slope)

    @property
    def option(self) -> float:
        return float(self.negative_slope)


@LAYERS.register
@dataclass
class ELU(Activation):
    """f(z) = z, or `alpha` (exp(z) - 1) below zero (Clevert et al., 2016)."""

    name: ClassVar[str] = "elu"
    code: ClassVar[int] = activations.ELU
    alpha: float = 1.0

    def __post_init__(self) -> None:
        checks.number("ELU", "alpha", self.alpha, 0)

    @property
    def option(self) -> float:
        return float(self.alpha)


@LAYERS.register
@dataclass
class SELU(Activation):
    """ELU scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017)."""

    name: ClassVar[str] = "selu"
    code: ClassVar[int] = activations.SELU


@LAYERS.register
@dataclass
class GELU(Activation):
    """f(z) = z P(N(0, 1) <= z), by the error function (Hendrycks and Gimpel, 2016)."""

    name: ClassVar[str] = "gelu"
    code: ClassVar[int] = activations.GELU


@LAYERS.register
@dataclass
class SiLU(Activation):
    """f(z) = z sigmoid(z), also called swish (Elfwing et al., 2018)."""

    name: ClassVar[str] = "silu"
    code: ClassVar[int] = activations.SILU


@LAYERS.register
@dataclass
class Mish(Activation):
    """f(z) = z tanh(log(1 + exp(z))) (Misra, 2020)."""

    name: ClassVar[str] = "mish"
    code: ClassVar[int] = activations.MISH


@LAYERS.register
@dataclass
class Softplus(Activation):
    """f(z) = log(1 + exp(z)) (Dugas et al., 2001)."""

    name: ClassVar[str] = "softplus"
    code: ClassVar[int] = activations.SOFTPLUS


@LAYERS.register
@dataclass
class Sigmoid(Activation):
    """f(z) = 1 / (1 + exp(-z))."""

    name: ClassVar[str] = "sigmoid"
    code: ClassVar[int] = activations.SIGMOID


@LAYERS.register
@dataclass
class Tanh(Activation):
    """f(z) = tanh(z)."""

    name: ClassVar[str] = "tanh"
    code: ClassVar[int] = activations.TANH


ACTIVATIONS = tuple(layer for layer in LAYERS if issubclass(layer, Activation))


@LAYERS.register
@dataclass
class Rescaling(Activation):
    """f(z) = `scale` z: as the first layer it lets a network take pixels as bytes.

    There it costs next to nothing, being done while a batch is converted, and it goes with the
    network into files and predictors.

    Examples
    --------
    >>> Rescaling(1 / 255).forward(np.array([[0, 255]], np.uint8))
    array([[0., 1.]])
    """

    name: ClassVar[str] = "rescaling"
    code: ClassVar[int] = activations.RESCALING
    scale: float = 1 / 255

    def __post_init__(self) -> None:
        checks.number("Rescaling", "scale", self.scale)

    @property
    def option(self) -> float:
        return float(self.scale)


@LAYERS.register
@dataclass
class Dropout(Layer):
    """In training, zero each input with probability `rate` and scale the rest by 1 / (1 - rate).

    Which inputs are dropped depends on the network's seed, the layer's position and the step only
    (Srivastava et al., 2014; "inverted", so that prediction needs no scaling).
    """

    name: ClassVar[str] = "dropout"
    rate: float = 0.5

    def __post_init__(self) -> None:
        checks.number("Dropout", "rate", self.rate, 0, 1, high_open=True)
        self.seed, self.stream, self.step = 0, 1, -1
        self._dropped = False

    def at_step(self, seed: int, stream: int, step: int) -> None:
        """Say which random numbers the next forward pass uses; else they move on by themselves."""
        self.seed, self.stream, self.step = seed, stream, step - 1

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        """X as it is, or with a part dropped if `training`."""
        values = self._input(X).copy()
        self._dropped = training and self.rate > 0
        self._last = values
        if self._dropped:
            self.step += 1
            self._drop(values)
        return values

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """dY where the input was kept, scaled alike; 0 where it was dropped."""
        if not hasattr(self, "_last"):
            raise self._before_forward()
        values = self._incoming(dY, self._last).copy()
        if self._dropped:
            self._drop(values)
        return values

    def _drop(self, values: np.ndarray) -> None:
        key = np.uint64(random.stream_key(self.seed, self.stream, self.step))
        random.drop(values.reshape(-1), self.rate, key, 0)


def chain_sizes(layers: list[Layer], n_in: int) -> int:
    """Build all layers one after the other; returns the width of the last one's output."""
    for i, layer in enumerate(layers):
        n_in = layer.build(n_in)
        if isinstance(layer, Dense):
            after = layers[i + 1].name if i + 1 < len(layers) else Identity.name
            layer.default_initializer = initializers.default_for(after)
    return n_in
