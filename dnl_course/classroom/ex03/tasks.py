"""Exercise 03: the non-local block in five functions (lesson 03; Wang, Girshick, Gupta, He 2018, section 3.3)."""

from __future__ import annotations

import numpy as np

from ..task import AlsoRight, Exercise, Probe, Task
from . import driven, mistakes, mistakes_gradient, references


def _features(rng, *shape, decimals=None):
    drawn = rng.normal(1.0, 0.6, shape)
    return drawn if decimals is None else np.round(drawn, decimals) + 0.0  # no -0.


def _probes_positions(rng):
    return [
        Probe({"x": _features(rng, 2, 3, 2, 4, decimals=1)}),
        Probe({"x": _features(rng, 3, 4, 7)}),
        Probe({"x": _features(rng, 3, 5, 6, 4)}),
        Probe({"x": _features(rng, 2, 4, 3, 5, 6)}),
    ]


def _probes_residual(rng):
    def given(batch, c, e, *spatial, decimals=None):
        n = int(np.prod(spatial))
        x, y = _features(rng, batch, c, *spatial, decimals=decimals), _features(rng, batch, n, e, decimals=decimals)
        w_z = rng.normal(0.0, 0.7, (c, e))
        return Probe({"x": x, "y": y, "w_z": w_z if decimals is None else np.round(w_z, decimals) + 0.0})

    return [
        given(2, 3, 2, 2, 4, decimals=1),
        given(3, 4, 4, 5, 3),  # E = C: a transposed W_z fits
        given(2, 5, 3, 7),
        given(2, 4, 6, 3, 2, 5),
    ]


def _probes_zero_init(rng):
    def given(out, norm):
        return Probe({"out": out, "norm": norm, "seed": int(rng.integers(2**31))})

    return [
        given("nn.Conv2d(3, 2, 1)", "nn.BatchNorm2d(2)"),
        given("nn.Conv1d(4, 6, 1)", "nn.GroupNorm(2, 6)"),
        given("nn.Linear(5, 4)", "nn.LayerNorm(4)"),
    ]


