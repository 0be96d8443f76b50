"""The right answers of exercise 04, with switches; throwing one gives a known mistake (``mistakes.py``)."""

from __future__ import annotations

import torch


def cosine_distance(
    rows, *, compare="rows", unit="rows", mean_over="queries", centre="mean", power=2, divide="1", give="distance", half=True, own=True
):
    """(1 − cos)/2, averaged over all pairs of rows: half of 1 − |mean of the unit rows|²."""
    if compare == "columns":
        rows = rows.T
    lengths = {
        "rows": rows.norm(dim=1, keepdim=True),
        "rows, flat": rows.norm(dim=1),
        "columns": rows.norm(dim=0, keepdim=True),
        "nothing": torch.ones(1, dtype=rows.dtype),
    }[unit]
    if give == "zero":  # of rows that are averaged first, or compared with themselves
        return 0.0
    cosine = getattr(rows / lengths, centre)({"queries": 0, "keys": 1}[mean_over]).norm() ** power
    if divide == "M":
        cosine = cosine / rows.shape[1]
    if give == "similarity":
        return cosine
    if give == "similarity, halved":
        return (1 + cosine) / 2
    distance = (1 - cosine) / (2 if half else 1)
    return distance if own else distance * len(rows) / (len(rows) - 1)


def _plog(p, q, naive):
    """p log q, with 0 log 0 = 0 unless ``naive``."""
    product = p * q.log()
    return product if naive else torch.where(p > 0, product, 0)


def _kl(p, r, naive, log, second="logs"):
    crossed = p * r if second == "weights" else _plog(p, r, naive)
    return (_plog(p, p, naive) - crossed) / (torch.log(torch.tensor(2.0, dtype=p.dtype)) if log == "bits" else 1)


def js_divergence(p, r, *, take="both", half=True, mixture=0.5, log="nats", root=False, reduce="sum", naive=False, second="logs"):
    """Mean of KL(p | m) and KL(r | m), where m is the mean of p and r."""
    m = mixture * (p + r)
    if take in ("p|r", "r|p", "jeffreys", "jeffreys, halved"):
        there, back = _kl(p, r, naive, log, second), _kl(r, p, naive, log, second)
        terms = {"p|r": there, "r|p": back, "jeffreys": there + back, "jeffreys, halved": (there + back) / 2}[take]
    elif take == "m|p, m|r":
        terms = (_kl(m, p, naive, log, second) + _kl(m, r, naive, log, second)) / 2
    else:
        of_p, of_r = _kl(p, m, naive, log, second), _kl(r, m, naive, log, second)
        terms = {"both": of_p + of_r, "p|m": of_p, "r|m": of_r}[take] / (2 if half else 1)
    divergence = getattr(terms, reduce)()
    return divergence.sqrt() if root else divergence


def effective_positions(
    rows, *, give="exp", sign=-1, over="keys", log="nats", base=None, of="rows", reduce="sum", divide="1", naive=False
):
    """Exponential of the entropy of each row."""
    if of == "mean row":
        rows = rows.mean(0, keepdim=True)
    axis = {"keys": 1, "queries": 0}[over]
    terms = _plog(rows, rows, naive)
    if log == "bits":
        terms = terms / torch.log(torch.tensor(2.0, dtype=rows.dtype))
    entropy = sign * getattr(terms, reduce)(axis)
    if of == "mean entropy":
        entropy = entropy.mean()
    if give == "simpson":
        result = 1 / (rows**2).sum(axis)
    elif give == "counted":
        result = (rows > 0).sum(axis).to(rows.dtype)
    elif give == "entropy":
        result = entropy
    else:
        result = base**entropy if base else entropy.exp()
    if of == "mean of all":
        result = result.mean()
    result = result / (rows.shape[1] if divide == "M" else 1)
    return result[0] if of == "mean row" else result


def unary_share(logits, *, remove="row means", means="columns", count=True, power=2, form="share", correction=0, kept=None):
    """Without its row means: N |column mean|² / |logits|²."""
    removed = {
        "row means": lambda s: s.mean(1, keepdim=True),
        "row means, flat": lambda s: s.mean(1),
        "nothing": lambda s: torch.zeros(1, dtype=s.dtype),
        "grand mean": lambda s: s.mean(),
        "column means": lambda s: s.mean(0, keepdim=True),
        "both": lambda s: s.mean(1, keepdim=True) + s.mean(0, keepdim=True) - s.mean(),
    }[remove]
    seen = logits - removed(logits)
    if form == "zero":  # sums of row-centred rows, means of column-centred columns
        return 0.0
    axis = {"columns": 0, "rows": 1}[means]
    part, whole = (logits if kept == side else seen for side in ("numerator", "denominator"))
    share = (seen.shape[axis] if count else 1) * part.mean(axis).norm() ** power / whole.norm() ** power
    if correction:
        share = part.mean(axis).var() / whole.var()
    elif form == "root":
        share = share**0.5
    elif form == "absolute":
        share = (seen.shape[axis] if count else 1) * part.mean(axis).abs().sum() / whole.abs().sum()
    if form == "pairwise":
        return 1 - share
    return share / (1 - share) if form == "ratio" else share


def queries_with_one_map(k, n):
    """n queries, one step apart along a direction in which the keys do not vary."""
    _, _, directions = torch.linalg.svd(k - k.mean(0))  # (D, D), the last row: least variance
    start = k.mean(0)
    steps = torch.arange(n, dtype=k.dtype)[:, None]  # (n, 1)
    return start + steps * directions[-1]  # (n, D)
