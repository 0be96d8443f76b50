"""`DisentangledBlock` against its equations, written here as loops in float64, and against its own promises."""

import copy
import io
import itertools
import math
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from dnl_course.attention import VARIANTS
from dnl_course.classroom.counting import counting
from dnl_course.nn import PRESETS, DisentangledBlock, NonLocalBlock, Preset, insert, to_positions

SUBSAMPLE = (None, "conv_pool", "pool_conv")
SPATIAL = {1: (9,), 2: (5, 3), 3: (3, 3, 5)}  # odd: a row, a column is left over by the pooling
WINDOW = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}
OWN = ("dnl", "dnl_star")  # those with W_m
TWO = ("dnl", "dnl_dagger")  # those that add two softmaxes
GATED = ("dnl", "dnl_dagger", "nl_p")  # those that preset "official" has
VALID = [(p, v) for p in PRESETS for v in VARIANTS if p != "official" or v in GATED]
C, D = 6, 5
HALVES = [torch.float16, torch.bfloat16]


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


def options(preset, variant):
    """What a valid block needs besides preset and variant."""
    return {"temperature": 1.0} if preset == "mmseg" and variant in ("nl", "nl_u") else {}


def make(preset="block", variant="dnl", ndim=2, subsample=None, *, dtype=torch.float64, **given):
    given = options(preset, variant) | given
    block = DisentangledBlock(C, preset=preset, variant=variant, ndim=ndim, inner_channels=D, subsample=subsample, **given)
    return randomised(block).to(dtype)


def features(*shape, dtype=torch.float64, seed=1):
    values = 1 + 0.6 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.to(dtype)


def same(a, b, tolerance=1e-12):
    return torch.allclose(a, b, rtol=0, atol=tolerance * float(b.detach().abs().max()))


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


def softmax(row):
    weights = [math.exp(x - max(row)) for x in row]
    return [w / sum(weights) for w in weights]


def definition(block, x, preset, variant, scale=None, temperature=None):
    """Return (z, pairwise, unary, joint): the equations of the modules' headers, nothing shared with them.

    What a preset means is said again here: scale and temperature of "mmseg", the scalar and the gate of "official".
    """
    state = {name: value.detach().double().numpy() for name, value in block.state_dict().items()}
    window = WINDOW[block.ndim]
    scale = (D**-0.5 if preset == "mmseg" else 1.0) if scale is None else scale
    if temperature is None:
        temperature = 0.05 if preset == "mmseg" and variant not in ("nl", "nl_u") else 1.0

    def conv(name, values):  # (channels, *spatial)
        matrix = state[f"{name}.weight"].reshape(state[f"{name}.weight"].shape[:2])
        bias = state.get(f"{name}.bias", np.zeros(len(matrix)))
        return np.tensordot(matrix, values, axes=1) + bias.reshape(-1, *[1] * block.ndim)

    collected = []
    for image in x.detach().double().numpy():
        source = pooled(image, window) if block.subsample == "pool_conv" else image
        q, (k, v) = conv("query", image), (conv(name, source) for name in ("key", "value"))
        m = conv("mask", source) if variant in OWN else None
        if block.subsample == "conv_pool":
            k, v, m = pooled(k, window), pooled(v, window), None if m is None else pooled(m, window)
        queries, keys = (list(np.ndindex(*a.shape[1:])) for a in (q, k))
        mu_q, mu_k = (sum(a[:, *p] for p in places) / len(places) for a, places in ((q, queries), (k, keys)))
        taken = sum(q.flat) / q.size * np.ones(D) if preset == "official" else mu_q
        hidden = [scale * float(mu_q @ k[:, *j]) for j in keys]
        own = None if m is None else [float(m[0, *j]) for j in keys]
        unary = None if variant == "nl_p" else softmax(hidden if m is None else own)
        gate = float(state["gate"][0]) if preset == "official" else 1.0
        y, pairwise, joint = np.zeros((len(v), *image.shape[1:])), [], []
        for i in queries:
            plain = [scale * float(q[:, *i] @ k[:, *j]) for j in keys]
            white = [scale / temperature * float((q[:, *i] - taken) @ (k[:, *j] - mu_k)) for j in keys]
            pairwise.append(softmax(white))
            joint.append({
                "nl": lambda: softmax(plain),
                "nl_p": lambda: [gate * w for w in softmax(white)],
                "nl_u": lambda: softmax(hidden),
                "dnl": lambda: [gate * a + b for a, b in zip(softmax(white), softmax(own))],
                "dnl_star": lambda: softmax([a + b for a, b in zip(white, own)]),
                "dnl_dagger": lambda: [gate * a + b for a, b in zip(softmax(white), softmax(hidden))],
            }[variant]())  # fmt: skip
            for weight, j in zip(joint[-1], keys, strict=True):
                y[:, *i] += weight * v[:, *j]
        z = image + (y if preset in ("table5", "official") else conv("out", y))
        collected.append((z, pairwise, unary, joint))
    return [None if part[0] is None else torch.tensor(np.array(part)) for part in zip(*collected, strict=True)]


