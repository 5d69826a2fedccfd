"""What a run was asked to do, passed to every case.

Quick means: check that all sides compute the same, on little data, and time nothing.
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
        How long a timed sample is to take at least.
    """

    quick: bool = False
    data_home: Path | None = None
    rounds: int = 11
    min_seconds: float = MIN_SECONDS
