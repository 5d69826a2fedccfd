"""Descriptions of parameters and attributes that both estimators share.

They are inserted into the docstrings when the classes are made, because scikit-learn and help()
read these.
"""

from __future__ import annotations

import inspect
import re
from typing import TypeVar

T = TypeVar("T")

PARAMETERS = """\
hidden_layer_sizes : sequence of int or int, default (100,)
    Units of each hidden layer.
activation : str, Activation or list of them, default "relu"
    Activation of the hidden layers, one for all or one each: scikit-learn's identity, logistic,
    tanh, relu, or any other of fastmlp's, by name or as an object such as ``LeakyReLU(0.1)``.
solver : {"adam", "sgd", "lbfgs", "adamw", "rmsprop", "adagrad"}, default "adam"
    The optimizer; all except "lbfgs" use mini-batches.
alpha : float, default 0.0001
    Strength of the penalty on weights, divided by the number of samples of a batch.
batch_size : int or "auto", default "auto"
    Samples per step; "auto" is 200, or all samples if there are fewer.
learning_rate : str, Schedule or callable, default "constant"
    "constant"; "invscaling" and "adaptive", which as in scikit-learn do nothing for "adam"; or a
    schedule that sets the rate of each step, by name ("linear", "cosine", "one_cycle", ...) or as
    an object. A schedule covers all `max_iter` epochs, so only early stopping ends it sooner.
learning_rate_init : float, default 0.001
    The first, or largest, learning rate.
power_t : float, default 0.5
    Exponent of "invscaling".
max_iter : int, default 200
    Maximum number of epochs, or of iterations of "lbfgs".
shuffle : bool, default True
    Whether to visit samples in a new order each epoch.
random_state : int, RandomState or None, default None
    Seed of weights, order, held-out part and dropout.
tol : float, default 1e-4
    The least change that counts as an improvement of loss or score.
verbose : bool, default False
    Print the loss of each epoch.
warm_start : bool, default False
    Let `fit` continue from the state after the previous one, including the optimizer's state.
momentum : float in [0, 1], default 0.9
    Momentum of "sgd"; for "rmsprop" the weight of the past.
nesterovs_momentum : bool, default True
    Whether "sgd" looks one velocity ahead.
early_stopping : bool, default False
    Stop by the score on held-out samples, and restore the best weights.
validation_fraction : float, default 0.1
    Fraction of the samples to hold out.
beta_1, beta_2 : float, default 0.9 and 0.999
    Weights of the past in the means of "adam" and "adamw".
epsilon : float, default 1e-8
    Added in "adam" and similar solvers to avoid divisions by 0.
n_iter_no_change : int, default 10
    Epochs without improvement that are tolerated.
max_fun : int, default 15000
    Maximum number of evaluations of "lbfgs".
width, depth : int, optional
    Units per hidden layer and number of hidden layers, as plain numbers for a search; they override
    `hidden_layer_sizes`.
dropout : float or list of float, default 0
    Probability of dropping each hidden unit's output, for all layers or one each.
l1_ratio : float in [0, 1], default 0
    Fraction of the penalty that is L1.
weight_decay : float, default 0
    Decoupled weight decay (see `AdamW`).
max_norm : float, optional
    Maximum norm of the incoming weights of a hidden unit.
gradient_clip : float, optional
    Maximum norm of the gradient.
n_members : int, default 1
    Networks whose predictions (probabilities, for a classifier) are averaged. Each starts from
    weights and orders of its own, and they are trained side by side.
member_rows : {"all", "bootstrap", "folds"}, default "all"
    The rows that each member is trained on: all; as many drawn with replacement; or all but a fold
    of its own. With `early_stopping` the rows that it leaves out judge its epochs. Classes keep
    their shares.
scoring : str, callable or None, default None
    What to judge held-out samples by: any scorer of scikit-learn, or "loss"; by default what
    `score` gives.
callbacks : callable, EMA, SWA or list of these, optional
    Called as ``f(estimator, history)`` after each epoch; a true result ends the fit. One may be an
    `EMA` or `SWA`, whose averaged weights the model ends with and early stopping judges; a copy of
    it is in ``averaging_`` after `fit`.
n_threads : int, optional
    By default as many as are worthwhile for the work of a step, but one in workers of a parallel
    search; results do not depend on it.
dtype : {"float32", "float64"}, optional
    Type of weights and computations; by default that of X in the first fit. float32 is about twice
    as fast."""

ATTRIBUTES = """\
coefs_ : list of ndarray of shape (n_in, n_out)
    Weights of each layer. You may assign other arrays here and to `intercepts_`, or write into the
    arrays: at the next use they are checked and copied into the model, in its own dtype. The
    optimizer's state is kept unless layer sizes changed.
intercepts_ : list of ndarray of shape (n_out,)
    Biases of each layer.
loss_ : float
    Loss of the last epoch, including penalties.
loss_curve_, validation_scores_ : list of float
    By epoch; the second is None unless `early_stopping`.
averaging_ : EMA or SWA
    With the averaged weights, where `callbacks` has one.
best_loss_, best_validation_score_ : float
    As in scikit-learn: with `early_stopping` the first is None, otherwise the second.
history_ : dict of str to list
    Values by epoch: "loss", "learning_rate", "seconds" and, with held-out samples,
    "validation_loss" and "validation_score".
n_iter_, n_layers_, n_outputs_, t_ : int
    Number of epochs, of layers including the inputs, of outputs, and of samples seen.
out_activation_ : str
    Name of the function that turns outputs into predictions.
members_ : list of MLPClassifier or MLPRegressor
    With several `n_members`, the fitted members, which have the attributes of a network. The
    ensemble itself has `n_iter_`, the largest of theirs, and `loss_`, the mean.
network_ : Network
    The underlying network, with the arrays of `coefs_` and `intercepts_` as its parameters.
n_features_in_ : int
    Columns of X.
feature_names_in_ : ndarray of shape (n_features,)
    Their names, if it had any."""


def insert(cls: type[T], parameters: str, attributes: str) -> type[T]:
    """Insert shared text into a class's docstring, with parameters in the signature's order."""
    if not cls.__doc__:  # python -OO
        return cls
    text = inspect.cleandoc(cls.__doc__).replace("{attributes}", attributes)
    before, rule, rest = text.partition("Parameters\n----------\n")
    section, gap, after = rest.partition("\n\n")
    entries = re.split(r"\n(?=\S)", section.replace("{parameters}", parameters))
    order = list(inspect.signature(cls).parameters)
    entries.sort(key=lambda entry: order.index(re.split(r"\W", entry)[0]))
    cls.__doc__ = before + rule + "\n".join(entries) + gap + after
    return cls


def documented(cls: type[T]) -> type[T]:
    """Class decorator: insert the text that both estimators share."""
    return insert(cls, PARAMETERS, ATTRIBUTES)
