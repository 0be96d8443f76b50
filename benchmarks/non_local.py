"""The non-local block beside mmcv's: time and memory, forward and backward, four pairwise functions (lessons 02, 03).

Both blocks have the same weights and get the same map (1, C, H, W) with H W = N positions, C = 128 channels, D = 64
inner channels, float32. Before anything is timed, their results and gradients are compared. Where there is a CUDA
device everything is measured a second time on it; memory there is what torch allocates.

mmcv's "concatenation" holds 4 D N x N arrays, 6 D where the convolution copies its input, and its backward raises an
error. So that one has a second peer: the same sums "by hand", ReLU(a_i + b_j) as one N x N array.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterable
from functools import partial

import torch
from tqdm import tqdm

from benchmarks.runner import MISSING, Bench, grown_by, peer
from dnl_course.attention import PAIRWISE
from dnl_course.nn import NonLocalBlock, from_positions, to_mmcv

SEED, C, D = 0, 128, 64
SIZES = (1024, 4096, 16384)
MORE_SIZES = {"concatenation": (2048,)}  # the largest power of two at which mmcv needs less than LIMIT
DOUBLINGS = (4096, 8192, 16384, 32768)
SECONDS = 15  # after that no further turn of one row begins
LIMIT = 16e9  # bytes: a peer that needs more is skipped
PASSES = ("forward", "forward + backward")
TOLERANCE = 1e-4  # of the largest entry, in single precision
# glibc keeps what tensors give back, more of it in one run than in the next; with this, tensors get pages of their own
# and give them back at once, in our process and in the peer's.
PAGES = {"MALLOC_MMAP_THRESHOLD_": "65536"}
NO_BACKWARD = "no backward: it overwrites what backward needs"
OURS = "dnl_course"
# How many N x N arrays of float32 a peer holds at once: (forward, forward + backward).
ARRAYS = {
    ("mmcv", "gaussian"): (2, 3),  # logits and weights; weights and both their gradients
    ("mmcv", "embedded_gaussian"): (2, 3),
    ("mmcv", "dot_product"): (1, 2),  # divided in place
    ("mmcv", "concatenation"): (6 * D + 1,) * 2,  # two repeated embeddings, both in one tensor, its copy, the map
    ("by hand", "concatenation"): (2, 3),
}


def blocks(pairwise: str, device: str, names: Iterable[str]) -> dict:
    """Return the implementations named, as modules or functions of x, all with the same random weights."""
    ours = NonLocalBlock(C, pairwise=pairwise, inner_channels=D, zero_init=False)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=C**-0.5, generator=generator)
    found = {OURS: ours.to(device)}
    if "mmcv" in names and (bricks := peer("mmcv.cnn")):
        theirs = bricks.NonLocal2d(C, reduction=C // D, mode=pairwise, use_scale=False, zeros_init=False)
        theirs.load_state_dict(to_mmcv(ours.state_dict()))
        found["mmcv"] = theirs.to(device)
    if "by hand" in names:
        found["by hand"] = partial(_by_hand, ours)
    return found


def _by_hand(block: NonLocalBlock, x):
    """Concatenation with its map: ReLU(a_i + b_j) / M as an N x N array."""
    q, k, v = block.embeddings(x)  # (1, N, D) each
    w_q, w_k = block.concat.split(D)
    a, b = q @ w_q, k @ w_k  # (1, N) each
    y = torch.relu(a.unsqueeze(2) + b.unsqueeze(1)) @ v / k.shape[1]
    return x + block.out(from_positions(y, x.shape[2:]))


def feature_map(N: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x and the gradient that comes in from above, (1, C, H, W) each with H W = N, a power of two."""
    H = 2 ** (int(math.log2(N)) // 2)
    generator = torch.Generator().manual_seed(SEED)
    x, above = (torch.randn(1, C, H, N // H, generator=generator) for _ in range(2))
    return (0.5 * (1 + 0.6 * x)).to(device), above.to(device)


def job(block, kind: str, N: int, device: str):
    """Return the work of one pass, as a function without arguments; its inputs exist from now on."""
    x, above = feature_map(N, device)

    def forward():
        with torch.no_grad():
            z = block(x)
        _wait(device)
        return [z]

    def forward_backward():
        z = block(x)
        gradients = torch.autograd.grad(z, wanted, above)
        _wait(device)
        return [z.detach(), *gradients[:1]]  # the weights' gradients are in another order and shape elsewhere

    if kind == "forward":
        return forward
    module = block.args[0] if isinstance(block, partial) else block
    wanted = [x.requires_grad_(), *module.parameters()]
    return forward_backward


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def has_backward(block, device: str) -> bool:
    """Whether a block can be trained: mmcv's concatenation divides in place what its ReLU has kept."""
    try:
        job(block, PASSES[1], 16, device)()
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        return False
    return True


def too_large(name: str, pairwise: str, kind: str, N: int, device: str) -> str:
    """Return why a peer is skipped, or an empty string."""
    need = 4 * N**2 * ARRAYS[name, pairwise][PASSES.index(kind)]
    if need > LIMIT:
        return f"needs {need / 1e9:.0f} GB, more than {LIMIT / 1e9:.0f}"
    if device == "cuda":
        free = torch.cuda.mem_get_info()[0]
    else:
        psutil = peer("psutil")
        free = psutil.virtual_memory().available if psutil else math.inf
    return f"needs {need / 1e9:.1f} GB, {free / 1e9:.1f} are free" if 1.2 * need > free else ""


def _assert_equal(results: dict[str, list[torch.Tensor]], x: torch.Tensor) -> None:
    """Compare y W_z = z - x, and the gradient of x, with ours."""
    for name, tensors in results.items():
        for what, ours, theirs in zip(("z", "gradient"), results[OURS], tensors, strict=False):
            size = (ours - x).abs().max() if what == "z" else ours.abs().max()
            error = float((ours - theirs).abs().max() / size)
            if not error < TOLERANCE:
                raise AssertionError(f"{what} of {name} differs by {error:.1e} of the largest entry")


def _times(bench: Bench, pairwise: str, sizes: Iterable[int], device: str) -> list[dict]:
    """Return the rows of one pairwise function, without their memory."""
    peers = [name for name, theirs in ARRAYS if theirs == pairwise]
    modules = blocks(pairwise, device, peers)
    rows = []
    for N in sizes:
        for kind in PASSES:
            notes = {name: too_large(name, pairwise, kind, N, device) for name in peers}
            for name in peers:
                if name not in modules:
                    notes[name] = MISSING
                elif kind != PASSES[0] and not has_backward(modules[name], device):
                    notes[name] = NO_BACKWARD
            names = [OURS, *(name for name in peers if not notes[name])]
            runs = {name: job(modules[name], kind, N, device) for name in names}
            _assert_equal({name: run() for name, run in runs.items()}, feature_map(N, device)[0])
            title = f"{pairwise}, N = {N}, {kind}"
            seconds = bench.seconds(title, runs, repeats=min(bench.repeats, 3) if N > 8192 else 0, limit=SECONDS)
            for name in peers:
                row = {"pairwise": pairwise, "N": N, "pass": kind, "ms": 1e3 * seconds[OURS].median, "peer": name}
                row |= {"its ms": 1e3 * seconds[name].median if name in seconds else None}
                row |= {"x as fast": row["its ms"] and row["its ms"] / row["ms"], "turns": seconds[OURS].turns}
                rows.append(row | ({"note": notes[name]} if notes[name] else {}))
    return rows


def _memory(bench: Bench, rows: list[dict], doublings: Iterable[int], device: str) -> dict[tuple, float]:
    """Return MiB by (implementation, pairwise, pass, N), each from a fresh process: for all rows and all doublings."""
    wanted = [(OURS, row["pairwise"], row["pass"], row["N"]) for row in rows]
    wanted += [(row["peer"], row["pairwise"], row["pass"], row["N"]) for row in rows if row["its ms"]]
    pairwise = dict.fromkeys(row["pairwise"] for row in rows)
    wanted += [(OURS, *key) for key in itertools.product(pairwise, PASSES, doublings)]
    memory = {}
    for key in tqdm(dict.fromkeys(wanted), desc="memory", leave=False, disable=None):
        if key[0] == OURS or not too_large(*key, device):  # other programs may have taken what was free
            arguments = [str(part) for part in (*key, bench.threads, device)]
            measured = bench.in_fresh_process("benchmarks.non_local", *arguments, environment=PAGES)
            memory[key] = measured["bytes"] / 2**20
    return memory


def _slopes(bench: Bench, memory: dict[tuple, float], doublings: Iterable[int], device: str) -> dict[str, float]:
    """Print how our memory grows where N doubles, and return the largest slope of each pairwise function."""
    rows, largest = [], {}
    for pairwise, kind in dict.fromkeys(key[1:3] for key in memory):
        mib = {N: memory[OURS, pairwise, kind, N] for N in doublings}
        slopes = [math.log2(mib[b] / mib[a]) / math.log2(b / a) for a, b in itertools.pairwise(mib)]
        largest[pairwise] = max(slopes + [largest.get(pairwise, -math.inf)])
        row = {"pairwise": pairwise, "pass": kind} | {f"MiB at {N}": value for N, value in mib.items()}
        rows.append(row | {"slopes": " ".join(f"{slope:.2f}" for slope in slopes)})
    bench.table(f"Memory of {OURS} against N, {device}: slope 1 is linear, 2 quadratic", rows, C=C, D=D)
    return largest


def _targets(bench: Bench, rows: list[dict], slopes: dict[str, float], device: str) -> None:
    """Print what was asked for beside what was measured; no number, no row."""
    found = {(r["pairwise"], r["peer"], r["N"], r["pass"]): r for r in rows}
    targets = []

    def add(target, measured, met):
        targets.append({"target": target, "measured": measured, "met": "yes" if met else "NO"})

    for kind in PASSES:
        row = found.get(("embedded_gaussian", "mmcv", 16384, kind), {})
        if row.get("its MiB"):
            title = f"embedded Gaussian, N = 16384, {kind}: "
            add(title + "memory at most 1/5 of mmcv's", f"1/{row['x less']:.1f}", row["x less"] >= 5)
            add(title + "no slower than mmcv", f"{row['x as fast']:.2f} x as fast", row["x as fast"] >= 1)
    ours = found.get(("concatenation", "mmcv", 4096, "forward"))
    for N in (4096, 2048):
        theirs = found.get(("concatenation", "mmcv", N, "forward"))
        if ours and theirs and theirs["its ms"]:
            faster = theirs["its ms"] / ours["ms"]
            bound = "" if N == 4096 else f"more than {faster:.0f} x: mmcv at N = {N}, {OURS} at 4096"
            add("concatenation, N = 4096: 50 x as fast as mmcv", bound or f"{faster:.0f} x", faster >= 50)
            break
    for pairwise, slope in slopes.items():
        add(f"{pairwise}: memory grows with N, slope at most 1.1", f"{slope:.2f}", slope <= 1.1)
    bench.table(f"Targets, {device}", targets)


def run(bench: Bench, sizes=SIZES, more_sizes=MORE_SIZES, doublings=DOUBLINGS) -> None:
    """Print the tables of the non-local block; the sizes are powers of two."""
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        torch.backends.cudnn.allow_tf32 = False  # else the compared results differ
        rows = []
        for pairwise in PAIRWISE:
            rows += _times(bench, pairwise, sorted({*sizes, *more_sizes.get(pairwise, ())}), device)
        memory = _memory(bench, rows, doublings, device)
        for row in rows:
            key = (row["pairwise"], row["pass"], row["N"])
            row["MiB"], row["its MiB"] = memory[OURS, *key], memory.get((row["peer"], *key))
            row["x less"] = row["its MiB"] and row["its MiB"] / row["MiB"]
            if row["its ms"] and not row["its MiB"]:
                row["note"] = "too little memory was free to measure its own"
        settings = {"C": C, "D": D, "batch": 1, "dtype": "float32", "seed": SEED, "device": device}
        title = f"Non-local block, {device}: median time, and peak memory of a fresh process above what it held before"
        bench.table(title, rows, **settings)
        _targets(bench, rows, _slopes(bench, memory, doublings, device), device)


def measure(name: str, pairwise: str, kind: str, N: str, threads: str, device: str) -> dict:
    """Return the growth of this process during one pass; the first, small pass loads what is loaded late.

    That pass is large enough to start all threads, whose buffers are no part of what grows.
    """
    torch.set_num_threads(int(threads))
    block = blocks(pairwise, device, [name])[name]
    job(block, kind, 512, device)()
    return {"bytes": grown_by(job(block, kind, int(N), device), device)}


if __name__ == "__main__":  # one measurement of `_memory`
    print(json.dumps(measure(*sys.argv[1:])))
