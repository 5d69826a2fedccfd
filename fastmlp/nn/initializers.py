"""Initial weights: each rule draws a matrix (n_in, n_out) whose scale fits the layer's sizes.

Xavier/Glorot keeps variances with symmetric activations, He with rectifiers, LeCun with SELU;
`default_for` chooses by the activation that follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..inputs import checks
from ..registry import Registry

__all__ = [
    "NTK",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HePlus",
    "HeUniform",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Uniform",
    "UnitVariance",
    "Zeros",
]

_OTHER_NAMES = {
    **dict.fromkeys(("glorot", "xavier", "xavier_uniform"), "glorot_uniform"),
    "xavier_normal": "glorot_normal",
    **dict.fromkeys(("he", "kaiming", "kaiming_uniform"), "he_uniform"),
    "kaiming_normal": "he_normal",
    "lecun": "lecun_normal",
    **dict.fromkeys(("gaussian", "random_normal"), "normal"),
    "zero": "zeros",
    **dict.fromkeys(("std", "lsuv"), "unit_variance"),
    "he+5": "he_plus",
}

_ROUNDING = 1e-6

INITIALIZERS: Registry[Initializer] = Registry("initializer", _OTHER_NAMES)


class Initializer:
    """Base of all initializers; derive from it and define `draw` to add one.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, initializers
    >>> class Identity(initializers.Initializer):
    ...     def draw(self, rng, n_in, n_out):
    ...         return np.eye(n_in, n_out)
    >>> Dense(2, 2, initializer=Identity()).forward(np.array([[3.0, 4.0]]))
    array([[3., 4.]])
    """

    name: ClassVar[str]

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        """A new matrix of weights.

        Parameters
        ----------
        rng : numpy Generator
            Source of random values.
        n_in, n_out : int
            Inputs and units of the layer.

        Returns
        -------
        ndarray of shape (n_in, n_out)
            Float64.
        """
        raise NotImplementedError

    def draw_for(self, rng: np.random.Generator, X: np.ndarray, n_out: int) -> np.ndarray:
        """Weights for some inputs of the layer; by default, they do not depend on them.

        Parameters
        ----------
        rng : numpy Generator
            Source of random values.
        X : ndarray of shape (n, n_in)
            The inputs.
        n_out : int
            Units of the layer.

        Returns
        -------
        ndarray of shape (n_in, n_out)
            Float64.
        """
        return self.draw(rng, X.shape[1], n_out)

    def draw_for_outputs(self, rng: np.random.Generator, Z: np.ndarray) -> np.ndarray:
        """Biases for some outputs without them; by default, they do not depend on these.

        Parameters
        ----------
        rng : numpy Generator
            Source of random values.
        Z : ndarray of shape (n, n_out)
            The outputs.

        Returns
        -------
        ndarray of shape (n_out,)
            Float64.
        """
        return self.draw(rng, 1, Z.shape[1])[0]

    def parameter_scale(self, n_in: int) -> float:
        """Weight per unit of the parameter that the optimizer should see.

        Parameters
        ----------
        n_in : int
            Inputs of the layer.

        Returns
        -------
        float
            1 for all but `NTK` and `UnitVariance`.
        """
        return 1.0


def _uniform(rng: np.random.Generator, n_in: int, n_out: int, variance: float) -> np.ndarray:
    limit = np.sqrt(3.0 * variance)  # the variance of U(-a, a) is a^2 / 3
    return rng.uniform(-limit, limit, (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform numbers that keep variances with symmetric activations; also called Xavier.

    Notes
    -----
    W ~ U(-a, a) with a = sqrt(6 / (n_in + n_out)), of variance 2 / (n_in + n_out).

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.GlorotUniform().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.06)
    """

    name: ClassVar[str] = "glorot_uniform"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return _uniform(rng, n_in, n_out, 2.0 / max(n_in + n_out, 1))


