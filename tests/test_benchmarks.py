"""The benchmarks of the two blocks, at tiny sizes: they run, compare before they time, and judge their targets."""

import importlib
import json
import sys
import types
from importlib.util import find_spec

import pytest
import torch

from benchmarks import bare_call, family, non_local
from benchmarks.__main__ import SECTIONS
from benchmarks.runner import MISSING, Bench, peer

MIB = 2**20
FORWARD, BACKWARD = non_local.PASSES
needs_mmcv = pytest.mark.skipif(peer("mmcv.cnn") is None, reason="mmcv is not installed")
needs_mmseg = pytest.mark.skipif(find_spec("mmseg") is None, reason="mmsegmentation is not installed")


def bench(tmp_path, monkeypatch, ours=lambda N: N, theirs=lambda N: N**2 / 8) -> Bench:
    """Return one whose processes take as many MiB as is said here, and twice as many with backward."""
    made = Bench(threads=torch.get_num_threads(), repeats=1, json_file=tmp_path / "rows.jsonl")

    def measured(module, name, pairwise, kind, N, threads, device, environment):
        assert (module, int(threads), device) == ("benchmarks.non_local", made.threads, "cpu")
        return {"bytes": MIB * (ours if name == non_local.OURS else theirs)(int(N)) * (1 + (kind == BACKWARD))}

    monkeypatch.setattr(made, "in_fresh_process", measured)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return made


def tables(made: Bench) -> tuple[list[dict], list[dict], list[dict]]:
    """Run the section; return what it recorded."""
    non_local.run(made, sizes=(16, 64), more_sizes={"concatenation": (32,)}, doublings=(16, 32, 64))
    rows = [json.loads(line) for line in made.json_file.read_text(encoding="utf-8").splitlines()]
    return tuple([r for r in rows if r["table"].startswith(start)] for start in ("Non-local", "Memory", "Targets"))


def test_sections_have_a_run():
    assert all(callable(importlib.import_module(f"benchmarks.{name}").run) for name in SECTIONS)


@needs_mmcv
def test_section(tmp_path, monkeypatch, capsys):
    rows, growth, targets = tables(bench(tmp_path, monkeypatch))
    assert len(rows) == 3 * 2 * 2 + 3 * 2 * 2  # three functions at two sizes, concatenation at three with two peers
    for row in rows:
        N, twice = row["N"], 1 + (row["pass"] == BACKWARD)
        assert row["ms"] > 0 and row["MiB"] == N * twice and row["versions"]["mmcv-lite"] == "2.1.0"
        if row["pairwise"] == "concatenation" and row["peer"] == "mmcv" and row["pass"] == BACKWARD:
            assert row["note"] == non_local.NO_BACKWARD and row["its ms"] is row["x as fast"] is row["x less"] is None
        else:
            assert row["x as fast"] == row["its ms"] / row["ms"] and row["x less"] == N / 8 and "note" not in row
    assert len(growth) == 4 * 2 and {row["slopes"] for row in growth} == {"1.00 1.00"}
    assert [row["met"] for row in targets] == ["yes"] * 4
    assert "concatenation" in capsys.readouterr().out


def test_without_the_peer(tmp_path, monkeypatch):
    monkeypatch.setattr(non_local, "peer", lambda module: None)
    rows, _, targets = tables(bench(tmp_path, monkeypatch, ours=lambda N: N**2))
    assert {row["note"] for row in rows if row["peer"] == "mmcv"} == {MISSING}
    assert all(row["x as fast"] for row in rows if row["peer"] == "by hand")
    assert [(row["measured"], row["met"]) for row in targets] == [("2.00", "NO")] * 4


@needs_mmcv
@pytest.mark.parametrize("pairwise", non_local.PAIRWISE)
def test_results_are_compared_before_they_are_timed(tmp_path, monkeypatch, pairwise):
    blocks = non_local.blocks

    def changed(*arguments):
        found = blocks(*arguments)
        with torch.no_grad():
            found["mmcv"].g.conv.weight[3, 5] += 0.1  # beside weights of 0.09
        return found

    made = bench(tmp_path, monkeypatch)
    monkeypatch.setattr(made, "seconds", lambda *_, **__: pytest.fail("timed a peer that computes something else"))
    monkeypatch.setattr(non_local, "blocks", changed)
    with pytest.raises(AssertionError, match="z of mmcv differs by"):
        non_local._times(made, pairwise, [16], "cpu")


