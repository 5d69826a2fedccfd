"""
3. Activations and losses
=========================

An activation bends a neuron's sum; a loss says how wrong an output is. In the backward walk only
their *slopes* appear, so the slope is what to look at: where it is zero, nothing is learned.
"""

# %%
# Every activation and its slope
# ------------------------------
# The list below is the library's own, so it is complete. Each layer gives its value by ``forward``
# and multiplies what comes back by its slope in ``backward``; fed with ones, that shows the slope.
# The formulas are with the classes, for example :class:`fastmlp.GELU` and :class:`fastmlp.SELU`.

import matplotlib.pyplot as plt
import numpy as np

import fastmlp
from fastmlp import SGD, Dense, Network, ReLU
from fastmlp.nn import ACTIVATIONS
from fastmlp.nn.initializers import Normal
from fastmlp.nn.losses import LOSSES

plt.style.use("tableau-colorblind10")

z = np.linspace(-4, 4, 400)
curves = {}
for activation in ACTIVATIONS:
    layer = activation()
    value = layer.forward(z[:, None])[:, 0]
    slope = layer.backward(np.ones((z.size, 1)))[:, 0]
    curves[activation.__name__] = value, slope

    h = 1e-6  # and the slope is what a difference measures, as in chapter 2
    ends = [activation().forward(z[:, None] + move)[:, 0] for move in (h, -h)]
    assert np.allclose((ends[0] - ends[1]) / (2 * h), slope, atol=1e-6)


def small_plots(curves, x, xlabel, ylim):
    """Value and slope of each curve in a small plot of its own."""
    n_rows = -(-len(curves) // 4)
    fig, axes = plt.subplots(
        n_rows, 4, figsize=(7, 1.6 * n_rows + 0.8), sharex=True, sharey=True, layout="constrained"
    )
    for ax, (name, (value, slope)) in zip(axes.flat, curves.items(), strict=False):
        value_line = ax.plot(x, value, "C0", label="value")
        slope_line = ax.plot(x, slope, "C5--", label="slope")
        ax.set_title(name, fontsize=9)
        ax.set_ylim(*ylim)
        ax.grid(alpha=0.3)
    for ax in axes.flat[len(curves) :]:
        ax.set_axis_off()
    for ax in axes.flat[len(curves) - 4 : len(curves)]:  # the lowest plot of each column
        ax.tick_params(labelbottom=True)
    fig.supxlabel(xlabel, fontsize=10)
    fig.legend(handles=[*value_line, *slope_line], ncols=2, loc="outside upper center")
    plt.show()


small_plots(curves, z, "z", (-1.6, 2.6))

# %%
# Two families are easy to see. :class:`fastmlp.Sigmoid` and :class:`fastmlp.Tanh` are flat on both
# sides: far from zero their slope is nearly nothing. The others follow ReLU: flat on the left at
# most, and on the right a slope near 1 for ever.
#
# Sigmoids saturate
# -----------------
# A unit is *saturated* when its sum is so large, up or down, that its slope is almost zero. The
# gradient behind it is multiplied by that slope, so its weights stop learning, right or wrong.
# How large sums are depends on the size of the weights. Here one hidden layer looks at 500 digits
# with random weights, small ones first.

digits = fastmlp.datasets.load_mnist_5k()
split = digits.split()
X, y = split.X_train.astype(np.float64), split.y_train
scales = np.logspace(-2.5, 0.5, 13)
names = ["Sigmoid", "Tanh", "ReLU"]
mean_slopes = {name: [] for name in names}
for scale in scales:
    sums = Dense(784, 64, initializer=Normal(scale)).forward(X[:500])
    for name in names:
        layer = getattr(fastmlp, name)()
        layer.forward(sums)
        mean_slopes[name].append(layer.backward(np.ones_like(sums)).mean())

# %%
# ReLU units die
# --------------
# ReLU does not saturate on the right, but a unit whose sum is negative for *every* digit has slope
# 0 everywhere. No digit can move its weights again: it is dead. Too long a step can push a unit
# there. Here the same network learns digit by digit, with ever larger learning rates, and then we
# count the units that no training digit switches on.

rates = [0.005, 0.01, 0.02, 0.05, 0.1]
dead = []
for rate in rates:
    net = Network([Dense(32), ReLU(), Dense(10)])
    net.fit(split.X_train, split.y_train, optimizer=SGD(rate), batch_size=1, epochs=5)
    sums = net.layers[0].forward(split.X_train)
    dead.append((sums.max(axis=0) <= 0).mean())

fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.3), layout="constrained")
for name, style in zip(names, ["C0-o", "C5--s", "C3:^"], strict=True):
    left.semilogx(scales, mean_slopes[name], style, markersize=4, label=name)
