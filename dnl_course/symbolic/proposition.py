"""Proposition 1 as the slides print it (seed 000, equation 3), and what it does (lesson 06, claims B1 to B6).

The slides say that the means maximise the sum of two fractions. The first is, with ``d = mu_q - alpha``, the
covariances S_q and S_k, ``s = tr S_q``, ``A = S_k / tr S_k`` and ``r0 = tr(A S_q) / s``::

    T1 = (s r0 + d A d') / (s + |d|^2),        T1(alpha) - T1(mu_q) = d (A - r0 I) d' / (s + |d|^2)

A weighted average of r0 and of the Rayleigh quotient of d: the means are stationary, and in general a saddle. beta is
not in it. The second fraction is the first with the roles swapped: call the functions with ``K, Q`` or ``S_k, S_q``
instead. What the means are for it is in `saddle`, what they do minimise and maximise in `repair`; all names can be
imported from here.

We have not seen the paper's appendix. If its formula differs from the printed one, this does not apply to it.
"""

from __future__ import annotations

import sympy as sp

from dnl_course.symbolic._proposition_checks import finite, is_zero, symmetric, with_references
from dnl_course.symbolic.repair import (
    energy, energy_closed_form, means_are_unique, repaired, repaired_closed_form, repaired_objective, repaired_reduced,
)  # fmt: skip
from dnl_course.symbolic.saddle import hessian_at_means, nature, stationary_points, supremum

__all__ = [
    "energy", "energy_closed_form", "first_fraction", "gradient", "hessian", "hessian_at_means", "means_are_unique",
    "nature", "objective", "reduced_fraction", "repaired", "repaired_closed_form", "repaired_objective",
    "repaired_reduced", "second_fraction", "stationary_points", "supremum",
]  # fmt: skip


def first_fraction(Q, K, alpha, beta) -> sp.Expr:
    """First fraction of the printed objective, as the triple sum that is printed (seed 000, equation 3).

    ``sum_imn ((q_i-alpha).(k_m-beta) - (q_i-alpha).(k_n-beta))^2 / (sum_i |q_i-alpha|^2  sum_mn |k_m-k_n|^2)``

    Parameters
    ----------
    Q : sympy.Matrix, (N, D)
    K : sympy.Matrix, (M, D)
        The slides have N = M; nothing here needs it.
    alpha, beta : sympy.Matrix, (1, D)

    Returns
    -------
    Expr
        Not simplified; a number if all entries are numbers. ``sp.expand`` of its numerator takes 0.2 s at N, M, D = 3,
        3, 2 with all entries symbols; ``sp.simplify`` of the whole needs 40 s there.

    Raises
    ------
    TypeError, ValueError
        No matrices; an empty one; widths that differ; reference points that are no rows (1, D); nan or infinity; 0/0:
        all keys equal, or all queries equal to alpha.

    Examples
    --------
    >>> triangle = sp.Matrix([[0, 0], [1, 0], [0, 1]])
    >>> corner, means = sp.Matrix([[1, 0]]), sp.ones(1, 2) / 3
    >>> first_fraction(triangle, triangle, means, means), first_fraction(triangle, triangle, corner, corner)
    (5/8, 2/3)
    """
    return _fraction(*with_references(Q, K, alpha, beta), ("queries", "keys", "alpha", "first"))


def second_fraction(Q, K, alpha, beta) -> sp.Expr:
    """Second fraction of the printed objective: the first with the roles of queries and keys swapped.

    ``sum_mij ((k_m-beta).(q_i-alpha) - (k_m-beta).(q_j-alpha))^2 / (sum_m |k_m-beta|^2  sum_ij |q_i-q_j|^2)``

    Parameters
    ----------
    Q, K, alpha, beta
        As `first_fraction`.

    Returns
    -------
    Expr

    Raises
    ------
    TypeError, ValueError
        As `first_fraction`; 0/0: all queries equal, or all keys equal to beta.

    Examples
    --------
    >>> Q, K = sp.Matrix([[0, 0], [2, 0]]), sp.Matrix([[0, 0], [0, 2]])
    >>> [second_fraction(Q, K, sp.zeros(1, 2), beta) for beta in (sp.zeros(1, 2), sp.Matrix([[2, 1]]))]
    [0, 4/5]
    """
    Q, K, alpha, beta = with_references(Q, K, alpha, beta)
    return _fraction(K, Q, beta, alpha, ("keys", "queries", "beta", "second"))


def objective(Q, K, alpha, beta) -> sp.Expr:
    """The printed objective: first plus second fraction. The slides say that the means are its argmax (claim B1).

    Parameters
    ----------
    Q, K, alpha, beta
        As `first_fraction`.

    Returns
    -------
    Expr

    Raises
    ------
    TypeError, ValueError
        As `first_fraction` and `second_fraction`.

    Examples
    --------
    >>> triangle = sp.Matrix([[0, 0], [1, 0], [0, 1]])
    >>> [objective(triangle, triangle, p, p) for p in (sp.ones(1, 2) / 3, sp.Matrix([[1, 0]]), sp.zeros(1, 2))]
    [5/4, 4/3, 1]
    """
    return first_fraction(Q, K, alpha, beta) + second_fraction(Q, K, alpha, beta)


