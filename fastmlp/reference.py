"""Backpropagation one sample at a time, in plain NumPy, written to be read next to the mathematics.

`forward` and `backward` below are the whole algorithm. `PublishedNetwork` is a published program
with its faults; `ReferenceNetwork` corrects them. It is simple enough to check by eye, and is the
oracle that the compiled engine is tested with.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt


def forward(a_0: Array, weights: list[Array], biases: list[Array], functions: Functions) -> Lists:
    """Return z_1 .. z_L and a_0 .. a_L: z_l = W_l a_(l-1) + b_l and a_l = f_l(z_l)."""
    z, a = list[Array](), [a_0]
    for W, b, (f, _) in zip(weights, biases, functions, strict=True):
        z.append(W @ a[-1] + b)
        a.append(f(z[-1]))
    return z, a


def backward(
    delta: Array, z: list[Array], a: list[Array], weights: list[Array], functions: Functions
) -> Lists:
    """Return dW_1 .. dW_L and db_1 .. db_L, given delta_L = d loss / d z_L of one sample."""
    dW, db = [np.dot(delta, a[-2].T)], [delta]  # dW_L = delta_L a_(L-1)^T, db_L = delta_L
    for layer in range(len(z) - 2, -1, -1):
        _, slope = functions[layer]
        # delta_l = W_(l+1)^T delta_(l+1) * f_l'(z_l); dW_l = delta_l a_(l-1)^T; db_l = delta_l
        delta = (weights[layer + 1].T @ delta) * slope(z[layer])
        # np.dot, not @: for this outer product it calls BLAS and takes a third of the time
        dW.insert(0, np.dot(delta, a[layer].T))
        db.insert(0, delta)
    return dW, db


# That was the algorithm. Below are the functions f_l with their slopes, the losses with their
# delta_L, and the two networks that train with them.

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "PublishedNetwork",
    "ReferenceNetwork",
    "demonstrate",
    "sigmoid",
    "softmax",
]

Array: TypeAlias = npt.NDArray[np.float64]
Lists: TypeAlias = tuple[list[Array], list[Array]]
Functions: TypeAlias = list[tuple[Callable[..., Array], Callable[..., Array]]]  # f_l and f_l'
RandomState: TypeAlias = int | np.random.Generator | None


def sigmoid(z: Array) -> Array:
    """Logistic function, written so that exp never sees a positive number and cannot overflow.

    Parameters
    ----------
    z : ndarray of any shape
        Numbers.

    Returns
    -------
    ndarray of the shape of z
        1 / (1 + exp(-z)).

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference import sigmoid
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def softmax(z: Array) -> Array:
    """Softmax down each column; the shift by max(z) cancels in the ratio.

    Parameters
    ----------
    z : ndarray of shape (n,) or (n, n_samples)
        Numbers, a column for each sample.

    Returns
    -------
    ndarray of the shape of z
        Of each column, exp(z_k) / sum_j exp(z_j).

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference import softmax
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    e = np.exp(z - z.max(axis=0))
    return np.asarray(e / e.sum(axis=0))


def _elu(z: Array, alpha: float = 1.0) -> Array:
    """z where z > 0, else alpha (exp(z) - 1); exp sees min(z, 0) only, so it cannot overflow."""
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0.0)))


def _elu_slope(z: Array, alpha: float = 1.0) -> Array:
    """1 where z > 0, else alpha exp(z)."""
    return np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0.0)))


def _mish_slope(z: Array) -> Array:
    """By the product rule on z tanh(u), u = softplus(z): tanh(u) + z (1 - tanh(u)^2) sigmoid(z)."""
    tanh_u = np.tanh(np.logaddexp(0.0, z))
    return np.asarray(tanh_u + z * (1.0 - tanh_u**2) * sigmoid(z))


def _normal_cdf(z: Array) -> Array:
    """P(N(0, 1) <= z) = (1 + erf(z / sqrt 2)) / 2; erfc keeps the digits of the left tail."""
    return np.array([0.5 * math.erfc(-v / math.sqrt(2.0)) for v in z.flat]).reshape(z.shape)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946

# Name -> (value f(z), derivative f'(z)). At a corner the slope is the one on the left (z <= 0).
ACTIVATIONS: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    # max(0, z)
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0)),
    # z where z > 0, else negative_slope z
    "leaky_relu": (
        lambda z, negative_slope=0.01: np.where(z > 0, z, negative_slope * z),
        lambda z, negative_slope=0.01: np.where(z > 0, 1.0, negative_slope),
    ),
    "elu": (_elu, _elu_slope),
    # scale elu(z, alpha), the constants chosen to keep mean 0 and variance 1 over layers
    "selu": (
        lambda z: SELU_SCALE * _elu(z, SELU_ALPHA),
        lambda z: SELU_SCALE * _elu_slope(z, SELU_ALPHA),
    ),
    # z Phi(z) with the normal distribution Phi; Phi(z) + z exp(-z^2 / 2) / sqrt(2 pi)
    "gelu": (
        lambda z: z * _normal_cdf(z),
        lambda z: _normal_cdf(z) + z * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi),
    ),
    # z s with s = sigmoid(z); s + z s (1 - s), and 1 - s = sigmoid(-z)
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1.0 + z * sigmoid(-z))),
    # z tanh(softplus(z))
    "mish": (lambda z: z * np.tanh(np.logaddexp(0.0, z)), _mish_slope),
    # log(1 + exp(z)) = log(exp(0) + exp(z)), which logaddexp computes without overflow
    "softplus": (lambda z: np.logaddexp(0.0, z), sigmoid),
    # cos z; -sin z
    "cosine": (np.cos, lambda z: -np.sin(z)),
    # s; s (1 - s)
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * sigmoid(-z)),
    # tanh(z); 1 - tanh(z)^2
    "tanh": (lambda z: np.tanh(z), lambda z: 1.0 - np.tanh(z) ** 2),
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
}


def _smooth(t: Array, label_smoothing: float, n_classes: int) -> Array:
    """t' = (1 - eps) t + eps / n_classes: a share eps of the target spread over all classes."""
    return t * (1.0 - label_smoothing) + label_smoothing / n_classes


