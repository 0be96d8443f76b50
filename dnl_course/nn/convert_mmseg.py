"""Weights of mmsegmentation's DisentangledNonLocal2d as weights of `DisentangledBlock`, and back (lesson 08).

=================================  =================
mmsegmentation 1.2                 here
=================================  =================
theta.conv, phi.conv, g.conv       query, key, value
conv_mask.weight                   mask.weight
conv_out.conv, conv_out.bn         out, norm
=================================  =================

``conv_mask.bias`` has no place here: it is added to all unary logits, and the softmax does not see it. The options are
not in the weights: its defaults are ``preset="mmseg"``, its ``reduction`` is ``inner_channels=channels // reduction``,
its ``norm_cfg`` (BN or SyncBN) is ``norm="batch"``; ``use_scale=False`` and another ``temperature`` are ``scale=False``
and ``temperature`` here. Only its mode "embedded_gaussian" is a block of this family.
"""

from __future__ import annotations

import torch

from dnl_course.nn.convert import BATCH_NORM, _check_shapes, _refuse_shape, _tensors

__all__ = ["from_mmseg", "to_mmseg"]

PARTS = {"query": "theta.conv", "key": "phi.conv", "value": "g.conv", "out": "conv_out.conv"}
UNSEEN = "conv_mask.bias"


def from_mmseg(state_dict) -> dict[str, torch.Tensor]:
    """Rename the weights of mmsegmentation's disentangled block to those of `DisentangledBlock`.

    Parameters
    ----------
    state_dict : dict of str to tensor
        Of a DisentangledNonLocal2d, with or without batch normalisation. In a whole network's it is the part below
        ``decode_head.dnl_block``.

    Returns
    -------
    dict of str to tensor
        For ``block.load_state_dict``, of a block with variant "dnl". The tensors share their memory with those given.

    Raises
    ------
    TypeError, ValueError
        A checkpoint instead of its weights; keys are missing or unknown (all are named), or shapes do not go together.

    Examples
    --------
    >>> from dnl_course.nn import DisentangledBlock, from_mmseg, to_mmseg
    >>> block = DisentangledBlock(8, preset="mmseg", norm="batch")
    >>> theirs = to_mmseg(block.state_dict())
    >>> sorted(theirs)[:2]
    ['conv_mask.bias', 'conv_mask.weight']
    >>> block.load_state_dict(from_mmseg(theirs))
    <All keys matched successfully>
    """
    given = _tensors(state_dict)
    names = _names(given, theirs=True)
    ours = {own: given[their] for own, their in names.items()}
    _check(ours, names)
    if tuple(given[UNSEEN].shape) != (1,):
        _refuse_shape(UNSEEN, given[UNSEEN], "(1,)")
    return ours


def to_mmseg(state_dict) -> dict[str, torch.Tensor]:
    """Rename the weights of a `DisentangledBlock` to those of mmsegmentation's: the inverse of `from_mmseg`.

    Parameters
    ----------
    state_dict : dict of str to tensor
        ``block.state_dict()`` of a block for images, variant "dnl", preset "mmseg" or "block". For weights of preset
        "block" theirs must be built with ``use_scale=False, temperature=1``: the usual one computes something else with them.
        Weights of variant "dnl_star", or of a block with ``subsample``, have the same keys and cannot be told apart:
        theirs computes something else with them.

    Returns
    -------
    dict of str to tensor
        With a ``conv_mask.bias`` of 0. The other tensors share their memory with those given.

    Raises
    ------
    TypeError, ValueError
        As `from_mmseg`.

    Examples
    --------
    >>> from dnl_course.nn import DisentangledBlock
    >>> list(to_mmseg(DisentangledBlock(8, preset="mmseg").state_dict()))[-2:]
    ['conv_mask.weight', 'conv_mask.bias']
    """
    given = _tensors(state_dict)
    names = _names(given, theirs=False)
    _check(given, {own: own for own in names})
    theirs = {their: given[own] for own, their in names.items()}
    theirs[UNSEEN] = given["mask.weight"].new_zeros(1)
    return theirs