@pytest.mark.parametrize(
    "name, pairwise, kind, N, free, why",
    [
        ("mmcv", "concatenation", FORWARD, 4096, 99e9, "needs 26 GB, more than 16"),
        ("mmcv", "concatenation", FORWARD, 2048, 99e9, ""),
        ("mmcv", "embedded_gaussian", BACKWARD, 16384, 99e9, ""),
        ("mmcv", "embedded_gaussian", BACKWARD, 16384, 3.5e9, "needs 3.2 GB, 3.5 are free"),
    ],
)
def test_what_does_not_fit_is_skipped(monkeypatch, name, pairwise, kind, N, free, why):
    psutil = types.SimpleNamespace(virtual_memory=lambda: types.SimpleNamespace(available=free))
    monkeypatch.setattr(non_local, "peer", lambda module: psutil)
    assert non_local.too_large(name, pairwise, kind, N, "cpu") == why


@pytest.mark.parametrize("good", [True, False])
def test_targets(tmp_path, monkeypatch, good):
    made = bench(tmp_path, monkeypatch)
    gaussian = {"pairwise": "embedded_gaussian", "peer": "mmcv", "N": 16384, "its MiB": 50.0}
    gaussian |= {"x less": 5.1, "x as fast": 1.0} if good else {"x less": 4.9, "x as fast": 0.99}
    rows = [gaussian | {"pass": kind} for kind in non_local.PASSES]
    for N, its in ((2048, 510.0 if good else 490.0), (4096, None)):  # mmcv does not fit at 4096
        row = {"pairwise": "concatenation", "peer": "mmcv", "pass": FORWARD, "N": N, "ms": 5.0 if N == 2048 else 10.0}
        rows.append(row | {"its ms": its})
    non_local._targets(made, rows, {"gaussian": 1.1 if good else 1.11}, "cpu")
    rows = [json.loads(line) for line in made.json_file.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6 and {row["met"] for row in rows} == {"yes" if good else "NO"}
    bound = "more than 51 x: mmcv at N = 2048, dnl_course at 4096"
    assert rows[4]["measured"] == (bound if good else bound.replace("51", "49"))


def test_no_turn_begins_after_the_limit():
    made = Bench(threads=torch.get_num_threads(), repeats=4)
    for limit, turns in ((0, 1), (60, 4)):
        calls = []
        times = made.seconds("", {"a": lambda calls=calls: calls.append(1)}, limit=limit)["a"]
        assert times.turns == turns == len(calls) - 1 and times.fastest <= times.median


def test_memory_of_a_fresh_process():
    made = Bench(threads=1, repeats=1)
    job = (non_local.OURS, "dot_product", FORWARD, "4096", "1", "cpu")
    taken = made.in_fresh_process("benchmarks.non_local", *job, environment=non_local.PAGES)["bytes"]
    x = 4 * 128 * 4096  # z is as large, and queries, keys and values are half as large each
    assert 2 * x < taken < 16 * x  # the N x N array is as large as 32


# The disentangled family.

TINY = ((8, 8, 16), (5, 7, 12))  # H, W, C
DOUBLED = ((4, 4, 16), (4, 8, 16), (8, 8, 16))


def family_bench(tmp_path, monkeypatch, ours=lambda N: N) -> Bench:
    """Return one whose processes take as many MiB as is said here, mmsegmentation's N^2."""
    made = Bench(threads=torch.get_num_threads(), repeats=1, json_file=tmp_path / "rows.jsonl")

    def measured(module, name, H, W, C, kind, device, dtype, threads, environment):
        assert (module, device, dtype, int(threads)) == ("benchmarks.family", "cpu", "float32", made.threads)
        return {"bytes": MIB * (int(H) * int(W)) ** 2 if name == family.PEER else MIB * ours(int(H) * int(W))}

    monkeypatch.setattr(made, "in_fresh_process", measured)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(bare_call, "SIDE", 16)
    monkeypatch.setattr(family, "TARGETS", {TINY[0]: (1e6, None), TINY[1]: (1e-9, 1 / 35)})
    return made


def family_tables(made: Bench) -> tuple[list[dict], ...]:
    """Run the section; return what it recorded."""
    family.run(made, sizes=TINY, doublings=DOUBLED, lengths=(33,))
    rows = [json.loads(line) for line in made.json_file.read_text(encoding="utf-8").splitlines()]
    return tuple([r for r in rows if r["table"].startswith(start)] for start in ("Disen", "Mem", "attend", "Targets"))


@needs_mmseg
def test_family_section(tmp_path, monkeypatch):
    rows, growth, calls, targets = family_tables(family_bench(tmp_path, monkeypatch))
    assert [(r["map"], r["pass"], r["preset"]) for r in rows] == [
        (size, kind, preset) for size in ("8 x 8", "5 x 7") for kind in family.PASSES for preset in family.PRESETS
    ]
    for row in rows:
        N = 64 if row["C"] == 16 else 35
        assert row["ms"] > 0 and row["MiB"] == N and "note" not in row
        if row["preset"] == "mmseg":
            assert row["x its time"] == row["ms"] / row["its ms"] and row["x its memory"] == pytest.approx(1 / N)
            assert 0 <= float(row["difference"]) < 1e-4
        else:
            assert row["its ms"] is row["x its time"] is row["its MiB"] is row["x its memory"] is None
    assert {row["slopes"] for row in growth} == {"1.00 1.00"}
    assert [(row["N"], row["pass"]) for row in calls] == [(33, kind) for kind in family.PASSES]
    for row in calls:
        assert row["overhead (%)"] == pytest.approx(100 * (row["attend (ms)"] / row["SDPA (ms)"] - 1))
    flops = [row["SDPA (GFLOP/s)"] * row["SDPA (ms)"] * 1e6 for row in calls]
    assert flops == pytest.approx([4 * 33**2 * 64, 12 * 33**2 * 64])
    met = {row["target"]: row["met"] for row in targets}
    assert list(met.values()) == ["yes", "yes", "NO", "yes", "NO", "yes", "yes"]  # time; time and memory; slope
    assert "8 x 8, C = 16, forward: time at most 1e+06 x mmsegmentation's" in met


def test_family_without_the_peer(tmp_path, monkeypatch):
    monkeypatch.setattr(family, "theirs", lambda: None)
    rows, _, _, targets = family_tables(family_bench(tmp_path, monkeypatch, ours=lambda N: N**2))
    assert [row.get("note") for row in rows] == [MISSING, None] * 4
    assert {row["its MiB"] for row in rows} == {row["its ms"] for row in rows} == {None}
    assert [(row["measured"], row["met"]) for row in targets] == [("2.00", "NO")]


@needs_mmseg
@pytest.mark.parametrize("part", ["theta", "g", "conv_mask", "conv_out"])
def test_family_compares_before_it_times(tmp_path, monkeypatch, part):
    blocks = family.blocks

    def changed(*arguments):
        found = blocks(*arguments)
        layer = getattr(found[family.PEER], part)
        with torch.no_grad():
            getattr(layer, "conv", layer).weight[0, 1] += 0.2
        return found

    made = family_bench(tmp_path, monkeypatch)
    monkeypatch.setattr(made, "seconds", lambda *_, **__: pytest.fail("timed a peer that computes something else"))
    monkeypatch.setattr(family, "blocks", changed)
    with pytest.raises(AssertionError, match="^z of mmsegmentation differs by"):
        family._times(made, TINY, "cpu", "float32")


@needs_mmseg
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["x", "query.weight", "mask.weight", "out.bias"])
def test_family_compares_gradients(name, dtype):
    case = family.Case(5, 7, 12, BACKWARD, "cpu", dtype)
    found = family.blocks(12, "cpu", dtype, ("mmseg", family.PEER))
    ours, its = (family.job(found[which], case)() for which in ("mmseg", family.PEER))
    assert 0 < family.difference(ours, its, case) < family.TOLERANCE[dtype]
    ours[name] = 1.5 * ours[name]
    with pytest.raises(AssertionError, match=f"gradient of {name} of mmsegmentation differs by 3"):
        family.difference(ours, its, case)


