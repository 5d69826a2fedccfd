"""PyTorch as a second opinion: its autograd and its optimizers must agree to ten digits.
Everything is in float64, and parameters are copied over, so that only the mathematics can differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from fastmlp.network import Network
from fastmlp.nn import ACTIVATIONS, Dense, Tanh
from fastmlp.nn.losses import LOSSES, Loss
from fastmlp.optim.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from fastmlp.tools.gradient_check import _activation_options

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

F = torch.nn.functional
N, N_FEATURES, N_OUTPUTS = 9, 5, 3

ACTIVATION_OF = {
    "identity": lambda z: z,
    "relu": torch.relu,
    "leaky_relu": lambda z, negative_slope=0.01: F.leaky_relu(z, negative_slope),
    "elu": lambda z, alpha=1.0: F.elu(z, alpha),
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": lambda z: F.softplus(z, threshold=100),  # without its straight line from 20 on
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


def binary(z: Any, t: Any, label_smoothing: float = 0.0) -> Any:
    smoothed = t * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(z, smoothed, reduction="none")


def poisson(z: Any, t: Any) -> Any:
    """Twice the negative log-likelihood, of which a term in t alone makes a deviance."""
    likelihood = F.poisson_nll_loss(z, t, log_input=True, full=False, reduction="none")
    return 2 * (likelihood + torch.special.xlogy(t, t) - t)


def pinball(z: Any, t: Any, levels: Sequence[float] = (0.5,)) -> Any:
    q = torch.tensor(levels, dtype=torch.float64).repeat(z.shape[1] // len(levels))
    return torch.maximum(q * (t - z), (q - 1) * (t - z))


# Losses of every output, which are averaged over a row; the first gives one number a row.
LOSS_OF = {
    "softmax_cross_entropy": lambda z, t, **options: F.cross_entropy(
        z, t, reduction="none", **options
    )[:, None],
    "binary_cross_entropy": binary,
    "mean_squared_error": lambda z, t: F.mse_loss(z, t, reduction="none"),
    "mean_absolute_error": lambda z, t: F.l1_loss(z, t, reduction="none"),
    "huber": lambda z, t, delta=1.0: F.huber_loss(z, t, delta=delta, reduction="none"),
    "quantile": pinball,
    "poisson_deviance": poisson,
}

OPTIONS = {"label_smoothing": 0.1, "delta": 0.7, "levels": (0.1, 0.5, 0.8)}
KNOWN_ACTIVATIONS = [cls for cls in ACTIVATIONS if cls.name in ACTIVATION_OF]
KNOWN_LOSSES = [cls for cls in LOSSES if cls.name in LOSS_OF]


class Peer:
    """The same network in torch, its parameters one leaf tensor for each of fastmlp's."""

    def __init__(self, network: Network, activation: Callable[..., Any]) -> None:
        self.network, self.activation = network, activation
        self.parameters = {
            name: torch.tensor(view, dtype=torch.float64, requires_grad=True)
            for name, view in network.named_parameters().items()
        }

    def outputs(self, X: np.ndarray) -> Any:
        values = torch.tensor(X)
        names = list(self.parameters)
        for W, b in zip(names[::2], names[1::2], strict=True):
            values = values @ self.parameters[W] + self.parameters[b]
            if names[-2] != W:
                values = self.activation(values)
        return values

    def flat(self, gradients: bool = False) -> np.ndarray:
        """Parameters, or their gradients, laid out as fastmlp lays them."""
        found = []
        for group in self.network.groups:
            tensor = self.parameters[group.name]
            found.append((tensor.grad if gradients else tensor.detach()).numpy().ravel())
        return np.concatenate(found)


