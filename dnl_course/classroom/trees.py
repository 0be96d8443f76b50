"""SymPy answers as plain data, and back: a grader must not evaluate what a submission wrote, so no strings are parsed.

A number, symbol or operation is ``[name, …]`` with a name from a fixed list; what is rebuilt has the probe's own symbols,
so that symbols match by name, whatever was assumed of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from mpmath.libmp import repr_dps, to_str

OPERATIONS = {
    "Add": sp.Add, "Mul": sp.Mul, "Pow": sp.Pow, "exp": sp.exp, "log": sp.log, "Abs": sp.Abs, "Max": sp.Max, "Min": sp.Min,
    "sign": sp.sign, "sin": sp.sin, "cos": sp.cos, "tanh": sp.tanh,
}  # fmt: skip
CONSTANTS = {
    "Pi": sp.pi, "Exp1": sp.E, "ImaginaryUnit": sp.I, "NaN": sp.nan, "ComplexInfinity": sp.zoo, "Infinity": sp.oo,
    "NegativeInfinity": -sp.oo, "BooleanTrue": sp.true, "BooleanFalse": sp.false,
}  # fmt: skip
MOST = 50_000  # parts of one answer; beyond it nobody could read it, and comparing takes minutes


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
        return list(value.shape), list(value)
    if isinstance(value, sp.MatrixBase):
        return list(value.shape), list(value)
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, (list, tuple, sp.Tuple)):
        rows = [_cells(v) for v in value]
        if len({tuple(shape) for shape, _ in rows}) > 1:
            raise NotAnAnswer("a list whose rows have different lengths")
        inner = rows[0][0] if rows else []
        if len(value) and len(inner) == 2 and inner[0] == 1:  # a list of (1, D) matrices: rows
            inner = inner[1:]
        return [len(rows), *inner], [cell for _, cells in rows for cell in cells]
    if isinstance(value, np.ndarray):
        return list(value.shape), value.ravel().tolist()
    return [], [value]


def _tree(cell: Any, left: list[int]) -> list:
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
    if isinstance(cell, float):
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
    if name in OPERATIONS:
        return [name, *(_tree(a, left) for a in cell.args)]
    if isinstance(cell, sp.MatrixBase) and cell.shape == (1, 1):
        return _tree(cell[0, 0], left)
    done = cell.doit()
    if done != cell:  # an unevaluated sum, product or derivative
        return _tree(done, left)
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


def matrix(part: Mapping, symbols: Mapping[str, sp.Symbol]) -> sp.Basic:
    """Return one output: an expression, or an immutable matrix; a flat list is a row.

    Raises
    ------
    NotAnAnswer
        For more than two dimensions.
    """
    shape, cells = part["shape"], [rebuild(t, symbols) for t in part["cells"]]
    if not shape:
        return cells[0]
    if len(shape) > 2:
        raise NotAnAnswer(f"an array of {len(shape)} dimensions")
    rows, columns = (1, *shape) if len(shape) == 1 else shape
    return sp.ImmutableMatrix(rows, columns, cells)
