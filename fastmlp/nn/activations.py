"""Activations: each class names the rule for its values and slopes, and its option.

To add an activation, write a rule in `kernels.rules.activations` and a class here; see
docs/extending/activation.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import InputTypeError
from ..inputs import checks
from ..kernels.compiler.calls import Kernel, check_declared
from ..kernels.compiler.memory import address_of
from ..kernels.interfaces import ACTIVATION
from ..kernels.rules import activations as rules
from ..kernels.rules.activations import activation
from ..registry import only_number
from .layer import LAYERS, Layer


class Activation(Layer):
    """Base of all activations: an element-wise function and its slope, computed by one rule.

    Your own activation derives from this and sets `name` and `kernel = compiled_activation(rule)`;
    it then runs in the compiled loop. The only field of a dataclass is the rule's `alpha`.

    Attributes
    ----------
    kernel : Kernel
        Both functions, compiled: `forward` gives f(X) and keeps f'(X), `backward` gives dY f'(X).

    Raises
    ------
    InputTypeError
        When a class is defined whose `kernel` is not a compiled rule.

    Examples
    --------
    >>> import math
    >>> from fastmlp import Activation, compiled_activation
    >>> def snake(z, alpha):
    ...     return z + math.sin(z) ** 2, 1.0 + math.sin(2 * z)
    >>> class Snake(Activation):
    ...     name = "snake"
    ...     kernel = compiled_activation(snake)
    >>> Snake().forward([[0.0, 1.0]]).round(4)
    array([[0.    , 1.7081]])
    """

    kernel: ClassVar[Kernel]
    keeps_width: ClassVar[bool] = True
    _slope: np.ndarray | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_declared(cls, ACTIVATION, "compiled_activation")

    def __getstate__(self) -> dict[str, Any]:
        """The state without values kept from the last batch."""
        return {key: value for key, value in super().__getstate__().items() if key != "_slope"}

    @property
    def option(self) -> float:
        """The number passed to the kernel's rule, its `alpha`; 0 if there is none."""
        return only_number(self)

    def forward(self, X: np.ndarray, training: bool = False) -> np.ndarray:
        if not hasattr(self, "kernel"):
            raise InputTypeError(
                type(self).__name__, "a kernel, or methods forward and backward", "neither",
                "write kernel = compiled_activation(rule)",
            )  # fmt: skip
        values = self._input(X).copy()
        slope = np.empty_like(values)
        n, dtype = values.size, values.dtype
        self.kernel(
            address_of(values, "values", dtype, n, written=True),
            address_of(slope, "slopes", dtype, n, written=True),
            n, float(self.option), dtype.type(1),
        )  # fmt: skip
        self._slope = slope
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
    kernel: ClassVar[Kernel] = activation(rules.identity)


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
    kernel: ClassVar[Kernel] = activation(rules.relu)


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
    kernel: ClassVar[Kernel] = activation(rules.leaky_relu)
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        checks.number("LeakyReLU", "negative_slope", self.negative_slope)


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
    kernel: ClassVar[Kernel] = activation(rules.elu)
    alpha: float = 1.0

    def __post_init__(self) -> None:
        checks.number("ELU", "alpha", self.alpha, 0)


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
    kernel: ClassVar[Kernel] = activation(rules.selu)


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
    kernel: ClassVar[Kernel] = activation(rules.gelu)


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
    kernel: ClassVar[Kernel] = activation(rules.silu)


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
    kernel: ClassVar[Kernel] = activation(rules.mish)


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
    kernel: ClassVar[Kernel] = activation(rules.softplus)


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
    kernel: ClassVar[Kernel] = activation(rules.sigmoid)


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
    kernel: ClassVar[Kernel] = activation(rules.tanh)


ACTIVATIONS = tuple(layer for layer in LAYERS if issubclass(layer, Activation))


@LAYERS.register
@dataclass
class Cosine(Activation):
    """Cosine, which makes periodic features of numbers.

    Notes
    -----
    f(z) = cos(z), f'(z) = -sin(z). After a `GroupedDense` of single columns it gives the periodic
    embeddings of `nn.NumberEmbedding`.

    References
    ----------
    Rahimi and Recht, "Random features for large-scale kernel machines", NeurIPS 2007.

    Examples
    --------
    >>> import math
    >>> from fastmlp import Cosine
    >>> Cosine().forward([[0.0, math.pi]])
    array([[ 1., -1.]])
    """

    name: ClassVar[str] = "cosine"
    kernel: ClassVar[Kernel] = activation(rules.cosine)


@LAYERS.register
@dataclass
class Rescaling(Activation):
    """Multiplies by a constant: as the first layer it lets a network take pixels as bytes.

    There it costs almost nothing, because it is done while a batch is converted. It is a part of
    the network in files and predictors as well.

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
    kernel: ClassVar[Kernel] = activation(rules.rescaling)
    scale: float = 1 / 255

    def __post_init__(self) -> None:
        checks.number("Rescaling", "scale", self.scale)
