"""The structure of the package, read from its source: no import cycles, no private names shared.

Every import statement counts, including those within functions or for types only. The checks take
any package's folder, so that the last tests can prove that they would fail.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "fastmlp"

# What must not lean on the rest: all that each of these imports of the package beside itself.
ALONE = {
    "errors": set[str](),
    "version": set[str](),
    "kernels": {"errors", "io.files"},
    "reference": {"datasets"},
    "datasets": {"errors", "io.files"},
}
ONLY_IMPORTERS = {"llvmlite": "kernels", "numba": "kernels"}
# Who may use what numba does not document for extensions, and what counts as that.
INTERNALS, UNDOCUMENTED = "fastmlp.kernels.compiler.numba_internals", ("core", "misc", "np")
LATE = {"sklearn": "estimators"}  # slow to import, so elsewhere functions do it that need it
SPEAKERS = {"tools", "reference", "estimators", "__main__"}  # who may print

PUBLIC = {"_replace", "_fields", "_asdict", "_make", "_field_defaults"}  # of NamedTuples
SELF = {"self", "cls", "super()"}  # the object, or the class, in whose method a name stands
REACHES = {"getattr", "hasattr", "setattr", "delattr"}

pytestmark = pytest.mark.slow  # rules for those who write modules


class Source(NamedTuple):
    """A module's text as a tree, and where it is."""

    name: str  # "fastmlp.kernels.step.step"
    package: list[str]  # what its relative imports start from
    place: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """The module, or the subpackage, right below fastmlp."""
        return [*self.name.split("."), "__init__"][1]


def sources(package: Path) -> Iterator[Source]:
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package.parent)
        parts = [*place.parts[:-1], *([] if path.stem == "__init__" else [path.stem])]
        tree = ast.parse(path.read_text(encoding="utf-8"), str(place))
        yield Source(".".join(parts), [*place.parts[:-1]], place.name, tree)


