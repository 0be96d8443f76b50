"""The split of q.k: exactly, at random points, against loops over float64 numbers; the printed sign fails (claims A, C2)."""

import random
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import torch

from dnl_course.symbolic.objects import centred, covariance, mean_row, softmax, symbols_matrix
from dnl_course.symbolic.split import (
    SplitTerms,
    double_centre,
    drop_row_constants,
    least_squares_residual,
    printed_sum,
    same_attention,
    split_terms,
)
from dnl_course.symbolic.verify import verify

SIZES = [(1, 1, 1), (3, 2, 1), (2, 4, 3), (4, 3, 2)]  # N, M, D
third = sp.Rational(1, 3)


def symbols(N, M, D):
    return symbols_matrix("q", N, D), symbols_matrix("k", M, D)


def rationals(seed, rows, columns):
    rng = random.Random(seed)
    return sp.Matrix(rows, columns, lambda *_: sp.Rational(rng.randint(-9, 9), rng.randint(1, 6)))


def fractions(matrix):
    return [[Fraction(int(entry.p), int(entry.q)) for entry in row] for row in matrix.tolist()]


def numbers(matrix):
    return np.array(matrix.evalf(30), dtype=float)


def split_loops(q, k, alpha, beta):
    """The definition, over Python numbers: four lists of rows."""

    def dot(a, b):
        return sum(s * t for s, t in zip(a, b))

    def minus(a, b):
        return [s - t for s, t in zip(a, b)]

    pairwise = [[dot(minus(qi, alpha), minus(kj, beta)) for kj in k] for qi in q]
    unary = [[dot(alpha, kj) for kj in k] for _ in q]
    query = [[dot(qi, beta) for _ in k] for qi in q]
    return pairwise, unary, query, [[-dot(alpha, beta) for _ in k] for _ in q]


def mean_loops(rows):
    return [sum(row[c] for row in rows) / len(rows) for c in range(len(rows[0]))]


# ------------------------------------------------------------------ A1, A13: the four terms


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_four_terms_add_up_to_the_products(size):
    Q, K = symbols(*size)
    terms = split_terms(Q, K)
    assert verify(sum(terms, sp.zeros(*size[:2])) - Q * K.T).expanded
    alpha, beta = symbols_matrix("a", 1, size[2]), symbols_matrix("b", 1, size[2])
    assert verify(sum(split_terms(Q, K, alpha, beta), sp.zeros(*size[:2])) - Q * K.T).expanded  # any reference points


@pytest.mark.parametrize("size", [*SIZES, (5, 7, 4)], ids=str)
def test_each_term_against_loops(size):
    N, M, D = size
    Q, K, alpha, beta = rationals(1, N, D), rationals(2, M, D), rationals(3, 1, D), rationals(4, 1, D)
    q, k = fractions(Q), fractions(K)
    assert [fractions(term) for term in split_terms(Q, K)] == list(split_loops(q, k, mean_loops(q), mean_loops(k)))
    assert [fractions(term) for term in split_terms(Q, K, alpha, beta)] == list(split_loops(q, k, *fractions(alpha), *fractions(beta)))
    assert [fractions(term) for term in split_terms(Q, K, beta=beta)] == list(split_loops(q, k, mean_loops(q), *fractions(beta)))


def test_the_terms_have_names_and_the_inputs_stay():
    Q, K = symbols(2, 3, 2)
    before = Q.copy(), K.copy()
    terms = split_terms(Q, K)
    terms.pairwise[0, 0] = 0
    assert isinstance(terms, SplitTerms) and (Q, K) == before and split_terms(Q.as_immutable(), K.as_immutable()).unary == terms.unary
    same_rows, same_columns = terms.unary[0, :] - terms.unary[1, :], terms.query[:, 0] - terms.query[:, 2]
    assert verify([same_rows, same_columns, terms.constant[1, 2] - terms.constant[0, 0]])


# ------------------------------------------------------------------ A1: the printed sign


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_printed_sum_is_not_the_product_of_queries_and_keys(size):
    Q, K = symbols(*size)
    found = verify(printed_sum(Q, K) - Q * K.T)
    assert not found
    at = found.counterexample
    mu_q, mu_k = mean_loops(fractions(Q.subs(at))), mean_loops(fractions(K.subs(at)))
    assert Fraction(str(found.value)) == 2 * sum(a * b for a, b in zip(mu_q, mu_k)) != 0
    excess = 2 * (mean_row(Q) * mean_row(K).T)[0]
    assert verify(printed_sum(Q, K) - Q * K.T - excess * sp.ones(*size[:2])).expanded  # in every entry


