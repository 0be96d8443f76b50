"""`dnl_course.symbolic.proposition`, `saddle`, `repair`: claims B1 to B7 and C1, exactly; oracles: loops, autograd."""

import itertools
import random
import time

import numpy as np
import pytest
import sympy as sp
import torch

from dnl_course.symbolic import _proposition_checks as checks
from dnl_course.symbolic import proposition
from dnl_course.symbolic.objects import centred, covariance, mean_row, symbols_matrix
from dnl_course.symbolic.proposition import (
    energy, energy_closed_form, first_fraction, gradient, hessian, hessian_at_means, means_are_unique, nature,
    objective, reduced_fraction, repaired, repaired_closed_form, repaired_objective, repaired_reduced,
    second_fraction, stationary_points, supremum,
)  # fmt: skip
from dnl_course.symbolic.verify import verify

R = sp.Rational
TRIANGLE = sp.Matrix([[0, 0], [1, 0], [0, 1]])
LINE = sp.Matrix([[0, 0], [2, 0]])
UPRIGHT = sp.Matrix([[0, 0], [0, 2]])
SQUARE = sp.Matrix([[1, 1], [1, -1], [-1, 1], [-1, -1]])
SIZES = ((3, 4, 1), (2, 5, 1), (4, 3, 2), (3, 3, 2), (5, 4, 3), (3, 5, 3))
t, u = sp.symbols("t u", real=True)


def row(*entries):
    return sp.Matrix([entries])


def draw(rng, rows, columns, mean=1):
    return sp.Matrix(rows, columns, lambda i, j: mean + R(rng.randint(-12, 12), rng.randint(1, 6)))


def problem(seed, N, M, D):
    rng = random.Random(seed)
    return draw(rng, N, D), draw(rng, M, D), draw(rng, 1, D), draw(rng, 1, D)


def parts(Q, K, alpha, beta):
    return covariance(Q), covariance(K), mean_row(Q) - alpha, mean_row(K) - beta


def unit_trace(S):
    return S / S.trace()


def quotient(S_q, S_k):
    """r0."""
    return (S_k * S_q).trace() / (S_q.trace() * S_k.trace())


# ------------------------------------------------------------------ oracles: loops over floats, and torch


def floats(X):
    return np.array(X.tolist(), dtype=float)


def first_loops(Q, K, a, b):
    top = queries = keys = 0.0
    for q in Q:
        queries += sum((x - y) ** 2 for x, y in zip(q, a))
        for k in K:
            for l in K:
                one = sum((x - y) * (z - w) for x, y, z, w in zip(q, a, k, b))
                two = sum((x - y) * (z - w) for x, y, z, w in zip(q, a, l, b))
                top += (one - two) ** 2
    for k in K:
        for l in K:
            keys += sum((x - y) ** 2 for x, y in zip(k, l))
    return top / (queries * keys)


def energy_loops(Q, K, a, b):
    return sum(sum((x - y) * (z - w) for x, y, z, w in zip(q, a, k, b)) ** 2 for q in Q for k in K)


def repaired_loops(w):
    total = 0.0
    for i, r in enumerate(w):
        for m, x in enumerate(r):
            total += sum((x - y) ** 2 for y in r) + sum((x - other[m]) ** 2 for other in w)
    return total / sum(x * x for r in w for x in r)


def first_torch(Q, K, a, b):
    w = (Q - a) @ (K - b).T
    top = (w[:, :, None] - w[:, None, :]).square().sum()
    return top / ((Q - a).square().sum() * (K[:, None] - K[None]).square().sum())


def objective_torch(Q, K, a, b):
    return first_torch(Q, K, a, b) + first_torch(K, Q, b, a)


@pytest.mark.parametrize("size", SIZES)
def test_literal_sums_against_loops(size):
    Q, K, alpha, beta = problem(1, *size)
    q, k, a, b = floats(Q), floats(K), floats(alpha)[0], floats(beta)[0]
    one, two = first_loops(q, k, a, b), first_loops(k, q, b, a)
    assert float(first_fraction(Q, K, alpha, beta)) == pytest.approx(one, rel=1e-12)
    assert float(second_fraction(Q, K, alpha, beta)) == pytest.approx(two, rel=1e-12)
    assert float(objective(Q, K, alpha, beta)) == pytest.approx(one + two, rel=1e-12)
    assert float(energy(Q, K, alpha, beta)) == pytest.approx(energy_loops(q, k, a, b), rel=1e-12)
    assert float(repaired(Q, K, alpha, beta)) == pytest.approx(repaired_loops((q - a) @ (k - b).T), rel=1e-12)


# ------------------------------------------------------------------ B1: the closed form


@pytest.mark.parametrize("size", [(3, 3, 2), (2, 3, 2), (4, 3, 1)])
def test_b1_closed_form_with_symbols(size):
    N, M, D = size
    Q, K = symbols_matrix("q", N, D), symbols_matrix("k", M, D)
    alpha, beta = symbols_matrix("a", 1, D), symbols_matrix("b", 1, D)
    S_q, S_k, d, e = parts(Q, K, alpha, beta)
    found = verify(first_fraction(Q, K, alpha, beta) - reduced_fraction(unit_trace(S_k), S_q, d))
    assert found.holds and found.expanded
    assert verify(second_fraction(Q, K, alpha, beta) - reduced_fraction(unit_trace(S_q), S_k, e)).expanded
    wrong = reduced_fraction(unit_trace(S_k), N * S_q, d)  # the sum where the covariance belongs
    assert verify(first_fraction(Q, K, alpha, beta) - wrong).holds == (D == 1)  # in one dimension both are 1


