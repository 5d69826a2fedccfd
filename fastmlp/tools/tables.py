"""Trains, evaluates and uses estimators for tables of mixed columns, by the recipes.

Columns are taken as they are: texts, dates and gaps as well as numbers.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any, NamedTuple

import numpy as np

from .. import datasets
from ..datasets.dataset import Parts
from ..datasets.reading import has_names
from ..errors import FileError, InputError, counted
from ..estimators.tabular import TabularClassifier, TabularRegressor
from ..estimators.tabular.metrics import compares_numbers
from ..inputs.targets import label_numbers
from ..io import heldout, serialization
from ..nn.losses import Loss
from ..tabular.files import MixedTable, Training, load_mixed, load_mixed_features
from . import command_options, reports
from .reports import Show, Stopwatch

_ESTIMATORS: dict[str, Any] = {cls.__name__: cls for cls in (TabularClassifier, TabularRegressor)}
# Options by the parameters of the estimators.
_PARAMETERS = {
    "recipe": "recipe",
    "metric": "metric",
    "hidden_layer_sizes": "hidden",
    "learning_rate_init": "learning_rate",
    "dropout": "dropout",
    "weight_decay": "weight_decay",
    "max_iter": "epochs",
    "batch_size": "batch_size",
    "n_members": "members",
    "n_folds": "folds",
    "time_limit": "time_limit",
    "n_threads": "threads",
}
_LEAST = np.finfo(np.float32).tiny  # so that the log-loss stays finite


class _Result(NamedTuple):
    """The result of a training."""

    model: Any
    figures: dict[str, float]
    watch: Stopwatch


def train(options: argparse.Namespace) -> int:
    """Load, split, train, report; then write the requested files."""
    reports.check_outputs(options)
    show = reports.shown_beside(options.json)
    drop = command_options.split_names(options, options.drop or [])
    written = command_options.table_options(options)
    table = load_mixed(options.data, command_options.targets(options), drop=drop, **written)
    test = command_options.test_part(options, None)
    if options.folds is not None and options.validation is not None:
        raise InputError("--folds", "no --validation", "both", "leave one of the two out")
    rows = datasets.Dataset(np.zeros((len(table.y), 0)), table.y, table.name)
    parts = heldout.parts_of(rows, options.validation, test, options.seed)
    reports.show_parts(table.name, parts, table.y, table.frame.shape[1], show)
    reports.show_notes(table.notes, show)  # which may explain what is refused below
    if options.metric is None:
        choices = "error", "rmse"
        guess = command_options.guess_about(table.target_name, table.y, "--metric", choices)
        reports.show_notes(guess, show)
    loss = _loss(options.metric, table.y)
    model = _estimator(options, loss)
    by_class = _class_weights(options, loss, table.y, parts)
    watch = _fit(model, table, parts, by_class)
    data = _prepared(model, table)
    model.networks_[0].trained_on = heldout.description(data, parts, options, test)
    test_rows = data.X[parts.test], data.y[parts.test]
    result = _Result(model, _figures(model, *test_rows), watch)
    reports.show_rows(_report(result), show)
    _write_outputs(options, result, data, parts, show)
    return 0


def _loss(metric: str | None, y: np.ndarray) -> Loss:
    """The loss for a target: what the metric is for or, without one, what it looks like."""
    is_numbers = None if metric is None else compares_numbers(metric)
    if is_numbers is None:
        return command_options.loss_for(None, y)
    if is_numbers and y.dtype.kind not in "biuf":
        raise InputError(
            "--metric", f"a target of numbers for {metric}", "text", "pass for example log_loss"
        )
    has_decimals = y.dtype.kind == "f" and bool((y % 1).any())
    if not is_numbers and (y.ndim > 1 or has_decimals):
        got = "numbers with decimals" if y.ndim == 1 else f"{y.shape[1]} columns"
        raise InputError(
            "--metric", f"a target of labels for {metric}", got, "pass for example mae"
        )
    name = command_options.OF_NUMBERS if is_numbers else command_options.OF_LABELS
    return command_options.loss_for(name, y)


def _prepared(model: Any, table: MixedTable) -> datasets.Dataset:
    """The rows as the networks get them, by which a file knows its data again.

    They are prepared only here: figures and pictures are made of them, too.
    """
    return datasets.Dataset(
        model.prepare(table.frame), table.y, table.name, target_name=table.target_name,
        notes=table.notes,
    )  # fmt: skip


def _estimator(options: argparse.Namespace, loss: Loss) -> Any:
    """The estimator for such a loss, with the parameters that the options name."""
    given = {name: getattr(options, option) for name, option in _PARAMETERS.items()}
    given = {name: value for name, value in given.items() if value is not None}
    if "hidden_layer_sizes" in given:
        given["hidden_layer_sizes"] = command_options.sizes(given["hidden_layer_sizes"])
    kind = TabularClassifier if loss.task == "classes" else TabularRegressor
    return kind(random_state=options.seed, verbose=not options.quiet, **given)


def _class_weights(
    options: argparse.Namespace, loss: Loss, y: np.ndarray, parts: Parts
) -> dict[Any, float] | None:
    """Weights by class, after checking that the training rows have every class."""
    if loss.task == "classes":
        n_classes, n_learnt = (np.unique(labels).size for labels in (y, y[parts.train]))
        if n_learnt < max(n_classes, 2):
            raise InputError(
                "--target", f"each of {max(n_classes, 2)} classes among the training rows",
                f"{n_learnt}", "add rows, or drop rare classes",
            )  # fmt: skip
    return command_options.class_weights(options.class_weight, loss, y[parts.train])


def _fit(
    model: Any, table: MixedTable, parts: Parts, by_class: dict[Any, float] | None
) -> Stopwatch:
    """Train; returns how long it took."""
    X, y = table.frame, table.y
    weights, held_out = command_options.weights_of(by_class, y[parts.train]), dict[str, Any]()
    if len(parts.val):
        y_val = y[parts.val]
        held_out = {
            "X_val": X.iloc[parts.val], "y_val": y_val,
            "sample_weight_val": command_options.weights_of(by_class, y_val),
        }  # fmt: skip
    with Stopwatch() as watch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Training interrupted")  # the report says so
        try:
            model.fit(X.iloc[parts.train], y[parts.train], weights, **held_out)
        except InputError:
            raise
        except ValueError as error:  # of scikit-learn, such as a scorer's
            raise InputError(
                "--data", "a table and a metric that suit each other",
                " ".join(str(error).split()), "change one of them",
            ) from error  # fmt: skip
    return watch


def _figures(model: Any, prepared: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracy and log-loss for classes; root mean squared error and R^2 for numbers."""
    model, X = model.of_prepared(), prepared
    if isinstance(model, TabularRegressor):
        return {**reports.numeric_figures(model.predict(X), y), "test_r2": model.score(X, y)}
    proba = model.predict_proba(X)
    labels = model.classes_[np.argmax(proba, axis=1)]
    likely = proba[np.arange(len(y)), label_numbers("--data", y, model.classes_)]
    loss = -float(np.log(np.maximum(likely, _LEAST)).mean())
    return {"test_accuracy": float(np.mean(labels == y)), "test_loss": loss}


