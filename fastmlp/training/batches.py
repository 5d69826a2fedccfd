"""Training on batches that come from elsewhere: a stream, a simulation, a data loader.

Everything is made once. A step copies its rows to memory that is already known to be valid and
makes one compiled call, so it costs little more than its computation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import layerwise
from ..engine.engine import Engine
from ..engine.job import training_work
from ..engine.lowering import can_compile
from ..engine.threads import MOST_THREADS, threads_for
from ..errors import InputError, counted
from ..extending import own_parts
from ..inputs import checks, samples
from ..inputs.categories import category_columns
from ..inputs.tables import is_sparse, table_of
from ..inputs.targets import Encoded, TargetCoder
from ..kernels.compiler.denormals import flush_denormals, restore_denormals
from ..kernels.compiler.memory import aligned_zeros, laid_out
from ..model.body import Body
from ..nn.dropout import by_schedule
from ..optim.schedules import is_built_in
from .by_hand import ByHand
from .updates import Updates

STEPS_AHEAD = 64  # whose numbers are computed together


class BatchTrainer(Updates):
    """Trains a network on batches, one step per call; made by `Network.trainer`.

    Parameters
    ----------
    network : Network
        Built. Its settings (penalties, seed, rates of dropout) are read once, now.
    optimizer : str, Optimizer or object with a method step, default "adam"
        What updates the parameters.
    batch_size : int, default 32
        Maximum number of rows of a batch.
    n_steps : int, optional
        Steps of the whole loop, which some schedules need.
    n_threads : int, optional
        By default one, or more for steps of more than about a millisecond. The bits are the same
        for any number.

    Attributes
    ----------
    steps_done : int
        Number of steps so far. With `state` and the network's `params` and `buffers` it is all
        that a loop needs to continue elsewhere.
    state : ndarray
        The optimizer's state.

    Raises
    ------
    InputError
        For a network that is not built, and for options that cannot be used.

    Notes
    -----
    `step` does what a step of `Network.fit` does, with the same bits. To use a loss of your own,
    compute the outputs with `forward`, pass their gradient to `backward`, and update with `apply`;
    these run layer by layer if there is dropout or batch normalisation, or if the first layer is
    not `Dense`.

    Where a part of the network has no kernel, `step` runs layer by layer, too.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import Dense, Network, ReLU
    >>> net = Network([Dense(16), ReLU(), Dense(1)], loss="mse").build(2)
    >>> trainer, rng = net.trainer(optimizer="adam", batch_size=64), np.random.default_rng(0)
    >>> for _ in range(1000):
    ...     X = rng.uniform(-1, 1, (64, 2))
    ...     loss = trainer.step(X, X[:, 0] * X[:, 1])
    >>> loss < 0.01
    True

    With a loss of one's own, here the squared error by hand:

    >>> outputs = trainer.forward(X)
    >>> errors = outputs - X[:, :1] * X[:, 1:]
    >>> input_gradient = trainer.backward(2 * errors / len(X))
    >>> trainer.apply()
    """

    def __init__(
        self,
        network: Body,
        optimizer: Any = "adam",
        batch_size: int = 32,
        n_steps: int | None = None,
        n_threads: int | None = None,
    ) -> None:
        where = "Network.trainer"
        batch_size = checks.whole_number(where, "batch_size", batch_size, 1)
        if n_threads is not None:
            checks.whole_number(where, "n_threads", n_threads, 1, MOST_THREADS)
        super().__init__(network, optimizer, n_steps)
        if not network.is_built:
            raise InputError(
                where, "a network that is built", "one without input columns",
                "call build(n_features) first",
            )  # fmt: skip
        own_parts.check_trainable(network.layers)
        self.batch_size, self._n_rows = batch_size, 0
        # The backward pass that belongs to the last forward pass; None if parameters have changed.
        self._backward: Callable[[np.ndarray], np.ndarray] | None = None
        self._reads_categories = any(category_columns(network.layers, range(network.n_features)))
        self.begin()
        self._memory: _Memory | None = None
        self._suits_kernels = ByHand.suits(network)
        if can_compile(network.layers, network.loss, self.optimizer):
            self._memory = _Memory(network, self.optimizer, batch_size, n_threads)

    def step(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Update the parameters once, by the gradient of a batch's loss.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            Up to `batch_size` rows, which are copied. Arrays of float32 and float64 are checked
            fastest.
        y : array of shape (n,) or (n, n_targets)
            Targets, as for `Network.fit`. Labels of a network that was never fitted are numbers of
            classes, counted from 0.
        sample_weight : array of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        float
            Mean loss of the batch before the update, penalties included. It is nan or infinite if
            the computation overflows; the parameters are then of no more use.

        Raises
        ------
        InputError
            For rows and targets that cannot be used, before anything is changed.
        """
        where, network = "BatchTrainer.step", self.network
        rows = self._rows(where, X)
        if len(rows) > self.batch_size:
            raise InputError(
                where, f"at most {counted(self.batch_size, 'row')}", f"{len(rows)}",
                "make batch_size larger",
            )  # fmt: skip
        coder = network.coder
        if coder is None:
            coder = TargetCoder.numbered(where, y, network.loss, network.n_outputs)
        encoded = coder.encode(where, y, network.dtype)
        n_targets = encoded.labels.size or encoded.targets.size // network.n_outputs
        if n_targets != len(rows):
            checks.same_length(where, "y", np.asarray(y), len(rows))
        weights = encoded.targets[:0]
        if sample_weight is not None:
            weights = checks.sample_weights(where, sample_weight, len(rows), network.dtype)
        network.coder = coder
        self._backward = None  # the values of `forward` belong to other parameters
        if self._memory is None:
            loss = self._by_layers(rows, encoded, weights)
            super().apply()
            return loss
        loss = self._memory.step(rows, encoded, weights, self)
        self.steps_done += 1
        return loss

    def forward(self, X: Any) -> np.ndarray:
        """Outputs of a batch before the loss's link, as in training: dropout is on.

        Parameters
        ----------
        X : array, data frame or sparse matrix of shape (n, n_features)
            Any number of rows.

        Returns
        -------
        ndarray of shape (n, n_outputs)
            In the network's dtype.

        Raises
        ------
        InputError
            For rows that cannot be used.
        """
        network = self.network
        rows = self._rows("BatchTrainer.forward", X)
        self._n_rows = len(rows)
        if self._suits_kernels and len(rows) <= self.batch_size:
            self._backward = self._by_hand.backward
            return self._by_hand.forward(rows)
        self._backward = self._backward_by_layers
        control = flush_denormals()
        try:
            layerwise.begin_step(network, self.dropout_rates(), self.steps_done)
            outputs = layerwise.forward(network, rows, training=True)
        finally:
            restore_denormals(control)
        return outputs.copy()  # layers may need theirs in the backward pass

    def backward(self, dY: Any) -> np.ndarray:
        """The gradient of an objective of one's own, which goes to the network's `grads`.

        Penalties of the network are included. May be called several times after one `forward`.

        Parameters
        ----------
        dY : array of shape (n, n_outputs)
            Gradient of the objective with respect to the outputs that `forward` returned.

        Returns
        -------
        ndarray of shape (n, n_features)
            Gradient with respect to the rows that were passed to `forward`, in the network's dtype.

        Raises
        ------
        InputError
            For another shape, numbers that are not finite, or without a `forward` before.
        """
        where, network = "BatchTrainer.backward", self.network
        if self._backward is None:
            raise InputError(
                where, "a forward pass with these parameters", "none", "call forward(X) first"
            )
        given = checks.matrix(where, "dY", dY, network.width_of_outputs(link=False))
        if given.shape[0] != self._n_rows:
            raise InputError(
                where, f"dY with {counted(self._n_rows, 'row')}, as forward had",
                f"{given.shape[0]}", "pass one row for each row of outputs",
            )  # fmt: skip
        return self._backward(checks.converted(where, "dY", dense(given), network.dtype))

    def apply(self, step: int | None = None) -> None:
        """Update the parameters by the network's `grads`.

        Parameters
        ----------
        step : int, optional
            Which step of the loop this is, from 0; by default the one after the last.

        Raises
        ------
        InputError
            For a schedule that needs `n_steps` without it.
        """
        super().apply(step)
        self._backward = None

    @functools.cached_property
    def _by_hand(self) -> ByHand:
        """Its kernels are compiled only if `forward` is used."""
        return ByHand(self.network, self.batch_size)

    def _backward_by_layers(self, dY: np.ndarray) -> np.ndarray:
        network = self.network
        control = flush_denormals()
        try:
            flowing = layerwise.backward(network, dY.copy())  # layers may write to what flows back
            layerwise.add_penalties(network)
        finally:
            restore_denormals(control)
        return laid_out(flowing, network.dtype)

    def _rows(self, where: str, X: Any) -> np.ndarray:
        """Checked rows as a dense array of any number type."""
        is_usual = (
            type(X) is np.ndarray
            and X.dtype.type in (np.float32, np.float64)
            and X.shape == (len(X), self.network.n_features)
            and len(X) > 0
            and not self._reads_categories
            and checks.is_finite(X)
        )
        return X if is_usual else dense(samples.matrix(self.network, where, X))

    def _by_layers(self, rows: np.ndarray, encoded: Encoded, weights: np.ndarray) -> float:
        network = self.network
        control = flush_denormals()
        try:
            layerwise.begin_step(network, self.dropout_rates(), self.steps_done)
            return layerwise.gradient(network, rows, encoded, weights, training=True)
        finally:
            restore_denormals(control)


