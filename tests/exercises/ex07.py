"""Exercise 07, each mistake written a second time in another style, and right answers in other styles.

Nothing here comes from the references: SymPy throughout, loops and derivatives where they use NumPy.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp


# ---------------------------------------------------------------- 07.1
def jacobian_by_diff(a):
    """Differentiate a softmax whose values are a."""
    l = sp.symbols(f"l1:{a.cols + 1}", real=True)  # noqa: E741
    weights = [sp.exp(x) for x in l]
    made = sp.Matrix([w / sum(weights) for w in weights]).jacobian(sp.Matrix(l))
    return made.subs({x: sp.log(v) for x, v in zip(l, a)}, simultaneous=True)


def jacobian_entries(a):
    return sp.Matrix(a.cols, a.cols, lambda i, j: a[i] * (1 - a[i]) if i == j else -a[i] * a[j])


def jacobian_others(a):
    """On the diagonal, what the others hold."""
    return [[a[i] * sum(a[t] for t in range(len(a)) if t != i) if i == j else -a[j] * a[i] for j in range(len(a))] for i in range(len(a))]


def jacobian_floats(a):
    if a.free_symbols:
        return sp.diag(*a) - a.T * a
    x = np.array(a, dtype=float).ravel()
    return np.diag(x) - np.outer(x, x)


def _jacobian(entry):
    return lambda a: sp.Matrix(len(a), len(a), lambda i, j: entry(a, i, j))


# ---------------------------------------------------------------- 07.2
def product_log(pairwise_map, unary_map):
    """By the logits: softmax of log P + log U."""
    rows = []
    for i in range(pairwise_map.rows):
        logits = [sp.log(pairwise_map[i, j]) + sp.log(unary_map[j]) for j in range(pairwise_map.cols)]
        rows.append([sp.exp(x) / sum(sp.exp(t) for t in logits) for x in logits])
    return sp.Matrix(rows)


def product_diag(pairwise_map, unary_map):
    made = pairwise_map * sp.diag(*unary_map)
    return sp.diag(*[1 / s for s in made * sp.ones(made.cols, 1)]) * made


def product_hadamard(pairwise_map, unary_map):
    made = sp.matrices.dense.matrix_multiply_elementwise(pairwise_map, sp.ones(pairwise_map.rows, 1) * unary_map)
    for i in range(made.rows):
        made[i, :] = made[i, :] / sum(made[i, :])
    return made.as_immutable()


def product_simplified(pairwise_map, unary_map):
    return product_diag(pairwise_map, unary_map).applyfunc(sp.simplify)


def _product(entry):
    def function(pairwise_map, unary_map):
        P, U = pairwise_map, unary_map
        return sp.Matrix(P.rows, P.cols, lambda i, j: entry(P, U, i, j))

    return function


# ---------------------------------------------------------------- 07.3
def _loss_derivative(G, pairwise_map, unary_map):
    """Differentiate L by symbols that stand for P."""
    N, M = G.shape
    stand = sp.Matrix(N, M, lambda i, j: sp.Symbol(f"P_{i}_{j}"))
    rows = [[stand[i, j] * unary_map[j] / sum(stand[i, t] * unary_map[t] for t in range(M)) for j in range(M)] for i in range(N)]
    loss = sum(G[i, j] * rows[i][j] for i in range(N) for j in range(M))
    at = dict(zip(stand, pairwise_map))
    return sp.Matrix(N, M, lambda i, j: sp.diff(loss, stand[i, j]).subs(at, simultaneous=True))


def gradient_quotient(G, pairwise_map, unary_map):
    """The quotient rule without naming omega: (U_l G_il Z - U_l Σ G P U) / Z²."""
    P, U = pairwise_map, unary_map
    made = sp.zeros(*G.shape)
    for i in range(G.rows):
        Z = sum(P[i, t] * U[t] for t in range(G.cols))
        top = sum(G[i, t] * P[i, t] * U[t] for t in range(G.cols))
        for j in range(G.cols):
            made[i, j] = (U[j] * G[i, j] * Z - U[j] * top) / Z**2
    return made


def gradient_jacobian(G, pairwise_map, unary_map):
    """Row by row, through the Jacobian in the logits, divided by P."""
    rows = []
    for i in range(G.rows):
        products = [pairwise_map[i, j] * unary_map[j] for j in range(G.cols)]
        w = sp.Matrix([products]) / sum(products)
        logits = G[i, :] * (sp.diag(*w) - w.T * w)
        rows.append([logits[j] / pairwise_map[i, j] for j in range(G.cols)])
    return rows


def _gradient(entry):
    def function(G, pairwise_map, unary_map):
        P, U = pairwise_map, unary_map
        M = G.cols
        Z = [sum(P[i, t] * U[t] for t in range(M)) for i in range(G.rows)]
        omega = sp.Matrix(G.rows, M, lambda i, j: P[i, j] * U[j] / Z[i])
        return sp.Matrix(G.rows, M, lambda i, j: entry(G, P, U, Z, omega, i, j))

    return function


def gradient_own_key_by_diff(G, pairwise_map, unary_map):
    """Differentiates each ω_ij by its own P_ij."""
    x = sp.Symbol("own")

    def entry(i, j):
        others = sum(pairwise_map[i, t] * unary_map[t] for t in range(G.cols) if t != j)
        return G[i, j] * sp.diff(x * unary_map[j] / (others + x * unary_map[j]), x).subs(x, pairwise_map[i, j])

    return sp.Matrix(*G.shape, entry)


def gradient_of_one_sum_by_diff(G, pairwise_map, unary_map):
    stand = sp.Matrix(*G.shape, lambda i, j: sp.Symbol(f"x_{i}_{j}"))
    made = stand * sp.diag(*unary_map)
    loss = sum(g * x for g, x in zip(G, made)) / sum(made)
    return sp.Matrix(*G.shape, lambda i, j: sp.diff(loss, stand[i, j]).subs(dict(zip(stand, pairwise_map)), simultaneous=True))


def _dot(a, b, i):
    return sum(a[i, t] * b[i, t] for t in range(a.cols))


# ---------------------------------------------------------------- 07.5
def _soft(row):
    return [sp.exp(x) / sum(sp.exp(t) for t in row) for x in row]


def sensitivity_by_diff(p, u, combine):
    x = sp.Symbol("moving", real=True)
    moved = [x, *p[1:]]
    weight = _soft([a + b for a, b in zip(moved, u)])[0] if combine == "mul" else _soft(moved)[0] + _soft(list(u))[0]
    return sp.diff(weight, x).subs(x, p[0])


def sensitivity_sigmoid(p, u, combine):
    """A softmax's first weight is a sigmoid of the distance to the log-sum of the others."""
    logits = [a + b for a, b in zip(p, u)] if combine == "mul" else list(p)
    others = sum(sp.exp(x - logits[0]) for x in logits[1:])
    return others / (1 + others) ** 2


