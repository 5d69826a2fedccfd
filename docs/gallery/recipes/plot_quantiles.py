"""
Prediction bands from quantiles
===============================

A single number does not tell how far off it may be. ``MLPRegressor(loss="quantile")``
learns several quantiles with one network; two of them bound a band that covers a chosen
share of future targets. The quantiles never cross. A few more lines make the coverage
reliable.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import MLPRegressor

plt.style.use("tableau-colorblind10")


def measurements(n, rng):
    """A wave whose noise grows to the right and is skewed upwards."""
    x = rng.uniform(0, 4, n).astype("float32")
    noise = (0.1 + 0.3 * x) * (rng.gamma(2.0, 0.5, n) - 1)
    return x.reshape(-1, 1), np.sin(2 * x) + noise


rng = np.random.default_rng(0)
X_train, y_train = measurements(4000, rng)
X_test, y_test = measurements(4000, rng)

# %%
# One network, five levels
# ------------------------
#
# ``predict`` has a column for each level, in ascending order. The learning rate falls
# to a fifth whenever held-out samples see no progress, which quantiles need to settle.

levels = [0.05, 0.25, 0.5, 0.75, 0.95]
model = MLPRegressor(
    "quantile",
    (64, 64),
    "tanh",
    quantile=levels,
    solver="adamw",
    learning_rate="adaptive",
    learning_rate_init=0.01,
    early_stopping=True,
    scoring="loss",
    n_iter_no_change=20,
    max_iter=1000,
    random_state=0,
)
model.fit(X_train, y_train)
bands = model.predict(X_test)
assert (np.diff(bands, axis=1) >= 0).all()  # never crossing

# %%
# Coverage on samples that the model has not seen: their share below each quantile.

for level, column in zip(levels, bands.T, strict=True):
    below = np.mean(y_test <= column)
    print(f"level {level:4.2f}: {below:.3f} of the test samples lie below")
    assert abs(below - level) < 0.05

# %%
# The band is wide where the noise is strong, and as asymmetric as the noise.

grid = np.linspace(0, 4, 300, dtype="float32").reshape(-1, 1)
lowest, low, middle, high, highest = model.predict(grid).T

fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
ax.plot(X_test[::4], y_test[::4], ".", color="0.45", ms=2.5, label="test samples")
ax.fill_between(
    grid[:, 0], lowest, highest, color="C0", alpha=0.25, lw=0, label="90 % band"
)
ax.fill_between(grid[:, 0], low, high, color="C0", alpha=0.5, lw=0, label="50 % band")
ax.plot(grid, middle, color="black", label="median")
ax.set(xlabel="x", ylabel="y", xlim=(0, 4))
ax.legend(loc="upper left", ncols=2)
plt.show()

# %%
# A coverage you can rely on
# --------------------------
#
# Learnt quantiles are off by a little, and by more where samples are few. With some
# held-out samples the band can be shifted to the coverage you want, whatever the model
# (`Romano et al., 2019 <https://arxiv.org/abs/1905.03222>`_): find by how much
# calibration samples leave the band, and move both of its edges by the right quantile
# of that.

X_few, y_few = measurements(200, rng)
X_calibration, y_calibration = measurements(400, rng)
small = MLPRegressor(
    "quantile",
    (64, 64),
    quantile=[0.05, 0.95],
    learning_rate_init=0.01,
    max_iter=1000,
    random_state=0,
)
small.fit(X_few, y_few)


def coverage(margin):
    bottom, top = small.predict(X_test).T
    return np.mean((bottom - margin <= y_test) & (y_test <= top + margin))


bottom, top = small.predict(X_calibration).T
outside = np.maximum(bottom - y_calibration, y_calibration - top)
margin = np.quantile(outside, 0.9 * (1 + 1 / len(outside)), method="higher")

print(f"90 % band learnt from 200 samples covers {coverage(0):.3f} of the test samples")
print(f"with a margin of {margin:.3f} on both sides  {coverage(margin):.3f}")
assert abs(coverage(margin) - 0.9) < 0.05
