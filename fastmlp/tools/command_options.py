"""Interprets the command line's options: data, targets, sizes, rates and class weights.

Invalid values are refused before training, with the option's name.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import datasets
from ..datasets.reading import has_names, is_text_table
from ..datasets.tables import column_names
from ..errors import InputError
from ..inputs import checks
from ..io import heldout
from ..network import Network
from ..nn.losses import LOSSES, Loss
from ..optim.optimizers import OPTIMIZERS, Optimizer
from ..optim.schedules import at_rate

_DEFAULT_RATES = {"sgd": 0.1, "adagrad": 0.03}
_DEFAULT_RATE = 0.002
_TEST_PART = 0.15
# What a network of one's own has unless an option says otherwise.
_NETWORK_DEFAULTS: dict[str, Any] = {
    "hidden": "256",
    "activation": "relu",
    "dropout": 0.0,
    "optimizer": "adam",
    "schedule": "linear",
    "epochs": 60,
    "batch_size": 32,
    "validation": 0.15,
}
NO_RECIPE = "none"
# Options that describe a network of one's own, and those that only a recipe has.
_OF_NETWORK = ("activation", "loss", "dtype")
_OF_RECIPE = ("metric", "members", "folds", "time_limit")
# Options of the training of such a network, and what a recipe does instead.
_OF_TRAINING = {
    "optimizer": "has its own",
    "schedule": "has its own",
    "early_stopping": "keeps the best epoch in any case",
    "checkpoint": "writes none",
}
# Losses for either kind of target.
OF_LABELS, OF_NUMBERS = "softmax_cross_entropy", "mean_squared_error"
_MAX_CLASSES = 20  # more distinct integers than this are assumed to be counts
_TABS = ("\\t", "tab")  # accepted spellings of a tab


def uses_recipe(options: argparse.Namespace) -> bool:
    """Whether to train by a recipe for tables.

    That is so for tables whose columns have names, unless an option says otherwise or describes a
    network of one's own. Options that may be meant for either are refused.
    """
    is_table = _has_recipe(options)
    network, recipe = _given(options, _OF_NETWORK), _given(options, _OF_RECIPE)
    training = _given(options, list(_OF_TRAINING))
    if options.recipe == NO_RECIPE:
        network = network or ["--recipe none"]
    elif options.recipe is not None:
        recipe = [f"--recipe {options.recipe}", *recipe]
    if recipe and (network or training):
        raise InputError(
            [*network, *training][0], f"no option of a recipe, such as {recipe[0]}", "both",
            "leave one of the two out",
        )  # fmt: skip
    if recipe and not is_table:
        raise InputError(
            recipe[0], "a table with named columns", repr(options.data), "pass CSV or Parquet"
        )
    if is_table and training and not network:
        name = next(name for name in _OF_TRAINING if getattr(options, name) is not None)
        raise InputError(
            training[0], "a network of your own (--recipe none)",
            f"a table for a recipe, which {_OF_TRAINING[name]}",
            "leave it out, or add --recipe none",
        )  # fmt: skip
    return is_table and not network


def _has_recipe(options: argparse.Namespace) -> bool:
    """Whether the data are a table that a recipe can train on."""
    return options.data not in datasets.DATASETS and has_names(options.data)


def why_no_recipe(options: argparse.Namespace) -> list[str]:
    """What to tell users of a table which gets a network that only an option implies."""
    implied = _given(options, _OF_NETWORK)
    if options.recipe == NO_RECIPE or not implied or not _has_recipe(options):
        return []
    return [f"a network of layers, because of {implied[0]}; without it, a recipe would train"]


def _given(options: argparse.Namespace, names: Sequence[str]) -> list[str]:
    return [f"--{n.replace('_', '-')}" for n in names if getattr(options, n) is not None]


def of_network(options: argparse.Namespace) -> argparse.Namespace:
    """The options of a network of one's own, with defaults for those that were not given."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    return argparse.Namespace(**{**vars(options), **_NETWORK_DEFAULTS, **given})


