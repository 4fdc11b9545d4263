"""One-line mistakes in a Python module: every one that a set of operators can make.

mutmut leaves constants of a module alone, which is where the limits of the method are, and
cosmic-ray starts an interpreter for each mutant. The operators are theirs.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
TWINS = {
    one: other
    for pair in (
        ("min", "max"),
        ("any", "all"),
        ("ceil", "floor"),
        ("minimum", "maximum"),
        ("argmin", "argmax"),
        ("ones", "zeros"),
    )
    for one, other in (pair, pair[::-1])
}
"""Functions that are mistaken for one another."""


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake in it."""

    line: int
    before: str
    after: str
    tree: ast.Module

    def __str__(self) -> str:
        return f"line {self.line}: {self.before} -> {self.after}"


def mutants(source: str, every: int = 1) -> Iterator[Mutant]:
    """Yield every n-th mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    nodes = [node for node in _code(tree) if hasattr(node, "lineno")]
    ordered = sorted(enumerate(nodes), key=lambda pair: (pair[1].lineno, pair[0]))
    changes = [(i, node, other) for i, node in ordered for other in _replacements(node)]
    for number, node, replacement in changes[::every]:
        changed = copy.deepcopy(tree)
        twin = [each for each in _code(changed) if hasattr(each, "lineno")][number]
        ast.copy_location(replacement, node)
        _replace(changed, twin, replacement)
        yield Mutant(
            node.lineno, _short(node), _short(replacement), ast.fix_missing_locations(changed)
        )


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run: no annotations, docstrings, decorators, assertions or imports."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, (ast.Assert, ast.Import, ast.ImportFrom)):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.AST):
                yield from _code(child)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Constant(value=float() as value):
            yield ast.Constant(value * 1.5 if value else 1.0)
            yield ast.Constant(value / 1.5 if value else -1.0)
        case ast.Constant(value=str() as value) if value.isidentifier():
            yield ast.Constant(f"{value}_")
        case ast.Constant(value=""):
            yield ast.Constant("mutant")
        case ast.Compare(ops=[op, *_]):
            for other in COMPARISONS.get(type(op), ()):
                yield ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            if len(node.values) > 2:
                for i in range(len(node.values)):
                    yield ast.BoolOp(node.op, [v for k, v in enumerate(node.values) if k != i])
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield node.operand
        case ast.BinOp() if type(node.op) in OPERATORS and not _is_text(node):
            yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        case ast.AugAssign() if type(node.op) in OPERATORS:
            yield ast.AugAssign(node.target, OPERATORS[type(node.op)](), node.value)
            yield ast.Pass()
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.If() | ast.While():
            for truth in (True, False):
                changed = copy.copy(node)
                changed.test = ast.Constant(truth)
                if isinstance(node, ast.If) or not truth:
                    yield changed
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Call(keywords=[_, *_]):
            for i in range(len(node.keywords)):
                yield ast.Call(
                    node.func, node.args, [k for j, k in enumerate(node.keywords) if j != i]
                )
        case ast.Name(id=name) if name in TWINS:
            yield ast.Name(TWINS[name], node.ctx)
        case ast.Attribute(attr=name) if name in TWINS:
            yield ast.Attribute(node.value, TWINS[name], node.ctx)
        case ast.Slice(lower=None, upper=None, step=ast.UnaryOp()):
            yield ast.Slice(None, None, None)


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if each is old else each for each in value]


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:60]} ... {text[-25:]}"
