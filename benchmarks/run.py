"""The code that measures each kind of case, and the loop over the requested cases.

A case that fails gives a row with its error; the others continue.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import (
    accuracy,
    beside,
    cases,
    costs,
    drop_in,
    inference,
    many,
    memory,
    per_sample,
    rows,
    search,
    sparse,
    threads,
    training,
)
from .cases import Case
from .rows import Row
from .settings import Settings

RUNNERS: dict[type[Case], Callable[[Any, Settings], Iterator[Row]]] = {
    cases.Training: training.run,
    cases.Reference: per_sample.run,
    cases.Accuracy: accuracy.run,
    cases.Inference: inference.run,
    cases.Cost: costs.run,
    cases.Memory: memory.run,
    cases.Threads: threads.run,
    cases.PeakShare: threads.run_peak_share,
    cases.Sparse: sparse.run,
    cases.DropIn: drop_in.run,
    cases.Search: search.run,
    cases.Many: many.run,
}


def matching(pattern: str, among: Iterable[Case]) -> list[Case]:
    """Those whose key (group/name) contains the pattern, or matches it if it has wildcards."""
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    return [case for case in among if fnmatch.fnmatchcase(case.key, pattern)]


def run_case(case: Case, settings: Settings, busy: bool = False) -> Iterator[Row]:
    """All rows of a case, the last of them an error if it fails.

    busy: whether it is a training case to be measured beside a busy process.
    """
    try:
        if busy and isinstance(case, cases.Training):
            yield from beside.run(case, settings)
        else:
            yield from RUNNERS[type(case)](case, settings)
    except Exception as error:
        yield rows.plain(case, "", rows.ERROR, f"{type(error).__name__}: {error}")
