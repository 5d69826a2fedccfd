"""A training step in two halves: the gradient of some rows, and the update of the parameters.

Between them gradients can be summed, over parts of a batch or over processes, clipped or logged.
Both halves are those of `Network.fit`, so a loop that does nothing in between gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import layerwise
from ..engine.engine import Engine
from ..engine.lowering import can_compile
from ..engine.threads import MOST_THREADS
from ..errors import InputError
from ..inputs import checks, samples
from ..inputs.tables import table_of
from ..kernels.compiler.denormals import flush_denormals, restore_denormals
from ..model.body import Body
from .updates import Updates


class Stepper(Updates):
    """Trains a network step by step, each step in two halves that you call.

    Parameters
    ----------
    network : Network
        The network to train; it is built if needed.
    X : array of shape (n, n_features)
        Samples, as for `Network.fit`.
    y : array of shape (n,) or (n, n_targets)
        Targets, as for `Network.fit`.
    optimizer : str, Optimizer or object with a method step, default "adam"
        What updates the parameters.
    batch_size : int, default 32
        Maximum number of rows of a gradient.
    sample_weight : array of shape (n,), optional
        Weights of the samples.
    n_steps : int, optional
        Steps of the whole loop, which some schedules need.
    n_threads : int, optional
        By default as many as are worthwhile; the bits are the same for any number.

    Attributes
    ----------
    steps_done : int
        Number of steps so far. With `state` and the network's `params` it is all that a loop needs
        to continue elsewhere.
    state : ndarray
        The optimizer's state.

    Raises
    ------
    InputError
        For samples and options that cannot be used.

    Notes
    -----
    Where a part of the network has no kernel, both halves run layer by layer.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, Network, Stepper
    >>> X, y = np.linspace(-1, 1, 40).reshape(-1, 1), np.linspace(1, 3, 40)
    >>> net = Network([Dense(1)], loss="mse")
    >>> stepper = Stepper(net, X, y, optimizer="sgd", batch_size=20)
    >>> for _ in range(500):
    ...     loss = stepper.gradient(np.arange(0, 20), total=40)
    ...     first = net.grads.copy()
    ...     loss += stepper.gradient(np.arange(20, 40), total=40)
    ...     net.grads += first
    ...     stepper.apply()
    >>> net.predict([[0.0]]).round(2)
    array([2.], dtype=float32)
    """

    def __init__(
        self,
        network: Body,
        X: Any,
        y: Any,
        *,
        optimizer: Any = "adam",
        batch_size: int = 32,
        sample_weight: Any = None,
        n_steps: int | None = None,
        n_threads: int | None = None,
    ) -> None:
        where = "Stepper"
        checks.whole_number(where, "batch_size", batch_size, 1)
        if n_threads is not None:
            checks.whole_number(where, "n_threads", n_threads, 1, MOST_THREADS)
        super().__init__(network, optimizer, n_steps)
        self._samples, plan, coder = samples.read(network, where, X, y, sample_weight)
        samples.adopt(network, plan, coder)
        self.begin()
        self._batch_size = min(batch_size, self._samples.X.shape[0])
        self._engine: Engine | None = None
        if can_compile(network.layers, network.loss):
            table = table_of(self._samples.X, network.dtype)
            self._engine = Engine(network, table, self._batch_size, n_threads)

    def gradient(self, rows: Any, total: float | None = None, penalties: bool = True) -> float:
        """Loss of some samples; its gradient goes to the network's `grads`.

        Dropout is on, as in a fit.

        Parameters
        ----------
        rows : array of shape (n_rows,)
            Numbers of samples, at most `batch_size` of them.
        total : float, optional
            What the loss is a mean over: the weights of the whole batch, of which these rows are a
            part; by default the weights of the rows, which each count 1 without `sample_weight`.
        penalties : bool, default True
            Whether to add l1 and l2: of the parts of a batch, one should.

        Returns
        -------
        float
            The rows' part of the batch's mean loss.

        Raises
        ------
        InputError
            For rows that are none, or too many.
        """
        where, n = "Stepper.gradient", self._samples.X.shape[0]
        order = np.asarray(rows)
        if order.ndim != 1 or order.dtype.kind not in "iu" or not order.size > 0:
            raise InputError(
                where, "rows as a list of whole numbers",
                f"shape {order.shape} and type {order.dtype}", "pass numbers of samples",
            )  # fmt: skip
        if order.size > self._batch_size:
            got = f"{order.size}"
            raise InputError(
                where, f"at most {self._batch_size} rows", got, "make batch_size larger"
            )
        if order.min() < 0 or order.max() >= n:
            raise InputError(where, f"rows from 0 to {n - 1}", "some outside", "count from 0")
        if total is not None:
            checks.number(where, "total", total, 0, low_open=True)
        order, drops = order.astype(np.int32), self.dropout_rates()
        if self._engine is None:
            return self._layer_by_layer(order, drops, total, penalties)
        self._engine.penalise(penalties)
        return self._engine.gradient(
            order,
            self._samples.encoded,
            self._samples.weights,
            total or 0.0,
            self.steps_done,
            drops,
        )

    def _layer_by_layer(
        self, order: np.ndarray, drops: np.ndarray, total: float | None, penalties: bool
    ) -> float:
        network, (X, encoded, weights) = self.network, self._samples
        control = flush_denormals()
        try:
            layerwise.begin_step(network, drops, self.steps_done)
            batch_weights = weights[order] if weights.size else weights
            targets = encoded.rows(order, network.n_outputs)
            return layerwise.gradient_of_part(
                network, X[order], targets, batch_weights, total, penalties
            )
        finally:
            restore_denormals(control)
