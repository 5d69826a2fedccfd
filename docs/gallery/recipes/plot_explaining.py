"""
What a model looks at, and how it sees
======================================

Two views of a trained network. ``input_gradients`` shows which inputs of a sample raise
or lower an output, here which pixels are evidence for or against a digit. ``transform``
returns the features that the network computes, here as a map on which the digits are
separated.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from fastmlp import MLPClassifier, datasets

digits = datasets.load_digits().split()
model = MLPClassifier(
    (64, 64),
    activation="gelu",
    early_stopping=True,
    dropout=0.2,
    tol=0,
    n_iter_no_change=20,
    dtype="float64",
    random_state=0,
)
model.fit(digits.X_train, digits.y_train, X_val=digits.X_val, y_val=digits.y_val)
print(f"test accuracy {model.score(digits.X_test, digits.y_test):.3f}")

# %%
# Which pixels matter
# -------------------
#
# The gradient of one linear output (before softmax) with respect to each pixel: where
# it is positive, more ink makes the digit likelier; where it is negative, less likely.
# For each class, a test digit and the gradient of that class's output.

samples = np.array([digits.X_test[digits.y_test == digit][0] for digit in range(10)])
saliency = np.array(
    [model.input_gradients(samples[[digit]], output=digit)[0] for digit in range(10)]
)
limit = np.quantile(np.abs(saliency), 0.98)

fig, axes = plt.subplots(2, 10, figsize=(7, 1.9), layout="constrained")
for digit in range(10):
    above, below = axes[:, digit]
    above.imshow(samples[digit].reshape(8, 8), cmap="gray_r")
    shown = below.imshow(
        saliency[digit].reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit
    )
    above.set_title(str(digit))
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
fig.colorbar(shown, ax=axes, label="gradient")
plt.show()

# %%
# It is the model's own derivative, so it predicts the effect of small changes: by how
# much a bit more ink in one pixel moves the odds of a 3 against a 5.

pixel = np.zeros((1, 64))
pixel[0, 27] = 1e-4


def log_odds(X):
    logs = model.predict_log_proba(X)
    return logs[:, 3] - logs[:, 5]


measured = (log_odds(samples[[3]] + pixel) - log_odds(samples[[3]] - pixel))[0] / 2e-4
told = [model.input_gradients(samples[[3]], output=digit)[0, 27] for digit in (3, 5)]
assert np.isclose(measured, told[0] - told[1], rtol=1e-4)

# %%
# Does it find what matters? Erase five inked pixels from each test digit: those where
# ink is the strongest evidence for the true class (gradient times ink), or random ones.

rng = np.random.default_rng(0)
X_test, y_test = digits.X_test, digits.y_test
rows = np.arange(len(X_test))[:, np.newaxis]
gradients = np.stack(
    [model.input_gradients(X_test, output=digit) for digit in range(10)]
)
speaks = gradients[y_test, rows[:, 0]] * X_test
anything = rng.random(X_test.shape) * (X_test > 0)

accuracy = {"nothing erased": model.score(X_test, y_test)}
for name, importance in {
    "any five pixels": anything,
    "the five that count": speaks,
}.items():
    erased = X_test.copy()
    erased[rows, np.argsort(-importance, axis=1)[:, :5]] = 0
    accuracy[name] = model.score(erased, y_test)
for name, value in accuracy.items():
    print(f"{name:20}{value:.3f}")
assert accuracy["the five that count"] < accuracy["any five pixels"] - 0.2

# %%
# How the network sees
# --------------------
#
# ``transform`` returns the activations of a hidden layer, by default the last. Two
# principal components of them, next to two of the pixels:

views = {"pixels": X_test, "hidden features": model.transform(X_test)}
fig, axes = plt.subplots(1, 2, figsize=(7, 3.7), layout="constrained")
colors = plt.colormaps["viridis"](np.linspace(0, 0.9, 10))
for ax, (name, features) in zip(axes, views.items(), strict=True):
    flat = PCA(2).fit_transform(features)
    for digit in range(10):
        x, y = flat[y_test == digit].T
        ax.scatter(x, y, marker=f"${digit}$", s=36, color=colors[digit], linewidth=0.5)
    ax.set(title=name, xticks=[], yticks=[])
plt.show()

# %%
# They are also better features than pixels for another method: nearest neighbours among
# few digits profit from the many that the network has seen.

few = slice(0, 100)
scores = {}
for name, transform in {
    "pixels": lambda X: X,
    "hidden features": model.transform,
}.items():
    neighbours = KNeighborsClassifier(3).fit(
        transform(digits.X_val[few]), digits.y_val[few]
    )
    scores[name] = neighbours.score(transform(X_test), y_test)
    print(f"3 neighbours of 100 digits by {name}: {scores[name]:.3f}")
assert scores["hidden features"] > scores["pixels"]
