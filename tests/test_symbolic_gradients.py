"""Products and sums of two maps: sympy.diff, torch autograd in float64 and loops as oracles (claims D1 to D9)."""

import itertools
import math
import random

import numpy as np
import pytest
import sympy as sp
import torch

from dnl_course.symbolic.gradients import (
    by_definition,
    grad_add,
    grad_mul,
    logit_grad_add,
    logit_grad_mul,
    product_attention,
    softmax_jacobian,
)
from dnl_course.symbolic.objects import mean_row, softmax, symbols_matrix
from dnl_course.symbolic.split import split_terms
from dnl_course.symbolic.verify import verify

SIZES = [(1, 2), (2, 3), (3, 2)]  # N, M
quarter = sp.Rational(1, 4)


def maps(N, M):
    """G, P, U: any numbers, and positive entries that need not sum to 1."""
    return symbols_matrix("g", N, M), symbols_matrix("P", N, M, positive=True), symbols_matrix("U", 1, M, positive=True)


def logits(N, M):
    return symbols_matrix("g", N, M), symbols_matrix("p", N, M), symbols_matrix("u", 1, M)


def rational(seed, rows, columns, least=-9):
    rng = random.Random(seed)
    return sp.Matrix(rows, columns, lambda *_: sp.Rational(rng.randint(least, 9), rng.randint(1, 6)))


def tensor(matrix, **kwargs):
    return torch.tensor(np.array(matrix.evalf(30), dtype=float), dtype=torch.float64, **kwargs)


def autograd(omega, G, first, second):
    """Gradients of sum G omega by torch, in float64."""
    inputs = tensor(first, requires_grad=True), tensor(second, requires_grad=True)
    return torch.autograd.grad((tensor(G) * omega(*inputs)).sum(), inputs)


def close(ours, theirs):
    assert [tuple(matrix.shape) for matrix in ours] == [tuple(t.shape) for t in theirs]
    for matrix, t in zip(ours, theirs):
        assert t.abs().max() > 1e-3 and torch.allclose(tensor(matrix), t, rtol=1e-11, atol=1e-13)


def difference(first, second):
    return [a - b for a, b in zip(first, second, strict=True)]


# ------------------------------------------------------------------ the Jacobian


@pytest.mark.parametrize("M", [1, 2, 4])
def test_softmax_jacobian(M):
    row = symbols_matrix("l", 1, M)
    a = softmax(row)
    by_entry = sp.Matrix(M, M, lambda j, t: sp.diff(a[j], row[t]))
    assert verify(softmax_jacobian(a) - by_entry).expanded
    assert verify([softmax_jacobian(a) * sp.ones(M, 1), softmax_jacobian(a) - softmax_jacobian(a).T])
    if M > 1:
        for wrong in (sp.diag(*a), sp.diag(*a) + a.T * a, sp.eye(M) - a.T * a, sp.diag(*(x * (1 - x) for x in a))):
            assert not verify(wrong - by_entry)


def test_softmax_jacobian_against_autograd():
    row = torch.tensor([0.3, -1.2, 2.0, 0.0], dtype=torch.float64)
    a = row.softmax(-1)
    exact = sp.Matrix([[sp.Rational(*number.as_integer_ratio()) for number in a.tolist()]])
    theirs = torch.autograd.functional.jacobian(lambda x: x.softmax(-1), row)
    assert torch.allclose(tensor(softmax_jacobian(exact)), theirs, rtol=0, atol=1e-15)


# ------------------------------------------------------------------ D1: the product and its normaliser


@pytest.mark.parametrize("size", [*SIZES, (4, 4)], ids=str)
def test_the_softmax_of_summed_logits_is_the_product_with_its_normaliser(size):
    _, p, u = logits(*size)
    left = softmax(p + sp.ones(size[0], 1) * u)
    P, U = softmax(p), softmax(u)
    assert verify(left - product_attention(P, U)).expanded
    raw = sp.Matrix(*size, lambda i, j: P[i, j] * U[j])  # as the slides write it
    assert not verify(left - raw)


