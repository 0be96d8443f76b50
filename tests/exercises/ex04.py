"""Exercise 04, each mistake written a second time in another style, and right answers in other styles.

Nothing here comes from the references: loops where they are vectorised, NumPy or einsum where they use torch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as F


# ---------------------------------------------------------------- 04.1
def _pairs_of(rows, cosine, skip_own=False):
    total, count = 0.0, 0
    for i, a in enumerate(rows.tolist()):
        for j, b in enumerate(rows.tolist()):
            if not (skip_own and i == j):
                total, count = total + cosine(a, b), count + 1
    return total / count


def _cos(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def distance_loop(rows):
    """All pairs, one after the other."""
    return _pairs_of(rows, lambda a, b: (1 - _cos(a, b)) / 2)


def distance_all_pairs(rows):
    unit = F.normalize(rows, dim=-1)
    return (0.5 - 0.5 * unit @ unit.T).mean()


def distance_all_pairs_cosine_similarity(rows):
    return ((1 - F.cosine_similarity(rows[:, None], rows[None], dim=-1)) / 2).mean()


def distance_scatter(rows):
    """The form that does not cancel: half the scatter of the unit rows."""
    unit = rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return 0.5 * ((unit - unit.mean(dim=0)) ** 2).sum(dim=-1).mean()


def distance_numpy(rows):
    x = rows.numpy()
    unit = x / np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    mean = np.einsum("ij->j", unit) / len(x)
    return float(1 - mean @ mean) / 2


def distance_single(rows):
    return distance_scatter(rows.float())


def distance_sum_of_pairs_over_n2(rows):
    """Own pairs add 0, so leaving them out of the sum (not of the count) is right."""
    n = len(rows)
    return sum((1 - _cos(a, b)) / 2 for i, a in enumerate(rows.tolist()) for j, b in enumerate(rows.tolist()) if i != j) / n**2


def distance_averaged_first_single(rows):
    total = rows.float().sum(0)
    return (1 - total @ total / (total.norm() * total.norm())) / 2


def distance_printed_loop(rows):
    """The loop of the notebook, with N = len(rows)."""
    N = len(rows)
    total = 0
    for i in range(N):
        for i2 in range(N):
            cosine = rows[i] @ rows[i2] / (rows[i].norm() * rows[i2].norm())
            total += (1 - cosine) / 2
    return total / N**2


def distance_mean_over_keys(rows):
    u = rows / rows.norm(dim=1, keepdim=True)
    return (1 - (u.mean(1) ** 2).sum()) / 2


COSINE_WRONG = {
    "averaged_first": [
        lambda rows: (1 - F.normalize(rows.mean(0), dim=0).square().sum()) / 2,
        lambda rows: 0.5 - 0.5 * F.cosine_similarity(rows.mean(0), rows.mean(0), dim=0).item(),
        distance_averaged_first_single,
        lambda rows: (1 - F.cosine_similarity(rows, rows)).mean() / 2,
        lambda rows: 0.0,
    ],
    "mean_over_wrong_axis": [distance_mean_over_keys],
    "not_normalised": [lambda rows: _pairs_of(rows, lambda a, b: (1 - sum(x * y for x, y in zip(a, b))) / 2)],
    "columns_normalised": [lambda rows: (1 - (F.normalize(rows, dim=0).sum(0) / len(rows)).pow(2).sum()) / 2],
    "norm_not_squared": [lambda rows: 0.5 * (1 - math.dist(F.normalize(rows).mean(0).tolist(), [0.0] * rows.shape[1]))],
    "similarity": [lambda rows: _pairs_of(rows, _cos), lambda rows: _pairs_of(rows, lambda a, b: (1 + _cos(a, b)) / 2)],
    "no_half": [lambda rows: _pairs_of(rows, lambda a, b: 1 - _cos(a, b))],
    "self_left_out": [
        lambda rows: _pairs_of(rows, lambda a, b: (1 - _cos(a, b)) / 2, skip_own=True),
        lambda rows: F.pdist(F.normalize(rows)).square().mean() / 4,  # pairs i < i′
    ],
    "columns_compared": [lambda rows: _pairs_of(rows.T, lambda a, b: (1 - _cos(a, b)) / 2)],
    "summed": [lambda rows: (1 - torch.einsum("ij,kj->", F.normalize(rows), F.normalize(rows))) / 2],
    "mean_over_keys": [lambda rows: 0.5 - F.normalize(rows).mean(0).square().mean() / 2],
    "keepdim_missing": [lambda rows: (1 - (rows / (rows**2).sum(1).sqrt()).mean(0).pow(2).sum()) / 2,
                        lambda rows: ((rows / torch.linalg.norm(rows, axis=1)) @ (rows / torch.linalg.norm(rows, axis=1)).T).mean()],
    "all_pairs": [distance_all_pairs, distance_all_pairs_cosine_similarity],
    "pair_loop": [distance_printed_loop, distance_loop],
}  # fmt: skip


# ---------------------------------------------------------------- 04.2
def _kl(p, r):
    return sum(a * math.log(a / b) for a, b in zip(p.tolist(), r.tolist()) if a > 0)


def _entropy(p):
    return -sum(a * math.log(a) for a in p.tolist() if a > 0)


def js_loop(p, r):
    m = [(a + b) / 2 for a, b in zip(p.tolist(), r.tolist())]
    return 0.5 * sum(a * math.log(a / c) for a, c in zip(p.tolist(), m) if a) + 0.5 * sum(
        b * math.log(b / c) for b, c in zip(r.tolist(), m) if b
    )


def js_entropies(p, r):
    """H(m) − (H(p) + H(r))/2."""
    def entropy(x):
        return torch.special.entr(x).sum()

    return entropy((p + r) / 2) - (entropy(p) + entropy(r)) / 2


def js_masked(p, r):
    stacked = torch.stack([p, r])
    m = stacked.mean(0).expand(2, -1)
    keep = stacked > 0
    return (stacked[keep] * (stacked[keep].log() - m[keep].log())).sum() / 2


def js_numpy(p, r):
    p, r = p.numpy(), r.numpy()
    m = 0.5 * (p + r)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 0.5 * float(np.nansum(p * np.log(p / m)) + np.nansum(r * np.log(r / m)))


def js_tiny(p, r):
    """Zeros pushed up by next to nothing."""
    p, r = p.clamp_min(1e-300), r.clamp_min(1e-300)
    m = (p + r) / 2
    return (F.kl_div(m.log(), p, reduction="sum") + F.kl_div(m.log(), r, reduction="sum")) / 2


def _inf_kl(p, r):
    """A divergence that is infinite where r has no weight and p has, and ignores where p has none."""
    return torch.where(p > 0, p * (p / r).log(), torch.zeros_like(p)).sum()


JS_WRONG = {
    "one_kl": [lambda p, r: _inf_kl(p, r), lambda p, r: _inf_kl(r, p), lambda p, r: (p * torch.log(p / r)).sum(),
               lambda p, r: F.kl_div(p.log(), r, reduction="sum")],
    "jeffreys": [lambda p, r: _inf_kl(p, r) + _inf_kl(r, p), lambda p, r: 0.5 * (_inf_kl(p, r) + _inf_kl(r, p)),
                 lambda p, r: ((p - r) * (p.log() - r.log())).sum()],
    "mixture_first": [lambda p, r: (_inf_kl((p + r) / 2, p) + _inf_kl((p + r) / 2, r)) / 2,
                      lambda p, r: 0.5 * F.kl_div(p.log(), (p + r) / 2, reduction="sum")
                      + 0.5 * F.kl_div(r.log(), (p + r) / 2, reduction="sum")],
    "no_half": [lambda p, r: _kl(p, (p + r) / 2) + _kl(r, (p + r) / 2),
                lambda p, r: 2 * _entropy((p + r) / 2) - _entropy(p) - _entropy(r)],
    "one_sided": [lambda p, r: _kl(p, (p + r) / 2), lambda p, r: _kl(r, (p + r) / 2) / 2, lambda p, r: _kl(p, (p + r) / 2) / 2],
    "mixture_not_halved": [lambda p, r: (_kl(p, p + r) + _kl(r, p + r)) / 2],
    "kl_div_needs_log": [
        lambda p, r: (F.kl_div((p + r) / 2, p, reduction="sum") + F.kl_div((p + r) / 2, r, reduction="sum")) / 2,
        lambda p, r: 0.5 * F.kl_div((p + r) / 2, p) + 0.5 * F.kl_div((p + r) / 2, r),
    ],
    "bits": [lambda p, r: js_loop(p, r) / math.log(2)],
    "root": [lambda p, r: math.sqrt(js_loop(p, r)), lambda p, r: js_entropies(p, r) ** 0.5],
    "mean_not_sum": [lambda p, r: js_loop(p, r) / len(p)],
    "zero_log_zero": [lambda p, r: 0.5 * (p @ (p * 2 / (p + r)).log() + r @ (r * 2 / (p + r)).log()),
                      lambda p, r: (F.kl_div(((p + r) / 2).log(), p, reduction="sum")
                                    + F.kl_div(((p + r) / 2).log(), r, reduction="sum")) / 2],
}  # fmt: skip


# ---------------------------------------------------------------- 04.3
def _entropies(rows):
    return [_entropy(row) for row in rows]


def positions_loop(rows):
    return torch.tensor([math.exp(h) for h in _entropies(rows)])


def positions_entr(rows):
    return torch.special.entr(rows).sum(-1).exp()


def positions_distribution(rows):
    return torch.distributions.Categorical(probs=rows).entropy().exp()


def positions_powers_of_two(rows):
    """Bits, and a power of 2."""
    logs = torch.where(rows > 0, rows, 1.0).log2()
    return 2 ** -(rows * logs).sum(1)


def positions_product(rows):
    """Π w^(−w), with 0⁰ = 1."""
    return (rows ** -rows).prod(dim=1)


def positions_numpy(rows):
    w = rows.numpy()
    return np.exp(-np.sum(w * np.log(w, where=w > 0, out=np.zeros_like(w)), axis=-1))


POSITIONS_WRONG = {
    "entropy": [lambda rows: torch.tensor(_entropies(rows)), lambda rows: torch.tensor(_entropies(rows)) / math.log(2)],
    "sign": [lambda rows: 1 / positions_loop(rows)],
    "over_queries": [lambda rows: positions_loop(rows.T)],
    "bits": [lambda rows: (torch.special.entr(rows) / math.log(2)).sum(1).exp(), lambda rows: 2 ** torch.special.entr(rows).sum(1)],
    "counted": [lambda rows: (rows > 0).sum(1), lambda rows: np.count_nonzero(rows.numpy(), axis=1).astype(float)],
    "of_mean_map": [lambda rows: positions_loop(rows.mean(0)[None])[0]],
    "averaged": [lambda rows: np.mean(positions_numpy(rows)), lambda rows: math.exp(np.mean(_entropies(rows)))],
    "mean_not_sum": [lambda rows: positions_entr(rows) ** (1 / rows.shape[1])],
    "fraction": [lambda rows: positions_entr(rows) / rows.size(1)],
    "inverse_simpson": [lambda rows: 1 / torch.einsum("ij,ij->i", rows, rows), lambda rows: rows.norm(dim=1) ** -2],
    "zero_log_zero": [lambda rows: torch.exp(-torch.einsum("ij,ij->i", rows, torch.log(rows)))],
}


# ---------------------------------------------------------------- 04.4
def share_loop(logits):
    rows = [[x - sum(row) / len(row) for x in row] for row in logits.tolist()]
    n, m = len(rows), len(rows[0])
    columns = [sum(row[j] for row in rows) / n for j in range(m)]
    return n * sum(c * c for c in columns) / sum(x * x for row in rows for x in row)


def share_variances(logits):
    seen = logits - logits.mean(-1, keepdim=True)
    return seen.mean(0).var(correction=0) / seen.var(correction=0)


def share_expanded(logits):
    """The unary logits laid under every query."""
    seen = logits - torch.mean(logits, dim=1, keepdim=True)
    unary = seen.mean(dim=0).expand_as(seen)
    return torch.linalg.norm(unary) ** 2 / torch.linalg.norm(seen) ** 2


def share_from_what_is_left(logits):
    n, m = logits.shape
    h_n, h_m = (torch.eye(k, dtype=logits.dtype) - 1 / k for k in (n, m))
    return 1 - ((h_n @ logits @ h_m) ** 2).sum() / ((logits @ h_m) ** 2).sum()


def share_of_the_log_map(logits):
    """Softmax does not see the row means, so the logarithm of the map will do."""
    return share_loop(torch.log_softmax(logits, dim=1))


def share_numpy(logits):
    seen = logits.numpy() - logits.numpy().mean(1)[:, None]
    return len(seen) * np.sum(seen.mean(0) ** 2) / np.sum(np.square(seen))


def share_unbiased(logits):
    seen = logits.numpy() - logits.numpy().mean(1, keepdims=True)
    return np.var(seen.mean(0), ddof=1) / np.var(seen, ddof=1)


def _share(seen):
    columns = seen.mean(0)
    return seen.shape[0] * torch.dot(columns, columns) / torch.einsum("ij,ij->", seen, seen)


def share_sum_before_square(logits):
    L = logits - logits.mean(1, keepdim=True)
    u = L.mean(0)
    return len(L) * u.sum() ** 2 / (L * L).sum()


SHARE_WRONG = {
    "row_means_kept": [_share, lambda s: len(s) * (s - s.mean(1)[:, None]).mean(0).square().sum() / s.square().sum(),
                       lambda s: len(s) * s.mean(0).square().sum() / (s - s.mean(1)[:, None]).square().sum()],
    "only_grand_mean_removed": [lambda s: _share(s - torch.sum(s) / s.numel())],
    "column_means_removed": [lambda s: _share(s - s.mean(0)), lambda s: _share(s - s.mean(0) - (s - s.mean(0)).mean(1)[:, None]),
                             lambda s: share_sum_before_square(s), lambda s: 0,
                             lambda s: float(((s - s.mean(1)[:, None]).sum(1) ** 2).sum() / (s**2).sum())],
    "no_n": [lambda s: share_loop(s) / len(s)],
    "not_squared": [lambda s: share_loop(s) ** 0.5,
                    lambda s: len(s) * (s - s.mean(1)[:, None]).mean(0).norm() / (s - s.mean(1)[:, None]).norm(),
                    lambda s: (s - s.mean(1)[:, None]).mean(0).expand_as(s).abs().sum() / (s - s.mean(1)[:, None]).abs().sum()],
    "query_term": [lambda s: share_loop(s.T), lambda s: s.shape[1] * s.mean(1).square().sum() / s.square().sum()],
    "pairwise_share": [lambda s: 1 - share_loop(s)],
    "ratio_not_share": [lambda s: share_loop(s) / (1 - share_loop(s))],
    "unbiased": [share_unbiased],
    "keepdim_missing": [lambda s: _share(s - s.sum(1) / s.shape[1]), lambda s: _share(torch.sub(s, torch.mean(s, dim=-1)))],
}  # fmt: skip


# ---------------------------------------------------------------- 04.5
def _from(start, n, directions):
    """n queries that start somewhere and go round numbers of steps along one or several directions."""
    steps = torch.stack([torch.tensor([(i + 1) ** (d + 1) * 0.5 for d in range(len(directions))]) for i in range(n)]).double()
    return start + steps @ directions


def queries_eigenvectors(k, n):
    """The covariance's eigenvectors of eigenvalue 0."""
    values, vectors = torch.linalg.eigh(torch.cov(k.T))
    free = vectors[:, values < 1e-9 * values[-1]]  # (D, D - rank)
    return _from(k[0], n, free.T)