def _softmax_loss(z: Array, t: Array, label_smoothing: float = 0.0) -> Any:
    """-sum_k t'_k log p_k, with log p = z - max - log(sum exp(z - max)), finite for any z."""
    shifted = z - z.max()
    log_p = shifted - np.log(np.exp(shifted).sum())
    return -(_smooth(t, label_smoothing, z.size) * log_p).sum()


def _softmax_gradient(z: Array, t: Array, label_smoothing: float = 0.0) -> Array:
    """p sum(t') - t', which is p - t' when the targets sum to one."""
    smoothed = _smooth(t, label_smoothing, z.size)
    return np.asarray(softmax(z) * smoothed.sum() - smoothed)


def _quantile_loss(z: Array, t: Array, levels: Sequence[float] = (0.5,)) -> Any:
    """Mean of max(q (t - z), (q - 1)(t - z)): too low costs q per unit, too high 1 - q."""
    q = np.resize(levels, z.shape)  # repeats the levels: output o is at level o mod n_levels
    return np.mean(np.maximum(q * (t - z), (q - 1.0) * (t - z)))


def _quantile_gradient(z: Array, t: Array, levels: Sequence[float] = (0.5,)) -> Array:
    """-q where t > z, 1 - q where t < z, 0 where equal, over n_out."""
    q = np.resize(levels, z.shape)
    return np.where(t > z, -q, np.where(t < z, 1.0 - q, 0.0)) / z.size


def _huber_loss(z: Array, t: Array, delta: float = 1.0) -> Any:
    """Mean of r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2), with r = z - t."""
    r = np.abs(z - t)
    return np.mean(np.where(r <= delta, 0.5 * r * r, delta * (r - 0.5 * delta)))


def _poisson_loss(z: Array, t: Array) -> Any:
    """Mean of 2 (t log(t / mu) - t + mu) with mu = exp(z), and t log t = 0 at t = 0."""
    t_log_t = t * np.log(np.where(t > 0, t, 1.0))
    return np.mean(2.0 * (t_log_t - t * z - t + np.exp(z)))


