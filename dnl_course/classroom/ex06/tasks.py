"""Exercise 06: Proposition 1 as the slides print it, where it fails, and two statements that hold (lesson 06; claims B and C1)."""

from __future__ import annotations

import numpy as np
import sympy as sp

from ..exact import rational, rationals, unknowns
from ..task import AlsoRight, Exercise, Probe, Task
from . import mistakes, properties, references

ROUNDED = AlsoRight(
    "you computed in decimals, which are right to twelve digits; with exact numbers (`Rational`, `sqrt`) it would be equal, "
    "not nearly.",
    {"key": "rounded"},
)
CORNERS = sp.Matrix([[0, 0], [1, 0], [0, 1]])  # the triangle of the lesson


def _probes_fraction(rng):
    Q, K = sp.Matrix([[0, 1], [2, 0], [1, 3]]), sp.Matrix([[1, 0], [0, 2], [3, 1], [1, 1]])
    return [
        Probe({"Q": Q, "K": K, "alpha": sp.Matrix([[1, 2]]), "beta": sp.Matrix([[2, 0]])}),
        Probe({"Q": rationals(rng, 4, 3), "K": rationals(rng, 2, 3), "alpha": rationals(rng, 1, 3), "beta": rationals(rng, 1, 3)}),
        Probe({"Q": rationals(rng, 2, 2), "K": rationals(rng, 3, 2), "alpha": unknowns("a", 1, 2), "beta": unknowns("b", 1, 2)}),
    ]


def _crossed(rng, u, rows):
    """Queries along u, 40 units out, keys across it: what looks like an answer and is none fails here, on every draw.

    So do the queries of these rows.
    """
    u = sp.Matrix([u])
    across = sp.Matrix([[-u[1], u[0]]])

    def cloud(along, over, far):
        return sp.Matrix([list((far + a) * u + b * across) for a, b in zip(along, over)])

    while True:
        queries = cloud(rationals(rng, 1, 5, 0, 4), rationals(rng, 1, 5, 0, 2), 40)
        keys = cloud(rationals(rng, 1, 4, 0, 1), rationals(rng, 1, 4, 0, 3), 7 + rational(rng))
        queries = _reordered(queries, u, rows)
        chosen = [properties.floats(queries)[i] for i in rows]
        if _worse(queries, keys, [*chosen, *(a for given in properties.traps(queries, keys).values() for a in given)]):
            return Probe({"Q": queries, "K": keys})


def _reordered(Q, u, rows):
    """Move the queries that lie nearest to the direction u, seen from their mean, to these rows."""
    d = properties.floats(Q) - properties.floats(Q).mean(0)  # (N, 2)
    across = abs(d @ properties.floats(sp.Matrix([[-u[1]], [u[0]]]))[:, 0]) / np.linalg.norm(d, axis=1).clip(1e-9)
    order = list(np.argsort(across)[len(rows):])
    for row, nearest in zip(sorted(rows), np.argsort(across)):
        order.insert(row, nearest)
    return Q.extract([int(i) for i in order], [0, 1])


def _worse(Q, K, points) -> bool:
    """Whether the first fraction at all these points is clearly smaller than at the mean of the queries."""
    q, k = properties.floats(Q), properties.floats(K)
    d = q.mean(0) - np.array(points)  # (points, 2)
    A, S = (np.cov(x.T, bias=True) / np.cov(x.T, bias=True).trace() for x in (k, q))
    return ((d @ A * d).sum(1) / (d * d).sum(1) < 0.97 * (A @ S).trace()).all()


def _probes_better(rng):
    sides = [sp.Rational(3, 5), sp.Rational(4, 5)], [sp.Rational(21, 29), sp.Rational(-20, 29)]
    return [Probe({"Q": CORNERS, "K": CORNERS}), *(_crossed(rng, u, rows) for u, rows in zip(sides, ((1,), (2, 4))))]


def _covariance(rng, size):
    return references.covariance(rationals(rng, size + 2, size))


