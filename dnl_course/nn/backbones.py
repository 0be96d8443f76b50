"""Small networks to put a block into (lesson 04; its trained weights serve lessons 05 and 07 and exercise 04).

`PatchNet` sees a picture as cells, each with features of its own cell alone. So whatever a cell knows about the others
has come through the block, and a wrong answer says something about the block.
"""

from __future__ import annotations

import torch
from torch import nn

from dnl_course.nn.blocks import NonLocalBlock

__all__ = ["PatchNet"]


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
