"""`NonLocalBlock` against mmcv's NonLocal1d, 2d and 3d with the same random weights, and the converter between them."""

import warnings
from types import MethodType

import pytest
import torch

from dnl_course.nn import NonLocalBlock, from_mmcv, to_mmcv

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mmcv and mmengine warn on import
    from mmcv.cnn.bricks.non_local import NonLocal1d, NonLocal2d, NonLocal3d

THEIRS = {1: NonLocal1d, 2: NonLocal2d, 3: NonLocal3d}
SPATIAL = {1: (13,), 2: (5, 7), 3: (3, 5, 4)}
MODES = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
CASES = [(mode, n, pooled) for mode in MODES for n in THEIRS for pooled in (False, True)]
C, D = 9, 4  # mmcv's D is C // reduction


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors: on a busy machine two threads wait for each other, six times as long as the work takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def theirs(mode, ndim, pooled, *, scale=False, norm=False, dtype=torch.float64):
    """Return mmcv's module with every parameter and running statistic random and not 0."""
    torch.manual_seed(sum(map(ord, mode)) + ndim)
    options = {"norm_cfg": {"type": {1: "BN1d", 2: "BN2d", 3: "BN3d"}[ndim]}} if norm else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = THEIRS[ndim](C, sub_sample=pooled, mode=mode, use_scale=scale, zeros_init=False, **options)
    for value in [*module.parameters(), *module.buffers()]:
        if value.is_floating_point():
            torch.nn.init.normal_(value, std=0.4)
    for name, value in module.named_buffers():
        if name.endswith("running_var"):
            value.abs_().add_(0.1)
    if mode == "concatenation":
        module.concatenation = MethodType(concatenation, module)
    return module.to(dtype)


def concatenation(self, theta, phi):
    """mmcv's `concatenation` without its division in place, which overwrites what ReLU keeps for backward."""
    pairs = torch.cat([theta.expand(-1, -1, -1, phi.shape[3]), phi.expand(-1, -1, theta.shape[2], -1)], dim=1)
    return self.concat_project(pairs).squeeze(1) / phi.shape[3]  # (B, N, M)


def ours(mode, ndim, pooled, *, scale=False, norm=False, dtype=torch.float64):
    return NonLocalBlock(
        C,
        pairwise=mode,
        ndim=ndim,
        inner_channels=D,
        subsample="conv_pool" if pooled else None,
        scale=scale and mode == "embedded_gaussian",
        norm="batch" if norm else None,
    ).to(dtype)


