"""For authors of symbolic tasks: inputs of exact numbers or symbols, and functions that take both floats and SymPy.

A reference is one NumPy function. It runs on float64 arrays, fast, to judge and to recognise mistakes; and on arrays of
SymPy numbers or symbols, to show exact values and to prove equality by expansion.
"""

from __future__ import annotations

import numpy as np
import sympy as sp


def unknowns(name: str, rows: int, columns: int, **assumptions: bool) -> sp.Matrix:
    """Return a matrix of symbols ``name11``, ``name12``, …, real unless said otherwise.

    Examples
    --------
    >>> unknowns("q", 1, 2)
    Matrix([[q11, q12]])
    """
    assumptions = assumptions or {"real": True}
    return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}{i + 1}{j + 1}", **assumptions))


def rational(rng: np.random.Generator, mean: float = 1.0, spread: float = 0.6) -> sp.Rational:
    """Draw one rational number with a denominator of at most 6."""
    denominator = int(rng.integers(2, 7))
    return sp.Rational(round(rng.normal(mean, spread) * denominator), denominator)


def rationals(rng: np.random.Generator, rows: int, columns: int, mean: float = 1.0, spread: float = 0.6) -> sp.Matrix:
    """Draw a matrix of small rational numbers, all different as long as there are enough of them."""
    drawn: list[sp.Rational] = []
    while len(drawn) < rows * columns:
        number = next((n for n in (rational(rng, mean, spread) for _ in range(20)) if n not in drawn), None)
        drawn.append(rational(rng, mean, spread) if number is None else number)
    return sp.Matrix(rows, columns, drawn)


def stochastic(rng: np.random.Generator, rows: int, columns: int) -> sp.Matrix:
    """Draw positive rational rows that sum to 1, no two of their numbers equal within a row."""
    made = []
    for _ in range(rows):
        parts = rng.choice(np.arange(1, 4 * columns), columns, replace=False)
        made.append([sp.Rational(int(p), int(parts.sum())) for p in parts])
    return sp.Matrix(made)


def _elementwise(symbolic, numeric):
    def function(x):
        array = np.asarray(x)
        if array.dtype != object:
            return numeric(array)
        return np.vectorize(symbolic, otypes=[object])(array) if array.ndim else symbolic(array.item())

    return function


exp = _elementwise(sp.exp, np.exp)
"""Elementwise, for floats and for SymPy alike."""
log = _elementwise(sp.log, np.log)
"""Elementwise natural logarithm, for floats and for SymPy alike."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, for floats and for SymPy alike; without a shift, so logits are to be moderate.

    Examples
    --------
    >>> softmax(np.array([[sp.Integer(0), sp.log(3)]], dtype=object))
    array([[1/4, 3/4]], dtype=object)
    """
    weights = exp(logits)
    return weights / weights.sum(-1, keepdims=True)
