"""
1. One neuron, one digit
========================

A neuron multiplies numbers, adds them up and bends the sum. This chapter follows one handwritten
digit through one neuron, then through a layer of ten, then to a probability for each class, and
checks every step against the library's objects.
"""

# %%
# A picture is a row of numbers
# -----------------------------
# The data are 5,000 digits of MNIST, 28 by 28 pixels each. The library gives a digit as a row of
# 784 numbers from 0 (paper) to 1 (ink), beside the label that says which digit it is.

import matplotlib.pyplot as plt
import numpy as np

import fastmlp
from fastmlp import Dense, Network, ReLU, SoftmaxCrossEntropy

plt.style.use("tableau-colorblind10")

digits = fastmlp.datasets.load_mnist_5k()
X, y = digits.X.astype(np.float64), digits.y
x, label = X[1558], y[1558]

print(f"{X.shape[0]} digits of {X.shape[1]} numbers; this one is a {label}")
print("a part of its row 10:", x.reshape(28, 28)[10, 12:20].round(2))

# %%
# One neuron
# ----------
# A neuron has one weight for each input and a bias. It computes
#
# .. math:: z = w_1 x_1 + w_2 x_2 + \dots + w_n x_n + b = w \cdot x + b .
#
# A pixel with a positive weight speaks for the neuron's cause, one with a negative weight against
# it, and the bias says how much evidence is asked for. Training will find weights by itself, from
# chapter 2 on. Here we choose them by hand, so that the neuron says yes to a 3: call
# :math:`m` the mean picture of all threes and :math:`r` that of the rest. A digit is nearer to
# :math:`m` than to :math:`r` if :math:`\|x - m\|^2 < \|x - r\|^2`. The :math:`\|x\|^2` on both
# sides cancel, and what is left is a neuron:
#
# .. math:: \underbrace{(m - r)}_{w} \cdot x
#           + \underbrace{\tfrac12 \left(\|r\|^2 - \|m\|^2\right)}_{b} > 0 .

m, r = X[y == 3].mean(axis=0), X[y != 3].mean(axis=0)
w, b = m - r, (r @ r - m @ m) / 2

z = 0.0
for x_i, w_i in zip(x, w, strict=True):
    z += w_i * x_i
z += b

assert np.isclose(z, w @ x + b)  # NumPy's product says the same in one go
assert (z > 0) == (np.sum((x - m) ** 2) < np.sum((x - r) ** 2))
print(f"z = {z:.2f}")

# %%
# The three pictures are the inputs, the weights and their products, which add up to z. Below, the
# same sum for all 5,000 digits: most threes are right of zero and most others left of it. Where
# the two overlap, one neuron alone cannot tell.

fig, axes = plt.subplot_mosaic(
    [["input", "weight", "product"], ["sums"] * 3], figsize=(7, 5), layout="constrained"
)
for name, values in {"input": x, "weight": w, "product": w * x}.items():
    if name == "input":
        scale = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
    else:
        scale = {"cmap": "RdBu_r", "vmin": -abs(w).max(), "vmax": abs(w).max()}
    picture = axes[name].imshow(values.reshape(28, 28), **scale)
    axes[name].set(title=name, xticks=[], yticks=[])
    fig.colorbar(picture, ax=axes[name], shrink=0.8)

sums = X @ w + b
bins = np.linspace(sums.min(), sums.max(), 60)
axes["sums"].hist(sums[y != 3], bins, density=True, color="C2", label="other digits")
axes["sums"].hist(sums[y == 3], bins, density=True, color="C0", alpha=0.7, label="threes")
axes["sums"].axvline(z, color="C5", linestyle="--", label="the digit above")
axes["sums"].set(xlabel="z", ylabel="density", yticks=[])
axes["sums"].legend()
plt.show()

