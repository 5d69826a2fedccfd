"""
5. From one digit to a matrix of them
=====================================

So far one digit went through the network at a time. Put several as rows of a matrix, and every
vector of the chapters before becomes a matrix, every product a matrix product: the same gradients,
many times faster, and a choice to make, the size of the batch.
"""

# %%
# The shapes
# ----------
# A batch of :math:`m` digits is a matrix :math:`A` with one digit a row. For rows, the layer's
# weights stand the other way round, as inputs by units, which is how :class:`fastmlp.Dense` keeps
# them:
#
# .. math:: Z = A W + b .
#
# The bias is added to every row. Backwards, the gradient of :math:`W` for one digit was an outer
# product; for the batch it is the sum of :math:`m` outer products, and that sum *is* a matrix
# product. Those of the bias and of the inputs follow likewise:
#
# .. math:: dW = A^T dZ, \qquad db = \textstyle\sum_{rows} dZ, \qquad dA = dZ \, W^T .
#
# There is no need to remember which matrix is turned. Only one way makes the shapes fit.

import time

import matplotlib.pyplot as plt
import numpy as np

import fastmlp
from fastmlp import SGD, Dense, Network, ReLU
from fastmlp.reference import ReferenceNetwork

plt.style.use("tableau-colorblind10")

LENGTHS = {"digits": 5, "inputs": 8, "units": 3, "1": 1}


def draw(ax, *terms):
    """Matrices (name, rows, columns, colour) as boxes to scale, and signs between them."""
    x = 0.0
    for term in terms:
        if isinstance(term, str):
            ax.text(x + 0.4, 0, term, ha="center", va="center", fontsize=14)
            x += 0.8
            continue
        name, rows, columns, color = term
        height, width = LENGTHS[rows], LENGTHS[columns]
        x += 1.2
        ax.add_patch(plt.Rectangle((x, -height / 2), width, height, color=color, alpha=0.35))
        ax.text(x + width / 2, 0, name, ha="center", va="center", fontsize=13)
        ax.text(x + width / 2, height / 2 + 0.2, columns, ha="center", va="bottom")
        ax.text(x - 0.15, 0, rows, ha="right", va="center", rotation=90)
        x += width + 0.3
    ax.set(xlim=(0, 25), ylim=(-4.2, 5.2), aspect="equal")
    ax.set_axis_off()


A, W, b = ("A", "digits", "inputs", "C0"), ("W", "inputs", "units", "C1"), ("b", "1", "units", "C1")
Z, dZ = ("Z", "digits", "units", "C0"), ("dZ", "digits", "units", "C0")
turned_A, dW = ("Aᵀ", "inputs", "digits", "C0"), ("dW", "inputs", "units", "C1")

fig, (forward, backward) = plt.subplots(2, 1, figsize=(7, 5.3), layout="constrained")
draw(forward, A, W, "+", b, "=", Z)
draw(backward, turned_A, dZ, "=", dW)
plt.show()

# %%
# The same gradients
# ------------------
# The loss of a batch is the mean over its digits, so its gradient is the mean of theirs: divide
# :math:`p - t` by :math:`m`, and the sums above do the rest. Here are 64 digits, first one by one
# with the reference, then all at once with the library's layers, then with the compiled step.

split = fastmlp.datasets.load_mnist_5k().split()
X, y = split.X_train.astype(np.float64), split.y_train
T = np.eye(10)[y]
batch, m = slice(0, 64), 64

oracle = ReferenceNetwork([784, 32, 10])
singles = []
for x, t in zip(X[batch], T[batch], strict=True):
    dW_list, db_list = oracle.gradients(x, t)
    singles.append(np.concatenate([part.T.ravel() for part in (*dW_list, *db_list)]))
mean_of_singles = np.mean(singles, axis=0)

net = Network([Dense(784, 32), ReLU(), Dense(32, 10)], dtype="float64")
net.params[:] = oracle.to_flat()
A = X[batch]
for layer in net.layers:
    A = layer.forward(A)
P = np.exp(A - A.max(axis=1, keepdims=True))
P /= P.sum(axis=1, keepdims=True)
delta = (P - T[batch]) / m
for layer in reversed(net.layers):
    delta = layer.backward(delta)

