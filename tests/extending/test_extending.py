"""The how-to pages: the change that a page shows is applied to a copy of the package and checked.

A page's Python block is its check. The files and lines that a page touches are limited.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import fastmlp

ROOT = Path(fastmlp.__file__).parents[1]
PAGES = ROOT / "docs" / "extending"
NEW = "/dev/null"


class Goal(NamedTuple):
    """The most that a change may touch, short of the formulas that it is compared with."""

    files: int
    lines: int


ORACLE = "fastmlp/reference.py"
GOALS = {
    "activation.md": Goal(2, 9),
    "loss.md": Goal(2, 9),
    "optimizer.md": Goal(2, 21),
    "per-column.md": Goal(2, 46),
    "normalisation.md": Goal(2, 80),
    "embedding.md": Goal(2, 30),
    "augmentation.md": Goal(2, 55),
    "averaging.md": Goal(1, 12),
}

pytestmark = [
    pytest.mark.slow,  # each compiles kernels in processes of its own
    pytest.mark.skipif(not PAGES.is_dir(), reason="a source archive without docs"),
]


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks of one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def changed(root: Path, diff: str) -> dict[str, int]:
    """Make a change in unified form below a folder; the lines that it adds to each file.

    A hunk has no line numbers: what it shows of a file must stand there once.
    """
    added: dict[str, int] = {}
    for part in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        before, after, *lines = part.splitlines()
        name = after.removeprefix("+++ b/")
        assert before in (NEW, f"a/{name}"), before
        text = "" if before == NEW else (root / name).read_text(encoding="utf-8")
        for hunk in re.split(r"^@@.*$", "\n".join(lines), flags=re.MULTILINE)[1:]:
            body = hunk.strip("\n").split("\n")
            old = "".join(line[1:] + "\n" for line in body if line[:1] != "+")
            new = "".join(line[1:] + "\n" for line in body if line[:1] != "-")
            assert before == NEW or text.count(old) == 1, old
            text = text.replace(old, new) if old else text + new
            added[name] = added.get(name, 0) + sum(line[:1] == "+" != line for line in body)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return added


def run(script: str, folder: Path) -> str:
    """What a script prints that lies in a folder, beside the package if that is there."""
    path = folder / "page.py"
    path.write_text(script, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if not (folder / "fastmlp").exists():
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_page_with_a_change_has_a_goal() -> None:
    with_changes = {page.name for page in PAGES.glob("*.md") if blocks(page, "diff")}
    assert with_changes == set(GOALS)


@pytest.mark.parametrize("name", GOALS)
def test_a_newcomer_makes_the_change(name: str, tmp_path: Path) -> None:
    page, goal = PAGES / name, GOALS[name]
    package, ignored = ROOT / "fastmlp", shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, tmp_path / "fastmlp", ignore=ignored)
    added: dict[str, int] = {}
    for diff in blocks(page, "diff"):
        for file, count in changed(tmp_path, diff).items():
            added[file] = added.get(file, 0) + count
    added.pop(ORACLE, None)
    print(f"{name}: {len(added)} files, {sum(added.values())} lines: {', '.join(sorted(added))}")
    assert len(added) <= goal.files
    assert sum(added.values()) <= goal.lines
    where = "import fastmlp\nprint(fastmlp.__file__)\n"
    found = run(where + "\n".join(blocks(page, "python")), tmp_path)
    assert Path(found.splitlines()[0]).is_relative_to(tmp_path)


SCRIPTS = [page.name for page in sorted(PAGES.glob("*.md")) if page.name not in GOALS]


@pytest.mark.parametrize("name", SCRIPTS)
def test_pages_without_a_change_are_scripts(name: str, tmp_path: Path) -> None:
    run("\n".join(blocks(PAGES / name, "python")), tmp_path)


def test_changes_are_made_where_they_fit_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\nthree\n", encoding="utf-8")
    diff = "--- a/a.py\n+++ b/a.py\n@@\n two\n+2.5\n-three\n+3\n"
    diff += "--- /dev/null\n+++ b/b/c.py\n@@\n+x\n+\n"
    assert changed(tmp_path, diff) == {"a.py": 2, "b/c.py": 1}
    assert (tmp_path / "a.py").read_text(encoding="utf-8") == "one\ntwo\n2.5\n3\n"
    assert (tmp_path / "b" / "c.py").read_text(encoding="utf-8").startswith("x\n")
    for wrong in ("--- a/a.py\n+++ b/a.py\n@@\n four\n+5\n", "--- a/a.py\n+++ b/b.py\n@@\n+5\n"):
        with pytest.raises(AssertionError):
            changed(tmp_path, wrong)