def _probes_hessian(rng):
    s = unknowns("s", 1, 3, positive=True)
    return [
        Probe({"S_q": sp.Matrix([[2, 1], [1, 4]]), "S_k": sp.Matrix([[5, 2], [2, 3]])}),
        Probe({"S_q": _covariance(rng, 3), "S_k": _covariance(rng, 3)}),
        Probe({"S_q": sp.Matrix([[s[0], s[1]], [s[1], s[2]]]), "S_k": _covariance(rng, 2)}),
    ]


def _line(rng, number, size):
    """Queries on a line that does not go through 0."""
    start, step = rationals(rng, 1, size, 2), rationals(rng, 1, size)
    return sp.Matrix([list(start + t * step) for t in rationals(rng, 1, number, 0, 2)])


def _probes_minimiser(rng):
    def drawn(number, keys, size):
        while True:
            Q, K = _line(rng, number, size), rationals(rng, keys, size)
            mean, step = references.mean_row(Q), Q.row(1) - Q.row(0)
            rows = (mean, references.mean_row(K), *(Q.row(i) for i in range(number)))
            apart = [abs(x) for x in (*step, *(properties.dot(step, row) for row in rows))]  # nothing is at right angles by luck
            if references.covariance(K).det() > sp.Rational(1, 1000) and min(apart) > sp.Rational(1, 20):
                return Probe({"Q": Q, "K": K})

    first = Probe({"Q": sp.Matrix([[1, 0], [2, 1], [6, 5]]), "K": sp.Matrix([[0, 1], [2, 0], [1, 3], [5, 0]])})
    return [first, drawn(4, 3, 2), drawn(3, 5, 3)]


def _probes_repaired(rng):
    return [
        Probe({"w": sp.Matrix([[1, 2, 0], [3, -1, 2]])}),
        Probe({"w": rationals(rng, 4, 3)}),
        Probe({"w": unknowns("w", 2, 3)}),
    ]


