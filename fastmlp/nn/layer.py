"""The base class of layers: sizes, options, views into flat parameters, `forward` and `backward`.

User-defined layers derive from `Layer`; built-in ones are in `LAYERS` by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, overload

import numpy as np

from ..errors import InputError, counted
from ..inputs import checks
from ..kernels.compiler.memory import aligned_zeros, laid_out
from ..model.attributes import FixedError, Views
from ..registry import Registry, specification

_OTHER_NAMES = {
    "linear": "identity",
    "logistic": "sigmoid",
    "lrelu": "leaky_relu",
    "swish": "silu",
}

LAYERS: Registry[Layer] = Registry("layer", _OTHER_NAMES)


class Size:
    """A layer's number of columns: None until it is known, fixed once parameters exist."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, layer: None, cls: type) -> Size: ...

    @overload
    def __get__(self, layer: Layer, cls: type) -> int | None: ...

    def __get__(self, layer: Layer | None, cls: type) -> Size | int | None:
        return self if layer is None else layer.__dict__.get(self.name)

    def __set__(self, layer: Layer, value: int | None) -> None:
        kept = vars(layer)
        if value != kept.get(self.name):
            refuse_once_bound(layer, self.name, (self.name,))
        kept[self.name] = value


def refuse_once_bound(layer: Layer, name: str, fixed: Sequence[str]) -> None:
    """Refuse another value of a size once there are parameters for it."""
    if name in fixed and isinstance(vars(layer).get("parameters"), Views):
        raise FixedError(
            f"{layer!r}.{name}", "a size that is only read", "another one",
            "make a new layer for other sizes",
        )  # fmt: skip


