"""The algorithm in a dozen lines and the compiled step end with the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import Dense, LayerNorm, Network, ReLU, Residual, Tanh
from fastmlp.kernels.rules import random
from fastmlp.optim.optimizers import OPTIMIZERS
from fastmlp.training import plain

pytestmark = pytest.mark.nojit

RNG = np.random.default_rng(0)
X, CLASSES, NUMBERS = RNG.normal(size=(50, 6)), RNG.integers(0, 3, 50), RNG.normal(size=(50, 2))
TASKS = {
    "softmax_cross_entropy": (CLASSES, np.eye(3)[CLASSES]),
    "mean_squared_error": (NUMBERS, NUMBERS),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS), ids=lambda cls: cls.name)
@pytest.mark.parametrize("loss", TASKS)
def test_the_plain_loop_is_what_fit_does(loss: str, optimizer: type, dtype: str) -> None:
    y, targets = TASKS[loss]

    def net() -> Network:
        layers = [Dense(9), ReLU(), Residual([Dense(9), Tanh()]), LayerNorm()]
        return Network([*layers, Dense(targets.shape[1])], loss=loss, dtype=dtype).build(6)

    orders = [np.arange(50, dtype=np.int32) for _ in range(3)]
    wanted, found = net(), net()
    for epoch, order in enumerate(orders):
        random.shuffle(order, wanted.seed, epoch)
    history = wanted.fit(X, y, optimizer=optimizer(0.01), epochs=3, batch_size=16)
    losses = plain.train(
        found, X.astype(dtype), targets.astype(dtype), optimizer(0.01), orders, batch_size=16
    )
    np.testing.assert_array_equal(found.params, wanted.params)
    assert len(losses) == 3 * 4
    last = np.average(losses[-4:], weights=[16, 16, 16, 2])
    np.testing.assert_allclose(last, history.loss[-1], rtol=1e-12)
