"""Losses: what is minimised, over which kind of target, and the link from outputs to predictions.

A loss sees the linear outputs of the last layer. Values are means over the samples of a batch,
weighted by sample_weight, and over the outputs of a sample where there are several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from . import checks
from .errors import InputError
from .kernels import losses as kernels
from .kernels.jit import address_of, address_or_0
from .registry import Registry

LOSSES: Registry[Loss] = Registry("loss")

Task = Literal["classes", "binary", "regression"]


class Loss:
    """Base of all losses.

    A loss of your own derives from this, sets `task`, and defines `value_and_gradient` and, if
    outputs are not predictions, `link`, in plain NumPy.

    Attributes
    ----------
    task : {"classes", "binary", "regression"}
        How targets are read: one of several classes; yes or no, once or for several labels;
        numbers.
    """

    name: ClassVar[str] = "loss"
    task: ClassVar[Task] = "regression"

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Mean loss of a batch and its gradient with respect to the outputs.

        Parameters
        ----------
        outputs : ndarray of shape (n, n_outputs)
            Linear outputs of the network.
        targets : ndarray of shape (n, n_outputs)
            Numbers, or one-hot rows for classes.
        sample_weight : ndarray of shape (n,)
            Weights, which the mean is taken with.

        Returns
        -------
        float, ndarray of shape (n, n_outputs)
        """
        raise NotImplementedError

    def link(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities or predicted numbers from linear outputs (n, n_outputs)."""
        return outputs


class BuiltInLoss(Loss):
    """A loss that has a kernel: its code, its link's code and its one option."""

    code: ClassVar[int]
    link_code: ClassVar[int] = kernels.LINK_IDENTITY

    @property
    def option(self) -> float:
        return 0.0

    def levels_as(self, dtype: np.dtype) -> np.ndarray:
        """Quantile levels; empty for losses that have none."""
        return np.empty(0, dtype)

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        dtype = outputs.dtype
        outputs = np.ascontiguousarray(outputs)
        dense = np.ascontiguousarray(targets, dtype).reshape(-1)
        return self.rows(outputs, np.empty(0, np.int32), dense, np.asarray(sample_weight, dtype))

    def rows(
        self,
        outputs: np.ndarray,
        labels: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        total: float = 0.0,
    ) -> tuple[float, np.ndarray]:
        """As `value_and_gradient`, for targets in the kernels' form (see `kernels.plan.Data`).

        A `total` above 0 replaces the sum of the weights, for a part of a larger batch.
        """
        n, n_out = outputs.shape
        one = outputs.dtype.type(1)
        order, levels = np.arange(n, dtype=np.int32), self.levels_as(outputs.dtype)
        gradient, row_losses = np.empty_like(outputs), np.empty(n)
        if total <= 0:
            total = kernels.total_weight(order, address_or_0(weights), one)
        kernels.loss_rows(
            self.code, self.option, address_of(levels), levels.size, address_of(outputs), n_out,
            order, 0, n, address_or_0(labels), address_or_0(targets), address_or_0(weights), total,
            address_of(gradient), address_of(row_losses), one,
        )  # fmt: skip
        return float(kernels.sum_rows(address_of(row_losses), n)), gradient

    def link(self, outputs: np.ndarray) -> np.ndarray:
        linked, totals = np.array(outputs, order="C"), np.empty(outputs.shape[0])
        n, n_out = linked.shape
        kernels.link_rows(
            self.link_code, address_of(linked), n_out, n, address_of(totals), linked.dtype.type(1)
        )
        return linked


@dataclass(frozen=True)
class _Smoothed(BuiltInLoss):
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        checks.number(
            type(self).__name__, "label_smoothing", self.label_smoothing, 0, 1, high_open=True
        )

    @property
    def option(self) -> float:
        return float(self.label_smoothing)


@LOSSES.register
@dataclass(frozen=True)
class SoftmaxCrossEntropy(_Smoothed):
    """-sum_j t_j log p_j with p = softmax(z): one class of several.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default 0
        Part of the target spread evenly over all classes (Szegedy et al., 2016).

    Notes
    -----
    Gradient p - t (Bridle, 1990). The maximum is subtracted before exponentials.
    """

    name: ClassVar[str] = "softmax_cross_entropy"
    task: ClassVar[Task] = "classes"
    code: ClassVar[int] = kernels.SOFTMAX_CROSS_ENTROPY
    link_code: ClassVar[int] = kernels.LINK_SOFTMAX


@LOSSES.register
@dataclass(frozen=True)
class BinaryCrossEntropy(_Smoothed):
    """-t log p - (1 - t) log(1 - p) with p = sigmoid(z), per output: two classes or many labels.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default 0
        How far targets are drawn from 0 and 1 towards 1/2.
    """

    name: ClassVar[str] = "binary_cross_entropy"
    task: ClassVar[Task] = "binary"
    code: ClassVar[int] = kernels.BINARY_CROSS_ENTROPY
    link_code: ClassVar[int] = kernels.LINK_SIGMOID


@LOSSES.register
@dataclass(frozen=True)
class MeanSquaredError(BuiltInLoss):
    """(z - t)^2, for the mean of the target."""

    name: ClassVar[str] = "mean_squared_error"
    code: ClassVar[int] = kernels.MEAN_SQUARED_ERROR


@LOSSES.register
@dataclass(frozen=True)
class MeanAbsoluteError(BuiltInLoss):
    """``|z - t|``, for the median of the target."""

    name: ClassVar[str] = "mean_absolute_error"
    code: ClassVar[int] = kernels.MEAN_ABSOLUTE_ERROR


@LOSSES.register
@dataclass(frozen=True)
class Huber(BuiltInLoss):
    """Half the squared error up to `delta`, linear beyond, so outliers pull less (Huber, 1964)."""

    name: ClassVar[str] = "huber"
    code: ClassVar[int] = kernels.HUBER
    delta: float = 1.0

    def __post_init__(self) -> None:
        checks.number("Huber", "delta", self.delta, 0, low_open=True)

    @property
    def option(self) -> float:
        return float(self.delta)


@LOSSES.register
@dataclass(frozen=True)
class Quantile(BuiltInLoss):
    """Pinball loss, for quantiles of the target (Koenker and Bassett, 1978).

    Parameters
    ----------
    levels : float or sequence of float in (0, 1), default 0.5
        With m levels the network needs m outputs for each target column; output j m + k is target
        j's quantile at level k.
    """

    name: ClassVar[str] = "quantile"
    code: ClassVar[int] = kernels.QUANTILE
    levels: tuple[float, ...] = (0.5,)

    def __post_init__(self) -> None:
        levels: Any = self.levels
        levels = tuple(
            checks.number("Quantile", "levels", level, 0, 1, low_open=True, high_open=True)
            for level in ((levels,) if np.ndim(levels) == 0 else levels)
        )
        if not levels:
            raise InputError("Quantile", "at least one level", "none", "pass levels=0.5, say")
        object.__setattr__(self, "levels", levels)

    def levels_as(self, dtype: np.dtype) -> np.ndarray:
        return np.array(self.levels, dtype)


@LOSSES.register
@dataclass(frozen=True)
class PoissonDeviance(BuiltInLoss):
    """2 (t log(t / mu) - t + mu) with mu = exp(z), for counts and rates of at least 0."""

    name: ClassVar[str] = "poisson_deviance"
    code: ClassVar[int] = kernels.POISSON_DEVIANCE
    link_code: ClassVar[int] = kernels.LINK_EXP