@pytest.mark.parametrize("size", SIZES)
def test_b1_closed_form_and_exact_difference_at_rational_points(size):
    Q, K, alpha, beta = problem(2, *size)
    S_q, S_k, d, e = parts(Q, K, alpha, beta)
    A, r0, s = unit_trace(S_k), quotient(S_q, S_k), S_q.trace()
    value = first_fraction(Q, K, alpha, beta)
    assert value == reduced_fraction(A, S_q, d)
    assert second_fraction(Q, K, alpha, beta) == reduced_fraction(unit_trace(S_q), S_k, e)
    at_mean = first_fraction(Q, K, mean_row(Q), beta)
    assert at_mean == r0
    assert value - at_mean == (d * (A - r0 * sp.eye(A.rows)) * d.T)[0] / (s + (d * d.T)[0])


def test_b1_each_fraction_has_one_reference_point():
    Q, K, alpha, beta = problem(3, 3, 4, 2)
    other = beta + row(7, R(-1, 3))
    assert first_fraction(Q, K, alpha, beta) == first_fraction(Q, K, alpha, other)
    assert second_fraction(Q, K, alpha, beta) != second_fraction(Q, K, alpha, other)
    assert second_fraction(Q, K, alpha, beta) == second_fraction(Q, K, alpha + row(1, 2), beta)
    a, b = symbols_matrix("a", 1, 2), symbols_matrix("b", 1, 2)
    mixed = objective(Q, K, a, b).diff(a[0]).diff(b[1])
    assert verify(mixed).expanded  # no mixed second derivative


# ------------------------------------------------------------------ B2: the true half, and all stationary points


@pytest.mark.parametrize("size", [(4, 3, 1), (3, 3, 2), (2, 4, 2), (2, 3, 3)])
def test_b2_gradient_is_zero_at_the_means(size):
    Q, K, alpha, beta = problem(4, *size)
    a, b = symbols_matrix("a", 1, size[2]), symbols_matrix("b", 1, size[2])
    f = objective(Q, K, a, b)
    both = a.row_join(b)
    slope = gradient(f, both)
    assert slope.shape == both.shape
    means = dict(zip(both, mean_row(Q).row_join(mean_row(K))))
    assert slope.subs(means) == sp.zeros(*both.shape)
    here = dict(zip(both, alpha.row_join(beta)))
    rows = [torch.tensor(floats(x), requires_grad=i > 1) for i, x in enumerate((Q, K, alpha, beta))]
    expected = torch.autograd.grad(objective_torch(*rows), rows[2:])
    np.testing.assert_allclose(floats(slope.subs(here)), torch.cat(expected, 1).numpy(), rtol=1e-9, atol=1e-12)
    if size[2] > 1:
        assert slope.subs(here) != sp.zeros(*both.shape)


def slope_numerators(Q, K):
    a = symbols_matrix("a", 1, Q.cols)
    f = first_fraction(Q, K, a, sp.zeros(1, Q.cols))
    n, d = sp.expand(sp.numer(f)), sp.expand(sp.denom(f))
    return a, d, [sp.expand(n.diff(x) * d - n * d.diff(x)) for x in a]


def solved(Q, K):
    a, _, equations = slope_numerators(Q, K)
    return a, sp.solve(equations, list(a), dict=True)


FOUR, THREE = sp.Matrix([[1, 0], [3, 1], [2, 5], [1, 1]]), sp.Matrix([[0, 2], [1, 0], [-1, -2]])


@pytest.mark.parametrize(("Q", "K"), [(TRIANGLE, TRIANGLE), (FOUR, THREE)])
def test_b2_solve_finds_the_mean_alone(Q, K):
    a, found = solved(Q, K)
    assert [a.subs(point) for point in found] == [mean_row(Q)] == stationary_points(Q, K)


@pytest.mark.parametrize("K", [LINE, UPRIGHT])
def test_b2_solve_finds_the_same_line(K):
    a, found = solved(LINE, K)
    assert {a[1]: 0} in found  # the other answers of solve lie on this line
    assert all(point[a[1]] == 0 for point in found)
    (points,) = stationary_points(LINE, K)
    assert points[1] == 0 and len(points[0].free_symbols) == 1 and points[0].diff(*points[0].free_symbols) != 0


