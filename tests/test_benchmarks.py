"""The benchmarks: sides take turns, wrong results are caught, tables are well formed.

No test depends on speed.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("benchmarks", reason="the benchmarks are not part of the sdist")

from benchmarks import __main__ as command
from benchmarks import (
    accuracy,
    beside,
    cases,
    data,
    equality,
    inference,
    machine,
    measure,
    memory,
    peak,
    peers,
    per_sample,
    predictors,
    report,
    rows,
    run,
    sparse,
    stored,
    sweep,
    tables,
    tables_page,
    threads,
    training,
)
from benchmarks.__main__ import main
from benchmarks.measure import Spread, Timing
from benchmarks.rows import Row
from benchmarks.settings import Settings

pytestmark = pytest.mark.slow  # of interest to those who run benchmarks only

ROOT = Path(__file__).resolve().parents[1]
QUICK, FAST = Settings(quick=True), Settings(rounds=2, min_seconds=0)
CASE = cases.Training("6-5-1, batch 4", cases.Net((6, 5, 1), "numbers"), 4, {}, n_rows=64)


class Clock:
    """Time that passes only when somebody works."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, list[str]()

    def __call__(self) -> float:
        return self.now

    def sample(self, name: str, *seconds: float) -> measure.Sample:
        """A side whose repeats take the given seconds, the last of them from then on."""
        left = list(seconds)

        def work() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        def sample(repeats: int) -> float:
            self.log.append(f"{name}{repeats}")
            return measure.timed(work, clock=self)(repeats)

        return sample


def test_sides_take_turns_with_their_own_repeats() -> None:
    clock = Clock()
    sides = {"A": clock.sample("A", 0.01), "B": clock.sample("B", 0.04)}
    timing = measure.interleave(sides, 3, min_seconds=0.1, pause=0)
    assert clock.log[-6:] == ["A12", "B3"] * 3  # a fifth more than needed
    assert timing.median("A") == pytest.approx(0.01)
    assert timing.median("B") == pytest.approx(0.04)


def test_repeats_grow_until_a_sample_is_long_enough() -> None:
    clock = Clock()
    assert measure.repeats_for(clock.sample("A", 5.0, 0.002), min_seconds=0.1) == 60
    assert clock.log == ["A1", "A1", "A60"]  # the slow first call does not count
    assert measure.repeats_for(clock.sample("B", 1.0), min_seconds=0.1) == 1


