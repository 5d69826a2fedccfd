"""The quick run of the tests and the rest are all tests, each of them once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import conftest

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


class _Collected:
    """Remembers what a run of pytest has selected."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.names = [item.name for item in session.items]


def _selected(path: Path, *options: str) -> list[str]:
    found = _Collected()
    quiet = ["--collect-only", "-p", "no:cacheprovider", "--import-mode=importlib", "-qqq"]
    status = pytest.main([str(path), *quiet, *options], plugins=[found, conftest])
    assert status == pytest.ExitCode.OK
    return found.names


@pytest.mark.slow
def test_the_quick_run_and_the_rest_are_all_tests_once(tmp_path: Path) -> None:
    path = tmp_path / "test_example.py"
    path.write_text(EXAMPLE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n  slow\n  thinned\n", encoding="utf-8"
    )
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
