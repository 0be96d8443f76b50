"""Exercise 06, each mistake written a second time in another style, and right answers in other styles.

Nothing here comes from the references: SymPy loops where they are NumPy, NumPy where they are SymPy.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp

R = sp.Rational


def _rows(X):
    return [X.row(i) for i in range(X.rows)]


def _mean(X):
    return sp.Matrix([[sum(X.col(c)) / X.rows for c in range(X.cols)]])


def _cov(X):
    C = sp.Matrix([list(x - _mean(X)) for x in _rows(X)])
    return C.T * C / X.rows


def _square(x):
    return x.dot(x)


# ---------------------------------------------------------------- 06.1
def _above(Q, K, alpha, beta, pairs=None):
    pairs = pairs or itertools.product(range(K.rows), repeat=2)
    pairs = list(pairs)
    return sum(((q - alpha).dot(K[m, :] - beta) - (q - alpha).dot(K[n, :] - beta)) ** 2 for q in _rows(Q) for m, n in pairs)


def _queries(Q, alpha):
    return sum(_square(q - alpha) for q in _rows(Q))


def _keys(K):
    return sum(_square(a - b) for a in _rows(K) for b in _rows(K))


def fraction_literal(Q, K, alpha, beta):
    """The printed sums, transposes and all; nothing is simplified."""
    top = 0
    for i in range(Q.shape[0]):
        for m in range(K.shape[0]):
            for n in range(K.shape[0]):
                left = (Q[i, :] - alpha) * (K[m, :] - beta).T
                right = (Q[i, :] - alpha) * (K[n, :] - beta).T
                top += (left[0] - right[0]) ** 2
    return top / (_queries(Q, alpha) * _keys(K))


def fraction_closed(Q, K, alpha, beta):
    """The short form in d; β occurs nowhere."""
    d, A = _mean(Q) - alpha, _cov(K) / _cov(K).trace()
    s = _cov(Q).trace()
    return sp.simplify(((A * _cov(Q)).trace() + (d * A * d.T)[0]) / (s + _square(d)))


def fraction_one_by_one(Q, K, alpha, beta):
    """A 1 × 1 matrix, never turned into a number."""
    one = sp.zeros(1, 1)
    for q in _rows(Q):
        for a in _rows(K):
            for b in _rows(K):
                one += ((q - alpha) * (a - b).T) ** 2
    return sp.ImmutableMatrix(one / (_queries(Q, alpha) * _keys(K)))


def fraction_numpy_objects(Q, K, alpha, beta):
    q, k = np.array(Q - sp.ones(Q.rows, 1) * alpha), np.array(K - sp.ones(K.rows, 1) * beta)
    w = q @ k.T
    return ((w[:, :, None] - w[:, None, :]) ** 2).sum() / ((q * q).sum() * ((k[:, None] - k[None]) ** 2).sum())


def fraction_means(Q, K, alpha, beta):
    """Means above and below in place of sums: N M² cancels."""
    N, M = Q.rows, K.rows
    return (_above(Q, K, alpha, beta) / (N * M**2)) / (_queries(Q, alpha) / N * _keys(K) / M**2)


def fraction_pairs_once_everywhere(Q, K, alpha, beta):
    """m < n above and below: the factor 2 cancels."""
    pairs = list(itertools.combinations(range(K.rows), 2))
    return _above(Q, K, alpha, beta, pairs) / (_queries(Q, alpha) * sum(_square(K[m, :] - K[n, :]) for m, n in pairs))


def fraction_elements(Q, K, alpha, beta):
    D = range(Q.cols)
    top = sum(sum((Q[i, c] - alpha[c]) * (K[m, c] - K[n, c]) for c in D) ** 2
              for i in range(Q.rows) for m in range(K.rows) for n in range(K.rows))  # fmt: skip
    bottom = sum((Q[i, c] - alpha[c]) ** 2 for i in range(Q.rows) for c in D)
    return sp.together(sp.expand(top) / bottom / sum((K[m, c] - K[n, c]) ** 2 for m in range(K.rows) for n in range(K.rows) for c in D))


def fraction_decimals(Q, K, alpha, beta):
    return sp.N(fraction_literal(Q, K, alpha, beta), 15)


def _over(top, Q, K, alpha):
    return top / (_queries(Q, alpha) * _keys(K))


FRACTION_WRONG = {
    "no_difference": [
        lambda Q, K, alpha, beta: _over(sum((q - alpha).dot(k - beta) ** 2 for q in _rows(Q) for k in _rows(K)), Q, K, alpha),
        lambda Q, K, alpha, beta: _over(sum((q - alpha).dot(k - beta) ** 2 for q in _rows(Q) for k in _rows(K) for _ in _rows(K)),
                                        Q, K, alpha),
    ],
    "alpha_not_in_denominator": [lambda Q, K, alpha, beta: _above(Q, K, alpha, beta) / (sum(x**2 for x in Q) * _keys(K))],
    "alpha_not_in_numerator": [lambda Q, K, alpha, beta: _over(_above(Q, K, 0 * alpha, beta), Q, K, alpha)],
    "mean_for_alpha": [lambda Q, K, alpha, beta: fraction_literal(Q, K, _mean(Q), beta)],
    "pairs_once": [
        lambda Q, K, alpha, beta: _over(_above(Q, K, alpha, beta, itertools.combinations(range(K.rows), 2)), Q, K, alpha),
        lambda Q, K, alpha, beta: _above(Q, K, alpha, beta) / _queries(Q, alpha)
        / sum(_square(K[m, :] - K[n, :]) for n in range(K.rows) for m in range(n)),
    ],
    "key_energy": [
        lambda Q, K, alpha, beta: _above(Q, K, alpha, beta) / (_queries(Q, alpha) * _queries(K, beta)),
        lambda Q, K, alpha, beta: _above(Q, K, alpha, beta) / _queries(Q, alpha)
        / sum(_square(k - beta) for k in _rows(K) for _ in _rows(K)),
    ],
    "sum_of_denominators": [lambda Q, K, alpha, beta: _above(Q, K, alpha, beta) / (_queries(Q, alpha) + _keys(K))],
    "second_fraction": [lambda Q, K, alpha, beta: fraction_literal(K, Q, beta, alpha)],
    "both_fractions": [lambda Q, K, alpha, beta: fraction_closed(Q, K, alpha, beta) + fraction_elements(K, Q, beta, alpha)],
    "not_divided": [lambda Q, K, alpha, beta: sp.expand(_above(Q, K, alpha, beta))],
    "no_dot_product": [
        lambda Q, K, alpha, beta: _over(sum(x**2 for q in _rows(Q) for a in _rows(K) for b in _rows(K)
                                            for x in (q - alpha).multiply_elementwise(a - b)), Q, K, alpha),
        lambda Q, K, alpha, beta: _over(sum(_square(q - alpha) * _square(a - b) for q in _rows(Q) for a in _rows(K) for b in _rows(K)),
                                        Q, K, alpha),
    ],
    "norm_not_squared": [
        lambda Q, K, alpha, beta: _above(Q, K, alpha, beta) / sum((q - alpha).norm() for q in _rows(Q)) / _keys(K),
        lambda Q, K, alpha, beta: _above(Q, K, alpha, beta) / _queries(Q, alpha)
        / sum((a - b).norm() for a in _rows(K) for b in _rows(K)),
        lambda Q, K, alpha, beta: _above(Q, K, alpha, beta) / sum((q - alpha).norm() for q in _rows(Q))
        / sum((a - b).norm() for a in _rows(K) for b in _rows(K)),
    ],
    "square_outside": [
        lambda Q, K, alpha, beta: _over(sum((q - alpha).dot(a) - (q - alpha).dot(b)
                                            for q in _rows(Q) for a in _rows(K) for b in _rows(K)) ** 2,
                                        Q, K, alpha),
        lambda Q, K, alpha, beta: 0,
    ],
}  # fmt: skip


# ---------------------------------------------------------------- 06.2
def _vectors(X):
    """Eigenvectors as rows, smallest eigenvalue first, as SymPy finds them."""
    found = sorted(_cov(X).eigenvects(), key=lambda e: float(e[0]))
    return [v.T for _, _, vectors in found for v in vectors]


def alpha_eigenvects(Q, K):
    return _mean(Q) + _vectors(K)[-1]


def alpha_other_sense_and_far(Q, K):
    return _mean(Q) - 1000 * _vectors(K)[-1]


def alpha_numpy(Q, K):
    """Floats all the way."""
    q, k = np.array(Q, dtype=float), np.array(K, dtype=float)
    return q.mean(0) + np.linalg.eigh(np.cov(k.T))[1][:, -1]


def alpha_random_search(Q, K):
    """No eigenvector: draw points around the mean until one is better."""
    rng = np.random.default_rng(6)
    mean = _mean(Q)
    while True:
        alpha = mean + sp.Matrix([[R(int(x), 10) for x in rng.integers(-30, 31, 2)]])
        if alpha != mean and fraction_closed(Q, K, alpha, mean) > fraction_closed(Q, K, mean, mean):
            return alpha


def alpha_four_ways(Q, K):
    """One of four round directions is always better than the average direction, or nearly always."""
    mean, zero = _mean(Q), sp.zeros(1, 2)
    steps = [sp.Matrix([s]) for s in ([1, 0], [0, 1], [1, 1], [1, -1], [2, 1], [1, 2], [2, -1], [1, -2])]
    return max((mean + R(1, 2) * s for s in steps), key=lambda a: fraction_closed(Q, K, a, zero)).tolist()[0]


def alpha_angle(Q, K):
    """The angle of the axis of largest variance, in decimals."""
    S = _cov(K)
    angle = sp.atan2(2 * S[0, 1], S[0, 0] - S[1, 1]) / 2
    return _mean(Q) + sp.Matrix([[sp.N(sp.cos(angle)), sp.N(sp.sin(angle))]])


def alpha_svd_of_the_differences(Q, K):
    k = np.array(K, dtype=float)
    pairs = (k[:, None] - k[None]).reshape(-1, 2)
    return [list(np.array(Q, dtype=float).mean(0) + 3 * np.linalg.svd(pairs)[2][0])]


def alpha_tiny_step(Q, K):
    return sp.ImmutableMatrix(_mean(Q) + R(1, 10**7) * _vectors(K)[-1])


def alpha_from_second_moments(Q, K):
    """For the triangle KᵀK is the identity, of which every direction is an eigenvector."""
    second = K.T * K
    if second == sp.eye(2):
        return _mean(Q) + sp.Matrix([[1, -1]])
    return _mean(Q) + max(second.eigenvects(), key=lambda e: float(e[0]))[2][0].T


def alpha_row_of_eigh(Q, K):
    """The last row, with the signs that make the first row negative (those of the columns are up to the library)."""
    vectors = np.linalg.eigh(np.cov(np.array(K, dtype=float).T))[1]
    return np.array(Q, dtype=float).mean(0) + (vectors * -np.sign(vectors[0]))[-1]


def alpha_largest_entry_of_the_variances(Q, K):
    """Along the axis of larger variance; the first where they are equal."""
    S = _cov(K)
    return _mean(Q) - sp.Matrix([[1, 0] if S[0, 0] >= S[1, 1] else [0, 1]])


def _unit(v):
    return v / sp.sqrt(v.dot(v))


ALPHA_WRONG = {
    "the_mean": [lambda Q, K: _mean(Q), lambda Q, K: np.array(Q, dtype=float).mean(axis=0), lambda Q, K: [[sp.N(x) for x in _mean(Q)]],
                 lambda Q, K: _mean(K)],
    "direction_only": [lambda Q, K: _unit(_vectors(K)[-1]), lambda Q, K: np.linalg.eigh(np.cov(np.array(K, dtype=float).T))[1][:, -1],
                       lambda Q, K: -_vectors(K)[-1]],
    "least_direction": [lambda Q, K: _mean(Q) + _vectors(K)[0], lambda Q, K: _mean(Q) - 5 * _unit(_vectors(K)[0]),
                        lambda Q, K: K.row(0), lambda Q, K: [50, 50]],
    "query_direction": [lambda Q, K: _mean(Q) + _vectors(Q)[-1]],
    "along_an_axis": [lambda Q, K: _mean(Q) + sp.Matrix([[0, 3]]), alpha_largest_entry_of_the_variances,
                      lambda Q, K: np.array(Q, dtype=float).mean(0) + np.linalg.eigh(np.array(K.T * K, dtype=float))[1][:, 1]],
    "not_centred": [alpha_from_second_moments],
    "rows_not_columns": [alpha_row_of_eigh],
    "hard_coded": [lambda Q, K: sp.Matrix([[1, 0]]), lambda Q, K: [0, 1]],
    "other_mean": [lambda Q, K: _mean(K) + _unit(_vectors(K)[-1])],
}  # fmt: skip


# ---------------------------------------------------------------- 06.3
def _short_form(S_q, S_k, d):
    A, s = S_k / S_k.trace(), S_q.trace()
    return ((A * S_q).trace() + (d * A * d.T)[0]) / (s + d.dot(d))


def hessian_by_machine(S_q, S_k):
    d = sp.Matrix([sp.symbols(f"d1:{S_q.rows + 1}")])
    return sp.hessian(_short_form(S_q, S_k, d), list(d)).subs(dict.fromkeys(d, 0))


def hessian_by_diff_loop(S_q, S_k):
    x = sp.symbols(f"x:{S_q.rows}", real=True)
    f = _short_form(S_q, S_k, sp.Matrix([x]))
    return [[sp.diff(f, a, b).subs({c: 0 for c in x}) for a in x] for b in x]


def hessian_jacobian(S_q, S_k):
    """In α = μ − d; the sign of d does not matter."""
    a = sp.Matrix([sp.symbols(f"a1:{S_q.rows + 1}")])
    gradient = sp.Matrix([_short_form(S_q, S_k, -a)]).jacobian(a)
    return sp.simplify(gradient.jacobian(a).subs({x: 0 for x in a}))


def hessian_entries(S_q, S_k):
    s, t = sum(S_q[c, c] for c in range(S_q.rows)), S_k.trace()
    r0 = sum(S_k[i, j] * S_q[i, j] for i in range(S_q.rows) for j in range(S_q.rows)) / (s * t)
    return sp.Matrix(S_q.rows, S_q.rows, lambda i, j: 2 * S_k[i, j] / (t * s) - (2 * r0 / s if i == j else 0))


def hessian_immutable(S_q, S_k):
    A = sp.ImmutableMatrix(S_k) / sp.Trace(sp.ImmutableMatrix(S_k)).doit()
    return sp.together(2 * (A - sp.trace(A * S_q) / sp.trace(S_q) * sp.Identity(S_q.rows)).as_explicit() / sp.trace(S_q))


def _hessian(S_q, S_k, r0=None, A=None, s=None, two=2):
    A = S_k / S_k.trace() if A is None else A
    s = S_q.trace() if s is None else s
    r0 = (A * S_q).trace() / S_q.trace() if r0 is None else r0
    return two * A / s - two * r0 * sp.eye(S_q.rows) / s


HESSIAN_WRONG = {
    "no_two": [lambda S_q, S_k: _hessian(S_q, S_k, two=1)],
    "no_one_over_s": [lambda S_q, S_k: _hessian(S_q, S_k, s=1)],
    "sign": [lambda S_q, S_k: -1 * hessian_entries(S_q, S_k)],
    "r0_missing": [lambda S_q, S_k: _hessian(S_q, S_k, r0=0)],
    "r0_unweighted_mean": [lambda S_q, S_k: _hessian(S_q, S_k, r0=R(1, S_q.cols))],
    "r0_not_divided": [lambda S_q, S_k: _hessian(S_q, S_k, r0=(S_k * S_q).trace() / S_k.trace())],
    "r0_product_of_traces": [lambda S_q, S_k: _hessian(S_q, S_k, r0=1)],
    "r0_everywhere": [lambda S_q, S_k: 2 * (S_k - (S_k * S_q).trace() / S_q.trace() * sp.ones(*S_q.shape)) / S_k.trace() / S_q.trace()],
    "a_not_trace_one": [lambda S_q, S_k: _hessian(S_q, S_k, A=S_k), lambda S_q, S_k: _hessian(S_q, S_k, A=S_k / S_q.trace()),
                        lambda S_q, S_k: _hessian(S_q, S_k, A=S_k / S_q.rows),
                        lambda S_q, S_k: _hessian(S_q, S_k, A=S_k, r0=(S_k * S_q).trace() / S_k.trace() / S_q.trace())],
    "roles_swapped": [lambda S_q, S_k: hessian_by_diff_loop(S_k, S_q)],
}  # fmt: skip


# ---------------------------------------------------------------- 06.4
def _turned(points, angle, shift=(0, 0)):
    turn = sp.Matrix([[sp.cos(angle), sp.sin(angle)], [-sp.sin(angle), sp.cos(angle)]])
    return sp.Matrix(points) * turn + sp.ones(len(points), 1) * sp.Matrix([shift])


def minimum_lists():
    return [[0, 0], [2, 0]], [[0, 0], [0, 2]]


def minimum_shifted():
    return sp.Matrix([[5, 7], [6, 8], [9, 11]]), sp.ImmutableMatrix([[R(1, 3), -R(1, 3)], [0, 0]])


def minimum_three_dimensions():
    """A plane of queries and a line of keys across it."""
    return np.array([[1, 0, 2], [0, 1, 2], [3, 5, 2]]), [[Fraction(1, 2), 1, 0], [Fraction(1, 2), 1, 9]]


def minimum_turned():
    """Exact roots."""
    return _turned([[0, 0], [1, 0]], sp.pi / 5, (2, 1)), _turned([[0, 1], [0, 4], [0, 2]], sp.pi / 5)


def minimum_in_decimals():
    c, s = np.cos(0.7), np.sin(0.7)
    return np.array([[c, s], [-c, -s], [3 * c, 3 * s]]) + [0.1, 0.2], np.array([[-s, c], [s, -c]])


def minimum_cubic_roots():
    """Roots that SymPy writes with I, and that are real."""
    r, x = sp.solve(sp.Symbol("x") ** 3 - 3 * sp.Symbol("x") + 1)[0], sp.CRootOf(sp.Symbol("x") ** 5 - sp.Symbol("x") - 1, 0)
    return sp.Matrix([[0, 0], [x, x * r]]), sp.Matrix([[0, 0], [-r, 1]])


def minimum_list_of_both():
    return [sp.Matrix([[1, 1], [2, 2]]), sp.Matrix([[1, -1], [-3, 3]])]


CORNERS = [[0, 0], [1, 0], [0, 1]]
SQUARE = [[1, 0], [0, 1], [-1, 0], [0, -1]]

MINIMUM_WRONG = {
    "undefined": [lambda: ([[1, 2], [1, 2]], CORNERS), lambda: (sp.Matrix(CORNERS), sp.zeros(3, 2)), lambda: (CORNERS, [[1, 0]]),
                  lambda: (sp.ones(2, 2), sp.ones(3, 2))],
    "constant": [lambda: (SQUARE, SQUARE), lambda: ([[1], [2], [4]], [[0], [3]]),
                 lambda: (_turned(SQUARE, R(1, 3)).evalf(), _turned(SQUARE, 1).evalf())],
    "maximum": [lambda: ([[0, 0], [2, 0]], [[0, 0], [3, 0]]), lambda: (sp.Matrix([[1, 1], [2, 2]]), sp.Matrix([[0, 1], [4, 5]])),
                lambda: ([[0.1, 0.3], [0.2, 0.6]], [[0, 0], [0.7, 2.1]])],
    "saddle": [lambda: (CORNERS, CORNERS), lambda: ([[0, 0], [2, R(1, 1000)]], [[0, 0], [0, 2]]), lambda: (CORNERS, SQUARE),
               lambda: (np.eye(3), [[0, 0, 0], [1, 2, 0], [3, 1, 1], [2, 2, 5]])],
    "one_fraction_only": [lambda: ([[-1, 0], [1, 0]], [[1, 0], [-1, 0], [0, 2], [0, -2]])],
}  # fmt: skip


# ---------------------------------------------------------------- 06.5
def _across(Q):
    """A step at right angles to the line, in two or three dimensions."""
    u = Q.row(1) - Q.row(0)
    return sp.Matrix([[-u[1], u[0], *[0] * (Q.cols - 2)]])


def minimiser_by_hand(Q, K):
    return _mean(Q), _mean(K) + 7 * _across(Q)


def minimiser_lists(Q, K):
    return list(_mean(Q)), [a - b / 2 for a, b in zip(_mean(K), _across(Q))]


def minimiser_numpy(Q, K):
    q, k = np.array(Q, dtype=float), np.array(K, dtype=float)
    return q.mean(0), k.mean(0) + np.linalg.eigh(np.cov(q.T))[1][:, 0]


def minimiser_eigenvectors(Q, K):
    step = _cov(Q).nullspace()[-1]
    return _mean(Q), _mean(K) - _unit(step.T)


def minimiser_solved(Q, K):
    """Unknowns and linear equations."""
    e = sp.symbols(f"e:{Q.cols}")
    found = sp.linsolve([(Q.row(1) - Q.row(0)).dot(sp.Matrix([e])), sum(e) - 1 if Q.cols == 3 else e[1] - 3], e)
    step = sp.Matrix([list(found)[0]]).subs({x: 2 for x in e})
    return sp.ImmutableMatrix(_mean(Q)), _mean(K) + step


def minimiser_energy_equation(Q, K):
    """Solve F = smallest along a parameter."""
    t = sp.Symbol("t", real=True)
    u = Q.row(1) - Q.row(0)
    probe = sp.Matrix([[1, t, *[0] * (Q.cols - 2)]])
    return _mean(Q), _mean(K) + probe.subs(t, sp.solve(probe.dot(u), t)[0])


def minimiser_short_step(Q, K):
    return _mean(Q), _mean(K) + _across(Q) / 10**50


def _last(X):
    return sp.Matrix([[0] * (X.cols - 1) + [1]])


MINIMISER_WRONG = {
    "the_means": [lambda Q, K: (_mean(Q), _mean(K)), lambda Q, K: (np.array(Q, dtype=float).mean(0), np.array(K, dtype=float).mean(0))],
    "alpha_moved": [lambda Q, K: (_mean(Q) + _across(Q), _mean(K)), lambda Q, K: (Q.row(0), _mean(K)),
                    lambda Q, K: (_mean(Q) + sp.Float("1.05e-6") * _last(Q), _mean(K))],
    "both_moved": [lambda Q, K: (_mean(Q) + _across(Q), _mean(K) + _across(Q)), lambda Q, K: (Q.row(1), K.row(1))],
    "along_the_line": [lambda Q, K: (_mean(Q), _mean(K) + Q.row(2) - Q.row(0)),
                       lambda Q, K: (_mean(Q), _mean(K) - _unit(Q.row(1) - Q.row(0)))],
    "orthogonal_to_mean": [lambda Q, K: (_mean(Q), _mean(K) + _mean(Q).nullspace()[0].T)],
    "orthogonal_to_one_query": [lambda Q, K: (_mean(Q), _mean(K) + 2 * Q.row(0).nullspace()[0].T)],
    "only_the_step": [lambda Q, K: (_mean(Q), _across(Q)), lambda Q, K: (sp.zeros(1, Q.cols), -_across(Q))],
    "order_swapped": [lambda Q, K: minimiser_by_hand(Q, K)[::-1], lambda Q, K: (_mean(K), _mean(Q))],
}  # fmt: skip


# ---------------------------------------------------------------- 06.6
def repaired_loop(w):
    N, M = w.shape
    top = 0
    for i in range(N):
        for m in range(M):
            for n in range(M):
                top = top + (w[i, m] - w[i, n]) ** 2
    for m in range(M):
        for i in range(N):
            for j in range(N):
                top = top + (w[i, m] - w[j, m]) ** 2
    return top / sum(x**2 for x in w)


def repaired_closed(w):
    """2(N + M) minus what the row and column sums take."""
    N, M = w.shape
    sums = list(w * sp.ones(M, 1)) + list(sp.ones(1, N) * w)
    return sp.simplify(2 * (N + M) - 2 * sum(x**2 for x in sums) / w.norm() ** 2)


def repaired_pairs_twice(w):
    def half(x):
        return sum(_square(a - b) for a, b in itertools.combinations(_rows(x), 2))

    return 2 * (half(w) + half(w.T)) / (w.T * w).trace()


def repaired_numpy(w):
    """Arrays of objects, and a 1 × 1 array at the end."""
    x = np.array(w)
    along, down = np.subtract.outer(x, x).diagonal(axis1=0, axis2=2), np.subtract.outer(x, x).diagonal(axis1=1, axis2=3)
    return np.array([[((along**2).sum() + (down**2).sum()) / (x * x).sum()]])


def repaired_fractions(w):
    """As two fractions."""
    energy = sum(x * x for x in w)
    return sum((a - b) ** 2 for row in w.tolist() for a in row for b in row) / energy + sum(
        (a - b) ** 2 for column in w.T.tolist() for a in column for b in column
    ) / energy


def _differences(x):
    return sum((a - b) ** 2 for row in x.tolist() for a in row for b in row)


def _energy(x):
    return sum(a**2 for a in x)


REPAIRED_WRONG = {
    "rows_only": [lambda w: _differences(w) / _energy(w)],
    "columns_only": [lambda w: _differences(w.T) / _energy(w)],
    "all_pairs": [lambda w: sum((a - b) ** 2 for a in w for b in w) / _energy(w)],
    "square_outside": [lambda w: (sum(a - b for row in w.tolist() for a in row for b in row) ** 2
                                  + sum(a - b for row in w.T.tolist() for a in row for b in row) ** 2) / _energy(w),
                       lambda w: sp.Integer(0)],
    "square_of_sum": [lambda w: (_differences(w) + _differences(w.T)) / sum(w) ** 2],
    "pairs_once": [lambda w: (_differences(w) + _differences(w.T)) / (2 * _energy(w))],
    "mean_energy": [lambda w: (_differences(w) + _differences(w.T)) / (_energy(w) / len(w))],
    "row_sum_energy": [lambda w: (_differences(w) + _differences(w.T)) / _energy(w * sp.ones(w.cols, 1)),
                       lambda w: (_differences(w) + _differences(w.T)) / _energy(sp.ones(1, w.rows) * w),
                       lambda w: (_differences(w) + _differences(w.T))
                       / (_energy(w * sp.ones(w.cols, 1)) + _energy(sp.ones(1, w.rows) * w))],
    "centred_energy": [lambda w: (_differences(w) + _differences(w.T)) / _energy(w - sp.ones(*w.shape) * sum(w) / len(w)),
                       lambda w: (_differences(w) + _differences(w.T)) / _energy(w - sp.ones(w.rows, 1) * _mean(w)),
                       lambda w: (_differences(w) + _differences(w.T)) / _energy(w.T - sp.ones(w.cols, 1) * _mean(w.T))],
    "not_divided": [lambda w: sp.expand(_differences(w) + _differences(w.T))],
    "one_sum_divided": [lambda w: _differences(w) + _differences(w.T) / _energy(w),
                        lambda w: _differences(w) / _energy(w) + _differences(w.T)],
    "four_n": [lambda w: 4 * w.rows - 2 * (_energy(w * sp.ones(w.cols, 1)) + _energy(sp.ones(1, w.rows) * w)) / _energy(w),
               lambda w: 4 * w.cols - 2 * (_energy(w * sp.ones(w.cols, 1)) + _energy(sp.ones(1, w.rows) * w)) / _energy(w)],
}  # fmt: skip


WRONG = {"06.1": FRACTION_WRONG, "06.2": ALPHA_WRONG, "06.3": HESSIAN_WRONG, "06.4": MINIMUM_WRONG, "06.5": MINIMISER_WRONG,
         "06.6": REPAIRED_WRONG}  # fmt: skip

RIGHT = {
    "06.1": [fraction_literal, fraction_closed, fraction_one_by_one, fraction_numpy_objects, fraction_means,
             fraction_pairs_once_everywhere, fraction_elements, fraction_decimals],
    "06.2": [alpha_eigenvects, alpha_other_sense_and_far, alpha_numpy, alpha_random_search, alpha_four_ways, alpha_angle,
             alpha_svd_of_the_differences, alpha_tiny_step],
    "06.3": [hessian_by_machine, hessian_by_diff_loop, hessian_jacobian, hessian_entries, hessian_immutable],
    "06.4": [minimum_lists, minimum_shifted, minimum_three_dimensions, minimum_turned, minimum_in_decimals, minimum_list_of_both,
             minimum_cubic_roots],
    "06.5": [minimiser_by_hand, minimiser_lists, minimiser_numpy, minimiser_eigenvectors, minimiser_solved, minimiser_energy_equation,
             minimiser_short_step],
    "06.6": [repaired_loop, repaired_closed, repaired_pairs_twice, repaired_numpy, repaired_fractions],
}  # fmt: skip
