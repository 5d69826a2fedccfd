"""
Data larger than memory
=======================

There are two ways. A file of numbers can be mapped into memory and fitted like an
array: the operating system reads the pages that a batch touches. Or data come in
pieces, from files or a database, and ``partial_fit`` takes one at a time. The recipe
shows when these give the same bits as one fit of all data.
"""

import tempfile
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import MLPClassifier

plt.style.use("tableau-colorblind10")

N_PIECES, N_ROWS, N_FEATURES = 20, 10_000, 50


def piece(number):
    """Some rows, as they would come from a file: whether a sum of squares is large."""
    rng = np.random.default_rng(number)
    X = rng.normal(size=(N_ROWS, N_FEATURES)).astype("float32")
    return X, ((X[:, :5] ** 2).sum(axis=1) > 4.35).astype(int)


X_test, y_test = piece(N_PIECES)

# %%
# A file mapped into memory
# -------------------------
#
# Write the rows once, a piece at a time; ``.npy`` files can be mapped.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "rows.npy"
shape = (N_PIECES * N_ROWS, N_FEATURES)
rows = np.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=shape)
y = np.empty(len(rows), int)
for number in range(N_PIECES):
    here = slice(number * N_ROWS, (number + 1) * N_ROWS)
    rows[here], y[here] = piece(number)
rows.flush()
del rows

# %%
# Rows in float32 or float64 are read in place: once to look for nan, then batch by
# batch. Nothing is copied or converted as a whole.

X = np.load(path, mmap_mode="r")
print(f"{path.name}: {X.nbytes / 1e6:.0f} MB")


def stop_after(n_epochs):
    """A callback that ends a fit; reaching ``max_iter`` would give a warning."""
    return lambda model, history: len(history["loss"]) == n_epochs


model = MLPClassifier((64,), batch_size=100, random_state=0, callbacks=stop_after(3))
tracemalloc.start()
model.fit(X, y)
peak = tracemalloc.get_traced_memory()[1]
tracemalloc.stop()

print(f"memory taken by the fit: {peak / 1e6:.0f} MB")
print(f"test accuracy {model.score(X_test, y_test):.3f}")
assert peak < X.nbytes / 2

# %%
# The same as from an array in memory, bit for bit:

in_memory = MLPClassifier(
    (64,), batch_size=100, random_state=0, callbacks=stop_after(3)
)
in_memory.fit(np.array(X), y)
for mapped, usual in zip(model.coefs_, in_memory.coefs_, strict=True):
    assert np.array_equal(mapped, usual)

# %%
# Shuffling reads rows from all over the file, which is slow from a disk once the file
# is larger than memory. Then shuffle the rows when you write them, and fit with
# ``shuffle=False``, which reads from the first to the last.

# %%
# Piece by piece
# --------------
#
# ``partial_fit`` trains for one epoch on its rows and keeps the optimizer's state. The
# first call must be given all ``classes``, because its piece may not contain all of
# them. Each new piece also serves as a test of what was learnt from those before.

stream = MLPClassifier((64,), batch_size=100, shuffle=False, random_state=0)
scores = []
for number in range(N_PIECES):
    X_piece, y_piece = piece(number)
    if number:
        scores.append(stream.score(X_piece, y_piece))
    stream.partial_fit(X_piece, y_piece, classes=[0, 1])

fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.plot(np.arange(1, N_PIECES) * N_ROWS / 1000, scores, "o-")
ax.set(
    xlabel="rows seen, in thousands", ylabel="accuracy on the next piece", ylim=(0.5, 1)
)
ax.grid(alpha=0.3)
plt.show()
assert scores[-1] > scores[0]

# %%
# In order and with whole batches, the pieces together equal one epoch of a fit:

once = MLPClassifier(
    (64,), batch_size=100, shuffle=False, random_state=0, callbacks=stop_after(1)
).fit(X, y)
for streamed, usual in zip(stream.coefs_, once.coefs_, strict=True):
    assert np.array_equal(streamed, usual)

# %%
# For more epochs, loop over the pieces again, in a new order each time:

rng = np.random.default_rng(0)
for _ in range(2):
    for number in rng.permutation(N_PIECES):
        stream.partial_fit(*piece(number))
print(f"test accuracy {stream.score(X_test, y_test):.3f}")
assert stream.score(X_test, y_test) > scores[-1]

del X
folder.cleanup()
