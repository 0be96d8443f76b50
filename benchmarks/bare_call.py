"""`attend(variant="dnl")` beside the bare call of torch's SDPA, and that call beside torch.mm (lesson 08).

All get the same q, k and v, with D = E. No section of its own: `benchmarks.family` prints it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
import torch.nn.functional as F

from benchmarks.non_local import PASSES
from benchmarks.runner import Bench
from dnl_course.attention import attend

SEED, D = 0, 64
SIDE = 2048  # of the matrices that torch.mm multiplies
MORE_TURNS = 5
SECONDS = 30  # after that no further turn of one row begins


def wait(device: str) -> None:
    """Wait until a GPU has finished."""
    if device == "cuda":
        torch.cuda.synchronize()


def calls(N: int, kind: str, device: str, dtype: str) -> dict:
    """Return `attend`, the bare call in its forms, and torch.mm, as functions without arguments."""
    generator = torch.Generator().manual_seed(SEED)

    def drawn(*shape: int):
        return torch.randn(shape, generator=generator).to(device, getattr(torch, dtype))

    q, k, v, m, above = *(drawn(1, N, D) for _ in range(3)), drawn(1, N), drawn(1, N, D)
    a, b = drawn(SIDE, SIDE), drawn(SIDE, SIDE)
    scale, backward = D**-0.5, kind != PASSES[0]

    def bare(groups: int):
        rows = -(-N // groups)  # the last group repeats queries where they do not go in evenly
        part = torch.cat([q, q[:, : groups * rows - N]], dim=1).reshape(1, groups, rows, D)
        return part, torch.ones_like(part), lambda q, k, v: F.scaled_dot_product_attention(
            q, *(x.unsqueeze(1).expand(-1, groups, -1, -1) for x in (k, v)), scale=scale
        )

    def work(function, above, *given):
        given = [x.detach().clone().requires_grad_(backward) for x in given]

        def run():
            with torch.set_grad_enabled(backward):
                y = function(*given)
                result = torch.autograd.grad(y, given, above) if backward else y
            wait(device)
            return result

        return run

    found = {"attend": work(lambda q, k, v, m: attend(q, k, v, variant="dnl", m=m, scale=scale), above, q, k, v, m)}
    # Backward on a CPU shares its work out by heads only: the bare call has its faster form too.
    for groups in {1, torch.get_num_threads() if backward and device == "cpu" else 1}:
        part, of_ones, call = bare(groups)
        found[f"SDPA {groups}"] = work(call, of_ones, part, k, v)

    def mm():
        torch.mm(a, b)
        wait(device)

    return {**found, "mm": mm}


def beside_bare_calls(bench: Bench, lengths: Iterable[int], device: str, dtype: str) -> list[dict]:
    """Print what `attend` adds to the bare call, and their rates: of the fastest turns, which others disturb least."""
    rows = []
    for N, kind in itertools.product(lengths, PASSES):
        # the fastest of a few turns scatters by more than what is measured
        repeats = min(bench.repeats, 5) if N > 8192 else bench.repeats * MORE_TURNS
        runs = calls(N, kind, device, dtype)
        seconds = bench.seconds(f"attend, N = {N}, {kind}", runs, repeats=repeats, limit=SECONDS)
        attended, bare = seconds["attend"].fastest, min(t.fastest for name, t in seconds.items() if name[:4] == "SDPA")
        work = (4 if kind == PASSES[0] else 12) * N**2 * D
        rate = 2 * SIDE**3 / seconds["mm"].fastest
        rows.append(
            {
                "N": N,
                "pass": kind,
                "attend (ms)": 1e3 * attended,
                "SDPA (ms)": 1e3 * bare,
                "overhead (%)": 100 * (attended / bare - 1),
                "of SDPA's rate": bare / attended,
                "SDPA (GFLOP/s)": work / bare / 1e9,
                "torch.mm (GFLOP/s)": rate / 1e9,
                "SDPA of mm's rate": work / bare / rate,
                "turns": seconds["attend"].turns,
            }
        )
    title = f'attend(variant="dnl") beside the bare SDPA call, {device}, {dtype}: fastest turns'
    bench.table(title, rows, D=D, E=D, batch=1, counted="4 N^2 D forward, 12 N^2 D with backward", mm=f"{SIDE}^3")
    return rows
