"""Weights of mmcv's NonLocal1d, NonLocal2d and NonLocal3d as weights of `NonLocalBlock`, and back (lesson 03).

=================================  =================  ==========================================================
mmcv 2.1                           here
=================================  =================  ==========================================================
theta.conv, phi.conv, g.conv       query, key, value  with ``sub_sample=True`` mmcv says phi.0.conv and g.0.conv
conv_out.conv, conv_out.bn         out, norm
concat_project.conv.weight         concat             (1, 2 D, 1, 1) there, (2 D,) here
=================================  =================  ==========================================================

The options are not in the weights. mmcv's ``sub_sample=True`` is ``subsample="conv_pool"`` here, its ``reduction`` is
``inner_channels=channels // reduction``, and its ``use_scale`` (True by default, embedded Gaussian only) is ``scale``.
"""

from __future__ import annotations

import torch

__all__ = ["from_mmcv", "to_mmcv"]

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def from_mmcv(state_dict) -> dict[str, torch.Tensor]:
    """Rename the weights of an mmcv non-local module to those of `NonLocalBlock`.

    Parameters
    ----------
    state_dict : dict of str to tensor
        Of NonLocal1d, NonLocal2d or NonLocal3d, any mode, with or without sub-sampling or batch normalisation.

    Returns
    -------
    dict of str to tensor
        For ``block.load_state_dict``. The tensors share their memory with those given.

    Raises
    ------
    TypeError, ValueError
        Keys are missing or unknown (all are named), or shapes do not go together.

    Examples
    --------
    >>> from dnl_course.nn import NonLocalBlock, from_mmcv, to_mmcv
    >>> block = NonLocalBlock(8, subsample="conv_pool", norm="batch")
    >>> theirs = to_mmcv(block.state_dict(), sub_sample=True)
    >>> sorted(theirs)[:4]
    ['conv_out.bn.bias', 'conv_out.bn.num_batches_tracked', 'conv_out.bn.running_mean', 'conv_out.bn.running_var']
    >>> block.load_state_dict(from_mmcv(theirs))
    <All keys matched successfully>
    """
    given = _tensors(state_dict)
    pooled = "g.0.conv.weight" in given
    names = _names(given, sub_sample=pooled, theirs=True)
    ours = {own: given[their] for own, their in names.items()}
    _check_shapes(ours, names)
    if "concat" in ours:
        ours["concat"] = ours["concat"].reshape(-1)  # (1, 2 D, 1, 1) -> (2 D,)
    return ours


def to_mmcv(state_dict, *, sub_sample: bool = False) -> dict[str, torch.Tensor]:
    """Rename the weights of a `NonLocalBlock` to those of an mmcv non-local module: the inverse of `from_mmcv`.

    Parameters
    ----------
    state_dict : dict of str to tensor
        ``block.state_dict()``.
    sub_sample : bool, optional
        Whether the weights go to a module built with ``sub_sample=True``, whose names differ.

    Returns
    -------
    dict of str to tensor
        The tensors share their memory with those given.

    Raises
    ------
    TypeError, ValueError
        As `from_mmcv`.

    Examples
    --------
    >>> from dnl_course.nn import NonLocalBlock
    >>> list(to_mmcv(NonLocalBlock(8, pairwise="gaussian").state_dict()))
    ['g.conv.weight', 'g.conv.bias', 'conv_out.conv.weight', 'conv_out.conv.bias']
    """
    given = _tensors(state_dict)
    names = _names(given, sub_sample=sub_sample, theirs=False)
    _check_shapes(given, {own: own for own in names})
    theirs = {their: given[own] for own, their in names.items()}
    if "concat" in given:
        theirs["concat_project.conv.weight"] = given["concat"].reshape(1, -1, 1, 1)
    return theirs


