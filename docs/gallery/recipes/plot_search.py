"""
Searching for good parameters
=============================

``search_space()`` has ranges for the important parameters of a multi-layer perceptron,
in the form that scikit-learn's searches take. Here it is used in a random search over a
pipeline in two processes; a small grid then refines two parameters.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, search_space

plt.style.use("tableau-colorblind10")

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype("float32"), y, stratify=y, random_state=0
)

# %%
# A random search
# ---------------
#
# Scaling belongs in the pipeline, so that each fold is scaled by its own training part.
# Early stopping decides the number of epochs, which is one parameter less to search.
# Some candidates still improve when they reach ``max_iter``; a fit warns of that, which
# is not interesting in a search. In workers of a search a fit uses one thread by
# default.

warnings.simplefilter("ignore", ConvergenceWarning)

mlp = MLPClassifier(
    early_stopping=True,
    scoring="loss",
    validation_fraction=0.2,
    n_iter_no_change=20,
    max_iter=150,
    random_state=0,
)
pipeline = make_pipeline(StandardScaler(), mlp)
space = search_space("mlpclassifier__")
print("\n".join(name.removeprefix("mlpclassifier__") for name in space))

search = RandomizedSearchCV(
    pipeline, space, n_iter=12, scoring="neg_log_loss", cv=3, n_jobs=2, random_state=0
)
search.fit(X_train, y_train)

# %%
for name, value in search.best_params_.items():
    print(f"{name.removeprefix('mlpclassifier__'):20}{value}")
print(
    f"log loss in cross-validation {-search.best_score_:.3f}, of the middle candidate "
    f"{-np.median(search.cv_results_['mean_test_score']):.3f}"
)
print(f"test accuracy {search.best_estimator_.score(X_test, y_test):.3f}")

# %%
# What mattered? Each point is one candidate.

results = search.cv_results_
rates = results["param_mlpclassifier__learning_rate_init"].data.astype(float)
widths = results["param_mlpclassifier__width"].data.astype(int)
losses = -results["mean_test_score"]

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
points = ax.scatter(
    rates, losses, c=widths, cmap="viridis", s=50, edgecolor="black", linewidth=0.5
)
found = rates[search.best_index_], losses[search.best_index_]
ax.plot(*found, "o", ms=14, mfc="none", mec="C1", mew=2)
ax.annotate("best", found, (10, 8), textcoords="offset points")
ax.set(xscale="log", xlabel="learning_rate_init", ylabel="log loss")
fig.colorbar(points, label="width")
plt.show()

# %%
# A grid around the best
# ----------------------
#
# ``best_params_`` goes straight into ``set_params``; ranges are lists.

best = search.best_params_
grid = {
    "mlpclassifier__learning_rate_init": best["mlpclassifier__learning_rate_init"]
    * np.array([0.5, 1, 2]),
    "mlpclassifier__alpha": [1e-4, 1e-1],
}
closer = GridSearchCV(
    pipeline.set_params(**best), grid, scoring="neg_log_loss", cv=3, n_jobs=2
).fit(X_train, y_train)
print(f"log loss in cross-validation {-closer.best_score_:.3f}")
print(f"test accuracy {closer.best_estimator_.score(X_test, y_test):.3f}")
assert closer.best_estimator_.score(X_test, y_test) > 0.9

# %%
# Progress
# --------
#
# ``verbose=2`` prints a line for each fit. With scikit-learn 1.9 and the package rich,
# ``search.set_callbacks(sklearn.callback.ProgressBar())`` draws a bar for the search
# and one for each fit.
