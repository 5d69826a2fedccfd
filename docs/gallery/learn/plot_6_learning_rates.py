"""
6. Learning rates and optimizers
================================

The gradient says which way is down, not how far to go. This chapter looks along one gradient,
trains with steps that are too short, right and too long, and adds the two ideas that every modern
optimizer is made of: memory and a step for each weight.
"""

# %%
# Along one gradient
# ------------------
# Take all training digits, their gradient :math:`g`, and walk. By Taylor's formula the loss after a
# step with learning rate :math:`\eta` is
#
# .. math:: L(w - \eta g) \approx L(w) - \eta \, \|g\|^2 + \tfrac12 \eta^2 \, g^T H g ,
#
# with :math:`H` the matrix of second derivatives. The first term is the promise of the gradient,
# the second is the price of going straight on while the ground bends. The best step is where they
# balance, :math:`\eta = \|g\|^2 / g^T H g`; at twice that nothing is left of the gain, and beyond
# the loss grows. No :math:`H` has to be computed: :math:`Hg` is how much the gradient changes
# along :math:`g`, and a difference measures it.

import matplotlib.pyplot as plt
import numpy as np

import fastmlp
from fastmlp import SGD, Adam, Dense, Network, RMSprop, Tanh
from fastmlp.optim.schedules import SCHEDULES, Cosine, Linear, at_rate

plt.style.use("tableau-colorblind10")

split = fastmlp.datasets.load_mnist_5k().split()
X, y = split.X_train, split.y_train


def new_network(dtype="float32"):
    return Network([Dense(784, 32), Tanh(), Dense(32, 10)], dtype=dtype)


net = new_network("float64")
net.fit(X, y, optimizer=SGD(0.01), epochs=1)
start = net.params.copy()
loss, g = net.loss_and_gradient(X, y)


def at(rate):
    net.params[:] = start - rate * g
    return net.loss_and_gradient(X, y)


h = 1e-5
Hg = (at(-h)[1] - at(h)[1]) / (2 * h)
best = (g @ g) / (g @ Hg)
rates = np.linspace(0, 7 * best, 100)
along = [at(rate)[0] for rate in rates]
taylor = loss - rates * (g @ g) + rates**2 / 2 * (g @ Hg)

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(rates, along, "C0", label="loss after one step")
ax.plot(rates, taylor, "C5--", label="Taylor's parabola")
ax.axhline(loss, color="C2", label="loss before")
ax.plot(best, loss - (g @ g) * best / 2, "C5o")
ax.set(xlabel="learning rate", ylabel="loss", xlim=(0, rates[-1]), ylim=(None, 1.25 * loss))
ax.legend(loc="lower right")
plt.show()

print(f"the parabola is lowest at a learning rate of {best:.2f}")
assert at(best)[0] < at(best / 10)[0] < loss
assert at(best / 100)[0] < loss
assert along[-1] > loss

# %%
# Near zero the two agree. Further out the cross-entropy grows more slowly than a parabola, so this
# step forgives more than the formula says; but too long is too long. And one step is not a
# training: with many steps in a row, the directions that bend most decide what is still safe.
#
# Too short, right, too long
# --------------------------
# Fifteen epochs in batches of 32. On the left is :class:`fastmlp.SGD` at three learning rates, on
# the right are optimizers.


def train(optimizer):
    history = new_network().fit(X, y, optimizer=optimizer, epochs=15)
    return np.array(history.loss)


rates = {
    "0.001, too short": train(SGD(0.001)),
    "0.1": train(SGD(0.1)),
    "5, too long": train(SGD(5.0)),
}
optimizers = {
    "SGD(0.01)": train(SGD(0.01)),
    "SGD(0.01, momentum=0.9)": train(SGD(0.01, momentum=0.9)),
    "RMSprop(0.001)": train(RMSprop(0.001)),
    "Adam(0.001)": train(Adam(0.001)),
}

styles = ["C3:^", "C0-o", "C5--s", "C1-.v"]
fig, axes = plt.subplots(1, 2, figsize=(7, 4), sharey=True, layout="constrained")
for ax, curves in zip(axes, (rates, optimizers), strict=True):
    for style, (name, losses) in zip(styles, curves.items(), strict=False):
        ax.semilogy(range(1, 16), losses, style, markersize=4, label=name)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    ax.set(xlabel="epoch", xticks=[1, 5, 10, 15])
    ax.grid(alpha=0.3)
