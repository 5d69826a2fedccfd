"""`Network.fit`: it checks everything before anything is changed, and makes a run of it.

What happens in the run is in `run`, and in `loop`, which the estimators share.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..datasets.stored import StoredTable
from ..distributed.ranks import Ranks, ranks_of, together
from ..distributed.rows import rows_and_labels
from ..distributed.steps import check_shareable, share
from ..engine.lowering import can_compile
from ..engine.threads import MOST_THREADS, company
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
    options = _Options(
        optimizer, epochs, batch_size, gradient_accumulation_steps, validation_data, sample_weight,
        shuffle, drop_last, n_threads, callbacks,
    )  # fmt: skip
    try:
        if ranks is not None and ranks.has_own_rows:
            with ranks.together(where):
                n, labels = rows_and_labels(y, network.loss.task)
            ranks = ranks.with_rows(where, n, labels)
        with together(ranks, where):
            ready = _ready(where, network, X, y, options, ranks)
        data = "" if ready.asked.checkpoint is None and ranks is None else _identity(ready)
        with together(ranks, where):
            resumed = _resumed(ready, options.shuffle, data)
        if ranks is not None:
            _check_the_same(where, ranks, ready, data, resumed)
            share(ranks, network)
    except InputError:
        undo()
        raise
    run = ready.run(shuffle, keep_finite, progress, resumed)
    with contextlib.nullcontext() if ranks is None else ranks.or_abort():
        return _result(where, run, undo, None if ready.is_searched else ready.task.samples.X)


class _Options(NamedTuple):
    """What was asked for, before it is checked."""

    optimizer: Any
    epochs: int
    batch_size: int
    accumulate: int
    validation_data: Any
    sample_weight: Any
    shuffle: bool
    drop_last: bool
    n_threads: int | None
    callbacks: Any


class _Ready(NamedTuple):
    """A fit that can begin: its samples are read, and the network is built for them."""

    task: Task
    asked: Callbacks
    epochs: int
    windows: Windows | None
    compiles: bool
    is_searched: bool  # for nan and infinities

    def run(self, shuffle: bool, keep_finite: bool, progress: bool, resumed: Resumed | None) -> Run:
        """Everything that the fit needs while it runs."""
        task, options = self.task, {"keep_finite": keep_finite, "progress": progress}
        options["compiles"] = self.compiles
        if self.windows is not None:
            return StoredRun(
                self.windows, task, self.epochs, shuffle, self.asked, resumed, **options
            )
        samples = _fastest(task.network, task.samples, self.epochs if self.compiles else 1)
        if samples is not task.samples:
            task = task._replace(samples=samples)
        return Run(task, self.epochs, shuffle, self.asked, resumed=resumed, **options)


def _ready(
    where: str, network: Body, X: Any, y: Any, options: _Options, ranks: Ranks | None
) -> _Ready:
    """Check everything, and build the network once nothing can go wrong."""
    epochs, batch_size, accumulate = _sizes(where, options)
    optimizer, asked = optimizer_of(options.optimizer), _checked_callbacks(where, options.callbacks)
    if asked.stopping is not None and options.validation_data is None:
        raise InputError(
            where, "validation_data for an EarlyStopping", "none", "pass validation_data=(X, y)"
        )
    compiles = can_compile(network.layers, network.loss, optimizer)
    own_parts.check_trainable(network.layers)
    # A network that is new has nothing to lose, so nan and infinities may show while it trains.
    search = network.is_built or not compiles or ranks is not None
    table = _stored(where, X, y, options.sample_weight, asked, ranks)
    if table is None:
        own = None if ranks is None else ranks.own
        labels = None if own is None else own.labels
        samples, plan, coder = read(network, where, X, y, options.sample_weight, search, labels)
        n_rows = int(samples.X.shape[0]) if own is None else own.n_rows
    else:
        table, plan, coder = stored.read(network, where, table)
        n_rows = table.n_rows
    validation = _validation(where, network, plan, coder, options.validation_data)
    batch_size = min(batch_size, n_rows)
    accumulate = min(accumulate, -(-n_rows // batch_size))  # no step is of more
    windows = None
    if table is not None:
        windows = Windows(
            table, network, plan.n_outputs, coder, batch_size * accumulate, company.busy
        )
        samples = windows.first
    task = Task(
        network, samples, validation, optimizer, batch_size, accumulate, asked.averaging,
        n_threads=options.n_threads, drop_last=options.drop_last,
        n_stored=0 if table is None else n_rows, ranks=ranks,
    )  # fmt: skip
    if asked.averaging is not None:
        asked.averaging.plan(where, epochs, task.steps_per_epoch)
    if has_rule(optimizer) and optimizer.factors:  # which must be those of groups
        optimizer.group_factors(plan.groups)
    adopt(network, plan, coder)
    if ranks is not None:
        check_shareable(where, ranks, network, optimizer, task.rows_per_step)
    return _Ready(task, asked, epochs, windows, compiles, search or windows is not None)


def _identity(ready: _Ready) -> str:
    """By which the data of a fit are recognised, whoever has them."""
    if ready.windows is not None:
        return ready.windows.table.identity()
    samples, ranks = ready.task.samples, ready.task.ranks
    if ranks is None or ranks.own is None:
        return fingerprint(samples)
    n_outputs = ready.task.network.n_outputs

    def hash_of(rows: np.ndarray) -> str:
        return fingerprint(samples.of_rows(rows, n_outputs)._replace(X=samples.X[rows]))

    return ranks.of_blocks(hash_of)


def _check_the_same(
    where: str, ranks: Ranks, ready: _Ready, data: str, resumed: Resumed | None
) -> None:
    """Refuse processes that would not make the same steps, some of which would wait for ever."""
    task = ready.task
    options = ready.epochs, task.rows_per_step, task.drop_last
    ranks.need_same(where, "options", options, "pass the same to all")
    advice = "load the same data in the same order"
    ranks.need_same(where, "samples", data, advice)
    step = 0 if resumed is None else resumed.step
    ranks.need_same(where, "checkpoints", step, "use a folder that all of them can read")


def _stored(
    where: str, X: Any, y: Any, sample_weight: Any, asked: Callbacks, ranks: Ranks | None
) -> StoredTable | None:
    """X if it is a stored table, which has targets and weights of its own."""
    if isinstance(X, StoredTable):
        if ranks is not None:
            raise InputError(
                where, "rows in memory for several processes", "a stored table", "leave comm out",
            )  # fmt: skip
        stored.refuse_others(where, y, sample_weight)
        return X
    if asked.checkpoint is not None and asked.checkpoint.every_rows is not None:
        raise InputError(
            where, "a stored table for a Checkpoint with every_rows", "rows in memory",
            "leave every_rows out",
        )  # fmt: skip
    return None


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


def _sizes(where: str, options: _Options) -> tuple[int, int, int]:
    """Epochs, batch size and batches per step as Python's own numbers, or an error."""
    if options.n_threads is not None:
        checks.whole_number(where, "n_threads", options.n_threads, 1, MOST_THREADS)
    return (
        checks.whole_number(where, "epochs", options.epochs, 1),
        checks.whole_number(where, "batch_size", options.batch_size, 1),
        checks.whole_number(where, "gradient_accumulation_steps", options.accumulate, 1),
    )


