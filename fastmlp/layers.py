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
    >>> import numpy as np
    >>> from fastmlp import Layer
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
        """Learn the number of input columns.

        Parameters
        ----------
        n_in : int
            Columns of the inputs.

        Returns
        -------
        int
            Columns of the outputs.

        Raises
        ------
        InputError
            If the layer was made, or built before, for another number.
        """
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
        """Shape of each parameter by name; the layer is built by then.

        Returns
        -------
        dict of str to tuple of int
            Empty for layers without parameters.
        """
        return {}

    def initialize(self, rng: np.random.Generator) -> None:
        """Write initial values into `self.parameters`.

        Parameters
        ----------
        rng : numpy Generator
            Source of random values.
        """

    def bind(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray]) -> None:
        """Take views into the network's flat vectors as this layer's parameters and gradients.

        Parameters
        ----------
        parameters, gradients : dict of str to ndarray
            One array of each name and shape that `parameter_shapes` lists.
        """
        self.parameters, self.gradients = parameters, gradients

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        """Outputs for a batch of inputs, keeping what `backward` will need.

        Parameters
        ----------
        X : array of shape (n, n_in)
            Inputs; `Dense` also takes a sparse matrix.
        training : bool, default False
            Whether to do what is done in training only, as dropout is.

        Returns
        -------
        ndarray of shape (n, n_out)
            Float32 or float64: as the parameters or, without any, as X; float64 for integers.

        Raises
        ------
        InputError
            For inputs of another width or not finite, in built-in layers.
        """
        raise NotImplementedError

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """Gradient of a loss with respect to the last inputs, given that of the outputs.

        Gradients of parameters are written into `self.gradients`.

        Parameters
        ----------
        dY : array of shape (n, n_out)
            Gradient with respect to the outputs.

        Returns
        -------
        ndarray of shape (n, n_in)
            Gradient with respect to the inputs.

        Raises
        ------
        InputError
            Without a forward pass before, or for another shape, in built-in layers.
        """
        raise NotImplementedError

    def specification(self) -> dict[str, Any]:
        """The layer without its parameters as plain data, for model files.

        Returns
        -------
        dict
            Its registered name as "name", and its options.
        """
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
    """A fully connected layer.

    Parameters
    ----------
    n_in : int
        Input columns. `Dense(n_out)` leaves them open until the first data.
    n_out : int, optional
        Units.
    initializer : str or Initializer, optional
        Initial weights; by default what suits the activation that follows: He for rectifiers, LeCun
        for SELU, Glorot else (see `fastmlp.initializers`).
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

    Raises
    ------
    InputError
        For sizes below 1, an unknown initializer or a `max_norm` that is not above 0.

    Notes
    -----
    Z = X W + b, and backwards dX = dY W^T, dW = X^T dY, db = the sum of dY's rows.

    References
    ----------
    Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
    Nature 323, 1986.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense
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
        """Give a layer outside any network parameters of its own.

        Parameters
        ----------
        n_in : int
            Columns of the inputs.
        dtype : {"float32", "float64"} or numpy dtype, default "float64"
            Type of the parameters.
        random_state : int, numpy Generator or None, default 0
            Seed of the initial values.

        Raises
        ------
        InputError
            If the layer is made for another number of columns, or for a bad seed.
        """
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
        """Weights."""
        return self._parameter("W")

    @W.setter
    def W(self, values: Any) -> None:
        self._parameter("W")[...] = values

    @property
    def b(self) -> np.ndarray:
        """Biases."""
        return self._parameter("b")

    @b.setter
    def b(self, values: Any) -> None:
        self._parameter("b")[...] = values

    @property
    def dW(self) -> np.ndarray:
        """Gradient of the weights."""
        self._parameter("W")
        return self.gradients["W"]

    @property
    def db(self) -> np.ndarray:
        """Gradient of the biases."""
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

    `forward` gives f(X) and keeps f'(X), `backward` gives dY f'(X). `code` is the kernel's rule.
    """

    code: ClassVar[int]
    _slope: np.ndarray | None = None

    @property
    def option(self) -> float:
        """The one number of the kernel's rule; 0 where there is none."""
        return 0.0

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        values = self._input(X).copy()
        self._slope = np.empty_like(values)
        activations.activate(self.code, self.option, values.reshape(-1), self._slope.reshape(-1))
        return values

    def backward(self, dY: np.ndarray) -> np.ndarray:
        if self._slope is None:
            raise self._before_forward()
        return self._slope * self._incoming(dY, self._slope)


