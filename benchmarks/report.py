"""Results on disk: a JSON file that partial runs are merged into, and a table made from it.

Each row stores the commit, the date and the machine of its measurement. Every kind of machine has
rows and tables of its own, so that a run on one does not replace what another measured.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import cases, machine, rows
from .rows import Row

_HEADER = """# Benchmarks

Made by `python -m benchmarks`. It first checks that all sides compute the same numbers from the
same start, and only then times them, in turn and in one process (A B C A B C).

*Times better* is their time divided by ours, so 3 means that fastmlp needs a third of the time (for
rates, it is ours divided by theirs). Each ratio compares two timings of the same round. The table
shows the median over the rounds, and the spread as lowest, lower quartile, upper quartile and
highest. Two sides are *level* where the middle half of the ratios includes 1. Only rows that
another library wins are **red**. Every library uses one thread or all of them, whichever is faster.
Shared machines differ from hour to hour, so compare ratios and not seconds.
"""
_SIDE_BY_SIDE = """## Times better on each kind of machine
"""
_GOALS = """### Goals of our own

Every row also has a target, set before the work began: how many times better it was to be. {met} of
{all} are reached; these are not:

"""
_COLUMNS = ("case", "against", "times better", "ours", "theirs", "result", "spread", "note")
_GOAL_COLUMNS = ("case", "against", "times better", "goal")
_Key = tuple[str, str]  # the kind of machine, and the row's own key
_TITLES = {
    "training": "Training, float32, Adam",
    "many": "Many networks, float32, Adam",
    "reference": "Against the per-sample reference, plain SGD",
    "accuracy": "Time to accuracy, full MNIST, mean of five seeds",
    "inference": "Inference, from Python",
    "costs": "Fixed costs, in new processes",
    "memory": "Peak memory of a fit above the caller's data",
    "threads": "Threads",
    "sparse": "Sparse input",
    "estimators": "Estimators, default settings, float64 unless said",
}


def title(group: str) -> str:
    """The title of a group of cases."""
    return _TITLES[group]


class Results:
    """All rows so far, by key, and the machines they come from.

    Parameters
    ----------
    path : Path
        The JSON file; read if it is there.
    listed : sequence of Case
        The cases in the order of the tables. Stored rows of other cases are dropped.
    """

    def __init__(self, path: Path, listed: Sequence[cases.Case] = cases.CASES) -> None:
        self.path = path
        self._place = {(case.group, case.name): i for i, case in enumerate(listed)}
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.machines: dict[str, Any] = kept.get("machines", {})
        self._kept: dict[_Key, dict[str, Any]] = {}
        for values in kept.get("rows", []):
            if (values["group"], values["case"]) in self._place:
                kind = machine.kind_of(self.machines[values["machine"]])
                self._kept[kind, Row.from_dict(values).key] = values

    def kinds(self) -> list[str]:
        """The kinds of machines that have rows, the one with most of them first."""
        return [kind for kind, _ in Counter(kind for kind, _ in self._kept).most_common()]

    def rows(self, kind: str) -> list[Row]:
        """All rows of a kind of machine in the order of the cases, peers by their names."""
        found = [Row.from_dict(values) for (on, _), values in self._kept.items() if on == kind]
        return sorted(found, key=lambda row: (self._place[row.group, row.case], row.peer.lower()))

    def merge(self, new: Iterable[Row]) -> None:
        """Replace the rows of the cases that ran; a skipped row never replaces a measured one.

        Rows of other kinds of machines stay.
        """
        new, this = list(new), machine.record()
        here = machine.kind_of(this)
        ran = {(row.group, row.case) for row in new}
        skipped = {
            (here, row.key)
            for row in new
            if row.status == rows.SKIPPED and (here, row.key) in self._kept
        }
        self._kept = {
            key: values
            for key, values in self._kept.items()
            if key[0] != here or (values["group"], values["case"]) not in ran or key in skipped
        }
        self.machines[machine.name_of(this)] = this
        origin = {
            "machine": machine.name_of(this),
            "commit": machine.commit(),
            "date": machine.today(),
            "load": machine.load(),
        }
        for row in new:
            if (here, row.key) not in skipped:
                self._kept[here, row.key] = row.to_dict() | origin
        used = {values["machine"] for values in self._kept.values()}
        self.machines = {name: self.machines[name] for name in self.machines if name in used}

    def write(self) -> None:
        """Write the JSON file and the table next to it, atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = {"machines": self.machines, "rows": list(self._kept.values())}
        _replace(self.path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        _replace(self.path.with_suffix(".md"), self.markdown())

    def markdown(self) -> str:
        """All kinds of machines side by side, a section for each of them, and where and when."""
        parts = [_HEADER]
        if len(self.kinds()) > 1:
            parts.append(f"{_SIDE_BY_SIDE}\n{self._side_by_side()}")
        for kind in self.kinds():
            parts.append(f"## {kind}\n")
            found = self.rows(kind)
            for group in cases.GROUPS:
                inside = [row for row in found if row.group == group]
                if inside:
                    parts.append(f"### {title(group)}\n\n{table(inside)}")
            parts.append(_goals(found))
        parts.append(self._origins())
        return "\n".join(parts)

    def _side_by_side(self) -> str:
        """A line for each comparison, with its median ratio on every kind of machine."""
        lines: dict[tuple[int, str], list[str]] = {}
        for column, kind in enumerate(self.kinds(), start=2):
            for row in self.rows(kind):
                if row.ratio is not None:
                    key = self._place[row.group, row.case], row.peer.lower()
                    blank = [row.case, row.peer, *("" for _ in self.kinds())]
                    lines.setdefault(key, blank)[column] = _cells(row)[2]
        return _markdown(("case", "against", *self.kinds()), (lines[key] for key in sorted(lines)))

    def _origins(self) -> str:
        """Machines, versions and commits, as a list."""
        lines = ["## Measured with\n"]
        for name, this in self.machines.items():
            mine = [values for values in self._kept.values() if values["machine"] == name]
            made = sorted({f"{v['commit'] or 'no commit'} on {v['date']}" for v in mine})
            versions = ", ".join(f"{key} {value}" for key, value in this["versions"].items())
            lines += [
                f"- {this['cpu']}, {this['cores']} cores, {this['memory_gb']} GB, "
                f"{this['system']}, vectors of {this['vector_bytes']} bytes",
                f"  - {versions}",
                f"  - BLAS: {', '.join(map(_pool, this['blas']))}",
                f"  - {len(mine)} rows: {'; '.join(made)}",
            ]
        return "\n".join(lines) + "\n"


def _pool(pool: dict[str, Any]) -> str:
    return f"{pool.get('internal_api')} {pool.get('version')} ({pool.get('num_threads')} threads)"


def table(found: Iterable[Row]) -> str:
    """Rows as a Markdown table."""
    return _markdown(_COLUMNS, map(_cells, found))


def _markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    every = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in every)