def test_part(options: argparse.Namespace, data: datasets.Dataset | None) -> float:
    """The fraction of rows for the test, which is not used if the data have test rows."""
    if options.test is not None and data is not None and data.n_test:
        raise InputError(
            "--test", "data without test rows of their own", f"{data.name}, which has some",
            "leave --test out",
        )  # fmt: skip
    test = _TEST_PART if options.test is None else float(options.test)
    held_out = test + (options.validation or 0)
    if held_out >= 1 and not (data is not None and data.n_test):
        raise InputError(
            "--validation", f"less than {1 - test:g}, beside {test:g} of the rows for the test",
            f"{options.validation:g}", "lower it, so that rows are left for training",
        )  # fmt: skip
    return test


def table_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options for the dialect of a text table, for the loaders."""
    separator = "\t" if options.separator in _TABS else options.separator
    return {
        "separator": separator, "decimal": options.decimal, "thousands": options.thousands
    }  # fmt: skip


def as_trained(options: argparse.Namespace, network: Network) -> argparse.Namespace:
    """The options with the dialect of a network's training, where they do not name another."""
    if options.data in datasets.DATASETS or not is_text_table(options.data):
        return options
    known = heldout.dialect_of(network)
    if options.decimal is not None or options.thousands is not None:  # which depend on each other
        known = {"separator": known["separator"]} if "separator" in known else {}
    if options.separator is not None:
        known.pop("separator", None)
    return argparse.Namespace(**{**vars(options), **known})


def load(options: argparse.Namespace, target: Any = None, **more: Any) -> datasets.Dataset:
    """The data from --data, with the target from --target or, without that, `target`."""
    found = targets(options)
    return datasets.load(
        options.data,
        data_home=options.data_home,
        target=target if found is None else found,
        **table_options(options),
        **more,
    )


def targets(options: argparse.Namespace) -> str | list[str] | None:
    """One target column or several. A comma separates names unless a column's name has it."""
    names = split_names(options, options.target or [])
    return (names[0] if len(names) == 1 else names) if names else None


def split_names(options: argparse.Namespace, texts: Sequence[str]) -> list[str]:
    """Names of columns, from options that may be repeated and may each contain several."""
    known: Sequence[str] = ()
    if any("," in text or '"' in text for text in texts) and options.data not in datasets.DATASETS:
        known = column_names(options.data, table_options(options)["separator"]) or ()
    return names_in(texts, known)


def names_in(texts: Sequence[str], known: Sequence[str] = ()) -> list[str]:
    """Names that commas separate, unless all of a text is known to be one; quotes as in CSV."""
    names: list[str] = []
    for text in texts:
        is_one = text in known or not ("," in text or '"' in text)
        names += [text] if is_one else next(csv.reader([text], skipinitialspace=True))
    return names


def loss_for(name: str | None, y: np.ndarray) -> Loss:
    """The requested loss, or one that suits the target."""
    if name is not None:
        loss = LOSSES[name]()
        if loss.task == "regression" and y.dtype.kind not in "biuf":
            raise InputError(
                "--loss", f"a target of numbers for {name}", "text", "use softmax_cross_entropy"
            )
        return loss
    if y.ndim == 1 and (y.dtype.kind not in "iuf" or _looks_like_labels(y)):
        return LOSSES[OF_LABELS]()
    return LOSSES[OF_NUMBERS]()


def guess_about(name: Any, y: np.ndarray, option: str, choices: tuple[str, str]) -> list[str]:
    """What to tell users about a target that may be labels or numbers.

    Parameters
    ----------
    name : str
        Of the target.
    y : ndarray
        The target.
    option : str
        Which decides.
    choices : tuple of str
        What to pass for labels, and for numbers.
    """
    if y.ndim > 1 or y.dtype.kind not in "iu":
        return []
    labels, numbers = choices
    if _looks_like_labels(y):
        n = np.unique(y).size
        return [
            f"the target {name!r} is taken as {n} classes; for numbers, pass {option} {numbers}"
        ]
    return [f"the target {name!r} is taken as numbers; for classes, pass {option} {labels}"]


