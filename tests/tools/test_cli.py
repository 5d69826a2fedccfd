"""The command line: what each command prints and writes, and how it refuses.

Most runs are calls of `cli.main` in this process; a few are separate processes, for signals, pipes
and exit codes.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import InputError, Network, datasets, to_onnx
from fastmlp.datasets import mnist
from fastmlp.engine.engine import Engine
from fastmlp.io import files
from fastmlp.kernels.compiler import jit
from fastmlp.kernels.step import outputs, step
from fastmlp.nn import ACTIVATIONS, LAYERS
from fastmlp.nn.losses import LOSSES
from fastmlp.optim.optimizers import OPTIMIZERS
from fastmlp.optim.schedules import SCHEDULES
from fastmlp.serving import evaluation
from fastmlp.tools import cli, gradient_check
from fastmlp.training import fit as training

from .conftest import Done, Run

pytestmark = pytest.mark.thinned(12)

ROOT = Path(fastmlp.__file__).parents[1]
COMMANDS = ("train", "evaluate", "predict", "trace", "check-gradients", "reference", "warmup")
HISTORY = ("loss", "validation_loss", "validation_score", "learning_rate", "seconds")


@pytest.fixture
def fit(run: Run, tmp_path: Path) -> Callable[..., tuple[Done, dict[str, Any]]]:
    """Train quietly, by no recipe unless asked to, and give the figures that --json wrote too."""

    def call(*arguments: str | Path) -> tuple[Done, dict[str, Any]]:
        path = tmp_path / "figures.json"
        recipe = () if "--recipe" in arguments else ("--recipe", "none")
        done = run("train", "--quiet", "--json", path, *recipe, *arguments)
        assert (done.code, done.err) == (0, "")
        return done, json.loads(path.read_text())

    return call


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """Irises with a text target between the features."""
    bunch = load_iris(as_frame=True)
    frame = bunch.data.copy()
    frame.columns = ["sepal length", "sepal width", "petal length", "petal width"]
    frame.insert(2, "kind", bunch.target_names[bunch.target])
    frame.to_csv(path := tmp_path / "iris.csv", index=False)
    return path


@pytest.fixture
def diabetes(tmp_path: Path) -> Path:
    """Measurements in their own units, and how far the illness is a year later."""
    frame = load_diabetes(as_frame=True, scaled=False).frame
    frame.to_csv(path := tmp_path / "diabetes.csv", index=False)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Forty rows whose target, 0 or 1, suits every loss."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(path := tmp_path / "tiny.npz", X=X, y=(X[:, 0] > 0).astype(int))
    return path


@pytest.fixture
def model(fit: Any, tiny: Path, tmp_path: Path) -> Path:
    """A network for `tiny`, ready to predict."""
    fit("--data", tiny, "--hidden", "4", "--epochs", "2", "--save", tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def held_out(path: Path, target: str, **options: Any) -> tuple[datasets.Split, tuple[str, ...]]:
    """The parts that train makes of a table, which it says nothing about."""
    data = datasets.load_table(path, target, **options)
    assert data.feature_names is not None
    return data.split(0.15, random_state=0), data.feature_names


def as_csv(path: Path, names: tuple[str, ...], X: np.ndarray, **more: Any) -> Path:
    frame = pd.DataFrame(X.astype(float), columns=list(names)).assign(**more)
    frame.to_csv(path, index=False)
    return path


# Training ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_alone_learns_the_digits(run: Run) -> None:
    done = run("train")
    assert done.code == 0
    first = "digits: 1257 training, 270 validation and 270 test rows of 64 columns"
    assert done.out.splitlines()[0] == first
    assert done.figure("network") == "64-256-10, 19,210 parameters"
    assert done.figure("training").startswith("60 epochs in ")
    assert float(done.figure("test accuracy").removesuffix("%")) >= 97
    assert "60/60" in done.err  # the progress bar


def test_json_holds_figures_and_history(fit: Any, tmp_path: Path) -> None:
    done, figures = fit("--epochs", "7")
    assert done.err == ""
    wanted = {"test_accuracy", "test_loss", "train_seconds", "epochs", "parameters", "history"}
    assert set(figures) == wanted
    assert (figures["epochs"], figures["parameters"]) == (7, 19_210)
    assert {key for key, value in figures["history"].items() if isinstance(value, list)} == set(
        HISTORY
    )
    assert [len(figures["history"][key]) for key in HISTORY] == [7] * 5
    assert figures["history"]["stopped"] == "finished"
    assert figures["train_seconds"] >= sum(figures["history"]["seconds"]) > 0
    assert done.figure("test accuracy") == f"{figures['test_accuracy']:.2%}"
    assert done.figure("figures") == str(tmp_path / "figures.json")


def test_one_epoch_is_singular(fit: Any) -> None:
    assert fit("--epochs", "1")[0].figure("training").startswith("1 epoch in ")


def test_regression_absorbs_the_scale_of_the_columns(
    fit: Any, run: Run, diabetes: Path, tmp_path: Path
) -> None:
    saved, scores = tmp_path / "net.safetensors", tmp_path / "scores.json"
    done, figures = fit("--data", diabetes, "--target", "target", "--save", saved)
    split, names = held_out(diabetes, "target")
    assert figures["test_rmse"] < split.y_test.std()
    assert figures["test_r2"] > 0
    assert done.figure("test RMSE") == f"{figures['test_rmse']:.4g}"
    assert done.figure("test R2") == f"{figures['test_r2']:.4g}"

    raw = as_csv(tmp_path / "test.csv", names, split.X_test, target=split.y_test)
    again = run("evaluate", saved, "--data", raw, "--target", "target", "--json", scores)
    assert again.out.splitlines()[0] == (
        "test: 66 rows (all; other data than the training's 'diabetes' of 442 rows)"
    )
    evaluated = json.loads(scores.read_text())
    for key in ("test_rmse", "test_r2", "test_loss"):
        assert evaluated[key] == pytest.approx(figures[key], rel=1e-5)

    # In training the validation loss was one of standardised columns and of a standardised target.
    loss = Network.load(saved).evaluate(split.X_val, split.y_val)[0]
    standardised = figures["history"]["scaled_validation_loss"][-1]
    assert loss == pytest.approx(standardised * split.y_train.var(), rel=1e-3)


def test_columns_without_spread_are_no_trouble(fit: Any, tmp_path: Path) -> None:
    x = np.arange(60.0)
    path = as_csv(tmp_path / "flat.csv", ("x", "one"), np.stack([x, 0 * x + 5], axis=1), y=3 * x)
    _, figures = fit("--data", path, "--target", "y", "--epochs", "100")
    assert figures["test_r2"] > 0.99


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_classification_with_text_labels(fit: Any, tmp_path: Path, name: str) -> None:
    bunch = (load_iris if name == "iris" else load_wine)(as_frame=True)
    path = tmp_path / f"{name}.csv"
    bunch.data.assign(kind=bunch.target_names[bunch.target]).to_csv(path, index=False)
    saved = tmp_path / "net.safetensors"
    _, figures = fit("--data", path, "--target", "kind", "--save", saved)
    assert figures["test_accuracy"] >= 0.9
    network = Network.load(saved)
    assert network.classes_ is not None
    assert network.classes_.tolist() == sorted(bunch.target_names)
    assert network.feature_names == tuple(bunch.data.columns)


@pytest.mark.nojit
def test_several_targets(fit: Any, run: Run, diabetes: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    options = ("--hidden", "32", "--epochs", "5", "--learning-rate", "0.01", "--save", saved)
    _, figures = fit("--data", diabetes, "--target", "target,bmi", *options)
    assert set(figures) >= {"test_rmse", "test_r2"}
    table = run("predict", saved, "--data", diabetes, "--target", "target,bmi").table()
    assert table.shape == (442, 2)
    assert list(table.columns) == ["prediction_0", "prediction_1"]
    means = pd.read_csv(diabetes)[["target", "bmi"]].mean().to_numpy()
    assert table.mean().to_numpy() == pytest.approx(means, rel=0.2)


@pytest.mark.nojit
@pytest.mark.parametrize("suffix", [".tsv", ".csv.gz", ".parquet"])
def test_other_kinds_of_tables_give_the_same_network(
    fit: Any, iris: Path, tmp_path: Path, suffix: str
) -> None:
    other, frame = tmp_path / f"iris{suffix}", pd.read_csv(iris)
    if suffix == ".parquet":
        frame.to_parquet(other)
    else:
        frame.to_csv(other, sep="\t" if suffix == ".tsv" else ",", index=False)
    options = ("--target", "kind", "--hidden", "8", "--epochs", "2", "--save")
    for path, name in ((iris, "a"), (other, "b")):
        fit("--data", path, *options, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.nojit
def test_npz_names_its_target(fit: Any, tmp_path: Path) -> None:
    X = np.arange(30.0).reshape(-1, 1)
    np.savez(tmp_path / "a.npz", X=X, y=np.zeros(30, int), slope=2 * X[:, 0])
    _, figures = fit("--data", tmp_path / "a.npz", "--target", "slope", "--epochs", "2")
    assert "test_rmse" in figures


@pytest.mark.nojit
@pytest.mark.parametrize("target", ["kind", "petal length"])
def test_plot_writes_a_picture(fit: Any, iris: Path, tmp_path: Path, target: str) -> None:
    picture, data = tmp_path / "report.png", iris
    if target != "kind":
        pd.read_csv(iris).drop(columns="kind").to_csv(data := tmp_path / "n.csv", index=False)
    done, _ = fit("--data", data, "--target", target, "--epochs", "2", "--plot", picture)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    width, height = (int.from_bytes(content[i : i + 4]) for i in (16, 20))
    assert (width, height) > (800, 400)
    assert len(content) > 20_000
    assert done.figure("picture") == str(picture)
    assert not list(tmp_path.glob(".*"))


def test_no_hidden_layer(fit: Any) -> None:
    done, figures = fit("--hidden", "")
    assert done.figure("network") == "64-10, 650 parameters"
    assert figures["test_accuracy"] > 0.9


def test_several_hidden_layers_with_dropout_and_decay(fit: Any, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    options = ("--hidden", "24, 12", "--dropout", "0.25", "--weight-decay", "0.1", "--epochs", "2")
    done, _ = fit(*options, "--save", saved)
    assert done.figure("network").startswith("64-24-12-10, ")
    names = [layer.name for layer in Network.load(saved).layers]
    assert names == ["dense", "relu", "dropout"] * 2 + ["dense"]


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--activation", activation.name) for activation in ACTIVATIONS),
        *(("--loss", name) for name in LOSSES.names),
        *(("--optimizer", name) for name in OPTIMIZERS.names),
        *(("--schedule", name) for name in SCHEDULES.names),
        *(("--dtype", name) for name in ("float32", "float64")),
    ],
)
def test_every_choice_trains(fit: Any, tiny: Path, option: str, value: str) -> None:
    _, figures = fit("--data", tiny, "--hidden", "4", "--epochs", "1", option, value)
    assert figures["epochs"] == 1
    assert np.isfinite(figures["test_loss"])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS.names)
def test_each_optimizer_has_a_rate_that_learns(fit: Any, optimizer: str) -> None:
    _, figures = fit("--optimizer", optimizer, "--epochs", "15")
    assert figures["test_accuracy"] >= 0.95


@pytest.mark.nojit
def test_dropout_and_decay_change_the_result(fit: Any, tiny: Path) -> None:
    def loss(*options: str) -> float:
        _, figures = fit("--data", tiny, "--hidden", "8", "--epochs", "3", *options)
        return float(figures["test_loss"])

    values = [loss(), loss("--dropout", "0.5"), loss("--weight-decay", "1")]
    assert len(set(values)) == 3
    assert loss() == values[0]


def test_seeds_and_threads(fit: Any, tmp_path: Path) -> None:
    def weights(name: str, *options: str) -> bytes:
        path = tmp_path / f"{name}.safetensors"
        fit("--epochs", "2", "--dropout", "0.1", "--save", path, *options)
        return path.read_bytes()

    one = weights("one", "--threads", "1")
    assert weights("again", "--threads", "1") == one
    assert weights("two", "--threads", "2") == one
    assert weights("three", "--threads", "3") == one
    assert weights("other", "--seed", "1") != one
    assert weights("other again", "--seed", "1") == weights("and again", "--seed", "1")


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize(("hidden", "least"), [("32", 0.968), ("128", 0.98)])
def test_mnist(fit: Any, mnist_home: Path, hidden: str, least: float) -> None:
    options = ("--data", "mnist", "--data-home", mnist_home, "--hidden", hidden, "--epochs", "15")
    _, figures = fit(*options)
    assert figures["test_accuracy"] >= least


# Evaluating and predicting ----------------------------------------------------------------------


def test_evaluate_reads_classes_and_digits(fit: Any, run: Run, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    fit("--epochs", "5", "--save", saved)
    done = run("evaluate", saved, "--data", "digits")
    assert done.code == 0
    first = "digits: 270 rows (the test part, held out of the training on 1797 rows)"
    assert done.out.splitlines()[0] == first
    data = datasets.load_digits()
    split = data.split(0.15, random_state=0)
    score = Network.load(saved).score(split.X_test, split.y_test)
    assert done.figure("accuracy") == f"{score:.4g}"
    table = run("predict", saved, "--data", "digits").table()
    assert (table["prediction"] == data.y).mean() > 0.95


def test_evaluate_takes_the_test_rows_of_a_set_that_has_some(
    fit: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = datasets.load_digits()
    own = datasets.Dataset(digits.X, digits.y, "own", n_test=300)
    monkeypatch.setitem(datasets.DATASETS, "digits", lambda: own)
    saved = tmp_path / "net.safetensors"
    _, figures = fit("--epochs", "5", "--save", saved)
    done = run("evaluate", saved, "--data", "digits")
    first = "own: 300 rows (the test part, held out of the training on 1797 rows)"
    assert done.out.splitlines()[0] == first
    assert done.figure("accuracy") == f"{figures['test_accuracy']:.4g}"


def test_predict_matches_columns_by_name(fit: Any, run: Run, iris: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    fit("--data", iris, "--target", "kind", "--save", saved)
    frame = pd.read_csv(iris)
    with_target = run("predict", saved, "--data", iris, "--target", "kind")
    table = with_target.table()
    assert list(table.columns) == ["prediction"]
    assert (table["prediction"] == frame["kind"]).mean() > 0.9

    def predicted(changed: pd.DataFrame) -> str:
        changed.to_csv(path := tmp_path / "changed.csv", index=False)
        return run("predict", saved, "--data", path).out

    plain = frame.drop(columns="kind")
    assert predicted(plain) == with_target.out
    assert predicted(plain[plain.columns[::-1]]) == with_target.out
    assert predicted(plain.assign(number=range(150))) == with_target.out
    # What is in a column without a part in the training does not matter.
    assert predicted(frame.assign(date="2026-11-24", empty=np.nan)) == with_target.out
    numbers = run("evaluate", saved, "--data", iris, "--target", "kind")
    frame[frame.columns[::-1]].to_csv(tmp_path / "turned.csv", index=False)
    turned = run("evaluate", saved, "--data", tmp_path / "turned.csv", "--target", "kind")
    assert turned.out.splitlines()[1:] == numbers.out.splitlines()[1:]


def test_predict_adds_a_probability_for_each_class(
    fit: Any, run: Run, iris: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "net.safetensors"
    fit("--data", iris, "--target", "kind", "--save", saved)
    command = ("predict", saved, "--data", iris, "--target", "kind", "--probabilities")
    table = run(*command).table()
    kinds = ["setosa", "versicolor", "virginica"]
    assert list(table.columns) == ["prediction", *(f"probability_{kind}" for kind in kinds)]
    shares = table.iloc[:, 1:].to_numpy()
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert [kinds[i] for i in shares.argmax(axis=1)] == table["prediction"].tolist()


def test_predict_names_the_class_of_a_single_probability(
    fit: Any, run: Run, tmp_path: Path
) -> None:
    x = np.linspace(-1, 1, 60)
    path = as_csv(tmp_path / "yes.csv", ("x",), x[:, None], answer=np.where(x > 0, "yes", "no"))
    saved, loss = tmp_path / "net.safetensors", "binary_cross_entropy"
    fit("--data", path, "--target", "answer", "--loss", loss, "--save", saved)
    command = ("predict", saved, "--data", path, "--target", "answer", "--probabilities")
    table = run(*command).table()
    assert list(table.columns) == ["prediction", "probability_yes"]
    assert (table["prediction"] == np.where(table["probability_yes"] > 0.5, "yes", "no")).all()


@pytest.mark.nojit
def test_predict_several_labels(fit: Any, run: Run, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(path := tmp_path / "many.npz", X=X, y=(X[:, :2] > 0).astype(int))
    saved = tmp_path / "net.safetensors"
    fit("--data", path, "--loss", "binary_cross_entropy", "--epochs", "2", "--save", saved)
    table = run("predict", saved, "--data", path, "--probabilities").table()
    kinds = ("prediction", "probability")
    assert list(table.columns) == [f"{kind}_{j}" for kind in kinds for j in range(2)]


@pytest.mark.nojit
def test_output_is_what_would_be_printed(run: Run, model: Path, tiny: Path, tmp_path: Path) -> None:
    printed = run("predict", model, "--data", tiny)
    silent = run("predict", model, "--data", tiny, "--output", tmp_path / "out.csv")
    assert (silent.code, silent.out, silent.err) == (0, "", "")
    assert (tmp_path / "out.csv").read_text() == printed.out
    rows = list(csv.reader(io.StringIO(printed.out)))
    assert len(rows) == 41
    assert rows[0] == ["prediction"]


# Other commands ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_check_gradients_has_a_row_for_every_pair(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = gradient_check.check

    def check(case: gradient_check.Case, random_state: int = 0) -> gradient_check.Result:
        """Of some cases what it is; all are checked in tests/tools/test_gradients.py."""
        if case.depth == 1 and (case.loss == "huber" or case.layer == "tanh"):
            return compute(case, random_state)
        return gradient_check.Result(case, 0.0, 0.0)

    monkeypatch.setattr(gradient_check, "check", check)
    done = run("check-gradients", "--seed", "1")
    assert done.code == 0
    head, *rows, last = done.out.splitlines()
    assert head.split()[:2] == ["loss", "layer"]
    pairs = [tuple(row.split()[:2]) for row in rows]
    assert sorted(pairs) == sorted(
        (loss, layer) for loss in LOSSES.names for layer in LAYERS.names if layer != "dense"
    )
    assert last.startswith(f"{len(rows)} of {len(rows)} agree")


@pytest.mark.nojit
def test_check_gradients_reports_a_wrong_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(case: gradient_check.Case, random_state: int = 0) -> gradient_check.Result:
        wrong = (case.loss, case.layer, case.depth) == ("huber", "tanh", 2)
        return gradient_check.Result(case, 1e-3 if wrong else 0.0, 0.0)

    monkeypatch.setattr(gradient_check, "check", check)
    done = run("check-gradients")
    assert done.code == 1
    failed = [line for line in done.out.splitlines() if "FAILED" in line]
    assert len(failed) == 1
    assert failed[0].split()[:2] == ["huber", "tanh"]
    n_pairs = len(LOSSES.names) * (len(LAYERS.names) - 1)
    assert done.out.splitlines()[-1].startswith(f"{n_pairs - 1} of {n_pairs} agree")


@pytest.mark.slow
def test_reference_runs(run: Run) -> None:
    pytest.importorskip("mlxtend")
    done = run("reference", "--epochs", "1")
    assert (done.code, done.err) == (0, "")
    assert "published" in done.out
    assert "corrected" in done.out


@pytest.mark.slow
@pytest.mark.nojit
def test_warmup_prepares_both_types(run: Run) -> None:
    done = run("warmup")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["float32", "float64"]
    assert lines[2].startswith("compiled code is kept in ")


@pytest.mark.slow
@pytest.mark.skipif(not jit.JIT_ENABLED, reason="nothing is compiled")
def test_nothing_is_compiled_after_a_warmup(run: Run) -> None:
    """The kernels that Python calls in a fit, a prediction, and for a served row or several.

    A row may also come as a matrix of one row.
    """
    jit._only_for.cache_clear()
    assert run("warmup").code == 0
    assert jit._only_for.cache_info().currsize == 6
    for kernel in (step.train_steps, outputs.outputs_of_table):
        assert len(kernel.signatures) == 2


@pytest.mark.nojit
def test_version_and_help(run: Run) -> None:
    assert run("--version") == Done(0, f"fastmlp {fastmlp.__version__}\n", "")
    done = run("--help")
    assert (done.code, done.err) == (0, "")
    assert all(command in done.out for command in COMMANDS)


@pytest.mark.nojit
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: fastmlp {command}")


@pytest.mark.nojit
def test_help_names_every_choice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # no line is broken
    text = run("train", "--help").out
    for names in (LOSSES.names, OPTIMIZERS.names, SCHEDULES.names, datasets.DATASETS):
        assert ", ".join(names) in text
    assert ", ".join(activation.name for activation in ACTIVATIONS) in text


@pytest.mark.nojit
def test_help_tells_what_ctrl_c_does(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert (
        "Ctrl-C ends the training after the current epoch, or after two seconds if the epoch takes "
        "longer: the report says (interrupted), the requested files are written and the exit code "
        "is 0. Pressed twice, it ends immediately. Before the end of the first epoch nothing is "
        "written and the exit code is 130."
    ) in run("train", "--help").out


# Refusals ---------------------------------------------------------------------------------------


@pytest.fixture
def refuse(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command that must fail: exit code 2, one line, nothing trained, nothing written."""

    def trained(*arguments: Any) -> None:
        raise AssertionError("training has begun")

    def content() -> dict[Path, bytes | None]:
        paths = tmp_path.rglob("*")
        return {path: path.read_bytes() if path.is_file() else None for path in paths}

    def call(*arguments: str | Path) -> str:
        before = content()
        with monkeypatch.context() as patch:
            patch.setattr(training, "Run", trained)
            patch.chdir(tmp_path)
            done = run(*arguments)
        assert done.code == 2
        assert done.err.endswith("\n")
        assert len(done.err.splitlines()) == 1
        assert "Traceback" not in done.err
        assert content() == before
        return done.err.rstrip("\n")

    return call


