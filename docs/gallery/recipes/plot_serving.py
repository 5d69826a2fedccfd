"""
Serving single rows
===================

In a service that answers one request at a time, Python takes most of the time, not the
arithmetic. ``compile_predictor`` makes an immutable copy of a network that predicts a
row in about a microsecond, from any number of threads. This recipe trains, saves, loads
and calls it.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import Dense, MLPClassifier, Network, ReLU, datasets

plt.style.use("tableau-colorblind10")

digits = datasets.load_digits().split()
network = Network([Dense(32), ReLU(), Dense(10)], random_state=0)
network.fit(digits.X_train, digits.y_train, epochs=30)
print(f"test accuracy {network.score(digits.X_test, digits.y_test):.3f}")

# %%
# From training to the service
# ----------------------------
#
# Loading a model file runs no code; a damaged file is refused.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    network.save(path)
    print(f"{path.name}: {path.stat().st_size / 1e3:.1f} kB")
    loaded = Network.load(path)

predictor = loaded.compile_predictor()

# %%
# The predictor returns what ``predict_proba`` does, here class probabilities, for one
# row or for many.

row = digits.X_test[0]
probabilities = predictor(row)
print(
    f"a {loaded.classes_[probabilities.argmax()]}, "
    f"with probability {probabilities.max():.3f}"
)
assert np.array_equal(predictor(digits.X_test), network.predict_proba(digits.X_test))

# %%
# What a call costs
# -----------------
#
# A row is fastest as a contiguous array of the network's type, float32 unless you chose
# another. With ``out``, a call allocates nothing. The medians are from the machine that
# built this page.


def median_microseconds(call, n=20_000):
    """Median time of single calls, the first few left out."""
    times = np.empty(n)
    for i in range(n):
        start = time.perf_counter_ns()
        call()
        times[i] = time.perf_counter_ns() - start
    return np.median(times[n // 10 :]) / 1e3


row64, out = row.astype("float64"), np.empty(10, np.float32)
medians = {
    "predict_proba of the network": median_microseconds(
        lambda: network.predict_proba(row[np.newaxis])
    ),
    "predictor, a row in float64": median_microseconds(lambda: predictor(row64)),
    "predictor, a row in float32": median_microseconds(lambda: predictor(row)),
    "the same with out=": median_microseconds(lambda: predictor(row, out)),
    "the clock itself": median_microseconds(lambda: None),
}
for name, median in medians.items():
    print(f"{name:30}{median:7.2f} microseconds")
assert medians["predictor, a row in float32"] < medians["predict_proba of the network"]

fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.plot(list(medians.values()), list(medians), "o", ms=8)
for name, median in medians.items():
    ax.annotate(f"{median:.2f}", (median, name), (8, -4), textcoords="offset points")
ax.invert_yaxis()
ax.set(xscale="log", xlabel="median time of a call, in microseconds")
ax.margins(x=0.15, y=0.15)
ax.grid(axis="x", alpha=0.3)
plt.show()

# %%
# Many threads, one predictor
# ---------------------------
#
# No lock is needed, and the results are the same bits as in one thread. If you use
# ``out``, give each thread a separate array.

with ThreadPoolExecutor(8) as pool:
    answers = np.array(list(pool.map(predictor, digits.X_test)))
assert np.array_equal(answers, predictor(digits.X_test))

# %%
# Later fits of the network do not affect the predictor: replace it when you like.

network.fit(digits.X_val, digits.y_val, epochs=1)
assert np.array_equal(predictor(row), probabilities)
assert not np.array_equal(network.predict_proba(row[np.newaxis])[0], probabilities)

# %%
# The estimators have the same method. For two classes, the result is only the
# probability of the second one.

model = MLPClassifier((32,), max_iter=500, random_state=0)
model.fit(digits.X_train, digits.y_train)
answer = model.compile_predictor()
assert model.classes_[answer(row).argmax()] == model.predict(row[np.newaxis])[0]

# %%
# Inputs are not searched for nan; it gives nan. In a program that other people call,
# check rows before, or the result afterwards: ``np.isfinite(answer).all()``.

assert np.isnan(predictor(np.full(64, np.nan, np.float32))).all()