def test_ratios_are_taken_pair_by_pair() -> None:
    timing = Timing({"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 2.0, 8.0]})
    assert timing.ratio("theirs", "ours") == Spread(1.0, 1.5, 2.0, 2.5, 3.0)
    assert timing.median("ours") == 2


def test_the_fastest_choice_is_found() -> None:
    clock = Clock()
    choices = {1: clock.sample("one", 0.2), 2: clock.sample("two", 0.1)}
    assert measure.fastest(choices, min_seconds=0.1) == 2


def test_garbage_collection_is_off_while_timing_and_back_after() -> None:
    with measure.no_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_targets_and_limits_decide() -> None:
    timing = Timing({cases.OURS: [1.0, 1.0, 1.0], "peer": [2.0, 3.0, 4.0]})
    made = [rows.from_timing(CASE, "peer", "s", timing, 1e3, target) for target in (3.0, 3.1)]
    assert [row.status for row in made] == [rows.PASS, rows.MISSED]
    assert (made[0].ours, made[0].theirs) == (1000, 3000)
    lenient = rows.from_timing(CASE, "peer", "s", timing, 1.0, 3.4, lenient=True)
    assert lenient.status == rows.PASS
    limited = [rows.against_limit(CASE, "s", [1.0, 2.0, 3.0], limit) for limit in (2.0, 1.9)]
    assert [row.status for row in limited] == [rows.PASS, rows.MISSED]


def _compared(peer: str, low: float, high: float, target: float) -> Row:
    """A row whose ratios lie between two ends, evenly."""
    ratio = Spread(*np.linspace(low, high, 5).tolist())
    return rows.judged(cases.TRAINING[0], peer, "s", (1.0, 2.0), ratio, target)


def test_only_another_library_s_win_is_a_loss_whatever_our_target_was() -> None:
    found = [
        _compared("PyTorch", 3.0, 5.0, target=40.0),  # far below our target, far above 1
        _compared("PyTorch", 0.9, 1.3, target=1.2),
        _compared("PyTorch", 0.8, 0.9, target=0.5),  # our target reached, and yet they win
        _compared(threads.ONE_THREAD, 0.8, 0.9, target=1.0),
        _compared(rows.LIMIT, 0.8, 0.9, target=1.0),
        _compared(rows.LIMIT, 1.2, 1.3, target=1.0),
        _compared(rows.TILE_PEAK, 0.6, 0.7, target=0.5),
        rows.plain(CASE, "JAX", rows.MISMATCH, "other numbers"),
        rows.plain(CASE, "JAX", rows.SKIPPED),
    ]
    assert [rows.verdict(row) for row in found] == [
        rows.FASTER, rows.LEVEL, rows.SLOWER, rows.SLOWER, rows.BEYOND, rows.WITHIN, rows.SHARE,
        rows.MISMATCH, rows.SKIPPED,
    ]  # fmt: skip
    assert [rows.is_lost(row) for row in found] == [False, False, True] + [False] * 6
    lines = report.table(found).splitlines()[2:]
    assert ["**" in line for line in lines] == [False, False, True] + [False] * 4 + [True, False]
    assert "| **0.85** |" in lines[2]
    assert "| **slower** |" in lines[2]


def test_the_stored_page_is_what_the_stored_figures_say() -> None:
    folder = ROOT / "docs" / "benchmarks"
    results = report.Results(folder / "results.json")
    assert (folder / "results.md").read_text(encoding="utf-8") == results.markdown()
    for kind in results.kinds():
        section = results.markdown().partition(f"\n## {kind}")[2].partition("\n## ")[0]
        goals = section.partition("### Goals of our own")[2]
        missed = [row for row in results.rows(kind) if row.status == rows.MISSED]
        assert goals.count("\n| ") == (len(missed) + 2 if missed else 0)


def test_the_stored_page_of_tables_is_what_the_stored_figures_say() -> None:
    lines = tables_page.read([tables_page.PAGE.with_suffix(".jsonl")])
    assert tables_page.PAGE.read_text(encoding="utf-8") == tables_page.page(lines)


def test_ranks_go_by_tables_that_all_models_have() -> None:
    def line(table: str, model: str, error: float, split: int = 0) -> dict[str, Any]:
        return {
            "table": table, "split": split, "model": model, "error": error, "seconds": 2.0,
            "rows": 9, "is_classes": True, "is_judging": table == "b", "machine": "one",
        }  # fmt: skip

    lines = [
        line("a", "x", 0.1), line("a", "x", 0.5, 1), line("a", "y", 0.2), line("a", "y", 0.2, 1),
        line("b", "x", 0.1), line("b", "y", 0.3), line("c", "x", 0.9),
    ]  # fmt: skip
    found = tables.ranks(lines, ["x", "y"])
    assert found.ranks == {"x": 1.25, "y": 1.75}  # in "a" each is first once
    assert found.seconds == {"x": 2.0, "y": 2.0}
    assert (found.n_tables, found.n_splits) == (2, 3)
    text = tables_page.page(lines)
    assert "| 2 tables, 3 splits in all | rank |" in text
    assert "| x | 1.25 | 1.50 | 1.00 | 2.0 |" in text
    assert "| a, log-loss, 9 rows, 2 splits | 0.3000 (2.0) | **0.2000** (2.0) |" in text


def test_a_model_on_some_splits_only_is_starred_and_left_out_of_a_second_ranking() -> None:
    lines = [
        {
            "table": table, "split": split, "model": model, "error": error, "seconds": seconds,
            "rows": 9, "is_classes": False, "is_judging": False, "machine": "one",
        }
        for table, split in (("a", 0), ("a", 1), ("b", 0))
        for model, error, seconds in (("x", 0.2, 1.0), ("y", 0.1, 3.0), ("z", 0.05, 9.0))
        if model != "z" or (table, split) == ("a", 0)
    ]  # fmt: skip
    text = tables_page.page(lines)
    assert "| 1 tables, 1 splits in all |" in text
    assert "| 2 tables, 3 splits in all |" in text
    assert (
        "| a, error, 9 rows, 2 splits | 0.2000 (1.0) | **0.1000** (3.0) | 0.0500 (9.0)* |" in text
    )
    found = tables.paired(lines, "x", "y")
    assert found is not None
    assert found.error == pytest.approx(2)
    assert found.speed == pytest.approx(3)
    assert (found.uncertainty, found.n_tables, found.n_splits) == (pytest.approx(0), 2, 3)
    assert tables.paired(lines, "x", "unknown") is None


def test_curves_parameters_outputs_and_bits_can_differ() -> None:
    near = equality.check_curves([1.0, 0.5], [1.00001, 0.5])
    assert near == pytest.approx(1e-5, rel=1e-3)
    zeros, ones = [np.zeros(3)], [np.ones(3)]
    assert equality.check_parameters(zeros, ones, ones) == 0
    with pytest.raises(equality.Mismatch, match="epoch 2 differ"):
        equality.check_curves([1.0, 0.5], [1.0, 0.501])
    with pytest.raises(equality.Mismatch):
        equality.check_curves([1.0, 0.5], [1.0, float("nan")])
    with pytest.raises(equality.Mismatch, match="2 losses of ours, 1 of theirs"):
        equality.check_curves([1.0, 0.5], [1.0])
    with pytest.raises(equality.Mismatch, match=r"0\.05 of their way"):
        equality.check_parameters(zeros, ones, [np.full(3, 1.05)])
    with pytest.raises(equality.Mismatch):
        equality.check_parameters(zeros, ones, [np.full(3, np.nan)])
    with pytest.raises(equality.Mismatch):
        equality.check_outputs(np.ones(3), np.array([1, 1, np.nan]))
    with pytest.raises(equality.Mismatch, match="1 of 3"):
        equality.check_same_bits(np.array([0.0, 1, 2]), np.array([0.0, 1, 2 + 1e-15]))


class WrongWeights(peers.SklearnTrainer):
    """A peer that starts from slightly other weights."""

    def __init__(self, problem: Any) -> None:
        super().__init__(problem)
        self.model.coefs_[0] = self.model.coefs_[0] * np.float32(1.01)


class WrongRate(peers.SklearnTrainer):
    """A peer that takes slightly longer steps."""

    def __init__(self, problem: Any) -> None:
        super().__init__(problem)
        self.model.learning_rate_init *= 1.05


class WrongOrder(peers.SklearnTrainer):
    """A peer that visits the same rows in another order."""

    def curve(self, orders: Sequence[np.ndarray]) -> list[float]:
        return super().curve([order[::-1] for order in orders])


class Absent(peers.SklearnTrainer):
    """A peer whose package is not there."""

    package = "a_package_that_does_not_exist"


class Broken(peers.SklearnTrainer):
    """A peer that fails."""

    def epoch(self, order: np.ndarray) -> float:
        raise RuntimeError("out of order")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "status"),
    [
        (peers.SklearnTrainer, rows.EQUAL),
        (WrongWeights, rows.MISMATCH),
        (WrongRate, rows.MISMATCH),
        (WrongOrder, rows.MISMATCH),
        (Absent, rows.SKIPPED),
        (Broken, rows.ERROR),
    ],
)
def test_a_trainer_that_is_not_equal_is_not_timed(trainer: Any, status: str) -> None:
    for case in (CASE, cases.Training("8-4-3", cases.Net((784, 4, 10)), 16, {}, n_rows=64)):
        (row,) = training.run(case, QUICK, {"peer": trainer})
        assert (row.status, row.peer) == (status, "peer"), row.note
    found = list(training.run(CASE, FAST, {"peer": trainer, "scikit-learn": peers.SklearnTrainer}))
    timed = {row.peer for row in found if row.ratio is not None}
    assert timed == {"scikit-learn"} | ({"peer"} if status == rows.EQUAL else set())