def queries_projected(k, n):
    """Random queries, minus their part in the span of the differences of keys."""
    torch.manual_seed(0)
    differences = k[1:] - k[0]
    onto = torch.linalg.pinv(differences) @ differences
    drawn = 3 * torch.randn(n, k.shape[1], dtype=k.dtype)
    return drawn - drawn @ onto + k[1]


def queries_far_apart(k, n):
    return 1.0 + 50 * torch.arange(n)[:, None] * torch.linalg.svd(k - k.mean(0), full_matrices=True)[2][-1:]


def queries_gram_schmidt(k, n):
    """Orthogonalise a vector against the differences of keys, in NumPy."""
    x, basis = k.numpy(), []
    for difference in [*(x[1:] - x[0]), *np.eye(x.shape[1])]:
        rest = difference - sum((difference @ b) * b for b in basis)
        rest = rest - sum((rest @ b) * b for b in basis)
        if np.linalg.norm(rest) > 1e-8:
            basis.append(rest / np.linalg.norm(rest))
    return np.stack([x[0] + i * basis[-1] for i in range(n)])


def queries_null_space_of_k(k, n):
    """At right angles to the keys themselves: right, and the map is uniform."""
    return torch.arange(1, n + 1)[:, None] * torch.linalg.svd(k).Vh[-1]