def _cells(row: Row) -> list[str]:
    unit = f" {row.unit}" if row.unit else ""
    times = spread = ""
    if row.ratio is not None:
        low, lower, median, upper, high = map(number, row.ratio)
        times, spread = median, f"{low}, {lower}, {upper}, {high}"
    result = rows.verdict(row)
    if rows.is_lost(row) or row.status in rows.BAD:
        times, result = (f"**{text}**" if text else "" for text in (times, result))
    figures = ["" if value is None else number(value) + unit for value in (row.ours, row.theirs)]
    note = " ".join(row.note.split()).replace("|", "\\|")
    return [row.case, row.peer, times, *figures, result, spread, note]


def _goals(found: Iterable[Row]) -> str:
    """How many of our own targets are reached, and a table of those that are not."""
    judged = [row for row in found if row.status in (rows.PASS, rows.MISSED)]
    missed = [row for row in judged if row.status == rows.MISSED]
    if not missed:
        return ""
    cells = [
        [row.case, row.peer, number(row.ratio.median), number(row.target)]
        for row in missed
        if row.ratio is not None and row.target is not None
    ]
    text = _GOALS.format(met=len(judged) - len(missed), all=len(judged))
    return text + _markdown(_GOAL_COLUMNS, cells)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or not abs(value) < float("inf"):
        return str(value)
    text = f"{value:.3g}"
    return f"{float(text):,.0f}" if abs(value) >= 100 else text


def line(row: Row) -> str:
    """A row for the terminal."""
    parts = [f"{rows.verdict(row):18}{row.key}"]
    if row.ours is not None:
        parts.append(f"{number(row.ours)} {row.unit}")
    if row.ratio is not None and row.theirs is not None and row.target is not None:
        parts.append(
            f"theirs {number(row.theirs)}, times better {number(row.ratio.median)} "
            f"({number(row.ratio.low)} to {number(row.ratio.high)}), target {number(row.target)}"
        )
    if row.note:
        parts.append(row.note)
    return "; ".join(parts)


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
