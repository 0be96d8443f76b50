"""What `dnl_course.denoise` accepts, and the sentences for what it does not (lesson 01).

Each sentence names the argument, says what was given and what is allowed, and where there is one, the mend. The
checks stand apart so that the other two modules read as mathematics.
"""

from __future__ import annotations

import math
import numbers

import numpy as np
import torch

IMAGE = {2: "(H, W)", 3: "(H, W, C)"}
LARGEST_MAP = 16384  # pixels; their map in float64 takes 2 GiB, and softmax holds two


def _words(value) -> str:
    """What a value is, in words that the person who passed it would use."""
    plain = isinstance(value, (bool, np.generic, numbers.Number, str, type(None)))
    return f"{value!r} ({type(value).__name__})" if plain else f"of type {type(value).__name__}"


def _is_bool(value) -> bool:
    return isinstance(value, (bool, np.bool_))


def scalar(name: str, value, *, positive: bool) -> float:
    """Return ``value`` as a Python float if it is one finite number, > 0 (``positive``) or >= 0."""
    if isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim == 0:
        value = value.item()  # noise.std() of a tensor is a tensor
    allowed = f"allowed is one finite number {'> 0' if positive else '>= 0'}, in the units of the image"
    if _is_bool(value) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {_words(value)}; {allowed}.") from None
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        mend = " The smaller h, the less is averaged: take a small one." if positive and value == 0 else ""
        raise ValueError(f"{name} is {value:g}; {allowed}.{mend}") from None
    return value


def whole_number(name: str, value, *, at_least: int) -> int:
    """Return ``value`` as a Python int if it is a whole number >= ``at_least``."""
    if _is_bool(value) or not isinstance(value, numbers.Integral):
        whole = isinstance(value, numbers.Real) and not _is_bool(value) and float(value).is_integer()
        mend = f" Use {name}={int(value)}." if whole else ""
        raise TypeError(f"{name} is {_words(value)}; allowed is an int >= {at_least}.{mend}") from None
    if not at_least <= value < 2**31:
        raise ValueError(f"{name} is {value}; allowed is an int >= {at_least} (and below 2**31).") from None
    return int(value)


def odd(name: str, value) -> int:
    """Return ``value`` as a Python int if it is odd and positive, so that a patch has a centre pixel."""
    value = whole_number(name, value, at_least=1)
    if value % 2 == 0:
        near = f"{value - 1} or {value + 1}"
        raise ValueError(
            f"{name} is {value}, which is even; allowed are odd sizes 1, 3, 5, ..., so that a patch has a centre "
            f"pixel. Use {near}."
        ) from None
    return value


def settings(h, sigma, patch_size, patch_distance) -> tuple[float, float, int, int]:
    """Check what `nl_means` and `nl_weights` share."""
    return (
        scalar("h", h, positive=True),
        scalar("sigma", sigma, positive=False),
        odd("patch_size", patch_size),
        whole_number("patch_distance", patch_distance, at_least=0),
    )


def _dtype(name: str, values) -> None:
    dtype = str(values.dtype).removeprefix("torch.")
    if isinstance(values, np.ndarray):
        if dtype.lstrip("<>=") in ("float32", "float64", "f4", "f8"):
            return
        floating, to_float = values.dtype.kind == "f", f"{name}.astype(np.float32)"
    else:
        if values.dtype in (torch.float32, torch.float64):
            return
        floating, to_float = values.is_floating_point(), f"{name}.to(torch.float32)"
    number = values.dtype.kind in "iuf" if isinstance(values, np.ndarray) else not values.is_complex()
    mend = to_float if floating else f"{to_float} / 255 if 8-bit values shall lie between 0 and 1"
    use = f" Use {mend}." if number else ""
    raise TypeError(f"{name} has the dtype {dtype}; allowed are float32 and float64.{use}") from None