def dense(rows: Any) -> np.ndarray:
    """Rows without the sparse form, if they have it."""
    found: np.ndarray = rows.toarray() if is_sparse(rows) else rows
    return found


class _Memory:
    """Memory for one batch, which an engine reads; a step copies its rows there.

    Parameters
    ----------
    network : Network
    optimizer : Optimizer
    batch_size : int
    n_threads : int or None
    """

    def __init__(
        self, network: Body, optimizer: Any, batch_size: int, n_threads: int | None
    ) -> None:
        dtype, n_features, n_outputs = network.dtype, network.n_features, network.n_outputs
        self.rows = aligned_zeros(batch_size * n_features, dtype).reshape(batch_size, n_features)
        self.order = np.arange(batch_size, dtype=np.int32)
        self.labels = np.zeros(batch_size, np.int32)
        self.targets = np.zeros(batch_size * n_outputs, dtype)
        self.weights = np.ones(batch_size, dtype)
        self.losses = np.empty(1)
        if n_threads is None:
            n_threads = threads_for(training_work(network.work_per_row, batch_size))
        self.engine = Engine(network, table_of(self.rows, dtype), batch_size, n_threads, optimizer)
        self.numbers, self.ahead = np.empty((1, self.engine.n_numbers)), np.empty((0, 0))
        self.first_ahead = 0
        schedules = [*optimizer.schedules, *(layer.rate for layer in by_schedule(network.layers))]
        # Schedules of one's own may depend on what happens between the steps.
        self.n_ahead = STEPS_AHEAD if all(map(is_built_in, schedules)) else 1
        self.begun: tuple[Any, ...] = ()

    def step(
        self, rows: np.ndarray, encoded: Encoded, weights: np.ndarray, updates: Updates
    ) -> float:
        """One step; returns its loss."""
        n, (labels, targets) = len(rows), encoded
        self.rows[:n] = rows
        if labels.size:
            self.labels[:n] = labels
        else:
            self.targets[: targets.size] = targets
        if weights.size:
            self.weights[:n] = weights
        kind = bool(labels.size), bool(weights.size)
        if self.begun[:2] != kind or self.begun[2] is not updates.state:
            self._begin(*kind, updates.state)
        place = updates.steps_done - self.first_ahead
        if not 0 <= place < len(self.ahead):
            self.ahead, self.first_ahead = updates.numbers(self.n_ahead), updates.steps_done
            place = 0
        self.numbers[0] = self.ahead[place]
        return self.engine.step_again(n, updates.steps_done)

    def _begin(self, has_labels: bool, has_weights: bool, state: np.ndarray) -> None:
        """Point the engine at what steps of this kind read."""
        labels, targets = self.labels, self.targets
        encoded = Encoded(labels, targets[:0]) if has_labels else Encoded(labels[:0], targets)
        weights = self.weights if has_weights else self.weights[:0]
        self.engine.begin(self.order, encoded, weights, state, self.numbers, self.losses)
        self.begun = has_labels, has_weights, state
