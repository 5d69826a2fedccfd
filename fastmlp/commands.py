"""What each command does, from parsed options to printed report.

Everything that can be refused is refused before training starts, and files are written last, each
of them whole.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import checks, columns, datasets, gradient_check, reference, serialization
from .checkpoint import Checkpoint
from .datasets.tables import load_features
from .errors import InputError, counted
from .files import checked_path, replacing
from .history import History
from .layers import LAYERS, Dense, Dropout, Layer
from .losses import LOSSES, Loss, Quantile
from .network import Network
from .optimizers import OPTIMIZERS, Optimizer
from .schedules import at_rate
from .standardize import Moments, absorb_inputs, absorb_outputs
from .tables import without_zeros

_DEFAULT_RATES = {"sgd": 0.1, "adagrad": 0.03}
_DEFAULT_RATE = 0.002
_MAX_CLASSES = 20  # more distinct whole numbers than this are taken for counts
# Losses whose outputs have the unit of the target, so that it can be standardised.
_SCALE_FREE = ("mean_squared_error", "mean_absolute_error", "huber", "quantile")


def train(options: argparse.Namespace) -> int:
    """Load, split, train, report; then write what was asked for."""
    _check_outputs(options)
    data = datasets.load(options.data, data_home=options.data_home, target=_target(options.target))
    split = data.split(options.validation, random_state=options.seed)
    loss = _loss(options.loss, data.y)
    _check_classes(loss, data.y, split.y_train)
    network = _network(options, loss, data.y)
    optimizer = _optimizer(options)
    prepared, finish = _standardized(network, split, data)
    print(
        f"{data.name}: {len(split.X_train)} training, {len(split.X_val)} validation and "
        f"{len(split.X_test)} test rows of {counted(data.X.shape[1], 'column')}"
    )
    callbacks = []
    if options.checkpoint:
        callbacks.append(Checkpoint(options.checkpoint, resume=options.resume))
    started = time.perf_counter()
    history = network.fit(
        prepared.X_train,
        prepared.y_train,
        optimizer=optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        n_threads=options.threads,
        validation_data=(prepared.X_val, prepared.y_val),
        callbacks=callbacks,
        progress=not options.quiet,
    )
    seconds = time.perf_counter() - started
    if history.epochs == 0:
        raise KeyboardInterrupt
    finish()
    network.feature_names = data.feature_names
    figures = _test_figures(network, split.X_test, split.y_test)
    _print_report(network, history, figures, seconds)
    _write_outputs(options, network, history, split, figures, seconds)
    return 0


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse paths that cannot be written before any work is done."""
    if options.resume and not options.checkpoint:
        raise InputError("--resume", "--checkpoint DIR with it", "none", "name the folder")
    if options.save:
        checked_path("--save", options.save, serialization.SUFFIXES)
    if options.json:
        checked_path("--json", options.json)
    if options.plot:
        from . import plotting

        checked_path("--plot", options.plot, plotting.SUFFIXES)
        plotting.require_matplotlib("--plot")


def _target(text: str | None) -> str | list[str] | None:
    return text.split(",") if text and "," in text else text


def _loss(name: str | None, y: np.ndarray) -> Loss:
    """The loss that was asked for, or what suits the target."""
    if name is not None:
        loss = LOSSES[name]()
        if loss.task == "regression" and y.dtype.kind not in "biuf":
            raise InputError(
                "--loss", f"a target of numbers for {name}", "text", "use softmax_cross_entropy"
            )
        return loss
    if y.ndim == 1 and (y.dtype.kind not in "iuf" or _looks_like_labels(y)):
        return LOSSES["softmax_cross_entropy"]()
    return LOSSES["mean_squared_error"]()


def _check_classes(loss: Loss, y: np.ndarray, y_train: np.ndarray) -> None:
    """Refuse labels that no training row has, before the time that training takes."""
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


def _looks_like_labels(y: np.ndarray) -> bool:
    return y.dtype.kind in "iu" and np.unique(y).size <= _MAX_CLASSES


def _network(options: argparse.Namespace, loss: Loss, y: np.ndarray) -> Network:
    layers: list[Layer] = []
    for size in _sizes(options.hidden):
        layers += [Dense(size), LAYERS[options.activation]()]
        if options.dropout:
            layers.append(Dropout(options.dropout))
    layers.append(Dense(_n_outputs(loss, y)))
    return Network(layers, loss, dtype=options.dtype, random_state=options.seed)


