"""The options of a run, passed to every case.

A quick run only checks on little data that all sides compute the same, without timing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .measure import MIN_SECONDS


@dataclass(frozen=True)
class Settings:
    """Options of a run.

    Parameters
    ----------
    quick : bool
        Only check equality.
    data_home : Path, optional
        Folder of the four MNIST files.
    rounds : int
        How often each side is timed.
    min_seconds : float
        Minimum duration of a timed sample.
    """

    quick: bool = False
    data_home: Path | None = None
    rounds: int = 11
    min_seconds: float = MIN_SECONDS
