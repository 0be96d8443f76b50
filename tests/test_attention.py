"""`dnl_course.attention` against float64 loops that are the definitions; its memory measured in fresh processes."""

import json
import math
import shutil
import subprocess
import sys
from functools import partial
from itertools import pairwise as neighbours

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dnl_course.attention import (
    PAIRWISE,
    _core,
    attention_map,
    concatenation,
    dot_product,
    embedded_gaussian,
    gaussian,
)

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
FUNCTION = {f.__name__: f for f in (gaussian, embedded_gaussian, dot_product, concatenation)}
needs_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def features(*shape, seed=0, dtype=torch.float64, spread=0.6):
    """Features as a network has them: mean 1, standard deviation 0.6, so that a missing centring shows."""
    return (1 + spread * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))).to(
        dtype
    )


def arguments(name, B=2, N=5, M=4, D=3, E=6, **options):
    """Random (q, k, v), or (a, b, v) for concatenation, whose a_i + b_j has both signs."""
    v = features(B, M, E, seed=3, **options)
    if name == "concatenation":
        return features(B, N, seed=1, **options) - 1, features(B, M, seed=2, **options) - 1, v
    return features(B, N, D, seed=1, **options), features(B, M, D, seed=2, **options), v


# ---- the definitions, as loops --------------------------------------------------------------------------------------


def loop_weights(name, q, k, scale=1.0):
    """f(x_i, x_j) / C(x) in float64, one pair of positions after the other."""
    q, k = q.double().tolist(), k.double().tolist()
    images = []
    for queries, keys in zip(q, k, strict=True):
        rows = []
        for x in queries:
            if name == "concatenation":
                row, total = [max(x + y, 0.0) for y in keys], len(keys)
            else:
                row = [sum(c * d for c, d in zip(x, y, strict=True)) for y in keys]
                total = len(keys)
                if name != "dot_product":
                    row = [math.exp(scale * (f - max(row))) for f in row]
                    total = math.fsum(row)
            rows.append([f / total for f in row])
        images.append(rows)
    return torch.tensor(images, dtype=torch.float64)