class Layer:
    """Base of all layers.

    Your own layer derives from this, defines `forward` and `backward` in plain NumPy and, if it has
    parameters, `parameter_shapes` and `initialize`. It then works in any network.

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
    keeps_width: ClassVar[bool] = False  # whether it always returns as many columns as it gets
    is_before_activation: ClassVar[bool] = False  # whether an activation still follows a Dense
    n_in, n_out = Size(), Size()
    is_taken = False  # whether it is part of a network, whose parameters it then views
    buffers: Mapping[str, np.ndarray] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def activation_name(self) -> str:
        """What a Dense layer before it takes as the activation that follows."""
        return self.name

    @property
    def inner(self) -> dict[str, Layer]:
        """Layers inside this one by their places; none except in `Residual` and `Columns`."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy, which belongs to no network yet."""
        return {key: value for key, value in self.__dict__.items() if key != "is_taken"}

    def build(self, n_in: int) -> int:
        """Set the number of input columns.

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
            If the layer was made or built for another number before.
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
        """Shape of each parameter by name; called after `build`.

        Returns
        -------
        dict of str to tuple of int
            Empty for layers without parameters.
        """
        return {}

    def step_scale(self, key: str) -> float:
        """Weight per unit of the parameter that the optimizer should see.

        Parameters
        ----------
        key : str
            Name of a parameter.

        Returns
        -------
        float
            1, except for initial weights in another parametrisation (`initializers.NTK`).
        """
        return 1.0

    def initialize(self, rng: np.random.Generator) -> None:
        """Write initial values into `self.parameters`.

        Parameters
        ----------
        rng : numpy Generator
            Source of random values.
        """

    def initialize_from(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Write initial values that suit some inputs, and return the outputs.

        Parameters
        ----------
        X : ndarray of shape (n, n_in)
            Inputs of the layer, in the parameters' dtype.
        rng : numpy Generator
            Source of random values.

        Returns
        -------
        ndarray of shape (n, n_out)
            As from `forward`.
        """
        self.initialize(rng)
        return self.forward(X)

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each buffer by name: numbers that are saved with a network but not trained.

        Returns
        -------
        dict of str to tuple of int
            Empty for layers without buffers; called after `build`.
        """
        return {}

    def bind_buffers(self, buffers: dict[str, np.ndarray]) -> None:
        """Use views into the network's flat vector as this layer's buffers.

        Parameters
        ----------
        buffers : dict of str to ndarray
            One array of each name and shape that `buffer_shapes` lists.
        """
        self.buffers = buffers

    def initialize_buffers(self) -> None:
        """Write initial values into `self.buffers`."""

    def bind_own_buffers(self, dtype: Any) -> None:
        """Allocate buffers for a layer outside of a network.

        Parameters
        ----------
        dtype : {"float32", "float64"} or numpy dtype
            Type of the numbers.
        """
        self.bind_buffers(_memory(self.buffer_shapes(), dtype))
        self.initialize_buffers()

    @classmethod
    def from_specification(cls, fields: dict[str, Any], make: Callable[[Any], Layer]) -> Layer:
        """Make a layer from what `specification` returned.

        Parameters
        ----------
        fields : dict
            The specification without its name.
        make : callable
            Makes an inner layer from its specification.

        Returns
        -------
        Layer
            Not built yet.
        """
        return cls(**fields)

    def initialize_alone(self, n_in: int, dtype: Any = np.float64, random_state: Any = 0) -> None:
        """Allocate and draw parameters for a layer outside of a network.

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
            If the layer was made for another number of columns, or for an invalid seed.
        """
        self.build(n_in)
        shapes = self.parameter_shapes()
        self.bind(_memory(shapes, dtype), _memory(shapes, dtype))
        self.bind_own_buffers(dtype)
        seed = checks.seed(type(self).__name__, random_state)
        self.initialize(np.random.default_rng(seed))

    def bind(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray]) -> None:
        """Use views into the network's flat vectors as this layer's parameters and gradients.

        Parameters
        ----------
        parameters, gradients : dict of str to ndarray
            One array of each name and shape that `parameter_shapes` lists.
        """
        self.parameters, self.gradients = parameters, gradients

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        """Outputs for a batch of inputs; keeps what `backward` needs.

        Parameters
        ----------
        X : array of shape (n, n_in)
            Inputs; `Dense` also takes a sparse matrix.
        training : bool, default False
            Whether to apply what is for training only, such as dropout.

        Returns
        -------
        ndarray of shape (n, n_out)
            Float32 or float64, as the parameters; without parameters as X, or float64 for integers.

        Raises
        ------
        InputError
            For inputs of another width or not finite, in built-in layers.
        """
        raise NotImplementedError

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """Gradient of a loss with respect to the last inputs, given that of the outputs.

        Gradients of the parameters are written to `self.gradients`.

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
            Without an earlier forward pass, or for another shape, in built-in layers.
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
        where = f"{self!r}.forward"
        values = checks.matrix(where, "X", checks.array(where, "X", X), self.n_in)
        return laid_out(values, checks.compute_type(values.dtype))

    def _incoming(self, dY: Any, wanted: np.ndarray) -> np.ndarray:
        """dY as a contiguous matrix of the shape and type of the last outputs."""
        where = f"{self!r}.backward"
        given = checks.numeric(where, "dY", checks.array(where, "dY", dY))
        values = laid_out(given, wanted.dtype)
        if values.shape != wanted.shape:
            raise InputError(
                where,
                f"dY of shape {wanted.shape}, as the last outputs",
                f"{values.shape}",
                "call forward on the same batch first",
            )
        return values

    def _before_forward(self) -> InputError:
        return InputError(
            f"{self!r}.backward", "a forward pass before it", "none", "call forward(X) first"
        )


def _memory(shapes: dict[str, tuple[int, ...]], dtype: Any) -> Views:
    """Views into one new array, one for each shape."""
    sizes = {key: math.prod(shape) for key, shape in shapes.items()}
    flat, views, start = aligned_zeros(sum(sizes.values()), dtype), {}, 0
    for key, size in sizes.items():
        views[key] = flat[start : start + size].reshape(shapes[key])
        start += size
    return Views(views)