def sensitivity_number(p, u, combine):
    """A number where it is one, an expression otherwise."""
    made = sensitivity_by_diff(p, u, combine)
    return made if made.free_symbols else float(made)


def _sensitivity(mul, add):
    def function(p, u, combine):
        P, U, w = _soft(list(p))[0], _soft(list(u))[0], _soft([a + b for a, b in zip(p, u)])[0]
        return sp.Matrix([[mul(P, U, w) if combine == "mul" else add(P, U, w)]])

    return function


def _right_mul(P, U, w):
    return w - w**2


def _right_add(P, U, w):
    return P - P**2


# ---------------------------------------------------------------- 07.6
def peaks_written(a, b, combine):
    A, B = sp.exp(a), sp.exp(b)
    if combine == "mul":
        return sp.Matrix([[A, B, 1]]) / (A + B + 1)
    return [A / (A + 2) + 1 / (B + 2), 1 / (A + 2) + B / (B + 2), 1 / (A + 2) + 1 / (B + 2)]


def peaks_soft(a, b, combine):
    p, u = [a, 0, 0], [0, b, 0]
    if combine == "mul":
        return sp.ImmutableMatrix([_soft([x + y for x, y in zip(p, u)])])
    return np.array([_soft(p)], dtype=object) + np.array([_soft(u)], dtype=object)


def peaks_product(a, b, combine):
    """The maps multiplied and divided by their sum."""
    P, U = _soft([a, 0, 0]), _soft([0, b, 0])
    if combine == "mul":
        Z = sum(x * y for x, y in zip(P, U))
        return [[x * y / Z for x, y in zip(P, U)]]
    return [[x + y for x, y in zip(P, U)]]


def _peaks(mul=None, add=None, p=lambda a: [a, 0, 0], u=lambda b: [0, b, 0]):
    def function(a, b, combine):
        logits_p, logits_u = p(a), u(b)
        P, U = _soft(logits_p), _soft(logits_u)
        if combine == "mul":
            made = mul(P, U) if mul else _soft([x + y for x, y in zip(logits_p, logits_u)])
        else:
            made = add(P, U, logits_p, logits_u) if add else [x + y for x, y in zip(P, U)]
        return sp.Matrix([made])

    return function


