"""What the modules of `dnl_course.nn` accept, and the sentences for what they do not (lesson 03).

Each sentence names the argument, says what was given and what is allowed, and where there is one, the mend.
"""

from __future__ import annotations

import numbers
import operator

import torch

from dnl_course.attention._checks import one_of  # noqa: F401  one list of names, one sentence, on both floors

AXES = {1: ("T",), 2: ("H", "W"), 3: ("T", "H", "W")}
UNITS = {1: "sequence", 2: "image", 3: "clip"}


def count(name: str, value) -> int:
    """Return a Python int if the value is a whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); allowed is an int >= 1.") from None
    if value < 1:
        raise ValueError(f"{name} is {value}; allowed is an int >= 1.") from None
    return int(value)


def flag(name: str, value) -> bool:
    """Return the value if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); allowed are True and False.") from None
    return value


def scalable(pairwise: str) -> None:
    """Refuse a scale where the formula has none."""
    if pairwise != "embedded_gaussian":
        why = {
            "gaussian": "its logits are dot products of x itself, and there is no embedding of width D",
            "dot_product": "no softmax follows, so that D**-0.5 would only make y smaller, which W_z can do",
            "concatenation": "no softmax follows, so that D**-0.5 would only make y smaller, which W_z can do",
        }[pairwise]
        raise ValueError(
            f"scale is True and pairwise is {pairwise!r}: {why}. Use scale=False, or pairwise='embedded_gaussian'."
        ) from None


def features(name: str, x, channels: int, ndim: int, weight: torch.Tensor) -> None:
    """Refuse what is no batch of feature maps (B, channels, *spatial) that goes with the weights."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name} is of type {type(x).__name__}; allowed is a tensor.") from None
    shape, allowed = tuple(x.shape), f"(B, {channels}, {', '.join(AXES[ndim])})"
    if x.ndim != ndim + 2:
        mend = ""
        if x.ndim == ndim + 1 and x.shape[0] == channels:
            mend = f" One {UNITS[ndim]} needs a batch axis: x[None]."
        elif x.ndim - 2 in AXES and x.shape[1] == channels:
            mend = f" For {UNITS[x.ndim - 2]}s build the block with ndim={x.ndim - 2}."
        raise ValueError(f"{name} has {x.ndim} axes, shape {shape}; allowed is {allowed}.{mend}") from None
    if x.shape[1] != channels:
        mend = " Channels come second: x.movedim(-1, 1)." if x.shape[-1] == channels else ""
        mend = mend or f" Build the block with channels={x.shape[1]}."
        raise ValueError(f"{name} has {x.shape[1]} channels, shape {shape}; allowed is {allowed}.{mend}") from None
    if any(size == 0 for size in x.shape[2:]):
        raise ValueError(f"{name} has no positions, shape {shape}; allowed is at least 1 along each axis.") from None
    if x.device != weight.device:
        several = x.device.type == weight.device.type
        raise ValueError(
            f"{name} is on {x.device} and the block on {weight.device}. Use block.to({str(x.device)!r})."
            + (" In torch.nn.DataParallel hooks keep to one device: use DistributedDataParallel." if several else "")
        ) from None
    cast = torch.float64 not in (x.dtype, weight.dtype) and x.is_floating_point()  # autocast leaves float64 alone
    if x.dtype != weight.dtype and not (cast and _autocast(x.device.type)):
        given, own = (str(t.dtype).removeprefix("torch.") for t in (x, weight))
        raise TypeError(
            f"{name} has the dtype {given} and the block {own}. Use x.to(torch.{own})"
            + (f", or block.to(torch.{given})." if x.is_floating_point() else ".")
        ) from None


def _autocast(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def has_values(block: torch.nn.Module) -> None:
    """Refuse to look at numbers that are not there yet."""
    if any(p.is_meta for p in (*block.parameters(), *block.buffers())):
        raise ValueError(
            "the block has parameters on the meta device, whose values cannot be looked at. Use block.to_empty(device='cpu'), "
            "then block.reset_parameters() or block.load_state_dict(...)."
        ) from None


def poolable(name: str, x: torch.Tensor, window: tuple[int, ...]) -> None:
    """Refuse a map that pooling would leave without a key."""
    if any(size < side for size, side in zip(x.shape[2:], window)):
        raise ValueError(
            f"{name} has the shape {tuple(x.shape)}, too small for the sub-sampling window {window}: no key would be "
            "left. Use subsample=None, or a larger input."
        ) from None


def _is_index(value) -> bool:
    """Say whether a value is one number and no tuple; which numbers are allowed `dnl_course.attention` says."""
    return isinstance(value, numbers.Number) or (isinstance(value, torch.Tensor) and value.ndim == 0)


def _position(place, spatial: tuple[int, ...]) -> int:
    """Return the number of the position with these coordinates."""
    axes = ", ".join({1: ("t",), 2: ("row", "column"), 3: ("t", "row", "column")}[len(spatial)])
    try:
        coordinates = tuple(operator.index(p) for p in place)
    except TypeError:
        coordinates = ()
    if len(coordinates) != len(spatial):
        raise ValueError(f"queries holds {place!r}; allowed are ints, or tuples of ints ({axes}).") from None
    position = 0
    for p, size in zip(coordinates, spatial):
        if not 0 <= p < size:
            raise IndexError(
                f"queries holds {coordinates}, and the map has the size {spatial}; each of ({axes}) counts from 0."
            ) from None
        position = position * size + p
    return position


def positions(queries, spatial: tuple[int, ...]):
    """Return queries as position numbers: coordinates become numbers, and everything else is left as it is."""
    if isinstance(queries, torch.Tensor) and queries.ndim == 2:
        queries = queries.tolist()
    if queries is None or isinstance(queries, (numbers.Number, torch.Tensor)):
        return queries
    try:
        given = list(queries)
    except TypeError:
        raise TypeError(
            f"queries is of type {type(queries).__name__}; allowed are None (all), an int, a list of ints or of "
            "tuples of coordinates, or an integer tensor."
        ) from None
    single = [_is_index(p) for p in given]
    if isinstance(queries, tuple) and all(single) and len(given) == len(spatial) > 1:
        raise ValueError(
            f"queries is {queries!r}, which may be one pixel or {len(given)} positions. Use [{queries!r}] for the "
            f"pixel, {given!r} for the positions."
        ) from None
    return [p if number else _position(p, spatial) for p, number in zip(given, single)]


def temperature(value) -> None:
    """Refuse what is no finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"temperature is {value!r} ({type(value).__name__}); allowed is a number above 0.") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"temperature is {value}; allowed is a finite number above 0.") from None
    if value < 1e-30:
        raise ValueError(f"temperature is {value}, and float32 cannot hold what it divides; allowed is 1e-30 and more.") from None


