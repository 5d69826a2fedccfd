"""`Network.fit`: it checks everything before anything is changed, and makes a run of it.

What happens in the run is in `run`, and in `loop`, which the estimators share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from ..datasets.stored import StoredTable
from ..engine.lowering import can_compile
from ..engine.threads import MOST_THREADS
from ..errors import InputError, InputTypeError, counted
from ..extending import own_parts
from ..inputs import checks, columns, stored
from ..inputs.categories import check_categories
from ..inputs.samples import adopt, read, undoing
from ..inputs.tables import WORTH_COMPRESSING, without_zeros
from ..inputs.targets import Samples, TargetCoder
from ..inputs.windows import Windows
from ..model.body import Body, Plan
from ..nn import Dense
from ..optim.averaging import Averaging
from ..optim.optimizers import has_rule, optimizer_of
from .checkpoint import Checkpoint, Resumed, fingerprint
from .early_stopping import EarlyStopping
from .history import History
from .loop import Task
from .run import Callbacks, Function, NotFinite, OnBatch, Run
from .stored_run import StoredRun

CALMER = "lower the learning rate, clip gradients (clip_norm=1.0) or scale the inputs"


class BatchCallback(Protocol):
    """A callback of batches: anything with this method."""

    def on_batch(self, network: Any, step: int, loss: float, /) -> Any: ...


Callback = Function | Checkpoint | EarlyStopping | Averaging | BatchCallback


def fit(
    network: Body,
    X: Any,
    y: Any,
    *,
    optimizer: Any,
    epochs: int,
    batch_size: int,
    validation_data: Any,
    sample_weight: Any,
    shuffle: bool,
    drop_last: bool,
    n_threads: int | None,
    callbacks: Sequence[Callback],
    progress: bool,
    keep_finite: bool,
    gradient_accumulation_steps: int,
) -> History:
    """Train a network; `Network.fit` explains the parameters and has their defaults."""
    where = "Network.fit"
    accumulate = gradient_accumulation_steps
    epochs, batch_size, accumulate = _sizes(where, epochs, batch_size, accumulate, n_threads)
    optimizer, asked = optimizer_of(optimizer), _checked_callbacks(where, callbacks)
    if asked.stopping is not None and validation_data is None:
        raise InputError(
            where, "validation_data for an EarlyStopping", "none", "pass validation_data=(X, y)"
        )
    compiles = can_compile(network.layers, network.loss, optimizer)
    own_parts.check_trainable(network.layers)
    # A network that is new has nothing to lose, so nan and infinities may show while it trains.
    search = network.is_built or not compiles
    data, plan, coder = _read(network, where, X, y, sample_weight, asked, search)
    validation = _validation(where, coder, plan, network.dtype, network.layers, validation_data)
    n_rows = data.n_rows if isinstance(data, StoredTable) else int(data.X.shape[0])
    batch_size = min(batch_size, n_rows)
    accumulate = min(accumulate, -(-n_rows // batch_size))  # no step is of more
    windows = None
    if isinstance(data, StoredTable):
        windows = Windows(data, network, plan.n_outputs, coder, batch_size * accumulate)
        samples = windows.first
    else:
        samples = data
    task = Task(
        network, samples, validation, optimizer, batch_size, accumulate, asked.averaging,
        n_threads=n_threads, drop_last=drop_last, n_stored=0 if windows is None else n_rows,
    )  # fmt: skip
    if asked.averaging is not None:
        asked.averaging.plan(where, epochs, task.steps_per_epoch)
    if has_rule(optimizer):
        optimizer.group_factors(plan.groups)
    undo = undoing(network)
    adopt(network, plan, coder)
    resumed = _resumed(task, asked, epochs, shuffle, data)
    options = {"compiles": compiles, "keep_finite": keep_finite, "progress": progress}
    if windows is not None:
        stored_run = StoredRun(windows, task, epochs, shuffle, asked, resumed, **options)
        return _result(where, stored_run, undo, None)
    task = task._replace(samples=_fastest(network, samples, epochs if compiles else 1))
    run = Run(task, epochs, shuffle, asked, resumed=resumed, **options)
    return _result(where, run, undo, None if search else samples.X)


def _read(
    network: Body, where: str, X: Any, y: Any, sample_weight: Any, asked: Callbacks, search: bool
) -> tuple[Samples | StoredTable, Plan, TargetCoder]:
    """The data, checked; of a stored table, which has its own targets, all but the rows."""
    if isinstance(X, StoredTable):
        stored.refuse_others(where, y, sample_weight)
        return stored.read(network, where, X)
    if asked.checkpoint is not None and asked.checkpoint.every_rows is not None:
        raise InputError(
            where, "a stored table for a Checkpoint with every_rows", type(X).__name__,
            "leave every_rows out",
        )  # fmt: skip
    return read(network, where, X, y, sample_weight, search)


def _result(where: str, run: Run, undo: Callable[[], None], X: Any) -> History:
    """Run a fit; a new network is unbuilt again if its data turn out to be unusable.

    X: the rows, if they have not been searched for nan and infinities.
    """
    try:
        return run.fit()
    except InputError:
        if run.step == 0:  # raised by a user-defined part in the first epoch
            undo()
        raise
    except NotFinite as found:
        error = None if X is None else checks.not_finite(where, "X", X)
        if error is not None:
            undo()
            raise error from None
        if run.finite_params is not None:
            run.network.learned[...] = run.finite_params
        raise InputError(where, found.expected, found.got, CALMER) from None


def _fastest(network: Body, samples: Samples, passes: int) -> Samples:
    """The samples in the form that kernels read fastest for so many passes."""
    X, first = samples.X, network.layers[0]
    is_plain = type(X) is np.ndarray and X.dtype.kind == "f"
    if not (is_plain and type(first) is Dense and passes >= WORTH_COMPRESSING):
        return samples
    assert first.n_out is not None
    return samples._replace(X=without_zeros(X, network.dtype, first.n_out))


def _sizes(
    where: str, epochs: int, batch_size: int, accumulate: int, n_threads: int | None
) -> tuple[int, int, int]:
    """The first three as Python's own numbers, or an error for any of them."""
    if n_threads is not None:
        checks.whole_number(where, "n_threads", n_threads, 1, MOST_THREADS)
    return (
        checks.whole_number(where, "epochs", epochs, 1),
        checks.whole_number(where, "batch_size", batch_size, 1),
        checks.whole_number(where, "gradient_accumulation_steps", accumulate, 1),
    )