assert np.allclose(net.grads, mean_of_singles, rtol=1e-12, atol=1e-15)
_, compiled = net.loss_and_gradient(X[batch], y[batch])
assert np.allclose(compiled, mean_of_singles, rtol=1e-12, atol=1e-15)
print(f"largest difference: {abs(compiled - mean_of_singles).max():.1e}")

# %%
# What a batch buys
# -----------------
# Speed first. One epoch of the reference, in NumPy and one digit at a time, is the unit; the
# engine walks the same digits in batches of growing size. Even alone a digit is faster there,
# since no Python runs between two steps. In a batch each weight that is fetched from memory serves
# many digits. (The engine computes in float32, its default, the reference in float64.)

start = time.perf_counter()
oracle.train_epoch(X, T, range(1000), 0.01)
reference_time = (time.perf_counter() - start) / 1000

sizes = np.array([1, 4, 16, 64, 256, 1024])
ratios = []
for size in sizes:
    trained = Network([Dense(32), ReLU(), Dense(10)])
    history = trained.fit(split.X_train, y, optimizer=SGD(0.01), batch_size=int(size), epochs=8)
    ratios.append(reference_time / (min(history.seconds) / len(X)))

# %%
# Noise second. The gradient of a batch is an estimate of that of all training digits. Its error
# shrinks as that of any mean does, with the square root of the number of terms: four times the
# digits for half the noise.

net = Network([Dense(32), ReLU(), Dense(10)], dtype="float64")
net.fit(X, y, optimizer=SGD(0.01), epochs=1)
_, whole = net.loss_and_gradient(X, y)
rng = np.random.default_rng(0)
noise = []
for size in sizes:
    drawn = [rng.integers(0, len(X), size) for _ in range(50)]
    errors = [net.loss_and_gradient(X[rows], y[rows])[1] - whole for rows in drawn]
    noise.append(np.sqrt(np.mean([e @ e for e in errors]) / (whole @ whole)))

fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
left.semilogx(sizes, ratios, "C0-o")
left.set(xlabel="batch size", ylabel="digits a second, reference = 1", ylim=(0, None))
right.loglog(sizes, noise, "C0o", label="measured")
right.loglog(sizes, noise[0] / np.sqrt(sizes), "C5--", label="1 / sqrt(batch size)")
right.set(xlabel="batch size", ylabel="error / length of the gradient")
right.legend()
for ax in (left, right):
    ax.set_xticks(sizes, sizes)
    ax.minorticks_off()
    ax.grid(alpha=0.3)
plt.show()

for size, ratio in zip(sizes, ratios, strict=True):
    print(f"batches of {size:4d}: {ratio:5.0f} times the reference's speed")
assert ratios[2] > ratios[0] > 1
assert np.allclose(noise, noise[0] / np.sqrt(sizes), rtol=0.3)

# %%
# The speeds are those of the machine that built this page. They stop growing early: once enough
# digits share each weight, fetching it is no longer what takes the time.
#
# What it costs
# -------------
# A larger batch means fewer steps an epoch. The noise falls with the square root, the number of
# steps with the size itself, so at one learning rate and the same number of epochs large batches
# come less far. A less noisy step can be longer, which makes up for a part of it: below, each size
# has the best of four learning rates.

print("batch size   steps   best rate   training loss")
final = []
for size in (4, 32, 256, 2048):
    trials = {}
    for rate in (0.03, 0.1, 0.3, 1.0):
        trained = Network([Dense(32), ReLU(), Dense(10)])
        optimizer = SGD(rate, clip_norm=10.0)  # the largest rates are too large for small batches
        history = trained.fit(split.X_train, y, optimizer=optimizer, batch_size=size, epochs=10)
        trials[rate] = history.loss[-1]
    best = min(trials, key=trials.get)
    final.append(trials[best])
    print(f"{size:10d} {10 * -(-len(y) // size):7d} {best:11g} {trials[best]:15.3f}")
assert final[0] < final[-1]

# %%
# The usual 32 to 256 are a compromise: nearly all of the speed, and enough steps.