def _forgotten(a, b, combine):
    p, u = [a, 0], [0, b]
    made = _soft([x + y for x, y in zip(p, u)]) if combine == "mul" else [x + y for x, y in zip(_soft(p), _soft(u))]
    return [*made, 0]


def _joint(P, U, p, u):
    both = [sp.exp(x) + sp.exp(y) for x, y in zip(p, u)]
    return [x / sum(both) for x in both]


RIGHT = {
    "07.1": (jacobian_by_diff, jacobian_entries, jacobian_others, jacobian_floats, lambda a: sp.diag(*a) * (sp.eye(a.cols) - sp.ones(a.cols, 1) * a)),
    "07.2": (product_log, product_diag, product_hadamard, product_simplified),
    "07.3": (_loss_derivative, gradient_quotient, gradient_jacobian),
    "07.4": (
        lambda G: sp.ones(1, G.rows) * G,
        lambda G: [sum(G[:, j]) for j in range(G.cols)],
        lambda G: sum((G[i, :] for i in range(G.rows)), sp.zeros(1, G.cols)),
        lambda G: (G.T * sp.ones(G.rows, 1)).T.as_immutable(),
        lambda G: np.array(G.tolist(), dtype=object).sum(axis=0),
    ),
    "07.5": (sensitivity_by_diff, sensitivity_sigmoid, sensitivity_number, _sensitivity(_right_mul, _right_add)),
    "07.6": (peaks_written, peaks_soft, peaks_product),
}  # fmt: skip

