"""The disentangled family against its printed equations, written as loops in float64."""

import math

import pytest
import torch

from dnl_course.attention import (
    VARIANTS,
    attend,
    attention_maps,
    centred,
    embedded_gaussian,
    pairwise_logits,
    unary_logits,
)
from dnl_course.attention.family import OWN_UNARY

DTYPE = torch.float64
HALVES = (torch.float16, torch.bfloat16)


def drawn(B=2, N=5, M=4, D=3, E=2, seed=0, dtype=DTYPE):
    """q, k, v, m with mean 1 and standard deviation 0.6; all sizes differ."""
    g = torch.Generator().manual_seed(seed)
    shapes = ((B, N, D), (B, M, D), (B, M, E), (B, M))
    return [(1 + 0.6 * torch.randn(s, generator=g, dtype=DTYPE)).to(dtype) for s in shapes]


def options(variant, scale=0.7, temperature=0.4):
    return {"scale": scale} if variant in ("nl", "nl_u") else {"scale": scale, "temperature": temperature}


def own(variant, m):
    return m if variant in OWN_UNARY else None


def softmax(row):
    top = max(row)
    weights = [math.exp(x - top) for x in row]
    return [w / sum(weights) for w in weights]


def loop_weights(q, k, m, variant, scale=1.0, temperature=1.0):
    """One image: q (N, D), k (M, D), m (M,), as lists of Python floats; the equations, term by term."""
    q, k, m = q.tolist(), k.tolist(), m.tolist()
    D = range(len(q[0]))
    mu_q = [sum(row[d] for row in q) / len(q) for d in D]
    mu_k = [sum(row[d] for row in k) / len(k) for d in D]
    rows = []
    for i in range(len(q)):
        plain = [scale * sum(q[i][d] * kj[d] for d in D) for kj in k]
        white = [scale / temperature * sum((q[i][d] - mu_q[d]) * (kj[d] - mu_k[d]) for d in D) for kj in k]
        unary = [scale * sum(mu_q[d] * kj[d] for d in D) for kj in k]
        rows.append({
            "nl": lambda: softmax(plain),
            "nl_p": lambda: softmax(white),
            "nl_u": lambda: softmax(unary),
            "dnl": lambda: [a + b for a, b in zip(softmax(white), softmax(m))],
            "dnl_star": lambda: softmax([a + b for a, b in zip(white, m)]),
            "dnl_dagger": lambda: [a + b for a, b in zip(softmax(white), softmax(unary))],
        }[variant]())  # fmt: skip
    return torch.tensor(rows, dtype=DTYPE)


def loop(q, k, v, m, variant, **given):
    """All images."""
    return torch.stack([loop_weights(q[b], k[b], m[b], variant, **given) @ v[b] for b in range(len(q))])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("sizes", [{}, {"N": 1}, {"M": 1}, {"N": 9, "M": 7, "D": 1, "E": 5}, {"B": 1, "D": 6, "E": 1}])
