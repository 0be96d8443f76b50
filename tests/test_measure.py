"""`dnl_course.measure` against double loops in float64, known values, the claims A7 to A11, and its own promises."""

import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnl_course import measure
from dnl_course.measure import (
    cosine_distance,
    distance_from_uniform,
    effective_positions,
    interaction,
    js_divergence,
    map_statistics,
    one_map_for_all,
    pairwise_logits,
    row_divergence,
    unary_share,
)

ROW_FUNCTIONS = (cosine_distance, row_divergence, effective_positions, distance_from_uniform, pairwise_logits)
LOGIT_FUNCTIONS = (unary_share, interaction, one_map_for_all)


# ------------------------------------------------------------------ the definitions, as loops over numbers


def plogp(x):
    return x * math.log(x) if x else 0.0


def entropy_(row):
    return -sum(plogp(a) for a in row)


def kl_(p, r):
    return sum(a * math.log(a / b) for a, b in zip(p, r) if a)


def mean_row_(rows):
    return [sum(row[j] for row in rows) / len(rows) for j in range(len(rows[0]))]


def cosine_distance_(rows):
    """All pairs (i, i'), i = i' included."""
    total = 0.0
    for a, b in itertools.product(rows, repeat=2):
        dot = sum(x * y for x, y in zip(a, b))
        total += (1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))) / 2
    return total / len(rows) ** 2


def js_divergence_(p, r):
    middle = [(a + b) / 2 for a, b in zip(p, r)]
    return (kl_(p, middle) + kl_(r, middle)) / 2


def row_divergence_(rows):
    return entropy_(mean_row_(rows)) - sum(map(entropy_, rows)) / len(rows)


def distance_from_uniform_(rows):
    return sum(abs(a - 1 / len(rows[0])) for a in mean_row_(rows)) / 2


def interaction_(logits):
    n, m = len(logits), len(logits[0])
    rows = [sum(row) / m for row in logits]
    columns = [sum(logits[i][j] for i in range(n)) / n for j in range(m)]
    grand = sum(rows) / n
    return [[logits[i][j] - rows[i] - columns[j] + grand for j in range(m)] for i in range(n)]


def unary_share_(logits):
    n, m = len(logits), len(logits[0])
    seen = [[logits[i][j] - sum(logits[i]) / m for j in range(m)] for i in range(n)]
    columns = [sum(seen[i][j] for i in range(n)) / n for j in range(m)]
    return sum(n * c * c for c in columns) / sum(x * x for row in seen for x in row)


def softmax_(logits):
    weights = [[math.exp(x - max(row)) for x in row] for row in logits]
    return [[w / sum(row) for w in row] for row in weights]


def logits_(q, k, scale=1.0):
    return [[scale * sum(a * b for a, b in zip(x, y)) for y in k] for x in q]


# ------------------------------------------------------------------ inputs


def drawn(*shape, seed=0, dtype=torch.float64, mean=1.0, sd=0.6):
    return torch.from_numpy(np.random.default_rng([seed, *shape]).normal(mean, sd, shape)).to(dtype)


def some_rows(*shape, seed=0, dtype=torch.float64, spread=2.0):
    return torch.softmax(drawn(*shape, seed=seed, sd=spread), dim=-1).to(dtype)


def with_zeros(*shape, seed=0):
    """Rows with exact zeros, one of them one-hot."""
    rows = some_rows(*shape, seed=seed)
    rows = torch.where(rows < rows.median(-1, keepdim=True).values, 0.0, rows)
    rows[..., 0, :] = torch.eye(shape[-1], dtype=rows.dtype)[1]
    return rows / rows.sum(-1, keepdim=True)


def close(value, expected, tolerance=1e-12):
    np.testing.assert_allclose(torch.as_tensor(value).detach().double(), expected, rtol=tolerance, atol=tolerance)


# ------------------------------------------------------------------ against the definitions

SHAPES = [(7, 5), (4, 9), (1, 6), (5, 1), (13, 13)]