@pytest.mark.slow
def test_a_tampered_predictor_and_reference_are_caught() -> None:
    class WrongBias(predictors.NumpyPredictor):
        def __init__(self, net: Any, weights: Any, X: np.ndarray) -> None:
            (W, b), *others = weights
            super().__init__(net, [(W, b + np.float32(1e-3)), *others], X)

    case = cases.Inference("3 rows", cases.Net((784, 16, 10)), 3)
    sides = {"right": predictors.NumpyPredictor, "wrong": WrongBias}
    found = {row.peer: row.status for row in inference.run(case, QUICK, sides)}
    assert found == {"right": rows.EQUAL, "wrong": rows.MISMATCH}

    class WrongReference(per_sample.PerSample):
        def __init__(self, problem: Any) -> None:
            super().__init__(problem)
            self.net.biases[0][0] += 1e-6

    (row,) = per_sample.run(cases.REFERENCE[0], QUICK, WrongReference)
    assert row.status == rows.MISMATCH


@pytest.mark.slow
def test_a_timed_inference_has_a_row_for_each_peer_and_the_limit() -> None:
    case = cases.Inference("2 rows", cases.Net((6, 5, 1), "numbers"), 2, {}, microseconds=1e9)
    found = list(inference.run(case, FAST, {"NumPy": predictors.NumpyPredictor}))
    assert [row.peer for row in found] == ["NumPy", rows.LIMIT]
    assert found[1].status == rows.PASS


