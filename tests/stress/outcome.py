"""What a trial found: how many times something happened, and every case that must not be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Counts by name, and failures with enough of the case to repeat it."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        bad = "".join(f"\n{'':14}FAILED: {failure}" for failure in self.failures[:10])
        return f"{found}; {len(self.failures)} failures{bad}"