def _report(result: _Result) -> list[tuple[str, str]]:
    model = result.model
    first = model.networks_[0]
    n = len(model.networks_)
    networks = "" if n == 1 else f"{n} networks of "
    stopped = [history.stopped for history in model.histories_]
    ended = "interrupted" if "interrupted" in stopped else ""
    epochs = counted(model.n_iter_, "epoch")
    return [
        ("recipe", f"{model.recipe}, {networks}{first.params.size:,} parameters"),
        ("training", reports.duration(epochs, result.watch, ended)),
        *reports.figure_rows(result.figures),
    ]


def _write_outputs(
    options: argparse.Namespace,
    result: _Result,
    data: datasets.Dataset,
    parts: Parts,
    show: Show,
) -> None:
    model = result.model
    if options.save:
        model.save(options.save)
        reports.show_rows([("saved", options.save)], show)
    if options.plot:
        from .. import plotting

        X, y = data.X[parts.test], data.y[parts.test]
        plotting.tabular_report(options.plot, model.of_prepared(), X, y, data.target_name)
        reports.show_rows([("picture", options.plot)], show)
    histories = [history.to_dict() for history in model.histories_]
    content = {
        **result.figures,
        "train_seconds": result.watch.seconds,
        "epochs": model.n_iter_,
        "networks": len(model.networks_),
        "parameters": sum(network.params.size for network in model.networks_),
        "histories": histories,
    }
    reports.write_figures(options.json, content, show)


