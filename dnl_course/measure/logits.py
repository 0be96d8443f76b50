"""What the logits say about degeneration: the part about the pair (i, j), and the part that all queries share.

Lesson 04, claims A7, A9 and A11; the public names are those of `dnl_course.measure.degeneration`.
"""

from __future__ import annotations

import torch

from dnl_course.measure import _rows

__all__ = ["interaction", "one_map_for_all", "pairwise_logits", "unary_share"]


def unary_share(logits):
    """Share of what softmax sees in the logits that is the same for every query (claim A9).

    Softmax over the keys does not see the row means. With L the logits without them, ``L_ij = unary_j + pairwise_ij``
    where ``unary_j`` is the column mean; the two are orthogonal, and the share is ``N |column mean|^2 / |L|^2``.

    Parameters
    ----------
    logits : torch.Tensor, (..., N, M), float32 or float64
        Any finite numbers.

    Returns
    -------
    torch.Tensor, (...,)
        1: one map for every query. 0: the unary logits are constant. NaN where each row is constant up to rounding,
        so that softmax sees nothing to share. A factor on the logits does not change it: it says nothing of how
        flat the map is.

    Raises
    ------
    TypeError, ValueError
        No float32 or float64 tensor; NaN or infinite logits.

    Examples
    --------
    >>> unary_share(torch.tensor([[0.0, 2.0], [5.0, 7.0]])).item()  # the rows differ by a constant
    1.0
    >>> unary_share(torch.tensor([[0.0, 2.0], [2.0, 0.0]])).item()
    0.0
    """
    logits = _rows.finite("logits", logits)
    seen = logits - logits.mean(-1, keepdim=True)  # (..., N, M)
    energy = seen.square().sum((-2, -1))
    unary = logits.shape[-2] * seen.mean(-2).square().sum(-1)
    rounding = (_rows.ROUNDING * torch.finfo(logits.dtype).eps) ** 2 * logits.detach().square().sum((-2, -1))
    return torch.where(energy > rounding, unary / energy.where(energy > rounding, 1), torch.nan)


def interaction(logits):
    """Double centring ``H S H``: minus row means, minus column means, plus the grand mean.

    What is left depends on the pair (i, j) alone: all of its row and column means are 0. For ``S = q k'`` it is the
    product of the centred queries and keys, which the paper on disentangled non-local networks calls whitened.

    Parameters
    ----------
    logits : torch.Tensor, (..., N, M), float32 or float64
        Any finite numbers.

    Returns
    -------
    torch.Tensor, (..., N, M)

    Raises
    ------
    TypeError, ValueError
        As `unary_share`.

    Examples
    --------
    >>> interaction(torch.tensor([[0.0, 2.0, 4.0], [5.0, 7.0, 9.0]])).abs().max().item()  # a_i + b_j
    0.0
    """
    logits = _rows.finite("logits", logits)
    seen = logits - logits.mean(-1, keepdim=True)  # (..., N, M)
    return seen - seen.mean(-2, keepdim=True)


TELLING = 0.1  # a difference of logits that changes weights by more than ten percent


def one_map_for_all(logits, tol=None):
    """Are all rows of softmax(logits) equal? They are iff ``H S H = 0`` (claim A7).

    Rows of softmax are equal iff the rows of logits differ by constants, iff ``S_ij = a_i + b_j``, iff ``H S H = 0``.
    Constant queries suffice and are not necessary: queries may vary where the keys do not.

    Parameters
    ----------
    logits : torch.Tensor, (..., N, M), float32 or float64
        Any finite numbers.
    tol : float, optional
        The largest ``|H S H|`` taken for 0, in units of the logits. If it is e, every weight lies within a factor
        exp(+-2e) of the one map softmax(column means) (claim A8). Default: what rounding leaves, 64 eps times the
        largest logit.

    Returns
    -------
    torch.Tensor of bool, (...,)

    Raises
    ------
    TypeError, ValueError
        As `unary_share`; a negative tol; no tol, and logits so large that their rounding would hide different rows.

    Examples
    --------
    >>> one_map_for_all(torch.tensor([[0.0, 2.0], [5.0, 7.0]])).item()
    True
    >>> one_map_for_all(torch.tensor([[0.0, 2.0], [5.0, 7.1]])).item()
    False
    >>> one_map_for_all(torch.tensor([[0.0, 2.0], [5.0, 7.1]]), tol=0.1).item()
    True
    """
    if tol is not None and _rows.number("tol", tol) < 0:
        raise ValueError(f"tol is {tol!r}; allowed is a number >= 0, in units of the logits.") from None
    with torch.no_grad():
        largest = interaction(logits).abs().amax((-2, -1))
        rounding = _rows.ROUNDING * torch.finfo(logits.dtype).eps * logits.abs().amax((-2, -1))
        if tol is None and rounding.numel() and rounding.max() > TELLING:
            raise ValueError(
                f"logits of up to {logits.abs().max():.3g} in {logits.dtype} are rounded by up to {rounding.max():.2g}, which "
                "softmax would see: equal rows cannot be told. Use float64, leave masked columns out, or give tol."
            ) from None
        return largest <= (rounding if tol is None else tol)


def pairwise_logits(rows):
    """Doubly centred logits ``H S H``, read off the map alone as ``H log(A) H`` (claim A11).

    ``log A_ij = S_ij - log Z_i`` differs from S by a number per row, and centring removes it.

    Parameters
    ----------
    rows : torch.Tensor, (..., N, M), float32 or float64
        Attention rows, all entries above 0.

    Returns
    -------
    torch.Tensor, (..., N, M)

    Raises
    ------
    TypeError, ValueError
        As `cosine_distance`; an entry is 0: its logit is lost.

    Examples
    --------
    >>> logits = torch.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, 0.0]], dtype=torch.float64)
    >>> torch.allclose(pairwise_logits(logits.softmax(-1)), interaction(logits))
    True
    """
    rows = _rows.attention("rows", rows)
    if not rows.detach().all():
        raise ValueError(
            f"rows {tuple(rows.shape)}: {int((rows.detach() == 0).sum())} entries are 0, and log 0 says nothing of their "
            "logits. Compute the map in float64, or call interaction(logits)."
        ) from None
    return interaction(rows.log())
