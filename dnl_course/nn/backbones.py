"""Networks to put a block into: a small one for pictures in cells (lesson 04), and dilated ResNets (lesson 08; F5).

`PatchNet` sees a picture as cells, each with features of its own cell alone. So whatever a cell knows about the others
has come through the block, and a wrong answer says something about the block. Its trained weights serve lessons 04, 05
and 07 and exercise 04. `ResNet` is what `dnl_course.nn.segmentation` builds on.
"""

from __future__ import annotations

import torch
from torch import nn

from dnl_course.nn import _checks as check
from dnl_course.nn.blocks import NonLocalBlock

__all__ = ["BACKBONES", "PatchNet", "ResNet", "conv_norm_relu"]

BACKBONES = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Residual blocks in each of the four stages, by name."""


class PatchNet(nn.Module):
    """Stem, one non-local block, head: an answer for every cell of a picture.

    ::

        stem    patch x patch convolution with that stride, 1x1 convolution; batch norm and ReLU after each
        block   a NonLocalBlock, embedded Gaussian
        head    1x1 convolution, ReLU, 1x1 convolution to one logit per answer

    No convolution reaches over a cell's border: without the block, cells know nothing of each other.

    Parameters
    ----------
    answers : int, optional
        Number of classes.
    channels : int, optional
        C, of the features that the block sees.
    patch : int, optional
        Side of a cell in pixels.
    block : torch.nn.Module, optional
        Another block (B, C, H, W) -> (B, C, H, W), in place of ``NonLocalBlock(channels)``.

    Attributes
    ----------
    stem, block, head : torch.nn.Module

    Notes
    -----
    In the block W_z starts at 0 and the other weights small. For the value map small is too small: the product of two
    maps near 0 stays near 0 for long, and learns one direction after the other. So W_v starts as wide as after a ReLU is
    usual (He et al., 2015). The block is the identity at the start all the same.

    Examples
    --------
    >>> net = PatchNet()
    >>> images = torch.rand(2, 3, 48, 48)
    >>> net(images).shape, net.features(images).shape
    (torch.Size([2, 4, 8, 8]), torch.Size([2, 32, 8, 8]))
    >>> net.block.is_identity(), sum(p.numel() for p in net.parameters())
    (True, 7988)
    """

    def __init__(self, answers: int = 4, *, channels: int = 32, patch: int = 6, block: nn.Module | None = None):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, patch, stride=patch), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(),
        )  # fmt: skip
        if block is None:
            block = NonLocalBlock(channels)
            nn.init.kaiming_normal_(block.value.weight)
        self.block = block
        self.head = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, answers, 1))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return what the block sees: (B, 3, H, W) -> (B, C, H / patch, W / patch), nothing negative."""
        return self.stem(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return one logit per answer and cell: (B, 3, H, W) -> (B, answers, H / patch, W / patch)."""
        return self.head(self.block(self.features(images)))


def conv_norm_relu(inputs, outputs, size, *, stride=1, dilation=1) -> list[nn.Module]:
    """Return a convolution that keeps the size at stride 1, a batch norm and a ReLU.

    The convolution has no bias: the norm would take it out again.
    """
    padding = dilation * (size // 2)
    conv = nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, dilation=dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class _Residual(nn.Module):
    """1x1, 3x3, 1x1 to four times the width; the stride sits in the 3x3."""

    def __init__(self, inputs, width, stride, dilation):
        super().__init__()
        *last, _ = conv_norm_relu(width, 4 * width, 1)  # the ReLU follows the sum
        self.branch = nn.Sequential(
            *conv_norm_relu(inputs, width, 1), *conv_norm_relu(width, width, 3, stride=stride, dilation=dilation), *last
        )
        same = stride == 1 and inputs == 4 * width
        *other, _ = conv_norm_relu(inputs, 4 * width, 1, stride=stride)
        self.shortcut = nn.Identity() if same else nn.Sequential(*other)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.branch(x) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-50 or -101 with an output stride of 8, for dense prediction.

    ::

        stem      3x3 / 2, 3x3, 3x3 convolutions to 64, 64, 128 channels; 3x3 / 2 max-pooling
        layer1    256 channels    stride  4
        layer2    512             stride  8
        layer3    1024            stride  8, dilation 2
        layer4    2048            stride  8, dilation 4

    ImageNet's ResNet halves the size in layer3 and layer4 too. Here they keep it, and the 3x3 convolutions behind are
    dilated instead, so that each sees what it would have seen: at every fourth position the output is that of the
    ordinary ResNet. The first 3x3 in layer3 and layer4 has the dilation of the layer before, 1 and 2.

    Parameters
    ----------
    blocks : "resnet50", "resnet101" or four int
        Residual blocks in each stage.
    width : int, optional
        64 in the published networks; all other widths are multiples of it.

    Attributes
    ----------
    stem, layer1, layer2, layer3, layer4 : torch.nn.Sequential
    channels : tuple of four int
        Of the stages' outputs: 4, 8, 16, 32 times the width.

    Raises
    ------
    TypeError, ValueError
        An unknown name (the valid ones are listed); other than four whole numbers of at least 1; a width below 1. In
        ``forward``: other than a batch of pictures.

    Notes
    -----
    All weights are random (He et al., 2015); there is no pretrained one in the package. A side of n pixels
    gives n / 8 positions, rounded up: 769 gives 97.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun. Deep residual learning for image recognition. CVPR 2016.
    .. [2] F. Yu, V. Koltun, T. Funkhouser. Dilated residual networks. CVPR 2017.

    Examples
    --------
    >>> net = ResNet((1, 1, 2, 1), width=4)
    >>> [tuple(x.shape) for x in net(torch.rand(2, 3, 65, 33))]
    [(2, 16, 17, 9), (2, 32, 9, 5), (2, 64, 9, 5), (2, 128, 9, 5)]
    >>> with torch.device("meta"):  # shapes without numbers
    ...     print(f"{sum(p.numel() for p in ResNet('resnet101').parameters()):,}")
    42,623,936
    """

    def __init__(self, blocks="resnet101", *, width=64):
        super().__init__()
        if isinstance(blocks, str):
            check.one_of("blocks", blocks, tuple(BACKBONES))
            blocks = BACKBONES[blocks]
        if not isinstance(blocks, (tuple, list)) or len(blocks) != 4:
            names = ", ".join(map(repr, BACKBONES))
            raise ValueError(f"blocks is {blocks!r}; allowed are {names} and four int, as (3, 4, 6, 3).") from None
        blocks = [check.count(f"blocks[{i}]", n) for i, n in enumerate(blocks)]
        width = check.count("width", width)
        self.stem = nn.Sequential(
            *conv_norm_relu(3, width, 3, stride=2),
            *conv_norm_relu(width, width, 3),
            *conv_norm_relu(width, 2 * width, 3),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.channels = tuple(4 * width * 2**i for i in range(4))
        inputs = 2 * width
        for i, (n, stride, first, rest) in enumerate(zip(blocks, (1, 2, 1, 1), (1, 1, 1, 2), (1, 1, 2, 4))):
            stage = [_Residual(inputs, width * 2**i, stride, first)]
            inputs = self.channels[i]
            stage += [_Residual(inputs, width * 2**i, 1, rest) for _ in range(n - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images):
        """Return the outputs of the four stages: (B, 3, H, W) -> (B, channels[i], H / 4 or H / 8, W / 4 or W / 8)."""
        _pictures(images, self.stem[0].weight)
        x, outputs = self.stem(images), []  # (B, 2 width, H / 4, W / 4)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            outputs.append(x)
        return tuple(outputs)


def _pictures(images, weight) -> None:
    """Refuse what is no batch of pictures on the network's device."""
    if not isinstance(images, torch.Tensor):
        raise TypeError(f"images is of type {type(images).__name__}; allowed is a tensor (B, 3, H, W).") from None
    shape = tuple(images.shape)
    if images.ndim != 4 or shape[1] != 3 or 0 in shape:
        mend = ""
        if images.ndim == 3 and shape[0] == 3:
            mend = " One picture needs a batch axis: images[None]."
        elif images.ndim == 4 and shape[3] == 3:
            mend = " Channels come second: images.movedim(-1, 1)."
        raise ValueError(f"images has shape {shape}; allowed is (B, 3, H, W), none of them 0.{mend}") from None
    if not images.is_floating_point():
        raise TypeError(f"images is of dtype {images.dtype}; allowed is a floating one: images.float() / 255.") from None
    if images.device != weight.device:
        device = str(weight.device)
        raise ValueError(f"images is on {images.device} and the network on {device}. Use images.to({device!r}).") from None
