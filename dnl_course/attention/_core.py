"""How `dnl_course.attention` computes without an N x M array (lessons 02, 03, 08): kernels, chunks, a sort.

`softmax_attention` hands the work to torch's fused kernels and gives them what they need to stay on their
memory-saving path; where there is none for a dtype or device, `softmax_in_chunks` takes its place.
`relu_attention` sorts. What holds numbers in half precision is added up in single precision.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from dnl_course.attention._checks import autocast_is_on

CHUNK_ENTRIES = 2**21  # of the map held at once by `softmax_in_chunks`: 16 MiB in float64


def no_autocast(x: torch.Tensor):
    """Keep autocast from rounding logits and sums: the layers before have chosen the dtypes."""
    return torch.autocast(x.device.type, enabled=False) if autocast_is_on(x) else nullcontext()


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which values of ``dtype`` are added up."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def has_fused_kernel(q: torch.Tensor) -> bool:
    """Whether torch has a kernel for this device and dtype that holds no map: on CUDA it has none for float64."""
    return q.device.type in ("cpu", "meta") or (q.device.type == "cuda" and q.dtype is not torch.float64)


def narrow(y: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Round to ``dtype``; what is too large for half precision becomes its largest number, for 0 * inf would be NaN."""
    if wide(dtype) is not dtype:
        y = y.clamp(torch.finfo(dtype).min, torch.finfo(dtype).max)
    return y.to(dtype)


def softmax_attention(q, k, v, scale: float) -> torch.Tensor:
    """Return softmax_j(scale q_i.k_j) v, (B, N, E), in memory linear in N and M."""
    if not has_fused_kernel(q):
        return softmax_in_chunks(q, k, v, scale)
    B, N, E = q.shape[0], q.shape[1], v.shape[2]
    width = max(q.shape[2], E)
    if q.device.type == "cuda":
        width += -width % 8  # the kernels load 16 bytes at a time
    q, k, v = (_for_kernel(x, width) for x in (q, k, v))  # (B, 1, N | M, width)
    shared = q.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    parts = torch.get_num_threads() if shared else 1  # a compiler cannot ask for their number
    if parts > 1:  # backward on a CPU shares its work out by images and heads: groups of queries stand in for heads
        q = F.pad(q, (0, 0, 0, -N % parts)).reshape(B, parts, (N + parts - 1) // parts, width)
        k, v = (x.expand(-1, parts, -1, -1) for x in (k, v))
    y = F.scaled_dot_product_attention(q, k, v, scale=scale)  # (B, parts, N / parts, width)
    return y.flatten(1, 2)[:, :N, :E]


def _for_kernel(x: torch.Tensor, width: int) -> torch.Tensor:
    """Return (B, n, D) as (B, 1, n, width), zeros appended, last dimension contiguous.

    On a CPU torch quietly computes the whole map for three axes, for a value wider or narrower than the key, and for
    a last dimension with a stride. Zeros change no q.k, and add columns to the result that are cut off.
    """
    if x.shape[2] < width:
        x = F.pad(x, (0, width - x.shape[2]))  # a copy
    if x.stride(2) != 1:
        x = x.clone(memory_format=torch.contiguous_format)  # .contiguous() leaves a stride on a dimension of size 1
    return x.unsqueeze(1)


def softmax_rows(q, k, scale: float) -> torch.Tensor:
    """Return softmax_j(scale q_i.k_j), (B, N, M), in single precision at least."""
    q, k = q.to(wide(q.dtype)), k.to(wide(k.dtype))
    return torch.softmax((scale * q) @ k.transpose(1, 2), dim=2)


def softmax_in_chunks(q, k, v, scale: float, entries: int = CHUNK_ENTRIES) -> torch.Tensor:
    """Return the same as `softmax_attention`, a few queries at a time; backward computes their rows again."""
    rows = max(1, entries // max(1, k.shape[0] * k.shape[1]))

    def attend(part, k, v):  # (B, rows, D) -> (B, rows, E)
        return (softmax_rows(part, k, scale) @ v.to(wide(v.dtype))).to(v.dtype)

    if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v)):
        once = attend

        def attend(part, k, v):
            return checkpoint(once, part, k, v, use_reentrant=False, preserve_rng_state=False)

    return torch.cat([attend(part, k, v) for part in q.split(rows, dim=1)], dim=1)


def relu_attention(a, b, v) -> torch.Tensor:
    """Return (1/M) sum_j ReLU(a_i + b_j) v_j, (B, N, E), in O((N + M) log M + (N + M) E) time.

    Only keys with b_j > -a_i count. With the keys sorted by b, largest first, these are the first n_i, and their sum
    is a_i * (v_1 + ... + v_n) + (b_1 v_1 + ... + b_n v_n): two running sums, read at n_i. They are added up in double
    precision, for the two products cancel where the b_j lie in groups far apart.
    """
    dtype, M, E = v.dtype, v.shape[1], v.shape[2]
    precise = torch.float32 if v.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    a, b, v = (x.to(precise) for x in (a, b, v))
    ascending, order = b.sort(dim=1)  # (B, M); NaN counts as the largest, so that it is never left out
    b, order = ascending.flip(1), order.flip(1)
    with torch.no_grad():
        n = torch.searchsorted(-b.contiguous(), a.contiguous())  # (B, N) how many keys have -b_j < a_i
        middle = b.gather(1, n.new_full((b.shape[0], 1), M // 2))  # (B, 1) the median; b[:, M // 2] stops torch.export
        middle = middle.where(middle.isfinite(), 0.0)
    a = a.masked_fill(n == 0, 0.0) + middle  # nobody is seen: not -inf * 0
    b = b.masked_fill(b == -torch.inf, 0.0) - middle  # never seen; a_i + b_j is the same, and the two sums cancel less
    v = v.gather(1, order.unsqueeze(2).expand(-1, -1, E))  # (B, M, E) in the order of b
    sums = torch.cat([v, b.unsqueeze(2) * v], dim=2)  # (B, M, 2 E)
    sums = F.pad(sums, (0, 0, 1, 0)).cumsum(1)  # (B, M + 1, 2 E): row n sums the first n
    of_v, of_bv = sums.gather(1, n.unsqueeze(2).expand(-1, -1, 2 * E)).split(E, dim=2)  # (B, N, E) each
    return narrow((a.unsqueeze(2) * of_v + of_bv) / M, dtype)
