"""The right answers of exercise 02, with switches; throwing one gives a known mistake (``mistakes.py``)."""

from __future__ import annotations

import torch


def softmax_rows(logits, *, over=2, shift="row", sign=1, power="exp", divide="sum", keepdim=True, log=""):
    """Softmax over the last axis, safe for logits of any size."""
    logits = sign * logits
    axis = {"row": 2, "column": 1, "images": 0, "image": (1, 2), "tensor": (0, 1, 2)}.get(shift)
    other = {
        "mean": lambda: logits.mean(2, keepdim=True),
        "min": lambda: logits.amin(2, keepdim=True),
        "largest absolute": lambda: logits.abs().amax(2, keepdim=True),
    }.get(shift, lambda: 0.0)()
    shifted = logits - other if axis is None else logits - logits.amax(axis, keepdim=True)
    weights = shifted.exp() if power == "exp" else shifted
    if divide == "sum":
        weights = weights / weights.sum(over, keepdim=keepdim)
    if log == "inside":
        return logits - logits.logsumexp(over, keepdim=True)
    return weights.log() if log else weights


def embedded_gaussian_map(
    q, k, *, compare="product", scale="", kind="softmax", over=2, turned=False, keys="own", queries="own",
    keepdim=True,
):  # fmt: skip
    """Softmax over the keys of q_i · k_j."""
    k = {"own": k, "first": k[:1].expand_as(k), "summed": k.sum(0, keepdim=True).expand_as(k)}[keys]
    q = {"own": q, "first": q[:1].expand_as(q), "summed": q.sum(0, keepdim=True).expand_as(q)}[queries]
    logits = _compared(q, k, compare)  # (B, N, M)
    width = q.shape[2]
    logits = logits * {"": 1.0, "1/√D": width**-0.5, "1/D": 1 / width, "√D": width**0.5}[scale]
    axes = over if isinstance(over, tuple) else (over,)
    if kind in ("softmax", "relu"):
        logits = logits.relu() if kind == "relu" else logits
        e = (logits - logits.amax(axes, keepdim=True)).exp()
        weights = e / e.sum(axes, keepdim=keepdim)
    else:
        weights = {
            "logits": lambda: logits,
            "exp": lambda: logits.exp(),
            "softmax, no shift": lambda: logits.exp() / logits.exp().sum(axes, keepdim=keepdim),
            "exp, shifted": lambda: (logits - logits.amax(axes, keepdim=True)).exp(),
            "share": lambda: logits / logits.sum(axes, keepdim=True),
            "sigmoid": lambda: logits.sigmoid(),
        }[kind]()
    return weights.mT if turned else weights


def _compared(q, k, how):
    if how == "product":
        return q @ k.mT
    if how == "not transposed":
        return q @ k
    if how == "view":
        return q @ k.reshape(len(k), k.shape[2], k.shape[1])
    if how == "all axes turned":
        return q @ k.permute(2, 1, 0)
    if how == "cosine":
        return (q / q.norm(dim=2, keepdim=True)) @ (k / k.norm(dim=2, keepdim=True)).mT
    squared = ((q.unsqueeze(2) - k.unsqueeze(1)) ** 2).sum(3)
    return -{"distance": squared.sqrt(), "squared distance": squared, "half the squared distance": squared / 2}[how]


def dot_product(q, k, v, *, weights="", divide="M", batch="", scale="", turned=""):
    """(1/M) q (kᵀ v)."""
    M = k.shape[1]
    width = {"": 1.0, "1/√D": q.shape[2] ** -0.5}[scale]
    if weights == "softmax":
        y = torch.softmax(width * (q @ k.mT), dim=2) @ v
    elif weights == "softmax over queries":
        y = torch.softmax(width * (q @ k.mT), dim=1) @ v
    else:
        turns = {"": k.mT, "no": k, "all axes": k.permute(2, 1, 0), "view": k.reshape(len(k), k.shape[2], M)}
        kv = turns[turned] @ v  # (B, D, E)
        kv = {"": lambda: kv, "sum": lambda: kv.sum(0), "mean": lambda: kv.mean(0), "first": lambda: kv[0]}[batch]()
        y = width * (q @ kv)
    sizes = {"M": M, "N": q.shape[1], "D": q.shape[2], "B": len(q), "E": v.shape[2], "nothing": 1.0}
    if divide == "row sum":
        return y / (width * (q @ k.sum(1, keepdim=True).mT))
    if divide == "M·D":
        return y / (M * q.shape[2])
    return y / sizes[divide]