@INITIALIZERS.register
@dataclass(frozen=True)
class GlorotNormal(Initializer):
    """Normal numbers that keep variances with symmetric activations; also called Xavier.

    Notes
    -----
    W ~ N(0, variance) with variance = 2 / (n_in + n_out).

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.GlorotNormal().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.06)
    """

    name: ClassVar[str] = "glorot_normal"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, np.sqrt(2.0 / max(n_in + n_out, 1)), (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform numbers that keep variances with rectifiers.

    Notes
    -----
    W ~ U(-a, a) with a = sqrt(6 / n_in), of variance 2 / n_in.

    References
    ----------
    He, Zhang, Ren and Sun, "Delving deep into rectifiers: Surpassing human-level performance on
    ImageNet classification", ICCV 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.HeUniform().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.07)
    """

    name: ClassVar[str] = "he_uniform"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return _uniform(rng, n_in, n_out, 2.0 / n_in)


@INITIALIZERS.register
@dataclass(frozen=True)
class HeNormal(Initializer):
    """Normal numbers that keep variances with rectifiers.

    Notes
    -----
    W ~ N(0, variance) with variance = 2 / n_in.

    References
    ----------
    He, Zhang, Ren and Sun, "Delving deep into rectifiers: Surpassing human-level performance on
    ImageNet classification", ICCV 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.HeNormal().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.07)
    """

    name: ClassVar[str] = "he_normal"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class LeCunUniform(Initializer):
    """Uniform numbers that keep variances in the forward pass.

    Notes
    -----
    W ~ U(-a, a) with a = sqrt(3 / n_in), of variance 1 / n_in.

    References
    ----------
    LeCun, Bottou, Orr and Müller, "Efficient BackProp", in Neural Networks: Tricks of the Trade,
    1998.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.LeCunUniform().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.05)
    """

    name: ClassVar[str] = "lecun_uniform"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return _uniform(rng, n_in, n_out, 1.0 / n_in)


@INITIALIZERS.register
@dataclass(frozen=True)
class LeCunNormal(Initializer):
    """Normal numbers that keep variances in the forward pass, as SELU requires.

    Notes
    -----
    W ~ N(0, variance) with variance = 1 / n_in.

    References
    ----------
    LeCun, Bottou, Orr and Müller, "Efficient BackProp", in Neural Networks: Tricks of the Trade,
    1998.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.LeCunNormal().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.05)
    """

    name: ClassVar[str] = "lecun_normal"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, np.sqrt(1.0 / n_in), (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class Normal(Initializer):
    """Normal numbers with a scale that does not depend on the layer's sizes.

    Parameters
    ----------
    scale : float, default 0.1
        Standard deviation.

    Raises
    ------
    InputError
        For a scale below 0.

    Notes
    -----
    W ~ N(0, variance) with variance = scale^2. The default is that of the published algorithm in
    `fastmlp.reference`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.Normal().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.1)
    """

    name: ClassVar[str] = "normal"
    scale: float = 0.1

    def __post_init__(self) -> None:
        checks.number("Normal", "scale", self.scale, 0)

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, self.scale, (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform numbers with a limit that does not depend on the layer's sizes.

    Parameters
    ----------
    limit : float, default 0.1
        Largest absolute value.

    Raises
    ------
    InputError
        For a limit below 0.

    Notes
    -----
    W ~ U(-limit, limit), of variance = limit^2 / 3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.Uniform(3.0).draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 1.73)
    """

    name: ClassVar[str] = "uniform"
    limit: float = 0.1

    def __post_init__(self) -> None:
        checks.number("Uniform", "limit", self.limit, 0)

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return _uniform(rng, n_in, n_out, self.limit**2 / 3.0)


@INITIALIZERS.register
@dataclass(frozen=True)
class NTK(Initializer):
    """Normal numbers in the neural tangent parametrisation.

    Parameters
    ----------
    gain : float, default 1.0
        Factor of the numbers; 0 for an output layer that should start with neutral predictions.

    Raises
    ------
    InputError
        For a gain below 0.

    Notes
    -----
    W = V / sqrt(n_in) with V ~ N(0, gain^2). The network stores W; its steps are scaled so that W
    moves as if the optimizer had moved V: by 1 / sqrt(n_in) if steps do not depend on the
    gradient's scale (Adam), otherwise by 1 / n_in (SGD).

    References
    ----------
    Jacot, Gabriel and Hongler, "Neural tangent kernel: Convergence and generalization in neural
    networks", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.NTK().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.05)
    """

    name: ClassVar[str] = "ntk"
    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.number(type(self).__name__, "gain", self.gain, 0)

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, self.gain * self.parameter_scale(n_in), (n_in, n_out))

    def parameter_scale(self, n_in: int) -> float:
        return 1.0 / float(np.sqrt(n_in))


