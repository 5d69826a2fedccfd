"""Networks of one shape whose fits run side by side, each in a lane of every vector.

It is used for small networks without validation only. Each result is bit for bit that of a fit
alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.lockstep import LockstepFit, n_lanes, rows_at_once
from ..engine.lowering import can_compile, settings_of, structure_of
from ..engine.spares import Spares, give_back, training_engine
from ..errors import FileError, InputError
from ..inputs.tables import table_of
from ..inputs.targets import Samples
from ..kernels.compiler.jit import JIT_ENABLED
from ..kernels.tuning import LANES_WORK, SHARED_SPARE_BYTES
from ..nn import Activation, Dense
from ..nn.losses import CompiledLoss, likeness_of
from ..optim.optimizers import has_rule
from ..optim.schedules import is_built_in
from .finished import Finished
from .fit import CALMER
from .one_fit import Data, OneFit
from .run import Callbacks, NotFinite, Run

# Memory of a fit in lanes, which has losses of every step and numbers of rows for each of them: at
# most 32 MiB each.
_MOST_STEPS, _MOST_ROWS = 250_000, 250_000
_GAIN = 4  # how much faster they are than one after another, roughly, to order them by their work


def in_lanes(fits: Sequence[OneFit], n_threads: int) -> Iterator[OneFit | Alike]:
    """The same fits, of which those that are alike and small enough are together."""
    found = dict[Hashable, list[OneFit]]()
    for one in fits:
        found.setdefault(_likeness(one), []).append(one)
    yield from found.pop(None, ())
    for members in found.values():
        for some in _divided(members, n_threads):
            if _pays(some):
                yield Alike(some)
            else:
                yield from some


def _divided(members: list[OneFit], n_threads: int) -> list[list[OneFit]]:
    """Equal shares that fit the lanes.

    There are as many for each thread, as long as that leaves half of the lanes in use.
    """
    lanes = n_lanes(members[0].network.dtype)
    n_shares = -(-len(members) // lanes)
    for_all = -(-n_shares // n_threads) * n_threads
    if len(members) >= for_all * lanes // 2:
        n_shares = for_all
    return [members[i::n_shares] for i in range(n_shares)]


def _likeness(one: OneFit) -> Hashable:
    """What is the same in fits that can be together; None for those that cannot."""
    network, layers, loss = one.network, one.network.layers, one.network.loss
    can_be = (
        JIT_ENABLED
        and one.validation_rows is None
        and not one.drop_last
        and not (network.l1 or network.l2 or one.table.has_weights or one.table.is_sparse)
        and has_rule(one.optimizer)
        and one.optimizer.clip_norm is None
        and all(map(is_built_in, one.optimizer.schedules))
        and _is_plain(layers)
        and loss.n_members == 1
    )
    if not can_be or one.plan is None:
        return None
    with contextlib.suppress(InputError):  # of a user's part, for which the fit fails
        if isinstance(loss, CompiledLoss) and can_compile(layers, loss, one.optimizer):
            shape = structure_of(layers), settings_of(layers), tuple(one.plan.groups)
            of_loss = likeness_of(loss, network.dtype)
            of_table = id(one.table), one.n_rows, one.plan.n_features, one.plan.feature_names
            of_fit = _as_key(one.optimizer), one.epochs, one.batch_size, one.shuffle
            return _as_key((shape, of_loss, of_table, of_fit, network.dtype, network.coder is None))
    return None


def _as_key(value: Any) -> Hashable:
    """A value by which dataclasses, lists and dicts can be compared and looked up."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return type(value), _as_key(fields)
    if isinstance(value, dict):
        return tuple((name, _as_key(value[name])) for name in sorted(value))
    if isinstance(value, list | tuple):
        return tuple(map(_as_key, value))
    return value if isinstance(value, Hashable) else id(value)


def _is_plain(layers: Sequence[Any]) -> bool:
    """Whether these are dense layers, each with at most one activation."""
    are_dense = [isinstance(layer, Dense) for layer in layers]
    return are_dense[0] and all(
        layer.max_norm is None if is_dense else isinstance(layer, Activation) and before
        for layer, is_dense, before in zip(layers, are_dense, [True, *are_dense], strict=False)
    )