def test_equals_the_printed_equation(variant, sizes):
    q, k, v, m = drawn(**sizes)
    given = options(variant)
    y = attend(q, k, v, variant=variant, m=own(variant, m), **given)
    torch.testing.assert_close(y, loop(q, k, v, m, variant, **given), rtol=1e-12, atol=1e-12)
    plain = attend(q, k, v, variant=variant, m=own(variant, m))
    torch.testing.assert_close(plain, loop(q, k, v, m, variant), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_maps_equal_the_printed_equation(variant):
    q, k, v, m = drawn()
    given = options(variant)
    maps = attention_maps(q, k, variant=variant, m=own(variant, m), queries=[3, 0], **given)
    right = torch.stack([loop_weights(q[b], k[b], m[b], variant, **given)[[3, 0]] for b in range(2)])
    torch.testing.assert_close(maps.joint, right, rtol=1e-12, atol=1e-12)
    if variant != "nl_u":
        white = torch.stack([loop_weights(q[b], k[b], m[b], "nl_p", **given)[[3, 0]] for b in range(2)])
        torch.testing.assert_close(maps.pairwise, white, rtol=1e-12, atol=1e-12)
    assert (maps.pairwise is None) == (variant == "nl_u") and (maps.unary is None) == (variant == "nl_p")
    if variant in OWN_UNARY:
        torch.testing.assert_close(maps.unary, torch.tensor([softmax(row) for row in m.tolist()], dtype=DTYPE))
    full = attention_maps(q, k, variant=variant, m=own(variant, m), **given)
    torch.testing.assert_close(full.joint[:, [3, 0]], maps.joint)
    assert full.joint.shape == (2, 5, 4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradcheck(variant):
    q, k, v, m = (x.requires_grad_() for x in drawn())
    inputs = (q, k, v, m) if variant in OWN_UNARY else (q, k, v)
    assert torch.autograd.gradcheck(
        lambda q, k, v, m=None: attend(q, k, v, variant=variant, m=m, **options(variant)), inputs
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_of_large_logits(variant, dtype):
    q, k, v, m = drawn(N=9, M=8, D=5, E=3)
    q, k, m = 60 * q, 40 * k, 5000 * m  # logits of 1e4
    q, k, v, m = (x.to(dtype) for x in (q, k, v, m))
    exact = loop(*(x.double() for x in (q, k, v, m)), variant)
    y = attend(q, k, v, variant=variant, m=own(variant, m))
    assert y.dtype is dtype and y.isfinite().all()
    assert (y.double() - exact).abs().max() <= 1e-2 * v.double().abs().max()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
def test_autocast_rounds_nothing_further(variant, dtype):
    q, k, v, m = drawn(dtype=dtype)
    y = attend(q, k, v, variant=variant, m=own(variant, m))
    with torch.autocast("cpu", torch.bfloat16):
        same = attend(q, k, v, variant=variant, m=own(variant, m))
        rows = attention_maps(q, k, variant=variant, m=own(variant, m)).joint
    assert torch.equal(y, same) and rows.dtype is torch.float32


@pytest.mark.parametrize("variant", VARIANTS)
def test_inputs_are_not_modified_and_images_do_not_see_each_other(variant):
    given = drawn(B=3)
    before = [x.clone() for x in given]
    q, k, v, m = given
    y = attend(q, k, v, variant=variant, m=own(variant, m))
    attention_maps(q, k, variant=variant, m=own(variant, m))
    assert all(torch.equal(a, b) for a, b in zip(given, before))
    single = attend(q[1:2], k[1:2], v[1:2], variant=variant, m=own(variant, m[1:2]))
    torch.testing.assert_close(y[1:2], single)
    y += 1  # one vector for all queries is no view of one


def test_a3_nl_is_one_softmax_of_both_terms():
    q, k, v, _ = drawn()
    joint = torch.softmax(pairwise_logits(q, k) + unary_logits(q, k).unsqueeze(1), dim=2)
    torch.testing.assert_close(joint @ v, attend(q, k, v, variant="nl"))
    torch.testing.assert_close(embedded_gaussian(q, k, v), attend(q, k, v, variant="nl"))
    torch.testing.assert_close(attend(q, k, v, variant="dnl_star", m=unary_logits(q, k)), attend(q, k, v, variant="nl"))


def test_a5_a_constant_added_to_all_keys_changes_nothing():
    q, k, v, m = drawn()
    for variant in VARIANTS:
        y, shifted = (attend(q, keys, v, variant=variant, m=own(variant, m)) for keys in (k, k + torch.tensor([3.0, -2.0, 1.0])))
        torch.testing.assert_close(y, shifted)
    torch.testing.assert_close(attend(q, centred(k), v, variant="nl"), attend(q, k, v, variant="nl"))  # keys only: plain NL
    assert (attend(q + 1, k, v, variant="nl") - attend(q, k, v, variant="nl")).abs().max() > 0.01  # queries are another matter


def test_keys_far_from_0_cost_no_digits():
    """Their mean is invisible in exact arithmetic only."""
    q, k, v, _ = drawn(N=200, M=150, D=16)
    exact = attend(q, k, v, variant="nl_p")
    near, far = (attend(q.float(), (k + shift).float(), v.float(), variant="nl_p").double() for shift in (0, 100))
    assert (far - exact).abs().max() < 4e-5 and (near - exact).abs().max() < 4e-6  # what (k + 100).float() itself has lost


def test_an_offset_of_the_unary_logits_costs_no_digits():
    q, k, v, m = drawn(N=200, M=150, D=8)
    for shift in (0.0, 1024.0):  # float32 still holds m + 1024 to 6e-5
        far = (m + shift).float()
        exact = attend(q.float().double(), k.float().double(), v.float().double(), variant="dnl_star", m=far.double())
        single = attend(q.float(), k.float(), v.float(), variant="dnl_star", m=far)
        assert (single.double() - exact).abs().max() < 5e-6
        rows = attention_maps(q.float(), k.float(), variant="dnl_star", m=far).joint @ v.float()
        assert (rows.double() - exact).abs().max() < 5e-6
    masked = m.index_fill(1, torch.tensor([3]), -torch.inf)  # minus infinity leaves a key out
    rows = attention_maps(q, k, variant="dnl_star", m=masked).joint
    assert rows[:, :, 3].abs().max() == 0 and attend(q, k, v, variant="dnl_star", m=masked).isfinite().all()


def test_a10_nothing_unary_is_left_in_the_pairwise_logits():
    q, k, _, _ = drawn()
    logits = pairwise_logits(q, k)
    assert logits.mean(1).abs().max() < 1e-14 and logits.mean(2).abs().max() < 1e-14
    torch.testing.assert_close(pairwise_logits(q, k, queries=2), logits[:, 2:3])


@pytest.mark.parametrize(("variant", "total"), [(v, 2.0 if v in ("dnl", "dnl_dagger") else 1.0) for v in VARIANTS])
def test_e2_rows_sum_to_two_where_two_softmaxes_are_added(variant, total):
    q, k, v, m = drawn()
    rows = attention_maps(q, k, variant=variant, m=own(variant, m)).joint
    torch.testing.assert_close(rows.sum(2), torch.full((2, 5), total, dtype=DTYPE))
    ones = attend(q, k, torch.ones_like(v), variant=variant, m=own(variant, m))
    torch.testing.assert_close(ones, torch.full_like(ones, total))


def test_e3_the_unary_branch_is_one_vector_and_holds_average_pooling():
    q, k, v, m = drawn()
    difference = attend(q, k, v, variant="dnl", m=m) - attend(q, k, v, variant="nl_p")
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference))
    pooled = attend(q, k, v, variant="dnl", m=torch.full_like(m, 3.0)) - attend(q, k, v, variant="nl_p")
    torch.testing.assert_close(pooled, v.mean(1, keepdim=True).expand_as(pooled))


@pytest.mark.parametrize("variant", VARIANTS)
def test_permuted_queries_permute_and_permuted_keys_do_nothing(variant):
    q, k, v, m = drawn(N=6, M=5)
    y = attend(q, k, v, variant=variant, m=own(variant, m))
    queries, keys = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2, 4, 1, 0, 3])
    moved = attend(q[:, queries], k[:, keys], v[:, keys], variant=variant, m=own(variant, m[:, keys]))
    torch.testing.assert_close(moved, y[:, queries])