# Name -> (link from z to the prediction, loss(z, t) of one sample, its gradient with respect to z).
# z and t hold n_out = z.size numbers; gradients are divided by n_out because losses are means.
LOSSES: dict[str, tuple[Callable[..., Array], Callable[..., Any], Callable[..., Array]]] = {
    "softmax_cross_entropy": (softmax, _softmax_loss, _softmax_gradient),
    # mean of -t' log s - (1 - t') log(1 - s) with s = sigmoid(z), which is softplus(z) - z t'
    "binary_cross_entropy": (
        sigmoid,
        lambda z, t, label_smoothing=0.0: np.mean(
            np.logaddexp(0.0, z) - z * _smooth(t, label_smoothing, 2)
        ),
        lambda z, t, label_smoothing=0.0: (sigmoid(z) - _smooth(t, label_smoothing, 2)) / z.size,
    ),
    # mean of (z - t)^2
    "mean_squared_error": (
        lambda z: z,
        lambda z, t: np.mean((z - t) ** 2),
        lambda z, t: 2.0 * (z - t) / z.size,
    ),
    # mean of |z - t|
    "mean_absolute_error": (
        lambda z: z,
        lambda z, t: np.mean(np.abs(z - t)),
        lambda z, t: np.sign(z - t) / z.size,
    ),
    # the gradient is z - t, limited to the range from -delta to delta
    "huber": (
        lambda z: z,
        _huber_loss,
        lambda z, t, delta=1.0: np.clip(z - t, -delta, delta) / z.size,
    ),
    "quantile": (lambda z: z, _quantile_loss, _quantile_gradient),
    "poisson_deviance": (np.exp, _poisson_loss, lambda z, t: 2.0 * (np.exp(z) - t) / z.size),
}

# These lose or weaken negative inputs, about half of all; He's variance 2 / n_in compensates.
RELU_LIKE = ("relu", "leaky_relu", "elu", "gelu", "silu", "mish")


def column(x: npt.ArrayLike) -> Array:
    """One sample as a column vector, as in the formulas."""
    return np.asarray(x, dtype=np.float64).reshape(-1, 1)