def _resumed(
    task: Task, asked: Callbacks, epochs: int, shuffle: bool, data: Samples | StoredTable
) -> Resumed | None:
    """Where a fit goes on, if there are checkpoints to go on from; the network is there then."""
    if asked.checkpoint is None:
        return None
    run_options = {
        "optimizer": task.optimizer, "batch_size": task.batch_size, "epochs": epochs,
        "shuffle": shuffle,
    }  # fmt: skip
    if task.drop_last:
        run_options["drop_last"] = True
    if task.accumulate > 1:
        run_options["gradient_accumulation_steps"] = task.accumulate
    if asked.stopping is not None:
        run_options["early stopping"] = asked.stopping
    if asked.averaging is not None:
        kind = type(asked.averaging).__name__
        run_options["averaging"] = {"kind": kind, "options": asked.averaging}
    known = data.identity() if isinstance(data, StoredTable) else fingerprint(data)
    resumed = asked.checkpoint.begin(task.network, known, run_options)
    if resumed is not None:
        resumed.put_into(task.network)
    return resumed


def _checked_callbacks(where: str, callbacks: Any) -> Callbacks:
    advice = "write callbacks=[function]"
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        got = "one function" if callable(callbacks) else type(callbacks).__name__
        raise InputTypeError(where, "callbacks as a list", got, advice)
    given = tuple(callbacks)
    others = [one for one in given if not isinstance(one, Checkpoint | EarlyStopping | Averaging)]
    built_in: list[Any] = []
    for kind, name in (
        (Checkpoint, "Checkpoint"), (EarlyStopping, "EarlyStopping"), (Averaging, "EMA or SWA")
    ):  # fmt: skip
        some = [one for one in given if isinstance(one, kind)]
        if len(some) > 1:
            raise InputError(where, f"one {name}", f"{len(some)}", "pass one")
        built_in.append(next(iter(some), None))
    found: list[Function] = []
    on_batch: list[OnBatch] = []
    for callback in others:
        if hasattr(callback, "on_batch") and not isinstance(callback, type):
            names = ("network", "step", "loss")
            checks.takes(where, "an on_batch", callback.on_batch, *names)
            on_batch.append(callback.on_batch)
            if not callable(callback):
                continue
        if isinstance(callback, type) or not callable(callback):
            got, advice = type(callback).__name__, advice
            if isinstance(callback, type):
                got, advice = f"the class {callback.__name__}", f"pass {callback.__name__}()"
            raise InputTypeError(where, "callbacks of functions", got, advice)
        checks.takes(where, "callbacks that are functions", callback, "network", "history")
        found.append(callback)
    return Callbacks(tuple(found), tuple(on_batch), *built_in)


def _validation(
    where: str, coder: TargetCoder, plan: Plan, dtype: np.dtype, layers: Any, data: Any
) -> Samples | None:
    if data is None:
        return None
    expected = "validation_data as (X, y) or (X, y, sample_weight)"
    if not isinstance(data, tuple | list):
        raise InputTypeError(where, expected, type(data).__name__, "pass a tuple")
    if len(data) not in (2, 3):
        raise InputTypeError(where, expected, counted(len(data), "item"), "pass 2 or 3")
    inner = f"{where}, validation_data"
    X, y, sample_weight = (*data, None)[:3]
    order = columns.order_in(inner, X, plan.feature_names)
    X, weights = checks.rows(inner, X, y, sample_weight, plan.n_features, dtype)
    X = X if order is None else X[:, order]
    check_categories(inner, layers, X)
    return Samples(X, coder.encode(inner, y, dtype), weights)
