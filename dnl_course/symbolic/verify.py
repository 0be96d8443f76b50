"""Is an expression 0 everywhere? Two answers that do not share their arithmetic (lessons 05 to 07).

The expansion (`_expansion.py`) works on the formula as a whole. The points (`_values.py`) put random rational numbers into
the formula as it stands, and compute with fractions, or with 400 digits where exponentials, logarithms or roots are left.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import NamedTuple

import sympy as sp

from dnl_course.symbolic import _expansion, _values

__all__ = ["Verified", "verify"]

NUMBERS = (sp.Rational, type(sp.E), type(sp.pi))
KNOWN = (sp.Symbol, *NUMBERS, sp.Add, sp.Mul, sp.Pow, sp.exp, sp.log, sp.sinh, sp.cosh, sp.tanh)
UNDECIDED_POINTS = 20  # where no expansion answers, points must; small ones could all lie on one side of a kink
SHOWN = 12  # symbols of a counter-example that the text lists
LARGE = 300  # operations; simplify takes seconds beyond


class Verified(NamedTuple):
    """What `verify` found; true in an ``if`` when the claim holds.

    Attributes
    ----------
    holds : bool
        Is it 0 everywhere?
    expanded : bool
        Did the exact expansion give 0? If not, and it holds all the same, the points alone say so.
    points : int
        Random rational points at which it is 0, exactly or, with exponentials, logarithms and roots, to 40 digits.
    counterexample : dict, Symbol to Rational, or None
        Where it is not 0. Empty for a number, which has no symbols.
    value : Expr or None
        The value there: a Rational, or a Float of 15 digits where an exponential, a logarithm or a root is left.
    entry : tuple or None
        Which entry of a matrix or list that is, counted from 0; None for a single expression.
    shown : str
        The expression that is not 0, shortened.
    """

    holds: bool
    expanded: bool
    points: int
    counterexample: dict | None = None
    value: sp.Expr | None = None
    entry: tuple | None = None
    shown: str = ""

    def __bool__(self):
        return self.holds

    def __repr__(self):
        if self.holds:
            if not self.points:
                how = "by expansion" if self.expanded else f"to {_values.DIGITS} digits"
                return f"0, {how} (no symbols are left to put numbers into)"
            at = f"at {self.points} random rational point{'s' * (self.points > 1)}"
            if self.expanded:
                return f"0, by expansion and {at}"
            return f"0 {at} to {_values.DIGITS} digits; no expansion gave 0"
        where = [f"{symbol}: {number}" for symbol, number in self.counterexample.items()]
        where = ", ".join(where if len(where) <= SHOWN else [*where[:SHOWN], f"… {len(where)} symbols"])
        entry = "" if self.entry is None else f"entry {list(self.entry)}, "
        return f"not 0: {entry}{self.shown}" + (f"; at {{{where}}} it is {self.value}" if where else "")


def verify(expr, *, points: int = 3, seed: int = 0) -> Verified:
    """Prove that an expression is 0 everywhere, or find a point at which it is not.

    Two ways, which must agree. Expansion: over a common denominator the numerator must expand to 0; exponentials of
    polynomials are unknowns of their own there, so for sums, products, quotients, whole powers and such exponentials
    this decides. Points: random rational numbers that meet the symbols' assumptions are put into the formula as it
    stands; where it has no real value there, others are drawn. Where expansion does not decide (logarithms and roots
    that do not cancel), 20 points must do, to 40 digits: strong evidence and no proof, and ``expanded`` says so.

    Parameters
    ----------
    expr : Expr, Matrix, or list or tuple of them
        What is claimed to be 0: write ``verify(left - right)``. Symbols stand for real numbers, within their assumptions
        (a symbol without assumptions too). Unevaluated derivatives and finite sums are evaluated.
    points : int
        At how many random points, at least 1.
    seed : int
        Of the points; the same seed gives the same answer.

    Returns
    -------
    Verified
        Measured on one core at N, M, D = 4, 4, 3: 0.1 s for the split, 0.7 s under softmax, 1.5 s with logarithms of
        the softmax, up to 0.8 s for the gradients, 4 s to refute a sum of fractions with many denominators. At 6, 6, 3 it
        is 0.4, 3, 8 and 3 s; at 8, 8, 4 the logarithms take more than 20 s, and the split still 1.5 s.

    Raises
    ------
    TypeError
        Anything else: truth values and equations, strings, arrays, matrices without entries, floats in a formula (they
        are rounded, a Rational is not), ``I``, ``Abs`` and other functions that it does not know.
    ValueError
        An empty list or matrix; nan or infinity; a formula that is not defined at any point; two different symbols of
        one name (``Symbol("q11")`` and ``Symbol("q11", real=True)`` are two unknowns to SymPy and print alike).
    AssertionError
        The two ways disagree, which says that one of them is broken.

    Examples
    --------
    >>> a, b = sp.symbols("a b", real=True)
    >>> verify((a + b) ** 2 - a**2 - 2 * a * b - b**2)
    0, by expansion and at 3 random rational points
    >>> verify(sp.exp(a) / (sp.exp(a) + sp.exp(b)) - 1 / (1 + sp.exp(b - a))).holds
    True
    >>> wrong = verify((a + b) ** 2 - a**2 - b**2)
    >>> wrong.holds, wrong.value == 2 * wrong.counterexample[a] * wrong.counterexample[b]
    (False, True)
    """
    for name, number, least in (("points", points, 1), ("seed", seed, None)):
        if isinstance(number, bool) or not isinstance(number, (int, sp.Integer)):
            raise TypeError(f"{name} is {number!r}; allowed is a whole number.") from None
        if least is not None and number < least:
            raise ValueError(f"{name} is {number}; allowed is a whole number of at least {least}.") from None
    entries = list(_entries(expr, ()))
    if not entries:
        raise ValueError(f"expr holds no entry ({expr!r}), so there is nothing to verify.") from None
    entries = [(where, _checked(entry)) for where, entry in entries]
    _one_symbol_per_name(entry for _, entry in entries)
    seen, expanded, tried = set(), True, []
    for where, entry in entries:
        if entry in seen:
            continue
        seen.add(entry)
        try:
            zero = _expansion.vanishes(entry)
        except ZeroDivisionError:
            raise ValueError(f"{_short(entry)} divides by something that is 0 everywhere.") from None
        found = _at_points(entry, zero, int(points), int(seed))
        if found.counterexample is not None:
            return found._replace(entry=where or None, shown=_short(_factored(entry)))
        expanded &= bool(zero) or (zero is None and sp.count_ops(entry) <= LARGE and sp.simplify(entry) == 0)
        tried.append(found.points)
    return Verified(True, expanded, min((n for n in tried if n), default=0))


def _entries(value, where):
    """Pairs of an index and an expression."""
    if isinstance(value, sp.MatrixBase):
        for i in range(value.rows):
            for j in range(value.cols):
                yield (*where, i, j), value[i, j]
    elif isinstance(value, (list, tuple)) and not isinstance(value, Verified):
        for n, part in enumerate(value):
            yield from _entries(part, (*where, n))
    elif isinstance(value, (int, Fraction)) and not isinstance(value, bool):
        yield where, sp.Rational(value)
    elif isinstance(value, sp.Expr) and not isinstance(value, sp.MatrixExpr):
        yield where, value
    else:
        truth = isinstance(value, (bool, sp.logic.boolalg.Boolean))
        what = "a truth value" if truth else f"an object of type {type(value).__name__}"
        mend = "verify(left - right), not left == right" if truth else "explicit matrices and exact numbers"
        raise TypeError(f"expr is or holds {what}; allowed is an Expr, a Matrix, or a list of them: {mend}.") from None


def _checked(entry):
    """The expression, with what waits to be evaluated evaluated, if it holds nothing unknown."""
    if entry.has(sp.Derivative, sp.Integral, sp.Sum, sp.Product, sp.Subs):
        entry = entry.doit()
    if entry.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise ValueError(f"{_short(entry)} holds nan or infinity: it was divided by 0 somewhere.") from None
    for part in sp.preorder_traversal(entry):
        if isinstance(part, sp.Float):
            raise TypeError(f"{_short(entry)} holds the rounded number {part}; write it exactly, as sympy.Rational(1, 2).") from None
        if not isinstance(part, KNOWN) or part.is_commutative is False or (part.is_Symbol and part.is_real is False):
            raise TypeError(
                f"{_short(entry)} holds {part}, {_kind(part)}; allowed are real symbols, exact numbers, + - * / **, "
                "exp, log, sqrt, sinh, cosh and tanh."
            ) from None
    return entry


def _kind(part):
    return "a symbol that is not a real number" if part.is_Symbol else f"of type {type(part).__name__}"


def _one_symbol_per_name(entries):
    named = {}
    for symbol in {symbol for entry in entries for symbol in entry.free_symbols}:
        other = named.setdefault(symbol.name, symbol)
        if other != symbol:
            raise ValueError(
                f"two different symbols are named {symbol}: their assumptions differ, and to SymPy they are two unknowns. "
                "Make each symbol once and use it everywhere (symbols_matrix makes real ones)."
            ) from None


def _at_points(entry, zero, points, seed):
    """Values at random points; stops at the first that is not 0. ``zero`` is what the expansion says."""
    rng = random.Random(seed)
    symbols = sorted(entry.free_symbols, key=_natural)
    wanted = {True: points, False: _values.MOST_DRAWS, None: max(points, UNDECIDED_POINTS)}[zero] if symbols else 1
    raised = entry.has(sp.exp, sp.sinh, sp.cosh, sp.tanh)  # exponentials of large numbers saturate
    done = 0
    while done < wanted:
        spread = 3 + done // 40 if zero is False and raised else 3 + 2 * done if raised else 3 * 2 ** (done // 2)
        point, value = _values.defined(entry, symbols, rng, spread)
        if value:
            if zero:
                raise AssertionError(f"{_short(entry)} expands to 0 and is {value} at {point}: one of the two is wrong.")
            return Verified(False, False, done, point, value)
        done += 1
    if zero is False:
        raise AssertionError(f"{_short(entry)} does not expand to 0 and is 0 at {done} points: one of the two is wrong.")
    return Verified(True, bool(zero), done if symbols else 0)


def _natural(symbol):
    """q2 before q10."""
    digits = "".join(c if c.isdigit() else " " for c in symbol.name).split()
    return "".join(c for c in symbol.name if not c.isdigit()), [int(d) for d in digits], symbol.name


def _factored(entry):
    """The shorter of an expression and its factors, where they are soon found."""
    quick = sp.count_ops(entry) <= 100 and not entry.atoms(sp.Function) and len(entry.free_symbols) <= 12
    return min(entry, sp.factor(entry), key=lambda e: len(str(e))) if quick else entry


def _short(entry, width=60):
    text = str(entry)
    return text if len(text) <= width else text[: width - 2] + " …"
