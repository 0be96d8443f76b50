"""What the means do minimise and maximise (lesson 06, claims B7 i and C1; public names also in `proposition`).

With ``d = mu_q - alpha`` and ``e = mu_k - beta``, covariances with 1/N, and N queries, M keys::

    F = sum_ij ((q_i - alpha).(k_j - beta))^2 = N M [tr(S_q S_k) + e S_q e' + d S_k d' + (d.e)^2]

    R = [sum_imn (w_im - w_in)^2 + sum_mij (w_im - w_jm)^2] / sum w^2
      = 2 (N + M) - 2 [sum_i (row sum)^2 + sum_m (column sum)^2] / sum w^2,    w_im = (q_i - alpha).(k_m - beta)

F is least, and R reaches its bound 2 (N + M), exactly where ``S_q e = 0, S_k d = 0, d.e = 0`` (R: if ``tr(S_q S_k) >
0``). The means are such a point, and the only one iff both covariances are non-singular. The weights w are the same at
all of them: the whitened matrix. R keeps the printed numerators and divides by the energy of the weights; both are
ours, no source prints them.
"""

from __future__ import annotations

import sympy as sp

from dnl_course.symbolic._proposition_checks import covariances, finite, is_zero, with_references

__all__ = [
    "energy", "energy_closed_form", "means_are_unique", "repaired", "repaired_closed_form", "repaired_objective",
    "repaired_reduced",
]  # fmt: skip


def energy(Q, K, alpha, beta) -> sp.Expr:
    """Energy of the weights, ``F = sum_ij ((q_i - alpha).(k_j - beta))^2``, as its definition (claim C1).

    Parameters
    ----------
    Q : sympy.Matrix, (N, D)
    K : sympy.Matrix, (M, D)
    alpha, beta : sympy.Matrix, (1, D)
        Reference points.

    Returns
    -------
    Expr
        Not expanded. ``sp.expand`` takes 0.2 s at N, M, D = 3, 3, 2 with all entries symbols and 0.3 s at 4, 4, 3.

    Raises
    ------
    TypeError, ValueError
        No matrices; an empty one; widths that differ; reference points that are no rows (1, D); nan or infinity.

    Examples
    --------
    >>> Q, K = sp.Matrix([[0, 0], [1, 0]]), sp.Matrix([[0, 0], [1, 1]])
    >>> energy(Q, K, sp.Matrix([[sp.Rational(1, 2), 0]]), sp.ones(1, 2) / 2)  # the means
    1/4
    >>> energy(Q, K, sp.zeros(1, 2), sp.zeros(1, 2))
    1
    """
    w = _weights(*with_references(Q, K, alpha, beta))
    return sum((x**2 for x in w), sp.S.Zero)


def energy_closed_form(S_q, S_k, d, e, N, M) -> sp.Expr:
    """F in the distances from the means: ``N M [tr(S_q S_k) + e S_q e' + d S_k d' + (d.e)^2]`` (claim C1).

    Write ``q_i - alpha = (q_i - mu_q) + d`` and ``k_j - beta = (k_j - mu_k) + e``, multiply out and sum: every mixed
    term contains the sum of the centred queries or of the centred keys, which is 0. No summand is negative.

    Parameters
    ----------
    S_q, S_k : sympy.Matrix, (D, D)
        Covariances with 1/N, symmetric; numbers or symbols.
    d, e : sympy.Matrix, (1, D)
        ``mu_q - alpha`` and ``mu_k - beta``.
    N, M : int or Expr
        How many queries and keys.

    Returns
    -------
    Expr

    Raises
    ------
    TypeError, ValueError
        As `energy`; covariances that are not square or not symmetric; N, M that are neither positive whole numbers nor
        symbols.

    Examples
    --------
    >>> S_q, S_k = sp.diag(sp.Rational(1, 4), 0), sp.ones(2, 2) / 4
    >>> energy_closed_form(S_q, S_k, sp.zeros(1, 2), sp.zeros(1, 2), 2, 2)
    1/4
    >>> t = sp.Symbol("t", real=True)
    >>> energy_closed_form(S_q, S_k, sp.zeros(1, 2), sp.Matrix([[0, t]]), 2, 2)  # a second minimiser for each t
    1/4
    """
    terms, N, M = _terms(S_q, S_k, d, e, N, M)
    return N * M * sum(terms)


def means_are_unique(S_q, S_k) -> bool:
    """Are the means the only minimiser of F, and the only maximiser of R? Iff no covariance is singular (B7 i, C1).

    If ``S_q e = 0`` for a row e that is not 0, then ``(mu_q, mu_k - e)`` is another; the same with the roles swapped.
    Two non-singular covariances force d = e = 0. This needs at least D + 1 queries and D + 1 keys.

    Parameters
    ----------
    S_q, S_k : sympy.Matrix, (D, D)
        Covariances of rational numbers.

    Returns
    -------
    bool

    Raises
    ------
    TypeError, ValueError
        No rational numbers; what is no covariance; widths that differ.

    Examples
    --------
    >>> means_are_unique(sp.eye(2), sp.Matrix([[2, 1], [1, 2]])), means_are_unique(sp.diag(1, 0), sp.eye(2))
    (True, False)
    """
    S_q, S_k = covariances(S_q, S_k)
    return bool(S_q.det() != 0 and S_k.det() != 0)


