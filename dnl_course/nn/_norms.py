"""What a normalisation after W_z does to 0, and to a vector that is the same at all positions (lesson 08; claim E3)."""

from __future__ import annotations

from torch import nn

OF_ZERO_THE_BIAS = tuple(f"torch.nn.modules.{name}" for name in ("batchnorm", "instancenorm", "normalization"))
INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def all_zero(module) -> bool:
    """Whether a module has a weight, and it and the bias are 0."""
    parameters = [p for p in (getattr(module, "weight", None), getattr(module, "bias", None)) if p is not None]
    return bool(parameters) and not any(bool(p.detach().count_nonzero()) for p in parameters)


def keeps_zero(norm) -> bool:
    """Whether a norm is known to make 0 of 0, in training and evaluation."""
    added = (getattr(norm, "bias", None), getattr(norm, "running_mean", None))  # evaluation takes the latter out
    known = type(norm) is nn.Identity or type(norm).__module__ in OF_ZERO_THE_BIAS
    return known and not any(bool(p.detach().count_nonzero()) for p in added if p is not None)


def takes_out_what_is_the_same_everywhere(norm) -> str:
    """Return when a norm takes the mean over positions out of channels: "always", "in training" or "" (unknown)."""
    if type(norm).__module__ not in OF_ZERO_THE_BIAS:
        return ""  # a subclass may do anything
    if isinstance(norm, INSTANCE):
        return "in training" if norm.track_running_stats else "always"
    alone = isinstance(norm, nn.GroupNorm) and norm.num_groups == norm.num_channels
    return "always" if alone else ""
