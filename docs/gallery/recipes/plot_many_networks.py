"""
A network for each group, and a learning curve
==============================================

``fit_many`` trains many networks in one compiled call, one per core at a time. Each
ends with the same bits as if ``fit`` had trained it alone. Here it trains a model for
each of 40 shops, and then 30 networks on more and more rows, to see whether more data
would help.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import Adam, Dense, Network, SiLU, fit_many

plt.style.use("tableau-colorblind10")

# %%
# Sales of 40 shops
# -----------------
#
# Every shop has a week and a year of its own: demand depends on the weekday and on the
# season, and each shop's customers react differently. All rows are in one table.

rng = np.random.default_rng(0)
n_shops, n_days = 40, 730
day = np.tile(np.arange(n_days), n_shops)
shop = np.repeat(np.arange(n_shops), n_days)
weekly, yearly, level = rng.normal(0, [[0.6], [0.8], [0.5]], (3, n_shops))
week, year = 2 * np.pi * day / 7, 2 * np.pi * day / 365.25
sales = level[shop] + weekly[shop] * np.sin(week) + yearly[shop] * np.cos(year)
sales += 0.4 * weekly[shop] * np.cos(year) * np.sin(week) + rng.normal(0, 0.3, day.size)

X = np.column_stack([np.sin(week), np.cos(week), np.sin(year), np.cos(year)])
X, sales = X.astype("float32"), sales.astype("float32")

# %%
# A network for each shop
# -----------------------
#
# ``rows`` has the numbers of each network's rows; they are read where they are. The
# last 90 days of each shop are held out and judge each epoch.

networks = [
    Network([Dense(16), SiLU(), Dense(1)], "mse", random_state=number)
    for number in range(n_shops)
]
is_held_out = day >= n_days - 90
histories = fit_many(
    networks,
    X,
    sales,
    rows=[np.flatnonzero((shop == number) & ~is_held_out) for number in range(n_shops)],
    validation_rows=[
        np.flatnonzero((shop == number) & is_held_out) for number in range(n_shops)
    ],
    optimizer=Adam(0.01),
    epochs=60,
    patience=15,
)

scores = [max(history.validation_score) for history in histories]
print(f"R² of the shops' last 90 days: {np.min(scores):.2f} to {np.max(scores):.2f}")
epochs = [history.epochs for history in histories]
print(f"epochs: {min(epochs)} to {max(epochs)}")
assert all(history.stopped != "failed" for history in histories)

# %%
# One network for all shops cannot know how they differ, unless it is told the shop.

one = Network([Dense(16), SiLU(), Dense(1)], "mse")
one.fit(X[~is_held_out], sales[~is_held_out], optimizer=Adam(0.01), epochs=10)
print(f"one network for all: R² {one.score(X[is_held_out], sales[is_held_out]):.2f}")

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
number = int(np.argsort(scores)[n_shops // 2])
mine = (shop == number) & (day >= n_days - 150)
ax.plot(day[mine], sales[mine], ".", color="0.6", label="sales")
ax.plot(day[mine], networks[number].predict(X[mine]), label="network of this shop")
ax.plot(day[mine], one.predict(X[mine]), "--", label="one network for all")
ax.axvline(n_days - 90, color="black", lw=0.8)
corner = n_days - 90, ax.get_ylim()[0]
ax.annotate("held out", corner, (4, 4), textcoords="offset points")
ax.set(xlabel="day", ylabel="sales")
fig.legend(loc="outside upper center", ncols=3, frameon=False)
plt.show()

# %%
# A learning curve
# ----------------
#
# Would more days help? Five networks per size, each on other days and with a start of
# its own, are judged by the same held-out days.

sizes = [20, 40, 80, 160, 320, 640]
chosen = np.flatnonzero((shop == number) & ~is_held_out)
judged = np.flatnonzero((shop == number) & is_held_out)
rows = [rng.permutation(chosen)[:size] for size in sizes for _ in range(5)]
curve = [
    Network([Dense(16), SiLU(), Dense(1)], "mse", random_state=i)
    for i in range(len(rows))
]
found = fit_many(
    curve,
    X,
    sales,
    rows=rows,
    validation_rows=len(rows) * [judged],
    optimizer=Adam(0.01),
    epochs=100,
    patience=20,
)
best = np.array([max(h.validation_score) for h in found]).reshape(len(sizes), 5)

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(sizes, np.median(best, axis=1), "o-")
ax.fill_between(sizes, best.min(axis=1), best.max(axis=1), alpha=0.2)
ax.set(xscale="log", xlabel="days trained on", ylabel="R² of the held-out days")
ax.set_xticks(sizes, list(map(str, sizes)))
ax.minorticks_off()
plt.show()

assert np.median(best[-1]) > np.median(best[0])
