"""What `proposition` and `repair` accept, and exact counts of the signs of eigenvalues (lesson 06)."""

from __future__ import annotations

import sympy as sp

from dnl_course.symbolic.objects import matrix

UNDEFINED = (sp.nan, sp.zoo, sp.oo, -sp.oo)


def finite(name, value, rows=None, columns=None, letters="(N, D)"):
    """A copy of a matrix of that shape without nan or infinity."""
    value = matrix(name, value, rows, columns, letters=letters)
    if value.has(*UNDEFINED):
        raise ValueError(f"{name} holds nan or infinity: it was divided by 0 somewhere.") from None
    return value


def embeddings(Q, K):
    Q = finite("Q", Q)
    return Q, finite("K", K, None, Q.cols, letters=f"(M, D), D = {Q.cols} as in Q")


def with_references(Q, K, alpha, beta):
    Q, K = embeddings(Q, K)
    alpha, beta = (finite(name, row, 1, Q.cols, "a row (1, D)") for name, row in (("alpha", alpha), ("beta", beta)))
    return Q, K, alpha, beta


def is_zero(value):
    """Is each entry 0, as a polynomial in its symbols?"""
    # not == 0: to SymPy 0.0 and 0 are two numbers
    return all(sp.expand(entry).is_zero is True for entry in value)


def symmetric(name, value, width=None, letters="(D, D)"):
    value = finite(name, value, width, width, letters)
    if value.rows != value.cols:
        raise ValueError(
            f"{name} has the shape {value.shape}; a covariance is square, {letters}: covariance(X)."
        ) from None
    if not is_zero(value - value.T):
        raise ValueError(f"{name} is not symmetric; a covariance is: covariance(X).") from None
    return value


def covariances(S_q, S_k, exact=True):
    """Two covariances of one width; ``exact``: of rational numbers, none with a negative eigenvalue."""
    S_q = symmetric("S_q", S_q)
    S_k = symmetric("S_k", S_k, S_q.cols, f"(D, D), D = {S_q.cols} as in S_q")
    for name, S in (("S_q", S_q), ("S_k", S_k)) if exact else ():
        rational(name, S)
        if signs(S)[1]:
            raise ValueError(f"{name} has a negative eigenvalue; no covariance has: covariance(X).") from None
    return S_q, S_k


def spread(S_q, S_k):
    """The traces, neither of them 0."""
    for S, name, symbol, where in ((S_k, "keys", "S_k", ""), (S_q, "queries", "S_q", " at the means")):
        if is_zero([S.trace()]):
            raise ValueError(
                f"the trace of {symbol} is 0: all {name} are equal, and the first fraction is 0/0{where}."
            ) from None
    return S_q.trace(), S_k.trace()


def rational(name, value):
    for i in range(value.rows):
        for j in range(value.cols):
            if not value[i, j].is_Rational:
                mend = "put numbers in with .subs" if value[i, j].free_symbols else "write it as sympy.Rational(1, 2)"
                raise TypeError(
                    f"{name}[{i}, {j}] is {value[i, j]}; here rational numbers are needed: {mend}."
                ) from None
    return value


def signs(S):
    """How many eigenvalues of a symmetric rational matrix are positive, negative and 0.

    Descartes: a polynomial whose roots are all real has as many positive roots as its coefficients change sign. No root
    is computed, so nothing is rounded.
    """
    coefficients = S.charpoly().all_coeffs()  # highest power first
    width = len(coefficients) - 1
    while coefficients[-1] == 0:
        coefficients.pop()
    zero = width - (len(coefficients) - 1)
    nonzero = [c > 0 for c in coefficients if c != 0]
    positive = sum(a != b for a, b in zip(nonzero, nonzero[1:]))
    return positive, width - zero - positive, zero