def _looks_like_labels(y: np.ndarray) -> bool:
    return y.dtype.kind in "iu" and np.unique(y).size <= _MAX_CLASSES


def check_classes(loss: Loss, y: np.ndarray, y_train: np.ndarray) -> None:
    """Refuse labels that no training row has, before training starts."""
    if loss.task == "regression" or y.ndim > 1:
        return
    labels = np.unique(y)
    if loss.task == "binary" and labels.size > 2:
        raise InputError(
            "--loss",
            f"a target with 2 classes for {loss.name}",
            f"{labels.size}",
            "use softmax_cross_entropy",
        )
    counted = labels.dtype.kind in "iu" and labels[0] >= 0 and labels[-1] < labels.size
    n_missing = labels.size - np.unique(y_train).size
    if n_missing and not counted:
        raise InputError(
            "--target",
            f"each of {labels.size} classes among the training rows",
            f"{n_missing} without any",
            "add rows, drop rare classes or choose a loss for numbers",
        )


def sizes(text: str) -> list[int]:
    """Hidden sizes from "32,16"; an empty text means no hidden layers."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(re.fullmatch("0*[1-9][0-9]{0,5}", part) for part in parts):
        raise InputError(
            "--hidden",
            "whole numbers from 1 to 999999 with commas between",
            repr(text),
            "write for example --hidden 64,32",
        )
    return [int(part) for part in parts]


def optimizer_for(options: argparse.Namespace) -> Optimizer:
    """The optimizer with its rate and schedule."""
    rate = options.learning_rate
    if rate is None:
        rate = _DEFAULT_RATES.get(options.optimizer, _DEFAULT_RATE)
    settings: dict[str, Any] = {}
    if options.weight_decay is not None:
        settings["weight_decay"] = options.weight_decay
    if options.optimizer == "sgd":
        settings["momentum"] = 0.9
    made: Optimizer = OPTIMIZERS[options.optimizer](at_rate(options.schedule, rate), **settings)
    return made


def class_weights(
    texts: Sequence[str] | None, loss: Loss, y_train: np.ndarray
) -> dict[Any, float] | None:
    """The weight of each class from "balanced" or LABEL=WEIGHT; None without any."""
    where = "--class-weight"
    if not texts:
        return None
    if loss.task == "regression" or y_train.ndim > 1:
        raise InputError(where, "one label for each row", "another target", "leave it out")
    classes, counts = np.unique(y_train, return_counts=True)
    if list(texts) == ["balanced"]:
        from ..estimators.class_weights import balanced

        return balanced(classes, counts)
    weights = np.ones(classes.size)
    labels = [str(label) for label in classes]
    for item in _items(where, texts, labels):
        label, _, weight = item.rpartition("=")
        if label not in labels:
            close = difflib.get_close_matches(label, labels, n=1)
            advice = f"did you mean {close[0]!r}?" if close else "check the spelling"
            raise InputError(where, "labels of the target", repr(label), advice)
        weights[labels.index(label)] = _weight(where, label, weight)
    if not weights.any():
        raise InputError(where, "a class with a weight above 0", "none", "raise a weight")
    return dict(zip(classes.tolist(), weights, strict=True))


def weights_of(by_class: dict[Any, float] | None, y: np.ndarray) -> np.ndarray | None:
    """The weight of each row (n,) by its class, or None; 1 for classes that were not weighed."""
    return None if by_class is None else np.array([by_class.get(one, 1.0) for one in y.tolist()])


def _items(where: str, texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The LABEL=WEIGHT items; a comma separates them unless a label contains it."""
    items: list[str] = []
    for text in texts:
        is_one = text.rpartition("=")[0] in labels
        items += [text] if is_one else next(csv.reader([text], skipinitialspace=True))
    for item in items:
        if "=" not in item:
            raise InputError(
                where, "balanced, or LABEL=WEIGHT", repr(item), "write for example yes=5"
            )
    return items


def _weight(where: str, label: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        raise InputError(
            where, f"a number as the weight of {label!r}", repr(text), "write for example yes=5"
        ) from None
    return checks.number(where, f"the weight of {label!r}", weight, 0)
