"""Multiply or add two attention maps: the combinations and their gradients (lesson 07; claims D1 to D5, D7).

A pairwise map P is (N, M), the unary map U that all queries share is a row (1, M); p and u are their logits. L is any
loss, ``G_ij = dL/domega_ij`` its gradient on the combined map omega, held fixed (exact for every loss at one point; a loss
that is not linear in omega has another G once P or U has moved).

``mul``: ``omega = softmax(p + u)``, which is the product ``P_ij U_j / Z_i`` with its normaliser ``Z_i = sum_t P_it U_t``.
``add``: ``omega = P_ij + U_j``, rows that sum to 2.
"""

from __future__ import annotations

import sympy as sp

from dnl_course.symbolic.objects import matrix, softmax

__all__ = [
    "by_definition", "grad_add", "grad_mul", "logit_grad_add", "logit_grad_mul", "product_attention", "softmax_jacobian",
]  # fmt: skip


def softmax_jacobian(a) -> sp.Matrix:
    """Derivatives of softmax by its logits, at the softmax value a: ``da_j/dl_t = a_j (delta_jt - a_t)``.

    Parameters
    ----------
    a : sympy.Matrix, (1, M)
        A row of attention, such as ``softmax(logits)``. That it sums to 1 is not checked.

    Returns
    -------
    sympy.Matrix, (M, M)
        ``diag(a) - a'a``: symmetric; its rows sum to 0 if a sums to 1.

    Raises
    ------
    TypeError, ValueError
        No matrix; no row.

    Examples
    --------
    >>> softmax_jacobian(sp.Matrix([[sp.Rational(1, 4), sp.Rational(3, 4)]]))
    Matrix([
    [ 3/16, -3/16],
    [-3/16,  3/16]])
    """
    a = matrix("a", a, rows=1, letters="a row (1, M)")
    return sp.diag(*a) - a.T * a


def product_attention(P, U) -> sp.Matrix:
    """Product of two maps with its normaliser: ``P_ij U_j / Z_i``, ``Z_i = sum_t P_it U_t`` (claim D1).

    It is the softmax of the summed logits. The product without Z, as the slides write it (seed 000), does not sum to 1.

    Parameters
    ----------
    P : sympy.Matrix, (N, M)
    U : sympy.Matrix, (1, M)

    Returns
    -------
    sympy.Matrix, (N, M)

    Raises
    ------
    TypeError, ValueError
        No matrices; U that is no row of M entries; a Z that is 0.

    Examples
    --------
    >>> half, quarter = sp.Rational(1, 2), sp.Rational(1, 4)
    >>> product_attention(sp.Matrix([[half, half], [quarter, 3 * quarter]]), sp.Matrix([[quarter, 3 * quarter]]))
    Matrix([
    [ 1/4,  3/4],
    [1/10, 9/10]])
    """
    P, U = _maps(P, U)
    Z = _normaliser(P, U)
    return sp.Matrix(*P.shape, lambda i, j: P[i, j] * U[j] / Z[i])


def grad_mul(G, P, U) -> tuple[sp.Matrix, sp.Matrix]:
    """Gradients on the maps for `product_attention`, their entries as independent (claim D2).

    ``dL/dP_il = (U_l / Z_i) (G_il - g_i)`` and ``dL/dU_l = sum_i (P_il / Z_i) (G_il - g_i)`` with ``g_i = sum_j G_ij
    omega_ij``: the quotient rule, contracted with G. Each gradient holds the other map.

    Parameters
    ----------
    G : sympy.Matrix, (N, M)
        ``dL/domega``.
    P : sympy.Matrix, (N, M)
    U : sympy.Matrix, (1, M)

    Returns
    -------
    dP : sympy.Matrix, (N, M)
    dU : sympy.Matrix, (1, M)

    Raises
    ------
    TypeError, ValueError
        As `product_attention`; G of another shape.

    Examples
    --------
    >>> dP, dU = grad_mul(sp.Matrix([[1, 0]]), sp.Matrix([[1, 3]]) / 4, sp.Matrix([[1, 1]]) / 2)
    >>> dP, dU
    (Matrix([[3/4, -1/4]]), Matrix([[3/8, -3/8]]))
    """
    P, U = _maps(P, U)
    G = _gradient(G, P)
    Z = _normaliser(P, U)
    pull = _pull(G, product_attention(P, U))  # (N, M)
    dP = sp.Matrix(*P.shape, lambda i, j: U[j] / Z[i] * pull[i, j])
    return dP, sp.Matrix(1, P.cols, lambda _, j: sum(P[i, j] / Z[i] * pull[i, j] for i in range(P.rows)))


def grad_add(G) -> tuple[sp.Matrix, sp.Matrix]:
    """Gradients on the maps for ``omega_ij = P_ij + U_j`` (claim D3): G itself, and its column sums.

    The slides (seed 000) print G for both. That is so for a unary map with a row per query; shared, U gets the sum.

    Parameters
    ----------
    G : sympy.Matrix, (N, M)

    Returns
    -------
    dP : sympy.Matrix, (N, M)
    dU : sympy.Matrix, (1, M)

    Raises
    ------
    TypeError, ValueError
        No matrix; an empty one.

    Examples
    --------
    >>> grad_add(sp.Matrix([[1, 2], [3, 4]]))[1]
    Matrix([[4, 6]])
    """
    G = matrix("G", G)
    return G, _column_sums(G)