def concatenation(q, k, v, w_f, *, relu="sum", halves="q first", weights="", divide="M", axes=True):
    """(1/M) Σ_j ReLU(w_f · [q_i; k_j]) v_j."""
    D = q.shape[2]
    if relu in ("inputs", "inputs and sum"):
        q, k = q.relu(), k.relu()
    of_q, of_k = (w_f[:D], w_f[D:]) if halves == "q first" else (w_f[D:], w_f[:D])
    a, b = q @ of_q, k @ of_k  # (B, N), (B, M)
    if axes:
        a, b = a.unsqueeze(2), b.unsqueeze(1)  # (B, N, 1), (B, 1, M)
    f = {
        "sum": lambda: (a + b).relu(),
        "each": lambda: a.relu() + b.relu(),
        "leaky": lambda: torch.nn.functional.leaky_relu(a + b),
        "absolute": lambda: (a + b).abs(),
        "sigmoid": lambda: (a + b).sigmoid(),
        "gelu": lambda: torch.nn.functional.gelu(a + b),
        "softplus": lambda: torch.nn.functional.softplus(a + b),
        "tanh": lambda: (a + b).tanh(),
        "exp": lambda: (a + b).exp(),
        "inputs and sum": lambda: (a + b).relu(),
    }.get(relu, lambda: a + b)()  # (B, N, M)
    if weights == "softmax":
        f = torch.softmax(f, dim=2)
    elif weights == "softmax over queries":
        f = torch.softmax(f, dim=1)
    y = f @ v
    if divide == "row sum":
        y = y / f.sum(2, keepdim=True)
    else:
        sizes = {"M": k.shape[1], "N": q.shape[1], "2D": 2 * D, "D": D, "B": len(q), "E": v.shape[2], "nothing": 1.0}
        y = y / sizes[divide]
    return y.relu() if relu == "after" else y


def equivariance_error(op, x, order, *, left="op, then order", right="order, then op", answer="largest"):
    """Largest |op(x permuted) − op(x) permuted|."""
    inverse = order.argsort()

    def side(how):
        return {
            "order, then op": lambda: op(x[:, order]),
            "op, then order": lambda: op(x)[:, order],
            "back, then op": lambda: op(x[:, inverse]),
            "op": lambda: op(x),
            "order": lambda: x[:, order],
            "x": lambda: x,
            "op, then back": lambda: op(x)[:, inverse],
            "channels, then op": lambda: op(x[..., order]),
            "op, then channels": lambda: op(x)[..., order],
        }[how]()

    difference = side(right) - side(left)
    return {
        "largest": lambda: difference.abs().max(),
        "mean": lambda: difference.mean(),
        "sum": lambda: difference.sum(),
        "minus mean": lambda: -difference.mean(),
        "minus sum": lambda: -difference.sum(),
        "absolute mean": lambda: difference.mean().abs(),
        "absolute sum": lambda: difference.sum().abs(),
        "signed largest": lambda: difference.max(),
        "signed smallest": lambda: difference.min(),
        "minus smallest": lambda: -difference.min(),
        "minus largest": lambda: -difference.max(),
        "absolute signed largest": lambda: difference.max().abs(),
        "absolute signed smallest": lambda: difference.min().abs(),
        "zero": lambda: torch.zeros(()),
        "mean of absolute": lambda: difference.abs().mean(),
        "sum of absolute": lambda: difference.abs().sum(),
        "norm": lambda: difference.norm(),
        "mean square": lambda: difference.square().mean(),
        "root mean square": lambda: difference.square().mean().sqrt(),
        "largest square": lambda: difference.square().max(),
        "same": lambda: (difference.abs() < 1e-5).all(),
        "exactly the same": lambda: (difference == 0).all(),
        "not exactly the same": lambda: (difference != 0).any(),
        "not the same": lambda: ~(difference.abs() < 1e-5).all(),
    }[answer]()