left.set(xlabel="standard deviation of the weights", ylabel="mean slope of the units")
left.legend()
left.grid(alpha=0.3)
right.bar([f"{rate:g}" for rate in rates], np.array(dead) * 100)
right.set(xlabel="learning rate, batches of one", ylabel="dead ReLU units, %", ylim=(0, 100))
plt.show()

# %%
# Left: sigmoid and tanh lose nearly all their slope as weights grow, while about half of the ReLU
# units are on whatever the weights. Chapter 4 chooses weights so that sums stay of a good size.
# Right: ReLU units survive small steps and die of large ones. Remedies are smaller steps, batches
# of more than one digit (chapter 5) and activations with some slope on the left, such as
# :class:`fastmlp.LeakyReLU`, :class:`fastmlp.ELU` and :class:`fastmlp.GELU`.

assert mean_slopes["Sigmoid"][-1] < 0.2 * mean_slopes["Sigmoid"][0]
assert mean_slopes["Tanh"][-1] < 0.2 * mean_slopes["Tanh"][0]
assert all(0.3 < slope < 0.7 for slope in mean_slopes["ReLU"])
assert dead[0] <= 0.1
assert dead[-1] > dead[0] + 0.2

# %%
# Every loss and its slope
# ------------------------
# The library's losses, too, in one picture, for the target 1 and an output that moves. For the
# regressions the output is the prediction, and the slope tells how an error is felt. Classes see
# the output through softmax or a sigmoid, counts through an exponential: for softmax this is the
# second of two outputs, the first being 0. Formulas are with the classes, as before.

z = np.linspace(-3, 5, 400)
curves, pulls = {}, {}
for loss_class in LOSSES:
    loss, is_softmax = loss_class(), loss_class.task == "classes"
    value, slope = [], []
    for output in z:
        outputs = np.array([[0, output] if is_softmax else [output]])
        target = np.array([[0.0, 1.0] if is_softmax else [1.0]])
        v, g = loss.value_and_gradient(outputs, target, np.ones(1))
        value.append(v)
        slope.append(g[0, -1])
    curves[loss_class.__name__] = value, slope
    pulls[loss_class.__name__] = np.array(slope)

small_plots(curves, z, "output, target 1", (-3, 5))

# %%
# * The squared error feels an outlier in proportion: twice as far off pulls twice as hard.
# * The absolute error and the quantile loss pull equally hard from anywhere, and
#   :class:`fastmlp.Huber` is the squared error near the target and the absolute one far off.
# * The two cross-entropies have a slope between -1 and 0 here: it is :math:`p - t` again, as
#   chapter 2 derived. A certain mistake (left) has the full pull of 1. That is why sigmoid outputs
#   are paired with cross-entropy: their own saturation cancels.
#
# What a loss feels decides what a network predicts. Give ten numbers the same input, one of them an
# outlier, and the best single answer is the mean for one loss and the median for another.

assert np.allclose(np.gradient(pulls["MeanSquaredError"], z), 2)
assert abs(pulls["MeanAbsoluteError"]).max() == 1
assert abs(pulls["Huber"]).max() == 1
assert np.allclose(pulls["SoftmaxCrossEntropy"], pulls["BinaryCrossEntropy"])
assert -1 < pulls["BinaryCrossEntropy"].min() < -0.9

numbers = np.array([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 9.0])
same_input = np.ones((10, 1))
answers = {}
for name in ["mean_squared_error", "huber", "mean_absolute_error"]:
    net = Network([Dense(1)], loss=name, dtype="float64")
    schedule = fastmlp.schedules.Linear(0.05, 0.0)
    net.fit(same_input, numbers, optimizer=SGD(schedule), batch_size=10, epochs=2000)
    answers[name] = net.predict(same_input[:1])[0]
print(f"mean {numbers.mean():.2f}, median {np.median(numbers):.2f}")
print({name: f"{answer:.2f}" for name, answer in answers.items()})
assert np.isclose(answers["mean_squared_error"], numbers.mean(), atol=0.01)
assert 1.4 <= answers["mean_absolute_error"] <= 1.5  # any number between the middle two
