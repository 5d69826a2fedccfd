"""
7. What was wrong with the published algorithm
==============================================

This library grew from a published teaching program: backpropagation in NumPy, one digit at a time,
as in chapter 2. It learns, and it has faults that are easy to make and hard to see, because a
network with a fault often learns something all the same. ``fastmlp.reference`` keeps it as
published and mended. Here each fault is made visible; :doc:`/published-algorithm` lists them all,
with averages over more runs than this page can afford.
"""

# %%
# A ReLU before the softmax
# -------------------------
# The program applies ReLU in *every* layer, the last one included. So an output whose sum is
# negative has slope 0, and by chapter 2's rule its :math:`\delta` is
# :math:`(p_k - t_k) \cdot 0 = 0`, even for a digit of its own class. Take a network whose output
# for threes has been pushed down, and show it a three:

import matplotlib.pyplot as plt
import numpy as np

import fastmlp
from fastmlp import Dense, Network, ReLU
from fastmlp.reference import PublishedNetwork, ReferenceNetwork, softmax

plt.style.use("tableau-colorblind10")

SEEDS = (0, 1, 2)
splits = {seed: fastmlp.datasets.load_seed_protocol(seed) for seed in SEEDS}

three = splits[0].X_train[splits[0].y_train == 3][0].astype(float)
target = np.eye(10)[3]

published = PublishedNetwork([784, 32, 10], random_state=0)
published.biases[-1][3] = -100
mended = ReferenceNetwork([784, 32, 10])
mended.weights, mended.biases = published.weights, published.biases

_, db_published = published.gradients(three, target)
_, db_mended = mended.gradients(three, target)
print(
    f"wish of output 3 as published: {-db_published[-1][3, 0]:g}, mended: {-db_mended[-1][3, 0]:g}"
)
assert db_published[-1][3, 0] == 0  # off, and nothing will switch it on
assert db_mended[-1][3, 0] < -0.99  # "more of this", as loud as it gets

# %%
# Nor does it take a push by hand. Below, the published protocol (pixels 0 or 1, learning rate
# 0.05) for three seeds, beside the same initial weights with a linear output layer, at that
# learning rate and at a smaller one.

N_EPOCHS = 3


def train(net, split, n_epochs, learning_rate, seed):
    """Test accuracy after each epoch of digit-by-digit training."""
    X, T = split.X_train.astype(float), np.eye(10)[split.y_train]
    X_val, T_val = split.X_val.astype(float), np.eye(10)[split.y_val]
    rng, accuracy = np.random.default_rng(seed), []
    for _ in range(n_epochs):
        if isinstance(net, PublishedNetwork):
            net.train(X, T, X_val, T_val, epochs=1)
        else:
            net.train_epoch(X, T, rng.permutation(len(X)), learning_rate)
        accuracy.append(net.accuracy(split.X_test, split.y_test))
    return accuracy


variants = {
    "as published, 0.05": "C5--s",
    "linear output, 0.05": "C1:^",
    "linear output, 0.01": "C0-o",
}
networks, accuracy = {}, {}
for seed, split in splits.items():
    for name in variants:
        net = PublishedNetwork([784, 32, 10], random_state=seed)
        if name != "as published, 0.05":
            weights = net.weights
            net = ReferenceNetwork([784, 32, 10])
            net.weights = weights
        networks[name, seed] = net
        accuracy[name, seed] = train(net, split, N_EPOCHS, float(name[-4:]), seed)

# %%
# In one of the runs outputs of the published network die, and with them whole classes: on the
# right, how many of each digit that run gets right. Each output has its own luck, so the run as a
# whole still looks as if it learned.

test_X, test_y = splits[0].X_test, splits[0].y_test
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.8), layout="constrained")
for name, style in variants.items():
    for seed in SEEDS:
        label = name if seed == SEEDS[0] else None
        left.plot(range(1, N_EPOCHS + 1), 100 * np.array(accuracy[name, seed]), style, label=label)
left.set(xlabel="epoch", ylabel="test accuracy, %", xticks=range(1, N_EPOCHS + 1), ylim=(0, 100))
left.grid(alpha=0.3)
for shift, name in ((-0.2, "as published, 0.05"), (0.2, "linear output, 0.01")):
    found = networks[name, 0].predict_proba(test_X).argmax(axis=1) == test_y
    recall = [100 * found[test_y == k].mean() for k in range(10)]
    right.bar(np.arange(10) + shift, recall, 0.4, color=variants[name][:2])
right.set(xlabel="digit", ylabel="found, %", xticks=range(10), title="seed 0")
fig.legend(*left.get_legend_handles_labels(), ncols=3, loc="outside upper center")
plt.show()