def test_the_raw_product_does_not_sum_to_1():
    P, U = sp.Matrix([[1, 3]]) / 4, sp.Matrix([[1, 1]]) / 2
    raw = P.multiply_elementwise(U)
    assert sum(raw) == sp.Rational(1, 2) and sum(product_attention(P, U)) == 1
    disjoint = sp.Matrix([[1, 0, 0]]), sp.Matrix([[0, 1, 0]])
    assert disjoint[0] * disjoint[1].T == sp.zeros(1, 1)
    with pytest.raises(ValueError, match="share no key"):
        product_attention(*disjoint)
    with pytest.raises(ValueError, match="share no key"):
        grad_mul(sp.ones(1, 3), *disjoint)


def test_the_product_against_loops():
    P, U = rational(1, 3, 5, least=1), rational(2, 1, 5, least=1)
    p, u = tensor(P).tolist(), tensor(U).tolist()[0]
    ours = tensor(product_attention(P, U)).tolist()
    for i, j in itertools.product(range(3), range(5)):
        assert math.isclose(ours[i][j], p[i][j] * u[j] / sum(p[i][t] * u[t] for t in range(5)), rel_tol=1e-14)


# ------------------------------------------------------------------ D2, D3: gradients


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gradients_against_differentiation(size):
    G, P, U = maps(*size)
    assert verify(difference(grad_mul(G, P, U), by_definition("mul", G, P, U))).expanded
    assert verify(difference(grad_add(G), by_definition("add", G, P, U))).expanded
    G, p, u = logits(*size)
    assert verify(difference(logit_grad_mul(G, p, u), by_definition("mul", G, p, u, of="logits"))).expanded
    assert verify(difference(logit_grad_add(G, p, u), by_definition("add", G, p, u, of="logits"))).expanded


def test_gradients_against_autograd():
    N, M = 3, 4
    G, P, U = rational(1, N, M), rational(2, N, M, least=1), rational(3, 1, M, least=1)
    close(grad_mul(G, P, U), autograd(lambda P, U: P * U / (P * U).sum(-1, keepdim=True), G, P, U))
    close(grad_add(G), autograd(lambda P, U: P + U, G, P, U))
    p, u = rational(4, N, M) / 4, rational(5, 1, M) / 4
    close(logit_grad_mul(G, p, u), autograd(lambda p, u: (p + u).softmax(-1), G, p, u))
    close(logit_grad_add(G, p, u), autograd(lambda p, u: p.softmax(-1) + u.softmax(-1), G, p, u))
    for combine, of in itertools.product(("mul", "add"), ("maps", "logits")):
        first, second = (P, U) if of == "maps" else (p, u)
        omega = {
            ("mul", "maps"): lambda P, U: P * U / (P @ U.T),
            ("add", "maps"): lambda P, U: P + U,
            ("mul", "logits"): lambda p, u: (p + u).softmax(-1),
            ("add", "logits"): lambda p, u: p.softmax(-1) + u.softmax(-1),
        }[combine, of]
        close(by_definition(combine, G, first, second, of=of), autograd(omega, G, first, second))


def test_equal_entries_are_differentiated_apart():
    """A matrix of equal entries, which SymPy's applyfunc would turn into one unknown."""
    G, P, U = sp.Matrix([[1, 0], [0, 5]]), sp.ones(2, 2) / 2, sp.ones(1, 2) / 2
    assert by_definition("mul", G, P, U) == grad_mul(G, P, U) != (sp.zeros(2, 2), sp.zeros(1, 2))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_shortcut_is_not_the_gradient(size):
    G, P, U = maps(*size)
    rows = sp.ones(size[0], 1) * U
    exact = by_definition("mul", G, P, U)[0]
    shortcut = G.multiply_elementwise(rows)
    found = verify(exact - shortcut)
    assert not found
    i, j = found.entry[-2:]
    at = found.counterexample  # the value is what the formula of claim D2 says
    there = exact[i, j].subs(at) - shortcut[i, j].subs(at)
    assert there == found.value != 0
    assert not verify(exact - shortcut.multiply_elementwise((P * U.T).applyfunc(lambda z: 1 / z) * sp.ones(1, size[1])))  # no centring
    # what makes it differ: the true one is orthogonal to P
    assert verify([sum(P[i, j] * exact[i, j] for j in range(size[1])) for i in range(size[0])])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_on_the_logits_of_a_product_the_coupling_is_total(size):
    G, p, u = logits(*size)
    dp, du = by_definition("mul", G, p, u, of="logits")
    assert verify(du - sp.ones(1, size[0]) * dp).expanded  # dL/du = sum_i dL/dp_i
    dp, du = by_definition("add", G, p, u, of="logits")
    assert not verify(du - sp.ones(1, size[0]) * dp)
    assert not dp.free_symbols & set(u) and not du.free_symbols & set(p)  # claim D3: the local derivatives are apart
    assert by_definition("mul", G, p, u, of="logits")[0].free_symbols > set(u)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_gradient_of_the_shared_unary_map_is_a_sum_over_queries(size):
    G, P, U = maps(*size)
    dP, dU = by_definition("add", G, P, U)
    assert verify(dP - G) and verify(dU - sp.ones(1, size[0]) * G)
    rows = verify([dU - G[i, :] for i in range(size[0])])  # what the slides print, for a shared U
    assert bool(rows) is (size[0] == 1)
    if rows.counterexample:
        i, _, j = rows.entry
        assert rows.value == sum(G[r, j] for r in range(size[0]) if r != i).subs(rows.counterexample)