@pytest.mark.peers
@pytest.mark.parametrize(("package", "name"), [("torch", "PyTorch"), ("jax", "JAX")])
def test_other_libraries_compute_the_same(package: str, name: str) -> None:
    pytest.importorskip(package)
    (row,) = training.run(CASE, QUICK, {name: peers.TRAINERS[name]})
    assert row.status == rows.EQUAL, row.note


@pytest.mark.slow
def test_the_quick_command_checks_equality_and_times_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "batch 32"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((tmp_path / "quick.json").read_text(encoding="utf-8"))["rows"]
    found = {Row.from_dict(row).key: row for row in kept}
    assert {row["status"] for row in kept} <= {rows.EQUAL, rows.SKIPPED}
    assert "training/784-32-10, batch 32/scikit-learn" in found
    assert "reference/batch 32, float64/per-sample reference" in found
    assert all(row["ours"] is None for row in found.values())
    assert not (tmp_path / "results.json").exists()


def test_a_sweep_draws_the_same_shapes_for_the_same_seed() -> None:
    found = list(sweep.drawn(40, 3))
    assert [case.key for case in found] == [case.key for case in sweep.drawn(40, 3)]
    assert [case.key for case in found] != [case.key for case in sweep.drawn(40, 4)]
    assert found[:6] == list(sweep.drawn(3, 3))  # more shapes do not change the first ones
    nets = [case.net for case in found if isinstance(case, cases.Training)]
    assert {net.activation for net in nets} == set(cases.ACTIVATIONS)
    assert {net.task for net in nets} == {"classes", "numbers"}
    trained = [case for case in found if isinstance(case, cases.Training)]
    assert {case.optimizer for case in trained} == {cases.ADAM, cases.MOMENTUM}
    assert {case.dtype for case in trained} == set(sweep.DTYPES)
    for case in found:
        assert isinstance(case, cases.Training | cases.Inference)
        assert case.net.n_params * getattr(case, "batch", case.n_rows) <= sweep.MOST_WORK
        assert case.n_rows >= getattr(case, "batch", 1)