def features(ndim, dtype=torch.float64):
    x = 1 + 0.6 * torch.randn(2, C, *SPATIAL[ndim], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x.to(dtype).requires_grad_()


def run(module, x):
    """Return z, and the gradients of a random function of z with respect to x and the parameters, by name."""
    z = module(x)
    g = torch.randn(z.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(z.dtype)
    gradients = torch.autograd.grad((z * g).sum(), [x, *module.parameters()])
    return z.detach(), gradients[0], dict(zip([n for n, _ in module.named_parameters()], gradients[1:], strict=True))


def close(a, b, tolerance):
    return (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("mode", "ndim", "pooled"), CASES)
def test_equals_mmcv(mode, ndim, pooled, dtype):
    peer, block = theirs(mode, ndim, pooled, dtype=dtype), ours(mode, ndim, pooled, dtype=dtype)
    block.load_state_dict(from_mmcv(peer.state_dict()))
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    z, of_x, of_weights = run(block, features(ndim, dtype))
    their_z, their_of_x, their_of_weights = run(peer, features(ndim, dtype))
    assert close(z, their_z, tolerance)
    assert not close(z, features(ndim, dtype), 0.01)  # the block did something
    tolerance *= 1 if dtype == torch.float64 else 5  # float32 gradients: sums of more terms
    assert close(of_x, their_of_x, tolerance)
    their_of_weights = from_mmcv(their_of_weights)
    assert of_weights.keys() == their_of_weights.keys()
    for name, gradient in their_of_weights.items():
        if name == "key.bias" and mode == "embedded_gaussian":  # it changes nothing under softmax (claim A5)
            assert max(of_weights[name].abs().max(), gradient.abs().max()) <= tolerance * of_x.abs().max()
        else:
            assert close(of_weights[name], gradient, tolerance), name


def test_mmcv_itself_gives_the_same_concatenation():
    peer = theirs("concatenation", 2, True)
    x = features(2).detach()
    rewritten = peer(x)
    del peer.concatenation
    assert close(rewritten, peer(x), 1e-14)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_scale_is_mmcvs_use_scale(mode, scale):
    peer, block = theirs(mode, 2, True, scale=scale), ours(mode, 2, True, scale=scale)
    block.load_state_dict(from_mmcv(peer.state_dict()))
    x = features(2).detach()
    assert close(block(x), peer(x), 1e-12)
    if mode == "embedded_gaussian":
        other = ours(mode, 2, True, scale=not scale)
        other.load_state_dict(block.state_dict())
        assert not close(other(x), peer(x), 1e-3)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_equals_mmcv(ndim, training):
    peer = theirs("embedded_gaussian", ndim, True, norm=True).train(training)
    block = ours("embedded_gaussian", ndim, True, norm=True).train(training)
    block.load_state_dict(from_mmcv(peer.state_dict()))
    x = features(ndim).detach()
    assert close(block(x), peer(x), 1e-12)
    for name, value in from_mmcv(peer.state_dict()).items():  # the running statistics after the step
        assert torch.allclose(block.state_dict()[name], value, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(("mode", "ndim", "pooled"), CASES)
def test_there_and_back(mode, ndim, pooled, norm):
    peer = theirs(mode, ndim, pooled, norm=norm).state_dict()
    there = from_mmcv(peer)
    assert there.keys() == ours(mode, ndim, pooled, norm=norm).state_dict().keys()
    back = to_mmcv(there, sub_sample=pooled)
    assert back.keys() == peer.keys()
    assert all(torch.equal(back[name], peer[name]) for name in peer)


def test_an_untrained_block_of_ours_loads_into_mmcv_and_stays_the_identity():
    block = ours("concatenation", 3, True, norm=True)
    peer = theirs("concatenation", 3, True, norm=True)
    peer.load_state_dict(to_mmcv(block.state_dict(), sub_sample=True))
    x = features(3).detach()
    assert torch.equal(peer(x), x) and block.is_identity()


def changed(state, **changes):
    """Return a state dict with some keys replaced, or removed where the value is None."""
    state = {**state, **{name.replace("__", "."): value for name, value in changes.items()}}
    return {name: value for name, value in state.items() if value is not None}


def test_wrong_keys_are_all_named():
    peer = theirs("concatenation", 2, False).state_dict()
    with pytest.raises(ValueError, match=r"missing: phi\.conv\.bias, theta\.conv\.weight; unknown: head\.weight\.$"):
        wrong = changed(peer, phi__conv__bias=None, theta__conv__weight=None, head__weight=torch.ones(2))
        from_mmcv(wrong)
    with pytest.raises(ValueError, match=r"missing: concat_project\.conv\.weight|missing: phi"):
        from_mmcv({k: v for k, v in peer.items() if k.startswith(("g.", "conv_out.", "theta."))})
    with pytest.raises(ValueError, match="not that of a NonLocalBlock; missing: .*value.weight.*; unknown: .*g.conv"):
        to_mmcv(peer)
    with pytest.raises(ValueError, match="not that of an mmcv non-local module; missing: .*g.conv.weight"):
        from_mmcv(ours("concatenation", 2, False).state_dict())
    with pytest.raises(ValueError, match="missing: conv_out.bn.bias, conv_out.bn.running_mean; unknown: conv_out"):
        peer = theirs("gaussian", 2, False, norm=True).state_dict()
        wrong = changed(peer, conv_out__bn__bias=None, conv_out__bn__running_mean=None)
        from_mmcv(changed(wrong, conv_out__conv__bias=torch.ones(C)))


@pytest.mark.parametrize("pooled", [False, True])
def test_a_whole_networks_weights_are_answered_with_the_mend(pooled):
    peer = theirs("embedded_gaussian", 2, pooled).state_dict()
    network = {f"head.nl.{name}": value for name, value in peer.items()} | {"stem.weight": torch.ones(3)}
    with pytest.raises(ValueError, match="Take the part below 'head.nl': {") as caught:
        from_mmcv(network)
    mend = str(caught.value).partition("'head.nl': ")[2].rstrip(".")
    assert from_mmcv(eval(mend, {"state_dict": network})).keys() == from_mmcv(peer).keys()


@pytest.mark.parametrize(("name", "shape"), [
    ("g.conv.weight", (D, C)),
    ("g.conv.weight", (D, C, 3, 3)),
    ("theta.conv.weight", (D, C, 1)),
    ("theta.conv.weight", (D + 1, C, 1, 1)),
    ("phi.conv.bias", (C,)),
    ("conv_out.conv.weight", (D, C, 1, 1)),
    ("conv_out.conv.bias", (D,)),
    ("concat_project.conv.weight", (1, 2 * D, 1)),
    ("concat_project.conv.weight", (1, 2 * D + 2, 1, 1)),
    ("concat_project.conv.weight", (2, 2 * D, 1, 1)),
])  # fmt: skip
def test_wrong_shapes_are_named(name, shape):
    peer = theirs("concatenation", 2, False).state_dict()
    with pytest.raises(ValueError, match=name.replace(".", r"\.") + r" has the shape \(") as caught:
        from_mmcv({**peer, name: torch.ones(shape)})
    assert str(shape) in str(caught.value)


def test_what_is_no_state_dict():
    for wrong in (theirs("gaussian", 2, False), [1, 2], {"g.conv.weight": 3}, None):
        with pytest.raises(TypeError, match=r"state_dict is of type .* module\.state_dict\(\)"):
            from_mmcv(wrong)
        with pytest.raises(TypeError, match=r"state_dict is of type .* module\.state_dict\(\)"):
            to_mmcv(wrong)


def test_what_is_given_stays_as_it_is():
    peer = theirs("concatenation", 2, True).state_dict()
    before = {name: value.clone() for name, value in peer.items()}
    to_mmcv(from_mmcv(peer), sub_sample=True)
    assert peer.keys() == before.keys() and all(torch.equal(peer[name], before[name]) for name in before)
