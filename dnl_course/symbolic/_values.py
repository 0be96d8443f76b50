"""The other half of `dnl_course.symbolic.verify`: a formula's value at random rational numbers (lessons 05 to 07).

It shares nothing with the expansion: fractions where the value is one, else intervals of 400 digits, which bound every
rounding error. If 0 lies outside, the value is not 0.
"""

from __future__ import annotations

from math import prod

import sympy as sp
from mpmath.ctx_iv import MPIntervalContext

__all__ = ["DIGITS", "MOST_DRAWS", "defined"]

MOST_DRAWS = 400  # for one point: more of them undefined, and the formula has hardly any value at all
DIGITS = 40
PRECISIONS = (60, 400)  # attention weights that differ by 1e-100 do differ


def defined(entry, symbols, rng, spread):
    """A random point at which ``entry`` is defined, and its value there; 0 means 0 exactly, or to 40 digits."""
    for _ in range(MOST_DRAWS):
        point = {symbol: _number(symbol, rng, spread) for symbol in symbols}
        value = entry.xreplace(point)
        if value.is_Rational:
            return point, value
        if value.has(sp.nan, sp.zoo, sp.oo, -sp.oo, sp.I):
            continue
        try:
            return point, _to_digits(value)
        except (ZeroDivisionError, ValueError):
            continue  # the logarithm of 0, the root of a negative number
    raise ValueError(f"{str(entry)[:60]} is not defined at any of {MOST_DRAWS} random points.") from None


def _number(symbol, rng, spread):
    """A random rational that is not 0 and meets the symbol's assumptions."""
    wanted = {name: value for name, value in symbol.assumptions0.items() if name != "commutative"}
    for attempt in range(MOST_DRAWS):
        number = sp.Rational(rng.randint(-2 * spread, 2 * spread), 1 if attempt % 2 else rng.randint(1, 6))
        if number and all(getattr(number, f"is_{name}") == value for name, value in wanted.items()):
            return number
    raise ValueError(f"no rational number was found that meets the assumptions of {symbol}: {wanted}.") from None


def _to_digits(value):
    """The value as a Float, or 0 if an interval of 400 digits around it, narrower than 1e-40, holds 0."""
    for digits in PRECISIONS:
        bounds = _Bounds(digits)
        try:
            interval = bounds.of(value)
        except (ZeroDivisionError, ValueError):
            if digits == PRECISIONS[-1]:
                raise
            continue
        if 0 not in interval:
            return value.evalf(15, maxn=3 * digits)
    if not interval.delta < bounds.context.mpf(10) ** -DIGITS:
        raise ValueError  # too large to tell
    return sp.S.Zero


class _Bounds:
    """Intervals of constant expressions. ValueError: a logarithm or a root outside its domain."""

    def __init__(self, digits):
        self.context = MPIntervalContext()
        self.context.dps = digits
        self.known = {sp.E: self.context.e, sp.pi: self.context.pi}

    def of(self, e):
        if e not in self.known:
            parts = [self.of(part) for part in e.args]
            self.known[e] = self.context.mpf(e.p) / e.q if e.is_Rational else self.join(e, parts)
        return self.known[e]

    def join(self, e, parts):
        if e.is_Add:
            return sum(parts, self.context.mpf(0))
        if e.is_Mul:
            return prod(parts, start=self.context.mpf(1))
        if e.is_Pow and e.exp.is_Integer:
            if e.exp < 0 and 0 in parts[0]:
                raise ZeroDivisionError
            return parts[0] ** int(e.exp)
        if e.is_Pow:
            return self.context.exp(parts[1] * self.logarithm(parts[0]))
        if isinstance(e, sp.log):
            return self.logarithm(parts[0])
        grown = self.context.exp(parts[0])
        up, down = grown + 1 / grown, grown - 1 / grown
        return {"exp": grown, "sinh": down / 2, "cosh": up / 2, "tanh": down / up}[e.func.__name__]

    def logarithm(self, x):
        if not x > 0:
            raise ValueError
        return self.context.log(x)
