"""
4. Where weights start
======================

Weights must start at random, or all units would learn the same. But how large? This chapter
derives the two usual answers, Glorot's (also called Xavier's) and He's, and tries them in a network
of ten hidden layers, where a wrong answer is multiplied ten times.
"""

# %%
# Why not zero
# ------------
# With all weights at zero the hidden units say 0 to everything, and no gradient passes the zero
# weights of the output layer. Of 79,510 parameters only the ten output biases would move:

import matplotlib.pyplot as plt
import numpy as np

import fastmlp
from fastmlp import SGD, Dense, InputError, Network, ReLU, Tanh
from fastmlp.nn.initializers import GlorotNormal, HeNormal, Normal, Zeros

plt.style.use("tableau-colorblind10")

split = fastmlp.datasets.load_mnist_5k().split()
X, y = split.X_train, split.y_train

net = Network([Dense(100, initializer=Zeros()), ReLU(), Dense(10, initializer=Zeros())])
_, gradient = net.loss_and_gradient(X[:500], y[:500])
print(f"{np.count_nonzero(gradient)} of {gradient.size} derivatives are not zero")
assert np.count_nonzero(gradient) == 10

# %%
# The sum of many random terms
# ----------------------------
# A unit adds up :math:`n_{in}` products :math:`w_i a_i`. Let the weights be independent, with mean
# 0 and variance :math:`\sigma^2`. Variances of independent terms add, and each term has
# :math:`\sigma^2 E[a_i^2]`, so
#
# .. math:: E[z^2] = n_{in} \, \sigma^2 \, E[a^2] .
#
# Now the activation. Near zero tanh is almost the identity, so :math:`E[a^2] \approx E[z^2]` in the
# next layer, and sizes stay as they are if :math:`n_{in} \sigma^2 = 1`. ReLU sets the negative half
# of a symmetric :math:`z` to zero, so :math:`E[a^2] = E[z^2] / 2`, and sizes stay if
#
# .. math:: \sigma^2 = \frac{2}{n_{in}} .
#
# That is :class:`He's rule <fastmlp.nn.initializers.HeNormal>`.
#
# On the way back :math:`\delta` is a sum too, over the :math:`n_{out}` units that a layer feeds,
# with the same weights: it keeps its size if :math:`n_{out} \sigma^2 = 1` for the tanh. Both wishes
# can only be met if a layer has as many units as inputs. The mean of the two is
# :class:`Glorot's rule <fastmlp.nn.initializers.GlorotNormal>`,
#
# .. math:: \frac{n_{in} + n_{out}}{2} \, \sigma^2 = 1 .
#
# If sizes change by a factor :math:`g` in one layer, they change by :math:`g^{10}` in ten: halved
# each time, a thousandth is left.
#
# Ten layers, measured
# --------------------
# Ten hidden layers of 100 ReLU units and four ways to start: both rules, and a fixed standard
# deviation that is half or about one and a half times He's 0.14.

rules = {
    "Normal(0.07)": (Normal(0.07), "C1:^"),
    "Glorot": (GlorotNormal(), "C5--s"),
    "He": (HeNormal(), "C0-o"),
    "Normal(0.21)": (Normal(0.21), "C3-.v"),
}


def deep_network(activation, initializer):
    layers = []
    for _ in range(10):
        layers += [Dense(100, initializer=initializer), activation()]
    return Network([*layers, Dense(10, initializer=initializer)]).build(784)


def size(values):
    """Root mean square."""
    return np.sqrt(np.mean(values**2))


def walk(net, X, y):
    """Sizes of the activations and of the gradients by the sums z, one a hidden layer."""
    forward, backward = [], []
    for layer in net.layers:
        X = layer.forward(X)
        if not isinstance(layer, Dense):
            forward.append(size(X))
    _, delta = net.loss.value_and_gradient(X, np.eye(10)[y], np.ones(len(y)))
    for layer in reversed(net.layers):
        delta = layer.backward(delta)
        if not isinstance(layer, Dense):
            backward.insert(0, size(delta) * len(y))  # of one digit, not of the mean
    return np.array(forward), np.array(backward)


fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.8), layout="constrained")
measured = {}
for name, (initializer, style) in rules.items():
    measured[name] = walk(deep_network(ReLU, initializer), X[:500], y[:500])
    for ax, sizes in zip((left, right), measured[name], strict=True):
        ax.semilogy(range(1, 11), sizes, style, markersize=4, label=name)
left.set(title="activations", xlabel="hidden layer", ylabel="root mean square")
right.set(title="gradients", xlabel="hidden layer")
for ax in (left, right):
    ax.set_xticks(range(1, 11))
    ax.grid(alpha=0.3)
fig.legend(*left.get_legend_handles_labels(), ncols=4, loc="outside upper center")
plt.show()

# %%
# Forward is from left to right, backward from right to left. Straight lines on this scale are
# constant factors a layer, and they are the predicted ones: :math:`g = \sqrt{n_{in} \sigma^2 / 2}`
# for ReLU, which is 1 for He.

factors = {}
for name, (forward, _) in measured.items():
    factors[name] = (forward[-1] / forward[0]) ** (1 / 9)
sigma = {"Normal(0.07)": 0.07, "Glorot": 0.1, "He": np.sqrt(0.02), "Normal(0.21)": 0.21}
for name, factor in factors.items():
    predicted = np.sqrt(100 * sigma[name] ** 2 / 2)
    print(f"{name:12}  factor a layer: measured {factor:.2f}, predicted {predicted:.2f}")
    assert np.isclose(factor, predicted, rtol=0.15)

# %%
# What training makes of it
# -------------------------
# The same networks, and the same with tanh, trained alike with plain gradient descent.

fig, axes = plt.subplots(1, 2, figsize=(7, 3.8), sharey=True, layout="constrained")
losses = {}
for ax, activation in zip(axes, (ReLU, Tanh), strict=True):
    for name, (initializer, style) in rules.items():
        net = deep_network(activation, initializer)
        try:
            history = net.fit(X, y, optimizer=SGD(0.02), epochs=12)
        except InputError as error:
            print(f"{activation.__name__}, {name}: {error}")
            continue
        losses[activation, name] = history.loss
        ax.plot(range(1, 13), history.loss, style, markersize=4, label=name)
    ax.axhline(np.log(10), color="C2", linewidth=1)
    ax.set(title=activation.__name__, xlabel="epoch")
    ax.grid(alpha=0.3)
axes[0].set_ylabel("training loss")
fig.legend(*axes[1].get_legend_handles_labels(), ncols=4, loc="outside upper center")
plt.show()

# %%
# The grey line is :math:`\log 10`, the loss of knowing nothing. With ReLU, too small weights never
# leave it: the gradient that reaches the first layers is a thousandth of what it should be, and the
# digits' differences drown on the way forward. Glorot's rule, meant for tanh, loses some epochs.
# Too large weights overflow within the first steps, and ``fit`` says so and stops; there is no line
# to draw. With tanh the same mistakes cost less, since its values cannot exceed 1.
#
# A :class:`fastmlp.Dense` that is not told otherwise looks at the activation behind it and takes
# the rule that suits it. All rules are in :mod:`fastmlp.nn.initializers`.

assert losses[ReLU, "Normal(0.07)"][-1] > 2.2
assert (ReLU, "Normal(0.21)") not in losses
assert losses[ReLU, "He"][2] < losses[ReLU, "Glorot"][2] - 0.5
assert losses[ReLU, "He"][-1] < 0.5
assert losses[Tanh, "Normal(0.07)"][-1] > losses[Tanh, "Glorot"][-1]

first = Network([Dense(784, 100), ReLU(), Dense(100, 10)]).layers[0]
print(f"by default before ReLU: {first.used_initializer}")
