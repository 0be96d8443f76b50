"""`verify` can tell 0 from what is 0 at some points, from what is nearly 0, and from what it cannot know."""

import random
import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

from dnl_course.symbolic import _expansion, _values
from dnl_course.symbolic.objects import centred, covariance, mean_row, softmax, symbols_matrix
from dnl_course.symbolic.verify import Verified, verify

x, y, z = sp.symbols("x y z", real=True)
s, t = sp.symbols("s t", positive=True)

ZERO = (
    (x + y) ** 3 - x**3 - 3 * x**2 * y - 3 * x * y**2 - y**3,
    (x**2 - y**2) / (x - y) - x - y,
    1 / (x + 1 / (y + 1 / z)) - (y * z + 1) / (x * y * z + x + z),
    sp.exp(x) / (sp.exp(x) + sp.exp(y)) - 1 / (1 + sp.exp(y - x)),
    sp.exp(x / 2 + y / 3) ** 6 - sp.exp(3 * x) * sp.exp(2 * y),
    sp.exp(x + 1) - sp.E * sp.exp(x),
    sp.exp((x + y) ** 2) - sp.exp(x**2) * sp.exp(2 * x * y) * sp.exp(y**2),
    sp.exp(x / y + 1 / y) - sp.exp(x / y) * sp.exp(1 / y),
    sp.cosh(x) ** 2 - sp.sinh(x) ** 2 - 1,
    sp.tanh(x) - (1 - sp.exp(-2 * x)) / (1 + sp.exp(-2 * x)),
    sp.log(sp.exp(x) / (sp.exp(x) + sp.exp(y))) - x + sp.log(sp.exp(x) + sp.exp(y)),
    sp.log(sp.exp(x / 2) / (sp.exp(y) + 1)) - x / 2 + sp.log(sp.exp(y) + 1),
    sp.log(2 * s + 2 * t) - sp.log(2) - sp.log(s + t),
    sp.log(x**2 + 1) - sp.log(3 * x**2 + 3) + sp.log(3),
)

NOT_ZERO = (
    (x + y) ** 2 - x**2 - y**2,
    x / (x + y) - 1,
    sp.exp(x) - 1 - x - x**2 / 2 - x**3 / 6,
    sp.exp(x) / (sp.exp(x) + sp.exp(y)) - sp.exp(x) / (1 + sp.exp(y)),
    sp.exp(-40 * x**2) - sp.exp(-40 * x**2 - y**2),  # both are nearly 0
    (x + sp.Rational(1, 10**60)) ** 2 - x**2 - x * sp.Rational(2, 10**60),  # 1e-120, exactly
    sp.log(x**2 + 1) - sp.log(x**2 + 2),
    sp.sqrt(x**2 + 1) - x,
    sp.pi * x - sp.Rational(355, 113) * x,
)


def name(expr):
    return str(expr)[:40]


@pytest.mark.parametrize("expr", ZERO, ids=name)
def test_what_is_0_is_proved_by_expansion_and_at_points(expr):
    found = verify(expr)
    assert found and found.holds is True and found.expanded is True and found.points >= 3
    assert found.counterexample is None and found.value is None
    assert _expansion.vanishes(expr) is True  # not by way of simplify
    assert verify(expr * (x + 2), points=7, seed=5).points >= 7


@pytest.mark.parametrize("expr", NOT_ZERO, ids=name)
def test_what_is_not_0_comes_back_with_a_point_and_the_value_there(expr):
    found = verify(expr)
    assert not found and found.holds is False and found.expanded is False
    assert set(found.counterexample) == expr.free_symbols
    assert all(isinstance(number, sp.Rational) for number in found.counterexample.values())
    with mpmath.workdps(3000):  # another arithmetic, by hand
        there = mpmath.mpf(sp.lambdify(list(found.counterexample), expr, "mpmath")(
            *(mpmath.mpf(number.p) / number.q for number in found.counterexample.values())))  # fmt: skip
        value = mpmath.mpf(found.value.p) / found.value.q if found.value.is_Rational else mpmath.mpf(str(found.value))
        assert there != 0 and abs(there - value) <= abs(there) * mpmath.mpf(10) ** -13