@pytest.mark.parametrize(
    ("make", "shape"), [(some_rows, s) for s in SHAPES] + [(with_zeros, s) for s in SHAPES if s[1] > 1]
)
def test_row_statistics_are_their_definitions(shape, make):
    rows = make(*shape)
    plain = rows.tolist()
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        given_rows = rows.to(dtype)
        close(cosine_distance(given_rows), cosine_distance_(plain), tolerance)
        close(row_divergence(given_rows), row_divergence_(plain), tolerance)
        close(effective_positions(given_rows), [math.exp(entropy_(row)) for row in plain], tolerance)
        close(distance_from_uniform(given_rows), distance_from_uniform_(plain), tolerance)
        close(js_divergence(given_rows[0], given_rows[-1]), js_divergence_(plain[0], plain[-1]), tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_very_sharp_rows(dtype):
    """Weights that are not 0 but far below the rounding of what they are compared with."""
    rows = torch.softmax(drawn(6, 5, sd=12.0), -1).to(dtype)
    plain = rows.tolist()
    assert 0 < rows.min() < 1e-13
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    close(row_divergence(rows), row_divergence_(plain), tolerance)
    close(js_divergence(rows[0], rows[1]), js_divergence_(*plain[:2]), tolerance)
    close(effective_positions(rows), [math.exp(entropy_(row)) for row in plain], tolerance)


@pytest.mark.parametrize("shape", SHAPES[:3] + SHAPES[4:])
def test_logit_statistics_are_their_definitions(shape):
    logits = drawn(*shape, sd=3.0, mean=-2.0)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 5e-6)):
        close(interaction(logits.to(dtype)), interaction_(logits.tolist()), tolerance)
        close(unary_share(logits.to(dtype)), unary_share_(logits.tolist()), tolerance)
    close(pairwise_logits(logits.softmax(-1)), interaction_(logits.tolist()), 1e-11)


@pytest.mark.parametrize("function", [*ROW_FUNCTIONS, *LOGIT_FUNCTIONS])
def test_leading_axes_are_images(function):
    values = some_rows(2, 3, 7, 5)
    together = function(values)
    assert together.shape[:2] == (2, 3)
    for b, h in itertools.product(range(2), range(3)):
        close(together[b, h].double(), function(values[b, h]).double(), 1e-14)


def test_js_divergence_broadcasts_to_all_pairs():
    rows = with_zeros(6, 4)
    pairs = js_divergence(rows[:, None], rows[None])
    close(pairs, [[js_divergence_(a, b) for b in rows.tolist()] for a in rows.tolist()])


# ------------------------------------------------------------------ known values


def test_flat_rows():
    rows = torch.full((6, 8), 1 / 8, dtype=torch.float64)
    assert cosine_distance(rows) == 0 and row_divergence(rows) == 0 and distance_from_uniform(rows) == 0
    close(effective_positions(rows), [8.0] * 6)


def test_one_hot_rows():
    rows = torch.eye(5, dtype=torch.float64)
    close(cosine_distance(rows), (1 - 1 / 5) / 2)
    close(row_divergence(rows), math.log(5))
    close(effective_positions(rows), [1.0] * 5)
    close(distance_from_uniform(rows), 0.0)
    same = rows[[2] * 7]  # everybody looks at one and the same position
    assert cosine_distance(same) == 0 and row_divergence(same) == 0
    close(distance_from_uniform(same), 4 / 5)
    close(js_divergence(rows[0], rows[1]), math.log(2))
    assert js_divergence(rows[0], rows[0]) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.floats(0.01, 30))
def test_bounds_and_symmetry(seed, n, m, spread):
    rows = some_rows(n, m, seed=seed, spread=spread)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    p, r = rows[0], rows[-1]
    assert 0 <= js_divergence(p, r) <= math.log(2) + 1e-12
    close(js_divergence(p, r), js_divergence(r, p).item())
    assert 0 <= cosine_distance(rows) <= (1 - 1 / n) / 2 + 1e-12
    assert 0 <= row_divergence(rows) <= math.log(n) + 1e-12
    assert (effective_positions(rows) >= 1 - 1e-12).all() and (effective_positions(rows) <= m + 1e-9).all()
    assert 0 <= distance_from_uniform(rows) <= 1 - 1 / m + 1e-12
    for function in (cosine_distance, row_divergence, distance_from_uniform):
        close(function(rows[order]), function(rows).item())
    close(row_divergence(torch.stack([p, r])), js_divergence(p, r).item())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9), st.floats(1e-9, 1))
