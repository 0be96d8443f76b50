"""The segmentation network behind Table 5 of the slides, with a place for any block (lesson 08; claims F5, F6).

The slides print the network's totals, not its layers. The layout below is read from the authors' released code: which
layers there are, and how wide.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from dnl_course import attention
from dnl_course.nn import _checks as check
from dnl_course.nn.backbones import BACKBONES, ResNet, conv_norm_relu
from dnl_course.nn.disentangled import DisentangledBlock

__all__ = ["SegmentationNet"]


class SegmentationNet(nn.Module):
    """A dilated ResNet, a head with a block in it, and an auxiliary head: logits of a class for every pixel.

    ::

        backbone    (B, 3, H, W) -> x4 (B, 2048, H / 8, W / 8), and x3 with 1024 channels
        before      3x3, 2048 -> 512
        block       (B, 512, H / 8, W / 8) -> the same shape; nothing for the baseline
        after       3x3, 512 -> 512
        classify    3x3 on x4 and that, 2560 -> 512; dropout; 1x1 to the classes
        auxiliary   on x3: 3x3, 1024 -> 512; dropout; 1x1 to the classes. In training only

    A batch norm and a ReLU follow every 3x3. Logits are upsampled bilinearly to the size of the picture, corners on
    corners.

    Parameters
    ----------
    backbone : "resnet101", "resnet50" or torch.nn.Module, optional
        A module returns a tuple or list of features, the last two of one size; its attribute ``channels`` is theirs.
    block : None, str or torch.nn.Module, optional
        One of `dnl_course.attention.VARIANTS` by name, as a `DisentangledBlock` with preset "table5"; or any block
        (B, C, H, W) -> (B, C, H, W), C = ``width``. None is the baseline.
    classes : int, optional
        19, those of Cityscapes.
    width : int, optional
        C, of the features that the block sees; a quarter of the backbone's last channels if not given.
    dropout : float, optional
        Share of channels that training leaves out before the last 1x1.

    Attributes
    ----------
    backbone, before, block, after, classify, auxiliary : torch.nn.Module
        ``block`` may be replaced: ``net.block = NonLocalBlock(512)``.

    Raises
    ------
    TypeError, ValueError
        An unknown name (the valid ones are listed), a number out of its range, a block or backbone that is no module, or
        a backbone without ``channels``. In ``forward``: a backbone that returns something else, a block that changes the
        shape, other than a batch of pictures.

    See Also
    --------
    dnl_course.nn.insert : put a block behind any named module, as "backbone.layer3.5".
    dnl_course.measure.table_5 : what the network costs, beside the printed numbers.

    Notes
    -----
    ResNet-101 has 70.9591 (baseline), 71.4834 (nl) and 71.4839 (dnl) million parameters, where 70.960, 71.484 and 71.485
    are printed (claim F5). With two more vectors of 512 biases anywhere in the network all three rows would round to what
    is printed. So they would with one more, if queries, keys and the unary logit have biases too, as in the released
    code. Which of these it was cannot be told.

    Examples
    --------
    >>> from dnl_course.nn.backbones import ResNet
    >>> net = SegmentationNet(ResNet((1, 1, 1, 1), width=4), block="dnl", classes=5)
    >>> images = torch.rand(2, 3, 33, 49)
    >>> logits, auxiliary = net(images)
    >>> logits.shape, auxiliary.shape, net.eval()(images).shape
    (torch.Size([2, 5, 33, 49]), torch.Size([2, 5, 33, 49]), torch.Size([2, 5, 33, 49]))
    >>> with torch.device("meta"):
    ...     large = SegmentationNet("resnet101", block="dnl")
    >>> f"{sum(p.numel() for p in large.parameters()):,}"
    '71,483,878'
    """

    def __init__(self, backbone="resnet101", block=None, classes=19, *, width=None, dropout=0.1):
        super().__init__()
        self.backbone = _backbone(backbone)
        channels = self.backbone.channels
        self.width = channels[-1] // 4 if width is None else check.count("width", width)
        self.classes, C = check.count("classes", classes), self.width
        self.before = nn.Sequential(*conv_norm_relu(channels[-1], C, 3))
        self.block = _block(block, C)
        self.after = nn.Sequential(*conv_norm_relu(C, C, 3))
        self.classify = nn.Sequential(
            *conv_norm_relu(channels[-1] + C, C, 3), nn.Dropout2d(_share(dropout)), nn.Conv2d(C, self.classes, 1)
        )
        self.auxiliary = nn.Sequential(
            *conv_norm_relu(channels[-2], C, 3), nn.Dropout2d(dropout), nn.Conv2d(C, self.classes, 1)
        )
        for part in (self.before, self.after, self.classify, self.auxiliary):  # not the block: it knows how it starts
            for module in part:
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def forward(self, images):
        """Return logits, (B, 3, H, W) -> (B, classes, H, W); in training a pair, those and the auxiliary ones."""
        *_, x3, x4 = _features(self.backbone(images), self.backbone)  # (B, channels[-2] | channels[-1], H / 8, W / 8)
        x = self.before(x4)  # (B, C, H / 8, W / 8)
        y = self.block(x)
        if y.shape != x.shape:
            raise ValueError(
                f"block ({type(self.block).__name__}) made {tuple(y.shape)} of {tuple(x.shape)}; allowed is one that "
                "keeps the shape."
            ) from None
        logits = self.classify(torch.cat([x4, self.after(y)], dim=1))  # (B, classes, H / 8, W / 8)
        if not self.training:
            return _upsampled(logits, images)
        return _upsampled(logits, images), _upsampled(self.auxiliary(x3), images)


def _upsampled(logits, images):
    return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=True)


def _features(made, backbone) -> tuple | list:
    if not isinstance(made, (tuple, list)) or len(made) < 2 or not all(isinstance(x, torch.Tensor) for x in made[-2:]):
        length = f" of {len(made)}" if isinstance(made, (tuple, list)) else ""
        raise TypeError(
            f"backbone ({type(backbone).__name__}) returned a {type(made).__name__}{length}; allowed is a tuple or list of "
            "two feature maps (B, C, H, W) or more, the deepest last."
        ) from None
    return made


def _backbone(given) -> nn.Module:
    if isinstance(given, str):
        check.one_of("backbone", given, tuple(BACKBONES))
        return ResNet(given)
    names = ", ".join(map(repr, BACKBONES))
    if not isinstance(given, nn.Module):
        raise TypeError(f"backbone is of type {type(given).__name__}; allowed are {names} and a torch.nn.Module.") from None
    channels = getattr(given, "channels", None)
    if not isinstance(channels, (tuple, list)) or len(channels) < 2:
        raise TypeError(
            f"backbone ({type(given).__name__}) has no attribute channels, a tuple of two numbers or more. Set it to the channels "
            "of the features that the backbone returns."
        ) from None
    for i, number in enumerate(channels):
        check.count(f"backbone.channels[{i}]", number)
    return given


def _block(given, width) -> nn.Module:
    if given is None:
        return nn.Identity()
    if isinstance(given, str):
        check.one_of("block", given, attention.VARIANTS)
        return DisentangledBlock(width, variant=given, preset="table5")
    if not isinstance(given, nn.Module):
        names = ", ".join(map(repr, attention.VARIANTS))
        raise TypeError(f"block is of type {type(given).__name__}; allowed are None, {names} and a torch.nn.Module.") from None
    return given


def _share(dropout) -> float:
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)):
        raise TypeError(f"dropout is {dropout!r} ({type(dropout).__name__}); allowed is a number from 0 to below 1.") from None
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}; allowed is a number from 0 to below 1.") from None
    return float(dropout)