def targets(loss: Loss, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What fit takes, and dense rows."""
    if loss.task == "classes":
        labels = np.arange(N) % N_OUTPUTS
        return labels, np.eye(N_OUTPUTS)[labels]
    if loss.task == "binary":
        y = rng.integers(0, 2, (N, N_OUTPUTS)).astype(float)
    elif getattr(loss, "levels", ()):
        y = rng.normal(size=(N, N_OUTPUTS // len(loss.levels)))  # type: ignore[attr-defined]
        return y, np.repeat(y, len(loss.levels), axis=1)  # type: ignore[attr-defined]
    else:
        y = rng.poisson(1.0, (N, N_OUTPUTS)).astype(float)
    return y, y


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("loss", KNOWN_LOSSES, ids=[cls.name for cls in KNOWN_LOSSES])
@pytest.mark.parametrize("activation", KNOWN_ACTIVATIONS, ids=[c.name for c in KNOWN_ACTIVATIONS])
def test_gradients_agree_with_autograd(
    activation: type, loss: type[Loss], rng: np.random.Generator
) -> None:
    given = {f.name: OPTIONS[f.name] for f in fields(loss) if f.name in OPTIONS}  # type: ignore[arg-type]
    made, options = loss(**given), _activation_options(activation.name)
    l1, l2 = 1e-3, 1e-2
    layers = [Dense(N_FEATURES, 7), activation(**options), Dense(4), activation(**options)]
    network = Network([*layers, Dense(N_OUTPUTS)], made, "float64", l1=l1, l2=l2)
    network.params[...] = rng.normal(0, 0.5, network.params.size)
    X, weight = rng.normal(size=(N, N_FEATURES)), rng.uniform(0.5, 2.0, N)
    y, dense = targets(made, rng)
    peer = Peer(network, lambda z: ACTIVATION_OF[activation.name](z, **options))
    rows = LOSS_OF[loss.name](peer.outputs(X), torch.tensor(dense), **given).mean(dim=1)
    W = [tensor for name, tensor in peer.parameters.items() if name.endswith("W")]
    objective = (torch.tensor(weight) * rows).sum() / weight.sum()
    objective = objective + sum(l1 * part.abs().sum() + l2 / 2 * (part**2).sum() for part in W)
    objective.backward()
    value, gradient = network.loss_and_gradient(X, y, weight)
    assert value == pytest.approx(objective.item(), rel=1e-10)
    assert relative(gradient, peer.flat(gradients=True)) <= 1e-10
    assert relative(gradient * 1.0005, peer.flat(gradients=True)) > 1e-5
    np.testing.assert_allclose(network.outputs(X), peer.outputs(X).detach().numpy(), rtol=1e-10)


def test_links_agree(rng: np.random.Generator) -> None:
    Z = rng.normal(0, 3, (N, 4))
    expected = {
        "softmax_cross_entropy": torch.softmax(torch.tensor(Z), dim=1),
        "binary_cross_entropy": torch.sigmoid(torch.tensor(Z)),
        "poisson_deviance": torch.exp(torch.tensor(Z)),
    }
    for name, peer in expected.items():
        np.testing.assert_allclose(LOSSES[name]().link(Z), peer.numpy(), rtol=1e-12)


def decayed(
    cls: Callable[..., Any], weight_decay: float = 0.0, **options: Any
) -> Callable[[Peer], Any]:
    """An optimizer of torch that, as fastmlp's, decays weights and no biases."""

    def make(peer: Peer) -> Any:
        return cls(
            [
                {"params": [tensor], "weight_decay": weight_decay * name.endswith("W")}
                for name, tensor in peer.parameters.items()
            ],
            **options,
        )

    return make


OPTIMIZERS: dict[str, tuple[Optimizer, Callable[[Peer], Any]]] = {
    "sgd": (SGD(0.1), decayed(torch.optim.SGD, lr=0.1)),
    "sgd, momentum": (SGD(0.1, 0.9), decayed(torch.optim.SGD, lr=0.1, momentum=0.9)),
    "sgd, nesterov": (
        SGD(0.1, 0.9, True),
        decayed(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    ),
    "rmsprop": (RMSprop(0.01, rho=0.95), decayed(torch.optim.RMSprop, lr=0.01, alpha=0.95)),
    "adagrad": (Adagrad(0.1), decayed(torch.optim.Adagrad, lr=0.1)),
    "adam": (Adam(0.01), decayed(torch.optim.Adam, lr=0.01)),
    "adam, other settings": (
        Adam(0.01, 0.8, 0.95, 1e-3),
        decayed(torch.optim.Adam, lr=0.01, betas=(0.8, 0.95), eps=1e-3),
    ),
    "adamw": (AdamW(0.01), decayed(torch.optim.AdamW, lr=0.01, weight_decay=0.01)),
    "adamw, strong decay": (
        Adam(0.01, weight_decay=2.0),
        decayed(torch.optim.AdamW, lr=0.01, weight_decay=2.0),
    ),
}


@pytest.mark.parametrize("clip_norm", [None, 0.3])
@pytest.mark.parametrize(("ours", "theirs"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_agree_for_twenty_steps(
    ours: Optimizer,
    theirs: Callable[[Peer], Any],
    clip_norm: float | None,
    rng: np.random.Generator,
) -> None:
    X, y = rng.normal(size=(N, N_FEATURES)), rng.normal(size=(N, N_OUTPUTS))
    network = Network(
        [Dense(N_FEATURES, 7), Tanh(), Dense(N_OUTPUTS)], "mean_squared_error", "float64"
    )
    peer = Peer(network, torch.tanh)
    optimizer = theirs(peer)
    history = network.fit(
        X,
        y,
        optimizer=replace(ours, clip_norm=clip_norm),
        epochs=20,
        batch_size=N,
        shuffle=False,
    )
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.mse_loss(peer.outputs(X), torch.tensor(y))
        loss.backward()
        if clip_norm is not None:
            clip(list(peer.parameters.values()), clip_norm)
        optimizer.step()
        losses.append(loss.item())
    assert relative(network.params, peer.flat()) <= 1e-10
    np.testing.assert_allclose(history.loss, losses, rtol=1e-10)
    assert losses[-1] < 0.95 * losses[0]


def clip(parameters: list[Any], limit: float) -> None:
    """As torch clips, without the 1e-6 that it adds to the norm."""
    norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
    for p in parameters:
        p.grad *= min(1.0, limit / norm.item())


@pytest.mark.parametrize("n", [1, 3, 8])
def test_batches_of_any_size_agree(n: int, rng: np.random.Generator) -> None:
    X, y = rng.normal(size=(20, N_FEATURES)), np.arange(20) % N_OUTPUTS
    network = Network([Dense(N_FEATURES, 7), Tanh(), Dense(N_OUTPUTS)], dtype="float64")
    peer = Peer(network, torch.tanh)
    optimizer = torch.optim.Adam(peer.parameters.values(), lr=0.01)
    network.fit(X, y, optimizer=Adam(0.01), epochs=2, batch_size=n, shuffle=False)
    for start in [*range(0, 20, n)] * 2:
        rows = slice(start, start + n)
        optimizer.zero_grad()
        F.cross_entropy(peer.outputs(X[rows]), torch.tensor(y[rows])).backward()
        optimizer.step()
    assert relative(network.params, peer.flat()) <= 1e-10
