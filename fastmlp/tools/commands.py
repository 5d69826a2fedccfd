"""The commands, from parsed options to printed report.

Invalid input is refused before training starts; files are written last, each atomically.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import datasets, reference
from ..errors import InputError
from ..inputs import checks
from ..inputs.tables import without_zeros
from ..inputs.targets import TargetCoder
from ..io import serialization
from ..network import Network
from ..nn import LAYERS, Dense
from ..nn.losses import LOSSES
from ..optim.optimizers import OPTIMIZERS, Optimizer
from ..tracing import story
from . import command_options, gradient_check, networks, processes, reports, streams
from .standardize import Moments


def train(options: argparse.Namespace) -> int:
    """Train by a recipe for tables, or a network of layers that the options name."""
    is_table = not options.stream and command_options.uses_recipe(options)
    processes.check_kind(is_table, options.stream)
    if options.stream:
        return streams.train(options)
    return int((_tables() if is_table else networks).train(options))


def evaluate(options: argparse.Namespace) -> int:
    """Score a saved model on the rows held out in its training, or on the requested rows."""
    return int(_kind_of(options.model).evaluate(options))


def predict(options: argparse.Namespace) -> int:
    """Write predictions as CSV; if the model has column names, only those columns are read."""
    if options.stream:
        return streams.predict(options)
    return int(_kind_of(options.model).predict(options))


def _kind_of(path: str) -> Any:
    """The module for the model in a file."""
    return networks if serialization.estimator_in(path) is None else _tables()


def _tables() -> Any:
    """The module for tables, which imports scikit-learn."""
    from . import tables

    return tables


def check_gradients(options: argparse.Namespace) -> int:
    """Print the largest deviations for every loss and layer; exit code 1 if one is too large."""
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
    reference.demonstrate(options.epochs, options.seed, show=print)
    return 0


def trace(options: argparse.Namespace) -> int:
    """Follow one row through forward, loss, backward and an update."""
    _check_trace(options)
    show = reports.shown_beside(options.json)
    saved = Network.load(options.model) if options.model else None
    data = command_options.load(options) if saved is None else networks.data_for(saved, options)
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
        reports.write_json(options.json, {"data": data.name, "row": row, **found.to_dict()})
        if options.json != reports.STANDARD_OUTPUT:
            reports.show_rows([("numbers", options.json)], show)
    if options.plot:
        from .. import plotting

        figure = plotting.plot_trace(found, data.image_shape)
        plotting.write_figure("--plot", options.plot, figure)
        reports.show_rows([("picture", options.plot)], show)
    return 0


def _check_trace(options: argparse.Namespace) -> None:
    """Refuse paths that cannot be written, and options of a new network together with --model."""
    reports.check_json(options.json)
    reports.check_plot(options.plot)
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
    if loss.name in networks.SCALE_FREE:
        y = Moments.of(y).apply(y)
    chosen = argparse.Namespace(
        hidden="16" if options.hidden is None else options.hidden,
        activation=options.activation or "tanh",
        seed=options.seed or 0,
        dropout=0.0,
    )
    network = networks.network_of(chosen, loss, y, "float64")
    network.coder = TargetCoder.learn("--target", y, loss, networks.n_outputs(loss, y))
    return network, X[row : row + 1], y[row]


def _trace_optimizer(options: argparse.Namespace) -> Optimizer:
    optimizer = OPTIMIZERS[options.optimizer]
    rate = options.learning_rate
    made: Optimizer = optimizer() if rate is None else optimizer(rate)
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
