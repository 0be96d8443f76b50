"""Preset "mmseg" against mmsegmentation's DisentangledNonLocal2d with the same random weights, and the converter."""

import math
import sys
import types
import warnings

import pytest
import torch

from dnl_course.nn import DisentangledBlock, NonLocalBlock, from_mmseg, to_mmseg

C, D = 9, 4  # theirs is C // reduction; 4: its root has no rounding
SINGLE = float(torch.tensor(0.05))  # they keep the temperature in single precision, whatever the weights are


class _Ops(types.ModuleType):
    """Stands for mmcv's compiled operations, which mmcv-lite does not have and this block does not use."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _theirs() -> type:
    """Import the block beside a stand-in for mmcv.ops, and leave no stand-in behind."""
    absent = "mmcv.ops" not in sys.modules
    sys.modules.setdefault("mmcv.ops", _Ops("mmcv.ops"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = pytest.importorskip("mmseg.models.decode_heads.dnl_head", reason="needs requirements-bench.txt")
    finally:
        if absent:
            del sys.modules["mmcv.ops"]
    return module.DisentangledNonLocal2d


@pytest.fixture(scope="module")
def Theirs():
    return _theirs()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small tensors: on a busy machine two threads wait for each other, six times as long as the work takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def randomised(module, dtype):
    """Every parameter and running statistic random and not 0."""
    generator = torch.Generator().manual_seed(3)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.normal_(std=0.4, generator=generator)
            if name.endswith("running_var"):
                value.abs_().add_(0.1)
    return module.to(dtype)


def theirs(Theirs, *, norm=False, dtype=torch.float64, scale=True, temperature=0.05, **options):
    options |= {"norm_cfg": {"type": "BN"}} if norm else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = Theirs(C, temperature=temperature, use_scale=scale, **options)
    return randomised(peer, dtype)


def ours(*, norm=False, dtype=torch.float64, **options):
    options = {"preset": "mmseg", **options}
    return DisentangledBlock(C, inner_channels=D, norm="batch" if norm else None, **options).to(dtype)


def features(dtype=torch.float64):
    x = 1 + 0.6 * torch.randn(2, C, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x.to(dtype).requires_grad_()


def run(module, x):
    """Return z, and the gradients of a random function of z with respect to x and the parameters, by name."""
    z = module(x)
    g = torch.randn(z.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(z.dtype)
    gradients = torch.autograd.grad((z * g).sum(), [x, *module.parameters()])
    return z.detach(), gradients[0], dict(zip([n for n, _ in module.named_parameters()], gradients[1:], strict=True))


def close(a, b, tolerance):
    return (a - b).abs().max() <= tolerance * b.abs().max()


def parity(peer, block, dtype, tolerance, of_gradients):
    block.load_state_dict(from_mmseg(peer.state_dict()))
    z, of_x, of_weights = run(block, features(dtype))
    their_z, their_of_x, their_of_weights = run(peer, features(dtype))
    assert close(z, their_z, tolerance)
    assert not close(z, features(dtype), 0.01)  # the block did something
    assert close(of_x, their_of_x, of_gradients)
    their_of_weights |= {name: value for name, value in peer.state_dict().items() if "running" in name or "num" in name}
    their_of_weights = from_mmseg(their_of_weights)
    unseen = {"query.bias", "key.bias"}  # centring and softmax take them out: no gradient but rounding
    unseen |= {"value.bias"} if block.norm is not None and block.training else set()  # so does batch normalisation
    for name, gradient in of_weights.items():
        if name in unseen:
            assert max(gradient.abs().max(), their_of_weights[name].abs().max()) <= of_gradients * of_x.abs().max()
        else:
            assert float(gradient.abs().max()) > 0 and close(gradient, their_of_weights[name], of_gradients), name


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_equals_mmsegmentation(Theirs, norm, training, dtype):
    """Logits reach 100, and a gradient in single precision loses as much to rounding in theirs as in ours."""
    peer, block = theirs(Theirs, norm=norm, dtype=dtype).train(training), ours(norm=norm, dtype=dtype).train(training)
    double = dtype == torch.float64  # their constants are single in double too
    parity(peer, block, dtype, 1e-7 if double else 1e-6, 1e-6 if double else 2e-5)
    for name, value in from_mmseg(peer.state_dict()).items():  # the running statistics after the step
        assert torch.allclose(block.state_dict()[name], value, rtol=0, atol=1e-6), name


def test_gradients_in_single_precision_at_ordinary_logits(Theirs):
    peer = theirs(Theirs, dtype=torch.float32)
    with torch.no_grad():
        for conv in (peer.theta.conv, peer.phi.conv):
            conv.weight *= 0.1
            conv.bias *= 0.1
    parity(peer, ours(dtype=torch.float32), torch.float32, 1e-6, 2e-6)


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch"])
def test_with_their_rounded_temperature_to_the_last_digits(Theirs, norm):
    parity(theirs(Theirs, norm=norm), ours(norm=norm, temperature=SINGLE), torch.float64, 1e-12, 1e-11)


@pytest.mark.parametrize(("scale", "temperature", "preset"), [(False, 1.0, "block"), (False, 0.5, "mmseg"), (True, 1.0, "mmseg")])
def test_scale_and_temperature_are_theirs(Theirs, scale, temperature, preset):
    peer = theirs(Theirs, scale=scale, temperature=temperature)
    block = ours(preset=preset, scale=scale, temperature=temperature)
    parity(peer, block, torch.float64, 1e-12, 1e-11)
    other = ours()
    other.load_state_dict(block.state_dict())
    assert not close(other(features()), peer(features()), 1e-3)


def test_the_bias_of_their_mask_changes_nothing(Theirs):
    peer, x = theirs(Theirs), features().detach()
    before = peer(x)
    with torch.no_grad():
        peer.conv_mask.bias += 3
        assert close(peer(x), before, 1e-14)
        peer.conv_mask.weight += 0.5
    assert not close(peer(x), before, 1e-3)


@pytest.mark.parametrize("norm", [False, True])
def test_there_and_back(Theirs, norm):
    peer = theirs(Theirs, norm=norm)
    there = from_mmseg(peer.state_dict())
    assert there.keys() == ours(norm=norm).state_dict().keys()
    back = to_mmseg(there)
    assert back.keys() == peer.state_dict().keys()
    for name, value in peer.state_dict().items():
        assert torch.equal(back[name], torch.zeros(1, dtype=torch.float64) if name == "conv_mask.bias" else value)
    again = theirs(Theirs, norm=norm)
    again.load_state_dict(back)
    x = features().detach()
    assert close(again(x), peer(x), 1e-12)


@pytest.mark.parametrize("norm", [False, True])
def test_an_untrained_block_of_ours_is_the_identity_there_too(Theirs, norm):
    block, peer = ours(norm=norm), theirs(Theirs, norm=norm)
    assert block.is_identity()
    peer.load_state_dict(to_mmseg(block.state_dict()))
    x = features().detach()
    assert torch.equal(peer(x), x)


def test_their_default_is_the_preset(Theirs):
    import inspect

    assert inspect.signature(Theirs.__mro__[2].__init__).parameters["use_scale"].default is True
    head = sys.modules[Theirs.__module__].DNLHead
    assert inspect.signature(head.__init__).parameters["temperature"].default == 0.05
    untrained = Theirs(C, temperature=0.05)
    block = ours()
    assert untrained.inter_channels == D == DisentangledBlock(C).inner_channels
    for name in ("theta", "phi", "g"):
        assert math.isclose(float(getattr(untrained, name).conv.weight.detach().std()), 0.01, rel_tol=0.5)
    assert not untrained.conv_out.conv.weight.any() and not block.out.weight.any()


def changed(state, **changes):
    """Return a state dict with some keys replaced, or removed where the value is None."""
    state = {**state, **{name.replace("__", "."): value for name, value in changes.items()}}
    return {name: value for name, value in state.items() if value is not None}


def in_their_names(norm=False):
    return to_mmseg(randomised(ours(norm=norm), torch.float64).state_dict())


def test_wrong_keys_are_all_named():
    peer = in_their_names()
    with pytest.raises(ValueError, match=r"missing: conv_mask\.bias, phi\.conv\.bias; unknown: head\.weight\.$"):
        from_mmseg(changed(peer, phi__conv__bias=None, conv_mask__bias=None, head__weight=torch.ones(2)))
    with pytest.raises(ValueError, match="missing: conv_out.bn.bias, conv_out.bn.running_mean; unknown: conv_out.conv.bias"):
        wrong = changed(in_their_names(norm=True), conv_out__bn__bias=None, conv_out__bn__running_mean=None)
        from_mmseg(changed(wrong, conv_out__conv__bias=torch.ones(C)))
    with pytest.raises(ValueError, match="mmsegmentation's DisentangledNonLocal2d; missing: .*g.conv.weight.*; unknown: .*key"):
        from_mmseg(ours().state_dict())
    with pytest.raises(ValueError, match="a DisentangledBlock that .*; missing: .*value.weight.*; unknown: .*g.conv"):
        to_mmseg(peer)


@pytest.mark.parametrize(("options", "sentence"), [
    ({"variant": "dnl_dagger"}, r"missing: mask\.weight\. Allowed is variant 'dnl' with preset 'mmseg' or 'block'"),
    ({"preset": "table5"}, r"missing: .*value\.bias\. Allowed is variant 'dnl'"),
    ({"preset": "official"}, r"missing: .*unknown: gate\. Allowed is variant 'dnl'"),
    ({"ndim": 1}, r"value\.weight has the shape \(4, 9, 1\); allowed is .* images only"),
])  # fmt: skip
def test_blocks_that_mmsegmentation_has_not(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        to_mmseg(ours(**options).state_dict())


def test_a_plain_block_and_their_other_modes(Theirs):
    with pytest.raises(ValueError, match="Allowed is its mode 'embedded_gaussian'"):
        from_mmseg(theirs(Theirs, mode="gaussian").state_dict())
    with pytest.raises(ValueError, match=r"unknown: concat_project\.conv\.weight\. Allowed is its mode"):
        from_mmseg(theirs(Theirs, mode="concatenation").state_dict())
    plain = {name: value for name, value in in_their_names().items() if not name.startswith("conv_mask")}
    with pytest.raises(ValueError, match="plain non-local block: dnl_course.nn.from_mmcv"):
        from_mmseg(plain)
    with pytest.raises(ValueError, match=r"missing: mask\.weight"):
        to_mmseg(NonLocalBlock(C).state_dict())


def test_with_sub_sampling_theirs_cannot_run(Theirs):
    peer = theirs(Theirs, sub_sample=True)
    with pytest.raises(RuntimeError):
        peer(features().detach())
    with pytest.raises(ValueError, match="With sub_sample=True mmsegmentation's block cannot run"):
        from_mmseg(peer.state_dict())


def test_a_whole_networks_weights_are_answered_with_the_mend():
    peer = in_their_names()
    network = {f"decode_head.dnl_block.{name}": value for name, value in peer.items()} | {"stem.weight": torch.ones(3)}
    with pytest.raises(ValueError, match="Take the part below 'decode_head.dnl_block': {") as caught:
        from_mmseg(network)
    mend = str(caught.value).partition("'decode_head.dnl_block': ")[2].rstrip(".")
    assert from_mmseg(eval(mend, {"state_dict": network})).keys() == from_mmseg(peer).keys()


def test_several_blocks_in_a_network_are_all_named():
    peer, names = in_their_names(), ("auxiliary.dnl", "head.0.dnl", "head.1.dnl")
    network = {f"{prefix}.{name}": value for prefix in names for name, value in peer.items()}
    with pytest.raises(ValueError, match=r"below 'auxiliary\.dnl' \(or below 'head\.0\.dnl', 'head\.1\.dnl'\): {") as caught:
        from_mmseg(network)
    mend = str(caught.value).partition("): ")[2].rstrip(".")
    assert from_mmseg(eval(mend, {"state_dict": network})).keys() == from_mmseg(peer).keys()


@pytest.mark.parametrize("name", ["state_dict", "model"])
def test_a_checkpoint_is_answered_with_the_mend(name):
    peer = in_their_names()
    checkpoint = {"meta": {"epoch": 3}, "optimizer": {"state": {}}, name: peer}
    with pytest.raises(TypeError, match=rf'state_dict is a checkpoint.* Use checkpoint\["{name}"\]\.$') as caught:
        from_mmseg(checkpoint)
    mend = str(caught.value).partition("Use ")[2].rstrip(".")
    assert from_mmseg(eval(mend, {"checkpoint": checkpoint})).keys() == from_mmseg(peer).keys()


@pytest.mark.parametrize("affine", [True, False])
def test_other_norms_have_no_counterpart(affine):
    sentence = "Of the norms only a batch norm with weights and running statistics has a counterpart: norm='batch' here"
    block = DisentangledBlock(C, preset="mmseg", norm=lambda c: torch.nn.GroupNorm(3, c, affine=affine), zero_init="out")
    with pytest.raises(ValueError, match=sentence):
        to_mmseg(block.state_dict())
    peer = changed(in_their_names(), conv_out__conv__bias=None)
    peer |= {f"conv_out.gn.{kind}": torch.ones(C) for kind in ("weight", "bias")} if affine else {}
    with pytest.raises(ValueError, match=sentence):
        from_mmseg(peer)
    with pytest.raises(ValueError) as caught:
        from_mmseg(changed(in_their_names(norm=True), head__weight=torch.ones(2)))
    assert "Of the norms" not in str(caught.value)


def test_what_the_weights_do_not_say():
    """As the docstring warns: DNL* goes through, and another block comes back."""
    star = randomised(ours(variant="dnl_star"), torch.float64)
    block = ours()
    block.load_state_dict(from_mmseg(to_mmseg(star.state_dict())))
    assert not close(block(features()), star(features()), 1e-3)


@pytest.mark.parametrize(("name", "shape"), [
    ("g.conv.weight", (D, C)),
    ("g.conv.weight", (D, C, 1)),
    ("theta.conv.weight", (D + 1, C, 1, 1)),
    ("phi.conv.bias", (C,)),
    ("conv_out.conv.weight", (D, C, 1, 1)),
    ("conv_mask.weight", (1, D, 1, 1)),
    ("conv_mask.weight", (1, C, 1)),
    ("conv_mask.bias", (C,)),
])  # fmt: skip
def test_wrong_shapes_are_named(name, shape):
    with pytest.raises(ValueError, match=name.replace(".", r"\.") + r" has the shape \(") as caught:
        from_mmseg({**in_their_names(), name: torch.ones(shape)})
    assert str(shape) in str(caught.value)


def test_what_is_no_state_dict():
    for wrong in (ours(), [1, 2], {"g.conv.weight": 3}, None):
        for convert in (from_mmseg, to_mmseg):
            with pytest.raises(TypeError, match=r"state_dict is of type .* module\.state_dict\(\)"):
                convert(wrong)


def test_what_is_given_stays_as_it_is():
    peer = in_their_names()
    before = {name: value.clone() for name, value in peer.items()}
    to_mmseg(from_mmseg(peer))
    assert peer.keys() == before.keys() and all(torch.equal(peer[name], before[name]) for name in before)
