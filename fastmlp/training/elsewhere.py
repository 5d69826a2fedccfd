"""Fits of many networks on workers in other processes: sends chunks and collects the results.

A worker trains a chunk as `fit_many` does locally, so the results do not depend on which networks
are in a chunk or on which worker trains it.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..cluster.workers import Workers
from ..engine.threads import n_cores
from ..errors import FileError, InputError
from ..inputs.shared import SharedTable
from .alike import in_lanes
from .finished import Finished
from .one_fit import OneFit
from .side_by_side import FINAL, Bar, SideBySide
from .travel import Trained, put_back, trained

_CHUNKS = 4  # for each worker, so that one that is slow or lost holds up little


class Elsewhere:
    """Sends fits to workers, the longest first, and collects what has ended.

    Parameters
    ----------
    workers : Workers
    fits : sequence of OneFit
    n_threads : int or None
        Of each chunk; by default those that the worker has.
    progress : bool
        Whether to show how far all of them are.
    finished : Finished or None
        Where those that are done are kept.
    """

    def __init__(
        self,
        workers: Workers,
        fits: Sequence[OneFit],
        n_threads: int | None,
        progress: bool,
        finished: Finished | None,
    ) -> None:
        for one in fits:
            one.measure()
        planned = [one for one in fits if one.plan]
        self._workers, self._n_threads, self._finished = workers, n_threads, finished
        self._bar, self._left = Bar(planned, progress), planned

    def run(self) -> None:
        """Train all networks; after Ctrl-C, those that have not come back are as they were."""
        with self._bar:
            try:
                if self._finished is not None:
                    self._left = [one for one in self._left if self._is_left(one, self._finished)]
                chunks = list(_chunks(self._left, _CHUNKS * self._workers.n_at_once))
                if chunks:
                    self._train(chunks)
            except KeyboardInterrupt:
                pass
            finally:
                if self._finished is not None:
                    self._finished.save()

    def _is_left(self, one: OneFit, finished: Finished) -> bool:
        """Whether a network remains to be trained."""
        try:
            data = one.read(finished)
        except FileError:
            raise
        except InputError as error:
            one.fail(error)
            data = None
        if data is None:
            self._bar.add(one)
        return data is not None

    def _train(self, chunks: list[list[OneFit]]) -> None:
        common = _in_several(chunks)
        jobs = (_job(chunk, common, self._n_threads) for chunk in chunks)
        found = self._workers.run(_train, self._workers.share(common), jobs)
        with contextlib.closing(found):
            for number, trained in found:
                for one, back in zip(chunks[number], trained, strict=True):
                    self._take(one, back)

    def _take(self, one: OneFit, back: Trained) -> None:
        """Put what was trained into the caller's network."""
        put_back(one.network, back)
        one.history = back.history
        self._bar.add(one)
        if self._finished is not None and one.history.stopped in FINAL:
            self._finished.add(one.number, one.identity, one.network.learned, one.history)


def _chunks(fits: Sequence[OneFit], n_chunks: int) -> Iterator[list[OneFit]]:
    """About as many chunks of about equal work, which begin with the longest fits.

    Small networks of one shape stay together, because they are fastest in lanes.
    """
    together = sorted(in_lanes(fits, n_chunks), key=lambda fit: -fit.work)
    most, work, chunk = sum(fit.work for fit in together) / n_chunks, 0, list[OneFit]()
    for fit in together:
        if chunk and work + fit.work > most:
            yield chunk
            work, chunk = 0, []
        work += fit.work
        chunk += fit.ones
    if chunk:
        yield chunk


def _in_several(chunks: list[list[OneFit]]) -> list[SharedTable]:
    """Tables that more than one chunk needs."""
    tables = {id(one.table): one.table for chunk in chunks for one in chunk}
    counts = Counter(key for chunk in chunks for key in {id(one.table) for one in chunk})
    return [table for key, table in tables.items() if counts[key] > 1]


class _Chunk(NamedTuple):
    """Fits without their tables, those tables that only they need, and where each has its own."""

    fits: list[OneFit]
    tables: list[SharedTable]
    places: list[int]


def _job(
    chunk: list[OneFit], common: list[SharedTable], n_threads: int | None
) -> tuple[_Chunk, int | None]:
    places = {id(table): number for number, table in enumerate(common)}
    own = list[SharedTable]()
    fits = list[OneFit]()
    for one in chunk:
        if id(one.table) not in places:
            places[id(one.table)] = len(common) + len(own)
            own.append(one.table)
        fits.append(one.without_table())
    return _Chunk(fits, own, [places[id(one.table)] for one in chunk]), n_threads


def _train(common: list[SharedTable], chunk: _Chunk, n_threads: int | None) -> list[Trained]:
    """Train a chunk; workers run this."""
    # Other threads of the worker have the same tables, and what each reads of them is its own.
    tables = [copy.copy(table) for table in [*common, *chunk.tables]]
    for one, place in zip(chunk.fits, chunk.places, strict=True):
        one.table = tables[place]
    SideBySide(chunk.fits, n_threads or n_cores(), False, None).run()
    return [trained(one.network, one.history) for one in chunk.fits]
