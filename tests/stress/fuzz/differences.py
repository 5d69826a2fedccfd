"""Where an estimator may answer otherwise than scikit-learn's, and why.

Everything that is not listed here must be refused where scikit-learn refuses, and answered with the
same numbers where it answers.
"""

from __future__ import annotations

# What must be refused, and is not shown to scikit-learn: it computes nonsense, or dies of it.
REFUSED = {
    "sparse: places outside": "other libraries read beyond their memory",
    "X: text": "scikit-learn's fit takes digits for numbers, its predict refuses them",
    "X: dates": "scikit-learn's fit counts from 1970, its predict fails",
    "weights: negative": "a loss that can fall without end; scikit-learn trains on it",
    "weights: all zero": "nothing to train on; scikit-learn divides by zero",
    "y: dates": "scikit-learn's regressor takes some of them for numbers",
    "y: NaT": "scikit-learn's classifier takes it for a class",
    "validation: bad": "scikit-learn has no such argument",
    "set: other shape": "nonsense, or an error only where shapes do not happen to fit",
    "set: turned": "the same",
}
# What scikit-learn answers and we may refuse; where both answer, numbers must be the same.
STRICTER = {
    "X: huge": "a loss or an output that grew beyond its type is an error here",
    "X: not finite": "a sparse hole is found by scikit-learn in most cases only",
    "y: huge": "the same",
    "weights: huge": "the same",
    "weights: text": "digits as text are numbers to scikit-learn",
    "weights: dates": "scikit-learn takes dates for numbers",
    "weights: complex": "scikit-learn drops the imaginary part in some versions",
    "weights: 2-d": "scikit-learn's words differ by version",
    "y: negative": "poisson needs counts",
    "y: unlike the last": "a fitted model of scikit-learn mixes up labels and their columns",
    "y: fewer columns": "a fitted model of scikit-learn repeats a single one",
    "set: not finite": "outputs that are nan are refused here",
    "set: whole": "scikit-learn computes with any type that NumPy multiplies",
    "set: half": "the same",
    "set: in place": "memory maps of joblib may be read-only",
    "set: objects": "the same",
    "set: list": "the same",
    "set: one number": "the same; NumPy broadcasts it",
    "set: flat": "the same",
    "set: complex": "the same",
    "set: swapped bytes": "the same",
    "set: text": "the same",
    "set: sparse": "the same",
    "set: nothing": "scikit-learn notices where it computes",
    "y: StringDType": "scikit-learn's support for it is partial",
    "partial_fit with lbfgs": "scikit-learn's regressor forgets to call its own check",
    "attribute": "scikit-learn's own attributes are not checked at all",
    "diverging": "a loss that is not a number any more ends the fit with an error here",
}
# What is answered here, though scikit-learn refuses.
LOOSER = {
    "set: list": "scikit-learn's asks an array among coefs_ for what lists do not have",
    "set: objects": "scikit-learn's functions do not take them",
    "weights: some zero": "scikit-learn divides by the weight of a batch",
    "weights: booleans": "the same, about half of them are zero",
    "several labels in partial_fit": "scikit-learn's fails before a fit (#12505)",
}
# What is answered otherwise, so that only crashes, nan and shapes are looked at from there on.
OTHERWISE = {
    "several targets with lbfgs": "scikit-learn averages the loss but not its gradient (#8349)",
    "early stopping of counts": "goes by the deviance here, by R2 there",
    "early stopping of huge numbers": "ends with the epoch whose loss is no number",
    "warm start": "goes on with the optimizer's memory here",
    "parameters between fits": "count in the next partial_fit here, not there",
    "set: then trained": "the model keeps its type here; scikit-learn's takes that of the array",
    "set: other float": "the model keeps its type here; scikit-learn's takes the array's",
}
