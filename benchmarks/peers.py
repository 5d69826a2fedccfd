"""The libraries that training is compared with, each used in the way that suits it best.

All work on prepared arrays, permute the rows once per epoch and then take slices. A package that is
not installed is skipped, and the results say so.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import cases
from .machine import blas_threads, one_or_all_cores
from .problem import Problem, Weights
from .trainers import Trainer

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def torch_layers(weights: Weights, activation: str) -> list[Any]:
    """Linear layers with these weights, and an activation between them."""
    import torch
    from torch import nn

    kind = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}[activation]

    layers: list[Any] = []
    for W, b in weights:
        linear = nn.Linear(*W.shape, dtype=getattr(torch, W.dtype.name))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, kind()]
    return layers[:-1]


class TorchTrainer(Trainer):
    """PyTorch, eager, with its fused optimizers."""

    name, package = cases.TORCH, "torch"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        import torch
        from torch import nn

        self.torch, self.model = (
            torch,
            nn.Sequential(*torch_layers(problem.weights, problem.net.activation)),
        )
        self.X = torch.from_numpy(np.array(problem.X))
        self.y = torch.from_numpy(np.array(problem.y))
        if problem.net.task == "numbers":
            self.y = self.y[:, None]
        self.loss = nn.CrossEntropyLoss() if problem.net.task == "classes" else nn.MSELoss()
        options = {"lr": problem.rate, "fused": True}
        if problem.optimizer == cases.MOMENTUM:
            make = functools.partial(torch.optim.SGD, momentum=cases.MOMENTUM_FACTOR)
        else:
            make = functools.partial(torch.optim.Adam, betas=(BETA1, BETA2), eps=EPSILON)
        self.optimizer = make(self.model.parameters(), **options)

    @property
    def thread_choices(self) -> Sequence[int]:
        return one_or_all_cores()

    def on_threads(self) -> contextlib.AbstractContextManager[Any]:
        self.torch.set_num_threads(self.threads)
        return contextlib.nullcontext()

    def epoch(self, order: np.ndarray) -> float:
        optimizer, batch = self.optimizer, self.problem.batch
        rows = self.torch.from_numpy(order.astype(np.int64))
        X, y = self.X[rows], self.y[rows]
        losses = []
        for start in range(0, len(order), batch):
            optimizer.zero_grad()
            loss = self.loss_of(X[start : start + batch], y[start : start + batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return float(self.torch.stack(losses).mean())

    def loss_of(self, X: Any, y: Any) -> Any:
        """The mean loss of a batch, to be differentiated."""
        return self.loss(self.model(X), y)

    def parameters(self) -> list[np.ndarray]:
        linear = list(self.model)[::2]
        return [
            part for layer in linear for part in (layer.weight.detach().numpy().T,
                                                  layer.bias.detach().numpy())
        ]  # fmt: skip


class CompiledTorchTrainer(TorchTrainer):
    """PyTorch with forward and backward pass compiled; needs a C++ compiler."""

    name = cases.TORCH_COMPILED

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        # What earlier problems compiled would count as compiling this one again and again.
        self.torch.compiler.reset()
        eager = super().loss_of
        self._compiled = self.torch.compile(lambda X, y: eager(X, y), dynamic=False)

    def loss_of(self, X: Any, y: Any) -> Any:
        return self._compiled(X, y)


class JaxTrainer(Trainer):
    """JAX, the whole epoch in one compiled scan that reuses the memory of its state."""

    name, package = cases.JAX, "jax"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", problem.dtype == "float64")
        self.X, self.y = jnp.array(problem.X), jnp.array(problem.y)
        weights = [(jnp.array(W), jnp.array(b)) for W, b in problem.weights]
        zeros = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
        self.state = (weights, *zeros, jnp.zeros((), problem.dtype))
        self._epoch = jax.jit(jax_epoch(problem), donate_argnums=0)

    def epoch(self, order: np.ndarray) -> float:
        self.state, losses = self._epoch(self.state, self.X, self.y, order.astype(np.int32))
        return float(losses.mean())

    def parameters(self) -> list[np.ndarray]:
        return [np.asarray(part) for layer in self.state[0] for part in layer]


def jax_epoch(problem: Problem) -> Any:
    """The function of an epoch: (state, X, y, order) -> (state, losses)."""
    import jax
    import jax.numpy as jnp

    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}[
        problem.net.activation
    ]

    def loss(weights: Any, X: Any, y: Any) -> Any:
        for W, b in weights[:-1]:
            X = activation(X @ W + b)
        W, b = weights[-1]
        outputs = X @ W + b
        if problem.net.task == "numbers":
            return jnp.mean((outputs[:, 0] - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1))

    def momentum_step(state: Any, rows: Any) -> Any:
        weights, velocity, *rest = state
        value, gradient = jax.value_and_grad(loss)(weights, *rows)
        factor, rate = cases.MOMENTUM_FACTOR, problem.rate
        velocity = jax.tree.map(lambda v, g: factor * v - rate * g, velocity, gradient)
        return (jax.tree.map(jnp.add, weights, velocity), velocity, *rest), value

    def adam_step(state: Any, rows: Any) -> Any:
        weights, mean, square, t = state
        value, gradient = jax.value_and_grad(loss)(weights, *rows)
        t = t + 1
        mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, gradient)
        square = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, square, gradient)
        root = jnp.sqrt(1 - BETA2**t)
        rate, epsilon = problem.rate * root / (1 - BETA1**t), EPSILON * root
        weights = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + epsilon), weights, mean, square
        )
        return (weights, mean, square, t), value

    def epoch(state: Any, X: Any, y: Any, order: Any) -> Any:
        batches = X[order].reshape(-1, problem.batch, X.shape[1])
        step = momentum_step if problem.optimizer == cases.MOMENTUM else adam_step
        return jax.lax.scan(step, state, (batches, y[order].reshape(-1, problem.batch)))

    return epoch


_SKLEARN_NAMES = {"sigmoid": "logistic"}


class SklearnTrainer(Trainer):
    """scikit-learn's MLP, one epoch per `partial_fit`.

    It gets permuted rows with its own shuffling off, which is faster than letting it gather every
    batch, and is the same work as for the others.
    """

    name, package = cases.SKLEARN, "sklearn"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        kind = MLPClassifier if problem.net.task == "classes" else MLPRegressor
        rate, solver = problem.rate, "adam"
        if problem.optimizer == cases.MOMENTUM:
            # Its squared error is half of what the others call by that name.
            rate, solver = rate * (1 if problem.net.task == "classes" else 2), "sgd"
        self.model = kind(
            hidden_layer_sizes=problem.net.sizes[1:-1],
            activation=_SKLEARN_NAMES.get(problem.net.activation, problem.net.activation),
            batch_size=problem.batch,
            alpha=0,
            solver=solver,
            learning_rate_init=rate,
            shuffle=False,
            momentum=cases.MOMENTUM_FACTOR,
            nesterovs_momentum=False,
            beta_1=BETA1,
            beta_2=BETA2,
            epsilon=EPSILON,
        )
        # A first call makes its arrays; then its weights are ours and its optimizer is new.
        self._learn(problem.X[: problem.batch], problem.y[: problem.batch])
        self.model.coefs_ = [W.copy() for W, _ in problem.weights]
        self.model.intercepts_ = [b.copy() for _, b in problem.weights]
        del self.model._optimizer

    @property
    def thread_choices(self) -> Sequence[int]:
        return one_or_all_cores()

    def on_threads(self) -> contextlib.AbstractContextManager[Any]:
        return blas_threads(self.threads)

    def _learn(self, X: np.ndarray, y: np.ndarray) -> None:
        if self.problem.net.task == "classes":
            self.model.partial_fit(X, y, classes=np.arange(self.problem.net.sizes[-1]))
        else:
            self.model.partial_fit(X, y)

    def epoch(self, order: np.ndarray) -> float:
        self._learn(self.problem.X[order], self.problem.y[order])
        return float(self.model.loss_) * (1 if self.problem.net.task == "classes" else 2)

    def curve(self, orders: Sequence[np.ndarray]) -> list[float]:
        """As `epoch`, but with one call per batch, to change epsilon to match the others.

        scikit-learn adds epsilon to the root of the second moment before correcting it, the others
        after.
        """
        if self.problem.optimizer == cases.MOMENTUM:
            return super().curve(orders)
        batch, steps, losses = self.problem.batch, 0, []
        for order in orders:
            total = 0.0
            for start in range(0, len(order), batch):
                steps += 1
                epsilon = EPSILON * np.sqrt(1 - BETA2**steps)
                self.model.epsilon = epsilon
                if steps > 1:
                    self.model._optimizer.epsilon = epsilon
                total += self.epoch(order[start : start + batch])
            losses.append(total / self.problem.n_steps)
        return losses

    def parameters(self) -> list[np.ndarray]:
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return [part for pair in pairs for part in pair]


# It compiles for up to a minute per shape, so only cases that name it wait for it.
SLOW_TO_START = (cases.TORCH_COMPILED,)
TRAINERS: dict[str, type[Trainer]] = {
    trainer.name: trainer
    for trainer in (TorchTrainer, CompiledTorchTrainer, JaxTrainer, SklearnTrainer)
}
