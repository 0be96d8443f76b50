"""The two terms inside q.k: a pairwise part about query and key, and a unary part about the key alone (lessons 05, 08).

Claims A1 to A5: q_i.k_j = (q_i - mu_q).(k_j - mu_k) + mu_q.k_j + q_i.mu_k - mu_q.mu_k. A softmax over j sees the first two
only, and of the first only (q_i - mu_q).k_j: the mean of the keys is the same for all j.
"""

from __future__ import annotations

import torch

from dnl_course.attention import _checks as check
from dnl_course.attention import _core as core

__all__ = ["centred", "pairwise_logits", "unary_logits"]


def centred(x):
    """Take the mean over positions out: per image and channel, (B, N, D) -> (B, N, D).

    The papers say "whitened"; it only means centred: variances and correlations stay (claim A6).

    Returns
    -------
    torch.Tensor, (B, N, D)
        In float32 where x is of half precision: the difference of two half-precision numbers need not be one.

    Examples
    --------
    >>> import torch
    >>> centred(torch.tensor([[[1.0], [2.0], [6.0]]]))[0, :, 0]
    tensor([-2., -1.,  3.])
    """
    check.tensors({"x": "(B, N, D)"}, x)
    x = x.to(core.wide(x.dtype))
    return x - x.mean(dim=1, keepdim=True)


def pairwise_logits(q, k, *, scale=1.0, temperature=1.0, queries=None):
    """Return scale / temperature (q_i - mu_q).(k_j - mu_k) for chosen queries i.

    Parameters
    ----------
    q, k : torch.Tensor, (B, N, D) and (B, M, D)
        The means are taken over all N queries and all M keys, whichever queries are asked for.
    scale, temperature : float, optional
    queries : int, sequence of int or torch.Tensor (Q,), optional
        Positions from 0 to N - 1; all of them by default, which takes N x M numbers.

    Returns
    -------
    torch.Tensor, (B, Q, M)
        Float32 at least. Over all queries, row and column means are 0: nothing unary is left (claim A10).

    Raises
    ------
    IndexError, TypeError, ValueError
        As `dnl_course.attention.attention_map`; ValueError also for a temperature that is not above 0.

    Examples
    --------
    >>> import torch
    >>> q, k = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[0.0], [1.0], [5.0]]])
    >>> pairwise_logits(q, k)  # (-1, 1) times (-2, -1, 3)
    tensor([[[ 2.,  1., -3.],
             [-2., -1.,  3.]]])
    """
    factor = check.factor(check.number("scale", scale), check.positive("temperature", temperature))
    dtype = check.tensors({"q": "(B, N, D)", "k": "(B, M, D)"}, q, k)
    rows = check.positions(queries, q.shape[1], q.device)
    with core.no_autocast(q):
        q, k = centred(q.to(dtype)), centred(k.to(dtype))
        q = q if rows is None else q.index_select(1, rows)
        return (factor * q) @ k.transpose(1, 2)


def unary_logits(q, k, *, scale=1.0):
    """Return scale mu_q.k_j, one number for each key: what all queries have in common.

    Parameters
    ----------
    q, k : torch.Tensor, (B, N, D) and (B, M, D)
    scale : float, optional

    Returns
    -------
    torch.Tensor, (B, M)
        Float32 at least.

    Raises
    ------
    TypeError, ValueError
        As `dnl_course.attention.attention_map`.

    Examples
    --------
    >>> import torch
    >>> unary_logits(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[0.0], [1.0], [5.0]]]))
    tensor([[ 0.,  2., 10.]])
    """
    scale = check.number("scale", scale)
    dtype = check.tensors({"q": "(B, N, D)", "k": "(B, M, D)"}, q, k)
    with core.no_autocast(q):
        mean = scale * q.to(core.wide(dtype)).mean(dim=1, keepdim=True)  # (B, 1, D)
        return (mean @ k.to(core.wide(dtype)).transpose(1, 2)).squeeze(1)