@pytest.mark.parametrize("activation", cases.ACTIVATIONS)
@pytest.mark.parametrize("task", ["classes", "numbers"])
@pytest.mark.parametrize(
    ("optimizer", "dtype"), [(cases.ADAM, "float32"), (cases.MOMENTUM, "float64")]
)
def test_peers_compute_what_a_sweep_draws(
    activation: str, task: str, optimizer: str, dtype: str
) -> None:
    net = cases.Net((6, 5, 4, 3 if task == "classes" else 1), task, activation)
    assert str(net).endswith(activation) or activation == "relu"
    found = list(inference.run(cases.Inference("some rows", net, 9), QUICK))
    steps = cases.Training("some steps", net, 4, {}, 64, optimizer, dtype)
    found += training.run(steps, QUICK)
    assert {row.status for row in found} <= {rows.EQUAL, rows.SKIPPED}, [row.note for row in found]
    assert sum(row.status == rows.EQUAL for row in found) >= 3  # NumPy, and scikit-learn twice


def test_a_sweep_is_summed_up_against_the_best_peer() -> None:
    def row(case: str, peer: str, ratio: float) -> Row:
        return Row("training", case, peer, rows.PASS, ratio=Spread(*5 * [ratio]))

    found = [row("a", "JAX", 2.0), row("a", "PyTorch", 9.0), row("b", "JAX", 0.5),
             row("a", rows.LIMIT, 0.1), rows.plain(CASE, "JAX", rows.SKIPPED)]  # fmt: skip
    (summary,) = sweep.summaries(found)
    assert (summary.n_cases, summary.n_lost, summary.least) == (2, 1, 0.5)
    assert summary.mean == pytest.approx(1.0)
    assert "2 cases" in str(summary)


def test_a_busy_run_compares_with_one_thread_and_with_quiet() -> None:
    found = list(run.run_case(CASE, FAST, busy=True))
    assert [row.peer for row in found] == list(beside.TARGETS)
    assert all(row.ratio is not None and row.ours for row in found), found
    assert list(run.run_case(CASE, QUICK, busy=True)) == []


def test_sweeps_and_busy_runs_leave_the_stored_results_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def run_case(case: cases.Case, _: Settings, busy: bool) -> list[Row]:
        done.append((case.group, busy))
        return [_row(case, "JAX", 1.0)]

    monkeypatch.setattr(command, "run_case", run_case)
    assert main(["--sweep", "2", "--seed", "5", "--output", str(tmp_path)]) == 0
    assert main(["--busy", "--only", "batch 32", "--output", str(tmp_path)]) == 0
    groups = [("training", False), ("inference", False)]
    assert done == [*groups, *groups, *3 * [("training", True)]]
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == ["busy", "sweep-5"]
    drawn = list(sweep.drawn(2, 5))
    found = report.Results(tmp_path / "sweep-5.json", drawn)
    assert [row.case for row in found.rows(*found.kinds())] == [case.name for case in drawn]
    with pytest.raises(SystemExit, match="no --busy"):
        main(["--sweep", "2", "--busy"])


