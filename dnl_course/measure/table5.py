"""The printed costs of the block and Table 5, as numbers beside our own count (lesson 08; claims F1 to F7).

The same formulas as expressions, and what the table says about C and HW: `dnl_course.symbolic.complexity`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from dnl_course.measure.complexity import count

__all__ = ["Table5Row", "extra_as_vector", "printed_extra", "printed_multiply_adds", "printed_parameters", "table_5"]


def _sizes(variant, channels, positions=1) -> None:
    if variant not in ("nl", "dnl"):
        raise ValueError(f"variant is {variant!r}; allowed are 'nl', 'dnl'.") from None
    for name, value in (("channels", channels), ("positions", positions)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; allowed is a whole number of at least 1.") from None
    if channels % 2:
        raise ValueError(f"channels is {channels}; allowed is an even number: queries have half as many.") from None


def printed_parameters(variant, channels) -> int:
    """Return 2 C**2 for "nl", (2 C + 1) C for "dnl" (claims F1, F3; the slides label both pairs O^D).

    Raises
    ------
    ValueError
        Another variant; channels that are odd or below 2.

    Examples
    --------
    >>> printed_parameters("nl", 512), printed_parameters("dnl", 512)
    (524288, 524800)
    """
    _sizes(variant, channels)
    return 2 * channels**2 if variant == "nl" else (2 * channels + 1) * channels


def printed_multiply_adds(variant, channels, positions) -> int:
    """Return what the slides print for one image: (2 C**2 + (3/2 C + 1) N) N, or ((2 C + 1) C + (3/2 C + 2) N) N.

    1 for a multiply-add, 1 for each entry of the N x N softmax, for "dnl" 1 for each entry of the sum of two N x N maps
    (claims F2, F3). No output map W_z, no biases; means, subtractions and the softmax of N unary logits are left out.

    Raises
    ------
    ValueError
        Another variant; channels that are odd or below 2; positions below 1.

    Examples
    --------
    >>> f"{printed_multiply_adds('nl', 512, 97 * 97) / 1e9:.2f}"  # Table 5 has 74.01
    '73.01'
    """
    _sizes(variant, channels, positions)
    C, N = channels, positions
    if variant == "nl":
        return (2 * C**2 + (3 * C // 2 + 1) * N) * N
    return ((2 * C + 1) * C + (3 * C // 2 + 2) * N) * N


def printed_extra(channels, positions) -> int:
    """Return what "dnl" adds to "nl" as printed: C N for the unary logits, N**2 for the sum of two maps (claim F4).

    Examples
    --------
    >>> f"{printed_extra(512, 97 * 97) / 1e9:.4f}"
    '0.0933'
    """
    return printed_multiply_adds("dnl", channels, positions) - printed_multiply_adds("nl", channels, positions)


def extra_as_vector(channels, positions) -> int:
    """Return what "dnl" needs to add to "nl": its unary branch is one vector, added to every position (claims E3, F4).

    3 C N + N: unary logits, their softmax, one weighted sum of the values, one sum for each entry of the result.

    Examples
    --------
    >>> f"{extra_as_vector(512, 97 * 97) / 1e9:.4f}"
    '0.0145'
    """
    _sizes("dnl", channels, positions)
    return (3 * channels + 1) * positions


class Table5Row(NamedTuple):
    """Our count beside the printed one: parameters in millions, operations in thousand millions."""

    parameters: float
    printed_parameters: float
    operations: float
    printed_operations: float


def table_5(size=769) -> dict[str, Table5Row]:
    """Return the rows "baseline", "nl" and "dnl" of Table 5, ours beside the printed (claims F5 to F7).

    Parameters are those of `SegmentationNet` with ResNet-101. Operations: the baseline counted in convention "table5"
    on one crop, both heads; for the other rows the printed formula of the block on top.

    Parameters
    ----------
    size : int, optional
        Side of the crop in pixels.

    Returns
    -------
    dict of str to Table5Row

    Notes
    -----
    For 769: 691.06 (printed 691.06), 764.07 (765.07) and 764.17 (765.16). Both block rows are printed 1.00 higher than
    baseline plus formula. That is a wrong digit, or another convention: the softmax would have to count 12.2 to 12.4 for
    an entry, if nothing else did. The table does not say.
    """
    from dnl_course.nn.segmentation import SegmentationNet
    from dnl_course.symbolic.complexity import TABLE_5  # sympy: only who asks for the table waits for it

    with torch.device("meta"):
        nets = {row: SegmentationNet("resnet101", block=None if row == "baseline" else row).train() for row in TABLE_5}
    baseline = count(nets["baseline"], (1, 3, size, size)).total("table5")
    positions = (-(-size // 8)) ** 2
    rows = {}
    for row, net in nets.items():
        block = 0 if row == "baseline" else printed_multiply_adds(row, net.width, positions)
        parameters = sum(p.numel() for p in net.parameters())
        printed = map(float, TABLE_5[row])
        rows[row] = Table5Row(parameters / 1e6, next(printed), (baseline + block) / 1e9, next(printed))
    return rows