@LAYERS.register
@dataclass
class Identity(Activation):
    """Linear activation, which changes nothing.

    Notes
    -----
    f(z) = z, f'(z) = 1.

    Examples
    --------
    >>> from fastmlp import Identity
    >>> Identity().forward([[-1.0, 2.0]])
    array([[-1.,  2.]])
    """

    name: ClassVar[str] = "identity"
    code: ClassVar[int] = activations.IDENTITY


@LAYERS.register
@dataclass
class ReLU(Activation):
    """Rectified linear unit.

    Notes
    -----
    f(z) = max(z, 0); f'(z) = 1 above 0, else 0.

    References
    ----------
    Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.

    Examples
    --------
    >>> from fastmlp import ReLU
    >>> ReLU().forward([[-1.0, 2.0]])
    array([[0., 2.]])
    """

    name: ClassVar[str] = "relu"
    code: ClassVar[int] = activations.RELU


@LAYERS.register
@dataclass
class LeakyReLU(Activation):
    """Rectified linear unit that leaks below zero.

    Parameters
    ----------
    negative_slope : float, default 0.01
        Slope below zero.

    Raises
    ------
    InputError
        For a number that is not finite.

    Notes
    -----
    f(z) = z above 0, else negative_slope z; f'(z) = 1 above 0, else negative_slope.

    References
    ----------
    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models",
    ICML workshop on deep learning for audio, speech and language processing, 2013.

    Examples
    --------
    >>> from fastmlp import LeakyReLU
    >>> LeakyReLU(0.1).forward([[-1.0, 2.0]])
    array([[-0.1,  2. ]])
    """

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
    """Exponential linear unit.

    Parameters
    ----------
    alpha : float, default 1.0
        How far below zero outputs can go.

    Raises
    ------
    InputError
        For a number that is negative or not finite.

    Notes
    -----
    f(z) = z above 0, else alpha (exp(z) - 1); f'(z) = 1 above 0, else alpha exp(z).

    References
    ----------
    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential
    linear units (ELUs)", ICLR 2016.

    Examples
    --------
    >>> from fastmlp import ELU
    >>> ELU().forward([[-1.0, 2.0]]).round(4)
    array([[-0.6321,  2.    ]])
    """

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
    """ELU scaled so that activations keep mean 0 and variance 1.

    Notes
    -----
    f(z) = scale z above 0, else scale alpha (exp(z) - 1), and f'(z) = scale above 0, else
    scale alpha exp(z), with scale = 1.0507... and alpha = 1.6733...

    References
    ----------
    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks", NIPS 2017.

    Examples
    --------
    >>> from fastmlp import SELU
    >>> SELU().forward([[-1.0, 2.0]]).round(4)
    array([[-1.1113,  2.1014]])
    """

    name: ClassVar[str] = "selu"
    code: ClassVar[int] = activations.SELU


@LAYERS.register
@dataclass
class GELU(Activation):
    """Gaussian error linear unit, exact rather than by tanh.

    Notes
    -----
    f(z) = z P(z) and f'(z) = P(z) + z p(z), with P(z) = (1 + erf(z / sqrt(2))) / 2 and
    p(z) = exp(-z^2 / 2) / sqrt(2 pi) of the normal distribution.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415, 2016.

    Examples
    --------
    >>> from fastmlp import GELU
    >>> GELU().forward([[-1.0, 2.0]]).round(4)
    array([[-0.1587,  1.9545]])
    """

    name: ClassVar[str] = "gelu"
    code: ClassVar[int] = activations.GELU


@LAYERS.register
@dataclass
class SiLU(Activation):
    """Sigmoid linear unit, also called swish.

    Notes
    -----
    f(z) = z s and f'(z) = s (1 + z (1 - s)), with s = 1 / (1 + exp(-z)).

    References
    ----------
    Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", Neural Networks 107, 2018.

    Ramachandran, Zoph and Le, "Searching for activation functions", arXiv:1710.05941, 2017.

    Examples
    --------
    >>> from fastmlp import SiLU
    >>> SiLU().forward([[-1.0, 2.0]]).round(4)
    array([[-0.2689,  1.7616]])
    """

    name: ClassVar[str] = "silu"
    code: ClassVar[int] = activations.SILU