def test_two_versions_are_timed_in_turn() -> None:
    command = [sys.executable, "-m", "benchmarks.versions", str(ROOT), str(ROOT)]
    done = subprocess.run(
        [*command, "--only", "calls/fit, 1 rows", "--rounds", "2"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    _, row = done.stdout.splitlines()
    assert row.startswith("calls/fit, 1 rows")
    assert 0.1 < float(row.split()[-4]) < 10


def test_the_command_refuses_what_it_cannot_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--only", "no such case"]) == 2
    assert main(["--list", "--only", "training/*"]) == 0
    assert capsys.readouterr().out.splitlines() == [case.key for case in cases.TRAINING]
    with pytest.raises(SystemExit, match="no MNIST"):
        main(["--data-home", str(tmp_path)])


def test_a_failing_case_is_a_row_and_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(case: Any, settings: Settings) -> Any:
        raise RuntimeError("no such luck")

    monkeypatch.setitem(run.RUNNERS, cases.Sparse, fail)
    (row,) = run.run_case(cases.SPARSE[0], QUICK)
    assert (row.status, row.note) == (rows.ERROR, "RuntimeError: no such luck")
    assert main(["--quick", "--only", "sparse/"]) == 1


def _row(case: cases.Case, peer: str, ours: float, status: str = rows.PASS) -> Row:
    ratio = None if status == rows.SKIPPED else Spread(0.5, 1.0, 2.0, 3.0, 4.0)
    return Row(case.group, case.name, peer, status, "us", ours, 2 * ours, ratio, 1.5, "a | b")


def test_partial_runs_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    first, second = cases.TRAINING[1], cases.TRAINING[0]
    results = report.Results(path)
    results.merge([_row(first, "PyTorch", 1.0), _row(first, "JAX", 2.0)])
    results.write()
    results = report.Results(path)
    results.merge([_row(second, "PyTorch", 3.0)])
    results.merge([_row(first, "PyTorch", 4.0), _row(first, "JAX", 0.0, rows.SKIPPED)])
    results.write()
    results = report.Results(path)
    found = results.rows(*results.kinds())
    figures = [(row.case, row.peer, row.ours) for row in found]
    assert figures == [
        (second.name, "PyTorch", 3.0),
        (first.name, "JAX", 2.0),
        (first.name, "PyTorch", 4.0),
    ]
    assert found[0].ratio == Spread(0.5, 1.0, 2.0, 3.0, 4.0)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert all(row["machine"] in kept["machines"] for row in kept["rows"])
    assert str(ROOT) not in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir() if "new" in file.name] == []


def test_kinds_of_machines_keep_their_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, here = cases.TRAINING[0], machine.record()
    results = report.Results(tmp_path / "results.json")
    results.merge([_row(case, "PyTorch", 1.0), _row(case, "JAX", 1.0)])
    monkeypatch.setattr(machine, "record", lambda: here | {"vector_bytes": 16})
    results.merge([_row(case, "PyTorch", 2.0)])
    results.write()
    results = report.Results(results.path)
    first, second = results.kinds()
    assert first == machine.kind_of(here)
    assert "128-bit" in second
    assert [row.ours for row in results.rows(first)] == [1.0, 1.0]
    assert [row.ours for row in results.rows(second)] == [2.0]
    text = results.markdown()
    assert f"| {case.name} | JAX | 2 |  |\n| {case.name} | PyTorch | 2 | 2 |" in text
    assert text.index(f"\n## {first}") < text.index(f"\n## {second}")


def test_the_table_is_well_formed(tmp_path: Path) -> None:
    results = report.Results(tmp_path / "results.json")
    results.merge(_row(case, "PyTorch", 1.0) for case in cases.CASES)
    text = results.markdown()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == len(cases.CASES) + 2 * len(cases.GROUPS)
    assert {line.replace("\\|", "").count("|") for line in lines} == {9}
    assert text.count("\n### ") == len(cases.GROUPS)
    assert text.count("\n## ") == 2  # this machine, and where and when
    numbers = [report.number(value) for value in (0.012345, 1.5, 99.96, 12345.6)]
    assert numbers == ["0.0123", "1.5", "100", "12,300"]


def test_pictures_are_drawn_for_groups_with_ratios(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks import plots, summary

    found = [_row(case, "PyTorch", 1.0) for case in cases.TRAINING]
    found += [_row(cases.SPARSE[0], "dense", 1.0, rows.SKIPPED)]
    paths = plots.draw(found, tmp_path)
    assert [path.name for path in paths] == ["training.png"]
    for path in (*paths, summary.draw(found, tmp_path)):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_every_case_can_be_run_named_and_drawn() -> None:
    keys = [case.key for case in cases.CASES]
    assert len(set(keys)) == len(keys)
    assert {type(case) for case in cases.CASES} <= set(run.RUNNERS)
    assert all(report.title(group) for group in cases.GROUPS)
    assert run.matching("inference/one row, 784-32-10", cases.CASES) == [cases.INFERENCE[0]]


def test_arithmetic_of_steps_and_memory() -> None:
    net = cases.Net((3, 4, 2))
    assert net.n_params == 3 * 4 + 4 + 4 * 2 + 2
    # Forward and weight gradients of both layers, the input gradient of the second.
    assert threads.step_flops(net, 10) == 2 * 10 * (2 * (12 + 8) + 8)
    # Four vectors of parameters; values and slopes of 6 units and a gradient 4 wide a row.
    assert memory.allowed_bytes(net, 10, "float32") == int(1.1 * 4 * (4 * 26 + 10 * (12 + 4)))
    assert memory.allowed_bytes(net, 10, "uint8") == int(1.1 * 4 * (4 * 26 + 10 * (3 + 16)))


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own() -> None:
    case = cases.Memory("8-512-2", cases.Net((8, 512, 2)), 32, "float32", 256)
    (row,) = memory.run(case, FAST)
    assert row.status in (rows.PASS, rows.MISSED, rows.UNAVAILABLE)
    if row.ours is not None:
        assert 0 < row.ours < 50  # MiB: neither the libraries nor the data


def test_accuracy_needs_both_speed_and_accuracy() -> None:
    case = cases.ACCURACY[0]
    passed = accuracy.judged(case, [0.5, 1.3], [case.goal + 0.001, case.goal])
    slow = accuracy.judged(case, [0.5, 1.7], [case.goal, case.goal])
    wrong = accuracy.judged(case, [0.5, 0.5], [case.goal, case.goal - 0.002])
    assert [row.status for row in (passed, slow, wrong)] == [rows.PASS, rows.MISSED, rows.MISSED]
    assert passed.ours == pytest.approx(0.9)
    (row,) = accuracy.run(case, FAST)
    assert row.status == rows.UNAVAILABLE


@pytest.mark.slow
def test_recipes_make_networks() -> None:
    X, y, _ = data.digits(None, 256)
    for case in cases.ACCURACY:
        recipe = cases.Recipe((8,), 32, 1, case.recipe.schedule, case.recipe.options, (0.1, 0.2))
        net, seconds = accuracy.train(recipe, 0, X, y)
        assert [layer.name for layer in net.layers] == [
            "dropout", "dense", "relu", "dropout", "dense",
        ]  # fmt: skip
        assert seconds > 0


def test_tiles_at_their_peak_compute_a_product() -> None:
    both = peak.Peak(2)
    assert all(tile.is_right() for tile in both.tiles)
    assert both.sample(1) > 0
    both.tiles[0].c[0, 0] += 1
    assert not both.tiles[0].is_right()


def test_sparse_rows_are_equal_or_said_to_be_unavailable() -> None:
    case = cases.Sparse("200-8-3", cases.Net((1000, 8, 3)), 16, 0.05, 1.0, 64)
    (row,) = sparse.run(case, QUICK)
    assert row.status in (rows.EQUAL, rows.UNAVAILABLE), row.note


def test_data_homes_without_the_files_are_not_used(tmp_path: Path) -> None:
    assert not data.has_mnist(None)
    assert not data.has_mnist(tmp_path)
    X, y, source = data.digits(None, 100)
    assert X.shape == (100, 784)
    assert y.shape == (100,)
    assert source in ("5,000 of MNIST", "random pixels")


def test_a_stored_table_is_compared_with_the_same_rows_in_memory(tmp_path: Path) -> None:
    n_rows = stored.make(tmp_path, 0.002)
    found = {side: [stored.train(side, tmp_path, 4, 1)] for side in stored.SIDES}
    assert found["table"][0]["loss"] == found["memory"][0]["loss"]  # it fits one window
    told = stored.summary(found, n_rows).splitlines()
    assert told[0] == "7,812 rows of 63 features, 0.00 GB"
    assert told[-1].startswith("speed from the table: ")
