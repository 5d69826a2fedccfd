"""
Imbalanced classes
==================

One sample in twenty is of the class you are after, and a model that never finds one is
right 95 % of the time. This recipe shows what ``class_weight="balanced"`` changes and
what it does not, and that moving the threshold of an ordinary model achieves the same.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_classification
from sklearn.metrics import (
    PrecisionRecallDisplay,
    average_precision_score,
    balanced_accuracy_score,
    precision_score,
    recall_score,
)
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split

from fastmlp import MLPClassifier

plt.style.use("tableau-colorblind10")

X, y = make_classification(
    12_000, n_informative=6, weights=[0.95], class_sep=0.7, flip_y=0.02, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(
    X.astype("float32"), y, stratify=y, test_size=0.5, random_state=0
)
print(f"share of the rare class: {y_test.mean():.1%}")

# %%
# Three models
# ------------
#
# All three stop early on average precision, which depends on the ranking of the samples
# and not on a threshold. The second weights classes by the inverse of their frequency.
# The third is the first with a threshold that cross-validation on the training data
# found best for balanced accuracy.

common = {"early_stopping": True, "scoring": "average_precision", "random_state": 0}
plain = MLPClassifier(**common)
weighted = MLPClassifier(class_weight="balanced", **common)
moved = TunedThresholdClassifierCV(plain, scoring="balanced_accuracy", cv=5)

models = {"plain": plain, "class_weight": weighted, "threshold": moved}
scores = {
    "accuracy": lambda model: model.score(X_test, y_test),
    "balanced accuracy": lambda model: balanced_accuracy_score(
        y_test, model.predict(X_test)
    ),
    "recall": lambda model: recall_score(y_test, model.predict(X_test)),
    "precision": lambda model: precision_score(y_test, model.predict(X_test)),
    "average precision": lambda model: average_precision_score(
        y_test, model.predict_proba(X_test)[:, 1]
    ),
}
for model in models.values():
    model.fit(X_train, y_train)
results = {
    what: [score(model) for model in models.values()] for what, score in scores.items()
}

print(" " * 18 + "".join(f"{name:>14}" for name in models))
for what, values in results.items():
    print(f"{what:18}" + "".join(f"{value:14.3f}" for value in values))

# %%
# Class weights and a moved threshold both find far more of the rare class and raise
# more false alarms. The ranking, which average precision measures, is no better for
# either of them: weights do not add information.

balanced = results["balanced accuracy"]
assert balanced[1] > balanced[0] + 0.03
assert balanced[2] > balanced[0] + 0.03
assert results["average precision"][1] < results["average precision"][0] + 0.03

# %%
# The curves show the results of all thresholds, the marks those of ``predict``: weights
# move a model along its curve, and so does a threshold.

fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name in ("plain", "class_weight"):
    PrecisionRecallDisplay.from_estimator(
        models[name], X_test, y_test, ax=ax, name=name
    )
for marker, (name, recall, precision) in zip(
    "osD",
    zip(models, results["recall"], results["precision"], strict=True),
    strict=True,
):
    ax.plot(recall, precision, marker, ms=9, mec="black", label=f"predict of {name}")
ax.set(aspect="auto", xlabel="recall", ylabel="precision")
ax.legend()
plt.show()

# %%
# The price of weights
# --------------------
#
# Probabilities of a weighted model answer another question: what if both classes were
# equally frequent? Do not read them as probabilities. Those of the plain model agree
# with the observed frequencies.

mean_plain = plain.predict_proba(X_test)[:, 1].mean()
mean_weighted = weighted.predict_proba(X_test)[:, 1].mean()
print(f"share of the rare class           {y_test.mean():.3f}")
print(f"mean probability, plain           {mean_plain:.3f}")
print(f"mean probability, class_weight    {mean_weighted:.3f}")
assert abs(mean_plain - y_test.mean()) < 0.02 < mean_weighted - y_test.mean()

# %%
# So: if costs of mistakes are known, or may change, keep the plain model and choose the
# threshold. If only ``predict`` is used, or the rare class is lost early in the fit,
# set ``class_weight``; a dictionary such as ``{0: 1, 1: 5}`` gives a middle way.