def loop(name, q, k, v, scale=1.0):
    """y_i = (1 / C(x)) sum_j f(x_i, x_j) v_j in float64."""
    weights, v = loop_weights(name, q, k, scale).tolist(), v.double().tolist()
    return torch.tensor(
        [
            [
                [math.fsum(w * x[e] for w, x in zip(row, values, strict=True)) for e in range(len(values[0]))]
                for row in rows
            ]
            for rows, values in zip(weights, v, strict=True)
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("name", PAIRWISE)
def test_value_against_the_loop(name):
    x = arguments(name)
    assert torch.allclose(FUNCTION[name](*x), loop(name, *x), rtol=1e-13, atol=1e-13)


SIZES = st.tuples(*(st.integers(1, 7) for _ in range(5)))


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(PAIRWISE), sizes=SIZES, scale=st.sampled_from([1.0, 0.3, -2.0, 0.0]))
def test_value_at_any_size(name, sizes, scale):
    x = arguments(name, *sizes)
    options = {"scale": scale} if name == "embedded_gaussian" else {}
    y = FUNCTION[name](*x, **options)
    expected = loop(name, *x, **options) if scale >= 0 else loop(name, -x[0], *x[1:], scale=-scale)
    if name != "embedded_gaussian":
        expected = loop(name, *x)
    assert y.shape == expected.shape
    assert torch.allclose(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtype_is_kept(name, dtype):
    x = arguments(name, dtype=dtype)
    y, expected = FUNCTION[name](*x), loop(name, *x)
    assert y.dtype == dtype
    tolerance = 4 * torch.finfo(dtype).eps
    assert (y.double() - expected).abs().max() < tolerance * expected.abs().max()


def test_no_implicit_scale_and_self_attention_with_one():
    q, k, v = arguments("embedded_gaussian", D=5)
    plain, scaled = embedded_gaussian(q, k, v), embedded_gaussian(q, k, v, scale=5**-0.5)
    assert (plain - scaled).abs().max() > 0.01
    theirs = F.multi_head_attention_forward(
        *(x.transpose(0, 1) for x in (q, k, v[..., :5])), 5, 1, None, torch.zeros(15).double(), None, None, False, 0.0,
        torch.eye(5).double(), torch.zeros(5).double(), use_separate_proj_weight=True, q_proj_weight=torch.eye(5).double(),
        k_proj_weight=torch.eye(5).double(), v_proj_weight=torch.eye(5).double(), need_weights=False,
    )[0]  # fmt: skip
    assert torch.allclose(scaled[..., :5], theirs.transpose(0, 1), atol=1e-13)  # claim I8


def test_gaussian_is_the_embedded_gaussian_without_embedding():
    x, v = features(2, 7, 3), features(2, 7, 4, seed=1)
    assert torch.allclose(gaussian(x, x, v), loop("embedded_gaussian", x, x, v))
    own = loop_weights("gaussian", x, x).argmax(2) == torch.arange(7)
    assert not own.all()  # claim I5: the own position is not always the largest


def test_dot_product_is_no_average():
    q, k, v = features(1, 9, 3), features(1, 8, 3, seed=1) - 1, features(1, 8, 2, seed=2)
    y = dot_product(q, k, v)
    outside = (y < v.amin(1, keepdim=True)) | (y > v.amax(1, keepdim=True))
    assert outside.any()  # claim I4
    average = embedded_gaussian(q, k, v)
    assert (average >= v.amin(1, keepdim=True)).all() and (average <= v.amax(1, keepdim=True)).all()


def test_concatenation_has_no_pairwise_part_before_its_relu():
    a, b, v = arguments("concatenation", N=8, M=6)
    a, b = a + 9, b + 9  # every ReLU is active
    y = concatenation(a, b, v)
    whole = a.unsqueeze(2) * v.mean(1, keepdim=True) + (b.unsqueeze(2) * v).mean(1, keepdim=True)
    assert torch.allclose(y, whole, atol=1e-12)  # claim I6: one vector times a_i, plus one vector


@pytest.mark.parametrize("name", PAIRWISE)
def test_permuted_queries_permute_and_permuted_keys_do_nothing(name):
    q, k, v = arguments(name, N=7, M=6)
    order, others = torch.randperm(7), torch.randperm(6)
    y = FUNCTION[name](q, k, v)
    assert torch.allclose(FUNCTION[name](q[:, order], k, v), y[:, order], atol=1e-13)
    assert torch.allclose(FUNCTION[name](q, k[:, others], v[:, others]), y, atol=1e-13)


@pytest.mark.parametrize("name", PAIRWISE)
def test_no_image_and_no_query_give_an_empty_result(name):
    q, k, v = arguments(name)
    assert FUNCTION[name](q[:0], k[:0], v[:0]).shape == (0, 5, 6)
    assert FUNCTION[name](q[:, :0], k, v).shape == (2, 0, 6)


# ---- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("sizes", [(2, 5, 4, 3, 6), (1, 3, 7, 5, 2), (2, 4, 4, 3, 3), (1, 1, 1, 1, 1)])
def test_gradcheck(name, sizes):
    x = [t.requires_grad_() for t in arguments(name, *sizes)]
    assert torch.autograd.gradcheck(FUNCTION[name], x)
    if name == "embedded_gaussian":
        assert torch.autograd.gradcheck(partial(embedded_gaussian, scale=0.37), x)


@pytest.mark.parametrize("name", ["dot_product", "concatenation"])
def test_second_derivatives(name):
    assert torch.autograd.gradgradcheck(FUNCTION[name], [t.requires_grad_() for t in arguments(name)])


@pytest.mark.parametrize("name", ["embedded_gaussian", "gaussian"])
def test_second_derivatives_as_the_docstring_says(name):
    x = [t.requires_grad_() for t in arguments(name)]
    first = torch.autograd.grad(FUNCTION[name](*x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="derivative for .*attention.* is not implemented"):
        torch.autograd.grad(first[0].sum(), x[0])
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(FUNCTION[name], x)


def test_ties_of_the_concatenation_have_the_gradient_of_relu():
    a = torch.tensor([[-1.0, 0.0, 2.0, -3.0, 0.5]], dtype=torch.float64).requires_grad_()
    b = torch.tensor([[1.0, -2.0, 3.0, 1.0, 0.0, -0.5, 1.0]], dtype=torch.float64).requires_grad_()
    v = features(1, 7, 3).requires_grad_()
    assert (a.unsqueeze(2) + b.unsqueeze(1) == 0).sum() > 5
    weigh = features(1, 5, 3, seed=5)
    ours = torch.autograd.grad((concatenation(a, b, v) * weigh).sum(), (a, b, v))
    plain = torch.relu(a.unsqueeze(2) + b.unsqueeze(1)) @ v / 7
    for got, expected in zip(ours, torch.autograd.grad((plain * weigh).sum(), (a, b, v)), strict=True):
        assert torch.allclose(got, expected, atol=1e-14)


@pytest.mark.parametrize("offset", [0, 3, 100])
@pytest.mark.parametrize(("N", "M"), [(257, 16384), (16384, 257)])
def test_concatenation_in_float32_is_not_further_from_float64_than_the_definition(offset, N, M):
    x = arguments("concatenation", 1, N, M, E=4, dtype=torch.float32)
    x = [x[0] - offset, x[1] + offset, x[2]]
    weigh = features(1, N, 4, seed=5, dtype=torch.float32)

    def definition(a, b, v):
        return torch.relu(a.unsqueeze(2) + b.unsqueeze(1)) @ v / M

    def results(function, dtype):
        given = [t.to(dtype).requires_grad_() for t in x]
        y = function(*given)
        return [y.detach().double(), *(g.double() for g in torch.autograd.grad(y, given, weigh.to(dtype)))]

    true = results(definition, torch.float64)
    ours, naive = results(concatenation, torch.float32), results(definition, torch.float32)
    for got, plain, expected in zip(ours, naive, true, strict=True):
        error, allowed = ((z - expected).abs().max() / expected.abs().max() for z in (got, plain))
        assert error < max(2 * allowed, 4e-7)
    assert (ours[0] - true[0]).abs().max() <= (naive[0] - true[0]).abs().max()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("B", "N", "M"), [(2, 7, 5), (1, 2, 9), (0, 4, 3), (2, 0, 3)])
def test_groups_of_queries_are_the_same_on_any_number_of_threads(threads, B, N, M):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        q, k, v = (x.requires_grad_() for x in arguments("embedded_gaussian", B, N, M))
        y, plain = embedded_gaussian(q, k, v, scale=0.7), torch.softmax(0.7 * q @ k.mT, 2) @ v
        assert y.shape == plain.shape and torch.allclose(y, plain, atol=1e-12)
        ours, theirs = (torch.autograd.grad(z.square().sum(), (q, k, v)) for z in (y, plain))
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))
    finally:
        torch.set_num_threads(before)


