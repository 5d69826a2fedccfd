"""
Searching for good parameters
=============================

``SearchCV`` tries parameters by cross-validation, as scikit-learn's searches do and
with the same scores. It trains candidates side by side in threads, so no processes
have to start. With ``halving=True`` all candidates are trained for a few epochs, and
only the best third goes on, from where it paused.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, SearchCV, SearchDisplay, search_space

plt.style.use("tableau-colorblind10")

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype("float32"), y, stratify=y, random_state=0
)

# %%
# Candidates
# ----------
#
# Scaling belongs in the pipeline, so that each fold is scaled by its own training part.
# That happens once per fold, not once per candidate. ``search_space()`` has ranges for
# the parameters that matter; its learning rates are constant or follow a schedule over
# all ``max_iter`` epochs. Every fit keeps the weights of its best epoch, as a part of
# its rows judges them. Some candidates still improve at the last epoch; a fit warns of
# that, which is not interesting in a search.

warnings.simplefilter("ignore", ConvergenceWarning)

mlp = MLPClassifier(
    early_stopping=True,
    scoring="loss",
    validation_fraction=0.2,
    max_iter=120,
    random_state=0,
)
pipeline = make_pipeline(StandardScaler(), mlp)
space = search_space("mlpclassifier__")
print("\n".join(name.removeprefix("mlpclassifier__") for name in space))

# %%
# Successive halving
# ------------------

search = SearchCV(
    pipeline, space, 40, cv=3, scoring="neg_log_loss", halving=True, random_state=0
)
search.fit(X_train, y_train)

rounds = zip(search.n_candidates_, search.n_resources_, strict=True)
print(", then ".join(f"{n} candidates to epoch {epochs}" for n, epochs in rounds))
for name, value in search.best_params_.items():
    print(f"{name.removeprefix('mlpclassifier__'):20}{value}")
print(f"log loss in cross-validation {-search.best_score_:.3f}")
print(f"test accuracy {search.best_estimator_.score(X_test, y_test):.3f}")

# %%
# What mattered? The first panel shows how scores grew with the epochs. In the others a
# point is a candidate: grey ones were left behind, and the best has a ring.

names = ["learning_rate_init", "width", "dropout", "activation", "learning_rate"]
display = SearchDisplay.from_estimator(
    search, params=[f"mlpclassifier__{name}" for name in names]
)
for ax in display.axes_:
    ax.set_ylim(-0.4, 0)
plt.show()

# %%
# A grid around the best
# ----------------------
#
# ``best_params_`` goes straight into ``set_params``. The estimators work in
# scikit-learn's own searches, too, where a fit in a worker uses one thread by default.

best = search.best_params_
grid = {
    "mlpclassifier__learning_rate_init": best["mlpclassifier__learning_rate_init"]
    * np.array([0.5, 1, 2]),
    "mlpclassifier__alpha": [1e-4, 1e-1],
}
pipeline.set_params(**best)
options = {"cv": 3, "scoring": "neg_log_loss"}
closer = SearchCV(pipeline, grid, **options).fit(X_train, y_train)
theirs = GridSearchCV(pipeline, grid, **options).fit(X_train, y_train)
print(f"log loss in cross-validation {-closer.best_score_:.3f}")
print(f"test accuracy {closer.best_estimator_.score(X_test, y_test):.3f}")
assert abs(closer.best_score_ - theirs.best_score_) < 1e-12
assert closer.best_estimator_.score(X_test, y_test) > 0.9