def as_tensor(name: str, values, shapes: dict[int, str]) -> torch.Tensor:
    """Return a tensor of the values, which are not modified, if they are finite floats of an allowed shape."""
    if not isinstance(values, (np.ndarray, torch.Tensor)):
        mend = f"np.asarray({name}, dtype=np.float64)"
        raise TypeError(
            f"{name} is {_words(values)}; allowed is a NumPy array or a torch tensor. Use {mend}."
        ) from None
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; allowed is a plain one. Use {name}.filled(value).") from None
    if isinstance(values, torch.Tensor) and (values.layout is not torch.strided or values.device.type == "meta"):
        kind = "on the meta device, without values" if values.device.type == "meta" else f"of layout {values.layout}"
        raise TypeError(f"{name} is a tensor {kind}; allowed is a dense one. Use {name}.to_dense().") from None
    _dtype(name, values)
    given = f"shape {tuple(values.shape)}"
    if values.ndim not in shapes:
        mend = " One image at a time, without a batch axis." if values.ndim == 4 and 3 in shapes else ""
        raise ValueError(
            f"{name} has {values.ndim} axes, {given}; allowed is {' or '.join(shapes.values())}.{mend}"
        ) from None
    if 0 in values.shape:
        raise ValueError(f"{name} is empty, {given}; allowed is a length of at least 1 along each axis.") from None
    if isinstance(values, np.ndarray):
        # a copy: torch warns about arrays that are read-only and refuses negative strides and foreign byte orders
        tensor = torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("="), order="C", subok=False))
    elif values.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{name} requires a gradient; allowed is a tensor that requires none: no gradient is computed here. "
            f"Use {name}.detach(), or call inside torch.no_grad()."
        ) from None
    else:
        tensor = values.detach()
    if not all(math.isfinite(end) for end in torch.stack(tensor.aminmax()).tolist()):
        bad = tensor.numel() - int(tensor.isfinite().sum())
        raise ValueError(
            f"{name} holds {bad} NaN or infinite value{'s' * (bad > 1)} among {tensor.numel()}; allowed are finite "
            f"values. Use np.nan_to_num({name}), or better find out where they come from."
        ) from None
    return tensor


def like(result: torch.Tensor, given):
    """Return a result as the kind (and in the byte order) that was given."""
    return result.numpy().astype(given.dtype, copy=False) if isinstance(given, np.ndarray) else result


def not_too_large(unary_logits: torch.Tensor, h: float) -> None:
    """Refuse an h so small that the logits, which grow as 1/h^2, leave the range of their dtype."""
    largest = float(unary_logits.abs().max())
    if not largest < torch.finfo(unary_logits.dtype).max / 8:
        dtype = str(unary_logits.dtype).removeprefix("torch.")
        raise ValueError(
            f"h is {h:g}, too small for these values: their logits, |P|^2 / (n h^2), leave the range of {dtype}. Use a "
            "larger h, or nl_means, which computes distances instead."
        ) from None


def position(pixel, height: int, width: int) -> tuple[int, int]:
    """Return (row, column) as Python ints if that pixel is in the image."""
    try:
        row, column = pixel
    except (TypeError, ValueError):
        raise TypeError(f"pixel is {pixel!r}; allowed is a pair of ints, (row, column).") from None
    for name, value, size in (("row", row, height), ("column", column, width)):
        if _is_bool(value) or not isinstance(value, numbers.Integral):
            raise TypeError(f"pixel has the {name} {_words(value)}; allowed is an int from 0 to {size - 1}.") from None
        if not 0 <= value < size:
            raise IndexError(
                f"pixel has the {name} {value}, and the image has {height} rows and {width} columns; allowed is a "
                f"{name} from 0 to {size - 1}. A pixel is (row, column)."
            ) from None
    return int(row), int(column)


def one_common_window(sigma, patch_distance) -> None:
    """Refuse what makes the weights no single softmax of a pairwise and a unary term."""
    if scalar("sigma", sigma, positive=False) > 0:
        raise ValueError(
            f"sigma is {float(sigma):g}; allowed is 0: max(d - 2 sigma^2, 0) is no square and does not split into a "
            "pairwise and a unary term. Use nl_means or nl_weights, which take a sigma."
        ) from None
    if patch_distance is not None:
        raise ValueError(
            f"patch_distance is {patch_distance!r}; allowed is None, the whole image as one window for all pixels: "
            "with a window of its own each pixel compares other candidates, and no unary map is common to all. Use "
            "nl_means or nl_weights, which take a patch_distance."
        ) from None


def small_enough(pixels: int) -> None:
    """Refuse a map that would not fit into the memory of a learner's machine."""
    if pixels > LARGEST_MAP:
        raise ValueError(
            f"image has {pixels} pixels, and the map is as large as their square; allowed are at most {LARGEST_MAP}. "
            "Use a crop, image[:128, :128]."
        ) from None
