"""Which query looks where: rows of the attention map, for chosen queries only (lessons 02, 03, 04; claims I3 to I6).

The operations of `dnl_course.attention.pairwise` never hold the map; Q rows of it take Q x M numbers.
"""

from __future__ import annotations

import torch

from dnl_course.attention import _checks as check
from dnl_course.attention import _core as core

__all__ = ["PAIRWISE", "attention_map"]

PAIRWISE = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")


def attention_map(q, k, *, pairwise="embedded_gaussian", scale=1.0, queries=None):
    """Return the weights f(x_i, x_j) / C(x) with which chosen queries look at all keys.

    ::

        "embedded_gaussian"   softmax_j(scale q_i.k_j)      each row sums to 1
        "gaussian"            softmax_j(x_i.x_j)            each row sums to 1
        "dot_product"         q_i.k_j / M                   any sign, any sum
        "concatenation"       ReLU(a_i + b_j) / M           >= 0, any sum

    ``attention_map(q, k, pairwise=...) @ v`` is the result of the function of that name.

    Parameters
    ----------
    q : torch.Tensor, (B, N, D)
        For "concatenation" the numbers a, (B, N).
    k : torch.Tensor, (B, M, D)
        For "concatenation" the numbers b, (B, M).
    pairwise : str, optional
        One of `PAIRWISE`.
    scale : float, optional
        Multiplies every logit; for "embedded_gaussian" only.
    queries : int, sequence of int or torch.Tensor (Q,), optional
        Positions from 0 to N - 1, the same for all images; all of them by default. The pixel (row, column) of a
        picture is position ``row * width + column``.

    Returns
    -------
    torch.Tensor, (B, Q, M)
        In the dtype of q, float32 for half precision: rows of half precision do not sum to 1. One query is Q = 1: the
        axis stays.

    Raises
    ------
    IndexError
        A position is not from 0 to N - 1 (negative ones are not counted from the end).
    TypeError, ValueError
        See the top of `dnl_course.attention.pairwise`; ValueError also for an unknown ``pairwise``, and for a
        ``scale`` that is not finite or that the function does not have.

    Examples
    --------
    >>> import torch
    >>> q = torch.tensor([[[0.0], [1.0], [2.0]]])
    >>> k = torch.tensor([[[0.0], [1.0]]])
    >>> attention_map(q, k, queries=[0, 2])
    tensor([[[0.5000, 0.5000],
             [0.1192, 0.8808]]])
    >>> attention_map(q, k, pairwise="dot_product", queries=2)
    tensor([[[0., 1.]]])
    >>> attention_map(q[..., 0] - 1, k[..., 0], pairwise="concatenation")
    tensor([[[0.0000, 0.0000],
             [0.0000, 0.5000],
             [0.5000, 1.0000]]])
    """
    check.one_of("pairwise", pairwise, PAIRWISE)
    scale = check.number("scale", scale)
    if scale != 1 and pairwise != "embedded_gaussian":
        raise ValueError(
            f"scale is {scale:g}; allowed is 1: {pairwise!r} has no scale, 'embedded_gaussian' has."
        ) from None
    if pairwise == "concatenation":
        dtype = check.tensors(check.SCALARS, q, k, names=("q (as a_i)", "k (as b_j)"))
    else:
        dtype = check.tensors(check.FEATURES, q, k)
    rows = check.positions(queries, q.shape[1], q.device)
    if rows is not None:
        q = q.index_select(1, rows)  # (B, Q, D) or (B, Q)
    q, k = (x.to(core.wide(dtype)) for x in (q, k))
    with core.no_autocast(q):
        if pairwise in ("gaussian", "embedded_gaussian"):
            weights = core.softmax_rows(q, k, scale)
        elif pairwise == "dot_product":
            weights = q @ k.transpose(1, 2) / k.shape[1]
        else:
            weights = torch.relu(q.unsqueeze(2) + k.unsqueeze(1)) / k.shape[1]
    return weights  # (B, Q, M)
