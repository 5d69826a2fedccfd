"""One case: its random numbers, what it has done so far, and what it found.

What may be raised is a refusal; everything else is a fault, and so is a refusal that comes from
deeper than where inputs are checked.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp
from fastmlp import InputError

from .. import guarded
from .draw import fingerprint

REFUSALS = (ValueError, TypeError, OSError)  # InputError, FileError, NotFittedError among them
# Where values are checked already: NumPy's words from there mean that a check is missing.
_PACKAGE = Path(fastmlp.__file__).parent
_INNER = {
    "engine.py", "layerwise.py", "lowering.py", "objective.py", "predictor.py", "tables.py",
    "threads.py", "training.py",
}  # fmt: skip


class Raised(Exception):
    """What a callback of a case raises."""


class Ended(Exception):
    """The case ends here, since what follows could not be judged."""


@dataclass
class Refused:
    """Stands for the answer of a call that raised."""

    error: BaseException


@dataclass
class Case:
    """What a case has at hand; `tell` is called with each step before it is taken."""

    number: int
    mode: guarded.Mode
    rng: np.random.Generator
    folder: Path
    tell: Callable[[str], None]
    failures: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def fail(self, what: str) -> None:
        self.failures.append(what)

    def attempt(
        self, step: str, call: Callable[[], Any], inputs: Any = (), also: tuple[type, ...] = ()
    ) -> Any:
        """What a call answers, or `Refused`; inputs must come out as they went in."""
        self.tell(step)
        before = [fingerprint(value) for value in inputs]
        try:
            with np.errstate(all="ignore"):
                answer = call()
        except (*REFUSALS, Raised, *also) as error:
            answer = Refused(error)
            self.counts["refused"] += 1
            self._judge(step, error)
        except Exception as error:
            self.fail(f"{step}: {error!r} {place(error)}")
            raise Ended from error
        else:
            self.counts["answered"] += 1
        if [fingerprint(value) for value in inputs] != before:
            self.fail(f"{step}: changed what it was given")
        return answer

    def _judge(self, step: str, error: BaseException) -> None:
        if isinstance(error, InputError | OSError | Raised):
            return
        if _raised_inside(error):
            self.fail(f"{step}: raw {error!r} {place(error)}")


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if _PACKAGE in Path(frame.filename).parents
    ]


def place(error: BaseException) -> str:
    """Where in the library an error comes from."""
    frames = _frames(error)
    return f"in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside"


def _raised_inside(error: BaseException) -> bool:
    frames = _frames(error)
    if not frames:
        return False
    last = Path(frames[-1].filename)
    return last.parent.name == "kernels" or last.name in _INNER
