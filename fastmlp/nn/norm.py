"""Normalisation: LayerNorm for rows, BatchNorm for columns.

Both then scale and shift each column by learned numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..inputs import checks
from ..kernels.ops import batch_norm, layer_norm
from ..kernels.ops.kind import Kind
from .compiled_layer import CompiledLayer
from .layer import LAYERS


class _Norm(CompiledLayer):
    """Common base: a `weight` and a `bias` per column, with initial values 1 and 0."""

    keeps_width: ClassVar[bool] = True
    is_before_activation: ClassVar[bool] = True

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        return {"weight": (self.n_in,), "bias": (self.n_in,)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.parameters["weight"][...], self.parameters["bias"][...] = 1, 0


@LAYERS.register
@dataclass
class LayerNorm(_Norm):
    """Normalises each row to mean 0 and variance 1, then scales and shifts its columns.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Added to the variance, so that a row of equal numbers does not divide by 0.

    Raises
    ------
    InputError
        For an epsilon that is not above 0.

    Notes
    -----
    y = weight (x - mean) / sqrt(variance + epsilon) + bias, with the row's mean and its variance
    (the mean of squares, not the unbiased one). Parameters "weight" and "bias" of shape (n_in,)
    begin as 1 and 0; penalties and weight decay do not apply to them. Sums are computed in float64.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450, 2016.

    Examples
    --------
    >>> from fastmlp import LayerNorm
    >>> LayerNorm().forward([[1.0, 2.0, 3.0]]).round(3)
    array([[-1.225,  0.   ,  1.225]])
    """

    name: ClassVar[str] = "layer_norm"
    kind: ClassVar[Kind] = layer_norm.KIND
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        checks.number("LayerNorm", "epsilon", self.epsilon, 0, low_open=True)

    @property
    def options(self) -> tuple[float, ...]:
        return (float(self.epsilon),)


@LAYERS.register
@dataclass
class BatchNorm(_Norm):
    """Normalises each column to mean 0 and variance 1 over the batch, then scales and shifts it.

    Outside of training, running averages of mean and variance are used instead of the batch's. They
    are in `buffers` as "mean" and "variance", and saved with the parameters.

    Parameters
    ----------
    epsilon : float, default 1e-5
        Added to the variance, so that a column of equal numbers does not divide by 0.
    momentum : float in (0, 1], default 0.1
        How far each batch moves the running averages towards its own.

    Raises
    ------
    InputError
        For an epsilon that is not above 0, and a momentum out of range.

    Notes
    -----
    y = weight (x - mean) / sqrt(variance + epsilon) + bias. A batch is normalised by its variance
    as the mean of squares; the running average uses the unbiased variance. Sample weights do not
    count in either. `Network.loss_and_gradient` treats the running averages as constants, as
    predictions do. Parameters "weight" and "bias" of shape (n_in,) begin as 1 and 0; penalties and
    weight decay do not apply to them.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization: Accelerating deep network training by reducing internal
    covariate shift", ICML 2015.

    Examples
    --------
    >>> from fastmlp import BatchNorm
    >>> layer = BatchNorm()
    >>> layer.forward([[1.0], [3.0]], training=True).round(3)
    array([[-1.],
           [ 1.]])
    >>> layer.buffers["mean"], layer.buffers["variance"]
    (array([0.2]), array([1.1]))
    """

    name: ClassVar[str] = "batch_norm"
    kind: ClassVar[Kind] = batch_norm.KIND
    epsilon: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        checks.number("BatchNorm", "epsilon", self.epsilon, 0, low_open=True)
        checks.number("BatchNorm", "momentum", self.momentum, 0, 1, low_open=True)

    @property
    def options(self) -> tuple[float, ...]:
        return float(self.epsilon), float(self.momentum)

    def initialize_from(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self.initialize(rng)
        values = self.forward(X, training=True)  # by the statistics of X, as in training
        self.initialize_buffers()
        return values

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        assert self.n_in is not None
        return {"mean": (self.n_in,), "variance": (self.n_in,)}

    def initialize_buffers(self) -> None:
        self.buffers["mean"][...], self.buffers["variance"][...] = 0, 1