def queries_qr(k, n):
    rank = int(torch.linalg.matrix_rank(k - k.mean(0)))
    q, _ = torch.linalg.qr(torch.cat([(k - k.mean(0)).T[:, :rank], torch.eye(k.shape[1]).double()], dim=1))
    return _from(k.mean(0), n, q[:, -1:].T) if rank < k.shape[1] else None


def queries_single(k, n):
    return queries_eigenvectors(k, n).float()


def _svd(k):
    return np.linalg.svd(k.numpy() - k.numpy().mean(axis=0), full_matrices=False)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _random(n, d, seed=0):
    return torch.randn(n, d, generator=_generator(seed), dtype=torch.float64)


def _off(x, key):
    """Take the part along one key away."""
    return x - torch.outer(x @ key, key) / key.dot(key)


def _rank(k):
    return int(np.linalg.matrix_rank(k.numpy() - k.numpy().mean(axis=0)))


def queries_base_of_a_million(k, n):
    """A large part that all share is allowed, as long as the differences are right."""
    return 1e6 * k.mean(0) + torch.arange(n)[:, None] * torch.linalg.svd(k - k.mean(0)).Vh[-1]


def queries_large_free_part(k, n):
    V = torch.linalg.svd(k - k.mean(0)).Vh[-1]
    return 1e9 * V + _random(n, k.shape[1])