def test_distance_and_divergence_are_0_for_equal_rows_only(seed, n, m, change):
    row = some_rows(1, m, seed=seed, spread=1.0)
    rows = row.repeat(n, 1)
    assert cosine_distance(rows) < 1e-30 and row_divergence(rows) < 1e-30
    rows[-1] = (1 - change) * rows[-1] + change * torch.roll(row[0], 1)  # sums to 1
    moved = float((rows[-1] - row[0]).abs().sum() / 2)
    # Pinsker: the divergence of two groups is at least 2 TV^2 on each side; here a group of n - 1 and a group of 1
    least = 2 * moved**2 * (n - 1) / n**2
    assert row_divergence(rows) >= least * (1 - 1e-6)
    assert cosine_distance(rows) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearly_equal_rows_do_not_cancel(dtype):
    """A block before training: its rows differ by a thousandth and less. Oracle: 60 digits."""
    mpmath = pytest.importorskip("mpmath")
    logits = (drawn(6, 9) * 1e-4).to(dtype)
    rows = torch.softmax(logits, -1)
    with mpmath.workdps(60):
        exact = [[mpmath.mpf(x) for x in row] for row in rows.tolist()]
        mean = [sum(row[j] for row in exact) / 6 for j in range(9)]
        units = [[x / mpmath.sqrt(sum(y * y for y in row)) for x in row] for row in exact]
        middle = [sum(row[j] for row in units) / 6 for j in range(9)]
        distance = (sum(sum((x - c) ** 2 for x, c in zip(row, middle)) for row in units) / 12)
        divergence = sum(sum(x * mpmath.log(x / c) - x + c for x, c in zip(row, mean)) for row in exact) / 6
    tolerance = 2e-2 if dtype == torch.float32 else 1e-9
    np.testing.assert_allclose(cosine_distance(rows).item(), float(distance), rtol=tolerance)
    np.testing.assert_allclose(row_divergence(rows).item(), float(divergence), rtol=tolerance)
    assert 1e-10 < float(distance) < 1e-8  # 1 - |mean|^2 in float32 would be noise of 1e-7


# ------------------------------------------------------------------ A7: when all rows are equal


def test_a7_constant_queries_give_one_map():
    q, k = drawn(1, 4).expand(9, 4), drawn(7, 4, seed=1)
    logits = q @ k.T
    rows = logits.softmax(-1)
    assert one_map_for_all(logits) and (rows == rows[0]).all()
    close(unary_share(logits), 1.0)


def test_a7_constant_queries_are_not_necessary():
    """Queries of standard deviation 1 at right angles to all differences of keys."""
    line = drawn(7, 2, seed=2) @ drawn(2, 6, seed=3)  # keys vary in a plane of six dimensions
    k = line + drawn(1, 6, seed=4)
    free = torch.linalg.svd(k - k.mean(0), full_matrices=True).Vh[2:]  # (4, 6)
    q = drawn(1, 6, seed=5) + drawn(9, 4, seed=6, mean=0.0, sd=1.0) @ free
    assert q.std(0).max() > 0.5
    logits = q @ k.T
    rows = logits.softmax(-1)
    assert one_map_for_all(logits) and (rows - rows[0]).abs().max() < 1e-14
    assert interaction(logits).abs().max() < 1e-13 and (logits - logits[0]).abs().max() > 0.5
    found = map_statistics(q, k)
    assert found.one_map and found.interaction_energy < 1e-26 * found.unary_energy
    close(found.unary_share, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(2, 8), st.sampled_from([0.0, 1e-9, 1e-3, 1.0]))
def test_a7_rows_are_equal_iff_hsh_is_0(seed, n, m, amount):
    a, b = drawn(n, 1, seed=seed, sd=5.0), drawn(1, m, seed=seed + 1, sd=2.0)
    pair = drawn(n, m, seed=seed + 2)
    logits = a + b + amount * pair
    rows = logits.softmax(-1)
    apart = (rows - rows[0]).abs().max()
    if amount == 0 or interaction(logits).abs().max() > 0.1 * amount:  # by chance the drawn pair part is nearly a_i + b_j
        assert bool(one_map_for_all(logits)) == (amount == 0)
        assert (apart < 1e-13) if amount == 0 else (apart > 1e-3 * amount * rows.min())
    assert bool(one_map_for_all(logits, tol=10.0))


def test_one_map_in_single_precision():
    q, k = drawn(3, 9, 4, dtype=torch.float32), drawn(3, 7, 4, seed=1, dtype=torch.float32)
    q[1] = q[1, :1]
    assert one_map_for_all(q @ k.mT).tolist() == [False, True, False]
    assert one_map_for_all(1e-6 * (q @ k.mT)).tolist() == [False, True, False]  # flat is not one map
    assert map_statistics(q, k).one_map.tolist() == [False, True, False]


