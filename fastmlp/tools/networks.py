"""Trains, evaluates and uses networks of layers that the options name, on tables of numbers.

Columns and targets are standardised for training, and the scaling is moved into the weights.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import datasets
from ..datasets.dataset import cut
from ..datasets.tables import load_features
from ..errors import InputError, counted
from ..io import heldout
from ..network import Network
from ..nn import LAYERS, Dense, Dropout, Layer
from ..nn.losses import Loss, outputs_per_target
from ..training.checkpoint import Checkpoint
from ..training.early_stopping import EarlyStopping
from ..training.history import History
from . import command_options, processes, reports
from .reports import Show, Stopwatch
from .standardize import Moments, absorb_inputs, absorb_outputs, constant, number_type

# Losses whose outputs have the unit of the target, so that the target can be standardised.
SCALE_FREE = ("mean_squared_error", "mean_absolute_error", "huber", "quantile")


def train(options: argparse.Namespace) -> int:
    """Load, split, train, report; then write the requested files."""
    reports.check_outputs(options)
    notes = command_options.why_no_recipe(options)
    options = command_options.of_network(options)
    ranks = processes.started()
    reports_here = ranks is None or ranks.rank == 0
    show = reports.shown_beside(options.json) if reports_here else reports.show_nothing
    drop = command_options.split_names(options, options.drop or [])
    data = command_options.load(options, drop=drop)
    test = command_options.test_part(options, data)
    parts = heldout.parts_of(data, options.validation, test, options.seed)
    split = cut(data, parts)
    loss = command_options.loss_for(options.loss, data.y)
    dtype, wide = _number_type(options, data, loss)
    network = network_of(options, loss, data.y, dtype)
    optimizer = command_options.optimizer_for(options)
    best = stopping_for(options.early_stopping)
    prepared, finish, is_scaled = _standardized(network, split, data)
    reports.show_parts(data.name, parts, data.y, data.X.shape[1], show)
    notes += data.notes
    if options.data not in datasets.DATASETS and options.loss is None:
        choices = command_options.OF_LABELS, command_options.OF_NUMBERS
        notes += command_options.guess_about(data.target_name, data.y, "--loss", choices)
    if wide and options.dtype is None:
        notes.append(f"computed in float64, whose digits are needed for {', '.join(wide)}")
    reports.show_notes(notes, show)  # which may explain what is refused below
    command_options.check_classes(loss, data.y, split.y_train)
    by_class = command_options.class_weights(options.class_weight, loss, split.y_train)
    weights, held_out_weights = (
        command_options.weights_of(by_class, y) for y in (split.y_train, split.y_val)
    )
    history, watch = trained(
        network, prepared.X_train, prepared.y_train, options, optimizer, best,
        sample_weight=weights, comm=ranks,
        validation_data=(prepared.X_val, prepared.y_val, held_out_weights),
    )  # fmt: skip
    if not reports_here:
        return 0
    finish()
    network.feature_names = data.feature_names
    network.trained_on = heldout.description(data, parts, options, test, wide)
    figures = _test_figures(network, split.X_test, split.y_test)
    result = Result(network, history, figures, watch, is_scaled, best)
    print_report(result, show)
    write_outputs(options, result, split, show)
    return 0


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a training."""

    network: Network
    history: History
    figures: dict[str, float]
    watch: Stopwatch
    is_scaled: bool  # whether the losses of the history are those of a standardised target
    best: EarlyStopping | None


def trained(
    network: Network, X: Any, y: Any, options: argparse.Namespace, optimizer: Any,
    best: EarlyStopping | None, **more: Any,
) -> tuple[History, Stopwatch]:  # fmt: skip
    """Train as the options say; Ctrl-C in the first epoch ends the command."""
    callbacks: list[Any] = [] if best is None else [best]
    if options.checkpoint:
        callbacks.append(Checkpoint(options.checkpoint, resume=options.resume))
    with Stopwatch() as watch:
        history = network.fit(
            X, y, optimizer=optimizer, epochs=options.epochs, batch_size=options.batch_size,
            n_threads=options.threads, callbacks=callbacks, progress=not options.quiet, **more,
        )  # fmt: skip
    if history.epochs == 0:
        raise KeyboardInterrupt
    return history, watch


