"""How `dnl_course.denoise` computes: borders, units, and the loop over shifts that makes it fast (lesson 01).

Nothing here knows what a NumPy array is or what a person may pass; ``denoise.py`` says what it means and
``_nl_means_checks.py`` what is allowed. All of it is torch, on whatever device and in whatever dtype it is given.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

THREAD = 1 << 18  # pixels that are worth a thread: with fewer, the threads wait for each other's Python (measured)
STRIP = 1 << 19  # pixels after which a strip of rows ends, which bounds the memory (smaller ones were not faster)


def reflected(n: int, start: int, stop: int, device) -> torch.Tensor:
    """Where np.pad(mode="reflect") takes the rows start .. stop - 1 of n rows from, as often reflected as need be."""
    period = max(2 * (n - 1), 1)  # there and back, neither end twice; a single row repeats
    rows = torch.arange(start, stop, device=device) % period
    return torch.minimum(rows, period - rows) if n > 1 else rows


def window(x: torch.Tensor, top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    """(H, W) or (H, W, C) -> (C, bottom - top, right - left), reflected wherever that leaves the image."""
    planes = x[None] if x.ndim == 2 else x.permute(2, 0, 1)  # (C, H, W)
    rows = reflected(planes.shape[1], top, bottom, x.device)
    columns = reflected(planes.shape[2], left, right, x.device)
    return planes[:, rows[:, None], columns]


def in_units_of_h(h: float, sigma: float, peak: float) -> tuple[int, float, float]:
    """Return (e, h / 2**e, sigma / 2**e) with 2**e a power of two near h, the unit that is computed in.

    Dividing an image by it is exact, and afterwards no square leaves the range of float32, whatever the image is
    measured in: 8-bit steps or 1e-17 erg. ``peak`` is the largest absolute value of the image; beyond the bounds
    below, the weights are those of the bound to the last digit.
    """
    peak = max(peak, 1e-280) if peak else 1.0
    h = min(max(h, 1e-18 * peak), 1e18 * peak)
    e = math.frexp(h)[1] - 1
    return e, math.ldexp(h, -e), min(sigma / h, 1e18) * math.ldexp(h, -e)


def times_two_to(x: torch.Tensor, e: int) -> torch.Tensor:
    """Multiply by 2**e, in place and in two steps: 2**e itself may lie outside the range of the dtype."""
    return x.mul_(2.0 ** (e // 2)).mul_(2.0 ** (e - e // 2))


def box_sum(d: torch.Tensor, p: int, step: int, spare: itertools.cycle) -> torch.Tensor:
    """Sum p values, p odd, each ``step`` after the last, by doubling: 3 passes for p = 5 and not 4, 4 for 7 and not 6.

    Sums of slices, not differences of a running sum (integral image): those cancel, which float32 does not forgive.
    The result is a part of ``d``; ``spare`` goes round two buffers, as out= must not overlap what is read.
    """
    n = d.shape[0] - (p - 1) * step
    total, done = d[:n], step  # sums of the first done / step values
    run, length = d, step  # sums of any length / step values, a power of two
    rest = p >> 1
    while rest:
        m = run.shape[0] - length
        run = torch.add(run[:m], run[length:], out=next(spare)[:m])
        length *= 2
        if rest & 1:
            total.add_(run[done : done + n])
            done += length
        rest >>= 1
    return total


def filter_strip(padded: torch.Tensor, out: torch.Tensor, h: float, sigma: float, p: int, t: int, width: int) -> None:
    """Write weighted means into ``out`` (C, L), from ``padded`` (C, all pixels), both as one long row of pixels.

    Read row by row, the padded image is one long row: a pixel and its neighbour below are ``width`` apart, and a
    shift by (sy, sx) is a shift by ``k = sy * width + sx``. What is computed in the margins is never read.
    The loop runs over shifts, not pixels, and over half of them only: the distances d(i, i + k) of shift k, read at
    i - k, are those of shift -k. Everything is written into buffers that are used again.
    """
    (C, L), r = out.shape, p // 2
    first = (t + r) * width + t + r  # where the first pixel of out lies in padded
    patch = r * width + r  # from the first pixel of a patch to its centre
    slope = math.log2(math.e) / (h * h * p * p * C)  # weights as powers of two: exp2 took a third of the time of exp
    bonus = torch.tensor(2 * sigma**2 * slope * C, dtype=out.dtype, device=out.device)  # the box adds up p * p of them
    floor = math.log2(torch.finfo(out.dtype).tiny)  # below it exp2 is slow, and 2**floor vanishes beside the own 1
    buffers = [out.new_empty(L + t * width + t + 2 * patch) for _ in range(3)]
    spare = itertools.cycle(buffers[1:])
    out.copy_(padded[:, first : first + L])  # the own pixel counts like any other: d = 0, weight 1
    norm = out.new_ones(L)
    shifts = (sy * width + sx for sy in range(t + 1) for sx in range(-t if sy else 1, t + 1))
    for k in shifts:
        n, start = L + k + 2 * patch, first - k - patch  # the strip and the strip moved by -k, with their patches
        d, e = buffers[0][:n], buffers[1][:n]
        for c in range(C):
            torch.sub(padded[c, start : start + n], padded[c, start + k : start + k + n], out=e)
            torch.addcmul(d if c else bonus, e, e, value=-slope, out=d)
        w = box_sum(box_sum(d, p, width, spare), p, 1, spare)  # (L + k,), the exponents of two
        w.clamp_(floor, 0).exp2_()
        for at, weights in ((first + k, w[k:]), (first - k, w[:L])):
            norm.add_(weights)
            out.addcmul_(weights, padded[:, at : at + L])
    out.div_(norm)


_entering = threading.Lock()
_inside = {"calls": 0, "threads": 1}


@contextlib.contextmanager
def one_thread_per_operation():
    """Have torch compute each operation on one thread, in this thread and in those that it starts.

    Cutting each of thousands of short operations into threads, as torch does, makes them all wait for the slowest:
    on two processors with a third busy process that took 0.1 to 20 seconds instead of 0.05 (measured).
    """
    with _entering:  # calls may overlap: the first takes note of the setting, the last one to leave brings it back
        if _inside["calls"] == 0:
            _inside["threads"] = torch.get_num_threads()
        _inside["calls"] += 1
        torch.set_num_threads(1)
    try:
        yield _inside["threads"]
    finally:
        with _entering:
            _inside["calls"] -= 1
            if _inside["calls"] == 0:
                torch.set_num_threads(_inside["threads"])


def nl_means(x: torch.Tensor, h: float, sigma: float, p: int, t: int) -> torch.Tensor:
    """(H, W) or (H, W, C) -> the same shape, denoised in strips of rows, on as many threads as torch may use."""
    H, W = x.shape[:2]
    m = t + p // 2
    with torch.no_grad(), one_thread_per_operation() as allowed, ThreadPoolExecutor(max(1, allowed)) as pool:
        threads = max(1, min(allowed, H * W // THREAD)) if x.device.type == "cpu" else 1
        rows = max(-(-H // max(threads, H * W // STRIP)), 4 * m)  # a lower strip would work on its margins above all
        lowest, highest = x.aminmax()
        e, h, sigma = in_units_of_h(h, sigma, float(torch.maximum(-lowest, highest)))
        padded = times_two_to(window(x, -m, H + m, -m, W + m), -e)  # (C, H + 2 m, W + 2 m)
        C, _, width = padded.shape
        out = padded.new_empty(C, H, width)  # as wide as the padded image; the last 2 m columns mean nothing

        @torch.no_grad()  # a setting of each thread
        def fill(top: int) -> None:
            bottom = min(top + rows, H)
            source = padded[:, top : bottom + 2 * m].flatten(1)  # (C, pixels), a view
            target = out[:, top:bottom].flatten(1)[:, : (bottom - top - 1) * width + W]
            filter_strip(source, target, h, sigma, p, t, width)

        run = pool.map if threads > 1 else map
        list(run(fill, range(0, H, rows)))
        out = times_two_to(out[:, :, :W].contiguous(), e).clamp_(lowest, highest)  # a mean lies between its values; rounding may not
        return out[0] if x.ndim == 2 else out.permute(1, 2, 0).contiguous()


@torch.no_grad()
def nl_weights(x: torch.Tensor, row: int, column: int, h: float, sigma: float, p: int, t: int) -> torch.Tensor:
    """Weights (2 t + 1, 2 t + 1) of one pixel, straight from the definition: one pass per pixel of the patch."""
    m = t + p // 2
    e, h, sigma = in_units_of_h(h, sigma, float(x.abs().max()))
    near = times_two_to(window(x, row - m, row + m + 1, column - m, column + m + 1), -e)  # (C, 2 t + p, 2 t + p)
    own = near[:, t : t + p, t : t + p]
    size = 2 * t + 1
    d = near.new_zeros(size, size)
    for u, v in itertools.product(range(p), repeat=2):
        d += (near[:, u : u + size, v : v + size] - own[:, u, v, None, None]).square_().sum(0)
    w = d.div_(own.numel()).sub_(2 * sigma**2).clamp_(min=0).div_(-h * h).exp_()
    return w.div_(w.sum())