# ------------------------------------------------------------------ A8: nearly


@pytest.mark.parametrize("size", [1e-3, 0.02, 0.1, 1.0])
def test_a8_small_interaction_bounds_the_weights(size):
    logits = drawn(8, 1, sd=3.0) + drawn(1, 6, seed=1) + size * drawn(8, 6, seed=2, mean=0.0)
    eps = interaction(logits).abs().max()
    one = (logits - logits.mean(-1, keepdim=True)).mean(0).softmax(-1)  # (M,)
    ratio = (logits.softmax(-1) / one).log().abs().max()
    assert 0.2 * eps < ratio <= 2 * eps
    assert one_map_for_all(logits, tol=float(eps) * 1.01) and not one_map_for_all(logits, tol=float(eps) * 0.99)
    q, k = drawn(1, 3).repeat(8, 1) + size * drawn(8, 3, seed=3), drawn(6, 3, seed=4)
    found = map_statistics(q, k)
    one = (q.mean(0) @ k.T).softmax(-1)
    assert ((q @ k.T).softmax(-1) / one).log().abs().max() <= 2 * found.largest_interaction


def test_a8_the_bound_is_nearly_reached():
    """Two keys with almost all the weight, pushed apart: the factor 2 cannot be improved."""
    n, m = 2000, 3
    pair = torch.zeros(n, m, dtype=torch.float64)
    pair[0] = torch.tensor([1.0, -1.0, 0.0])
    logits = torch.tensor([-30.0, 0.0, -30.0], dtype=torch.float64) + 0.01 * pair
    eps = interaction(logits).abs().max()
    ratio = (logits.softmax(-1) / logits.mean(0).softmax(-1)).log().abs().max()
    assert 1.99 * eps < ratio <= 2 * eps


# ------------------------------------------------------------------ A9: the share of a large mean


@pytest.mark.parametrize(("mean", "predicted"), [(-1, 0.09), (0, 0.32), (1, 0.61), (3, 0.90)])
def test_a9_the_mean_of_the_features_predicts_the_unary_share(mean, predicted):
    """Features relu(N(mean, 1)), random W_q and W_k: the energies' expectation over W_q is in this ratio."""
    rng = np.random.default_rng(mean + 1)
    x = torch.from_numpy(rng.normal(mean, 1, (200, 32))).relu()
    centre = x.mean(0)
    formula = centre.square().sum() / (centre.square().sum() + (x - centre).square().sum() / len(x))
    assert abs(formula - predicted) < 0.02
    unary = whole = 0.0
    w_k = torch.from_numpy(rng.normal(size=(16, 32)))
    for _ in range(150):
        w_q = torch.from_numpy(rng.normal(size=(16, 32)))
        found = map_statistics(x @ w_q.T, x @ w_k.T, chunk=1000)
        unary, whole = unary + found.unary_energy, whole + found.unary_energy + found.interaction_energy
        assert abs(found.unary_share - found.unary_energy / (found.unary_energy + found.interaction_energy)) < 1e-12
    assert abs(unary / whole - formula) < 0.03


def test_a9_the_share_says_nothing_of_flatness():
    logits = drawn(9, 7)
    close(unary_share(1e-6 * logits), unary_share(logits).item(), 1e-9)
    shifted = logits + drawn(9, 1, seed=1, sd=50.0)  # softmax does not see it, nor does the share
    close(unary_share(shifted), unary_share(logits).item(), 1e-10)


def test_the_share_of_nothing_is_nan():
    a = drawn(5, 1, sd=9.0).expand(5, 4)
    assert unary_share(a).isnan() and unary_share(torch.zeros(3, 4)).isnan()
    mixed = torch.stack([a, drawn(5, 4)])
    assert unary_share(mixed).isnan().tolist() == [True, False]
    q, k = drawn(5, 3), drawn(1, 3, seed=1).expand(4, 3)
    assert map_statistics(q, k).unary_share.isnan() and map_statistics(q, k).one_map
    rounded = [drawn(1, 3, seed=m).expand(m, 3) for m in range(3, 20)]
    assert any((k - k.mean(0)).any() for k in rounded)  # equal keys, and yet not all of them equal to their mean
    assert all(map_statistics(q, k).unary_share.isnan() and unary_share(q @ k.T).isnan() for k in rounded)


# ------------------------------------------------------------------ A10, A11: the pairwise term


