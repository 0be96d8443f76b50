"""Exercise 08: the disentangled family in six functions (lesson 08; claims A5, E1 to E3, F2)."""

from __future__ import annotations

import numbers

import numpy as np

from ..task import Exercise, Probe, Task
from . import mistakes, references


def _features(rng, *shape, decimals=None):
    drawn = rng.normal(1.0, 0.6, shape)  # mean 1: with zero-mean inputs a missing centring hides
    return drawn if decimals is None else np.round(drawn, decimals) + 0.0  # no -0.


def _given(rng, b, n, m, d, e=0, names="qk", decimals=None):
    shapes = {"q": (b, n, d), "k": (b, m, d), "v": (b, m, e), "m": (b, m)}
    return Probe({name: _features(rng, *shapes[name], decimals=decimals) for name in names})


def _probes_qk(rng):
    # N = M, then B = N = M: there a lost or exchanged axis raises nothing, so that its numbers tell which it was
    return [_given(rng, 2, 3, 4, 2, decimals=1), _given(rng, 3, 6, 5, 4), _given(rng, 2, 4, 4, 3), _given(rng, 3, 3, 3, 4)]


def _probes_vm(rng):
    # the last: B = M = E
    return [_given(rng, 2, 0, 3, 0, 4, "vm", decimals=1), _given(rng, 3, 0, 6, 0, 2, "vm"), _given(rng, 2, 0, 5, 0, 5, "vm"),
            _given(rng, 3, 0, 3, 0, 3, "vm")]


def _probes_qkvm(rng):
    return [
        _given(rng, 2, 3, 4, 2, 5, "qkvm", decimals=1),
        _given(rng, 3, 6, 5, 4, 2, "qkvm"),
        _given(rng, 2, 4, 4, 3, 6, "qkvm"),
        _given(rng, 3, 3, 3, 4, 2, "qkvm"),
    ]


def _probes_count(rng):
    sizes = [(4, 3), (2 * int(rng.integers(8, 40)), int(rng.integers(50, 400))), (2 * int(rng.integers(60, 200)), 7)]
    return [Probe({"C": C, "N": N, "variant": variant}) for C, N in sizes for variant in ("nl", "dnl")]


def _as_number(function, inputs):
    """Call the function; a whole number is one, whatever its type."""
    value = function(*inputs.values())
    return float(value) if isinstance(value, numbers.Number) and not isinstance(value, (bool, complex)) else value


def _dnl_more(inputs, values, expected):
    """08.6: said where no known mistake fits; "nl" of the same sizes comes first, so here it was right."""
    C, N, variant = inputs.values()
    if variant != "dnl":
        return None
    nl = references.multiply_adds(C, N, "nl")
    return f"Your “nl” is right here; “dnl” costs C·N + N² = {C * N + N * N} more than it, and yours {float(values[0]) - nl:g} more."


TASKS = (
    Task(
        id="08.1",
        title="the pairwise map",
        minutes=8,
        difficulty=1,
        core=True,
        seminar=True,
        tensors=True,
        gradient=("q", "k"),
        reference=references.pairwise_map,
        probes=_probes_qk,
        outputs=(("pairwise_map", "(B, N, M)"),),
        mistakes=mistakes.PAIRWISE_MAP,
        hints=(
            "μ_q is the mean over the positions of one image: which axis of q is that? Keep it, so that it can be subtracted.",
            "`q.mean(dim=1, keepdim=True)` has the shape (B, 1, D). Subtract it, multiply with the keys, softmax over the keys.",
            "`((q - q.mean(dim=1, keepdim=True)) @ k.mT).softmax(dim=2)`; centring k as well changes nothing.",
        ),
    ),
    Task(
        id="08.2",
        title="the unary map that hides in q·k",
        minutes=8,
        difficulty=1,
        core=True,
        tensors=True,
        gradient=("q", "k"),
        reference=references.hidden_unary_map,
        probes=_probes_qk,
        outputs=(("unary_map", "(B, M)"),),
        mistakes=mistakes.HIDDEN_UNARY_MAP,
        hints=(
            "All queries share it, so only their mean can be in it: one vector per image.",
            "The logit of key j is the product of `q.mean(dim=1)` (B, D) with k_j: one number for each key, (B, M).",
            "`(k @ q.mean(dim=1).unsqueeze(2)).squeeze(2).softmax(dim=1)`.",
        ),
    ),
    Task(
        id="08.3",
        title="the whole unary branch is one vector",
        minutes=5,
        difficulty=1,
        tensors=True,
        gradient=("v", "m"),
        reference=references.unary_vector,
        probes=_probes_vm,
        outputs=(("unary_vector", "(B, 1, E)"),),
        mistakes=mistakes.UNARY_VECTOR,
        hints=(
            "Every query gets the same weights, so every query gets the same average: compute it once per image.",
            "`m.softmax(dim=1)` (B, M) are the weights; a product of (B, 1, M) with v (B, M, E) adds up over the keys.",
            "`m.softmax(dim=1).unsqueeze(1) @ v`.",
        ),
    ),
    Task(
        id="08.4",
        title="DNL",
        minutes=8,
        difficulty=2,
        core=True,
        tensors=True,
        gradient=("q", "k", "v", "m"),
        reference=references.attend_dnl,
        probes=_probes_qkvm,
        outputs=(("y", "(B, N, E)"),),
        mistakes=mistakes.ATTEND_DNL,
        hints=(
            "Two softmaxes, added, then the values. Nothing is halved.",
            "(P + 1Uᵀ)v = Pv + 1(Uᵀv): the whitened map times v, plus the one vector of task 08.3.",
            "`((q - q.mean(1, keepdim=True)) @ k.mT).softmax(2) @ v + m.softmax(1).unsqueeze(1) @ v`.",
        ),
    ),
    Task(
        id="08.5",
        title="DNL*",
        minutes=6,
        difficulty=1,
        tensors=True,
        gradient=("q", "k", "v", "m"),
        reference=references.attend_dnl_star,
        probes=_probes_qkvm,
        outputs=(("y", "(B, N, E)"),),
        mistakes=mistakes.ATTEND_DNL_STAR,
        hints=(
            "One softmax. What stands inside it?",
            "The whitened logits are (B, N, M), m is (B, M): m_j is to be added to the column of key j.",
            "`((q - q.mean(1, keepdim=True)) @ k.mT + m.unsqueeze(1)).softmax(2) @ v`.",
        ),
    ),
    Task(
        id="08.6",
        title="what it costs",
        minutes=12,
        difficulty=2,
        reference=references.multiply_adds,
        probes=_probes_count,
        drive=_as_number,
        outputs=(("number of multiply-adds", ""),),
        mistakes=mistakes.MULTIPLY_ADDS,
        explain=_dnl_more,
        hints=(
            "Go through the block in order: three 1×1 convolutions at N positions, N² logits, N² softmax entries, N² weights times values.",
            "One position: C·C/2 for q, C·C/2 for k, C·C for v. One pair: C/2 for the logit, 1 for the softmax, C for the value.",
            "nl: (2C² + (3C/2 + 1)N)N. “dnl” adds W_m, C per position, and one addition per pair.",
        ),
    ),
)

EXERCISE = Exercise(
    "08",
    "The disentangled family",
    TASKS,
    answer_modules=("dnl_course.attention", "dnl_course.nn", "dnl_course.measure"),
    refused_names=("torch.nn.functional.scaled_dot_product_attention", "torch.nn.MultiheadAttention"),
)
