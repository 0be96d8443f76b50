"""The right answers of exercise 03, with switches; throwing one gives a known mistake (``mistakes.py``)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def to_positions(x, *, move=True, order="rows", flatten=True, layout="bnc", only=""):
    """(B, C, *spatial) -> (B, N, C), the last spatial dimension fastest."""
    _for_images(x, only)
    if only == "flatten" and x.ndim == 5:
        return x.flatten(2, 3).transpose(1, 2)
    axes = tuple(range(2, x.ndim))
    swap = {
        "rows": axes,
        "reversed": axes[::-1],
        "last first": (axes[-1], *axes[:-1]),  # as x.transpose(1, -1) leaves them
        "last two": (*axes[:-2], *axes[:-3:-1]),
    }[order]
    x = x.permute(0, 1, *swap)  # (B, C, *spatial), the spatial axes perhaps in another order
    if not flatten:
        return x.movedim(1, -1)
    if layout == "b,cn":
        return x.flatten(1)
    x = x.flatten(2).transpose(1, 2) if move else x.reshape(x.shape[0], -1, x.shape[1])  # (B, N, C)
    return x.flatten(0, 1) if layout == "bn,c" else torch.einsum(f"bnc->{layout}", x)


def _for_images(x, style):
    """Do what only (B, C, H, W) can stand: with other inputs each style fails in its own way."""
    if style == "unpack":
        _, _, _, _ = x.shape
    elif style == "permute":
        x.permute(0, 2, 3, 1)
    elif style == "index":
        x.reshape(x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
    elif style == "flatten":
        x.flatten(2, 3)


def residual_block(x, y, w_z, *, residual="plus", back="moved", turn="", mapped=True, relu="", only=""):
    """z = x + W_z y, with W_z (C, E) applied at every position of y (B, N, E)."""
    if turn == "left":
        branch = w_z @ y  # fails: the matrix product runs over the positions
    else:
        branch = y @ (w_z if turn else w_z.T) if mapped else y  # (B, N, C)
    _for_images(x, only)
    if back == "never":
        x = x.flatten(2).transpose(1, 2)
    else:
        branch = (branch.transpose(1, 2) if back == "moved" else branch).reshape(x.shape)
    if relu == "branch":
        branch = F.relu(branch)
    z = {
        "plus": x + branch, "none": branch, "minus": x - branch, "minus x": branch - x, "times": x * branch, "gate": x + x * branch
    }[residual]  # fmt: skip
    return F.relu(z) if relu == "sum" else z


def zero_init_(out, norm):
    """Zero weight and bias of the layer that comes last: the norm where there is one."""
    last = out if norm is None else norm
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


def subsampled_attention(
    x, w_q, w_k, w_v, stride, *,
    pool="max", when="after", queries=False, unpooled="", kernel="stride", over=-1, scale="1", softmax=True, scrambled="",
    layout="bne",
):  # fmt: skip
    """Embedded Gaussian whose keys and values are max-pooled, stride × stride, after their 1×1 maps."""

    if "x" in scrambled:
        x = x.reshape(len(x), -1, x.shape[1]).transpose(1, 2).reshape(x.shape)

    def embedded(weight, small=True, cut=""):  # (B, C, H, W) -> (B, M, D) or, not pooled, (B, N, D)
        given = _pooled(x, pool, stride, kernel) if small and when == "before" else x
        mapped = torch.einsum("dc,bchw->bdhw", weight, given)
        if small and "in" in cut:
            mapped = mapped.flatten(2).transpose(1, 2).reshape(mapped.shape)
        if small and when == "after":
            mapped = _pooled(mapped, pool, stride, kernel)
        elif small and when.startswith("flat"):
            mapped = F.max_pool1d(mapped.flatten(2), stride ** (2 if when == "flat, s²" else 1))
        return to_positions(mapped, move="out" not in cut)

    q = embedded(w_q, queries, "out" if scrambled == "all out" else "")
    k, v = embedded(w_k, cut=scrambled), embedded(w_v, unpooled != "value", scrambled)  # (B, M, D), (B, M, E)
    logits = q @ k.transpose(1, 2)  # (B, N, M)
    logits = logits * {"1": 1.0, "1/√D": w_q.shape[0] ** -0.5, "1/√C": x.shape[1] ** -0.5, "1/M": 1 / k.shape[1]}[scale]
    y = (logits.softmax(over) if softmax else logits) @ v  # (B, N, E)
    if layout == "image":
        return y.transpose(1, 2).reshape(len(y), -1, *x.shape[2:])
    return torch.einsum(f"bne->{layout}", y)


def _pooled(x, pool, stride, kernel):
    whole = tuple(length // stride for length in x.shape[-2:])
    if pool == "strided":
        return x[..., ::stride, ::stride]
    if pool == "strided, whole windows":
        return x[..., : whole[0] * stride : stride, : whole[1] * stride : stride]
    if pool == "adaptive":
        return F.adaptive_max_pool2d(x, whole)
    size, step, options = {
        "stride": (stride, stride, {}),
        "1": (1, 1, {}),
        "ceil": (stride, stride, {"ceil_mode": True}),
        "step 1": (stride, 1, {}),
        "always 2": (2, 2, {}),
        "3, padded": (3, stride, {"padding": 1}),
    }[kernel]
    return (F.avg_pool2d if pool == "average" else F.max_pool2d)(x, size, step, **options)


def parameters_with_gradient(model, x, target, *, fresh=True, backward=True, loss="squares", keep="gradient not 0", none="skip", give="names"):
    """Names of the parameters whose gradient of the mean squared error is not 0."""
    if fresh:
        model.zero_grad()
    if backward:
        output = model(x)
        {"squares": F.mse_loss(output, target), "absolute": F.l1_loss(output, target), "output": output.mean()}[loss].backward()
    found = {name: p for name, p in model.named_parameters() if _kept(p, keep, none)}
    if give == "modules":
        return {name.rpartition(".")[0] for name in found}
    return {"names": set(found), "parameters": list(found.values()), "number": len(found)}[give]


def _kept(p, keep, none):
    if keep == "requires_grad":
        return p.requires_grad
    if keep == "value not 0":
        return bool((p != 0).any())
    if p.grad is None:
        return none == "raise" and p.grad.abs().sum() > 0
    return {
        "gradient not 0": bool((p.grad != 0).any()),
        "gradient not None": True,
        "gradient positive": bool((p.grad > 0).any()),
        "every entry not 0": bool((p.grad != 0).all()),
        "first entry not 0": bool(p.grad.flatten()[0] != 0),
        "first row not 0": bool(p.grad[0].any()),
        "sum not 0": bool(p.grad.sum() != 0),
        "gradient 0": not p.grad.any(),
        "ambiguous": False,
    }[keep] or (keep == "ambiguous" and bool(p.grad != 0))