@INITIALIZERS.register
@dataclass(frozen=True)
class UnitVariance(NTK):
    """Normal numbers, scaled so that each unit has outputs of variance 1 on the data.

    `Network.initialize` passes the data; without it, weights are those of `NTK`.

    Parameters
    ----------
    gain : float, default 1.0
        The standard deviation that outputs shall have.

    Raises
    ------
    InputError
        For a gain below 0.

    Notes
    -----
    W = gain V / std(X V) with V ~ N(0, 1), with the deviation of each column. A unit whose
    outputs are all equal keeps the weights of `NTK`. Steps are scaled as in `NTK`.

    References
    ----------
    Mishkin and Matas, "All you need is a good init", ICLR 2016, and Holzmüller, Grinsztajn and
    Steinwart, "Better by default: Strong pre-tuned MLPs and boosted trees on tabular data",
    NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(0.0, 7.0, (50, 400))
    >>> W = initializers.UnitVariance().draw_for(rng, X, 200)
    >>> W.shape, bool(np.allclose((X @ W).std(axis=0), 1.0))
    ((400, 200), True)
    """

    name: ClassVar[str] = "unit_variance"

    def draw_for(self, rng: np.random.Generator, X: np.ndarray, n_out: int) -> np.ndarray:
        W = NTK().draw(rng, X.shape[1], n_out)
        Z = X.astype(np.float64) @ W
        deviations = Z.std(axis=0)
        varies = deviations > _ROUNDING * np.abs(Z).max(axis=0)  # not only by rounding
        return self.gain * W / np.where(varies, deviations, 1.0)


@INITIALIZERS.register
@dataclass(frozen=True)
class HePlus(Initializer):
    """Biases that put each unit's zero inside the data: among the outputs of random samples.

    `Network.initialize` passes the data; without it, outputs are taken for standard normal.

    Parameters
    ----------
    count : int, default 5
        How many samples are averaged, with random weights.

    Raises
    ------
    InputError
        For a count below 1.

    Notes
    -----
    b_j = -sum_i w_i z_ij, with z_ij the output of unit j for the i-th of `count` random samples and
    weights w drawn uniformly from those that are positive and sum to 1.

    References
    ----------
    Steinwart, "A sober look at neural network initializations", arXiv:1903.11482, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.uniform(2.0, 3.0, (50, 200))
    >>> b = initializers.HePlus().draw_for_outputs(rng, Z)
    >>> b.shape, bool(-3.0 < b.min() < b.max() < -2.0)
    ((200,), True)
    """

    name: ClassVar[str] = "he_plus"
    count: int = 5

    def __post_init__(self) -> None:
        checks.whole_number("HePlus", "count", self.count, 1)

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return np.array([
            self.draw_for_outputs(rng, rng.normal(size=(self.count, n_out))) for _ in range(n_in)
        ])  # fmt: skip

    def draw_for_outputs(self, rng: np.random.Generator, Z: np.ndarray) -> np.ndarray:
        n, n_out = Z.shape
        weights = rng.exponential(size=(self.count, n_out))
        chosen = Z[rng.integers(n, size=(self.count, n_out)), np.arange(n_out)]
        mean: np.ndarray = (weights * chosen).sum(axis=0) / weights.sum(axis=0)
        return -mean


@INITIALIZERS.register
@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros, for biases, and for an output layer that should start with neutral predictions.

    Notes
    -----
    W = 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import initializers
    >>> W = initializers.Zeros().draw(np.random.default_rng(0), 400, 200)
    >>> W.shape, round(float(W.std()), 2)
    ((400, 200), 0.0)
    """

    name: ClassVar[str] = "zeros"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return np.zeros((n_in, n_out))


def default_for(activation: str) -> Initializer:
    """The initializer that suits the activation that follows, given its registered name."""
    if activation in ("relu", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish", "softplus"):
        return HeUniform()
    if activation == "selu":
        return LeCunNormal()
    return GlorotUniform()
