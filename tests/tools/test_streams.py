"""`fastmlp train --stream` and `predict --stream`: tables that are read while they are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fastmlp import Network

from .conftest import Run

pytest.importorskip("pyarrow")
ROWS = 3000


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    """Two Parquet files with columns of very different sizes."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.uniform(30, 200, ROWS), "age": rng.integers(0, 80, ROWS)})
    frame["code"], frame["owner"] = 7, [f"owner {i}" for i in range(ROWS)]
    frame["price"] = 1000 * frame["size"] - 500 * frame["age"]
    frame["kind"] = np.where(frame["price"] > 90_000, "large", "small")
    for number in range(2):
        part = frame.iloc[number * ROWS // 2 : (number + 1) * ROWS // 2]
        part.to_parquet(tmp_path / f"{number}.parquet", index=False)
    return tmp_path


def train(run: Run, houses: Path, *options: Any) -> Any:
    return run(
        "train", "--stream", "--data", houses / "*.parquet", "--quiet", "--hidden", "16",
        "--epochs", "12", "--drop", "owner", *options,
    )  # fmt: skip


@pytest.mark.nojit
def test_numbers_are_predicted_in_their_own_unit(run: Run, houses: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    done = train(
        run, houses, "--target", "price", "--drop", "kind", "--save", saved, "--json", "-"
    )  # fmt: skip
    assert done.code == 0
    figures = json.loads(done.out)
    assert figures["test_r2"] > 0.98
    assert figures["test_rmse"] < 8000
    assert f"{houses / '*.parquet'}: 2" in done.err
    network = Network.load(saved)
    assert network.feature_names == ("size", "age", "code")
    frame = pd.read_parquet(houses / "1.parquet")
    predicted = network.predict(frame[list(network.feature_names)])
    assert np.corrcoef(predicted, frame["price"])[0, 1] > 0.99
    found = run("predict", saved, "--stream", "--data", houses / "1.parquet").table()
    assert found["prediction"].to_numpy() == pytest.approx(predicted, rel=1e-4)


def test_classes_are_found_in_the_whole_table(run: Run, houses: Path, tmp_path: Path) -> None:
    saved, folder = tmp_path / "net.safetensors", tmp_path / "run"
    options = "--target", "kind", "--drop", "price", "--checkpoint", folder, "--save", saved
    done = train(run, houses, *options)
    assert done.code == 0
    assert float(done.figure("test accuracy").rstrip("%")) > 95
    again = train(run, houses, *options, "--resume")
    assert again.figure("test accuracy") == done.figure("test accuracy")
    table = run(
        "predict", saved, "--stream", "--probabilities", "--data", houses / "0.parquet"
    ).table()
    assert list(table.columns) == ["prediction", "probability_large", "probability_small"]


def test_no_recipe_may_be_said_and_targets_are_not_read(
    run: Run, houses: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "net.safetensors"
    options = "--target", "kind", "--drop", "price", "--recipe", "none", "--save", saved
    assert train(run, houses, *options).code == 0
    network = Network.load(saved)
    network.feature_names = None
    network.save(saved)
    data = "--data", houses / "0.parquet"
    found = run("predict", saved, "--stream", *data, "--target", "kind, price, owner")
    assert len(found.table()) == ROWS // 2
    refused = run("predict", saved, "--stream", *data, "--separator", ";")
    assert "--separator: expected a table in memory, got --stream" in refused.err


def test_arrays_have_no_names(run: Run, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(400, 2))
    X[:, 1] = 0.1
    np.savez(tmp_path / "a.npz", X=X, y=np.where(X[:, 0] > 0, "yes", "no"))
    options = "--stream", "--data", tmp_path / "a.npz"
    saved = tmp_path / "net.safetensors"
    done = run("train", *options, "--target", "y", "--epochs", "20", "--quiet", "--save", saved)
    assert float(done.figure("test accuracy").rstrip("%")) > 90
    network = Network.load(saved)
    assert (network.layers[0].W[1] == 0).all()  # type: ignore[attr-defined]


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--target", "price"),
            "expected columns of numbers, got 'kind' (large_string); write them as numbers, or "
            "leave them out (--drop, or drop in Python)",
        ),
        (
            ("--target", "price", "--recipe", "realmlp"),
            "--recipe: expected a table in memory, got --stream; leave one of the two out",
        ),
        ((), "--stream: expected --target COLUMN with it, got none; name the column"),
        (
            ("--target", "price", "--data", "digits"),
            "--stream: expected the name of a file, a folder or a pattern, got 'digits'; pass one",
        ),
    ],
)
def test_what_cannot_be_streamed_is_refused(
    options: tuple[str, ...], message: str, run: Run, houses: Path
) -> None:
    done = train(run, houses, *options)
    assert done.code == 2
    assert message in done.err