def test_a10_pure_in_the_logits_not_in_the_map():
    q, k = drawn(40, 5, sd=1.0), drawn(30, 5, seed=1, sd=1.0)
    pair = interaction(q @ k.T)
    close((q - q.mean(0)) @ (k - k.mean(0)).T, pair.tolist())
    assert pair.mean(0).abs().max() < 1e-14 and pair.mean(1).abs().max() < 1e-14
    columns = pair.softmax(-1).mean(0) * 30  # 1 if the columns shared the attention evenly
    assert columns.min() < 0.7 and columns.max() > 1.5
    centred = k - k.mean(0)
    second_order = torch.einsum("jd,de,je->j", centred, torch.cov(q.T, correction=0), centred) / 2
    assert torch.corrcoef(torch.stack([columns.log(), second_order]))[0, 1] > 0.9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 10))
def test_a11_the_map_alone_gives_the_pairwise_logits(seed, n, m, spread):
    logits = drawn(n, m, seed=seed, sd=spread) + drawn(n, 1, seed=seed + 1, sd=20.0)
    recovered = pairwise_logits(logits.softmax(-1))
    close(recovered, interaction_(logits.tolist()), 1e-10)


def test_a11_lost_logits_are_said_to_be_lost():
    rows = torch.softmax(torch.tensor([[0.0, 200.0], [0.0, 1.0]]), -1)
    with pytest.raises(ValueError, match=r"rows \(2, 2\): 1 entries are 0.*interaction\(logits\)"):
        pairwise_logits(rows)


# ------------------------------------------------------------------ streaming


@pytest.mark.parametrize(("n", "m", "d"), [(37, 23, 5), (6, 31, 9), (1, 8, 3), (19, 1, 4), (40, 3, 7)])
@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_map_statistics_are_the_definitions(n, m, d, chunk):
    q, k, scale = drawn(2, n, d), drawn(2, m, d, seed=1), -0.7
    found = map_statistics(q, k, scale=scale, chunk=chunk)
    for b in range(2):
        logits = logits_(q[b].tolist(), k[b].tolist(), scale)
        rows = softmax_(logits)
        close(found.cosine_distance[b], cosine_distance_(rows))
        close(found.row_divergence[b], row_divergence_(rows), 1e-11)
        close(found.distance_from_uniform[b], distance_from_uniform_(rows))
        close(found.effective_positions[b], [math.exp(entropy_(row)) for row in rows], 1e-11)
        close(found.mean_map[b], mean_row_(rows))
        pair = interaction_(logits)
        close(found.interaction_energy[b], sum(x * x for row in pair for x in row), 1e-10)
        close(found.largest_interaction[b], max(abs(x) for row in pair for x in row))
        if m > 1:
            close(found.unary_share[b], unary_share_(logits))
            seen = unary_share_(logits) * sum((x - sum(row) / m) ** 2 for row in logits for x in row)
            close(found.unary_energy[b], seen, 1e-10)
        assert bool(found.one_map[b]) == (n == 1 or m == 1)


