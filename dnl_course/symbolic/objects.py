"""Small symbolic objects that the lessons 05 to 07 compute with: matrices of symbols, means, covariance, softmax.

Rows are positions. Nothing here simplifies; `dnl_course.symbolic.verify.verify` decides whether two forms are equal.
"""

from __future__ import annotations

import sympy as sp

__all__ = ["centred", "covariance", "mean_row", "softmax", "symbols_matrix"]


def matrix(name: str, value, rows: int | None = None, columns: int | None = None, letters: str = "(N, M)") -> sp.Matrix:
    """Return a copy of ``value`` if it is an explicit matrix of that shape, no axis empty; the checks of this package."""
    allowed = f"allowed is a sympy.Matrix {letters}"
    if isinstance(value, sp.MatrixExpr) and not isinstance(value, sp.MatrixBase):
        raise TypeError(f"{name} is a {type(value).__name__} without entries; {allowed}. Try {name}.as_explicit().") from None
    if not isinstance(value, sp.MatrixBase):
        raise TypeError(f"{name} is a {type(value).__name__}; {allowed}. Try sympy.Matrix({name}).") from None
    if 0 in value.shape:
        raise ValueError(f"{name} has the shape {value.shape}; {allowed}, no axis empty.") from None
    if rows not in (None, value.rows) or columns not in (None, value.cols):
        raise ValueError(
            f"{name} has the shape {value.shape}; here it must be ({rows or 'any'}, {columns or 'any'}), {letters}."
        ) from None
    return sp.Matrix(value)


def symbols_matrix(name: str, rows: int, columns: int, **assumptions) -> sp.Matrix:
    """Matrix of symbols ``q11, q12, q21, ...``: name, row and column, counted from 1.

    Parameters
    ----------
    name : str
        What all symbols begin with.
    rows, columns : int
        At least 1. From 10 on the two numbers are joined by ``_`` (``q1_12``), so that no two symbols print alike.
    **assumptions
        As for `sympy.Symbol`, for instance ``positive=True``. ``real=True`` unless said otherwise.

    Returns
    -------
    sympy.Matrix, (rows, columns)

    Raises
    ------
    TypeError, ValueError
        A name that is no text or is empty; sizes that are no whole numbers, or below 1.

    Examples
    --------
    >>> symbols_matrix("q", 2, 3)
    Matrix([
    [q11, q12, q13],
    [q21, q22, q23]])
    >>> symbols_matrix("a", 1, 2, positive=True)[0].is_positive
    True
    """
    if not isinstance(name, str):
        raise TypeError(f"name is a {type(name).__name__}; allowed is text, such as 'q'.") from None
    if not name:
        raise ValueError("name is empty; allowed is text, such as 'q'.") from None
    for argument, size in (("rows", rows), ("columns", columns)):
        if isinstance(size, bool) or not isinstance(size, (int, sp.Integer)):
            raise TypeError(f"{argument} is {size!r}; allowed is a whole number of at least 1.") from None
        if size < 1:
            raise ValueError(f"{argument} is {size}; allowed is a whole number of at least 1.") from None
    between = "_" if max(rows, columns) > 9 else ""
    assumptions = {"real": True} | assumptions
    return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}{i + 1}{between}{j + 1}", **assumptions))


def mean_row(X) -> sp.Matrix:
    """Mean over the positions: ``mu = (1/N) sum_i x_i``.

    Parameters
    ----------
    X : sympy.Matrix, (N, D)

    Returns
    -------
    sympy.Matrix, (1, D)

    Raises
    ------
    TypeError, ValueError
        No matrix; an empty one.

    Examples
    --------
    >>> mean_row(sp.Matrix([[0, 0], [1, 0], [0, 1]]))
    Matrix([[1/3, 1/3]])
    """
    X = matrix("X", X, letters="(N, D)")
    return sp.ones(1, X.rows) * X / X.rows


def centred(X) -> sp.Matrix:
    """Rows minus their mean. The source calls products of centred rows whitened; variances stay as they are (claim A6).

    Parameters
    ----------
    X : sympy.Matrix, (N, D)

    Returns
    -------
    sympy.Matrix, (N, D)

    Raises
    ------
    TypeError, ValueError
        As `mean_row`.

    Examples
    --------
    >>> centred(sp.Matrix([[0, 0], [1, 0], [0, 1]]))
    Matrix([
    [-1/3, -1/3],
    [ 2/3, -1/3],
    [-1/3,  2/3]])
    """
    X = matrix("X", X, letters="(N, D)")
    return X - sp.ones(X.rows, 1) * mean_row(X)


def covariance(X) -> sp.Matrix:
    """Covariance over the positions, with 1/N: ``(1/N) sum_i (x_i - mu)'(x_i - mu)``.

    Parameters
    ----------
    X : sympy.Matrix, (N, D)

    Returns
    -------
    sympy.Matrix, (D, D)

    Raises
    ------
    TypeError, ValueError
        As `mean_row`.

    Examples
    --------
    >>> covariance(sp.Matrix([[0, 0], [1, 0], [0, 1]]))
    Matrix([
    [ 2/9, -1/9],
    [-1/9,  2/9]])
    """
    difference = centred(X)  # (N, D)
    return difference.T * difference / difference.rows


def softmax(L) -> sp.Matrix:
    """Softmax over each row: ``exp(L_ij) / sum_t exp(L_it)``.

    Parameters
    ----------
    L : sympy.Matrix, (N, M)
        Logits.

    Returns
    -------
    sympy.Matrix, (N, M)
        Not simplified, so that the definition can be read off.

    Raises
    ------
    TypeError, ValueError
        As `mean_row`.

    Examples
    --------
    >>> softmax(sp.Matrix([[0, sp.log(3)]]))
    Matrix([[1/4, 3/4]])
    """
    L = matrix("L", L)
    raised = L.applyfunc(sp.exp)  # (N, M)
    return sp.Matrix(L.rows, L.cols, lambda i, j: raised[i, j] / sum(raised[i, :]))