def repaired_objective(w) -> sp.Expr:
    """R of weights w, as its definition: differences in rows and columns over the energy of the weights (claim B7 i).

    Parameters
    ----------
    w : sympy.Matrix, (N, M)
        Real weights, not all 0.

    Returns
    -------
    Expr
        At most 2 (N + M), which is 4 N for N = M; reached iff all row sums and all column sums are 0.

    Raises
    ------
    TypeError, ValueError
        No matrix; an empty one; nan or infinity; all weights 0, which makes R 0/0.

    Examples
    --------
    >>> repaired_objective(sp.Matrix([[1, -1, 0], [-1, 1, 0]]))  # all sums are 0: 2 (2 + 3)
    10
    >>> repaired_objective(sp.ones(2, 3))
    0
    """
    w = _not_zero(w)
    N, M = w.shape
    rows = sum((w[i, m] - w[i, n]) ** 2 for i in range(N) for m in range(M) for n in range(M))
    columns = sum((w[i, m] - w[j, m]) ** 2 for m in range(M) for i in range(N) for j in range(N))
    return (rows + columns) / sum(x**2 for x in w)


def repaired_closed_form(w) -> sp.Expr:
    """R as its bound, and what is missing to it (claim B7 i).

    ``R = 2 (N + M) - 2 [sum_i (row sum)^2 + sum_m (column sum)^2] / sum w^2``

    For M numbers x, ``sum_mn (x_m - x_n)^2 = 2 M sum x^2 - 2 (sum x)^2``. Use it for every row and for every column.

    Parameters
    ----------
    w : sympy.Matrix, (N, M)
        Real weights, not all 0.

    Returns
    -------
    Expr

    Raises
    ------
    TypeError, ValueError
        As `repaired_objective`.

    Examples
    --------
    >>> repaired_closed_form(sp.Matrix([[1, 2, 0], [0, 0, 1]]))  # 2 (2 + 3) - 2 (3^2 + 1^2 + 1^2 + 2^2 + 1^2) / 6
    14/3
    """
    w = _not_zero(w)
    N, M = w.shape
    sums = sum(sum(w[i, :]) ** 2 for i in range(N)) + sum(sum(w[:, m]) ** 2 for m in range(M))
    return 2 * (N + M) - 2 * sums / sum(x**2 for x in w)


def repaired(Q, K, alpha, beta) -> sp.Expr:
    """R of the weights ``w_im = (q_i - alpha).(k_m - beta)`` (claim B7 i).

    Parameters
    ----------
    Q : sympy.Matrix, (N, D)
    K : sympy.Matrix, (M, D)
    alpha, beta : sympy.Matrix, (1, D)

    Returns
    -------
    Expr
        At most 2 (N + M). If the whitened matrix is not 0, the means reach it, and only they do iff `means_are_unique`.

    Raises
    ------
    TypeError, ValueError
        As `energy`; all weights 0, which makes R 0/0.

    Examples
    --------
    >>> triangle = sp.Matrix([[0, 0], [1, 0], [0, 1]])
    >>> means, corner = sp.ones(1, 2) / 3, sp.Matrix([[1, 0]])
    >>> repaired(triangle, triangle, means, means), repaired(triangle, triangle, corner, corner)
    (12, 32/7)
    """
    return repaired_objective(_weights(*with_references(Q, K, alpha, beta)))


def repaired_reduced(S_q, S_k, d, e, N, M) -> sp.Expr:
    """R in the distances from the means (claim B7 i).

    With ``x = e S_q e'``, ``y = d S_k d'``, ``z = (d.e)^2`` and ``c = tr(S_q S_k)`` the squared row sums add up to
    ``M^2 N (x + z)``, the squared column sums to ``N^2 M (y + z)`` and the energy is ``N M (c + x + y + z)``, so

    ``R = 2 (N + M) - 2 [M x + N y + (M + N) z] / (c + x + y + z)``

    Parameters
    ----------
    S_q, S_k, d, e, N, M
        As `energy_closed_form`.

    Returns
    -------
    Expr

    Raises
    ------
    TypeError, ValueError
        As `energy_closed_form`; an energy of 0, which makes R 0/0.

    Examples
    --------
    >>> t = sp.Symbol("t", real=True)
    >>> repaired_reduced(sp.eye(1), sp.eye(1), sp.Matrix([[t]]), sp.zeros(1, 1), 3, 3)
    -6*t**2/(t**2 + 1) + 12
    """
    (c, x, y, z), N, M = _terms(S_q, S_k, d, e, N, M)
    if is_zero([c + x + y + z]):
        raise ValueError("all weights are 0 (c + x + y + z = 0), and R is 0/0. Choose other data, d or e.") from None
    return 2 * (N + M) - 2 * (M * x + N * y + (M + N) * z) / (c + x + y + z)


def _weights(Q, K, alpha, beta):
    return sp.Matrix(Q.rows, K.rows, lambda i, j: ((Q[i, :] - alpha) * (K[j, :] - beta).T)[0])


def _not_zero(w):
    w = finite("w", w, letters="(N, M)")
    if is_zero(w):
        raise ValueError("all weights w are 0, and the objective is 0/0. Choose other data or another point.") from None
    return w


def _terms(S_q, S_k, d, e, N, M):
    S_q, S_k = covariances(S_q, S_k, exact=False)
    d, e = (finite(name, row, 1, S_q.cols, "a row (1, D)") for name, row in (("d", d), ("e", e)))
    N, M = (_count(name, value) for name, value in (("N", N), ("M", M)))
    return ((S_q * S_k).trace(), (e * S_q * e.T)[0], (d * S_k * d.T)[0], (d * e.T)[0] ** 2), N, M


def _count(name, value):
    if isinstance(value, bool) or not isinstance(value, (int, sp.Integer, sp.Symbol)):
        raise TypeError(f"{name} is {value!r}; allowed is a whole number of at least 1, or a symbol.") from None
    if not isinstance(value, sp.Symbol) and value < 1:
        raise ValueError(f"{name} is {value}; allowed is a whole number of at least 1, or a symbol.") from None
    return sp.sympify(value)