def test_the_value_of_a_polynomial_is_exact():
    found = verify(x**2 * y / 3 - z)
    a, b, c = (Fraction(str(found.counterexample[symbol])) for symbol in (x, y, z))
    assert Fraction(str(found.value)) == a * a * b / 3 - c


def test_zeros_at_special_points_do_not_fool():
    every = {sp.Rational(p, q) for p in range(-6, 7) for q in range(1, 7)}  # all that the first points are drawn from
    found = verify(sp.Mul(*(x - number for number in every)))
    assert not found and found.counterexample[x] not in every
    for seed in range(3):
        first = verify(x - 10**9, seed=seed).counterexample[x]  # what this seed draws
        assert not verify((x - first) * (x + 1), seed=seed)
        assert not verify(sp.sqrt((x - first) ** 2 + 1) - 1, seed=seed)
        assert not verify((sp.exp(x) - sp.exp(first)) * x, seed=seed)
    assert not verify(sp.Symbol("n", integer=True) ** 2 - sp.Symbol("n", integer=True))  # at 0 and 1


def test_kinks_do_not_fool():
    free = sp.Symbol("w")  # for a real one sqrt(w^2) is Abs(w) at once
    assert not verify(sp.sqrt(free**2) - free)
    assert not verify(sp.sqrt(free**2 - 100 * free + 2500) - (50 - free))  # 0 below 50
    assert verify(sp.sqrt(s**2) - s)


def test_where_expansion_does_not_decide_points_must_and_it_says_so():
    free = sp.Symbol("w")
    found = verify(sp.log(free**2) - 2 * sp.log(free))  # where it is defined
    assert found and not found.expanded and found.points >= 20
    assert repr(found) == "0 at 20 random rational points to 40 digits; no expansion gave 0"
    assert verify(sp.sqrt(x**2 + 1) * sp.sqrt(x**2 + 2) - sp.sqrt(x**4 + 3 * x**2 + 2)).points >= 20


def test_points_meet_the_assumptions():
    kinds = {
        "positive": lambda v: v > 0, "negative": lambda v: v < 0, "integer": lambda v: v.q == 1, "even": lambda v: v % 2 == 0,
        "noninteger": lambda v: v.q > 1, "prime": lambda v: sp.isprime(v), "real": lambda v: True,
    }  # fmt: skip
    for kind, right in kinds.items():
        symbol = sp.Symbol("n", **{kind: True})
        drawn = [verify(symbol - 10**9, seed=seed).counterexample[symbol] for seed in range(12)]
        assert all(map(right, drawn)) and len(set(drawn)) > 2, kind
    with pytest.raises(ValueError, match="no rational number was found that meets the assumptions of n"):
        verify(sp.Symbol("n", irrational=True))


def test_undefined_points_are_drawn_again():
    first = verify(x - 10**9).counterexample[x]
    assert verify(x / (x - first) - 1 - first / (x - first)).points == 3
    assert verify(sp.log(x) + 10).counterexample[x] > 0
    with pytest.raises(ValueError, match="not defined at any of 400 random points"):
        verify(sp.log(-(x**2) - 1))
    with pytest.raises(ValueError, match="divides by something that is 0 everywhere"):
        verify(1 / (sp.expand((x + 1) ** 2) - (x + 1) ** 2))
    with pytest.raises(ValueError, match="nan or infinity"):
        verify(sp.Matrix([[x, sp.zoo]]))


def test_two_symbols_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two different symbols are named x"):
        verify(sp.Symbol("x") - x)
    with pytest.raises(ValueError, match="two different symbols are named s"):
        verify([s, sp.Symbol("s", real=True)])
    assert verify(sp.Symbol("x", real=True) - x)  # the same symbol, made twice