@pytest.mark.parametrize("subsample", SUBSAMPLE)
@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_equals_the_definition(preset, variant, subsample):
    block, x = make(preset, variant, subsample=subsample), features(2, C, *SPATIAL[2])
    z, pairwise, unary, joint = definition(block, x, preset, variant)
    assert same(block(x), z)
    assert not same(block(x), x, 0.01)  # the branch did something
    assert same(copy.deepcopy(block).float()(x.float()).double(), z, 1e-4 if preset == "mmseg" else 1e-5)
    maps = block.attention_maps(x)
    assert same(maps.joint, joint) and torch.equal(block.attention_map(x), maps.joint)
    assert maps.unary is None if unary is None else same(maps.unary, unary)
    assert maps.pairwise is None if variant == "nl_u" else same(maps.pairwise, pairwise)
    some = block.attention_maps(x, queries=[(4, 2), 0])
    assert same(some.joint, joint[:, [14, 0]])


@pytest.mark.parametrize("ndim", [1, 3])
@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_equals_the_definition_in_other_dimensions(preset, variant, ndim):
    block, x = make(preset, variant, ndim, "conv_pool"), features(2, C, *SPATIAL[ndim])
    assert same(block(x), definition(block, x, preset, variant)[0])


@pytest.mark.parametrize(("scale", "temperature"), [(True, 0.5), (False, 2), (True, 1)])
@pytest.mark.parametrize(("preset", "variant"), [("block", "dnl"), ("mmseg", "dnl_star"), ("official", "dnl_dagger"), ("table5", "nl_p")])
def test_scale_and_temperature_may_be_changed(preset, variant, scale, temperature):
    block = make(preset, variant, scale=scale, temperature=temperature)
    x = features(2, C, *SPATIAL[2])
    exact = definition(block, x, preset, variant, D**-0.5 if scale else 1.0, temperature)
    assert same(block(x), exact[0]) and same(block.attention_map(x), exact[3])
    assert not same(block.attention_map(x), make(preset, variant, scale=not scale, temperature=temperature).attention_map(x), 0.01)


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_the_maps_are_what_the_values_are_averaged_with(preset, variant):
    block, x = make(preset, variant, subsample="conv_pool"), features(2, C, *SPATIAL[2])
    y = (block.attention_map(x) @ block.embeddings(x)[2]).transpose(1, 2).unflatten(2, SPATIAL[2])
    assert same(x + block.out(y), block(x))
    total = 2.0 if variant in TWO else 1.0
    if preset == "official":
        total += float(block.gate.detach()) - 1
    rows = block.attention_map(x).sum(2)
    assert same(rows, torch.full_like(rows, total))


@pytest.mark.parametrize("subsample", SUBSAMPLE)
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_nl_is_the_non_local_block(norm, ndim, subsample):
    given = {"ndim": ndim, "inner_channels": D, "subsample": subsample, "norm": norm}
    for scale in (False, True):
        wang = randomised(NonLocalBlock(C, scale=scale, **given))
        block = DisentangledBlock(C, variant="nl", scale=scale, **given)
        assert block.state_dict().keys() == wang.state_dict().keys()
        block.load_state_dict(wang.state_dict())
        x = features(2, C, *SPATIAL[ndim], dtype=torch.float32)
        assert torch.equal(block(x), wang(x))
        assert same(block.attention_map(x), wang.attention_map(x), 1e-5)
        wang.load_state_dict(DisentangledBlock(C, variant="nl", scale=scale, **given).state_dict())


def test_table_5_counts_these_weights():
    def count(**given):
        return sum(p.numel() for p in DisentangledBlock(512, preset="table5", **given).parameters())

    assert count(variant="nl") == 2 * 512**2 and count() == 2 * 512**2 + 512  # claims F1, F3
    shapes = {n: tuple(p.shape) for n, p in DisentangledBlock(512, preset="official").named_parameters()}
    assert shapes.pop("gate") == (1,) and len(shapes) == 6
    assert shapes["value.weight"] == (512, 512, 1, 1) and shapes["query.bias"] == shapes["key.bias"] == (256,)


# gradients


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_gradients(preset, variant):
    block, x = make(preset, variant, subsample="conv_pool"), features(1, C, 5, 3).requires_grad_()
    if preset == "mmseg":
        with torch.no_grad():
            block.query.weight *= 0.2  # logits of 100 are too steep for finite differences
    names, values = zip(*block.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *(v.detach().requires_grad_() for v in values)), fast_mode=True)


@pytest.mark.parametrize("variant", ["nl_p", "dnl", "dnl_star"])
def test_centring_and_softmax_do_not_see_the_biases_of_query_and_key(variant):
    block, x = make("block", variant), features(2, C, *SPATIAL[2])
    z = block(x)
    with torch.no_grad():
        block.query.bias += 1.5
        block.key.bias -= 0.7
    assert same(block(x), z)


def test_maps_have_gradients():
    for preset in ("block", "official"):
        block, x = make(preset), features(1, C, 5, 3).requires_grad_()
        block.attention_map(x, [3])[0, 0, 0].backward()
        assert float(x.grad.abs().max()) > 0 and all(p.grad is not None for p in (block.query.weight, block.mask.weight))
        assert preset == "block" or float(block.gate.grad.abs()) > 0


# dimensions and positions


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_sequence_image_and_clip_are_one_operation(preset, variant):
    sequence, x = make(preset, variant, 1), features(2, C, 30)
    for ndim, shape in ((2, (5, 6)), (3, (2, 5, 3))):
        block = make(preset, variant, ndim)
        block.load_state_dict({n: w.reshape(block.state_dict()[n].shape) for n, w in sequence.state_dict().items()})
        assert same(block(x.unflatten(2, shape)).flatten(2), sequence(x))


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_positions_have_no_place_and_images_do_not_see_each_other(preset, variant):
    block, x = make(preset, variant), features(3, C, 5, 3)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(2))
    moved = block(x.flatten(2)[:, :, order].unflatten(2, (5, 3)))
    assert same(moved, block(x).flatten(2)[:, :, order].unflatten(2, (5, 3)))
    assert same(block(x[1:2]), block(x)[1:2])
    assert block(x[:, :, :1, :1]).shape == (3, C, 1, 1) and block(x[:0]).shape == (0, C, 5, 3)


