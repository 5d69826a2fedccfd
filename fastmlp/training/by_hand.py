"""Outputs and gradients by kernels for an objective of the user's own.

The user passes in the gradient of the outputs. To the kernels it is a loss: the sum of outputs
times given numbers, whose gradient is those numbers.
"""

from __future__ import annotations

import numpy as np

from ..engine.engine import Engine
from ..engine.lowering import can_compile
from ..inputs.tables import table_of
from ..inputs.targets import Encoded
from ..kernels.compiler.memory import aligned_zeros
from ..model.body import Body
from ..nn import Dense, Dropout, every_layer
from ..nn.losses import OutputGradient
from ..serving import evaluation


class ByHand:
    """Two compiled calls for a batch: its outputs, and the gradients that follow from theirs.

    The second call computes the outputs once more, so that nothing is kept between the two.

    Parameters
    ----------
    network : Body
        One for which `suits` is true.
    batch_size : int
        Maximum number of rows.
    """

    def __init__(self, network: Body, batch_size: int) -> None:
        dtype, n_features = network.dtype, network.n_features
        n_outputs = network.width_of_outputs(link=False)
        self.network, self.n_rows = network, 0
        self.rows = aligned_zeros(batch_size * n_features, dtype).reshape(batch_size, n_features)
        self.slopes = aligned_zeros(batch_size * n_outputs, dtype)
        table = table_of(self.rows, dtype)
        self.engine = Engine(network, table, batch_size, 1, loss=OutputGradient(n_outputs))
        encoded = Encoded(np.empty(0, np.int32), self.slopes)
        nothing, order = np.empty(0, dtype), np.arange(batch_size, dtype=np.int32)
        self.engine.loss["total_weight"] = 1.0
        self.engine.begin(order, encoded, nothing, nothing, np.empty((1, 0)), np.empty(1))

    @staticmethod
    def suits(network: Body) -> bool:
        """Whether a second forward pass is the same, and the first layer's slopes give all."""
        layers = network.layers
        is_random = any(isinstance(layer, Dropout) for layer in every_layer(layers))
        is_simple = type(layers[0]) is Dense and not network.buffers.size
        return is_simple and not is_random and can_compile(layers, network.loss)

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Outputs before the loss's link, of at most `batch_size` rows."""
        self.n_rows = n = len(rows)
        self.rows[:n] = rows
        return evaluation.outputs(self.network, self.rows[:n], link=False)

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """The gradient goes to the network's `grads`; returns that of the rows."""
        self.slopes[: dY.size] = dY.reshape(-1)
        self.engine.step_again(self.n_rows, 0)
        first = self.network.layers[0]
        assert isinstance(first, Dense)
        slopes = self.engine.slopes_of_first(self.n_rows)
        return slopes @ first.W.T
