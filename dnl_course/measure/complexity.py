"""What a network costs, counted while it runs on shapes alone (lesson 08; claims F5 to F7).

`count` runs a module on torch's "meta" device, where tensors have shapes and no numbers, under torch's own
`FlopCounterMode`. That knows convolutions and matrix products, and counts 2 for each multiply-add; here a multiply-add
is 1. What it passes over (norms, ReLU, softmax, upsampling, sums, pooling) is given as entries of the result, kind by
kind. Whether an entry is an operation, or how many, is a *convention*, and conventions differ: see `CONVENTIONS`.
The printed formulas, and Table 5: ``table5.py``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["CONVENTIONS", "Cost", "count"]

CONVENTIONS = MappingProxyType({
    "multiply_adds": MappingProxyType({}),
    "table5": MappingProxyType({"norm": 2, "upsampling": 11, "softmax": 1}),
})
"""What one entry of each kind counts besides the multiply-adds, by the name of the convention.

"table5" was chosen to fit the printed baseline, 691.06: it is not given with the table. Batch norm 2, bilinear
upsampling 11 and nothing for a ReLU are numbers that the public counter thop has used. Another choice fits as well: batch
norm 2, upsampling 1, and 1 for those ReLUs that do not follow a residual sum. The multiply-adds alone are 0.2% below.
"""

_OPERATIONS = {  # kind of entry: names in torch.ops.aten, those of training and of evaluation
    "norm": (
        "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_batch_norm_with_update",
        "_batch_norm_no_update", "native_layer_norm", "native_group_norm",
    ),
    "relu": ("relu", "relu_"),
    "softmax": ("_softmax", "_safe_softmax"),
    "upsampling": ("upsample_bilinear2d",),
    "pooling": ("max_pool2d_with_indices", "max_pool2d", "avg_pool2d", "_adaptive_avg_pool2d"),
    "sums": ("add", "add_", "sub", "sub_", "rsub"),
}  # fmt: skip
_KIND = {
    getattr(torch.ops.aten, name): kind
    for kind, names in _OPERATIONS.items()
    for name in names
    if hasattr(torch.ops.aten, name)  # not each is in each version
}


def _entries(*shapes, out_shape=None, **_):
    several = bool(out_shape) and not isinstance(out_shape[0], int)  # a norm returns three tensors
    shape = out_shape[0] if several else out_shape
    return prod(shape) if shape else 0  # a counter of batches has no axes, and is no entry


@dataclass(frozen=True)
class Cost:
    """What `count` found.

    Attributes
    ----------
    parameters : int
        Numbers that training changes, each tensor once however many modules share it.
    multiply_adds : int
        Of convolutions and matrix products.
    entries : dict of str to int
        Entries of results, by kind: "norm", "relu", "softmax", "upsampling" (bilinear), "pooling" and "sums" (and
        differences). What is none of these, as a product entry by entry, is not there.
    modules : dict of str to int
        Multiply-adds by the name of the submodule, those inside it included.
    """

    parameters: int
    multiply_adds: int
    entries: dict[str, int]
    modules: dict[str, int] = field(repr=False)  # long

    def total(self, convention="multiply_adds") -> int:
        """Return one number in a convention: a name in `CONVENTIONS`, or a dict of a kind to what its entry counts.

        Raises
        ------
        ValueError
            An unknown convention or kind; the valid ones are listed.

        Examples
        --------
        >>> cost = Cost(0, 100, {"norm": 10, "relu": 7}, {})
        >>> cost.total(), cost.total("table5"), cost.total({"norm": 2, "relu": 1})
        (100, 120, 127)
        """
        if isinstance(convention, str):
            if convention not in CONVENTIONS:
                raise ValueError(f"convention is {convention!r}; allowed: {_names(CONVENTIONS)}, a dict.") from None
            convention = CONVENTIONS[convention]
        unknown = set(convention) - set(_OPERATIONS)
        if unknown:
            raise ValueError(f"convention has {_names(sorted(unknown))}; allowed are {_names(_OPERATIONS)}.") from None
        return self.multiply_adds + sum(weight * self.entries.get(kind, 0) for kind, weight in convention.items())


def count(module, *inputs) -> Cost:
    """Count parameters, multiply-adds and entries of one forward pass; no number is computed.

    Parameters
    ----------
    module : torch.nn.Module
        In the mode in which it is, training or evaluation. Not modified.
    *inputs : tuple of int, or torch.Tensor
        What ``forward`` takes: shapes, with the batch, or tensors, of which only shape and dtype are used.

    Returns
    -------
    Cost

    Raises
    ------
    TypeError
        Other than a module, a shape or a tensor.
    RuntimeError
        The module looks at numbers on its way, or makes tensors on a device of its own.

    Notes
    -----
    A convolution counts C_in / groups * kernel for every entry of its result, at the border too; a matrix product
    (a, b) (b, c) counts a b c. Biases of either are not counted.

    Counted is what torch is given to do. `DisentangledBlock` with a value of width C fills queries and keys of width C/2
    up with zeros, because only so the kernels hold no map: 2 C multiply-adds for a pair of positions, where the equation
    needs 3/2 C. On a CPU `FlopCounterMode` itself counts nothing for these kernels (torch 2.13); on "meta" they are two
    matrix products and a softmax.

    Examples
    --------
    >>> cost = count(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()), (1, 3, 5, 7))
    >>> cost.multiply_adds == (3 * 3 * 3) * (4 * 5 * 7)
    True
    >>> cost.parameters, cost.entries, cost.total("table5") - cost.multiply_adds
    (120, {'norm': 140, 'relu': 140}, 280)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is of type {type(module).__name__}; allowed is a torch.nn.Module.") from None
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    floating = [x.dtype for x in state.values() if x.is_floating_point()]
    given = [_on_meta(f"inputs[{i}]", x, floating[0] if floating else torch.float32) for i, x in enumerate(inputs)]
    stand_ins = {name: torch.empty_like(x, device="meta") for name, x in state.items()}
    counter = FlopCounterMode(display=False, custom_mapping=dict.fromkeys(_KIND, _entries))
    with torch.no_grad(), counter:
        try:
            torch.func.functional_call(module, stand_ins, tuple(given))
        except (RuntimeError, NotImplementedError) as error:
            raise RuntimeError(
                f"{type(module).__name__} does not run on shapes alone ('meta' device), from inputs "
                f"{[tuple(x.shape) for x in given]}: {error}"
            ) from error
    found = counter.get_flop_counts()
    multiply_adds, entries, modules = 0, Counter(), {}
    for name, counts in found.items():
        products = sum(n for operation, n in counts.items() if operation not in _KIND) // 2
        if name == "Global":
            multiply_adds = products
            for operation, n in counts.items():
                if operation in _KIND and n:
                    entries[_KIND[operation]] += n
        elif "." in name and products:
            modules[name.partition(".")[2]] = products  # without the root, which is the whole
    parameters = sum(p.numel() for p in module.parameters())
    return Cost(parameters, multiply_adds, dict(entries), modules)


def _on_meta(name, given, dtype) -> torch.Tensor:
    if isinstance(given, torch.Tensor):
        return torch.empty_like(given, device="meta")
    if not isinstance(given, (tuple, list)) or any(type(n) is not int or n < 0 for n in given):
        raise TypeError(f"{name} is {given!r}; allowed are a tensor and a shape, as (1, 3, 769, 769).") from None
    return torch.empty(tuple(given), dtype=dtype, device="meta")


def _names(names) -> str:
    return ", ".join(map(repr, names))
