"""
Your own layer, loss and optimizer
==================================

Three small classes in NumPy that work in a ``Network`` together with the built-in ones.
A network with such a part runs layer by layer, slower than a compiled one;
:doc:`/extending/without-the-package` shows how to make a compiled part.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import Dense, Layer, Loss, Network, ReLU

plt.style.use("tableau-colorblind10")

# %%
# A layer
# -------
#
# Waves of learnt frequencies: each input column x becomes cos(f x) and sin(f x) for
# several f. A layer with parameters defines their shapes, draws initial values, and
# writes their gradients.


class Waves(Layer):
    name = "waves"

    def __init__(self, n_waves):
        self.n_waves = n_waves

    def build(self, n_in):
        self.n_out = 2 * n_in * self.n_waves
        return super().build(n_in)

    def parameter_shapes(self):
        return {"f": (self.n_in, self.n_waves)}

    def initialize(self, rng):
        self.parameters["f"][...] = rng.normal(0, 3, (self.n_in, self.n_waves))

    def forward(self, X, training=False):
        self.X = X[:, :, np.newaxis]
        angle = self.X * self.parameters["f"]
        self.cos, self.sin = np.cos(angle), np.sin(angle)
        return np.concatenate([self.cos, self.sin], axis=2).reshape(len(X), -1)

    def backward(self, dY):
        d_cos, d_sin = np.split(dY.reshape(len(dY), self.n_in, -1), 2, axis=2)
        d_angle = d_sin * self.cos - d_cos * self.sin
        self.gradients["f"][...] = (d_angle * self.X).sum(axis=0)
        return (d_angle * self.parameters["f"]).sum(axis=2)


# %%
# A loss
# ------
#
# The logarithm of cosh: a parabola near 0, linear further out, so that outliers have
# bounded influence. It returns the weighted mean over samples and its gradient with
# respect to the outputs.


class LogCosh(Loss):
    name, task = "log_cosh", "regression"

    def value_and_gradient(self, outputs, targets, sample_weight):
        error = outputs - targets
        share = (sample_weight / sample_weight.sum() / outputs.shape[1])[:, np.newaxis]
        values = np.logaddexp(error, -error) - np.log(2)
        return float((values * share).sum()), np.tanh(error) * share


# %%
# An optimizer
# ------------
#
# Any object with ``step(params, grads)``, which changes the flat vector of parameters
# in place. This is Lion (`Chen et al., 2023 <https://arxiv.org/abs/2302.06675>`_),
# which moves every parameter by the same amount, here with a rate that falls.


class Lion:
    def __init__(self, rate):
        self.rate, self.memory = rate, 0.0

    def step(self, params, grads):
        params -= self.rate * np.sign(0.9 * self.memory + 0.1 * grads)
        self.memory = 0.99 * self.memory + 0.01 * grads
        self.rate *= 0.9995


# %%
# Check the gradient first
# ------------------------
#
# It is easy to get derivatives wrong. In float64, the change of the loss along any
# direction must equal the gradient's component in that direction.

rng = np.random.default_rng(0)
X, y = rng.normal(size=(50, 2)), rng.normal(size=50)
network = Network([Waves(4), Dense(8), ReLU(), Dense(1)], LogCosh(), dtype="float64")
_, gradient = network.loss_and_gradient(X, y)
start, direction = network.params.copy(), rng.normal(size=gradient.size)

losses = []
for sign in (1, -1):
    network.params[...] = start + sign * 1e-6 * direction
    losses.append(network.loss_and_gradient(X, y)[0])
difference = (losses[0] - losses[1]) / 2e-6
print(
    f"from the gradient {gradient @ direction:.8f}, from differences {difference:.8f}"
)
assert np.isclose(gradient @ direction, difference, rtol=1e-5)

# %%
# All three at work
# -----------------
#
# A fast wave with wild outliers, one sample in fifteen. The squared error follows them,
# LogCosh does not; layer and optimizer are the same. (The built-in ``Huber`` is of the
# same kind, and compiled.)


def wave(x):
    return np.sin(6 * x) + 0.5 * np.sin(17 * x)


x = rng.uniform(-2, 2, (600, 1)).astype("float32")
y = wave(x[:, 0]) + 0.1 * rng.normal(size=600)
y[::15] += rng.choice([-8, 8], 40)

own = Network([Waves(32), Dense(64), ReLU(), Dense(1)], LogCosh())
own.fit(x, y, optimizer=Lion(2e-3), epochs=150)
squared = Network([Waves(32), Dense(64), ReLU(), Dense(1)], "mean_squared_error")
squared.fit(x, y, optimizer=Lion(2e-3), epochs=150)

grid = np.linspace(-2, 2, 800, dtype="float32").reshape(-1, 1)
truth = wave(grid[:, 0])
curves = {
    "squared error": squared.predict(grid),
    "LogCosh": own.predict(grid),
}
errors = [np.abs(curve - truth).mean() for curve in curves.values()]
for name, error in zip(curves, errors, strict=True):
    print(f"{name:14}mean distance from the truth {error:.3f}")
assert errors[1] < errors[0]

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(x, y, ".", color="0.6", ms=3, label="samples, outliers at about 8 and -8")
ax.plot(grid, truth, "k:", label="the truth")
for (name, curve), color in zip(curves.items(), ["C1", "C0"], strict=True):
    ax.plot(grid, curve, color, label=name)
ax.set(ylim=(-3, 4), xlim=(-2, 2), xlabel="x", ylabel="y")
ax.legend(ncols=2, loc="upper center")
plt.show()
