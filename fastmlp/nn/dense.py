"""Dense: the products of mini-batches with a weight matrix, forward and backward.

W and b are views that the network provides; the kernels are those of the fused step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..inputs import checks
from ..inputs.tables import is_sparse, table_of
from ..kernels.compiler.calls import Kernel
from ..kernels.compiler.memory import address_of, laid_out
from ..kernels.products import blocking, matmul, narrow, sparse
from ..kernels.products.tiles import tile_width
from ..kernels.tuning import FEW_COLUMNS
from ..kernels.views import Block, Csr, Inputs, Matrix, Panels, Tools, Weights
from ..registry import specification
from . import initializers
from .initializers import INITIALIZERS, Initializer
from .layer import LAYERS, Layer


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
        for SELU, Glorot else (see `fastmlp.nn.initializers`).
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
    _X: np.ndarray | None = None  # of the last forward pass

    def __init__(
        self,
        n_in: int,
        n_out: int | None = None,
        *,
        initializer: str | Initializer | None = None,
        bias_initializer: str | Initializer = "zeros",
        max_norm: float | None = None,
    ) -> None:
        # As Python's numbers: NumPy's small integers overflow when sizes are multiplied.
        sizes = [
            checks.whole_number("Dense", "its sizes", size, 1, 2**31 - 1)
            for size in ((n_in,) if n_out is None else (n_in, n_out))
        ]
        self.n_in, self.n_out = (None, *sizes) if n_out is None else sizes
        self.initializer = (
            None if initializer is None else INITIALIZERS.make(initializer, Initializer)
        )
        self.bias_initializer = INITIALIZERS.make(bias_initializer, Initializer)
        if max_norm is not None:
            checks.number("Dense", "max_norm", max_norm, 0, low_open=True)
        self.max_norm = max_norm
        self.default_initializer: Initializer = initializers.GlorotUniform()
        self.parameters: dict[str, np.ndarray] = {}

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

    def step_scale(self, key: str) -> float:
        return self.used_initializer.parameter_scale(self.n_in or 1) if key == "W" else 1.0

    def initialize_from(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n_out = self.b.size
        self.W, self.b = self.used_initializer.draw_for(rng, X, n_out), 0.0
        self.b = self.bias_initializer.draw_for_outputs(rng, self.forward(X))
        return self.forward(X)

    @property
    def W(self) -> np.ndarray:
        """Weights."""
        return self._parameter("W")

    @W.setter
    def W(self, values: Any) -> None:
        self._set_parameter("W", values)

    @property
    def b(self) -> np.ndarray:
        """Biases."""
        return self._parameter("b")

    @b.setter
    def b(self, values: Any) -> None:
        self._set_parameter("b", values)

    def _set_parameter(self, key: str, values: Any) -> None:
        """Copy numbers in: an array of the same shape, or one number for all."""
        checks.assign(f"{self!r}.{key}", self._parameter(key), values)

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
        (n, n_in), n_out = X.shape, self.b.size
        dtype, weights, biases = self.W.dtype, *self._addresses(n_in, n_out)
        Z, order, panel = np.empty((n, n_out), dtype), _positions(n), _panel(n_in, n_out, dtype)
        outputs = address_of(Z, "outputs", dtype, n * n_out, written=True)
        index = address_of(order, "positions", np.int32, n)
        space = address_of(panel, "a panel", dtype, panel.size, written=True)
        if is_sparse(X):
            self._X, table = X, table_of(X, dtype)
            product = sparse.sparse_forward_to_one if n_out == 1 else sparse.sparse_forward
            product(
                Csr(*table.addresses()), index, Block(0, n, 0, n_out),
                Weights(weights, n_out, biases, n_in, n_out), outputs, space, dtype.type(1),
            )  # fmt: skip
            return Z
        X = laid_out(X, dtype)
        inputs = Inputs(address_of(X, "X", dtype, n * n_in), n_in * X.itemsize, index)
        forward_for(n_in, n_out, dtype)(
            Tools(product_for(n_out).address(dtype), 0, index, space), inputs,
            Block(0, n, 0, n_out),
            Weights(weights, n_out, biases, n_in, n_out), Matrix(outputs, n_out), dtype.type(1),
        )  # fmt: skip
        self._X = X
        return Z

    def backward(self, dY: np.ndarray) -> np.ndarray:
        if self._X is None:
            raise self._before_forward()
        X, W, n = self._X, self.W, self._X.shape[0]
        (n_in, n_out), dtype, one = W.shape, W.dtype, W.dtype.type(1)
        dY = self._incoming(dY, np.broadcast_to(W[:1], (n, n_out)))
        order, panel = _positions(n), _panel(n_in, n_out, dtype)
        few = n_out <= FEW_COLUMNS
        rows = address_of(dY, "dY", dtype, n * n_out)
        index = address_of(order, "positions", np.int32, n)
        dW = address_of(self.dW, "dW", dtype, n_in * n_out, written=True)
        if is_sparse(X):
            table = table_of(X, dtype)
            sparse.sparse_weight_gradient(
                Csr(*table.addresses()), index, n, Matrix(rows, n_out), Block(0, n_in, 0, n_out),
                Matrix(dW, n_out), one,
            )  # fmt: skip
        else:
            inputs = Inputs(address_of(X, "X", dtype, n * n_in), n_in * X.itemsize, index)
            slopes = Panels(rows, n_out, tile_width(one) * one.itemsize)
            gradient = gradient_for_few(n_out) if few else matmul.weight_gradient
            gradient(inputs, n, slopes, n_in, n_out, Matrix(dW, n_out), one)
        db = address_of(self.db, "db", dtype, n_out, written=True)
        matmul.bias_gradient(rows, n, 0, n_out, n_out, db, one)
        dX, zeros = np.empty((n, n_in), dtype), np.zeros(tile_width(one), dtype)
        tools = Tools(
            0 if few else matmul.product_of_panel.address(dtype),
            address_of(zeros, "zeros", dtype, zeros.size),
            index,
            address_of(panel, "a panel", dtype, panel.size, written=True),
        )
        weights, _ = self._addresses(n_in, n_out)
        input_gradient_for(n_out)(
            tools, Inputs(rows, n_out * one.itemsize, index), Block(0, n, 0, n_in),
            Weights(weights, n_out, 0, n_in, n_out),
            Matrix(address_of(dX, "dX", dtype, n * n_in, written=True), n_in), one,
        )  # fmt: skip
        return dX

    def _addresses(self, n_in: int, n_out: int) -> tuple[int, int]:
        """Addresses of W and b, after checking that they still have these sizes."""
        dtype = checks.float_type(repr(self), self.W.dtype)
        W = address_of(self.W, f"{self!r}.W", dtype, n_in * n_out)
        return W, address_of(self.b, f"{self!r}.b", dtype, n_out)


def product_for(n_out: int) -> Kernel:
    """The kernel that multiplies with panels of a W with `n_out` columns."""
    return narrow.product_of_one if n_out == 1 else matmul.product_of_panel


def forward_for(n_in: int, n_out: int, dtype: np.dtype) -> Any:
    """The forward product of a layer."""
    packs = blocking.packs_weights(n_in, n_out, dtype.itemsize)
    return matmul.dense_forward_packed if packs else matmul.dense_forward


def input_gradient_for(n_out: int) -> Any:
    """The product for the gradient of the inputs."""
    return (narrow if n_out <= FEW_COLUMNS else matmul).input_gradient


def gradient_for_few(n_out: int) -> Kernel:
    """The kernel for the gradient of a W with few columns, or of the last few of many."""
    return narrow.weight_gradient_of_one if n_out == 1 else narrow.weight_gradient


def _positions(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int32)


def _panel(n_in: int, n_out: int, dtype: np.dtype) -> np.ndarray:
    """Scratch memory for packed panels."""
    return np.empty(blocking.room(n_in, n_out, dtype.itemsize), dtype)