def unheard(option: str, names: Any) -> tuple[list[str], str]:
    listed = ", ".join(names)
    text = f"fastmlp: {option}: expected one of {listed}, got 'unheard'; see fastmlp train --help"
    return [option, "unheard"], text


def out_of_range(option: str, text: str, wanted: str, advice: str) -> tuple[list[str], str]:
    return [option, text], f"fastmlp: {option}: expected it to be a {wanted}, got {text}; {advice}"


IN_RANGE = "choose a value in that range"
BAD_OPTIONS: list[tuple[list[str], str]] = [
    unheard("--activation", [activation.name for activation in ACTIVATIONS]),
    unheard("--loss", LOSSES.names),
    unheard("--optimizer", OPTIMIZERS.names),
    unheard("--schedule", SCHEDULES.names),
    unheard("--dtype", ("float32", "float64")),
    *(
        (
            ["--hidden", text],
            "fastmlp: --hidden: expected whole numbers from 1 to 999999 with commas between, "
            f"got {text!r}; write for example --hidden 64,32",
        )
        for text in ("x", "0", "-4", "3,,2", "1.5", "²", "12 8", "1000000", "9" * 5000)
    ),
    *(
        out_of_range(option, "0", "whole number of at least 1", "choose a larger one")
        for option in ("--epochs", "--batch-size", "--threads", "--members", "--early-stopping")
    ),
    out_of_range("--folds", "1", "whole number of at least 2", "choose a larger one"),
    out_of_range("--seed", "-1", "whole number of at least 0", "choose a larger one"),
    out_of_range(
        "--seed", "5000000000", "whole number of at most 4294967295", "choose a smaller one"
    ),
    *(
        (
            [option, text],
            f"fastmlp: {option}: expected a {kind}, got {text!r}; see fastmlp train --help",
        )
        for options, kind, texts in (
            (
                ("--epochs", "--batch-size", "--threads", "--seed", "--members", "--folds"),
                "whole number",
                ("many", "1.5", ""),
            ),
            (("--learning-rate", "--dropout", "--test", "--time-limit"), "number", ("many", "")),
        )
        for option in options
        for text in texts
    ),
    *(
        out_of_range(option, text, "number above 0", IN_RANGE)
        for option in ("--learning-rate", "--time-limit")
        for text in ("-1", "0", "nan", "inf")
    ),
    *(
        out_of_range("--dropout", text, "number at least 0 and below 1", IN_RANGE)
        for text in ("1", "-0.5", "nan")
    ),
    out_of_range("--weight-decay", "-1", "number at least 0", IN_RANGE),
    *(
        out_of_range(option, text, "number above 0 and below 1", IN_RANGE)
        for option in ("--validation", "--test")
        for text in ("0", "1.5", "-0.1", "nan")
    ),
    (
        ["--validation", "0.9"],
        "fastmlp: --validation: expected less than 0.85, beside 0.15 of the rows for the test, "
        "got 0.9; lower it, so that rows are left for training",
    ),
    (
        ["--decimal", "x"],
        "fastmlp: --decimal: expected one of ., ,, got 'x'; see fastmlp train --help",
    ),
    *(
        ([option], f"fastmlp: {option}: expected a value after it, got none; write {option}=VALUE")
        for option in ("--epochs", "--data", "--optimizer")
    ),
    (
        ["--e", "3"],
        "fastmlp: --e: expected one of --epochs, --early-stopping, got an abbreviation of all; "
        "write it in full",
    ),
    (
        ["--resume=yes"],
        "fastmlp: train: expected arguments as in its help, "
        "got argument --resume: ignored explicit argument 'yes'; see fastmlp train --help",
    ),
    (
        ["--save", "net.pt"],
        "fastmlp: --save: expected a file name ending in .safetensors, got 'net.pt'; "
        "change the suffix",
    ),
    (
        ["--plot", "net.txt"],
        "fastmlp: --plot: expected a file name ending in .png or .svg or .pdf, got 'net.txt'; "
        "change the suffix",
    ),
    *(
        (
            [option, f"new/net{suffix}"],
            f"fastmlp: {option}: expected an existing folder to write to, got 'new'; "
            "create it first",
        )
        for option, suffix in (("--save", ".safetensors"), ("--json", ".json"), ("--plot", ".png"))
    ),
    (
        ["--json", "."],
        "fastmlp: --json: expected the name of a file, got the folder '.'; add a file name",
    ),
    (
        ["--save", f"{'n' * 300}.safetensors"],
        "fastmlp: --save: expected the name of a file, got File name too long; choose another name",
    ),
    (
        ["--data", "digts"],
        "fastmlp: load: expected one of digits, mnist-5k, mnist, or a file named .csv, .csv.gz, "
        ".tsv, .tsv.gz, .parquet, .npz, got 'digts'; did you mean 'digits'?",
    ),
    (
        ["--data", "nowhere.csv"],
        "fastmlp: nowhere.csv: expected a table, got no such file; check the path",
    ),
    (
        ["--target", "digit"],
        "fastmlp: load: expected no target with the data set digits, got a target; "
        "leave target out: it is for tables",
    ),
    *(
        (
            [*before, argument, *after],
            f"fastmlp: train: expected options of fastmlp train, got {argument!r}; "
            "see fastmlp train --help",
        )
        for before, argument, after in (([], "--bogus", []), ([], "more", []), (["3"], "-z", ["4"]))
    ),
]


