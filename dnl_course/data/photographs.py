"""Photographs with known clean values: the pictures that the lessons spoil with noise and repair (lesson 01 first).

All of them ship inside the scikit-image wheel, so nothing is downloaded. They come back as float64 in [0, 1], grey
(H, W) or in colour (H, W, 3), cut out and area-averaged down as asked. Noise is added here too: Gaussian, from a
seed, never clipped. `CREDITS` says who took each picture and under which terms it may be shown.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

import numpy as np


class Credit(NamedTuple):
    """Who made a photograph and under which terms it may be shown, as scikit-image states them."""

    title: str
    author: str
    licence: str
    source: str


CREDITS: dict[str, Credit] = {
    "astronaut": Credit("Eileen Collins, astronaut", "NASA", "public domain", "https://flic.kr/p/r9qvLn"),
    "brick": Credit("Brick wall", "CC0 Textures", "CC0 1.0", "https://cc0textures.com/view.php?tex=Bricks25"),
    "camera": Credit(
        "Photographer with a camera",
        "Lav Varshney",
        "CC0 1.0",
        "https://github.com/scikit-image/scikit-image/issues/3927",
    ),
    "chelsea": Credit("Chelsea the cat", "Stefan van der Walt", "CC0 1.0", "scikit-image"),
    "clock": Credit("Wall clock, blurred by motion", "Stefan van der Walt", "public domain", "scikit-image"),
    "coffee": Credit("Coffee cup", "Rachel Michetti, courtesy of Pikolo Espresso Bar", "CC0 1.0", "scikit-image"),
    "coins": Credit(
        "Greek coins from Pompeii",
        "Brooklyn Museum",
        "no known copyright restrictions",
        "https://www.brooklynmuseum.org/opencollection/archives/image/51611",
    ),
    "grass": Credit("Grass", "linolafett", "CC0 1.0", "https://www.deviantart.com/linolafett/art/Grass-01-434853879"),
    "gravel": Credit("Gravel", "CC0 Textures", "CC0 1.0", "https://cc0textures.com/view.php?tex=Gravel04"),
    "rocket": Credit(
        "Launch of DSCOVR on a Falcon 9",
        "SpaceX",
        "public domain",
        "https://www.flickr.com/photos/spacexphotos/16511594820/",
    ),
    "text": Credit(
        "Printed text", "Wikipedia", "no known copyright restrictions", "https://en.wikipedia.org/wiki/File:Corner.png"
    ),
}
"""Credit of each photograph, by name. Those whose terms scikit-image does not state ("moon", "page") are left out."""


def names() -> tuple[str, ...]:
    """Return the names that `photograph` knows, in alphabetical order.

    Examples
    --------
    >>> names()[:3]
    ('astronaut', 'brick', 'camera')
    """
    return tuple(sorted(CREDITS))


def photograph(
    name: str,
    *,
    size: int | tuple[int, int] | None = None,
    crop: tuple[int, int, int, int] | None = None,
    colour: bool = False,
) -> np.ndarray:
    """Return a photograph as float64 in [0, 1].

    Parameters
    ----------
    name : str
        One of `names()`.
    size : int or (int, int), optional
        Height and width in pixels of the result (one number: a square). Each new pixel is the exact area average of
        the old pixels that it covers. Never larger than the picture; applied after `crop`.
    crop : (int, int, int, int), optional
        ``(top, left, height, width)`` of the part to keep, in pixels of the original picture.
    colour : bool
        ``False``: grey, shape (H, W), luminance of the colour picture (`skimage.color.rgb2gray`).
        ``True``: shape (H, W, 3); a grey photograph is repeated in the three channels.

    Returns
    -------
    numpy.ndarray
        A fresh array, (H, W) or (H, W, 3).

    Raises
    ------
    ValueError
        When the name is unknown, when the crop leaves the picture, or when the size asks for enlargement.

    Examples
    --------
    >>> cat = photograph("chelsea", size=(100, 150), colour=True)
    >>> cat.shape, str(cat.dtype)
    ((100, 150, 3), 'float64')
    >>> photograph("camera", crop=(60, 180, 96, 128)).shape
    (96, 128)
    >>> photograph("camra")
    Traceback (most recent call last):
    ...
    ValueError: no photograph is called 'camra' (did you mean 'camera'?). Valid names: astronaut, brick, camera, \