class _Network:
    """Layers z_l = W_l a_(l-1) + b_l, a_l = f_l(z_l), with the methods of both networks."""

    weights: list[Array]  # W_l of shape (n_l, n_(l-1))
    biases: list[Array]  # b_l of shape (n_l, 1)
    functions: Functions  # f_l and its derivative
    link: Callable[..., Array]  # from a_L to the prediction

    def _forward(self, a_0: Array) -> Lists:
        """Return [z_1 .. z_L] and [a_0 .. a_L] for columns a_0 of shape (n_0, n_samples)."""
        return forward(a_0, self.weights, self.biases, self.functions)

    def _backward(self, z: list[Array], a: list[Array], delta: Array) -> Lists:
        """Return dW_1 .. dW_L and db_1 .. db_L, given delta_L = d loss / d z_L of one sample."""
        return backward(delta, z, a, self.weights, self.functions)

    def output(self, x: npt.ArrayLike) -> Array:
        """Last layer's a_L.

        Parameters
        ----------
        x : array of shape (n_0,) or (n_samples, n_0)
            One sample, or one a row.

        Returns
        -------
        ndarray of shape (n_L,) or (n_samples, n_L)
            Float64.
        """
        x = np.asarray(x, dtype=np.float64)
        return self._forward(np.atleast_2d(x).T)[1][-1].T.reshape(*x.shape[:-1], -1)

    def predict_proba(self, x: npt.ArrayLike) -> Array:
        """Probabilities, or the predicted values of a regression: link(a_L).

        Parameters
        ----------
        x : array of shape (n_0,) or (n_samples, n_0)
            One sample, or one a row.

        Returns
        -------
        ndarray of shape (n_L,) or (n_samples, n_L)
            Float64.
        """
        return self.link(self.output(x).T).T

    def accuracy(self, X: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Share of rows whose most probable class is the label.

        Parameters
        ----------
        X : array of shape (n_samples, n_0)
            One sample per row.
        labels : array of shape (n_samples,)
            Numbers of their classes, from 0.

        Returns
        -------
        float
            From 0 to 1.
        """
        P = self.predict_proba(X)
        predicted = np.argmax(P, axis=1) if P.shape[1] > 1 else P[:, 0] > 0.5
        return float(np.mean(predicted == np.asarray(labels)))


def _softmax_as_published(a: Array) -> Array:
    """exp(a_k) / sum_j exp(a_j); fault: without the shift exp is inf from 710 on, the ratio nan."""
    e = np.exp(a)
    return np.asarray(e / e.sum(axis=0))


class PublishedNetwork(_Network):
    """The published algorithm with its faults, for comparison only.

    Parameters
    ----------
    sizes : sequence of int
        Units per layer, inputs first: [n_0, ..., n_L].
    learning_rate : float, default 0.05
        Step of every update.
    reg_lambda : float, default 0.01
        Not used: the published program stores it and never reads it.
    random_state : int, Generator or None, default None
        Source of the weights and the shuffles; None draws new ones each time.

    Examples
    --------
    >>> from fastmlp.reference import PublishedNetwork
    >>> PublishedNetwork([4, 3, 2], random_state=0).predict_proba([1.0, 0.0, 1.0, 0.0]).shape
    (2,)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        learning_rate: float = 0.05,
        reg_lambda: float = 0.01,
        random_state: RandomState = None,
    ) -> None:
        self.learning_rate, self.reg_lambda = learning_rate, reg_lambda
        self.rng = np.random.default_rng(random_state)
        shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
        self.weights = [self.rng.normal(0.0, 0.1, shape) for shape in shapes]
        self.biases = [np.zeros((n_out, 1)) for n_out, _ in shapes]
        self.functions = [ACTIVATIONS["relu"] for _ in shapes]  # fault: the output layer as well
        self.link = _softmax_as_published

    def gradients(self, x: npt.ArrayLike, t: npt.ArrayLike) -> Lists:
        """Gradients as the published program computes them, for one sample.

        Parameters
        ----------
        x : array of shape (n_0,)
            The sample.
        t : array of shape (n_L,)
            Its one-hot target.

        Returns
        -------
        dW : list of ndarray
            Shaped as `weights`.
        db : list of ndarray
            Shaped as `biases`.
        """
        z, a = self._forward(column(x))
        # (p - t) relu'(z_L); fault: an output unit that is off learns nothing, even if it should
        delta = (self.link(a[-1]) - column(t)) * (z[-1] > 0)
        return self._backward(z, a, delta)

    def _train_once(self, X: Array, Y: Array) -> None:
        """Visit all rows in a new random order and update after each of them."""
        for i in self.rng.permutation(len(X)):
            dW, db = self.gradients(X[i], Y[i])
            for layer in range(len(self.weights)):
                self.weights[layer] -= self.learning_rate * dW[layer]
                self.biases[layer] -= self.learning_rate * db[layer]

    def train(
        self,
        X: Array,
        Y: Array,
        X_val: Array | None = None,
        Y_val: Array | None = None,
        epochs: int = 10,
    ) -> None:
        """Train on X and Y, then on X_val and Y_val, each epoch.

        Parameters
        ----------
        X : ndarray of shape (n, n_0)
            One sample per row.
        Y : ndarray of shape (n, n_L)
            Their one-hot targets.
        X_val, Y_val : ndarray of shape (n_val, n_0) and (n_val, n_L), optional
            Validation samples.
        epochs : int, default 10
            Number of passes over all samples.
        """
        for _ in range(epochs):
            self._train_once(X, Y)
            if X_val is not None and Y_val is not None:
                self._train_once(X_val, Y_val)  # fault: rows used for training cannot validate

    def dead_outputs(self, X: npt.ArrayLike) -> list[int]:
        """Output units with z_L <= 0 on every row of X: they get no gradient from these rows.

        Parameters
        ----------
        X : array of shape (n_samples, n_0)
            One sample per row.

        Returns
        -------
        list of int
            Their numbers, from 0.
        """
        return [int(unit) for unit in np.flatnonzero(~(self.output(X) > 0).any(axis=0))]


def bind(table: Mapping[str, tuple[Any, ...]], name: str, given: Mapping[str, Any]) -> Any:
    """Look `name` up and bind keyword parameters to its last two functions."""
    if name not in table:
        names = ", ".join(table)
        raise ValueError(f"ReferenceNetwork: expected one of {names}, got {name!r}; choose one")
    return *table[name][:-2], *(partial(function, **given) for function in table[name][-2:])


