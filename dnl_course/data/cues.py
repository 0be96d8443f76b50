"""Generated pictures with two questions: one cue for everybody, or a cue for each colour (lesson 04).

A picture has 8 x 8 cells of 6 x 6 pixels in four colours, in no order. In each colour exactly one cell is *marked*: it
has a white frame, and in the frame a white dot in one of the four corners. About the same picture two questions can be asked of every cell::

    "image_cue"   in which corner is the dot of the RED marked cell?            all cells need the same cell
    "per_pixel"   in which corner is the dot of the marked cell of MY colour?   cells of one colour need the same cell

So where each cell should look is known. Only the question differs, never the picture. Everything is NumPy.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np

CELLS = 8
"""Cells in a row and in a column of a picture."""
PATCH = 6
"""Pixels in a row and in a column of a cell."""
COLOURS = {"red": (0.55, 0.05, 0.08), "blue": (0.10, 0.25, 0.80), "green": (0.10, 0.55, 0.20), "yellow": (0.75, 0.60, 0.10)}
"""The colours, darker than white, and from dark to light, so that they differ in grey too."""
CORNERS = ("top left", "top right", "bottom left", "bottom right")
"""The answers 0 to 3: where in its cell the dot lies."""
QUESTIONS = ("image_cue", "per_pixel")
"""What can be asked of every cell."""


class Cues(NamedTuple):
    """Pictures, and all that is known about them.

    Attributes
    ----------
    images : numpy.ndarray
        (n, 3, 48, 48) float32: red, green and blue from 0 to 1, with noise, not clipped.
    colour : numpy.ndarray
        (n, 8, 8) int64: number of each cell's colour, in the order of `COLOURS`.
    marked : numpy.ndarray
        (n, 4) int64: for each colour the position 8 * row + column of its marked cell.
    corner : numpy.ndarray
        (n, 4) int64: for each colour the corner of its dot, in the order of `CORNERS`.
    """

    images: np.ndarray
    colour: np.ndarray
    marked: np.ndarray
    corner: np.ndarray


def pictures(n: int, seed: int | np.random.Generator, *, noise: float = 0.05) -> Cues:
    """Draw pictures.

    Parameters
    ----------
    n : int
        How many, at least 1.
    seed : int or numpy.random.Generator
        A generator goes on where it is: each call draws new pictures.
    noise : float, optional
        Standard deviation of the Gaussian noise on every pixel and channel, at least 0.

    Returns
    -------
    Cues

    Raises
    ------
    ValueError
        `n` below 1, or negative noise.

    Examples
    --------
    >>> drawn = pictures(5, seed=0)
    >>> drawn.images.shape, drawn.images.dtype.name, drawn.colour.shape, drawn.marked.shape
    ((5, 3, 48, 48), 'float32', (5, 8, 8), (5, 4))
    >>> [int(drawn.colour[0].flat[cell]) for cell in drawn.marked[0]]  # one marked cell of each colour
    [0, 1, 2, 3]
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n = {n!r}: how many pictures; allowed is an int of at least 1.")
    if not np.isfinite(noise) or noise < 0:
        raise ValueError(f"noise = {noise}: the standard deviation of the noise must be a number of at least 0.")
    random = np.random.default_rng(seed)
    positions, kinds = CELLS * CELLS, len(COLOURS)
    colour = random.integers(kinds, size=(n, positions))
    marked = random.random((n, positions)).argsort(axis=1)[:, :kinds]  # different cells, in random order
    np.put_along_axis(colour, marked, np.arange(kinds), axis=1)
    corner = random.integers(len(CORNERS), size=(n, kinds))

    cells = np.array(list(COLOURS.values()))[colour][:, :, None, None]  # (n, 64, 1, 1, 3)
    cells = np.repeat(np.repeat(cells, PATCH, axis=2), PATCH, axis=3)  # (n, 64, row, column, 3)
    at = np.arange(n)[:, None], marked
    cells[at] = np.maximum(cells[at], _marks()[corner][..., None])  # (n, 4, row, column, 3), 1 is white
    images = cells.reshape(n, CELLS, CELLS, PATCH, PATCH, 3).transpose(0, 5, 1, 3, 2, 4)
    images = images.reshape(n, 3, CELLS * PATCH, CELLS * PATCH)
    images = images + noise * random.standard_normal(images.shape)
    return Cues(images.astype(np.float32), colour.reshape(n, CELLS, CELLS), marked, corner)


def answers(question: str, drawn: Cues) -> np.ndarray:
    """Return the right answer of every cell.

    Parameters
    ----------
    question : {"image_cue", "per_pixel"}
        See the top of this module.
    drawn : Cues
        What `pictures` returned.

    Returns
    -------
    numpy.ndarray
        (n, 8, 8) int64, numbers of `CORNERS`.

    Raises
    ------
    ValueError
        An unknown question.

    Examples
    --------
    >>> drawn = pictures(1, seed=0)
    >>> len(np.unique(answers("image_cue", drawn)))
    1
    >>> answers("per_pixels", drawn)
    Traceback (most recent call last):
    ...
    ValueError: no question is called 'per_pixels' (did you mean 'per_pixel'?). Valid names: image_cue, per_pixel.
    """
    source = targets(question, drawn)  # (n, 64)
    corner_at = np.zeros_like(source)
    np.put_along_axis(corner_at, drawn.marked, drawn.corner, axis=1)
    return np.take_along_axis(corner_at, source, axis=1).reshape(drawn.colour.shape)


def targets(question: str, drawn: Cues) -> np.ndarray:
    """Return where every cell must look to know its answer: the position of one marked cell.

    Parameters
    ----------
    question, drawn
        As for `answers`.

    Returns
    -------
    numpy.ndarray
        (n, 64) int64: for the cell at position i = 8 * row + column the position j that holds its answer.

    Raises
    ------
    ValueError
        An unknown question.

    Examples
    --------
    >>> drawn = pictures(1, seed=0)
    >>> [len(np.unique(targets(question, drawn))) for question in QUESTIONS]  # one place, or one for each colour
    [1, 4]
    """
    if question not in QUESTIONS:
        near = difflib.get_close_matches(str(question), QUESTIONS, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no question is called {question!r}{meant}. Valid names: {', '.join(QUESTIONS)}.")
    colour = drawn.colour.reshape(len(drawn.colour), -1)  # (n, 64)
    if question == "image_cue":
        colour = np.zeros_like(colour)  # red, whatever one's own colour
    return np.take_along_axis(drawn.marked, colour, axis=1)


def _marks() -> np.ndarray:
    """Return what is white in a marked cell, (4, 6, 6): a frame, and a dot of 2 x 2 pixels in corner 0, 1, 2 or 3."""
    marks = np.ones((len(CORNERS), PATCH, PATCH))
    marks[:, 1:-1, 1:-1] = 0
    half = PATCH // 2
    for corner in range(len(CORNERS)):
        down, right = divmod(corner, 2)
        marks[corner, 1 + (half - 1) * down :, 1 + (half - 1) * right :][: half - 1, : half - 1] = 1
    return marks