def _tensors(state_dict) -> dict[str, torch.Tensor]:
    try:
        given = dict(state_dict)
    except (TypeError, ValueError):
        given = {"": None}
    inside = [name for name, value in given.items() if isinstance(name, str) and isinstance(value, dict) and _holds_tensors(value)]
    if inside:
        name = "state_dict" if "state_dict" in inside else inside[0]
        raise TypeError(f'state_dict is a checkpoint, which holds one among others. Use checkpoint["{name}"].') from None
    if given and not _holds_tensors(given):
        raise TypeError(
            f"state_dict is of type {type(state_dict).__name__} or holds other things than tensors; allowed is what "
            "module.state_dict() returns."
        ) from None
    return given


def _holds_tensors(given: dict) -> bool:
    return bool(given) and all(isinstance(value, torch.Tensor) for value in given.values())


def _names(given: dict, *, sub_sample: bool, theirs: bool) -> dict[str, str]:
    """Return our name to their name of every weight, for the kind of module that the keys show."""
    zero = ".0" if sub_sample else ""
    parts = {"query": "theta.conv", "key": f"phi{zero}.conv", "value": f"g{zero}.conv"}
    has = {name.split(".")[0] for name in given}
    gaussian = not has & ({"theta", "phi", "concat_project"} if theirs else {"query", "key", "concat"})
    if gaussian:
        del parts["query"], parts["key"]
    names = {f"{own}.{kind}": f"{their}.{kind}" for own, their in parts.items() for kind in ("weight", "bias")}
    if has & {"concat", "concat_project"}:
        names["concat"] = "concat_project.conv.weight"
    names["out.weight"] = "conv_out.conv.weight"
    if any(name.startswith("conv_out.bn." if theirs else "norm.") for name in given):
        names |= {f"norm.{kind}": f"conv_out.bn.{kind}" for kind in BATCH_NORM}
    else:
        names["out.bias"] = "conv_out.conv.bias"
    expected = set(names.values()) if theirs else set(names)
    missing, unknown = sorted(expected - set(given)), sorted(set(given) - expected)
    if missing or unknown:
        raise ValueError(_keys_sentence(missing, unknown, "g" if theirs else "value")) from None
    return names


def _keys_sentence(missing: list[str], unknown: list[str], root: str) -> str:
    words = "state_dict is not that of " + ("an mmcv non-local module" if root == "g" else "a NonLocalBlock")
    words += f"; missing: {', '.join(missing)}" if missing else ""
    words += f"; unknown: {', '.join(unknown[:12])}{', ...' if len(unknown) > 12 else ''}" if unknown else ""
    for name in unknown:
        prefix, found, _ = name.partition(f".{root}.")
        if found:
            return words + (
                f'. Take the part below {prefix!r}: {{k.removeprefix("{prefix}."): v for k, v in state_dict.items() '
                f'if k.startswith("{prefix}.")}}.'
            )
    return words + "."


def _check_shapes(ours: dict, names: dict[str, str]) -> None:
    """Refuse weights that do not go together: C and D are those of the value map."""
    value = ours["value.weight"]
    if not 3 <= value.ndim <= 5 or any(size != 1 for size in value.shape[2:]):
        _refuse_shape(names["value.weight"], value, "(D, C, 1), (D, C, 1, 1) or (D, C, 1, 1, 1)")
    D, C, *ones = value.shape
    for own, their in names.items():
        part, _, kind = own.partition(".")
        if part in ("query", "key", "value"):
            shape = (D, C, *ones) if kind == "weight" else (D,)
        else:
            w_f = (2 * D,) if their == "concat" else (1, 2 * D, 1, 1)
            others = {"concat": w_f, "out.weight": (C, D, *ones), "norm.num_batches_tracked": ()}
            shape = others.get(own, (C,))
        if tuple(ours[own].shape) != shape:
            _refuse_shape(their, ours[own], f"{shape} beside a value map of shape {tuple(value.shape)}")


def _refuse_shape(name: str, weight: torch.Tensor, allowed: str) -> None:
    raise ValueError(f"{name} has the shape {tuple(weight.shape)}; allowed is {allowed}.") from None
