"""Judge symbolic answers as mathematics: at random rational points first, then by expansion.

``at_points`` turns what was observed into what the numeric layers of the judge understand: numbers at points. For right
values, ``proved`` then compares exactly, so that an answer that is right to ten digits is told from a right one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp

from . import trees
from .exact import rational
from .probe import Observation
from .task import Inputs, Task
from .verdict import Verdict

POINTS = 2  # per probe that holds symbols
REDRAWN = 8  # how often a point at which something is undefined is drawn again
FINE = 9973  # a prime denominator: what is right at sixths only (sin(60 π x) is 0 there) fails at the last point
LARGEST = 600  # operations up to which expanding a difference takes well under a second
TERMS = 20_000  # what it may expand to
NEARLY = 1e-30  # a difference beyond it is no rounding of 40 digits


@dataclass
class Point:
    """One probe at one point.

    Attributes
    ----------
    inputs : mapping
        For the references: float64 arrays and numbers (for ``symbolic="whole"`` the SymPy objects themselves).
    exact : mapping
        The same as SymPy numbers, to be shown.
    seen : Observation
        With ``values`` at the point, and ``exact`` as SymPy objects.
    probe : int
        Number of the probe.
    """

    inputs: Inputs
    exact: Inputs
    seen: Observation
    probe: int


def at_points(task: Task, seed: int, observed: Sequence[tuple[Inputs, Observation]]) -> list[Point]:
    """Evaluate every observation at its points."""
    made = []
    for number, (inputs, seen) in enumerate(observed):
        rng = np.random.default_rng([seed, number, *map(ord, task.id)])
        symbols = _symbols(inputs) if task.symbolic == "points" else {}
        for last in (*[False] * (POINTS - 1), True) if symbols else (False,):
            made.append(_point(task, rng, inputs, symbols, seen, number, last))
    return made


def _symbols(inputs: Inputs) -> dict[str, sp.Symbol]:
    found = set().union(*(v.free_symbols for v in inputs.values() if hasattr(v, "free_symbols")))
    return {s.name: s for s in sorted(found, key=lambda s: s.name)}


def _point(task, rng, inputs, symbols, seen, number, fine) -> Point:
    for _ in range(REDRAWN):
        at = {s: _drawn(rng, s, fine) for s in symbols.values()}
        exact = {name: v.subs(at) if at and hasattr(v, "subs") else v for name, v in inputs.items()}
        given = exact if task.symbolic == "whole" else {n: numeric(v) for n, v in exact.items()}
        with np.errstate(all="ignore"):
            expected = task.expected(given)
        here = _evaluated(task, seen, symbols, at, expected)
        undefined = not all(np.isfinite(v).all() for v in (*expected, *(here.values or ())))
        if not symbols or not undefined:
            break
    if undefined and here.exact is not None and any(map(_complex, here.exact)):
        here = replace(here, dtypes=["complex128" if _complex(part) else dtype for part, dtype in zip(here.exact, here.dtypes)])
        if task.diagnose:  # otherwise it may be a known mistake
            here = replace(here, exact=None, values=None, message="a complex number (`I`, or the root of a negative one)")
    return Point(given, exact, here, number)


def _complex(part: sp.Basic) -> bool:
    cells = part if isinstance(part, sp.MatrixBase) else [part]
    return any(c.is_number and c.is_finite is not False and np.isnan(_number(c)) and c is not sp.nan for c in cells)


def _drawn(rng: np.random.Generator, symbol: sp.Symbol, fine: bool) -> sp.Rational:
    while True:
        number = sp.Rational(round(rng.normal(0.3, 1.2) * FINE), FINE) if fine else rational(rng)
        if not (number == 0 or (symbol.is_positive and number < 0)):
            return number


def numeric(value: Any) -> Any:
    """Return a SymPy matrix or number as floats; everything else as it is."""
    if isinstance(value, sp.MatrixBase):
        return np.array(value.tolist(), dtype=np.float64).reshape(value.shape)
    return float(value) if isinstance(value, sp.Expr) else value


def objects(value: Any) -> Any:
    """Return a SymPy matrix as an array of SymPy objects; everything else as it is."""
    return np.array(value.tolist(), dtype=object).reshape(value.shape) if isinstance(value, sp.MatrixBase) else value


def _evaluated(task, seen: Observation, symbols: Mapping[str, sp.Symbol], at: Mapping, expected) -> Observation:
    if seen.exact is None:
        return seen
    try:
        parts = [trees.matrix(part, symbols) for part in seen.exact]
    except trees.NotAnAnswer as error:
        return replace(seen, exact=None, message=str(error))
    except (ArithmeticError, MemoryError, RecursionError, TypeError, ValueError) as error:  # SymPy cannot build it again
        return replace(seen, exact=None, message=f"an expression that cannot be computed ({type(error).__name__})")
    strange = sorted({s.name for p in parts for s in p.free_symbols} - set(symbols))
    if strange:
        return replace(seen, exact=None, message=_strange(strange, symbols))
    parts = [p.xreplace(at) for p in parts]
    dtypes = ["bool" if p in (sp.true, sp.false) else "float64" for p in parts]
    values = [_floats(p) for p in parts]
    if len(values) == len(expected):  # a number for a 1×1 matrix, and a 1×1 matrix for a number
        values = [v.reshape(e.shape) if v.size == e.size == 1 else v for v, e in zip(values, expected)]
    return replace(seen, exact=parts, values=values, dtypes=dtypes)


def _strange(names: Sequence[str], known: Mapping[str, sp.Symbol]) -> str:
    listed = ", ".join(f"`{n}`" for n in names[:4]) + (", …" if len(names) > 4 else "")
    of = f"the arguments hold {', '.join(list(known)[:3])}{', …' if len(known) > 3 else ''}" if known else "the arguments are numbers"
    return f"an expression with the symbol{'s' * (len(names) > 1)} {listed}, but {of}: use the arguments, not symbols of your own"


def _floats(part: sp.Basic) -> np.ndarray:
    if isinstance(part, sp.MatrixBase):
        return np.array([_number(c) for c in part], dtype=np.float64).reshape(part.shape)
    return np.asarray(_number(part), dtype=np.float64)


def _number(cell: sp.Basic) -> float:
    if cell in (sp.true, sp.false):
        return float(cell == sp.true)
    if cell.is_Rational:
        return float(cell)
    try:
        real, imaginary = sp.N(cell, 30).as_real_imag()
        return float(real) if abs(imaginary) < 1e-20 else np.nan
    except (TypeError, OverflowError, MemoryError, RecursionError):  # not a number, or none that a computer can hold
        return np.nan


def exact_expected(task: Task, point: Point) -> list[Any]:
    """Return the reference's answer as exact objects where it can be had, otherwise as floats; arrays, to be shown."""
    try:
        given = point.exact if task.symbolic == "whole" else {n: objects(v) for n, v in point.exact.items()}
        return [np.asarray(objects(v), dtype=object) for v in _reference(task, given)]
    except Exception:  # noqa: BLE001  a comparison, an eigenvalue: floats will do
        return list(task.expected(point.inputs))