@pytest.mark.nojit
@pytest.mark.parametrize(("options", "text"), BAD_OPTIONS, ids=lambda value: str(value)[:40])
def test_train_refuses_options(refuse: Any, options: list[str], text: str) -> None:
    assert refuse("train", "--quiet", *options) == text


GAPS = "(empty cells, NA, None, null and nan are gaps)"
LEAVE = "or leave columns out (--drop, or drop in Python)"
ALL = "expected numbers in every row of all feature columns, got"
BAD_TABLES: list[tuple[str, str, str]] = [
    ("", "y", "expected a table, got an empty file; write the table again"),
    ("a,y\n", "y", "expected at least one row, got none; add rows below the header"),
    (
        "a,y\n1,2\n",
        "z",
        "expected a column named 'z', got none of that name; it has a, y",
    ),
    (
        '"price\n(EUR)",rooms\n1,2\n',
        "y",
        "expected a column named 'y', got none of that name; it has price (EUR), rooms",
    ),
    (
        "a,y\n1,0\n,1\n",
        "y",
        f"{ALL} 'a' (1 gap, the first in row 2); fill gaps or drop their rows {GAPS}, {LEAVE}",
    ),
    (
        "a,y\n1,0\n2,\n",
        "y",
        "expected a value in every row of the target column 'y', got none in row 2; "
        f"fill in or drop the rows with missing values {GAPS}",
    ),
    (
        "a,y\n1,0\n7,0\nred,1\n",
        "y",
        f"{ALL} 'a' (numbers, but text in row 3); mend the text between numbers, {LEAVE}",
    ),
    (
        f"a,y\n1,0\n1{'0' * 400},1\n",
        "y",
        "expected finite numbers within float64 in the feature column 'a', "
        "got infinity in row 2; mend or drop the row, or scale the column",
    ),
    ("y\n1\n", "y", "expected a feature column, got only the target; add features"),
]


