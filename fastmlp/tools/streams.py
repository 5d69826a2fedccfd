"""Trains and uses networks of layers on tables of numbers that are read while they are used.

As in `networks`, columns and targets are standardised and the scaling is moved into the weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..datasets import DATASETS, StoredTable, open_table
from ..errors import InputError
from ..io import serialization
from ..network import Network
from ..nn.losses import Loss
from . import command_options, networks, reports
from .standardize import Moments, absorb_inputs, absorb_outputs, number_type

_MOST_LABELS = 10_000
_OF_TEXT = ("separator", "decimal", "thousands")
_IN_MEMORY = ("recipe", "metric", "members", "folds", "time_limit", "class_weight", "plot")


def train(options: argparse.Namespace) -> int:
    """Survey the table, train on most of its rows, report on the others; then write files."""
    reports.check_outputs(options)
    _refuse(options, (*_IN_MEMORY, *_OF_TEXT))
    if not options.target:
        raise InputError("--stream", "--target COLUMN with it", "none", "name the column")
    options = command_options.of_network(options)
    show = reports.shown_beside(options.json)
    parts = _parts_of(options)
    survey = _survey(options, parts.train)
    command_options.check_classes(survey.loss, _labels(parts.all), survey.y)
    network = networks.network_of(options, survey.loss, survey.y, survey.dtype)
    optimizer, best = (
        command_options.optimizer_for(options),
        networks.stopping_for(options.early_stopping),
    )
    rows = f"{parts.train.n_rows} training, {parts.held_out.n_rows} validation and "
    show(f"{options.data}: {rows}{parts.test.n_rows} test rows")
    history, watch = networks.trained(
        network, survey.scaled(parts.train), None, options, optimizer, best,
        validation_data=survey.scaled(parts.held_out),
    )  # fmt: skip
    survey.absorb(network)
    network.feature_names = parts.all.feature_names
    figures, is_scaled = _figures(network, parts.test), survey.targets is not None
    result = networks.Result(network, history, figures, watch, is_scaled, best)
    networks.print_report(result, show)
    networks.write_outputs(options, result, None, show)
    return 0


def predict(options: argparse.Namespace) -> int:
    """Write predictions as CSV; if the network has column names, only those columns are read."""
    reports.check_output(options.output)
    estimator = serialization.estimator_in(options.model)
    if estimator is not None:
        got = f"one of a {estimator}"
        raise InputError("--stream", "the file of a network of layers", got, "leave --stream out")
    network = networks.loaded(options)
    _refuse(options, _OF_TEXT)
    drop = command_options.names_in(options.target or [])
    table = open_table(options.data, columns=network.feature_names, drop=drop)
    networks.write_predictions(options, network, table)
    return 0


class _Parts(NamedTuple):
    """A table, and its rows by their use."""

    all: StoredTable
    train: StoredTable
    held_out: StoredTable
    test: StoredTable


def _refuse(options: argparse.Namespace, names: tuple[str, ...]) -> None:
    """Refuse these options, and data sets that are in memory in any case."""
    for name in names:
        if getattr(options, name) not in (None, command_options.NO_RECIPE):
            option = f"--{name.replace('_', '-')}"
            raise InputError(option, "a table in memory", "--stream", "leave one of the two out")
    if options.data in DATASETS:
        got = repr(options.data)
        raise InputError("--stream", "the name of a file, a folder or a pattern", got, "pass one")


def _parts_of(options: argparse.Namespace) -> _Parts:
    """The rows for training, validation and test."""
    targets = command_options.names_in(options.target or [])
    target: Any = targets[0] if len(targets) == 1 else targets
    table = open_table(options.data, target, drop=command_options.names_in(options.drop or []))
    test = command_options.test_part(options, None)
    rest, others = table.split(options.validation + test, options.seed)
    held_out, test_rows = others.split(test / (options.validation + test), options.seed)
    return _Parts(table, rest, held_out, test_rows)


class _Survey(NamedTuple):
    """What is known of the training rows before the first one is trained on."""

    loss: Loss
    y: np.ndarray  # all labels, or some numbers
    dtype: str
    inputs: Moments
    unused: np.ndarray  # which columns are constant
    targets: Moments | None

    def scaled(self, table: StoredTable) -> StoredTable:
        """A table with standardised columns and, if the loss has their unit, targets."""
        return table.map(self.inputs.apply, None if self.targets is None else self.targets.apply)

    def absorb(self, network: Network) -> None:
        """Let a network that was trained on scaled rows take plain ones."""
        absorb_inputs(network, self.inputs, self.unused)
        if self.targets is not None:
            absorb_outputs(network, self.targets)


def _survey(options: argparse.Namespace, table: StoredTable) -> _Survey:
    """A pass over the features, and one over the targets."""
    y = _labels(table)
    loss = command_options.loss_for(options.loss, y)
    inputs, typical = _moments(X for X, _ in table.chunks())
    names = table.feature_names
    labels = [
        f"column {j + 1}" if names is None else f"the column {names[j]!r}"
        for j in range(table.n_features)
    ]
    targets, unused = None, typical[0] == typical[1]
    if loss.task == "regression":
        found, of_targets = _moments(_targets_of(table))
        typical = np.hstack([typical, of_targets])
        labels += ["the target"] * found.mean.size
        flat = Moments(found.mean[0], found.scale[0]) if y.ndim == 1 else found
        targets = flat if loss.name in networks.SCALE_FREE else None
    dtype, _ = number_type("--dtype", options.dtype, typical, labels)
    return _Survey(loss, y, dtype, inputs, unused, targets)


def _moments(values: Iterable[np.ndarray]) -> tuple[Moments, np.ndarray]:
    """Moments of columns that come some rows at a time, and two rows that have the same ones."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for some in values:
        scaler.partial_fit(some.astype(np.float64))
    mean, scale = scaler.mean_, scaler.scale_
    spread = np.where((scale == 1) & (scaler.var_ != 1), 0, scale)  # 0 if a column is constant
    return Moments(mean, scale), np.stack([mean - spread, mean + spread])


def _targets_of(table: StoredTable) -> Iterator[np.ndarray]:
    """Targets (n, n_targets) without reading the features."""
    for number in range(len(table.parts)):
        for block in table.blocks(number, features=False):
            if block.y is not None:
                yield block.y.reshape(block.n_rows, -1)


def _labels(table: StoredTable) -> np.ndarray:
    """All distinct targets, in the shape of y; with many of them or several columns, only some."""
    found: np.ndarray | None = None
    for y in _targets_of(table):
        if table.n_targets is not None:
            return y
        found = np.unique(y if found is None else np.append(found, np.unique(y)))
        if found.size > _MOST_LABELS:
            break
    assert found is not None
    return found


def _figures(network: Network, table: StoredTable) -> dict[str, float]:
    """Accuracy for classes and labels; root mean squared error and R^2 for numbers."""
    loss, score = network.evaluate(table)
    if network.loss.task != "regression":
        return {"test_accuracy": score, "test_loss": loss}
    true = np.concatenate([*_targets_of(table)])
    true = true.ravel() if table.n_targets is None else true
    figures = reports.numeric_figures(network.predict(table), true)
    return {**figures, "test_r2": score, "test_loss": loss}
