"""A row of the results: our figure, the other side's, their ratio and the status.

A row passes if its ratio reaches our own target. It is a mismatch if the two sides did not compute
the same; then nothing is timed. Whether another library is faster is a separate question, which
`verdict` answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .cases import JAX, NUMPY, ONNX, OURS, SKLEARN, TORCH, TORCH_COMPILED, Case
from .equality import Mismatch
from .machine import is_installed
from .measure import Spread, Timing

PASS, MISSED, EQUAL, MEASURED = "pass", "missed", "equal", "measured"
MISMATCH, SKIPPED, UNAVAILABLE, ERROR = "mismatch", "skipped", "not available", "error"
BAD = (MISMATCH, ERROR)  # the run itself went wrong
STATUSES = (PASS, MISSED, EQUAL, MEASURED, MISMATCH, SKIPPED, UNAVAILABLE, ERROR)

LIMIT = "limit"
TILE_PEAK = "tile peak"
PEERS = (JAX, NUMPY, ONNX, SKLEARN, TORCH, TORCH_COMPILED)  # other people's libraries

FASTER, LEVEL, SLOWER = "faster", "level", "slower"
WITHIN, BEYOND = "within the limit", "beyond the limit"
SHARE = "share of the peak"


@dataclass
class Row:
    """One comparison.

    Parameters
    ----------
    group, case, peer : str
        What was compared with which library; "limit" for a fixed bound.
    status : str
        One of `STATUSES`.
    unit : str
        Unit of `ours` and `theirs`.
    ours, theirs : float, optional
        Medians.
    ratio : Spread, optional
        How many times better ours is.
    target : float, optional
        Target for the median of the ratio.
    note : str
        For the reader.
    """

    group: str
    case: str
    peer: str
    status: str
    unit: str = ""
    ours: float | None = None
    theirs: float | None = None
    ratio: Spread | None = None
    target: float | None = None
    note: str = ""

    @property
    def key(self) -> str:
        return f"{self.group}/{self.case}/{self.peer}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        values = asdict(self)
        values["ratio"] = None if self.ratio is None else list(self.ratio)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Row:
        """The row that `to_dict` wrote; unknown fields are ignored."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        ratio = known.get("ratio")
        return cls(**known | {"ratio": None if ratio is None else Spread(*ratio)})


def verdict(row: Row) -> str:
    """The summary of a row: which side is faster, or whether a limit was kept.

    Two sides are level if the middle half of the ratios includes 1. Rows that were not timed say
    why.
    """
    if row.ratio is None or row.status in BAD:
        return row.status
    if row.peer == LIMIT:
        return WITHIN if row.status == PASS else BEYOND
    if row.peer == TILE_PEAK:
        return SHARE
    if row.ratio.lower_quartile > 1:
        return FASTER
    return SLOWER if row.ratio.upper_quartile < 1 else LEVEL


def is_lost(row: Row) -> bool:
    """Whether another library is faster than we are."""
    return row.peer in PEERS and verdict(row) == SLOWER


def judged(
    case: Case,
    peer: str,
    unit: str,
    medians: tuple[float, float],
    ratio: Spread,
    target: float,
    note: str = "",
    lenient: bool = False,
) -> Row:
    """A measured row, passed if the median reaches the target; if `lenient`, the upper quartile.

    Lenient is for "never worse": the ratio of equal things is below 1 half of the time.
    """
    reached = ratio.upper_quartile if lenient else ratio.median
    status = PASS if reached >= target else MISSED
    return Row(case.group, case.name, peer, status, unit, *medians, ratio, target, note)


def from_timing(
    case: Case,
    peer: str,
    unit: str,
    timing: Timing,
    scale: float,
    target: float,
    note: str = "",
    lenient: bool = False,
) -> Row:
    """The row of two timed sides; `scale` turns seconds per repeat into the unit."""
    medians = timing.median(OURS) * scale, timing.median(peer) * scale
    return judged(case, peer, unit, medians, timing.ratio(peer, OURS), target, note, lenient)


def against_limit(
    case: Case, unit: str, values: Sequence[float], limit: float, note: str = ""
) -> Row:
    """A measured row against a fixed bound that our figure must stay below."""
    ratio = Spread.of([limit / value for value in values])
    return judged(case, LIMIT, unit, (Spread.of(values).median, limit), ratio, 1.0, note)


def plain(case: Case, peer: str, status: str, note: str = "") -> Row:
    """A row without figures."""
    return Row(case.group, case.name, peer, status, note=note)


def checked(case: Case, peer: str, package: str, check: Callable[[], str]) -> Row:
    """The row of an equality check: skipped, equal, mismatch or error."""
    if not is_installed(package):
        return plain(case, peer, SKIPPED, f"{package} is not installed")
    try:
        return plain(case, peer, EQUAL, check())
    except Mismatch as mismatch:
        return plain(case, peer, MISMATCH, str(mismatch))
    except Exception as error:
        return plain(case, peer, ERROR, f"{type(error).__name__}: {error}")