def _loaded(options: argparse.Namespace) -> Any:
    name = serialization.estimator_in(options.model)
    if name not in _ESTIMATORS:
        raise FileError(options.model, "a model that fastmlp knows", repr(name), "update fastmlp")
    return _ESTIMATORS[name].load(options.model)


def _training(model: Any, options: argparse.Namespace) -> Training:
    """How the data of a model's training were read."""
    if options.data in datasets.DATASETS or not has_names(options.data):
        raise InputError(
            "--data", "a table with the columns of training", repr(options.data),
            "pass CSV or Parquet",
        )  # fmt: skip
    plans, names = model.preparation_.plans, model.preparation_.names
    classes = getattr(model, "classes_", np.zeros(0))
    if names is None:
        raise InputError(options.model, "a model of named columns", "one of an array", "use Python")
    kinds = {
        name: "truth" if plan.is_truth else plan.kind
        for name, plan in zip(names, plans, strict=True)
    }
    return Training(kinds, classes.dtype.kind in "UOT")


def _check_targets(model: Any, y: np.ndarray) -> None:
    """Refuse targets of another kind than the model's."""
    n_targets = 1 if y.ndim == 1 else y.shape[1]
    is_numbers = isinstance(model, TabularRegressor)
    wanted = model.n_outputs_ if is_numbers else 1
    if n_targets != wanted or (is_numbers and y.dtype.kind not in "biuf"):
        kind = "number" if is_numbers else "label"
        got = counted(n_targets, "column") + ("" if y.dtype.kind in "biuf" else " of text")
        raise InputError("--target", counted(wanted, kind) + " for each row", got, "name others")


def evaluate(options: argparse.Namespace) -> int:
    """Score a saved estimator on the rows held out in its training, or on the requested rows."""
    reports.check_json(options.json)
    show = reports.shown_beside(options.json)
    model = _loaded(options)
    network = model.networks_[0]
    options = command_options.as_trained(options, network)
    target = command_options.targets(options)
    target = heldout.target_of(network) if target is None else target
    written, training = command_options.table_options(options), _training(model, options)
    table = load_mixed(options.data, target, training=training, **written)
    data = _prepared(model, table)
    _check_targets(model, table.y)
    chosen = heldout.choose(network, data, options.rows)
    figures = _figures(model, data.X[chosen.rows], data.y[chosen.rows])
    reports.show_evaluation(options.json, data, chosen, figures, show)
    return 0


def predict(options: argparse.Namespace) -> int:
    """Write predictions as CSV; only the columns of training are read."""
    reports.check_output(options.output)
    model = _loaded(options)
    is_numbers = isinstance(model, TabularRegressor)
    if options.probabilities and is_numbers:
        raise InputError("--probabilities", "a model for classes", "one for numbers", "omit it")
    options = command_options.as_trained(options, model.networks_[0])
    written = command_options.table_options(options)
    X = load_mixed_features(options.data, _training(model, options), **written)
    proba = (model.predict_proba(X), list(model.classes_)) if options.probabilities else None
    reports.write_predictions(options.output, model.predict(X), is_numbers, proba)
    return 0
