"""The commands, from parsed options to printed report.

Invalid input is refused before training starts; files are written last, each atomically.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import datasets, reference
from ..datasets.tables import load_features
from ..errors import InputError, counted
from ..inputs import checks
from ..inputs.tables import without_zeros
from ..inputs.targets import TargetCoder
from ..io import heldout, serialization
from ..io.files import checked_path, replacing
from ..kernels.compiler.cache import compile_seconds
from ..network import Network
from ..nn import LAYERS, Dense, Dropout, Layer
from ..nn.losses import LOSSES, Loss, Quantile
from ..optim.optimizers import OPTIMIZERS, Optimizer
from ..tracing import story
from ..training.checkpoint import Checkpoint
from ..training.early_stopping import EarlyStopping
from ..training.history import History
from . import command_options, gradient_check
from .standardize import Moments, absorb_inputs, absorb_outputs, constant, number_type

# Losses whose outputs have the unit of the target, so that the target can be standardised.
_SCALE_FREE = ("mean_squared_error", "mean_absolute_error", "huber", "quantile")
_TEST_PART = 0.15
_LOADING = 5.0  # seconds; compiling takes longer, loading compiled code takes less
STANDARD_OUTPUT = "-"


def train(options: argparse.Namespace) -> int:
    """Load, split, train, report; then write the requested files."""
    _check_outputs(options)
    show = _shown_beside(options.json)
    drop = command_options.split_names(options, options.drop or [])
    data = command_options.load(options, drop=drop)
    test = _test_part(options, data)
    split = data.split(options.validation, test, random_state=options.seed)
    loss = command_options.loss_for(options.loss, data.y)
    command_options.check_classes(loss, data.y, split.y_train)
    weights = command_options.class_weights(options.class_weight, loss, split.y_train)
    dtype, wide = _number_type(options, data, loss)
    network = _network(options, loss, data.y, dtype)
    optimizer = command_options.optimizer_for(options)
    best = _stopping(options.early_stopping)
    prepared, finish, is_scaled = _standardized(network, split, data)
    show(
        f"{data.name}: {len(split.X_train)} training, {len(split.X_val)} validation and "
        f"{len(split.X_test)} test rows of {counted(data.X.shape[1], 'column')}"
    )
    _show_notes(data, show)
    if wide and options.dtype is None:
        show(f"{'note':>14}  computed in float64, whose digits are needed for {', '.join(wide)}")
    callbacks: list[Any] = [] if best is None else [best]
    if options.checkpoint:
        callbacks.append(Checkpoint(options.checkpoint, resume=options.resume))
    started, compiled = time.perf_counter(), compile_seconds()
    history = network.fit(
        prepared.X_train,
        prepared.y_train,
        optimizer=optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        n_threads=options.threads,
        sample_weight=weights,
        validation_data=(prepared.X_val, prepared.y_val),
        callbacks=callbacks,
        progress=not options.quiet,
    )
    compiled = compile_seconds() - compiled
    seconds = time.perf_counter() - started - compiled
    if history.epochs == 0:
        raise KeyboardInterrupt
    finish()
    network.feature_names = data.feature_names
    network.trained_on = heldout.description(
        data, split, options.validation, test, options.seed, wide
    )
    figures = _test_figures(network, split.X_test, split.y_test)
    result = _Result(network, history, figures, seconds, compiled, is_scaled, best)
    _print_report(result, show)
    _write_outputs(options, result, split, show)
    return 0


@dataclasses.dataclass(frozen=True)
class _Result:
    """The result of a training."""

    network: Network
    history: History
    figures: dict[str, float]
    seconds: float
    compiled: float  # seconds
    is_scaled: bool  # whether the losses of the history are those of a standardised target
    best: EarlyStopping | None


def _stopping(patience: int | None) -> EarlyStopping | None:
    """Early stopping by the validation loss, which every network has."""
    if patience is None:
        return None
    checks.whole_number("--early-stopping", "it", patience, 1)
    return EarlyStopping(patience, monitor="validation_loss")


def _shown_beside(json_path: str | None) -> Callable[[str], None]:
    """The function that prints reports: to standard error if JSON goes to standard output."""
    return functools.partial(print, file=sys.stderr if json_path == STANDARD_OUTPUT else sys.stdout)


def _show_notes(data: datasets.Dataset, show: Callable[[str], None]) -> None:
    for note in data.notes:
        show(f"{'note':>14}  {note}")


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse paths that cannot be written before any work is done."""
    if options.resume and not options.checkpoint:
        raise InputError("--resume", "--checkpoint DIR with it", "none", "name the folder")
    if options.save:
        checked_path("--save", options.save, serialization.SUFFIXES)
    _check_json(options.json)
    _check_plot(options.plot)


