"""
Early stopping on your metric
=============================

The training loss keeps falling while what you care about gets worse. Choose the metric
(``scoring``) and the samples (``X_val``, ``y_val``) for the evaluation after each
epoch; the fit ends when nothing improves any more, and restores the weights of the best
epoch.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn import config_context
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import LossCurveDisplay, MLPClassifier

plt.style.use("tableau-colorblind10")

X, y = make_classification(
    3000,
    n_features=20,
    n_informative=8,
    n_clusters_per_class=4,
    flip_y=0.05,
    random_state=0,
)
X, X_test, y, y_test = train_test_split(
    X.astype("float32"), y, test_size=1000, random_state=0
)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=1000, random_state=0)

# %%
# Your samples, your metric
# -------------------------
#
# ``scoring`` may be any name from ``sklearn.metrics.get_scorer_names()``, your own
# scorer, or ``"loss"``. Without ``X_val``, a tenth of the training samples is held out.

model = MLPClassifier(
    (128,),
    batch_size=32,
    early_stopping=True,
    scoring="roc_auc",
    n_iter_no_change=15,
    tol=0,
    random_state=0,
)
model.fit(X_train, y_train, X_val=X_val, y_val=y_val)

best = int(np.argmax(model.history_["validation_score"]))
print(f"{model.n_iter_} epochs, the best was number {best + 1}")
print(f"ROC AUC on validation samples: {model.best_validation_score_:.4f}")
test_score = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])
print(f"ROC AUC on test samples:       {test_score:.4f}")

# %%
# The weights are those of the best epoch, not of the last one.

again = roc_auc_score(y_val, model.predict_proba(X_val)[:, 1])
assert np.isclose(again, model.best_validation_score_)
assert again > model.history_["validation_score"][-1]

# %%
# ``history_`` has a number per epoch under "loss", "validation_loss",
# "validation_score", "learning_rate" and "seconds". ``LossCurveDisplay`` draws the
# first three.

fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
LossCurveDisplay.from_estimator(model, ax=ax)
ax.axvline(best + 1, color="black", lw=1, ls=":")
ax.annotate(
    "best score",
    (best + 1, 0.03),
    xycoords=("data", "axes fraction"),
    xytext=(5, 0),
    textcoords="offset points",
)
plt.show()

# %%
# Another metric, another epoch
# -----------------------------
#
# Ranking and probabilities need not be at their best at the same time: the longer a
# fit, the more confident its mistakes, and those cost the logarithmic loss most.

for scoring in ("roc_auc", "accuracy", "neg_log_loss"):
    model.set_params(scoring=scoring).fit(X_train, y_train, X_val=X_val, y_val=y_val)
    epoch = int(np.argmax(model.history_["validation_score"])) + 1
    probabilities = model.predict_proba(X_test)
    auc = roc_auc_score(y_test, probabilities[:, 1])
    loss = log_loss(y_test, probabilities)
    print(f"{scoring:13} epoch {epoch:2}, test ROC AUC {auc:.4f}, log loss {loss:.4f}")

# %%
# In a pipeline
# -------------
#
# Validation samples must go through the same scaler as the training samples.
# scikit-learn does that for arguments named in ``transform_input``, with metadata
# routing switched on.

with config_context(enable_metadata_routing=True):
    classifier = model.set_fit_request(X_val=True, y_val=True)
    steps = [("scale", StandardScaler()), ("mlp", classifier)]
    pipeline = Pipeline(steps, transform_input=["X_val"])
    pipeline.fit(1000 * X_train, y_train, X_val=1000 * X_val, y_val=y_val)

print(f"test accuracy of the pipeline: {pipeline.score(1000 * X_test, y_test):.3f}")
assert pipeline.score(1000 * X_test, y_test) > 0.75