QUERIES_WRONG = {
    "constant": [lambda k, n: k.mean(0).repeat(n, 1), lambda k, n: torch.ones(n, k.shape[1]),
                 lambda k, n: torch.zeros(n, k.shape[1], dtype=k.dtype)],
    "scaled_copies": [lambda k, n: torch.arange(1.0, n + 1)[:, None] * k[0],
                      lambda k, n: torch.stack([c * _random(1, k.shape[1])[0] for c in range(1, n + 1)])],
    "row_space": [lambda k, n: _from(k[0], n, torch.tensor(_svd(k)[2][: _rank(k)])),
                  lambda k, n: torch.arange(n)[:, None] * torch.tensor(_svd(k)[2][0]), lambda k, n: k[:n]],
    "orthogonal_to_mean_key": [lambda k, n: _off(_random(n, k.shape[1]), k.mean(0)),
                               lambda k, n: k[2] + 2 * _off(_random(n, k.shape[1], 1), k.sum(0))],
    "orthogonal_to_first_key": [lambda k, n: _off(_random(n, k.shape[1]), k[0]), lambda k, n: 1 - _off(_random(n, k.shape[1], 3), k[0])],
    "left_vectors": [lambda k, n: _from(k[0], n, torch.tensor(_svd(k)[0][_rank(k) : k.shape[1]])),
                     lambda k, n: k.mean(0) + torch.arange(n)[:, None] * torch.svd(k - k.mean(0)).U[k.shape[1] - 1]],
    "columns_of_vh": [lambda k, n: _from(k[0], n, torch.tensor(_svd(k)[2][:, _rank(k) :].T)),
                      lambda k, n: k[1] + torch.arange(n)[:, None] * torch.linalg.svd(k - k.mean(0)).Vh[:, -1],
                      lambda k, n: k[0] + torch.arange(n)[:, None] * torch.svd(k - k.mean(0))[2][-1],
                      lambda k, n: k[0] + torch.arange(n)[:, None] * torch.linalg.eigh(torch.cov(k.T)).eigenvectors[0]],
    "large_base": [queries_large_free_part],
    "saturated": [lambda k, n: 1e5 * k[(k @ k[0]).argmax()] + _random(n, k.shape[1]),
                  lambda k, n: 1e9 * torch.ones(n, k.shape[1]).double() + _random(n, k.shape[1]),
                  lambda k, n: 1e5 * torch.ones(n, k.shape[1]) + _random(n, k.shape[1]).float()],
}  # fmt: skip


WRONG = {"04.1": COSINE_WRONG, "04.2": JS_WRONG, "04.3": POSITIONS_WRONG, "04.4": SHARE_WRONG, "04.5": QUERIES_WRONG}

RIGHT = {
    "04.1": [distance_loop, distance_all_pairs, distance_all_pairs_cosine_similarity, distance_scatter, distance_numpy,
             distance_single, distance_sum_of_pairs_over_n2, distance_printed_loop],
    "04.2": [js_loop, js_entropies, js_masked, js_numpy, js_tiny],
    "04.3": [positions_loop, positions_entr, positions_distribution, positions_powers_of_two, positions_product, positions_numpy],
    "04.4": [share_loop, share_variances, share_expanded, share_from_what_is_left, share_of_the_log_map, share_numpy],
    "04.5": [queries_eigenvectors, queries_projected, queries_far_apart, queries_gram_schmidt, queries_null_space_of_k, queries_qr,
             queries_single, queries_base_of_a_million],
}  # fmt: skip
