"""Right answers of exercise 08, with switches for every known mistake (claims A5, E1 to E3, F2)."""

from __future__ import annotations

import torch


def _centre(x, how="position"):
    if how in ("none", "axis_lost"):
        return x if how == "none" else x - x.mean(1)
    mean = {
        "position": lambda: x.mean(1, keepdim=True),
        "channels": lambda: x.mean(2, keepdim=True),
        "batch": lambda: x.mean(0, keepdim=True),
        "batch_and_positions": lambda: x.mean((0, 1), keepdim=True),
        "one_scalar": lambda: x.mean((1, 2), keepdim=True),
        "one_scalar_for_all": lambda: x.mean(),
        "sum": lambda: x.sum(1, keepdim=True),
    }[how]()
    return x - mean


def _whitened(q, k, centre="position", keys=None):
    keys = centre if keys is None else keys
    return _centre(q, centre) @ _centre(k, keys).mT  # (B, N, M)


def pairwise_map(q, k, *, centre="position", keys=None, std=None, of="both", axis=2, scaled=False):
    """Softmax over keys of (q_i - mu_q).(k_j - mu_k)."""
    q, k = _centre(q, centre), _centre(k, centre if keys is None else keys)
    if std is not None:  # 0: divided by N; 1: by N - 1
        q = q / q.std(1, correction=std, keepdim=True)
        k = k / k.std(1, correction=std, keepdim=True) if of == "both" else k
    logits = q @ k.mT / (q.shape[2] ** 0.5 if scaled else 1.0)
    return torch.softmax(logits, axis)


def hidden_unary_map(q, k, *, form="right"):
    """Softmax over keys of mu_q.k_j, one map for all queries."""
    mean, logits = q.mean(1), (k @ q.mean(1).unsqueeze(2)).squeeze(2)  # (B, D), (B, M)
    return {
        "right": lambda: torch.softmax(logits, 1),
        "key_mean": lambda: torch.softmax((k @ k.mean(1).unsqueeze(2)).squeeze(2), 1),
        "mean_of_maps": lambda: torch.softmax(q @ k.mT, 2).mean(1),
        "sum_not_mean": lambda: torch.softmax(logits * q.shape[1], 1),
        "logits": lambda: logits,
        "over_batch": lambda: torch.softmax(logits, 0),
        "axis_of_one": lambda: torch.ones_like(logits),
        "batch_as_matrix": lambda: torch.softmax(q.mean(1) @ k.mT, 2),  # (B, B, M)
        "batch_as_matrix_1": lambda: torch.softmax(q.mean(1) @ k.mT, 1),
        "batch_as_matrix_k": lambda: torch.softmax(k @ q.mean(1), 1),
        "first_query": lambda: torch.softmax((k @ q[:, 0].unsqueeze(2)).squeeze(2), 1),
        "query_side": lambda: torch.softmax((q @ k.mean(1).unsqueeze(2)).squeeze(2), 1),
        "repeated_rows": lambda: torch.softmax(logits, 1).unsqueeze(1).expand(-1, q.shape[1], -1),
        "batch_mean": lambda: torch.softmax(k @ mean.mean(0), 1),
    }[form]()


def unary_vector(v, m, *, form="right"):
    """The whole unary branch: sum_j softmax(m)_j v_j, (B, 1, E)."""
    weights = torch.softmax(m, 1).unsqueeze(2)  # (B, M, 1)
    total = (weights * v).sum(1, keepdim=True)
    return {
        "right": lambda: total,
        "not_normalised": lambda: (torch.exp(m).unsqueeze(2) * v).sum(1, keepdim=True),
        "logits": lambda: (m.unsqueeze(2) * v).sum(1, keepdim=True),
        "average_pool": lambda: v.mean(1, keepdim=True),
        "not_summed": lambda: weights * v,
        "dim_lost": lambda: total.squeeze(1),
        "divided_by_m": lambda: total / v.shape[1],
        "sigmoid": lambda: (torch.sigmoid(m).unsqueeze(2) * v).sum(1, keepdim=True),
        "sigmoid_mean": lambda: (torch.sigmoid(m).unsqueeze(2) * v).mean(1, keepdim=True),
        "over_batch": lambda: (torch.softmax(m, 0).unsqueeze(2) * v).sum(1, keepdim=True),
        "axis_of_one": lambda: v.sum(1, keepdim=True),
        "batch_as_matrix": lambda: torch.softmax(m, 1) @ v,  # (B, B, E)
        "weights_without_axis": lambda: (torch.softmax(m, 1) * v).sum(1, keepdim=True),
        "value_softmaxed": lambda: (torch.softmax(v, 1) * m.unsqueeze(2)).sum(1, keepdim=True),
        "both_softmaxed": lambda: (torch.softmax(v, 1) * weights).sum(1, keepdim=True),
    }[form]()


