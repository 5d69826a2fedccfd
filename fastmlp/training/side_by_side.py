"""Fits of several networks side by side: the order in which they start, and their results.

Python prepares a few fits beside those that run, and collects those that have ended, while threads
compute. Small networks of one shape are one fit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..engine.fits import FitThreads
from ..engine.spares import Spares
from ..errors import FileError, InputError, counted
from ..kernels.tuning import FITS_READY, READY_BYTES
from .alike import Alike, in_lanes
from .finished import Finished
from .interrupts import CtrlC
from .one_fit import OneFit

FINAL = ("finished", "early_stopping")  # what the history of a network says that is done
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02  # seconds between looks at what has ended


class SideBySide:
    """Begins fits, the longest first, and collects what has ended.

    Parameters
    ----------
    fits : sequence of OneFit
    n_threads : int
    progress : bool
        Whether to show how far all of them are.
    finished : Finished or None
        Where those that are done are kept.
    """

    def __init__(
        self, fits: Sequence[OneFit], n_threads: int, progress: bool, finished: Finished | None
    ) -> None:
        for one in fits:
            one.measure()
        planned = [one for one in fits if one.plan]
        self._finished, self._spares = finished, Spares()
        self._fits = sorted(in_lanes(planned, n_threads), key=lambda fit: -fit.work)
        self._threads, self._ctrl_c = FitThreads(max(1, min(n_threads, len(self._fits)))), CtrlC()
        self._running, self._alone = list[OneFit | Alike](), list[OneFit]()
        self._shortest = _LONGEST_PAUSE
        self._bar = Bar(planned, progress)

    def run(self) -> None:
        """Train all networks, unless Ctrl-C ends it earlier."""
        with self._bar, self._ctrl_c:
            self._ctrl_c.is_computing = True
            try:
                with self._threads:
                    self._run_compiled()
            except KeyboardInterrupt:
                self._alone = []
            finally:
                self._collect()
                for fit in self._running:  # nobody works on them any more
                    fit.end(interrupted=True)
                self._save()
            self._ctrl_c.is_computing = False
            for one in self._alone:
                if not self._ctrl_c.pressed:
                    one.alone()
                    self._note(one)
            self._save()

    def _save(self) -> None:
        if self._finished is not None:
            self._finished.save()

    def _note(self, one: OneFit) -> None:
        """Count a network that has ended, and keep it if it may not be trained again."""
        self._bar.add(one)
        if self._finished is not None and one.history.stopped in FINAL:
            self._finished.add(one.number, one.identity, one.network.learned, one.history)

    def _run_compiled(self) -> None:
        waiting = deque(self._fits)
        while waiting:
            while not self._has_room():
                self._pass_time()
            if self._ctrl_c.pressed:
                break
            fit = waiting.popleft()
            self._begin(fit)
            waiting.extendleft(fit.apart)
        while self._running and not self._ctrl_c.pressed:
            self._pass_time()
        if self._running:
            self._threads.halt()
            while not self._threads.are_done and not self._ctrl_c.ends_epoch():
                self._pass_time()
            self._threads.stop()

    def _begin(self, fit: OneFit | Alike) -> None:
        try:
            fit.begin(self._finished, self._spares)
        except FileError:
            raise
        except InputError as error:
            for one in fit.ones:
                one.fail(error)
        if fit.whole is not None:
            self._running.append(fit)
            self._threads.put(fit.whole)
        for one in fit.ones:
            if one.is_done and one not in fit.apart:
                self._bar.add(one)
        if fit.whole is None and isinstance(fit, OneFit) and not fit.is_done:
            self._alone.append(fit)

    def _has_room(self) -> bool:
        """Whether to prepare one more: one for each thread, and some more if they are small."""
        if len(self._running) < self._threads.n_threads or self._ctrl_c.pressed:
            return True
        if (
            self._threads.n_threads == 1
            or len(self._running) >= self._threads.n_threads + FITS_READY
        ):
            return False
        used = sum(fit.whole.n_bytes for fit in self._running if fit.whole is not None)
        return used < READY_BYTES

    def _pass_time(self) -> None:
        self._threads.wait(min(max(self._shortest / 4, _SHORTEST_PAUSE), _LONGEST_PAUSE))
        self._collect()

    def _collect(self) -> None:
        """Read the results of fits that have ended."""
        ended = [fit for fit in self._running if fit.whole is not None and fit.whole.is_over]
        for fit in ended:
            assert fit.whole is not None
            self._shortest = min(self._shortest, fit.whole.seconds)
            self._running.remove(fit)
            for one in fit.end():
                self._note(one)


class Bar:
    """A progress bar over the work of all networks, if wanted, which also counts networks."""

    def __init__(self, fits: Sequence[OneFit], wanted: bool) -> None:
        self._n, self._done, self._bar = len(fits), 0, None
        if wanted:
            from tqdm import tqdm

            layout = "{l_bar}{bar}| {postfix} [{elapsed}<{remaining}]"
            work = max(1, sum(one.work for one in fits))
            self._bar = tqdm(total=work, bar_format=layout, dynamic_ncols=True)
            self._bar.set_postfix_str(f"0 of {counted(self._n, 'network')}")

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, one: OneFit) -> None:
        """Count a network that has ended."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(
                f"{self._done} of {counted(self._n, 'network')}", refresh=False
            )
            self._bar.update(one.work)