def _names(given: dict, *, theirs: bool) -> dict[str, str]:
    """Return our name to their name of every weight that both have."""
    names = {f"{own}.{kind}": f"{their}.{kind}" for own, their in PARTS.items() for kind in ("weight", "bias")}
    if any(name.startswith("conv_out.bn." if theirs else "norm.") for name in given):
        names |= {f"norm.{kind}": f"conv_out.bn.{kind}" for kind in BATCH_NORM}
        del names["out.bias"]
    names["mask.weight"] = "conv_mask.weight"
    expected = {*names.values(), UNSEEN} if theirs else set(names)
    missing, unknown = sorted(expected - set(given)), sorted(set(given) - expected)
    if missing or unknown:
        raise ValueError(_sentence(missing, unknown, theirs)) from None
    return names


def _sentence(missing: list[str], unknown: list[str], theirs: bool) -> str:
    """Name the keys, and what kind of weights these may be."""
    whose = "mmsegmentation's DisentangledNonLocal2d" if theirs else "a DisentangledBlock that mmsegmentation has"
    words = f"state_dict is not that of {whose}"
    words += f"; missing: {', '.join(missing)}" if missing else ""
    words += f"; unknown: {', '.join(unknown[:12])}{', ...' if len(unknown) > 12 else ''}" if unknown else ""
    mask = UNSEEN if theirs else "mask.weight"
    prefixes = [name.removesuffix(f".{mask}") for name in unknown if name.endswith(f".{mask}")]
    if prefixes:
        one, others = prefixes[0], f" (or below {', '.join(map(repr, prefixes[1:]))})" if prefixes[1:] else ""
        return words + (
            f'. Take the part below {one!r}{others}: {{k.removeprefix("{one}."): v for k, v in state_dict.items() '
            f'if k.startswith("{one}.")}}.'
        )
    if theirs and "g.0.conv.weight" in unknown:
        return words + ". With sub_sample=True mmsegmentation's block cannot run: its mask is not sub-sampled."
    if theirs and {"concat_project.conv.weight", "theta.conv.weight"} & {*missing, *unknown}:
        return words + ". Allowed is its mode 'embedded_gaussian'."
    if theirs and missing == ["conv_mask.bias", "conv_mask.weight"]:
        return words + ". Without a mask this is a plain non-local block: dnl_course.nn.from_mmcv."
    if not theirs and mask in missing or "gate" in unknown or "value.bias" in missing:
        return words + ". Allowed is variant 'dnl' with preset 'mmseg' or 'block'."
    if _other_norm(missing, unknown, theirs):
        return words + (
            ". Of the norms only a batch norm with weights and running statistics has a counterpart: norm='batch' here, "
            "norm_cfg BN or SyncBN there."
        )
    return words + "."


def _other_norm(missing: list[str], unknown: list[str], theirs: bool) -> bool:
    """Whether W_z is followed by another norm than a batch norm: it has names of its own, or no bias is left."""
    if missing == ["conv_out.conv.bias" if theirs else "out.bias"]:
        return True
    if theirs:
        return any(name.startswith("conv_out.") and name.split(".")[1] not in ("conv", "bn") for name in unknown)
    return {"norm.running_mean", "norm.running_var"} <= set(missing) or any(name.startswith("norm.") for name in unknown)


def _check(ours: dict, names: dict[str, str]) -> None:
    """Refuse weights that do not go together, or are not for images."""
    value, mask = ours["value.weight"], ours["mask.weight"]
    if value.ndim != 4:
        _refuse_shape(names["value.weight"], value, "(D, C, 1, 1): mmsegmentation has the block for images only")
    _check_shapes(ours, {own: their for own, their in names.items() if own != "mask.weight"})
    if tuple(mask.shape) != (1, value.shape[1], 1, 1):
        allowed = f"{(1, value.shape[1], 1, 1)} beside a value map of shape {tuple(value.shape)}"
        _refuse_shape(names["mask.weight"], mask, allowed)
