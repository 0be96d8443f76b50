"""The equations as modules: the non-local block, how it enters a network, and where trained weights lie."""

from dnl_course.nn.backbones import PatchNet, ResNet
from dnl_course.nn.blocks import NonLocalBlock
from dnl_course.nn.convert import from_mmcv, to_mmcv
from dnl_course.nn.convert_mmseg import from_mmseg, to_mmseg
from dnl_course.nn.disentangled import DisentangledBlock
from dnl_course.nn.insertion import Insertion, insert
from dnl_course.nn.positions import from_positions, to_positions
from dnl_course.nn.presets import PRESETS, Preset
from dnl_course.nn.segmentation import SegmentationNet
from dnl_course.nn.weights import describe, load_weights, save_weights

__all__ = [
    "PRESETS",
    "DisentangledBlock",
    "Insertion",
    "NonLocalBlock",
    "PatchNet",
    "Preset",
    "ResNet",
    "SegmentationNet",
    "describe",
    "from_mmcv",
    "from_mmseg",
    "from_positions",
    "insert",
    "load_weights",
    "save_weights",
    "to_mmcv",
    "to_mmseg",
    "to_positions",
]
