"""Exercise 00: the mistakes again in another style, and other right answers."""

import numpy as np


def _loop(image, pixel, radius, divide=True, after=1):
    total, count = 0.0, 0
    for y in range(pixel[0] - radius, pixel[0] + radius + after):
        for x in range(pixel[1] - radius, pixel[1] + radius + after):
            total, count = total + image[y, x], count + 1
    return total / count if divide else total


WRONG = {
    "00.1": {
        "half_open": [lambda image, pixel, radius: _loop(image, pixel, radius, after=0)],
        "sum": [lambda image, pixel, radius: _loop(image, pixel, radius, divide=False)],
        "x_y_swapped": [lambda image, pixel, radius: _loop(image.T, pixel, radius)],
    },
}

RIGHT = {
    "00.1": [
        _loop,
        lambda image, pixel, radius: np.einsum(
            "ij->", image[pixel[0] - radius : pixel[0] + radius + 1, pixel[1] - radius : pixel[1] + radius + 1]
        ) / (2 * radius + 1) ** 2,
        lambda image, pixel, radius: np.lib.stride_tricks.sliding_window_view(image, (2 * radius + 1,) * 2).mean((2, 3))[
            pixel[0] - radius, pixel[1] - radius
        ],
    ],
}  # fmt: skip
