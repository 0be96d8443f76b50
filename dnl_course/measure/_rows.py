"""What `dnl_course.measure` accepts, and the sums over attention rows that it is made of (lesson 04).

``spread`` and ``divergence`` are written so that nothing cancels when the rows are nearly equal, which is the case of
interest. ``joined`` puts two parts of the rows together, and so lets ``streaming.py`` see a part at a time.
"""

from __future__ import annotations

import math
import numbers

import torch

SUM_TO_ONE = {torch.float32: 1e-4, torch.float64: 1e-6}  # float64 rows may have been computed in float32
ROUNDING = 64  # in units of eps: what a float product of queries and keys leaves where mathematics has 0


def tensor(name: str, value, letters: str, axes: int) -> torch.Tensor:
    """Return ``value`` if it is a float32 or float64 tensor with at least ``axes`` axes, none of them empty."""
    allowed = f"allowed is a float32 or float64 tensor {letters}"
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}; {allowed}. Use torch.as_tensor({name}).") from None
    if value.dtype not in SUM_TO_ONE:
        dtype = str(value.dtype).removeprefix("torch.")
        raise TypeError(f"{name} has the dtype {dtype}; {allowed}. Use {name}.to(torch.float32).") from None
    if value.ndim < axes or 0 in value.shape:
        raise ValueError(f"{name} has the shape {tuple(value.shape)}; {allowed}, no axis empty.") from None
    return value


def finite(name: str, value, letters: str = "(..., N, M)", axes: int = 2) -> torch.Tensor:
    """Return ``value`` if it is such a tensor without NaN and infinities."""
    value = tensor(name, value, letters, axes)
    if not value.detach().isfinite().all():
        bad = int((~value.detach().isfinite()).sum())
        raise ValueError(f"{name} {tuple(value.shape)} holds {bad} NaN or infinite values; allowed are finite ones.") from None
    return value


def attention(name: str, rows, letters: str = "(..., N, M)", axes: int = 2) -> torch.Tensor:
    """Return ``rows`` if no entry is negative and every row sums to 1."""
    rows = tensor(name, rows, letters, axes)
    values = rows.detach()
    off = (values.sum(-1) - 1).abs()
    wrong = ~(off <= SUM_TO_ONE[rows.dtype])  # a NaN is wrong too
    if wrong.any():
        first = values.sum(-1)[wrong][0].item()
        raise ValueError(
            f"{name} {tuple(rows.shape)}: {int(wrong.sum())} of {wrong.numel()} rows do not sum to 1 over the last axis "
            f"(the first of them to {first:.6g}); allowed are attention rows. Of logits take torch.softmax({name}, -1)."
        ) from None
    if values.amin() < 0:
        raise ValueError(
            f"{name} {tuple(rows.shape)} has negative entries, down to {values.amin().item():.3g}; allowed are attention "
            "rows, which are not negative."
        ) from None
    return rows


def number(name: str, value) -> float:
    """Return ``value`` as a float if it is one finite real number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise TypeError(f"{name} is {value!r}; allowed is one finite number.") from None
    return float(value)


def units(name: str, rows: torch.Tensor) -> torch.Tensor:
    """Divide each row by its length, (..., N, M); a row of zeros has no direction."""
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)  # (..., N, 1)
    if not lengths.detach().all():
        empty = int((lengths.detach() == 0).sum())
        raise ValueError(f"{name} {tuple(rows.shape)} has {empty} rows of zeros, which have no direction.") from None
    return rows / lengths


def spread(vectors: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Mean over the rows of |vector - centre|^2, (...,)."""
    return (vectors - centre[..., None, :]).square().sum(-1).mean(-1)


def divergence(rows: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence in nats of each row from ``centre``, (..., N); ``centre`` > 0 wherever a row is.

    ``a log(a/c) - a + c`` is summed instead of ``a log(a/c)``: the same when both sum to 1, and no term is negative.
    """
    excess = rows - centre[..., None, :]  # (..., N, M)
    safe = torch.where(centre > 0, centre, 1)[..., None, :]  # where the centre is 0, so are the rows
    ratio = (excess / safe).clamp_min(torch.finfo(rows.dtype).eps - 1)  # a/c - 1, its logarithm finite where a is 0
    return (rows * ratio.log1p() - excess).sum(-1).clamp_min(0)


def entropy(rows: torch.Tensor) -> torch.Tensor:
    """Entropy of each row in nats, (..., N); 0 log 0 = 0, and its slope is finite."""
    return -(rows * rows.clamp_min(torch.finfo(rows.dtype).tiny).log()).sum(-1)


def joined(first: tuple | None, second: tuple, between) -> tuple:
    """Join (count, mean, inner) of two parts of the rows.

    The inner scatter of the whole is the mean of the parts' own, and of ``between(part means, whole mean)``. That is
    exact for squared distances (Chan, Golub and LeVeque 1983) and for divergences alike.
    """
    if first is None:
        return second
    (n, mean_n, inner_n), (m, mean_m, inner_m) = first, second
    mean = mean_n + (mean_m - mean_n) * (m / (n + m))  # (..., M)
    parts = between(torch.stack([mean_n, mean_m], dim=-2), mean)  # (..., 2)
    return n + m, mean, ((inner_n + parts[..., 0]) * n + (inner_m + parts[..., 1]) * m) / (n + m)
