"""Feature maps as lists of positions, and back (lesson 03).

Modules speak (B, C, *spatial), the equations (B, N, C): N = T in a sequence, H*W in an image, T*H*W in a clip. The last
spatial axis runs fastest, so position ``n`` of an image is pixel ``(n // W, n % W)``.
"""

from __future__ import annotations

import math

import torch

__all__ = ["from_positions", "to_positions"]


def to_positions(x: torch.Tensor) -> torch.Tensor:
    """Lay the positions of a feature map in a row.

    Parameters
    ----------
    x : (B, C, *spatial)
        At least one spatial axis. Not modified.

    Returns
    -------
    (B, N, C)
        A view of ``x`` where its strides allow one.

    Raises
    ------
    TypeError, ValueError
        x is no tensor, or has no spatial axis.

    Examples
    --------
    >>> import torch
    >>> to_positions(torch.arange(12).reshape(1, 2, 2, 3))[0, :4]  # channels of the first four pixels
    tensor([[0, 6],
            [1, 7],
            [2, 8],
            [3, 9]])
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x is of type {type(x).__name__}; allowed is a tensor (B, C, *spatial).") from None
    if x.ndim < 3:
        raise ValueError(
            f"x has {x.ndim} axes, shape {tuple(x.shape)}; allowed is (B, C, *spatial) with at least one spatial axis."
        ) from None
    return x.flatten(2).transpose(1, 2)  # (B, N, C)


def from_positions(y: torch.Tensor, spatial) -> torch.Tensor:
    """Lay positions out as a feature map: the inverse of `to_positions`.

    Parameters
    ----------
    y : (B, N, C)
        Not modified.
    spatial : sequence of int
        The spatial sizes, whose product is N: ``x.shape[2:]``.

    Returns
    -------
    (B, C, *spatial)
        A view of ``y`` where its strides allow one; then the channels lie next to each other in memory.

    Raises
    ------
    TypeError, ValueError
        y is no tensor of three axes, or ``spatial`` does not hold N positions.

    Examples
    --------
    >>> import torch
    >>> x = torch.randn(2, 5, 3, 4)
    >>> torch.equal(from_positions(to_positions(x), (3, 4)), x)
    True
    """
    if not isinstance(y, torch.Tensor):
        raise TypeError(f"y is of type {type(y).__name__}; allowed is a tensor (B, N, C).") from None
    if y.ndim != 3:
        raise ValueError(f"y has {y.ndim} axes, shape {tuple(y.shape)}; allowed is (B, N, C).") from None
    spatial = tuple(spatial)
    if not spatial or math.prod(spatial) != y.shape[1]:
        raise ValueError(
            f"spatial is {spatial}, which holds {math.prod(spatial) if spatial else 'no'} positions, and y of shape "
            f"{tuple(y.shape)} has N = {y.shape[1]}; use the x.shape[2:] of the map that y was made from."
        ) from None
    return y.transpose(1, 2).reshape(y.shape[0], y.shape[2], *spatial)  # (B, C, *spatial)