# ---- half precision and autocast ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", PAIRWISE)
def test_half_precision_at_logits_of_ten_thousand(name, dtype):
    q, k, v = arguments(name, N=40, M=300, D=8, dtype=dtype)
    factor = 60 if name != "concatenation" else 5000
    q, k = (((x - 0.9) * factor).to(dtype).requires_grad_() for x in (q, k))
    v.requires_grad_()
    logits = (
        q.double() @ k.double().transpose(1, 2)
        if name != "concatenation"
        else q.double()[..., None] + k.double()[:, None]
    )
    assert 9e3 < logits.abs().max() < 6e4
    y = FUNCTION[name](q, k, v)
    if name == "concatenation":
        weights = torch.relu(logits) / 300
    else:
        weights = logits / 300 if name == "dot_product" else torch.softmax(logits, 2)
    expected = weights @ v.double()  # of the same rounded inputs
    reach = v.abs().max() if "gaussian" in name else expected.abs().max()
    assert y.isfinite().all()
    assert (y.double() - expected).abs().max() < 1e-2 * reach
    y.float().square().mean().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v) if x.grad is not None) and v.grad is not None


def test_dot_product_adds_up_in_single_precision():
    k, v = torch.full((1, 4096, 1), 30.0).half(), torch.full((1, 4096, 1), 30.0).half()
    q = torch.full((1, 2, 1), 2.0).half()
    assert torch.equal(dot_product(q, k, v), torch.full((1, 2, 1), 1800.0).half())  # k^T v is 3.7e6, above 65504
    assert torch.equal(concatenation(q[..., 0], k[..., 0], v), torch.full((1, 2, 1), 960.0).half())


def test_a_result_too_large_for_half_precision_stays_finite():
    q, v = torch.full((1, 4, 1), 100.0).half(), torch.full((1, 4, 1), 10.0).half()
    assert torch.equal(dot_product(q, q, v), torch.full((1, 4, 1), 65504.0).half())
    a = torch.full((1, 4), 6e4).half()
    assert torch.equal(concatenation(a, a, v), torch.full((1, 4, 1), 65504.0).half())


def test_concatenation_keeps_its_digits_where_keys_lie_in_groups():
    torch.manual_seed(0)
    far = torch.tensor([1e4, -1e4]).repeat(500)[None]
    given = [torch.randn(1, 1000) - 1e4, torch.randn(1, 1000) + far, torch.randn(1, 1000, 4)]
    exact = [x.double() for x in given]
    true = torch.relu(exact[0].unsqueeze(2) + exact[1].unsqueeze(1)) @ exact[2] / 1000
    assert (concatenation(*given) - true).abs().max() < 2e-7 * true.abs().max()