def goes_with(variant: str, preset) -> None:
    """Refuse a variant that has not what the preset changes."""
    if variant in ("nl", "nl_u") and preset.temperature != 1:
        raise ValueError(
            f"temperature is {preset.temperature:g} (preset {preset.name!r}): it divides the whitened logit, and variant "
            f"{variant!r} has none. Use temperature=1."
        ) from None
    if preset.gate and variant not in ("dnl", "dnl_dagger", "nl_p"):
        raise ValueError(
            f"variant is {variant!r} and preset {preset.name!r}, which multiplies the pairwise term by a gate: allowed are "
            "'dnl', 'dnl_dagger' and 'nl_p', where that term has a softmax of its own."
        ) from None


def norm(given, channels: int, batch: type, zero_init: bool):
    """Return the normalisation that was asked for, or None; with ``zero_init`` its weight must exist to be 0."""
    if given is None:
        return None
    if given != "batch" and (not callable(given) or isinstance(given, torch.nn.Module)):
        is_module = isinstance(given, torch.nn.Module)
        use = f"lambda channels: torch.nn.{type(given).__name__}(...)" if is_module else "'batch'"
        raise ValueError(
            f"norm is {given!r}; allowed are None, 'batch', or a callable that takes the number of channels and "
            f"returns a module. Use {use}."
        ) from None
    module = batch(channels) if given == "batch" else given(channels)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"norm(channels) is of type {type(module).__name__}; allowed is a torch.nn.Module.") from None
    if not isinstance(getattr(module, "weight", None), torch.nn.Parameter) and zero_init:
        raise ValueError(
            f"zero_init is True and {type(module).__name__} has no weight that could be 0. Use affine=True there, or "
            "zero_init=False, or in a DisentangledBlock zero_init='out'."
        ) from None
    return module