# %%
# What it hands on is usually not the sum but an *activation* of it, :math:`a = f(z)`. The simplest
# in use is :class:`fastmlp.ReLU`: the sum if it is positive, else 0. Without such a bend, layers
# behind each other would collapse into one, since a sum of sums is a sum. Chapter 3 shows others.
#
# A layer
# -------
# Ten neurons that look at the same inputs are a layer. Their weights are the rows of a matrix
# :math:`W`, and :math:`z = W x + b` holds all ten sums. The trick with the mean pictures works for
# ten classes as well: neuron :math:`k` gets :math:`w_k = m_k` and :math:`b_k = -\|m_k\|^2 / 2`,
# and the largest sum then belongs to the nearest mean.

W = np.array([X[y == k].mean(axis=0) for k in range(10)])
b = -np.sum(W**2, axis=1) / 2
z = W @ x + b

nearest = np.argmin(np.sum((W - x) ** 2, axis=1))
assert z.argmax() == nearest
accuracy = np.mean((X @ W.T + b).argmax(axis=1) == y)
print(f"W {W.shape} times x {x.shape} plus b {b.shape} gives z {z.shape}")
print(f"the largest of the ten sums names the right digit for {accuracy:.0%} of the digits")

# %%
# From sums to probabilities
# --------------------------
# Sums can have any sign and size. *Softmax* makes probabilities of them: exponentials are
# positive, and divided by their total they add up to one,
#
# .. math:: p_k = \frac{e^{z_k}}{\sum_j e^{z_j}} .
#
# Adding a constant to all :math:`z` multiplies above and below by the same factor and changes
# nothing. Programs use that to subtract the maximum first, so that no exponential overflows.


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


p = softmax(z)
assert np.isclose(p.sum(), 1)
assert np.allclose(p, softmax(z + 1000))

fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
colors = ["C1" if k == label else "C0" for k in range(10)]
left.bar(range(10), z, color=colors)
left.axhline(0, color="black", linewidth=0.8)
left.set(title="sums z", xlabel="class", xticks=range(10))
right.bar(range(10), p, color=colors)
right.set(title="probabilities p", xlabel="class", xticks=range(10), ylim=(0, 1))
plt.show()

# %%
# One number for how wrong it is
# ------------------------------
# The *cross-entropy* of one digit is :math:`-\log p_c`, where :math:`c` is the right class (orange
# above). It is 0 if the network is certain and right, :math:`\log 10 = 2.3` if it knows nothing,
# and grows without bound the surer it is of something wrong. A loss like this is what training
# makes small, because unlike the share of right answers it changes a little when the weights
# change a little.

loss = -np.log(p[label])
print(f"the right class has p = {p[label]:.3f}, the loss is {loss:.3f}")
assert np.isclose(-np.log(softmax(np.zeros(10))[label]), np.log(10))

# %%
# The same with the library
# -------------------------
# A network with a hidden layer repeats all this: 32 neurons with ReLU look at the pixels, ten
# neurons look at those 32, and softmax ends it. :class:`fastmlp.Dense` keeps its weights as
# (inputs, units), turned against ours, for a reason that chapter 5 gives. Initial weights are
# random (chapter 4), so this network knows nothing yet.

net = Network([Dense(784, 32), ReLU(), Dense(32, 10)], dtype="float64")
first, _, last = net.layers

hidden = np.maximum(first.W.T @ x + first.b, 0)
z = last.W.T @ hidden + last.b
p = softmax(z)

# %%
# By hand, layer by layer, and all at once: the numbers agree. The library takes rows of digits, so
# a single digit is the row ``x[None]``.

Z = first.forward(x[None])
assert np.allclose(ReLU().forward(Z)[0], hidden)
assert np.allclose(net.outputs(x[None])[0], z)
assert np.allclose(net.predict_proba(x[None])[0], p)

target = np.eye(10)[[label]]  # 1 for the right class, 0 for the others
value, _ = SoftmaxCrossEntropy().value_and_gradient(z[None], target, np.ones(1))
assert np.isclose(value, -np.log(p[label]))
print(f"loss by hand {-np.log(p[label]):.6f}, by fastmlp {value:.6f}")

# %%
# The loss depends on the 25,450 weights and biases of this network. Which way should each of them
# move to make it smaller? That is the question of the next chapter.

assert net.params.size == 784 * 32 + 32 + 32 * 10 + 10 == 25_450