@pytest.mark.parametrize(("a", "b"), [
    ([3.0, -1.0], [-torch.inf, -torch.inf, 2.0]), ([3.0, 1.0], [-torch.inf, 1.0, 2.0]), ([-torch.inf, 2.0], [1.0, 2.0, -3.0]),
    ([3.0, 1.0], [-torch.inf] * 3),
])  # fmt: skip
def test_concatenation_with_masked_keys_and_queries(a, b):
    given = [torch.tensor([x], dtype=torch.float64) for x in (a, b)] + [features(1, 3, 2)]
    for x in given:
        x.requires_grad_()
    plain = torch.relu(given[0].unsqueeze(2) + given[1].unsqueeze(1)) @ given[2] / 3
    ours = concatenation(*given)
    assert torch.allclose(ours, plain, atol=1e-14)
    got, expected = (torch.autograd.grad(y.sum(), given) for y in (ours, plain))
    assert all(torch.allclose(g, e, atol=1e-14) for g, e in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", PAIRWISE)
def test_autocast_rounds_nothing(name):
    q, k, v = arguments(name, dtype=torch.float32, D=8)
    q, k = 60 * q, 60 * k
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = FUNCTION[name](q, k, v)
        mixed = FUNCTION[name](q, k, v.bfloat16())  # as from a convolution beside raw features
        rows = attention_map(q, k, pairwise=name)
    assert inside.dtype == mixed.dtype == rows.dtype == torch.float32
    assert torch.equal(inside, FUNCTION[name](q, k, v))
    assert torch.equal(mixed, FUNCTION[name](q, k, v.bfloat16().float()))
    assert torch.equal(rows, attention_map(q, k, pairwise=name))


# ---- memory ---------------------------------------------------------------------------------------------------------


def unsqueezed(x):
    return x.unsqueeze(1)


CASES = {
    "plain": lambda n, d: torch.randn(2, n, d),
    "one image": lambda n, d: torch.randn(1, n, d),
    "channels first": lambda n, d: torch.randn(2, d, n).transpose(1, 2),
    "a convolution's output": lambda n, d: torch.randn(2, d, 1, n).flatten(2).transpose(1, 2),
    "every second channel": lambda n, d: torch.randn(2, n, 2 * d)[..., ::2],
    "one channel of many": lambda n, d: torch.randn(1, 4, n).transpose(1, 2)[..., 1:2],
    "positions first": lambda n, d: torch.randn(n, 2, d).transpose(0, 1),
    "expanded images": lambda n, d: torch.randn(1, n, d).expand(2, n, d),
    "expanded positions": lambda n, d: torch.randn(2, 1, d).expand(2, n, d),
    "expanded channels": lambda n, d: torch.randn(2, n, 1).expand(2, n, d),
    "a slice": lambda n, d: torch.randn(2, n + 3, d + 2)[:, 1:-2, 1:-1],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("N", "M", "D", "E"), [(9, 7, 5, 5), (9, 7, 5, 8), (9, 7, 8, 5), (1, 7, 1, 3), (9, 1, 3, 1), (9, 7, 1, 1), (9, 7, 300, 64)])  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_softmax_stays_on_the_memory_saving_kernels(case, N, M, D, E, dtype):
    torch.manual_seed(0)
    for learns in (False, True):
        q, k, v = (CASES[case](n, d).to(dtype).requires_grad_(learns) for n, d in ((N, D), (M, D), (M, E)))
        copies = [x.detach().clone() for x in (q, k, v)]
        with sdpa_kernel(FUSED):  # raises where only the kernel with a map is left
            y = embedded_gaussian(q, k, v, scale=D**-0.5)
            if learns:
                y.sum().backward()  # an expanded gradient
        with torch.no_grad():
            expected = torch.softmax(q.double() @ k.double().transpose(1, 2) * D**-0.5, 2) @ v.double()
            logits = (q.double() @ k.double().transpose(1, 2) * D**-0.5).abs().max()
            assert (y.double() - expected).abs().max() < 8 * torch.finfo(dtype).eps * (1 + logits) * v.abs().max()
            assert all(torch.equal(x, copy) for x, copy in zip((q, k, v), copies, strict=True))


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch explains why each kernel is not available
def test_without_our_care_torch_would_hold_the_map():
    q = torch.randn(2, 9, 5)
    wider = torch.randn(2, 9, 8)
    strided = torch.randn(2, 5, 9).transpose(1, 2)
    with sdpa_kernel(FUSED):
        for given in ((q, q, q), tuple(map(unsqueezed, (q, q, wider))), tuple(map(unsqueezed, (strided, q, q)))):
            with pytest.raises(RuntimeError, match="No available kernel"):
                F.scaled_dot_product_attention(*given)
        F.scaled_dot_product_attention(*map(unsqueezed, (q, q, q)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("entries", [1, 8, 24, 2**20])
def test_in_chunks_is_the_same(dtype, entries):
    x = arguments("embedded_gaussian", dtype=dtype, spread=2)
    y = _core.softmax_in_chunks(*x, 0.7, entries)
    assert y.dtype == dtype
    assert (y.double() - loop("embedded_gaussian", *x, 0.7)).abs().max() < 4 * torch.finfo(dtype).eps * x[2].abs().max()


def test_derivatives_in_chunks():
    x = [t.requires_grad_() for t in arguments("embedded_gaussian")]
    function = partial(_core.softmax_in_chunks, scale=0.7, entries=16)  # two queries at a time
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)
    halves = [t.detach().bfloat16().mul(100).requires_grad_() for t in x]
    function(*halves).sum().backward()
    assert all(t.grad.isfinite().all() for t in halves)


def test_where_there_is_no_kernel_chunks_take_its_place(monkeypatch):
    x = [t.requires_grad_() for t in arguments("embedded_gaussian")]
    monkeypatch.setattr(_core, "has_fused_kernel", lambda q: False)
    monkeypatch.setattr(F, "scaled_dot_product_attention", None)
    assert torch.allclose(embedded_gaussian(*x), loop("embedded_gaussian", *(t.detach() for t in x)))
    assert torch.autograd.gradcheck(gaussian, x)


METER = """
import json, os, sys, torch
from functools import partial
from dnl_course import attention
from dnl_course.attention import _core

def naive(q, k, v):
    return torch.softmax(q @ k.transpose(1, 2), 2) @ v

FUNCTIONS = {name: getattr(attention, name) for name in attention.PAIRWISE}
FUNCTIONS |= {"in chunks": partial(_core.softmax_in_chunks, scale=1.0, entries=2**19), "naive": naive}
torch.set_num_threads(1)

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024  # MiB

def step(name, N, learns):
    widths = [(N,)] * 2 if name == "concatenation" else [(N, 48)] * 2
    x = [torch.randn(1, *w).requires_grad_(learns) for w in widths] + [torch.randn(1, N, 64).requires_grad_(learns)]
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the peak so far
    y = FUNCTIONS[name](*x)
    if learns:
        y.backward(torch.ones_like(y))
    return status("VmHWM") - before

def measure(*what):
    ours, theirs = os.pipe()
    if not (child := os.fork()):  # a fresh process that has torch already
        step(what[0], 64, True)  # bring in the code
        os.write(theirs, json.dumps(step(*what)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as answer:
        mib = json.loads(answer.read())
    os.waitpid(child, 0)
    return mib

sizes = json.loads(sys.argv[1])
for name in FUNCTIONS:
    step(name, 64, True)  # what takes time once
print(json.dumps([[name, learns, [measure(name, N, learns) for N in sizes]] for name in FUNCTIONS for learns in (False, True)]))
"""


@pytest.fixture(scope="module")
def mebibytes():
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc, which Linux has")
    sizes = [1024, 2048, 4096]
    environment = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", METER, json.dumps(sizes)],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return {(name, learns): (sizes, peaks) for name, learns, peaks in json.loads(run.stdout)}


def slope(sizes, peaks):
    """Of log memory against log N, by least squares."""
    return np.polyfit(np.log(sizes), np.log(peaks), 1)[0]


@pytest.mark.parametrize("learns", [False, True], ids=["forward", "forward and backward"])
@pytest.mark.parametrize("name", [*PAIRWISE, "in chunks"])
def test_memory_grows_with_n_not_with_its_square(mebibytes, name, learns):
    sizes, peaks = mebibytes[name, learns]
    one_map = sizes[-1] ** 2 * 4 / 2**20
    print(name, learns, peaks, round(slope(sizes, peaks), 3))
    assert 0 < peaks[-1] < one_map / 2
    assert slope(sizes, peaks) < 1.1


@pytest.mark.parametrize("learns", [False, True])
def test_the_meter_sees_a_map(mebibytes, learns):
    sizes, peaks = mebibytes["naive", learns]
    assert slope(sizes, peaks) > 1.7
    assert peaks[-1] > sizes[-1] ** 2 * 4 / 2**20


def test_work_of_the_dot_product_is_linear():
    q, k, v = arguments("dot_product", 2, 50, 40, 3, 6)
    with FlopCounterMode(display=False) as counted:
        dot_product(q, k, v)
    assert counted.get_total_flops() == 2 * 2 * 3 * 6 * (50 + 40)


# ---- rows of the map ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRWISE)
def test_map_against_the_loop(name):
    q, k, v = arguments(name)
    rows = attention_map(q, k, pairwise=name)
    assert rows.shape == (2, 5, 4)
    assert torch.allclose(rows, loop_weights(name, q, k), atol=1e-14)
    assert torch.allclose(rows @ v, FUNCTION[name](q, k, v), atol=1e-13)
    sums = rows.sum(2)
    assert torch.allclose(sums, torch.ones_like(sums)) == ("gaussian" in name)
    assert torch.autograd.gradcheck(partial(attention_map, pairwise=name), (q.requires_grad_(), k.requires_grad_()))


@pytest.mark.parametrize(
    ("queries", "chosen"),
    [(3, [3]), ([4, 0, 4], [4, 0, 4]), ((1,), [1]), ([], []), (range(1, 4), [1, 2, 3]), (torch.tensor([2, 0]), [2, 0]),
     (torch.tensor(4, dtype=torch.int32), [4]), (np.array([3, 1]), [3, 1]), (np.int64(2), [2]), ([np.int32(1)], [1])],
)  # fmt: skip
@pytest.mark.parametrize("name", PAIRWISE)
def test_chosen_queries(name, queries, chosen):
    q, k, _ = arguments(name)
    rows = attention_map(q, k, pairwise=name, queries=queries)
    assert rows.shape == (2, len(chosen), 4)
    assert torch.allclose(rows, loop_weights(name, q, k)[:, chosen], atol=1e-14)


def test_map_with_a_scale_and_in_half_precision():
    q, k, _ = arguments("embedded_gaussian")
    assert torch.allclose(attention_map(q, k, scale=0.3), loop_weights("embedded_gaussian", q, k, 0.3))
    q, k = (50 * q).half(), (50 * k).half()
    rows = attention_map(q, k)
    assert rows.dtype == torch.float32 and rows.isfinite().all()
    assert (rows - loop_weights("embedded_gaussian", q, k)).abs().max() < 1e-3


def test_map_holds_chosen_rows_only():
    q, k, _ = arguments("embedded_gaussian", 1, 3000, 2000)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        attention_map(q, k, queries=[5, 6])
    held = sum(event.self_cpu_memory_usage for event in profile.events() if event.self_cpu_memory_usage > 0)
    assert 0 < held < 30 * 2 * 2000 * 8  # the whole map has 3000 rows


# ---- what is refused, and what is not touched -----------------------------------------------------------------------

T = torch.ones
REFUSED = [
    ({"q": [[1.0]]}, TypeError, r"q is of type list; allowed is a torch tensor\. Use torch\.as_tensor\(q\)"),
    ({"k": T(2, 4, 3).numpy()}, TypeError, "k is of type ndarray"),
    ({"q": T(2, 5, 3).int()}, TypeError, r"q has the dtype int32; allowed are float16.*Use q\.float\(\)"),
    ({"v": T(2, 4, 6).bool()}, TypeError, "v has the dtype bool"),
    ({"v": T(2, 4, 6).cfloat()}, TypeError, r"v has the dtype complex64; allowed are .*float64\.$"),
    ({"q": T(2, 5, 3).to_sparse()}, TypeError, r"q has the layout torch.sparse_coo; .*Use q\.to_dense\(\)"),
    ({"q": T(2, 3, 4, 5)}, ValueError, r"q has 4 axes, shape \(2, 3, 4, 5\); allowed is \(B, N, D\).*flatten\(2\)"),
    ({"k": T(4, 3)}, ValueError, r"k has 2 axes, shape \(4, 3\); allowed is \(B, M, D\).*k\.unsqueeze\(0\)"),
    ({"q": T(3, 5, 3)}, ValueError, r"k has 2 images and q has 3 \(q \(3, 5, 3\), k \(2, 4, 3\), v \(2, 4, 6\)\).*same B"),
    ({"v": T(1, 4, 6)}, ValueError, r"v has 1 images and q has 2 .*Use v\.expand\(2, \.\.\.\)"),
    ({"k": T(2, 4, 7)}, ValueError, r"k has 7 channels and q has 3 .*allowed is the same D"),
    ({"v": T(2, 5, 6)}, ValueError, r"v has 5 keys and k has 4 .*allowed is the same M"),
    ({"k": T(2, 0, 3), "v": T(2, 0, 6)}, ValueError, r"k is empty, shape \(2, 0, 3\); allowed is \(B, M, D\) with M >= 1"),
    ({"q": T(2, 5, 0), "k": T(2, 4, 0)}, ValueError, "q is empty.*D >= 1"),
    ({"v": T(2, 4, 0)}, ValueError, "v is empty.*E >= 1"),
    ({"v": T(2, 4, 6).double()}, TypeError, r"v has the dtype float64 and q float32; .*Use v\.to\(q\.dtype\)"),
    ({"k": T(2, 4, 3).half()}, TypeError, "k has the dtype float16 and q float32"),
    ({"v": T(2, 4, 6, device="meta")}, ValueError, r"v is on meta and q on cpu; .*Use v\.to\(q\.device\)"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "message"), REFUSED)
@pytest.mark.parametrize("name", ["embedded_gaussian", "gaussian", "dot_product"])
def test_what_is_refused(name, change, error, message):
    given = {"q": T(2, 5, 3), "k": T(2, 4, 3), "v": T(2, 4, 6)} | change
    if name == "gaussian":
        for letter in "qk":
            message = message.replace(f"{letter} has", f"x_{letter} has").replace(f"{letter} is ", f"x_{letter} is ")
            message = message.replace(f"and {letter} ", f"and x_{letter} ").replace(
                rf"\({letter}\)", rf"\(x_{letter}\)"
            )
            message = message.replace(f"Use {letter}", f"Use x_{letter}").replace(
                rf"to\({letter}\.", rf"to\(x_{letter}\."
            )
            message = message.replace(rf"{letter} \(", rf"x_{letter} \(").replace(
                rf"{letter}\.unsq", rf"x_{letter}\.unsq"
            )
    with pytest.raises(error, match=message) as caught:
        FUNCTION[name](*given.values())
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"a": T(2, 5, 1)}, ValueError, r"a has 3 axes, shape \(2, 5, 1\); allowed is \(B, N\)\. Use a\.squeeze\(-1\)"),
        ({"b": T(4)}, ValueError, r"b has 1 axes, shape \(4,\); allowed is \(B, M\)"),
        ({"b": T(2, 7)}, ValueError, r"v has 4 keys and b has 7 \(a \(2, 5\), b \(2, 7\), v \(2, 4, 6\)\)"),
        ({"b": T(2, 0), "v": T(2, 0, 6)}, ValueError, "b is empty"),
        ({"a": T(2, 5).long()}, TypeError, "a has the dtype int64"),
    ],
)
def test_what_the_concatenation_refuses(change, error, message):
    with pytest.raises(error, match=message):
        concatenation(*({"a": T(2, 5), "b": T(2, 4), "v": T(2, 4, 6)} | change).values())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pairwise": "softmax"}, ValueError, "pairwise is 'softmax'; allowed are 'gaussian', 'embedded_gaussian', 'dot_product', 'concatenation'"),
        ({"scale": math.inf}, ValueError, "scale is inf; allowed is one finite number"),
        ({"scale": math.nan}, ValueError, "scale is nan"),
        ({"scale": "1"}, TypeError, r"scale is '1' \(str\)"),
        ({"scale": None}, TypeError, "scale is None"),
        ({"scale": True}, TypeError, "scale is True"),
        ({"scale": T(1)}, TypeError, r"scale is a tensor; .*q \* scale"),
        ({"scale": 0.5, "pairwise": "dot_product"}, ValueError, "scale is 0.5; allowed is 1: 'dot_product' has no scale"),
        ({"queries": 5}, IndexError, r"queries has the position 5, and there are 5; allowed is 0 to 4.*row \* width"),
        ({"queries": -1}, IndexError, "queries has the position -1, .*negative ones are not counted"),
        ({"queries": torch.tensor([0, 7])}, IndexError, "position 7"),
        ({"queries": 1.0}, TypeError, r"queries is 1\.0; allowed is None \(all\), an int"),
        ({"queries": [(0, 1)]}, TypeError, r"queries is \[\(0, 1\)\]"),
        ({"queries": True}, TypeError, "queries is True"),
        ({"queries": np.array([True, False])}, TypeError, "queries is array"),
        ({"queries": "3"}, TypeError, "queries is '3'"),
        ({"queries": T(5).bool()}, TypeError, r"queries is a mask; .*nonzero\(\)"),
        ({"queries": T(2)}, TypeError, "queries has the dtype float32"),
        ({"queries": T(2, 1).long()}, ValueError, r"queries has the shape \(2, 1\)"),
    ],
)  # fmt: skip
def test_what_the_map_refuses(options, error, message):
    with pytest.raises(error, match=message):
        attention_map(T(2, 5, 3), T(2, 4, 3), **options)