def _resumed(ready: _Ready, shuffle: bool, data: str) -> Resumed | None:
    """Where a fit goes on, if there are checkpoints to go on from; the network is there then."""
    task, asked = ready.task, ready.asked
    if asked.checkpoint is None:
        return None
    run_options = {
        "optimizer": task.optimizer, "batch_size": task.batch_size, "epochs": ready.epochs,
        "shuffle": shuffle,
    }  # fmt: skip
    if task.drop_last:
        run_options["drop_last"] = True
    if task.accumulate > 1:
        run_options["gradient_accumulation_steps"] = task.accumulate
    if task.ranks is not None:
        run_options["blocks"] = task.ranks.blocks
    if asked.stopping is not None:
        run_options["early stopping"] = asked.stopping
    if asked.averaging is not None:
        kind = type(asked.averaging).__name__
        run_options["averaging"] = {"kind": kind, "options": asked.averaging}
    resumed = asked.checkpoint.begin(task.network, data, run_options)
    if resumed is not None:
        resumed.put_into(task.network)
    return resumed


def _checked_callbacks(where: str, callbacks: Any) -> Callbacks:
    advice = "write callbacks=[function]"
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        got = "one function" if callable(callbacks) else type(callbacks).__name__
        raise InputTypeError(where, "callbacks as a list", got, advice)
    given = tuple(callbacks)
    if not given:
        return Callbacks()
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