def test_the_smallest_counterexample():
    one = sp.Matrix([[1]])
    assert (one * one.T)[0] == 1 and printed_sum(one, one)[0] == 3 and sum(term[0] for term in split_terms(one, one)) == 1


def test_softmax_does_not_see_the_printed_sign():
    Q, K = symbols(3, 2, 2)
    assert same_attention(printed_sum(Q, K), Q * K.T)
    assert verify(softmax(printed_sum(Q, K)) - softmax(Q * K.T)).expanded


# ------------------------------------------------------------------ A2 to A5, A13: what softmax cancels


@pytest.mark.parametrize("size", [(2, 3, 1), (3, 2, 2)], ids=str)
def test_two_terms_of_four_stay(size):
    Q, K = symbols(*size)
    pairwise, unary, query, constant = split_terms(Q, K)
    for left_out in (query, constant, query + constant):
        assert same_attention(Q * K.T, Q * K.T - left_out)
    for left_out in (unary, pairwise):
        assert not same_attention(Q * K.T, Q * K.T - left_out)
    assert verify(softmax(Q * K.T) - softmax(pairwise + unary)).expanded  # A3
    assert not verify(softmax(Q * K.T) - softmax(pairwise))
    # A4: without the normaliser there is a factor for each row, which is not 1
    ratio = lambda: (Q * K.T - pairwise - unary).applyfunc(sp.exp)  # noqa: E731
    mu_q, mu_k = mean_row(Q), mean_row(K)
    assert verify([ratio()[i, j] - sp.exp(((Q[i, :] - mu_q) * mu_k.T)[0]) for i in range(size[0]) for j in range(size[1])])
    assert not verify(ratio() - sp.ones(*size[:2]))


def test_the_key_mean_is_invisible_and_the_query_mean_is_not():
    N, M, D = 3, 2, 2
    Q, K = symbols(N, M, D)
    b = sp.ones(M, 1) * symbols_matrix("b", 1, D)
    a = sp.ones(N, 1) * symbols_matrix("a", 1, D)
    assert same_attention(Q * centred(K).T, Q * K.T) and same_attention(Q * (K + b).T, Q * K.T)
    assert same_attention(centred(Q) * centred(K).T, centred(Q) * K.T)
    assert not same_attention(centred(Q) * K.T, Q * K.T) and not same_attention((Q + a) * K.T, Q * K.T)
    # a query bias changes the unary term only
    moved, still = split_terms(Q + a, K), split_terms(Q, K)
    assert verify(moved.pairwise - still.pairwise) and not same_attention(moved.unary, still.unary)
    # in the dot-product form, which divides by M, the key mean counts: by q_i.mu_k / M in every entry
    left = Q * K.T / M - Q * centred(K).T / M
    assert not verify(left) and verify(left - Q * mean_row(K).T * sp.ones(1, M) / M)


def test_any_reference_point_gives_the_same_attention():
    Q, K = symbols(2, 3, 2)
    alpha, beta = symbols_matrix("a", 1, 2), symbols_matrix("b", 1, 2)
    pairwise, unary, *_ = split_terms(Q, K, alpha, beta)
    assert same_attention(pairwise + unary, Q * K.T)
    assert not verify(pairwise - split_terms(Q, K).pairwise)  # what is called pairwise is a choice


def test_same_attention_against_softmax_in_numbers():
    rng = np.random.default_rng(5)
    a, b, c = sp.symbols("a b c", real=True)
    pairs = [
        ([[a, b], [b, c]], [[a + c, b + c], [b - a, c - a]], True),
        ([[a, b], [b, c]], [[a + c, b + c], [b + c, c + c]], True),
        ([[a, b], [b, c]], [[a + c, b + a], [b + c, c + a]], False),  # a number for each column
        ([[(a + b) ** 2, 0]], [[a**2 + 2 * a * b, -(b**2)]], True),
        ([[a, b, c]], [[a, b, c + a * (a - 1) * (a - 2)]], False),
        ([[a, b]], [[2 * a, 2 * b]], False),
        ([[1, 2, 3]], [[0, 1, 2]], True),
        ([[1, 2, 3]], [[0, 1, sp.Rational(20000001, 10**7)]], False),
        ([[a], [b]], [[c], [7]], True),  # one key
        ([[sp.exp(a) * sp.exp(b), 0]], [[sp.exp(a + b) + c, c]], True),
    ]
    for first, second, same in pairs:
        L1, L2 = sp.Matrix(first), sp.Matrix(second)
        assert same_attention(L1, L2) is same is same_attention(L2, L1)
        apart = 0
        for _ in range(4):
            at = dict(zip((a, b, c), rng.normal(size=3)))
            A1, A2 = (torch.tensor(np.array(L.evalf(20, subs=at), dtype=float)).softmax(-1) for L in (L1, L2))
            apart = max(apart, (A1 - A2).abs().max().item())
        assert (apart < 1e-12) is same