def reduced_fraction(A, S_q, d) -> sp.Expr:
    """Closed form of the first fraction, ``(tr(A S_q) + d A d') / (tr S_q + |d|^2)`` (claim B1).

    The differences of keys do not contain beta; they enter as ``sum_mn (k_m-k_n)'(k_m-k_n) = 2 M^2 S_k``. The queries
    enter as ``sum_i (q_i-alpha)'(q_i-alpha) = N (S_q + d'd)``, because the centred queries sum to 0.

    Parameters
    ----------
    A : sympy.Matrix, (D, D)
        ``S_k / tr S_k``, symmetric, trace 1; numbers or symbols.
    S_q : sympy.Matrix, (D, D)
    d : sympy.Matrix, (1, D)
        ``mu_q - alpha``.

    Returns
    -------
    Expr

    Raises
    ------
    TypeError, ValueError
        No matrices; widths that differ; not symmetric; a number other than 1 as the trace of A; 0/0: S_q and d both 0.

    Examples
    --------
    >>> A, t = sp.diag(sp.Rational(3, 4), sp.Rational(1, 4)), sp.Symbol("t", real=True)
    >>> sp.factor(reduced_fraction(A, sp.eye(2), sp.Matrix([[t, 0]])))
    (3*t**2 + 4)/(4*(t**2 + 2))
    """
    A = symmetric("A", A)
    S_q = symmetric("S_q", S_q, A.cols, f"(D, D), D = {A.cols} as in A")
    d = finite("d", d, 1, A.cols, "a row (1, D)")
    trace = A.trace()
    if trace.is_number and (trace - 1).is_zero is False and abs(trace - 1) > 1e-9:
        raise ValueError(f"the trace of A is {trace}; A is S_k / tr S_k, whose trace is 1.") from None
    if is_zero([S_q.trace() + (d * d.T)[0]]):
        raise ValueError("S_q and d are 0: all queries are equal to alpha, and the fraction is 0/0.") from None
    return ((A * S_q).trace() + (d * A * d.T)[0]) / (S_q.trace() + (d * d.T)[0])


def gradient(f, alpha) -> sp.Matrix:
    """Partial derivatives of f in the symbols of a row.

    Parameters
    ----------
    f : Expr
    alpha : sympy.Matrix, (1, D)
        Different symbols.

    Returns
    -------
    sympy.Matrix, (1, D)
        As `sympy.diff` leaves it. Put numbers in rather than simplify.

    Raises
    ------
    TypeError, ValueError
        No expression; entries of alpha that are no symbols; one symbol twice; f has a symbol of the same name with
        other assumptions, which to SymPy is another unknown.

    Examples
    --------
    >>> x, y = sp.symbols("x y", real=True)
    >>> gradient(x**2 * y, sp.Matrix([[x, y]]))
    Matrix([[2*x*y, x**2]])
    """
    f, unknowns = _unknowns(f, alpha)
    return sp.Matrix([[sp.diff(f, x) for x in unknowns]])


def hessian(f, alpha) -> sp.Matrix:
    """Second partial derivatives of f in the symbols of a row.

    Parameters
    ----------
    f : Expr
    alpha : sympy.Matrix, (1, D)

    Returns
    -------
    sympy.Matrix, (D, D)
        As `sympy.diff` leaves it; with data of symbols ``sp.simplify`` does not come back.

    Raises
    ------
    TypeError, ValueError
        As `gradient`.

    Examples
    --------
    >>> x, y = sp.symbols("x y", real=True)
    >>> hessian(x**2 * y, sp.Matrix([[x, y]]))
    Matrix([
    [2*y, 2*x],
    [2*x,   0]])
    """
    f, unknowns = _unknowns(f, alpha)
    return sp.hessian(f, unknowns)


def _fraction(Q, K, alpha, beta, names):
    """First fraction; ``names`` say what Q, K, alpha are to the caller."""
    if is_zero(K - sp.ones(K.rows, 1) * K[0, :]):
        raise ValueError(
            f"all {names[1]} are equal, and the {names[3]} fraction is 0/0. Choose {names[1]} that differ."
        ) from None
    if is_zero(Q - sp.ones(Q.rows, 1) * alpha):
        raise ValueError(
            f"all {names[0]} are equal to {names[2]}, and the {names[3]} fraction is 0/0. Choose another {names[2]}."
        ) from None
    N, M = range(Q.rows), range(K.rows)
    numerator = sum(
        (_dot(Q[i, :] - alpha, K[m, :] - beta) - _dot(Q[i, :] - alpha, K[n, :] - beta)) ** 2
        for i in N for m in M for n in M
    )  # fmt: skip
    query_energy = sum(_dot(Q[i, :] - alpha, Q[i, :] - alpha) for i in N)
    key_energy = sum(_dot(K[m, :] - K[n, :], K[m, :] - K[n, :]) for m in M for n in M)
    return numerator / (query_energy * key_energy)


def _dot(x, y):
    return (x * y.T)[0]


def _unknowns(f, alpha):
    if isinstance(f, (int, float)) and not isinstance(f, bool):
        f = sp.sympify(f)
    if not isinstance(f, sp.Expr) or isinstance(f, sp.MatrixExpr):
        is_matrix = isinstance(f, (sp.MatrixBase, sp.MatrixExpr))
        mend = "Take one entry, f[0]." if is_matrix else "Make it one with sympy.sympify(f)."
        raise TypeError(f"f is a {type(f).__name__}; allowed is a sympy expression. {mend}") from None
    unknowns = list(finite("alpha", alpha, 1, letters="a row (1, D)"))
    if not all(x.is_Symbol for x in unknowns) or len(set(unknowns)) < len(unknowns):
        raise ValueError(
            f"alpha is {unknowns}; allowed are different symbols: symbols_matrix('a', 1, {len(unknowns)})."
        ) from None
    names = {x.name for x in unknowns}
    if strangers := sorted(x.name for x in f.free_symbols - set(unknowns) if x.name in names):
        raise ValueError(
            f"f and alpha both have a symbol {strangers[0]}, with different assumptions: to SymPy these are two unknowns. "
            "Make each symbol once and use it everywhere."
        ) from None
    return f, unknowns