def _probes_subsampled(rng):
    def given(batch, c, d, e, rows, columns, stride):
        x = _features(rng, batch, c, rows, columns, decimals=1 if rows * columns < 30 else None)
        w_q, w_k = rng.normal(0.0, 1.0, (d, c)), rng.normal(0.0, 0.7, (d, c))
        q, k = (np.einsum("dc,bchw->bdhw", w, x) for w in (w_q, w_k))
        k = k[:, :, : rows // stride * stride, : columns // stride * stride]
        k = k.reshape(batch, d, rows // stride, stride, columns // stride, stride).max(axis=(3, 5))
        logits = np.einsum("bdn,bdm->bnm", q.reshape(batch, d, -1), k.reshape(batch, d, -1))
        w_q *= 1.5 / logits.std(axis=2).mean()  # a softmax that is neither flat nor saturated
        return Probe({"x": x, "w_q": w_q, "w_k": w_k, "w_v": rng.normal(0.0, 0.7, (e, c)), "stride": stride})

    return [given(2, 3, 2, 4, 4, 6, 2), given(3, 4, 3, 2, 7, 9, 2), given(2, 5, 4, 3, 6, 9, 3), given(2, 3, 5, 4, 8, 7, 3)]


def _probes_gradient(rng):
    def given(model, batch, channels, rows, columns, decimals=None):
        # a target above what the network gives: many gradients are negative in every entry
        return Probe({
            "model": model,
            "x": _features(rng, batch, channels, rows, columns, decimals=decimals),
            "target": _features(rng, batch, channels, rows, columns, decimals=decimals) + 20.0,
            "seed": int(rng.integers(2**31)),
        })  # fmt: skip

    def given_flat(model, error):
        x = _features(rng, *error.shape, decimals=1)
        return Probe({"model": model, "x": x, "target": error + 0.5, "seed": int(rng.integers(2**31))})

    # multiples of 1/4, powers of two of them: sums are exact
    above, below = rng.integers(16, 40, 8) / 4, -rng.integers(4, 12, 8) / 4
    both = rng.permutation(np.append(above, below))
    opposite = np.stack([above, -rng.permutation(above)]).reshape(1, 2, 2, 4)
    return [
        given(driven.ZERO_OUT, 2, 1, 3, 4, decimals=1),
        given(driven.RANDOM_OUT, 3, 2, 4, 5),
        given(driven.ZERO_NORM, 2, 2, 5, 3),
        given_flat(driven.HIT, np.zeros((2, 1, 2, 3))),
        given_flat(driven.OPPOSITE, opposite),
        given_flat(driven.BALANCED, both.reshape(2, 1, 2, 4)),
    ]


TASKS = (
    Task(
        id="03.1",
        title="from a picture to a list of positions",
        minutes=6,
        difficulty=1,
        core=True,
        seminar=True,
        reference=references.to_positions,
        probes=_probes_positions,
        outputs=(("positions", "(B, N, C)"),),
        mistakes=mistakes.TO_POSITIONS,
        tensors=True,
        gradient=("x",),
        hints=(
            "Two steps: make one axis of all spatial axes, then let the channel axis and that axis change places.",
            "`x.flatten(2)` turns everything from axis 2 on into one axis, however many there are: (B, C, N).",
            "`x.flatten(2)` is (B, C, N); `.transpose(1, 2)` makes it (B, N, C).",
        ),
    ),
    Task(
        id="03.2",
        title="the residual block",
        minutes=9,
        difficulty=2,
        core=True,
        reference=references.residual_block,
        probes=_probes_residual,
        outputs=(("z", "like x"),),
        mistakes=mistakes.RESIDUAL_BLOCK,
        tensors=True,
        gradient=("x", "y", "w_z"),
        hints=(
            "Three steps: map y from E to C channels, bring it into the shape of x, add x.",
            "`y @ w_z.T` applies W_z at every position: (B, N, C). The shape of x wants the channels before the positions.",
            "`(y @ w_z.T).transpose(1, 2)` is (B, C, N), and `.reshape(x.shape)` makes a picture of it; add x.",
        ),
    ),
    Task(
        id="03.3",
        title="a start that changes nothing",
        minutes=10,
        difficulty=2,
        core=True,
        reference=references.zero_init_,
        probes=_probes_zero_init,
        outputs=(
            ("largest output at the start, out alone", ""),
            ("largest output at the start, norm after out", ""),
            (f"output depends on y after {driven.STEPS} steps (1: yes), out alone", ""),
            (f"output depends on y after {driven.STEPS} steps (1: yes), norm after out", ""),
            ("largest entry of out.weight, out.bias", "(2,)"),
            ("largest entry of out.weight, out.bias, norm.weight, norm.bias", "(4,)"),
            ("as they were", "(6,)"),
            ("frozen", "(6,)"),
            ("refused by autograd", ""),
        ),
        mistakes=mistakes.ZERO_INIT,
        tensors=True,
        drive=driven.start_of_training,
        diagnose=driven.judge_start,
        also_right=(
            AlsoRight(
                "you zero the convolution and the norm's bias, and keep the norm's weight. That starts at 0 and learns; but a norm "
                "divides by the spread of what it gets, here 0, so the first gradients of the convolution are some hundred times too large. "
                "Zeroing the norm's weight and bias avoids that.",
                {"key": "conv"},
            ),
        ),
        hints=(
            "Which layer speaks last? Without a norm it is `out`, with one it is the norm. Two of its parameters decide what it gives.",
            (
                "A layer gives 0 for every input when its weight *and* its bias are 0. Zero one layer only: if both the convolution and the "
                "norm have weight 0, neither ever gets a gradient."
            ),
            "`last = out if norm is None else norm`, then `nn.init.zeros_(last.weight)` and `nn.init.zeros_(last.bias)`.",
        ),
    ),
    Task(
        id="03.4",
        title="fewer keys",
        minutes=15,
        difficulty=3,
        reference=references.subsampled_attention,
        probes=_probes_subsampled,
        outputs=(("y", "(B, N, E)"),),
        mistakes=mistakes.SUBSAMPLED_ATTENTION,
        tensors=True,
        gradient=("x", "w_q", "w_k", "w_v"),
        hints=(
            "Map first, pool second, flatten third, attend last; the queries skip the second step.",
            (
                "A 1×1 map is a matrix product over the channels: `torch.einsum('dc,bchw->bdhw', w_k, x)`. As long as the result is still "
                "(B, D, H, W), `F.max_pool2d(result, stride)` pools squares."
            ),
            (
                "With q (B, N, D), and k (B, M, D), v (B, M, E) pooled before they were flattened: "
                "`torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v`."
            ),
        ),
    ),
    Task(
        id="03.5",
        title="who moves in the next step?",
        minutes=10,
        difficulty=2,
        reference=references.parameters_with_gradient,
        probes=_probes_gradient,
        outputs=(("in the set (1), not in it (0), in the order of named_parameters; last: what else was returned", "(parameters + 1,)"),),
        mistakes=mistakes_gradient.PARAMETERS_WITH_GRADIENT,
        tensors=True,
        drive=driven.names_as_numbers,
        explain=driven.missing_and_too_many,
        hints=(
            "Four steps: forget old gradients, compute the loss, go backward, look at every parameter's `grad`.",
            "`p.grad` is None where the loss never met the parameter, and a tensor of zeros where it met it without effect; neither counts.",
            (
                "After `model.zero_grad()` and `F.mse_loss(model(x), target).backward()`, go through `model.named_parameters()` and keep the "
                "names with `p.grad is not None and bool((p.grad != 0).any())`."
            ),
        ),
    ),
)

EXERCISE = Exercise("03", "The non-local block", TASKS, answer_modules=("dnl_course.attention", "dnl_course.nn"))
