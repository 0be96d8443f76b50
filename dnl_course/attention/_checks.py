"""What `dnl_course.attention` accepts, and the sentences for what it does not (lessons 02, 03, 08).

Only shapes, dtypes and devices are looked at, never values: a check costs nothing, waits for no GPU, and leaves no
trace in `torch.export`. The one exception is ``queries``, which are positions and not features.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator

import torch

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FEATURES = {"q": "(B, N, D)", "k": "(B, M, D)", "v": "(B, M, E)"}
SCALARS = {"a": "(B, N)", "b": "(B, M)", "v": "(B, M, E)"}


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _one(name: str, x, shape: str) -> None:
    """Refuse what is no dense floating tensor with the axes of ``shape``."""
    if not isinstance(x, torch.Tensor):
        kind = type(x).__name__
        raise TypeError(f"{name} is of type {kind}; allowed is a torch tensor. Use torch.as_tensor({name}).") from None
    if x.layout is not torch.strided:
        raise TypeError(f"{name} has the layout {x.layout}; allowed is a dense one. Use {name}.to_dense().") from None
    if x.dtype not in DTYPES:
        mend = "" if x.is_complex() else f" Use {name}.float()."
        allowed = ", ".join(map(_short, DTYPES))
        raise TypeError(f"{name} has the dtype {_short(x.dtype)}; allowed are {allowed}.{mend}") from None
    axes = shape.count(",") + 1
    if x.ndim != axes:
        if axes == 2:
            mend = f" Use {name}.squeeze(-1)." if x.ndim == 3 and x.shape[-1] == 1 else " One number per position."
        elif x.ndim > axes:
            mend = f" From (B, C, *spatial), use {name}.flatten(2).transpose(1, 2)."
        else:
            mend = f" For one image, use {name}.unsqueeze(0)." if x.ndim == axes - 1 else ""
        raise ValueError(f"{name} has {x.ndim} axes, shape {tuple(x.shape)}; allowed is {shape}.{mend}") from None
    for letter, size in zip(shape.strip("()").split(", "), x.shape, strict=True):
        if letter not in "BN" and size == 0:  # no key, no weights; no image and no query make an empty result
            raise ValueError(
                f"{name} is empty, shape {tuple(x.shape)}; allowed is {shape} with {letter} >= 1."
            ) from None


def tensors(shapes: dict[str, str], *given: torch.Tensor, names: tuple[str, ...] | None = None) -> torch.dtype:
    """Check tensors against each other and return the dtype of the result.

    Parameters
    ----------
    shapes : dict of str to str
        `FEATURES` or `SCALARS`: equal letters stand for equal sizes. Tensors that are not given are left out.
    *given : torch.Tensor
    names : tuple of str, optional
        What the caller calls them.
    """
    names = names or tuple(shapes)[: len(given)]
    seen: dict[str, tuple[str, int]] = {}
    for name, x, shape in zip(names, given, shapes.values(), strict=False):
        _one(name, x, shape)
        for letter, size in zip(shape.strip("()").split(", "), x.shape, strict=True):
            other, expected = seen.setdefault(letter, (name, size))
            if size != expected:
                both = ", ".join(f"{n} {tuple(t.shape)}" for n, t in zip(names, given, strict=True))
                what = {"B": "images", "M": "keys", "D": "channels"}[letter]
                repeat = letter == "B" and 1 in (size, expected)
                mend = f" Use {name if size == 1 else other}.expand({max(size, expected)}, ...)." if repeat else ""
                raise ValueError(
                    f"{name} has {size} {what} and {other} has {expected} ({both}); allowed is the same {letter}.{mend}"
                ) from None
    first = given[0]
    for name, x in zip(names, given, strict=True):
        if x.device != first.device:
            raise ValueError(
                f"{name} is on {x.device} and {names[0]} on {first.device}; allowed is one device. "
                f"Use {name}.to({names[0]}.device)."
            ) from None
    dtype = first.dtype
    for name, x in zip(names, given, strict=True):
        if x.dtype != first.dtype and not autocast_is_on(first):
            raise TypeError(
                f"{name} has the dtype {_short(x.dtype)} and {names[0]} {_short(first.dtype)}; allowed is one dtype "
                f"(outside autocast). Use {name}.to({names[0]}.dtype)."
            ) from None
        dtype = torch.promote_types(dtype, x.dtype)
    return dtype


def autocast_is_on(x: torch.Tensor) -> bool:
    """Whether autocast would change dtypes on the device of ``x``."""
    kind = x.device.type
    return kind != "meta" and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def number(name: str, value) -> float:
    """Return a Python float if the value is one finite number."""
    if isinstance(value, torch.Tensor):
        raise TypeError(
            f"{name} is a tensor; allowed is one finite number. A scale that is learned belongs to q: q * {name}."
        ) from None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); allowed is one finite number.") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}; allowed is one finite number.") from None
    return float(value)


def positive(name: str, value) -> float:
    """Return a Python float if the value is one finite number above 0."""
    value = number(name, value)
    if value <= 0:
        raise ValueError(f"{name} is {value:g}; allowed is a number above 0.") from None
    return value


def factor(scale: float, temperature: float) -> float:
    """Return scale / temperature, or refuse what float32 cannot hold."""
    largest = torch.finfo(torch.float32).max
    if abs(scale) > largest * min(temperature, 1.0):
        raise ValueError(
            f"scale / temperature is {scale:g} / {temperature:g}, too large for float32; allowed is at most {largest:.2g}."
        ) from None
    return scale / temperature


def positions(queries, n: int, device: torch.device) -> torch.Tensor | None:
    """Return chosen positions as a tensor (Q,) of int64, or None for all."""
    if queries is None:
        return None
    allowed = "allowed is None (all), an int, or a sequence or 1-D tensor of ints"
    if isinstance(queries, torch.Tensor):
        if queries.dtype is torch.bool:
            raise TypeError(f"queries is a mask; {allowed}. Use queries.nonzero().flatten().") from None
        if queries.is_floating_point() or queries.is_complex():
            raise TypeError(f"queries has the dtype {_short(queries.dtype)}; {allowed}.") from None
        if queries.ndim > 1:
            raise ValueError(
                f"queries has the shape {tuple(queries.shape)}; {allowed}, the same for all images."
            ) from None
        if torch.compiler.is_compiling():
            return queries.reshape(-1).to(device, torch.int64)  # values are not known yet
        queries = queries.reshape(-1).tolist()
    try:
        chosen = [queries] if isinstance(queries, numbers.Integral) else list(queries)
        if any(isinstance(i, bool) or type(i).__name__ == "bool_" for i in chosen):
            raise TypeError
        chosen = [operator.index(i) for i in chosen]
    except TypeError:
        raise TypeError(f"queries is {queries!r}; {allowed}.") from None
    for i in chosen:
        if not 0 <= i < n:
            raise IndexError(
                f"queries has the position {i}, and there are {n}; allowed is 0 to {n - 1}. Position (row, column) of a "
                "picture is row * width + column; negative ones are not counted from the end."
            ) from None
    return torch.tensor(chosen, dtype=torch.int64, device=device)


def one_of(name: str, value, allowed: tuple) -> None:
    """Refuse a value that is not in the list, and say what is."""
    comparable = value is None or isinstance(value, (str, numbers.Integral)) and not isinstance(value, bool)
    if not comparable or value not in allowed:  # 2.0 == 2, and an array has no truth value
        words = [a for a in allowed if isinstance(a, str)]
        near = difflib.get_close_matches(_spelt(value), words) if isinstance(value, str) else []
        mend = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(map(repr, allowed))}.{mend}") from None


def _spelt(value: str) -> str:
    """Return a name as it is spelt in code: DNL* of the paper is dnl_star."""
    return value.lower().replace("*", "_star").replace("\N{DAGGER}", "_dagger")