def nodes(node: ast.AST, late: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether it is in a function, or for types only."""
    for child in ast.iter_child_nodes(node):
        waits = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
            isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
        )
        yield child, late or waits
        yield from nodes(child, late or waits)


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


# Circles --------------------------------------------------------------------------------------


def circle(package: Path) -> list[str]:
    """Modules that import each other in a ring, if there are any."""
    found = list(sources(package))
    modules, graph = {source.name for source in found}, dict[str, set[str]]()
    for source in found:
        names = [name for node, _ in nodes(source.tree) for name in imported(node, source.package)]
        graph[source.name] = {module_of(name, modules) for name in names} - {"", source.name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def module_of(name: str, modules: set[str]) -> str:
    """The module of the package that a dotted name is, or is an attribute of."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


# Private names --------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def private_uses(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """Names with an underscore of other modules and other objects.

    One module is built on objects of numba's that have no public way in; there, only names that
    come from the package count.
    """
    ours = set[str]()
    for node, _ in nodes(source.tree):
        names = [name for name in imported(node, source.package) if name.startswith("fastmlp")]
        yield from ((node, name) for name in names if any(map(is_private, name.split("."))))
        if names and isinstance(node, ast.Import | ast.ImportFrom):
            ours |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    for node, _ in nodes(source.tree):
        owner, name = reached(node)
        theirs = source.name == INTERNALS and owner.split(".")[0] not in ours
        if is_private(name) and owner not in SELF and not theirs:
            yield node, f"{owner}.{name}"


def reached(node: ast.AST) -> tuple[str, str]:
    """The object and the name of an attribute that is reached for, by a dot or by getattr."""
    match node:
        case ast.Attribute(value=owner, attr=name):
            return ast.unparse(owner), name
        case ast.Call(func=ast.Name(id=called), args=[owner, ast.Constant(value=str(name)), *_]):
            return (ast.unparse(owner), name) if called in REACHES else ("", "")
    return "", ""


# All rules ------------------------------------------------------------------------------------


def import_fault(part: str, name: str, late: bool) -> str:
    """Why a part of the package may not import a name, or nothing if it may."""
    top, target, inner, *_ = [*name.split("."), "", ""]
    if top in ONLY_IMPORTERS and part != ONLY_IMPORTERS[top]:
        return f"{part} may not import {top}"
    if top in LATE and part != LATE[top] and not late:
        return f"{part} may not import {top} here"
    if (
        top == "fastmlp"
        and part in ALONE
        and not {target, f"{target}.{inner}"} & (ALONE[part] | {part})
    ):
        return f"{part} may not import {name}"
    return ""


def is_undocumented(name: str) -> bool:
    top, inner, *_ = [*name.split("."), "", ""]
    return top == "numba" and inner in UNDOCUMENTED


def faults(package: Path) -> Iterator[str]:
    for source in sources(package):
        if len(re.findall(r"[.!?][`'\")]*(?:\s|$)", ast.get_docstring(source.tree) or "")) < 2:
            yield f"{source.place}: a module opens with a docstring of two sentences or more"
        for node, late in nodes(source.tree):
            names = imported(node, source.package)
            found = [import_fault(source.part, name, late) for name in names]
            if source.name != INTERNALS:
                found += [f"{name} is numba's own" for name in names if is_undocumented(name)]
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                found += [] if source.part in SPEAKERS else [f"{source.part} may not print"]
            yield from (f"{source.place}:{node.lineno}: {fault}" for fault in found if fault)
        for node, name in private_uses(source):
            yield f"{source.place}:{node.lineno}: {name} is private elsewhere"


# Sizes ----------------------------------------------------------------------------------------

MOST_LINES, MOST_PARAMETERS = 60, 8  # of a function without its docstring; of a kernel


def too_large(package: Path) -> Iterator[str]:
    """Functions that do not fit a screen, and kernels with too many parameters."""
    for source in sources(package):
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            lines = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node):
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if lines > MOST_LINES:
                yield f"{source.place}: {node.name} has {lines} lines"
            names = [argument.arg for argument in node.args.args]
            is_method = names[:1] in (["self"], ["typingctx"])
            if source.part == "kernels" and not is_method and len(names) > MOST_PARAMETERS:
                yield f"{source.place}: {node.name} has {len(names)} parameters"


def test_functions_fit_a_screen_and_kernels_take_few_parameters() -> None:
    assert list(too_large(PACKAGE)) == []


def test_large_functions_are_reported(tmp_path: Path) -> None:
    long = "def long():\n    'One.'\n" + "    x = 1\n" * MOST_LINES
    wide = f"def wide({', '.join('abcdefghi')}): pass\n"
    package = written(tmp_path, {"kernels/step/step.py": wide, "a.py": long, "b.py": wide})
    assert sorted(too_large(package)) == [
        f"a.py: long has {MOST_LINES + 1} lines",
        "step.py: wide has 9 parameters",
    ]


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle(PACKAGE) == []


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


def written(folder: Path, files: dict[str, str]) -> Path:
    """A package of such modules, each with a docstring of two sentences."""
    for name, text in files.items():
        path = folder / "fastmlp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""One. Two."""\n{text}', encoding="utf-8")
    return folder / "fastmlp"


@pytest.mark.parametrize(
    "back",
    [
        "from . import a\n",
        "from .a import thing\n",
        "import fastmlp.a\n",
        "def f():\n    from .a import thing\n",
        "if TYPE_CHECKING:\n    from fastmlp.a import Thing\n",
        'importlib.import_module("fastmlp.a")\n',
        "from .part import g\n",
        "from .part.inner import g\n",
    ],
)
def test_every_kind_of_import_closes_a_circle(back: str, tmp_path: Path) -> None:
    files = {
        "__init__.py": "", "a.py": "from . import b\n", "b.py": "import numpy\n",
        "part/__init__.py": "from .. import a\n", "part/inner.py": "from ..a import thing\n",
    }  # fmt: skip
    assert circle(written(tmp_path, files)) == []
    found = circle(written(tmp_path, files | {"b.py": back}))
    assert {"fastmlp.a", "fastmlp.b"} <= set(found)


def test_the_checks_report_a_wrong_package(tmp_path: Path) -> None:
    late = "def f():\n    import sklearn.svm\n    import numba\n"
    files = {
        "datasets.py": "from fastmlp.registry import get\nimport sklearn\n",
        "kernels/dense.py": "import numba\nfrom .. import errors, layers\nfrom . import tiles\n"
        "numba.core._x\ntiles._y\nself._z\ngetattr(kernel, '_cache')\nfrom .tiles import _t\n",
        "layers.py": f"import numba.core\n{late}print(1)\n",
        "losses.py": "from .layers import _f\nfrom . import layers\nlayers._g()\n",
        "network.py": "self._a = cls._b = super()._c\nnet._d\nself.x._e\npair._replace(x=1)\n"
        "getattr(net, '_h')\ngetattr(self, '_i')\nnet.__dict__\nargparse._SubParsersAction\n",
    }
    package = written(tmp_path, files)
    (package / "short.py").write_text('"""One."""\n', encoding="utf-8")
    assert list(faults(package)) == [
        "datasets.py:2: datasets may not import fastmlp.registry.get",
        "datasets.py:3: datasets may not import sklearn here",
        "dense.py:3: kernels may not import fastmlp.layers",
        "dense.py:9: fastmlp.kernels.tiles._t is private elsewhere",
        "dense.py:5: numba.core._x is private elsewhere",
        "dense.py:6: tiles._y is private elsewhere",
        "dense.py:8: kernel._cache is private elsewhere",
        "layers.py:2: layers may not import numba",
        "layers.py:2: numba.core is numba's own",
        "layers.py:5: layers may not import numba",
        "layers.py:6: layers may not print",
        "losses.py:2: fastmlp.layers._f is private elsewhere",
        "losses.py:4: layers._g is private elsewhere",
        "network.py:3: net._d is private elsewhere",
        "network.py:4: self.x._e is private elsewhere",
        "network.py:6: net._h is private elsewhere",
        "network.py:9: argparse._SubParsersAction is private elsewhere",
        "short.py: a module opens with a docstring of two sentences or more",
    ]
