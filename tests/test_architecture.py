"""The shape of the package, read from its source: imports point one way and heavy ones stay put.

The checks take any package's folder, so that the last test can prove that they would fail.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "fastmlp"

# A module may import only modules of lower levels. A new module must be given its place here.
LEVELS = (
    {"errors", "reference", "kernels", "history", "interrupts"},
    {"registry", "files", "tables", "trace", "columns", "comparison"},
    {"checks", "groups"},
    {"attributes"},
    {"initializers", "schedules", "layers", "losses", "optimizers"},
    {"targets", "own_parts"},
    {"engine", "layerwise", "datasets"},
    {"objective", "summary"},
    {"network"},
    {"serialization", "predictor", "tracing"},
    {"checkpoint"},
    {"training"},
    {"gradient_check", "standardize", "estimators", "heldout", "best_epoch"},
    {"interchange", "onnx_inputs"},
    {"onnx_runtime"},
    {"onnx_export"},
    {"plotting"},
    {"command_options", "story"},
    {"commands"},
    {"cli"},
)

pytestmark = pytest.mark.slow  # rules for those who write modules
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
NO_LEVEL = {"__init__", "__main__"}  # they gather everything
SIBLINGS = {
    ("history", "errors"),
    ("kernels", "errors"),
    ("layers", "initializers"),
    ("optimizers", "schedules"),
}
# Network hands over to modules above it, and the reference's demonstration loads its data: these
# imports wait until they are needed.
UPWARD_IF_LAZY = {
    ("engine", "network"),  # for types
    ("layerwise", "network"),  # for types
    ("objective", "network"),  # for types
    ("summary", "network"),  # for types
    ("network", "layerwise"),
    ("network", "predictor"),
    ("network", "training"),
    ("network", "serialization"),
    ("network", "trace"),  # for types
    ("network", "tracing"),
    ("trace", "plotting"),
    ("reference", "datasets"),
    ("estimators", "plotting"),
}
NARROWER = {"datasets": {"errors", "files"}}  # where less is allowed than the level gives

# Slow to import, so only these modules may do it; the second table's only inside functions.
HEAVY = {"llvmlite": {"kernels"}, "numba": {"kernels"}, "sklearn": {"estimators"}}
HEAVY_IF_LAZY = {"sklearn": {"datasets", "network", "training", "onnx_export"}}
MAY_PRINT = {"cli", "commands", "reference", "estimators", "__main__"}


def nodes(node: ast.AST, lazy: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether an import there waits: in a function, or for types only."""
    for child in ast.iter_child_nodes(node):
        waits = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        )
        yield child, lazy or waits
        yield from nodes(child, lazy or waits)


def imported(node: ast.AST, package: list[str]) -> list[str]:
    """The absolute dotted names that a node imports, down to the attribute."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            base = package[: len(package) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            return [".".join([*base, alias.name]) for alias in node.names]
        case ast.Call(args=[ast.Constant(value=str(name)), *_]):
            called = ast.unparse(node.func).split(".")[-1]
            return [name] if called in {"import_module", "__import__"} else []
    return []


def import_fault(owner: str, name: str, lazy: bool) -> str:
    """Why a module may not import a name, or nothing if it may."""
    top, target, *_ = [*name.split("."), ""]
    if top in HEAVY:
        lazily = lazy and owner in HEAVY_IF_LAZY.get(top, ())
        return "" if lazily or owner in HEAVY[top] else f"{owner} may not import {top} here"
    if top != "fastmlp" or owner in NO_LEVEL or owner not in LEVEL:
        return ""
    below = {module for module in LEVEL if LEVEL[module] < LEVEL[owner]}
    fine = target in NARROWER.get(owner, below) | {owner} or name == "fastmlp.__version__"
    fine |= (owner, target) in SIBLINGS or (lazy and (owner, target) in UPWARD_IF_LAZY)
    return "" if fine else f"{owner} may not import {name} {'even lazily' if lazy else 'here'}"


def faults(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package.parent)
        # The module, or the subpackage, right below fastmlp.
        owner = place.parts[1].removesuffix(".py")
        if owner not in LEVEL and owner not in NO_LEVEL:
            yield f"{place.name}: {owner} has no level, so place it in LEVELS"
        tree = ast.parse(path.read_text(encoding="utf-8"), str(place))
        if len(re.findall(r"[.!?][`'\")]*(?:\s|$)", ast.get_docstring(tree) or "")) < 2:
            yield f"{place.name}: a module opens with a docstring of two sentences or more"
        for node, lazy in nodes(tree):
            found = [import_fault(owner, n, lazy) for n in imported(node, list(place.parts[:-1]))]
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                found += [] if owner in MAY_PRINT else [f"{owner} may not print"]
            yield from (f"{place.name}:{node.lineno}: {fault}" for fault in found if fault)


def test_the_package_keeps_its_shape() -> None:
    assert any(PACKAGE.rglob("*.py"))
    assert list(faults(PACKAGE)) == []


def test_importing_fastmlp_brings_only_numpy() -> None:
    code = (
        "import sys, numpy, numpy.random; before = set(sys.modules); import fastmlp;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(*sorted(new - sys.stdlib_module_names - {'fastmlp', 'numpy'}))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_checks_report_a_wrong_package(tmp_path: Path) -> None:
    late = "def f():\n    import sklearn.svm\n    from .training import fit\n"
    files = {
        "datasets.py": "from fastmlp.registry import get\nimport sklearn\n",
        "errors.py": "",
        "kernels/dense.py": "import numba\nfrom .. import errors, layers\nfrom . import tiles\n",
        "layers.py": f"import numba.core\n{late}print(1)\n",
        "losses.py": 'importlib.import_module("fastmlp.network")\n',
        "network.py": f"from fastmlp import errors, __version__\n{late}",
        "newcomer.py": "",
    }
    (tmp_path / "fastmlp" / "kernels").mkdir(parents=True)
    for name, text in files.items():
        docstring = "One." if name == "losses.py" else "One. Two."
        (tmp_path / "fastmlp" / name).write_text(f'"""{docstring}"""\n{text}', encoding="utf-8")
    assert list(faults(tmp_path / "fastmlp")) == [
        "datasets.py:2: datasets may not import fastmlp.registry.get here",
        "datasets.py:3: datasets may not import sklearn here",
        "dense.py:3: kernels may not import fastmlp.layers here",
        "layers.py:2: layers may not import numba here",
        "layers.py:4: layers may not import sklearn here",
        "layers.py:5: layers may not import fastmlp.training.fit even lazily",
        "layers.py:6: layers may not print",
        "losses.py: a module opens with a docstring of two sentences or more",
        "losses.py:2: losses may not import fastmlp.network here",
        "newcomer.py: newcomer has no level, so place it in LEVELS",
    ]
