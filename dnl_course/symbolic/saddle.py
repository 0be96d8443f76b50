"""What the means are for the printed objective: stationary, and in general a saddle (lesson 06, claims B2 to B4).

All for the first fraction T1 of `proposition`, in alpha; for the second call with ``K, Q`` or ``S_k, S_q``. With
``A = S_k / tr S_k``, ``s = tr S_q``, ``r0 = tr(A S_q) / s`` and ``d = mu_q - alpha``::

    T1(alpha) - T1(mu_q) = d (A - r0 I) d' / (s + |d|^2)      at every alpha, not only near the means

so the signs of the eigenvalues of ``A - r0 I`` decide everything, and r0 is a weighted average of the eigenvalues of A.
Everything here is exact, for every D. The public names are those of `proposition`.
"""

from __future__ import annotations

import sympy as sp

from dnl_course.symbolic._proposition_checks import covariances, embeddings, rational, signs, spread
from dnl_course.symbolic.objects import covariance, mean_row

__all__ = ["hessian_at_means", "nature", "stationary_points", "supremum"]


def hessian_at_means(S_q, S_k) -> sp.Matrix:
    """Hessian of the first fraction in alpha, at the means: ``2 (A - r0 I) / s`` (claim B3).

    The slides call the Hessian of the objective non-positive definite. The one in (alpha, beta) consists of this block
    and its counterpart for beta, with zeros between them. r0 lies between the least and the largest eigenvalue of A, so
    the block has eigenvalues of both signs unless r0 is one of these two.

    Parameters
    ----------
    S_q, S_k : sympy.Matrix, (D, D)
        Covariances with 1/N of queries and keys, symmetric; numbers or symbols.

    Returns
    -------
    sympy.Matrix, (D, D)

    Raises
    ------
    TypeError, ValueError
        No matrices; not square, not symmetric; widths that differ; a trace of 0 (all queries or all keys equal: 0/0).

    Examples
    --------
    >>> triangle = covariance(sp.Matrix([[0, 0], [1, 0], [0, 1]]))
    >>> hessian_at_means(triangle, triangle)
    Matrix([
    [-9/16,  -9/8],
    [ -9/8, -9/16]])
    """
    S_q, S_k = covariances(S_q, S_k, exact=False)
    s, t = spread(S_q, S_k)
    return 2 * _difference_form(S_q, S_k, s, t) / s


def stationary_points(Q, K) -> list[sp.Matrix]:
    """All alpha at which the gradient of the first fraction is 0 (claim B2).

    The gradient in d is ``2 (d A - T1 d) / (s + |d|^2)``. Where it is 0, d is 0 or an eigenvector, ``d A = T1 d``; its
    eigenvalue is then ``T1 = (s r0 + T1 |d|^2) / (s + |d|^2)``, which says ``T1 = r0``. So the stationary points are
    ``mu_q - d`` with ``d (A - r0 I) = 0``, a linear equation, and all of them have the value r0. For beta: swap Q and
    K.

    `sympy.solve` on the numerator of the gradient, expanded, agrees with it (0.6 s for two unknowns); on the gradient
    as a quotient, and for three unknowns, it gave no answer in 150 s.

    Parameters
    ----------
    Q : sympy.Matrix, (N, D)
    K : sympy.Matrix, (M, D)
        Rational numbers; not all rows of Q equal, nor all rows of K.

    Returns
    -------
    list of sympy.Matrix, (1, D)
        The mean alone if r0 is no eigenvalue of A. If it is, one row for all of them, with free real symbols t1, t2,
        ...

    Raises
    ------
    TypeError, ValueError
        No matrices; no rational numbers; widths that differ; all queries or all keys equal.

    Examples
    --------
    >>> stationary_points(sp.Matrix([[0, 0], [1, 0], [0, 1]]), sp.Matrix([[0, 0], [1, 0], [0, 1]]))
    [Matrix([[1/3, 1/3]])]
    >>> stationary_points(sp.Matrix([[0, 0], [2, 0]]), sp.Matrix([[0, 0], [2, 0]]))  # the whole axis
    [Matrix([[t1 + 1, 0]])]
    """
    Q, K = embeddings(Q, K)
    S_q, S_k = covariance(rational("Q", Q)), covariance(rational("K", K))
    kernel = _difference_form(S_q, S_k, *spread(S_q, S_k)).nullspace()
    alpha = mean_row(Q)
    for n, direction in enumerate(kernel, start=1):
        alpha += sp.Symbol(f"t{n}", real=True) * direction.T
    return [alpha]


