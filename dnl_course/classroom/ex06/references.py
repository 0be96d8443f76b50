"""The right answers of exercise 06, with switches; throwing one gives a known mistake (``mistakes.py``; claims B1 to B7, C1).

06.1, 06.3 and 06.6 are NumPy functions of floats or of SymPy objects; the others are SymPy, and are judged by property.
"""

from __future__ import annotations

import numpy as np
import sympy as sp


def first_fraction(
    Q, K, alpha, beta, *, roles="qk", above="differences", half="", queries="about alpha", keys="pairs", root="", combine="times",
    reference_point="alpha", give="first",
):  # fmt: skip
    """Σ_imn ((q_i − α)·(k_m − β) − (q_i − α)·(k_n − β))² over Σ_i |q_i − α|² times Σ_mn |k_m − k_n|²."""
    if give == "both":
        return first_fraction(Q, K, alpha, beta) + first_fraction(K, Q, beta, alpha)
    if roles == "kq":
        Q, K, alpha, beta = K, Q, beta, alpha
    if reference_point == "mean":
        alpha = Q.mean(0, keepdims=True)
    a, b, apart = Q - alpha, K - beta, K[:, None] - K[None]  # (N, D), (M, D), (M, M, D)
    lengths = (a**2).sum(1)  # (N,)
    distances = {"pairs": (apart**2).sum(2), "about beta": (b**2).sum(1), "about beta, M times": len(K) * (b**2).sum(1)}[keys]
    numerator = {
        "differences": lambda: ((a @ K.T)[:, :, None] - (a @ K.T)[:, None, :]) ** 2,  # (N, M, M)
        "products": lambda: (a @ b.T) ** 2,  # (N, M)
        "products, M times": lambda: len(K) * (a @ b.T) ** 2,
        "alpha forgotten": lambda: ((Q @ K.T)[:, :, None] - (Q @ K.T)[:, None, :]) ** 2,
        "each channel": lambda: (a[:, None, None, :] * apart) ** 2,  # (N, M, M, D)
        "lengths": lambda: lengths[:, None, None] * (apart**2).sum(2),
        "square outside": lambda: 0 * a,
    }[above]().sum()
    if queries == "as they are":
        lengths = (Q**2).sum(1)
    lengths = lengths**0.5 if "queries" in root else lengths
    distances = distances**0.5 if "keys" in root else distances
    above_half, below_half = 2 if half == "above" else 1, 2 if half == "below" else 1
    numerator, distances = numerator / above_half, distances.sum() / below_half
    if give == "numerator":
        return numerator
    return numerator / (lengths.sum() * distances if combine == "times" else lengths.sum() + distances)


def hessian_at_mean(S_q, S_k, *, factor=2, over_s=True, sign=1, r0="weighted", trace_one="A", roles="qk", minus="identity"):
    """2 (A − r₀ I)/s with A = S_k/tr S_k, s = tr S_q and r₀ = tr(A S_q)/s."""
    if roles == "kq":
        S_q, S_k = S_k, S_q
    size, s, t = len(S_q), S_q.trace(), S_k.trace()
    A = S_k / {"A": t, "in r0 only": t, "nowhere": 1, "by s": s, "by D": size}[trace_one]  # (D, D)
    average = {
        "weighted": lambda: (A @ S_q).trace() / s,
        "missing": lambda: 0,
        "unweighted": lambda: A.trace() / size,
        "not divided": lambda: (A @ S_q).trace(),
        "product of traces": lambda: A.trace(),
    }[r0]()
    if trace_one == "in r0 only":
        A = S_k
    eye = np.ones((size, size), dtype=int) if minus == "everywhere" else np.eye(size, dtype=int)
    return sign * factor * (A - average * eye) / (s if over_s else 1)


def repaired_objective(w, *, above="both", half=False, over="energy", closed=""):
    """(Σ_imn (w_im − w_in)² + Σ_mij (w_im − w_jm)²) / Σ_im w_im²."""
    energy, row_sums, column_sums = (w**2).sum(), (w.sum(1) ** 2).sum(), (w.sum(0) ** 2).sum()
    if closed:  # what is left of it where N and M are taken for equal
        return 4 * w.shape["NM".index(closed)] - 2 * (row_sums + column_sums) / energy
    along = ((w[:, :, None] - w[:, None, :]) ** 2).sum()  # over (N, M, M)
    down = ((w[:, None, :] - w[None]) ** 2).sum()  # over (N, N, M)
    numerator = {
        "both": lambda: along + down,
        "rows": lambda: along,
        "columns": lambda: down,
        "all pairs": lambda: ((w[:, :, None, None] - w[None, None]) ** 2).sum(),
        "square outside": lambda: 0 * energy,
        "rows not divided": lambda: along * energy + down,
        "columns not divided": lambda: along + down * energy,
    }[above]()
    below = {
        "energy": lambda: energy,
        "nothing": lambda: 1,
        "square of sum": lambda: w.sum() ** 2,
        "mean energy": lambda: energy / w.size,
        "row sums": lambda: row_sums,
        "column sums": lambda: column_sums,
        "both sums": lambda: row_sums + column_sums,
        "centred": lambda: ((w - w.mean()) ** 2).sum(),
        "row centred": lambda: ((w - w.mean(1, keepdims=True)) ** 2).sum(),
        "column centred": lambda: ((w - w.mean(0, keepdims=True)) ** 2).sum(),
    }[over]()
    return numerator / (2 if half else 1) / below


# ---------------------------------------------------------------- judged by property: SymPy


def mean_row(X):
    """Return the mean of the rows, (1, D)."""
    return sp.ones(1, X.rows) * X / X.rows


def covariance(X):
    """Return the covariance of the rows with 1/N, (D, D)."""
    centred = X - sp.ones(X.rows, 1) * mean_row(X)
    return centred.T * centred / X.rows


def better_than_mean(Q, K):
    """From the mean of the queries along the direction in which the keys vary most."""
    (a, b), (_, c) = covariance(K).tolist()
    top = (a + c) / 2 + sp.sqrt((a - c) ** 2 / 4 + b**2)  # the larger eigenvalue
    step = [b, top - a] if b != 0 else [int(a > c), int(c > a)]
    return mean_row(Q) + sp.Matrix([step])


def mean_is_a_minimum():
    """A cross: queries on one line, keys on another at right angles."""
    return sp.Matrix([[-1, 0], [1, 0]]), sp.Matrix([[0, -1], [0, 0], [0, 4]])


def second_minimiser(Q, K):
    """Both means, and a step of β at right angles to the line of the queries."""
    differences = Q - sp.ones(Q.rows, 1) * Q.row(0)  # (N, D)
    return mean_row(Q), mean_row(K) + differences.nullspace()[0].T