# what the terms do


def test_constant_queries_collapse_nl_and_leave_dnl_its_unary_term():
    x = features(2, C, 5, 3)
    for variant in ("nl", "dnl"):
        block = make("block", variant)
        with torch.no_grad():
            block.query.weight.zero_()  # all queries are the bias
            if variant == "dnl":
                block.mask.weight *= 5
            maps = block.attention_maps(x)
        rows = maps.joint
        assert (rows - rows[:, :1]).abs().max() < 1e-15
        if variant == "nl":  # every query looks at the favourites of one
            assert rows.max() > 2 / 15
        else:  # the pairwise term steps back, and the learned one is still there
            assert same(maps.pairwise, torch.full_like(maps.pairwise, 1 / 15)) and maps.unary.max() > 2 / 15


@pytest.mark.parametrize("preset", PRESETS)
def test_dnl_contains_global_average_pooling(preset):
    x = features(2, C, 5, 3)
    block = make(preset)
    with torch.no_grad():
        block.mask.weight.zero_()
    v = block.embeddings(x)[2]
    maps = block.attention_maps(x)
    assert same(maps.unary, torch.full_like(maps.unary, 1 / 15))
    without = make(preset, "nl_p")
    without.load_state_dict({n: w for n, w in block.state_dict().items() if n != "mask.weight"})
    difference = block(x) - without(x)
    average = v.mean(1)[:, :, None, None]  # (B, D or C, 1, 1)
    if preset in ("block", "mmseg"):
        average = average.flatten(1) @ block.out.weight.flatten(1).T
    assert same(difference, average.reshape(2, C, 1, 1).expand_as(difference), 1e-11)


@pytest.mark.parametrize("variant", TWO)
def test_e3_an_instance_norm_right_after_deletes_the_unary_term(variant):
    x = features(2, C, 5, 3)
    for norm, deleted in ((lambda c: nn.InstanceNorm2d(c), True), (lambda c: nn.GroupNorm(2, c), False)):
        block, without = (make("block", v, norm=norm, zero_init=False) for v in (variant, "nl_p"))
        without.load_state_dict({n: w for n, w in block.state_dict().items() if n != "mask.weight"})
        assert same(block(x) - x, without(x) - x, 1e-11) == deleted
        assert ("takes the unary term out again" in block.explain()) == deleted
    alone = make("block", "nl_u", norm=lambda c: nn.InstanceNorm2d(c), zero_init=False)
    assert same(alone(x), x, 1e-10)  # the unary term alone: nothing is left
    plain = make("block", "nl_u")(x) - x
    assert same(plain, plain[..., :1, :1].expand_as(plain)) and float(plain.detach().abs().max()) > 0.1  # one vector everywhere


@pytest.mark.parametrize(("norm", "training", "evaluation"), [
    (lambda c: nn.InstanceNorm2d(c), True, True),
    (lambda c: nn.InstanceNorm2d(c, affine=True), True, True),
    (lambda c: nn.InstanceNorm2d(c, track_running_stats=True), True, False),
    (lambda c: nn.GroupNorm(c, c), True, True),
    (lambda c: nn.GroupNorm(c, c, affine=False), True, True),
    (lambda c: nn.GroupNorm(3, c), False, False),
    (type("InstanceNorm2dOfMine", (nn.Identity,), {}), False, False),
    (type("Mine", (nn.InstanceNorm2d,), {"forward": lambda self, x: x}), False, False),
])  # fmt: skip
def test_explain_looks_at_the_norm_and_not_at_its_name(norm, training, evaluation):
    x = features(2, C, 5, 3)
    block, without = (make("block", variant, norm=norm, zero_init=False) for variant in ("dnl", "nl_p"))
    without.load_state_dict({n: w for n, w in block.state_dict().items() if n != "mask.weight"})
    text = block.explain()
    for mode, deleted in ((False, evaluation), (True, training)):
        assert same(block.train(mode)(x) - x, without.train(mode)(x) - x, 1e-11) == deleted
    assert ("takes the unary term out again" in text) == training
    assert (", and in training takes" in text) == ("; in evaluation it takes stored means out" in text)
    assert (", and in training takes" in text) == (training and not evaluation)
    assert "takes the unary" not in make("block", "dnl_star", norm=norm, zero_init=False).explain()


# at the start


def starts(preset, variant, norm, zero_init):
    """A block that promises to be the identity."""
    torch.manual_seed(0)
    norm = (lambda c: nn.GroupNorm(2, c)) if norm == "group" else norm
    return DisentangledBlock(C, preset=preset, variant=variant, norm=norm, zero_init=zero_init, **options(preset, variant))


STARTS = [(n, z) for n in (None, "batch", "group") for z in (None, True, "out", "norm") if z != "norm" or n]