def test_scale_of_the_function_is_checked_too():
    with pytest.raises(ValueError, match="scale is inf"):
        embedded_gaussian(T(2, 5, 3), T(2, 4, 3), T(2, 4, 6), scale=math.inf)
    assert torch.isfinite(embedded_gaussian(T(2, 5, 3), T(2, 4, 3), T(2, 4, 6), scale=np.float32(2))).all()


@pytest.mark.parametrize("name", PAIRWISE)
def test_inputs_are_not_modified(name):
    x = arguments(name)
    copies, versions = [t.clone() for t in x], [t._version for t in x]
    FUNCTION[name](*(t.requires_grad_() for t in x)).sum().backward()
    attention_map(x[0], x[1], pairwise=name, queries=[1])
    assert all(torch.equal(t, c) for t, c in zip(x, copies, strict=True)) and versions == [t._version for t in x]


@pytest.mark.parametrize("name", PAIRWISE)
def test_strides_do_not_matter(name):
    q, k, v = (torch.randn(3, 8, 2).permute(2, 1, 0)[:, ::2] for _ in range(3))
    if name == "concatenation":
        q, k = q[..., 1], k[..., 1]
    assert not any(x.is_contiguous() for x in (q, k, v))
    assert torch.allclose(FUNCTION[name](q, k, v).double(), loop(name, q, k, v), atol=1e-5)


