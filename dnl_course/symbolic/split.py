"""What is hidden inside q.k, and what softmax cancels of it (lesson 05; claims A1 to A3, A5, A13 and C2).

``q_i.k_j = (q_i - alpha).(k_j - beta) + alpha.k_j + q_i.beta - alpha.beta`` for every pair of reference points; the
means are one choice. The slides (seed 000) and the note (seed 001) print the last sign as +: `printed_sum`.
"""

from __future__ import annotations

from typing import NamedTuple

import sympy as sp

from dnl_course.symbolic.objects import matrix, mean_row
from dnl_course.symbolic.verify import verify

__all__ = [
    "SplitTerms", "double_centre", "drop_row_constants", "least_squares_residual", "printed_sum", "same_attention", "split_terms",
]  # fmt: skip


class SplitTerms(NamedTuple):
    """The four terms of ``Q K'``, each (N, M); they add up to it."""

    pairwise: sp.Matrix
    unary: sp.Matrix
    query: sp.Matrix
    constant: sp.Matrix


def split_terms(Q, K, alpha=None, beta=None) -> SplitTerms:
    """The four terms of ``q_i.k_j`` for reference points alpha and beta (claims A1, A13).

    pairwise ``(q_i - alpha).(k_j - beta)``, unary ``alpha.k_j``, query ``q_i.beta``, constant ``-alpha.beta``. Multiply
    the pairwise term out and move three terms to the other side: the sum is ``q_i.k_j``, whatever alpha and beta are.

    Parameters
    ----------
    Q : sympy.Matrix, (N, D)
    K : sympy.Matrix, (M, D)
    alpha, beta : sympy.Matrix, (1, D), optional
        The means of Q and of K unless given.

    Returns
    -------
    SplitTerms
        Four matrices (N, M), not expanded. Every row of ``unary`` is the same, every column of ``query`` too, every
        entry of ``constant``. In milliseconds.

    Raises
    ------
    TypeError, ValueError
        No matrices; widths that differ; reference points that are no rows (1, D).

    Examples
    --------
    >>> terms = split_terms(sp.Matrix([[1], [3]]), sp.Matrix([[2], [4], [6]]))
    >>> terms.pairwise, terms.constant[0]
    (Matrix([
    [ 2, 0, -2],
    [-2, 0,  2]]), -8)
    >>> terms.pairwise + terms.unary + terms.query + terms.constant
    Matrix([
    [2,  4,  6],
    [6, 12, 18]])
    """
    Q, K, alpha, beta = _embeddings(Q, K, alpha, beta)
    query_ones, key_ones = sp.ones(Q.rows, 1), sp.ones(K.rows, 1)
    return SplitTerms(
        pairwise=(Q - query_ones * alpha) * (K - key_ones * beta).T,
        unary=query_ones * (alpha * K.T),
        query=(Q * beta.T) * key_ones.T,
        constant=-query_ones * (alpha * beta.T) * key_ones.T,
    )


def printed_sum(Q, K) -> sp.Matrix:
    """The right-hand side as the slides (seed 000) and the note (seed 001) print it: the last sign is + (claim A1).

    It exceeds ``Q K'`` by ``2 mu_q.mu_k`` in every entry. Softmax over the keys does not see this, because the last two
    terms do not depend on the key.

    Parameters
    ----------
    Q : sympy.Matrix, (N, D)
    K : sympy.Matrix, (M, D)

    Returns
    -------
    sympy.Matrix, (N, M)

    Raises
    ------
    TypeError, ValueError
        As `split_terms`.

    Examples
    --------
    >>> one = sp.Matrix([[1]])
    >>> (one * one.T)[0], printed_sum(one, one)[0]
    (1, 3)
    """
    pairwise, unary, query, constant = split_terms(Q, K)
    return pairwise + unary + query - constant


def drop_row_constants(S) -> sp.Matrix:
    """Minus the row means: the one with rows of sum 0 among all logits with the same softmax over the keys (claim A2).

    Parameters
    ----------
    S : sympy.Matrix, (N, M)

    Returns
    -------
    sympy.Matrix, (N, M)

    Raises
    ------
    TypeError, ValueError
        No matrix; an empty one.

    Examples
    --------
    >>> drop_row_constants(sp.Matrix([[2, 4, 6], [6, 12, 18]]))
    Matrix([
    [-2, 0, 2],
    [-6, 0, 6]])
    """
    S = matrix("S", S)
    return S - S * sp.ones(S.cols, 1) * sp.ones(1, S.cols) / S.cols