def _sizes(text: str) -> list[int]:
    """Hidden sizes from "32,16"; the empty text stands for none."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(re.fullmatch("0*[1-9][0-9]{0,5}", part) for part in parts):
        raise InputError(
            "--hidden",
            "whole numbers from 1 to 999999 with commas between",
            repr(text),
            "write for example --hidden 64,32",
        )
    return [int(part) for part in parts]


def _n_outputs(loss: Loss, y: np.ndarray) -> int:
    if y.ndim == 2:
        return y.shape[1]
    if loss.task == "classes":
        return max(int(np.unique(y).size), 2)
    return len(loss.levels) if isinstance(loss, Quantile) else 1


def _optimizer(options: argparse.Namespace) -> Optimizer:
    rate = options.learning_rate
    if rate is None:
        rate = _DEFAULT_RATES.get(options.optimizer, _DEFAULT_RATE)
    checks.number("--learning-rate", "it", rate, 0, low_open=True)
    settings: dict[str, Any] = {}
    if options.weight_decay is not None:
        settings["weight_decay"] = options.weight_decay
    if options.optimizer == "sgd":
        settings["momentum"] = 0.9
    made: Optimizer = OPTIMIZERS[options.optimizer](at_rate(options.schedule, rate), **settings)
    return made


def _standardized(
    network: Network, split: datasets.Split, data: datasets.Dataset
) -> tuple[datasets.Split, Callable[[], None]]:
    """Tables are trained on standardised columns; `finish` moves that into the weights after.

    Images have one unit for all pixels already and stay as they are.
    """
    X_moments = Moments.of(split.X_train) if data.image_shape is None else None
    y_moments = Moments.of(split.y_train) if network.loss.name in _SCALE_FREE else None

    def finish() -> None:
        if X_moments is not None:
            absorb_inputs(network, X_moments)
        if y_moments is not None:
            absorb_outputs(network, y_moments)

    changed: dict[str, np.ndarray] = {}
    for part in ("train", "val", "test"):
        if X_moments is not None:
            changed[f"X_{part}"] = X_moments.apply(getattr(split, f"X_{part}"))
        if y_moments is not None:
            changed[f"y_{part}"] = y_moments.apply(getattr(split, f"y_{part}"))
    return dataclasses.replace(split, **changed), finish  # type: ignore[arg-type]


def _test_figures(network: Network, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracy for classes and labels; root mean squared error and R^2 for numbers."""
    loss, score = network.evaluate(X, y)
    if network.loss.task != "regression":
        return {"test_accuracy": score, "test_loss": loss}
    predicted, true = network.predict(X), np.asarray(y, np.float64)
    if predicted.shape != true.shape:  # several quantiles: judge the middle one
        predicted = predicted[:, predicted.shape[1] // 2]
    rmse = float(np.sqrt(np.mean((predicted - true) ** 2)))
    return {"test_rmse": rmse, "test_r2": score, "test_loss": loss}


def _print_report(
    network: Network, history: History, figures: dict[str, float], seconds: float
) -> None:
    sizes = [network.n_features]
    sizes += [layer.b.size for layer in network.layers if isinstance(layer, Dense)]
    epochs = counted(history.epochs, "epoch")
    ended = "" if history.stopped == "finished" else f" ({history.stopped})"
    rows = [
        ("network", f"{'-'.join(map(str, sizes))}, {network.params.size:,} parameters"),
        ("training", f"{epochs} in {seconds:.2f} s{ended}"),
        ("loss", f"{history.loss[-1]:.4f} training, {history.validation_loss[-1]:.4f} validation"),
    ]
    shown = {"test_accuracy": "test accuracy", "test_rmse": "test RMSE", "test_r2": "test R2"}
    for key, label in shown.items():
        if key in figures:
            value = figures[key]
            rows.append((label, f"{value:.2%}" if key == "test_accuracy" else f"{value:.4g}"))
    for label, value_text in rows:
        print(f"{label:>14}  {value_text}")


def _write_outputs(
    options: argparse.Namespace,
    network: Network,
    history: History,
    split: datasets.Split,
    figures: dict[str, float],
    seconds: float,
) -> None:
    if options.checkpoint:
        go_on = "; --resume goes on" if history.stopped == "interrupted" else ""
        print(f"{'checkpoints':>14}  {options.checkpoint}{go_on}")
    if options.save:
        network.save(options.save)
        print(f"{'saved':>14}  {options.save}")
    if options.json:
        _write_json(
            options.json,
            {
                **figures,
                "train_seconds": seconds,
                "epochs": history.epochs,
                "parameters": network.params.size,
                "history": history.to_dict(),
            },
        )
        print(f"{'figures':>14}  {options.json}")
    if options.plot:
        from . import plotting

        plotting.training_report(options.plot, network, history, split, split.image_shape)
        print(f"{'picture':>14}  {options.plot}")


def _write_json(path: str, content: dict[str, Any]) -> None:
    _write_text("--json", path, json.dumps(content, indent=2) + "\n")


def _write_text(option: str, path: str, text: str) -> None:
    with replacing(option, checked_path(option, path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def evaluate(options: argparse.Namespace) -> int:
    """Score a saved network on a data set, or on its own test rows where it has some."""
    if options.json:
        checked_path("--json", options.json)
    network = Network.load(options.model)
    data = datasets.load(options.data, data_home=options.data_home, target=_target(options.target))
    X, y = data.X[-data.n_test :], data.y[-data.n_test :]
    X = _in_order(network, X, data.feature_names)
    figures = _test_figures(network, X, y)
    print(f"{data.name}: {counted(len(X), 'row')}")
    for key, value in figures.items():
        print(f"{key.removeprefix('test_'):>14}  {value:.4g}")
    if options.json:
        _write_json(options.json, figures)
    return 0


def _in_order(network: Network, X: np.ndarray, names: tuple[str, ...] | None) -> np.ndarray:
    """Columns in the order that the network was trained on, if both know their names."""
    if network.feature_names is None or names is None:
        return X
    order = columns.places("--data", names, network.feature_names, extra=True)
    return X if order is None else X[:, order]


def predict(options: argparse.Namespace) -> int:
    """Predictions as CSV; of a table, only the columns of training are read if they have names."""
    if options.output:
        checked_path("--output", options.output, (".csv",))
    network = Network.load(options.model)
    if options.probabilities and network.loss.task == "regression":
        raise InputError("--probabilities", "a network for classes", "one for numbers", "omit it")
    if options.data in datasets.DATASETS:
        data = datasets.load(options.data, data_home=options.data_home)
        X, names = data.X, data.feature_names
    else:
        drop = options.target.split(",") if options.target else []
        X, names = load_features(options.data, drop, columns=network.feature_names)
    text = _prediction_table(network, _in_order(network, X, names), options.probabilities)
    if options.output:
        _write_text("--output", options.output, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    return 0


def _prediction_table(network: Network, X: np.ndarray, probabilities: bool) -> str:
    predicted = network.predict(X)
    columns = predicted.reshape(len(X), -1)
    header = (
        ["prediction"]
        if columns.shape[1] == 1
        else [f"prediction_{j}" for j in range(columns.shape[1])]
    )
    rows = [list(row) for row in columns.tolist()]
    if probabilities:
        shares = network.predict_proba(X)
        classes = network.classes_
        labels = range(shares.shape[1]) if classes is None else classes[-shares.shape[1] :]
        header += [f"probability_{label}" for label in labels]
        for row, share in zip(rows, shares.tolist(), strict=True):
            row += [f"{value:.6g}" for value in share]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def check_gradients(options: argparse.Namespace) -> int:
    """Print the largest deviations of every loss and activation; exit code 1 if one fails."""
    checks.whole_number("--seed", "it", options.seed, 0)
    print(
        f"{'loss':<24}{'activation':<14}{'depths':<8}{'from reference':>16}{'from differences':>18}"
    )
    worst: dict[tuple[str, str], list[gradient_check.Result]] = {}
    for result in gradient_check.check_all(options.seed):
        worst.setdefault((result.case.loss, result.case.activation), []).append(result)
    failed = 0
    for (loss, activation), results in worst.items():
        passed = all(result.passed for result in results)
        failed += not passed
        depths = ",".join(str(result.case.depth) for result in results)
        from_reference = max(result.from_reference for result in results)
        from_differences = max(result.from_differences for result in results)
        print(
            f"{loss:<24}{activation:<14}{depths:<8}{from_reference:>16.1e}"
            f"{from_differences:>18.1e}{'' if passed else '  FAILED'}"
        )
    print(
        f"{len(worst) - failed} of {len(worst)} agree to {gradient_check.REFERENCE_TOLERANCE:g} "
        f"with the reference and {gradient_check.DIFFERENCE_TOLERANCE:g} with differences"
    )
    return int(failed > 0)


def run_reference(options: argparse.Namespace) -> int:
    """Show the published and the corrected per-sample algorithm side by side."""
    checks.whole_number("--epochs", "it", options.epochs, 1)
    checks.whole_number("--seed", "it", options.seed, 0)
    reference.demonstrate(options.epochs, options.seed, show=print)
    return 0


def warmup(options: argparse.Namespace) -> int:
    """Compile for both number types by one tiny use of everything that is compiled."""
    from .kernels.cache import cache_folder

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), np.arange(8) % 2
    for dtype in ("float32", "float64"):
        started = time.perf_counter()
        network = Network([Dense(4), LAYERS["relu"](), Dense(2)], dtype=dtype)
        network.fit(X, y, epochs=1, validation_data=(X, y))
        network.predict(X)
        network.compile_predictor()(X[0])
        network.loss_and_gradient(X, y)
        without_zeros(np.zeros((1, 1000)), network.dtype, 1000)
        print(f"{dtype}: ready after {time.perf_counter() - started:.1f} s")
    print(f"compiled code is kept in {cache_folder() or 'memory only: no folder is writable'}")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "check-gradients": check_gradients,
    "reference": run_reference,
    "warmup": warmup,
}
