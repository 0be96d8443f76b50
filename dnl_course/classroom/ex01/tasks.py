"""Exercise 01: non-local means in five functions (lesson 01; Buades, Coll, Morel 2005)."""

from __future__ import annotations

import numpy as np

from ..task import AlsoRight, Exercise, Probe, Task
from . import mistakes, references


def _features(rng, *shape, decimals=None):
    drawn = rng.normal(1.0, 0.6, shape)  # mean 1: with zero-mean inputs a missing centring hides
    return drawn if decimals is None else np.round(drawn, decimals) + 0.0  # no -0.


def _probes_distance(rng):
    # i and j keep a whole patch away from every border, also with row and column exchanged
    return [
        Probe({"image": _features(rng, 9, 8, decimals=1), "i": (4, 3), "j": (3, 5), "patch_size": 3}),
        Probe({"image": _features(rng, 18, 23), "i": (6, 9), "j": (11, 7), "patch_size": 5}),
        Probe({"image": _features(rng, 24, 20), "i": (12, 8), "j": (9, 11), "patch_size": 7}),
    ]


def _probes_weights(rng):
    return [
        Probe({"distances": np.round(rng.uniform(0.05, 1.5, (3, 4)), 2), "h": 0.8}),
        Probe({"distances": rng.uniform(0.0, 2.0, 9), "h": 1.3}),
        Probe({"distances": rng.uniform(0.0, 0.5, (5, 5, 3)), "h": 0.45}),
    ]


def _probes_pixel(rng):
    def weights(size):
        drawn = rng.uniform(0.1, 1.0, (size, size))
        return drawn / drawn.sum()

    return [
        Probe({"image": _features(rng, 8, 9, decimals=1), "pixel": (3, 4), "weights": weights(3)}),
        Probe({"image": _features(rng, 17, 20), "pixel": (7, 9), "weights": weights(5)}),
        Probe({"image": _features(rng, 21, 18), "pixel": (9, 7), "weights": weights(7)}),
    ]


def _probes_vectorised(rng):
    def given(rows, columns, patch_size, t, decimals=None):
        image = _features(rng, rows, columns, decimals=decimals)
        return {"image": image, "h": 0.7, "patch_size": patch_size, "patch_distance": t}

    return [
        Probe(given(7, 8, 3, 2, decimals=1)),
        Probe(given(13, 10, 5, 3)),
        Probe({**given(11, 14, 3, 4), "h": 1.1}),
        Probe(given(12, 12, 3, 2), measure="lines"),
        Probe(given(24, 24, 3, 2), measure="lines"),
        Probe(given(64, 64, 3, 5), measure="memory"),  # not run when the lines grew
    ]


def _probes_terms(rng):
    return [
        Probe({"patches": _features(rng, 4, 9, decimals=1), "h": 0.8}),
        Probe({"patches": _features(rng, 11, 25), "h": 0.6}),
        Probe({"patches": _features(rng, 7, 49), "h": 1.2}),
    ]


def _same_weights(given, values, expected):
    """Tell a wrong split from wrong weights."""
    def softmax(logits):
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    mine, right = (softmax(pairwise + unary) for pairwise, unary in (values, expected))
    if np.allclose(mine, right, rtol=1e-6):
        return (
            "Together your two parts give the right weights, but they are split differently: what contains both "
            "P_i and P_j belongs to the pair, what contains P_j alone to j, what contains P_i alone is dropped."
        )
    return None


