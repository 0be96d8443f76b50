"""The right answers of exercise 05, with switches; throwing one gives a known mistake (``mistakes.py``).

NumPy functions that run on floats and on SymPy objects alike; only `same_attention` works on SymPy matrices themselves.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from ..exact import exp, log


def mean_row(Q, *, over="positions", divide=None, give="row"):
    """Mean over the positions, as a row."""
    N, D = Q.shape
    count = {None: {"positions": N, "channels": D, "all": N * D}[over], "N": N, "D": D, "1": 1}[divide]
    if over == "all":
        total = Q.sum() / count
        like = {"filled": Q[:1], "1 × 1": Q[:1, :1]}.get(give)
        return total if like is None else total + 0 * like
    total = Q.sum({"positions": 0, "channels": 1}[over], keepdims=True) / count  # (1, D) or (N, 1)
    return total.T if give == "the other way round" else total


def split_terms(
    Q, K, *, centred="both", means="positions", unary="query mean", query="key mean", constant="minus", swap=False, fold="no",
    spread="all", count=4,
):  # fmt: skip
    """The four terms of Q Kᵀ around the means."""
    mu_q, mu_k = (X.sum(0, keepdims=True) / (1 if means == "sums" else len(X)) for X in (Q, K))  # (1, D)
    from_q, from_k = mu_q, mu_k
    if means == "channels":  # one mean per position
        from_q, from_k = Q.mean(1, keepdims=True), K.mean(1, keepdims=True)
    elif means == "grand":
        from_q, from_k = Q.mean(), K.mean()
        mu_q, mu_k = from_q + 0 * mu_q, from_k + 0 * mu_k
    left = Q - from_q if centred in ("both", "queries") else Q
    right = K - from_k if centred in ("both", "keys") else K
    of_keys = (mu_k if unary == "key mean" else mu_q) @ (K - mu_k if unary == "centred" else K).T  # (1, M)
    of_queries = (Q - mu_q if query == "centred" else Q) @ (mu_q if query == "query mean" else mu_k).T  # (N, 1)
    number = {"minus": -1, "plus": 1, "left out": 0}[constant] * (mu_q @ mu_k.T)  # (1, 1)
    if fold == "query":  # what depends on no key is put together, or left out
        of_queries, number = of_queries + number, 0 * number
    elif fold == "nothing":
        of_queries, number = 0 * of_queries, 0 * number
    terms = [left @ right.T, of_keys, of_queries, number]
    if swap:
        terms[1:3] = [of_queries, of_keys]
    laid = {"all": (1, 2, 3), "all but the unary": (2, 3), "all but the constant": (1, 2)}.get(spread, ())
    for which in laid:
        terms[which] = terms[which] + 0 * terms[0]  # (N, M)
    if spread in ("none, number", "all but the constant, number"):
        terms[3] = number[0, 0]
        terms[1:3] = [t + 0 * terms[0] for t in terms[1:3]] if spread.startswith("all") else terms[1:3]
    return tuple(terms[:count])


def drop_row_constants(S, *, off="row means", sign=-1, give="what is left"):
    """S minus its row means: the one representative whose rows sum to 0."""
    rows, columns = S.mean(1, keepdims=True), S.mean(0, keepdims=True)  # (N, 1), (1, M)
    away = {
        "row means": lambda: rows,
        "column means": lambda: columns,
        "grand mean": lambda: S.mean(),
        "both": lambda: rows + columns - S.mean(),
        "row sums": lambda: S.sum(1, keepdims=True),
        "row sums / N": lambda: S.sum(1, keepdims=True) / len(S),
        "first column": lambda: S[:, :1],
        "last column": lambda: S[:, -1:],
        "row maximum": lambda: S.max(1, keepdims=True),
        "row minimum": lambda: S.min(1, keepdims=True),
        "log of the sum": lambda: log(exp(S).sum(1, keepdims=True)),
    }[off]()
    if give == "what is taken off":
        return away
    return away + 0 * S if give == "what is taken off, filled" else S + sign * away


def same_attention(L1, L2, *, how="right"):
    """Does L1 − L2 depend on the row alone, once it is expanded?"""
    given = L1 - L2
    expanded = given.expand()
    N, M = given.shape

    def against_first(difference):  # 0 where every row is constant
        return difference - difference[:, :1] * sp.ones(1, M)

    left = {
        "right": lambda: against_first(expanded),
        "not expanded": lambda: against_first(given),
        "structural": lambda: sp.zeros(1) if L1 == L2 else sp.ones(1),
        "equal only": lambda: expanded,
        "one constant": lambda: expanded - expanded[0, 0] * sp.ones(N, M),
        "column constants": lambda: expanded - sp.ones(N, 1) * expanded[:1, :],
        "row and column": lambda: against_first(expanded - sp.ones(N, 1) * expanded[:1, :]).expand(),
        "first row": lambda: against_first(expanded)[:1, :],
        "all ones": lambda: against_first(expanded).subs({s: 1 for s in expanded.free_symbols}),
        "counted": lambda: against_first(expanded).subs({s: n for n, s in enumerate(sorted(expanded.free_symbols, key=str), 2)}),
        "always true": lambda: sp.zeros(1),
        "always false": lambda: sp.ones(1),
    }[how]()
    return all(entry == 0 for entry in left)


def double_centre(S, *, rows=1, columns=1, grand=1, counts="right", give="what is left"):
    """S minus row means minus column means plus grand mean; the switches say how often each is taken off or put back."""
    N, M = S.shape
    per_row, per_column, all_of_them = {"right": (M, N, N * M), "swapped": (N, M, N * M), "none": (1, 1, N * M), "none at all": (1, 1, 1)}[
        counts
    ]
    of_rows, of_columns = S.sum(1, keepdims=True) / per_row, S.sum(0, keepdims=True) / per_column  # (N, 1), (1, M)
    mean = S.sum() / all_of_them
    if give == "what is taken off":
        return of_rows + of_columns - mean
    if give == "grand mean":
        return mean + 0 * S
    return S - rows * of_rows - columns * of_columns + grand * mean


def pairwise_logits_from_map(attention, *, take="log", rows=True, columns=True, grand=1, sign=1, base=None, first="nothing"):
    """The doubly centred logarithm of the map."""
    if first == "columns normalised":
        attention = attention / attention.sum(0, keepdims=True)
    logits = log(attention) if take == "log" else exp(attention) if take == "exp" else attention
    if base:
        logits = logits / np.log(base)
    mean = logits.mean()
    if rows:
        logits = logits - logits.mean(1, keepdims=True)
    if columns:
        logits = logits - logits.mean(0, keepdims=True)
    logits = logits if grand == 1 else logits + (grand - 1) * mean
    return sign * (log(logits) if take == "log after" else logits)
