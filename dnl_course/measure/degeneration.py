"""Does a block attend with one map for every query? Numbers that tell a degenerate map from a flat one (lesson 04).

Attention rows ``A`` (N queries, M keys), logits ``S``, ``H = I - 11'/n`` (double centring). The sources are claims A7
to A11 of the course's ledger; the mean cosine distance is the statistic with which Cao et al. (2019) found that
non-local blocks look at the same places whatever the query. What each number says::

    cosine_distance, row_divergence    0  iff  all rows are equal                 one map for every query
    one_map_for_all, interaction       H S H = 0  iff  all rows of softmax(S) are equal                 (A7)
    unary_share                        how much of what softmax sees is the same for all queries        (A9)
    effective_positions                how many keys a row looks at: M if it is flat
    distance_from_uniform              0  iff  the *mean* row is flat
    pairwise_logits                    H log(A) H = H S H: read off the map, without queries and keys   (A11)

An untrained block has nearly equal rows *because* they are flat, so the first number alone proves nothing.
All functions take any leading axes. They are diagnostics: gradients flow, finite ones, but not through
`one_map_for_all` and `map_statistics`. What is read off logits: ``logits.py``; all numbers without an N x M array:
``streaming.py``.
"""

from __future__ import annotations

import torch

from dnl_course.measure import _rows
from dnl_course.measure.logits import interaction, one_map_for_all, pairwise_logits, unary_share
from dnl_course.measure.streaming import MapStatistics, map_statistics

__all__ = [
    "MapStatistics", "cosine_distance", "distance_from_uniform", "effective_positions", "interaction", "js_divergence",
    "map_statistics", "one_map_for_all", "pairwise_logits", "row_divergence", "unary_share",
]  # fmt: skip


def cosine_distance(rows, *, any_rows=False):
    """Mean over all pairs of queries (i, i'), i = i' included, of ``(1 - cos(row_i, row_i')) / 2``.

    With ``u_i`` the row divided by its length, the mean cosine of all pairs is ``|mean u|^2``, so the statistic is
    ``(1 - |mean u|^2) / 2 = mean |u_i - mean u|^2 / 2``: O(N M) instead of O(N^2 M), and the last form does not cancel
    when the rows are nearly equal.

    Parameters
    ----------
    rows : torch.Tensor, (..., N, M), float32 or float64
        Attention rows; each sums to 1. Not modified.
    any_rows : bool, optional
        Accept rows that need not sum to 1: dot-product and concatenation maps, features. Rows of zeros are refused.

    Returns
    -------
    torch.Tensor, (...,)
        0 iff all rows have the same direction, which for attention rows is iff they are equal. Never above 1/2; N rows
        that share no position have (1 - 1/N) / 2.

    Raises
    ------
    TypeError, ValueError
        No float32 or float64 tensor; rows that do not sum to 1 or have negative entries; with ``any_rows`` NaN,
        infinities, a row of zeros.

    References
    ----------
    .. [1] Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu. GCNet: non-local networks meet squeeze-excitation networks and beyond.
           ICCV Workshops 2019. Their ``avg_dist``, with the same half and with i = i' among the pairs.

    Examples
    --------
    >>> cosine_distance(torch.eye(4)).item()
    0.375
    >>> cosine_distance(torch.full((4, 9), 1 / 9)).item()
    0.0
    """
    rows = _rows.finite("rows", rows) if any_rows else _rows.attention("rows", rows)
    units = _rows.units("rows", rows)  # (..., N, M)
    return _rows.spread(units, units.mean(-2)) / 2


def js_divergence(p, r):
    """Jensen-Shannon divergence ``KL(p | m) / 2 + KL(r | m) / 2`` with ``m = (p + r) / 2``, in nats; 0 log 0 = 0.

    Parameters
    ----------
    p, r : torch.Tensor, (..., M), float32 or float64
        Distributions over M positions; leading axes are broadcast.

    Returns
    -------
    torch.Tensor, (...,)
        0 iff p = r; log 2 iff they share no position.

    Raises
    ------
    TypeError, ValueError
        As `cosine_distance`; also if p and r have different numbers of positions.

    Examples
    --------
    >>> p, r = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    >>> round(js_divergence(p, r).item(), 4)  # log 2
    0.6931
    """
    p, r = _rows.attention("p", p, "(..., M)", 1), _rows.attention("r", r, "(..., M)", 1)
    try:
        p, r = torch.broadcast_tensors(p, r) if p.shape[-1] == r.shape[-1] else 0
    except (RuntimeError, TypeError):
        shapes = f"p has the shape {tuple(p.shape)} and r {tuple(r.shape)}"
        raise ValueError(f"{shapes}; allowed are equal last axes, and leading ones that broadcast.") from None
    return row_divergence(torch.stack([p, r], dim=-2))


def row_divergence(rows):
    """Jensen-Shannon divergence of all rows at once: ``H(mean row) - mean H(row) = mean KL(row | mean row)``, in nats.

    Computed in the second form, which is a sum of terms >= 0. It is also the information that knowing the query gives
    about the key, when queries are drawn evenly and keys by attention.

    Parameters
    ----------
    rows : torch.Tensor, (..., N, M), float32 or float64
        Attention rows; each sums to 1.

    Returns
    -------
    torch.Tensor, (...,)
        0 iff all rows are equal; at most log N, iff no two rows share a position.

    Raises
    ------
    TypeError, ValueError
        As `cosine_distance`.

    Examples
    --------
    >>> round(row_divergence(torch.eye(3)).item(), 4)  # log 3
    1.0986
    """
    rows = _rows.attention("rows", rows)
    return _rows.divergence(rows, rows.mean(-2)).mean(-1)


def effective_positions(rows):
    """How many positions each query looks at: the exponential of its row's entropy.

    Parameters
    ----------
    rows : torch.Tensor, (..., N, M), float32 or float64
        Attention rows; each sums to 1.

    Returns
    -------
    torch.Tensor, (..., N)
        From 1 (one position) to M (all alike).

    Raises
    ------
    TypeError, ValueError
        As `cosine_distance`.

    Examples
    --------
    >>> effective_positions(torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]])).tolist()
    [1.0, 2.0]
    """
    return _rows.entropy(_rows.attention("rows", rows)).exp()


def distance_from_uniform(rows):
    """Total variation ``sum_j |mean_j - 1/M| / 2`` of the mean row from looking at everything equally.

    Parameters
    ----------
    rows : torch.Tensor, (..., N, M), float32 or float64
        Attention rows; each sums to 1.

    Returns
    -------
    torch.Tensor, (...,)
        The share of attention that would have to move: from 0 to 1 - 1/M. 0 does not mean that the *rows* are flat.

    Raises
    ------
    TypeError, ValueError
        As `cosine_distance`.

    Examples
    --------
    >>> distance_from_uniform(torch.tensor([[1.0, 0.0, 0.0, 0.0]])).item()
    0.75
    >>> distance_from_uniform(torch.eye(4)).item()  # sharp rows, flat on average
    0.0
    """
    mean = _rows.attention("rows", rows).mean(-2)  # (..., M)
    return (mean - 1 / mean.shape[-1]).abs().sum(-1) / 2
