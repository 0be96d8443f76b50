"""Exercise 02: the non-local operation in five functions (lesson 02; Wang, Girshick, Gupta, He 2018, section 3)."""

from __future__ import annotations

import numpy as np
import torch

from ..task import Exercise, Probe, Task
from . import mistakes, more_mistakes, references

SNAP = 1e-6  # an error of rounding counts as 0
NO, YES = -1.0, -2.0  # stand for a bool: no largest difference is negative


def _features(rng, *shape, decimals=None):
    drawn = rng.normal(1.0, 0.6, shape)  # mean 1: with zero-mean inputs a missing centring hides
    return drawn if decimals is None else np.round(drawn, decimals) + 0.0  # no -0.


def _probes_softmax(rng):
    def logits(b, n, m):
        return rng.normal(1.0, 1.3, (b, n, m))

    far = logits(3, 5, 4)
    far[0, 1] += 1000.0  # exp overflows
    far[2, 3] -= 1000.0  # exp underflows
    far[1, 2] = (-1000.0, -1000.0, 1000.0, -1000.0)  # far from its own mean
    wide = logits(2, 6, 7)
    wide[1, 2] *= 300.0
    return [Probe({"logits": np.round(logits(2, 3, 4), 1) + 0.0}), Probe({"logits": far}), Probe({"logits": wide})]


def _probes_map(rng):
    def given(b, n, m, d, decimals=None):
        for _ in range(1000):
            q, k = _features(rng, b, n, d, decimals=decimals), _features(rng, b, m, d, decimals=decimals)
            k[:, :, 1::2] -= 2.0  # mean -1, so that products of both signs occur
            logits = q @ k.swapaxes(1, 2)
            # negative ones in every image, and no sum over the keys near 0
            if (
                (logits.min((1, 2)) < -0.5).all()
                and (logits.max((1, 2)) > 0.5).all()
                and abs(logits.sum(2)).min() > 0.3
            ):
                rows = (np.exp(x) / np.exp(x).sum(2, keepdims=True) for x in (logits, np.maximum(logits, 0)))
                if (abs(np.subtract(*rows)).max((1, 2)) > 0.01).all():
                    break
        return Probe({"q": q, "k": k if decimals is None else np.round(k, decimals) + 0.0})

    # the last: one image and N = M, where a lost axis raises nothing
    return [given(2, 3, 4, 5, decimals=1), given(3, 7, 5, 2), given(2, 4, 6, 3), given(1, 4, 4, 3)]


def _probes_dot(rng):
    def given(b, n, m, d, e, decimals=None, measure=None):
        x = {"q": _features(rng, b, n, d, decimals=decimals), "k": _features(rng, b, m, d, decimals=decimals)}
        return Probe({**x, "v": _features(rng, b, m, e, decimals=decimals)}, measure=measure)

    return [
        given(2, 3, 4, 5, 6, decimals=1),
        given(3, 7, 5, 2, 4),
        given(2, 4, 6, 3, 5),
        given(1, 4, 4, 2, 3, measure="lines"),
        given(1, 8, 8, 2, 3, measure="lines"),
        given(1, 120, 120, 4, 3, measure="tensor"),
    ]


def _probes_concatenation(rng):
    def given(b, n, m, d, e, decimals=None, measure=None):
        for _ in range(1000):
            q, k, v = (_features(rng, b, *s, decimals=decimals) for s in ((n, d), (m, d), (m, e)))
            w_f = rng.normal(0.0, 1.0, 2 * d)
            w_f[:d] -= w_f[:d].mean()  # so that w·q and w·k have mean 0, and the ReLU cuts about half of the pairs
            w_f[d:] -= w_f[d:].mean()
            w_f = w_f if decimals is None else np.round(w_f, decimals) + 0.0
            f = (q @ w_f[:d])[:, :, None] + (k @ w_f[d:])[:, None, :]
            # away from the kink of the ReLU, where rounding decides on the gradient; and cut in every image
            if (
                abs(f).min() > 1e-3
                and 0.2 < (f > 0).mean() < 0.8
                and (f > 0).any((1, 2)).all()
                and (f < 0).any((1, 2)).all()
            ):
                break
        return Probe({"q": q, "k": k, "v": v, "w_f": w_f}, measure=measure)

    return [
        given(2, 3, 4, 5, 6, decimals=1),
        given(3, 7, 5, 2, 4),
        given(2, 4, 6, 3, 5),
        given(1, 4, 4, 2, 3, measure="lines"),
        given(1, 8, 8, 2, 3, measure="lines"),
    ]


def _attention(x):
    return torch.softmax(x @ x.mT, dim=-1) @ x


def _convolution(x):  # (B, N, C): each position from itself and its two neighbours, zeros beyond the ends
    around = torch.nn.functional.pad(x, (0, 0, 1, 1))
    return 0.5 * x - 0.9 * around[:, :-2] + 0.2 * around[:, 2:]


def _numbered(x):  # knows where a position is
    return x - torch.linspace(0, 1, x.shape[1], dtype=x.dtype)[:, None] * x.square()


OPS = {"attention": _attention, "convolution": _convolution, "numbered positions": _numbered}


def _drive_equivariance(function, inputs):
    error = function(OPS[inputs["op"]], inputs["x"], inputs["order"])
    if getattr(error, "numel", lambda: getattr(error, "size", 1))() != 1:
        return error
    if isinstance(error, bool) or str(getattr(error, "dtype", "")).removeprefix("torch.") == "bool":
        return YES if bool(error) else NO
    if isinstance(error, (float, np.floating, np.ndarray, torch.Tensor)) and abs(error) < SNAP:
        return 0.0 * error  # what is 0 in theory is 1e-16 in practice
    return error