# ------------------------------------------------------------------ A7, A10 to A12


def test_one_map_for_all_queries_iff_nothing_is_left_after_double_centring():
    a, b = symbols_matrix("a", 3, 1), symbols_matrix("b", 1, 4)
    model = a * sp.ones(1, 4) + sp.ones(3, 1) * b
    assert verify(double_centre(model))
    assert same_attention(model, sp.ones(3, 1) * model[1, :])  # every row is the second's
    # and back: rows equal up to numbers leave nothing; one entry more does
    bump = model + sp.Matrix(3, 4, lambda i, j: int(i == j == 0))
    assert not verify(double_centre(bump)) and not same_attention(bump, sp.ones(3, 1) * bump[1, :])
    # queries that vary where the keys do not (A7: constant queries are not necessary)
    Q, K = sp.Matrix([[1, 0], [1, 5], [1, -2]]), sp.Matrix([[3, 1], [-1, 1], [0, 1]])
    assert covariance(Q) != sp.zeros(2, 2) and verify(split_terms(Q, K).pairwise)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_pairwise_logits_are_pure(size):
    Q, K = symbols(*size)
    N, M, D = size
    pairwise = split_terms(Q, K).pairwise
    assert verify([pairwise * sp.ones(M, 1), sp.ones(1, N) * pairwise])
    if min(N, M) > 1:  # other reference points leave means
        off = split_terms(Q, K, symbols_matrix("a", 1, D), symbols_matrix("b", 1, D)).pairwise
        assert not verify(off * sp.ones(M, 1)) and not verify(sp.ones(1, N) * off)


def test_after_the_softmax_they_are_not():
    log2 = sp.log(2)
    pairwise = split_terms(log2 * sp.Matrix([2, -1, -1]), sp.Matrix([1, 0, -1])).pairwise
    mass = sp.ones(1, 3) * softmax(pairwise).applyfunc(sp.simplify)
    assert mass == sp.Matrix([[22, 16, 25]]) / 21  # by hand: (4, 1, 1/4) / (21/4), and twice (1/2, 1, 2) / (7/2)


def test_the_pairwise_logits_can_be_read_off_the_map():
    Q, K = symbols(3, 2, 2)
    assert verify(double_centre(softmax(Q * K.T).applyfunc(sp.log)) - double_centre(Q * K.T)).expanded
    assert not verify(double_centre(softmax(Q * K.T)) - double_centre(Q * K.T))


def test_whitened_means_centred_only():
    X = symbols_matrix("x", 3, 2)
    assert verify(covariance(centred(X)) - covariance(X)) and not verify(covariance(centred(X)) - sp.eye(2))


def test_rewriting_separates_nothing():
    """Same function, so the same gradients: of any G_ij omega_ij, by q and by k; in SymPy, and by autograd in float64."""
    Q, K = symbols(2, 2, 1)
    G = symbols_matrix("G", 2, 2)
    pairwise, unary, *_ = split_terms(Q, K)
    loss, rewritten = (sum(G.multiply_elementwise(softmax(logits))) for logits in (Q * K.T, pairwise + unary))
    assert verify([loss - rewritten, *(sp.diff(loss - rewritten, entry) for entry in (*Q, *K))]).expanded

    generator = torch.Generator().manual_seed(0)
    q, k, g = (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((5, 3), (7, 3), (5, 7)))

    def gradients(logits):
        inputs = q.clone().requires_grad_(), k.clone().requires_grad_()
        return torch.autograd.grad((g * logits(*inputs).softmax(-1)).sum(), inputs)

    def split(q, k):
        return (q - q.mean(0)) @ (k - k.mean(0)).T + q.mean(0) @ k.T

    for ours, theirs in zip(gradients(split), gradients(lambda q, k: q @ k.T)):
        assert theirs.abs().max() > 0.1 and torch.allclose(ours, theirs, rtol=0, atol=1e-13)


