"""The faults: a broken sign, a dropped term, an off-by-one, a comparison that is wrong at its edge.

Each is a change of one node of a kernel's syntax tree, by which the whole file is written anew.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

_SWAPS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitXor: ast.BitOr, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Mod: ast.FloorDiv,
}  # fmt: skip
_EDGES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}  # fmt: skip


class Mutant(NamedTuple):
    """A fault: where it is, what it does, and the file's text with it."""

    line: int
    what: str
    text: str


def count(source: str) -> int:
    """How many faults can be made in the functions of a module."""
    return len(list(_sites(ast.parse(source))))


def mutant(source: str, number: int) -> Mutant:
    """One of them."""
    tree = ast.parse(source)
    node, field, value, what = list(_sites(tree))[number]
    before = ast.unparse(node)
    setattr(node, field, value)
    after = f"{before}  ->  {ast.unparse(node)}"
    return Mutant(getattr(node, "lineno", 0), f"{what}: {after}"[:160], ast.unparse(tree))


def _sites(tree: ast.Module) -> Iterator[tuple[ast.AST, str, object, str]]:
    """Nodes to change: the node, its field, the field's new value, and what that is."""
    for function in _functions(tree.body):
        for statement in function.body:
            for node in ast.walk(statement):
                yield from _changes(node)


def _functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    """Functions that run when the compiler is off, which is how the tests run here."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef):
            yield statement
        elif isinstance(statement, ast.If):  # if JIT_ENABLED: code generators; else: their like
            yield from _functions(statement.orelse)


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, str, object, str]]:
    if isinstance(node, ast.BinOp) and type(node.op) in _SWAPS:
        yield node, "op", _SWAPS[type(node.op)](), "another operation"
        if isinstance(node.op, ast.Add | ast.Sub):
            yield node, "right", ast.Constant(0), "a dropped term"
    elif isinstance(node, ast.AugAssign) and type(node.op) in _SWAPS:
        yield node, "op", _SWAPS[type(node.op)](), "another operation"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node, "op", ast.UAdd(), "a broken sign"
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _EDGES:
        yield node, "ops", [_EDGES[type(node.ops[0])](), *node.ops[1:]], "another edge"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield node, "value", node.value + 1, "off by one"
