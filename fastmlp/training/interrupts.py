"""Ctrl-C during a fit: what was learned is kept, and a second press ends the fit at once.

Parameters change by whole batches only, so an interrupted fit ends with the parameters after a
complete batch.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
import threading
import time
from typing import Any

# What `signal` wraps: each call of a wrapper looks for 10 microseconds for an enum's member that is
# the handler.
_handler, _handle = _signal.getsignal, _signal.signal
GRACE = 2.0  # seconds that an epoch has to end by itself after the first press


class CtrlC:
    """A context in which Ctrl-C asks for the end of a fit instead of raising KeyboardInterrupt.

    The first press lets the epoch end, or ends it at a batch once `GRACE` seconds have passed. The
    second ends it at the batch that is being computed; outside of batches, as in callbacks, it
    raises KeyboardInterrupt. Nothing changes where Ctrl-C means something else already, and in
    threads other than the main one, which never see it.
    """

    def __init__(self) -> None:
        self._presses: list[float] = []
        self._is_ours = False
        self.is_computing = False  # batches: presses are counted then, and nothing is raised

    def __enter__(self) -> CtrlC:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and _handler(signal.SIGINT) is signal.default_int_handler:
            _handle(signal.SIGINT, self._press)
            self._is_ours = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_ours:
            _handle(signal.SIGINT, signal.default_int_handler)

    def _press(self, number: int, frame: Any) -> None:
        self._presses.append(time.monotonic())
        if len(self._presses) > 1 and not self.is_computing:
            raise KeyboardInterrupt

    @property
    def pressed(self) -> bool:
        """Whether Ctrl-C was pressed at all."""
        return bool(self._presses)

    def ends_epoch(self) -> bool:
        """Whether the epoch should end at the next batch."""
        if not self._presses:
            return False
        return len(self._presses) > 1 or time.monotonic() - self._presses[0] >= GRACE