def double_centre(S) -> sp.Matrix:
    """Minus row means, minus column means, plus the grand mean: ``H S H``, the pairwise term at the means (claim C2).

    Parameters
    ----------
    S : sympy.Matrix, (N, M)

    Returns
    -------
    sympy.Matrix, (N, M)
        All of its row sums and column sums are 0.

    Raises
    ------
    TypeError, ValueError
        No matrix; an empty one.

    Examples
    --------
    >>> double_centre(sp.Matrix([[2, 4, 6], [6, 12, 18]]))
    Matrix([
    [ 2, 0, -2],
    [-2, 0,  2]])
    """
    S = drop_row_constants(S)
    return S - sp.ones(S.rows, 1) * mean_row(S)


def least_squares_residual(S) -> sp.Matrix:
    """What the best model ``a_i + b_j`` leaves of S, from the normal equations (claim C2).

    The a and b that minimise ``sum_ij (S_ij - a_i - b_j)^2`` are unique up to a number moved between them (here the
    last b is 0); the residual is unique, and equals `double_centre`.

    Parameters
    ----------
    S : sympy.Matrix, (N, M)

    Returns
    -------
    sympy.Matrix, (N, M)
        Expanded. In 0.1 s for a product of queries and keys at N, M, D = 4, 4, 3, in 3 s at 8, 8, 4.

    Raises
    ------
    TypeError, ValueError
        No matrix; an empty one.

    Examples
    --------
    >>> least_squares_residual(sp.Matrix([[2, 4, 6], [6, 12, 18]]))
    Matrix([
    [ 2, 0, -2],
    [-2, 0,  2]])
    """
    S = matrix("S", S)
    N, M = S.shape
    pairs = [(i, j) for i in range(N) for j in range(M)]
    design = sp.Matrix([[int(i == a) for a in range(N)] + [int(j == b) for b in range(M - 1)] for i, j in pairs])
    entries = sp.Matrix([S[i, j] for i, j in pairs])  # (N M, 1)
    best = (design.T * design).inv() * design.T * entries  # (N + M - 1, 1)
    residual = entries - design * best
    return sp.Matrix(N, M, list(residual)).applyfunc(sp.expand)


def same_attention(L1, L2) -> bool:
    """Have two matrices of logits the same softmax over the keys, for all real values of their symbols?

    Softmax rows are equal iff the rows of logits differ by a number each: ``exp(a_j)/A = exp(b_j)/B`` for all j says that
    ``a_j - b_j = log(A/B)``. So this asks whether ``L1 - L2`` has constant rows, and needs no exponential.

    Parameters
    ----------
    L1, L2 : sympy.Matrix, (N, M)
        Logits.

    Returns
    -------
    bool
        In 0.1 s at N, M, D = 4, 4, 3, in 1.3 s at 8, 8, 4.

    Raises
    ------
    TypeError, ValueError
        No matrices; shapes that differ; what `verify` refuses.

    Examples
    --------
    >>> a, b, c = sp.symbols("a b c", real=True)
    >>> same_attention(sp.Matrix([[a, b]]), sp.Matrix([[a + c**2, b + c**2]]))
    True
    >>> same_attention(sp.Matrix([[a, b]]), sp.Matrix([[a + c, b]]))
    False
    """
    L1 = matrix("L1", L1)
    L2 = matrix("L2", L2, *L1.shape, letters=f"the shape of L1, {L1.shape}")
    difference = L1 - L2
    return verify(difference - difference[:, 0] * sp.ones(1, L1.cols)).holds


def _embeddings(Q, K, alpha, beta):
    Q = matrix("Q", Q, letters="(N, D)")
    K = matrix("K", K, None, Q.cols, letters=f"(M, D), D = {Q.cols} as in Q")
    alpha = mean_row(Q) if alpha is None else matrix("alpha", alpha, 1, Q.cols, letters="a row (1, D)")
    beta = mean_row(K) if beta is None else matrix("beta", beta, 1, Q.cols, letters="a row (1, D)")
    return Q, K, alpha, beta
