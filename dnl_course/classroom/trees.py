"""SymPy answers as plain data, and back: a grader must not evaluate what a submission wrote, so no strings are parsed.

A number, symbol or operation is ``[name, …]`` with a name from a fixed list; what is rebuilt has the probe's own symbols,
so that symbols match by name, whatever was assumed of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from mpmath.libmp import repr_dps, to_str
from sympy.functions.elementary.piecewise import ExprCondPair

OPERATIONS = {
    "Add": sp.Add, "Mul": sp.Mul, "Pow": sp.Pow, "exp": sp.exp, "log": sp.log, "Abs": sp.Abs, "Max": sp.Max, "Min": sp.Min,
    "sign": sp.sign, "Piecewise": sp.Piecewise, "ExprCondPair": ExprCondPair, "atan2": sp.atan2,
    **{f.__name__: f for f in (
        sp.sin, sp.cos, sp.tan, sp.cot, sp.sec, sp.csc, sp.asin, sp.acos, sp.atan, sp.sinh, sp.cosh, sp.tanh, sp.coth, sp.sech, sp.csch,
        sp.asinh, sp.acosh, sp.atanh, sp.re, sp.im, sp.conjugate,
    )},
}  # fmt: skip
CONDITIONS = {c.__name__: c for c in (sp.Eq, sp.Ne, sp.Lt, sp.Le, sp.Gt, sp.Ge, sp.And, sp.Or, sp.Not)}
OPERATIONS |= CONDITIONS  # inside a Piecewise
CONSTANTS = {
    "Pi": sp.pi, "Exp1": sp.E, "ImaginaryUnit": sp.I, "NaN": sp.nan, "ComplexInfinity": sp.zoo, "Infinity": sp.oo,
    "NegativeInfinity": -sp.oo, "BooleanTrue": sp.true, "BooleanFalse": sp.false,
}  # fmt: skip
MOST = 50_000  # parts of one answer; beyond it nobody could read it, and comparing takes minutes
DEEPEST = 120  # operations inside each other
TOWER = 3  # exponentials inside each other
BITS = 1_000_000  # what a number may have at a point: beyond it, arithmetic takes minutes


class NotAnAnswer(TypeError):
    """What came back is no number, expression or matrix of them; the text says what it is."""


def answer(value: Any, outputs: int = 1) -> list[dict]:
    """Write down what a function returned: one ``{"shape": …, "cells": […]}`` per output.

    Parameters
    ----------
    value
        Number, Fraction, SymPy expression, Matrix of any kind, list (of lists), NumPy array; a tuple of them for several outputs.
    outputs : int
        How many are wanted.

    Raises
    ------
    NotAnAnswer

    Examples
    --------
    >>> answer(sp.Matrix([[sp.Symbol("x") / 2, 1]]))
    [{'shape': [1, 2], 'cells': [['Mul', ['Rational', 1, 2], ['Symbol', 'x']], ['Integer', 1]]}]
    """
    several = outputs > 1 and isinstance(value, (tuple, list, sp.Tuple))
    left = [MOST]
    made = []
    for part in value if several else (value,):
        shape, cells = _cells(part)
        made.append({"shape": shape, "cells": [_tree(cell, left) for cell in cells]})
    return made


def _cells(value: Any) -> tuple[list[int], list]:
    if isinstance(value, sp.MatrixExpr):
        value = value.as_explicit()
    if isinstance(value, sp.NDimArray):
        return list(value.shape), sp.flatten(value.tolist()) if value.shape else [value[()]]
    if isinstance(value, sp.MatrixBase):
        return list(value.shape), list(value)
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, (list, tuple, sp.Tuple)):
        rows = [_cells(v) for v in value]
        if len({tuple(shape) for shape, _ in rows}) > 1:
            raise NotAnAnswer("a list whose rows have different lengths")
        inner = rows[0][0] if rows else []
        if inner == [1, 1]:  # a list of 1×1 matrices: dot products
            inner = []
        elif len(value) and len(inner) == 2 and inner[0] == 1:  # a list of (1, D) matrices: rows
            inner = inner[1:]
        return [len(rows), *inner], [cell for _, cells in rows for cell in cells]
    if isinstance(value, np.ndarray):
        return list(value.shape), value.ravel().tolist()
    return [], [value]


def _tree(cell: Any, left: list[int], depth: int = 0) -> list:
    if depth > DEEPEST:
        raise NotAnAnswer(f"more than {DEEPEST} operations inside each other: simplify before you return")
    left[0] -= 1
    if left[0] < 0:
        raise NotAnAnswer("an expression of more than 50,000 parts: simplify it before you return it")
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, bool):
        return ["BooleanTrue" if cell else "BooleanFalse"]
    if isinstance(cell, int):
        return ["Integer", cell]
    if isinstance(cell, Fraction):
        return ["Rational", cell.numerator, cell.denominator]
    if isinstance(cell, (float, Decimal)) or hasattr(cell, "_mpf_"):
        cell = sp.Float(cell)
    if not isinstance(cell, sp.Basic):
        raise NotAnAnswer(f"{'an' if type(cell).__name__[0] in 'aeiou' else 'a'} {type(cell).__name__}")
    if isinstance(cell, sp.Symbol):
        return ["Symbol", cell.name]
    if cell.is_Integer:
        return ["Integer", int(cell)]
    if cell.is_Rational:
        return ["Rational", int(cell.p), int(cell.q)]
    if cell.is_Float:
        return ["Float", to_str(cell._mpf_, repr_dps(cell._prec)), cell._prec] if cell.is_finite else ["NaN"]
    name = type(cell).__name__
    if name in CONSTANTS:
        return [name]
    if name in CONDITIONS and depth == 0:
        raise NotAnAnswer(f"a comparison ({name}), which is neither a number nor True or False")
    if name in OPERATIONS:
        return [name, *(_tree(a, left, depth + 1) for a in cell.args)]
    if isinstance(cell, sp.MatrixBase) and cell.shape == (1, 1):
        return _tree(cell[0, 0], left, depth)
    done = cell.as_expr() if isinstance(cell, sp.Poly) else cell.doit()
    if done != cell:  # an unevaluated sum, product or derivative
        return _tree(done, left, depth + 1)
    if getattr(cell, "is_number", False) and cell.is_comparable:  # a root that has no formula, a named constant
        return _tree(sp.N(cell, 60), left, depth + 1)
    raise NotAnAnswer(f"an expression with {name}, which cannot be compared")


def rebuild(tree: Sequence, symbols: Mapping[str, sp.Symbol]) -> sp.Basic:
    """Return the expression that was written down, with these symbols.

    Raises
    ------
    KeyError
        For an operation that is not in the list.

    Examples
    --------
    >>> rebuild(["Pow", ["Symbol", "x"], ["Integer", 2]], {})
    x**2
    """
    name, *rest = tree
    if name == "Symbol":
        return symbols.get(rest[0]) or sp.Symbol(rest[0], real=True)
    if name == "Integer":
        return sp.Integer(rest[0])
    if name == "Rational":
        return sp.Rational(*rest)
    if name == "Float":
        return sp.Float(rest[0], precision=rest[1])
    if name in CONSTANTS:
        return CONSTANTS[name]
    return OPERATIONS[name](*(rebuild(t, symbols) for t in rest))


def bits(tree: Sequence) -> float:
    """Return an upper bound of the bits that the number has when symbols are small rational numbers.

    Examples
    --------
    >>> bits(["Pow", ["Integer", 2], ["Pow", ["Integer", 10], ["Integer", 9]]]) > BITS
    True
    """
    name, *rest = tree
    if name in ("Integer", "Rational"):
        return sum(abs(n).bit_length() for n in rest) + 1
    if name == "Float":
        return rest[1] + 4 * abs(int(rest[0].partition("e")[2] or 0))
    if name == "Pow":
        return min(bits(rest[0]) * max(1, _size(rest[1])), 1e300)
    return sum(bits(t) for t in rest) + 16 if name != "Symbol" else 24


def _tower(tree: Sequence) -> int:
    """Return how many exponentials, of any kind, stand inside each other."""
    return (tree[0] in ("exp", "sinh", "cosh")) + max((_tower(t) for t in tree[1:] if isinstance(t, (list, tuple))), default=0)


def _size(exponent: Sequence) -> float:
    """Return an upper bound of an exponent's absolute value, symbols being small."""
    name, *rest = exponent
    if name in ("Integer", "Rational"):
        return min(abs(rest[0]) / (rest[1] if len(rest) > 1 else 1), 1e300) if abs(rest[0]).bit_length() < 900 else 1e300
    if name == "Add":
        return min(sum(map(_size, rest)), 1e300)
    if name == "Mul":
        return min(math.prod(map(_size, rest)), 1e300)
    if name in ("Pow", "Float"):
        return 2 ** min(bits(exponent), 900) if name == "Pow" else min(abs(float(rest[0])), 1e300)
    return 8.0


def matrix(part: Mapping, symbols: Mapping[str, sp.Symbol]) -> sp.Basic:
    """Return one output: an expression, or an immutable matrix; a flat list is a row.

    Raises
    ------
    NotAnAnswer
        For more than two dimensions, True or False among numbers, and numbers too long to compute with.
    """
    shape = part["shape"]
    if any(bits(t) > BITS or _tower(t) > TOWER for t in part["cells"]):
        raise NotAnAnswer(f"a number of more than {BITS:,} binary digits")
    cells = [rebuild(t, symbols) for t in part["cells"]]
    if not shape or (len(cells) == 1 and cells[0] in (sp.true, sp.false)):
        return cells[0]
    if any(c in (sp.true, sp.false) for c in cells):
        raise NotAnAnswer("an array with True or False in it")
    if len(shape) > 2:
        raise NotAnAnswer(f"an array of {len(shape)} dimensions")
    rows, columns = (1, *shape) if len(shape) == 1 else shape
    return sp.ImmutableMatrix(rows, columns, cells)