TASKS = (
    Task(
        id="06.1",
        title="the first fraction, as printed",
        minutes=12,
        difficulty=2,
        core=True,
        symbolic="points",
        reference=references.first_fraction,
        probes=_probes_fraction,
        outputs=(("fraction", ""),),
        mistakes=mistakes.FIRST_FRACTION,
        hints=(
            (
                "Three sums. The upper one has three loops (i over the queries, m and n over the keys); below, one sum has "
                "one loop, the other two."
            ),
            (
                "The rows are `Q.row(i) - alpha` and `K.row(m) - beta`, and `x.dot(y)` is their dot product. Square the "
                "difference of two dot products before you add."
            ),
            (
                "`a = [Q.row(i) - alpha for i in range(Q.rows)]`, `b = [K.row(m) - beta for m in range(K.rows)]`; above "
                "`sum((x.dot(y) - x.dot(z))**2 for x in a for y in b for z in b)`, below `sum(x.dot(x) for x in a)` times "
                "`sum((y - z).dot(y - z) for y in b for z in b)`."
            ),
        ),
    ),
    Task(
        id="06.2",
        title="an α that is better than the mean",
        minutes=10,
        difficulty=2,
        core=True,
        seminar=True,
        symbolic="whole",
        reference=references.better_than_mean,
        probes=_probes_better,
        outputs=(("alpha", "(1, 2)"),),
        mistakes=mistakes.BETTER_THAN_MEAN,
        diagnose=properties.larger_than_at_the_mean,
        hints=(
            (
                "In the short form only d A dᵀ and |d|² change with d = μ_q − α. Along which direction is d A dᵀ largest, for "
                "its length? (Searching works too: try points around the mean of the queries.)"
            ),
            (
                "Along the eigenvector of the largest eigenvalue of the keys' covariance; go any distance from the mean of "
                "the queries, in either sense."
            ),
            (
                "With the two means `Q_mean`, `K_mean` (1, 2): `C = K - sp.ones(K.rows, 1) * K_mean`, `S = C.T * C`, "
                "`e = max(S.eigenvects(), key=lambda e: sp.N(e[0]))`, which is (value, multiplicity, [vector]), and return "
                "`Q_mean + e[2][0].T`."
            ),
        ),
    ),
    Task(
        id="06.3",
        title="the Hessian at the mean",
        minutes=12,
        difficulty=2,
        symbolic="points",
        reference=references.hessian_at_mean,
        probes=_probes_hessian,
        outputs=(("hessian", "(D, D)"),),
        mistakes=mistakes.HESSIAN_AT_MEAN,
        hints=(
            (
                "By machine: symbols for d, the short form as an expression, `sp.hessian(expression, d)`, then d = 0. By "
                "hand: what is the short form up to second order in d?"
            ),
            (
                "(s r₀ + d A dᵀ)/(s + d dᵀ) = r₀ + d (A − r₀ I) dᵀ/(s + d dᵀ). Up to second order the denominator is s, and a "
                "quadratic form x M xᵀ with symmetric M has the Hessian 2M."
            ),
            (
                "`s = S_q.trace()`, `A = S_k / S_k.trace()`, `r0 = (A * S_q).trace() / s`, and return `2 * (A - r0 * "
                "sp.eye(D)) / s` with D = `S_q.rows`."
            ),
        ),
    ),
    Task(
        id="06.4",
        title="data for which the means are the worst",
        minutes=10,
        difficulty=3,
        symbolic="whole",
        reference=references.mean_is_a_minimum,
        probes=lambda rng: [Probe({})],
        outputs=(("Q", "any (N, D)"), ("K", "any (M, D)")),
        mistakes=mistakes.MEAN_IS_A_MINIMUM,
        diagnose=properties.minimum_at_the_means,
        also_right=(ROUNDED,),
        hints=(
            (
                "Both fractions are sums of squares over something positive, so neither can be below 0. Can they be 0 at the "
                "means?"
            ),
            (
                "At the means the first numerator has the products (q_i − μ_q)·(k_m − k_n): make every centred query "
                "orthogonal to every difference of keys."
            ),
            "Queries along one axis, keys along the other: two of each are enough, such as (−1, 0), (1, 0) and (0, −1), (0, 1).",
        ),
    ),
    Task(
        id="06.5",
        title="a second minimiser of F",
        minutes=12,
        difficulty=2,
        symbolic="whole",
        reference=references.second_minimiser,
        probes=_probes_minimiser,
        outputs=(("alpha", "(1, D)"), ("beta", "(1, D)")),
        mistakes=mistakes.SECOND_MINIMISER,
        diagnose=properties.second_minimiser,
        also_right=(ROUNDED,),
        hints=(
            (
                "With d = 0 only e S_q eᵀ is left to make F larger. Collinear queries vary in one direction only: for which e is "
                "e S_q eᵀ zero?"
            ),
            "For every e at right angles to the differences q_i − q_j. So α is the mean of the queries, and β the mean of the "
            "keys plus e.",
            (
                "`(Q - sp.ones(Q.rows, 1) * Q.row(0)).nullspace()[0].T` is such an e, in any dimension; return "
                "`Q_mean, K_mean + e`."
            ),
        ),
    ),
    Task(
        id="06.6",
        title="the objective, repaired",
        minutes=6,
        difficulty=1,
        core=True,
        symbolic="points",
        reference=references.repaired_objective,
        probes=_probes_repaired,
        outputs=(("objective", ""),),
        mistakes=mistakes.REPAIRED_OBJECTIVE,
        hints=(
            "Two triple sums above, one double sum below; N, M = w.shape.",
            "`sum((w[i, m] - w[i, n])**2 for i in range(N) for m in range(M) for n in range(M))` is the first; the second has "
            "two rows.",
            (
                "The second is `sum((w[i, m] - w[j, m])**2 for m in range(M) for i in range(N) for j in range(N))`; divide "
                "the two together by `sum(x**2 for x in w)`."
            ),
        ),
    ),
)

EXERCISE = Exercise("06", "Proposition 1", TASKS, answer_modules=("dnl_course.symbolic",))