# ------------------------------------------------------------------ C2: double centring


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 3), (3, 3), (4, 4), (4, 2)], ids=str)
def test_the_residual_of_all_row_and_column_models(shape):
    S = symbols_matrix("s", *shape)
    N, M = shape
    centre = double_centre(S)
    assert verify(least_squares_residual(S) - centre).holds
    H, R = (sp.eye(n) - sp.ones(n, n) / n for n in shape)
    assert verify(centre - H * S * R)
    assert verify([centre * sp.ones(M, 1), sp.ones(1, N) * centre])
    energy = lambda X: sum(entry**2 for entry in X)  # noqa: E731
    assert verify(energy(S) - energy(centre) - energy(S - centre))
    rows, columns = symbols_matrix("a", N, 1), symbols_matrix("b", 1, M)
    model = rows * sp.ones(1, M) + sp.ones(N, 1) * columns
    assert verify(sum(centre.multiply_elementwise(model)))  # orthogonal to every model
    if min(shape) > 1:
        assert not verify(least_squares_residual(S) - drop_row_constants(S))


def test_the_residual_against_numpy():
    S = rationals(7, 4, 5)
    s = numbers(S)
    design = np.array([[float(i == a) for a in range(4)] + [float(j == b) for b in range(5)] for i in range(4) for j in range(5)])
    fit = design @ np.linalg.lstsq(design, s.ravel(), rcond=None)[0]  # the shortest of all solutions, by SVD
    for ours in (least_squares_residual(S), double_centre(S)):
        np.testing.assert_allclose(numbers(ours), s - fit.reshape(4, 5), atol=1e-12)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_pairwise_term_at_the_means_is_the_doubly_centred_matrix(size):
    Q, K = symbols(*size)
    assert verify(double_centre(Q * K.T) - split_terms(Q, K).pairwise).expanded


def test_drop_row_constants():
    S = symbols_matrix("s", 3, 4)
    dropped = drop_row_constants(S)
    assert verify(dropped * sp.ones(4, 1)) and same_attention(dropped, S) and not verify(sp.ones(1, 3) * dropped)
    shifted = S + symbols_matrix("c", 3, 1) * sp.ones(1, 4)
    assert verify(drop_row_constants(shifted) - dropped)  # one representative for all
    s = np.array([[1.0, 2, 6], [0, -3, 9]])
    np.testing.assert_allclose(numbers(drop_row_constants(sp.Matrix(s.astype(int)))), s - s.mean(1, keepdims=True))


# ------------------------------------------------------------------ what is refused


def test_wrong_shapes_and_types_are_refused():
    Q, K = symbols(2, 3, 2)
    with pytest.raises(ValueError, match=r"K has the shape \(3, 1\).*D = 2 as in Q"):
        split_terms(Q, K[:, 0])
    with pytest.raises(ValueError, match=r"alpha has the shape \(2, 1\).*a row \(1, D\)"):
        split_terms(Q, K, alpha=mean_row(Q).T)
    with pytest.raises(ValueError, match="beta has the shape"):
        split_terms(Q, K, beta=sp.zeros(1, 3))
    with pytest.raises(TypeError, match="Q is a list.*sympy.Matrix"):
        printed_sum([[1]], K)
    with pytest.raises(ValueError, match=r"L2 has the shape \(1, 2\).*the shape of L1, \(2, 2\)"):
        same_attention(sp.zeros(2, 2), sp.zeros(1, 2))
    with pytest.raises(ValueError, match="two different symbols are named q11"):
        same_attention(Q, Q.subs(Q[0], sp.Symbol("q11")))
    for function in (drop_row_constants, double_centre, least_squares_residual):
        with pytest.raises(TypeError, match="S is a ndarray"):
            function(np.eye(2))
        with pytest.raises(ValueError, match=r"\(0, 2\)"):
            function(sp.zeros(0, 2))
    with pytest.raises(TypeError, match="rounded number"):
        same_attention(sp.Matrix([[0.1, 0.2]]), sp.zeros(1, 2))
