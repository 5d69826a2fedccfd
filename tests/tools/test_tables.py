"""Tables of mixed columns on the command line: training by recipes, evaluating, predicting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import get_scorer_names

from fastmlp import Network, TabularClassifier, TabularRegressor
from fastmlp.estimators.tabular.metrics import compares_numbers
from fastmlp.tabular.files import Training, load_mixed
from fastmlp.tabular.preparation import Preparation
from fastmlp.training import fit as training

from .conftest import Done, Run

N = 160
QUICK = ("--hidden", "8", "--epochs", "4", "--quiet")
ONE = ("--validation", "0.15")


def houses() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    built = pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(0, 25_000, N), "D")
    frame = pd.DataFrame({
        "size": rng.uniform(30, 200, N).round(1),
        "town": rng.choice(["Bonn", "Ulm"], N),
        "built": built.strftime("%Y-%m-%d"),
        "garden": rng.random(N) < 0.5,
        "zip": np.where(np.arange(N) % 8 == 0, "A1", "0100"),
    })  # fmt: skip
    frame["price"] = (frame["size"] * np.where(frame["town"] == "Ulm", 9, 12)).round(2) + 0.5
    frame["cheap"] = np.where(frame["price"] < 900, "yes", "no")
    frame.loc[::7, "size"] = np.nan
    frame.loc[::9, "town"] = None
    return frame


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    houses().drop(columns="cheap").to_csv(path := tmp_path / "prices.csv", index=False)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    houses().drop(columns="price").to_csv(path := tmp_path / "labels.csv", index=False)
    return path


def trained(run: Run, *arguments: str | Path) -> Done:
    done = run("train", *QUICK, *arguments)
    assert (done.code, done.err) == (0, "")
    return done


@pytest.mark.nojit
def test_a_table_as_it_is_trains_by_the_recipe(run: Run, prices: Path, tmp_path: Path) -> None:
    saved, figures = tmp_path / "m.safetensors", tmp_path / "f.json"
    done = trained(
        run, "--data", prices, "--target", "price", "--save", saved, "--json", figures, *ONE
    )
    assert done.out.splitlines()[:2] == [
        "prices: 112 training, 24 validation and 24 test rows of 5 columns",
        "          note  'zip' is taken as text with 2 different values, because 20 of 160 cells "
        "cannot be read as a number (the first in row 1)",
    ]
    assert done.figure("recipe").startswith("realmlp-piecewise, ")
    content, model = json.loads(figures.read_text()), TabularRegressor.load(saved)
    assert content["epochs"] == model.n_iter_ == 4
    assert len(content["histories"]) == content["networks"] == 1
    kinds = [plan.kind for plan in model.preparation_.plans]
    assert kinds == ["numbers", "texts", "times", "texts", "texts"]

    evaluated = run("evaluate", saved, "--data", prices, "--json", figures)
    assert evaluated.out.splitlines()[0] == (
        "prices: 24 rows (the test part, held out of the training on 160 rows)"
    )
    again = json.loads(figures.read_text())
    for key in ("test_rmse", "test_r2"):
        assert again[key] == pytest.approx(content[key])
    frame = houses().drop(columns=["price", "cheap"])
    frame["built"] = pd.to_datetime(frame["built"])
    found = run("predict", saved, "--data", prices).table()
    np.testing.assert_allclose(found["prediction"], model.predict(frame), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "n"), [((), 4), (("--folds", "3"), 3), (ONE, 1), (("--members", "2", *ONE), 2)]
)
def test_classes_and_more_networks(
    run: Run, labels: Path, tmp_path: Path, options: tuple[str, ...], n: int
) -> None:
    saved, figures = tmp_path / "m.safetensors", tmp_path / "f.json"
    done = trained(
        run, "--data", labels, "--target", "cheap", "--metric", "log_loss", "--save", saved,
        "--json", figures, *options,
    )  # fmt: skip
    model = TabularClassifier.load(saved)
    assert len(model.networks_) == n
    assert model.metric == "log_loss"
    assert done.out.startswith(
        "labels: 112 training, 24 val" if ONE[0] in options else "labels: 136 training, 24 test"
    )
    content = json.loads(figures.read_text())
    evaluated = run("evaluate", saved, "--data", labels)
    assert float(evaluated.figure("loss")) == pytest.approx(content["test_loss"], rel=1e-3)
    assert float(evaluated.figure("accuracy")) == pytest.approx(content["test_accuracy"], rel=1e-3)
    table = run("predict", saved, "--data", labels, "--probabilities").table()
    shares = table[["probability_no", "probability_yes"]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert (table["prediction"] == np.array(["no", "yes"])[shares.argmax(axis=1)]).all()


def test_new_rows_are_read_as_those_of_training(run: Run, prices: Path, tmp_path: Path) -> None:
    """Codes that look like numbers stay codes; columns go by name, and others are not read."""
    saved, new = tmp_path / "m.safetensors", tmp_path / "new.csv"
    trained(run, "--data", prices, "--target", "price", "--save", saved)
    frame = houses().drop(columns=["price", "cheap"]).iloc[1:6]
    assert set(frame["zip"]) == {"0100"}
    expected = run("predict", saved, "--data", prices).table()["prediction"].iloc[1:6]
    frame.iloc[:, ::-1].assign(more="x").to_csv(new, index=False)
    found = run("predict", saved, "--data", new).table()["prediction"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    frame.assign(built="last year").to_csv(new, index=False)
    done = run("predict", saved, "--data", new)
    assert (done.code, done.err) == (
        2,
        f"fastmlp: {new}: expected dates in the column 'built', as in training, got other text; "
        "write them as 2026-01-31\n",
    )


def test_options_reach_the_estimator(run: Run, labels: Path, tmp_path: Path) -> None:
    saved = tmp_path / "m.safetensors"
    trained(
        run, "--data", labels, "--target", "cheap", "--recipe", "realmlp-simple", "--batch-size",
        "32", "--learning-rate", "0.03", "--time-limit", "100", "--threads", "1", "--seed", "5",
        "--class-weight", "yes=3", "--dropout", "0.2", "--weight-decay", "0.01", "--drop", "zip",
        "--save", saved,
    )  # fmt: skip
    model = TabularClassifier.load(saved)
    found = model.get_params()
    expected = {
        "recipe": "realmlp-simple", "batch_size": 32, "learning_rate_init": 0.03,
        "time_limit": 100.0, "n_threads": 1, "random_state": 5, "hidden_layer_sizes": [8],
        "max_iter": 4, "dropout": 0.2, "weight_decay": 0.01,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert model.preparation_.names == ("size", "town", "built", "garden")


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_other_kinds_of_tables(run: Run, prices: Path, tmp_path: Path, suffix: str) -> None:
    frame, other = pd.read_csv(prices, dtype={"zip": str}), tmp_path / f"prices{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(other)
    else:
        frame.to_csv(other, sep="\t", index=False)
    saved = tmp_path / "m.safetensors"
    first = trained(run, "--data", prices, "--target", "price", "--save", saved)
    second = trained(run, "--data", other, "--target", "price")
    assert first.figure("test RMSE") == second.figure("test RMSE")
    assert run("evaluate", saved, "--data", other, "--rows", "test").code == 0


@pytest.mark.parametrize("target", ["price", "cheap"])
def test_plot_writes_a_picture(
    run: Run, prices: Path, labels: Path, tmp_path: Path, target: str
) -> None:
    path = prices if target == "price" else labels
    done = trained(run, "--data", path, "--target", target, "--plot", tmp_path / "a.png")
    assert done.figure("picture") == str(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "options",
    [("--loss", "huber"), ("--activation", "tanh"), ("--recipe", "none", "--optimizer", "sgd")],
)
def test_a_network_of_ones_own_takes_numbers_only(
    run: Run, prices: Path, options: tuple[str, ...]
) -> None:
    done = run("train", *QUICK, "--data", prices, "--target", "price", *options)
    assert done.code == 2
    assert "expected numbers in every row of all feature columns" in done.err


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (
        ("--optimizer", "sgd", "--members", "2"),
        "--optimizer: expected no option of a recipe, such as --members, got both; "
        "leave one of the two out",
    ),
    (
        ("--activation", "tanh", "--recipe", "realmlp"),
        "--activation: expected no option of a recipe, such as --recipe realmlp, got both; "
        "leave one of the two out",
    ),
    (
        ("--recipe", "none", "--time-limit", "3"),
        "--recipe none: expected no option of a recipe, such as --time-limit, got both; "
        "leave one of the two out",
    ),
    (
        ("--target", "price"),
        "load_table: expected one or more different targets, got 2 names, 1 of them different; "
        "name each once",
    ),
    (
        ("--data", "digits", "--folds", "3"),
        "--folds: expected a table with named columns, got 'digits'; pass CSV or Parquet",
    ),
    (
        ("--members", "0"),
        "--members: expected it to be a whole number of at least 1, got 0; choose a larger one",
    ),
    (
        ("--folds", "1"),
        "--folds: expected it to be a whole number of at least 2, got 1; choose a larger one",
    ),
    (
        ("--folds", "3", *ONE),
        "--folds: expected no --validation, got both; leave one of the two out",
    ),
    (
        ("--time-limit", "0"),
        "--time-limit: expected it to be a number above 0, got 0; choose a value in that range",
    ),
]  # fmt: skip


@pytest.mark.nojit
@pytest.mark.parametrize(("options", "text"), REFUSED)
def test_options_that_are_refused(
    run: Run, prices: Path, options: tuple[str, ...], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*arguments: Any) -> None:
        raise AssertionError("training has begun")

    monkeypatch.setattr(training, "Run", trained)
    target = () if "digits" in options else ("--target", "price")
    done = run("train", "--data", prices, *target, *options)
    assert (done.code, done.err) == (2, f"fastmlp: {text}\n")


TABLES: list[tuple[str, str]] = [
    ("a,y\n", "expected at least one row, got none; add rows below the header"),
    ("y\n1\n2\n", "expected a feature column, got only the target; add features"),
    (
        'a,y\n"1,234.5",1\n"2,345.5",2\n',
        "expected labels or plain numbers in the column 'a', got numbers with commas or points "
        "in them; pass the mark as thousands (--thousands)",
    ),
]  # fmt: skip


@pytest.mark.nojit
@pytest.mark.parametrize(("content", "text"), TABLES)
def test_tables_that_are_refused(run: Run, tmp_path: Path, content: str, text: str) -> None:
    (path := tmp_path / "t.csv").write_text(content)
    done = run("train", "--data", path, "--target", "y")
    assert done.code == 2
    assert done.err.startswith(f"fastmlp: {path}: {text[:60]}")


@pytest.mark.nojit
def test_dates_that_are_not_iso_stay_text(run: Run, prices: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(prices)
    frame["built"] = pd.to_datetime(frame["built"]).dt.strftime("%d.%m.%Y")
    frame.to_csv(prices, index=False)
    done = trained(run, "--data", prices, "--target", "price", "--epochs", "1", *ONE)
    assert "note  'built' is read as text; to have dates, write them as 2026-01-31" in done.out


@pytest.mark.parametrize("is_trace", [False, True])
def test_an_estimator_is_not_a_network(
    run: Run, prices: Path, tmp_path: Path, is_trace: bool
) -> None:
    saved = tmp_path / "m.safetensors"
    trained(run, "--data", prices, "--target", "price", "--save", saved)
    if is_trace:
        done = run("trace", "--data", prices, "--model", saved)
        assert done.err == (
            f"fastmlp: Network.load({str(saved)!r}): expected the file of a network, "
            "got one of a TabularRegressor; use TabularRegressor.load\n"
        )
    else:
        done = run("predict", saved, "--data", prices, "--probabilities")
        assert done.err == (
            "fastmlp: --probabilities: expected a model for classes, got one for numbers; omit it\n"
        )
    assert done.code == 2
    assert run("predict", saved, "--data", "digits").err == (
        "fastmlp: --data: expected a table with the columns of training, got 'digits'; "
        "pass CSV or Parquet\n"
    )


@pytest.mark.parametrize("epoch", [1, 3])
def test_ctrl_c(
    run: Run, prices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    """Before the end of the first epoch nothing is written; later, what was learnt."""
    from fastmlp.engine.engine import Engine

    calls, train = iter(range(1, 100)), Engine.train

    def interrupted(*arguments: Any, **more: Any) -> Any:
        if next(calls) == epoch:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    monkeypatch.setattr(Engine, "train", interrupted)
    saved = tmp_path / "m.safetensors"
    command: tuple[str | Path, ...] = ("--data", prices, "--target", "price", "--save", saved)
    done = run("train", "--hidden", "8", "--epochs", "6", *ONE, *command)
    if epoch == 1:
        assert (done.code, done.err.splitlines()[-1]) == (130, "fastmlp: interrupted")
        assert not saved.exists()
    else:
        assert done.code == 0
        assert "(interrupted)" in done.figure("training")
        assert TabularRegressor.load(saved).n_iter_ < 6


def test_rows_of_a_model_trained_in_folds(run: Run, labels: Path, tmp_path: Path) -> None:
    saved = tmp_path / "m.safetensors"
    trained(run, "--data", labels, "--target", "cheap", "--save", saved)
    for rows, n in (("test", 24), ("training", 136), ("all", 160)):
        done = run("evaluate", saved, "--data", labels, "--rows", rows)
        assert done.out.startswith(f"labels: {n} rows")
    done = run("evaluate", saved, "--data", labels, "--rows", "validation")
    assert (done.code, done.err) == (
        2,
        "fastmlp: --rows: expected a model with rows for its validation, got one trained in folds; "
        "choose other rows\n",
    )


@pytest.mark.parametrize("gaps", [(True, False), (False, True)])
def test_truth_is_truth_with_gaps_and_without(
    run: Run, tmp_path: Path, gaps: tuple[bool, bool]
) -> None:
    saved, answers = tmp_path / "m.safetensors", []
    truth = np.where(np.arange(40) % 3 == 0, "TRUE", "false").astype(object)
    for has_gaps in gaps:
        column = truth.copy()
        if has_gaps:
            column[5::7] = ""
        table = pd.DataFrame({"t": column, "x": np.arange(40) % 5, "y": (truth == "TRUE") + 0.5})
        table.to_csv(path := tmp_path / f"{has_gaps}.csv", index=False)
        if not saved.exists():
            trained(run, "--data", path, "--target", "y", "--save", saved)
        answers.append(run("predict", saved, "--data", path).table()["prediction"].to_numpy())
    known = np.ones(40, bool)
    known[5::7] = False
    np.testing.assert_allclose(answers[0][known], answers[1][known], rtol=1e-6)


@pytest.mark.parametrize("is_network", [False, True])
def test_a_file_is_read_as_that_of_training(run: Run, tmp_path: Path, is_network: bool) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(1_000, 9_000, 60)
    table = pd.DataFrame({"a": [f"{n:,}" for n in numbers], "y": numbers + 0.5})
    table.to_csv(path := tmp_path / "t.csv", index=False, sep="~")
    saved = tmp_path / "m.safetensors"
    dialect = ("--thousands", ",", "--separator", "~")
    more = ("--recipe", "none") if is_network else ONE
    done = trained(run, "--data", path, "--target", "y", *dialect, *more, "--save", saved)
    evaluated = run("evaluate", saved, "--data", path)
    assert float(evaluated.figure("rmse")) == pytest.approx(
        float(done.figure("test RMSE")), rel=1e-3
    )
    expected = run("predict", saved, "--data", path)
    assert len(expected.table()) == 60
    assert run("predict", saved, "--data", path, *dialect).out == expected.out
    # Other kinds of files are not written so, and other marks of numbers replace both.
    plain = pd.DataFrame({"a": numbers, "y": table["y"]})
    plain.to_parquet(other := tmp_path / "t.parquet")
    assert run("predict", saved, "--data", other).out == expected.out
    table["a"] = table["a"].str.replace(",", ".")
    table.to_csv(path, index=False, sep=";")
    done = run("predict", saved, "--data", path, "--separator", ";", "--decimal", ",")
    assert (done.code, done.err.count("'a'")) == (2, 1)
    dialect = ("--thousands", ".", "--separator", ";")
    assert run("predict", saved, "--data", path, *dialect).out == expected.out


@pytest.mark.parametrize(("n", "guess"), [(3, "3 classes"), (30, "numbers")])
def test_the_metric_decides_what_whole_numbers_are(
    run: Run, tmp_path: Path, n: int, guess: str
) -> None:
    frame = pd.DataFrame({"a": np.arange(90.0), "y": np.arange(90) % n})
    frame.to_csv(path := tmp_path / "t.csv", index=False)
    command = ("--data", path, "--target", "y", "--epochs", "1", *ONE)
    done = trained(run, *command)
    other = "classes, pass --metric error" if n > 20 else "numbers, pass --metric rmse"
    assert f"note  the target 'y' is taken as {guess}; for {other}\n" in done.out
    for metric, label in (
        ("rmse", "test RMSE"), ("mae", "test RMSE"), ("r2", "test RMSE"),
        ("neg_max_error", "test RMSE"), ("error", "test accuracy"), ("auc", "test accuracy"),
        ("accuracy", "test accuracy"),
    ):  # fmt: skip
        done = trained(run, *command, "--metric", metric)
        assert done.figure(label)
        assert "note" not in done.out
    done = trained(run, *command, "--activation", "tanh")
    name = "softmax_cross_entropy" if n > 20 else "mean_squared_error"
    assert f"is taken as {guess}; for {other.split(',')[0]}, pass --loss {name}\n" in done.out
    assert (
        "note  a network of layers, because of --activation; without it, a recipe would train\n"
    ) in done.out


@pytest.mark.nojit
def test_every_scorer_is_of_numbers_or_of_classes() -> None:
    of_numbers = {name for name in get_scorer_names() if compares_numbers(name)}
    assert {"r2", "neg_mean_squared_error", "explained_variance"} <= of_numbers
    parts = ("error", "r2", "variance", "deviance")
    assert all(any(part in name for part in parts) for name in of_numbers)
    assert not any("error" in name for name in set(get_scorer_names()) - of_numbers)
    assert [compares_numbers(name) for name in ("pinball", "brier", "nothing")] == [
        True, False, None,
    ]  # fmt: skip


def test_integers_as_names_of_columns(run: Run, prices: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(prices, dtype={"zip": str})
    frame.columns = pd.Index([7, 3, 5, 1, 2, 9])
    frame.to_parquet(path := tmp_path / "t.parquet")
    saved = tmp_path / "m.safetensors"
    for more in ONE, ("--recipe", "none", "--drop", "3,5,1,2"):
        frame[7] = frame[7].fillna(100)
        frame.to_parquet(path)
        trained(run, "--data", path, "--target", "9", *more, "--save", saved)
        expected = run("predict", saved, "--data", path).out
        frame.iloc[:, ::-1].to_parquet(other := tmp_path / "other.parquet")
        assert run("predict", saved, "--data", other).out == expected


@pytest.mark.nojit
def test_a_table_is_prepared_once(
    run: Run, prices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, transform = list[int](), Preparation.transform

    def counted(self: Preparation, where: str, frame: Any) -> Any:
        sizes.append(frame.n_rows)
        return transform(self, where, frame)

    monkeypatch.setattr(Preparation, "transform", counted)
    saved, picture = tmp_path / "m.safetensors", tmp_path / "a.png"
    trained(run, "--data", prices, "--target", "price", "--save", saved, "--plot", picture, *ONE)
    assert sizes == [112, 24, 160]  # training and validation rows by the fit, then the table
    sizes.clear()
    assert run("evaluate", saved, "--data", prices).code == 0
    assert sizes == [160]


@pytest.mark.nojit
@pytest.mark.parametrize("recipe", [(), ("--recipe", "none", "--drop", "town,built,zip,size")])
@pytest.mark.parametrize("weights", ["balanced", "yes=3"])
def test_class_weights_count_in_validation(
    run: Run, labels: Path, monkeypatch: pytest.MonkeyPatch, recipe: tuple[str, ...], weights: str
) -> None:
    found, fit = list[Any](), Network.fit

    def watched(self: Network, X: Any, y: Any, **options: Any) -> Any:
        found.append((y, options["sample_weight"], options["validation_data"]))
        return fit(self, X, y, **options)

    monkeypatch.setattr(Network, "fit", watched)
    trained(run, "--data", labels, "--target", "cheap", "--class-weight", weights, *ONE, *recipe)
    (y, of_rows, (_, y_val, of_val)), *_ = found
    pairs = {(label, round(weight, 9)) for label, weight in zip(y, of_rows, strict=True)}
    assert len(pairs) == 2
    assert {(a, round(b, 9)) for a, b in zip(y_val, of_val, strict=True)} == pairs


@pytest.mark.nojit
@pytest.mark.parametrize("written", [{}, {"sep": ";", "decimal": ","}])
def test_one_empty_cell_does_not_rename_the_other_categories(
    run: Run, tmp_path: Path, written: dict[str, str]
) -> None:
    """pandas writes a column of whole numbers as 1.0 if one is missing."""
    frame = pd.DataFrame({"code": np.arange(60) % 5, "x": np.arange(60) % 7})
    model = TabularRegressor(
        max_iter=1, hidden_layer_sizes=[4], categorical_features=["code"], random_state=0
    ).fit(frame, np.arange(60) % 5 + 0.5)
    model.save(saved := tmp_path / "m.safetensors")
    expected = model.predict(frame)
    frame = frame.astype(float)
    frame.loc[3, "code"] = np.nan
    frame.to_csv(path := tmp_path / "t.csv", index=False, **written)
    found = run("predict", saved, "--data", path).table()["prediction"]
    np.testing.assert_allclose(found.drop(3), np.delete(expected, 3), rtol=1e-12)
    assert found[3] != pytest.approx(expected[3], rel=1e-6)


def mostly(cells: list[str], odd: str, at: int) -> list[str]:
    return [*cells[:at], odd, *cells[at + 1 :]]


NUMBERS = [f"{i}.5" for i in range(40)]
DATES = [f"2020-01-{i % 28 + 1:02}" for i in range(40)]
NOTES: list[tuple[list[str], str]] = [
    (mostly(NUMBERS, "SECRET", 4), "1 of 40 cells cannot be read as a number (the first in row 5)"),
    (
        mostly([cell.replace(".", ",") for cell in NUMBERS], "SECRET", 4),
        "1 of 40 cells cannot be read as a number (the first in row 5)",
    ),
    (
        mostly(mostly(DATES, "SECRET", 6), "SECRET", 9),
        "2 of 40 cells cannot be read as a date such as 2026-01-31 (the first in row 7)",
    ),
    (
        mostly(DATES, "2020-02-30", 6),
        "1 of 40 cells cannot be read as a date such as 2026-01-31 (the first in row 7)",
    ),
]


@pytest.mark.nojit
@pytest.mark.parametrize(("cells", "text"), NOTES)
def test_columns_that_are_mostly_numbers_or_dates_are_named(
    tmp_path: Path, cells: list[str], text: str
) -> None:
    table = pd.DataFrame({"a": cells, "b": ["x", "z"] * 20, "y": np.arange(40.0)})
    table.to_csv(path := tmp_path / "t.csv", index=False)
    found = load_mixed(path, "y")
    n = len(set(cells))
    assert found.notes == (f"'a' is taken as text with {n} different values, because {text}",)
    assert found.frame["a"].nunique() == n


@pytest.mark.nojit
def test_dates_in_another_form_are_named_in_spite_of_an_odd_cell(tmp_path: Path) -> None:
    cells = mostly([f"{i % 28 + 1:02}.01.2020" for i in range(40)], "SECRET", 4)
    table = pd.DataFrame({"a": cells, "y": np.arange(40.0)})
    table.to_csv(path := tmp_path / "t.csv", index=False)
    note = "'a' is read as text; to have dates, write them as 2026-01-31"
    assert load_mixed(path, "y").notes == (note,)


@pytest.mark.nojit
@pytest.mark.parametrize("recipe", [(), ("--recipe", "none")])
def test_a_target_that_is_mostly_numbers_is_named(
    run: Run, tmp_path: Path, recipe: tuple[str, ...]
) -> None:
    table = pd.DataFrame({"a": np.arange(40.0), "y": mostly(NUMBERS, "SECRET", 4)})
    table.to_csv(path := tmp_path / "t.csv", index=False)
    done = run("train", "--data", path, "--target", "y", *recipe)
    assert done.code == 2
    assert "expected each of 40 classes among the training rows" in done.err
    assert (
        "note  'y' is taken as text with 40 different values, because 1 of 40 cells cannot be read "
        "as a number (the first in row 5)\n"
    ) in done.out


@pytest.mark.nojit
def test_numbers_that_parquet_has_as_text_are_named(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": NUMBERS, "y": np.arange(40.0)})
    table.to_parquet(path := tmp_path / "t.parquet")
    assert load_mixed(path, "y").notes == (
        "'a' is taken as text with 40 different values, although each cell looks like a number: "
        "the file has them as text",
    )


@pytest.mark.nojit
def test_a_file_is_read_once_for_all_columns_of_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pd.DataFrame({"a": ["007"] * 8, "b": ["1"] * 8, "y": ["0", "1"] * 4})
    table.to_csv(path := tmp_path / "t.csv", index=False)
    read, whole = pd.read_csv, list[bool]()

    def counted(*arguments: Any, **options: Any) -> Any:
        whole.append("nrows" not in options)
        return read(*arguments, **options)

    monkeypatch.setattr(pd, "read_csv", counted)
    training = Training({"a": "texts", "b": "texts"}, has_text_labels=True)
    found = load_mixed(path, "y", training=training)
    assert sum(whole) == 1
    assert found.frame["a"].tolist() == ["007"] * 8
    assert found.y.tolist() == ["0", "1"] * 4


def test_unseen_labels_are_refused(run: Run, labels: Path, tmp_path: Path) -> None:
    saved = tmp_path / "m.safetensors"
    trained(run, "--data", labels, "--target", "cheap", "--save", saved)
    frame = pd.read_csv(labels)
    frame.loc[3, "cheap"] = "perhaps"
    frame.to_csv(labels, index=False)
    done = run("evaluate", saved, "--data", labels)
    assert (done.code, done.err) == (
        2,
        "fastmlp: --data: expected only labels seen in fit, got 1 unseen label; "
        "fit on data that holds every class\n",
    )