def stopping_for(patience: int | None) -> EarlyStopping | None:
    """Early stopping by the validation loss, which every network has."""
    return None if patience is None else EarlyStopping(patience, monitor="validation_loss")


def _number_type(
    options: argparse.Namespace, data: datasets.Dataset, loss: Loss
) -> tuple[str, list[str]]:
    """The network's type, and the columns for which it is float64 although not requested."""
    columns, labels = np.empty((len(data.X), 0)), list[str]()
    if data.image_shape is None:
        columns = data.X
        names = data.feature_names
        labels += [
            f"column {j + 1}" if names is None else f"the column {names[j]!r}"
            for j in range(columns.shape[1])
        ]
    if loss.task == "regression":
        y = data.y.reshape(len(data.y), -1)
        columns = np.concatenate([columns, y], axis=1)
        given = data.target_name
        targets = given if isinstance(given, tuple) else (given,) * y.shape[1]
        labels += ["the target" if name is None else f"the target {name!r}" for name in targets]
    if not labels:
        return options.dtype or "float32", []
    return number_type("--dtype", options.dtype, columns, labels)


def network_of(options: argparse.Namespace, loss: Loss, y: np.ndarray, dtype: str) -> Network:
    layers: list[Layer] = []
    for size in command_options.sizes(options.hidden):
        layers += [Dense(size), LAYERS[options.activation]()]
        if options.dropout:
            layers.append(Dropout(options.dropout))
    layers.append(Dense(n_outputs(loss, y)))
    return Network(layers, loss, dtype=dtype, random_state=options.seed)


def n_outputs(loss: Loss, y: np.ndarray) -> int:
    if y.ndim == 2:
        return y.shape[1]
    if loss.task == "classes":
        return max(int(np.unique(y).size), 2)
    return outputs_per_target(loss)


def _standardized(
    network: Network, split: datasets.Split, data: datasets.Dataset
) -> tuple[datasets.Split, Callable[[], None], bool]:
    """Standardise the columns of tables; `finish` moves the scaling into the weights afterwards.

    Images are not changed, because all pixels have the same unit. The last result tells whether the
    target is standardised as well.
    """
    X_moments = Moments.of(split.X_train) if data.image_shape is None else None
    y_moments = Moments.of(split.y_train) if network.loss.name in SCALE_FREE else None

    def finish() -> None:
        if X_moments is not None:
            absorb_inputs(network, X_moments, constant(split.X_train))
        if y_moments is not None:
            absorb_outputs(network, y_moments)

    changed: dict[str, np.ndarray] = {}
    for part in ("train", "val", "test"):
        if X_moments is not None:
            plain = X_moments.apply(getattr(split, f"X_{part}"))
            changed[f"X_{part}"] = plain.astype(network.dtype)  # once instead of batch by batch
        if y_moments is not None:
            changed[f"y_{part}"] = y_moments.apply(getattr(split, f"y_{part}"))
    prepared: datasets.Split = dataclasses.replace(split, **changed)  # type: ignore[arg-type]
    return prepared, finish, y_moments is not None