def test_constant_queries_collapse_nl_and_leave_dnl_its_unary_term():
    q, k, v, m = drawn(M=6)
    q = q[:, :1].expand_as(q)
    nl, dnl = (attention_maps(q, k, variant=variant, m=own(variant, m)) for variant in ("nl", "dnl"))
    assert (nl.joint - nl.joint[:, :1]).abs().max() < 1e-15 and nl.joint.max() > 0.2
    torch.testing.assert_close(dnl.pairwise, torch.full_like(dnl.pairwise, 1 / 6))  # flat, not somebody's favourite
    spread = torch.tensor([[[0.0], [1.0]]], dtype=DTYPE)
    torch.testing.assert_close(unary_logits(spread, spread), torch.tensor([[0.0, 0.5]], dtype=DTYPE))


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_map_is_held(variant):
    """The largest tensor made on the way, forward and backward, is far smaller than N x M."""
    from dnl_course.classroom.counting import counting

    q, k, v, m = (x.requires_grad_() for x in drawn(B=1, N=600, M=500, D=4, E=4, dtype=torch.float32))
    with counting("tensor") as largest:
        attend(q, k, v, variant=variant, m=own(variant, m)).square().sum().backward()
    assert largest() < 600 * 500 / 10


def test_errors_say_what_is_allowed():
    q, k, v, m = drawn()
    cases = [
        ({"variant": "dln"}, "'nl', 'nl_p', 'nl_u', 'dnl', 'dnl_star', 'dnl_dagger'"),
        ({"variant": "DNL*"}, "Did you mean 'dnl_star'?"),
        ({"variant": "dnl"}, "m is missing for variant 'dnl'"),
        ({"variant": "nl", "m": m}, "m is given for variant 'nl'; 'dnl' and 'dnl_star' have it. Leave m away."),
        ({"variant": "nl_p", "temperature": 0}, "temperature is 0; allowed is a number above 0"),
        ({"variant": "nl", "temperature": 2}, "'nl' has none"),
        ({"variant": "nl_p", "scale": 1e300, "temperature": 1e-300}, "too large for float32"),
        ({"variant": "nl_p", "temperature": 1e-320}, "too large for float32"),
        ({"variant": "dnl", "m": m[:, :2]}, "m has 2 keys"),
        ({"variant": "dnl", "m": m.unsqueeze(2)}, "squeeze"),
        ({"variant": "nl_p", "scale": float("nan")}, "scale is nan"),
    ]
    for given, sentence in cases:
        with pytest.raises(ValueError) as error:
            attend(q, k, v, **given)
        assert sentence in str(error.value)
        with pytest.raises(ValueError):
            attention_maps(q, k, **given)
    with pytest.raises(TypeError, match="dtype"):
        attend(q, k, v, variant="dnl", m=m.float())
    with pytest.raises(IndexError, match="0 to 4"):
        attention_maps(q, k, variant="nl", queries=5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALVES])
def test_on_cuda_as_on_the_cpu(variant, dtype):
    q, k, v, m = drawn(N=70, M=33, D=6, E=5, dtype=dtype)
    y = attend(*(x.cuda() for x in (q, k, v)), variant=variant, m=None if own(variant, m) is None else m.cuda())
    exact = loop(*(x.double() for x in (q, k, v, m)), variant)
    near = {torch.float64: 1e-12, torch.float32: 1e-4}.get(dtype, 2e-2)
    torch.testing.assert_close(y.cpu().double(), exact, rtol=near, atol=near)
