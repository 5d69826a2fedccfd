"""
2. The gradient, and how to trust it
====================================

Learning means moving every weight a little in the direction that makes the loss smaller.
Backpropagation finds all those directions in one walk from the loss back to the inputs. This
chapter derives it, writes it in ten lines of NumPy, and proves it right in two ways.
"""

# %%
# Forward, once more
# ------------------
# For one digit :math:`x`, with :math:`f` the bend of the hidden layer and :math:`c` the right
# class:
#
# .. math::
#    z_1 &= W_1 x + b_1, \quad a_1 = f(z_1), \\
#    z_2 &= W_2 a_1 + b_2, \quad L = -\log \frac{e^{z_{2c}}}{\sum_j e^{z_{2j}}} .
#
# Here :math:`f` is the hyperbolic tangent, since a smooth function makes the checks below easiest
# to read.

import matplotlib.pyplot as plt
import numpy as np

import fastmlp
from fastmlp import Dense, Network, Tanh
from fastmlp.reference import ReferenceNetwork

plt.style.use("tableau-colorblind10")

digits = fastmlp.datasets.load_mnist_5k()
x, label = digits.X[1558].astype(np.float64), digits.y[1558]
t = np.eye(10)[label]  # the target: 1 for the right class, 0 for the others

rng = np.random.default_rng(0)
W1, b1 = rng.normal(0, 0.05, (16, 784)), np.zeros(16)
W2, b2 = rng.normal(0, 0.3, (10, 16)), np.zeros(10)


def forward(W1, b1, W2, b2):
    a1 = np.tanh(W1 @ x + b1)
    z2 = W2 @ a1 + b2
    log_p = z2 - z2.max() - np.log(np.exp(z2 - z2.max()).sum())
    return a1, np.exp(log_p), -log_p[label]


a1, p, loss = forward(W1, b1, W2, b2)
print(f"loss {loss:.4f}; knowing nothing would cost {np.log(10):.4f}")

# %%
# At the end: p - t
# -----------------
# Write the loss as :math:`L = -z_{2c} + \log \sum_j e^{z_{2j}}` and differentiate by one sum
# :math:`z_{2k}`. The first term gives -1 if :math:`k` is the right class and 0 else, which is
# :math:`-t_k`. The second gives :math:`e^{z_{2k}} / \sum_j e^{z_{2j}}`, which is :math:`p_k`. So
#
# .. math:: \delta_2 = \frac{\partial L}{\partial z_2} = p - t .
#
# Each output learns by how much its probability is wrong, and nothing else.

delta2 = p - t
assert np.isclose(delta2.sum(), 0)  # what the right class gains, the others lose

# %%
# Backwards through a layer
# -------------------------
# The weight :math:`W_{2,kj}` enters only :math:`z_{2k}`, multiplied by :math:`a_{1j}`. By the
# chain rule its derivative is :math:`\delta_{2k} a_{1j}`, for all weights together an outer
# product; the bias has the factor 1:
#
# .. math:: \frac{\partial L}{\partial W_2} = \delta_2 a_1^T, \qquad
#           \frac{\partial L}{\partial b_2} = \delta_2 .
#
# A hidden :math:`a_{1j}` enters all ten sums, with the weights of column :math:`j`. It collects
# :math:`\sum_k W_{2,kj} \delta_{2k}`, and its own bend contributes the factor :math:`f'(z_{1j})`:
#
# .. math:: \delta_1 = \left( W_2^T \delta_2 \right) \odot f'(z_1) ,
#
# where :math:`\odot` multiplies element by element. From :math:`\delta_1` the first layer's
# gradients follow as the second's did. With more layers the same step repeats: that is all of
# backpropagation. For tanh the slope is :math:`1 - \tanh^2`.

dW2, db2 = np.outer(delta2, a1), delta2
delta1 = (W2.T @ delta2) * (1 - a1**2)
dW1, db1 = np.outer(delta1, x), delta1