dead = {seed: networks["as published, 0.05", seed].dead_outputs(split.X_test) for seed in SEEDS}
for seed, units in dead.items():
    print(f"seed {seed}: published outputs that are off for every test digit: {units or 'none'}")
mean = {name: np.mean([accuracy[name, seed][-1] for seed in SEEDS]) for name in variants}
assert any(dead.values())
assert mean["linear output, 0.01"] > mean["as published, 0.05"] + 0.02

# %%
# A learning rate of 0.05
# -----------------------
# The smaller step helped as well. A binarised digit has well over a hundred lit pixels, and a step
# moves the weights of all of them by the same amount: the sum of a hidden unit moves by more than a
# hundred times that. Some hidden units are thrown to where no digit reaches them (chapter 3).

for name in ("linear output, 0.05", "linear output, 0.01"):
    off = []
    for seed, split in splits.items():
        net = networks[name, seed]
        sums = split.X_train @ net.weights[0].T + net.biases[0].T
        off.append(int((sums.max(axis=0) <= 0).sum()))
    print(f"{name}: dead hidden units of 32: {off}")
lit = np.mean([split.X_train.sum(axis=1).mean() for split in splits.values()])
print(f"lit pixels a digit: {lit:.0f}")
assert off == [0, 0, 0]  # the last line, at 0.01

# %%
# Softmax without the maximum
# ---------------------------
# Chapter 1 subtracted the largest sum before taking exponentials. Without it, one sum above about
# 709 overflows, infinity divided by infinity is not a number, and after the next update no weight
# is one either.

sums = np.array([[800.0], [0.0]])
with np.errstate(over="ignore", invalid="ignore"):
    print("as published:", published.link(sums).ravel(), " mended:", softmax(sums).ravel())
    assert np.isnan(published.link(sums)[0, 0])
assert np.array_equal(softmax(sums).ravel(), [1, 0])

# %%
# A function that writes into its argument
# ----------------------------------------
# The program's ReLU saves memory by putting its result where its input was, and its derivative is
# another function altogether, the part of z that ReLU removes:


def relu_in_place(z):
    return np.maximum(z, 0, out=z)


def published_slope(z):
    return z * (z <= 0)


z = np.array([-2.0, 0.5, 3.0])
a = relu_in_place(z)
print("z after the call:", z)
assert a is z

z, h = np.array([-2.0, 0.5, 3.0]), 1e-6
measured = (np.maximum(z + h, 0) - np.maximum(z - h, 0)) / (2 * h)
print("slope as published:", published_slope(z), " measured:", measured.round(6))
assert not np.allclose(published_slope(z), measured)

# %%
# Neither shows in the results. The derivative is never called: the program asks ``z > 0`` instead,
# and since z is by then ReLU's output, that happens to be the right question. With a leaky ReLU it
# would not be. The two checks of chapter 2 find such things at once.
#
# A setting that nobody reads
# ---------------------------
# ``reg_lambda`` is meant to keep weights small. Two networks that differ in nothing else:

X, T = splits[0].X_train[:200].astype(float), np.eye(10)[splits[0].y_train[:200]]
without, with_it = (
    PublishedNetwork([784, 32, 10], reg_lambda=value, random_state=0) for value in (0.0, 1000.0)
)
without.train(X, T, epochs=1)
with_it.train(X, T, epochs=1)
assert all(np.array_equal(*pair) for pair in zip(without.weights, with_it.weights, strict=True))
print("the weights are the same to the last bit")

# %%
# Validation data that is trained on
# ----------------------------------
# After each epoch the program walks through the validation digits and updates on them, too. From
# then on they say nothing about digits the network has not seen. The mistake is one of protocol, so
# it fools every network; here is the library's own, trained to the end without those digits and
# with them, on the three splits from above: 750 digits are few, and one split can be lucky.

scores = {"honest": [], "as published": []}
for split in splits.values():
    both = np.vstack([split.X_train, split.X_val]), np.append(split.y_train, split.y_val)
    for name, rows in {"honest": (split.X_train, split.y_train), "as published": both}.items():
        net = Network([Dense(32), ReLU(), Dense(10)])
        net.fit(*rows, epochs=30)
        validation = net.score(split.X_val, split.y_val)
        scores[name].append((validation, net.score(split.X_test, split.y_test)))

for name, values in scores.items():
    validation, test = np.mean(values, axis=0)
    print(f"{name:12}: validation {validation:.1%}, test {test:.1%}")
    if name == "honest":
        assert abs(validation - test) < 0.03
    else:
        assert validation > 0.99
        assert test < 0.96

# %%
# The other two faults are told quickly. One digit at a time in Python is slow, as chapter 5
# measured. And models stored as pickles run whatever code a stranger put into them when they are
# loaded; :meth:`fastmlp.Network.save` writes safetensors files, which hold numbers and run nothing.