@pytest.mark.parametrize("name", PAIRWISE)
def test_nan_is_not_hidden(name):
    for which, reached in ((0, [False, True, False, False, False]), (1, [True] * 5), (2, [True] * 5)):
        x = [t.clone() for t in arguments(name, M=64)]  # fewer keys than a vector register: see the module's header
        if name == "concatenation":
            x[0] = x[0] + 9  # every query looks at every key
        x[which][0, 1] = math.nan
        y = FUNCTION[name](*x)
        assert y[0].isnan().any(1).tolist() == reached and not y[1].isnan().any()


def test_nan_and_the_concatenation_where_nobody_looks():
    a, b, v = arguments("concatenation")
    b[0, 2], v[0, 2] = -99, math.nan
    assert concatenation(a, b, v).isfinite().all()
    b[0, 3] = math.nan
    assert concatenation(a - 99, b, v)[0].isnan().all()  # the ReLU of NaN is NaN


# ---- torch.export and torch.compile ---------------------------------------------------------------------------------


class Operation(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def forward(self, q, k, v, queries):
        y = FUNCTION[self.name](q, k, v)
        return y, attention_map(q, k, pairwise=self.name, queries=queries)


@pytest.mark.parametrize("name", PAIRWISE)
def test_export_at_any_number_of_positions(name):
    N, M = torch.export.Dim("N", min=2), torch.export.Dim("M", min=2)
    given = (*arguments(name, dtype=torch.float32), torch.tensor([2, 0]))
    exported = torch.export.export(Operation(name), given, dynamic_shapes=({1: N}, {1: M}, {1: M}, {}))
    calls = {str(node.target) for node in exported.graph.nodes}
    assert any("scaled_dot_product_attention" in call for call in calls) == ("gaussian" in name)
    x = arguments(name, N=9, M=11, dtype=torch.float32)
    y, rows = exported.module()(*x, torch.tensor([8, 1]))
    assert torch.allclose(y.double(), loop(name, *x), atol=1e-5)
    assert torch.allclose(rows.double(), loop_weights(name, *x[:2])[:, [8, 1]], atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
@pytest.mark.parametrize("name", PAIRWISE)
def test_compile_in_one_graph(name):
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("needs a C++ compiler")
    compiled = torch.compile(FUNCTION[name], fullgraph=True)
    x = [t.requires_grad_() for t in arguments(name, dtype=torch.float32)]
    y = compiled(*x)
    assert torch.allclose(y.detach().double(), loop(name, *(t.detach() for t in x)), atol=1e-5)
    ours, plain = (torch.autograd.grad(z.square().sum(), x) for z in (y, FUNCTION[name](*x)))
    assert all(torch.allclose(g, h, atol=1e-4) for g, h in zip(ours, plain, strict=True))


# ---- on a GPU -------------------------------------------------------------------------------------------------------


class TestOnCuda:
    pytestmark = needs_gpu

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("name", PAIRWISE)
    @pytest.mark.parametrize(("D", "E"), [(3, 6), (64, 64), (5, 300), (1, 1)])
    def test_value(self, name, dtype, D, E):
        x = arguments(name, N=70, M=40, D=D, E=E, dtype=dtype)
        x = (x[0] / D**0.5, *x[1:]) if name != "concatenation" else x
        y = FUNCTION[name](*(t.cuda() for t in x))
        expected = loop(name, *x)
        assert y.dtype == dtype and y.is_cuda
        tolerance = 5e-3 if dtype == torch.float32 else 8 * torch.finfo(dtype).eps  # TF32
        assert (y.cpu().double() - expected).abs().max() < tolerance * expected.abs().max()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
    @pytest.mark.parametrize(("D", "E"), [(5, 8), (8, 5), (1, 1), (64, 128), (300, 64)])
    def test_kernels(self, dtype, D, E):
        q, k, v = (torch.randn(2, d, n, device="cuda", dtype=dtype).transpose(1, 2).requires_grad_() for n, d in ((90, D), (70, D), (70, E)))  # fmt: skip
        with sdpa_kernel(FUSED):
            embedded_gaussian(q, k, v, scale=D**-0.5).sum().backward()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("name", PAIRWISE)
    def test_memory(self, name, dtype):
        peaks, sizes = [], [4096, 8192, 16384]
        for N in sizes:
            x = [t.cuda().requires_grad_() for t in arguments(name, 1, N, N, 48, 64, dtype=dtype)]
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            y = FUNCTION[name](*x)
            y.backward(torch.ones_like(y))
            peaks.append(torch.cuda.max_memory_allocated() - before)
            del x, y
        assert slope(sizes, peaks) < 1.1
        assert all(b > a for a, b in neighbours(peaks))
