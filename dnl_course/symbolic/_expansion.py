"""The exact half of `dnl_course.symbolic.verify`: numerator of an expression, expanded (lessons 05 to 07).

A rational expression is 0 iff its numerator over a common denominator expands to 0. Exponentials are brought in as
unknowns: ``exp(c1 m1 + c2 m2) = t1^(c1 L1) t2^(c2 L2)`` with ``t = exp(m/L)`` for every monomial m. Exponentials of
different monomials satisfy no polynomial relation, so the test stays exact. Logarithms and roots become unknowns too;
then 0 still proves, but something else does not refute.
"""

from __future__ import annotations

from math import lcm

import sympy as sp
from sympy.polys.rings import PolyRing

__all__ = ["vanishes"]


def vanishes(expr: sp.Expr) -> bool | None:
    """Is ``expr`` 0? True and False are proofs; None says that it is not 0 as a rational function of its unknowns.

    Raises ZeroDivisionError where a denominator expands to 0.
    """
    expr, logarithms, decides = _exponentials(expr.rewrite([sp.sinh, sp.cosh, sp.tanh], sp.exp))
    if expr.has(sp.log):
        expr, decides = _logarithms(expr, logarithms), False
    expr, opaque = _opaque(expr)
    zero = _Fractions(expr).of(expr)[0] == 0
    return True if zero else False if decides and not opaque else None


def _exponentials(expr):
    """Exponentials of sums as powers of positive unknowns t; also ``log t`` of each, and whether this took them all."""
    raised, decides = {}, True  # exp(c1 m1 + c2 m2) to its pairs (c, m)
    for power in sorted(expr.atoms(sp.exp), key=sp.default_sort_key):
        if power.exp.has(sp.exp, sp.log):
            decides = False
            continue
        parts = [term.as_coeff_Mul() for term in sp.Add.make_args(sp.expand(power.exp))]
        raised[power] = [(c, part) if c.is_Rational else (sp.S.One, c * part) for c, part in parts]
        decides &= all(_is_monomial(part) for _, part in parts)
    if expr.has(sp.E):
        raised[sp.E] = [(sp.S.One, sp.S.One)]
    shares = {}  # m to L
    for c, part in (pair for pairs in raised.values() for pair in pairs):
        shares[part] = lcm(shares.get(part, 1), int(c.q))
    unknown = {part: sp.Dummy(f"t{n}", positive=True) for n, part in enumerate(shares)}
    swap = {e: sp.Mul(*(unknown[part] ** (c * shares[part]) for c, part in pairs)) for e, pairs in raised.items()}
    return expr.xreplace(swap), {t: part / shares[part] for part, t in unknown.items()}, decides


def _is_monomial(part):
    """A product of whole powers of symbols: what is left of a term of a Laurent polynomial without its number."""
    powers = (factor.as_base_exp() for factor in sp.Mul.make_args(part))
    return part == 1 or all(base.is_Symbol and n.is_Integer for base, n in powers)


def _logarithms(expr, known):
    """Logarithms of products of positive factors as sums; ``known`` holds those of the unknowns t."""
    fractions, swap = _Fractions(expr), {}
    for logarithm in expr.atoms(sp.log):
        inside, opaque = _opaque(logarithm.args[0])
        if not opaque:
            number, factors = fractions.factored(fractions.of(inside))
            if number.LC > 0 and all(map(fractions.is_positive, factors)):
                primes = sp.factorrat(sp.Rational(number.LC.numerator, number.LC.denominator))
                parts = [n * sp.log(prime) for prime, n in primes.items() if prime != 1]
                parts += [n * known.get(base.as_expr(), sp.log(base.as_expr())) for base, n in factors.items()]
                swap[logarithm] = sp.Add(*parts)
    return expr.xreplace(swap)


def _opaque(expr):
    """Whatever is no sum, product or whole power becomes an unknown; the second is True if anything did."""
    swap = {}

    def walk(e):
        if e.is_Symbol or e.is_Rational:
            return e
        if e.is_Add or e.is_Mul or (e.is_Pow and e.exp.is_Integer):
            return e.func(*map(walk, e.args))
        return swap.setdefault(e, sp.Dummy(f"u{len(swap)}"))

    return walk(expr), bool(swap)


class _Fractions:
    """Values are pairs: a polynomial, and whole powers (also negative) of polynomials that are left as factors."""

    def __init__(self, expr):
        names = sorted(expr.free_symbols, key=sp.default_sort_key)
        self.ring = PolyRing([sp.Dummy()] + names, sp.QQ)  # the first is not used: a ring needs one
        self.known = dict(zip(names, self.ring.gens[1:]))

    def of(self, e):
        if e.is_Rational:
            return self.ring(sp.QQ(e.p, e.q)), {}
        if e.is_Symbol:
            return self.ring(1), {self.known[e]: 1}
        if e.is_Mul:
            return self.product([self.of(f) for f in e.args])
        if e.is_Add:
            return self.total([self.of(f) for f in e.args])
        return self.power(self.of(e.base), int(e.exp))

    def product(self, values):
        number, factors = self.ring(1), {}
        for polynomial, powers in values:
            number = number * polynomial
            for base, n in powers.items():
                factors[base] = factors.get(base, 0) + n
        return number, {base: n for base, n in factors.items() if n}

    def total(self, values):
        groups = {}  # first what has the same denominators: much of it cancels before anything is multiplied out
        for polynomial, powers in values:
            below = frozenset(base for base, n in powers.items() if n < 0)
            groups.setdefault(below, []).append((polynomial, powers))
        return self.over_one_denominator([self.over_one_denominator(group) for group in groups.values()])

    def over_one_denominator(self, values):
        values = [value for value in values if value[0] != 0]
        if len(values) == 1:
            return values[0]
        bases = list(dict.fromkeys(base for _, powers in values for base in powers))
        common = {base: min(powers.get(base, 0) for _, powers in values) for base in bases}
        whole = self.ring(0)
        for polynomial, powers in values:
            for base in bases:
                if over := powers.get(base, 0) - common[base]:
                    polynomial = polynomial * base**over
            whole = whole + polynomial
        return whole, ({} if whole == 0 else {base: n for base, n in common.items() if n})

    def power(self, value, n):
        if n < 0:
            value = self.factored(value)
        polynomial, powers = value
        number = polynomial**n if n >= 0 else self.ring(1 / polynomial.LC**-n)
        return number, {base: m * n for base, m in powers.items() if n}

    def factored(self, value):
        """A value with its polynomial taken apart: number, what all terms share, and the rest, as 2 t1 t2 + 2 t1 = 2 t1 (t2 + 1)."""
        polynomial, powers = value
        if polynomial == 0:
            raise ZeroDivisionError
        shared = [min(powers) for powers in zip(*polynomial.monoms())]
        rest = {tuple(m - n for m, n in zip(monomial, shared)): c for monomial, c in polynomial.monic().terms()}
        parts = {gen: n for gen, n in zip(self.ring.gens, shared) if n}
        if len(rest) > 1:
            parts[self.ring.from_dict(rest)] = 1
        return self.product([(self.ring(polynomial.LC), powers), (self.ring(1), parts)])

    def is_positive(self, polynomial):
        """Is it positive for sure: no term can be negative, and one is always positive?"""

        def signs(powers):
            for t, n in zip(self.ring.symbols, powers):
                if n:
                    yield 1 if t.is_positive else 0 if n % 2 == 0 or t.is_nonnegative else -1

        least = [min(signs(powers), default=1) if c > 0 else -1 for powers, c in polynomial.terms()]
        return min(least) >= 0 and max(least) == 1
