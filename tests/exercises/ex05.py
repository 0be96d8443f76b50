"""Exercise 05, each mistake written a second time in another style, and right answers in other styles.

Nothing here comes from the references: these are SymPy functions, the references are NumPy functions.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp


def _row(X, n=None):
    """Sum of the rows over n, in SymPy."""
    return sp.Matrix(1, X.cols, lambda _, d: sum(X[:, d]) / (n or X.rows))


def _column(X, n=None):
    return _row(X.T, n).T


def _under(row, n):
    return sp.Matrix.vstack(*[row] * n)


def _beside(column, m):
    return sp.Matrix.hstack(*[column] * m)


# ---------------------------------------------------------------- 05.1
def mean_loop(Q):
    total = sp.zeros(1, Q.cols)
    for i in range(Q.rows):
        total += Q.row(i)
    return total / Q.rows


def mean_list(Q):
    """A flat list."""
    return [sp.Add(*Q.col(d)) * sp.Rational(1, Q.rows) for d in range(Q.cols)]


def mean_sum_of_rows(Q):
    return sp.ImmutableMatrix(sum((Q[i, :] for i in range(Q.shape[0])), sp.zeros(1, Q.shape[1])) / Q.shape[0])


def mean_numpy(Q):
    return np.array(Q.tolist(), dtype=object).mean(axis=0)


def mean_fractions(Q):
    """Nested list, Fraction times symbols."""
    return [[sum(Q[:, d]) * Fraction(1, Q.rows) for d in range(Q.cols)]]


def mean_float(Q):
    return sp.ones(1, Q.rows) * Q * (1.0 / Q.rows)


def mean_factored(Q):
    """Nothing is simplified."""
    return sp.Matrix([[sp.Mul(sp.Rational(1, Q.rows), sp.Add(*Q[:, d], evaluate=False), evaluate=False) for d in range(Q.cols)]])


def mean_sum_object(Q):
    """An unevaluated sum over an index."""
    i = sp.Symbol("i", integer=True)
    return sp.Matrix(1, Q.cols, lambda _, d: sp.Sum(sp.ImmutableMatrix(Q)[i, d], (i, 0, Q.rows - 1)).doit() / Q.rows)


MEAN_WRONG = {
    "no_n": [lambda Q: sp.ones(1, Q.rows) * Q, lambda Q: [sum(Q[:, d]) for d in range(Q.cols)]],
    "one_over_d": [lambda Q: mean_loop(Q) * Q.rows / Q.cols],
    "over_channels": [
        lambda Q: Q * sp.ones(Q.cols, 1) / Q.cols, lambda Q: [sum(Q.row(i)) / Q.rows for i in range(Q.rows)],
        lambda Q: sp.Matrix([sum(Q[i, :]) / Q.cols for i in range(Q.rows)]), lambda Q: [sum(r) for r in Q.tolist()],
    ],
    "all_entries": [lambda Q: sum(Q) / Q.rows, lambda Q: sum(Q), lambda Q: sp.Matrix([[sum(Q) / Q.shape[0]]]),
                    lambda Q: sp.Matrix(1, Q.cols, lambda i, d: sum(Q) / Q.rows)],
    "grand_mean": [lambda Q: sum(Q) / len(Q), lambda Q: sp.ones(1, Q.cols) * sp.Add(*Q) / (Q.rows * Q.cols)],
    "column_vector": [lambda Q: sp.Matrix(mean_list(Q)), lambda Q: Q.T * sp.ones(Q.rows, 1) / Q.rows],
}  # fmt: skip


# ---------------------------------------------------------------- 05.2
def split_entries(Q, K):
    """Entry by entry."""
    N, M, D = Q.rows, K.rows, range(Q.cols)
    a = [sum(Q[i, d] for i in range(N)) / N for d in D]
    b = [sum(K[j, d] for j in range(M)) / M for d in D]
    pairwise = sp.Matrix(N, M, lambda i, j: sum((Q[i, d] - a[d]) * (K[j, d] - b[d]) for d in D))
    unary = sp.Matrix(N, M, lambda i, j: sum(a[d] * K[j, d] for d in D))
    query = sp.Matrix(N, M, lambda i, j: sum(Q[i, d] * b[d] for d in D))
    return pairwise, unary, query, sp.Matrix(N, M, lambda i, j: -sum(a[d] * b[d] for d in D))


def split_averaging_matrices(Q, K):
    """With J = 11ᵀ/n, in immutable matrices, as a list."""
    Q, K = sp.ImmutableMatrix(Q), sp.ImmutableMatrix(K)
    J, L = sp.ones(Q.rows) / Q.rows, sp.ones(K.rows) / K.rows
    return [(Q - J * Q) * (K - L * K).T, J * Q * K.T, Q * K.T * L, -J * Q * K.T * L]


def split_from_the_logits(Q, K):
    """From S alone: the unary term is the column means, the query term the row means."""
    S = (Q * K.T).applyfunc(sp.expand)
    unary, query = _under(_row(S), S.rows), _beside(_column(S), S.cols)
    constant = -_row(_column(S))[0] * sp.ones(*S.shape)
    return (S - unary - query - constant).expand(), unary, query, constant


def split_the_rest(Q, K):
    """The constant is what is missing."""
    mq, mk = _under(_row(Q), Q.rows), _under(_row(K), K.rows)
    three = (Q - mq) * (K - mk).T, mq * K.T, Q * mk.T
    return (*three, Q * K.T - three[0] - three[1] - three[2])


def split_numpy(Q, K):
    q, k = (np.array(X.tolist(), dtype=object) for X in (Q, K))
    a, b = q.mean(0), k.mean(0)
    shape = (len(q), len(k))
    return (q - a) @ (k - b).T, np.broadcast_to(a @ k.T, shape), np.broadcast_to((q @ b)[:, None], shape), np.full(shape, -(a @ b))


def split_nested_lists(Q, K):
    return tuple(part.tolist() for part in split_entries(Q, K))


def _split(Q, K, mq=None, mk=None):
    return list(split_entries(Q, K)) if mq is None else [(Q - mq) * (K - mk).T, mq * K.T, Q * mk.T, -mq * mk.T]


def _changed(position, change):
    def split(Q, K):
        terms = _split(Q, K)
        terms[position] = change(terms[position], Q, K)
        return tuple(terms)

    return split


def _means(Q, K):
    return _under(_row(Q), Q.rows), _under(_row(K), K.rows)


def split_of_sums(Q, K):
    return tuple(_split(Q, K, _under(_row(Q, 1), Q.rows), _under(_row(K, 1), K.rows)))


def split_grand(Q, K):
    return tuple(_split(Q, K, sp.ones(*Q.shape) * sum(Q) / len(Q), sp.ones(*K.shape) * sum(K) / len(K)))


def split_channels(Q, K):
    right = _split(Q, K)
    left = [[x - sum(row) / len(row) for x in row] for row in Q.tolist()], [[x - sum(row) / len(row) for x in row] for row in K.tolist()]
    return (sp.Matrix(left[0]) * sp.Matrix(left[1]).T, *right[1:])


def split_centred(Q, K):
    mq, mk = _means(Q, K)
    return (Q - mq) * (K - mk).T, mq * (K - mk).T, (Q - mq) * mk.T, mq * mk.T


def split_own_means(Q, K):
    pairwise, _, _, constant = split_entries(Q, K)
    return pairwise, _under(_row(K) * K.T, Q.rows), _beside(Q * _row(Q).T, K.rows), constant


SPLIT_WRONG = {
    "printed_sign": [_changed(3, lambda c, Q, K: -c), lambda Q, K: (*split_entries(Q, K)[:3], _means(Q, K)[0] * _means(Q, K)[1].T)],
    "unary_and_query_swapped": [lambda Q, K: tuple(split_from_the_logits(Q, K)[n] for n in (0, 2, 1, 3))],
    "over_channels": [split_channels],
    "grand_mean": [split_grand],
    "sums_not_means": [split_of_sums],
    "constant_forgotten": [lambda Q, K: split_entries(Q, K)[:3], _changed(3, lambda c, Q, K: sp.zeros(*c.shape)),
                           _changed(3, lambda c, Q, K: 0 * c)],
    "only_what_softmax_sees": [
        lambda Q, K: split_entries(Q, K)[:2],
        lambda Q, K: (*split_entries(Q, K)[:2], sp.zeros(Q.rows, K.rows), sp.zeros(Q.rows, K.rows)),
    ],
    "unary_from_key_mean": [_changed(1, lambda u, Q, K: _under(_row(K) * K.T, Q.rows)),
                            split_own_means],
    "query_from_query_mean": [_changed(2, lambda u, Q, K: _beside(Q * _row(Q).T, K.rows))],
    "one_side_centred": [
        _changed(0, lambda w, Q, K: (Q - _means(Q, K)[0]) * K.T), _changed(0, lambda w, Q, K: Q * (K - _means(Q, K)[1]).T),
        _changed(0, lambda w, Q, K: Q * K.T),
        lambda Q, K: ((Q - _means(Q, K)[0]) * K.T, _means(Q, K)[0] * K.T, sp.zeros(Q.rows, K.rows), sp.zeros(Q.rows, K.rows)),
    ],
    "terms_centred": [split_centred],
    "constant_folded_in": [lambda Q, K: (*split_entries(Q, K)[:2], (Q - _means(Q, K)[0]) * _means(Q, K)[1].T, sp.zeros(Q.rows, K.rows))],
    "not_spread": [
        lambda Q, K: (split_entries(Q, K)[0], _row(Q) * K.T, Q * _row(K).T, -_row(Q) * _row(K).T),
        lambda Q, K: (split_entries(Q, K)[0], _row(Q) * K.T, Q * _row(K).T, -_row(Q).dot(_row(K))),
        lambda Q, K: (*split_entries(Q, K)[:3], -(_row(Q) * _row(K).T)[0]),
        lambda Q, K: (*split_entries(Q, K)[:3], -_row(Q) * _row(K).T),
        _changed(1, lambda u, Q, K: u.row(0)), _changed(1, lambda u, Q, K: list(u[0, :])),
    ],
}  # fmt: skip


# ---------------------------------------------------------------- 05.3
def rows_loop(S):
    out = S.copy()
    for i in range(S.rows):
        mean = sum(S.row(i)) / S.cols
        for j in range(S.cols):
            out[i, j] -= mean
    return out


def rows_lambda(S):
    return sp.Matrix(*S.shape, lambda i, j: sp.together(S[i, j] - sp.Rational(1, S.cols) * sum(S[i, t] for t in range(S.cols))))


def rows_lists(S):
    return [[x - sum(row) / len(row) for x in row] for row in S.tolist()]


def rows_stacked(S):
    return sp.Matrix.vstack(*[S[i, :] - sp.ones(1, S.cols) * (sum(S[i, :]) / S.cols) for i in range(S.rows)]).as_immutable()


def rows_of_the_log_map(S):
    """Softmax keeps what is left, so its logarithm will do."""
    A = sp.Matrix(*S.shape, lambda i, j: sp.exp(S[i, j]) / sum(sp.exp(x) for x in S[i, :]))
    return rows_loop(A.applyfunc(sp.log))


def rows_float(S):
    return S - _beside(_column(S), S.cols) * 1.0


def _max_column(S, pick):
    return sp.Matrix(*S.shape, lambda i, j: S[i, j] - pick(*S[i, :]))


ROWS_WRONG = {
    "column_means": [lambda S: rows_loop(S.T).T],
    "grand_mean": [lambda S: S - sp.ones(*S.shape) * sum(S) / len(S)],
    "both": [lambda S: rows_loop(rows_loop(S).T).T],
    "row_sums": [lambda S: S - S * sp.ones(S.cols), lambda S: S - S * sp.ones(S.cols) / S.rows],
    "first_column": [lambda S: S - S[:, 0] * sp.ones(1, S.cols), lambda S: sp.Matrix([[x - r[-1] for x in r] for r in S.tolist()])],
    "row_maximum": [lambda S: _max_column(S, sp.Max), lambda S: _max_column(S, sp.Min)],
    "log_softmax": [lambda S: sp.Matrix(*S.shape, lambda i, j: sp.log(sp.exp(S[i, j]) / sum(sp.exp(x) for x in S.row(i))))],
    "added": [lambda S: 2 * S - rows_loop(S)],
    "means_returned": [lambda S: S - rows_loop(S), _column, lambda S: sp.Matrix([sum(S[i, :]) / S.cols for i in range(S.rows)])],
}


# ---------------------------------------------------------------- 05.4
def _softmax(L):
    return sp.Matrix(*L.shape, lambda i, j: sp.exp(L[i, j]) / sum(sp.exp(x) for x in L.row(i)))


def same_by_columns(L1, L2):
    """Neighbouring columns of the difference, as a set of expanded entries."""
    d = (L1 - L2).applyfunc(sp.expand)
    return all(len({d[i, j] for j in range(d.cols)}) == 1 for i in range(d.rows))


def same_by_means(L1, L2):
    return (rows_loop(L1) - rows_loop(L2)).expand() == sp.zeros(*L1.shape)


def same_by_simplify(L1, L2):
    d = rows_lambda(L1 - L2)
    return sp.simplify(d).is_zero_matrix


def same_by_softmax(L1, L2):
    """Weights against weights, cross-multiplied: no simplify of fractions."""
    pairs = [(i, j, t) for i in range(L1.rows) for j in range(L1.cols) for t in range(j)]
    return all(sp.expand(L1[i, j] + L2[i, t] - L1[i, t] - L2[i, j]) == 0 for i, j, t in pairs)


def same_at_random_points(L1, L2):
    """Numbers, all different, at three points; softmax in NumPy."""
    symbols = sorted(L1.free_symbols | L2.free_symbols, key=str)
    generator = np.random.default_rng(1)
    for _ in range(3):
        at = {s: sp.Rational(int(n), 7) for s, n in zip(symbols, generator.choice(40, len(symbols), replace=False))}
        a, b = (np.array(L.subs(at).evalf(30).tolist(), dtype=float) for L in (L1, L2))
        a, b = (np.exp(x - x.max(1, keepdims=True)) for x in (a, b))
        if not np.allclose(a / a.sum(1, keepdims=True), b / b.sum(1, keepdims=True), rtol=1e-9, atol=1e-12):
            return False
    return bool(np.all(True))


def same_with_early_return(L1, L2):
    for i in range(L1.rows):
        first = L1[i, 0] - L2[i, 0]
        for j in range(1, L1.cols):
            if not (L1[i, j] - L2[i, j]).equals(first):
                return False
    return True


def same_as_sympy_bool(L1, L2):
    H = sp.eye(L1.cols) - sp.ones(L1.cols) / L1.cols
    return sp.true if ((L1 - L2) * H).expand().is_zero_matrix else sp.false


def same_as_number(L1, L2):
    return 1 if same_by_columns(L1, L2) else 0


def _numbers_in(numbers):
    def same(L1, L2):
        at = dict(zip(sorted(L1.free_symbols | L2.free_symbols, key=lambda s: s.name), numbers))
        return same_by_means(L1.subs(at), L2.subs(at))

    return same


def _first_row(L1, L2):
    for i in range(L1.rows):
        d = (L1[i, :] - L2[i, :]).expand()
        return all(x == d[0] for x in d)


SAME_WRONG = {
    "equal_only": [lambda L1, L2: sp.simplify(L1 - L2) == sp.zeros(*L1.shape), lambda L1, L2: L1.equals(L2),
                   lambda L1, L2: sp.expand(L1) == sp.expand(L2)],
    "structural": [lambda L1, L2: L1 == L2, lambda L1, L2: L1.tolist() == L2.tolist(), lambda L1, L2: rows_loop(L1) == rows_loop(L2),
                   lambda L1, L2: all(len({*(L1 - L2).row(i)}) == 1 for i in range(L1.rows)),
                   lambda L1, L2: rows_loop(L1 - L2).is_zero_matrix is True],
    "one_constant": [lambda L1, L2: len({sp.expand(x) for x in L1 - L2}) == 1],
    "column_constants": [lambda L1, L2: same_by_columns(L1.T, L2.T)],
    "row_and_column": [lambda L1, L2: rows_loop(rows_loop(L1 - L2).T).expand().is_zero_matrix],
    "first_row": [_first_row, lambda L1, L2: same_by_means(L1[:1, :], L2[:1, :])],
    "one_point": [_numbers_in([1] * 20), _numbers_in([0] * 20), _numbers_in([7] * 20), _numbers_in(range(1, 21)),
                  _numbers_in([*sp.primerange(80)])],
    "always_true": [lambda L1, L2: L1.shape == L2.shape, lambda L1, L2: True],
    "always_false": [lambda L1, L2: L1 is L2, lambda L1, L2: (L1 - L2).expand() == 0, lambda L1, L2: 0],
}  # fmt: skip


# ---------------------------------------------------------------- 05.5
def centre_steps(S):
    rows = rows_loop(S)
    return rows - _under(_row(rows), S.rows)


def centre_entries(S):
    N, M = S.shape
    total = sum(S)
    return sp.Matrix(N, M, lambda i, j: S[i, j] - sum(S.row(i)) / M - sum(S.col(j)) / N + total / (N * M))


def centre_columns_first(S):
    H, G = (sp.eye(n) - sp.ones(n) / n for n in S.shape)
    return (H * sp.ImmutableMatrix(S)) * G


def centre_outer(S):
    """As one double sum over pairs of pairs, unsimplified."""
    N, M = S.shape
    return [[sum(S[i, j] - S[a, j] - S[i, b] + S[a, b] for a in range(N) for b in range(M)) / (N * M) for j in range(M)] for i in range(N)]


def centre_numpy(S):
    x = np.array(S.tolist(), dtype=object)
    return x - x.mean(1, keepdims=True) - x.mean(0) + x.mean()


def centre_float(S):
    return centre_entries(S.evalf())


def centre_least_squares(S):
    """What is left of S after the best a_i + b_j: normal equations."""
    N, M = S.shape
    design = sp.Matrix(N * M, N + M - 1, lambda r, c: int(c == r // M) if c < N else int(c - N == r % M))
    flat = S.reshape(N * M, 1)
    left = flat - design * ((design.T * design).inv() * (design.T * flat))
    return left.reshape(N, M)


def _centre(r=1, c=1, g=1):
    def centre(S):
        means = [_beside(_column(S), S.cols), _under(_row(S), S.rows), sp.ones(*S.shape) * sum(S) / len(S)]
        return S - r * means[0] - c * means[1] + g * means[2]

    return centre


CENTRE_WRONG = {
    "printed_sign": [_centre(g=-1)],
    "grand_mean_forgotten": [_centre(g=0), lambda S: S - S * sp.ones(S.cols) / S.cols - sp.ones(S.rows) * S / S.rows],
    "rows_only": [rows_loop, lambda S: S * (sp.eye(S.cols) - sp.ones(S.cols) / S.cols)],
    "columns_only": [lambda S: (sp.eye(S.rows) - sp.ones(S.rows) / S.rows) * S],
    "grand_mean_only": [_centre(0, 0, -1)],
    "unchanged": [lambda S: S.copy(), lambda S: S.tolist()],
    "projects_onto_means": [lambda S: S - centre_steps(S), lambda S: sp.ones(S.rows) * S * sp.ones(S.cols) / len(S)],
    "means_mixed_up": [lambda S: S - S * sp.ones(S.cols) / S.rows - sp.ones(S.rows) * S / S.cols + sp.ones(*S.shape) * sum(S) / len(S)],
    "sums_not_means": [lambda S: S - S * sp.ones(S.cols) - sp.ones(S.rows) * S + sp.ones(*S.shape) * sum(S) / len(S),
                       lambda S: sp.Matrix(*S.shape, lambda i, j: S[i, j] - sum(S[i, :]) - sum(S[:, j]) + sum(S))],
}  # fmt: skip


# ---------------------------------------------------------------- 05.6
def _logs(A):
    return A.applyfunc(sp.log)


def logits_steps(attention):
    return centre_steps(_logs(attention))


def logits_entries(attention):
    return centre_entries(sp.Matrix(*attention.shape, lambda i, j: sp.ln(attention[i, j])))


def logits_ratios(attention):
    """One logarithm of a product of powers."""
    A, (N, M) = attention, attention.shape

    def entry(i, j):
        return sp.log(A[i, j] ** (N * M) * sp.prod(A) / sp.prod(A[i, :]) ** N / sp.prod(A[:, j]) ** M) / (N * M)

    return sp.Matrix(N, M, entry)


def logits_simplified(attention):
    return sp.expand_log(centre_columns_first(_logs(attention)), force=True).expand().tolist()


def logits_decimals(attention):
    return centre_steps(_logs(attention)).evalf(15)


def logits_column_normalised(attention):
    """Dividing the columns by anything changes nothing, as long as row means and column means of the logarithm go."""
    return logits_steps(sp.Matrix(*attention.shape, lambda i, j: attention[i, j] / sum(attention[:, j])))


def logits_numpy(attention):
    return centre_numpy(sp.Matrix(np.vectorize(sp.log, otypes=[object])(np.array(attention.tolist(), dtype=object))))


def logits_symbolic_log_of_a_map(attention):
    """Expanded logarithms, all in one."""
    return centre_entries(_logs(attention).applyfunc(lambda x: sp.expand_log(x, force=True)))


MAP_WRONG = {
    "unchanged": [lambda A: A, lambda A: sp.Matrix(*A.shape, lambda i, j: A[i, j])],
    "grand_mean_forgotten": [lambda A: _centre(g=0)(_logs(A)), lambda A: rows_loop(_logs(A)) + rows_loop(_logs(A).T).T - _logs(A)],
    "printed_sign": [lambda A: _centre(g=-1)(_logs(A))],
    "no_log": [centre_entries],
    "log_only": [_logs, lambda A: [[sp.log(x) for x in row] for row in A.tolist()]],
    "rows_only": [lambda A: rows_loop(_logs(A))],
    "columns_only": [lambda A: rows_loop(_logs(A).T).T],
    "log_after": [lambda A: centre_steps(A).applyfunc(sp.log)],
    "exp_not_log": [lambda A: centre_entries(A.applyfunc(sp.exp))],
    "log10": [lambda A: centre_steps(A.applyfunc(lambda x: sp.log(x, 10))), lambda A: centre_entries(_logs(A)) / sp.log(2)],
    "log_of_column_normalised": [
        lambda A: rows_loop(_logs(sp.Matrix(*A.shape, lambda i, j: A[i, j] / sum(A.col(j))))),
        lambda A: sp.Matrix(*A.shape, lambda i, j: sp.log(A[i, j]) - sp.log(sum(A[:, j]))),
    ],
    "sign": [lambda A: -logits_entries(A), lambda A: logits_entries(A.applyfunc(lambda x: 1 / x))],
}  # fmt: skip


WRONG = {"05.1": MEAN_WRONG, "05.2": SPLIT_WRONG, "05.3": ROWS_WRONG, "05.4": SAME_WRONG, "05.5": CENTRE_WRONG, "05.6": MAP_WRONG}

RIGHT = {
    "05.1": [mean_loop, mean_list, mean_sum_of_rows, mean_numpy, mean_fractions, mean_float, mean_factored, mean_sum_object],
    "05.2": [split_entries, split_averaging_matrices, split_from_the_logits, split_the_rest, split_numpy, split_nested_lists],
    "05.3": [rows_loop, rows_lambda, rows_lists, rows_stacked, rows_of_the_log_map, rows_float],
    "05.4": [same_by_columns, same_by_means, same_by_simplify, same_by_softmax, same_at_random_points, same_with_early_return,
             same_as_sympy_bool, same_as_number],
    "05.5": [centre_steps, centre_entries, centre_columns_first, centre_outer, centre_numpy, centre_float, centre_least_squares],
    "05.6": [logits_steps, logits_entries, logits_ratios, logits_simplified, logits_decimals, logits_column_normalised, logits_numpy,
             logits_symbolic_log_of_a_map],
}  # fmt: skip