@pytest.mark.nojit
@pytest.mark.parametrize(("content", "target", "text"), BAD_TABLES, ids=lambda value: value[:20])
def test_train_refuses_tables(
    refuse: Any, tmp_path: Path, content: str, target: str, text: str
) -> None:
    (tmp_path / "table.csv").write_text(content)
    error = refuse("train", "--recipe", "none", "--data", "table.csv", "--target", target)
    assert error == f"fastmlp: table.csv: {text}"


@pytest.mark.nojit
def test_train_asks_for_a_target(refuse: Any, iris: Path) -> None:
    assert refuse("train", "--data", iris) == (
        f"fastmlp: {iris}: expected a target column, got none; pass the name of a column as target "
        "(it has sepal length, sepal width, kind, petal length, petal width)"
    )


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("loss", "text"),
    [
        ("huber", "a target of numbers for huber, got text"),
        ("poisson_deviance", "a target of numbers for poisson_deviance, got text"),
        ("binary_cross_entropy", "a target with 2 classes for binary_cross_entropy, got 3"),
    ],
)
def test_train_refuses_losses_that_do_not_suit(
    refuse: Any, iris: Path, loss: str, text: str
) -> None:
    error = refuse("train", "--data", iris, "--target", "kind", "--loss", loss)
    assert error == f"fastmlp: --loss: expected {text}; use softmax_cross_entropy"


@pytest.mark.nojit
def test_train_refuses_classes_that_only_test_rows_have(refuse: Any, tmp_path: Path) -> None:
    """Found out after training, this would cost the trained network."""
    row, kind = np.arange(60.0), np.array(["a", "b"] * 30, object)
    split = datasets.Dataset(row[:, None], row, "rows").split(0.15, random_state=0)
    kind[int(split.X_test[0, 0])] = "rare"
    path = as_csv(tmp_path / "rare.csv", ("row",), row[:, None], kind=kind)
    assert "rare" not in held_out(path, "kind")[0].y_train
    start = "fastmlp: --target: expected each of 3 classes among the training rows, got "
    assert refuse("train", "--data", path, "--target", "kind") == (
        f"{start}2; add rows, or drop rare classes"
    )
    assert refuse("train", "--recipe", "none", "--data", path, "--target", "kind") == (
        f"{start}1 without any; add rows, drop rare classes or choose a loss for numbers"
    )


