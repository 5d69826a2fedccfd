"""
Long fits: interrupt and resume
===============================

A fit that takes hours should survive Ctrl-C, a crash and a power cut. With a
``Checkpoint`` among its callbacks it continues where it was and ends with the same bits
as if nothing had happened. This recipe interrupts a fit twice to show this.
"""

import signal
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import Adam, Checkpoint, Dense, Dropout, Network, ReLU, datasets
from fastmlp.optim import schedules

plt.style.use("tableau-colorblind10")

digits = datasets.load_digits().split()


def fit(*callbacks):
    """The whole training, written once: what resumes must be the same run."""
    network = Network([Dense(64), ReLU(), Dropout(0.2), Dense(10)], random_state=0)
    history = network.fit(
        digits.X_train,
        digits.y_train,
        optimizer=Adam(schedules.Cosine(3e-3)),
        epochs=30,
        validation_data=(digits.X_val, digits.y_val),
        callbacks=callbacks,
    )
    return network, history


# Programs that were started in the background ignore Ctrl-C without this line.
signal.signal(signal.SIGINT, signal.default_int_handler)
folder = tempfile.TemporaryDirectory()
run = Path(folder.name) / "run"

# %%
# Ctrl-C
# ------
#
# The first Ctrl-C waits for the end of the epoch and its checkpoint (an epoch that
# takes more than two further seconds ends after a batch, without a checkpoint); the
# second does not wait. Here a callback, called after each epoch, presses the keys.


def press_ctrl_c(network, history):
    if history.epochs == 8:
        signal.raise_signal(signal.SIGINT)


_, first = fit(Checkpoint(run), press_ctrl_c)
print(f"{first.stopped} after {first.epochs} epochs")
print("\n".join(sorted(path.name for path in run.iterdir())))
assert first.stopped == "interrupted"

# %%
# The newest checkpoints are kept, and the network with the best validation score. Each
# is a model file that ``Network.load`` can read.

# %%
# A crash
# -------
#
# The same lines with ``resume=True`` continue the fit. (Without a checkpoint they start
# a new one, so you can always write them in this way.) With ``every=5`` there is less
# to write and more to repeat: this run crashes in epoch 18, and its last checkpoint is
# that of epoch 15.


def break_down(network, history):
    if history.epochs == 18:
        second.extend(history.validation_loss)
        raise MemoryError


second = []
try:
    fit(Checkpoint(run, every=5, resume=True), break_down)
except MemoryError:
    print("crashed")
print("\n".join(sorted(path.name for path in run.iterdir())))

# %%
# To the end
# ----------
#
# The last part also has the history of the earlier parts.

resumed, history = fit(Checkpoint(run, every=5, resume=True))
undisturbed, expected = fit()

assert history.epochs == 30
assert np.array_equal(resumed.params, undisturbed.params)  # bit for bit
assert history.loss == expected.loss
print(f"test accuracy {resumed.score(digits.X_test, digits.y_test):.3f}")

best = Network.load(run / "best.safetensors")
print(f"the best epoch, by validation: {best.score(digits.X_test, digits.y_test):.3f}")

fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
ax.plot(range(1, 31), expected.validation_loss, color="0.75", lw=7, label="undisturbed")
ax.plot(range(1, 9), first.validation_loss, "o-", label="until Ctrl-C", ms=5)
ax.plot(range(9, 19), second[8:], "s-", label="until the crash", ms=5)
ax.plot(range(16, 31), history.validation_loss[15:], "k.-", label="to the end", ms=6)
ax.set(xlabel="epoch", ylabel="validation loss")
ax.legend()
plt.show()

# %%
# Another run in the same folder (with other data, another network or another optimizer)
# is refused, naming the difference, unless ``allow_changes=True``.

try:
    Network([Dense(64), ReLU(), Dense(10)]).fit(
        digits.X_train, digits.y_train, callbacks=[Checkpoint(run, resume=True)]
    )
except ValueError as error:
    print(str(error).replace(folder.name, ""))

folder.cleanup()
