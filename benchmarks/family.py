"""The disentangled block beside mmsegmentation's: time and memory, forward and backward (lesson 08).

Preset "mmseg" and mmsegmentation's DisentangledNonLocal2d have the same weights and get the same map (1, C, H, W), with
C/2 inner channels. Before anything is timed, their results and all their gradients are compared. Preset "table5" has a
value twice as wide and no W_z: it computes something else, is timed beside them and has no target.

Then `attend(variant="dnl")` beside the bare call of torch's SDPA, and that beside torch.mm: `benchmarks.bare_call`.
Where there is a CUDA device everything is measured on it too, in single precision and in bfloat16; memory there is what
torch allocates. The targets are for a CPU.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import types
from collections.abc import Iterable
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks.bare_call import beside_bare_calls, wait
from benchmarks.non_local import PAGES, PASSES
from benchmarks.runner import MISSING, Bench, grown_by, peer
from dnl_course.nn import DisentangledBlock, from_mmseg, to_mmseg

PEER, PRESETS = "mmsegmentation", ("mmseg", "table5")
NAMES = (*PRESETS, PEER)
SEED = 0
SIZES = ((64, 64, 128), (97, 97, 512), (128, 128, 128))  # H, W, C
ON_GPU = ((256, 256, 128),)
DOUBLINGS = ((64, 64, 128), (64, 128, 128), (128, 128, 128), (128, 256, 128))
LENGTHS = (1024, 4096, 16384)  # N of the bare call
SECONDS = 30  # after that no further turn of one row begins
LIMIT = 16e9  # bytes: on a CPU a peer that needs more is skipped
ARRAYS = (2, 3)  # N x N that the peer holds at once: logits and weights; weights and both their gradients
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.2}  # of the largest entry; in bfloat16 a logit of 8 is off by 1/32
ALWAYS_ZERO = ("query.bias", "key.bias")  # centring takes one out, the softmax does not see the other
# At most these multiples of mmsegmentation's time and memory, in either pass; None: not asked for.
TARGETS = {(64, 64, 128): (0.7, None), (97, 97, 512): (0.85, 1 / 4), (128, 128, 128): (0.5, 1 / 15)}
OVERHEAD, SLOPE, RATE = 0.05, 1.1, 0.6


class Case(NamedTuple):
    """One map and one pass."""

    H: int
    W: int
    C: int
    kind: str
    device: str = "cpu"
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.H} x {self.W}, C = {self.C}, {self.kind}"

    @property
    def N(self) -> int:
        return self.H * self.W


class _Operations(types.ModuleType):
    """Stands for mmcv.ops, which mmcv-lite does not have: mmsegmentation asks for it, its block does not use it."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def theirs() -> type | None:
    """Return mmsegmentation's block, or None where it is not installed."""
    absent = "mmcv.ops" not in sys.modules
    sys.modules.setdefault("mmcv.ops", _Operations("mmcv.ops"))
    try:
        module = peer("mmseg.models.decode_heads.dnl_head")
    finally:
        if absent:
            del sys.modules["mmcv.ops"]
    return module and module.DisentangledNonLocal2d


def blocks(C: int, device: str, dtype: str, names: Iterable[str]) -> dict[str, torch.nn.Module]:
    """Return those of `NAMES` that are asked for and can be had; the weights of "mmseg" and the peer are the same."""

    def ours(preset: str):
        block = DisentangledBlock(C, preset=preset, zero_init=False)
        generator = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.normal_(std=C**-0.5, generator=generator)
        return block

    found = {name: ours(name) for name in names if name != PEER}
    if PEER in names and (Theirs := theirs()):
        found[PEER] = Theirs(in_channels=C, reduction=2, use_scale=True, temperature=0.05, zeros_init=False)
        found[PEER].load_state_dict(to_mmseg(ours("mmseg").state_dict()))
    return {name: block.to(device, getattr(torch, dtype)) for name, block in found.items()}