WRONG = {
    "07.1": {
        "diagonal_only": (lambda a: sp.diag(*a),),
        "off_diagonal_sign": (
            _jacobian(lambda a, i, j: a[i] * (1 - a[i]) if i == j else a[i] * a[j]),
            lambda a: [[x * y if i != j else x - x * y for j, y in enumerate(a)] for i, x in enumerate(a)],
        ),
        "sigmoid_diagonal": (lambda a: sp.diag(*[x - x**2 for x in a]),),
        "sign": (_jacobian(lambda a, i, j: a[i] * a[j] - (a[i] if i == j else 0)),),
        "plus": (_jacobian(lambda a, i, j: a[i] * a[j] + (a[i] if i == j else 0)),),
        "one_minus": (lambda a: sp.eye(a.cols) - a.T * a,),
        "scalar_product": (
            _jacobian(lambda a, i, j: (a[i] if i == j else 0) - a.dot(a)),
            lambda a: sp.diag(*a) - (a * a.T)[0] * sp.eye(a.cols),
            lambda a: sp.diag(*a) - a * a.T,
            lambda a: -a * a.T + sp.Matrix(a.cols, a.cols, lambda i, j: a[i] if i == j else 0),
        ),
        "rows_repeat": (lambda a: sp.diag(*a) - sp.ones(a.cols, 1) * a, lambda a: sp.diag(*a) - (sp.ones(a.cols, 1) * a).T),
    },
    "07.2": {
        "not_normalised": (_product(lambda P, U, i, j: P[i, j] * U[j]), lambda pairwise_map, unary_map: pairwise_map * sp.diag(*unary_map)),
        "one_normaliser": (_product(lambda P, U, i, j: P[i, j] * U[j] / sum(P * U.T)),),
        "over_queries": (_product(lambda P, U, i, j: P[i, j] / sum(P[:, j])),),
        "added": (_product(lambda P, U, i, j: P[i, j] + U[j]), _product(lambda P, U, i, j: P[i, j] / 2 + U[j] / 2)),
        "geometric_mean": (
            _product(lambda P, U, i, j: sp.sqrt(P[i, j] * U[j])),
            _product(lambda P, U, i, j: sp.sqrt(P[i, j] * U[j]) / sum(sp.sqrt(P[i, t] * U[t]) for t in range(P.cols))),
        ),
        "times_m": (_product(lambda P, U, i, j: P.cols * U[j] * P[i, j]),),
        "softmax_again": (
            _product(lambda P, U, i, j: sp.exp(P[i, j] * U[j]) / sum(sp.exp(P[i, t] * U[t]) for t in range(P.cols))),
            _product(lambda P, U, i, j: sp.exp(P[i, j] + U[j]) / sum(sp.exp(P[i, t] + U[t]) for t in range(P.cols))),
        ),
    },
    "07.3": {
        "shortcut_gu": (lambda G, pairwise_map, unary_map: G * sp.diag(*unary_map),),
        "not_centred": (_gradient(lambda G, P, U, Z, w, i, j: G[i, j] * w[i, j] / P[i, j]),),
        "no_z": (_gradient(lambda G, P, U, Z, w, i, j: U[j] * (G[i, j] - _dot(G, w, i))),),
        "own_key_only": (
            _gradient(lambda G, P, U, Z, w, i, j: G[i, j] * U[j] * (Z[i] - P[i, j] * U[j]) / Z[i] ** 2),
            gradient_own_key_by_diff,
        ),
        "plus": (_gradient(lambda G, P, U, Z, w, i, j: U[j] / Z[i] * G[i, j] + U[j] / Z[i] * _dot(G, w, i)),),
        "one_normaliser": (
            _gradient(lambda G, P, U, Z, w, i, j: U[j] / sum(Z) * (G[i, j] - sum(G[i, t] * P[i, t] * U[t] for t in range(G.cols)) / sum(Z))),
            gradient_of_one_sum_by_diff,
            _gradient(lambda G, P, U, Z, w, i, j: U[j] / sum(Z) * (G[i, j] - _dot(G, w, i))),
        ),
        "p_in_front": (
            lambda G, pairwise_map, unary_map: pairwise_map.multiply_elementwise(G),
            _gradient(lambda G, P, U, Z, w, i, j: P[i, j] * G[i, j] - P[i, j] * _dot(G, w, i)),
        ),
        "plain_mean": (_gradient(lambda G, P, U, Z, w, i, j: U[j] / Z[i] * (G[i, j] - sum(G[i, :]) / G.cols)),),
        "centred_with_p": (_gradient(lambda G, P, U, Z, w, i, j: U[j] / Z[i] * (G[i, j] - _dot(G, P, i))),),
        "unnormalised_weights": (_gradient(lambda G, P, U, Z, w, i, j: U[j] / Z[i] * (G[i, j] - _dot(G, w, i) * Z[i])),),
        "on_logits": (_gradient(lambda G, P, U, Z, w, i, j: w[i, j] * (G[i, j] - _dot(G, w, i))),),
        "unary_gate": (_gradient(lambda G, P, U, Z, w, i, j: P[i, j] / Z[i] * (G[i, j] - _dot(G, w, i))),),
    },
    "07.4": {
        "whole_matrix": (lambda G: G,),
        "mean_over_queries": (lambda G: [sum(G[:, j]) * sp.Rational(1, G.rows) for j in range(G.cols)],),
        "over_keys": (lambda G: [sum(G[i, :]) for i in range(G.rows)], lambda G: G * sp.ones(G.cols, 1)),
        "first_row": (lambda G: G.row(0),),
        "scalar": (lambda G: sum(G),),
        "centred": (
            lambda G: [sum(G[:, j]) - Fraction(1, G.cols) * sum(G) for j in range(G.cols)],
            lambda G: sp.Matrix(1, G.cols, lambda _, j: sum(G[i, j] - sum(G[i, :]) / G.cols for i in range(G.rows))),
        ),
    },
    "07.5": {
        "never_gated": (_sensitivity(_right_add, _right_add),),
        "always_gated": (_sensitivity(_right_mul, _right_mul),),
        "one_minus_missing": (_sensitivity(lambda P, U, w: w, lambda P, U, w: P),),
        "mixed": (_sensitivity(lambda P, U, w: w - w * P, _right_add),),
        "product": (_sensitivity(lambda P, U, w: P * U - (P * U) ** 2, _right_add),),
        "sum_as_softmax": (_sensitivity(_right_mul, lambda P, U, w: P + U - (P + U) ** 2),),
        "unary_added": (_sensitivity(_right_mul, lambda P, U, w: P - P**2 + U - U**2),),
        "squared": (_sensitivity(lambda P, U, w: w**2, lambda P, U, w: P * P),),
        "p_gate": (_sensitivity(lambda P, U, w: U * (P - P**2), _right_add),),
    },
    "07.6": {
        "empty_product": (_peaks(mul=lambda P, U: [x * y for x, y in zip(P, U)]),),
        "halved": (_peaks(add=lambda P, U, p, u: [(x + y) / 2 for x, y in zip(P, U)]),),
        "joint_normaliser": (_peaks(add=_joint),),
        "logits_added_for_add": (_peaks(add=lambda P, U, p, u: _soft([x + y for x, y in zip(p, u)])),),
        "softmax_of_sum": (_peaks(add=lambda P, U, p, u: _soft([x + y for x, y in zip(P, U)])),),
        "third_key_forgotten": (_forgotten, lambda a, b, combine: _forgotten(a, b, combine)[:2]),
        "third_not_returned": (lambda a, b, combine: peaks_written(a, b, combine)[:2],),
        "peaks_together": (_peaks(u=lambda b: [b, 0, 0]), _peaks(p=lambda a: [0, a, 0])),
        "peaks_swapped": (_peaks(p=lambda a: [0, a, 0], u=lambda b: [b, 0, 0]),),
    },
}
