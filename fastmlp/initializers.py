"""Initial weights: each rule draws a matrix (n_in, n_out) whose scale fits the layer's sizes.

Xavier/Glorot keeps variances with symmetric activations, He with rectifiers, LeCun with SELU;
`default_for` picks by the activation that follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from . import checks
from .registry import Registry

INITIALIZERS: Registry[Initializer] = Registry("initializer")


class Initializer:
    """Base of all initializers; derive from it and define `draw` to add one."""

    name: ClassVar[str]

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        """A new matrix (n_in, n_out) of float64."""
        raise NotImplementedError

    def parameter_scale(self, n_in: int) -> float:
        """Weight per unit of the parameter that the optimizer is meant to see; 1 but for NTK."""
        return 1.0


def _uniform(rng: np.random.Generator, n_in: int, n_out: int, variance: float) -> np.ndarray:
    limit = np.sqrt(3.0 * variance)  # the variance of U(-a, a) is a^2 / 3
    return rng.uniform(-limit, limit, (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform with variance 2 / (n_in + n_out), also called Xavier (Glorot and Bengio, 2010)."""

    name: ClassVar[str] = "glorot_uniform"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return _uniform(rng, n_in, n_out, 2.0 / max(n_in + n_out, 1))


@INITIALIZERS.register
@dataclass(frozen=True)
class GlorotNormal(Initializer):
    """Normal with variance 2 / (n_in + n_out), also called Xavier (Glorot and Bengio, 2010)."""

    name: ClassVar[str] = "glorot_normal"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, np.sqrt(2.0 / max(n_in + n_out, 1)), (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform with variance 2 / n_in (He et al., 2015)."""

    name: ClassVar[str] = "he_uniform"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return _uniform(rng, n_in, n_out, 2.0 / n_in)


@INITIALIZERS.register
@dataclass(frozen=True)
class HeNormal(Initializer):
    """Normal with variance 2 / n_in (He et al., 2015)."""

    name: ClassVar[str] = "he_normal"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, np.sqrt(2.0 / n_in), (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class LeCunUniform(Initializer):
    """Uniform with variance 1 / n_in (LeCun et al., 1998)."""

    name: ClassVar[str] = "lecun_uniform"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return _uniform(rng, n_in, n_out, 1.0 / n_in)


@INITIALIZERS.register
@dataclass(frozen=True)
class LeCunNormal(Initializer):
    """Normal with variance 1 / n_in (LeCun et al., 1998)."""

    name: ClassVar[str] = "lecun_normal"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, np.sqrt(1.0 / n_in), (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class Normal(Initializer):
    """Normal with the standard deviation `scale`, whatever the sizes; 0.1 is the seed's."""

    name: ClassVar[str] = "normal"
    scale: float = 0.1

    def __post_init__(self) -> None:
        checks.number("Normal", "scale", self.scale, 0)

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, self.scale, (n_in, n_out))


@INITIALIZERS.register
@dataclass(frozen=True)
class NTK(Initializer):
    """Neural tangent parametrisation: W = V / sqrt(n_in), V standard normal (Jacot et al., 2018).

    The network stores W; its steps are scaled so that W moves as if the optimizer had moved V: by
    1 / sqrt(n_in) where steps do not depend on the gradient's scale (Adam), by 1 / n_in else (SGD).
    """

    name: ClassVar[str] = "ntk"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return rng.normal(0.0, self.parameter_scale(n_in), (n_in, n_out))

    def parameter_scale(self, n_in: int) -> float:
        return 1.0 / float(np.sqrt(n_in))


@INITIALIZERS.register
@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros; right for biases and for an output layer that is to start without opinion."""

    name: ClassVar[str] = "zeros"

    def draw(self, rng: np.random.Generator, n_in: int, n_out: int) -> np.ndarray:
        return np.zeros((n_in, n_out))


def default_for(activation: str) -> Initializer:
    """What suits the activation that follows, by its registered name."""
    if activation in ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus"):
        return HeUniform()
    if activation == "selu":
        return LeCunNormal()
    return GlorotUniform()
