"""The quick and slow runs together contain every test once; the fast run has some of each file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fastmlp.nn import LAYERS
from fastmlp.nn.losses import LOSSES
from fastmlp.optim.optimizers import OPTIMIZERS
from fastmlp.optim.schedules import SCHEDULES
from fastmlp.tools.gradient_check import Case
from tests import conftest
from tests.support import every_pair

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = """
import pytest

@pytest.mark.slow
def test_long(): ...

def test_short(): ...

@pytest.mark.thinned
@pytest.mark.parametrize("a", range(5))
@pytest.mark.parametrize("b", "xyz")
def test_pairs(a, b): ...

@pytest.mark.thinned(2)
@pytest.mark.parametrize("a", range(9))
def test_many(a): ...
"""
CORE = """
@pytest.mark.core
@pytest.mark.thinned(1)
@pytest.mark.parametrize("a", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_core(a): ...
"""
MARKERS = "[pytest]\nmarkers =\n  core\n  fast\n  nojit\n  slow\n  thinned\n"


class _Collected:
    """Remembers what a run of pytest has selected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)


def _collected(path: Path, *options: str) -> list[pytest.Item]:
    found = _Collected()
    quiet = ["--collect-only", "-p", "no:cacheprovider", "--import-mode=importlib", "-qqq"]
    status = pytest.main([str(path), *quiet, *options], plugins=[found, conftest])
    assert status == pytest.ExitCode.OK
    return found.items


def _selected(path: Path, *options: str) -> list[str]:
    return [item.name for item in _collected(path, *options)]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text(MARKERS, encoding="utf-8")
    path = tmp_path / f"test_{tmp_path.name}.py"  # the name of no other module
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_quick_run_and_the_rest_are_all_tests_once(example: Path) -> None:
    path = example
    everything = _selected(path)
    quick, rest = _selected(path, "-m", "not slow"), _selected(path, "-m", "slow")
    assert sorted(quick + rest) == sorted(everything)
    assert len(everything) == 2 + 15 + 9
    assert "test_short" in quick
    assert "test_long" in rest
    assert sum(name.startswith("test_many") for name in quick) == 2
    pairs = [name for name in quick if name.startswith("test_pairs")]
    assert 5 <= len(pairs) < 15
    values = {value for name in pairs for value in re.findall(r"\w", name.partition("[")[2])}
    assert values == set("01234xyz")


@pytest.mark.slow
def test_the_fast_run_has_one_quick_case_of_each_test(example: Path) -> None:
    fast = _selected(example, "-m", "fast")
    assert set(fast) <= set(_selected(example, "-m", "not slow"))
    assert sorted(name.partition("[")[0] for name in fast) == [
        "test_many", "test_pairs", "test_short",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_fast_run_has_all_quick_cases_of_a_core_test(example: Path) -> None:
    with example.open("a", encoding="utf-8") as file:
        file.write(CORE)
    core = [name for name in _selected(example, "-m", "fast") if name.startswith("test_core")]
    assert sorted(core) == [f"test_core[{a}]" for a in range(3)]


@pytest.mark.slow
def test_the_fast_run_has_no_more_of_a_large_file_than_of_others(example: Path) -> None:
    """And first the small ones."""
    most = conftest.FAST_TESTS_OF_A_FILE
    with example.open("a", encoding="utf-8") as file:
        file.writelines(f"def test_{i}(): ...\n" for i in range(most))
        file.write("@pytest.mark.nojit\ndef test_small(): ...\n")
    fast = _selected(example, "-m", "fast")
    assert len(fast) == most
    assert "test_small" in fast


def _parts(value: Any) -> set[Any]:
    """Names and classes that a parameter of a test stands for."""
    if isinstance(value, Case):
        return {value.layer, value.loss, "dense"}  # which is in every case
    if isinstance(value, str):
        return {value}
    return {value, type(value)} if isinstance(value, type) else {type(value)}


@pytest.mark.slow
def test_the_fast_run_has_every_part_and_file() -> None:
    """Each layer, loss, optimizer and schedule by name, and some tests of each file."""
    found = _Collected()
    pytest.main([str(Path(__file__).parent), "--collect-only", "-qqq"], plugins=[found])
    quick = [item for item in found.items if not item.get_closest_marker("slow")]
    fast = [item for item in found.items if item.get_closest_marker("fast")]
    assert {item.path for item in fast} == {item.path for item in quick}
    assert len(fast) < len(quick) / 4
    values = [
        value
        for item in fast
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        for value in item.callspec.params.values()
    ]
    seen: set[Any] = set().union(*map(_parts, values))
    for registry in (LAYERS, LOSSES, OPTIMIZERS, SCHEDULES):
        assert [kind.name for kind in registry if not seen & {kind, kind.name}] == []


def test_every_pair_meets_in_few_cases() -> None:
    choices: dict[str, Any] = {"a": range(7), "b": "xyz", "c": [False, True], "d": (0, 1)}
    names, cases = every_pair(**choices).args
    assert names == list(choices)
    assert len(cases) < 7 * 3 * 2 * 2 / 3
    for i, first in enumerate(choices.values()):
        for j, second in enumerate(choices.values()):
            if i < j:
                met = {(case[i], case[j]) for case in cases}
                assert met == {(one, other) for one in first for other in second}


@pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="a source archive without CI")
def test_ci_runs_what_the_readme_leaves_out() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (quick,) = re.findall(r"^python3 -m venv .* -m pytest (.*)$", readme, re.MULTILINE)
    assert quick == "-m 'not slow'"
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (body,) = re.findall(r"^stage_rest\(\) \{\n(.*?)^\}", script, re.MULTILINE | re.DOTALL)
    (rest,) = re.findall(r"-m pytest (.*)\"$", body, re.MULTILINE)
    assert rest == "-m slow"
    (stages,) = re.findall(r"^STAGES=\((.*)\)$", script, re.MULTILINE)
    assert {"test", "rest"} <= set(stages.split())
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.partition("| stage of CI |")[2].partition("\n\n")[0]
    named = [
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`(\S+)`", line.split("|")[1])
    ]
    assert sorted(named) == sorted(stages.split())
