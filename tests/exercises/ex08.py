"""Exercise 08, each mistake written a second time in another style, and right answers in other styles.

Nothing here comes from the references: einsum, loops and NumPy-like steps where they use matrix products.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

E = torch.einsum


def _soft(x, dim=-1):
    x = x - x.amax(dim, keepdim=True)
    return x.exp() / x.exp().sum(dim, keepdim=True)


def _white(q, k):
    return E("bid,bjd->bij", q - E("bid->bd", q)[:, None] / q.shape[1], k)


# ---------------------------------------------------------------- 08.1
def pairwise_both(q, k):
    return _soft(E("bid,bjd->bij", q - q.mean(1, keepdim=True), k - k.mean(1, keepdim=True)))


def pairwise_of_logits(q, k):
    """Take the unary part out of the logits."""
    logits = q @ k.transpose(1, 2)
    return F.softmax(logits - logits.mean(dim=1, keepdim=True), dim=-1)


def pairwise_loop(q, k):
    images = []
    for x, y in zip(q, k):
        mean = sum(x) / len(x)
        images.append(torch.stack([torch.stack([(row - mean) @ key for key in y]).softmax(0) for row in x]))
    return torch.stack(images)


def pairwise_keys_first(q, k):
    """Keys and queries without their means, in this order; both have lost an axis."""
    k = torch.sub(k, k.mean(1))
    return _soft((q - q.mean(1)) @ k.mT)


def pairwise_single(q, k):
    return _soft(_white(q.float(), k.float()))


def _pairwise(centre_q, centre_k=lambda k: k, dim=2):
    return lambda q, k: _soft((q - centre_q(q)) @ centre_k(k).permute(0, 2, 1), dim)


def _std(x, ddof):
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().sum(1, keepdim=True) / (x.shape[1] - ddof)).sqrt()


def _mean(x):
    return x.mean(1, keepdim=True)


# ---------------------------------------------------------------- 08.2
def _hidden(function):
    return lambda q, k: function(q, k)


def hidden_loop(q, k):
    rows = []
    for x, y in zip(q, k):
        logits = torch.stack([x.mean(0).dot(key) for key in y])
        rows.append(logits.softmax(0))
    return torch.stack(rows)


# ---------------------------------------------------------------- 08.3
def vector_loop(v, m):
    images = []
    for values, logits in zip(v, m):
        weights = logits.exp() / logits.exp().sum()
        images.append(sum(w * x for w, x in zip(weights, values))[None])
    return torch.stack(images)


# ---------------------------------------------------------------- 08.4, 08.5
def _dnl(weights):
    def function(q, k, v, m):
        made = weights(_white(q, k), m[:, None, :])
        return E("bij,bje->bie", made, v)

    return function


def dnl_loop(q, k, v, m):
    out = []
    for b in range(len(q)):
        rows = [_soft((x - q[b].mean(0)) @ k[b].T) + _soft(m[b]) for x in q[b]]
        out.append(torch.stack(rows) @ v[b])
    return torch.stack(out)


def star_channel(q, k, v, m):
    """One channel more carries m."""
    ones = torch.ones_like(q[..., :1])
    return _soft(torch.cat([q - _mean(q), ones], -1) @ torch.cat([k, m[..., None]], -1).mT) @ v


def star_product(q, k, v, m):
    product = _soft(_white(q, k)) * _soft(m)[:, None]
    return product / product.sum(-1, keepdim=True) @ v


def star_loop(q, k, v, m):
    return torch.stack([torch.stack([_soft(k[b] @ (x - q[b].mean(0)) + m[b]) @ v[b] for x in q[b]]) for b in range(len(q))])


# ---------------------------------------------------------------- 08.6
def count_steps(C, N, variant):
    total = 0
    for width in (C // 2, C // 2, C):
        total += N * C * width
    total += N * N * (C // 2) + N * N + N * N * C
    if variant == "dnl":
        total += N * C + N * N
    return total


def count_printed(C, N, variant):
    if variant == "nl":
        return (2 * C**2 + (1.5 * C + 1) * N) * N
    return ((2 * C + 1) * C + (3 / 2 * C + 2) * N) * N


def count_difference(C, N, variant):
    return int((2 * C * C + (3 * C + 2) * N // 2) * N + (variant == "dnl") * (C * N + N**2))


def _count(nl, extra=lambda C, N: C * N + N * N):
    return lambda C, N, variant: nl(C, N) + (extra(C, N) if variant == "dnl" else 0)


RIGHT = {
    "08.1": (pairwise_both, pairwise_of_logits, pairwise_loop, pairwise_single),
    "08.2": (
        hidden_loop,
        lambda q, k: F.softmax(E("bd,bjd->bj", q.mean(1), k), dim=-1),
        lambda q, k: _soft((q @ k.mT).mean(1)),  # the mean of the logits is the logit of the mean
        lambda q, k: _soft((q.mean(1, keepdim=True) @ k.mT)[:, 0]),
    ),
    "08.3": (
        vector_loop,
        lambda v, m: E("bj,bje->be", m.softmax(-1), v)[:, None],
        lambda v, m: (v * F.softmax(m, dim=1)[..., None]).sum(dim=1, keepdim=True),
    ),
    "08.4": (dnl_loop, _dnl(lambda p, m: _soft(p) + _soft(m)), lambda q, k, v, m: _soft(_white(q, k)) @ v + (_soft(m)[..., None] * v).sum(1, True)),
    "08.5": (star_channel, star_product, star_loop, _dnl(lambda p, m: _soft(p + m))),
    "08.6": (count_steps, count_printed, count_difference),
}  # fmt: skip

WRONG = {
    "08.1": {
        "query_mean_kept": (
            lambda q, k: _soft(E("bid,bjd->bij", q, k)),
            lambda q, k: _soft(q @ (k - _mean(k)).mT),
        ),
        "centred_over_channels": (_pairwise(lambda q: q.mean(-1, keepdim=True)),
                                  _pairwise(lambda q: q.mean(-1, keepdim=True), lambda k: k - k.mean(-1, keepdim=True))),
        "centred_over_batch": (_pairwise(lambda q: q.mean(0)), _pairwise(lambda q: q.mean(0), lambda k: k - k.mean(0))),
        "batch_and_positions": (_pairwise(lambda q: q.flatten(0, 1).mean(0)), _pairwise(lambda q: q.mean((0, 1)), lambda k: k - k.mean((0, 1)))),
        "one_scalar": (_pairwise(lambda q: q.flatten(1).mean(1)[:, None, None]), _pairwise(lambda q: q.mean())),
        "standardised": (
            lambda q, k: _soft(_std(q, 0) @ _std(k, 0).mT), lambda q, k: _soft(_std(q, 1) @ _std(k, 1).mT),
            lambda q, k: _soft(_std(q, 1) @ k.mT), lambda q, k: _soft(_std(q, 0) @ k.mT),
        ),
        "over_queries": (_pairwise(_mean, dim=1), _pairwise(_mean, lambda k: k - _mean(k), dim=1)),
        "scaled": (lambda q, k: _soft(_white(q, k) * q.shape[-1] ** -0.5),),
        "sum_taken_out": (_pairwise(lambda q: q.sum(1, keepdim=True)), _pairwise(lambda q: q.sum(1, keepdim=True), lambda k: k - k.sum(1, keepdim=True))),
        "axis_lost": (_pairwise(lambda q: q.mean(dim=-2)), _pairwise(lambda q: q.mean(1), lambda k: k - k.mean(1)), pairwise_keys_first,
                      lambda q, k: _soft(_white(q, k - k.mean(1)))),
    },
    "08.2": {
        "key_mean": (lambda q, k: _soft(E("bd,bjd->bj", k.mean(1), k)),),
        "mean_of_maps": (lambda q, k: E("bij->bj", _soft(q @ k.mT)) / q.shape[1],),
        "sum_not_mean": (lambda q, k: _soft(E("bid,bjd->bj", q, k)),),
        "logits": (lambda q, k: E("bd,bjd->bj", q.mean(1), k),),
        "over_batch": (lambda q, k: _soft(E("bd,bjd->bj", q.mean(1), k), 0),),
        "first_query": (lambda q, k: _soft(E("bd,bjd->bj", q[:, 0], k)),),
        "query_side": (lambda q, k: _soft(E("bid,bd->bi", q, k.mean(1))),),
        "repeated_rows": (lambda q, k: _soft(E("bd,bjd->bj", q.mean(1), k))[:, None].repeat(1, q.shape[1], 1),),
        "batch_mean": (lambda q, k: _soft(E("d,bjd->bj", q.mean((0, 1)), k)),),
        "axis_of_one": (lambda q, k: (_mean(q) @ k.mT).softmax(1)[:, 0], lambda q, k: _soft(k @ _mean(q).mT).squeeze(-1)),
        "batch_as_matrix": (
            lambda q, k: _soft(torch.matmul(q.sum(1) / q.shape[1], k.transpose(1, 2))),
            lambda q, k: F.softmax(q.mean(-2) @ k.mT, dim=1), lambda q, k: (k @ q.mean(1)).softmax(dim=1),
        ),
    },
    "08.3": {
        "not_normalised": (lambda v, m: E("bj,bje->be", m.exp(), v)[:, None], lambda v, m: E("bj,bje->be", m, v)[:, None]),
        "average_pool": (lambda v, m: E("bje->be", v)[:, None] / v.shape[1],),
        "not_summed": (lambda v, m: v * _soft(m)[..., None],),
        "dim_lost": (lambda v, m: E("bj,bje->be", _soft(m), v),),
        "divided_by_m": (lambda v, m: (v * _soft(m)[..., None]).mean(1, keepdim=True),),
        "sigmoid": (lambda v, m: E("bj,bje->be", 1 / (1 + (-m).exp()), v)[:, None],
                    lambda v, m: E("bj,bje->be", m.sigmoid(), v)[:, None] / v.shape[1]),
        "over_batch": (lambda v, m: E("bj,bje->be", _soft(m, 0), v)[:, None],),
        "value_softmaxed": (lambda v, m: E("bj,bje->be", m, _soft(v, 1))[:, None], lambda v, m: E("bj,bje->be", _soft(m), _soft(v, 1))[:, None]),
        "axis_of_one": (lambda v, m: m[:, None].softmax(1) @ v, lambda v, m: (_soft(m[..., None]) * v).sum(1, True)),
        "batch_as_matrix": (lambda v, m: torch.matmul(_soft(m), v),),
        "weights_without_axis": (lambda v, m: (v * _soft(m)).sum(-2, keepdim=True),),
    },
    "08.4": {
        "one_softmax": (_dnl(lambda p, m: _soft(p + m)),),
        "softmax_of_sum": (_dnl(lambda p, m: _soft(_soft(p) + _soft(m))),),
        "halved": (_dnl(lambda p, m: 0.5 * _soft(p) + 0.5 * _soft(m)),),
        "unary_logits_added": (_dnl(lambda p, m: _soft(p) + m),),
        "multiplied": (_dnl(lambda p, m: _soft(p) * _soft(m)),),
        "not_centred": (lambda q, k, v, m: (_soft(q @ k.mT) + _soft(m)[:, None]) @ v,),
        "dnl_dagger": (lambda q, k, v, m: (_soft(_white(q, k)) + _soft((q @ k.mT).mean(1, keepdim=True))) @ v,),
        "pairwise_only": (_dnl(lambda p, m: _soft(p)),),
        "unary_only": (_dnl(lambda p, m: _soft(m) + 0 * p),),
        "axis_of_one": (_dnl(lambda p, m: _soft(p) + _soft(m, 1)),),
        "m_without_axis": (
            lambda q, k, v, m: (_soft(_white(q, k)) + _soft(m)) @ v, lambda q, k, v, m: _soft(_white(q, k)) @ v + _soft(m) @ v,
            lambda q, k, v, m: (m + _soft(_white(q, k))) @ v, lambda q, k, v, m: _soft(_white(q, k) + m) @ v,
        ),
        "m_over_queries": (
            lambda q, k, v, m: (_soft(_white(q, k)) + _soft(m)[:, :, None]) @ v,
            lambda q, k, v, m: (m[:, :, None].softmax(1) + _soft(_white(q, k))) @ v,
            lambda q, k, v, m: (_soft(_white(q, k)) + _soft(m[:, :, None])) @ v,
        ),
        "not_summed": (lambda q, k, v, m: _soft(_white(q, k)) @ v + _soft(m)[..., None] * v,),
        "axis_lost": (
            lambda q, k, v, m: (_soft((q - q.mean(1)) @ k.mT) + _soft(m)[:, None]) @ v,
            lambda q, k, v, m: (_soft(m)[:, None] + _soft((q - q.mean(1)) @ (k - k.mean(1)).mT)) @ v,
        ),
    },
    "08.5": {
        "two_softmaxes": (_dnl(lambda p, m: _soft(p) + _soft(m)),),
        "not_centred": (lambda q, k, v, m: _soft(q @ k.mT + m[:, None]) @ v,),
        "m_softmaxed_first": (_dnl(lambda p, m: _soft(p + _soft(m))),),
        "on_the_map": (_dnl(lambda p, m: _soft(p) + m),),
        "maps_multiplied": (_dnl(lambda p, m: _soft(p) * _soft(m)),),
        "m_over_queries": (lambda q, k, v, m: _soft(_white(q, k) + m[:, :, None]) @ v,),
        "m_subtracted": (_dnl(lambda p, m: _soft(p - m)),),
        "m_left_out": (_dnl(lambda p, m: _soft(p)),),
        "softmax_of_maps": (_dnl(lambda p, m: _soft(_soft(p) + _soft(m))),),
        "m_without_axis": (
            lambda q, k, v, m: _soft(_white(q, k) + m) @ v, lambda q, k, v, m: _soft(m + _white(q, k)) @ v,
            lambda q, k, v, m: _soft(_white(q, k) + _soft(m)) @ v, lambda q, k, v, m: (_soft(_white(q, k)) + _soft(m)) @ v,
            lambda q, k, v, m: _soft(_soft(_white(q, k)) + _soft(m)) @ v,
        ),
        "axis_lost": (
            lambda q, k, v, m: _soft((q - q.mean(1)) @ k.mT + m[:, None]) @ v,
            lambda q, k, v, m: _soft((q - q.mean(1)) @ (k - k.mean(1)).mT + m[:, None]) @ v,
        ),
    },
    "08.6": {
        "half_width_value": (_count(lambda C, N: N * (3 * C * C // 2 + (C + 1) * N)),),
        "with_w_z": (_count(lambda C, N: N * (3 * C * C + 3 * C * N // 2 + N)),),
        "half_c_per_pair": (
            _count(lambda C, N: N * (2 * C * C + C * N + N)),
            _count(lambda C, N: N * (2 * C * C + (C + 1) * N)),
            _count(lambda C, N: 3 * N * C * C / 2 + 2 * (C / 2) * N * N + N * N + N * (C / 2) * C),
        ),
        "w_v_half": (_count(lambda C, N: N * (3 * C * C // 2 + (3 * C // 2 + 1) * N)),),
        "flops_not_macs": (
            lambda C, N, variant: 2 * count_steps(C, N, variant),
            _count(lambda C, N: N * (4 * C * C + 3 * C * N + N), lambda C, N: 2 * C * N + N * N),
        ),
        "no_softmax": (_count(lambda C, N: N * (2 * C * C + 3 * C * N // 2)),),
        "no_pair_products": (_count(lambda C, N: 2 * C * C * N + N * N),),
        "sum_twice": (_count(lambda C, N: count_steps(C, N, "nl"), lambda C, N: C * N + 2 * N**2),),
        "sum_of_rows": (_count(lambda C, N: count_steps(C, N, "nl"), lambda C, N: (C + 1) * N),),
        "sum_of_outputs": (_count(lambda C, N: count_steps(C, N, "nl"), lambda C, N: 2 * C * N),),
        "no_addition": (_count(lambda C, N: count_steps(C, N, "nl"), lambda C, N: C * N),),
        "no_aggregation": (_count(lambda C, N: N * (2 * C * C + C * N // 2 + N)),),
        "w_m_square": (_count(lambda C, N: count_steps(C, N, "nl"), lambda C, N: N * (C * C + N)),),
        "w_m_left_out": (_count(lambda C, N: count_steps(C, N, "nl"), lambda C, N: N * N),),
        "projections_once": (_count(lambda C, N: 2 * C * C + 3 * C * N * N // 2 + N * N, lambda C, N: C + N * N),),
    },
}  # fmt: skip