@LAYERS.register
@dataclass
class Mish(Activation):
    """Mish, a smooth relative of SiLU.

    Notes
    -----
    f(z) = z t and f'(z) = t + z s (1 - t^2), with t = tanh(log(1 + exp(z))) and
    s = 1 / (1 + exp(-z)).

    References
    ----------
    Misra, "Mish: A self regularized non-monotonic activation function", BMVC 2020
    (arXiv:1908.08681, 2019).

    Examples
    --------
    >>> from fastmlp import Mish
    >>> Mish().forward([[-1.0, 2.0]]).round(4)
    array([[-0.3034,  1.944 ]])
    """

    name: ClassVar[str] = "mish"
    code: ClassVar[int] = activations.MISH


@LAYERS.register
@dataclass
class Softplus(Activation):
    """A smooth ReLU.

    Notes
    -----
    f(z) = log(1 + exp(z)), f'(z) = 1 / (1 + exp(-z)).

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau and Garcia, "Incorporating second-order functional knowledge
    for better option pricing", NIPS 2000.

    Examples
    --------
    >>> from fastmlp import Softplus
    >>> Softplus().forward([[-1.0, 2.0]]).round(4)
    array([[0.3133, 2.1269]])
    """

    name: ClassVar[str] = "softplus"
    code: ClassVar[int] = activations.SOFTPLUS


@LAYERS.register
@dataclass
class Sigmoid(Activation):
    """Logistic function, from 0 to 1.

    Notes
    -----
    f(z) = 1 / (1 + exp(-z)), f'(z) = f(z) (1 - f(z)).

    References
    ----------
    Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
    Nature 323, 1986.

    Examples
    --------
    >>> from fastmlp import Sigmoid
    >>> Sigmoid().forward([[-1.0, 2.0]]).round(4)
    array([[0.2689, 0.8808]])
    """

    name: ClassVar[str] = "sigmoid"
    code: ClassVar[int] = activations.SIGMOID


@LAYERS.register
@dataclass
class Tanh(Activation):
    """Hyperbolic tangent, from -1 to 1.

    Notes
    -----
    f(z) = tanh(z), f'(z) = 1 - f(z)^2.

    References
    ----------
    LeCun, Bottou, Orr and Müller, "Efficient BackProp", in Neural Networks: Tricks of the Trade,
    1998.

    Examples
    --------
    >>> from fastmlp import Tanh
    >>> Tanh().forward([[-1.0, 2.0]]).round(4)
    array([[-0.7616,  0.964 ]])
    """

    name: ClassVar[str] = "tanh"
    code: ClassVar[int] = activations.TANH


ACTIVATIONS = tuple(layer for layer in LAYERS if issubclass(layer, Activation))


@LAYERS.register
@dataclass
class Rescaling(Activation):
    """Multiplies by a constant: as the first layer it lets a network take pixels as bytes.

    There it costs next to nothing, being done while a batch is converted, and it goes with the
    network into files and predictors.

    Parameters
    ----------
    scale : float, default 1 / 255
        The factor.

    Raises
    ------
    InputError
        For a number that is not finite.

    Notes
    -----
    f(z) = scale z, f'(z) = scale.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Rescaling
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
    """In training, drops each input at random and scales the rest to make up for it.

    Which inputs are dropped depends on the network's seed, the layer's position and the step only.
    Outside of training the layer changes nothing.

    Parameters
    ----------
    rate : float in [0, 1), default 0.5
        Probability of being dropped.

    Raises
    ------
    InputError
        For a rate out of range.

    Notes
    -----
    y = 0 with probability rate, else x / (1 - rate); the slope is 0 or 1 / (1 - rate) alike.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: A simple way to prevent
    neural networks from overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dropout
    >>> found = Dropout(0.5).forward(np.ones((10, 100)), training=True)
    >>> np.unique(found), bool(400 < (found == 0).sum() < 600)
    (array([0., 2.]), True)
    """

    name: ClassVar[str] = "dropout"
    rate: float = 0.5

    def __post_init__(self) -> None:
        checks.number("Dropout", "rate", self.rate, 0, 1, high_open=True)
        self.seed, self.stream, self.step = 0, 1, -1
        self._dropped = False

    def at_step(self, seed: int, stream: int, step: int) -> None:
        """Say which random numbers the next forward pass uses; else they move on by themselves.

        Parameters
        ----------
        seed : int
            The network's seed.
        stream : int
            The layer's number.
        step : int
            Steps done before, by all epochs.
        """
        self.seed, self.stream, self.step = seed, stream, step - 1

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        values = self._input(X).copy()
        self._dropped = training and self.rate > 0
        self._last = values
        if self._dropped:
            self.step += 1
            self._drop(values)
        return values

    def backward(self, dY: np.ndarray) -> np.ndarray:
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