def test_the_gradient_G_itself_holds_both_unless_the_loss_is_linear():
    P, U, T = symbols_matrix("P", 2, 2), symbols_matrix("U", 1, 2), symbols_matrix("T", 2, 2)
    omega = P + sp.ones(2, 1) * U
    square = sum(entry**2 for entry in omega - T) / 2
    assert not verify(sp.diff(square, P[0], U[0])) and verify(sp.diff(sum(T.multiply_elementwise(omega)), P[0], U[0]))


# ------------------------------------------------------------------ D4: gating


def test_a_key_that_the_unary_term_ignores_gets_no_gradient_from_a_product():
    a, u = sp.symbols("a u", real=True)
    G, p = sp.Matrix([[1, 0]]), sp.Matrix([[a, 0]])
    dp = {combine: by_definition(combine, G, p, sp.Matrix([[u, 0]]), of="logits")[0][0] for combine in ("mul", "add")}
    assert sp.limit(dp["mul"].subs(a, 0), u, -sp.oo) == 0
    assert verify(dp["mul"] - 1 / (2 + sp.exp(a + u) + sp.exp(-a - u)))  # omega (1 - omega)
    assert verify(dp["add"] - 1 / (2 + sp.exp(a) + sp.exp(-a)))  # whatever u is
    sizes = [float(dp["mul"].subs({a: 0, u: number})) for number in (0, -4, -8, -16)]
    np.testing.assert_allclose(sizes, [0.25, 1.77e-2, 3.35e-4, 1.13e-7], rtol=1e-2)  # P(1 - P) is 0.25 for the sum
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (logits + torch.tensor([-8.0, 0], dtype=torch.float64)).softmax(-1)[0].backward()
    assert math.isclose(logits.grad[0].item(), sizes[2], rel_tol=1e-12)


# ------------------------------------------------------------------ D5 to D7: intersection and union


def test_peaks_that_differ_are_not_empty_once_the_product_is_normalised():
    x, y = sp.symbols("x y", positive=True)  # exp of the peaks' heights
    P, U = sp.Matrix([[x, 1, 1]]) / (x + 2), sp.Matrix([[1, y, 1]]) / (y + 2)
    product = product_attention(P, U)
    assert verify(product - sp.Matrix([[x, y, 1]]) / (x + y + 1))
    raw = P.multiply_elementwise(U)
    assert sp.limit(sum(raw.subs(y, x)), x, sp.oo) == 0  # the raw product is nearly empty
    assert [sp.limit(entry.subs(y, x), x, sp.oo) for entry in product] == [sp.Rational(1, 2), sp.Rational(1, 2), 0]
    assert [sp.limit(entry.subs(y, x), x, sp.oo) for entry in (P + U) / 2] == [sp.Rational(1, 2), sp.Rational(1, 2), 0]  # the same
    assert [sp.limit(entry.subs(y, sp.sqrt(x)), x, sp.oo) for entry in product] == [1, 0, 0]  # the higher peak takes all
    both = product_attention(sp.Matrix([[x, x, 1]]), sp.Matrix([[1, x, x]]))
    assert [sp.limit(entry, x, sp.oo) for entry in both] == [0, 1, 0]  # what overlaps: an intersection


def test_a_sum_of_maps_keeps_mass_1_of_each():
    _, p, u = logits(2, 3)
    total = softmax(p) + sp.ones(2, 1) * softmax(u)
    assert verify(total * sp.ones(3, 1) - 2 * sp.ones(2, 1))