def _test_figures(network: Network, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracy for classes and labels; root mean squared error and R^2 for numbers."""
    loss, score = network.evaluate(X, y)
    if network.loss.task != "regression":
        return {"test_accuracy": score, "test_loss": loss}
    figures = reports.numeric_figures(network.predict(X), y)
    return {**figures, "test_r2": score, "test_loss": loss}


def print_report(result: Result, show: Show) -> None:
    network, history, best = result.network, result.history, result.best
    sizes = [network.n_features]
    sizes += [layer.b.size for _, layer in network.leaves() if isinstance(layer, Dense)]
    ended = "" if history.stopped == "finished" else history.stopped
    last = history.epochs
    if best is not None and best.best_epoch:
        last, kept = best.best_epoch, f"the weights of epoch {best.best_epoch}"
        is_early = ended == "early_stopping"
        ended = f"stopped early, {kept}" if is_early else f"{ended} {kept}".strip()
    losses = (
        f"{history.loss[last - 1]:.4f} training, {history.validation_loss[last - 1]:.4f} validation"
    )
    rows = [
        ("network", f"{'-'.join(map(str, sizes))}, {network.params.size:,} parameters"),
        (
            "training",
            reports.duration(counted(history.epochs, "epoch"), result.watch, ended),
        ),
        ("scaled loss", f"{losses} (of the standardised target)")
        if result.is_scaled
        else ("loss", losses),
    ]
    reports.show_rows([*rows, *reports.figure_rows(result.figures)], show)


def _history(result: Result) -> dict[str, Any]:
    """The history as JSON; losses of a standardised target have a different name."""
    content = result.history.to_dict()
    if not result.is_scaled:
        return content
    scaled = {"loss", "validation_loss"}
    loss = result.network.loss
    if outputs_per_target(loss) > 1:  # the score is minus the loss
        scaled.add("validation_score")
    return {f"scaled_{key}" if key in scaled else key: value for key, value in content.items()}


def write_outputs(
    options: argparse.Namespace,
    result: Result,
    split: datasets.Split | None,
    show: Show,
) -> None:
    if options.checkpoint:
        go_on = "; --resume goes on" if result.history.stopped == "interrupted" else ""
        reports.show_rows([("checkpoints", f"{options.checkpoint}{go_on}")], show)
    if options.save:
        result.network.save(options.save)
        reports.show_rows([("saved", options.save)], show)
    if options.plot and split is not None:
        from .. import plotting

        plotting.training_report(
            options.plot, result.network, result.history, split, split.image_shape,
            scaled=result.is_scaled,
        )  # fmt: skip
        reports.show_rows([("picture", options.plot)], show)
    content = {
        **result.figures,
        "train_seconds": result.watch.seconds,
        "epochs": result.history.epochs,
        "parameters": result.network.params.size,
        "history": _history(result),
    }
    if result.best is not None:
        content["best_epoch"] = result.best.best_epoch
    reports.write_figures(options.json, content, show)


def evaluate(options: argparse.Namespace) -> int:
    """Score a saved network on the rows held out in its training, or on the requested rows."""
    reports.check_json(options.json)
    show = reports.shown_beside(options.json)
    network = Network.load(options.model)
    data = data_for(network, options)
    chosen = heldout.choose(network, data, options.rows)
    figures = _test_figures(network, data.X[chosen.rows], data.y[chosen.rows])
    reports.show_evaluation(options.json, data, chosen, figures, show)
    return 0


def data_for(network: Network, options: argparse.Namespace) -> datasets.Dataset:
    """The data from --data, with the columns and kind of labels of a saved network."""
    more: dict[str, Any] = {}
    options = command_options.as_trained(options, network)
    if options.data not in datasets.DATASETS:
        classes = network.classes_
        more["columns"] = network.feature_names
        more["text_labels"] = classes is not None and classes.dtype.kind in "UOT"
        more["target"] = heldout.target_of(network)
    return command_options.load(options, **more)


def predict(options: argparse.Namespace) -> int:
    """Write predictions as CSV; if the network has column names, only those columns are read."""
    reports.check_output(options.output)
    network = loaded(options)
    options = command_options.as_trained(options, network)
    if options.data in datasets.DATASETS:
        X = datasets.load(options.data, data_home=options.data_home).X
    else:
        drop = command_options.split_names(options, options.target or [])
        written = command_options.table_options(options)
        X, _ = load_features(options.data, drop, columns=network.feature_names, **written)
    write_predictions(options, network, X)
    return 0


def loaded(options: argparse.Namespace) -> Network:
    """The network of a file, if it can give what is wanted of it."""
    network = Network.load(options.model)
    if options.probabilities and network.loss.task == "regression":
        raise InputError("--probabilities", "a network for classes", "one for numbers", "omit it")
    return network


def write_predictions(options: argparse.Namespace, network: Network, X: Any) -> None:
    """Predict rows in memory or stored, and write what is wanted."""
    is_numbers = network.loss.task == "regression"
    proba = None
    if options.probabilities:
        shares, classes = network.predict_proba(X), network.classes_
        n_shares = shares.shape[1]
        labels = list(range(n_shares) if classes is None else classes[-n_shares:])
        proba = shares, labels
    reports.write_predictions(options.output, network.predict(X), is_numbers, proba)
