"""`NonLocalBlock` against its definition, written here as loops in float64, and against its own promises."""

import copy
import io
import itertools
import json
import math
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from dnl_course.nn import NonLocalBlock, from_positions, to_positions

PAIRWISE = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
SUBSAMPLE = (None, "conv_pool", "pool_conv")
SPATIAL = {1: (9,), 2: (5, 3), 3: (3, 3, 5)}  # odd: a row, a column is left over by the pooling
WINDOW = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}
ALL = list(itertools.product(PAIRWISE, (1, 2, 3), SUBSAMPLE))
C, D = 6, 5


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors: on a busy machine two threads wait for each other, six times as long as the work takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def randomised(block, std=0.4, seed=0):
    """Return the block with every parameter and running statistic random and not 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in block.state_dict().items():
        if value.is_floating_point():
            value.normal_(std=std, generator=generator)
            if name.endswith("running_var"):
                value.abs_().add_(0.1)
    return block


def make(pairwise="embedded_gaussian", ndim=2, subsample=None, *, dtype=torch.float64, **options):
    block = NonLocalBlock(C, pairwise=pairwise, ndim=ndim, inner_channels=D, subsample=subsample, **options)
    return randomised(block).to(dtype)


def features(*shape, dtype=torch.float64, seed=1):
    values = 1 + 0.6 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.to(dtype)


# the definition


def pooled(x, window):
    """Return the maxima of the windows that fit, one after the other."""
    sizes = [size // side for size, side in zip(x.shape[1:], window, strict=True)]
    result = np.empty((len(x), *sizes))
    for place in np.ndindex(*sizes):
        inside = tuple(slice(p * side, (p + 1) * side) for p, side in zip(place, window, strict=True))
        for channel in range(len(x)):
            result[(channel, *place)] = max(x[channel][inside].flat)
    return result


def weight_of(pairwise, q, k, w_f, scale):
    """Return f(x_i, x_j)."""
    if pairwise == "dot_product":
        return float(np.dot(q, k))
    if pairwise == "concatenation":
        return max(0.0, float(np.dot(w_f, [*q, *k])))
    return math.exp(scale * float(np.dot(q, k)))


def definition(block, x, scale=1.0):
    """Return (z, weights f / C(x) as (B, N, M)): equations of the module's header, nothing shared with it."""
    state = {name: value.detach().double().numpy() for name, value in block.state_dict().items()}
    window = WINDOW[block.ndim]

    def conv(name, values):  # (channels, *spatial)
        matrix = state[f"{name}.weight"].reshape(state[f"{name}.weight"].shape[:2])
        bias = state.get(f"{name}.bias", np.zeros(len(matrix)))
        return np.tensordot(matrix, values, axes=1) + bias.reshape(-1, *[1] * block.ndim)

    zs, maps = [], []
    for image in x.detach().double().numpy():
        source = pooled(image, window) if block.subsample == "pool_conv" else image
        q = image if block.pairwise == "gaussian" else conv("query", image)
        k = source if block.pairwise == "gaussian" else conv("key", source)
        v = conv("value", source)
        if block.subsample == "conv_pool":
            k, v = pooled(k, window), pooled(v, window)
        keys, queries = list(np.ndindex(*k.shape[1:])), list(np.ndindex(*image.shape[1:]))
        y, rows = np.zeros((len(v), *image.shape[1:])), np.zeros((len(queries), len(keys)))
        for n, i in enumerate(queries):
            for m, j in enumerate(keys):
                rows[n, m] = weight_of(block.pairwise, q[:, *i], k[:, *j], state.get("concat"), scale)
            softmax = block.pairwise in ("gaussian", "embedded_gaussian")
            rows[n] /= rows[n].sum() if softmax else len(keys)
            for m, j in enumerate(keys):
                y[:, *i] += rows[n, m] * v[:, *j]
        zs.append(conv("out", y) + image)
        maps.append(rows)
    return torch.from_numpy(np.stack(zs)), torch.from_numpy(np.stack(maps))


@pytest.mark.parametrize(("pairwise", "ndim", "subsample"), ALL)
def test_equals_the_definition(pairwise, ndim, subsample):
    block, x = make(pairwise, ndim, subsample), features(2, C, *SPATIAL[ndim])
    z, rows = definition(block, x)
    assert torch.allclose(block(x), z, rtol=0, atol=1e-12 * float(z.abs().max()))
    assert torch.allclose(block.attention_map(x), rows, rtol=0, atol=1e-12 * float(rows.abs().max()))
    single = copy.deepcopy(block).float()(x.float())
    assert torch.allclose(single.double(), z, rtol=0, atol=1e-5 * float(z.abs().max()))


