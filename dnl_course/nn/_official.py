"""What preset "official" computes: the released Cityscapes configuration, not the printed equation (lesson 08).

With s the mean of q over channels and positions, one number per image, g a learned number, sigma the softmax over j::

    omega_ij = g sigma(factor (q_i - s 1).k_j) + sigma(unary_j)
"""

from __future__ import annotations

import torch

from dnl_course import attention
from dnl_course.attention._core import no_autocast, wide


def attend(q, k, v, unary, gate, factor: float):
    """Return y (B, N, E), in float32 at least; unary: logits (B, M) or None, gate: (1,)."""
    with no_autocast(v):
        v = v.to(wide(v.dtype))
        y = gate * attention.embedded_gaussian(without_scalar(q), k.to(v.dtype), v, scale=factor)  # (B, N, E)
        return y if unary is None else y + torch.softmax(unary.to(v.dtype), dim=1).unsqueeze(1) @ v  # + (B, 1, E)


def attention_maps(q, k, unary, gate, factor: float, queries) -> attention.AttentionMaps:
    """Return the maps for chosen queries: pairwise without the gate, joint with it."""
    with no_autocast(q):
        k = k.to(wide(k.dtype))
        rows = attention.attention_map(without_scalar(q), k, scale=factor, queries=queries)  # (B, Q, M)
        unary = None if unary is None else torch.softmax(unary.to(k.dtype), dim=1)  # (B, M)
        return attention.AttentionMaps(rows, unary, gate * rows if unary is None else gate * rows + unary.unsqueeze(1))


def without_scalar(q):
    """Take the mean over channels and positions out: (B, N, D) -> (B, N, D)."""
    q = q.to(wide(q.dtype))
    return q - q.mean(dim=(1, 2), keepdim=True)
