"""Expressions over the fields of one event: `"amount / items"`, `"amount > 100 and country == 'US'"`.

Laws that hold in this file:
- An expression is text, so it has a digest, and it is a small part of Python's own grammar, read by Python's own
  parser: fields, numbers, `+ - * / // % **`, comparisons, `and or not`, `a if b else c`, `in` a tuple, and
  the functions of `FUNCTIONS`. Everything else is refused, so an expression can neither loop nor reach anything.
- Text appears only in comparisons; every result is a number. JSON's true and false are the numbers 1 and 0, in the fields and in
  the text, where `true` and `false` (or Python's words) stand as numbers do: `failed`, `failed == true`, `not ok`.
- Null in, null out: if any field that it reads is null, or the result is not a finite number, it is null. A
  condition that is null does not hold.
"""

import ast
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

FieldType = Literal["number", "text", "any"]
Function = Callable[..., float | None]

FUNCTIONS: dict[str, Callable[..., float]] = {
    "abs": abs, "min": min, "max": max, "floor": math.floor, "ceil": math.ceil, "sqrt": math.sqrt, "log": math.log,
    "log10": math.log10, "log1p": math.log1p, "exp": math.exp,
}  # fmt: skip
_OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
)  # fmt: skip
_NESTING = 20


class Expression(NamedTuple):
    """A checked expression.

    Attributes:
        text: its normal form; equal texts are equal expressions.
        fields: the fields that it reads, in order of appearance, and what each must hold.
        function: gives its value from theirs, in that order; none of them null, numbers as floats.

    """

    text: str
    fields: dict[str, FieldType]
    function: Function


def expression(text: str) -> Expression:
    """Read an expression.

    >>> ratio = expression("amount/items")
    >>> ratio.text, list(ratio.fields), ratio.function(6.0, 4.0), ratio.function(6.0, 0.0)
    ('amount / items', ['amount', 'items'], 1.5, None)

    Raises:
        ValueError: quoting the text, if it is not an expression of this file's grammar or reads no field.

    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, AttributeError, MemoryError, RecursionError) as problem:
        raise ValueError(f"expression {text!r} cannot be read: {getattr(problem, 'msg', problem)}") from None
    tree = _Words().visit(tree)
    fields: dict[str, FieldType] = {}
    try:
        _check(tree, fields, 0)
    except ValueError as problem:
        raise ValueError(f"expression {text!r}: {problem}") from None
    if not fields:
        raise ValueError(f"expression {text!r} reads no field of the event")
    return Expression(ast.unparse(tree), fields, _compiled(tree, list(fields)))


def _check(node: ast.expr, fields: dict[str, FieldType], depth: int) -> None:
    """Refuse what is not of the grammar, and note the fields."""
    if depth > _NESTING:
        raise ValueError(f"it is nested more than {_NESTING} deep")
    if isinstance(node, ast.Compare):
        _check_operators(*node.ops)
        _check_comparison([node.left, *node.comparators], node.ops, fields, depth)
        return
    parts: list[ast.expr]
    if isinstance(node, ast.Name):
        if node.id == "null":
            raise ValueError(
                "null is not a value to compare with; a condition over a null field does not hold"
            )
        _note(fields, node.id, "number")
        return
    if isinstance(node, ast.Constant) and _finite(node.value):
        return
    if isinstance(node, ast.BinOp):
        _check_operators(node.op)
        parts = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        _check_operators(node.op)
        parts = [node.operand]
    elif isinstance(node, ast.BoolOp):
        parts = node.values
    elif isinstance(node, ast.IfExp):
        parts = [node.test, node.body, node.orelse]
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in FUNCTIONS
        and node.args
    ):
        if node.keywords:
            raise ValueError(f"{node.func.id} takes no named arguments")
        parts = node.args
    else:
        raise ValueError(f"{ast.unparse(node)!r} is not allowed; functions are {' '.join(FUNCTIONS)}")
    for part in parts:
        _check(part, fields, depth + 1)


def _finite(value: Any) -> bool:
    return type(value) in (bool, int, float) and abs(value) <= 1e300


def _check_operators(*operators: ast.AST) -> None:
    for operator in operators:
        if not isinstance(operator, _OPERATORS):
            raise ValueError(f"the operator {type(operator).__name__} is not allowed")


def _check_comparison(
    sides: list[ast.expr], operators: list[ast.cmpop], fields: dict[str, FieldType], depth: int
) -> None:
    """Check the sides: all text (fields and literals) if any literal is text, otherwise all numbers."""
    text = any(_texts(side) for side in sides)
    for place, side in enumerate(sides):
        listed = place > 0 and isinstance(operators[place - 1], ast.In | ast.NotIn)
        if listed != isinstance(side, ast.Tuple | ast.List):
            raise ValueError("'in' needs a list of literals, such as country in ('US', 'CA')")
        if isinstance(side, ast.Tuple | ast.List):
            if not side.elts or not all(isinstance(e, ast.Constant) for e in side.elts):
                raise ValueError("'in' needs a list of literals, such as country in ('US', 'CA')")
            if text and not all(isinstance(e, ast.Constant) and isinstance(e.value, str) for e in side.elts):
                raise ValueError("it compares text with numbers")
            if not text:
                for e in side.elts:
                    _check(e, fields, depth + 1)
        elif not text:
            _check(side, fields, depth + 1)
        elif isinstance(side, ast.Name):
            _note(fields, side.id, "text")
        elif not (isinstance(side, ast.Constant) and isinstance(side.value, str)):
            raise ValueError("it compares text with numbers")


def _texts(side: ast.expr) -> bool:
    literals = side.elts if isinstance(side, ast.Tuple | ast.List) else [side]
    return any(isinstance(e, ast.Constant) and isinstance(e.value, str) for e in literals)


def _note(fields: dict[str, FieldType], name: str, kind: FieldType) -> None:
    if fields.setdefault(name, kind) != kind:
        raise ValueError(f"field {name!r} is used as a number and as text")


class _Words(ast.NodeTransformer):
    """JSON's `true` and `false` become Python's, so that there is one normal form."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in ("true", "false"):
            return ast.copy_location(ast.Constant(node.id == "true"), node)
        return node


class _Positions(ast.NodeTransformer):
    """Fields become arguments by position, integers floats (so that no power can grow without bound)."""

    def __init__(self, fields: list[str]) -> None:
        self.fields = fields

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Name(f"f{self.fields.index(node.id)}", ast.Load()), node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = float(node.value) if isinstance(node.value, int) else node.value
        return ast.copy_location(ast.Constant(value), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        assert isinstance(node.func, ast.Name)
        return ast.copy_location(ast.Call(node.func, [self.visit(a) for a in node.args], []), node)


def _compiled(tree: ast.expr, fields: list[str]) -> Function:
    """Make the function; the tree is checked, and the namespace holds FUNCTIONS and nothing else."""
    body = ast.unparse(_Positions(fields).visit(ast.parse(ast.unparse(tree), mode="eval").body))
    arguments = ", ".join(f"f{i}" for i in range(len(fields)))
    raw: Callable[..., Any] = eval(f"lambda {arguments}: {body}", {"__builtins__": {}, **FUNCTIONS})

    def function(*values: Any) -> float | None:
        try:
            result = float(raw(*values))
        except (ArithmeticError, ValueError, TypeError):  # a power may even be complex
            return None
        return result if math.isfinite(result) else None

    return function