# %%
# What the gradient says
# ----------------------
# Downhill is *minus* the gradient. Above, the wish of the outputs: more of the right class, less
# of those that took its probability. Below, the wish of three hidden units for their weights: it
# is always the digit itself, multiplied by one number. A unit that should say more about this
# digit adds a little of the picture to its weights, one that should say less takes it away.
# Pixels without ink change nothing, whatever the loss.

units = np.argsort(-delta1)[[0, 5, -1]]  # wanted: much less, a little less, more
fig, axes = plt.subplot_mosaic(
    [["outputs"] * 3, [0, 1, 2]], figsize=(7, 5), layout="constrained", height_ratios=[1, 1.3]
)
axes["outputs"].bar(range(10), t - p, color=["C1" if k == label else "C0" for k in range(10)])
axes["outputs"].axhline(0, color="black", linewidth=0.8)
axes["outputs"].set(title="t - p, wanted of each output", xticks=range(10), xlabel="class")
limit = abs(dW1).max()
for place, unit in enumerate(units):
    wanted = -dW1[unit].reshape(28, 28)
    picture = axes[place].imshow(wanted, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes[place].set(title=f"unit {unit}: {-delta1[unit]:+.2f} x", xticks=[], yticks=[])
fig.colorbar(picture, ax=[axes[place] for place in range(3)], label="wanted change")
plt.show()

# %%
# A small step that way does what it should:

step = 0.001
_, _, after = forward(W1 - step * dW1, b1 - step * db1, W2 - step * dW2, b2 - step * db2)
squared = sum((g**2).sum() for g in (dW1, db1, dW2, db2))
print(
    f"loss {loss:.6f} -> {after:.6f}, and step * |gradient|^2 promised {loss - step * squared:.6f}"
)
assert after < loss
assert np.isclose(loss - after, step * squared, rtol=0.1)

# %%
# First proof: differences
# ------------------------
# A derivative can be measured: move one weight by :math:`h` and see what the loss does. Taylor's
# formula says how far off that is,
#
# .. math::
#    \frac{L(w + h) - L(w)}{h} &= L' + \frac{h}{2} L'' + \dots \\
#    \frac{L(w + h) - L(w - h)}{2h} &= L' + \frac{h^2}{6} L''' + \dots
#
# In the *central* difference the terms with :math:`L''` cancel, so its error falls with
# :math:`h^2`. It cannot fall for ever. The computer knows :math:`L` to about 16 digits, and
# dividing that rounding error by :math:`2h` makes it large again when :math:`h` is tiny.

pixel = np.flatnonzero(x > 0.5)  # weights of dark pixels: the others have gradient 0
chosen = [(unit, i) for unit in range(16) for i in pixel[::12]]
exact = np.array([dW1[place] for place in chosen])


def loss_at(place, h):
    moved = W1.copy()
    moved[place] += h
    return forward(moved, b1, W2, b2)[2]


steps = np.logspace(-13, 0, 40)
errors = {"one-sided": [], "central": []}
for h in steps:
    up = np.array([loss_at(place, h) for place in chosen])
    down = np.array([loss_at(place, -h) for place in chosen])
    for name, slope in {"one-sided": (up - loss) / h, "central": (up - down) / (2 * h)}.items():
        errors[name].append(np.linalg.norm(slope - exact) / np.linalg.norm(exact))

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.loglog(steps, errors["one-sided"], "C1--o", markersize=4, label="one-sided difference")
ax.loglog(steps, errors["central"], "C0-o", markersize=4, label="central difference")
ax.annotate("rounding", (1e-11, 1e-6), (1e-9, 1e-3), color="C3")
ax.annotate("truncation", (1e-2, 1e-5), (2e-3, 1e-9), color="C3")
ax.set(xlabel="step h", ylabel="relative error of the difference")
ax.grid(alpha=0.3)
ax.legend(loc="lower left")
plt.show()

# %%
# The V is the signature of a right gradient: two straight flanks, and between them agreement to
# about ten digits. The line of a wrong one levels off instead, at the size of the mistake. Try it
# by leaving out the factor ``1 - a1**2``.

assert min(errors["central"]) < 1e-8
assert min(errors["central"]) < min(errors["one-sided"])
flank = (steps > 1e-4) & (steps < 1e-1)
slopes = {
    name: np.polyfit(np.log(steps[flank]), np.log(np.array(values)[flank]), 1)[0]
    for name, values in errors.items()
}
print({name: f"error ~ h^{slope:.2f}" for name, slope in slopes.items()})
assert np.isclose(slopes["one-sided"], 1, atol=0.1)
assert np.isclose(slopes["central"], 2, atol=0.1)

# %%
# Second proof: others who should say the same
# --------------------------------------------
# ``fastmlp.reference`` holds the same per-sample algorithm for any depth, activation and loss, in
# NumPy, to be read. And the network that trains fast has its gradient from compiled code that
# looks nothing like ours. All three agree.

oracle = ReferenceNetwork([784, 16, 10], "tanh")
oracle.weights, oracle.biases = [W1, W2], [b1[:, None], b2[:, None]]
reference_W, reference_b = oracle.gradients(x, t)
assert np.allclose(reference_W[0], dW1, rtol=1e-12, atol=1e-15)
assert np.allclose(reference_W[1], dW2, rtol=1e-12, atol=1e-15)
assert np.allclose(reference_b[0][:, 0], db1, rtol=1e-12, atol=1e-15)

net = Network([Dense(784, 16), Tanh(), Dense(16, 10)], dtype="float64")
net.params[:] = oracle.to_flat()  # one vector: W1, W2, b1, b2, each matrix turned
engine_loss, gradient = net.loss_and_gradient(x[None], t[None])
ours = np.concatenate([dW1.T.ravel(), dW2.T.ravel(), db1, db2])
assert np.isclose(engine_loss, loss, rtol=1e-12)
assert np.allclose(gradient, ours, rtol=1e-12, atol=1e-15)
print(f"largest difference from the engine: {abs(gradient - ours).max():.1e}")

# %%
# The library runs both proofs on every activation with every loss at several depths:
# ``python -m fastmlp check-gradients``. There it keeps away from the corners of functions such as
# ReLU, where the slope jumps and a difference taken across the corner measures neither side.

# %%
# One digit, followed by the library
# ----------------------------------
# ``net.trace`` walks the same way for any network and keeps every number of it, named as in the
# formulas above. Layers are counted from 0, as in ``net.layers``: 0 is the first ``Dense``, 1 its
# tanh and 2 the second ``Dense``. A matrix has a row for each input here, so ``dW`` is ours
# transposed. The last column says how far the reference's numbers are away.

trace = net.trace(x, t)
print(trace)

# %%
# They are the numbers that we have worked out:

assert np.allclose(trace[0].a, a1)
assert np.allclose(trace[2].delta, delta2)
assert np.allclose(trace[0].delta, delta1)
assert np.allclose(trace["0.dW"], dW1.T)
assert np.allclose(trace["2.update_W"], -trace.learning_rate * dW2.T)
assert trace.loss_after < trace.loss
assert trace.largest_difference < 1e-12

# %%
# The picture is read clockwise. The digit goes in at the upper left, the hidden units answer, and
# the outputs are compared with the target. Below the outputs stands :math:`\delta_2 = p - t`, then
# :math:`\delta_1`, and at the lower left what each pixel has to do with the loss: red ones would
# raise it if they were darker, blue ones would lower it.

trace.plot(image_shape=(28, 28))
plt.show()

# %%
# The same without a line of Python, for a small network on a digit of eight by eight pixels, each
# formula with its first numbers: ``fastmlp trace --row 5``. With ``--model`` it follows the digit
# through a network that ``fastmlp train --save`` wrote.