@pytest.mark.parametrize("subsample", SUBSAMPLE)
def test_scale_divides_by_the_root_of_the_inner_width(subsample):
    block, x = make(subsample=subsample, scale=True), features(2, C, 5, 3)
    z, rows = definition(block, x, scale=D**-0.5)
    assert torch.allclose(block(x), z, rtol=0, atol=1e-12)
    assert torch.allclose(block.attention_map(x), rows, rtol=0, atol=1e-12)
    assert not torch.allclose(z, definition(block, x)[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_norm_stands_between_w_z_and_the_sum(ndim):
    block, x = make("dot_product", ndim, norm="batch"), features(3, C, *SPATIAL[ndim])
    y = definition(block, x)[0] - x  # W_z y, which has no bias here
    axes = [0, *range(2, ndim + 2)]
    column = (1, C) + (1,) * ndim
    weight, bias = block.norm.weight.view(column), block.norm.bias.view(column)
    mean, var = block.norm.running_mean.view(column).clone(), block.norm.running_var.view(column).clone()
    normalised = (y - y.mean(axes, keepdim=True)) / (y.var(axes, keepdim=True, unbiased=False) + 1e-5).sqrt()
    assert block.out.bias is None
    assert torch.allclose(block.eval()(x), x + (y - mean) / (var + 1e-5).sqrt() * weight + bias, rtol=0, atol=1e-12)
    assert torch.allclose(block.train()(x), x + normalised * weight + bias, rtol=0, atol=1e-12)


def test_norm_may_be_anything_that_makes_a_module():
    block = make(norm=lambda channels: nn.GroupNorm(3, channels))
    x = features(2, C, 5, 3)
    y = definition(block, x)[0] - x
    assert torch.allclose(block(x), x + block.norm(y), rtol=0, atol=1e-12)
    assert isinstance(NonLocalBlock(C, norm=nn.BatchNorm2d).norm, nn.BatchNorm2d)


@pytest.mark.parametrize(("pairwise", "subsample"), list(itertools.product(PAIRWISE, SUBSAMPLE)))
def test_gradients(pairwise, subsample):
    torch.manual_seed(3)
    block = randomised(NonLocalBlock(3, pairwise=pairwise, inner_channels=2, subsample=subsample).double(), seed=4)
    x = features(2, 3, 2, 5, seed=7).requires_grad_()
    names = [name for name, _ in block.named_parameters()]

    def run(x, *weights):
        return torch.func.functional_call(block, dict(zip(names, weights, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *block.parameters()), eps=1e-6, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradients_in_every_dimension(ndim):
    block = randomised(NonLocalBlock(3, ndim=ndim, inner_channels=2, subsample="conv_pool", scale=True).double())
    x = features(2, 3, *{1: (5,), 2: (2, 3), 3: (2, 2, 3)}[ndim]).requires_grad_()
    assert torch.autograd.gradcheck(block, (x,), eps=1e-6, atol=1e-7, rtol=1e-5)


# what follows from the definition


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_sequence_image_and_clip_are_one_operation(pairwise):
    image, x = make(pairwise, 2), features(2, C, 3, 8)
    sequence, clip = make(pairwise, 1), make(pairwise, 3)
    state = image.state_dict()
    sequence.load_state_dict({n: w[..., 0] if w.ndim == 4 else w for n, w in state.items()})
    clip.load_state_dict({n: w[..., None] if w.ndim == 4 else w for n, w in state.items()})
    z = image(x)
    assert torch.allclose(sequence(x.flatten(2)), z.flatten(2), rtol=0, atol=1e-12)
    assert torch.allclose(clip(x.reshape(2, C, 2, 3, 4)).reshape(2, C, 3, 8), z, rtol=0, atol=1e-12)
    assert torch.allclose(sequence.attention_map(x.flatten(2)), image.attention_map(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("subsample", ["conv_pool", "pool_conv"])
def test_a_clip_of_one_frame_is_an_image_and_time_is_never_pooled(subsample):
    image, clip = make(subsample=subsample), make(ndim=3, subsample=subsample)
    clip.load_state_dict({n: w[..., None] if w.ndim == 4 else w for n, w in image.state_dict().items()})
    x = features(2, C, 1, 5, 4)
    assert torch.allclose(clip(x)[:, :, 0], image(x[:, :, 0]), rtol=0, atol=1e-12)
    assert clip.attention_map(features(1, C, 3, 5, 4)).shape == (1, 60, 3 * 2 * 2)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_positions_have_no_place(pairwise):
    block, x = make(pairwise), features(2, C, 5, 3)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(2))

    def shuffle(t):
        return from_positions(to_positions(t)[:, order], (5, 3))

    assert torch.allclose(block(shuffle(x)), shuffle(block(x)), rtol=0, atol=1e-12)
    assert not torch.allclose(block(shuffle(x)), block(x), rtol=0, atol=1e-2)


def test_any_size_will_do_and_images_do_not_see_each_other():
    block = make(subsample="conv_pool")
    for shape in ((4, 5), (7, 3), (2, 2)):
        x = features(3, C, *shape)
        together = block(x)
        assert together.shape == x.shape
        assert torch.allclose(together[1:2], block(x[1:2]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_sub_sampling_leaves_the_size_and_counts_the_keys(pairwise):
    x = features(1, C, 8, 14)
    for subsample in ("conv_pool", "pool_conv"):
        block = make(pairwise, subsample=subsample)
        rows = block.attention_map(x)
        assert block(x).shape == x.shape and rows.shape == (1, 112, 28)  # a quarter of the pairs
        if "gaussian" in pairwise:
            assert torch.allclose(rows.sum(2), torch.ones(1, 112, dtype=rows.dtype), rtol=0, atol=1e-12)
    constant = torch.ones(1, C, 8, 14, dtype=torch.float64)  # all keys alike: how many there are must not matter
    assert torch.allclose(make(pairwise, subsample="conv_pool")(constant), make(pairwise)(constant), atol=1e-12)


def test_the_two_orders_of_pooling_differ():
    first, second = make(subsample="conv_pool"), make(subsample="pool_conv")
    x = features(2, C, 6, 4)
    change = (first(x) - second(x)).norm() / (first(x) - x).norm()
    assert change > 0.1
    for block in (first, second):  # a map with non-negative weights, one per channel, does commute with a maximum
        block.load_state_dict({n: torch.eye(D, C).view(D, C, 1, 1) if n in ("key.weight", "value.weight") else w
                               for n, w in first.state_dict().items()})  # fmt: skip
    assert torch.allclose(first(x), second(x), rtol=0, atol=1e-12)


# at the start


@pytest.mark.parametrize("norm", [None, "batch", lambda channels: nn.GroupNorm(2, channels)])
@pytest.mark.parametrize(("pairwise", "ndim", "subsample"), ALL)
def test_a_new_block_is_the_identity_to_the_bit(pairwise, ndim, subsample, norm):
    block = NonLocalBlock(C, pairwise=pairwise, ndim=ndim, subsample=subsample, norm=norm)
    x = features(2, C, *SPATIAL[ndim], dtype=torch.float32) * 3
    assert block.is_identity()
    assert torch.equal(block(x), x) and torch.equal(block.eval()(x), x)


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_at_the_start_only_the_last_map_moves(pairwise, norm):
    torch.manual_seed(0)
    block = NonLocalBlock(C, pairwise=pairwise, norm=norm).double()
    x = features(2, C, 5, 3)
    step = torch.optim.SGD(block.parameters(), lr=0.5)
    target = features(2, C, 5, 3, seed=9)
    last = "out." if norm is None else "norm."

    def gradients():
        step.zero_grad()
        (block(x) - target).square().sum().backward()
        return {name: float(p.grad.abs().max()) for name, p in block.named_parameters()}

    first = gradients()
    assert all((value > 0) == name.startswith(last) for name, value in first.items()), first
    step.step()
    assert not block.is_identity()
    second = gradients()
    expected = {name for name in second if name != "key.bias" or pairwise != "embedded_gaussian"}
    assert all(second[name] > 0 for name in expected), second  # from the second step on everything learns


def test_never_both_zero():
    block = NonLocalBlock(C, norm="batch")
    assert block.out.weight.abs().max() > 0 and block.norm.weight.abs().max() == 0
    plain = NonLocalBlock(C)
    assert plain.out.weight.abs().max() == 0 and plain.out.bias.abs().max() == 0


@pytest.mark.parametrize("norm", [None, "batch"])
def test_weights_at_the_start_are_as_documented(norm):
    torch.manual_seed(0)
    for zero_init in (True, False):
        block = NonLocalBlock(256, pairwise="concatenation", zero_init=zero_init, norm=norm)
        for name in ("query", "key", "value", "out"):
            conv = getattr(block, name)
            std, weight = (0.0 if zero_init and norm is None and name == "out" else 0.01), conv.weight.detach()
            assert abs(float(weight.std()) - std) < 3e-4 and abs(float(weight.mean())) < 3e-4, name
            assert conv.bias is None or not conv.bias.any()
        assert 0.9 / 16 < float(block.concat.detach().abs().max()) <= 1 / 16  # (2 * 128) ** -0.5 is 1 / 16
        assert block.is_identity() == zero_init
    if norm:
        assert bool((block.norm.weight == 1).all())


def test_reset_parameters_starts_again():
    for norm in (None, "batch"):
        block = NonLocalBlock(C, norm=norm)
        randomised(block)
        assert not block.is_identity()
        block.reset_parameters()
        assert block.is_identity() and float(block.query.weight.detach().abs().max()) < 0.1
        x = features(2, C, 5, 3, dtype=torch.float32)
        assert torch.equal(block(x), x)


def test_is_identity_looks_at_every_number():
    for norm, names in ((None, ("out.weight", "out.bias")), ("batch", ("norm.weight", "norm.bias"))):
        for name in names:
            for value in (1e-30, float("nan")):
                block = NonLocalBlock(C, norm=norm)
                with torch.no_grad():
                    block.get_parameter(name).view(-1)[-1] = value
                assert not block.is_identity()
    assert not NonLocalBlock(C, zero_init=False, norm=lambda channels: nn.Identity()).is_identity()
    block = NonLocalBlock(C, norm="batch", zero_init=False)
    nn.init.zeros_(block.out.weight)  # batch normalisation of zeros is its running mean, which moves
    assert not block.is_identity()


# maps


def test_queries_in_every_spelling():
    block, x = make(ndim=3), features(2, C, 3, 4, 5)
    full = block.attention_map(x)
    assert full.shape == (2, 60, 60)
    places = [(0, 0, 0), (2, 3, 4), (1, 0, 3)]
    numbers = [0, 59, 23]
    for queries in (numbers, tuple(numbers) + (0,), torch.tensor(numbers), np.array(numbers), places, tuple(places),
                    torch.tensor(places), np.array(places), [list(p) for p in places], [0, (2, 3, 4), 23]):  # fmt: skip
        rows = block.attention_map(x, queries)
        assert rows.shape == (2, len(queries), 60)
        assert torch.allclose(rows[:, :3], full[:, numbers], rtol=0, atol=1e-14)
    assert torch.allclose(block.attention_map(x, 23), full[:, 23:24], rtol=0, atol=1e-14)
    assert torch.allclose(block.attention_map(x, [(1, 0, 3)]), full[:, 23:24], rtol=0, atol=1e-14)
    sequence = make(ndim=1)
    y = features(1, C, 9)
    assert torch.equal(sequence.attention_map(y, [(4,)]), sequence.attention_map(y, 4))


@pytest.mark.parametrize(("queries", "error", "sentence"), [
    ((3, 2), ValueError, r"one pixel or 2 positions. Use \[\(3, 2\)\] for the pixel, \[3, 2\] for the positions"),
    ([(5, 0)], IndexError, r"queries holds \(5, 0\), and the map has the size \(5, 3\); each of \(row, column\) counts"),
    ([(0, -1)], IndexError, r"\(0, -1\)"),
    ([(1, 2, 3)], ValueError, r"queries holds \(1, 2, 3\); allowed are ints, or tuples of ints \(row, column\)"),
    ([(1.0, 2.0)], ValueError, "tuples of ints"),
    (torch.rand(3, 2), ValueError, "tuples of ints"),
    (["ab"], ValueError, "tuples of ints"),
    ([None], ValueError, "tuples of ints"),
    ([15], IndexError, "15"),
    ([-1], IndexError, "-1"),
    (1.5, TypeError, "1.5"),
    ([True], TypeError, "True"),
    (torch.rand(3), TypeError, "float32"),
    (slice(2), TypeError, "queries is of type slice; allowed are None"),
])  # fmt: skip
def test_wrong_queries_are_named(queries, error, sentence):
    with pytest.raises(error, match=sentence):
        make().attention_map(features(1, C, 5, 3), queries)


@pytest.mark.parametrize(("pairwise", "subsample"), list(itertools.product(PAIRWISE, SUBSAMPLE)))
def test_embeddings_are_those_of_the_definition(pairwise, subsample):
    block, x = make(pairwise, subsample=subsample), features(2, C, 5, 4)
    q, k, v = block.embeddings(x)
    width, keys = (C if pairwise == "gaussian" else D), (20 if subsample is None else 4)
    assert q.shape == (2, 20, width) and k.shape == (2, keys, width) and v.shape == (2, keys, D)
    matrix = block.value.weight.detach()[:, :, 0, 0].numpy()
    position = (slice(0, 2), slice(2, 4)) if subsample else (slice(0, 1), slice(1, 2))  # of key 1
    patch = x[1, :, *position].flatten(1).numpy()  # (C, 4 or 1)
    bias = block.value.bias.detach().numpy()
    expected = matrix @ patch.max(1) + bias if subsample == "pool_conv" else (matrix @ patch).max(1) + bias
    assert np.allclose(v[1, 1].detach().numpy(), expected, rtol=0, atol=1e-12)
    if pairwise == "gaussian":
        assert np.array_equal(q[1, 7].numpy(), x[1, :, 1, 3].numpy())
        assert np.array_equal(k[1, 1].numpy(), patch.max(1))


def test_maps_have_gradients():
    block, x = make(), features(1, C, 5, 3).requires_grad_()
    block.attention_map(x, [3])[0, 0, 0].backward()
    assert float(x.grad.abs().max()) > 0


# half precision
# Compared is what follows the 1x1 convolutions, which round: q, k, v are taken as the block rounded them, and the
# exact result for these numbers is computed in float64. The two Gaussians average values, so that the error is
# measured in the largest |v|; the others do not, and it is measured in the largest |y|.


def exact(block, q, k, v):
    """Return y in float64 from given embeddings."""
    q, k, v = q.double(), k.double(), v.double()
    if block.pairwise == "concatenation":
        w = block.concat.detach().double()
        logits = (q @ w[:D])[:, :, None] + (k @ w[D:])[:, None, :]  # (B, N, M)
        return logits, logits.relu() @ v / k.shape[1]
    logits = q @ k.transpose(1, 2)  # (B, N, M)
    if block.pairwise == "dot_product":
        return logits, logits @ v / k.shape[1]
    return logits, logits.softmax(2) @ v


def with_large_logits(pairwise, subsample):
    """Return a float32 block and features for which the largest logit is about 12 000."""
    block = make(pairwise, subsample=subsample, dtype=torch.float32)
    x = features(2, C, 12, 13, dtype=torch.float32)
    with torch.no_grad():
        largest = float(exact(block, *block.embeddings(x))[0].abs().max())
        if pairwise == "gaussian":
            x *= (12_000 / largest) ** 0.5
        elif pairwise == "concatenation":
            block.concat *= 12_000 / largest
        else:
            for conv in (block.query, block.key):
                conv.weight *= (12_000 / largest) ** 0.5
                conv.bias *= (12_000 / largest) ** 0.5
    return block, x


@pytest.mark.parametrize("autocast", [False, True], ids=["half", "autocast"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("subsample", [None, "conv_pool"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_half_precision_at_large_logits(pairwise, subsample, dtype, autocast):
    block, x = with_large_logits(pairwise, subsample)
    if not autocast:
        block, x = block.to(dtype), x.to(dtype)
    x.requires_grad_()
    kept = []
    block.out.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0].detach()))
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        z = block(x)
        q, k, v = (e.detach() for e in block.embeddings(x))
        rows = block.attention_map(x, [0, 77]).detach()
    assert v.dtype == dtype and z.dtype == x.dtype
    logits, y = exact(block, q, k, v)
    assert float(logits.abs().max()) > 1e4
    assert z.isfinite().all()
    error = (to_positions(kept[0]).double() - y).abs().max()
    softmax = "gaussian" in pairwise
    assert error <= 1e-2 * (v if softmax else y).abs().max()
    if not softmax:  # sums in float32, rounded once
        assert error <= 0.6 * torch.finfo(dtype).eps * y.abs().max()
    if not softmax:
        return
    z.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in [x, *block.parameters()])
    assert rows.dtype == torch.float32
    assert torch.allclose(rows.double(), logits.softmax(2)[:, [0, 77]], rtol=0, atol=1e-2)
    assert torch.allclose(rows.sum(2), torch.ones(2, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_autocast_is_close_to_single_precision_at_ordinary_logits(pairwise):
    block, x = make(pairwise, dtype=torch.float32), features(2, C, 7, 5, dtype=torch.float32)
    exact_z = block(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = block(x)
        of_half = block(x.bfloat16())
    assert z.dtype == torch.float32 and of_half.dtype == torch.bfloat16
    assert (z - exact_z).abs().max() < 2e-2 * exact_z.abs().max()
    assert (of_half - exact_z).abs().max() < 3e-2 * exact_z.abs().max()


# what goes in


@pytest.mark.parametrize(("pairwise", "subsample"), list(itertools.product(PAIRWISE, SUBSAMPLE)))
def test_inputs_stay_and_strides_do_not_matter(pairwise, subsample):
    block, x = make(pairwise, subsample=subsample), features(2, C, 5, 4)
    before, z = x.clone(), block(x)
    block.attention_map(x, [3])
    assert torch.equal(x, before)
    last = x.to(memory_format=torch.channels_last)
    wide = torch.zeros(2, C, 5, 8, dtype=x.dtype)
    wide[..., ::2] = x
    for other in (last, wide[..., ::2], x.transpose(2, 3).contiguous().transpose(2, 3)):
        assert not other.is_contiguous()
        assert torch.allclose(block(other), z, rtol=0, atol=1e-12)
        assert torch.allclose(block.attention_map(other), block.attention_map(x), rtol=0, atol=1e-12)
    assert block(last).is_contiguous(memory_format=torch.channels_last) and z.is_contiguous()
    clip = make(pairwise, 3)
    y = features(2, C, 3, 4, 5)
    assert torch.allclose(clip(y.to(memory_format=torch.channels_last_3d)), clip(y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_one_position_and_no_image(pairwise):
    block = make(pairwise)
    x = features(2, C, 1, 1)
    assert torch.allclose(block(x), definition(block, x)[0], rtol=0, atol=1e-12)
    assert block(features(0, C, 3, 4)).shape == (0, C, 3, 4)


def test_one_channel():
    block = randomised(NonLocalBlock(1).double())
    assert block.inner_channels == 1
    x = features(2, 1, 4, 3)
    assert torch.allclose(block(x), definition(block, x)[0], rtol=0, atol=1e-12)


def image(*shape, **options):
    return torch.ones(shape, **options)


@pytest.mark.parametrize(("ndim", "x", "error", "sentence"), [
    (2, image(C, 5, 3), ValueError, r"x has 3 axes, shape \(6, 5, 3\); allowed is \(B, 6, H, W\). One image needs .*x\[None\]"),
    (1, image(C, 5), ValueError, r"allowed is \(B, 6, T\). One sequence needs a batch axis: x\[None\]"),
    (3, image(C, 4, 5, 3), ValueError, r"One clip needs a batch axis"),
    (2, image(2, C, 4, 5, 3), ValueError, r"x has 5 axes.*For clips build the block with ndim=3"),
    (3, image(2, C, 5, 3), ValueError, r"allowed is \(B, 6, T, H, W\). For images build the block with ndim=2"),
    (2, image(5), ValueError, r"x has 1 axes, shape \(5,\); allowed is \(B, 6, H, W\)\.$"),
    (2, image(2, 5, 3, C), ValueError, r"x has 5 channels.* Channels come second: x.movedim\(-1, 1\)"),
    (2, image(2, 4, 3, 5), ValueError, r"x has 4 channels, shape \(2, 4, 3, 5\).*Build the block with channels=4"),
    (2, image(2, C, 0, 3), ValueError, r"x has no positions"),
    (2, image(2, C, 5, 3, dtype=torch.float64), TypeError, r"dtype float64 and the block float32. Use x.to\(torch.float32\), or block"),
    (2, image(2, C, 5, 3, dtype=torch.uint8), TypeError, r"dtype uint8 and the block float32. Use x.to\(torch.float32\)\.$"),
    (2, image(2, C, 5, 3, device="meta"), ValueError, r"x is on meta and the block on cpu. Use block.to\('meta'\)\.$"),
    (2, np.ones((2, C, 5, 3)), TypeError, "x is of type ndarray; allowed is a tensor"),
])  # fmt: skip
def test_wrong_inputs_are_named(ndim, x, error, sentence):
    block = NonLocalBlock(C, ndim=ndim)
    for call in (block, block.attention_map, block.embeddings):
        with pytest.raises(error, match=sentence):
            call(x)
    if isinstance(x, torch.Tensor) and x.dtype == torch.uint8:
        with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(error, match=sentence):
            block(x)


@pytest.mark.parametrize(("ndim", "shape"), [(1, (1,)), (2, (1, 8)), (2, (8, 1)), (3, (4, 1, 8)), (3, (4, 8, 1))])
@pytest.mark.parametrize("subsample", ["conv_pool", "pool_conv"])
def test_too_small_to_pool(ndim, shape, subsample):
    with pytest.raises(ValueError, match=r"too small for the sub-sampling window .* Use subsample=None, or a larger"):
        NonLocalBlock(C, ndim=ndim, subsample=subsample)(torch.ones(1, C, *shape))
    if ndim == 3:  # a clip of one frame is no problem
        NonLocalBlock(C, ndim=ndim, subsample=subsample)(torch.ones(1, C, 1, 2, 2))


@pytest.mark.parametrize(("options", "error", "sentence"), [
    ({"pairwise": "dot"}, ValueError, "pairwise is 'dot'; allowed are 'gaussian', 'embedded_gaussian', 'dot_product', 'concat"),
    ({"pairwise": "embeded_gaussian"}, ValueError, "Did you mean 'embedded_gaussian'?"),
    ({"ndim": 4}, ValueError, "ndim is 4; allowed are 1, 2, 3"),
    ({"ndim": "2"}, ValueError, "ndim is '2'; allowed are 1, 2, 3"),
    ({"subsample": True}, ValueError, "subsample is True; allowed are None, 'conv_pool', 'pool_conv'"),
    ({"subsample": "conv-pool"}, ValueError, "Did you mean 'conv_pool'"),
    ({"channels": 0}, ValueError, "channels is 0; allowed is an int >= 1"),
    ({"channels": 6.0}, TypeError, r"channels is 6.0 \(float\)"),
    ({"inner_channels": 0}, ValueError, "inner_channels is 0"),
    ({"inner_channels": True}, TypeError, "inner_channels is True"),
    ({"scale": 0.5}, TypeError, r"scale is 0.5 \(float\); allowed are True and False"),
    ({"zero_init": None}, TypeError, "zero_init is None"),
    ({"scale": True, "pairwise": "gaussian"}, ValueError, "scale is True and pairwise is 'gaussian': .* no embedding"),
    ({"scale": True, "pairwise": "dot_product"}, ValueError, "'dot_product': no softmax follows"),
    ({"scale": True, "pairwise": "concatenation"}, ValueError, "'concatenation': no softmax .* Use scale=False"),
    ({"norm": "layer"}, ValueError, "norm is 'layer'; allowed are None, 'batch', or a callable"),
    ({"norm": nn.BatchNorm2d(C)}, ValueError, r"Use lambda channels: torch.nn.BatchNorm2d\(...\)"),
    ({"norm": lambda channels: channels}, TypeError, r"norm\(channels\) is of type int"),
    ({"norm": lambda channels: nn.BatchNorm2d(channels, affine=False)}, ValueError, "BatchNorm2d has no weight .*affine=True"),
])  # fmt: skip
def test_wrong_options_are_named(options, error, sentence):
    with pytest.raises(error, match=sentence):
        NonLocalBlock(**{"channels": C, **options})


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5), (2, 3, 4, 5, 2)])
def test_positions_there_and_back(shape):
    x = torch.arange(math.prod(shape)).reshape(shape)
    rows = to_positions(x)
    for n, place in enumerate(np.ndindex(*shape[2:])):  # the last axis runs fastest
        assert torch.equal(rows[:, n], x[:, :, *place])
    assert torch.equal(from_positions(rows, shape[2:]), x)
    assert torch.equal(from_positions(rows.contiguous(), list(shape[2:])), x)


def test_wrong_positions_are_named():
    with pytest.raises(ValueError, match=r"x has 2 axes, shape \(2, 3\); allowed is \(B, C, \*spatial\)"):
        to_positions(torch.ones(2, 3))
    with pytest.raises(TypeError, match="x is of type list"):
        to_positions([1])
    with pytest.raises(ValueError, match=r"spatial is \(2, 4\), which holds 8 positions, and y .* has N = 6"):
        from_positions(torch.ones(1, 6, 3), (2, 4))
    with pytest.raises(ValueError, match=r"spatial is \(\), which holds no positions"):
        from_positions(torch.ones(1, 1, 3), ())
    with pytest.raises(ValueError, match="y has 4 axes"):
        from_positions(torch.ones(1, 6, 3, 1), (2, 3))
    with pytest.raises(TypeError, match="y is of type ndarray"):
        from_positions(np.ones((1, 6, 3)), (2, 3))


# as a module among modules


@pytest.mark.parametrize(("pairwise", "subsample"), list(itertools.product(PAIRWISE, SUBSAMPLE)))
def test_state_dict_copy_and_pickle(pairwise, subsample):
    block, x = make(pairwise, subsample=subsample, norm="batch").eval(), features(2, C, 5, 3)
    file = io.BytesIO()
    torch.save(block.state_dict(), file)
    file.seek(0)
    other = NonLocalBlock(C, pairwise=pairwise, inner_channels=D, subsample=subsample, norm="batch").double().eval()
    assert not torch.equal(other(x), block(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    for same in (other, copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert torch.equal(same(x), block(x))


def test_names_of_the_weights_are_the_documented_ones():
    convolutions = ("query", "key", "value", "out")
    names = {f"{name}.{kind}" for name in convolutions for kind in ("weight", "bias")}
    assert set(NonLocalBlock(C).state_dict()) == names
    assert set(NonLocalBlock(C, pairwise="concatenation").state_dict()) == names | {"concat"}
    gaussian = {name for name in names if name.startswith(("value", "out"))}
    assert set(NonLocalBlock(C, pairwise="gaussian").state_dict()) == gaussian
    with_norm = set(NonLocalBlock(C, norm="batch").state_dict())
    assert "out.bias" not in with_norm and {"norm.weight", "norm.running_mean"} < with_norm
    assert NonLocalBlock(1024).value.weight.numel() * 4 == 2 * 1024**2  # claim I12: 2 C^2 weights in four maps


def test_what_is_printed_can_be_read():
    block = NonLocalBlock(64, pairwise="dot_product", ndim=3, subsample="pool_conv")
    assert block.extra_repr() == (
        "64, pairwise='dot_product', ndim=3, inner_channels=32, subsample='pool_conv', scale=False, zero_init=True"
    )
    rebuilt = eval(f"NonLocalBlock({block.extra_repr()})")
    assert repr(rebuilt) == repr(block)


EXPORTED = {(p, 2, "conv_pool") for p in PAIRWISE} | {("embedded_gaussian", n, s) for n in (1, 2, 3) for s in SUBSAMPLE}


@pytest.mark.parametrize(("pairwise", "ndim", "subsample"), sorted(EXPORTED, key=str))
def test_export_at_any_size(pairwise, ndim, subsample):
    block, x = make(pairwise, ndim, subsample).eval(), features(2, C, *(7, 5, 9)[:ndim])
    sizes = {axis: torch.export.Dim.AUTO for axis in (0, *range(2, ndim + 2))}
    program = torch.export.export(block, (x,), dynamic_shapes=(sizes,))
    for other in (x, features(3, C, *(8, 11, 6)[:ndim])):
        assert torch.allclose(program.module()(other), block(other), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_compile(pairwise):
    block, x = make(pairwise, subsample="conv_pool", dtype=torch.float32), features(2, C, 5, 4, dtype=torch.float32)
    compiled = torch.compile(block, fullgraph=True)
    assert torch.allclose(compiled(x), block(x), rtol=0, atol=1e-5)
    of_compiled = torch.autograd.grad(compiled(x).square().sum(), list(block.parameters()))
    of_block = torch.autograd.grad(block(x).square().sum(), list(block.parameters()))
    for a, b in zip(of_compiled, of_block, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-4 * max(1.0, float(b.abs().max())))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("pairwise", "subsample"), list(itertools.product(PAIRWISE, SUBSAMPLE)))
def test_on_a_gpu(pairwise, subsample):
    block, x = make(pairwise, subsample=subsample), features(2, C, 5, 3)
    z = definition(block, x)[0]
    block, x = block.to("cuda"), x.to("cuda")
    assert torch.allclose(block(x).cpu(), z, rtol=0, atol=1e-10)
    with torch.autocast("cuda", dtype=torch.float16):
        half = block.float()(x.float())
    assert half.dtype == torch.float32 and (half.cpu().double() - z).abs().max() < 2e-2 * z.abs().max()


# memory

METER = """
import json, os, sys, torch
from dnl_course.nn import NonLocalBlock
torch.set_num_threads(1)

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

def step(pairwise, height):
    block = NonLocalBlock(64, pairwise=pairwise, zero_init=False)
    x = torch.randn(1, 64, height, 128, requires_grad=True)
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # forget the peak so far
    block(x).square().sum().backward()
    return status("VmHWM") - before

class Naive(NonLocalBlock):
    def forward(self, x):
        return x + self.out((self.attention_map(x) @ self.embeddings(x)[2]).transpose(1, 2).view(1, 32, *x.shape[2:]))

def measure(pairwise, height):
    ours, theirs = os.pipe()
    if not (child := os.fork()):  # a fresh process that has torch already
        global NonLocalBlock
        if pairwise == "naive":
            pairwise, NonLocalBlock = "embedded_gaussian", Naive
        step(pairwise, 2)  # bring in the code
        os.write(theirs, json.dumps(step(pairwise, height)).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as answer:
        number = json.loads(answer.read())
    os.waitpid(child, 0)
    return number

print(json.dumps([measure(sys.argv[1], int(height)) for height in sys.argv[2:]]))
"""


def peaks(pairwise, *heights):
    """Return the peak memory of forward and backward at height * 128 positions, above what the process held before."""
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc, which Linux has")
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", METER, pairwise, *map(str, heights)],
        check=False,
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_memory_grows_with_positions_not_with_their_square(pairwise):
    top = 64 if pairwise == "gaussian" else 128  # 128 x 128 positions; the Gaussian is as wide as x, and takes longer
    half, full = peaks(pairwise, top // 2, top)
    print(pairwise, half / 2**20, full / 2**20)
    assert math.log2(full / half) <= 1.1
    assert 0 < full < (top * 128) ** 2 * 4 / 4  # a quarter of one map in float32


def test_the_meter_sees_a_map():
    half, full = peaks("naive", 16, 32)
    assert math.log2(full / half) > 1.7 and full > (32 * 128) ** 2 * 4


@pytest.mark.parametrize("pairwise", ["dot_product", "concatenation"])
@pytest.mark.parametrize("autocast", [False, True])
def test_the_identity_in_half_precision_with_large_features(pairwise, autocast):
    """y leaves the range of half precision, and 0 times infinity would be NaN."""
    torch.manual_seed(0)
    block = NonLocalBlock(512, pairwise=pairwise)
    x = (torch.randn(1, 512, 7, 7).abs() * (100 if pairwise == "dot_product" else 1000)).half()
    with torch.autocast("cpu", dtype=torch.float16, enabled=autocast):
        z = block(x.float()) if autocast else block.half()(x)
    assert block.is_identity() and torch.equal(z, x.to(z.dtype))
