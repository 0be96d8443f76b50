"""What a block costs, as expressions in C and HW, and what Table 5 says about HW (lesson 08; claims F1 to F5 and F7).

The convention that reproduces the printed counts: queries and keys have C/2 channels, values C, no output map W_z, no
biases; one for each multiply-add, one for each entry of the N x N softmax, one for each entry of the sum of two N x N maps
(N = HW). Means, subtractions and the softmax of the N unary logits are left out: they grow no faster than C HW.
"""

from __future__ import annotations

from typing import NamedTuple

import sympy as sp

__all__ = [
    "C", "HW", "TABLE_5", "Cost", "channels_from_table5", "extra_as_vector", "multiply_add_parts", "multiply_adds", "parameters",
    "positions_from_table5", "printed",
]  # fmt: skip

C, HW = sp.symbols("C HW", positive=True)  # channels of the features, positions

VARIANTS = ("nl", "dnl")
# Table 5 of the slides (seed 000): parameters in millions, "FLOPs" in thousand millions; the last digit is rounded
TABLE_5 = {
    "baseline": (sp.Rational(70960, 1000), sp.Rational(69106, 100)),
    "nl": (sp.Rational(71484, 1000), sp.Rational(76507, 100)),
    "dnl": (sp.Rational(71485, 1000), sp.Rational(76516, 100)),
}


class Cost(NamedTuple):
    """A pair of counts: parameters, and multiply-adds for one image."""

    space: sp.Expr
    time: sp.Expr


def _variant(name, value):
    if value not in VARIANTS:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(map(repr, VARIANTS))}.") from None


def parameters(variant) -> sp.Expr:
    """Weights of the block: W_q and W_k (C to C/2), W_v (C to C), for ``dnl`` also W_m (C to 1) (claims F1, F3).

    Parameters
    ----------
    variant : {"nl", "dnl"}

    Returns
    -------
    Expr
        In C.

    Raises
    ------
    ValueError
        Another name.

    Examples
    --------
    >>> parameters("nl"), parameters("dnl") - parameters("nl")
    (2*C**2, C)
    """
    _variant("variant", variant)
    return C * (C / 2) + C * (C / 2) + C * C + (C if variant == "dnl" else 0)


def multiply_add_parts(variant) -> dict[str, sp.Expr]:
    """The multiply-adds of one image, step by step, in the convention at the head of this module.

    Parameters
    ----------
    variant : {"nl", "dnl"}

    Returns
    -------
    dict, str to Expr
        In C and HW; the sum is `multiply_adds`.

    Raises
    ------
    ValueError
        Another name.

    Examples
    --------
    >>> multiply_add_parts("dnl")["products of queries and keys"]
    C*HW**2/2
    """
    _variant("variant", variant)
    parts = {
        "queries": C * (C / 2) * HW,
        "keys": C * (C / 2) * HW,
        "values": C * C * HW,
        "products of queries and keys": (C / 2) * HW**2,
        "softmax": HW**2,
        "weighted sums of values": C * HW**2,
    }
    if variant == "dnl":
        parts |= {"unary logits": C * HW, "sum of the two maps": HW**2}
    return parts


def multiply_adds(variant) -> sp.Expr:
    """Multiply-adds of one image (claims F2, F3), in the convention at the head of this module.

    Parameters
    ----------
    variant : {"nl", "dnl"}

    Returns
    -------
    Expr
        In C and HW.

    Raises
    ------
    ValueError
        Another name.

    Examples
    --------
    >>> sp.factor(multiply_adds("dnl") - multiply_adds("nl"))
    HW*(C + HW)
    """
    return sp.expand(sum(multiply_add_parts(variant).values()))


def printed(which) -> Cost:
    """The counts as the slides (seed 000) print them, letter for letter (claims F1 to F3).

    Both pairs are labelled O^D there. The second, ``2 C^2`` and ``(2 C^2 + (3/2 C + 1) HW) HW``, counts the block without W_m
    and without the second map: it is the non-local block's.

    Parameters
    ----------
    which : {"nl", "dnl"}
        ``"dnl"`` the first pair, ``"nl"`` the second.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        Another name.

    Examples
    --------
    >>> printed("nl").space
    2*C**2
    """
    _variant("which", which)
    if which == "dnl":
        return Cost((2 * C + 1) * C, ((2 * C + 1) * C + (3 * C / 2 + 2) * HW) * HW)
    return Cost(2 * C**2, (2 * C**2 + (3 * C / 2 + 1) * HW) * HW)


def extra_as_vector() -> sp.Expr:
    """What DNL adds to NL if its unary branch is one vector ``sum_j softmax(m)_j v_j`` added to every position (claim F4).

    ``(P + 1 U) V = P V + 1 (U V)``: unary logits, their softmax, one weighted sum, one addition per entry of the output. It
    grows with HW, where the sum of two N x N maps grows with its square.

    Returns
    -------
    Expr
        In C and HW.

    Examples
    --------
    >>> sp.factor(extra_as_vector())
    HW*(3*C + 1)
    """
    return sp.expand(C * HW + HW + C * HW + C * HW)


def channels_from_table5() -> sp.Expr:
    """C from the parameters that NL adds in Table 5, 71.484 - 70.960 = 0.524 million (claim F5).

    Returns
    -------
    Expr
        The positive root of ``2 C^2 = 524000``, 511.86. Each printed number may be off by half a unit of its last digit, so
        that 511.4 to 512.3 are possible.

    Examples
    --------
    >>> round(channels_from_table5())
    512
    """
    added = (TABLE_5["nl"][0] - TABLE_5["baseline"][0]) * 10**6
    return sp.solve(sp.Eq(parameters("nl"), added), C)[0]


def positions_from_table5(row="nl", channels=512, misprint=0) -> sp.Expr:
    """HW from the multiply-adds that a block adds in Table 5 (claim F7): the positive root, exactly.

    NL minus baseline is 74.01 thousand million and gives a side of 97.34, and no whole one within the rounding; 97 x 97
    positions cost 73.01 by the formula, 1.35% less. Both block rows stand 1.00 above baseline plus formula (``misprint=1``
    takes it off: 97.00): a wrong digit, or a convention that counts more for the softmax; the slides do not say which.
    DNL minus NL, 0.09 with two rounded ends, allows sides from 93.2 to 98.7. The table says nothing of the shape of the grid.

    Parameters
    ----------
    row : {"nl", "dnl"}
        ``"nl"``: NL minus baseline. ``"dnl"``: DNL minus NL, which no misprint of both rows changes.
    channels : int
        C.
    misprint : int or Rational
        What to take off the printed difference, in thousand millions.

    Returns
    -------
    Expr

    Raises
    ------
    ValueError
        Another name; channels below 1; nothing left to explain.

    Examples
    --------
    >>> side = sp.sqrt(positions_from_table5("nl"))
    >>> round(float(side), 2), round(side)
    (97.34, 97)
    """
    _variant("row", row)
    if isinstance(channels, bool) or not isinstance(channels, (int, sp.Integer)) or channels < 1:
        raise ValueError(f"channels is {channels!r}; allowed is a whole number of at least 1.") from None
    before = {"nl": "baseline", "dnl": "nl"}[row]
    formula = multiply_adds("nl") if row == "nl" else multiply_adds("dnl") - multiply_adds("nl")
    difference = TABLE_5[row][1] - TABLE_5[before][1]
    if not misprint < difference:
        raise ValueError(f"misprint is {misprint}; allowed is less than the printed difference, {float(difference)}.") from None
    added = (difference - sp.Rational(misprint)) * 10**9
    return sp.solve(sp.Eq(formula.subs(C, channels), added), HW)[0]