@pytest.mark.parametrize(("expr", "says"), [
    (True, "left - right"), (sp.Eq(x, y), "left - right"), (x > 0, "left - right"), (sp.true, "left - right"),
    ("x - x", "type str"), (None, "NoneType"), (0.5, "type float"), ({x: 0}, "type dict"), (np.zeros(2), "ndarray"),
    (np.float64(0), "float64"), (sp.MatrixSymbol("A", 2, 2), "MatrixSymbol"), ([x, [y, "z"]], "type str"),
    (0.5 * x, "rounded number 0.5"), (sp.Matrix([[x, 1e-3]]), "rounded number"), (sp.I * x, "ImaginaryUnit"),
    (sp.Abs(x) - x, "Abs"), (sp.sin(x), "sin"), (sp.Function("f")(x), r"f\(x\)"), (sp.Piecewise((0, x < 1), (1, True)), "Piecewise"),
    (sp.conjugate(sp.Symbol("w")), "conjugate"), (sp.Symbol("i", imaginary=True), "not a real number"),
    (sp.Symbol("A", commutative=False), "not a real number"), (verify(x - x), "Verified"),
    (sp.Sum(y**y, (y, 1, x)), "type Sum"), (sp.MatrixSymbol("A", 2, 2)[0, 0], "MatrixElement"),
], ids=lambda v: str(v)[:30])  # fmt: skip
def test_wrong_types_are_refused(expr, says):
    with pytest.raises(TypeError, match=says):
        verify(expr)


def test_wrong_arguments_are_refused():
    for empty in ([], (), [[]], sp.Matrix(0, 3, [])):
        with pytest.raises(ValueError, match="nothing to verify"):
            verify(empty)
    for points in (0, -1):
        with pytest.raises(ValueError, match=f"points is {points}"):
            verify(x - x, points=points)
    for points in (2.0, True, "3"):
        with pytest.raises(TypeError, match="points is"):
            verify(x - x, points=points)
    with pytest.raises(TypeError, match="seed is 0.5"):
        verify(x - x, seed=0.5)


def test_a_disagreement_is_an_error(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_expansion, "vanishes", lambda expr: True)
        with pytest.raises(AssertionError, match=re.escape("x - 1 expands to 0 and is")):
            verify(x - 1)
    with monkeypatch.context() as patch:
        patch.setattr(_expansion, "vanishes", lambda expr: False)
        with pytest.raises(AssertionError, match="does not expand to 0 and is 0 at 400 points"):
            verify((x + 1) ** 2 - x**2 - 2 * x - 1)
    with monkeypatch.context() as patch:
        patch.setattr(_values, "defined", lambda *a: ({x: sp.S.One}, sp.S.One))
        with pytest.raises(AssertionError, match="one of the two is wrong"):
            verify((x + 1) ** 2 - x**2 - 2 * x - 1)


def test_the_expansion_alone_decides_at_random():
    rng = random.Random(3)

    def fraction(depth):
        if not depth:
            return rng.choice([x, y, sp.exp(x / 2), sp.exp(-y), sp.Rational(rng.randint(1, 5), 3)])
        a, b = fraction(depth - 1), fraction(depth - 1)
        return rng.choice([a + b, a * b, a - b, a / (b**2 + 1)])

    for _ in range(20):
        a, b = fraction(3), fraction(2)
        assert _expansion.vanishes((a + b) * (a - b) - a**2 + b**2) is True
        assert _expansion.vanishes((a + b) ** 2 - a**2 - b**2 - 2 * a * b + sp.exp(x * y) / 7) is False


def test_matrices_lists_numbers_and_what_is_evaluated():
    found = verify([x - x, sp.Matrix([[0, 0], [0, y - 1]])])
    assert found.entry == (1, 1, 1) and found.value == found.counterexample[y] - 1
    assert verify(sp.Matrix([[0, x]])).entry == (0, 1) and verify(x).entry is None
    assert verify([0, Fraction(0), sp.S.Zero]) and verify(sp.ImmutableMatrix([[x - x]])) and verify((1 + sp.sqrt(2)) ** 2 - 3 - sp.sqrt(8))
    number = verify(Fraction(1, 3))
    assert number.counterexample == {} and number.value == sp.Rational(1, 3) and repr(number) == "not 0: 1/3"
    n = sp.Symbol("n", integer=True)
    assert verify(sp.Derivative(x**3, x) - 3 * x**2) and verify(sp.Sum(n * x, (n, 1, 4)) - 10 * x)
    assert not verify(sp.Sum(n * x, (n, 1, 4)) - 9 * x)