def _check_plot(path: str | None) -> None:
    if path:
        from .. import plotting

        checked_path("--plot", path, plotting.SUFFIXES)
        plotting.require_matplotlib("--plot")


def _check_json(path: str | None) -> None:
    if path and path != STANDARD_OUTPUT:
        checked_path("--json", path)


def _test_part(options: argparse.Namespace, data: datasets.Dataset) -> float:
    """The fraction of rows for the test, which is not used if the data have test rows."""
    if options.test is not None and data.n_test:
        raise InputError(
            "--test", "data without test rows of their own", f"{data.name}, which has some",
            "leave --test out",
        )  # fmt: skip
    return _TEST_PART if options.test is None else float(options.test)


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


def _network(options: argparse.Namespace, loss: Loss, y: np.ndarray, dtype: str) -> Network:
    layers: list[Layer] = []
    for size in command_options.sizes(options.hidden):
        layers += [Dense(size), LAYERS[options.activation]()]
        if options.dropout:
            layers.append(Dropout(options.dropout))
    layers.append(Dense(_n_outputs(loss, y)))
    return Network(layers, loss, dtype=dtype, random_state=options.seed)


def _n_outputs(loss: Loss, y: np.ndarray) -> int:
    if y.ndim == 2:
        return y.shape[1]
    if loss.task == "classes":
        return max(int(np.unique(y).size), 2)
    return len(loss.levels) if isinstance(loss, Quantile) else 1


