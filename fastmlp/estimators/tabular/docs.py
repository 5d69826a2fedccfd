"""Descriptions of parameters and attributes that both tabular estimators share.

They are inserted into the docstrings, in the order of the signature.
"""

from __future__ import annotations

from typing import TypeVar

from ..docs import insert

T = TypeVar("T")

PARAMETERS = """\
recipe : {"realmlp-piecewise", "realmlp", "realmlp-simple", "tabm-mini"}, default \
"realmlp-piecewise"
    How networks are made and trained: "realmlp" and "realmlp-simple" as published, the latter
    without embeddings of numbers, dropout, weight decay and learned activations; the default with
    piecewise linear embeddings instead of periodic ones, and three quarters of the epochs.
    "tabm-mini" is an ensemble in each network: 32 members that share weights, which takes many
    times as long.
hidden_layer_sizes : sequence of int or int, optional
    Units of each hidden layer; by default three times 256, or 512 of "tabm-mini".
learning_rate_init : float, optional
    The largest learning rate; by default the recipe's, from 0.002 to 0.2.
dropout, weight_decay : float, optional
    In the first half of training, or all of it for "tabm-mini"; by default the recipe's.
number_embedding : {"auto", "periodic", "piecewise"} or None, default "auto"
    What the network gets of each number beside the number itself: functions of learned cosines,
    piecewise linear functions with about equally many training rows in each piece, or nothing;
    "auto" is what the recipe has.
shared_members : int, optional
    Members of each network of "tabm-mini"; the time is proportional to them. By default 32.
max_iter : int, optional
    Number of epochs; by default 192, or 256 of the published recipes, of which "tabm-mini" ends
    after 16 in a row that were not better.
batch_size : int, optional
    Rows per step; by default 256.
categorical_features : sequence of names, numbers or bool, optional
    Columns whose numbers are names of categories, by name (as text) or counted from 0. Texts,
    booleans and columns of a categorical type always are.
validation_fraction : float in (0, 1), default 0.2
    Share of the rows to hold out, by which the best epoch is chosen, if there are no folds and no
    `X_val`.
n_members : int, default 1
    Networks from different starts whose answers are averaged.
n_folds : int, "auto" or None, default "auto"
    Train a network, or `n_members`, for each fold, on all other rows. Answers are averaged, and
    those to each row by networks that have not seen it are in ``oof_``. "auto" is 4, or None if
    `X_val` is given, a class has fewer than 4 rows, or there are fewer than 20; None trains on a
    single split, in a quarter of the time.
time_limit : float, optional
    Seconds for `fit`, in which as many epochs are planned as fit, at least 8 and up to `max_iter`.
    The result then depends on the machine's speed.
random_state : int, RandomState or None, default None
    Seed of initial weights, orders, dropout, held-out rows and folds.
n_threads : int, optional
    By default as many as are worthwhile. Results do not depend on it.
verbose : bool, default False
    Whether to show a progress bar."""

ATTRIBUTES = """\
networks_ : list of Network
    Of the prepared tables: a member for each fold, then the next member.
histories_ : list of History
    Losses and scores by epoch, of each network; not in files.
preparation_ : Preparation
    What was learnt about the columns.
n_folds_ : int or None
    Number of folds; None for a single split.
oof_ : ndarray of shape (n, ...)
    With folds, the answers to the training rows by networks that were not trained on them. The
    best epoch and the temperature were chosen by these rows, and what is learnt about the columns,
    such as medians, is learnt from all.
n_iter_ : int
    Number of epochs.
n_features_in_ : int
    Columns of X.
feature_names_in_ : ndarray of shape (n_features,)
    Their names, if it had any."""


def documented(cls: type[T]) -> type[T]:
    """Class decorator: insert the text that both estimators share."""
    return insert(cls, PARAMETERS, ATTRIBUTES)
