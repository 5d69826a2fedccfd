"""
A whole pipeline as ONNX
========================

ONNX Runtime runs models without Python: in browsers, phones and services in other
languages. ``to_onnx`` writes a fitted pipeline, including encoders and scalers, as one
file, and this recipe checks that its predictions equal the pipeline's. It needs ``pip
install 'fastmlp[onnx]' onnxruntime`` and, for its table, pandas.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastmlp import MLPClassifier, to_onnx

plt.style.use("tableau-colorblind10")

# %%
# Fit
# ---
#
# A table with numbers and text: which flats are let within a week. ONNX files compute
# in float32, so fit in float32 as well: here the numbers are cast in the table itself.

rng = np.random.default_rng(0)
n = 3000
flats = pd.DataFrame(
    {
        "area": rng.gamma(8, 8, n).astype("float32"),
        "rent": rng.gamma(9, 90, n).astype("float32"),
        "part": rng.choice(["centre", "north", "south", "harbour"], n),
        "heating": rng.choice(["gas", "district", "heat pump"], n),
    }
)
value = (
    8 * flats["area"]
    + 150 * (flats["part"] == "centre")
    + 80 * (flats["heating"] != "gas")
)
chance = 1 / (1 + np.exp((flats["rent"] - 1.3 * value) / 80))
label = np.where(rng.random(n) < chance, "quick", "slow")

X_train, X_test, y_train, y_test = train_test_split(flats, label, random_state=0)
pipeline = make_pipeline(
    make_column_transformer(
        (StandardScaler(), ["area", "rent"]),
        (OneHotEncoder(sparse_output=False), ["part", "heating"]),
    ),
    MLPClassifier((32, 32), early_stopping=True, dtype="float32", random_state=0),
)
pipeline.fit(X_train, y_train)
print(f"test accuracy {pipeline.score(X_test, y_test):.3f}")

# %%
# Write, and read elsewhere
# -------------------------
#
# Some rows tell the type of each column. Each column becomes an input with its name.

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "flats.onnx"
    to_onnx(pipeline, path, X_train)
    print(f"{path.name}: {path.stat().st_size / 1e3:.1f} kB")
    print(
        "operators:",
        ", ".join(sorted({node.op_type for node in onnx.load(path).graph.node})),
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

inputs = {name: X_test[[name]].to_numpy() for name in X_test}
labels, probabilities = session.run(None, inputs)

# %%
# The same predictions
# --------------------
#
# Labels are equal, probabilities to rounding. (Those that are equal to the bit are
# drawn at 1e-9.)

expected = pipeline.predict_proba(X_test)
assert (labels == pipeline.predict(X_test)).all()
assert np.abs(probabilities - expected).max() < 1e-5

fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
difference = np.abs(probabilities - expected).max(axis=1)
ax.semilogy(expected[:, 0], np.maximum(difference, 1e-9), ".", ms=4)
ax.axhline(1e-5, color="black", lw=1, ls="--")
ax.annotate("1e-5", (0.02, 1.2e-5))
ax.set(
    xlabel="probability of quick",
    ylabel="difference in ONNX Runtime",
    ylim=(5e-10, 1e-4),
)
plt.show()

# %%
# A network or an estimator without a pipeline has one input, "X", and needs no rows:

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "alone.onnx"
    to_onnx(pipeline[-1], path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

rows = pipeline[:-1].transform(X_test).astype("float32")
labels, probabilities = session.run(["label", "probabilities"], {"X": rows})
assert (labels == pipeline.predict(X_test)).all()
