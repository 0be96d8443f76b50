"""Generated pictures in regions, and two things to average in them: a union and an intersection (lesson 07, claim D10).

A picture has 10 x 10 positions in four regions of different kinds: each position belongs to the nearest of four random
points. A position is on the *boundary* if one of its four neighbours lies in another region. It shows where it is by
four noisy numbers, its features: three for its kind (the four codes are the corners of a tetrahedron and add up to 0),
and one that is 1 on the boundary and 0 elsewhere. It also carries a *signal*, a number drawn from the normal
distribution that nothing else depends on. Two answers can be asked of every position i::

    "union"          mean signal of my region  +  mean signal of the boundary        weights that add up to 2
    "intersection"   mean signal of those positions of my region that lie on the boundary           add up to 1

So the map that gives the right answer is known: `weights` returns it. Everything is NumPy.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np

SIDE = 10
"""Positions in a row and in a column of a picture."""
KINDS = 4
"""Regions of a picture, each of another kind."""
SMALLEST = 10
"""Positions that each region has at least."""
CODES = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
"""What the first three features of each kind are without noise: of length 1, and their sum is 0."""
NOISE = 0.05
"""Standard deviation of the noise on every feature, if nothing else is said."""
TARGETS = ("union", "intersection")
"""What can be asked of every position."""


class Regions(NamedTuple):
    """Pictures, and all that is known about them. N = 100 positions, in the order 10 * row + column.

    Attributes
    ----------
    kind : numpy.ndarray
        (n, 10, 10) int64, from 0 to 3: the kind of each position's region.
    boundary : numpy.ndarray
        (n, 10, 10) bool: has it a neighbour (left, right, above, below) in another region?
    features : numpy.ndarray
        (n, 100, 4) float32: the code of its kind, and 1 on the boundary or else 0, with noise.
    signal : numpy.ndarray
        (n, 100, 1) float32: what is averaged, of mean 0 and variance 1.
    """

    kind: np.ndarray
    boundary: np.ndarray
    features: np.ndarray
    signal: np.ndarray


def pictures(n: int, seed: int | np.random.Generator, *, noise: float = NOISE) -> Regions:
    """Draw pictures.

    Parameters
    ----------
    n : int
        How many, at least 1.
    seed : int or numpy.random.Generator
        A generator goes on where it is: each call draws new pictures.
    noise : float, optional
        Standard deviation of the Gaussian noise on every feature, at least 0.

    Returns
    -------
    Regions

    Raises
    ------
    ValueError
        `n` below 1, or negative noise.

    Examples
    --------
    >>> drawn = pictures(5, seed=0)
    >>> drawn.kind.shape, drawn.boundary.shape, drawn.features.shape, drawn.signal.shape
    ((5, 10, 10), (5, 10, 10), (5, 100, 4), (5, 100, 1))
    >>> np.unique(drawn.kind[0]).tolist()
    [0, 1, 2, 3]
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n = {n!r}: how many pictures; allowed is an int of at least 1.")
    if not np.isfinite(noise) or noise < 0:
        raise ValueError(f"noise = {noise}: the standard deviation of the noise must be a number of at least 0.")
    random = np.random.default_rng(seed)
    kind = np.empty((0, SIDE, SIDE), np.int64)
    while len(kind) < n:  # those with a region too small are drawn again
        drawn = _nearest(SIDE * random.random((2 * n, KINDS, 2)))
        sizes = (drawn[..., None] == np.arange(KINDS)).sum(axis=(1, 2))  # (2 n, 4)
        kind = np.concatenate([kind, drawn[sizes.min(axis=1) >= SMALLEST]])
    kind = kind[:n]
    boundary = _boundary(kind)

    flat = kind.reshape(n, -1)  # (n, 100)
    shown = np.concatenate([CODES[flat], boundary.reshape(n, -1, 1)], axis=2)  # (n, 100, 4)
    features = shown + noise * random.standard_normal(shown.shape)
    signal = random.standard_normal((*flat.shape, 1))
    return Regions(kind, boundary, features.astype(np.float32), signal.astype(np.float32))


def weights(target: str, drawn: Regions) -> np.ndarray:
    """Return the map that gives the right answers: row i holds the weights with which position i adds signals up.

    Parameters
    ----------
    target : {"union", "intersection"}
        See the top of this module.
    drawn : Regions
        What `pictures` returned.

    Returns
    -------
    numpy.ndarray
        (n, 100, 100) float64, nothing negative; rows add up to 2 for "union" and to 1 for "intersection".

    Raises
    ------
    ValueError
        An unknown target.

    Examples
    --------
    >>> drawn = pictures(1, seed=0)
    >>> [weights(target, drawn).sum(axis=2).round(9).max().item() for target in TARGETS]
    [2.0, 1.0]
    """
    _check(target)
    flat = drawn.kind.reshape(len(drawn.kind), -1)  # (n, N)
    mine = flat[:, :, None] == flat[:, None, :]  # (n, N, N)
    boundary = drawn.boundary.reshape(len(flat), 1, -1)  # (n, 1, N)
    if target == "union":
        return _shares(mine) + _shares(boundary)
    return _shares(mine & boundary)  # each region has a neighbour, so it has a boundary


def answers(target: str, drawn: Regions) -> np.ndarray:
    """Return the right answer of every position, the same as ``weights(target, drawn) @ drawn.signal``.

    Parameters
    ----------
    target, drawn
        As for `weights`.

    Returns
    -------
    numpy.ndarray
        (n, 100) float32.

    Raises
    ------
    ValueError
        An unknown target.

    Examples
    --------
    >>> drawn = pictures(1, seed=0)
    >>> [len(np.unique(answers(target, drawn).round(5))) for target in TARGETS]  # the same for all of a region
    [4, 4]
    """
    _check(target)
    flat, boundary = drawn.kind.reshape(len(drawn.kind), -1), drawn.boundary.reshape(len(drawn.kind), 1, -1)
    of_kind = flat[:, None, :] == np.arange(KINDS)[:, None]  # (n, 4, N)
    chosen = _shares(of_kind if target == "union" else of_kind & boundary)
    means = chosen @ drawn.signal  # (n, 4, 1): one for each region, so that no (N, N) map is made
    if target == "union":
        means = means + _shares(boundary) @ drawn.signal
    return np.take_along_axis(means[..., 0], flat, axis=1).astype(np.float32)


def _check(target: str) -> None:
    if target not in TARGETS:
        near = difflib.get_close_matches(str(target), TARGETS, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no target is called {target!r}{meant}. Valid names: {', '.join(TARGETS)}.")


def _nearest(points: np.ndarray) -> np.ndarray:
    """Return which of a picture's points (n, 4, 2) is nearest to each position: (n, 10, 10)."""
    centres = np.arange(SIDE) + 0.5
    rows = (centres - points[..., :1]) ** 2  # (n, 4, 10)
    columns = (centres - points[..., 1:]) ** 2
    return (rows[..., :, None] + columns[..., None, :]).argmin(axis=1)


def _boundary(kind: np.ndarray) -> np.ndarray:
    """Return which positions have a neighbour of another kind: (n, 10, 10)."""
    found = np.zeros(kind.shape, bool)
    below, right = kind[:, 1:] != kind[:, :-1], kind[:, :, 1:] != kind[:, :, :-1]
    found[:, 1:] |= below
    found[:, :-1] |= below
    found[:, :, 1:] |= right
    found[:, :, :-1] |= right
    return found


def _shares(mask: np.ndarray) -> np.ndarray:
    """Return equal weights on what a row of the mask chooses."""
    return mask / mask.sum(axis=-1, keepdims=True)