def test_the_same_seed_gives_the_same_answer_and_inputs_stay():
    matrix = sp.Matrix([[x + y, 0]])
    before = matrix.copy()
    assert verify(matrix, seed=4) == verify(matrix, seed=4) != verify(matrix, seed=5)
    assert matrix == before


def test_what_it_prints():
    a, b = symbols_matrix("q", 1, 12)[0, [1, 9]]
    assert repr(verify((x + 1) ** 2 - x**2 - 2 * x - 1)) == "0, by expansion and at 3 random rational points"
    assert repr(verify((x + 1) ** 2 - x**2 - 2 * x - 1, points=1)) == "0, by expansion and at 1 random rational point"
    assert repr(verify(x - x)) == "0, by expansion (no symbols are left to put numbers into)"
    wrong = verify(sp.Matrix([[0, a**2 * b + a * b]]))
    numbers = wrong.counterexample
    assert list(numbers) == [a, b]  # q1_2 before q1_10
    assert repr(wrong) == f"not 0: entry [0, 1], q1_10*q1_2*(q1_2 + 1); at {{q1_2: {numbers[a]}, q1_10: {numbers[b]}}} it is {wrong.value}"
    long = repr(verify(sum((x + symbol) ** 3 for symbol in symbols_matrix("k", 5, 5))))
    assert "26 symbols" in long and len(long) < 300
    assert isinstance(wrong, Verified) and isinstance(wrong, tuple)


# ------------------------------------------------------------------ objects


def test_symbols():
    q = symbols_matrix("q", 2, 3)
    assert [str(symbol) for symbol in q] == ["q11", "q12", "q13", "q21", "q22", "q23"] and all(symbol.is_real for symbol in q)
    assert q == symbols_matrix("q", 2, 3) and symbols_matrix("p", 1, 1, positive=True)[0].is_positive
    assert len({str(symbol) for symbol in symbols_matrix("q", 11, 12)}) == 11 * 12  # q1_11 is not q11_1
    for wrong, error in (((3, 1, 1), TypeError), (("", 1, 1), ValueError), (("q", 0, 1), ValueError), (("q", 1, 1.5), TypeError)):
        with pytest.raises(error, match="allowed is"):
            symbols_matrix(*wrong)


def test_means_covariance_and_softmax_against_numpy():
    rng = np.random.default_rng(0)
    X = rng.integers(-9, 9, (5, 3))
    exact = sp.ImmutableMatrix(X.tolist())
    for ours, numpys in (
        (mean_row(exact), X.mean(0, keepdims=True)),
        (centred(exact), X - X.mean(0)),
        (covariance(exact), np.cov(X.T, bias=True)),
        (softmax(exact), np.exp(X) / np.exp(X).sum(1, keepdims=True)),
    ):
        assert isinstance(ours, sp.MutableDenseMatrix)
        np.testing.assert_allclose(np.array(ours.evalf(), dtype=float), numpys, rtol=1e-13, atol=1e-15)
    logits = symbols_matrix("l", 2, 4)
    assert verify(softmax(logits) * sp.ones(4, 1) - sp.ones(2, 1))
    assert not verify(softmax(logits).T * sp.ones(2, 1) - sp.ones(4, 1))


@pytest.mark.parametrize("function", [mean_row, centred, covariance, softmax])
def test_what_is_no_matrix_is_refused(function):
    for wrong, says in (([[1, 2]], "sympy.Matrix"), (np.eye(2), "ndarray"), (sp.MatrixSymbol("X", 2, 2), "as_explicit"), (x, "Symbol")):
        with pytest.raises(TypeError, match=says):
            function(wrong)
    with pytest.raises(ValueError, match=r"\(0, 2\)"):
        function(sp.zeros(0, 2))
    given = sp.Matrix([[x, y], [1, 2]])
    function(given)
    assert given == sp.Matrix([[x, y], [1, 2]])