def test_the_bare_call_has_the_same_sums(monkeypatch):
    monkeypatch.setattr(bare_call, "SIDE", 16)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for N in (33, 34):
        runs = bare_call.calls(N, BACKWARD, "cpu", "float32")
        assert set(runs) == {"attend", "SDPA 1", "SDPA 3", "mm"}
        one, three = runs["SDPA 1"](), runs["SDPA 3"]()
        assert torch.allclose(one[0][0, 0], three[0].flatten(1, 2)[0, :N], atol=1e-6)  # the gradient of q
        assert [tuple(g.shape) for g in one] == [(1, 1, N, 64), (1, N, 64), (1, N, 64)]
        assert [tuple(g.shape) for g in runs["attend"]()] == [(1, N, 64)] * 3 + [(1, N)]
    assert set(bare_call.calls(33, FORWARD, "cpu", "float32")) == {"attend", "SDPA 1", "mm"}  # shares by queries


@pytest.mark.parametrize(
    "side, kind, dtype, free, why",
    [
        (128, BACKWARD, "float32", 99e9, ""),
        (256, FORWARD, "float32", 99e9, "needs 34 GB, more than 16"),
        (128, BACKWARD, "float32", 3.5e9, "needs 3.2 GB, 3.5 are free"),
        (128, BACKWARD, "bfloat16", 3.5e9, ""),
    ],
)
def test_family_skips_what_does_not_fit(monkeypatch, side, kind, dtype, free, why):
    psutil = types.SimpleNamespace(virtual_memory=lambda: types.SimpleNamespace(available=free))
    monkeypatch.setattr(family, "peer", lambda module: psutil)
    assert family.too_large(family.Case(side, side, 128, kind, "cpu", dtype)) == why


