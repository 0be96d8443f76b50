"""Exercise 04: how to tell one map for every query from a flat one, in five functions (lesson 04; claims A7 and A9)."""

from __future__ import annotations

import numpy as np

from ..task import AlsoRight, Exercise, Probe, Task
from . import mistakes, mistakes_logits, properties, references


def _rows(rng, queries, keys, spread=1.5, zeros=False):
    logits = rng.normal(1.0, spread, (queries, keys))
    weights = np.exp(logits - logits.max(1, keepdims=True))
    if zeros:  # some weights are exactly 0, as after a mask
        weights[weights < np.quantile(weights, 0.25, axis=1, keepdims=True)] = 0.0
    return weights / weights.sum(1, keepdims=True)


def _round_rows(rng, queries, keys):
    """Rows in steps of a twentieth, no weight 0; no two columns have the same sum."""
    while True:
        rows = (1 + rng.multinomial(20 - keys, np.ones(keys) / keys, size=queries)) / 20
        sums = np.sort(rows.sum(0))
        if np.diff(sums).min() > 0.01 and len(np.unique(rows, axis=0)) == queries:
            return rows


def _probes_cosine(rng):
    return [
        Probe({"rows": _round_rows(rng, 4, 3)}),
        Probe({"rows": _rows(rng, 7, 12)}),
        Probe({"rows": _rows(rng, 16, 9)}),
        Probe({"rows": _rows(rng, 40, 5)}, measure="tensor"),  # 1600 pairs, 200 weights
        Probe({"rows": _rows(rng, 6, 5)}, measure="lines"),
        Probe({"rows": _rows(rng, 12, 5)}, measure="lines"),
    ]


def _probes_js(rng):
    first, zeros = _round_rows(rng, 3, 4), _rows(rng, 2, 11, zeros=True)
    zeros[0, 3], zeros[1, 5], zeros[:, 8] = 0.0, 0.0, 0.0  # in p alone, in r alone, in both
    zeros[0, 5], zeros[1, 3] = 0.3, 0.2
    zeros /= zeros.sum(1, keepdims=True)
    long = _rows(rng, 2, 30)
    return [Probe({"p": p, "r": r}) for p, r in ((first[0], first[1]), (long[0], long[1]), (zeros[0], zeros[1]))]


def _probes_positions(rng):
    return [
        Probe({"rows": _round_rows(rng, 3, 4)}),
        Probe({"rows": _rows(rng, 7, 12)}),
        Probe({"rows": np.vstack([_rows(rng, 4, 9, zeros=True), np.eye(9)[2]])}),
    ]


def _logits(rng, queries, keys, dimensions):
    """Products of queries and keys whose mean is 1, so that no part of them is small."""
    q, k = rng.normal(1.0, 0.6, (queries, dimensions)), rng.normal(1.0, 0.6, (keys, dimensions))
    return q @ k.T


def _probes_share(rng):
    return [
        Probe({"logits": np.round(_logits(rng, 3, 4, 2), 1) + 0.0}),
        Probe({"logits": _logits(rng, 12, 7, 3)}),
        Probe({"logits": _logits(rng, 9, 16, 5)}),
    ]


def _probes_queries(rng):
    def keys(number, dimensions, rank):
        mixed = rng.normal(0.0, 1.0, (number, rank)) @ rng.normal(0.0, 1.0, (rank, dimensions))
        return mixed * (0.6 / mixed.std()) + rng.normal(1.0, 0.3, dimensions)

    along = np.zeros((4, 1))
    while np.abs(along - along.mean()).min() < 0.1:  # no key at their mean
        along = rng.choice(np.arange(-10, 11) / 10, (4, 1), replace=False)
    line = along @ np.array([[1.0, 2.0, -1.0]]) + np.array([1.0, 0.5, 1.5])  # in three dimensions
    # rank at most D - 2: then the keys themselves leave a direction free too; M > D, so that rows of U are as long as k's
    return [
        Probe({"k": line, "n": 3}),
        Probe({"k": keys(9, 6, 3), "n": 5}),
        Probe({"k": keys(12, 8, 5), "n": 4}),
    ]


def _between(low, high, name, largest):
    """Return an invariant: every value lies where the quantity can lie."""

    def holds(given, values):
        top = high(given) if callable(high) else high
        outside = [v for v in values[0].ravel() if not low - 1e-4 <= v <= top + 1e-4]
        return f"{name} lies between {low:g} and {largest}; yours is {outside[0]:.4g}." if outside else None

    return holds


def _as_number(function, inputs):
    """Call the function; what is 0 but for rounding becomes 0, so that "always 0" is recognised however it is rounded."""
    value = function(*inputs.values())
    number = isinstance(value, (int, float)) or (hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0)
    return 0.0 if number and abs(float(value)) < 1e-6 else value


