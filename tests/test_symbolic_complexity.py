"""Counts as expressions: the printed ones, a count by loops, networks of the package, and Table 5 (claims F1 to F5, F7)."""

import math

import pytest
import sympy as sp
import torch

from dnl_course.symbolic.complexity import (
    HW,
    TABLE_5,
    C,
    channels_from_table5,
    extra_as_vector,
    multiply_add_parts,
    multiply_adds,
    parameters,
    positions_from_table5,
    printed,
)
from dnl_course.symbolic.verify import verify


@pytest.mark.parametrize("variant", ["nl", "dnl"])
def test_the_printed_counts_hold_in_their_convention(variant):
    assert verify(parameters(variant) - printed(variant).space).expanded
    assert verify(multiply_adds(variant) - printed(variant).time).expanded


def test_the_second_printed_pair_is_not_the_disentangled_block():
    """The slides label both pairs O^D (claim F3)."""
    space, time = verify(parameters("dnl") - printed("nl").space), verify(multiply_adds("dnl") - printed("nl").time)
    assert not space and space.value == space.counterexample[C]
    c, n = (time.counterexample[symbol] for symbol in (C, HW))
    assert not time and time.value == c * n + n**2


@pytest.mark.parametrize("variant", ["nl", "dnl"])
@pytest.mark.parametrize(("c", "n"), [(2, 3), (6, 5)])
def test_the_counts_by_loops(variant, c, n):
    """One by one: every product that a matrix product needs, every entry of the softmax and of the sum of two maps."""
    half, count = c // 2, 0
    for out in (half, half, c, 1)[: 4 if variant == "dnl" else 3]:  # queries, keys, values, unary logits
        for _position in range(n):
            for _row in range(out):
                count += c
    for _query in range(n):
        for _key in range(n):
            count += half + 1 + c  # q.k, softmax, one key's share of the output
            count += variant == "dnl"  # the second map
    assert count == multiply_adds(variant).subs({C: c, HW: n}) == sum(multiply_add_parts(variant).values()).subs({C: c, HW: n})


def test_the_parameters_are_those_of_layers():
    c = 12
    layers = [torch.nn.Linear(c, width, bias=False) for width in (c // 2, c // 2, c, 1)]  # W_q, W_k, W_v, W_m
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in layers]
    assert sum(sizes[:3]) == parameters("nl").subs(C, c) and sum(sizes) == parameters("dnl").subs(C, c)


def test_what_the_disentangled_block_adds():
    assert verify(multiply_adds("dnl") - multiply_adds("nl") - C * HW - HW**2)
    at = {C: 512, HW: 97**2}
    assert float((multiply_adds("dnl") - multiply_adds("nl")).subs(at)) == 93_346_689 == 512 * 9409 + 9409**2
    assert float(extra_as_vector().subs(at)) == 14_461_633 == (3 * 512 + 1) * 9409  # claim F4: six times less
    # (P + 1 U) V = P V + 1 (U V), at a small size
    P, U, V = (sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{letter}{i}{j}")) for letter, rows, columns in
               (("P", 3, 3), ("U", 1, 3), ("V", 3, 2)))  # fmt: skip
    assert verify((P + sp.ones(3, 1) * U) * V - P * V - sp.ones(3, 1) * (U * V))


def test_table_5_as_printed():
    assert {row: (str(float(m)), str(float(g))) for row, (m, g) in TABLE_5.items()} == {
        "baseline": ("70.96", "691.06"), "nl": ("71.484", "765.07"), "dnl": ("71.485", "765.16"),
    }  # fmt: skip


def test_512_channels():
    root = channels_from_table5()
    assert 2 * root**2 == 524_000 and round(root) == 512
    assert round(float(parameters("nl").subs(C, 512)) / 1e6, 3) == 0.524
    # each printed number may be off by 0.0005: half a unit of its last digit
    low, high = (math.sqrt((0.524 + off) * 1e6 / 2) for off in (-0.001, 0.001))
    assert [c for c in range(300, 700) if low < c < high] == [512]
    # 512 more for W_m is 0.0005 million: seen as 0.001 or 0.000 after rounding
    assert parameters("dnl").subs(C, 512) - parameters("nl").subs(C, 512) == 512


def test_97_by_97_positions():
    """NL minus baseline, 74.01 thousand million, gives a side of 97.34: no square grid exactly, 97 the nearest (F7)."""
    by_hand = (-(2 * 512**2) + math.sqrt((2 * 512**2) ** 2 + 4 * 769 * 74.01e9)) / (2 * 769)
    root = positions_from_table5("nl")
    assert math.isclose(float(root), by_hand, rel_tol=1e-12)
    assert round(math.sqrt(by_hand), 2) == 97.34 and round(sp.sqrt(root)) == 97
    cost = {side: float(multiply_adds("nl").subs({C: 512, HW: side**2})) / 1e9 for side in (96, 97, 98)}
    assert {side: round(g, 2) for side, g in cost.items()} == {96: 70.15, 97: 73.01, 98: 75.97}
    assert not any(74.00 <= g <= 74.02 for g in cost.values()) and round(73.01 / 74.01 - 1, 4) == -0.0135
    # both rows stand 1.00 above baseline + formula
    for row, formula in (("nl", multiply_adds("nl")), ("dnl", multiply_adds("dnl"))):
        above = float(TABLE_5[row][1] - TABLE_5["baseline"][1]) - float(formula.subs({C: 512, HW: 97**2})) / 1e9
        assert abs(above - 1) < 0.01
    assert abs(float(sp.sqrt(positions_from_table5("nl", misprint=1))) - 97) < 0.01


def test_what_dnl_minus_nl_says():
    """0.09, each end rounded to 0.01: sides from 93.2 to 98.7, with 97 among them."""
    root = float(positions_from_table5("dnl"))
    assert math.isclose(512 * root + root**2, 0.09e9, rel_tol=1e-12) and 96 < math.sqrt(root) < 97
    assert 0.08 < (512 * 9409 + 9409**2) / 1e9 < 0.10
    sides = [float(sp.sqrt(positions_from_table5("dnl", misprint=sp.Rational(off, 100)))) for off in (1, -1)]
    assert [round(side, 1) for side in sides] == [93.2, 98.7]


def test_wrong_names_are_refused():
    for function in (parameters, multiply_adds, multiply_add_parts, printed):
        with pytest.raises(ValueError, match="'dnl_star'; allowed are 'nl', 'dnl'"):
            function("dnl_star")
    with pytest.raises(ValueError, match="row is 'baseline'"):
        positions_from_table5("baseline")
    for channels in (0, 512.0, True, "512"):
        with pytest.raises(ValueError, match="channels is"):
            positions_from_table5(channels=channels)
    with pytest.raises(ValueError, match="misprint is 80; allowed is less than the printed difference, 74.01"):
        positions_from_table5(misprint=80)