@pytest.mark.parametrize("good", [True, False])
def test_family_targets(tmp_path, good):
    made = Bench(threads=torch.get_num_threads(), repeats=1, json_file=tmp_path / "rows.jsonl")
    rows = {}
    for size, (time, memory) in {
        (64, 64, 128): (0.7, 9.0),  # no target for memory
        (97, 97, 512): (0.85, 0.25),
        (128, 128, 128): (0.5, 1 / 15),
        (128, 128, 64): (9.0, 9.0),  # no target
    }.items():
        measured = {"x its time": time + (not good) / 100, "x its memory": memory + (not good) / 100}
        rows["mmseg", family.Case(*size, FORWARD)] = measured
        rows["table5", family.Case(*size, FORWARD)] = {"x its time": 9.0, "x its memory": 9.0}
    over, rate = (5.0, 0.6) if good else (5.1, 0.59)
    calls = [
        {"N": 1024, "pass": BACKWARD, "overhead (%)": 50.0, "SDPA of mm's rate": 0.1},
        {"N": 4096, "pass": FORWARD, "overhead (%)": over, "SDPA of mm's rate": 0.1},
        {"N": 4096, "pass": BACKWARD, "overhead (%)": over, "SDPA of mm's rate": rate},
    ]
    family._targets(made, rows, 1.1 if good else 1.11, calls)
    found = [json.loads(line) for line in made.json_file.read_text(encoding="utf-8").splitlines()]
    assert len(found) == 3 + 2 + 3 + 1 and {row["met"] for row in found} == {"yes" if good else "NO"}


@needs_mmseg
def test_no_stand_in_is_left_behind():
    assert family.theirs().__name__ == "DisentangledNonLocal2d"
    assert not isinstance(sys.modules.get("mmcv.ops"), family._Operations)


def test_family_memory_of_a_fresh_process():
    made = Bench(threads=1, repeats=1)
    job = ("mmseg", "64", "64", "128", FORWARD, "cpu", "float32", "1")
    taken = made.in_fresh_process("benchmarks.family", *job, environment=family.PAGES)["bytes"]
    x = 4 * 128 * 4096  # z is as large, and queries, keys and values are half as large each
    assert 2 * x < taken < 16 * x  # the N x N array is as large as 32
