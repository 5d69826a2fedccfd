"""
An ensemble and its uncertainty
===============================

``n_members`` trains several networks from different starts, side by side, and averages
their predictions. The average is usually better than a single network, and where the
members disagree, they have seen too little.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier, MLPRegressor

plt.style.use("tableau-colorblind10")

# %%
# Where there are no data
# -----------------------
#
# The rows leave a gap in the middle. ``predict(..., return_std=True)`` also returns the
# standard deviation of the members' predictions.

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-4, -1, 80), rng.uniform(1.5, 4, 80)])
y = np.sin(1.5 * x) + rng.normal(0, 0.15, x.size)

model = MLPRegressor(
    hidden_layer_sizes=(50, 50),
    activation="tanh",
    n_members=20,
    member_rows="bootstrap",
    learning_rate="cosine",
    learning_rate_init=0.01,
    batch_size=32,
    max_iter=400,
    random_state=0,
)
model.fit(x.reshape(-1, 1), y)

grid = np.linspace(-5, 5, 300)
mean, std = model.predict(grid.reshape(-1, 1), return_std=True)

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for number, member in enumerate(model.members_):
    label = "members" if number == 0 else None
    line = member.predict(grid.reshape(-1, 1))
    ax.plot(grid, line, color="0.7", lw=0.6, label=label)
ax.plot(x, y, ".", label="rows")
ax.plot(grid, mean, color="C1", label="mean")
ax.fill_between(
    grid, mean - 2 * std, mean + 2 * std, color="C1", alpha=0.2, label="2 deviations"
)
ax.set(xlabel="x", ylabel="y", ylim=(-3, 3))
fig.legend(loc="outside upper center", ncols=4, frameon=False)
plt.show()

is_seen = (np.abs(grid + 2.5) < 1.4) | (np.abs(grid - 2.75) < 1.2)
is_gap = np.abs(grid - 0.25) < 0.8
print(f"deviation among the rows {std[is_seen].mean():.2f}")
print(f"deviation in the gap {std[is_gap].mean():.2f}")
assert std[is_gap].mean() > 2 * std[is_seen].mean()

# %%
# The deviation says how much the members disagree. The noise of the targets comes on
# top of it: quantile regression measures that (``MLPRegressor("quantile", ...)``).
#
# Better probabilities
# --------------------
#
# Of a classifier the probabilities are averaged. Here each member leaves out a fold of
# its own, which stops it early, so that all rows are used by most members.

X, digit = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, digit, random_state=0)

ensemble = MLPClassifier(
    n_members=10,
    member_rows="folds",
    early_stopping=True,
    scoring="loss",
    learning_rate_init=0.005,
    random_state=0,
)
ensemble.fit(X_train, y_train)
alone = [log_loss(y_test, one.predict_proba(X_test)) for one in ensemble.members_]
together = log_loss(y_test, ensemble.predict_proba(X_test))
print(f"log loss of a member {np.mean(alone):.3f}, of all together {together:.3f}")
print(f"test accuracy {ensemble.score(X_test, y_test):.3f}")
assert together < np.mean(alone)

# %%
# One object for serving
# ----------------------
#
# An ensemble is pickled like any estimator, ``to_onnx`` writes one file, and
# ``compile_predictor`` returns one function.

predict = ensemble.compile_predictor()
print(predict)
print(predict.predict(X_test[0]), y_test[0])