chelsea, clock, coffee, coins, grass, gravel, rocket, text.
    """
    if name not in CREDITS:
        near = difflib.get_close_matches(str(name), names(), n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no photograph is called {name!r}{meant}. Valid names: {', '.join(names())}.")
    import skimage.color
    import skimage.data
    import skimage.util

    image = skimage.util.img_as_float64(getattr(skimage.data, name)())  # (H, W) or (H, W, 3)
    if colour and image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)  # (H, W, 3)
    elif not colour and image.ndim == 3:
        image = skimage.color.rgb2gray(image)  # (H, W)
    if crop is not None:
        top, left, height, width = crop
        inside = 0 <= top and 0 <= left and top + height <= image.shape[0] and left + width <= image.shape[1]
        if not inside or height < 1 or width < 1:
            raise ValueError(
                f"crop (top, left, height, width) = {tuple(crop)} does not fit into {name!r}, "
                f"which has {image.shape[0]} rows and {image.shape[1]} columns."
            )
        image = image[top : top + height, left : left + width]
    if size is not None:
        height, width = (size, size) if np.isscalar(size) else size
        if not (1 <= height <= image.shape[0] and 1 <= width <= image.shape[1]):
            raise ValueError(
                f"size (height, width) = ({height}, {width}) must lie between (1, 1) and "
                f"{image.shape[:2]}: photographs are averaged down, never enlarged."
            )
        image = _area_average(_area_average(image, height, axis=0), width, axis=1)
    return np.ascontiguousarray(image, dtype=np.float64).copy()


def add_noise(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Return ``image + n`` with independent Gaussian noise n of mean 0 and standard deviation `sigma`.

    The result is **not clipped** to [0, 1]: clipping would make the noise depend on the picture, with a mean that is
    not 0 in the dark and in the bright parts. The seed alone decides the noise; NumPy's global generator is neither
    used nor changed.

    Parameters
    ----------
    image : numpy.ndarray
        Any shape; left as it is.
    sigma : float
        Standard deviation of the noise, in grey levels of [0, 1]; at least 0.
    seed : int
        Seed of `numpy.random.default_rng`.

    Returns
    -------
    numpy.ndarray
        float64, same shape.

    Raises
    ------
    ValueError
        When `sigma` is negative or not finite.

    Examples
    --------
    >>> noisy = add_noise(np.full((200, 200), 0.5), sigma=0.1, seed=0)
    >>> print(f"{noisy.mean():.2f} {noisy.std():.2f}")
    0.50 0.10
    >>> bool((add_noise(np.zeros(4), 0.1, seed=7) == add_noise(np.zeros(4), 0.1, seed=7)).all())
    True
    """
    if not np.isfinite(sigma) or sigma < 0:
        raise ValueError(f"sigma = {sigma}: the standard deviation of the noise must be a number of at least 0.")
    image = np.asarray(image, dtype=np.float64)
    return image + sigma * np.random.default_rng(seed).standard_normal(image.shape)


def _area_average(image: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Average `image` down to `length` along `axis`: each new cell is the mean of the interval that it covers."""
    old = image.shape[axis]
    if length == old:
        return image
    moved = np.moveaxis(image, axis, 0)  # (old, ...)
    total = np.concatenate([np.zeros_like(moved[:1]), np.cumsum(moved, axis=0)])  # (old + 1, ...), integral from 0
    edges = np.arange(length + 1) * (old / length)  # (length + 1,), in old pixels
    whole = np.minimum(edges.astype(int), old - 1)
    part = (edges - whole).reshape(-1, *[1] * (moved.ndim - 1))
    at_edges = total[whole] + part * moved[whole]  # integral up to each edge
    return np.moveaxis(np.diff(at_edges, axis=0) * (length / old), 0, axis)
