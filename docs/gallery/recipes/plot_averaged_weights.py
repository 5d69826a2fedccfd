"""
Averaged weights and accumulated gradients
==========================================

Single steps of gradient descent wander around a good place; the average of many lies
nearer to its middle. ``EMA`` and ``SWA`` keep such averages during a fit, at the cost
of one more copy of the weights. Accumulated gradients make steps of more rows than a
batch has.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import EMA, SGD, SWA, Dense, Network, ReLU, datasets

plt.style.use("tableau-colorblind10")

digits = datasets.load_digits().split()


def fit(*callbacks, **options):
    network = Network([Dense(64), ReLU(), Dense(10)], random_state=0)
    history = network.fit(
        digits.X_train,
        digits.y_train,
        optimizer=SGD(0.05, momentum=0.9),
        epochs=40,
        validation_data=(digits.X_val, digits.y_val),
        callbacks=callbacks,
        **options,
    )
    return network, history


# %%
# A moving average, and an equal one
# ----------------------------------
#
# What the fit leaves in the network is also what validation judges after each epoch:
# the average. All three fits take the same steps. ``SWA`` averages the weights at the
# ends of epochs, here from a quarter of the fit on; until then it is the network
# itself.

fits = {"single steps": fit(), "EMA(0.99)": fit(EMA(0.99)), "SWA(0.25)": fit(SWA(0.25))}

figure, axes = plt.subplots(figsize=(7, 4))
for name, (_network, history) in fits.items():
    axes.plot(np.arange(1, 41), history.validation_loss, label=name)
axes.set(xlabel="epoch", ylabel="validation loss", yscale="log")
axes.legend()

for name, (network, _history) in fits.items():
    right = network.score(digits.X_test, digits.y_test)
    print(f"{name:>14}: {right:.3f} of the test rows right")

# %%
# Both in one network
# -------------------
#
# With ``apply=False`` the network keeps its own weights and lends itself to the others
# in a block of code.

ema = EMA(0.99, apply=False)
network, _ = fit(ema)
with ema.averaged(network):
    averaged = network.predict_proba(digits.X_test)
difference = abs(averaged - network.predict_proba(digits.X_test)).max()
print(f"probabilities differ by up to {difference:.2f}")

# %%
# Steps of more rows than a batch
# -------------------------------
#
# Four batches of 32 rows make one step, with the gradient of all 128 and the memory of
# 32. It differs from a step of 128 rows by rounding only.

network, history = fit(batch_size=32, gradient_accumulation_steps=4)
large, _ = fit(batch_size=128)
print(f"weights differ by up to {abs(network.params - large.params).max():.0e}")
