"""The benchmark of the non-local block, at tiny sizes: it runs, compares before it times, and judges its targets."""

import importlib
import json
import types

import pytest
import torch

from benchmarks import non_local
from benchmarks.__main__ import SECTIONS
from benchmarks.runner import MISSING, Bench, peer

MIB = 2**20
FORWARD, BACKWARD = non_local.PASSES
needs_mmcv = pytest.mark.skipif(peer("mmcv.cnn") is None, reason="mmcv is not installed")


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
