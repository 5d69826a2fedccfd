"""
8. A network watches itself learn
=================================

What do the hidden units look for, when does it appear, and which digits does the network still get
wrong? The last chapter trains a network and looks, with the library's own pictures.
"""

# %%
# Look while it learns
# --------------------
# A callback is called after each epoch with the network and the history so far. This one keeps a
# copy of the first layer's weights. Sixteen hidden units are few, so that each can be looked at,
# and strong weight decay (:class:`fastmlp.AdamW`) pulls down those weights that no digit needs,
# which takes noise out of the pictures.

import matplotlib.pyplot as plt
import numpy as np

import fastmlp
from fastmlp import AdamW, Dense, Network, ReLU, WeightsDisplay
from fastmlp.optim.schedules import Linear
from fastmlp.plotting import plot_confusion, plot_history, plot_predictions

plt.style.use("tableau-colorblind10")

split = fastmlp.datasets.load_mnist_5k().split()
net = Network([Dense(784, 16), ReLU(), Dense(16, 10)])
snapshots = {0: net.layers[0].W.copy()}


def keep(network, history):
    snapshots[history.epochs] = network.layers[0].W.copy()


history = net.fit(
    split.X_train,
    split.y_train,
    optimizer=AdamW(Linear(0.002, 0.0), weight_decay=1.0),
    epochs=30,
    validation_data=(split.X_val, split.y_val),
    callbacks=[keep],
)
print(f"test accuracy {net.score(split.X_test, split.y_test):.1%}")

# %%
# Features appear
# ---------------
# Each small picture is one hidden unit's weights, one for each pixel: red speaks for the unit, blue
# against it, and the unit with the largest weights comes first. Before training there is only
# noise. After one epoch there are strokes and gaps, later ones sharpen them. The corners, where no
# digit has ink, get no gradient (chapter 2), and the decay fades them out.

fig, axes = plt.subplots(2, 2, figsize=(7, 6), layout="constrained")
for ax, epoch in zip(axes.flat, (0, 1, 5, 30), strict=True):
    WeightsDisplay(snapshots[epoch], image_shape=(28, 28)).plot(ax=ax)
    ax.set_title(f"epochs: {epoch}")
plt.show()

never_inked = split.X_train.max(axis=0) == 0
corner = [abs(snapshots[epoch][never_inked]).max() for epoch in (0, 30)]
print(f"largest weight where no digit has ink: {corner[0]:.3f} before, {corner[1]:.3f} after")
assert corner[1] < 0.5 * corner[0]

# %%
# Does it learn or memorise
# -------------------------
# The training loss says how well the network does on digits it learns from, the validation loss how
# well on others. While both fall it learns what digits have in common. Where the second turns up
# and the first goes on falling, it memorises. The weight decay is what holds them together here.

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
plot_history(history, ax, score_name="accuracy")
plt.show()

assert history.validation_loss[-1] < history.validation_loss[0]

# %%
# Which digits are confused
# -------------------------
# A row of the confusion matrix is a true class, a column what the network said. A perfect network
# has numbers on the diagonal only. Look for the pairs off it and ask whether you can see why: they
# are mostly digits that differ by one stroke.

predicted = net.predict(split.X_test)
fig, ax = plt.subplots(figsize=(7, 6), layout="constrained")
plot_confusion(split.y_test, predicted, ax=ax)
plt.show()

assert net.score(split.X_test, split.y_test) > 0.85

# %%
# The worst of them
# -----------------
# These are the mistakes it was surest of: below each digit what it said, and what it is. Some would
# make a person hesitate. Others are plain, and say that 3,500 training digits and 16 units are not
# many.

P = net.predict_proba(split.X_test).max(axis=1)
wrong = np.flatnonzero(predicted != split.y_test)
worst = wrong[np.argsort(-P[wrong])][:20]
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
plot_predictions(
    split.X_test[worst], split.y_test[worst], predicted[worst], image_shape=(28, 28), ax=ax
)
plt.show()

# %%
# It is less sure of its mistakes than of the rest, as it should be: probabilities are worth looking
# at, and a digit with a low one is worth a second look by somebody else.

right = np.flatnonzero(predicted == split.y_test)
print(f"mean probability when right {P[right].mean():.2f}, when wrong {P[wrong].mean():.2f}")
unsure = np.argsort(P)[: len(P) // 5]
caught = np.isin(wrong, unsure).mean()
print(f"the fifth of the digits with the lowest probability holds {caught:.0%} of the mistakes")
assert P[wrong].mean() < P[right].mean() - 0.1
assert caught > 0.5