class ReferenceNetwork(_Network):
    """The corrected algorithm: a linear output layer, a stable loss, real penalties.

    Parameters
    ----------
    sizes : sequence of int
        Units per layer, inputs first: [n_0, ..., n_L].
    activation : str or sequence of str, default "relu"
        A name of `ACTIVATIONS` for all hidden layers, or one for each.
    loss : str, default "softmax_cross_entropy"
        A name of `LOSSES`.
    random_state : int, Generator or None, default None
        Source of the weights; None draws new ones each time.
    l1, l2 : float, default 0
        Factors of the penalties in the `objective`; biases are not penalised.
    label_smoothing : float, default 0
        Share of each target spread over all classes (the two cross-entropies only).
    activation_parameters : mapping or sequence of mapping, optional
        Keyword parameters of the activation, for all hidden layers or one mapping for each.
    loss_parameters : mapping, optional
        Keyword parameters of the loss.

    Raises
    ------
    ValueError
        For an unknown name, and lists that do not match the hidden layers.

    Notes
    -----
    z_l = W_l a_(l-1) + b_l and a_l = f_l(z_l), from a_0 = x to the linear outputs z_L. Backwards
    delta_l = W_(l+1)^T delta_(l+1) * f_l'(z_l), dW_l = delta_l a_(l-1)^T and db_l = delta_l, from
    delta_L = d loss / d z_L.

    References
    ----------
    Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
    Nature 323, 1986.

    Examples
    --------
    >>> from fastmlp.reference import ReferenceNetwork
    >>> network = ReferenceNetwork([4, 3, 2], activation="tanh", random_state=0)
    >>> dW, db = network.gradients([1.0, 0.0, 1.0, 0.0], [0.0, 1.0])
    >>> [part.shape for part in dW], [part.shape for part in db]
    ([(3, 4), (2, 3)], [(3, 1), (2, 1)])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | Sequence[str] = "relu",
        loss: str = "softmax_cross_entropy",
        random_state: RandomState = None,
        *,
        l1: float = 0.0,
        l2: float = 0.0,
        label_smoothing: float = 0.0,
        activation_parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        loss_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.l1, self.l2 = l1, l2
        n_hidden, given = len(sizes) - 2, activation_parameters or {}
        names = [activation] * n_hidden if isinstance(activation, str) else [*activation]
        each = [given] * n_hidden if isinstance(given, Mapping) else [*given]
        if not len(names) == len(each) == n_hidden:
            raise ValueError(
                f"ReferenceNetwork: expected {n_hidden} activations and mappings of parameters, "
                f"got {len(names)} and {len(each)}; give one for each hidden layer"
            )
        names.append("identity")  # the output layer is linear
        self.functions = [bind(ACTIVATIONS, *pair) for pair in zip(names, [*each, {}], strict=True)]
        smoothing = {"label_smoothing": label_smoothing} if label_smoothing else {}
        parameters = {**(loss_parameters or {}), **smoothing}
        self.link, self._loss, self._loss_gradient = bind(LOSSES, loss, parameters)
        rng = np.random.default_rng(random_state)
        self.weights, self.biases = [], []
        for n_in, n_out, name in zip(sizes[:-1], sizes[1:], names, strict=True):
            # He: variance 2 / n_in; for the other units Xavier: 2 / (n_in + n_out)
            variance = 2.0 / n_in if name in RELU_LIKE else 2.0 / (n_in + n_out)
            self.weights.append(rng.normal(0.0, math.sqrt(variance), (n_out, n_in)))
            self.biases.append(np.zeros((n_out, 1)))

    def loss(self, x: npt.ArrayLike, t: npt.ArrayLike) -> float:
        """Loss of one sample, without the penalties.

        Parameters
        ----------
        x : array of shape (n_0,)
            The sample.
        t : array of shape (n_L,)
            Its target: numbers, or a one-hot row.

        Returns
        -------
        float
            The mean over outputs if each has a separate loss.
        """
        return float(self._loss(column(self.output(x)), column(t)))

    def gradients(self, x: npt.ArrayLike, t: npt.ArrayLike) -> Lists:
        """Gradients of `loss`.

        Parameters
        ----------
        x : array of shape (n_0,)
            The sample.
        t : array of shape (n_L,)
            Its target.

        Returns
        -------
        dW : list of ndarray
            Shaped as `weights`.
        db : list of ndarray
            Shaped as `biases`.
        """
        z, a = self._forward(column(x))
        return self._backward(z, a, self._loss_gradient(z[-1], column(t)))

    def objective(self, X: Array, T: Array, sample_weight: Array | None = None) -> float:
        """Mean loss of samples, and the penalties.

        Parameters
        ----------
        X : ndarray of shape (n, n_0)
            One sample per row.
        T : ndarray of shape (n, n_L)
            Their targets.
        sample_weight : ndarray of shape (n,), optional
            Weights of the samples; by default equal ones.

        Returns
        -------
        float
            `sum_i w_i loss_i / sum_i w_i + l1 sum |W| + l2 / 2 sum W^2`.
        """
        losses = np.array([self.loss(x, t) for x, t in zip(X, T, strict=True)])
        W = np.concatenate([W.ravel() for W in self.weights])
        penalty = self.l1 * np.abs(W).sum() + 0.5 * self.l2 * (W * W).sum()
        return float(np.average(losses, weights=sample_weight) + penalty)

    def _penalty_gradient(self, W: Array) -> Array:
        """l1 sign(W) + l2 W."""
        return self.l1 * np.sign(W) + self.l2 * W

    def flat_gradient(self, X: Array, T: Array, sample_weight: Array | None = None) -> Array:
        """Gradient of `objective`.

        Parameters
        ----------
        X : ndarray of shape (n, n_0)
            One sample per row.
        T : ndarray of shape (n, n_L)
            Their targets.
        sample_weight : ndarray of shape (n,), optional
            Weights of the samples; by default equal ones.

        Returns
        -------
        ndarray of shape (n_parameters,)
            Laid out as `to_flat` lays the parameters.
        """
        rows = [self._flatten(*self.gradients(x, t)) for x, t in zip(X, T, strict=True)]
        # sum_i w_i g_i / sum_i w_i, plus the penalties on weights and nothing on biases
        mean = np.average(np.array(rows), axis=0, weights=sample_weight)
        penalties = [self._penalty_gradient(W) for W in self.weights]
        return np.asarray(mean + self._flatten(penalties, [np.zeros_like(b) for b in self.biases]))

    def train_epoch(self, X: Array, T: Array, order: Iterable[int], learning_rate: float) -> None:
        """Visit samples one by one, with a step of plain gradient descent after each.

        Parameters
        ----------
        X : ndarray of shape (n, n_0)
            One sample per row.
        T : ndarray of shape (n, n_L)
            Their targets.
        order : iterable of int
            Which rows, one after the other.
        learning_rate : float
            Step of every update.
        """
        for i in order:
            dW, db = self.gradients(X[i], T[i])
            for layer, W in enumerate(self.weights):
                if self.l1 or self.l2:
                    dW[layer] += self._penalty_gradient(W)
                W -= learning_rate * dW[layer]
                self.biases[layer] -= learning_rate * db[layer]

    @staticmethod
    def _flatten(weights: Sequence[Array], biases: Sequence[Array]) -> Array:
        """[W_1^T .. W_L^T | b_1 .. b_L], each matrix row by row."""
        return np.concatenate([part.T.ravel() for part in (*weights, *biases)])

    def to_flat(self) -> Array:
        """All parameters in one vector: every W_l^T (n_in, n_out) row by row, then every b_l.

        Returns
        -------
        ndarray of shape (n_parameters,)
            A copy, as a `Network` of the same sizes has its `params`.
        """
        return self._flatten(self.weights, self.biases)

    def from_flat(self, flat: npt.ArrayLike) -> None:
        """Load the parameters from a vector.

        Parameters
        ----------
        flat : array of shape (n_parameters,)
            Laid out as `to_flat` gives it.

        Raises
        ------
        ValueError
            For another shape.
        """
        flat = np.asarray(flat, dtype=np.float64)
        expected = self.to_flat().shape
        if flat.shape != expected:
            raise ValueError(
                f"ReferenceNetwork.from_flat: expected an array of shape {expected}, "
                f"got {flat.shape}; build the network with the sizes the vector came from"
            )
        start = 0
        for part in (*self.weights, *self.biases):
            part.T[...] = flat[start : start + part.size].reshape(part.T.shape)
            start += part.size


def _digits(random_state: int, data: Sequence[npt.ArrayLike] | None) -> list[Array]:
    """Return X, T, X_val, T_val, X_test, T_test as float64, each T one-hot rows of the labels."""
    if data is None:
        # Imported here, so that the rest of this module needs only NumPy.
        from fastmlp.datasets import load_seed_protocol

        split = load_seed_protocol(random_state)
        data = split.X_train, split.y_train, split.X_val, split.y_val, split.X_test, split.y_test
    n_classes = 1 + max(int(np.max(np.asarray(y))) for y in data[1::2])
    return [
        np.eye(n_classes)[np.asarray(part, dtype=np.int64)] if i % 2 else np.asarray(part, float)
        for i, part in enumerate(data)
    ]


def demonstrate(
    epochs: int = 5,
    random_state: int = 0,
    data: Sequence[npt.ArrayLike] | None = None,
    learning_rate: float = 0.01,
    show: Callable[[str], object] | None = None,
) -> tuple[dict[str, Any], str]:
    """Train both networks, with 32 hidden units, side by side on digits.

    Parameters
    ----------
    epochs : int, default 5
        Passes over the training rows.
    random_state : int, default 0
        Seed of the split, the weights and the orders.
    data : sequence of six arrays, optional
        X_train, y_train, X_val, y_val, X_test, y_test, with X (n, n_0) and y (n,) integer labels;
        by default 5,000 real digits with pixels 0 and 1 from `fastmlp.datasets`.
    learning_rate : float, default 0.01
        Step of the corrected network; the published one uses 0.05.
    show : callable, optional
        Called with each line of the report as soon as it is ready, such as `print`.

    Returns
    -------
    figures : dict
        Test accuracies per epoch, dead output units and seconds per training sample.
    report : str
        The same as text.

    Raises
    ------
    ValueError
        For less than one epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.reference import demonstrate
    >>> X, y = np.eye(4), np.array([0, 1, 0, 1])
    >>> figures, report = demonstrate(epochs=2, data=(X, y, X, y, X, y))
    >>> print(report.splitlines()[0])
    4-32-2, 4 training rows, test accuracy
    """
    if epochs < 1:
        raise ValueError(f"demonstrate: expected epochs of at least 1, got {epochs}; raise it")
    X, T, X_val, T_val, X_test, T_test = _digits(random_state, data)
    sizes, labels = (X.shape[1], 32, T.shape[1]), T_test.argmax(axis=1)
    published = PublishedNetwork(sizes, random_state=random_state)
    # Not 0.05 here as well, because about 150 lit pixels make each step of the first layer that
    # much longer, and a third of the hidden units were permanently off after five epochs.
    corrected = ReferenceNetwork(sizes, random_state=random_state)
    rng = np.random.default_rng(random_state)
    accuracy: list[tuple[float, float]] = []
    seconds, lines = np.zeros(2), list[str]()

    def say(line: str) -> None:
        lines.append(line)
        if show is not None:
            show(line)

    say(f"{'-'.join(map(str, sizes))}, {len(X)} training rows, test accuracy")
    say("epoch  published  corrected")
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        published.train(X, T, X_val, T_val, epochs=1)
        middle = time.perf_counter()
        corrected.train_epoch(X, T, rng.permutation(len(X)), learning_rate)
        seconds += middle - start, time.perf_counter() - middle
        accuracy.append((published.accuracy(X_test, labels), corrected.accuracy(X_test, labels)))
        say(f"{epoch:5d}  {accuracy[-1][0]:9.1%}  {accuracy[-1][1]:9.1%}")
    dead = published.dead_outputs(X_test)
    say(f"output units of the published network that are off on every test row: {dead or 'none'}")
    # The published one also trains on the validation rows, so it has more samples per epoch.
    seconds /= epochs * (len(X) + len(X_val)), epochs * len(X)
    say(f"microseconds a training sample: {seconds[0] * 1e6:.0f} and {seconds[1] * 1e6:.0f}")
    figures = {
        "published_accuracy": [pair[0] for pair in accuracy],
        "corrected_accuracy": [pair[1] for pair in accuracy],
        "published_dead_outputs": dead,
        "published_seconds_per_sample": float(seconds[0]),
        "corrected_seconds_per_sample": float(seconds[1]),
    }
    return figures, "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `demonstrate` from the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fastmlp.reference", description="Published and corrected, side by side."
    )
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training rows")
    parser.add_argument("--random-state", type=int, default=0, help="seed of split, weights, order")
    arguments = parser.parse_args(argv)
    try:
        demonstrate(arguments.epochs, arguments.random_state, show=print)
    except ValueError as error:  # all errors that users can cause are ValueErrors
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