TASKS = (
    Task(
        id="01.1",
        title="how different are two patches?",
        minutes=8,
        difficulty=1,
        core=True,
        seminar=True,
        reference=references.patch_distance,
        probes=_probes_distance,
        outputs=(("distance", ""),),
        mistakes=mistakes.PATCH_DISTANCE,
        hints=(
            "Cut both patches out of the image, half a patch to each side of the pixel, then compare them entry by entry.",
            (
                "With `r = patch_size // 2`, the rows of a patch are `row - r` to `row + r`, both included: a slice needs "
                "`row + r + 1` as its end."
            ),
            "`a = image[i[0] - r : i[0] + r + 1, i[1] - r : i[1] + r + 1]`, the same for `b`; return the mean of `(a - b) ** 2`.",
        ),
    ),
    Task(
        id="01.2",
        title="from distances to weights",
        minutes=8,
        difficulty=1,
        core=True,
        seminar=True,
        reference=references.pixel_weights,
        probes=_probes_weights,
        outputs=(("weights", "the shape of distances"),),
        mistakes=mistakes.PIXEL_WEIGHTS,
        hints=(
            "Two steps: an exponential that falls with the distance, then a division that makes the sum 1.",
            "`distances` may have any number of axes; a sum without `axis` runs over all of them.",
            "`weights = np.exp(-distances / h**2)`, and return `weights / weights.sum()`.",
        ),
    ),
    Task(
        id="01.3",
        title="one pixel, denoised",
        minutes=8,
        difficulty=1,
        reference=references.denoised_pixel,
        probes=_probes_pixel,
        outputs=(("grey value", ""),),
        mistakes=mistakes.DENOISED_PIXEL,
        hints=(
            "Cut out the window that has the same size as `weights`, centred at `pixel`.",
            "`weights` has shape (2t+1, 2t+1), so `t = len(weights) // 2`; the weights already sum to 1.",
            "Multiply the window `image[row - t : row + t + 1, column - t : column + t + 1]` by `weights` and add everything up.",
        ),
    ),
    Task(
        id="01.4",
        title="every pixel at once",
        minutes=15,
        difficulty=3,
        core=True,
        reference=references.nl_means_vectorised,
        probes=_probes_vectorised,
        outputs=(("result", "(H, W), like the image"),),
        mistakes=mistakes.NL_MEANS_VECTORISED,
        limits=mistakes.NL_MEANS_LIMITS,
        hints=(
            (
                "Turn the loops round: for one shift (dy, dx), the distance of *every* pixel to its shifted neighbour is one "
                "array expression."
            ),
            (
                "The stub's `padded` has t + r extra pixels on each side. Cut two pieces of size (rows + 2r, columns + 2r) out of "
                "it, one in the middle and one shifted by (dy, dx); `box_mean` of their squared difference is the distance of "
                "every pixel."
            ),
            (
                "Keep two arrays of zeros: add `weight` to one and `weight * shifted[r : r + rows, r : r + columns]` to the other, "
                "for all (2t+1)² shifts; at the end divide the second by the first."
            ),
        ),
    ),
    Task(
        id="01.5",
        title="the part about the pair, the part about j",
        minutes=14,
        difficulty=2,
        core=True,
        reference=references.nl_means_terms,
        probes=_probes_terms,
        outputs=(("pairwise_logits", "(N, N)"), ("unary_logits", "(N,)")),
        mistakes=mistakes.NL_MEANS_TERMS,
        also_right=(
            AlsoRight(
                "you took the mean patch out of every patch first. The weights stay the same; this is where lesson 05 goes.",
                {"centred": True},
            ),
        ),
        explain=_same_weights,
        hints=(
            "Write |P_i − P_j|² out as three terms. Which of them contain j?",
            (
                "|P_i|² is the same for all j, and softmax over j ignores what is the same for all j. Two terms remain; do not "
                "forget the minus sign, the mean over the patch (1/P) and h²."
            ),
            (
                "With `scale = patches.shape[1] * h**2`: the pair `2 * patches @ patches.T / scale`, and for j alone "
                "`-(patches**2).sum(axis=1) / scale`."
            ),
        ),
    ),
)

EXERCISE = Exercise(
    "01", "Non-local means", TASKS, answer_modules=("dnl_course.denoise", "dnl_course._nl_means_core"), refused=("skimage.restoration", "cv2")
)