def feature_map(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x and the gradient that comes in from above, (1, C, H, W) each."""
    generator = torch.Generator().manual_seed(SEED)
    x, above = (torch.randn(1, case.C, case.H, case.W, generator=generator) for _ in range(2))
    return tuple(t.to(case.device, getattr(torch, case.dtype)) for t in (0.5 * (1 + 0.6 * x), above))


def job(block: torch.nn.Module, case: Case):
    """Return the work of one pass, as a function without arguments; its inputs exist from now on."""
    x, above = feature_map(case)

    def forward():
        with torch.no_grad():
            z = block(x)
        wait(case.device)
        return {"z": z}

    def forward_backward():
        z = block(x)
        gradients = torch.autograd.grad(z, list(wanted.values()), above)
        wait(case.device)
        return {"z": z.detach(), **dict(zip(wanted, gradients, strict=True))}

    if case.kind == PASSES[0]:
        return forward
    wanted = {"x": x.requires_grad_(), **dict(block.named_parameters())}
    return forward_backward


def too_large(case: Case) -> str:
    """Return why the peer is skipped, or an empty string."""
    need = torch.finfo(getattr(torch, case.dtype)).bits // 8 * case.N**2 * ARRAYS[PASSES.index(case.kind)]
    if case.device == "cuda":
        torch.cuda.empty_cache()  # what torch keeps for later is free too
        free = torch.cuda.mem_get_info()[0]
    else:
        if need > LIMIT:
            return f"needs {need / 1e9:.0f} GB, more than {LIMIT / 1e9:.0f}"
        psutil = peer("psutil")
        free = psutil.virtual_memory().available if psutil else math.inf
    return f"needs {need / 1e9:.1f} GB, {free / 1e9:.1f} are free" if 1.2 * need > free else ""


def difference(ours: dict, its: dict, case: Case) -> float:
    """Compare y W_z = z - x and all gradients; return the largest difference, each in units of the largest entry."""
    x = feature_map(case)[0].float()
    ours, its = dict(ours), dict(its)
    pairs = {"z": (ours.pop("z") - x, its.pop("z") - x)}
    if ours:
        pairs["the gradient of x"] = (ours.pop("x"), its.pop("x"))
        its = from_mmseg(its)  # gradients have the names and shapes of their weights
        pairs |= {f"the gradient of {name}": (ours[name], its[name]) for name in ours if name not in ALWAYS_ZERO}
    worst = 0.0
    for what, (a, b) in pairs.items():
        error = float((a - b).abs().max() / a.abs().max())
        if not error < TOLERANCE[case.dtype]:
            raise AssertionError(f"{what} of {PEER} differs by {error:.1e} of the largest entry ({case})")
        worst = max(worst, error)
    return worst


def _times(bench: Bench, sizes: Iterable[tuple], device: str, dtype: str) -> dict[tuple[str, Case], dict]:
    """Return the rows, without their memory, by implementation and case."""
    rows = {}
    for H, W, C in sizes:
        modules = blocks(C, device, dtype, NAMES)
        for kind in PASSES:
            case = Case(H, W, C, kind, device, dtype)
            note = too_large(case) if PEER in modules else MISSING
            runs = {name: job(block, case) for name, block in modules.items() if name != PEER or not note}
            far = None if note else f"{difference(runs['mmseg'](), runs[PEER](), case):.0e}"
            repeats = min(bench.repeats, 3) if case.N > 8192 else 0
            seconds = bench.seconds(str(case), runs, repeats=repeats, limit=SECONDS)
            for name in PRESETS:
                mine, its = seconds[name].median, seconds[PEER].median if name == "mmseg" and not note else None
                row = {"map": f"{H} x {W}", "C": C, "pass": kind, "preset": name, "ms": 1e3 * mine}
                row |= {"its ms": its and 1e3 * its, "x its time": its and mine / its, "turns": seconds[name].turns}
                row |= {"difference": far} if name == "mmseg" else {}
                row |= {"note": note} if name == "mmseg" and note else {}
                rows[name, case] = row
    return rows


def _memory(bench: Bench, rows: dict[tuple[str, Case], dict], doublings, device: str, dtype: str) -> dict:
    """Return MiB by implementation and case, each from a fresh process: for all rows and all doublings."""
    wanted = [*rows, *((PEER, case) for (name, case), row in rows.items() if row["its ms"])]
    wanted += [("mmseg", Case(*size, kind, device, dtype)) for size in doublings for kind in PASSES]
    memory = {}
    for name, case in tqdm(dict.fromkeys(wanted), desc="memory", leave=False, disable=None):
        if name == PEER and too_large(case):  # other programs may have taken what was free
            continue
        arguments = (name, *map(str, (case.H, case.W, case.C)), case.kind, device, dtype, str(bench.threads))
        measured = bench.in_fresh_process("benchmarks.family", *arguments, environment=PAGES)
        memory[name, case] = measured["bytes"] / 2**20
    for (name, case), row in rows.items():
        row["MiB"], row["its MiB"] = memory[name, case], memory.get((PEER, case)) if name == "mmseg" else None
        row["x its memory"] = row["MiB"] / row["its MiB"] if row["its MiB"] else None
        if row["its ms"] and row["its MiB"] is None:
            row["note"] = "too little memory was free to measure its own"
    return memory


def _slope(bench: Bench, memory: dict, doublings: Iterable[tuple], device: str, dtype: str) -> float:
    """Print how the memory of preset "mmseg" grows where N doubles, and return the largest slope."""
    rows, largest = [], -math.inf
    for kind in PASSES:
        cases = [Case(*size, kind, device, dtype) for size in doublings]
        mib = {case.N: memory["mmseg", case] for case in cases}
        slopes = [math.log2(mib[b] / mib[a]) / math.log2(b / a) for a, b in itertools.pairwise(mib)]
        largest = max([largest, *slopes])
        row = {"preset": "mmseg", "pass": kind} | {f"MiB at {N}": value for N, value in mib.items()}
        rows.append(row | {"slopes": " ".join(f"{slope:.2f}" for slope in slopes)})
    title = f"Memory of the disentangled block against N, {device}, {dtype}: slope 1 is linear, 2 quadratic"
    bench.table(title, rows, C=doublings[0][2])
    return largest


def _targets(bench: Bench, rows: dict[tuple[str, Case], dict], slope: float, calls: list[dict]) -> None:
    """Print what was asked for beside what was measured; no number, no row."""
    targets = []

    def add(target: str, measured: str, met: bool):
        targets.append({"target": target, "measured": measured, "met": "yes" if met else "NO"})

    for (name, case), row in rows.items():
        time, memory = TARGETS.get(case[:3], (None, None)) if name == "mmseg" else (None, None)
        title = f"{case}: "
        if time and row["x its time"]:
            add(f"{title}time at most {time:g} x {PEER}'s", f"{row['x its time']:.2f} x", row["x its time"] <= time)
        if memory and row["x its memory"]:
            less = 1 / row["x its memory"]
            add(f"{title}activation memory at most 1/{1 / memory:.0f}", f"1/{less:.1f}", row["x its memory"] <= memory)
    for row in calls:
        if row["N"] >= 4096:
            title, over = f"N = {row['N']}, {row['pass']}: ", row["overhead (%)"]
            add(f"{title}attend at most {100 * OVERHEAD:.0f} % over SDPA", f"{over:.1f} %", over <= 100 * OVERHEAD)
            if row["pass"] == PASSES[1]:
                rate = row["SDPA of mm's rate"]
                add(f"{title}SDPA at {RATE:g} or more of torch.mm's rate", f"{rate:.2f}", rate >= RATE)
    add(f"memory grows with N, slope at most {SLOPE:g}", f"{slope:.2f}", slope <= SLOPE)
    bench.table("Targets of the disentangled block, cpu, float32", targets)


def run(bench: Bench, sizes=SIZES, on_gpu=ON_GPU, doublings=DOUBLINGS, lengths=LENGTHS) -> None:
    """Print the tables of lesson 08."""
    places = [("cpu", "float32")]
    if torch.cuda.is_available():
        torch.backends.cudnn.allow_tf32 = False  # else the compared results differ
        places += [("cuda", "float32"), ("cuda", "bfloat16")]
    for device, dtype in places:
        more, longer = (on_gpu, (65536,)) if device == "cuda" else ((), ())
        rows = _times(bench, (*sizes, *more), device, dtype)
        memory = _memory(bench, rows, doublings, device, dtype)
        title = f"Disentangled block beside {PEER}'s, {device}, {dtype}: median time, "
        title += "and peak memory of a fresh process above what it held before"
        bench.table(title, list(rows.values()), batch=1, seed=SEED)
        slope = _slope(bench, memory, doublings, device, dtype)
        calls = beside_bare_calls(bench, (*lengths, *longer), device, dtype)
        if device == "cpu":
            _targets(bench, rows, slope, calls)


def measure(name: str, H: str, W: str, C: str, kind: str, device: str, dtype: str, threads: str) -> dict:
    """Return the growth of this process during one pass; the first, small pass loads what is loaded late.

    That pass is large enough to start all threads, whose buffers are no part of what grows.
    """
    torch.set_num_threads(int(threads))
    block = blocks(int(C), device, dtype, [name])[name]
    job(block, Case(16, 32, int(C), kind, device, dtype))()
    return {"bytes": grown_by(job(block, Case(int(H), int(W), int(C), kind, device, dtype)), device)}


if __name__ == "__main__":  # one measurement of `_memory`
    print(json.dumps(measure(*sys.argv[1:])))