TASKS = (
    Task(
        id="04.1",
        title="how different are the maps?",
        minutes=12,
        difficulty=2,
        core=True,
        tensors=True,
        reference=references.cosine_distance,
        probes=_probes_cosine,
        drive=_as_number,
        outputs=(("distance", ""),),
        mistakes=mistakes.COSINE_DISTANCE,
        limits=mistakes.COSINE_LIMITS,
        invariants=(_between(0, 0.5, "The mean distance of rows without negative weights", "1/2"),),
        hints=(
            (
                "A cosine is a dot product of unit vectors u_i. Write the mean over i and i′ of u_i · u_i′ as one dot product of "
                "two means."
            ),
            (
                "The mean over all pairs of u_i · u_i′ is (mean u_i) · (mean u_i′) = |mean u|²: divide each row by its length "
                "first, then average over the queries (axis 0)."
            ),
            "`u = rows / rows.norm(dim=1, keepdim=True)`, and return `(1 - (u.mean(0) ** 2).sum()) / 2`.",
        ),
    ),
    Task(
        id="04.2",
        title="how different are two maps?",
        minutes=8,
        difficulty=1,
        seminar=True,
        tensors=True,
        reference=references.js_divergence,
        probes=_probes_js,
        outputs=(("divergence", ""),),
        mistakes=mistakes.JS_DIVERGENCE,
        invariants=(_between(0, np.log(2), "The divergence", "log 2 = 0.693"),),
        hints=(
            "First the mean map m, then twice the same sum: once for p against m, once for r against m, each with weight 1/2.",
            "`torch.xlogy(x, y)` is x · log y, and 0 where x is 0. So KL(p | m) is the sum of `xlogy(p, p) - xlogy(p, m)`.",
            "`m = (p + r) / 2`; `kl = lambda a: (torch.xlogy(a, a) - torch.xlogy(a, m)).sum()`; return `(kl(p) + kl(r)) / 2`.",
        ),
    ),
    Task(
        id="04.3",
        title="how many positions does a query look at?",
        minutes=8,
        difficulty=1,
        core=True,
        seminar=True,
        tensors=True,
        reference=references.effective_positions,
        probes=_probes_positions,
        outputs=(("positions", "(N,)"),),
        mistakes=mistakes.EFFECTIVE_POSITIONS,
        invariants=(_between(1, lambda given: given["rows"].shape[1], "The number of positions", "M"),),
        hints=(
            "The entropy of a row with M equal weights is log M. What turns it into M?",
            "Entropy is −Σ w log w over the positions of one row (axis 1), with 0 log 0 = 0: `torch.xlogy(rows, rows)`.",
            "`entropy = -torch.xlogy(rows, rows).sum(1)`, and return `entropy.exp()`.",
        ),
    ),
    Task(
        id="04.4",
        title="how much is the same for all queries?",
        minutes=12,
        difficulty=2,
        core=True,
        tensors=True,
        reference=references.unary_share,
        probes=_probes_share,
        drive=_as_number,
        outputs=(("share", ""),),
        mistakes=mistakes_logits.UNARY_SHARE,
        invariants=(_between(0, 1.0, "A share", "1"),),
        hints=(
            (
                "Take away what softmax over the keys does not see: one number per row. What all queries share is then one number "
                "per column."
            ),
            (
                "`seen = logits - logits.mean(1, keepdim=True)`. Its column means are the unary logits; laid under every query they "
                "make an (N, M) matrix, whose squares add up to N · |column mean|²."
            ),
            "Return `len(seen) * (seen.mean(0) ** 2).sum() / (seen ** 2).sum()`.",
        ),
    ),
    Task(
        id="04.5",
        title="different queries, one map",
        minutes=12,
        difficulty=3,
        tensors=True,
        reference=references.queries_with_one_map,
        probes=_probes_queries,
        outputs=(("queries", "(n, D)"),),
        mistakes=mistakes_logits.QUERIES_WITH_ONE_MAP,
        diagnose=properties.one_map,
        also_right=(
            AlsoRight(
                "this map is uniform: your queries are at right angles to the keys themselves, so every logit of a row is the "
                "same. At right angles to the *differences* of keys would do, and the map could be any.",
                {"key": "uniform"},
            ),
        ),
        hints=(
            "Two queries have the same map if their logits differ by one number for all keys: (q − q′) · k_j must not depend on j.",
            (
                "So q − q′ is at right angles to every k_j − μ_k. `torch.linalg.svd(k - k.mean(0))` returns U, S, Vh: the last rows "
                "of Vh have singular value 0."
            ),
            (
                "`Vh = torch.linalg.svd(k - k.mean(0)).Vh`; start at any query and go n different steps along `Vh[-1]`, for example "
                "`k.mean(0) + torch.arange(n)[:, None] * Vh[-1]`."
            ),
        ),
    ),
)

EXERCISE = Exercise(
    "04",
    "One map for every query?",
    TASKS,
    answer_modules=("dnl_course.measure",),
    refused=("scipy.spatial", "scipy.stats", "scipy.special", "sklearn", "torchmetrics"),
)
