"""Dilated ResNets and the network behind Table 5: shapes, dilations, gradients, blocks by name, counts by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dnl_course import attention
from dnl_course.nn import DisentangledBlock, NonLocalBlock, ResNet, SegmentationNet, insert
from dnl_course.nn.backbones import BACKBONES


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(seed=0, **options):
    """Seven residual blocks instead of 33, in float64; its norms have statistics and weights of their own."""
    torch.manual_seed(seed)
    net = SegmentationNet(ResNet((1, 2, 2, 2), width=4), classes=5, **options).double()
    return lively(net)


def lively(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    return net


# ------------------------------------------------------------------ the backbone


def test_output_stride_8():
    net = ResNet((1, 1, 2, 1), width=3)
    for size, fourth, eighth in ((65, 17, 9), (49, 13, 7), (64, 16, 8), (33, 9, 5), (66, 17, 9)):
        shapes = [tuple(x.shape) for x in net(torch.rand(2, 3, size, 40))]
        assert shapes == [(2, 12, fourth, 10), (2, 24, eighth, 5), (2, 48, eighth, 5), (2, 96, eighth, 5)]
    with torch.device("meta"):
        shapes = [tuple(x.shape) for x in ResNet("resnet101")(torch.empty(1, 3, 769, 769))]
    assert shapes == [(1, 256, 193, 193), (1, 512, 97, 97), (1, 1024, 97, 97), (1, 2048, 97, 97)]


@pytest.mark.parametrize(("name", "stages"), [("resnet50", (3, 4, 6, 3)), ("resnet101", (3, 4, 23, 3))])
def test_strides_and_dilations(name, stages):
    with torch.device("meta"):
        net = ResNet(name)
    seen = []
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        convs = [m for m in stage.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
        seen.append([(m.stride[0], m.dilation[0]) for m in convs])
        assert all(m.padding == m.dilation and m.bias is None for m in convs)
    n1, n2, n3, n4 = stages
    assert seen[0] == [(1, 1)] * n1
    assert seen[1] == [(2, 1)] + [(1, 1)] * (n2 - 1)
    assert seen[2] == [(1, 1)] + [(1, 2)] * (n3 - 1)
    assert seen[3] == [(1, 2)] + [(1, 4)] * (n4 - 1)
    stem = [(m.in_channels, m.out_channels, m.stride[0]) for m in net.stem if isinstance(m, nn.Conv2d)]
    assert stem == [(3, 64, 2), (64, 64, 1), (64, 128, 1)]


@pytest.mark.parametrize("size", [(65, 49), (64, 70)])
def test_at_every_fourth_position_it_is_the_ordinary_resnet(size):
    """The same weights with strides in place of dilations: what dilation is for. It pins every dilation and padding."""
    torch.manual_seed(1)
    dense = lively(ResNet((1, 2, 3, 2), width=3).double()).eval()
    strided = copy.deepcopy(dense)
    for stage in (strided.layer3, strided.layer4):
        for module in stage.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.dilation = module.padding = (1, 1)
        for module in stage[0].modules():
            if isinstance(module, nn.Conv2d) and (module.kernel_size == (3, 3) or module is stage[0].shortcut[0]):
                module.stride = (2, 2)
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    ours, ordinary = dense(images), strided(images)
    for step, a, b in zip((1, 1, 2, 4), ours, ordinary):
        torch.testing.assert_close(a[..., ::step, ::step], b, rtol=1e-10, atol=1e-10)


# torchvision prints 25,557,032 and 44,549,160; without the last layer (2048 * 1000 + 1000), and without its 7x7 stem
TORCHVISION = {"resnet50": 25_557_032, "resnet101": 44_549_160}


@pytest.mark.parametrize("name", BACKBONES)
def test_parameters_by_hand(name):
    with torch.device("meta"):
        found = sum(p.numel() for p in ResNet(name).parameters())
    stem = 27 * 64 + 9 * 64 * 64 + 9 * 64 * 128 + 2 * (64 + 64 + 128)
    wider = 64 * 64 + 64 * 256  # layer1 gets 128 channels where torchvision's gets 64: its first 1x1 and its shortcut
    assert found == TORCHVISION[name] - 2_049_000 - (49 * 3 * 64 + 2 * 64) + stem + wider


def test_what_the_backbone_refuses():
    with pytest.raises(ValueError, match="blocks is 'resnet5'; allowed are 'resnet50', 'resnet101'. Did you mean 'resnet50'"):
        ResNet("resnet5")
    for blocks in ((3, 4, 6), 50, None):
        with pytest.raises(ValueError, match="four int"):
            ResNet(blocks)
    with pytest.raises(ValueError, match=r"blocks\[2\] is 0"):
        ResNet((1, 1, 0, 1))
    with pytest.raises(TypeError, match="width is 4.0"):
        ResNet((1, 1, 1, 1), width=4.0)
    net = ResNet((1, 1, 1, 1), width=2)
    for images, words in (
        (torch.rand(3, 33, 33), r"shape \(3, 33, 33\).*images\[None\]"),
        (torch.rand(2, 33, 33, 3), r"images.movedim\(-1, 1\)"),
        (torch.rand(2, 1, 33, 33), r"allowed is \(B, 3, H, W\)"),
        (torch.rand(0, 3, 33, 33), "none of them 0"),
        (torch.rand(1, 3, 33, 33, device="meta"), r"images is on meta and the network on cpu. Use images.to\('cpu'\)"),
    ):
        with pytest.raises(ValueError, match=words):
            net(images)
    with pytest.raises(TypeError, match=r"images.float\(\) / 255"):
        net(torch.zeros(1, 3, 33, 33, dtype=torch.uint8))
    with pytest.raises(TypeError, match="images is of type list"):
        net([1, 2])


# ------------------------------------------------------------------ the network


class Oracle:
    """The forward pass again, in evaluation, from the state dict alone (but for the block)."""

    def __init__(self, net):
        self.state, self.net = net.state_dict(), net

    def norm(self, x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, var, w, b = (self.state[f"{name}.{key}"].view(1, -1, 1, 1) for key in keys)
        return w * (x - mean) / torch.sqrt(var + 1e-5) + b

    def layer(self, x, name, i, relu=True, **options):
        w = self.state[f"{name}.{i}.weight"]
        x = self.norm(F.conv2d(x, w, padding=options.pop("padding", w.shape[2] // 2), **options), f"{name}.{i + 1}")
        return x.clamp(min=0) if relu else x

    def residual(self, x, name, stride, dilation):
        y = self.layer(x, f"{name}.branch", 0)
        y = self.layer(y, f"{name}.branch", 3, stride=stride, dilation=dilation, padding=dilation)
        y = self.layer(y, f"{name}.branch", 6, relu=False)
        if f"{name}.shortcut.0.weight" in self.state:
            x = self.layer(x, f"{name}.shortcut", 0, relu=False, stride=stride)
        return (x + y).clamp(min=0)

    def __call__(self, images):
        x = images
        for i, stride in ((0, 2), (3, 1), (6, 1)):
            x = self.layer(x, "backbone.stem", i, stride=stride)
        x = F.max_pool2d(x, 3, 2, 1)
        plan = [("layer1.0", 1, 1), ("layer2.0", 2, 1), ("layer2.1", 1, 1), ("layer3.0", 1, 1), ("layer3.1", 1, 2),
                ("layer4.0", 1, 2), ("layer4.1", 1, 4)]  # fmt: skip
        for name, stride, dilation in plan:
            x = self.residual(x, f"backbone.{name}", stride, dilation)
            if name == "layer3.1":
                x3 = x
        y = self.layer(self.net.block(self.layer(x, "before", 0)), "after", 0)
        y = self.layer(torch.cat([x, y], dim=1), "classify", 0)
        x3 = self.layer(x3, "auxiliary", 0)
        return self.last(y, "classify", images), self.last(x3, "auxiliary", images)

    def last(self, x, name, images):
        w, b = self.state[f"{name}.4.weight"], self.state[f"{name}.4.bias"]
        x = torch.einsum("bchw,oc->bohw", x, w[:, :, 0, 0]) + b.view(1, -1, 1, 1)
        return corners_on_corners(corners_on_corners(x, 2, images.shape[2]), 3, images.shape[3])


def corners_on_corners(x, axis, size):
    """Linear interpolation along one axis, first on first and last on last."""
    where = torch.arange(size, dtype=x.dtype) * (x.shape[axis] - 1) / (size - 1)
    low = where.floor().long().clamp(max=x.shape[axis] - 2)
    share = (where - low).view([-1 if a == axis else 1 for a in range(4)])
    return x.index_select(axis, low) * (1 - share) + x.index_select(axis, low + 1) * share


@pytest.mark.parametrize("block", [None, "dnl"])
def test_the_forward_pass_written_again(block):
    net = small(block=block).eval()
    nn.init.normal_(net.classify[-1].bias)
    images = torch.rand(2, 3, 33, 49, dtype=torch.float64)
    given = images.clone()
    with torch.no_grad():
        logits, auxiliary = Oracle(net)(images)
        torch.testing.assert_close(net(images), logits, rtol=1e-9, atol=1e-9)
        net.training = True  # this flag alone: the norms keep their statistics
        both = net(images)
    torch.testing.assert_close(both, (logits, auxiliary), rtol=1e-9, atol=1e-9)
    assert logits.std() > 0.01 and torch.equal(images, given)


@pytest.mark.parametrize("block", [None, "nl", "dnl", "dnl_star"])
def test_the_gradient_reaches_every_parameter(block):
    net = small(block=block).train()
    logits, auxiliary = net(torch.rand(2, 3, 65, 65, dtype=torch.float64))
    assert logits.shape == auxiliary.shape == (2, 5, 65, 65)
    target = torch.randint(5, (2, 65, 65))
    (F.cross_entropy(logits, target) + 0.4 * F.cross_entropy(auxiliary, target)).backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.count_nonzero()]
    assert without == []


def test_the_auxiliary_head_trains_the_backbone_up_to_layer3():
    net = small(block="dnl").train()
    _, auxiliary = net(torch.rand(2, 3, 33, 33, dtype=torch.float64))
    auxiliary.square().mean().backward()
    reached = {".".join(name.split(".")[:2]) for name, p in net.named_parameters() if p.grad is not None}
    assert {"backbone.stem", "backbone.layer3", "auxiliary.0"} <= reached
    assert not any(name.startswith(("backbone.layer4", "before", "block", "after", "classify")) for name in reached)


def test_resnet50_itself_runs_in_small():
    net = SegmentationNet(ResNet("resnet50", width=4), block="dnl", classes=3).train()
    logits, auxiliary = net(torch.rand(2, 3, 33, 33))
    (logits.mean() + auxiliary.mean()).backward()
    assert logits.shape == (2, 3, 33, 33) and net.backbone.stem[0].weight.grad.count_nonzero()
    assert net.eval()(torch.rand(1, 3, 40, 24)).shape == (1, 3, 40, 24)


@pytest.mark.parametrize("variant", attention.VARIANTS)
def test_blocks_by_name(variant):
    net = small(block=variant)
    assert isinstance(net.block, DisentangledBlock) and (net.block.variant, net.block.preset.name) == (variant, "table5")
    assert net.block.channels == net.width == 32
    assert (net.block.query.out_channels, net.block.value.out_channels) == (16, 32)


def test_a_block_of_ones_own_and_one_put_in_later():
    own = NonLocalBlock(32, zero_init=False)
    assert small(block=own).block is own
    baseline, images = small().eval(), torch.rand(1, 3, 33, 33, dtype=torch.float64)
    before = baseline(images)
    with_block = small(block=DisentangledBlock(32)).eval()  # the identity at the start
    missing, unexpected = with_block.load_state_dict(baseline.state_dict(), strict=False)
    assert unexpected == [] and {name.split(".")[0] for name in missing} == {"block"}
    assert torch.equal(with_block(images), before)
    baseline.block = DisentangledBlock(32, preset="table5").double()
    assert not torch.allclose(baseline(images), before)


def test_insertion_behind_any_named_module():
    net, images = small().eval(), torch.rand(1, 3, 33, 33, dtype=torch.float64)
    before = net(images)
    blocks = {"backbone.layer3.1": NonLocalBlock(64).double(), "block": DisentangledBlock(32).double()}
    with insert(net, blocks):
        assert torch.equal(net(images), before)
        nn.init.normal_(blocks["backbone.layer3.1"].out.weight)
        assert not torch.allclose(net(images), before)
    assert torch.equal(net(images), before)


def test_what_the_network_refuses():
    backbone = ResNet((1, 1, 1, 1), width=2)
    with pytest.raises(ValueError, match="backbone is 'resnet52'; allowed are 'resnet50', 'resnet101'"):
        SegmentationNet("resnet52")
    with pytest.raises(TypeError, match="backbone is of type int; allowed are 'resnet50', 'resnet101' and a torch.nn.Module"):
        SegmentationNet(50)
    with pytest.raises(TypeError, match=r"backbone \(Identity\) has no attribute channels"):
        SegmentationNet(nn.Identity())
    for channels in (64, (64,), "64", None):
        own = nn.Conv2d(3, 64, 1)
        own.channels = channels
        with pytest.raises(TypeError, match=r"backbone \(Conv2d\) has no attribute channels, a tuple of two numbers or more"):
            SegmentationNet(own)
    own.channels = (64, 64.0)
    with pytest.raises(TypeError, match=r"backbone.channels\[1\] is 64.0"):
        SegmentationNet(own)
    with pytest.raises(ValueError, match="block is 'dln'.*'dnl_dagger'. Did you mean 'dnl'"):
        SegmentationNet(backbone, block="dln")
    with pytest.raises(TypeError, match="block is of type type; allowed are None, 'nl'"):
        SegmentationNet(backbone, block=DisentangledBlock)
    with pytest.raises(ValueError, match="classes is 0"):
        SegmentationNet(backbone, classes=0)
    for dropout, error in ((1.0, ValueError), (-0.1, ValueError), ("0.1", TypeError), (True, TypeError)):
        with pytest.raises(error, match="dropout is"):
            SegmentationNet(backbone, dropout=dropout)
    net = SegmentationNet(backbone, block=nn.Conv2d(16, 8, 1)).eval()
    with pytest.raises(ValueError, match=r"block \(Conv2d\) made \(1, 8, 5, 5\) of \(1, 16, 5, 5\)"):
        net(torch.rand(1, 3, 33, 33))


@pytest.mark.parametrize(("returned", "words"), [
    (lambda x: x, "returned a Tensor; allowed is a tuple or list of two feature maps"),
    (lambda x: (x,), "returned a tuple of 1; allowed"),
    (lambda x: {"x3": x, "x4": x}, "returned a dict; allowed"),
    (lambda x: [x, None], "returned a list of 2; allowed"),
    (lambda x: None, "returned a NoneType; allowed"),
])  # fmt: skip
def test_what_a_backbone_has_to_return(returned, words):
    class Own(nn.Module):
        channels = (3, 3)
        made = staticmethod(returned)

        def forward(self, x):
            return self.made(x)

    images = torch.rand(2, 3, 33, 33)
    net = SegmentationNet(Own(), width=4, classes=5).eval()
    with pytest.raises(TypeError, match=rf"backbone \(Own\) {words}"):
        net(images)
    net.backbone.made = lambda x: [x, x]
    assert net(images).shape == (2, 5, 33, 33)


# ------------------------------------------------------------------ Table 5, parameters (claim F5)


def by_hand(C=512, classes=19, backbone=42_623_936):
    """Backbone, 3x3 and norm three times in the head and once in the auxiliary head, two 1x1 with a bias."""
    head = sum(9 * a * C + 2 * C for a in (2048, C, 2048 + C, 1024))
    return backbone + head + 2 * (C * classes + classes)


def test_parameters_of_table_5():
    with torch.device("meta"):
        found = {
            row: sum(p.numel() for p in SegmentationNet("resnet101", block=block).parameters())
            for row, block in (("baseline", None), ("nl", "nl"), ("dnl", "dnl"))
        }
    assert found["baseline"] == by_hand() == 70_959_078
    assert found == {"baseline": by_hand(), "nl": by_hand() + 2 * 512**2, "dnl": by_hand() + 2 * 512**2 + 512}
    printed = {"baseline": 70.960, "nl": 71.484, "dnl": 71.485}
    assert all(0 < printed[row] - n / 1e6 < 0.002 for row, n in found.items())
    # two vectors of 512 biases, or one and those of the released block's queries, keys and unary logit, give all digits
    block = {"baseline": 0, "nl": 512, "dnl": 513}
    for more in ({row: 1024 for row in found}, {row: 512 + block[row] for row in found}):
        assert {row: round((n + more[row]) / 1e6, 3) for row, n in found.items()} == printed
    # if the same number is missing in all rows, it is one of these: one vector of 512 is not enough
    fits = [m for m in range(3000) if all(abs((n + m) / 1e6 - printed[row]) < 0.0005 for row, n in found.items())]
    assert fits == list(range(623, 1134))