@pytest.mark.nojit
def test_outputs_are_checked_for_permission_first(
    refuse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    for option, name in (("--save", "a.safetensors"), ("--json", "a.json"), ("--plot", "a.png")):
        assert refuse("train", option, tmp_path / name) == (
            f"fastmlp: {option}: expected a folder that can be written to, got '{tmp_path}'; "
            "change its permissions or choose another one"
        )


@pytest.mark.nojit
def test_plot_asks_for_matplotlib_first(refuse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert refuse("train", "--plot", "a.png") == (
        "fastmlp: --plot: expected the package matplotlib, got none; run: pip install matplotlib"
    )


@pytest.mark.nojit
def test_mnist_offline_says_what_to_do(
    refuse: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(mnist, "MNIST_URL", f"http://127.0.0.1:{port}/mnist.arff")
    error = refuse("train", "--data", "mnist", "--data-home", tmp_path)
    assert f"expected MNIST's four idx files in {tmp_path} or a good download of" in error
    assert error.endswith("(plain or .gz) there, or use the data set digits or mnist-5k")


@pytest.mark.nojit
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_models_that_are_none(refuse: Any, tmp_path: Path, command: str) -> None:
    for name, content, text in (
        ("none.safetensors", None, "a model file, got no such file; check the path"),
        (
            "text.safetensors",
            b"not a model",
            "a model saved by fastmlp (.safetensors), got something else; "
            "pass a file that Network.save wrote",
        ),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        error = refuse(command, name, "--data", "digits")
        assert error == f"fastmlp: Network.load('{name}'): expected {text}"


@pytest.mark.nojit
def test_predict_refuses(refuse: Any, model: Path, tiny: Path, tmp_path: Path) -> None:
    assert refuse("predict", model) == (
        "fastmlp: predict: expected --data, got none; see fastmlp predict --help"
    )
    assert refuse("predict") == (
        "fastmlp: predict: expected MODEL and --data, got none; see fastmlp predict --help"
    )
    assert refuse("predict", model, "--data", tiny, "--output", "out.txt") == (
        "fastmlp: --output: expected a file name ending in .csv, got 'out.txt'; change the suffix"
    )
    assert refuse("predict", model, "--data", tiny, "--output", "new/out.csv") == (
        "fastmlp: --output: expected an existing folder to write to, got 'new'; create it first"
    )
    assert refuse("predict", model, "--data", "digits", "--output", "out.csv") == (
        "fastmlp: Network.predict: expected X of shape (n, 3), got an array of shape (1797, 64); "
        "pass the columns the network was built for"
    )


@pytest.mark.nojit
def test_a_missing_column_is_named(fit: Any, refuse: Any, iris: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    fit("--data", iris, "--target", "kind", "--hidden", "4", "--epochs", "1", "--save", saved)
    pd.read_csv(iris).drop(columns=["petal width"]).to_csv(iris, index=False)
    assert refuse("predict", saved, "--data", iris) == (
        f"fastmlp: {iris}: expected a column named 'petal width', got none of that name; "
        "did you mean 'sepal width' or 'petal length'? "
        "it has sepal length, sepal width, kind, petal length"
    )
    assert refuse("evaluate", saved, "--data", iris, "--target", "kind") == (
        f"fastmlp: {iris}: expected a column named 'petal width', got none of that name; "
        "did you mean 'sepal width' or 'petal length'? "
        "it has sepal length, sepal width, kind, petal length"
    )


@pytest.mark.nojit
def test_probabilities_are_for_classes(fit: Any, refuse: Any, tiny: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    fit("--data", tiny, "--loss", "huber", "--epochs", "1", "--save", saved)
    error = refuse("predict", saved, "--data", tiny, "--probabilities")
    assert error == (
        "fastmlp: --probabilities: expected a network for classes, got one for numbers; omit it"
    )


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["check-gradients", "--seed", "-1"],
            "fastmlp: --seed: expected it to be a whole number of at least 0, got -1; "
            "choose a larger one",
        ),
        (
            ["reference", "--seed", "-1"],
            "fastmlp: --seed: expected it to be a whole number of at least 0, got -1; "
            "choose a larger one",
        ),
        (
            ["reference", "--epochs", "0"],
            "fastmlp: --epochs: expected it to be a whole number of at least 1, got 0; "
            "choose a larger one",
        ),
        (
            ["trian"],
            f"fastmlp: COMMAND: expected one of {', '.join(COMMANDS)}, got 'trian'; "
            "did you mean 'train'?",
        ),
        (
            ["--bogus"],
            "fastmlp: options: expected options of fastmlp, got '--bogus'; see fastmlp --help",
        ),
        (
            ["trace", "--row", "first"],
            "fastmlp: --row: expected a whole number, got 'first'; see fastmlp trace --help",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_commands_refuse(refuse: Any, arguments: list[str], text: str) -> None:
    assert refuse(*arguments) == text


def test_divergence_is_told_and_leaves_no_file(run: Run, tmp_path: Path) -> None:
    files_ = ("--save", tmp_path / "a.safetensors", "--json", tmp_path / "a.json")
    done = run("train", "--quiet", "--learning-rate", "1e30", "--epochs", "2", *files_)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("fastmlp: Network.fit: expected a finite loss, got nan in epoch 1,")
    assert not list(tmp_path.iterdir())


@pytest.mark.nojit
def test_too_little_memory_is_told_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*arguments: Any) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(Network, "_build", build)
    done = run("train", "--quiet")
    assert done.code == 2
    assert done.err == (
        "fastmlp: not enough memory (Unable to allocate 9 TiB); "
        "use a smaller network or less data\n"
    )


def test_a_training_goes_on_from_its_checkpoints(run: Run, tmp_path: Path) -> None:
    folder, command = tmp_path / "run", ("train", "--quiet", "--epochs", "3", "--hidden", "8")
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    assert run(*command, "--save", whole).code == 0
    done = run(*command, "--checkpoint", folder)
    assert f"checkpoints  {folder}" in done.out
    (folder / "epoch-000003.safetensors").unlink()  # as if it had been stopped before
    assert run(*command, "--checkpoint", folder).code == 2
    assert run(*command, "--checkpoint", folder, "--resume", "--save", resumed).code == 0
    assert Network.load(resumed).params.tobytes() == Network.load(whole).params.tobytes()
    early, folder = (*command, "--epochs", "9", "--early-stopping", "3"), tmp_path / "early"
    assert run(*early, "--save", whole).code == 0
    assert run(*early, "--checkpoint", folder).code == 0
    newest = max(folder.glob("epoch-*"))
    newest.unlink()
    assert run(*early, "--checkpoint", folder, "--resume", "--save", resumed).code == 0
    assert Network.load(resumed).params.tobytes() == Network.load(whole).params.tobytes()
    done = run(*command, "--resume")
    assert (done.code, done.err) == (
        2, "fastmlp: --resume: expected --checkpoint DIR with it, got none; name the folder\n",
    )  # fmt: skip


# Columns as people have them --------------------------------------------------------------------


def pipeline_score(path: Path, target: str) -> float:
    """R2 of scikit-learn's network behind its scaler, on the same rows; the target scaled, too."""
    frame = pd.read_csv(path)
    data = datasets.Dataset(
        frame.drop(columns=target).to_numpy(float), frame[target].to_numpy(float), "table"
    )
    split = data.split(0.15, random_state=0)
    network = MLPRegressor(
        hidden_layer_sizes=(64,), learning_rate_init=0.01, max_iter=200, random_state=0
    )
    model = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), network), transformer=StandardScaler()
    )
    return float(model.fit(split.X_train, split.y_train).score(split.X_test, split.y_test))


@pytest.mark.thinned(2)
@pytest.mark.parametrize("large", ["feature", "target", "both", "id"])
def test_large_numbers_train_as_well_as_in_scikit_learn(
    fit: Any, run: Run, tmp_path: Path, large: str, rng: np.random.Generator
) -> None:
    n, saved, path = 600, tmp_path / "net.safetensors", tmp_path / "t.csv"
    x, other = rng.normal(size=n), rng.normal(size=n)
    y = np.sin(x) + 0.5 * other + 0.02 * rng.normal(size=n)
    start = 10**15 if large == "id" else 1_700_000_000_000
    frame = pd.DataFrame({"t": x, "other": other, "y": y})
    if large != "target":
        frame["t"] = start + (1000 * x).round().astype("int64")
    if large in ("target", "both"):
        frame["y"] = start + 1000 * y
    frame.to_csv(path, index=False)
    options = ("--hidden", "64", "--learning-rate", "0.01", "--epochs", "200")
    done, figures = fit("--data", path, "--target", "y", *options, "--save", saved)
    column = "the target 'y'" if large == "target" else "the column 't'"
    assert done.figure("note").startswith("computed in float64, whose digits are needed for ")
    assert column in done.figure("note")
    assert figures["test_r2"] > pipeline_score(path, "y") - 0.01

    # The same numbers by every way to use the file.
    split, names = held_out(path, "y")
    network = Network.load(saved)
    predicted = network.predict(split.X_test)
    r2 = r2_score(split.y_test, predicted)
    assert r2 == pytest.approx(figures["test_r2"], abs=1e-6)
    np.testing.assert_allclose(network.compile_predictor()(split.X_test)[:, 0], predicted)
    again = run("evaluate", saved, "--data", path)
    assert float(again.figure("r2")) == pytest.approx(r2, abs=1e-3)
    table = run("predict", saved, "--data", as_csv(tmp_path / "new.csv", names, split.X_test))
    assert r2_score(split.y_test, table.table()["prediction"]) == pytest.approx(r2, abs=1e-6)
    with pytest.raises(InputError, match="columns that need float64"):
        to_onnx(network, tmp_path / "net.onnx")


@pytest.mark.nojit
def test_a_large_constant_column_does_no_harm(fit: Any, run: Run, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 80)
    columns = np.stack([x, np.full(80, 1.7e12), np.full(80, 0.1)], axis=1)
    path = as_csv(tmp_path / "t.csv", ("x", "now", "tenth"), columns, y=3 * x)
    saved = tmp_path / "net.safetensors"
    options = ("--hidden", "16", "--epochs", "100", "--learning-rate", "0.02", "--save", saved)
    _, figures = fit("--data", path, "--target", "y", *options)
    assert figures["test_r2"] > 0.99
    network = Network.load(saved)
    assert network.dtype == np.float32
    other = columns + np.array([0, 0, 5])  # a column without a part in the training has none later
    np.testing.assert_array_equal(network.predict(other), network.predict(columns))


@pytest.mark.nojit
def test_float32_is_refused_where_it_loses_digits(refuse: Any, tmp_path: Path) -> None:
    x = np.arange(40.0)
    path = as_csv(tmp_path / "t.csv", ("ms", "x"), np.stack([1.7e12 + x, x], axis=1), y=0.5 * x)
    error = refuse("train", "--data", path, "--target", "y", "--dtype", "float32")
    assert "got others in the column 'ms'; use float64 or leave the type out" in error
    as_csv(path, ("x",), x[:, None], y=1.7e12 + 0.5 * x)
    error = refuse("train", "--data", path, "--target", "y", "--dtype", "float32")
    assert "got others in the target 'y'; use float64" in error


@pytest.mark.nojit
def test_semicolons_and_decimal_commas(fit: Any, run: Run, tmp_path: Path) -> None:
    x, saved = np.linspace(-1, 1, 60), tmp_path / "net.safetensors"
    frame = pd.DataFrame({"x": x, "y": 2 * x})
    frame.to_csv(path := tmp_path / "t.csv", index=False)
    frame.to_csv(german := tmp_path / "de.csv", index=False, sep=";", decimal=",")
    options = ("--target", "y", "--epochs", "3", "--save", saved)
    plain, _ = fit("--data", path, *options)
    done, _ = fit("--data", german, *options)
    assert done.figure("note") == "read with a semicolon between columns and a decimal comma"
    assert done.figure("test R2") == plain.figure("test R2")
    assert run("predict", saved, "--data", german).out == run("predict", saved, "--data", path).out
    evaluated = run("evaluate", saved, "--data", german)
    assert evaluated.out.splitlines()[0].startswith("de: 9 rows (the test part, held out of")
    said = run("evaluate", saved, "--data", german, "--separator", ";", "--decimal", ",")
    assert said.figure("r2") == evaluated.figure("r2")
    assert "note" not in said.out


@pytest.mark.nojit
def test_a_tab_may_be_written_as_people_do(fit: Any, tmp_path: Path) -> None:
    x = np.arange(40.0)
    frame = pd.DataFrame({"x": x, "y": 0.5 * x})
    frame.to_csv(path := tmp_path / "t.csv", index=False, sep="\t")
    for tab in ("\\t", "tab", "\t"):
        options = ("--separator", tab, "--target", "y", "--hidden", "4", "--epochs", "1")
        assert fit("--data", path, *options)[1]["epochs"] == 1


@pytest.mark.nojit
@pytest.mark.parametrize(
    "options",
    [
        ("--target", "price, EUR", "--target", "size"),
        ("--target", '"price, EUR",size'),
        ("--target", '"price, EUR"', "--target", '"size"'),
    ],
)
def test_targets_with_commas_in_their_names(
    fit: Any, tmp_path: Path, options: tuple[str, ...]
) -> None:
    x = np.arange(40.0)
    frame = pd.DataFrame({"x": x, "price, EUR": 0.5 * x, "size": 2.5 * x, "name": "a"})
    frame.to_csv(path := tmp_path / "t.csv", index=False)
    short = ("--drop", "name", "--hidden", "4", "--epochs", "1")
    assert fit("--data", path, *options, *short)[0].figure("network").startswith("1-4-2, ")
    one = fit("--data", path, "--target", "price, EUR", "--drop", "name,size", *short[2:])[0]
    assert one.figure("network").startswith("1-4-1, ")


def test_evaluate_compares_labels_as_text(fit: Any, run: Run, tmp_path: Path) -> None:
    """A file in which all labels look like numbers, of a network with one that does not."""
    x, saved = np.linspace(-1, 1, 90), tmp_path / "net.safetensors"
    kinds = np.where(x < -0.3, "01", np.where(x > 0.3, "2", "other"))
    path = as_csv(tmp_path / "t.csv", ("x",), x[:, None], kind=kinds)
    fit("--data", path, "--target", "kind", "--save", saved)
    few = kinds != "other"
    for suffix in (".csv", ".parquet"):
        part = tmp_path / f"part{suffix}"
        frame = pd.DataFrame({"x": x[few], "kind": kinds[few]})
        frame.to_csv(part, index=False) if suffix == ".csv" else frame.to_parquet(part)
        done = run("evaluate", saved, "--data", part)
        assert (done.code, done.err) == (0, "")
        assert float(done.figure("accuracy")) > 0.9
    # True and False, too, are booleans only where nothing else stands beside them.
    answers = np.where(x < -0.3, "True", np.where(x > 0.3, "False", "maybe"))
    fit(
        "--data",
        as_csv(path, ("x",), x[:, None], kind=answers),
        "--target",
        "kind",
        "--save",
        saved,
    )
    done = run("evaluate", saved, "--data", as_csv(path, ("x",), x[few, None], kind=answers[few]))
    assert float(done.figure("accuracy")) > 0.9


@pytest.mark.nojit
def test_words_for_nothing_are_labels(fit: Any, run: Run, tmp_path: Path) -> None:
    x, saved = np.linspace(-1, 1, 60), tmp_path / "net.safetensors"
    kinds = np.where(x < -0.3, "None", np.where(x > 0.3, "NA", "Apnea"))
    path = as_csv(tmp_path / "t.csv", ("x",), x[:, None], kind=kinds)
    done, _ = fit("--data", path, "--target", "kind", "--epochs", "2", "--save", saved)
    assert done.figure("note") == "'None' and 'NA' are labels of 'kind', not a gap"
    classes = Network.load(saved).classes_
    assert classes is not None
    assert classes.tolist() == ["Apnea", "NA", "None"]
    assert run("evaluate", saved, "--data", path).code == 0


# Held-out rows ----------------------------------------------------------------------------------


def test_evaluate_scores_what_was_held_out(fit: Any, run: Run, iris: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    options = ("--test", "0.3", "--validation", "0.2", "--seed", "4", "--epochs", "4")
    _, figures = fit("--data", iris, "--target", "kind", *options, "--save", saved)
    done = run("evaluate", saved, "--data", iris, "--json", "-")
    assert json.loads(done.out) == {k: figures[k] for k in ("test_accuracy", "test_loss")}
    first = "iris: 45 rows (the test part, held out of the training on 150 rows)"
    assert done.err.splitlines()[0] == first
    # By the content, not by the name of the file or the order of its columns.
    frame = pd.read_csv(iris)
    frame[frame.columns[::-1]].to_parquet(turned := tmp_path / "turned.parquet")
    again = run("evaluate", saved, "--data", turned)
    assert again.out.splitlines()[0] == first.replace("iris", "turned")
    assert again.figure("loss") == f"{figures['test_loss']:.4g}"

    split = datasets.load_table(iris, "kind").split(0.2, 0.3, random_state=4)
    network = Network.load(saved)
    for part, X, y, words in (
        ("validation", split.X_val, split.y_val, "30 rows (the validation part of 150 rows)"),
        ("training", split.X_train, split.y_train,
         "75 rows (those of 150 rows that it was trained on)"),
        ("all", None, None, "150 rows (all, those of the training among them)"),
    ):  # fmt: skip
        done = run("evaluate", saved, "--data", iris, "--rows", part)
        assert done.out.splitlines()[0] == f"iris: {words}"
        if X is not None:
            assert done.figure("accuracy") == f"{network.score(X, y):.4g}"

    frame.iloc[:-1].to_csv(iris, index=False)
    done = run("evaluate", saved, "--data", iris)
    words = "all; other data than the training's 'iris' of 150 rows"
    assert done.out.splitlines()[0] == f"iris: 149 rows ({words})"
    refused = run("evaluate", saved, "--data", iris, "--rows", "test")
    assert refused.code == 2
    assert "got other data than the training's 'iris' of 150 rows; leave --rows out" in refused.err


@pytest.mark.nojit
def test_a_file_that_does_not_know_its_data(run: Run, model: Path, tiny: Path) -> None:
    network = Network.load(model)
    assert network.trained_on is not None
    assert network.trained_on["rows"] == 40
    network.trained_on = None
    network.save(model)
    assert Network.load(model).trained_on is None
    why = "a model file that does not say which rows it was trained on"
    done = run("evaluate", model, "--data", tiny)
    assert done.out.splitlines()[0] == f"tiny: 40 rows (all; {why})"


@pytest.mark.nojit
@pytest.mark.parametrize(
    "wrong", [{}, {"rows": "many"}, {"seed": "x"}, {"validation": 7.0}, {"test": None}]
)
def test_a_wrong_description_is_as_good_as_none(
    run: Run, model: Path, tiny: Path, wrong: dict[str, Any]
) -> None:
    network = Network.load(model)
    assert network.trained_on is not None
    network.trained_on = {**network.trained_on, **wrong} if wrong else {}
    network.save(model)
    done = run("evaluate", model, "--data", tiny)
    assert done.code == 0
    assert done.out.splitlines()[0].startswith("tiny: 40 rows (all; ")


# Options of training ----------------------------------------------------------------------------


def test_early_stopping_goes_back_to_the_best_epoch(fit: Any, iris: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    options = ("--data", iris, "--target", "kind", "--learning-rate", "0.05", "--epochs", "300")
    done, figures = fit(*options, "--early-stopping", "4", "--save", saved)
    losses, best = figures["history"]["validation_loss"], figures["best_epoch"]
    assert figures["epochs"] < 300
    assert (int(np.argmin(losses)) + 1, len(losses)) == (best, best + 4)
    assert f"(stopped early, the weights of epoch {best})" in done.figure("training")
    split, _ = held_out(iris, "kind")
    loss = Network.load(saved).evaluate(split.X_val, split.y_val)[0]
    assert loss == pytest.approx(losses[best - 1], rel=1e-4)
    assert done.figure("loss").endswith(f"{losses[best - 1]:.4f} validation")
    patient, more = fit(*options, "--early-stopping")
    assert more["epochs"] == min(more["best_epoch"] + 10, 300)
    assert f"the weights of epoch {more['best_epoch']}" in patient.figure("training")


def test_class_weights_move_the_border(fit: Any, run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(0, 1, 360), rng.normal(1.5, 1, 40)]
    kinds = np.where(np.arange(400) < 360, "no", "yes, sir")
    path = as_csv(tmp_path / "t.csv", ("x",), x[:, None], kind=kinds)
    saved = tmp_path / "net.safetensors"

    def n_yes(*options: str) -> int:
        fit("--data", path, "--target", "kind", "--hidden", "8", "--save", saved, *options)
        return int((run("predict", saved, "--data", path).table()["prediction"] != "no").sum())

    plain, balanced = n_yes(), n_yes("--class-weight", "balanced")
    assert balanced > 2 * plain
    assert n_yes("--class-weight", "yes, sir=9") == n_yes("--class-weight", '"yes, sir=9",no=1')
    assert n_yes("--class-weight", "yes, sir=9", "--class-weight", "no=1") > 2 * plain
    assert n_yes("--class-weight", "no=0") > n_yes("--class-weight", "yes, sir=9")


@pytest.mark.nojit
def test_test_part(fit: Any, refuse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--test", "0.4", "--epochs", "1", "--hidden", "4")
    first = "digits: 808 training, 270 validation and 719 test rows of 64 columns"
    assert fit(*options)[0].out.splitlines()[0] == first
    digits = datasets.load_digits()
    own = datasets.Dataset(digits.X, digits.y, "own", n_test=300)
    monkeypatch.setitem(datasets.DATASETS, "digits", lambda: own)
    assert "--test: expected data without test rows of their own" in refuse("train", *options)


@pytest.mark.nojit
def test_losses_of_a_standardised_target_have_a_name_of_their_own(
    fit: Any, tmp_path: Path, tiny: Path
) -> None:
    x = np.linspace(-1, 1, 60)
    path = as_csv(tmp_path / "t.csv", ("x",), x[:, None], y=1000 * x + 0.5)
    short = ("--hidden", "4", "--epochs", "2")
    done, figures = fit("--data", path, "--target", "y", *short)
    assert set(figures["history"]) == {
        "scaled_loss", "scaled_validation_loss", "validation_score", "learning_rate", "seconds",
        "stopped",
    }  # fmt: skip
    assert done.figure("scaled loss").endswith("(of the standardised target)")
    assert figures["test_loss"] == pytest.approx(figures["test_rmse"] ** 2, rel=1e-4)
    done, figures = fit("--data", tiny, *short)
    assert "scaled" not in json.dumps(figures) + done.out


def test_predictions_have_the_digits_of_their_type(
    fit: Any, run: Run, diabetes: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "net.safetensors"
    for dtype, longest in (("float32", 10), ("float64", 17)):
        options = ("--epochs", "2", "--dtype", dtype, "--save", saved)
        fit("--data", diabetes, "--target", "target", *options)
        text = run("predict", saved, "--data", diabetes).out.splitlines()[1:]
        assert max(map(len, text)) <= longest
        expected = Network.load(saved).predict(datasets.load_table(diabetes, "target").X)
        np.testing.assert_array_equal(
            np.array(text, float).astype(np.float32), expected.astype("f4")
        )


# Standard output --------------------------------------------------------------------------------


@pytest.mark.nojit
def test_json_alone_goes_to_standard_output(run: Run, tiny: Path, tmp_path: Path) -> None:
    saved = tmp_path / "net.safetensors"
    options = ("--hidden", "4", "--epochs", "2", "--save", saved, "--json", "-")
    done = run("train", "--quiet", "--data", tiny, *options)
    assert done.code == 0
    assert json.loads(done.out)["epochs"] == 2
    assert done.err.startswith("tiny: 28 training")
    assert "saved" in done.err
    assert "figures" not in done.err
    scored = run("evaluate", saved, "--data", tiny, "--json", "-")
    assert set(json.loads(scored.out)) == {"test_accuracy", "test_loss"}
    printed = run("predict", saved, "--data", tiny)
    assert run("predict", saved, "--data", tiny, "--output", "-").out == printed.out


@pytest.mark.nojit
def test_alone_it_shows_help_with_examples(run: Run) -> None:
    done = run()
    assert (done.code, done.err) == (0, "")
    assert done.out == run("--help").out
    examples = [line.split() for line in done.out.partition("examples:\n")[2].splitlines()]
    assert [words[1] for words in examples] == ["train", "evaluate", "predict"]
    for words in examples:
        assert cli.parser().parse_args(words[1:]).command == words[1]


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["evalute"], "evaluate"),
        (["train", "--lr", "0.1"], "--learning-rate"),
        (["train", "--learning_rate", "0.1"], "--learning-rate"),
        (["train", "--dropuot", "0.1"], "--dropout"),
        (["train", "--hidden-layer-sizes=5"], "--hidden"),
        (["train", "--optimizer", "adm"], "adam"),
        (["train", "--activation", "rleu"], "relu"),
        (["train", "--loss", "hubber"], "huber"),
        (["evaluate", "m", "--data", "digits", "--row", "tset"], "test"),
        (["predict", "m", "--data", "digits", "--probabilites"], "--probabilities"),
        (["predict", "m", "--data", "t.csv", "--sep", ";"], None),  # an abbreviation
    ],
)
def test_what_may_be_meant_is_said(run: Run, arguments: list[str], meant: str | None) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert done.err.endswith(f"; did you mean '{meant}'?\n") is (meant is not None)
    assert len(done.err.splitlines()) == 1


# Interruptions ----------------------------------------------------------------------------------


@pytest.mark.nojit
def test_ctrl_c_in_the_first_epoch_writes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "train", interrupted)
    done = run("train", "--quiet", "--save", tmp_path / "a.safetensors")
    assert (done.code, done.err) == (130, "fastmlp: interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("epoch", [1, 3])
def test_ctrl_c_in_a_validation_leaves_a_whole_history(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    calls, judged = iter(range(1, 100)), evaluation.judged

    def interrupted(*arguments: Any) -> tuple[float, float]:
        if next(calls) == epoch:
            raise KeyboardInterrupt
        return judged(*arguments)

    monkeypatch.setattr(evaluation, "judged", interrupted)
    # Without --quiet: to show each epoch, Python judges it.
    done = run("train", "--epochs", "5", "--json", tmp_path / "a.json")
    if epoch == 1:
        assert done.code == 130
        assert not list(tmp_path.iterdir())
    else:
        assert done.code == 0
        history = json.loads((tmp_path / "a.json").read_text())["history"]
        assert [len(history[key]) for key in HISTORY] == [2] * 5


def environment(**more: str) -> dict[str, str]:
    """That of this process, with standard output buffered as it is for users."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return kept | more


@contextmanager
def process(*arguments: str | Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a process of its own, which does not outlive the block."""
    command = [sys.executable, "-m", "fastmlp", *map(str, arguments)]
    # What starts the tests in the background may have had them ignore Ctrl-C; children inherit it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(command, cwd=ROOT, env=environment(), **options)
    signal.signal(signal.SIGINT, before)
    with started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole groups")
def test_ctrl_c_ends_training_and_keeps_what_was_learned(tmp_path: Path) -> None:
    saved, figures = tmp_path / "net.safetensors", tmp_path / "figures.json"
    command = ("train", "--epochs", "100000", "--save", saved, "--json", figures)
    with process(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        seen = b""
        while b"loss=" not in seen:  # the progress bar has counted an epoch
            seen += (more := running.stderr.read(1))
            assert more, seen
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0
    assert b"Traceback" not in err
    assert b"(interrupted)" in out
    content = json.loads(figures.read_text())
    assert content["history"]["stopped"] == "interrupted"
    n_epochs = content["epochs"]
    assert 1 <= n_epochs < 100_000
    digits = datasets.load_digits().split(0.15, random_state=0)
    score = Network.load(saved).score(digits.X_test, digits.y_test)
    assert score == pytest.approx(content["test_accuracy"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
@pytest.mark.parametrize("arguments", [("--help",), ("train", "--quiet", "--epochs", "1")])
def test_output_that_nobody_reads(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with process(*arguments, stdout=writer, stderr=subprocess.PIPE) as running:
            err = running.communicate(timeout=60)[1]
    finally:
        os.close(writer)
    assert (running.returncode, err) == (141, b"")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_output_of_which_only_the_head_is_read(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "long.npz", X=np.zeros((100_000, 3)))
    command = ("predict", model, "--data", tmp_path / "long.npz", "--probabilities")
    with process(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"prediction,probability_0,probability_1\n"
        running.stdout.close()
        err = running.stderr.read()
        running.wait(timeout=60)
    assert (running.returncode, err) == (141, b"")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_to_a_full_disk(model: Path, tiny: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = ("predict", model, "--data", tiny)
        with process(*command, stdout=full, stderr=subprocess.PIPE) as running:
            err = running.communicate(timeout=60)[1]
    assert (running.returncode, err) == (2, b"fastmlp: [Errno 28] No space left on device\n")


@pytest.mark.slow
def test_output_in_an_encoding_without_the_labels(fit: Any, tmp_path: Path) -> None:
    X, kinds = np.arange(40.0)[:, None], np.array(["grün", "rot"] * 20)
    path = as_csv(tmp_path / "colours.csv", ("x",), X, colour=kinds)
    saved = tmp_path / "net.safetensors"
    fit("--data", path, "--target", "colour", "--epochs", "1", "--save", saved)
    command = [sys.executable, "-m", "fastmlp", "predict", saved, "--data", path]
    command += ["--target", "colour"]
    for encoding, code, text in (
        ("utf-8", 0, ""),
        ("ascii", 2, "fastmlp: the output has characters beyond ascii; set PYTHONUTF8=1\n"),
    ):
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(PYTHONIOENCODING=encoding),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert (done.returncode, done.stderr) == (code, text)


@pytest.mark.slow
def test_module_and_process_are_the_command(tmp_path: Path) -> None:
    """Exit codes and streams as a shell sees them."""
    assert importlib.util.find_spec("fastmlp.__main__") is not None
    json_ = tmp_path / "a.json"
    for arguments, code, out, err in (
        (("--version",), 0, f"fastmlp {fastmlp.__version__}\n", ""),
        (("train", "--epochs", "0"), 2, None, "fastmlp: --epochs: expected it to be"),
        (("train", "--epochs", "2", "--quiet", "--json", json_), 0, None, ""),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "fastmlp", *arguments],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code
        assert out is None or done.stdout == out
        assert done.stderr.startswith(err)
        assert len(done.stderr.splitlines()) == (1 if err else 0)
    assert json.loads(json_.read_text())["epochs"] == 2
