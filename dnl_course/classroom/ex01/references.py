"""The right answers of exercise 01, with switches; throwing one gives a known mistake (``mistakes.py``)."""

from __future__ import annotations

import numpy as np


def _patch(image, pixel, size, *, after=(1, 1), corner=False, swapped=False):
    row, column = pixel[::-1] if swapped else pixel
    half = 0 if corner else size // 2
    below, right = (size, size) if corner else (size // 2 + extra for extra in after)
    return image[row - half : row + below, column - half : column + right]


def patch_distance(
    image, i, j, patch_size, *, reduce="mean", root=False, power=2, means_only=False, whole=False, **cut
):
    """Mean squared difference of the patches centred at pixels i and j."""
    a, b = (_patch(image, pixel, patch_size, **cut) for pixel in (i, j))
    if means_only:
        a, b = a.mean(keepdims=True), b.mean(keepdims=True)
    difference = a - b if power == "signed" else np.abs(a - b) ** power
    distance = difference.sum() / patch_size**2 if whole else getattr(difference, reduce)()
    return np.sqrt(distance) if root else distance


def pixel_weights(distances, h, *, scale="h²", sign=-1, power=1, divide="sum"):
    """exp(−d/h²) over all candidates, divided by its sum."""
    weights = np.exp(sign * distances**power / _unit(h, scale))
    total = {
        "nothing": 1.0,
        "sum": weights.sum(),
        "largest": weights.max(),
        "first axis": weights.sum(0),
        "last axis": weights.sum(-1, keepdims=True),
    }[divide]
    return weights / total


def _unit(h, scale):
    """What the distance is divided by."""
    return {"h²": h**2, "h": h, "2h²": 2 * h**2, "1": 1.0, "1/h²": 1 / h**2, "2/h²": 2 / h**2}[scale]


def denoised_pixel(image, pixel, weights, *, reduce="sum", take="all", turn="", whole=False, **cut):
    """Weighted sum of the pixels in the window centred at ``pixel``."""
    window = _patch(image, pixel, len(weights), **cut)
    weights = {"": weights, "flipped": weights[::-1, ::-1], "transposed": weights.T}[turn]
    if take == "mean":
        return window.mean()
    if take == "best":
        return window.flat[weights.argmax()]
    if whole:
        weights = weights[: window.shape[0], : window.shape[1]]
    return getattr(weights * window, reduce)()


def _box_mean(x, size):
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size))
    return windows.mean(axis=(-2, -1))


def nl_means_vectorised(
    image, h, patch_size, patch_distance, *, divide="sum", compare="patches", border="reflect", last=1, own=True, scale="h²"
):
    """Non-local means of every pixel: a loop over shifts, two running sums."""
    t, r = patch_distance, patch_size // 2
    (rows, columns), unit = image.shape, _unit(h, scale)
    padded = np.pad(image, t + r, mode="wrap" if border == "wrap" else "reflect")
    centre = padded[t : t + rows + 2 * r, t : t + columns + 2 * r]
    total, result = np.zeros(image.shape), np.zeros(image.shape)
    for dy in range(-t, t + last):
        for dx in range(-t, t + last):
            if not own and dy == dx == 0:
                continue
            shifted = padded[t + dy : t + dy + rows + 2 * r, t + dx : t + dx + columns + 2 * r]
            if border.startswith("roll"):
                mode = "constant" if border.endswith("zeros") else "reflect"
                shifted = np.pad(np.roll(image, (-dy, -dx), axis=(0, 1)), r, mode=mode)
                centre = np.pad(image, r, mode=mode)
            inner = shifted[r : r + rows, r : r + columns]
            if compare == "pixels":
                distance = (centre[r : r + rows, r : r + columns] - inner) ** 2
            elif compare == "patch means":
                distance = (_box_mean(centre, patch_size) - _box_mean(shifted, patch_size)) ** 2
            else:
                distance = _box_mean((centre - shifted) ** 2, patch_size)
            weight = np.exp(-distance / unit)
            total += weight
            result += weight * inner
    by = {"sum": total, "count": (2 * t + 1) ** 2, "sum over the image": total.sum(), "mean over the image": total.mean()}
    return result / by[divide]


def nl_means_terms(
    patches, h, *, split=True, unary=-1.0, two=2.0, mean=True, norm_power=2, scale="h²", row_term=False, centred=False
):
    """Logits whose softmax over j gives non-local means: a part about the pair, a part about j."""
    if centred:
        patches = patches - patches.mean(axis=0)
    unit = (patches.shape[1] if mean else 1) * _unit(h, scale)
    squared = (patches**2).sum(axis=1)
    pairwise = two * patches @ patches.T / unit
    alone = squared ** (norm_power / 2) / unit
    if not split:
        return pairwise - alone[None, :] - alone[:, None], np.zeros_like(alone)
    if row_term:
        pairwise = pairwise - (squared / unit)[:, None]
    return pairwise, unary * alone