axes[0].set(title="learning rates of SGD", ylabel="training loss")
axes[1].set_title("optimizers")
plt.show()

assert rates["0.001, too short"][-1] > 1
assert rates["0.1"][-1] < 0.3
assert rates["5, too long"][-1] > 1

# %%
# Memory
# ------
# *Momentum* keeps a part of the last step, say 0.9, and adds the new gradient to it. Where the
# gradient stays the same, the steps add up to :math:`1 + 0.9 + 0.9^2 + \dots = 1 / (1 - 0.9) = 10`
# times the learning rate, and where it flips from side to side it cancels. So ``SGD(0.01,
# momentum=0.9)`` goes as far as ``SGD(0.1)``, and the losses say so:

print(f"{rates['0.1'][-1]:.3f} and {optimizers['SGD(0.01, momentum=0.9)'][-1]:.3f}")
assert np.isclose(rates["0.1"][-1], optimizers["SGD(0.01, momentum=0.9)"][-1], rtol=0.2)

# %%
# A step for each weight
# ----------------------
# One learning rate for all weights is a compromise: a pixel in the corner rarely has ink, so its
# weights get small gradients, and those of the centre get large ones. :class:`fastmlp.RMSprop` and
# :class:`fastmlp.Adam` divide each weight's step by how large its own gradients have been. Adam's
# first step shows it best: whatever its gradient, every weight moves by the learning rate.

net = new_network("float64")
before = net.params.copy()
_, g = net.loss_and_gradient(X, y)
net.fit(X, y, optimizer=Adam(0.001), batch_size=len(X), epochs=1)
moves = before - net.params
felt = abs(g) > 1e-5
print(f"gradients from {abs(g[felt]).min():.0e} to {abs(g).max():.0e}, ", end="")
print(f"steps from {abs(moves[felt]).min():.6f} to {abs(moves).max():.6f}")
assert np.allclose(moves[felt], 0.001 * np.sign(g[felt]), rtol=0.01)

# %%
# Schedules
# ---------
# Long steps find the valley, short ones its floor. A *schedule* lowers the learning rate as the
# training goes on. These are all that the library has, from the first step to the last; their
# formulas are in :mod:`fastmlp.optim.schedules`.

n_steps = 1000
steps = np.arange(n_steps)
n_rows = -(-len(SCHEDULES.names) // 4)
fig, axes = plt.subplots(
    n_rows, 4, figsize=(7, 1.5 * n_rows + 0.4), sharex=True, sharey=True, layout="constrained"
)
for ax in axes.flat[len(SCHEDULES.names) :]:
    ax.set_axis_off()
for ax, name in zip(axes.flat, SCHEDULES.names, strict=False):
    ax.plot(steps, at_rate(name, 1.0).rates(steps, n_steps), "C0")
    ax.set_title(name, fontsize=10)
    ax.grid(alpha=0.3)
fig.supxlabel("step", fontsize=10)
fig.supylabel("learning rate / highest", fontsize=10)
plt.show()

# %%
# With a learning rate that is somewhat too large for its end, Adam jumps about the floor of the
# valley; the same with a schedule settles there.

rate = 0.02
scheduled = {
    "constant": train(Adam(rate)),
    "linear": train(Adam(Linear(rate, 0.0))),
    "cosine": train(Adam(Cosine(rate, 0.0))),
}
fig, ax = plt.subplots(figsize=(7, 3.3), layout="constrained")
for style, (name, losses) in zip(styles, scheduled.items(), strict=False):
    ax.semilogy(range(1, 16), losses, style, markersize=4, label=name)
ax.set(xlabel="epoch", ylabel="training loss", title=f"Adam at {rate}")
ax.legend()
ax.grid(alpha=0.3)
plt.show()

assert scheduled["linear"][-1] < 0.5 * scheduled["constant"][-1]
assert scheduled["cosine"][-1] < 0.5 * scheduled["constant"][-1]
