"""Losses: what is minimised, for which kind of target, and the link from outputs to predictions.

A loss gets the linear outputs of the last layer. Values are means over the samples of a batch,
weighted by sample_weight, and over the outputs of a sample if there are several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeGuard, get_args

import numpy as np

from ..errors import InputError, InputTypeError
from ..inputs import checks
from ..kernels.compiler.calls import Kernel, check_declared
from ..kernels.compiler.memory import address_of, address_or_0, index_address, laid_out
from ..kernels.interfaces import LOSS
from ..kernels.rules import elementary
from ..kernels.rules import losses as kernels
from ..kernels.views import Rows, Setting, Targets
from ..registry import Registry, only_number

_OTHER_NAMES = {
    **dict.fromkeys(
        (
            "cross_entropy", "categorical_cross_entropy", "sparse_categorical_cross_entropy",
            "softmax", "log_loss", "ce",
        ),
        "softmax_cross_entropy",
    ),
    **dict.fromkeys(
        ("bce", "bce_with_logits", "logistic", "sigmoid_cross_entropy"),
        "binary_cross_entropy",
    ),
    **dict.fromkeys(("mse", "squared_error", "l2"), "mean_squared_error"),
    **dict.fromkeys(("mae", "absolute_error", "l1"), "mean_absolute_error"),
    "smooth_l1": "huber",
    "pinball": "quantile",
    "poisson": "poisson_deviance",
}  # fmt: skip

LOSSES: Registry[Loss] = Registry("loss", _OTHER_NAMES, lambda loss: _check_own(loss))

Task = Literal["classes", "binary", "regression"]

# Other names in common use.
_TASKS = {
    "classification": "classes",
    "multiclass": "classes",
    "binary_classification": "binary",
    "multilabel": "binary",
}


class Loss:
    """Base of all losses.

    Your own loss derives from this, sets `task`, and defines `value_and_gradient` and, if outputs
    are not predictions, `link`, in plain NumPy; or it derives from `CompiledLoss`.

    Attributes
    ----------
    task : {"classes", "binary", "regression"}
        How targets are read: as one of several classes; as yes or no, for one or several labels;
        as numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Loss
    >>> class Cubic(Loss):
    ...     name = "cubic"
    ...     def value_and_gradient(self, outputs, targets, sample_weight):
    ...         weights = sample_weight[:, None] / (sample_weight.sum() * outputs.shape[1])
    ...         r = outputs - targets
    ...         return float((weights * abs(r) ** 3).sum()), 3 * weights * r * abs(r)
    >>> Cubic().value_and_gradient(np.array([[3.0]]), np.array([[1.0]]), np.ones(1))
    (8.0, array([[12.]]))
    """

    name: ClassVar[str] = "loss"
    task: ClassVar[Task] = "regression"
    n_members: int = 1  # above 1 in `MeanOfMembers`

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
            Weights of the mean.

        Returns
        -------
        value : float
            The mean over samples, and over the outputs of each.
        gradient : ndarray of shape (n, n_outputs)
            Of the mean, in the dtype of the outputs.
        """
        raise NotImplementedError

    def link(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions for outputs; the same numbers unless a loss overrides this.

        Parameters
        ----------
        outputs : ndarray of shape (n, n_outputs)
            Linear outputs of the network.

        Returns
        -------
        ndarray of shape (n, n_outputs)
            Probabilities or predicted numbers.
        """
        return outputs


def loss_of_one(loss: Loss) -> Loss:
    """The loss of each member, if there are several, or the loss itself."""
    return loss.loss if isinstance(loss, MeanOfMembers) else loss


def likeness_of(loss: CompiledLoss, dtype: np.dtype) -> tuple[Any, ...]:
    """A key that is equal for losses that compute the same."""
    levels = loss.levels_as(dtype).tobytes()
    return type(loss_of_one(loss)), loss.n_members, loss.option, levels


def linked(loss: Loss, outputs: np.ndarray) -> np.ndarray:
    """Predictions for outputs; checks that a user-defined loss returns one for each."""
    found = loss.link(outputs)
    if type(loss).link is not CompiledLoss.link and (
        np.shape(found) != outputs.shape or np.asarray(found).dtype.kind not in "biuf"
    ):
        got = "None" if found is None else f"shape {np.shape(found)} of {np.asarray(found).dtype}"
        raise InputError(
            f"{type(loss).__name__}.link", f"an array of shape {outputs.shape} of numbers", got,
            "return one prediction for each output",
        )  # fmt: skip
    return np.asarray(found)


def _check_own(loss: Loss) -> None:
    """Check that a user-defined loss defines its task and how it is computed."""
    if type(loss) is MeanOfMembers:  # of one of fastmlp's
        return
    name, task = type(loss).__name__, loss.task
    tasks = get_args(Task)
    if task not in tasks:
        meant = _TASKS.get(task) if isinstance(task, str) else None
        advice = f"write task = {meant!r}" if meant else "choose what its targets are"
        raise InputError(f"{name}.task", f"one of {', '.join(tasks)}", repr(task), advice)
    where = f"{name}.value_and_gradient"
    if type(loss).value_and_gradient is Loss.value_and_gradient:
        advice = "define value_and_gradient(self, outputs, targets, sample_weight)"
        raise InputTypeError(where, "a method", "none", advice)
    if has_kernel(loss) and not hasattr(loss, "kernel"):
        raise InputTypeError(
            f"{name}.kernel", "a compiled rule", "none", "write kernel = compiled_loss(rule)"
        )
    arguments = ("outputs", "targets", "sample_weight")
    checks.takes(where, "a method", loss.value_and_gradient, *arguments)
    checks.takes(f"{name}.link", "a method", loss.link, "outputs")


# Kernels from linear outputs to what `predict_proba` or `predict` shows.
LINKS = {
    "identity": None,
    "softmax": kernels.softmax_link,
    "sigmoid": kernels.link(elementary.sigmoid),
    "exp": kernels.link(elementary.exp),
}


class CompiledLoss(Loss):
    """Base of losses that have a kernel.

    Your own loss derives from this and sets `name`, `task` and `kernel = compiled_loss(rule)`; it
    then runs in the compiled loop. The only field of a dataclass is the rule's `option`.

    Attributes
    ----------
    kernel : Kernel
        Computes the loss of rows and its gradient.
    link_name : {"identity", "softmax", "sigmoid", "exp"}
        The function that turns linear outputs into predictions.
    link_kernel : Kernel or None
        The kernel of that function; `compiled_link(rule)` for your own link.
    reads_labels : bool
        Whether the kernel can read class labels instead of targets.

    Raises
    ------
    InputTypeError
        When a class is defined whose `kernel` is not a compiled rule.

    Examples
    --------
    >>> import math
    >>> import numpy as np
    >>> from fastmlp import CompiledLoss, compiled_loss
    >>> def log_cosh(z, t, option):
    ...     r = z - t
    ...     return math.log(math.cosh(r)), math.tanh(r)
    >>> class LogCosh(CompiledLoss):
    ...     name = "log_cosh"
    ...     kernel = compiled_loss(log_cosh)
    >>> value, slope = LogCosh().value_and_gradient([[1.0]], [[0.0]], [1.0])
    >>> round(value, 4), slope.round(4)
    (0.4338, array([[0.7616]]))
    """

    kernel: ClassVar[Kernel]
    reads_labels: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_declared(cls, LOSS, "compiled_loss")

    def kernel_for(self, has_labels: bool) -> Kernel:
        """The kernel for samples that come with labels, or with targets only.

        Parameters
        ----------
        has_labels : bool
            Whether there are labels, and the loss reads them.

        Returns
        -------
        Kernel
            Of this loss.
        """
        return self.kernel

    link_name: ClassVar[str] = "identity"

    @property
    def link_kernel(self) -> Kernel | None:
        """The kernel that turns linear outputs into predictions; None if they are predictions."""
        return LINKS[self.link_name]

    @property
    def option(self) -> float:
        """The number passed to the kernel's rule; 0 if there is none."""
        return only_number(self)

    def levels_as(self, dtype: np.dtype) -> np.ndarray:
        """Quantile levels as an array.

        Parameters
        ----------
        dtype : numpy dtype
            Of the result.

        Returns
        -------
        ndarray of shape (n_levels,)
            Empty for losses that have none.
        """
        return np.empty(0, dtype)

    def value_and_gradient(
        self, outputs: np.ndarray, targets: np.ndarray, sample_weight: np.ndarray
    ) -> tuple[float, np.ndarray]:
        where = f"{self!r}.value_and_gradient"
        given = {"outputs": outputs, "targets": targets, "sample_weight": sample_weight}
        found = {
            name: checks.numeric(where, name, checks.array(where, name, value))
            for name, value in given.items()
        }
        dtype = checks.float_type(where, found["outputs"].dtype)
        outputs, dense, weights = (laid_out(values, dtype) for values in found.values())
        return self.rows(outputs, np.empty(0, np.int32), dense.reshape(-1), weights)

    def rows(
        self,
        outputs: np.ndarray,
        labels: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        total: float = 0.0,
        row_losses: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """As `value_and_gradient`, for targets in the kernels' form (see `kernels.views.Targets`).

        Parameters
        ----------
        outputs : ndarray of shape (n, n_outputs)
            Linear outputs of the network, contiguous.
        labels : ndarray of shape (n,) or (0,)
            Class numbers, int32; empty if `targets` is given instead.
        targets : ndarray of shape (n * n_outputs,) or (0,)
            Numbers row by row, in the dtype of the outputs.
        weights : ndarray of shape (n,) or (0,)
            Sample weights; empty for equal ones.
        total : float, default 0
            If above 0, replaces the sum of the weights, for a part of a larger batch.
        row_losses : ndarray of shape (n * n_members,), optional
            Where each row's part of the value is written, float64.

        Returns
        -------
        value : float
            Mean loss of the rows.
        gradient : ndarray of shape (n, n_outputs)
            With respect to the outputs.

        Raises
        ------
        InputError
            For arrays of other types or lengths, and labels out of range.
        """
        (n, width), dtype = outputs.shape, checks.float_type(repr(self), outputs.dtype)
        n_rows, n_out = n * self.n_members, width // self.n_members
        one, levels = dtype.type(1), self.levels_as(dtype)
        order = np.arange(n, dtype=np.int32)
        of_members, scratch = np.repeat(order, self.n_members), np.array(outputs, order="C")
        gradient = np.empty_like(scratch)
        row_losses = np.empty(n_rows) if row_losses is None else row_losses
        weights_at = address_or_0(weights, "sample weights", dtype, n)
        weigh = kernels.weigh_rows.address(dtype) if weights_at else 0
        row_losses_at = address_of(row_losses, "losses", np.float64, n_rows, written=True)
        if total <= 0:
            total = kernels.total_weight(order, weights_at, one)
        places = target_addresses(self, labels, targets, n, n_out, dtype)
        levels_at = address_of(levels, "levels", dtype, levels.size)
        self.kernel_for(bool(places[0]))(
            Setting(float(self.option), levels_at, levels.size),
            address_of(scratch, "outputs", dtype, n * width, written=True), n_out,
            Rows(address_of(of_members, "order", np.int32, n_rows), 0, n_rows),
            Targets(*places, weights_at, weigh, float(total) * self.n_members),
            address_of(gradient, "gradient", dtype, n * width, written=True), row_losses_at, one,
        )  # fmt: skip
        return float(kernels.sum_rows(row_losses_at, n_rows)), gradient

    def link(self, outputs: np.ndarray) -> np.ndarray:
        linked, members = np.array(outputs, order="C"), self.n_members
        (n, width), dtype = linked.shape, checks.float_type(repr(self), linked.dtype)
        n_rows, n_out, one = n * members, width // members, dtype.type(1)
        totals, at = np.empty(n_rows), address_of(linked, "outputs", dtype, n * width, written=True)
        if self.link_kernel is not None:
            sums = address_of(totals, "sums", np.float64, n_rows, written=True)
            self.link_kernel(at, n_out, n_rows, sums, one)
        if members == 1:
            return linked
        kernels.average_members(at, n_out, members, n, one)
        return linked.reshape(-1)[: n * n_out].reshape(n, n_out).copy()


@dataclass(frozen=True)
class OutputGradient(CompiledLoss):
    """Outputs times given numbers, which are their gradient in an objective computed elsewhere.

    Not one that users choose: `training.by_hand` uses it.

    Parameters
    ----------
    factor : float
        The number of outputs turns the mean over outputs into a sum.
    """

    factor: float

    name: ClassVar[str] = "output_gradient"
    kernel: ClassVar[Kernel] = kernels.per_output(kernels.product)


def has_kernel(loss: Loss) -> TypeGuard[CompiledLoss]:
    """Whether a kernel computes the loss, as opposed to methods of a user-defined class."""
    return isinstance(loss, CompiledLoss) and all(
        getattr(type(loss), name) is getattr(CompiledLoss, name)
        for name in ("value_and_gradient", "rows")
    )


def target_addresses(
    loss: CompiledLoss,
    labels: np.ndarray,
    targets: np.ndarray,
    n: int,
    n_outputs: int,
    dtype: np.dtype,
) -> tuple[int, int]:
    """Addresses of the labels of n rows (0 if the loss does not read labels) and of targets."""
    if labels.size and loss.reads_labels:
        return index_address(labels, "labels", n, n_outputs), 0
    return 0, address_of(targets, "targets", dtype, n * n_outputs)


@dataclass(frozen=True)
class _Smoothed(CompiledLoss):
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        checks.number(
            type(self).__name__, "label_smoothing", self.label_smoothing, 0, 1, high_open=True
        )


@LOSSES.register
@dataclass(frozen=True)
class SoftmaxCrossEntropy(_Smoothed):
    """Cross-entropy of the softmax, for one class of several.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default 0
        Share of the target that is spread evenly over all classes.

    Raises
    ------
    InputError
        For a `label_smoothing` out of range.

    Notes
    -----
    loss = -sum_j t_j log p_j, with p_j = exp(z_j) / sum_i exp(z_i); its gradient is p - t where the
    targets sum to 1. Smoothing by e first replaces t_j by (1 - e) t_j + e / n_classes. The largest
    z is subtracted first, so that no exponential overflows.

    References
    ----------
    Bridle, "Probabilistic interpretation of feedforward classification network outputs, with
    relationships to statistical pattern recognition", in Neurocomputing, Springer, 1990.

    Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for computer
    vision", CVPR 2016 (label smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import SoftmaxCrossEntropy
    >>> loss, z, t = SoftmaxCrossEntropy(), np.zeros((1, 4)), np.eye(4)[:1]
    >>> loss.link(z)
    array([[0.25, 0.25, 0.25, 0.25]])
    >>> value, gradient = loss.value_and_gradient(z, t, np.ones(1))
    >>> round(value, 4), gradient
    (1.3863, array([[-0.75,  0.25,  0.25,  0.25]]))
    """

    name: ClassVar[str] = "softmax_cross_entropy"
    task: ClassVar[Task] = "classes"
    kernel: ClassVar[Kernel] = kernels.cross_entropy_of_targets
    reads_labels: ClassVar[bool] = True
    link_name: ClassVar[str] = "softmax"

    def kernel_for(self, has_labels: bool) -> Kernel:
        if not has_labels:
            return kernels.cross_entropy_of_targets
        if self.label_smoothing > 0:
            return kernels.cross_entropy_of_smooth_labels
        return kernels.cross_entropy_of_labels


@LOSSES.register
@dataclass(frozen=True)
class BinaryCrossEntropy(_Smoothed):
    """Cross-entropy of the sigmoid, for two classes or several labels at once.

    Parameters
    ----------
    label_smoothing : float in [0, 1), default 0
        How far targets are moved from 0 and 1 towards 1/2.

    Raises
    ------
    InputError
        For a `label_smoothing` out of range.

    Notes
    -----
    loss = -t log p - (1 - t) log(1 - p) of each output, with p = 1 / (1 + exp(-z)); its slope is
    p - t. Smoothing by e first replaces t by (1 - e) t + e / 2.

    References
    ----------
    Bishop, "Pattern recognition and machine learning", Springer, 2006, section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import BinaryCrossEntropy
    >>> loss = BinaryCrossEntropy()
    >>> value, slope = loss.value_and_gradient(np.zeros((1, 1)), np.ones((1, 1)), np.ones(1))
    >>> round(value, 4), slope
    (0.6931, array([[-0.5]]))
    """

    name: ClassVar[str] = "binary_cross_entropy"
    task: ClassVar[Task] = "binary"
    kernel: ClassVar[Kernel] = kernels.per_output(kernels.binary_cross_entropy)
    link_name: ClassVar[str] = "sigmoid"


@LOSSES.register
@dataclass(frozen=True)
class MeanSquaredError(CompiledLoss):
    """Squared error, whose best prediction is the mean of the target.

    Notes
    -----
    loss = (z - t)^2 of each output, with slope 2 (z - t).

    References
    ----------
    Bishop, "Pattern recognition and machine learning", Springer, 2006, section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import MeanSquaredError
    >>> MeanSquaredError().value_and_gradient(np.array([[5.0]]), np.array([[2.0]]), np.ones(1))
    (9.0, array([[6.]]))
    """

    name: ClassVar[str] = "mean_squared_error"
    kernel: ClassVar[Kernel] = kernels.per_output(kernels.squared_error)


@LOSSES.register
@dataclass(frozen=True)
class MeanAbsoluteError(CompiledLoss):
    """Absolute error, whose best prediction is the median of the target.

    Notes
    -----
    `loss = |z - t|` of each output, with slope -1, 1, or 0 where they are equal.

    References
    ----------
    Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978 (as twice the level 1/2).

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import MeanAbsoluteError
    >>> MeanAbsoluteError().value_and_gradient(np.array([[5.0]]), np.array([[2.0]]), np.ones(1))
    (3.0, array([[1.]]))
    """

    name: ClassVar[str] = "mean_absolute_error"
    kernel: ClassVar[Kernel] = kernels.per_output(kernels.absolute_error)


@LOSSES.register
@dataclass(frozen=True)
class Huber(CompiledLoss):
    """Half the squared error up to `delta`, linear beyond, so that outliers have less influence.

    Parameters
    ----------
    delta : float, default 1.0
        Where the parabola turns into a line, in the units of the target.

    Raises
    ------
    InputError
        For a `delta` that is not above 0.

    Notes
    -----
    With r = z - t, `loss = r^2 / 2` where `|r| <= delta`, else `delta (|r| - delta / 2)`, of each
    output; its slope is r, clipped to the range from -delta to delta.

    References
    ----------
    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Huber
    >>> Huber().value_and_gradient(np.array([[5.0]]), np.array([[2.0]]), np.ones(1))
    (2.5, array([[1.]]))
    """

    name: ClassVar[str] = "huber"
    kernel: ClassVar[Kernel] = kernels.per_output(kernels.huber)
    delta: float = 1.0

    def __post_init__(self) -> None:
        checks.number("Huber", "delta", self.delta, 0, low_open=True)


@LOSSES.register
@dataclass(frozen=True)
class Quantile(CompiledLoss):
    """Pinball loss, whose best prediction is a quantile of the target.

    Parameters
    ----------
    levels : float or sequence of float in (0, 1), default (0.5,)
        With m levels the network needs m outputs for each target column; output j m + k is target
        j's quantile at level k.

    Raises
    ------
    InputError
        For a level out of range, or no levels.

    Notes
    -----
    loss = level (t - z) where t > z, else (1 - level) (z - t), of each output; its slope is -level
    or 1 - level, and 0 where they are equal.

    References
    ----------
    Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Quantile
    >>> Quantile(0.75).value_and_gradient(np.array([[1.0]]), np.array([[3.0]]), np.ones(1))
    (1.5, array([[-0.75]]))
    """

    name: ClassVar[str] = "quantile"
    kernel: ClassVar[Kernel] = kernels.per_output(kernels.pinball, kernels.its_level)
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

    @property
    def option(self) -> float:
        """Not used: the rule gets the level of each output instead."""
        return 0.0

    def levels_as(self, dtype: np.dtype) -> np.ndarray:
        return np.array(self.levels, dtype)


def quantile_levels(loss: Loss) -> tuple[float, ...]:
    """The levels that a loss learns of each target; none if it learns no quantiles."""
    one = loss_of_one(loss)
    return one.levels if isinstance(one, Quantile) else ()


def outputs_per_target(loss: Loss) -> int:
    """How many outputs a network needs for each target: one for each quantile, or one."""
    return max(len(quantile_levels(loss)), 1)


@LOSSES.register
@dataclass(frozen=True)
class PoissonDeviance(CompiledLoss):
    """Deviance of the Poisson distribution, for counts and rates of at least 0.

    Notes
    -----
    loss = 2 (t log(t / mu) - t + mu) of each output, with mu = exp(z); its slope is 2 (mu - t).

    References
    ----------
    Nelder and Wedderburn, "Generalized linear models", Journal of the Royal Statistical Society A
    135, 1972.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import PoissonDeviance
    >>> loss = PoissonDeviance()
    >>> value, slope = loss.value_and_gradient(np.zeros((1, 1)), np.full((1, 1), 2.0), np.ones(1))
    >>> round(value, 4), slope
    (0.7726, array([[-2.]]))
    """

    name: ClassVar[str] = "poisson_deviance"
    kernel: ClassVar[Kernel] = kernels.per_output(kernels.poisson_deviance)
    link_name: ClassVar[str] = "exp"


@dataclass(frozen=True)
class MeanOfMembers(CompiledLoss):
    """The mean of the losses of members, each of which has outputs of its own for the same target.

    Each member learns by its own loss; predictions are the means of theirs. Networks need n_members
    times as many outputs.

    Parameters
    ----------
    loss : str or Loss
        The loss of each member: one of fastmlp's, by name or as an object.
    n_members : int
        How many there are.

    Raises
    ------
    InputError
        For an unknown loss, one of your own, and fewer than one member.

    Notes
    -----
    The outputs of a row are those of the first member, then those of the second and so on. With
    their losses l_m it is `loss = sum_m l_m / n_members`, and predictions are
    `sum_m link(z_m) / n_members`. Validation losses are means of the members' losses, too, whereas
    scores are those of the mean predictions.

    References
    ----------
    Gorishniy, Kotelnikov and Babenko, "TabM: Advancing tabular deep learning with
    parameter-efficient ensembling", ICLR 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import MeanOfMembers
    >>> loss, outputs = MeanOfMembers("mean_squared_error", 2), np.array([[5.0, 3.0]])
    >>> loss.value_and_gradient(outputs, np.array([[2.0]]), np.ones(1))
    (5.0, array([[3., 1.]]))
    >>> loss.link(outputs)
    array([[4.]])
    """

    name: ClassVar[str] = "mean_of_members"
    loss: Any
    n_members: int = field()  # without a default, which the base class has

    def __post_init__(self) -> None:
        made = LOSSES.make(self.loss, Loss)
        if type(made) not in LOSSES:
            raise InputError(
                "MeanOfMembers", "one of fastmlp's losses", type(made).__name__,
                f"use one of {', '.join(sorted(LOSSES.names))}",
            )  # fmt: skip
        checks.whole_number("MeanOfMembers", "n_members", self.n_members, 1, 2**31 - 1)
        object.__setattr__(self, "loss", made)
        object.__setattr__(self, "n_members", int(self.n_members))

    @property
    def task(self) -> Task:  # type: ignore[override]
        """That of its loss."""
        found: Task = self.loss.task
        return found

    @property
    def reads_labels(self) -> bool:  # type: ignore[override]
        """Whether its loss does."""
        return bool(self.loss.reads_labels)

    @property
    def link_name(self) -> str:  # type: ignore[override]
        """The link of each member."""
        return str(self.loss.link_name)

    @property
    def option(self) -> float:
        return float(self.loss.option)

    def kernel_for(self, has_labels: bool) -> Kernel:
        found: Kernel = self.loss.kernel_for(has_labels)
        return found

    def levels_as(self, dtype: np.dtype) -> np.ndarray:
        found: np.ndarray = self.loss.levels_as(dtype)
        return found