def nature(S_q, S_k) -> str:
    """Is the first fraction at ``alpha = mu_q`` constant, a maximum, a minimum or a saddle? (Claim B4.)

    Constant iff A = I/D. Maximum iff r0 is the largest eigenvalue of A, which says ``(lambda_max I - A) S_q = 0``: all
    centred queries lie in the top eigenspace of the key covariance. Minimum the same with the least. Otherwise a
    saddle.

    A maximum or minimum is global and never strict: along that eigenspace nothing changes. r0 is rational for rational
    data, and the signs of the eigenvalues of ``A - r0 I`` are counted from its characteristic polynomial (Descartes;
    exact, since all roots are real), so that no root is computed and nothing rounded.

    Parameters
    ----------
    S_q, S_k : sympy.Matrix, (D, D)
        Covariances of rational numbers, neither of trace 0. For the second fraction at ``beta = mu_k``: ``nature(S_k,
        S_q)``.

    Returns
    -------
    {"constant", "maximum", "minimum", "saddle"}
        "saddle": there are larger and smaller values in every neighbourhood of the mean, and the fraction has no
        maximiser.

    Raises
    ------
    TypeError, ValueError
        No rational numbers (floats, symbols); what is no covariance; widths that differ; a trace of 0.

    Examples
    --------
    >>> queries = sp.diag(1, 0)
    >>> [nature(queries, S) for S in (sp.eye(2), sp.diag(2, 1), sp.diag(1, 2), sp.Matrix([[2, 1], [1, 2]]))]
    ['constant', 'maximum', 'minimum', 'saddle']
    """
    S_q, S_k = covariances(S_q, S_k)
    up, down, _ = signs(_difference_form(S_q, S_k, *spread(S_q, S_k)))
    if up and down:
        return "saddle"
    return "minimum" if up else "maximum" if down else "constant"


def supremum(S_q, S_k) -> sp.Expr:
    """Least upper bound of the first fraction over all alpha: ``lambda_max(S_k) / tr S_k`` (claim B4).

    With v a unit eigenvector for it, ``T1(mu_q + t v) = lambda - s (lambda - r0) / (s + t^2)`` tends to it. It is
    reached only if `nature` says "maximum" or "constant".

    Parameters
    ----------
    S_q, S_k : sympy.Matrix, (D, D)
        As `nature`.

    Returns
    -------
    Expr
        Exact: rational, with a square root, or a `sympy.CRootOf`, whose value ``.evalf()`` gives.

    Raises
    ------
    TypeError, ValueError
        As `nature`.

    Examples
    --------
    >>> supremum(sp.eye(2), sp.Matrix([[2, -1], [-1, 2]])), supremum(sp.eye(2), sp.Matrix([[1, 1], [1, 2]]))
    (3/4, sqrt(5)/6 + 1/2)
    """
    S_q, S_k = covariances(S_q, S_k)
    _, t = spread(S_q, S_k)
    return sp.Poly((S_k / t).charpoly().all_coeffs(), sp.Dummy()).real_roots()[-1]  # sorted


def _difference_form(S_q, S_k, s, t):
    """``A - r0 I``, from which every difference of values is made."""
    A = S_k / t
    return A - (A * S_q).trace() / s * sp.eye(A.rows)