def test_interaction_energy_is_n_m_trace_of_the_covariances():
    q, k, scale = drawn(31, 5), drawn(17, 5, seed=1), 0.3
    s_q, s_k = torch.cov(q.T, correction=0), torch.cov(k.T, correction=0)
    close(map_statistics(q, k, scale=scale).interaction_energy, scale**2 * 31 * 17 * torch.trace(s_q @ s_k).item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_map_statistics_say_what_the_functions_say(dtype):
    q, k = drawn(3, 65, 6, dtype=dtype), drawn(3, 50, 6, seed=1, dtype=dtype)
    logits = 1.3 * q @ k.mT
    rows = logits.softmax(-1)
    found = map_statistics(q, k, scale=1.3, chunk=16)
    tolerance = 1e-12 if dtype == torch.float64 else 5e-6
    for name in ("cosine_distance", "row_divergence", "effective_positions", "distance_from_uniform"):
        value = getattr(measure, name)(rows)
        assert getattr(found, name).dtype == dtype and getattr(found, name).shape == value.shape
        close(getattr(found, name), value.double().tolist(), tolerance)
    close(found.unary_share, unary_share(logits).double().tolist(), tolerance)
    alone = map_statistics(q[1], k[1], scale=1.3)
    assert alone.cosine_distance.shape == () and alone.mean_map.shape == (50,)
    close(alone.row_divergence, found.row_divergence[1].item(), tolerance)


def test_autocast_changes_nothing():
    q, k = drawn(2, 33, 6, dtype=torch.float32), drawn(2, 21, 6, seed=1, dtype=torch.float32)
    plain = map_statistics(q, k)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = map_statistics(q, k)
    assert all((getattr(found, f) == getattr(plain, f)).all() for f in plain.__dataclass_fields__)


def test_map_statistics_of_the_package_s_own_map():
    from dnl_course.attention import attention_map

    q, k = drawn(2, 33, 6), drawn(2, 21, 6, seed=1)
    rows = attention_map(q, k, scale=0.4)
    found = map_statistics(q, k, scale=0.4, chunk=9)
    for name in ("cosine_distance", "row_divergence", "effective_positions", "distance_from_uniform"):
        close(getattr(found, name), getattr(measure, name)(rows).tolist())


PEAK = """
import sys, torch
torch.set_num_threads(1)
from dnl_course.measure import map_statistics

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024

n = int(sys.argv[1])
map_statistics(torch.randn(1, 300, 8), torch.randn(1, 300, 8))  # what is loaded late is loaded
q, k = torch.randn(1, n, 8), torch.randn(1, n, 8)
before = peak()
map_statistics(q, k)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_memory_of_map_statistics_is_linear():
    """A fresh process each; peak above what the inputs take. The map would need 256 MiB at the larger size."""

    def mebibytes(n):
        returned = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}  # what is freed is not kept by the allocator
        run = [sys.executable, "-c", PEAK, str(n)]
        return float(subprocess.run(run, capture_output=True, text=True, check=True, env=returned).stdout)

    small, large = mebibytes(4096), mebibytes(8192)
    assert large < 60
    assert math.log2(large / small) <= 1.1


# ------------------------------------------------------------------ promises


def test_inputs_are_not_modified():
    q, k, rows = drawn(2, 9, 3), drawn(2, 7, 3, seed=1), with_zeros(6, 5)
    for function, inputs in (
        (map_statistics, (q, k)), (js_divergence, (rows[0], rows[1])), (pairwise_logits, (some_rows(6, 5),)),
        *((f, (rows,)) for f in ROW_FUNCTIONS if f is not pairwise_logits), *((f, (q[0],)) for f in LOGIT_FUNCTIONS),
    ):  # fmt: skip
        before = [x.clone() for x in inputs]
        function(*inputs)
        assert all((a == b).all() for a, b in zip(before, inputs))


@pytest.mark.parametrize("function", [*ROW_FUNCTIONS, unary_share, interaction])
def test_gradients(function):
    """Through a softmax, which keeps the rows summing to 1 while gradcheck moves the logits."""
    logits = drawn(5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: function(x.softmax(-1)), logits)


@pytest.mark.parametrize("function", [cosine_distance, row_divergence, effective_positions, distance_from_uniform])
def test_gradients_are_finite_where_weights_are_0(function):
    logits = torch.tensor([[0.0, 900.0, 1.0], [0.0, 2.0, 900.0]]).requires_grad_()
    rows = logits.softmax(-1)
    assert (rows == 0).any()
    function(rows).sum().backward()
    assert logits.grad.isfinite().all()


def test_gradient_of_js_divergence():
    logits = drawn(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: js_divergence(x[0].softmax(-1), x[1].softmax(-1)), logits)


def test_no_gradient_where_none_is_promised():
    q, k = drawn(5, 3).requires_grad_(), drawn(4, 3, seed=1).requires_grad_()
    found = map_statistics(q, k)
    assert not any(getattr(found, f).requires_grad for f in found.__dataclass_fields__)
    assert not one_map_for_all(q @ k.T).requires_grad


@pytest.mark.parametrize("function", ROW_FUNCTIONS)
def test_what_is_no_attention_map_is_refused(function):
    rows = some_rows(4, 6)
    name = r"rows \(4, 6\): "
    with pytest.raises(ValueError, match=name + r"4 of 4 rows do not sum to 1 .*first of them to 2\).*torch.softmax\(rows, -1\)"):
        function(2 * rows)
    spoilt = rows.clone()
    spoilt[2] = 0
    with pytest.raises(ValueError, match=name + r"1 of 4 rows do not sum to 1 .*first of them to 0\)"):
        function(spoilt)
    spoilt[2, 0] = torch.nan
    with pytest.raises(ValueError, match="1 of 4 rows do not sum to 1"):
        function(spoilt)
    spoilt[2] = torch.tensor([1.5, -0.5, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"rows \(4, 6\) has negative entries, down to -0.5"):
        function(spoilt)
    with pytest.raises(TypeError, match=r"rows is a ndarray; allowed is a float32 .*\(\.\.\., N, M\).*torch.as_tensor\(rows\)"):
        function(rows.numpy())
    with pytest.raises(TypeError, match=r"rows has the dtype bfloat16.*rows.to\(torch.float32\)"):
        function(rows.bfloat16())
    with pytest.raises(ValueError, match=r"rows has the shape \(6,\); allowed is .*\(\.\.\., N, M\)"):
        function(rows[0])
    with pytest.raises(ValueError, match=r"rows has the shape \(0, 6\).*no axis empty"):
        function(rows[:0])


def test_rows_computed_in_single_precision_are_accepted_in_double():
    rows = torch.softmax(100 * drawn(50, 3000, dtype=torch.float32), -1)
    assert 0 < cosine_distance(rows.double()) < 0.5 and 0 < cosine_distance(rows) < 0.5


def test_any_rows():
    features = drawn(6, 4, mean=0.0)
    close(cosine_distance(features, any_rows=True), cosine_distance_(features.tolist()))
    close(cosine_distance(features * drawn(6, 1).exp(), any_rows=True), cosine_distance_(features.tolist()))
    parallel = drawn(6, 1).exp() * features[:1]  # of many lengths, and one direction
    assert cosine_distance(parallel, any_rows=True) < 1e-30
    parallel[2] *= -1
    close(cosine_distance(parallel, any_rows=True), (1 - (4 / 6) ** 2) / 2)
    features[3] = 0
    with pytest.raises(ValueError, match=r"rows \(6, 4\) has 1 rows of zeros, which have no direction"):
        cosine_distance(features, any_rows=True)
    features[3] = torch.inf
    with pytest.raises(ValueError, match="holds 4 NaN or infinite values"):
        cosine_distance(features, any_rows=True)


@pytest.mark.parametrize("function", LOGIT_FUNCTIONS)
def test_logits_may_be_any_finite_numbers(function):
    function(drawn(4, 3, mean=-1e4, sd=1e3))
    with pytest.raises(ValueError, match=r"logits \(4, 3\) holds 2 NaN or infinite values"):
        function(torch.tensor([[0, torch.inf, 1], [0, 0, 0], [0, 0, torch.nan], [1, 2, 3]]))
    with pytest.raises(TypeError, match="logits has the dtype int64"):
        function(torch.ones(3, 3, dtype=torch.int64))


def test_other_arguments_are_checked():
    p, r = some_rows(1, 4)[0], some_rows(1, 5)[0]
    with pytest.raises(ValueError, match=r"p has the shape \(4,\) and r \(5,\)"):
        js_divergence(p, r)
    with pytest.raises(ValueError, match=r"p has the shape \(2, 4\) and r \(3, 4\)"):
        js_divergence(some_rows(2, 4), some_rows(3, 4))
    with pytest.raises(ValueError, match="r .*do not sum to 1"):
        js_divergence(p, 2 * p)
    with pytest.raises(ValueError, match="tol is -1"):
        one_map_for_all(some_rows(2, 3), tol=-1)
    q, k = drawn(2, 9, 3), drawn(2, 7, 3)
    for wrong in (drawn(2, 7, 4), drawn(3, 7, 3), drawn(7, 3), k.float()):
        with pytest.raises(ValueError, match=r"q is \(2, 9, 3\) torch.float64, k .*\(\.\.\., N, D\) and"):
            map_statistics(q, wrong)
    for chunk in (0, 2.5, True):
        with pytest.raises(ValueError, match="chunk is"):
            map_statistics(q, k, chunk=chunk)
    for scale in ("1", None, math.nan, True):
        with pytest.raises(TypeError, match="scale is .*one finite number"):
            map_statistics(q, k, scale=scale)


def test_logits_whose_rounding_hides_different_rows_are_not_called_one_map():
    logits = torch.zeros(50, 60)
    logits[:, 0], logits[3, 4] = -1e9, 1.0
    with pytest.raises(ValueError, match="equal rows cannot be told"):
        one_map_for_all(logits)
    assert not one_map_for_all(logits.double()) and not one_map_for_all(logits[:, 1:])
    assert one_map_for_all(logits.double(), tol=1.0)  # the caller's own word for equal
