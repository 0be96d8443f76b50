"""The numbers of `degeneration.py` for a map that is never held: rows come a chunk at a time (lesson 04).

What is linear or quadratic in the logits has a closed form in queries and keys. With centred ``Q~`` (N, D), ``K~``
(M, D), means ``mu_q``, ``mu_k``, and ``s`` the scale::

    H S H = s Q~ K~'           |H S H|^2 = s^2 |Q~ K~'|^2 = s^2 N M tr(Sq Sk)        interaction energy
    column means of S - row means = s K~ mu_q               N s^2 |K~ mu_q|^2         unary energy      (claim A9)

``|Q~ K~'|`` is taken from the triangles of two QR factorisations, ``|R_q R_k'|``: O((N + M) D^2), and unlike
``tr(Sq Sk)`` it does not lose half of the digits where queries vary at right angles to keys (claim A7).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from dnl_course.measure import _rows

__all__ = ["MapStatistics", "map_statistics"]


@dataclass(frozen=True)
class MapStatistics:
    """What `map_statistics` returns; each attribute is a tensor, one entry per image.

    Attributes
    ----------
    cosine_distance, row_divergence, distance_from_uniform, unary_share : (B,)
        As the functions of these names.
    effective_positions : (B, N)
        As the function, for every query.
    interaction_energy, unary_energy : (B,)
        ``|H S H|^2`` and N times the squared column means of what softmax sees; the share is
        ``unary_energy / (unary_energy + interaction_energy)``.
    largest_interaction : (B,)
        max ``|H S H|``: every weight is within a factor exp(+-2 of it) of the one map softmax(s mu_q k) (claim A8).
    one_map : (B,), bool
        As `one_map_for_all` with its default tolerance.
    mean_map : (B, M)
        The mean row: what is looked at, whoever looks.
    """

    cosine_distance: torch.Tensor
    row_divergence: torch.Tensor
    distance_from_uniform: torch.Tensor
    unary_share: torch.Tensor
    effective_positions: torch.Tensor
    interaction_energy: torch.Tensor
    unary_energy: torch.Tensor
    largest_interaction: torch.Tensor
    one_map: torch.Tensor
    mean_map: torch.Tensor


@torch.no_grad()
def map_statistics(q, k, *, scale=1.0, chunk=256):
    """All statistics of the map ``softmax_j(scale q_i . k_j)`` without holding it.

    Parameters
    ----------
    q : torch.Tensor, (..., N, D), float32 or float64
        Queries. Not modified; no gradient is computed.
    k : torch.Tensor, (..., M, D)
        Keys, with the leading axes, dtype and device of q.
    scale : float, optional
        Factor on every logit, as in `dnl_course.attention.embedded_gaussian`.
    chunk : int, optional
        How many rows are held at a time, over all images together (at least one per image).

    Returns
    -------
    MapStatistics
        One entry per image: (B,) for q (B, N, D), no axes for q (N, D).

    Raises
    ------
    TypeError, ValueError
        No float32 or float64 tensors; NaN or infinities; shapes that do not go together; a chunk below 1.

    Notes
    -----
    Time O(N M D), memory O(N D + chunk M). Rows are joined by exact rules (mean of the parts' own scatter plus scatter
    of the parts' means), so the result does not depend on the chunk, but for rounding.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> q = torch.randn(1, 3, generator=generator).expand(50, 3)  # one query for all positions
    >>> k = torch.randn(60, 3, generator=generator)
    >>> found = map_statistics(q, k)
    >>> found.one_map.item(), round(found.unary_share.item(), 6), bool(found.cosine_distance < 1e-12)
    (True, 1.0, True)
    """
    q, k = _rows.finite("q", q, "(..., N, D)"), _rows.finite("k", k, "(..., M, D)")
    if q.shape[:-2] != k.shape[:-2] or q.shape[-1] != k.shape[-1] or q.dtype != k.dtype:
        raise ValueError(
            f"q is {tuple(q.shape)} {q.dtype}, k {tuple(k.shape)} {k.dtype}; allowed are (..., N, D) and (..., M, D) with equal "
            "leading axes, D and dtype."
        ) from None
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk is {chunk!r}; allowed is an int of at least 1, how many rows are held at a time.") from None
    images, scale = q.shape[:-2], _rows.number("scale", scale)
    q, k = scale * q.flatten(0, -3) if images else scale * q[None], k.flatten(0, -3) if images else k[None]

    with torch.autocast(q.device.type, enabled=False):  # its half precision would measure itself
        unary_logits, energies = _energies(q, k)
        found = energies | _streamed(q, k, unary_logits, max(1, chunk // len(q)))
    return MapStatistics(**{f.name: found[f.name].reshape((*images, *found[f.name].shape[1:])) for f in fields(MapStatistics)})


def _energies(q, k):
    """Closed forms; returns (column means of the row-centred logits (B, M), what they give)."""
    mean, centred = q.mean(1, keepdim=True), k - k.mean(1, keepdim=True)  # (B, 1, D), (B, M, D)
    unary_logits = (centred @ mean.mT)[..., 0]  # (B, M)
    triangles = [torch.linalg.qr(x, mode="r").R for x in (q - mean, centred)]  # (B, min(N, D), D), (B, min(M, D), D)
    interaction = (triangles[0] @ triangles[1].mT).square().sum((1, 2))  # (B,)
    unary = q.shape[1] * unary_logits.square().sum(1)
    grand = k.mean(1, keepdim=True)
    row_energy = k.shape[1] * (q @ grand.mT).square().sum((1, 2))  # softmax does not see it
    rounding = (_rows.ROUNDING * torch.finfo(q.dtype).eps) ** 2 * (interaction + unary + row_energy)
    share = torch.where(interaction + unary > rounding, unary / (interaction + unary), torch.nan)
    return unary_logits, {"interaction_energy": interaction, "unary_energy": unary, "unary_share": share}


def _streamed(q, k, unary_logits, step):
    """One pass over the rows, ``step`` of each image at a time."""
    directions = distributions = None
    largest_interaction, largest_logit = q.new_zeros(len(q)), q.new_zeros(len(q))
    positions = q.new_empty(q.shape[:2])  # filled, not collected: small tensors kept between large ones fragment memory
    for part, effective in zip(q.split(step, dim=1), positions.split(step, dim=1)):
        logits = part @ k.mT  # (B, Q, M)
        largest_logit = torch.maximum(largest_logit, logits.abs().amax((1, 2)))
        rows = torch.softmax(logits, dim=-1)
        logits = logits.sub_(logits.mean(-1, keepdim=True)).sub_(unary_logits[:, None])  # now H S H
        largest_interaction = torch.maximum(largest_interaction, logits.abs_().amax((1, 2)))
        del logits
        effective.copy_(_rows.entropy(rows).exp())  # (B, Q)
        units = _rows.units("the map", rows)
        directions = _rows.joined(directions, _part(units, _rows.spread), _squared)
        del units
        distributions = _rows.joined(distributions, _part(rows, _mean_divergence), _rows.divergence)
    mean_map = distributions[1]
    eps = torch.finfo(q.dtype).eps
    return {
        "cosine_distance": directions[2] / 2,
        "row_divergence": distributions[2],
        "distance_from_uniform": (mean_map - 1 / k.shape[1]).abs().sum(-1) / 2,
        "effective_positions": positions,
        "largest_interaction": largest_interaction,
        "one_map": largest_interaction <= _rows.ROUNDING * eps * largest_logit,
        "mean_map": mean_map,
    }


def _part(vectors, scatter):
    centre = vectors.mean(-2)
    return vectors.shape[-2], centre, scatter(vectors, centre)


def _squared(vectors, centre):
    return (vectors - centre[..., None, :]).square().sum(-1)


def _mean_divergence(rows, centre):
    return _rows.divergence(rows, centre).mean(-1)