def test_one_normaliser_for_both_is_a_mixture_and_not_dnl():
    _, p, u = logits(2, 3)
    rows = sp.ones(2, 1) * u
    raised, unary = p.applyfunc(sp.exp), rows.applyfunc(sp.exp)
    joint = sp.Matrix(2, 3, lambda i, j: (raised[i, j] + unary[i, j]) / sum(raised[i, :] + unary[i, :]))
    share = [sum(raised[i, :]) / sum(raised[i, :] + unary[i, :]) for i in range(2)]
    mixture = sp.Matrix(2, 3, lambda i, j: share[i] * softmax(p)[i, j] + (1 - share[i]) * softmax(u)[j])
    assert verify(joint - mixture).expanded
    dnl = softmax(p) + softmax(rows)
    assert not verify(joint - dnl) and not verify(joint - dnl / 2)


# ------------------------------------------------------------------ D8, D9: the key


def test_the_shared_key_map_gets_the_sum_of_two_gradients():
    """dL/dW_k for DNL-dagger is the pairwise part plus the unary part; exactly, and by autograd at larger sizes."""
    X, weights, queries = symbols_matrix("x", 2, 2), symbols_matrix("w", 2, 1), symbols_matrix("q", 2, 1)
    G = symbols_matrix("g", 2, 2)
    apart = symbols_matrix("v", 2, 1)  # W_k of the unary term, for the moment another one

    def loss(pair, unary):
        terms, others = split_terms(queries, X * pair), split_terms(queries, X * unary)
        return sum(G.multiply_elementwise(softmax(terms.pairwise) + softmax(others.unary)))

    shared, parts = loss(weights, weights), loss(weights, apart)
    given = dict(zip(apart, weights))
    for w, v in zip(weights, apart):
        pair, unary = sp.diff(parts, w).xreplace(given), sp.diff(parts, v).xreplace(given)
        assert verify(sp.diff(shared, w) - pair - unary).expanded and not verify(pair) and not verify(unary)


def test_the_unary_direction_changes_with_the_image_and_a_learned_one_does_not():
    weights = symbols_matrix("w", 2, 2)
    keys = symbols_matrix("v", 2, 2)
    first, second = symbols_matrix("x", 2, 2), symbols_matrix("y", 2, 2)

    def direction(X):
        return mean_row(X * weights) * keys.T  # unary logit = direction . x_j

    assert verify(split_terms(first * weights, first * keys).unary - sp.ones(2, 1) * direction(first) * first.T)  # one image: W_m copies it
    assert not verify(direction(first) - direction(second))
    assert direction(first).subs(dict(zip([*first, *weights, *keys], [1, 0, 1, 0, *sp.eye(2), *sp.eye(2)]))) == sp.Matrix([[1, 0]])
    assert verify(direction(-first) + direction(first))  # the opposite image turns it round


# ------------------------------------------------------------------ what is refused


def test_wrong_shapes_and_names_are_refused():
    G, P, U = maps(2, 3)
    with pytest.raises(ValueError, match=r"U has the shape \(3, 1\).*a row \(1, M\), M = 3 as in P"):
        product_attention(P, U.T)
    with pytest.raises(ValueError, match=r"G has the shape \(3, 2\)"):
        grad_mul(G.T, P, U)
    with pytest.raises(ValueError, match="u has the shape"):
        logit_grad_add(G, P, U[:, :2])
    with pytest.raises(ValueError, match="combine is 'sum'; allowed are 'mul', 'add'"):
        by_definition("sum", G, P, U)
    with pytest.raises(ValueError, match="of is 'map'; allowed are 'maps', 'logits'"):
        by_definition("add", G, P, U, of="map")
    with pytest.raises(ValueError, match=r"a row \(1, M\)"):
        softmax_jacobian(P)
    with pytest.raises(TypeError, match="G is a list"):
        grad_add([[1, 2]])


def test_inputs_stay():
    G, P, U = maps(2, 2)
    before = G.copy(), P.copy(), U.copy()
    grad_add(G)[0][0, 0] = 0
    for combine, of in itertools.product(("mul", "add"), ("maps", "logits")):
        by_definition(combine, G.as_immutable(), P, U, of=of)
    grad_mul(G, P, U), logit_grad_mul(G, P, U), logit_grad_add(G, P, U), product_attention(P, U), softmax_jacobian(U)
    assert (G, P, U) == before
