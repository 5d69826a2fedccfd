"""The algorithm before the machinery: mini-batch gradient descent in a dozen lines over layers.

Read this first. The compiled step does the same, and a test checks that both end with the same
bits. The rest of this folder adds validation, stopping, checkpoints and the like.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..model.body import Body
from ..optim.optimizers import Optimizer


def train(
    network: Body,
    X: np.ndarray,
    targets: np.ndarray,
    optimizer: Optimizer,
    orders: Iterable[np.ndarray],
    batch_size: int,
) -> list[float]:
    """Train a built network without dropout and penalties; returns the loss of each batch.

    Parameters
    ----------
    network : Body
    X : ndarray of shape (n, n_features)
        In the network's dtype.
    targets : ndarray of shape (n, n_outputs)
        Numbers, or one-hot rows for classes; in the network's dtype.
    optimizer : Optimizer
        With a constant learning rate.
    orders : iterable of ndarray of shape (n,)
        The order in which an epoch visits the rows, one for each epoch.
    batch_size : int
    """
    losses = list[float]()
    for order in orders:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            values = X[rows]
            for layer in network.layers:  # forward
                values = layer.forward(values, training=True)
            weights = np.ones(len(rows), values.dtype)
            loss, slopes = network.loss.value_and_gradient(values, targets[rows], weights)
            for layer in reversed(network.layers):  # backward: the chain rule, layer by layer
                slopes = layer.backward(slopes)
            optimizer.step(network.params, network.grads)  # update
            losses.append(loss)
    return losses