def logit_grad_mul(G, p, u) -> tuple[sp.Matrix, sp.Matrix]:
    """Gradients on the logits for ``omega = softmax(p + u)`` (claim D2): ``dL/du = sum_i dL/dp_i``.

    p and u enter only as ``p_ij + u_j``, so the unary gradient is a sum of pairwise ones and says nothing of its own.

    Parameters
    ----------
    G : sympy.Matrix, (N, M)
    p : sympy.Matrix, (N, M)
    u : sympy.Matrix, (1, M)

    Returns
    -------
    dp : sympy.Matrix, (N, M)
        ``omega_ij (G_ij - g_i)``; its rows sum to 0.
    du : sympy.Matrix, (1, M)

    Raises
    ------
    TypeError, ValueError
        As `grad_mul`.

    Examples
    --------
    >>> dp, du = logit_grad_mul(sp.Matrix([[1, 0], [0, 2]]), sp.zeros(2, 2), sp.Matrix([[0, sp.log(3)]]))
    >>> dp, du
    (Matrix([
    [3/16, -3/16],
    [-3/8,   3/8]]), Matrix([[-3/16, 3/16]]))
    """
    p, u = _maps(p, u, names=("p", "u"))
    G = _gradient(G, p)
    omega = softmax(p + sp.ones(p.rows, 1) * u)
    dp = omega.multiply_elementwise(_pull(G, omega))
    return dp, _column_sums(dp)


def logit_grad_add(G, p, u) -> tuple[sp.Matrix, sp.Matrix]:
    """Gradients on the logits for ``omega = softmax(p) + softmax(u)``: neither holds the other's logits (claim D3).

    ``dL/dp = P (G - <G, P>)`` row by row, ``dL/du = U (g - <g, U>)`` with ``g = sum_i G_i``. G itself comes from omega and
    so from both, unless the loss is linear in omega.

    Parameters
    ----------
    G : sympy.Matrix, (N, M)
    p : sympy.Matrix, (N, M)
    u : sympy.Matrix, (1, M)

    Returns
    -------
    dp : sympy.Matrix, (N, M)
    du : sympy.Matrix, (1, M)

    Raises
    ------
    TypeError, ValueError
        As `grad_mul`.

    Examples
    --------
    >>> dp, du = logit_grad_add(sp.Matrix([[1, 0], [0, 2]]), sp.zeros(2, 2), sp.Matrix([[0, sp.log(3)]]))
    >>> dp, du
    (Matrix([
    [ 1/4, -1/4],
    [-1/2,  1/2]]), Matrix([[-3/16, 3/16]]))
    """
    p, u = _maps(p, u, names=("p", "u"))
    G = _gradient(G, p)
    P, U = softmax(p), softmax(u)
    return P.multiply_elementwise(_pull(G, P)), U.multiply_elementwise(_pull(_column_sums(G), U))


def by_definition(combine, G, first, second, of="maps") -> tuple[sp.Matrix, sp.Matrix]:
    """The same gradients by ``sympy.diff`` of ``L = sum_ij G_ij omega_ij``, entry by entry: what the others must equal.

    Parameters
    ----------
    combine : {"mul", "add"}
    G : sympy.Matrix, (N, M)
    first : sympy.Matrix, (N, M)
        The pairwise map P, or its logits p.
    second : sympy.Matrix, (1, M)
        The unary map U, or its logits u.
    of : {"maps", "logits"}
        What ``first`` and ``second`` are.

    Returns
    -------
    dfirst : sympy.Matrix, (N, M)
    dsecond : sympy.Matrix, (1, M)
        Not simplified. In 0.3 s at N, M = 4, 4, in 3 s at 8, 8; the closed forms above in 0.1 and 1.2 s.

    Raises
    ------
    TypeError, ValueError
        As `grad_mul`; names that are not in the lists above.

    Examples
    --------
    >>> by_definition("mul", sp.Matrix([[1, 0]]), sp.Matrix([[1, 3]]) / 4, sp.Matrix([[1, 1]]) / 2)
    (Matrix([[3/4, -1/4]]), Matrix([[3/8, -3/8]]))
    """
    for name, value, known in (("combine", combine, ("mul", "add")), ("of", of, ("maps", "logits"))):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; allowed are {', '.join(map(repr, known))}.") from None
    first, second = _maps(first, second, names=("P", "U") if of == "maps" else ("p", "u"))
    G = _gradient(G, first)
    # numbers cannot be differentiated by: unknowns first, the given entries afterwards; applyfunc would share equal ones
    x = sp.Matrix(*first.shape, lambda *_: sp.Dummy("x", real=True))
    y = sp.Matrix(*second.shape, lambda *_: sp.Dummy("y", real=True))
    rows = sp.ones(first.rows, 1) * y
    if of == "maps":
        omega = product_attention(x, y) if combine == "mul" else x + rows
    else:
        omega = softmax(x + rows) if combine == "mul" else softmax(x) + softmax(rows)
    loss = sum(G.multiply_elementwise(omega))
    given = dict(zip([*x, *y], [*first, *second]))
    return tuple(unknown.applyfunc(lambda entry: sp.diff(loss, entry).xreplace(given)) for unknown in (x, y))


def _maps(P, U, names=("P", "U")):
    P = matrix(names[0], P)
    return P, matrix(names[1], U, 1, P.cols, letters=f"a row (1, M), M = {P.cols} as in {names[0]}")


def _gradient(G, P):
    return matrix("G", G, *P.shape, letters="(N, M), as the map")


def _normaliser(P, U):
    """Z, (N, 1)."""
    Z = P * U.T
    if any(z.is_zero for z in Z):
        raise ValueError("a row of P and U share no key: sum_t P_it U_t is 0, and the product has no normaliser.") from None
    return Z


def _pull(G, omega):
    """G minus its mean under omega, row by row, (N, M)."""
    means = G.multiply_elementwise(omega) * sp.ones(G.cols, 1)  # (N, 1)
    return G - means * sp.ones(1, G.cols)


def _column_sums(G):
    return sp.ones(1, G.rows) * G