@pytest.mark.parametrize(("norm", "zero_init"), STARTS)
@pytest.mark.parametrize(("preset", "variant"), [(p, v) for p, v in VALID if p in ("block", "mmseg")])
def test_a_new_block_is_the_identity_to_the_bit(preset, variant, norm, zero_init):
    block = starts(preset, variant, norm, zero_init)
    x = features(2, C, 5, 3, dtype=torch.float32) * 3
    assert block.is_identity()
    assert torch.equal(block(x), x) and torch.equal(block.eval()(x), x)
    network = nn.Sequential(nn.Conv2d(3, C, 3), nn.ReLU(), nn.Conv2d(C, 2, 1))
    image = features(1, 3, 9, 7, dtype=torch.float32)
    before = network(image)
    with insert(network, {"1": block}):
        assert torch.equal(network(image), before)


@pytest.mark.parametrize(("norm", "zero_init"), STARTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns_from_there(variant, norm, zero_init):
    """After three steps z - x depends on y: on every convolution before it."""
    block = starts("block", variant, norm, zero_init).double()
    zero = {"out": "out.", "norm": "norm."}.get(zero_init, "out." if norm is None else "norm.")
    last = [name for name in block.state_dict() if name.startswith(zero) and "running" not in name and "num" not in name]
    assert last and all(not block.state_dict()[name].any() for name in last)
    assert zero == "out." or block.out.weight.any()  # never both
    x, target = features(2, C, 5, 3), features(2, C, 5, 3, seed=9)
    step = torch.optim.SGD(block.parameters(), lr=0.001)  # a norm enlarges what is near 0 by up to 1e-5 ** -0.5
    first = None
    for _ in range(3):
        step.zero_grad()
        loss = (block(x) - target).square().mean()
        first = float(loss.detach()) if first is None else first
        loss.backward()
        step.step()
    assert not block.is_identity() and float((block(x) - target).square().mean().detach()) < first
    step.zero_grad()
    (block(x) - x).square().sum().backward()
    for name in ("value", "out", *(["mask"] if variant in OWN else []), *(["query", "key"] if variant not in OWN else [])):
        assert float(getattr(block, name).weight.grad.abs().max()) > 0, name
    branch = block(x) - x
    with torch.no_grad():
        block.value.weight *= -1
    assert not torch.equal(block(x) - x, branch)


def test_the_released_configuration_starts_with_its_unary_term():
    torch.manual_seed(0)
    x = features(2, C, 5, 3, dtype=torch.float32)
    for variant in GATED:
        block = DisentangledBlock(C, preset="official", variant=variant)
        assert block.is_identity() == torch.equal(block(x), x) == (variant == "nl_p")  # then the gate shuts all
        branch = block(x) - x
        assert (branch - branch[..., :1, :1]).abs().max() < 1e-6
    assert not DisentangledBlock(C, preset="table5").is_identity()
    with pytest.raises(ValueError, match="is not the identity"):
        insert(nn.Sequential(nn.Conv2d(3, C, 1)), {"0": DisentangledBlock(C, preset="table5")})


def test_is_identity_looks_at_every_number():
    x = features(2, C, 5, 3, dtype=torch.float32)
    cases = [(None, None, ("out.weight", "out.bias")), ("batch", "norm", ("norm.weight", "norm.bias")),
             ("batch", "out", ("out.weight", "norm.bias", "norm.running_mean"))]  # fmt: skip
    for norm, zero_init, names in cases:
        for name in names:
            block = DisentangledBlock(C, norm=norm, zero_init=zero_init).eval()
            assert block.is_identity() and torch.equal(block(x), x)
            block.state_dict()[name].view(-1)[-1] = 0.5
            assert not block.is_identity() and not torch.equal(block(x), x), name
    own = DisentangledBlock(C, norm=lambda c: nn.Sigmoid(), zero_init="out")  # makes 1/2 of 0
    assert not own.is_identity() and not torch.equal(own(x), x)
    assert DisentangledBlock(C, norm=lambda c: nn.InstanceNorm2d(c), zero_init="out").is_identity()
    assert not DisentangledBlock(C, zero_init=False).is_identity()


def test_is_identity_knows_that_nothing_follows():
    block, x = DisentangledBlock(C, norm=lambda c: nn.Identity(), zero_init="out"), features(2, C, 5, 3, dtype=torch.float32)
    assert block.is_identity() and torch.equal(block(x), x)
    own = DisentangledBlock(C, norm=type("Mine", (nn.Identity,), {"forward": lambda self, x: x + 1}), zero_init="out")
    assert not own.is_identity() and not torch.equal(own(x), x)


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("kind", [DisentangledBlock, NonLocalBlock])
def test_on_the_meta_device_there_is_nothing_to_look_at_yet(kind, norm):
    with torch.device("meta"):
        block = kind(C, norm=norm)
    block.reset_parameters()  # nothing to draw, and no error
    with pytest.raises(ValueError, match=r"parameters on the meta device.* Use block\.to_empty\(device='cpu'\), then"):
        block.is_identity()
    block.to_empty(device="cpu")
    for value in block.state_dict().values():
        value.fill_(3)
    block.reset_parameters()
    x = features(2, C, 5, 3, dtype=torch.float32)
    assert block.is_identity() and torch.equal(block(x), x)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_weights_at_the_start_are_as_documented(norm):
    torch.manual_seed(0)
    for preset, zero_init in itertools.product(("block", "official"), (None, False)):
        block = DisentangledBlock(256, preset=preset, norm=norm if preset == "block" else None, zero_init=zero_init)
        for name in ("query", "key", "value", *(("out",) if block.preset.out else ())):
            zero = name == "out" and zero_init is None and norm is None
            conv = getattr(block, name)
            assert abs(float(conv.weight.detach().std()) - (0.0 if zero else 0.01)) < 3e-4, name
            assert conv.bias is None or not conv.bias.any()
        assert 0.005 < float(block.mask.weight.detach().std()) < 0.015 and block.mask.bias is None
        assert not hasattr(block, "gate") or not block.gate.any()
    randomised(block)
    block.reset_parameters()
    assert not block.gate.any() and float(block.value.weight.detach().abs().max()) < 0.1


# half precision: compared is what follows the 1x1 convolutions, from the embeddings as the block rounded them


def exact_y(block, q, k, v, m):
    """Return (largest logit, y) in float64 from given embeddings."""
    q, k, v = q.double(), k.double(), v.double()
    m = None if m is None else m.double()
    taken = q.mean((1, 2), keepdim=True) if block.preset.name == "official" else q.mean(1, keepdim=True)
    scale = D**-0.5 if block.preset.scale else 1.0
    white = scale / block.preset.temperature * (q - taken) @ (k - k.mean(1, keepdim=True)).transpose(1, 2)
    plain, hidden = scale * q @ k.transpose(1, 2), scale * (q.mean(1, keepdim=True) @ k.transpose(1, 2)).squeeze(1)
    gate = float(block.gate.detach()) if block.preset.gate else 1.0
    unary = torch.softmax(m if block.variant in OWN else hidden, 1).unsqueeze(1)
    joint = {
        "nl": lambda: plain.softmax(2),
        "nl_p": lambda: gate * white.softmax(2),
        "nl_u": lambda: unary.expand_as(white),
        "dnl": lambda: gate * white.softmax(2) + unary,
        "dnl_star": lambda: (white + m.unsqueeze(1)).softmax(2),
        "dnl_dagger": lambda: gate * white.softmax(2) + unary,
    }[block.variant]()
    return float(max(a.abs().max() for a in (white, plain))), joint @ v


@pytest.mark.parametrize("autocast", [False, True], ids=["half", "autocast"])
@pytest.mark.parametrize("dtype", HALVES, ids=["float16", "bfloat16"])
@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_half_precision_at_large_logits(preset, variant, dtype, autocast):
    block, x = make(preset, variant, dtype=torch.float32), features(2, C, 7, 9, dtype=torch.float32)
    q, k, v = block.embeddings(x)
    with torch.no_grad():
        largest, _ = exact_y(block, q, k, v, block.unary_logits(x))
        for conv in (block.query, block.key):
            conv.weight *= (12_000 / largest) ** 0.5
            if conv.bias is not None:
                conv.bias *= (12_000 / largest) ** 0.5
        if variant in OWN:
            block.mask.weight *= 10_000 / float(block.unary_logits(x).abs().max())
    if not autocast:
        block, x = block.to(dtype), x.to(dtype)
    x.requires_grad_()
    kept = []
    block.out.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0].detach()))
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        z = block(x)
        q, k, v = (e.detach() for e in block.embeddings(x))
        m = block.unary_logits(x)
        rows = block.attention_map(x).detach()
    assert v.dtype == dtype and z.dtype == x.dtype and rows.dtype == torch.float32
    largest, y = exact_y(block, q, k, v, None if m is None else m.detach())
    assert largest > 1e4 and (variant not in OWN or float(m.detach().abs().max()) > 9e3)
    assert z.isfinite().all()
    bound = 1e-2 * v.double().abs().max()
    assert (to_positions(kept[0]).double() - y).abs().max() <= bound
    assert (rows.double() @ v.double() - y).abs().max() <= bound
    z.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in [x, *block.parameters()])


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_autocast_is_close_to_single_precision_at_ordinary_logits(preset, variant):
    block, x = make(preset, variant, dtype=torch.float32), features(2, C, 7, 5, dtype=torch.float32)
    with torch.no_grad():
        for conv in (block.query, block.key):
            conv.weight *= 0.3
    exact = block(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = block(x)
    assert z.dtype == torch.float32 and (z - exact).abs().max() < 3e-2 * exact.abs().max()


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_autocast_rounds_nothing_after_the_convolutions(preset, variant):
    block, x = make(preset, variant, dtype=torch.bfloat16), features(2, C, 7, 5, dtype=torch.bfloat16)
    z, rows = block(x), block.attention_map(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(block(x), z) and torch.equal(block.attention_map(x), rows)


# what goes in


@pytest.mark.parametrize("subsample", SUBSAMPLE)
@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_inputs_stay_and_strides_do_not_matter(preset, variant, subsample):
    block, x = make(preset, variant, subsample=subsample), features(2, C, 5, 4)
    before, z = x.clone(), block(x)
    block.attention_maps(x, [3])
    block.unary_logits(x)
    z_before = z.clone()
    z += 1  # what comes out is no view of what went in, or of one vector
    assert torch.equal(x, before) and torch.equal(block(x), z_before)
    wide = torch.zeros(2, C, 5, 8, dtype=x.dtype)
    wide[..., ::2] = x
    for other in (x.to(memory_format=torch.channels_last), wide[..., ::2]):
        assert not other.is_contiguous() and same(block(other), z_before)


@pytest.mark.parametrize(("x", "error", "sentence"), [
    (torch.ones(C, 5, 3), ValueError, r"One image needs a batch axis: x\[None\]"),
    (torch.ones(2, 5, 3, C), ValueError, r"Channels come second"),
    (torch.ones(2, C, 5, 3).double(), TypeError, "x has the dtype float64 and the block float32"),
    (torch.ones(2, C, 1, 1), ValueError, "too small for the sub-sampling window"),
])  # fmt: skip
def test_wrong_inputs_are_named(x, error, sentence):
    block = DisentangledBlock(C, subsample="pool_conv")
    for run in (block, block.attention_maps, block.unary_logits):
        with pytest.raises(error, match=sentence):
            run(x)
    with pytest.raises(IndexError, match="each of .row, column. counts from 0"):
        block.attention_maps(torch.ones(2, C, 5, 3), [(5, 0)])


SPELT = {"DNL": "dnl", "dnl*": "dnl_star", "DNL*": "dnl_star", "dnl†": "dnl_dagger", "NL_P": "nl_p"}


@pytest.mark.parametrize(("own", "given", "refused"), [
    (torch.float32, torch.float64, True),
    (torch.float64, torch.float32, True),
    (torch.float64, torch.float64, False),
    (torch.float32, torch.bfloat16, False),
    (torch.bfloat16, torch.float32, False),
])  # fmt: skip
@pytest.mark.parametrize("kind", [DisentangledBlock, NonLocalBlock])
def test_autocast_leaves_float64_alone(kind, own, given, refused):
    block, x = kind(C).to(own), features(2, C, 5, 3, dtype=given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        if refused:
            names = [str(dtype).removeprefix("torch.") for dtype in (given, own)]
            with pytest.raises(TypeError, match=rf"x has the dtype {names[0]} and the block {names[1]}. Use x.to\(torch.{names[1]}\)"):
                block(x)
        else:
            assert block(x).shape == x.shape


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's forward mode uses it
@pytest.mark.parametrize("variant", VARIANTS)
def test_second_derivatives_and_forward_mode(variant):
    block, x = make("block", variant), features(1, C, 3, 2).requires_grad_()

    def second():
        (first,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)

    def forward():
        return torch.func.jvp(block, (x.detach(),), (torch.ones_like(x),))

    if variant != "nl_u":  # which needs no kernel
        for run in (second, forward):
            with pytest.raises(RuntimeError, match="is not implemented|not support"):
                run()
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(block, x, fast_mode=True)
        forward()


def test_an_average_beyond_half_precision_is_its_largest_number():
    block, kept = make("block", "dnl"), []
    with torch.no_grad():
        for name, value in block.state_dict().items():
            value.fill_(60_000 if name == "value.bias" else 0)
    block.half().out.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    block(features(1, C, 3, 2, dtype=torch.float16))  # rows sum to 2: y = 120,000
    assert torch.equal(kept[0], torch.full_like(kept[0], 65504))


def test_maps_of_chosen_queries_can_be_written_into():
    block, x = make("block", "nl_u"), features(2, C, 5, 3)
    with torch.no_grad():
        for queries in ([3], [0, 4, 7]):
            maps = block.attention_maps(x, queries)
            unary, joint = maps.unary.clone(), maps.joint.clone()
            maps.joint[:, 0] = 0
            assert torch.equal(maps.unary, unary) and torch.equal(maps.joint[:, 1:], joint[:, 1:])


@pytest.mark.parametrize(("given", "error", "sentence", "mend"), [
    ({"variant": "dln"}, ValueError, "'nl', 'nl_p', 'nl_u', 'dnl', 'dnl_star', 'dnl_dagger'. Did you mean 'dnl'", {"variant": "dnl"}),
    *(({"variant": v}, ValueError, f"Did you mean {m!r}", {"variant": m}) for v, m in SPELT.items()),
    ({"preset": "mmsegmentation"}, ValueError, "'block', 'table5', 'mmseg', 'official'", {"preset": "mmseg"}),
    ({"preset": "mmseg", "variant": "nl"}, ValueError, "Use temperature=1", {"temperature": 1}),
    ({"temperature": 2, "variant": "nl_u"}, ValueError, "'nl_u' has none. Use temperature=1", {"temperature": 1}),
    ({"temperature": 1e-39}, ValueError, "allowed is 1e-30 and more", {"temperature": 0.1}),
    ({"temperature": 0}, ValueError, "temperature is 0; allowed is a finite number above 0", {"temperature": 0.1}),
    ({"temperature": "1"}, TypeError, "temperature is '1'", {"temperature": 1}),
    ({"scale": 0.5}, TypeError, r"scale is 0.5 \(float\); allowed are True and False", {"scale": True}),
    ({"preset": "official", "variant": "nl"}, ValueError, "allowed are 'dnl', 'dnl_dagger' and 'nl_p'", {"variant": "dnl"}),
    ({"preset": "official", "variant": "dnl_star"}, ValueError, "multiplies the pairwise term by a gate", {"variant": "nl_p"}),
    ({"preset": "table5", "norm": "batch"}, ValueError, "no W_z that it could follow. .* preset='block'", {"preset": "block"}),
    ({"preset": "official", "zero_init": True}, ValueError, "no W_z: .* Use preset='block'", {"preset": "block"}),
    ({"preset": "table5", "zero_init": "out"}, ValueError, "no W_z: .* Use preset='block'", {"preset": "block"}),
    ({"zero_init": "norm"}, ValueError, "there is no norm. Use zero_init='out', or norm='batch'", {"norm": "batch"}),
    ({"zero_init": "W_z"}, ValueError, "zero_init is 'W_z'; allowed are True, False, 'out' and 'norm'", {"zero_init": "out"}),
    ({"zero_init": 1}, ValueError, "zero_init is 1; allowed", {"zero_init": True}),
    ({"norm": "layer"}, ValueError, "norm is 'layer'; allowed are None, 'batch', or a callable", {"norm": "batch"}),
    ({"norm": lambda c: nn.InstanceNorm2d(c)}, ValueError, "InstanceNorm2d has no weight that could be 0", {"zero_init": "out"}),
    ({"subsample": "conv-pool"}, ValueError, "Did you mean 'conv_pool'", {"subsample": "conv_pool"}),
    ({"inner_channels": 0}, ValueError, "inner_channels is 0", {"inner_channels": 1}),
    ({"ndim": 4}, ValueError, "ndim is 4; allowed are 1, 2, 3", {"ndim": 3}),
    ({"ndim": 2.0}, ValueError, "ndim is 2.0; allowed are 1, 2, 3", {"ndim": 2}),
    ({"ndim": torch.tensor(2)}, ValueError, r"ndim is tensor\(2\); allowed are 1, 2, 3", {"ndim": np.int64(2)}),
])  # fmt: skip
def test_contradictions_are_named_with_the_mend(given, error, sentence, mend):
    with pytest.raises(error, match=sentence):
        DisentangledBlock(C, **given)
    DisentangledBlock(C, **{**given, **mend})


def test_a_preset_fixes_the_rest():
    with pytest.raises(TypeError, match="gate, out: a preset fixes all but scale, temperature, norm, zero_init"):
        PRESETS["block"].changed(out=False, gate=True)
    with pytest.raises(AttributeError):
        PRESETS["block"].scale = True
    assert list(PRESETS) == ["block", "table5", "mmseg", "official"] and DisentangledBlock(C).preset == PRESETS["block"]
    assert PRESETS["official"].differences(PRESETS["block"]) == {
        "full_value": (True, False), "out": (False, True), "scalar_mean": (True, False), "gate": (True, False),
        "zero_init": (False, True),
    }  # fmt: skip
    changed = DisentangledBlock(C, preset="mmseg", scale=False, temperature=np.float64(0.5), norm="batch", zero_init="out").preset
    assert changed == Preset("mmseg", scale=False, temperature=0.5, norm="batch", zero_init="out")
    assert type(changed.temperature) is float


# explain


@pytest.mark.parametrize("given", [{}, {"scale": True, "temperature": 0.3}], ids=["preset", "changed"])
@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_explain_prints_what_is_computed(preset, variant, given):
    """Parse the printed equation and compute the weights with its numbers, from the embeddings."""
    if variant in ("nl", "nl_u"):
        given = {name: value for name, value in given.items() if name != "temperature"}
    block, x = make(preset, variant, **given), features(2, C, 5, 3)
    lines = block.explain().splitlines()
    assert lines[0].endswith(f"variant={variant!r}, preset={preset!r}") and lines[1].startswith("z_i = ")
    formula, total = re.fullmatch(r"omega_ij = (.*\)) +each row sums to (.*)", lines[2]).groups()
    q, k, v = block.embeddings(x)
    gate = float(block.gate.detach()) if preset == "official" else None
    code = formula.replace("(q_i - mu_q).(k_j - mu_k)", "white").replace("(q_i - mean(q)).k_j", "white_all")
    for printed, name in (("mu_q.k_j", "hidden"), ("q_i.k_j", "plain"), ("m_j", "own")):
        code = code.replace(printed, name)
    code = re.sub(r"([\d.]+) (\w)", r"\1 * \2", code)
    mean = q.mean(1, keepdim=True)
    kc = (k - k.mean(1, keepdim=True)).transpose(1, 2)
    known = {
        "softmax_j": lambda logits: logits.softmax(2), "gate": gate, "white": (q - mean) @ kc,
        "white_all": (q - q.mean((1, 2), keepdim=True)) @ k.transpose(1, 2),
        "plain": q @ k.transpose(1, 2), "hidden": mean @ k.transpose(1, 2),
        "own": block.unary_logits(x).unsqueeze(1) if variant in OWN else None,
    }  # fmt: skip
    weights = eval(code, {"__builtins__": {}}, known)
    assert (weights - block.attention_map(x)).abs().max() < 1e-4  # six digits are printed
    assert abs(eval(total, {}, {"gate": gate}) - float(weights.sum(2).mean().detach())) < 1e-9
    widths = [int(n) for n in re.findall(r": (\d+)|x: (\d+)", lines[3]) for n in n if n]
    assert widths == [C, D, v.shape[2], *([1] if variant in OWN else [])]


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_explain_prints_widths_counts_and_the_state(preset, variant):
    for norm, zero_init in ((None, None), *([("batch", "out"), ("batch", None)] if preset in ("block", "mmseg") else [])):
        block = DisentangledBlock(C, preset=preset, variant=variant, norm=norm, zero_init=zero_init, **options(preset, variant))
        text = block.explain()
        parameters = sum(p.numel() for p in block.parameters())
        assert f"\n{parameters:,} parameters; now z is" in text.replace("now z = x", "now z is")
        x = features(1, C, 5, 3, dtype=torch.float32)
        assert ("now z = x, the identity" in text) == torch.equal(block(x), x)
        assert "now z is not x" in randomised(block).explain()
        assert ("BatchNorm2d(W_z y_i) + x_i" in text) == ("BatchNorm2d follows W_z" in text) == (norm == "batch")
    about = text.partition("How this differs from what is printed:\n")[2]
    assert ("there is no W_z" in about) == (preset in ("table5", "official"))
    biased = [f"W_{s}" for s, n in zip("qkvz", ("query", "key", "value", "out")) if f"{n}.bias" in block.state_dict()]
    assert (f"a bias is added by {', '.join(biased)}" in about) == bool(biased)
    assert ("D**-0.5 = 0.57735" in about) == (preset == "mmseg")  # D = 3
    assert ("temperature 0.05" in about) == (preset == "mmseg" and variant not in ("nl", "nl_u"))
    assert ("the gate" in about) == ("mean(q)" in text) == (preset == "official")
    with torch.device("meta"):
        assert "without values yet" in DisentangledBlock(C, preset=preset, variant=variant, **options(preset, variant)).explain()


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_explain_says_what_the_means_are_where_they_occur(preset, variant):
    lines = make(preset, variant).explain().splitlines()
    for name in ("mu_q", "mu_k", "mean(q)"):
        said = [line for line in lines[3:] if line.startswith(name) or f"and {name}: mean" in line]
        assert bool(said) == (name in lines[2]), (name, said)
    assert ("mu_k" in lines[2]) == (preset != "official" and variant not in ("nl", "nl_u"))


def test_explain_follows_the_gate_and_the_pooling():
    block = make("official")
    value = float(block.gate.detach())
    assert f"gate = {value:.6g}" in block.explain()
    for subsample, words in (("conv_pool", "pooled after the 1x1"), ("pool_conv", "pooled before the 1x1"), (None, None)):
        text = make(subsample=subsample).explain()
        assert (words in text and "of k, v and m" in text) if words else "pooled" not in text
    assert "of k and v\n" in make(variant="nl", subsample="conv_pool").explain()


# as a module among modules


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_state_dict_copy_and_pickle(preset, variant):
    norm = (lambda c: nn.GroupNorm(2, c)) if preset in ("block", "mmseg") else None  # pickle takes no lambda
    given = {"preset": preset, "variant": variant, "norm": norm, "inner_channels": D, **options(preset, variant)}
    block, x = make(**{k: v for k, v in given.items() if k != "inner_channels"}), features(2, C, 5, 3)
    file = io.BytesIO()
    torch.save(block.state_dict(), file)
    file.seek(0)
    other = DisentangledBlock(C, **given).double()
    assert not torch.equal(other(x), block(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    again = pickle.loads(pickle.dumps(block))
    for twin in (other, copy.deepcopy(block), again):
        assert torch.equal(twin(x), block(x)) and twin.explain() == block.explain() and twin.preset == block.preset


def test_names_of_the_weights_are_the_documented_ones():
    both = {f"{name}.{kind}" for name in ("query", "key", "value", "out") for kind in ("weight", "bias")}
    for preset, variant in VALID:
        block = DisentangledBlock(C, preset=preset, variant=variant, **options(preset, variant))
        names = {"block": both, "mmseg": both, "table5": {"query.weight", "key.weight", "value.weight"},
                 "official": {"query.weight", "query.bias", "key.weight", "key.bias", "value.weight", "gate"}}[preset]  # fmt: skip
        assert set(block.state_dict()) == names | ({"mask.weight"} if variant in OWN else set())


@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_what_is_printed_can_be_read(preset, variant):
    block = DisentangledBlock(C, preset=preset, variant=variant, subsample="pool_conv", ndim=3, **options(preset, variant))
    rebuilt = eval(f"DisentangledBlock({block.extra_repr()})")
    assert repr(rebuilt) == repr(block) and rebuilt.preset == block.preset


EXPORTED = [*((p, v, 2, "conv_pool") for p, v in VALID), *(("block", "dnl", n, s) for n in (1, 3) for s in SUBSAMPLE)]


@pytest.mark.parametrize(("preset", "variant", "ndim", "subsample"), EXPORTED)
def test_export_at_any_size(preset, variant, ndim, subsample):
    block, x = make(preset, variant, ndim, subsample).eval(), features(2, C, *(7, 5, 9)[:ndim])
    sizes = {axis: torch.export.Dim.AUTO for axis in (0, *range(2, ndim + 2))}
    program = torch.export.export(block, (x,), dynamic_shapes=(sizes,))
    for other in (x, features(3, C, *(8, 11, 6)[:ndim])):
        assert same(program.module()(other), block(other))


@pytest.mark.parametrize("subsample", [None, "pool_conv"])
@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_no_map_is_held(preset, variant, subsample):
    """The largest tensor made on the way, forward and backward, is far smaller than N x M."""
    block = make(preset, variant, subsample=subsample, dtype=torch.float32)
    x = features(1, C, 28, 26, dtype=torch.float32).requires_grad_()
    N, M = 28 * 26, 28 * 26 if subsample is None else 14 * 13
    with counting("tensor") as largest:
        block(x).square().sum().backward()
    assert 0 < largest() < N * M / 10
    with counting("tensor") as largest:
        block.attention_map(x)
    assert (largest() >= N * M) == (variant != "nl_u")  # the meter sees one; of "nl_u" all rows are one row


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("preset", "variant"), VALID)
def test_on_a_gpu(preset, variant):
    block, x = make(preset, variant, subsample="conv_pool"), features(2, C, 5, 3)
    z = definition(block, x, preset, variant)[0]
    block, x = block.to("cuda"), x.to("cuda")
    assert same(block(x).cpu(), z, 1e-10)
    with torch.autocast("cuda", dtype=torch.float16):
        half = block.float()(x.float())
    assert half.dtype == torch.float32 and half.isfinite().all()
