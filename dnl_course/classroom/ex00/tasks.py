"""Exercise 00: one small task that shows how a task, a check and a named mistake look (lesson 00)."""

from __future__ import annotations

import numpy as np

from ..task import Exercise, Probe, Task
from .mistakes import MEAN_OF_WINDOW


def mean_of_window(image, pixel, radius, *, after=1, swapped=False, reduce="mean"):
    """Mean of the (2·radius+1)² window centred at ``pixel`` = (row, column)."""
    row, column = pixel[::-1] if swapped else pixel
    window = image[row - radius : row + radius + after, column - radius : column + radius + after]
    return getattr(window, reduce)()


def _probes(rng):
    small = np.round(rng.normal(1.0, 0.6, (7, 8)), 1) + 0.0  # no -0.
    large = rng.normal(1.0, 0.6, (12, 17))
    return [
        Probe({"image": small, "pixel": (3, 4), "radius": 1}),
        Probe({"image": large, "pixel": (4, 7), "radius": 2}),
        Probe({"image": large.T.copy(), "pixel": (8, 3), "radius": 3}),
    ]


TASKS = (
    Task(
        id="00.1",
        title="the mean of a window",
        minutes=4,
        difficulty=1,
        core=True,
        seminar=True,
        reference=mean_of_window,
        probes=_probes,
        outputs=(("mean", ""),),
        mistakes=MEAN_OF_WINDOW,
        hints=(
            "Cut the window out of the image with one slice for the rows and one for the columns.",
            "A slice `a:b` holds `a` but not `b`. A window of radius 1 has three rows: row−1, row, row+1.",
            "`window = image[row - radius : row + radius + 1, column - radius : column + radius + 1]`, then its mean.",
        ),
    ),
)

EXERCISE = Exercise("00", "Start here", TASKS)