def test_b2_three_unknowns_by_a_groebner_basis():
    """There solve does not come back. With 1 = z * denominator added one point is left, even among complex ones."""
    Q = sp.Matrix([[0, 0, 0], [1, 0, 0], [0, 2, 1], [3, 0, 1]])
    K = sp.Matrix([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    a, denominator, equations = slope_numerators(Q, K)
    z = sp.Symbol("z")
    basis = sp.groebner([*equations, 1 - z * denominator], z, *a, order="grevlex", domain="QQ")
    assert all(basis.reduce(x - mu)[1] == 0 for x, mu in zip(a, mean_row(Q)))
    assert basis.reduce(a[0])[1] != 0  # not the whole ring: there is a point
    assert stationary_points(Q, K) == [mean_row(Q)]


def test_b2_in_one_dimension_every_alpha_is_stationary():
    (points,) = stationary_points(sp.Matrix([[1], [4]]), sp.Matrix([[0], [1], [5]]))
    assert len(points.free_symbols) == 1 and points[0].diff(*points.free_symbols) != 0


def test_b2_a_saddle_with_a_line_of_stationary_points_all_of_one_value():
    """1 + 49 = 2 * 25: r0 is the middle eigenvalue, whose eigenspace holds no query."""
    axes = sp.Matrix([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    Q, K = axes[[0, 1, 4, 5], :] + sp.ones(4, 1) * row(2, 3, 5), axes * sp.diag(1, 5, 7)
    (points,) = stationary_points(Q, K)
    (free,) = points.free_symbols
    assert nature(covariance(Q), covariance(K)) == "saddle" and points - mean_row(Q) == row(0, free, 0)
    a, denominator, equations = slope_numerators(Q, K)
    assert verify([e.subs(dict(zip(a, points))) for e in equations]).expanded
    assert not verify([e.subs(dict(zip(a, mean_row(Q) + row(t, 0, 0)))) for e in equations])
    assert verify(first_fraction(Q, K, points, sp.zeros(1, 3)) - R(1, 3)).expanded


# ------------------------------------------------------------------ B3: the Hessian


@pytest.mark.parametrize("size", [(4, 3, 2), (5, 4, 3)])
def test_b3_hessian_against_autograd_and_the_formula(size):
    Q, K = problem(6, *size)[:2]
    a = symbols_matrix("a", 1, size[2])
    formula = hessian_at_means(covariance(Q), covariance(K))
    at_means = dict(zip(a, mean_row(Q)))
    assert hessian(first_fraction(Q, K, a, sp.zeros(1, size[2])), a).subs(at_means) == formula
    q, k, b = (torch.tensor(floats(x)) for x in (Q, K, mean_row(K)))
    found = torch.autograd.functional.hessian(lambda x: objective_torch(q, k, x, b), torch.tensor(floats(mean_row(Q))))
    np.testing.assert_allclose(found.squeeze(2).squeeze(0).numpy(), floats(formula), rtol=1e-8, atol=1e-10)


def test_b3_the_printed_definiteness_fails_on_200_random_problems():
    rng = random.Random(7)
    for n in range(200):
        D = 2 + n % 4
        S_q, S_k = (covariance(draw(rng, D + 1 + n % 3, D)) for _ in range(2))
        eigenvalues = np.linalg.eigvalsh(floats(hessian_at_means(S_q, S_k)))
        assert eigenvalues[0] < -1e-9 and eigenvalues[-1] > 1e-9
        assert nature(S_q, S_k) == nature(S_k, S_q) == "saddle"


def test_b3_r0_is_a_weighted_average_of_the_eigenvalues():
    """With diagonal A (symbols as eigenvalues) the weights are the variances of the queries."""
    s1, s2, s3 = symbols_matrix("s", 1, 3, positive=True)
    l1, l2, l3 = symbols_matrix("l", 1, 3, positive=True)
    S_q, S_k = sp.diag(s1, s2, s3) + u * sp.Matrix([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), sp.diag(l1, l2, l3)
    average = (l1 * s1 + l2 * s2 + l3 * s3) / (s1 + s2 + s3)
    assert verify(hessian_at_means(S_q, S_k) - 2 * (S_k - average * sp.eye(3)) / S_k.trace() / S_q.trace()).expanded


def test_b3_not_even_a_maximum_has_a_negative_semidefinite_hessian_everywhere():
    """Otherwise O would be concave and bounded below on the whole space, so constant."""
    x, y = symbols_matrix("x", 1, 2)
    f = reduced_fraction(sp.diag(1, 0), sp.diag(1, 0), row(x, y))
    assert verify(f - (1 + x**2) / (1 + x**2 + y**2)).expanded
    assert hessian(f, row(x, y)).subs({x: 0, y: 1})[1, 1] == R(1, 2)


# ------------------------------------------------------------------ B4: the dichotomy


def by_eigenspaces(S_q, S_k):
    """The other statement: (lambda I - A) S_q = 0 for the largest or the least eigenvalue, with radicals (D = 2)."""
    A = unit_trace(S_k)
    values = sorted(A.eigenvals(), key=sp.N)

    def all_in(value):
        return ((value * sp.eye(A.rows) - A) * S_q).applyfunc(sp.radsimp).is_zero_matrix

    if len(values) == 1:
        return "constant"
    return "maximum" if all_in(values[-1]) else "minimum" if all_in(values[0]) else "saddle"


def test_b4_nature_is_the_statement_about_eigenspaces():
    rng, seen = random.Random(8), set()
    turn = sp.Matrix([[3, 4], [-4, 3]]) / 5
    special = [S for x, y in ((1, 0), (2, 1), (1, 3), (1, 1)) for S in (sp.diag(x, y), turn.T * sp.diag(x, y) * turn)]
    random_ones = [covariance(sp.Matrix(3, 2, lambda i, j: rng.randint(-1, 2))) for _ in range(40)]
    random_ones = [S for S in random_ones if S.trace()]
    for S_q, S_k in [*itertools.product(special, repeat=2), *zip(random_ones, random_ones[1:])]:
        expected = by_eigenspaces(S_q, S_k)
        assert nature(S_q, S_k) == expected, (S_q, S_k)
        seen.add(expected)
    assert seen == {"constant", "maximum", "minimum", "saddle"}


P = sp.Matrix([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3  # orthogonal, rational
CASES = {
    "constant": (sp.diag(5, 1, 0), sp.eye(3) * 7),
    "maximum": (P.T * sp.diag(3, 2, 0) * P, P.T * sp.diag(4, 4, 1) * P),  # the queries lie in the top eigenspace
    "minimum": (P.T * sp.diag(0, 0, 2) * P, P.T * sp.diag(4, 3, 1) * P),
    "saddle": (P.T * sp.diag(3, 2, 0) * P, P.T * sp.diag(5, 4, 1) * P),
}


@pytest.mark.parametrize("name", CASES)
def test_b4_the_word_says_what_the_values_do(name):
    assert P * P.T == sp.eye(3)
    S_q, S_k = CASES[name]
    assert nature(S_q, S_k) == name
    A, r0, rng = unit_trace(S_k), quotient(S_q, S_k), random.Random(9)
    assert reduced_fraction(A, S_q, sp.zeros(1, 3)) == r0
    far = [reduced_fraction(A, S_q, draw(rng, 1, 3, mean=0)) - r0 for _ in range(200)]
    near = [reduced_fraction(A, S_q, draw(rng, 1, 3, mean=0) / 10**6) - r0 for _ in range(200)]
    for some in (far, near):
        signs = {sp.sign(x) for x in some if x != 0}
        assert signs == {"constant": set(), "maximum": {-1}, "minimum": {1}, "saddle": {-1, 1}}[name]
    if name in ("maximum", "minimum"):  # never strict
        along = P[0, :] if name == "maximum" else P[2, :]
        assert verify(reduced_fraction(A, S_q, t * along) - r0).expanded


def test_b4_the_supremum_is_approached_and_not_reached():
    S_q, S_k = CASES["saddle"]
    A, top = unit_trace(S_k), supremum(S_q, S_k)
    assert top == R(1, 2)
    along = reduced_fraction(A, S_q, t * P[0, :])
    assert sp.limit(along, t, sp.oo) == sp.limit(along, t, -sp.oo) == top
    assert verify(top - along - S_q.trace() * (top - quotient(S_q, S_k)) / (S_q.trace() + t**2)).expanded
    rng = random.Random(10)
    assert all(reduced_fraction(A, S_q, draw(rng, 1, 3) * 10**n) < top for n in range(5) for _ in range(10))
    S_q, S_k = CASES["maximum"]
    assert supremum(S_q, S_k) == quotient(S_q, S_k) == R(4, 9)


@pytest.mark.parametrize("D", [1, 2, 3, 4])
def test_b4_supremum_against_numpy(D):
    rng = random.Random(11)
    for _ in range(3):
        S_q, S_k = (covariance(draw(rng, D + 2, D)) for _ in range(2))
        exact = supremum(S_q, S_k)
        expected = np.linalg.eigvalsh(floats(unit_trace(S_k)))[-1]
        assert float(exact.evalf(20)) == pytest.approx(expected, rel=1e-10) and not exact.has(sp.Float)
        assert quotient(S_q, S_k) < exact or D == 1


def test_signs_of_eigenvalues_against_numpy():
    rng = random.Random(12)
    for n in range(60):
        D = 1 + n % 4
        half = draw(rng, 1 + n % D, D, mean=0)  # often of low rank
        S = half.T * sp.diag(*[rng.choice((-1, 0, 1)) for _ in range(half.rows)]) * half
        values = np.linalg.eigvalsh(floats(S))
        tiny = 1e-9 * (1 + abs(values).max())
        assert checks.signs(S) == ((values > tiny).sum(), (values < -tiny).sum(), (abs(values) <= tiny).sum())


def points_with(S_half):
    """Rows +x and -x for each row x, so that the covariance is X'X / rows."""
    return S_half.col_join(-S_half)


def test_b4_the_whole_objective_has_a_maximiser_only_for_multiples_of_one_projector():
    Q, K = points_with(P[:2, :] * 3), points_with(P[:2, :] * 5) + sp.ones(4, 1) * row(1, 2, 3)
    S_q, S_k = covariance(Q), covariance(K)
    assert (S_q * R(2, 9)) ** 2 == S_q * R(2, 9) and S_k * 9 == S_q * 25  # multiples of one projector of rank 2
    assert nature(S_q, S_k) == nature(S_k, S_q) == "maximum"
    rng = random.Random(13)
    assert objective(Q, K, mean_row(Q), mean_row(K)) == 1  # 2 / rank
    assert all(objective(Q, K, draw(rng, 1, 3), draw(rng, 1, 3)) < 1 for _ in range(20))
    longer = points_with(sp.diag(1, 2) * P[:2, :])  # same plane, not isotropic in it
    assert nature(covariance(longer), S_k) == "maximum" and nature(S_k, covariance(longer)) == "saddle"


def test_b4_the_means_minimise_it_only_where_the_whitened_term_is_zero():
    """Both directions: crosses are minima of both fractions, and what is a minimum of both is a cross."""
    Q = points_with(P[:2, :] * sp.Matrix([[2, 0, 1], [0, 1, 0], [0, 0, 1]]))
    normal = sp.Matrix([list(Q.nullspace()[0])])
    K = points_with(normal) + sp.ones(2, 1) * row(4, 5, 6)
    assert (centred(Q) * centred(K).T).is_zero_matrix
    assert nature(covariance(Q), covariance(K)) == nature(covariance(K), covariance(Q)) == "minimum"
    assert objective(Q, K, mean_row(Q), mean_row(K)) == 0
    rng = random.Random(14)
    small = {covariance(sp.Matrix(3, 2, lambda i, j: rng.randint(0, 1))).as_immutable() for _ in range(60)}
    crosses = 0
    for S_q, S_k in itertools.product([S for S in small if S.trace()], repeat=2):
        if nature(S_q, S_k) == nature(S_k, S_q) == "minimum":
            assert (S_q * S_k).is_zero_matrix
            crosses += 1
    assert crosses


def test_b4_a_query_beats_the_mean():
    """r0 is an average of the Rayleigh quotients of the centred queries: the largest of them is not below it."""
    for seed in range(4):
        Q, K, _, beta = problem(seed, 4, 3, 3)
        values = [first_fraction(Q, K, Q[i, :], beta) for i in range(Q.rows)]
        assert max(values) > first_fraction(Q, K, mean_row(Q), beta)


# ------------------------------------------------------------------ B5: one dimension


@pytest.mark.parametrize(("N", "M"), [(4, 4), (2, 3)])
def test_b5_in_one_dimension_the_objective_is_2(N, M):
    Q, K = symbols_matrix("q", N, 1), symbols_matrix("k", M, 1)
    a, b = symbols_matrix("a", 1, 1), symbols_matrix("b", 1, 1)
    assert verify(objective(Q, K, a, b) - 2).expanded
    assert nature(sp.eye(1), sp.eye(1) * 3) == "constant" and supremum(sp.eye(1), sp.eye(1) * 3) == 1


# ------------------------------------------------------------------ B6: counter-examples in fractions


def test_b6_the_printed_claim_fails_on_the_triangle():
    mu, corner, origin = mean_row(TRIANGLE), row(1, 0), row(0, 0)
    values = [objective(TRIANGLE, TRIANGLE, p, p) for p in (mu, corner, origin)]
    assert values == [R(5, 4), R(4, 3), 1] and all(v.is_Rational for v in values)
    assert values[1] > values[0] > values[2]  # the means are neither argmax nor argmin
    for fraction in (first_fraction, second_fraction):
        assert [fraction(TRIANGLE, TRIANGLE, p, p) for p in (mu, corner, origin)] == [R(5, 8), R(2, 3), R(1, 2)]
    S = covariance(TRIANGLE)
    block = hessian_at_means(S, S)
    assert block == sp.Matrix([[-9, -18], [-18, -9]]) / 16
    assert block.eigenvals() == {R(9, 16): 1, R(-27, 16): 1}
    assert block.is_negative_semidefinite is False  # the printed reason
    assert supremum(S, S) == R(3, 4)


def test_b6_two_paths_through_the_saddle():
    mu = mean_row(TRIANGLE)
    up, down = (objective(TRIANGLE, TRIANGLE, mu + t * v, mu + t * v) for v in (row(1, -1), row(1, 1)))
    assert verify(up - (27 * t**2 + 5) / (2 * (9 * t**2 + 2))).expanded
    assert verify(down - (9 * t**2 + 5) / (2 * (9 * t**2 + 2))).expanded
    assert sp.limit(up, t, sp.oo) == R(3, 2) and sp.limit(down, t, sp.oo) == R(1, 2)
    assert verify(sp.diff(up, t) - 9 * t / (9 * t**2 + 2) ** 2).expanded  # rises away from the mean
    assert verify(sp.diff(down, t) + 27 * t / (9 * t**2 + 2) ** 2).expanded


def test_b6_sixteen_pairs_of_triangles():
    corners = [(0, 0), (1, 0), (0, 1), (1, 1)]
    triangles = [covariance(sp.Matrix(c)) for c in itertools.combinations(corners, 3)]
    assert [nature(S_q, S_k) for S_q in triangles for S_k in triangles] == ["saddle"] * 16


def test_b6_cross_parallel_and_square():
    assert objective(LINE, UPRIGHT, row(1, 0), row(0, 1)) == 0  # the claimed argmax is the least value there is
    assert objective(LINE, UPRIGHT, row(1, 1), row(1, 1)) == 1
    assert verify(objective(LINE, LINE, row(t, 0), row(u, 0)) - 2).expanded  # a maximum that is not strict
    assert objective(LINE, LINE, row(1, 1), row(1, 1)) == 1
    keys = sp.Matrix([[2, 0], [-2, 0], [0, 1], [0, -1]])
    values = [objective(SQUARE, keys, alpha, row(0, 0)) for alpha in (row(0, 0), row(1, 0), row(0, 1))]
    assert values == [1, R(11, 10), R(9, 10)]
    assert nature(covariance(SQUARE), covariance(keys)) == "saddle"
    assert nature(covariance(keys), covariance(SQUARE)) == "constant"


# ------------------------------------------------------------------ C1: the energy


@pytest.mark.parametrize("size", [(3, 3, 2), (2, 3, 2), (3, 2, 3)])
def test_c1_closed_form_with_symbols(size):
    N, M, D = size
    Q, K = symbols_matrix("q", N, D), symbols_matrix("k", M, D)
    alpha, beta = symbols_matrix("a", 1, D), symbols_matrix("b", 1, D)
    difference = energy(Q, K, alpha, beta) - energy_closed_form(*parts(Q, K, alpha, beta), N, M)
    assert verify(difference).expanded
    assert not verify(difference + mean_row(Q)[0] * mean_row(K)[0])


@pytest.mark.parametrize("size", SIZES)
def test_c1_and_b7_closed_forms_at_rational_points(size):
    Q, K, alpha, beta = problem(15, *size)
    pieces = (*parts(Q, K, alpha, beta), *size[:2])
    assert energy(Q, K, alpha, beta) == energy_closed_form(*pieces)
    assert repaired(Q, K, alpha, beta) == repaired_reduced(*pieces)
    w = (Q - sp.ones(Q.rows, 1) * alpha) * (K - sp.ones(K.rows, 1) * beta).T
    assert repaired(Q, K, alpha, beta) == repaired_objective(w) == repaired_closed_form(w)
    assert energy(Q, K, mean_row(Q), mean_row(K)) == sum(x**2 for x in centred(Q) * centred(K).T)


def test_c1_the_means_are_the_least_and_alone_iff_both_covariances_are_regular():
    rng, unique = random.Random(16), set()
    for N, M, D in SIZES + ((4, 2, 2), (3, 4, 3), (2, 2, 2)):
        Q, K = draw(rng, N, D), draw(rng, M, D)
        S_q, S_k = covariance(Q), covariance(K)
        mu_q, mu_k = mean_row(Q), mean_row(K)
        least = energy(Q, K, mu_q, mu_k)
        alone = means_are_unique(S_q, S_k)
        assert alone == (N > D and M > D) == (S_q.rank() == D and S_k.rank() == D)
        unique.add(alone)
        for _ in range(20):
            value = energy(Q, K, draw(rng, 1, D), draw(rng, 1, D))
            assert value > least
        for S, move in ((S_q, lambda v: (mu_q, mu_k - v)), (S_k, lambda v: (mu_q - v, mu_k))):
            for v in S.nullspace():
                assert energy(Q, K, *move(v.T)) == least  # a second minimiser
                assert repaired(Q, K, *move(v.T)) == 2 * (N + M)  # and a second maximiser
                alpha, beta = move(v.T)  # at which the weights are the whitened ones
                assert (Q - sp.ones(N, 1) * alpha) * (K - sp.ones(M, 1) * beta).T == centred(Q) * centred(K).T
    assert unique == {True, False}


def test_c1_an_example_with_a_second_minimiser():
    Q, K = sp.Matrix([[0, 0], [1, 0]]), sp.Matrix([[0, 0], [1, 1]])
    assert verify(energy(Q, K, mean_row(Q), mean_row(K) + row(0, t)) - R(1, 4)).expanded
    assert energy(Q, K, mean_row(Q), mean_row(K) + row(R(1, 9), 0)) > R(1, 4)
    assert not means_are_unique(covariance(Q), covariance(K))


def symbolic_parts(D):
    S_q, S_k = (sp.Matrix(D, D, lambda i, j: sp.Symbol(f"{name}{min(i, j)}{max(i, j)}", real=True)) for name in "ST")
    return S_q, S_k, symbols_matrix("d", 1, D), symbols_matrix("e", 1, D)


def test_c1_every_stationary_point_is_a_minimiser():
    """d.grad_d F = 2 N M (d S_k d' + (d.e)^2): where the gradient is 0, each summand is, and F is least."""
    N, M = sp.symbols("N M", positive=True)
    S_q, S_k, d, e = symbolic_parts(3)
    F = energy_closed_form(S_q, S_k, d, e, N, M)
    square = (d * e.T)[0] ** 2
    assert verify((gradient(F, d) * d.T)[0] - 2 * N * M * ((d * S_k * d.T)[0] + square)).expanded
    assert verify((gradient(F, e) * e.T)[0] - 2 * N * M * ((e * S_q * e.T)[0] + square)).expanded


def test_c1_solve_finds_no_other_stationary_point():
    a, b = symbols_matrix("a", 1, 1), symbols_matrix("b", 1, 1)
    F = energy(sp.Matrix([[1], [3]]), sp.Matrix([[0], [1], [5]]), a, b)
    assert sp.solve(list(gradient(F, a.row_join(b))), list(a.row_join(b)), dict=True) == [{a[0]: 2, b[0]: 2}]


def test_c1_the_energy_is_not_convex():
    d, e = symbols_matrix("d", 1, 1), symbols_matrix("e", 1, 1)
    H = hessian(energy_closed_form(sp.eye(1), sp.eye(1), d, e, 2, 2), d.row_join(e))
    assert H.subs({d[0]: 2, e[0]: 2}).det() < 0 < H.subs({d[0]: 0, e[0]: 0}).det()


# ------------------------------------------------------------------ B7: under which readings it is true


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 3)])
def test_b7_i_identity_with_symbols(shape):
    w = symbols_matrix("w", *shape)
    assert verify(repaired_objective(w) - repaired_closed_form(w)).expanded
    sums = sum(sum(w[i, :]) ** 2 for i in range(w.rows))
    assert not verify(repaired_objective(w) - (2 * sum(shape) - 2 * sums / sum(x**2 for x in w)))  # columns forgotten


def test_b7_i_bound_and_equality():
    rng = random.Random(17)
    for N, M in ((3, 3), (2, 5), (4, 3), (1, 3)):
        bound = 2 * (N + M)
        for _ in range(20):
            w = draw(rng, N, M)
            assert repaired_objective(w) < bound
            doubly = w - w * sp.ones(M, M) / M - sp.ones(N, N) * w / N + sp.ones(N, N) * w * sp.ones(M, M) / N / M
            if N > 1:
                assert repaired_objective(doubly) == bound
            rows_only = w - w * sp.ones(M, M) / M
            assert repaired_objective(rows_only) < bound or N == 1 or not any(sp.ones(1, N) * rows_only)
    assert repaired_objective(sp.Matrix([[1, -1, 0], [-1, 1, 0], [0, 0, 0]])) == 12  # 4 N for N = M = 3


@pytest.mark.parametrize("size", SIZES)
def test_b7_i_the_means_reach_the_bound_and_no_random_point_does(size):
    rng = random.Random(18)
    Q, K = problem(18, *size)[:2]
    assert repaired(Q, K, mean_row(Q), mean_row(K)) == 2 * (size[0] + size[1])
    for _ in range(15):
        alpha, beta = draw(rng, 1, size[2]), draw(rng, 1, size[2])
        assert repaired(Q, K, alpha, beta) < 2 * (size[0] + size[1])


def test_b7_i_the_only_stationary_points_are_the_maximisers():
    """On a ray from the means what is missing to the bound only grows: its derivative has no negative term."""
    c, x, y, z, N, M, k = sp.symbols("c x y z N M k", positive=True)
    missing = (M * x * k**2 + N * y * k**2 + (M + N) * z * k**4) / (c + x * k**2 + y * k**2 + z * k**4)
    top = c * (M * x + N * y) + 2 * c * (M + N) * z * k**2 + (N * x + M * y) * z * k**4
    assert verify(missing.diff(k) - 2 * k * top / (c + x * k**2 + y * k**2 + z * k**4) ** 2).expanded
    S_q, S_k, d, e = symbolic_parts(2)
    along = repaired_reduced(S_q, S_k, k * d, k * e, N, M)
    x_, y_, z_ = (e * S_q * e.T)[0], (d * S_k * d.T)[0], (d * e.T)[0] ** 2
    here = missing.subs({c: (S_q * S_k).trace(), x: x_, y: y_, z: z_}, simultaneous=True)
    assert verify(along - 2 * (N + M) + 2 * here).expanded


def test_b7_i_without_the_whitened_term_the_bound_is_out_of_reach():
    with pytest.raises(ValueError, match="0/0"):
        repaired(LINE, UPRIGHT, row(1, 0), row(0, 1))
    rng = random.Random(19)
    upright = UPRIGHT.col_join(row(0, 5))  # M = 3
    for _ in range(20):
        assert repaired(LINE, upright, draw(rng, 1, 2), draw(rng, 1, 2)) <= 2 * 3 < 2 * (2 + 3)


@pytest.mark.parametrize("size", [(2, 3, 2), (3, 3, 1)])
def test_b7_ii_and_iii_second_differences_and_numerators_alone(size):
    N, M, D = size
    Q, K = symbols_matrix("q", N, D), symbols_matrix("k", M, D)
    alpha, beta = symbols_matrix("a", 1, D), symbols_matrix("b", 1, D)
    S_q, S_k, d, _ = parts(Q, K, alpha, beta)
    second = sum(
        ((Q[i, :] - Q[j, :]) * (K[m, :] - K[n, :]).T)[0] ** 2
        for i, j in itertools.product(range(N), repeat=2) for m, n in itertools.product(range(M), repeat=2)
    )  # fmt: skip
    assert verify(second - 4 * N**2 * M**2 * (S_q * S_k).trace()).expanded
    energies = sum((x**2 for x in Q - sp.ones(N, 1) * alpha), sp.S.Zero)
    assert verify(energies - N * (S_q.trace() + (d * d.T)[0])).expanded  # least at the mean, where ii is largest
    pairs = sum(((K[m, :] - K[n, :]) * (K[m, :] - K[n, :]).T)[0] for m in range(M) for n in range(M))
    numerator = first_fraction(Q, K, alpha, beta) * energies * pairs
    assert verify(numerator - 2 * N * M**2 * ((S_q * S_k).trace() + (d * S_k * d.T)[0])).expanded  # least at the mean


def test_b7_averaging_the_ratio_per_query_does_not_rescue_it():
    a = symbols_matrix("a", 1, 2)
    each = [first_fraction(TRIANGLE[i, :], TRIANGLE, a, a) for i in range(3)]
    average = sum(each) / 3
    means = dict(zip(a, mean_row(TRIANGLE)))
    assert gradient(average, a).subs(means) == row(R(9, 50), R(9, 50))  # not even stationary
    assert average.subs(means) == R(11, 20) < average.subs({a[0]: R(1, 2), a[1]: R(1, 4)}) == R(15, 26)


def test_b7_energies_of_both_factors_depend_on_the_data():
    """Numerators over sum |q-a|^2 sum |k-b|^2, N = M: a maximum iff both largest eigenvalues are at most 2 r0."""

    def value(Q, K, alpha, beta):
        S_q, S_k, d, e = parts(Q, K, alpha, beta)
        s, tau = S_q.trace(), S_k.trace()
        one = first_fraction(Q, K, alpha, beta) * tau / (tau + (e * e.T)[0])
        return one + second_fraction(Q, K, alpha, beta) * s / (s + (d * d.T)[0])

    rng = random.Random(20)
    Q, K, alpha, beta = problem(20, 4, 4, 2)
    S_q, S_k, d, e = parts(Q, K, alpha, beta)
    s, tau, r0 = S_q.trace(), S_k.trace(), quotient(S_q, S_k)
    A, B = unit_trace(S_k) - 2 * r0 * sp.eye(2), unit_trace(S_q) - 2 * r0 * sp.eye(2)
    d2, e2 = (d * d.T)[0], (e * e.T)[0]
    rise = (s * (e * B * e.T)[0] + tau * (d * A * d.T)[0] - 2 * r0 * d2 * e2) / ((s + d2) * (tau + e2))
    assert value(Q, K, alpha, beta) - value(Q, K, mean_row(Q), mean_row(K)) == rise
    mu = mean_row(TRIANGLE)
    top = value(TRIANGLE, TRIANGLE, mu, mu)
    assert all(value(TRIANGLE, TRIANGLE, draw(rng, 1, 2), draw(rng, 1, 2)) < top for _ in range(30))  # 3/4 < 5/4
    keys = points_with(sp.Matrix([[1, 0], [0, 1], [0, 1], [0, 1]]))  # S_k is a multiple of diag(1, 3)
    flat = points_with(sp.Matrix([[1, 0]] * 4))
    assert value(flat, keys, row(0, 1), row(0, 0)) > value(flat, keys, row(0, 0), row(0, 0))


# ------------------------------------------------------------------ manners


def test_nothing_is_modified():
    Q, K, alpha, beta = problem(21, 4, 3, 2)
    before = [X.copy() for X in (Q, K, alpha, beta)]
    S_q, S_k = covariance(Q), covariance(K)
    for function in (first_fraction, second_fraction, objective, energy, repaired):
        function(Q, K, alpha, beta)
        assert function(*(X.as_immutable() for X in (Q, K, alpha, beta))) == function(Q, K, alpha, beta)
    stationary_points(Q, K), nature(S_q, S_k), supremum(S_q, S_k), hessian_at_means(S_q, S_k)
    assert [Q, K, alpha, beta] == before and (S_q, S_k) == (covariance(Q), covariance(K))


def test_each_returns_in_under_5_seconds():
    Q, K, alpha, beta = problem(22, 6, 5, 3)
    start = time.perf_counter()
    stationary_points(Q, K), nature(covariance(Q), covariance(K)), supremum(covariance(Q), covariance(K))
    objective(Q, K, alpha, beta), repaired(Q, K, alpha, beta)
    sp.expand(sp.numer(first_fraction(*(symbols_matrix(n, r, 2) for n, r in (("q", 4), ("k", 4), ("a", 1), ("b", 1))))))
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("function", [first_fraction, second_fraction, objective, energy, repaired])
def test_what_is_not_accepted(function):
    Q, K, alpha, beta = problem(23, 4, 3, 2)
    with pytest.raises(TypeError, match=r"^Q is a list; .*sympy.Matrix"):
        function([[1, 2]], K, alpha, beta)
    with pytest.raises(ValueError, match=r"^K has the shape \(3, 1\); .*D = 2 as in Q"):
        function(Q, K[:, 0], alpha, beta)
    with pytest.raises(ValueError, match=r"^alpha has the shape \(2, 1\); .*a row \(1, D\)"):
        function(Q, K, alpha.T, beta)
    with pytest.raises(TypeError, match=r"^beta is a Symbol"):
        function(Q, K, alpha, t)
    with pytest.raises(ValueError, match="^alpha holds nan or infinity"):
        function(Q, K, row(sp.nan, 1), beta)


def test_zero_over_zero_is_said():
    Q, K, alpha, beta = problem(24, 4, 3, 2)
    same = sp.ones(3, 1) * row(2, R(1, 3))
    with pytest.raises(ValueError, match="^all keys are equal, and the first fraction is 0/0"):
        first_fraction(Q, same, alpha, beta)
    with pytest.raises(ValueError, match="^all queries are equal to alpha, and the first fraction is 0/0"):
        first_fraction(same, K, same[0, :], beta)
    assert first_fraction(same, K, alpha, beta).is_Rational  # defined: a Rayleigh quotient
    for function in (second_fraction, objective):
        with pytest.raises(ValueError, match="^all queries are equal, and the second fraction is 0/0"):
            function(same, K, alpha, beta)
    with pytest.raises(ValueError, match="^all keys are equal to beta, and the second fraction is 0/0"):
        second_fraction(Q, same, alpha, same[0, :])
    x = sp.Symbol("x", real=True)
    hidden = row((x + 1) ** 2 - x**2 - 2 * x, 1)  # is (1, 1), unexpanded
    with pytest.raises(ValueError, match="0/0"):
        first_fraction(Q, sp.ones(2, 2)[:1, :].col_join(hidden), alpha, beta)
    with pytest.raises(ValueError, match="0/0"):
        first_fraction(sp.Matrix([[0.5, 1.0]]), K, row(0.5, 1.0), beta)  # floats
    with pytest.raises(ValueError, match="0/0"):
        repaired_objective(sp.zeros(2, 3))
    with pytest.raises(ValueError, match="0/0"):
        repaired_closed_form(sp.zeros(2, 3))
    with pytest.raises(ValueError, match="0/0"):
        reduced_fraction(sp.eye(2) / 2, sp.zeros(2, 2), sp.zeros(1, 2))
    with pytest.raises(ValueError, match="0/0"):
        repaired_reduced(sp.diag(1, 0), sp.diag(0, 1), sp.zeros(1, 2), sp.zeros(1, 2), 2, 2)
    for function in (nature, supremum, hessian_at_means):
        with pytest.raises(ValueError, match="^the trace of S_k is 0: all keys are equal"):
            function(sp.eye(2), sp.zeros(2, 2))
        with pytest.raises(ValueError, match="^the trace of S_q is 0: all queries are equal"):
            function(sp.zeros(2, 2), sp.eye(2))
    with pytest.raises(ValueError, match="all queries are equal"):
        stationary_points(same, K)


def test_exact_functions_refuse_what_is_not_exact():
    for function in (nature, supremum, means_are_unique):
        with pytest.raises(TypeError, match=r"^S_q\[0, 0\] is 0\.5.*write it as sympy\.Rational"):
            function(sp.diag(sp.Float("0.5"), 1), sp.eye(2))
        with pytest.raises(TypeError, match=r"^S_k\[1, 1\] is t.*\.subs"):
            function(sp.eye(2), sp.diag(1, t))
        with pytest.raises(ValueError, match="^S_q is not symmetric"):
            function(sp.Matrix([[1, 1], [0, 1]]), sp.eye(2))
        with pytest.raises(ValueError, match="^S_k has a negative eigenvalue"):
            function(sp.eye(2), sp.Matrix([[1, 2], [2, 1]]))
        with pytest.raises(ValueError, match=r"^S_k has the shape \(3, 3\); .*D = 2 as in S_q"):
            function(sp.eye(2), sp.eye(3))
        with pytest.raises(ValueError, match=r"^S_q has the shape \(3, 2\); a covariance is square"):
            function(TRIANGLE, sp.eye(2))
    with pytest.raises(TypeError, match=r"^K\[0, 1\] is 0\.25"):
        stationary_points(TRIANGLE, sp.Matrix([[1, 0.25], [0, 0]]))


def test_other_arguments():
    x, y = sp.symbols("x y", real=True)
    with pytest.raises(TypeError, match=r"^f is a .*Matrix; .*f\[0\]"):
        gradient(sp.Matrix([x]), row(x))
    with pytest.raises(ValueError, match="^alpha is .*different symbols"):
        gradient(x * y, row(x, x))
    with pytest.raises(ValueError, match="^alpha is .*different symbols"):
        hessian(x * y, row(x, 2 * y))
    with pytest.raises(ValueError, match="both have a symbol x, with different assumptions"):
        gradient(x * y, row(sp.Symbol("x"), y))
    assert gradient(7, row(x, y)) == row(0, 0)
    with pytest.raises(ValueError, match="^the trace of A is 2; A is S_k / tr S_k"):
        reduced_fraction(sp.eye(2), sp.eye(2), row(1, 0))
    pieces = (sp.eye(2), sp.eye(2), row(1, 0), row(0, 1))
    for N, error in ((0, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="^N is"):
            energy_closed_form(*pieces, N, 3)
    with pytest.raises(ValueError, match=r"^e has the shape \(1, 3\)"):
        energy_closed_form(*pieces[:3], row(1, 2, 3), 3, 3)


def test_all_names_are_to_be_had_from_proposition():
    assert all(callable(getattr(proposition, name)) for name in proposition.__all__)
    assert len(set(proposition.__all__)) == len(proposition.__all__) == 17
