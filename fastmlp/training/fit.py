"""`Network.fit`: it checks everything before anything is changed, and makes a run of it.

What happens in the run is in `run`, and in `loop`, which the estimators share.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from ..datasets.stored import StoredTable
from ..distributed.ranks import Ranks, ranks_of
from ..distributed.steps import check_shareable, share
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
    comm: Any,
) -> History:
    """Train a network; `Network.fit` explains the parameters and has their defaults."""
    where, ranks, undo = "Network.fit", ranks_of(comm), undoing(network)
    accumulate = gradient_accumulation_steps
    try:
        with contextlib.nullcontext() if ranks is None else ranks.together(where):
            epochs, batch_size, accumulate = _sizes(
                where, epochs, batch_size, accumulate, n_threads
            )
            optimizer = optimizer_of(optimizer)
            asked = _checked_callbacks(where, callbacks, validation_data)
            compiles = can_compile(network.layers, network.loss, optimizer)
            own_parts.check_trainable(network.layers)
            # A network that is new has nothing to lose, so nan may show while it trains.
            search = network.is_built or not compiles or ranks is not None
            data, plan, coder = _read(network, where, X, y, sample_weight, search)
            _check_source(where, data, asked, ranks)
            validation = _validation(where, network, plan, coder, validation_data)
            n_rows = data.n_rows if isinstance(data, StoredTable) else int(data.X.shape[0])
            batch_size = min(batch_size, n_rows)
            accumulate = min(accumulate, -(-n_rows // batch_size))  # no step is of more
            samples, windows = _windows(data, network, plan, coder, batch_size * accumulate)
            task = Task(
                network, samples, validation, optimizer, batch_size, accumulate, asked.averaging,
                n_threads=n_threads, drop_last=drop_last, n_stored=0 if windows is None else n_rows,
                ranks=ranks,
            )  # fmt: skip
            _check_plan(where, task, plan, epochs)
            adopt(network, plan, coder)
            resumed = _resumed(where, task, asked, epochs, shuffle, data)
    except InputError:
        undo()
        raise
    options = {"compiles": compiles, "keep_finite": keep_finite, "progress": progress}
    if windows is not None:
        stored_run = StoredRun(windows, task, epochs, shuffle, asked, resumed, **options)
        return _result(where, stored_run, undo, None)
    if ranks is not None:
        _share(where, ranks, task, epochs, resumed, undo)
    task = task._replace(samples=_fastest(network, samples, epochs if compiles else 1))
    run = Run(task, epochs, shuffle, asked, resumed=resumed, **options)
    with contextlib.nullcontext() if ranks is None else ranks.or_abort():
        return _result(where, run, undo, None if search else samples.X)


def _check_plan(where: str, task: Task, plan: Plan, epochs: int) -> None:
    """Refuse averaging and factors that do not suit the whole fit."""
    if task.averaging is not None:
        task.averaging.plan(where, epochs, task.steps_per_epoch)
    if has_rule(task.optimizer):
        task.optimizer.group_factors(plan.groups)


def _share(
    where: str, ranks: Ranks, task: Task, epochs: int, resumed: Resumed | None,
    undo: Callable[[], None],
) -> None:  # fmt: skip
    """Give all processes the same network, if their fits would be the same."""
    try:
        _check_the_same(where, ranks, task, epochs, resumed)
    except InputError:
        undo()
        raise
    share(ranks, task.network)


def _read(
    network: Body, where: str, X: Any, y: Any, sample_weight: Any, search: bool
) -> tuple[Samples | StoredTable, Plan, TargetCoder]:
    """The data, checked; of a stored table, which has its own targets, all but the rows."""
    if isinstance(X, StoredTable):
        stored.refuse_others(where, y, sample_weight)
        return stored.read(network, where, X)
    return read(network, where, X, y, sample_weight, search)


def _check_source(
    where: str, data: Samples | StoredTable, asked: Callbacks, ranks: Ranks | None
) -> None:
    """Refuse what is not there for a stored table, or only for one."""
    if isinstance(data, StoredTable) and ranks is not None:
        raise InputError(
            where, "rows in memory for several processes", "a stored table", "leave comm out"
        )
    within = asked.checkpoint is not None and asked.checkpoint.every_rows is not None
    if within and not isinstance(data, StoredTable):
        raise InputError(
            where, "a stored table for a Checkpoint with every_rows", "rows in memory",
            "leave every_rows out",
        )  # fmt: skip


def _windows(
    data: Samples | StoredTable, network: Body, plan: Plan, coder: TargetCoder, rows_per_step: int
) -> tuple[Samples, Windows | None]:
    """The samples that kernels read: all of them, or the windows of a stored table by turns."""
    if not isinstance(data, StoredTable):
        return data, None
    windows = Windows(data, network, plan.n_outputs, coder, rows_per_step)
    return windows.first, windows


def _check_the_same(
    where: str, ranks: Ranks, task: Task, epochs: int, resumed: Resumed | None
) -> None:
    """Refuse processes that would not make the same steps, some of which would wait for ever."""
    options = epochs, task.rows_per_step, task.drop_last
    ranks.need_same(where, "options", options, "pass the same to all")
    advice = "load the same data in the same order"
    ranks.need_same(where, "samples", fingerprint(task.samples), advice)
    step = 0 if resumed is None else resumed.step
    ranks.need_same(where, "checkpoints", step, "use a folder that all of them can read")


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
    where: str,
    task: Task,
    asked: Callbacks,
    epochs: int,
    shuffle: bool,
    data: Samples | StoredTable,
) -> Resumed | None:
    """Where a fit goes on, if there are checkpoints to go on from; the network is there then."""
    if task.ranks is not None:
        check_shareable(where, task.network, task.optimizer)
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


def _checked_callbacks(where: str, callbacks: Any, validation_data: Any) -> Callbacks:
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
    asked = Callbacks(tuple(found), tuple(on_batch), *built_in)
    if asked.stopping is not None and validation_data is None:
        raise InputError(
            where, "validation_data for an EarlyStopping", "none", "pass validation_data=(X, y)"
        )
    return asked


def _validation(
    where: str, network: Body, plan: Plan, coder: TargetCoder, data: Any
) -> Samples | None:
    if data is None:
        return None
    inner = f"{where}, validation_data"
    if isinstance(data, StoredTable):
        return stored.held_out(network, inner, plan, coder, data)
    expected = "validation_data as (X, y) or (X, y, sample_weight)"
    if not isinstance(data, tuple | list):
        raise InputTypeError(where, expected, type(data).__name__, "pass a tuple")
    if len(data) not in (2, 3):
        raise InputTypeError(where, expected, counted(len(data), "item"), "pass 2 or 3")
    X, y, sample_weight = (*data, None)[:3]
    order = columns.order_in(inner, X, plan.feature_names)
    X, weights = checks.rows(inner, X, y, sample_weight, plan.n_features, network.dtype)
    X = X if order is None else X[:, order]
    check_categories(inner, network.layers, X)
    return Samples(X, coder.encode(inner, y, network.dtype), weights)