def _standardized(
    network: Network, split: datasets.Split, data: datasets.Dataset
) -> tuple[datasets.Split, Callable[[], None], bool]:
    """Standardise the columns of tables; `finish` moves the scaling into the weights afterwards.

    Images are not changed, because all pixels have the same unit. The last result tells whether the
    target is standardised as well.
    """
    X_moments = Moments.of(split.X_train) if data.image_shape is None else None
    y_moments = Moments.of(split.y_train) if network.loss.name in _SCALE_FREE else None

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
    predicted, true = network.predict(X), np.asarray(y, np.float64)
    if predicted.shape != true.shape:  # several quantiles: judge the middle one
        predicted = predicted[:, predicted.shape[1] // 2]
    rmse = float(np.sqrt(np.mean((predicted - true) ** 2)))
    return {"test_rmse": rmse, "test_r2": score, "test_loss": loss}


def _print_report(result: _Result, show: Callable[[str], None]) -> None:
    network, history, best = result.network, result.history, result.best
    sizes = [network.n_features]
    sizes += [layer.b.size for _, layer in network.leaves() if isinstance(layer, Dense)]
    ended = "" if history.stopped == "finished" else history.stopped
    last = history.epochs
    if best is not None and best.best_epoch:
        last, kept = best.best_epoch, f"the weights of epoch {best.best_epoch}"
        is_early = ended == "early_stopping"
        ended = f"stopped early, {kept}" if is_early else f"{ended} {kept}".strip()
    is_long = result.compiled >= _LOADING
    compiled = f" and {result.compiled:.0f} s of compiling" if is_long else ""
    took = f"{counted(history.epochs, 'epoch')} in {result.seconds:.2f} s{compiled}"
    losses = (
        f"{history.loss[last - 1]:.4f} training, {history.validation_loss[last - 1]:.4f} validation"
    )
    rows = [
        ("network", f"{'-'.join(map(str, sizes))}, {network.params.size:,} parameters"),
        ("training", f"{took} ({ended})" if ended else took),
        ("scaled loss", f"{losses} (of the standardised target)")
        if result.is_scaled
        else ("loss", losses),
    ]
    labels = {"test_accuracy": "test accuracy", "test_rmse": "test RMSE", "test_r2": "test R2"}
    for key, label in labels.items():
        if key in result.figures:
            value = result.figures[key]
            rows.append((label, f"{value:.2%}" if key == "test_accuracy" else f"{value:.4g}"))
    for label, value_text in rows:
        show(f"{label:>14}  {value_text}")


def _history(result: _Result) -> dict[str, Any]:
    """The history as JSON; losses of a standardised target have a different name."""
    content = result.history.to_dict()
    if not result.is_scaled:
        return content
    scaled = {"loss", "validation_loss"}
    loss = result.network.loss
    if isinstance(loss, Quantile) and len(loss.levels) > 1:  # the score is minus the loss
        scaled.add("validation_score")
    return {f"scaled_{key}" if key in scaled else key: value for key, value in content.items()}


def _write_outputs(
    options: argparse.Namespace,
    result: _Result,
    split: datasets.Split,
    show: Callable[[str], None],
) -> None:
    if options.checkpoint:
        go_on = "; --resume goes on" if result.history.stopped == "interrupted" else ""
        show(f"{'checkpoints':>14}  {options.checkpoint}{go_on}")
    if options.save:
        result.network.save(options.save)
        show(f"{'saved':>14}  {options.save}")
    if options.plot:
        from .. import plotting

        plotting.training_report(
            options.plot, result.network, result.history, split, split.image_shape,
            scaled=result.is_scaled,
        )  # fmt: skip
        show(f"{'picture':>14}  {options.plot}")
    if options.json:
        content = {
            **result.figures,
            "train_seconds": result.seconds,
            "epochs": result.history.epochs,
            "parameters": result.network.params.size,
            "history": _history(result),
        }
        if result.best is not None:
            content["best_epoch"] = result.best.best_epoch
        _write_json(options.json, content)
        if options.json != STANDARD_OUTPUT:
            show(f"{'figures':>14}  {options.json}")


def _write_json(path: str, content: dict[str, Any]) -> None:
    _write_text("--json", path, json.dumps(content, indent=2) + "\n")


def _write_text(option: str, path: str, text: str) -> None:
    if path == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    with replacing(option, checked_path(option, path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def evaluate(options: argparse.Namespace) -> int:
    """Score a saved network on the rows held out in its training, or on the requested rows."""
    _check_json(options.json)
    show = _shown_beside(options.json)
    network = Network.load(options.model)
    data = _data_for(network, options)
    rows = heldout.choose(network, data, options.rows)
    figures = _test_figures(network, rows.X, rows.y)
    show(f"{data.name}: {counted(len(rows.X), 'row')} ({rows.words})")
    _show_notes(data, show)
    for key, value in figures.items():
        show(f"{key.removeprefix('test_'):>14}  {value:.4g}")
    if options.json:
        _write_json(options.json, figures)
    return 0


def _data_for(network: Network, options: argparse.Namespace) -> datasets.Dataset:
    """The data from --data, with the columns and kind of labels of a saved network."""
    more: dict[str, Any] = {}
    if options.data not in datasets.DATASETS:
        classes = network.classes_
        more["columns"] = network.feature_names
        more["text_labels"] = classes is not None and classes.dtype.kind in "UOT"
        more["target"] = heldout.target_of(network)
    return command_options.load(options, **more)


def predict(options: argparse.Namespace) -> int:
    """Write predictions as CSV; if the network has column names, only those columns are read."""
    if options.output and options.output != STANDARD_OUTPUT:
        checked_path("--output", options.output, (".csv",))
    network = Network.load(options.model)
    if options.probabilities and network.loss.task == "regression":
        raise InputError("--probabilities", "a network for classes", "one for numbers", "omit it")
    if options.data in datasets.DATASETS:
        X = datasets.load(options.data, data_home=options.data_home).X
    else:
        drop = command_options.split_names(options, options.target or [])
        written = command_options.table_options(options)
        X, _ = load_features(options.data, drop, columns=network.feature_names, **written)
    text = _prediction_table(network, X, options.probabilities)
    _write_text("--output", options.output or STANDARD_OUTPUT, text)
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
    if network.loss.task == "regression":
        rows = [_digits(row) for row in columns]
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


def _digits(row: np.ndarray) -> list[str]:
    """Numbers with the digits of their type; printed as float64, a float32 has nine wrong ones."""
    if row.dtype == np.float32:
        return [str(value) for value in row]
    return [f"{value:.15g}" for value in row.tolist()]


def check_gradients(options: argparse.Namespace) -> int:
    """Print the largest deviations for every loss and layer; exit code 1 if one is too large."""
    checks.whole_number("--seed", "it", options.seed, 0)
    losses, layers = (max(map(len, table.names)) + 2 for table in (LOSSES, LAYERS))
    print(
        f"{'loss':<{losses}}{'layer':<{layers}}{'depths':<8}{'from reference':>16}"
        f"{'from differences':>18}"
    )
    worst: dict[tuple[str, str], list[gradient_check.Result]] = {}
    for result in gradient_check.check_all(options.seed):
        worst.setdefault((result.case.loss, result.case.layer), []).append(result)
    failed = 0
    for (loss, layer), results in worst.items():
        passed = all(result.passed for result in results)
        failed += not passed
        depths = ",".join(str(result.case.depth) for result in results)
        known = [r.from_reference for r in results if r.from_reference is not None]
        from_reference = f"{max(known):.1e}" if known else "-"
        from_differences = max(result.from_differences for result in results)
        print(
            f"{loss:<{losses}}{layer:<{layers}}{depths:<8}{from_reference:>16}"
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


def trace(options: argparse.Namespace) -> int:
    """Follow one row through forward, loss, backward and an update."""
    _check_trace(options)
    show = _shown_beside(options.json)
    saved = Network.load(options.model) if options.model else None
    data = command_options.load(options) if saved is None else _data_for(saved, options)
    row = checks.whole_number("--row", "it", options.row, 0, len(data.X) - 1)
    if saved is not None:
        network, X, y = saved, data.X[row : row + 1], data.y[row]
        kind = f"the network of {options.model}"
    else:
        network, X, y = _fresh(options, data, row)
        scaled = "" if data.image_shape else " (columns and numbers to predict standardised)"
        kind = f"a new network that has learnt nothing yet{scaled}"
    found = network.trace(X, y, optimizer=_trace_optimizer(options))
    image = None if data.image_shape is None else data.X[row].reshape(data.image_shape)
    show(f"{data.name}, row {row}, target {found.label_of(found.target)}, and {kind}\n")
    for line in story.told(found, image):
        show(line)
    if options.json:
        _write_json(options.json, {"data": data.name, "row": row, **found.to_dict()})
        if options.json != STANDARD_OUTPUT:
            show(f"{'numbers':>14}  {options.json}")
    if options.plot:
        from .. import plotting

        figure = plotting.plot_trace(found, data.image_shape)
        plotting.write_figure("--plot", options.plot, figure)
        show(f"{'picture':>14}  {options.plot}")
    return 0


def _check_trace(options: argparse.Namespace) -> None:
    """Refuse paths that cannot be written, and options of a new network together with --model."""
    _check_json(options.json)
    _check_plot(options.plot)
    for name in ("hidden", "activation", "seed"):
        if options.model and getattr(options, name) is not None:
            raise InputError(f"--{name}", "a new network", "--model", "leave one of the two out")


def _fresh(
    options: argparse.Namespace, data: datasets.Dataset, row: int
) -> tuple[Network, np.ndarray, Any]:
    """A small untrained network, and the row as it would be trained on."""
    X, y, loss = data.X, data.y, command_options.loss_for(None, data.y)
    if data.image_shape is None:
        X = Moments.of(X).apply(X)
    if loss.name in _SCALE_FREE:
        y = Moments.of(y).apply(y)
    chosen = argparse.Namespace(
        hidden="16" if options.hidden is None else options.hidden,
        activation=options.activation or "tanh",
        seed=options.seed or 0,
        dropout=0.0,
    )
    network = _network(chosen, loss, y, "float64")
    network.coder = TargetCoder.learn("--target", y, loss, _n_outputs(loss, y))
    return network, X[row : row + 1], y[row]


def _trace_optimizer(options: argparse.Namespace) -> Optimizer:
    optimizer = OPTIMIZERS[options.optimizer]
    made: Optimizer = (
        optimizer()
        if options.learning_rate is None
        else optimizer(
            checks.number("--learning-rate", "it", options.learning_rate, 0, low_open=True)
        )
    )
    return made


def warmup(options: argparse.Namespace) -> int:
    """Compile everything for both number types: all kernels and, by small calls, their callers."""
    from ..engine.fits import compile_fits
    from ..kernels.compiler.calls import Kernel
    from ..kernels.compiler.folder import cache_folder
    from ..training.many import fit_many

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), np.arange(8) % 2
    compile_fits()
    for dtype in ("float32", "float64"):
        started = time.perf_counter()
        network = Network([Dense(4), LAYERS["relu"](), Dense(2)], dtype=dtype)
        network.fit(X, y, epochs=1, validation_data=(X, y))
        network.predict(X)
        network.predict(np.asfortranarray(X))  # rows that are not read in place
        network.evaluate(X, y)
        predictor = network.compile_predictor()
        predictor(X[0])
        predictor(X)
        network.loss_and_gradient(X, y)
        fit_many([Network([Dense(2)], dtype=dtype) for _ in range(2)], X, y, epochs=1)
        without_zeros(np.zeros((1, 1000)), network.dtype, 1000)
        for kernel in Kernel.every:
            kernel.address(network.dtype)
        print(f"{dtype}: ready after {time.perf_counter() - started:.1f} s")
    print(f"compiled code is kept in {cache_folder() or 'memory only: no folder is writable'}")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "check-gradients": check_gradients,
    "trace": trace,
    "reference": run_reference,
    "warmup": warmup,
}