def _explain_equivariance(inputs, values, expected):
    return more_mistakes.YES_OR_NO if values[0] in (YES, NO) else None


def _probes_equivariance(rng):
    def given(op, b, n, c, decimals=None, sign=-1):
        while True:
            order = rng.permutation(n)
            if (order[order] != np.arange(n)).any() and (order != np.arange(n)).all():  # not its own inverse
                break
        while True:
            x = _features(rng, b, n, c, decimals=decimals)
            low, high = (
                float(references.equivariance_error(OPS[op], torch.tensor(x), torch.tensor(order), answer=answer))
                for answer in ("minus smallest", "signed largest")
            )
            large, small = (low, high) if sign < 0 else (high, low)
            if op == "attention" or (large > 0.1 and small < 0.95 * large):  # the largest difference is of this sign
                return Probe({"op": op, "x": x, "order": order})

    return [
        given("convolution", 2, 4, 5, decimals=1),
        given("attention", 3, 5, 7),
        given("convolution", 3, 6, 8, sign=1),
        given("numbered positions", 2, 7, 9),
    ]


TASKS = (
    Task(
        id="02.1",
        title="a softmax that does not overflow",
        minutes=8,
        difficulty=1,
        core=True,
        seminar=True,
        reference=references.softmax_rows,
        probes=_probes_softmax,
        tensors=True,
        gradient=("logits",),
        outputs=(("weights", "(B, N, M)"),),
        mistakes=mistakes.SOFTMAX_ROWS,
        refused=(
            "torch.softmax",
            "torch.nn.functional.softmax",
            "torch.log_softmax",
            "torch.nn.functional.softmin",
            "torch.nn.Softmax",
            "torch.nn.LogSoftmax",
            "torch.nn.Softmin",
            "torch.nn.Softmax2d",
            "torch._softmax",
            "torch._log_softmax",
            "torch.distributions.Categorical",
            "torch.distributions.OneHotCategorical",
        ),
        hints=(
            "Three steps: subtract the largest logit of each row, take the exponential, divide by the sum of each row.",
            (
                "Each row is the last axis. A maximum or sum over it must keep the axis as length 1, or it does not fit to the "
                "rows again: `keepdim=True`."
            ),
            (
                "`e = torch.exp(logits - logits.amax(dim=-1, keepdim=True))`, and return `e` divided by "
                "`e.sum(dim=-1, keepdim=True)`."
            ),
        ),
    ),
    Task(
        id="02.2",
        title="the map of the embedded Gaussian",
        minutes=8,
        difficulty=1,
        core=True,
        reference=references.embedded_gaussian_map,
        probes=_probes_map,
        tensors=True,
        gradient=("q", "k"),
        outputs=(("map", "(B, N, M)"),),
        mistakes=mistakes.EMBEDDED_GAUSSIAN_MAP,
        hints=(
            "First all products q_i·k_j as one tensor (B, N, M), then a softmax. `torch.softmax` is allowed here.",
            "`q @ k.mT` multiplies image by image: (B, N, D) times (B, D, M). `.mT` exchanges the last two axes.",
            "`torch.softmax(q @ k.mT, dim=-1)`: over the keys, and no scale.",
        ),
    ),
    Task(
        id="02.3",
        title="the dot product, without the map",
        minutes=10,
        difficulty=2,
        core=True,
        reference=references.dot_product,
        probes=_probes_dot,
        tensors=True,
        gradient=("q", "k", "v"),
        outputs=(("y", "(B, N, E)"),),
        mistakes=mistakes.DOT_PRODUCT,
        limits=mistakes.DOT_PRODUCT_LIMITS,
        hints=(
            "Nothing stands between the two products q·k and (·)v. Matrix products may be bracketed as you like.",
            "(q kᵀ) v needs an N × M map, q (kᵀ v) a D × E matrix. C(x) is the number of keys.",
            "`q @ (k.mT @ v) / k.shape[1]`.",
        ),
    ),
    Task(
        id="02.4",
        title="the concatenation",
        minutes=12,
        difficulty=2,
        reference=references.concatenation,
        probes=_probes_concatenation,
        tensors=True,
        gradient=("q", "k", "v", "w_f"),
        outputs=(("y", "(B, N, E)"),),
        mistakes=more_mistakes.CONCATENATION,
        limits=more_mistakes.CONCATENATION_LIMITS,
        hints=(
            "w_f·[q_i; k_j] is a sum: one number that belongs to i, and one that belongs to j.",
            (
                "With `a = q @ w_f[:D]` (B, N) and `b = k @ w_f[D:]` (B, M), the weights are the ReLU of a_i + b_j: give `a` a "
                "last axis of length 1 and `b` a middle one, and they add up to (B, N, M)."
            ),
            "`f = torch.relu(a[:, :, None] + b[:, None, :])`, and return `f @ v / k.shape[1]`.",
        ),
    ),
    Task(
        id="02.5",
        title="does an operation know where a position is?",
        minutes=8,
        difficulty=1,
        seminar=True,
        reference=references.equivariance_error,
        probes=_probes_equivariance,
        tensors=True,
        drive=_drive_equivariance,
        outputs=(("error", ""),),
        mistakes=more_mistakes.EQUIVARIANCE_ERROR,
        explain=_explain_equivariance,
        hints=(
            "Call `op` twice: once on the permuted x, and once on x itself.",
            "`x[:, order]` permutes the positions. Do the same to the *output* of the second call, then compare the two.",
            "`(op(x[:, order]) - op(x)[:, order]).abs().max()`.",
        ),
    ),
)

EXERCISE = Exercise(
    "02",
    "The non-local operation",
    TASKS,
    answer_modules=("dnl_course.attention", "dnl_course.nn"),
    refused_names=("torch.nn.functional.scaled_dot_product_attention", "torch.nn.MultiheadAttention"),
)