def attend_dnl(q, k, v, m, *, form="right", centre="position", keys=None):
    """(softmax(whitened) + softmax(m)) v; rows sum to 2."""
    white = _whitened(q, k, centre, keys)
    p, u = torch.softmax(white, 2), torch.softmax(m, 1).unsqueeze(1)  # (B, N, M), (B, 1, M)
    weights = {
        "right": lambda: p + u,
        "one_softmax": lambda: torch.softmax(white + m.unsqueeze(1), 2),
        "softmax_of_sum": lambda: torch.softmax(p + u, 2),
        "halved": lambda: (p + u) / 2,
        "unary_logits_added": lambda: p + m.unsqueeze(1),
        "multiplied": lambda: p * u,
        "dnl_dagger": lambda: p + hidden_unary_map(q, k).unsqueeze(1),
        "pairwise_only": lambda: p,
        "unary_only": lambda: u.expand_as(p),
        "axis_of_one": lambda: p + 1,
        "m_without_axis": lambda: p + torch.softmax(m, 1),
        "m_without_axis_logits": lambda: p + m,
        "m_without_axis_one_softmax": lambda: torch.softmax(white + m, 2),
        "m_over_queries": lambda: p + torch.softmax(m, 1).unsqueeze(2),
        "m_over_queries_ones": lambda: p + torch.ones_like(m).unsqueeze(2),
        "not_summed": lambda: p,
    }[form]()
    return weights @ v + (torch.softmax(m, 1).unsqueeze(2) * v if form == "not_summed" else 0)


def attend_dnl_star(q, k, v, m, *, form="right", centre="position", keys=None):
    """softmax(whitened + m) v; rows sum to 1."""
    white = _whitened(q, k, centre, keys)
    p, u = torch.softmax(white, 2), torch.softmax(m, 1).unsqueeze(1)
    weights = {
        "right": lambda: torch.softmax(white + m.unsqueeze(1), 2),
        "two_softmaxes": lambda: p + u,
        "m_softmaxed_first": lambda: torch.softmax(white + u, 2),
        "on_the_map": lambda: p + m.unsqueeze(1),
        "maps_multiplied": lambda: p * u,
        "m_over_queries": lambda: torch.softmax(white + m.unsqueeze(2), 2),
        "m_subtracted": lambda: torch.softmax(white - m.unsqueeze(1), 2),
        "m_left_out": lambda: p,
        "softmax_of_maps": lambda: torch.softmax(p + u, 2),
        "m_without_axis": lambda: torch.softmax(white + m, 2),
        "m_without_axis_first": lambda: torch.softmax(white + torch.softmax(m, 1), 2),
        "m_without_axis_maps": lambda: p + torch.softmax(m, 1),
        "m_without_axis_softmax_of_maps": lambda: torch.softmax(p + torch.softmax(m, 1), 2),
    }[form]()
    return weights @ v


def multiply_adds(C, N, variant, *, value="full", w_v="", w_z=False, twice="", softmax=True, addition="N2", logits=True, aggregation=True,
                  mask="C", once=False):  # fmt: skip
    """Multiply-adds of a block in the paper's convention: (2C^2 + (3C/2 + 1)N)N, and for "dnl" CN + N^2 more."""
    width = C if value == "full" else C // 2
    projections = (2 * C * (C // 2) + C * (C // 2 if w_v == "half" else width)) * (1 if once else N)
    if w_z:
        projections += width * C * N
    products = projections + (N * N * (C // 2) if logits else 0) + (N * N * width if aggregation else 0)
    entries = N * N if softmax else 0
    if variant == "dnl":
        products += {"C": C, "C2": C * C, "none": 0}[mask] * (1 if once else N)
        entries += {"N2": N * N, "none": 0, "twice": 2 * N * N, "N": N, "CN": C * N}[addition]
    return {"": products + entries, "all": 2 * (products + entries), "products": 2 * products + entries}[twice]
