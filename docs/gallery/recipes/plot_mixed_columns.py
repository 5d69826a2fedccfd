"""
A table of numbers and categories
=================================

Prices of flats depend on the district, which is a name, and on size and age, which are
numbers. ``Columns`` sends each kind of column through separate layers: an ``Embedding``
learns a short vector for each district, and numbers are scaled by learned factors.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import (
    Adam,
    BatchNorm,
    Columns,
    Dense,
    EarlyStopping,
    Embedding,
    Network,
    ReLU,
    Residual,
)
from fastmlp.optim import schedules

plt.style.use("tableau-colorblind10")

# %%
# Forty districts, each with a price per square metre and a preference for old houses
# that are not in the table.

rng = np.random.default_rng(0)
n, n_districts = 6000, 40
district = rng.integers(0, n_districts, n)
size, age = rng.uniform(30, 150, n), rng.uniform(0, 120, n)
price_of_metre = rng.normal(3.0, 0.8, n_districts)
taste = rng.normal(0, 0.01, n_districts)
y = size * (price_of_metre[district] + taste[district] * (age - 60)) / 100
y += rng.normal(0, 0.1, n)

X = np.column_stack([district, (size - 90) / 35, (age - 60) / 35])
train, held_out, test = slice(0, 4000), slice(4000, 5000), slice(5000, None)

# %%
# A branch for each kind of column
# --------------------------------
#
# Columns without a branch are passed on; here the numbers have a branch as well. A
# ``Residual`` adds its input to the output of its layers. Convert names of categories
# to numbers with ``pandas.factorize`` or scikit-learn's ``OrdinalEncoder``.


def made(first):
    body = [Dense(64), ReLU(), Residual([BatchNorm(), Dense(64), ReLU()])]
    return Network([first, *body, Dense(1)], loss="mse", random_state=0)


def fitted(first):
    network = made(first)
    network.fit(
        X[train],
        y[train],
        optimizer=Adam(schedules.Cosine(0.005)),
        epochs=60,
        validation_data=(X[held_out], y[held_out]),
        callbacks=[EarlyStopping(20)],
    )
    return network


first = Columns((0, [Embedding(n_districts, 4)]), ([1, 2], [Dense(16), ReLU()]))
network = fitted(first)
as_number = fitted(BatchNorm())  # the district as if it were a quantity
scores = [model.score(X[test], y[test]) for model in (network, as_number)]
print(f"R2 with an embedding {scores[0]:.3f}, as a number {scores[1]:.3f}")
assert scores[0] > 0.95 > scores[1]

# %%
# What it learned about the districts
# -----------------------------------
#
# The network was not told which districts are expensive. Its predictions for the same
# flat in each of them, 90 square metres and 60 years old, show that it has learned it.

same_flat = np.column_stack([np.arange(n_districts), np.zeros((n_districts, 2))])
predicted, true = network.predict(same_flat), 0.9 * price_of_metre

fig, ax = plt.subplots(figsize=(4.5, 3.2), layout="constrained")
ax.axline((true.mean(), true.mean()), slope=1, color="lightgray")
ax.scatter(true, predicted)
ax.set_xlabel("true price of the flat")
ax.set_ylabel("predicted")
assert np.corrcoef(predicted, true)[0, 1] > 0.95
