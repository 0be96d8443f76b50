"""What must hold of every answer of exercise 05, said where no known mistake fits; values and inputs are numbers at a point."""

from __future__ import annotations

import numpy as np

from . import references


def _is_zero(numbers, *like) -> bool:
    """Zero to seven digits, against the size of what was computed with."""
    return np.abs(numbers).max() <= 1e-7 * max(1.0, *(np.abs(x).max() for x in like))


def adds_up(inputs, values):
    """05.2: the four terms are Q Kᵀ."""
    left = sum(values) - inputs["Q"] @ inputs["K"].T
    if _is_zero(left, *values):
        return None
    i, j = np.unravel_index(np.abs(left).argmax(), left.shape)
    return f"Your four terms do not add up to Q Kᵀ: for the numbers below, entry [{i}, {j}] of their sum is {left[i, j]:+.4g} off."


def rows_sum_to_zero(inputs, values):
    """05.3: of all matrices with this softmax, the one whose rows sum to 0."""
    (mine,), S = values, inputs["S"]
    if _is_zero(mine.sum(1), mine):
        return None
    apart = mine - S
    if _is_zero(apart - apart[:, :1], mine, S):
        return "Your matrix has the same softmax over j, but its rows do not sum to 0: take off each row's mean."
    row = np.abs(mine.sum(1)).argmax()
    return f"Every row is to sum to 0; for the numbers below, row {row} of yours sums to {mine[row].sum():.4g}."


def means_are_zero(inputs, values):
    """05.5, 05.6: every row and every column has mean 0."""
    (mine,) = values
    for axis, word in ((1, "row"), (0, "column")):
        means = mine.mean(axis)
        if not _is_zero(means, mine):
            worst = np.abs(means).argmax()
            found = f"for the numbers below, {word} {worst} of yours has {means[worst]:.4g}"
            return f"Every row and every column of the answer has mean 0; {found}."
    return None


def as_the_rows_say(inputs, values):
    """05.4: say why a pair has the same attention, or why not."""
    L1, L2 = inputs["L1"], inputs["L2"]
    right = references.same_attention(L1, L2)
    if bool(values[0]) == right:
        return None
    difference = (L1 - L2).expand()
    if right:
        return "Your function says False for the pair below, though no row of L1 − L2, expanded, depends on j."
    row = next(r for r in range(L1.rows) if len({*difference.row(r)}) > 1)
    entries = ", ".join(map(str, difference.row(row)))
    return f"Your function says True for the pair below, but row {row} of L1 − L2 is not constant: it holds {entries}."