def _reference(task: Task, given: Inputs) -> tuple:
    value = task.drive(task.reference, given) if task.drive else task.reference(*given.values())
    return value if isinstance(value, tuple) else (value,)


def shown(part: Any) -> np.ndarray:
    """Return one exact output as an array of objects."""
    return np.asarray(objects(part), dtype=object)


def in_exact_numbers(task: Task, point: Point, verdict: Verdict) -> Verdict:
    """Rewrite what a verdict shows, point and both values, in exact numbers; and say where they differ."""
    expected = exact_expected(task, point)
    verdict.inputs = {name: objects(v) for name, v in point.exact.items()}
    if verdict.yours is not None:
        verdict.yours = [shown(p) for p in point.seen.exact]
        if verdict.mistake == "layer:values" and not task.diagnose and not task.explain:
            where = differs(verdict.yours, expected, [name for name, _ in task.outputs])
            verdict.sentence = f"Not the same: for the numbers below, {where}." if where else verdict.sentence
    verdict.expected = tuple(expected)
    return verdict


def differs(yours: Sequence[Any], expected: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """Say where two exact answers differ most, with both values; empty where it cannot be said."""
    for name, mine, right in zip(names, yours, expected):
        mine = shown(mine)
        if mine.shape != np.shape(right) and mine.size != np.size(right):
            continue
        mine = mine.reshape(np.shape(right))
        apart = np.abs(np.vectorize(lambda a, b: _number(sp.sympify(a)) - _number(sp.sympify(b)), otypes=[float])(mine, right))
        if not (apart > 0).any():
            continue
        place = np.unravel_index(np.nanargmax(apart), apart.shape) if apart.shape else ()
        where = f"entry [{', '.join(map(str, place))}] of `{name}`" if place else f"`{name}`"
        return f"{where} is {number(mine[place])}, expected {number(np.asarray(right)[place])}"
    return ""


def number(value: Any) -> str:
    """Write one number: exact where that is short, with its decimals.

    Examples
    --------
    >>> number(sp.Rational(5, 8)), number(sp.Integer(2)), number(0.25)
    ('5/8', '2', '0.25')
    """
    value = value.item() if isinstance(value, np.ndarray) else value
    if isinstance(value, sp.Basic) and len(str(value)) <= 24 and not value.has(sp.Float, sp.exp, sp.log, sp.E):
        return str(value)
    return f"{_number(sp.sympify(value)):.6g}"


def proved(task: Task, points: Sequence[Point], observed: Sequence[tuple[Inputs, Observation]]) -> tuple[str, str]:
    """Compare right values exactly.

    Returns
    -------
    fault, note : str, str
        A sentence if an exact answer is not exactly right; a note on how it was proved.
    """
    if any(has_floats(p.seen.exact) for p in points):
        return "", "it holds decimal numbers (Float), so it was judged to seven digits; with `Rational` it would be exact."
    names = [name for name, _ in task.outputs]
    for p in points:
        right = exact_expected(task, p)
        for name, mine, r in zip(names, p.seen.exact, right):
            mine = shown(mine).reshape(np.shape(r))
            for a, b in zip(mine.ravel(), np.ravel(r)):
                difference = sp.sympify(a) - sp.sympify(b) if isinstance(b, sp.Basic) else sp.Integer(0)
                if difference != 0 and (difference.is_Rational or _apart(a, b)):
                    return f"Nearly, but not exactly: `{name}` holds {a} where {b} is right.", ""
    symbolic = [(i, o) for i, o in observed if _symbols(i)]
    if not symbolic:
        return "", ""
    count = sum(1 for p in points if _symbols(observed[p.probe][0]))
    if all(_expands_to_zero(task, i, o) for i, o in symbolic):
        return "", f"the same at {count} random rational points, and the difference expands to 0: proved at these sizes."
    return "", f"the same at {count} random rational points."


def _apart(a: sp.Expr, b: sp.Expr) -> bool:
    """Tell two irrational numbers apart; each by itself, as SymPy takes seconds to see that a difference is 0."""
    a, b = sp.N(a, 40), sp.N(b, 40)
    return abs(_number(a - b)) > NEARLY * max(1, abs(_number(b)))


def has_floats(parts: Sequence[sp.Basic]) -> bool:
    """Whether an exact answer holds decimal numbers."""
    return any(p.has(sp.Float) for p in parts)


def _expands_to_zero(task: Task, inputs: Inputs, seen: Observation) -> bool:
    try:
        mine = [shown(trees.matrix(part, _symbols(inputs))) for part in seen.exact]
        right = [shown(v) for v in _reference(task, {n: objects(v) for n, v in inputs.items()})]
        return all(_zero(a - b) for m, r in zip(mine, right) for a, b in zip(m.ravel(), r.ravel(), strict=True))
    except Exception:  # noqa: BLE001  then the points must do
        return False


def _zero(difference: sp.Expr) -> bool:
    difference = sp.sympify(difference)
    if sp.count_ops(difference) > LARGEST:
        return False
    if _terms(difference) <= TERMS and sp.expand(difference) == 0:
        return True
    above = sp.fraction(sp.together(difference))[0]
    return _terms(above) <= TERMS and sp.expand(above) == 0


def _terms(expression: sp.Expr) -> int:
    """Return at most how many terms an expression has when it is expanded."""
    if expression.is_Add:
        return sum(map(_terms, expression.args))
    if expression.is_Mul:
        return math.prod(map(_terms, expression.args))
    if expression.is_Pow and expression.exp.is_Integer:
        return math.comb(_terms(expression.base) + abs(int(expression.exp)) - 1, abs(int(expression.exp)))
    return 1