def _pays(members: Sequence[OneFit]) -> bool:
    """Whether they are faster in lanes than one after another."""
    one, lanes = members[0], n_lanes(members[0].network.dtype)
    batch = min(one.batch_size, one.n_rows)
    n_steps = one.epochs * -(-one.n_rows // batch)
    is_small = one.n_params * batch <= LANES_WORK * len(members) / lanes
    takes_little = n_steps <= _MOST_STEPS and one.n_rows <= _MOST_ROWS
    return is_small and takes_little and len(members) > 1


@dataclass(eq=False)
class Alike:
    """Fits that begin and end together.

    Attributes
    ----------
    ones : list of OneFit
        All of them.
    apart : list of OneFit
        Those that begin one by one, after all.
    """

    ones: list[OneFit]
    apart: list[OneFit] = field(default_factory=list)
    whole: LockstepFit | None = None
    _going: list[OneFit] = field(default_factory=list)
    _run: Run | None = None
    _rates: Any = None
    _spares: Spares = field(default_factory=dict)

    @property
    def work(self) -> int:
        """What decides the order: about as many multiplications of a network that is alone."""
        return sum(one.work for one in self.ones) // _GAIN

    def begin(self, finished: Finished | None, spares: Spares) -> None:
        """Read all rows, and build everything for `whole`, if more than one has to be trained."""
        read = list[tuple[OneFit, Data]]()
        for one in self.ones:
            try:
                data = one.read(finished)
            except FileError:
                raise
            except InputError as error:
                one.fail(error)
                continue
            if data is not None:
                read.append((one, data))
        self._going = [one for one, _ in read]
        built = False
        with contextlib.suppress(InputError):  # each of them raises it, when it begins by itself
            built = bool(read) and _pays(self._going) and self._build(read, spares)
        if not built:
            self.apart = self._going

    def _build(self, read: list[tuple[OneFit, Data]], spares: Spares) -> bool:
        """Make `whole`, unless their targets or schedules do not allow it."""
        (first, data), network = read[0], read[0][0].network
        task, optimizer = first.task(data, spares), first.optimizer
        coders = [one.network.coder for one, _ in read]
        if not all(_read_alike(coders[0], coder) for coder in coders):
            return False
        if any(other.samples.X is not data.samples.X for _, other in read):
            return False
        run = Run(task, first.epochs, first.shuffle, Callbacks(), in_one_call=True)
        if not run.trainer.is_one_call(first.epochs):
            run.trainer.finish(is_restored=False)
            return False
        numbers, self._rates = run.step_numbers(first.epochs)
        at_once = rows_at_once(network, task.batch_size) * n_lanes(network.dtype)
        engine = training_engine(
            network, table_of(data.samples.X, network.dtype), at_once, 1, optimizer, shared=spares
        )
        self.whole = LockstepFit(
            engine, [one.network for one, _ in read], _merged([data for _, data in read]),
            [data.rows for _, data in read], first.shuffle, optimizer, numbers, task.batch_size,
            first.epochs,
        )  # fmt: skip
        self._run, self._spares = run, spares
        return True

    def end(self, interrupted: bool = False) -> list[OneFit]:
        """Fill the histories from what the steps have left; returns the fits that have ended."""
        run, whole = self._run, self.whole
        assert run is not None
        assert whole is not None
        give_back(self._spares, [whole.bring_back()], SHARED_SPARE_BYTES)
        seconds = whole.seconds / len(self._going)
        for lane, one in enumerate(self._going):
            run.serve(one.network)
            losses = whole.losses[: whole.steps_done, lane].copy()
            try:
                run.note(losses, self._rates, seconds, interrupted)
                one.history = run.history
            except NotFinite as found:
                one.fail(InputError(one.where, found.expected, found.got, CALMER))
        run.trainer.finish(is_restored=False)
        self.whole = self._run = self._rates = None
        return self._going


def _read_alike(one: Any, other: Any) -> bool:
    """Whether two networks read y in the same way."""
    same = (one.task, one.n_outputs, one.flat) == (other.task, other.n_outputs, other.flat)
    return same and np.array_equal(np.asarray(one.classes), np.asarray(other.classes))


def _merged(data: Sequence[Data]) -> Samples:
    """Samples with the targets of all rows that any of them has."""
    samples = data[0].samples
    if all(one.samples.encoded is samples.encoded for one in data):
        return samples
    labels, targets = (array.copy() for array in samples.encoded)
    n_rows = samples.X.shape[0]
    for one in data:
        if labels.size:
            labels[one.rows] = one.samples.encoded.labels[one.rows]
        if targets.size:
            found = one.samples.encoded.targets.reshape(n_rows, -1)
            targets.reshape(n_rows, -1)[one.rows] = found[one.rows]
    return samples._replace(encoded=samples.encoded._replace(labels=labels, targets=targets))
